/* Avro's binary form by hand, for what other writers send.  Each appends.  Thread: any. */
#ifndef TESTS_SUPPORT_AVRO_BYTES_H
#define TESTS_SUPPORT_AVRO_BYTES_H

#include "common/buf.h"

void avro_long(struct buf *out, int64_t v); /* also int, counts, branches, enum indexes */
void avro_str(struct buf *out, const char *s);
void avro_bytes(struct buf *out, const void *p, size_t n);
void avro_double(struct buf *out, double v);
void avro_float(struct buf *out, float v);
/* C3 01 and the fingerprint of a schema text; the test fails when the text is none. */
void avro_single_object(struct buf *out, const char *schema_text);
void avro_confluent(struct buf *out, int32_t schema_id);

#endif
