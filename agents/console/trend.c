/* A line over time: what was measured of each candidate and in service, and what happened, so that
 * both can be drawn on one axis. */
#include <string.h>

#include "agents/console/console_internal.h"

static bool is(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

/* ---- what was measured ---- */

static void add_evaluations(const struct line *l, const char *metric, struct json *list)
{
    const struct event_list *evaluations = &l->ev[RECORD_MODEL_EVALUATED];
    for (size_t i = 0; i < evaluations->n; i++) {
        const struct event *ev = evaluations->items[i];
        const struct model_evaluated *e = ev->rec;
        for (size_t k = 0; k < e->metrics.n; k++) {
            const struct evaluation_metric *m = &e->metrics.items[k];
            if (strcmp(m->slice, "all") != 0 || (metric && strcmp(m->metric, metric) != 0))
                continue;
            struct json *j = json_add(list, json_object());
            json_set_time(j, "time", ev->time_unix_us);
            json_set_str(j, "run", e->run);
            json_set_str(j, "metric", m->metric);
            json_set_num(j, "value", m->candidate);
            json_set_num(j, "champion", m->champion);
            json_set_num(j, "difference", m->difference);
            json_set_num(j, "low", m->low);
            json_set_num(j, "high", m->high);
            json_set_int(j, "against", e->against);
            json_set_bool(j, "higher_is_better", m->higher_is_better);
        }
    }
}

static void add_service(const struct line *l, const char *metric, struct json *list)
{
    const struct event_list *health = &l->ev[RECORD_HEALTH_MEASURED];
    for (size_t i = 0; i < health->n; i++) {
        const struct event *ev = health->items[i];
        const struct health_measured *h = ev->rec;
        for (size_t k = 0; k < h->quality.n; k++) {
            const struct named_value *v = &h->quality.items[k];
            if (metric && strcmp(v->name, metric) != 0)
                continue;
            struct json *j = json_add(list, json_object());
            json_set_time(j, "time", ev->time_unix_us);
            json_set_int(j, "generation", h->generation);
            json_set_int(j, "window", h->window);
            json_set_int(j, "rows", h->labels);
            json_set_str(j, "metric", v->name);
            json_set_num(j, "value", v->value);
        }
    }
}

/* ---- what happened ---- */

static struct json *add_mark(struct json *list, const struct event *ev, const char *kind,
                             const char *says)
{
    struct json *j = json_add(list, json_object());
    json_set_time(j, "time", ev->time_unix_us);
    json_set_str(j, "kind", kind);
    json_set_str(j, "event", ev->id);
    json_set_str(j, "says", says);
    return j;
}

static void add_changes(const struct line *l, struct json *list)
{
    const struct event_list *changes = &l->ev[RECORD_DEPLOYMENT_CHANGED];
    int64_t champion = 0;
    for (size_t i = 0; i < changes->n; i++) {
        const struct deployment_changed *d = EV_REC(changes->items[i], deployment_changed);
        int64_t now = champion;
        for (size_t k = 0; is(d->kind, "changed") && k < d->routes.n; k++)
            if (is(d->routes.items[k].role, "champion"))
                now = d->routes.items[k].generation;
        if (now == champion)
            continue;
        champion = now;
        const char *kind = is(d->action, "rollback") ? "rollback" : "promotion";
        struct json *j = add_mark(list, changes->items[i], kind, d->reason);
        json_set_int(j, "generation", now);
        json_set_str(j, "run", d->run);
    }
}

static void add_data(const struct line *l, struct json *list)
{
    const struct event_list *snapshots = &l->ev[RECORD_DATASET_INGESTED];
    for (size_t i = 0; i < snapshots->n; i++) {
        const struct dataset_ingested *d = EV_REC(snapshots->items[i], dataset_ingested);
        bool is_accepted = is(d->status, "accepted");
        struct json *j =
            add_mark(list, snapshots->items[i], is_accepted ? "data" : "data refused", d->reason);
        json_set_str(j, "version", d->version);
        json_set_int(j, "rows", d->rows);
    }
}

static void add_drift(const struct line *l, struct json *list)
{
    const struct event_list *alerts = &l->ev[RECORD_DRIFT_DETECTED];
    for (size_t i = 0; i < alerts->n; i++) {
        const struct drift_detected *d = EV_REC(alerts->items[i], drift_detected);
        json_set_num(add_mark(list, alerts->items[i], "drift", d->summary), "value", d->value);
    }
}

void query_trend(struct console *c, struct httpd_request *rq, const char *const *segs)
{
    const char *key = httpd_query(rq, "line"), *metric = httpd_query(rq, "metric");
    const struct line *l = key ? console_line(c, key) : NULL;
    (void)segs;
    if (!key) {
        httpd_answer_error(rq, 400, "line: give ?line=PIPELINE or ?line=PIPELINE/SEGMENT");
        return;
    }
    if (!l) {
        httpd_answer_error(rq, 404, "no line %.200s", key);
        return;
    }
    struct json *j = json_object(), *list;
    json_set_str(j, "line", key);
    json_set_str(j, "metric", metric);
    add_evaluations(l, metric, json_set(j, "evaluations", json_array()));
    add_service(l, metric, json_set(j, "service", json_array()));
    list = json_set(j, "marks", json_array());
    add_changes(l, list);
    add_data(l, list);
    add_drift(l, list);
    console_answer_json(rq, 200, j);
}
