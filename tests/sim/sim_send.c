/* Messages on their way belong to the world: their writer may be dead when they arrive. */
#include <string.h>
#include <utlist.h>

#include "tests/sim/sim_bus.h"

enum { LOST_MS = 60000 /* message.timeout.ms */ };

struct sim_sent {    /* one message */
    struct bus *bus; /* NULL: its writer is gone */
    struct sim_sent *next, *prev;
    struct sim_append a;
    struct bus_header headers[BUS_MAX_HEADERS];
    bus_delivered_fn fn;
    void *ctx;
    struct err err;
    int64_t offset;
    int partition;
    bool is_dropped;
};

static int64_t arrived_us[SIM_PROCS_MAX][SIM_TOPICS]; /* of the last of a writer: order holds */
static size_t sending[SIM_TOPICS];

void sim_send_reset(void)
{
    memset(arrived_us, 0, sizeof(arrived_us));
    memset(sending, 0, sizeof(sending));
}

void sim_send_begin(const struct sim_proc *p)
{
    memset(arrived_us[p->index], 0,
           sizeof(arrived_us[0])); /* what the life before sent may be late */
}

size_t sim_sending(size_t by_topic[SIM_TOPICS])
{
    size_t n = 0;
    for (int r = 0; r < SIM_TOPICS; r++) {
        by_topic[r] = sending[r];
        n += sending[r];
    }
    return n;
}

static void tell(void *ctx)
{
    struct sim_sent *s = ctx;
    struct bus *b = s->bus;
    if (b && b->proc->paused_until_us > sim.now_us) {
        sim_after(NULL, b->proc->paused_until_us - sim.now_us, TICK_WORLD, tell, s);
        return;
    }
    if (b) {
        DL_DELETE(b->sent, s);
        b->n_sent--;
        if (s->err.code)
            b->stats.delivery_failed++;
        else
            b->stats.delivered++;
        sim.current = b->proc;
        sim_moment(MOMENT_TOLD, s->a.record, b->proc);
        if (s->fn)
            s->fn(s->ctx, s->err.code ? &s->err : NULL, s->partition, s->offset);
    }
}

/* Appends it, mostly; returns how long its writer does not hear of it. */
static int64_t land(struct sim_sent *s, struct sim_proc *p)
{
    const struct sim_noise *noise = &sim.plan->noise;
    bool is_rough = p && !sim.is_calm;
    if (is_rough && sim_chance(p, noise->refused)) {
        err_set(&s->err, ERR_TIMEOUT, NEXT_RETRY, "sim: it did not arrive");
        return LOST_MS * SIM_MS;
    }
    const struct sim_entry *e = sim_append(&s->a);
    if (p)
        sim_moment(MOMENT_LANDED, s->a.record, p);
    s->partition = e->partition;
    s->offset = e->offset;
    if (is_rough && sim_chance(p, noise->doubled))
        sim_append(&s->a);
    if (is_rough && sim_chance(p, noise->ack_lost)) {
        err_set(&s->err, ERR_TIMEOUT, NEXT_RETRY, "sim: no acknowledgement came");
        return (int64_t)sim_rand(p, LOST_MS * SIM_MS);
    }
    return p ? sim_lag_us(s->bus, RECORD_NONE) : 0;
}

static void arrive(void *ctx)
{
    struct sim_sent *s = ctx;
    sending[s->a.record]--;
    int64_t back_us = s->is_dropped ? 0 : land(s, s->bus ? s->bus->proc : NULL);
    if (!s->bus) /* nobody is there to be told */
        return;
    if (s->bus->proc->cut_until_us > sim.now_us + back_us)
        back_us = s->bus->proc->cut_until_us - sim.now_us;
    sim_after(NULL, back_us, TICK_WORLD, tell, s);
}

static int64_t arrival_us(struct bus *b, enum record r)
{
    int64_t at = sim.now_us + sim_lag_us(b, RECORD_NONE), *last = &arrived_us[b->proc->index][r];
    if (b->proc->cut_until_us > at)
        at = b->proc->cut_until_us + sim_lag_us(b, RECORD_NONE);
    if (at <= *last)
        at = *last + 1;
    *last = at;
    return at;
}

/* The writer is gone: what it had on the wire lands, or not. */
void sim_send_forget(struct bus *b)
{
    struct sim_sent *s, *next;
    DL_FOREACH_SAFE(b->sent, s, next)
    {
        struct err err = {0};
        err_set(&err, ERR_CANCELED, NEXT_RETRY, "sim: closed before the broker had answered");
        DL_DELETE(b->sent, s);
        s->bus = NULL;
        s->is_dropped = b->proc->is_dying && sim_chance(b->proc, 500);
        if (s->fn)
            s->fn(s->ctx, &err, -1, -1);
    }
    b->n_sent = 0;
}

int bus_produce(struct bus *b, const char *topic, int partition, struct slice key,
                struct slice value, const struct bus_header *headers, size_t n_headers,
                bus_delivered_fn on_delivered, void *ctx, struct err *err)
{
    struct sim_sent *s = arena_alloc(&sim.arena, sizeof(*s)); /* it may outlive all who know it */
    enum record r = sim_record_of(topic);
    (void)err;
    s->bus = b;
    s->fn = on_delivered;
    s->ctx = ctx;
    s->partition = partition;
    for (size_t i = 0; i < n_headers; i++)
        s->headers[i] = sim_keep_header(&headers[i]);
    s->a = (struct sim_append){
        .record = r,
        .partition = partition,
        .is_kept = true,
        .key = {arena_strndup(&sim.arena, key.p, key.n), key.n},
        .value = {value.p ? arena_memdup(&sim.arena, value.p, value.n) : NULL, value.n},
        .headers = s->headers,
        .n_headers = n_headers,
        .proc = b->proc->index,
        .life = b->proc->lives,
    };
    DL_APPEND(b->sent, s);
    b->n_sent++;
    b->stats.produced++;
    sending[r]++;
    sim_moment(MOMENT_SENT, r, b->proc);
    sim_after(NULL, arrival_us(b, r) - sim.now_us, TICK_WORLD, arrive, s);
    return 0;
}

int bus_produce_bulk(struct bus *b, const char *topic, int partition, struct slice key,
                     struct slice value, const struct bus_header *headers, size_t n_headers,
                     bus_delivered_fn on_delivered, void *ctx, struct err *err)
{
    return bus_produce(b, topic, partition, key, value, headers, n_headers, on_delivered, ctx, err);
}
