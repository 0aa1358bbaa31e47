/* Each mistake in a declaration is named where it stands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/pipeline.h"

/* Five lines; what a case adds begins at line 6. */
#define HEAD                                                                                       \
    "apiVersion: relearn/v1\n"                                                                     \
    "kind: Pipeline\n"                                                                             \
    "name: e\n"                                                                                    \
    "dataset: {name: d, label: y, segment: city}\n"                                                \
    "task: binary\n"

#define BINARY_METRICS                                                                             \
    "accuracy, balanced_accuracy, precision, recall, f1, fbeta(2), mcc, auc, auc_pr, logloss, "    \
    "brier, ece, cost, ndcg@10, map@10"

static const struct {
    const char *more;  /* from line 6 on */
    const char *error; /* after "p.yaml:" */
} mistakes[] = {
    /* keys */
    {"trian: 3\n",
     "6: trian: unknown key; did you mean 'train'? Known: apiVersion, kind, name, dataset, task, "
     "positive, classes, contract, split, train, plan, evaluate, gate, deploy, monitor"},
    {"plan:\n  quite: 3s\n", "7: plan.quite: unknown key; did you mean 'quiet'? Known: on, quiet, "
                             "longest_wait, cooldown, budget, max_hops, run_deadline"},
    {"split:\n  by: order\n  zzz: 1\n", "8: split.zzz: unknown key; known: by, valid, test"},
    {"contract: {columns: {a: {type: float, maximum: 1}}}\n",
     "6: contract.columns.a.maximum: unknown key; did you mean 'max'? Known: type, min, max, "
     "missing_at_most, allowed, on_violation"},
    {"gate:\n  rules:\n    - {metric: auc, at_least: 0.5}\n    - {metric: auc, atleast: 0.5}\n",
     "9: gate.rules[1].atleast: unknown key; did you mean 'at_least'? Known: metric, fact, "
     "at_least, "
     "at_most, no_worse_than, better_than, by, by_interval, slice, severity"},
    {"plan: {budget: {runs: 3}}\n",
     "6: plan.budget.runs: unknown key; did you mean 'runs_per_day'? Known: runs_per_day, cpu"},
    {"train: {params: {max_dpeth: 3}}\n",
     "6: train.params.max_dpeth: unknown XGBoost parameter; did you mean 'max_depth'? Known: "
     "rounds, early_stopping, eta, learning_rate, gamma, min_split_loss, max_depth, "
     "min_child_weight, max_delta_step, subsample, colsample_bytree, colsample_bylevel, "
     "colsample_bynode, lambda, reg_lambda, alpha, ..."},
    {"train:\n  search:\n    trials: 3\n",
     "8: train.search.over: missing: which parameters to try, such as {max_depth: [4, 6, 8]}"},
    {"contract: {columns: {a: {min: 1}}}\n",
     "6: contract.columns.a.type: missing: float, int, category, date, bool or ignore"},
    {"gate: {rules: [{at_least: 1}]}\n",
     "6: gate.rules[0]: needs exactly one of metric (accuracy, auc, logloss, ...) and fact "
     "(trained_rows, data_age_hours, ...)"},
    {"gate: {approval: {manual: }}\n", "6: gate.approval.manual: missing: {deadline: 24h}"},
    {"gate: {approval: {automatic: {}}}\n",
     "6: gate.approval.automatic: unknown key; known: manual"},

    /* types */
    {"split: 3\n", "6: split: must be a mapping, not '3'"},
    {"train: [xgboost]\n", "6: train: must be a mapping, not a list"},
    {"gate: {rules: {metric: auc}}\n", "6: gate.rules: must be a list of 1 to 64 rules"},
    {"gate: {rules: [auc]}\n", "6: gate.rules[0]: must be a mapping, not 'auc'"},
    {"gate: {min_rows: many}\n",
     "6: gate.min_rows: must be a whole number from 1 to 1000000000, not 'many'"},
    {"gate: {min_rows: \"300\"}\n",
     "6: gate.min_rows: must be a whole number from 1 to 1000000000, not the text '300'"},
    {"gate: {min_rows: 1.5}\n",
     "6: gate.min_rows: must be a whole number from 1 to 1000000000, not '1.5'"},
    {"evaluate: {metrics: auc}\n", "6: evaluate.metrics: must be a list, not 'auc'"},
    {"evaluate: {metrics: [[auc]]}\n", "6: evaluate.metrics[0]: must be a metric, not a list"},
    {"evaluate: {slices: [a, ~]}\n",
     "6: evaluate.slices[1]: must be the name of a column, not nothing"},
    {"train: {params: {eta: [1]}}\n",
     "6: train.params.eta: must be a number or a word, not a list"},
    {"train: {params: {eta: fast}}\n",
     "6: train.params.eta: must be a number above 0 and at most 1, not 'fast'"},
    {"train: {window: 8}\n", "6: train.window: must be {snapshots: N}, {rows: N} or all, not '8'"},
    {"plan: {quiet: 30}\n",
     "6: plan.quiet: must be a duration such as 30s, 10m or 2h, from 0s to 7d, not '30'"},
    {"plan: {on: dataset}\n",
     "6: plan.on: must be a list: [dataset, drift], one of them, or none, not 'dataset'"},
    {"gate: {rules: [{metric: auc, no_worse_than: 0.7}]}\n",
     "6: gate.rules[0].no_worse_than: unknown value '0.7'; known: champion, best, last_good, "
     "naive, last_value, golden"},
    {"gate: {rules: [{metric: auc, better_than: champion, by_interval: yes}]}\n",
     "6: gate.rules[0].by_interval: must be true or false, not 'yes'"},
    {"train: {limits: {memory: lots}}\n", "6: train.limits.memory: must be a size such as 64MiB or "
                                          "2GiB, from 64MiB to 1TiB, not 'lots'"},
    {"deploy: {strategy: [canary]}\n",
     "6: deploy.strategy: must be one word, not a list; known: replace, ..."},

    /* ranges and words */
    {"split: {test: 0}\n", "6: split.test: must be a number above 0 and below 1, not '0'"},
    {"split: {valid: -0.1}\n",
     "6: split.valid: must be a number at least 0 and below 1, not '-0.1'"},
    {"evaluate: {confidence: 95}\n",
     "6: evaluate.confidence: must be a number from 0.5 to 0.999, not '95'"},
    {"evaluate: {confidence: .nan}\n",
     "6: evaluate.confidence: must be a number from 0.5 to 0.999, not '.nan'"},
    {"train: {limits: {wall: 8d}}\n",
     "6: train.limits.wall: must be a duration such as 30s, 10m or 2h, from 1s to 7d, not '8d'"},
    {"plan: {budget: {runs_per_day: 0}}\n",
     "6: plan.budget.runs_per_day: must be a whole number from 1 to 100000, not '0'"},
    {"split: {by: time}\n", "6: split.by: unknown value 'time'; known: order, hash"},
    {"plan: {on: [drifts]}\n",
     "6: plan.on[0]: unknown value 'drifts'; did you mean 'drift'? Known: dataset, drift"},
    {"plan: {on: [drift, drift]}\n", "6: plan.on[1]: 'drift' is listed twice"},
    {"monitor: {drift: {metric: ks}}\n", "6: monitor.drift.metric: unknown value 'ks'; known: psi"},
    {"monitor: {window: {predictions: 3}}\n",
     "6: monitor.window.predictions: must be a whole number from 20 to 1000000, not '3'"},
    {"gate: {rules: [{metric: auc, no_worse_than: champion, by: -0.1}]}\n",
     "6: gate.rules[0].by: must be a number at least 0, not '-0.1'"},
    {"gate: {rules: [{metric: auc, no_worse_than: champion, by: 200%}]}\n",
     "6: gate.rules[0].by: must be a number at least 0, or 0% to 100%, not '200%'"},
    {"gate: {rules: [{metric: auc, fact: trained_rows, at_least: 1}]}\n",
     "6: gate.rules[0]: needs exactly one of metric (accuracy, auc, logloss, ...) and fact "
     "(trained_rows, data_age_hours, ...)"},
    {"gate: {rules: [{fact: trained_row, at_least: 1}]}\n",
     "6: gate.rules[0].fact: unknown fact 'trained_row'; did you mean 'trained_rows'? Known: "
     "trained_rows, valid_rows, train_seconds, train_cpu_seconds, train_memory, evaluated_rows, "
     "data_rows, data_age_hours, data_violations, quarantined_share, seen_before_share"},
    {"gate: {rules: [{fact: trained_rows, slice: a, at_least: 1}]}\n",
     "6: gate.rules[0]: a fact is of the whole run: it has no slice"},
    {"gate: {rules: [{fact: trained_rows, better_than: champion}]}\n",
     "6: gate.rules[0]: a fact is held against a number: at_least or at_most"},
    {"gate: {rules: [{metric: auc, slice: a, better_than: naive}]}\n",
     "6: gate.rules[0]: on slices only the champion is compared with, naive on all rows alone"},
    {"gate: {rules: [{metric: auc, slice: a=, at_least: 0.5}]}\n",
     "6: gate.rules[0]: slice 'a=': write COLUMN=VALUE"},
    {"gate: {rules: [{metric: auc, slice: '*', at_least: 0.5}]}\n",
     "6: gate.rules[0].slice: every slice of which columns? name them in evaluate.slices"},
    {"gate: {ratchet: {metric: auc, by: 0.1}}\n",
     "6: gate.ratchet: needs one of window (30d) and generations (20)"},
    {"gate: {ratchet: {metric: auc, window: 30d}}\n",
     "6: gate.ratchet.by: missing: how much they may add up to"},
    {"gate: {ratchet: {metric: rmse, by: 1, window: 30d}}\n",
     "6: gate.ratchet.metric: 'rmse' is no metric of a binary task; known: accuracy, "
     "balanced_accuracy, precision, recall, f1, fbeta(2), mcc, auc, auc_pr, logloss, brier, ece, "
     "cost, ndcg@10, map@10"},
    {"gate: {freeze: [{from: 2026-12-20, to: 2026-12-19, why: w}]}\n",
     "6: gate.freeze[0]: to must be after from, by 60 days at most"},
    {"gate: {freeze: [{from: 2026-12-20, to: 'fri 16:00', why: w}]}\n",
     "6: gate.freeze[0]: from and to are both a time such as 2026-12-20 or 2026-12-20T16:00:00Z, "
     "or "
     "both a minute of the week such as 'fri 16:00' (UTC)"},
    {"gate: {freeze: [{from: 'fri 16:00', to: 'fri 16:00', why: w}]}\n",
     "6: gate.freeze[0]: from and to are the same minute"},
    {"gate: {freeze: [{from: 'fri 16:00', to: 'fri 24:00', why: w}]}\n",
     "6: gate.freeze[0]: from and to are both a time such as 2026-12-20 or 2026-12-20T16:00:00Z, "
     "or "
     "both a minute of the week such as 'fri 16:00' (UTC)"},
    {"gate: {freeze: [{from: 2026-12-20, to: 2026-12-21}]}\n",
     "6: gate.freeze[0].why: missing: for whom it holds up"},
    {"gate: {approval: {manual: {people: {ann: risk}, approvals: 2}}}\n",
     "6: gate.approval: 2 approvals are asked of 1 people"},
    {"gate: {approval: {manual: {people: [ann]}}}\n",
     "6: gate.approval.manual.people: must be 1 to 64 names with a role each: {ann: risk}"},
    {"gate: {approval: {manual: {approvals: 3}}}\n",
     "6: gate.approval.manual.approvals: must be a whole number from 1 to 2, not '3'"},
    {"gate: {inconclusive: hope}\n",
     "6: gate.inconclusive: unknown value 'hope'; known: reject, promote, ask"},
    {"gate: {inconclusive: {wait: {rows: 5}}}\n",
     "6: gate.inconclusive.wait.deadline: missing: until when they are waited for"},
    {"gate: {inconclusive: {wait: {deadline: 1h}}}\n",
     "6: gate.inconclusive.wait.rows: missing: how many more test rows are waited for"},
    {"gate: {inconclusive: {wait: {rows: 5, deadline: 1h, then: wait}}}\n",
     "6: gate.inconclusive.wait.then: unknown value 'wait'; known: reject, promote, ask"},
    {"plan: {run_deadline: 1h}\ngate: {inconclusive: {wait: {rows: 5, deadline: 2h}}}\n",
     "6: plan.run_deadline: a run may take 2h10m by train.limits.wall, the wait for more rows: "
     "give "
     "it that long at least"},
    {"gate: {rules: []}\n", "6: gate.rules: must be a list of 1 to 64 rules"},
    {"contract: {columns: {a: {type: text}}}\n",
     "6: contract.columns.a.type: unknown value 'text'; known: float, int, category, date, bool, "
     "ignore"},
    {"train: {trainer: ../sh}\n", "6: train.trainer: must be xgboost or a name that the train "
                                  "agent's operator allows, not '../sh'"},
    {"train: {trainer: t, params: {'a b': 1}}\n",
     "6: train.params.a b: a parameter's name is 1 to 64 of A-Z a-z 0-9 _ . -, beginning with a "
     "letter or _"},
    {"train: {window: {snapshots: 8, rows: 3}}\n",
     "6: train.window: must be one of {snapshots: N}, {rows: N} or all"},
    {"train: {params: {booster: gblinear}}\n",
     "6: train.params.booster: unknown value 'gblinear'; known: gbtree, dart"},

    /* columns */
    {"contract: {columns: {y: {type: ignore}}}\n",
     "6: contract.columns.y: the pipeline uses this column, so it cannot be ignored"},
    {"contract: {columns: {a: {type: bool, min: 0}}}\n",
     "6: contract.columns.a.min: does not go with a column of type bool"},
    {"contract: {columns: {a: {type: int, allowed: [1]}}}\n",
     "6: contract.columns.a.allowed: does not go with a column of type int"},
    {"contract: {columns: {a: {type: ignore, missing_at_most: 0}}}\n",
     "6: contract.columns.a.missing_at_most: does not go with a column of type ignore"},
    {"contract: {columns: {a: {type: float, min: 2, max: 1}}}\n",
     "6: contract.columns.a.max: is less than min"},
    {"contract: {columns: {a: {type: float, min: 2026-01-01}}}\n",
     "6: contract.columns.a.min: must be a number, not '2026-01-01'"},
    {"contract: {columns: {a: {type: date, min: Monday}}}\n",
     "6: contract.columns.a.min: must be a number, or a date such as 2026-01-31, not 'Monday'"},
    {"contract: {columns: {a: {type: category, allowed: [x, x]}}}\n",
     "6: contract.columns.a.allowed[1]: 'x' is listed twice"},
    {"contract: {rows: {at_least: 9, at_most: 8}}\n",
     "6: contract.rows.at_most: is less than at_least"},
    {"evaluate: {slices: [y]}\n", "6: evaluate.slices[0]: 'y' is the label"},
    {"evaluate: {slices: [city]}\n",
     "6: evaluate.slices[0]: 'city' is the segment column: within a line it is always the same"},
    {"contract: {columns: {a: {type: ignore}}}\ngate: {rules: [{metric: auc, at_least: 0.5, slice: "
     "a}]}\n",
     "7: gate.rules[0].slice: 'a' is ignored by contract.columns, so no snapshot has it"},

    /* metrics and rules */
    {"gate: {rules: [{metric: auc, at_least: 0.5}, {metric: acc, at_least: 0.3}]}\n",
     "6: gate.rules[1].metric: unknown metric 'acc'; did you mean 'accuracy'? "
     "Known: " BINARY_METRICS},
    {"evaluate: {metrics: [auc, rmse]}\n", "6: evaluate.metrics[1]: 'rmse' is no metric of a "
                                           "binary task; known: " BINARY_METRICS},
    {"evaluate: {metrics: [auc, fbeta]}\n",
     "6: evaluate.metrics[1]: 'fbeta': give beta, above 0 and at most 100, and perhaps one of "
     "micro, macro, weighted: fbeta(2), fbeta(0.5 macro)"},
    {"gate: {rules: [{metric: precision(marco), at_least: 0.5}]}\n",
     "6: gate.rules[0].metric: 'precision(marco)': takes one of micro, macro, weighted, or "
     "nothing"},
    {"evaluate: {metrics: [fbeta(2), fbeta(2.0)]}\n",
     "6: evaluate.metrics: 'fbeta(2)' and 'fbeta(2.0)' are the same metric"},
    {"gate: {rules: [{metric: mcc, at_least: -2}]}\n",
     "6: gate.rules[0].at_least: mcc is never less than -1"},
    {"evaluate: {metrics: [ndcg@10]}\n",
     "6: evaluate.metrics[0]: 'ndcg@10' ranks the rows of a group: name their column in "
     "evaluate.group"},
    {"evaluate: {weight: y}\n", "6: evaluate.weight: 'y' is the label"},
    {"evaluate: {cost: {}}\n", "6: evaluate.cost: needs value, matrix or both"},
    {"evaluate: {cost: {matrix: {a: {b: value}}}}\n",
     "6: evaluate.cost.matrix: says value: name the column in evaluate.cost.value"},
    {"evaluate: {cost: {value: v, matrix: {a: {b: 1}}}}\n",
     "6: evaluate.cost.value: no entry of evaluate.cost.matrix says value"},
    {"evaluate: {cost: {matrix: {a: {b: much}}}}\n",
     "6: evaluate.cost.matrix.a.b: must be a number, or the word value: the row's value, not "
     "'much'"},
    {"classes: [a, b]\nevaluate: {cost: {matrix: {a: {c: 1}}}}\n",
     "7: evaluate.cost.matrix: 'c' is not one of classes"},
    {"evaluate: {group: g}\nmonitor: {quality: {metric: ndcg@3, at_least: 0.5}}\n",
     "7: monitor.quality.metric: 'ndcg@3' cannot be told from predictions and labels alone"},
    {"evaluate: {metrics: [cost]}\n",
     "6: evaluate.metrics[0]: 'cost' needs evaluate.cost, what wrong answers cost"},
    {"gate: {rules: [{metric: auc, at_least: 0.5, at_most: 0.9}]}\n",
     "6: gate.rules[0]: needs exactly one of at_least, at_most, no_worse_than, better_than, and "
     "has 2"},
    {"gate: {rules: [{metric: auc}]}\n", "6: gate.rules[0]: needs exactly one of at_least, "
                                         "at_most, no_worse_than, better_than, and has 0"},
    {"gate: {rules: [{metric: auc, at_least: 0.5, by: 0.1}]}\n",
     "6: gate.rules[0]: by and by_interval go with no_worse_than and better_than, not with "
     "at_least"},
    {"gate: {rules: [{metric: auc, at_least: 70}]}\n",
     "6: gate.rules[0].at_least: auc is never more than 1"},
    {"gate: {rules: [{metric: logloss, at_most: -1}]}\n",
     "6: gate.rules[0].at_most: logloss is never less than 0"},
    {"gate:\n  rules:\n    - {metric: auc, at_least: 0.5}\n    - {metric: auc, at_least: 0.6}\n",
     "9: gate.rules[1].at_least: the same rule as gate.rules[0]; one of them can go"},
    {"monitor: {quality: {metric: auc}}\n",
     "6: monitor.quality: needs one of at_least and at_most"},
    {"monitor: {quality: {metric: auc, at_most: 0.9}}\n",
     "6: monitor.quality.at_most: auc is better when it is higher: at_least"},
    {"monitor: {quality: {metric: logloss, at_least: 0.9}}\n",
     "6: monitor.quality.at_least: logloss is better when it is lower: at_most"},

    /* keys against each other */
    {"positive: a\nclasses: [b, c]\n", "6: positive: 'a' is not one of classes"},
    {"classes: [a, b, c]\n", "6: classes: 3 classes; task: binary has two"},
    {"classes: [a, a]\n", "6: classes[1]: 'a' is listed twice"},
    {"split: {valid: 0.5, test: 0.5}\n", "6: split: valid 0.5 and test 0.5 leave nothing to train "
                                         "on: together they must be less than 1"},
    {"split: {valid: 0}\ntrain: {params: {early_stopping: 3}}\n",
     "7: train.params.early_stopping: needs split.valid of more than 0"},
    {"split: {valid: 0}\ntrain: {search: {over: {eta: [0.1, 0.2]}}}\n",
     "6: split.valid: must be more than 0: the trials of train.search are compared on it"},
    {"train: {search: {by: grid, trials: 3, over: {eta: [0.1, 0.2], gamma: [0, 1]}}}\n",
     "6: train.search.trials: the grid has 4 points: leave trials out, or say by: random"},
    {"train: {search: {over: {eta: [0.1, 7]}}}\n",
     "6: train.search.over.eta[1]: must be a number above 0 and at most 1, not '7'"},
    {"plan: {quiet: 10s, longest_wait: 5s}\n", "6: plan.longest_wait: is less than plan.quiet"},
    {"plan: {run_deadline: 5m}\n",
     "6: plan.run_deadline: a run may take 10m by train.limits.wall: give it that long at least"},
    {"plan: {run_deadline: 2h}\ngate: {approval: manual}\n",
     "6: plan.run_deadline: a run may take 1d10m by train.limits.wall, the approval's deadline: "
     "give it that long at least"},
    {"deploy: {steps: [10, 100]}\n", "6: deploy.steps: goes with strategy: canary"},
    {"deploy: {strategy: canary, steps: [10, 50]}\n",
     "6: deploy.steps[1]: the last step must be 100"},
    {"deploy: {strategy: canary, steps: [50, 10, 100]}\n",
     "6: deploy.steps[1]: must be more than the step before it"},
    {"deploy: {strategy: canary, steps: [0, 100]}\n",
     "6: deploy.steps[0]: must be a number above 0 and at most 100, not '0'"},
    {"deploy: {strategy: canary, steps: 100}\n",
     "6: deploy.steps: must be a list of 1 to 20 percentages that rises to 100, such as [10, 50, "
     "100]"},
};

static void expect_error(const char *text, const char *error)
{
    struct pipeline *p = NULL, untouched = {0}, *ret = &untouched;
    struct err err = {0};

    if (!pipeline_parse(slice_str(text), "p.yaml", &ret, &err))
        fail_msg("accepted:\n%s", text);
    assert_ptr_equal(ret, &untouched);
    assert_null(p);
    assert_int_equal(err.next, NEXT_REJECT);
    if (strncmp(err.msg, "p.yaml:", 7) != 0 || strcmp(err.msg + 7, error) != 0)
        fail_msg("%s\n  said:     %s\n  expected: p.yaml:%s", text, err.msg, error);
}

static void each_mistake_is_named_with_line_and_path(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(mistakes); i++) {
        CLEANUP_FREE char *text = xasprintf("%s%s", HEAD, mistakes[i].more);

        expect_error(text, mistakes[i].error);
    }
}

static void mistakes_in_the_first_lines_are_named(void **state)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"apiVersion: relearn/v2\n",
         "1: apiVersion: unknown value 'relearn/v2'; did you mean 'relearn/v1'? Known: relearn/v1"},
        {"kind: Pipeline\n", "1: apiVersion: missing: relearn/v1"},
        {"apiVersion: relearn/v1\nkind: Job\n", "2: kind: unknown value 'Job'; known: Pipeline"},
        {"apiVersion: relearn/v1\nkind: Pipeline\nname: Big\n",
         "3: name: must be 1 to 64 of a-z 0-9 . _ -, beginning with a letter or digit, not 'Big'"},
        {"apiVersion: relearn/v1\nkind: Pipeline\nname: e\ndataset: {name: d}\n",
         "4: dataset.label: missing: the column that is to be predicted"},
        {"apiVersion: relearn/v1\nkind: Pipeline\nname: e\ndataset: {name: a/b, label: y}\n",
         "4: dataset.name: must be 1 to 128 of A-Z a-z 0-9 . _ -, beginning with a letter or "
         "digit, not 'a/b'"},
        {"apiVersion: relearn/v1\nkind: Pipeline\nname: e\ndataset: {name: d, label: y, time: "
         "y}\ntask: binary\n",
         "4: dataset.time: 'y' is the label"},
        {"apiVersion: relearn/v1\nkind: Pipeline\nname: e\ndataset: {name: d, label: y, segments: "
         "[a]}\ntask: binary\n",
         "4: dataset.segments: needs dataset.segment, the column that has these values"},
        {"apiVersion: relearn/v1\nkind: Pipeline\nname: e\ndataset: {name: d, label: y, segment: "
         "s, segments: [a/b]}\ntask: binary\n",
         "4: dataset.segments[0]: must be a segment: 1 to 64 of A-Z a-z 0-9 . _ -, not beginning "
         "with . or -, not 'a/b'"},
        {"apiVersion: relearn/v1\nkind: Pipeline\nname: e\ndataset: {name: d, label: y}\ntask: "
         "regression\npositive: x\n",
         "6: positive: goes with task: binary, not with regression"},
        {"apiVersion: relearn/v1\nkind: Pipeline\nname: e\ndataset: {name: d, label: y}\ntask: "
         "regression\nclasses: [x, z]\n",
         "6: classes: a regression has none"},
        {"apiVersion: relearn/v1\nkind: Pipeline\nname: e\ndataset: {name: d, label: ''}\n",
         "4: dataset.label: must be 1 to 256 bytes of text without control characters"},
        {"~\n", "1: empty; a pipeline begins with 'apiVersion: relearn/v1'"},
        {"[]\n", "1: must be a mapping, not a list"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_error(cases[i].text, cases[i].error);
}

static void too_long_a_text_is_refused_unread(void **state)
{
    CLEANUP_FREE char *text = xmalloc(PIPELINE_MAX_BYTES + 2);
    struct pipeline *p = NULL;
    struct err err = {0};

    (void)state;
    memset(text, '#', PIPELINE_MAX_BYTES + 1);
    text[PIPELINE_MAX_BYTES + 1] = '\0';
    assert_int_equal(pipeline_parse(slice_str(text), "p.yaml", &p, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    assert_int_equal(pipeline_parse(slice_str("{"), "p.yaml", &p, NULL), -1);
    pipeline_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_mistake_is_named_with_line_and_path),
        cmocka_unit_test(mistakes_in_the_first_lines_are_named),
        cmocka_unit_test(too_long_a_text_is_refused_unread),
    };

    return cmocka_run_group_tests_name("pipeline_mistakes", tests, NULL, NULL);
}
