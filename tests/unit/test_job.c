#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fsx.h"
#include "common/job.h"
#include "common/mem.h"
#include "tests/support/job_run.h"

static int pidfd_errno; /* what pidfd_open fails with; 0: it does not */

int pidfd_open(pid_t pid, unsigned flags) /* in the place of the C library's */
{
    if (!pidfd_errno)
        return (int)syscall(SYS_pidfd_open, pid, flags);
    errno = pidfd_errno;
    return -1;
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
    struct job_run *f = *state;
    int before = open_descriptors();

    job_run_shell(f, "echo one; echo; printf two; echo bad >&2; printf 'worse\\033[1m' >&2; exit 3",
                  (struct job_spec){0});
    assert_string_equal(job_run_lines(f), "one||two|");
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
    struct job_run *f = *state;

    setenv("SECRET", "x", 1);
    job_run_shell(f, "/usr/bin/env | grep -v -e '^PWD=' -e '^_=' -e '^SHLVL=' -e '^OLDPWD='",
                  (struct job_spec){.env = env});
    assert_string_equal(job_run_lines(f), "A=1|B=two words|");
    job_run_shell(f, "pwd; cat; ls /proc/self/fd | tr '\\n' ' '", (struct job_spec){.cwd = "/usr"});
    assert_string_equal(job_run_lines(f), "/usr|0 1 2 3 |"); /* 3 is the folder that ls reads */
    job_run_shell(f, "ulimit -c", (struct job_spec){0});
    assert_string_equal(job_run_lines(f), "0|");
    job_run_shell(f, "ps -o pgid= -p $$ | tr -d ' '; echo $$", (struct job_spec){0});
    assert_true(f->lines.len > 2);
    assert_memory_equal(job_run_lines(f), strchr(job_run_lines(f), '|') + 1,
                        f->lines.len / 2); /* a group of its own */
}

static void signals_that_we_ignore_or_block_are_as_ever_in_the_child(void **state)
{
    struct job_run *f = *state;
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    job_run_shell(f, "grep -E '^Sig(Blk|Ign)' /proc/self/status | tr -d '\\t'",
                  (struct job_spec){0});
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    assert_true(str_has_prefix(job_run_lines(f), "SigBlk:0000000000000000|SigIgn:"));
    /* 32 and above belong to the C library; SIGPIPE, which the loop ignores, is below */
    assert_int_equal(
        strtoull(job_run_lines(f) + strlen("SigBlk:0000000000000000|SigIgn:"), NULL, 16) &
            0x7fffffff,
        0);
}

static void long_lines_are_cut_and_others_kept(void **state)
{
    struct job_run *f = *state;

    job_run_shell(f, "head -c 10000 /dev/zero | tr '\\0' x; echo; printf 'a\\0b\\n'",
                  (struct job_spec){0});
    assert_int_equal(f->n_lines, 2);
    assert_int_equal(f->lines.len, 4096 + 1 + 4);
    assert_string_equal(job_run_lines(f) + 4096, "|a?b|");
}

static void nothing_of_much_output_is_lost(void **state)
{
    struct job_run *f = *state;

    job_run_shell(f,
                  "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; seq 1 3000 >&2",
                  (struct job_spec){0});
    assert_int_equal(f->n_lines, 20000);
    assert_non_null(strstr(job_run_lines(f), "|line 12345|line 12346|"));
    assert_true(str_has_suffix(f->r.tail, "\n2999\n3000"));
    assert_true(strlen(f->r.tail) > 4000);
    assert_non_null(strchr("0123456789", f->r.tail[0])); /* from the begin of a line */
}

static void a_tail_without_lines_is_cut_at_a_character(void **state)
{
    struct job_run *f = *state;

    job_run_shell(f, "i=0; while [ $i -lt 3000 ]; do printf '\\303\\251' >&2; i=$((i+1)); done",
                  (struct job_spec){0});
    assert_int_equal(strlen(f->r.tail), 4094);
    assert_true(slice_is_utf8(slice_str(f->r.tail)));
    job_run_shell(f, "printf 'a\\377b\\rc\\n\\n' >&2", (struct job_spec){0});
    assert_string_equal(f->r.tail, "a?b\nc");
}

static void a_signal_ends_it_with_its_number(void **state)
{
    struct job_run *f = *state;
    char text[200];

    job_run_shell(f, "kill -SEGV $$", (struct job_spec){0});
    assert_int_equal(f->r.exit_code, -1);
    assert_int_equal(f->r.signal, SIGSEGV);
    f->r.wall_ms = 100;
    job_result_str(&f->r, &(struct job_spec){0}, text, sizeof(text));
    assert_string_equal(text, "killed by signal 11 after 0.1 s (Segmentation fault)");
}

static void a_stopped_child_can_be_canceled(void **state)
{
    struct job_run *f = *state;

    job_run_start_shell(f, "echo ready; kill -STOP $$", (struct job_spec){0});
    assert_true(loop_until(f->loop, job_run_has_line, f, JOB_RUN_WAIT_MS));
    job_cancel(f->job);
    job_run_finish(f);
    assert_true(f->r.canceled);
    assert_int_equal(f->r.signal, SIGTERM);
}

static void a_job_may_be_canceled_at_once_and_from_its_own_line(void **state)
{
    struct job_run *f = *state;

    job_run_start_shell(f, "sleep 1000", (struct job_spec){0});
    job_cancel(f->job);
    assert_int_equal(f->n_done, 0);
    job_run_finish(f);
    assert_true(f->r.canceled);
    f->is_cancel_on_line = true;
    job_run_shell(f, "echo now; sleep 1000", (struct job_spec){0});
    assert_true(f->r.canceled);
    job_run_shell(f, "echo now", (struct job_spec){0}); /* whether it was over by then or not */
    assert_string_equal(job_run_lines(f), "now|");
}

static void output_may_be_appended_to_a_file_instead(void **state)
{
    struct job_run *f = *state;
    struct err err;
    CLEANUP_FREE char *dir = fsx_tmpdir("job", &err);
    CLEANUP_FREE char *path = fsx_join(dir, "x.log");
    CLEANUP(buf_fini) struct buf text = {0};
    const char *const argv[] = {"true", NULL};
    struct job_spec spec = {.argv = argv, .log_path = "/nonexistent/x.log"};

    for (int i = 0; i < 2; i++) {
        job_run_shell(f, "echo out; echo err >&2; exit 4", (struct job_spec){.log_path = path});
        assert_int_equal(f->r.exit_code, 4);
        assert_string_equal(job_run_lines(f), "");
        assert_string_equal(f->r.tail, "");
    }
    assert_int_equal(fsx_read_file(path, 4096, &text, &err), 0);
    assert_string_equal(text.data, "out\nerr\nout\nerr\n");
    assert_int_equal(job_start(f->loop, &spec, NULL, job_run_on_done, f, &f->job, &err), -1);
    assert_int_equal(err.code, ERR_CHILD);
    assert_int_equal(fsx_remove_tree(dir, &err), 0);
}

static void what_cannot_be_started_is_an_error_of_the_start(void **state)
{
    static const struct {
        const char *program, *cwd;
        enum err_code code;
    } bad[] = {
        {"/nonexistent/x", NULL, ERR_NOTFOUND},   {"no-such-program-anywhere", NULL, ERR_NOTFOUND},
        {"/etc/passwd", NULL, ERR_NOTFOUND},      {"", NULL, ERR_NOTFOUND},
        {"/bin/true", "/nonexistent", ERR_CHILD},
    };
    struct job_run *f = *state;
    int before = open_descriptors();

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        const char *const argv[] = {bad[i].program, NULL};
        struct job_spec spec = {.argv = argv, .cwd = bad[i].cwd};
        struct err err = {0};

        assert_int_equal(
            job_start(f->loop, &spec, job_run_on_line, job_run_on_done, f, &f->job, &err), -1);
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
    struct job_run *f = *state;
    struct err err = {0};

    setenv("RELEARN_LIBEXEC", "/nonexistent", 1);
    assert_int_equal(job_start(f->loop, &(struct job_spec){.argv = argv}, NULL, job_run_on_done, f,
                               &f->job, &err),
                     -1);
    assert_int_equal(err.next, NEXT_FATAL);
    assert_non_null(strstr(err.msg, "/nonexistent/relearn-exec is missing"));
    if (saved)
        setenv("RELEARN_LIBEXEC", saved, 1);
    else
        unsetenv("RELEARN_LIBEXEC");
}

static void programs_are_found_in_the_path_of_the_child(void **state)
{
    static const char *const env[] = {"PATH=/nonexistent:relative:/usr/bin:/bin", NULL},
                             *const no_path[] = {"PATH=/nonexistent", NULL};
    const char *const argv[] = {"echo", "hello", NULL};
    struct job_run *f = *state;
    struct err err;

    job_run_start(f, &(struct job_spec){.argv = argv, .env = env});
    job_run_finish(f);
    assert_string_equal(job_run_lines(f), "hello|");
    assert_int_equal(job_start(f->loop, &(struct job_spec){.argv = argv, .env = no_path},
                               job_run_on_line, job_run_on_done, f, &f->job, &err),
                     -1);
}

static void a_file_that_is_no_program_says_so_in_the_tail(void **state)
{
    struct job_run *f = *state;
    struct err err;
    CLEANUP_FREE char *dir = fsx_tmpdir("job", &err);
    CLEANUP_FREE char *path = fsx_join(dir, "x");
    const char *const argv[] = {path, NULL};

    assert_int_equal(fsx_write_file(path, "#!/nonexistent/interpreter\n", 27, &err), 0);
    assert_int_equal(chmod(path, 0700), 0);
    job_run_start(f, &(struct job_spec){.argv = argv});
    job_run_finish(f);
    assert_int_equal(f->r.exit_code, 126);
    assert_non_null(strstr(f->r.tail, "No such file or directory"));
    assert_int_equal(fsx_remove_tree(dir, &err), 0);
}

/* As under an old seccomp profile (EPERM) or valgrind (ENOSYS). */
static void a_child_is_looked_after_where_there_are_no_pidfds(void **state)
{
    static const int REFUSALS[] = {EPERM, ENOSYS};
    struct job_run *f = *state;
    int before = open_descriptors();

    for (size_t i = 0; i < ARRAY_LEN(REFUSALS); i++) {
        pidfd_errno = REFUSALS[i];
        job_run_shell(f, "echo one; echo bad >&2; exit 3", (struct job_spec){0});
        assert_string_equal(job_run_lines(f), "one|");
        assert_string_equal(f->r.tail, "bad");
        assert_int_equal(f->r.exit_code, 3);
        job_run_shell(f, "kill -9 $$", (struct job_spec){0});
        assert_int_equal(f->r.signal, SIGKILL);
        job_run_shell(f, "sleep 1000", (struct job_spec){.wall_ms = 1});
        assert_true(f->r.timed_out);
        assert_int_equal(open_descriptors(), before);
    }
    pidfd_errno = 0;
}

static void a_child_that_cannot_be_watched_is_not_left_alone(void **state)
{
    static const char *const argv[] = {"/bin/sleep", "1000", NULL};
    struct job_run *f = *state;
    struct job *j = NULL;
    struct err err = {0};

    pidfd_errno = EMFILE;
    assert_int_equal(
        job_start(f->loop, &(struct job_spec){.argv = argv}, NULL, job_run_on_done, f, &j, &err),
        -1);
    pidfd_errno = 0;
    assert_int_equal(err.next, NEXT_RETRY);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* it was ended and reaped */
    assert_int_equal(errno, ECHILD);
    assert_int_equal(f->n_done, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, job_run_setup, job_run_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_child_gives_lines_a_code_and_the_end_of_stderr),
        T(a_child_gets_only_what_it_is_given),
        T(signals_that_we_ignore_or_block_are_as_ever_in_the_child),
        T(long_lines_are_cut_and_others_kept),
        T(nothing_of_much_output_is_lost),
        T(a_tail_without_lines_is_cut_at_a_character),
        T(a_signal_ends_it_with_its_number),
        T(a_stopped_child_can_be_canceled),
        T(a_job_may_be_canceled_at_once_and_from_its_own_line),
        T(output_may_be_appended_to_a_file_instead),
        T(what_cannot_be_started_is_an_error_of_the_start),
        T(a_missing_helper_is_named),
        T(programs_are_found_in_the_path_of_the_child),
        T(a_file_that_is_no_program_says_so_in_the_tail),
        T(a_child_is_looked_after_where_there_are_no_pidfds),
        T(a_child_that_cannot_be_watched_is_not_left_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
