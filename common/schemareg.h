/* Confluent's schema registry protocol over common/http.h: registers the compiled-in schemas under
 * <topic>-value at start (blocking, before the loop runs), fetches writers' schemas by id on the
 * pool while the loop goes on. The base URL may have a path; user:password@ and a bearer token are
 * allowed. */
#ifndef COMMON_SCHEMAREG_H
#define COMMON_SCHEMAREG_H

#include "common/codec.h"
#include "common/loop.h"

struct schemareg;
int schemareg_open(struct loop *l, const char *base_url, const char *token, struct schemareg **ret,
                   struct err *err) WARN_UNUSED;
void schemareg_close(struct schemareg *r);
/* Registers `records` (those an agent writes) and tells the codec their ids.  Retries for a while
 * (registry may still be starting): timeout_ms in all. Blocking. */
int schemareg_register(struct schemareg *r, struct codec *c, const char *topic_prefix,
                       const enum record *records, size_t n, int64_t timeout_ms,
                       struct err *err) WARN_UNUSED;
/* To be given to codec_set_lookup(codec, schemareg_lookup, r). */
int schemareg_lookup(void *ctx, int32_t schema_id, const char **ret_text, struct err *err);

#endif
