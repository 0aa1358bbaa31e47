/* What the bus says of itself: each number under its own name, in both forms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agents/broker/report.h"
#include "common/json.h"
#include "common/mem.h"

static const struct report FULL = {
    .is_ready = true,
    .stalled = "",
    .address = "127.0.0.1:4242",
    .journal = "/data/journal",
    .sync_every_ms = 5,
    .lag = 11,
    .keeper = {.records = 101,
               .bytes = 102,
               .batches = 103,
               .journal_bytes = 104,
               .lost = 105,
               .sync_ms = 106,
               .sync_max_ms = 107,
               .stalls = 108},
    .scan = {.torn_bytes = 109},
    .refill = {.records = 110, .placeholders = 112},
};

static void each_metric_has_its_number_type_and_help_once(void **state)
{
    static const struct {
        const char *name, *type;
        int value;
    } ROWS[] = {
        {"ready", "gauge", 1},
        {"journal_records_total", "counter", 101},
        {"journal_bytes_total", "counter", 102},
        {"journal_batches_total", "counter", 103},
        {"journal_file_bytes", "gauge", 104},
        {"journal_lag_records", "gauge", 11},
        {"journal_sync_ms_max", "gauge", 107},
        {"journal_stalled", "gauge", 0},
        {"journal_stalls_total", "counter", 108},
        {"journal_lost_records_total", "counter", 105},
        {"journal_torn_bytes", "gauge", 109},
        {"refilled_records", "gauge", 110},
        {"refilled_placeholders", "gauge", 112},
    };
    CLEANUP(buf_fini) struct buf out = {0};
    size_t lines = 0;
    (void)state;
    report_metrics(&FULL, &out);
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        CLEANUP_FREE char *all = xasprintf("# TYPE relearn_broker_%s %s\nrelearn_broker_%s %d\n",
                                           ROWS[i].name, ROWS[i].type, ROWS[i].name, ROWS[i].value);
        CLEANUP_FREE char *help = xasprintf("# HELP relearn_broker_%s ", ROWS[i].name);
        const char *at = strstr(out.data, all);
        if (!at || strstr(at + 1, all) || !strstr(out.data, help))
            fail_msg("%s is not there once, with its help:\n%s", all, out.data);
    }
    for (const char *p = out.data; (p = strchr(p, '\n')); p++)
        lines++;
    assert_int_equal(lines, 3 * ARRAY_LEN(ROWS)); /* and nothing else */
}

static void status_has_the_journal_in_full(void **state)
{
    static const struct {
        const char *name;
        int value;
    } ROWS[] = {
        {"bytes", 104},      {"records", 101},      {"unsynced_records", 11},  {"sync_every_ms", 5},
        {"sync_ms", 106},    {"sync_max_ms", 107},  {"lost_records", 105},     {"stalls", 108},
        {"torn_bytes", 109}, {"placeholders", 112}, {"refilled_records", 110},
    };
    CLEANUP(buf_fini) struct buf out = {0};
    struct err err = {0};
    (void)state;
    report_status(&FULL, &out);
    assert_int_equal(out.data[out.len - 1], '\n');
    CLEANUP(json_freep) struct json *j = json_parse(buf_slice(&out), "status", &err);
    const struct json *journal = json_get(j, "journal");
    assert_true(json_get_bool(j, "ready", false));
    assert_string_equal(json_get_str(j, "address", ""), "127.0.0.1:4242");
    assert_string_equal(json_get_str(j, "version", ""), RELEARN_VERSION);
    assert_null(json_get_str(j, "stalled", NULL));
    assert_string_equal(json_get_str(journal, "path", ""), "/data/journal");
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++)
        if (json_get_int(journal, ROWS[i].name, -1) != ROWS[i].value)
            fail_msg("%s: %s", ROWS[i].name, out.data);
}

/* A full disk lets nobody in, so it is not ready, whatever the start came to. */
static void stalled_bus_is_not_ready_and_says_why(void **state)
{
    struct report r = FULL;
    CLEANUP(buf_fini) struct buf status = {0}, metrics = {0};
    struct err err = {0};
    (void)state;
    r.stalled = "write /data/journal: \"No space left on device\"";
    report_status(&r, &status);
    report_metrics(&r, &metrics);
    CLEANUP(json_freep) struct json *j = json_parse(buf_slice(&status), "status", &err);
    assert_false(json_get_bool(j, "ready", true));
    assert_string_equal(json_get_str(j, "stalled", ""), r.stalled);
    assert_non_null(strstr(metrics.data, "relearn_broker_journal_stalled 1\n"));
}

static void bus_without_a_journal_says_nothing_of_one(void **state)
{
    const struct report r = {.stalled = "", .address = "127.0.0.1:1"};
    CLEANUP(buf_fini) struct buf out = {0}, metrics = {0};
    struct err err = {0};
    (void)state;
    report_status(&r, &out);
    report_metrics(&r, &metrics);
    CLEANUP(json_freep) struct json *j = json_parse(buf_slice(&out), "status", &err);
    assert_false(json_get_bool(j, "ready", true));
    assert_null(json_get(j, "journal"));
    assert_non_null(strstr(metrics.data, "relearn_broker_ready 0\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_metric_has_its_number_type_and_help_once),
        cmocka_unit_test(status_has_the_journal_in_full),
        cmocka_unit_test(stalled_bus_is_not_ready_and_says_why),
        cmocka_unit_test(bus_without_a_journal_says_nothing_of_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
