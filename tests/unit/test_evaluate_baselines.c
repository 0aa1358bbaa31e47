/* What needs no model, beside the candidate. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "agents/evaluate/baselines.h"
#include "tests/support/sample_snapshot.h"
#include "tests/support/tmpdir.h"

static struct pipeline *pipeline(const char *task, const char *more)
{
    CLEANUP(buf_fini) struct buf yaml = {0};
    struct pipeline *p = NULL;
    struct err err = {0};

    buf_addf(&yaml,
             "apiVersion: relearn/v1\nkind: Pipeline\nname: p\ndataset: {name: d, label: y%s}\n"
             "%stask: %s\nevaluate: {metrics: [%s]}\n",
             *more == ',' ? more : "", *more == ',' ? "" : more, task,
             strcmp(task, "regression") == 0 ? "mae, r2" : "accuracy, logloss, auc");
    if (pipeline_parse(buf_slice(&yaml), "p", &p, &err))
        fail_msg("%s", err.msg);
    return p;
}

static const struct evaluation_baseline *find(const struct evaluation_baseline_list *l,
                                              const char *name, const char *metric)
{
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->items[i].name, name) == 0 && strcmp(l->items[i].metric, metric) == 0)
            return &l->items[i];
    fail_msg("no %s of %s", metric, name);
    return NULL;
}

static bool is_near(double a, double b)
{
    return fabs(a - b) < 1e-12;
}

enum { ROWS = 8 };
static float two[ROWS] = {0, 0, 0, 1, 1, 1, 1, 0}, values[ROWS] = {1, 2, 3, 4, 5, 6, 7, 8},
             three[ROWS] = {2, 2, 0, 1, 2, 2, 2, 0};
static const double good[ROWS] = {0.1, 0.2, 0.1, 0.9, 0.8, 0.9, 0.8, 0.3};

static void two_classes_are_compared_with_their_shares_and_with_the_row_before(void **state)
{
    struct pipeline *p = pipeline("binary", ", time: t");
    struct matrix rows = {.rows = ROWS, .y = two};
    struct comparison c = {
        .pipeline = p, .rows = &rows, .k = 1, .candidate = good, .seed = 1, .threads = 1};
    double shares[] = {0.25, 0.75};
    struct naive naive = {.shares = shares, .n = 2};
    struct evaluation_baseline_list list = {0};
    const struct evaluation_baseline *b;
    struct arena arena = {0};

    (void)state;
    baselines_compare(&c, &naive, &arena, 0, &list);
    assert_int_equal(list.n, 6);
    b = find(&list, "naive", "accuracy");
    assert_int_equal(b->rows, ROWS);
    assert_null(b->model);
    assert_null(b->reason);
    assert_true(is_near(b->value, 0.5) && is_near(b->candidate, 1) && is_near(b->difference, 0.5));
    assert_true(isnan(b->low) && isnan(b->high)); /* no rule asks */
    assert_true(is_near(find(&list, "naive", "logloss")->value, -(log(0.75) + log(0.25)) / 2));
    assert_true(is_near(find(&list, "naive", "auc")->value, 0.5));
    /* changes at rows 3 and 7; row 0 gets the likelier class, which is wrong */
    assert_true(is_near(find(&list, "last_value", "accuracy")->value, 5.0 / 8));
    arena_fini(&arena);
    pipeline_free(p);
}

static void rows_that_are_split_by_hash_have_no_order(void **state)
{
    struct pipeline *p = pipeline("binary", "split: {by: hash}\n");
    struct matrix rows = {.rows = ROWS, .y = two};
    struct comparison c = {.pipeline = p, .rows = &rows, .k = 1, .candidate = good, .seed = 1};
    double shares[] = {0.25, 0.75};
    struct naive naive = {.shares = shares, .n = 2};
    struct evaluation_baseline_list list = {0};
    struct arena arena = {0};

    (void)state;
    baselines_compare(&c, &naive, &arena, 0, &list);
    assert_int_equal(list.n, 3);
    arena_fini(&arena);
    pipeline_free(p);
}

static void values_are_compared_with_the_mean_and_several_classes_with_shares(void **state)
{
    struct pipeline *p = pipeline("regression", ", time: t"),
                    *q = pipeline("multiclass", ", time: t");
    struct matrix rows = {.rows = ROWS, .y = values};
    double candidate[ROWS * 3] = {0}, mean[] = {4.5}, shares[] = {0.2, 0.3, 0.5};
    struct comparison c = {
        .pipeline = p, .rows = &rows, .k = 1, .candidate = candidate, .seed = 1, .threads = 1};
    struct naive naive = {.shares = mean, .n = 1};
    struct evaluation_baseline_list list = {0}, other = {0};
    struct arena arena = {0};

    (void)state;
    for (int i = 0; i < ROWS; i++)
        candidate[i] = (double)values[i];
    baselines_compare(&c, &naive, &arena, 0, &list);
    assert_true(is_near(find(&list, "naive", "mae")->value, 2));
    assert_true(is_near(find(&list, "naive", "mae")->difference, -2));
    assert_true(is_near(find(&list, "naive", "r2")->value, 0));
    assert_true(is_near(find(&list, "last_value", "mae")->value, (3.5 + 7) / 8));
    rows.y = three;
    for (int i = 0; i < ROWS; i++) {
        memset(candidate + 3 * i, 0, 3 * sizeof(*candidate));
        candidate[3 * i + (int)three[i]] = 1;
    }
    c.pipeline = q;
    c.k = 3;
    naive = (struct naive){.shares = shares, .n = 3};
    baselines_compare(&c, &naive, &arena, 0, &other);
    assert_true(is_near(find(&other, "naive", "accuracy")->value, 5.0 / 8));
    assert_true(is_near(find(&other, "last_value", "accuracy")->value, 4.0 / 8));
    arena_fini(&arena);
    pipeline_free(p);
    pipeline_free(q);
}

static void what_cannot_be_told_has_a_reason(void **state)
{
    struct pipeline *p = pipeline("binary", "split: {by: hash}\n");
    struct matrix rows = {.rows = 3, .y = two}; /* one class */
    struct comparison c = {.pipeline = p, .rows = &rows, .k = 1, .candidate = good, .seed = 1};
    double shares[] = {0.25, 0.75};
    struct naive naive = {.shares = shares, .n = 2}, none = {.why = "gone", .n = 2};
    struct evaluation_baseline_list list = {0}, other = {0};
    struct arena arena = {0};

    (void)state;
    baselines_compare(&c, &naive, &arena, 0, &list);
    assert_true(isnan(find(&list, "naive", "auc")->value));
    assert_string_equal(find(&list, "naive", "auc")->reason,
                        "candidate: all rows are of one class");
    baselines_compare(&c, &none, &arena, 0, &other);
    assert_true(isnan(find(&other, "naive", "accuracy")->value));
    assert_true(isnan(find(&other, "naive", "accuracy")->difference));
    assert_true(is_near(find(&other, "naive", "accuracy")->candidate, 1));
    assert_string_equal(find(&other, "naive", "accuracy")->reason, "gone");
    arena_fini(&arena);
    pipeline_free(p);
}

static void shares_are_those_of_the_rows_learned_from(void **state)
{
    static const char *const names[] = {"no", "yes", NULL};
    static const struct sample_column columns[] = {{.name = "x"}};
    static const uint8_t split[ROWS] = {0, 0, 0, 0, 0, 1, 2, 2};
    static const float x[ROWS] = {0};
    char *classes[] = {(char *)"yes", (char *)"no"}; /* the model's, in another order */
    struct tmpdir dir;
    struct artifacts a;
    struct snapshot *s;
    struct model m = {.task = TASK_BINARY};
    char *digests[1], missing[DIGEST_HEX_SIZE];
    struct naive naive;
    struct arena arena = {0};
    struct err err = {0};

    (void)state;
    tmpdir_init(&dir);
    assert_int_equal(artifacts_open(tmpdir_join(&dir, "store"), &a, &err), 0);
    s = sample_snapshot_put(&a, &(struct sample_snapshot){.task = TASK_BINARY,
                                                          .classes = names,
                                                          .columns = columns,
                                                          .n_columns = 1,
                                                          .rows = ROWS,
                                                          .x = x,
                                                          .y = two,
                                                          .split = split});
    digests[0] = s->digest;
    m.shape.classes = classes;
    m.shape.n_classes = 2;
    m.snapshots = digests;
    m.n_snapshots = 1;
    naive_learn(&a, &m, &arena, &naive);
    assert_null(naive.why);
    assert_true(is_near(naive.shares[0], 0.4) && is_near(naive.shares[1], 0.6));
    naive_fini(&naive);
    digest_bytes("x", 1, missing);
    digests[0] = missing;
    naive_learn(&a, &m, &arena, &naive);
    assert_non_null(strstr(naive.why, "what it learned from cannot be read: "));
    naive_fini(&naive);
    m.n_snapshots = 0;
    naive_learn(&a, &m, &arena, &naive);
    assert_string_equal(naive.why, "none of the rows that it learned from has a label");
    naive_fini(&naive);
    snapshot_free(s);
    artifacts_close(&a);
    arena_fini(&arena);
    tmpdir_fini(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_classes_are_compared_with_their_shares_and_with_the_row_before),
        cmocka_unit_test(rows_that_are_split_by_hash_have_no_order),
        cmocka_unit_test(values_are_compared_with_the_mean_and_several_classes_with_shares),
        cmocka_unit_test(what_cannot_be_told_has_a_reason),
        cmocka_unit_test(shares_are_those_of_the_rows_learned_from),
    };

    return cmocka_run_group_tests_name("evaluate_baselines", tests, NULL, NULL);
}
