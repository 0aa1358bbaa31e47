/* How often an interval holds the truth, where the truth is known: each method on tables of 30, 300
 * and 3,000 rows, with a fixed seed.  What is measured is printed; tests/README.md has it.
 * time-limit: 600 under a sanitizer, on a busy machine */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>

#include "common/mem.h"
#include "common/metrics.h"
#include "common/metrics_closed.h"
#include "common/rng.h"

enum { CLUSTER_ROWS = 5, ROUNDS = 200 };
static const double LEVEL = 0.95, SIGMAS = 3.3; /* of the binomial error: one check in a thousand */

struct world { /* a random table, and what is true of it */
    double *a, *b;
    float *y;
    uint32_t *cluster;
    size_t rows;
    struct rng r;
};

/* ---- tables ---- */

/* Two classes, scores that share half of their variance; the truth: binormal AUC. */
static double draw_scores(struct world *w, bool is_pair)
{
    const double gap_a = 0.8, gap_b = 1.2;

    for (size_t i = 0; i < w->rows; i++) {
        double both = rng_normal(&w->r), here = i % 2 ? 1 : 0;

        w->y[i] = (float)here;
        w->a[i] = gap_a * here + (both + rng_normal(&w->r)) / sqrt(2);
        w->b[i] = gap_b * here + (both + rng_normal(&w->r)) / sqrt(2);
    }
    return normal_below(gap_b / sqrt(2)) - (is_pair ? normal_below(gap_a / sqrt(2)) : 0);
}

/* Of 100 rows both have 70 right, b alone 12, a alone 8. */
static double draw_answers(struct world *w, bool is_pair)
{
    for (size_t i = 0; i < w->rows; i++) {
        double u = rng_double(&w->r);

        w->y[i] = 1;
        w->b[i] = u < 0.82 ? 0.9 : 0.1;
        w->a[i] = u < 0.7 || (u >= 0.82 && u < 0.9) ? 0.9 : 0.1;
    }
    return is_pair ? 0.04 : 0.82;
}

/* Errors are normal, so that the truth of mae is known; they share a part. */
static double draw_values(struct world *w, bool is_pair)
{
    const double sd_a = 1.1, sd_b = 1;

    for (size_t i = 0; i < w->rows; i++) {
        double both = rng_normal(&w->r);

        w->y[i] = 0;
        w->a[i] = sd_a * (both + rng_normal(&w->r)) / sqrt(2);
        w->b[i] = sd_b * (both + rng_normal(&w->r)) / sqrt(2);
    }
    return (sd_b - (is_pair ? sd_a : 0)) * sqrt(2 / M_PI);
}

/* The same, and the errors of b have a part in common by cluster. */
static double draw_clusters(struct world *w, bool is_pair)
{
    double shared = 0;

    for (size_t i = 0; i < w->rows; i++) {
        if (i % CLUSTER_ROWS == 0)
            shared = rng_normal(&w->r);
        w->cluster[i] = (uint32_t)(i / CLUSTER_ROWS);
        w->y[i] = 0;
        w->a[i] = rng_normal(&w->r);
        w->b[i] = (shared + rng_normal(&w->r)) / sqrt(2);
    }
    return is_pair ? 0 : sqrt(2 / M_PI);
}

/* ---- methods ---- */

struct method {
    const char *name;
    double (*draw)(struct world *w, bool is_pair);
    enum metric metric;
    enum task task;
    bool is_pair, has_clusters;
    enum interval_choice choice;
    enum interval_method expected;
    int tables;         /* drawn of each size */
    double short_of[3]; /* by so much it may hold less often at 30, 300, 3,000 rows */
    double beyond[3];   /* or more often */
};

static const struct method methods[] = {
    {"delong, difference",
     draw_scores,
     METRIC_AUC,
     TASK_BINARY,
     true,
     false,
     INTERVAL_CLOSED,
     METHOD_DELONG,
     4000,
     {0.02, 0, 0},
     {0}},
    {"delong, one model",
     draw_scores,
     METRIC_AUC,
     TASK_BINARY,
     false,
     false,
     INTERVAL_CLOSED,
     METHOD_DELONG,
     4000,
     {0.03, 0, 0},
     {0}},
    {"tango, difference",
     draw_answers,
     METRIC_ACCURACY,
     TASK_BINARY,
     true,
     false,
     INTERVAL_CLOSED,
     METHOD_TANGO,
     4000,
     {0.02, 0, 0},
     {0.03, 0.005, 0}},
    {"wilson, one model",
     draw_answers,
     METRIC_ACCURACY,
     TASK_BINARY,
     false,
     false,
     INTERVAL_CLOSED,
     METHOD_WILSON,
     4000,
     {0.02, 0.005, 0},
     {0.02, 0.005, 0}},
    {"normal, difference",
     draw_values,
     METRIC_MAE,
     TASK_REGRESSION,
     true,
     false,
     INTERVAL_CLOSED,
     METHOD_NORMAL,
     4000,
     {0},
     {0}},
    {"normal, one model",
     draw_values,
     METRIC_MAE,
     TASK_REGRESSION,
     false,
     false,
     INTERVAL_CLOSED,
     METHOD_NORMAL,
     4000,
     {0.01, 0, 0},
     {0}},
    {"bootstrap, difference",
     draw_values,
     METRIC_MAE,
     TASK_REGRESSION,
     true,
     false,
     INTERVAL_BOOTSTRAP,
     METHOD_BOOTSTRAP,
     1000,
     {0.03, 0.005, 0.005},
     {0}},
    {"bootstrap of clusters",
     draw_clusters,
     METRIC_MAE,
     TASK_REGRESSION,
     true,
     true,
     INTERVAL_AUTO,
     METHOD_CLUSTER_BOOTSTRAP,
     1000,
     {0.15, 0.015, 0.005},
     {0}},
};

static bool holds(struct world *w, const struct method *m, uint64_t seed)
{
    double truth = m->draw(w, m->is_pair);
    struct metric_input b = {.p = w->b, .y = w->y, .rows = w->rows, .k = 1, .task = m->task}, a;
    struct metric_resampling how = {
        .rounds = ROUNDS, .confidence = LEVEL, .seed = seed, .choice = m->choice};
    struct metric_spec spec = metric_of(m->metric);
    struct metric_compared found;

    if (m->has_clusters) {
        b.cluster = w->cluster;
        b.n_clusters = w->rows / CLUSTER_ROWS;
    }
    a = b;
    a.p = w->a;
    assert_int_equal(metric_compare(&spec, 1, m->is_pair ? &a : NULL, &b, &how, &found), 0);
    assert_int_equal(found.method, m->expected);
    return found.interval.low <= truth && truth <= found.interval.high;
}

/* Large tables are dear, and say less that is new. */
static int tables_of(const struct method *m, size_t rows)
{
    return rows < 1000 ? m->tables : m->tables / 4;
}

static double coverage(const struct method *m, size_t rows)
{
    struct world w = {.a = xcalloc(rows, sizeof(double)),
                      .b = xcalloc(rows, sizeof(double)),
                      .y = xcalloc(rows, sizeof(float)),
                      .cluster = xcalloc(rows, sizeof(uint32_t)),
                      .rows = rows};
    int held = 0, n = tables_of(m, rows);

    rng_seed(&w.r, 7 + rows);
    for (int i = 0; i < n; i++)
        held += holds(&w, m, (uint64_t)i);
    free(w.a);
    free(w.b);
    free(w.y);
    free(w.cluster);
    return (double)held / n;
}

static void intervals_hold_the_truth_as_often_as_they_say(void **state)
{
    static const size_t sizes[] = {30, 300, 3000};
    size_t n_bad = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        const struct method *m = &methods[i];
        for (size_t k = 0; k < ARRAY_LEN(sizes); k++) {
            int n = tables_of(m, sizes[k]);
            double c = coverage(m, sizes[k]), error = SIGMAS * sqrt(LEVEL * (1 - LEVEL) / n);
            bool is_bad = c < LEVEL - error - m->short_of[k] || c > LEVEL + error + m->beyond[k];

            print_message("%-22s %4zu rows: %.4f of %d%s\n", m->name, sizes[k], c, n,
                          is_bad ? "  BAD" : "");
            n_bad += is_bad;
        }
    }
    assert_int_equal(n_bad, 0);
}

/* One wrong row of one look is enough to fail a whole sequence. */
static void a_sequence_holds_the_truth_at_all_sizes_together(void **state)
{
    enum { LOOPS = 1000, LOOKS = 20, ROWS_A_LOOK = 100 };
    struct world w = {.a = xcalloc(LOOKS * ROWS_A_LOOK, sizeof(double)),
                      .b = xcalloc(LOOKS * ROWS_A_LOOK, sizeof(double)),
                      .y = xcalloc(LOOKS * ROWS_A_LOOK, sizeof(float)),
                      .rows = LOOKS * ROWS_A_LOOK};
    struct metric_spec spec = metric_of(METRIC_MAE);
    double all[2];

    (void)state;
    for (int anytime = 0; anytime < 2; anytime++) {
        int held = 0;

        rng_seed(&w.r, 3);
        for (int loop = 0; loop < LOOPS; loop++) {
            double truth = draw_values(&w, true);
            bool is_held = true;

            for (size_t look = 1; is_held && look <= LOOKS; look++) {
                struct metric_input b = {.p = w.b,
                                         .y = w.y,
                                         .rows = look * ROWS_A_LOOK,
                                         .k = 1,
                                         .task = TASK_REGRESSION},
                                    a = b;
                struct metric_resampling how = {.rounds = ROUNDS,
                                                .confidence = LEVEL,
                                                .choice = INTERVAL_CLOSED,
                                                .is_anytime = anytime};
                struct metric_compared found;

                a.p = w.a;
                assert_int_equal(metric_compare(&spec, 1, &a, &b, &how, &found), 0);
                is_held = found.interval.low <= truth && truth <= found.interval.high;
            }
            held += is_held;
        }
        all[anytime] = (double)held / LOOPS;
        print_message("%s, %d looks at 100 to 2,000 rows: all hold in %.4f of %d\n",
                      anytime ? "sequence" : "normal", LOOKS, all[anytime], LOOPS);
    }
    assert_true(all[0] < 0.85); /* what a look is not meant for */
    assert_true(all[1] >= LEVEL);
    free(w.a);
    free(w.b);
    free(w.y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intervals_hold_the_truth_as_often_as_they_say),
        cmocka_unit_test(a_sequence_holds_the_truth_at_all_sizes_together),
    };

    return cmocka_run_group_tests_name("intervals_coverage", tests, NULL, NULL);
}
