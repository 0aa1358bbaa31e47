/* Both ways, framings, and writers' schemas that are not ours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/codec_internal.h"
#include "common/json.h"
#include "tests/support/avro_bytes.h"
#include "tests/support/sample_events.h"

struct fixture {
    struct codec *codec;
    struct arena arena;
    struct buf out;
    struct err err;
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    assert_int_equal(codec_new(&f->codec, &f->err), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    codec_free(f->codec);
    codec_free(NULL);
    arena_fini(&f->arena);
    buf_fini(&f->out);
    free(f);
    return 0;
}

static const char *json_text(struct fixture *f, enum record r, const void *rec)
{
    CLEANUP(json_freep) struct json *j = codec_to_json(r, rec);
    CLEANUP(buf_fini) struct buf text = {0};

    json_write(j, 0, false, &text);
    return arena_strdup(&f->arena, text.data);
}

static const void *decoded(struct fixture *f, enum record r, struct slice framed)
{
    const void *rec = NULL;

    if (codec_decode(f->codec, r, framed, &f->arena, &rec, &f->err) != 0)
        fail_msg("%s: %s", record_str(r), f->err.msg);
    return rec;
}

static void assert_rejected(struct fixture *f, enum record r, struct slice framed, const char *says)
{
    const void *untouched = f, *rec = untouched;

    f->err = (struct err){0};
    assert_int_equal(codec_decode(f->codec, r, framed, &f->arena, &rec, &f->err), -1);
    assert_ptr_equal(rec, untouched);
    assert_int_equal(f->err.next, NEXT_REJECT);
    if (!strstr(f->err.msg, says))
        fail_msg("'%s' does not say '%s'", f->err.msg, says);
}

static void round_trip(struct fixture *f, enum record r, const void *rec)
{
    CLEANUP(buf_fini) struct buf again = {0};
    const void *back;

    buf_reset(&f->out);
    assert_int_equal(codec_encode(f->codec, r, rec, &f->out, &f->err), 0);
    back = decoded(f, r, buf_slice(&f->out));
    assert_int_equal(codec_encode(f->codec, r, back, &again, &f->err), 0);
    assert_true(slice_eq(buf_slice(&f->out), buf_slice(&again)));
}

static void structs_tables_and_schemas_agree(void **state)
{
    struct fixture *f = *state;

    if (codec_check_tables(&f->err) != 0)
        fail_msg("%s", f->err.msg);
    for (int r = RECORD_NONE + 1; r < RECORD_COUNT; r++) {
        const char *text = codec_schema_text((enum record)r);
        uint64_t fingerprint;

        assert_int_equal(codec_text_fingerprint(slice_str(text), &fingerprint, &f->err), 0);
        assert_int_equal(fingerprint, codec_fingerprint(f->codec, (enum record)r));
    }
    assert_null(codec_schema_text(RECORD_NONE));
    assert_null(codec_schema_text(RECORD_COUNT));
}

static void every_record_comes_back_as_it_was(void **state)
{
    struct fixture *f = *state;

    for (int r = RECORD_NONE + 1; r < RECORD_COUNT; r++) {
        const void *full = sample_full((enum record)r, &f->arena);

        round_trip(f, (enum record)r, full);
        assert_string_equal(
            json_text(f, (enum record)r, decoded(f, (enum record)r, buf_slice(&f->out))),
            json_text(f, (enum record)r, full));
        round_trip(f, (enum record)r, sample_empty((enum record)r, &f->arena));
    }
}

/* The same datum as if our schema were somebody else's. */
static const void *read_as_foreign(struct fixture *f, enum record r, struct slice body)
{
    struct slice text = slice_str(codec_schema_text(r));
    void *rec = arena_alloc(&f->arena, record_struct_size(r));
    struct wire_schema wire = {0};
    struct codec__avro *avro = NULL;

    assert_int_equal(codec__schema_parse(text, &wire, NULL, &f->err), 0);
    assert_int_equal(codec__avro_new(text, &avro, &f->err), 0);
    if (codec__get_foreign(avro, wire.root, body, r, &f->arena, rec, &f->err) != 0)
        fail_msg("%s: %s", record_str(r), f->err.msg);
    codec__avro_free(avro);
    codec__schema_fini(&wire);
    return rec;
}

static void random_records_come_back_and_both_readers_agree(void **state)
{
    struct fixture *f = *state;
    struct rng rng;

    rng_seed(&rng, 20261123);
    for (int i = 0; i < 320; i++) {
        enum record r = (enum record)(1 + i % (RECORD_COUNT - 1));
        const void *rec = sample_random(r, &f->arena, &rng), *foreign;
        CLEANUP(buf_fini) struct buf again = {0};

        round_trip(f, r, rec);
        foreign =
            read_as_foreign(f, r, (struct slice){.p = f->out.data + 10, .n = f->out.len - 10});
        assert_int_equal(codec_encode(f->codec, r, foreign, &again, &f->err), 0);
        assert_true(slice_eq(buf_slice(&f->out), buf_slice(&again)));
        arena_fini(&f->arena);
    }
}

static void what_is_absent_stays_absent(void **state)
{
    struct fixture *f = *state;
    struct drift_detected d = {.line = "l",
                               .value = (double)NAN,
                               .threshold = (double)NAN,
                               .generation = ABSENT_I64,
                               .windows = 3};
    struct dead_lettered x = {.topic = "t", .key = {.p = "", .n = 0}};
    const struct drift_detected *back;
    const struct dead_lettered *dead;

    round_trip(f, RECORD_DRIFT_DETECTED, &d);
    back = decoded(f, RECORD_DRIFT_DETECTED, buf_slice(&f->out));
    assert_null(back->statistic);
    assert_true(isnan(back->value) && isnan(back->threshold));
    assert_int_equal(back->generation, ABSENT_I64);
    assert_int_equal(back->windows, 3);
    assert_string_equal(back->source, ""); /* required: an empty text */
    assert_int_equal(back->features.n, 0);
    round_trip(f, RECORD_DEAD_LETTERED, &x);
    dead = decoded(f, RECORD_DEAD_LETTERED, buf_slice(&f->out));
    assert_true(dead->key.p && dead->key.n == 0); /* there, and empty */
    assert_true(!dead->value.p && dead->value.n == 0);
}

static void the_framing_follows_the_schema_id(void **state)
{
    struct fixture *f = *state;
    const struct label_observed label = {.line = "l", .value = "1", .observed_unix_ms = ABSENT_I64};
    uint64_t fingerprint = codec_fingerprint(f->codec, RECORD_LABEL_OBSERVED);

    round_trip(f, RECORD_LABEL_OBSERVED, &label);
    assert_memory_equal(f->out.data, "\xC3\x01", 2);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal((uint8_t)f->out.data[2 + i], fingerprint >> (8 * i) & 0xff);
    codec_set_schema_id(f->codec, RECORD_LABEL_OBSERVED, 0x01020304);
    round_trip(f, RECORD_LABEL_OBSERVED, &label);
    assert_memory_equal(f->out.data, "\0\x01\x02\x03\x04", 5);
}

static void text_that_is_no_utf8_is_written_with_replacements(void **state)
{
    struct fixture *f = *state;
    const struct label_observed label = {
        .line = "a\xff\xe6\x97z", .value = "\xc3\xa9\x80", .by = "\xf0\x9f\x8c"};
    const struct label_observed *back;

    round_trip(f, RECORD_LABEL_OBSERVED, &label);
    back = decoded(f, RECORD_LABEL_OBSERVED, buf_slice(&f->out));
    assert_string_equal(back->line, "a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDz");
    assert_string_equal(back->value, "\xc3\xa9\xEF\xBF\xBD");
    assert_string_equal(back->by, "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
}

static void a_record_over_the_limit_is_not_written(void **state)
{
    struct fixture *f = *state;
    char *yaml = arena_alloc(&f->arena, CODEC_MAX_BYTES + 1);
    const struct pipeline_declared p = {.name = "p", .yaml = yaml};

    memset(yaml, 'y', CODEC_MAX_BYTES);
    buf_add_str(&f->out, "before");
    assert_int_equal(codec_encode(f->codec, RECORD_PIPELINE_DECLARED, &p, &f->out, &f->err), -1);
    assert_int_equal(f->err.code, ERR_LIMIT);
    assert_string_equal(f->out.data, "before");
    buf_fini(&f->out);
    buf_init(&f->out, 16);
    assert_int_equal(codec_encode(f->codec, RECORD_PIPELINE_DECLARED, &p, &f->out, &f->err), -1);
    assert_int_equal(f->out.len, 0);
    assert_false(f->out.overflow);
    yaml[CODEC_MAX_BYTES / 2] = '\0';
    buf_fini(&f->out);
    round_trip(f, RECORD_PIPELINE_DECLARED, &p);
}

/* A version of DriftDetected that differs in all that may differ: order, namespace, fields that we
 * do not have (of every type), missing ones, narrower numbers, an enum, nullable and not the other
 * way round. */
static const char other_drift[] =
    "{\"type\":\"record\",\"name\":\"DriftDetected\",\"namespace\":\"somebody.else\",\"fields\":["
    "{\"name\":\"extra_map\",\"type\":{\"type\":\"map\",\"values\":[\"null\",\"string\"]}},"
    "{\"name\":\"value\",\"type\":\"float\"},"
    "{\"name\":\"threshold\",\"type\":[\"int\",\"null\"]},"
    "{\"name\":\"generation\",\"type\":\"int\"},"
    "{\"name\":\"windows\",\"type\":[\"null\",\"long\"]},"
    "{\"name\":\"kind\",\"type\":{\"type\":\"enum\",\"name\":\"Kind\",\"symbols\":[\"quality\","
    "\"data\",\"new_kind\"]}},"
    "{\"name\":\"line\",\"type\":\"bytes\"},"
    "{\"name\":\"source\",\"type\":[\"null\",\"string\"]},"
    "{\"name\":\"extra_fixed\",\"type\":{\"type\":\"fixed\",\"name\":\"F\",\"size\":3}},"
    "{\"name\":\"extra_list\",\"type\":{\"type\":\"array\",\"items\":\"F\"}},"
    "{\"name\":\"features\",\"type\":[\"null\",{\"type\":\"array\",\"items\":[\"null\",{\"type\":"
    "\"record\",\"name\":\"Other\",\"fields\":["
    "{\"name\":\"extra\",\"type\":\"boolean\"},{\"name\":\"value\",\"type\":\"long\"},{\"name\":"
    "\"feature\",\"type\":\"string\"}]}]}]}"
    "]}";

static void put_other_drift(struct buf *out)
{
    avro_long(out, 1); /* extra_map */
    avro_str(out, "k");
    avro_long(out, 1);
    avro_str(out, "v");
    avro_long(out, 0);
    avro_float(out, 0.25F);
    avro_long(out, 0); /* threshold: int */
    avro_long(out, 2);
    avro_long(out, 7); /* generation */
    avro_long(out, 0); /* windows: null */
    avro_long(out, 2); /* new_kind */
    avro_str(out, "p/s");
    avro_long(out, 0); /* source: null */
    buf_add_str(out, "abc");
    avro_long(out, -2); /* a block with its size */
    avro_long(out, 6);
    buf_add_str(out, "defghi");
    avro_long(out, 0);
    avro_long(out, 1); /* features: a record, in the next block a null */
    avro_long(out, 1);
    avro_long(out, 1);
    buf_add_char(out, 1);
    avro_long(out, -5);
    avro_str(out, "f1");
    avro_long(out, 1);
    avro_long(out, 0);
    avro_long(out, 0);
}

static void another_writers_record_is_read_by_field_name(void **state)
{
    struct fixture *f = *state;
    const struct drift_detected *d;

    assert_int_equal(codec_add_schema(f->codec, slice_str(other_drift), &f->err), 0);
    assert_int_equal(codec_add_schema(f->codec, slice_str(other_drift), &f->err),
                     0);          /* known: fine */
    for (int i = 0; i < 3; i++) { /* the value is used again */
        buf_reset(&f->out);
        avro_single_object(&f->out, other_drift);
        put_other_drift(&f->out);
        d = decoded(f, RECORD_DRIFT_DETECTED, buf_slice(&f->out));
        assert_string_equal(d->line, "p/s");
        assert_true(d->value == 0.25 && d->threshold == 2.0);
        assert_int_equal(d->generation, 7);
        assert_int_equal(d->windows, ABSENT_I64);
        assert_string_equal(d->kind, "new_kind");
        assert_string_equal(d->source, "");
        assert_null(d->statistic);
        assert_string_equal(d->summary, ""); /* what our schema says of a missing one */
        assert_int_equal(d->detected_unix_ms, 0);
        assert_int_equal(d->features.n, 2);
        assert_string_equal(d->features.items[0].feature, "f1");
        assert_true(d->features.items[0].value == -5.0 && isnan(d->features.items[0].threshold));
        assert_string_equal(d->features.items[1].feature, "");
    }
}

static const char *kept_text; /* what find_kept knows */
static int find_kept(void *ctx, uint64_t fingerprint, struct buf *ret, struct err *err)
{
    (void)ctx;
    (void)fingerprint;
    if (!kept_text)
        return err_set(err, ERR_NOTFOUND, NEXT_REJECT, "nothing is kept");
    buf_add_str(ret, kept_text);
    return 0;
}

static void an_unknown_schema_is_looked_for_where_its_writer_left_it(void **state)
{
    static const struct {
        const char *text, *says; /* NULL: found */
    } CASES[] = {
        {NULL, "nothing is kept"},
        {"{\"type\":", "schema with fingerprint"},
        {"{\"type\":\"record\",\"name\":\"DriftDetected\",\"fields\":[]}", "is another one"},
        {other_drift, NULL}};
    struct fixture *f = *state;
    const struct drift_detected *d;
    const void *rec = NULL;

    codec_set_find(f->codec, find_kept, NULL);
    avro_single_object(&f->out, other_drift);
    put_other_drift(&f->out);
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        kept_text = CASES[i].text;
        if (!CASES[i].says)
            break;
        assert_int_equal(codec_decode(f->codec, RECORD_DRIFT_DETECTED, buf_slice(&f->out),
                                      &f->arena, &rec, &f->err),
                         -1);
        assert_non_null(strstr(f->err.msg, CASES[i].says));
        assert_int_equal(f->err.next, NEXT_REJECT);
    }
    d = decoded(f, RECORD_DRIFT_DETECTED, buf_slice(&f->out));
    assert_string_equal(d->line, "p/s");
    kept_text = NULL; /* once is enough */
    d = decoded(f, RECORD_DRIFT_DETECTED, buf_slice(&f->out));
    assert_string_equal(d->line, "p/s");
}

static void numbers_of_lists_are_promoted(void **state)
{
    static const char text[] =
        "{\"type\":\"record\",\"name\":\"PredictionServed\",\"fields\":["
        "{\"name\":\"features\",\"type\":{\"type\":\"array\",\"items\":[\"null\",\"int\",\"float\"]"
        "}},"
        "{\"name\":\"outputs\",\"type\":{\"type\":\"array\",\"items\":\"float\"}}]}";
    struct fixture *f = *state;
    const struct prediction_served *p;

    assert_int_equal(codec_add_schema(f->codec, slice_str(text), &f->err), 0);
    avro_single_object(&f->out, text);
    avro_long(&f->out, 3);
    avro_long(&f->out, 0);
    avro_long(&f->out, 1);
    avro_long(&f->out, -3);
    avro_long(&f->out, 2);
    avro_float(&f->out, 1.5F);
    avro_long(&f->out, 0);
    avro_long(&f->out, 1);
    avro_float(&f->out, 0.5F);
    avro_long(&f->out, 0);
    p = decoded(f, RECORD_PREDICTION_SERVED, buf_slice(&f->out));
    assert_int_equal(p->features.n, 3);
    assert_true(isnan(p->features.items[0]) && p->features.items[1] == -3.0F &&
                p->features.items[2] == 1.5F);
    assert_true(p->outputs.n == 1 && p->outputs.items[0] == 0.5);
}

static void a_field_of_another_type_rejects_the_record(void **state)
{
    static const struct {
        const char *type, *bytes, *says;
        size_t n;
        const char *field;
    } rows[] = {
        {"\"string\"", "\2x", "generation: written as string", 2, "generation"},
        {"\"double\"", "\0\0\0\0\0\0\0\0", "generation: written as double", 8, "generation"},
        {"\"long\"", "\2", "line: written as long", 1, "line"},
        {"\"boolean\"", "\1", "value: written as boolean", 1, "value"},
        {"\"string\"", "\2x", "features: written as string", 2, "features"},
        {"{\"type\":\"array\",\"items\":\"long\"}", "\2\2\0", "features: written as long", 3,
         "features"},
        {"\"bytes\"", "\2\xff", "line: bytes that are not UTF-8", 2, "line"},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *text = arena_printf(&f->arena,
                                        "{\"type\":\"record\",\"name\":\"DriftDetected\","
                                        "\"fields\":[{\"name\":\"%s\",\"type\":%s}]}",
                                        rows[i].field, rows[i].type);

        assert_int_equal(codec_add_schema(f->codec, slice_str(text), &f->err), 0);
        buf_reset(&f->out);
        avro_single_object(&f->out, text);
        buf_add(&f->out, rows[i].bytes, rows[i].n);
        assert_rejected(f, RECORD_DRIFT_DETECTED, buf_slice(&f->out), rows[i].says);
    }
}

/* --- ids ------------------------------------------------------------------------------------- */

struct registry {
    int calls, rc;
    const char *text;
    struct err err;
};

static int lookup(void *ctx, int32_t schema_id, const char **ret_text, struct err *err)
{
    struct registry *g = ctx;

    assert_int_equal(schema_id, 77);
    g->calls++;
    *ret_text = g->text;
    *err = g->err;
    return g->rc;
}

static void a_schema_id_is_looked_up_until_it_is_known(void **state)
{
    struct fixture *f = *state;
    struct registry g = {.rc = 1, .text = other_drift};
    const void *rec;

    avro_confluent(&f->out, 77);
    put_other_drift(&f->out);
    assert_rejected(f, RECORD_DRIFT_DETECTED, buf_slice(&f->out),
                    "no schema registry is configured");
    codec_set_lookup(f->codec, lookup, &g);
    assert_int_equal(
        codec_decode(f->codec, RECORD_DRIFT_DETECTED, buf_slice(&f->out), &f->arena, &rec, &f->err),
        1);
    g.rc = -1;
    g.err.next = NEXT_RETRY;
    assert_int_equal(
        codec_decode(f->codec, RECORD_DRIFT_DETECTED, buf_slice(&f->out), &f->arena, &rec, &f->err),
        -1);
    assert_int_equal(f->err.next, NEXT_RETRY);
    g.rc = 0;
    for (int i = 0; i < 3; i++)
        assert_string_equal(
            ((const struct drift_detected *)decoded(f, RECORD_DRIFT_DETECTED, buf_slice(&f->out)))
                ->line,
            "p/s");
    assert_int_equal(g.calls, 3);
    assert_rejected(f, RECORD_LABEL_OBSERVED, buf_slice(&f->out),
                    "somebody.else.DriftDetected, where LabelObserved");
}

static void a_schema_that_cannot_be_used_is_looked_up_once(void **state)
{
    struct fixture *f = *state;
    struct registry g = {.text = "{\"type\":\"record\",\"name\":\"X\"}"};

    codec_set_lookup(f->codec, lookup, &g);
    avro_confluent(&f->out, 77);
    for (int i = 0; i < 3; i++)
        assert_rejected(f, RECORD_DRIFT_DETECTED, buf_slice(&f->out),
                        "schema id 77: schema: record 'X' without fields");
    assert_int_equal(g.calls, 1);
}

static void our_own_schema_under_a_strange_id_is_ours(void **state)
{
    struct fixture *f = *state;
    struct registry g = {.text = codec_schema_text(RECORD_LABEL_OBSERVED)};
    const void *label = sample_full(RECORD_LABEL_OBSERVED, &f->arena);

    codec_set_lookup(f->codec, lookup, &g);
    codec_set_schema_id(f->codec, RECORD_LABEL_OBSERVED, 77);
    assert_int_equal(codec_encode(f->codec, RECORD_LABEL_OBSERVED, label, &f->out, &f->err), 0);
    codec_set_schema_id(f->codec, RECORD_LABEL_OBSERVED, 78);
    assert_string_equal(
        json_text(f, RECORD_LABEL_OBSERVED, decoded(f, RECORD_LABEL_OBSERVED, buf_slice(&f->out))),
        json_text(f, RECORD_LABEL_OBSERVED, label));
    assert_rejected(f, RECORD_DRIFT_DETECTED, buf_slice(&f->out),
                    "LabelObserved, where DriftDetected is expected");
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(structs_tables_and_schemas_agree),
        TEST(every_record_comes_back_as_it_was),
        TEST(random_records_come_back_and_both_readers_agree),
        TEST(what_is_absent_stays_absent),
        TEST(the_framing_follows_the_schema_id),
        TEST(text_that_is_no_utf8_is_written_with_replacements),
        TEST(a_record_over_the_limit_is_not_written),
        TEST(an_unknown_schema_is_looked_for_where_its_writer_left_it),
        TEST(another_writers_record_is_read_by_field_name),
        TEST(numbers_of_lists_are_promoted),
        TEST(a_field_of_another_type_rejects_the_record),
        TEST(a_schema_id_is_looked_up_until_it_is_known),
        TEST(a_schema_that_cannot_be_used_is_looked_up_once),
        TEST(our_own_schema_under_a_strange_id_is_ours),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
