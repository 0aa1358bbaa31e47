/* Which rows earlier snapshots of a line have, by their hashes.  Memory is bounded: the new rows
 * are taken a million at a time, the earlier ones are read through. */
#ifndef INGEST_SEEN_H
#define INGEST_SEEN_H

#include "agents/ingest/spool.h"

#define SEEN_MAX_SNAPSHOTS                                                                         \
    64 /* the newest so many are looked at: a window of training is shorter */

/* Remembers where snapshots' hashes are, so that 64 manifests are not read for each dataset.  Any
 * thread. */
struct seen_cache;
struct seen_cache *seen_cache_new(void);
void seen_cache_free(struct seen_cache *c); /* NULL is fine */

/* hashes: rows uint64.  flags: NULL, or one byte for each row, set to 1 for a row that was seen
 * (others are left). Snapshots that the store no longer has are passed over.  cache may be NULL. */
int seen_count(const struct artifacts *a, const char *const *snapshots, size_t n,
               const struct spool *hashes, size_t rows, struct seen_cache *cache, uint8_t *flags,
               int64_t *ret, struct err *err) WARN_UNUSED;

#endif
