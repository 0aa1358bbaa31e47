/* Reads topics from their beginning to where they end now, and later on from there to where they
 * end then: every message as it lies there, decoded where it can be.  In bounded memory; nothing is
 * written, no group is joined.  Thread: main. */
#ifndef RELEARN_LOGREAD_H
#define RELEARN_LOGREAD_H

#include "agents/relearn/site.h"
#include "common/bus.h"
#include "common/codec.h"
#include "common/events.h"

struct logread;
/* m and ev are borrowed.  ev: NULL for a tombstone, and for what cannot be decoded (why says so,
 * else NULL); its id is that of the header, "" when there is none. */
typedef void (*logread_fn)(void *ctx, const struct bus_message *m, enum record r,
                           const struct event *ev, const struct err *why);
/* Waits for the bus and the topics.  Errors: ERR_TIMEOUT, ERR_NOTFOUND (topics are missing). */
int logread_open(const struct site *site, const enum record *records, size_t n, logread_fn fn,
                 void *ctx, struct logread **ret, struct err *err) WARN_UNUSED;
/* To the ends as they are when it is called. ERR_TIMEOUT when nothing comes for a while. */
int logread_run(struct logread *l, struct err *err) WARN_UNUSED;
/* The first topic, of those that are kept for ever, whose oldest events are gone: on the embedded
 * bus they have left its ring. false: none. */
struct logread_gap {
    const char *topic;
    int partition;
    int64_t from; /* the oldest offset that is there */
};
bool logread_is_cut(const struct logread *l, struct logread_gap *ret);
/* Of a topic that is read: its partitions, and the oldest offset of one that is there. */
int logread_partitions(const struct logread *l, enum record r);
int64_t logread_first(const struct logread *l, enum record r, int partition);
const char *logread_cluster(const struct logread *l);
struct codec *logread_codec(struct logread *l); /* knows every schema that was met */
void logread_close(struct logread *l);          /* NULL is fine */

#endif
