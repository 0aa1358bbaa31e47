/* Types that nobody declared, categories, dates, and what a header may be. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/fsx.h"
#include "tests/support/ingest_world.h"

static void types_are_found(void **state)
{
    struct ingest_world *w = *state;
    struct snapshot_data d;
    struct snapshot *s = open_outcome(w,
                                      ingest_csv(w, "n,d,b,c,mixed,none,y\n"
                                                    "1.5,2026-01-01,true,red,1,,0\n"
                                                    "NA,2026-01-02T12:00:00Z,No,blue,x,NA,1\n"
                                                    "-3,,,red,2026-01-01,?,1\n"),
                                      &d);
    const float *x = d.features.data;

    assert_int_equal(s->n_columns, 6);
    assert_int_equal(s->columns[0].type, COLUMN_FLOAT);
    assert_int_equal(s->columns[1].type, COLUMN_DATE);
    assert_int_equal(s->columns[2].type, COLUMN_BOOL);
    assert_int_equal(s->columns[3].type, COLUMN_CATEGORY);
    assert_int_equal(s->columns[4].type, COLUMN_CATEGORY);
    assert_int_equal(s->columns[5].type, COLUMN_FLOAT);
    assert_true(x[0] == 1.5f && isnan(x[6]) && x[12] == -3);
    assert_true(x[1] == (float)1767225600 && isnan(x[13]));
    assert_true(x[2] == 1 && x[8] == 0 && isnan(x[14]));
    assert_true(x[3] == 0 && x[9] == 1 && x[15] == 0);
    assert_string_equal(s->columns[3].categories[1], "blue");
    assert_string_equal(s->columns[4].categories[2], "2026-01-01");
    assert_true(isnan(x[5]) && isnan(x[11]) && isnan(x[17]));
    snapshot_unmap(&d);
    snapshot_free(s);
}

/* Six MiB of numbers, in which a word comes late: more than the first block that types are found
 * from. */
static void late_word(struct buf *csv, const char *word, const char *numbers)
{
    buf_add_str(csv, "a,b,y\n");
    for (int i = 0; i < 400000; i++)
        buf_addf(csv, "%s%d,%d,%d\n", numbers, i % 10, i, i % 2);
    buf_addf(csv, "%s,7,1\n", word);
    buf_addf(csv, "%s5,8,0\n", numbers);
}

static void a_word_far_behind_makes_a_category(void **state)
{
    struct ingest_world *w = *state;
    CLEANUP(buf_fini) struct buf csv = {0};
    struct snapshot_data d;
    struct snapshot *s;
    const float *x;

    late_word(&csv, "abc", "0");
    assert_true(csv.len > (size_t)4 << 20); /* or it would be found at once */
    s = open_outcome(w, ingest_bytes(w, csv.data, csv.len), &d);
    x = d.features.data;
    assert_int_equal(s->rows, 400002);
    assert_int_equal(s->columns[0].type, COLUMN_CATEGORY);
    assert_int_equal(s->columns[0].n_categories, 11);
    assert_string_equal(s->columns[0].categories[3],
                        "03"); /* as written: the text was read again */
    assert_string_equal(s->columns[0].categories[10], "abc");
    assert_int_equal(s->columns[1].type, COLUMN_FLOAT);
    assert_true(x[2 * 400000] == 10 && x[2 * 400001] == 5 && x[2 * 17] == 7 && x[2 * 17 + 1] == 17);
    snapshot_unmap(&d);
    snapshot_free(s);
}

static void a_first_value_far_behind_settles_the_type(void **state)
{
    static const struct {
        const char *word;
        enum column_type type;
        float value;
    } rows[] = {{"2026-01-01", COLUMN_DATE, 1767225600},
                {"yes", COLUMN_BOOL, 1},
                {"word", COLUMN_CATEGORY, 0},
                {"2.5", COLUMN_FLOAT, 2.5}};
    struct ingest_world *w = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(buf_fini) struct buf csv = {0};
        struct snapshot_data d;
        struct snapshot *s;

        buf_add_str(&csv, "a,b,y\n");
        for (int k = 0; k < 400000; k++)
            buf_addf(&csv, ",%d,%d\n", k, k % 2);
        buf_addf(&csv, "%s,7,1\n", rows[i].word);
        s = open_outcome(w, ingest_bytes(w, csv.data, csv.len), &d);
        assert_int_equal(s->columns[0].type, rows[i].type);
        assert_true(isnan(((const float *)d.features.data)[0]));
        assert_true(((const float *)d.features.data)[800000] == rows[i].value);
        snapshot_unmap(&d);
        snapshot_free(s);
    }
}

static void declared_columns_are_never_read_again(void **state)
{
    struct ingest_world *w = *state;
    CLEANUP(buf_fini) struct buf csv = {0};

    ingest_world_pipeline(w, "dataset: {name: d, label: y}\ntask: binary\n"
                             "contract: {columns: {a: {type: float}}}\n");
    late_word(&csv, "abc", "");
    assert_rejected(ingest_bytes(w, csv.data, csv.len), "a", "type", "row 400001: 'abc'");
}

static void too_many_different_texts_are_no_category(void **state)
{
    struct ingest_world *w = *state;
    CLEANUP(buf_fini) struct buf csv = {0};
    const struct dataset_ingested *o;

    buf_add_str(&csv, "a,y\n");
    for (int i = 0; i < 10002; i++)
        buf_addf(&csv, "name-%d,%d\n", i, i % 2);
    o = ingest_bytes(w, csv.data, csv.len);
    assert_rejected(o, "a", "type", "at most 10,000 different values");
    assert_int_equal(find_violation(o, "a", "type")->count, 2);
    assert_non_null(strstr(o->reason, "type ignore"));
    ingest_world_pipeline(
        w, "dataset: {name: d, label: y}\ntask: binary\ncontract: {on_violation: warn}\n");
    assert_accepted(ingest_bytes(w, csv.data, csv.len), 10002);
}

static void text_that_is_no_utf8_is_told(void **state)
{
    struct ingest_world *w = *state;
    const struct dataset_ingested *o =
        ingest_csv(w, "a,y\nred,0\n\xe9t\xe9,1\n\xe9t\xe9,1\nblue,0\n");

    assert_rejected(o, "a", "type", "UTF-8");
    assert_int_equal(find_violation(o, "a", "type")->count, 2);
    assert_string_equal(find_violation(o, "a", "type")->examples.items[0], "row 2: '\\xe9t\\xe9'");
    assert_rejected(ingest_csv(w, "a,y\n1,\xff\n2,x\n"), "y", "label", "missing");
    assert_rejected(ingest_csv(w, "\xff,y\n1,0\n"), NULL, "csv",
                    "column 1 of the header is no UTF-8");
}

static void infinite_numbers_are_wrong_in_any_column(void **state)
{
    struct ingest_world *w = *state;

    assert_rejected(ingest_csv(w, "a,y\n1,0\ninf,1\n2,1\n"), "a", "type", "row 2: 'inf'");
    assert_rejected(ingest_csv(w, "a,y\n1,0\n-1e39,1\n2,1\n"), "a", "type", "row 2: '-1e39'");
}

static void allowed_values_have_the_same_codes_in_every_version(void **state)
{
    struct ingest_world *w = *state;
    struct snapshot_data d;
    struct snapshot *s;

    ingest_world_pipeline(w, "dataset: {name: d, label: y}\ntask: binary\n"
                             "contract: {columns: {a: {type: category, allowed: [x, y, z]}}}\n");
    s = open_outcome(w, ingest_csv(w, "a,y\nz,0\nx,1\n z ,1\n"), &d);
    assert_int_equal(s->columns[0].n_categories, 3);
    assert_true(((const float *)d.features.data)[0] == 2);
    assert_true(((const float *)d.features.data)[1] == 0);
    assert_true(((const float *)d.features.data)[2] == 2); /* blanks around are not the value's */
    snapshot_unmap(&d);
    snapshot_free(s);
}

static void headers_that_say_nothing_are_refused(void **state)
{
    struct ingest_world *w = *state;

    assert_rejected(ingest_csv(w, ""), NULL, "csv", "the file is empty");
    assert_rejected(ingest_csv(w, "\n\n"), NULL, "csv", "the file is empty");
    assert_rejected(ingest_csv(w, "a,y\n"), NULL, "rows", "the dataset has no rows");
    assert_rejected(ingest_csv(w, "a,a,y\n1,2,0\n"), NULL, "csv", "more than one column 'a'");
    assert_rejected(ingest_csv(w, "a,,y\n1,2,0\n"), NULL, "csv",
                    "column 2 of the header has no name");
    assert_rejected(ingest_csv(w, "1,2,3\n4,5,6\n"), NULL, "csv", "numbers only");
    assert_rejected(ingest_csv(w, "y\n1\n0\n"), NULL, "columns", "no column to learn from");
    assert_accepted(ingest_csv(w, " a , y \n1,0\n2,1\n"), 2);
}

static void broken_csv_names_its_row(void **state)
{
    static const struct {
        const char *csv, *reason;
    } rows[] = {
        {"a,y\n1,0\n2,\"1\n3,1\n", "row 2 (line 3) has a quote that is never closed."},
        {"a,y\n1,0\n2\"x\",1\n", "row 2 (line 3) has a quote inside of field 1"},
        {"a,y\n\"1\"x,0\n", "row 1 (line 2) has text behind the closing quote of field 1"},
    };
    struct ingest_world *w = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_rejected(ingest_csv(w, rows[i].csv), NULL, "csv", rows[i].reason);
    assert_rejected(ingest_bytes(w, "a,y\n1,0\n2\0,1\n", 13), NULL, "csv",
                    "row 2 (line 3) has a NUL byte");
    assert_rejected(ingest_bytes(w,
                                 "\xff\xfe"
                                 "a\0,\0y\0",
                                 8),
                    NULL, "csv", "UTF-16");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, ingest_world_setup, ingest_world_teardown)
    const struct CMUnitTest tests[] = {
        T(types_are_found),
        T(a_word_far_behind_makes_a_category),
        T(a_first_value_far_behind_settles_the_type),
        T(declared_columns_are_never_read_again),
        T(too_many_different_texts_are_no_category),
        T(text_that_is_no_utf8_is_told),
        T(infinite_numbers_are_wrong_in_any_column),
        T(allowed_values_have_the_same_codes_in_every_version),
        T(headers_that_say_nothing_are_refused),
        T(broken_csv_names_its_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
