/* Messages as the cache keeps them: what comes back is what was put in, and a damaged row is seen.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "common/agent_internal.h"

static const struct bus_message MESSAGES[] = {
    {.offset = 7,
     .timestamp_ms = 1767225600000,
     .key = "electricity",
     .key_n = 11,
     .value = "\xc3\x01 bytes",
     .value_n = 8,
     .headers = {{"ce_id", "0123456789abcdef0123456789abcdef", 32},
                 {"ce_hops", "0", 1},
                 {"x-of-somebody-else", "\0\xff", 2},
                 {"ce_source", "", 0},
                 {"traceparent", NULL, 0}},
     .n_headers = 5},
    {.offset = 8, .timestamp_ms = -1, .key = "", .key_n = 0},         /* a tombstone */
    {.offset = 300000, .timestamp_ms = 0, .value = "", .value_n = 0}, /* after a gap */
};

static void pack_all(struct buf *out)
{
    int64_t from = 0;
    for (size_t i = 0; i < ARRAY_LEN(MESSAGES); i++) {
        agent__pack(&MESSAGES[i], from, out);
        from = MESSAGES[i].offset;
    }
}

static void assert_same(const void *a, size_t a_n, const void *b, size_t b_n)
{
    assert_int_equal(!a, !b);
    assert_int_equal(a_n, b_n);
    if (a_n)
        assert_memory_equal(a, b, a_n);
}

static void what_was_packed_comes_back(void **state)
{
    (void)state;
    CLEANUP(buf_fini) struct buf packed = {0};
    pack_all(&packed);
    struct slice in = buf_slice(&packed);
    struct bus_message m = {0};
    int64_t from = 0;
    for (size_t i = 0; i < ARRAY_LEN(MESSAGES); i++) {
        const struct bus_message *was = &MESSAGES[i];
        assert_true(agent__unpack(&in, from, &m));
        assert_int_equal(m.offset, was->offset);
        assert_int_equal(m.timestamp_ms, was->timestamp_ms);
        assert_same(m.key, m.key_n, was->key, was->key_n);
        assert_same(m.value, m.value_n, was->value, was->value_n);
        assert_int_equal(m.n_headers, was->n_headers);
        for (size_t k = 0; k < m.n_headers; k++) {
            assert_string_equal(m.headers[k].name, was->headers[k].name);
            assert_same(m.headers[k].value, m.headers[k].n, was->headers[k].value,
                        was->headers[k].n);
        }
        from = m.offset;
    }
    assert_int_equal(in.n, 0);
}

/* The copy has its own size, so that the sanitizers see who reads on. */
static void unpack_all(const char *bytes, size_t n)
{
    CLEANUP_FREE char *copy = n ? xmemdup(bytes, n) : xmalloc(1);
    struct slice in = {copy, n};
    struct bus_message m = {0};
    int64_t from = 0;
    while (in.n > 0 && agent__unpack(&in, from, &m)) {
        assert_true(m.n_headers <= BUS_MAX_HEADERS);
        for (size_t k = 0; k < m.n_headers; k++)
            assert_true(strlen(m.headers[k].name) < n + sizeof("ce_correlationid"));
        from = m.offset;
    }
}

static void a_row_that_is_cut_or_changed_anywhere_is_read_no_further_than_it_goes(void **state)
{
    (void)state;
    CLEANUP(buf_fini) struct buf packed = {0};
    pack_all(&packed);
    for (size_t n = 0; n < packed.len; n++)
        unpack_all(packed.data, n);
    for (size_t i = 0; i < packed.len; i++)
        for (int bit = 0; bit < 8; bit++) {
            packed.data[i] = (char)(packed.data[i] ^ (1 << bit));
            unpack_all(packed.data, packed.len);
            packed.data[i] = (char)(packed.data[i] ^ (1 << bit));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_packed_comes_back),
        cmocka_unit_test(a_row_that_is_cut_or_changed_anywhere_is_read_no_further_than_it_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
