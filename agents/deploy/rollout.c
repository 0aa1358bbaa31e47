/* Rollouts.
 *
 * A promotion gives the model the next generation.  `replace` routes everything to it at once;
 * `canary` by steps, each for an interval, back by itself when its health is degraded, no instance
 * can load it, or too few predictions come to tell.  Going back is a new generation with the old
 * model: generations only rise, so that serving can fence.  While a rollout is under way the next
 * promotion waits for it. */
#include "agents/deploy/rollout.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/clk.h"

static bool is(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

static const struct deployment_changed *current(const struct line *l)
{
    return l->deployment ? EV_REC(l->deployment, deployment_changed) : NULL;
}

static int64_t champion_generation(const struct line *l)
{
    const struct route *r = line_champion(l);
    return r ? r->generation : 0;
}

bool rollout_is_under_way(const struct line *l)
{
    const struct deployment_changed *d = current(l);
    return d && !d->is_final;
}

bool rollout_is_answered(const struct line *l, const struct event *ev)
{
    bool is_mine =
        (ev->type == RECORD_GATE_DECIDED && is(EV_REC(ev, gate_decided)->verdict, "promote")) ||
        (ev->type == RECORD_OPERATOR_COMMANDED &&
         is(EV_REC(ev, operator_commanded)->command, "rollback"));
    return !is_mine || line_answer(l, RECORD_DEPLOYMENT_CHANGED, ev->id) != NULL;
}

static struct route_list one_route(struct arena *arena, int64_t generation, const char *model)
{
    struct route *r = arena_alloc(arena, sizeof(*r));
    *r = (struct route){.generation = generation, .model = model, .role = "champion", .weight = 1};
    return (struct route_list){r, 1};
}

static struct route_list two_routes(struct arena *arena, const struct route *champion,
                                    int64_t generation, const char *model, double share)
{
    struct route *r = arena_alloc(arena, 2 * sizeof(*r));
    r[0] = (struct route){.generation = champion->generation,
                          .model = champion->model,
                          .role = "champion",
                          .weight = 1 - share};
    r[1] =
        (struct route){.generation = generation, .model = model, .role = "canary", .weight = share};
    return (struct route_list){r, 2};
}

void rollout_begin(const struct line *l, const struct pipeline *p, const struct event *decision,
                   int64_t now_unix_ms, struct arena *arena, struct deployment_changed *ret)
{
    const struct gate_decided *d = decision->rec;
    const struct route *champion = line_champion(l);
    *ret = (struct deployment_changed){
        .kind = "changed",
        .generation = l->generation + 1,
        .run = d->run,
        .model = d->model,
        .decision = decision->id,
        .against = champion_generation(l),
        .by = d->by,
        .pipeline_sha256 = d->pipeline_sha256,
        .until_unix_ms = ABSENT_I64,
    };
    bool is_canary =
        p->strategy == STRATEGY_CANARY && champion && p->n_steps > 0 && p->steps[0] < 1;
    if (!is_canary) {
        ret->action = "replace";
        ret->routes = one_route(arena, ret->generation, d->model);
        ret->is_final = true;
        ret->reason =
            champion ? arena_printf(arena, "generation %lld takes over from generation %lld",
                                    (long long)ret->generation, (long long)champion->generation)
                     : arena_printf(arena, "generation %lld is the first in service",
                                    (long long)ret->generation);
        return;
    }
    ret->action = "canary_begin";
    ret->step = 1;
    ret->steps = (int64_t)p->n_steps;
    ret->routes = two_routes(arena, champion, ret->generation, d->model, p->steps[0]);
    ret->until_unix_ms = now_unix_ms + p->interval_ms;
    ret->reason = arena_printf(arena, "generation %lld answers %.4g %% of requests, step 1 of %zu",
                               (long long)ret->generation, 100 * p->steps[0], p->n_steps);
}

/* Back to a model that served before, as a new generation. */
static void go_back(const struct line *l, const struct route *to, const char *reason,
                    struct arena *arena, struct deployment_changed *ret)
{
    const struct deployment_changed *now = current(l);
    bool is_abort = now && !now->is_final;
    *ret = (struct deployment_changed){
        .kind = "changed",
        .action = "rollback",
        .generation = l->generation + 1,
        .is_final = true,
        .model = to->model,
        .run = is_abort ? now->run : NULL,
        .decision = is_abort ? now->decision : NULL,
        .against = champion_generation(l),
        .by = "policy",
        .until_unix_ms = ABSENT_I64,
        .reason = reason,
        .pipeline_sha256 = is_abort ? now->pipeline_sha256 : NULL,
    };
    ret->routes = one_route(arena, ret->generation, to->model);
}

static void refuse(const char *reason, const char *by, struct deployment_changed *ret)
{
    *ret = (struct deployment_changed){.kind = "refused",
                                       .base = ABSENT_I64,
                                       .is_final = true,
                                       .reason = reason,
                                       .by = by,
                                       .until_unix_ms = ABSENT_I64};
}

/* The champion route of an earlier deployment: of that generation, or the newest with another model
 * than now. */
static const struct route *earlier_champion(const struct line *l, int64_t generation)
{
    const struct route *now = line_champion(l);
    const struct event_list *list = &l->ev[RECORD_DEPLOYMENT_CHANGED];
    for (size_t i = list->n; i > 0; i--) {
        const struct deployment_changed *d = EV_REC(list->items[i - 1], deployment_changed);
        for (size_t k = 0; is(d->kind, "changed") && k < d->routes.n; k++) {
            const struct route *r = &d->routes.items[k];
            if (!is(r->role, "champion"))
                continue;
            if (generation == ABSENT_I64 ? !is(r->model, now->model) : r->generation == generation)
                return r;
        }
    }
    return NULL;
}

static void rollback_command(const struct line *l, const struct operator_commanded *c,
                             struct arena *arena, struct deployment_changed *ret)
{
    const struct route *now = line_champion(l);
    const char *by = c->by ? c->by : "operator";
    if (!now) {
        refuse("nothing is in service on this line: there is nothing to roll back", by, ret);
        return;
    }
    if (c->generation != ABSENT_I64 && c->generation != l->generation) {
        refuse(arena_printf(arena,
                            "the state moved: the command was given at generation %lld, the line "
                            "is at %lld; look again",
                            (long long)c->generation, (long long)l->generation),
               by, ret);
        return;
    }
    bool is_abort = rollout_is_under_way(l) && c->to_generation == ABSENT_I64;
    const struct route *to = is_abort ? now : earlier_champion(l, c->to_generation);
    if (!to) {
        refuse(c->to_generation == ABSENT_I64
                   ? "no other model served on this line before"
                   : arena_printf(arena, "generation %lld never was the champion of this line",
                                  (long long)c->to_generation),
               by, ret);
        return;
    }
    if (to->generation == now->generation && !rollout_is_under_way(l)) {
        refuse(
            arena_printf(arena, "generation %lld is in service already", (long long)to->generation),
            by, ret);
        return;
    }
    go_back(l, to,
            arena_printf(arena, "rolled back by %s to the model of generation %lld%s%s", by,
                         (long long)to->generation, c->reason && c->reason[0] ? ": " : "",
                         c->reason ? c->reason : ""),
            arena, ret);
    ret->by = by;
}

static bool owes_command(const struct line *l, struct arena *arena, struct rollout_owed *ret)
{
    const struct event_list *list = &l->ev[RECORD_OPERATOR_COMMANDED];
    for (size_t i = 0; i < list->n; i++) {
        if (rollout_is_answered(l, list->items[i]))
            continue;
        ret->is_owed = true;
        ret->cause = list->items[i];
        rollback_command(l, list->items[i]->rec, arena, &ret->change);
        return true;
    }
    return false;
}

static bool owes_decision(const struct line *l, struct arena *arena, struct rollout_owed *ret)
{
    const struct event_list *list = &l->ev[RECORD_GATE_DECIDED];
    for (size_t i = 0; i < list->n; i++) {
        const struct event *ev = list->items[i];
        const struct gate_decided *d = ev->rec;
        if (rollout_is_answered(l, ev))
            continue;
        if (rollout_is_under_way(l)) /* it ends by itself */
            return false;
        ret->is_owed = true;
        ret->cause = ev;
        if (d->against == champion_generation(l)) {
            ret->needs_pipeline = true;
            return true;
        }
        refuse(arena_printf(
                   arena,
                   "the decision compared with generation %lld, but generation %lld serves now",
                   (long long)d->against, (long long)champion_generation(l)),
               "policy", &ret->change);
        ret->change.run = d->run;
        ret->change.model = d->model;
        ret->change.decision = ev->id;
        ret->change.against = d->against;
        return true;
    }
    return false;
}

/* ---- a rollout under way ---- */

struct canary_health {
    int64_t predictions;
    const struct event *degraded;
};

static struct canary_health health_of(const struct line *l, int64_t generation)
{
    struct canary_health h = {0};
    const struct event_list *list = &l->ev[RECORD_HEALTH_MEASURED];
    for (size_t i = 0; i < list->n; i++) {
        const struct health_measured *m = EV_REC(list->items[i], health_measured);
        if (m->generation != generation)
            continue;
        if (is(m->kind, "window"))
            h.predictions += m->predictions;
        if (is(m->verdict, "degraded") && !h.degraded)
            h.degraded = list->items[i];
    }
    return h;
}

static int holds_of(const struct line *l, int64_t generation, int64_t step)
{
    int n = 0;
    const struct event_list *list = &l->ev[RECORD_DEPLOYMENT_CHANGED];
    for (size_t i = 0; i < list->n; i++) {
        const struct deployment_changed *d = EV_REC(list->items[i], deployment_changed);
        n += is(d->action, "canary_hold") && d->generation == generation && d->step == step ? 1 : 0;
    }
    return n;
}

static void go_on(const struct line *l, const struct pipeline *p, int64_t now_unix_ms,
                  struct arena *arena, struct deployment_changed *ret)
{
    const struct deployment_changed *now = current(l);
    *ret = *now;
    ret->step = now->step + 1;
    ret->by = "policy";
    size_t next = (size_t)now->step; /* steps[0] was step 1 */
    double share = next < p->n_steps ? p->steps[next] : 1;
    if (share >= 1) {
        ret->action = "promote";
        ret->is_final = true;
        ret->step = now->steps;
        ret->until_unix_ms = ABSENT_I64;
        ret->routes = one_route(arena, now->generation, now->model);
        ret->reason = arena_printf(
            arena, "generation %lld answers all requests: its %lld canary steps passed",
            (long long)now->generation, (long long)now->steps);
        return;
    }
    ret->action = "canary_step";
    ret->until_unix_ms = now_unix_ms + p->interval_ms;
    ret->routes = two_routes(arena, line_champion(l), now->generation, now->model, share);
    ret->reason = arena_printf(
        arena, "generation %lld answers %.4g %% of requests, step %lld of %lld",
        (long long)now->generation, 100 * share, (long long)ret->step, (long long)ret->steps);
}

static void hold(const struct line *l, const struct pipeline *p, int64_t have, int64_t now_unix_ms,
                 struct arena *arena, struct rollout_owed *ret)
{
    const struct deployment_changed *now = current(l);
    int holds = holds_of(l, now->generation, now->step);
    if (holds >= ROLLOUT_MAX_HOLDS) {
        go_back(l, line_champion(l),
                arena_printf(arena,
                             "went back: %lld predictions in %d intervals are too few to judge "
                             "generation %lld by (%lld are asked)",
                             (long long)have, holds, (long long)now->generation,
                             (long long)p->canary_min_predictions),
                arena, &ret->change);
        return;
    }
    ret->change = *now;
    ret->change.action = "canary_hold";
    ret->change.by = "policy";
    ret->change.until_unix_ms = now_unix_ms + p->interval_ms;
    ret->change.reason =
        arena_printf(arena, "holds at step %lld of %lld: %lld predictions so far, %lld are asked",
                     (long long)now->step, (long long)now->steps, (long long)have,
                     (long long)p->canary_min_predictions);
}

static bool owes_step(const struct line *l, const struct pipeline *p, int64_t now_unix_ms,
                      struct arena *arena, struct rollout_owed *ret)
{
    const struct deployment_changed *now = current(l);
    if (!rollout_is_under_way(l))
        return false;
    struct canary_health h = health_of(l, now->generation);
    ret->cause = l->deployment;
    if (h.degraded) {
        const struct health_measured *m = h.degraded->rec;
        ret->is_owed = true;
        ret->cause = h.degraded;
        go_back(l, line_champion(l),
                arena_printf(arena, "went back: the health of generation %lld is degraded: %s",
                             (long long)now->generation, m->reason ? m->reason : "no reason given"),
                arena, &ret->change);
        return true;
    }
    /* A step that began in the future has ended: the clock was wrong then, or is now. */
    bool is_ahead = now->changed_unix_ms > now_unix_ms + CLK_SKEW_MS;
    if (now->until_unix_ms != ABSENT_I64 && now_unix_ms < now->until_unix_ms && !is_ahead) {
        ret->wake_unix_ms = now->until_unix_ms;
        return false;
    }
    if (!p)
        return false;
    ret->is_owed = true;
    if (h.predictions < p->canary_min_predictions * now->step)
        hold(l, p, h.predictions, now_unix_ms, arena, ret);
    else
        go_on(l, p, now_unix_ms, arena, &ret->change);
    return true;
}

/* A generation that no instance can load goes back to the one before. */
static bool owes_rescue(const struct line *l, const struct serving_report *serving,
                        struct arena *arena, struct rollout_owed *ret)
{
    const struct deployment_changed *now = current(l);
    if (!now || !serving || !serving->failed || serving->serving || is(now->action, "rollback"))
        return false;
    const struct route *to = now->is_final ? earlier_champion(l, ABSENT_I64) : line_champion(l);
    if (!to)
        return false;
    ret->is_owed = true;
    ret->cause =
        l->deployment; /* not the instance's event: whoever sees it first, the id is the same */
    ret->about = "cannot be loaded";
    go_back(l, to,
            arena_printf(arena, "went back: no instance of serve can load generation %lld: %s",
                         (long long)now->generation,
                         serving->reason ? serving->reason : "no reason given"),
            arena, &ret->change);
    return true;
}

void rollout_find_owed(const struct line *l, const struct pipeline *p,
                       const struct serving_report *serving, int64_t now_unix_ms,
                       struct arena *arena, struct rollout_owed *ret)
{
    *ret = (struct rollout_owed){0};
    if (owes_command(l, arena, ret) || owes_rescue(l, serving, arena, ret) ||
        owes_step(l, p, now_unix_ms, arena, ret))
        return;
    int64_t wake_unix_ms = ret->wake_unix_ms;
    if (owes_decision(l, arena, ret))
        return;
    *ret = (struct rollout_owed){.wake_unix_ms = wake_unix_ms};
}
