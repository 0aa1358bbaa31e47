/* Metrics on shared random tables, against what scikit-learn and NumPy say of them
 * (tests/golden/metrics, made by its make.py; versions are in the file). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/fsx.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/metrics.h"

static const double TOLERANCE = 1e-10; /* relative to 1, or to the value when it is greater */

struct table {
    const char *name;
    struct metric_input in;
    const double *w;
    struct metric_cost cost;
};
struct golden {
    struct json *root;
    struct arena arena;
    struct table *tables;
    size_t n;
};

static double *numbers(struct golden *g, const struct json *list, size_t *ret_n)
{
    size_t n = json_len(list);
    double *v = arena_alloc(&g->arena, (n + 1) * sizeof(*v));

    for (size_t i = 0; i < n; i++)
        v[i] = json_num(json_at(list, i), NAN);
    if (ret_n)
        *ret_n = n;
    return v;
}

static enum task task_of(const char *name)
{
    if (strcmp(name, "binary") == 0)
        return TASK_BINARY;
    return strcmp(name, "regression") == 0 ? TASK_REGRESSION : TASK_MULTICLASS;
}

static void read_groups(struct golden *g, const struct json *j, struct table *t)
{
    double *group = numbers(g, json_get(j, "group"), NULL);
    uint32_t *to = arena_alloc(&g->arena, (t->in.rows + 1) * sizeof(*to));

    if (!json_get(j, "group"))
        return;
    for (size_t i = 0; i < t->in.rows; i++) {
        to[i] = (uint32_t)group[i];
        if (to[i] >= t->in.n_groups)
            t->in.n_groups = to[i] + 1;
    }
    t->in.group = to;
}

static void read_table(struct golden *g, const struct json *j, struct table *t)
{
    double *y = numbers(g, json_get(j, "y"), &t->in.rows);
    float *labels = arena_alloc(&g->arena, (t->in.rows + 1) * sizeof(*labels));

    for (size_t i = 0; i < t->in.rows; i++)
        labels[i] = (float)y[i];
    t->name = json_get_str(j, "name", "");
    t->in.task = task_of(json_get_str(j, "task", ""));
    t->in.k = (size_t)json_get_num(j, "k", 0);
    t->in.p = numbers(g, json_get(j, "p"), NULL);
    t->in.y = labels;
    t->w = numbers(g, json_get(j, "w"), NULL);
    t->in.value = json_get(j, "value") ? numbers(g, json_get(j, "value"), NULL) : NULL;
    t->cost.fixed = numbers(g, json_get(j, "fixed"), NULL);
    t->cost.by_value = numbers(g, json_get(j, "by_value"), NULL);
    t->cost.n = t->in.k == 1 ? 2 : t->in.k;
    read_groups(g, j, t);
}

static int setup(void **state)
{
    struct golden *g = xcalloc(1, sizeof(*g));
    CLEANUP(buf_fini) struct buf text = {0};
    const struct json *tables;
    struct err err = {0};

    buf_init(&text, (size_t)8 << 20);
    if (fsx_read_file("tests/golden/metrics/tables.json", (size_t)8 << 20, &text, &err) ||
        !(g->root = json_parse(buf_slice(&text), "tables", &err)))
        fail_msg("%s", err.msg);
    tables = json_get(g->root, "tables");
    g->n = json_len(tables);
    g->tables = arena_alloc(&g->arena, (g->n + 1) * sizeof(*g->tables));
    for (size_t i = 0; i < g->n; i++)
        read_table(g, json_at(tables, i), &g->tables[i]);
    print_message("%s\n", json_get_str(g->root, "by", ""));
    *state = g;
    return 0;
}

static int teardown(void **state)
{
    struct golden *g = *state;

    json_free(g->root);
    arena_fini(&g->arena);
    free(g);
    return 0;
}

static const struct table *table_of(const struct golden *g, const char *name)
{
    for (size_t i = 0; i < g->n; i++)
        if (strcmp(g->tables[i].name, name) == 0)
            return &g->tables[i];
    fail_msg("no table %s", name);
    return NULL;
}

static void note(double largest[METRIC_COUNT], enum metric m, double difference)
{
    if (difference > largest[m])
        largest[m] = difference;
}

static void check_case(const struct golden *g, const struct json *c, double largest[METRIC_COUNT])
{
    const struct table *t = table_of(g, json_str(json_at(c, 0), ""));
    const char *name = json_str(json_at(c, 1), ""), *why = NULL;
    double expected = json_num(json_at(c, 3), NAN), got;
    struct metric_input in = t->in;
    struct metric_spec m;
    struct err err = {0};

    if (metric_parse(name, &m, &err))
        fail_msg("%s", err.msg);
    in.w = json_bool(json_at(c, 2), false) ? t->w : NULL;
    in.cost = &t->cost;
    got = metric_value(&m, &in, &why);
    if (isnan(expected) != isnan(got) || isnan(got) != (why != NULL) ||
        fabs(got - expected) > TOLERANCE * fmax(1, fabs(expected)))
        fail_msg("%s of '%s'%s: %.17g is not %.17g (%s)", name, t->name, in.w ? ", weighted" : "",
                 got, expected, why ? why : "defined");
    if (!isnan(got))
        note(largest, m.id, fabs(got - expected) / fmax(1, fabs(expected)));
}

static void every_case_has_the_value_of_the_reference(void **state)
{
    const struct golden *g = *state;
    const struct json *cases = json_get(g->root, "cases");
    double largest[METRIC_COUNT];

    for (size_t i = 0; i < METRIC_COUNT; i++)
        largest[i] = -1;
    for (size_t i = 0; i < json_len(cases); i++)
        check_case(g, json_at(cases, i), largest);
    for (int i = METRIC_NONE + 1; i < METRIC_COUNT; i++) {
        print_message("%-18s %.1e\n", metric_example((enum metric)i), largest[i]);
        assert_true(largest[i] >= 0); /* every metric has a case */
    }
}

/* Every second row written twice, or weighted by two. */
static void weights_count_like_rows(void **state)
{
    const struct golden *g = *state;

    for (size_t k = 0; k < g->n; k++) {
        const struct table *t = &g->tables[k];
        struct metric_input twice = t->in, weighted = t->in;
        size_t n = t->in.rows, width = t->in.k;
        double *p = xmalloc(2 * n * width * sizeof(*p)), *w = xmalloc(n * sizeof(*w));
        float *y = xmalloc(2 * n * sizeof(*y));

        for (size_t i = 0; i < n; i++) {
            w[i] = (double)(i % 2 + 1);
            for (size_t copy = 0; copy < i % 2 + 1; copy++) {
                size_t at = i + i / 2 + copy;

                y[at] = t->in.y[i];
                memcpy(p + at * width, t->in.p + i * width, width * sizeof(*p));
            }
        }
        twice.rows = n + n / 2;
        twice.p = p;
        twice.y = y;
        weighted.w = w;
        for (enum metric id = METRIC_ACCURACY; id < METRIC_COUNT; id++) {
            struct metric_spec m = {.id = id, .number = 0.7};
            double a, b;

            if (!metric_fits(id, t->in.task) || id == METRIC_COST || metric_needs_groups(id))
                continue;
            a = metric_value(&m, &twice, NULL);
            b = metric_value(&m, &weighted, NULL);
            if (isnan(a) != isnan(b) || fabs(a - b) > TOLERANCE * fmax(1, fabs(a)))
                fail_msg("%s of '%s': %.17g is not %.17g", metric_example(id), t->name, a, b);
        }
        free(p);
        free(w);
        free(y);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case_has_the_value_of_the_reference),
        cmocka_unit_test(weights_count_like_rows),
    };

    return cmocka_run_group_tests_name("metrics_tables", tests, setup, teardown);
}
