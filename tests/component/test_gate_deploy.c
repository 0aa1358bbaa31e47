/* The gate and deploy agents on a bus in memory, each with its own fold: from an evaluation to the
 * routing, through refusals, rollbacks, repeats and restarts. The rules themselves are tested in
 * tests/unit. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agents/deploy/deploy.h"
#include "agents/gate/gate.h"
#include "common/digest.h"
#include "tests/support/fakebus/fake_bus.c"
#include "tests/support/tmpdir.h"

enum { WAIT_MS = 60000, AGENTS = 4 };

static const struct agent_spec *const SPECS[AGENTS] = {&gate_agent, &deploy_agent, &gate_agent,
                                                       &deploy_agent};

struct fixture {
    struct tmpdir dir;
    struct loop *loop;
    struct codec *codec;
    struct agent *agents[AGENTS]; /* the last two are rivals of the first two */
    struct arena arena;
    char sha256[DIGEST_HEX_SIZE];
    int n_dirs, appended;
    enum record awaited_in;
    int64_t awaited;
};

static const char *topic_of(struct fixture *f, enum record r)
{
    return arena_printf(&f->arena, "relearn.%s", record_topic(r));
}

/* ---- the log ---- */

static void append(struct fixture *f, enum record r, const void *rec, const char *id,
                   const char *cause)
{
    CLEANUP(buf_fini) struct buf value = {0};
    char time[CLK_RFC3339_SIZE];
    struct err err = {0};
    clk_format(clk_unix_us(&clk_system), time);
    const struct bus_header headers[] = {
        {.name = "ce_id", .value = id, .n = strlen(id)},
        {.name = "ce_time", .value = time, .n = strlen(time)},
        {.name = "ce_causationid", .value = cause, .n = cause ? strlen(cause) : 0},
    };
    if (codec_encode(f->codec, r, rec, &value, &err))
        fail_msg("%s", err.msg);
    fake_bus_append(topic_of(f, r), 0, slice_str(record_own_key(r, rec)), buf_slice(&value),
                    headers, cause ? 3 : 2);
}

static void declare(struct fixture *f, const char *rest)
{
    const char *yaml = arena_printf(&f->arena,
                                    "apiVersion: relearn/v1\nkind: Pipeline\nname: p\ndataset: "
                                    "{name: set, label: y}\ntask: binary\n%s",
                                    rest);
    digest_bytes(yaml, strlen(yaml), f->sha256);
    struct pipeline_declared p = {.name = "p", .yaml = yaml, .sha256 = f->sha256, .by = "ann"};
    append(f, RECORD_PIPELINE_DECLARED, &p, arena_printf(&f->arena, "d%d", ++f->appended), NULL);
}

static void evaluate(struct fixture *f, const char *run, int64_t against, double value)
{
    struct evaluation_metric m = {.metric = "auc",
                                  .slice = "all",
                                  .rows = 500,
                                  .candidate = value,
                                  .champion = against ? 0.7 : NAN,
                                  .difference = against ? value - 0.7 : NAN,
                                  .low = NAN,
                                  .high = NAN,
                                  .higher_is_better = true};
    struct model_evaluated e = {.line = "p",
                                .run = run,
                                .model = arena_printf(&f->arena, "model-%s", run),
                                .model_event = "m",
                                .status = "evaluated",
                                .against = against,
                                .rows = 500,
                                .pipeline_sha256 = f->sha256,
                                .metrics = {&m, 1}};
    append(f, RECORD_MODEL_EVALUATED, &e, arena_printf(&f->arena, "e%d", ++f->appended), "m");
}

static const char *command(struct fixture *f, const char *word)
{
    const char *id = arena_printf(&f->arena, "c%d", ++f->appended);
    struct operator_commanded c = {.line = "p",
                                   .command = word,
                                   .generation = ABSENT_I64,
                                   .to_generation = ABSENT_I64,
                                   .by = "ann"};
    append(f, RECORD_OPERATOR_COMMANDED, &c, id, NULL);
    return id;
}

static const void *read_at(struct fixture *f, enum record r, int64_t offset, const char **ret_id)
{
    const struct bus_message *m = fake_bus_at(topic_of(f, r), 0, offset);
    const void *rec = NULL;
    struct err err = {0};
    if (!m)
        fail_msg("%s has nothing at %lld", record_topic(r), (long long)offset);
    if (codec_decode(f->codec, r, (struct slice){m->value, m->value_n}, &f->arena, &rec, &err))
        fail_msg("%s", err.msg);
    for (size_t i = 0; ret_id && i < m->n_headers; i++)
        if (strcmp(m->headers[i].name, "ce_id") == 0)
            *ret_id = arena_strndup(&f->arena, m->headers[i].value, m->headers[i].n);
    return rec;
}

/* How many different events: rivals may both write one, under the same id. */
static int64_t distinct(struct fixture *f, enum record r)
{
    const char *ids[64] = {NULL};
    int64_t n = 0;
    for (int64_t i = 0; i < fake_bus_end(topic_of(f, r), 0); i++) {
        int64_t k = 0;
        assert_true(n < (int64_t)ARRAY_LEN(ids));
        read_at(f, r, i, &ids[n]);
        while (k < n && strcmp(ids[k], ids[n]) != 0)
            k++;
        n += k == n;
    }
    return n;
}

static const struct gate_decided *decision(struct fixture *f, int64_t offset)
{
    return read_at(f, RECORD_GATE_DECIDED, offset, NULL);
}

static const struct deployment_changed *change(struct fixture *f, int64_t offset)
{
    return read_at(f, RECORD_DEPLOYMENT_CHANGED, offset, NULL);
}

/* ---- agents ---- */

static void start(struct fixture *f, int i)
{
    char *dir = arena_printf(&f->arena, "%s/state-%d", f->dir.path, f->n_dirs++);
    char *store = arena_printf(&f->arena, "file://%s/artifacts", f->dir.path);
    char *argv[] = {"relearn", "--brokers",   "none", "--share",     "1/1",   "--data",
                    dir,       "--artifacts", store,  "--log-level", "error", NULL};
    struct err err = {0};
    if (agent_new(SPECS[i], f->loop, (int)ARRAY_LEN(argv) - 1, argv, &f->agents[i], &err) ||
        agent_start(f->agents[i], &err))
        fail_msg("%s", err.msg);
}

static void end(struct fixture *f, int i)
{
    if (!f->agents[i])
        return;
    agent_kill(f->agents[i]);
    agent_free(f->agents[i]);
    f->agents[i] = NULL;
}

static bool is_at_rest(void *ctx)
{
    struct fixture *f = ctx;
    for (int i = 0; i < AGENTS; i++)
        if (f->agents[i] && (!agent_is_ready(f->agents[i]) || !agent_is_idle(f->agents[i])))
            return false;
    return !fake_bus_step();
}

static bool has_come(void *ctx)
{
    struct fixture *f = ctx;
    return distinct(f, f->awaited_in) >= f->awaited && is_at_rest(f);
}

/* Until so many different ones are written, read back and answered; no more may come. */
static void await(struct fixture *f, enum record r, int64_t n)
{
    f->awaited_in = r;
    f->awaited = n;
    if (!loop_until(f->loop, has_come, f, WAIT_MS))
        fail_msg("%s: %lld came, %lld were awaited", record_topic(r), (long long)distinct(f, r),
                 (long long)n);
    assert_int_equal(distinct(f, r), n);
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    struct err err = {0};
    *state = f;
    tmpdir_init(&f->dir);
    fake_bus_reset();
    for (int r = 1; r < RECORD_COUNT; r++)
        fake_bus_topic(topic_of(f, (enum record)r), 1);
    if (loop_new(&f->loop, &err) || codec_new(&f->codec, &err))
        fail_msg("%s", err.msg);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < AGENTS; i++)
        end(f, i);
    loop_turn(f->loop, 0);
    codec_free(f->codec);
    loop_free(f->loop);
    fake_bus_reset();
    arena_fini(&f->arena);
    tmpdir_fini(&f->dir);
    free_ptr(&f);
    return 0;
}

static const char GATE[] = "gate: {min_rows: 100, rules: [{metric: auc, at_least: 0.6}]}\n";

/* ---- tests ---- */

static void an_evaluation_becomes_a_generation(void **state)
{
    struct fixture *f = *state;
    declare(f, GATE);
    evaluate(f, "r1", 0, 0.8);
    start(f, 0);
    start(f, 1);
    await(f, RECORD_DEPLOYMENT_CHANGED, 1);
    assert_string_equal(decision(f, 0)->verdict, "promote");
    assert_int_equal(decision(f, 0)->base, 0);
    assert_int_equal(decision(f, 0)->rules.n, 1);
    assert_string_equal(change(f, 0)->action, "replace");
    assert_int_equal(change(f, 0)->generation, 1);
    assert_string_equal(change(f, 0)->routes.items[0].model, "model-r1");
    assert_int_equal(fake_bus_position("relearn.gate", "relearn.evaluations", 0), 1);
    assert_int_equal(fake_bus_position("relearn.deploy", "relearn.decisions", 0), 1);
    evaluate(f, "r2", 1, 0.5);
    await(f, RECORD_GATE_DECIDED, 2);
    assert_string_equal(decision(f, 1)->verdict, "reject");
    await(f, RECORD_DEPLOYMENT_CHANGED, 1);
}

static void a_promotion_on_an_old_comparison_is_refused_and_asked_for_again(void **state)
{
    struct fixture *f = *state;
    declare(f, GATE);
    evaluate(f, "r1", 0, 0.8);
    evaluate(f, "r2", 0, 0.9); /* both were compared with nobody */
    start(f, 0);
    await(f, RECORD_GATE_DECIDED, 2); /* both promoted: nothing serves yet */
    start(f, 1);
    await(f, RECORD_GATE_DECIDED, 3);
    await(f, RECORD_DEPLOYMENT_CHANGED, 2);
    assert_string_equal(change(f, 0)->kind, "changed");
    assert_string_equal(change(f, 1)->kind, "refused");
    assert_non_null(strstr(change(f, 1)->reason, "generation 1 serves now"));
    assert_string_equal(decision(f, 2)->verdict, "again");
    assert_string_equal(decision(f, 2)->run, "r2");
}

static void commands_are_answered_by_their_owner_alone(void **state)
{
    static const char *const GATES[] = {"approve", "reject", "force"};
    struct fixture *f = *state;
    declare(f, GATE);
    start(f, 0);
    start(f, 1);
    for (size_t i = 0; i < ARRAY_LEN(GATES); i++) {
        command(f, GATES[i]);
        await(f, RECORD_GATE_DECIDED, (int64_t)i + 1);
        assert_string_equal(decision(f, (int64_t)i)->verdict, "refused");
    }
    command(f, "rollback");
    await(f, RECORD_DEPLOYMENT_CHANGED, 1);
    assert_string_equal(change(f, 0)->kind, "refused");
    command(f, "retrain");
    command(f, "nonsense");
    await(f, RECORD_DEPLOYMENT_CHANGED, 1);
    await(f, RECORD_GATE_DECIDED, 3);
    assert_int_equal(fake_bus_position("relearn.gate", "relearn.commands", 0), 6);
    assert_int_equal(fake_bus_position("relearn.deploy", "relearn.commands", 0), 6);
}

static void a_person_approves_and_rolls_back(void **state)
{
    struct fixture *f = *state;
    declare(f, "gate: {min_rows: 100, approval: manual, rules: [{metric: auc, at_least: 0.6}]}\n");
    start(f, 0);
    start(f, 1);
    for (int64_t n = 1; n <= 2; n++) {
        evaluate(f, n == 1 ? "r1" : "r2", n - 1, 0.8);
        await(f, RECORD_GATE_DECIDED, 2 * n - 1);
        assert_string_equal(decision(f, 2 * n - 2)->verdict, "wait");
        command(f, "approve");
        await(f, RECORD_DEPLOYMENT_CHANGED, n);
        assert_string_equal(decision(f, 2 * n - 1)->by, "ann");
    }
    command(f, "rollback");
    await(f, RECORD_DEPLOYMENT_CHANGED, 3);
    assert_string_equal(change(f, 2)->action, "rollback");
    assert_int_equal(change(f, 2)->generation, 3);
    assert_string_equal(change(f, 2)->model, "model-r1");
}

static void serve(struct fixture *f, const char *instance, int64_t generation, const char *status)
{
    struct serving_line l = {.line = "p",
                             .generation = generation,
                             .sequence = generation,
                             .state = status,
                             .reason = "the file is damaged"};
    struct serving_changed s = {
        .instance = instance, .url = "u", .lines = {&l, 1}, .changed_line = "p"};
    append(f, RECORD_SERVING_CHANGED, &s, arena_printf(&f->arena, "s%d", ++f->appended), NULL);
}

static void what_no_instance_can_load_goes_back(void **state)
{
    struct fixture *f = *state;
    declare(f, GATE);
    start(f, 0);
    start(f, 1);
    evaluate(f, "r1", 0, 0.8);
    await(f, RECORD_DEPLOYMENT_CHANGED, 1);
    evaluate(f, "r2", 1, 0.8);
    await(f, RECORD_DEPLOYMENT_CHANGED, 2);
    serve(f, "serve-1", 2, "serving");
    serve(f, "serve-2", 2, "failed");
    await(f, RECORD_DEPLOYMENT_CHANGED, 2); /* one that can is enough */
    serve(f, "serve-1", 2, "failed");
    await(f, RECORD_DEPLOYMENT_CHANGED, 3);
    assert_string_equal(change(f, 2)->action, "rollback");
    assert_string_equal(change(f, 2)->model, "model-r1");
    assert_non_null(strstr(change(f, 2)->reason, "the file is damaged"));
}

static void a_canary_that_is_degraded_goes_back(void **state)
{
    struct fixture *f = *state;
    declare(f, "gate: {min_rows: 100, rules: [{metric: auc, at_least: 0.6}]}\n"
               "deploy: {strategy: canary, steps: [10, 100], interval: 1h}\n");
    start(f, 0);
    start(f, 1);
    evaluate(f, "r1", 0, 0.8);
    await(f, RECORD_DEPLOYMENT_CHANGED, 1);
    evaluate(f, "r2", 1, 0.8);
    await(f, RECORD_DEPLOYMENT_CHANGED, 2);
    assert_string_equal(change(f, 1)->action, "canary_begin");
    assert_true(change(f, 1)->routes.items[1].weight == 0.1);
    struct health_measured h = {.line = "p",
                                .kind = "quality",
                                .generation = 2,
                                .predictions = 500,
                                .verdict = "degraded",
                                .reason = "auc 0.4"};
    append(f, RECORD_HEALTH_MEASURED, &h, "h1", NULL);
    await(f, RECORD_DEPLOYMENT_CHANGED, 3);
    assert_string_equal(change(f, 2)->action, "rollback");
    assert_true(change(f, 2)->is_final);
    assert_int_equal(change(f, 2)->routes.n, 1);
    assert_string_equal(change(f, 2)->routes.items[0].model, "model-r1");
}

/* Rivals on the same partition, lost and repeated messages, a repeat of every event, restarts
 * without state: the same events, and no more. */
static void repeats_rivals_and_restarts_change_nothing(void **state)
{
    static const struct fake_faults FAULTS[] = {
        {.duplicate = 3}, {.lose = 2}, {.drop_ack = 2}, {.refuse_produce = 2}, {.delay_steps = 4}};
    for (size_t i = 0; i < ARRAY_LEN(FAULTS); i++) {
        if (i) {
            teardown(state);
            setup(state);
        }
        struct fixture *f = *state;
        declare(f, GATE);
        for (int k = 0; k < AGENTS; k++)
            start(f, k);
        fake_bus_faults = FAULTS[i];
        evaluate(f, "r1", 0, 0.8);
        await(f, RECORD_DEPLOYMENT_CHANGED, 1);
        command(f, "rollback");
        await(f, RECORD_DEPLOYMENT_CHANGED, 2);
        await(f, RECORD_GATE_DECIDED, 1);
        fake_bus_faults = (struct fake_faults){0};
        for (int k = 0; k < AGENTS; k++)
            end(f, k);
        for (int r = 1; r < RECORD_COUNT; r++) { /* all of it once more */
            int64_t n = fake_bus_end(topic_of(f, (enum record)r), 0);
            for (int64_t k = 0; k < n; k++) {
                const struct bus_message *m = fake_bus_at(topic_of(f, (enum record)r), 0, k);
                fake_bus_append(m->topic, 0, (struct slice){m->key, m->key_n},
                                (struct slice){m->value, m->value_n}, m->headers, m->n_headers);
            }
        }
        start(f, 0);
        start(f, 1);
        await(f, RECORD_DEPLOYMENT_CHANGED, 2);
        await(f, RECORD_GATE_DECIDED, 1);
        assert_int_equal(fake_bus_end("relearn.deadletters", 0), 0);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_evaluation_becomes_a_generation),
        TEST(a_promotion_on_an_old_comparison_is_refused_and_asked_for_again),
        TEST(commands_are_answered_by_their_owner_alone),
        TEST(a_person_approves_and_rolls_back),
        TEST(what_no_instance_can_load_goes_back),
        TEST(a_canary_that_is_degraded_goes_back),
        TEST(repeats_rivals_and_restarts_change_nothing),
    };
    return cmocka_run_group_tests_name("gate and deploy", tests, NULL, NULL);
}
