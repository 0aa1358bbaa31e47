/* The filter language of runs: what is understood, and what is said of what is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agents/console/filter.h"
#include "common/buf.h"

static const int64_t NOW_US = 1767225600000000; /* 2026-01-01 */

static void show_values(const struct filter *f, struct buf *out)
{
    for (size_t i = 0; i < f->n_values; i++) {
        const struct filter_value *v = &f->values[i];
        if (v->text)
            buf_addf(out, " '%s'", v->text);
        else
            buf_addf(out, " %.10g", v->number);
    }
}

/* As a tree in brackets: [and [= line 'a'] [not [none model]]]. */
static void show(const struct filter *f, struct buf *out)
{
    static const char *const OPS[] = {"none", "=", "<", "<=", ">", ">=", "like", "in"};
    static const char *const KINDS[] = {"", "and ", "or ", "not "};
    buf_add_char(out, '[');
    if (f->kind == FILTER_TEST) {
        buf_addf(out, "%s %s", OPS[f->op], f->field.name);
        show_values(f, out);
    } else {
        buf_add_str(out, KINDS[f->kind]);
        show(f->left, out);
        if (f->right)
            show(f->right, out);
    }
    buf_add_char(out, ']');
}

static void understood(const char *text, const char *expected)
{
    struct arena arena = {0};
    struct err err = {0};
    const struct filter *f = NULL;
    CLEANUP(buf_fini) struct buf out = {0};
    if (filter_parse(text, NOW_US, &arena, &f, &err))
        fail_msg("%s: %s", text, err.msg);
    if (f)
        show(f, &out);
    if (strcmp(out.data ? out.data : "", expected) != 0)
        fail_msg("%s: %s, expected %s", text, out.data, expected);
    arena_fini(&arena);
}

static void tests_of_every_kind_are_understood(void **state)
{
    (void)state;
    understood("metric.auc > 0.8", "[> metric.auc 0.8]");
    understood("param.eta<=1e-3", "[<= param.eta 0.001]");
    understood("rows >= 1000", "[>= rows 1000]");
    understood("seconds < .5", "[< seconds 0.5]");
    understood("generation = 3", "[= generation 3]");
    understood("line = shop/north", "[= line 'shop/north']");
    understood("line == 'it''s'", "[= line 'it's']");
    understood("line = \"a \"\"b\"\"\"", "[= line 'a \"b\"']");
    understood("TRIGGER IN (drift, 'command')", "[in trigger 'drift' 'command']");
    understood("line like 'shop/%'", "[like line 'shop/%']");
    understood("model = 5f3c9a0d", "[= model '5f3c9a0d']");
    understood("metric.\"f1 macro\" > 0", "[> metric.f1 macro 0]");
    understood("finished = none", "[none finished]");
    understood("finished != none", "[not [none finished]]");
    understood("line = 'none'", "[= line 'none']");
    understood("", "");
    understood(" \t ", "");
}

static void words_that_mean_the_same_do(void **state)
{
    (void)state;
    understood("cause = drift", "[= trigger 'drift']");
    understood("outcome = promoted", "[= status 'promoted']");
    understood("state <> promoted", "[and [not [= status 'promoted']][not [none status]]]");
    understood("status not in (failed)", "[and [not [in status 'failed']][not [none status]]]");
    understood("line not like 'a%'", "[and [not [like line 'a%']][not [none line]]]");
}

static void not_binds_closest_then_and_then_or(void **state)
{
    (void)state;
    understood("rows=1 or rows=2 and rows=3", "[or [= rows 1][and [= rows 2][= rows 3]]]");
    understood("(rows=1 or rows=2) and rows=3", "[and [or [= rows 1][= rows 2]][= rows 3]]");
    understood("not rows=1 and rows=2", "[and [not [= rows 1]][= rows 2]]");
    understood("not (rows=1 and not rows=2)", "[not [and [= rows 1][not [= rows 2]]]]");
    understood("rows=1 AND rows=2 and rows=3", "[and [and [= rows 1][= rows 2]][= rows 3]]");
}

static void times_are_days_instants_or_so_long_ago(void **state)
{
    (void)state;
    understood("started > 1d ago", "[> started 1.7671392e+15]");
    understood("started >= 2026-01-01", "[>= started 1.7672256e+15]");
    understood("finished < 2026-01-01T01:00:00+01:00", "[< finished 1.7672256e+15]");
    understood("started > '2026-01-01T00:00:00Z'", "[> started 1.7672256e+15]");
}

static void refused(const char *text, const char *expected)
{
    struct arena arena = {0};
    struct err err = {0};
    const struct filter *f = NULL;
    if (filter_parse(text, NOW_US, &arena, &f, &err) == 0)
        fail_msg("%s: was understood", text);
    if (strncmp(err.msg, expected, strlen(expected)) != 0 || !strstr(err.msg, "for example: "))
        fail_msg("%s: says '%s', expected '%s ... for example: ...'", text, err.msg, expected);
    assert_int_equal(err.code, ERR_INVAL);
    assert_int_equal(err.next, NEXT_REJECT);
    arena_fini(&arena);
}

static void mistakes_are_pointed_at(void **state)
{
    (void)state;
    refused("metric.auc > high", "filter: column 14: expected a number, found 'high'");
    refused("metric.auc >", "filter: column 13: expected a value, found the end");
    refused("metric. > 1", "filter: column 1: expected a name behind the point, found 'metric.'");
    refused("auc > 0.8", "filter: column 1: expected a field (metric.NAME,");
    refused("trigger drift", "filter: column 9: expected =, !=, <, <=, >, >=, like or in,");
    refused("trigger > drift", "filter: column 9: expected =, !=, in or like");
    refused("rows = 1 rows = 2", "filter: column 10: expected and, or, or the end, found 'rows'");
    refused("rows = 1 and", "filter: column 13: expected a field");
    refused("(rows = 1", "filter: column 10: expected and, or or ), found the end");
    refused("rows = 1)", "filter: column 9: expected and, or, or the end, found ')'");
    refused("line = 'open", "filter: column 8: expected a value, found a quote that is not closed");
    refused("rows = 'x'", "filter: column 8: expected a number");
    refused("rows = 1e999", "filter: column 8: expected a number");
    refused("rows = nan", "filter: column 8: expected a number");
    refused("started > yesterday", "filter: column 11: expected a time");
    refused("started > 7d", "filter: column 13: expected ago behind a duration, found the end");
    refused("trigger in drift",
            "filter: column 12: expected ( and a list of values, found 'drift'");
    refused("trigger in ()", "filter: column 13: expected a value, found ')'");
    refused("trigger in (a b)", "filter: column 15: expected , or ), found 'b'");
    refused("trigger not drift", "filter: column 13: expected in or like behind not");
    refused("rows like '1%'", "filter: column 11: expected like behind a field of text");
    refused("rows = 1; drop table run",
            "filter: column 9: expected and, or, or the end, found ';'");
    refused("line = 'ü' nd rows = 1",
            "filter: column 12: expected and, or, or the end, found 'nd'");
    refused("model = ''", "filter: column 9: expected the first characters of an id");
    refused("line = '\xff'", "filter: give UTF-8");
}

static void what_grows_has_an_end(void **state)
{
    CLEANUP(buf_fini) struct buf deep = {0}, many = {0}, list = {0}, large = {0};
    (void)state;
    for (int i = 0; i <= FILTER_MAX_DEPTH; i++)
        buf_add_char(&deep, '(');
    for (int i = 0; i <= FILTER_MAX_TESTS; i++)
        buf_addf(&many, "%srows=1", i ? " or " : "");
    buf_add_str(&list, "rows in (1");
    for (int i = 0; i < FILTER_MAX_LIST; i++)
        buf_add_str(&list, ",1");
    while (large.len <= FILTER_MAX_BYTES)
        buf_add_char(&large, ' ');
    refused(deep.data, "filter: column 33: expected at most 32 levels");
    refused(many.data, "filter: column 641: expected at most 64 tests");
    refused(list.data, "filter: column 210: expected at most 100 values");
    refused(large.data, "filter: give UTF-8 of 4096 bytes at most");
}

static void an_order_is_a_field_and_a_direction(void **state)
{
    static const struct {
        const char *text, *field, *error;
        bool is_descending;
    } ROWS[] = {
        {NULL, "started", NULL, true},
        {"", "started", NULL, true},
        {"started", "started", NULL, false},
        {"metric.auc:desc", "metric.auc", NULL, true},
        {"param.eta:asc", "param.eta", NULL, false},
        {"outcome:desc", "status", NULL, true},
        {"auc:desc", NULL, "sort: column 1: expected a field", false},
        {"rows:down", NULL, "sort: expected :asc or :desc, found ':down'", false},
        {"rows rows", NULL, "sort: column 6: expected one field", false},
        {"snapshot", NULL, "sort: a run has many snapshots", false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        struct arena arena = {0};
        struct err err = {0};
        struct filter_sort sort;
        int rc = filter_parse_sort(ROWS[i].text, &arena, &sort, &err);
        if (rc && (!ROWS[i].error || !str_has_prefix(err.msg, ROWS[i].error)))
            fail_msg("%s: %s", ROWS[i].text, err.msg);
        if (rc == 0 && ROWS[i].error)
            fail_msg("%s: was understood", ROWS[i].text);
        if (rc == 0) {
            assert_string_equal(sort.field.name, ROWS[i].field);
            assert_int_equal(sort.is_descending, ROWS[i].is_descending);
        }
        arena_fini(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tests_of_every_kind_are_understood),
        cmocka_unit_test(words_that_mean_the_same_do),
        cmocka_unit_test(not_binds_closest_then_and_then_or),
        cmocka_unit_test(times_are_days_instants_or_so_long_ago),
        cmocka_unit_test(mistakes_are_pointed_at),
        cmocka_unit_test(what_grows_has_an_end),
        cmocka_unit_test(an_order_is_a_field_and_a_direction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
