#include "tests/support/sample_runs.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "agents/console/runs_view.h"

static const char *const LINES[] = {"shop/north", "shop/south", "shop", "power", "power/it's"};

/* A twentieth is not trained yet, another not closed; with few values, so that there are ties. */
struct sample_run_facts sample_runs_draw(struct rng *r, int64_t i)
{
    static const char *const TRIGGERS[] = {"dataset", "drift", "command"};
    static const char *const OUTCOMES[] = {"promoted", "rejected", "failed", "inconclusive"};
    struct sample_run_facts f = {.rows = 1000 + (int64_t)rng_below(r, 50) * 100, .seconds = NAN};
    uint64_t kind = rng_below(r, 20), outcome = rng_below(r, ARRAY_LEN(OUTCOMES));
    const char *line = LINES[rng_below(r, ARRAY_LEN(LINES))];
    uint64_t shuffled = (uint64_t)(i + 1) * 0x9e3779b97f4a7c15u;
    snprintf(f.run, sizeof(f.run), "%016llx%016llx", (unsigned long long)shuffled,
             (unsigned long long)i);
    snprintf(f.line, sizeof(f.line), "%s", line);
    f.pipeline = str_has_prefix(line, "shop") ? "shop" : "power";
    f.trigger = TRIGGERS[rng_below(r, 10) < 7 ? 0 : 1 + rng_below(r, 2)];
    f.started_us = SAMPLE_RUNS_BEGIN_US + i * SAMPLE_RUNS_STEP_S * 1000000;
    for (int k = 0; k < SAMPLE_RUNS_METRICS; k++)
        f.metrics[k] = NAN;
    for (int k = 0; k < SAMPLE_RUNS_PARAMS; k++)
        f.params[k] = NAN;
    f.status = "training";
    if (kind == 0)
        return f;
    snprintf(f.model, sizeof(f.model), "%s%s", f.run, f.run);
    f.seconds = (double)(1 + rng_below(r, 40)) / 4;
    f.params[0] = (double)(1 + rng_below(r, 6)) / 20;
    f.params[1] = (double)(3 + rng_below(r, 6));
    f.status = "evaluating";
    if (kind == 1)
        return f;
    f.metrics[0] = 0.5 + (double)rng_below(r, 5000) / 10000;
    f.metrics[1] = 1.2 - f.metrics[0] + (double)rng_below(r, 100) / 1000;
    if (kind < 10)
        f.metrics[2] = f.metrics[1] / 3;
    f.status = OUTCOMES[outcome];
    f.generation = outcome == 0 ? 1 + i / 8 : 0;
    f.finished_us = f.started_us + 5000000 + (int64_t)(f.seconds * 1e6);
    return f;
}

static void put(struct store *st, enum record type, const void *rec, const char *id, int64_t time)
{
    struct event ev = {.type = type, .rec = rec, .id = id, .time_unix_us = time};
    struct err err = {0};
    if (runs_put(st, &ev, &err)) {
        fprintf(stderr, "run %s: %s\n", id, err.msg);
        abort();
    }
}

static void put_plan(struct store *st, const struct sample_run_facts *f)
{
    struct snapshot_ref snapshots[] = {{"aaaa", "x", 1}, {f->run + 8, "y", 1}};
    struct training_planned p = {.line = f->line,
                                 .kind = "requested",
                                 .run = f->run,
                                 .trigger = f->trigger,
                                 .snapshots = {snapshots, 2},
                                 .rows = f->rows};
    put(st, RECORD_TRAINING_PLANNED, &p, f->run, f->started_us);
}

static void put_model(struct store *st, const struct sample_run_facts *f)
{
    static const char *const NAMES[] = {"eta", "max_depth"};
    struct named_value params[SAMPLE_RUNS_PARAMS];
    struct training_finished m = {.line = f->line,
                                  .run = f->run,
                                  .model = f->model,
                                  .seconds = f->seconds,
                                  .cpu_seconds = 2 * f->seconds,
                                  .params = {params, SAMPLE_RUNS_PARAMS}};
    for (int k = 0; k < SAMPLE_RUNS_PARAMS; k++)
        params[k] = (struct named_value){NAMES[k], f->params[k]};
    put(st, RECORD_TRAINING_FINISHED, &m, "model", f->started_us);
}

static void put_evaluation(struct store *st, const struct sample_run_facts *f)
{
    static const char *const NAMES[] = {"auc", "logloss", "brier"};
    struct evaluation_metric metrics[SAMPLE_RUNS_METRICS + 1] = {
        {.metric = "auc", .slice = "hour=1", .candidate = 2}};
    struct model_evaluated e = {
        .line = f->line, .run = f->run, .metrics = {metrics, SAMPLE_RUNS_METRICS + 1}};
    for (int k = 0; k < SAMPLE_RUNS_METRICS; k++)
        metrics[k + 1] = (struct evaluation_metric){
            .metric = NAMES[k], .slice = "all", .candidate = f->metrics[k]};
    put(st, RECORD_MODEL_EVALUATED, &e, "evaluation", f->started_us);
}

void sample_runs_put(struct store *st, const struct sample_run_facts *f)
{
    bool is_promoted = f->generation > 0;
    put_plan(st, f);
    if (!f->model[0])
        return;
    put_model(st, f);
    if (!f->finished_us)
        return;
    put_evaluation(st, f);
    struct gate_decided d = {
        .line = f->line, .run = f->run, .verdict = is_promoted ? "promote" : "reject"};
    put(st, RECORD_GATE_DECIDED, &d, "decision", f->finished_us);
    if (is_promoted) {
        struct deployment_changed c = {
            .line = f->line, .run = f->run, .kind = "changed", .generation = f->generation};
        put(st, RECORD_DEPLOYMENT_CHANGED, &c, "change", f->finished_us);
    }
    struct training_planned closed = {
        .line = f->line, .run = f->run, .kind = "closed", .outcome = f->status};
    put(st, RECORD_TRAINING_PLANNED, &closed, "closed", f->finished_us);
}
