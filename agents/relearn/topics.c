#include "agents/relearn/topics.h"

#include <stdio.h>

struct row {
    const char *writer, *kept;
    int partitions; /* 0: as all line-keyed topics */
    bool compacted;
    int64_t retention_days; /* -1: for ever */
    bool holds_records;     /* of other topics, and says more: larger than they may be */
};

static const struct row ROWS[RECORD_COUNT] = {
    [RECORD_PIPELINE_DECLARED] = {"console", "compacted", 1, true, -1, false},
    [RECORD_DATASET_PUBLISHED] = {"console, anybody", "forever", 0, false, -1, false},
    [RECORD_DATASET_INGESTED] = {"ingest", "forever", 0, false, -1, false},
    [RECORD_DRIFT_DETECTED] = {"monitor, console, anybody", "30 days", 0, false, 30, false},
    [RECORD_OPERATOR_COMMANDED] = {"console", "forever", 0, false, -1, false},
    [RECORD_TRAINING_PLANNED] = {"plan", "forever", 0, false, -1, false},
    [RECORD_TRAINING_FINISHED] = {"train", "forever", 0, false, -1, false},
    [RECORD_MODEL_EVALUATED] = {"evaluate", "forever", 0, false, -1, false},
    [RECORD_GATE_DECIDED] = {"gate", "forever", 0, false, -1, false},
    [RECORD_DEPLOYMENT_CHANGED] = {"deploy", "forever", 0, false, -1, false},
    [RECORD_SERVING_CHANGED] = {"serve", "compacted", 1, true, -1, false},
    [RECORD_PREDICTION_SERVED] = {"serve", "7 days", 0, false, 7, false},
    [RECORD_LABEL_OBSERVED] = {"console, anybody", "30 days", 0, false, 30, false},
    [RECORD_HEALTH_MEASURED] = {"monitor", "30 days", 0, false, 30, false},
    [RECORD_TRAINING_PROGRESSED] = {"train", "1 day", 0, false, 1, false},
    [RECORD_DEAD_LETTERED] = {"every agent", "30 days", 1, false, 30, true},
};

struct bus_topic_spec topic_spec(enum record r, const char *prefix, int partitions, int replication,
                                 char *name, size_t name_size)
{
    enum {
        DAY_MS = 24 * 3600 * 1000,
        LARGEST_BYTES = 5000000, /* what the bus sends at most */
        KEPT_COPIES = 3, /* from here on what is acknowledged can outlive a broker, and one */
        MIN_IN_SYNC = 2, /* may be away; of two copies it is either, and the cluster's say */
    };
    const struct row *row = &ROWS[r];
    snprintf(name, name_size, "%s%s", prefix, record_topic(r));
    return (struct bus_topic_spec){
        .name = name,
        .partitions = row->partitions  ? row->partitions
                      : partitions > 0 ? partitions
                                       : TOPICS_PARTITIONS,
        .replication = replication > 0 ? replication : -1,
        .compacted = row->compacted,
        .retention_ms = row->retention_days < 0 ? -1 : row->retention_days * DAY_MS,
        .max_message_bytes = row->holds_records ? LARGEST_BYTES : 0,
        .min_in_sync = replication >= KEPT_COPIES ? MIN_IN_SYNC : 0,
    };
}

const char *topic_writer(enum record r)
{
    return ROWS[r].writer;
}

const char *topic_kept(enum record r)
{
    return ROWS[r].kept;
}

static void ignore_topic(void *ctx, const char *name, const char *what)
{
    (void)ctx;
    (void)name;
    (void)what;
}

int topics_create(const struct bus_conf *bus, const char *prefix, int partitions, int replication,
                  struct err *err)
{
    enum { TIMEOUT_MS = 30000, NAME_SIZE = 256 };
    struct bus_topic_spec specs[RECORD_COUNT];
    char names[RECORD_COUNT][NAME_SIZE];
    size_t n = 0;
    for (int r = 1; r < RECORD_COUNT; r++, n++)
        specs[n] = topic_spec((enum record)r, prefix, partitions, replication, names[n], NAME_SIZE);
    return bus_create_topics(bus, specs, n, TIMEOUT_MS, ignore_topic, NULL, err);
}
