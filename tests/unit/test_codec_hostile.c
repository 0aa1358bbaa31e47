/* Bytes that nobody honest writes: each is rejected, at once, and before avro-c sees it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/codec_internal.h"
#include "tests/support/avro_bytes.h"
#include "tests/support/sample_events.h"

static struct codec *new_codec(void)
{
    struct codec *c;
    struct err err = {0};

    assert_int_equal(codec_new(&c, &err), 0);
    return c;
}

static int decode(struct codec *c, enum record r, struct slice framed, struct err *err)
{
    CLEANUP(arena_fini) struct arena arena = {0};
    const void *rec;

    *err = (struct err){0};
    return codec_decode(c, r, framed, &arena, &rec, err);
}

static void what_is_no_framed_record_is_rejected(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *says;
    } rows[] = {
        {"", 0, "no Avro record: 0 bytes"},
        {"\xC3\x01", 2, "no Avro record"},
        {"\xC3\x01\1\2\3\4\5\6\7", 9, "no Avro record"},
        {"\xC3\x01\1\2\3\4\5\6\7\xA8", 10, "unknown schema (fingerprint a807060504030201)"},
        {"\xC3\x02\1\2\3\4\5\6\7\x08", 10, "no Avro record"},
        {"\0\0\0\0", 4, "no Avro record"},
        {"\0\xff\xff\xff\xff", 5, "written with schema id -1"},
        {"{\"line\":\"x\"}", 12, "no Avro record"},
        {"Obj\1", 4, "no Avro record"},
    };
    struct codec *c = new_codec();
    struct err err;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(decode(c, RECORD_LABEL_OBSERVED,
                                (struct slice){.p = rows[i].bytes, .n = rows[i].n}, &err),
                         -1);
        assert_int_equal(err.next, NEXT_REJECT);
        assert_int_equal(err.code, ERR_CODEC);
        if (!strstr(err.msg, rows[i].says))
            fail_msg("'%s' does not say '%s'", err.msg, rows[i].says);
    }
    codec_free(c);
}

static void a_record_over_the_limit_is_refused_unread(void **state)
{
    struct codec *c = new_codec();
    char *big = xcalloc(1, CODEC_MAX_BYTES + 1);
    struct err err;

    (void)state;
    assert_int_equal(
        decode(c, RECORD_LABEL_OBSERVED, (struct slice){.p = big, .n = CODEC_MAX_BYTES + 1}, &err),
        -1);
    assert_int_equal(err.code, ERR_LIMIT);
    assert_int_equal(err.next, NEXT_REJECT);
    free(big);
    codec_free(c);
}

/* Cuts, one byte too many, and every bit of every byte turned over: rejected or read, by both
 * readers alike. */
static void damage_is_seen_or_harmless_and_both_readers_agree(void **state)
{
    struct codec *c = new_codec();

    (void)state;
    for (int r = RECORD_NONE + 1; r < RECORD_COUNT; r++) {
        CLEANUP(arena_fini) struct arena arena = {0};
        CLEANUP(buf_fini) struct buf out = {0};
        struct wire_schema wire = {0};
        struct err err;
        size_t whole;

        assert_int_equal(
            codec_encode(c, (enum record)r, sample_full((enum record)r, &arena), &out, &err), 0);
        assert_int_equal(
            codec__schema_parse(slice_str(codec_schema_text((enum record)r)), &wire, NULL, &err),
            0);
        whole = out.len;
        for (size_t n = 0; n < whole; n++)
            assert_int_equal(decode(c, (enum record)r, (struct slice){.p = out.data, .n = n}, &err),
                             -1);
        buf_add_char(&out, '\0');
        assert_int_equal(decode(c, (enum record)r, buf_slice(&out), &err), -1);
        assert_non_null(strstr(err.msg, "1 bytes after the end"));
        for (size_t bit = 80; bit < whole * 8; bit++) {
            struct slice framed = {.p = out.data, .n = whole};
            int direct, scan;

            out.data[bit / 8] = (char)(out.data[bit / 8] ^ 1 << bit % 8);
            direct = decode(c, (enum record)r, framed, &err);
            scan =
                codec__scan(wire.root, (struct slice){.p = out.data + 10, .n = whole - 10}, &err);
            assert_int_equal(direct, scan);
            out.data[bit / 8] = (char)(out.data[bit / 8] ^ 1 << bit % 8);
        }
        codec__schema_fini(&wire);
    }
    codec_free(c);
}

#define ARRAY_OF(items) "{\"type\":\"array\",\"items\":" items "}"
static const struct {
    const char *label, *schema, *bytes;
    size_t n;
} hostile[] = {
    {"a string of 256 MiB in five bytes", "\"string\"", "\x80\x80\x80\x80\x02", 5},
    {"bytes of 256 MiB in five bytes", "\"bytes\"", "\x80\x80\x80\x80\x02", 5},
    {"a negative length", "\"bytes\"", "\1", 1},
    {"a length of 2^63-1", "\"string\"", "\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10},
    {"a number of eleven bytes", "\"long\"", "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\1", 11},
    {"a number of more than 64 bits", "\"long\"", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10},
    {"a number without end", "\"long\"", "\x80", 1},
    {"an int of 33 bits", "\"int\"", "\x80\x80\x80\x80\x20", 5},
    {"a boolean of 2", "\"boolean\"", "\2", 1},
    {"half a double", "\"double\"", "\0\0\0\0", 4},
    {"a UTF-8 string cut in a character", "\"string\"", "\4\xe6\x97", 3},
    {"an overlong character", "\"string\"", "\4\xc0\x80", 3},
    {"a surrogate", "\"string\"", "\6\xed\xa0\x80", 4},
    {"a NUL in a string", "\"string\"", "\6a\0b", 4},
    {"a NUL in a longer string", "\"string\"",
     "\x12"
     "abcdefg\0h",
     10},
    {"an array of 3,000,000 nulls", ARRAY_OF("\"null\""), "\x80\x9b\xee\x02\0", 5},
    {"an array of 2^62 nulls", ARRAY_OF("\"null\""), "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01\0",
     11},
    {"an array of empty records",
     ARRAY_OF("{\"type\":\"record\",\"name\":\"E\",\"fields\":[{\"name\":\"n\",\"type\":"
              "\"null\"}]}"),
     "\x80\x9b\xee\x02\0", 5},
    {"an array with more items than bytes", ARRAY_OF("\"long\""), "\x06\0\0", 3},
    {"a count of -2^63", ARRAY_OF("\"null\""), "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\0\0", 12},
    {"a block that says it is larger", ARRAY_OF("\"long\""), "\1\4\2\0", 4},
    {"a block that says it is smaller", ARRAY_OF("\"long\""), "\1\0\2\0", 4},
    {"a block of a negative size", ARRAY_OF("\"long\""), "\1\1\2\0", 4},
    {"an array without its end", ARRAY_OF("\"long\""), "\2\2", 2},
    {"a map with more keys than bytes", "{\"type\":\"map\",\"values\":\"null\"}", "\x06\0\0", 3},
    {"a map key that is no UTF-8", "{\"type\":\"map\",\"values\":\"null\"}", "\2\2\xff\0", 4},
    {"a union branch that is none", "[\"null\",\"long\"]", "\4\0", 2},
    {"a negative union branch", "[\"null\",\"long\"]", "\1", 1},
    {"an enum index that is none", "{\"type\":\"enum\",\"name\":\"N\",\"symbols\":[\"A\"]}", "\2",
     1},
    {"a negative enum index", "{\"type\":\"enum\",\"name\":\"N\",\"symbols\":[\"A\"]}", "\1", 1},
    {"half a fixed", "{\"type\":\"fixed\",\"name\":\"N\",\"size\":4}", "ab", 2},
};

static void lengths_and_counts_are_held_against_the_bytes_left(void **state)
{
    struct codec *c = new_codec();
    char text[512];
    struct err err = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(hostile); i++) {
        CLEANUP(buf_fini) struct buf out = {0};

        snprintf(text, sizeof(text),
                 "{\"type\":\"record\",\"name\":\"LabelObserved\",\"fields\":[{\"name\":\"f\","
                 "\"type\":%s}]}",
                 hostile[i].schema);
        if (codec_add_schema(c, slice_str(text), &err) != 0)
            fail_msg("%s: %s", hostile[i].label, err.msg);
        avro_single_object(&out, text);
        buf_add(&out, hostile[i].bytes, hostile[i].n);
        if (decode(c, RECORD_LABEL_OBSERVED, buf_slice(&out), &err) != -1)
            fail_msg("%s was read", hostile[i].label);
        if (!strstr(err.msg, "f: ") || strstr(err.msg, "avro-c") || err.next != NEXT_REJECT)
            fail_msg("%s: %s", hostile[i].label, err.msg);
    }
    codec_free(c);
}

/* Ours to the letter: the reader by field tables has its own checks. */
static void lists_of_our_own_records_are_held_against_the_bytes_left(void **state)
{
    static const struct {
        const char *label, *bytes;
        size_t n;
    } rows[] = {
        {"2^62 features", "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 10},
        {"a count of -2^63", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\0", 11},
        {"a block that says it is larger", "\1\x0a\0\0\0\0\0", 7},
        {"a block that says it is smaller", "\1\4\0\0\0\0\0", 7},
        {"an empty block of one byte", "\1", 1},
    };
    struct codec *c = new_codec();
    struct prediction_served p = {.line = "l"};
    struct err err = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(buf_fini) struct buf out = {0};

        assert_int_equal(codec_encode(c, RECORD_PREDICTION_SERVED, &p, &out, &err), 0);
        out.len -= 4; /* features, outputs, latency_us, served_unix_ms: each one 0 */
        buf_add(&out, rows[i].bytes, rows[i].n);
        buf_add(&out, "\0\0\0", 3);
        if (decode(c, RECORD_PREDICTION_SERVED, buf_slice(&out), &err) != -1 ||
            !strstr(err.msg, "features: "))
            fail_msg("%s: %s", rows[i].label, err.msg);
    }
    codec_free(c);
}

static void many_small_blocks_are_one_list(void **state)
{
    CLEANUP(arena_fini) struct arena arena = {0};
    CLEANUP(buf_fini) struct buf out = {0};
    struct codec *c = new_codec();
    struct prediction_served empty = {.line = "l"};
    const struct prediction_served *p;
    const void *rec;
    struct err err = {0};

    (void)state;
    assert_int_equal(codec_encode(c, RECORD_PREDICTION_SERVED, &empty, &out, &err), 0);
    out.len -= 4;
    for (int i = 0; i < 1000; i++) {
        avro_long(&out, i % 2 ? 1 : -1);
        if (i % 2 == 0)
            avro_long(&out, 4);
        avro_float(&out, (float)i);
    }
    buf_add(&out, "\0\0\0\0", 4);
    assert_int_equal(codec_decode(c, RECORD_PREDICTION_SERVED, buf_slice(&out), &arena, &rec, &err),
                     0);
    p = rec;
    assert_int_equal(p->features.n, 1000);
    for (int i = 0; i < 1000; i++)
        assert_true(p->features.items[i] == (float)i);
    assert_true(arena.used_bytes < 20000);
    codec_free(c);
}

/* The most that 4 MiB can be made to mean stays within bounds. */
static void a_full_record_takes_bounded_memory(void **state)
{
    CLEANUP(arena_fini) struct arena arena = {0};
    CLEANUP(buf_fini) struct buf out = {0};
    struct codec *c = new_codec();
    struct model_evaluated empty = {.line = "l"};
    enum { SNAPSHOTS_AT = 20 }; /* behind the frame, line to pipeline_sha256 */
    CLEANUP(buf_fini) struct buf rest = {0};
    size_t n = CODEC_MAX_BYTES / 2 - 200;
    const void *rec;
    struct err err = {0};

    (void)state;
    assert_int_equal(codec_encode(c, RECORD_MODEL_EVALUATED, &empty, &out, &err), 0);
    buf_add(&rest, (char *)out.data + SNAPSHOTS_AT,
            out.len - SNAPSHOTS_AT); /* none, and the others */
    out.len = SNAPSHOTS_AT;
    avro_long(&out, (int64_t)n); /* snapshots: texts of one letter */
    for (size_t i = 0; i < n; i++)
        buf_add(&out, "\2s", 2);
    buf_add(&out, rest.data, rest.len);
    assert_int_equal(codec_decode(c, RECORD_MODEL_EVALUATED, buf_slice(&out), &arena, &rec, &err),
                     0);
    assert_int_equal(((const struct model_evaluated *)rec)->snapshots.n, n);
    assert_true(arena.used_bytes < (size_t)64 << 20);
    codec_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_framed_record_is_rejected),
        cmocka_unit_test(a_record_over_the_limit_is_refused_unread),
        cmocka_unit_test(damage_is_seen_or_harmless_and_both_readers_agree),
        cmocka_unit_test(lengths_and_counts_are_held_against_the_bytes_left),
        cmocka_unit_test(lists_of_our_own_records_are_held_against_the_bytes_left),
        cmocka_unit_test(many_small_blocks_are_one_list),
        cmocka_unit_test(a_full_record_takes_bounded_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
