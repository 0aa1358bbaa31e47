/* What the files of the bus share; see bus.c for how they fit together.  Loop thread, but for what
 * bus.c does on the pool (metadata, destruction). */
#ifndef COMMON_BUS_INTERNAL_H
#define COMMON_BUS_INTERNAL_H

#include <librdkafka/rdkafka.h>

#include "common/bus.h"

enum {
    BUS_BEAT_MS = 1000,           /* keeps max.poll.interval.ms content and heals a lost wake */
    BUS_LEARN_TOPICS = 1000,      /* a cluster with more topics is learned as asked */
    BUS_BEAT_AWAY_MS = 100,       /* while no broker answers, and while closing */
    BUS_DRAIN_EVENTS = 64,        /* one turn's budget: other handles of the loop get their turn */
    BUS_DRAIN_NS = 5000000,       /* 5 ms, the same in time */
    BUS_OPEN_WAIT_MS = 2000,      /* blocking at start at most, to learn the cluster's id */
    BUS_PROBE_MS = 500,           /* one metadata request on the pool; bounds the wait at close */
    BUS_PROBE_EVERY_MS = 200,     /* between two probes while unknown */
    BUS_METADATA_AGE_MS = 300000, /* partition counts are asked for again, as librdkafka does */
    BUS_COMMIT_EVERY_MS = 200,
    BUS_COMMIT_RETRY_MS = 1000,
    BUS_SEEK_MS = 500,         /* librdkafka's own thread answers at once; a cap, not a wait */
    BUS_SEEK_AGAIN_MS = 5,     /* the client stops or starts that partition just now */
    BUS_LEAVE_MS = 500,        /* to leave a group at close, after the flush */
    BUS_TOPIC_MAX_BYTES = 249, /* Kafka's own limit for a topic's name */
};

enum bus__phase { BUS_OPEN = 0, BUS_FLUSHING, BUS_COMMITTING, BUS_LEAVING, BUS_DESTROYING };

enum { BUS_END_UNKNOWN = -1, BUS_END_TOLD = -2 };
struct bus__part { /* a partition that was assigned or committed; never removed, capped by the
                      cluster */
    char *topic;
    int partition;
    bool assigned, paused;
    bool seeking;  /* a seek that came too early is tried again; what comes until then is dropped */
    bool held;     /* as the client was told last: it remembers a pause for ever */
    int64_t start; /* where bus_assign or bus_seek put it, for a consumer that comes later */
    int64_t end;   /* of the log when the first message came; BUS_END_UNKNOWN, BUS_END_TOLD */
    int64_t want, sent, acked; /* commits; -1 none */
};
struct bus__topic { /* a topic that somebody asked about */
    char *name;
    int partitions; /* 0 unknown */
};
struct bus__delivery {
    struct bus__delivery *next, *prev;
    bus_delivered_fn fn;
    void *ctx;
};
struct bus__probe { /* a metadata request on the pool */
    struct bus *bus;
    rd_kafka_t *rk;
    const struct rd_kafka_metadata *md; /* NULL: nobody answered */
};

struct bus {
    struct loop *loop;
    struct bus_callbacks cb;
    struct bus_conf conf; /* deep copy */
    rd_kafka_t *producer, *consumer;
    rd_kafka_t *bulk; /* a producer that lingers; NULL: none */
    rd_kafka_queue_t *producer_q, *bulk_q, *consumer_q;
    bool is_warm; /* the consumer: what was remembered has been given to it */
    int efd;
    struct loop_watch *watch;
    struct loop_timer *beat, *commit_timer;
    bool draining;

    char cluster_id[BUS_CLUSTER_ID_SIZE]; /* "" unknown */
    char told_id[BUS_CLUSTER_ID_SIZE];    /* the one on_connected was called with */
    char producer_id[BUS_CLUSTER_ID_SIZE],
        consumer_id[BUS_CLUSTER_ID_SIZE]; /* as each saw it last */
    bool up, ask, probing;                /* ask: metadata is wanted */
    bool ask_positions;                   /* of partitions that have not begun */
    int64_t probed_ms;
    struct bus__probe probe;
    struct bus__topic *topics;
    size_t n_topics, cap_topics;

    struct bus__part *parts;
    size_t n_parts, cap_parts;
    size_t newest_part; /* of the last message: the next one is of the same, as a rule */
    size_t n_seeking;
    uint64_t n_seeks;  /* calls of bus_seek */
    char **subscribed; /* by group */
    size_t n_subscribed;
    int commits_out; /* sent, not answered */
    bool commit_due; /* the timer runs */

    struct bus__delivery in_flight; /* list head */
    size_t n_in_flight;
    struct bus_stats stats;

    enum bus__phase phase;
    int64_t deadline_ms;
    loop_fn on_closed;
    void *on_closed_ctx;
};

/* bus_conf.c */
int bus__make_producer(const struct bus_conf *conf, bool is_bulk, rd_kafka_t **ret,
                       struct err *err) WARN_UNUSED;
int bus__check_consumer(const struct bus_conf *conf, struct err *err) WARN_UNUSED;
int bus__make_consumer(const struct bus_conf *conf, bool embedded, rd_kafka_t **ret,
                       struct err *err) WARN_UNUSED;
bool bus__id_is_embedded(const char *cluster_id);
int bus__err(struct err *err, rd_kafka_resp_err_t e, const char *what, const char *detail);

/* bus.c */
void bus__problem(struct bus *b, const struct err *err); /* not while closing */

/* bus_consume.c */
int bus__consumer_make(struct bus *b, struct err *err) WARN_UNUSED; /* once the cluster is known */
int bus__consumer_warm(struct bus *b, struct err *err) WARN_UNUSED; /* once it has metadata */
void bus__seek_again(struct bus *b);
/* A committed position may have been refused; asks for it again. */
void bus__positions_refused(struct bus *b);
void bus__ask_positions(struct bus *b);
bool bus__is_seeking(struct bus *b, const char *topic, int partition);
void bus__on_fetch(struct bus *b, rd_kafka_event_t *ev);
void bus__on_rebalance(struct bus *b, rd_kafka_event_t *ev);
void bus__on_committed(struct bus *b, rd_kafka_event_t *ev);
void bus__commit_flush(struct bus *b);
void bus__on_commit_timer(void *ctx);

/* bus_produce.c */
int bus__attach_producer(struct bus *b, bool is_bulk, rd_kafka_t **ret, rd_kafka_queue_t **ret_q,
                         struct err *err) WARN_UNUSED; /* its queue wakes the loop */
void bus__detach(rd_kafka_queue_t *q);                 /* NULL is fine */
void bus__on_delivery(struct bus *b, rd_kafka_event_t *ev);
void bus__cancel_deliveries(struct bus *b);

#endif
