#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fsx.h"
#include "common/job.h"
#include "common/mem.h"

enum { WAIT_MS = 60000 };

static char self_path[4096];

struct fixture {
    struct loop *loop;
    struct job *job;
    struct buf lines;
    int n_lines, n_done;
    bool is_cancel_on_line;
    struct job_result r;
};

static int setup(void **state)
{
    static struct fixture f;
    struct err err = {0};

    memset(&f, 0, sizeof(f));
    assert_int_equal(loop_new(&f.loop, &err), 0);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    buf_fini(&f->lines);
    loop_free(f->loop);
    return 0;
}

static void on_line(void *ctx, const char *line)
{
    struct fixture *f = ctx;

    f->n_lines++;
    buf_add_str(&f->lines, line);
    buf_add_char(&f->lines, '|');
    if (f->is_cancel_on_line)
        job_cancel(f->job);
}

static void on_done(void *ctx, const struct job_result *r)
{
    struct fixture *f = ctx;

    f->n_done++;
    f->r = *r;
    job_cancel(f->job); /* too late, and harmless */
}

static bool is_done(void *ctx)
{
    return ((struct fixture *)ctx)->n_done > 0;
}

static bool has_line(void *ctx)
{
    return ((struct fixture *)ctx)->n_lines > 0;
}

static void start(struct fixture *f, const struct job_spec *spec)
{
    struct err err = {0};

    f->n_done = f->n_lines = 0;
    buf_reset(&f->lines);
    if (job_start(f->loop, spec, on_line, on_done, f, &f->job, &err))
        fail_msg("%s", err.msg);
    assert_int_equal(f->n_done, 0);
    assert_true(job_pid(f->job) > 0);
}

static void finish(struct fixture *f)
{
    if (!loop_until(f->loop, is_done, f, WAIT_MS))
        fail_msg("the child did not end");
    assert_int_equal(f->n_done, 1);
}

static void start_shell(struct fixture *f, const char *script, struct job_spec spec)
{
    const char *const argv[] = {"/bin/sh", "-c", script, NULL};

    spec.argv = argv;
    start(f, &spec);
}

static void run_shell(struct fixture *f, const char *script, struct job_spec spec)
{
    start_shell(f, script, spec);
    finish(f);
}

static const char *lines(struct fixture *f)
{
    return f->lines.data ? f->lines.data : "";
}

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

static int open_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;

    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void a_child_gives_lines_a_code_and_the_end_of_stderr(void **state)
{
    struct fixture *f = *state;
    int before = open_descriptors();

    run_shell(f, "echo one; echo; printf two; echo bad >&2; printf 'worse\\033[1m' >&2; exit 3", (struct job_spec){0});
    assert_string_equal(lines(f), "one||two|");
    assert_int_equal(f->r.exit_code, 3);
    assert_int_equal(f->r.signal, 0);
    assert_string_equal(f->r.tail, "bad\nworse?[1m");
    assert_false(f->r.timed_out || f->r.canceled || f->r.out_of_memory);
    assert_true(f->r.max_rss_bytes > 0);
    assert_int_equal(open_descriptors(), before);
}

static void a_child_gets_only_what_it_is_given(void **state)
{
    static const char *const env[] = {"A=1", "B=two words", NULL};
    struct fixture *f = *state;

    setenv("SECRET", "x", 1);
    run_shell(f, "/usr/bin/env | grep -v -e '^PWD=' -e '^_=' -e '^SHLVL=' -e '^OLDPWD='", (struct job_spec){.env = env});
    assert_string_equal(lines(f), "A=1|B=two words|");
    run_shell(f, "pwd; cat; ls /proc/self/fd | tr '\\n' ' '", (struct job_spec){.cwd = "/usr"});
    assert_string_equal(lines(f), "/usr|0 1 2 3 |"); /* 3 is the folder that ls reads */
    run_shell(f, "ulimit -c", (struct job_spec){0});
    assert_string_equal(lines(f), "0|");
    run_shell(f, "ps -o pgid= -p $$ | tr -d ' '; echo $$", (struct job_spec){0});
    assert_true(f->lines.len > 2);
    assert_memory_equal(lines(f), strchr(lines(f), '|') + 1, f->lines.len / 2); /* a group of its own */
}

static void signals_that_we_ignore_or_block_are_as_ever_in_the_child(void **state)
{
    struct fixture *f = *state;
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    run_shell(f, "grep -E '^Sig(Blk|Ign)' /proc/self/status | tr -d '\\t'", (struct job_spec){0});
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    assert_true(str_has_prefix(lines(f), "SigBlk:0000000000000000|SigIgn:"));
    /* 32 and above belong to the C library; SIGPIPE, which the loop ignores, is below */
    assert_int_equal(strtoull(lines(f) + strlen("SigBlk:0000000000000000|SigIgn:"), NULL, 16) & 0x7fffffff, 0);
}

static void long_lines_are_cut_and_others_kept(void **state)
{
    struct fixture *f = *state;

    run_shell(f, "head -c 10000 /dev/zero | tr '\\0' x; echo; printf 'a\\0b\\n'", (struct job_spec){0});
    assert_int_equal(f->n_lines, 2);
    assert_int_equal(f->lines.len, 4096 + 1 + 4);
    assert_string_equal(lines(f) + 4096, "|a?b|");
}

static void nothing_of_much_output_is_lost(void **state)
{
    struct fixture *f = *state;

    run_shell(f, "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; seq 1 3000 >&2", (struct job_spec){0});
    assert_int_equal(f->n_lines, 20000);
    assert_non_null(strstr(lines(f), "|line 12345|line 12346|"));
    assert_true(str_has_suffix(f->r.tail, "\n2999\n3000"));
    assert_true(strlen(f->r.tail) > 4000);
    assert_non_null(strchr("0123456789", f->r.tail[0])); /* from the begin of a line */
}

static void a_tail_without_lines_is_cut_at_a_character(void **state)
{
    struct fixture *f = *state;

    run_shell(f, "i=0; while [ $i -lt 3000 ]; do printf '\\303\\251' >&2; i=$((i+1)); done", (struct job_spec){0});
    assert_int_equal(strlen(f->r.tail), 4094);
    assert_true(slice_is_utf8(slice_str(f->r.tail)));
    run_shell(f, "printf 'a\\377b\\rc\\n\\n' >&2", (struct job_spec){0});
    assert_string_equal(f->r.tail, "a?b\nc");
}

static void a_signal_ends_it_with_its_number(void **state)
{
    struct fixture *f = *state;
    char text[200];

    run_shell(f, "kill -SEGV $$", (struct job_spec){0});
    assert_int_equal(f->r.exit_code, -1);
    assert_int_equal(f->r.signal, SIGSEGV);
    f->r.wall_ms = 100;
    job_result_str(&f->r, &(struct job_spec){0}, text, sizeof(text));
    assert_string_equal(text, "killed by signal 11 after 0.1 s (Segmentation fault)");
}

static void the_wall_time_limit_ends_it(void **state)
{
    struct fixture *f = *state;

    run_shell(f, "sleep 1000", (struct job_spec){.wall_ms = 20});
    assert_true(f->r.timed_out);
    assert_int_equal(f->r.signal, SIGTERM);
    assert_true(f->r.wall_ms >= 20);
    run_shell(f, "trap 'echo saved; exit 7' TERM; echo ready; while :; do sleep 0.01; done", (struct job_spec){.wall_ms = 300});
    assert_true(f->r.timed_out);
    assert_int_equal(f->r.exit_code, 7);
    assert_string_equal(lines(f), "ready|saved|");
}

static void what_ignores_the_first_signal_is_killed(void **state)
{
    struct fixture *f = *state;

    start_shell(f, "trap '' TERM; echo ready; while :; do sleep 1; done", (struct job_spec){0});
    assert_true(loop_until(f->loop, has_line, f, WAIT_MS));
    job_cancel(f->job);
    job_cancel(f->job);
    finish(f);
    assert_true(f->r.canceled);
    assert_int_equal(f->r.signal, SIGKILL);
}

static void a_stopped_child_can_be_canceled(void **state)
{
    struct fixture *f = *state;

    start_shell(f, "echo ready; kill -STOP $$", (struct job_spec){0});
    assert_true(loop_until(f->loop, has_line, f, WAIT_MS));
    job_cancel(f->job);
    finish(f);
    assert_true(f->r.canceled);
    assert_int_equal(f->r.signal, SIGTERM);
}

static void a_job_may_be_canceled_at_once_and_from_its_own_line(void **state)
{
    struct fixture *f = *state;

    start_shell(f, "sleep 1000", (struct job_spec){0});
    job_cancel(f->job);
    assert_int_equal(f->n_done, 0);
    finish(f);
    assert_true(f->r.canceled);
    f->is_cancel_on_line = true;
    run_shell(f, "echo now; sleep 1000", (struct job_spec){0});
    assert_true(f->r.canceled);
    run_shell(f, "echo now", (struct job_spec){0}); /* whether it was over by then or not */
    assert_string_equal(lines(f), "now|");
}

static void cpu_and_file_limits_hold(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *dir = NULL;
    struct job_spec cpu = {.cpu_ms = 200}, file = {.file_bytes = 1 << 20};
    struct err err;
    char text[200];

    run_shell(f, "while :; do :; done", cpu); /* a second: the kernel counts in those */
    assert_int_equal(f->r.signal, SIGXCPU);
    assert_true(f->r.cpu_ms >= 200);
    job_result_str(&f->r, &cpu, text, sizeof(text));
    assert_non_null(strstr(text, "(CPU limit 0.2 s)"));
    dir = fsx_tmpdir("job", &err);
    file.cwd = dir;
    run_shell(f, "exec head -c 2000000 /dev/zero >big", file);
    assert_int_equal(f->r.signal, SIGXFSZ);
    job_result_str(&f->r, &file, text, sizeof(text));
    assert_non_null(strstr(text, "(file size limit 1 MiB)"));
    assert_int_equal(fsx_remove_tree(dir, &err), 0);
}

static void a_child_that_eats_memory_is_killed(void **state)
{
    const char *const alone[] = {self_path, "eat", NULL};
    CLEANUP_FREE char *in_child = xasprintf("'%s' eat & wait", self_path);
    const char *const below[] = {"/bin/sh", "-c", in_child, NULL};
    struct fixture *f = *state;
    struct job_spec spec = {.argv = alone, .memory_bytes = 256 << 20, .wall_ms = WAIT_MS};
    char text[200];

    for (int i = 0; i < 2; i++) {
        start(f, &spec);
        finish(f);
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
    struct fixture *f = *state;

    start(f, &(struct job_spec){.argv = argv, .memory_bytes = 256 << 20});
    finish(f);
    assert_int_equal(f->r.exit_code, 0);
    assert_string_equal(lines(f), "still here|");
}

static void a_refused_allocation_is_out_of_memory_too(void **state)
{
    struct fixture *f = *state;

    run_shell(f, "echo 'terminate called: std::bad_alloc' >&2; exit 1", (struct job_spec){.memory_bytes = 1 << 30});
    assert_true(f->r.out_of_memory);
    run_shell(f, "echo 'terminate called: std::bad_alloc' >&2; exit 0", (struct job_spec){.memory_bytes = 1 << 30});
    assert_false(f->r.out_of_memory);
    run_shell(f, "kill -9 $$", (struct job_spec){.memory_bytes = 1 << 30});
    assert_false(f->r.out_of_memory);
}

static void what_a_child_leaves_behind_is_killed_and_delays_nothing(void **state)
{
    struct fixture *f = *state;
    int pid;

    /* it holds stdout and stderr open, and ignores what can be ignored */
    run_shell(f, "sh -c 'trap \"\" TERM HUP; while :; do sleep 1; done' & echo $!; exit 0", (struct job_spec){0});
    assert_int_equal(f->r.exit_code, 0);
    pid = (int)strtol(lines(f), NULL, 10);
    assert_true(pid > 0);
    assert_true(loop_until(f->loop, is_dead, &pid, WAIT_MS));
}

static void what_leaves_the_group_delays_nothing_either(void **state)
{
    struct fixture *f = *state;
    struct err err;
    CLEANUP_FREE char *dir = fsx_tmpdir("job", &err);
    int pid;

    run_shell(f, "setsid sh -c 'echo $$ >new; mv new pid; exec sleep 1000' & until [ -s pid ]; do :; done; cat pid",
              (struct job_spec){.cwd = dir});
    assert_int_equal(f->r.exit_code, 0);
    pid = (int)strtol(lines(f), NULL, 10);
    assert_true(pid > 0);
    assert_false(is_dead(&pid)); /* ours to clean up: it was told to stay */
    kill(pid, SIGKILL);
    assert_int_equal(fsx_remove_tree(dir, &err), 0);
}

static void what_cannot_be_started_is_an_error_of_the_start(void **state)
{
    static const struct {
        const char *program, *cwd;
        enum err_code code;
    } bad[] = {
        {"/nonexistent/x", NULL, ERR_NOTFOUND},
        {"no-such-program-anywhere", NULL, ERR_NOTFOUND},
        {"/etc/passwd", NULL, ERR_NOTFOUND},
        {"", NULL, ERR_NOTFOUND},
        {"/bin/true", "/nonexistent", ERR_CHILD},
    };
    struct fixture *f = *state;
    int before = open_descriptors();

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        const char *const argv[] = {bad[i].program, NULL};
        struct job_spec spec = {.argv = argv, .cwd = bad[i].cwd};
        struct err err = {0};

        assert_int_equal(job_start(f->loop, &spec, on_line, on_done, f, &f->job, &err), -1);
        assert_int_equal(err.code, bad[i].code);
        assert_int_equal(err.next, NEXT_REJECT);
    }
    loop_turn(f->loop, 0);
    assert_int_equal(f->n_done, 0);
    assert_int_equal(open_descriptors(), before);
}

static void a_missing_helper_is_named(void **state)
{
    const char *const argv[] = {"true", NULL};
    CLEANUP_FREE char *saved = xstrdup(getenv("RELEARN_LIBEXEC"));
    struct fixture *f = *state;
    struct err err = {0};

    setenv("RELEARN_LIBEXEC", "/nonexistent", 1);
    assert_int_equal(job_start(f->loop, &(struct job_spec){.argv = argv}, NULL, on_done, f, &f->job, &err), -1);
    assert_int_equal(err.next, NEXT_FATAL);
    assert_non_null(strstr(err.msg, "/nonexistent/relearn-exec is missing"));
    if (saved)
        setenv("RELEARN_LIBEXEC", saved, 1);
    else
        unsetenv("RELEARN_LIBEXEC");
}

static void programs_are_found_in_the_path_of_the_child(void **state)
{
    static const char *const env[] = {"PATH=/nonexistent:relative:/usr/bin:/bin", NULL}, *const no_path[] = {"PATH=/nonexistent", NULL};
    const char *const argv[] = {"echo", "hello", NULL};
    struct fixture *f = *state;
    struct err err;

    start(f, &(struct job_spec){.argv = argv, .env = env});
    finish(f);
    assert_string_equal(lines(f), "hello|");
    assert_int_equal(job_start(f->loop, &(struct job_spec){.argv = argv, .env = no_path}, on_line, on_done, f, &f->job, &err), -1);
}

static void a_file_that_is_no_program_says_so_in_the_tail(void **state)
{
    struct fixture *f = *state;
    struct err err;
    CLEANUP_FREE char *dir = fsx_tmpdir("job", &err);
    CLEANUP_FREE char *path = fsx_join(dir, "x");
    const char *const argv[] = {path, NULL};

    assert_int_equal(fsx_write_file(path, "#!/nonexistent/interpreter\n", 27, &err), 0);
    assert_int_equal(chmod(path, 0700), 0);
    start(f, &(struct job_spec){.argv = argv});
    finish(f);
    assert_int_equal(f->r.exit_code, 126);
    assert_non_null(strstr(f->r.tail, "No such file or directory"));
    assert_int_equal(fsx_remove_tree(dir, &err), 0);
}

/* In a process of its own: starts a child, tells its pid, and waits to be killed. */
static NORETURN void be_parent(int fd)
{
    const char *const argv[] = {"sleep", "1000", NULL};
    struct fixture f = {0};
    struct err err;
    int pid;

    if (loop_new(&f.loop, &err) || job_start(f.loop, &(struct job_spec){.argv = argv}, NULL, on_done, &f, &f.job, &err))
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
    struct fixture *f = *state;
    int fds[2], child = 0;
    pid_t parent;

    assert_int_equal(pipe(fds), 0);
    parent = fork();
    if (parent == 0)
        be_parent(fds[1]);
    assert_int_equal(read(fds[0], &child, sizeof(child)), sizeof(child));
    assert_true(loop_until(f->loop, is_sleeping_program, &child, WAIT_MS));
    kill(parent, SIGKILL);
    assert_int_equal(waitpid(parent, NULL, 0), parent);
    assert_true(loop_until(f->loop, is_dead, &child, WAIT_MS));
    close(fds[0]);
    close(fds[1]);
}

static void results_are_one_sentence(void **state)
{
    static const struct {
        struct job_result r;
        struct job_spec spec;
        const char *text;
    } rows[] = {
        {{.exit_code = 0, .wall_ms = 1234}, {0}, "exited with code 0 after 1.2 s"},
        {{.exit_code = -1, .signal = 9, .wall_ms = 3200, .out_of_memory = true}, {.memory_bytes = 2147483648}, "killed by signal 9 after 3.2 s (memory limit 2 GiB)"},
        {{.exit_code = -1, .signal = 9, .out_of_memory = true}, {.memory_bytes = 1500}, "killed by signal 9 after 0.0 s (memory limit 1500 B)"},
        {{.exit_code = -1, .signal = 15, .wall_ms = 600000, .timed_out = true}, {.wall_ms = 600000}, "killed by signal 15 after 600.0 s (wall time limit 600.0 s)"},
        {{.exit_code = 1, .canceled = true}, {0}, "exited with code 1 after 0.0 s (canceled)"},
        {{.exit_code = -1, .signal = 9, .cpu_ms = 15000}, {.cpu_ms = 10000}, "killed by signal 9 after 0.0 s (CPU limit 10.0 s)"},
        {{.exit_code = -1, .signal = 9}, {0}, "killed by signal 9 after 0.0 s (not by us: the kernel, when memory ran out, or somebody)"},
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

/* --- what the memory tests run -------------------------------------------------------------------- */

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

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(a_child_dies_with_its_parent),
        T(a_child_gives_lines_a_code_and_the_end_of_stderr),
        T(a_child_gets_only_what_it_is_given),
        T(signals_that_we_ignore_or_block_are_as_ever_in_the_child),
        T(long_lines_are_cut_and_others_kept),
        T(nothing_of_much_output_is_lost),
        T(a_tail_without_lines_is_cut_at_a_character),
        T(a_signal_ends_it_with_its_number),
        T(the_wall_time_limit_ends_it),
        T(what_ignores_the_first_signal_is_killed),
        T(a_stopped_child_can_be_canceled),
        T(a_job_may_be_canceled_at_once_and_from_its_own_line),
        T(cpu_and_file_limits_hold),
        T(a_child_that_eats_memory_is_killed),
        T(memory_that_is_only_reserved_does_not_count),
        T(a_refused_allocation_is_out_of_memory_too),
        T(what_a_child_leaves_behind_is_killed_and_delays_nothing),
        T(what_leaves_the_group_delays_nothing_either),
        T(what_cannot_be_started_is_an_error_of_the_start),
        T(a_missing_helper_is_named),
        T(programs_are_found_in_the_path_of_the_child),
        T(a_file_that_is_no_program_says_so_in_the_tail),
        T(results_are_one_sentence),
    };

    if (argc == 2 && strcmp(argv[1], "eat") == 0)
        return eat();
    if (argc == 2 && strcmp(argv[1], "reserve") == 0)
        return reserve();
    if (getenv("RELEARN_BIN") && !getenv("RELEARN_LIBEXEC"))
        setenv("RELEARN_LIBEXEC", getenv("RELEARN_BIN"), 1);
    if (readlink("/proc/self/exe", self_path, sizeof(self_path) - 1) < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
