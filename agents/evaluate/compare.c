#include "agents/evaluate/compare.h"

#include <math.h>

#include "agents/evaluate/aside.h"
#include "agents/evaluate/slices.h"

struct part { /* some of the rows, side by side */
    struct metric_input candidate, champion;
    double *p, *q;
    float *y;
    struct aside_part aside;
};

static void part_init(struct part *part, const struct comparison *c, const struct metric_cost *cost,
                      const size_t *rows, size_t n)
{
    size_t k = c->k;

    part->p = xmalloc((n * k + 1) * sizeof(*part->p));
    part->q = xmalloc((n * k + 1) * sizeof(*part->q));
    part->y = xmalloc((n + 1) * sizeof(*part->y));
    for (size_t i = 0; i < n; i++) {
        size_t row = rows ? rows[i] : i;

        memcpy(part->p + i * k, c->candidate + row * k, k * sizeof(*part->p));
        if (c->champion)
            memcpy(part->q + i * k, c->champion + row * k, k * sizeof(*part->q));
        part->y[i] = c->rows->y[row];
    }
    part->candidate = (struct metric_input){
        .p = part->p, .y = part->y, .rows = n, .k = k, .task = c->pipeline->task, .cost = cost};
    aside_take(c->rows, c->pipeline, rows, n, &part->aside, &part->candidate);
    part->champion = part->candidate;
    part->champion.p = part->q;
}

static void part_fini(struct part *part)
{
    free(part->p);
    free(part->q);
    free(part->y);
    aside_fini(&part->aside);
}

struct report {
    struct metric_spec *metrics; /* the pipeline's */
    const struct metric_cost *cost;
    struct metric_resampling how;
    struct evaluation_metric *items;
    size_t n, cap;
};

static const char *champion_reason(const char *why, struct arena *arena)
{
    return why ? arena_printf(arena, "champion: %s", why) : NULL;
}

static struct evaluation_metric *add(const struct comparison *c, size_t i, const char *slice,
                                     struct arena *arena, struct report *r)
{
    r->items = xgrow(r->items, &r->cap, r->n + 1, sizeof(*r->items));
    r->items[r->n] = (struct evaluation_metric){
        .metric = arena_strdup(arena, c->pipeline->metrics[i]),
        .slice = slice,
        .candidate = NAN,
        .champion = NAN,
        .difference = NAN,
        .low = NAN,
        .high = NAN,
        .higher_is_better = metric_higher_is_better(r->metrics[i].id),
        .method = "",
        .effective_rows = NAN,
        .p = NAN,
    };
    return &r->items[r->n++];
}

static void fill_entry(const struct comparison *c, const struct part *part,
                       const struct metric_compared *found, struct arena *arena,
                       const struct report *r, struct evaluation_metric *e)
{
    e->rows = (int64_t)part->candidate.rows;
    e->candidate = found->b;
    e->champion = found->a;
    e->difference = found->b - found->a;
    e->low = found->interval.low;
    e->high = found->interval.high;
    e->undefined = found->why_b
                       ? found->why_b
                       : champion_reason(c->champion ? found->why_a : c->why_no_champion, arena);
    if (!e->undefined)
        e->undefined = found->why_no_interval;
    e->method = interval_method_str(found->method);
    e->effective_rows = found->effective_rows;
    e->p = found->p;
    e->clusters = part->candidate.cluster ? (int64_t)part->candidate.n_clusters : 0;
    e->level = found->method == METHOD_NONE ? 0 : r->how.confidence;
}

static void report_part(const struct comparison *c, const size_t *rows, size_t n, const char *slice,
                        struct arena *arena, struct report *r)
{
    const struct pipeline *p = c->pipeline;
    CLEANUP_FREE struct metric_compared *found = xcalloc(p->n_metrics, sizeof(*found));
    struct part part;

    part_init(&part, c, r->cost, rows, n);
    BUG_ON(metric_compare(r->metrics, p->n_metrics, c->champion ? &part.champion : NULL,
                          &part.candidate, &r->how, found) != 0);
    for (size_t i = 0; i < p->n_metrics; i++)
        fill_entry(c, &part, &found[i], arena, r, add(c, i, slice, arena, r));
    part_fini(&part);
}

/* A column that the rows do not have: said so, rather than no slice at all. */
static void report_absent(const struct comparison *c, const char *column, struct arena *arena,
                          struct report *r)
{
    for (size_t i = 0; i < c->pipeline->n_metrics; i++)
        add(c, i, arena_printf(arena, "%s=", column), arena, r)->undefined =
            "no such column among the features";
}

static void report_slices(const struct comparison *c, const struct row_slices *slices,
                          struct arena *arena, struct report *r)
{
    for (size_t i = 0; i < c->pipeline->n_slices; i++) {
        for (size_t k = 0; k < slices[i].n; k++)
            report_part(c, slices[i].items[k].rows, slices[i].items[k].n, slices[i].items[k].name,
                        arena, r);
        if (slices[i].n == 0 && c->rows->rows)
            report_absent(c, c->pipeline->slices[i], arena, r);
    }
}

/* ---- how sure the intervals are to be ---- */

/* Slices of one column that a rule is about. */
static int64_t count_slices(const struct gate_rule *r, const char *column,
                            const struct row_slices *slices)
{
    if (strcmp(r->slice, RULE_EVERY_SLICE) != 0 && strcmp(r->slice, column) != 0)
        return 0;
    return r->slice_value ? 1 : (int64_t)slices->n;
}

/* A rule by interval asks one question, on slices one of each. */
static int64_t count_comparisons(const struct pipeline *p, const struct row_slices *slices)
{
    int64_t n = 0;

    for (size_t i = 0; i < p->n_rules; i++) {
        const struct gate_rule *r = &p->rules[i];

        if (!r->by_interval || r->severity != SEVERITY_BLOCK)
            continue;
        n += !r->slice;
        for (size_t k = 0; r->slice && k < p->n_slices; k++)
            n += count_slices(r, p->slices[k], &slices[k]);
    }
    return n;
}

struct metric_resampling comparison_resampling(const struct comparison *c, int64_t comparisons)
{
    const struct pipeline *p = c->pipeline;
    double confidence = p->confidence;

    if (p->sequential != SEQUENTIAL_OFF)
        confidence = sequence_confidence(confidence, c->attempt);
    if (comparisons > 1)
        confidence = 1 - (1 - confidence) / (double)comparisons;
    return (struct metric_resampling){.rounds = (size_t)p->bootstrap_rounds,
                                      .confidence = confidence,
                                      .seed = c->seed,
                                      .threads = c->threads,
                                      .choice = p->interval == INTERVALS_BOOTSTRAP
                                                    ? INTERVAL_BOOTSTRAP
                                                : p->interval == INTERVALS_CLOSED ? INTERVAL_CLOSED
                                                                                  : INTERVAL_AUTO,
                                      .is_anytime = p->sequential == SEQUENTIAL_ANYTIME};
}

/* ---- all of it ---- */

int64_t compare(const struct comparison *c, struct arena *arena, struct evaluation_metric_list *ret)
{
    const struct pipeline *p = c->pipeline;
    struct row_slices *slices = arena_alloc(arena, (p->n_slices + 1) * sizeof(*slices));
    struct report r = {0};
    struct aside_cost cost;
    int64_t comparisons = 0;

    if (aside_cost_init(&cost, p, c->rows->classes, c->rows->n_classes))
        r.cost = &cost.cost;
    r.metrics = arena_alloc(arena, p->n_metrics * sizeof(*r.metrics));
    for (size_t i = 0; i < p->n_metrics; i++)
        BUG_ON(metric_parse(p->metrics[i], &r.metrics[i], NULL) != 0);
    for (size_t i = 0; i < p->n_slices; i++)
        slices_of(c->rows, p->slices[i], arena, &slices[i]);
    if (p->correction == CORRECTION_BONFERRONI)
        comparisons = count_comparisons(p, slices);
    r.how = comparison_resampling(c, comparisons);
    report_part(c, NULL, c->rows->rows, "all", arena, &r);
    report_slices(c, slices, arena, &r);
    ret->items = arena_memdup(arena, r.items, r.n * sizeof(*r.items));
    ret->n = r.n;
    free(r.items);
    aside_cost_fini(&cost);
    return comparisons;
}
