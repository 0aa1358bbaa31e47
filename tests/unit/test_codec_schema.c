/* Schema texts: canonical form, fingerprint, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/codec_internal.h"

/* The first four are from the Avro project's schema-tests.txt; canonical forms and fingerprints of
 * the others are those of fastavro 1.12.1 (to_parsing_canonical_form, fingerprint with
 * CRC-64-AVRO). */
static const struct {
    const char *text, *canonical;
    uint64_t fingerprint;
} vectors[] = {
    {"\"null\"", "\"null\"", 0x63dd24e7cc258f8a},
    {"{ \"type\" : \"int\" }", "\"int\"", 0x7275d51a3f395c8f},
    {"\"string\"", "\"string\"", 0x8f014872634503c7},
    {"{\"fields\":[{\"type\":\"boolean\", \"name\":\"f1\"}], \"type\":\"record\", "
     "\"name\":\"foo\"}",
     "{\"name\":\"foo\",\"type\":\"record\",\"fields\":[{\"name\":\"f1\",\"type\":\"boolean\"}]}",
     7843277075252814651},
    {"[\"null\", {\"type\":\"map\", \"values\":{\"type\":\"array\",\"items\":\"bytes\", "
     "\"doc\":\"x\"}}]",
     "[\"null\",{\"type\":\"map\",\"values\":{\"type\":\"array\",\"items\":\"bytes\"}}]",
     0xbb1a05e8f95da84b},
    {"{\"type\":\"record\",\"name\":\"R\",\"namespace\":\"a.b\",\"doc\":\"d\",\"aliases\":[\"Q\"],"
     "\"fields\":["
     "{\"name\":\"e\",\"type\":{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"X\",\"Y\"]},"
     "\"default\":\"X\"},"
     "{\"name\":\"f\",\"type\":{\"type\":\"fixed\",\"name\":\"c.F\",\"size\":16}},"
     "{\"name\":\"again\",\"type\":[\"E\",\"c.F\"]},"
     "{\"name\":\"ts\",\"type\":{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"},\"order\":"
     "\"ignore\"}]}",
     "{\"name\":\"a.b.R\",\"type\":\"record\",\"fields\":["
     "{\"name\":\"e\",\"type\":{\"name\":\"a.b.E\",\"type\":\"enum\",\"symbols\":[\"X\",\"Y\"]}},"
     "{\"name\":\"f\",\"type\":{\"name\":\"c.F\",\"type\":\"fixed\",\"size\":16}},"
     "{\"name\":\"again\",\"type\":[\"a.b.E\",\"c.F\"]},"
     "{\"name\":\"ts\",\"type\":\"long\"}]}",
     0x6b553bf0dcfa74f1},
};

static void canonical_form_and_fingerprint_are_those_of_the_specification(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        CLEANUP(buf_fini) struct buf canonical = {0};
        struct wire_schema wire = {0};
        struct err err = {0};
        uint64_t fingerprint;

        if (codec__schema_parse(slice_str(vectors[i].text), &wire, &canonical, &err) != 0)
            fail_msg("%s: %s", vectors[i].text, err.msg);
        assert_string_equal(canonical.data, vectors[i].canonical);
        assert_int_equal(wire.fingerprint, vectors[i].fingerprint);
        assert_int_equal(codec_text_fingerprint(buf_slice(&canonical), &fingerprint, &err), 0);
        assert_int_equal(fingerprint, vectors[i].fingerprint);
        codec__schema_fini(&wire);
        codec__schema_fini(&wire);
    }
}

#define RECORD(fields) "{\"type\":\"record\",\"name\":\"R\",\"fields\":[" fields "]}"

static void a_schema_that_cannot_be_trusted_is_refused(void **state)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"", "schema"},
        {"{", "schema"},
        {"7", "schema that is no type"},
        {"{}", "schema that is no type"},
        {"\"strin\"", "unknown type 'strin'"},
        {"{\"type\":\"record\",\"name\":\"R\"}", "record 'R' without fields"},
        {"{\"type\":\"record\",\"fields\":[]}", "record without a proper name"},
        {"{\"type\":\"record\",\"name\":\"1R\",\"fields\":[]}", "record without a proper name"},
        {"{\"type\":\"record\",\"name\":\"R\\\"x\",\"fields\":[]}", "record without a proper name"},
        {"{\"type\":\"record\",\"name\":\"a..R\",\"fields\":[]}", "record without a proper name"},
        {"{\"type\":\"record\",\"name\":\"R\",\"namespace\":\"a b\",\"fields\":[]}",
         "record without a proper name"},
        {RECORD("{\"name\":\"f-g\",\"type\":\"int\"}"), "field 0 has no proper name"},
        {RECORD("{\"name\":\"f\"}"), "field 0 has no proper name or no type"},
        {RECORD("7"), "field 0 has no proper name"},
        {RECORD("{\"name\":\"f\",\"type\":\"int\"},{\"name\":\"f\",\"type\":\"int\"}"),
         "field 'f' twice"},
        {RECORD("{\"name\":\"f\",\"type\":[\"null\",\"R\"]}"), "'R' contains itself"},
        {RECORD("{\"name\":\"f\",\"type\":\"S\"}"), "unknown type 'S'"},
        {RECORD("{\"name\":\"f\",\"type\":{\"type\":\"fixed\",\"name\":\"R\",\"size\":1}}"),
         "'R' is defined twice"},
        {"{\"type\":\"fixed\",\"name\":\"F\",\"size\":-1}", "size must be"},
        {"{\"type\":\"fixed\",\"name\":\"F\",\"size\":1000000000}", "size must be"},
        {"{\"type\":\"fixed\",\"name\":\"F\"}", "size must be"},
        {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[]}", "no symbols"},
        {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"a b\"]}", "symbol 0 is no name"},
        {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[7]}", "symbol 0 is no name"},
        {"{\"type\":\"array\"}", "array without items"},
        {"{\"type\":\"map\"}", "map without values"},
        {"[]", "union without branches"},
        {"[[\"null\"]]", "union inside a union"},
        {"[\"null\",\"x\"]", "unknown type 'x'"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = {0};
        uint64_t untouched = 42;

        if (codec_text_fingerprint(slice_str(rows[i].text), &untouched, &err) != -1 ||
            untouched != 42)
            fail_msg("%s was taken", rows[i].text);
        assert_int_equal(err.next, NEXT_REJECT);
        if (!strstr(err.msg, rows[i].says))
            fail_msg("%s: '%s' does not say '%s'", rows[i].text, err.msg, rows[i].says);
    }
}

static void assert_over_limit(struct buf *text)
{
    struct err err = {0};
    uint64_t fingerprint;

    assert_int_equal(codec_text_fingerprint(buf_slice(text), &fingerprint, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    buf_reset(text);
}

static void a_schema_that_grows_without_bounds_is_refused(void **state)
{
    CLEANUP(buf_fini) struct buf text = {0};

    (void)state;
    for (int i = 0; i < 20; i++)
        buf_add_str(&text, "{\"type\":\"array\",\"items\":");
    buf_add_str(&text, "\"null\"");
    for (int i = 0; i < 20; i++)
        buf_add_char(&text, '}');
    assert_over_limit(&text); /* deep */

    buf_add_str(&text, "[\"null\"");
    for (int i = 0; i < 5000; i++)
        buf_add_str(&text, ",\"null\"");
    buf_add_char(&text, ']');
    assert_over_limit(&text); /* wide */

    buf_add_str(&text,
                "{\"type\":\"record\",\"name\":\"R0\",\"fields\":[{\"name\":\"n\",\"type\":[");
    buf_add_str(
        &text,
        "{\"type\":\"record\",\"name\":\"D0\",\"fields\":[{\"name\":\"n\",\"type\":\"null\"}]}");
    for (int i = 1; i < 40; i++) /* each has the one before it twice: 2^39 values in no bytes */
        buf_addf(&text,
                 ",{\"type\":\"record\",\"name\":\"D%d\",\"fields\":[{\"name\":\"a\",\"type\":\"D%"
                 "d\"},{\"name\":\"b\",\"type\":\"D%d\"}]}",
                 i, i - 1, i - 1);
    buf_add_str(&text, "]}]}");
    assert_over_limit(&text);

    buf_add_char(&text, '"');
    for (size_t i = 0; i < CODEC_MAX_SCHEMA_BYTES; i++)
        buf_add_char(&text, 'x');
    buf_add_char(&text, '"');
    assert_over_limit(&text);
}

static void only_schemas_of_records_are_kept(void **state)
{
    struct err err = {0};
    struct codec *c;

    (void)state;
    assert_int_equal(codec_new(&c, &err), 0);
    assert_int_equal(codec_add_schema(c, slice_str("\"string\""), &err), -1);
    assert_non_null(strstr(err.msg, "schema of a string, not of a record"));
    assert_int_equal(codec_add_schema(c,
                                      slice_str("{\"type\":\"record\",\"name\":\"R\",\"fields\":[{"
                                                "\"name\":\"f\",\"type\":\"int\"}]}"),
                                      &err),
                     0);
    codec_free(c);
}

static void the_number_of_schemas_is_capped(void **state)
{
    struct err err = {0};
    struct codec *c;
    char text[160];

    (void)state;
    assert_int_equal(codec_new(&c, &err), 0);
    for (int i = 0; i <= CODEC_MAX_SCHEMAS; i++) {
        snprintf(
            text, sizeof(text),
            "{\"type\":\"record\",\"name\":\"R%d\",\"fields\":[{\"name\":\"f\",\"type\":\"int\"}]}",
            i);
        assert_int_equal(codec_add_schema(c, slice_str(text), &err),
                         i < CODEC_MAX_SCHEMAS ? 0 : -1);
    }
    assert_int_equal(err.code, ERR_LIMIT);
    codec_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(canonical_form_and_fingerprint_are_those_of_the_specification),
        cmocka_unit_test(a_schema_that_cannot_be_trusted_is_refused),
        cmocka_unit_test(a_schema_that_grows_without_bounds_is_refused),
        cmocka_unit_test(only_schemas_of_records_are_kept),
        cmocka_unit_test(the_number_of_schemas_is_capped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
