/* What must hold after every step: looked at when something is appended, committed or served.
 * The log is folded by the protocol's own words (struct line) for the questions who answered what,
 * and by hand for those that must not be answered by the code under test: generations, winners,
 * causes, names. */
#include <string.h>
#include <uthash.h>

#include "agents/deploy/rollout.h"
#include "agents/evaluate/owed.h"
#include "common/gate.h"
#include "agents/plan/policy.h"
#include "agents/serve/serve_internal.h"
#include "agents/train/owed.h"
#include "common/bus.h"
#include "common/mem.h"
#include "tests/sim/sim_check.h"

static struct seen *seen;
static struct checked *lines;
static int64_t committed[SIM_AGENTS][SIM_TOPICS][SIM_PARTITIONS_MAX];

void sim_check_reset(void)
{
    struct checked *c, *next;
    HASH_ITER (hh, lines, c, next) {
        HASH_DEL(lines, c);
        line_free(c->line);
        HASH_CLEAR(hh, c->covered);
        free_ptr(&c);
    }
    HASH_CLEAR(hh, seen);
    memset(committed, 0, sizeof(committed));
}

struct checked *sim_lines(void)
{
    return lines;
}

static struct checked *line_of(const char *key)
{
    struct checked *c = NULL;
    HASH_FIND_STR(lines, key, c);
    if (c)
        return c;
    c = xcalloc(1, sizeof(*c));
    c->line = line_new(key);
    HASH_ADD_KEYPTR(hh, lines, c->line->key, strlen(c->line->key), c);
    return c;
}

const struct line *sim_line(const char *key)
{
    struct checked *c = NULL;
    HASH_FIND_STR(lines, key, c);
    return c ? c->line : NULL;
}

struct seen *sim_seen(const char *id)
{
    struct seen *s = NULL;
    HASH_FIND_STR(seen, id, s);
    return s;
}

/* ---- ids and causes ---- */

static bool is_new(const struct sim_entry *e)
{
    struct seen *s = sim_seen(e->id);
    if (!s) {
        s = arena_alloc(&sim.arena, sizeof(*s));
        s->id = e->id;
        s->first = e;
        HASH_ADD_KEYPTR(hh, seen, s->id, strlen(s->id), s);
        return true;
    }
    s->n++;
    if (s->first->record != e->record || strcmp(s->first->key, e->key) != 0)
        sim_wrong("id %s stands for %s of %s and for %s of %s", e->id,
                  record_topic(s->first->record), s->first->key, record_topic(e->record), e->key);
    if ((s->first->cause == NULL) != (e->cause == NULL) ||
        (e->cause && strcmp(e->cause, s->first->cause) != 0))
        sim_wrong("id %s (%s) has two causes", e->id, record_topic(e->record));
    return false;
}

static void check_cause(const struct sim_entry *e)
{
    enum { HOPS_MAX = 400 };
    if (e->cause && e->proc >= 0 && !sim_seen(e->cause))
        sim_wrong("%s %s is in the log before its cause %s", record_topic(e->record), e->id,
                  e->cause);
    if (e->hops < 0 || e->hops > HOPS_MAX)
        sim_wrong("%s %s has %lld hops: a loop", record_topic(e->record), e->id,
                  (long long)e->hops);
}

static void check_stored(const struct sim_entry *e, const char *digest)
{
    if (digest && digest[0] && !sim_artifact_has(digest))
        sim_wrong("%s %s names %.12s, which is not in the store", record_topic(e->record), e->id,
                  digest);
}

static void check_names(const struct sim_entry *e)
{
    switch (e->record) {
    case RECORD_DATASET_INGESTED: {
        const struct dataset_ingested *r = e->rec;
        check_stored(e, r->snapshot);
        check_stored(e, r->pipeline_sha256);
        break;
    }
    case RECORD_TRAINING_PLANNED: {
        const struct training_planned *r = e->rec;
        check_stored(e, r->pipeline_sha256);
        for (size_t i = 0; i < r->snapshots.n; i++)
            check_stored(e, r->snapshots.items[i].snapshot);
        break;
    }
    case RECORD_TRAINING_FINISHED:
        check_stored(e, ((const struct training_finished *)e->rec)->model);
        break;
    case RECORD_MODEL_EVALUATED:
        check_stored(e, ((const struct model_evaluated *)e->rec)->model);
        break;
    case RECORD_DEPLOYMENT_CHANGED: {
        const struct deployment_changed *r = e->rec;
        for (size_t i = 0; i < r->routes.n; i++)
            check_stored(e, r->routes.items[i].model);
        break;
    }
    default:
        break;
    }
}

/* ---- chains, by hand ---- */

static bool is(const char *a, const char *b)
{
    return a && strcmp(a, b) == 0;
}

static void cover(struct checked *c, const struct sim_entry *e, const char *trigger)
{
    struct seen *s = NULL;
    HASH_FIND_STR(c->covered, trigger, s);
    if (s && s->first != e) {
        sim_wrong("line %s: trigger %s is covered by two runs, %s and %s", c->line->key, trigger,
                  s->first->id, e->id);
        return;
    }
    if (s)
        return;
    s = arena_alloc(&sim.arena, sizeof(*s));
    s->id = trigger;
    s->first = e;
    HASH_ADD_KEYPTR(hh, c->covered, s->id, strlen(s->id), s);
}

static void check_plan(struct checked *c, const struct sim_entry *e)
{
    const struct training_planned *p = e->rec;
    if (is(p->kind, "closed") && is(p->run, c->in_flight ? c->in_flight : ""))
        c->in_flight = NULL;
    if (!is(p->kind, "requested") || p->base != c->plans)
        return;
    if (c->in_flight) /* void by rule: single flight */
        return;
    c->plans++;
    c->in_flight = e->id;
    for (size_t i = 0; i < p->covers.n; i++)
        cover(c, e, p->covers.items[i]);
    cover(c, e, e->cause);
    if (!p->snapshots.n)
        sim_wrong("run %s learns from nothing", e->id);
}

static void check_decision(struct checked *c, const struct sim_entry *e)
{
    const struct gate_decided *d = e->rec;
    if (!is(d->verdict, "refused") && d->base == c->decisions)
        c->decisions++;
}

static const struct route *champion_of(const struct deployment_changed *d)
{
    for (size_t i = 0; d && i < d->routes.n; i++)
        if (is(d->routes.items[i].role, "champion"))
            return &d->routes.items[i];
    return NULL;
}

/* A promotion was decided, evaluated and trained, each in the log, and compared with what serves.
 */
static void check_promotion(const struct checked *c, const struct sim_entry *e)
{
    const struct deployment_changed *d = e->rec;
    const struct route *champion = champion_of(c->serving);
    const struct event *decision =
        d->decision ? line_find(c->line, RECORD_GATE_DECIDED, d->decision) : NULL;
    const struct gate_decided *g = decision ? decision->rec : NULL;
    const struct event *evaluation =
        g ? line_find(c->line, RECORD_MODEL_EVALUATED, g->evaluation) : NULL;
    int64_t against = champion ? champion->generation : 0;
    if (!g || !is(g->verdict, "promote") || !evaluation || !line_model(c->line, g->run) ||
        !line_plan(c->line, g->run))
        sim_wrong("generation %lld has no decision, evaluation, result and plan behind it",
                  (long long)d->generation);
    else if (d->against != against ||
             (is(g->by, "policy") && EV_REC(evaluation, model_evaluated)->against != against))
        sim_wrong("generation %lld was compared with generation %lld, and %lld served",
                  (long long)d->generation, (long long)EV_REC(evaluation, model_evaluated)->against,
                  (long long)against);
}

static void check_deployment(struct checked *c, const struct sim_entry *e)
{
    const struct deployment_changed *d = e->rec;
    bool is_new_one = is(d->action, "replace") || is(d->action, "canary_begin"),
         is_next = is_new_one || is(d->action, "rollback");
    if (!is(d->kind, "changed") || d->base != c->deployments)
        return;
    if (d->generation != c->generation + (is_next ? 1 : 0))
        sim_wrong("line %s: generation %lld (%s) comes after %lld", c->line->key,
                  (long long)d->generation, d->action, (long long)c->generation);
    if (is_new_one)
        check_promotion(c, e);
    c->deployments++;
    c->generation = d->generation;
    c->serving = d;
    sim_stats.generations += is_next ? 1 : 0;
}

static void check_chain(struct checked *c, const struct sim_entry *e)
{
    if (e->record == RECORD_TRAINING_PLANNED)
        check_plan(c, e);
    else if (e->record == RECORD_GATE_DECIDED)
        check_decision(c, e);
    else if (e->record == RECORD_DEPLOYMENT_CHANGED)
        check_deployment(c, e);
}

static void fold(struct checked *c, const struct sim_entry *e)
{
    struct event *ev = xcalloc(1, sizeof(*ev));
    *ev = (struct event){.type = e->record,
                         .rec = e->rec,
                         .id = e->id,
                         .cause = e->cause,
                         .key = e->key,
                         .hops = (int)e->hops,
                         .partition = e->partition,
                         .offset = e->offset};
    line_fold(c->line, ev);
}

void sim_check_append(const struct sim_entry *e)
{
    if (!e->rec || !e->id)
        return;
    bool is_first = is_new(e);
    if (!record_is_line_keyed(e->record) ||
        bus_partition_of(e->key, strlen(e->key), sim.plan->partitions) != e->partition)
        return;
    struct checked *c = line_of(e->key);
    check_cause(e);
    check_names(e);
    if (is_first || sim_seen(e->id)->first->partition != e->partition) {
        if (!line_has(c->line, e->record, e->id))
            check_chain(c, e);
    }
    if (e->record != RECORD_PREDICTION_SERVED && e->record != RECORD_LABEL_OBSERVED)
        fold(c, e);
}

/* ---- positions ---- */

static int agent_index(const char *name)
{
    for (int i = 0; i < SIM_AGENTS; i++)
        if (strcmp(sim_spec(i)->name, name) == 0)
            return i;
    return 0;
}

bool sim_is_answered(const char *agent, const struct line *l, const struct event *ev)
{
    if (strcmp(agent, "plan") == 0)
        return plan_is_answered(l, ev);
    if (strcmp(agent, "train") == 0)
        return train_is_answered(l, ev);
    if (strcmp(agent, "evaluate") == 0)
        return evaluate_is_answered(l, ev);
    if (strcmp(agent, "gate") == 0)
        return gate_is_answered(l, ev);
    if (strcmp(agent, "deploy") == 0)
        return rollout_is_answered(l, ev);
    return true;
}

/* A dead letter of it, or its copy on its own partition. */
static bool was_moved(const struct sim_entry *e)
{
    const struct sim_part *dead =
        &sim.log[RECORD_DEAD_LETTERED]
                [bus_partition_of(e->m->topic, strlen(e->m->topic), sim.plan->partitions)];
    for (size_t i = 0; !e->rec && i < dead->n; i++) {
        const struct dead_lettered *d = dead->items[i]->rec;
        if (d && d->offset == e->offset && d->partition == e->partition &&
            strcmp(d->topic, e->m->topic) == 0)
            return true;
    }
    if (!e->rec)
        return false;
    int own = bus_partition_of(e->key, strlen(e->key), sim.plan->partitions);
    const struct sim_part *p = &sim.log[e->record][own];
    for (size_t i = 0; i < p->n; i++)
        if (p->items[i]->id && strcmp(p->items[i]->id, e->id) == 0)
            return true;
    return false;
}

static void check_handled(const char *agent, const struct sim_entry *e)
{
    bool is_astray =
        e->rec && bus_partition_of(e->key, strlen(e->key), sim.plan->partitions) != e->partition;
    if ((!e->rec && e->m->value) || is_astray) {
        if (!was_moved(e))
            sim_wrong("%s committed %s[%d] beyond %lld, which was not moved aside", agent,
                      record_topic(e->record), e->partition, (long long)e->offset);
        return;
    }
    if (!e->rec || !record_is_line_keyed(e->record))
        return;
    const struct line *l = sim_line(e->key);
    const struct event *ev = l ? line_find(l, e->record, e->id) : NULL;
    if (ev && !sim_is_answered(agent, l, ev))
        sim_wrong("%s committed %s[%d] beyond %lld (%s), which has no answer in the log", agent,
                  record_topic(e->record), e->partition, (long long)e->offset, e->id);
}

void sim_check_commit(const char *agent, enum record r, int partition, int64_t position)
{
    int64_t *at = &committed[agent_index(agent)][r][partition];
    const struct sim_part *p = &sim.log[r][partition];
    if (position > (int64_t)p->n)
        sim_wrong("%s committed %s[%d] up to %lld, and there are %zu", agent, record_topic(r),
                  partition, (long long)position, p->n);
    if (r == RECORD_PREDICTION_SERVED || r == RECORD_LABEL_OBSERVED)
        return;
    for (; *at < position && *at < (int64_t)p->n; (*at)++)
        check_handled(agent, p->items[*at]);
}

/* ---- serving ---- */

void sim_check_serving(struct sim_proc *p)
{
    struct serve *sv = p->agent ? agent_self(p->agent) : NULL;
    size_t i = 0;
    if (!sv || !sv->lines)
        return;
    for (const struct served *s = lines_first(sv->lines); s && i < ARRAY_LEN(p->served_sequence);
         s = s->next, i++) {
        int at = s->line[1] ? s->line[strlen(s->line) - 1] - '0' : 0;
        int64_t *before = &p->served_sequence[at & 7];
        if (!s->now)
            continue;
        if (s->now->sequence < *before)
            sim_wrong("%s went back on %s from change %lld to %lld", p->name, s->line,
                      (long long)*before, (long long)s->now->sequence);
        *before = s->now->sequence;
    }
}
