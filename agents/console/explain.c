/* Why: from any event, run, model or prediction, step by step back to the first event, each with
 * the reason and numbers that its writer gave. */
#include <stdio.h>
#include <string.h>

#include "agents/console/console_internal.h"
#include "common/mem.h"

enum { MAX_STEPS = 200 }; /* causes have no cycles; a damaged log must not make one */

struct json *event_to_json(const struct event *ev)
{
    struct json *j = json_object();
    json_set_str(j, "topic", record_topic(ev->type));
    json_set_str(j, "id", ev->id);
    json_set_str(j, "key", ev->key);
    json_set_str(j, "cause", ev->cause);
    json_set_str(j, "correlation", ev->correlation);
    json_set_int(j, "hops", ev->hops);
    json_set_time(j, "time", ev->time_unix_us);
    json_set_str(j, "source", ev->source);
    json_set(j, "record", codec_to_json(ev->type, ev->rec));
    return j;
}

/* One sentence of what an event says. */
static void say(const struct event *ev, struct buf *b)
{
    switch (ev->type) {
    case RECORD_DATASET_PUBLISHED: {
        const struct dataset_published *d = ev->rec;
        buf_addf(b, "dataset %s version %s was published: %s", d->dataset,
                 d->version ? d->version : ev->id, d->uri);
        break;
    }
    case RECORD_DATASET_INGESTED: {
        const struct dataset_ingested *s = ev->rec;
        buf_addf(b, "data %s: %s", s->status, s->reason ? s->reason : "");
        break;
    }
    case RECORD_DRIFT_DETECTED:
        buf_addf(b, "drift: %s", EV_REC(ev, drift_detected)->summary);
        break;
    case RECORD_OPERATOR_COMMANDED: {
        const struct operator_commanded *o = ev->rec;
        buf_addf(b, "%s asked: %s%s%s", o->by ? o->by : "somebody", o->command,
                 o->reason ? ": " : "", o->reason ? o->reason : "");
        break;
    }
    case RECORD_TRAINING_PLANNED: {
        const struct training_planned *p = ev->rec;
        buf_addf(b, "plan %s: %s", p->kind, p->reason);
        break;
    }
    case RECORD_TRAINING_FINISHED: {
        const struct training_finished *m = ev->rec;
        if (m->model)
            buf_addf(b, "trained model %.12s on %lld rows in %.2f s (attempt %lld)", m->model,
                     (long long)m->trained_rows, m->seconds, (long long)m->attempt);
        else
            buf_addf(b, "training failed: %s", m->reason ? m->reason : "");
        break;
    }
    case RECORD_MODEL_EVALUATED: {
        const struct model_evaluated *e = ev->rec;
        buf_addf(b, "evaluated on %lld rows against generation %lld%s%s", (long long)e->rows,
                 (long long)e->against, e->reason ? ": " : "", e->reason ? e->reason : "");
        break;
    }
    case RECORD_GATE_DECIDED: {
        const struct gate_decided *d = ev->rec;
        buf_addf(b, "gate, %s: %s", d->verdict, d->reason);
        break;
    }
    case RECORD_DEPLOYMENT_CHANGED: {
        const struct deployment_changed *d = ev->rec;
        buf_addf(b, "deployment %s: %s", d->kind, d->reason);
        break;
    }
    case RECORD_HEALTH_MEASURED: {
        const struct health_measured *h = ev->rec;
        buf_addf(b, "health of generation %lld, %s: %s", (long long)h->generation, h->verdict,
                 h->reason ? h->reason : "");
        break;
    }
    case RECORD_SERVING_CHANGED:
        buf_addf(b, "instance %s changed what it serves", EV_REC(ev, serving_changed)->instance);
        break;
    default:
        buf_addf(b, "%s", record_str(ev->type));
    }
}

static const struct event *find_event(struct console *c, const char *id)
{
    enum record r = RECORD_NONE;
    char key[256];
    if (!id || !view_find(c, id, &r, key, sizeof(key)))
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
        if (model && n >= 8 && strncmp(model, s->id, n) == 0)
            s->found = list->items[i];
    }
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

static void add_step(struct json *steps, const struct event *ev)
{
    CLEANUP(buf_fini) struct buf text = {0};
    struct json *j = json_add(steps, event_to_json(ev));
    say(ev, &text);
    json_set_str(j, "says", text.data);
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

static void walk(struct console *c, const struct event *ev, struct json *steps)
{
    for (int n = 0; ev && n < MAX_STEPS; n++) {
        add_step(steps, ev);
        ev = find_event(c, ev->cause);
    }
}

struct json *explain_id(struct console *c, const char *id)
{
    char line[256] = "";
    int64_t generation = 0, time_us = 0;
    struct json *root = json_object(), *steps;
    const struct event *ev = find_event(c, id);
    if (ev) {
        json_set_str(root, "what", record_str(ev->type));
    } else if (view_find_prediction(c, id, line, sizeof(line), &generation, &time_us)) {
        const struct line *l = console_line(c, line);
        ev = l ? deployment_of(l, generation) : NULL;
        json_set_str(root, "what", "prediction");
        json_set_str(root, "line", line);
        json_set_int(root, "generation", generation);
        json_set_time(root, "time", time_us);
    } else {
        struct search s = {.id = id};
        console_each_line(c, look_for_model, &s);
        ev = s.found;
        json_set_str(root, "what", "model");
    }
    if (!ev) {
        json_free(root);
        return NULL;
    }
    json_set_str(root, "id", id);
    steps = json_set(root, "steps", json_array());
    walk(c, ev, steps);
    const struct line *l = console_line(c, ev->key);
    const struct event *origin = l ? origin_of_rollback(l, ev) : NULL;
    if (origin) {
        struct json *model = json_set(root, "model_came_from", json_array());
        walk(c, origin, model);
    }
    return root;
}
