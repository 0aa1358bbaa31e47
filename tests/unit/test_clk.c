#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <time.h>

#include "common/clk.h"
#include "common/rng.h"
#include "tests/support/manual_clk.h"

static void times_are_those_of_python(void **state)
{
    /* datetime of Python 3.11.7 */
    static const struct {
        int64_t us;
        const char *text;
    } rows[] = {
        {0, "1970-01-01T00:00:00.000000Z"},
        {1795442706123456, "2026-11-23T14:05:06.123456Z"},
        {951868799999999, "2000-02-29T23:59:59.999999Z"},
        {-2203934400000000, "1900-02-28T12:00:00.000000Z"},
        {-1, "1969-12-31T23:59:59.999999Z"},
        {-62135596800000000, "0001-01-01T00:00:00.000000Z"},
        {253402300799999999, "9999-12-31T23:59:59.999999Z"},
        {4107542400000000, "2100-03-01T00:00:00.000000Z"},
        {-11670998399999999, "1600-02-29T00:00:00.000001Z"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char out[CLK_RFC3339_SIZE];
        int64_t us = 1;

        clk_format(rows[i].us, out);
        assert_string_equal(out, rows[i].text);
        assert_int_equal(clk_parse(rows[i].text, &us), 0);
        assert_true(us == rows[i].us);
    }
}

static void dates_are_those_of_libc(void **state)
{
    const int64_t first_s = -62167219200, seconds = 315569520000; /* years 0 to 9999 */
    struct rng r;

    (void)state;
    rng_seed(&r, 1);
    for (int i = 0; i < 100000; i++) {
        time_t t = (time_t)(first_s + (int64_t)rng_below(&r, (uint64_t)seconds));
        char ours[CLK_RFC3339_SIZE], theirs[96];
        int64_t back = 0;
        struct tm tm;

        clk_format((int64_t)t * 1000000, ours);
        gmtime_r(&t, &tm);
        snprintf(theirs, sizeof(theirs), "%04d-%02d-%02dT%02d:%02d:%02d.000000Z", tm.tm_year + 1900,
                 tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
        assert_string_equal(ours, theirs);
        assert_int_equal(clk_parse(ours, &back), 0);
        assert_true(back == (int64_t)t * 1000000);
    }
}

static void times_outside_four_digit_years_are_clamped(void **state)
{
    char out[CLK_RFC3339_SIZE];

    (void)state;
    clk_format(INT64_MAX, out);
    assert_string_equal(out, "9999-12-31T23:59:59.999999Z");
    clk_format(INT64_MIN, out);
    assert_string_equal(out, "0000-01-01T00:00:00.000000Z");
}

static void a_time_in_ms_that_is_none_counts_as_absent(void **state)
{
    (void)state;
    assert_true(clk_us_of_ms(1764000000123) == 1764000000123000);
    assert_true(clk_us_of_ms(253402300799999) == 253402300799999000);
    assert_true(clk_us_of_ms(253402300800000) == 0);
    assert_true(clk_us_of_ms(63607588673382400) == 0); /* would overflow */
    assert_true(clk_us_of_ms(INT64_MAX) == 0);
    assert_true(clk_us_of_ms(0) == 0);
    assert_true(clk_us_of_ms(-1) == 0);
    assert_true(clk_us_of_ms(INT64_MIN) == 0);
}

static void other_forms_are_read(void **state)
{
    static const struct {
        const char *text, *same_as;
    } rows[] = {
        {"2026-11-23T14:05:06Z", "2026-11-23T14:05:06.000000Z"},
        {"2026-11-23t14:05:06z", "2026-11-23T14:05:06.000000Z"},
        {"2026-11-23 14:05:06Z", "2026-11-23T14:05:06.000000Z"},
        {"2026-11-23T14:05:06.5Z", "2026-11-23T14:05:06.500000Z"},
        {"2026-11-23T14:05:06.123456789Z", "2026-11-23T14:05:06.123456Z"},
        {"2026-11-23T14:05:06+01:00", "2026-11-23T13:05:06.000000Z"},
        {"2026-11-23T14:05:06-0530", "2026-11-23T19:35:06.000000Z"},
        {"2026-12-31T23:30:00-01:00", "2027-01-01T00:30:00.000000Z"},
        {"2026-01-01T00:30:00+01:00", "2025-12-31T23:30:00.000000Z"},
        {"2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000000Z"},
        {"2024-02-29T00:00:00-00:00", "2024-02-29T00:00:00.000000Z"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t a = 1, b = 2;

        if (clk_parse(rows[i].text, &a) || clk_parse(rows[i].same_as, &b) || a != b)
            fail_msg("%s", rows[i].text);
    }
}

static void what_is_no_time_is_refused(void **state)
{
    static const char *const rows[] = {
        "",
        "2026",
        "2026-11-23",
        "2026-11-23T14:05:06", /* no offset: which time is it? */
        "2026-11-23T14:05Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "2026-04-00T00:00:00Z",
        "2026-11-23T24:00:00Z",
        "2026-11-23T14:60:00Z",
        "2026-11-23T14:05:61Z",
        "2026-11-23T14:05:06.Z",
        "2026-11-23T14:05:06Zx",
        "2026-11-23T14:05:06 Z",
        "2026-11-23T14:05:06+1:00",
        "2026-11-23T14:05:06+24:00",
        "2026-11-23T14:05:06+01:60",
        "2026-11-23T14:05:06+01",
        "-026-11-23T14:05:06Z",
        "2026-11-23T-4:05:06Z",
        " 2026-11-23T14:05:06Z",
        "12026-11-23T14:05:06Z",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t us = 42;

        if (clk_parse(rows[i], &us) != -1 || us != 42)
            fail_msg("\"%s\" was read", rows[i]);
    }
}

static void clocks_are_passed_in(void **state)
{
    struct manual_clk m;

    (void)state;
    manual_clk_init(&m, -1);
    assert_true(clk_unix_us(&m.clk) == -1);
    assert_true(clk_unix_ms(&m.clk) == -1); /* down, not towards zero */
    assert_true(clk_mono_ms(&m.clk) == 0);
    manual_clk_advance_ms(&m, 1500);
    assert_true(clk_unix_us(&m.clk) == 1499999);
    assert_true(clk_unix_ms(&m.clk) == 1499);
    assert_true(clk_mono_ms(&m.clk) == 1500);
}

static void system_clock_goes_forward(void **state)
{
    int64_t ns = clk_mono_ns(), ms = clk_mono_ms(&clk_system);

    (void)state;
    assert_true(clk_mono_ns() >= ns);
    assert_true(clk_mono_ms(&clk_system) >= ms);
    assert_true(clk_unix_us(&clk_system) >
                1700000000000000); /* 2023: microseconds, not another unit */
    assert_true(clk_unix_us(&clk_system) < 7000000000000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_those_of_python),
        cmocka_unit_test(dates_are_those_of_libc),
        cmocka_unit_test(times_outside_four_digit_years_are_clamped),
        cmocka_unit_test(a_time_in_ms_that_is_none_counts_as_absent),
        cmocka_unit_test(other_forms_are_read),
        cmocka_unit_test(what_is_no_time_is_refused),
        cmocka_unit_test(clocks_are_passed_in),
        cmocka_unit_test(system_clock_goes_forward),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
