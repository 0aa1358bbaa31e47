/* Triggers and commands: each has one answer, by the agent that owns it.  What plan has not
 * answered yet is open as long as something is going to wake the line: a run in flight, a pause, a
 * time that a deferred plan names. */
#include <string.h>

#include "agents/relearn/verify_internal.h"

static bool is_trigger(const struct event *ev)
{
    return ev->type == RECORD_DATASET_INGESTED || ev->type == RECORD_DRIFT_DETECTED ||
           (ev->type == RECORD_OPERATOR_COMMANDED &&
            verify__is(EV_REC(ev, operator_commanded)->command, "retrain"));
}

/* Is something going to make plan look at the line again? */
static bool will_wake(const struct check *c)
{
    const struct verify_list *plans = &c->l->ev[RECORD_TRAINING_PLANNED];
    bool is_paused = false;

    for (size_t i = 0; i < plans->n; i++) {
        const struct verify_event *e = &plans->items[i];
        const struct training_planned *p = e->ev->rec;

        if (!verify__counts(e))
            continue;
        if (verify__is(p->kind, "paused") || verify__is(p->kind, "resumed"))
            is_paused = verify__is(p->kind, "paused");
        if (verify__is(p->kind, "deferred") && p->until_unix_ms != ABSENT_I64 &&
            !verify__is_over(c, p->until_unix_ms))
            return true;
        if (verify__is(p->kind, "closed") && !verify__is_late(c, e))
            return true;
        if (verify__is(p->kind, "requested") && p->deadline_unix_ms != ABSENT_I64 &&
            !verify__is_over(c, p->deadline_unix_ms) &&
            !verify__counting(verify__of_run(c->l, RECORD_TRAINING_PLANNED, e->ev->id)))
            return true;
    }
    return is_paused;
}

struct planned {                               /* what plan said about one trigger */
    const struct verify_event *first, *second; /* requested, ignored or refused: final */
    bool is_deferred;
};

static void add_answer(struct planned *p, const struct verify_event *e)
{
    if (!p->first)
        p->first = e;
    else if (p->first != e && !p->second)
        p->second = e;
}

static void find_plans(const struct check *c, const struct verify_event *e, struct planned *ret)
{
    struct verify_group covering = verify__covering(c->l, e->ev->id),
                        answers = verify__answers(c->l, RECORD_TRAINING_PLANNED, e->ev->id);

    *ret = (struct planned){0};
    for (size_t i = 0; i < covering.n; i++)
        if (verify__counts(covering.items[i]))
            add_answer(ret, covering.items[i]);
    for (size_t i = 0; i < answers.n; i++) {
        const struct verify_event *a = answers.items[i];

        if (!verify__counts(a))
            continue;
        if (verify__is(EV_REC(a->ev, training_planned)->kind, "deferred"))
            ret->is_deferred = true;
        else
            add_answer(ret, a);
    }
}

static void trigger(struct check *c, const struct verify_event *e, bool wakes)
{
    struct planned p;

    find_plans(c, e, &p);
    verify__looked(c, VERIFY_TRIGGERS, e);
    if (p.second)
        verify__refute(c, VERIFY_TRIGGERS, e,
                       "look at both plans: two instances of plan may have the same partition",
                       "is answered twice: by %s (%s) and by %s (%s)", p.first->ev->id,
                       verify__short(EV_REC(p.first->ev, training_planned)->kind), p.second->ev->id,
                       verify__short(EV_REC(p.second->ev, training_planned)->kind));
    if (p.first)
        return;
    verify__unanswered(c, VERIFY_TRIGGERS, e, !wakes && verify__is_late(c, e),
                       "look whether plan runs: `relearn status`; it answers when it is started",
                       p.is_deferred ? "waits, and no time or run is left that it waits for"
                                     : "has no answer: no plan covers, defers or ignores it");
}

void verify__triggers(struct check *c)
{
    static const enum record KINDS[] = {RECORD_DATASET_INGESTED, RECORD_DRIFT_DETECTED,
                                        RECORD_OPERATOR_COMMANDED};
    bool wakes = will_wake(c);

    for (size_t k = 0; k < ARRAY_LEN(KINDS); k++) {
        const struct verify_list *list = &c->l->ev[KINDS[k]];

        for (size_t i = 0; i < list->n; i++)
            if (verify__counts(&list->items[i]) && is_trigger(list->items[i].ev))
                trigger(c, &list->items[i], wakes);
    }
}

/* ---- commands ---- */

static enum record owner(const char *command)
{
    static const char *const gates[] = {"approve", "reject", "force"};

    for (size_t i = 0; i < ARRAY_LEN(gates); i++)
        if (verify__is(command, gates[i]))
            return RECORD_GATE_DECIDED;
    return verify__is(command, "rollback") ? RECORD_DEPLOYMENT_CHANGED : RECORD_TRAINING_PLANNED;
}

void verify__commands(struct check *c)
{
    const struct verify_list *list = &c->l->ev[RECORD_OPERATOR_COMMANDED];

    for (size_t i = 0; i < list->n; i++) {
        const struct verify_event *e = &list->items[i];
        enum record r = owner(EV_REC(e->ev, operator_commanded)->command);
        struct verify_group g = verify__answers(c->l, r, e->ev->id);

        if (!verify__counts(e) || is_trigger(e->ev)) /* those are asked about as triggers */
            continue;
        verify__looked(c, VERIFY_COMMANDS, e);
        verify__answered_twice(c, VERIFY_COMMANDS, e, g);
        if (!verify__first(g))
            verify__unanswered(c, VERIFY_COMMANDS, e, verify__is_late(c, e),
                               "look whether its agent runs: `relearn status`",
                               r == RECORD_GATE_DECIDED         ? "gate has not answered it"
                               : r == RECORD_DEPLOYMENT_CHANGED ? "deploy has not answered it"
                                                                : "plan has not answered it");
    }
}
