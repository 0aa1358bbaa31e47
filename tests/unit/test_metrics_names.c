/* Names of metrics and their parameters; what the newer ones cannot tell; weights, groups and many
 * classes in resamples. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base.h"
#include "common/metrics.h"
#include "common/rng.h"

static void a_name_has_one_canonical_form(void **state)
{
    static const struct {
        const char *written, *canonical;
    } rows[] = {
        {"auc", "auc"},
        {"fbeta(2)", "fbeta(2)"},
        {"fbeta(2.0)", "fbeta(2)"},
        {"fbeta(macro 0.5)", "fbeta(0.5 macro)"},
        {"fbeta(0.5,macro)", "fbeta(0.5 macro)"},
        {"precision(weighted)", "precision(weighted)"},
        {"f1(micro)", "f1(micro)"},
        {"ece", "ece"},
        {"ece(20)", "ece(20)"},
        {"quantile(0.90)", "quantile(0.9)"},
        {"ndcg", "ndcg"},
        {"ndcg@10", "ndcg@10"},
        {"map@5", "map@5"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct metric_spec m, again;
        char text[METRIC_NAME_SIZE];

        assert_int_equal(metric_parse(rows[i].written, &m, NULL), 0);
        metric_str(&m, text);
        assert_string_equal(text, rows[i].canonical);
        assert_int_equal(metric_parse(text, &again, NULL), 0);
        assert_true(metric_is_same(&m, &again));
    }
    for (int i = METRIC_NONE + 1; i < METRIC_COUNT; i++) {
        struct metric_spec m;
        char text[METRIC_NAME_SIZE];

        assert_int_equal(metric_parse(metric_example((enum metric)i), &m, NULL), 0);
        assert_int_equal(m.id, i);
        metric_str(&m, text);
        assert_string_equal(text, metric_example((enum metric)i));
        assert_true(metric_fits(m.id, TASK_BINARY) || metric_fits(m.id, TASK_REGRESSION));
    }
}

static void what_is_no_metric_is_refused_with_what_may_be(void **state)
{
    static const struct {
        const char *written;
        enum metric meant;
        const char *message;
    } rows[] = {
        {"acc", METRIC_NONE, "unknown metric 'acc'"},
        {"none", METRIC_NONE, "unknown metric 'none'"},
        {"", METRIC_NONE, "unknown metric ''"},
        {"auc()", METRIC_AUC, "'auc()': takes no parameter"},
        {"auc@3", METRIC_AUC, "'auc@3': takes no parameter"},
        {"f1(2)", METRIC_F1, "'f1(2)': takes one of micro, macro, weighted, or nothing"},
        {"f1(micro macro)", METRIC_F1,
         "'f1(micro macro)': takes one of micro, macro, weighted, or nothing"},
        {"f1(micro", METRIC_F1, "'f1(micro': takes one of micro, macro, weighted, or nothing"},
        {"quantile", METRIC_QUANTILE,
         "'quantile': give the quantile, above 0 and below 1: quantile(0.9)"},
        {"quantile(1)", METRIC_QUANTILE,
         "'quantile(1)': give the quantile, above 0 and below 1: quantile(0.9)"},
        {"fbeta(0)", METRIC_FBETA,
         "'fbeta(0)': give beta, above 0 and at most 100, and perhaps one of micro, macro, "
         "weighted: fbeta(2), fbeta(0.5 macro)"},
        {"ece(1)", METRIC_ECE,
         "'ece(1)': takes a number of bins from 2 to 1000, or nothing: ece(15)"},
        {"ndcg@0", METRIC_NDCG,
         "'ndcg@0': takes the number of first places from 1 to 1000000, or nothing: ndcg@10, "
         "map@10"},
        {"ndcg(10)", METRIC_NDCG,
         "'ndcg(10)': takes the number of first places from 1 to 1000000, or nothing: ndcg@10, "
         "map@10"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct metric_spec m;
        struct err err = {0};

        assert_int_equal(metric_parse(rows[i].written, &m, &err), -1);
        assert_int_equal(m.id, rows[i].meant);
        assert_string_equal(err.msg, rows[i].message);
    }
}

static void what_cannot_be_told_is_undefined_with_a_reason(void **state)
{
    static const double p[] = {0.9, 0.2, 0.3, 0.1}, low[] = {0.1, 0.2, 0.3, 0.1},
                        bad[] = {1, 2, (double)INFINITY, 4}, below[] = {1, 2, -1, 4},
                        fixed[] = {0, 1, 5, 0}, by_value[] = {0, 0, 1, 0};
    static const float ones[] = {1, 1, 1, 1}, mixed[] = {1, 0, 0, 1}, zeros[] = {0, 0, 0, 0},
                       grades[] = {1, 0, 3, 2}, negative[] = {1, -1, 3, 2}, some[] = {1, 2, 3, 4};
    static const uint32_t group[] = {0, 0, 1, 1}, stray[] = {0, 0, 1, 7};
    static const struct metric_cost valued = {fixed, by_value, 2}, other = {fixed, fixed, 0};
    static const struct {
        enum metric m;
        struct metric_input in;
        const char *reason;
    } rows[] = {
        {METRIC_BALANCED_ACCURACY, {.p = p, .y = ones}, "all rows are of one class"},
        {METRIC_PRECISION, {.p = low, .y = mixed}, "no row is answered with the positive class"},
        {METRIC_RECALL, {.p = p, .y = zeros}, "no row is of the positive class"},
        {METRIC_MCC, {.p = low, .y = mixed}, "labels or answers are all of one class"},
        {METRIC_MCC, {.p = p, .y = ones}, "labels or answers are all of one class"},
        {METRIC_AUC_PR, {.p = p, .y = ones}, "all rows are of one class"},
        {METRIC_AUC_PR, {.p = p, .y = zeros}, "all rows are of one class"},
        {METRIC_COST, {.p = p, .y = mixed}, "no cost was declared"},
        {METRIC_COST,
         {.p = p, .y = mixed, .cost = &other},
         "the cost is of other classes than the model's"},
        {METRIC_COST,
         {.p = p, .y = mixed, .cost = &valued},
         "the rows have no value that the cost asks for"},
        {METRIC_COST,
         {.p = p, .y = mixed, .cost = &valued, .value = bad},
         "a row has no usable value for the cost"},
        {METRIC_NDCG, {.p = p, .y = mixed}, "the rows have no groups"},
        {METRIC_NDCG, {.p = p, .y = mixed, .group = stray, .n_groups = 2}, "a row is of no group"},
        {METRIC_MAP,
         {.p = p, .y = zeros, .group = group, .n_groups = 2},
         "no group has a relevant row"},
        {METRIC_NDCG,
         {.p = p, .y = negative, .group = group, .n_groups = 2, .task = TASK_REGRESSION},
         "a label is below 0, which is no grade"},
        {METRIC_MAPE,
         {.p = p, .y = grades, .task = TASK_REGRESSION},
         "a label is 0, of which no share can be told"},
        {METRIC_POISSON_DEVIANCE,
         {.p = p, .y = negative, .task = TASK_REGRESSION},
         "a label is below 0"},
        {METRIC_POISSON_DEVIANCE,
         {.p = below, .y = grades, .task = TASK_REGRESSION},
         "a prediction is not above 0"},
        {METRIC_GAMMA_DEVIANCE,
         {.p = p, .y = grades, .task = TASK_REGRESSION},
         "a label is not above 0"},
        {METRIC_SMAPE,
         {.p = bad, .y = some, .task = TASK_REGRESSION},
         "a prediction is not finite"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct metric_resampling how = {.rounds = 20, .confidence = 0.9};
        struct metric_spec m = metric_of(rows[i].m);
        struct metric_input in = rows[i].in;
        struct metric_compared found;
        const char *why = NULL;

        in.rows = 4;
        in.k = 1;
        assert_true(isnan(metric_value(&m, &in, &why)));
        assert_non_null(why);
        assert_string_equal(why, rows[i].reason);
        assert_int_equal(metric_compare(&m, 1, &in, &in, &how, &found), 0);
        assert_true(isnan(found.a) && isnan(found.interval.low));
        assert_string_equal(found.why_b, rows[i].reason);
    }
}

/* ---- resamples ---- */

enum { ROWS = 600, CLASSES = 20, GROUPS = 30 };
struct several {
    double p[ROWS * CLASSES], q[ROWS * CLASSES], w[ROWS];
    float y[ROWS];
    uint32_t group[ROWS];
};

static struct several *several_new(size_t k)
{
    struct several *d = calloc(1, sizeof(*d));
    struct rng r;

    rng_seed(&r, 4);
    for (size_t i = 0; i < ROWS; i++) {
        d->y[i] = (float)rng_below(&r, k > 1 ? k : 4);
        d->group[i] = (uint32_t)rng_below(&r, GROUPS);
        d->w[i] = 0.5 + rng_double(&r);
        for (size_t c = 0; c < k; c++) {
            double right = k > 1 ? (size_t)d->y[i] == c : (double)d->y[i];

            d->p[i * k + c] = 0.2 * right + rng_double(&r);
            d->q[i * k + c] = 0.6 * right + rng_double(&r);
        }
    }
    return d;
}

static void the_interval_is_about_the_difference(void **state)
{
    static const struct {
        const char *name;
        enum task task;
        size_t k;
    } rows[] = {
        {"f1(weighted)", TASK_MULTICLASS, CLASSES},
        {"mcc", TASK_MULTICLASS, CLASSES},
        {"auc", TASK_MULTICLASS, CLASSES},
        {"auc_pr", TASK_MULTICLASS, 3},
        {"ndcg@5", TASK_REGRESSION, 1},
        {"map@5", TASK_REGRESSION, 1},
        {"quantile(0.9)", TASK_REGRESSION, 1},
        {"balanced_accuracy", TASK_MULTICLASS, 3},
    };

    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_LEN(rows); i++) {
        struct metric_resampling how = {.rounds = 200, .confidence = 0.99, .seed = 2};
        struct several *d = several_new(rows[i / 2].k);
        struct metric_input a = {.p = d->p,
                                 .y = d->y,
                                 .w = i % 2 ? d->w : NULL,
                                 .rows = ROWS,
                                 .k = rows[i / 2].k,
                                 .task = rows[i / 2].task,
                                 .group = d->group,
                                 .n_groups = GROUPS},
                            b = a;
        struct metric_compared found;
        struct metric_spec m;

        b.p = d->q;
        assert_int_equal(metric_parse(rows[i / 2].name, &m, NULL), 0);
        assert_int_equal(metric_compare(&m, 1, &a, &b, &how, &found), 0);
        print_message("%s %g %g [%g, %g]\n", rows[i / 2].name, found.a, found.b, found.interval.low,
                      found.interval.high);
        assert_true(found.b - found.a > found.interval.low &&
                    found.b - found.a < found.interval.high);
        assert_true(found.a == metric_value(&m, &a, NULL));
        free(d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_has_one_canonical_form),
        cmocka_unit_test(what_is_no_metric_is_refused_with_what_may_be),
        cmocka_unit_test(what_cannot_be_told_is_undefined_with_a_reason),
        cmocka_unit_test(the_interval_is_about_the_difference),
    };

    return cmocka_run_group_tests_name("metrics_names", tests, NULL, NULL);
}
