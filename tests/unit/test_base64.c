#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/base64.h"

static void the_vectors_of_rfc_4648_hold(void **state)
{
    static const struct {
        const char *bytes, *text;
    } rows[] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"\xfb\xff\xfe", "+//+"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(buf_fini) struct buf text = {0}, bytes = {0};

        buf_add_str(&text, "");
        base64_encode(slice_str(rows[i].bytes), &text);
        assert_true(slice_eq_str(buf_slice(&text), rows[i].text));
        assert_int_equal(base64_decode(buf_slice(&text), &bytes), 0);
        assert_true(slice_eq_str(buf_slice(&bytes), rows[i].bytes));
    }
}

static void what_is_no_base64_is_refused_and_leaves_nothing(void **state)
{
    static const char *const rows[] = {
        "Z",    "Zg",   "Zg=",  "Zg===",    "Z===", "====", "Zm9v!AAA",
        "Zm 9", "Zh==", "Zm9=", "Zg==Zg==", "Zm-_", "=AAA"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(buf_fini) struct buf bytes = {0};

        buf_add_str(&bytes, "kept");
        if (base64_decode(slice_str(rows[i]), &bytes) != -1)
            fail_msg("%s was read", rows[i]);
        assert_true(slice_eq_str(buf_slice(&bytes), "kept"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vectors_of_rfc_4648_hold),
        cmocka_unit_test(what_is_no_base64_is_refused_and_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
