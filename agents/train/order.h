/* What the train agent asks of its child: one training of one run, as a JSON file in the run's
 * folder. Nothing of an event goes into a command line.  Pure. */
#ifndef TRAIN_ORDER_H
#define TRAIN_ORDER_H

#include "common/events.h"
#include "common/json.h"

struct order {
    const char *line, *run, *instance, *pipeline_sha256;
    int64_t attempt;
    struct snapshot_ref_list snapshots; /* oldest first */
    const char *artifacts;              /* the store's folder */
    const char *key;                    /* file of the signing key */
    const char *folder;                 /* of this attempt: work files */
    const char *trainer;                /* the name that the pipeline says */
    struct string_list command;         /* of an operator's trainer; n 0: the built-in one */
    int64_t threads;                    /* 0: by the size of the data */
};

struct json *order_to_json(const struct order *o);
int order_from_json(const struct json *j, struct arena *arena, struct order *ret,
                    struct err *err) WARN_UNUSED;

/* A result, as stored under the run and emitted: TrainingFinished with the members that its schema
 * has. */
struct json *result_to_json(const struct training_finished *f);

#endif
