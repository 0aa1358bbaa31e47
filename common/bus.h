/* Kafka in and out (librdkafka): a consumer and a producer, driven from the loop through one
 * eventfd.  Knows bytes, headers, partitions and offsets; nothing of records.  The only module with
 * librdkafka's headers (and agents/broker, which is the embedded bus).  Loop thread.
 * tests/support/fakebus implements the same header in memory. */
#ifndef COMMON_BUS_H
#define COMMON_BUS_H

#include "common/buf.h"
#include "common/err.h"
#include "common/loop.h"

#define BUS_CLUSTER_ID_SIZE 64
#define BUS_MAX_HEADERS 24

struct bus_header {
    const char *name;
    const void *value;
    size_t n;
};
struct bus_message { /* borrowed during on_message */
    const char *topic;
    int partition;
    int64_t offset;
    int64_t timestamp_ms;
    const void *key;
    size_t key_n; /* key NULL: none */
    const void *value;
    size_t value_n; /* value NULL: tombstone */
    struct bus_header headers[BUS_MAX_HEADERS];
    size_t n_headers;
};
struct bus_position {
    const char *topic;
    int partition;
    int64_t offset; /* next offset to read */
};
#define BUS_OFFSET_EARLIEST (-2)
#define BUS_OFFSET_LATEST (-1)
#define BUS_OFFSET_COMMITTED (-1000) /* the group's committed one, earliest when there is none */

/* All may be NULL but on_message of a bus that consumes, and on_assigned and on_revoked of one that
 * subscribes.  They run on the loop, never inside a call of this header, and not after bus_close.
 */
struct bus_callbacks {
    void (*on_message)(void *ctx, const struct bus_message *m);
    /* All was read that was there when the partition's first message since bus_assign came, or all
     * that there is for now; offset is the one that comes next. Told at least once. */
    void (*on_end)(void *ctx, const char *topic, int partition, int64_t offset);
    void (*on_turn)(void *ctx); /* after a batch of messages or ends was delivered */
    /* By group: the new partitions of subscribed topics; answer by bus_assign (any list). */
    void (*on_assigned)(void *ctx, const struct bus_position *p, size_t n);
    void (*on_revoked)(void *ctx, bool lost); /* answer by commits; the bus unassigns on return */
    /* Transient: NEXT_RETRY; NEXT_FATAL: end the process. */
    void (*on_problem)(void *ctx, const struct err *err);
    /* First answer of the cluster, and whenever its id differs. */
    void (*on_connected)(void *ctx, const char *cluster_id);
    void *ctx;
};
struct bus_conf {
    const char *brokers, *client_id, *group; /* group NULL: none, no commits */
    const char *const *x;                    /* "name=value", later wins */
    size_t n_x;
    bool produce_only;
    bool has_bulk; /* bus_produce_bulk is going to be called */
};

struct bus;
/* Waits up to 2 s for the cluster, so that what follows finds it; does not fail because none
 * answers. Errors: ERR_INVAL for an X property that is unknown, out of range or not to be changed.
 */
int bus_open(struct loop *l, const struct bus_conf *conf, const struct bus_callbacks *cb,
             struct bus **ret, struct err *err) WARN_UNUSED;
/* Flushes for at most flush_ms, commits, leaves the group, closes; on_closed when all is gone (half
 * a second later at most, as a rule).  What is not acknowledged by then is told ERR_CANCELED. */
void bus_close(struct bus *b, int64_t flush_ms, loop_fn on_closed, void *ctx);
const char *bus_cluster_id(const struct bus *b); /* NULL before on_connected */
bool bus_is_embedded(const struct bus *b);       /* cluster id begins with mockCluster */
bool bus_is_up(const struct bus *b);             /* some broker answers now */

/* By group, range assignor. */
int bus_subscribe(struct bus *b, const char *const *topics, size_t n, struct err *err) WARN_UNUSED;
/* Replaces what is assigned.  A partition that was assigned and paused stays paused; one that was
 * not assigned, or was revoked in between, flows. */
int bus_assign(struct bus *b, const struct bus_position *p, size_t n, struct err *err) WARN_UNUSED;
/* Of an assigned partition, else ERR_NOTFOUND. No message of a paused one comes any more. */
int bus_pause(struct bus *b, const char *topic, int partition, bool paused,
              struct err *err) WARN_UNUSED;
int bus_seek(struct bus *b, const char *topic, int partition, int64_t offset,
             struct err *err) WARN_UNUSED;
/* Asynchronous; coalesced: call as often as you like, the newest position per partition goes out
 * every 200 ms and at revoke/close.  One that failed is tried again while the partition is
 * assigned. */
void bus_commit(struct bus *b, const char *topic, int partition, int64_t next_offset);
/* Last acknowledged commit of this bus; -1 none. */
int64_t bus_committed(struct bus *b, const char *topic, int partition);

/* Metadata of a topic, cached: number of partitions, 0 unknown (asked for; try later). */
int bus_partitions(struct bus *b, const char *topic);
/* Blocking metadata, at start only: waits up to timeout_ms for every topic to be there.
 * ERR_NOTFOUND names the missing; ERR_TIMEOUT: no broker answered. */
int bus_wait_topics(struct bus *b, const char *const *topics, size_t n, int64_t timeout_ms,
                    struct err *err) WARN_UNUSED;
/* Which offsets a partition has now: *ret_low is the oldest that is still there, *ret_high the one
 * that comes next.  Blocking, for command lines. Errors: ERR_TIMEOUT, ERR_BUS (retry). */
int bus_offsets(struct bus *b, const char *topic, int partition, int64_t timeout_ms,
                int64_t *ret_low, int64_t *ret_high, struct err *err) WARN_UNUSED;
/* The partition that Java clients would choose for this key (murmur2). */
int bus_partition_of(const void *key, size_t n, int partitions);

/* on_delivered comes exactly once: err NULL when acknowledged (offset is valid). */
typedef void (*bus_delivered_fn)(void *ctx, const struct err *err, int partition, int64_t offset);
/* partition -1: by key.  Key, value and headers are copied.  A value whose p is NULL is a
 * tombstone. Errors: ERR_LIMIT/NEXT_RETRY when the queue is full; ERR_NOTFOUND/NEXT_RETRY while the
 * topic is not known (the embedded bus would make it, with other partitions): bus_wait_topics at
 * start spares it. */
int bus_produce(struct bus *b, const char *topic, int partition, struct slice key,
                struct slice value, const struct bus_header *headers, size_t n_headers,
                bus_delivered_fn on_delivered, void *ctx, struct err *err) WARN_UNUSED;
/* The same for what may wait some milliseconds for others, to go in fewer and larger batches. Order
 * holds among such messages, but not between them and others. */
int bus_produce_bulk(struct bus *b, const char *topic, int partition, struct slice key,
                     struct slice value, const struct bus_header *headers, size_t n_headers,
                     bus_delivered_fn on_delivered, void *ctx, struct err *err) WARN_UNUSED;
size_t bus_in_flight(const struct bus *b);

/* Statistics for /metrics. */
struct bus_stats {
    uint64_t received, produced, delivered, delivery_failed, reconnects;
};
void bus_stats(const struct bus *b, struct bus_stats *ret);

const char *bus_library(void); /* the version of librdkafka that is in use */

/* Administration, blocking, for command lines (not on the embedded bus, which has no admin API). */
struct bus_topic_spec {
    const char *name;
    int partitions, replication; /* replication -1: the cluster's default, not compared */
    bool compacted;
    int64_t retention_ms;      /* -1: for ever */
    int64_t max_message_bytes; /* 0: the cluster's default, not compared */
    int min_in_sync;           /* at least; 0: the cluster's default, not compared */
};
int bus_create_topics(const struct bus_conf *conf, const struct bus_topic_spec *specs, size_t n,
                      int64_t timeout_ms,
                      void (*on_topic)(void *ctx, const char *name, const char *what), void *ctx,
                      struct err *err) WARN_UNUSED;
/* Compares what is with what should be: on_difference(topic, "partitions 3, should be 12"). */
int bus_check_topics(const struct bus_conf *conf, const struct bus_topic_spec *specs, size_t n,
                     int64_t timeout_ms,
                     void (*on_difference)(void *ctx, const char *name, const char *what),
                     void *ctx, struct err *err) WARN_UNUSED;
/* How well a cluster keeps a topic. */
struct bus_topic_state {
    int copies,
        in_sync;     /* of the partition that has the fewest; copies 0: there is no such topic */
    int min_in_sync; /* min.insync.replicas; 0: the cluster does not tell */
    bool is_dated;   /* by the broker when it appends: bus_message's time is the broker's */
};
/* ret: one for each name.  *ret_brokers: how many the cluster has now. */
int bus_topic_states(const struct bus_conf *conf, const char *const *names, size_t n,
                     int64_t timeout_ms, struct bus_topic_state *ret, int *ret_brokers,
                     struct err *err) WARN_UNUSED;

#endif
