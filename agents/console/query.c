/* HTTP out: what is declared, what each line does now, which generation served when. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agents/console/console_internal.h"
#include "common/mem.h"

void json_set_time(struct json *obj, const char *key, int64_t unix_us)
{
    char text[CLK_RFC3339_SIZE];
    if (unix_us <= 0) {
        json_set_null(obj, key);
        return;
    }
    clk_format(unix_us, text);
    json_set_str(obj, key, text);
}

static void json_set_time_ms(struct json *obj, const char *key, int64_t unix_ms)
{
    json_set_time(obj, key, clk_us_of_ms(unix_ms));
}

static bool is(const char *a, const char *b)
{
    return a && strcmp(a, b) == 0;
}

/* ---- lines ---- */

const struct line *console_line(struct console *c, const char *key)
{
    struct unit *u = agent_unit(c->a, RECORD_TRAINING_PLANNED, key);
    return u ? u->line : NULL;
}

struct gathered {
    const struct line **items;
    size_t n, cap;
};

static void gather(struct agent *a, struct unit *u, void *ctx)
{
    struct gathered *g = ctx;
    /* datasets and instances have units of their own */
    if (agent_unit(a, RECORD_TRAINING_PLANNED, u->key) != u)
        return;
    g->items = xgrow(g->items, &g->cap, g->n + 1, sizeof(struct line *));
    g->items[g->n++] = u->line;
}

static int by_name(const void *a, const void *b)
{
    const struct line *const *x = a, *const *y = b;
    return strcmp((*x)->key, (*y)->key);
}

void console_each_line(struct console *c, void (*fn)(const struct line *l, void *ctx), void *ctx)
{
    struct gathered g = {0};
    agent_each_unit(c->a, gather, &g);
    if (g.n)
        qsort(g.items, g.n, sizeof(struct line *), by_name);
    for (size_t i = 0; i < g.n; i++)
        fn(g.items[i], ctx);
    free_ptr(&g.items);
}

/* The trigger behind a deferral: a later one is caused by the one before. */
static const char *trigger_of(const struct line *l, const struct event *deferred)
{
    const struct event *before = line_find(l, RECORD_TRAINING_PLANNED, deferred->cause);
    while (before && is(EV_REC(before, training_planned)->kind, "deferred")) {
        deferred = before;
        before = line_find(l, RECORD_TRAINING_PLANNED, deferred->cause);
    }
    return deferred->cause;
}

/* The newest deferral whose trigger still waits. */
static const struct training_planned *waiting(const struct line *l)
{
    const struct event_list *plans = &l->ev[RECORD_TRAINING_PLANNED];
    for (size_t i = plans->n; i > 0; i--) {
        const struct event *ev = plans->items[i - 1], *answer;
        if (!is(EV_REC(ev, training_planned)->kind, "deferred"))
            continue;
        answer = line_answer(l, RECORD_TRAINING_PLANNED, trigger_of(l, ev));
        if (answer && is(EV_REC(answer, training_planned)->kind, "deferred"))
            return ev->rec;
    }
    return NULL;
}

/* What a line does now, in one sentence. */
static void set_state(const struct line *l, struct json *j)
{
    const struct event_list *plans = &l->ev[RECORD_TRAINING_PLANNED];
    const struct training_planned *p;
    if (l->pause) {
        json_set_str(j, "state", "paused");
        json_set_str(j, "why", EV_REC(l->pause, training_planned)->reason);
    } else if (l->in_flight) {
        json_set_str(j, "state", "running");
        json_set_str(j, "run", l->in_flight->id);
        json_set_str(j, "why", EV_REC(l->in_flight, training_planned)->reason);
    } else if ((p = waiting(l))) {
        json_set_str(j, "state", "waiting");
        json_set_str(j, "why", p->reason);
        if (p->until_unix_ms != ABSENT_I64)
            json_set_time_ms(j, "until", p->until_unix_ms);
    } else {
        json_set_str(j, "state", "at rest");
        json_set_str(j, "why",
                     plans->n ? EV_REC(plans->items[plans->n - 1], training_planned)->reason
                              : "nothing has happened yet");
    }
}

static void add_line(const struct line *l, void *ctx)
{
    struct json *j = json_add(ctx, json_object());
    const struct route *champion = line_champion(l), *canary = line_canary(l);
    json_set_str(j, "line", l->key);
    json_set_int(j, "generation", champion ? champion->generation : 0);
    json_set_str(j, "model", champion ? champion->model : NULL);
    if (canary) {
        json_set_int(j, "canary", canary->generation);
        json_set_num(j, "canary_share", canary->weight);
    }
    set_state(l, j);
    const struct event_list *health = &l->ev[RECORD_HEALTH_MEASURED];
    if (health->n) {
        const struct health_measured *h = EV_REC(health->items[health->n - 1], health_measured);
        json_set_str(j, "health", h->verdict);
        json_set_str(j, "health_reason", h->reason);
    }
}

static struct json *lines_json(struct console *c)
{
    struct json *list = json_array();
    console_each_line(c, add_line, list);
    return list;
}

void query_lines(struct console *c, struct httpd_request *rq, const char *const *segs)
{
    (void)segs;
    console_answer_json(rq, 200, lines_json(c));
}

/* ---- status ---- */

static void add_instance(struct agent *a, struct unit *u, void *ctx)
{
    const struct event_list *list = &u->line->ev[RECORD_SERVING_CHANGED];
    (void)a;
    if (!list->n)
        return;
    const struct serving_changed *s = EV_REC(list->items[list->n - 1], serving_changed);
    if (s->stopping)
        return;
    struct json *j = json_add(ctx, json_object()), *lines;
    json_set_str(j, "instance", s->instance);
    json_set_str(j, "url", s->url);
    json_set_time_ms(j, "since", s->changed_unix_ms);
    lines = json_set(j, "lines", json_array());
    for (size_t i = 0; i < s->lines.n; i++) {
        const struct serving_line *l = &s->lines.items[i];
        struct json *item = json_add(lines, json_object());
        json_set_str(item, "line", l->line);
        json_set_int(item, "generation", l->generation);
        json_set_str(item, "state", l->state);
        if (l->reason && l->reason[0])
            json_set_str(item, "reason", l->reason);
    }
}

void query_status(struct console *c, struct httpd_request *rq, const char *const *segs)
{
    struct json *j = json_object(), *serving;
    (void)segs;
    json_set_str(j, "cluster", agent_cluster(c->a));
    json_set(j, "lines", lines_json(c));
    serving = json_set(j, "serving", json_array());
    agent_each_unit(c->a, add_instance, serving);
    json_set_int(j, "dead_letters", view_open_dead_letters(c));
    json_set_bool(j, "view_is_whole", !c->view_failed);
    console_answer_json(rq, 200, j);
}

/* ---- pipelines ---- */

static void add_pipeline(struct agent *a, const struct pipeline *p, void *ctx)
{
    struct json *j = json_add(ctx, json_object());
    const struct event *ev = agent_pipeline_event(a, p->name);
    const struct pipeline_declared *d = ev->rec;
    json_set_str(j, "pipeline", p->name);
    json_set_str(j, "dataset", p->dataset);
    json_set_str(j, "label", p->label);
    json_set_str(j, "task", task_str(p->task));
    json_set_str(j, "sha256", d->sha256);
    json_set_time_ms(j, "declared", d->declared_unix_ms);
    json_set_time_ms(j, "first_declared", d->first_declared_unix_ms);
    json_set_str(j, "by", d->by);
    json_set_str(j, "event", ev->id);
}

void query_pipelines(struct console *c, struct httpd_request *rq, const char *const *segs)
{
    struct json *list = json_array();
    (void)segs;
    agent_each_pipeline(c->a, add_pipeline, list);
    console_answer_json(rq, 200, list);
}

void query_pipeline(struct console *c, struct httpd_request *rq, const char *const *segs)
{
    const struct event *ev = agent_pipeline_event(c->a, segs[0]);
    if (!ev)
        httpd_answer_error(rq, 404, "no pipeline %.100s is declared", segs[0]);
    else
        httpd_answer(rq, 200, "application/yaml", slice_str(EV_REC(ev, pipeline_declared)->yaml));
}

/* ---- history: which generation served from when to when, and why ---- */

static const struct route *champion_of(const struct deployment_changed *d)
{
    for (size_t k = 0; is(d->kind, "changed") && k < d->routes.n; k++)
        if (is(d->routes.items[k].role, "champion"))
            return &d->routes.items[k];
    return NULL;
}

static struct json *history_json(const struct line *l)
{
    struct json *list = json_array(), *open = NULL;
    const struct event_list *changes = &l->ev[RECORD_DEPLOYMENT_CHANGED];
    int64_t champion = 0;
    for (size_t i = 0; i < changes->n; i++) {
        const struct event *ev = changes->items[i];
        const struct deployment_changed *d = ev->rec;
        const struct route *now = champion_of(d);
        if (!now || now->generation == champion)
            continue;
        if (open)
            json_set_time(open, "to", ev->time_unix_us);
        champion = now->generation;
        open = json_add(list, json_object());
        json_set_int(open, "generation", now->generation);
        json_set_str(open, "model", now->model);
        json_set_time(open, "from", ev->time_unix_us);
        json_set_null(open, "to");
        json_set_str(open, "action", d->action);
        json_set_str(open, "reason", d->reason);
        const struct event *decision = line_find(l, RECORD_GATE_DECIDED, d->decision);
        bool is_promotion = decision && !is(d->action, "rollback");
        json_set_str(open, "decision",
                     is_promotion ? EV_REC(decision, gate_decided)->reason : NULL);
        json_set_str(open, "run", d->run);
        json_set_str(open, "by", d->by);
        json_set_str(open, "event", ev->id);
    }
    return list;
}

void query_history(struct console *c, struct httpd_request *rq, const char *const *segs)
{
    const char *key = httpd_query(rq, "line");
    const struct line *l = key ? console_line(c, key) : NULL;
    (void)segs;
    if (!key)
        httpd_answer_error(rq, 400, "line: give ?line=PIPELINE or ?line=PIPELINE/SEGMENT");
    else if (!l)
        httpd_answer_error(rq, 404, "no line %.200s", key);
    else
        console_answer_json(rq, 200, history_json(l));
}

/* ---- events, as they were read ---- */

void query_events(struct console *c, struct httpd_request *rq, const char *const *segs)
{
    int64_t limit = CONSOLE_LIST_ROWS, after = 0;
    const char *topic = httpd_query(rq, "topic");
    (void)segs;
    if (!console_query_int(rq, "limit", 1, CONSOLE_LIST_MAX_ROWS, &limit) ||
        !console_query_int(rq, "after", 0, INT64_MAX, &after))
        return;
    if (topic && record_of_topic(topic) == RECORD_NONE)
        httpd_answer_error(rq, 400, "topic: there is no topic %.100s (without prefix)", topic);
    else
        console_answer_json(rq, 200, view_events(c, topic, httpd_query(rq, "key"), after, limit));
}
