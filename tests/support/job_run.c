#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "tests/support/job_run.h"

int job_run_setup(void **state)
{
    static struct job_run f;
    struct err err = {0};

    memset(&f, 0, sizeof(f));
    assert_int_equal(loop_new(&f.loop, &err), 0);
    *state = &f;
    return 0;
}

int job_run_teardown(void **state)
{
    struct job_run *f = *state;

    buf_fini(&f->lines);
    loop_free(f->loop);
    return 0;
}

void job_run_on_line(void *ctx, const char *line)
{
    struct job_run *f = ctx;

    f->n_lines++;
    buf_add_str(&f->lines, line);
    buf_add_char(&f->lines, '|');
    if (f->is_cancel_on_line)
        job_cancel(f->job);
}

void job_run_on_done(void *ctx, const struct job_result *r)
{
    struct job_run *f = ctx;

    f->n_done++;
    f->r = *r;
    job_cancel(f->job); /* too late, and harmless */
}

bool job_run_is_done(void *ctx)
{
    return ((struct job_run *)ctx)->n_done > 0;
}

bool job_run_has_line(void *ctx)
{
    return ((struct job_run *)ctx)->n_lines > 0;
}

void job_run_start(struct job_run *f, const struct job_spec *spec)
{
    struct err err = {0};

    f->n_done = f->n_lines = 0;
    buf_reset(&f->lines);
    if (job_start(f->loop, spec, job_run_on_line, job_run_on_done, f, &f->job, &err))
        fail_msg("%s", err.msg);
    assert_int_equal(f->n_done, 0);
    assert_true(job_pid(f->job) > 0);
}

void job_run_finish(struct job_run *f)
{
    if (!loop_until(f->loop, job_run_is_done, f, JOB_RUN_WAIT_MS))
        fail_msg("the child did not end");
    assert_int_equal(f->n_done, 1);
}

void job_run_start_shell(struct job_run *f, const char *script, struct job_spec spec)
{
    const char *const argv[] = {"/bin/sh", "-c", script, NULL};

    spec.argv = argv;
    job_run_start(f, &spec);
}

void job_run_shell(struct job_run *f, const char *script, struct job_spec spec)
{
    job_run_start_shell(f, script, spec);
    job_run_finish(f);
}

const char *job_run_lines(struct job_run *f)
{
    return f->lines.data ? f->lines.data : "";
}
