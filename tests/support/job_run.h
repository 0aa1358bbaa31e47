/* A job on a loop of its own, run to its end, with what it said. */
#ifndef TESTS_SUPPORT_JOB_RUN_H
#define TESTS_SUPPORT_JOB_RUN_H

#include "common/buf.h"
#include "common/job.h"

enum { JOB_RUN_WAIT_MS = 60000 }; /* no test needs it; a broken one ends */

struct job_run {
    struct loop *loop;
    struct job *job;
    struct buf lines; /* each followed by | */
    int n_lines, n_done;
    bool is_cancel_on_line;
    struct job_result r;
};

/* Of a test; *state is a struct job_run. */
int job_run_setup(void **state);
int job_run_teardown(void **state);

void job_run_start(struct job_run *f, const struct job_spec *spec);
void job_run_finish(struct job_run *f);
/* spec.argv becomes sh -c script. */
void job_run_start_shell(struct job_run *f, const char *script, struct job_spec spec);
void job_run_shell(struct job_run *f, const char *script, struct job_spec spec);
const char *job_run_lines(struct job_run *f);

/* For loop_until and job_start. */
bool job_run_has_line(void *ctx);
bool job_run_is_done(void *ctx);
void job_run_on_line(void *ctx, const char *line);
void job_run_on_done(void *ctx, const struct job_result *r);

#endif
