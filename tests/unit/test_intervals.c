/* Intervals of rows that are few, odd, weighted or clustered: each has an outcome that is written
 * down. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "common/mem.h"
#include "common/metrics.h"
#include "common/metrics_closed.h"
#include "common/rng.h"

enum { ROWS = 40, CLUSTER_ROWS = 4 };

struct table {
    double a[ROWS], b[ROWS], w[ROWS];
    float y[ROWS];
    uint32_t cluster[ROWS], group[ROWS];
    size_t rows;
};

static void fill(struct table *t)
{
    struct rng r;

    rng_seed(&r, 5);
    *t = (struct table){.rows = ROWS};
    for (size_t i = 0; i < ROWS; i++) {
        t->y[i] = i % 3 == 0;
        t->a[i] = rng_double(&r);
        t->b[i] = 0.5 * rng_double(&r) + (i % 3 == 0 ? 0.4 : 0.1);
        t->w[i] = i % 2 ? 3 : 1;
        t->cluster[i] = (uint32_t)(i / CLUSTER_ROWS);
        t->group[i] = (uint32_t)(i / 2);
    }
}

static struct metric_input input(const struct table *t, const double *p)
{
    return (struct metric_input){.p = p, .y = t->y, .rows = t->rows, .k = 1, .task = TASK_BINARY};
}

static struct metric_compared compared(const char *metric, const struct metric_input *b,
                                       const double *other, double confidence)
{
    struct metric_resampling how = {
        .rounds = 200, .confidence = confidence, .seed = 1, .choice = INTERVAL_CLOSED};
    struct metric_input a = *b;
    struct metric_compared ret;
    struct metric_spec m;

    a.p = other;
    assert_int_equal(metric_parse(metric, &m, NULL), 0);
    assert_int_equal(metric_compare(&m, 1, other ? &a : NULL, b, &how, &ret), 0);
    return ret;
}

static void odd_rows_have_a_written_outcome(void **state)
{
    static const struct {
        size_t rows, positives;
        double score; /* of row 0; 2: as drawn */
        const char *metric, *why_value, *why_no_interval;
    } cases[] = {
        {1, 1, 2, "auc", "all rows are of one class", NULL},
        {9, 9, 2, "auc", "all rows are of one class", NULL},
        {9, 1, 2, "auc", NULL, "an interval of auc needs two rows of each class"},
        {9, 8, 2, "auc", NULL, "an interval of auc needs two rows of each class"},
        {9, 7, 2, "auc", NULL, NULL},
        {9, 4, NAN, "accuracy", "a prediction is not finite", NULL},
        {9, 4, INFINITY, "accuracy", "a prediction is not finite", NULL},
        {9, 4, -INFINITY, "logloss", "a prediction is not finite", NULL},
        {0, 0, 2, "accuracy", "no rows", NULL},
        {1, 1, 2, "accuracy", NULL, NULL},
        {1, 1, 2, "logloss", NULL, NULL},
        {1, 0, 2, "f1", "no row is of the positive class", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        for (int is_pair = 0; is_pair < 2; is_pair++) {
            struct metric_compared got;
            struct metric_input b;
            struct table t;

            fill(&t);
            t.rows = cases[i].rows;
            for (size_t k = 0; k < t.rows; k++)
                t.y[k] = k < cases[i].positives;
            if (cases[i].score != 2)
                t.b[0] = cases[i].score;
            b = input(&t, t.b);
            got = compared(cases[i].metric, &b, is_pair ? t.a : NULL, 0.9);
            if (cases[i].why_value)
                assert_string_equal(got.why_b, cases[i].why_value);
            else
                assert_null(got.why_b);
            if (cases[i].why_no_interval)
                assert_string_equal(got.why_no_interval, cases[i].why_no_interval);
            else
                assert_null(got.why_no_interval);
            assert_int_equal(isnan(got.interval.low),
                             cases[i].why_value || cases[i].why_no_interval);
            assert_int_equal(isnan(got.interval.low), isnan(got.interval.high));
            assert_int_equal(isnan(got.interval.low), got.method == METHOD_NONE);
        }
}

static void weights_are_resampled_and_their_effective_rows_are_kishs(void **state)
{
    struct table t;
    struct metric_input b;
    struct metric_compared got;

    (void)state;
    fill(&t);
    b = input(&t, t.b);
    b.w = t.w; /* as many of 3 as of 1: (4n/2)^2 / (10n/2) */
    for (int i = 0; i < 2; i++) {
        got = compared(i ? "auc" : "accuracy", &b, t.a, 0.9);
        assert_int_equal(got.method, METHOD_BOOTSTRAP);
        assert_true(fabs(got.effective_rows - ROWS * 0.8) < 1e-9);
        assert_true(isnan(got.p));
    }
    got = compared("logloss", &b, t.a, 0.9);
    assert_int_equal(got.method, METHOD_NORMAL);
    t.w[3] = NAN;
    got = compared("accuracy", &b, t.a, 0.9);
    assert_string_equal(got.why_b, "a weight is missing, negative or not finite");
    assert_true(isnan(got.interval.low) && isnan(got.effective_rows));
}

static void clusters_are_drawn_as_wholes(void **state)
{
    struct table t;
    struct metric_input b;
    struct metric_compared alone, together;

    (void)state;
    fill(&t);
    for (size_t i = 0; i < ROWS; i++) { /* rows of a cluster are one row, written four times */
        t.y[i] = t.y[i - i % CLUSTER_ROWS];
        t.b[i] = t.b[i - i % CLUSTER_ROWS];
        t.a[i] = t.a[i - i % CLUSTER_ROWS];
    }
    b = input(&t, t.b);
    alone = compared("logloss", &b, t.a, 0.9);
    b.cluster = t.cluster;
    b.n_clusters = ROWS / CLUSTER_ROWS;
    together = compared("logloss", &b, t.a, 0.9);
    assert_int_equal(together.method, METHOD_CLUSTER_BOOTSTRAP);
    assert_true(fabs(together.effective_rows - (double)b.n_clusters) < 1e-9);
    assert_true(together.interval.high - together.interval.low >
                1.5 * (alone.interval.high - alone.interval.low)); /* about twice */
    b.group = t.group;
    b.n_groups = ROWS / 2;
    assert_int_equal(compared("ndcg", &b, t.a, 0.9).method, METHOD_CLUSTER_BOOTSTRAP);
    for (size_t i = 0; i < ROWS; i++)
        t.cluster[i] = 0;
    b.n_clusters = 1;
    assert_string_equal(compared("logloss", &b, t.a, 0.9).why_no_interval,
                        "all rows are of one cluster: there is nothing to resample");
    t.cluster[7] = UINT32_MAX;
    assert_string_equal(compared("logloss", &b, t.a, 0.9).why_no_interval,
                        "a row is of no cluster, so that no interval can be told");
}

/* Two hundred resamples have no one-in-two-thousandth. */
static void an_extreme_level_is_not_read_off_the_last_resample(void **state)
{
    struct table t;
    struct metric_input b;
    struct metric_compared usual, extreme;

    (void)state;
    fill(&t);
    b = input(&t, t.b);
    usual = compared("f1", &b, t.a, 0.9);
    extreme = compared("f1", &b, t.a, 0.999);
    assert_int_equal(extreme.method, METHOD_BOOTSTRAP);
    assert_true((extreme.interval.high - extreme.interval.low) /
                    (usual.interval.high - usual.interval.low) >
                0.8 * normal_quantile(0.9995) / normal_quantile(0.95));
}

static void two_equal_models_differ_by_nothing(void **state)
{
    static const char *const metrics[] = {"auc", "accuracy", "logloss", "f1"};
    struct table t;
    struct metric_input b;

    (void)state;
    fill(&t);
    b = input(&t, t.b);
    for (size_t i = 0; i < ARRAY_LEN(metrics); i++) {
        struct metric_compared got = compared(metrics[i], &b, t.b, 0.95);

        assert_true(got.a == got.b);
        assert_true(got.interval.low <= 0 && got.interval.high >= 0);
        if (i < 2)
            assert_true(got.p == 1);
        if (i != 1) /* accuracy: rows that were not drawn may differ */
            assert_true(got.interval.low == 0 && got.interval.high == 0);
    }
}

static void attempts_never_spend_more_than_there_is(void **state)
{
    double spent = 0;

    (void)state;
    for (int64_t k = 1; k <= 100000; k++)
        spent += 1 - sequence_confidence(0.95, k);
    assert_true(spent < 0.05 && spent > 0.0499);
    assert_true(sequence_confidence(0.95, 0) == sequence_confidence(0.95, 1));
    /* in standard errors: wider than one look's, narrowest where it is said to be */
    assert_true(sequence_half_width(0.95, SEQUENCE_TIGHT_ROWS) < 3.1);
    assert_true(sequence_half_width(0.95, SEQUENCE_TIGHT_ROWS) > normal_quantile(0.975));
    for (int i = 0; i < 30; i++)
        assert_true(sequence_half_width(0.95, 10 * pow(1.5, i)) >=
                    sequence_half_width(0.95, SEQUENCE_TIGHT_ROWS) - 0.02);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(odd_rows_have_a_written_outcome),
        cmocka_unit_test(weights_are_resampled_and_their_effective_rows_are_kishs),
        cmocka_unit_test(clusters_are_drawn_as_wholes),
        cmocka_unit_test(an_extreme_level_is_not_read_off_the_last_resample),
        cmocka_unit_test(two_equal_models_differ_by_nothing),
        cmocka_unit_test(attempts_never_spend_more_than_there_is),
    };

    return cmocka_run_group_tests_name("intervals", tests, NULL, NULL);
}
