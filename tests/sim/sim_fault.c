/* Faults: what is done to processes, and when. */
#include "common/mem.h"
#include "tests/sim/sim.h"

static void start_later(void *ctx)
{
    sim_proc_start(ctx);
}

static int64_t up_to(uint32_t lot, int64_t at_most_ms)
{
    return (int64_t)(lot % (uint32_t)at_most_ms) * SIM_MS;
}

static void join(void)
{
    int agent = (int)(sim.n_procs * 7 % (SIM_AGENTS - 1));
    if (sim.n_procs == SIM_PROCS_MAX)
        return;
    struct sim_proc *p = &sim.procs[sim.n_procs];
    *p = (struct sim_proc){.index = sim.n_procs++, .spec = sim_spec(agent)};
    snprintf(p->name, sizeof(p->name), "%s-%d", p->spec->name, p->index);
    if (!sim.plan->by_group)
        p->share = p->shares = 1; /* all of it: beside those who have their shares */
    sim_proc_start(p);
}

static void ambush(const struct sim_item *it)
{
    enum { DOWN_MS = 20000 };
    for (int i = 0; i < SIM_AMBUSHES; i++)
        if (!sim.ambushes[i].is_set) {
            sim.ambushes[i] =
                (struct sim_ambush){.is_set = true,
                                    .moment = (enum sim_moment)(it->a % MOMENTS),
                                    .record = (enum record)(1 + it->b % (SIM_TOPICS - 1)),
                                    .down_us = up_to(it->c, it->c % 2 ? 300 : DOWN_MS),
                                    .cache = (int)(it->c / 2 % 6)};
            return;
        }
}

struct victim {
    struct sim_proc *p;
    int life, cache;
    int64_t down_us;
};

static void strike(void *ctx)
{
    struct victim *v = ctx;
    if (!v->p->is_up || v->p->lives != v->life)
        return;
    sim_proc_kill(v->p);
    sim_store_crash(v->p->name, v->cache);
    sim_after(NULL, v->down_us, TICK_WORLD, start_later, v->p);
}

void sim_moment(enum sim_moment m, enum record r, struct sim_proc *p)
{
    for (int i = 0; i < SIM_AMBUSHES; i++) {
        struct sim_ambush *a = &sim.ambushes[i];
        if (!a->is_set || a->moment != m || a->record != r || sim.is_calm || p->is_dying)
            continue;
        struct victim *v = arena_alloc(&sim.arena, sizeof(*v));
        *v = (struct victim){p, p->lives, a->cache, a->down_us};
        a->is_set = false;
        sim_stats.ambushed[m][r]++;
        sim_trace("ambush of %s", p->name);
        sim_after(NULL, 0, TICK_WORLD, strike, v);
        return;
    }
}

static void note_in_flight(const struct sim_item *it)
{
    size_t by_topic[SIM_TOPICS];
    sim_sending(by_topic);
    sim_stats.items[it->kind]++;
    for (int r = 1; r < SIM_TOPICS; r++)
        sim_stats.in_flight[it->kind][r] += by_topic[r] || sim_is_unread((enum record)r) ? 1 : 0;
}

bool sim_is_by_days(const struct sim_item *it)
{
    return it->kind == ITEM_SKEW && it->c % 6 == 0;
}

/* A second halt within one does not end it earlier: what it has put off stays put off. */
static void pause_until(struct sim_proc *p, int64_t until_us)
{
    if (until_us > p->paused_until_us)
        p->paused_until_us = until_us;
}

static void fault(const struct sim_item *it, struct sim_proc *p)
{
    enum {
        DOWN_MS = 30000,
        PAUSE_MS = 25000,
        LONG_PAUSE_MS = 150000,
        TROUBLE_MS = 20000,
        SKEW_MS = 90000,
        DAY_S = 86400
    };
    switch (it->kind) {
    case ITEM_CRASH:
        sim_proc_kill(p);
        sim_store_crash(p->name, (int)(it->c % 6));
        sim_after(NULL, up_to(it->b, it->c % 2 ? 500 : DOWN_MS), TICK_WORLD, start_later, p);
        break;
    case ITEM_STOP:
        sim_proc_stop(p);
        break;
    case ITEM_PAUSE:
        pause_until(p, sim.now_us + up_to(it->b, it->c % 8 ? PAUSE_MS : LONG_PAUSE_MS));
        sim_group_silent(p);
        break;
    case ITEM_CUT:
        p->cut_until_us = sim.now_us + up_to(it->b, PAUSE_MS);
        sim_group_silent(p);
        break;
    case ITEM_STORE:
        sim.store_trouble_until_us = sim.now_us + up_to(it->b, TROUBLE_MS);
        sim.store_trouble = 100 + (int)(it->c % 900);
        break;
    case ITEM_SKEW:
        p->skew_us = up_to(it->b, 2 * SKEW_MS) - SKEW_MS * SIM_MS;
        if (sim_is_by_days(it)) /* somebody set it wrong */
            p->skew_us += (it->c % 4 < 2 ? DAY_S : -DAY_S) * SIM_S;
        break;
    case ITEM_JOIN:
        join();
        break;
    default:
        break;
    }
}

void sim_item_do(const struct sim_item *it)
{
    struct sim_proc *p = &sim.procs[it->a % (uint32_t)sim.n_procs];
    note_in_flight(it);
    sim_trace("item %s %u %u %u%s%s", sim_item_str(it->kind), it->a, it->b, it->c,
              it->kind >= ITEM_CRASH ? " of " : "", it->kind >= ITEM_CRASH ? p->name : "");
    if (sim_input_do(it))
        return;
    if (it->kind == ITEM_AMBUSH)
        ambush(it);
    else if (p->is_up)
        fault(it, p);
}
