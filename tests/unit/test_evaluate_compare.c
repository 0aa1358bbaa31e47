/* Slices, and the report of a comparison. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "agents/evaluate/compare.h"
#include "agents/evaluate/slices.h"

enum { ROWS = 8, COLUMNS = 3 };

/* amount, kind (a, b, c), open */
static float x[ROWS * COLUMNS] = {
    10, 0, 0, 20, 0, 1, 30, 1, 0, 40, 1, 1, 50, 1, 0, 60, 2, 1, (float)NAN, (float)NAN, 0, 80, 0, 1,
};
static float y[ROWS] = {0, 1, 0, 1, 0, 1, 0, 1};
static char *kinds[] = {(char *)"a", (char *)"b", (char *)"c"};
static struct snapshot_column columns[COLUMNS] = {
    {.name = (char *)"amount"},
    {.name = (char *)"kind", .type = COLUMN_CATEGORY, .categories = kinds, .n_categories = 3},
    {.name = (char *)"open", .type = COLUMN_BOOL},
};
static const struct matrix sample = {
    .rows = ROWS, .n_columns = COLUMNS, .columns = columns, .x = x, .y = y};

static const char *text_of(const struct row_slices *s, struct arena *arena)
{
    CLEANUP(buf_fini) struct buf out = {0};

    for (size_t i = 0; i < s->n; i++) {
        buf_addf(&out, "%s:", s->items[i].name);
        for (size_t k = 0; k < s->items[i].n; k++)
            buf_addf(&out, "%zu", s->items[i].rows[k]);
        buf_add_char(&out, ' ');
    }
    return arena_strndup(arena, out.data ? out.data : "", out.len);
}

static void a_column_is_cut_by_its_values(void **state)
{
    static const struct {
        const char *column, *expected;
    } rows[] = {
        {"kind", "kind=a:017 kind=b:234 kind=c:5 kind=missing:6 "},
        {"open", "open=false:0246 open=true:1357 "},
        {"amount", "amount=10:0 amount=20:1 amount=30:2 amount=40:3 amount=50:4 amount=60:5 "
                   "amount=80:7 amount=missing:6 "},
        {"none", ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena arena = {0};
        struct row_slices s;

        slices_of(&sample, rows[i].column, &arena, &s);
        assert_string_equal(text_of(&s, &arena), rows[i].expected);
        arena_fini(&arena);
    }
}

static void many_numbers_are_cut_by_quartiles(void **state)
{
    struct snapshot_column column = {.name = (char *)"v"};
    struct matrix m = {.rows = 100, .n_columns = 1, .columns = &column};
    struct arena arena = {0};
    struct row_slices s;
    float v[100];

    (void)state;
    for (int i = 0; i < 100; i++)
        v[i] = i < 30 ? 0 : (float)i; /* more than a quarter are equal */
    m.x = v;
    slices_of(&m, "v", &arena, &s);
    assert_int_equal(s.n, 3);
    assert_string_equal(s.items[0].name, "v=[0,49)");
    assert_int_equal(s.items[0].n, 49);
    assert_string_equal(s.items[1].name, "v=[49,74)");
    assert_string_equal(s.items[2].name, "v=[74,99]");
    assert_int_equal(s.items[2].n, 26);
    arena_fini(&arena);
}

static void only_the_most_frequent_categories_are_slices(void **state)
{
    char *names[40], text[40][8];
    struct snapshot_column column = {
        .name = (char *)"c", .type = COLUMN_CATEGORY, .categories = names, .n_categories = 40};
    struct matrix m = {.rows = 400, .n_columns = 1, .columns = &column};
    struct arena arena = {0};
    struct row_slices s;
    float v[400];
    size_t n = 0;

    (void)state;
    for (int i = 0; i < 40; i++) {
        snprintf(text[i], sizeof(text[i]), "c%d", i);
        names[i] = text[i];
    }
    for (int i = 0; i < 400; i++)
        v[i] = (float)(i < 200 ? 39 : i % 40);
    m.x = v;
    slices_of(&m, "c", &arena, &s);
    assert_int_equal(s.n, SLICES_MAX);
    assert_string_equal(s.items[0].name, "c=c39");
    for (size_t i = 0; i < s.n; i++)
        n += s.items[i].n;
    assert_true(n < 400);
    arena_fini(&arena);
}

/* ---- comparison ---- */

static struct pipeline *pipeline(const char *more)
{
    CLEANUP(buf_fini) struct buf yaml = {0};
    struct pipeline *p = NULL;
    struct err err = {0};

    buf_addf(&yaml,
             "apiVersion: relearn/v1\nkind: Pipeline\nname: p\ndataset: {name: d, label: y}\ntask: "
             "binary\n%s",
             more);
    if (pipeline_parse(buf_slice(&yaml), "p", &p, &err))
        fail_msg("%s", err.msg);
    return p;
}

static const struct evaluation_metric *find(const struct evaluation_metric_list *l,
                                            const char *metric, const char *slice)
{
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->items[i].metric, metric) == 0 && strcmp(l->items[i].slice, slice) == 0)
            return &l->items[i];
    fail_msg("no %s of %s", metric, slice);
    return NULL;
}

static const double candidate[ROWS] = {0.1, 0.9, 0.2, 0.8, 0.3, 0.7, 0.4, 0.6},
                    champion[ROWS] = {0.4, 0.6, 0.6, 0.4, 0.4, 0.6, 0.4, 0.6};

static void both_are_measured_on_all_rows_and_on_each_slice(void **state)
{
    struct pipeline *p = pipeline("evaluate: {metrics: [accuracy, logloss, auc], slices: [kind], "
                                  "confidence: 0.9, bootstrap_rounds: 200, interval: bootstrap}\n"
                                  "gate: {rules: [{metric: accuracy, at_least: 0.5}]}");
    struct comparison c = {.pipeline = p,
                           .rows = &sample,
                           .k = 1,
                           .candidate = candidate,
                           .champion = champion,
                           .seed = 1};
    struct evaluation_metric_list list;
    const struct evaluation_metric *m;
    struct arena arena = {0};

    (void)state;
    compare(&c, &arena, &list);
    assert_int_equal(list.n, 3 * 5);
    m = find(&list, "accuracy", "all");
    assert_int_equal(m->rows, ROWS);
    assert_true(m->candidate == 1 && m->champion == 0.75 && m->difference == 0.25);
    assert_true(m->low >= 0 && m->high <= 1 && m->low < m->high);
    assert_true(m->higher_is_better);
    assert_null(m->undefined);
    m = find(&list, "logloss", "all");
    assert_true(m->difference < 0 && m->low < m->difference && m->high > m->difference);
    assert_false(m->higher_is_better);
    m = find(&list, "accuracy", "kind=b");
    assert_int_equal(m->rows, 3);
    assert_true(fabs(m->champion - 1.0 / 3) < 1e-15);
    m = find(&list, "auc", "kind=c"); /* one row */
    assert_true(isnan(m->candidate) && isnan(m->difference) && isnan(m->low));
    assert_string_equal(m->undefined, "all rows are of one class");
    assert_int_equal(find(&list, "accuracy", "kind=missing")->rows, 1);
    arena_fini(&arena);
    pipeline_free(p);
}

static void weights_groups_and_costs_of_rows_count(void **state)
{
    static double weight[ROWS] = {1, 1, 1, 1, 1, 1, 1, 0}, group[ROWS] = {7, 7, 9, 9, 9, 3, 3, 3},
                  value[ROWS] = {10, 20, 30, 40, 50, 60, 70, 80};
    static char *classes[] = {(char *)"ok", (char *)"fraud"};
    static const double worse[ROWS] = {0.6, 0.4, 0.2, 0.8, 0.3, 0.7, 0.4, 0.1};
    struct pipeline *p =
        pipeline("evaluate: {metrics: [accuracy, cost, ndcg], weight: w, group: g, "
                 "cost: {value: v, matrix: {ok: {fraud: 3}, fraud: {ok: value}}}}");
    struct matrix rows = sample;
    struct comparison c = {
        .pipeline = p, .rows = &rows, .k = 1, .candidate = worse, .champion = candidate, .seed = 1};
    struct evaluation_metric_list list;
    struct arena arena = {0};

    (void)state;
    rows.classes = classes;
    rows.n_classes = 2;
    rows.aside[ASIDE_WEIGHT] = weight;
    rows.aside[ASIDE_GROUP] = group;
    rows.aside[ASIDE_VALUE] = value;
    compare(&c, &arena, &list);
    assert_true(fabs(find(&list, "accuracy", "all")->candidate - 5.0 / 7) < 1e-15);
    assert_true(fabs(find(&list, "cost", "all")->candidate - (3 + 20) / 7.0) < 1e-12);
    assert_true(find(&list, "cost", "all")->champion == 0);
    assert_false(find(&list, "cost", "all")->higher_is_better);
    assert_true(find(&list, "ndcg", "all")->champion == 1);
    assert_true(find(&list, "ndcg", "all")->candidate < 1);
    rows.aside[ASIDE_WEIGHT] = NULL; /* snapshots from before */
    compare(&c, &arena, &list);
    assert_string_equal(find(&list, "accuracy", "all")->undefined,
                        "a weight is missing, negative or not finite");
    rows.aside[ASIDE_WEIGHT] = weight;
    classes[0] = (char *)"good";
    compare(&c, &arena, &list);
    assert_string_equal(find(&list, "cost", "all")->undefined,
                        "the cost is of other classes than the model's");
    arena_fini(&arena);
    pipeline_free(p);
}

static void without_a_champion_the_interval_is_the_candidates_own(void **state)
{
    struct pipeline *p = pipeline("evaluate: {metrics: [logloss], bootstrap_rounds: 200}");
    struct comparison c = {
        .pipeline = p, .rows = &sample, .k = 1, .candidate = candidate, .seed = 1};
    struct evaluation_metric_list list;
    const struct evaluation_metric *m;
    struct arena arena = {0};

    (void)state;
    compare(&c, &arena, &list);
    m = find(&list, "logloss", "all");
    assert_true(isnan(m->champion) && isnan(m->difference));
    assert_true(m->low < m->candidate && m->candidate < m->high);
    assert_null(m->undefined);
    c.why_no_champion = "it is for another task";
    compare(&c, &arena, &list);
    assert_string_equal(find(&list, "logloss", "all")->undefined,
                        "champion: it is for another task");
    arena_fini(&arena);
    pipeline_free(p);
}

static void an_absent_slice_and_no_rows_are_said(void **state)
{
    struct pipeline *p = pipeline("evaluate: {metrics: [logloss], slices: [colour]}");
    struct matrix none = sample;
    struct comparison c = {.pipeline = p,
                           .rows = &sample,
                           .k = 1,
                           .candidate = candidate,
                           .champion = champion,
                           .seed = 1};
    struct evaluation_metric_list list;
    struct arena arena = {0};

    (void)state;
    compare(&c, &arena, &list);
    assert_string_equal(find(&list, "logloss", "colour=")->undefined,
                        "no such column among the features");
    none.rows = 0;
    c.rows = &none;
    compare(&c, &arena, &list);
    assert_string_equal(find(&list, "logloss", "all")->undefined, "no rows");
    assert_true(isnan(find(&list, "logloss", "all")->low));
    arena_fini(&arena);
    pipeline_free(p);
}

static void each_interval_says_how_it_was_made(void **state)
{
    static double customer[ROWS] = {1, 1, 2, 2, 3, 3, 4, 4};
    struct pipeline *p = pipeline("evaluate: {metrics: [auc, accuracy, logloss, f1]}"),
                    *clustered = pipeline("evaluate: {metrics: [accuracy, f1], cluster: customer}");
    struct matrix rows = sample;
    struct comparison c = {.pipeline = p,
                           .rows = &rows,
                           .k = 1,
                           .candidate = candidate,
                           .champion = champion,
                           .seed = 1};
    struct evaluation_metric_list list;
    struct arena arena = {0};

    (void)state;
    assert_int_equal(compare(&c, &arena, &list), 0);
    assert_string_equal(find(&list, "auc", "all")->method, "delong");
    assert_string_equal(find(&list, "accuracy", "all")->method, "tango");
    assert_string_equal(find(&list, "logloss", "all")->method, "bootstrap"); /* few rows */
    assert_string_equal(find(&list, "f1", "all")->method, "bootstrap");
    assert_true(fabs(find(&list, "accuracy", "all")->p - 0.25) <
                1e-12); /* two rows gained, none lost */
    assert_true(find(&list, "auc", "all")->effective_rows == ROWS);
    assert_true(find(&list, "auc", "all")->level == 0.95);
    assert_int_equal(find(&list, "auc", "all")->clusters, 0);
    c.champion = NULL;
    compare(&c, &arena, &list);
    assert_string_equal(find(&list, "accuracy", "all")->method, "wilson");
    assert_true(isnan(find(&list, "accuracy", "all")->p));
    c.pipeline = clustered;
    c.champion = champion;
    rows.aside[ASIDE_CLUSTER] = customer;
    compare(&c, &arena, &list);
    assert_string_equal(find(&list, "accuracy", "all")->method, "cluster_bootstrap");
    assert_int_equal(find(&list, "accuracy", "all")->clusters, 4);
    assert_true(find(&list, "accuracy", "all")->effective_rows <= ROWS);
    assert_true(find(&list, "f1", "all")->effective_rows == 4);
    rows.aside[ASIDE_CLUSTER] = NULL; /* snapshots from before */
    compare(&c, &arena, &list);
    assert_true(isfinite(find(&list, "accuracy", "all")->difference));
    assert_true(isnan(find(&list, "accuracy", "all")->low));
    assert_string_equal(find(&list, "accuracy", "all")->undefined,
                        "a row is of no cluster, so that no interval can be told");
    arena_fini(&arena);
    pipeline_free(p);
    pipeline_free(clustered);
}

static void many_comparisons_and_many_attempts_ask_for_more(void **state)
{
    static const char *const words[] = {"none", "bonferroni", "none", "bonferroni", "none"},
                             *const waits[] = {"off", "off", "attempts", "attempts", "anytime"};
    static const double levels[] = {0.9, 1 - 0.1 / 5, 1 - 0.1 / 12, 1 - 0.1 / 60, 1 - 0.1 / 12};
    double widths[ARRAY_LEN(levels)];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
        CLEANUP(buf_fini) struct buf more = {0};
        struct comparison c = {.rows = &sample,
                               .k = 1,
                               .candidate = candidate,
                               .champion = champion,
                               .attempt = 3,
                               .seed = 1};
        struct evaluation_metric_list list;
        struct arena arena = {0};
        struct pipeline *p;

        buf_addf(
            &more,
            "evaluate: {metrics: [accuracy], slices: [kind], confidence: 0.9, "
            "correction: %s, sequential: %s}\ngate: {rules: ["
            "{metric: accuracy, better_than: champion, by_interval: true}, "
            "{metric: accuracy, slice: kind, no_worse_than: champion, by: 0.1, by_interval: true}, "
            "{metric: accuracy, at_least: 0.5}]}",
            words[i], waits[i]);
        c.pipeline = p = pipeline(more.data);
        /* one on all rows, one on each of the kinds: a, b, c and missing */
        assert_int_equal(compare(&c, &arena, &list), i % 2 ? 5 : 0);
        assert_true(fabs(list.items[0].level - levels[i]) < 1e-15);
        widths[i] = list.items[0].high - list.items[0].low;
        arena_fini(&arena);
        pipeline_free(p);
    }
    assert_true(widths[0] < widths[1] && widths[1] < widths[2] && widths[2] < widths[3]);
}

static void the_seed_decides_the_interval(void **state)
{
    struct pipeline *p = pipeline("evaluate: {metrics: [logloss], bootstrap_rounds: 100}");
    struct comparison c = {.pipeline = p,
                           .rows = &sample,
                           .k = 1,
                           .candidate = candidate,
                           .champion = champion,
                           .seed = 1};
    struct evaluation_metric_list first, again, other;
    struct arena arena = {0};

    (void)state;
    compare(&c, &arena, &first);
    compare(&c, &arena, &again);
    c.seed = 2;
    compare(&c, &arena, &other);
    assert_true(first.items[0].low == again.items[0].low &&
                first.items[0].high == again.items[0].high);
    assert_true(first.items[0].low != other.items[0].low);
    arena_fini(&arena);
    pipeline_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_column_is_cut_by_its_values),
        cmocka_unit_test(many_numbers_are_cut_by_quartiles),
        cmocka_unit_test(only_the_most_frequent_categories_are_slices),
        cmocka_unit_test(both_are_measured_on_all_rows_and_on_each_slice),
        cmocka_unit_test(weights_groups_and_costs_of_rows_count),
        cmocka_unit_test(without_a_champion_the_interval_is_the_candidates_own),
        cmocka_unit_test(an_absent_slice_and_no_rows_are_said),
        cmocka_unit_test(each_interval_says_how_it_was_made),
        cmocka_unit_test(many_comparisons_and_many_attempts_ask_for_more),
        cmocka_unit_test(the_seed_decides_the_interval),
    };

    return cmocka_run_group_tests_name("evaluate_compare", tests, NULL, NULL);
}
