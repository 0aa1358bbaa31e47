/* Frames and records of the embedded bus's journal, and what a damaged file is told to be.
 * CRC-32C check values: RFC 3720 (iSCSI), appendix B.4, and the customary "123456789". */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agents/broker/journal.h"
#include "common/fsx.h"
#include "common/mem.h"
#include "tests/support/tmpdir.h"

static void crc_is_castagnoli(void **state)
{
    char zeros[32] = {0}, ones[32], up[32];

    (void)state;
    memset(ones, 0xff, sizeof(ones));
    for (size_t i = 0; i < sizeof(up); i++)
        up[i] = (char)i;
    assert_int_equal(crc32c("123456789", 9, 0), 0xe3069283u);
    assert_int_equal(crc32c(zeros, 32, 0), 0x8a9136aau);
    assert_int_equal(crc32c(ones, 32, 0), 0x62a8ab43u);
    assert_int_equal(crc32c(up, 32, 0), 0x46dd794eu);
    assert_int_equal(crc32c("6789", 4, crc32c("12345", 5, 0)), 0xe3069283u);
    assert_int_equal(crc32c("", 0, 0), 0);
}

struct seen {
    int topics, messages;
    struct bus_message last;
    char text[256];
    bool refuse;
};

static int on_topic(void *ctx, const char *name, int partitions, struct err *err)
{
    struct seen *s = ctx;

    (void)err;
    s->topics++;
    assert_string_equal(name, "t");
    assert_int_equal(partitions, 12);
    return 0;
}

static int on_message(void *ctx, const struct bus_message *m, struct err *err)
{
    struct seen *s = ctx;

    if (s->refuse)
        return err_inval(err, "refused");
    s->messages++;
    s->last = *m;
    assert_string_equal(m->topic, "t");
    return 0;
}

static struct bus_message sample(int64_t offset)
{
    return (struct bus_message){
        .topic = "t",
        .partition = 7,
        .offset = offset,
        .timestamp_ms = 1700000000123,
        .key = "key",
        .key_n = 3,
        .value = "v\0w",
        .value_n = 3,
        .headers = {{"ce_id", "abc", 3}, {"empty", "", 0}, {"none", NULL, 0}},
        .n_headers = 3,
    };
}

static void records_come_back_as_they_were(void **state)
{
    CLEANUP(buf_fini) struct buf frame = {0};
    struct bus_message m = sample(41), tombstone = {.topic = "t", .offset = 1};
    struct seen s = {0};
    const struct journal_reader r = {on_topic, on_message, &s};
    struct err err;

    (void)state;
    journal_begin(&frame);
    journal_add_topic(&frame, "t", 12);
    journal_add_message(&frame, &tombstone);
    journal_add_message(&frame, &m);
    journal_end(&frame, 1);
    struct slice payload = {frame.data + JOURNAL_FRAME_HEAD_BYTES,
                            frame.len - JOURNAL_FRAME_HEAD_BYTES};
    assert_return_code(journal_read_records(payload, &r, &err), 0);
    assert_int_equal(s.topics, 1);
    assert_int_equal(s.messages, 2);
    assert_int_equal(s.last.partition, 7);
    assert_int_equal(s.last.offset, 41);
    assert_int_equal(s.last.timestamp_ms, 1700000000123);
    assert_memory_equal(s.last.key, "key", 3);
    assert_int_equal(s.last.value_n, 3);
    assert_memory_equal(s.last.value, "v\0w", 3);
    assert_int_equal(s.last.n_headers, 3);
    assert_int_equal(s.last.headers[1].n, 0);
    assert_non_null(s.last.headers[1].value);
    assert_null(s.last.headers[2].value);
}

static void records_that_do_not_add_up_are_refused(void **state)
{
    CLEANUP(buf_fini) struct buf frame = {0};
    struct bus_message m = sample(0);
    struct seen s = {0};
    const struct journal_reader r = {on_topic, on_message, &s};
    struct err err;

    (void)state;
    journal_begin(&frame);
    journal_add_message(&frame, &m);
    journal_end(&frame, 1);
    for (size_t n = 1; n < frame.len - JOURNAL_FRAME_HEAD_BYTES; n++) {
        struct slice cut = {frame.data + JOURNAL_FRAME_HEAD_BYTES, n};

        assert_int_equal(journal_read_records(cut, &r, &err), -1);
        assert_int_equal(err.code, ERR_CODEC);
    }
    assert_int_equal(journal_read_records((struct slice){"\x09", 1}, &r, &err), -1);
    assert_int_equal(s.messages, 0);
}

/* ---- files ----------------------------------------------------------------------------------- */

static void append(struct journal *j, int64_t offset)
{
    CLEANUP(buf_fini) struct buf frame = {0};
    struct bus_message m = sample(offset);
    struct err err;

    journal_begin(&frame);
    journal_add_message(&frame, &m);
    assert_return_code(journal_append(j, &frame, &err), 0);
}

static struct journal *open_good(const char *path, struct journal_scan *scan)
{
    struct journal *j = NULL;
    struct err err = {0};

    if (journal_open(path, false, &j, scan, &err))
        fail_msg("%s", err.msg);
    return j;
}

static int count(struct journal *j)
{
    struct seen s = {0};
    const struct journal_reader r = {on_topic, on_message, &s};
    struct err err = {0};

    if (journal_read(j, &r, &err))
        fail_msg("%s", err.msg);
    return s.messages;
}

static const char *make_file(struct tmpdir *t, int frames, struct buf *bytes)
{
    const char *path = tmpdir_join(t, "journal");
    struct journal_scan scan;
    struct journal *j = open_good(path, &scan);
    struct err err;

    for (int i = 0; i < frames; i++)
        append(j, i);
    journal_close(j);
    assert_return_code(fsx_read_file(path, 1 << 20, bytes, &err), 0);
    return path;
}

static void journal_goes_on_where_it_ended(void **state)
{
    const char *path = tmpdir_join(*state, "folder/journal");
    struct journal_scan scan;
    struct journal *j = open_good(path, &scan);

    assert_int_equal(scan.frames, 0);
    append(j, 0);
    append(j, 1);
    journal_close(j);
    j = open_good(path, &scan);
    assert_int_equal(scan.frames, 2);
    assert_int_equal(scan.torn_bytes, 0);
    append(j, 2);
    assert_int_equal(count(j), 3);
    journal_close(j);
}

static void journal_has_one_owner(void **state)
{
    const char *path = tmpdir_join(*state, "journal");
    struct journal_scan scan;
    struct journal *j = open_good(path, &scan), *other = NULL;
    struct err err;

    assert_int_equal(journal_open(path, false, &other, &scan, &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_null(other);
    journal_close(j);
}

/* Whatever length a crash has left: whole frames stay, the rest goes, the journal goes on. */
static void torn_end_is_cut_at_every_length(void **state)
{
    CLEANUP(buf_fini) struct buf bytes = {0};
    const char *path = make_file(*state, 3, &bytes);
    size_t frame = (bytes.len - JOURNAL_FILE_HEAD_BYTES) / 3;
    struct err err;

    for (size_t n = 0; n < bytes.len; n++) {
        struct journal_scan scan;
        struct journal *j;
        size_t whole = n < JOURNAL_FILE_HEAD_BYTES ? 0 : (n - JOURNAL_FILE_HEAD_BYTES) / frame;

        assert_return_code(fsx_write_file(path, bytes.data, n, &err), 0);
        j = open_good(path, &scan);
        assert_int_equal(scan.frames, whole);
        assert_int_equal(scan.good_bytes + scan.torn_bytes, n);
        append(j, (int64_t)whole);
        assert_int_equal(count(j), whole + 1);
        journal_close(j);
    }
}

static void garbage_after_the_end_is_cut(void **state)
{
    static const char zeros[4096];
    CLEANUP(buf_fini) struct buf bytes = {0};
    const char *path = make_file(*state, 2, &bytes);
    struct journal_scan scan;
    struct journal *j;
    struct err err;

    buf_add(&bytes, zeros, sizeof(zeros)); /* pages that were allocated, not written */
    assert_return_code(fsx_write_file(path, bytes.data, bytes.len, &err), 0);
    j = open_good(path, &scan);
    assert_int_equal(scan.torn_bytes, sizeof(zeros));
    assert_int_equal(count(j), 2);
    journal_close(j);
    assert_int_equal(fsx_size(path), bytes.len - sizeof(zeros));
}

/* One flipped byte anywhere before the last frame must not pass, and must not be cut off either. */
static void damage_in_the_middle_stops_the_start(void **state)
{
    CLEANUP(buf_fini) struct buf bytes = {0};
    const char *path = make_file(*state, 3, &bytes);
    size_t frame = (bytes.len - JOURNAL_FILE_HEAD_BYTES) / 3;

    for (size_t at = 0; at < JOURNAL_FILE_HEAD_BYTES + 2 * frame; at++) {
        struct journal_scan scan = {0};
        struct journal *j = NULL;
        struct err err = {0};

        bytes.data[at] = (char)(bytes.data[at] ^ 0x40);
        assert_return_code(fsx_write_file(path, bytes.data, bytes.len, &err), 0);
        assert_int_equal(journal_open(path, false, &j, &scan, &err), -1);
        assert_int_equal(err.code, ERR_CODEC);
        assert_null(j);
        if (at >= JOURNAL_FILE_HEAD_BYTES)
            assert_non_null(strstr(err.msg, "--salvage"));
        assert_int_equal(fsx_size(path), bytes.len);
        bytes.data[at] = (char)(bytes.data[at] ^ 0x40);
    }
}

static void missing_frame_is_damage(void **state)
{
    CLEANUP(buf_fini) struct buf bytes = {0};
    const char *path = make_file(*state, 3, &bytes);
    size_t frame = (bytes.len - JOURNAL_FILE_HEAD_BYTES) / 3;
    struct journal_scan scan;
    struct journal *j = NULL;
    struct err err;

    memmove(bytes.data + JOURNAL_FILE_HEAD_BYTES, bytes.data + JOURNAL_FILE_HEAD_BYTES + frame,
            2 * frame);
    assert_return_code(fsx_write_file(path, bytes.data, bytes.len - frame, &err), 0);
    assert_int_equal(journal_open(path, false, &j, &scan, &err), -1);
    assert_int_equal(err.code, ERR_CODEC);
}

static void salvage_keeps_what_is_whole_and_the_old_file(void **state)
{
    CLEANUP(buf_fini) struct buf bytes = {0};
    const char *path = make_file(*state, 4, &bytes);
    size_t frame = (bytes.len - JOURNAL_FILE_HEAD_BYTES) / 4;
    struct journal_scan scan;
    struct journal *j = NULL;
    struct err err = {0};

    bytes.data[JOURNAL_FILE_HEAD_BYTES + frame + 30] ^= 1;
    assert_return_code(fsx_write_file(path, bytes.data, bytes.len, &err), 0);
    if (journal_open(path, true, &j, &scan, &err))
        fail_msg("%s", err.msg);
    assert_int_equal(scan.frames, 3);
    assert_int_equal(count(j), 3);
    append(j, 4);
    journal_close(j);
    j = open_good(path, &scan);
    assert_int_equal(scan.frames, 4);
    journal_close(j);
    assert_int_equal(fsx_size(tmpdir_join(*state, "journal.damaged")), bytes.len);
}

static void other_file_is_not_taken_for_a_journal(void **state)
{
    const char *path = tmpdir_write_str(*state, "journal", "#!/bin/sh\necho hello\n");
    struct journal_scan scan;
    struct journal *j = NULL;
    struct err err;

    assert_int_equal(journal_open(path, true, &j, &scan, &err), -1);
    assert_int_equal(err.code, ERR_CODEC);
    assert_int_equal(fsx_size(path), 21);
}

static void refusal_of_a_reader_ends_the_reading(void **state)
{
    CLEANUP(buf_fini) struct buf bytes = {0};
    struct journal_scan scan;
    struct journal *j = open_good(make_file(*state, 2, &bytes), &scan);
    struct seen s = {.refuse = true};
    const struct journal_reader r = {on_topic, on_message, &s};
    struct err err;

    assert_int_equal(journal_read(j, &r, &err), -1);
    assert_non_null(strstr(err.msg, "refused"));
    journal_close(j);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, tmpdir_setup, tmpdir_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc_is_castagnoli),
        cmocka_unit_test(records_come_back_as_they_were),
        cmocka_unit_test(records_that_do_not_add_up_are_refused),
        T(journal_goes_on_where_it_ended),
        T(journal_has_one_owner),
        T(torn_end_is_cut_at_every_length),
        T(garbage_after_the_end_is_cut),
        T(damage_in_the_middle_stops_the_start),
        T(missing_frame_is_damage),
        T(salvage_keeps_what_is_whole_and_the_old_file),
        T(other_file_is_not_taken_for_a_journal),
        T(refusal_of_a_reader_ends_the_reading),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
