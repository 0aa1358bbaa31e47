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
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fsx.h"
#include "tests/support/bus_recorder.h"
#include "tests/support/tmpdir.h"

extern char **environ;

enum { ARGS_MAX = 24, LOOK_US = 2000, LOOKS_MAX = 30000, TEXT_CAP_BYTES = 1 << 20 };

struct fixture {
    struct tmpdir dir;
    const char *address_file, *endpoint_file, *journal, *output;
    char port[12]; /* of the first start, kept */
    pid_t pid;
    struct loop *loop;
    struct recorder a, b;
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    struct err err;

    tmpdir_init(&f->dir);
    f->address_file = tmpdir_join(&f->dir, "address");
    f->endpoint_file = tmpdir_join(&f->dir, "endpoint");
    f->journal = tmpdir_join(&f->dir, "journal");
    f->output = tmpdir_join(&f->dir, "output");
    str_copy(f->port, sizeof(f->port), "0");
    *state = f;
    return loop_new(&f->loop, &err);
}

static int end(struct fixture *f, int signal)
{
    int status = 0;

    kill(f->pid, signal);
    assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
    f->pid = 0;
    return status;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    recorder_close(&f->a, 0);
    recorder_close(&f->b, 0);
    if (f->pid)
        end(f, SIGKILL);
    loop_free(f->loop);
    tmpdir_fini(&f->dir);
    free(f);
    return 0;
}

/* ---- the process
 * ------------------------------------------------------------------------------------ */

static char *read_text(const char *path)
{
    CLEANUP(buf_fini) struct buf b = {0};
    struct err err;

    if (fsx_read_file(path, TEXT_CAP_BYTES, &b, &err))
        return xstrdup("");
    return buf_take(&b);
}

/* Starts it with the fixture's files and these options besides (NULL-terminated). */
static void spawn(struct fixture *f, const char *const *more)
{
    const char *args[ARGS_MAX] = {"relearn-broker",  "--address-file", f->address_file,
                                  "--endpoint-file", f->endpoint_file, "--journal",
                                  f->journal,        "--port",         f->port};
    const char *bin = getenv("RELEARN_BIN");
    CLEANUP_FREE char *program = xasprintf("%s/relearn-broker", bin ? bin : "build/bin");
    posix_spawn_file_actions_t actions;
    size_t n = 9;

    unlink(f->address_file); /* of one that was killed */
    for (; more && *more; more++)
        args[n++] = *more;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, f->output, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    if (posix_spawn(&f->pid, program, &actions, NULL, (char **)(uintptr_t)args, environ))
        fail_msg("%s does not start: `make all` builds it", program);
    posix_spawn_file_actions_destroy(&actions);
}

static void wait_ready(struct fixture *f)
{
    CLEANUP_FREE char *address = NULL;
    char *colon;

    for (int i = 0; !fsx_exists(f->address_file); i++) {
        CLEANUP_FREE char *said = read_text(f->output);

        if (i == LOOKS_MAX || waitpid(f->pid, NULL, WNOHANG) != 0)
            fail_msg("not ready: %s", said);
        usleep(LOOK_US);
    }
    address = read_text(f->address_file);
    colon = strchr(address, ':');
    assert_non_null(colon);
    str_copy(f->port, sizeof(f->port), colon + 1);
}

static void start(struct fixture *f, const char *const *more)
{
    spawn(f, more);
    wait_ready(f);
}

/* It must end by itself with this code, saying this. */
static void expect_refusal(struct fixture *f, const char *const *more, const char *says)
{
    CLEANUP_FREE char *said = NULL;
    int status = 0;

    spawn(f, more);
    assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
    f->pid = 0;
    said = read_text(f->output);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    if (!strstr(said, says))
        fail_msg("said: %s", said);
    assert_false(fsx_exists(f->address_file));
}

/* GET of its endpoint; the answer with its head. */
static char *get(struct fixture *f, const char *path)
{
    CLEANUP_FREE char *url = read_text(f->endpoint_file);
    CLEANUP(buf_fini) struct buf answer = {0};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    int64_t port = 0;
    char part[4096], request[256];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ssize_t n;

    assert_return_code(str_to_i64(strrchr(url, ':') + 1, &port), 0);
    to.sin_port = htons((uint16_t)port);
    assert_return_code(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
             path);
    assert_int_equal(write(fd, request, strlen(request)), strlen(request));
    while ((n = read(fd, part, sizeof(part))) > 0)
        buf_add(&answer, part, (size_t)n);
    close(fd);
    return buf_take(&answer);
}

static long long metric(struct fixture *f, const char *name)
{
    CLEANUP_FREE char *text = get(f, "/metrics");
    CLEANUP_FREE char *line = xasprintf("\nrelearn_broker_%s ", name);
    const char *at = strstr(text, line);

    if (!at)
        fail_msg("no %s in %s", name, text);
    return strtoll(at + strlen(line), NULL, 10);
}

static void wait_journalled(struct fixture *f, long long records)
{
    for (int i = 0; metric(f, "journal_records_total") < records; i++) {
        if (i == LOOKS_MAX)
            fail_msg("%lld of %lld journalled", metric(f, "journal_records_total"), records);
        usleep(LOOK_US);
    }
    assert_int_equal(metric(f, "journal_lag_records"), 0);
}

/* ---- clients
 * ------------------------------------------------------------------------------------------ */

static void connect_to(struct fixture *f, struct recorder *r, const char *topic)
{
    CLEANUP_FREE char *brokers = xasprintf("127.0.0.1:%s", f->port);
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

/* ---- tests
 * -------------------------------------------------------------------------------------------- */

static void topics_of_the_catalogue_are_there_when_it_is_ready(void **state)
{
    struct fixture *f = *state;
    static const char *const more[] = {"--prefix", "acme.", "--partitions", "5", NULL};
    const char *topics[] = {"acme.plans", "acme.predictions", "acme.deadletters"};
    struct err err = {0};

    start(f, more);
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

    start(f, NULL);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_FREE char *answer = get(f, cases[i].path);

        if (!strstr(answer, cases[i].says))
            fail_msg("%s: %s", cases[i].path, answer);
    }
}

static void journal_survives_a_kill_with_the_same_offsets(void **state)
{
    struct fixture *f = *state;
    static const char *const more[] = {"--topics", "t:4,other:1", NULL};
    enum { N = 1000 };

    start(f, more);
    connect_to(f, &f->a, "t");
    send_keys(&f->a, "t", 0, N);
    read_all(&f->a, "t", 4, N);
    wait_journalled(f, N);
    end(f, SIGKILL);
    start(f, more); /* on the same port */
    assert_int_equal(metric(f, "refilled_records"), N);
    assert_int_equal(metric(f, "journal_torn_bytes"), 0);
    connect_to(f, &f->b, "t");
    read_all(&f->b, "t", 4, N);
    same_messages(&f->a, &f->b);
}

static void new_messages_go_on_after_the_old_ones(void **state)
{
    struct fixture *f = *state;
    static const char *const more[] = {"--topics", "t:1", NULL};

    for (int64_t round = 0; round < 3; round++) {
        start(f, more);
        connect_to(f, &f->a, "t");
        recorder_send(&f->a, "t", 0, "k", "v");
        recorder_wait_delivered(&f->a, 1);
        assert_int_equal(f->a.delivered_offset, round);
        recorder_close(&f->a, 1000);
        wait_journalled(f, 1);
        end(f, SIGKILL);
    }
}

static void stop_keeps_everything_that_was_acknowledged(void **state)
{
    struct fixture *f = *state;
    static const char *const more[] = {"--topics", "t:4", NULL};
    enum { N = 5000 };
    int status;

    start(f, more);
    connect_to(f, &f->a, "t");
    for (int i = 0; i < N; i++)
        recorder_send(&f->a, "t", i % 4, "k", "v");
    recorder_wait_delivered(&f->a, N);
    status = end(f, SIGTERM); /* at once */
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_false(fsx_exists(f->address_file));
    start(f, more);
    assert_int_equal(metric(f, "refilled_records"), N);
}

static void topics_left_out_are_empty_again(void **state)
{
    struct fixture *f = *state;
    static const char *const more[] = {"--topics", "t:1,x.predictions:1", "--prefix", "x.", NULL};

    start(f, more);
    connect_to(f, &f->a, "t");
    recorder_send(&f->a, "t", 0, "k", "v");
    recorder_wait_delivered(&f->a, 1);
    recorder_send(&f->a, "x.predictions", 0, "k", "v");
    recorder_wait_delivered(&f->a, 2);
    assert_int_equal(f->a.delivered_offset, 0);
    end(f, SIGTERM);
    start(f, more);
    assert_int_equal(metric(f, "refilled_records"), 1);
}

/* Clients that stay see another cluster; what they had in hand comes after what was there before.
 */
static void clients_that_stay_meet_a_new_cluster_behind_the_old_log(void **state)
{
    struct fixture *f = *state;
    static const char *const more[] = {"--topics", "t:1", NULL};
    char old_id[BUS_CLUSTER_ID_SIZE];
    enum { N = 2000, LATE = 50 };

    start(f, more);
    connect_to(f, &f->a, "t");
    recorder_wait_count(&f->a, &f->a.connected, 1);
    str_copy(old_id, sizeof(old_id), f->a.cluster_id);
    for (int i = 0; i < N; i++)
        recorder_send(&f->a, "t", 0, "k", "early");
    recorder_wait_delivered(&f->a, N);
    wait_journalled(f, N);
    end(f, SIGKILL);
    for (int i = 0; i < LATE; i++)
        recorder_send(&f->a, "t", 0, "k", "late");
    start(f, more);
    recorder_wait_delivered(&f->a, N + LATE);
    recorder_wait_count(&f->a, &f->a.connected, 2);
    assert_string_not_equal(old_id, f->a.cluster_id);
    connect_to(f, &f->b, "t");
    read_all(&f->b, "t", 1, N + LATE);
    for (int i = 0; i < N + LATE; i++)
        assert_string_equal(find(&f->b, 0, i)->value, i < N ? "early" : "late");
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
    start(f, more);
    connect_to(f, &f->a, "t");
    for (int i = 1; i <= n; i++) { /* a batch each */
        recorder_send(&f->a, "t", 0, "k", "v");
        recorder_wait_delivered(&f->a, i);
        wait_journalled(f, i);
    }
    recorder_close(&f->a, 1000);
    end(f, SIGKILL);
}

static void torn_end_is_cut_and_told(void **state)
{
    struct fixture *f = *state;
    static const char *const more[] = {"--topics", "t:1", NULL};
    CLEANUP_FREE char *said = NULL;

    fill(f, more, 2);
    append_to(f->journal, "RLJB\1\2\3", 7);
    start(f, more);
    said = read_text(f->output);
    assert_non_null(strstr(said, "cut_bytes=7"));
    assert_int_equal(metric(f, "journal_torn_bytes"), 7);
    assert_int_equal(metric(f, "refilled_records"), 2);
}

static void damaged_middle_stops_the_start_until_salvaged(void **state)
{
    struct fixture *f = *state;
    static const char *const more[] = {"--topics", "t:1", NULL};
    static const char *const salvage[] = {"--topics", "t:1", "--salvage", NULL};
    int64_t size;
    int fd;

    fill(f, more, 3);
    size = fsx_size(f->journal);
    fd = open(f->journal, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "\xff\xff", 2, (off_t)(size / 2)), 2);
    close(fd);
    expect_refusal(f, more, "--salvage");
    assert_int_equal(fsx_size(f->journal), size);
    start(f, salvage);
    assert_int_equal(metric(f, "refilled_records") + metric(f, "refilled_placeholders"), 3);
    assert_true(metric(f, "refilled_placeholders") > 0); /* offsets stay what they were */
    end(f, SIGTERM);
    start(f, more); /* and is whole from then on */
}

static void other_partition_count_is_refused(void **state)
{
    struct fixture *f = *state;
    static const char *const four[] = {"--topics", "t:4", NULL};
    static const char *const eight[] = {"--topics", "t:8", NULL};

    start(f, four);
    end(f, SIGTERM);
    expect_refusal(f, eight, "topic t has 4 partitions in the journal and should have 8");
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
    snprintf(f->port, sizeof(f->port), "%d", ntohs(at.sin_port));
    expect_refusal(f, NULL, "is taken");
    close(fd);
}

static void journal_of_a_running_bus_is_refused(void **state)
{
    struct fixture *f = *state;
    pid_t first;

    start(f, NULL);
    first = f->pid;
    str_copy(f->port, sizeof(f->port), "0");
    expect_refusal(f, NULL, "in use by another relearn-broker");
    f->pid = first;
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
        T(torn_end_is_cut_and_told),
        T(damaged_middle_stops_the_start_until_salvaged),
        T(other_partition_count_is_refused),
        T(taken_port_is_told),
        T(journal_of_a_running_bus_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
