/* Training and prediction: determinism, tasks, early stopping, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "common/metrics.h"
#include "common/rng.h"
#include "common/xgb.h"
#include "tests/support/sample_rows.h"

static struct xgb_params params(int rounds)
{
    static const char *const names[] = {"max_depth", "eta", "subsample"}, *const values[] = {
                                                                              "3", "0.3", "0.8"};

    return (struct xgb_params){
        .names = names, .values = values, .n = 3, .rounds = rounds, .seed = 77, .threads = 1};
}

static void train_ok(const struct matrix *train, const struct matrix *valid, enum task task,
                     const struct xgb_params *p, struct buf *ret, int *ret_rounds, double *ret_best)
{
    struct err err = {0};

    if (xgb_train(train, valid, task, p, NULL, NULL, ret, ret_rounds, ret_best, &err))
        fail_msg("%s", err.msg);
}

static struct xgb *load_ok(const struct buf *model)
{
    struct err err = {0};
    struct xgb *x = NULL;

    if (xgb_load(buf_slice(model), &x, &err))
        fail_msg("%s", err.msg);
    return x;
}

static void the_same_inputs_give_the_same_bytes(void **state)
{
    struct sample_rows rows;

    (void)state;
    for (enum task t = TASK_BINARY; t <= TASK_REGRESSION; t++) {
        CLEANUP(buf_fini) struct buf first = {0};
        CLEANUP(buf_fini) struct buf again = {0};
        CLEANUP(buf_fini) struct buf seeded = {0};
        struct xgb_params p = params(12);
        double best;
        int rounds;

        sample_rows_init(&rows, t, 600, 200, 1);
        train_ok(&rows.train, &rows.valid, t, &p, &first, &rounds, &best);
        p.threads = 2;
        train_ok(&rows.train, &rows.valid, t, &p, &again, &rounds, &best);
        p.seed += 1000;
        train_ok(&rows.train, &rows.valid, t, &p, &seeded, &rounds, &best);
        assert_int_equal(first.len, again.len);
        assert_memory_equal(first.data, again.data, first.len);
        assert_true(first.len != seeded.len || memcmp(first.data, seeded.data, first.len) != 0);
        sample_rows_fini(&rows);
    }
}

static double score_of(struct xgb *x, const struct matrix *m, enum task t)
{
    struct metric_input in = {.y = m->y, .rows = m->rows, .k = xgb_outputs(x), .task = t};
    double *p = xmalloc(m->rows * in.k * sizeof(*p)), v;
    struct metric_spec metric = metric_of(t == TASK_REGRESSION ? METRIC_RMSE : METRIC_LOGLOSS);
    struct err err = {0};

    assert_int_equal(xgb_predict(x, m->x, m->rows, p, &err), 0);
    in.p = p;
    v = metric_value(&metric, &in, NULL);
    free(p);
    return v;
}

static void each_task_is_learned_and_its_valid_figure_is_that_of_the_saved_model(void **state)
{
    static const double untrained[] = {
        [TASK_BINARY] = 0.69, [TASK_MULTICLASS] = 1.09, [TASK_REGRESSION] = 40};
    struct sample_rows rows;

    (void)state;
    for (enum task t = TASK_BINARY; t <= TASK_REGRESSION; t++) {
        CLEANUP(buf_fini) struct buf model = {0};
        struct xgb_params p = params(30);
        struct err err = {0};
        double best = NAN, score;
        struct xgb *x;
        int rounds = 0;

        sample_rows_init(&rows, t, 600, 200, 1);
        train_ok(&rows.train, &rows.valid, t, &p, &model, &rounds, &best);
        assert_int_equal(rounds, 30);
        x = load_ok(&model);
        assert_int_equal(xgb_features(x), SAMPLE_COLUMNS);
        assert_int_equal(xgb_outputs(x), t == TASK_MULTICLASS ? 3 : 1);
        assert_int_equal(xgb_fits(x, t, rows.train.n_classes, &err), 0);
        score = score_of(x, &rows.valid, t);
        assert_true(fabs(score - best) <= 1e-5 * fabs(best)); /* XGBoost sums in float */
        assert_true(score < untrained[t] * 0.6);
        xgb_free(x);
        sample_rows_fini(&rows);
    }
}

static void early_stopping_keeps_the_best_round(void **state)
{
    CLEANUP(buf_fini) struct buf stopped = {0};
    CLEANUP(buf_fini) struct buf fixed = {0};
    struct xgb_params p = params(500);
    struct sample_rows rows;
    struct xgb *x;
    double best = NAN, best_fixed = NAN;
    int rounds = 0, rounds_fixed = 0;

    (void)state;
    sample_rows_init(&rows, TASK_BINARY, 300, 200, 1);
    p.early_stopping = 5;
    train_ok(&rows.train, &rows.valid, TASK_BINARY, &p, &stopped, &rounds, &best);
    assert_true(rounds > 1 && rounds < 495);
    p.early_stopping = 0;
    p.rounds = rounds;
    train_ok(&rows.train, &rows.valid, TASK_BINARY, &p, &fixed, &rounds_fixed, &best_fixed);
    assert_true(fabs(best - best_fixed) < 1e-12);
    x = load_ok(&stopped);
    assert_true(fabs(score_of(x, &rows.valid, TASK_BINARY) - best) < 1e-5);
    xgb_free(x);
    sample_rows_fini(&rows);
}

static void without_valid_rows_all_rounds_are_kept(void **state)
{
    CLEANUP(buf_fini) struct buf model = {0};
    struct xgb_params p = params(7);
    struct sample_rows rows;
    double best = 0;
    int rounds = 0;

    (void)state;
    sample_rows_init(&rows, TASK_BINARY, 300, 0, 1);
    p.early_stopping = 3;
    train_ok(&rows.train, &rows.valid, TASK_BINARY, &p, &model, &rounds, &best);
    assert_int_equal(rounds, 7);
    assert_true(isnan(best));
    sample_rows_fini(&rows);
}

static int stop_at_three(void *ctx, int round, double value)
{
    (void)value;
    *(int *)ctx = round;
    return round == 3;
}

static void a_callback_ends_it(void **state)
{
    CLEANUP(buf_fini) struct buf model = {0};
    struct xgb_params p = params(50);
    struct sample_rows rows;
    struct err err = {0};
    double best;
    int rounds, last = 0;

    (void)state;
    sample_rows_init(&rows, TASK_BINARY, 300, 50, 1);
    assert_int_equal(xgb_train(&rows.train, &rows.valid, TASK_BINARY, &p, stop_at_three, &last,
                               &model, &rounds, &best, &err),
                     -1);
    assert_int_equal(err.code, ERR_CANCELED);
    assert_int_equal(last, 3);
    assert_int_equal(model.len, 0);
    sample_rows_fini(&rows);
}

static void what_cannot_be_trained_is_refused_in_words(void **state)
{
    static const struct {
        const char *name, *value, *says;
    } rows[] = {
        {"max_dept", "3", "'max_dept' is no parameter of the built-in trainer"},
        {"nthread", "64", "'nthread' is no parameter of the built-in trainer"},
        {"objective", "rank:pairwise", "'objective' is no parameter of the built-in trainer"},
        {"max_depth", "deep", "max_depth"},
        {"subsample", "7", "subsample"},
        {"tree_method", "gpu_hist", "XGBoost"},
    };
    struct sample_rows sample;

    (void)state;
    sample_rows_init(&sample, TASK_BINARY, 100, 20, 1);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(buf_fini) struct buf model = {0};
        struct xgb_params p = {
            .names = &rows[i].name, .values = &rows[i].value, .n = 1, .rounds = 2};
        struct err err = {0};
        double best;
        int rounds;

        assert_int_equal(xgb_train(&sample.train, &sample.valid, TASK_BINARY, &p, NULL, NULL,
                                   &model, &rounds, &best, &err),
                         -1);
        print_message("%s\n", err.msg);
        assert_int_equal(err.next, NEXT_REJECT);
        assert_non_null(strstr(err.msg, rows[i].says));
        assert_null(strstr(err.msg, "Stack trace"));
    }
    sample_rows_fini(&sample);
}

static void bad_rows_are_refused(void **state)
{
    struct sample_rows sample;
    struct xgb_params p = params(2);
    struct buf model = {0};
    struct err err = {0};
    struct matrix none;
    double best;
    int rounds;

    (void)state;
    sample_rows_init(&sample, TASK_BINARY, 100, 20, 1);
    none = sample.train;
    none.rows = 0;
    assert_int_equal(
        xgb_train(&none, NULL, TASK_BINARY, &p, NULL, NULL, &model, &rounds, &best, &err), -1);
    assert_string_equal(err.msg, "no rows to train on");
    sample.train.y[7] = NAN;
    assert_int_equal(
        xgb_train(&sample.train, NULL, TASK_BINARY, &p, NULL, NULL, &model, &rounds, &best, &err),
        -1);
    assert_string_equal(err.msg, "a row has a label that is missing or not finite");
    sample.train.y[7] = 3;
    assert_int_equal(
        xgb_train(&sample.train, NULL, TASK_BINARY, &p, NULL, NULL, &model, &rounds, &best, &err),
        -1);
    assert_string_equal(err.msg, "a row has the label 3, of 2 classes");
    p.rounds = 0;
    assert_int_equal(
        xgb_train(&sample.train, NULL, TASK_BINARY, &p, NULL, NULL, &model, &rounds, &best, &err),
        -1);
    assert_string_equal(err.msg, "rounds is 0, must be 1 or more");
    sample_rows_fini(&sample);
    buf_fini(&model);
}

static void a_label_far_from_zero_is_met_in_a_few_rounds(void **state)
{
    CLEANUP(buf_fini) struct buf model = {0};
    struct xgb_params p = params(3);
    struct sample_rows rows;
    double best = NAN;
    int rounds;

    (void)state;
    sample_rows_init(&rows, TASK_REGRESSION, 300, 100, 1);
    for (size_t i = 0; i < 300; i++)
        rows.train.y[i] += 1e6f;
    for (size_t i = 0; i < 100; i++)
        rows.valid.y[i] += 1e6f;
    train_ok(&rows.train, &rows.valid, TASK_REGRESSION, &p, &model, &rounds, &best);
    assert_true(best < 100);
    sample_rows_fini(&rows);
}

static void importance_is_the_gain_of_the_features_that_matter(void **state)
{
    CLEANUP(buf_fini) struct buf model = {0};
    struct xgb_params p = params(10);
    double gain[SAMPLE_COLUMNS], best;
    struct sample_rows rows;
    struct err err = {0};
    struct xgb *x;
    int rounds;

    (void)state;
    sample_rows_init(&rows, TASK_BINARY, 600, 0, 1);
    train_ok(&rows.train, &rows.valid, TASK_BINARY, &p, &model, &rounds, &best);
    x = load_ok(&model);
    assert_int_equal(xgb_importance(x, gain, &err), 0);
    assert_true(gain[0] > 2 * gain[3] && gain[1] > 2 * gain[3] &&
                gain[0] > 0); /* the label is made of the first three */
    xgb_free(x);
    sample_rows_fini(&rows);
}

/* ---- threads ---- */

struct asker {
    struct xgb *x;
    const struct matrix *rows;
    const double *expected;
    int n_wrong;
};

static void *ask(void *ctx)
{
    struct asker *a = ctx;

    for (int round = 0; round < 20; round++)
        for (size_t i = 0; i < a->rows->rows; i++) {
            double p;

            if (xgb_predict(a->x, a->rows->x + i * a->rows->n_columns, 1, &p, NULL) ||
                p != a->expected[i])
                a->n_wrong++;
        }
    return NULL;
}

static void threads_may_share_a_booster(void **state)
{
    CLEANUP(buf_fini) struct buf model = {0};
    struct xgb_params p = params(10);
    struct asker askers[4];
    pthread_t threads[4];
    struct sample_rows rows;
    double expected[50], best;
    struct err err = {0};
    struct xgb *x;
    int rounds;

    (void)state;
    sample_rows_init(&rows, TASK_BINARY, 200, 50, 1);
    train_ok(&rows.train, &rows.valid, TASK_BINARY, &p, &model, &rounds, &best);
    x = load_ok(&model);
    assert_int_equal(xgb_predict(x, rows.valid.x, 50, expected, &err), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        askers[i] = (struct asker){x, &rows.valid, expected, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, ask, &askers[i]), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(askers[i].n_wrong, 0);
    }
    xgb_free(x);
    sample_rows_fini(&rows);
}

static void the_library_says_which_it_is(void **state)
{
    (void)state;
    assert_true(xgb_version()[0] >= '1' && strchr(xgb_version(), '.'));
    xgb_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_inputs_give_the_same_bytes),
        cmocka_unit_test(each_task_is_learned_and_its_valid_figure_is_that_of_the_saved_model),
        cmocka_unit_test(early_stopping_keeps_the_best_round),
        cmocka_unit_test(without_valid_rows_all_rounds_are_kept),
        cmocka_unit_test(a_callback_ends_it),
        cmocka_unit_test(what_cannot_be_trained_is_refused_in_words),
        cmocka_unit_test(bad_rows_are_refused),
        cmocka_unit_test(a_label_far_from_zero_is_met_in_a_few_rounds),
        cmocka_unit_test(importance_is_the_gain_of_the_features_that_matter),
        cmocka_unit_test(threads_may_share_a_booster),
        cmocka_unit_test(the_library_says_which_it_is),
    };

    return cmocka_run_group_tests_name("xgb", tests, NULL, NULL);
}
