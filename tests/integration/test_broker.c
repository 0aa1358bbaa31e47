/* relearn-broker as its users meet it: a process, a port, a file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
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

/* ---- clients --------------------------------------------------------------------------------- */

static void connect_to(struct fixture *f, struct recorder *r, const char *topic)
{
    CLEANUP_FREE char *brokers = broker_process_brokers(&f->broker);
    const struct bus_conf c = {.brokers = brokers, .client_id = "test"};
    struct err err = {0};

    recorder_open(r, f->loop, &c);
    if (bus_wait_topics(r->bus, &topic, 1, RECORDER_WAIT_MS, &err))
        fail_msg("%s", err.msg);
}

static void read_all(struct recorder *r, const char *topic, int partitions, size_t n)
{
    struct bus_position p[64];
    struct err err = {0};

    for (int i = 0; i < partitions; i++)
        p[i] = (struct bus_position){topic, i, BUS_OFFSET_EARLIEST};
    assert_return_code(bus_assign(r->bus, p, (size_t)partitions, &err), 0);
    recorder_wait_messages(r, n);
}

static const struct recorded *find(const struct recorder *r, int partition, int64_t offset)
{
    for (size_t i = 0; i < r->n_messages; i++) {
        if (r->messages[i].partition == partition && r->messages[i].offset == offset)
            return &r->messages[i];
    }
    fail_msg("no message at %d@%lld", partition, (long long)offset);
    return NULL;
}

static void send_keys(struct recorder *r, const char *topic, int from, int to)
{
    const struct bus_header headers[] = {{"ce_id", "abc", 3}, {"binary", "\0\1", 2}};
    struct err err = {0};
    char key[16];

    for (int i = from; i < to; i++) {
        snprintf(key, sizeof(key), "key-%d", i);
        if (i % 10 == 0)
            assert_return_code(bus_produce(r->bus, topic, -1, slice_str(key), (struct slice){0},
                                           headers, 2, NULL, NULL, &err),
                               0);
        else
            recorder_send(r, topic, -1, key, "some value");
    }
}

static void same_messages(const struct recorder *a, const struct recorder *b)
{
    assert_int_equal(a->n_messages, b->n_messages);
    for (size_t i = 0; i < a->n_messages; i++) {
        const struct recorded *x = &a->messages[i], *y = find(b, x->partition, x->offset);

        assert_string_equal(x->key, y->key);
        assert_int_equal(x->timestamp_ms, y->timestamp_ms);
        assert_int_equal(!x->value, !y->value);
        if (x->value)
            assert_string_equal(x->value, y->value);
        assert_int_equal(x->n_headers, y->n_headers);
        for (size_t h = 0; h < x->n_headers; h++) {
            assert_string_equal(x->headers[h].name, y->headers[h].name);
            assert_int_equal(x->headers[h].n, y->headers[h].n);
            assert_memory_equal(x->headers[h].value, y->headers[h].value, x->headers[h].n);
        }
    }
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void topics_of_the_catalogue_are_there_when_it_is_ready(void **state)
{
    struct fixture *f = *state;
    static const char *const more[] = {"--prefix", "acme.", "--partitions", "5", NULL};
    const char *topics[] = {"acme.plans", "acme.predictions", "acme.deadletters"};
    struct err err = {0};

    broker_process_start(&f->broker, more);
    connect_to(f, &f->a, topics[0]);
    assert_return_code(bus_wait_topics(f->a.bus, topics, 3, RECORDER_WAIT_MS, &err), 0);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(bus_partitions(f->a.bus, topics[i]), 5);
    recorder_wait_count(&f->a, &f->a.connected, 1);
    assert_true(bus_is_embedded(f->a.bus));
}

static void endpoint_answers(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *path, *says;
    } cases[] = {
        {"/healthz", " 200 "},
        {"/readyz", " 200 "},
        {"/metrics", "\nrelearn_broker_ready 1\n"},
        {"/nonsense", " 404 "},
    };

    broker_process_start(&f->broker, NULL);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_FREE char *answer = broker_process_get(&f->broker, cases[i].path);

        if (!strstr(answer, cases[i].says))
            fail_msg("%s: %s", cases[i].path, answer);
    }
}

static void journal_survives_a_kill_with_the_same_offsets(void **state)
{
    struct fixture *f = *state;
    static const char *const more[] = {"--topics", "t:4,other:1", NULL};
    enum { N = 1000 };

    broker_process_start(&f->broker, more);
    connect_to(f, &f->a, "t");
    send_keys(&f->a, "t", 0, N);
    read_all(&f->a, "t", 4, N);
    broker_process_wait_journalled(&f->broker, N);
    broker_process_end(&f->broker, SIGKILL);
    broker_process_start(&f->broker, more); /* on the same port */
    assert_int_equal(broker_process_metric(&f->broker, "refilled_records"), N);
    assert_int_equal(broker_process_metric(&f->broker, "journal_torn_bytes"), 0);
    connect_to(f, &f->b, "t");
    read_all(&f->b, "t", 4, N);
    same_messages(&f->a, &f->b);
}

static void new_messages_go_on_after_the_old_ones(void **state)
{
    struct fixture *f = *state;
    static const char *const more[] = {"--topics", "t:1", NULL};

    for (int64_t round = 0; round < 3; round++) {
        broker_process_start(&f->broker, more);
        connect_to(f, &f->a, "t");
        recorder_send(&f->a, "t", 0, "k", "v");
        recorder_wait_delivered(&f->a, 1);
        assert_int_equal(f->a.delivered_offset, round);
        recorder_close(&f->a, 1000);
        broker_process_wait_journalled(&f->broker, 1);
        broker_process_end(&f->broker, SIGKILL);
    }
}

static void stop_keeps_everything_that_was_acknowledged(void **state)
{
    struct fixture *f = *state;
    static const char *const more[] = {"--topics", "t:4", NULL};
    enum { N = 5000 };
    int status;

    broker_process_start(&f->broker, more);
    connect_to(f, &f->a, "t");
    for (int i = 0; i < N; i++)
        recorder_send(&f->a, "t", i % 4, "k", "v");
    recorder_wait_delivered(&f->a, N);
    status = broker_process_end(&f->broker, SIGTERM); /* at once */
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_false(fsx_exists(f->broker.address_file));
    broker_process_start(&f->broker, more);
    assert_int_equal(broker_process_metric(&f->broker, "refilled_records"), N);
}

static void topics_left_out_are_empty_again(void **state)
{
    struct fixture *f = *state;
    static const char *const more[] = {"--topics", "t:1,x.predictions:1", "--prefix", "x.", NULL};

    broker_process_start(&f->broker, more);
    connect_to(f, &f->a, "t");
    recorder_send(&f->a, "t", 0, "k", "v");
    recorder_wait_delivered(&f->a, 1);
    recorder_send(&f->a, "x.predictions", 0, "k", "v");
    recorder_wait_delivered(&f->a, 2);
    assert_int_equal(f->a.delivered_offset, 0);
    broker_process_end(&f->broker, SIGTERM);
    broker_process_start(&f->broker, more);
    assert_int_equal(broker_process_metric(&f->broker, "refilled_records"), 1);
}

/* Clients that stay see another cluster; what they had in hand comes after what was there before.
 */
static void clients_that_stay_meet_a_new_cluster_behind_the_old_log(void **state)
{
    struct fixture *f = *state;
    static const char *const more[] = {"--topics", "t:1", NULL};
    char old_id[BUS_CLUSTER_ID_SIZE];
    enum { N = 2000, LATE = 50 };

    broker_process_start(&f->broker, more);
    connect_to(f, &f->a, "t");
    recorder_wait_count(&f->a, &f->a.connected, 1);
    str_copy(old_id, sizeof(old_id), f->a.cluster_id);
    for (int i = 0; i < N; i++)
        recorder_send(&f->a, "t", 0, "k", "early");
    recorder_wait_delivered(&f->a, N);
    broker_process_wait_journalled(&f->broker, N);
    broker_process_end(&f->broker, SIGKILL);
    for (int i = 0; i < LATE; i++)
        recorder_send(&f->a, "t", 0, "k", "late");
    broker_process_start(&f->broker, more);
    recorder_wait_delivered(&f->a, N + LATE);
    recorder_wait_count(&f->a, &f->a.connected, 2);
    assert_string_not_equal(old_id, f->a.cluster_id);
    connect_to(f, &f->b, "t");
    read_all(&f->b, "t", 1, N + LATE);
    for (int i = 0; i < N + LATE; i++)
        assert_string_equal(find(&f->b, 0, i)->value, i < N ? "early" : "late");
}

/* The mock alone would answer after the whole wait, five minutes, whatever is written meanwhile. */
static void reader_that_waits_long_gets_news_at_once(void **state)
{
    struct fixture *f = *state;
    static const char *const more[] = {"--topics", "t:2", NULL};
    static const char *const x[] = {"fetch.wait.max.ms=300000", "socket.timeout.ms=300000"};
    CLEANUP_FREE char *brokers = NULL;

    broker_process_start(&f->broker, more);
    connect_to(f, &f->b, "t");
    brokers = broker_process_brokers(&f->broker);
    const struct bus_conf c = {.brokers = brokers, .client_id = "test", .x = x, .n_x = 2};
    recorder_open(&f->a, f->loop, &c);
    recorder_assign(&f->a, "t", 1, BUS_OFFSET_EARLIEST);
    for (size_t i = 1; i <= 50; i++) {
        recorder_send(&f->b, "t", 1, "k", "v");
        recorder_send(&f->b, "t", 0, "k", "not for this reader");
        recorder_wait_messages(&f->a, i);
    }
    assert_int_equal(f->a.n_messages, 50);
}

/* Answers and requests of megabytes pass through, in order, beside small ones. */
static void large_messages_pass(void **state)
{
    struct fixture *f = *state;
    static const char *const more[] = {"--topics", "t:1", NULL};
    enum { BIG = 4 << 20, N = 6 };
    CLEANUP_FREE char *big = xcalloc(1, BIG);
    uint64_t seed = 1;
    struct err err = {0};

    for (size_t i = 0; i < BIG; i++) { /* nothing that compresses */
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        big[i] = (char)(seed >> 56);
    }
    broker_process_start(&f->broker, more);
    connect_to(f, &f->a, "t");
    recorder_assign(&f->a, "t", 0, BUS_OFFSET_EARLIEST);
    for (size_t i = 0; i < N; i++) {
        assert_return_code(bus_produce(f->a.bus, "t", 0, slice_str("k"), (struct slice){big, BIG},
                                       NULL, 0, NULL, NULL, &err),
                           0);
        recorder_send(&f->a, "t", 0, "k", "small");
        recorder_wait_messages(&f->a, 2 * i + 2); /* the ring holds one of them at a time */
        assert_int_equal(f->a.messages[2 * i].value_n, BIG);
        assert_memory_equal(f->a.messages[2 * i].value, big, BIG);
        assert_string_equal(f->a.messages[2 * i + 1].value, "small");
    }
}

/* A port is open to anybody on the machine. */
static void garbage_from_a_client_harms_nobody(void **state)
{
    struct fixture *f = *state;
    static const char *const more[] = {"--topics", "t:1", NULL};
    static const struct slice garbage[] = {
        {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27},
        {"\xff\xff\xff\xff\0\1\0\4\0\0\0\1", 12},
        {"\0\0\0\0\0\0\0\0\0\0\0\0", 12},
        {"\0\0\0\x0e\0\1\0\x0b\0\0\0\1\xff\xff\0\0\0\0", 18},
        {"\0\0\0\x0c\0\0\0\7\0\0\0\1\0\x7f\0\0", 16},
        {"\x7f\xff\xff\xff\0\0\0\7\0\0\0\1\0\0\0\0", 16},
        {"\0", 1},
    };
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    int64_t port = 0;

    broker_process_start(&f->broker, more);
    assert_return_code(str_to_i64(f->broker.port, &port), 0);
    to.sin_port = htons((uint16_t)port);
    connect_to(f, &f->a, "t");
    recorder_assign(&f->a, "t", 0, BUS_OFFSET_EARLIEST);
    for (size_t i = 0; i < ARRAY_LEN(garbage); i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert_return_code(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
        assert_int_equal(send(fd, garbage[i].p, garbage[i].n, MSG_NOSIGNAL), garbage[i].n);
        shutdown(fd, SHUT_WR);
        while (recv(fd, (char[256]){0}, 256, 0) > 0) /* until the bus has had enough of it */
            ;
        close(fd);
        recorder_send(&f->a, "t", 0, "k", "v");
        recorder_wait_messages(&f->a, i + 1);
    }
}

static void append_to(const char *path, const void *p, size_t n)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, p, n), n);
    close(fd);
}

static void fill(struct fixture *f, const char *const *more, int n)
{
    broker_process_start(&f->broker, more);
    connect_to(f, &f->a, "t");
    for (int i = 1; i <= n; i++) { /* a batch each */
        recorder_send(&f->a, "t", 0, "k", "v");
        recorder_wait_delivered(&f->a, i);
        broker_process_wait_journalled(&f->broker, i);
    }
    recorder_close(&f->a, 1000);
    broker_process_end(&f->broker, SIGKILL);
}

static void torn_end_is_cut_and_told(void **state)
{
    struct fixture *f = *state;
    static const char *const more[] = {"--topics", "t:1", NULL};
    CLEANUP_FREE char *said = NULL;

    fill(f, more, 2);
    append_to(f->broker.journal, "RLJB\1\2\3", 7);
    broker_process_start(&f->broker, more);
    said = broker_process_said(&f->broker);
    assert_non_null(strstr(said, "cut_bytes=7"));
    assert_int_equal(broker_process_metric(&f->broker, "journal_torn_bytes"), 7);
    assert_int_equal(broker_process_metric(&f->broker, "refilled_records"), 2);
}

static void damaged_middle_stops_the_start_until_salvaged(void **state)
{
    struct fixture *f = *state;
    static const char *const more[] = {"--topics", "t:1", NULL};
    static const char *const salvage[] = {"--topics", "t:1", "--salvage", NULL};
    int64_t size;
    int fd;

    fill(f, more, 3);
    size = fsx_size(f->broker.journal);
    fd = open(f->broker.journal, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "\xff\xff", 2, (off_t)(size / 2)), 2);
    close(fd);
    broker_process_refuses(&f->broker, more, "--salvage");
    assert_int_equal(fsx_size(f->broker.journal), size);
    broker_process_start(&f->broker, salvage);
    assert_int_equal(broker_process_metric(&f->broker, "refilled_records") +
                         broker_process_metric(&f->broker, "refilled_placeholders"),
                     3);
    assert_true(broker_process_metric(&f->broker, "refilled_placeholders") >
                0); /* offsets stay what they were */
    broker_process_end(&f->broker, SIGTERM);
    broker_process_start(&f->broker, more); /* and is whole from then on */
}

static void other_partition_count_is_refused(void **state)
{
    struct fixture *f = *state;
    static const char *const four[] = {"--topics", "t:4", NULL};
    static const char *const eight[] = {"--topics", "t:8", NULL};

    broker_process_start(&f->broker, four);
    broker_process_end(&f->broker, SIGTERM);
    broker_process_refuses(&f->broker, eight,
                           "topic t has 4 partitions in the journal and should have 8");
}

static void taken_port_is_told(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_return_code(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_return_code(listen(fd, 1), 0);
    assert_return_code(getsockname(fd, (struct sockaddr *)&at, &n), 0);
    snprintf(f->broker.port, sizeof(f->broker.port), "%d", ntohs(at.sin_port));
    broker_process_refuses(&f->broker, NULL, "is taken");
    close(fd);
}

static void journal_of_a_running_bus_is_refused(void **state)
{
    struct fixture *f = *state;
    pid_t first;

    broker_process_start(&f->broker, NULL);
    first = f->broker.pid;
    str_copy(f->broker.port, sizeof(f->broker.port), "0");
    broker_process_refuses(&f->broker, NULL, "in use by another relearn-broker");
    f->broker.pid = first;
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(topics_of_the_catalogue_are_there_when_it_is_ready),
        T(endpoint_answers),
        T(journal_survives_a_kill_with_the_same_offsets),
        T(new_messages_go_on_after_the_old_ones),
        T(stop_keeps_everything_that_was_acknowledged),
        T(topics_left_out_are_empty_again),
        T(clients_that_stay_meet_a_new_cluster_behind_the_old_log),
        T(reader_that_waits_long_gets_news_at_once),
        T(large_messages_pass),
        T(garbage_from_a_client_harms_nobody),
        T(torn_end_is_cut_and_told),
        T(damaged_middle_stops_the_start_until_salvaged),
        T(other_partition_count_is_refused),
        T(taken_port_is_told),
        T(journal_of_a_running_bus_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
