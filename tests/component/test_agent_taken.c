/* What an agent is left with when something is taken from it while it was on its way: its session,
 * its partition, its process.  On a bus in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/fakebus/agent_bench.c"

enum { STEPS_MAX = 10000 };
static const char GROUP[] = "relearn.answerer";

/* ---- an agent that answers every alert with a plan ---- */

static int answer_alerts(struct agent *a, struct unit *u, struct err *err)
{
    const struct event_list *list = &u->line->ev[RECORD_DRIFT_DETECTED];
    for (size_t i = 0; i < list->n; i++) {
        const struct training_planned p = {.line = u->key,
                                           .kind = "ignored",
                                           .base = ABSENT_I64,
                                           .until_unix_ms = ABSENT_I64,
                                           .deadline_unix_ms = ABSENT_I64,
                                           .reason = "as always"};
        const struct emission e = {.record = RECORD_TRAINING_PLANNED,
                                   .rec = &p,
                                   .cause = list->items[i],
                                   .about = "answer"};
        if (!line_answer(u->line, RECORD_TRAINING_PLANNED, list->items[i]->id) &&
            agent_emit(a, u, &e, err))
            return -1;
    }
    return 0;
}

static bool is_answered(struct agent *a, struct unit *u, const struct event *ev)
{
    (void)a;
    return line_answer(u->line, RECORD_TRAINING_PLANNED, ev->id) != NULL;
}

static const struct agent_input INPUTS[] = {{RECORD_DRIFT_DETECTED, INPUT_WORK},
                                            {RECORD_TRAINING_PLANNED, INPUT_TABLE}};
static const enum record OUTPUTS[] = {RECORD_TRAINING_PLANNED};
static const struct agent_spec ANSWERER = {.name = "answerer",
                                           .purpose = "Answers.",
                                           .inputs = INPUTS,
                                           .n_inputs = ARRAY_LEN(INPUTS),
                                           .outputs = OUTPUTS,
                                           .n_outputs = ARRAY_LEN(OUTPUTS),
                                           .reconcile = answer_alerts,
                                           .is_answered = is_answered};

static int set_up(void **state)
{
    static struct bench b;
    bench_setup(&b);
    *state = &b;
    return 0;
}

static int tear_down(void **state)
{
    bench_teardown(*state);
    return 0;
}

static void alert(struct bench *b, const char *id)
{
    const struct drift_detected d = {.line = "shop",
                                     .source = "test",
                                     .kind = "external",
                                     .summary = "it moved",
                                     .generation = ABSENT_I64,
                                     .windows = ABSENT_I64};
    bench_append(b, RECORD_DRIFT_DETECTED, &d, id);
}

/* ---- a commit that is lost with its session ---- */

static void a_position_that_was_lost_with_its_session_is_committed_again(void **state)
{
    struct bench *b = *state;
    bench_start(b, &ANSWERER, "--share=");
    alert(b, "id-1");
    bench_settle(b);
    assert_int_equal(fake_bus_position(GROUP, "relearn.drift", 0), 1);
    fake_bus_faults.fail_commits = STEPS_MAX; /* they are tried again with each step */
    alert(b, "id-2");
    for (int i = 0; i < STEPS_MAX / 2; i++) /* the loop would go on as long as they fail */
        fake_bus_step();
    assert_int_equal(bench_count(RECORD_TRAINING_PLANNED), 2);
    assert_true(agent_is_idle(b->agent)); /* it has said what it wants to be committed */
    assert_int_equal(fake_bus_position(GROUP, "relearn.drift", 0), 1);
    fake_bus_expel(fake.buses[0]);
    fake_bus_faults.fail_commits = 0;
    bench_settle(b);
    assert_int_equal(bench_count(RECORD_TRAINING_PLANNED), 2);
    assert_int_equal(fake_bus_position(GROUP, "relearn.drift", 0), 2);
}

/* ---- a partition that goes while its answer is on its way ---- */

static void on_rival_assigned(void *ctx, const struct bus_position *p, size_t n)
{
    size_t *ret = ctx;
    (void)p;
    *ret = n;
}

static void on_rival_revoked(void *ctx, bool lost)
{
    size_t *ret = ctx;
    (void)lost;
    *ret = 0;
}

/* Another member of its group, and before it in the order: the one partition is the rival's. */
static struct bus *open_rival(struct bench *b, size_t *n_assigned)
{
    const struct bus_conf conf = {.group = GROUP};
    const struct bus_callbacks cb = {
        .ctx = n_assigned, .on_assigned = on_rival_assigned, .on_revoked = on_rival_revoked};
    struct bus *rival = NULL;
    struct err err = {0};
    if (bus_open(b->loop, &conf, &cb, &rival, &err))
        fail_msg("%s", err.msg);
    return rival;
}

static void who_lost_its_partition_with_an_answer_on_its_way_is_idle(void **state)
{
    static const char *const TOPICS[] = {"relearn.drift"};
    struct bench *b = *state;
    size_t n_rival = 0;
    struct bus *rival = open_rival(b, &n_rival);
    struct err err = {0};
    bench_start(b, &ANSWERER, "--share=");
    bench_wait_ready(b);
    bench_settle(b);
    alert(b, "id-1");
    for (int i = 0; i < STEPS_MAX && !fake.buses[1]->n_sent; i++)
        fake_bus_step();
    assert_int_equal(fake.buses[1]->n_sent, 1);
    assert_int_equal(bus_subscribe(rival, TOPICS, 1, &err), 0);
    for (int i = 0; i < STEPS_MAX && !(n_rival && agent_is_idle(b->agent)); i++)
        fake_bus_step();
    bool is_rivals = n_rival == 1, is_idle = agent_is_idle(b->agent);
    bus_close(rival, 0, NULL, NULL);
    loop_turn(b->loop, 0);
    assert_true(is_rivals);
    assert_true(is_idle);
}

/* ---- a process that is asked to stop while a dead letter is on its way ---- */

static void a_dead_letter_that_was_lost_while_it_stopped_is_written_by_the_next(void **state)
{
    struct bench *b = *state;
    bench_start(b, &ANSWERER, "");
    bench_wait_ready(b);
    bench_settle(b);
    fake_bus_append("relearn.drift", 0, slice_str("shop"), slice_str("no Avro"), NULL, 0);
    for (int i = 0; i < STEPS_MAX && !fake.buses[0]->n_sent; i++)
        fake_bus_step();
    assert_int_equal(fake.buses[0]->n_sent, 1);
    fake_bus_faults.lose = 1;
    bench_stop(b);
    assert_int_equal(bench_count(RECORD_DEAD_LETTERED), 0);
    bench_start(b, &ANSWERER, "");
    bench_wait_ready(b);
    bench_settle(b);
    assert_int_equal(bench_count(RECORD_DEAD_LETTERED), 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_position_that_was_lost_with_its_session_is_committed_again),
        TEST(who_lost_its_partition_with_an_answer_on_its_way_is_idle),
        TEST(a_dead_letter_that_was_lost_while_it_stopped_is_written_by_the_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
