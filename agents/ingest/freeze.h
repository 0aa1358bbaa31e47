/* From a segment's spooled rows to a snapshot in the artefact store: the last checks, split, label
 * classes, npy files, profile, manifest.  Files of many segments are made durable together.  One
 * thread. */
#ifndef INGEST_FREEZE_H
#define INGEST_FREEZE_H

#include "agents/ingest/seen.h"
#include "agents/ingest/sheet.h"
#include "common/artifact.h"

struct freezer {
    const struct artifacts *artifacts;
    struct artifact_file *files; /* written, not yet in place */
    size_t n, cap;
};
void freezer_open(struct freezer *f, const struct artifacts *a);
/* All files in place and durable.  Only then may an event name them. */
int freezer_publish(struct freezer *f, struct err *err) WARN_UNUSED;
void freezer_close(struct freezer *f); /* removes what was not published */

struct freeze_request {
    const char *line, *dataset, *version;
    const char *const *earlier; /* digests of the line's snapshots, oldest first */
    size_t n_earlier;
    struct seen_cache *cache;
};
/* Fills *ret's status, snapshot, profile and row counts; strings in arena.  What the segment breaks
 * goes to its report, and then the status is "rejected".  Errors: the disk. */
int freeze_segment(struct freezer *f, struct sheet *s, struct segment *g,
                   const struct freeze_request *rq, struct arena *arena,
                   struct dataset_ingested *ret, struct err *err) WARN_UNUSED;

#endif
