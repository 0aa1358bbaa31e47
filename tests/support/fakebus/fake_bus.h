/* common/bus.h in memory: one log for all buses of this process, with offsets, groups, ends and
 * acks as a broker gives them, and faults to order.  A test that wants it has #include
 * "tests/support/fakebus/fake_bus.c" and so takes the place of common/bus.c when it is linked.
 *
 * Buses work by their loops; fake_bus_step() works them without turning any.  Callbacks never run
 * inside a call of bus.h, as with the true one.  Main thread. */
#ifndef TESTS_SUPPORT_FAKEBUS_FAKE_BUS_H
#define TESTS_SUPPORT_FAKEBUS_FAKE_BUS_H

#include "common/bus.h"
#include "common/rng.h"

struct fake_faults {
    bool down;          /* no broker: nothing moves; produced messages wait */
    int refuse_produce; /* the next n bus_produce fail: ERR_LIMIT, NEXT_RETRY */
    int queue_cap;      /* so many unacknowledged ones and bus_produce fails likewise; 0: any */
    int lose;           /* the next n messages are not appended and reported as failed */
    int give_up;        /* likewise the next n, for good: the client is done for (NEXT_FATAL) */
    int drop_ack;       /* the next n are appended and reported as failed (ERR_TIMEOUT) */
    int duplicate;      /* the next n are appended twice and acknowledged once */
    int delay_steps;    /* acknowledgements wait so many steps of their bus */
    int fail_commits;   /* the next n commits fail, and are tried again with the next step */
};
extern struct fake_faults fake_bus_faults;

/* Empties everything; no bus may be open.  Cluster id "mockClusterFake1" (embedded). */
void fake_bus_reset(void);
void fake_bus_topic(const char *name, int partitions); /* others are unknown */
void fake_bus_cluster(const char *id);                 /* every bus is told */
/* Partitions in random order and a few messages at a time, from now on; 0: as assigned, all. */
void fake_bus_shuffle(uint64_t seed);
/* One step of every open bus; true while something happened. */
bool fake_bus_step(void);
/* As if its process had died: no callback any more, nothing sent is acknowledged or committed; it
 * is out of its group.  bus_close then only frees. */
void fake_bus_crash(struct bus *b);
/* As if its session had ended unnoticed: what it had not committed is lost; it is told so, and
 * joins its group again. */
void fake_bus_expel(struct bus *b);

/* The log as a broker has it.  Messages live until fake_bus_reset. */
int64_t fake_bus_append(const char *topic, int partition, struct slice key, struct slice value,
                        const struct bus_header *headers, size_t n_headers); /* its offset */
int64_t fake_bus_end(const char *topic, int partition);
const struct bus_message *fake_bus_at(const char *topic, int partition,
                                      int64_t offset);                          /* or NULL */
int64_t fake_bus_position(const char *group, const char *topic, int partition); /* -1 none */

#endif
