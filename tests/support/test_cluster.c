#include "tests/support/test_cluster.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "agents/broker/kick.h"
#include "common/bus.h"
#include "common/digest.h"
#include "common/mem.h"

enum { TOPIC_WAIT_MS = 30000, REQUEST_ERRORS_MAX = 16 };

struct test_cluster {
    bool is_real;
    const char *brokers;
    rd_kafka_t *rk; /* the mock lives in it */
    rd_kafka_mock_cluster_t *mock;
    char unique[ID_SIZE];
    struct arena names;
};

static void quiet(const rd_kafka_t *rk, int level, const char *fac, const char *text)
{
    (void)rk, (void)level, (void)fac, (void)text;
}

struct test_cluster *test_cluster_new(void)
{
    struct test_cluster *c = xcalloc(1, sizeof(*c));
    rd_kafka_conf_t *conf;
    char text[256];
    sigset_t all, before;

    id_random(c->unique);
    c->unique[8] = '\0';
    c->brokers = getenv("RELEARN_TEST_BROKERS");
    c->is_real = c->brokers && c->brokers[0];
    if (c->is_real)
        return c;
    conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, quiet);
    rd_kafka_conf_set(conf, "socket.nagle.disable", "true", text, sizeof(text));
    c->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    BUG_ON(!c->rk);
    sigfillset(&all); /* a signal in its thread would end the mock */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    c->mock = rd_kafka_mock_cluster_new(c->rk, 1);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    BUG_ON(!c->mock);
    c->brokers = rd_kafka_mock_cluster_bootstraps(c->mock);
    return c;
}

void test_cluster_free(struct test_cluster *c)
{
    if (!c)
        return;
    if (c->mock) {
        struct kick *kick = kick_start(c->brokers);

        rd_kafka_mock_cluster_destroy(c->mock);
        kick_stop(kick);
    }
    if (c->rk)
        rd_kafka_destroy(c->rk);
    arena_fini(&c->names);
    free(c);
}

bool test_cluster_is_real(const struct test_cluster *c)
{
    return c->is_real;
}

const char *test_cluster_brokers(const struct test_cluster *c)
{
    return c->brokers;
}

const char *test_cluster_name(struct test_cluster *c, const char *name)
{
    return arena_printf(&c->names, "test.%s.%s", c->unique, name);
}

const char *test_cluster_topic(struct test_cluster *c, const char *name, int partitions)
{
    const char *topic = test_cluster_name(c, name);
    const struct bus_conf conf = {.brokers = c->brokers, .client_id = "test"};
    const struct bus_topic_spec spec = {
        .name = topic, .partitions = partitions, .replication = 1, .retention_ms = -1};
    struct err err = {0};

    if (c->mock) {
        struct kick *kick = kick_start(c->brokers);

        BUG_ON(rd_kafka_mock_topic_create(c->mock, topic, partitions, 1));
        kick_stop(kick);
    } else if (bus_create_topics(&conf, &spec, 1, TOPIC_WAIT_MS, NULL, NULL, &err)) {
        fprintf(stderr, "create topic %s: %s\n", topic, err.msg);
        abort();
    }
    return topic;
}

void test_cluster_down(struct test_cluster *c)
{
    struct kick *kick = kick_start(c->brokers);

    BUG_ON(!c->mock);
    rd_kafka_mock_broker_set_down(c->mock, 1);
    kick_stop(kick);
}

void test_cluster_up(struct test_cluster *c)
{
    BUG_ON(!c->mock);
    rd_kafka_mock_broker_set_up(c->mock,
                                1); /* may take a second: nothing listens that could wake it */
}

void test_cluster_fail(struct test_cluster *c, int api_key, int n, int error)
{
    rd_kafka_resp_err_t errors[REQUEST_ERRORS_MAX];

    BUG_ON(!c->mock || n > REQUEST_ERRORS_MAX);
    for (int i = 0; i < n; i++)
        errors[i] = (rd_kafka_resp_err_t)error;
    rd_kafka_mock_push_request_errors_array(c->mock, (int16_t)api_key, (size_t)n, errors);
}
