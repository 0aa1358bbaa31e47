#include "tests/support/console_story.h"

#include <math.h>
#include <stdio.h>

#define MODEL_1 STORY_MODEL("1")
#define MODEL_2 STORY_MODEL("2")
#define MODEL_3 STORY_MODEL("3")

static void say(struct console_bench *b, enum record r, const void *rec, const char *id,
                const char *cause)
{
    console_append(b, &(struct console_event){r, rec, id, cause, 0});
}

static void publish(struct console_bench *b, const char *id, const char *dataset)
{
    struct dataset_published d = {.dataset = dataset,
                                  .version = id,
                                  .uri = "file:///data.csv",
                                  .size_bytes = ABSENT_I64,
                                  .rows = ABSENT_I64,
                                  .published_unix_ms = 1};
    say(b, RECORD_DATASET_PUBLISHED, &d, id, NULL);
}

static void freeze(struct console_bench *b, const char *line, const char *id, const char *cause)
{
    struct dataset_ingested s = {.line = line,
                                 .pipeline = "p",
                                 .dataset_event = cause,
                                 .status = "accepted",
                                 .reason = "100 rows",
                                 .snapshot = id,
                                 .rows = 100};
    say(b, RECORD_DATASET_INGESTED, &s, id, cause);
}

static void plan(struct console_bench *b, const char *line, int64_t base, const char *run,
                 const char *trigger, const char *cause)
{
    const char *covers[] = {cause};
    struct training_planned p = {.line = line,
                                 .kind = "requested",
                                 .base = base,
                                 .run = run,
                                 .trigger = trigger,
                                 .covers = {covers, 1},
                                 .until_unix_ms = ABSENT_I64,
                                 .reason = "new data",
                                 .rows = 100};
    say(b, RECORD_TRAINING_PLANNED, &p, run, cause);
}

static void note(struct console_bench *b, const struct training_planned *p, const char *id,
                 const char *cause)
{
    say(b, RECORD_TRAINING_PLANNED, p, id, cause);
}

static void defer(struct console_bench *b, const char *line, const char *id, const char *cause,
                  const char *reason)
{
    struct training_planned p = {.line = line,
                                 .kind = "deferred",
                                 .base = ABSENT_I64,
                                 .trigger = "drift",
                                 .until_unix_ms = 4102444800000, /* 2100 */
                                 .reason = reason};
    note(b, &p, id, cause);
}

static void close_run(struct console_bench *b, const char *id, const char *run, const char *outcome,
                      const char *cause)
{
    struct training_planned p = {.line = "p",
                                 .kind = "closed",
                                 .base = ABSENT_I64,
                                 .run = run,
                                 .outcome = outcome,
                                 .until_unix_ms = ABSENT_I64,
                                 .reason = "over"};
    note(b, &p, id, cause);
}

/* One run of p from training to the gate. */
struct chapter {
    const char *run, *model_event, *model, *evaluation, *decision, *verdict, *reason;
    int64_t against, base;
    double candidate, champion;
};

static void judge(struct console_bench *b, const struct chapter *ch)
{
    struct training_finished m = {.line = "p",
                                  .run = ch->run,
                                  .attempt = 1,
                                  .status = "candidate",
                                  .model = ch->model,
                                  .trainer = "xgboost",
                                  .trained_rows = 70,
                                  .seconds = 0.5};
    say(b, RECORD_TRAINING_FINISHED, &m, ch->model_event, ch->run);
    struct evaluation_metric metric = {.metric = "auc",
                                       .slice = "all",
                                       .rows = 30,
                                       .candidate = ch->candidate,
                                       .champion = ch->champion,
                                       .difference = ch->candidate - ch->champion,
                                       .low = -0.1,
                                       .high = 0.1,
                                       .higher_is_better = true};
    struct model_evaluated e = {.line = "p",
                                .run = ch->run,
                                .model = ch->model,
                                .model_event = ch->model_event,
                                .status = "evaluated",
                                .against = ch->against,
                                .rows = 30,
                                .metrics = {&metric, 1}};
    say(b, RECORD_MODEL_EVALUATED, &e, ch->evaluation, ch->model_event);
    struct rule_result rule = {.rule = "auc at least 0.5",
                               .metric = "auc",
                               .slice = "all",
                               .value = ch->candidate,
                               .low = NAN,
                               .high = NAN,
                               .threshold = 0.5,
                               .baseline = ch->champion,
                               .verdict = "pass",
                               .severity = "block",
                               .reason = "it is"};
    struct gate_decided d = {.line = "p",
                             .base = ch->base,
                             .run = ch->run,
                             .model = ch->model,
                             .evaluation = ch->evaluation,
                             .model_event = ch->model_event,
                             .verdict = ch->verdict,
                             .against = ch->against,
                             .reason = ch->reason,
                             .by = "policy",
                             .deadline_unix_ms = ABSENT_I64,
                             .rules = {&rule, 1}};
    say(b, RECORD_GATE_DECIDED, &d, ch->decision, ch->evaluation);
}

static void deploy(struct console_bench *b, const char *id, const struct deployment_changed *parts,
                   const char *cause)
{
    struct route r = {
        .generation = parts->generation, .model = parts->model, .role = "champion", .weight = 1};
    struct deployment_changed d = *parts;
    d.line = "p";
    d.kind = "changed";
    d.routes = (struct route_list){&r, 1};
    d.is_final = true;
    d.until_unix_ms = ABSENT_I64;
    say(b, RECORD_DEPLOYMENT_CHANGED, &d, id, cause);
    struct serving_line line = {.line = "p",
                                .generation = parts->generation,
                                .sequence = parts->base + 1,
                                .model = parts->model,
                                .state = "serving"};
    struct serving_changed s = {.instance = "serve-1",
                                .url = "http://127.0.0.1:1",
                                .lines = {&line, 1},
                                .changed_line = "p",
                                .changed_unix_ms = 1};
    say(b, RECORD_SERVING_CHANGED, &s, arena_printf(&b->arena, "serving-%s", id), id);
}

static void predict(struct console_bench *b, const char *id, int64_t generation)
{
    struct prediction_served p = {.line = "p",
                                  .prediction = id,
                                  .generation = generation,
                                  .role = "champion",
                                  .instance = "serve-1",
                                  .rows = 1};
    say(b, RECORD_PREDICTION_SERVED, &p, id, NULL);
}

static void tell_of_p(struct console_bench *b)
{
    publish(b, "set1", "p-data");
    freeze(b, "p", "snap1", "set1");
    plan(b, "p", 0, "run1", "dataset", "snap1");
    judge(b, &(struct chapter){"run1", "model1", MODEL_1, "eval1", "gate1", "promote",
                               "promoted as the first model", 0, 0, 0.7, NAN});
    deploy(b, "dep1",
           &(struct deployment_changed){.base = 0,
                                        .generation = 1,
                                        .action = "replace",
                                        .run = "run1",
                                        .model = MODEL_1,
                                        .decision = "gate1",
                                        .by = "policy",
                                        .reason = "generation 1 is the first in service"},
           "gate1");
    close_run(b, "closed1", "run1", "promoted", "dep1");
    predict(b, "x1", 1);
    predict(b, "x2", 1);
    publish(b, "set2", "p-data");
    freeze(b, "p", "snap2", "set2");
    plan(b, "p", 1, "run2", "dataset", "snap2");
    judge(b, &(struct chapter){"run2", "model2", MODEL_2, "eval2", "gate2", "reject",
                               "rejected, 1 of 1 rules fail", 1, 1, 0.4, 0.7});
    close_run(b, "closed2", "run2", "rejected", "gate2");
    struct drift_detected drift = {.line = "p",
                                   .source = "monitor",
                                   .kind = "data",
                                   .value = 0.3,
                                   .threshold = 0.2,
                                   .generation = 1,
                                   .windows = 2,
                                   .summary = "psi 0.3"};
    say(b, RECORD_DRIFT_DETECTED, &drift, "drift3", NULL);
    plan(b, "p", 2, "run3", "drift", "drift3");
    judge(b, &(struct chapter){"run3", "model3", MODEL_3, "eval3", "gate3", "promote",
                               "promoted: auc 0.8 against 0.7", 1, 2, 0.8, 0.7});
    deploy(b, "dep3",
           &(struct deployment_changed){.base = 1,
                                        .generation = 2,
                                        .action = "replace",
                                        .run = "run3",
                                        .model = MODEL_3,
                                        .decision = "gate3",
                                        .by = "policy",
                                        .reason = "generation 2 takes over"},
           "gate3");
    close_run(b, "closed3", "run3", "promoted", "dep3");
    predict(b, "y1", 2);
    struct operator_commanded undo = {.line = "p",
                                      .command = "rollback",
                                      .generation = ABSENT_I64,
                                      .to_generation = 1,
                                      .by = "ann",
                                      .reason = "looks wrong"};
    say(b, RECORD_OPERATOR_COMMANDED, &undo, "undo", NULL);
    deploy(b, "dep4",
           &(struct deployment_changed){.base = 2,
                                        .generation = 3,
                                        .action = "rollback",
                                        .model = MODEL_1,
                                        .by = "ann",
                                        .reason = "rolled back by ann"},
           "undo");
    predict(b, "z1", 3);
}

static void tell_of_q(struct console_bench *b)
{
    publish(b, "qset", "q-data");
    freeze(b, "q/north", "qsnap", "qset");
    plan(b, "q/north", 0, "qrun", "dataset", "qsnap");
    struct drift_detected drift = {.line = "q/north",
                                   .source = "ann",
                                   .kind = "external",
                                   .value = NAN,
                                   .threshold = NAN,
                                   .generation = ABSENT_I64,
                                   .windows = ABSENT_I64,
                                   .summary = "prices were capped"};
    say(b, RECORD_DRIFT_DETECTED, &drift, "qdrift", NULL);
    defer(b, "q/north", "qwait1", "qdrift", "waits for the run in flight");
    defer(b, "q/north", "qwait2", "qwait1", "waits for the cool-down");
}

void console_story(struct console_bench *b)
{
    tell_of_p(b);
    tell_of_q(b);
    console_bench_settle(b);
}
