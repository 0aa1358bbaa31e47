/* Shared by the files of the console: console.c (shell), intake.c (HTTP to events), foreign.c
 * (CloudEvents, Alertmanager), view.c (SQLite), query.c, runs.c, explain.c (the fold as JSON),
 * follow.c (answers and streams). */
#ifndef CONSOLE_CONSOLE_INTERNAL_H
#define CONSOLE_CONSOLE_INTERNAL_H

#include "agents/console/console.h"
#include "common/store.h"

enum {
    CONSOLE_PREDICTIONS_KEPT =
        500000, /* rows of the view: about 100 MB; older ones are explained no more */
    CONSOLE_BODY_CAP_BYTES = 64 << 20, /* labels come in large batches */
    CONSOLE_MAX_WAIT_MS = 600000,
    CONSOLE_LIST_LIMIT = 1000, /* rows of a list unless `limit` says less */
};

struct waiter;   /* a request that waits for an answer: follow.c */
struct follower; /* a stream of events: follow.c */

struct console {
    struct agent *a;
    struct store *view;
    bool view_in_tx;
    struct waiter *waiters;
    struct follower *followers;
    struct loop_timer *waiter_timer;
    int64_t predictions_kept;
};

/* ---- answers over HTTP ---- */
void console_answer_json(struct httpd_request *rq, int status, struct json *j); /* takes j */

/* ---- intake.c: what is published, one function a path; they answer rq ---- */
bool intake_handle(struct console *c, struct httpd_request *rq);
/* Several records of one request: published together, answered when all are acknowledged. */
struct batch;
struct batch *batch_new(struct console *c, struct httpd_request *rq);
/* id NULL: random.  On error nothing more is to be added: batch_refuse. */
int batch_add(struct batch *b, enum record r, const void *rec, const char *id, const char *source,
              struct err *err) WARN_UNUSED;
void batch_send(
    struct batch *b); /* answers when acknowledged: {"event": id} or {"events": [...]} */
void batch_refuse(
    struct batch *b, int status,
    const struct err *err); /* what was added is still published; the answer says so */
/* A record out of a JSON object, defaults filled in, checked. */
int intake_record(struct console *c, enum record r, const struct json *j, struct arena *arena,
                  const void **ret, struct err *err) WARN_UNUSED;
int intake_pipeline(struct console *c, struct slice yaml, struct arena *arena, const void **ret,
                    struct err *err) WARN_UNUSED;

/* ---- foreign.c ---- */
void foreign_cloudevents(struct console *c, struct httpd_request *rq);
void foreign_alertmanager(struct console *c, struct httpd_request *rq);

/* ---- view.c ---- */
int view_open(struct console *c, struct err *err);
void view_close(struct console *c);
void view_add(struct console *c, const struct event *ev);
void view_add_prediction(struct console *c, const struct event *ev);
void view_flush(struct console *c);
int64_t view_position(struct console *c, enum record r, int partition);
void view_set_position(struct console *c, enum record r, int partition, int64_t next);
/* Where an id is: topic and key. false when unknown. */
bool view_find(struct console *c, const char *id, enum record *ret_record, char *ret_key,
               size_t key_size);
/* A prediction: line, generation, model; false when unknown. row ids ("<id>.3") are found as well.
 */
bool view_find_prediction(struct console *c, const char *id, char *ret_line, size_t line_size,
                          int64_t *ret_generation, int64_t *ret_time_us);
struct json *view_events(struct console *c, const char *topic, const char *key, int64_t after,
                         int64_t limit);
struct json *view_dead_letters(struct console *c, int64_t limit);
struct json *view_dead_letter(struct console *c, const char *id); /* NULL when unknown */

/* ---- query.c, runs.c, explain.c ---- */
bool query_handle(struct console *c, struct httpd_request *rq);
struct json *query_lines(struct console *c);
struct json *query_pipelines(struct console *c);
struct json *query_history(struct console *c, const struct line *l);
struct json *runs_list(struct console *c, const char *line, int64_t limit);
struct json *models_list(struct console *c, const char *line, int64_t limit);
/* Steps back to the first event; NULL when the id is unknown. */
struct json *explain_id(struct console *c, const char *id);
struct json *event_to_json(const struct event *ev);
const struct line *console_line(struct console *c, const char *key);
void console_each_line(struct console *c, void (*fn)(const struct line *l, void *ctx), void *ctx);
void json_set_time(struct json *obj, const char *key, int64_t unix_us);

/* ---- follow.c ---- */
void follow_watch(struct console *c, struct httpd_request *rq);
void follow_answer(struct console *c, struct httpd_request *rq);
void follow_event(struct console *c, const struct event *ev); /* every event as it comes */
void follow_close(struct console *c);

#endif
