#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/codec.h"
#include "common/json.h"
#include "tests/support/sample_events.h"

static char *to_text(enum record r, const void *rec)
{
    CLEANUP(json_freep) struct json *j = codec_to_json(r, rec);
    struct buf text = {0};

    CLEANUP(buf_fini) struct buf direct = {0};

    json_write(j, 0, false, &text);
    codec_write_json(r, rec, &direct); /* both ways, of whatever is tested here */
    assert_string_equal(direct.data, text.data);
    return buf_take(&text);
}

static int from_text(enum record r, const char *text, struct arena *arena, const void **ret,
                     struct err *err)
{
    CLEANUP(json_freep) struct json *j = json_parse(slice_str(text), "test", err);

    assert_non_null(j);
    return codec_from_json(r, j, arena, ret, err);
}

static void every_record_comes_back_from_json(void **state)
{
    CLEANUP(arena_fini) struct arena arena = {0};
    struct codec *codec;
    struct err err = {0};

    (void)state;
    assert_int_equal(codec_new(&codec, &err), 0);
    for (int r = RECORD_NONE + 1; r < RECORD_COUNT; r++) {
        const void *full = sample_full((enum record)r, &arena), *back;
        CLEANUP_FREE char *text = to_text((enum record)r, full);
        CLEANUP(buf_fini) struct buf was = {0}, is = {0};

        if (from_text((enum record)r, text, &arena, &back, &err) != 0)
            fail_msg("%s", err.msg);
        assert_int_equal(codec_encode(codec, (enum record)r, full, &was, &err), 0);
        assert_int_equal(codec_encode(codec, (enum record)r, back, &is, &err), 0);
        assert_true(slice_eq(buf_slice(&was), buf_slice(&is)));
    }
    codec_free(codec);
}

static void an_object_without_members_is_what_the_schema_says(void **state)
{
    CLEANUP(arena_fini) struct arena arena = {0};
    struct err err = {0};

    (void)state;
    for (int r = RECORD_NONE + 1; r < RECORD_COUNT; r++) {
        CLEANUP_FREE char *empty = NULL, *nulls = NULL;
        const void *rec, *of_nulls;

        assert_int_equal(from_text((enum record)r, "{}", &arena, &rec, &err), 0);
        empty = to_text((enum record)r, rec);
        assert_int_equal(from_text((enum record)r, empty, &arena, &of_nulls, &err), 0);
        nulls = to_text((enum record)r, of_nulls);
        assert_string_equal(empty, nulls);
    }
}

static void the_text_is_for_people(void **state)
{
    const float features[] = {0.1F, 16777216.0F, NAN, INFINITY, 1.0F / 3};
    const double outputs[] = {0.7, (double)NAN};
    const struct prediction_served p = {.line = "l\xff",
                                        .prediction = "id",
                                        .generation = 3,
                                        .rows = 1,
                                        .features = {features, 5},
                                        .outputs = {outputs, 2},
                                        .served_unix_ms = 1700000000000};
    const struct dead_lettered d = {
        .topic = "t", .key = {"\0\xff\x10", 3}, .value = {"", 0}, .offset = ABSENT_I64};
    CLEANUP_FREE char *served = to_text(RECORD_PREDICTION_SERVED, &p);
    CLEANUP_FREE char *dead = to_text(RECORD_DEAD_LETTERED, &d);

    (void)state;
    assert_string_equal(
        served,
        "{\"line\":\"l\xEF\xBF\xBD\",\"prediction\":\"id\",\"request\":null,\"generation\":3,"
        "\"model\":null,"
        "\"role\":null,\"instance\":null,\"rows\":1,\"features_per_row\":0,\"outputs_per_row\":0,"
        "\"features\":[0.1,16777216,null,null,0.33333334],\"outputs\":[0.7,null],\"latency_us\":0,"
        "\"served_unix_ms\":1700000000000}");
    assert_string_equal(
        dead, "{\"topic\":\"t\",\"partition\":0,\"offset\":null,\"key\":\"AP8Q\",\"value\":\"\","
              "\"headers\":[],"
              "\"agent\":null,\"code\":null,\"reason\":null,\"attempts\":0,\"failed_unix_ms\":0}");
    assert_null(codec_to_json(RECORD_NONE, &p));
    assert_null(codec_to_json(RECORD_LABEL_OBSERVED, NULL));
}

static void a_wrong_member_is_named(void **state)
{
    static const struct {
        enum record r;
        const char *text, *says;
    } rows[] = {
        {RECORD_LABEL_OBSERVED, "[]", "label_observed: must be an object"},
        {RECORD_LABEL_OBSERVED, "{\"lines\":\"x\"}", "lines: unknown member"},
        {RECORD_LABEL_OBSERVED, "{\"line\":7}", "line: must be a string"},
        {RECORD_LABEL_OBSERVED, "{\"observed_unix_ms\":\"now\"}",
         "observed_unix_ms: must be a whole number"},
        {RECORD_LABEL_OBSERVED, "{\"observed_unix_ms\":1.5}",
         "observed_unix_ms: must be a whole number"},
        {RECORD_LABEL_OBSERVED, "{\"observed_unix_ms\":1e300}",
         "observed_unix_ms: must be a whole number"},
        {RECORD_LABEL_OBSERVED, "{\"observed_unix_ms\":true}",
         "observed_unix_ms: must be a whole number"},
        {RECORD_DRIFT_DETECTED, "{\"value\":\"0.1\"}", "value: must be a number"},
        {RECORD_DRIFT_DETECTED, "{\"features\":{}}", "features: must be a list"},
        {RECORD_DRIFT_DETECTED, "{\"features\":[{},7]}", "features[1]: must be an object"},
        {RECORD_DRIFT_DETECTED, "{\"features\":[{},{\"feature\":\"a\",\"value\":[]}]}",
         "features[1].value: must be a number"},
        {RECORD_DRIFT_DETECTED, "{\"features\":[{\"x\":1}]}", "features[0].x: unknown member"},
        {RECORD_MODEL_EVALUATED, "{\"snapshots\":[\"a\",null]}", "snapshots[1]: must be a string"},
        {RECORD_PREDICTION_SERVED, "{\"features\":[1,\"2\"]}", "features[1]: must be a number"},
        {RECORD_SERVING_CHANGED, "{\"stopping\":0}", "stopping: must be true or false"},
        {RECORD_DEAD_LETTERED, "{\"key\":\"AP8\"}", "key: must be base64 text"},
        {RECORD_DEAD_LETTERED, "{\"headers\":[{\"value\":7}]}",
         "headers[0].value: must be base64 text"},
    };
    CLEANUP(arena_fini) struct arena arena = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = {0};
        const void *rec = rows, *untouched = rows;

        if (from_text(rows[i].r, rows[i].text, &arena, &rec, &err) != -1)
            fail_msg("%s was taken", rows[i].text);
        assert_ptr_equal(rec, untouched);
        assert_int_equal(err.code, ERR_INVAL);
        assert_string_equal(err.msg, rows[i].says);
    }
}

static void whole_numbers_keep_their_digits(void **state)
{
    CLEANUP(arena_fini) struct arena arena = {0};
    const struct label_observed *l;
    const void *rec;
    struct err err = {0};

    (void)state;
    assert_int_equal(from_text(RECORD_LABEL_OBSERVED, "{\"observed_unix_ms\":9007199254740993}",
                               &arena, &rec, &err),
                     0);
    l = rec;
    assert_int_equal(l->observed_unix_ms, 9007199254740993);
    assert_int_equal(from_text(RECORD_LABEL_OBSERVED, "{\"observed_unix_ms\":1700000000000.0}",
                               &arena, &rec, &err),
                     0);
    l = rec;
    assert_int_equal(l->observed_unix_ms, 1700000000000);
    assert_int_equal(
        from_text(RECORD_LABEL_OBSERVED, "{\"observed_unix_ms\":null}", &arena, &rec, &err), 0);
    l = rec;
    assert_int_equal(l->observed_unix_ms, ABSENT_I64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_record_comes_back_from_json),
        cmocka_unit_test(an_object_without_members_is_what_the_schema_says),
        cmocka_unit_test(the_text_is_for_people),
        cmocka_unit_test(a_wrong_member_is_named),
        cmocka_unit_test(whole_numbers_keep_their_digits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
