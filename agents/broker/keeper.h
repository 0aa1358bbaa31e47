/* Keeps the journal in step with the bus: reads every journalled partition as a client of its own
 * process and writes what comes in batches, one sync each.  Loop thread. */
#ifndef BROKER_KEEPER_H
#define BROKER_KEEPER_H

#include "agents/broker/journal.h"
#include "agents/broker/topics.h"

struct keeper;

struct keeper_conf {
    struct loop *loop;
    const char *brokers;
    struct journal *journal; /* borrowed until closed */
    struct topics *topics;   /* borrowed; next[] is moved on */
    int64_t sync_every_ms;
    void (*on_failed)(void *ctx,
                      const struct err *err); /* at most once; nothing is kept any more */
    /* The disk is full: nothing must be acknowledged until err is NULL.  What was read is kept in
     * memory and written again and again. */
    void (*on_stalled)(void *ctx, const struct err *err);
    void *ctx;
};
struct keeper_stats {
    uint64_t records, bytes, batches;
    uint64_t lost;    /* left the ring before they were read */
    uint64_t pending; /* read, not yet synced */
    uint64_t stalls;
    int64_t sync_ms, sync_max_ms; /* from reading to synced: of the last batch, the longest */
    size_t journal_bytes;
};

/* Reading starts at next[] of each journalled partition. */
int keeper_open(const struct keeper_conf *conf, struct keeper **ret, struct err *err) WARN_UNUSED;
void keeper_close(struct keeper *k, loop_fn on_closed, void *ctx);
void keeper_stats(const struct keeper *k, struct keeper_stats *ret);
/* True when everything below these ends is synced. */
bool keeper_has(const struct keeper *k, const struct bus_position *ends, size_t n);

#endif
