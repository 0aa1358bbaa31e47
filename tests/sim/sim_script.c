/* What a history is made of, drawn from its seed before it begins: so that items can be left out
 * one by one, and the rest stays what it was. */
#include "common/mem.h"
#include "tests/sim/sim.h"

static const char *const KINDS[ITEM_KINDS] = {
    "declare", "withdraw", "dataset", "drift", "command", "predict", "label", "poison", "astray",
    "repeat",  "crash",    "ambush",  "stop",  "pause",   "cut",     "store", "skew",   "join",
};

const char *sim_item_str(enum sim_item_kind k)
{
    return KINDS[k];
}

/* ---- drawing ---- */

static void add(struct sim_plan *p, struct rng *r, enum sim_item_kind kind, int64_t from_us)
{
    if (p->n_items == SIM_ITEMS_MAX)
        return;
    p->items[p->n_items] = (struct sim_item){
        .id = (int)p->n_items,
        .at_us = from_us + (int64_t)rng_below(r, (uint64_t)(p->active_us - from_us)),
        .kind = kind,
        .a = (uint32_t)rng_next(r),
        .b = (uint32_t)rng_next(r),
        .c = (uint32_t)rng_next(r),
    };
    p->n_items++;
}

static void add_from(struct sim_plan *p, struct rng *r, enum sim_item_kind kind, uint64_t at_most,
                     int64_t from_us)
{
    for (uint64_t n = rng_below(r, at_most + 1); n > 0; n--)
        add(p, r, kind, from_us);
}

static void add_some(struct sim_plan *p, struct rng *r, enum sim_item_kind kind, uint64_t at_most)
{
    add_from(p, r, kind, at_most, 2 * SIM_S);
}

static int noise(struct rng *r, int at_most)
{
    return rng_below(r, 3) ? 0 : (int)rng_below(r, (uint64_t)at_most + 1);
}

static void draw_noise(struct sim_plan *p, struct rng *r)
{
    static const int LAGS[] = {2, 20, 200, 2000};
    p->noise = (struct sim_noise){
        .ack_lost = noise(r, 100),
        .doubled = noise(r, 200),
        .refused = noise(r, 60),
        .commit_lost = noise(r, 500),
        .slow_topic = noise(r, 300),
        .slow_work = noise(r, 200),
        .train_fails = noise(r, 300),
        .train_hangs = noise(r, 150),
        .train_dies = noise(r, 300),
        .orphans = noise(r, 500),
        .bad_models = noise(r, 300),
        .compacted = noise(r, 1000),
        .lag_ms = LAGS[rng_below(r, ARRAY_LEN(LAGS))],
    };
}

static void draw_faults(struct sim_plan *p, struct rng *r)
{
    static const struct {
        enum sim_item_kind kind;
        int share; /* of histories, one in so many */
        uint64_t at_most;
    } FAULTS[] = {
        {ITEM_CRASH, 2, 8},  {ITEM_AMBUSH, 2, 8}, {ITEM_STOP, 3, 4},   {ITEM_PAUSE, 2, 5},
        {ITEM_CUT, 3, 5},    {ITEM_STORE, 4, 3},  {ITEM_SKEW, 4, 3},   {ITEM_JOIN, 4, 2},
        {ITEM_POISON, 6, 3}, {ITEM_ASTRAY, 6, 3}, {ITEM_REPEAT, 3, 8},
    };
    for (size_t i = 0; i < ARRAY_LEN(FAULTS); i++)
        if (rng_below(r, (uint64_t)FAULTS[i].share) == 0)
            add_some(p, r, FAULTS[i].kind, FAULTS[i].at_most);
}

void sim_plan_make(uint64_t seed, struct sim_plan *ret)
{
    static const int64_t ACTIVE_S[] = {20, 60, 200, 900};
    struct rng r;
    rng_seed(&r, seed * 0x9E3779B97F4A7C15u + 1);
    *ret = (struct sim_plan){
        .seed = seed,
        .partitions = 1 + (int)rng_below(&r, SIM_PARTITIONS_MAX),
        .variant = (int)rng_below(&r, SIM_VARIANTS),
        .by_group = rng_below(&r, 2),
        .is_full = rng_below(&r, 10) == 0,
        .active_us = ACTIVE_S[rng_below(&r, ARRAY_LEN(ACTIVE_S))] * SIM_S,
    };
    ret->same_share = !ret->by_group && rng_below(&r, 3) == 0;
    ret->lines = ret->variant & 16 ? 2 : 1;
    for (int i = 0; i < SIM_AGENTS; i++)
        ret->instances[i] = 1 + (rng_below(&r, 2) ? 1 : 0);
    draw_noise(ret, &r);
    ret->items[ret->n_items++] =
        (struct sim_item){.at_us = (int64_t)rng_below(&r, 3) * SIM_S, .kind = ITEM_DECLARE};
    add_some(ret, &r, ITEM_DECLARE, rng_below(&r, 4) ? 0 : 2);
    if (rng_below(&r, 20) == 0)
        add(ret, &r, ITEM_WITHDRAW, 2 * SIM_S);
    ret->items[ret->n_items] = (struct sim_item){.at_us = SIM_S + (int64_t)rng_below(&r, 4 * SIM_S),
                                                 .kind = ITEM_DATASET,
                                                 .id = (int)ret->n_items,
                                                 .a = 1};
    ret->n_items++;
    add_some(ret, &r, ITEM_DATASET, 5);
    add_from(ret, &r, ITEM_DRIFT, 3, ret->active_us / 4);
    add_from(ret, &r, ITEM_COMMAND, 4, ret->active_us / 4);
    add_from(ret, &r, ITEM_PREDICT, 8, ret->active_us / 3);
    add_from(ret, &r, ITEM_LABEL, 8, ret->active_us / 3);
    draw_faults(ret, &r);
}

void sim_plan_print(const struct sim_plan *p, FILE *to)
{
    const struct sim_noise *n = &p->noise;
    fprintf(to, "seed %llu: %d partitions, pipeline variant %d, %s%s, %s, %lld s\n  instances:",
            (unsigned long long)p->seed, p->partitions, p->variant,
            p->by_group ? "by group" : "by share", p->same_share ? " (all the same)" : "",
            p->is_full ? "Avro for each reader" : "shared records",
            (long long)(p->active_us / SIM_S));
    for (int i = 0; i < SIM_AGENTS; i++)
        fprintf(to, " %s=%d", sim_spec(i)->name, p->instances[i]);
    fprintf(to,
            "\n  noise (per mille): ack_lost=%d doubled=%d refused=%d commit_lost=%d slow_topic=%d "
            "slow_work=%d train_fails=%d train_hangs=%d train_dies=%d orphans=%d bad_models=%d "
            "compacted=%d lag=%d ms\n",
            n->ack_lost, n->doubled, n->refused, n->commit_lost, n->slow_topic, n->slow_work,
            n->train_fails, n->train_hangs, n->train_dies, n->orphans, n->bad_models, n->compacted,
            n->lag_ms);
    for (size_t i = 0; i < p->n_items; i++)
        fprintf(to, "  %9.3f s  %-8s %u %u %u\n", (double)p->items[i].at_us / 1e6,
                KINDS[p->items[i].kind], p->items[i].a, p->items[i].b, p->items[i].c);
}

/* ---- the pipeline ---- */

/* What the first model of a line is compared on is too little for some: they wait for a second
 * dataset, or until a deadline.  Some have minutes in which nothing is promoted. */
static const char *what_it_waits_for(int variant)
{
    if (!(variant & 64)) /* a history begins on a Monday at 14:13:20 */
        return variant & 128
                   ? "  min_rows: 1\n  freeze: [{from: 'mon 14:14', to: 'mon 14:15', why: a}, "
                     "{from: 'mon 14:16', to: 'mon 14:17', why: b}]\n"
                   : "  min_rows: 1\n";
    if (variant & 4) /* approval has a deadline that a history sees */
        return "  min_rows: 150\n  inconclusive: {wait: {rows: 100, deadline: 30s, then: ask}}\n";
    return variant & 128
               ? "  min_rows: 150\n  inconclusive: {wait: {rows: 100, deadline: 30s}}\n"
               : "  min_rows: 150\n  inconclusive: {wait: {rows: 100, deadline: 30s, then: "
                 "promote}}\n";
}

const char *sim_pipeline_text(int variant, int version, struct arena *arena)
{
    return arena_printf(
        arena,
        "# version %d\napiVersion: relearn/v1\nkind: Pipeline\nname: p\n"
        "dataset: {name: d, label: y%s}\ntask: binary\ntrain: {limits: {wall: 60s}}\n"
        "plan:\n  quiet: %s\n  longest_wait: 30s\n"
        "  cooldown: {after_promotion: %s, after_rejection: %s, after_failure: 0s}\n"
        "  budget: {runs_per_day: 1000}\n  max_hops: %d\n"
        "evaluate: {metrics: [logloss]}\n"
        "gate:\n%s%s"
        "  rules: [{metric: logloss, no_worse_than: champion, by: 0}]\n"
        "deploy: %s\n"
        "monitor:\n  window: {predictions: 20}\n  lateness: 60s\n"
        "  drift: {metric: psi, threshold: 0.2, consecutive: 1}\n"
        "  quality: {metric: logloss, at_most: 1}\n",
        version, variant & 16 ? ", segment: s" : "", variant & 1 ? "3s" : "0s",
        variant & 2 ? "20s" : "0s", variant & 2 ? "5s" : "0s", variant & 32 ? 20 : 200,
        what_it_waits_for(variant), variant & 4 ? "  approval: {manual: {deadline: 60s}}\n" : "",
        variant & 8 ? "{strategy: canary, steps: [30, 60, 100], interval: 10s, min_predictions: 2}"
                    : "{strategy: replace}");
}
