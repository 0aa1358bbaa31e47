/* The simulation: every agent's real shell and the real runtime in one process, on a loop of
 * virtual time.  What lies outside of them (loop, bus, store of artefacts, cache, child processes,
 * HTTP) is replaced at link time, and a seed decides about every delay, loss, repetition, crash and
 * cut.  One history at a time; the same seed gives the same history, byte for byte. */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include <stdio.h>

#include "common/agent.h"
#include "common/digest.h"
#include "common/rng.h"

enum {
    SIM_PARTITIONS_MAX = 3,
    SIM_VARIANTS = 256, /* of the pipeline: a bit each, sim_pipeline_text */
    SIM_PROCS_MAX = 32,
    SIM_ITEMS_MAX = 96,
    SIM_TOPICS = RECORD_COUNT,
    SIM_STEPS_MAX = 100000, /* of one history: beyond it never comes to rest */
};
#define SIM_MS INT64_C(1000)
#define SIM_S INT64_C(1000000)
#define SIM_UNIX_BASE_US (INT64_C(1790000000) * SIM_S)

struct sim_proc;
struct bus_message;
struct bus_header;

/* ---- the queue of what is to happen (sim_loop.c) ---- */
enum sim_tick_kind { TICK_TIMER = 0, TICK_SOON, TICK_WORK, TICK_BUS, TICK_WORLD };
struct sim_tick {
    int64_t at_us;
    uint64_t seq;
    enum sim_tick_kind kind;
    struct loop *loop; /* NULL: the world's, which no crash takes along */
    loop_fn fn;
    void *ctx;
    struct sim_tick **slot; /* set to NULL when it fires or is canceled; may be NULL */
    bool is_canceled;
    struct sim_tick *next, *prev; /* of its loop */
};
struct sim_tick *sim_after(struct loop *l, int64_t delay_us, enum sim_tick_kind kind, loop_fn fn,
                           void *ctx);
void sim_cancel(struct sim_tick *t);
bool sim_step(void); /* false: nothing is left */
void sim_queue_clear(void);
struct loop *sim_loop_new(struct sim_proc *p);

/* ---- processes (sim_world.c) ---- */
struct sim_proc {
    int index;
    const struct agent_spec *spec;
    char name[24];
    int share, shares; /* 0/0: by group */
    bool is_up, is_stopping;
    int lives;
    struct agent *agent;
    struct loop *loop;
    struct rng rng; /* of this life */
    int64_t paused_until_us, cut_until_us, skew_us;
    bool slow[SIM_TOPICS];      /* topics that come late in this life */
    int64_t served_sequence[8]; /* by line: what it answered with last, in this life */
    bool is_dying;              /* within the kill */
};
const struct agent_spec *sim_spec(int agent);
enum { SIM_AGENTS = 8 };
void sim_proc_start(struct sim_proc *p);
void sim_proc_kill(struct sim_proc *p); /* as by kill -9 */
void sim_proc_stop(struct sim_proc *p); /* as by SIGTERM */
uint64_t sim_rand(struct sim_proc *p, uint64_t n);
bool sim_chance(struct sim_proc *p, int per_mille);

/* ---- the log (sim_log.c) ---- */
struct sim_entry {
    enum record record;
    int partition;
    int64_t offset;
    struct bus_message *m;
    const void *rec; /* NULL: cannot be decoded, or a tombstone */
    const char *id, *cause, *key, *seen;
    int64_t hops;
    int proc, life; /* the writer; -1: the world */
    int64_t at_us;
    uint64_t number; /* of all appends */
};
struct sim_part {
    struct sim_entry **items;
    size_t n, cap;
};
struct sim_append {
    enum record record;
    int partition; /* -1: by key */
    bool is_kept;  /* key, value and headers are in the history's arena, NUL behind them */
    struct slice key, value;
    const struct bus_header *headers;
    size_t n_headers;
    int proc, life;
};
struct sim_entry *sim_append(const struct sim_append *a);
const char *sim_topic(enum record r);
struct bus_header sim_keep_header(const struct bus_header *h);
struct sim_entry *sim_first(enum record r, const void *rec, const char *id, const char *key);
void sim_bus_wake(enum record r, int partition); /* somebody may have something to read */
void sim_log_free(void);

/* ---- what a history is made of (sim_script.c) ---- */
enum sim_item_kind {
    ITEM_DECLARE = 0,
    ITEM_WITHDRAW,
    ITEM_DATASET,
    ITEM_DRIFT,
    ITEM_COMMAND,
    ITEM_PREDICT,
    ITEM_LABEL,
    ITEM_POISON,
    ITEM_ASTRAY,
    ITEM_REPEAT, /* inputs up to here */
    ITEM_CRASH,
    ITEM_AMBUSH,
    ITEM_STOP,
    ITEM_PAUSE,
    ITEM_CUT,
    ITEM_STORE,
    ITEM_SKEW,
    ITEM_JOIN,
    ITEM_KINDS
};
struct sim_item {
    int64_t at_us;
    enum sim_item_kind kind;
    int id; /* stays when others are left out */
    uint32_t a, b, c;
};
struct sim_noise { /* per mille */
    int ack_lost, doubled, refused, commit_lost, slow_topic, slow_work, train_fails, train_hangs,
        train_dies, orphans, bad_models, compacted;
    int lag_ms; /* usual delay of a message */
};
struct sim_plan {
    uint64_t seed;
    int partitions, variant, lines;
    bool by_group, same_share, is_full; /* full: every reader decodes Avro by itself */
    int instances[SIM_AGENTS];
    int64_t active_us;
    struct sim_noise noise;
    struct sim_item items[SIM_ITEMS_MAX];
    size_t n_items;
};
void sim_plan_make(uint64_t seed, struct sim_plan *ret);
void sim_plan_print(const struct sim_plan *p, FILE *to); /* for people */
void sim_plan_write(const struct sim_plan *p, FILE *to); /* one line */
bool sim_plan_read(const char *line, struct sim_plan *ret);
void sim_item_do(const struct sim_item *it);
bool sim_is_by_days(const struct sim_item *it); /* a clock set wrong */
bool sim_input_do(const struct sim_item *it);   /* false: it is a fault */
const char *sim_item_str(enum sim_item_kind k);
const char *sim_pipeline_text(int variant, int version, struct arena *arena);

/* ---- rules taken out, to see that it is noticed (sim_wrap.c) ---- */
enum sim_mutant {
    MUTANT_NONE = 0,
    MUTANT_NO_BASE,
    MUTANT_COUNT_TWICE,
    MUTANT_NO_CAUSAL,
    MUTANT_NO_OWED,
    MUTANT_ANY_CHAMPION,
    MUTANT_COMMIT_EARLY,
    MUTANT_WORDS_FIRST,
    MUTANT_ROWS_TWICE,
    MUTANT_STREAM_EARLY,
    MUTANT_NO_RESULT,
    MUTANT_NOT_READ_BACK,
    MUTANT_COUNT
};
const char *sim_mutant_str(enum sim_mutant m);

/* A crash that waits for its moment: the next time that an event of this kind is there. */
enum sim_moment {
    MOMENT_SENT = 0,
    MOMENT_LANDED,
    MOMENT_TOLD,
    MOMENT_READ,
    MOMENT_COMMITTED,
    MOMENTS
};
void sim_moment(enum sim_moment m, enum record r, struct sim_proc *p);
struct sim_ambush {
    bool is_set;
    enum sim_moment moment;
    enum record record;
    int64_t down_us;
    int cache; /* what becomes of the victim's */
};
enum { SIM_AMBUSHES = 4 };

/* ---- one history ---- */
struct sim_stats {
    uint64_t histories, steps, events, generations, runs, predictions, restarts;
    uint64_t items[ITEM_KINDS];
    uint64_t in_flight[ITEM_KINDS][SIM_TOPICS]; /* fault x event sent and not read by all */
    uint64_t ambushed[MOMENTS][SIM_TOPICS];
};
struct sim_state {
    const struct sim_plan *plan;
    bool is_calm; /* no faults any more */
    int64_t now_us;
    uint64_t seq, steps, appends;
    struct sim_tick **heap;
    size_t n_heap, cap_heap;
    struct sim_proc procs[SIM_PROCS_MAX];
    int n_procs;
    struct sim_proc *current;
    struct sim_part log[SIM_TOPICS][SIM_PARTITIONS_MAX];
    struct arena arena; /* of the history */
    int64_t store_trouble_until_us;
    int store_trouble; /* per mille of calls */
    int64_t last_append_us;
    struct sim_ambush ambushes[SIM_AMBUSHES];
    enum sim_mutant mutant;
    int verbose;
    char wrong[600]; /* the first thing that is not as it should be */
    uint64_t digest; /* of everything appended */
    uint64_t ids;
};
extern struct sim_state sim;
extern struct sim_stats sim_stats;
/* Returns NULL, or what was wrong. */
const char *sim_run(const struct sim_plan *p, enum sim_mutant mutant, int verbose);
bool sim_is_bad_model(const char *digest); /* no instance of serve can load it */
void sim_wrong(const char *fmt, ...) PRINTF(1, 2);
void sim_trace(const char *fmt, ...) PRINTF(1, 2);

/* sim_bus.c */
void sim_bus_reset(void);
void sim_send_begin(const struct sim_proc *p); /* a new life */
void sim_group_silent(struct sim_proc *p);     /* from now on, for a while */
int64_t sim_committed(const char *agent, enum record r, int partition); /* -1: none */
bool sim_is_unread(enum record r);
size_t sim_sending(size_t by_topic[SIM_TOPICS]); /* on their way to the log */
/* sim_artifact.c, sim_store.c, sim_files.c, sim_job.c, sim_codec.c */
bool sim_artifact_has(const char *digest);
void sim_artifact_reset(void);
void sim_store_reset(void);
void sim_store_crash(const char *instance,
                     int how); /* 0 kept, 1 deleted, 2 damaged, 3 loses its end */
bool sim_file(const char *path, struct slice *ret); /* borrows; false: there is none */
void sim_files_reset(void);
void sim_job_reset(void);
size_t sim_jobs_running(void);
const void *sim_decode(enum record r, struct slice value);
void sim_encode(enum record r, const void *rec, struct buf *out);
void sim_codec_reset(void);
/* sim_check.c */
void sim_check_reset(void);
void sim_check_append(const struct sim_entry *e);
void sim_check_commit(const char *agent, enum record r, int partition, int64_t position);
void sim_check_serving(struct sim_proc *p);
void sim_check_rest(void);
bool sim_is_settled(void);
const struct line *sim_line(const char *key); /* the log folded; NULL */
/* sim_shrink.c */
void sim_shrink(struct sim_plan *p, enum sim_mutant mutant);

#endif
