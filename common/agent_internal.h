/* What the files of the runtime share: agent.c (life), agent_input.c (log to fold), agent_units.c
 * (keys, reconcile, positions), agent_emit.c (events out), agent_cache.c (local copy of the log),
 * agent_pack.c (its form), agent_http.c (endpoints, metrics), agent_pipelines.c.  Nobody else
 * includes this. */
#ifndef COMMON_AGENT_INTERNAL_H
#define COMMON_AGENT_INTERNAL_H

#include <uthash.h>

#include "common/agent.h"
#include "common/bus.h"
#include "common/schemareg.h"

enum {
    AGENT_MAX_INPUTS = 16,
    AGENT_BACKOFF_MIN_MS = 200,
    AGENT_BACKOFF_MAX_MS = 30000,
    AGENT_READ_BACK_MS = 30000, /* acknowledged but not read back for so long: looked at again */
};

/* One key's unit with the runtime's own fields. */
struct unit_x {
    struct unit u; /* first: agents see this */
    char *map_key; /* class letter and key */
    bool is_dirty;
    struct unit_x *next_dirty;
    int64_t wake_unix_ms;  /* 0: none */
    int64_t retry_mono_ms; /* 0: none; reconcile not before */
    int backoff_ms;
    UT_hash_handle hh;
};

/* A work event whose answer has not been read back. */
struct pending {
    int64_t offset;
    struct unit_x *unit;    /* NULL: settled when `is_done` (forwarded, dead letter) */
    const struct event *ev; /* in the unit's fold; NULL with unit NULL */
    bool is_done;
};

struct cache_row {     /* messages of a partition that the cache has not got yet */
    const char *topic; /* the input's */
    int partition;
    int64_t offset, last;
    struct buf messages; /* empty: there is no such row */
    struct cache_row *next;
};

struct part { /* one partition of one input */
    bool assigned, at_end, resumed;
    int64_t next; /* offset to fold next */
    bool verify;  /* the first message must equal the last cached one */
    int decode_tries;
    struct pending *pending; /* work: ring of outstanding events, in offset order */
    size_t head, n_pending, cap_pending;
    int64_t settled; /* position last given to commit */
    struct cache_row row;
    int64_t need; /* ce_seen of events folded elsewhere: must be read at least up to here */
};

struct input {
    enum record record;
    enum input_kind kind;
    char *topic;
    int partitions;
    struct part *parts;
};

struct flight { /* an emission on its way */
    char id[ID_SIZE];
    enum record record;
    char *map_key; /* of the unit that owes it */
    bool is_acked;
    int64_t since_mono_ms;
    UT_hash_handle hh;
};

struct declared { /* a pipeline as declared */
    char *name;
    struct event *ev;
    struct pipeline *pipeline; /* NULL: its text does not parse here */
    UT_hash_handle hh;
};
struct pinned { /* a pipeline by digest */
    char sha256[DIGEST_HEX_SIZE];
    struct pipeline *pipeline;
    UT_hash_handle hh;
};

struct metric_cell {
    char *key; /* name{labels} */
    char *name, *labels;
    char kind; /* c counter, g gauge, h histogram */
    double value;
    uint64_t buckets[16];
    uint64_t count;
    double sum;
    UT_hash_handle hh;
};

struct agent {
    const struct agent_spec *spec;
    struct loop *loop;
    struct conf *conf;
    const struct clk *clk;
    void *self;
    struct codec *codec;
    struct schemareg *registry;
    struct artifacts artifacts;
    struct bus *bus;
    struct httpd *httpd;
    char *instance, *prefix, *url, *state_dir, *source;
    char cluster[BUS_CLUSTER_ID_SIZE];
    int share, shares; /* 0/0: by group */
    struct input inputs[AGENT_MAX_INPUTS];
    size_t n_inputs;
    bool by_group, is_assigned, is_ready, is_stopping, is_stopped, is_open, was_killed;
    int exit_code;
    struct unit_x *units;
    struct unit_x *dirty_head, *dirty_tail;
    struct flight *flights;
    struct declared *declared;
    struct pinned *pinned;
    struct metric_cell *metrics;
    struct store *cache;
    bool cache_in_tx, is_reading_cache;
    struct cache_row *cache_rows;    /* that have messages */
    int64_t cache_messages;          /* of the transaction */
    struct loop_timer *timer;        /* wakes and retries */
    struct loop_timer *assign_timer; /* waits for topics */
    struct loop_timer *hold_timer;   /* partitions held back for a schema */
    struct loop_timer *stop_timer;
    int64_t stop_deadline_mono_ms, started_mono_ms;
    bool is_in_run;
    struct deferred_run *deferred_run; /* agent_units.c */
    loop_fn on_stopped;
    void *on_stopped_ctx;
    size_t publishing; /* agent_publish not yet acknowledged */
    size_t moving;     /* of them: dead letters, and what goes to its own partition */
};

/* agent_input.c */
void agent__on_message(void *ctx, const struct bus_message *m);
void agent__on_end(void *ctx, const char *topic, int partition, int64_t offset);
struct input *agent__input_of(struct agent *a, enum record r);
/* agent_assign.c */
void agent__assign(struct agent *a); /* by share, or globals only, or subscribe */
void agent__on_assigned(void *ctx, const struct bus_position *p, size_t n);
void agent__on_revoked(void *ctx, bool lost);
void agent__check_restored(struct agent *a);
bool agent__shard_is_current(struct agent *a, int partition); /* restored and causally complete */
/* agent_units.c */
struct unit_x *agent__unit(struct agent *a, enum record r, const char *key, bool create);
void agent__mark(struct agent *a, struct unit_x *x);
void agent__run(struct agent *a); /* reconciles what is dirty, settles positions */
void agent__run_soon(struct agent *a);
void agent__forget_deferred(struct agent *a); /* before the agent is freed */
void agent__drop_partition(struct agent *a, int partition);
void agent__drop_all(struct agent *a);
void agent__push_pending(struct part *p, struct pending pd);
struct pending *agent__pending_at(struct part *p, int64_t offset);
void agent__on_timer(void *ctx);
void agent__backoff(struct agent *a, struct unit_x *x, const struct err *err, const char *what);
/* agent_emit.c */
bool agent__has_bulk(const struct agent *a); /* it may publish what lingers */
void agent__flight_folded(struct agent *a, const char *id);
void agent__flights_drop(struct agent *a); /* of units that are gone */
void agent__flights_free(struct agent *a);
int agent__dead_letter(struct agent *a, struct input *in, const struct bus_message *m,
                       const struct err *why, int attempts, struct err *err);
int agent__forward(struct agent *a, struct input *in, const struct bus_message *m, const char *id,
                   const char *key, int partition, struct err *err);
/* ce_seen: "<cluster>;plans=12,models=5". */
void agent__seen_note(struct agent *a, const struct event *ev);
/* agent_cache.c */
int agent__cache_open(struct agent *a, struct err *err);
void agent__cache_close(struct agent *a);
void agent__cache_add(struct agent *a, struct input *in, const struct bus_message *m);
void agent__cache_put_rows(struct agent *a); /* into the transaction: parts are going to change */
void agent__cache_flush(struct agent *a);
/* Replays what is cached of a partition through agent__on_message, as far as its schemas are known
 * by now; sets part->next. */
int agent__cache_restore(struct agent *a, struct input *in, int partition, struct err *err);
bool agent__cache_matches(struct agent *a, const struct bus_message *m);
void agent__cache_reset(struct agent *a);
/* agent_pack.c: appends a message; takes the next one off, false where they are damaged (*in is as
 * it was).  Topic and partition are the caller's to know, the offset counts from the one before. */
void agent__pack(const struct bus_message *m, int64_t from_offset, struct buf *out);
bool agent__unpack(struct slice *in, int64_t from_offset, struct bus_message *ret);
/* agent_pipelines.c */
void agent__declare(struct agent *a, struct event *ev, const char *key);
void agent__pipelines_free(struct agent *a);
/* agent_http.c */
void agent__on_http(void *ctx, struct httpd_request *rq);
void agent__metrics_free(struct agent *a);
/* agent.c */
void agent__fail(struct agent *a, int exit_code, const char *event, const struct err *err);

#endif
