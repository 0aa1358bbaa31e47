#include "agents/evaluate/slices.h"

#include <math.h>

enum { QUARTILES = 4 };

struct grouping { /* group of each row; SIZE_MAX: none */
    const struct matrix *m;
    size_t column;
    size_t *group;
    double *values; /* of present rows, sorted */
    size_t n_values;
};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double value_of(const struct grouping *g, size_t row)
{
    return (double)g->m->x[row * g->m->n_columns + g->column];
}

static void sort_values(struct grouping *g, struct arena *arena)
{
    g->values = arena_alloc(arena, (g->m->rows + 1) * sizeof(*g->values));
    for (size_t i = 0; i < g->m->rows; i++)
        if (!isnan(value_of(g, i)))
            g->values[g->n_values++] = value_of(g, i);
    qsort(g->values, g->n_values, sizeof(*g->values), by_value);
}

struct counted {
    double value;
    size_t n;
};

static int by_count(const void *a, const void *b)
{
    const struct counted *x = a, *y = b;

    if (x->n != y->n)
        return x->n > y->n ? -1 : 1;
    return x->value < y->value ? -1 : x->value > y->value;
}

static struct counted *count_values(const struct grouping *g, struct arena *arena, size_t *ret_n)
{
    struct counted *counts = arena_alloc(arena, (g->n_values + 1) * sizeof(*counts));
    size_t n = 0;

    for (size_t i = 0; i < g->n_values; i++) {
        if (n > 0 && counts[n - 1].value == g->values[i])
            counts[n - 1].n++;
        else
            counts[n++] = (struct counted){g->values[i], 1};
    }
    qsort(counts, n, sizeof(*counts), by_count);
    *ret_n = n;
    return counts;
}

static const char *value_name(const struct snapshot_column *c, double v, struct arena *arena)
{
    char text[32];

    if (c->type == COLUMN_CATEGORY && v >= 0 && v < (double)c->n_categories)
        return arena_printf(arena, "%s=%s", c->name, c->categories[(size_t)v]);
    if (c->type == COLUMN_BOOL)
        return arena_printf(arena, "%s=%s", c->name, v != 0 ? "true" : "false");
    snprintf(text, sizeof(text), "%.7g", v); /* a float32, shortly */
    return arena_printf(arena, "%s=%s", c->name, text);
}

static void add(struct row_slices *s, const struct grouping *g, const char *name, size_t group,
                struct arena *arena)
{
    size_t n = 0, *rows;

    for (size_t i = 0; i < g->m->rows; i++)
        n += g->group[i] == group;
    if (n == 0)
        return;
    rows = arena_alloc(arena, n * sizeof(*rows));
    n = 0;
    for (size_t i = 0; i < g->m->rows; i++)
        if (g->group[i] == group)
            rows[n++] = i;
    s->items[s->n++] = (struct row_slice){name, rows, n};
}

static void slice_by_value(struct grouping *g, const struct counted *counts, size_t n,
                           struct arena *arena, struct row_slices *ret)
{
    const struct snapshot_column *c = &g->m->columns[g->column];

    if (n > SLICES_MAX)
        n = SLICES_MAX;
    for (size_t i = 0; i < g->m->rows; i++)
        for (size_t k = 0; k < n; k++)
            if (value_of(g, i) == counts[k].value)
                g->group[i] = k;
    for (size_t k = 0; k < n; k++)
        add(ret, g, value_name(c, counts[k].value, arena), k, arena);
}

static void slice_by_quartile(struct grouping *g, struct arena *arena, struct row_slices *ret)
{
    const char *name = g->m->columns[g->column].name;
    double edges[QUARTILES + 1];
    size_t n = 0;

    for (size_t q = 0; q <= QUARTILES; q++) { /* edges are values that occur; equal ones are one */
        double v = g->values[q * (g->n_values - 1) / QUARTILES];

        if (n == 0 || v > edges[n - 1])
            edges[n++] = v;
    }
    for (size_t i = 0; i < g->m->rows; i++)
        for (size_t k = 0; k + 1 < n; k++) {
            bool is_last = k + 2 == n;

            if (value_of(g, i) >= edges[k] &&
                (value_of(g, i) < edges[k + 1] || (is_last && value_of(g, i) <= edges[k + 1])))
                g->group[i] = k;
        }
    for (size_t k = 0; k + 1 < n; k++)
        add(ret, g,
            arena_printf(arena, "%s=[%.7g,%.7g%s", name, edges[k], edges[k + 1],
                         k + 2 == n ? "]" : ")"),
            k, arena);
}

void slices_of(const struct matrix *m, const char *column, struct arena *arena,
               struct row_slices *ret)
{
    struct grouping g = {.m = m};
    const size_t missing = SLICES_MAX;
    struct counted *counts;
    size_t n;

    *ret = (struct row_slices){0};
    while (g.column < m->n_columns && strcmp(m->columns[g.column].name, column) != 0)
        g.column++;
    if (g.column == m->n_columns)
        return;
    ret->items = arena_alloc(arena, (SLICES_MAX + 1) * sizeof(*ret->items));
    g.group = arena_alloc(arena, (m->rows + 1) * sizeof(*g.group));
    for (size_t i = 0; i < m->rows; i++)
        g.group[i] = isnan(value_of(&g, i)) ? missing : SIZE_MAX;
    sort_values(&g, arena);
    counts = count_values(&g, arena, &n);
    if (m->columns[g.column].type == COLUMN_CATEGORY || n <= SLICES_MAX)
        slice_by_value(&g, counts, n, arena, ret);
    else
        slice_by_quartile(&g, arena, ret);
    add(ret, &g, arena_printf(arena, "%s=missing", column), missing, arena);
}
