/* The train agent as a whole, on a bus in memory with real children: plans become results, whoever
 * makes them, once. */
/* time-limit: 240 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "agents/train/owed.h"
#include "agents/train/train.h"
#include "agents/train/train_internal.h"
#include "common/fsx.h"
#include "tests/support/fakebus/fake_bus.c"
#include "tests/support/sample_run.h"

enum { INSTANCES = 2, WAIT_MS = 60000 };

struct fixture {
    struct sample_run s;
    struct codec *codec;
    struct agent *agents[INSTANCES];
    const char *trainer; /* --trainer */
    const char *line;    /* that is told of */
    int64_t awaited;
    int n_dirs;
};

static const enum record topics[] = {RECORD_PIPELINE_DECLARED, RECORD_TRAINING_PLANNED,
                                     RECORD_TRAINING_FINISHED, RECORD_TRAINING_PROGRESSED,
                                     RECORD_DEAD_LETTERED};

static const char *topic_of(struct fixture *f, enum record r)
{
    return arena_printf(&f->s.arena, "relearn.%s", record_topic(r));
}

static void begin(struct fixture *f, const char *train)
{
    struct err err = {0};

    *f = (struct fixture){.line = "sample"};
    fake_bus_faults = (struct fake_faults){0};
    fake_bus_reset();
    sample_run_init(&f->s, TASK_BINARY, train);
    sample_run_add(&f->s, 200, 1);
    for (size_t i = 0; i < ARRAY_LEN(topics); i++)
        fake_bus_topic(topic_of(f, topics[i]), 1);
    if (codec_new(&f->codec, &err))
        fail_msg("%s", err.msg);
}

static void end_agent(struct fixture *f, int i)
{
    if (!f->agents[i])
        return;
    agent_kill(f->agents[i]);
    loop_turn(f->s.job.loop, 0); /* what it had put off */
    agent_free(f->agents[i]);
    f->agents[i] = NULL;
}

static bool never(void *ctx)
{
    (void)ctx;
    return false;
}

static void end(struct fixture *f)
{
    for (int i = 0; i < INSTANCES; i++)
        end_agent(f, i);
    loop_until(f->s.job.loop, never, NULL, 50); /* folders that are removed on the pool */
    codec_free(f->codec);
    fake_bus_faults = (struct fake_faults){0};
    fake_bus_reset();
    sample_run_fini(&f->s);
}

static void start_agent(struct fixture *f, int i)
{
    char *dir = arena_printf(&f->s.arena, "%s/data-%d", f->s.dir.path, f->n_dirs++);
    char *program = arena_printf(&f->s.arena, "%s/relearn-trainer",
                                 getenv("RELEARN_BIN") ? getenv("RELEARN_BIN") : "build/bin");
    char *name = arena_printf(&f->s.arena, "train-%d", i + 1);
    char *argv[] = {(char *)"relearn-train",
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
                    (char *)"--instance",
                    name,
                    (char *)"--trainer-program",
                    program,
                    (char *)"--trainer",
                    (char *)(uintptr_t)(f->trainer ? f->trainer : ""),
                    NULL};
    struct err err = {0};

    if (agent_new(&train_agent, f->s.job.loop, (int)ARRAY_LEN(argv) - 1, argv, &f->agents[i],
                  &err) ||
        agent_start(f->agents[i], &err))
        fail_msg("%s", err.msg);
}

/* ---- the log ---- */

static void append(struct fixture *f, enum record r, const void *rec, const char *id,
                   const char *cause)
{
    CLEANUP(buf_fini) struct buf value = {0};
    struct bus_header headers[] = {
        {.name = "ce_id", .value = id, .n = strlen(id)},
        {.name = "ce_causationid", .value = cause, .n = cause ? strlen(cause) : 0}};
    struct err err = {0};

    if (codec_encode(f->codec, r, rec, &value, &err))
        fail_msg("%s", err.msg);
    fake_bus_append(topic_of(f, r), 0, slice_str(f->line), buf_slice(&value), headers,
                    cause ? 2 : 1);
}

static void plan(struct fixture *f, const char *id, int64_t base)
{
    const struct training_planned p = {.line = f->line,
                                       .kind = "requested",
                                       .base = base,
                                       .run = id,
                                       .trigger = "dataset",
                                       .reason = "x",
                                       .pipeline_sha256 = f->s.pipeline->sha256,
                                       .snapshots = {f->s.refs, f->s.n_refs},
                                       .rows = 140,
                                       .until_unix_ms = ABSENT_I64,
                                       .deadline_unix_ms = ABSENT_I64};

    append(f, RECORD_TRAINING_PLANNED, &p, id, NULL);
}

static void close_run(struct fixture *f, const char *run, const char *id)
{
    const struct training_planned p = {.line = f->line,
                                       .kind = "closed",
                                       .base = ABSENT_I64,
                                       .run = run,
                                       .outcome = "expired",
                                       .reason = "x",
                                       .until_unix_ms = ABSENT_I64,
                                       .deadline_unix_ms = ABSENT_I64};

    append(f, RECORD_TRAINING_PLANNED, &p, id, run);
}

static void beat(struct fixture *f, const char *run, const char *instance, const char *phase)
{
    const struct training_progressed p = {.line = f->line,
                                          .run = run,
                                          .attempt = 1,
                                          .instance = instance,
                                          .phase = phase,
                                          .value = NAN,
                                          .progressed_unix_ms = clk_unix_ms(&clk_system)};

    append(f, RECORD_TRAINING_PROGRESSED, &p,
           arena_printf(&f->s.arena, "beat-%s-%s-%s", run, instance, phase), run);
}

static const void *record_at(struct fixture *f, enum record r, int64_t offset)
{
    const struct bus_message *m = fake_bus_at(topic_of(f, r), 0, offset);
    const void *rec = NULL;
    struct err err = {0};

    if (codec_decode(f->codec, r, (struct slice){m->value, m->value_n}, &f->s.arena, &rec, &err))
        fail_msg("%s", err.msg);
    return rec;
}

/* Results of different runs: a rival or a fault may repeat one, under the same id. */
static int64_t distinct_results(struct fixture *f)
{
    int64_t n = 0;

    for (int64_t i = 0; i < fake_bus_end("relearn.models", 0); i++) {
        bool is_new = true;

        for (int64_t k = 0; k < i; k++)
            is_new =
                is_new &&
                strcmp(((const struct training_finished *)record_at(f, RECORD_TRAINING_FINISHED, i))
                           ->run,
                       ((const struct training_finished *)record_at(f, RECORD_TRAINING_FINISHED, k))
                           ->run) != 0;
        n += is_new;
    }
    return n;
}

static bool has_results(void *ctx)
{
    struct fixture *f = ctx;

    if (distinct_results(f) < f->awaited)
        return false;
    for (int i = 0; i < INSTANCES; i++)
        if (f->agents[i] && (!agent_is_ready(f->agents[i]) || !agent_is_idle(f->agents[i])))
            return false;
    return true;
}

static const struct training_finished *await_results(struct fixture *f, int64_t n)
{
    f->awaited = n;
    if (!loop_until(f->s.job.loop, has_results, f, WAIT_MS))
        fail_msg("%lld results came, %lld were awaited", (long long)distinct_results(f),
                 (long long)n);
    assert_int_equal(distinct_results(f), n);
    return record_at(f, RECORD_TRAINING_FINISHED, fake_bus_end("relearn.models", 0) - 1);
}

static bool has_begun(void *ctx)
{
    (void)ctx;
    return fake_bus_end("relearn.progress", 0) > 0;
}

/* A trainer that waits until the file `go` is there, and counts how often it is run. */
static const char SLOW[] = "train: {trainer: mine}\n";
static void use_slow_trainer(struct fixture *f)
{
    CLEANUP_FREE char *text = xasprintf("#!/bin/sh\necho run >>%s/ran\nwhile [ ! -f %s/go ]; do "
                                        "sleep 0.05; done\nexec cp %s/model.ubj model/\n",
                                        f->s.dir.path, f->s.dir.path, f->s.dir.path);
    CLEANUP(buf_fini) struct buf model = {0};
    const char *path = tmpdir_write_str(&f->s.dir, "slow.sh", text);
    const struct training_finished *made;
    struct err err = {0};

    assert_int_equal(chmod(path, 0755), 0);
    sample_run_train(&f->s, sample_run_order(&f->s, "teacher", NULL),
                     NULL); /* its model is copied */
    made = sample_run_result(&f->s, "teacher");
    {
        CLEANUP(buf_fini) struct buf manifest = {0};
        struct json *j;

        assert_int_equal(artifacts_get(&f->s.artifacts, made->model, 1 << 20, &manifest, &err), 0);
        j = json_parse(buf_slice(&manifest), "manifest", &err);
        assert_int_equal(artifacts_get(&f->s.artifacts,
                                       json_get_str(json_get(j, "file"), "sha256", ""), 1 << 24,
                                       &model, &err),
                         0);
        json_free(j);
    }
    tmpdir_write(&f->s.dir, "model.ubj", model.data, model.len);
    f->trainer = arena_printf(&f->s.arena, "mine=%s", path);
}

static size_t times_run(struct fixture *f)
{
    CLEANUP(buf_fini) struct buf text = {0};
    size_t n = 0;
    struct err err = {0};

    if (fsx_read_file(tmpdir_join(&f->s.dir, "ran"), 1 << 16, &text, &err))
        return 0;
    for (size_t i = 0; i < text.len; i++)
        n += text.data[i] == '\n';
    return n;
}

/* ---- tests ---- */

static void a_plan_becomes_a_candidate_and_its_position_is_committed(void **state)
{
    const struct training_finished *m;
    struct fixture f;

    (void)state;
    begin(&f, "train: {params: {rounds: 5}}\n");
    plan(&f, "run1", 0);
    start_agent(&f, 0);
    m = await_results(&f, 1);
    assert_string_equal(m->run, "run1");
    assert_string_equal(m->status, "candidate");
    assert_int_equal(m->attempt, 1);
    assert_int_equal(m->snapshots.n, 1);
    assert_string_equal(m->instance, "train-1");
    assert_int_equal(fake_bus_position("relearn.train", "relearn.plans", 0), 1);
    assert_string_equal(
        ((const struct training_progressed *)record_at(&f, RECORD_TRAINING_PROGRESSED, 0))->phase,
        "started");
    assert_int_equal(fake_bus_end("relearn.deadletters", 0), 0);
    end(&f);
}

static void a_result_in_the_store_is_emitted_without_training(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, "train: {params: {rounds: 5}}\n");
    sample_run_train(&f.s, sample_run_order(&f.s, "run1", NULL), NULL);
    plan(&f, "run1", 0);
    start_agent(&f, 0);
    assert_string_equal(await_results(&f, 1)->status, "candidate");
    assert_int_equal(fake_bus_end("relearn.progress", 0), 0);
    end(&f);
}

static void a_failed_training_is_a_result_with_the_childs_words(void **state)
{
    const struct training_finished *m;
    struct fixture f;

    (void)state;
    begin(&f, "train: {trainer: mine}\n");
    f.trainer = arena_printf(
        &f.s.arena, "mine=%s",
        tmpdir_write_str(&f.s.dir, "bad.sh", "#!/bin/sh\necho 'column x9 is gone' >&2\nexit 4\n"));
    assert_int_equal(chmod(tmpdir_join(&f.s.dir, "bad.sh"), 0755), 0);
    plan(&f, "run1", 0);
    start_agent(&f, 0);
    m = await_results(&f, 1);
    assert_string_equal(m->status, "failed");
    assert_null(m->model);
    assert_non_null(strstr(m->reason, "column x9 is gone"));
    assert_non_null(strstr(m->reason, "trainer 'mine': exited with code 4"));
    close_run(&f, "run1", "closed1"); /* a failed run does not keep the next one out */
    plan(&f, "run2", 1);
    assert_string_equal(await_results(&f, 2)->run, "run2");
    end(&f);
}

static void a_trainer_that_nobody_allowed_is_refused(void **state)
{
    const struct training_finished *m;
    struct fixture f;

    (void)state;
    begin(&f, "train: {trainer: other}\n");
    f.trainer = "mine=/bin/true";
    plan(&f, "run1", 0);
    start_agent(&f, 0);
    m = await_results(&f, 1);
    assert_string_equal(m->status, "failed");
    assert_string_equal(
        m->reason,
        "trainer 'other' is none that this train agent's operator allows: xgboost, mine");
    end(&f);
}

static void two_instances_train_once(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, SLOW);
    use_slow_trainer(&f);
    plan(&f, "run1", 0);
    start_agent(&f, 0);
    assert_true(loop_until(f.s.job.loop, has_begun, NULL, WAIT_MS));
    start_agent(&f, 1);
    loop_until(f.s.job.loop, never, NULL, 300);
    tmpdir_write_str(&f.s.dir, "go", "");
    await_results(&f, 1);
    assert_int_equal(times_run(&f), 1);
    end(&f);
}

static void a_killed_instances_run_is_taken_up_by_its_successor(void **state)
{
    const struct training_finished *m;
    struct fixture f;

    (void)state;
    begin(&f, SLOW);
    use_slow_trainer(&f);
    plan(&f, "run1", 0);
    start_agent(&f, 0);
    assert_true(loop_until(f.s.job.loop, has_begun, NULL, WAIT_MS));
    end_agent(&f, 0);
    tmpdir_write_str(&f.s.dir, "go", "");
    start_agent(&f, 0); /* the same name: what it ran died with it */
    m = await_results(&f, 1);
    assert_int_equal(m->attempt, 2);
    assert_string_equal(m->status, "candidate");
    end(&f);
}

static void a_run_that_was_handed_over_is_taken_up_at_once(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, "train: {params: {rounds: 5}}\n");
    plan(&f, "run1", 0);
    beat(&f, "run1", "train-9", "training");
    beat(&f, "run1", "train-9", "ended");
    start_agent(&f, 0);
    assert_int_equal(await_results(&f, 1)->attempt, 2);
    end(&f);
}

static void a_closed_run_is_given_up(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, SLOW);
    use_slow_trainer(&f);
    plan(&f, "run1", 0);
    start_agent(&f, 0);
    assert_true(loop_until(f.s.job.loop, has_begun, NULL, WAIT_MS));
    close_run(&f, "run1", "closed1");
    plan(&f, "run2", 1);
    tmpdir_write_str(&f.s.dir, "go", "");
    await_results(&f, 1);
    assert_string_equal(
        ((const struct training_finished *)record_at(&f, RECORD_TRAINING_FINISHED, 0))->run,
        "run2");
    end(&f);
}

static bool has_queue(void *ctx)
{
    return ((struct train_self *)agent_self(((struct fixture *)ctx)->agents[0]))->waiting;
}

static void a_line_that_need_not_wait_any_more_lets_others_pass(void **state)
{
    const struct training_finished rival = {
        .line = "second", .run = "run2", .attempt = 1, .status = "failed", .reason = "x"};
    struct fixture f;

    (void)state;
    begin(&f, SLOW);
    use_slow_trainer(&f);
    plan(&f, "run1", 0);
    start_agent(&f, 0);
    assert_true(loop_until(f.s.job.loop, has_begun, NULL, WAIT_MS));
    f.line = "second";
    plan(&f, "run2", 0);
    assert_true(loop_until(f.s.job.loop, has_queue, &f, WAIT_MS));
    append(&f, RECORD_TRAINING_FINISHED, &rival, "rivals", "run2");
    tmpdir_write_str(&f.s.dir, "go", "");
    f.awaited = 2;
    assert_true(loop_until(f.s.job.loop, has_results, &f, WAIT_MS));
    f.line = "third";
    plan(&f, "run3", 0);
    await_results(&f, 3);
    end(&f);
}

static void stopped(void *ctx)
{
    *(bool *)ctx = true;
}

static bool is_true(void *ctx)
{
    return *(bool *)ctx;
}

static void a_stop_lets_the_run_finish(void **state)
{
    bool is_stopped = false;
    struct fixture f;

    (void)state;
    begin(&f, SLOW);
    use_slow_trainer(&f);
    plan(&f, "run1", 0);
    start_agent(&f, 0);
    assert_true(loop_until(f.s.job.loop, has_begun, NULL, WAIT_MS));
    agent_stop(f.agents[0], stopped, &is_stopped);
    loop_until(f.s.job.loop, never, NULL, 200);
    assert_false(is_stopped);
    tmpdir_write_str(&f.s.dir, "go", "");
    assert_true(loop_until(f.s.job.loop, is_true, &is_stopped, WAIT_MS));
    assert_int_equal(distinct_results(&f), 1);
    agent_free(f.agents[0]);
    f.agents[0] = NULL;
    end(&f);
}

/* Lost, repeated and refused on the way out: in the end there is each result once. */
static void faults_of_the_bus_change_nothing(void **state)
{
    static const struct fake_faults faults[] = {
        {.refuse_produce = 2}, {.lose = 2}, {.drop_ack = 2}, {.duplicate = 2}, {.delay_steps = 5}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        struct fixture f;

        begin(&f, "train: {params: {rounds: 3}}\n");
        plan(&f, "run1", 0);
        fake_bus_faults = faults[i];
        start_agent(&f, 0);
        assert_string_equal(await_results(&f, 1)->status, "candidate");
        end(&f);
    }
}

static bool has_spare(void *ctx)
{
    struct fixture *f = ctx;
    CLEANUP(json_freep) struct json *status = json_object();

    train_agent.status(f->agents[0], status);
    return json_get_bool(status, "spare", false);
}

/* Digest of the booster's file. */
static char *file_of(struct fixture *f, const char *model)
{
    CLEANUP(buf_fini) struct buf manifest = {0};
    CLEANUP(json_freep) struct json *j = NULL;
    struct err err = {0};

    assert_int_equal(artifacts_get(&f->s.artifacts, model, 1 << 20, &manifest, &err), 0);
    j = json_parse(buf_slice(&manifest), "manifest", &err);
    return arena_strdup(&f->s.arena, json_get_str(json_get(j, "file"), "sha256", ""));
}

static void a_spare_takes_the_next_run_and_trains_the_same_bytes(void **state)
{
    struct fixture f;
    char *first;

    (void)state;
    begin(&f, "train: {params: {rounds: 5}}\n");
    plan(&f, "run1", 0);
    start_agent(&f, 0);
    first = file_of(&f, await_results(&f, 1)->model);
    assert_int_equal((int)agent_counted(f.agents[0], "spares_used_total", NULL), 0);
    assert_true(loop_until(f.s.job.loop, has_spare, &f, WAIT_MS));
    close_run(&f, "run1", "close1");
    plan(&f, "run2", 1);
    assert_string_equal(file_of(&f, await_results(&f, 2)->model), first);
    assert_int_equal((int)agent_counted(f.agents[0], "spares_used_total", NULL), 1);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_becomes_a_candidate_and_its_position_is_committed),
        cmocka_unit_test(a_result_in_the_store_is_emitted_without_training),
        cmocka_unit_test(a_failed_training_is_a_result_with_the_childs_words),
        cmocka_unit_test(a_trainer_that_nobody_allowed_is_refused),
        cmocka_unit_test(two_instances_train_once),
        cmocka_unit_test(a_killed_instances_run_is_taken_up_by_its_successor),
        cmocka_unit_test(a_run_that_was_handed_over_is_taken_up_at_once),
        cmocka_unit_test(a_closed_run_is_given_up),
        cmocka_unit_test(a_line_that_need_not_wait_any_more_lets_others_pass),
        cmocka_unit_test(a_stop_lets_the_run_finish),
        cmocka_unit_test(faults_of_the_bus_change_nothing),
        cmocka_unit_test(a_spare_takes_the_next_run_and_trains_the_same_bytes),
    };

    return cmocka_run_group_tests_name("train", tests, NULL, NULL);
}
