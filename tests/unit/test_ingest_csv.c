#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "agents/ingest/csv.h"
#include "common/mem.h"

/* Rows as text: fields in <>, rows ended by a line feed; "|" and the row's text when asked. */
struct seen {
    struct buf out;
    struct buf texts;
    int64_t last_row, last_line;
    bool refuse;
};

static int on_row(void *ctx, const struct csv_row *row, struct err *err)
{
    struct seen *s = ctx;

    for (size_t i = 0; i < row->n; i++) {
        buf_add_char(&s->out, '<');
        buf_add(&s->out, row->fields[i].p, row->fields[i].n);
        buf_add_char(&s->out, '>');
    }
    buf_add_char(&s->out, '\n');
    buf_add(&s->texts, row->text.p, row->text.n);
    buf_add_char(&s->texts, '\n');
    s->last_row = row->row;
    s->last_line = row->line;
    return s->refuse ? err_inval(err, "refused") : 0;
}

static int read_in_pieces(const char *text, size_t n, size_t piece, struct seen *s, struct err *err)
{
    struct csv *c = csv_new(on_row, s);
    int rc = 0;

    for (size_t at = 0; rc == 0 && at < n; at += piece)
        rc = csv_feed(c, text + at, n - at < piece ? n - at : piece, err);
    if (rc == 0)
        rc = csv_end(c, err);
    csv_free(c);
    return rc;
}

static void seen_fini(struct seen *s)
{
    buf_fini(&s->out);
    buf_fini(&s->texts);
    *s = (struct seen){0};
}

static const struct {
    const char *text, *rows;
} GOOD[] = {
    {"a,b\n1,2\n", "<a><b>\n<1><2>\n"},
    {"a,b\n1,2", "<a><b>\n<1><2>\n"},
    {"a,b\r\n1,2\r\n", "<a><b>\n<1><2>\n"},
    {"a,b\r\n1,2\r", "<a><b>\n<1><2>\n"},
    {"\xef\xbb\xbf"
     "a,b\n1,2\n",
     "<a><b>\n<1><2>\n"},
    {"a\n\"x,y\"\n", "<a>\n<x,y>\n"},
    {"a,b\n\"x\ny\",2\n3,4\n", "<a><b>\n<x\ny><2>\n<3><4>\n"},
    {"a,b\n\"x\r\ny\",2\r\n", "<a><b>\n<x\r\ny><2>\n"},
    {"a\n\"he said \"\"no\"\"\"\n", "<a>\n<he said \"no\">\n"},
    {"a,b\n\"\",\"\"\n", "<a><b>\n<><>\n"},
    {"a,b\n\"\"\"\",x\n", "<a><b>\n<\"><x>\n"},
    {"a,b,c\n,,\n", "<a><b><c>\n<><><>\n"},
    {"a,b\n\n1,2\n\r\n\n3,4\n\n", "<a><b>\n<1><2>\n<3><4>\n"},
    {"\"a\",\"b\"\r\n\"1\",\"2\"\r\n", "<a><b>\n<1><2>\n"},
    {"a,b\n1\n1,2,3\n", "<a><b>\n<1>\n<1><2><3>\n"}, /* the caller's to judge */
    {" a , b \n 1 , 2 \n", "< a >< b >\n< 1 >< 2 >\n"},
    {"a\nx\ry\n", "<a>\n<x\ry>\n"},
    {"", ""},
    {"a", "<a>\n"},
    {"\n\n", ""},
    {"\"a\"", "<a>\n"},
    {"a,b\n\"1\n\n\n\",2\n5,6\n", "<a><b>\n<1\n\n\n><2>\n<5><6>\n"},
};

static void rows_are_those_of_rfc_4180_however_they_come(void **state)
{
    static const size_t pieces[] = {1, 2, 3, 7, 63, 64, 65, 1000};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(GOOD); i++)
        for (size_t k = 0; k < ARRAY_LEN(pieces); k++) {
            struct seen s = {0};
            struct err err = {0};

            if (read_in_pieces(GOOD[i].text, strlen(GOOD[i].text), pieces[k], &s, &err))
                fail_msg("case %zu: %s", i, err.msg);
            if (strcmp(s.out.data ? s.out.data : "", GOOD[i].rows) != 0)
                fail_msg("case %zu in pieces of %zu: '%s'", i, pieces[k], s.out.data);
            seen_fini(&s);
        }
}

static void long_rows_cross_every_block(void **state)
{
    (void)state;
    /* a quoted field with breaks and quotes, moved over all positions of two blocks */
    for (size_t pad = 0; pad < 130; pad++) {
        struct seen s = {0};
        struct buf text = {0}, want = {0};
        struct err err;

        buf_add_str(&text, "a,b\n");
        for (size_t i = 0; i < pad; i++)
            buf_add_char(&text, 'p');
        buf_add_str(&text, ",\"q,\n\"\"r\"\"\"\r\nlast,row");
        buf_add_str(&want, "<a><b>\n<");
        for (size_t i = 0; i < pad; i++)
            buf_add_char(&want, 'p');
        buf_add_str(&want, "><q,\n\"r\">\n<last><row>\n");
        assert_int_equal(read_in_pieces(text.data, text.len, 97, &s, &err), 0);
        assert_string_equal(s.out.data, want.data);
        assert_int_equal(s.last_row, 2);
        assert_int_equal(s.last_line, 4);
        seen_fini(&s);
        buf_fini(&text);
        buf_fini(&want);
    }
}

static void what_breaks_the_rules_names_row_and_line(void **state)
{
    static const struct {
        const char *text;
        size_t n; /* 0: strlen */
        const char *want;
    } rows[] = {
        {"a,b\n1,\"2\n3,4\n", 0, "row 1 (line 2) has a quote that is never closed"},
        {"a,b\n\n1,2\n\"x\ny\",2\n3,\"4", 0, "row 3 (line 6) has a quote that is never closed"},
        {"\"a,b\n", 0, "the header (line 1) has a quote that is never closed"},
        {"a,b\n1,x\"y\"\n", 0, "row 1 (line 2) has a quote inside of field 2"},
        {"a,b\n\"1\"2,3\n", 0, "row 1 (line 2) has text behind the closing quote of field 1"},
        {"a,b\n\"1\"\"\"x,3\n", 0, "text behind the closing quote of field 1"},
        {"a,b\n 1, \"2\"\n", 0, "has a quote inside of field 2"},
        {"a,b\n1,\0002\n", 9, "row 1 (line 2) has a NUL byte"},
        {"a\0,b\n1,2\n", 9, "the header (line 1) has a NUL byte"},
        {"a,b\n1,2\n\0", 9, "row 2 (line 3) has a NUL byte"},
        {"\xff\xfe"
         "a\0,\0",
         0, "UTF-16"},
        {"\xfe\xff\0a\0,", 6, "UTF-16"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t piece = 1; piece <= 100; piece += 33) {
            struct seen s = {0};
            struct err err = {0};
            size_t n = rows[i].n ? rows[i].n : strlen(rows[i].text);

            if (read_in_pieces(rows[i].text, n, piece, &s, &err) == 0)
                fail_msg("case %zu was taken", i);
            if (!strstr(err.msg, rows[i].want))
                fail_msg("case %zu: '%s'", i, err.msg);
            assert_int_equal(err.next, NEXT_REJECT);
            seen_fini(&s);
        }
}

static void a_row_is_bounded(void **state)
{
    struct seen s = {0};
    struct err err;
    size_t n = CSV_ROW_MAX_BYTES + 10;
    char *text = xmalloc(n);

    (void)state;
    memset(text, 'x', n);
    assert_int_equal(read_in_pieces(text, n, 100000, &s, &err), -1);
    assert_non_null(strstr(err.msg, "longer than 1 MiB"));
    text[0] = '"';
    assert_int_equal(read_in_pieces(text, n, 100000, &s, &err), -1);
    assert_non_null(strstr(err.msg, "not closed within 1 MiB"));
    memset(text, ',', n);
    assert_int_equal(read_in_pieces(text, n, 100000, &s, &err), -1);
    assert_non_null(strstr(err.msg, "more than 4,096 fields"));
    memset(text, 'x', n);
    text[CSV_ROW_MAX_BYTES - 1] = '\n';
    assert_int_equal(read_in_pieces(text, n, 100000, &s, &err), 0);
    assert_int_equal(s.last_line, 2);
    seen_fini(&s);
    memset(text, ',', 4095);
    assert_int_equal(read_in_pieces(text, 4095, 100, &s, &err), 0); /* 4,096 empty fields */
    seen_fini(&s);
    free(text);
}

static void the_text_of_a_row_does_not_depend_on_its_quotes(void **state)
{
    static const char *const same[] = {"a,b\nx y,2\n", "a,b\n\"x y\",2\r\n",
                                       "\"a\",\"b\"\n\"x y\",\"2\""};
    struct seen first = {0}, other = {0};
    struct err err;

    (void)state;
    assert_int_equal(read_in_pieces(same[0], strlen(same[0]), 100, &first, &err), 0);
    for (size_t i = 1; i < ARRAY_LEN(same); i++) {
        assert_int_equal(read_in_pieces(same[i], strlen(same[i]), 100, &other, &err), 0);
        assert_string_equal(first.texts.data, other.texts.data);
        seen_fini(&other);
    }
    seen_fini(&first);
    /* but where a field ends is part of it */
    assert_int_equal(read_in_pieces("\"a,b\",c\n", 8, 100, &first, &err), 0);
    assert_int_equal(read_in_pieces("a,\"b,c\"\n", 8, 100, &other, &err), 0);
    assert_int_equal(first.texts.len, other.texts.len);
    assert_memory_not_equal(first.texts.data, other.texts.data, first.texts.len);
    seen_fini(&first);
    seen_fini(&other);
}

static void the_caller_can_stop(void **state)
{
    struct seen s = {.refuse = true};
    struct err err;

    (void)state;
    assert_int_equal(read_in_pieces("a\nb\nc\n", 6, 100, &s, &err), -1);
    assert_string_equal(err.msg, "refused");
    assert_string_equal(s.out.data, "<a>\n");
    seen_fini(&s);
    csv_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_those_of_rfc_4180_however_they_come),
        cmocka_unit_test(long_rows_cross_every_block),
        cmocka_unit_test(what_breaks_the_rules_names_row_and_line),
        cmocka_unit_test(a_row_is_bounded),
        cmocka_unit_test(the_text_of_a_row_does_not_depend_on_its_quotes),
        cmocka_unit_test(the_caller_can_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
