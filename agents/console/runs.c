/* Runs and models, gathered from a line's fold. */
#include <math.h>
#include <string.h>

#include "agents/console/console_internal.h"

static bool is(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

struct listing {
    struct json *list;
    const char *line;
    int64_t limit;
};

static const struct event *newest_of_run(const struct event_list *list,
                                         const char *(*run_of)(const struct event *ev),
                                         const char *run)
{
    for (size_t i = list->n; i > 0; i--)
        if (is(run_of(list->items[i - 1]), run))
            return list->items[i - 1];
    return NULL;
}

static const char *run_of_evaluation(const struct event *ev)
{
    return EV_REC(ev, model_evaluated)->run;
}

static const char *run_of_decision(const struct event *ev)
{
    return EV_REC(ev, gate_decided)->run;
}

static const char *run_of_deployment(const struct event *ev)
{
    return EV_REC(ev, deployment_changed)->run;
}

static void set_metrics(struct json *j, const struct event *evaluation)
{
    struct json *metrics = json_set(j, "metrics", json_object());
    const struct model_evaluated *e = evaluation ? evaluation->rec : NULL;
    for (size_t i = 0; e && i < e->metrics.n; i++) {
        const struct evaluation_metric *m = &e->metrics.items[i];
        if (strcmp(m->slice, "all") != 0)
            continue;
        struct json *v = json_set(metrics, m->metric, json_object());
        json_set_num(v, "candidate", m->candidate);
        json_set_num(v, "champion", m->champion);
        json_set_num(v, "difference", m->difference);
        json_set_num(v, "low", m->low);
        json_set_num(v, "high", m->high);
        json_set_int(v, "rows", m->rows);
    }
}

static const char *state_of(const struct event *closed, const struct event *model,
                            const struct event *evaluation, const struct event *decision)
{
    if (closed)
        return EV_REC(closed, training_planned)->outcome;
    if (decision)
        return is(EV_REC(decision, gate_decided)->verdict, "wait") ? "waits for approval"
                                                                   : "deploying";
    if (evaluation)
        return "deciding";
    return model ? "evaluating" : "training";
}

static struct json *run_json(const struct line *l, const struct event *plan)
{
    const struct training_planned *p = plan->rec;
    const struct event *closed = line_closed(l, plan->id), *model = line_model(l, plan->id);
    const struct event *evaluation =
        newest_of_run(&l->ev[RECORD_MODEL_EVALUATED], run_of_evaluation, plan->id);
    const struct event *decision =
        newest_of_run(&l->ev[RECORD_GATE_DECIDED], run_of_decision, plan->id);
    const struct event *deployment =
        newest_of_run(&l->ev[RECORD_DEPLOYMENT_CHANGED], run_of_deployment, plan->id);
    struct json *j = json_object();
    json_set_str(j, "run", plan->id);
    json_set_str(j, "line", l->key);
    json_set_str(j, "trigger", p->trigger);
    json_set_int(j, "triggers", (int64_t)p->covers.n);
    json_set_time(j, "planned", plan->time_unix_us);
    json_set_str(j, "state", state_of(closed, model, evaluation, decision));
    json_set_int(j, "snapshots", (int64_t)p->snapshots.n);
    json_set_int(j, "rows", p->rows);
    if (model) {
        const struct training_finished *m = model->rec;
        json_set_str(j, "model", m->model);
        json_set_int(j, "attempt", m->attempt);
        json_set_num(j, "training_seconds", m->seconds);
    }
    set_metrics(j, evaluation);
    if (deployment && is(EV_REC(deployment, deployment_changed)->kind, "changed"))
        json_set_int(j, "generation", EV_REC(deployment, deployment_changed)->generation);
    json_set_str(j, "decision", decision ? EV_REC(decision, gate_decided)->verdict : NULL);
    json_set_str(j, "reason",
                 decision ? EV_REC(decision, gate_decided)->reason
                 : closed ? EV_REC(closed, training_planned)->reason
                          : p->reason);
    if (closed)
        json_set_time(j, "closed", closed->time_unix_us);
    return j;
}

static void list_runs(const struct line *l, void *ctx)
{
    struct listing *w = ctx;
    const struct event_list *plans = &l->ev[RECORD_TRAINING_PLANNED];
    if (w->line && strcmp(l->key, w->line) != 0 && strcmp(l->pipeline, w->line) != 0)
        return;
    for (size_t i = plans->n; i > 0 && (int64_t)json_len(w->list) < w->limit; i--)
        if (is(EV_REC(plans->items[i - 1], training_planned)->kind, "requested"))
            json_add(w->list, run_json(l, plans->items[i - 1]));
}

struct json *runs_list(struct console *c, const char *line, int64_t limit)
{
    struct listing w = {json_array(), line, limit};
    console_each_line(c, list_runs, &w);
    return w.list;
}

static struct json *model_json(const struct line *l, const struct event *ev)
{
    const struct training_finished *m = ev->rec;
    const struct event *decision =
        newest_of_run(&l->ev[RECORD_GATE_DECIDED], run_of_decision, m->run);
    const struct event *evaluation =
        newest_of_run(&l->ev[RECORD_MODEL_EVALUATED], run_of_evaluation, m->run);
    const struct route *champion = line_champion(l), *canary = line_canary(l);
    const char *verdict = decision ? EV_REC(decision, gate_decided)->verdict : NULL;
    struct json *j = json_object();
    json_set_str(j, "model", m->model);
    json_set_str(j, "line", l->key);
    json_set_str(j, "run", m->run);
    json_set_time(j, "trained", ev->time_unix_us);
    json_set_int(j, "trained_rows", m->trained_rows);
    json_set_str(j, "trainer", m->trainer);
    if (champion && is(champion->model, m->model))
        json_set_str(j, "role", "champion");
    else if (canary && is(canary->model, m->model))
        json_set_str(j, "role", "canary");
    else
        json_set_str(j, "role",
                     is(verdict, "promote") ? "retired"
                     : verdict              ? verdict
                                            : "candidate");
    const struct event_list *changes = &l->ev[RECORD_DEPLOYMENT_CHANGED];
    struct json *generations = json_set(j, "generations", json_array());
    int64_t last = 0;
    for (size_t i = 0; i < changes->n; i++) {
        const struct deployment_changed *d = EV_REC(changes->items[i], deployment_changed);
        if (is(d->kind, "changed") && is(d->model, m->model) && d->generation != last)
            json_add_int(generations, last = d->generation);
    }
    set_metrics(j, evaluation);
    return j;
}

static void list_models(const struct line *l, void *ctx)
{
    struct listing *w = ctx;
    const struct event_list *models = &l->ev[RECORD_TRAINING_FINISHED];
    if (w->line && strcmp(l->key, w->line) != 0 && strcmp(l->pipeline, w->line) != 0)
        return;
    for (size_t i = models->n; i > 0 && (int64_t)json_len(w->list) < w->limit; i--)
        if (EV_REC(models->items[i - 1], training_finished)->model)
            json_add(w->list, model_json(l, models->items[i - 1]));
}

struct json *models_list(struct console *c, const char *line, int64_t limit)
{
    struct listing w = {json_array(), line, limit};
    console_each_line(c, list_models, &w);
    return w.list;
}
