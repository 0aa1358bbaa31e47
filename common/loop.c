/* Guarantees: a callback never runs inside the call that asked for it; what was deferred or posted
 * before loop_free still runs; loop_free leaves nothing behind, or aborts and so names the owner.
 * Mechanism: deferred calls run in libuv's check phase, with an idle handle to keep the poll before
 * it from blocking; posts arrive by one uv_async.  libuv's UV_RUN_ONCE runs due timers and then
 * still waits for the next event, so in loop_turn each callback asks for a stop, which makes that
 * wait empty. Left out on purpose: canceling posts and work; an owner waits for them instead. */
#include "common/loop_internal.h"

#include <signal.h>
#include <stdlib.h>

#include "common/clk.h"
#include "common/mem.h"

enum {
    LOOP_FREE_ROUNDS_MAX = 10000, /* a task that defers itself for ever would hang loop_free */
    LOOP_UNTIL_SLICE_MS = 10,     /* a condition may also be made true by another thread */
};

static void queue_init(struct loop_queue *q)
{
    q->head = NULL;
    q->tail = &q->head;
}

static void queue_add(struct loop_queue *q, loop_fn fn, void *ctx)
{
    struct loop_task *t = xcalloc(1, sizeof(*t));

    t->fn = fn;
    t->ctx = ctx;
    *q->tail = t;
    q->tail = &t->next;
}

static struct loop_task *queue_take(struct loop_queue *q)
{
    struct loop_task *head = q->head;

    queue_init(q);
    return head;
}

static bool tasks_run(struct loop_task *t)
{
    bool any = t;

    while (t) {
        struct loop_task *next = t->next;
        loop_fn fn = t->fn;
        void *ctx = t->ctx;

        free(t);
        fn(ctx);
        t = next;
    }
    return any;
}

void loop__happened(struct loop *l)
{
    if (l->in_turn)
        uv_stop(&l->uv);
}

static bool run_posted(struct loop *l)
{
    struct loop_task *tasks;

    pthread_mutex_lock(&l->lock);
    tasks = queue_take(&l->posted);
    pthread_mutex_unlock(&l->lock);
    return tasks_run(tasks);
}

static bool run_deferred(struct loop *l)
{
    struct loop_task *tasks = queue_take(&l->deferred);
    bool any = tasks_run(tasks);

    if (!l->deferred.head) {
        uv_check_stop(&l->after);
        uv_idle_stop(&l->no_wait);
    }
    return any;
}

static void on_wake(uv_async_t *h)
{
    struct loop *l = h->data;

    if (run_posted(l))
        loop__happened(l);
}

static void on_after(uv_check_t *h)
{
    struct loop *l = h->data;

    if (run_deferred(l))
        loop__happened(l);
}

static void on_no_wait(uv_idle_t *h)
{
    (void)h;
}

/* It may be due before the turn has come to its wait, which would then have no end. */
static void on_guard(uv_timer_t *h)
{
    loop__happened(h->data);
}

int loop_new(struct loop **ret, struct err *err)
{
    struct loop *l = xcalloc(1, sizeof(*l));
    int rc;

    /* A peer that goes away is an error code of the write, never the end of the process. */
    signal(SIGPIPE, SIG_IGN);
    rc = uv_loop_init(&l->uv);
    if (rc) {
        free(l);
        return err_set(err, ERR_IO, NEXT_FATAL, "event loop: %s", uv_strerror(rc));
    }
    rc = uv_async_init(&l->uv, &l->wake, on_wake);
    if (rc) {
        uv_loop_close(&l->uv);
        free(l);
        return err_set(err, ERR_IO, NEXT_FATAL, "event loop: %s", uv_strerror(rc));
    }
    uv_unref((uv_handle_t *)&l->wake);
    uv_check_init(&l->uv, &l->after);
    uv_idle_init(&l->uv, &l->no_wait);
    uv_timer_init(&l->uv, &l->guard);
    l->wake.data = l->after.data = l->no_wait.data = l->guard.data = l;
    pthread_mutex_init(&l->lock, NULL);
    queue_init(&l->posted);
    queue_init(&l->deferred);
    l->signal_fd = -1;
    *ret = l;
    return 0;
}

static void run_uv(struct loop *l, uv_run_mode mode)
{
    BUG_ON(l->running);
    l->running = true;
    uv_run(&l->uv, mode);
    l->running = false;
}

/* What was promised to run, runs. */
static void settle(struct loop *l)
{
    int rounds = 0;

    while (l->n_work)
        run_uv(l, UV_RUN_ONCE);
    while (run_posted(l) || run_deferred(l))
        BUG_ON(++rounds > LOOP_FREE_ROUNDS_MAX);
    BUG_ON(l->n_work);
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    loop__signal_fini(l);
    settle(l);
    BUG_ON(l->n_owned); /* a timer or a watch has an owner that outlives the loop */
    uv_close((uv_handle_t *)&l->wake, NULL);
    uv_close((uv_handle_t *)&l->after, NULL);
    uv_close((uv_handle_t *)&l->no_wait, NULL);
    uv_close((uv_handle_t *)&l->guard, NULL);
    /* Close callbacks come at the end of a turn; those of timers freed in the first one, in the
     * next. */
    run_uv(l, UV_RUN_NOWAIT);
    run_uv(l, UV_RUN_NOWAIT);
    BUG_ON(uv_loop_close(&l->uv) != 0);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

void loop_run(struct loop *l)
{
    while (!l->stopping) {
        run_uv(l, UV_RUN_DEFAULT);
        /* The posting handle keeps no loop alive, so a last post may still lie there. */
        if (!l->stopping && !uv_loop_alive(&l->uv) && !run_posted(l))
            break;
    }
    l->stopping = false;
}

void loop_stop(struct loop *l)
{
    l->stopping = true;
    uv_stop(&l->uv);
}

void loop_turn(struct loop *l, int timeout_ms)
{
    if (timeout_ms == 0) {
        run_uv(l, UV_RUN_NOWAIT);
        return;
    }
    l->in_turn = true;
    if (timeout_ms > 0) {
        uv_update_time(&l->uv);
        uv_timer_start(&l->guard, on_guard, (uint64_t)timeout_ms, 0);
    } else {
        uv_ref(
            (uv_handle_t *)&l->wake); /* a post from another thread is something that may happen */
    }
    run_uv(l, UV_RUN_ONCE);
    uv_unref((uv_handle_t *)&l->wake);
    uv_timer_stop(&l->guard);
    l->in_turn = false;
}

bool loop_until(struct loop *l, bool (*cond)(void *ctx), void *ctx, int timeout_ms)
{
    int64_t end_ms = clk_mono_ms(&clk_system) + timeout_ms;

    for (;;) {
        int64_t left_ms = end_ms - clk_mono_ms(&clk_system);

        if (cond(ctx))
            return true;
        if (left_ms <= 0)
            break;
        loop_turn(l, left_ms < LOOP_UNTIL_SLICE_MS ? (int)left_ms : LOOP_UNTIL_SLICE_MS);
    }
    loop_turn(l, 0);
    return cond(ctx);
}

void loop_defer(struct loop *l, loop_fn fn, void *ctx)
{
    if (!l->deferred.head) {
        uv_check_start(&l->after, on_after);
        uv_idle_start(&l->no_wait, on_no_wait);
    }
    queue_add(&l->deferred, fn, ctx);
}

void loop_post(struct loop *l, loop_fn fn, void *ctx)
{
    pthread_mutex_lock(&l->lock);
    queue_add(&l->posted, fn, ctx);
    pthread_mutex_unlock(&l->lock);
    uv_async_send(&l->wake);
}
