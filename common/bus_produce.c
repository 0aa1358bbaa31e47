/* The producing half of the bus: partitions by Java's murmur2, produce, delivery reports. */
#include "common/bus_internal.h"

#include <string.h>

#include "common/fault.h"
#include "common/mem.h"
#include "common/rng.h"

/* MurmurHash2 (Austin Appleby, public domain algorithm) with Kafka's seed, as org.apache.kafka's
 * Utils.murmur2 computes it. */
static uint32_t murmur2(const void *key, size_t n)
{
    const uint32_t m = 0x5bd1e995;
    const uint8_t *p = key;
    uint32_t h = 0x9747b28cu ^ (uint32_t)n;

    for (; n >= 4; p += 4, n -= 4) {
        uint32_t k =
            (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;

        k *= m;
        k ^= k >> 24;
        k *= m;
        h *= m;
        h ^= k;
    }
    if (n >= 3)
        h ^= (uint32_t)p[2] << 16;
    if (n >= 2)
        h ^= (uint32_t)p[1] << 8;
    if (n >= 1) {
        h ^= p[0];
        h *= m;
    }
    h ^= h >> 13;
    h *= m;
    h ^= h >> 15;
    return h;
}

int bus_partition_of(const void *key, size_t n, int partitions)
{
    BUG_ON(partitions <= 0);
    return (int)(murmur2(key, n) & 0x7fffffff) % partitions;
}

int bus__attach_producer(struct bus *b, bool is_bulk, rd_kafka_t **ret, rd_kafka_queue_t **ret_q,
                         struct err *err)
{
    const uint64_t one = 1;

    if (bus__make_producer(&b->conf, is_bulk, ret, err))
        return -1;
    *ret_q = rd_kafka_queue_get_main(*ret);
    rd_kafka_queue_io_event_enable(*ret_q, b->efd, &one, sizeof(one));
    return 0;
}

void bus__detach(rd_kafka_queue_t *q)
{
    if (!q)
        return;
    rd_kafka_queue_io_event_enable(q, -1, NULL, 0);
    rd_kafka_queue_destroy(q);
}

static int choose_partition(struct bus *b, const char *topic, int partition, struct slice key,
                            int *ret, struct err *err)
{
    int partitions = bus_partitions(b, topic);

    /* Not sent to an unknown topic: the embedded bus would make it, with the wrong partitions. */
    if (partitions == 0)
        return err_set(err, ERR_NOTFOUND, NEXT_RETRY, "topic %s is not known yet", topic);
    if (partition >= partitions)
        return err_inval(err, "topic %s has %d partitions: there is no %d", topic, partitions,
                         partition);
    if (partition >= 0)
        *ret = partition;
    else if (key.p)
        *ret = bus_partition_of(key.p, key.n, partitions);
    else
        *ret = (int)(rng_os_seed() % (uint64_t)partitions);
    return 0;
}

static rd_kafka_headers_t *copy_headers(const struct bus_header *headers, size_t n)
{
    rd_kafka_headers_t *h = rd_kafka_headers_new(n);

    for (size_t i = 0; i < n; i++)
        rd_kafka_header_add(h, headers[i].name, -1, headers[i].value, (ssize_t)headers[i].n);
    return h;
}

static void link_delivery(struct bus *b, struct bus__delivery *d)
{
    d->next = &b->in_flight;
    d->prev = b->in_flight.prev;
    d->prev->next = d;
    b->in_flight.prev = d;
    b->n_in_flight++;
}

static void unlink_delivery(struct bus *b, struct bus__delivery *d)
{
    d->prev->next = d->next;
    d->next->prev = d->prev;
    b->n_in_flight--;
}

static int produce(struct bus *b, rd_kafka_t *producer, const char *topic, int partition,
                   struct slice key, struct slice value, const struct bus_header *headers,
                   size_t n_headers, bus_delivered_fn on_delivered, void *ctx, struct err *err)
{
    struct bus__delivery *d;
    rd_kafka_headers_t *h;
    rd_kafka_resp_err_t e;
    int to = -1;

    if (b->phase != BUS_OPEN)
        return err_set(err, ERR_CANCELED, NEXT_RETRY, "the bus is closing");
    if (n_headers > BUS_MAX_HEADERS)
        return err_inval(err, "%zu headers: at most %d", n_headers, BUS_MAX_HEADERS);
    if (choose_partition(b, topic, partition, key, &to, err))
        return -1;
    h = copy_headers(headers, n_headers);
    d = xcalloc(1, sizeof(*d));
    d->fn = on_delivered;
    d->ctx = ctx;
    e = EFFECT_SURE(produce, "bus.produce", RD_KAFKA_RESP_ERR__QUEUE_FULL,
                    rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(to),
                                      RD_KAFKA_V_KEY(key.p, key.n),
                                      RD_KAFKA_V_VALUE((void *)(uintptr_t)value.p, value.n),
                                      RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                                      RD_KAFKA_V_HEADERS(h), RD_KAFKA_V_OPAQUE(d), RD_KAFKA_V_END));
    if (e != RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_headers_destroy(h);
        free_ptr(&d);
        return bus__err(err, e, topic, NULL);
    }
    link_delivery(b, d);
    b->stats.produced++;
    return 0;
}

int bus_produce(struct bus *b, const char *topic, int partition, struct slice key,
                struct slice value, const struct bus_header *headers, size_t n_headers,
                bus_delivered_fn on_delivered, void *ctx, struct err *err)
{
    return produce(b, b->producer, topic, partition, key, value, headers, n_headers, on_delivered,
                   ctx, err);
}

int bus_produce_bulk(struct bus *b, const char *topic, int partition, struct slice key,
                     struct slice value, const struct bus_header *headers, size_t n_headers,
                     bus_delivered_fn on_delivered, void *ctx, struct err *err)
{
    BUG_ON(!b->bulk);
    return produce(b, b->bulk, topic, partition, key, value, headers, n_headers, on_delivered, ctx,
                   err);
}

size_t bus_in_flight(const struct bus *b)
{
    return b->n_in_flight;
}

void bus__on_delivery(struct bus *b, rd_kafka_event_t *ev)
{
    const rd_kafka_message_t *m;

    while ((m = rd_kafka_event_message_next(ev))) {
        struct bus__delivery *d = m->_private;
        rd_kafka_resp_err_t e = m->err;
        struct err err = {0};

        unlink_delivery(b, d);
        if (!e && FAULT_LOST(acknowledge, "bus.acknowledge"))
            e = RD_KAFKA_RESP_ERR__MSG_TIMED_OUT;
        if (e) {
            b->stats.delivery_failed++;
            bus__err(&err, e, "not delivered", NULL);
        } else {
            b->stats.delivered++;
        }
        if (d->fn)
            d->fn(d->ctx, e ? &err : NULL, m->partition, m->offset);
        FAULT_AT(acknowledge, "bus.acknowledge.after");
        free_ptr(&d);
    }
}

/* At the end of closing: what librdkafka has not answered will not be answered any more. */
void bus__cancel_deliveries(struct bus *b)
{
    while (b->n_in_flight > 0) {
        struct bus__delivery *d = b->in_flight.next;
        struct err err = {0};

        unlink_delivery(b, d);
        b->stats.delivery_failed++;
        err_set(&err, ERR_CANCELED, NEXT_RETRY, "closed before the broker had answered");
        if (d->fn)
            d->fn(d->ctx, &err, -1, -1);
        free_ptr(&d);
    }
}
