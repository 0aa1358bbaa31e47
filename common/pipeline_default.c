/* What a pipeline is when its user says nothing, all of it in this file; and the checks between
 * keys.
 *
 * A loop that is declared with nothing but a name, a dataset, a label and a task reacts to every
 * accepted dataset and every drift alert at once, learns from the eight newest snapshots, and
 * promotes a candidate that is no worse than the champion on the same rows. */
#include <math.h>

#include "common/metrics.h"
#include "common/pipeline_internal.h"

enum {
    SECOND_MS = 1000,
    MINUTE_MS = 60 * SECOND_MS,
    HOUR_MS = 60 * MINUTE_MS,
    DAY_MS = 24 * HOUR_MS,
    /* of a search without `trials`: the whole grid up to here, random points beyond */
    DEFAULT_TRIALS = 16,
    /* plan.longest_wait without a value: so many times plan.quiet */
    QUIET_TIMES = 10,
};

/* Hops count the events of a causal chain.  One round of the loop, from a dataset or an alert over
 * plan, model, evaluation and decision to the deployment, is 6 of them, and up to 20 more with a
 * canary; health and drift that follow from it add 2.  So 32 is three to four rounds in which
 * nothing came from outside: a model that is retrained because of itself. */
enum { DEFAULT_MAX_HOPS = 32 };

void pipeline__defaults(struct pipeline *p)
{
    p->max_segments = PIPELINE_MAX_SEGMENTS;
    p->rows_at_least = p->rows_at_most = ABSENT_I64;
    p->seen_before_at_most = NAN;
    p->split_by = SPLIT_ORDER;
    p->valid = p->test = 0.15;

    p->trainer = "xgboost";
    p->window = WINDOW_SNAPSHOTS;
    p->window_size = 8;
    p->trials = 1;
    p->wall_ms = 10 * MINUTE_MS;
    p->memory_bytes = (int64_t)2 << 30;

    p->on_dataset = p->on_drift = true;
    p->cooldown_failure_ms =
        30 * SECOND_MS; /* so that what always fails does not run without a pause */
    p->max_hops = DEFAULT_MAX_HOPS;

    p->confidence = 0.95;
    p->bootstrap_rounds = 400;

    p->min_rows = 100;
    p->approval = APPROVAL_AUTOMATIC;
    p->approval_deadline_ms = DAY_MS;
    p->approvals = 1;
    p->inconclusive = INCONCLUSIVE_REJECT;

    p->strategy = STRATEGY_REPLACE;
    p->interval_ms = MINUTE_MS;
    p->canary_by = "request";
    p->canary_min_predictions = 100;

    p->window_predictions = 500;
    p->drift_metric = "psi";
    p->drift_threshold = 0.2;
    p->drift_consecutive = 2;
    p->quality_at_least = p->quality_at_most = NAN;
    p->lateness_ms = DAY_MS;
}

static const char *const default_metrics[][4] = {
    [TASK_BINARY] = {"auc", "logloss", "accuracy", "brier"},
    [TASK_MULTICLASS] = {"logloss", "accuracy", "auc", "f1"},
    [TASK_REGRESSION] = {"rmse", "mae", "r2", NULL},
};

/* The gate of a pipeline that declares no rules. */
static const struct gate_rule default_rule[] = {
    [TASK_BINARY] = {.kind = RULE_NO_WORSE_THAN,
                     .metric = "logloss",
                     .by = 0.01,
                     .baseline = "champion"},
    [TASK_MULTICLASS] = {.kind = RULE_NO_WORSE_THAN,
                         .metric = "logloss",
                         .by = 0.01,
                         .baseline = "champion"},
    [TASK_REGRESSION] = {.kind = RULE_NO_WORSE_THAN,
                         .metric = "rmse",
                         .by = 0.01,
                         .baseline = "champion"},
};

/* Adds a word to a list that it is not in. */
static void list_add(struct pipeline *p, const char *word, const char *const **list, size_t *n)
{
    const char **longer;

    for (size_t i = 0; i < *n; i++)
        if (strcmp((*list)[i], word) == 0)
            return;
    longer = arena_alloc(&p->arena, (*n + 1) * sizeof(*longer));
    for (size_t i = 0; i < *n; i++)
        longer[i] = (*list)[i];
    longer[*n] = word;
    *list = longer;
    *n += 1;
}

static void derive_search(struct reader *rd)
{
    struct pipeline *p = rd->p;
    bool has_trials = pipeline__given(rd, "train.search.trials") != NULL;
    double grid = 1;

    if (!p->n_axes) {
        p->search = SEARCH_NONE;
        p->trials = 1;
        return;
    }
    for (size_t i = 0; i < p->n_axes; i++)
        grid *= (double)p->axes[i].n;
    if (p->search == SEARCH_NONE)
        p->search =
            grid <= (has_trials ? (double)p->trials : DEFAULT_TRIALS) ? SEARCH_GRID : SEARCH_RANDOM;
    if (p->search == SEARCH_GRID)
        p->trials = (int64_t)grid;
    else if (!has_trials)
        p->trials = DEFAULT_TRIALS;
}

/* What a run may take by the other keys' word, beyond training. */
static int64_t waits_ms(const struct pipeline *p)
{
    int64_t ms = 0;

    for (size_t i = 0; i < p->n_freezes; i++)
        ms += freeze_length_ms(&p->freezes[i]); /* they may follow each other */
    if (p->inconclusive == INCONCLUSIVE_WAIT)
        ms += p->wait_deadline_ms;
    if (p->approval == APPROVAL_MANUAL || p->inconclusive == INCONCLUSIVE_ASK ||
        (p->inconclusive == INCONCLUSIVE_WAIT && p->wait_then == INCONCLUSIVE_ASK))
        ms += p->approval_deadline_ms;
    if (p->strategy == STRATEGY_CANARY)
        ms += p->interval_ms * (int64_t)(p->n_steps - 1);
    return ms;
}

static void derive(struct reader *rd)
{
    struct pipeline *p = rd->p;
    static const double default_steps[] = {0.1, 0.5, 1};

    for (size_t i = 0;
         !pipeline__given(rd, "evaluate.metrics") && i < 4 && default_metrics[p->task][i]; i++)
        list_add(p, default_metrics[p->task][i], &p->metrics, &p->n_metrics);
    if (!p->n_rules) {
        p->rules = &default_rule[p->task];
        p->n_rules = 1;
    }
    for (size_t i = 0; i < p->n_rules; i++) {
        if (p->rules[i].metric)
            list_add(p, p->rules[i].metric, &p->metrics, &p->n_metrics);
        if (p->rules[i].slice && strcmp(p->rules[i].slice, RULE_EVERY_SLICE) != 0)
            list_add(p, p->rules[i].slice, &p->slices, &p->n_slices);
    }
    if (p->ratchet_metric)
        list_add(p, p->ratchet_metric, &p->metrics, &p->n_metrics);
    if (p->strategy == STRATEGY_CANARY && !p->n_steps) {
        p->steps = default_steps;
        p->n_steps = ARRAY_LEN(default_steps);
    }
    derive_search(rd);
    if (!pipeline__given(rd, "plan.longest_wait"))
        p->longest_wait_ms = QUIET_TIMES * p->quiet_ms;
    if (!pipeline__given(rd, "plan.run_deadline"))
        p->run_deadline_ms = HOUR_MS + waits_ms(p) + (p->wall_ms > HOUR_MS / 2 ? p->wall_ms : 0);
}

/* ---- checks ---- */

static int check_dataset(struct reader *rd)
{
    const struct pipeline *p = rd->p;

    if (p->time && strcmp(p->time, p->label) == 0)
        return pipeline__fail_at(rd, "dataset.time", "'%s' is the label", p->time);
    if (p->segment && strcmp(p->segment, p->label) == 0)
        return pipeline__fail_at(rd, "dataset.segment", "'%s' is the label", p->segment);
    if (p->segment && p->time && strcmp(p->segment, p->time) == 0)
        return pipeline__fail_at(rd, "dataset.segment", "'%s' is the time column", p->segment);
    if (!p->segment && p->n_segments)
        return pipeline__fail_at(rd, "dataset.segments",
                                 "needs dataset.segment, the column that has these values");
    if (!p->segment && pipeline__given(rd, "dataset.max_segments"))
        return pipeline__fail_at(rd, "dataset.max_segments",
                                 "needs dataset.segment, the column whose values are counted");
    if (p->n_segments > (size_t)p->max_segments)
        return pipeline__fail_at(rd, "dataset.segments", "%zu segments, and max_segments is %lld",
                                 p->n_segments, (long long)p->max_segments);
    for (size_t i = 0; i < p->n_columns; i++) {
        const struct column_rule *c = &p->columns[i];
        bool is_used = strcmp(c->name, p->label) == 0 ||
                       (p->time && strcmp(c->name, p->time) == 0) ||
                       (p->segment && strcmp(c->name, p->segment) == 0);

        if (is_used && c->type == COLUMN_IGNORE)
            return pipeline__fail(
                rd, c->line,
                "contract.columns.%s: the pipeline uses this column, so it cannot be ignored",
                c->name);
    }
    if (p->rows_at_least != ABSENT_I64 && p->rows_at_most != ABSENT_I64 &&
        p->rows_at_least > p->rows_at_most)
        return pipeline__fail_at(rd, "contract.rows.at_most", "is less than at_least");
    return 0;
}

static int check_classes(struct reader *rd)
{
    const struct pipeline *p = rd->p;
    bool is_among = !p->n_classes;

    if (p->positive && p->task != TASK_BINARY)
        return pipeline__fail_at(rd, "positive", "goes with task: binary, not with %s",
                                 task_str(p->task));
    if (p->n_classes && p->task == TASK_REGRESSION)
        return pipeline__fail_at(rd, "classes", "a regression has none");
    if (p->n_classes && p->task == TASK_BINARY && p->n_classes != 2)
        return pipeline__fail_at(rd, "classes", "%zu classes; task: binary has two", p->n_classes);
    for (size_t i = 0; p->positive && i < p->n_classes; i++)
        is_among = is_among || strcmp(p->classes[i], p->positive) == 0;
    if (p->positive && !is_among)
        return pipeline__fail_at(rd, "positive", "'%s' is not one of classes", p->positive);
    return 0;
}

static int check_plan(struct reader *rd)
{
    const struct pipeline *p = rd->p;
    int64_t needed_ms = p->wall_ms + waits_ms(p);
    char needed[32];

    if (p->longest_wait_ms < p->quiet_ms)
        return pipeline__fail_at(rd, "plan.longest_wait", "is less than plan.quiet");
    if (p->run_deadline_ms >= needed_ms)
        return 0;
    pipeline__duration_str(needed_ms, needed);
    return pipeline__fail_at(
        rd, "plan.run_deadline",
        "a run may take %s by train.limits.wall%s%s%s%s: give it that long at least", needed,
        p->n_freezes ? ", the windows of gate.freeze" : "",
        p->inconclusive == INCONCLUSIVE_WAIT ? ", the wait for more rows" : "",
        p->approval == APPROVAL_MANUAL || p->inconclusive == INCONCLUSIVE_ASK
            ? ", the approval's deadline"
            : "",
        p->strategy == STRATEGY_CANARY ? ", and the steps of the canary" : "");
}

static int check_deploy(struct reader *rd)
{
    static const char *const only_canary[] = {"deploy.steps", "deploy.interval", "deploy.by",
                                              "deploy.min_predictions"};

    for (size_t i = 0; rd->p->strategy != STRATEGY_CANARY && i < ARRAY_LEN(only_canary); i++)
        if (pipeline__given(rd, only_canary[i]))
            return pipeline__fail_at(rd, only_canary[i], "goes with strategy: canary");
    return 0;
}

int pipeline__check(struct reader *rd)
{
    if (check_dataset(rd) || check_classes(rd) || pipeline__check_train(rd) || check_deploy(rd) ||
        pipeline__check_gate(rd))
        return -1;
    derive(rd);
    return check_plan(rd);
}
