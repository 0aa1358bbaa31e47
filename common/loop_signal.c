/* SIGTERM and SIGINT.  Not libuv's signal handles: those need the loop to turn, and the second
 * signal is for the process whose loop does not turn any more.  The handler here tells each loop by
 * an eventfd the first time and ends the process the second time. */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/loop_internal.h"

enum { SIGNAL_LOOPS_MAX = 64 }; /* loops of one process: a test runs every agent in one */

static _Atomic int signal_fds[SIGNAL_LOOPS_MAX]; /* fd + 1; 0 is free */
static _Atomic int n_loops, n_signals;

static void on_stop_signal(int signum)
{
    int saved_errno = errno;
    uint64_t one = 1;

    if (atomic_fetch_add(&n_signals, 1) >= 1)
        _exit(128 + signum);
    for (size_t i = 0; i < SIGNAL_LOOPS_MAX; i++) {
        int fd = atomic_load(&signal_fds[i]) - 1;

        if (fd >= 0 && write(fd, &one, sizeof(one)) < 0)
            continue; /* already signaled, which is all that it is to say */
    }
    errno = saved_errno;
}

static void handlers_set(void (*handler)(int))
{
    struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_RESTART};

    sigemptyset(&sa.sa_mask);
    BUG_ON(sigaction(SIGTERM, &sa, NULL) != 0);
    BUG_ON(sigaction(SIGINT, &sa, NULL) != 0);
}

static void on_signal_fd(void *ctx)
{
    struct loop *l = ctx;
    uint64_t count;

    if (read(l->signal_fd, &count, sizeof(count)) == (ssize_t)sizeof(count))
        l->on_signal(l->signal_ctx);
}

void loop_on_stop_signal(struct loop *l, loop_fn fn, void *ctx)
{
    size_t i = 0;

    l->on_signal = fn;
    l->signal_ctx = ctx;
    if (l->signal_fd >= 0)
        return;
    l->signal_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    BUG_ON(l->signal_fd < 0);
    l->signal_watch = loop_watch_new(l, l->signal_fd, on_signal_fd, l);
    loop__unref_watch(l->signal_watch);
    for (int empty = 0; !atomic_compare_exchange_strong(&signal_fds[i], &empty, l->signal_fd + 1);
         empty = 0)
        BUG_ON(++i == SIGNAL_LOOPS_MAX);
    if (atomic_fetch_add(&n_loops, 1) == 0)
        handlers_set(on_stop_signal);
}

void loop__signal_fini(struct loop *l)
{
    if (l->signal_fd < 0)
        return;
    for (size_t i = 0; i < SIGNAL_LOOPS_MAX; i++) {
        int mine = l->signal_fd + 1;

        atomic_compare_exchange_strong(&signal_fds[i], &mine, 0);
    }
    if (atomic_fetch_sub(&n_loops, 1) == 1) {
        handlers_set(SIG_DFL);
        atomic_store(&n_signals, 0);
    }
    loop_watch_free(l->signal_watch);
    close(l->signal_fd);
    l->signal_fd = -1;
}
