/* From the journal into the mock: the same partitions, the same order, the same offsets. */
#ifndef BROKER_REFILL_H
#define BROKER_REFILL_H

#include "agents/broker/journal.h"
#include "agents/broker/mock.h"
#include "agents/broker/topics.h"

struct refill_report {
    uint64_t records;
    uint64_t placeholders; /* for offsets that the journal lacks */
};

/* Topics that the journal knows and `t` does not are added; one that has other partitions is an
 * error. Creates all topics of `t` in the mock; on success t->items[].next says how far each
 * partition is. */
int refill(struct journal *j, struct topics *t, struct mock *m, struct refill_report *ret,
           struct err *err) WARN_UNUSED;

#endif
