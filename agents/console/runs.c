/* Runs and models, gathered from the folds of the lines, newest first. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "agents/console/console_internal.h"
#include "agents/console/runs_view.h"
#include "common/mem.h"

static bool is(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

static const struct event *newest_evaluation(const struct line *l, const char *run)
{
    const struct event_list *list = &l->ev[RECORD_MODEL_EVALUATED];
    for (size_t i = list->n; i > 0; i--)
        if (is(EV_REC(list->items[i - 1], model_evaluated)->run, run))
            return list->items[i - 1];
    return NULL;
}

/* What was decided about the run; that it had been decided already is no decision. */
static const struct event *newest_decision(const struct line *l, const char *run)
{
    const struct event_list *list = &l->ev[RECORD_GATE_DECIDED];
    for (size_t i = list->n; i > 0; i--) {
        const struct gate_decided *d = EV_REC(list->items[i - 1], gate_decided);
        if (is(d->run, run) && !is(d->verdict, "already"))
            return list->items[i - 1];
    }
    return NULL;
}

static const struct event *newest_change(const struct line *l, const char *run)
{
    const struct event_list *list = &l->ev[RECORD_DEPLOYMENT_CHANGED];
    for (size_t i = list->n; i > 0; i--) {
        const struct deployment_changed *d = EV_REC(list->items[i - 1], deployment_changed);
        if (is(d->run, run) && is(d->kind, "changed"))
            return list->items[i - 1];
    }
    return NULL;
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

static void set_text(struct json *j, const char *key, const char *text)
{
    json_set_str(j, key, text && text[0] ? text : NULL);
}

/* ---- runs ---- */

static const char *state_of(const struct event *closed, const struct event *model,
                            const struct event *evaluation, const struct event *decision)
{
    const char *verdict = decision ? EV_REC(decision, gate_decided)->verdict : NULL;
    if (closed)
        return EV_REC(closed, training_planned)->outcome;
    if (is(verdict, "wait"))
        return "waits for approval";
    if (is(verdict, "again"))
        return "evaluating";
    if (decision)
        return is(verdict, "promote") ? "deploying" : "closing";
    if (evaluation)
        return "deciding";
    return model ? "evaluating" : "training";
}

/* What was said last of the run. */
struct said {
    const struct event *evaluation, *decision, *change;
};

static struct json *run_said_json(const struct line *l, const struct event *plan,
                                  const struct said *said)
{
    const struct training_planned *p = plan->rec;
    const struct event *closed = line_closed(l, plan->id), *model = line_model(l, plan->id);
    const struct event *evaluation = said->evaluation, *decision = said->decision;
    const struct event *change = said->change;
    struct json *j = json_object();
    json_set_str(j, "run", plan->id);
    json_set_str(j, "line", l->key);
    json_set_str(j, "trigger", p->trigger);
    json_set_int(j, "triggers", (int64_t)p->covers.n);
    json_set_time(j, "planned", plan->time_unix_us);
    set_text(j, "state", state_of(closed, model, evaluation, decision));
    json_set_int(j, "snapshots", (int64_t)p->snapshots.n);
    json_set_int(j, "rows", p->rows);
    if (model) {
        const struct training_finished *m = model->rec;
        set_text(j, "model", m->model);
        json_set_int(j, "attempt", m->attempt);
        json_set_num(j, "training_seconds", m->seconds);
    }
    set_metrics(j, evaluation);
    if (change)
        json_set_int(j, "generation", EV_REC(change, deployment_changed)->generation);
    json_set_str(j, "decision", decision ? EV_REC(decision, gate_decided)->verdict : NULL);
    json_set_str(j, "reason",
                 decision ? EV_REC(decision, gate_decided)->reason
                 : closed ? EV_REC(closed, training_planned)->reason
                          : p->reason);
    if (closed)
        json_set_time(j, "closed", closed->time_unix_us);
    return j;
}

static struct json *run_json(const struct line *l, const struct event *plan)
{
    struct said said = {newest_evaluation(l, plan->id), newest_decision(l, plan->id),
                        newest_change(l, plan->id)};
    return run_said_json(l, plan, &said);
}

/* ---- models ---- */

static const char *role_of(const struct line *l, const struct training_finished *m,
                           size_t generations)
{
    const struct route *champion = line_champion(l), *canary = line_canary(l);
    const struct event *decision = newest_decision(l, m->run);
    const char *verdict = decision ? EV_REC(decision, gate_decided)->verdict : "candidate";
    if (champion && is(champion->model, m->model))
        return "champion";
    if (canary && is(canary->model, m->model))
        return "canary";
    if (generations)
        return "retired";
    return is(verdict, "again") ? "candidate" : verdict;
}

static struct json *model_json(const struct line *l, const struct event *ev)
{
    const struct training_finished *m = ev->rec;
    const struct event_list *changes = &l->ev[RECORD_DEPLOYMENT_CHANGED];
    struct json *j = json_object(), *generations = json_array();
    int64_t last = 0;
    for (size_t i = 0; i < changes->n; i++) {
        const struct deployment_changed *d = EV_REC(changes->items[i], deployment_changed);
        if (is(d->kind, "changed") && is(d->model, m->model) && d->generation != last)
            json_add_int(generations, last = d->generation);
    }
    json_set_str(j, "model", m->model);
    json_set_str(j, "line", l->key);
    json_set_str(j, "run", m->run);
    json_set_time(j, "trained", ev->time_unix_us);
    json_set_int(j, "trained_rows", m->trained_rows);
    json_set_str(j, "trainer", m->trainer);
    json_set_str(j, "role", role_of(l, m, json_len(generations)));
    json_set(j, "generations", generations);
    set_metrics(j, newest_evaluation(l, m->run));
    return j;
}

/* ---- lists ---- */

struct found {
    const struct line *l;
    const struct event *ev;
};
struct listing {
    enum record record;
    const char *line; /* a line, or a pipeline with all its lines; NULL: everything */
    struct found *items;
    size_t n, cap;
};

static bool is_listed(const struct event *ev)
{
    return ev->type == RECORD_TRAINING_PLANNED ? is(EV_REC(ev, training_planned)->kind, "requested")
                                               : EV_REC(ev, training_finished)->model != NULL;
}

static void gather(const struct line *l, void *ctx)
{
    struct listing *w = ctx;
    const struct event_list *list = &l->ev[w->record];
    if (w->line && strcmp(l->key, w->line) != 0 && strcmp(l->pipeline, w->line) != 0)
        return;
    for (size_t i = 0; i < list->n; i++) {
        if (!is_listed(list->items[i]))
            continue;
        w->items = xgrow(w->items, &w->cap, w->n + 1, sizeof(*w->items));
        w->items[w->n++] = (struct found){l, list->items[i]};
    }
}

static int newest_first(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    if (x->ev->time_unix_us != y->ev->time_unix_us)
        return x->ev->time_unix_us > y->ev->time_unix_us ? -1 : 1;
    int by_line = strcmp(x->l->key, y->l->key);
    return by_line ? by_line : x->ev->offset > y->ev->offset ? -1 : 1;
}

static void answer_list(struct console *c, struct httpd_request *rq, enum record record,
                        struct json *(*to_json)(const struct line *l, const struct event *ev))
{
    int64_t limit = CONSOLE_LIST_ROWS;
    struct listing w = {.record = record, .line = httpd_query(rq, "line")};
    if (!console_query_int(rq, "limit", 1, CONSOLE_LIST_MAX_ROWS, &limit))
        return;
    console_each_line(c, gather, &w);
    if (w.n)
        qsort(w.items, w.n, sizeof(*w.items), newest_first);
    struct json *list = json_array();
    for (size_t i = 0; i < w.n && (int64_t)i < limit; i++)
        json_add(list, to_json(w.items[i].l, w.items[i].ev));
    free_ptr(&w.items);
    console_answer_json(rq, 200, list);
}

struct page {
    struct console *c;
    struct json *list;
};

static const struct event *find(const struct line *l, enum record r, const char *id)
{
    return id ? line_find(l, r, id) : NULL;
}

struct json *console_run_json(struct console *c, const struct runs_found *found)
{
    const struct line *l = console_line(c, found->line);
    const struct event *plan = l ? line_plan(l, found->run) : NULL;
    if (!plan)
        return NULL;
    struct said said = {find(l, RECORD_MODEL_EVALUATED, found->evaluation),
                        find(l, RECORD_GATE_DECIDED, found->decision),
                        find(l, RECORD_DEPLOYMENT_CHANGED, found->change)};
    struct json *j = run_said_json(l, plan, &said);
    json_set_str(j, "evaluation_event", found->evaluation);
    json_set_str(j, "decision_event", found->decision);
    return j;
}

static void add_found(void *ctx, const struct runs_found *found)
{
    struct page *page = ctx;
    struct json *j = console_run_json(page->c, found);
    if (j)
        json_set_str(json_add(page->list, j), "cursor", found->cursor);
}

/* From the view; from the fold while the view cannot be written. */
void query_runs(struct console *c, struct httpd_request *rq, const char *const *segs)
{
    struct err err = {0};
    struct page page = {.c = c};
    struct runs_query q = {.line = httpd_query(rq, "line"),
                           .filter = httpd_query(rq, "filter"),
                           .sort = httpd_query(rq, "sort"),
                           .cursor = httpd_query(rq, "cursor"),
                           .limit = CONSOLE_LIST_ROWS,
                           .now_us = agent_now_ms(c->a) * 1000};
    bool is_plain = !q.filter && !q.sort && !q.cursor;
    (void)segs;
    if (!c->view || c->view_failed) {
        if (is_plain)
            answer_list(c, rq, RECORD_TRAINING_PLANNED, run_json);
        else
            httpd_answer_error(rq, 503,
                               "the view cannot be written now, so there is no filter, "
                               "sort or cursor");
        return;
    }
    if (!console_query_int(rq, "limit", 1, CONSOLE_LIST_MAX_ROWS, &q.limit))
        return;
    page.list = json_array();
    if (runs_find(c->view, &q, add_found, &page, &err) == 0) {
        console_answer_json(rq, 200, page.list);
        return;
    }
    json_free(page.list);
    bool is_wrong = err.code == ERR_INVAL || err.code == ERR_LIMIT;
    httpd_answer_error(rq, is_wrong ? 400 : 503, "%s", err.msg);
}

void query_models(struct console *c, struct httpd_request *rq, const char *const *segs)
{
    (void)segs;
    answer_list(c, rq, RECORD_TRAINING_FINISHED, model_json);
}
