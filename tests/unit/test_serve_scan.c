/* The scanner takes what common/json.h takes, and reads numbers as strtod does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "agents/serve/answer.h"
#include "agents/serve/scan.h"
#include "common/json.h"
#include "common/rng.h"

static bool takes(const char *text)
{
    struct scan s = scan_on(slice_str(text));
    struct err err = {0};

    return scan_skip(&s, NULL, &err) == 0 && scan_peek(&s) == SCAN_END;
}

static void a_document_is_taken_when_jansson_takes_it(void **state)
{
    static const char *const texts[] = {
        "{}",
        "[]",
        "[[]]",
        "{\"a\":{}}",
        "{\"a\":[1,2,{\"b\":null}],\"c\":true}",
        " [ 1 , 2 ] ",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\":1,}",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "{\"a\":1 \"b\":2}",
        "[1",
        "{\"a\":1",
        "]",
        "[}",
        "{]",
        "[1]]",
        "[\"a]",
        "[\"\\u0041\"]",
        "[\"\\u00\"]",
        "[\"\\ud83d\\ude00\"]",
        "[\"\\ud83d\"]",
        "[\"\\ude00\"]",
        "[\"\\ud83d\\u0041\"]",
        "[\"\\u0000\"]",
        "[\"\\x\"]",
        "[\"\\\"\"]",
        "[\"\\\\\"]",
        "[\"\\",
        "[\"\xc3\xa4\"]",
        "[\"\xc3\"]",
        "[\"\xed\xa0\x80\"]",
        "[\"\xff\"]",
        "[\"a\nb\"]",
        "[\"a\tb\"]",
        "[0]",
        "[-0]",
        "[00]",
        "[01]",
        "[1.]",
        "[.5]",
        "[-]",
        "[+1]",
        "[1e]",
        "[1e+]",
        "[1e5]",
        "[1E-5]",
        "[1.5e300]",
        "[1e999]",
        "[1e-999]",
        "[0x10]",
        "[NaN]",
        "[Infinity]",
        "[nul]",
        "[nulll]",
        "[true]",
        "[True]",
        "[truefalse]",
        "[tru",
        "[0.1234567890123456789012345678901234567890]",
        "[null]",
        "",
        " ",
        "[\"\\/\\b\\f\\n\\r\\t\"]",
        "[/*c*/1]",
        "[1]//",
        "[1e400,2]",
        "[-1.0e-3]",
        "[\"\\uD83D\\uDE00x\"]",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct err err = {0};
        struct json *j = json_parse(slice_str(texts[i]), "text", &err);

        if (takes(texts[i]) != (j != NULL))
            fail_msg("%s: json_parse says %s", texts[i], j ? "yes" : err.msg);
        json_free(j);
    }
}

static void nesting_has_the_same_limit(void **state)
{
    (void)state;
    for (int levels = 60; levels < 70; levels++) {
        CLEANUP(buf_fini) struct buf b = {0};
        struct err err = {0};
        struct json *j;

        for (int i = 0; i < levels; i++)
            buf_add_char(&b, '[');
        for (int i = 0; i < levels; i++)
            buf_add_char(&b, ']');
        j = json_parse(buf_slice(&b), "text", &err);
        assert_int_equal(takes(b.data), j != NULL);
        json_free(j);
    }
}

static double number(const char *text)
{
    struct scan s = scan_on(slice_str(text));
    struct slice as_written;
    struct err err = {0};
    double v;

    if (scan_number(&s, &as_written, &v, &err))
        fail_msg("%s: %s", text, err.msg);
    assert_true(slice_eq_str(as_written, text));
    return v;
}

static void numbers_are_those_of_strtod(void **state)
{
    static const char *const texts[] = {
        "0",
        "-0",
        "1",
        "0.1",
        "0.3",
        "123456789012345678",
        "9007199254740993",
        "9007199254740992",
        "1e22",
        "1e23",
        "1.7976931348623157e308",
        "5e-324",
        "2.2250738585072011e-308",
        "0.000001",
        "1e-22",
        "1e-23",
        "179769313486231570000000000000000000000",
        "0.1234567890123456789",
        "12345678901234567890.5",
        "18446744073709551616",
        "4.35",
        "0.00000000000000000000000000000000000012345",
        "100000000000000000000000",
    };
    struct rng r;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_true(number(texts[i]) == strtod(texts[i], NULL));
    rng_seed(&r, 7);
    for (int i = 0; i < 20000; i++) {
        char text[64];
        int digits = (int)rng_below(&r, 20) + 1, exponent = (int)rng_below(&r, 60) - 30;

        snprintf(text, sizeof(text), "%.*fe%d", digits, rng_double(&r) * 1000, exponent);
        assert_true(number(text) == strtod(text, NULL));
    }
}

static void strings_are_decoded(void **state)
{
    static const struct {
        const char *text, *expected;
    } rows[] = {
        {"\"plain\"", "plain"},
        {"\"\\u00e4\\\"\\\\\\/\\n\"", "\xc3\xa4\"\\/\n"},
        {"\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80"},
        {"\"\\u20ac\"", "\xe2\x82\xac"},
        {"\"\"", ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct scan s = scan_on(slice_str(rows[i].text));
        struct arena arena = {0};
        struct slice out;
        struct err err = {0};

        assert_int_equal(scan_string(&s, &arena, &out, &err), 0);
        assert_true(slice_eq_str(out, rows[i].expected));
        arena_fini(&arena);
    }
}

/* What answers are written with reads back as the same double, probabilities above all. */
static void written_numbers_read_back(void **state)
{
    static const double some[] = {0,     1,    0.5,        1e-5, 0x1p-14, 0.99999994,
                                  1e300, -2.5, 123456.789, 0.1,  5e-324};
    CLEANUP(buf_fini) struct buf b = {0};
    struct rng r;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(some); i++) {
        buf_reset(&b);
        answer_number(some[i], &b);
        assert_true(strtod(b.data, NULL) == some[i]);
    }
    rng_seed(&r, 11);
    for (int i = 0; i < 100000; i++) {
        float f = (float)rng_double(&r);
        double v;

        f = i % 3 == 0 ? f * f * f * f : i % 3 == 1 ? 1 - f * 1e-4f : f;
        v = (double)f;
        buf_reset(&b);
        answer_number(v, &b);
        if (strtod(b.data, NULL) != v)
            fail_msg("%.17g was written as %s", v, b.data);
    }
    buf_reset(&b);
    answer_number((double)NAN, &b);
    assert_string_equal(b.data, "null");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_document_is_taken_when_jansson_takes_it),
        cmocka_unit_test(nesting_has_the_same_limit),
        cmocka_unit_test(numbers_are_those_of_strtod),
        cmocka_unit_test(strings_are_decoded),
        cmocka_unit_test(written_numbers_read_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
