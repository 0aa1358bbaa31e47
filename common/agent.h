/* The runtime of every agent.  An agent declares its inputs and a few functions; the runtime owns
 * the bus, assignment, restore, de-duplication, ids, causal order, positions, retry, dead letters,
 * forwarding, health and metrics endpoints, and shutdown.
 *
 * The one mechanism (design section 4, rules 3 to 5, 13, 14): every control topic that an agent
 * reads is FOLDED, from its start, into what the log says about each key (struct unit, struct
 * line).  Whenever the fold of a key changed, a timer of it is due, or a long piece of work ended,
 * the runtime calls `reconcile`, which looks at the fold, finds what is still OWED, and emits it
 * (or starts the long work that leads to it). So restart, crash, lost races, late declarations and
 * plain new events are one path.  reconcile must be idempotent: it is called again at any time; an
 * emission whose id is in the log or on its way is a no-op. It is called only when the partition is
 * restored and every event folded has its causes folded (ce_seen).
 *
 * A work event's position is committed once `is_answered` says that the fold holds its answer, as
 * read back.
 *
 * Loop thread for everything here. */
#ifndef COMMON_AGENT_H
#define COMMON_AGENT_H

#include "common/artifact.h"
#include "common/clk.h"
#include "common/codec.h"
#include "common/conf.h"
#include "common/events.h"
#include "common/httpd.h"
#include "common/json.h"
#include "common/line.h"
#include "common/loop.h"
#include "common/pipeline.h"

enum input_kind {
    INPUT_NONE = 0,
    INPUT_WORK,   /* this instance's partitions; folded from the start; positions committed as
                     answered */
    INPUT_TABLE,  /* same partitions as the work; folded from the start */
    INPUT_GLOBAL, /* every partition; folded from the start */
    INPUT_STREAM, /* this instance's partitions, from the committed position, not folded: given to
                     `stream` */
    INPUT_GLOBAL_STREAM /* every partition, from `position` (default: the start), not folded: given
                           to `stream` */
};
struct agent_input {
    enum record record;
    enum input_kind kind;
};

struct agent;

/* What is known under one key: a line, or for other topics a dataset, an instance. */
struct unit {
    const char *key;
    int partition;
    bool is_owned; /* of this instance's partitions (work and tables); false: by a global input */
    struct line *line; /* the fold */
    void *self;        /* the agent's own, freed by spec->drop */
};

struct agent_spec {
    const char *name;    /* "plan": also the group's name and relearn-<name> */
    const char *purpose; /* one sentence for --help */
    const char *example; /* one command line */
    const struct agent_input *inputs;
    size_t n_inputs;
    const enum record *outputs; /* records that it writes */
    size_t n_outputs;
    const struct conf_option *options; /* its own, {0}-terminated; may be NULL */
    size_t self_bytes;                 /* agent_self: zeroed memory of that size */
    size_t http_body_cap_bytes;        /* 0: 1 MiB */

    int (*open)(struct agent *a, struct err *err); /* may be NULL, as all that follow */
    void (*close)(struct agent *a);
    void (*folded)(
        struct agent *a, struct unit *u,
        const struct event *ev); /* a new event was folded (also void ones' absence is silent) */
    int (*reconcile)(struct agent *a, struct unit *u,
                     struct err *err); /* owned units only; -1: tried again with back-off */
    bool (*is_answered)(struct agent *a, struct unit *u,
                        const struct event *ev); /* NULL: answered once folded */
    /* Streams; ev is the agent's to keep (event_free) . */
    void (*stream)(struct agent *a, struct event *ev);
    int64_t (*position)(struct agent *a, enum record r,
                        int partition); /* INPUT_GLOBAL_STREAM: next offset, 0 = start */
    void (*turn)(struct agent *a);      /* a batch of events has been folded and reconciled */
    void (*ready)(struct agent *a); /* everything assigned has been restored for the first time */
    void (*pipelines)(struct agent *a,
                      const char *name); /* a pipeline was declared, changed or withdrawn */
    void (*drop)(struct agent *a, struct unit *u);    /* partition taken away: free u->self */
    void (*released)(struct agent *a, int partition); /* after the drops: streams of it begin anew,
                                                         at their positions, if it comes back */
    bool (*http)(
        struct agent *a,
        struct httpd_request *rq); /* false: 404.  /healthz /readyz /metrics are the runtime's */
    bool (*is_ready)(struct agent *a); /* a further condition of /readyz; NULL: none */
    bool (*is_busy)(
        struct agent *a); /* stop waits for it to become false (long work to finish or hand over) */
    void (*stopping)(struct agent *a); /* asked to stop: refuse new work, hand over */
    void (*metrics)(struct agent *a, struct buf *out); /* further lines of Prometheus text */
    void (*status)(struct agent *a, struct json *obj); /* further members of GET /status */
};

/* ---- for the agent's code ---- */
void *agent_self(struct agent *a);
struct loop *agent_loop(struct agent *a);
const struct conf *agent_conf(struct agent *a);
const struct clk *agent_clk(struct agent *a);
int64_t agent_now_ms(struct agent *a); /* wall clock */
const struct artifacts *agent_artifacts(struct agent *a);
const char *agent_instance(struct agent *a); /* stable name of this instance, "train-1" */
const char *agent_url(struct agent *a);      /* "http://127.0.0.1:4567" of its endpoint */
const char *agent_cluster(struct agent *a);  /* cluster id, "" before it is known */
const char *
agent_state_dir(struct agent *a); /* this agent's folder for this cluster; a cache; exists */
const char *agent_prefix(struct agent *a); /* of topics */
struct codec *agent_codec(struct agent *a);
bool agent_is_stopping(const struct agent *a);
bool agent_is_ready(const struct agent *a);

/* Pipelines as declared (topic pipelines, a global input). NULL when none or withdrawn. */
const struct pipeline *agent_pipeline(struct agent *a, const char *name);
const struct event *agent_pipeline_event(struct agent *a, const char *name);
/* The text under a digest, from the store, parsed and cached: what a plan pinned. ERR_NOTFOUND
 * (retry). */
const struct pipeline *agent_pipeline_at(struct agent *a, const char *sha256, struct err *err);
void agent_each_pipeline(struct agent *a,
                         void (*fn)(struct agent *a, const struct pipeline *p, void *ctx),
                         void *ctx);

struct unit *agent_unit(struct agent *a, enum record r,
                        const char *key); /* by a record whose key it is; NULL */
void agent_each_unit(struct agent *a, void (*fn)(struct agent *a, struct unit *u, void *ctx),
                     void *ctx);
/* reconcile soon; at a wall time (the earliest asked for counts). */
void agent_touch(struct agent *a, struct unit *u);
void agent_touch_all(struct agent *a);
void agent_wake(struct agent *a, struct unit *u, int64_t at_unix_ms);

/* One answer.  The id is id_from_cause(topic, cause id, about); correlation, trace, hops and
 * ce_seen follow from the cause.  A no-op when that id is in the fold or on its way; sent again
 * when delivery fails.  Key NULL: the record's own.  cause NULL: a first event, whose id is
 * id_from_cause(topic, "", about). */
struct emission {
    enum record record;
    const char *key;
    const void *rec;
    const struct event *cause;
    const char *about;
};
int agent_emit(struct agent *a, struct unit *u, const struct emission *e,
               struct err *err) WARN_UNUSED;
/* Straight to the bus, outside of reconcile: with an id of the caller's (NULL: random);
 * on_delivered may be NULL. */
struct publication {
    enum record record;
    const char *key;                               /* NULL: the record's own */
    const void *rec;                               /* NULL: a tombstone */
    const char *id, *cause, *correlation, *source; /* may be NULL */
    int hops;
    bool is_bulk; /* may linger for batching (predictions) */
};
typedef void (*agent_published_fn)(void *ctx, const char *id, const struct err *err);
int agent_publish(struct agent *a, const struct publication *p, agent_published_fn on_delivered,
                  void *ctx, char ret_id[ID_SIZE] /* may be NULL */, struct err *err) WARN_UNUSED;
/* What was set aside goes back: its bytes and headers as they were, on the partition of its key.
 * key and id stand in for its own where it has none. */
int agent_send_back(struct agent *a, const struct dead_lettered *d, const char *key, const char *id,
                    agent_published_fn on_delivered, void *ctx, struct err *err) WARN_UNUSED;
/* Streams: everything below next_offset is settled. */
void agent_stream_done(struct agent *a, enum record r, int partition, int64_t next_offset);

/* Ends the process with exit code 75, "start me again": what it holds in memory may not be gone on
 * with. */
void agent_restart(struct agent *a, const struct err *why);

/* Metrics: counters by fixed names ("rows_total"); labels NULL or `line="x"`. */
void agent_count(struct agent *a, const char *name, const char *labels, double add);
double agent_counted(struct agent *a, const char *name,
                     const char *labels); /* value of a counter or gauge so far */
void agent_observe_ms(struct agent *a, const char *name, const char *labels,
                      double ms); /* histogram */

/* ---- for mains and tests ---- */
/* Parses options, runs until SIGTERM; returns the exit code (0; 1 usage/fatal; 75: start me again).
 */
int agent_main(const struct agent_spec *spec, int argc, char **argv);
/* Several agents on one loop: */
int agent_new(const struct agent_spec *spec, struct loop *l, int argc, char **argv,
              struct agent **ret, struct err *err) WARN_UNUSED;
int agent_start(struct agent *a, struct err *err) WARN_UNUSED;
void agent_stop(struct agent *a, loop_fn on_stopped,
                void *ctx);       /* finishes or hands over, flushes, leaves the group */
void agent_kill(struct agent *a); /* tests: gone at once, as by kill -9 */
void agent_free(struct agent *a);
int agent_exit_code(const struct agent *a);
/* Everything read up to now is reconciled, answered and acknowledged: nothing owed right now. */
bool agent_is_idle(const struct agent *a);

/* Options common to all agents, for --help and docs. */
extern const struct conf_option agent_options[];

#endif
