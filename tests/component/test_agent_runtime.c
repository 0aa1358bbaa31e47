/* The runtime itself, with the smallest agent there can be: it answers every drift alert with a
 * plan `ignored`.  On a bus in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/agent.h"
#include "common/fsx.h"
#include "common/mem.h"
#include "tests/support/fakebus/fake_bus.c"
#include "tests/support/tmpdir.h"

enum { PARTITIONS = 4, WAIT_MS = 30000 };

/* ---- the agent ---- */

static int reconcile(struct agent *a, struct unit *u, struct err *err)
{
    const struct event_list *list = &u->line->ev[RECORD_DRIFT_DETECTED];
    for (size_t i = 0; i < list->n; i++) {
        struct training_planned p = {.line = u->key,
                                     .kind = "ignored",
                                     .base = ABSENT_I64,
                                     .until_unix_ms = ABSENT_I64,
                                     .deadline_unix_ms = ABSENT_I64,
                                     .reason = "as always"};
        struct emission e = {.record = RECORD_TRAINING_PLANNED,
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
static const struct agent_spec ECHO = {.name = "echo",
                                       .purpose = "Answers.",
                                       .inputs = INPUTS,
                                       .n_inputs = ARRAY_LEN(INPUTS),
                                       .outputs = OUTPUTS,
                                       .n_outputs = ARRAY_LEN(OUTPUTS),
                                       .reconcile = reconcile,
                                       .is_answered = is_answered};

/* ---- the bench ---- */

struct bench {
    struct tmpdir dir;
    struct loop *loop;
    struct codec *codec;
    struct agent *agent;
};

static void make_topics(void)
{
    fake_bus_reset();
    fake_bus_topic("relearn.drift", PARTITIONS);
    fake_bus_topic("relearn.plans", PARTITIONS);
    fake_bus_topic("relearn.pipelines", 1);
    fake_bus_topic("relearn.deadletters", 1);
}

static int set_up(void **state)
{
    static struct bench b;
    struct err err = {0};
    b = (struct bench){0};
    tmpdir_init(&b.dir);
    make_topics();
    if (loop_new(&b.loop, &err) || codec_new(&b.codec, &err))
        fail_msg("%s", err.msg);
    *state = &b;
    return 0;
}

static void end(struct bench *b)
{
    if (!b->agent)
        return;
    agent_kill(b->agent);
    agent_free(b->agent);
    b->agent = NULL;
    loop_turn(b->loop, 0);
}

static int tear_down(void **state)
{
    struct bench *b = *state;
    end(b);
    codec_free(b->codec);
    loop_free(b->loop);
    fake_bus_reset();
    tmpdir_fini(&b->dir);
    return 0;
}

static void begin(struct bench *b, const char *share)
{
    char *argv[] = {(char *)(uintptr_t) "relearn-echo",
                    (char *)(uintptr_t) "--brokers=none",
                    xasprintf("--share=%s", share),
                    xasprintf("--data=%s", b->dir.path),
                    (char *)(uintptr_t) "--instance=echo-1",
                    (char *)(uintptr_t) "--log-level=error",
                    NULL};
    struct err err = {0};
    if (agent_new(&ECHO, b->loop, (int)ARRAY_LEN(argv) - 1, argv, &b->agent, &err) ||
        agent_start(b->agent, &err))
        fail_msg("%s", err.msg);
    free_ptr(&argv[2]);
    free_ptr(&argv[3]);
}

static int partition_of(const char *line)
{
    return bus_partition_of(line, strlen(line), PARTITIONS);
}

/* Appends an alert; headers end with a NULL name. */
static void alert_at(struct bench *b, int partition, const char *key, const char *line,
                     const char *id, const char *seen)
{
    CLEANUP(buf_fini) struct buf value = {0};
    struct drift_detected d = {.line = line,
                               .source = "test",
                               .kind = "external",
                               .summary = "it moved",
                               .generation = ABSENT_I64,
                               .windows = ABSENT_I64};
    struct bus_header headers[2] = {{"ce_id", id, id ? strlen(id) : 0},
                                    {"ce_seen", seen, seen ? strlen(seen) : 0}};
    struct err err = {0};
    if (codec_encode(b->codec, RECORD_DRIFT_DETECTED, &d, &value, &err))
        fail_msg("%s", err.msg);
    fake_bus_append("relearn.drift", partition, slice_str(key), buf_slice(&value),
                    id ? headers : headers + 1, (size_t)(id ? 1 : 0) + (seen ? 1 : 0));
}

static void alert(struct bench *b, const char *line, const char *id)
{
    alert_at(b, partition_of(line), line, line, id, NULL);
}

static bool is_idle(void *ctx)
{
    struct bench *b = ctx;
    return agent_exit_code(b->agent) || agent_is_idle(b->agent);
}

static void settle(struct bench *b)
{
    /* idle may be seen before what was just appended has been read */
    for (bool busy = true; busy;) {
        busy = fake_bus_step();
        assert_true(loop_until(b->loop, is_idle, b, WAIT_MS));
        busy = fake_bus_step() || busy;
    }
}

static int64_t ends(const char *topic, int partitions)
{
    int64_t n = 0;
    for (int p = 0; p < partitions; p++)
        n += fake_bus_end(topic, p);
    return n;
}

static int64_t plans(void)
{
    return ends("relearn.plans", PARTITIONS);
}

/* ---- tests ---- */

static void every_event_is_answered_once_and_committed_when_read_back(void **state)
{
    struct bench *b = *state;
    begin(b, "1/1");
    alert(b, "a", "id-1");
    alert(b, "b", "id-2");
    alert(b, "a", "id-3");
    settle(b);
    assert_int_equal(plans(), 3);
    for (int p = 0; p < PARTITIONS; p++)
        if (fake_bus_end("relearn.drift", p))
            assert_int_equal(fake_bus_position("relearn.echo", "relearn.drift", p),
                             fake_bus_end("relearn.drift", p));
}

static void an_id_counts_once(void **state)
{
    struct bench *b = *state;
    begin(b, "1/1");
    for (int i = 0; i < 5; i++)
        alert(b, "a", "same");
    alert(b, "a", NULL); /* without an id the same bytes are the same event */
    alert(b, "a", NULL);
    settle(b);
    assert_int_equal(plans(), 2);
}

static void an_answer_carries_its_cause(void **state)
{
    struct bench *b = *state;
    begin(b, "1/1");
    alert(b, "a", "the-cause");
    settle(b);
    const struct bus_message *m = fake_bus_at("relearn.plans", partition_of("a"), 0);
    const char *expected[][2] = {{"ce_causationid", "the-cause"},
                                 {"ce_correlationid", "the-cause"},
                                 {"ce_hops", "1"},
                                 {"ce_specversion", "1.0"},
                                 {"ce_subject", "a"},
                                 {"content-type", "application/avro"}};
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        bool found = false;
        for (size_t h = 0; h < m->n_headers; h++)
            found = found || (strcmp(m->headers[h].name, expected[i][0]) == 0 &&
                              slice_eq_str((struct slice){m->headers[h].value, m->headers[h].n},
                                           expected[i][1]));
        if (!found)
            fail_msg("no header %s: %s", expected[i][0], expected[i][1]);
    }
}

static void poison_goes_aside_with_its_bytes(void **state)
{
    struct bench *b = *state;
    static const char GARBAGE[] = "this is no Avro";
    begin(b, "1/1");
    fake_bus_append("relearn.drift", partition_of("a"), slice_str("a"), slice_str(GARBAGE), NULL,
                    0);
    alert(b, "a", "after");
    settle(b);
    assert_int_equal(plans(), 1);
    assert_int_equal(fake_bus_end("relearn.deadletters", 0), 1);
    const struct bus_message *m = fake_bus_at("relearn.deadletters", 0, 0);
    struct arena arena = {0};
    struct err err = {0};
    const void *rec = NULL;
    assert_int_equal(codec_decode(b->codec, RECORD_DEAD_LETTERED,
                                  (struct slice){m->value, m->value_n}, &arena, &rec, &err),
                     0);
    const struct dead_lettered *d = rec;
    assert_int_equal(d->value.n, strlen(GARBAGE));
    assert_memory_equal(d->value.p, GARBAGE, strlen(GARBAGE));
    assert_string_equal(d->topic, "relearn.drift");
    assert_true(d->reason[0]);
    arena_fini(&arena);
    assert_int_equal(fake_bus_position("relearn.echo", "relearn.drift", partition_of("a")), 2);
}

/* Steps until the agent has ended by itself. */
static void wait_for_its_end(struct bench *b)
{
    for (int i = 0; i < 1000 && !agent_exit_code(b->agent); i++) {
        fake_bus_step();
        loop_turn(b->loop, 0);
    }
    assert_int_equal(agent_exit_code(b->agent), 75); /* to be started again */
}

/* What is only on its way when the process ends is met again: the cache does not pass over it. */
static void what_could_not_be_moved_is_moved_by_the_next_process(void **state)
{
    struct bench *b = *state;
    int right = partition_of("a"), wrong = (right + 1) % PARTITIONS;
    begin(b, "1/1");
    settle(b);
    fake_bus_faults.lose = 1;
    fake_bus_append("relearn.drift", right, slice_str("a"), slice_str("no Avro"), NULL, 0);
    wait_for_its_end(b);
    assert_int_equal(fake_bus_end("relearn.deadletters", 0), 0);
    end(b);
    begin(b, "1/1");
    settle(b);
    assert_int_equal(fake_bus_end("relearn.deadletters", 0), 1);
    fake_bus_faults.lose = 1;
    alert_at(b, wrong, "a", "a", "lost-one", NULL);
    wait_for_its_end(b);
    assert_int_equal(plans(), 0);
    end(b);
    begin(b, "1/1");
    settle(b);
    assert_int_equal(plans(), 1);
    assert_int_equal(fake_bus_end("relearn.deadletters", 0), 1);
}

static void of_poison_that_is_too_large_the_beginning_is_kept(void **state)
{
    struct bench *b = *state;
    enum { BYTES = 5 << 20 };
    CLEANUP_FREE char *big = xcalloc(1, BYTES);
    struct arena arena = {0};
    struct err err = {0};
    const void *rec = NULL;
    begin(b, "1/1");
    memset(big, 'x', BYTES);
    fake_bus_append("relearn.drift", partition_of("a"), slice_str("a"), (struct slice){big, BYTES},
                    NULL, 0);
    alert(b, "a", "after");
    settle(b);
    assert_int_equal(plans(), 1);
    const struct bus_message *m = fake_bus_at("relearn.deadletters", 0, 0);
    assert_non_null(m);
    assert_int_equal(codec_decode(b->codec, RECORD_DEAD_LETTERED,
                                  (struct slice){m->value, m->value_n}, &arena, &rec, &err),
                     0);
    const struct dead_lettered *d = rec;
    assert_in_range(d->value.n, 4000000, CODEC_MAX_BYTES);
    assert_memory_equal(d->value.p, big, d->value.n);
    assert_int_equal(d->key.n, 1);
    assert_non_null(strstr(d->reason, "of its 5242880 bytes"));
    arena_fini(&arena);
}

static void a_record_of_another_type_is_poison(void **state)
{
    struct bench *b = *state;
    CLEANUP(buf_fini) struct buf value = {0};
    struct label_observed l = {.line = "a", .prediction = "p", .value = "1"};
    struct err err = {0};
    assert_int_equal(codec_encode(b->codec, RECORD_LABEL_OBSERVED, &l, &value, &err), 0);
    begin(b, "1/1");
    fake_bus_append("relearn.drift", 0, slice_str("a"), buf_slice(&value), NULL, 0);
    settle(b);
    assert_int_equal(plans(), 0);
    assert_int_equal(fake_bus_end("relearn.deadletters", 0), 1);
}

static void what_lies_on_another_partition_is_forwarded_once(void **state)
{
    struct bench *b = *state;
    int right = partition_of("a"), wrong = (right + 1) % PARTITIONS;
    begin(b, "1/1");
    alert_at(b, wrong, "a", "a", "lost-one", NULL);
    settle(b);
    assert_int_equal(fake_bus_end("relearn.drift", right), 1);
    assert_int_equal(fake_bus_end("relearn.drift", wrong), 1);
    assert_int_equal(fake_bus_end("relearn.plans", right), 1);
    assert_int_equal(plans(), 1);
    assert_int_equal(fake_bus_position("relearn.echo", "relearn.drift", wrong), 1);
}

static void a_stray_of_a_table_does_not_move_its_line(void **state)
{
    struct bench *b = *state;
    int right = partition_of("a"), wrong = (right + 1) % PARTITIONS;
    CLEANUP(buf_fini) struct buf value = {0};
    struct training_planned p = {.line = "a", .kind = "ignored", .base = ABSENT_I64, .reason = "x"};
    struct err err = {0};
    assert_int_equal(codec_encode(b->codec, RECORD_TRAINING_PLANNED, &p, &value, &err), 0);
    begin(b, "1/1");
    alert(b, "a", "id-1");
    settle(b);
    fake_bus_append("relearn.plans", wrong, slice_str("a"), buf_slice(&value), NULL, 0);
    settle(b);
    assert_int_equal(agent_unit(b->agent, RECORD_TRAINING_PLANNED, "a")->partition, right);
}

static void a_key_that_is_not_the_records_is_put_right(void **state)
{
    struct bench *b = *state;
    begin(b, "1/1");
    alert_at(b, partition_of("nonsense"), "nonsense", "a", "x", NULL);
    settle(b);
    const struct bus_message *m = fake_bus_at("relearn.plans", partition_of("a"), 0);
    assert_non_null(m);
    assert_true(slice_eq_str((struct slice){m->key, m->key_n}, "a"));
}

static void causes_are_read_before_effects(void **state)
{
    struct bench *b = *state;
    begin(b, "1/1");
    settle(b);
    char seen[128];
    snprintf(seen, sizeof(seen), "%s;plans=1", agent_cluster(b->agent));
    alert_at(b, partition_of("a"), "a", "a", "effect", seen);
    for (int i = 0; i < 50; i++) {
        fake_bus_step();
        loop_turn(b->loop, 0);
    }
    assert_int_equal(plans(), 0); /* its writer had read a plan that is not here yet */
    CLEANUP(buf_fini) struct buf value = {0};
    struct training_planned p = {.line = "a", .kind = "ignored", .base = ABSENT_I64, .reason = "x"};
    struct err err = {0};
    assert_int_equal(codec_encode(b->codec, RECORD_TRAINING_PLANNED, &p, &value, &err), 0);
    fake_bus_append("relearn.plans", partition_of("a"), slice_str("a"), buf_slice(&value), NULL, 0);
    settle(b);
    assert_int_equal(plans(), 2);
}

static void another_clusters_ce_seen_means_nothing(void **state)
{
    struct bench *b = *state;
    begin(b, "1/1");
    alert_at(b, partition_of("a"), "a", "a", "effect", "some-other-cluster;plans=99");
    settle(b);
    assert_int_equal(plans(), 1);
}

static void what_was_not_delivered_is_sent_again(void **state)
{
    struct bench *b = *state;
    begin(b, "1/1");
    settle(b);
    fake_bus_faults.lose = 3;
    alert(b, "a", "id-1");
    settle(b);
    assert_int_equal(plans(), 1);
}

static void an_acknowledgement_that_is_lost_costs_no_second_answer_that_counts(void **state)
{
    struct bench *b = *state;
    begin(b, "1/1");
    settle(b);
    fake_bus_faults.drop_ack = 1;
    fake_bus_faults.duplicate = 1;
    alert(b, "a", "id-1");
    settle(b);
    struct unit *u = agent_unit(b->agent, RECORD_TRAINING_PLANNED, "a");
    assert_int_equal(u->line->ev[RECORD_TRAINING_PLANNED].n, 1);
}

static void a_restart_answers_nothing_twice(void **state)
{
    struct bench *b = *state;
    begin(b, "1/1");
    for (int i = 0; i < 20; i++) {
        char id[16];
        snprintf(id, sizeof(id), "id-%d", i);
        alert(b, i % 3 ? "a" : "b", id);
    }
    settle(b);
    for (int k = 0; k < 3; k++) { /* with the cache, without it, and with it again */
        end(b);
        struct err err = {0};
        if (k == 1)
            assert_int_equal(fsx_remove_tree(b->dir.path, &err), 0);
        begin(b, "1/1");
        settle(b);
        assert_int_equal(plans(), 20);
        assert_int_equal(
            agent_unit(b->agent, RECORD_TRAINING_PLANNED, "a")->line->ev[RECORD_TRAINING_PLANNED].n,
            13);
    }
}

/* As a registry over HTTP does: the text comes a while after it was asked for. */
static int find_schema_late(void *ctx, int32_t id, const char **ret_text, struct err *err)
{
    int *left = ctx;
    (void)err;
    assert_int_equal(id, 7);
    if ((*left)-- > 0)
        return 1;
    *ret_text = codec_schema_text(RECORD_DRIFT_DETECTED);
    return 0;
}

static void a_cache_whose_schemas_are_not_known_yet_loses_no_event(void **state)
{
    struct bench *b = *state;
    int left = 1;
    codec_set_schema_id(b->codec, RECORD_DRIFT_DETECTED, 7);
    for (int life = 0; life < 3; life++) { /* from the log; from the cache, twice */
        left = 1;
        begin(b, "1/1");
        codec_set_lookup(agent_codec(b->agent), find_schema_late, &left);
        if (life == 0) {
            alert(b, "a", "id-1");
            alert(b, "a", "id-2");
            alert(b, "b", "id-3");
        }
        settle(b);
        assert_int_equal(plans(), 3);
        assert_int_equal(
            agent_unit(b->agent, RECORD_DRIFT_DETECTED, "a")->line->ev[RECORD_DRIFT_DETECTED].n, 2);
        assert_int_equal(
            agent_unit(b->agent, RECORD_DRIFT_DETECTED, "b")->line->ev[RECORD_DRIFT_DETECTED].n, 1);
        end(b);
    }
}

static void an_event_that_came_while_it_was_down_is_answered(void **state)
{
    struct bench *b = *state;
    begin(b, "1/1");
    alert(b, "a", "before");
    settle(b);
    end(b);
    alert(b, "a", "meanwhile");
    begin(b, "1/1");
    settle(b);
    assert_int_equal(plans(), 2);
}

static void another_cluster_ends_the_process_to_be_started_again(void **state)
{
    struct bench *b = *state;
    begin(b, "1/1");
    settle(b);
    fake_bus_cluster("another");
    assert_true(loop_until(b->loop, is_idle, b, WAIT_MS));
    for (int i = 0; i < 100 && !agent_exit_code(b->agent); i++) {
        fake_bus_step();
        loop_turn(b->loop, 0);
    }
    assert_int_equal(agent_exit_code(b->agent), 75);
}

static void a_topic_that_was_made_anew_is_not_taken_for_the_cached_one(void **state)
{
    struct bench *b = *state;
    begin(b, "1/1");
    alert(b, "a", "old-1");
    alert(b, "a", "old-2");
    settle(b);
    end(b);
    make_topics();
    alert(b, "a", "new-1");
    begin(b, "1/1");
    for (int i = 0; i < 200 && !agent_exit_code(b->agent); i++) {
        fake_bus_step();
        loop_turn(b->loop, 0);
    }
    assert_int_equal(agent_exit_code(b->agent), 75);
    end(b);
    begin(b, "1/1");
    settle(b);
    assert_int_equal(agent_exit_code(b->agent), 0);
    assert_int_equal(plans(), 1);
}

static void a_share_works_on_its_partitions_alone(void **state)
{
    struct bench *b = *state;
    char id[16], line[16];
    for (int i = 0; i < 40; i++) {
        snprintf(id, sizeof(id), "id-%d", i);
        snprintf(line, sizeof(line), "line-%d", i);
        alert(b, line, id);
    }
    begin(b, "2/2");
    settle(b);
    assert_int_equal(fake_bus_end("relearn.plans", 0), 0);
    assert_int_equal(fake_bus_end("relearn.plans", 2), 0);
    assert_int_equal(fake_bus_end("relearn.plans", 1), fake_bus_end("relearn.drift", 1));
    assert_int_equal(fake_bus_end("relearn.plans", 3), fake_bus_end("relearn.drift", 3));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_event_is_answered_once_and_committed_when_read_back),
        TEST(an_id_counts_once),
        TEST(an_answer_carries_its_cause),
        TEST(poison_goes_aside_with_its_bytes),
        TEST(what_could_not_be_moved_is_moved_by_the_next_process),
        TEST(of_poison_that_is_too_large_the_beginning_is_kept),
        TEST(a_record_of_another_type_is_poison),
        TEST(what_lies_on_another_partition_is_forwarded_once),
        TEST(a_stray_of_a_table_does_not_move_its_line),
        TEST(a_key_that_is_not_the_records_is_put_right),
        TEST(causes_are_read_before_effects),
        TEST(another_clusters_ce_seen_means_nothing),
        TEST(what_was_not_delivered_is_sent_again),
        TEST(an_acknowledgement_that_is_lost_costs_no_second_answer_that_counts),
        TEST(a_restart_answers_nothing_twice),
        TEST(a_cache_whose_schemas_are_not_known_yet_loses_no_event),
        TEST(an_event_that_came_while_it_was_down_is_answered),
        TEST(another_cluster_ends_the_process_to_be_started_again),
        TEST(a_topic_that_was_made_anew_is_not_taken_for_the_cached_one),
        TEST(a_share_works_on_its_partitions_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
