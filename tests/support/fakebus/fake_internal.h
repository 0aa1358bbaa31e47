/* What the files of the fake share.  They are parts of one translation unit: the test's. */
#ifndef TESTS_SUPPORT_FAKEBUS_FAKE_INTERNAL_H
#define TESTS_SUPPORT_FAKEBUS_FAKE_INTERNAL_H

#include "common/mem.h"
#include "tests/support/fakebus/fake_bus.h"

enum { FAKE_BUSES_MAX = 64, FAKE_FEW = 4 };

struct fake_partition {
    struct bus_message *log;
    size_t n, cap;
};
struct fake_topic {
    char *name;
    int n;
    struct fake_partition *partitions;
};
struct fake_commit {
    char *group, *topic;
    int partition;
    int64_t offset;
};
struct fake_group {
    char *name;
    int generation;
};
struct fake_sent { /* waits to be appended, then to be acknowledged */
    struct bus_message message;
    bus_delivered_fn fn;
    void *ctx;
    bool is_appended;
    int wait_steps;
    int64_t offset;
    struct err err;
};
struct fake_part {
    struct fake_topic *topic;
    int partition;
    int64_t next, told_end, commit, committed;
    bool is_assigned, is_paused;
};
struct bus {
    struct loop *loop;
    struct loop_timer *timer;
    struct bus_callbacks cb;
    char group[128], told_id[BUS_CLUSTER_ID_SIZE];
    bool has_group, is_crashed, is_closing, is_stepping;
    struct fake_part *parts;
    size_t n_parts, cap_parts;
    struct fake_sent *sent;
    size_t n_sent, cap_sent;
    char **subscribed;
    size_t n_subscribed;
    int revoked_at, assigned_at; /* generations of the group */
    bool is_expelled;            /* and not told yet */
    int64_t close_by_ms;
    loop_fn on_closed;
    void *on_closed_ctx;
    struct bus_stats stats;
};

#endif
