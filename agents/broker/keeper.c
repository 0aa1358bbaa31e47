#include "agents/broker/keeper.h"

#include <stdlib.h>

#include "common/clk.h"
#include "common/log.h"
#include "common/mem.h"

enum {
    KEEPER_HOLD_BYTES = 32 << 20, /* a disk that is slower than the bus: reading pauses */
    KEEPER_CLOSE_MS = 1000,
    KEEPER_AGAIN_MS = 500, /* between two tries while the disk is full */
};

struct keeper {
    struct keeper_conf conf;
    struct bus *bus;
    struct loop_timer *timer;
    struct buf pending, writing;
    uint64_t n_pending, n_writing; /* records in them */
    bool is_scheduled, is_writing, is_paused, is_failed, is_closing, is_stalled;
    int64_t began_ms;               /* of the last batch */
    int64_t pending_ms, writing_ms; /* when the first record of each was read */
    struct err write_err;
    struct keeper_stats stats;
    loop_fn on_closed;
    void *on_closed_ctx;
};

static void write_run(void *ctx);
static void write_done(void *ctx);

static void fail(struct keeper *k, const struct err *err)
{
    if (k->is_failed)
        return;
    k->is_failed = true;
    k->conf.on_failed(k->conf.ctx, err);
}

static void pause_all(struct keeper *k, bool paused)
{
    const struct topics *t = k->conf.topics;
    struct err err = {0};

    if (k->is_paused == paused)
        return;
    k->is_paused = paused;
    for (size_t i = 0; i < t->n; i++) {
        for (int p = 0; t->items[i].is_journalled && p < t->items[i].partitions; p++) {
            if (bus_pause(k->bus, t->items[i].name, p, paused, &err))
                log_warn("broker.pause", "error=\"%s\"", err.msg);
        }
    }
}

static void write_start(void *ctx)
{
    struct keeper *k = ctx;
    struct buf empty = k->writing;

    k->is_scheduled = false;
    if (k->is_writing || k->is_failed || (k->n_pending == 0 && !k->is_stalled))
        return;
    if (!k->is_stalled) {
        k->writing = k->pending;
        k->pending = empty;
        k->n_writing = k->n_pending;
        k->writing_ms = k->pending_ms;
        k->n_pending = 0;
        journal_begin(&k->pending);
    }
    k->is_writing = true;
    k->began_ms = clk_mono_ms(&clk_system);
    work_submit(k->conf.loop, write_run, write_done, k);
}

static void write_run(void *ctx)
{
    struct keeper *k = ctx;

    k->write_err = (struct err){0};
    if (journal_append(k->conf.journal, &k->writing, &k->write_err))
        BUG_ON(k->write_err.code == ERR_NONE);
}

static void schedule(struct keeper *k)
{
    int64_t since_ms = clk_mono_ms(&clk_system) - k->began_ms;

    if (k->is_scheduled || k->is_writing || k->is_stalled || k->n_pending == 0)
        return;
    k->is_scheduled = true;
    loop_timer_start(k->timer, k->conf.sync_every_ms - since_ms);
}

static void finish_close(struct keeper *k);

/* The batch stays as it is; new ones gather behind it, up to the pause. */
static void stall(struct keeper *k)
{
    if (!k->is_stalled) {
        k->is_stalled = true;
        k->stats.stalls++;
        k->conf.on_stalled(k->conf.ctx, &k->write_err);
    }
    loop_timer_start(k->timer, KEEPER_AGAIN_MS);
}

static void count_batch(struct keeper *k)
{
    k->stats.records += k->n_writing;
    k->stats.bytes += k->writing.len;
    k->stats.batches++;
    k->stats.journal_bytes = journal_bytes(k->conf.journal);
    k->stats.sync_ms = clk_mono_ms(&clk_system) - k->writing_ms;
    if (k->stats.sync_ms > k->stats.sync_max_ms)
        k->stats.sync_max_ms = k->stats.sync_ms;
    if (k->is_stalled) {
        k->is_stalled = false;
        k->conf.on_stalled(k->conf.ctx, NULL);
    }
}

static void write_done(void *ctx)
{
    struct keeper *k = ctx;

    k->is_writing = false;
    if (k->write_err.code && k->write_err.next == NEXT_RETRY && !k->is_closing) {
        stall(k);
        return;
    }
    if (k->write_err.code)
        fail(k, &k->write_err);
    else
        count_batch(k);
    k->n_writing = 0;
    if (k->is_closing) {
        finish_close(k);
        return;
    }
    pause_all(k, false);
    schedule(k);
}

static void on_message(void *ctx, const struct bus_message *m)
{
    struct keeper *k = ctx;
    struct topic *t = topics_find(k->conf.topics, m->topic);
    int64_t *next = t && m->partition < t->partitions ? &t->next[m->partition] : NULL;

    if (!next || m->offset < *next || k->is_failed)
        return; /* read again after a reconnect */
    if (m->offset > *next) {
        k->stats.lost += (uint64_t)(m->offset - *next);
        log_error("broker.lost",
                  "topic=%s partition=%d offset=%lld messages=%lld reason=\"they left "
                  "the ring of 5 MiB before they were journalled\"",
                  t->name, m->partition, (long long)*next, (long long)(m->offset - *next));
    }
    *next = m->offset + 1;
    if (k->n_pending == 0)
        k->pending_ms = clk_mono_ms(&clk_system);
    journal_add_message(&k->pending, m);
    k->n_pending++;
    if (k->pending.len > KEEPER_HOLD_BYTES)
        pause_all(k, true);
}

static void on_turn(void *ctx)
{
    schedule(ctx);
}

static void on_problem(void *ctx, const struct err *err)
{
    if (err->next == NEXT_FATAL)
        fail(ctx, err);
    else
        log_debug("broker.reader", "error=\"%s\"", err->msg);
}

static int start_reading(struct keeper *k, struct err *err)
{
    const struct topics *t = k->conf.topics;
    struct bus_position *p = xcalloc(topics_journalled_partitions(t) + 1, sizeof(*p));
    size_t n = 0;
    int rc;

    for (size_t i = 0; i < t->n; i++) {
        for (int k2 = 0; t->items[i].is_journalled && k2 < t->items[i].partitions; k2++)
            p[n++] = (struct bus_position){t->items[i].name, k2, t->items[i].next[k2]};
    }
    rc = bus_assign(k->bus, p, n, err);
    free(p);
    return rc;
}

int keeper_open(const struct keeper_conf *conf, struct keeper **ret, struct err *err)
{
    const struct bus_conf bus_conf = {.brokers = conf->brokers, .client_id = "relearn-broker"};
    struct keeper *k = xcalloc(1, sizeof(*k));
    const struct bus_callbacks cb = {
        .on_message = on_message, .on_turn = on_turn, .on_problem = on_problem, .ctx = k};

    k->conf = *conf;
    if (bus_open(conf->loop, &bus_conf, &cb, &k->bus, err)) {
        free(k);
        return -1;
    }
    k->timer = loop_timer_new(conf->loop, write_start, k);
    buf_init(&k->pending, JOURNAL_FRAME_MAX_BYTES);
    buf_init(&k->writing, JOURNAL_FRAME_MAX_BYTES);
    journal_begin(&k->pending);
    k->stats.journal_bytes = journal_bytes(conf->journal);
    if (start_reading(k, err))
        return -1; /* of memory and handles the end of the process disposes */
    *ret = k;
    return 0;
}

static void on_bus_closed(void *ctx)
{
    struct keeper *k = ctx;

    k->bus = NULL;
    finish_close(k);
}

static void finish_close(struct keeper *k)
{
    loop_fn on_closed = k->on_closed;
    void *ctx = k->on_closed_ctx;

    if (k->bus || k->is_writing)
        return;
    loop_timer_free(k->timer);
    buf_fini(&k->pending);
    buf_fini(&k->writing);
    free(k);
    if (on_closed)
        on_closed(ctx);
}

void keeper_close(struct keeper *k, loop_fn on_closed, void *ctx)
{
    k->is_closing = true;
    k->on_closed = on_closed;
    k->on_closed_ctx = ctx;
    loop_timer_stop(k->timer);
    bus_close(k->bus, KEEPER_CLOSE_MS, on_bus_closed, k);
}

void keeper_stats(const struct keeper *k, struct keeper_stats *ret)
{
    *ret = k->stats;
    ret->pending = k->n_pending + k->n_writing;
}

bool keeper_has(const struct keeper *k, const struct bus_position *ends, size_t n)
{
    if (k->n_pending + k->n_writing > 0)
        return false;
    for (size_t i = 0; i < n; i++) {
        const struct topic *t = topics_find(k->conf.topics, ends[i].topic);

        if (t && t->is_journalled && t->next[ends[i].partition] < ends[i].offset)
            return false;
    }
    return true;
}
