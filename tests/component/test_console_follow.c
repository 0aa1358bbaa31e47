/* Requests to the console that last (answers, event streams), and dead letters with their way back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "tests/support/console_story.h"
#include "tests/support/fakebus/fake_bus.c"

static void expect_error(const struct console_reply *r, int status, const char *part)
{
    if (r->status != status || !strstr(json_get_str(r->json, "error", ""), part))
        fail_msg("got %d '%s', expected %d '...%s...'", r->status, r->text, status, part);
}

static const char *id_of(const struct console_reply *r)
{
    return json_get_str(r->json, "id", r->text);
}

/* ---- answers ---- */

static void an_answer_that_is_there_comes_at_once(void **state)
{
    static const struct {
        const char *id, *answer;
    } ROWS[] = {{"set1", "snap1"}, {"snap1", "run1"},  {"drift3", "run3"},  {"gate3", "dep3"},
                {"undo", "dep4"},  {"eval2", "gate2"}, {"qdrift", "qwait1"}};
    struct console_bench *b = *state;
    console_story(b);
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        struct console_reply r =
            console_get(b, arena_printf(&b->arena, "/v1/answer?id=%s", ROWS[i].id));
        assert_string_equal(id_of(&r), ROWS[i].answer);
    }
}

static void plan_a_run(struct console_bench *b, const char *run, const char *cause,
                       const char *also_covers)
{
    const char *covers[] = {cause, also_covers};
    struct training_planned p = {.line = "p",
                                 .kind = "requested",
                                 .run = run,
                                 .trigger = "command",
                                 .covers = {covers, also_covers ? 2 : 1},
                                 .until_unix_ms = ABSENT_I64,
                                 .reason = "asked"};
    console_append(b, &(struct console_event){RECORD_TRAINING_PLANNED, &p, run, cause, 0});
}

static void those_who_wait_are_told_by_the_event(void **state)
{
    struct console_bench *b = *state;
    struct console_ask first = {.path = "/v1/answer?id=ask1&wait_ms=60000"},
                       merged = {.path = "/v1/answer?id=ask2&wait_ms=60000"},
                       other = {.path = "/v1/answer?id=ask3&wait_ms=60000"};
    struct console_call *calls[] = {console_begin(b, &first), console_begin(b, &merged),
                                    console_begin(b, &other)};
    for (int i = 0; i < 20; i++)
        loop_turn(b->loop, 10);
    assert_false(console_is_answered(calls[0]));
    plan_a_run(b, "run9", "ask1", "ask2");
    for (int i = 0; i < 2; i++) {
        struct console_reply r = console_await(b, calls[i]);
        assert_int_equal(r.status, 200);
        assert_string_equal(id_of(&r), "run9");
    }
    assert_false(console_is_answered(calls[2]));
    console_bench_stop(b); /* who still waits then is told */
    struct console_reply r = console_await(b, calls[2]);
    assert_int_equal(r.status, 503);
}

static void a_wait_has_an_end(void **state)
{
    struct console_bench *b = *state;
    struct console_reply r = console_get(b, "/v1/answer?id=ask1&wait_ms=30");
    expect_error(&r, 504, "no event answers ask1 yet; it is not lost");
    r = console_get(b, "/v1/answer?id=ask1");
    expect_error(&r, 404, "no event answers ask1 yet");
    r = console_get(b, "/v1/answer");
    expect_error(&r, 400, "id: give");
    r = console_get(b, "/v1/answer?id=x&wait_ms=600001");
    expect_error(&r, 400, "wait_ms: give 0 to 600000");
}

static void a_dataset_that_nobody_uses_is_named_as_the_reason(void **state)
{
    struct console_bench *b = *state;
    struct console_reply sent =
        console_post(b, "/v1/datasets", "{\"dataset\":\"p-data\",\"uri\":\"file:///x.csv\"}");
    const char *path = arena_printf(&b->arena, "/v1/answer?id=%s&wait_ms=30",
                                    json_get_str(sent.json, "event", ""));
    console_bench_settle(b);
    struct console_reply r = console_get(b, path);
    expect_error(&r, 504, "no pipeline uses its dataset");
    console_bench_pipeline(b, "p");
    r = console_get(b, path);
    expect_error(&r, 504, "it is not lost");
}

/* ---- streams ---- */

struct awaited_text {
    const struct console_call *call;
    const char *text;
};

static bool has_come(void *ctx)
{
    const struct awaited_text *w = ctx;
    return strstr(console_read_so_far(w->call), w->text) != NULL;
}

static void await_text(struct console_bench *b, const struct console_call *call, const char *text)
{
    struct awaited_text w = {call, text};
    if (!loop_until(b->loop, has_come, &w, CONSOLE_BENCH_WAIT_MS))
        fail_msg("'%s' does not come; so far: %s", text, console_read_so_far(call));
}

static void command(struct console_bench *b, const char *line, const char *id)
{
    struct operator_commanded c = {
        .line = line, .command = "pause", .generation = ABSENT_I64, .to_generation = ABSENT_I64};
    console_append(b, &(struct console_event){RECORD_OPERATOR_COMMANDED, &c, id, NULL, 0});
}

static void a_stream_tells_events_as_they_come(void **state)
{
    struct console_bench *b = *state;
    command(b, "p", "before");
    console_bench_settle(b);
    struct console_call *all = console_begin(b, &(struct console_ask){.path = "/v1/watch"}),
                        *some = console_begin(b, &(struct console_ask){.path = "/v1/watch?line=p"});
    await_text(b, all, ": relearn\n\n");
    await_text(b, some, ": relearn\n\n");
    command(b, "q", "elsewhere");
    command(b, "pq", "nearly");
    command(b, "p/north", "segment");
    struct prediction_served served = {
        .line = "p", .prediction = "x", .role = "champion", .rows = 1};
    console_append(b, &(struct console_event){RECORD_PREDICTION_SERVED, &served, "x", NULL, 0});
    command(b, "p", "last");
    await_text(b, all, "id: last\ndata: {");
    await_text(b, some, "id: last\ndata: {");
    assert_non_null(strstr(console_read_so_far(all), "id: elsewhere\n"));
    assert_null(strstr(console_read_so_far(all), "id: before\n"));
    assert_null(strstr(console_read_so_far(all), "id: x\n")); /* too many */
    assert_non_null(strstr(console_read_so_far(some), "id: segment\n"));
    assert_null(strstr(console_read_so_far(some), "id: elsewhere\n"));
    assert_null(strstr(console_read_so_far(some), "id: nearly\n"));
    console_hang_up(b, some);
    command(b, "p", "after");
    await_text(b, all, "id: after\n");
    console_bench_stop(b); /* ends the stream */
    console_hang_up(b, all);
}

static void progress_is_streamed_and_not_kept(void **state)
{
    struct console_bench *b = *state;
    struct console_call *all = console_begin(b, &(struct console_ask){.path = "/v1/watch"});
    await_text(b, all, ": relearn\n\n");
    struct training_progressed p = {
        .line = "p", .run = "run1", .instance = "train-1", .phase = "training"};
    console_append(b, &(struct console_event){RECORD_TRAINING_PROGRESSED, &p, "beat", NULL, 0});
    await_text(b, all, "id: beat\n");
    struct console_reply r = console_get(b, "/v1/events?topic=progress");
    assert_int_equal(json_len(r.json), 0);
    console_hang_up(b, all);
}

/* ---- dead letters ---- */

struct letter {
    const char *id, *topic, *event;
    struct slice value;
};

static void append_dead(struct console_bench *b, const struct letter *l)
{
    const struct dead_header headers[] = {
        {"ce_id", {l->event, strlen(l->event)}},
        {"ce_causationid", {"cause1", 6}},
        {"ce_correlationid", {"first1", 6}},
        {"ce_source", {"/etl", 4}},
    };
    struct dead_lettered d = {.topic = l->topic,
                              .partition = 0,
                              .offset = 7,
                              .key = {"p", 1},
                              .value = {l->value.p, l->value.n},
                              .headers = {headers, ARRAY_LEN(headers)},
                              .agent = "plan",
                              .code = "codec",
                              .reason = "an unknown schema",
                              .attempts = 1,
                              .failed_unix_ms = 1};
    console_append(b, &(struct console_event){RECORD_DEAD_LETTERED, &d, l->id, NULL, 0});
    console_bench_settle(b);
}

static struct slice encoded_command(struct console_bench *b, struct buf *out)
{
    struct operator_commanded c = {.line = "p",
                                   .command = "retrain",
                                   .generation = ABSENT_I64,
                                   .to_generation = ABSENT_I64,
                                   .by = "ann"};
    struct err err = {0};
    if (codec_encode(b->codec, RECORD_OPERATOR_COMMANDED, &c, out, &err))
        fail_msg("%s", err.msg);
    return buf_slice(out);
}

static void dead_letters_are_listed_without_their_bytes(void **state)
{
    struct console_bench *b = *state;
    append_dead(b, &(struct letter){"dead1", "relearn.commands", "event1", slice_str("junk")});
    append_dead(b, &(struct letter){"dead2", "relearn.plans", "event2", slice_str("more junk")});
    struct console_reply r = console_get(b, "/v1/deadletters?limit=1");
    assert_int_equal(json_len(r.json), 1);
    const struct json *newest = json_at(r.json, 0);
    assert_string_equal(json_get_str(newest, "id", ""), "dead2");
    assert_string_equal(json_get_str(newest, "topic", ""), "relearn.plans");
    assert_string_equal(json_get_str(newest, "event", ""), "event2");
    assert_string_equal(json_get_str(newest, "reason", ""), "an unknown schema");
    assert_int_equal(json_get_int(newest, "bytes", 0), 9);
    assert_null(json_get(newest, "value"));
    r = console_get(b, "/v1/deadletters/dead1");
    assert_string_equal(json_get_str(json_get(r.json, "record"), "value", ""), "anVuaw==");
    r = console_get(b, "/v1/deadletters/dead9");
    expect_error(&r, 404, "there is no dead letter dead9");
    r = console_get(b, "/v1/status");
    assert_int_equal(json_get_int(r.json, "dead_letters", 0), 2);
}

static void explain_finds_an_event_that_became_a_dead_letter(void **state)
{
    static const char *const IDS[] = {"dead1", "event1"};
    struct console_bench *b = *state;
    append_dead(b, &(struct letter){"dead1", "relearn.commands", "event1", slice_str("junk")});
    for (size_t i = 0; i < ARRAY_LEN(IDS); i++) {
        struct console_reply r =
            console_get(b, arena_printf(&b->arena, "/v1/explain?id=%s", IDS[i]));
        assert_string_equal(json_get_str(r.json, "what", ""), "dead_lettered");
        const struct json *step = json_at(json_get(r.json, "steps"), 0);
        assert_string_equal(json_get_str(step, "id", ""), "dead1");
        assert_non_null(strstr(json_get_str(step, "says", ""), "an unknown schema"));
    }
}

static struct console_reply resend_with(struct console_bench *b, const char *id, const char *query)
{
    return console_ask(
        b, &(struct console_ask){
               .method = "POST",
               .path = arena_printf(&b->arena, "/v1/deadletters/%s/resend%s", id, query)});
}

static struct console_reply resend(struct console_bench *b, const char *id)
{
    return resend_with(b, id, "");
}

static void a_dead_letter_that_can_be_read_goes_back_as_it_was(void **state)
{
    struct console_bench *b = *state;
    CLEANUP(buf_fini) struct buf bytes = {0};
    append_dead(
        b, &(struct letter){"dead1", "relearn.commands", "event1", encoded_command(b, &bytes)});
    struct console_reply r = resend(b, "dead1");
    assert_int_equal(r.status, 200);
    assert_string_equal(json_get_str(r.json, "event", ""), "event1");
    const struct event *ev = console_written_at(b, RECORD_OPERATOR_COMMANDED, 0);
    assert_string_equal(ev->id, "event1");
    assert_string_equal(ev->key, "p");
    assert_string_equal(ev->cause, "cause1");
    assert_string_equal(ev->correlation, "first1");
    assert_string_equal(ev->source, "/etl");
    assert_string_equal(EV_REC(ev, operator_commanded)->by, "ann");
    console_bench_settle(b);
    r = resend(b, "dead1"); /* not twice by accident */
    expect_error(&r, 409, "it was sent back before");
    assert_int_equal(resend_with(b, "dead1", "?again=true").status, 200);
    console_bench_settle(b);
    r = console_get(b, "/v1/deadletters/dead1");
    assert_string_equal(json_get_str(r.json, "state", ""), "answered");
    assert_int_equal(json_len(json_get(r.json, "sent_back")), 2);
    r = console_get(b, "/v1/deadletters?state=waiting");
    assert_int_equal(json_len(r.json), 0);
    r = console_get(b, "/v1/events?topic=commands");
    assert_int_equal(json_len(r.json), 1);
}

static void a_dead_letter_that_still_cannot_be_read_stays(void **state)
{
    struct console_bench *b = *state;
    append_dead(b, &(struct letter){"dead1", "relearn.commands", "event1", slice_str("junk")});
    append_dead(b, &(struct letter){"dead2", "other.commands", "event2", slice_str("junk")});
    append_dead(b, &(struct letter){"dead3", "relearn.nothing", "event3", slice_str("junk")});
    struct console_reply r = resend(b, "dead1");
    expect_error(&r, 409, "it still cannot be read");
    r = resend(b, "dead2");
    expect_error(&r, 409, "none of this installation's");
    r = resend(b, "dead3");
    expect_error(&r, 409, "there is no topic relearn.nothing");
    r = resend(b, "dead9");
    expect_error(&r, 404, "there is no dead letter dead9");
    assert_int_equal(console_written(b, RECORD_OPERATOR_COMMANDED), 0);
}

/* The console works on no topic: what it cannot read it passes over, as its owner will say. */
static void an_undecodable_event_does_not_stop_the_console(void **state)
{
    struct console_bench *b = *state;
    console_append_bytes(b, RECORD_TRAINING_PLANNED, "p", slice_str("junk"), "junk1");
    console_append_bytes(b, RECORD_PREDICTION_SERVED, "p", slice_str("\xc3\x01junk"), "junk2");
    plan_a_run(b, "run1", "ask1", NULL);
    console_bench_settle(b);
    struct console_reply r = console_get(b, "/v1/runs");
    assert_int_equal(json_len(r.json), 1);
    assert_int_equal(console_written(b, RECORD_DEAD_LETTERED), 0);
}

/* ---- the view ---- */

static const char *view_of(struct console_bench *b)
{
    return arena_printf(&b->arena, "%s/data/state/console-1/%s/view.db", b->dir.path,
                        agent_cluster(b->agent));
}

static void at_the_view(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    sqlite3_busy_timeout(db, CONSOLE_BENCH_WAIT_MS);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static bool asks_for_a_start(void *ctx)
{
    return agent_exit_code(ctx) == 75;
}

static void a_view_that_could_not_be_written_is_whole_again_by_itself(void **state)
{
    struct console_bench *b = *state;
    const char *view = view_of(b);
    at_the_view(
        view, "CREATE TRIGGER full BEFORE INSERT ON event BEGIN SELECT RAISE(ABORT, 'full'); END");
    plan_a_run(b, "run1", "ask1", NULL);
    console_bench_settle(b);
    struct console_reply r = console_get(b, "/v1/status");
    assert_false(json_get_bool(r.json, "view_is_whole", true));
    assert_int_equal(json_len(console_get(b, "/v1/events").json), 0);
    at_the_view(view, "DROP TRIGGER full");
    assert_true(loop_until(b->loop, asks_for_a_start, b->agent, CONSOLE_BENCH_WAIT_MS));
    agent_free(b->agent);
    console_bench_start(b);
    r = console_get(b, "/v1/events");
    assert_int_equal(json_len(r.json), 1);
    assert_string_equal(json_get_str(json_at(r.json, 0), "id", ""), "run1");
}

/* Killed while its view was being filled: rows and no index, of which one was not looked for. */
static void a_view_that_was_half_filled_is_whole_after_the_next_start(void **state)
{
    struct console_bench *b = *state;
    plan_a_run(b, "run1", "ask1", NULL);
    console_bench_settle(b);
    const char *view = view_of(b);
    console_bench_stop(b);
    at_the_view(view, "DROP INDEX event_id; DROP INDEX event_cause; DROP INDEX event_key;"
                      "DROP INDEX event_topic; INSERT INTO event (topic, id, key, time_us, record)"
                      " SELECT topic, id, 'another', time_us, record FROM event");
    command(b, "p", "pause1");
    console_bench_start(b);
    struct console_reply r = console_get(b, "/v1/events");
    assert_int_equal(json_len(r.json), 2);
    assert_string_equal(json_get_str(json_at(r.json, 0), "id", ""), "run1");
    assert_string_equal(json_get_str(json_at(r.json, 0), "key", ""), "p");
    assert_string_equal(json_get_str(json_at(r.json, 1), "id", ""), "pause1");
    at_the_view(view, "DROP INDEX event_id; DROP INDEX event_cause; DROP INDEX event_key;"
                      "DROP INDEX event_topic"); /* all of them are there again */
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, console_bench_setup, console_bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_answer_that_is_there_comes_at_once),
        TEST(those_who_wait_are_told_by_the_event),
        TEST(a_wait_has_an_end),
        TEST(a_dataset_that_nobody_uses_is_named_as_the_reason),
        TEST(a_stream_tells_events_as_they_come),
        TEST(progress_is_streamed_and_not_kept),
        TEST(dead_letters_are_listed_without_their_bytes),
        TEST(explain_finds_an_event_that_became_a_dead_letter),
        TEST(a_dead_letter_that_can_be_read_goes_back_as_it_was),
        TEST(a_dead_letter_that_still_cannot_be_read_stays),
        TEST(an_undecodable_event_does_not_stop_the_console),
        TEST(a_view_that_could_not_be_written_is_whole_again_by_itself),
        TEST(a_view_that_was_half_filled_is_whole_after_the_next_start),
    };
    return cmocka_run_group_tests_name("console follow", tests, NULL, NULL);
}
