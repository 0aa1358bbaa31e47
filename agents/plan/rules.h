/* What the files of the policy share, and nobody else uses. */
#ifndef AGENTS_PLAN_RULES_H
#define AGENTS_PLAN_RULES_H

#include "agents/plan/policy.h"

enum trigger_kind { TRIGGER_DATASET = 0, TRIGGER_DRIFT, TRIGGER_COMMAND, TRIGGER_COUNT };

struct trigger { /* an open one */
    const struct event *ev;
    enum trigger_kind kind;
    const struct event
        *deferral; /* newest plan event that says that it waits; NULL: not answered at all */
    int64_t arrived_unix_ms;
};
struct trigger_list {
    struct trigger *items; /* oldest first */
    size_t n, cap;
    size_t n_waiting; /* with a deferral */
};

struct run_end { /* of the run in flight */
    const struct event *cause;
    const char *about; /* "closed" or "expired" */
    const char *outcome;
    const char *reason;
};

struct wait { /* why no run may be requested now */
    bool is_blocked;
    int64_t until_unix_ms; /* ABSENT_I64: no time is set */
    const char *run;       /* that is waited for, or NULL */
    const char *reason;
};

/* triggers.c */
const char *plan__trigger_str(enum trigger_kind k);
bool plan__is_trigger(const struct event *ev, enum trigger_kind *ret);
void plan__open_triggers(const struct plan_input *in, struct plan_memo *memo, struct arena *arena,
                         struct trigger_list *ret);
/* Why a trigger leads to nothing; NULL when it may lead to a run. */
const char *plan__why_ignored(const struct plan_input *in, const struct trigger *t,
                              struct arena *arena);

/* run_end.c */
bool plan__run_end(const struct plan_input *in, struct arena *arena, struct run_end *ret);
/* The run that this event ends, if it is of the kind that can end one; NULL. */
const char *plan__ended_run(const struct event *ev);

/* wait.c; triggers: those that may lead to a run, at least one. */
void plan__wait(const struct plan_input *in, const struct trigger_list *triggers, bool is_paused,
                struct arena *arena, struct wait *ret);

/* words.c */
const char *plan__time(struct arena *arena, int64_t unix_ms); /* 2026-11-23T14:05:06Z */
const char *plan__duration(struct arena *arena, int64_t ms);  /* 1h30m, 12.3s */
const char *plan__short(struct arena *arena, const char *id); /* first 8 of a long id */
const char *plan__counts(struct arena *arena,
                         const struct trigger_list *l); /* 3 triggers (2 datasets, 1 drift alert) */
bool plan__is(const char *s, const char *word);         /* s may be NULL */

#endif
