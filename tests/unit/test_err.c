#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/buf.h"
#include "common/err.h"

static void set_gives_minus_one_and_all_parts(void **state)
{
    struct err err = {0};

    (void)state;
    assert_int_equal(err_set(&err, ERR_BUS, NEXT_FATAL, "broker %d of %s", 2, "three"), -1);
    assert_int_equal(err.code, ERR_BUS);
    assert_int_equal(err.next, NEXT_FATAL);
    assert_string_equal(err.msg, "broker 2 of three");
}

static void null_err_is_allowed(void **state)
{
    (void)state;
    assert_int_equal(err_set(NULL, ERR_IO, NEXT_RETRY, "x"), -1);
    assert_int_equal(err_wrap(NULL, "x"), -1);
}

static void shorthands_have_their_disposition(void **state)
{
    struct err err = {0};

    (void)state;
    assert_int_equal(err_inval(&err, "row %d", 7), -1);
    assert_int_equal(err.code, ERR_INVAL);
    assert_int_equal(err.next, NEXT_REJECT);
    assert_int_equal(err_io(&err, "disk"), -1);
    assert_int_equal(err.code, ERR_IO);
    assert_int_equal(err.next, NEXT_RETRY);
}

static void message_may_be_made_from_itself(void **state)
{
    struct err err = {0};

    (void)state;
    err_set(&err, ERR_STORE, NEXT_RETRY, "locked");
    err_set(&err, err.code, NEXT_FATAL, "store: %s (%s)", err.msg, err.msg);
    assert_string_equal(err.msg, "store: locked (locked)");
    err_wrap(&err, "after \"%s\"", err.msg);
    assert_string_equal(err.msg, "after \"store: locked (locked)\": store: locked (locked)");
}

static void wrap_puts_context_in_front_and_keeps_the_rest(void **state)
{
    struct err err = {0};

    (void)state;
    err_set(&err, ERR_STORE, NEXT_RETRY, "database is locked");
    assert_int_equal(err_wrap(&err, "store"), -1);
    assert_int_equal(err_wrap(&err, "load model %s", "m7"), -1);
    assert_string_equal(err.msg, "load model m7: store: database is locked");
    assert_int_equal(err.code, ERR_STORE);
    assert_int_equal(err.next, NEXT_RETRY);
}

static void long_messages_are_cut_between_characters(void **state)
{
    char text[2000];
    struct err err = {0};

    (void)state;
    for (size_t i = 0; i + 3 < sizeof(text); i += 3)
        memcpy(text + i, "\xE2\x82\xAC", 4); /* a euro sign is three bytes */
    for (int shift = 0; shift < 3; shift++) {
        err_set(&err, ERR_IO, NEXT_RETRY, "%.*s%s", shift, "ab", text);
        assert_in_range(strlen(err.msg), sizeof(err.msg) - 3, sizeof(err.msg) - 1);
        assert_true(slice_is_utf8(slice_str(err.msg)));
        err_wrap(&err, "%.*s", 3 - shift, "xyz");
        assert_true(strlen(err.msg) < sizeof(err.msg));
        assert_true(slice_is_utf8(slice_str(err.msg)));
    }
    err_wrap(&err, "%s", text); /* context alone is longer than there is room */
    assert_true(slice_is_utf8(slice_str(err.msg)));
}

static void every_code_and_disposition_has_its_own_name(void **state)
{
    (void)state;
    for (int i = 0; i < ERR_COUNT; i++) {
        assert_non_null(err_code_str((enum err_code)i));
        for (int j = 0; j < i; j++)
            assert_string_not_equal(err_code_str((enum err_code)i), err_code_str((enum err_code)j));
    }
    for (int i = 0; i < NEXT_COUNT; i++)
        assert_non_null(err_next_str((enum err_next)i));
    assert_string_equal(err_next_str(NEXT_REJECT), "reject");
    assert_string_equal(err_next_str(NEXT_RETRY), "retry");
    assert_string_equal(err_next_str(NEXT_FATAL), "fatal");
    assert_string_equal(err_code_str(ERR_COUNT), "unknown");
    assert_string_equal(err_next_str(NEXT_COUNT), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_gives_minus_one_and_all_parts),
        cmocka_unit_test(null_err_is_allowed),
        cmocka_unit_test(shorthands_have_their_disposition),
        cmocka_unit_test(message_may_be_made_from_itself),
        cmocka_unit_test(wrap_puts_context_in_front_and_keeps_the_rest),
        cmocka_unit_test(long_messages_are_cut_between_characters),
        cmocka_unit_test(every_code_and_disposition_has_its_own_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
