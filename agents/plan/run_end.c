/* How the run in flight ended: by a failed training, a decision that promotes nothing, the end of
 * its rollout, or its deadline.  A refused deployment ends nothing: gate says "evaluate again". */
#include "agents/plan/rules.h"

static bool is_final_verdict(const char *verdict)
{
    return plan__is(verdict, "reject") || plan__is(verdict, "inconclusive");
}

const char *plan__ended_run(const struct event *ev)
{
    if (ev->type == RECORD_TRAINING_FINISHED)
        return plan__is(EV_REC(ev, training_finished)->status, "candidate")
                   ? NULL
                   : EV_REC(ev, training_finished)->run;
    if (ev->type == RECORD_GATE_DECIDED)
        return is_final_verdict(EV_REC(ev, gate_decided)->verdict) ? EV_REC(ev, gate_decided)->run
                                                                   : NULL;
    if (ev->type == RECORD_DEPLOYMENT_CHANGED) {
        const struct deployment_changed *d = ev->rec;

        return plan__is(d->kind, "changed") && d->is_final ? d->run : NULL;
    }
    return NULL;
}

static const char *text_or(const char *s, const char *otherwise)
{
    return s && *s ? s : otherwise;
}

static bool end_by_model(const struct line *l, const char *run, struct arena *arena,
                         struct run_end *ret)
{
    const struct event *ev = line_model(l, run);

    if (!ev || !plan__ended_run(ev))
        return false;
    *ret = (struct run_end){
        ev, "closed", "failed",
        arena_printf(arena, "training failed: %.300s",
                     text_or(EV_REC(ev, training_finished)->reason, "no reason given"))};
    return true;
}

static bool end_by_decision(const struct line *l, const char *run, struct arena *arena,
                            struct run_end *ret)
{
    const struct event_list *events = &l->ev[RECORD_GATE_DECIDED];

    for (size_t i = 0; i < events->n; i++) {
        const struct event *ev = events->items[i];
        const struct gate_decided *d = ev->rec;

        if (!plan__is(plan__ended_run(ev), run))
            continue;
        *ret = (struct run_end){
            ev, "closed", plan__is(d->verdict, "reject") ? "rejected" : "inconclusive",
            arena_printf(arena, "%s by %.64s: %.300s",
                         plan__is(d->verdict, "reject") ? "rejected" : "inconclusive",
                         text_or(d->by, "gate"), text_or(d->reason, "no reason given"))};
        return true;
    }
    return false;
}

/* A rollback within the rollout: deploy's own, on health, or an operator's command. */
static void end_of_rollout(const struct line *l, const struct event *ev, struct arena *arena,
                           struct run_end *ret)
{
    const struct deployment_changed *d = ev->rec;
    const struct event *command = line_find(l, RECORD_OPERATOR_COMMANDED, ev->cause);
    const char *outcome = "promoted", *reason;

    if (!plan__is(d->action, "rollback")) {
        reason = arena_printf(arena, "generation %lld is in service", (long long)d->generation);
    } else if (command || !d->decision) {
        outcome = "superseded";
        reason = arena_printf(
            arena, "rolled back by %.64s during the rollout: %.200s",
            text_or(command ? EV_REC(command, operator_commanded)->by : d->by, "an operator"),
            text_or(d->reason, "no reason given"));
    } else {
        outcome = "rolled_back";
        reason = arena_printf(arena, "rolled back: %.300s", text_or(d->reason, "no reason given"));
    }
    *ret = (struct run_end){ev, "closed", outcome, reason};
}

static bool has_route(const struct deployment_changed *d, int64_t generation)
{
    for (size_t i = 0; i < d->routes.n; i++)
        if (d->routes.items[i].generation == generation)
            return true;
    return false;
}

static bool end_by_deployment(const struct line *l, const char *run, struct arena *arena,
                              struct run_end *ret)
{
    const struct event_list *events = &l->ev[RECORD_DEPLOYMENT_CHANGED];
    int64_t rolling = 0; /* the run's generation, while its rollout goes on */

    for (size_t i = 0; i < events->n; i++) {
        const struct event *ev = events->items[i];
        const struct deployment_changed *d = ev->rec;

        if (!plan__is(d->kind, "changed"))
            continue;
        if (plan__is(d->run, run) && d->is_final) {
            end_of_rollout(l, ev, arena, ret);
            return true;
        }
        if (plan__is(d->run, run)) {
            rolling = d->generation;
        } else if (rolling && !has_route(d, rolling)) {
            *ret = (struct run_end){
                ev, "closed", "superseded",
                arena_printf(
                    arena, "its rollout as generation %lld was replaced by %s of generation %lld",
                    (long long)rolling, text_or(d->action, "a change"), (long long)d->generation)};
            return true;
        }
    }
    return false;
}

bool plan__run_end(const struct plan_input *in, struct arena *arena, struct run_end *ret)
{
    const struct event *plan = in->line->in_flight;
    int64_t deadline = plan ? EV_REC(plan, training_planned)->deadline_unix_ms : ABSENT_I64;

    if (!plan)
        return false;
    if (end_by_model(in->line, plan->id, arena, ret) ||
        end_by_decision(in->line, plan->id, arena, ret) ||
        end_by_deployment(in->line, plan->id, arena, ret))
        return true;
    if (deadline == ABSENT_I64 || in->now_unix_ms < deadline)
        return false;
    *ret = (struct run_end){
        plan, "expired", "expired",
        arena_printf(arena, "not ended by %s, its deadline", plan__time(arena, deadline))};
    return true;
}
