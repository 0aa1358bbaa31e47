/* A dataset's bytes into a sheet: finds the format, unpacks, finds types, adds the rows.  What a
 * text column's type is can be wrong after the first block (a word in row two million); then
 * everything is read a second time with that column as a category: a file from where it is, a
 * download from a copy kept for that.  Pool thread. */
#ifndef INGEST_READER_H
#define INGEST_READER_H

#include "agents/ingest/sheet.h"
#include "agents/ingest/source.h"

struct reader_request {
    struct source_request source;
    const struct pipeline *pipeline;
    const char *format; /* csv, npy, npz; NULL: seen from the bytes */
    int64_t rows;       /* that the event says; ABSENT_I64 */
    const struct artifacts *artifacts;
    const char *const *known_segments; /* that have lines already */
    size_t n_known_segments;
};
/* 0: all was read; *s holds the rows, or s->report what is wrong with the dataset as a whole.
 * -1: not read, err->next NEXT_RETRY: the source may get better (*ret_rule BROKEN_FETCH), or the
 * disk of the store (BROKEN_COUNT).  *s is to be closed in any case; it is zeroed at first. */
int reader_read(const struct reader_request *rq, struct sheet *s, uint64_t *ret_bytes,
                enum broken *ret_rule, struct err *err) WARN_UNUSED;

#endif
