/* Keys, reconcile and positions.
 *
 * A unit is dirty when its fold changed, a timer of it is due, or the agent asked for it.  Dirty
 * units are reconciled after every batch of messages, never while a message is being folded.  A
 * work event stays pending until the agent finds its answer in the fold; the position given to
 * commit is the oldest pending one's, so events may be answered in any order and lines do not wait
 * for each other. */
#include <string.h>

#include "common/agent_internal.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/rng.h"

static char key_class(enum record r)
{
    if (record_is_line_keyed(r))
        return 'l';
    switch (r) {
    case RECORD_DATASET_PUBLISHED:
        return 'd';
    case RECORD_SERVING_CHANGED:
        return 'i';
    case RECORD_DEAD_LETTERED:
        return 't';
    default:
        return 'p';
    }
}

struct unit_x *agent__unit(struct agent *a, enum record r, const char *key, bool create)
{
    enum { SHORT_SIZE = 256 }; /* nearly every key: asked for each event */
    char text[SHORT_SIZE];
    size_t n = strlen(key) + 1;
    CLEANUP_FREE char *longer = n < SHORT_SIZE ? NULL : xmalloc(n + 1);
    char *map_key = longer ? longer : text;
    struct unit_x *x = NULL;
    map_key[0] = key_class(r);
    memcpy(map_key + 1, key, n);
    HASH_FIND(hh, a->units, map_key, n, x);
    if (x || !create)
        return x;
    x = xcalloc(1, sizeof(*x));
    x->map_key = xstrndup(map_key, n);
    x->u.line = line_new(key);
    x->u.key = x->u.line->key;
    x->u.partition = -1;
    HASH_ADD_KEYPTR(hh, a->units, x->map_key, strlen(x->map_key), x);
    return x;
}

struct unit *agent_unit(struct agent *a, enum record r, const char *key)
{
    struct unit_x *x = key ? agent__unit(a, r, key, false) : NULL;
    return x ? &x->u : NULL;
}

void agent_each_unit(struct agent *a, void (*fn)(struct agent *a, struct unit *u, void *ctx),
                     void *ctx)
{
    struct unit_x *x, *next;
    HASH_ITER (hh, a->units, x, next)
        fn(a, &x->u, ctx);
}

void agent__mark(struct agent *a, struct unit_x *x)
{
    if (x->is_dirty || !x->u.is_owned)
        return;
    x->is_dirty = true;
    x->next_dirty = NULL;
    if (a->dirty_tail)
        a->dirty_tail->next_dirty = x;
    else
        a->dirty_head = x;
    a->dirty_tail = x;
}

/* A run that waits for the end of the turn; the agent may be freed before. */
struct deferred_run {
    struct agent *a; /* NULL: freed */
};

static void run_deferred(void *ctx)
{
    struct deferred_run *d = ctx;
    struct agent *a = d->a;
    free_ptr(&d);
    if (!a)
        return;
    a->deferred_run = NULL;
    agent__run(a);
}

void agent__run_soon(struct agent *a)
{
    if (a->deferred_run || a->is_in_run || a->is_stopped)
        return;
    a->deferred_run = xcalloc(1, sizeof(*a->deferred_run));
    a->deferred_run->a = a;
    loop_defer(a->loop, run_deferred, a->deferred_run);
}

void agent__forget_deferred(struct agent *a)
{
    if (a->deferred_run)
        a->deferred_run->a = NULL;
    a->deferred_run = NULL;
}

void agent_touch(struct agent *a, struct unit *u)
{
    if (!u)
        return;
    agent__mark(a, CONTAINER_OF(u, struct unit_x, u));
    agent__run_soon(a);
}

void agent_touch_all(struct agent *a)
{
    struct unit_x *x, *next;
    HASH_ITER (hh, a->units, x, next)
        agent__mark(a, x);
    agent__run_soon(a);
}

/* One timer for all units: the earliest of wakes and retries. */
static void arm_timer(struct agent *a)
{
    int64_t now_unix = clk_unix_ms(a->clk), now_mono = clk_mono_ms(a->clk), best = INT64_MAX;
    struct unit_x *x, *next;
    HASH_ITER (hh, a->units, x, next) {
        if (x->wake_unix_ms && x->wake_unix_ms - now_unix < best)
            best = x->wake_unix_ms - now_unix;
        if (x->retry_mono_ms && x->retry_mono_ms - now_mono < best)
            best = x->retry_mono_ms - now_mono;
    }
    struct flight *f, *fnext;
    HASH_ITER (hh, a->flights, f, fnext)
        if (f->is_acked && f->since_mono_ms + AGENT_READ_BACK_MS - now_mono < best)
            best = f->since_mono_ms + AGENT_READ_BACK_MS - now_mono;
    if (best == INT64_MAX || !a->timer)
        return;
    enum { LONGEST_MS = 60000 }; /* wall clocks move: look again at least so often */
    if (best > LONGEST_MS)
        best = LONGEST_MS;
    loop_timer_start(a->timer, best < 1 ? 1 : best);
}

static void drop_stale_flights(struct agent *a, int64_t now_mono)
{
    struct flight *f, *next;
    HASH_ITER (hh, a->flights, f, next) {
        if (!f->is_acked || now_mono - f->since_mono_ms < AGENT_READ_BACK_MS)
            continue;
        log_warn("event.not_read_back", "id=%s topic=%s", f->id, record_topic(f->record));
        struct unit_x *x = NULL;
        HASH_FIND_STR(a->units, f->map_key, x);
        if (x)
            agent__mark(a, x);
        HASH_DEL(a->flights, f);
        free_ptr(&f->map_key);
        free_ptr(&f);
    }
}

void agent__on_timer(void *ctx)
{
    struct agent *a = ctx;
    int64_t now_unix = clk_unix_ms(a->clk), now_mono = clk_mono_ms(a->clk);
    struct unit_x *x, *next;
    HASH_ITER (hh, a->units, x, next) {
        if (x->wake_unix_ms && x->wake_unix_ms <= now_unix) {
            x->wake_unix_ms = 0;
            agent__mark(a, x);
        }
        if (x->retry_mono_ms && x->retry_mono_ms <= now_mono) {
            x->retry_mono_ms = 0;
            agent__mark(a, x);
        }
    }
    drop_stale_flights(a, now_mono);
    agent__run(a);
}

void agent_wake(struct agent *a, struct unit *u, int64_t at_unix_ms)
{
    struct unit_x *x = CONTAINER_OF(u, struct unit_x, u);
    if (x->wake_unix_ms && x->wake_unix_ms <= at_unix_ms)
        return;
    x->wake_unix_ms = at_unix_ms;
    if (!a->is_in_run)
        arm_timer(a);
}

void agent__backoff(struct agent *a, struct unit_x *x, const struct err *err, const char *what)
{
    x->backoff_ms = x->backoff_ms ? x->backoff_ms * 2 : AGENT_BACKOFF_MIN_MS;
    if (x->backoff_ms > AGENT_BACKOFF_MAX_MS)
        x->backoff_ms = AGENT_BACKOFF_MAX_MS;
    struct rng r;
    rng_seed(&r, rng_os_seed());
    int64_t delay_ms = x->backoff_ms / 2 + (int64_t)rng_below(&r, (uint64_t)x->backoff_ms / 2 + 1);
    x->retry_mono_ms = clk_mono_ms(a->clk) + delay_ms;
    agent_count(a, "retries_total", NULL, 1);
    log_warn("agent.retry", "key=%s what=%s error=%s retry_ms=%lld", x->u.key, what, err->msg,
             (long long)delay_ms);
    if (!a->is_in_run)
        arm_timer(a);
}

static void reconcile_unit(struct agent *a, struct unit_x *x)
{
    struct err err = {0};
    log_context(x->u.key, NULL);
    if (a->spec->reconcile &&
        EFFECT(fold, "agent.reconcile", FAULT_ERR(&err), a->spec->reconcile(a, &x->u, &err))) {
        if (err.next == NEXT_FATAL)
            agent__fail(a, 1, "agent.fatal", &err);
        else
            agent__backoff(a, x, &err, "reconcile");
    } else {
        x->backoff_ms = 0;
    }
    log_context(NULL, NULL);
}

static bool is_settled(struct agent *a, const struct pending *pd)
{
    if (!pd->unit)
        return pd->is_done;
    return !a->spec->is_answered || a->spec->is_answered(a, &pd->unit->u, pd->ev);
}

static void settle_part(struct agent *a, struct input *in, int partition)
{
    struct part *p = &in->parts[partition];
    while (p->n_pending && is_settled(a, &p->pending[p->head])) {
        p->head = (p->head + 1) % p->cap_pending;
        p->n_pending--;
        agent_count(a, "handled_total", NULL, 1);
    }
    int64_t position = p->n_pending ? p->pending[p->head].offset : p->next;
    if (position > 0 && position != p->settled) {
        p->settled = position;
        FAULT_AT(commit, "agent.settle");
        bus_commit(a->bus, in->topic, partition, position);
    }
}

static void settle(struct agent *a)
{
    for (size_t i = 0; i < a->n_inputs; i++) {
        struct input *in = &a->inputs[i];
        if (in->kind != INPUT_WORK)
            continue;
        for (int p = 0; p < in->partitions; p++)
            if (in->parts[p].assigned && agent__shard_is_current(a, p))
                settle_part(a, in, p);
    }
}

void agent__run(struct agent *a)
{
    if (a->is_in_run || !a->is_assigned || a->is_stopped)
        return;
    if (!a->is_ready) { /* nothing is owed before everything is read; then all are touched */
        agent__cache_flush(a);
        return;
    }
    a->is_in_run = true;
    struct unit_x *x = a->dirty_head, *held = NULL;
    a->dirty_head = a->dirty_tail = NULL;
    while (x) {
        struct unit_x *next = x->next_dirty;
        x->is_dirty = false;
        x->next_dirty = NULL;
        if (!agent__shard_is_current(a, x->u.partition)) {
            x->next_dirty = held; /* looked at again when more has been read */
            held = x;
        } else if (!x->retry_mono_ms && !a->is_stopped) {
            reconcile_unit(a, x);
        }
        x = next;
    }
    bool again = a->dirty_head != NULL; /* touched meanwhile */
    while (held) {
        struct unit_x *next = held->next_dirty;
        agent__mark(a, held);
        held = next;
    }
    if (!a->is_stopped) {
        settle(a);
        arm_timer(a);
    }
    a->is_in_run = false;
    agent__cache_flush(a);
    if (again)
        agent__run_soon(a);
}

void agent__push_pending(struct part *p, struct pending pd)
{
    if (p->n_pending == p->cap_pending) {
        size_t cap = p->cap_pending ? p->cap_pending * 2 : 16;
        struct pending *ring = xcalloc(cap, sizeof(*ring));
        for (size_t i = 0; i < p->n_pending; i++)
            ring[i] = p->pending[(p->head + i) % p->cap_pending];
        free_ptr(&p->pending);
        p->pending = ring;
        p->cap_pending = cap;
        p->head = 0;
    }
    p->pending[(p->head + p->n_pending++) % p->cap_pending] = pd;
}

struct pending *agent__pending_at(struct part *p, int64_t offset)
{
    for (size_t i = 0; i < p->n_pending; i++) {
        struct pending *pd = &p->pending[(p->head + i) % p->cap_pending];
        if (pd->offset == offset)
            return pd;
    }
    return NULL;
}

static void unit_free(struct agent *a, struct unit_x *x)
{
    if (a->spec->drop)
        a->spec->drop(a, &x->u);
    HASH_DEL(a->units, x);
    line_free(x->u.line);
    free_ptr(&x->map_key);
    free_ptr(&x);
}

/* Takes a unit out of the dirty list. */
static void unmark(struct agent *a, const struct unit_x *gone)
{
    struct unit_x *x = a->dirty_head;
    a->dirty_head = a->dirty_tail = NULL;
    while (x) {
        struct unit_x *next = x->next_dirty;
        x->is_dirty = false;
        if (x != gone)
            agent__mark(a, x);
        x = next;
    }
}

void agent__drop_partition(struct agent *a, int partition)
{
    agent__cache_put_rows(a);
    for (size_t i = 0; i < a->n_inputs; i++) {
        struct input *in = &a->inputs[i];
        if (in->kind == INPUT_GLOBAL || in->kind == INPUT_GLOBAL_STREAM ||
            partition >= in->partitions)
            continue;
        struct part *p = &in->parts[partition];
        free_ptr(&p->pending);
        *p = (struct part){0};
    }
    struct unit_x *x, *next;
    HASH_ITER (hh, a->units, x, next) {
        if (!x->u.is_owned || x->u.partition != partition)
            continue;
        if (x->is_dirty)
            unmark(a, x);
        unit_free(a, x);
    }
    agent__flights_drop(a);
    if (a->spec->released && a->is_open)
        a->spec->released(a, partition);
}

void agent__drop_all(struct agent *a)
{
    a->dirty_head = a->dirty_tail = NULL;
    struct unit_x *x, *next;
    HASH_ITER (hh, a->units, x, next)
        unit_free(a, x);
    for (size_t i = 0; i < a->n_inputs; i++)
        for (int p = 0; a->inputs[i].parts && p < a->inputs[i].partitions; p++)
            free_ptr(&a->inputs[i].parts[p].pending);
}

bool agent_is_idle(const struct agent *a)
{
    if (!a->is_ready || a->dirty_head || a->flights || a->publishing || bus_in_flight(a->bus))
        return false;
    for (size_t i = 0; i < a->n_inputs; i++)
        for (int p = 0; p < a->inputs[i].partitions; p++)
            if (a->inputs[i].parts[p].n_pending)
                return false;
    return true;
}
