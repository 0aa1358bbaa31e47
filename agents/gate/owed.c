/* What the gate owes on a line, found in the fold: evaluations not decided, refused deployments
 * (the champion changed: evaluate again), commands, and waits whose deadline has come. */
#include <string.h>

#include "agents/gate/policy.h"

static bool is(const char *a, const char *b)
{
    return a && strcmp(a, b) == 0;
}

static int64_t champion_generation(const struct line *l)
{
    const struct route *r = line_champion(l);
    return r ? r->generation : 0;
}

static bool was_refused(const struct line *l, const struct event *decision)
{
    const struct event *answer = line_answer(l, RECORD_DEPLOYMENT_CHANGED, decision->id);
    return answer && is(EV_REC(answer, deployment_changed)->kind, "refused");
}

/* The decision that settled a run: a promotion that deploy did not refuse, a rejection, or
 * "inconclusive". */
static const struct event *final_decision(const struct line *l, const char *run)
{
    const struct event_list *list = &l->ev[RECORD_GATE_DECIDED];
    for (size_t i = list->n; i > 0; i--) {
        const struct event *ev = list->items[i - 1];
        const struct gate_decided *d = ev->rec;
        if (!is(d->run, run ? run : ""))
            continue;
        if (is(d->verdict, "reject") || is(d->verdict, "inconclusive") ||
            (is(d->verdict, "promote") && !was_refused(l, ev)))
            return ev;
    }
    return NULL;
}

/* The newest wait that no later decision on its run has ended; target: its id or its run, NULL:
 * any. */
static const struct event *open_wait(const struct line *l, const char *target)
{
    const struct event_list *list = &l->ev[RECORD_GATE_DECIDED];
    for (size_t i = list->n; i > 0; i--) {
        const struct event *ev = list->items[i - 1];
        const struct gate_decided *d = ev->rec;
        if (!is(d->verdict, "wait") ||
            (target && !is(target, ev->id) && !is(d->run, target) && !is(d->model, target)))
            continue;
        bool is_open = true;
        for (size_t k = i; k < list->n; k++) /* anything decided later on this run ends the wait */
            is_open =
                is_open && !is(EV_REC(list->items[k], gate_decided)->run, d->run ? d->run : "");
        if (is_open)
            return ev;
    }
    return NULL;
}

static struct gate_decided from_evaluation(const struct event *ev)
{
    const struct model_evaluated *e = ev->rec;
    return (struct gate_decided){.run = e->run,
                                 .model = e->model,
                                 .model_event = e->model_event,
                                 .evaluation = ev->id,
                                 .against = e->against,
                                 .by = "policy",
                                 .pipeline_sha256 = e->pipeline_sha256,
                                 .deadline_unix_ms = ABSENT_I64};
}

static bool owes_evaluation(const struct line *l, struct arena *arena, struct gate_owed *ret)
{
    const struct event_list *list = &l->ev[RECORD_MODEL_EVALUATED];
    for (size_t i = 0; i < list->n; i++) {
        const struct event *ev = list->items[i];
        const struct model_evaluated *e = ev->rec;
        if (line_answer(l, RECORD_GATE_DECIDED, ev->id))
            continue;
        ret->cause = ret->evaluation = ev;
        ret->kind = GATE_DECIDE;
        ret->decision = from_evaluation(ev);
        int64_t now_generation = champion_generation(l);
        if (final_decision(l, e->run)) {
            ret->decision.verdict = "already";
            ret->decision.reason = "this run was decided before";
        } else if (is(e->status, "evaluated") && e->against != now_generation) {
            ret->decision.verdict = "again";
            ret->decision.reason = arena_printf(arena,
                                                "compared with generation %lld, but generation "
                                                "%lld serves now: to be evaluated again",
                                                (long long)e->against, (long long)now_generation);
        } else {
            ret->kind = GATE_JUDGE;
        }
        return true;
    }
    return false;
}

static bool owes_refusal(const struct line *l, struct arena *arena, struct gate_owed *ret)
{
    const struct event_list *list = &l->ev[RECORD_DEPLOYMENT_CHANGED];
    for (size_t i = 0; i < list->n; i++) {
        const struct event *ev = list->items[i];
        if (gate_is_answered(l, ev))
            continue;
        const struct event *decision = line_find(l, RECORD_GATE_DECIDED, ev->cause);
        ret->kind = GATE_DECIDE;
        ret->cause = ev;
        ret->decision = *EV_REC(decision, gate_decided);
        ret->decision.verdict = "again";
        ret->decision.reason =
            arena_printf(arena, "the promotion was refused (%s): to be evaluated again",
                         EV_REC(ev, deployment_changed)->reason);
        ret->decision.by = "policy";
        ret->decision.rules = (struct rule_result_list){0};
        ret->decision.deadline_unix_ms = ABSENT_I64;
        return true;
    }
    return false;
}

static void refuse(struct gate_owed *ret, const struct operator_commanded *c, const char *reason)
{
    ret->decision = (struct gate_decided){
        .verdict = "refused", .reason = reason, .by = c->by, .deadline_unix_ms = ABSENT_I64};
}

/* The operator looked at one state; what is asked for must not happen in another. */
static bool has_moved(const struct line *l, const struct operator_commanded *c, struct arena *arena,
                      struct gate_owed *ret)
{
    if (c->generation == ABSENT_I64 || c->generation == l->generation)
        return false;
    refuse(ret, c,
           arena_printf(arena,
                        "the state moved: the command was given at generation %lld, the line is "
                        "at %lld; look again",
                        (long long)c->generation, (long long)l->generation));
    return true;
}

static void decide_waiting(const struct line *l, const struct operator_commanded *c,
                           struct arena *arena, struct gate_owed *ret)
{
    const struct event *wait = open_wait(l, c->target);
    if (!wait) {
        refuse(ret, c,
               c->target ? "no decision with this id, run or model waits for approval"
                         : "nothing waits for approval on this line");
        return;
    }
    const struct gate_decided *w = wait->rec;
    ret->decision = *w;
    ret->decision.by = c->by ? c->by : "operator";
    ret->decision.deadline_unix_ms = ABSENT_I64;
    const char *why = c->reason && c->reason[0] ? arena_printf(arena, ": %s", c->reason) : "";
    if (is(c->command, "reject")) {
        ret->decision.verdict = "reject";
        ret->decision.reason = arena_printf(arena, "rejected by %s%s", ret->decision.by, why);
    } else if (w->against != champion_generation(l)) {
        ret->decision.verdict = "again";
        ret->decision.reason = arena_printf(arena,
                                            "approved by %s, but generation %lld serves now and it "
                                            "was compared with %lld: to be evaluated again",
                                            ret->decision.by, (long long)champion_generation(l),
                                            (long long)w->against);
    } else {
        ret->decision.verdict = "promote";
        ret->decision.reason = arena_printf(arena, "approved by %s%s", ret->decision.by, why);
    }
}

/* A forced promotion: of a model that was evaluated on this line, whatever the rules said. */
static void force(const struct line *l, const struct operator_commanded *c, struct arena *arena,
                  struct gate_owed *ret)
{
    const struct event_list *list = &l->ev[RECORD_MODEL_EVALUATED];
    for (size_t i = list->n; i > 0; i--) {
        const struct model_evaluated *e = EV_REC(list->items[i - 1], model_evaluated);
        if (!e->model || (c->target && !is(c->target, e->model) && !is(c->target, e->run)))
            continue;
        ret->decision = from_evaluation(list->items[i - 1]);
        ret->decision.verdict = "promote";
        ret->decision.against = champion_generation(l);
        ret->decision.by = c->by ? c->by : "operator";
        ret->decision.reason =
            arena_printf(arena, "FORCED by %s past the gate%s%s", ret->decision.by,
                         c->reason && c->reason[0] ? ": " : "", c->reason ? c->reason : "");
        return;
    }
    refuse(ret, c, "no evaluated model of this line has that digest or run");
}

static bool owes_command(const struct line *l, struct arena *arena, struct gate_owed *ret)
{
    const struct event_list *list = &l->ev[RECORD_OPERATOR_COMMANDED];
    for (size_t i = 0; i < list->n; i++) {
        const struct event *ev = list->items[i];
        const struct operator_commanded *c = ev->rec;
        if (gate_is_answered(l, ev))
            continue;
        ret->kind = GATE_DECIDE;
        ret->cause = ev;
        if (has_moved(l, c, arena, ret))
            return true;
        if (is(c->command, "force"))
            force(l, c, arena, ret);
        else
            decide_waiting(l, c, arena, ret);
        return true;
    }
    return false;
}

static bool owes_deadline(const struct line *l, int64_t now_unix_ms, struct arena *arena,
                          struct gate_owed *ret)
{
    const struct event *wait = open_wait(l, NULL);
    if (!wait)
        return false;
    const struct gate_decided *w = wait->rec;
    if (w->deadline_unix_ms == ABSENT_I64)
        return false;
    if (now_unix_ms < w->deadline_unix_ms) {
        ret->wake_unix_ms = w->deadline_unix_ms;
        return false;
    }
    ret->kind = GATE_DECIDE;
    ret->cause = wait;
    ret->about = "expired";
    ret->decision = *w;
    ret->decision.verdict = "reject";
    ret->decision.deadline_unix_ms = ABSENT_I64;
    ret->decision.by = "policy";
    ret->decision.reason =
        arena_printf(arena, "nobody approved it in time (%s)", w->reason ? w->reason : "");
    return true;
}

void gate_find_owed(const struct line *l, int64_t now_unix_ms, struct arena *arena,
                    struct gate_owed *ret)
{
    *ret = (struct gate_owed){0};
    if (owes_command(l, arena, ret) || owes_evaluation(l, arena, ret) ||
        owes_refusal(l, arena, ret) || owes_deadline(l, now_unix_ms, arena, ret))
        return;
    ret->kind = GATE_OWES_NOTHING;
}

bool gate_is_answered(const struct line *l, const struct event *ev)
{
    bool is_mine = false;
    if (ev->type == RECORD_MODEL_EVALUATED)
        is_mine = true;
    else if (ev->type == RECORD_OPERATOR_COMMANDED) {
        const char *c = EV_REC(ev, operator_commanded)->command;
        is_mine = is(c, "approve") || is(c, "reject") || is(c, "force");
    } else if (ev->type == RECORD_DEPLOYMENT_CHANGED &&
               is(EV_REC(ev, deployment_changed)->kind, "refused")) {
        /* only a refused decision, and only the answer that counts */
        is_mine = line_find(l, RECORD_GATE_DECIDED, ev->cause) &&
                  line_answer(l, RECORD_DEPLOYMENT_CHANGED, ev->cause) == ev;
    }
    return !is_mine || line_answer(l, RECORD_GATE_DECIDED, ev->id) != NULL;
}
