/* What a window's counts say.  PSI against NumPy 2.3.5 on the same edges:
 *     r, w = shares of counts + 1/2;  sum((w - r) * log(w / r))
 * quantiles against SciPy 1.16.3, chi2.ppf(0.999, k). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "agents/monitor/drift.h"
#include "common/rng.h"
#include "tests/support/sample_model.h"

enum { N = 1600, M = 500 };

struct fixture {
    struct model *m;
    struct profile *p;
    struct reference r;
    struct arena arena;
};

/* a: i/N; c: x for half of the rows, y for three tenths, z; p: a again. */
static int setup(void **state)
{
    static struct fixture f;
    static const char *const names[] = {"a", "c", "prediction"};
    static const bool is_category[] = {false, true, false};
    struct profiler *p = profiler_new(names, is_category, 3, 0);

    f = (struct fixture){.m = sample_model("a:float c:category(x,y,z)", "no yes")};
    for (int i = 0; i < N; i++) {
        float row[] = {(float)i / (float)N,
                       i % 10 < 5   ? 0
                       : i % 10 < 8 ? 1
                                    : 2,
                       (float)i / (float)N};

        profiler_add(p, row, 1);
    }
    f.p = profiler_finish(p);
    reference_init(&f.r, f.m, f.p);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    reference_fini(&f->r);
    profile_free(f->p);
    model_free(f->m);
    arena_fini(&f->arena);
    return 0;
}

static void judge(struct fixture *f, const float *a, const float *c, const double *p, size_t n,
                  double threshold, struct verdict *v)
{
    struct counts counts;

    counts_init(&counts, &f->r);
    for (size_t i = 0; i < n; i++) {
        const float row[] = {a[i], c[i]};

        counts_add(&counts, &f->r, row, &p[i]);
    }
    drift_judge(&f->r, &counts, threshold, 3, &f->arena, v);
    counts_fini(&counts);
}

struct sample {
    float a[M], c[M];
    double p[M];
};

/* As the training data are. */
static void same(struct sample *s)
{
    for (int i = 0; i < M; i++) {
        s->a[i] = (float)i / (float)M;
        s->c[i] = i % 10 < 5 ? 0 : i % 10 < 8 ? 1 : 2;
        s->p[i] = (double)((float)i / (float)M);
    }
}

static void the_same_data_are_calm(void **state)
{
    struct fixture *f = *state;
    struct sample s;
    struct verdict v;

    same(&s);
    judge(f, s.a, s.c, s.p, M, 0.2, &v);
    assert_false(v.is_drift);
    assert_true(v.is_known);
    assert_true(fabs(v.features.items[0].psi - 0.0001845622647880176) < 1e-12);
    assert_true(fabs(v.prediction_psi - 0.0001845622647880176) < 1e-12);
    assert_true(fabs(v.features.items[1].psi - 0.000794702640177241) < 1e-12);
    assert_true(v.worst_psi == v.features.items[1].psi);
    assert_string_equal(v.reason, "500 predictions of generation 3 look like its training data: "
                                  "the largest PSI is 0.000795 (c), below 0.2");
}

static void a_feature_that_moved_is_named(void **state)
{
    struct fixture *f = *state;
    struct sample s;
    struct verdict v;

    same(&s);
    for (int i = 0; i < M; i++) {
        s.a[i] = (float)i / (float)M * ((float)i / (float)M);
        s.c[i] = i % 7 == 0 ? 9 : (float)(i % 3);
    }
    judge(f, s.a, s.c, s.p, M, 0.2, &v);
    assert_true(v.is_drift);
    assert_false(v.has_prediction_moved);
    assert_true(fabs(v.features.items[0].psi - 0.4007599898629454) < 1e-12);
    assert_true(fabs(v.features.items[1].psi - 1.0338448597696617) < 1e-12);
    assert_true(v.worst_psi == v.features.items[1].psi);
    assert_string_equal(v.reason, "500 predictions of generation 3 against its training data: 2 of "
                                  "2 features moved: c (PSI 1.03), a (PSI 0.401)");
}

static void answers_that_moved_are_drift(void **state)
{
    struct fixture *f = *state;
    struct sample s;
    struct verdict v;

    same(&s);
    for (int i = 0; i < M; i++)
        s.p[i] = s.p[i] * s.p[i];
    judge(f, s.a, s.c, s.p, M, 0.2, &v);
    assert_true(v.is_drift);
    assert_true(v.has_prediction_moved);
    assert_true(fabs(v.prediction_psi - 0.4007599898629454) < 1e-12);
    assert_non_null(strstr(v.reason, "its answers moved (PSI 0.401)"));
}

static void missing_values_are_drift_of_their_own(void **state)
{
    struct fixture *f = *state;
    struct sample s;
    struct verdict v;

    same(&s);
    for (int i = 0; i < M; i += 4)
        s.a[i] = i % 8 ? NAN : INFINITY;
    judge(f, s.a, s.c, s.p, M, 0.2, &v);
    assert_true(v.is_drift);
    assert_true(v.features.items[0].missing_share == 0.25);
    assert_true(v.worst_psi < 0.2);
    assert_non_null(
        strstr(v.reason, "values are missing that were there: a (25 % missing, was 0 %)"));
    same(&s);
    for (int i = 0; i < M; i += 20) /* five percent is a bad day */
        s.a[i] = NAN;
    judge(f, s.a, s.c, s.p, M, 0.2, &v);
    assert_false(v.is_drift);
}

/* Windows of rows as the training data are: at most one in a hundred may be taken for drift, three
 * comparisons each at one in a thousand. */
static void few_rows_seldom_alarm(void **state)
{
    enum { WINDOWS = 2000, MOST = 80 };
    static const size_t rows[] = {15, 50, 80};
    struct fixture *f = *state;
    struct rng rng;

    rng_seed(&rng, 7);
    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        int alarms = 0;

        for (int w = 0; w < WINDOWS; w++) {
            float a[MOST], c[MOST];
            double p[MOST];
            struct verdict v;

            for (size_t i = 0; i < rows[k]; i++) {
                uint64_t ten = rng_below(&rng, 10);

                a[i] = (float)rng_below(&rng, N) / (float)N;
                p[i] = (double)rng_below(&rng, N) / N;
                c[i] = ten < 5 ? 0 : ten < 8 ? 1 : 2;
            }
            judge(f, a, c, p, rows[k], 0.2, &v);
            alarms += v.is_drift;
            arena_fini(&f->arena);
        }
        assert_in_range(alarms, 0, WINDOWS / 100);
    }
}

/* Twenty rows over sixteen bins are held against what chance gives so few. */
static void few_rows_are_held_against_chance(void **state)
{
    struct fixture *f = *state;
    struct sample s;
    struct verdict v;
    float a[20], c[20];
    double p[20];

    same(&s);
    for (int i = 0; i < 20; i++) {
        a[i] = s.a[(i * 97) % M];
        c[i] = s.c[(i * 97) % M];
        p[i] = s.p[(i * 97) % M];
    }
    judge(f, a, c, p, 20, 0.2, &v);
    assert_true(fabs(v.features.items[0].psi - 0.1174593374984858) < 1e-12);
    assert_true(v.features.items[0].threshold > 1);
    assert_false(v.is_drift);
    for (int i = 0; i < 20; i++) /* but what is far away is seen */
        a[i] = 5;
    judge(f, a, c, p, 20, 0.2, &v);
    assert_true(v.is_drift);
}

static void chance_is_that_of_a_chi_squared_variable(void **state)
{
    static const struct {
        size_t degrees;
        double quantile;
    } rows[] = {{1, 10.827566170662733},
                {4, 18.46682695290317},
                {15, 37.69729821835383},
                {32, 62.487219057088474}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        double expected = rows[i].quantile * (1.0 / 1000 + 1.0 / 500);

        assert_true(fabs(drift_chance(rows[i].degrees + 1, 1000, 500) / expected - 1) < 0.04);
    }
    assert_true(isinf(drift_chance(1, 1000, 500)));
    assert_true(isinf(drift_chance(16, 0, 500)));
}

static void without_a_profile_nothing_is_said(void **state)
{
    struct fixture *f = *state;
    struct reference r;
    struct counts c;
    struct verdict v;
    const float row[] = {1, 1};
    const double p = 0.5;

    reference_init(&r, f->m, NULL);
    counts_init(&c, &r);
    counts_add(&c, &r, row, &p);
    drift_judge(&r, &c, 0.2, 3, &f->arena, &v);
    assert_false(v.is_known);
    assert_false(v.is_drift);
    assert_true(isnan(v.worst_psi));
    assert_non_null(strstr(v.reason, "there is no profile"));
    assert_int_equal(c.rows, 1);
    counts_fini(&c);
    reference_fini(&r);
}

/* ---- alerts ---- */

static void an_alert_is_due_every_so_many_windows(void **state)
{
    static const struct {
        const char *verdict;
        int64_t consecutive, every;
        bool is_due;
    } rows[] = {
        {"drift", 1, 2, false},   {"drift", 2, 2, true},    {"drift", 3, 2, false},
        {"drift", 4, 2, true},    {"drift", 1, 1, true},    {"ok", 2, 2, false},
        {"degraded", 2, 2, true}, {"unknown", 2, 2, false}, {"drift", 0, 2, false},
        {"drift", 2, 0, false},   {NULL, 2, 2, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct health_measured h = {.verdict = rows[i].verdict, .consecutive = rows[i].consecutive};

        assert_int_equal(drift_is_due(&h, rows[i].every), rows[i].is_due);
    }
}

static void an_alert_says_what_moved_worst_first(void **state)
{
    struct fixture *f = *state;
    static const struct feature_health features[] = {{"a", 0.4, 0.2, 0}, {"c", 1.2, 0.2, 0}};
    struct health_measured h = {.line = "p",
                                .kind = "window",
                                .generation = 3,
                                .predictions = M,
                                .verdict = "drift",
                                .consecutive = 2,
                                .features = {features, 2},
                                .prediction_psi = 0.9,
                                .worst_psi = 1.2,
                                .reason = "because"};
    const struct drift_bounds bounds = {.psi = 0.2};
    struct drift_detected d;

    drift_alert(&h, &f->r, &bounds, 1000, &f->arena, &d);
    assert_string_equal(d.kind, "data");
    assert_string_equal(d.source, "monitor");
    assert_string_equal(d.statistic, "psi");
    assert_int_equal(d.generation, 3);
    assert_int_equal(d.windows, 2);
    assert_int_equal(d.features.n, 2);
    assert_string_equal(d.features.items[0].feature, "c");
    assert_true(d.value == 1.2 && d.threshold == 0.2);
    assert_string_equal(d.summary, "drift for 2 windows in a row: because");
}

static void an_alert_says_what_is_missing_or_that_answers_moved(void **state)
{
    struct fixture *f = *state;
    static const struct feature_health features[] = {{"a", 0.01, 0.2, 0.25}, {"c", NAN, 0.2, 0}};
    struct health_measured h = {.line = "p",
                                .kind = "window",
                                .generation = 3,
                                .predictions = M,
                                .verdict = "drift",
                                .consecutive = 2,
                                .features = {features, 2},
                                .prediction_psi = 0.1,
                                .worst_psi = 0.01};
    const struct drift_bounds bounds = {.psi = 0.2};
    struct drift_detected d;

    drift_alert(&h, &f->r, &bounds, 1000, &f->arena, &d);
    assert_string_equal(d.kind, "missing");
    assert_int_equal(d.features.n, 1);
    assert_string_equal(d.features.items[0].feature, "a");
    assert_true(d.features.items[0].value == 0.25);
    drift_alert(&h, NULL, &bounds, 1000, &f->arena, &d); /* what was there before is not known */
    assert_string_equal(d.kind, "missing");
    assert_int_equal(d.features.n, 0);
    h.features.n = 0;
    h.prediction_psi = 0.5;
    drift_alert(&h, NULL, &bounds, 1000, &f->arena, &d);
    assert_string_equal(d.kind, "prediction");
    assert_true(d.value == 0.5 && d.threshold == 0.2);
}

static void an_alert_of_quality_has_the_figure_and_its_bound(void **state)
{
    struct fixture *f = *state;
    static const struct named_value values[] = {{"accuracy", 0.6}, {"logloss", 0.7}};
    struct health_measured h = {.line = "p",
                                .kind = "quality",
                                .generation = 3,
                                .verdict = "degraded",
                                .consecutive = 4,
                                .quality = {values, 2},
                                .reason = "because"};
    const struct drift_bounds bounds = {.psi = 0.2, .metric = "accuracy", .quality = 0.75};
    struct drift_detected d;

    drift_alert(&h, NULL, &bounds, 1000, &f->arena, &d);
    assert_string_equal(d.kind, "quality");
    assert_string_equal(d.statistic, "accuracy");
    assert_true(d.value == 0.6 && d.threshold == 0.75);
    assert_int_equal(d.features.n, 0);
}

static void multiclass_answers_are_counted_by_their_class(void **state)
{
    static const char *const names[] = {"a", "prediction"};
    static const bool is_category[] = {false, true};
    struct profiler *pr = profiler_new(names, is_category, 2, 0);
    struct model *m = sample_model("a:float", "x y z");
    struct profile *p;
    struct reference r;
    struct counts c;
    struct verdict v;
    struct arena arena = {0};

    (void)state;
    for (int i = 0; i < 300; i++) {
        const float row[] = {(float)(i % 16), (float)(i % 3)};

        profiler_add(pr, row, 1);
    }
    p = profiler_finish(pr);
    reference_init(&r, m, p);
    counts_init(&c, &r);
    for (int i = 0; i < 300; i++) {
        const float row[] = {(float)(i % 16)};
        double out[] = {0.1, 0.1, 0.1};

        out[i % 3] = 0.8;
        counts_add(&c, &r, row, out);
    }
    drift_judge(&r, &c, 0.2, 1, &arena, &v);
    assert_true(v.prediction_psi == 0);
    counts_fini(&c);
    reference_fini(&r);
    profile_free(p);
    model_free(m);
    arena_fini(&arena);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_same_data_are_calm),
        TEST(a_feature_that_moved_is_named),
        TEST(answers_that_moved_are_drift),
        TEST(missing_values_are_drift_of_their_own),
        TEST(few_rows_are_held_against_chance),
        TEST(few_rows_seldom_alarm),
        TEST(chance_is_that_of_a_chi_squared_variable),
        TEST(without_a_profile_nothing_is_said),
        TEST(an_alert_is_due_every_so_many_windows),
        TEST(an_alert_says_what_moved_worst_first),
        TEST(an_alert_says_what_is_missing_or_that_answers_moved),
        TEST(an_alert_of_quality_has_the_figure_and_its_bound),
        cmocka_unit_test(multiclass_answers_are_counted_by_their_class),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
