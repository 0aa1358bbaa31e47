/* What the parts of the gate share.  Inside common/gate*.c only. */
#ifndef COMMON_GATE_INTERNAL_H
#define COMMON_GATE_INTERNAL_H

#include "common/gate.h"

enum verdict { INCONCLUSIVE = 0, PASS, FAIL };

struct judgement_case { /* one candidate before one policy */
    const struct pipeline *p;
    const struct line *l; /* NULL: nothing is known of the line */
    const struct model_evaluated *e;
    int64_t now_unix_ms;
};
struct judged { /* one rule on one slice or fact */
    enum verdict verdict;
    enum severity severity;
    double value, low, high, threshold, baseline;
    char reason[400];
};
struct tally { /* the results of all rules, on the heap until they go into an arena */
    struct rule_result *items;
    size_t n, cap;
    size_t failed, unclear, warned;
    const char *first_failed, *first_unclear, *first_warned;
};

bool gate__is(const char *a, const char *b);  /* equal texts; NULL equals nothing */
int64_t gate__champion(const struct line *l); /* the generation in service; 0: none */
/* gate_wait.c.  Until when this run's rows are waited for: from its first wait on. */
int64_t gate__rows_deadline(const struct judgement_case *c);
/* What is to be said about a wait now: nothing (and when to look again), or its end. */
void gate__answer_wait(const struct line *l, const struct event *wait, int64_t now_unix_ms,
                       struct arena *arena, struct gate_owed *ret);
/* GATE_WEIGH: what the policy makes of it. */
void gate__weigh(const struct line *l, const struct pipeline *p, int64_t now_unix_ms,
                 struct arena *arena, struct gate_owed *owed);
/* gate_people.c.  A promotion in a freeze window waits for its end. */
void gate__hold(const struct pipeline *p, int64_t now_unix_ms, struct arena *arena,
                struct gate_decided *d);
/* GATE_WEIGH of an approval: who may, and how many; p NULL: anybody. */
void gate__approve(const struct line *l, const struct pipeline *p, int64_t now_unix_ms,
                   struct arena *arena, struct gate_owed *owed);
/* Promoted, or to be evaluated again when another champion serves than it was compared with. */
void gate__promote_if_compared(const struct line *l, struct arena *arena, struct gate_decided *d,
                               const char *reason);
/* Snapshots that came while the run waited for rows, oldest first. */
struct string_list gate__later_snapshots(const struct line *l, const char *run,
                                         struct arena *arena);

/* Nothing known yet: every number NaN, inconclusive. */
struct judged gate__judged(enum severity severity);
void gate__tally(struct tally *t, const char *rule, const char *metric, const char *slice,
                 const struct judged *j, struct arena *arena);
/* gate_rules.c: of one rule, a result for each slice that it is asked of. */
void gate__rule(const struct judgement_case *c, const struct gate_rule *r, struct tally *t,
                struct arena *arena);
/* gate_ratchet.c: one result. */
void gate__ratchet(const struct judgement_case *c, struct tally *t, struct arena *arena);
/* gate_facts.c: NaN and *ret_why when the log does not say. */
double gate__fact(const struct judgement_case *c, const char *name, const char **ret_why);

#endif
