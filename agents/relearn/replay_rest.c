/* When is the loop at rest?  When every event that was published has its outcome, every trigger its
 * answer, no run is open, what was promoted is served by every instance, and the monitor has
 * measured every full window.  A trigger that is deferred to a time in the future is at rest until
 * then. */
#include "agents/relearn/replay_rest.h"

#include <stdio.h>
#include <string.h>

struct outcome {
    const struct awaited_dataset *d;
    int64_t rows;
    bool is_rejected, is_found;
};

static void look_for_outcome(void *ctx, const struct line *l)
{
    struct outcome *o = ctx;
    const struct event *ev = line_answer(l, RECORD_DATASET_INGESTED, o->d->id);
    if (!ev)
        return;
    const struct dataset_ingested *s = ev->rec;
    o->is_found = true;
    o->rows += s->rows + s->rows_quarantined;
    o->is_rejected = o->is_rejected || strcmp(s->status, "rejected") == 0;
}

bool replay_dataset_has_outcome(struct replay_log *r, const struct awaited_dataset *d)
{
    struct outcome o = {.d = d};
    replay_log_each_line(r, look_for_outcome, &o);
    return o.is_found && (o.is_rejected || o.rows >= d->rows);
}

struct rest {
    struct replay_log *r;
    const struct pipeline *p;
    int64_t now_ms;
    bool is_awaited; /* r->unrest says what */
};

/* The first thing that is awaited. */
static void say(struct rest *q, const char *what, const struct line *l, const char *id)
{
    struct replay_log *r = q->r;
    if (q->is_awaited)
        return;
    q->is_awaited = true;
    snprintf(r->unrest, sizeof(r->unrest), "%s: %s %s", l->key, what, id);
}

/* Answered, and not merely put off to a time that has come or to a run that is over. */
static bool is_trigger_settled(const struct line *l, const struct event *trigger, int64_t now_ms)
{
    const struct event *ev = line_answer(l, RECORD_TRAINING_PLANNED, trigger->id);
    if (!ev)
        return false;
    const struct training_planned *p = ev->rec;
    if (strcmp(p->kind, "deferred") != 0)
        return true;
    return l->pause || (p->until_unix_ms != ABSENT_I64 && p->until_unix_ms > now_ms);
}

static void look_at_triggers(struct rest *q, const struct line *l)
{
    const struct event_list *snapshots = &l->ev[RECORD_DATASET_INGESTED],
                            *alerts = &l->ev[RECORD_DRIFT_DETECTED];
    for (size_t i = 0; i < snapshots->n && !q->is_awaited; i++)
        if (!is_trigger_settled(l, snapshots->items[i], q->now_ms))
            say(q, "no plan yet for snapshot", l, snapshots->items[i]->id);
    for (size_t i = 0; i < alerts->n && !q->is_awaited; i++)
        if (!is_trigger_settled(l, alerts->items[i], q->now_ms))
            say(q, "no plan yet for drift alert", l, alerts->items[i]->id);
    if (l->in_flight)
        say(q, "a run is open:", l, l->in_flight->id);
}

struct instances {
    const struct line *l;
    int behind, current;
    const char *url;
};

static void look_at_instance(struct agent *a, struct unit *u, void *ctx)
{
    (void)a;
    struct instances *n = ctx;
    const struct event_list *list = &u->line->ev[RECORD_SERVING_CHANGED];
    if (!list->n)
        return;
    const struct serving_changed *s = EV_REC(list->items[list->n - 1], serving_changed);
    if (s->stopping)
        return;
    bool is_current = false;
    for (size_t i = 0; i < s->lines.n; i++)
        if (strcmp(s->lines.items[i].line, n->l->key) == 0 &&
            s->lines.items[i].sequence == n->l->deployments_base)
            is_current = true;
    n->current += is_current;
    n->behind += !is_current;
    if (is_current)
        n->url = s->url;
}

static void look_at_service(struct rest *q, const struct line *l)
{
    if (!l->deployment || q->is_awaited)
        return;
    const struct deployment_changed *d = EV_REC(l->deployment, deployment_changed);
    struct instances n = {.l = l};
    agent_each_unit(q->r->agent, look_at_instance, &n);
    if (n.behind || !n.current)
        say(q, "not every instance serves deployment", l, l->deployment->id);
    if (!d->is_final && d->until_unix_ms != ABSENT_I64 && d->until_unix_ms <= q->now_ms)
        say(q, "a canary step is due:", l, l->deployment->id);
}

static void count_windows(const struct line *l, int64_t generation, int64_t *ret_windows,
                          int64_t *ret_quality)
{
    const struct event_list *list = &l->ev[RECORD_HEALTH_MEASURED];
    for (size_t i = 0; i < list->n; i++) {
        const struct health_measured *h = EV_REC(list->items[i], health_measured);
        if (h->generation != generation)
            continue;
        *ret_windows += strcmp(h->kind, "window") == 0;
        *ret_quality += strcmp(h->kind, "quality") == 0;
    }
}

/* Every window that is full has been measured, twice when its labels were sent; and every alert
 * that follows from it is there. */
static void look_at_monitor(struct rest *q, const struct line *l)
{
    struct served_count *c, *next;
    HASH_ITER (hh, q->r->served, c, next) {
        if (strcmp(c->line, l->key) != 0 || q->is_awaited)
            continue;
        int64_t due = c->rows / q->p->window_predictions, windows = 0, quality = 0;
        count_windows(l, c->generation, &windows, &quality);
        if (windows < due)
            say(q, "the monitor has not measured every window of generation", l,
                c->key + strlen(c->line) + 1);
        if (q->r->labels_expected && quality < due)
            say(q, "the monitor has not joined every label of generation", l,
                c->key + strlen(c->line) + 1);
    }
    const struct event_list *list = &l->ev[RECORD_HEALTH_MEASURED];
    for (size_t i = 0; i < list->n && !q->is_awaited; i++) {
        const struct health_measured *h = EV_REC(list->items[i], health_measured);
        bool is_bad = strcmp(h->verdict, "drift") == 0 || strcmp(h->verdict, "degraded") == 0;
        if (is_bad && h->consecutive % q->p->drift_consecutive == 0 &&
            !line_answer(l, RECORD_DRIFT_DETECTED, list->items[i]->id))
            say(q, "no alert yet for health", l, list->items[i]->id);
    }
}

static void look_at_line(void *ctx, const struct line *l)
{
    struct rest *q = ctx;
    look_at_triggers(q, l);
    look_at_service(q, l);
    look_at_monitor(q, l);
}

/* At rest?  NULL: yes; else one sentence that says what is awaited. */
static const char *unrest(struct replay_log *r, const struct pipeline *p)
{
    for (size_t i = r->n_datasets; i > 0; i--)
        if (!replay_dataset_has_outcome(r, &r->datasets[i - 1])) {
            snprintf(r->unrest, sizeof(r->unrest),
                     "no snapshot and no refusal yet for dataset event %s", r->datasets[i - 1].id);
            return r->unrest;
        }
    struct rest q = {.r = r, .p = p, .now_ms = agent_now_ms(r->agent)};
    replay_log_each_line(r, look_at_line, &q);
    if (q.is_awaited)
        return r->unrest;
    return r->missing > 0 ? "not every prediction is in the topic predictions yet" : NULL;
}

struct waiting {
    struct replay_log *r;
    const struct pipeline *p;
    uint64_t seen;
    const char *why;
};

static bool is_at_rest(void *ctx)
{
    struct waiting *w = ctx;
    if (agent_exit_code(w->r->agent))
        return true;
    if (w->seen == w->r->changes && w->why)
        return false; /* nothing was read since the last look */
    w->seen = w->r->changes;
    w->why = unrest(w->r, w->p);
    return !w->why;
}

bool replay_log_await_rest(struct replay_log *r, const struct pipeline *p, int timeout_ms,
                           const char **ret_unrest)
{
    struct waiting w = {.r = r, .p = p, .seen = r->changes - 1};
    bool ok = loop_until(r->loop, is_at_rest, &w, timeout_ms) && !w.why;
    *ret_unrest = ok ? NULL : w.why ? w.why : "the connection to the bus was lost";
    return ok;
}

struct service {
    struct replay_log *r;
    bool is_found;
};

static void look_whether_served(void *ctx, const struct line *l)
{
    struct service *s = ctx;
    struct instances n = {.l = l};
    if (!line_champion(l))
        return;
    agent_each_unit(s->r->agent, look_at_instance, &n);
    if (!n.url)
        return;
    s->is_found = true;
    str_copy(s->r->url, sizeof(s->r->url), n.url);
}

bool replay_log_in_service(struct replay_log *r, const char **ret_url)
{
    struct service s = {.r = r};
    replay_log_each_line(r, look_whether_served, &s);
    *ret_url = r->url;
    return s.is_found;
}

bool replay_log_line_in_service(struct replay_log *r, const char *line)
{
    const struct unit *u = agent_unit(r->agent, RECORD_DEPLOYMENT_CHANGED, line);
    return u && line_champion(u->line);
}
