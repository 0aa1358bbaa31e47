/* The bus against a cluster: the mock in this process, or the Kafka of RELEARN_TEST_BROKERS. */
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <librdkafka/rdkafka.h>

#include "tests/support/bus_recorder.h"
#include "tests/support/test_cluster.h"

struct fixture {
    struct test_cluster *cluster;
    struct loop *loop;
    struct recorder a, b;
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    struct err err;

    f->cluster = test_cluster_new();
    if (loop_new(&f->loop, &err))
        return -1;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    recorder_close(&f->a, 5000);
    recorder_close(&f->b, 5000);
    loop_free(f->loop);
    test_cluster_free(f->cluster);
    free_ptr(&f);
    return 0;
}

static struct bus_conf conf(struct fixture *f, const char *group)
{
    return (struct bus_conf){
        .brokers = test_cluster_brokers(f->cluster), .client_id = "test", .group = group};
}

static void open_on(struct fixture *f, struct recorder *r, const char *group, const char *topic)
{
    const struct bus_conf c = conf(f, group);
    struct err err = {0};

    recorder_open(r, f->loop, &c);
    if (bus_wait_topics(r->bus, &topic, 1, RECORDER_WAIT_MS, &err))
        fail_msg("%s", err.msg);
}

static void send_numbers(struct recorder *r, const char *topic, int partition, int from, int to)
{
    char value[16];

    for (int i = from; i < to; i++) {
        snprintf(value, sizeof(value), "%d", i);
        recorder_send(r, topic, partition, "k", value);
    }
}

static void assert_numbers(const struct recorder *r, size_t at, int from, int to)
{
    char value[16];

    for (int i = from; i < to; i++, at++) {
        snprintf(value, sizeof(value), "%d", i);
        assert_true(at < r->n_messages);
        assert_string_equal(r->messages[at].value, value);
    }
}

/* Each in its own order; both are waited for at the end. */
static void bulk_messages_arrive_beside_others(void **state)
{
    struct fixture *f = *state;
    const char *topic = test_cluster_topic(f->cluster, "t", 2);
    struct bus_conf c = conf(f, NULL);
    struct recorder *r = &f->a;
    struct err err = {0};
    char value[16];
    enum { N = 300 };

    c.has_bulk = true;
    recorder_open(r, f->loop, &c);
    assert_int_equal(bus_wait_topics(r->bus, &topic, 1, RECORDER_WAIT_MS, &err), 0);
    for (int i = 0; i < N; i++) {
        snprintf(value, sizeof(value), "%d", i);
        assert_int_equal(bus_produce_bulk(r->bus, topic, 0, slice_str("k"), slice_str(value), NULL,
                                          0, NULL, NULL, &err),
                         0);
    }
    send_numbers(r, topic, 1, 0, 3);
    assert_int_equal(bus_in_flight(r->bus), N + 3);
    recorder_close(r, RECORDER_WAIT_MS);
    open_on(f, &f->b, NULL, topic);
    recorder_assign(&f->b, topic, 0, BUS_OFFSET_EARLIEST);
    recorder_wait_messages(&f->b, N);
    assert_numbers(&f->b, 0, 0, N);
}

static void message_comes_back_as_it_was_sent(void **state)
{
    struct fixture *f = *state;
    const char *topic = test_cluster_topic(f->cluster, "t", 3);
    const struct bus_header headers[] = {
        {"ce_id", "abc", 3}, {"empty", "", 0}, {"binary", "\0\1\2", 3}};
    struct err err = {0};
    const struct recorded *m;

    open_on(f, &f->a, NULL, topic);
    recorder_assign(&f->a, topic, 2, BUS_OFFSET_EARLIEST);
    assert_return_code(bus_produce(f->a.bus, topic, 2, slice_str("key"), (struct slice){"v\0w", 3},
                                   headers, ARRAY_LEN(headers), NULL, NULL, &err),
                       0);
    recorder_wait_messages(&f->a, 1);
    m = &f->a.messages[0];
    assert_string_equal(m->topic, topic);
    assert_int_equal(m->partition, 2);
    assert_int_equal(m->offset, 0);
    assert_true(m->timestamp_ms > 0);
    assert_string_equal(m->key, "key");
    assert_int_equal(m->value_n, 3);
    assert_memory_equal(m->value, "v\0w", 3);
    assert_int_equal(m->n_headers, 3);
    assert_string_equal(m->headers[0].name, "ce_id");
    assert_memory_equal(m->headers[0].value, "abc", 3);
    assert_int_equal(m->headers[1].n, 0);
    assert_memory_equal(m->headers[2].value, "\0\1\2", 3);
    assert_true(f->a.turns > 0);
}

static void tombstone_and_missing_key_stay_what_they_are(void **state)
{
    struct fixture *f = *state;
    const char *topic = test_cluster_topic(f->cluster, "t", 1);

    open_on(f, &f->a, NULL, topic);
    recorder_assign(&f->a, topic, 0, BUS_OFFSET_EARLIEST);
    recorder_send(&f->a, topic, 0, "gone", NULL);
    recorder_send(&f->a, topic, 0, NULL, "v");
    recorder_send(&f->a, topic, 0, "", "");
    recorder_wait_messages(&f->a, 3);
    assert_null(f->a.messages[0].value);
    assert_string_equal(f->a.messages[0].key, "gone");
    assert_null(f->a.messages[1].key);
    assert_non_null(f->a.messages[2].value);
    assert_int_equal(f->a.messages[2].value_n, 0);
    assert_non_null(f->a.messages[2].key);
}

static void keyed_message_lands_where_java_would_put_it(void **state)
{
    struct fixture *f = *state;
    const char *topic = test_cluster_topic(f->cluster, "t", 12);
    const char *key = "a-little-bit-long-string";
    int should = bus_partition_of(key, strlen(key), 12);

    open_on(f, &f->a, NULL, topic);
    assert_int_equal(bus_partitions(f->a.bus, topic), 12);
    recorder_assign(&f->a, topic, should, BUS_OFFSET_EARLIEST);
    recorder_send(&f->a, topic, -1, key, "v");
    recorder_wait_messages(&f->a, 1);
    assert_int_equal(f->a.messages[0].partition, should);
}

static void delivery_is_told_once_with_the_offset(void **state)
{
    struct fixture *f = *state;
    const char *topic = test_cluster_topic(f->cluster, "t", 1);
    struct bus_stats stats;

    open_on(f, &f->a, NULL, topic);
    send_numbers(&f->a, topic, 0, 0, 500);
    assert_int_equal(bus_in_flight(f->a.bus), 500);
    recorder_wait_delivered(&f->a, 500);
    assert_int_equal(f->a.delivered, 500);
    assert_int_equal(f->a.failed, 0);
    assert_int_equal(f->a.delivered_offset, 499);
    assert_int_equal(bus_in_flight(f->a.bus), 0);
    bus_stats(f->a.bus, &stats);
    assert_int_equal(stats.produced, 500);
    assert_int_equal(stats.delivered, 500);
}

static void end_is_told_for_each_partition(void **state)
{
    struct fixture *f = *state;
    const char *topic = test_cluster_topic(f->cluster, "t", 2);
    struct bus_position p[] = {{topic, 0, BUS_OFFSET_EARLIEST}, {topic, 1, BUS_OFFSET_EARLIEST}};
    struct err err = {0};
    int64_t ends[2] = {-1, -1};

    open_on(f, &f->a, NULL, topic);
    send_numbers(&f->a, topic, 0, 0, 10);
    recorder_wait_delivered(&f->a, 10);
    assert_return_code(bus_assign(f->a.bus, p, 2, &err), 0);
    while (ends[0] != 10 || ends[1] != 0) {
        size_t before = f->a.n_ends;

        loop_turn(f->loop, 1000);
        for (; before < f->a.n_ends; before++)
            ends[f->a.ends[before].partition] = f->a.ends[before].offset;
    }
    assert_int_equal(f->a.n_messages, 10);
}

static void seek_goes_back_and_pause_holds(void **state)
{
    struct fixture *f = *state;
    const char *topic = test_cluster_topic(f->cluster, "t", 2);
    struct bus_position p[] = {{topic, 0, BUS_OFFSET_EARLIEST}, {topic, 1, BUS_OFFSET_EARLIEST}};
    struct err err = {0};

    open_on(f, &f->a, NULL, topic);
    send_numbers(&f->a, topic, 0, 0, 10);
    assert_return_code(bus_assign(f->a.bus, p, 2, &err), 0);
    recorder_wait_messages(&f->a, 10);
    assert_return_code(bus_pause(f->a.bus, topic, 0, true, &err), 0);
    assert_return_code(bus_seek(f->a.bus, topic, 0, 7, &err), 0);
    send_numbers(&f->a, topic, 0, 10, 12);
    recorder_wait_delivered(&f->a, 12);
    send_numbers(&f->a, topic, 1, 100, 101);
    recorder_wait_messages(&f->a, 11); /* the other partition goes on */
    assert_numbers(&f->a, 10, 100, 101);
    assert_return_code(bus_assign(f->a.bus, p, 2, &err), 0); /* stays paused */
    assert_return_code(bus_seek(f->a.bus, topic, 0, 7, &err), 0);
    send_numbers(&f->a, topic, 1, 101, 102);
    recorder_wait_messages(&f->a, 13); /* 100 again, then 101 */
    assert_numbers(&f->a, 11, 100, 102);
    assert_return_code(bus_pause(f->a.bus, topic, 0, false, &err), 0);
    recorder_wait_messages(&f->a, 18);
    assert_numbers(&f->a, 13, 7, 12);
}

/* The client is still stopping and starting the partition when the seek comes. */
static void seek_right_after_an_assignment_counts(void **state)
{
    struct fixture *f = *state;
    const char *topic = test_cluster_topic(f->cluster, "t", 1);
    struct err err = {0};
    size_t seen = 0;

    open_on(f, &f->a, NULL, topic);
    send_numbers(&f->a, topic, 0, 0, 10);
    recorder_wait_delivered(&f->a, 10);
    for (int round = 0; round < 20; round++) {
        recorder_assign(&f->a, topic, 0, round % 2 ? 3 : BUS_OFFSET_EARLIEST);
        assert_return_code(bus_seek(f->a.bus, topic, 0, 8, &err), 0);
        recorder_wait_messages(&f->a, seen + 2);
        assert_numbers(&f->a, seen, 8, 10);
        seen += 2;
    }
}

static void seek_and_pause_want_an_assigned_partition(void **state)
{
    struct fixture *f = *state;
    const char *topic = test_cluster_topic(f->cluster, "t", 2);
    struct err err = {0};

    open_on(f, &f->a, NULL, topic);
    recorder_assign(&f->a, topic, 0, BUS_OFFSET_EARLIEST);
    assert_int_equal(bus_pause(f->a.bus, topic, 1, true, &err), -1);
    assert_int_equal(err.code, ERR_NOTFOUND);
    assert_int_equal(bus_seek(f->a.bus, topic, 1, 0, &err), -1);
    assert_int_equal(err.code, ERR_NOTFOUND);
}

static void unknown_topic_is_refused_and_not_made(void **state)
{
    struct fixture *f = *state;
    const char *topic = test_cluster_topic(f->cluster, "t", 1);
    const char *typo = test_cluster_name(f->cluster, "typo");
    struct err err = {0};

    open_on(f, &f->a, NULL, topic);
    assert_int_equal(
        bus_produce(f->a.bus, typo, -1, slice_str("k"), slice_str("v"), NULL, 0, NULL, NULL, &err),
        -1);
    assert_int_equal(err.next, NEXT_RETRY);
    assert_int_equal(bus_wait_topics(f->a.bus, &typo, 1, 1, &err), -1);
    assert_int_equal(err.code, ERR_NOTFOUND);
    assert_non_null(strstr(err.msg, typo));
    assert_int_equal(bus_partitions(f->a.bus, typo), 0);
    assert_int_equal(
        bus_produce(f->a.bus, topic, 1, slice_str("k"), slice_str("v"), NULL, 0, NULL, NULL, &err),
        -1);
    assert_int_equal(err.code, ERR_INVAL);
}

static bool is_committed(void *ctx)
{
    struct bus_position *p = ctx;

    return bus_committed((struct bus *)(uintptr_t)p[1].topic, p->topic, p->partition) == p->offset;
}

static void wait_committed(struct recorder *r, const char *topic, int partition, int64_t offset)
{
    struct bus_position p[2] = {{topic, partition, offset}, {(const char *)r->bus, 0, 0}};

    assert_true(loop_until(r->loop, is_committed, p, RECORDER_WAIT_MS));
}

static void position_is_kept_by_the_group_without_subscribing(void **state)
{
    struct fixture *f = *state;
    const char *topic = test_cluster_topic(f->cluster, "t", 1);
    const char *group = test_cluster_name(f->cluster, "g");

    open_on(f, &f->a, group, topic);
    send_numbers(&f->a, topic, 0, 0, 10);
    recorder_assign(&f->a, topic, 0, BUS_OFFSET_COMMITTED); /* nothing committed: the start */
    recorder_wait_messages(&f->a, 10);
    assert_int_equal(bus_committed(f->a.bus, topic, 0), -1);
    for (int i = 1; i <= 6; i++)
        bus_commit(f->a.bus, topic, 0, i);
    wait_committed(&f->a, topic, 0, 6);
    bus_commit(f->a.bus, topic, 0, 7); /* goes out at close */
    recorder_close(&f->a, 5000);

    open_on(f, &f->b, group, topic);
    recorder_assign(&f->b, topic, 0, BUS_OFFSET_COMMITTED);
    recorder_wait_messages(&f->b, 3);
    assert_numbers(&f->b, 0, 7, 10);
}

static void commit_that_failed_is_sent_again(void **state)
{
    struct fixture *f = *state;
    const char *topic = test_cluster_topic(f->cluster, "t", 1);

    if (test_cluster_is_real(f->cluster))
        fail_msg("needs a broker that fails to order");
    open_on(f, &f->a, test_cluster_name(f->cluster, "g"), topic);
    recorder_assign(&f->a, topic, 0, BUS_OFFSET_EARLIEST);
    send_numbers(&f->a, topic, 0, 0, 1);
    recorder_wait_messages(&f->a, 1);
    test_cluster_fail(f->cluster, 8 /* OffsetCommit */, 1, 29 /* TOPIC_AUTHORIZATION_FAILED */);
    bus_commit(f->a.bus, topic, 0, 1);
    wait_committed(&f->a, topic, 0, 1);
    assert_int_equal(f->a.problem.next, NEXT_RETRY);
    assert_true(f->a.problems > 0);
}

/* Takes the place of the library's for bus_consume.c. */
static int refuse_commits; /* so many more */

rd_kafka_resp_err_t
rd_kafka_commit_queue(rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *offsets,
                      rd_kafka_queue_t *queue,
                      void (*cb)(rd_kafka_t *rk, rd_kafka_resp_err_t err,
                                 rd_kafka_topic_partition_list_t *offsets, void *opaque),
                      void *opaque)
{
    __typeof__(rd_kafka_commit_queue) *real =
        (__typeof__(real))(uintptr_t)dlsym(RTLD_NEXT, "rd_kafka_commit_queue");

    return refuse_commits-- > 0 ? RD_KAFKA_RESP_ERR__FAIL : real(rk, offsets, queue, cb, opaque);
}

static void commit_that_could_not_be_sent_is_sent_again(void **state)
{
    struct fixture *f = *state;
    const char *topic = test_cluster_topic(f->cluster, "t", 1);

    open_on(f, &f->a, test_cluster_name(f->cluster, "g"), topic);
    recorder_assign(&f->a, topic, 0, BUS_OFFSET_EARLIEST);
    send_numbers(&f->a, topic, 0, 0, 1);
    recorder_wait_messages(&f->a, 1);
    refuse_commits = 1;
    bus_commit(f->a.bus, topic, 0, 1);
    wait_committed(&f->a, topic, 0, 1);
    assert_true(refuse_commits < 1);
}

static bool two_share(void *ctx)
{
    struct fixture *f = ctx;

    return f->a.n_owned == 2 && f->b.n_owned == 2;
}

static bool one_has_all(void *ctx)
{
    return ((struct fixture *)ctx)->b.n_owned == 4;
}

static void two_buses_of_a_group_share_the_partitions(void **state)
{
    struct fixture *f = *state;
    const char *topic = test_cluster_topic(f->cluster, "t", 4);
    const char *group = test_cluster_name(f->cluster, "g");
    struct err err = {0};

    open_on(f, &f->a, group, topic);
    open_on(f, &f->b, group, topic);
    assert_return_code(bus_subscribe(f->a.bus, &topic, 1, &err), 0);
    assert_return_code(bus_subscribe(f->b.bus, &topic, 1, &err), 0);
    assert_true(loop_until(f->loop, two_share, f, RECORDER_WAIT_MS));
    assert_int_equal(f->a.owned[0].offset, BUS_OFFSET_COMMITTED);
    for (int p = 0; p < 4; p++)
        send_numbers(&f->a, topic, p, 0, 5);
    recorder_wait_messages(&f->a, 10);
    recorder_wait_messages(&f->b, 10);
    for (size_t i = 0; i < f->a.n_messages; i++)
        bus_commit(f->a.bus, topic, f->a.messages[i].partition, f->a.messages[i].offset + 1);
    recorder_close(&f->a,
                   5000); /* commits, leaves the group: the other need not wait for its death */
    assert_true(loop_until(f->loop, one_has_all, f, RECORDER_WAIT_MS));
    assert_true(f->b.revoked > 0);
    assert_int_equal(f->b.lost, 0);
}

static void subscribing_without_a_group_is_refused(void **state)
{
    struct fixture *f = *state;
    const char *topic = test_cluster_topic(f->cluster, "t", 1);
    struct err err = {0};

    open_on(f, &f->a, NULL, topic);
    assert_int_equal(bus_subscribe(f->a.bus, &topic, 1, &err), -1);
    assert_int_equal(err.code, ERR_INVAL);
}

static void cluster_id_tells_the_embedded_bus(void **state)
{
    struct fixture *f = *state;
    const struct bus_conf c = conf(f, NULL);

    recorder_open(&f->a, f->loop, &c);
    assert_null(bus_cluster_id(f->a.bus));
    recorder_wait_count(&f->a, &f->a.connected, 1);
    assert_string_equal(f->a.cluster_id, bus_cluster_id(f->a.bus));
    assert_int_equal(bus_is_embedded(f->a.bus), !test_cluster_is_real(f->cluster));
    assert_true(bus_is_up(f->a.bus));
}

static void property_of_librdkafka_passes_or_is_refused(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *x;
        const char *says; /* NULL: accepted */
    } cases[] = {
        {"linger.ms=5", NULL},
        {"fetch.wait.max.ms=20", NULL},
        {"no.such.property=1", "no.such.property"},
        {"linger.ms=many", "linger.ms"},
        {"linger.ms", "name=value"},
        {"=1", "name=value"},
        {"enable.auto.commit=true", "cannot be changed"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bus_conf c = conf(f, NULL);
        const struct bus_callbacks cb = {0};
        struct bus *bus = NULL;
        struct err err = {0};

        c.x = &cases[i].x;
        c.n_x = 1;
        if (!cases[i].says) {
            recorder_open(&f->a, f->loop, &c);
            recorder_close(&f->a, 0);
            continue;
        }
        assert_int_equal(bus_open(f->loop, &c, &cb, &bus, &err), -1);
        assert_null(bus);
        if (!strstr(err.msg, cases[i].says))
            fail_msg("%s: %s", cases[i].x, err.msg);
    }
}

struct told {
    int n;
    char text[512];
};

static void on_told(void *ctx, const char *name, const char *what)
{
    struct told *t = ctx;

    (void)name;
    t->n++;
    snprintf(t->text + strlen(t->text), sizeof(t->text) - strlen(t->text), "%s; ", what);
}

static void topics_are_made_once_and_compared(void **state)
{
    struct fixture *f = *state;
    const struct bus_conf c = conf(f, NULL);
    struct bus_topic_spec spec = {.name = test_cluster_name(f->cluster, "made"),
                                  .partitions = 3,
                                  .replication = 1,
                                  .retention_ms = 86400000};
    struct told told = {0};
    struct err err = {0};

    if (!test_cluster_is_real(f->cluster)) {
        assert_int_equal(bus_create_topics(&c, &spec, 1, RECORDER_WAIT_MS, NULL, NULL, &err), -1);
        assert_non_null(strstr(err.msg, "embedded bus"));
        assert_int_equal(bus_check_topics(&c, &spec, 1, RECORDER_WAIT_MS, on_told, &told, &err),
                         -1);
        assert_non_null(strstr(err.msg, "embedded bus"));
        return;
    }
    assert_return_code(bus_create_topics(&c, &spec, 1, RECORDER_WAIT_MS, on_told, &told, &err), 0);
    assert_return_code(bus_create_topics(&c, &spec, 1, RECORDER_WAIT_MS, on_told, &told, &err), 0);
    assert_string_equal(told.text, "created; exists; ");
    told = (struct told){0};
    assert_return_code(bus_check_topics(&c, &spec, 1, RECORDER_WAIT_MS, on_told, &told, &err), 0);
    assert_int_equal(told.n, 0);
    spec.partitions = 12;
    spec.retention_ms = -1;
    assert_return_code(bus_check_topics(&c, &spec, 1, RECORDER_WAIT_MS, on_told, &told, &err), 0);
    assert_string_equal(told.text,
                        "partitions 3, should be 12; retention.ms 86400000, should be -1; ");
    told = (struct told){0};
    spec.compacted = true;
    spec.partitions = 3;
    assert_return_code(bus_check_topics(&c, &spec, 1, RECORDER_WAIT_MS, on_told, &told, &err), 0);
    assert_string_equal(told.text, "cleanup.policy delete, should be compact; ");
}

static void topic_that_is_missing_is_told(void **state)
{
    struct fixture *f = *state;
    const struct bus_conf c = conf(f, NULL);
    const struct bus_topic_spec spec = {.name = test_cluster_name(f->cluster, "none"),
                                        .partitions = 3,
                                        .replication = 1,
                                        .retention_ms = -1};
    struct bus_topic_state state_of = {.copies = -1};
    struct told told = {0};
    struct err err = {0};
    int brokers = 0;

    if (!test_cluster_is_real(f->cluster))
        fail_msg("needs a real Kafka");
    assert_return_code(
        bus_topic_states(&c, &spec.name, 1, RECORDER_WAIT_MS, &state_of, &brokers, &err), 0);
    assert_int_equal(state_of.copies, 0);
    assert_true(brokers > 0);
    if (bus_check_topics(&c, &spec, 1, RECORDER_WAIT_MS, on_told, &told, &err))
        fail_msg("%s", err.msg);
    assert_string_equal(told.text, "missing; ");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(message_comes_back_as_it_was_sent),
        T(bulk_messages_arrive_beside_others),
        T(tombstone_and_missing_key_stay_what_they_are),
        T(keyed_message_lands_where_java_would_put_it),
        T(delivery_is_told_once_with_the_offset),
        T(end_is_told_for_each_partition),
        T(seek_goes_back_and_pause_holds),
        T(seek_right_after_an_assignment_counts),
        T(seek_and_pause_want_an_assigned_partition),
        T(unknown_topic_is_refused_and_not_made),
        T(position_is_kept_by_the_group_without_subscribing),
        T(commit_that_failed_is_sent_again),
        T(commit_that_could_not_be_sent_is_sent_again),
        T(two_buses_of_a_group_share_the_partitions),
        T(subscribing_without_a_group_is_refused),
        T(cluster_id_tells_the_embedded_bus),
        T(property_of_librdkafka_passes_or_is_refused),
        T(topics_are_made_once_and_compared),
        T(topic_that_is_missing_is_told),
    };

    /* Each bus can show what the other one cannot. */
    cmocka_set_skip_filter(getenv("RELEARN_TEST_BROKERS") ? "commit_that_failed_is_sent_again"
                                                          : "topic_that_is_missing_is_told");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
