/* The bus when the cluster is away, slow or refuses: the mock, which does so to order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/bus_recorder.h"
#include "tests/support/test_cluster.h"

enum {
    API_PRODUCE = 0,
    API_OFFSET_FETCH = 9,
    NOT_COORDINATOR = 16,
    NOT_ENOUGH_REPLICAS = 19,
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45,
    BIG_BYTES = 6 << 20
};

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
    *state = f;
    return loop_new(&f->loop, &err);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    recorder_close(&f->a, 0);
    recorder_close(&f->b, 0);
    loop_free(f->loop);
    test_cluster_free(f->cluster);
    free_ptr(&f);
    return 0;
}

static void open_x(struct fixture *f, struct recorder *r, const char *group, const char *x)
{
    const struct bus_conf c = {.brokers = test_cluster_brokers(f->cluster),
                               .client_id = "test",
                               .group = group,
                               .x = &x,
                               .n_x = x ? 1 : 0};

    recorder_open(r, f->loop, &c);
}

static bool is_down(void *ctx)
{
    return !bus_is_up(ctx);
}

static void take_down(struct fixture *f, struct recorder *r)
{
    test_cluster_down(f->cluster);
    assert_true(loop_until(f->loop, is_down, r->bus, RECORDER_WAIT_MS));
}

static void bus_opens_without_a_broker_and_connects_when_it_comes(void **state)
{
    struct fixture *f = *state;
    const char *topic = test_cluster_topic(f->cluster, "t", 1);
    struct err err = {0};

    test_cluster_down(f->cluster);
    open_x(f, &f->a, NULL, NULL);
    assert_false(bus_is_up(f->a.bus));
    recorder_assign(&f->a, topic, 0, BUS_OFFSET_EARLIEST); /* remembered */
    assert_return_code(bus_pause(f->a.bus, topic, 0, true, &err), 0);
    assert_int_equal(bus_wait_topics(f->a.bus, &topic, 1, 1, &err), -1);
    assert_int_equal(err.code, ERR_TIMEOUT);
    assert_int_equal(f->a.connected, 0);
    test_cluster_up(f->cluster);
    recorder_wait_count(&f->a, &f->a.connected, 1);
    assert_true(bus_is_up(f->a.bus));
    assert_int_equal(bus_partitions(f->a.bus, topic), 1);
    recorder_send(&f->a, topic, 0, "k", "v");
    recorder_wait_delivered(&f->a, 1);
    assert_int_equal(f->a.n_messages, 0); /* paused, as was said before there was a consumer */
    assert_return_code(bus_pause(f->a.bus, topic, 0, false, &err), 0);
    recorder_wait_messages(&f->a, 1);
}

static void what_was_sent_during_an_outage_is_delivered_once(void **state)
{
    struct fixture *f = *state;
    const char *topic = test_cluster_topic(f->cluster, "t", 1);

    open_x(f, &f->a, NULL, NULL);
    recorder_assign(&f->a, topic, 0, BUS_OFFSET_EARLIEST);
    recorder_send(&f->a, topic, 0, "k", "before");
    recorder_wait_messages(&f->a, 1);
    take_down(f, &f->a);
    for (int i = 0; i < 100; i++)
        recorder_send(&f->a, topic, 0, "k", "during");
    assert_true(f->a.problems > 0);
    assert_int_equal(f->a.problem.next, NEXT_RETRY);
    test_cluster_up(f->cluster);
    recorder_wait_delivered(&f->a, 101);
    recorder_wait_messages(&f->a, 101);
    assert_int_equal(f->a.failed, 0);
    assert_int_equal(f->a.n_messages, 101);
    assert_int_equal(f->a.connected, 1); /* the same cluster */
}

/* One message, so that one request is out: the mock appends a later batch although an earlier one
 * was refused, which a broker does not (OUT_OF_ORDER_SEQUENCE_NUMBER), and the client takes that
 * for an answer to both. */
static void refused_batch_is_tried_again_in_silence(void **state)
{
    struct fixture *f = *state;
    const char *topic = test_cluster_topic(f->cluster, "t", 1);

    open_x(f, &f->a, NULL, NULL);
    recorder_assign(&f->a, topic, 0, BUS_OFFSET_EARLIEST);
    test_cluster_fail(f->cluster, API_PRODUCE, 3, NOT_ENOUGH_REPLICAS);
    recorder_send(&f->a, topic, 0, "k", "v");
    recorder_wait_delivered(&f->a, 1);
    recorder_wait_messages(&f->a, 1);
    assert_int_equal(f->a.failed, 0);
}

enum { SENT = 60 };

static bool is_fatal(void *ctx)
{
    return ((const struct recorder *)ctx)->problem.next == NEXT_FATAL;
}

static bool is_all_told(void *ctx)
{
    return bus_in_flight(ctx) == 0;
}

struct told {
    int acknowledged, failed, refused;
    struct err err;
};

static void on_told(void *ctx, const struct err *err, int partition, int64_t offset)
{
    struct told *t = ctx;

    (void)partition;
    (void)offset;
    t->acknowledged += !err;
    t->failed += err != NULL;
    if (err)
        t->err = *err;
}

static bool is_at_end(void *ctx)
{
    return ((const struct recorder *)ctx)->n_ends > 0;
}

/* How often each of the numbers is in the log by now. */
static void count_read(const struct recorder *r, int counts[SENT])
{
    memset(counts, 0, SENT * sizeof(*counts));
    for (size_t i = 0; i < r->n_messages; i++)
        counts[strtol(r->messages[i].value, NULL, 10)]++;
}

/* A client that has given up may be found out by the next number already. */
static void send_number(struct recorder *r, const char *topic, int i, struct told *t)
{
    char value[16];
    struct err err = {0};

    snprintf(value, sizeof(value), "%d", i);
    if (!bus_produce(r->bus, topic, 0, slice_str("k"), slice_str(value), NULL, 0, on_told, t, &err))
        return;
    assert_int_equal(err.next, NEXT_FATAL);
    t->refused = 1;
}

/* The idempotent client gives up for good when the broker's word on a sequence contradicts its own,
 * as 2.0.2 may have it when a partition's leader changes.  Each message is told its end once, none
 * of them that it was acknowledged when it is not there; nothing is taken any more; and whoever
 * reads the log and sends what is missing, as an agent does that is started again, has all of it
 * there once. */
static void client_that_gives_up_loses_and_doubles_nothing(void **state)
{
    struct fixture *f = *state;
    const char *topic = test_cluster_topic(f->cluster, "t", 1);
    struct told told[SENT] = {0};
    int counts[SENT];
    struct err err = {0};

    open_x(f, &f->a, NULL, "batch.num.messages=1"); /* some on their way, others behind them */
    recorder_wait_count(&f->a, &f->a.connected, 1);
    send_number(&f->a, topic, 0, &told[0]);
    assert_true(loop_until(f->loop, is_all_told, f->a.bus, RECORDER_WAIT_MS));
    test_cluster_fail(f->cluster, API_PRODUCE, 1, OUT_OF_ORDER_SEQUENCE_NUMBER);
    for (int i = 1; i < SENT; i++)
        send_number(&f->a, topic, i, &told[i]);
    assert_true(loop_until(f->loop, is_fatal, &f->a, RECORDER_WAIT_MS));
    assert_true(loop_until(f->loop, is_all_told, f->a.bus, RECORDER_WAIT_MS));
    assert_int_equal(bus_produce(f->a.bus, topic, 0, slice_str("k"), slice_str("more"), NULL, 0,
                                 NULL, NULL, &err),
                     -1);
    assert_int_equal(err.next, NEXT_FATAL);
    recorder_close(&f->a, 0);

    open_x(f, &f->b, NULL, NULL);
    recorder_assign(&f->b, topic, 0, BUS_OFFSET_EARLIEST);
    assert_true(loop_until(f->loop, is_at_end, &f->b, RECORDER_WAIT_MS));
    count_read(&f->b, counts);
    for (int i = 0; i < SENT; i++) {
        assert_int_equal(told[i].acknowledged + told[i].failed + told[i].refused, 1);
        assert_in_range(counts[i], told[i].acknowledged, 1); /* 1, 0: taken, and not told */
        if (told[i].failed)
            assert_int_equal(told[i].err.next, NEXT_RETRY);
        if (told[i].refused)
            assert_int_equal(counts[i], 0);
        if (!counts[i])
            send_number(&f->b, topic, i, &told[i]);
    }
    assert_int_equal(told[1].failed, 1);
    recorder_wait_messages(&f->b, SENT);
    count_read(&f->b, counts);
    for (int i = 0; i < SENT; i++)
        assert_int_equal(counts[i], 1);
}

/* As on a Kafka whose first group this is: its coordinator is still being made. */
static void committed_position_that_cannot_be_had_yet_is_asked_for_again(void **state)
{
    struct fixture *f = *state;
    const char *topic = test_cluster_topic(f->cluster, "t", 1);
    const char *other = test_cluster_topic(f->cluster, "other", 1);
    const struct bus_position both[] = {{topic, 0, BUS_OFFSET_COMMITTED},
                                        {other, 0, BUS_OFFSET_EARLIEST}};
    struct err err = {0};

    open_x(f, &f->a, test_cluster_name(f->cluster, "g"), NULL);
    recorder_wait_count(&f->a, &f->a.connected, 1);
    test_cluster_fail(f->cluster, API_OFFSET_FETCH, 3, NOT_COORDINATOR);
    recorder_send(&f->a, topic, 0, "k", "1");
    recorder_send(&f->a, other, 0, "k", "2");
    assert_return_code(bus_assign(f->a.bus, both, 2, &err), 0);
    recorder_wait_messages(&f->a, 2);
    recorder_send(&f->a, topic, 0, "k", "3");
    recorder_send(&f->a, other, 0, "k", "4");
    recorder_wait_messages(&f->a, 4);
    assert_int_equal(f->a.n_messages, 4); /* nobody begins anew because of the other one */
}

static void message_that_cannot_be_sent_in_time_is_told_so_once(void **state)
{
    struct fixture *f = *state;
    const char *topic = test_cluster_topic(f->cluster, "t", 1);

    open_x(f, &f->a, NULL, "message.timeout.ms=1000");
    recorder_wait_count(&f->a, &f->a.connected, 1);
    take_down(f, &f->a);
    for (int i = 0; i < 10; i++)
        recorder_send(&f->a, topic, 0, "k", "v");
    recorder_wait_count(&f->a, &f->a.failed, 10);
    assert_int_equal(f->a.failure.code, ERR_TIMEOUT);
    assert_int_equal(f->a.failure.next, NEXT_RETRY);
    assert_int_equal(bus_in_flight(f->a.bus), 0);
    recorder_close(&f->a, 0);
    assert_int_equal(f->a.failed, 10);
    assert_int_equal(f->a.delivered, 0);
}

static void full_queue_is_back_pressure(void **state)
{
    struct fixture *f = *state;
    const char *topic = test_cluster_topic(f->cluster, "t", 1);
    struct err err = {0};

    open_x(f, &f->a, NULL, "queue.buffering.max.messages=5");
    recorder_wait_count(&f->a, &f->a.connected, 1);
    take_down(f, &f->a);
    for (int i = 0; i < 5; i++)
        recorder_send(&f->a, topic, 0, "k", "v");
    assert_int_equal(
        bus_produce(f->a.bus, topic, 0, slice_str("k"), slice_str("v"), NULL, 0, NULL, NULL, &err),
        -1);
    assert_int_equal(err.code, ERR_LIMIT);
    assert_int_equal(err.next, NEXT_RETRY);
}

static void message_that_is_too_large_is_rejected(void **state)
{
    struct fixture *f = *state;
    const char *topic = test_cluster_topic(f->cluster, "t", 1);
    CLEANUP_FREE char *big = xcalloc(1, BIG_BYTES);
    struct err err = {0};

    open_x(f, &f->a, NULL, NULL);
    assert_int_equal(bus_produce(f->a.bus, topic, 0, slice_str("k"), (struct slice){big, BIG_BYTES},
                                 NULL, 0, NULL, NULL, &err),
                     -1);
    assert_int_equal(err.code, ERR_LIMIT);
    assert_int_equal(err.next, NEXT_REJECT);
}

/* The deadline holds, and each message that was not acknowledged is told so, once. */
static void close_during_an_outage_ends(void **state)
{
    struct fixture *f = *state;
    const char *topic = test_cluster_topic(f->cluster, "t", 1);
    const char *group = test_cluster_name(f->cluster, "g");
    struct err err = {0};

    open_x(f, &f->a, group, NULL);
    open_x(f, &f->b, group, NULL);
    recorder_assign(&f->a, topic, 0, BUS_OFFSET_EARLIEST);
    assert_return_code(bus_subscribe(f->b.bus, &topic, 1, &err), 0);
    recorder_wait_count(&f->b, &f->b.assigned, 1);
    recorder_send(&f->a, topic, 0, "k", "v");
    recorder_wait_messages(&f->a, 1);
    take_down(f, &f->a);
    assert_true(loop_until(f->loop, is_down, f->b.bus, RECORDER_WAIT_MS));
    for (int i = 0; i < 10; i++)
        recorder_send(&f->a, topic, 0, "k", "v");
    bus_commit(f->a.bus, topic, 0, 1);
    recorder_close(&f->a, 100);
    assert_int_equal(f->a.delivered, 1);
    assert_int_equal(f->a.failed, 10);
    assert_int_equal(f->a.failure.code, ERR_CANCELED);
    recorder_close(&f->b, 100);
}

/* Nobody ever listened there. */
static void close_without_ever_having_connected_ends(void **state)
{
    struct fixture *f = *state;

    test_cluster_down(f->cluster);
    open_x(f, &f->a, NULL, NULL);
    recorder_close(&f->a, 0);
    assert_int_equal(f->a.connected, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(bus_opens_without_a_broker_and_connects_when_it_comes),
        T(what_was_sent_during_an_outage_is_delivered_once),
        T(refused_batch_is_tried_again_in_silence),
        T(client_that_gives_up_loses_and_doubles_nothing),
        T(committed_position_that_cannot_be_had_yet_is_asked_for_again),
        T(message_that_cannot_be_sent_in_time_is_told_so_once),
        T(full_queue_is_back_pressure),
        T(message_that_is_too_large_is_rejected),
        T(close_during_an_outage_ends),
        T(close_without_ever_having_connected_ends),
    };

    unsetenv("RELEARN_TEST_BROKERS"); /* a Kafka is not taken down here */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
