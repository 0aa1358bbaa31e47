/* Administration for command lines: blocking, each call with a handle of its own. */
#include "common/bus_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/clk.h"
#include "common/fault.h"
#include "common/mem.h"

enum {
    ADMIN_TOPICS_MAX = 1000
}; /* one request: far above the catalogue, bounds what a caller may ask */

struct admin {
    rd_kafka_t *rk;
    rd_kafka_queue_t *q;
    int64_t deadline_ms;
};

static void admin_close(struct admin *a)
{
    if (a->q)
        rd_kafka_queue_destroy(a->q);
    if (a->rk)
        rd_kafka_destroy(a->rk);
    *a = (struct admin){0};
}

static int left_ms(const struct admin *a)
{
    int64_t left = a->deadline_ms - clk_mono_ms(&clk_system);

    return left < 1 ? 1 : left > INT32_MAX ? INT32_MAX : (int)left;
}

static int admin_open(struct admin *a, const struct bus_conf *conf, size_t n, int64_t timeout_ms,
                      struct err *err)
{
    char *id;

    if (n > ADMIN_TOPICS_MAX)
        return err_inval(err, "%zu topics: at most %d", n, ADMIN_TOPICS_MAX);
    a->deadline_ms = clk_mono_ms(&clk_system) + timeout_ms;
    if (bus__make_producer(conf, false, &a->rk, err))
        return -1;
    a->q = rd_kafka_queue_new(a->rk);
    id = rd_kafka_clusterid(a->rk, left_ms(a));
    if (!id)
        return err_set(err, ERR_TIMEOUT, NEXT_RETRY, "no broker at %s answers", conf->brokers);
    if (bus__id_is_embedded(id)) {
        rd_kafka_mem_free(a->rk, id);
        return err_inval(err,
                         "%s is an embedded bus: relearn-broker makes its topics when it starts "
                         "(--topics, --partitions)",
                         conf->brokers);
    }
    rd_kafka_mem_free(a->rk, id);
    return 0;
}

static rd_kafka_AdminOptions_t *options(const struct admin *a, rd_kafka_admin_op_t op)
{
    rd_kafka_AdminOptions_t *o = rd_kafka_AdminOptions_new(a->rk, op);
    char text[256];
    int wait_ms = left_ms(a);

    rd_kafka_AdminOptions_set_request_timeout(o, wait_ms, text, sizeof(text));
    if (op == RD_KAFKA_ADMIN_OP_CREATETOPICS) /* answered when the topics are there */
        rd_kafka_AdminOptions_set_operation_timeout(o, wait_ms, text, sizeof(text));
    return o;
}

static rd_kafka_event_t *wait_result(struct admin *a, struct err *err)
{
    rd_kafka_event_t *ev = rd_kafka_queue_poll(a->q, left_ms(a) + 1000);

    if (ev && !rd_kafka_event_error(ev))
        return ev;
    if (ev)
        bus__err(err, rd_kafka_event_error(ev), "admin", rd_kafka_event_error_string(ev));
    else
        err_set(err, ERR_TIMEOUT, NEXT_RETRY, "kafka: admin: no answer in time");
    if (ev)
        rd_kafka_event_destroy(ev);
    return NULL;
}

/* A Kafka refuses what a writer dates an hour ahead, so one wrong clock would stop an agent; and
 * retention is about when an event came. What an event says of its own time is in its header. */
static const char TIMESTAMPS[] = "LogAppendTime";

/* ---- create ---------------------------------------------------------------------------------- */

static rd_kafka_NewTopic_t *new_topic(const struct bus_topic_spec *s, struct err *err)
{
    char text[256], number[32];
    rd_kafka_NewTopic_t *t =
        rd_kafka_NewTopic_new(s->name, s->partitions, s->replication, text, sizeof(text));

    if (!t) {
        err_inval(err, "topic %s: %s", s->name, text);
        return NULL;
    }
    snprintf(number, sizeof(number), "%" PRId64, s->retention_ms);
    rd_kafka_NewTopic_set_config(t, "cleanup.policy", s->compacted ? "compact" : "delete");
    rd_kafka_NewTopic_set_config(t, "retention.ms", number);
    rd_kafka_NewTopic_set_config(t, "message.timestamp.type", TIMESTAMPS);
    if (s->max_message_bytes > 0) {
        snprintf(number, sizeof(number), "%" PRId64, s->max_message_bytes);
        rd_kafka_NewTopic_set_config(t, "max.message.bytes", number);
    }
    if (s->min_in_sync > 0) {
        snprintf(number, sizeof(number), "%d", s->min_in_sync);
        rd_kafka_NewTopic_set_config(t, "min.insync.replicas", number);
    }
    return t;
}

static int report_created(rd_kafka_event_t *ev,
                          void (*on_topic)(void *ctx, const char *name, const char *what),
                          void *ctx, struct err *err)
{
    size_t n = 0;
    const rd_kafka_topic_result_t **list =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(ev), &n);
    int rc = 0;

    for (size_t i = 0; i < n; i++) {
        rd_kafka_resp_err_t e = rd_kafka_topic_result_error(list[i]);
        const char *name = rd_kafka_topic_result_name(list[i]);
        const char *why = rd_kafka_topic_result_error_string(list[i]);
        const char *what = "created";

        if (e == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
            what = "exists";
        else if (e)
            what = why ? why : rd_kafka_err2str(e);
        if (on_topic)
            on_topic(ctx, name, what);
        if (e && e != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
            rc = bus__err(err, e, name, why);
    }
    return rc;
}

static bool is_in(const struct rd_kafka_metadata *md, const char *topic)
{
    for (int i = 0; i < md->topic_cnt; i++) {
        const struct rd_kafka_metadata_topic *t = &md->topics[i];

        if (!t->err && t->partition_cnt > 0 && strcmp(t->topic, topic) == 0)
            return true;
    }
    return false;
}

/* A broker says "created" a little before it knows the topic itself. */
static int wait_visible(struct admin *a, const struct bus_topic_spec *specs, size_t n,
                        struct err *err)
{
    const char *missing = NULL;

    do {
        const struct rd_kafka_metadata *md;
        rd_kafka_resp_err_t e = rd_kafka_metadata(a->rk, 1, NULL, &md, left_ms(a));

        if (e)
            return bus__err(err, e, "metadata", NULL);
        missing = NULL;
        for (size_t i = 0; i < n && !missing; i++)
            missing = is_in(md, specs[i].name) ? NULL : specs[i].name;
        rd_kafka_metadata_destroy(md);
        if (missing)
            rd_kafka_poll(a->rk, 20); /* a pause, for as long as brokers take to tell each other */
    } while (missing && left_ms(a) > 1);
    return missing
               ? err_set(err, ERR_TIMEOUT, NEXT_RETRY, "%s was created and is not seen", missing)
               : 0;
}

int bus_create_topics(const struct bus_conf *conf, const struct bus_topic_spec *specs, size_t n,
                      int64_t timeout_ms,
                      void (*on_topic)(void *ctx, const char *name, const char *what), void *ctx,
                      struct err *err)
{
    CLEANUP(admin_close) struct admin a = {0};
    rd_kafka_NewTopic_t **list;
    rd_kafka_AdminOptions_t *o;
    rd_kafka_event_t *ev = NULL;
    size_t made = 0;
    int rc = -1;

    if (admin_open(&a, conf, n, timeout_ms, err))
        return -1;
    list = xcalloc(n + 1, sizeof(*list));
    while (made < n && (list[made] = new_topic(&specs[made], err)))
        made++;
    if (made == n) {
        o = options(&a, RD_KAFKA_ADMIN_OP_CREATETOPICS);
        FAULT_AT(produce, "bus.create_topics.before");
        rd_kafka_CreateTopics(a.rk, list, n, o, a.q);
        FAULT_AT(produce, "bus.create_topics.after");
        rd_kafka_AdminOptions_destroy(o);
        ev = wait_result(&a, err);
    }
    if (ev) {
        rc = report_created(ev, on_topic, ctx, err);
        rd_kafka_event_destroy(ev);
    }
    rd_kafka_NewTopic_destroy_array(list, made);
    free_ptr(&list);
    return rc ? -1 : wait_visible(&a, specs, n, err);
}

/* ---- check ----------------------------------------------------------------------------------- */

struct difference {
    void (*fn)(void *ctx, const char *name, const char *what);
    void *ctx;
};
struct check {
    const struct bus_topic_spec *specs;
    const struct difference *d;
};

static void differ(const struct difference *d, const char *name, const char *fmt, ...) PRINTF(3, 4);
static void differ(const struct difference *d, const char *name, const char *fmt, ...)
{
    char what[256];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    d->fn(d->ctx, name, what);
}

static const struct rd_kafka_metadata_topic *topic_in(const struct rd_kafka_metadata *md,
                                                      const char *name)
{
    for (int i = 0; i < md->topic_cnt; i++) {
        if (strcmp(md->topics[i].topic, name) == 0 && !md->topics[i].err)
            return &md->topics[i];
    }
    return NULL;
}

static void check_shape(const struct rd_kafka_metadata *md, const struct bus_topic_spec *s,
                        const struct difference *d)
{
    const struct rd_kafka_metadata_topic *t = topic_in(md, s->name);

    if (!t) {
        differ(d, s->name, "missing");
        return;
    }
    if (t->partition_cnt != s->partitions)
        differ(d, s->name, "partitions %d, should be %d", t->partition_cnt, s->partitions);
    if (s->replication > 0 && t->partition_cnt > 0 &&
        t->partitions[0].replica_cnt != s->replication)
        differ(d, s->name, "replication %d, should be %d", t->partitions[0].replica_cnt,
               s->replication);
}

static void check_least(const char *name, const char *value, int64_t least,
                        const struct bus_topic_spec *s, const struct difference *d)
{
    int64_t is;

    if (value && str_to_i64(value, &is) == 0 && is < least)
        differ(d, s->name, "%s %s, should be %" PRId64 " or more", name, value, least);
}

static void check_config(const rd_kafka_ConfigResource_t *r, void *ctx, size_t k)
{
    const struct check *c = ctx;
    const struct difference *d = c->d;
    const struct bus_topic_spec *s = &c->specs[k];
    size_t n = 0;
    const rd_kafka_ConfigEntry_t **list = rd_kafka_ConfigResource_configs(r, &n);
    const char *policy = s->compacted ? "compact" : "delete";
    char retention[32];

    snprintf(retention, sizeof(retention), "%" PRId64, s->retention_ms);
    for (size_t i = 0; i < n; i++) {
        const char *name = rd_kafka_ConfigEntry_name(list[i]);
        const char *value = rd_kafka_ConfigEntry_value(list[i]);
        const char *should = NULL;

        if (strcmp(name, "max.message.bytes") == 0)
            check_least(name, value, s->max_message_bytes, s, d);
        else if (strcmp(name, "min.insync.replicas") == 0)
            check_least(name, value, s->min_in_sync, s, d);
        else if (strcmp(name, "cleanup.policy") == 0)
            should = policy;
        else if (strcmp(name, "message.timestamp.type") == 0)
            should = TIMESTAMPS;
        else if (strcmp(name, "retention.ms") == 0 && !s->compacted)
            should = retention; /* compaction keeps the newest whatever this says */
        if (should && value && strcmp(value, should) != 0)
            differ(d, s->name, "%s %s, should be %s", name, value, should);
    }
}

/* Tells fn the settings of each topic that has any; k is its place among the names. */
static int each_config(struct admin *a, const char *const *names, size_t n,
                       void (*fn)(const rd_kafka_ConfigResource_t *r, void *ctx, size_t k),
                       void *ctx, struct err *err)
{
    rd_kafka_ConfigResource_t **ask = xcalloc(n + 1, sizeof(*ask));
    rd_kafka_AdminOptions_t *o = options(a, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    const rd_kafka_ConfigResource_t **got;
    rd_kafka_event_t *ev;
    size_t n_got = 0;

    for (size_t i = 0; i < n; i++)
        ask[i] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, names[i]);
    rd_kafka_DescribeConfigs(a->rk, ask, n, o, a->q);
    rd_kafka_AdminOptions_destroy(o);
    ev = wait_result(a, err);
    rd_kafka_ConfigResource_destroy_array(ask, n);
    free_ptr(&ask);
    if (!ev)
        return -1;
    got = rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(ev),
                                                    &n_got);
    for (size_t i = 0; i < n_got; i++) {
        for (size_t k = 0; k < n; k++) {
            if (strcmp(rd_kafka_ConfigResource_name(got[i]), names[k]) == 0)
                fn(got[i], ctx, k);
        }
    }
    rd_kafka_event_destroy(ev);
    return 0;
}

static int check_configs(struct admin *a, const struct bus_topic_spec *specs, size_t n,
                         const struct difference *d, struct err *err)
{
    struct check c = {specs, d};
    const char **names = xcalloc(n + 1, sizeof(*names));
    int rc;

    for (size_t i = 0; i < n; i++)
        names[i] = specs[i].name;
    rc = each_config(a, names, n, check_config, &c, err);
    free_ptr(&names);
    return rc;
}

int bus_check_topics(const struct bus_conf *conf, const struct bus_topic_spec *specs, size_t n,
                     int64_t timeout_ms,
                     void (*on_difference)(void *ctx, const char *name, const char *what),
                     void *ctx, struct err *err)
{
    CLEANUP(admin_close) struct admin a = {0};
    const struct difference d = {on_difference, ctx};
    const struct rd_kafka_metadata *md;
    rd_kafka_resp_err_t e;

    if (admin_open(&a, conf, n, timeout_ms, err))
        return -1;
    e = rd_kafka_metadata(a.rk, 1, NULL, &md, left_ms(&a));
    if (e)
        return bus__err(err, e, "metadata", NULL);
    for (size_t i = 0; i < n; i++)
        check_shape(md, &specs[i], &d);
    rd_kafka_metadata_destroy(md);
    return n ? check_configs(&a, specs, n, &d, err) : 0;
}

/* ---- state ----------------------------------------------------------------------------------- */

static void state_of_config(const rd_kafka_ConfigResource_t *r, void *ctx, size_t k)
{
    struct bus_topic_state *s = (struct bus_topic_state *)ctx + k;
    size_t n = 0;
    const rd_kafka_ConfigEntry_t **list = rd_kafka_ConfigResource_configs(r, &n);

    for (size_t i = 0; i < n; i++) {
        const char *name = rd_kafka_ConfigEntry_name(list[i]);
        const char *value = rd_kafka_ConfigEntry_value(list[i]);
        int64_t least;

        if (strcmp(name, "min.insync.replicas") == 0 && value && str_to_i64(value, &least) == 0 &&
            least > 0 && least < INT32_MAX)
            s->min_in_sync = (int)least;
        else if (strcmp(name, "message.timestamp.type") == 0 && value)
            s->is_dated = strcmp(value, TIMESTAMPS) == 0;
    }
}

static void state_of_shape(const struct rd_kafka_metadata *md, const char *name,
                           struct bus_topic_state *s)
{
    const struct rd_kafka_metadata_topic *t = topic_in(md, name);

    for (int i = 0; t && i < t->partition_cnt; i++) {
        const struct rd_kafka_metadata_partition *p = &t->partitions[i];

        if (i == 0 || p->replica_cnt < s->copies)
            s->copies = p->replica_cnt;
        if (i == 0 || p->isr_cnt < s->in_sync)
            s->in_sync = p->isr_cnt;
    }
}

int bus_topic_states(const struct bus_conf *conf, const char *const *names, size_t n,
                     int64_t timeout_ms, struct bus_topic_state *ret, int *ret_brokers,
                     struct err *err)
{
    CLEANUP(admin_close) struct admin a = {0};
    const struct rd_kafka_metadata *md;
    rd_kafka_resp_err_t e;

    memset(ret, 0, n * sizeof(*ret));
    if (admin_open(&a, conf, n, timeout_ms, err))
        return -1;
    e = rd_kafka_metadata(a.rk, 1, NULL, &md, left_ms(&a));
    if (e)
        return bus__err(err, e, "metadata", NULL);
    for (size_t i = 0; i < n; i++)
        state_of_shape(md, names[i], &ret[i]);
    *ret_brokers = md->broker_cnt;
    rd_kafka_metadata_destroy(md);
    return n ? each_config(&a, names, n, state_of_config, ret, err) : 0;
}
