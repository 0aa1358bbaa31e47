/* The shell: what the fold says goes into the policy, what the policy says goes out. */
#include "agents/plan/plan.h"

#include "agents/plan/policy.h"
#include "common/log.h"

static int emit(struct agent *a, struct unit *u, const struct plan_action *action, struct err *err)
{
    struct emission e = {
        .record = RECORD_TRAINING_PLANNED,
        .key = u->key,
        .rec = &action->rec,
        .cause = action->cause,
        .about = action->about,
    };

    return agent_emit(a, u, &e, err);
}

static int plan_reconcile(struct agent *a, struct unit *u, struct err *err)
{
    struct plan_input in = {
        .line = u->line,
        .pipeline = agent_pipeline(a, u->line->pipeline),
        .now_unix_ms = agent_now_ms(a),
    };
    struct plan_output out = {0};
    int rc = 0;

    if (!u->self)
        u->self = xcalloc(1, sizeof(struct plan_memo));
    plan_decide(&in, u->self, &out);
    for (size_t i = 0; !rc && i < out.n; i++)
        rc = emit(a, u, &out.actions[i], err);
    if (out.wake_unix_ms != PLAN_NO_WAKE)
        agent_wake(a, u, out.wake_unix_ms);
    plan_output_fini(&out);
    return rc;
}

static bool is_answered(struct agent *a, struct unit *u, const struct event *ev)
{
    (void)a;
    return plan_is_answered(u->line, ev);
}

/* One line in the log for each plan that counts, whoever wrote it; not while the past is being
 * read. */
static void folded(struct agent *a, struct unit *u, const struct event *ev)
{
    const struct training_planned *p = ev->rec;

    if (ev->type != RECORD_TRAINING_PLANNED || !agent_is_ready(a) || !u->is_owned || !p->kind)
        return;
    log_info("plan.made", "line=%s kind=%s id=%s run=%s outcome=%s reason=\"%s\"", u->key, p->kind,
             ev->id, p->run ? p->run : "-", p->outcome ? p->outcome : "-",
             p->reason ? p->reason : "");
}

static void drop(struct agent *a, struct unit *u)
{
    (void)a;
    free_ptr(&u->self);
}

static const struct agent_input inputs[] = {
    {RECORD_DATASET_INGESTED, INPUT_WORK},   {RECORD_DRIFT_DETECTED, INPUT_WORK},
    {RECORD_OPERATOR_COMMANDED, INPUT_WORK}, {RECORD_TRAINING_FINISHED, INPUT_WORK},
    {RECORD_GATE_DECIDED, INPUT_WORK},       {RECORD_DEPLOYMENT_CHANGED, INPUT_WORK},
    {RECORD_TRAINING_PLANNED, INPUT_TABLE},  {RECORD_PIPELINE_DECLARED, INPUT_GLOBAL},
};
static const enum record outputs[] = {RECORD_TRAINING_PLANNED};

const struct agent_spec plan_agent = {
    .name = "plan",
    .purpose = "Decides when each line is retrained and on what data: debounce, merge, cool-down, "
               "budget, one run at a time.",
    .example = "relearn-plan --brokers 127.0.0.1:9092",
    .inputs = inputs,
    .n_inputs = ARRAY_LEN(inputs),
    .outputs = outputs,
    .n_outputs = ARRAY_LEN(outputs),
    .folded = folded,
    .reconcile = plan_reconcile,
    .is_answered = is_answered,
    .drop = drop,
};
