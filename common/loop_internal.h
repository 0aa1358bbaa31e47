/* What the files of module loop share. */
#ifndef COMMON_LOOP_INTERNAL_H
#define COMMON_LOOP_INTERNAL_H

#include <pthread.h>
#include <uv.h>

#include "common/loop.h"

struct loop_task {
    struct loop_task *next;
    loop_fn fn;
    void *ctx;
};
struct loop_queue {
    struct loop_task *head, **tail;
};

struct loop {
    uv_loop_t uv;
    uv_async_t wake;      /* another thread posted; unreferenced: keeps no loop alive */
    uv_check_t after;     /* runs what was deferred, after the turn's callbacks */
    uv_idle_t no_wait;    /* while something is deferred the poll must not block */
    uv_timer_t guard;     /* ends the wait of loop_turn */
    pthread_mutex_t lock; /* of `posted` alone */
    struct loop_queue posted, deferred;
    bool running; /* inside uv_run, which cannot be entered twice */
    bool in_turn; /* inside loop_turn: the first callback ends the wait */
    bool stopping;
    size_t n_owned; /* timers and watches whose owners have not freed them */
    size_t n_work;  /* submitted, not yet done */
    int signal_fd;  /* -1: loop_on_stop_signal was not called */
    struct loop_watch *signal_watch;
    loop_fn on_signal;
    void *signal_ctx;
};

/* To be called by each callback that libuv calls: something happened, loop_turn need not wait on.
 */
void loop__happened(struct loop *l);
/* The watch keeps no loop alive: loop_run ends though signals may still come. */
void loop__unref_watch(struct loop_watch *w);
void loop__signal_fini(struct loop *l);

#endif
