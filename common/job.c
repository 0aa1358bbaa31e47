/* Guarantees: on_done comes once, after the child was reaped and every process of its group was
 * sent SIGKILL; the child dies when the thread that started it does.
 *
 * Mechanism: posix_spawn (no fork: a process that has used OpenMP cannot) of relearn-exec in a
 * group of its own; a pidfd on the loop tells its end.  The group is killed while the leader is
 * still a zombie, so that its number cannot belong to anybody else.  Where pidfds are refused
 * (containers with an old seccomp profile, valgrind), the child is looked at every 20 ms instead.
 *
 * Memory.  RLIMIT_AS counts what OpenMP, malloc arenas and sanitizers only reserve, RLIMIT_DATA
 * still what is asked and never touched, and with either a child fails in ways of its own.  So the
 * parent looks at what the child and its descendants hold (anonymous, shared and swapped pages; not
 * mapped files) and kills the group when it is too much: every 200 ms far from the limit, and near
 * it as often as it takes for a child that fills 5 GB/s, but never more than every 10 ms.  It may
 * so exceed its limit by 50 MB.
 *
 * Left out on purpose: descendants that leave the group (setsid) are counted but not killed; the
 * CPU limit is per process, as the kernel has it. */
#include "common/job_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clk.h"
#include "common/fault.h"
#include "common/mem.h"

enum {
    JOB_GRACE_MS = 5000,       /* from TERM to KILL: a trainer may want to save what it has */
    JOB_READ_BYTES = 64 << 10, /* at once from a pipe, which holds as much */
    JOB_DRAIN_MAX_BYTES =
        1 << 20,  /* the largest pipe; a process that left the group may write on */
    LOOK_MS = 20, /* at a child without a pidfd: short beside what a process costs */
    MEMORY_SLOW_MS = 200,
    MEMORY_FAST_MS = 10,
    MEMORY_FILL_BYTES_PER_MS = 5000000, /* one core writing pages for the first time is slower */
};

struct job {
    struct loop *loop;
    job_done_fn on_done;
    void *ctx;
    int64_t memory_limit_bytes, start_ms;
    struct job_child child;
    struct loop_watch *pid_watch, *out_watch, *err_watch;
    struct loop_timer *deadline, *kill_timer, *memory_timer, *look_timer;
    bool is_over; /* reaped: its pid is somebody else's */
    struct job_lines lines;
    struct job_tail tail;
    struct job_result r;
};

/* --- the end --------------------------------------------------------------------------------- */

void job__close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void job_free(struct job *j)
{
    loop_watch_free(j->pid_watch);
    loop_watch_free(j->out_watch);
    loop_watch_free(j->err_watch);
    loop_timer_free(j->deadline);
    loop_timer_free(j->kill_timer);
    loop_timer_free(j->memory_timer);
    loop_timer_free(j->look_timer);
    job__close_fd(&j->child.pid_fd);
    job__close_fd(&j->child.out_fd);
    job__close_fd(&j->child.err_fd);
    free(j);
}

static void signal_group(const struct job *j, int signum)
{
    if (!j->is_over)
        kill(-j->child.pid, signum);
}

static void on_kill_timer(void *ctx)
{
    signal_group(ctx, SIGKILL);
}

static void terminate(struct job *j)
{
    signal_group(j, SIGTERM);
    signal_group(j, SIGCONT); /* a stopped one takes it now */
    loop_timer_start(j->kill_timer, JOB_GRACE_MS);
}

static void on_deadline(void *ctx)
{
    struct job *j = ctx;

    if (!j->r.canceled && !j->r.out_of_memory) {
        j->r.timed_out = true;
        terminate(j);
    }
}

void job_cancel(struct job *j)
{
    if (j->is_over || j->r.canceled)
        return;
    if (!j->r.timed_out && !j->r.out_of_memory) {
        j->r.canceled = true;
        terminate(j);
    }
}

static void on_memory_timer(void *ctx)
{
    struct job *j = ctx;
    int64_t bytes = job__memory_bytes(j->child.pid), delay_ms;

    if (bytes > j->r.max_rss_bytes)
        j->r.max_rss_bytes = bytes;
    if (bytes > j->memory_limit_bytes) {
        j->r.out_of_memory = true;
        signal_group(j, SIGKILL); /* no grace: it would go on growing */
        return;
    }
    delay_ms = (j->memory_limit_bytes - bytes) / MEMORY_FILL_BYTES_PER_MS;
    if (delay_ms < MEMORY_FAST_MS)
        delay_ms = MEMORY_FAST_MS;
    if (delay_ms > MEMORY_SLOW_MS)
        delay_ms = MEMORY_SLOW_MS;
    loop_timer_start(j->memory_timer, delay_ms);
}

/* The other way in which memory runs out: an allocation was refused, and the child says so. */
static bool says_out_of_memory(const struct job_result *r)
{
    return r->exit_code != 0 &&
           (strstr(r->tail, "std::bad_alloc") || strstr(r->tail, "MemoryError") ||
            strstr(r->tail, "Cannot allocate memory"));
}

/* --- output ---------------------------------------------------------------------------------- */

/* Returns the bytes read; 0 when there are none now, or no more. */
static size_t read_some(struct job *j, int *fd, struct loop_watch **watch)
{
    char bytes[JOB_READ_BYTES];
    ssize_t n = *fd < 0 ? 0 : read(*fd, bytes, sizeof(bytes));

    if (n > 0 && fd == &j->child.out_fd)
        job__lines_add(&j->lines, bytes, (size_t)n);
    else if (n > 0)
        job__tail_add(&j->tail, bytes, (size_t)n);
    if (n > 0)
        return (size_t)n;
    if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        loop_watch_free(TAKE(*watch));
        job__close_fd(fd);
    }
    return 0;
}

static void on_out(void *ctx)
{
    struct job *j = ctx;

    read_some(j, &j->child.out_fd, &j->out_watch);
}

static void on_err(void *ctx)
{
    struct job *j = ctx;

    read_some(j, &j->child.err_fd, &j->err_watch);
}

static void drain(struct job *j, int *fd, struct loop_watch **watch)
{
    size_t n, sum = 0;

    while (sum < JOB_DRAIN_MAX_BYTES && (n = read_some(j, fd, watch)))
        sum += n;
}

static int64_t timeval_ms(struct timeval tv)
{
    return (int64_t)tv.tv_sec * 1000 + tv.tv_usec / 1000;
}

static void on_exit_of_child(void *ctx)
{
    struct job *j = ctx;
    struct rusage ru = {0};
    int status = 0, rc;

    FAULT_AT(reap, "job.reap.before");
    signal_group(j, SIGKILL);
    do
        rc = wait4(j->child.pid, &status, 0, &ru);
    while (rc < 0 && errno == EINTR);
    BUG_ON(rc != j->child.pid); /* somebody else reaps our children */
    j->is_over = true;
    j->r.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    j->r.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    j->r.wall_ms = clk_mono_ms(&clk_system) - j->start_ms;
    j->r.cpu_ms = timeval_ms(ru.ru_utime) + timeval_ms(ru.ru_stime);
    if (ru.ru_maxrss * 1024 > j->r.max_rss_bytes)
        j->r.max_rss_bytes = ru.ru_maxrss * 1024;
    drain(j, &j->child.out_fd, &j->out_watch);
    drain(j, &j->child.err_fd, &j->err_watch);
    job__lines_end(&j->lines);
    job__tail_text(&j->tail, j->r.tail);
    if (j->memory_limit_bytes && !j->r.timed_out && !j->r.canceled && says_out_of_memory(&j->r))
        j->r.out_of_memory = true;
    FAULT_AT(reap, "job.reap.after");
    j->on_done(j->ctx, &j->r);
    job_free(j);
}

static void on_look_timer(void *ctx)
{
    struct job *j = ctx;
    siginfo_t info = {0};

    if (waitid(P_PID, (id_t)j->child.pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
        info.si_pid == j->child.pid)
        on_exit_of_child(j);
    else
        loop_timer_start(j->look_timer, LOOK_MS);
}

/* --- the start ------------------------------------------------------------------------------- */

/* What the parent sees to. */
static void start_limits(struct job *j, const struct job_spec *spec)
{
    j->start_ms = clk_mono_ms(&clk_system);
    j->memory_limit_bytes = spec->memory_bytes;
    if (spec->wall_ms)
        loop_timer_start(j->deadline, spec->wall_ms);
    if (spec->memory_bytes)
        loop_timer_start(j->memory_timer, MEMORY_FAST_MS);
}

static void watch(struct job *j, const struct job_spec *spec)
{
    if (j->child.pid_fd >= 0) {
        j->pid_watch = loop_watch_new(j->loop, j->child.pid_fd, on_exit_of_child, j);
    } else {
        j->look_timer = loop_timer_new(j->loop, on_look_timer, j);
        loop_timer_start(j->look_timer, LOOK_MS);
    }
    if (j->child.out_fd >= 0)
        j->out_watch = loop_watch_new(j->loop, j->child.out_fd, on_out, j);
    if (j->child.err_fd >= 0)
        j->err_watch = loop_watch_new(j->loop, j->child.err_fd, on_err, j);
    j->kill_timer = loop_timer_new(j->loop, on_kill_timer, j);
    j->deadline = loop_timer_new(j->loop, on_deadline, j);
    j->memory_timer = loop_timer_new(j->loop, on_memory_timer, j);
    start_limits(j, spec);
}

int job_start(struct loop *l, const struct job_spec *spec, job_line_fn on_line, job_done_fn on_done,
              void *ctx, struct job **ret, struct err *err)
{
    struct job_child child;
    struct job *j;

    if (job__spawn(spec, &child, err))
        return -1;
    j = xcalloc(1, sizeof(*j));
    j->loop = l;
    j->on_done = on_done;
    j->ctx = ctx;
    j->child = child;
    j->lines.on_line = on_line;
    j->lines.ctx = ctx;
    watch(j, spec);
    *ret = j;
    return 0;
}

void job_limit(struct job *j, const struct job_spec *spec)
{
    if (j->is_over)
        return;
    start_limits(j, spec);
    if (spec->cpu_ms)
        job__limit_cpu(j->child.pid, spec->cpu_ms);
}

int job_pid(const struct job *j)
{
    return j->child.pid;
}
