#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fsx.h"
#include "common/job.h"
#include "common/mem.h"
#include "tests/support/job_run.h"

static char self_path[4096];

/* Gone, or a zombie that whoever inherited it has not reaped yet. */
static bool is_dead(void *ctx)
{
    CLEANUP_FREE char *path = xasprintf("/proc/%d/stat", *(int *)ctx);
    CLEANUP(buf_fini) struct buf b = {0};
    struct err err;
    const char *paren;

    if (fsx_read_file(path, 4096, &b, &err))
        return true;
    paren = strrchr(b.data, ')');
    return paren && paren[2] == 'Z';
}

/* In a process of its own: starts a child, tells its pid, and waits to be killed. */
static NORETURN void be_parent(int fd)
{
    const char *const argv[] = {"sleep", "1000", NULL};
    struct job_run f = {0};
    struct err err;
    int pid;

    if (loop_new(&f.loop, &err) || job_start(f.loop, &(struct job_spec){.argv = argv}, NULL,
                                             job_run_on_done, &f, &f.job, &err))
        _exit(1);
    pid = job_pid(f.job);
    if (write(fd, &pid, sizeof(pid)) != (ssize_t)sizeof(pid))
        _exit(1);
    loop_run(f.loop);
    _exit(1);
}

static bool is_sleeping_program(void *ctx)
{
    CLEANUP_FREE char *path = xasprintf("/proc/%d/comm", *(int *)ctx);
    CLEANUP(buf_fini) struct buf b = {0};
    struct err err;

    return fsx_read_file(path, 64, &b, &err) == 0 && str_has_prefix(b.data, "sleep");
}

static void a_child_dies_with_its_parent(void **state)
{
    struct job_run *f = *state;
    int fds[2], child = 0;
    pid_t parent;

    assert_int_equal(pipe(fds), 0);
    parent = fork();
    if (parent == 0)
        be_parent(fds[1]);
    assert_int_equal(read(fds[0], &child, sizeof(child)), sizeof(child));
    assert_true(loop_until(f->loop, is_sleeping_program, &child, JOB_RUN_WAIT_MS));
    kill(parent, SIGKILL);
    assert_int_equal(waitpid(parent, NULL, 0), parent);
    assert_true(loop_until(f->loop, is_dead, &child, JOB_RUN_WAIT_MS));
    close(fds[0]);
    close(fds[1]);
}

static void the_wall_time_limit_ends_it(void **state)
{
    struct job_run *f = *state;

    job_run_shell(f, "sleep 1000", (struct job_spec){.wall_ms = 20});
    assert_true(f->r.timed_out);
    assert_int_equal(f->r.signal, SIGTERM);
    assert_true(f->r.wall_ms >= 20);
    job_run_shell(f, "trap 'echo saved; exit 7' TERM; echo ready; while :; do sleep 0.01; done",
                  (struct job_spec){.wall_ms = 300});
    assert_true(f->r.timed_out);
    assert_int_equal(f->r.exit_code, 7);
    assert_string_equal(job_run_lines(f), "ready|saved|");
}

static void what_ignores_the_first_signal_is_killed(void **state)
{
    struct job_run *f = *state;

    job_run_start_shell(f, "trap '' TERM; echo ready; while :; do sleep 1; done",
                        (struct job_spec){0});
    assert_true(loop_until(f->loop, job_run_has_line, f, JOB_RUN_WAIT_MS));
    job_cancel(f->job);
    job_cancel(f->job);
    job_run_finish(f);
    assert_true(f->r.canceled);
    assert_int_equal(f->r.signal, SIGKILL);
}

static void cpu_and_file_limits_hold(void **state)
{
    struct job_run *f = *state;
    CLEANUP_FREE char *dir = NULL;
    struct job_spec cpu = {.cpu_ms = 200}, file = {.file_bytes = 1 << 20};
    struct err err;
    char text[200];

    job_run_shell(f, "while :; do :; done", cpu); /* a second: the kernel counts in those */
    assert_int_equal(f->r.signal, SIGXCPU);
    assert_true(f->r.cpu_ms >= 200);
    job_result_str(&f->r, &cpu, text, sizeof(text));
    assert_non_null(strstr(text, "(CPU limit 0.2 s)"));
    dir = fsx_tmpdir("job", &err);
    file.cwd = dir;
    job_run_shell(f, "exec head -c 2000000 /dev/zero >big", file);
    assert_int_equal(f->r.signal, SIGXFSZ);
    job_result_str(&f->r, &file, text, sizeof(text));
    assert_non_null(strstr(text, "(file size limit 1 MiB)"));
    assert_int_equal(fsx_remove_tree(dir, &err), 0);
}

static void limits_may_come_while_it_runs(void **state)
{
    static const struct {
        const char *script;
        struct job_spec limits;
        int signal;
    } cases[] = {
        {"echo on; sleep 1000", {.wall_ms = 20}, SIGTERM},
        {"echo on; while :; do :; done", {.cpu_ms = 200}, SIGXCPU},
        {"echo on; exec sleep 1000", {.memory_bytes = 1}, SIGKILL},
    };
    struct job_run *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        job_run_start_shell(f, cases[i].script, (struct job_spec){0});
        assert_true(loop_until(f->loop, job_run_has_line, f, JOB_RUN_WAIT_MS));
        job_limit(f->job, &cases[i].limits);
        job_run_finish(f);
        assert_int_equal(f->r.signal, cases[i].signal);
        assert_int_equal(f->r.timed_out, i == 0);
        assert_int_equal(f->r.out_of_memory, i == 2);
    }
}

static void a_child_that_eats_memory_is_killed(void **state)
{
    const char *const alone[] = {self_path, "eat", NULL};
    CLEANUP_FREE char *in_child = xasprintf("'%s' eat & wait", self_path);
    const char *const below[] = {"/bin/sh", "-c", in_child, NULL};
    struct job_run *f = *state;
    struct job_spec spec = {.argv = alone, .memory_bytes = 256 << 20, .wall_ms = JOB_RUN_WAIT_MS};
    char text[200];

    for (int i = 0; i < 2; i++) {
        job_run_start(f, &spec);
        job_run_finish(f);
        assert_true(f->r.out_of_memory);
        assert_int_equal(f->r.signal, SIGKILL);
        assert_true(f->r.max_rss_bytes >= 256 << 20);
        job_result_str(&f->r, &spec, text, sizeof(text));
        assert_non_null(strstr(text, "killed by signal 9 after"));
        assert_non_null(strstr(text, "(memory limit 256 MiB)"));
        spec.argv = below; /* a grandchild counts */
    }
}

static void memory_that_is_only_reserved_does_not_count(void **state)
{
    const char *const argv[] = {self_path, "reserve", NULL};
    struct job_run *f = *state;

    job_run_start(f, &(struct job_spec){.argv = argv, .memory_bytes = 256 << 20});
    job_run_finish(f);
    assert_int_equal(f->r.exit_code, 0);
    assert_string_equal(job_run_lines(f), "still here|");
}

static void a_refused_allocation_is_out_of_memory_too(void **state)
{
    struct job_run *f = *state;

    job_run_shell(f, "echo 'terminate called: std::bad_alloc' >&2; exit 1",
                  (struct job_spec){.memory_bytes = 1 << 30});
    assert_true(f->r.out_of_memory);
    job_run_shell(f, "echo 'terminate called: std::bad_alloc' >&2; exit 0",
                  (struct job_spec){.memory_bytes = 1 << 30});
    assert_false(f->r.out_of_memory);
    job_run_shell(f, "kill -9 $$", (struct job_spec){.memory_bytes = 1 << 30});
    assert_false(f->r.out_of_memory);
}

static void what_a_child_leaves_behind_is_killed_and_delays_nothing(void **state)
{
    struct job_run *f = *state;
    int pid;

    /* it holds stdout and stderr open, and ignores what can be ignored */
    job_run_shell(f, "sh -c 'trap \"\" TERM HUP; while :; do sleep 1; done' & echo $!; exit 0",
                  (struct job_spec){0});
    assert_int_equal(f->r.exit_code, 0);
    pid = (int)strtol(job_run_lines(f), NULL, 10);
    assert_true(pid > 0);
    assert_true(loop_until(f->loop, is_dead, &pid, JOB_RUN_WAIT_MS));
}

static void what_leaves_the_group_delays_nothing_either(void **state)
{
    struct job_run *f = *state;
    struct err err;
    CLEANUP_FREE char *dir = fsx_tmpdir("job", &err);
    int pid;

    job_run_shell(
        f,
        "setsid sh -c 'echo $$ >new; mv new pid; exec sleep 1000' & until [ -s pid ]; do :; "
        "done; cat pid",
        (struct job_spec){.cwd = dir});
    assert_int_equal(f->r.exit_code, 0);
    pid = (int)strtol(job_run_lines(f), NULL, 10);
    assert_true(pid > 0);
    assert_false(is_dead(&pid)); /* ours to clean up: it was told to stay */
    kill(pid, SIGKILL);
    assert_int_equal(fsx_remove_tree(dir, &err), 0);
}

static void results_are_one_sentence(void **state)
{
    static const struct {
        struct job_result r;
        struct job_spec spec;
        const char *text;
    } rows[] = {
        {{.exit_code = 0, .wall_ms = 1234}, {0}, "exited with code 0 after 1.2 s"},
        {{.exit_code = -1, .signal = 9, .wall_ms = 3200, .out_of_memory = true},
         {.memory_bytes = 2147483648},
         "killed by signal 9 after 3.2 s (memory limit 2 GiB)"},
        {{.exit_code = -1, .signal = 9, .out_of_memory = true},
         {.memory_bytes = 1500},
         "killed by signal 9 after 0.0 s (memory limit 1500 B)"},
        {{.exit_code = -1, .signal = 15, .wall_ms = 600000, .timed_out = true},
         {.wall_ms = 600000},
         "killed by signal 15 after 600.0 s (wall time limit 600.0 s)"},
        {{.exit_code = 1, .canceled = true}, {0}, "exited with code 1 after 0.0 s (canceled)"},
        {{.exit_code = -1, .signal = 9, .cpu_ms = 15000},
         {.cpu_ms = 10000},
         "killed by signal 9 after 0.0 s (CPU limit 10.0 s)"},
        {{.exit_code = -1, .signal = 9},
         {0},
         "killed by signal 9 after 0.0 s (not by us: the kernel, when memory ran out, or "
         "somebody)"},
        {{.exit_code = -1, .signal = 6}, {0}, "killed by signal 6 after 0.0 s (Aborted)"},
    };
    char text[200], small[8];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        job_result_str(&rows[i].r, &rows[i].spec, text, sizeof(text));
        assert_string_equal(text, rows[i].text);
    }
    job_result_str(&rows[0].r, &rows[0].spec, small, sizeof(small));
    assert_string_equal(small, "exited ");
}

/* --- what the memory tests run ------------------------------------------------------------------
 */

static int eat(void)
{
    for (;;) {
        char *p = malloc(1 << 20);

        if (!p)
            return 1;
        memset(p, 1, 1 << 20);
    }
}

static int reserve(void)
{
    enum { BYTES = 1 << 30 };
    CLEANUP_FREE char *p = malloc(BYTES);

    if (!p)
        return 1;
    p[0] = 1;
    usleep(500000); /* so that samples are taken; whatever their number, the outcome is the same */
    puts("still here");
    return p[0] - 1;
}

#define T(f) cmocka_unit_test_setup_teardown(f, job_run_setup, job_run_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(a_child_dies_with_its_parent),
        T(the_wall_time_limit_ends_it),
        T(what_ignores_the_first_signal_is_killed),
        T(cpu_and_file_limits_hold),
        T(limits_may_come_while_it_runs),
        T(a_child_that_eats_memory_is_killed),
        T(memory_that_is_only_reserved_does_not_count),
        T(a_refused_allocation_is_out_of_memory_too),
        T(what_a_child_leaves_behind_is_killed_and_delays_nothing),
        T(what_leaves_the_group_delays_nothing_either),
        T(results_are_one_sentence),
    };

    if (argc == 2 && strcmp(argv[1], "eat") == 0)
        return eat();
    if (argc == 2 && strcmp(argv[1], "reserve") == 0)
        return reserve();
    if (readlink("/proc/self/exe", self_path, sizeof(self_path) - 1) < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
