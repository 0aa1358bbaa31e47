/* relearn-broker and its disk: full, damaged, another file, killed in the midst of it. */
// buses: embedded
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fsx.h"
#include "tests/support/broker_process.h"
#include "tests/support/bus_recorder.h"

struct fixture {
    struct broker_process broker;
    struct loop *loop;
    struct recorder a, b;
};
static const char *const ONE_TOPIC[] = {"--topics", "t:1", NULL};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    struct err err;

    broker_process_init(&f->broker);
    *state = f;
    return loop_new(&f->loop, &err);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    recorder_close(&f->a, 0);
    recorder_close(&f->b, 0);
    broker_process_fini(&f->broker);
    loop_free(f->loop);
    free_ptr(&f);
    return 0;
}

static void connect_to(struct fixture *f, struct recorder *r)
{
    static const char *const topic = "t";
    CLEANUP_FREE char *brokers = broker_process_brokers(&f->broker);
    const struct bus_conf c = {.brokers = brokers, .client_id = "test"};
    struct err err = {0};

    recorder_open(r, f->loop, &c);
    if (bus_wait_topics(r->bus, &topic, 1, RECORDER_WAIT_MS, &err))
        fail_msg("%s", err.msg);
}

/* A batch each. */
static void send_each(struct fixture *f, int n)
{
    connect_to(f, &f->a);
    for (int i = 1; i <= n; i++) {
        recorder_send(&f->a, "t", 0, "k", "a value");
        recorder_wait_delivered(&f->a, i);
        broker_process_wait_journalled(&f->broker, i);
    }
    recorder_close(&f->a, 1000);
}

static void wait_metric(struct fixture *f, const char *name, long long value)
{
    enum { LOOK_US = 10000, LOOKS = 6000 };

    for (int i = 0; broker_process_metric(&f->broker, name) != value; i++) {
        if (i == LOOKS)
            fail_msg("%s is %lld", name, broker_process_metric(&f->broker, name));
        loop_turn(f->loop, 0);
        usleep(LOOK_US);
    }
}

static bool answers(struct fixture *f, const char *path, const char *what)
{
    CLEANUP_FREE char *answer = broker_process_get(&f->broker, path);

    return strstr(answer, what) != NULL;
}

/* No file of the process may become larger: what a full disk is to it. */
static void limit_files(struct fixture *f, rlim_t bytes)
{
    assert_return_code(prlimit(f->broker.pid, RLIMIT_FSIZE,
                               &(struct rlimit){.rlim_cur = bytes, .rlim_max = RLIM_INFINITY},
                               NULL),
                       0);
}

static void a_full_disk_is_waited_for_and_nothing_is_lost(void **state)
{
    struct fixture *f = *state;
    enum { N = 300, ROOM_BYTES = 40000 };
    char value[1001] = "";

    memset(value, 'v', sizeof(value) - 1);
    broker_process_start(&f->broker, ONE_TOPIC);
    send_each(f, 3);
    limit_files(f, (rlim_t)fsx_size(f->broker.journal) + ROOM_BYTES);
    connect_to(f, &f->a);
    for (int i = 0; i < N; i++)
        recorder_send(&f->a, "t", 0, "k", value);
    wait_metric(f, "journal_stalled", 1);
    assert_true(answers(f, "/readyz", "503"));
    assert_true(answers(f, "/readyz", "File too large"));
    assert_true(answers(f, "/status", "\"stalled\":\"write "));
    CLEANUP_FREE char *said = broker_process_said(&f->broker);
    assert_non_null(strstr(said, "broker.stalled"));
    /* Nothing is acknowledged that comes now (what came before may be, an answer to it is on its
     * way): a new client is not even let in. */
    recorder_send(&f->a, "t", 0, "k", value);
    for (int i = 0; i < 50; i++)
        loop_turn(f->loop, 10);
    assert_true(f->a.delivered <= N);
    limit_files(f, RLIM_INFINITY);
    wait_metric(f, "journal_stalled", 0);
    recorder_wait_delivered(&f->a,
                            N + 1); /* it is the same cluster: the client goes on by itself */
    assert_int_equal(f->a.failed, 0);
    assert_int_equal(broker_process_metric(&f->broker, "journal_stalls_total"), 1);
    wait_metric(f, "journal_lag_records", 0);
    broker_process_end(&f->broker, SIGKILL);
    broker_process_start(&f->broker, ONE_TOPIC);
    assert_int_equal(broker_process_metric(&f->broker, "refilled_records"), N + 4);
    assert_int_equal(broker_process_metric(&f->broker, "refilled_placeholders"), 0);
}

static void fill_disk(struct fixture *f)
{
    enum { ROOM_BYTES = 8000 /* its log needs some */, TOO_MUCH_BYTES = 20000 };
    char value[TOO_MUCH_BYTES + 1] = "";

    memset(value, 'v', TOO_MUCH_BYTES);
    limit_files(f, (rlim_t)fsx_size(f->broker.journal) + ROOM_BYTES);
    connect_to(f, &f->a);
    recorder_send(&f->a, "t", 0, "k", value);
    wait_metric(f, "journal_stalled", 1);
}

static void killed_on_a_full_disk_it_has_what_was_there_before(void **state)
{
    struct fixture *f = *state;
    enum { N = 5 };

    broker_process_start(&f->broker, ONE_TOPIC);
    send_each(f, N);
    fill_disk(f);
    broker_process_end(&f->broker, SIGKILL);
    broker_process_start(&f->broker, ONE_TOPIC);
    assert_int_equal(broker_process_metric(&f->broker, "refilled_records"), N);
    assert_int_equal(broker_process_metric(&f->broker, "journal_torn_bytes"), 0);
}

static void stopped_on_a_full_disk_it_says_what_it_could_not_keep(void **state)
{
    struct fixture *f = *state;
    static const char *const impatient[] = {"--topics", "t:1", "--stop-timeout", "300ms", NULL};
    int status;

    broker_process_start(&f->broker, impatient);
    send_each(f, 1);
    fill_disk(f);
    status = broker_process_end(&f->broker, SIGTERM);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    CLEANUP_FREE char *said = broker_process_said(&f->broker);
    assert_non_null(strstr(said, "did not catch up within 300ms: write "));
}

static void what_was_journalled_is_there_however_often_it_is_killed(void **state)
{
    struct fixture *f = *state;
    enum { ROUNDS = 6, N = 400 };
    long long kept = 0;

    for (int round = 0; round < ROUNDS; round++) {
        broker_process_start(&f->broker, ONE_TOPIC);
        assert_true(broker_process_metric(&f->broker, "refilled_records") >= kept);
        assert_int_equal(broker_process_metric(&f->broker, "refilled_placeholders"), 0);
        kept = broker_process_metric(&f->broker, "refilled_records");
        connect_to(f, &f->a);
        for (int i = 0; i < N; i++)
            recorder_send(&f->a, "t", 0, "k", "v");
        recorder_wait_delivered(&f->a, N / 2); /* in the midst of it */
        kept += broker_process_metric(&f->broker, "journal_records_total");
        broker_process_end(&f->broker, SIGKILL);
        recorder_close(&f->a, 0);
    }
    broker_process_start(&f->broker, ONE_TOPIC);
    assert_true(broker_process_metric(&f->broker, "refilled_records") >= kept);
    connect_to(f, &f->b);
    recorder_assign(&f->b, "t", 0, BUS_OFFSET_EARLIEST);
    recorder_wait_messages(&f->b, (size_t)kept);
    for (size_t i = 0; i < f->b.n_messages; i++)
        assert_int_equal(f->b.messages[i].offset, i);
}

/* ---- damage ---------------------------------------------------------------------------------- */

static void flip(struct fixture *f, int64_t from_end)
{
    int64_t at = fsx_size(f->broker.journal) - from_end;
    int fd = open(f->broker.journal, O_RDWR | O_CLOEXEC);
    char c;

    assert_int_equal(pread(fd, &c, 1, (off_t)at), 1);
    c = (char)(c ^ 0x10);
    assert_int_equal(pwrite(fd, &c, 1, (off_t)at), 1);
    close(fd);
}

static void a_flipped_bit_in_the_last_batch_of_a_stopped_bus_is_damage(void **state)
{
    struct fixture *f = *state;
    enum { SEAL_BYTES = 20 };

    broker_process_start(&f->broker, ONE_TOPIC);
    send_each(f, 2);
    broker_process_end(&f->broker, SIGTERM);
    flip(f, SEAL_BYTES + 3);
    int64_t size = fsx_size(f->broker.journal);
    broker_process_refuses(&f->broker, ONE_TOPIC, "is damaged from byte");
    assert_int_equal(fsx_size(f->broker.journal), size);
    flip(f, SEAL_BYTES + 3);
    broker_process_start(&f->broker, ONE_TOPIC);
    assert_int_equal(broker_process_metric(&f->broker, "refilled_records"), 2);
}

static void what_is_cut_off_the_end_is_kept_beside(void **state)
{
    struct fixture *f = *state;
    CLEANUP(buf_fini) struct buf before = {0}, kept = {0}, torn = {0};
    struct err err = {0};

    broker_process_start(&f->broker, ONE_TOPIC);
    send_each(f, 2);
    broker_process_end(&f->broker, SIGKILL);
    flip(f, 3); /* of the last batch: nothing tells it from one that a crash has torn */
    assert_int_equal(fsx_read_file(f->broker.journal, 1 << 20, &before, &err), 0);
    broker_process_start(&f->broker, ONE_TOPIC);
    assert_int_equal(broker_process_metric(&f->broker, "refilled_records"), 1);
    long long cut = broker_process_metric(&f->broker, "journal_torn_bytes");
    CLEANUP_FREE char *aside = xasprintf("%s.torn", f->broker.journal);
    assert_int_equal(fsx_read_file(aside, 1 << 20, &torn, &err), 0);
    assert_int_equal(torn.len, cut);
    assert_int_equal(fsx_read_file(f->broker.journal, 1 << 20, &kept, &err), 0);
    assert_memory_equal(before.data, kept.data, before.len - torn.len);
    assert_memory_equal(before.data + before.len - torn.len, torn.data, torn.len);
}

static void what_is_no_journal_is_refused_and_left_alone(void **state)
{
    struct fixture *f = *state;
    static const char MINE[] = "SQLite format 3 or a thesis\n";
    CLEANUP(buf_fini) struct buf text = {0};
    struct err err = {0};

    assert_int_equal(fsx_write_file(f->broker.journal, MINE, sizeof(MINE) - 1, &err), 0);
    broker_process_refuses(&f->broker, ONE_TOPIC, "does not begin as a journal does");
    assert_int_equal(fsx_read_file(f->broker.journal, 4096, &text, &err), 0);
    assert_string_equal(text.data, MINE);
    assert_return_code(unlink(f->broker.journal), 0);
    assert_return_code(mkdir(f->broker.journal, 0700), 0); /* for root, too, unreadable */
    broker_process_refuses(&f->broker, ONE_TOPIC, "Is a directory");
    assert_return_code(rmdir(f->broker.journal), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_full_disk_is_waited_for_and_nothing_is_lost),
        T(killed_on_a_full_disk_it_has_what_was_there_before),
        T(stopped_on_a_full_disk_it_says_what_it_could_not_keep),
        T(what_was_journalled_is_there_however_often_it_is_killed),
        T(a_flipped_bit_in_the_last_batch_of_a_stopped_bus_is_damage),
        T(what_is_cut_off_the_end_is_kept_beside),
        T(what_is_no_journal_is_refused_and_left_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
