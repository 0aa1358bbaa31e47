/* Avro both ways, through field tables (common/events.h).  The only module with avro.h.
 *
 * Value framing: Avro single-object encoding (C3 01 + CRC-64-AVRO fingerprint of the writer's
 * schema, little-endian) or Confluent's (00 + schema id, big-endian).  A reader takes both.
 * Decoding uses the WRITER's schema, fields are copied by name, missing ones get the absent value
 * (or the default that the compiled-in schema gives), added ones are skipped, unknown values of
 * closed sets stay strings. Every length and count is checked against the bytes left before avro-c
 * sees them. Loop thread only. */
#ifndef COMMON_CODEC_H
#define COMMON_CODEC_H

#include "common/buf.h"
#include "common/err.h"
#include "common/events.h"

#define CODEC_MAX_BYTES ((size_t)4 << 20) /* a record larger than this is refused unread */
#define CODEC_MAX_SCHEMA_BYTES ((size_t)256 << 10)

struct codec;

/* Finds the writer's schema text of a Confluent id: 0 = found in *ret_text (borrowed until the next
 * call), 1 = asked for, try again later, -1 = error (unknown id: ERR_CODEC/NEXT_REJECT; registry
 * down: NEXT_RETRY). */
typedef int (*codec_lookup_fn)(void *ctx, int32_t schema_id, const char **ret_text,
                               struct err *err);

/* Finds the text of a writer's schema by its fingerprint (another version's, in single-object
 * encoding) and appends it to *ret.  Errors: ERR_NOTFOUND and whatever else (reject). */
typedef int (*codec_find_fn)(void *ctx, uint64_t fingerprint, struct buf *ret, struct err *err);

/* Parses the compiled-in schemas and checks the tables. */
int codec_new(struct codec **ret, struct err *err) WARN_UNUSED;
void codec_free(struct codec *c);
void codec_set_lookup(struct codec *c, codec_lookup_fn lookup, void *ctx);
void codec_set_find(struct codec *c, codec_find_fn find, void *ctx);
/* Schema id to write for a record, from the registry; unset: single-object encoding. */
void codec_set_schema_id(struct codec *c, enum record r, int32_t schema_id);
/* Other writers' schemas for the single-object form (older versions); by fingerprint. */
int codec_add_schema(struct codec *c, struct slice schema_text, struct err *err) WARN_UNUSED;

const char *codec_schema_text(enum record r); /* the original .avsc text, NUL-terminated */
uint64_t codec_fingerprint(const struct codec *c, enum record r); /* of the compiled-in schema */
/* CRC-64-AVRO of the canonical form.  Recursive types are not supported. */
int codec_text_fingerprint(struct slice schema_text, uint64_t *ret, struct err *err) WARN_UNUSED;

/* Appends the framed record to out (out->overflow must be clear; on failure out is as it was). Text
 * that is no UTF-8 is written with U+FFFD in its place.  Errors: ERR_LIMIT (reject). */
int codec_encode(struct codec *c, enum record r, const void *rec, struct buf *out,
                 struct err *err) WARN_UNUSED;
/* Decodes framed bytes of a record that must be `expected`; on success *ret is allocated in arena.
 * Returns 0, 1 (schema being fetched, try again), -1.  Errors: ERR_CODEC, ERR_LIMIT (reject),
 * ERR_HTTP (retry). */
int codec_decode(struct codec *c, enum record expected, struct slice framed, struct arena *arena,
                 const void **ret, struct err *err) WARN_UNUSED;
/* A record as JSON, for people (bytes in base64, what is absent or not finite as null), `explain`
 * and tests; from the struct by its field table. */
struct json;
struct json *codec_to_json(enum record r, const void *rec);
void codec_write_json(enum record r, const void *rec, struct buf *out); /* its text in one line */
/* And back, for HTTP intake: unknown members and wrong types are errors naming the member. */
int codec_from_json(enum record r, const struct json *obj, struct arena *arena, const void **ret,
                    struct err *err) WARN_UNUSED;
/* Checks that struct, table and .avsc agree, field by field. */
int codec_check_tables(struct err *err) WARN_UNUSED;

#endif
