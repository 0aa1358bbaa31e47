/* Ids of every event of every topic: which came twice, and whether causes are there and come before
 * their effects.  Memory does not grow with the log: ids are sorted on disk, a part at a time.
 *
 * What counts as the same: see verify_content. */
#ifndef RELEARN_VERIFY_IDS_H
#define RELEARN_VERIFY_IDS_H

#include "agents/relearn/verify.h"
#include "agents/relearn/verify_spool.h"

struct ids;
struct id_event { /* borrowed */
    enum record record;
    int partition;
    int64_t offset;
    int64_t time_unix_us, appended_unix_ms;
    const char *id;
    uint64_t content;
    bool is_judged;
    int belongs; /* partition of its key, where it must be as well; -1: it is there */
    /* what it follows from: NULL: nothing that is looked up */
    const char *cause;
    const char *seen;       /* ce_seen: how far its writer had read; NULL: not known */
    bool cause_may_be_gone; /* by retention: it is that old */
};
struct id_rules {
    const struct verify_clock *clock;
    int64_t skew_ms;     /* clocks of different machines differ by so much at most */
    const char *cluster; /* offsets in ce_seen are of this one, else they say nothing */
    /* May the cause of such an event be gone, since a topic does not begin at its beginning any
     * more? NULL: no. */
    bool (*is_cut)(void *ctx, enum record effect, int partition);
    void *ctx;
};
int ids_new(struct ids **ret, struct err *err) WARN_UNUSED;
void ids_free(struct ids *x);
int ids_add(struct ids *x, const struct id_event *e, struct err *err) WARN_UNUSED;
/* A message that cannot be read (why: in words), and a dead letter about one. */
int ids_unreadable(struct ids *x, const struct id_event *e, const char *why,
                   struct err *err) WARN_UNUSED;
int ids_dead(struct ids *x, enum record topic, int partition, int64_t offset,
             struct err *err) WARN_UNUSED;
/* VERIFY_IDS, VERIFY_PLACES, VERIFY_CAUSES, VERIFY_READ. */
int ids_check(struct ids *x, const struct id_rules *rules, struct findings *f,
              struct err *err) WARN_UNUSED;

/* What an event says, as a number: two with one id must have the same.  Of what comes from people
 * and outside (datasets, alerts, labels, commands) it is everything but times, which a request that
 * is sent again has anew; of predictions every byte.  What an agent says of a cause it may say
 * again at another time, having read more: there it is what the event is about (line, run, kind,
 * base, ...), and which of several counts is the log's to choose. */
uint64_t verify_content(const struct event *ev, struct slice value);

#endif
