/* Values beside the literals are those of scikit-learn 1.9.1 with NumPy 2.4.6. */
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

static double value(enum metric id, const struct metric_input *in, const char **ret_undefined)
{
    struct metric_spec m = metric_of(id);

    return metric_value(&m, in, ret_undefined);
}

static int resample(enum metric id, const struct metric_input *a, const struct metric_input *b,
                    size_t rounds, double confidence, uint64_t seed, struct interval *ret)
{
    struct metric_spec m = metric_of(id);
    struct metric_resampling how = {.rounds = rounds, .confidence = confidence, .seed = seed};
    struct metric_compared found;
    int rc = metric_compare(&m, 1, a, b, &how, &found);

    *ret = found.interval;
    return rc;
}

static void assert_near(double got, double expected, double tolerance)
{
    if (!(fabs(got - expected) <= tolerance))
        fail_msg("%.17g is not %.17g to within %g", got, expected, tolerance);
}

/* clang-format off */
static const double p40[] = {0.63, 0.9, 0.78, 0.23, 0.3, 0.87, 0.01, 0.82, 0.8, 0.47, 0.3, 0.28, 0.25, 0.45, 0.5, 0.55, 1, 0.79, 0.62, 0.99,
    0.22, 0.16, 0.61, 0.04, 0.04, 0.51, 0.47, 0.92, 0.63, 0.51, 0.5, 0.25, 0.01, 0.19, 0.69, 0.2, 0.37, 0, 0.83, 0.15};
static const float y40[] = {1, 1, 1, 0, 0, 1, 0, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 1, 0, 0, 0, 0, 0, 1, 1, 1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1};
static const double w40[] = {0.6, 2.8, 1.7, 0.5, 2.7, 1.9, 1.7, 1.1, 1.2, 0.7, 0.1, 2.6, 1.4, 1.6, 1, 2.3, 0.1, 1.1, 0.1, 0.4,
    2.9, 2, 1.3, 1.6, 2.6, 1, 1.8, 2.1, 1.1, 1.6, 2.3, 2.7, 0.5, 2.8, 0, 2.3, 2.4, 0.4, 1.3, 2.4};
static const double p3[] = {0.008, 0.399, 0.593, 0.199, 0.772, 0.029, 0.193, 0.591, 0.216, 0.118, 0.596, 0.286, 0.083, 0.104, 0.813,
    0.154, 0.318, 0.528, 0.304, 0.295, 0.401, 0.112, 0.272, 0.616, 0.226, 0.737, 0.037, 0.278, 0.175, 0.547, 0.096, 0.724, 0.18,
    0.485, 0.307, 0.208, 0.57, 0.278, 0.152, 0.098, 0.042, 0.86, 0.281, 0.134, 0.585, 0.139, 0.234, 0.627, 0.189, 0.729, 0.082,
    0.312, 0.48, 0.208, 0.006, 0.163, 0.831, 0.629, 0.269, 0.102, 0.294, 0.181, 0.525, 0.174, 0.806, 0.02, 0.345, 0.221, 0.434,
    0.216, 0.03, 0.754, 0.043, 0.671, 0.286, 0.592, 0.02, 0.388, 0.66, 0.256, 0.084, 0.646, 0.285, 0.069, 0.508, 0.022, 0.47,
    0.597, 0.297, 0.106};
static const float y3[] = {1, 1, 0, 1, 2, 1, 2, 2, 0, 2, 2, 0, 1, 2, 2, 0, 1, 1, 2, 1, 1, 1, 2, 2, 1, 0, 0, 0, 2, 2};
static const double w3[] = {0.5, 0.4, 0.6, 0.8, 0.2, 0.5, 0.2, 0.8, 0.9, 0.5, 0.5, 0.6, 0.3, 0.3, 0.4, 0.6, 0.2, 0.9, 0.7, 0.4,
    0.2, 0.9, 0.2, 0.2, 0.2, 0.2, 1, 0.4, 0.4, 0.9};
static const double p25[] = {97.95, 103.28, 96.19, 99.59, 99.98, 96.03, 105.17, 104.38, 98.61, 102.32, 101.14, 92.16, 100.75,
    99.82, 100.25, 96.77, 99.19, 99.47, 103.56, 101, 99.98, 104.59, 98.33, 98.83, 94.55};
static const float y25[] = {99.52f, 104.24f, 97.11f, 100.26f, 100.09f, 96.25f, 104.92f, 104.18f, 98.66f, 103.83f, 101.7f, 92.1f,
    100.17f, 99.19f, 101.85f, 97.28f, 99.26f, 99.12f, 102.45f, 100.93f, 100.85f, 104.2f, 98.1f, 98.61f, 94.66f};
static const double w25[] = {1.1, 0.2, 0.8, 0.9, 1, 0.2, 0.2, 1.1, 0.2, 0.3, 0.7, 0.5, 0.9, 0.3, 1, 0.3, 0.9, 0.2, 0.6, 0.1, 0.4,
    0.4, 0.8, 0.6, 0.2};
/* clang-format on */

static const struct metric_input binary = {
    .p = p40, .y = y40, .rows = 40, .k = 1, .task = TASK_BINARY};
static const struct metric_input several = {
    .p = p3, .y = y3, .rows = 30, .k = 3, .task = TASK_MULTICLASS};
static const struct metric_input values = {
    .p = p25, .y = y25, .rows = 25, .k = 1, .task = TASK_REGRESSION};

static void values_are_those_of_scikit_learn(void **state)
{
    static const struct {
        enum metric m;
        const struct metric_input *in;
        const double *w;
        double expected, weighted;
    } rows[] = {
        {METRIC_ACCURACY, &binary, w40, 0.80000000000000004, 0.82372322899505768},
        {METRIC_AUC, &binary, w40, 0.88250000000000006, 0.87022423883737754},
        {METRIC_LOGLOSS, &binary, w40, 0.42451774693694738, 0.42938539763902339},
        {METRIC_BRIER, &binary, w40, 0.13874499999999998, 0.13704168039538714},
        {METRIC_F1, &binary, w40, 0.78947368421052633, 0.7820773930753564},
        {METRIC_ACCURACY, &several, w3, 0.6333333333333333, 0.61073825503355705},
        {METRIC_AUC, &several, w3, 0.78853525630794896,
         0.77692914777436506}, /* roc_auc_score(multi_class="ovr") */
        {METRIC_LOGLOSS, &several, w3, 0.83085854169549445, 0.88206772114152843},
        {METRIC_BRIER, &several, w3, 0.50132786666666673,
         0.53319893959731546}, /* mean of squared distances, by NumPy */
        {METRIC_F1, &several, w3, 0.61777777777777776, 0.60451281200189477}, /* average="macro" */
        {METRIC_MAE, &values, w25, 0.55280015869140586, 0.62438841456131888},
        {METRIC_RMSE, &values, w25, 0.73170461212803217, 0.81474098207166612},
        {METRIC_R2, &values, w25, 0.94334435856186882, 0.91005584310870136},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct metric_input in = *rows[i].in;
        const char *undefined = "";

        print_message("%s %s\n", metric_example(rows[i].m), task_str(in.task));
        assert_near(value(rows[i].m, &in, &undefined), rows[i].expected, 1e-12);
        assert_null(undefined);
        in.w = rows[i].w;
        assert_near(value(rows[i].m, &in, &undefined), rows[i].weighted, 1e-12);
    }
}

static void ties_count_half(void **state)
{
    static const double p[] = {0.5, 0.5, 0.5, 0.5, 0.2, 0.9};
    static const float y[] = {0, 1, 0, 1, 0, 1};
    struct metric_input in = {.p = p, .y = y, .rows = 4, .k = 1, .task = TASK_BINARY};

    (void)state;
    assert_near(value(METRIC_AUC, &in, NULL), 0.5, 0);
    in.rows = 6; /* 9 pairs: 5 won, 4 tied */
    assert_near(value(METRIC_AUC, &in, NULL), 7.0 / 9, 1e-15);
}

static void a_sure_and_wrong_answer_costs_no_more_than_the_clip(void **state)
{
    static const double p[] = {0, 1};
    static const float y[] = {1, 0};
    struct metric_input in = {.p = p, .y = y, .rows = 2, .k = 1, .task = TASK_BINARY};

    (void)state;
    assert_near(value(METRIC_LOGLOSS, &in, NULL), -log(1e-15), 0.01);
}

static void what_cannot_be_told_is_undefined_with_a_reason(void **state)
{
    static const double half[] = {0.5, 0.4, 0.6}, bad[] = {0.5, (double)NAN, 0.1},
                        three[] = {.2, .3, .5, .2, .3, .5, .1, .1, .8};
    static const float ones[] = {1, 1, 1}, zeros[] = {0, 0, 0}, mixed[] = {0, 1, 0},
                       no_label[] = {0, (float)NAN, 1}, third[] = {0, 1, 2}, part[] = {0, 1, 0.5f};
    static const double no_weight[] = {0, 0, 0}, negative[] = {1, -1, 1};
    static const struct {
        enum metric m;
        struct metric_input in;
        const char *reason;
    } rows[] = {
        {METRIC_AUC, {.p = half, .y = ones, .rows = 3, .k = 1}, "all rows are of one class"},
        {METRIC_AUC, {.p = half, .y = zeros, .rows = 3, .k = 1}, "all rows are of one class"},
        {METRIC_F1, {.p = half, .y = zeros, .rows = 3, .k = 1}, "no row is of the positive class"},
        {METRIC_LOGLOSS, {.p = half, .y = mixed, .rows = 0, .k = 1}, "no rows"},
        {METRIC_LOGLOSS, {.p = bad, .y = mixed, .rows = 3, .k = 1}, "a prediction is not finite"},
        {METRIC_ACCURACY,
         {.p = half, .y = no_label, .rows = 3, .k = 1},
         "a row has no usable label"},
        {METRIC_ACCURACY,
         {.p = half, .y = third, .rows = 3, .k = 1},
         "a label is no class of the model"},
        {METRIC_ACCURACY,
         {.p = half, .y = part, .rows = 3, .k = 1},
         "a label is no class of the model"},
        {METRIC_BRIER,
         {.p = half, .y = mixed, .w = no_weight, .rows = 3, .k = 1},
         "no row has a weight"},
        {METRIC_BRIER,
         {.p = half, .y = mixed, .w = negative, .rows = 3, .k = 1},
         "a weight is missing, negative or not finite"},
        {METRIC_RMSE,
         {.p = half, .y = mixed, .rows = 3, .k = 1},
         "this metric does not fit the task"},
        {METRIC_R2,
         {.p = half, .y = ones, .rows = 3, .k = 1, .task = TASK_REGRESSION},
         "the label does not vary"},
        {METRIC_AUC,
         {.p = three, .y = mixed, .rows = 3, .k = 3, .task = TASK_MULTICLASS},
         "a class has no rows, or all"},
        {METRIC_AUC,
         {.p = three, .y = mixed, .rows = 3, .k = 1, .task = TASK_MULTICLASS},
         "the model's outputs do not fit the task"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *undefined = NULL;
        struct interval iv;

        print_message("%zu %s\n", i, rows[i].reason);
        assert_true(isnan(value(rows[i].m, &rows[i].in, &undefined)));
        assert_non_null(undefined);
        assert_string_equal(undefined, rows[i].reason);
        assert_int_equal(resample(rows[i].m, NULL, &rows[i].in, 50, 0.9, 1, &iv), 0);
        assert_true(isnan(iv.low) && isnan(iv.high));
    }
}

static void one_row_has_the_metrics_that_it_can_have(void **state)
{
    static const double p[] = {0.75};
    static const float y[] = {1};
    struct metric_input in = {.p = p, .y = y, .rows = 1, .k = 1, .task = TASK_BINARY};
    struct interval iv;

    (void)state;
    assert_near(value(METRIC_ACCURACY, &in, NULL), 1, 0);
    assert_near(value(METRIC_F1, &in, NULL), 1, 0);
    assert_near(value(METRIC_LOGLOSS, &in, NULL), -log(0.75), 1e-15);
    assert_true(isnan(value(METRIC_AUC, &in, NULL)));
    assert_int_equal(resample(METRIC_BRIER, NULL, &in, 10, 0.95, 3, &iv), 0);
    assert_near(iv.low, 0.0625, 1e-15);
    assert_near(iv.high, 0.0625, 1e-15);
}

/* ---- bootstrap ---- */

enum { N = 200 };
struct paired {
    double a[N], b[N];
    float y[N];
    struct metric_input ia, ib;
};

/* Rows that the reference's script makes as well. */
static void paired_init(struct paired *d, enum task task)
{
    for (int i = 0; i < N; i++) {
        int y = (i * 7919) % 97 < 45;

        d->y[i] = (float)y;
        d->a[i] = round((.5 * y + .5 * (double)(((int64_t)i * 104729) % 1009) / 1009) * 1000) /
                      1000 * .9 +
                  .05;
        d->b[i] = round((.35 * y + .65 * (double)(((int64_t)i * 15485863) % 1013) / 1013) * 1000) /
                      1000 * .9 +
                  .05;
    }
    d->ia = (struct metric_input){.p = d->a, .y = d->y, .rows = N, .k = 1, .task = task};
    d->ib = d->ia;
    d->ib.p = d->b;
}

static void paired_intervals_are_those_of_scipy(void **state)
{
    /* scipy.stats.bootstrap 1.17.1, paired, percentile, 90 %, 20,000 resamples, of scikit-learn's
     * metrics. Both sides are random: equal to within a thirtieth of the interval's width. */
    static const struct {
        enum metric m;
        enum task task;
        double low, high;
    } rows[] = {
        {METRIC_AUC, TASK_BINARY, -0.159907, -0.086177},
        {METRIC_LOGLOSS, TASK_BINARY, 0.087790, 0.163998},
        {METRIC_F1, TASK_BINARY, -0.315789, -0.200766},
        {METRIC_RMSE, TASK_REGRESSION, 0.059762, 0.104819},
        {METRIC_R2, TASK_REGRESSION, -0.298690, -0.167483},
    };
    struct paired d;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        double tolerance = (rows[i].high - rows[i].low) / 30;
        struct interval iv;

        print_message("%s\n", metric_example(rows[i].m));
        paired_init(&d, rows[i].task);
        assert_int_equal(resample(rows[i].m, &d.ia, &d.ib, 20000, 0.9, 42, &iv), 0);
        assert_near(iv.low, rows[i].low, tolerance);
        assert_near(iv.high, rows[i].high, tolerance);
    }
}

static void the_same_seed_gives_the_same_interval(void **state)
{
    struct interval first, again, other;
    struct paired d;

    (void)state;
    paired_init(&d, TASK_BINARY);
    assert_int_equal(resample(METRIC_AUC, &d.ia, &d.ib, 200, 0.9, 7, &first), 0);
    assert_int_equal(resample(METRIC_AUC, &d.ia, &d.ib, 200, 0.9, 7, &again), 0);
    assert_int_equal(resample(METRIC_AUC, &d.ia, &d.ib, 200, 0.9, 8, &other), 0);
    assert_memory_equal(&first, &again, sizeof(first));
    assert_true(first.low != other.low);
}

static void many_metrics_at_once_are_each_as_alone(void **state)
{
    static const enum metric ids[] = {METRIC_AUC,      METRIC_AUC_PR, METRIC_LOGLOSS, METRIC_F1,
                                      METRIC_ACCURACY, METRIC_BRIER,  METRIC_ECE,     METRIC_MCC};
    struct metric_resampling how = {.rounds = 100, .confidence = 0.95, .seed = 5};
    struct metric_compared together[ARRAY_LEN(ids)];
    struct metric_spec metrics[ARRAY_LEN(ids)];
    struct interval alone;
    struct paired d;

    (void)state;
    paired_init(&d, TASK_BINARY);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        metrics[i] = metric_of(ids[i]);
    assert_int_equal(metric_compare(metrics, ARRAY_LEN(ids), &d.ia, &d.ib, &how, together), 0);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        assert_int_equal(resample(ids[i], &d.ia, &d.ib, 100, 0.95, 5, &alone), 0);
        assert_memory_equal(&alone, &together[i].interval, sizeof(alone));
        assert_near(together[i].a, value(ids[i], &d.ia, NULL), 0);
        assert_near(together[i].b, value(ids[i], &d.ib, NULL), 0);
    }
}

static void any_number_of_threads_gives_the_same(void **state)
{
    enum { ROWS = 30000 }; /* enough that threads are worth it */
    static const enum metric ids[] = {METRIC_AUC, METRIC_AUC_PR, METRIC_LOGLOSS, METRIC_ECE};
    double *p = malloc(2 * ROWS * sizeof(*p));
    float *y = malloc(ROWS * sizeof(*y));
    struct metric_compared found[3][ARRAY_LEN(ids)];
    struct metric_spec metrics[ARRAY_LEN(ids)];
    struct rng r;

    (void)state;
    rng_seed(&r, 3);
    for (size_t i = 0; i < ROWS; i++) {
        y[i] = rng_double(&r) < 0.3 ? 1 : 0;
        p[i] = 0.7 * rng_double(&r) + 0.3 * (double)y[i];
        p[ROWS + i] = round(p[i] * 50) / 50;
    }
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        metrics[i] = metric_of(ids[i]);
    for (unsigned t = 0; t < 3; t++) {
        struct metric_input a = {.p = p, .y = y, .rows = ROWS, .k = 1, .task = TASK_BINARY}, b = a;
        struct metric_resampling how = {
            .rounds = 150, .confidence = 0.9, .seed = 9, .threads = t * 2};

        b.p = p + ROWS;
        memset(found[t], 0, sizeof(found[t]));
        assert_int_equal(metric_compare(metrics, ARRAY_LEN(ids), &a, &b, &how, found[t]), 0);
        assert_memory_equal(found[0], found[t], sizeof(found[0]));
    }
    free(p);
    free(y);
}

static void a_model_does_not_differ_from_itself(void **state)
{
    struct interval iv;
    struct paired d;

    (void)state;
    paired_init(&d, TASK_BINARY);
    for (enum metric m = METRIC_ACCURACY; m <= METRIC_ECE; m++) {
        if (m == METRIC_FBETA)
            continue;
        assert_int_equal(resample(m, &d.ia, &d.ia, 100, 0.95, 5, &iv), 0);
        assert_near(iv.low, 0, 0);
        assert_near(iv.high, 0, 0);
    }
}

static void draws_without_a_value_are_left_out_until_half_is_gone(void **state)
{
    static const double p[] = {0.1, 0.9, 0.8, 0.7, 0.6, 0.65};
    static const float one_zero[] = {0, 1, 1, 1, 1, 1};
    struct metric_input in = {.p = p, .y = one_zero, .rows = 6, .k = 1, .task = TASK_BINARY};
    struct interval iv;

    (void)state; /* both classes are among six draws with probability 0.67; one row has one */
    assert_int_equal(resample(METRIC_AUC, NULL, &in, 400, 0.9, 1, &iv), 0);
    assert_near(iv.low, 1, 0);
    in.rows = 1;
    assert_int_equal(resample(METRIC_AUC, NULL, &in, 400, 0.9, 1, &iv), 0);
    assert_true(isnan(iv.low));
}

static void rows_that_do_not_pair_are_refused(void **state)
{
    struct interval iv;
    struct paired d;

    (void)state;
    paired_init(&d, TASK_BINARY);
    d.ia.rows--;
    assert_int_equal(resample(METRIC_AUC, &d.ia, &d.ib, 10, 0.9, 1, &iv), -1);
    assert_int_equal(resample(METRIC_AUC, NULL, &d.ib, 10, 1.0, 1, &iv), -1);
    assert_int_equal(resample(METRIC_AUC, NULL, &d.ib, 10, 0, 1, &iv), -1);
}

/* ---- PSI ---- */

static void psi_is_the_formula(void **state)
{
    static const int64_t a[] = {120, 80, 300, 0, 50, 450}, b[] = {100, 90, 200, 10, 0, 600};
    static const double same[] = {0.25, 0.25, 0.5}, none[] = {0, 0, 0};

    (void)state;
    assert_near(psi_counts(a, b, 6), 0.44422321212357591, 1e-14); /* NumPy 2.4.6, floor 1e-4 */
    assert_near(psi_counts(a, a, 6), 0, 0);
    assert_near(psi_of_shares(same, same, 3), 0, 0);
    assert_true(isnan(psi_of_shares(same, none, 3)));
    assert_true(isnan(psi_counts(a, b, 0)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_those_of_scikit_learn),
        cmocka_unit_test(ties_count_half),
        cmocka_unit_test(a_sure_and_wrong_answer_costs_no_more_than_the_clip),
        cmocka_unit_test(what_cannot_be_told_is_undefined_with_a_reason),
        cmocka_unit_test(one_row_has_the_metrics_that_it_can_have),
        cmocka_unit_test(paired_intervals_are_those_of_scipy),
        cmocka_unit_test(the_same_seed_gives_the_same_interval),
        cmocka_unit_test(many_metrics_at_once_are_each_as_alone),
        cmocka_unit_test(any_number_of_threads_gives_the_same),
        cmocka_unit_test(a_model_does_not_differ_from_itself),
        cmocka_unit_test(draws_without_a_value_are_left_out_until_half_is_gone),
        cmocka_unit_test(rows_that_do_not_pair_are_refused),
        cmocka_unit_test(psi_is_the_formula),
    };

    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
