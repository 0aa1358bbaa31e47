/* HTTP out: lines, pipelines, history, and the paths of everything else that is asked. */
#include <stdio.h>
#include <string.h>

#include "agents/console/console_internal.h"
#include "common/mem.h"

void json_set_time(struct json *obj, const char *key, int64_t unix_us)
{
    char text[CLK_RFC3339_SIZE];
    if (unix_us <= 0 || unix_us == ABSENT_I64) {
        json_set_null(obj, key);
        return;
    }
    clk_format(unix_us, text);
    json_set_str(obj, key, text);
}

const struct line *console_line(struct console *c, const char *key)
{
    struct unit *u = agent_unit(c->a, RECORD_TRAINING_PLANNED, key);
    return u ? u->line : NULL;
}

struct each {
    void (*fn)(const struct line *l, void *ctx);
    void *ctx;
};

static void each_unit(struct agent *a, struct unit *u, void *ctx)
{
    struct each *e = ctx;
    /* datasets and instances have units of their own */
    if (agent_unit(a, RECORD_TRAINING_PLANNED, u->key) == u)
        e->fn(u->line, e->ctx);
}

void console_each_line(struct console *c, void (*fn)(const struct line *l, void *ctx), void *ctx)
{
    struct each e = {fn, ctx};
    agent_each_unit(c->a, each_unit, &e);
}

static bool is(const char *a, const char *b)
{
    return a && strcmp(a, b) == 0;
}

/* What a line does now, in one sentence. */
static void set_state(const struct line *l, struct json *j)
{
    const struct event_list *plans = &l->ev[RECORD_TRAINING_PLANNED];
    if (l->pause) {
        json_set_str(j, "state", "paused");
        json_set_str(j, "why", EV_REC(l->pause, training_planned)->reason);
        return;
    }
    if (l->in_flight) {
        json_set_str(j, "state", "running");
        json_set_str(j, "run", l->in_flight->id);
        json_set_str(j, "why", EV_REC(l->in_flight, training_planned)->reason);
        return;
    }
    for (size_t i = plans->n; i > 0; i--) {
        const struct training_planned *p = EV_REC(plans->items[i - 1], training_planned);
        if (!is(p->kind, "deferred") || line_is_covered(l, plans->items[i - 1]->cause))
            continue;
        json_set_str(j, "state", "waiting");
        json_set_str(j, "why", p->reason);
        if (p->until_unix_ms != ABSENT_I64)
            json_set_time(j, "until", p->until_unix_ms * 1000);
        return;
    }
    json_set_str(j, "state", "at rest");
    json_set_str(j, "why",
                 plans->n ? EV_REC(plans->items[plans->n - 1], training_planned)->reason
                          : "nothing has happened yet");
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

struct json *query_lines(struct console *c)
{
    struct json *list = json_array();
    console_each_line(c, add_line, list);
    return list;
}

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
    json_set_time(j, "declared", d->declared_unix_ms * 1000);
    json_set_str(j, "event", ev->id);
}

struct json *query_pipelines(struct console *c)
{
    struct json *list = json_array();
    agent_each_pipeline(c->a, add_pipeline, list);
    return list;
}

/* Which generation served from when to when, and why. */
struct json *query_history(struct console *c, const struct line *l)
{
    (void)c;
    struct json *list = json_array(), *open = NULL;
    const struct event_list *changes = &l->ev[RECORD_DEPLOYMENT_CHANGED];
    int64_t champion = 0;
    for (size_t i = 0; i < changes->n; i++) {
        const struct deployment_changed *d = EV_REC(changes->items[i], deployment_changed);
        const struct route *now = NULL;
        for (size_t k = 0; is(d->kind, "changed") && k < d->routes.n; k++)
            if (is(d->routes.items[k].role, "champion"))
                now = &d->routes.items[k];
        if (!now || now->generation == champion)
            continue;
        if (open)
            json_set_time(open, "to", changes->items[i]->time_unix_us);
        champion = now->generation;
        open = json_add(list, json_object());
        json_set_int(open, "generation", now->generation);
        json_set_str(open, "model", now->model);
        json_set_time(open, "from", changes->items[i]->time_unix_us);
        json_set_null(open, "to");
        json_set_str(open, "action", d->action);
        json_set_str(open, "reason", d->reason);
        const struct event *decision =
            d->decision ? line_find(l, RECORD_GATE_DECIDED, d->decision) : NULL;
        json_set_str(open, "decision", decision ? EV_REC(decision, gate_decided)->reason : NULL);
        json_set_str(open, "run", d->run);
        json_set_str(open, "by", d->by);
        json_set_str(open, "event", changes->items[i]->id);
    }
    return list;
}

static int64_t query_int(const struct httpd_request *rq, const char *name, int64_t fallback,
                         int64_t max)
{
    int64_t v = fallback;
    const char *text = httpd_query(rq, name);
    if (text && (str_to_i64(text, &v) || v < 0))
        v = fallback;
    return v > max ? max : v;
}

static void answer_history(struct console *c, struct httpd_request *rq)
{
    const char *key = httpd_query(rq, "line");
    const struct line *l = key ? console_line(c, key) : NULL;
    if (!l)
        httpd_answer_error(rq, 404, "no line %s: ?line=PIPELINE or ?line=PIPELINE/SEGMENT",
                           key ? key : "");
    else
        console_answer_json(rq, 200, query_history(c, l));
}

static void answer_explain(struct console *c, struct httpd_request *rq)
{
    const char *id = httpd_query(rq, "id");
    struct json *j = id ? explain_id(c, id) : NULL;
    if (!j)
        httpd_answer_error(
            rq, 404,
            "nothing is known of %s: give the id of an event, a run, a model or a prediction",
            id ? id : "(no id)");
    else
        console_answer_json(rq, 200, j);
}

static void answer_pipeline(struct console *c, struct httpd_request *rq, const char *name)
{
    const struct event *ev = agent_pipeline_event(c->a, name);
    if (!ev)
        httpd_answer_error(rq, 404, "no pipeline %s is declared", name);
    else
        httpd_answer(rq, 200, "application/yaml", slice_str(EV_REC(ev, pipeline_declared)->yaml));
}

static void answer_dead_letter(struct console *c, struct httpd_request *rq, const char *id)
{
    struct json *j = view_dead_letter(c, id);
    if (!j)
        httpd_answer_error(rq, 404, "no dead letter %s", id);
    else
        console_answer_json(rq, 200, j);
}

static bool handle_lists(struct console *c, struct httpd_request *rq, const char *path)
{
    int64_t limit = query_int(rq, "limit", 100, CONSOLE_LIST_LIMIT);
    if (strcmp(path, "/v1/lines") == 0)
        console_answer_json(rq, 200, query_lines(c));
    else if (strcmp(path, "/v1/pipelines") == 0)
        console_answer_json(rq, 200, query_pipelines(c));
    else if (strcmp(path, "/v1/runs") == 0)
        console_answer_json(rq, 200, runs_list(c, httpd_query(rq, "line"), limit));
    else if (strcmp(path, "/v1/models") == 0)
        console_answer_json(rq, 200, models_list(c, httpd_query(rq, "line"), limit));
    else if (strcmp(path, "/v1/events") == 0)
        console_answer_json(rq, 200,
                            view_events(c, httpd_query(rq, "topic"), httpd_query(rq, "key"),
                                        query_int(rq, "after", 0, INT64_MAX), limit));
    else if (strcmp(path, "/v1/deadletters") == 0)
        console_answer_json(rq, 200, view_dead_letters(c, limit));
    else
        return false;
    return true;
}

bool query_handle(struct console *c, struct httpd_request *rq)
{
    const char *path = httpd_path(rq), *segs[1];
    if (strcmp(httpd_method(rq), "GET") != 0 && strcmp(httpd_method(rq), "HEAD") != 0)
        return false;
    if (handle_lists(c, rq, path))
        return true;
    if (strcmp(path, "/v1/history") == 0)
        answer_history(c, rq);
    else if (strcmp(path, "/v1/explain") == 0)
        answer_explain(c, rq);
    else if (strcmp(path, "/v1/watch") == 0)
        follow_watch(c, rq);
    else if (strcmp(path, "/v1/answer") == 0)
        follow_answer(c, rq);
    else if (httpd_match(rq, "/v1/pipelines/{}", segs, 1))
        answer_pipeline(c, rq, segs[0]);
    else if (httpd_match(rq, "/v1/deadletters/{}", segs, 1))
        answer_dead_letter(c, rq, segs[0]);
    else
        return false;
    return true;
}
