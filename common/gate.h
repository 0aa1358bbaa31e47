/* The gate: an evaluation, a pipeline's policy and what the log says about the line in, a decision
 * out.  Pure: no clock but the one passed in, no bus; so the agent that decides and the commands
 * that decide again (relearn gate replay, relearn gate try) are the same code.
 *
 * Three-valued: what is not finite, missing, or rests on too few rows is inconclusive, never a
 * pass.
 *
 * Calling sequence: gate_find_owed (the next thing to answer) or gate_answer (this event), the
 * pipeline under `policy` when it is not NULL, then gate_complete.  Thread: any. */
#ifndef COMMON_GATE_H
#define COMMON_GATE_H

#include "common/events.h"
#include "common/line.h"
#include "common/mem.h"
#include "common/pipeline.h"

/* Of the rules and their sentences; +1 when the same inputs may lead to other bytes.  0: decisions
 * made before it was written down. */
enum { GATE_JUDGE_VERSION = 2 };

struct gate_judgement {
    const char *verdict; /* promote, reject, inconclusive, wait */
    const char *reason;  /* one sentence */
    struct rule_result_list rules;
    int64_t deadline_unix_ms;     /* wait; else ABSENT_I64 */
    const char *waits_for, *then; /* wait; else NULL */
    int64_t rows_needed;          /* wait for rows; else ABSENT_I64 */
};
/* l: what is known of the run, its data and the past; NULL: nothing.  Everything it returns lives
 * in *arena. */
void gate_judge(const struct pipeline *p, const struct line *l, const struct model_evaluated *e,
                int64_t now_unix_ms, struct arena *arena, struct gate_judgement *ret);

/* What the gate owes on a line: the first thing, since decisions are a chain. */
enum gate_owed_kind { GATE_OWES_NOTHING = 0, GATE_JUDGE, GATE_DECIDE, GATE_WEIGH };
struct gate_owed {
    enum gate_owed_kind kind;
    const struct event *cause;      /* event to answer */
    const char *about;              /* part of the id, NULL: the base alone */
    const struct event *evaluation; /* GATE_JUDGE: to be judged by its pipeline */
    const char *policy;           /* digest of the pipeline that gate_complete needs; NULL: none */
    struct gate_decided decision; /* GATE_DECIDE: complete but for what gate_complete adds */
    int64_t wake_unix_ms;         /* GATE_OWES_NOTHING: look again then (0: no need) */
};
void gate_find_owed(const struct line *l, int64_t now_unix_ms, struct arena *arena,
                    struct gate_owed *ret);
/* What is said to this event, whether it has been answered or not; GATE_OWES_NOTHING: nothing. */
void gate_answer(const struct line *l, const struct event *cause, int64_t now_unix_ms,
                 struct arena *arena, struct gate_owed *ret);
/* Judges if that is to be done (p: the pipeline under owed->policy), and writes down line, base,
 * time and what was read; owed->about becomes the part of the id. */
void gate_complete(const struct line *l, const struct pipeline *p, int64_t now_unix_ms,
                   struct arena *arena, struct gate_owed *owed);
/* Has this work event been answered, as far as the fold knows? */
bool gate_is_answered(const struct line *l, const struct event *ev);

#endif
