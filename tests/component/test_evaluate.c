/* The evaluate agent as a whole, on a bus in memory: candidates and "again" become evaluations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "agents/evaluate/evaluate.h"
#include "tests/support/fakebus/fake_bus.c"
#include "tests/support/sample_run.h"

enum { INSTANCES = 2, WAIT_MS = 60000 };

struct fixture {
    struct sample_run s;
    struct codec *codec;
    struct agent *agents[INSTANCES];
    const char *model; /* of a run that was trained in the store */
    int64_t awaited;
    int n_dirs;
};

static const enum record topics[] = {RECORD_PIPELINE_DECLARED,  RECORD_TRAINING_FINISHED,
                                     RECORD_MODEL_EVALUATED,    RECORD_GATE_DECIDED,
                                     RECORD_DEPLOYMENT_CHANGED, RECORD_DEAD_LETTERED};

static const char *topic_of(struct fixture *f, enum record r)
{
    return arena_printf(&f->s.arena, "relearn.%s", record_topic(r));
}

static int setup(void **state)
{
    static struct fixture f;
    struct err err = {0};

    f = (struct fixture){0};
    fake_bus_faults = (struct fake_faults){0};
    fake_bus_reset();
    sample_run_init(&f.s, TASK_BINARY,
                    "train: {params: {rounds: 10}}\nevaluate: {bootstrap_rounds: 50}\n");
    sample_run_add(&f.s, 400, 1);
    sample_run_train(&f.s, sample_run_order(&f.s, "run1", NULL), NULL);
    f.model = sample_run_result(&f.s, "run1")->model;
    for (size_t i = 0; i < ARRAY_LEN(topics); i++)
        fake_bus_topic(topic_of(&f, topics[i]), 1);
    if (codec_new(&f.codec, &err))
        fail_msg("%s", err.msg);
    *state = &f;
    return 0;
}

static void end_agent(struct fixture *f, int i)
{
    if (!f->agents[i])
        return;
    agent_kill(f->agents[i]);
    loop_turn(f->s.job.loop, 0);
    agent_free(f->agents[i]);
    f->agents[i] = NULL;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < INSTANCES; i++)
        end_agent(f, i);
    loop_turn(f->s.job.loop, 0);
    codec_free(f->codec);
    fake_bus_faults = (struct fake_faults){0};
    fake_bus_reset();
    sample_run_fini(&f->s);
    return 0;
}

static void start_agent(struct fixture *f, int i)
{
    char *dir = arena_printf(&f->s.arena, "%s/data-%d", f->s.dir.path, f->n_dirs++);
    char *argv[] = {(char *)"relearn-evaluate",
                    (char *)"--brokers",
                    (char *)"none",
                    (char *)"--share",
                    (char *)"1/1",
                    (char *)"--data",
                    dir,
                    (char *)"--artifacts",
                    f->s.artifacts.root,
                    (char *)"--log-level",
                    (char *)"error",
                    NULL};
    struct err err = {0};

    if (agent_new(&evaluate_agent, f->s.job.loop, (int)ARRAY_LEN(argv) - 1, argv, &f->agents[i],
                  &err) ||
        agent_start(f->agents[i], &err))
        fail_msg("%s", err.msg);
}

/* ---- the log ---- */

static void append(struct fixture *f, enum record r, const void *rec, const char *id)
{
    CLEANUP(buf_fini) struct buf value = {0};
    struct bus_header headers[] = {{.name = "ce_id", .value = id, .n = strlen(id)}};
    struct err err = {0};

    if (codec_encode(f->codec, r, rec, &value, &err))
        fail_msg("%s", err.msg);
    fake_bus_append(topic_of(f, r), 0, slice_str("sample"), buf_slice(&value), headers, 1);
}

static void candidate(struct fixture *f, const char *run, const char *model,
                      const char *pipeline_sha256)
{
    const struct training_finished m = {.line = "sample",
                                        .run = run,
                                        .attempt = 1,
                                        .status = "candidate",
                                        .model = model,
                                        .trainer = "xgboost",
                                        .pipeline_sha256 = pipeline_sha256,
                                        .snapshots = {f->s.refs, f->s.n_refs},
                                        .instance = "train-1"};

    append(f, RECORD_TRAINING_FINISHED, &m, arena_printf(&f->s.arena, "model-%s", run));
}

static void serve(struct fixture *f, int64_t generation)
{
    const struct route route = {
        .generation = generation, .model = f->model, .role = "champion", .weight = 1};
    const struct deployment_changed d = {.line = "sample",
                                         .kind = "changed",
                                         .base = generation - 1,
                                         .generation = generation,
                                         .action = "replace",
                                         .routes = {&route, 1},
                                         .reason = "x",
                                         .until_unix_ms = ABSENT_I64};

    append(f, RECORD_DEPLOYMENT_CHANGED, &d,
           arena_printf(&f->s.arena, "generation-%d", (int)generation));
}

static void ask_again(struct fixture *f, const char *run, const char *id)
{
    const struct gate_decided d = {.line = "sample",
                                   .base = 0,
                                   .run = run,
                                   .model_event = arena_printf(&f->s.arena, "model-%s", run),
                                   .verdict = "again",
                                   .reason = "x",
                                   .by = "policy",
                                   .deadline_unix_ms = ABSENT_I64};

    append(f, RECORD_GATE_DECIDED, &d, id);
}

static const struct model_evaluated *evaluation_at(struct fixture *f, int64_t offset,
                                                   const char **ret_id, const char **ret_cause)
{
    const struct bus_message *m = fake_bus_at("relearn.evaluations", 0, offset);
    const void *rec = NULL;
    struct err err = {0};

    if (codec_decode(f->codec, RECORD_MODEL_EVALUATED, (struct slice){m->value, m->value_n},
                     &f->s.arena, &rec, &err))
        fail_msg("%s", err.msg);
    for (size_t i = 0; i < m->n_headers; i++) {
        if (ret_id && strcmp(m->headers[i].name, "ce_id") == 0)
            *ret_id = arena_strndup(&f->s.arena, m->headers[i].value, m->headers[i].n);
        if (ret_cause && strcmp(m->headers[i].name, "ce_causationid") == 0)
            *ret_cause = arena_strndup(&f->s.arena, m->headers[i].value, m->headers[i].n);
    }
    return rec;
}

static int64_t distinct(struct fixture *f)
{
    const char *a = NULL, *b = NULL;
    int64_t n = 0;

    for (int64_t i = 0; i < fake_bus_end("relearn.evaluations", 0); i++) {
        bool is_new = true;

        evaluation_at(f, i, &a, NULL);
        for (int64_t k = 0; k < i && is_new; k++) {
            evaluation_at(f, k, &b, NULL);
            is_new = strcmp(a, b) != 0;
        }
        n += is_new;
    }
    return n;
}

static bool has_evaluations(void *ctx)
{
    struct fixture *f = ctx;

    if (distinct(f) < f->awaited)
        return false;
    for (int i = 0; i < INSTANCES; i++)
        if (f->agents[i] && (!agent_is_ready(f->agents[i]) || !agent_is_idle(f->agents[i])))
            return false;
    return true;
}

static const struct model_evaluated *await(struct fixture *f, int64_t n, const char **ret_cause)
{
    f->awaited = n;
    if (!loop_until(f->s.job.loop, has_evaluations, f, WAIT_MS))
        fail_msg("%lld evaluations came, %lld were awaited", (long long)distinct(f), (long long)n);
    assert_int_equal(distinct(f), n);
    return evaluation_at(f, fake_bus_end("relearn.evaluations", 0) - 1, NULL, ret_cause);
}

/* ---- tests ---- */

static void a_candidate_is_evaluated_and_its_position_committed(void **state)
{
    struct fixture *f = *state;
    const struct model_evaluated *e;
    const char *cause = NULL;

    candidate(f, "run1", f->model, f->s.pipeline->sha256);
    start_agent(f, 0);
    e = await(f, 1, &cause);
    assert_string_equal(cause, "model-run1");
    assert_string_equal(e->status, "evaluated");
    assert_string_equal(e->model, f->model);
    assert_string_equal(e->model_event, "model-run1");
    assert_int_equal(e->against, 0);
    assert_null(e->champion);
    assert_int_equal(e->rows, 60);
    assert_true(e->metrics.n >= 3 && isfinite(e->metrics.items[0].candidate));
    assert_int_equal(fake_bus_position("relearn.evaluate", "relearn.models", 0), 1);
}

static void again_is_answered_against_the_champion_of_now(void **state)
{
    struct fixture *f = *state;
    const struct model_evaluated *e;
    const char *cause = NULL;

    candidate(f, "run1", f->model, f->s.pipeline->sha256);
    start_agent(f, 0);
    await(f, 1, NULL);
    serve(f, 1);
    ask_again(f, "run1", "again1");
    e = await(f, 2, &cause);
    assert_string_equal(cause, "again1");
    assert_int_equal(e->against, 1);
    assert_string_equal(e->champion, f->model);
    assert_true(e->metrics.items[0].difference == 0);
    assert_int_equal(fake_bus_position("relearn.evaluate", "relearn.decisions", 0), 1);
}

static void what_can_never_be_evaluated_is_answered_too(void **state)
{
    struct fixture *f = *state;
    const struct model_evaluated *e;

    candidate(f, "run1", f->s.pipeline->sha256,
              f->s.pipeline->sha256); /* bytes that are no manifest */
    candidate(f, "run2", f->model, "no digest");
    start_agent(f, 0);
    e = await(f, 2, NULL);
    assert_string_equal(e->status, "failed");
    assert_non_null(e->reason);
    assert_null(e->model);
    assert_string_equal(evaluation_at(f, 0, NULL, NULL)->status, "failed");
    assert_int_equal(fake_bus_position("relearn.evaluate", "relearn.models", 0), 2);
}

static void two_instances_and_a_restart_say_the_same(void **state)
{
    struct fixture *f = *state;
    int64_t n;

    candidate(f, "run1", f->model, f->s.pipeline->sha256);
    start_agent(f, 0);
    start_agent(f, 1);
    await(f, 1, NULL);
    n = fake_bus_end("relearn.evaluations", 0);
    end_agent(f, 0);
    end_agent(f, 1);
    start_agent(f, 0);
    await(f, 1, NULL);
    assert_int_equal(fake_bus_end("relearn.evaluations", 0), n);
}

static void faults_of_the_bus_change_nothing(void **state)
{
    static const struct fake_faults faults[] = {
        {.refuse_produce = 2}, {.lose = 2}, {.drop_ack = 2}, {.duplicate = 2}, {.delay_steps = 5}};

    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        struct fixture *f;

        if (i) {
            teardown(state);
            setup(state);
        }
        f = *state;
        candidate(f, "run1", f->model, f->s.pipeline->sha256);
        fake_bus_faults = faults[i];
        start_agent(f, 0);
        assert_string_equal(await(f, 1, NULL)->status, "evaluated");
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_candidate_is_evaluated_and_its_position_committed),
        TEST(again_is_answered_against_the_champion_of_now),
        TEST(what_can_never_be_evaluated_is_answered_too),
        TEST(two_instances_and_a_restart_say_the_same),
        TEST(faults_of_the_bus_change_nothing),
    };

    return cmocka_run_group_tests_name("evaluate", tests, NULL, NULL);
}
