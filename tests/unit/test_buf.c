#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/fsx.h"
#include "common/mem.h"
#include "common/rng.h"
#include "tests/support/tmpdir.h"

static void zero_bytes_are_an_empty_buf(void **state)
{
    struct buf b = {0};

    (void)state;
    assert_int_equal(buf_slice(&b).n, 0);
    buf_reset(&b);
    buf_add(&b, NULL, 0);
    buf_add_str(&b, NULL);
    buf_fini(&b);
    buf_fini(NULL);
    CLEANUP_FREE char *text = buf_take(&b);
    assert_string_equal(text, "");
}

static void writes_follow_each_other(void **state)
{
    CLEANUP(buf_fini) struct buf b = {0};
    CLEANUP_FREE char *taken = NULL;

    (void)state;
    buf_add_str(&b, "rows=");
    buf_addf(&b, "%d", 12);
    buf_add_char(&b, ' ');
    buf_add(&b, "a\0b", 3);
    assert_int_equal(b.len, 11);
    assert_memory_equal(b.data, "rows=12 a\0b", 12);
    buf_addf(&b, "%0*d", 300, 7); /* longer than what is left: formatted again */
    assert_int_equal(b.len, 311);
    assert_int_equal(strlen(b.data + 11), 300);
    taken = buf_take(&b);
    assert_memory_equal(taken, "rows=12 a\0b0", 12);
    assert_null(b.data);
    buf_add_str(&b, "new");
    assert_string_equal(b.data, "new");
}

static void cap_drops_the_write_and_all_after_it(void **state)
{
    CLEANUP(buf_fini) struct buf b = {0};

    (void)state;
    buf_init(&b, 10);
    buf_add_str(&b, "12345");
    buf_add_str(&b, "123456");
    assert_true(b.overflow);
    assert_string_equal(b.data, "12345");
    buf_add_char(&b, 'x');
    buf_addf(&b, "%d", 1);
    assert_string_equal(b.data, "12345");
    buf_reset(&b);
    assert_false(b.overflow);
    buf_addf(&b, "%s", "1234567890");
    assert_false(b.overflow);
    assert_string_equal(b.data, "1234567890");
    buf_addf(&b, "%s", "1");
    assert_true(b.overflow);
    assert_string_equal(b.data, "1234567890");
}

static void reserve_makes_room_or_overflows(void **state)
{
    CLEANUP(buf_fini) struct buf b = {0};

    (void)state;
    buf_init(&b, 1000);
    buf_reserve(&b, 900);
    assert_true(b.alloc > 900);
    assert_false(b.overflow);
    buf_reserve(&b, 1001);
    assert_true(b.overflow);
    buf_reset(&b);
    buf_reserve(&b, SIZE_MAX);
    assert_true(b.overflow);
}

static void slices_compare_by_content(void **state)
{
    struct slice empty = slice_str(NULL);

    (void)state;
    assert_true(slice_eq(empty, slice_str("")));
    assert_true(slice_eq_str(empty, NULL));
    assert_true(slice_eq_str((struct slice){.p = "abcd", .n = 3}, "abc"));
    assert_false(slice_eq_str((struct slice){.p = "abcd", .n = 3}, "abcd"));
    assert_false(slice_eq(slice_str("abc"), slice_str("abd")));
}

static void utf8_is_what_rfc_3629_says(void **state)
{
    static const struct {
        const char *text;
        bool good;
    } rows[] = {
        {"", true},
        {"plain", true},
        {"\xC3\xBC", true},
        {"\xE2\x82\xAC", true},
        {"\xF0\x9F\x98\x80", true},
        {"\xF4\x8F\xBF\xBF", true},  /* U+10FFFF, the last */
        {"\xED\x9F\xBF", true},      /* before the surrogates */
        {"\xEE\x80\x80", true},      /* after them */
        {"\xC0\x80", false},         /* NUL in two bytes */
        {"\xC1\xBF", false},         /* overlong */
        {"\xE0\x9F\xBF", false},     /* overlong */
        {"\xF0\x8F\xBF\xBF", false}, /* overlong */
        {"\xED\xA0\x80", false},     /* a surrogate */
        {"\xF4\x90\x80\x80", false}, /* above U+10FFFF */
        {"\xF5\x80\x80\x80", false},
        {"\xFF", false},
        {"\x80", false}, /* goes on without a start */
        {"\xC3", false}, /* cut */
        {"\xE2\x82", false},
        {"\xE2\x28\xA1", false},
        {"ok\xE2\x82\xAC\xC3(", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (slice_is_utf8(slice_str(rows[i].text)) != rows[i].good)
            fail_msg("row %zu", i);
    }
}

static void bounded_copy_says_when_it_cuts(void **state)
{
    char out[4];

    (void)state;
    assert_true(str_copy(out, sizeof(out), "abc"));
    assert_string_equal(out, "abc");
    assert_false(str_copy(out, sizeof(out), "abcd"));
    assert_string_equal(out, "abc");
    assert_true(str_copy(out, 1, ""));
    assert_false(str_copy(out, 1, "a"));
    assert_string_equal(out, "");
}

static void prefixes_and_suffixes(void **state)
{
    (void)state;
    assert_true(str_has_prefix("abc", "ab"));
    assert_true(str_has_prefix("abc", ""));
    assert_false(str_has_prefix("ab", "abc"));
    assert_true(str_has_suffix("model.ubj", ".ubj"));
    assert_true(str_has_suffix("x", ""));
    assert_false(str_has_suffix("ubj", ".ubj"));
}

static void whole_numbers_are_strict(void **state)
{
    static const struct {
        const char *text;
        int result;
        int64_t value;
    } rows[] = {
        {"0", 0, 0},
        {"-0", 0, 0},
        {"+7", 0, 7},
        {"007", 0, 7},
        {"9223372036854775807", 0, INT64_MAX},
        {"-9223372036854775808", 0, INT64_MIN},
        {"9223372036854775808", -1, 0},
        {"-9223372036854775809", -1, 0},
        {"99999999999999999999999", -1, 0},
        {"", -1, 0},
        {"-", -1, 0},
        {"+-1", -1, 0},
        {" 1", -1, 0},
        {"1 ", -1, 0},
        {"1.0", -1, 0},
        {"0x10", -1, 0},
        {"1e3", -1, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t v = 42;

        if (str_to_i64(rows[i].text, &v) != rows[i].result ||
            v != (rows[i].result ? 42 : rows[i].value))
            fail_msg("\"%s\" gave %lld", rows[i].text, (long long)v);
    }
}

static void decimals_are_strict_and_finite(void **state)
{
    static const struct {
        const char *text;
        int result;
        double value;
    } rows[] = {
        {"0", 0, 0},
        {"1.5", 0, 1.5},
        {"-1.5e-3", 0, -1.5e-3},
        {"+.5", 0, 0.5},
        {"5.", 0, 5},
        {"1e308", 0, 1e308},
        {"4.9e-324", 0, 4.9e-324},
        {"1e-400", 0, 0}, /* too small is zero, not an error */
        {"1e999", -1, 0},
        {"-1e999", -1, 0},
        {"nan", -1, 0},
        {"inf", -1, 0},
        {"-Infinity", -1, 0},
        {"0x1p3", -1, 0},
        {"-0X1", -1, 0},
        {"", -1, 0},
        {".", -1, 0},
        {"-", -1, 0},
        {" 1", -1, 0},
        {"1 ", -1, 0},
        {"1,5", -1, 0},
        {"1e", -1, 0},
        {"1.5x", -1, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        double v = 42;

        if (str_to_double(rows[i].text, &v) != rows[i].result ||
            v != (rows[i].result ? 42 : rows[i].value))
            fail_msg("\"%s\" gave %g", rows[i].text, v);
    }
}

static void durations_have_units(void **state)
{
    static const struct {
        const char *text;
        int64_t ms; /* -1: refused */
    } rows[] = {
        {"0", 0},
        {"0s", 0},
        {"250ms", 250},
        {"30s", 30000},
        {"10m", 600000},
        {"2h", 7200000},
        {"1d", 86400000},
        {"1w", 604800000},
        {"1h30m", 5400000},
        {"1m30s500ms", 90500},
        {"30", -1},
        {"", -1},
        {"s", -1},
        {"-1s", -1},
        {"1.5s", -1},
        {"1 s", -1},
        {"10S", -1},
        {"1month", -1},
        {"30m1h", -1},
        {"1h1h", -1},
        {"1h30", -1},
        {"9223372036854775807d", -1},
        {"99999999999999999999s", -1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t ms = -1;

        if (str_to_duration_ms(rows[i].text, &ms) != (rows[i].ms < 0 ? -1 : 0) || ms != rows[i].ms)
            fail_msg("\"%s\" gave %lld", rows[i].text, (long long)ms);
    }
}

static void sizes_have_units(void **state)
{
    static const struct {
        const char *text;
        int64_t bytes; /* -1: refused */
    } rows[] = {
        {"0", 0},
        {"512", 512},
        {"512B", 512},
        {"10k", 10000},
        {"10kB", 10000},
        {"3M", 3000000},
        {"1GB", 1000000000},
        {"1KiB", 1024},
        {"64MiB", 67108864},
        {"2GiB", 2147483648},
        {"2Gi", 2147483648},
        {"1TiB", 1099511627776},
        {"", -1},
        {"k", -1},
        {"1kib", -1},
        {"1.5GiB", -1},
        {"-1k", -1},
        {"1k2", -1},
        {"1 k", -1},
        {"99999999999TiB", -1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t bytes = -1;

        if (str_to_size_bytes(rows[i].text, &bytes) != (rows[i].bytes < 0 ? -1 : 0) ||
            bytes != rows[i].bytes)
            fail_msg("\"%s\" gave %lld", rows[i].text, (long long)bytes);
    }
}

static void doubles_print_as_short_as_they_read_back(void **state)
{
    /* expected: repr() of Python 3.11.7, with C's form of exponents and whole numbers */
    static const struct {
        double v;
        const char *text;
    } rows[] = {
        {0, "0"},
        {-0.0, "-0"},
        {1, "1"},
        {0.1, "0.1"},
        {0.1 + 0.2, "0.30000000000000004"},
        {1.0 / 3, "0.3333333333333333"},
        {2.0 / 3, "0.6666666666666666"},
        {1e21, "1e+21"},
        {123456789012345680.0, "1.2345678901234568e+17"},
        {5e-324, "4.94065645841247e-324"}, /* never fewer than 15 digits are tried */
        {1.7976931348623157e308, "1.7976931348623157e+308"},
        {NAN, "nan"},
        {-NAN, "nan"},
        {INFINITY, "inf"},
        {-INFINITY, "-inf"},
    };
    char out[32];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        double_to_str(rows[i].v, out);
        assert_string_equal(out, rows[i].text);
    }
}

static void any_double_survives_text(void **state)
{
    struct rng r;
    char out[32];

    (void)state;
    rng_seed(&r, 1);
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = rng_next(&r);
        double v, back = 0;

        memcpy(&v, &bits, sizeof(v));
        if (!isfinite(v))
            continue;
        double_to_str(v, out);
        assert_int_equal(str_to_double(out, &back), 0);
        assert_memory_equal(&v, &back, sizeof(v));
    }
}

/* A locale of which only the decimal point differs, in glibc's compiled form: few test machines
 * have one with a comma installed. */
static void write_comma_locale(struct tmpdir *t)
{
    static const char strings[] = ",\0.\0\3\0\0"; /* decimal point, thousands, grouping */
    enum { HEAD_BYTES = 32 };
    const uint32_t head[] = {
        0x20031115 ^ LC_NUMERIC,
        6,
        HEAD_BYTES,
        HEAD_BYTES + 2,
        HEAD_BYTES + 4,
        HEAD_BYTES + 8,
        HEAD_BYTES + 12,
        HEAD_BYTES + 16,
    };
    const uint32_t wide[] = {',', '.'};
    struct err err = {0};
    CLEANUP(buf_fini) struct buf file = {0};

    buf_add(&file, head, sizeof(head));
    buf_add(&file, strings, 8);
    buf_add(&file, wide, sizeof(wide));
    buf_add(&file, "UTF-8", 6);
    assert_int_equal(fsx_mkdirs(tmpdir_join(t, "comma"), &err), 0);
    tmpdir_write(t, "comma/LC_NUMERIC", file.data, file.len);
    assert_int_equal(setenv("LOCPATH", t->path, 1), 0);
}

static void locale_with_a_comma_changes_nothing(void **state)
{
    char out[32], plain[32];
    double v = 0;

    write_comma_locale(*state);
    if (!setlocale(LC_NUMERIC, "comma"))
        skip(); /* a libc with another format */
    snprintf(plain, sizeof(plain), "%.1f", 1.5);
    assert_string_equal(plain, "1,5");
    double_to_str(1.5, out);
    assert_string_equal(out, "1.5");
    assert_int_equal(str_to_double("2.5", &v), 0);
    assert_true(v == 2.5);
    assert_int_equal(str_to_double("2,5", &v), -1);
    setlocale(LC_ALL, "C");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zero_bytes_are_an_empty_buf),
        cmocka_unit_test(writes_follow_each_other),
        cmocka_unit_test(cap_drops_the_write_and_all_after_it),
        cmocka_unit_test(reserve_makes_room_or_overflows),
        cmocka_unit_test(slices_compare_by_content),
        cmocka_unit_test(utf8_is_what_rfc_3629_says),
        cmocka_unit_test(bounded_copy_says_when_it_cuts),
        cmocka_unit_test(prefixes_and_suffixes),
        cmocka_unit_test(whole_numbers_are_strict),
        cmocka_unit_test(decimals_are_strict_and_finite),
        cmocka_unit_test(durations_have_units),
        cmocka_unit_test(sizes_have_units),
        cmocka_unit_test(doubles_print_as_short_as_they_read_back),
        cmocka_unit_test(any_double_survives_text),
        cmocka_unit_test_setup_teardown(locale_with_a_comma_changes_nothing, tmpdir_setup,
                                        tmpdir_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
