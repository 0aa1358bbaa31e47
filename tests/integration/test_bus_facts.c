/* What the pump of the bus is built on, each fact as a test: see common/bus.c.  A wake that is lost
 * would be healed by the beat, 64 events a second; so the numbers here are such that a test fails
 * when only the beat is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <librdkafka/rdkafka.h>

#include "tests/support/bus_recorder.h"
#include "tests/support/test_cluster.h"

enum { MANY = 20000 }; /* five minutes of beats */

struct fixture {
    struct test_cluster *cluster;
    struct loop *loop, *other_loop;
    struct recorder a, b;
    const char *topic;
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    struct err err;

    f->cluster = test_cluster_new();
    *state = f;
    return loop_new(&f->loop, &err) || loop_new(&f->other_loop, &err);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    recorder_close(&f->a, 5000);
    recorder_close(&f->b, 5000);
    loop_free(f->loop);
    loop_free(f->other_loop);
    test_cluster_free(f->cluster);
    free_ptr(&f);
    return 0;
}

static void open_on(struct fixture *f, struct recorder *r, struct loop *l, const char *group,
                    const char *topic, const char *const *x, size_t n_x)
{
    const struct bus_conf c = {.brokers = test_cluster_brokers(f->cluster),
                               .client_id = "test",
                               .group = group,
                               .x = x,
                               .n_x = n_x};
    struct err err = {0};

    recorder_open(r, l, &c);
    if (bus_wait_topics(r->bus, &topic, 1, RECORDER_WAIT_MS, &err))
        fail_msg("%s", err.msg);
}

static void more_than_a_turns_budget_needs_no_beat(void **state)
{
    struct fixture *f = *state;
    const char *topic = test_cluster_topic(f->cluster, "t", 1);

    open_on(f, &f->a, f->loop, NULL, topic, NULL, 0);
    for (int i = 0; i < MANY; i++)
        recorder_send(&f->a, topic, 0, "k", "v");
    recorder_wait_delivered(&f->a, MANY);
    recorder_assign(&f->a, topic, 0, BUS_OFFSET_EARLIEST);
    recorder_wait_messages(&f->a, MANY);
    for (int64_t i = 0; i < MANY; i++)
        assert_int_equal(f->a.messages[i].offset, i);
}

static void what_came_before_the_first_turn_is_taken(void **state)
{
    struct fixture *f = *state;
    const char *topic = test_cluster_topic(f->cluster, "t", 1);

    open_on(f, &f->a, f->loop, NULL, topic, NULL, 0);
    for (int i = 0; i < 200;
         i++) /* one event each is already in the queue when the loop turns first */
        recorder_send(&f->a, topic, 0, "k", "v");
    open_on(f, &f->b, f->other_loop, NULL, topic, NULL, 0);
    recorder_assign(&f->b, topic, 0, BUS_OFFSET_EARLIEST);
    recorder_wait_messages(&f->b, 200);
    assert_int_equal(f->a.delivered, 0);
    recorder_wait_delivered(&f->a, 200);
}

/* A consumer that polls when it is woken and else never. */
static rd_kafka_t *lazy_consumer(struct fixture *f, const char *group, const char *topic)
{
    static const char *const settings[][2] = {
        {"session.timeout.ms", "6000"},
        {"max.poll.interval.ms", "6000"},
        {"partition.assignment.strategy", "range"},
    };
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    char text[256];
    rd_kafka_t *rk;

    rd_kafka_conf_set(conf, "bootstrap.servers", test_cluster_brokers(f->cluster), text,
                      sizeof(text));
    rd_kafka_conf_set(conf, "group.id", group, text, sizeof(text));
    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        assert_int_equal(
            rd_kafka_conf_set(conf, settings[i][0], settings[i][1], text, sizeof(text)),
            RD_KAFKA_CONF_OK);
    rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof(text));
    assert_non_null(rk);
    rd_kafka_poll_set_consumer(rk);
    rd_kafka_topic_partition_list_add(topics, topic, RD_KAFKA_PARTITION_UA);
    assert_int_equal(rd_kafka_subscribe(rk, topics), 0);
    rd_kafka_topic_partition_list_destroy(topics);
    return rk;
}

static bool has_assignment(void *ctx)
{
    rd_kafka_topic_partition_list_t *list = NULL;
    rd_kafka_message_t *m = rd_kafka_consumer_poll(ctx, 0);
    bool yes;

    if (m)
        rd_kafka_message_destroy(m);
    rd_kafka_assignment(ctx, &list);
    yes = list && list->cnt > 0;
    if (list)
        rd_kafka_topic_partition_list_destroy(list);
    return yes;
}

struct expelled {
    rd_kafka_queue_t *q;
    bool is_told;
};

/* Looks at the queue's length only: a poll would be a sign of life. */
static bool something_is_told(void *ctx)
{
    struct expelled *e = ctx;

    e->is_told = rd_kafka_queue_length(e->q) > 0;
    return e->is_told;
}

static void idle_consumer_keeps_its_seat(void **state)
{
    struct fixture *f = *state;
    static const char *const x[] = {"session.timeout.ms=6000", "max.poll.interval.ms=6000"};
    const char *topic = test_cluster_topic(f->cluster, "t", 1);
    const char *other = test_cluster_topic(f->cluster, "other", 1);
    rd_kafka_t *lazy = lazy_consumer(f, test_cluster_name(f->cluster, "lazy"), other);
    struct expelled e = {0};
    rd_kafka_message_t *m;
    struct err err = {0};

    open_on(f, &f->a, f->loop, test_cluster_name(f->cluster, "g"), topic, x, 2);
    assert_return_code(bus_subscribe(f->a.bus, &topic, 1, &err), 0);
    recorder_wait_count(&f->a, &f->a.assigned, 1);
    /* A consumer beside it, assigned later, that is not polled: it is told that it took too long.
     */
    assert_true(loop_until(f->loop, has_assignment, lazy, RECORDER_WAIT_MS));
    while ((m = rd_kafka_consumer_poll(lazy, 100)))
        rd_kafka_message_destroy(m);
    e.q = rd_kafka_queue_get_consumer(lazy);
    assert_true(loop_until(f->loop, something_is_told, &e, RECORDER_WAIT_MS));
    m = rd_kafka_consumer_poll(lazy, 0);
    assert_non_null(m);
    assert_int_equal(m->err, RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED);
    rd_kafka_message_destroy(m);
    rd_kafka_queue_destroy(e.q);
    rd_kafka_consumer_close(lazy);
    rd_kafka_destroy(lazy);
    /* The bus, as idle for longer, is still a member. */
    assert_int_equal(f->a.revoked, 0);
    recorder_send(&f->a, topic, 0, "k", "v");
    recorder_wait_messages(&f->a, 1);
    assert_int_equal(f->a.revoked, 0);
}

static void paused_on_take_resumed_on_done_comes_in_order(void **state)
{
    struct fixture *f = *state;
    const char *topic = test_cluster_topic(f->cluster, "t", 2);
    struct bus_position p[] = {{topic, 0, BUS_OFFSET_EARLIEST}, {topic, 1, BUS_OFFSET_EARLIEST}};
    struct err err = {0};
    int64_t next[2] = {0};

    open_on(f, &f->a, f->loop, NULL, topic, NULL, 0);
    for (int i = 0; i < 20; i++)
        recorder_send(&f->a, topic, i % 2, "k", "v");
    recorder_wait_delivered(&f->a, 20);
    f->a.pause_each = 1;
    assert_return_code(bus_assign(f->a.bus, p, 2, &err), 0);
    for (size_t i = 0; i < 20; i++) {
        const struct recorded *m;

        recorder_wait_messages(&f->a, i + 1);
        assert_true(f->a.n_messages <= i + 2); /* one of each partition is out, and no other */
        m = &f->a.messages[i];
        assert_int_equal(m->offset, next[m->partition]++);
        assert_return_code(bus_pause(f->a.bus, topic, m->partition, false, &err), 0);
    }
    assert_int_equal(f->a.n_messages, 20);
}

/* Each that comes calls forth the next: at no moment is there nothing to fetch. */
static bool has_ended(void *ctx)
{
    struct fixture *f = ctx;
    enum { ENOUGH = 1000 };

    if (f->a.n_messages > ENOUGH)
        fail_msg("%d messages were read, and no end", ENOUGH);
    for (; (size_t)f->b.delivered + bus_in_flight(f->b.bus) < f->a.n_messages + 3;)
        recorder_send(&f->b, f->topic, 0, "k", "v");
    return f->a.n_ends > 0;
}

static void end_is_told_while_messages_keep_coming(void **state)
{
    struct fixture *f = *state;

    f->topic = test_cluster_topic(f->cluster, "t", 1);
    open_on(f, &f->a, f->loop, NULL, f->topic, NULL, 0);
    open_on(f, &f->b, f->loop, NULL, f->topic, NULL, 0);
    for (int i = 0; i < 100; i++)
        recorder_send(&f->b, f->topic, 0, "k", "v");
    recorder_wait_delivered(&f->b, 100);
    recorder_assign(&f->a, f->topic, 0, BUS_OFFSET_EARLIEST);
    assert_true(loop_until(f->loop, has_ended, f, RECORDER_WAIT_MS));
    assert_true(f->a.ends[0].offset >= 100); /* all that was there before */
    assert_true((size_t)f->a.ends[0].offset <= f->a.n_messages);
}

static void on_closed(void *ctx)
{
    ++*(int *)ctx;
}

/* loop_run returns by itself: nothing of the bus is left; loop_free would abort otherwise. */
static void closed_bus_leaves_an_empty_loop(void **state)
{
    struct fixture *f = *state;
    const char *topic = test_cluster_topic(f->cluster, "t", 1);
    struct err err = {0};
    int closed = 0;

    open_on(f, &f->a, f->loop, test_cluster_name(f->cluster, "g"), topic, NULL, 0);
    assert_return_code(bus_subscribe(f->a.bus, &topic, 1, &err), 0);
    recorder_wait_count(&f->a, &f->a.assigned, 1);
    recorder_send(&f->a, topic, 0, "k", "v");
    recorder_wait_messages(&f->a, 1);
    bus_close(f->a.bus, 5000, on_closed, &closed);
    f->a.bus = NULL;
    assert_int_equal(closed, 0); /* not inside the call */
    loop_run(f->loop);
    assert_int_equal(closed, 1);
    assert_int_equal(f->a.revoked, 0); /* nothing is called back after bus_close */
    free_ptr(&f->a.messages);
    free_ptr(&f->a.ends);
    arena_fini(&f->a.arena);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(more_than_a_turns_budget_needs_no_beat), T(what_came_before_the_first_turn_is_taken),
        T(idle_consumer_keeps_its_seat),           T(paused_on_take_resumed_on_done_comes_in_order),
        T(closed_bus_leaves_an_empty_loop),        T(end_is_told_while_messages_keep_coming),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
