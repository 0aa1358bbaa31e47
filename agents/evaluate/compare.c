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
    };
    return &r->items[r->n++];
}

static void report_part(const struct comparison *c, const size_t *rows, size_t n, const char *slice,
                        struct arena *arena, struct report *r)
{
    const struct pipeline *p = c->pipeline;
    struct metric_resampling how = {.rounds = (size_t)p->bootstrap_rounds,
                                    .confidence = p->confidence,
                                    .seed = c->seed,
                                    .threads = c->threads};
    CLEANUP_FREE struct metric_compared *found = xcalloc(p->n_metrics, sizeof(*found));
    struct part part;

    part_init(&part, c, r->cost, rows, n);
    BUG_ON(metric_compare(r->metrics, p->n_metrics, c->champion ? &part.champion : NULL,
                          &part.candidate, &how, found) != 0);
    for (size_t i = 0; i < p->n_metrics; i++) {
        struct evaluation_metric *e = add(c, i, slice, arena, r);

        e->rows = (int64_t)n;
        e->candidate = found[i].b;
        e->champion = found[i].a;
        e->difference = found[i].b - found[i].a;
        e->low = found[i].interval.low;
        e->high = found[i].interval.high;
        e->undefined =
            found[i].why_b
                ? found[i].why_b
                : champion_reason(c->champion ? found[i].why_a : c->why_no_champion, arena);
    }
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

void compare(const struct comparison *c, struct arena *arena, struct evaluation_metric_list *ret)
{
    struct report r = {0};
    struct aside_cost cost;

    if (aside_cost_init(&cost, c->pipeline, c->rows->classes, c->rows->n_classes))
        r.cost = &cost.cost;
    r.metrics = arena_alloc(arena, c->pipeline->n_metrics * sizeof(*r.metrics));
    for (size_t i = 0; i < c->pipeline->n_metrics; i++)
        BUG_ON(metric_parse(c->pipeline->metrics[i], &r.metrics[i], NULL) != 0);
    report_part(c, NULL, c->rows->rows, "all", arena, &r);
    for (size_t i = 0; i < c->pipeline->n_slices; i++) {
        struct row_slices slices;

        slices_of(c->rows, c->pipeline->slices[i], arena, &slices);
        for (size_t k = 0; k < slices.n; k++)
            report_part(c, slices.items[k].rows, slices.items[k].n, slices.items[k].name, arena,
                        &r);
        if (slices.n == 0 && c->rows->rows)
            report_absent(c, c->pipeline->slices[i], arena, &r);
    }
    ret->items = arena_memdup(arena, r.items, r.n * sizeof(*r.items));
    ret->n = r.n;
    free(r.items);
    aside_cost_fini(&cost);
}
