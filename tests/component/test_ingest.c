/* The ingest agent as a whole, on a bus in memory: which dataset events lead to which answers, in
 * what order, and what a restart, a second instance and a failing bus or store change.  What is in
 * the answers is tested in tests/unit/test_ingest_*.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <unistd.h>

#include "agents/ingest/ingest.h"
#include "agents/ingest/task.h"
#include "common/digest.h"
#include "common/fsx.h"
#include "tests/support/fakebus/fake_bus.c"
#include "tests/support/tmpdir.h"

enum { INSTANCES = 2, WAIT_MS = 60000 };

struct fixture {
    struct tmpdir dir;
    struct loop *loop;
    struct codec *codec;
    struct agent *agents[INSTANCES];
    struct arena arena;
    int64_t awaited;
    int n_dirs;
};

static const enum record topics[] = {RECORD_PIPELINE_DECLARED, RECORD_DATASET_PUBLISHED,
                                     RECORD_DATASET_INGESTED, RECORD_DEAD_LETTERED};

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
    loop_turn(f->loop, 0); /* what it had put off */
    agent_free(f->agents[i]);
    f->agents[i] = NULL;
}

static bool is_pool_empty(void *ctx)
{
    (void)ctx;
    return false;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < INSTANCES; i++)
        end_agent(f, i);
    loop_until(f->loop, is_pool_empty, NULL, 1); /* work of agents that were killed comes back */
    codec_free(f->codec);
    loop_free(f->loop);
    fake_bus_faults = (struct fake_faults){0};
    fake_bus_reset();
    arena_fini(&f->arena);
    tmpdir_fini(&f->dir);
    return 0;
}

static void start_agent(struct fixture *f, int i)
{
    char *dir = arena_printf(&f->arena, "%s/state-%d", f->dir.path, f->n_dirs++);
    char *store = arena_printf(&f->arena, "%s/store", f->dir.path);
    char *argv[] = {"relearn-ingest", "--brokers", "none",        "--share", "1/1", "--data", dir,
                    "--artifacts",    store,       "--log-level", "error",   NULL};
    struct err err = {0};

    if (agent_new(&ingest_agent, f->loop, (int)ARRAY_LEN(argv) - 1, argv, &f->agents[i], &err) ||
        agent_start(f->agents[i], &err))
        fail_msg("%s", err.msg);
}

/* ---- the log ---- */

static void append(struct fixture *f, enum record r, const void *rec, const char *id,
                   int64_t unix_ms)
{
    CLEANUP(buf_fini) struct buf value = {0};
    const char *key = record_own_key(r, rec);
    char when[CLK_RFC3339_SIZE];
    const struct bus_header headers[] = {{.name = "ce_id", .value = id, .n = strlen(id)},
                                         {.name = "ce_time", .value = when, .n = 27}};
    struct err err = {0};

    clk_format(unix_ms * 1000, when);
    if (codec_encode(f->codec, r, rec, &value, &err))
        fail_msg("%s", err.msg);
    fake_bus_append(topic_of(f, r), 0, slice_str(key), buf_slice(&value), headers, 2);
}

static void declare(struct fixture *f, const char *name, const char *more, int64_t first_unix_ms)
{
    CLEANUP(buf_fini) struct buf yaml = {0};
    char sha256[DIGEST_HEX_SIZE];
    struct pipeline_declared p = {.name = name,
                                  .sha256 = sha256,
                                  .by = "ann",
                                  .declared_unix_ms = first_unix_ms,
                                  .first_declared_unix_ms = first_unix_ms};

    buf_addf(&yaml, "apiVersion: relearn/v1\nkind: Pipeline\nname: %s\ntask: binary\n%s\n", name,
             more);
    digest_bytes(yaml.data, yaml.len, sha256);
    p.yaml = yaml.data;
    append(f, RECORD_PIPELINE_DECLARED, &p, arena_printf(&f->arena, "declared-%s", name),
           first_unix_ms);
}

#define PLAIN "dataset: {name: set, label: y}"
#define SEGMENTED "dataset: {name: set, label: y, segment: s}"

static void publish(struct fixture *f, const char *id, const char *csv, int64_t unix_ms)
{
    const char *path = tmpdir_write_str(&f->dir, id, csv);
    struct dataset_published d = {.dataset = "set",
                                  .version = id,
                                  .uri = arena_printf(&f->arena, "file://%s", path),
                                  .by = "ann",
                                  .size_bytes = ABSENT_I64,
                                  .rows = ABSENT_I64,
                                  .published_unix_ms = unix_ms};

    append(f, RECORD_DATASET_PUBLISHED, &d, id, unix_ms);
}

#define GOOD "a,s,y\n1,n,0\n2,n,1\n3,m,1\n4,m,0\n"
#define ONE_CLASS "a,s,y\n1,n,1\n2,n,1\n"

struct got {
    const struct dataset_ingested *rec;
    const char *id, *cause, *key;
};

static struct got answer_at(struct fixture *f, int64_t offset)
{
    const struct bus_message *m = fake_bus_at("relearn.snapshots", 0, offset);
    struct got g = {.key = arena_strndup(&f->arena, m->key, m->key_n)};
    const void *rec = NULL;
    struct err err = {0};

    if (codec_decode(f->codec, RECORD_DATASET_INGESTED, (struct slice){m->value, m->value_n},
                     &f->arena, &rec, &err))
        fail_msg("%s", err.msg);
    g.rec = rec;
    for (size_t i = 0; i < m->n_headers; i++) {
        const char *value = arena_strndup(&f->arena, m->headers[i].value, m->headers[i].n);

        if (strcmp(m->headers[i].name, "ce_id") == 0)
            g.id = value;
        else if (strcmp(m->headers[i].name, "ce_causationid") == 0)
            g.cause = value;
    }
    return g;
}

/* Different answers: rivals may both write one, under the same id. */
static int64_t distinct(struct fixture *f)
{
    const char *ids[64] = {NULL};
    int64_t n = 0;

    for (int64_t i = 0; i < fake_bus_end("relearn.snapshots", 0); i++) {
        int64_t k = 0;

        ids[n] = answer_at(f, i).id;
        while (strcmp(ids[k], ids[n]) != 0)
            k++;
        n += k == n;
    }
    return n;
}

static bool is_at_rest(void *ctx)
{
    struct fixture *f = ctx;

    if (distinct(f) < f->awaited)
        return false;
    for (int i = 0; i < INSTANCES; i++)
        if (f->agents[i] && (!agent_is_ready(f->agents[i]) || !agent_is_idle(f->agents[i])))
            return false;
    return true;
}

/* Until so many different answers are written, everything is answered, and no more have come. */
static void await(struct fixture *f, int64_t n)
{
    f->awaited = n;
    if (!loop_until(f->loop, is_at_rest, f, WAIT_MS) || distinct(f) != n)
        fail_msg("%lld answers came, %lld were awaited", (long long)distinct(f), (long long)n);
}

static int64_t position(void)
{
    return fake_bus_position("relearn.ingest", "relearn.datasets", 0);
}

/* ---- tests ---- */

static void a_dataset_is_answered_once_and_then_committed(void **state)
{
    struct fixture *f = *state;
    struct got g;

    declare(f, "p", PLAIN, 1000);
    publish(f, "d1", GOOD, 2000);
    publish(f, "d2", ONE_CLASS, 3000);
    start_agent(f, 0);
    await(f, 2);
    g = answer_at(f, 0);
    assert_string_equal(g.key, "p");
    assert_string_equal(g.cause, "d1");
    assert_string_equal(g.rec->status, "accepted");
    assert_string_equal(g.rec->version, "d1");
    g = answer_at(f, 1);
    assert_string_equal(g.cause, "d2");
    assert_string_equal(g.rec->status, "rejected"); /* a refusal is an answer as well */
    assert_non_null(strstr(g.rec->reason, "two classes are needed"));
    assert_int_equal(position(), 2);
    assert_int_equal(fake_bus_end("relearn.deadletters", 0), 0);
}

static void each_pipeline_that_uses_a_dataset_has_its_own_answer(void **state)
{
    struct fixture *f = *state;
    const char *keys[2];

    declare(f, "p", PLAIN, 1000);
    declare(f, "q", PLAIN, 1000);
    declare(f, "other", "dataset: {name: another, label: y}", 1000);
    publish(f, "d1", GOOD, 2000);
    start_agent(f, 0);
    await(f, 2);
    keys[0] = answer_at(f, 0).key;
    keys[1] = answer_at(f, 1).key;
    assert_string_not_equal(keys[0], keys[1]);
}

static void versions_are_taken_in_their_order(void **state)
{
    struct fixture *f = *state;

    declare(f, "p", PLAIN, 1000);
    for (int i = 0; i < 6; i++)
        publish(f, arena_printf(&f->arena, "d%d", i), GOOD, 2000 + i);
    start_agent(f, 0);
    await(f, 6);
    for (int i = 0; i < 6; i++) {
        assert_string_equal(answer_at(f, i).cause, arena_printf(&f->arena, "d%d", i));
        assert_int_equal(answer_at(f, i).rec->rows_seen_before, i ? 4 : 0);
    }
}

static void a_late_pipeline_gets_the_newest_version_alone(void **state)
{
    struct fixture *f = *state;

    publish(f, "d1", GOOD, 1000);
    publish(f, "d2", GOOD, 2000);
    start_agent(f, 0);
    await(f, 0);
    assert_int_equal(position(), 2); /* nobody uses it: nothing to wait for */
    declare(f, "p", PLAIN, 5000);
    await(f, 1);
    assert_string_equal(answer_at(f, 0).cause, "d2");
    publish(f, "d3", GOOD, 6000);
    await(f, 2);
    assert_string_equal(answer_at(f, 1).cause, "d3");
}

static void a_restart_without_its_state_says_nothing_new(void **state)
{
    struct fixture *f = *state;

    declare(f, "p", PLAIN, 1000);
    declare(f, "seg", SEGMENTED, 1000);
    publish(f, "d1", GOOD, 2000);
    start_agent(f, 0);
    await(f, 3);
    end_agent(f, 0);
    assert_int_equal(unlink(tmpdir_join(&f->dir, "d1")), 0); /* nothing is fetched again either */
    start_agent(f, 0);
    await(f, 3);
    assert_int_equal(fake_bus_end("relearn.snapshots", 0), 3);
}

static void segments_are_answered_one_by_one(void **state)
{
    struct fixture *f = *state;

    declare(f, "seg", SEGMENTED, 1000);
    publish(f, "d1", GOOD, 2000);
    publish(f, "d2", "a,s,y\n1,n,0\n2,n\n", 3000); /* ragged: refused as a whole */
    start_agent(f, 0);
    await(f, 3);
    assert_string_equal(answer_at(f, 0).key, "seg/n");
    assert_string_equal(answer_at(f, 1).key, "seg/m");
    assert_string_equal(answer_at(f, 1).rec->segment, "m");
    assert_string_equal(answer_at(f, 2).key, "seg");
    assert_string_equal(answer_at(f, 2).rec->status, "rejected");
    assert_int_equal(position(), 2);
}

static bool has_result(void *ctx)
{
    struct fixture *f = ctx;
    char run[ID_SIZE];

    task_run_id("d1", "seg", run);
    return fsx_exists(arena_printf(&f->arena, "%s/store/runs/%s/result.json", f->dir.path, run));
}

/* It dies between its work and its words: who comes next finds the result, and reads nothing again.
 */
static void a_result_outlives_its_instance(void **state)
{
    struct fixture *f = *state;

    declare(f, "seg", SEGMENTED, 1000);
    publish(f, "d1", GOOD, 2000);
    start_agent(f, 0);
    fake_bus_faults.lose = 1000;
    assert_true(loop_until(f->loop, has_result, f, WAIT_MS));
    end_agent(f, 0);
    fake_bus_faults.lose = 0;
    assert_int_equal(unlink(tmpdir_join(&f->dir, "d1")), 0);
    start_agent(f, 1);
    await(f, 2);
    assert_string_equal(answer_at(f, 0).rec->status, "accepted");
    assert_string_equal(answer_at(f, 1).rec->status, "accepted");
}

static bool has_one_answer(void *ctx)
{
    (void)ctx;
    return fake_bus_end("relearn.snapshots", 0) >= 1;
}

static void an_answer_for_one_segment_does_not_hide_the_others(void **state)
{
    struct fixture *f = *state;

    declare(f, "seg", SEGMENTED, 1000);
    publish(f, "d1", GOOD, 2000);
    start_agent(f, 0);
    await(f, 2);
    end_agent(f, 0);
    assert_true(has_one_answer(f));
    { /* the same log, but for the second answer */
        struct got first = answer_at(f, 0);
        struct dataset_ingested rec = *first.rec;

        loop_turn(f->loop, 0); /* its bus closes */
        fake_bus_reset();
        for (size_t i = 0; i < ARRAY_LEN(topics); i++)
            fake_bus_topic(topic_of(f, topics[i]), 1);
        declare(f, "seg", SEGMENTED, 1000);
        publish(f, "d1", GOOD, 2000);
        CLEANUP(buf_fini) struct buf value = {0};
        struct err err;
        const struct bus_header headers[] = {
            {.name = "ce_id", .value = first.id, .n = strlen(first.id)},
            {.name = "ce_time", .value = "2026-01-01T00:00:00Z", .n = 20},
            {.name = "ce_causationid", .value = "d1", .n = 2}};

        assert_int_equal(codec_encode(f->codec, RECORD_DATASET_INGESTED, &rec, &value, &err), 0);
        fake_bus_append("relearn.snapshots", 0, slice_str(first.key), buf_slice(&value), headers,
                        3);
    }
    start_agent(f, 1);
    await(f, 2);
    assert_string_equal(answer_at(f, 1).key, "seg/m");
}

static void two_instances_cost_work_alone(void **state)
{
    struct fixture *f = *state;

    declare(f, "p", PLAIN, 1000);
    declare(f, "seg", SEGMENTED, 1000);
    publish(f, "d1", GOOD, 2000);
    publish(f, "d2", GOOD, 3000);
    start_agent(f, 0);
    start_agent(f, 1);
    await(f, 6);
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
        declare(f, "p", PLAIN, 1000);
        declare(f, "seg", SEGMENTED, 1000);
        publish(f, "d1", GOOD, 2000);
        fake_bus_faults = faults[i];
        start_agent(f, 0);
        await(f, 3);
        fake_bus_faults = (struct fake_faults){0};
    }
}

static bool has_retried(void *ctx)
{
    struct fixture *f = ctx;

    return agent_is_ready(f->agents[0]) && !agent_is_idle(f->agents[0]);
}

static void a_store_that_fails_is_waited_for(void **state)
{
    struct fixture *f = *state;
    struct err err;
    const char *tmp = tmpdir_join(&f->dir, "store/tmp");

    start_agent(f, 0);
    await(f, 0);
    assert_int_equal(fsx_remove_tree(tmp, &err), 0);
    declare(f, "p", PLAIN, 1000);
    publish(f, "d1", GOOD, 2000);
    assert_true(loop_until(f->loop, has_retried, f, WAIT_MS));
    for (int i = 0; i < 20; i++)
        loop_turn(f->loop, 10);
    assert_int_equal(fake_bus_end("relearn.snapshots", 0), 0); /* not the dataset's fault */
    assert_int_equal(fsx_mkdirs(tmp, &err), 0);
    await(f, 1);
    assert_string_equal(answer_at(f, 0).rec->status, "accepted");
}

static void a_killed_agent_leaves_its_work_behind(void **state)
{
    struct fixture *f = *state;
    CLEANUP(buf_fini) struct buf csv = {0};

    buf_add_str(&csv, "a,y\n");
    for (int i = 0; i < 200000; i++)
        buf_addf(&csv, "%d,%d\n", i, i % 2);
    declare(f, "p", PLAIN, 1000);
    publish(f, "d1", csv.data, 2000);
    start_agent(f, 0);
    while (!agent_is_ready(f->agents[0]))
        loop_turn(f->loop, 10);
    loop_turn(f->loop, 0);
    end_agent(f, 0); /* at work now, most likely */
    start_agent(f, 1);
    await(f, 1);
}

static void on_stopped(void *ctx)
{
    *(bool *)ctx = true;
}

static bool is_true(void *ctx)
{
    return *(bool *)ctx;
}

static void stopping_hands_over_what_is_at_work(void **state)
{
    struct fixture *f = *state;
    CLEANUP(buf_fini) struct buf csv = {0};
    bool stopped = false;

    buf_add_str(&csv, "a,y\n");
    for (int i = 0; i < 200000; i++)
        buf_addf(&csv, "%d,%d\n", i, i % 2);
    declare(f, "p", PLAIN, 1000);
    publish(f, "d1", csv.data, 2000);
    start_agent(f, 0);
    while (!agent_is_ready(f->agents[0]))
        loop_turn(f->loop, 10);
    loop_turn(f->loop, 0);
    agent_stop(f->agents[0], on_stopped, &stopped);
    assert_true(loop_until(f->loop, is_true, &stopped, WAIT_MS));
    agent_free(f->agents[0]);
    f->agents[0] = NULL;
    start_agent(f, 1);
    await(f, 1);
    assert_string_equal(answer_at(f, 0).rec->status, "accepted");
}

static void a_withdrawn_pipeline_is_owed_nothing(void **state)
{
    struct fixture *f = *state;
    const struct bus_header headers[] = {{.name = "ce_id", .value = "gone", .n = 4}};

    declare(f, "p", PLAIN, 1000);
    fake_bus_append("relearn.pipelines", 0, slice_str("p"), (struct slice){0}, headers, 1);
    publish(f, "d1", GOOD, 2000);
    start_agent(f, 0);
    await(f, 0);
    assert_int_equal(position(), 1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_dataset_is_answered_once_and_then_committed),
        T(each_pipeline_that_uses_a_dataset_has_its_own_answer),
        T(versions_are_taken_in_their_order),
        T(a_late_pipeline_gets_the_newest_version_alone),
        T(a_restart_without_its_state_says_nothing_new),
        T(segments_are_answered_one_by_one),
        T(a_result_outlives_its_instance),
        T(an_answer_for_one_segment_does_not_hide_the_others),
        T(two_instances_cost_work_alone),
        T(faults_of_the_bus_change_nothing),
        T(a_store_that_fails_is_waited_for),
        T(a_killed_agent_leaves_its_work_behind),
        T(stopping_hands_over_what_is_at_work),
        T(a_withdrawn_pipeline_is_owed_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
