/* CSV files in memory, as replay reads them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agents/relearn/table.h"
#include "tests/support/tmpdir.h"

struct row {
    const char *label, *text;
    size_t rows, columns;
    const char *cells[8]; /* header, then rows */
};

static const struct row ROWS[] = {
    {"plain", "a,b\n1,2\n3,4\n", 2, 2, {"a", "b", "1", "2", "3", "4"}},
    {"no line end at the end", "a,b\n1,2", 1, 2, {"a", "b", "1", "2"}},
    {"CRLF", "a,b\r\n1,2\r\n", 1, 2, {"a", "b", "1", "2"}},
    {"a byte order mark",
     "\xEF\xBB\xBF"
     "a,b\n1,2\n",
     1,
     2,
     {"a", "b", "1", "2"}},
    {"quotes", "a,b\n\"1,5\",\"say \"\"hi\"\"\"\n", 1, 2, {"a", "b", "1,5", "say \"hi\""}},
    {"a line break in quotes", "a,b\n\"1\n2\",3\n4,5\n", 2, 2, {"a", "b", "1\n2", "3", "4", "5"}},
    {"a quoted header", "\"a,b\",c\n1,2\n", 1, 2, {"a,b", "c", "1", "2"}},
    {"empty cells", "a,b\n,\n", 1, 2, {"a", "b", "", ""}},
    {"empty lines", "a,b\n\n1,2\n\n\n3,4\n\n", 2, 2, {"a", "b", "1", "2", "3", "4"}},
    {"empty lines with CRLF", "a,b\r\n\r\n1,2\r\n\r\n", 1, 2, {"a", "b", "1", "2"}},
    {"one column", "a\n1\n2\n", 2, 1, {"a", "1", "2"}},
    {"a header alone", "a,b\n", 0, 2, {"a", "b"}},
    {"a quote within a cell", "a,b\n1,2\"3\n", 1, 2, {"a", "b", "1", "2\"3"}},
};

static void open_text(struct tmpdir *dir, const char *text, size_t n, struct table *ret)
{
    struct err err = {0};
    const char *path = tmpdir_write(dir, "t.csv", text, n);
    if (table_open(path, ret, &err))
        fail_msg("%s", err.msg);
}

static void cells_are_read_as_rfc_4180_says(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        const struct row *row = &ROWS[i];
        struct table t;
        open_text(*state, row->text, strlen(row->text), &t);
        if (t.rows != row->rows || t.n_columns != row->columns)
            fail_msg("%s: %zu rows of %zu", row->label, t.rows, t.n_columns);
        for (size_t k = 0; k < t.n_columns * (t.rows + 1); k++) {
            const char *cell =
                k < t.n_columns ? t.names[k] : table_cell(&t, k / t.n_columns - 1, k % t.n_columns);
            if (strcmp(cell, row->cells[k]) != 0)
                fail_msg("%s: cell %zu is '%s', not '%s'", row->label, k, cell, row->cells[k]);
        }
        table_close(&t);
    }
}

/* A batch file is the header and some records: their bytes put together are the file again. */
static void records_keep_their_bytes(void **state)
{
    static const char TEXT[] = "\xEF\xBB\xBF"
                               "a,b\r\n\"1\r\n2\",3\r\n\r\n4,\"5\"\r\n6,7";
    struct table t;
    open_text(*state, TEXT, strlen(TEXT), &t);
    assert_int_equal(t.rows, 3);
    assert_true(slice_eq_str(t.header, "a,b\r\n"));
    assert_true(slice_eq_str(t.records[0], "\"1\r\n2\",3\r\n"));
    assert_true(slice_eq_str(t.records[1], "4,\"5\"\r\n"));
    assert_true(slice_eq_str(t.records[2], "6,7"));
    table_close(&t);
}

static void what_is_no_csv_is_refused_with_its_line(void **state)
{
    static const struct {
        const char *text;
        size_t n; /* 0: strlen */
        const char *part;
    } BAD[] = {
        {"", 0, "the file is empty"},
        {"\xEF\xBB\xBF", 0, "the file is empty"},
        {"a,b\n1,2\n3\n", 0, ":3: 1 fields, the header has 2"},
        {"a,b\n1,2,3\n", 0, ":2: more than 2 fields"},
        {"a,b\n1,\"2\n", 0, ":2: a quote is opened and never closed"},
        {"a,b\n\"1\n2\",3\n4,\"5", 0, ":4: a quote is opened"},
        {"a,b\n\"1\"2,3\n", 0, ":2: text after a closing quote"},
        {"a,b\n1,2\n3,\0004\n", 12, ":3: a NUL byte"},
    };
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        struct err err = {0};
        struct table t;
        size_t n = BAD[i].n ? BAD[i].n : strlen(BAD[i].text);
        const char *path = tmpdir_write(*state, "bad.csv", BAD[i].text, n);
        assert_int_equal(table_open(path, &t, &err), -1);
        if (!strstr(err.msg, BAD[i].part) || !strstr(err.msg, "bad.csv"))
            fail_msg("'%s' says nothing of '%s'", err.msg, BAD[i].part);
    }
}

static void a_file_that_is_not_there_is_named(void **state)
{
    struct err err = {0};
    struct table t;
    assert_int_equal(table_open(tmpdir_join(*state, "none.csv"), &t, &err), -1);
    assert_non_null(strstr(err.msg, "none.csv"));
}

static void columns_are_found_by_name(void **state)
{
    struct table t;
    open_text(*state, "a,b,a b\n1,2,3\n", 14, &t);
    assert_int_equal(table_column(&t, "b"), 1);
    assert_int_equal(table_column(&t, "a b"), 2);
    assert_int_equal(table_column(&t, "A"), -1);
    table_close(&t);
    table_close(&t); /* closed is closed */
}

static void missing_has_a_few_spellings(void **state)
{
    static const char *const MISSING[] = {"", "NA", "n/a", "NaN", "null", "?"};
    static const char *const THERE[] = {"0", "-", "none", "NAN1", " "};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(MISSING); i++)
        assert_true(table_is_missing(MISSING[i]));
    for (size_t i = 0; i < ARRAY_LEN(THERE); i++)
        assert_false(table_is_missing(THERE[i]));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, tmpdir_setup, tmpdir_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(cells_are_read_as_rfc_4180_says),
        TEST(records_keep_their_bytes),
        TEST(what_is_no_csv_is_refused_with_its_line),
        TEST(a_file_that_is_not_there_is_named),
        TEST(columns_are_found_by_name),
        TEST(missing_has_a_few_spellings),
    };
    return cmocka_run_group_tests_name("table", tests, NULL, NULL);
}
