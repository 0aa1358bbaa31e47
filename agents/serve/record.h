/* Every prediction becomes a record in the topic predictions, before its client is answered:
 * nothing is answered that is not on its way, and nothing that is on its way is given up while this
 * process lives. A record whose delivery fails is sent again under the same id.  How many may be
 * unacknowledged is bounded; beyond that no request is taken.  Loop thread. */
#ifndef SERVE_RECORD_H
#define SERVE_RECORD_H

#include "common/agent.h"

enum {
    RECORD_MAX_ROWS =
        1000, /* of one record: a label's row is found quickly, a window is not overrun */
    RECORD_MAX_BYTES =
        200 * 1000, /* of its numbers: five fit into what a broker takes by default */
    RECORDS_MAX_BYTES = 32 * 1024 * 1024, /* unacknowledged: half of the client's own queue */
};

struct records;

struct served_rows { /* borrowed during the call */
    const char *line, *prediction, *request /* or NULL */, *model, *role;
    int64_t generation;
    size_t rows, features, outputs; /* per row */
    const float *x;
    const double *p;
    int64_t latency_us, served_unix_ms;
};

struct records *records_new(struct agent *a, size_t max_unacknowledged);
void records_free(struct records *r);
/* Room for the records of so many rows? */
bool records_have_room(const struct records *r, size_t rows, size_t features, size_t outputs);
/* Rows of one request; more than one record has room for become several: the first is called
 * <prediction>, the one that begins at row i <prediction>:<i>.
 * Errors: ERR_LIMIT (retry), ERR_BUS: nothing was sent. */
int records_send(struct records *r, const struct served_rows *rows, struct err *err) WARN_UNUSED;
size_t records_unacknowledged(const struct records *r);
uint64_t records_resent(const struct records *r);

#endif
