/* Why: from any event, run, model or prediction, step by step back to the first event, each with
 * the reason and numbers that its writer gave; and what followed from it. */
#include <stdio.h>
#include <string.h>

#include "agents/console/console_internal.h"
#include "common/mem.h"

enum {
    MAX_STEPS = 200,      /* causes have no cycles; a damaged log must not make one */
    MAX_EFFECTS = 100,    /* that are told of one event */
    MODEL_PREFIX_MIN = 8, /* digits of a model's digest that are enough to name it */
};

struct json *event_to_json(const struct event *ev)
{
    struct json *j = json_object(), *record = codec_to_json(ev->type, ev->rec);
    json_set_str(j, "topic", record_topic(ev->type));
    json_set_str(j, "id", ev->id);
    json_set_str(j, "key", ev->key);
    json_set_str(j, "cause", ev->cause);
    json_set_str(j, "correlation", ev->correlation);
    json_set_int(j, "hops", ev->hops);
    json_set_time(j, "time", ev->time_unix_us);
    json_set_str(j, "source", ev->source);
    if (record)
        json_set(j, "record", record);
    else
        json_set_null(j, "record");
    return j;
}

/* ---- one sentence of what an event says ---- */

static const char *or_empty(const char *s)
{
    return s ? s : "";
}

static void say_model(const struct training_finished *m, struct buf *b)
{
    if (m->model)
        buf_addf(b, "trained model %.12s on %lld rows in %.2f s (attempt %lld)", m->model,
                 (long long)m->trained_rows, m->seconds, (long long)m->attempt);
    else
        buf_addf(b, "training failed: %s", or_empty(m->reason));
}

static void say_input(enum record type, const void *rec, const char *id, struct buf *b)
{
    if (type == RECORD_DATASET_PUBLISHED) {
        const struct dataset_published *d = rec;
        buf_addf(b, "dataset %s version %s was published: %s", d->dataset,
                 d->version ? d->version : id, d->uri);
    } else if (type == RECORD_OPERATOR_COMMANDED) {
        const struct operator_commanded *o = rec;
        buf_addf(b, "%s asked: %s%s%s", o->by ? o->by : "somebody", o->command,
                 o->reason && o->reason[0] ? ": " : "", or_empty(o->reason));
    } else if (type == RECORD_DRIFT_DETECTED) {
        buf_addf(b, "drift: %s", ((const struct drift_detected *)rec)->summary);
    } else if (type == RECORD_PIPELINE_DECLARED) {
        const struct pipeline_declared *p = rec;
        buf_addf(b, "pipeline %s was declared by %s", p->name, p->by);
    } else if (type == RECORD_DEAD_LETTERED) {
        const struct dead_lettered *d = rec;
        buf_addf(b, "%s could not take the event at %s [%lld] offset %lld: %s", d->agent, d->topic,
                 (long long)d->partition, (long long)d->offset, d->reason);
    } else {
        buf_add_str(b, record_str(type));
    }
}

void event_say(enum record type, const void *rec, const char *id, struct buf *b)
{
    if (type == RECORD_DATASET_INGESTED) {
        const struct dataset_ingested *s = rec;
        buf_addf(b, "data %s: %s", s->status, or_empty(s->reason));
    } else if (type == RECORD_TRAINING_PLANNED) {
        const struct training_planned *p = rec;
        buf_addf(b, "plan %s: %s", p->kind, p->reason);
        if (p->covers.n > 1)
            buf_addf(b, " (answers %zu triggers)", p->covers.n);
    } else if (type == RECORD_TRAINING_FINISHED) {
        say_model(rec, b);
    } else if (type == RECORD_MODEL_EVALUATED) {
        const struct model_evaluated *e = rec;
        buf_addf(b, "evaluated on %lld rows against generation %lld%s%s", (long long)e->rows,
                 (long long)e->against, e->reason && e->reason[0] ? ": " : "", or_empty(e->reason));
    } else if (type == RECORD_GATE_DECIDED) {
        const struct gate_decided *d = rec;
        buf_addf(b, "gate, %s: %s", d->verdict, d->reason);
    } else if (type == RECORD_DEPLOYMENT_CHANGED) {
        const struct deployment_changed *d = rec;
        buf_addf(b, "deployment %s: %s", d->kind, d->reason);
    } else if (type == RECORD_HEALTH_MEASURED) {
        const struct health_measured *h = rec;
        buf_addf(b, "health of generation %lld, %s: %s", (long long)h->generation, h->verdict,
                 or_empty(h->reason));
    } else if (type == RECORD_SERVING_CHANGED) {
        buf_addf(b, "instance %s changed what it serves",
                 ((const struct serving_changed *)rec)->instance);
    } else {
        say_input(type, rec, id, b);
    }
}

/* ---- where an id is ---- */

static const struct event *find_event(struct console *c, const char *id)
{
    enum record r = RECORD_NONE;
    char key[CONSOLE_KEY_SIZE];
    if (!id || !view_find(c, id, &r, key))
        return NULL;
    struct unit *u = agent_unit(c->a, r, key);
    return u ? line_find(u->line, r, id) : NULL;
}

struct search {
    const char *id;
    const struct event *found;
};

static void look_for_model(const struct line *l, void *ctx)
{
    struct search *s = ctx;
    const struct event_list *list = &l->ev[RECORD_TRAINING_FINISHED];
    size_t n = strlen(s->id);
    for (size_t i = 0; i < list->n && !s->found; i++) {
        const char *model = EV_REC(list->items[i], training_finished)->model;
        if (model && n >= MODEL_PREFIX_MIN && strncmp(model, s->id, n) == 0)
            s->found = list->items[i];
    }
}

static void look_for_declaration(struct agent *a, const struct pipeline *p, void *ctx)
{
    struct search *s = ctx;
    const struct event *ev = agent_pipeline_event(a, p->name);
    if (strcmp(ev->id, s->id) == 0)
        s->found = ev;
}

/* The change that put a generation in service. */
static const struct event *deployment_of(const struct line *l, int64_t generation)
{
    const struct event_list *list = &l->ev[RECORD_DEPLOYMENT_CHANGED];
    for (size_t i = 0; i < list->n; i++) {
        const struct deployment_changed *d = EV_REC(list->items[i], deployment_changed);
        if (strcmp(d->kind, "changed") == 0 && d->generation == generation)
            return list->items[i];
    }
    return NULL;
}

/* The event to begin with, and in *root what the id is. */
static const struct event *begin_at(struct console *c, const char *id, struct json *root)
{
    struct view_prediction p;
    struct search s = {.id = id, .found = find_event(c, id)};
    if (!s.found)
        agent_each_pipeline(c->a, look_for_declaration, &s);
    if (s.found) {
        json_set_str(root, "what", record_str(s.found->type));
        return s.found;
    }
    if (view_find_prediction(c, id, &p)) {
        const struct line *l = console_line(c, p.line);
        json_set_str(root, "what", "prediction");
        json_set_str(root, "line", p.line);
        json_set_int(root, "generation", p.generation);
        json_set_time(root, "time", p.time_us);
        return l ? deployment_of(l, p.generation) : NULL;
    }
    console_each_line(c, look_for_model, &s);
    json_set_str(root, "what", "model");
    return s.found;
}

/* ---- steps ---- */

static void add_step(struct json *steps, const struct event *ev)
{
    CLEANUP(buf_fini) struct buf text = {0};
    struct json *j = json_add(steps, event_to_json(ev));
    event_say(ev->type, ev->rec, ev->id, &text);
    json_set_str(j, "says", text.data);
}

static void walk_back(struct console *c, const struct event *ev, struct json *steps)
{
    for (int n = 0; ev && n < MAX_STEPS; n++) {
        add_step(steps, ev);
        ev = find_event(c, ev->cause);
    }
}

/* A rollback was caused by a command, but the model that it brought back came from a run of its
 * own. */
static const struct event *origin_of_rollback(const struct line *l, const struct event *ev)
{
    const struct deployment_changed *d = ev->rec;
    if (ev->type != RECORD_DEPLOYMENT_CHANGED || !d->action || strcmp(d->action, "rollback") != 0)
        return NULL;
    const struct event_list *list = &l->ev[RECORD_TRAINING_FINISHED];
    for (size_t i = 0; i < list->n; i++) {
        const char *model = EV_REC(list->items[i], training_finished)->model;
        if (model && d->model && strcmp(model, d->model) == 0)
            return list->items[i];
    }
    return NULL;
}

/* What it caused, what that caused, and so on, nearest first. */
static void walk_on(struct console *c, const struct event *from, struct json *list)
{
    const struct event *queue[MAX_EFFECTS + 1] = {from};
    size_t n = 1;
    struct view_ids *effects = xcalloc(1, sizeof(*effects));
    for (size_t at = 0; at < n; at++) {
        view_effects(c, queue[at]->id, effects);
        for (size_t i = 0; i < effects->n && n < ARRAY_LEN(queue); i++) {
            const struct event *ev = find_event(c, effects->ids[i]);
            if (!ev)
                continue;
            queue[n++] = ev;
            add_step(list, ev);
        }
    }
    free_ptr(&effects);
}

static void answer_dead(struct console *c, struct httpd_request *rq, const char *id)
{
    char original[ID_SIZE];
    struct json *dead = view_dead_letter(c, id);
    if (!dead && dead_find_original(c, id, original))
        dead = view_dead_letter(c, original);
    if (!dead) {
        httpd_answer_error(rq, 404,
                           "nothing is known of %.200s: give the id of an event, a run, a model or "
                           "a prediction",
                           id);
        return;
    }
    struct json *root = json_object(), *steps;
    json_set_str(root, "what", record_str(RECORD_DEAD_LETTERED));
    json_set_str(root, "id", id);
    steps = json_set(root, "steps", json_array());
    dead_say(json_add(steps, dead));
    console_answer_json(rq, 200, root);
}

void query_explain(struct console *c, struct httpd_request *rq, const char *const *segs)
{
    const char *id = httpd_query(rq, "id");
    (void)segs;
    if (!id || !id[0]) {
        httpd_answer_error(rq, 400, "id: give ?id= of an event, a run, a model or a prediction");
        return;
    }
    struct json *root = json_object();
    const struct event *ev = begin_at(c, id, root);
    if (!ev) {
        json_free(root);
        answer_dead(c, rq, id);
        return;
    }
    json_set_str(root, "id", id);
    walk_back(c, ev, json_set(root, "steps", json_array()));
    const struct line *l = console_line(c, ev->key);
    const struct event *origin = l ? origin_of_rollback(l, ev) : NULL;
    if (origin)
        walk_back(c, origin, json_set(root, "model_came_from", json_array()));
    if (!json_get(root, "generation")) /* a prediction has led to nothing by itself */
        walk_on(c, ev, json_set(root, "led_to", json_array()));
    console_answer_json(rq, 200, root);
}
