/* Runs of the view: every filter, order and page against a walk over the same runs in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agents/console/runs_view.h"
#include "tests/support/sample_runs.h"
#include "tests/support/tmpdir.h"

enum { RUNS = 2500, DRAWN_QUESTIONS = 120 }; /* more than are sorted when a test finds few */

static const char *const migrations[] = {RUNS_SCHEMA};

struct fixture {
    struct tmpdir dir;
    struct store *st;
    struct sample_run_facts facts[RUNS];
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    struct err err = {0};
    struct rng r;
    bool was_reset;
    tmpdir_init(&f->dir);
    if (store_open(tmpdir_join(&f->dir, "view.db"), migrations, 1, &f->st, &was_reset, &err) ||
        store_begin(f->st, &err))
        fail_msg("%s", err.msg);
    rng_seed(&r, 17);
    for (int i = 0; i < RUNS; i++) {
        f->facts[i] = sample_runs_draw(&r, i);
        sample_runs_put(f->st, &f->facts[i]);
    }
    if (store_commit(f->st, &err) || runs_make_indexes(f->st, &err))
        fail_msg("%s", err.msg);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    store_close(f->st);
    tmpdir_fini(&f->dir);
    free(f);
    return 0;
}

struct answer {
    char runs[RUNS][40];
    size_t n;
    char *cursor; /* of the last */
};

static void take(void *ctx, const struct runs_found *found)
{
    struct answer *a = ctx;
    assert_true(a->n < RUNS);
    str_copy(a->runs[a->n++], sizeof(a->runs[0]), found->run);
    free(a->cursor);
    a->cursor = xstrdup(found->cursor);
}

static void ask(struct fixture *f, struct runs_query q, struct answer *a)
{
    struct err err = {0};
    q.now_us = SAMPLE_RUNS_BEGIN_US;
    q.limit = q.limit ? q.limit : RUNS;
    if (runs_find(f->st, &q, take, a, &err))
        fail_msg("%s: %s", q.filter, err.msg);
}

/* ---- the same by hand ---- */

struct test { /* one drawn: its text, and whether a run fits */
    char text[160];
    bool (*fits)(const struct sample_run_facts *x, double v, const char *s);
    double v;
    const char *s;
};

static bool auc_above(const struct sample_run_facts *x, double v, const char *s)
{
    (void)s;
    return x->metrics[0] > v;
}
static bool brier_at_most(const struct sample_run_facts *x, double v, const char *s)
{
    (void)s;
    return x->metrics[2] <= v;
}
static bool eta_is_not(const struct sample_run_facts *x, double v, const char *s)
{
    (void)s;
    return !isnan(x->params[0]) && x->params[0] != v;
}
static bool trigger_is(const struct sample_run_facts *x, double v, const char *s)
{
    (void)v;
    return strcmp(x->trigger, s) == 0;
}
static bool status_is(const struct sample_run_facts *x, double v, const char *s)
{
    (void)v;
    return strcmp(x->status, s) == 0;
}
static bool line_begins(const struct sample_run_facts *x, double v, const char *s)
{
    (void)v;
    return str_has_prefix(x->line, s);
}
static bool rows_below(const struct sample_run_facts *x, double v, const char *s)
{
    (void)s;
    return (double)x->rows < v;
}
static bool no_generation(const struct sample_run_facts *x, double v, const char *s)
{
    (void)v, (void)s;
    return x->generation == 0;
}
static bool generation_is(const struct sample_run_facts *x, double v, const char *s)
{
    (void)s;
    return x->generation && (double)x->generation == v;
}
static bool nothing(const struct sample_run_facts *x, double v, const char *s)
{
    (void)x, (void)v, (void)s;
    return false;
}

static struct test draw_test(struct rng *r)
{
    static const char *const STATES[] = {"promoted", "training", "failed", "evaluating"};
    struct test t = {.v = (double)rng_below(r, 1000) / 1000};
    switch (rng_below(r, 10)) {
    case 0:
        t.v = 0.5 + t.v / 2;
        t.fits = auc_above;
        snprintf(t.text, sizeof(t.text), "metric.auc > %.17g", t.v);
        return t;
    case 1:
        t.fits = brier_at_most;
        snprintf(t.text, sizeof(t.text), "metric.brier <= %.17g", t.v);
        return t;
    case 2:
        t.v = 0.1;
        t.fits = eta_is_not;
        snprintf(t.text, sizeof(t.text), "param.eta != 0.1");
        return t;
    case 3:
        t.s = rng_below(r, 2) ? "drift" : "dataset";
        t.fits = trigger_is;
        snprintf(t.text, sizeof(t.text), "cause = %s", t.s);
        return t;
    case 4:
        t.s = STATES[rng_below(r, ARRAY_LEN(STATES))];
        t.fits = status_is;
        snprintf(t.text, sizeof(t.text), "status in ('%s', nothing)", t.s);
        return t;
    case 5:
        t.s = rng_below(r, 2) ? "shop/" : "power/it's";
        t.fits = line_begins;
        snprintf(t.text, sizeof(t.text), "line like %s",
                 strcmp(t.s, "shop/") == 0 ? "'SHOP/%'" : "'power/it''s%'");
        return t;
    case 6:
        t.v = 1000 + floor(t.v * 5000);
        t.fits = rows_below;
        snprintf(t.text, sizeof(t.text), "rows < %g", t.v);
        return t;
    case 7:
        t.fits = no_generation;
        snprintf(t.text, sizeof(t.text), "generation = none");
        return t;
    case 8:
        t.v = floor(t.v * RUNS / 8);
        t.fits = generation_is;
        snprintf(t.text, sizeof(t.text), "generation = %g", t.v);
        return t;
    default:
        t.fits = nothing;
        snprintf(t.text, sizeof(t.text), "metric.unheard_of >= 0");
        return t;
    }
}

struct order {
    const char *text;
    int key; /* index in keys_of */
};
static const struct order ORDERS[] = {{NULL, 0},        {"metric.auc", 1}, {"metric.brier", 2},
                                      {"finished", 3},  {"rows", 4},       {"param.eta", 5},
                                      {"generation", 6}};

static double key_of(const struct sample_run_facts *x, int key)
{
    double keys[] = {(double)x->started_us,
                     x->metrics[0],
                     x->metrics[2],
                     x->finished_us ? (double)x->finished_us : NAN,
                     (double)x->rows,
                     x->params[0],
                     x->generation ? (double)x->generation : NAN};
    return keys[key];
}

static struct {
    const struct sample_run_facts *base;
    int key;
    bool falls;
} sorting;

static int in_order(const void *a, const void *b)
{
    const struct sample_run_facts *x = sorting.base + *(const int *)a;
    const struct sample_run_facts *y = sorting.base + *(const int *)b;
    double u = key_of(x, sorting.key), v = key_of(y, sorting.key);
    int later = x > y ? -1 : 1; /* numbers rise in the order of putting, as times do */
    if (isnan(u) || isnan(v))
        return isnan(u) && isnan(v) ? later : isnan(u) ? 1 : -1;
    if (u == v)
        return sorting.falls ? later : -later;
    return (u < v) == sorting.falls ? 1 : -1;
}

static void check_same(const struct answer *a, const struct fixture *f, const int *expected,
                       size_t n, const char *question)
{
    for (size_t i = 0; i < n && i < a->n; i++)
        if (strcmp(a->runs[i], f->facts[expected[i]].run) != 0)
            fail_msg("%s: run %zu is %s, expected %s", question, i, a->runs[i],
                     f->facts[expected[i]].run);
    if (a->n != n)
        fail_msg("%s: %zu runs, expected %zu", question, a->n, n);
}

static void check_question(struct fixture *f, struct rng *r)
{
    static struct answer whole, paged;
    struct test a = draw_test(r), b = draw_test(r), c = draw_test(r);
    char filter[600], sort[40], question[700];
    int expected[RUNS];
    size_t n = 0;
    uint64_t shape = rng_below(r, 4);
    const struct order *o = &ORDERS[rng_below(r, ARRAY_LEN(ORDERS))];
    if (shape == 0)
        snprintf(filter, sizeof(filter), "%s and %s and not %s", a.text, b.text, c.text);
    else if (shape == 1)
        snprintf(filter, sizeof(filter), "(%s or %s) and %s", a.text, b.text, c.text);
    else if (shape == 2)
        snprintf(filter, sizeof(filter), "not (%s and %s) or %s", a.text, b.text, c.text);
    else
        snprintf(filter, sizeof(filter), "%s and (%s or not %s)", a.text, b.text, c.text);
    sorting.base = f->facts;
    sorting.key = o->key;
    sorting.falls = !o->text || rng_below(r, 2);
    snprintf(sort, sizeof(sort), "%s:%s", o->text ? o->text : "started",
             sorting.falls ? "desc" : "asc");
    snprintf(question, sizeof(question), "%s, sorted by %s", filter, sort);
    for (int i = 0; i < RUNS; i++) {
        const struct sample_run_facts *x = &f->facts[i];
        bool p = a.fits(x, a.v, a.s), q = b.fits(x, b.v, b.s), s = c.fits(x, c.v, c.s);
        bool fits[] = {p && q && !s, (p || q) && s, !(p && q) || s, p && (q || !s)};
        if (fits[shape])
            expected[n++] = i;
    }
    if (n)
        qsort(expected, n, sizeof(*expected), in_order);
    whole.n = paged.n = 0;
    ask(f, (struct runs_query){.filter = filter, .sort = sort}, &whole);
    check_same(&whole, f, expected, n, question);
    int64_t limit = 1 + (int64_t)rng_below(r, 2 * n / 5 + 7);
    for (size_t before = 1; before != paged.n;) {
        CLEANUP_FREE char *cursor = paged.n ? xstrdup(paged.cursor) : NULL;
        before = paged.n;
        ask(f,
            (struct runs_query){.filter = filter, .sort = sort, .cursor = cursor, .limit = limit},
            &paged);
    }
    check_same(&paged, f, expected, n, question);
}

static void every_question_is_answered_as_by_hand(void **state)
{
    struct fixture *f = *state;
    struct rng r;
    rng_seed(&r, 5);
    for (int i = 0; i < DRAWN_QUESTIONS; i++)
        check_question(f, &r);
}

/* ---- single ones ---- */

static size_t count(struct fixture *f, const char *line, const char *filter)
{
    static struct answer a;
    a.n = 0;
    ask(f, (struct runs_query){.line = line, .filter = filter}, &a);
    return a.n;
}

static void a_pipeline_has_all_its_lines(void **state)
{
    struct fixture *f = *state;
    size_t north = 0, shop = 0;
    for (int i = 0; i < RUNS; i++) {
        north += strcmp(f->facts[i].line, "shop/north") == 0;
        shop += strcmp(f->facts[i].pipeline, "shop") == 0;
    }
    assert_int_equal(count(f, "shop/north", NULL), north);
    assert_int_equal(count(f, "shop", NULL), shop);
    assert_int_equal(count(f, NULL, "pipeline = shop"), shop);
    assert_int_equal(count(f, "elsewhere", NULL), 0);
    assert_int_equal(count(f, NULL, NULL), RUNS);
}

static void the_first_characters_of_an_id_are_enough(void **state)
{
    struct fixture *f = *state;
    const struct sample_run_facts *x = &f->facts[77];
    char filter[200];
    assert_true(x->model[0]);
    snprintf(filter, sizeof(filter), "run = %.12s", x->run);
    assert_int_equal(count(f, NULL, filter), 1);
    snprintf(filter, sizeof(filter), "model in (%.12s, zzzz)", x->model);
    assert_int_equal(count(f, NULL, filter), 1);
    snprintf(filter, sizeof(filter), "run != %.12s", x->run);
    assert_int_equal(count(f, NULL, filter), RUNS - 1);
    snprintf(filter, sizeof(filter), "snapshot = %.20s", x->run + 8);
    assert_int_equal(count(f, NULL, filter), 1);
    assert_int_equal(count(f, NULL, "snapshot = aaaa"), RUNS);
    assert_int_equal(count(f, NULL, "snapshot = aaa_"), 0);
}

static void text_orders_have_their_pages_too(void **state)
{
    static const char *const SORTS[] = {"line", "status:desc", "trigger",      "model:desc",
                                        "run",  "decision",    "pipeline:desc"};
    static struct answer whole, paged;
    struct fixture *f = *state;
    for (size_t k = 0; k < ARRAY_LEN(SORTS); k++) {
        whole.n = paged.n = 0;
        ask(f, (struct runs_query){.sort = SORTS[k]}, &whole);
        assert_int_equal(whole.n, RUNS);
        for (int i = 0; i * 700 < RUNS; i++) {
            CLEANUP_FREE char *cursor = i ? xstrdup(paged.cursor) : NULL;
            ask(f, (struct runs_query){.sort = SORTS[k], .cursor = cursor, .limit = 700}, &paged);
        }
        assert_int_equal(paged.n, RUNS);
        assert_memory_equal(whole.runs, paged.runs, sizeof(whole.runs));
    }
}

static void a_cursor_goes_with_its_question(void **state)
{
    static const char *const BAD[] = {"x", "W10", "e30", "WyJhIiwwLDEsMl0", ""};
    static struct answer a;
    struct fixture *f = *state;
    struct err err = {0};
    ask(f, (struct runs_query){.filter = "rows > 1", .limit = 3}, &a);
    struct runs_query other = {.filter = "rows > 2", .cursor = a.cursor, .limit = 3};
    assert_int_equal(runs_find(f->st, &other, take, &a, &err), -1);
    assert_non_null(strstr(err.msg, "another line, filter or sort"));
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        struct runs_query q = {.cursor = BAD[i], .limit = 3};
        assert_int_equal(runs_find(f->st, &q, take, &a, &err), -1);
        assert_int_equal(err.code, ERR_INVAL);
        assert_non_null(strstr(err.msg, "cursor: "));
    }
}

static void text_from_outside_stays_text(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(count(f, NULL, "line = \"x' OR 1=1 --\""), 0);
    assert_int_equal(count(f, "x' OR '1'='1", NULL), 0);
    assert_int_equal(count(f, NULL, "metric.\"a') OR 1=1 --\" > 0"), 0);
    assert_int_equal(count(f, NULL, "line like '%'"), RUNS);
}

static void what_is_said_anew_counts(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    struct rng r;
    rng_seed(&r, 99);
    struct sample_run_facts x = sample_runs_draw(&r, 5);
    str_copy(x.run, sizeof(x.run), "again");
    x.metrics[0] = 7;
    x.finished_us = x.started_us + 1;
    str_copy(x.model, sizeof(x.model), "again");
    assert_int_equal(store_begin(f->st, &err), 0);
    sample_runs_put(f->st, &x);
    assert_int_equal(count(f, NULL, "metric.auc = 7"), 1);
    x.metrics[0] = 8;
    sample_runs_put(f->st, &x);
    assert_int_equal(count(f, NULL, "metric.auc = 7"), 0);
    assert_int_equal(count(f, NULL, "metric.auc = 8 and run = again"), 1);
    store_rollback(f->st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_question_is_answered_as_by_hand),
        cmocka_unit_test(a_pipeline_has_all_its_lines),
        cmocka_unit_test(the_first_characters_of_an_id_are_enough),
        cmocka_unit_test(text_orders_have_their_pages_too),
        cmocka_unit_test(a_cursor_goes_with_its_question),
        cmocka_unit_test(text_from_outside_stays_text),
        cmocka_unit_test(what_is_said_anew_counts),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
