#include "agents/evaluate/compare.h"

#include <math.h>

#include "agents/evaluate/slices.h"

struct part { /* some of the rows, side by side */
    struct metric_input candidate, champion;
    double *p, *q;
    float *y;
};

static void part_init(struct part *part, const struct comparison *c, const size_t *rows, size_t n)
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
        .p = part->p, .y = part->y, .rows = n, .k = k, .task = c->pipeline->task};
    part->champion = part->candidate;
    part->champion.p = part->q;
}

static void part_fini(struct part *part)
{
    free(part->p);
    free(part->q);
    free(part->y);
}

struct report {
    struct evaluation_metric *items;
    size_t n, cap;
};

static const char *champion_reason(const char *why, struct arena *arena)
{
    return why ? arena_printf(arena, "champion: %s", why) : NULL;
}

/* One entry, but for its interval. */
static void measure(const struct comparison *c, const struct part *part, enum metric m,
                    const char *slice, struct arena *arena, struct evaluation_metric *e)
{
    const char *why = NULL, *why_champion = NULL;

    *e = (struct evaluation_metric){
        .metric = metric_str(m),
        .slice = slice,
        .rows = (int64_t)part->candidate.rows,
        .champion = NAN,
        .difference = NAN,
        .low = NAN,
        .high = NAN,
        .higher_is_better = metric_higher_is_better(m),
    };
    e->candidate = metric_value(m, &part->candidate, &why);
    if (c->champion)
        e->champion = metric_value(m, &part->champion, &why_champion);
    else
        why_champion = c->why_no_champion;
    e->difference = e->candidate - e->champion;
    e->undefined = why ? why : champion_reason(why_champion, arena);
}

static void report_part(const struct comparison *c, const size_t *rows, size_t n, const char *slice,
                        struct arena *arena, struct report *r)
{
    const struct pipeline *p = c->pipeline;
    enum metric metrics[METRIC_COUNT];
    struct interval intervals[METRIC_COUNT];
    size_t n_metrics = 0, from = r->n;
    struct part part;

    part_init(&part, c, rows, n);
    for (size_t i = 0; i < p->n_metrics && n_metrics < METRIC_COUNT; i++) {
        enum metric m = metric_parse(p->metrics[i]);

        if (m == METRIC_NONE)
            continue;
        metrics[n_metrics++] = m;
        r->items = xgrow(r->items, &r->cap, r->n + 1, sizeof(*r->items));
        measure(c, &part, m, slice, arena, &r->items[r->n++]);
    }
    if (metric_bootstrap_many(metrics, n_metrics, c->champion ? &part.champion : NULL,
                              &part.candidate, (size_t)p->bootstrap_rounds, p->confidence, c->seed,
                              intervals) == 0)
        for (size_t i = 0; i < n_metrics; i++) {
            r->items[from + i].low = intervals[i].low;
            r->items[from + i].high = intervals[i].high;
        }
    part_fini(&part);
}

/* A column that the rows do not have: said so, rather than no slice at all. */
static void report_absent(const struct comparison *c, const char *column, struct arena *arena,
                          struct report *r)
{
    for (size_t i = 0; i < c->pipeline->n_metrics; i++) {
        enum metric m = metric_parse(c->pipeline->metrics[i]);

        r->items = xgrow(r->items, &r->cap, r->n + 1, sizeof(*r->items));
        r->items[r->n++] = (struct evaluation_metric){
            .metric = metric_str(m),
            .slice = arena_printf(arena, "%s=", column),
            .candidate = NAN,
            .champion = NAN,
            .difference = NAN,
            .low = NAN,
            .high = NAN,
            .higher_is_better = metric_higher_is_better(m),
            .undefined = "no such column among the features",
        };
    }
}

void compare(const struct comparison *c, struct arena *arena, struct evaluation_metric_list *ret)
{
    struct report r = {0};

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
}
