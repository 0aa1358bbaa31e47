/* What the embedded bus's relay reads of Kafka's protocol.  The frames are put together here by the
 * field lists of the protocol guide (Kafka 3.9), not by the code that reads them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agents/broker/frames.h"
#include "common/mem.h"

static void put(struct buf *b, uint64_t v, int bytes)
{
    while (bytes-- > 0)
        buf_add_char(b, (char)(v >> (8 * bytes) & 0xff));
}

static void put_string(struct buf *b, const char *s)
{
    put(b, s ? strlen(s) : 0xffff, 2);
    if (s)
        buf_add_str(b, s);
}

static void begin(struct buf *b, int api, int version, int correlation)
{
    buf_reset(b);
    put(b, 0, 4);
    put(b, (uint64_t)api, 2);
    put(b, (uint64_t)version, 2);
    put(b, (uint64_t)correlation, 4);
    put_string(b, "client");
}

static void end(struct buf *b)
{
    uint64_t n = b->len - 4;

    for (size_t i = 0; i < 4; i++)
        b->data[i] = (char)(n >> (24 - 8 * i) & 0xff);
}

static void put_partition(struct buf *b, int version, int partition, int64_t offset)
{
    put(b, (uint64_t)partition, 4);
    if (version >= 9)
        put(b, UINT64_MAX, 4); /* leader epoch */
    put(b, (uint64_t)offset, 8);
    if (version >= 5)
        put(b, 0, 8); /* log start */
    put(b, 1 << 20, 4);
}

/* Topics a[0], a[1], b[7]; turned: b[7], a[1], a[0] in three parts. */
static void make_fetch(struct buf *b, int version, int correlation, int64_t offset, bool is_turned)
{
    begin(b, FRAME_FETCH, version, correlation);
    put(b, UINT64_MAX, 4); /* replica */
    put(b, 500, 4);        /* wait */
    put(b, 1, 4);
    put(b, 50 << 20, 4);
    put(b, 0, 1);
    if (version >= 7)
        put(b, UINT64_MAX, 8); /* session and epoch */
    put(b, is_turned ? 3 : 2, 4);
    put_string(b, is_turned ? "b" : "a");
    put(b, is_turned ? 1 : 2, 4);
    put_partition(b, version, is_turned ? 7 : 0, is_turned ? 5 : offset);
    if (!is_turned)
        put_partition(b, version, 1, 3);
    put_string(b, is_turned ? "a" : "b");
    put(b, 1, 4);
    put_partition(b, version, is_turned ? 1 : 7, is_turned ? 3 : 5);
    if (is_turned) {
        put_string(b, "a");
        put(b, 1, 4);
        put_partition(b, version, 0, offset);
    }
    if (version >= 7)
        put(b, 0, 4); /* forgotten topics */
    if (version >= 11)
        put_string(b, "");
    end(b);
}

static void put_answer_partition(struct buf *b, int version, int partition, int error,
                                 const char *records)
{
    put(b, (uint64_t)partition, 4);
    put(b, (uint64_t)error, 2);
    put(b, 9, 8); /* high watermark */
    put(b, 9, 8); /* last stable offset */
    if (version >= 5)
        put(b, 0, 8);
    put(b, 0, 4); /* aborted */
    if (version >= 11)
        put(b, UINT64_MAX, 4);
    put(b, records ? strlen(records) : 0, 4);
    if (records)
        buf_add_str(b, records);
}

static void make_answer(struct buf *b, int version, int top_error, int error, const char *records)
{
    buf_reset(b);
    put(b, 0, 4);
    put(b, 1, 4); /* correlation */
    put(b, 0, 4); /* throttle */
    if (version >= 7) {
        put(b, (uint64_t)top_error, 2);
        put(b, 0, 4);
    }
    put(b, 2, 4);
    put_string(b, "a");
    put(b, 2, 4);
    put_answer_partition(b, version, 0, 0, NULL);
    put_answer_partition(b, version, 1, error, records);
    put_string(b, "b");
    put(b, 1, 4);
    put_answer_partition(b, version, 7, 0, NULL);
    end(b);
}

static bool asks_for(const struct fetch *f, const char *topic, int partition)
{
    struct part_set one = {0};

    part_set_add(&one, slice_str(topic), partition);
    return part_set_meets(&f->parts, &one);
}

static void fetch_of_every_version_is_understood(void **state)
{
    CLEANUP(buf_fini) struct buf b = {0}, answer = {0};

    (void)state;
    for (int version = 4; version <= 11; version++) {
        struct fetch f;
        struct frame_head head;

        make_fetch(&b, version, 1, 9, false);
        assert_true(frame_head(buf_slice(&b), &head));
        assert_int_equal(head.bytes, b.len);
        assert_int_equal(head.api, FRAME_FETCH);
        assert_int_equal(head.version, version);
        assert_true(fetch_parse(buf_slice(&b), &f));
        assert_true(asks_for(&f, "a", 0));
        assert_true(asks_for(&f, "a", 1));
        assert_true(asks_for(&f, "b", 7));
        assert_false(asks_for(&f, "b", 0));
        fetch_set_wait(b.data, &f, 0x01020304);
        assert_memory_equal(b.data + 4 + 8 + 2 + strlen("client") + 4, "\1\2\3\4", 4);
        make_answer(&answer, version, 0, 0, NULL);
        assert_int_equal(f.empty_bytes, answer.len);
        assert_true(fetch_answer_is_empty(&f, buf_slice(&answer)));
    }
}

static void answer_with_records_or_an_error_is_news(void **state)
{
    CLEANUP(buf_fini) struct buf b = {0}, answer = {0};
    struct fetch f;

    (void)state;
    for (int version = 4; version <= 11; version++) {
        make_fetch(&b, version, 1, 9, false);
        assert_true(fetch_parse(buf_slice(&b), &f));
        make_answer(&answer, version, 0, 0, "records");
        assert_false(fetch_answer_is_empty(&f, buf_slice(&answer)));
        make_answer(&answer, version, 0, 1 /* OFFSET_OUT_OF_RANGE */, NULL);
        assert_false(fetch_answer_is_empty(&f, buf_slice(&answer)));
        if (version < 7)
            continue;
        make_answer(&answer, version, 70, 0, NULL);
        assert_false(fetch_answer_is_empty(&f, buf_slice(&answer)));
    }
}

static void same_positions_in_another_order_are_the_same(void **state)
{
    CLEANUP(buf_fini) struct buf b = {0};
    struct fetch first, turned, moved;

    (void)state;
    make_fetch(&b, 11, 1, 9, false);
    assert_true(fetch_parse(buf_slice(&b), &first));
    make_fetch(&b, 11, 2, 9, true);
    assert_true(fetch_parse(buf_slice(&b), &turned));
    make_fetch(&b, 11, 3, 10, false);
    assert_true(fetch_parse(buf_slice(&b), &moved));
    assert_true(first.positions == turned.positions);
    assert_true(first.positions != moved.positions);
}

static void cut_or_unknown_frames_are_not_understood(void **state)
{
    CLEANUP(buf_fini) struct buf b = {0};
    struct part_set parts;
    struct fetch f;

    (void)state;
    make_fetch(&b, 11, 1, 9, false);
    /* Behind the last partition come 6 bytes that are not looked at. */
    for (size_t n = 0; n + 6 < b.len; n++)
        assert_false(fetch_parse((struct slice){b.data, n}, &f));
    make_fetch(&b, 12, 1, 9, false);
    assert_false(fetch_parse(buf_slice(&b), &f));
    make_fetch(&b, 3, 1, 9, false);
    assert_false(fetch_parse(buf_slice(&b), &f));
    assert_false(produce_parse(buf_slice(&b), &parts));
}

static void produce_tells_where_it_writes(void **state)
{
    CLEANUP(buf_fini) struct buf b = {0};
    struct part_set written, asked = {0}, other = {0};

    (void)state;
    begin(&b, FRAME_PRODUCE, 7, 1);
    put_string(&b, NULL); /* transactional id */
    put(&b, UINT64_MAX, 2);
    put(&b, 30000, 4);
    put(&b, 2, 4);
    for (int t = 0; t < 2; t++) {
        put_string(&b, t ? "b" : "a");
        put(&b, 1, 4);
        put(&b, t ? 7 : 3, 4);
        put(&b, 7, 4);
        buf_add_str(&b, "records");
    }
    end(&b);
    assert_true(produce_parse(buf_slice(&b), &written));
    part_set_add(&asked, slice_str("b"), 7);
    part_set_add(&other, slice_str("a"), 7);
    assert_true(part_set_meets(&written, &asked));
    assert_false(part_set_meets(&written, &other));
    for (size_t n = 0; n < b.len; n++)
        assert_false(produce_parse((struct slice){b.data, n}, &written));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fetch_of_every_version_is_understood),
        cmocka_unit_test(answer_with_records_or_an_error_is_news),
        cmocka_unit_test(same_positions_in_another_order_are_the_same),
        cmocka_unit_test(cut_or_unknown_frames_are_not_understood),
        cmocka_unit_test(produce_tells_where_it_writes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
