/* Closed intervals and tests on shared random tables, against what SciPy, statsmodels and
 * definitions say of them (tests/golden/metrics/intervals.json, made by its intervals.py; versions
 * are in the file). */
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
#include "common/metrics_closed.h"

struct table {
    const char *name;
    enum task task;
    double *a, *b, effective;
    float *y;
    uint32_t *cluster; /* NULL: none */
    size_t rows, n_clusters;
};
struct golden {
    struct json *root;
    struct arena arena;
    struct table *tables;
    size_t n;
};

static double *numbers(struct golden *g, const struct json *list)
{
    size_t n = json_len(list);
    double *v = arena_alloc(&g->arena, (n + 1) * sizeof(*v));

    for (size_t i = 0; i < n; i++)
        v[i] = json_num(json_at(list, i), NAN);
    return v;
}

static void read_table(struct golden *g, const struct json *j, struct table *t)
{
    double *y = numbers(g, json_get(j, "y")), *cluster = numbers(g, json_get(j, "cluster"));

    t->name = json_get_str(j, "name", "");
    t->task = strcmp(json_get_str(j, "task", ""), "binary") == 0 ? TASK_BINARY : TASK_REGRESSION;
    t->rows = json_len(json_get(j, "y"));
    t->a = numbers(g, json_get(j, "a"));
    t->b = numbers(g, json_get(j, "b"));
    t->effective = json_get_num(j, "effective", NAN);
    t->y = arena_alloc(&g->arena, t->rows * sizeof(*t->y));
    for (size_t i = 0; i < t->rows; i++)
        t->y[i] = (float)y[i];
    if (!json_get(j, "cluster"))
        return;
    t->cluster = arena_alloc(&g->arena, t->rows * sizeof(*t->cluster));
    for (size_t i = 0; i < t->rows; i++) {
        t->cluster[i] = (uint32_t)cluster[i];
        if (t->cluster[i] >= t->n_clusters)
            t->n_clusters = t->cluster[i] + 1;
    }
}

static int setup(void **state)
{
    struct golden *g = xcalloc(1, sizeof(*g));
    CLEANUP(buf_fini) struct buf text = {0};
    const struct json *tables;
    struct err err = {0};

    buf_init(&text, (size_t)8 << 20);
    if (fsx_read_file("tests/golden/metrics/intervals.json", (size_t)8 << 20, &text, &err) ||
        !(g->root = json_parse(buf_slice(&text), "intervals", &err)))
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

/* ---- scalars ---- */

static double wilson(const double *v, bool is_high)
{
    struct interval i;

    assert_true(wilson_interval(v[0], v[1], v[2], &i));
    return is_high ? i.high : i.low;
}

static double tango(const double *v, bool is_high)
{
    struct interval i;

    assert_true(tango_interval(v[0], v[1], v[2], v[3], &i));
    return is_high ? i.high : i.low;
}

static double scalar(const char *what, const double *v)
{
    if (strcmp(what, "normal_quantile") == 0)
        return normal_quantile(v[0]);
    if (strcmp(what, "student_quantile") == 0)
        return student_quantile(v[0], v[1]);
    if (strncmp(what, "wilson_", 7) == 0)
        return wilson(v, what[7] == 'h');
    if (strncmp(what, "tango_", 6) == 0)
        return tango(v, what[6] == 'h');
    return mcnemar_p((size_t)v[0], (size_t)v[1],
                     strcmp(what, "mcnemar_mid") == 0     ? MCNEMAR_MID
                     : strcmp(what, "mcnemar_exact") == 0 ? MCNEMAR_EXACT
                                                          : MCNEMAR_CONTINUITY);
}

/* Of what a search or an expansion made, not more than that gives. */
static double tolerance_of(const char *what)
{
    if (strncmp(what, "tango", 5) == 0 || strcmp(what, "accuracy") == 0)
        return 1e-6; /* the reference's search */
    if (strcmp(what, "student_quantile") == 0)
        return 1e-3;
    if (strcmp(what, "logloss") == 0 || strcmp(what, "brier") == 0 || strcmp(what, "mae") == 0 ||
        strcmp(what, "rmse") == 0)
        return 1e-4; /* Student's quantile times a spread */
    return 1e-9;
}

struct worst {
    const char *what;
    double difference;
    int n;
};

static void note(struct worst *list, const char *what, double difference)
{
    size_t i = 0;

    while (list[i].what && strcmp(list[i].what, what) != 0)
        i++;
    list[i].what = what;
    list[i].n++;
    if (difference > list[i].difference)
        list[i].difference = difference;
}

static void print(const struct worst *list)
{
    for (; list->what; list++)
        print_message("%-20s %3d values, largest difference %.1e\n", list->what, list->n,
                      list->difference);
}

static void distributions_and_proportions_are_those_of_scipy_and_statsmodels(void **state)
{
    struct golden *g = *state;
    const struct json *list = json_get(g->root, "scalars");
    struct worst worst[16] = {{0}};

    assert_true(json_len(list) > 90);
    for (size_t i = 0; i < json_len(list); i++) {
        const char *what = json_str(json_at(json_at(list, i), 0), "");
        double *v = numbers(g, json_at(json_at(list, i), 1)),
               expected = json_num(json_at(json_at(list, i), 2), NAN), got = scalar(what, v),
               off = fabs(got - expected) / fmax(1, fabs(expected));

        note(worst, what, off);
        if (!(off <= tolerance_of(what)))
            fail_msg("%s(%g, %g): %.12g, not %.12g", what, v[0], v[1], got, expected);
    }
    print(worst);
}

/* ---- tables ---- */

static const struct table *table_of(const struct golden *g, const char *name)
{
    for (size_t i = 0; i < g->n; i++)
        if (strcmp(g->tables[i].name, name) == 0)
            return &g->tables[i];
    fail_msg("no table %s", name);
    return NULL;
}

static struct metric_compared compared(const struct table *t, const char *metric, double level,
                                       bool is_pair)
{
    struct metric_input b = {.p = t->b, .y = t->y, .rows = t->rows, .k = 1, .task = t->task}, a;
    struct metric_resampling how = {
        .rounds = 100, .confidence = level, .seed = 1, .choice = INTERVAL_CLOSED};
    struct metric_compared ret;
    struct metric_spec m;

    a = b;
    a.p = t->a;
    assert_int_equal(metric_parse(metric, &m, NULL), 0);
    assert_int_equal(metric_compare(&m, 1, is_pair ? &a : NULL, &b, &how, &ret), 0);
    return ret;
}

static void intervals_are_those_of_definitions(void **state)
{
    struct golden *g = *state;
    const struct json *list = json_get(g->root, "cases");
    struct worst worst[16] = {{0}};

    assert_true(json_len(list) > 100);
    for (size_t i = 0; i < json_len(list); i++) {
        const struct json *c = json_at(list, i);
        const struct table *t = table_of(g, json_str(json_at(c, 0), ""));
        const char *metric = json_str(json_at(c, 1), "");
        double level = json_num(json_at(c, 2), NAN), low = json_num(json_at(c, 4), NAN),
               high = json_num(json_at(c, 5), NAN), p = json_num(json_at(c, 6), NAN), off;
        struct metric_compared got = compared(t, metric, level, json_bool(json_at(c, 3), false));

        off = fmax(fabs(got.interval.low - low), fabs(got.interval.high - high));
        note(worst, metric, off);
        if (!(off <= tolerance_of(metric)))
            fail_msg("%s of %s at %g (%s): [%.10g, %.10g], not [%.10g, %.10g]", metric, t->name,
                     level, interval_method_str(got.method), got.interval.low, got.interval.high,
                     low, high);
        if (!isnan(p) && !(fabs(got.p - p) < 1e-9))
            fail_msg("%s of %s: p %.12g, not %.12g", metric, t->name, got.p, p);
    }
    print(worst);
}

static void the_design_effect_of_clusters_is_that_of_statsmodels(void **state)
{
    const struct table *t = table_of(*state, "clustered");
    struct metric_input b = {.p = t->b,
                             .y = t->y,
                             .rows = t->rows,
                             .k = 1,
                             .task = t->task,
                             .cluster = t->cluster,
                             .n_clusters = t->n_clusters},
                        a = b;
    struct metric_resampling how = {.rounds = 100, .confidence = 0.9, .seed = 1};
    struct metric_spec m = metric_of(METRIC_MAE);
    struct metric_compared got;

    a.p = t->a;
    assert_int_equal(metric_compare(&m, 1, &a, &b, &how, &got), 0);
    assert_int_equal(got.method, METHOD_CLUSTER_BOOTSTRAP);
    print_message("%zu rows in %zu clusters count as %.1f\n", t->rows, t->n_clusters,
                  got.effective_rows);
    assert_true(fabs(got.effective_rows - t->effective) < 1e-6 * t->effective);
    assert_true(got.effective_rows < (double)t->rows * 0.6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distributions_and_proportions_are_those_of_scipy_and_statsmodels),
        cmocka_unit_test(intervals_are_those_of_definitions),
        cmocka_unit_test(the_design_effect_of_clusters_is_that_of_statsmodels),
    };

    return cmocka_run_group_tests_name("intervals_tables", tests, setup, teardown);
}
