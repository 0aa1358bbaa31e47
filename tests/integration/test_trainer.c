/* relearn-trainer as the train agent starts it: results, limits, operators' trainers. */
/* time-limit: 240 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agents/train/trainer.h"
#include "common/fsx.h"
#include "common/metrics.h"
#include "common/model.h"
#include "common/profile.h"
#include "common/xgb.h"
#include "tests/support/sample_rows.h"
#include "tests/support/sample_run.h"

static const char PLAIN[] =
    "train: {params: {max_depth: 3, eta: 0.3, rounds: 12, subsample: 0.8}}\n";

static struct model *open_ok(struct sample_run *s, const char *digest)
{
    struct model *m = NULL;
    struct err err = {0};

    if (model_open(&s->artifacts, digest, &m, &err))
        fail_msg("%s", err.msg);
    return m;
}

static struct xgb *load_ok(struct sample_run *s, const struct model *m)
{
    CLEANUP(buf_fini) struct buf text = {0};
    struct err err = {0};
    struct xgb *x = NULL;

    if (artifacts_get(&s->artifacts, m->file, MODEL_MAX_FILE_BYTES, &text, &err) ||
        xgb_load(buf_slice(&text), &x, &err))
        fail_msg("%s", err.msg);
    return x;
}

static void check_profile(struct sample_run *s, const struct model *m)
{
    CLEANUP(buf_fini) struct buf text = {0};
    CLEANUP(json_freep) struct json *j = NULL;
    struct profile *p = NULL;
    struct err err = {0};

    assert_int_equal(artifacts_get(&s->artifacts, m->profile, 1 << 20, &text, &err), 0);
    j = json_parse(buf_slice(&text), "profile", &err);
    assert_int_equal(profile_from_json(j, &p, &err), 0);
    assert_int_equal(p->n_columns, SAMPLE_COLUMNS + 1);
    assert_int_equal(p->rows, m->trained_rows);
    assert_string_equal(p->columns[2].name, "x2");
    assert_true(p->columns[2].missing > 0);
    assert_string_equal(p->columns[SAMPLE_COLUMNS].name, "prediction");
    assert_int_equal(p->columns[SAMPLE_COLUMNS].category, m->task == TASK_MULTICLASS);
    assert_int_equal(p->columns[SAMPLE_COLUMNS].count,
                     180); /* valid and test rows of both snapshots */
    profile_free(p);
}

static void a_run_of_each_task_leaves_a_signed_model_with_its_profile(void **state)
{
    (void)state;
    for (enum task t = TASK_BINARY; t <= TASK_REGRESSION; t++) {
        const struct training_finished *f;
        struct sample_run s;
        struct model *m;
        struct xgb *x;

        sample_run_init(&s, t, PLAIN);
        sample_run_add(&s, 400, 1);
        sample_run_add(&s, 200, 2);
        sample_run_train(&s, sample_run_order(&s, "run1", NULL), NULL);
        assert_int_equal(s.job.r.exit_code, 0);
        f = sample_run_result(&s, "run1");
        assert_string_equal(f->status, "candidate");
        assert_null(f->reason);
        assert_int_equal(f->trained_rows, 420);
        assert_int_equal(f->valid_rows, 90);
        assert_int_equal(f->rounds, 12);
        assert_int_equal(f->trials, 1);
        assert_int_equal(f->params.n, 4);
        assert_string_equal(f->metrics.items[0].name,
                            t == TASK_REGRESSION ? "valid_rmse" : "valid_logloss");
        assert_true(f->seconds > 0 && f->max_rss_bytes > 1 << 20);
        m = open_ok(&s, f->model);
        assert_true(strlen(m->signature) == 128 && strlen(m->public_key) == 64);
        assert_int_equal(m->n_snapshots, 2);
        assert_string_equal(m->snapshots[0], s.refs[0].snapshot);
        assert_string_equal(m->shape.columns[5].name, "x5");
        check_profile(&s, m);
        x = load_ok(&s, m);
        assert_int_equal(xgb_outputs(x), t == TASK_MULTICLASS ? 3 : 1);
        xgb_free(x);
        model_free(m);
        sample_run_fini(&s);
    }
}

static void the_same_run_elsewhere_gives_the_same_digest(void **state)
{
    char digests[2][DIGEST_HEX_SIZE];

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct sample_run s;
        const char *order;

        sample_run_init(&s, TASK_BINARY,
                        "train: {params: {rounds: 10, subsample: 0.7}, search: {by: random, "
                        "trials: 3, over: {max_depth: [2, 3, 4, 5], eta: [0.1, 0.3]}}}\n");
        sample_run_add(&s, 300, 1);
        order = sample_run_order(&s, "run1", NULL);
        /* the same key, as the instances of one installation share */
        tmpdir_write_str(&s.dir, "train.key",
                         "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n");
        sample_run_train(&s, order, NULL);
        str_copy(digests[i], DIGEST_HEX_SIZE, sample_run_result(&s, "run1")->model);
        sample_run_fini(&s);
    }
    assert_string_equal(digests[0], digests[1]);
}

static void a_search_keeps_the_best_trial(void **state)
{
    const struct training_finished *f;
    struct sample_run s;
    struct model *m;

    (void)state;
    sample_run_init(
        &s, TASK_BINARY,
        "train: {params: {rounds: 3}, search: {over: {max_depth: [1, 4], eta: [0.0001, 0.5]}}}\n");
    sample_run_add(&s, 600, 1);
    sample_run_train(&s, sample_run_order(&s, "run1", NULL), NULL);
    f = sample_run_result(&s, "run1");
    assert_int_equal(f->trials, 4);
    m = open_ok(&s, f->model);
    assert_true(json_get_num(m->params, "eta", 0) == 0.5);
    assert_true(json_get_num(m->params, "rounds", 0) == 3);
    assert_non_null(strstr(job_run_lines(&s.job), "\"trial\":4,\"trials\":4"));
    model_free(m);
    sample_run_fini(&s);
}

static void a_window_of_rows_takes_the_newest(void **state)
{
    struct sample_run s;

    (void)state;
    sample_run_init(&s, TASK_BINARY, "train: {window: {rows: 100}, params: {rounds: 3}}\n");
    sample_run_add(&s, 400, 1);
    sample_run_add(&s, 200, 2);
    sample_run_train(&s, sample_run_order(&s, "run1", NULL), NULL);
    assert_int_equal(sample_run_result(&s, "run1")->trained_rows, 100);
    sample_run_fini(&s);
}

static void a_result_that_is_there_stays(void **state)
{
    struct sample_run s;
    struct err err = {0};

    (void)state;
    sample_run_init(&s, TASK_BINARY, PLAIN);
    sample_run_add(&s, 200, 1);
    assert_int_equal(artifacts_put_run(&s.artifacts, "run1",
                                       slice_str("{\"line\":\"sample\",\"run\":\"run1\",\"status\":"
                                                 "\"failed\",\"reason\":\"first\"}"),
                                       &err),
                     0);
    sample_run_train(&s, sample_run_order(&s, "run1", NULL), NULL);
    assert_int_equal(s.job.r.exit_code, 0);
    assert_string_equal(sample_run_result(&s, "run1")->reason, "first");
    sample_run_fini(&s);
}

/* ---- what goes wrong ---- */

static void what_is_missing_is_asked_for_again(void **state)
{
    CLEANUP_FREE char *path = NULL;
    struct sample_run s;
    const char *digest, *order;
    struct err err = {0};

    (void)state;
    sample_run_init(&s, TASK_BINARY, PLAIN);
    digest = sample_run_add(&s, 200, 1);
    order = sample_run_order(&s, "run1", NULL);
    path = artifacts_path(&s.artifacts, digest, &err);
    assert_int_equal(remove(path), 0);
    sample_run_train(&s, order, NULL);
    assert_int_equal(s.job.r.exit_code, TRAINER_EXIT_RETRY);
    assert_non_null(strstr(s.job.r.tail, digest));
    assert_false(sample_run_has_result(&s, "run1"));
    sample_run_fini(&s);
}

static void limits_stop_it(void **state)
{
    static const struct {
        struct job_spec limits;
        const char *says;
    } rows[] = {
        {{.wall_ms = 1500}, "time limit"},
        {{.cpu_ms = 1000}, "CPU"},
        {{.memory_bytes = 12 << 20}, "memory limit"},
    };
    struct sample_run s;

    (void)state;
    sample_run_init(&s, TASK_BINARY,
                    "train: {params: {max_depth: 8, eta: 0.01, rounds: 100000}}\n");
    sample_run_add(&s, 20000, 1);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char sentence[256];

        s.job.n_done = 0;
        sample_run_train(&s, sample_run_order(&s, "run1", NULL), &rows[i].limits);
        job_result_str(&s.job.r, &rows[i].limits, sentence, sizeof(sentence));
        print_message("%s\n", sentence);
        assert_true(s.job.r.exit_code != 0);
        assert_non_null(strstr(sentence, rows[i].says));
        assert_false(sample_run_has_result(&s, "run1"));
    }
    sample_run_fini(&s);
}

static void wrong_orders_and_words_are_errors(void **state)
{
    struct sample_run s;

    (void)state;
    sample_run_init(&s, TASK_BINARY, PLAIN);
    sample_run_train(&s, tmpdir_write_str(&s.dir, "bad.json", "{\"line\":\"sample\"}"), NULL);
    assert_int_equal(s.job.r.exit_code, 1);
    assert_string_equal(s.job.r.tail, "order: run is missing");
    sample_run_fini(&s);
}

/* ---- operators' trainers ---- */

static const char *script(struct sample_run *s, const char *name, const char *text)
{
    const char *path = tmpdir_write_str(&s->dir, name, text);

    assert_int_equal(chmod(path, 0755), 0);
    return path;
}

/* The built-in trainer in SageMaker's layout is a trainer like any other: the same model comes out.
 */
static void an_operators_trainer_is_run_for_each_trial(void **state)
{
    static const char text[] =
        "#!/bin/sh\n"
        "set -e\n"
        "test \"$SM_CHANNEL_VALIDATION\" = \"$SAGEMAKER_BASE_DIR/input/data/validation\"\n"
        "test -f \"$SM_CHANNEL_TRAIN/features.npy\"\n"
        "grep -q '\"max_depth\": \"[14]\"' \"$SM_INPUT_CONFIG_DIR/hyperparameters.json\"\n"
        "test \"$(pwd -P)\" = \"$(cd \"$SAGEMAKER_BASE_DIR\" && pwd -P)\"\n"
        "test \"$1 $2\" = 'two words'\n"
        "printf '[6]\\tvalid-logloss:0.25\\n'\n"
        "exec \"$RELEARN_TRAINER_FOR_TEST\" train\n";
    const struct training_finished *f;
    const char *command[] = {NULL, "two", "words", NULL};
    CLEANUP_FREE char *bin =
        realpath(getenv("RELEARN_BIN") ? getenv("RELEARN_BIN") : "build/bin", NULL);
    CLEANUP_FREE char *wrapped = NULL;
    struct sample_run s;
    struct model *m;

    (void)state;
    sample_run_init(&s, TASK_MULTICLASS,
                    "train: {trainer: mine, params: {rounds: 5, eta: 0.5}, search: {over: "
                    "{max_depth: [1, 4]}}}\n");
    sample_run_add(&s, 600, 1);
    wrapped = xasprintf(
        "#!/bin/sh\nexport RELEARN_TRAINER_FOR_TEST=%s/relearn-trainer\nexec /bin/sh %s \"$@\"\n",
        bin, script(&s, "trainer.sh", text));
    command[0] = script(&s, "wrapped.sh", wrapped);
    sample_run_train(&s, sample_run_order(&s, "run1", command), NULL);
    if (s.job.r.exit_code)
        fail_msg("%s", s.job.r.tail);
    f = sample_run_result(&s, "run1");
    assert_string_equal(f->trainer, "mine");
    assert_int_equal(f->trials, 2);
    m = open_ok(&s, f->model);
    assert_true(json_get_num(m->params, "max_depth", 0) == 4);
    assert_string_equal(m->format, "ubj");
    assert_true(m->shape.n_classes == 3);
    assert_non_null(strstr(job_run_lines(&s.job),
                           "\"round\":7,\"rounds\":0,\"metric\":\"valid-logloss\",\"value\":0.25"));
    model_free(m);
    sample_run_fini(&s);
}

static void what_an_operators_trainer_does_wrong_is_said(void **state)
{
    static const struct {
        const char *text, *says, *tail;
    } rows[] = {
        {"echo 'no such column' >&2; echo 'bad column' >output/failure; exit 3",
         "trainer 'mine': ", "no such column"},
        {"echo 'bad column' >output/failure; exit 3", "bad column", "bad column"},
        {"exit 0", "left neither model/model.ubj nor model/model.json", ""},
        {"echo '{\"learner\":{}}' >model/model.json", "version is missing or wrong", ""},
        {"head -c 300 /dev/zero >model/model.ubj", "neither UBJ nor JSON", ""},
        {"cp $(dirname $0)/golden.ubj model/model.ubj", "made for 4 features, not 6", ""},
        {"kill -9 $$", "signal 9", ""},
    };
    struct sample_run s;
    CLEANUP(buf_fini) struct buf golden = {0};
    struct err err = {0};

    (void)state;
    sample_run_init(&s, TASK_BINARY, "train: {trainer: mine}\n");
    sample_run_add(&s, 200, 1);
    assert_int_equal(fsx_read_file("tests/golden/xgboost/binary.ubj", 1 << 20, &golden, &err), 0);
    tmpdir_write(&s.dir, "golden.ubj", golden.data, golden.len);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP_FREE char *text = xasprintf("#!/bin/sh\n%s\n", rows[i].text);
        CLEANUP_FREE char *run = xasprintf("run%zu", i);
        const char *command[] = {script(&s, "trainer.sh", text), NULL};

        s.job.n_done = 0;
        sample_run_train(&s, sample_run_order(&s, run, command), NULL);
        print_message("%s\n", s.job.r.tail);
        assert_int_equal(s.job.r.exit_code, 1);
        assert_non_null(strstr(s.job.r.tail, rows[i].says));
        assert_non_null(strstr(s.job.r.tail, rows[i].tail));
        assert_false(sample_run_has_result(&s, run));
    }
    sample_run_fini(&s);
}

static void a_limit_ends_an_operators_trainer_too(void **state)
{
    static const char text[] = "#!/bin/sh\necho $$ >\"$(dirname $0)/pid\"\nsleep 100\n";
    const struct job_spec limits = {.wall_ms = 5000}; /* time to begin, under a sanitizer too */
    CLEANUP(buf_fini) struct buf pid = {0};
    CLEANUP_FREE char *proc = NULL;
    const char *command[] = {NULL, NULL};
    struct sample_run s;
    struct err err = {0};

    (void)state;
    sample_run_init(&s, TASK_BINARY, "train: {trainer: mine}\n");
    sample_run_add(&s, 200, 1);
    command[0] = script(&s, "trainer.sh", text);
    sample_run_train(&s, sample_run_order(&s, "run1", command), &limits);
    assert_true(s.job.r.timed_out);
    assert_int_equal(fsx_read_file(tmpdir_join(&s.dir, "pid"), 100, &pid, &err), 0);
    proc = xasprintf("/proc/%.*s/cmdline", (int)strcspn(pid.data, "\n"), pid.data);
    assert_false(fsx_exists(proc));
    sample_run_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_of_each_task_leaves_a_signed_model_with_its_profile),
        cmocka_unit_test(the_same_run_elsewhere_gives_the_same_digest),
        cmocka_unit_test(a_search_keeps_the_best_trial),
        cmocka_unit_test(a_window_of_rows_takes_the_newest),
        cmocka_unit_test(a_result_that_is_there_stays),
        cmocka_unit_test(what_is_missing_is_asked_for_again),
        cmocka_unit_test(limits_stop_it),
        cmocka_unit_test(wrong_orders_and_words_are_errors),
        cmocka_unit_test(an_operators_trainer_is_run_for_each_trial),
        cmocka_unit_test(what_an_operators_trainer_does_wrong_is_said),
        cmocka_unit_test(a_limit_ends_an_operators_trainer_too),
    };

    return cmocka_run_group_tests_name("trainer", tests, NULL, NULL);
}
