#include "tests/support/verify_story.h"

#include <string.h>

#include "common/line.h"
#include "tests/support/make_event.h"

#define MODEL_A "aaaa000000000000000000000000000000000000000000000000000000000001"
#define MODEL_B "bbbb000000000000000000000000000000000000000000000000000000000002"
#define MODEL_C "cccc000000000000000000000000000000000000000000000000000000000003"

enum { EVENTS_MAX = 100, BEGIN_MS = 1000000000, STEP_MS = 1000 };

struct told {
    struct event *ev;
    int64_t appended_unix_ms;
    bool is_gone, is_not_judged;
};
struct story {
    struct told events[EVENTS_MAX];
    size_t n;
    struct verify_report report;
    struct verify_answer answer;
    char **lines; /* of every dataset */
    size_t n_lines;
    bool is_cut;
};

static struct told *find(struct story *s, const char *id)
{
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->events[i].ev->id, id) == 0)
            return &s->events[i];
    bug_abort("no such event in the story", __FILE__, __LINE__);
}

void story_add(struct story *s, enum record r, const void *rec, const char *id, const char *cause)
{
    struct told *t = &s->events[s->n];
    int64_t at_ms = BEGIN_MS + (int64_t)s->n * STEP_MS;
    const struct event_parts parts = {.type = r,
                                      .rec = rec,
                                      .id = id,
                                      .cause = cause ? find(s, cause)->ev : NULL,
                                      .key = r == RECORD_DATASET_PUBLISHED ? "d" : "p",
                                      .time_unix_ms = at_ms};

    BUG_ON(s->n == EVENTS_MAX);
    *t = (struct told){.ev = make_event(&parts), .appended_unix_ms = at_ms};
    s->n++;
}

/* ---- the events ---- */

static void dataset(struct story *s, const char *id, const char *snap, const char *digest)
{
    const struct dataset_published d = {.dataset = "d", .uri = "file:///d", .by = "ann"};
    const struct dataset_ingested i = {.line = "p",
                                       .pipeline = "p",
                                       .dataset = "d",
                                       .dataset_event = id,
                                       .status = "accepted",
                                       .reason = "100 rows",
                                       .snapshot = digest,
                                       .rows = 100};

    story_add(s, RECORD_DATASET_PUBLISHED, &d, id, NULL);
    story_add(s, RECORD_DATASET_INGESTED, &i, snap, id);
}

static void plan(struct story *s, const char *run, int64_t base, const char *trigger,
                 const char *cause)
{
    const char *covers[] = {trigger};
    const struct snapshot_ref ref = {"snap-digest-1", "snap1", 100};
    const struct training_planned p = {.line = "p",
                                       .kind = "requested",
                                       .base = base,
                                       .run = run,
                                       .covers = {covers, 1},
                                       .snapshots = {&ref, 1},
                                       .until_unix_ms = ABSENT_I64,
                                       .reason = "new data",
                                       .deadline_unix_ms = BEGIN_MS + 3600000};

    story_add(s, RECORD_TRAINING_PLANNED, &p, run, cause);
}

static void close_run(struct story *s, const char *id, const char *run, const char *outcome,
                      const char *cause)
{
    const struct training_planned p = {.line = "p",
                                       .kind = "closed",
                                       .base = ABSENT_I64,
                                       .run = run,
                                       .outcome = outcome,
                                       .reason = "over",
                                       .until_unix_ms = ABSENT_I64,
                                       .deadline_unix_ms = ABSENT_I64};

    story_add(s, RECORD_TRAINING_PLANNED, &p, id, cause);
}

static void train(struct story *s, const char *id, const char *run, const char *model)
{
    const struct training_finished f = {
        .line = "p", .run = run, .attempt = 1, .status = "candidate", .model = model};

    story_add(s, RECORD_TRAINING_FINISHED, &f, id, run);
}

static void evaluate(struct story *s, const char *id, const char *run, const char *model,
                     const char *model_event, int64_t against, const char *cause)
{
    const struct model_evaluated m = {.line = "p",
                                      .run = run,
                                      .model = model,
                                      .model_event = model_event,
                                      .status = "evaluated",
                                      .reason = "compared",
                                      .against = against};

    story_add(s, RECORD_MODEL_EVALUATED, &m, id, cause);
}

struct verdict {
    const char *id, *verdict, *run, *model, *evaluation;
    int64_t base, against;
};

static void decide(struct story *s, const struct verdict *v, const char *cause)
{
    const struct gate_decided g = {
        .line = "p",
        .base = v->base,
        .run = v->run,
        .model = v->model,
        .evaluation = v->evaluation,
        .verdict = v->verdict,
        .against = v->against,
        .reason = "because",
        .by = "policy",
        .deadline_unix_ms = strcmp(v->verdict, "wait") == 0 ? BEGIN_MS + 3600000 : ABSENT_I64};

    story_add(s, RECORD_GATE_DECIDED, &g, v->id, cause);
}

struct change {
    const char *id, *action, *run, *model, *decision;
    int64_t base, generation, against;
    bool is_final;
    struct route_list routes;
};

static void deploy(struct story *s, const struct change *c, const char *cause)
{
    const struct deployment_changed d = {.line = "p",
                                         .kind = c->action ? "changed" : "refused",
                                         .base = c->action ? c->base : ABSENT_I64,
                                         .generation = c->generation,
                                         .action = c->action,
                                         .routes = c->routes,
                                         .run = c->run,
                                         .model = c->model,
                                         .decision = c->decision,
                                         .against = c->against,
                                         .is_final = c->is_final,
                                         .reason = "because",
                                         .by = "policy",
                                         .until_unix_ms =
                                             c->is_final ? ABSENT_I64 : BEGIN_MS + 3600000};

    story_add(s, RECORD_DEPLOYMENT_CHANGED, &d, c->id, cause);
}

static void command(struct story *s, const char *id, const char *word)
{
    const struct operator_commanded c = {.line = "p",
                                         .command = word,
                                         .generation = ABSENT_I64,
                                         .to_generation = ABSENT_I64,
                                         .by = "ann"};

    story_add(s, RECORD_OPERATOR_COMMANDED, &c, id, NULL);
}

static const struct route FIRST[] = {{1, MODEL_A, "champion", 1}};
static const struct route CANARY[] = {{1, MODEL_A, "champion", 0.9}, {2, MODEL_C, "canary", 0.1}};
static const struct route SECOND[] = {{2, MODEL_C, "champion", 1}};
static const struct route BACK[] = {{3, MODEL_A, "champion", 1}};

static void tell_first(struct story *s)
{
    dataset(s, "set1", "snap1", "snap-digest-1");
    plan(s, "run1", 0, "snap1", "snap1");
    train(s, "model1", "run1", MODEL_A);
    evaluate(s, "eval1", "run1", MODEL_A, "model1", 0, "model1");
    decide(s, &(struct verdict){"gate1", "promote", "run1", MODEL_A, "eval1", 0, 0}, "eval1");
    deploy(s,
           &(struct change){"dep1", "replace", "run1", MODEL_A, "gate1", 0, 1, 0, true, {FIRST, 1}},
           "gate1");
    close_run(s, "closed1", "run1", "promoted", "dep1");
    dataset(s, "set2", "snap2", "snap-digest-2");
    plan(s, "run2", 1, "snap2", "snap2");
    train(s, "model2", "run2", MODEL_B);
    evaluate(s, "eval2", "run2", MODEL_B, "model2", 1, "model2");
}

static void tell_drift(struct story *s)
{
    const struct drift_detected d = {
        .line = "p", .source = "ann", .kind = "data", .generation = ABSENT_I64, .summary = "moved"};
    const struct training_planned p = {.line = "p",
                                       .kind = "deferred",
                                       .base = ABSENT_I64,
                                       .run = "run2",
                                       .reason = "a run is in flight",
                                       .until_unix_ms = ABSENT_I64,
                                       .deadline_unix_ms = ABSENT_I64};

    story_add(s, RECORD_DRIFT_DETECTED, &d, "drift1", NULL);
    story_add(s, RECORD_TRAINING_PLANNED, &p, "defer1", "drift1");
    decide(s, &(struct verdict){"gate2", "reject", "run2", MODEL_B, "eval2", 1, 1}, "eval2");
    close_run(s, "closed2", "run2", "rejected", "gate2");
    plan(s, "run3", 2, "drift1", "defer1");
    train(s, "model3", "run3", MODEL_C);
    evaluate(s, "eval3", "run3", MODEL_C, "model3", 1, "model3");
    decide(s, &(struct verdict){"gate3", "wait", "run3", MODEL_C, "eval3", 2, 1}, "eval3");
    command(s, "approve1", "approve");
    decide(s, &(struct verdict){"gate4", "promote", "run3", MODEL_C, "eval3", 3, 0}, "approve1");
}

static void tell_rollout(struct story *s)
{
    deploy(s, &(struct change){.id = "dep2", .run = "run3", .decision = "gate4", .is_final = true},
           "gate4");
    decide(s, &(struct verdict){"gate5", "again", "run3", MODEL_C, "eval3", 4, 1}, "dep2");
    evaluate(s, "eval4", "run3", MODEL_C, "model3", 1, "gate5");
    decide(s, &(struct verdict){"gate6", "promote", "run3", MODEL_C, "eval4", 5, 1}, "eval4");
    deploy(s,
           &(struct change){
               "dep3", "canary_begin", "run3", MODEL_C, "gate6", 1, 2, 1, false, {CANARY, 2}},
           "gate6");
    deploy(
        s,
        &(struct change){"dep4", "promote", "run3", MODEL_C, "gate6", 2, 2, 1, true, {SECOND, 1}},
        "dep3");
    close_run(s, "closed3", "run3", "promoted", "dep4");
    command(s, "rollback1", "rollback");
    deploy(s, &(struct change){"dep5", "rollback", NULL, MODEL_A, NULL, 3, 3, 2, true, {BACK, 1}},
           "rollback1");
}

/* ---- the story ---- */

struct story *story_new(void)
{
    struct story *s = xcalloc(1, sizeof(*s));

    tell_first(s);
    tell_drift(s);
    tell_rollout(s);
    s->report = (struct verify_report){.at = {RECORD_SERVING_CHANGED, 0, 5},
                                       .id = "report1",
                                       .instance = "serve-1",
                                       .state = "serving",
                                       .model = MODEL_A,
                                       .generation = 3,
                                       .sequence = 4,
                                       .is_judged = true,
                                       .is_newest = true};
    s->answer = (struct verify_answer){.at = {RECORD_PREDICTION_SERVED, 0, 7},
                                       .id = "prediction1",
                                       .model = MODEL_A,
                                       .generation = 3,
                                       .count = 10,
                                       .is_judged = true};
    return s;
}

void story_free(struct story *s)
{
    for (size_t i = 0; i < s->n; i++)
        event_free(s->events[i].ev);
    free_ptr(&s);
}

struct event *story_event(struct story *s, const char *id)
{
    return find(s, id)->ev;
}

void *story_rec(struct story *s, const char *id)
{
    return (void *)(uintptr_t)find(s, id)->ev->rec;
}

void story_drop(struct story *s, const char *id)
{
    find(s, id)->is_gone = true;
}

void story_end_before(struct story *s, const char *id)
{
    for (struct told *t = find(s, id); t < s->events + s->n; t++)
        t->is_gone = true;
}

void story_young(struct story *s)
{
    for (size_t i = 0; i < s->n; i++)
        s->events[i].appended_unix_ms = STORY_NOW_MS;
}

void story_again(struct story *s, const char *id, const char *as)
{
    const struct event *ev = find(s, id)->ev;

    story_add(s, ev->type, ev->rec, as, ev->cause);
}

struct verify_report *story_report(struct story *s)
{
    return &s->report;
}

struct verify_answer *story_answer(struct story *s)
{
    return &s->answer;
}

void story_not_judged(struct story *s, const char *id)
{
    find(s, id)->is_not_judged = true;
}

void story_lines(struct story *s, char **lines, size_t n)
{
    s->lines = lines;
    s->n_lines = n;
}

void story_cut(struct story *s)
{
    s->is_cut = true;
}

/* A line owns its events. */
static struct event *copy(const struct event *ev)
{
    const struct event_parts parts = {
        .type = ev->type, .rec = ev->rec, .id = ev->id, .key = ev->key};
    struct event *to = make_event(&parts);

    to->cause = arena_strdup(&to->arena, ev->cause);
    to->time_unix_us = ev->time_unix_us;
    to->offset = ev->offset;
    return to;
}

void story_check(struct story *s, struct findings *f)
{
    const struct verify_clock clock = {STORY_NOW_MS, STORY_PATIENCE_MS};
    struct verify_line *l = verify_line_new("p");
    struct verify_dataset datasets[EVENTS_MAX];
    struct verify_pipeline p = {.name = "p", .dataset = "d", .datasets = datasets};

    l->is_cut = s->is_cut;
    for (size_t i = 0; i < s->n; i++) {
        const struct told *t = &s->events[i];

        if (t->is_gone)
            continue;
        if (t->ev->type == RECORD_DATASET_PUBLISHED)
            datasets[p.n_datasets++] =
                (struct verify_dataset){.ev = t->ev,
                                        .appended_unix_ms = t->appended_unix_ms,
                                        .is_judged = !t->is_not_judged,
                                        .lines = s->lines,
                                        .n_lines = s->n_lines};
        else
            verify_line_add(l, copy(t->ev), t->appended_unix_ms, !t->is_not_judged);
    }
    if (s->report.id)
        verify_line_report(l, &s->report);
    if (s->answer.id)
        verify_line_answer(l, &s->answer);
    verify_line_seal(l);
    p.lines = &l;
    p.n_lines = 1;
    verify_outcomes(&p, &clock, f);
    verify_line_check(l, &clock, f);
    verify_line_free(l);
}
