/* A folder, an artefact store and ingest's work on literal datasets.  Fails the test for what a
 * test does not expect.  Main thread. */
#ifndef TESTS_SUPPORT_INGEST_WORLD_H
#define TESTS_SUPPORT_INGEST_WORLD_H

#include "agents/ingest/run.h"
#include "common/snapshot.h"
#include "tests/support/tmpdir.h"

#define WORLD_LINES 16
#define WORLD_SNAPSHOTS 100

struct ingest_world {
    struct tmpdir dir;
    struct artifacts a;
    struct pipeline *p;
    struct dataset_published
        dataset; /* what ingest_uri sends; the fields beside uri stay between calls */
    struct ingest_request request; /* likewise */
    struct ingest_result result;   /* of the last call */
    struct ingest_line lines[WORLD_LINES];
    const char *snapshots[WORLD_LINES][WORLD_SNAPSHOTS];
    int n_files;
};
int ingest_world_setup(
    void **state); /* *state is a struct ingest_world; binary task, label y, dataset d */
int ingest_world_teardown(void **state);
/* A pipeline named p: lines added to apiVersion, kind, name.  NULL: {dataset: {name: d, label: y},
 * task: binary}. */
void ingest_world_pipeline(struct ingest_world *w, const char *yaml);
const struct dataset_ingested *ingest_uri(struct ingest_world *w,
                                          const char *uri); /* first outcome */
const struct dataset_ingested *ingest_bytes(struct ingest_world *w, const void *p, size_t n);
const struct dataset_ingested *ingest_csv(struct ingest_world *w, const char *text);
/* The outcomes' snapshots become earlier ones of their lines. */
void ingest_world_remember(struct ingest_world *w);
/* The violation of that rule; fails when there is none.  column NULL: of the whole. */
const struct violation *find_violation(const struct dataset_ingested *o, const char *column,
                                       const char *rule);
void assert_accepted(const struct dataset_ingested *o, int64_t rows);
void assert_rejected(const struct dataset_ingested *o, const char *column, const char *rule,
                     const char *reason_has);
/* Rows of an accepted snapshot: snapshot_free and snapshot_unmap them. */
struct snapshot *open_outcome(struct ingest_world *w, const struct dataset_ingested *o,
                              struct snapshot_data *ret);

#endif
