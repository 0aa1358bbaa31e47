/* What the events say while a replay runs: it reads every topic of the loop, so that it can tell
 * from the events alone when the loop has come to rest, what was lost and what came twice. */
#ifndef RELEARN_REPLAY_LOG_H
#define RELEARN_REPLAY_LOG_H

#include "common/agent.h"

struct replay_log;

/* brokers, prefix, data: of the installation.  Waits until everything there has been read. */
int replay_log_open(struct loop *l, const char *brokers, const char *prefix, const char *data,
                    const char *const *x, size_t n_x, const char *pipeline, struct replay_log **ret,
                    struct err *err) WARN_UNUSED;
void replay_log_close(struct replay_log *r);

/* A dataset event that was published, and how many rows it has: rest waits for its outcome. */
void replay_log_expect_dataset(struct replay_log *r, const char *event_id, const char *dataset,
                               int64_t rows);
/* A prediction that was answered (row id), by which generation of which line; is_labelled: a label
 * was sent. */
void replay_log_expect_prediction(struct replay_log *r, const char *prediction, const char *line,
                                  int64_t generation);
void replay_log_expect_labels(struct replay_log *r, int64_t n);

/* Until the loop is at rest; *ret_unrest: NULL, or one sentence that says what is still awaited. */
bool replay_log_await_rest(struct replay_log *r, const struct pipeline *p, int timeout_ms,
                           const char **ret_unrest);
/* Has this line a champion? */
bool replay_log_line_in_service(struct replay_log *r, const char *line);
/* Is some model in service on some line of the pipeline? Then *ret_url is where it answers. */
bool replay_log_in_service(struct replay_log *r, const char **ret_url);

/* Called for every event of the pipeline as it is read, after the fold. */
typedef void (*replay_event_fn)(void *ctx, const struct line *l, const struct event *ev);
void replay_log_on_event(struct replay_log *r, replay_event_fn fn, void *ctx);
/* Lines of the pipeline. */
void replay_log_each_line(struct replay_log *r, void (*fn)(void *ctx, const struct line *l),
                          void *ctx);

struct replay_counts {
    int64_t runs, promoted, rejected, drift_alerts;
    int64_t
        lost; /* datasets without an outcome, predictions and labels that are not in their topics */
    int64_t repeated; /* ids that came twice, results that counted twice */
};
void replay_log_counts(struct replay_log *r, struct replay_counts *ret);

/* Time of each promotion, from the dataset (or alert) event to the first instance that serves it.
 */
struct replay_timing {
    int64_t generation;
    const char *line;
    double total_ms;
    double hop_ms[8]; /* ingest, plan, train, evaluate, gate, deploy, serve; NaN when not on the
                         path */
};
#define REPLAY_HOPS 7
extern const char *const replay_hop_names[REPLAY_HOPS];
/* Of every promoted generation; *ret is the caller's to free. */
size_t replay_log_timings(struct replay_log *r, struct replay_timing **ret);

#endif
