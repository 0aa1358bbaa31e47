/* The line protocol under random schedules: two instances of plan, train, evaluate, gate and deploy
 * on one line, with the real policies, crashes that forget everything, appends that land late,
 * events that come twice, and readers that see the topics in any order.  After the faults stop
 * everything must be settled: every trigger covered by a closed run, every command answered,
 * generations without gap, every promotion compared with the champion that it replaced. */
/* time-limit: 300 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agents/deploy/rollout.h"
#include "common/gate.h"
#include "agents/plan/policy.h"
#include "common/digest.h"
#include "common/line.h"
#include "common/rng.h"
#include "tests/support/make_event.h"

enum {
    SCHEDULES = 300,
    FAULTY_STEPS = 2500,
    CALM_STEPS = 6000,
    INSTANCES = 10,
    MAX_LATE = 64,
    LOG_CAP = 2000,
    NOW_MS = 1000000
};
enum role { PLAN = 0, TRAIN, EVALUATE, GATE, DEPLOY, ROLES };

static const enum record TOPICS[] = {RECORD_DATASET_INGESTED,  RECORD_OPERATOR_COMMANDED,
                                     RECORD_TRAINING_PLANNED,  RECORD_TRAINING_FINISHED,
                                     RECORD_MODEL_EVALUATED,   RECORD_GATE_DECIDED,
                                     RECORD_DEPLOYMENT_CHANGED};

static bool reads(enum role role, enum record r)
{
    static const bool READS[ROLES][RECORD_COUNT] = {
        [PLAN] = {[RECORD_DATASET_INGESTED] = true,
                  [RECORD_OPERATOR_COMMANDED] = true,
                  [RECORD_TRAINING_PLANNED] = true,
                  [RECORD_TRAINING_FINISHED] = true,
                  [RECORD_GATE_DECIDED] = true,
                  [RECORD_DEPLOYMENT_CHANGED] = true},
        [TRAIN] = {[RECORD_TRAINING_PLANNED] = true, [RECORD_TRAINING_FINISHED] = true},
        [EVALUATE] = {[RECORD_TRAINING_FINISHED] = true,
                      [RECORD_GATE_DECIDED] = true,
                      [RECORD_DEPLOYMENT_CHANGED] = true,
                      [RECORD_MODEL_EVALUATED] = true},
        [GATE] = {[RECORD_MODEL_EVALUATED] = true,
                  [RECORD_OPERATOR_COMMANDED] = true,
                  [RECORD_DEPLOYMENT_CHANGED] = true,
                  [RECORD_GATE_DECIDED] = true},
        [DEPLOY] = {[RECORD_GATE_DECIDED] = true,
                    [RECORD_OPERATOR_COMMANDED] = true,
                    [RECORD_DEPLOYMENT_CHANGED] = true},
    };
    return READS[role][r];
}

struct entry { /* of the log */
    struct event *ev;
    size_t seen[RECORD_COUNT];
};
struct topic {
    struct entry entries[LOG_CAP];
    size_t n;
};
struct late { /* on the wire */
    enum record r;
    struct entry e;
};
struct instance {
    enum role role;
    struct line *line;
    size_t cur[RECORD_COUNT], need[RECORD_COUNT], end[RECORD_COUNT];
    bool is_restored;
    struct late late[MAX_LATE];
    size_t n_late;
    char sent[LOG_CAP][ID_SIZE]; /* not repeated while on the wire */
    size_t n_sent;
};
struct world {
    struct topic topics[RECORD_COUNT];
    struct instance *instances[INSTANCES];
    struct rng rng;
    struct pipeline *pipeline;
    bool is_calm;
};

static bool chance(struct world *w, double p)
{
    return rng_double(&w->rng) < p;
}

static struct event *copy(const struct event *ev)
{
    struct event_parts p = {
        .type = ev->type, .rec = ev->rec, .id = ev->id, .key = ev->key, .time_unix_ms = NOW_MS};
    struct event *c = make_event(&p);
    c->cause = arena_strdup(&c->arena, ev->cause);
    c->hops = ev->hops;
    return c;
}

static void append(struct world *w, enum record r, const struct entry *e)
{
    assert_true(w->topics[r].n < LOG_CAP);
    w->topics[r].entries[w->topics[r].n++] = *e;
}

static void start(struct world *w, struct instance *in)
{
    line_free(in->line);
    in->line = line_new("l");
    in->is_restored = false;
    in->n_sent = 0;
    memset(in->cur, 0, sizeof(in->cur));
    memset(in->need, 0, sizeof(in->need));
    for (size_t t = 0; t < ARRAY_LEN(TOPICS); t++)
        in->end[TOPICS[t]] = w->topics[TOPICS[t]].n;
}

/* Reads one event of one topic of its choice. */
static void read_one(struct world *w, struct instance *in)
{
    enum record ready[ARRAY_LEN(TOPICS)];
    size_t n = 0;
    for (size_t t = 0; t < ARRAY_LEN(TOPICS); t++)
        if (reads(in->role, TOPICS[t]) && in->cur[TOPICS[t]] < w->topics[TOPICS[t]].n)
            ready[n++] = TOPICS[t];
    if (n) {
        enum record r = ready[rng_below(&w->rng, n)];
        const struct entry *e = &w->topics[r].entries[in->cur[r]++];
        for (size_t k = 0; k < RECORD_COUNT; k++)
            in->need[k] = e->seen[k] > in->need[k] ? e->seen[k] : in->need[k];
        line_fold(in->line, copy(e->ev));
    }
    bool restored = true;
    for (size_t t = 0; t < ARRAY_LEN(TOPICS); t++)
        restored =
            restored && (!reads(in->role, TOPICS[t]) || in->cur[TOPICS[t]] >= in->end[TOPICS[t]]);
    in->is_restored = in->is_restored || restored;
}

static bool is_current(const struct instance *in)
{
    for (size_t t = 0; t < ARRAY_LEN(TOPICS); t++)
        if (reads(in->role, TOPICS[t]) && in->cur[TOPICS[t]] < in->need[TOPICS[t]])
            return false;
    return in->is_restored;
}

static void emit(struct world *w, struct instance *in, enum record r, const void *rec,
                 const struct event *cause, const char *about)
{
    struct event_parts p = {
        .type = r, .rec = rec, .cause = cause, .about = about, .key = "l", .time_unix_ms = NOW_MS};
    struct entry e = {.ev = make_event(&p)};
    bool is_known = line_has(in->line, r, e.ev->id);
    for (size_t i = 0; i < in->n_sent; i++)
        is_known = is_known || strcmp(in->sent[i], e.ev->id) == 0;
    if (is_known || in->n_sent == LOG_CAP) {
        event_free(e.ev);
        return;
    }
    str_copy(in->sent[in->n_sent++], ID_SIZE, e.ev->id);
    for (size_t k = 0; k < RECORD_COUNT;
         k++) /* what its writer had read, merged with what it rests on */
        e.seen[k] =
            reads(in->role, (enum record)k) && in->cur[k] > in->need[k] ? in->cur[k] : in->need[k];
    if (!w->is_calm && chance(w, 0.2) && in->n_late < MAX_LATE)
        in->late[in->n_late++] = (struct late){r, e};
    else
        append(w, r, &e);
}

static uint64_t lot(const char *id)
{
    return hash64(id, strlen(id), 7);
}

static void do_plan(struct world *w, struct instance *in)
{
    struct plan_input input = {in->line, w->pipeline, NOW_MS};
    struct plan_output out = {0};
    plan_decide(&input, NULL, &out);
    for (size_t i = 0; i < out.n; i++) {
        out.actions[i].rec.line = "l";
        emit(w, in, RECORD_TRAINING_PLANNED, &out.actions[i].rec, out.actions[i].cause,
             out.actions[i].about);
    }
    plan_output_fini(&out);
}

static void do_train(struct world *w, struct instance *in)
{
    const struct event_list *plans = &in->line->ev[RECORD_TRAINING_PLANNED];
    for (size_t i = 0; i < plans->n; i++) {
        const char *run = plans->items[i]->id;
        if (strcmp(EV_REC(plans->items[i], training_planned)->kind, "requested") != 0 ||
            line_model(in->line, run) || line_closed(in->line, run))
            continue;
        bool failed = lot(run) % 4 == 0;
        struct training_finished m = {.line = "l",
                                      .run = run,
                                      .attempt = 1,
                                      .status = failed ? "failed" : "candidate",
                                      .reason = failed ? "bad luck" : NULL,
                                      .model = failed ? NULL : run,
                                      .pipeline_sha256 = w->pipeline->sha256};
        emit(w, in, RECORD_TRAINING_FINISHED, &m, plans->items[i], "run");
    }
}

static void evaluate(struct world *w, struct instance *in, const struct event *cause,
                     const char *run, const char *model, const char *model_event)
{
    const struct route *champion = line_champion(in->line);
    int64_t against = champion ? champion->generation : 0;
    double gain = lot(model) % 3 == 0 ? 0.1 : -0.1;
    struct evaluation_metric metric = {.metric = "logloss",
                                       .slice = "all",
                                       .rows = 1000,
                                       .candidate = 0.5 + gain,
                                       .champion = 0.5,
                                       .difference = gain,
                                       .low = gain - 0.01,
                                       .high = gain + 0.01};
    struct model_evaluated e = {.line = "l",
                                .run = run,
                                .model = model,
                                .model_event = model_event,
                                .status = "evaluated",
                                .against = against,
                                .pipeline_sha256 = w->pipeline->sha256,
                                .rows = 1000,
                                .metrics = {&metric, 1}};
    char about[40];
    snprintf(about, sizeof(about), "against %lld", (long long)against);
    emit(w, in, RECORD_MODEL_EVALUATED, &e, cause, about);
}

static void do_evaluate(struct world *w, struct instance *in)
{
    const struct event_list *models = &in->line->ev[RECORD_TRAINING_FINISHED],
                            *decisions = &in->line->ev[RECORD_GATE_DECIDED];
    for (size_t i = 0; i < models->n; i++) {
        const struct training_finished *m = EV_REC(models->items[i], training_finished);
        if (m->model && !line_answer(in->line, RECORD_MODEL_EVALUATED, models->items[i]->id))
            evaluate(w, in, models->items[i], m->run, m->model, models->items[i]->id);
    }
    for (size_t i = 0; i < decisions->n; i++) {
        const struct gate_decided *d = EV_REC(decisions->items[i], gate_decided);
        if (strcmp(d->verdict, "again") == 0 &&
            !line_answer(in->line, RECORD_MODEL_EVALUATED, decisions->items[i]->id))
            evaluate(w, in, decisions->items[i], d->run, d->model, d->model_event);
    }
}

static void do_gate(struct world *w, struct instance *in)
{
    struct arena arena = {0};
    struct gate_owed owed;
    gate_find_owed(in->line, NOW_MS, &arena, &owed);
    if (owed.kind != GATE_OWES_NOTHING) {
        gate_complete(in->line, w->pipeline, NOW_MS, &arena, &owed);
        emit(w, in, RECORD_GATE_DECIDED, &owed.decision, owed.cause, owed.about);
    }
    arena_fini(&arena);
}

static void do_deploy(struct world *w, struct instance *in)
{
    struct arena arena = {0};
    struct rollout_owed owed;
    rollout_find_owed(in->line, w->pipeline, NULL, NOW_MS, &arena, &owed);
    if (owed.is_owed && owed.needs_pipeline)
        rollout_begin(in->line, w->pipeline, owed.cause, NOW_MS, &arena, &owed.change);
    if (owed.is_owed) {
        bool is_change = strcmp(owed.change.kind, "changed") == 0;
        owed.change.line = "l";
        owed.change.base = is_change ? in->line->deployments_base : ABSENT_I64;
        emit(w, in, RECORD_DEPLOYMENT_CHANGED, &owed.change, owed.cause,
             is_change ? arena_printf(&arena, "changed %lld", (long long)owed.change.base)
                       : "refused");
    }
    arena_fini(&arena);
}

static void step(struct world *w, struct instance *in)
{
    static void (*const DO[ROLES])(struct world *, struct instance *) = {
        do_plan, do_train, do_evaluate, do_gate, do_deploy};
    if (in->n_late && chance(w, w->is_calm ? 1 : 0.3)) {
        append(w, in->late[0].r, &in->late[0].e);
        memmove(&in->late[0], &in->late[1], --in->n_late * sizeof(in->late[0]));
    }
    for (uint64_t n = rng_below(&w->rng, 4); n > 0; n--)
        read_one(w, in);
    if (is_current(in))
        DO[in->role](w, in);
}

static void feed(struct world *w, int i, bool is_command)
{
    struct dataset_ingested s = {.line = "l",
                                 .pipeline = "l",
                                 .pipeline_sha256 = w->pipeline->sha256,
                                 .dataset = "d",
                                 .dataset_event = "d",
                                 .status = "accepted",
                                 .snapshot = "s",
                                 .rows = 1000,
                                 .train_rows = 900,
                                 .test_rows = 100};
    struct operator_commanded c = {.line = "l",
                                   .command = "rollback",
                                   .generation = ABSENT_I64,
                                   .to_generation = ABSENT_I64,
                                   .by = "somebody"};
    char id[16], digest[DIGEST_HEX_SIZE];
    snprintf(id, sizeof(id), "%s%d", is_command ? "command" : "data", i);
    digest_bytes(id, strlen(id), digest);
    s.snapshot = digest;
    struct event_parts p = {.type =
                                is_command ? RECORD_OPERATOR_COMMANDED : RECORD_DATASET_INGESTED,
                            .rec = is_command ? (const void *)&c : &s,
                            .id = id,
                            .key = "l",
                            .time_unix_ms = NOW_MS};
    struct entry e = {.ev = make_event(&p)};
    append(w, p.type, &e);
    if (chance(w, 0.3)) { /* at least once */
        struct entry again = {.ev = copy(e.ev)};
        append(w, p.type, &again);
    }
}

static void run_faulty(struct world *w)
{
    int triggers = (int)rng_below(&w->rng, 6) + 1, commands = (int)rng_below(&w->rng, 4);
    for (int k = 0; k < FAULTY_STEPS; k++) {
        if (commands + triggers && chance(w, 0.02)) {
            bool is_command = commands && (!triggers || chance(w, 0.4));
            feed(w, is_command ? commands : triggers, is_command);
            *(is_command ? &commands : &triggers) -= 1;
        }
        struct instance *in = w->instances[rng_below(&w->rng, INSTANCES)];
        if (chance(w, 0.004)) {
            for (; in->n_late && chance(w, 0.5);
                 in->n_late--) /* what was on the wire may still land */
                event_free(in->late[in->n_late - 1].e.ev);
            start(w, in);
        }
        step(w, in);
    }
    for (; triggers; triggers--)
        feed(w, triggers, false);
    for (; commands; commands--)
        feed(w, commands, true);
}

/* NULL, or what is not as it should be. */
static const char *check(struct world *w, int64_t *ret_runs, int64_t *ret_generations)
{
    struct line *l = line_new("l");
    const char *wrong = NULL;
    for (size_t t = 0; t < ARRAY_LEN(TOPICS); t++)
        for (size_t i = 0; i < w->topics[TOPICS[t]].n; i++)
            line_fold(l, copy(w->topics[TOPICS[t]].entries[i].ev));
    if (l->in_flight)
        wrong = "a run is still open";
    for (size_t i = 0; i < l->ev[RECORD_DATASET_INGESTED].n; i++)
        if (!line_is_covered(l, l->ev[RECORD_DATASET_INGESTED].items[i]->id))
            wrong = "a trigger is covered by no run";
    for (size_t i = 0; i < l->ev[RECORD_OPERATOR_COMMANDED].n; i++)
        if (!line_answer(l, RECORD_DEPLOYMENT_CHANGED,
                         l->ev[RECORD_OPERATOR_COMMANDED].items[i]->id))
            wrong = "a command has no answer";
    for (size_t i = 0; i < l->ev[RECORD_TRAINING_PLANNED].n; i++) {
        const struct event *ev = l->ev[RECORD_TRAINING_PLANNED].items[i];
        bool is_run = strcmp(EV_REC(ev, training_planned)->kind, "requested") == 0;
        *ret_runs += is_run;
        if (is_run && !line_closed(l, ev->id))
            wrong = "a run was never closed";
    }
    int64_t generation = 0;
    for (size_t i = 0; i < l->ev[RECORD_DEPLOYMENT_CHANGED].n; i++) {
        const struct deployment_changed *d =
            EV_REC(l->ev[RECORD_DEPLOYMENT_CHANGED].items[i], deployment_changed);
        if (strcmp(d->kind, "changed") != 0)
            continue;
        if (d->generation != generation + 1)
            wrong = "generations repeat or have gaps";
        if (strcmp(d->action, "rollback") != 0 && d->against != generation)
            wrong = "a promotion was compared with another champion";
        generation = d->generation;
    }
    for (size_t i = 0; i < l->ev[RECORD_GATE_DECIDED].n; i++) {
        const struct event *ev = l->ev[RECORD_GATE_DECIDED].items[i];
        if (strcmp(EV_REC(ev, gate_decided)->verdict, "promote") == 0 &&
            !line_answer(l, RECORD_DEPLOYMENT_CHANGED, ev->id))
            wrong = "a promotion was neither carried out nor refused";
    }
    *ret_generations += generation;
    line_free(l);
    return wrong;
}

static void world_free(struct world *w)
{
    for (size_t i = 0; i < INSTANCES; i++) {
        for (size_t k = 0; k < w->instances[i]->n_late; k++)
            event_free(w->instances[i]->late[k].e.ev);
        line_free(w->instances[i]->line);
        free(w->instances[i]);
    }
    for (size_t t = 0; t < ARRAY_LEN(TOPICS); t++)
        for (size_t i = 0; i < w->topics[TOPICS[t]].n; i++)
            event_free(w->topics[TOPICS[t]].entries[i].ev);
    free(w);
}

static const char *run_schedule(uint64_t seed, struct pipeline *p, int64_t *runs,
                                int64_t *generations)
{
    struct world *w = xcalloc(1, sizeof(*w));
    rng_seed(&w->rng, seed);
    w->pipeline = p;
    for (int i = 0; i < INSTANCES; i++) {
        w->instances[i] = xcalloc(1, sizeof(struct instance));
        w->instances[i]->role = (enum role)(i / 2);
        start(w, w->instances[i]);
    }
    run_faulty(w);
    w->is_calm = true;
    for (int i = 0; i < INSTANCES; i++)
        w->instances[i]->n_sent = 0; /* what was sent and lost is sent again */
    for (int k = 0; k < CALM_STEPS; k++)
        step(w, w->instances[rng_below(&w->rng, INSTANCES)]);
    const char *wrong = check(w, runs, generations);
    world_free(w);
    return wrong;
}

static void every_schedule_settles(void **state)
{
    (void)state;
    static const char YAML[] =
        "apiVersion: relearn/v1\nkind: Pipeline\nname: l\ndataset: {name: d, label: y}\ntask: "
        "binary\n"
        "plan:\n  quiet: 0s\n  cooldown: {after_promotion: 0s, after_rejection: 0s, after_failure: "
        "0s}\n  budget: {runs_per_day: 1000}\n"
        "evaluate: {metrics: [logloss]}\ngate:\n  min_rows: 1\n  rules: [{metric: logloss, "
        "no_worse_than: champion, by: 0}]\n";
    struct pipeline *p = NULL;
    struct err err = {0};
    int64_t runs = 0, generations = 0;
    if (pipeline_parse(slice_str(YAML), "test", &p, &err))
        fail_msg("%s", err.msg);
    for (uint64_t seed = 1; seed <= SCHEDULES; seed++) {
        const char *wrong = run_schedule(seed, p, &runs, &generations);
        if (wrong)
            fail_msg("schedule %llu: %s", (unsigned long long)seed, wrong);
    }
    print_message("%d schedules, %lld runs, %lld generations\n", SCHEDULES, (long long)runs,
                  (long long)generations);
    assert_true(runs > SCHEDULES && generations > SCHEDULES / 2); /* the schedules do something */
    pipeline_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_schedule_settles)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
