/* The gate's shell: finds what is owed on a line, judges evaluations by the pipeline that their run
 * was held to, and emits the decision on the line's current base. */
#include "agents/gate/gate.h"

#include "agents/gate/policy.h"
#include "common/log.h"

static int emit(struct agent *a, struct unit *u, const struct gate_owed *owed,
                struct gate_decided *d, struct arena *arena, struct err *err)
{
    d->line = u->key;
    d->base = u->line->decisions_base;
    d->decided_unix_ms = agent_now_ms(a);
    struct emission e = {.record = RECORD_GATE_DECIDED, .rec = d, .cause = owed->cause};
    e.about =
        arena_printf(arena, "%s %lld", owed->about ? owed->about : "decided", (long long)d->base);
    if (d->verdict[0] == 'r' &&
        d->verdict[2] == 'f') /* refused: in no chain, so no base to go stale */
        e.about = "refused";
    if (agent_emit(a, u, &e, err))
        return -1;
    log_info("gate.decided", "run=%s verdict=%s reason=%s", d->run ? d->run : "-", d->verdict,
             d->reason);
    return 0;
}

static int decide(struct agent *a, struct unit *u, struct gate_owed *owed, struct arena *arena,
                  struct err *err)
{
    if (owed->kind == GATE_DECIDE)
        return emit(a, u, owed, &owed->decision, arena, err);
    const struct model_evaluated *e = EV_REC(owed->evaluation, model_evaluated);
    const struct pipeline *p = agent_pipeline_at(a, e->pipeline_sha256, err);
    if (!p)
        return err_wrap(err, "evaluation %s", owed->evaluation->id);
    struct gate_judgement j;
    gate_judge(p, e, agent_now_ms(a), arena, &j);
    owed->decision.verdict = j.verdict;
    owed->decision.reason = j.reason;
    owed->decision.rules = j.rules;
    owed->decision.deadline_unix_ms = j.deadline_unix_ms;
    return emit(a, u, owed, &owed->decision, arena, err);
}

static int reconcile(struct agent *a, struct unit *u, struct err *err)
{
    struct arena arena = {0};
    struct gate_owed owed;
    int rc = 0;
    gate_find_owed(u->line, agent_now_ms(a), &arena, &owed);
    if (owed.kind != GATE_OWES_NOTHING)
        rc = decide(a, u, &owed, &arena, err);
    else if (owed.wake_unix_ms)
        agent_wake(a, u, owed.wake_unix_ms);
    arena_fini(&arena);
    return rc;
}

static bool is_answered(struct agent *a, struct unit *u, const struct event *ev)
{
    (void)a;
    return gate_is_answered(u->line, ev);
}

static const struct agent_input INPUTS[] = {
    {RECORD_MODEL_EVALUATED, INPUT_WORK},
    {RECORD_OPERATOR_COMMANDED, INPUT_WORK},
    {RECORD_DEPLOYMENT_CHANGED, INPUT_WORK}, /* refusals are answered with "again" */
    {RECORD_GATE_DECIDED, INPUT_TABLE},
};
static const enum record OUTPUTS[] = {RECORD_GATE_DECIDED};

const struct agent_spec gate_agent = {
    .name = "gate",
    .purpose = "Applies each pipeline's policy to evaluations: promote, reject, inconclusive, or "
               "wait for a person.",
    .example = "relearn-gate --brokers localhost:9092 --share 1/1",
    .inputs = INPUTS,
    .n_inputs = ARRAY_LEN(INPUTS),
    .outputs = OUTPUTS,
    .n_outputs = ARRAY_LEN(OUTPUTS),
    .reconcile = reconcile,
    .is_answered = is_answered,
};
