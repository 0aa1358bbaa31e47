/* What a history is made of, drawn from its seed before it begins: so that items can be left out
 * one by one, and the rest stays what it was. */
#include <string.h>

#include "agents/serve/serve_internal.h"
#include "common/bus.h"
#include "common/mem.h"
#include "tests/sim/sim.h"

static const char *const KINDS[ITEM_KINDS] = {
    "declare", "withdraw", "dataset", "drift", "command", "predict", "label", "poison", "astray",
    "repeat",  "crash",    "stop",    "pause", "cut",     "store",   "skew",  "join",
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
        .tail_lost = noise(r, 500),
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
        {ITEM_CRASH, 2, 8},  {ITEM_STOP, 3, 4},   {ITEM_PAUSE, 2, 5}, {ITEM_CUT, 3, 5},
        {ITEM_STORE, 4, 3},  {ITEM_SKEW, 4, 3},   {ITEM_JOIN, 4, 2},  {ITEM_POISON, 6, 3},
        {ITEM_ASTRAY, 6, 3}, {ITEM_REPEAT, 3, 8},
    };
    for (size_t i = 0; i < ARRAY_LEN(FAULTS); i++)
        if (rng_below(r, (uint64_t)FAULTS[i].share) == 0)
            add_some(p, r, FAULTS[i].kind, FAULTS[i].at_most);
}

void sim_plan_make(uint64_t seed, struct sim_plan *ret)
{
    static const int64_t ACTIVE_S[] = {20, 60, 200};
    struct rng r;
    rng_seed(&r, seed * 0x9E3779B97F4A7C15u + 1);
    *ret = (struct sim_plan){
        .seed = seed,
        .partitions = 1 + (int)rng_below(&r, SIM_PARTITIONS_MAX),
        .variant = (int)rng_below(&r, 64),
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
            "slow_work=%d train_fails=%d train_hangs=%d train_dies=%d orphans=%d lag=%d ms\n",
            n->ack_lost, n->doubled, n->refused, n->commit_lost, n->slow_topic, n->slow_work,
            n->train_fails, n->train_hangs, n->train_dies, n->orphans, n->lag_ms);
    for (size_t i = 0; i < p->n_items; i++)
        fprintf(to, "  %9.3f s  %-8s %u %u %u\n", (double)p->items[i].at_us / 1e6,
                KINDS[p->items[i].kind], p->items[i].a, p->items[i].b, p->items[i].c);
}

/* ---- the pipeline ---- */

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
        "gate:\n  min_rows: 1\n%s"
        "  rules: [{metric: logloss, no_worse_than: champion, by: 0}]\n"
        "deploy: %s\n"
        "monitor:\n  window: {predictions: 20}\n  lateness: 60s\n"
        "  drift: {metric: psi, threshold: 0.2, consecutive: 1}\n"
        "  quality: {metric: logloss, at_most: 1}\n",
        version, variant & 16 ? ", segment: s" : "", variant & 1 ? "3s" : "0s",
        variant & 2 ? "20s" : "0s", variant & 2 ? "5s" : "0s", variant & 32 ? 20 : 200,
        variant & 4 ? "  approval: {manual: {deadline: 60s}}\n" : "",
        variant & 8 ? "{strategy: canary, steps: [30, 60, 100], interval: 10s, min_predictions: 2}"
                    : "{strategy: replace}");
}

/* ---- doing ---- */

static const char *name_of(const char *prefix, const struct sim_item *it)
{
    return arena_printf(&sim.arena, "%s-%u", prefix, (unsigned)it->id);
}

static const char *line_of(uint32_t n)
{
    if (sim.plan->lines == 1)
        return "p";
    return arena_printf(&sim.arena, "p/s%u", (unsigned)(n % (uint32_t)sim.plan->lines));
}

static int64_t now_ms(void)
{
    return (SIM_UNIX_BASE_US + sim.now_us) / SIM_MS;
}

static void declare(const struct sim_item *it)
{
    const char *yaml = sim_pipeline_text(sim.plan->variant, it->id, &sim.arena);
    char sha256[DIGEST_HEX_SIZE];
    const struct artifacts store = {NULL};
    struct err err = {0};
    if (artifacts_put(&store, yaml, strlen(yaml), sha256, &err))
        sim_wrong("declare: %s", err.msg);
    struct pipeline_declared rec = {.name = "p",
                                    .yaml = yaml,
                                    .sha256 = sha256,
                                    .by = "sim",
                                    .declared_unix_ms = now_ms(),
                                    .first_declared_unix_ms = SIM_UNIX_BASE_US / SIM_MS};
    sim_first(RECORD_PIPELINE_DECLARED, &rec, name_of("declared", it), "p");
}

static void withdraw(void)
{
    struct sim_append a = {
        .record = RECORD_PIPELINE_DECLARED, .partition = -1, .key = {"p", 1}, .proc = -1};
    sim_append(&a);
}

static void dataset(const struct sim_item *it)
{
    struct dataset_published rec = {.dataset = "d",
                                    .version = name_of("v", it),
                                    .uri = it->a % 5 == 0 ? "sim:reject" : "sim:accept",
                                    .size_bytes = ABSENT_I64,
                                    .rows = ABSENT_I64,
                                    .published_unix_ms = now_ms()};
    sim_first(RECORD_DATASET_PUBLISHED, &rec, name_of("dataset", it), "d");
}

static int64_t some_generation(const char *line, uint32_t lot)
{
    const struct line *l = sim_line(line);
    int64_t now = l ? l->generation : 0;
    switch (lot % 4) {
    case 0:
        return ABSENT_I64;
    case 1:
        return now > 1 ? now - 1 : 1;
    case 2:
        return now + 1;
    default:
        return now;
    }
}

static struct drift_detected drift_of(const struct sim_item *it)
{
    const char *line = line_of(it->a);
    return (struct drift_detected){.line = line,
                                   .source = "sim",
                                   .kind = "external",
                                   .value = 1,
                                   .threshold = 0.5,
                                   .generation = some_generation(line, it->b),
                                   .windows = ABSENT_I64,
                                   .summary = "sim: it has drifted",
                                   .detected_unix_ms = now_ms()};
}

static void drift(const struct sim_item *it)
{
    struct drift_detected rec = drift_of(it);
    sim_first(RECORD_DRIFT_DETECTED, &rec, name_of("drift", it), rec.line);
}

static void command(const struct sim_item *it)
{
    static const char *const COMMANDS[] = {"approve", "reject", "force",  "rollback", "retrain",
                                           "pause",   "resume", "resume", "approve",  "dance"};
    const char *line = line_of(it->a);
    struct operator_commanded rec = {
        .line = line,
        .command = COMMANDS[it->b % ARRAY_LEN(COMMANDS)],
        .generation = it->c % 3 ? ABSENT_I64 : some_generation(line, it->c / 3),
        .to_generation = it->c % 5 ? ABSENT_I64 : some_generation(line, it->c / 5),
        .by = "sim",
        .commanded_unix_ms = now_ms()};
    sim_first(RECORD_OPERATOR_COMMANDED, &rec, name_of("command", it), line);
}

/* ---- clients ---- */

struct asking {
    const struct sim_item *it;
    uint32_t i;
};

static struct sim_proc *server(uint32_t lot)
{
    struct sim_proc *found[SIM_PROCS_MAX];
    uint32_t n = 0;
    for (int i = 0; i < sim.n_procs; i++)
        if (sim.procs[i].spec == &serve_agent && sim.procs[i].is_up && !sim.procs[i].is_stopping &&
            sim.procs[i].paused_until_us <= sim.now_us && agent_is_ready(sim.procs[i].agent))
            found[n++] = &sim.procs[i];
    return n ? found[lot % n] : NULL;
}

/* As a request does: the routing in force chooses, the record is sent before the answer. */
static void ask(void *ctx)
{
    const struct asking *q = ctx;
    struct sim_proc *p = server(q->it->a + q->i);
    const char *line = line_of(q->it->b + q->i);
    const char *id = arena_printf(&sim.arena, "%s.%u", name_of("q", q->it), (unsigned)q->i);
    if (!p)
        return;
    struct serve *sv = agent_self(p->agent);
    const struct served *s = sv->lines ? lines_find(sv->lines, line) : NULL;
    if (!s || !s->now)
        return;
    int at = route_choose(s->now->shares, s->now->n, line, id, strlen(id));
    if (at < 0)
        return;
    const float x[1] = {0};
    const double out = 0.5;
    struct served_rows rows = {.line = line,
                               .prediction = id,
                               .model = s->now->boosters[at]->digest,
                               .role = route_role_str(s->now->roles[at]),
                               .generation = s->now->shares[at].generation,
                               .rows = 1,
                               .features = 0, /* the model has none: nothing is counted but rows */
                               .outputs = 1,
                               .x = x,
                               .p = &out,
                               .served_unix_ms = now_ms()};
    struct err err = {0};
    sim.current = p;
    if (records_send(sv->records, &rows, &err))
        sim_trace("not served: %s", err.msg);
    sim.current = NULL;
    sim_stats.predictions++;
}

static void predict(const struct sim_item *it)
{
    enum { AT_MOST = 48, APART_MS = 300 };
    for (uint32_t i = 0; i < 1 + it->c % AT_MOST; i++) {
        struct asking *q = arena_alloc(&sim.arena, sizeof(*q));
        *q = (struct asking){it, i};
        sim_after(NULL, (int64_t)(i * (it->c / AT_MOST % APART_MS)) * SIM_MS, TICK_WORLD, ask, q);
    }
}

/* Labels of some burst of predictions, be it before or after them. */
static void label(const struct sim_item *it)
{
    enum { AT_MOST = 48 };
    uint32_t bursts[SIM_ITEMS_MAX], n = 0;
    for (uint32_t i = 0; i < sim.plan->n_items; i++)
        if (sim.plan->items[i].kind == ITEM_PREDICT)
            bursts[n++] = i;
    if (!n)
        return;
    const struct sim_item *burst = &sim.plan->items[bursts[it->a % n]];
    for (uint32_t i = 0; i < 1 + burst->c % AT_MOST; i++) {
        struct label_observed rec = {
            .line = line_of(burst->b + i),
            .prediction = arena_printf(&sim.arena, "%s.%u", name_of("q", burst), (unsigned)i),
            .value = "1",
            .by = "sim",
            .observed_unix_ms = now_ms()};
        sim_first(RECORD_LABEL_OBSERVED, &rec,
                  arena_printf(&sim.arena, "%s.%u", name_of("label", it), (unsigned)i), rec.line);
    }
}

/* ---- what should not be in a log ---- */

static void poison(const struct sim_item *it)
{
    static const enum record WHERE[] = {
        RECORD_DATASET_PUBLISHED, RECORD_DRIFT_DETECTED,   RECORD_OPERATOR_COMMANDED,
        RECORD_DATASET_INGESTED,  RECORD_TRAINING_PLANNED, RECORD_TRAINING_FINISHED,
        RECORD_MODEL_EVALUATED,   RECORD_GATE_DECIDED,     RECORD_LABEL_OBSERVED};
    const char *key = line_of(it->b);
    struct sim_append a = {.record = WHERE[it->a % ARRAY_LEN(WHERE)],
                           .partition = -1,
                           .key = slice_str(key),
                           .value = {"garbage", 7},
                           .proc = -1};
    sim_append(&a);
}

static void astray(const struct sim_item *it)
{
    CLEANUP(buf_fini) struct buf value = {0};
    struct drift_detected rec = drift_of(it);
    const char *id = name_of("astray", it);
    const struct bus_header header = {"ce_id", id, strlen(id)};
    sim_encode(RECORD_DRIFT_DETECTED, &rec, &value);
    struct sim_append a = {.record = RECORD_DRIFT_DETECTED,
                           .partition = (int)(it->c % (uint32_t)sim.plan->partitions),
                           .key = slice_str(rec.line),
                           .value = buf_slice(&value),
                           .headers = &header,
                           .n_headers = 1,
                           .proc = -1};
    sim_append(&a);
}

static void repeat(const struct sim_item *it)
{
    enum record r = (enum record)(1 + it->a % (SIM_TOPICS - 1));
    const struct sim_part *p = &sim.log[r][it->b % (uint32_t)sim.plan->partitions];
    if (r == RECORD_PIPELINE_DECLARED || r == RECORD_DEAD_LETTERED || !p->n)
        return;
    const struct sim_entry *e = p->items[it->c % p->n];
    struct sim_append a = {.record = r,
                           .partition = e->partition,
                           .key = {e->m->key, e->m->key_n},
                           .value = {e->m->value, e->m->value_n},
                           .headers = e->m->headers,
                           .n_headers = e->m->n_headers,
                           .proc = e->proc,
                           .life = e->life};
    sim_append(&a);
}

/* ---- faults ---- */

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

static void note_in_flight(const struct sim_item *it)
{
    size_t by_topic[SIM_TOPICS];
    sim_sending(by_topic);
    sim_stats.items[it->kind]++;
    for (int r = 1; r < SIM_TOPICS; r++)
        sim_stats.in_flight[it->kind][r] += by_topic[r] ? 1 : 0;
}

static void fault(const struct sim_item *it, struct sim_proc *p)
{
    enum { DOWN_MS = 30000, PAUSE_MS = 25000, TROUBLE_MS = 20000, SKEW_MS = 90000 };
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
        p->paused_until_us = sim.now_us + up_to(it->b, PAUSE_MS);
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
    sim_trace("item %s %u %u %u%s%s", KINDS[it->kind], it->a, it->b, it->c,
              it->kind >= ITEM_CRASH ? " of " : "", it->kind >= ITEM_CRASH ? p->name : "");
    switch (it->kind) {
    case ITEM_DECLARE:
        declare(it);
        break;
    case ITEM_WITHDRAW:
        withdraw();
        break;
    case ITEM_DATASET:
        dataset(it);
        break;
    case ITEM_DRIFT:
        drift(it);
        break;
    case ITEM_COMMAND:
        command(it);
        break;
    case ITEM_PREDICT:
        predict(it);
        break;
    case ITEM_LABEL:
        label(it);
        break;
    case ITEM_POISON:
        poison(it);
        break;
    case ITEM_ASTRAY:
        astray(it);
        break;
    case ITEM_REPEAT:
        repeat(it);
        break;
    default:
        if (p->is_up)
            fault(it, p);
    }
}
