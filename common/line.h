/* What the log says about one model line: the fold that every agent keeps (design: the log is the
 * memory, the log chooses, an id counts once).  Pure: events in, questions answered, no clock, no
 * bus.
 *
 * Each topic is folded in its own order and independently of the others, so that the order in which
 * a reader gets events of DIFFERENT topics never matters; what joins topics is computed when asked.
 * An agent that does not read a topic just has none of its events here.
 *
 * Chains: plans (requested), decisions (all but refused) and deployments (changed) carry `base`,
 * the number of accepted ones before.  The first in the log on the current base is accepted, the
 * others are void: they are remembered as seen, answer nothing, and are not in the lists. */
#ifndef COMMON_LINE_H
#define COMMON_LINE_H

#include "common/events.h"

struct event_list { /* accepted (not void) events of one topic in log order */
    const struct event **items;
    size_t n, cap;
};
struct line_index; /* hash tables */
struct line {
    char *key, *pipeline, *segment; /* segment NULL when none */
    struct event_list ev[RECORD_COUNT];
    /* plans */
    int64_t plans_base;
    const struct event *in_flight; /* requested, not closed; NULL */
    const struct event *pause;     /* the plan event `paused` in force; NULL */
    /* decisions */
    int64_t decisions_base;
    /* deployments */
    int64_t deployments_base;
    const struct event *deployment; /* last accepted `changed`; NULL: nothing served yet */
    int64_t generation;             /* highest given out */
    uint64_t version;               /* counts folds that changed something */
    struct line_index *index;
};

struct line *line_new(const char *key);
void line_free(struct line *l); /* and all its events */
/* Takes ev.  Returns true when it is new (its id was not seen in this topic); a repeat is freed. */
bool line_fold(struct line *l, struct event *ev);

bool line_has(const struct line *l, enum record r, const char *id); /* seen, void or not */
bool line_is_void(const struct line *l, const char *id);
const struct event *line_find(const struct line *l, enum record r,
                              const char *id); /* not void; NULL */
/* The first accepted event of topic `r` that answers `cause` (names it as its cause; a requested
 * plan also answers everything in `covers`).  For plans a `deferred` answers only until its trigger
 * is covered or ignored. */
const struct event *line_answer(const struct line *l, enum record r, const char *cause);
/* Is the trigger covered by a requested plan (not just deferred)? */
bool line_is_covered(const struct line *l, const char *trigger);
const struct event *line_plan(const struct line *l, const char *run); /* requested plan of a run */
const struct event *line_closed(const struct line *l,
                                const char *run); /* its `closed` plan event */
const struct event *line_model(const struct line *l,
                               const char *run); /* first TrainingFinished of the run */
/* The route with role champion of the deployment in force: NULL when none is in service. */
const struct route *line_champion(const struct line *l);
const struct route *line_canary(const struct line *l);
/* Typed records. */
#define EV_REC(ev, type) ((const struct type *)(ev)->rec)

#endif
