/* A line, a clock and a pipeline, driven by a script, to see what the plan agent's policy says.
 *
 * A script is words with blanks between.  What happens:
 *   d1 d1^9   accepted dataset d1 of 70 training rows (with 9 hops)     r1   rejected dataset
 *   o1        accepted version of another dataset                        e1   accepted, no training
 * rows a1 a1:2   drift alert (about generation 2)                           c1:pause   command cand
 * fail model of the run in flight                                 reject incon again   decision
 * about it live      decision to promote it, and it is in service               canary step its
 * rollout back      rolled back by deploy on health                            undo undo0   by a
 * command (undo0: names no run) other     another run's model goes into service void    a requested
 * plan on an old base t+30      30 seconds pass                                            pipe-
 * pipe+  withdrawn, declared again hold late a rival decides now and says so later (what is not
 * written down until then) =         decide; what is said is written down and read back         ?
 * decide and write down only What is said, for each = and ? in turn, with " | " between: requested
 * d1 a1; deferred d1 +30s; deferred d1 run; deferred d1 resume; ignored d1; closed promoted; paused
 * c1; ...
 * "~" stands for a plan event as the cause.  Each decision is made three times: with what the
 * policy remembers, without, and on the same log read again topic by topic; they must be the same.
 * Thread: main. */
#ifndef TESTS_SUPPORT_PLAN_WORLD_H
#define TESTS_SUPPORT_PLAN_WORLD_H

#include "agents/plan/policy.h"
#include "common/buf.h"

#define WORLD_START_MS 1767225600000 /* 2026-01-01T00:00:00Z */

struct plan_world {
    struct line *line;
    struct pipeline *pipeline, *declared; /* pipeline: NULL while withdrawn */
    int64_t now_unix_ms;
    struct plan_memo memo;
    struct plan_output out; /* of the last decision */
    struct event **log;     /* copies of everything folded, in the order of folding */
    size_t n_log, cap_log;
    struct buf said;
    struct event **held; /* a rival's words on their way */
    size_t n_held, cap_held;
    double cpu_seconds; /* of the next model */
    struct arena arena;
};

/* more: keys of the declaration beside name, dataset and task; fails the test when it cannot be
 * parsed. */
void plan_world_init(struct plan_world *w, const char *more);
void plan_world_fini(struct plan_world *w);
/* Runs a script; w->said has what was said since the last call. */
void plan_world_run(struct plan_world *w, const char *script);
/* Folds a record; id NULL: from cause and about. */
const struct event *plan_world_fold(struct plan_world *w, enum record r, const void *rec,
                                    const char *id, const struct event *cause, const char *about,
                                    int hops);
void plan_world_decide(struct plan_world *w);
void plan_world_read_back(struct plan_world *w);

#endif
