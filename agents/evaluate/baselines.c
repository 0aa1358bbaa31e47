#include "agents/evaluate/baselines.h"

#include <math.h>

#include "agents/evaluate/aside.h"

/* ---- what the training rows say of the label ---- */

struct sums {
    double *by_class; /* rows of each of the model's classes; regression: the sum of labels */
    size_t n;         /* 1: regression */
    double rows;
};

static size_t class_of(const struct model *m, const char *name)
{
    for (size_t k = 0; k < m->shape.n_classes; k++)
        if (strcmp(m->shape.classes[k], name) == 0)
            return k;
    return SIZE_MAX;
}

static void add_label(const struct model *m, const struct snapshot *s, float y, struct sums *to)
{
    size_t k = SIZE_MAX;

    if (!isfinite(y))
        return;
    if (m->task == TASK_REGRESSION) {
        to->by_class[0] += (double)y;
        to->rows++;
        return;
    }
    if (y >= 0 && y < (float)s->n_classes)
        k = class_of(m, s->classes[(size_t)y]);
    if (k == SIZE_MAX)
        return; /* of a class that the model does not tell */
    to->by_class[k]++;
    to->rows++;
}

static int add_snapshot(const struct artifacts *a, const struct model *m, const char *digest,
                        struct sums *to, struct err *err)
{
    CLEANUP(snapshot_unmap) struct snapshot_data d = {0};
    struct snapshot *s = NULL;
    int rc = snapshot_open(a, digest, &s, err) || snapshot_map(a, s, &d, err) ? -1 : 0;

    for (size_t i = 0; rc == 0 && s->task == m->task && i < s->rows; i++)
        if (((const uint8_t *)d.split.data)[i] == ROW_TRAIN)
            add_label(m, s, ((const float *)d.label.data)[i], to);
    snapshot_free(s);
    return rc;
}

void naive_learn(const struct artifacts *a, const struct model *m, struct arena *arena,
                 struct naive *ret)
{
    struct sums sums = {.n = m->task == TASK_REGRESSION ? 1 : m->shape.n_classes};
    struct err err = {0};

    *ret = (struct naive){.n = sums.n};
    sums.by_class = xcalloc(sums.n + 1, sizeof(*sums.by_class));
    for (size_t i = 0; !ret->why && i < m->n_snapshots; i++)
        if (add_snapshot(a, m, m->snapshots[i], &sums, &err))
            ret->why = arena_printf(arena, "what it learned from cannot be read: %s", err.msg);
    if (!ret->why && !(sums.rows > 0))
        ret->why = "none of the rows that it learned from has a label";
    for (size_t k = 0; k < sums.n; k++)
        sums.by_class[k] /= sums.rows;
    if (ret->why)
        free(sums.by_class);
    else
        ret->shares = sums.by_class;
}

void naive_fini(struct naive *n)
{
    free(n->shares);
    *n = (struct naive){0};
}

/* ---- their answers on the test rows, in the candidate's shape ---- */

/* Of two classes the outputs are the probability of the second; k is 1 there. */
static double *answer_naive(const struct comparison *c, const struct naive *naive)
{
    double *p = xmalloc((c->rows->rows * c->k + 1) * sizeof(*p));
    size_t first = c->pipeline->task == TASK_BINARY ? 1 : 0;

    for (size_t i = 0; i < c->rows->rows; i++)
        memcpy(p + i * c->k, naive->shares + first, c->k * sizeof(*p));
    return p;
}

/* The first row has none before it: it gets what is naive. */
static double *answer_last(const struct comparison *c, const struct naive *naive)
{
    double *p = answer_naive(c, naive);

    for (size_t i = 1; i < c->rows->rows; i++) {
        float before = c->rows->y[i - 1];

        if (c->pipeline->task != TASK_MULTICLASS) {
            p[i] = (double)before;
            continue;
        }
        for (size_t k = 0; k < c->k; k++)
            p[i * c->k + k] = (double)before == (double)k ? 1 : 0;
    }
    return p;
}

/* ---- beside the candidate ---- */

static bool wants_interval(const struct pipeline *p, const char *name)
{
    for (size_t i = 0; i < p->n_rules; i++)
        if (p->rules[i].by_interval && p->rules[i].baseline &&
            strcmp(p->rules[i].baseline, name) == 0)
            return true;
    return false;
}

static void measure(const struct comparison *c, const struct baseline *b, int64_t comparisons,
                    const struct metric_spec *metrics, struct metric_compared *ret)
{
    const struct pipeline *p = c->pipeline;
    struct metric_resampling how = comparison_resampling(c, comparisons);
    struct metric_input candidate = {.p = c->candidate,
                                     .y = c->rows->y,
                                     .rows = c->rows->rows,
                                     .k = c->k,
                                     .task = p->task},
                        other;
    struct aside_cost cost;
    struct aside_part aside;

    if (!wants_interval(p, b->name))
        how.rounds = 0;
    if (aside_cost_init(&cost, p, c->rows->classes, c->rows->n_classes))
        candidate.cost = &cost.cost;
    aside_take(c->rows, p, NULL, c->rows->rows, &aside, &candidate);
    other = candidate;
    other.p = b->p;
    BUG_ON(metric_compare(metrics, p->n_metrics, b->p ? &other : NULL, &candidate, &how, ret) != 0);
    aside_fini(&aside);
    aside_cost_fini(&cost);
}

static struct evaluation_baseline entry(const struct comparison *c, const struct baseline *b,
                                        size_t i, const struct metric_compared *found,
                                        struct arena *arena)
{
    struct evaluation_baseline e = {.name = b->name,
                                    .model = b->model,
                                    .metric = arena_strdup(arena, c->pipeline->metrics[i]),
                                    .rows = (int64_t)c->rows->rows,
                                    .candidate = found->b,
                                    .value = NAN,
                                    .difference = NAN,
                                    .low = NAN,
                                    .high = NAN,
                                    .reason = b->p ? found->why_a : b->why};

    if (found->why_b)
        e.reason = arena_printf(arena, "candidate: %s", found->why_b);
    if (!b->p)
        return e; /* the interval would be the candidate's own */
    e.value = found->a;
    e.difference = found->b - found->a;
    e.low = found->interval.low;
    e.high = found->interval.high;
    return e;
}

void baselines_append(const struct comparison *c, const struct baseline *b, int64_t comparisons,
                      struct arena *arena, struct evaluation_baseline_list *list)
{
    size_t n = c->pipeline->n_metrics;
    struct evaluation_baseline *items = arena_alloc(arena, (list->n + n) * sizeof(*items));
    struct metric_spec *metrics = arena_alloc(arena, n * sizeof(*metrics));
    CLEANUP_FREE struct metric_compared *found = xcalloc(n, sizeof(*found));

    for (size_t i = 0; i < n; i++)
        BUG_ON(metric_parse(c->pipeline->metrics[i], &metrics[i], NULL) != 0);
    measure(c, b, comparisons, metrics, found);
    if (list->n)
        memcpy(items, list->items, list->n * sizeof(*items));
    for (size_t i = 0; i < n; i++)
        items[list->n + i] = entry(c, b, i, &found[i], arena);
    *list = (struct evaluation_baseline_list){items, list->n + n};
}

void baselines_compare(const struct comparison *c, const struct naive *naive, struct arena *arena,
                       int64_t comparisons, struct evaluation_baseline_list *ret)
{
    CLEANUP_FREE double *constant = naive->why ? NULL : answer_naive(c, naive);
    CLEANUP_FREE double *last = NULL;

    baselines_append(c, &(struct baseline){.name = "naive", .p = constant, .why = naive->why},
                     comparisons, arena, ret);
    if (!c->pipeline->time && c->pipeline->split_by != SPLIT_ORDER)
        return; /* the rows may have no order */
    last = naive->why ? NULL : answer_last(c, naive);
    baselines_append(c, &(struct baseline){.name = "last_value", .p = last, .why = naive->why},
                     comparisons, arena, ret);
}
