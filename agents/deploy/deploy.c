/* The deploy agent's shell: what is owed on a line, and what the serving instances report. */
#include "agents/deploy/deploy.h"

#include <string.h>

#include "agents/deploy/rollout.h"
#include "common/log.h"

/* The text of a rollout's pipeline could not be read, and its steps wait for it. */
enum { PIPELINE_AGAIN_MS = 2000 };

struct looking {
    const struct line *l;
    struct serving_report report;
};

/* The newest report of one instance, when it is about the newest deployment of the line. */
static void look_at_instance(struct agent *a, struct unit *u, void *ctx)
{
    (void)a;
    struct looking *look = ctx;
    const struct event_list *list = &u->line->ev[RECORD_SERVING_CHANGED];
    if (!list->n)
        return;
    const struct event *ev = list->items[list->n - 1];
    const struct serving_changed *s = ev->rec;
    for (size_t i = 0; !s->stopping && i < s->lines.n; i++) {
        const struct serving_line *sl = &s->lines.items[i];
        if (strcmp(sl->line, look->l->key) != 0 || sl->sequence != look->l->deployments_base)
            continue;
        if (strcmp(sl->state, "failed") != 0) {
            look->report.serving++;
            continue;
        }
        look->report.failed++;
        if (!look->report.first_failure) {
            look->report.first_failure = ev;
            look->report.reason = sl->reason;
        }
    }
}

static const struct pipeline *pipeline_of(struct agent *a, const char *sha256)
{
    struct err err = {0};
    const struct pipeline *p = sha256 ? agent_pipeline_at(a, sha256, &err) : NULL;
    if (!p && sha256)
        log_warn("deploy.pipeline", "error=%s", err.msg);
    return p;
}

static int emit(struct agent *a, struct unit *u, struct rollout_owed *owed, struct arena *arena,
                struct err *err)
{
    struct deployment_changed *d = &owed->change;
    bool is_change = strcmp(d->kind, "changed") == 0;
    d->line = u->key;
    d->base = is_change ? u->line->deployments_base : ABSENT_I64;
    d->changed_unix_ms = agent_now_ms(a);
    struct emission e = {.record = RECORD_DEPLOYMENT_CHANGED, .rec = d, .cause = owed->cause};
    e.about = is_change ? arena_printf(arena, "%s %lld", owed->about ? owed->about : "changed",
                                       (long long)d->base)
                        : "refused";
    if (agent_emit(a, u, &e, err))
        return -1;
    log_info("deploy.changed", "kind=%s action=%s generation=%lld reason=%s", d->kind,
             d->action ? d->action : "-", (long long)d->generation, d->reason);
    return 0;
}

static int reconcile(struct agent *a, struct unit *u, struct err *err)
{
    struct arena arena = {0};
    struct looking look = {.l = u->line};
    struct rollout_owed owed;
    const struct pipeline *p = NULL;
    const char *sha256 = NULL;
    int rc = 0;
    agent_each_unit(a, look_at_instance, &look);
    if (rollout_is_under_way(u->line))
        sha256 = EV_REC(u->line->deployment, deployment_changed)->pipeline_sha256;
    p = pipeline_of(a, sha256);
    rollout_find_owed(u->line, p, &look.report, agent_now_ms(a), &arena, &owed);
    if (owed.is_owed && owed.needs_pipeline) {
        p = agent_pipeline_at(a, EV_REC(owed.cause, gate_decided)->pipeline_sha256, err);
        rc = p ? 0 : err_wrap(err, "decision %s", owed.cause->id);
        if (p)
            rollout_begin(u->line, p, owed.cause, agent_now_ms(a), &arena, &owed.change);
    }
    if (owed.is_owed && !rc)
        rc = emit(a, u, &owed, &arena, err);
    else if (owed.wake_unix_ms)
        agent_wake(a, u, owed.wake_unix_ms);
    /* Not by an error: in its back-off a command to roll back would wait as well. */
    if (!p && sha256)
        agent_wake(a, u, agent_now_ms(a) + PIPELINE_AGAIN_MS);
    arena_fini(&arena);
    return rc;
}

static bool is_answered(struct agent *a, struct unit *u, const struct event *ev)
{
    (void)a;
    return rollout_is_answered(u->line, ev);
}

/* What an instance serves may end a rollout of the line that it speaks of. */
static void folded(struct agent *a, struct unit *u, const struct event *ev)
{
    (void)u;
    if (ev->type != RECORD_SERVING_CHANGED)
        return;
    const char *line = EV_REC(ev, serving_changed)->changed_line;
    if (line)
        agent_touch(a, agent_unit(a, RECORD_DEPLOYMENT_CHANGED, line));
}

static const struct agent_input INPUTS[] = {
    {RECORD_GATE_DECIDED, INPUT_WORK},       {RECORD_HEALTH_MEASURED, INPUT_WORK},
    {RECORD_OPERATOR_COMMANDED, INPUT_WORK}, {RECORD_DEPLOYMENT_CHANGED, INPUT_TABLE},
    {RECORD_SERVING_CHANGED, INPUT_GLOBAL},
};
static const enum record OUTPUTS[] = {RECORD_DEPLOYMENT_CHANGED};

const struct agent_spec deploy_agent = {
    .name = "deploy",
    .purpose = "Carries decisions out: routes requests to a promoted model at once or by canary "
               "steps, and goes back.",
    .example = "relearn-deploy --brokers localhost:9092 --share 1/1",
    .inputs = INPUTS,
    .n_inputs = ARRAY_LEN(INPUTS),
    .outputs = OUTPUTS,
    .n_outputs = ARRAY_LEN(OUTPUTS),
    .folded = folded,
    .reconcile = reconcile,
    .is_answered = is_answered,
};
