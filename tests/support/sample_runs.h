/* Runs as events, drawn from a seed, put into the view of runs: for its tests and its bench.  */
#ifndef TESTS_SUPPORT_SAMPLE_RUNS_H
#define TESTS_SUPPORT_SAMPLE_RUNS_H

#include "common/rng.h"
#include "common/store.h"

enum { SAMPLE_RUNS_METRICS = 3, SAMPLE_RUNS_PARAMS = 2, SAMPLE_RUNS_STEP_S = 60 };
#define SAMPLE_RUNS_BEGIN_US INT64_C(1700000000000000)

struct sample_run_facts { /* what was drawn; NaN: the run has none */
    char run[40], line[24], model[80];
    const char *pipeline, *trigger, *status;
    int64_t started_us, finished_us; /* 0: not yet */
    int64_t generation;              /* 0: none */
    int64_t rows;
    double seconds;
    double metrics[SAMPLE_RUNS_METRICS]; /* auc, logloss, brier */
    double params[SAMPLE_RUNS_PARAMS];   /* eta, max_depth */
};
/* Run i, a minute after run i - 1. */
struct sample_run_facts sample_runs_draw(struct rng *r, int64_t i);
void sample_runs_put(struct store *st, const struct sample_run_facts *f);

#endif
