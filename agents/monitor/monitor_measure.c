/* Health and alerts out.  What is owed follows from the windows in memory and the fold: the first
 * window in each queue is measured and stays there until its event has been read back, so that
 * `consecutive` counts what the log says. */
#include <math.h>
#include <string.h>

#include "agents/monitor/drift.h"
#include "agents/monitor/monitor_internal.h"
#include "agents/monitor/quality.h"
#include "common/log.h"

static bool is(const char *a, const char *b)
{
    return a && strcmp(a, b) == 0;
}

/* ---- what the log has ---- */

static bool is_of(const struct health_measured *h, int64_t generation, enum measure k)
{
    return h->generation == generation && is(h->kind, measure_str(k));
}

/* Once for each window and measure: was it measured by somebody else, with other bounds? */
static void look_for(const struct line *l, struct window *w, enum measure k)
{
    const struct event_list *list = &l->ev[RECORD_HEALTH_MEASURED];

    if (w->is_looked_for[k])
        return;
    w->is_looked_for[k] = true;
    for (size_t i = list->n; i > 0 && !w->is_read_back[k]; i--) {
        const struct health_measured *h = EV_REC(list->items[i - 1], health_measured);

        w->is_read_back[k] = is_of(h, w->series->generation, k) && h->window == w->number;
    }
}

static int64_t consecutive_of(const struct line *l, int64_t generation, enum measure k,
                              const char *verdict)
{
    const struct event_list *list = &l->ev[RECORD_HEALTH_MEASURED];

    for (size_t i = list->n; i > 0; i--) {
        const struct health_measured *h = EV_REC(list->items[i - 1], health_measured);

        if (is_of(h, generation, k))
            return is(h->verdict, verdict) ? h->consecutive + 1 : 1;
    }
    return 1;
}

void monitor__on_health(struct monitor *m, struct unit *u, const struct health_measured *h)
{
    struct watched *w = u->self;
    struct watch *g = w ? monitor__watch(w, h->generation) : NULL;

    (void)m;
    for (enum measure k = 0; g && k < MEASURE_COUNT; k++)
        for (struct window *win = g->series.due[k]; win; win = win->next_due[k])
            if (is_of(h, h->generation, k) && win->number == h->window)
                win->is_read_back[k] = true;
    if (w && is(h->kind, "quality"))
        w->late -= h->late_labels < w->late ? h->late_labels : w->late;
}

/* ---- one measurement ---- */

static void fill(struct monitor *m, struct unit *u, const struct window *w, enum measure k,
                 struct health_measured *h)
{
    *h = (struct health_measured){
        .line = u->key,
        .kind = measure_str(k),
        .generation = w->series->generation,
        .window = w->number,
        .cluster = agent_cluster(m->a),
        .partition = u->partition,
        .from_offset = w->from_offset,
        .to_offset = w->to_offset,
        .first_prediction = w->first_row,
        .last_prediction = w->last_row,
        .predictions = w->rows,
        .labels = (int64_t)w->labelled,
        .prediction_psi = NAN,
        .worst_psi = NAN,
        .measured_unix_ms = agent_now_ms(m->a),
    };
}

static void fill_window(struct monitor *m, const struct watch *g, const struct window *w,
                        const struct pipeline *p, struct arena *arena, struct health_measured *h)
{
    struct verdict v;

    drift_judge(w->reference, &w->counts, p->drift_threshold, h->generation, arena, &v);
    h->features = v.features;
    h->prediction_psi = v.prediction_psi;
    h->worst_psi = v.worst_psi;
    h->verdict = !v.is_known ? "unknown" : v.is_drift ? "drift" : "ok";
    h->reason = v.reason;
    if (!w->reference)
        h->reason =
            arena_printf(arena, "%s: %s", v.reason, references_problem(m->references, g->digest));
}

static void fill_quality(const struct watched *line, const struct watch *g, const struct window *w,
                         const struct pipeline *p, struct arena *arena, struct health_measured *h)
{
    const struct reference *r = w->reference ? w->reference : g->series.reference;
    struct quality_bound bound = {p->quality_metric, p->quality_at_least, p->quality_at_most};
    struct quality q;

    quality_judge(w->pieces, r && r->model ? &r->model->task : NULL, &bound, w->rows, h->generation,
                  arena, &q);
    h->quality = q.values;
    h->verdict = q.verdict;
    h->reason = q.reason;
    h->late_labels = line->late;
    if (w->is_hurried)
        h->reason = arena_printf(arena, "%s (judged early: too many predictions wait for labels)",
                                 q.reason);
}

static int emit(struct monitor *m, struct unit *u, const struct watch *g, struct window *w,
                enum measure k, const struct pipeline *p, struct err *err)
{
    struct arena arena = {0};
    struct health_measured h;
    struct emission e = {.record = RECORD_HEALTH_MEASURED, .rec = &h, .cause = w->closed_by};
    int rc;

    fill(m, u, w, k, &h);
    if (k == MEASURE_WINDOW)
        fill_window(m, g, w, p, &arena, &h);
    else
        fill_quality(u->self, g, w, p, &arena, &h);
    h.consecutive = consecutive_of(u->line, h.generation, k, h.verdict);
    e.about = arena_printf(&arena, "%s %lld", measure_str(k), (long long)w->number);
    rc = agent_emit(m->a, u, &e, err);
    arena_fini(&arena);
    return rc;
}

/* The queue of one measure: those that were read back leave, the first of the others is measured.
 */
static int measure(struct monitor *m, struct unit *u, struct watch *g, enum measure k,
                   const struct pipeline *p, struct err *err)
{
    struct window *w;

    while ((w = g->series.due[k])) {
        look_for(u->line, w, k);
        if (!w->is_read_back[k])
            return emit(m, u, g, w, k, p, err);
        agent_count(m->a, "windows_total",
                    k == MEASURE_WINDOW ? "kind=\"window\"" : "kind=\"quality\"", 1);
        series_done(&g->series, k);
    }
    return 0;
}

/* ---- alerts ---- */

static bool needs_alert(struct monitor *m, const struct unit *u, const struct event *ev,
                        const struct pipeline *p)
{
    const struct event *declared = agent_pipeline_event(m->a, u->line->pipeline);
    const struct health_measured *h = ev->rec;

    /* what was measured under an earlier declaration is not judged by this one */
    if (!declared || h->measured_unix_ms < EV_REC(declared, pipeline_declared)->declared_unix_ms)
        return false;
    return drift_is_due(h, p->drift_consecutive) &&
           !line_answer(u->line, RECORD_DRIFT_DETECTED, ev->id) &&
           agent_now_ms(m->a) - h->measured_unix_ms < MONITOR_ALERT_AGE_MS;
}

static int alert(struct monitor *m, struct unit *u, const struct event *ev,
                 const struct pipeline *p, struct err *err)
{
    const struct health_measured *h = ev->rec;
    struct watch *g = u->self ? monitor__watch(u->self, h->generation) : NULL;
    struct drift_bounds bounds = {
        .psi = p->drift_threshold,
        .metric = p->quality_metric,
        .quality = isnan(p->quality_at_least) ? p->quality_at_most : p->quality_at_least,
    };
    struct arena arena = {0};
    struct drift_detected d;
    struct emission e = {.record = RECORD_DRIFT_DETECTED, .rec = &d, .cause = ev, .about = "drift"};
    int rc;

    drift_alert(h, g ? g->series.reference : NULL, &bounds, agent_now_ms(m->a), &arena, &d);
    rc = agent_emit(m->a, u, &e, err);
    arena_fini(&arena);
    return rc;
}

static int alerts(struct monitor *m, struct unit *u, const struct pipeline *p, struct err *err)
{
    const struct event_list *list = &u->line->ev[RECORD_HEALTH_MEASURED];
    struct watched *w = monitor__watched(m, u);
    bool all_before = true;

    for (size_t i = w->alerts_from; i < list->n; i++) {
        bool is_owed = needs_alert(m, u, list->items[i], p);

        if (is_owed && alert(m, u, list->items[i], p, err))
            return -1;
        all_before = all_before && !is_owed;
        if (all_before)
            w->alerts_from = i + 1;
    }
    return 0;
}

/* ---- the end of generations and of waiting ---- */

static bool is_routed(const struct line *l, int64_t generation)
{
    const struct deployment_changed *d = l->deployment ? l->deployment->rec : NULL;

    for (size_t i = 0; d && i < d->routes.n; i++)
        if (d->routes.items[i].generation == generation)
            return true;
    return false;
}

static void watch_free(struct monitor *m, struct watch *g)
{
    struct reference *r = g->series.reference;

    series_fini(&g->series);
    references_release(m->references, r);
    free_ptr(&g);
}

static void retire(struct monitor *m, struct unit *u)
{
    struct watched *w = u->self;
    int64_t now_ms = agent_now_ms(m->a);

    for (struct watch **at = &w->generations; *at;) {
        struct watch *g = *at;

        if (is_routed(u->line, g->series.generation)) {
            g->retire_unix_ms = 0;
        } else if (!g->retire_unix_ms) {
            g->retire_unix_ms = now_ms + MONITOR_RETIRE_MS;
            agent_wake(m->a, u, g->retire_unix_ms);
        } else if (now_ms >= g->retire_unix_ms) {
            agent_count(m->a, "rows_unmeasured_total", NULL, (double)series_drop_open(&g->series));
            if (g->series.n == 0) {
                *at = g->next;
                watch_free(m, g);
                continue;
            }
        }
        at = &g->next;
    }
}

/* Labels are waited for by the clock, but not before those that have come long ago were read. */
static void expire(struct monitor *m, struct unit *u, const struct pipeline *p)
{
    struct watched *w = u->self;
    int64_t now_ms = agent_now_ms(m->a), next_ms, upto_ms = now_ms;
    bool is_read = clk_mono_ms(agent_clk(m->a)) - w->part->label_read_ms >= MONITOR_SETTLE_MS;

    if (now_ms < w->expire_unix_ms)
        return;
    if (!is_read && w->part->label_time_ms < now_ms)
        upto_ms = w->part->label_time_ms;
    w->expire_unix_ms = INT64_MAX;
    for (struct watch *g = w->generations; g; g = g->next) {
        series_expire(&g->series, upto_ms, p->lateness_ms, &next_ms);
        if (next_ms < w->expire_unix_ms)
            w->expire_unix_ms = next_ms;
    }
    if (w->expire_unix_ms == INT64_MAX)
        return;
    if (w->expire_unix_ms <= now_ms)
        w->expire_unix_ms = now_ms + MONITOR_SETTLE_MS;
    agent_wake(m->a, u, w->expire_unix_ms);
}

int monitor__reconcile(struct monitor *m, struct unit *u, struct err *err)
{
    const struct pipeline *p = agent_pipeline(m->a, u->line->pipeline);
    struct watched *w = monitor__watched(m, u);

    if (!p) { /* withdrawn: nobody asks any more */
        monitor__watched_free(m, u);
        return 0;
    }
    retire(m, u);
    expire(m, u, p);
    for (struct watch *g = w->generations; g; g = g->next)
        for (enum measure k = 0; k < MEASURE_COUNT; k++)
            if (measure(m, u, g, k, p, err))
                return -1;
    if (alerts(m, u, p, err))
        return -1;
    w->part->uncommitted = MONITOR_COMMIT_EVERY; /* windows may have gone */
    monitor__commit(m, w->part);
    return 0;
}
