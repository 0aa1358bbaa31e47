/* What doctor makes of what it has seen of the bus: how its topics are kept, and its clock.  Pure;
 * facts in, findings out. */
#ifndef RELEARN_DOCTOR_JUDGE_H
#define RELEARN_DOCTOR_JUDGE_H

#include <stddef.h>
#include <stdint.h>

enum doctor_level { DOCTOR_OK = 0, DOCTOR_WARN, DOCTOR_BAD, DOCTOR_LEVEL_COUNT };

enum {
    CLOCK_MAX_MS = 2000, /* longer than an answer takes; deadlines and windows are in seconds */
    DATED_NEWEST = 16,   /* events that a clock is judged by: one or two may have waited for a bus
                            that was away, so many in a row have not */
};

/* What, and the command that mends it; both borrowed. */
typedef void (*doctor_found_fn)(void *ctx, enum doctor_level level, const char *check,
                                const char *mend, const char *what);

struct topic_kept {
    const char *name;
    int copies, in_sync; /* of the partition that has the fewest; copies 0: no such topic */
    int min_in_sync;     /* 0: the cluster does not tell */
};
/* Every writer waits for all copies that are in step (acks=all), so a topic loses nothing that was
 * acknowledged while min_in_sync copies are not lost at once, and takes nothing while fewer are
 * there.  One finding for each kind of trouble, with the topics that have it; one if there is none.
 */
void judge_topics(const struct topic_kept *topics, size_t n, int brokers, const char *bootstrap,
                  doctor_found_fn found, void *ctx);

struct dated {
    int64_t written_ms;  /* its writer's clock */
    int64_t appended_ms; /* the broker's clock, some time later */
};
/* Keeps the DATED_NEWEST newest. */
struct dated_newest {
    struct dated e[DATED_NEWEST];
    size_t n;
};
void dated_add(struct dated_newest *d, struct dated e);
/* The writers' clocks are taken to be like ours: doctor compares these by themselves. */
void judge_broker_clock(const struct dated_newest *d, int64_t now_ms, doctor_found_fn found,
                        void *ctx);

#endif
