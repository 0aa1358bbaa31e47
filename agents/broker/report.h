/* What the bus says of itself: Prometheus text and JSON.  Pure. */
#ifndef BROKER_REPORT_H
#define BROKER_REPORT_H

#include "agents/broker/keeper.h"
#include "agents/broker/refill.h"

struct report {
    bool is_ready;
    const char *stalled;           /* why nothing is acknowledged just now; "" when it is */
    const char *address, *journal; /* journal NULL: none is kept */
    int64_t sync_every_ms;
    uint64_t lag; /* messages that are not synced yet */
    struct keeper_stats keeper;
    struct journal_scan scan; /* of the start */
    struct refill_report refill;
};
void report_metrics(const struct report *r, struct buf *out);
void report_status(const struct report *r, struct buf *out);

#endif
