/* Inside of replay_log: shared by replay_log.c, replay_rest.c and replay_timing.c only. */
#ifndef RELEARN_REPLAY_REST_H
#define RELEARN_REPLAY_REST_H

#include <uthash.h>

#include "agents/relearn/replay_log.h"

enum { SERVED_KEY_SIZE = 192, AWAITED_ID_SIZE = 64 };

struct awaited { /* a prediction */
    char id[AWAITED_ID_SIZE];
    bool is_expected, is_seen;
    UT_hash_handle hh;
};
struct served_count { /* rows answered by one generation of one line */
    char key[SERVED_KEY_SIZE], line[160];
    int64_t generation, rows;
    UT_hash_handle hh;
};
struct awaited_dataset {
    char *id, *dataset;
    int64_t rows;
};
struct replay_log {
    struct loop *loop;
    struct agent *agent;
    char *pipeline;
    bool is_ready;
    uint64_t changes; /* counts events read */
    struct awaited *predictions;
    struct served_count *served;
    struct awaited_dataset *datasets;
    size_t n_datasets, cap_datasets;
    int64_t labels_expected, labels_seen, repeated,
        missing; /* missing: predictions expected, not seen */
    replay_event_fn on_event;
    void *on_event_ctx;
    char unrest[256];
    char url[128];
};
bool replay_dataset_has_outcome(struct replay_log *r, const struct awaited_dataset *d);

#endif
