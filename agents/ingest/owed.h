/* Which dataset events are owed to which pipeline: from the log alone, so that whoever looks comes
 * to the same.
 *
 * Every version published since the pipeline was first declared is owed, and of the older ones the
 * newest, so that a pipeline declared after its dataset starts with data.  Versions are taken one
 * after the other, in the order of the log: an answered one says that those before it are done.
 * Pure. */
#ifndef INGEST_OWED_H
#define INGEST_OWED_H

#include "common/events.h"

struct owed_input {
    const struct event *const *datasets; /* events of one dataset in log order */
    size_t n;
    int64_t first_declared_unix_ms; /* of the pipeline */
    bool is_segmented;
    /* Has some line of the pipeline an answer to that event?  One alone is all of it when the
     * pipeline has no segments, or when it refuses the dataset as a whole (is_whole). */
    bool (*has_answer)(void *ctx, const struct event *dataset, bool *ret_is_whole);
    void *ctx;
    const char
        *complete; /* id of an event that is known to be answered for every segment; NULL: none */
};
#define OWED_NONE SIZE_MAX
/* The first event that is owed and not answered, or not known to be answered for every segment. */
size_t owed_next(const struct owed_input *in);
/* May the event's position be committed, as far as this pipeline goes? */
bool owed_is_done(const struct owed_input *in, const char *event_id);

#endif
