/* More than fits in memory: records are dealt out to files by a hash, and each file is then taken
 * as a whole. The files have no names, so nothing is left behind however the process ends. */
#ifndef RELEARN_VERIFY_SPOOL_H
#define RELEARN_VERIFY_SPOOL_H

#include "common/buf.h"
#include "common/err.h"

enum { SPOOL_FILES = 128 }; /* ten million events of 80 bytes are 6 MB a file */

struct spool;
int spool_new(struct spool **ret, struct err *err) WARN_UNUSED; /* files in TMPDIR */
void spool_free(struct spool *s);                               /* NULL is fine */
int spool_add(struct spool *s, uint64_t hash, struct slice record, struct err *err) WARN_UNUSED;
/* All records of one file, each with its length in front (spool_next); bytes replaced. */
int spool_load(struct spool *s, size_t file, struct buf *bytes, struct err *err) WARN_UNUSED;
/* at: {0} to begin; false at the end.  *ret borrows from bytes. */
bool spool_next(const struct buf *bytes, size_t *at, struct slice *ret);
uint64_t spool_hash(struct slice bytes); /* FNV-1a */
size_t spool_file(uint64_t hash);        /* which one it is dealt to */

#endif
