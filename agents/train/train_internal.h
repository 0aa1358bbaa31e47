/* What the files of the agent's shell share: train.c (reconcile), runs.c (child processes),
 * spare.c (one that is started before its run), beats.c. */
#ifndef TRAIN_TRAIN_INTERNAL_H
#define TRAIN_TRAIN_INTERNAL_H

#include "agents/train/commands.h"
#include "agents/train/order.h"
#include "agents/train/owed.h"
#include "agents/train/progress.h"
#include "common/agent.h"
#include "common/job.h"

enum {
    TRAIN_TRIES = 5,         /* of an attempt that may go better another time: about 15 s in all */
    TRAIN_RETRY_MS = 1000,   /* before the second; doubled each time */
    TRAIN_TAIL_CHARS = 1500, /* of what the child said, in the reason of a failed run */
};

struct running { /* one child; outlives its line's partition */
    struct agent *agent;
    struct running *next;
    struct order order;
    struct arena arena; /* of the order, and copies of the plan's ids */
    const char *correlation;
    int hops;
    struct job *job;
    struct job_spec limits;
    struct progress progress;
    int64_t beat, last_beat_ms;
    bool is_handed_over, is_closed; /* canceled because of a stop; because plan closed the run */
    bool is_stored;                 /* the child said that its result is in the store */
};

struct waiting { /* a line whose run has no free place yet */
    char *line;
    struct waiting *next;
};

struct spare;

struct train_self {
    struct commands commands;
    char *program, *key_path;
    struct running *running;
    struct waiting *waiting; /* in the order in which they came */
    size_t n_running;
    struct spare *spare; /* NULL: none */
    struct loop_timer *beat_timer, *hand_over_timer, *spare_timer;
    bool is_closing;
};

struct train_unit {       /* unit.self */
    char *beat_run;       /* the newest beat folded, */
    int64_t beat_mono_ms; /* and when */
    char *retry_run;      /* a run whose child asked for another try */
    int64_t retry_mono_ms;
    int tries;
};
struct train_unit *train__unit(struct unit *u);

/* runs.c */
struct running *train__running(struct agent *a, const char *run);
int train__start(struct agent *a, struct unit *u, const struct event *plan, int64_t attempt,
                 struct err *err);
bool train__has_place(struct agent *a, const char *line); /* queues the line when not */
/* It wants no place now (its run is over, or somebody else's): nobody waits behind it. */
void train__leave_queue(struct agent *a, const char *line);
void train__cancel(struct running *r);
void train__kill_all(struct agent *a); /* at the end: returns when all are reaped */

void train__on_done(void *ctx, const struct job_result *res);
/* PATH and the like; TMPDIR is `folder`. */
const char *const *train__child_env(const char *folder, struct arena *arena);

/* spare.c */
void train__spare_soon(struct agent *a);
/* Gives the run to the spare, with its limits; false: there is none that is ready. */
bool train__spare_take(struct running *r, const char *order_path);
void train__spare_end(struct agent *a);
bool train__spare_is_ready(const struct train_self *self);

/* beats.c */
void train__beat(struct running *r, const char *phase);
void train__on_line(void *ctx, const char *line);
void train__on_beat_timer(void *ctx);

#endif
