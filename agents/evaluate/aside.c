#include "agents/evaluate/aside.h"

#include <math.h>

enum { NO_GROUP = UINT32_MAX }; /* metrics say so */

/* Rows that have none are missing theirs: then a metric is undefined, rather than unweighted. */
static double *take(const double *from, const size_t *rows, size_t n)
{
    double *to = xmalloc((n + 1) * sizeof(*to));

    for (size_t i = 0; i < n; i++)
        to[i] = from ? from[rows ? rows[i] : i] : (double)NAN;
    return to;
}

/* ---- groups: numbers that stand for their names become 0, 1, 2 ... by first sight ---- */

struct numbering {
    double *names; /* NaN: free */
    uint32_t *numbers;
    size_t cap; /* a power of two, more than twice the rows */
    uint32_t n;
};

static uint32_t number_of(struct numbering *g, double name)
{
    uint64_t bits;
    size_t i;

    if (isnan(name))
        return NO_GROUP;
    memcpy(&bits, &name, sizeof(bits));
    i = (size_t)((bits * 0x9E3779B97F4A7C15) >> 20) & (g->cap - 1);
    while (!isnan(g->names[i]) && g->names[i] != name)
        i = (i + 1) & (g->cap - 1);
    if (isnan(g->names[i])) {
        g->names[i] = name;
        g->numbers[i] = g->n++;
    }
    return g->numbers[i];
}

static uint32_t *number_groups(const double *names, const size_t *rows, size_t n, size_t *ret_n)
{
    struct numbering g = {.cap = 16};
    uint32_t *group = xmalloc((n + 1) * sizeof(*group));

    while (g.cap < 2 * n)
        g.cap *= 2;
    g.names = xmalloc(g.cap * sizeof(*g.names));
    g.numbers = xmalloc(g.cap * sizeof(*g.numbers));
    for (size_t i = 0; i < g.cap; i++)
        g.names[i] = NAN;
    for (size_t i = 0; i < n; i++)
        group[i] = number_of(&g, names ? names[rows ? rows[i] : i] : (double)NAN);
    free(g.names);
    free(g.numbers);
    *ret_n = g.n;
    return group;
}

void aside_take(const struct matrix *m, const struct pipeline *p, const size_t *rows, size_t n,
                struct aside_part *ret, struct metric_input *to)
{
    *ret = (struct aside_part){0};
    if (p->asides[ASIDE_WEIGHT])
        ret->weight = take(m->aside[ASIDE_WEIGHT], rows, n);
    if (p->asides[ASIDE_VALUE])
        ret->value = take(m->aside[ASIDE_VALUE], rows, n);
    if (p->asides[ASIDE_GROUP] && m->aside[ASIDE_GROUP])
        ret->group = number_groups(m->aside[ASIDE_GROUP], rows, n, &to->n_groups);
    if (p->asides[ASIDE_CLUSTER])
        ret->cluster = number_groups(m->aside[ASIDE_CLUSTER], rows, n, &to->n_clusters);
    to->cluster = ret->cluster;
    to->w = ret->weight;
    to->value = ret->value;
    to->group = ret->group;
}

void aside_fini(struct aside_part *a)
{
    free(a->weight);
    free(a->value);
    free(a->group);
    free(a->cluster);
    *a = (struct aside_part){0};
}

/* ---- cost ---- */

static size_t class_at(char *const *classes, size_t n, const char *name)
{
    char text[256]; /* a category's longest, PIPELINE_TEXT_MAX */
    struct slice wanted = class_name(slice_str(name), text, sizeof(text));
    size_t i = 0;

    while (i < n && (strlen(classes[i]) != wanted.n || memcmp(classes[i], wanted.p, wanted.n) != 0))
        i++;
    return i;
}

bool aside_cost_init(struct aside_cost *c, const struct pipeline *p, char *const *classes,
                     size_t n_classes)
{
    size_t n = n_classes;
    double *fixed, *by_value;

    *c = (struct aside_cost){0};
    if (!p->cost)
        return false;
    c->cells = fixed = xcalloc(2 * n * n + 1, sizeof(*c->cells));
    by_value = fixed + n * n;
    c->cost = (struct metric_cost){fixed, by_value, n};
    for (size_t i = 0; p->cost->n == 0 && i < n * n; i++)
        by_value[i] = i / n == i % n ? 0 : 1;
    for (size_t i = 0; i < p->cost->n; i++) {
        const struct answer_cost *a = &p->cost->answers[i];
        size_t label = class_at(classes, n, a->label), answer = class_at(classes, n, a->answer);

        if (label == n || answer == n) {
            c->cost.n = 0;
            break;
        }
        *(isnan(a->cost) ? &by_value[label * n + answer] : &fixed[label * n + answer]) =
            isnan(a->cost) ? 1 : a->cost;
    }
    return true;
}

void aside_cost_fini(struct aside_cost *c)
{
    free(c->cells);
    *c = (struct aside_cost){0};
}
