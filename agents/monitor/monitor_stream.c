/* Predictions and labels in.  A prediction is counted once the deployments table says what its
 * generation is and the profile of its model has been read; until then it is held, in order. */
#include <string.h>

#include "agents/monitor/monitor_internal.h"
#include "common/log.h"
#include "common/mem.h"

enum { HOLD_LOOK_MS = 1000 };

static bool is_counted(const char *role)
{
    return strcmp(role, "champion") == 0 || strcmp(role, "canary") == 0;
}

static void count_rows(struct monitor *m, const char *name, const struct prediction_served *r)
{
    agent_count(m->a, name, NULL, r->rows > 0 ? (double)r->rows : 1);
}

/* ---- what a prediction is held against ---- */

static const char *model_of(const struct line *l, int64_t generation)
{
    const struct event_list *list = &l->ev[RECORD_DEPLOYMENT_CHANGED];

    for (size_t i = list->n; i > 0; i--) {
        const struct deployment_changed *d = EV_REC(list->items[i - 1], deployment_changed);

        for (size_t k = 0; k < d->routes.n; k++)
            if (d->routes.items[k].generation == generation)
                return d->routes.items[k].model;
    }
    return NULL;
}

static struct watch *open_watch(struct monitor *m, struct unit *u, int64_t generation,
                                const char *digest)
{
    struct watched *w = monitor__watched(m, u);
    struct watch *g = xcalloc(1, sizeof(*g));

    series_init(&g->series, generation, &w->part->windows, u->line, agent_cluster(m->a),
                u->partition);
    g->series.owner = u;
    str_copy(g->digest, sizeof(g->digest), digest);
    g->next = w->generations;
    w->generations = g;
    return g;
}

/* NULL: not known yet. */
static struct watch *watch_of(struct monitor *m, const struct prediction_served *r,
                              struct unit **ret_unit)
{
    struct unit *u = agent_unit(m->a, RECORD_PREDICTION_SERVED, r->line);
    const char *digest = u && u->is_owned ? model_of(u->line, r->generation) : NULL;
    enum reference_state state;
    struct watch *g;

    if (!digest || !agent_pipeline(m->a, u->line->pipeline))
        return NULL;
    *ret_unit = u;
    g = monitor__watch(monitor__watched(m, u), r->generation);
    if (g && g->series.reference)
        return g;
    if (!g)
        g = open_watch(m, u, r->generation, digest);
    state = references_want(m->references, digest, &g->series.reference);
    return state == REFERENCE_LOADING ? NULL : g;
}

/* ---- labels ---- */

static void count_label(struct monitor *m, const char *fate)
{
    char labels[48];

    snprintf(labels, sizeof(labels), "fate=\"%s\"", fate);
    agent_count(m->a, "labels_total", labels, 1);
}

static void count_late(struct monitor *m, struct unit *u)
{
    if (u && u->is_owned)
        monitor__watched(m, u)->late++;
    count_label(m, "late");
}

static void apply(struct monitor *m, struct piece *p, size_t row, const struct label *l)
{
    struct window *w = p->window;
    struct unit *u = w->series->owner;
    const struct pipeline *pipeline = agent_pipeline(m->a, u->line->pipeline);

    switch (series_label(p, row, l, pipeline ? pipeline->lateness_ms : INT64_MAX)) {
    case LABEL_REPEATED:
        count_label(m, "repeated");
        break;
    case LABEL_LATE:
        count_late(m, u);
        break;
    default:
        count_label(m, "joined");
        if (w->is_due[MEASURE_QUALITY])
            agent_touch(m->a, u);
    }
}

static void on_early(void *ctx, struct piece *p, size_t row, const struct label *l)
{
    apply(ctx, p, row, l);
}

static void on_piece(void *ctx, struct window *w, struct piece *p)
{
    struct monitor *m = ctx;

    join_release(w->series->all->join, p, on_early, m);
}

static void hold_label(struct monitor *m, struct part *p, const struct label *l)
{
    size_t dropped, expired;

    join_hold(p->windows.join, l, &dropped);
    expired = join_expire(p->windows.join, l->time_unix_ms - m->lateness_max_ms);
    for (size_t i = 0; i < dropped + expired; i++)
        count_label(m, "unmatched");
}

void monitor__label(struct monitor *m, struct event *ev)
{
    const struct label_observed *r = ev->rec;
    struct part *p = monitor__part(m, ev->partition);
    struct label l = {.row = r->prediction,
                      .value = r->value,
                      .offset = ev->offset,
                      .time_unix_ms = ev->time_unix_us / 1000,
                      .observed_unix_ms = r->observed_unix_ms};
    struct piece *piece = NULL;
    size_t row = 0;

    p->next_label = ev->offset + 1;
    p->label_read_ms = clk_mono_ms(agent_clk(m->a));
    if (l.time_unix_ms > p->label_time_ms)
        p->label_time_ms = l.time_unix_ms;
    switch (join_find(p->windows.join, l.row, l.time_unix_ms, &piece, &row)) {
    case JOIN_ROW:
        apply(m, piece, row, &l);
        break;
    case JOIN_NO_ROW:
        count_label(m, "unknown_row");
        break;
    case JOIN_OVER:
        count_late(m, agent_unit(m->a, RECORD_LABEL_OBSERVED, r->line));
        break;
    case JOIN_BEFORE: /* read again after a restart */
        break;
    default:
        hold_label(m, p, &l);
    }
    event_free(ev);
    monitor__commit(m, p);
}

/* ---- predictions ---- */

/* Too many rows wait for their labels: those that have waited longest are judged by what has come.
 */
static void bound_rows(struct monitor *m, struct part *p)
{
    struct window *w;

    if (join_rows(p->windows.join) - p->windows.due_rows <= m->rows_max)
        return;
    w = windows_hurry(&p->windows);
    if (w)
        agent_touch(m->a, w->series->owner);
}

static void take(struct monitor *m, struct part *p, struct watch *g, struct unit *u,
                 const struct event *ev)
{
    const struct prediction_served *r = ev->rec;
    const struct pipeline *pipeline = agent_pipeline(m->a, u->line->pipeline);
    struct watched *w = u->self;
    struct window *before = g->series.due_last[MEASURE_WINDOW];
    const char *why;

    if (!series_fits(r, g->series.reference, &why)) {
        log_warn("prediction.malformed", "line=%s prediction=%s reason=%s", r->line, r->prediction,
                 why);
        count_rows(m, "rows_malformed_total", r);
        return;
    }
    if (join_knows(p->windows.join, r->prediction)) {
        count_rows(m, "rows_repeated_total", r);
        return;
    }
    series_take(&g->series, ev, pipeline->window_predictions, on_piece, m);
    count_rows(m, "rows_total", r);
    if (g->series.due_last[MEASURE_WINDOW] != before || g->series.due[MEASURE_QUALITY]) {
        w->expire_unix_ms = 0; /* a window that was filled has a time when its labels are due */
        agent_touch(m->a, u);
    }
    bound_rows(m, p);
}

/* False: to be tried again. */
static bool try_take(struct monitor *m, struct part *p, const struct event *ev)
{
    struct unit *u = NULL;
    struct watch *g = watch_of(m, ev->rec, &u);

    if (g)
        take(m, p, g, u, ev);
    return g != NULL;
}

static void arm_hold_timer(struct monitor *m)
{
    loop_timer_start(m->hold_timer, HOLD_LOOK_MS);
}

/* The one that is held longest: it is counted without a profile, or, when nobody knows its
 * generation, not at all. */
static void give_up_oldest(struct monitor *m, struct part *p)
{
    struct event *ev = p->held[0].ev;
    const struct prediction_served *r = ev->rec;
    struct unit *u = agent_unit(m->a, RECORD_PREDICTION_SERVED, r->line);
    const char *digest = u && u->is_owned ? model_of(u->line, r->generation) : NULL;

    if (digest)
        references_give_up(m->references, digest);
    if (try_take(m, p, ev) == false) {
        log_warn("prediction.unknown", "line=%s generation=%lld prediction=%s", r->line,
                 (long long)r->generation, r->prediction);
        count_rows(m, "rows_unknown_total", r);
    }
    event_free(ev);
    memmove(p->held, p->held + 1, --p->n_held * sizeof(*p->held));
}

static void hold(struct monitor *m, struct part *p, struct event *ev)
{
    while (p->n_held >= MONITOR_HELD_MAX)
        give_up_oldest(m, p);
    p->held = xgrow(p->held, &p->cap_held, p->n_held + 1, sizeof(*p->held));
    p->held[p->n_held++] = (struct held){ev, clk_mono_ms(agent_clk(m->a))};
    arm_hold_timer(m);
}

void monitor__prediction(struct monitor *m, struct event *ev)
{
    const struct prediction_served *r = ev->rec;
    struct part *p = monitor__part(m, ev->partition);

    p->next_prediction = ev->offset + 1;
    monitor__read(p, ev->offset, clk_mono_ms(agent_clk(m->a)));
    if (!is_counted(r->role))
        event_free(ev);
    else if (try_take(m, p, ev))
        event_free(ev);
    else
        hold(m, p, ev);
    monitor__commit(m, p);
}

static void flush_part(struct monitor *m, struct part *p)
{
    int64_t now_ms = clk_mono_ms(agent_clk(m->a));
    size_t n = p->n_held, kept = 0;

    for (size_t i = 0; i < n; i++) {
        if (try_take(m, p, p->held[i].ev))
            event_free(p->held[i].ev);
        else
            p->held[kept++] = p->held[i];
    }
    p->n_held = kept;
    while (p->n_held && now_ms - p->held[0].since_ms >= MONITOR_HELD_MS)
        give_up_oldest(m, p);
    if (p->n_held)
        arm_hold_timer(m);
    monitor__commit(m, p);
}

void monitor__flush(struct monitor *m)
{
    for (size_t i = 0; i < m->n_parts; i++)
        if (m->parts[i] && m->parts[i]->n_held)
            flush_part(m, m->parts[i]);
}
