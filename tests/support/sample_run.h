/* A store with a pipeline and snapshots in it, and runs of relearn-trainer on them. */
#ifndef TESTS_SUPPORT_SAMPLE_RUN_H
#define TESTS_SUPPORT_SAMPLE_RUN_H

#include "agents/train/order.h"
#include "common/artifact.h"
#include "common/pipeline.h"
#include "tests/support/job_run.h"
#include "tests/support/tmpdir.h"

enum { SAMPLE_RUN_SNAPSHOTS = 4 };

struct sample_run {
    struct tmpdir dir;
    struct artifacts artifacts;
    struct pipeline *pipeline;
    enum task task;
    struct snapshot_ref refs[SAMPLE_RUN_SNAPSHOTS];
    size_t n_refs;
    struct job_run job;
    struct arena arena;
};
/* more: keys of the pipeline's YAML beside name, dataset and task. */
void sample_run_init(struct sample_run *s, enum task task, const char *more);
void sample_run_fini(struct sample_run *s);
/* One more snapshot: 70 % train, 15 % valid, 15 % test rows, in order; its digest. */
const char *sample_run_add(struct sample_run *s, size_t rows, uint64_t seed);
/* Path of an order file for all snapshots.  command: words of an operator's trainer, NULL: the
 * built-in one. */
const char *sample_run_order(struct sample_run *s, const char *run, const char *const *command);
/* relearn-trainer run ORDER to its end; limits may be NULL.  s->job.r has how it ended. */
void sample_run_train(struct sample_run *s, const char *order, const struct job_spec *limits);
/* What is stored under the run; fails the test when there is nothing. */
const struct training_finished *sample_run_result(struct sample_run *s, const char *run);
bool sample_run_has_result(struct sample_run *s, const char *run);

#endif
