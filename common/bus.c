/* The bus: handles of librdkafka on our loop, a producer, a consumer, and where there is much to
 * send a second producer that gathers it (linger is a setting of a handle, and control events must
 * not wait).
 *
 * Guarantees: every callback runs on the loop thread; on_delivered comes exactly once per produce;
 * on_connected comes before the first message of a cluster, and again when the cluster's id differs
 * (an embedded bus that was started again has a new one); bus_open does not fail because no broker
 * answers.
 *
 * Mechanism: the handles deliver events, not callbacks, on a queue each, and all queues write to
 * one eventfd when they become non-empty.  The wake is edge-like, so a turn that ends by its budget
 * writes to the eventfd itself.  A beat drains as well: it keeps max.poll.interval.ms content when
 * nothing arrives.  What blocks in librdkafka (metadata, destruction) runs on the pool.
 *
 * The consumer is made when the cluster's id is known, since the embedded bus needs another
 * fetch.wait.max.ms, and is warm when it has metadata: a partition that is assigned before its
 * leader is known waits for half a second.  Until then subscriptions, assignments and pauses are
 * remembered.
 *
 * Left out on purpose: statistics by JSON (our own counters suffice), transactions (the mock loses
 * their offsets, and our effects are idempotent), incremental assignment (range revokes all). */
#include "common/bus_internal.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/clk.h"
#include "common/mem.h"

static void close_step(struct bus *b);
static void probe_run(void *ctx);
static void probe_done(void *ctx);

void bus__problem(struct bus *b, const struct err *err)
{
    if (b->phase == BUS_OPEN && b->cb.on_problem)
        b->cb.on_problem(b->cb.ctx, err);
}

/* ---- metadata -------------------------------------------------------------------------------- */

static void ask_metadata(struct bus *b)
{
    bool was_asked = b->ask;

    b->ask = true;
    /* Asked often, the beat must still come. */
    if (!was_asked && b->phase == BUS_OPEN && !b->probing)
        loop_timer_start(b->beat, BUS_BEAT_AWAY_MS);
}

/* Made when missing. */
static struct bus__topic *get_topic(struct bus *b, const char *name)
{
    for (size_t i = 0; i < b->n_topics; i++) {
        if (strcmp(b->topics[i].name, name) == 0)
            return &b->topics[i];
    }
    b->topics = xgrow(b->topics, &b->cap_topics, b->n_topics + 1, sizeof(*b->topics));
    b->topics[b->n_topics] = (struct bus__topic){.name = xstrdup(name)};
    return &b->topics[b->n_topics++];
}

static void learn_topics(struct bus *b, const struct rd_kafka_metadata *md)
{
    /* Those that are going to be asked for are among these; a large cluster's are learned as asked.
     */
    for (int k = 0; k < md->topic_cnt && md->topic_cnt <= BUS_LEARN_TOPICS; k++)
        get_topic(b, md->topics[k].topic);
    for (size_t i = 0; i < b->n_topics; i++) {
        struct bus__topic *t = &b->topics[i];

        for (int k = 0; k < md->topic_cnt; k++) {
            const struct rd_kafka_metadata_topic *mt = &md->topics[k];

            if (!mt->err && mt->partition_cnt > 0 && strcmp(mt->topic, t->name) == 0) {
                t->partitions = mt->partition_cnt;
                break;
            }
        }
    }
}

/* A handle that has met another cluster than before is believed: the other one follows later. */
static void learn_id(struct bus *b, rd_kafka_t *rk, char seen[BUS_CLUSTER_ID_SIZE])
{
    char *id = rk ? rd_kafka_clusterid(rk, 0) : NULL;

    if (!id)
        return;
    if (strcmp(id, seen) != 0) {
        str_copy(seen, BUS_CLUSTER_ID_SIZE, id);
        if (strcmp(id, b->cluster_id) != 0) {
            str_copy(b->cluster_id, sizeof(b->cluster_id), id);
            ask_metadata(b); /* another cluster has other topics */
        }
    }
    rd_kafka_mem_free(rk, id);
}

/* Compares what the handles know with what we know; makes the consumer; tells the owner. */
static void learn_cluster(struct bus *b)
{
    struct err err = {0};

    learn_id(b, b->producer, b->producer_id);
    learn_id(b, b->consumer, b->consumer_id);
    if (b->cluster_id[0] == '\0' || b->phase != BUS_OPEN)
        return;
    if (!b->conf.produce_only && !b->consumer && bus__consumer_make(b, &err)) {
        err.next = NEXT_FATAL;
        bus__problem(b, &err);
        return;
    }
    if (!b->conf.produce_only && !b->is_warm) {
        ask_metadata(b); /* the consumer's turn */
        return;
    }
    if (strcmp(b->told_id, b->cluster_id) != 0) {
        str_copy(b->told_id, sizeof(b->told_id), b->cluster_id);
        if (b->cb.on_connected)
            b->cb.on_connected(b->cb.ctx, b->cluster_id);
    }
}

/* Every topic at once: asking for one by name would make it on the embedded bus. */
static const struct rd_kafka_metadata *get_metadata(rd_kafka_t *rk, int timeout_ms)
{
    const struct rd_kafka_metadata *md = NULL;

    return rd_kafka_metadata(rk, 1, NULL, &md, timeout_ms) == RD_KAFKA_RESP_ERR_NO_ERROR ? md
                                                                                         : NULL;
}

static void answered(struct bus *b, rd_kafka_t *rk, const struct rd_kafka_metadata *md)
{
    struct err err = {0};

    if (!b->up)
        b->stats.reconnects++;
    b->up = true;
    b->ask = false;
    learn_topics(b, md);
    if (rk == b->consumer && !b->is_warm && bus__consumer_warm(b, &err)) {
        err.next = NEXT_FATAL;
        bus__problem(b, &err);
        return;
    }
    learn_cluster(b);
}

static void probe_start(struct bus *b)
{
    b->probing = true;
    b->probed_ms = clk_mono_ms(&clk_system);
    b->probe = (struct bus__probe){
        .bus = b,
        .rk = b->consumer && !b->is_warm ? b->consumer : b->producer,
    };
    work_submit(b->loop, probe_run, probe_done, &b->probe);
}

static void probe_run(void *ctx)
{
    struct bus__probe *p = ctx;

    p->md = get_metadata(p->rk, BUS_PROBE_MS);
}

static void probe_done(void *ctx)
{
    struct bus__probe *p = ctx;
    struct bus *b = p->bus;

    b->probing = false;
    if (p->md && b->phase == BUS_OPEN)
        answered(b, p->rk, p->md);
    if (p->md)
        rd_kafka_metadata_destroy(p->md);
    p->md = NULL;
    if (b->phase != BUS_OPEN)
        close_step(b);
    else if (!b->up || b->ask)
        loop_timer_start(b->beat, BUS_BEAT_AWAY_MS);
}

static void probe_if_due(struct bus *b)
{
    int64_t age_ms = clk_mono_ms(&clk_system) - b->probed_ms;

    if (b->probing || b->phase != BUS_OPEN)
        return;
    if (((!b->up || b->ask) && age_ms >= BUS_PROBE_EVERY_MS) || age_ms >= BUS_METADATA_AGE_MS)
        probe_start(b);
}

int bus_partitions(struct bus *b, const char *topic)
{
    struct bus__topic *t = get_topic(b, topic);

    if (t->partitions == 0)
        ask_metadata(b);
    return t->partitions;
}

int bus_wait_topics(struct bus *b, const char *const *topics, size_t n, int64_t timeout_ms,
                    struct err *err)
{
    int64_t deadline_ms = clk_mono_ms(&clk_system) + timeout_ms;
    bool heard = false;

    for (;;) {
        int64_t left_ms = deadline_ms - clk_mono_ms(&clk_system);
        int wait_ms = left_ms < BUS_PROBE_MS && heard ? (int)left_ms : BUS_PROBE_MS;
        const struct rd_kafka_metadata *md;
        const char *missing = NULL;

        for (size_t i = 0; i < n; i++)
            (void)get_topic(b, topics[i]);
        md = get_metadata(b->producer, wait_ms);
        if (md) {
            heard = true;
            b->up = true;
            learn_topics(b, md);
            rd_kafka_metadata_destroy(md);
        }
        for (size_t i = 0; i < n && !missing; i++) {
            if (get_topic(b, topics[i])->partitions == 0)
                missing = topics[i];
        }
        if (!missing)
            return 0;
        if (clk_mono_ms(&clk_system) >= deadline_ms && heard)
            return err_set(err, ERR_NOTFOUND, NEXT_RETRY,
                           "topic %s is not there: `relearn topics` creates it on a Kafka, "
                           "relearn-broker on the embedded bus",
                           missing);
        if (clk_mono_ms(&clk_system) >= deadline_ms)
            return err_set(err, ERR_TIMEOUT, NEXT_RETRY, "no broker at %s answers",
                           b->conf.brokers);
        usleep(20000); /* at start only, where the caller waits anyway */
    }
}

const char *bus_cluster_id(const struct bus *b)
{
    return b->told_id[0] ? b->told_id : NULL;
}

bool bus_is_embedded(const struct bus *b)
{
    return bus__id_is_embedded(b->cluster_id);
}

bool bus_is_up(const struct bus *b)
{
    return b->up;
}

const char *bus_library(void)
{
    return rd_kafka_version_str();
}

void bus_stats(const struct bus *b, struct bus_stats *ret)
{
    *ret = b->stats;
}

/* ---- the pump -------------------------------------------------------------------------------- */

static void on_error(struct bus *b, rd_kafka_event_t *ev)
{
    rd_kafka_resp_err_t e = rd_kafka_event_error(ev);
    struct err err = {0};

    if (e == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
        b->up = false;
    if (e == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || e == RD_KAFKA_RESP_ERR__TRANSPORT ||
        e == RD_KAFKA_RESP_ERR__RESOLVE)
        ask_metadata(b); /* whoever comes back may be another cluster */
    bus__err(&err, e, "client", rd_kafka_event_error_string(ev));
    if (rd_kafka_event_error_is_fatal(ev))
        err.next = NEXT_FATAL;
    bus__problem(b, &err);
}

static void on_consumer_error(struct bus *b, rd_kafka_event_t *ev)
{
    rd_kafka_topic_partition_t *at;

    if (rd_kafka_event_error(ev) != RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        if (rd_kafka_event_error(ev) > 0 && b->consumer) /* the broker's word, not ours */
            bus__positions_refused(b);
        on_error(b, ev);
        return;
    }
    at = rd_kafka_event_topic_partition(ev);
    if (at && b->phase == BUS_OPEN && b->cb.on_end && !bus__is_seeking(b, at->topic, at->partition))
        b->cb.on_end(b->cb.ctx, at->topic, at->partition, at->offset);
    if (at)
        rd_kafka_topic_partition_destroy(at);
}

static void dispatch(struct bus *b, rd_kafka_event_t *ev)
{
    switch (rd_kafka_event_type(ev)) {
    case RD_KAFKA_EVENT_FETCH:
        bus__on_fetch(b, ev);
        break;
    case RD_KAFKA_EVENT_DR:
        bus__on_delivery(b, ev);
        break;
    case RD_KAFKA_EVENT_REBALANCE:
        bus__on_rebalance(b, ev);
        break;
    case RD_KAFKA_EVENT_OFFSET_COMMIT:
        bus__on_committed(b, ev);
        break;
    case RD_KAFKA_EVENT_ERROR:
        on_consumer_error(b, ev);
        break;
    default:
        break;
    }
}

/* Takes events until the queue is empty or the budget is used up; true: something may be left. */
static bool drain_queue(struct bus *b, rd_kafka_queue_t *q, int64_t until_ns, bool *consumed)
{
    for (int i = 0; i < BUS_DRAIN_EVENTS; i++) {
        rd_kafka_event_t *ev;
        rd_kafka_event_type_t type;

        if (i % 8 == 7 && clk_mono_ns() > until_ns)
            return true;
        ev = rd_kafka_queue_poll(q, 0);
        if (!ev)
            return false;
        type = rd_kafka_event_type(ev);
        if (type == RD_KAFKA_EVENT_FETCH || type == RD_KAFKA_EVENT_ERROR) {
            if (!*consumed)
                learn_cluster(b); /* before the first message of another cluster */
            *consumed = true;
        }
        dispatch(b, ev);
        rd_kafka_event_destroy(ev);
    }
    return true;
}

static void drain(struct bus *b)
{
    uint64_t one = 1;
    int64_t until_ns = clk_mono_ns() + BUS_DRAIN_NS;
    bool left = false, consumed = false;

    if (b->draining || b->phase == BUS_DESTROYING)
        return; /* a callback that turns the loop */
    b->draining = true;
    left = drain_queue(b, b->producer_q, until_ns, &consumed);
    if (b->bulk_q)
        left = drain_queue(b, b->bulk_q, until_ns, &consumed) || left;
    if (b->consumer_q)
        left = drain_queue(b, b->consumer_q, until_ns, &consumed) || left;
    if (consumed && b->phase == BUS_OPEN && b->cb.on_turn)
        b->cb.on_turn(b->cb.ctx);
    b->draining = false;
    if (left && write(b->efd, &one, sizeof(one)) < 0)
        loop_timer_start(b->beat, 0); /* the counter is full: it is readable anyway */
    if (b->phase != BUS_OPEN)
        close_step(b);
}

static void on_wake(void *ctx)
{
    struct bus *b = ctx;
    uint64_t n;

    if (read(b->efd, &n, sizeof(n)) < 0)
        n = 0; /* EAGAIN: somebody was faster; draining is harmless */
    drain(b);
}

static void on_beat(void *ctx)
{
    struct bus *b = ctx;
    bool hurry;

    if (b->phase == BUS_OPEN) {
        learn_cluster(b);
        probe_if_due(b);
        bus__seek_again(b);
        bus__ask_positions(b);
    }
    hurry = !b->up || b->ask || b->phase != BUS_OPEN;
    loop_timer_start(b->beat, b->n_seeking > 0 ? BUS_SEEK_AGAIN_MS
                              : hurry          ? BUS_BEAT_AWAY_MS
                                               : BUS_BEAT_MS);
    drain(b);
}

/* ---- open and close -------------------------------------------------------------------------- */

static void copy_conf(struct bus_conf *to, const struct bus_conf *from)
{
    char **x = xcalloc(from->n_x + 1, sizeof(*x));

    for (size_t i = 0; i < from->n_x; i++)
        x[i] = xstrdup(from->x[i]);
    *to = (struct bus_conf){
        .brokers = xstrdup(from->brokers),
        .client_id = xstrdup(from->client_id ? from->client_id : "relearn"),
        .group = xstrdup(from->group),
        .x = (const char *const *)x,
        .n_x = from->n_x,
        .produce_only = from->produce_only,
        .has_bulk = from->has_bulk,
    };
}

static void free_bus(struct bus *b)
{
    char **x = (char **)(uintptr_t)b->conf.x;

    loop_watch_free(b->watch);
    loop_timer_free(b->beat);
    loop_timer_free(b->commit_timer);
    if (b->efd >= 0)
        close(b->efd);
    for (size_t i = 0; i < b->n_parts; i++)
        free_ptr(&b->parts[i].topic);
    for (size_t i = 0; i < b->n_topics; i++)
        free_ptr(&b->topics[i].name);
    for (size_t i = 0; i < b->n_subscribed; i++)
        free_ptr(&b->subscribed[i]);
    for (size_t i = 0; i < b->conf.n_x; i++)
        free_ptr(&x[i]);
    free_ptr(&x);
    free_ptr(&b->conf.brokers);
    free_ptr(&b->conf.client_id);
    free_ptr(&b->conf.group);
    free_ptr(&b->subscribed);
    free_ptr(&b->parts);
    free_ptr(&b->topics);
    free_ptr(&b);
}

/* Blocks for at most BUS_OPEN_WAIT_MS each; a cluster that does not answer is no failure. */
static int first_contact(struct bus *b, struct err *err)
{
    const struct rd_kafka_metadata *md = get_metadata(b->producer, BUS_OPEN_WAIT_MS);

    b->up = md != NULL;
    b->ask = md == NULL;
    if (!md)
        return 0;
    learn_topics(b, md);
    rd_kafka_metadata_destroy(md);
    learn_id(b, b->producer, b->producer_id);
    b->ask = false; /* it was for this */
    if (b->bulk && (md = get_metadata(b->bulk, BUS_OPEN_WAIT_MS)))
        rd_kafka_metadata_destroy(md); /* the first message would wait for a second */
    if (b->conf.produce_only)
        return 0;
    if (bus__consumer_make(b, err))
        return -1;
    md = get_metadata(b->consumer, BUS_OPEN_WAIT_MS);
    b->is_warm = md != NULL;
    b->ask = !b->is_warm;
    if (md)
        rd_kafka_metadata_destroy(md);
    return 0;
}

static void free_unopened(struct bus *b)
{
    bus__detach(b->producer_q);
    bus__detach(b->bulk_q);
    if (b->producer)
        rd_kafka_destroy(b->producer);
    if (b->bulk)
        rd_kafka_destroy(b->bulk);
    free_bus(b);
}

int bus_open(struct loop *l, const struct bus_conf *conf, const struct bus_callbacks *cb,
             struct bus **ret, struct err *err)
{
    struct bus *b = xcalloc(1, sizeof(*b));

    *b = (struct bus){.loop = l, .cb = *cb, .efd = -1};
    b->in_flight.next = b->in_flight.prev = &b->in_flight;
    copy_conf(&b->conf, conf);
    b->efd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    BUG_ON(b->efd < 0); /* out of descriptors at start */
    if ((!conf->produce_only && bus__check_consumer(&b->conf, err)) ||
        bus__attach_producer(b, false, &b->producer, &b->producer_q, err) ||
        (conf->has_bulk && bus__attach_producer(b, true, &b->bulk, &b->bulk_q, err))) {
        free_unopened(b);
        return -1;
    }
    b->watch = loop_watch_new(l, b->efd, on_wake, b);
    b->beat = loop_timer_new(l, on_beat, b);
    b->commit_timer = loop_timer_new(l, bus__on_commit_timer, b);
    b->probed_ms = clk_mono_ms(&clk_system);
    if (first_contact(b, err)) {
        free_unopened(b);
        return -1;
    }
    loop_timer_start(b->beat, 0);
    *ret = b;
    return 0;
}

static void destroy_run(void *ctx)
{
    struct bus *b = ctx;

    /* No goodbye here: a member that could leave has left; one that could not must not wait. */
    if (b->consumer)
        rd_kafka_destroy_flags(b->consumer, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    if (b->bulk)
        rd_kafka_destroy(b->bulk);
    rd_kafka_destroy(b->producer);
}

static void destroy_done(void *ctx)
{
    struct bus *b = ctx;
    loop_fn on_closed = b->on_closed;
    void *closed_ctx = b->on_closed_ctx;

    free_bus(b);
    if (on_closed)
        on_closed(closed_ctx);
}

static void destroy(struct bus *b)
{
    b->phase = BUS_DESTROYING;
    bus__cancel_deliveries(b);
    loop_timer_stop(b->beat);
    loop_timer_stop(b->commit_timer);
    loop_watch_free(b->watch);
    b->watch = NULL;
    bus__detach(b->producer_q);
    bus__detach(b->bulk_q);
    bus__detach(b->consumer_q);
    work_submit(b->loop, destroy_run, destroy_done, b);
}

/* Leaving is worth while only when this is a member and somebody hears it. */
static bool leave(struct bus *b)
{
    rd_kafka_error_t *e;

    if (!b->consumer || b->n_subscribed == 0 || !b->up)
        return false;
    e = rd_kafka_consumer_close_queue(b->consumer, b->consumer_q);
    if (!e)
        return true;
    rd_kafka_error_destroy(e);
    return false;
}

static void close_step(struct bus *b)
{
    int64_t now_ms = clk_mono_ms(&clk_system);

    if (b->draining || b->phase == BUS_OPEN || b->phase == BUS_DESTROYING)
        return;
    if (b->phase == BUS_FLUSHING && (b->n_in_flight == 0 || now_ms >= b->deadline_ms)) {
        bus__commit_flush(b);
        b->phase = BUS_COMMITTING;
    }
    if (b->phase == BUS_COMMITTING && (b->commits_out == 0 || now_ms >= b->deadline_ms || !b->up)) {
        if (b->deadline_ms < now_ms + BUS_LEAVE_MS)
            b->deadline_ms = now_ms + BUS_LEAVE_MS;
        if (!leave(b))
            b->deadline_ms = now_ms;
        b->phase = BUS_LEAVING;
    }
    if (b->phase == BUS_LEAVING && !b->probing &&
        (now_ms >= b->deadline_ms || rd_kafka_consumer_closed(b->consumer)))
        destroy(b);
}

void bus_close(struct bus *b, int64_t flush_ms, loop_fn on_closed, void *ctx)
{
    BUG_ON(b->phase != BUS_OPEN);
    b->phase = BUS_FLUSHING;
    b->deadline_ms = clk_mono_ms(&clk_system) + flush_ms;
    b->on_closed = on_closed;
    b->on_closed_ctx = ctx;
    loop_timer_start(b->beat, 0); /* from the loop: no callback before this returns */
}
