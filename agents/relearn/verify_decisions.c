/* Decisions: one for each evaluation and each refused promotion, none that waits for ever, and each
 * promotion carried out or refused once. */
#include <string.h>

#include "agents/relearn/verify_internal.h"

static bool is_verdict(const struct verify_event *e, const char *verdict)
{
    return verify__is(EV_REC(e->ev, gate_decided)->verdict, verdict);
}

static const struct verify_event *last_change(const struct check *c)
{
    const struct verify_list *list = &c->l->ev[RECORD_DEPLOYMENT_CHANGED];

    for (size_t i = list->n; i-- > 0;)
        if (verify__counts(&list->items[i]) &&
            verify__is(EV_REC(list->items[i].ev, deployment_changed)->kind, "changed"))
            return &list->items[i];
    return NULL;
}

/* ---- what gate owes ---- */

static void evaluated(struct check *c, const struct verify_event *e)
{
    struct verify_group g = verify__answers(c->l, RECORD_GATE_DECIDED, e->ev->id);

    verify__looked(c, VERIFY_DECISIONS, e);
    verify__answered_twice(c, VERIFY_DECISIONS, e, g);
    if (!verify__first(g))
        verify__unanswered(c, VERIFY_DECISIONS, e, verify__is_late(c, e),
                           "look whether gate runs: `relearn status`", "was never decided on");
}

/* A promotion that deploy refused, since the champion had changed: evaluate again. */
static void refused(struct check *c, const struct verify_event *e)
{
    const struct verify_event *decision = verify__find(c->l, RECORD_GATE_DECIDED, e->ev->cause);
    struct verify_group g = verify__answers(c->l, RECORD_GATE_DECIDED, e->ev->id);

    if (!decision || !verify__counts(decision)) /* a command that was refused is answered by it */
        return;
    verify__looked(c, VERIFY_DECISIONS, e);
    verify__answered_twice(c, VERIFY_DECISIONS, e, g);
    if (!verify__first(g))
        verify__unanswered(c, VERIFY_DECISIONS, e, verify__is_late(c, e),
                           "look whether gate runs: `relearn status`",
                           "refuses a promotion, and gate has not asked to evaluate it again");
}

static void waits(struct check *c, const struct verify_event *e)
{
    const struct gate_decided *d = e->ev->rec;
    struct verify_group g = verify__of_run(c->l, RECORD_GATE_DECIDED, d->run);

    for (size_t i = 0; i < g.n; i++)
        if (verify__counts(g.items[i]) && g.items[i]->ev->offset > e->ev->offset)
            return;
    verify__unanswered(c, VERIFY_DECISIONS, e, verify__is_over(c, d->deadline_unix_ms),
                       "look whether gate runs: `relearn status`",
                       "waits for a person beyond its deadline");
}

/* ---- what deploy owes ---- */

static void promotes(struct check *c, const struct verify_event *e)
{
    struct verify_group g = verify__answers(c->l, RECORD_DEPLOYMENT_CHANGED, e->ev->id);
    const struct verify_event *last = last_change(c);
    bool is_rolling_out = last && !EV_REC(last->ev, deployment_changed)->is_final;

    verify__answered_twice(c, VERIFY_DECISIONS, e, g);
    if (!verify__first(g))
        verify__unanswered(c, VERIFY_DECISIONS, e, !is_rolling_out && verify__is_late(c, e),
                           "look whether deploy runs: `relearn status`",
                           "promotes a model, and deploy has neither changed nor refused");
}

/* A canary goes on, holds or goes back when its step is over. */
static void rollout(struct check *c)
{
    const struct verify_event *last = last_change(c);
    const struct deployment_changed *d = last ? last->ev->rec : NULL;

    if (!d || d->is_final)
        return;
    verify__unanswered(c, VERIFY_DECISIONS, last, verify__is_over(c, d->until_unix_ms),
                       "look whether deploy runs: `relearn status`",
                       "is a step of a rollout whose time is over, and nothing came after it");
}

/* A run is settled once; what a person commands comes on top. */
static void settles(struct check *c, const struct verify_event *e)
{
    const struct gate_decided *d = e->ev->rec;
    struct verify_group g = verify__of_run(c->l, RECORD_GATE_DECIDED, d->run);

    if (!is_verdict(e, "reject") && !is_verdict(e, "inconclusive"))
        return;
    for (size_t i = 0; i < g.n; i++) {
        const struct verify_event *other = g.items[i];
        bool is_later = other->ev->offset > e->ev->offset && verify__counts(other);

        if (is_later && !verify__find(c->l, RECORD_OPERATOR_COMMANDED, other->ev->cause) &&
            (is_verdict(other, "promote") || is_verdict(other, "reject") ||
             is_verdict(other, "inconclusive")))
            verify__refute(c, VERIFY_DECISIONS, other, "look at the run: `relearn explain`",
                           "decides run %s once more: %s settled it", d->run, e->ev->id);
    }
}

static void decision(struct check *c, const struct verify_event *e)
{
    const struct gate_decided *d = e->ev->rec;

    verify__looked(c, VERIFY_DECISIONS, e);
    if (!d->reason || !d->reason[0])
        verify__refute(c, VERIFY_DECISIONS, e, "find out who wrote it", "gives no reason");
    if (is_verdict(e, "wait"))
        waits(c, e);
    else if (is_verdict(e, "promote"))
        promotes(c, e);
    settles(c, e);
}

void verify__decisions(struct check *c)
{
    const struct verify_list *evaluations = &c->l->ev[RECORD_MODEL_EVALUATED],
                             *deployments = &c->l->ev[RECORD_DEPLOYMENT_CHANGED],
                             *decisions = &c->l->ev[RECORD_GATE_DECIDED];

    for (size_t i = 0; i < evaluations->n; i++)
        if (verify__counts(&evaluations->items[i]))
            evaluated(c, &evaluations->items[i]);
    for (size_t i = 0; i < decisions->n; i++)
        if (verify__counts(&decisions->items[i]))
            decision(c, &decisions->items[i]);
    for (size_t i = 0; i < deployments->n; i++)
        if (verify__counts(&deployments->items[i]) &&
            verify__is(EV_REC(deployments->items[i].ev, deployment_changed)->kind, "refused"))
            refused(c, &deployments->items[i]);
    rollout(c);
}
