/* What tools of others send: CloudEvents in their three modes, Alertmanager's webhook. */
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
#define STRUCTURED "Content-Type: application/cloudevents+json; charset=utf-8"
#define BATCH "Content-Type: application/cloudevents-batch+json"

static struct console_reply post(struct console_bench *b, const char *type, const char *body)
{
    return console_ask(
        b, &(struct console_ask){.path = "/v1/events", .body = body, .headers = {type}});
}

static void expect_error(const struct console_reply *r, int status, const char *part)
{
    if (r->status != status || !strstr(json_get_str(r->json, "error", ""), part))
        fail_msg("got %d '%s', expected %d '...%s...'", r->status, r->text, status, part);
}

/* ---- CloudEvents ---- */

#define DATASET                                                                                    \
    "{\"specversion\":\"1.0\",\"id\":\"42\",\"source\":\"/etl\",\"type\":"                         \
    "\"relearn.v1.DatasetPublished\",\"time\":\"2026-01-01T00:00:00Z\",\"subject\":\"power\","     \
    "\"datacontenttype\":\"application/json\",\"team\":\"energy\","                                \
    "\"data\":{\"dataset\":\"power\",\"uri\":\"file:///d.csv\"}}"

static void a_structured_event_is_published(void **state)
{
    struct console_bench *b = *state;
    struct console_reply r = post(b, STRUCTURED, DATASET);
    assert_int_equal(r.status, 200);
    const struct event *ev = console_written_at(b, RECORD_DATASET_PUBLISHED, 0);
    assert_string_equal(REC(ev, dataset_published)->uri, "file:///d.csv");
    assert_string_equal(ev->source, "/etl");
    assert_string_equal(json_get_str(r.json, "event", ""), ev->id);
}

static void the_same_event_counts_once_however_it_comes(void **state)
{
    struct console_bench *b = *state;
    struct console_reply first = post(b, STRUCTURED, DATASET);
    struct console_reply binary = console_ask(
        b, &(struct console_ask){
               .path = "/v1/events",
               .body = "{\"dataset\":\"power\",\"uri\":\"file:///d.csv\"}",
               .headers = {"Content-Type: application/json", "ce-specversion: 1.0", "ce-id: %34%32",
                           "ce-source: /etl", "ce-type: com.example.dataset.published"}});
    assert_int_equal(binary.status, 200);
    assert_string_equal(json_get_str(binary.json, "event", ""),
                        json_get_str(first.json, "event", "-"));
    console_bench_settle(b);
    assert_int_equal(json_len(console_get(b, "/v1/events?topic=datasets").json), 1);
}

static void each_type_of_outside_events_is_known(void **state)
{
    static const struct {
        const char *type, *data;
        enum record record;
    } ROWS[] = {
        {"relearn.v1.DriftDetected", "{\"line\":\"p\"}", RECORD_DRIFT_DETECTED},
        {"DriftDetected", "{\"line\":\"p\"}", RECORD_DRIFT_DETECTED},
        {"org.example.label.observed", "{\"line\":\"p\",\"prediction\":\"x\",\"value\":\"1\"}",
         RECORD_LABEL_OBSERVED},
        {"operator.commanded", "{\"line\":\"p\",\"command\":\"pause\"}", RECORD_OPERATOR_COMMANDED},
    };
    struct console_bench *b = *state;
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        int64_t before = console_written(b, ROWS[i].record);
        const char *body = arena_printf(&b->arena,
                                        "{\"specversion\":\"1.0\",\"id\":\"%zu\",\"source\":\"s\","
                                        "\"type\":\"%s\",\"data\":%s}",
                                        i, ROWS[i].type, ROWS[i].data);
        struct console_reply r = post(b, STRUCTURED, body);
        if (r.status != 200)
            fail_msg("%s: %s", ROWS[i].type, r.text);
        assert_int_equal(console_written(b, ROWS[i].record), before + 1);
    }
}

#define PAUSE(id, line)                                                                            \
    "{\"specversion\":\"1.0\",\"id\":\"" id "\",\"source\":\"s\",\"type\":\"operator.commanded\"," \
    "\"data\":{\"line\":\"" line "\",\"command\":\"pause\"}}"

static void a_batch_is_published_whole_or_not_at_all(void **state)
{
    struct console_bench *b = *state;
    struct console_reply r = post(b, BATCH, "[" PAUSE("1", "p") "," PAUSE("2", "q/s") "]");
    assert_int_equal(r.status, 200);
    assert_int_equal(json_get_int(r.json, "published", 0), 2);
    assert_string_equal(console_written_at(b, RECORD_OPERATOR_COMMANDED, 1)->key, "q/s");
    r = post(b, BATCH, "[" PAUSE("3", "p") "," PAUSE("4", "Not A Line") "]");
    expect_error(&r, 400, "event 1: data: line: give PIPELINE");
    assert_int_equal(console_written(b, RECORD_OPERATOR_COMMANDED), 2);
    r = post(b, BATCH, "[]");
    assert_int_equal(json_get_int(r.json, "published", 1), 0);
}

static void wrong_cloudevents_are_refused_and_named(void **state)
{
    static const struct {
        const char *type, *body, *part;
    } ROWS[] = {
        {STRUCTURED, "[]", "JSON object"},
        {STRUCTURED, "{\"id\":\"1\",\"source\":\"s\",\"type\":\"t\"}", "specversion"},
        {STRUCTURED, "{\"specversion\":\"1.0\",\"id\":1,\"source\":\"s\",\"type\":\"t\"}",
         "has id, source"},
        {STRUCTURED,
         "{\"specversion\":\"0.3\",\"id\":\"1\",\"source\":\"s\",\"type\":\"dataset.published\"}",
         "only 1.0"},
        {STRUCTURED, "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"a.b\"}",
         "not 'a.b'"},
        {STRUCTURED,
         "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"relearn.v1."
         "GateDecided\",\"data\":{}}",
         "not 'relearn.v1.GateDecided'"},
        {STRUCTURED,
         "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"undataset.published\","
         "\"data\":{}}",
         "not 'undataset.published'"},
        {STRUCTURED,
         "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"dataset.published\","
         "\"data_base64\":\"e30=\"}",
         "no JSON data"},
        {STRUCTURED,
         "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"dataset.published\","
         "\"data\":\"x\"}",
         "data: give a JSON object"},
        {STRUCTURED,
         "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"dataset.published\","
         "\"data\":{\"dataset\":\"d\",\"url\":\"file:///x\"}}",
         "data: url: unknown member"},
        {BATCH, "{}", "a list of events"},
        {"Content-Type: application/json", "{\"dataset\":\"d\"}", "has id, source"},
    };
    struct console_bench *b = *state;
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        struct console_reply r = post(b, ROWS[i].type, ROWS[i].body);
        expect_error(&r, 400, ROWS[i].part);
    }
    assert_int_equal(console_written(b, RECORD_DATASET_PUBLISHED), 0);
}

/* ---- Alertmanager ---- */

#define ALERT(fingerprint, status, labels)                                                         \
    "{\"status\":\"" status "\",\"labels\":{" labels "},\"annotations\":{\"summary\":\"too many "  \
    "errors\"},\"startsAt\":\"2026-01-01T00:00:00Z\",\"endsAt\":\"0001-01-01T00:00:00Z\","         \
    "\"generatorURL\":\"http://prometheus/graph\",\"fingerprint\":\"" fingerprint "\"}"
#define WEBHOOK(alerts)                                                                            \
    "{\"version\":\"4\",\"groupKey\":\"{}:{}\",\"truncatedAlerts\":0,\"status\":\"firing\","       \
    "\"receiver\":\"relearn\",\"groupLabels\":{\"alertname\":\"Drift\"},\"commonLabels\":"         \
    "{\"alertname\":\"Drift\"},\"commonAnnotations\":{},\"externalURL\":\"http://am\","            \
    "\"alerts\":[" alerts "]}"

static struct console_reply alert(struct console_bench *b, const char *body)
{
    return console_post(b, "/v1/alerts/alertmanager", body);
}

static void firing_alerts_become_drift_and_resolved_ones_nothing(void **state)
{
    struct console_bench *b = *state;
    struct console_reply r = alert(
        b, WEBHOOK(ALERT(
               "a", "firing",
               "\"alertname\":\"Errors\",\"line\":\"p\","
               "\"generation\":\"7\"") "," ALERT("b", "resolved",
                                                 "\"line\":\"p\"") "," ALERT("c", "firing",
                                                                             "\"pipeline\":\"q\","
                                                                             "\"segment\":"
                                                                             "\"north\"")));
    assert_int_equal(r.status, 200);
    assert_int_equal(json_get_int(r.json, "published", 0), 2);
    const struct drift_detected *d =
        REC(console_written_at(b, RECORD_DRIFT_DETECTED, 0), drift_detected);
    assert_string_equal(d->line, "p");
    assert_string_equal(d->source, "alertmanager");
    assert_string_equal(d->statistic, "Errors");
    assert_string_equal(d->summary, "too many errors");
    assert_int_equal(d->generation, 7);
    assert_true(isnan(d->value));
    const struct event *second = console_written_at(b, RECORD_DRIFT_DETECTED, 1);
    assert_string_equal(second->key, "q/north");
    assert_string_equal(REC(second, drift_detected)->statistic, "Drift"); /* a common label */
    assert_true(REC(second, drift_detected)->generation == ABSENT_I64);
}

static void an_alert_that_is_sent_again_is_the_same_event(void **state)
{
    struct console_bench *b = *state;
    const char *body = WEBHOOK(ALERT("a", "firing", "\"line\":\"p\""));
    const char *first = json_get_str(alert(b, body).json, "event", "");
    assert_string_equal(json_get_str(alert(b, body).json, "event", "-"), first);
    const char *other =
        json_get_str(alert(b, WEBHOOK(ALERT("b", "firing", "\"line\":\"p\""))).json, "event", "");
    assert_string_not_equal(first, other);
    console_bench_settle(b);
    assert_int_equal(json_len(console_get(b, "/v1/events?topic=drift").json), 2);
}

static void an_alert_without_a_line_does_not_hold_up_the_others(void **state)
{
    struct console_bench *b = *state;
    struct console_reply r =
        alert(b, WEBHOOK(ALERT("a", "firing", "\"alertname\":\"Lost\"") "," ALERT(
                     "b", "firing", "\"line\":\"p\"")));
    expect_error(&r, 400, "alert Lost has no label `line`");
    assert_non_null(strstr(r.text, "the 1 others of the request were published"));
    assert_int_equal(console_written(b, RECORD_DRIFT_DETECTED), 1);
}

static void wrong_webhooks_are_refused_and_named(void **state)
{
    static const struct {
        const char *body, *part;
    } ROWS[] = {
        {"{}", "version: only 4"},
        {"{\"version\":\"3\",\"alerts\":[]}", "not '3'"},
        {"{\"version\":\"4\"}", "alerts: must be a list"},
        {"{\"version\":\"4\",\"alerts\":[{\"labels\":{\"line\":\"Not A Line\"}}]}",
         "alert without a name: line: give PIPELINE"},
        {"{\"version\":\"4\",\"alerts\":[{\"labels\":{\"line\":\"p\",\"generation\":\"new\"}}]}",
         "'new' is no number"},
        {"{\"version\":\"4\",\"alerts\":[7]}", "has no label"},
        {"version 4", "body:1:"},
    };
    struct console_bench *b = *state;
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        struct console_reply r = alert(b, ROWS[i].body);
        expect_error(&r, 400, ROWS[i].part);
    }
    assert_int_equal(console_written(b, RECORD_DRIFT_DETECTED), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, console_bench_setup, console_bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_structured_event_is_published),
        TEST(the_same_event_counts_once_however_it_comes),
        TEST(each_type_of_outside_events_is_known),
        TEST(a_batch_is_published_whole_or_not_at_all),
        TEST(wrong_cloudevents_are_refused_and_named),
        TEST(firing_alerts_become_drift_and_resolved_ones_nothing),
        TEST(an_alert_that_is_sent_again_is_the_same_event),
        TEST(an_alert_without_a_line_does_not_hold_up_the_others),
        TEST(wrong_webhooks_are_refused_and_named),
    };
    return cmocka_run_group_tests_name("console foreign", tests, NULL, NULL);
}
