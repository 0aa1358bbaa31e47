/* The event loop (libuv) as the rest of the project sees it: run, stop, timers, signals, file
 * descriptors, posts from other threads.  Loop thread unless said otherwise. */
#ifndef COMMON_LOOP_H
#define COMMON_LOOP_H

#include "common/base.h"
#include "common/err.h"

struct loop;

/* Also has the process ignore SIGPIPE. */
int loop_new(struct loop **ret, struct err *err) WARN_UNUSED;
/* Waits for work, runs what was deferred or posted, closes; BUG when a handle's owner is still
 * alive. */
void loop_free(struct loop *l);
void loop_run(struct loop *l); /* until loop_stop or nothing is left */
void loop_stop(struct loop *l);
/* One turn; waits at most timeout_ms (-1: until something happens).  For tests, command lines. */
void loop_turn(struct loop *l, int timeout_ms);
/* Turns until cond(ctx) is true or timeout_ms passed; returns cond's last value. */
bool loop_until(struct loop *l, bool (*cond)(void *ctx), void *ctx, int timeout_ms);

typedef void (*loop_fn)(void *ctx);
/* Timers: one shot, restartable.  free stops. */
struct loop_timer;
struct loop_timer *loop_timer_new(struct loop *l, loop_fn on_timer, void *ctx);
void loop_timer_start(struct loop_timer *t, int64_t delay_ms); /* again: moved */
void loop_timer_stop(struct loop_timer *t);
void loop_timer_free(struct loop_timer *t); /* NULL is fine */
/* Readable file descriptors (eventfds, epoll fds of other libraries). The fd stays the caller's. */
struct loop_watch;
struct loop_watch *loop_watch_new(struct loop *l, int fd, loop_fn on_readable, void *ctx);
void loop_watch_free(struct loop_watch *w); /* NULL is fine */
/* Runs after the current turn's callbacks; may be called from a callback. */
void loop_defer(struct loop *l, loop_fn fn, void *ctx);
/* Any thread: runs fn on the loop thread. */
void loop_post(struct loop *l, loop_fn fn, void *ctx);
/* SIGTERM and SIGINT; the second signal ends the process at once with 128+n, even when the loop is
 * stuck.  Every loop that asked is told of the first. */
void loop_on_stop_signal(struct loop *l, loop_fn fn, void *ctx);

/* Work on the pool: `run` on a pool thread touches only ctx; `done` (or NULL) follows on the loop
 * thread.  It cannot be canceled: loop_free waits for it.  The pool has 4 threads (libuv's
 * UV_THREADPOOL_SIZE sets it), shared by all loops of the process. */
struct work;
struct work *work_submit(struct loop *l, void (*run)(void *ctx), void (*done)(void *ctx),
                         void *ctx);

#endif
