/* Consumer groups, eager as librdkafka's range assignor has them: whoever comes or goes begins a
 * new round; all give up what they have, and get their parts when everybody has joined or the
 * session of those who did not is over.  One that is stopped or cut off for longer is put out, and
 * reads on as if nothing were until it hears of it: two own the same partition for a while. */
#include <string.h>

#include "common/mem.h"
#include "tests/sim/sim_bus.h"

enum { GROUPS_MAX = 8, SESSION_MS = 10000 };

struct group {
    char name[40];
    int round;  /* that everybody is asked to join */
    int stable; /* the last one that was completed: the generation that commits must carry */
};
static struct group groups[GROUPS_MAX];
static int n_groups;

void sim_group_reset(void)
{
    n_groups = 0;
}

static struct group *group_of(const char *name)
{
    for (int i = 0; i < n_groups; i++)
        if (strcmp(groups[i].name, name) == 0)
            return &groups[i];
    BUG_ON(n_groups == GROUPS_MAX);
    groups[n_groups] = (struct group){0};
    str_copy(groups[n_groups].name, sizeof(groups[n_groups].name), name);
    return &groups[n_groups++];
}

static bool is_in(const struct bus *b, const struct group *g)
{
    return b->is_member && !b->is_closing && strcmp(b->group, g->name) == 0;
}

bool sim_group_takes_commit(const struct bus *b)
{
    return !b->has_subscribed || (b->is_member && b->generation == group_of(b->group)->stable);
}

static void on_round(void *ctx);
static void on_assigned(void *ctx);

static void ask(struct bus *b)
{
    int64_t delay = sim_lag_us(b, RECORD_NONE);
    if (b->proc->cut_until_us > sim.now_us)
        delay += b->proc->cut_until_us - sim.now_us;
    sim_after(b->loop, delay, TICK_BUS, on_round, b);
}

struct deadline {
    struct group *g;
    int round;
};

static void complete(struct group *g)
{
    g->stable = g->round;
    for (struct bus *b = sim_buses; b; b = b->next)
        if (is_in(b, g))
            sim_after(b->loop, sim_lag_us(b, RECORD_NONE), TICK_BUS, on_assigned, b);
}

static void complete_if_all(struct group *g)
{
    for (struct bus *b = sim_buses; b; b = b->next)
        if (is_in(b, g) && b->revoked_at < g->round)
            return;
    if (g->stable < g->round)
        complete(g);
}

static void put_out(struct bus *b)
{
    b->is_member = false;
    b->is_out = true;
    ask(b);
}

static void on_deadline(void *ctx)
{
    struct deadline *d = ctx;
    if (d->g->stable >= d->round || d->g->round != d->round)
        return;
    for (struct bus *b = sim_buses; b; b = b->next)
        if (is_in(b, d->g) && b->revoked_at < d->round)
            put_out(b);
    complete_if_all(d->g);
}

static void begin_round(struct group *g)
{
    struct deadline *d = arena_alloc(&sim.arena, sizeof(*d));
    g->round++;
    *d = (struct deadline){g, g->round};
    for (struct bus *b = sim_buses; b; b = b->next)
        if (is_in(b, g))
            ask(b);
    sim_after(NULL, SESSION_MS * SIM_MS, TICK_WORLD, on_deadline, d);
}

static void on_round(void *ctx)
{
    struct bus *b = ctx;
    if (b->is_closing) /* and may be gone already */
        return;
    struct group *g = group_of(b->group);
    if (b->proc->cut_until_us > sim.now_us) {
        ask(b);
        return;
    }
    if (b->is_out) { /* it hears of it only now */
        b->is_out = false;
        if (b->assigned_at)
            sim_bus_revoke(b, true);
        b->assigned_at = 0;
        b->is_member = true;
        begin_round(g);
        return;
    }
    if (b->revoked_at >= g->round)
        return;
    b->revoked_at = g->round;
    if (b->assigned_at)
        sim_bus_revoke(b, false);
    b->assigned_at = 0;
    complete_if_all(g);
}

static void on_assigned(void *ctx)
{
    struct bus *b = ctx;
    if (b->is_closing)
        return;
    struct group *g = group_of(b->group);
    struct bus_position list[SIM_TOPICS * SIM_PARTITIONS_MAX];
    int members = 0, me = -1, parts = sim.plan->partitions;
    size_t n = 0;
    if (!is_in(b, g) || b->is_out || g->round != g->stable || b->assigned_at == g->stable ||
        b->revoked_at != g->round)
        return;
    for (int i = 0; i < sim.n_procs; i++) /* in the order of their names */
        for (struct bus *o = sim_buses; o; o = o->next)
            if (o->proc->index == i && is_in(o, g)) {
                me = o == b ? members : me;
                members++;
            }
    int from = me * (parts / members) + (me < parts % members ? me : parts % members);
    int to = from + parts / members + (me < parts % members ? 1 : 0);
    for (int r = 1; r < SIM_TOPICS; r++)
        for (int p = from; b->subscribed[r] && p < to; p++)
            list[n++] = (struct bus_position){sim_topic((enum record)r), p, BUS_OFFSET_COMMITTED};
    b->assigned_at = b->generation = g->stable;
    b->cb.on_assigned(b->cb.ctx, list, n);
}

void sim_group_join(struct bus *b)
{
    b->is_member = b->has_subscribed = true;
    begin_round(group_of(b->group));
}

static void on_session_over(void *ctx)
{
    begin_round(ctx);
}

void sim_group_leave(struct bus *b, bool at_once)
{
    if (!b->is_member)
        return;
    b->is_member = false;
    if (at_once)
        begin_round(group_of(b->group));
    else
        sim_after(NULL, SESSION_MS * SIM_MS, TICK_WORLD, on_session_over, group_of(b->group));
}

static void on_silence(void *ctx)
{
    struct sim_proc *p = ctx;
    for (struct bus *b = sim_buses; b; b = b->next)
        if (b->proc == p && b->is_member &&
            (p->paused_until_us > sim.now_us || p->cut_until_us > sim.now_us)) {
            put_out(b);
            begin_round(group_of(b->group));
        }
}

void sim_group_silent(struct sim_proc *p)
{
    sim_after(NULL, SESSION_MS * SIM_MS, TICK_WORLD, on_silence, p);
}
