/* The contract, rule by rule: what is refused, left out or only told, and how it is said. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/support/ingest_world.h"

#define HEAD "dataset: {name: d, label: y}\ntask: binary\n"

struct rule_case {
    const char *contract; /* below contract:, indented */
    const char *csv;
    const char *column, *rule;
    int64_t count;
    const char *example; /* the first */
    const char *detail_has;
};

static const struct rule_case ROW_RULES[] = {
    {"  columns: {a: {type: float}}", "a,y\n1,0\nabc,1\n3,1\n", "a", "type", 1, "row 2: 'abc'",
     "a finite number"},
    {"  columns: {a: {type: float}}", "a,y\n1,0\ninf,1\n1e400,1\n3,1\n", "a", "type", 2,
     "row 2: 'inf'", "finite"},
    {"  columns: {a: {type: int}}", "a,y\n1,0\n2.5,1\n3,1\n", "a", "type", 1, "row 2: '2.5'",
     "whole number"},
    {"  columns: {a: {type: bool}}", "a,y\n1,0\nmaybe,1\nfalse,1\n", "a", "type", 1,
     "row 2: 'maybe'", "true or false"},
    {"  columns: {a: {type: date}}", "a,y\n2026-01-01,0\n01.01.2026,1\n2026-01-02,1\n", "a", "type",
     1, "row 2: '01.01.2026'", "a date"},
    {"  columns: {a: {type: float, min: 0}}", "a,y\n0,0\n-0.5,1\n3,1\n", "a", "min", 1,
     "row 2: '-0.5'", "at least 0 is wanted; 1 row has"},
    {"  columns: {a: {type: float, max: 0.1}}", "a,y\n0.1,0\n0.2,1\n0.05,1\n", "a", "max", 1,
     "row 2: '0.2'", "at most 0.1"},
    {"  columns: {a: {type: date, min: 2026-01-01}}",
     "a,y\n2026-01-01,0\n2025-12-01,1\n2026-02-01,1\n", "a", "min", 1, "row 2: '2025-12-01'",
     "at least"},
    {"  columns: {a: {type: category, allowed: [x, z]}}", "a,y\nx,0\nq,1\nz,1\n", "a", "allowed", 1,
     "row 2: 'q'", "'x', 'z' is allowed"},
    {"  columns: {a: {type: float}, y: {type: category, allowed: ['0', '1']}}",
     "a,y\n1,0\n2,7\n3,1\n", "y", "allowed", 1, "row 2: '7'", "'0', '1' is allowed"},
    {"  columns: {a: {type: float}}", "a,y\n1,0\n2,\n3,1\n", "y", "label", 1, "row 2: ''",
     "the label is missing"},
    {"  columns: {a: {type: float}}", "a,y\n1,0\n2,?\n3,1\n", "y", "label", 1, "row 2: '?'",
     "missing"},
    {"  columns: {a: {type: float}}", "a,y\n1,0\n2\n3,1\n", NULL, "csv", 1,
     "row 2: 'line 3 has 1 fields'", "another number of fields than the header's 2"},
    {"  columns: {a: {type: float}}", "a,y\n1,0\n2,1,5\n3,1\n", NULL, "csv", 1,
     "row 2: 'line 3 has 3 fields'", "another number of fields"},
};

static void set_contract(struct ingest_world *w, const char *contract, const char *on_violation)
{
    CLEANUP(buf_fini) struct buf b = {0};

    buf_addf(&b, HEAD "contract:\n  on_violation: %s\n%s\n", on_violation, contract);
    ingest_world_pipeline(w, b.data);
}

static void rules_of_a_row_refuse_leave_out_or_tell(void **state)
{
    struct ingest_world *w = *state;

    for (size_t i = 0; i < ARRAY_LEN(ROW_RULES); i++) {
        const struct rule_case *c = &ROW_RULES[i];
        const struct dataset_ingested *o;
        const struct violation *v;
        int64_t total = 3 + (strstr(c->csv, "inf") ? 1 : 0);
        bool keeps_row = strcmp(c->rule, "label") != 0 && strcmp(c->rule, "csv") != 0 &&
                         !(c->column && strcmp(c->column, "y") == 0);

        print_message("case %zu: %s\n", i, c->rule);
        set_contract(w, c->contract, "reject");
        o = ingest_csv(w, c->csv);
        assert_rejected(o, c->column, c->rule, c->example);
        v = find_violation(o, c->column, c->rule);
        assert_int_equal(v->count, c->count);
        assert_string_equal(v->examples.items[0], c->example);
        if (!strstr(v->detail, c->detail_has))
            fail_msg("detail: %s", v->detail);
        if (c->column && !strstr(o->reason, c->column))
            fail_msg("reason: %s", o->reason);

        set_contract(w, c->contract, "quarantine");
        o = ingest_csv(w, c->csv);
        assert_accepted(o, total - c->count);
        assert_int_equal(o->rows_quarantined, c->count);
        assert_string_equal(find_violation(o, c->column, c->rule)->severity, "quarantine");

        set_contract(w, c->contract, "warn");
        o = ingest_csv(w, c->csv);
        assert_accepted(o, keeps_row ? total : total - c->count);
        assert_string_equal(find_violation(o, c->column, c->rule)->severity, "warn");
    }
}

static void what_a_warning_keeps_is_the_value_or_nothing(void **state)
{
    struct ingest_world *w = *state;
    struct snapshot_data d;
    struct snapshot *s;
    const float *x;

    set_contract(w, "  columns: {a: {type: float, max: 2}, b: {type: category, allowed: [p]}}",
                 "warn");
    s = open_outcome(w, ingest_csv(w, "a,b,y\n1,p,0\nabc,q,1\n5,p,1\n"), &d);
    x = d.features.data;
    assert_true(x[0] == 1 && isnan(x[2]) && x[4] == 5);
    assert_true(x[1] == 0 && x[3] == 1 && x[5] == 0);
    assert_int_equal(s->columns[1].n_categories, 2);
    assert_string_equal(s->columns[1].categories[1], "q");
    snapshot_unmap(&d);
    snapshot_free(s);
}

static void a_column_may_say_otherwise_than_the_contract(void **state)
{
    struct ingest_world *w = *state;
    const struct dataset_ingested *o;

    set_contract(w,
                 "  columns: {a: {type: float, min: 0, on_violation: quarantine}, b: {type: float, "
                 "min: 0, on_violation: warn}}",
                 "reject");
    o = ingest_csv(w, "a,b,y\n1,1,0\n-1,1,1\n1,-1,1\n-1,-1,0\n");
    assert_accepted(o, 2);
    assert_int_equal(o->rows_quarantined, 2);
    assert_int_equal(find_violation(o, "a", "min")->count, 2);
    assert_int_equal(find_violation(o, "b", "min")->count, 2);
    assert_string_equal(find_violation(o, "b", "min")->severity, "warn");
    assert_non_null(strstr(o->reason, "2 left out"));
}

static void shares_of_missing_values(void **state)
{
    static const char csv[] = "a,y\n1,0\n,1\n3,0\nNA,1\n5,1\n";
    static const struct {
        const char *limit, *severity;
        int64_t rows; /* 0: refused */
    } rows[] = {
        {"0.4", "reject", 5},      {"0.39", "reject", 0},    {"0", "reject", 0},
        {"0.39", "quarantine", 3}, {"0.4", "quarantine", 5}, {"0", "quarantine", 3},
        {"0.39", "warn", 5},
    };
    struct ingest_world *w = *state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(buf_fini) struct buf b = {0};
        const struct dataset_ingested *o;

        buf_addf(&b, "  columns: {a: {type: float, missing_at_most: %s}}", rows[i].limit);
        set_contract(w, b.data, rows[i].severity);
        o = ingest_csv(w, csv);
        print_message("missing at most %s, %s\n", rows[i].limit, rows[i].severity);
        if (rows[i].rows == 0) {
            assert_rejected(o, "a", "missing_at_most", "40 % are (2 of 5 rows)");
            continue;
        }
        assert_accepted(o, rows[i].rows);
        assert_int_equal(o->rows_quarantined, 5 - rows[i].rows);
    }
}

static void numbers_of_rows(void **state)
{
    static const char csv[] = "a,y\n1,0\n2,1\n3,0\n";
    struct ingest_world *w = *state;

    set_contract(w, "  rows: {at_least: 3}", "reject");
    assert_accepted(ingest_csv(w, csv), 3);
    set_contract(w, "  rows: {at_least: 4}", "warn"); /* no row can be left out for it */
    assert_rejected(ingest_csv(w, csv), NULL, "rows", "at least 4 rows are wanted");
    set_contract(w, "  rows: {at_most: 2}", "reject");
    assert_rejected(ingest_csv(w, csv), NULL, "rows", "at most 2 rows are wanted");
    set_contract(w, "  columns: {a: {type: float, min: 3}}\n  rows: {at_least: 2}", "quarantine");
    assert_rejected(ingest_csv(w, csv), NULL, "rows", "1 can be used");
}

static void columns_that_lack_or_are_too_many(void **state)
{
    struct ingest_world *w = *state;
    const struct dataset_ingested *o;

    set_contract(w, "  columns: {a: {type: float}, gone: {type: float}}", "reject");
    assert_rejected(ingest_csv(w, "a,y\n1,0\n2,1\n"), NULL, "columns", "no column 'gone'");
    set_contract(
        w,
        "  columns: {a: {type: float}, gone: {type: float, on_violation: warn}, x: {type: ignore}}",
        "reject");
    o = ingest_csv(w, "a,y\n1,0\n2,1\n");
    assert_accepted(o, 2);
    assert_string_equal(find_violation(o, NULL, "columns")->severity, "warn");
    set_contract(w, "  columns: {a: {type: float}}\n  other_columns: refuse", "reject");
    assert_rejected(ingest_csv(w, "a,b,y\n1,1,0\n2,2,1\n"), NULL, "columns",
                    "column 'b' is not in the contract");
    set_contract(w, "  columns: {a: {type: ignore}}", "reject");
    assert_rejected(ingest_csv(w, "a,y\n1,0\n2,1\n"), NULL, "columns", "no column to learn from");
}

static void labels_that_cannot_be_learned(void **state)
{
    struct ingest_world *w = *state;

    assert_rejected(ingest_csv(w, "a,b\n1,0\n2,1\n"), NULL, "label",
                    "no label column 'y'; the columns are 'a', 'b'");
    assert_rejected(ingest_csv(w, "a;y\n1;0\n"), NULL, "label", "separated by commas");
    assert_rejected(ingest_csv(w, "a,y\n1,1\n2,1\n3,1\n"), "y", "label",
                    "the same value in every row (of '1')");
    assert_rejected(ingest_csv(w, "a,y\n1,1\n2,2\n3,3\n"), "y", "label",
                    "a binary label has two values; it has '1', '2', '3'");
    assert_rejected(ingest_csv(w, "a,y\n1,\n2,NA\n"), "y", "label", "in 2 rows");
    ingest_world_pipeline(w, "dataset: {name: d, label: y}\ntask: regression\n");
    assert_rejected(ingest_csv(w, "a,y\n1,5\n2,5.0\n"), "y", "label",
                    "the label is 5 in every row");
    assert_rejected(ingest_csv(w, "a,y\n1,5\n2,x\n"), "y", "type", "row 2: 'x'");
    ingest_world_pipeline(w, "dataset: {name: d, label: y}\ntask: binary\npositive: good\n");
    assert_rejected(ingest_csv(w, "a,y\n1,bad\n2,ok\n"), "y", "label",
                    "the positive class 'good' is none of the label's values 'bad', 'ok'");
    ingest_world_pipeline(
        w, "dataset: {name: d, label: y}\ntask: binary\nclasses: [bad, good]\npositive: good\n");
    assert_rejected(ingest_csv(w, "a,y\n1,bad\n2,ok\n3,good\n"), "y", "label",
                    "is none of 'bad', 'good' in 1 row. First: row 2: 'ok'");
}

static void every_broken_rule_is_counted_and_five_rows_are_shown(void **state)
{
    struct ingest_world *w = *state;
    struct buf csv = {0};
    const struct dataset_ingested *o;
    const struct violation *v;

    set_contract(w, "  columns: {a: {type: float, min: 0}, b: {type: float}}", "reject");
    buf_add_str(&csv, "a,b,y\n");
    for (int i = 0; i < 20; i++)
        buf_addf(&csv, "%d,%s,%d\n", i % 2 ? -i : i, i == 7 ? "?x" : "1", i % 2);
    o = ingest_csv(w, csv.data);
    assert_rejected(o, "a", "min", "1 more rule is broken");
    v = find_violation(o, "a", "min");
    assert_int_equal(v->count, 10);
    assert_int_equal(v->examples.n, 5);
    assert_string_equal(v->examples.items[4], "row 10: '-9'");
    assert_int_equal(find_violation(o, "b", "type")->count, 1);
    buf_fini(&csv);
}

static void examples_are_cut_and_made_printable(void **state)
{
    struct ingest_world *w = *state;
    struct buf csv = {0};
    const struct violation *v;

    set_contract(w, "  columns: {a: {type: float}}", "reject");
    buf_add_str(&csv, "a,y\n\"x\x01\n\xff\",0\n\xc3\xbc");
    for (int i = 0; i < 200; i++)
        buf_add_char(&csv, 'z');
    buf_add_str(&csv, ",1\n");
    v = find_violation(ingest_csv(w, csv.data), "a", "type");
    assert_string_equal(v->examples.items[0], "row 1: 'x\\x01\\x0a\\xff'");
    assert_true(strlen(v->examples.items[1]) < 100);
    assert_non_null(strstr(v->examples.items[1], "\xc3\xbczz"));
    assert_non_null(strstr(v->examples.items[1], "...'"));
    buf_fini(&csv);
}

static void time_is_to_rise_where_somebody_says_so(void **state)
{
    static const char csv[] =
        "t,a,y\n2026-01-01,1,0\n2026-01-03,2,1\n2026-01-02,3,1\n2026-01-04,4,0\n";
    struct ingest_world *w = *state;
    const struct dataset_ingested *o;

    ingest_world_pipeline(w, "dataset: {name: d, label: y, time: t}\ntask: binary\n");
    o = ingest_csv(w, csv);
    assert_accepted(o, 4);
    assert_string_equal(find_violation(o, "t", "time")->severity, "warn");
    assert_string_equal(find_violation(o, "t", "time")->examples.items[0], "row 3: '2026-01-02'");
    ingest_world_pipeline(w, "dataset: {name: d, label: y, time: t}\ntask: binary\n"
                             "contract: {columns: {t: {type: date, on_violation: quarantine}}}\n");
    assert_accepted(ingest_csv(w, csv), 3);
    ingest_world_pipeline(w, "dataset: {name: d, label: y, time: t}\ntask: binary\n"
                             "contract: {columns: {t: {type: date, on_violation: reject}}}\n");
    assert_rejected(ingest_csv(w, csv), "t", "time", "in the order of time");
    assert_rejected(ingest_csv(w, "t,a,y\nsoon,1,0\n2,2,1\n"), "t", "type", "a number or a date");
    ingest_world_pipeline(w, "dataset: {name: d, label: y, time: t}\ntask: binary\n");
    assert_rejected(ingest_csv(w, "a,y\n1,0\n2,1\n"), NULL, "columns", "no time column 't'");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, ingest_world_setup, ingest_world_teardown)
    const struct CMUnitTest tests[] = {
        T(rules_of_a_row_refuse_leave_out_or_tell),
        T(what_a_warning_keeps_is_the_value_or_nothing),
        T(a_column_may_say_otherwise_than_the_contract),
        T(shares_of_missing_values),
        T(numbers_of_rows),
        T(columns_that_lack_or_are_too_many),
        T(labels_that_cannot_be_learned),
        T(every_broken_rule_is_counted_and_five_rows_are_shown),
        T(examples_are_cut_and_made_printable),
        T(time_is_to_rise_where_somebody_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
