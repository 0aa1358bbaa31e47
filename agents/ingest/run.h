/* Ingest's work, without the agent: one dataset for one pipeline, from its event to snapshots in
 * the store and one outcome for each line.  Blocking, minutes for what is large; pool thread, any
 * number at a time. */
#ifndef INGEST_RUN_H
#define INGEST_RUN_H

#include "agents/ingest/seen.h"
#include "common/events.h"
#include "common/pipeline.h"

struct ingest_line {              /* a line of the pipeline that has snapshots */
    const char *segment;          /* NULL: the nameless one */
    const char *const *snapshots; /* digests, oldest first; the newest SEEN_MAX_SNAPSHOTS count */
    size_t n;
};
struct ingest_request {
    const struct pipeline *pipeline;
    const struct dataset_published *dataset;
    const char *dataset_event; /* its id */
    const struct ingest_line *earlier;
    size_t n_earlier;
    const struct artifacts *artifacts;
    const char *file_root;
    uint64_t max_bytes;          /* of a dataset, unpacked */
    int attempts;                /* of a fetch that fails for a passing reason */
    int64_t retry_ms;            /* between them, all together about */
    int64_t stall_ms;            /* a server that sends nothing for so long has failed */
    int64_t timeout_ms;          /* of one fetch; -1: none */
    struct seen_cache *cache;    /* may be NULL */
    const volatile bool *cancel; /* may be NULL */
};
/* One outcome for each segment; or one alone, rejected, whose line is the pipeline's name, when the
 * dataset as a whole is refused.  Everything in arena. */
struct ingest_result {
    const struct dataset_ingested *items;
    size_t n;
    struct arena arena;
};
/* 0: there is a result, be it a refusal.  -1: ours to blame (disk, canceled), err->next NEXT_RETRY.
 */
int ingest_run(const struct ingest_request *rq, struct ingest_result *ret,
               struct err *err) WARN_UNUSED;
void ingest_result_fini(struct ingest_result *r);

/* What the artefact store keeps for a segmented pipeline, and back. */
void ingest_result_to_json(const struct ingest_result *r, struct buf *out);
int ingest_result_from_json(struct slice text, struct ingest_result *ret,
                            struct err *err) WARN_UNUSED;

#endif
