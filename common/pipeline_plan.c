/* plan, deploy and monitor: when to retrain, how to roll out, what to watch. */
#include <math.h>

#include "common/pipeline_internal.h"

#define AT(member) offsetof(struct pipeline, member)
#define DAY_MS 86400000.0

/* ---- plan ---- */

static int read_on(struct reader *rd, const struct yaml_node *n, void *target)
{
    static const char *const words[] = {"dataset", "drift", NULL};
    static const struct key word = {.kind = KEY_WORD, .words = words};
    struct pipeline *p = target;
    bool on[2] = {false, false};

    if (n->kind != YAML_SEQUENCE)
        return pipeline__wrong(rd, n, "be a list: [dataset, drift], one of them, or none");
    for (size_t i = 0; i < n->n; i++) {
        size_t mark = pipeline__enter_index(rd, i);
        int v = 0;

        if (pipeline__value(rd, n->items[i], &word, &v))
            return -1;
        if (on[v])
            return pipeline__fail(rd, n->items[i]->line, "'%s' is listed twice", words[v]);
        on[v] = true;
        pipeline__leave(rd, mark);
    }
    p->on_dataset = on[0];
    p->on_drift = on[1];
    return 0;
}

static const struct key cooldown_keys[] = {
    {.name = "after_promotion",
     .kind = KEY_DURATION,
     .offset = AT(cooldown_promotion_ms),
     .min = 0,
     .max = 30 * DAY_MS},
    {.name = "after_rejection",
     .kind = KEY_DURATION,
     .offset = AT(cooldown_rejection_ms),
     .min = 0,
     .max = 30 * DAY_MS},
    {.name = "after_failure",
     .kind = KEY_DURATION,
     .offset = AT(cooldown_failure_ms),
     .min = 0,
     .max = 30 * DAY_MS},
    {0},
};

static const struct key budget_keys[] = {
    {.name = "runs_per_day", .kind = KEY_INT, .offset = AT(runs_per_day), .min = 1, .max = 100000},
    {.name = "cpu",
     .kind = KEY_DURATION,
     .offset = AT(cpu_per_day_ms),
     .min = 1000,
     .max = 1000 * DAY_MS},
    {0},
};

const struct key pipeline__plan_keys[] = {
    {.name = "on", .kind = KEY_CUSTOM, .read = read_on},
    {.name = "quiet", .kind = KEY_DURATION, .offset = AT(quiet_ms), .min = 0, .max = 7 * DAY_MS},
    {.name = "longest_wait",
     .kind = KEY_DURATION,
     .offset = AT(longest_wait_ms),
     .min = 0,
     .max = 30 * DAY_MS},
    {.name = "cooldown", .kind = KEY_MAP, .keys = cooldown_keys},
    {.name = "budget", .kind = KEY_MAP, .keys = budget_keys},
    {.name = "max_hops", .kind = KEY_INT, .offset = AT(max_hops), .min = 1, .max = 10000},
    {.name = "run_deadline",
     .kind = KEY_DURATION,
     .offset = AT(run_deadline_ms),
     .min = 1000,
     .max = 60 * DAY_MS},
    {0},
};

/* ---- deploy ---- */

static const char *const strategies[] = {
    [STRATEGY_REPLACE] = "replace", [STRATEGY_CANARY] = "canary", NULL};

static int read_steps(struct reader *rd, const struct yaml_node *n, void *target)
{
    static const struct key percent = {
        .kind = KEY_NUMBER, .min = 0, .max = 100, .is_open_min = true};
    struct pipeline *p = target;
    double *steps;

    if (n->kind != YAML_SEQUENCE || n->n < 1 || n->n > PIPELINE_MAX_STEPS)
        return pipeline__fail(
            rd, n->line,
            "must be a list of 1 to %d percentages that rises to 100, such as [10, 50, 100]",
            PIPELINE_MAX_STEPS);
    steps = arena_alloc(&p->arena, n->n * sizeof(*steps));
    for (size_t i = 0; i < n->n; i++) {
        size_t mark = pipeline__enter_index(rd, i);

        if (pipeline__value(rd, n->items[i], &percent, &steps[i]))
            return -1;
        steps[i] /= 100;
        if (i && steps[i] <= steps[i - 1])
            return pipeline__fail(rd, n->items[i]->line, "must be more than the step before it");
        if (i + 1 == n->n && steps[i] < 1)
            return pipeline__fail(rd, n->items[i]->line, "the last step must be 100");
        pipeline__leave(rd, mark);
    }
    p->steps = steps;
    p->n_steps = n->n;
    return 0;
}

const struct key pipeline__deploy_keys[] = {
    {.name = "strategy", .kind = KEY_WORD, .offset = AT(strategy), .words = strategies},
    {.name = "steps", .kind = KEY_CUSTOM, .read = read_steps},
    {.name = "interval",
     .kind = KEY_DURATION,
     .offset = AT(interval_ms),
     .min = 0,
     .max = 30 * DAY_MS},
    {.name = "by",
     .kind = KEY_TEXT,
     .offset = AT(canary_by),
     .is_valid = pipeline__is_word,
     .must = "be request (its id) or the name of a request parameter"},
    {.name = "min_predictions",
     .kind = KEY_INT,
     .offset = AT(canary_min_predictions),
     .min = 0,
     .max = 1e9},
    {0},
};

/* ---- monitor ---- */

static const char *const drift_metrics[] = {"psi", NULL};

static const struct key window_keys[] = {
    {.name = "predictions",
     .kind = KEY_INT,
     .offset = AT(window_predictions),
     .min = 20,
     .max = 1e6},
    {0},
};

/* The only one so far; the text is a default, the word is checked. */
static const struct key drift_keys[] = {
    {.name = "metric", .kind = KEY_WORD, .offset = KEY_NOT_STORED, .words = drift_metrics},
    {.name = "threshold",
     .kind = KEY_NUMBER,
     .offset = AT(drift_threshold),
     .min = 0,
     .max = 100,
     .is_open_min = true},
    {.name = "consecutive",
     .kind = KEY_INT,
     .offset = AT(drift_consecutive),
     .min = 1,
     .max = 1000},
    {0},
};

static const struct key quality_keys[] = {
    {.name = "metric",
     .kind = KEY_TEXT,
     .offset = AT(quality_metric),
     .must = "be a metric",
     .needed = "accuracy, auc, logloss, ..."},
    {.name = "at_least", .kind = KEY_NUMBER, .offset = AT(quality_at_least)},
    {.name = "at_most", .kind = KEY_NUMBER, .offset = AT(quality_at_most)},
    {0},
};

const struct key pipeline__monitor_keys[] = {
    {.name = "window", .kind = KEY_MAP, .keys = window_keys},
    {.name = "drift", .kind = KEY_MAP, .keys = drift_keys},
    {.name = "quality", .kind = KEY_MAP, .keys = quality_keys},
    {.name = "lateness",
     .kind = KEY_DURATION,
     .offset = AT(lateness_ms),
     .min = 0,
     .max = 30 * DAY_MS},
    {0},
};
