/* A bus and a memory of everything that it called back.  Main thread. */
#ifndef TESTS_SUPPORT_BUS_RECORDER_H
#define TESTS_SUPPORT_BUS_RECORDER_H

#include "common/bus.h"
#include "common/mem.h"

enum { RECORDER_WAIT_MS = 60000 }; /* a wait for a condition gives up after that */

struct recorded {
    const char *topic;
    int partition;
    int64_t offset, timestamp_ms;
    const char *key;   /* NULL: none */
    const char *value; /* NULL: tombstone */
    size_t key_n, value_n, n_headers;
    struct bus_header headers[BUS_MAX_HEADERS];
};
struct recorded_end {
    const char *topic;
    int partition;
    int64_t offset;
};
struct recorder {
    struct loop *loop;
    struct bus *bus;
    struct arena arena;
    struct recorded *messages;
    struct recorded_end *ends;
    size_t n_messages, cap_messages, n_ends, cap_ends;
    int turns, assigned, revoked, lost, problems, connected, delivered, failed, closed;
    bool take_all; /* answer on_assigned by bus_assign of just that */
    struct bus_position owned[256];
    size_t n_owned;
    struct err problem, failure; /* the newest */
    int64_t delivered_offset;
    char cluster_id[BUS_CLUSTER_ID_SIZE];
    int pause_each; /* 1: pauses a message's partition when it comes */
};

/* Opens a bus whose callbacks write to r; fails the test when it cannot. */
void recorder_open(struct recorder *r, struct loop *l, const struct bus_conf *conf);
void recorder_close(struct recorder *r, int64_t flush_ms); /* waits for on_closed, frees */
void recorder_send(struct recorder *r, const char *topic, int partition, const char *key,
                   const char *value); /* counted in delivered or failed */
void recorder_assign(struct recorder *r, const char *topic, int partition, int64_t offset);
/* Turn the loop until so many were seen; fail the test when they do not come. */
void recorder_wait_messages(struct recorder *r, size_t n);
void recorder_wait_delivered(struct recorder *r, int n);
void recorder_wait_count(struct recorder *r, const int *count, int n);

#endif
