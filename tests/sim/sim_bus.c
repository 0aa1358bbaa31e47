/* common/bus.h over the log in memory.  Messages on their way belong to the world: a writer may be
 * dead when they arrive.  Every delay is drawn by the process it concerns. */
#include "tests/sim/sim_bus.h"

#include <string.h>

#include "common/mem.h"

enum {
    COMMIT_MS = 200,
    BATCH = 6,
};

struct position {
    char group[40];
    enum record record;
    int partition;
    int64_t offset;
};

struct bus *sim_buses;
static struct position *positions;
static size_t n_positions, cap_positions;

void sim_bus_reset(void)
{
    BUG_ON(sim_buses);
    free_ptr(&positions);
    n_positions = cap_positions = 0;
    sim_send_reset();
    sim_group_reset();
}

enum record sim_record_of(const char *topic)
{
    return record_of_topic(topic + strlen("relearn."));
}

static struct position *position_of(const char *group, enum record r, int partition, bool create)
{
    for (size_t i = 0; i < n_positions; i++)
        if (positions[i].record == r && positions[i].partition == partition &&
            strcmp(positions[i].group, group) == 0)
            return &positions[i];
    if (!create)
        return NULL;
    positions = xgrow(positions, &cap_positions, n_positions + 1, sizeof(*positions));
    struct position *p = &positions[n_positions++];
    *p = (struct position){.record = r, .partition = partition, .offset = -1};
    str_copy(p->group, sizeof(p->group), group);
    return p;
}

int64_t sim_committed(const char *agent, enum record r, int partition)
{
    CLEANUP_FREE char *group = xasprintf("relearn.%s", agent);
    const struct position *p = position_of(group, r, partition, false);
    return p ? p->offset : -1;
}

/* ---- reading ---- */

int64_t sim_lag_us(struct bus *b, enum record r)
{
    enum { SLOW = 100, CALM_MS = 5 };
    int64_t lag = sim.is_calm ? CALM_MS : sim.plan->noise.lag_ms;
    if (!sim.is_calm && b->proc->slow[r] && sim_chance(b->proc, 700))
        lag *= SLOW;
    return (int64_t)sim_rand(b->proc, (uint64_t)(lag * SIM_MS)) + 100;
}

struct fetch {
    struct bus *bus;
    enum record record;
    int partition;
};

static void on_fetch(void *ctx);

static void fetch(struct bus *b, enum record r, int p)
{
    struct sim_cursor *c = &b->cursors[r][p];
    int64_t end = (int64_t)sim.log[r][p].n;
    if (!c->is_assigned || c->is_paused || c->fetch || b->is_closing ||
        (c->next >= end && c->told_end == end))
        return;
    struct fetch *f = arena_alloc(&sim.arena, sizeof(*f));
    *f = (struct fetch){b, r, p};
    int64_t delay = sim_lag_us(b, r);
    if (b->proc->cut_until_us > sim.now_us + delay)
        delay = b->proc->cut_until_us - sim.now_us;
    c->fetch = sim_after(b->loop, delay, TICK_BUS, on_fetch, f);
    c->fetch->slot = &c->fetch;
}

static bool is_reading(const struct bus *b, const struct sim_cursor *c)
{
    return c->is_assigned && !c->is_paused && !b->is_closing;
}

/* Compacted topics keep the newest of each key, sooner or later. */
static bool is_compacted_away(struct bus *b, const struct sim_part *log, const struct sim_entry *e)
{
    if ((e->record != RECORD_PIPELINE_DECLARED && e->record != RECORD_SERVING_CHANGED) ||
        !sim_chance(b->proc, sim.plan->noise.compacted))
        return false;
    for (size_t i = (size_t)e->offset + 1; i < log->n; i++)
        if (strcmp(log->items[i]->key, e->key) == 0)
            return true;
    return false;
}

static void on_fetch(void *ctx)
{
    struct fetch *f = ctx;
    struct bus *b = f->bus;
    struct sim_cursor *c = &b->cursors[f->record][f->partition];
    struct sim_part *log = &sim.log[f->record][f->partition];
    int64_t most = 1 + (int64_t)sim_rand(b->proc, BATCH), to = (int64_t)log->n;
    if (to - c->next > most && sim_chance(b->proc, 500)) /* the rest another time */
        to = c->next + most;
    if (b->proc->cut_until_us > sim.now_us) {
        fetch(b, f->record, f->partition);
        return;
    }
    if (c->told_end < 0 && !c->first_end)
        c->first_end = (int64_t)log->n;
    while (c->next < to && is_reading(b, c)) {
        const struct sim_entry *e = log->items[c->next++];
        if (is_compacted_away(b, log, e))
            continue;
        struct bus_message m = *e->m;
        b->stats.received++;
        sim_moment(MOMENT_READ, f->record, b->proc);
        b->cb.on_message(b->cb.ctx, &m);
    }
    int64_t end =
        c->told_end < 0 ? c->first_end : (int64_t)log->n; /* the first, with more behind it */
    if (is_reading(b, c) && c->next >= end && c->told_end != c->next) {
        c->told_end = c->next;
        if (b->cb.on_end)
            b->cb.on_end(b->cb.ctx, sim_topic(f->record), f->partition, c->next);
    }
    if (!b->is_closing && b->cb.on_turn)
        b->cb.on_turn(b->cb.ctx);
    fetch(b, f->record, f->partition);
}

void sim_bus_fetch_all(struct bus *b)
{
    for (int r = 1; r < SIM_TOPICS; r++)
        for (int p = 0; p < sim.plan->partitions; p++)
            fetch(b, (enum record)r, p);
}

void sim_bus_wake(enum record r, int partition)
{
    for (struct bus *b = sim_buses; b; b = b->next)
        fetch(b, r, partition);
}

/* ---- positions ---- */

static void commit(struct bus *b, enum record r, int p)
{
    struct sim_cursor *c = &b->cursors[r][p];
    struct position *at = position_of(b->group, r, p, true);
    c->sent_commit = c->commit;
    if (!sim_group_takes_commit(b) ||
        (!sim.is_calm && sim_chance(b->proc, sim.plan->noise.commit_lost)))
        return;
    at->offset = c->commit;
    c->committed = c->commit;
    sim_moment(MOMENT_COMMITTED, r, b->proc);
    sim_check_commit(b->proc->spec->name, r, p, at->offset);
}

static void commit_all(struct bus *b)
{
    for (int r = 1; r < SIM_TOPICS; r++)
        for (int p = 0; p < sim.plan->partitions; p++)
            if (b->cursors[r][p].is_assigned && b->cursors[r][p].commit >= 0 &&
                b->cursors[r][p].commit != b->cursors[r][p].committed)
                commit(b, (enum record)r, p);
}

static bool has_commits(const struct bus *b)
{
    for (int r = 1; r < SIM_TOPICS; r++)
        for (int p = 0; p < sim.plan->partitions; p++)
            if (b->cursors[r][p].is_assigned && b->cursors[r][p].commit >= 0 &&
                b->cursors[r][p].commit != b->cursors[r][p].committed)
                return true;
    return false;
}

static void on_commit_tick(void *ctx);

static void arm_commits(struct bus *b)
{
    if (b->commit_tick)
        return;
    b->commit_tick = sim_after(b->loop, COMMIT_MS * SIM_MS, TICK_BUS, on_commit_tick, b);
    b->commit_tick->slot = &b->commit_tick;
}

static void on_commit_tick(void *ctx)
{
    struct bus *b = ctx;
    if (b->proc->cut_until_us <= sim.now_us)
        commit_all(b);
    if (has_commits(b))
        arm_commits(b);
}

void bus_commit(struct bus *b, const char *topic, int partition, int64_t next_offset)
{
    struct sim_cursor *c = &b->cursors[sim_record_of(topic)][partition];
    if (c->commit == next_offset)
        return;
    c->commit = next_offset;
    arm_commits(b);
}

int64_t bus_committed(struct bus *b, const char *topic, int partition)
{
    return b->cursors[sim_record_of(topic)][partition].committed;
}

/* ---- what is read ---- */

static void unassign(struct sim_cursor *c)
{
    sim_cancel(c->fetch);
    *c = (struct sim_cursor){.told_end = -1, .commit = -1, .sent_commit = -1, .committed = -1};
}

void sim_bus_revoke(struct bus *b, bool lost)
{
    b->cb.on_revoked(b->cb.ctx, lost);
    if (!lost)
        commit_all(b);
    for (int r = 1; r < SIM_TOPICS; r++)
        for (int p = 0; p < sim.plan->partitions; p++)
            unassign(&b->cursors[r][p]);
}

static int64_t offset_of(struct bus *b, enum record r, const struct bus_position *p)
{
    const struct position *at = position_of(b->group, r, p->partition, false);
    if (p->offset >= 0)
        return p->offset;
    return p->offset == BUS_OFFSET_COMMITTED && at && at->offset >= 0 ? at->offset : 0;
}

int bus_assign(struct bus *b, const struct bus_position *list, size_t n, struct err *err)
{
    struct sim_cursor before[SIM_TOPICS][SIM_PARTITIONS_MAX];
    (void)err;
    for (int r = 0; r < SIM_TOPICS; r++)
        for (int p = 0; p < SIM_PARTITIONS_MAX; p++) {
            before[r][p] = b->cursors[r][p];
            before[r][p].fetch = NULL;
            unassign(&b->cursors[r][p]);
        }
    for (size_t i = 0; i < n; i++) {
        enum record r = sim_record_of(list[i].topic);
        struct sim_cursor *c = &b->cursors[r][list[i].partition];
        if (before[r][list[i].partition].is_assigned)
            *c = before[r][list[i].partition];
        c->is_assigned = true;
        c->told_end = -1;
        c->first_end = 0;
        c->next = offset_of(b, r, &list[i]);
    }
    sim_bus_fetch_all(b);
    return 0;
}

static struct sim_cursor *assigned(struct bus *b, const char *topic, int partition, struct err *err)
{
    struct sim_cursor *c = &b->cursors[sim_record_of(topic)][partition];
    if (c->is_assigned)
        return c;
    err_set(err, ERR_NOTFOUND, NEXT_REJECT, "sim: %s [%d] is not assigned", topic, partition);
    return NULL;
}

int bus_pause(struct bus *b, const char *topic, int partition, bool paused, struct err *err)
{
    struct sim_cursor *c = assigned(b, topic, partition, err);
    if (!c)
        return -1;
    c->is_paused = paused;
    fetch(b, sim_record_of(topic), partition);
    return 0;
}

int bus_seek(struct bus *b, const char *topic, int partition, int64_t offset, struct err *err)
{
    struct sim_cursor *c = assigned(b, topic, partition, err);
    if (!c)
        return -1;
    c->next = offset;
    c->told_end = -1;
    c->first_end = 0;
    return 0;
}

int bus_subscribe(struct bus *b, const char *const *topics, size_t n, struct err *err)
{
    (void)err;
    for (size_t i = 0; i < n; i++)
        b->subscribed[sim_record_of(topics[i])] = true;
    sim_group_join(b);
    return 0;
}

/* ---- life ---- */

static void on_connected(void *ctx)
{
    struct bus *b = ctx;
    if (b->proc->cut_until_us > sim.now_us)
        sim_after(b->loop, b->proc->cut_until_us - sim.now_us, TICK_BUS, on_connected, b);
    else
        b->cb.on_connected(b->cb.ctx, "sim");
}

int bus_open(struct loop *l, const struct bus_conf *conf, const struct bus_callbacks *cb,
             struct bus **ret, struct err *err)
{
    struct bus *b = xcalloc(1, sizeof(*b));
    (void)err;
    b->loop = l;
    b->proc = sim.current;
    b->cb = *cb;
    b->group = xstrdup(conf->group ? conf->group : "");
    for (int r = 0; r < SIM_TOPICS; r++)
        for (int p = 0; p < SIM_PARTITIONS_MAX; p++)
            unassign(&b->cursors[r][p]);
    b->next = sim_buses;
    sim_buses = b;
    sim_after(l, sim_lag_us(b, RECORD_NONE), TICK_BUS, on_connected, b);
    *ret = b;
    return 0;
}

static void bus_free(struct bus *b)
{
    for (struct bus **at = &sim_buses; *at; at = &(*at)->next)
        if (*at == b) {
            *at = b->next;
            break;
        }
    sim_send_forget(b);
    sim_cancel(b->commit_tick);
    for (int r = 0; r < SIM_TOPICS; r++)
        for (int p = 0; p < SIM_PARTITIONS_MAX; p++)
            unassign(&b->cursors[r][p]);
    free_ptr(&b->group);
    free_ptr(&b);
}

static void close_gently(void *ctx)
{
    enum { LOOK_MS = 10 };
    struct bus *b = ctx;
    if (b->n_sent && b->closing_until_us > sim.now_us) {
        sim_after(b->loop, LOOK_MS * SIM_MS, TICK_BUS, close_gently, b);
        return;
    }
    loop_fn fn = b->on_closed;
    void *fn_ctx = b->on_closed_ctx;
    commit_all(b);
    sim_group_leave(b, true);
    bus_free(b);
    fn(fn_ctx);
}

void bus_close(struct bus *b, int64_t flush_ms, loop_fn on_closed, void *ctx)
{
    b->is_closing = true;
    if (b->proc->is_dying) {
        sim_group_leave(b, false);
        bus_free(b);
        return;
    }
    b->on_closed = on_closed;
    b->on_closed_ctx = ctx;
    b->closing_until_us = sim.now_us + flush_ms * SIM_MS;
    sim_after(b->loop, 0, TICK_BUS, close_gently, b);
}

const char *bus_cluster_id(const struct bus *b)
{
    (void)b;
    return "sim";
}

bool bus_is_embedded(const struct bus *b)
{
    (void)b;
    return false;
}

bool bus_is_up(const struct bus *b)
{
    return b->proc->cut_until_us <= sim.now_us;
}

int bus_partitions(struct bus *b, const char *topic)
{
    (void)b;
    (void)topic;
    return sim.plan->partitions;
}

size_t bus_in_flight(const struct bus *b)
{
    return b->n_sent;
}

void bus_stats(const struct bus *b, struct bus_stats *ret)
{
    *ret = b->stats;
}

/* Any that spreads and stays. */
int bus_partition_of(const void *key, size_t n, int partitions)
{
    return (int)(hash64(key, n, 0) % (uint64_t)partitions);
}

/* Is there somebody who has not read all of a topic? */
bool sim_is_unread(enum record r)
{
    for (const struct bus *b = sim_buses; b; b = b->next)
        for (int p = 0; p < sim.plan->partitions; p++)
            if (b->cursors[r][p].is_assigned && b->cursors[r][p].next < (int64_t)sim.log[r][p].n)
                return true;
    return false;
}

const char *bus_library(void)
{
    return "sim";
}
