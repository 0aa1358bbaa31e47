/* Timers, watched descriptors and work of a loop.  libuv owns a handle's memory until its close
 * callback, so `free` here detaches the owner at once and releases the memory then. */
#include <stdlib.h>

#include "common/loop_internal.h"
#include "common/mem.h"

struct loop_timer {
    uv_timer_t uv;
    struct loop *loop;
    loop_fn on_timer;
    void *ctx;
};
struct loop_watch {
    uv_poll_t uv;
    struct loop *loop;
    loop_fn on_readable;
    void *ctx;
};
struct work {
    uv_work_t uv;
    struct loop *loop;
    void (*run)(void *ctx);
    void (*done)(void *ctx);
    void *ctx;
};

static void on_timer(uv_timer_t *h)
{
    struct loop_timer *t = h->data;

    loop__happened(t->loop);
    t->on_timer(t->ctx);
}

struct loop_timer *loop_timer_new(struct loop *l, loop_fn fn, void *ctx)
{
    struct loop_timer *t = xcalloc(1, sizeof(*t));

    BUG_ON(uv_timer_init(&l->uv, &t->uv) != 0);
    t->uv.data = t;
    t->loop = l;
    t->on_timer = fn;
    t->ctx = ctx;
    l->n_owned++;
    return t;
}

void loop_timer_start(struct loop_timer *t, int64_t delay_ms)
{
    /* The loop's notion of now is that of the turn's begin: after a slow callback it would fire
     * early. */
    uv_update_time(&t->loop->uv);
    uv_timer_start(&t->uv, on_timer, delay_ms > 0 ? (uint64_t)delay_ms : 0, 0);
}

void loop_timer_stop(struct loop_timer *t)
{
    uv_timer_stop(&t->uv);
}

static void on_timer_closed(uv_handle_t *h)
{
    free(h->data);
}

void loop_timer_free(struct loop_timer *t)
{
    if (!t)
        return;
    t->loop->n_owned--;
    uv_close((uv_handle_t *)&t->uv, on_timer_closed);
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct loop_watch *w = h->data;

    /* An error is the owner's to find: its next read of the descriptor says what it is. */
    (void)status;
    (void)events;
    loop__happened(w->loop);
    w->on_readable(w->ctx);
}

struct loop_watch *loop_watch_new(struct loop *l, int fd, loop_fn fn, void *ctx)
{
    struct loop_watch *w = xcalloc(1, sizeof(*w));

    /* Fails only for a descriptor that is not open or cannot be polled: the caller's mistake. */
    BUG_ON(uv_poll_init(&l->uv, &w->uv, fd) != 0);
    w->uv.data = w;
    w->loop = l;
    w->on_readable = fn;
    w->ctx = ctx;
    BUG_ON(uv_poll_start(&w->uv, UV_READABLE, on_poll) != 0);
    l->n_owned++;
    return w;
}

static void on_watch_closed(uv_handle_t *h)
{
    free(h->data);
}

void loop_watch_free(struct loop_watch *w)
{
    if (!w)
        return;
    w->loop->n_owned--;
    uv_close((uv_handle_t *)&w->uv, on_watch_closed);
}

void loop__unref_watch(struct loop_watch *w)
{
    uv_unref((uv_handle_t *)&w->uv);
}

static void work_run(uv_work_t *uv)
{
    struct work *w = uv->data;

    w->run(w->ctx);
}

static void work_done(uv_work_t *uv, int status)
{
    struct work *w = uv->data;

    BUG_ON(status != 0); /* nothing here cancels */
    loop__happened(w->loop);
    w->loop->n_work--;
    if (w->done)
        w->done(w->ctx);
    free(w);
}

struct work *work_submit(struct loop *l, void (*run)(void *ctx), void (*done)(void *ctx), void *ctx)
{
    struct work *w = xcalloc(1, sizeof(*w));

    w->uv.data = w;
    w->loop = l;
    w->run = run;
    w->done = done;
    w->ctx = ctx;
    l->n_work++;
    BUG_ON(uv_queue_work(&l->uv, &w->uv, work_run, work_done) != 0);
    return w;
}
