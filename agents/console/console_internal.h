/* Shared by the files of the console: console.c (shell), endpoints.c (which path is whose), batch.c
 * (records of one request), intake.c, labels.c, cloudevents.c, alertmanager.c (HTTP to events),
 * view.c (SQLite), query.c, runs.c, explain.c, dead.c (the fold as JSON), follow.c (answers and
 * streams). */
#ifndef CONSOLE_CONSOLE_INTERNAL_H
#define CONSOLE_CONSOLE_INTERNAL_H

#include "agents/console/console.h"
#include "common/store.h"

enum {
    CONSOLE_PREDICTIONS_KEPT =
        500000, /* rows of the view, about 100 MB: older ones are forgotten */
    CONSOLE_BODY_CAP_BYTES = 64 << 20,   /* labels come in large batches */
    CONSOLE_BATCH_MAX_RECORDS = 1000000, /* of one request: what 64 MiB of labels come to */
    CONSOLE_RESTORE_COMMIT_ROWS = 20000, /* written to the view at once when it starts: 20 MB */
    CONSOLE_MAX_WAIT_MS = 600000,
    CONSOLE_LIST_ROWS = 100, /* of a list unless `limit` says otherwise */
    CONSOLE_LIST_MAX_ROWS = 1000,
    CONSOLE_KEY_SIZE = 256,
};

struct batch;    /* records of one request: batch.c */
struct waiter;   /* a request that waits for an answer: follow.c */
struct follower; /* a stream of events: follow.c */

struct console {
    struct agent *a;
    struct store *view;
    bool view_in_tx, view_failed;
    bool has_moved;      /* some position */
    bool view_is_filled; /* it has its indexes */
    bool runs_are_whole; /* every event that was folded is in the view's runs */
    struct view_position {
        int64_t next;
        bool is_changed; /* to be written with the transaction */
    } * positions[RECORD_COUNT];
    size_t n_positions[RECORD_COUNT]; /* by partition */
    int64_t view_rows;                /* of the transaction */
    int64_t next_seq;                 /* number of the next event */
    struct loop_timer *view_timer;    /* looks whether a view that failed can be written again */
    int64_t view_look_ms;
    struct batch *batches; /* not yet acknowledged */
    struct waiter *waiters;
    size_t n_waiters;
    struct follower *followers;
    struct loop_timer *waiter_timer;
    int64_t predictions_added; /* since the view was trimmed */
};

/* ---- endpoints.c ---- */
typedef void (*endpoint_fn)(struct console *c, struct httpd_request *rq, const char *const *segs);
bool endpoints_handle(struct console *c, struct httpd_request *rq);
void console_answer_json(struct httpd_request *rq, int status, struct json *j); /* takes j */
/* A number in the query; outside of [min, max] it is answered with 400 and false is returned. */
bool console_query_int(struct httpd_request *rq, const char *name, int64_t min, int64_t max,
                       int64_t *ret);

/* ---- batch.c: several records of one request.  All are checked before the first is published, and
 * the request is answered when the broker has acknowledged the last ---- */
struct batch *batch_new(struct console *c, struct httpd_request *rq);
struct arena *batch_arena(struct batch *b); /* of its records: lives until all are published */
/* The body as JSON, the batch's; NULL on error. */
const struct json *batch_json(struct batch *b, struct err *err);
struct batch_item {
    enum record record;
    const void *rec;    /* NULL: a tombstone */
    const char *key;    /* of a tombstone */
    const char *id;     /* NULL: from Idempotency-Key, else random */
    const char *source; /* NULL: this console */
    const char *cause, *correlation;
    /* Sent back: these bytes are published, under `id`, with `key` if they have none. */
    const struct dead_lettered *dead;
    bool is_note; /* published when all before it are acknowledged, and not told of */
};
int batch_add(struct batch *b, const struct batch_item *item, struct err *err) WARN_UNUSED;
/* One of the records is wrong and the others are to be published all the same: the answer is 400
 * with the first such error. */
void batch_skip(struct batch *b, const struct err *err);
void batch_send(struct batch *b); /* {"published": n, "event": id} or {"published", "events"} */
void batch_refuse(struct batch *b, int status, const struct err *err); /* publishes nothing */
void batches_close(struct console *c);

/* ---- intake.c, labels.c ---- */
void intake_dataset(struct console *c, struct httpd_request *rq, const char *const *segs);
void intake_command(struct console *c, struct httpd_request *rq, const char *const *segs);
void intake_alert(struct console *c, struct httpd_request *rq, const char *const *segs);
void intake_labels(struct console *c, struct httpd_request *rq, const char *const *segs);
void intake_pipeline(struct console *c, struct httpd_request *rq, const char *const *segs);
void intake_withdraw(struct console *c, struct httpd_request *rq, const char *const *segs);
/* A record out of a JSON object, defaults filled in, checked; in *arena. */
int intake_record(struct console *c, enum record r, const struct json *j, struct arena *arena,
                  const void **ret, struct err *err);
int intake_label(struct console *c, struct label_observed *l, struct err *err) WARN_UNUSED;
int intake_line(const char *line, struct err *err) WARN_UNUSED;
/* Is it the request's content type (parameters apart)? */
bool intake_is_type(const struct httpd_request *rq, const char *type);

/* ---- cloudevents.c, alertmanager.c ---- */
void intake_cloudevents(struct console *c, struct httpd_request *rq, const char *const *segs);
void intake_alertmanager(struct console *c, struct httpd_request *rq, const char *const *segs);

/* ---- view.c ---- */
int view_open(struct console *c, struct err *err) WARN_UNUSED;
void view_close(struct console *c);
void view_add(struct console *c, const struct event *ev);
void view_add_run(struct console *c, const struct line *l, const struct event *ev);
void view_add_prediction(struct console *c, const struct event *ev);
void view_flush(struct console *c);
void view_filled(
    struct console *c); /* everything that was there has been read: makes its indexes */
int64_t view_position(struct console *c, enum record r, int partition);
void view_set_position(struct console *c, enum record r, int partition, int64_t next);
/* Where an id is: topic and key.  false when unknown. */
bool view_find(struct console *c, const char *id, enum record *ret_record,
               char ret_key[CONSOLE_KEY_SIZE]);
struct view_prediction {
    char line[CONSOLE_KEY_SIZE];
    int64_t generation, time_us;
};
/* Row ids ("<id>.3") are found as well. */
bool view_find_prediction(struct console *c, const char *id, struct view_prediction *ret);
/* Ids of the events that this one caused, oldest first; ret->n of the caller's array. */
struct view_ids {
    char ids[100][ID_SIZE];
    size_t n;
};
void view_effects(struct console *c, const char *id, struct view_ids *ret);
struct json *view_events(struct console *c, const char *topic, const char *key, int64_t after,
                         int64_t limit);
struct view_dead_query {
    const char *topic; /* with its prefix; NULL: any */
    int64_t since_us;
    bool is_open; /* only those that were not sent back */
    int64_t limit;
};
/* Newest first, one after the other, until fn says that it is enough. */
void view_each_dead_letter(struct console *c, const struct view_dead_query *q,
                           bool (*fn)(struct console *c, const struct json *row, void *ctx),
                           void *ctx);
struct json *view_dead_letter(struct console *c, const char *id); /* NULL when unknown */
/* The notes that it was sent back, oldest first. */
struct json *view_dead_notes(struct console *c, const char *id);
int64_t view_open_dead_letters(struct console *c);
bool view_has(struct console *c, enum record r, const char *id);

/* ---- query.c ---- */
void query_status(struct console *c, struct httpd_request *rq, const char *const *segs);
void query_lines(struct console *c, struct httpd_request *rq, const char *const *segs);
void query_pipelines(struct console *c, struct httpd_request *rq, const char *const *segs);
void query_pipeline(struct console *c, struct httpd_request *rq, const char *const *segs);
void query_history(struct console *c, struct httpd_request *rq, const char *const *segs);
void query_events(struct console *c, struct httpd_request *rq, const char *const *segs);
const struct line *console_line(struct console *c, const char *key); /* NULL when unknown */
/* By name. */
void console_each_line(struct console *c, void (*fn)(const struct line *l, void *ctx), void *ctx);
void json_set_time(struct json *obj, const char *key, int64_t unix_us);

/* ---- runs.c, facts.c, trend.c, explain.c, dead.c ---- */
struct runs_found;
/* NULL when the fold does not know it. */
struct json *console_run_json(struct console *c, const struct runs_found *found);
void query_run(struct console *c, struct httpd_request *rq, const char *const *segs);
void query_distance(struct console *c, struct httpd_request *rq, const char *const *segs);
void query_trend(struct console *c, struct httpd_request *rq, const char *const *segs);
void query_runs(struct console *c, struct httpd_request *rq, const char *const *segs);
void query_models(struct console *c, struct httpd_request *rq, const char *const *segs);
void query_explain(struct console *c, struct httpd_request *rq, const char *const *segs);
void query_dead_letters(struct console *c, struct httpd_request *rq, const char *const *segs);
void query_dead_letter(struct console *c, struct httpd_request *rq, const char *const *segs);
void intake_resend(struct console *c, struct httpd_request *rq, const char *const *segs);
struct json *event_to_json(const struct event *ev);
/* One sentence of what an event says. */
void event_say(enum record type, const void *rec, const char *id, struct buf *out);
/* Adds the sentence to a row of the view. */
void dead_say(struct json *row);
/* The dead letter that an event of this id became: its id; false when there is none. */
bool dead_find_original(struct console *c, const char *id, char ret_id[ID_SIZE]);

/* ---- follow.c ---- */
void follow_watch(struct console *c, struct httpd_request *rq, const char *const *segs);
void follow_answer(struct console *c, struct httpd_request *rq, const char *const *segs);
void follow_event(struct console *c, const struct event *ev); /* every event as it comes */
void follow_close(struct console *c);

#endif
