/* The plan agent as a whole, on a bus in memory: what is read, what is written, what is committed,
 * and what a second instance and a restart change. The rules themselves are tested in
 * tests/unit/test_plan_*.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agents/plan/plan.h"
#include "common/digest.h"
#include "tests/support/fakebus/fake_bus.c"
#include "tests/support/make_event.h"
#include "tests/support/tmpdir.h"

enum { INSTANCES = 2, WAIT_MS = 60000 };

struct fixture {
    struct tmpdir dir;
    struct loop *loop;
    struct codec *codec;
    struct agent *agents[INSTANCES];
    struct arena arena;
    int64_t awaited; /* plans */
    int n_dirs;
};

static const enum record topics[] = {
    RECORD_PIPELINE_DECLARED,  RECORD_DATASET_INGESTED,   RECORD_DRIFT_DETECTED,
    RECORD_OPERATOR_COMMANDED, RECORD_TRAINING_PLANNED,   RECORD_TRAINING_FINISHED,
    RECORD_GATE_DECIDED,       RECORD_DEPLOYMENT_CHANGED, RECORD_DEAD_LETTERED,
};

static const char *topic_of(struct fixture *f, enum record r)
{
    return arena_printf(&f->arena, "relearn.%s", record_topic(r));
}

static int setup(void **state)
{
    static struct fixture f;
    struct err err = {0};

    f = (struct fixture){0};
    *state = &f;
    tmpdir_init(&f.dir);
    fake_bus_reset();
    for (size_t i = 0; i < ARRAY_LEN(topics); i++)
        fake_bus_topic(topic_of(&f, topics[i]), 1);
    if (loop_new(&f.loop, &err) || codec_new(&f.codec, &err))
        fail_msg("%s", err.msg);
    return 0;
}

static void end_agent(struct fixture *f, int i)
{
    if (!f->agents[i])
        return;
    agent_kill(f->agents[i]);
    agent_free(f->agents[i]);
    f->agents[i] = NULL;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < INSTANCES; i++)
        end_agent(f, i);
    loop_turn(f->loop, 0);
    codec_free(f->codec);
    loop_free(f->loop);
    fake_bus_reset();
    arena_fini(&f->arena);
    tmpdir_fini(&f->dir);
    return 0;
}

/* Both instances have the same partition: that must cost work alone. */
static void start_agent(struct fixture *f, int i)
{
    char *dir = arena_printf(&f->arena, "%s/state-%d", f->dir.path, f->n_dirs++);
    char *argv[] = {"relearn-plan", "--brokers", "none",        "--share", "1/1",
                    "--data",       dir,         "--log-level", "error",   NULL};
    struct err err = {0};

    if (agent_new(&plan_agent, f->loop, (int)ARRAY_LEN(argv) - 1, argv, &f->agents[i], &err) ||
        agent_start(f->agents[i], &err))
        fail_msg("%s", err.msg);
}

/* ---- the log ---- */

struct written {
    enum record record;
    const void *rec;
    const char *id, *cause;
};

static void append(struct fixture *f, struct written w)
{
    CLEANUP(buf_fini) struct buf value = {0};
    const char *key = record_own_key(w.record, w.rec);
    const struct bus_header headers[] = {
        {.name = "ce_id", .value = w.id, .n = strlen(w.id)},
        {.name = "ce_time", .value = "2026-01-01T00:00:00Z", .n = 20},
        {.name = "ce_causationid",
         .value = w.cause ? w.cause : "none",
         .n = strlen(w.cause ? w.cause : "none")},
    };
    struct err err = {0};

    if (codec_encode(f->codec, w.record, w.rec, &value, &err))
        fail_msg("%s", err.msg);
    fake_bus_append(topic_of(f, w.record), 0, slice_str(key), buf_slice(&value), headers,
                    w.cause ? 3 : 2);
}

static void append_pipeline(struct fixture *f)
{
    static const char yaml[] = "apiVersion: relearn/v1\nkind: Pipeline\nname: p\ndataset: {name: "
                               "set, label: y}\ntask: binary\n";
    char sha256[DIGEST_HEX_SIZE];
    struct pipeline_declared p = {.name = "p", .yaml = yaml, .sha256 = sha256, .by = "ann"};

    digest_bytes(yaml, strlen(yaml), sha256);
    append(f, (struct written){RECORD_PIPELINE_DECLARED, &p, "declared", NULL});
}

static void append_snapshot(struct fixture *f, const char *id)
{
    struct dataset_ingested d = {.line = "p",
                                 .pipeline = "p",
                                 .dataset = "set",
                                 .dataset_event = "e",
                                 .status = "accepted",
                                 .reason = "fine",
                                 .snapshot = id,
                                 .rows = 100,
                                 .train_rows = 70};

    append(f, (struct written){RECORD_DATASET_INGESTED, &d, id, NULL});
}

static bool is_at_rest(void *ctx)
{
    struct fixture *f = ctx;

    for (int i = 0; i < INSTANCES; i++)
        if (f->agents[i] && (!agent_is_ready(f->agents[i]) || !agent_is_idle(f->agents[i])))
            return false;
    return true;
}

static const struct training_planned *plan_at(struct fixture *f, int64_t offset,
                                              const char **ret_id)
{
    const struct bus_message *m = fake_bus_at("relearn.plans", 0, offset);
    const void *rec = NULL;
    struct err err = {0};

    if (codec_decode(f->codec, RECORD_TRAINING_PLANNED, (struct slice){m->value, m->value_n},
                     &f->arena, &rec, &err))
        fail_msg("%s", err.msg);
    for (size_t i = 0; ret_id && i < m->n_headers; i++)
        if (strcmp(m->headers[i].name, "ce_id") == 0)
            *ret_id = arena_strndup(&f->arena, m->headers[i].value, m->headers[i].n);
    return rec;
}

/* How many different plans there are: rivals may both write one, under the same id. */
static size_t distinct_plans(struct fixture *f)
{
    const char *ids[64] = {NULL};
    size_t n = 0;

    for (int64_t i = 0; i < fake_bus_end("relearn.plans", 0); i++) {
        size_t k = 0;

        plan_at(f, i, &ids[n]);
        while (k < n && strcmp(ids[k], ids[n]) != 0)
            k++;
        n += k == n;
        assert_true(n < ARRAY_LEN(ids));
    }
    return n;
}

static bool has_plans(void *ctx)
{
    struct fixture *f = ctx;

    return (int64_t)distinct_plans(f) >= f->awaited;
}

/* Until so many different plans are written, read back and answered; no more may come. */
static void await_plans(struct fixture *f, int64_t n)
{
    f->awaited = n;
    if (!loop_until(f->loop, has_plans, f, WAIT_MS) || !loop_until(f->loop, is_at_rest, f, WAIT_MS))
        fail_msg("%lld plans came, %lld were awaited", (long long)distinct_plans(f), (long long)n);
}

static void fail_run(struct fixture *f, const char *run)
{
    struct training_finished m = {
        .line = "p", .run = run, .attempt = 1, .status = "failed", .reason = "boom"};

    append(f, (struct written){RECORD_TRAINING_FINISHED, &m, "failed", run});
}

/* ---- tests ---- */

static void a_snapshot_becomes_a_plan_and_is_committed_when_it_was_read_back(void **state)
{
    struct fixture *f = *state;
    const struct training_planned *p;
    const char *id = NULL;

    append_pipeline(f);
    append_snapshot(f, "d1");
    start_agent(f, 0);
    await_plans(f, 1);
    p = plan_at(f, 0, &id);
    assert_string_equal(p->kind, "requested");
    assert_string_equal(p->run, id);
    assert_int_equal(p->base, 0);
    assert_string_equal(p->covers.items[0], "d1");
    assert_int_equal(fake_bus_position("relearn.plan", "relearn.snapshots", 0), 1);
    fail_run(f, id);
    append_snapshot(f, "d2");
    await_plans(f, 2);
    p = plan_at(f, 1, NULL);
    assert_true(strcmp(p->kind, "closed") == 0 || strcmp(p->kind, "deferred") == 0);
    assert_int_equal(fake_bus_end("relearn.deadletters", 0), 0);
}

static void a_pipeline_declared_after_its_snapshot_is_waited_for(void **state)
{
    struct fixture *f = *state;
    struct dataset_ingested d = {.line = "p",
                                 .pipeline = "p",
                                 .dataset = "set",
                                 .dataset_event = "e",
                                 .status = "accepted",
                                 .reason = "fine",
                                 .snapshot = "s",
                                 .rows = 100,
                                 .train_rows = 70};
    char now[CLK_RFC3339_SIZE];
    CLEANUP(buf_fini) struct buf value = {0};
    struct bus_header headers[] = {{.name = "ce_id", .value = "d1", .n = 2},
                                   {.name = "ce_time", .value = now, .n = 27}};
    struct err err = {0};

    clk_format(clk_unix_us(&clk_system), now);
    assert_int_equal(codec_encode(f->codec, RECORD_DATASET_INGESTED, &d, &value, &err), 0);
    fake_bus_append("relearn.snapshots", 0, slice_str("p"), buf_slice(&value), headers, 2);
    start_agent(f, 0);
    for (int i = 0; i < 50; i++)
        loop_turn(f->loop, 0);
    append_pipeline(f);
    await_plans(f, 1);
    assert_string_equal(plan_at(f, 0, NULL)->kind, "requested");
}

static void two_instances_make_one_run(void **state)
{
    struct fixture *f = *state;
    const char *id = NULL;

    append_pipeline(f);
    append_snapshot(f, "d1");
    start_agent(f, 0);
    start_agent(f, 1);
    await_plans(f, 1);
    plan_at(f, 0, &id);
    assert_int_equal(distinct_plans(f), 1);
    fail_run(f, id);
    await_plans(f, 2);
    assert_int_equal(distinct_plans(f), 2);
}

static void a_restart_without_its_state_says_nothing_new(void **state)
{
    struct fixture *f = *state;
    const char *id = NULL;
    int64_t n;

    append_pipeline(f);
    append_snapshot(f, "d1");
    start_agent(f, 0);
    await_plans(f, 1);
    plan_at(f, 0, &id);
    fail_run(f, id);
    await_plans(f, 2);
    n = fake_bus_end("relearn.plans", 0);
    end_agent(f, 0);
    start_agent(f, 0);
    await_plans(f, 2);
    assert_int_equal(fake_bus_end("relearn.plans", 0), n);
}

/* Lost, repeated and refused on the way out: in the end there is each plan once. */
static void faults_of_the_bus_change_nothing(void **state)
{
    static const struct fake_faults faults[] = {
        {.refuse_produce = 2}, {.lose = 2}, {.drop_ack = 2}, {.duplicate = 2}, {.delay_steps = 5}};

    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        struct fixture *f;
        const char *id = NULL;

        if (i) {
            teardown(state);
            setup(state);
        }
        f = *state;
        append_pipeline(f);
        append_snapshot(f, "d1");
        fake_bus_faults = faults[i];
        start_agent(f, 0);
        await_plans(f, 1);
        plan_at(f, 0, &id);
        fail_run(f, id);
        await_plans(f, 2);
        assert_int_equal(distinct_plans(f), 2);
        fake_bus_faults = (struct fake_faults){0};
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_snapshot_becomes_a_plan_and_is_committed_when_it_was_read_back, setup, teardown),
        cmocka_unit_test_setup_teardown(a_pipeline_declared_after_its_snapshot_is_waited_for, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(two_instances_make_one_run, setup, teardown),
        cmocka_unit_test_setup_teardown(a_restart_without_its_state_says_nothing_new, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(faults_of_the_bus_change_nothing, setup, teardown),
    };

    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
