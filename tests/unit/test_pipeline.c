/* What a declaration becomes.  Mistakes in one: test_pipeline_mistakes.c. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/digest.h"
#include "common/fsx.h"
#include "common/pipeline.h"

#define HEAD                                                                                       \
    "apiVersion: relearn/v1\n"                                                                     \
    "kind: Pipeline\n"                                                                             \
    "name: e\n"                                                                                    \
    "dataset: {name: d, label: y, segment: city}\n"                                                \
    "task: binary\n"

static const char design_example[] =
    "apiVersion: relearn/v1\n"
    "kind: Pipeline\n"
    "name: electricity\n"
    "dataset: {name: nsw-electricity, label: class, time: null, segment: null}    # in time order\n"
    "task: binary\n"
    "contract:\n"
    "  on_violation: reject            # reject | quarantine | warn\n"
    "  columns:\n"
    "    nswprice: {type: float, min: 0, max: 1, missing_at_most: 0.01}\n"
    "    period: {type: float, min: 0, max: 1}\n"
    "  rows: {at_least: 500}\n"
    "split: {by: order, valid: 0.15, test: 0.15}         # order | hash\n"
    "train:\n"
    "  trainer: xgboost                # or a name that the train agent's operator allows\n"
    "  window: {snapshots: 8}          # which accepted data a run learns from\n"
    "  params: {max_depth: 6, eta: 0.1, rounds: 200, early_stopping: 20}\n"
    "  search: {trials: 8, over: {max_depth: [4, 6, 8], eta: [0.05, 0.1, 0.3]}}\n"
    "  limits: {wall: 10m, memory: 2GiB}\n"
    "plan:\n"
    "  on: [dataset, drift]\n"
    "  quiet: 30s\n"
    "  cooldown: {after_promotion: 10m, after_rejection: 30m}\n"
    "  budget: {runs_per_day: 24, cpu: 2h}\n"
    "evaluate: {metrics: [auc, logloss, brier], slices: [period], confidence: 0.95}\n"
    "gate:\n"
    "  min_rows: 300\n"
    "  rules:\n"
    "    - {metric: auc, at_least: 0.70}\n"
    "    - {metric: auc, no_worse_than: champion, by: 0.005}\n"
    "    - {metric: logloss, slice: period, no_worse_than: champion, by: 0.02, severity: warn}\n"
    "  approval: automatic             # or manual\n"
    "deploy: {strategy: canary, steps: [10, 50, 100], interval: 60s}\n"
    "monitor:\n"
    "  window: {predictions: 500}\n"
    "  drift: {metric: psi, threshold: 0.2, consecutive: 2}\n"
    "  quality: {metric: auc, at_least: 0.65}\n";

static struct pipeline *parse(const char *text)
{
    struct pipeline *p = NULL;
    struct err err = {0};

    if (pipeline_parse(slice_str(text), "p.yaml", &p, &err))
        fail_msg("%s", err.msg);
    return p;
}

static struct pipeline *parse_with(const char *more)
{
    CLEANUP_FREE char *text = xasprintf("%s%s", HEAD, more);

    return parse(text);
}

static void example_of_the_design_is_read(void **state)
{
    struct pipeline *p = parse(design_example);
    char digest[DIGEST_HEX_SIZE];

    (void)state;
    assert_string_equal(p->name, "electricity");
    assert_string_equal(p->dataset, "nsw-electricity");
    assert_string_equal(p->label, "class");
    assert_null(p->time);
    assert_null(p->segment);
    assert_int_equal(p->task, TASK_BINARY);
    assert_int_equal(p->n_columns, 2);
    assert_string_equal(p->columns[0].name, "nswprice");
    assert_int_equal(p->columns[0].line, 9);
    assert_true(p->columns[0].max == 1 && p->columns[0].missing_at_most == 0.01);
    assert_true(isnan(p->columns[1].missing_at_most) && p->columns[1].on_violation == -1);
    assert_true(p->rows_at_least == 500 && p->rows_at_most == ABSENT_I64);
    assert_true(p->window == WINDOW_SNAPSHOTS && p->window_size == 8);
    assert_int_equal(p->n_params, 4);
    assert_string_equal(p->params[1].name, "eta");
    assert_string_equal(p->params[1].text, "0.1");
    assert_true(p->params[1].number == 0.1);
    assert_true(p->search == SEARCH_RANDOM && p->trials == 8 && p->n_axes == 2);
    assert_true(p->axes[0].n == 3 && p->axes[0].values[2].number == 8);
    assert_true(p->wall_ms == 600000 && p->memory_bytes == (int64_t)2 << 30 && p->cpu_ms == 0);
    assert_true(p->on_dataset && p->on_drift);
    assert_true(p->quiet_ms == 30000 && p->longest_wait_ms == 300000);
    assert_true(p->cooldown_promotion_ms == 600000 && p->cooldown_rejection_ms == 1800000);
    assert_true(p->runs_per_day == 24 && p->cpu_per_day_ms == 7200000);
    assert_int_equal(p->n_metrics, 3);
    assert_int_equal(p->n_slices, 1);
    assert_int_equal(p->n_rules, 3);
    assert_true(p->rules[0].kind == RULE_AT_LEAST && p->rules[0].bound == 0.70);
    assert_true(p->rules[1].kind == RULE_NO_WORSE_THAN && p->rules[1].by == 0.005);
    assert_string_equal(p->rules[1].baseline, "champion");
    assert_int_equal(p->rules[2].severity, SEVERITY_WARN);
    assert_true(p->strategy == STRATEGY_CANARY && p->n_steps == 3);
    assert_true(p->steps[0] == 0.1 && p->steps[2] == 1);
    assert_true(p->interval_ms == 60000 && p->window_predictions == 500);
    assert_true(p->quality_at_least == 0.65 && isnan(p->quality_at_most));
    digest_bytes(design_example, strlen(design_example), digest);
    assert_string_equal(p->sha256, digest);
    pipeline_free(p);
}

static void defaults_are_filled_in(void **state)
{
    struct pipeline *p = parse("apiVersion: relearn/v1\nkind: Pipeline\nname: e\n"
                               "dataset: {name: d, label: y}\ntask: regression\n"
                               "contract:\nplan:\n");

    (void)state;
    assert_true(p->max_segments == PIPELINE_MAX_SEGMENTS && p->valid == 0.15 && p->test == 0.15);
    assert_string_equal(p->trainer, "xgboost");
    assert_true(p->search == SEARCH_NONE && p->trials == 1);
    assert_true(p->quiet_ms == 0 && p->longest_wait_ms == 0 && p->max_hops == 32);
    assert_true(p->run_deadline_ms == 3600000 && p->runs_per_day == 0);
    assert_true(p->bootstrap_rounds == 400 && p->confidence == 0.95);
    assert_int_equal(p->n_metrics, 3);
    assert_string_equal(p->metrics[0], "rmse");
    assert_int_equal(p->n_rules, 1);
    assert_string_equal(p->rules[0].metric, "rmse");
    assert_true(p->approval == APPROVAL_AUTOMATIC && p->inconclusive == INCONCLUSIVE_REJECT);
    assert_int_equal(p->strategy, STRATEGY_REPLACE);
    assert_string_equal(p->canary_by, "request");
    assert_null(p->quality_metric);
    assert_true(p->lateness_ms == 86400000);
    pipeline_free(p);
}

/* Every key that the example of the design does not have. */
static void every_other_key_is_read(void **state)
{
    struct pipeline *p = parse(
        "apiVersion: relearn/v1\nkind: Pipeline\nname: a.b-c\ntask: binary\n"
        "dataset: {name: d, label: y, time: t, segment: s, segments: [x, 'Y.1'], max_segments: 7}\n"
        "positive: UP\nclasses: [DOWN, UP]\n"
        "contract:\n"
        "  columns:\n"
        "    day: {type: date, min: 2026-01-01, max: '2026-06-30T12:00:00Z', on_violation: warn}\n"
        "    kind: {type: category, allowed: [a, 'b c', 3]}\n"
        "    junk: {type: ignore}\n"
        "  other_columns: refuse\n"
        "  rows: {at_least: 1, at_most: 10}\n"
        "  seen_before_at_most: 0.5\n"
        "split: {by: hash, valid: 0}\n"
        "train: {trainer: my-net, window: {rows: 5000}, seed: 9, limits: {cpu: 1h},\n"
        "        params: {hidden: 3, mode: fast}}\n"
        "plan: {on: [], quiet: 1s, longest_wait: 90s, max_hops: 5, run_deadline: 26h,\n"
        "       cooldown: {after_failure: 5m}}\n"
        "evaluate: {bootstrap_rounds: 1000, test_snapshots: 2}\n"
        "gate:\n"
        "  rules:\n"
        "    - {metric: f1, better_than: champion, by: 0.1, by_interval: true, severity: observe}\n"
        "    - {metric: logloss, slice: kind, at_most: 0.9}\n"
        "  approval: {manual: {deadline: 25h}}\n"
        "  inconclusive: ask\n"
        "deploy: {strategy: canary, by: customer, min_predictions: 0}\n"
        "monitor: {quality: {metric: logloss, at_most: 0.7}, lateness: 2h}\n");

    (void)state;
    assert_string_equal(p->time, "t");
    assert_int_equal(p->n_segments, 2);
    assert_string_equal(p->segments[1], "Y.1");
    assert_int_equal(p->max_segments, 7);
    assert_string_equal(p->positive, "UP");
    assert_int_equal(p->n_classes, 2);
    assert_true(p->columns[0].min == 1767225600 && p->columns[0].max == 1782820800);
    assert_int_equal(p->columns[0].on_violation, VIOLATION_WARN);
    assert_int_equal(p->columns[1].n_allowed, 3);
    assert_string_equal(p->columns[1].allowed[2], "3");
    assert_int_equal(p->columns[2].type, COLUMN_IGNORE);
    assert_true(p->strict_columns && p->rows_at_most == 10 && p->seen_before_at_most == 0.5);
    assert_true(p->split_by == SPLIT_HASH && p->valid == 0);
    assert_string_equal(p->trainer, "my-net");
    assert_true(p->window == WINDOW_ROWS && p->window_size == 5000 && p->seed == 9);
    assert_true(isnan(p->params[1].number) && p->cpu_ms == 3600000);
    assert_string_equal(p->params[1].text, "fast");
    assert_true(!p->on_dataset && !p->on_drift && p->longest_wait_ms == 90000);
    assert_true(p->max_hops == 5 && p->run_deadline_ms == 26 * 3600000);
    assert_int_equal(p->cooldown_failure_ms, 300000);
    assert_true(p->bootstrap_rounds == 1000 && p->test_snapshots == 2);
    assert_true(p->rules[0].kind == RULE_BETTER_THAN && p->rules[0].by_interval);
    assert_true(p->rules[1].kind == RULE_AT_MOST && p->rules[1].bound == 0.9);
    assert_true(p->approval == APPROVAL_MANUAL && p->approval_deadline_ms == 25 * 3600000);
    assert_int_equal(p->inconclusive, INCONCLUSIVE_ASK);
    assert_string_equal(p->canary_by, "customer");
    assert_true(p->n_steps == 3 && p->canary_min_predictions == 0);
    assert_true(p->quality_at_most == 0.7 && p->lateness_ms == 7200000);
    pipeline_free(p);
}

/* The reference that people copy from; tests run in the root of the tree. */
static void the_page_of_all_keys_is_read(void **state)
{
    CLEANUP(buf_fini) struct buf text = {0};
    struct pipeline *p;
    struct err err = {0};

    (void)state;
    if (fsx_read_file("common/pipeline.yaml", PIPELINE_MAX_BYTES, &text, &err))
        fail_msg("%s", err.msg);
    p = parse(text.data);
    assert_int_equal(p->n_rules, 7);
    assert_int_equal(p->approval, APPROVAL_MANUAL);
    pipeline_free(p);
}

/* A rule on what is not evaluated would be inconclusive for ever. */
static void metrics_and_slices_of_rules_are_evaluated_too(void **state)
{
    struct pipeline *p = parse_with("evaluate: {metrics: [auc], slices: [a]}\n"
                                    "gate: {rules: [{metric: auc, at_least: 0.5, slice: b},\n"
                                    "               {metric: brier, at_most: 0.5, slice: a}]}\n");

    (void)state;
    assert_int_equal(p->n_metrics, 2);
    assert_string_equal(p->metrics[1], "brier");
    assert_int_equal(p->n_slices, 2);
    assert_string_equal(p->slices[1], "b");
    pipeline_free(p);
}

static void search_is_a_grid_when_the_trials_cover_it(void **state)
{
    static const struct {
        const char *search;
        enum search_kind kind;
        int64_t trials;
    } cases[] = {
        {"{over: {eta: [0.1, 0.2], max_depth: [3, 4]}}", SEARCH_GRID, 4},
        {"{trials: 4, over: {eta: [0.1, 0.2], max_depth: [3, 4]}}", SEARCH_GRID, 4},
        {"{trials: 50, over: {eta: [0.1, 0.2]}}", SEARCH_GRID, 2},
        {"{trials: 3, over: {eta: [0.1, 0.2], max_depth: [3, 4]}}", SEARCH_RANDOM, 3},
        {"{by: random, over: {eta: [0.1, 0.2]}}", SEARCH_RANDOM, 16},
        {"{by: grid, over: {eta: [0.1, 0.2]}}", SEARCH_GRID, 2},
        {"{over: {eta: [0.1, 0.2, 0.3, 0.4, 0.5], max_depth: [1, 2, 3, 4, 5, 6]}}", SEARCH_RANDOM,
         16},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_FREE char *more = xasprintf("train: {search: %s}\n", cases[i].search);
        struct pipeline *p = parse_with(more);

        if (p->search != cases[i].kind || p->trials != cases[i].trials)
            fail_msg("%s: kind %d, %lld trials", cases[i].search, (int)p->search,
                     (long long)p->trials);
        pipeline_free(p);
    }
}

static void deadline_of_a_run_covers_what_it_waits_for(void **state)
{
    struct pipeline *p =
        parse_with("gate: {approval: manual}\n"
                   "deploy: {strategy: canary, steps: [1, 5, 100], interval: 10m}\n");

    (void)state;
    assert_true(p->run_deadline_ms == 3600000 + 86400000 + 2 * 600000);
    pipeline_free(p);
}

static void names_of_pipelines_segments_and_lines(void **state)
{
    static const char *const bad[] = {"",      "/",    "A",   "-a",  "a/",
                                      "a/b/c", "a/.b", "a/-", "a b", "a/b c"};
    char pipeline[PIPELINE_NAME_MAX + 1], segment[PIPELINE_NAME_MAX + 1],
        longest[PIPELINE_NAME_MAX + 2];
    CLEANUP(buf_fini) struct buf b = {0};

    (void)state;
    assert_true(line_split("a", pipeline, segment));
    assert_string_equal(segment, "");
    assert_true(line_split("a.1/S_2", pipeline, segment));
    assert_string_equal(pipeline, "a.1");
    assert_string_equal(segment, "S_2");
    line_name(pipeline, segment, &b);
    assert_string_equal(b.data, "a.1/S_2");
    buf_reset(&b);
    line_name("a", NULL, &b);
    assert_string_equal(b.data, "a");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (line_split(bad[i], pipeline, segment))
            fail_msg("'%s' is no line", bad[i]);
    memset(longest, 'a', sizeof(longest));
    longest[PIPELINE_NAME_MAX] = '\0';
    assert_true(pipeline_name_is_valid(longest) && segment_is_valid(longest));
    longest[PIPELINE_NAME_MAX] = 'a';
    longest[PIPELINE_NAME_MAX + 1] = '\0';
    assert_false(pipeline_name_is_valid(longest) || segment_is_valid(longest));
}

static void rules_are_told_in_words(void **state)
{
    static const struct {
        struct gate_rule rule;
        const char *words;
    } cases[] = {
        {{.kind = RULE_AT_LEAST, .metric = "auc", .bound = 0.7}, "auc at least 0.7"},
        {{.kind = RULE_AT_MOST, .metric = "rmse", .bound = 3}, "rmse at most 3"},
        {{.kind = RULE_NO_WORSE_THAN, .metric = "auc", .by = 0.005, .baseline = "champion"},
         "auc no worse than champion by 0.005"},
        {{.kind = RULE_NO_WORSE_THAN, .metric = "auc", .baseline = "champion"},
         "auc no worse than champion"},
        {{.kind = RULE_BETTER_THAN,
          .metric = "f1",
          .by = 0.1,
          .by_interval = true,
          .baseline = "champion"},
         "f1 better than champion by 0.1, by the interval"},
        {{.kind = RULE_NO_WORSE_THAN,
          .metric = "logloss",
          .slice = "period",
          .by = 0.02,
          .baseline = "champion"},
         "logloss on each period no worse than champion by 0.02"},
        {{.kind = RULE_AT_LEAST,
          .metric = "auc",
          .slice = "shop",
          .slice_value = "north",
          .bound = 0.5},
         "auc on shop=north at least 0.5"},
        {{.kind = RULE_AT_LEAST, .metric = "auc", .slice = RULE_EVERY_SLICE, .bound = 0.5},
         "auc on every slice at least 0.5"},
        {{.kind = RULE_BETTER_THAN,
          .metric = "auc",
          .by = 0.02,
          .is_relative = true,
          .baseline = "naive"},
         "auc better than naive by 2%"},
        {{.kind = RULE_AT_MOST, .fact = "data_age_hours", .bound = 24},
         "data_age_hours at most 24"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(buf_fini) struct buf b = {0};

        gate_rule_str(&cases[i].rule, &b);
        assert_string_equal(b.data, cases[i].words);
    }
    assert_string_equal(task_str(TASK_BINARY), "binary");
    assert_string_equal(task_str(TASK_MULTICLASS), "multiclass");
    assert_string_equal(task_str(TASK_REGRESSION), "regression");
    assert_string_equal(severity_str(SEVERITY_BLOCK), "block");
    assert_string_equal(severity_str(SEVERITY_WARN), "warn");
    assert_string_equal(severity_str(SEVERITY_OBSERVE), "observe");
    for (int t = 0; t < COLUMN_TYPE_COUNT; t++)
        assert_string_not_equal(column_type_str((enum column_type)t), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(example_of_the_design_is_read),
        cmocka_unit_test(defaults_are_filled_in),
        cmocka_unit_test(every_other_key_is_read),
        cmocka_unit_test(the_page_of_all_keys_is_read),
        cmocka_unit_test(metrics_and_slices_of_rules_are_evaluated_too),
        cmocka_unit_test(search_is_a_grid_when_the_trials_cover_it),
        cmocka_unit_test(deadline_of_a_run_covers_what_it_waits_for),
        cmocka_unit_test(names_of_pipelines_segments_and_lines),
        cmocka_unit_test(rules_are_told_in_words),
    };

    return cmocka_run_group_tests_name("pipeline", tests, NULL, NULL);
}
