/* Scores of a stream, against scikit-learn 1.7.2 (log_loss, accuracy_score, mean_absolute_error,
 * mean_squared_error). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agents/relearn/replay_score.h"

#define NEAR(a, b) assert_true(fabs((a) - (b)) < 1e-12)

static void classes_are_scored_as_scikit_learn_does(void **state)
{
    /* y = 1 0 1 1 0, p(1) = .9 .2 .4 1 .999: what each said of its label */
    static const double p[] = {0.9, 0.8, 0.4, 1.0, 1 - 0.999};
    static const bool correct[] = {true, true, false, true, false};
    struct score s = {0};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(p); i++)
        score_class(&s, correct[i], p[i]);
    assert_int_equal(s.rows, 5);
    NEAR(score_accuracy(&s), 0.6);
    NEAR(score_logloss(&s), 1.6305100155656653);
}

static void several_classes_need_only_their_labels_share(void **state)
{
    struct score s = {0};
    (void)state;
    score_class(&s, true, 0.7);
    score_class(&s, false, 0.3);
    score_class(&s, true, 0.8);
    NEAR(score_logloss(&s), 0.594597099859626);
}

static void a_label_that_got_nothing_costs_a_lot_and_not_everything(void **state)
{
    struct score s = {0}, unknown = {0};
    (void)state;
    score_class(&s, false, 0);
    assert_true(isfinite(score_logloss(&s)));
    NEAR(score_logloss(&s), -log(1e-15));
    score_class(&unknown, false, NAN); /* a class that the model does not know */
    NEAR(score_logloss(&unknown), score_logloss(&s));
    score_class(&s, true, 1.5); /* no probability is above one */
    NEAR(score_logloss(&s), -log(1e-15) / 2);
}

static void values_are_scored_as_scikit_learn_does(void **state)
{
    static const double predicted[] = {1.5, -2.0, 0.0, 4.25}, actual[] = {1.0, -1.0, 0.5, 4.0};
    struct score s = {0};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(actual); i++)
        score_value(&s, predicted[i], actual[i]);
    NEAR(score_mae(&s), 0.5625);
    NEAR(score_rmse(&s), 0.625);
}

static void without_rows_there_is_no_score(void **state)
{
    struct score s = {0};
    (void)state;
    assert_true(isnan(score_accuracy(&s)) && isnan(score_logloss(&s)));
    assert_true(isnan(score_mae(&s)) && isnan(score_rmse(&s)));
}

static void same_as_the_last_label_and_the_most_frequent_so_far(void **state)
{
    /* each is scored on what came before, then learns */
    static const char *const labels[] = {"a", "b", "b", "a", "a", "c", "a"};
    struct naive *n = naive_new(TASK_MULTICLASS);
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(labels); i++)
        naive_label(n, labels[i], true);
    /* last:     -  a  b  b  a  a  c -> right at the 3rd and 5th
     * majority: -  a  a  b  b  a  a -> right at the 7th ("b" leads from 2:1 until "a" has 3) */
    assert_int_equal(naive_last(n)->rows, 6); /* nothing is known before the first */
    assert_int_equal(naive_last(n)->correct, 2);
    assert_int_equal(naive_majority(n)->rows, 6);
    assert_int_equal(naive_majority(n)->correct, 1);
    naive_free(n);
}

static void rows_that_are_not_scored_are_learned_from(void **state)
{
    struct naive *n = naive_new(TASK_BINARY);
    (void)state;
    naive_label(n, "up", false);
    naive_label(n, "up", false);
    assert_int_equal(naive_last(n)->rows, 0);
    naive_label(n, "up", true);
    naive_label(n, "down", true);
    NEAR(score_accuracy(naive_last(n)), 0.5);
    NEAR(score_accuracy(naive_majority(n)), 0.5);
    naive_free(n);
    naive_free(NULL);
}

static void of_numbers_it_is_the_last_value_and_the_mean(void **state)
{
    struct naive *n = naive_new(TASK_REGRESSION);
    (void)state;
    naive_label(n, "1", true); /* nothing to say yet */
    naive_label(n, "3", true); /* last 1, mean 1 */
    naive_label(n, "not a number", true);
    naive_label(n, "2", true); /* last 3, mean 2 */
    assert_int_equal(naive_last(n)->rows, 2);
    NEAR(score_mae(naive_last(n)), 1.5);
    NEAR(score_rmse(naive_last(n)), sqrt(2.5));
    NEAR(score_mae(naive_majority(n)), 1);
    naive_free(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes_are_scored_as_scikit_learn_does),
        cmocka_unit_test(several_classes_need_only_their_labels_share),
        cmocka_unit_test(a_label_that_got_nothing_costs_a_lot_and_not_everything),
        cmocka_unit_test(values_are_scored_as_scikit_learn_does),
        cmocka_unit_test(without_rows_there_is_no_score),
        cmocka_unit_test(same_as_the_last_label_and_the_most_frequent_so_far),
        cmocka_unit_test(rows_that_are_not_scored_are_learned_from),
        cmocka_unit_test(of_numbers_it_is_the_last_value_and_the_mean),
    };
    return cmocka_run_group_tests_name("replay score", tests, NULL, NULL);
}
