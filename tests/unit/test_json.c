#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"

static struct json *parse(const char *text)
{
    struct err err = {0};
    struct json *j = json_parse(slice_str(text), "doc", &err);

    if (!j)
        fail_msg("%s: %s", text, err.msg);
    return j;
}

static char *written(const struct json *j, int indent, bool sorted)
{
    struct buf out = {0};

    json_write(j, indent, sorted, &out);
    return buf_take(&out);
}

static void values_of_every_type_are_read(void **state)
{
    CLEANUP(json_freep)
    struct json *j = parse("{\"s\":\"\\u00e9\\n\",\"i\":-7,\"d\":2.5,\"t\":true,\"n\":null,"
                           "\"a\":[1,2,3],\"whole\":3.0,\"big\":1e300}");

    (void)state;
    assert_true(json_is_object(j));
    assert_int_equal(json_len(j), 8);
    assert_string_equal(json_get_str(j, "s", "?"), "\xc3\xa9\n");
    assert_int_equal(json_get_int(j, "i", 0), -7);
    assert_true(json_get_num(j, "i", 0) == -7.0);
    assert_true(json_get_num(j, "d", 0) == 2.5);
    assert_true(json_get_bool(j, "t", false));
    assert_true(json_is_null(json_get(j, "n")));
    assert_true(json_is_array(json_get(j, "a")));
    assert_int_equal(json_int(json_at(json_get(j, "a"), 2), 0), 3);
    assert_null(json_at(json_get(j, "a"), 3));
    assert_int_equal(json_get_int(j, "whole", 0), 3);
    assert_int_equal(json_get_int(j, "d", 99), 99);
    assert_int_equal(json_get_int(j, "big", 99), 99);
    assert_true(json_is_string(json_get(j, "s")) && json_is_number(json_get(j, "d")));
    assert_true(json_is_bool(json_get(j, "t")) && !json_is_bool(json_get(j, "n")));
}

static void what_is_absent_or_of_another_type_gives_the_fallback(void **state)
{
    CLEANUP(json_freep) struct json *j = parse("{\"s\":\"x\",\"i\":1}");

    (void)state;
    assert_string_equal(json_get_str(j, "i", "other"), "other");
    assert_int_equal(json_get_int(j, "s", 5), 5);
    assert_true(json_get_num(j, "none", 1.5) == 1.5);
    assert_true(json_get_bool(j, "i", true));
    assert_null(json_get(json_get(j, "s"), "deeper"));
    assert_null(json_get(NULL, "x"));
    assert_null(json_at(NULL, 0));
    assert_int_equal(json_len(NULL), 0);
    assert_int_equal(json_len(json_get(j, "s")), 0);
    assert_false(json_is_null(NULL) || json_is_object(NULL) || json_is_number(NULL));
    assert_string_equal(json_str(NULL, "f"), "f");
    json_free(NULL);
}

static void scalars_may_be_documents(void **state)
{
    static const char *const docs[] = {"1", "\"x\"", "null", " true ", "[]", "{}", "-0.5e-3"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(docs); i++) {
        CLEANUP(json_freep) struct json *j = parse(docs[i]);

        assert_non_null(j);
    }
}

static void what_is_not_strict_json_is_refused_with_its_place(void **state)
{
    static const struct {
        const char *text, *where;
        size_t n; /* 0: strlen */
    } bad[] = {
        {"", "doc:1:0: ", 0},
        {"{\"a\":1,\"a\":2}", "doc:1:10: duplicate object key", 0},
        {"{\"a\":1,\n \"b\":}", "doc:2:6: ", 0},
        {"{} {}", "doc:1:4: end of file expected", 0},
        {"[1,]", "doc:1:4: ", 0},
        {"[01]", "doc:1:2: ", 0},
        {"[NaN]", "doc:1:4: ", 0},
        {"{'a':1}", "doc:1:2: ", 0},
        {"[1 /* c */]", "doc:1:4: ", 0},
        {"[1e400]", "doc:1:6: real number overflow", 0},
        {"[9223372036854775808]", "doc:1:20: too big integer", 0},
        {"\"\\u0000\"", "doc:1:8: \\u0000 is not allowed", 0},
        {"\"\\ud800\"", "doc:1:", 0},
        {"\"a\nb\"", "doc:1:2: unexpected newline", 0},
        {"\"\xff\"", "doc:1:1: unable to decode byte 0xff", 0},
        {"\"\xc0\x80\"", "doc:1:1: unable to decode byte 0xc0", 0},
        {"[\0]", "doc:1:2: ", 3},
        {"\xef\xbb\xbf{}", "doc:1:", 0},
        {"{\"a\":[1,2}", "doc:1:10: ", 0},
        {"\"open", "doc:1:5: ", 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct slice text =
            bad[i].n ? (struct slice){bad[i].text, bad[i].n} : slice_str(bad[i].text);
        struct err err = {0};

        assert_null(json_parse(text, "doc", &err));
        assert_int_equal(err.code, ERR_INVAL);
        assert_int_equal(err.next, NEXT_REJECT);
        if (!str_has_prefix(err.msg, bad[i].where))
            fail_msg("row %zu: \"%s\" is not at \"%s\"", i, err.msg, bad[i].where);
        assert_non_null(strstr(err.msg, "(byte "));
        assert_null(strpbrk(err.msg, "\n\x1b"));
    }
}

static void nesting_is_allowed_to_64_levels(void **state)
{
    char text[4096];

    (void)state;
    for (int depth = 63; depth <= 66; depth++) {
        struct err err = {0};
        struct json *j;

        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        text[2 * depth] = '\0';
        j = json_parse(slice_str(text), "doc", &err);
        assert_int_equal(j != NULL, depth <= 64);
        if (!j)
            assert_string_equal(err.msg, "doc:1:65: nested more than 64 levels deep");
        json_free(j);
    }
    memset(text, '[', 100);
    snprintf(text + 100, sizeof(text) - 100, "%s", "]");
    text[0] = '"', text[90] = '\\', text[91] = '"', text[92] = '"';
    text[93] = '\0';
    json_free(parse(text)); /* brackets in a string, with an escaped quote, are no nesting */
}

static void a_text_above_the_cap_is_refused_unread(void **state)
{
    struct err err = {0};

    (void)state;
    assert_null(json_parse((struct slice){"x", ((size_t)64 << 20) + 1}, "doc", &err));
    assert_int_equal(err.code, ERR_LIMIT);
}

static void objects_are_walked_in_the_order_of_the_text(void **state)
{
    CLEANUP(json_freep) struct json *j = parse("{\"z\":0,\"a\":1,\"m\":2}");
    const struct json *value;
    const char *key;
    char keys[8] = {0};
    int n = 0;

    (void)state;
    for (void *it = json_next(j, NULL, &key, &value); it; it = json_next(j, it, &key, &value)) {
        assert_int_equal(json_int(value, -1), n);
        keys[n++] = key[0];
    }
    assert_string_equal(keys, "zam");
    assert_null(json_next(NULL, NULL, &key, &value));
}

static void what_is_built_is_written_in_insertion_order_or_sorted(void **state)
{
    CLEANUP(json_freep) struct json *j = json_object();
    CLEANUP(json_freep) struct json *copy = NULL;
    CLEANUP_FREE char *plain = NULL, *sorted = NULL, *indented = NULL;
    struct json *a = json_set(j, "z", json_array());

    (void)state;
    json_add_int(a, INT64_MIN);
    json_add_num(a, 0.1);
    json_add_str(a, "q\"\\/\x01\x1f\b\f\n\r\t\x7f\xe2\x82\xac");
    json_set_bool(json_add(a, json_object()), "b", true);
    json_set_null(j, "n");
    json_set_str(j, "a", NULL);
    json_set_int(j, "B", 7);
    json_set(j, "e", json_object());
    copy = json_copy(j);
    json_set_int(j, "B", 8); /* replaced in its place */
    plain = written(j, 0, false);
    assert_string_equal(plain,
                        "{\"z\":[-9223372036854775808,0.1,\"q\\\"\\\\/\\u0001\\u001f\\b\\f\\n\\r\\t"
                        "\x7f\xe2\x82\xac\",{\"b\":true}],\"n\":null,\"a\":null,\"B\":8,\"e\":{}}");
    sorted = written(copy, 0, true);
    assert_non_null(strstr(sorted, "{\"B\":7,\"a\":null,\"e\":{},\"n\":null,\"z\":["));
    indented = written(json_get(j, "z"), 2, false);
    assert_non_null(strstr(indented, "[\n  -9223372036854775808,\n  0.1,\n"));
    assert_non_null(strstr(indented, "  {\n    \"b\": true\n  }\n]"));
}

static void numbers_that_are_not_finite_are_written_as_null(void **state)
{
    CLEANUP(json_freep) struct json *j = json_array();
    CLEANUP_FREE char *text = NULL;

    (void)state;
    json_add_num(j, NAN);
    json_add_num(j, INFINITY);
    json_add_num(j, -INFINITY);
    text = written(j, 0, false);
    assert_string_equal(text, "[null,null,null]");
}

static void doubles_are_short_and_read_back_the_same(void **state)
{
    static const double values[] = {
        0.1, 1.0 / 3, 1e22, -0.0, DBL_MAX, DBL_MIN, 5e-324, 123456789012345680.0, 1e-7};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        CLEANUP(json_freep) struct json *j = json_array(), *back = NULL;
        CLEANUP_FREE char *text = NULL;
        double v;

        json_add_num(j, values[i]);
        text = written(j, 0, false);
        back = parse(text);
        v = json_num(json_at(back, 0), NAN);
        assert_true(v == values[i] && signbit(v) == signbit(values[i]));
    }
}

static void text_that_is_no_utf8_is_repaired_when_it_is_set(void **state)
{
    CLEANUP(json_freep) struct json *j = json_object(), *back = NULL;
    CLEANUP_FREE char *text = NULL;

    (void)state;
    json_set_str(j, "k\xff", "a\xe2\x82z\xc3");
    text = written(j, 0, false);
    assert_string_equal(text, "{\"k\xef\xbf\xbd\":\"a\xef\xbf\xbd\xef\xbf\xbdz\xef\xbf\xbd\"}");
    back = parse(text);
    assert_non_null(back);
}

static void a_text_beyond_the_buffers_cap_sets_overflow(void **state)
{
    CLEANUP(json_freep) struct json *j = parse("[1,2,3,4,5,6,7,8,9]");
    CLEANUP(buf_fini) struct buf out = {0};

    (void)state;
    buf_init(&out, 8);
    json_write(j, 0, false, &out);
    assert_true(out.overflow);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_every_type_are_read),
        cmocka_unit_test(what_is_absent_or_of_another_type_gives_the_fallback),
        cmocka_unit_test(scalars_may_be_documents),
        cmocka_unit_test(what_is_not_strict_json_is_refused_with_its_place),
        cmocka_unit_test(nesting_is_allowed_to_64_levels),
        cmocka_unit_test(a_text_above_the_cap_is_refused_unread),
        cmocka_unit_test(objects_are_walked_in_the_order_of_the_text),
        cmocka_unit_test(what_is_built_is_written_in_insertion_order_or_sorted),
        cmocka_unit_test(numbers_that_are_not_finite_are_written_as_null),
        cmocka_unit_test(doubles_are_short_and_read_back_the_same),
        cmocka_unit_test(text_that_is_no_utf8_is_repaired_when_it_is_set),
        cmocka_unit_test(a_text_beyond_the_buffers_cap_sets_overflow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
