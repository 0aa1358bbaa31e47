/* Streaming inflate (zlib): gzip files of one or several members, and the bare deflate streams of
 * zip members. Memory is bounded whatever comes out; how much may come out is the sink's to say.
 * The only file with zlib's header.  Thread: one at a time. */
#ifndef INGEST_GZ_H
#define INGEST_GZ_H

#include "common/base.h"
#include "common/err.h"

typedef int (*bytes_fn)(void *ctx, const void *p, size_t n,
                        struct err *err); /* -1 with *err set stops */

enum gz_kind { GZ_GZIP = 0, GZ_RAW };
struct gz;
struct gz *gz_new(enum gz_kind kind, bytes_fn sink, void *ctx);
void gz_free(struct gz *g); /* NULL is fine */
/* Errors: ERR_INVAL for damaged data, or what the sink says. */
int gz_feed(struct gz *g, const void *p, size_t n, struct err *err) WARN_UNUSED;
int gz_end(struct gz *g, struct err *err) WARN_UNUSED; /* error when the stream is not complete */

uint32_t gz_crc32(uint32_t crc, const void *p, size_t n); /* of zip members; 0 to begin */

#endif
