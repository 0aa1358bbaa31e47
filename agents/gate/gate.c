/* The gate's shell: finds what is owed on a line, judges evaluations by the pipeline that their run
 * was held to, and emits the decision on the line's current base. */
#include "agents/gate/gate.h"

#include "common/gate.h"
#include "common/log.h"

static int decide(struct agent *a, struct unit *u, struct gate_owed *owed, struct arena *arena,
                  struct err *err)
{
    const struct pipeline *p = NULL;
    if (owed->policy && !(p = agent_pipeline_at(a, owed->policy, err)))
        return err_wrap(err, "answer %s", owed->cause->id);
    gate_complete(u->line, p, agent_now_ms(a), arena, owed);
    const struct gate_decided *d = &owed->decision;
    const struct emission e = {
        .record = RECORD_GATE_DECIDED, .rec = d, .cause = owed->cause, .about = owed->about};
    if (agent_emit(a, u, &e, err))
        return -1;
    log_info("gate.decided", "run=%s verdict=%s reason=%s", d->run ? d->run : "-", d->verdict,
             d->reason);
    return 0;
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
    {RECORD_TRAINING_FINISHED, INPUT_TABLE}, /* facts of runs and of their data */
    {RECORD_DATASET_INGESTED, INPUT_TABLE},
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
