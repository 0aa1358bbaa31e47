/* The gate's rules: a table of evaluations and policies, and the verdict of each. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/gate.h"
#include "tests/support/make_event.h"

enum { NOW_MS = 1000 };

static struct pipeline *policy(const char *gate)
{
    struct pipeline *p = NULL;
    struct err err = {0};
    CLEANUP_FREE char *yaml = xasprintf(
        "apiVersion: relearn/v1\nkind: Pipeline\nname: l\ndataset: {name: d, label: y}\ntask: "
        "binary\nevaluate: {metrics: [auc, logloss, accuracy], slices: [shop]}\n%s",
        gate);
    if (pipeline_parse(slice_str(yaml), "test", &p, &err))
        fail_msg("%s", err.msg);
    return p;
}

struct given {
    const char *metric, *slice;
    int64_t rows;
    double candidate, champion, low, high;
    bool higher;
};
struct row {
    const char *label, *gate;
    int64_t against;
    struct given given[3];
    const char *verdict, *reason; /* reason: a part of it */
};

static const struct row ROWS[] = {
    {"a first model passes a comparison",
     "gate: {min_rows: 10, rules: [{metric: logloss, no_worse_than: champion, by: 0}]}",
     0,
     {{"logloss", "all", 100, 0.6, NAN, 0.5, 0.7, false}},
     "promote",
     "first model"},
    {"a first model must still meet a floor",
     "gate: {min_rows: 10, rules: [{metric: auc, at_least: 0.7}]}",
     0,
     {{"auc", "all", 100, 0.65, NAN, 0.6, 0.7, true}},
     "reject",
     "at least 0.7"},
    {"within the tolerance, lower is better",
     "gate: {min_rows: 10, rules: [{metric: logloss, no_worse_than: champion, by: 0.02}]}",
     3,
     {{"logloss", "all", 100, 0.515, 0.5, 0.01, 0.02, false}},
     "promote",
     "generation 3"},
    {"beyond the tolerance, lower is better",
     "gate: {min_rows: 10, rules: [{metric: logloss, no_worse_than: champion, by: 0.02}]}",
     3,
     {{"logloss", "all", 100, 0.53, 0.5, 0.01, 0.05, false}},
     "reject",
     "worse"},
    {"exactly at the tolerance is no worse",
     "gate: {min_rows: 10, rules: [{metric: auc, no_worse_than: champion, by: 0.25}]}",
     3,
     {{"auc", "all", 100, 0.5, 0.75, -0.3, -0.2, true}},
     "promote",
     "generation 3"},
    {"better_than is strict",
     "gate: {min_rows: 10, rules: [{metric: auc, better_than: champion}]}",
     3,
     {{"auc", "all", 100, 0.75, 0.75, -0.1, 0.1, true}},
     "reject",
     "no difference"},
    {"an interval on both sides concludes nothing",
     "gate: {min_rows: 10, rules: [{metric: auc, better_than: champion, by_interval: true}]}",
     3,
     {{"auc", "all", 100, 0.76, 0.75, -0.01, 0.03, true}},
     "inconclusive",
     "nothing can be concluded"},
    {"an interval wholly better passes",
     "gate: {min_rows: 10, rules: [{metric: auc, better_than: champion, by_interval: true}]}",
     3,
     {{"auc", "all", 100, 0.8, 0.75, 0.02, 0.08, true}},
     "promote",
     "difference"},
    {"lower is better: the interval turns round",
     "gate: {min_rows: 10, rules: [{metric: logloss, better_than: champion, by_interval: true}]}",
     3,
     {{"logloss", "all", 100, 0.4, 0.5, -0.15, -0.05, false}},
     "promote",
     "difference"},
    {"an interval wholly worse fails",
     "gate: {min_rows: 10, rules: [{metric: logloss, no_worse_than: champion, by: 0.01, "
     "by_interval: true}]}",
     3,
     {{"logloss", "all", 100, 0.6, 0.5, 0.05, 0.15, false}},
     "reject",
     "worse"},
    {"not a number is never a pass",
     "gate: {min_rows: 10, rules: [{metric: auc, at_least: 0}]}",
     3,
     {{"auc", "all", 100, NAN, 0.7, NAN, NAN, true}},
     "inconclusive",
     "undefined"},
    {"a first model whose metric is undefined is none",
     "gate: {min_rows: 10, rules: [{metric: logloss, no_worse_than: champion}]}",
     0,
     {{"logloss", "all", 100, NAN, NAN, NAN, NAN, false}},
     "inconclusive",
     "undefined"},
    {"infinity is never a pass",
     "gate: {min_rows: 10, rules: [{metric: auc, at_least: 0}]}",
     3,
     {{"auc", "all", 100, INFINITY, 0.7, NAN, NAN, true}},
     "inconclusive",
     "undefined"},
    {"the champion's value may be undefined too",
     "gate: {min_rows: 10, rules: [{metric: auc, no_worse_than: champion}]}",
     3,
     {{"auc", "all", 100, 0.7, NAN, NAN, NAN, true}},
     "inconclusive",
     "undefined"},
    {"too few rows",
     "gate: {min_rows: 300, rules: [{metric: auc, at_least: 0.1}]}",
     0,
     {{"auc", "all", 120, 0.9, NAN, 0.8, 1, true}},
     "inconclusive",
     "120 rows are too few"},
    {"a metric that is not there",
     "gate: {min_rows: 10, rules: [{metric: accuracy, at_least: 0.1}]}",
     0,
     {{"auc", "all", 120, 0.9, NAN, 0.8, 1, true}},
     "inconclusive",
     "no accuracy"},
    {"a warning does not block",
     "gate: {min_rows: 10, rules: [{metric: auc, at_least: 0.95, severity: warn}, {metric: auc, "
     "at_least: 0.5}]}",
     0,
     {{"auc", "all", 100, 0.9, NAN, 0.8, 1, true}},
     "promote",
     "noted"},
    {"a slice that is worse blocks",
     "gate: {min_rows: 10, rules: [{metric: auc, slice: shop, no_worse_than: champion, by: 0.01}]}",
     3,
     {{"auc", "shop=north", 100, 0.9, 0.8, 0.05, 0.15, true},
      {"auc", "shop=south", 100, 0.5, 0.8, -0.4, -0.2, true}},
     "reject",
     "1 of 2 rules"},
    {"a thin slice does not hold up a model",
     "gate: {min_rows: 50, rules: [{metric: auc, slice: shop, no_worse_than: champion, by: 0.01}, "
     "{metric: auc, at_least: 0.5}]}",
     3,
     {{"auc", "all", 100, 0.9, 0.8, 0.05, 0.15, true},
      {"auc", "shop=south", 10, 0.5, 0.8, -0.4, -0.2, true}},
     "promote",
     "noted"},
    {"too good to be true",
     "gate: {min_rows: 10, rules: [{metric: auc, at_most: 0.99}]}",
     0,
     {{"auc", "all", 100, 0.999, NAN, 0.99, 1, true}},
     "reject",
     "at most"},
    {"a person is asked",
     "gate: {min_rows: 10, approval: manual, rules: [{metric: auc, at_least: 0.5}]}",
     0,
     {{"auc", "all", 100, 0.9, NAN, 0.8, 1, true}},
     "wait",
     "approval"},
    {"a person is asked when nothing can be concluded",
     "gate: {min_rows: 300, inconclusive: ask, rules: [{metric: auc, at_least: 0.5}]}",
     0,
     {{"auc", "all", 100, 0.9, NAN, 0.8, 1, true}},
     "wait",
     "too few"},
    {"inconclusive may promote when the policy says so",
     "gate: {min_rows: 300, inconclusive: promote, rules: [{metric: auc, at_least: 0.5}]}",
     0,
     {{"auc", "all", 100, 0.9, NAN, 0.8, 1, true}},
     "promote",
     "not judged: 100 rows are too few"},
    {"a failure counts more than inconclusive",
     "gate: {min_rows: 10, inconclusive: promote, rules: [{metric: accuracy, at_least: 0.5}, "
     "{metric: auc, at_least: 0.95}]}",
     0,
     {{"auc", "all", 100, 0.9, NAN, 0.8, 1, true}},
     "reject",
     "at least 0.95"},
    {"a refusal says what to do",
     "gate: {min_rows: 10, rules: [{metric: auc, at_least: 0.75}]}",
     0,
     {{"auc", "all", 100, 0.71, NAN, 0.6, 0.8, true}},
     "reject",
     "auc is 0.71, at least 0.75 is asked: train on more or newer rows, or lower the floor"},
    {"relative to the champion, within",
     "gate: {min_rows: 10, rules: [{metric: logloss, no_worse_than: champion, by: 10%}]}",
     3,
     {{"logloss", "all", 100, 0.54, 0.5, 0.01, 0.07, false}},
     "promote",
     "generation 3"},
    {"relative to the champion, beyond",
     "gate: {min_rows: 10, rules: [{metric: logloss, no_worse_than: champion, by: 2%}]}",
     3,
     {{"logloss", "all", 100, 0.54, 0.5, 0.01, 0.07, false}},
     "reject",
     "0.01 (2%) is tolerated"},
    {"a baseline that nobody measured concludes nothing",
     "gate: {min_rows: 10, rules: [{metric: auc, no_worse_than: golden}]}",
     3,
     {{"auc", "all", 100, 0.8, 0.8, -0.1, 0.1, true}},
     "inconclusive",
     "no auc of golden to compare with"},
    {"before the first model there is no best one",
     "gate: {min_rows: 10, rules: [{metric: auc, no_worse_than: best}]}",
     0,
     {{"auc", "all", 100, 0.8, NAN, NAN, NAN, true}},
     "promote",
     "first model"},
    {"one value of a slice, the others do not matter",
     "gate: {min_rows: 10, rules: [{metric: auc, slice: shop=north, at_least: 0.7}]}",
     3,
     {{"auc", "shop=north", 100, 0.9, 0.8, 0.05, 0.15, true},
      {"auc", "shop=northwest", 100, 0.5, 0.8, -0.4, -0.2, true},
      {"auc", "shop=south", 100, 0.5, 0.8, -0.4, -0.2, true}},
     "promote",
     "compared"},
    {"a slice value that was named and is thin concludes nothing",
     "gate: {min_rows: 50, rules: [{metric: auc, slice: shop=north, at_least: 0.7}]}",
     3,
     {{"auc", "shop=north", 10, 0.9, 0.8, 0.05, 0.15, true}},
     "inconclusive",
     "10 rows are too few"},
    {"a slice value that was named and is not there concludes nothing",
     "gate: {min_rows: 50, rules: [{metric: auc, slice: shop=west, at_least: 0.7}]}",
     3,
     {{"auc", "shop=north", 100, 0.9, 0.8, 0.05, 0.15, true}},
     "inconclusive",
     "no auc on slices of shop=west"},
    {"every slice of every column",
     "gate: {min_rows: 10, rules: [{metric: auc, slice: '*', no_worse_than: champion, by: 0.1}]}",
     3,
     {{"auc", "all", 100, 0.1, 0.9, -0.9, -0.7, true},
      {"auc", "shop=north", 100, 0.9, 0.8, 0.05, 0.15, true},
      {"auc", "hour=3", 100, 0.5, 0.8, -0.4, -0.2, true}},
     "reject",
     "on hour=3 against 0.8 of champion, 0.3 worse"},
    {"a fact that the log does not tell concludes nothing",
     "gate: {min_rows: 10, rules: [{fact: trained_rows, at_least: 10}]}",
     3,
     {{"auc", "all", 100, 0.9, 0.8, 0.05, 0.15, true}},
     "inconclusive",
     "trained_rows is not known: the log has no result of this run"},
};

struct beside_row {
    struct row row;
    struct evaluation_baseline beside;
};

static const struct beside_row BESIDE[] = {
    {{"better than what needs no model",
      "gate: {min_rows: 10, rules: [{metric: logloss, better_than: naive}]}",
      3,
      {{"logloss", "all", 100, 0.5, 0.6, -0.2, 0, false}},
      "promote",
      "logloss"},
     {.name = "naive",
      .metric = "logloss",
      .rows = 100,
      .candidate = 0.5,
      .value = 0.69,
      .difference = -0.19,
      .low = -0.3,
      .high = -0.1}},
    {{"a first model too must be better than what needs no model",
      "gate: {min_rows: 10, rules: [{metric: logloss, better_than: naive, by: 10%}]}",
      0,
      {{"logloss", "all", 100, 0.65, NAN, NAN, NAN, false}},
      "reject",
      "against 0.69 of naive"},
     {.name = "naive",
      .metric = "logloss",
      .rows = 100,
      .candidate = 0.65,
      .value = 0.69,
      .difference = -0.04,
      .low = NAN,
      .high = NAN}},
    {{"beside a baseline by its interval",
      "gate: {min_rows: 10, rules: [{metric: auc, better_than: last_value, by_interval: true}]}",
      3,
      {{"auc", "all", 100, 0.8, 0.8, -0.1, 0.1, true}},
      "inconclusive",
      "lies on both sides"},
     {.name = "last_value",
      .metric = "auc",
      .rows = 100,
      .candidate = 0.8,
      .value = 0.78,
      .difference = 0.02,
      .low = -0.01,
      .high = 0.05}},
    {{"a baseline whose value is undefined",
      "gate: {min_rows: 10, rules: [{metric: auc, better_than: naive}]}",
      3,
      {{"auc", "all", 100, 0.8, 0.8, -0.1, 0.1, true}},
      "inconclusive",
      "to naive is undefined: one class"},
     {.name = "naive",
      .metric = "auc",
      .rows = 100,
      .candidate = 0.8,
      .value = NAN,
      .difference = NAN,
      .low = NAN,
      .high = NAN,
      .reason = "one class"}},
};

static void check_row(const struct row *row, const struct evaluation_baseline *beside)
{
    struct evaluation_metric metrics[3];
    struct arena arena = {0};
    struct gate_judgement j;
    size_t n = 0;
    for (; n < ARRAY_LEN(row->given) && row->given[n].metric; n++) {
        const struct given *g = &row->given[n];
        metrics[n] = (struct evaluation_metric){.metric = g->metric,
                                                .slice = g->slice,
                                                .rows = g->rows,
                                                .candidate = g->candidate,
                                                .champion = g->champion,
                                                .difference = g->candidate - g->champion,
                                                .low = g->low,
                                                .high = g->high,
                                                .higher_is_better = g->higher};
    }
    struct model_evaluated e = {.line = "l",
                                .status = "evaluated",
                                .against = row->against,
                                .rows = 100,
                                .metrics = {metrics, n},
                                .baselines = {beside, beside ? 1 : 0}};
    struct pipeline *p = policy(row->gate);
    gate_judge(p, NULL, &e, NOW_MS, &arena, &j);
    if (strcmp(j.verdict, row->verdict) != 0 || !strstr(j.reason, row->reason))
        fail_msg("%s: got %s (%s), expected %s (...%s...)", row->label, j.verdict, j.reason,
                 row->verdict, row->reason);
    bool is_wait = strcmp(j.verdict, "wait") == 0;
    assert_true(is_wait ? j.deadline_unix_ms > NOW_MS : j.deadline_unix_ms == ABSENT_I64);
    for (size_t i = 0; i < j.rules.n; i++) {
        const struct rule_result *r = &j.rules.items[i];
        assert_true(r->rule && r->rule[0] && r->reason && r->reason[0] && r->verdict &&
                    r->severity);
    }
    arena_fini(&arena);
    pipeline_free(p);
}

static void every_case_has_its_written_outcome(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++)
        check_row(&ROWS[i], NULL);
    for (size_t i = 0; i < ARRAY_LEN(BESIDE); i++)
        check_row(&BESIDE[i].row, &BESIDE[i].beside);
}

struct fact_row {
    const char *rule, *verdict, *reason;
};

/* What the log says of the run m and of its data, which came a day before. */
static void facts_of_run_and_data_are_held_against_numbers(void **state)
{
    enum { DAY_MS = 86400000 };
    static const struct fact_row FACTS[] = {
        {"{fact: trained_rows, at_least: 700}", "promote", "promoted"},
        {"{fact: trained_rows, at_least: 701}", "reject", "trained_rows is 700, at least 701"},
        {"{fact: train_seconds, at_most: 4}", "reject", "train_seconds is 4.5"},
        {"{fact: train_cpu_seconds, at_most: 9}", "promote", "promoted"},
        {"{fact: train_memory, at_most: 1000}", "reject", "train_memory is 1048"},
        {"{fact: valid_rows, at_least: 1}", "promote", "promoted"},
        {"{fact: evaluated_rows, at_least: 100}", "promote", "promoted"},
        {"{fact: data_rows, at_least: 900}", "promote", "promoted"},
        {"{fact: data_age_hours, at_most: 23}", "reject", "data_age_hours is 24"},
        {"{fact: data_age_hours, at_most: 24}", "promote", "promoted"},
        {"{fact: data_violations, at_most: 0}", "reject", "data_violations is 1"},
        {"{fact: quarantined_share, at_most: 0.05}", "reject", "quarantined_share is 0.1"},
        {"{fact: seen_before_share, at_most: 0.5}", "promote", "promoted"},
    };
    struct violation violation = {.rule = "min", .severity = "warn"};
    struct dataset_ingested data = {.line = "l",
                                    .rows = 900,
                                    .rows_quarantined = 100,
                                    .rows_seen_before = 450,
                                    .violations = {&violation, 1}};
    struct snapshot_ref refs[] = {{"old", "s-old", 1}, {"new", "s-new", 900}};
    struct training_finished run = {.line = "l",
                                    .run = "r",
                                    .status = "candidate",
                                    .snapshots = {refs, 2},
                                    .trained_rows = 700,
                                    .valid_rows = 100,
                                    .seconds = 4.5,
                                    .cpu_seconds = 8,
                                    .max_rss_bytes = 1048};
    struct model_evaluated e = {
        .line = "l", .run = "r", .model_event = "m", .status = "evaluated", .rows = 100};
    struct line *l = line_new("l");
    (void)state;
    line_fold(l, make_event(&(struct event_parts){
                     .type = RECORD_DATASET_INGESTED, .rec = &data, .id = "s-new", .key = "l"}));
    line_fold(l, make_event(&(struct event_parts){
                     .type = RECORD_TRAINING_FINISHED, .rec = &run, .id = "m", .key = "l"}));
    for (size_t i = 0; i < ARRAY_LEN(FACTS); i++) {
        struct arena arena = {0};
        struct gate_judgement j;
        CLEANUP_FREE char *gate = xasprintf("gate: {rules: [%s]}", FACTS[i].rule);
        struct pipeline *p = policy(gate);
        gate_judge(p, l, &e, DAY_MS, &arena, &j);
        if (strcmp(j.verdict, FACTS[i].verdict) != 0 || !strstr(j.reason, FACTS[i].reason))
            fail_msg("%s: %s (%s)", FACTS[i].rule, j.verdict, j.reason);
        arena_fini(&arena);
        pipeline_free(p);
    }
    line_free(l);
}

static void a_failed_evaluation_is_rejected_with_its_reason(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct gate_judgement j;
    struct model_evaluated e = {.line = "l", .status = "failed", .reason = "the file is damaged"};
    struct pipeline *p = policy("gate: {min_rows: 10, rules: [{metric: auc, at_least: 0.5}]}");
    gate_judge(p, NULL, &e, NOW_MS, &arena, &j);
    assert_string_equal(j.verdict, "reject");
    assert_non_null(strstr(j.reason, "the file is damaged"));
    arena_fini(&arena);
    pipeline_free(p);
}

static void the_same_inputs_give_the_same_decision(void **state)
{
    (void)state;
    struct evaluation_metric m = {.metric = "auc",
                                  .slice = "all",
                                  .rows = 100,
                                  .candidate = 0.8,
                                  .champion = 0.7,
                                  .difference = 0.1,
                                  .low = 0.05,
                                  .high = 0.15,
                                  .higher_is_better = true};
    struct model_evaluated e = {
        .line = "l", .status = "evaluated", .against = 1, .rows = 100, .metrics = {&m, 1}};
    struct pipeline *p =
        policy("gate: {min_rows: 10, rules: [{metric: auc, no_worse_than: champion}]}");
    struct arena arena = {0};
    struct gate_judgement a, b;
    gate_judge(p, NULL, &e, NOW_MS, &arena, &a);
    gate_judge(p, NULL, &e, NOW_MS, &arena, &b);
    assert_string_equal(a.reason, b.reason);
    assert_string_equal(a.rules.items[0].reason, b.rules.items[0].reason);
    arena_fini(&arena);
    pipeline_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case_has_its_written_outcome),
        cmocka_unit_test(facts_of_run_and_data_are_held_against_numbers),
        cmocka_unit_test(a_failed_evaluation_is_rejected_with_its_reason),
        cmocka_unit_test(the_same_inputs_give_the_same_decision),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
