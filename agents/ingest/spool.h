/* Rows on their way to a file: in memory while they are few, appended to a temporary file of the
 * artefact store when they are many.  The file has NPY_HEAD_BYTES free at its begin, so that it can
 * become the body of a .npy file where it is.  It is open only while it is written: a thousand
 * segments need no descriptors. */
#ifndef INGEST_SPOOL_H
#define INGEST_SPOOL_H

#include "common/artifact.h"

struct spool_budget { /* shared by the spools of one dataset */
    const struct artifacts *artifacts;
    size_t used_bytes, max_bytes; /* of memory */
};
struct spool {
    char *data; /* what is not in the file yet */
    size_t n, cap;
    uint64_t filed; /* bytes in the file, without the head */
    char *path;     /* NULL: no file */
};
int spool_add(struct spool *s, struct spool_budget *b, const void *p, size_t n,
              struct err *err) WARN_UNUSED;
/* Everything is in the file then. */
int spool_flush(struct spool *s, struct spool_budget *b, struct err *err) WARN_UNUSED;
/* n bytes from offset: borrowed from memory, or read into `into`. */
int spool_read(const struct spool *s, uint64_t offset, size_t n, void *into, const void **ret,
               struct err *err) WARN_UNUSED;
void spool_fini(struct spool *s, struct spool_budget *b); /* removes the file */

#endif
