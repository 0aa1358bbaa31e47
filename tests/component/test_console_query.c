/* What the console says about the story of tests/support/console_story.h, and that it says the same
 * when its folder was deleted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/store.h"
#include "tests/support/console_story.h"
#include "tests/support/fakebus/fake_bus.c"

static int setup(void **state)
{
    console_bench_setup(state);
    console_bench_pipeline(*state, "p");
    console_story(*state);
    return 0;
}

static const struct json *get(struct console_bench *b, const char *path)
{
    struct console_reply r = console_get(b, path);
    if (r.status != 200 || !r.json)
        fail_msg("%s: %d %s", path, r.status, r.text);
    return r.json;
}

static void expect_error(struct console_bench *b, const char *path, int status, const char *part)
{
    struct console_reply r = console_get(b, path);
    if (r.status != status || !strstr(json_get_str(r.json, "error", ""), part))
        fail_msg("%s: got %d '%s', expected %d '...%s...'", path, r.status, r.text, status, part);
}

static const char *text(const struct json *j, const char *key)
{
    return json_get_str(j, key, "(none)");
}

/* The members `key` of a list, with blanks between. */
static const char *column(struct console_bench *b, const struct json *list, const char *key)
{
    CLEANUP(buf_fini) struct buf out = {0};
    for (size_t i = 0; i < json_len(list); i++)
        buf_addf(&out, "%s%s", i ? " " : "", text(json_at(list, i), key));
    return arena_strdup(&b->arena, out.data ? out.data : "");
}

/* ---- lines, pipelines, status ---- */

static void lines_say_what_serves_and_what_is_done_now(void **state)
{
    struct console_bench *b = *state;
    const struct json *list = get(b, "/v1/lines"), *p = json_at(list, 0), *q = json_at(list, 1);
    assert_string_equal(column(b, list, "line"), "p q/north");
    assert_int_equal(json_get_int(p, "generation", 0), 3);
    assert_string_equal(text(p, "model"), STORY_MODEL("1"));
    assert_string_equal(text(p, "state"), "at rest");
    assert_string_equal(text(q, "state"), "running");
    assert_string_equal(text(q, "run"), "qrun");
    assert_int_equal(json_get_int(q, "generation", -1), 0);
}

static void a_line_that_waits_says_what_for_and_until_when(void **state)
{
    struct console_bench *b = *state;
    struct training_planned closed = {.line = "q/north",
                                      .kind = "closed",
                                      .base = ABSENT_I64,
                                      .run = "qrun",
                                      .outcome = "failed",
                                      .until_unix_ms = ABSENT_I64,
                                      .reason = "over"};
    console_append(b,
                   &(struct console_event){RECORD_TRAINING_PLANNED, &closed, "qclosed", "qrun", 0});
    console_bench_settle(b);
    const struct json *q = json_at(get(b, "/v1/lines"), 1);
    assert_string_equal(text(q, "state"), "waiting");
    assert_string_equal(text(q, "why"), "waits for the cool-down");
    assert_string_equal(text(q, "until"), "2100-01-01T00:00:00.000000Z");
    const char *covers[] = {"qdrift"};
    struct training_planned run = {.line = "q/north",
                                   .kind = "requested",
                                   .base = 1,
                                   .run = "qrun2",
                                   .trigger = "drift",
                                   .covers = {covers, 1},
                                   .until_unix_ms = ABSENT_I64,
                                   .reason = "drift"};
    console_append(b, &(struct console_event){RECORD_TRAINING_PLANNED, &run, "qrun2", "qdrift", 0});
    closed.run = "qrun2";
    console_append(
        b, &(struct console_event){RECORD_TRAINING_PLANNED, &closed, "qclosed2", "qrun2", 0});
    console_bench_settle(b);
    q = json_at(get(b, "/v1/lines"), 1);
    assert_string_equal(text(q, "state"), "at rest"); /* what waited was covered */
}

static void pipelines_and_status(void **state)
{
    struct console_bench *b = *state;
    const struct json *list = get(b, "/v1/pipelines"), *status = get(b, "/v1/status");
    assert_string_equal(column(b, list, "pipeline"), "p");
    assert_string_equal(text(json_at(list, 0), "dataset"), "p-data");
    assert_string_equal(text(json_at(list, 0), "by"), "ann");
    assert_string_equal(text(json_at(list, 0), "first_declared"), "1970-01-01T00:00:01.000000Z");
    assert_int_equal(json_len(json_get(status, "lines")), 2);
    assert_string_equal(column(b, json_get(status, "serving"), "instance"), "serve-1");
    const struct json *serves = json_get(json_at(json_get(status, "serving"), 0), "lines");
    assert_int_equal(json_get_int(json_at(serves, 0), "generation", 0), 3);
    assert_int_equal(json_get_int(status, "dead_letters", -1), 0);
    assert_true(json_get_bool(status, "view_is_whole", false));
    expect_error(b, "/v1/pipelines/none", 404, "no pipeline none is declared");
}

/* ---- runs, models, history ---- */

static void runs_are_listed_newest_first_over_all_lines(void **state)
{
    struct console_bench *b = *state;
    const struct json *list = get(b, "/v1/runs"), *run2;
    assert_string_equal(column(b, list, "run"), "qrun run3 run2 run1");
    assert_string_equal(column(b, list, "state"), "training promoted rejected promoted");
    assert_string_equal(column(b, list, "trigger"), "dataset drift dataset dataset");
    run2 = json_at(list, 2);
    assert_string_equal(text(run2, "reason"), "rejected, 1 of 1 rules fail");
    assert_string_equal(text(run2, "decision"), "reject");
    assert_null(json_get(run2, "generation"));
    const struct json *auc = json_get(json_get(run2, "metrics"), "auc");
    assert_true(json_get_num(auc, "candidate", 0) == 0.4);
    assert_true(json_get_num(auc, "champion", 0) == 0.7);
    assert_int_equal(json_get_int(json_at(list, 1), "generation", 0), 2);
    assert_string_equal(column(b, get(b, "/v1/runs?line=q"), "run"), "qrun");
    assert_string_equal(column(b, get(b, "/v1/runs?line=q%2Fnorth"), "run"), "qrun");
    assert_string_equal(column(b, get(b, "/v1/runs?line=p&limit=2"), "run"), "run3 run2");
    assert_string_equal(column(b, get(b, "/v1/runs?line=nobody"), "run"), "");
}

static void runs_are_filtered_sorted_and_paged(void **state)
{
    struct console_bench *b = *state;
    const struct json *page;
    assert_string_equal(column(b, get(b, "/v1/runs?filter=trigger%3Ddrift"), "run"), "run3");
    assert_string_equal(
        column(b, get(b, "/v1/runs?filter=metric.auc%3E0.5%20and%20status=promoted"), "run"),
        "run3 run1");
    assert_string_equal(column(b, get(b, "/v1/runs?sort=metric.auc"), "run"),
                        "run2 run1 run3 qrun"); /* what has none comes last */
    assert_string_equal(
        column(b, get(b, "/v1/runs?line=p&sort=started&filter=generation=none"), "run"), "run2");
    page = get(b, "/v1/runs?line=p&limit=2");
    const char *next = arena_printf(&b->arena, "/v1/runs?line=p&limit=2&cursor=%s",
                                    text(json_at(page, 1), "cursor"));
    assert_string_equal(column(b, get(b, next), "run"), "run1");
    expect_error(b, "/v1/runs?filter=metric.auc%20%3E", 400, "column 13: expected a value");
    expect_error(b, "/v1/runs?sort=nothing", 400, "sort: column 1: expected a field");
    expect_error(b, "/v1/runs?cursor=zzzz", 400, "cursor: this is none");
    expect_error(b, "/v1/runs?limit=0", 400, "limit: give 1 to 1000");
}

static void models_say_what_became_of_them(void **state)
{
    struct console_bench *b = *state;
    const struct json *list = get(b, "/v1/models");
    assert_string_equal(column(b, list, "run"), "run3 run2 run1");
    assert_string_equal(column(b, list, "role"), "retired reject champion");
    const struct json *generations = json_get(json_at(list, 2), "generations");
    assert_int_equal(json_len(generations), 2);
    assert_int_equal(json_int(json_at(generations, 0), 0), 1);
    assert_int_equal(json_int(json_at(generations, 1), 0), 3);
}

static void history_says_which_generation_served_when_and_why(void **state)
{
    struct console_bench *b = *state;
    const struct json *list = get(b, "/v1/history?line=p");
    assert_string_equal(column(b, list, "event"), "dep1 dep3 dep4");
    assert_string_equal(text(json_at(list, 0), "decision"), "promoted as the first model");
    assert_string_equal(text(json_at(list, 0), "to"), text(json_at(list, 1), "from"));
    assert_string_equal(text(json_at(list, 2), "to"), "(none)");
    assert_string_equal(text(json_at(list, 2), "action"), "rollback");
    assert_string_equal(text(json_at(list, 2), "by"), "ann");
    expect_error(b, "/v1/history", 400, "line: give");
    expect_error(b, "/v1/history?line=nobody", 404, "no line nobody");
}

/* ---- explain ---- */

static void every_id_leads_back_to_the_first_event(void **state)
{
    static const struct {
        const char *id, *what, *steps;
    } ROWS[] = {
        {"set1", "dataset_published", "set1"},
        {"snap2", "dataset_ingested", "snap2 set2"},
        {"run1", "training_planned", "run1 snap1 set1"},
        {"gate3", "gate_decided", "gate3 eval3 model3 run3 drift3"},
        {"dep1", "deployment_changed", "dep1 gate1 eval1 model1 run1 snap1 set1"},
        {"x1", "prediction", "dep1 gate1 eval1 model1 run1 snap1 set1"},
        {"x2.0", "prediction", "dep1 gate1 eval1 model1 run1 snap1 set1"},
        {"y1", "prediction", "dep3 gate3 eval3 model3 run3 drift3"},
        {"z1", "prediction", "dep4 undo"},
        {STORY_MODEL("2"), "model", "model2 run2 snap2 set2"},
        {"serving-dep3", "serving_changed", "serving-dep3 dep3 gate3 eval3 model3 run3 drift3"},
        {"qwait2", "training_planned", "qwait2 qwait1 qdrift"},
        {"declared-p", "pipeline_declared", "declared-p"},
    };
    struct console_bench *b = *state;
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        const struct json *j = get(b, arena_printf(&b->arena, "/v1/explain?id=%s", ROWS[i].id));
        const char *steps = column(b, json_get(j, "steps"), "id");
        if (strcmp(text(j, "what"), ROWS[i].what) != 0 || strcmp(steps, ROWS[i].steps) != 0)
            fail_msg("%s: got %s: %s", ROWS[i].id, text(j, "what"), steps);
    }
    expect_error(b, "/v1/explain", 400, "id: give");
    expect_error(b, "/v1/explain?id=nobody", 404, "nothing is known of nobody");
    expect_error(b, "/v1/explain?id=aaaa", 404, "nothing is known"); /* too short for a model */
}

static void each_step_has_its_reason_and_numbers(void **state)
{
    struct console_bench *b = *state;
    const struct json *steps = json_get(get(b, "/v1/explain?id=y1"), "steps");
    assert_string_equal(text(json_at(steps, 1), "says"),
                        "gate, promote: promoted: auc 0.8 against 0.7");
    const struct json *rules = json_get(json_get(json_at(steps, 1), "record"), "rules");
    assert_true(json_get_num(json_at(rules, 0), "value", 0) == 0.8);
    assert_string_equal(text(json_at(steps, 5), "says"), "drift: psi 0.3");
}

static void a_rollback_tells_where_its_model_came_from(void **state)
{
    struct console_bench *b = *state;
    const struct json *j = get(b, "/v1/explain?id=z1");
    assert_int_equal(json_get_int(j, "generation", 0), 3);
    assert_string_equal(column(b, json_get(j, "model_came_from"), "id"), "model1 run1 snap1 set1");
}

static void what_followed_is_told_as_well(void **state)
{
    struct console_bench *b = *state;
    const struct json *j = get(b, "/v1/explain?id=set2");
    assert_string_equal(column(b, json_get(j, "led_to"), "id"),
                        "snap2 run2 model2 eval2 gate2 closed2");
}

static void a_rejected_event_of_a_chain_is_not_told(void **state)
{
    struct console_bench *b = *state;
    struct gate_decided d = {.line = "p",
                             .base = 1,
                             .run = "run2",
                             .verdict = "promote",
                             .reason = "a rival",
                             .deadline_unix_ms = ABSENT_I64};
    console_append(b, &(struct console_event){RECORD_GATE_DECIDED, &d, "rival", "eval2", 0});
    console_bench_settle(b);
    expect_error(b, "/v1/explain?id=rival", 404, "nothing is known");
    assert_string_equal(text(json_at(get(b, "/v1/runs"), 2), "state"), "rejected");
}

/* ---- events, bad questions ---- */

static void events_are_paged_through(void **state)
{
    struct console_bench *b = *state;
    const struct json *first = get(b, "/v1/events?topic=plans&key=p&limit=2");
    assert_string_equal(column(b, first, "id"), "run1 closed1");
    const char *path = arena_printf(&b->arena, "/v1/events?topic=plans&key=p&after=%lld",
                                    (long long)json_get_int(json_at(first, 1), "seq", 0));
    assert_string_equal(column(b, get(b, path), "id"), "run2 closed2 run3 closed3");
    assert_int_equal(json_len(get(b, "/v1/events?key=q%2Fnorth")), 5);
    assert_int_equal(json_len(get(b, "/v1/events?limit=7")), 7);
    assert_string_equal(text(json_get(json_at(first, 0), "record"), "kind"), "requested");
}

static void questions_that_make_no_sense_are_refused(void **state)
{
    struct console_bench *b = *state;
    expect_error(b, "/v1/runs?limit=many", 400, "limit: give 1 to 1000, not 'many'");
    expect_error(b, "/v1/models?limit=0", 400, "limit: give 1 to 1000");
    expect_error(b, "/v1/events?limit=1001", 400, "limit: give 1 to 1000");
    expect_error(b, "/v1/events?after=-1", 400, "after: give 0 to");
    expect_error(b, "/v1/events?topic=relearn.plans", 400, "there is no topic relearn.plans");
    expect_error(b, "/v1/deadletters?limit=x", 400, "limit:");
}

/* ---- a view that is gone ---- */

static const char *const QUESTIONS[] = {
    "/v1/status",
    "/v1/pipelines",
    "/v1/runs",
    "/v1/models",
    "/v1/history?line=p",
    "/v1/explain?id=x1",
    "/v1/explain?id=z1",
    "/v1/explain?id=set2",
    "/v1/explain?id=" STORY_MODEL("3"),
    "/v1/answer?id=snap1",
    "/v1/events?topic=plans&key=p",
    "/v1/deadletters",
};

static void a_console_without_its_folder_gives_the_same_answers(void **state)
{
    struct console_bench *b = *state;
    const char *before[ARRAY_LEN(QUESTIONS)];
    for (size_t i = 0; i < ARRAY_LEN(QUESTIONS); i++)
        before[i] = console_get(b, QUESTIONS[i]).text;
    for (int forgets = 0; forgets < 2; forgets++) {
        console_bench_stop(b);
        if (forgets)
            console_bench_forget(b);
        console_bench_start(b);
        for (size_t i = 0; i < ARRAY_LEN(QUESTIONS); i++) {
            const char *now = console_get(b, QUESTIONS[i]).text;
            if (strcmp(QUESTIONS[i], "/v1/events?topic=plans&key=p") == 0 && forgets)
                now = before[i]; /* its numbers are the view's own */
            assert_string_equal(now, before[i]);
        }
    }
}

/* As a build left it that kept no runs: its events and positions are there. */
static void a_view_of_an_earlier_build_gets_its_runs(void **state)
{
    static const char *const tables[] = {"", ""};
    struct console_bench *b = *state;
    struct err err = {0};
    struct store *st = NULL;
    bool was_reset;
    const char *before = console_get(b, "/v1/runs?sort=metric.auc").text;
    CLEANUP_FREE char *path = xasprintf("%s/view.db", agent_state_dir(b->agent));
    console_bench_stop(b);
    if (store_open(path, tables, ARRAY_LEN(tables), &st, &was_reset, &err) == 0 && was_reset)
        fail_msg("%s was not opened", path);
    if (store_exec(st,
                   "DROP TABLE run; DROP TABLE run_name; DROP TABLE run_value; "
                   "DROP TABLE run_fill; PRAGMA user_version=1",
                   &err))
        fail_msg("%s", err.msg);
    store_close(st);
    console_bench_start(b);
    assert_string_equal(console_get(b, "/v1/runs?sort=metric.auc").text, before);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, console_bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lines_say_what_serves_and_what_is_done_now),
        TEST(a_line_that_waits_says_what_for_and_until_when),
        TEST(pipelines_and_status),
        TEST(runs_are_listed_newest_first_over_all_lines),
        TEST(runs_are_filtered_sorted_and_paged),
        TEST(models_say_what_became_of_them),
        TEST(history_says_which_generation_served_when_and_why),
        TEST(every_id_leads_back_to_the_first_event),
        TEST(each_step_has_its_reason_and_numbers),
        TEST(a_rollback_tells_where_its_model_came_from),
        TEST(what_followed_is_told_as_well),
        TEST(a_rejected_event_of_a_chain_is_not_told),
        TEST(events_are_paged_through),
        TEST(questions_that_make_no_sense_are_refused),
        TEST(a_console_without_its_folder_gives_the_same_answers),
        TEST(a_view_of_an_earlier_build_gets_its_runs),
    };
    return cmocka_run_group_tests_name("console query", tests, NULL, NULL);
}
