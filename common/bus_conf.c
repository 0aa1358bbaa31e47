/* librdkafka's settings, with a reason for each, and its errors in our words. */
#include "common/bus_internal.h"

#include <string.h>

#include "common/log.h"
#include "common/mem.h"

enum { BUS_X_MAX_BYTES = 4096 }; /* one -X: long enough for a PEM path or a JAAS line */

struct setting {
    const char *name, *value;
    bool may_be_unknown; /* newer than 2.0.2 */
};

static const struct setting COMMON[] = {
    {"socket.nagle.disable", "true", false}, /* on by default before 2.10: 40 ms stalls */
    {"reconnect.backoff.ms", "50", false}, /* loopback and LAN: be back as soon as the broker is */
    {"reconnect.backoff.max.ms", "1000", false},
    {"retry.backoff.ms", "50", false},
    {"topic.metadata.refresh.interval.ms", "60000", false},
    {"message.max.bytes", "5000000",
     false}, /* a record (4 MiB) and its headers; the broker may say less */
    {"log.connection.close", "false", false},
    {NULL, NULL, false},
};
static const struct setting PRODUCER[] = {
    {"enable.idempotence", "true", false}, /* order within a partition survives retries */
    {"acks", "all", false},
    {"compression.codec", "lz4", false},      /* both buses take it; zstd costs memory per handle */
    {"partitioner", "murmur2_random", false}, /* we choose ourselves; the same for who looks */
    {"message.timeout.ms", "60000", false},   /* then the runtime decides, not the client */
    {"queue.buffering.max.kbytes", "65536", false}, /* full: NEXT_RETRY, back-pressure */
    {NULL, NULL, false},
};
/* A control event must not wait; less than 1 ms becomes 1. */
static const struct setting AT_ONCE[] = {{"linger.ms", "0", false}, {NULL, NULL, false}};
/* Predictions and labels: the client's thread is woken once for many, and not for each, which costs
 * more than answering the request that it comes from. */
static const struct setting BULK[] = {
    /* What lingers may come twice, by its id. The idempotent producer of 2.0.2 ends for good when
     * a partition's leader changes under load (fixed in 2.3), and what it held would be lost. */
    {"enable.idempotence", "false", false},
    {"max.in.flight.requests.per.connection", "1", false}, /* order survives retries */
    {"linger.ms", "5", false},
    {NULL, NULL, false}};
static const struct setting CONSUMER[] = {
    {"enable.auto.commit", "false", false}, /* offsets last: a commit follows the effect */
    {"enable.auto.offset.store", "false", false},
    {"auto.offset.reset", "earliest",
     false}, /* read too much rather than too little: ids count once */
    {"enable.partition.eof", "true", false},
    {"check.crcs", "true", false},
    {"partition.assignment.strategy", "range",
     false},                                  /* one for all: two different ones abort the mock */
    {"session.timeout.ms", "10000", false},   /* the mock needs that; Kafka allows it */
    {"heartbeat.interval.ms", "1000", false}, /* a rebalance is learned by heartbeat */
    {"fetch.error.backoff.ms", "50", false},
    {"fetch.queue.backoff.ms", "50", true}, /* since 2.2: 1 s of stall after a full queue */
    /* Prefetch. Small numbers are no virtue: when they are reached, 2.0.2 looks again after a
     * second. A backlog costs that much memory, an idle consumer nothing. */
    {"queued.min.messages", "100000", false},
    {"queued.max.messages.kbytes", "65536", false},
    {"allow.auto.create.topics", "false", false},
    {NULL, NULL, false},
};
/* How long a Fetch may wait for news.  The mock does not cut a wait short when data comes (behind
 * relearn-broker's relay that is mended, but any mock may be met); a real broker does.  There it is
 * still only 200: a partition that is resumed, sought or newly assigned is asked for when the Fetch
 * that is out comes back, so an agent is ready after 200 ms with 100 and after 350 with 250; at
 * rest all agents together take 3.6 % of a core with 100, 3.2 with 150 and 2.6 with 250. */
static const struct setting EMBEDDED[] = {{"fetch.wait.max.ms", "10", false}, {NULL, NULL, false}};
static const struct setting REAL[] = {{"fetch.wait.max.ms", "200", false}, {NULL, NULL, false}};

/* What the guarantees rest on cannot be changed by -X. */
static const char *const FIXED[] = {
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.partition.eof",
    "auto.offset.reset",
    "bootstrap.servers",
    "metadata.broker.list",
    "group.id",
    "client.id",
    "partitioner",
    "log.queue",
};

bool bus__id_is_embedded(const char *cluster_id)
{
    return str_has_prefix(cluster_id, "mockCluster");
}

int bus__err(struct err *err, rd_kafka_resp_err_t e, const char *what, const char *detail)
{
    enum err_code code = ERR_BUS;
    enum err_next next = NEXT_RETRY;

    switch (e) {
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
        code = ERR_LIMIT;
        next = NEXT_REJECT;
        break;
    case RD_KAFKA_RESP_ERR__QUEUE_FULL:
        code = ERR_LIMIT;
        break;
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
        code = ERR_TIMEOUT;
        break;
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
        code = ERR_NOTFOUND;
        break;
    case RD_KAFKA_RESP_ERR__PURGE_QUEUE:
    case RD_KAFKA_RESP_ERR__PURGE_INFLIGHT:
        code = ERR_CANCELED;
        break;
    case RD_KAFKA_RESP_ERR__INVALID_ARG:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
        code = ERR_INVAL;
        next = NEXT_REJECT;
        break;
    case RD_KAFKA_RESP_ERR__FATAL:
    case RD_KAFKA_RESP_ERR__FENCED:
        next = NEXT_FATAL;
        break;
    default:
        break;
    }
    return err_set(err, code, next, "kafka: %s: %s", what, detail ? detail : rd_kafka_err2str(e));
}

/* librdkafka's own threads call this: log.h may be used from any. */
static void on_log(const rd_kafka_t *rk, int level, const char *fac, const char *text)
{
    log_debug("bus.client", "handle=%s severity=%d facility=%s text=\"%s\"", rd_kafka_name(rk),
              level, fac, text);
}

static int apply(rd_kafka_conf_t *rc, const struct setting *list, struct err *err)
{
    char text[256];

    for (; list->name; list++) {
        rd_kafka_conf_res_t res =
            rd_kafka_conf_set(rc, list->name, list->value, text, sizeof(text));

        if (res == RD_KAFKA_CONF_OK || (res == RD_KAFKA_CONF_UNKNOWN && list->may_be_unknown))
            continue;
        return err_set(err, ERR_BUS, NEXT_FATAL, "kafka: %s=%s: %s", list->name, list->value, text);
    }
    return 0;
}

static int apply_x(rd_kafka_conf_t *rc, const char *x, struct err *err)
{
    char name[BUS_X_MAX_BYTES], text[256];
    const char *eq = strchr(x, '=');

    if (!eq || eq == x)
        return err_inval(err, "-X %s: must be name=value", x);
    if (!str_copy(name, sizeof(name), x))
        return err_inval(err, "-X %.40s...: longer than %d bytes", x, BUS_X_MAX_BYTES);
    name[eq - x] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(FIXED); i++) {
        if (strcmp(FIXED[i], name) == 0)
            return err_inval(err, "-X %s: this property is set by relearn and cannot be changed",
                             name);
    }
    if (rd_kafka_conf_set(rc, name, eq + 1, text, sizeof(text)) != RD_KAFKA_CONF_OK)
        return err_inval(err, "-X %s: %s", name, text);
    return 0;
}

static int identify(rd_kafka_conf_t *rc, const struct bus_conf *conf, bool consumer,
                    struct err *err)
{
    CLEANUP_FREE char *group =
        conf->group ? xstrdup(conf->group) : xasprintf("%s.reader", conf->client_id);
    const struct setting who[] = {
        {"bootstrap.servers", conf->brokers, false},
        {"client.id", conf->client_id, false},
        {consumer ? "group.id" : NULL, group,
         false}, /* assign() wants one, even if nothing commits */
        {NULL, NULL, false},
    };

    return apply(rc, who, err);
}

/* `more` says what the half has of its own. */
static rd_kafka_conf_t *make_conf(const struct bus_conf *conf, bool consumer,
                                  const struct setting *more, struct err *err)
{
    rd_kafka_conf_t *rc = rd_kafka_conf_new();

    if (apply(rc, COMMON, err) || apply(rc, consumer ? CONSUMER : PRODUCER, err) ||
        apply(rc, more, err))
        goto fail;
    for (size_t i = 0; i < conf->n_x; i++) {
        if (apply_x(rc, conf->x[i], err))
            goto fail;
    }
    if (identify(rc, conf, consumer, err))
        goto fail;
    rd_kafka_conf_set_log_cb(rc, on_log);
    rd_kafka_conf_set_events(rc, consumer
                                     ? RD_KAFKA_EVENT_FETCH | RD_KAFKA_EVENT_ERROR |
                                           RD_KAFKA_EVENT_REBALANCE | RD_KAFKA_EVENT_OFFSET_COMMIT
                                     : RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR);
    return rc;
fail:
    rd_kafka_conf_destroy(rc);
    return NULL;
}

static int make(const struct bus_conf *conf, bool consumer, const struct setting *more,
                rd_kafka_t **ret, struct err *err)
{
    char text[512];
    rd_kafka_conf_t *rc = make_conf(conf, consumer, more, err);
    rd_kafka_t *rk;

    if (!rc)
        return -1;
    rk = rd_kafka_new(consumer ? RD_KAFKA_CONSUMER : RD_KAFKA_PRODUCER, rc, text, sizeof(text));
    if (!rk) {
        rd_kafka_conf_destroy(rc);
        return err_set(err, ERR_BUS, NEXT_FATAL, "kafka: %s", text);
    }
    *ret = rk;
    return 0;
}

int bus__make_producer(const struct bus_conf *conf, bool is_bulk, rd_kafka_t **ret, struct err *err)
{
    return make(conf, false, is_bulk ? BULK : AT_ONCE, ret, err);
}

int bus__check_consumer(const struct bus_conf *conf, struct err *err)
{
    rd_kafka_conf_t *rc = make_conf(conf, true, REAL, err);

    if (!rc)
        return -1;
    rd_kafka_conf_destroy(rc);
    return 0;
}

int bus__make_consumer(const struct bus_conf *conf, bool embedded, rd_kafka_t **ret,
                       struct err *err)
{
    if (make(conf, true, embedded ? EMBEDDED : REAL, ret, err))
        return -1;
    rd_kafka_poll_set_consumer(*ret);
    return 0;
}
