/* What people and other tools send to the console: each way in ends in the right record, and each
 * kind of wrong input in an answer that says what is wrong, with nothing published. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/console_bench.h"
#include "tests/support/fakebus/fake_bus.c"

#define REC(ev, type) ((const struct type *)(ev)->rec)

static void expect_error(const struct console_reply *r, int status, const char *part,
                         const char *label)
{
    const char *error = json_get_str(r->json, "error", "");
    if (r->status != status || !strstr(error, part))
        fail_msg("%s: got %d '%s', expected %d '...%s...'", label, r->status, r->text, status,
                 part);
}

/* ---- one record ---- */

static void a_dataset_is_published_with_what_was_said(void **state)
{
    struct console_bench *b = *state;
    char sha[DIGEST_HEX_SIZE];
    digest_bytes("x", 1, sha);
    const char *body = arena_printf(
        &b->arena,
        "{\"dataset\":\"power\",\"uri\":\"file:///d/week.csv\",\"version\":\"w12\",\"format\":"
        "\"csv\",\"sha256\":\"%s\",\"size_bytes\":10,\"rows\":3,\"by\":\"ann\"}",
        sha);
    struct console_reply r = console_post(b, "/v1/datasets", body);
    assert_int_equal(r.status, 200);
    const struct event *ev = console_written_at(b, RECORD_DATASET_PUBLISHED, 0);
    assert_string_equal(ev->key, "power");
    assert_string_equal(json_get_str(r.json, "event", ""), ev->id);
    assert_int_equal(json_get_int(r.json, "published", 0), 1);
    assert_string_equal(REC(ev, dataset_published)->version, "w12");
    assert_string_equal(REC(ev, dataset_published)->sha256, sha);
    assert_int_equal(REC(ev, dataset_published)->rows, 3);
    assert_true(REC(ev, dataset_published)->published_unix_ms > 0);
}

static void what_was_not_said_stays_absent(void **state)
{
    struct console_bench *b = *state;
    console_post(b, "/v1/datasets", "{\"dataset\":\"power\",\"uri\":\"http://h/d.csv\"}");
    const struct event *ev = console_written_at(b, RECORD_DATASET_PUBLISHED, 0);
    assert_null(REC(ev, dataset_published)->version);
    assert_null(REC(ev, dataset_published)->sha256);
    assert_true(REC(ev, dataset_published)->rows == ABSENT_I64);
    assert_true(REC(ev, dataset_published)->size_bytes == ABSENT_I64);
}

static void a_command_goes_to_its_line(void **state)
{
    struct console_bench *b = *state;
    struct console_reply r = console_post(
        b, "/v1/commands",
        "{\"line\":\"power/north\",\"command\":\"rollback\",\"to_generation\":3,\"by\":\"ann\","
        "\"reason\":\"looks wrong\"}");
    assert_int_equal(r.status, 200);
    const struct event *ev = console_written_at(b, RECORD_OPERATOR_COMMANDED, 0);
    assert_string_equal(ev->key, "power/north");
    assert_string_equal(REC(ev, operator_commanded)->command, "rollback");
    assert_int_equal(REC(ev, operator_commanded)->to_generation, 3);
    assert_true(REC(ev, operator_commanded)->generation == ABSENT_I64);
}

static void an_alert_needs_only_a_line(void **state)
{
    struct console_bench *b = *state;
    assert_int_equal(console_post(b, "/v1/alerts", "{\"line\":\"power\"}").status, 200);
    const struct event *ev = console_written_at(b, RECORD_DRIFT_DETECTED, 0);
    assert_string_equal(ev->key, "power");
    assert_string_equal(REC(ev, drift_detected)->kind, "external");
    assert_true(REC(ev, drift_detected)->generation == ABSENT_I64);
    assert_true(isnan(REC(ev, drift_detected)->value));
    assert_true(REC(ev, drift_detected)->summary[0]);
}

struct wrong {
    const char *label, *path, *body;
    int status;
    const char *part; /* of the message */
};

static const struct wrong WRONG[] = {
    {"no body", "/v1/datasets", "", 400, "the body is empty"},
    {"no JSON", "/v1/datasets", "dataset=power", 400, "body:1:"},
    {"a list", "/v1/datasets", "[1]", 400, "JSON object"},
    {"cut short", "/v1/commands", "{\"line\":\"p\"", 400, "body:1:"},
    {"a key twice", "/v1/commands", "{\"line\":\"p\",\"line\":\"q\"}", 400, "body:"},
    {"unknown member", "/v1/datasets",
     "{\"dataset\":\"d\",\"uri\":\"file:///x\",\"checksum\":\"1\"}", 400,
     "checksum: unknown member"},
    {"wrong type", "/v1/datasets", "{\"dataset\":\"d\",\"uri\":\"file:///x\",\"rows\":\"3\"}", 400,
     "rows: must be a whole number"},
    {"no dataset", "/v1/datasets", "{\"uri\":\"file:///x\"}", 400, "dataset: give a name"},
    {"bad dataset", "/v1/datasets", "{\"dataset\":\"My Data\",\"uri\":\"file:///x\"}", 400,
     "dataset: give a name"},
    {"no uri", "/v1/datasets", "{\"dataset\":\"d\"}", 400, "uri: give file:///path"},
    {"bad scheme", "/v1/datasets", "{\"dataset\":\"d\",\"uri\":\"ftp://h/x\"}", 400,
     "not 'ftp://h/x'"},
    {"bad digest", "/v1/datasets", "{\"dataset\":\"d\",\"uri\":\"file:///x\",\"sha256\":\"ab\"}",
     400, "64 lower-case hex digits"},
    {"bad format", "/v1/datasets",
     "{\"dataset\":\"d\",\"uri\":\"file:///x\",\"format\":\"parquet\"}", 400, "not 'parquet'"},
    {"negative rows", "/v1/datasets", "{\"dataset\":\"d\",\"uri\":\"file:///x\",\"rows\":-1}", 400,
     "rows: give 0 or more"},
    {"no command", "/v1/commands", "{\"line\":\"p\"}", 400, "command: give approve"},
    {"no line", "/v1/commands", "{\"command\":\"pause\"}", 400, "line: give PIPELINE"},
    {"bad line", "/v1/commands", "{\"command\":\"pause\",\"line\":\"Not A Line\"}", 400,
     "not 'Not A Line'"},
    {"bad segment", "/v1/commands", "{\"command\":\"pause\",\"line\":\"p/\"}", 400, "not 'p/'"},
    {"bad alert", "/v1/alerts", "{\"line\":\"p\",\"value\":\"high\"}", 400,
     "value: must be a number"},
    {"bad feature", "/v1/alerts", "{\"line\":\"p\",\"features\":[{\"name\":\"x\"}]}", 400,
     "features[0].name: unknown member"},
    {"no prediction", "/v1/labels", "{\"line\":\"p\",\"value\":\"1\"}", 400, "prediction: give"},
    {"no value", "/v1/labels", "{\"line\":\"p\",\"prediction\":\"x\"}", 400, "value: give"},
    {"no line of a label", "/v1/labels", "{\"prediction\":\"x\",\"value\":\"1\"}", 400,
     "line: give"},
    {"labels is no list", "/v1/labels", "{\"line\":\"p\",\"labels\":3}", 400,
     "labels: must be a list"},
    {"a label of the list", "/v1/labels",
     "{\"line\":\"p\",\"labels\":[{\"prediction\":\"x\",\"value\":\"1\"},{\"prediction\":\"y\"}]}",
     400, "labels[1]: value: give"},
    {"misspelt in the list", "/v1/labels",
     "{\"line\":\"p\",\"labels\":[{\"prediction\":\"x\",\"label\":\"1\"}]}", 400,
     "labels[0]: label: unknown member"},
    {"misspelt beside the list", "/v1/labels", "{\"pipeline\":\"p\",\"labels\":[]}", 400,
     "pipeline: unknown member"},
    {"a label that is an object", "/v1/labels",
     "{\"line\":\"p\",\"prediction\":\"x\",\"value\":{}}", 400, "value: must be a string"},
    {"unknown YAML key", "/v1/pipelines",
     "apiVersion: relearn/v1\nkind: Pipeline\nname: p\nspeed: 3\n", 400, "pipeline:4"},
    {"no YAML", "/v1/pipelines", "{{{", 400, "pipeline:"},
    {"CloudEvents: nothing said", "/v1/events", "{}", 400, "id, source, type and specversion"},
};

static int64_t written_in_all(struct console_bench *b)
{
    int64_t n = 0;
    for (int r = 1; r < RECORD_COUNT; r++)
        n += console_written(b, (enum record)r);
    return n;
}

static void wrong_input_is_refused_and_named(void **state)
{
    struct console_bench *b = *state;
    for (size_t i = 0; i < ARRAY_LEN(WRONG); i++) {
        const struct wrong *w = &WRONG[i];
        struct console_reply r = console_post(b, w->path, w->body);
        expect_error(&r, w->status, w->part, w->label);
    }
    assert_int_equal(written_in_all(b), 0);
}

static void paths_and_methods_that_are_none(void **state)
{
    struct console_bench *b = *state;
    struct console_reply r = console_post(b, "/v1/nothing", "{}");
    expect_error(&r, 404, "/v1/nothing", "unknown path");
    r = console_get(b, "/v1/datasets");
    expect_error(&r, 405, "takes POST", "GET of what is only posted");
    r = console_ask(b, &(struct console_ask){.method = "PUT", .path = "/v1/pipelines/p"});
    expect_error(&r, 405, "takes DELETE, GET", "PUT");
}

static void a_body_over_the_limit_is_refused(void **state)
{
    struct console_bench *b = *state;
    /* Announced only: who is refused while he goes on sending may see the line cut instead. */
    CLEANUP_FREE char *too_long = xasprintf("Content-Length: %d", (64 << 20) + 1);
    char *body = xmalloc(PIPELINE_MAX_BYTES + 1);
    struct console_reply r = console_ask(
        b, &(struct console_ask){.path = "/v1/labels", .body = "[", .headers = {too_long}});
    assert_int_equal(r.status, 413);
    memset(body, '#', PIPELINE_MAX_BYTES + 1);
    r = console_ask(b, &(struct console_ask){.path = "/v1/pipelines",
                                             .body = body,
                                             .body_n = PIPELINE_MAX_BYTES + 1});
    expect_error(&r, 413, "larger than", "pipeline");
    assert_int_equal(written_in_all(b), 0);
    assert_int_equal(console_get(b, "/v1/lines").status, 200); /* and it goes on */
    free_ptr(&body);
}

/* ---- an idempotency key ---- */

static void a_request_sent_again_with_its_key_is_the_same_event(void **state)
{
    struct console_bench *b = *state;
    struct console_ask ask = {.path = "/v1/commands",
                              .body = "{\"line\":\"p\",\"command\":\"retrain\"}",
                              .headers = {"Idempotency-Key: one"}};
    struct console_reply first = console_ask(b, &ask), again = console_ask(b, &ask);
    ask.headers[0] = "Idempotency-Key: two";
    struct console_reply other = console_ask(b, &ask);
    const char *id = json_get_str(first.json, "event", "");
    assert_true(id_is_valid(id));
    assert_string_equal(json_get_str(again.json, "event", ""), id);
    assert_string_not_equal(json_get_str(other.json, "event", ""), id);
    console_bench_settle(b);
    struct console_reply events = console_get(b, "/v1/events?topic=commands");
    assert_int_equal(json_len(events.json), 2); /* an id counts once */
}

static void without_a_key_every_request_is_an_event_of_its_own(void **state)
{
    struct console_bench *b = *state;
    const char *body = "{\"line\":\"p\",\"command\":\"retrain\"}";
    struct console_reply first = console_post(b, "/v1/commands", body),
                         again = console_post(b, "/v1/commands", body);
    assert_string_not_equal(json_get_str(first.json, "event", ""),
                            json_get_str(again.json, "event", ""));
}

/* ---- labels ---- */

static const struct label_observed *label_at(struct console_bench *b, int64_t offset)
{
    return REC(console_written_at(b, RECORD_LABEL_OBSERVED, offset), label_observed);
}

static void labels_come_one_by_one_or_in_a_list(void **state)
{
    struct console_bench *b = *state;
    struct console_reply r = console_post(
        b, "/v1/labels", "{\"line\":\"p\",\"prediction\":\"a\",\"value\":\"up\",\"by\":\"ann\"}");
    assert_int_equal(r.status, 200);
    r = console_post(b, "/v1/labels",
                     "{\"line\":\"p\",\"labels\":[{\"prediction\":\"b\",\"value\":1},"
                     "{\"prediction\":\"c\",\"value\":2.5,\"line\":\"q/s\"}]}");
    assert_int_equal(json_get_int(r.json, "published", 0), 2);
    assert_int_equal(json_len(json_get(r.json, "events")), 2);
    assert_string_equal(label_at(b, 0)->value, "up");
    assert_string_equal(label_at(b, 1)->value, "1"); /* a number is taken as its text */
    assert_string_equal(label_at(b, 1)->line, "p");
    assert_string_equal(label_at(b, 2)->value, "2.5");
    assert_string_equal(label_at(b, 2)->line, "q/s");
    r = console_post(b, "/v1/labels", "{\"line\":\"p\",\"labels\":[]}");
    assert_int_equal(r.status, 200);
    assert_int_equal(json_get_int(r.json, "published", 1), 0);
}

static struct console_reply post_csv(struct console_bench *b, const char *path, const char *text)
{
    return console_ask(b, &(struct console_ask){.path = path,
                                                .body = text,
                                                .headers = {"Content-Type: text/csv; header=x"}});
}

static void labels_come_as_csv(void **state)
{
    struct console_bench *b = *state;
    struct console_reply r = post_csv(
        b, "/v1/labels?line=p", "prediction,value\r\na,1\r\n\r\nb,\"x, \"\"y\"\"\"\r\n\"c\",down");
    assert_int_equal(r.status, 200);
    assert_int_equal(json_get_int(r.json, "published", 0), 3);
    assert_string_equal(label_at(b, 0)->prediction, "a");
    assert_string_equal(label_at(b, 1)->value, "x, \"y\"");
    assert_string_equal(label_at(b, 2)->prediction, "c");
    assert_string_equal(label_at(b, 2)->value, "down");
}

static void wrong_csv_is_refused_with_its_line(void **state)
{
    static const struct {
        const char *text, *part;
    } ROWS[] = {
        {"a,1\nb\n", "line 2: 1 fields"},
        {"a,1,2\n", "line 1: 3 fields"},
        {"a,1\nb,\"2\n", "line 2: a quote is opened"},
        {"a,\"1\"2\n", "line 1: text after a closing quote"},
        {"a,\n", "line 1: value: give the label"},
        {",1\n", "line 1: prediction: give"},
    };
    struct console_bench *b = *state;
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        struct console_reply r = post_csv(b, "/v1/labels?line=p", ROWS[i].text);
        expect_error(&r, 400, ROWS[i].part, ROWS[i].text);
    }
    struct console_reply r = post_csv(b, "/v1/labels", "a,1\n");
    expect_error(&r, 400, "line: give PIPELINE", "no line");
    assert_int_equal(console_written(b, RECORD_LABEL_OBSERVED), 0);
}

static void labels_wait_for_room_in_the_queue(void **state)
{
    struct console_bench *b = *state;
    enum { LABELS = 500, ROOM = 7 };
    CLEANUP(buf_fini) struct buf csv = {0};
    for (int i = 0; i < LABELS; i++)
        buf_addf(&csv, "p%d,%d\n", i, i % 2);
    fake_bus_faults.queue_cap = ROOM;
    struct console_reply r = post_csv(b, "/v1/labels?line=p", csv.data);
    fake_bus_faults = (struct fake_faults){0};
    assert_int_equal(r.status, 200);
    assert_int_equal(json_get_int(r.json, "published", 0), LABELS);
    assert_int_equal(json_len(json_get(r.json, "events")), LABELS);
    for (int i = 0; i < LABELS; i++) {
        const struct event *ev = console_written_at(b, RECORD_LABEL_OBSERVED, i);
        assert_string_equal(json_str(json_at(json_get(r.json, "events"), (size_t)i), ""), ev->id);
        assert_string_equal(REC(ev, label_observed)->value, i % 2 ? "1" : "0");
    }
}

static void what_the_bus_does_not_take_is_said(void **state)
{
    struct console_bench *b = *state;
    fake_bus_faults.refuse_produce = 1;
    struct console_reply r =
        console_post(b, "/v1/commands", "{\"line\":\"p\",\"command\":\"pause\"}");
    assert_int_equal(r.status, 503);
    assert_non_null(strstr(r.text, "0 of 1 were published"));
    fake_bus_faults = (struct fake_faults){.lose = 1};
    r = console_post(b, "/v1/labels",
                     "{\"line\":\"p\",\"labels\":[{\"prediction\":\"a\",\"value\":\"1\"},"
                     "{\"prediction\":\"b\",\"value\":\"1\"}]}");
    assert_true(r.status >= 500);
    assert_non_null(strstr(r.text, "1 of 2 were published"));
    fake_bus_faults = (struct fake_faults){0};
}

/* ---- pipelines ---- */

static const char YAML[] = "apiVersion: relearn/v1\nkind: Pipeline\nname: p\ndataset: {name: set, "
                           "label: y}\ntask: binary\n";

static void a_pipeline_is_stored_before_it_is_declared(void **state)
{
    struct console_bench *b = *state;
    struct console_reply r = console_post(b, "/v1/pipelines?by=ann", YAML);
    assert_int_equal(r.status, 200);
    const struct event *ev = console_written_at(b, RECORD_PIPELINE_DECLARED, 0);
    const struct pipeline_declared *p = ev->rec;
    assert_string_equal(ev->key, "p");
    assert_string_equal(p->yaml, YAML);
    assert_string_equal(p->by, "ann");
    assert_int_equal(p->first_declared_unix_ms, p->declared_unix_ms);
    assert_true(artifacts_has(agent_artifacts(b->agent), p->sha256));
    console_bench_settle(b);
    assert_string_equal(console_get(b, "/v1/pipelines/p").text, YAML);
}

static void a_pipeline_declared_anew_keeps_its_first_date(void **state)
{
    struct console_bench *b = *state;
    console_bench_pipeline(b, "p");
    assert_int_equal(console_post(b, "/v1/pipelines", YAML).status, 200);
    const struct pipeline_declared *p =
        REC(console_written_at(b, RECORD_PIPELINE_DECLARED, 1), pipeline_declared);
    assert_int_equal(p->first_declared_unix_ms, 1000);
    assert_true(p->declared_unix_ms > 5000);
}

static void a_pipeline_is_withdrawn_by_a_tombstone(void **state)
{
    struct console_bench *b = *state;
    struct console_ask withdraw = {.method = "DELETE", .path = "/v1/pipelines/p"};
    struct console_reply r = console_ask(b, &withdraw);
    expect_error(&r, 404, "no pipeline p is declared", "not yet declared");
    console_bench_pipeline(b, "p");
    assert_int_equal(json_len(console_get(b, "/v1/pipelines").json), 1);
    r = console_ask(b, &withdraw);
    assert_int_equal(r.status, 200);
    const struct event *ev = console_written_at(b, RECORD_PIPELINE_DECLARED, 1);
    assert_string_equal(ev->key, "p");
    assert_null(ev->rec);
    assert_string_equal(json_get_str(r.json, "event", ""), ev->id);
    console_bench_settle(b);
    assert_null(agent_pipeline(b->agent, "p"));
    assert_int_equal(json_len(console_get(b, "/v1/pipelines").json), 0);
    console_bench_stop(b);
    console_bench_start(b); /* and it stays so */
    assert_int_equal(json_len(console_get(b, "/v1/pipelines").json), 0);
    assert_int_equal(console_post(b, "/v1/pipelines", YAML).status, 200);
    const struct pipeline_declared *p =
        REC(console_written_at(b, RECORD_PIPELINE_DECLARED, 2), pipeline_declared);
    assert_int_equal(p->first_declared_unix_ms, p->declared_unix_ms); /* a new beginning */
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, console_bench_setup, console_bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_dataset_is_published_with_what_was_said),
        TEST(what_was_not_said_stays_absent),
        TEST(a_command_goes_to_its_line),
        TEST(an_alert_needs_only_a_line),
        TEST(wrong_input_is_refused_and_named),
        TEST(paths_and_methods_that_are_none),
        TEST(a_body_over_the_limit_is_refused),
        TEST(a_request_sent_again_with_its_key_is_the_same_event),
        TEST(without_a_key_every_request_is_an_event_of_its_own),
        TEST(labels_come_one_by_one_or_in_a_list),
        TEST(labels_come_as_csv),
        TEST(wrong_csv_is_refused_with_its_line),
        TEST(labels_wait_for_room_in_the_queue),
        TEST(what_the_bus_does_not_take_is_said),
        TEST(a_pipeline_is_stored_before_it_is_declared),
        TEST(a_pipeline_declared_anew_keeps_its_first_date),
        TEST(a_pipeline_is_withdrawn_by_a_tombstone),
    };
    return cmocka_run_group_tests_name("console intake", tests, NULL, NULL);
}
