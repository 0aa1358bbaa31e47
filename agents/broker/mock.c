#include "agents/broker/mock.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "agents/broker/door.h"
#include "agents/broker/kick.h"
#include "agents/broker/relay.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/rng.h"

enum {
    MOCK_REQUEST_MS =
        5000, /* a request to a thread of our own: only a stuck process takes longer */
    MOCK_FLUSH_MS = 600000, /* a full journal at 100 MB/s takes seconds */
    MOCK_POLL_MS = 10,
    MOCK_X_MAX_BYTES = 4096,
#ifdef RELEARN_TEST
    SALT_BLOCKS = 2048, /* allocators of sanitizers do nothing else at random */
#else
    SALT_BLOCKS = 16,
#endif
    CUT_ROUNDS = 2000, /* of a millisecond */
};

struct mock {
    rd_kafka_t *host; /* the mock lives in it */
    rd_kafka_t
        *client; /* refills the mock and asks for ends; one of its own, so that it ends first */
    rd_kafka_mock_cluster_t *cluster;
    struct relay *relay;
    int port;
    struct err failure; /* of a delivery */
};

typedef const char *setting[2];
static const setting HOST[] = {
    {"socket.nagle.disable", "true"}, /* 40 ms stalls otherwise */
    {"receive.message.max.bytes", "200000000"},
};
static const setting CLIENT[] = {
    {"socket.nagle.disable", "true"},
    {"message.max.bytes", "6000000"}, /* whatever a client could send, the refill can */
    {"max.in.flight.requests.per.connection", "1"}, /* the order of the journal, retries or not */
    {"acks", "all"},
    {"compression.codec", "lz4"},
    {"linger.ms", "5"},
    {"batch.num.messages", "10000"},
    {"queue.buffering.max.messages", "200000"},
    {"queue.buffering.max.kbytes", "65536"},
};

static void on_log(const rd_kafka_t *rk, int level, const char *fac, const char *text)
{
    (void)rk;
    log_debug("broker.mock", "severity=%d facility=%s text=\"%s\"", level, fac, text);
}

static void on_delivered(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    struct mock *mock = opaque;
    int64_t should = (int64_t)(intptr_t)m->_private;

    (void)rk;
    if (mock->failure.code)
        return; /* the first one says it */
    if (m->err)
        err_set(&mock->failure, ERR_BUS, NEXT_FATAL, "refill %s[%d]@%lld: %s",
                rd_kafka_topic_name(m->rkt), m->partition, (long long)should,
                rd_kafka_err2str(m->err));
    else if (m->offset != should)
        err_set(&mock->failure, ERR_BUS, NEXT_FATAL,
                "refill %s[%d]: offset %lld where the journal has %lld",
                rd_kafka_topic_name(m->rkt), m->partition, (long long)m->offset, (long long)should);
}

static int set_x(rd_kafka_conf_t *conf, const char *x, struct err *err)
{
    char name[MOCK_X_MAX_BYTES], text[256];
    const char *eq = strchr(x, '=');

    if (!eq || !str_copy(name, sizeof(name), x))
        return err_inval(err, "-X %.40s: must be name=value", x);
    name[eq - x] = '\0';
    if (rd_kafka_conf_set(conf, name, eq + 1, text, sizeof(text)) != RD_KAFKA_CONF_OK)
        return err_inval(err, "-X %s: %s", name, text);
    return 0;
}

static int make_handle(struct mock *m, const setting *settings, size_t n, const char *const *x,
                       size_t n_x, rd_kafka_t **ret, struct err *err)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char text[256];

    for (size_t i = 0; i < n; i++)
        BUG_ON(rd_kafka_conf_set(conf, settings[i][0], settings[i][1], text, sizeof(text)) !=
               RD_KAFKA_CONF_OK);
    for (size_t i = 0; i < n_x; i++) {
        if (set_x(conf, x[i], err)) {
            rd_kafka_conf_destroy(conf);
            return -1;
        }
    }
    rd_kafka_conf_set_log_cb(conf, on_log);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivered);
    rd_kafka_conf_set_opaque(conf, m);
    *ret = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    if (*ret)
        return 0;
    rd_kafka_conf_destroy(conf);
    return err_set(err, ERR_BUS, NEXT_FATAL, "librdkafka: %s", text);
}

/* The mock's cluster id is made of its address, and a bus that was started again must not have the
 * id of the one before: address randomisation sees to that, unless it is off or the allocator is a
 * sanitizer's.  So the address is moved by a random number of blocks of every size it may have. */
static rd_kafka_mock_cluster_t *new_cluster(rd_kafka_t *rk)
{
    static const size_t sizes[] = {512, 768, 1024, 1152, 1280, 1536, 2048};
    void **salt = xcalloc(ARRAY_LEN(sizes) * SALT_BLOCKS, sizeof(*salt));
    uint64_t seed = rng_os_seed();
    size_t n = 0;
    rd_kafka_mock_cluster_t *cluster;
    sigset_t all, before;

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        for (uint64_t k = 0; k < (seed + i * 31) % SALT_BLOCKS; k++)
            salt[n++] = xmalloc(sizes[i]);
    }
    /* A signal that its thread gets ends the mock: it takes the interrupted poll for a failure. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    cluster = rd_kafka_mock_cluster_new(rk, 1);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    while (n > 0)
        free(salt[--n]);
    free(salt);
    return cluster;
}

int mock_open(int port, const char *const *x, size_t n_x, struct mock **ret, struct err *err)
{
    struct mock *m = xcalloc(1, sizeof(*m));
    int fd;

    if (make_handle(m, HOST, ARRAY_LEN(HOST), x, n_x, &m->host, err) ||
        make_handle(m, CLIENT, ARRAY_LEN(CLIENT), NULL, 0, &m->client, err) ||
        relay_start(&m->relay, err) || door_listen(port, &fd, &m->port, err)) {
        mock_close(m);
        return -1;
    }
    door_set_relay(m->relay);
    door_set_open(false);
    door_offer(fd);
    m->cluster = new_cluster(m->host);
    door_offer(-1);
    if (!m->cluster) {
        close(fd);
        mock_close(m);
        return err_set(err, ERR_BUS, NEXT_FATAL, "librdkafka: no mock cluster");
    }
    close(fd); /* the mock has its own by now */
    rd_kafka_brokers_add(m->client, mock_address(m));
    *ret = m;
    return 0;
}

void mock_close(struct mock *m)
{
    struct kick *kick;

    if (!m)
        return;
    if (m->client)
        rd_kafka_destroy(m->client);
    if (m->cluster) {
        kick = kick_start(mock_address(m));
        rd_kafka_mock_cluster_destroy(m->cluster);
        kick_stop(kick);
    }
    door_set_relay(NULL);
    relay_stop(m->relay);
    if (m->host)
        rd_kafka_destroy(m->host);
    free(m);
}

const char *mock_address(const struct mock *m)
{
    return rd_kafka_mock_cluster_bootstraps(m->cluster);
}

int mock_topics(struct mock *m, const struct topics *t, struct err *err)
{
    struct kick *kick = kick_start(mock_address(m));
    rd_kafka_resp_err_t e = RD_KAFKA_RESP_ERR_NO_ERROR;
    size_t i;

    for (i = 0; i < t->n && !e; i++)
        e = rd_kafka_mock_topic_create(m->cluster, t->items[i].name, t->items[i].partitions, 1);
    kick_stop(kick);
    return e ? err_set(err, ERR_BUS, NEXT_FATAL, "create topic %s: %s", t->items[i - 1].name,
                       rd_kafka_err2str(e))
             : 0;
}

/* Without it the first message of each topic waits for up to a second. */
int mock_refill_begin(struct mock *m, struct err *err)
{
    const struct rd_kafka_metadata *md;
    rd_kafka_resp_err_t e = rd_kafka_metadata(m->client, 1, NULL, &md, MOCK_REQUEST_MS);

    if (e)
        return err_set(err, ERR_BUS, NEXT_FATAL, "metadata: %s", rd_kafka_err2str(e));
    rd_kafka_metadata_destroy(md);
    return 0;
}

int mock_refill(struct mock *m, const struct bus_message *message, struct err *err)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(message->n_headers);
    rd_kafka_resp_err_t e;

    for (size_t i = 0; i < message->n_headers; i++)
        rd_kafka_header_add(headers, message->headers[i].name, -1, message->headers[i].value,
                            (ssize_t)message->headers[i].n);
    for (;;) {
        FAULT_AT(produce, "broker.refill.produce");
        e = rd_kafka_producev(m->client, RD_KAFKA_V_TOPIC(message->topic),
                              RD_KAFKA_V_PARTITION(message->partition),
                              RD_KAFKA_V_KEY(message->key, message->key_n),
                              RD_KAFKA_V_VALUE((void *)(uintptr_t)message->value, message->value_n),
                              RD_KAFKA_V_TIMESTAMP(message->timestamp_ms),
                              RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_HEADERS(headers),
                              RD_KAFKA_V_OPAQUE((void *)(intptr_t)message->offset), RD_KAFKA_V_END);
        if (e != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            break;
        rd_kafka_poll(m->client, MOCK_POLL_MS);
    }
    if (!e)
        return 0;
    rd_kafka_headers_destroy(headers);
    return err_set(err, ERR_BUS, NEXT_FATAL, "refill %s[%d]@%lld: %s", message->topic,
                   message->partition, (long long)message->offset, rd_kafka_err2str(e));
}

int mock_flush(struct mock *m, struct err *err)
{
    rd_kafka_resp_err_t e = rd_kafka_flush(m->client, MOCK_FLUSH_MS);

    if (m->failure.code) {
        *err = m->failure;
        return -1;
    }
    return e ? err_set(err, ERR_TIMEOUT, NEXT_FATAL, "refill: %s", rd_kafka_err2str(e)) : 0;
}

void mock_admit(struct mock *m, bool others)
{
    (void)m;
    door_set_open(others);
}

int mock_cut_others(struct mock *m)
{
    int n, all = 0;

    door_set_open(false);
    for (int round = 0; round < CUT_ROUNDS && (n = door_cut_outsiders(m->port)) > 0; round++) {
        all += round == 0 ? n : 0;
        rd_kafka_poll(m->client, 1); /* meanwhile the mock closes them */
    }
    return all;
}

int mock_ends(struct mock *m, struct bus_position *list, size_t n, struct err *err)
{
    rd_kafka_topic_partition_list_t *ask = rd_kafka_topic_partition_list_new((int)n);
    rd_kafka_resp_err_t e;

    /* One request for all of them: the "time" -1 means the end. */
    for (size_t i = 0; i < n; i++)
        rd_kafka_topic_partition_list_add(ask, list[i].topic, list[i].partition)->offset =
            BUS_OFFSET_LATEST;
    e = n ? rd_kafka_offsets_for_times(m->client, ask, MOCK_REQUEST_MS) : 0;
    for (size_t i = 0; i < n && !e; i++) {
        const rd_kafka_topic_partition_t *got =
            rd_kafka_topic_partition_list_find(ask, list[i].topic, list[i].partition);

        e = got ? got->err : RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
        if (!e)
            list[i].offset = got->offset;
    }
    rd_kafka_topic_partition_list_destroy(ask);
    return e ? err_set(err, ERR_BUS, NEXT_RETRY, "ends: %s", rd_kafka_err2str(e)) : 0;
}
