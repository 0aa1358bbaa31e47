/* Which rows are compared, and whole evaluations on models and snapshots in a store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "agents/evaluate/evaluation.h"
#include "agents/evaluate/rows.h"
#include "common/model.h"
#include "common/xgb.h"
#include "tests/support/sample_rows.h"
#include "tests/support/sample_snapshot.h"
#include "tests/support/tmpdir.h"

struct fixture {
    struct tmpdir dir;
    struct artifacts a;
    struct arena arena;
};

static int setup(void **state)
{
    static struct fixture f;
    struct err err = {0};

    f = (struct fixture){0};
    tmpdir_init(&f.dir);
    if (artifacts_open(tmpdir_join(&f.dir, "store"), &f.a, &err))
        fail_msg("%s", err.msg);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    artifacts_close(&f->a);
    arena_fini(&f->arena);
    tmpdir_fini(&f->dir);
    return 0;
}

/* 70 % train, 10 % valid, 20 % test, in order; row i has the hash first + i. */
static const char *put_snapshot(struct fixture *f, enum task task, size_t rows, uint64_t seed,
                                uint64_t first, const char *const *classes)
{
    static const char *const two[] = {"a", "b", NULL}, *const three[] = {"a", "b", "c", NULL};
    static const struct sample_column columns[SAMPLE_COLUMNS] = {{.name = "x0"}, {.name = "x1"},
                                                                 {.name = "x2"}, {.name = "x3"},
                                                                 {.name = "x4"}, {.name = "x5"}};
    CLEANUP_FREE uint8_t *split = xcalloc(rows, sizeof(*split));
    struct sample_rows sample;
    struct snapshot *s;
    const char *digest;

    sample_rows_init(&sample, task, rows, 0, seed);
    for (size_t i = 0; i < rows; i++)
        split[i] = i * 10 < rows * 7 ? ROW_TRAIN : i * 10 < rows * 8 ? ROW_VALID : ROW_TEST;
    s = sample_snapshot_put(&f->a, &(struct sample_snapshot){
                                       .task = task,
                                       .classes = classes                   ? classes
                                                  : task == TASK_BINARY     ? two
                                                  : task == TASK_MULTICLASS ? three
                                                                            : NULL,
                                       .columns = columns,
                                       .n_columns = SAMPLE_COLUMNS,
                                       .rows = rows,
                                       .x = sample.train.x,
                                       .y = sample.train.y,
                                       .split = split,
                                       .first_hash = first,
                                   });
    digest = arena_strdup(&f->arena, s->digest);
    snapshot_free(s);
    sample_rows_fini(&sample);
    return digest;
}

static char **copy_strings(char *const *items, size_t n)
{
    char **copy = xcalloc(n + 1, sizeof(*copy));

    for (size_t i = 0; i < n; i++)
        copy[i] = xstrdup(items[i]);
    return copy;
}

/* A model trained on the training rows of some snapshots; its digest. */
static const char *put_model(struct fixture *f, enum task task, const char *const *digests,
                             size_t n, int rounds)
{
    struct snapshot *snapshots[4] = {NULL};
    struct model *m = xcalloc(1, sizeof(*m));
    CLEANUP(buf_fini) struct buf text = {0};
    struct xgb_params p = {.rounds = rounds, .threads = 1};
    struct matrix train = {0};
    struct err err = {0};
    const char *digest;
    double best;
    int kept;

    for (size_t i = 0; i < n; i++)
        if (snapshot_open(&f->a, digests[i], &snapshots[i], &err))
            fail_msg("%s", err.msg);
    if (matrix_load(&f->a, snapshots, n, ROW_TRAIN, 0, NULL, &train, &err) ||
        xgb_train(&train, NULL, task, &p, NULL, NULL, &text, &kept, &best, &err) ||
        artifacts_put(&f->a, text.data, text.len, m->file, &err))
        fail_msg("%s", err.msg);
    m->line = xstrdup("p");
    m->run = xstrdup("r");
    m->pipeline = xstrdup("p");
    m->pipeline_sha256 = xstrdup("ff");
    m->trainer = xstrdup("xgboost");
    m->format = xstrdup("ubj");
    m->task = task;
    m->file_bytes = (int64_t)text.len;
    m->shape.n_columns = train.n_columns;
    m->shape.columns = TAKE(train.columns);
    m->shape.n_classes = train.n_classes;
    m->shape.classes = TAKE(train.classes);
    m->snapshots = copy_strings((char *const *)(uintptr_t)digests, n);
    m->n_snapshots = n;
    if (model_put(&f->a, m, NULL, &err))
        fail_msg("%s", err.msg);
    digest = arena_strdup(&f->arena, m->digest);
    train.n_columns = train.n_classes = 0;
    matrix_fini(&train);
    model_free(m);
    for (size_t i = 0; i < n; i++)
        snapshot_free(snapshots[i]);
    return digest;
}

static struct model *open_ok(struct fixture *f, const char *digest)
{
    struct model *m = NULL;
    struct err err = {0};

    if (model_open(&f->a, digest, &m, &err))
        fail_msg("%s", err.msg);
    return m;
}

/* ---- rows ---- */

static void rows_of(struct fixture *f, const char *const *tests, size_t n, const char *candidate,
                    const char *champion, struct test_rows *ret)
{
    struct model *a = open_ok(f, candidate), *b = champion ? open_ok(f, champion) : NULL;
    struct err err = {0};

    if (rows_load(&f->a, (char *const *)(uintptr_t)tests, n, a, b, ret, &err))
        fail_msg("%s", err.msg);
    model_free(a);
    model_free(b);
}

static void all_test_rows_are_taken_when_no_row_is_repeated(void **state)
{
    struct fixture *f = *state;
    const char *digests[] = {put_snapshot(f, TASK_BINARY, 100, 1, 1000, NULL),
                             put_snapshot(f, TASK_BINARY, 50, 2, 2000, NULL)};
    const char *candidate = put_model(f, TASK_BINARY, digests, 2, 2),
               *champion = put_model(f, TASK_BINARY, digests, 1, 2);
    struct test_rows rows;

    rows_of(f, digests, 2, candidate, champion, &rows);
    assert_int_equal(rows.candidate.rows, 30);
    assert_int_equal(rows.champion.rows, 30);
    assert_int_equal(rows.left_out, 0);
    assert_int_equal(rows.candidate.hash[0], 1080);
    assert_memory_equal(rows.candidate.hash, rows.champion.hash, 30 * sizeof(uint64_t));
    rows_fini(&rows);
    rows_of(f, digests + 1, 1, candidate, NULL, &rows);
    assert_int_equal(rows.candidate.rows, 10);
    assert_int_equal(rows.champion.rows, 0);
    rows_fini(&rows);
}

static void rows_that_were_learned_elsewhere_are_left_out(void **state)
{
    struct fixture *f = *state;
    /* rows 1000..1099, tests 1080..1099; then the same published again with 50 more: 1000..1149,
     * tests 1120..1149 */
    const char *digests[] = {put_snapshot(f, TASK_BINARY, 100, 1, 1000, NULL),
                             put_snapshot(f, TASK_BINARY, 150, 1, 1000, NULL)};
    const char *candidate = put_model(f, TASK_BINARY, digests, 2, 2);
    struct test_rows rows;

    rows_of(f, digests, 2, candidate, NULL, &rows);
    assert_int_equal(rows.left_out, 20); /* the first one's tests are learned from in the second */
    assert_int_equal(rows.candidate.rows, 30);
    for (size_t i = 0; i < 30; i++)
        assert_int_equal(rows.candidate.hash[i], 1120 + i);
    rows_fini(&rows);
}

static void what_the_champion_learned_is_left_out_for_both(void **state)
{
    struct fixture *f = *state;
    const char *fresh[] = {put_snapshot(f, TASK_BINARY, 100, 1, 1000, NULL)};
    const char *old[] = {put_snapshot(f, TASK_BINARY, 100, 2, 1030, NULL)}; /* learned 1030..1109 */
    const char *candidate = put_model(f, TASK_BINARY, fresh, 1, 2),
               *champion = put_model(f, TASK_BINARY, old, 1, 2);
    struct test_rows rows;

    rows_of(f, fresh, 1, candidate, champion, &rows);
    assert_int_equal(rows.left_out, 20);
    assert_int_equal(rows.candidate.rows, 0);
    assert_int_equal(rows.champion.rows, 0);
    rows_fini(&rows);
}

static void a_row_of_two_test_splits_counts_once(void **state)
{
    struct fixture *f = *state;
    const char *digests[] = {put_snapshot(f, TASK_BINARY, 100, 1, 1000, NULL),
                             put_snapshot(f, TASK_BINARY, 100, 2, 1010, NULL)};
    const char *other[] = {put_snapshot(f, TASK_BINARY, 100, 3, 9000, NULL)};
    const char *candidate = put_model(f, TASK_BINARY, other, 1, 2);
    struct test_rows rows;

    rows_of(f, digests, 2, candidate, NULL, &rows); /* tests 1080..1099 and 1090..1109 */
    assert_int_equal(rows.left_out, 10);
    assert_int_equal(rows.candidate.rows, 30);
    rows_fini(&rows);
}

static void rows_that_are_alike_by_nature_are_kept(void **state)
{
    struct fixture *f = *state;
    static const struct sample_column column[] = {{.name = "x0"}};
    static const char *const classes[] = {"a", "b", NULL};
    struct snapshot *s[2];
    const char *digests[2];
    float x[100], y[100];
    uint8_t split[100];
    struct test_rows rows;

    for (int i = 0; i < 100; i++) {
        x[i] = (float)(i % 2);
        y[i] = (float)(i % 2);
        split[i] = i < 80 ? ROW_TRAIN : ROW_TEST;
    }
    for (int k = 0; k < 2; k++) {
        uint64_t hash[100];
        CLEANUP_FREE char *tmp = NULL;
        struct err err = {0};

        s[k] = sample_snapshot_put(&f->a, &(struct sample_snapshot){.task = TASK_BINARY,
                                                                    .classes = classes,
                                                                    .columns = column,
                                                                    .n_columns = 1,
                                                                    .rows = 100,
                                                                    .x = x,
                                                                    .y = y,
                                                                    .split = split,
                                                                    .first_hash = (uint64_t)k});
        for (int i = 0; i < 100; i++)
            hash[i] = (uint64_t)(i % 2); /* equal rows have equal hashes; 0 is one too */
        tmp = artifacts_tmp(&f->a, "hash", &err);
        assert_int_equal(npy_write(tmp, NPY_U64, 1, 100, 1, hash, &err), 0);
        assert_int_equal(artifacts_put_file(&f->a, tmp, s[k]->row_hash, &err), 0);
        free(s[k]->version);
        s[k]->version = xasprintf("v%d", k);
        assert_int_equal(snapshot_put(&f->a, s[k], &err), 0);
        digests[k] = arena_strdup(&f->arena, s[k]->digest);
        snapshot_free(s[k]);
    }
    rows_of(f, digests, 2, put_model(f, TASK_BINARY, digests, 2, 1), NULL, &rows);
    assert_int_equal(rows.left_out, 0);
    assert_int_equal(rows.candidate.rows, 40);
    rows_fini(&rows);
}

/* ---- evaluations ---- */

static struct pipeline *pipeline_with(enum task task, const char *more)
{
    CLEANUP(buf_fini) struct buf yaml = {0};
    struct pipeline *p = NULL;
    struct err err = {0};

    buf_addf(&yaml,
             "apiVersion: relearn/v1\nkind: Pipeline\nname: p\ndataset: {name: d, label: y}\ntask: "
             "%s\nevaluate: {bootstrap_rounds: 50%s",
             task_str(task), more);
    if (pipeline_parse(buf_slice(&yaml), "p", &p, &err))
        fail_msg("%s", err.msg);
    return p;
}

static struct pipeline *pipeline(enum task task)
{
    return pipeline_with(task, "}");
}

static const struct evaluation_metric *metric_of(const struct evaluation *e, const char *name)
{
    for (size_t i = 0; i < e->rec.metrics.n; i++)
        if (strcmp(e->rec.metrics.items[i].metric, name) == 0)
            return &e->rec.metrics.items[i];
    fail_msg("no %s", name);
    return NULL;
}

static struct evaluation evaluation(struct fixture *f, const struct pipeline *p,
                                    const char *const *snapshots, size_t n, const char *candidate,
                                    const char *champion)
{
    return (struct evaluation){.artifacts = &f->a,
                               .pipeline = p,
                               .line = "p",
                               .run = "run1",
                               .model = candidate,
                               .model_event = "ev1",
                               .snapshots = {snapshots, n},
                               .against = champion ? 3 : 0,
                               .champion = champion};
}

static void a_better_model_is_seen_to_be_better(void **state)
{
    struct fixture *f = *state;

    for (enum task t = TASK_BINARY; t <= TASK_REGRESSION; t++) {
        const char *digests[] = {put_snapshot(f, t, 600, 1, 1000, NULL),
                                 put_snapshot(f, t, 600, 2, 3000, NULL)};
        const char *good = put_model(f, t, digests, 2, 30), *bad = put_model(f, t, digests, 1, 1);
        const char *name = t == TASK_REGRESSION ? "rmse" : "logloss";
        struct pipeline *p = pipeline(t);
        struct evaluation e = evaluation(f, p, digests, 2, good, bad);
        const struct evaluation_metric *m;

        evaluation_run(&e);
        if (e.rc)
            fail_msg("%s", e.err.msg);
        assert_string_equal(e.rec.status, "evaluated");
        assert_string_equal(e.rec.model, good);
        assert_string_equal(e.rec.champion, bad);
        assert_int_equal(e.rec.against, 3);
        assert_int_equal(e.rec.rows, 240);
        assert_int_equal(e.rec.snapshots.n, 2);
        assert_string_equal(e.rec.snapshots.items[0], digests[1]); /* newest first */
        m = metric_of(&e, name);
        assert_true(m->high < 0 && m->candidate < m->champion);
        assert_true(e.rec.seconds > 0 && e.rec.seed >= 0);
        assert_string_equal(e.rec.baselines.items[0].name, "naive");
        assert_true(isfinite(e.rec.baselines.items[0].difference));
        evaluation_fini(&e);
        e = evaluation(f, p, digests, 2, good, NULL);
        evaluation_run(&e);
        assert_int_equal(e.rc, 0);
        assert_true(isnan(metric_of(&e, name)->champion) && metric_of(&e, name)->low > 0);
        evaluation_fini(&e);
        pipeline_free(p);
    }
}

static void classes_are_matched_by_name(void **state)
{
    static const char *const swapped[] = {"b", "a", NULL};
    struct fixture *f = *state;
    const char *digests[] = {put_snapshot(f, TASK_BINARY, 600, 1, 1000, NULL)},
               *other[] = {put_snapshot(f, TASK_BINARY, 600, 1, 9000, swapped)};
    const char *candidate = put_model(f, TASK_BINARY, digests, 1, 20),
               *champion = put_model(f, TASK_BINARY, other, 1, 20);
    struct pipeline *p = pipeline(TASK_BINARY);
    struct evaluation e = evaluation(f, p, digests, 1, candidate, champion);

    evaluation_run(&e); /* the champion was taught the opposite of everything */
    assert_int_equal(e.rc, 0);
    assert_true(metric_of(&e, "accuracy")->candidate > 0.8);
    assert_true(metric_of(&e, "accuracy")->champion < 0.2);
    evaluation_fini(&e);
    pipeline_free(p);
}

static void a_champion_of_another_task_is_no_baseline(void **state)
{
    struct fixture *f = *state;
    const char *digests[] = {put_snapshot(f, TASK_BINARY, 300, 1, 1000, NULL)},
               *other[] = {put_snapshot(f, TASK_REGRESSION, 300, 1, 9000, NULL)};
    struct pipeline *p = pipeline(TASK_BINARY);
    struct evaluation e = evaluation(f, p, digests, 1, put_model(f, TASK_BINARY, digests, 1, 5),
                                     put_model(f, TASK_REGRESSION, other, 1, 5));

    evaluation_run(&e);
    assert_int_equal(e.rc, 0);
    assert_string_equal(metric_of(&e, "logloss")->undefined, "champion: it is for another task");
    evaluation_fini(&e);
    pipeline_free(p);
}

static void what_cannot_be_evaluated_is_said(void **state)
{
    struct fixture *f = *state;
    const char *digests[] = {put_snapshot(f, TASK_BINARY, 100, 1, 1000, NULL)};
    const char *candidate = put_model(f, TASK_BINARY, digests, 1, 2);
    struct pipeline *p = pipeline(TASK_BINARY);
    struct model *m = open_ok(f, candidate);
    char missing[DIGEST_HEX_SIZE];
    struct evaluation e;
    struct err err = {0};

    digest_bytes("x", 1, missing);
    e = evaluation(f, p, digests, 1, missing, NULL);
    evaluation_run(&e);
    assert_int_equal(e.rc, -1);
    assert_int_equal(e.err.next, NEXT_RETRY); /* it may come */
    evaluation_fail(&e, e.err.msg);
    assert_int_equal(e.rc, 0);
    assert_string_equal(e.rec.status, "failed");
    assert_null(e.rec.model);
    assert_string_equal(e.rec.model_event, "ev1");
    assert_non_null(strstr(e.rec.reason, "model "));
    evaluation_fini(&e);
    assert_int_equal(artifacts_put(&f->a, "not a model", 11, m->file, &err), 0);
    assert_int_equal(model_put(&f->a, m, NULL, &err), 0);
    e = evaluation(f, p, digests, 1, m->digest, NULL);
    evaluation_run(&e);
    assert_int_equal(e.rc, -1);
    assert_int_equal(e.err.next, NEXT_REJECT);
    evaluation_fini(&e);
    model_free(m);
    pipeline_free(p);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
static const struct evaluation_baseline *beside(const struct evaluation *e, const char *name)
{
    for (size_t i = 0; i < e->rec.baselines.n; i++)
        if (strcmp(e->rec.baselines.items[i].name, name) == 0)
            return &e->rec.baselines.items[i];
    fail_msg("nothing is beside %s", name);
    return NULL;
}

static void what_rules_name_is_measured_beside_the_champion(void **state)
{
    struct fixture *f = *state;
    const char *digests[] = {put_snapshot(f, TASK_BINARY, 600, 1, 1000, NULL)},
               *pinned[] = {put_snapshot(f, TASK_BINARY, 300, 2, 9000, NULL)};
    const char *candidate = put_model(f, TASK_BINARY, digests, 1, 10),
               *champion = put_model(f, TASK_BINARY, digests, 1, 2),
               *better = put_model(f, TASK_BINARY, digests, 1, 40),
               *past[] = {put_model(f, TASK_BINARY, digests, 1, 1), better};
    CLEANUP(buf_fini) struct buf more = {0};
    struct pipeline *p;
    struct evaluation e;

    buf_addf(&more,
             ", metrics: [logloss], golden: %s}\ngate: {rules: ["
             "{metric: logloss, better_than: golden}, {metric: logloss, better_than: best}, "
             "{metric: logloss, better_than: last_good, by_interval: true}]}",
             pinned[0]);
    p = pipeline_with(TASK_BINARY, more.data);
    e = evaluation(f, p, digests, 1, candidate, champion);
    e.past = (struct string_list){past, 2};
    evaluation_run(&e);
    assert_int_equal(e.rc, 0);
    assert_int_equal(beside(&e, "golden")->rows, 60);
    assert_string_equal(beside(&e, "golden")->model, champion);
    assert_true(isfinite(beside(&e, "golden")->difference));
    assert_true(beside(&e, "golden")->candidate != metric_of(&e, "logloss")->candidate);
    assert_string_equal(beside(&e, "last_good")->model, past[0]);
    assert_true(beside(&e, "last_good")->candidate == metric_of(&e, "logloss")->candidate);
    assert_true(beside(&e, "last_good")->high < 0); /* one tree against ten */
    assert_string_equal(beside(&e, "best")->model, better);
    assert_true(isnan(beside(&e, "best")->high)); /* its rule is by point */
    evaluation_fini(&e);

    e = evaluation(f, p, digests, 1, candidate, NULL); /* the first of its line */
    evaluation_run(&e);
    assert_int_equal(e.rc, 0);
    assert_string_equal(beside(&e, "golden")->reason, "no model is in service");
    assert_string_equal(beside(&e, "last_good")->reason, "no other model has served");
    assert_string_equal(beside(&e, "best")->reason, "no model is in service, and none has been");
    assert_true(isnan(beside(&e, "best")->value) && isfinite(beside(&e, "best")->candidate));
    evaluation_fini(&e);

    e = evaluation(f, p, digests, 1, candidate, champion);
    past[0] = digests[0]; /* no model */
    e.past = (struct string_list){past, 1};
    evaluation_run(&e);
    assert_int_equal(e.rc, 0);
    assert_non_null(beside(&e, "last_good")->reason);
    assert_true(isnan(beside(&e, "last_good")->difference));
    assert_string_equal(beside(&e, "best")->model, champion);
    evaluation_fini(&e);
    pipeline_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_test_rows_are_taken_when_no_row_is_repeated),
        TEST(rows_that_were_learned_elsewhere_are_left_out),
        TEST(what_the_champion_learned_is_left_out_for_both),
        TEST(a_row_of_two_test_splits_counts_once),
        TEST(rows_that_are_alike_by_nature_are_kept),
        TEST(a_better_model_is_seen_to_be_better),
        TEST(classes_are_matched_by_name),
        TEST(a_champion_of_another_task_is_no_baseline),
        TEST(what_cannot_be_evaluated_is_said),
        TEST(what_rules_name_is_measured_beside_the_champion),
    };

    return cmocka_run_group_tests_name("evaluate_rows", tests, NULL, NULL);
}
