/* Promotions back to their first event; what instances say and answer against the deployments. */
#include <string.h>

#include "agents/relearn/verify_internal.h"

static const char RESTORE[] = "an event is missing from the log: look at the topic's retention";

/* ---- promotions ---- */

struct chain { /* of one promotion, as far as it was found */
    const struct verify_event *deployment, *decision, *evaluation, *model, *plan;
};

/* One step back: there, counting, and about the same run and model. */
static bool step(struct check *c, const struct chain *ch, const struct verify_event *e,
                 const char *what, const char *id, const char *run, const char *model)
{
    const struct deployment_changed *d = ch->deployment->ev->rec;

    if (!e && c->l->is_cut)
        return false;
    if (!e)
        verify__refute(c, VERIFY_PROMOTIONS, ch->deployment, RESTORE,
                       "has no %s: %s is not in the log", what, verify__short(id));
    else if (!verify__counts(e))
        verify__refute(c, VERIFY_PROMOTIONS, ch->deployment, "roll back: `relearn rollback`",
                       "rests on %s %s, which is void", what, e->ev->id);
    else if (!verify__is(run, d->run) || (model && !verify__is(model, d->model)))
        verify__refute(c, VERIFY_PROMOTIONS, ch->deployment, "roll back: `relearn rollback`",
                       "is of run %s and model %s, and its %s %s of run %s and model %s",
                       verify__short(d->run), verify__short(d->model), what, e->ev->id,
                       verify__short(run), verify__short(model));
    else
        return true;
    return false;
}

static void compared_with(struct check *c, const struct chain *ch)
{
    const struct deployment_changed *d = ch->deployment->ev->rec;
    const struct gate_decided *g = ch->decision->ev->rec;
    const struct model_evaluated *m = ch->evaluation->ev->rec;
    bool is_forced = verify__find(c->l, RECORD_OPERATOR_COMMANDED, ch->decision->ev->cause) != NULL;

    if (!verify__is(g->verdict, "promote"))
        verify__refute(c, VERIFY_PROMOTIONS, ch->deployment, "roll back: `relearn rollback`",
                       "promotes on decision %s, which says %s", ch->decision->ev->id,
                       verify__short(g->verdict));
    if (g->against != d->against || (!is_forced && m->against != d->against))
        verify__refute(c, VERIFY_PROMOTIONS, ch->deployment, "roll back: `relearn rollback`",
                       "takes over from generation %lld; its decision compared with %lld and its "
                       "evaluation with %lld",
                       (long long)d->against, (long long)g->against, (long long)m->against);
}

static void snapshots(struct check *c, const struct chain *ch)
{
    const struct training_planned *p = ch->plan->ev->rec;

    for (size_t i = 0; i < p->snapshots.n; i++) {
        const struct snapshot_ref *ref = &p->snapshots.items[i];
        const struct verify_event *e = verify__find(c->l, RECORD_DATASET_INGESTED, ref->event);
        const struct dataset_ingested *s = e ? e->ev->rec : NULL;

        if (!s && c->l->is_cut)
            continue;
        if (!s)
            verify__refute(c, VERIFY_PROMOTIONS, ch->deployment, RESTORE,
                           "learned from snapshot %s of event %s, which is not in the log",
                           verify__short(ref->snapshot), verify__short(ref->event));
        else if (!verify__is(s->status, "accepted") || !verify__is(s->snapshot, ref->snapshot))
            verify__refute(c, VERIFY_PROMOTIONS, ch->deployment, "roll back: `relearn rollback`",
                           "learned from snapshot %s, and event %s is %s with %s",
                           verify__short(ref->snapshot), ref->event, verify__short(s->status),
                           verify__short(s->snapshot));
    }
    if (!p->snapshots.n)
        verify__refute(c, VERIFY_PROMOTIONS, ch->deployment, "roll back: `relearn rollback`",
                       "learned from no snapshot: run %s names none", ch->plan->ev->id);
}

/* From the plan back to what began it: an event of another line's topic (a dataset), or of nobody.
 * That the causes themselves are there is asked of every event elsewhere. */
static void first_event(struct check *c, const struct chain *ch)
{
    enum { STEPS_MAX = 100000 }; /* a chain is as long as its deferrals; a ring has no end */
    const struct verify_event *e = ch->plan;

    for (int i = 0; i < STEPS_MAX; i++) {
        const struct verify_event *before = verify__find_any(c->l, e->ev->cause);

        if (!before && e->ev->type == RECORD_TRAINING_PLANNED && !e->ev->cause)
            verify__refute(c, VERIFY_PROMOTIONS, ch->deployment, "find out who wrote it",
                           "leads back to plan %s, which nothing caused", e->ev->id);
        if (!before)
            return;
        e = before;
    }
    verify__refute(c, VERIFY_PROMOTIONS, ch->deployment, "find out who wrote these",
                   "leads back in a ring, by %s", e->ev->id);
}

static void promotion(struct check *c, const struct verify_event *e)
{
    const struct deployment_changed *d = e->ev->rec;
    struct chain ch = {.deployment = e};
    const struct gate_decided *g;
    const struct model_evaluated *m;
    const struct training_finished *f;

    verify__looked(c, VERIFY_PROMOTIONS, e);
    ch.decision = verify__find(c->l, RECORD_GATE_DECIDED, d->decision);
    g = ch.decision ? ch.decision->ev->rec : NULL;
    if (!step(c, &ch, ch.decision, "decision", d->decision, g ? g->run : NULL,
              g ? g->model : NULL) ||
        !g)
        return;
    ch.evaluation = verify__find(c->l, RECORD_MODEL_EVALUATED, g->evaluation);
    m = ch.evaluation ? ch.evaluation->ev->rec : NULL;
    if (!step(c, &ch, ch.evaluation, "evaluation", g->evaluation, m ? m->run : NULL,
              m ? m->model : NULL) ||
        !m)
        return;
    ch.model = verify__find(c->l, RECORD_TRAINING_FINISHED, m->model_event);
    f = ch.model ? ch.model->ev->rec : NULL;
    if (!step(c, &ch, ch.model, "result", m->model_event, f ? f->run : NULL, f ? f->model : NULL) ||
        !f)
        return;
    ch.plan = verify__find(c->l, RECORD_TRAINING_PLANNED, d->run);
    if (!step(c, &ch, ch.plan, "run", d->run, ch.plan ? ch.plan->ev->id : NULL, NULL) || !ch.plan)
        return;
    compared_with(c, &ch);
    snapshots(c, &ch);
    first_event(c, &ch);
}

void verify__promotions(struct check *c)
{
    const struct verify_list *list = &c->l->ev[RECORD_DEPLOYMENT_CHANGED];

    for (size_t i = 0; i < list->n; i++) {
        const struct verify_event *e = &list->items[i];
        const struct deployment_changed *d = e->ev->rec;

        if (verify__counts(e) && verify__is(d->kind, "changed") &&
            (verify__is(d->action, "replace") || verify__is(d->action, "canary_begin")))
            promotion(c, e);
    }
}

/* ---- serving ---- */

/* The change that counts on a base; NULL. */
static const struct deployment_changed *change_on(const struct verify_line *l, int64_t base)
{
    const struct verify_list *list = &l->ev[RECORD_DEPLOYMENT_CHANGED];

    for (size_t i = 0; i < list->n; i++) {
        const struct deployment_changed *d = list->items[i].ev->rec;

        if (verify__counts(&list->items[i]) && verify__is(d->kind, "changed") && d->base == base)
            return d;
    }
    return NULL;
}

static bool routes_to(const struct deployment_changed *d, int64_t generation, const char *model,
                      const char *role)
{
    for (size_t i = 0; i < d->routes.n; i++) {
        const struct route *r = &d->routes.items[i];

        if (r->generation == generation && verify__is(r->model, model) &&
            (!role || verify__is(r->role, role)))
            return true;
    }
    return false;
}

/* Did this generation of the line ever have that model? */
static bool was_deployed(const struct verify_line *l, int64_t generation, const char *model)
{
    const struct verify_list *list = &l->ev[RECORD_DEPLOYMENT_CHANGED];

    for (size_t i = 0; i < list->n; i++)
        if (verify__counts(&list->items[i]) &&
            routes_to(list->items[i].ev->rec, generation, model, NULL))
            return true;
    return false;
}

static void refute_report(struct check *c, const struct verify_report *r, const char *todo,
                          const char *what)
{
    const struct finding_of of = {
        .check = VERIFY_SERVING, .at = r->at, .id = r->id, .line = c->l->key, .todo = todo};

    if (r->is_judged)
        findings_add(c->f, &of,
                     "%s says that it has generation %lld of deployment %lld with model %s "
                     "(%s): %s",
                     verify__short(r->instance), (long long)r->generation, (long long)r->sequence,
                     verify__short(r->model), verify__short(r->state), what);
}

/* A newest report that stays behind although its instance is there and has had the time. */
static void behind(struct check *c, const struct verify_report *r)
{
    const struct verify_list *list = &c->l->ev[RECORD_DEPLOYMENT_CHANGED];
    const struct verify_event *newest = NULL;

    for (size_t i = 0; i < list->n; i++)
        if (verify__counts(&list->items[i]) &&
            verify__is(EV_REC(list->items[i].ev, deployment_changed)->kind, "changed"))
            newest = &list->items[i];
    if (!newest || EV_REC(newest->ev, deployment_changed)->base < r->sequence)
        return;
    if (verify__is_late(c, newest))
        refute_report(c, r, "restart it: it does not follow the log", "a newer one is in force");
    else
        c->f->open[VERIFY_SERVING] += r->is_judged;
}

static void report(struct check *c, const struct verify_report *r)
{
    static const char RESTART[] = "restart the instance; if it stays, report it as a defect";
    const struct deployment_changed *d = change_on(c->l, r->sequence - 1);

    c->f->looked[VERIFY_SERVING] += r->is_judged;
    if (verify__is(r->state, "withdrawn"))
        return;
    if (r->is_newest)
        behind(c, r);
    if (!r->state) /* it says nothing of this line */
        return;
    if (!d && c->l->is_cut)
        return;
    if (!d)
        refute_report(c, r, RESTART, "the log has no such deployment");
    else if (verify__is(r->state, "serving") && !routes_to(d, r->generation, r->model, "champion"))
        refute_report(c, r, RESTART, "that deployment's champion is another");
    else if (verify__is(r->state, "failed") && r->model &&
             !was_deployed(c->l, r->generation, r->model))
        refute_report(c, r, RESTART, "that generation never had this model");
}

static void answered(struct check *c, const struct verify_answer *a)
{
    const struct finding_of of = {.check = VERIFY_SERVING,
                                  .at = a->at,
                                  .id = a->id,
                                  .line = c->l->key,
                                  .todo = "find the instance that answered: `relearn explain`"};

    c->f->looked[VERIFY_SERVING] += a->is_judged ? a->count : 0;
    if (!a->is_judged || c->l->is_cut || was_deployed(c->l, a->generation, a->model))
        return;
    findings_add(c->f, &of,
                 "is the first of %lld predictions of generation %lld by model %s, which was never "
                 "deployed as that",
                 (long long)a->count, (long long)a->generation, verify__short(a->model));
}

void verify__serving(struct check *c)
{
    for (size_t i = 0; i < c->l->n_reports; i++)
        report(c, &c->l->reports[i]);
    for (size_t i = 0; i < c->l->n_answers; i++)
        answered(c, &c->l->answers[i]);
}
