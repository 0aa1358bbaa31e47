/* What an item of the plan does to the world: inputs from outside, clients, and what should not be
 * in a log. */
#include <string.h>

#include "agents/serve/serve_internal.h"
#include "common/bus.h"
#include "common/mem.h"
#include "tests/sim/sim.h"

static const char *name_of(const char *prefix, const struct sim_item *it)
{
    return arena_printf(&sim.arena, "%s-%u", prefix, (unsigned)it->id);
}

/* "<name>.<i>" for a few hundred a history. */
static const char *numbered(const char *name, uint32_t i)
{
    size_t n = strlen(name);
    char *text = arena_alloc(&sim.arena, n + 4);
    BUG_ON(i >= 100);
    memcpy(text, name, n);
    text[n++] = '.';
    if (i >= 10)
        text[n++] = (char)('0' + i / 10);
    text[n] = (char)('0' + i % 10);
    return text;
}

static const char *line_of(uint32_t n)
{
    static const char *const LINES[] = {"p/s0", "p/s1", "p/s2", "p/s3"};
    BUG_ON((size_t)sim.plan->lines > ARRAY_LEN(LINES));
    return sim.plan->lines == 1 ? "p" : LINES[n % (uint32_t)sim.plan->lines];
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
    static const char *const COMMANDS[] = {"approve",  "reject", "force",   "rollback", "retrain",
                                           "pause",    "resume", "resume",  "approve",  "dance",
                                           "rollback", "force",  "rollback"};
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
    if (!p)
        return;
    struct serve *sv = agent_self(p->agent);
    const struct served *s = sv->lines ? lines_find(sv->lines, line) : NULL;
    if (!s || !s->now)
        return;
    const char *id = numbered(name_of("q", q->it), q->i);
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
    const char *asked = name_of("q", burst), *said = name_of("label", it);
    for (uint32_t i = 0; i < 1 + burst->c % AT_MOST; i++) {
        struct label_observed rec = {.line = line_of(burst->b + i),
                                     .prediction = numbered(asked, i),
                                     .value = "1",
                                     .by = "sim",
                                     .observed_unix_ms = now_ms()};
        sim_first(RECORD_LABEL_OBSERVED, &rec, numbered(said, i), rec.line);
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
    enum { KNOWN_S = 280 };
    enum record r = (enum record)(1 + it->a % (SIM_TOPICS - 1));
    const struct sim_part *p = &sim.log[r][it->b % (uint32_t)sim.plan->partitions];
    if (r == RECORD_PIPELINE_DECLARED || r == RECORD_DEAD_LETTERED || !p->n)
        return;
    const struct sim_entry *e = p->items[it->c % p->n];
    if (r == RECORD_PREDICTION_SERVED && sim.now_us - e->at_us > KNOWN_S * SIM_S)
        return; /* what comes again later than that is not promised to be known after a restart */
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

bool sim_input_do(const struct sim_item *it)
{
    switch (it->kind) {
    case ITEM_DECLARE:
        declare(it);
        return true;
    case ITEM_WITHDRAW:
        withdraw();
        return true;
    case ITEM_DATASET:
        dataset(it);
        return true;
    case ITEM_DRIFT:
        drift(it);
        return true;
    case ITEM_COMMAND:
        command(it);
        return true;
    case ITEM_PREDICT:
        predict(it);
        return true;
    case ITEM_LABEL:
        label(it);
        return true;
    case ITEM_POISON:
        poison(it);
        return true;
    case ITEM_ASTRAY:
        astray(it);
        return true;
    case ITEM_REPEAT:
        repeat(it);
        return true;
    default:
        return false;
    }
}
