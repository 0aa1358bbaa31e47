#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "agents/ingest/value.h"
#include "common/rng.h"

enum { RANDOM_NUMBERS = 300000 };

static void check_as_strtof(const char *text)
{
    float want = strtof(text, NULL), got = 77;
    enum number rc = number_parse(text, strlen(text), &got);

    if (isinf(want) ? rc != NUMBER_RANGE : rc != NUMBER_OK || memcmp(&got, &want, sizeof(got)) != 0)
        fail_msg("'%s': %d %.9g, strtof %.9g", text, (int)rc, (double)got, (double)want);
}

static void numbers_are_those_of_strtof(void **state)
{
    static const char *const texts[] = {
        "0",
        "-0",
        "0.0",
        "1",
        "-1",
        "+1",
        "1.",
        ".5",
        "-.5",
        "1e5",
        "1E+5",
        "1e-5",
        "0e999",
        "0e-999",
        "16777217", /* 2^24 + 1: in the middle, to even */
        "16777219",
        "16777217.0000000000001",
        "16777216.9999999999999",
        "33554434.0",
        "33554435",
        "33554438",
        "0.1",
        "0.3",
        "0.05644299999999999",
        "123456789012345678901234567890",
        "1e38",
        "3.4028234e38",
        "3.4028235e38",
        "3.4028235677973366e38", /* the middle beyond FLT_MAX: infinite */
        "3.4028235677973365e38",
        "3.5e38",
        "1e39",
        "1e400",
        "1e-45",
        "7e-46",
        "7.1e-46",
        "1.4e-45",
        "1e-400",
        "1.17549435e-38",
        "1.17549428e-38",
        "1.1754942e-38",
        "9999999999999999999",
        "99999999999999999999",
        "0.00000000000000000000000000000000000001",
        "1e-37",
        "123e-60",
        "1234567890123456789e-57",
        "000000000000000000000000000001.5",
        "8388608.5",
        "8388609.5",
        "4194304.25",
        "4194304.75"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        check_as_strtof(texts[i]);
}

static void random_numbers_are_those_of_strtof(void **state)
{
    struct rng r;
    char text[80];

    (void)state;
    rng_seed(&r, 7);
    for (int i = 0; i < RANDOM_NUMBERS; i++) {
        uint32_t bits = (uint32_t)rng_next(&r);
        float v;
        double d;

        memcpy(&v, &bits, sizeof(v));
        if (!isfinite(v))
            continue;
        snprintf(text, sizeof(text), "%.*g", 1 + (int)rng_below(&r, 20), (double)v);
        check_as_strtof(text);
        d = (rng_double(&r) - 0.5) * pow(10, (double)rng_below(&r, 16) - 8);
        snprintf(text, sizeof(text), "%.*f", (int)rng_below(&r, 18), d);
        check_as_strtof(text);
        /* next to the middle between two floats */
        d = ((double)v + (double)nextafterf(v, INFINITY)) / 2;
        snprintf(text, sizeof(text), "%.*g", 15 + (int)rng_below(&r, 6), d);
        if (isfinite(d))
            check_as_strtof(text);
    }
}

static void what_is_no_number_is_told(void **state)
{
    static const struct {
        const char *text;
        enum number want;
    } rows[] = {
        {"", NUMBER_NONE},           {" ", NUMBER_NONE},      {"abc", NUMBER_NONE},
        {"1a", NUMBER_NONE},         {"1 2", NUMBER_NONE},    {"1,5", NUMBER_NONE},
        {"1_000", NUMBER_NONE},      {"0x10", NUMBER_NONE},   {"nan", NUMBER_NONE},
        {"-nan", NUMBER_NONE},       {".", NUMBER_NONE},      {"-", NUMBER_NONE},
        {"+-1", NUMBER_NONE},        {"1e", NUMBER_NONE},     {"1e+", NUMBER_NONE},
        {"e5", NUMBER_NONE},         {"1.2.3", NUMBER_NONE},  {"1e5.5", NUMBER_NONE},
        {"infinit", NUMBER_NONE},    {"1f", NUMBER_NONE},     {"--1", NUMBER_NONE},
        {".inf", NUMBER_NONE},       {"inf", NUMBER_RANGE},   {"-Inf", NUMBER_RANGE},
        {"+INFINITY", NUMBER_RANGE}, {"1e400", NUMBER_RANGE}, {"-1e39", NUMBER_RANGE},
        {" 1 ", NUMBER_OK},          {"\t1.5", NUMBER_OK},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        float v;

        if (number_parse(rows[i].text, strlen(rows[i].text), &v) != rows[i].want)
            fail_msg("'%s'", rows[i].text);
    }
}

static void the_end_of_a_cell_is_kept_to(void **state)
{
    const char *text = "12345678901234567890";
    float v;

    (void)state;
    for (size_t n = 1; n <= 20; n++) {
        char head[32];

        snprintf(head, sizeof(head), "%.*s", (int)n, text);
        assert_int_equal(number_parse(text, n, &v), NUMBER_OK);
        assert_true(v == strtof(head, NULL));
    }
    assert_int_equal(number_parse("1e5", 2, &v), NUMBER_NONE);
    assert_int_equal(number_parse("15", 1, &v), NUMBER_OK);
    assert_true(v == 1);
}

static void a_number_of_a_thousand_digits_is_none(void **state)
{
    char text[2000];
    float v;

    (void)state;
    memset(text, '1', sizeof(text));
    assert_int_equal(number_parse(text, sizeof(text), &v), NUMBER_NONE);
    memset(text, '0', sizeof(text));
    text[1] = '.';
    assert_int_equal(number_parse(text, 400, &v), NUMBER_OK);
}

static void dates_are_seconds(void **state)
{
    static const struct {
        const char *text;
        double want;
    } rows[] = {
        {"1970-01-01", 0},
        {"1970-01-02T00:00:01Z", 86401},
        {"2026-11-23", 1795392000},
        {"2026-11-23T14:05:06", 1795442706},
        {"2026-11-23 14:05:06", 1795442706},
        {"2026-11-23T14:05:06.5Z", 1795442706.5},
        {"2026-11-23T16:05:06+02:00", 1795442706},
        {"2026-11-23T09:05:06-0500", 1795442706},
        {"2026-11-23T16:05+02", 1795442700},
        {"1969-12-31T23:59:59Z", -1},
        {"2000-02-29", 951782400},
        {"0001-01-01", -62135596800},
        {" 2024-12-31 ", 1735603200},
    };
    static const char *const bad[] = {"",
                                      "2026",
                                      "20261123",
                                      "2026-13-01",
                                      "2026-00-01",
                                      "2026-02-29",
                                      "2100-02-29",
                                      "2026-1-1",
                                      "2026-11-23T",
                                      "2026-11-23T25:00",
                                      "23.11.2026",
                                      "2026-11-23T14:60",
                                      "2026-11-23T14:05:06.",
                                      "2026-11-23T14:05:06+",
                                      "2026-11-23x",
                                      "2026/11/23",
                                      "0000-01-01",
                                      "2026-11-23T14:05:06Zx",
                                      "2026-11-23T1:05"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        double v = 0;

        if (!date_parse(rows[i].text, strlen(rows[i].text), &v) || v != rows[i].want)
            fail_msg("'%s': %.3f, want %.3f", rows[i].text, v, rows[i].want);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        double v;

        if (date_parse(bad[i], strlen(bad[i]), &v))
            fail_msg("'%s' was taken", bad[i]);
    }
}

static void a_cell_is_of_one_kind(void **state)
{
    static const struct {
        const char *text;
        enum value_kind want;
    } rows[] = {
        {"", KIND_MISSING},        {"  ", KIND_MISSING},  {"NA", KIND_MISSING},
        {"n/a", KIND_MISSING},     {"NaN", KIND_MISSING}, {"null", KIND_MISSING},
        {"NULL", KIND_MISSING},    {"?", KIND_MISSING},   {"1", KIND_NUMBER},
        {"-1.5e3", KIND_NUMBER},   {"inf", KIND_NUMBER},  {"1e400", KIND_NUMBER},
        {"2026-01-01", KIND_DATE}, {"true", KIND_BOOL},   {"No", KIND_BOOL},
        {"t", KIND_TEXT},          {"abc", KIND_TEXT},    {"nan1", KIND_TEXT},
        {"2026", KIND_NUMBER},     {"none", KIND_TEXT},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (value_kind(rows[i].text, strlen(rows[i].text)) != rows[i].want)
            fail_msg("'%s'", rows[i].text);
}

static void declared_truth_has_more_words(void **state)
{
    float v;

    (void)state;
    assert_true(bool_parse("T", 1, true, &v) && v == 1);
    assert_true(bool_parse("0", 1, true, &v) && v == 0);
    assert_false(bool_parse("0", 1, false, &v));
    assert_false(bool_parse("2", 1, true, &v));
    assert_true(bool_parse(" YES ", 5, false, &v) && v == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_those_of_strtof),
        cmocka_unit_test(random_numbers_are_those_of_strtof),
        cmocka_unit_test(what_is_no_number_is_told),
        cmocka_unit_test(the_end_of_a_cell_is_kept_to),
        cmocka_unit_test(a_number_of_a_thousand_digits_is_none),
        cmocka_unit_test(dates_are_seconds),
        cmocka_unit_test(a_cell_is_of_one_kind),
        cmocka_unit_test(declared_truth_has_more_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
