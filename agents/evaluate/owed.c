#include "agents/evaluate/owed.h"

#include "common/strset.h"

static bool is(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

/* The candidate behind a decision "again"; NULL when the log does not have it. */
static const struct event *model_of(const struct line *l, const struct gate_decided *d)
{
    const struct event *ev =
        d->model_event ? line_find(l, RECORD_TRAINING_FINISHED, d->model_event) : NULL;

    if (!ev && d->run)
        ev = line_model(l, d->run);
    return ev && is(EV_REC(ev, training_finished)->status, "candidate") ? ev : NULL;
}

static bool asks(const struct line *l, const struct event *ev)
{
    if (ev->type == RECORD_TRAINING_FINISHED)
        return is(EV_REC(ev, training_finished)->status, "candidate");
    if (ev->type == RECORD_GATE_DECIDED)
        return is(EV_REC(ev, gate_decided)->verdict, "again") &&
               model_of(l, EV_REC(ev, gate_decided));
    return false;
}

bool evaluate_is_answered(const struct line *l, const struct event *ev)
{
    return line_is_void(l, ev->id) || !asks(l, ev) ||
           line_answer(l, RECORD_MODEL_EVALUATED, ev->id);
}

static const struct event *first_open(const struct line *l, enum record r)
{
    const struct event_list *list = &l->ev[r];

    for (size_t i = list->n; i > 0;
         i--) { /* from the newest: what is old was answered, and only a few are open */
        const struct event *ev = list->items[i - 1];

        if (!evaluate_is_answered(l, ev))
            return ev;
    }
    return NULL;
}

/* Two evaluations of one run, the second on more rows say, are one attempt. */
static int64_t attempt_of(const struct line *l, int64_t against, const char *run)
{
    const struct event_list *list = &l->ev[RECORD_MODEL_EVALUATED];
    struct strset runs = {0};
    int64_t n;

    for (size_t i = 0; i < list->n; i++) {
        const struct model_evaluated *e = EV_REC(list->items[i], model_evaluated);

        if (e->against == against && is(e->status, "evaluated") && e->run && !is(e->run, run))
            strset_add(&runs, slice_str(e->run));
    }
    n = (int64_t)runs.n + 1;
    strset_fini(&runs);
    return n;
}

static const char *champion_of(const struct deployment_changed *d)
{
    for (size_t i = 0; i < d->routes.n; i++)
        if (is(d->routes.items[i].role, "champion"))
            return d->routes.items[i].model;
    return NULL;
}

static bool is_listed(const char *const *list, size_t n, const char *word)
{
    for (size_t i = 0; i < n; i++)
        if (is(list[i], word))
            return true;
    return false;
}

/* From the newest deployment back: what each left in service, and what it rolled away. */
static void find_past(const struct line *l, struct evaluate_owed *ret)
{
    const struct event_list *list = &l->ev[RECORD_DEPLOYMENT_CHANGED];
    const char **bad = xcalloc(list->n + 1, sizeof(*bad));
    size_t n_bad = 0;

    for (size_t i = list->n; i-- > 0 && ret->n_past < EVALUATE_PAST_MODELS;) {
        const struct deployment_changed *d = EV_REC(list->items[i], deployment_changed);
        const char *model = champion_of(d), *before = NULL;

        if (i > 0)
            before = champion_of(EV_REC(list->items[i - 1], deployment_changed));
        if (is(d->action, "rollback") && before && !is(before, model))
            bad[n_bad++] = before;
        if (model && !is(model, ret->champion) && !is_listed(ret->past, ret->n_past, model) &&
            !is_listed(bad, n_bad, model))
            ret->past[ret->n_past++] = model;
    }
    free(bad);
}

void evaluate_find_owed(const struct line *l, struct evaluate_owed *ret)
{
    const struct route *champion = line_champion(l);

    *ret = (struct evaluate_owed){0};
    ret->cause = first_open(l, RECORD_TRAINING_FINISHED);
    if (ret->cause) {
        ret->model = ret->cause;
    } else {
        ret->cause = first_open(l, RECORD_GATE_DECIDED);
        if (!ret->cause)
            return;
        ret->model = model_of(l, EV_REC(ret->cause, gate_decided));
    }
    ret->against = champion ? champion->generation : 0;
    ret->champion = champion ? champion->model : NULL;
    find_past(l, ret);
    ret->attempt = attempt_of(l, ret->against, EV_REC(ret->model, training_finished)->run);
}
