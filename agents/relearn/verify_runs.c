/* Runs: asked for by a plan that counts, ended by one result (or their deadline), closed once; and
 * the evaluations of what they led to. */
#include <string.h>

#include "agents/relearn/verify_internal.h"

/* ---- results ---- */

static const struct verify_event *close_of(const struct check *c, const char *run)
{
    return verify__first(verify__of_run(c->l, RECORD_TRAINING_PLANNED, run));
}

/* The event that ended a run, if one did; a refused promotion ends none. */
static const struct verify_event *end_of(const struct check *c, const char *run)
{
    const struct verify_event *model =
        verify__first(verify__of_run(c->l, RECORD_TRAINING_FINISHED, run));
    struct verify_group decisions = verify__of_run(c->l, RECORD_GATE_DECIDED, run),
                        deployments = verify__of_run(c->l, RECORD_DEPLOYMENT_CHANGED, run);

    if (model && !verify__is(EV_REC(model->ev, training_finished)->status, "candidate"))
        return model;
    for (size_t i = 0; i < decisions.n; i++) {
        const char *verdict = EV_REC(decisions.items[i]->ev, gate_decided)->verdict;

        if (verify__counts(decisions.items[i]) &&
            (verify__is(verdict, "reject") || verify__is(verdict, "inconclusive")))
            return decisions.items[i];
    }
    for (size_t i = 0; i < deployments.n; i++) {
        const struct deployment_changed *d = deployments.items[i]->ev->rec;

        if (verify__counts(deployments.items[i]) && verify__is(d->kind, "changed") && d->is_final)
            return deployments.items[i];
    }
    return NULL;
}

static void run(struct check *c, const struct verify_event *plan)
{
    const struct training_planned *p = plan->ev->rec;
    const char *id = plan->ev->id;
    const struct verify_event *closed = close_of(c, id), *end = end_of(c, id);
    bool is_over = verify__is_over(c, p->deadline_unix_ms);

    verify__looked(c, VERIFY_RUNS, plan);
    if (!verify__is(p->run, id))
        verify__refute(c, VERIFY_RUNS, plan, "its writer is no plan agent of relearn: find it",
                       "asks for run %s, and a run is called as the plan that asks for it",
                       verify__short(p->run));
    if (closed)
        return;
    if (end && verify__is_late(c, end))
        verify__refute(c, VERIFY_RUNS, plan, "look whether plan runs: `relearn status`",
                       "has ended by %s (%s[%d]@%lld) and is not closed: the line stands still",
                       end->ev->id, record_topic(end->ev->type), end->ev->partition,
                       (long long)end->ev->offset);
    else if (is_over)
        verify__refute(c, VERIFY_RUNS, plan, "look whether plan runs: `relearn status`",
                       "is past its deadline, has %s and is not closed",
                       verify__counting(verify__of_run(c->l, RECORD_TRAINING_FINISHED, id))
                           ? "a result"
                           : "no result");
    else
        c->f->open[VERIFY_RUNS] += plan->is_judged;
}

static void result(struct check *c, const struct verify_event *model)
{
    const struct training_finished *m = model->ev->rec;
    const struct verify_event *plan = verify__find(c->l, RECORD_TRAINING_PLANNED, m->run),
                              *first = verify__first(
                                  verify__of_run(c->l, RECORD_TRAINING_FINISHED, m->run));

    verify__looked(c, VERIFY_RUNS, model);
    if (model->is_void && first)
        verify__refute(c, VERIFY_RUNS, model,
                       "it counts for nothing; find out who wrote it: the result of a run has "
                       "one id, whoever made it",
                       "is a second result of run %s: the first is %s (models[%d]@%lld)", m->run,
                       first->ev->id, first->ev->partition, (long long)first->ev->offset);
    if (!plan && c->l->is_cut)
        return;
    if (!plan || !verify__is(EV_REC(plan->ev, training_planned)->kind, "requested"))
        verify__refute(c, VERIFY_RUNS, model, "find out who wrote it",
                       "is the result of run %s, which no plan asks for", verify__short(m->run));
    else if (plan->is_void)
        verify__refute(c, VERIFY_RUNS, model,
                       "restart train with its state folder deleted, and look at what it did",
                       "is the result of run %s, whose plan is void", m->run);
    if (verify__is(m->status, "candidate") ? !m->model : !m->reason || !m->reason[0])
        verify__refute(c, VERIFY_RUNS, model, "train it again: `relearn retrain`",
                       "is %s and names no %s", verify__short(m->status),
                       verify__is(m->status, "candidate") ? "model" : "reason");
}

/* What `closed` says must have happened. */
static void ending(struct check *c, const struct verify_event *e)
{
    const struct training_planned *p = e->ev->rec;
    const struct verify_event *plan = verify__find(c->l, RECORD_TRAINING_PLANNED, p->run),
                              *end = end_of(c, p->run);
    bool needs_end = verify__is(p->outcome, "promoted") || verify__is(p->outcome, "rejected") ||
                     verify__is(p->outcome, "inconclusive") || verify__is(p->outcome, "failed");

    verify__looked(c, VERIFY_RUNS, e);
    if (c->l->is_cut)
        return;
    if (!plan || !verify__is(EV_REC(plan->ev, training_planned)->kind, "requested") ||
        plan->is_void)
        verify__refute(c, VERIFY_RUNS, e, "find out who wrote it",
                       "closes run %s, which no plan that counts asks for", verify__short(p->run));
    else if (needs_end && !end)
        verify__refute(c, VERIFY_RUNS, e,
                       "look at the run: `relearn explain`; an event that ended it is missing",
                       "closes run %s as %s, and nothing in the log ended it so", p->run,
                       p->outcome);
}

void verify__runs(struct check *c)
{
    const struct verify_list *plans = &c->l->ev[RECORD_TRAINING_PLANNED],
                             *models = &c->l->ev[RECORD_TRAINING_FINISHED];

    for (size_t i = 0; i < plans->n; i++) {
        const struct verify_event *e = &plans->items[i];

        if (verify__counts(e) && verify__is(EV_REC(e->ev, training_planned)->kind, "requested"))
            run(c, e);
        else if (verify__counts(e) && verify__is(EV_REC(e->ev, training_planned)->kind, "closed"))
            ending(c, e);
    }
    for (size_t i = 0; i < models->n; i++)
        if (!models->items[i].is_repeat)
            result(c, &models->items[i]);
}

/* ---- evaluations ---- */

/* A run that is closed needs no evaluation, but evaluate does not know that and gives one. */
static void asks(struct check *c, const struct verify_event *e, const char *run_id)
{
    struct verify_group g = verify__answers(c->l, RECORD_MODEL_EVALUATED, e->ev->id);
    const struct verify_event *plan = verify__find(c->l, RECORD_TRAINING_PLANNED, run_id);
    int64_t deadline = plan && verify__is(EV_REC(plan->ev, training_planned)->kind, "requested")
                           ? EV_REC(plan->ev, training_planned)->deadline_unix_ms
                           : ABSENT_I64;

    verify__looked(c, VERIFY_EVALUATIONS, e);
    if (!g.n)
        verify__unanswered(
            c, VERIFY_EVALUATIONS, e,
            verify__is_late(c, e) && (deadline == ABSENT_I64 || verify__is_over(c, deadline)),
            "look whether evaluate runs: `relearn status`",
            e->ev->type == RECORD_GATE_DECIDED ? "asks for another evaluation, and there is none"
                                               : "is a candidate that was never evaluated");
    for (size_t i = 1; i < g.n; i++) { /* two champions: a race that gate settles; one: none */
        const struct model_evaluated *a = g.items[i - 1]->ev->rec, *b = g.items[i]->ev->rec;

        if (a->against == b->against)
            verify__refute(c, VERIFY_EVALUATIONS, e,
                           "find out who wrote the second: it has another id than evaluate gives",
                           "is evaluated twice against generation %lld: by %s and by %s",
                           (long long)a->against, g.items[i - 1]->ev->id, g.items[i]->ev->id);
    }
}

static void evaluation(struct check *c, const struct verify_event *e)
{
    const struct model_evaluated *m = e->ev->rec;
    const struct verify_event *model = verify__find(c->l, RECORD_TRAINING_FINISHED, m->model_event);
    const struct training_finished *f = model ? model->ev->rec : NULL;

    verify__looked(c, VERIFY_EVALUATIONS, e);
    if (!f && c->l->is_cut)
        return;
    if (!f || !verify__counts(model))
        verify__refute(c, VERIFY_EVALUATIONS, e, "find out who wrote it",
                       "evaluates %s, which is no result that counts",
                       verify__short(m->model_event));
    else if (!verify__is(f->run, m->run) || (m->model && !verify__is(f->model, m->model)))
        verify__refute(c, VERIFY_EVALUATIONS, e, "find out who wrote it",
                       "is of run %s and model %s, and its result %s of run %s and model %s",
                       verify__short(m->run), verify__short(m->model), model->ev->id,
                       verify__short(f->run), verify__short(f->model));
}

void verify__evaluations(struct check *c)
{
    const struct verify_list *models = &c->l->ev[RECORD_TRAINING_FINISHED],
                             *decisions = &c->l->ev[RECORD_GATE_DECIDED],
                             *evaluations = &c->l->ev[RECORD_MODEL_EVALUATED];

    for (size_t i = 0; i < models->n; i++) {
        const struct training_finished *m = models->items[i].ev->rec;

        if (verify__counts(&models->items[i]) && verify__is(m->status, "candidate"))
            asks(c, &models->items[i], m->run);
    }
    for (size_t i = 0; i < decisions->n; i++) {
        const struct gate_decided *d = decisions->items[i].ev->rec;

        if (verify__counts(&decisions->items[i]) && verify__is(d->verdict, "again"))
            asks(c, &decisions->items[i], d->run);
    }
    for (size_t i = 0; i < evaluations->n; i++)
        if (verify__counts(&evaluations->items[i]))
            evaluation(c, &evaluations->items[i]);
}
