/* The fake keeps the promises of bus.h that component tests lean on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/support/bus_recorder.h"
#include "tests/support/fakebus/fake_bus.c"

struct fixture {
    struct loop *loop;
    struct recorder a, b;
};

static int setup(void **state)
{
    static struct fixture f;
    struct err err;

    f = (struct fixture){0};
    *state = &f;
    fake_bus_reset();
    fake_bus_topic("t", 4);
    return loop_new(&f.loop, &err);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    fake_bus_faults.down = false;
    recorder_close(&f->a, 0);
    recorder_close(&f->b, 0);
    fake_bus_reset();
    loop_free(f->loop);
    return 0;
}

static void open_on(struct fixture *f, struct recorder *r, const char *group)
{
    const struct bus_conf c = {.brokers = "none", .client_id = "test", .group = group};

    recorder_open(r, f->loop, &c);
}

static void settle(void)
{
    while (fake_bus_step())
        ;
}

static void nothing_is_called_back_inside_a_call(void **state)
{
    struct fixture *f = *state;

    open_on(f, &f->a, NULL);
    recorder_assign(&f->a, "t", 0, BUS_OFFSET_EARLIEST);
    recorder_send(&f->a, "t", 0, "k", "v");
    assert_int_equal(f->a.n_messages + f->a.n_ends, 0);
    assert_int_equal(f->a.delivered + f->a.connected, 0);
    settle();
    assert_int_equal(f->a.connected, 1);
    assert_int_equal(f->a.delivered, 1);
    assert_int_equal(f->a.n_messages, 1);
    assert_int_equal(f->a.ends[f->a.n_ends - 1].offset, 1);
}

static void two_buses_see_one_log_through_the_loop(void **state)
{
    struct fixture *f = *state;

    open_on(f, &f->a, NULL);
    open_on(f, &f->b, NULL);
    recorder_assign(&f->b, "t", 1, BUS_OFFSET_EARLIEST);
    recorder_send(&f->a, "t", 1, "k", "v");
    recorder_wait_messages(&f->b, 1);
    assert_string_equal(f->b.messages[0].value, "v");
    assert_string_equal(fake_bus_at("t", 1, 0)->value, "v");
}

static void group_shares_by_range_and_hands_over(void **state)
{
    struct fixture *f = *state;
    const char *topic = "t";
    struct err err;

    open_on(f, &f->a, "g");
    open_on(f, &f->b, "g");
    assert_return_code(bus_subscribe(f->a.bus, &topic, 1, &err), 0);
    settle();
    assert_int_equal(f->a.n_owned, 4);
    assert_return_code(bus_subscribe(f->b.bus, &topic, 1, &err), 0);
    settle();
    assert_int_equal(f->a.revoked, 1);
    assert_int_equal(f->a.n_owned, 2);
    assert_int_equal(f->b.n_owned, 2);
    assert_int_equal(f->b.owned[0].partition, 2);
    fake_bus_append("t", 2, slice_str("k"), slice_str("v"), NULL, 0);
    settle();
    bus_commit(f->b.bus, "t", 2, 1);
    recorder_close(&f->b, 0);
    settle();
    assert_int_equal(f->a.n_owned, 4);
    assert_int_equal(fake_bus_position("g", "t", 2), 1);
    assert_int_equal(f->a.n_messages, 0); /* it was committed */
}

static void pause_holds_through_an_assignment_and_seek_goes_back(void **state)
{
    struct fixture *f = *state;
    struct err err;

    open_on(f, &f->a, NULL);
    for (int i = 0; i < 3; i++)
        fake_bus_append("t", 0, slice_str("k"), slice_str("v"), NULL, 0);
    f->a.pause_each = 1;
    recorder_assign(&f->a, "t", 0, 0);
    settle();
    assert_int_equal(f->a.n_messages, 1);
    recorder_assign(&f->a, "t", 0, 1);
    settle();
    assert_int_equal(f->a.n_messages, 1);
    f->a.pause_each = 0;
    assert_return_code(bus_seek(f->a.bus, "t", 0, 0, &err), 0);
    assert_return_code(bus_pause(f->a.bus, "t", 0, false, &err), 0);
    settle();
    assert_int_equal(f->a.n_messages, 4);
    assert_int_equal(f->a.messages[1].offset, 0);
}

static void faults_do_what_they_say(void **state)
{
    struct fixture *f = *state;
    struct err err;

    open_on(f, &f->a, NULL);
    fake_bus_faults.refuse_produce = 1;
    assert_int_equal(
        bus_produce(f->a.bus, "t", 0, slice_str("k"), slice_str("v"), NULL, 0, NULL, NULL, &err),
        -1);
    assert_int_equal(err.next, NEXT_RETRY);
    fake_bus_faults.lose = 1;
    recorder_send(&f->a, "t", 0, "k", "lost");
    settle();
    assert_int_equal(fake_bus_end("t", 0), 0);
    assert_int_equal(f->a.failed, 1);
    fake_bus_faults.drop_ack = 1;
    recorder_send(&f->a, "t", 0, "k", "there");
    settle();
    assert_int_equal(fake_bus_end("t", 0), 1);
    assert_int_equal(f->a.failed, 2);
    assert_int_equal(f->a.failure.code, ERR_TIMEOUT);
    fake_bus_faults.duplicate = 1;
    recorder_send(&f->a, "t", 0, "k", "twice");
    settle();
    assert_int_equal(fake_bus_end("t", 0), 3);
    assert_int_equal(f->a.delivered, 1);
    fake_bus_faults.delay_steps = 3;
    recorder_send(&f->a, "t", 0, "k", "late");
    fake_bus_step();
    assert_int_equal(fake_bus_end("t", 0), 4);
    assert_int_equal(f->a.delivered, 1);
    settle();
    assert_int_equal(f->a.delivered, 2);
}

static void crash_loses_what_was_not_settled(void **state)
{
    struct fixture *f = *state;
    const char *topic = "t";
    struct err err;

    open_on(f, &f->a, "g");
    open_on(f, &f->b, "g");
    assert_return_code(bus_subscribe(f->a.bus, &topic, 1, &err), 0);
    assert_return_code(bus_subscribe(f->b.bus, &topic, 1, &err), 0);
    settle();
    recorder_send(&f->a, "t", 0, "k", "v");
    bus_commit(f->a.bus, "t", 0, 7);
    fake_bus_crash(f->a.bus);
    settle();
    assert_int_equal(f->b.n_owned, 4);
    assert_int_equal(fake_bus_end("t", 0), 0);
    assert_int_equal(fake_bus_position("g", "t", 0), -1);
    assert_int_equal(f->a.delivered + f->a.failed, 0);
}

static void shuffled_delivery_keeps_the_order_of_a_partition(void **state)
{
    struct fixture *f = *state;
    const struct bus_position p[] = {{"t", 0, 0}, {"t", 1, 0}, {"t", 2, 0}, {"t", 3, 0}};
    int64_t next[4] = {0};
    bool mixed = false;
    struct err err;

    fake_bus_shuffle(7);
    open_on(f, &f->a, NULL);
    for (int i = 0; i < 40; i++)
        fake_bus_append("t", i % 4, slice_str("k"), slice_str("v"), NULL, 0);
    assert_return_code(bus_assign(f->a.bus, p, 4, &err), 0);
    settle();
    assert_int_equal(f->a.n_messages, 40);
    for (size_t i = 0; i < 40; i++) {
        assert_int_equal(f->a.messages[i].offset, next[f->a.messages[i].partition]++);
        mixed = mixed || f->a.messages[i].partition != (int)(i / 10);
    }
    assert_true(mixed);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(nothing_is_called_back_inside_a_call),
        T(two_buses_see_one_log_through_the_loop),
        T(group_shares_by_range_and_hands_over),
        T(pause_holds_through_an_assignment_and_seek_goes_back),
        T(faults_do_what_they_say),
        T(crash_loses_what_was_not_settled),
        T(shuffled_delivery_keeps_the_order_of_a_partition),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
