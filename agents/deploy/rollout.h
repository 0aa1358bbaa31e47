/* How a decision becomes routing: the rollout policy.  Pure: the fold, the pipeline and the time
 * in, the next change out.  One change at a time, since deployments are a chain. */
#ifndef DEPLOY_ROLLOUT_H
#define DEPLOY_ROLLOUT_H

#include "common/events.h"
#include "common/line.h"
#include "common/mem.h"
#include "common/pipeline.h"

enum {
    ROLLOUT_MAX_HOLDS = 20
}; /* a canary without enough predictions goes back after so many intervals */

/* What the serving instances say about the newest generation of a line. */
struct serving_report {
    int serving;                       /* instances that serve it */
    int failed;                        /* instances that could not load it */
    const struct event *first_failure; /* the ServingChanged, NULL when none */
    const char *reason;
};

struct rollout_owed {
    bool is_owed;
    const struct event *cause; /* event to answer */
    const char *about;
    bool needs_pipeline; /* decision: call rollout_begin with the pipeline that its run was held to
                          */
    struct deployment_changed change; /* complete but for line, base, changed_unix_ms */
    int64_t wake_unix_ms;             /* nothing owed: look again then (0: no need) */
};

/* p: pipeline of the rollout under way (NULL when it cannot be had: steps wait). */
void rollout_find_owed(const struct line *l, const struct pipeline *p,
                       const struct serving_report *serving, int64_t now_unix_ms,
                       struct arena *arena, struct rollout_owed *ret);
/* The first change of an accepted promotion. */
void rollout_begin(const struct line *l, const struct pipeline *p, const struct event *decision,
                   int64_t now_unix_ms, struct arena *arena, struct deployment_changed *ret);
bool rollout_is_under_way(const struct line *l);
bool rollout_is_answered(const struct line *l, const struct event *ev);

#endif
