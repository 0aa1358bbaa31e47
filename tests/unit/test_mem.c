#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/mem.h"
#include "tests/support/aborts.h"

/* The sanitizers' allocators would end the process by themselves. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static void nothing_is_still_a_pointer(void **state)
{
    CLEANUP_FREE void *a = xmalloc(0);
    CLEANUP_FREE void *b = xcalloc(0, 8);
    CLEANUP_FREE void *c = xrealloc(NULL, 0);
    CLEANUP_FREE void *d = xmemdup(NULL, 0);

    (void)state;
    assert_non_null(a);
    assert_non_null(b);
    assert_non_null(c);
    assert_non_null(d);
}

static void copies_of_strings(void **state)
{
    CLEANUP_FREE char *whole = xstrdup("abc");
    CLEANUP_FREE char *part = xstrndup("abcdef", 2);
    CLEANUP_FREE char *made = xasprintf("%s-%d", "run", 7);

    (void)state;
    assert_string_equal(whole, "abc");
    assert_string_equal(part, "ab");
    assert_string_equal(made, "run-7");
    assert_null(xstrdup(NULL));
}

static void take_leaves_null_behind(void **state)
{
    CLEANUP_FREE char *p = xstrdup("x");
    CLEANUP_FREE char *q = TAKE(p);

    (void)state;
    assert_null(p);
    assert_string_equal(q, "x");
}

static void grow_doubles_and_keeps_what_is_there(void **state)
{
    uint32_t *items = NULL;
    size_t cap = 0;

    (void)state;
    for (size_t n = 0; n < 1000; n++) {
        items = xgrow(items, &cap, n + 1, sizeof(*items));
        assert_true(cap > n && cap < 2 * n + 16);
        items[n] = (uint32_t)n;
    }
    for (size_t n = 0; n < 1000; n++)
        assert_int_equal(items[n], n);
    assert_ptr_equal(xgrow(items, &cap, 10, sizeof(*items)), items);
    free_ptr(&items);
    assert_null(items);
}

static void ask_too_much(void *arg)
{
    volatile size_t huge = SIZE_MAX / 4; /* volatile: the compiler would refuse the constant */
    void *p = NULL;
    size_t cap = 0;

    switch (*(int *)arg) {
    case 0:
        p = xmalloc(huge);
        break;
    case 1:
        p = xcalloc(huge, 8);
        break;
    case 2:
        p = xrealloc(NULL, huge);
        break;
    case 3:
        p = xgrow(NULL, &cap, huge, 64);
        break;
    case 4:
        p = xgrow(NULL, &cap, huge * 4, 1);
        break;
    case 5:
        p = arena_alloc(&(struct arena){0}, huge * 3);
        break;
    default:
        break;
    }
    free_ptr(&p);
}

static void out_of_memory_aborts(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++)
        assert_true(aborts(ask_too_much, &i));
}

static void arena_memory_is_aligned_zeroed_and_apart(void **state)
{
    struct arena a = {0};
    char *seen[300];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(seen); i++) {
        size_t n = i * 7 % 97 + 1;

        seen[i] = arena_alloc(&a, n);
        assert_int_equal((uintptr_t)seen[i] % 16, 0);
        for (size_t j = 0; j < n; j++)
            assert_int_equal(seen[i][j], 0);
        memset(seen[i], (int)i & 127, n);
    }
    for (size_t i = 0; i < ARRAY_LEN(seen); i++) {
        for (size_t j = 0; j < i * 7 % 97 + 1; j++)
            assert_int_equal(seen[i][j], i & 127);
    }
    assert_true(a.used_bytes >= ARRAY_LEN(seen));
    arena_fini(&a);
    assert_null(a.head);
    assert_int_equal(a.used_bytes, 0);
    arena_fini(&a);
    arena_fini(NULL);
}

static void arena_takes_large_and_small_in_any_order(void **state)
{
    struct arena a = {0};
    char *big, *small;

    (void)state;
    small = arena_strdup(&a, "small");
    big = arena_alloc(&a, (size_t)5 << 20);
    memset(big, 'x', (size_t)5 << 20);
    assert_string_equal(arena_printf(&a, "%s-%0*d", "n", 5000, 1) + 4998, "0001");
    assert_string_equal(arena_strndup(&a, "abcdef", 3), "abc");
    assert_memory_equal(arena_memdup(&a, "\0\1\2", 3), "\0\1\2", 3);
    assert_string_equal(small, "small");
    assert_null(arena_strdup(&a, NULL));
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_still_a_pointer),
        cmocka_unit_test(copies_of_strings),
        cmocka_unit_test(take_leaves_null_behind),
        cmocka_unit_test(grow_doubles_and_keeps_what_is_there),
        cmocka_unit_test(out_of_memory_aborts),
        cmocka_unit_test(arena_memory_is_aligned_zeroed_and_apart),
        cmocka_unit_test(arena_takes_large_and_small_in_any_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
