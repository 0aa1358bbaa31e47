/* common/loop.h on virtual time: one queue for all processes, each with a loop of its own, so that
 * a crash takes along what was its, and a pause puts it off. */
#include "common/loop.h"

#include "common/mem.h"
#include "tests/sim/sim.h"

enum { UNTIL_MAX = 100000 };

struct loop {
    struct sim_proc *proc;
    struct sim_tick head; /* of a ring */
};
struct loop_timer {
    struct loop *loop;
    loop_fn fn;
    void *ctx;
    struct sim_tick *tick;
};

/* ---- the heap ---- */

static bool is_before(const struct sim_tick *a, const struct sim_tick *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->seq < b->seq;
}

static void heap_push(struct sim_tick *t)
{
    sim.heap = xgrow(sim.heap, &sim.cap_heap, sim.n_heap + 1, sizeof(struct sim_tick *));
    size_t i = sim.n_heap++;
    while (i > 0 && is_before(t, sim.heap[(i - 1) / 2])) {
        sim.heap[i] = sim.heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    sim.heap[i] = t;
}

static struct sim_tick *heap_pop(void)
{
    struct sim_tick *top = sim.heap[0], *last = sim.heap[--sim.n_heap];
    size_t i = 0;
    for (size_t k = 1; k < sim.n_heap; k = 2 * i + 1) {
        if (k + 1 < sim.n_heap && is_before(sim.heap[k + 1], sim.heap[k]))
            k++;
        if (!is_before(sim.heap[k], last))
            break;
        sim.heap[i] = sim.heap[k];
        i = k;
    }
    sim.heap[i] = last;
    return top;
}

struct sim_tick *sim_after(struct loop *l, int64_t delay_us, enum sim_tick_kind kind, loop_fn fn,
                           void *ctx)
{
    struct sim_tick *t = xcalloc(1, sizeof(*t));
    t->at_us = sim.now_us + (delay_us > 0 ? delay_us : 0);
    t->seq = sim.seq++;
    t->kind = kind;
    t->loop = l;
    t->fn = fn;
    t->ctx = ctx;
    if (l) {
        t->prev = l->head.prev;
        t->next = &l->head;
        t->prev->next = t->next->prev = t;
    }
    heap_push(t);
    return t;
}

static void unlink_tick(struct sim_tick *t)
{
    if (t->next) {
        t->prev->next = t->next;
        t->next->prev = t->prev;
        t->next = t->prev = NULL;
    }
    if (t->slot)
        *t->slot = NULL;
    t->slot = NULL;
}

void sim_cancel(struct sim_tick *t)
{
    if (!t)
        return;
    t->is_canceled = true; /* the heap frees it */
    unlink_tick(t);
}

static void fire(struct sim_tick *t)
{
    loop_fn fn = t->fn;
    void *ctx = t->ctx;
    unlink_tick(t);
    t->is_canceled = true;
    fn(ctx);
}

bool sim_step(void)
{
    while (sim.n_heap) {
        struct sim_tick *t = heap_pop();
        if (t->is_canceled) { /* its loop may be gone */
            free_ptr(&t);
            continue;
        }
        struct sim_proc *p = t->loop ? t->loop->proc : NULL;
        if (p && p->paused_until_us > t->at_us) { /* stopped: all of it later, in its order */
            t->at_us = p->paused_until_us;
            heap_push(t);
            continue;
        }
        if (t->at_us > sim.now_us)
            sim.now_us = t->at_us;
        sim.steps++;
        sim.current = p;
        fire(t);
        free_ptr(&t);
        if (p && p->is_up && p->spec == sim_spec(7))
            sim_check_serving(p);
        sim.current = NULL;
        return true;
    }
    return false;
}

void sim_queue_clear(void)
{
    for (size_t i = 0; i < sim.n_heap; i++)
        free_ptr(&sim.heap[i]);
    free_ptr(&sim.heap);
    sim.n_heap = sim.cap_heap = 0;
}

/* ---- loop.h ---- */

struct loop *sim_loop_new(struct sim_proc *p)
{
    struct loop *l = xcalloc(1, sizeof(*l));
    l->proc = p;
    l->head.next = l->head.prev = &l->head;
    return l;
}

/* The earliest of a loop that is no timer. */
static struct sim_tick *earliest(struct loop *l)
{
    struct sim_tick *best = NULL;
    for (struct sim_tick *t = l->head.next; t != &l->head; t = t->next)
        if (t->kind != TICK_TIMER && t->kind != TICK_BUS && (!best || is_before(t, best)))
            best = t;
    return best;
}

bool loop_until(struct loop *l, bool (*cond)(void *ctx), void *ctx, int timeout_ms)
{
    (void)timeout_ms;
    for (int i = 0; i < UNTIL_MAX && !cond(ctx); i++) {
        struct sim_tick *t = earliest(l);
        if (!t)
            break;
        fire(t);
    }
    return cond(ctx);
}

static bool is_never(void *ctx)
{
    (void)ctx;
    return false;
}

void loop_free(struct loop *l)
{
    (void)loop_until(l, is_never, NULL, 0);
    while (l->head.next != &l->head) {
        BUG_ON(l->head.next->kind == TICK_TIMER); /* its owner is still alive */
        sim_cancel(l->head.next);
    }
    free_ptr(&l);
}

void loop_stop(struct loop *l)
{
    (void)l;
}

struct loop_timer *loop_timer_new(struct loop *l, loop_fn on_timer, void *ctx)
{
    struct loop_timer *t = xcalloc(1, sizeof(*t));
    t->loop = l;
    t->fn = on_timer;
    t->ctx = ctx;
    return t;
}

void loop_timer_stop(struct loop_timer *t)
{
    sim_cancel(t->tick);
}

void loop_timer_start(struct loop_timer *t, int64_t delay_ms)
{
    enum { LATE_MS = 3 };
    loop_timer_stop(t);
    t->tick =
        sim_after(t->loop, delay_ms * SIM_MS + (int64_t)sim_rand(t->loop->proc, LATE_MS * SIM_MS),
                  TICK_TIMER, t->fn, t->ctx);
    t->tick->slot = &t->tick;
}

void loop_timer_free(struct loop_timer *t)
{
    if (!t)
        return;
    loop_timer_stop(t);
    free_ptr(&t);
}

void loop_defer(struct loop *l, loop_fn fn, void *ctx)
{
    sim_after(l, 0, TICK_SOON, fn, ctx);
}

void loop_post(struct loop *l, loop_fn fn, void *ctx)
{
    sim_after(l, 0, TICK_SOON, fn, ctx);
}

/* ---- the pool ---- */

struct work {
    struct loop *loop;
    void (*run)(void *ctx);
    void (*done)(void *ctx);
    void *ctx;
    bool has_run;
};

static int64_t work_us(struct sim_proc *p)
{
    enum { QUICK_MS = 20, SLOW_MS = 20000 };
    bool is_slow = !sim.is_calm && sim_chance(p, sim.plan->noise.slow_work);
    return (int64_t)sim_rand(p, (is_slow ? SLOW_MS : QUICK_MS) * SIM_MS);
}

static void work_go(void *ctx)
{
    struct work *w = ctx;
    if (!w->has_run) {
        w->run(w->ctx);
        w->has_run = true;
        sim_after(w->loop, work_us(w->loop->proc) / 4, TICK_WORK, work_go, w);
        return;
    }
    if (w->done)
        w->done(w->ctx);
    free_ptr(&w);
}

struct work *work_submit(struct loop *l, void (*run)(void *ctx), void (*done)(void *ctx), void *ctx)
{
    struct work *w = xcalloc(1, sizeof(*w));
    *w = (struct work){l, run, done, ctx, false};
    sim_after(l, work_us(l->proc), TICK_WORK, work_go, w);
    return w;
}

/* ---- what only mains use ---- */

int loop_new(struct loop **ret, struct err *err)
{
    (void)err;
    *ret = sim_loop_new(NULL);
    return 0;
}

void loop_run(struct loop *l)
{
    (void)l;
}

void loop_on_stop_signal(struct loop *l, loop_fn fn, void *ctx)
{
    (void)l;
    (void)fn;
    (void)ctx;
}
