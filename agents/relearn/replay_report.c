/* What a replay says: progress, the table of generations, the JSON object. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agents/relearn/replay_internal.h"
#include "common/clk.h"

void replay_narrate(void *ctx, const struct line *l, const struct event *ev)
{
    struct replay *r = ctx;
    if (ev->type == RECORD_DATASET_INGESTED) {
        const struct dataset_ingested *s = ev->rec;
        if (strcmp(s->status, "accepted") != 0)
            replay_say(r, "%s: data refused: %s", l->key, s->reason);
    } else if (ev->type == RECORD_DRIFT_DETECTED) {
        replay_say(r, "%s: drift: %s", l->key, EV_REC(ev, drift_detected)->summary);
    } else if (ev->type == RECORD_TRAINING_FINISHED) {
        const struct training_finished *m = ev->rec;
        if (strcmp(m->status, "candidate") != 0)
            replay_say(r, "%s: training failed: %s", l->key, m->reason);
    } else if (ev->type == RECORD_GATE_DECIDED) {
        const struct gate_decided *d = ev->rec;
        replay_say(r, "%s: %s", l->key, d->reason);
    } else if (ev->type == RECORD_DEPLOYMENT_CHANGED) {
        const struct deployment_changed *d = ev->rec;
        if (strcmp(d->kind, "changed") == 0)
            replay_say(r, "%s: %s", l->key, d->reason);
    }
}

/* ---- generations ---- */

/* What one decision on a run says, gathered along the chain. */
struct generation_row {
    const struct line *l;
    int64_t generation; /* ABSENT_I64: not promoted */
    const struct event *decision, *evaluation, *model, *plan;
    const char *cause;
    int64_t in_service_from_row;
};
struct rows {
    struct replay *r;
    struct generation_row *items;
    size_t n, cap;
};

static int64_t first_row_of(const struct replay *r, const char *line, int64_t generation)
{
    for (size_t i = 0; i < r->n_served; i++)
        if (r->served[i].generation == generation && strcmp(r->served[i].line, line) == 0)
            return (int64_t)r->served[i].first_row;
    return ABSENT_I64;
}

static void add_line(void *ctx, const struct line *l)
{
    struct rows *rows = ctx;
    const struct event_list *list = &l->ev[RECORD_GATE_DECIDED];
    for (size_t i = 0; i < list->n; i++) {
        const struct gate_decided *d = EV_REC(list->items[i], gate_decided);
        struct generation_row g = {.l = l,
                                   .generation = ABSENT_I64,
                                   .decision = list->items[i],
                                   .in_service_from_row = ABSENT_I64};
        if (!d->run || strcmp(d->verdict, "already") == 0 || strcmp(d->verdict, "again") == 0 ||
            strcmp(d->verdict, "wait") == 0)
            continue;
        const struct event *change = line_answer(l, RECORD_DEPLOYMENT_CHANGED, list->items[i]->id);
        if (change && strcmp(EV_REC(change, deployment_changed)->kind, "changed") == 0) {
            g.generation = EV_REC(change, deployment_changed)->generation;
            g.in_service_from_row = first_row_of(rows->r, l->key, g.generation);
        }
        g.evaluation = line_find(l, RECORD_MODEL_EVALUATED, d->evaluation);
        g.model = line_model(l, d->run);
        g.plan = line_plan(l, d->run);
        g.cause = g.plan ? EV_REC(g.plan, training_planned)->trigger : NULL;
        rows->items = xgrow(rows->items, &rows->cap, rows->n + 1, sizeof(*rows->items));
        rows->items[rows->n++] = g;
    }
}

static const struct evaluation_metric *headline(const struct generation_row *g)
{
    if (!g->evaluation)
        return NULL;
    const struct model_evaluated *e = g->evaluation->rec;
    for (size_t i = 0; i < e->metrics.n; i++)
        if (strcmp(e->metrics.items[i].slice, "all") == 0)
            return &e->metrics.items[i];
    return NULL;
}

static int64_t trained_rows(const struct generation_row *g)
{
    return g->model ? EV_REC(g->model, training_finished)->trained_rows : 0;
}

static struct json *generation_json(const struct generation_row *g)
{
    const struct gate_decided *d = g->decision->rec;
    const struct evaluation_metric *m = headline(g);
    struct json *j = json_object();
    if (g->generation == ABSENT_I64)
        json_set_null(j, "generation");
    else
        json_set_int(j, "generation", g->generation);
    if (g->l->segment)
        json_set_str(j, "line", g->l->key);
    json_set_str(j, "cause", g->cause);
    json_set_str(j, "run", d->run);
    json_set_int(j, "trained_rows", trained_rows(g));
    if (m) {
        json_set_str(j, "metric", m->metric);
        json_set_int(j, "compared_rows", m->rows);
    }
    json_set_num(j, "candidate", m ? m->candidate : NAN);
    json_set_num(j, "champion", m ? m->champion : NAN);
    json_set_num(j, "low", m ? m->low : NAN);
    json_set_num(j, "high", m ? m->high : NAN);
    json_set_str(j, "decision", d->verdict);
    json_set_str(j, "reason", d->reason);
    if (g->in_service_from_row == ABSENT_I64)
        json_set_null(j, "in_service_from_row");
    else
        json_set_int(j, "in_service_from_row", g->in_service_from_row);
    return j;
}

/* ---- timings ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Nearest-rank quantile of v (sorted in place). */
static double quantile(double *v, size_t n, double q)
{
    if (!n)
        return NAN;
    qsort(v, n, sizeof(*v), by_value);
    size_t rank = (size_t)ceil(q * (double)n);
    return v[rank ? rank - 1 : 0];
}

static struct json *quantiles_json(double *v, size_t n)
{
    struct json *j = json_object();
    json_set_num(j, "p50", quantile(v, n, 0.5));
    json_set_num(j, "p99", quantile(v, n, 0.99));
    json_set_num(j, "max", quantile(v, n, 1));
    return j;
}

static size_t hop_values(const struct replay_timing *t, size_t n, int hop, double *v)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        double x = hop < 0 ? t[i].total_ms : t[i].hop_ms[hop];
        if (isfinite(x))
            v[k++] = x;
    }
    return k;
}

static void set_timings(struct replay *r, struct json *j)
{
    struct replay_timing *t = NULL;
    size_t n = replay_log_timings(r->log, &t);
    CLEANUP_FREE double *v = xcalloc(n + 1, sizeof(*v));
    json_set(j, "event_to_service_ms", quantiles_json(v, hop_values(t, n, -1, v)));
    struct json *hops = json_set(j, "hops_ms", json_object());
    for (int i = 0; i < REPLAY_HOPS; i++)
        json_set(hops, replay_hop_names[i], quantiles_json(v, hop_values(t, n, i, v)));
    free_ptr(&t);
}

static void set_scores(struct replay *r, struct json *j)
{
    const struct score *last = naive_last(r->naive), *majority = naive_majority(r->naive);
    bool is_regression = r->pipeline->task == TASK_REGRESSION;
    double (*const first)(const struct score *) = is_regression ? score_mae : score_accuracy;
    double (*const second)(const struct score *) = is_regression ? score_rmse : score_logloss;
    struct json *a = json_set(j, is_regression ? "mae" : "accuracy", json_object());
    json_set_num(a, "loop", first(&r->loop_score));
    json_set_num(a, "never_retrained", first(&r->first_score));
    json_set_num(a, "no_change", first(last));
    json_set_num(a, is_regression ? "mean" : "majority", first(majority));
    struct json *b = json_set(j, is_regression ? "rmse" : "logloss", json_object());
    json_set_num(b, "loop", second(&r->loop_score));
    json_set_num(b, "never_retrained", second(&r->first_score));
    if (is_regression) {
        json_set_num(b, "no_change", second(last));
        json_set_num(b, "mean", second(majority));
    }
}

struct json *replay_to_json(struct replay *r)
{
    struct replay_counts c;
    replay_log_counts(r->log, &c);
    struct json *j = json_object();
    json_set_int(j, "rows", (int64_t)r->table.rows);
    json_set_int(j, "batch", (int64_t)r->batch);
    json_set_int(j, "scored", r->loop_score.rows);
    set_scores(r, j);
    struct json *list = json_set(j, "generations", json_array());
    struct rows rows = {.r = r};
    replay_log_each_line(r->log, add_line, &rows);
    for (size_t i = 0; i < rows.n; i++)
        json_add(list, generation_json(&rows.items[i]));
    free_ptr(&rows.items);
    json_set_int(j, "runs", c.runs);
    json_set_int(j, "promoted", c.promoted);
    json_set_int(j, "rejected", c.rejected);
    json_set_int(j, "drift_alerts", c.drift_alerts);
    json_set_int(j, "requests", r->requests);
    json_set_int(j, "failed_requests", r->failed_requests);
    json_set_int(j, "lost", c.lost);
    json_set_int(j, "repeated", c.repeated);
    set_timings(r, j);
    json_set_num(j, "seconds", (double)(clk_mono_ms(&clk_system) - r->started_ms) / 1000);
    return j;
}

/* ---- for people ---- */

static const char *figure(double v, char text[24])
{
    if (!isfinite(v))
        return "-";
    snprintf(text, 24, "%.4f", v);
    return text;
}

static void print_generation(const struct generation_row *g)
{
    const struct gate_decided *d = g->decision->rec;
    const struct evaluation_metric *m = headline(g);
    char number[24] = "-", from[24] = "-", interval[64] = "", candidate[24], champion[24];
    bool is_first = !m || !isfinite(m->champion);
    if (g->generation != ABSENT_I64)
        snprintf(number, sizeof(number), "%lld", (long long)g->generation);
    if (g->in_service_from_row != ABSENT_I64)
        snprintf(from, sizeof(from), "%lld", (long long)g->in_service_from_row);
    if (!is_first)
        snprintf(interval, sizeof(interval), "[%+.4f, %+.4f]", m->low, m->high);
    printf("%4s  %-8s %8lld  %-9s %8s %8s %-20s %-12s %8s", number, g->cause ? g->cause : "-",
           (long long)trained_rows(g), m ? m->metric : "-",
           figure(m ? m->candidate : NAN, candidate), figure(m ? m->champion : NAN, champion),
           interval, d->verdict, from);
    printf("%s%s\n", g->l->segment ? "  " : "", g->l->segment ? g->l->segment : "");
    if (is_first || strcmp(d->verdict, "promote") != 0) /* the figures do not say it */
        printf("      %s\n", d->reason);
}

static void print_scores(struct replay *r)
{
    const struct score *last = naive_last(r->naive), *majority = naive_majority(r->naive);
    if (r->pipeline->task == TASK_REGRESSION) {
        printf("\nrmse over %lld rows:  loop %.4f   never retrained %.4f   same as the last label "
               "%.4f   mean so far %.4f\n",
               (long long)r->loop_score.rows, score_rmse(&r->loop_score),
               score_rmse(&r->first_score), score_rmse(last), score_rmse(majority));
        return;
    }
    printf("\naccuracy over %lld rows:  loop %.4f   never retrained %.4f   same as the last label "
           "%.4f   majority %.4f\n",
           (long long)r->loop_score.rows, score_accuracy(&r->loop_score),
           score_accuracy(&r->first_score), score_accuracy(last), score_accuracy(majority));
    printf("log loss:  loop %.4f   never retrained %.4f\n", score_logloss(&r->loop_score),
           score_logloss(&r->first_score));
}

static void print_timings(struct replay *r)
{
    struct replay_timing *t = NULL;
    size_t n = replay_log_timings(r->log, &t);
    CLEANUP_FREE double *v = xcalloc(n + 1, sizeof(*v));
    size_t k = hop_values(t, n, -1, v);
    printf("\nfrom the dataset event to service, %zu promotions, ms: p50 %.0f  p99 %.0f  max "
           "%.0f\n  p50 by hop:",
           k, quantile(v, k, 0.5), quantile(v, k, 0.99), quantile(v, k, 1));
    for (int i = 0; i < REPLAY_HOPS; i++) {
        k = hop_values(t, n, i, v);
        printf("  %s %.1f", replay_hop_names[i], quantile(v, k, 0.5));
    }
    printf("\n");
    free_ptr(&t);
}

void replay_print_table(struct replay *r)
{
    struct replay_counts c;
    struct rows rows = {.r = r};
    replay_log_counts(r->log, &c);
    replay_log_each_line(r->log, add_line, &rows);
    printf("\n gen  cause     trained  metric    candid.  champion interval of diff.    decision   "
           "  from row\n");
    for (size_t i = 0; i < rows.n; i++)
        print_generation(&rows.items[i]);
    free_ptr(&rows.items);
    print_scores(r);
    print_timings(r);
    printf("\nruns %lld, promoted %lld, rejected %lld, drift alerts %lld; requests %lld, failed "
           "%lld; events lost %lld, repeated %lld; %.1f s\n",
           (long long)c.runs, (long long)c.promoted, (long long)c.rejected,
           (long long)c.drift_alerts, (long long)r->requests, (long long)r->failed_requests,
           (long long)c.lost, (long long)c.repeated,
           (double)(clk_mono_ms(&clk_system) - r->started_ms) / 1000);
    if (r->failed_requests)
        printf("first failed request: %s\n", r->first_failure);
}
