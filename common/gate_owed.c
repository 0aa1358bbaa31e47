/* What the gate owes on a line, found in the fold: evaluations not decided, refused deployments
 * (the champion changed: evaluate again), commands, and waits whose deadline has come. */
#include <string.h>

#include "common/gate_internal.h"

bool gate__is(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

int64_t gate__champion(const struct line *l)
{
    const struct route *r = line_champion(l);
    return r ? r->generation : 0;
}

static bool was_refused(const struct line *l, const struct event *decision)
{
    const struct event *answer = line_answer(l, RECORD_DEPLOYMENT_CHANGED, decision->id);
    return answer && gate__is(EV_REC(answer, deployment_changed)->kind, "refused");
}

/* The decision that settled a run: a promotion that deploy did not refuse, a rejection, or
 * "inconclusive". */
static const struct event *final_decision(const struct line *l, const char *run)
{
    const struct event_list *list = &l->ev[RECORD_GATE_DECIDED];
    for (size_t i = list->n; i > 0; i--) {
        const struct event *ev = list->items[i - 1];
        const struct gate_decided *d = ev->rec;
        if (!gate__is(d->run, run ? run : ""))
            continue;
        if (gate__is(d->verdict, "reject") || gate__is(d->verdict, "inconclusive") ||
            (gate__is(d->verdict, "promote") && !was_refused(l, ev)))
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
        if (!gate__is(d->verdict, "wait") ||
            (target && !gate__is(target, ev->id) && !gate__is(d->run, target) &&
             !gate__is(d->model, target)))
            continue;
        bool is_open = true;
        for (size_t k = i; k < list->n; k++) /* anything decided later on this run ends the wait */
            is_open = is_open &&
                      !gate__is(EV_REC(list->items[k], gate_decided)->run, d->run ? d->run : "");
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

static void answer_evaluation(const struct line *l, const struct event *ev, struct arena *arena,
                              struct gate_owed *ret)
{
    const struct model_evaluated *e = ev->rec;
    int64_t now_generation = gate__champion(l);
    ret->evaluation = ev;
    ret->kind = GATE_DECIDE;
    ret->decision = from_evaluation(ev);
    if (final_decision(l, e->run)) {
        ret->decision.verdict = "already";
        ret->decision.reason = "this run was decided before";
    } else if (gate__is(e->status, "evaluated") && e->against != now_generation) {
        ret->decision.verdict = "again";
        ret->decision.reason = arena_printf(arena,
                                            "compared with generation %lld, but generation "
                                            "%lld serves now: to be evaluated again",
                                            (long long)e->against, (long long)now_generation);
    } else {
        ret->kind = GATE_JUDGE;
        ret->policy = e->pipeline_sha256;
    }
}

static void answer_refusal(const struct line *l, const struct event *ev, struct arena *arena,
                           struct gate_owed *ret)
{
    const struct event *decision = line_find(l, RECORD_GATE_DECIDED, ev->cause);
    if (!decision)
        return;
    ret->kind = GATE_DECIDE;
    ret->decision = *EV_REC(decision, gate_decided);
    ret->decision.verdict = "again";
    ret->decision.reason =
        arena_printf(arena, "the promotion was refused (%s): to be evaluated again",
                     EV_REC(ev, deployment_changed)->reason);
    ret->decision.by = "policy";
    ret->decision.rules = (struct rule_result_list){0};
    ret->decision.deadline_unix_ms = ABSENT_I64;
}

static void refuse(struct gate_owed *ret, const struct operator_commanded *c, const char *reason)
{
    ret->decision = (struct gate_decided){
        .verdict = "refused", .reason = reason, .by = c->by, .deadline_unix_ms = ABSENT_I64};
}

/* The operator looked at one state; what is asked for must not happen in another, or too late. */
static bool has_moved(const struct line *l, const struct operator_commanded *c, int64_t now_unix_ms,
                      struct arena *arena, struct gate_owed *ret)
{
    if (c->expires_unix_ms > 0 && now_unix_ms >= c->expires_unix_ms) {
        refuse(ret, c, "the command has expired: it was to be done earlier or not at all");
        return true;
    }
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
    ret->decision.deadline_unix_ms = w->deadline_unix_ms;
    if (gate__is(c->command, "reject")) {
        const char *why = c->reason && c->reason[0] ? arena_printf(arena, ": %s", c->reason) : "";
        ret->decision.verdict = "reject";
        ret->decision.reason = arena_printf(arena, "rejected by %s%s", ret->decision.by, why);
    } else if (gate__is(w->waits_for, "rows") || gate__is(w->waits_for, "freeze")) {
        refuse(ret, c,
               arena_printf(arena,
                            "it waits for %s, not for a person; force promotes past the gate",
                            gate__is(w->waits_for, "rows") ? "more rows" : "the end of a freeze"));
    } else { /* who may, and how many, says the policy */
        ret->kind = GATE_WEIGH;
        ret->policy = w->pipeline_sha256;
    }
}

/* A forced promotion: of a model that was evaluated on this line, whatever the rules said. */
static void force(const struct line *l, const struct operator_commanded *c, struct arena *arena,
                  struct gate_owed *ret)
{
    const struct event_list *list = &l->ev[RECORD_MODEL_EVALUATED];
    for (size_t i = list->n; i > 0; i--) {
        const struct model_evaluated *e = EV_REC(list->items[i - 1], model_evaluated);
        if (!e->model ||
            (c->target && !gate__is(c->target, e->model) && !gate__is(c->target, e->run)))
            continue;
        ret->decision = from_evaluation(list->items[i - 1]);
        ret->decision.verdict = "promote";
        ret->decision.against = gate__champion(l);
        ret->decision.by = c->by ? c->by : "operator";
        ret->decision.reason =
            arena_printf(arena, "FORCED by %s past the gate%s%s", ret->decision.by,
                         c->reason && c->reason[0] ? ": " : "", c->reason ? c->reason : "");
        return;
    }
    refuse(ret, c, "no evaluated model of this line has that digest or run");
}

static void answer_command(const struct line *l, const struct event *ev, int64_t now_unix_ms,
                           struct arena *arena, struct gate_owed *ret)
{
    const struct operator_commanded *c = ev->rec;
    ret->kind = GATE_DECIDE;
    if (has_moved(l, c, now_unix_ms, arena, ret))
        return;
    if (gate__is(c->command, "force"))
        force(l, c, arena, ret);
    else
        decide_waiting(l, c, arena, ret);
}

void gate_answer(const struct line *l, const struct event *cause, int64_t now_unix_ms,
                 struct arena *arena, struct gate_owed *ret)
{
    *ret = (struct gate_owed){.cause = cause};
    if (cause->type == RECORD_MODEL_EVALUATED)
        answer_evaluation(l, cause, arena, ret);
    else if (cause->type == RECORD_OPERATOR_COMMANDED)
        answer_command(l, cause, now_unix_ms, arena, ret);
    else if (cause->type == RECORD_DEPLOYMENT_CHANGED)
        answer_refusal(l, cause, arena, ret);
    else if (cause->type == RECORD_GATE_DECIDED)
        gate__answer_wait(l, cause, now_unix_ms, arena, ret);
    if (ret->kind == GATE_OWES_NOTHING)
        ret->cause = NULL;
}

/* The oldest event of a topic that the gate has not answered. */
static const struct event *first_open(const struct line *l, enum record r)
{
    const struct event_list *list = &l->ev[r];
    for (size_t i = 0; i < list->n; i++)
        if (!gate_is_answered(l, list->items[i]))
            return list->items[i];
    return NULL;
}

/* People first, then what was measured, what was refused, and what has waited long enough. */
void gate_find_owed(const struct line *l, int64_t now_unix_ms, struct arena *arena,
                    struct gate_owed *ret)
{
    const struct event *cause = first_open(l, RECORD_OPERATOR_COMMANDED);
    if (!cause)
        cause = first_open(l, RECORD_MODEL_EVALUATED);
    if (!cause)
        cause = first_open(l, RECORD_DEPLOYMENT_CHANGED);
    if (!cause)
        cause = open_wait(l, NULL);
    *ret = (struct gate_owed){0};
    if (cause)
        gate_answer(l, cause, now_unix_ms, arena, ret);
}

void gate_complete(const struct line *l, const struct pipeline *p, int64_t now_unix_ms,
                   struct arena *arena, struct gate_owed *owed)
{
    struct gate_decided *d = &owed->decision;
    if (owed->kind == GATE_JUDGE) {
        struct gate_judgement j;
        gate_judge(p, l, EV_REC(owed->evaluation, model_evaluated), now_unix_ms, arena, &j);
        d->verdict = j.verdict;
        d->reason = j.reason;
        d->rules = j.rules;
        d->deadline_unix_ms = j.deadline_unix_ms;
        d->waits_for = j.waits_for;
        d->then = j.then;
        d->rows_needed = j.rows_needed;
    } else if (owed->kind == GATE_WEIGH) {
        gate__weigh(l, p, now_unix_ms, arena, owed);
    }
    if (p && owed->policy &&
        gate__is(d->verdict, "promote")) /* what is forced needs no policy, and is not held */
        gate__hold(p, now_unix_ms, arena, d);
    if (!gate__is(d->verdict, "wait")) {
        d->waits_for = d->then = NULL;
        d->rows_needed = d->deadline_unix_ms = ABSENT_I64;
    }
    d->snapshots = (struct string_list){0};
    if (gate__is(d->verdict, "again")) /* an approval is of the comparison that was shown */
        d->approvals = (struct gate_approval_list){0};
    if (gate__is(d->verdict, "again"))
        d->snapshots = gate__later_snapshots(l, d->run, arena);
    d->line = l->key;
    d->base = l->decisions_base;
    d->decided_unix_ms = now_unix_ms;
    d->judge = GATE_JUDGE_VERSION;
    d->evaluations_read = (int64_t)l->ev[RECORD_MODEL_EVALUATED].n;
    d->snapshots_read = (int64_t)l->ev[RECORD_DATASET_INGESTED].n;
    d->deployments_read = (int64_t)l->ev[RECORD_DEPLOYMENT_CHANGED].n;
    owed->about =
        arena_printf(arena, "%s %lld", owed->about ? owed->about : "decided", (long long)d->base);
    if (gate__is(d->verdict, "refused")) /* in no chain, so no base to go stale */
        owed->about = "refused";
}

bool gate_is_answered(const struct line *l, const struct event *ev)
{
    bool is_mine = false;
    if (ev->type == RECORD_MODEL_EVALUATED)
        is_mine = true;
    else if (ev->type == RECORD_OPERATOR_COMMANDED) {
        const char *c = EV_REC(ev, operator_commanded)->command;
        is_mine = gate__is(c, "approve") || gate__is(c, "reject") || gate__is(c, "force");
    } else if (ev->type == RECORD_DEPLOYMENT_CHANGED &&
               gate__is(EV_REC(ev, deployment_changed)->kind, "refused")) {
        /* only a refused decision, and only the answer that counts */
        is_mine = line_find(l, RECORD_GATE_DECIDED, ev->cause) &&
                  line_answer(l, RECORD_DEPLOYMENT_CHANGED, ev->cause) == ev;
    }
    return !is_mine || line_answer(l, RECORD_GATE_DECIDED, ev->id) != NULL;
}
