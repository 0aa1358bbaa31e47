/* One dataset event for one pipeline at work on the pool.  Everything it needs is copied when it
 * starts, so that neither a new declaration nor a partition that goes away can pull it from under
 * the work. */
#ifndef INGEST_TASK_H
#define INGEST_TASK_H

#include "agents/ingest/run.h"
#include "common/digest.h"
#include "common/loop.h"

struct ingest_task;
struct task_limits {
    const char *file_root;
    int64_t max_bytes, attempts, retry_ms, stall_ms, timeout_ms;
};
/* Tasks outlive the agent that started them (a test may kill it): what they share is counted. */
struct crew {
    int refs;
    int64_t running;
    struct seen_cache *seen;
    void (*on_done)(struct ingest_task *t, void *ctx); /* NULL: the agent is gone */
    void *ctx;
};
struct crew *crew_new(void (*on_done)(struct ingest_task *t, void *ctx), void *ctx);
void crew_unref(struct crew *c); /* NULL is fine */

struct ingest_task {
    char run[ID_SIZE];
    char *event_id;
    struct pipeline *pipeline;
    struct ingest_request request;
    struct ingest_result result; /* when is_done and rc is 0 */
    struct err err;
    int rc;
    bool is_done, is_detached;
    bool is_told; /* logged and counted */
    volatile bool cancel;
    struct crew *crew;
    struct artifacts artifacts;
    struct arena arena;
};
/* Everything is copied.  The crew's on_done comes on the loop thread, unless the task was detached
 * meanwhile: that one frees itself. */
struct ingest_task *task_start(struct loop *l, const struct event *dataset,
                               const struct event *declared, const struct ingest_line *earlier,
                               size_t n_earlier, const struct artifacts *a,
                               const struct task_limits *limits, struct crew *crew,
                               struct err *err);
void task_free(struct ingest_task *t); /* done ones only; NULL is fine */
void task_run_id(const char *event_id, const char *pipeline, char out[ID_SIZE]);

#endif
