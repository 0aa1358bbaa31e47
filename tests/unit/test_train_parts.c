/* The train agent's pure parts: trials, orders, progress, operators' trainers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "agents/train/commands.h"
#include "agents/train/fit.h"
#include "agents/train/order.h"
#include "agents/train/progress.h"
#include "agents/train/trials.h"
#include "common/codec.h"
#include "tests/support/tmpdir.h"

static struct pipeline *pipeline(const char *more)
{
    CLEANUP(buf_fini) struct buf yaml = {0};
    struct pipeline *p = NULL;
    struct err err = {0};

    buf_addf(&yaml,
             "apiVersion: relearn/v1\nkind: Pipeline\nname: p\ndataset: {name: d, label: y}\ntask: "
             "binary\n%s",
             more);
    if (pipeline_parse(buf_slice(&yaml), "p", &p, &err))
        fail_msg("%s", err.msg);
    return p;
}

/* "eta=0.1 max_depth=4|..." */
static const char *text_of(const struct trials *t, struct arena *arena)
{
    CLEANUP(buf_fini) struct buf out = {0};

    for (size_t i = 0; i < t->n; i++)
        for (size_t k = 0; k < t->items[i].n; k++)
            buf_addf(&out, "%s=%s%s", t->items[i].params[k].name, t->items[i].params[k].text,
                     k + 1 < t->items[i].n ? " " : "|");
    return arena_strndup(arena, out.data, out.len);
}

/* ---- trials ---- */

static void without_a_search_there_is_one_trial(void **state)
{
    struct pipeline *p = pipeline("train: {params: {max_depth: 6, eta: 0.1}}");
    struct arena arena = {0};
    struct trials t;

    (void)state;
    trials_of(p, 1, &arena, &t);
    assert_string_equal(text_of(&t, &arena), "max_depth=6 eta=0.1|");
    fit_defaults(&t, &arena);
    assert_string_equal(text_of(&t, &arena), "max_depth=6 eta=0.1 rounds=50|");
    arena_fini(&arena);
    pipeline_free(p);
}

static void an_alias_stands_in_for_a_default(void **state)
{
    struct pipeline *p = pipeline("train: {params: {learning_rate: 0.3, rounds: 9}}");
    struct arena arena = {0};
    struct trials t;

    (void)state;
    trials_of(p, 1, &arena, &t);
    fit_defaults(&t, &arena);
    assert_string_equal(text_of(&t, &arena), "learning_rate=0.3 rounds=9 max_depth=4|");
    arena_fini(&arena);
    pipeline_free(p);
}

static void a_grid_has_every_point_and_the_last_axis_runs_fastest(void **state)
{
    struct pipeline *p = pipeline("train: {params: {max_depth: 9, gamma: 1}, search: {over: "
                                  "{max_depth: [4, 6], eta: [0.1, 0.2, 0.3]}}}");
    struct arena arena = {0};
    struct trials t;

    (void)state;
    trials_of(p, 1, &arena, &t);
    assert_string_equal(
        text_of(&t, &arena),
        "max_depth=4 gamma=1 eta=0.1|max_depth=4 gamma=1 eta=0.2|max_depth=4 gamma=1 eta=0.3|"
        "max_depth=6 gamma=1 eta=0.1|max_depth=6 gamma=1 eta=0.2|max_depth=6 gamma=1 eta=0.3|");
    arena_fini(&arena);
    pipeline_free(p);
}

static void random_points_differ_and_follow_from_the_seed(void **state)
{
    struct pipeline *p = pipeline("train: {search: {by: random, trials: 20, over: {max_depth: [1, "
                                  "2, 3, 4, 5], eta: [0.1, 0.2, 0.3, 0.4, 0.5], gamma: [0, 1]}}}");
    struct trials first, again, other;
    struct arena arena = {0};

    (void)state;
    trials_of(p, 7, &arena, &first);
    trials_of(p, 7, &arena, &again);
    trials_of(p, 8, &arena, &other);
    assert_int_equal(first.n, 20);
    assert_string_equal(text_of(&first, &arena), text_of(&again, &arena));
    assert_string_not_equal(text_of(&first, &arena), text_of(&other, &arena));
    for (size_t i = 0; i < first.n; i++)
        for (size_t j = 0; j < i; j++) {
            struct trials a = {&first.items[i], 1}, b = {&first.items[j], 1};

            assert_string_not_equal(text_of(&a, &arena), text_of(&b, &arena));
        }
    arena_fini(&arena);
    pipeline_free(p);
}

static void a_random_search_of_more_trials_than_points_is_the_grid(void **state)
{
    struct pipeline *p =
        pipeline("train: {search: {by: random, trials: 20, over: {eta: [0.1, 0.2]}}}");
    struct arena arena = {0};
    struct trials t;

    (void)state;
    trials_of(p, 7, &arena, &t);
    assert_string_equal(text_of(&t, &arena), "eta=0.1|eta=0.2|");
    arena_fini(&arena);
    pipeline_free(p);
}

static void the_lower_score_is_better_and_none_is_worst(void **state)
{
    (void)state;
    assert_true(trial_is_better(0.1, 0.2));
    assert_false(trial_is_better(0.2, 0.2));
    assert_true(trial_is_better(0.2, NAN));
    assert_false(trial_is_better(NAN, 0.2));
    assert_false(trial_is_better(NAN, NAN));
}

/* ---- orders and results ---- */

static void an_order_is_read_back(void **state)
{
    static const struct snapshot_ref refs[] = {{"aa", "e1", 10}, {"bb", NULL, 20}};
    static const char *const words[] = {"/bin/x", "a b", ""};
    const struct order o = {.line = "p/s",
                            .run = "r1",
                            .instance = "train-1",
                            .pipeline_sha256 = "ff",
                            .attempt = 3,
                            .snapshots = {refs, 2},
                            .artifacts = "/store",
                            .key = "/key",
                            .folder = "/f",
                            .trainer = "mine",
                            .command = {words, 3},
                            .threads = 2};
    struct json *j = order_to_json(&o);
    struct arena arena = {0};
    struct err err = {0};
    struct order back;

    (void)state;
    assert_int_equal(order_from_json(j, &arena, &back, &err), 0);
    assert_string_equal(back.line, "p/s");
    assert_int_equal(back.attempt, 3);
    assert_int_equal(back.snapshots.n, 2);
    assert_string_equal(back.snapshots.items[1].snapshot, "bb");
    assert_null(back.snapshots.items[1].event);
    assert_int_equal(back.snapshots.items[1].rows, 20);
    assert_string_equal(back.command.items[1], "a b");
    assert_int_equal(back.threads, 2);
    json_free(j);
    arena_fini(&arena);
}

static void an_order_with_a_gap_is_refused(void **state)
{
    static const char whole[] =
        "{\"line\":\"l\",\"run\":\"r\",\"instance\":\"i\",\"pipeline_sha256\":\"p\",\"artifacts\":"
        "\"a\","
        "\"key\":\"k\",\"folder\":\"f\",\"trainer\":\"t\",\"snapshots\":[]}";
    const char *texts[] = {"{}", "{\"line\":\"l\",\"run\":7}", whole};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct json *j = json_parse(slice_str(texts[i]), "order", NULL);
        struct arena arena = {0};
        struct err err = {0};
        struct order o;

        assert_int_equal(order_from_json(j, &arena, &o, &err), -1);
        assert_non_null(strstr(err.msg, "order: "));
        json_free(j);
        arena_fini(&arena);
    }
}

static void a_result_is_read_back_as_the_record(void **state)
{
    static const struct snapshot_ref refs[] = {{"aa", "e1", 10}};
    static const struct named_value params[] = {{"eta", 0.1}, {"bad", (double)NAN}};
    const struct training_finished f = {.line = "p",
                                        .run = "r",
                                        .attempt = 2,
                                        .status = "candidate",
                                        .model = "mm",
                                        .trainer = "xgboost",
                                        .pipeline_sha256 = "ff",
                                        .snapshots = {refs, 1},
                                        .trained_rows = 7,
                                        .rounds = 5,
                                        .trials = 1,
                                        .params = {params, 2},
                                        .seconds = 1.5,
                                        .instance = "i"};
    struct json *j = result_to_json(&f);
    const struct training_finished *back;
    struct arena arena = {0};
    struct err err = {0};
    const void *rec = NULL;

    (void)state;
    if (codec_from_json(RECORD_TRAINING_FINISHED, j, &arena, &rec, &err))
        fail_msg("%s", err.msg);
    back = rec;
    assert_string_equal(back->model, "mm");
    assert_null(back->reason);
    assert_int_equal(back->snapshots.n, 1);
    assert_int_equal(back->params.n, 1); /* what is not finite is no figure */
    assert_true(back->seconds == 1.5);
    json_free(j);
    arena_fini(&arena);
}

/* ---- progress ---- */

static void lines_of_other_trainers_are_understood(void **state)
{
    static const struct {
        const char *line, *metric;
        bool is_progress;
        int64_t round;
        double value;
    } rows[] = {
        {"[12]\tvalid-logloss:0.43303", "valid-logloss", true, 13, 0.43303},
        {"[0]#011train-auc:0.9#011valid-auc:0.8", "valid-auc", true, 1, 0.8},
        {"loss=0.25; accuracy=0.75;", "accuracy", true, 0, 0.75},
        {"validation:rmse: 3", "rmse", true, 0, 3},
        {"[12] starting", "", true, 13, 0},
        {"loading data", "", false, 0, 0},
        {"path=/tmp/x", "", false, 0, 0},
        {"[x]", "", false, 0, 0},
        {"[9223372036854775807]\tx:1", "", false, 0, 0}, /* nothing comes after it */
        {"", "", false, 0, 0},
        {"x=nan", "", false, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct progress p = {.value = NAN};

        print_message("%s\n", rows[i].line);
        assert_int_equal(progress_scrape(rows[i].line, &p), rows[i].is_progress);
        if (!rows[i].is_progress)
            continue;
        assert_int_equal(p.round, rows[i].round);
        assert_string_equal(p.metric, rows[i].metric);
        if (rows[i].metric[0])
            assert_true(p.value == rows[i].value);
    }
}

static void own_lines_are_read_back_and_others_passed_over(void **state)
{
    struct progress p = {0};

    (void)state;
    assert_true(progress_parse("{\"phase\":\"training\",\"trial\":2,\"trials\":8,\"round\":10,"
                               "\"rounds\":50,\"metric\":\"logloss\",\"value\":0.5}",
                               &p));
    assert_string_equal(p.phase, "training");
    assert_int_equal(p.trials, 8);
    assert_true(p.value == 0.5);
    assert_true(progress_parse("{\"phase\":\"saving\"}", &p));
    assert_true(isnan(p.value) && !p.metric[0]);
    assert_false(progress_parse("{\"round\":1}", &p));
    assert_false(progress_parse("{\"phase\":", &p));
    assert_false(progress_parse("hello", &p));
}

/* ---- commands ---- */

static void trainers_are_words_without_a_shell(void **state)
{
    CLEANUP(buf_fini) struct buf names = {0};
    struct commands c = {0};
    struct err err = {0};

    (void)state;
    assert_int_equal(commands_add(&c, "mine=/usr/bin/python3  /opt/t.py --x=1 $(id)\t;rm", &err),
                     0);
    assert_int_equal(commands_find(&c, "mine")->n, 5);
    assert_string_equal(commands_find(&c, "mine")->items[2], "--x=1");
    assert_string_equal(commands_find(&c, "mine")->items[3], "$(id)");
    assert_null(commands_find(&c, "xgboost"));
    commands_names(&c, &names);
    assert_string_equal(names.data, "xgboost, mine");
    commands_fini(&c);
}

static void wrong_trainers_are_refused(void **state)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"mine", "say NAME=/path/to/command"},
        {"=x", "say NAME="},
        {"mine=", "say NAME="},
        {"Mine=/x", "say NAME="},
        {"mine=python3 x", "must be a path from the root"},
        {"xgboost=/bin/x", "is there already"},
    };
    struct commands c = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = {0};

        assert_int_equal(commands_add(&c, rows[i].text, &err), -1);
        assert_non_null(strstr(err.msg, rows[i].says));
    }
    commands_fini(&c);
}

static void a_file_of_trainers_names_its_wrong_line(void **state)
{
    struct commands c = {0};
    struct err err = {0};
    struct tmpdir dir;

    (void)state;
    tmpdir_init(&dir);
    assert_int_equal(
        commands_add_file(&c, tmpdir_write_str(&dir, "ok", "# mine\n\na=/bin/a x\r\n  b=/bin/b"),
                          &err),
        0);
    assert_int_equal(commands_find(&c, "a")->n, 2);
    assert_string_equal(commands_find(&c, "a")->items[1], "x");
    assert_non_null(commands_find(&c, "b"));
    assert_int_equal(
        commands_add_file(&c, tmpdir_write_str(&dir, "bad", "c=/bin/c\n\nb=/bin/b\n"), &err), -1);
    assert_non_null(strstr(err.msg, "bad:3: trainer 'b' is there already"));
    assert_int_equal(commands_add_file(&c, tmpdir_join(&dir, "none"), &err), -1);
    commands_fini(&c);
    tmpdir_fini(&dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_search_there_is_one_trial),
        cmocka_unit_test(an_alias_stands_in_for_a_default),
        cmocka_unit_test(a_grid_has_every_point_and_the_last_axis_runs_fastest),
        cmocka_unit_test(random_points_differ_and_follow_from_the_seed),
        cmocka_unit_test(a_random_search_of_more_trials_than_points_is_the_grid),
        cmocka_unit_test(the_lower_score_is_better_and_none_is_worst),
        cmocka_unit_test(an_order_is_read_back),
        cmocka_unit_test(an_order_with_a_gap_is_refused),
        cmocka_unit_test(a_result_is_read_back_as_the_record),
        cmocka_unit_test(lines_of_other_trainers_are_understood),
        cmocka_unit_test(own_lines_are_read_back_and_others_passed_over),
        cmocka_unit_test(trainers_are_words_without_a_shell),
        cmocka_unit_test(wrong_trainers_are_refused),
        cmocka_unit_test(a_file_of_trainers_names_its_wrong_line),
    };

    return cmocka_run_group_tests_name("train_parts", tests, NULL, NULL);
}
