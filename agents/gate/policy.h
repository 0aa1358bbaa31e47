/* The gate's rules: an evaluation and a pipeline's policy in, a verdict with every rule's result
 * out. Pure: no clock but the one passed in, no bus.  Three-valued: what is not finite, missing, or
 * rests on too few rows is inconclusive, never a pass. */
#ifndef GATE_POLICY_H
#define GATE_POLICY_H

#include "common/events.h"
#include "common/line.h"
#include "common/mem.h"
#include "common/pipeline.h"

struct gate_judgement {
    const char *verdict; /* promote, reject, inconclusive, wait */
    const char *reason;  /* one sentence */
    struct rule_result_list rules;
    int64_t deadline_unix_ms; /* wait; else ABSENT_I64 */
};
/* Everything it returns lives in *arena. */
void gate_judge(const struct pipeline *p, const struct model_evaluated *e, int64_t now_unix_ms,
                struct arena *arena, struct gate_judgement *ret);

/* What the gate owes on a line: the first thing, since decisions are a chain. */
enum gate_owed_kind { GATE_OWES_NOTHING = 0, GATE_JUDGE, GATE_DECIDE };
struct gate_owed {
    enum gate_owed_kind kind;
    const struct event *cause;      /* event to answer */
    const char *about;              /* part of the id, NULL: the base alone */
    const struct event *evaluation; /* GATE_JUDGE: to be judged by its pipeline */
    struct gate_decided decision;   /* GATE_DECIDE: complete but for line, base, decided_unix_ms */
    int64_t wake_unix_ms;           /* GATE_OWES_NOTHING: look again then (0: no need) */
};
void gate_find_owed(const struct line *l, int64_t now_unix_ms, struct arena *arena,
                    struct gate_owed *ret);
/* Has this work event been answered, as far as the fold knows? */
bool gate_is_answered(const struct line *l, const struct event *ev);

#endif
