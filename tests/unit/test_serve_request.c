/* Requests of the Open Inference Protocol v2: what is taken, what the model then sees, and what is
 * refused in which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "agents/serve/encode.h"
#include "common/json.h"
#include "tests/support/sample_model.h"

#define COLUMNS "a:float b:int c:category(x,y,1) d:bool e:date"
static const char *const KNOWN[] = {"segment", NULL};

struct outcome {
    float *x;
    size_t rows;
    struct err err;
    bool ok;
};

static void outcome_fini(struct outcome *o)
{
    free_ptr(&o->x);
}

static struct outcome encode(const char *columns, struct slice body, int64_t json_bytes)
{
    struct model *m = sample_model(columns, "no yes");
    struct columns *c = columns_new(m);
    struct oip_request rq = {0};
    struct outcome o = {0};

    o.ok = oip_parse(body, json_bytes, &rq, &o.err) == 0 &&
           encode_rows(&rq, c, KNOWN, &o.x, &o.rows, &o.err) == 0;
    oip_request_fini(&rq);
    columns_free_all(c);
    model_free(m);
    return o;
}

static void expect_rows(const char *label, const char *columns, const char *body, const float *x,
                        size_t rows, size_t width)
{
    CLEANUP(outcome_fini) struct outcome o = encode(columns, slice_str(body), -1);

    if (!o.ok)
        fail_msg("%s: %s", label, o.err.msg);
    assert_int_equal(o.rows, rows);
    for (size_t i = 0; i < rows * width; i++)
        if (isnan(x[i]) ? !isnan(o.x[i]) : o.x[i] != x[i])
            fail_msg("%s: value %zu is %g, not %g", label, i, (double)o.x[i], (double)x[i]);
}

#define T(name, shape, type, data)                                                                 \
    "{\"name\":\"" name "\",\"shape\":" shape ",\"datatype\":\"" type "\",\"data\":" data "}"
#define RQ(tensors) "{\"inputs\":[" tensors "]}"
#define AB(a, b) RQ(T("a", "[2,1]", "FP64", a) "," T("b", "[2]", "INT64", b))

static void rows_are_the_same_in_every_form(void **state)
{
    static const float x[] = {1.5f, 2, NAN, -7};
    static const struct {
        const char *label, *body;
    } rows[] = {
        {"matrix, flat", RQ(T("input-0", "[2,2]", "FP32", "[1.5,2,null,-7]"))},
        {"matrix, nested", RQ(T("input-0", "[2,2]", "FP64", "[[1.5,2],[null,-7]]"))},
        {"columns, flat", AB("[1.5,null]", "[2,-7]")},
        {"columns, nested",
         RQ(T("a", "[2,1]", "FP64", "[[1.5],[null]]") "," T("b", "[2,1]", "INT8", "[[2],[-7]]"))},
        {"columns, other order",
         RQ(T("b", "[2,1]", "INT32", "[2,-7]") "," T("a", "[2,1]", "FP64", "[1.5,null]"))},
        {"a column that is known",
         RQ(T("segment", "[2,1]", "BYTES", "[\"s\",\"s\"]") "," T(
             "b", "[2,1]", "INT32", "[2,-7]") "," T("a", "[2,1]", "FP64", "[1.5,null]"))},
        {"members in any order and unknown ones",
         "{\"id\":\"1\",\"extra\":[{\"x\":1}],\"inputs\":[{\"data\":[1.5,2,null,-7],\"more\":{},"
         "\"datatype\":\"FP64\",\"parameters\":{\"content_type\":\"np\"},\"shape\":[2,2],\"name\":"
         "\"any\"}],\"parameters\":{\"p\":1}}"},
        {"exponents", RQ(T("input-0", "[2,2]", "FP32", "[15e-1,0.2e1,null,-70E-1]"))},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        expect_rows(rows[i].label, "a:float b:int", rows[i].body, x, 2, 2);
}

static void cells_are_encoded_by_the_column(void **state)
{
    static const float x[] = {1, 2, 0,   1,   0,     /* x, true, the epoch */
                              3, 4, 2,   0,   86400, /* category "1" as a number; day */
                              5, 6, NAN, NAN, NAN};  /* unknown category */
    const char *body =
        RQ(T("a", "[3]", "FP64", "[1,3,5]") "," T("b", "[3]", "UINT8", "[2,4,6]") "," T(
            "c", "[3]", "BYTES",
            "[\"x\",\"1\",\"never\"]") "," T("d", "[3]", "BOOL",
                                             "[true,false,null]") "," T("e", "[3]", "BYTES",
                                                                        "[\"1970-01-01T00:00:00Z\","
                                                                        "\"1970-01-02\",null]"));

    (void)state;
    expect_rows("cells", COLUMNS, body, x, 3, 5);
}

/* One row for each text: the model's own rules, where they say anything. */
static void cells_are_those_of_model_encode_cell(void **state)
{
    static const char *const values[] = {
        "1",       "2.5",  "-3",    "\"x\"", "\"y\"",    "\"1\"",     "\"never\"",
        "\"\"",    "true", "false", "null",  "\"true\"", "\"false\"", "\"2026-11-23T14:05:06Z\"",
        "\"abc\"", "1e300"};
    struct model *m = sample_model(COLUMNS, "no yes");
    struct columns *c = columns_new(m);

    (void)state;
    for (size_t v = 0; v < ARRAY_LEN(values); v++) {
        CLEANUP_FREE char *text = xasprintf("[%s]", values[v]);
        struct err err = {0};
        struct json *j = json_parse(slice_str(text), "cell", &err);
        const struct json *cell = json_at(j, 0);

        for (size_t i = 0; i < m->shape.n_columns; i++) {
            float expected = -1, got = -1;
            bool ok = model_encode_cell(m, i, cell, &expected, &err) == 0, mine;

            if (json_is_null(cell))
                continue;
            if (json_is_string(cell))
                mine = columns_encode_text(c, i, slice_str(json_str(cell, "")), &got, &err) == 0;
            else if (json_is_number(cell))
                mine = columns_encode_number(c, i, json_num(cell, 0), &got, &err) == 0;
            else
                mine = columns_encode_bool(c, i, json_bool(cell, false), &got, &err) == 0;
            if (ok && isinf(expected)) { /* out of float32's range: refused here */
                assert_false(mine);
                continue;
            }
            if (ok != mine && !(m->shape.columns[i].type == COLUMN_BOOL && mine))
                fail_msg("%s in column %zu: %d, not %d", values[v], i, mine, ok);
            if (ok && !(isnan(expected) ? isnan(got) : expected == got))
                fail_msg("%s in column %zu: %g, not %g", values[v], i, (double)got,
                         (double)expected);
        }
        json_free(j);
    }
    columns_free_all(c);
    model_free(m);
}

static void dates_and_truth_values_are_those_of_ingest(void **state)
{
    static const struct {
        const char *text;
        double unix_s; /* NAN: none */
    } dates[] = {
        {"2026-11-23", 1795392000},
        {"2026-11-23T10:00", 1795428000},
        {"2026-11-23 10:00:30", 1795428030},
        {"2026-11-23T10:00:30.5Z", 1795428030.5},
        {"2026-11-23T10:00+01:00", 1795424400},
        {"2026-11-23T10:00:00+0100", 1795424400},
        {"2026-13-01", NAN},
        {"23.11.2026", NAN},
        {"2026-11-23T", NAN},
        {"2026-11-2", NAN},
        {"", NAN},
    };
    static const struct {
        const char *text;
        float value;
    } truths[] = {{"Yes", 1},  {"no", 0}, {"T", 1}, {"f", 0},
                  {"TRUE", 1}, {"1", 1},  {"0", 0}, {"maybe", -1}};
    struct model *m = sample_model(COLUMNS, "no yes");
    struct columns *c = columns_new(m);
    struct err err = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(dates); i++) {
        float got = 0;
        bool ok = columns_encode_text(c, 4, slice_str(dates[i].text), &got, &err) == 0;

        if (ok == isnan(dates[i].unix_s) || (ok && got != (float)dates[i].unix_s))
            fail_msg("%s: %.1f", dates[i].text, (double)got);
    }
    for (size_t i = 0; i < ARRAY_LEN(truths); i++) {
        float got = -1;

        if ((columns_encode_text(c, 3, slice_str(truths[i].text), &got, &err) == 0) !=
                (truths[i].value >= 0) ||
            got != truths[i].value)
            fail_msg("%s: %g", truths[i].text, (double)got);
    }
    columns_free_all(c);
    model_free(m);
}

static void what_is_wrong_is_named_with_its_place(void **state)
{
    static const struct {
        const char *body, *expected;
    } rows[] = {
        {"", "JSON, byte 0: the text ends too early"},
        {"[1]", "the request must be an object, not an array"},
        {"{\"inputs\":[", "the text ends too early"},
        {"{\"inputs\":[]}", "inputs: no tensor is there"},
        {"{\"id\":\"x\"}", "inputs: no tensor is there"},
        {"{\"inputs\":{}}", "inputs must be an array, not an object"},
        {"{\"inputs\":[1]}", "inputs[0]: a tensor must be an object, not a number"},
        {"{\"id\":5,\"inputs\":[]}", "id must be a string, not a number"},
        {"{\"id\":\"a\",\"id\":\"b\"}", "request: \"id\" stands there twice"},
        {AB("[1,2]", "[1,2]") "x", "something stands behind the request"},
        {RQ("{\"shape\":[1,1],\"datatype\":\"FP32\",\"data\":[1]}"),
         "inputs[0]: name, shape and datatype are needed, name is missing"},
        {RQ("{\"name\":\"a\",\"datatype\":\"FP32\",\"data\":[1]}"),
         "inputs[0] 'a': name, shape and datatype are needed, shape is missing"},
        {RQ("{\"name\":\"a\",\"shape\":[1,1],\"data\":[1]}"), "datatype is missing"},
        {RQ("{\"name\":\"a\",\"shape\":[1,1],\"datatype\":\"FP32\"}"),
         "inputs[0] 'a': data is missing"},
        {RQ("{\"name\":\"a\",\"name\":\"b\"}"), "tensor: \"name\" stands there twice"},
        {RQ(T("a", "[1,1]", "FLOAT", "[1]")), "inputs[0] 'a': datatype \"FLOAT\" is none of BOOL"},
        {RQ(T("a", "[]", "FP32", "[1]")), "shape: it is empty"},
        {RQ(T("a", "[0,1]", "FP32", "[]")), "shape: 0 is no count of at least 1"},
        {RQ(T("a", "[-1,1]", "FP32", "[]")), "shape: -1 is no count"},
        {RQ(T("a", "[1.5]", "FP32", "[]")), "shape: 1.5 is no count"},
        {RQ(T("a", "[1,1,1]", "FP32", "[1]")), "shape: more than two dimensions"},
        {RQ(T("a", "[\"1\"]", "FP32", "[1]")),
         "an element of shape must be a number, not a string"},
        {RQ(T("a", "[1,1]", "FP32", "1")), "data must be an array, not a number"},
        {RQ(T("z", "[1,1]", "FP32", "[1]")),
         "inputs[0] 'z': shape is [1, 1], but the model has 2 features"},
        {RQ(T("z", "[1]", "FP32", "[1]")), "inputs[0] 'z': the model has no such column"},
        {RQ(T("m", "[1,3]", "FP32", "[1,2,3]")),
         "inputs[0] 'm': shape is [1, 3], but the model has 2 features"},
        {RQ(T("m", "[2,2]", "FP32", "[1,2,3]")),
         "inputs[0] 'm': data has 3 values, the shape says 4"},
        {RQ(T("m", "[1,2]", "FP32", "[1,2,3]")),
         "inputs[0] 'm': data[2]: more values than the 2 that the shape says"},
        {RQ(T("m", "[2,2]", "FP32", "[[1,2],[3]]")),
         "inputs[0] 'm': data[3]: this row has 1 values, the shape says 2"},
        {RQ(T("m", "[2,2]", "FP32", "[[1,2],3,4]")),
         "inputs[0] 'm': data[2]: a number, but the datatype is FP32"},
        {RQ(T("m", "[2,2]", "FP32", "[1,[2,3],4]")), "inputs[0] 'm': data[1]: an array"},
        {RQ(T("m", "[1000000000,2]", "FP32", "[1]")), "more than the body of"},
        {RQ(T("m", "[1000000000,1000000000]", "FP32", "[1]")), "but the model has 2 features"},
        {RQ(T("a", "[2]", "FP64", "[1,2]")),
         "inputs: no tensor for 1 of the model's 2 columns: 'b'"},
        {AB("[1,2]", "[1,2]"), ""},
        {RQ(T("a", "[2]", "FP64", "[1,2]") "," T("a", "[2]", "FP64", "[1,2]")),
         "inputs[1] 'a': the column has two tensors"},
        {RQ(T("a", "[2]", "FP64", "[1,2]") "," T("b", "[3]", "FP64", "[1,2,3]")),
         "inputs[1] 'b': 3 rows, but inputs[0] has 2"},
        {RQ(T("a", "[2]", "FP64", "[1,2]") "," T("b", "[1,2]", "FP64", "[1,2]")),
         "inputs[1] 'b': shape is [1, 2], one column is [rows, 1]"},
        {RQ(T("a", "[2]", "FP64", "[1,2]") "," T("q", "[2]", "FP64", "[1,2]")),
         "inputs[1] 'q': the model has no such column"},
        {AB("[1,\"2\"]", "[1,2]"), "inputs[0] 'a': data[1]: a string, but the datatype is FP64"},
        {AB("[1,true]", "[1,2]"), "inputs[0] 'a': data[1]: true, but the datatype is FP64"},
        {AB("[1,{}]", "[1,2]"), "inputs[0] 'a': data[1]: an object"},
        {AB("[1,NaN]", "[1,2]"), "a value is expected"},
        {AB("[1,1e999]", "[1,2]"), "the number is beyond what a double holds"},
        {AB("[1,1e39]", "[1,2]"), "inputs[0] 'a': data[1]: 1e+39 is beyond what a float32 holds"},
        {AB("[1,2]", "[1,2.5]"), "inputs[1] 'b': data[1]: 2.5 is no INT64"},
        {RQ(T("a", "[1]", "UINT8", "[256]") "," T("b", "[1]", "INT64", "[1]")),
         "inputs[0] 'a': data[0]: 256 is no UINT8"},
        {RQ(T("a", "[1]", "INT8", "[-129]") "," T("b", "[1]", "INT64", "[1]")), "-129 is no INT8"},
        {RQ(T("a", "[1]", "UINT16", "[-1]") "," T("b", "[1]", "INT64", "[1]")), "-1 is no UINT16"},
        {RQ(T("a", "[1]", "BOOL", "[2]") "," T("b", "[1]", "INT64", "[1]")),
         "data[0]: a number, but the datatype is BOOL"},
        {RQ(T("a", "[1]", "BYTES", "[\"abc\"]") "," T("b", "[1]", "INT64", "[1]")),
         "inputs[0] 'a': data[0]: the column is of type float: 'abc' is text"},
        {"{\"parameters\":{\"a\":1,\"a\":2},\"inputs\":[]}",
         "parameters: \"a\" stands there twice"},
        {"{\"parameters\":{\"binary_data_output\":3},\"inputs\":[]}",
         "parameter binary_data_output must be true or false"},
        {"{\"outputs\":[{\"x\":1}],\"inputs\":[]}", "outputs[0]: name is missing"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(outcome_fini)
        struct outcome o = encode("a:float b:int", slice_str(rows[i].body), -1);

        if (!rows[i].expected[0]) {
            assert_true(o.ok);
            continue;
        }
        if (o.ok || !strstr(o.err.msg, rows[i].expected))
            fail_msg("%s:\n  '%s', not '%s'", rows[i].body, o.err.msg, rows[i].expected);
        assert_int_equal(o.err.next, NEXT_REJECT);
    }
}

/* ---- raw tensors ---- */

static void add_raw(struct buf *json, struct buf *raw, const char *name, const char *type,
                    size_t rows, const void *p, size_t n)
{
    buf_addf(json,
             "%s{\"name\":\"%s\",\"shape\":[%zu,1],\"datatype\":\"%s\",\"parameters\":{\"binary_"
             "data_size\":%zu}}",
             json->len > 11 ? "," : "", name, rows, type, n);
    buf_add(raw, p, n);
}

static void raw_tensors_are_read_in_order(void **state)
{
    static const float a[] = {1.5f, NAN}, expected[] = {1.5f, 7, 0, 1, 0, NAN, -8, NAN, 0, 86400};
    static const int16_t b[] = {7, -8};
    static const uint8_t d[] = {1, 0};
    static const double e[] = {0, 86400};
    static const char c[] = "\1\0\0\0x\2\0\0\0zz";
    CLEANUP(buf_fini) struct buf json = {0}, raw = {0};

    (void)state;
    buf_add_str(&json, "{\"inputs\":[");
    add_raw(&json, &raw, "a", "FP32", 2, a, sizeof(a));
    add_raw(&json, &raw, "b", "INT16", 2, b, sizeof(b));
    add_raw(&json, &raw, "c", "BYTES", 2, c, sizeof(c) - 1);
    add_raw(&json, &raw, "d", "BOOL", 2, d, sizeof(d));
    add_raw(&json, &raw, "e", "FP64", 2, e, sizeof(e));
    buf_add_str(&json, "]}");
    size_t json_bytes = json.len;
    buf_add(&json, raw.data, raw.len);
    CLEANUP(outcome_fini) struct outcome o = encode(COLUMNS, buf_slice(&json), (int64_t)json_bytes);
    if (!o.ok)
        fail_msg("%s", o.err.msg);
    for (size_t i = 0; i < ARRAY_LEN(expected); i++)
        assert_true(isnan(expected[i]) ? isnan(o.x[i]) : o.x[i] == expected[i]);
}

static void half_precision_is_read(void **state)
{
    static const uint16_t bits[] = {0x3c00, 0xc000, 0x0001, 0x7e00}; /* 1, -2, 2^-24, NaN */
    static const float expected[] = {1, -2, 0x1p-24f, NAN};
    CLEANUP(buf_fini) struct buf json = {0};
    size_t json_bytes;

    (void)state;
    buf_add_str(&json, "{\"inputs\":[{\"name\":\"m\",\"shape\":[2,2],\"datatype\":\"FP16\","
                       "\"parameters\":{\"binary_data_size\":8}}]}");
    json_bytes = json.len;
    buf_add(&json, bits, sizeof(bits));
    CLEANUP(outcome_fini)
    struct outcome o = encode("a:float b:float", buf_slice(&json), (int64_t)json_bytes);
    if (!o.ok)
        fail_msg("%s", o.err.msg);
    for (size_t i = 0; i < 4; i++)
        assert_true(isnan(expected[i]) ? isnan(o.x[i]) : o.x[i] == expected[i]);
}

static void damaged_raw_tensors_are_refused(void **state)
{
    static const struct {
        const char *type, *raw, *expected;
        size_t n, says;
        int64_t json_bytes; /* 0: right; else this */
    } rows[] = {
        {"FP32", "\0\0\0\0", "binary_data_size is 4, the shape says 2 x 4 bytes", 4, 4, 0},
        {"FP32", "\0\0\0\0", "only 4 bytes are left", 4, 8, 0},
        {"FP32", "\0\0\0\0\0\0\0\0\0", "1 bytes behind the JSON belong to no tensor", 9, 8, 0},
        {"FP32", "\0\0\200\177\0\0\0\0", "inf is beyond what a float32 holds", 8, 8, 0},
        {"BYTES", "\1\0\0\0a\3\0\0\0a", "data[1] has 3 bytes, but 1 are left", 10, 10, 0},
        {"BYTES", "\1\0\0\0a\1\0", "the length of data[1] is cut off", 7, 7, 0},
        {"BYTES", "\1\0\0\0\377\0\0\0\0", "data[0] is not UTF-8", 9, 9, 0},
        {"BYTES", "\1\0\0\0\0\0\0\0\0", "has a NUL", 9, 9, 0},
        {"FP32", "", "but the body has", 0, 0, 100000},
        {"FP32", "", "this string has no end", 0, 0, 5},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(buf_fini) struct buf body = {0};
        int64_t json_bytes;

        buf_addf(&body,
                 "{\"inputs\":[{\"name\":\"a\",\"shape\":[2,1],\"datatype\":\"%s\",\"parameters\":{"
                 "\"binary_data_size\":%zu}}]}",
                 rows[i].type, rows[i].says);
        json_bytes = rows[i].json_bytes ? rows[i].json_bytes : (int64_t)body.len;
        buf_add(&body, rows[i].raw, rows[i].n);
        CLEANUP(outcome_fini)
        struct outcome o =
            encode(strcmp(rows[i].type, "BYTES") == 0 ? "a:category(a,b)" : "a:float",
                   buf_slice(&body), json_bytes);
        if (o.ok || !strstr(o.err.msg, rows[i].expected))
            fail_msg("row %zu: '%s', not '%s'", i, o.err.msg, rows[i].expected);
    }
}

/* ---- one value for all rows ---- */

static void a_request_has_one_segment(void **state)
{
    static const struct {
        const char *data, *type, *expected; /* expected begins with '!': an error */
    } rows[] = {
        {"[\"north\",\"north\"]", "BYTES", "north"},
        {"[7,7]", "INT64", "7"},
        {"[7.0,7]", "FP64", "7"},
        {"[true,true]", "BOOL", "true"},
        {"[\"north\",\"south\"]", "BYTES",
         "!inputs[0] 's': data[1]: 'south' differs from 'north' in data[0]"},
        {"[\"north\",null]", "BYTES", "!data[1]: it may not be missing here"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP_FREE char *body = xasprintf(
            "{\"inputs\":[{\"name\":\"s\",\"shape\":[2],\"datatype\":\"%s\",\"data\":%s}]}",
            rows[i].type, rows[i].data);
        struct oip_request rq = {0};
        struct arena arena = {0};
        struct err err = {0};
        const char *text = NULL;

        if (oip_parse(slice_str(body), -1, &rq, &err))
            fail_msg("%s", err.msg);
        if (encode_common_text(&rq, oip_input(&rq, "s"), &arena, &text, &err) == 0)
            assert_string_equal(text, rows[i].expected);
        else if (rows[i].expected[0] != '!' || !strstr(err.msg, rows[i].expected + 1))
            fail_msg("'%s', not '%s'", err.msg, rows[i].expected);
        oip_request_fini(&rq);
        arena_fini(&arena);
    }
}

static void parameters_and_outputs_are_kept(void **state)
{
    const char *body =
        "{\"id\":\"r\\u00e4\",\"outputs\":[{\"name\":\"label\",\"parameters\":{\"binary_data\":"
        "false}},{\"name\":\"x\"}],"
        "\"parameters\":{\"user\":\"ann\",\"n\":17,\"binary_data_output\":true},"
        "\"inputs\":[{\"name\":\"a\",\"shape\":[1],\"datatype\":\"FP32\",\"data\":[1]}]}";
    struct oip_request rq = {0};
    struct err err = {0};

    (void)state;
    if (oip_parse(slice_str(body), -1, &rq, &err))
        fail_msg("%s", err.msg);
    assert_true(slice_eq_str(rq.id, "r\xc3\xa4"));
    assert_true(slice_eq_str(oip_parameter(&rq, "user")->text, "ann"));
    assert_true(slice_eq_str(oip_parameter(&rq, "n")->text, "17"));
    assert_null(oip_parameter(&rq, "nobody"));
    assert_int_equal(rq.n_outputs, 2);
    assert_false(rq.outputs[0].is_binary);
    assert_true(rq.outputs[1].is_binary);
    oip_request_fini(&rq);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_the_same_in_every_form),
        cmocka_unit_test(cells_are_encoded_by_the_column),
        cmocka_unit_test(cells_are_those_of_model_encode_cell),
        cmocka_unit_test(dates_and_truth_values_are_those_of_ingest),
        cmocka_unit_test(what_is_wrong_is_named_with_its_place),
        cmocka_unit_test(raw_tensors_are_read_in_order),
        cmocka_unit_test(half_precision_is_read),
        cmocka_unit_test(damaged_raw_tensors_are_refused),
        cmocka_unit_test(a_request_has_one_segment),
        cmocka_unit_test(parameters_and_outputs_are_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
