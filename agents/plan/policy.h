/* When to retrain a line, on what: everything that the plan agent decides, as a pure function of
 * what the log says (struct line), the declaration and the time.  Called again at any time it gives
 * the same answers, with the same causes and `about`s and so with the same ids; what is in the log
 * already is not given again.
 *
 * A trigger is an accepted or rejected snapshot, a drift alert, or the command `retrain`.  It is
 * open until a requested plan covers it or an ignored one names it; a deferred one only says what
 * it waits for. */
#ifndef AGENTS_PLAN_POLICY_H
#define AGENTS_PLAN_POLICY_H

#include "common/line.h"
#include "common/pipeline.h"

/* Deferred plans of one line at a time.  What comes on top during a storm is not told one by one
 * that it waits: it stays unanswered and is covered by the next run like the others. */
#define PLAN_WAITING_MAX 100
/* Actions of one call.  The rest follows when these have been read back. */
#define PLAN_ACTIONS_MAX 256
/* Ids in `covers` of one plan: with the snapshots (PLAN_SNAPSHOTS_MAX) the event stays below the
 * 1,000,000 bytes that Kafka takes by default.  About 15,000 of our own ids; what is beyond is
 * covered by the run after. */
#define PLAN_COVERS_BYTES ((size_t)512 << 10)
#define PLAN_SNAPSHOTS_MAX 2000 /* of one plan; about 100 bytes each */
/* An event may be read before the declaration that it follows from, because the pipelines are
 * another topic. Only when the pipeline is still unknown so long after the event, its triggers are
 * ignored. */
#define PLAN_UNDECLARED_GRACE_MS 5000
#define PLAN_NO_WAKE INT64_MAX

struct plan_input {
    const struct line *line;
    const struct pipeline *pipeline; /* NULL: never declared, withdrawn, or not known yet */
    int64_t now_unix_ms;
};
/* So many events of each topic, from the oldest, are settled for good: a cache that saves looking
 * at them again. {0} is always right; belongs to one struct line. */
struct plan_memo {
    size_t settled[RECORD_COUNT];
};
struct plan_action {
    struct training_planned rec;
    const struct event *cause;
    char about[40];
};
struct plan_output {
    struct plan_action *actions;
    size_t n, cap;
    int64_t wake_unix_ms; /* decide again then; PLAN_NO_WAKE: when something happens */
    struct arena arena;   /* the texts and lists of the actions */
};

/* out is {0}, or comes from a call before. memo may be NULL. */
void plan_decide(const struct plan_input *in, struct plan_memo *memo, struct plan_output *out);
void plan_output_fini(struct plan_output *out);
/* Has the log the answer of this event, as far as plan owes one?  Deferred counts. */
bool plan_is_answered(const struct line *l, const struct event *ev);

#endif
