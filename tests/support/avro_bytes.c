#include "tests/support/avro_bytes.h"

#include <endian.h>

#include "common/codec.h"

void avro_long(struct buf *out, int64_t v)
{
    uint64_t z = ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);

    for (; z > 0x7f; z >>= 7)
        buf_add_char(out, (char)(z | 0x80));
    buf_add_char(out, (char)z);
}

void avro_bytes(struct buf *out, const void *p, size_t n)
{
    avro_long(out, (int64_t)n);
    buf_add(out, p, n);
}

void avro_str(struct buf *out, const char *s)
{
    avro_bytes(out, s, strlen(s));
}

void avro_double(struct buf *out, double v)
{
    uint64_t bits;

    memcpy(&bits, &v, sizeof(bits));
    bits = htole64(bits);
    buf_add(out, &bits, sizeof(bits));
}

void avro_float(struct buf *out, float v)
{
    uint32_t bits;

    memcpy(&bits, &v, sizeof(bits));
    bits = htole32(bits);
    buf_add(out, &bits, sizeof(bits));
}

void avro_single_object(struct buf *out, const char *schema_text)
{
    struct err err = {0};
    uint64_t fingerprint = 0;

    if (codec_text_fingerprint(slice_str(schema_text), &fingerprint, &err) != 0) {
        fprintf(stderr, "avro_single_object: %s\n", err.msg);
        abort();
    }
    fingerprint = htole64(fingerprint);
    buf_add(out, "\xC3\x01", 2);
    buf_add(out, &fingerprint, sizeof(fingerprint));
}

void avro_confluent(struct buf *out, int32_t schema_id)
{
    uint32_t id = htobe32((uint32_t)schema_id);

    buf_add_char(out, '\0');
    buf_add(out, &id, sizeof(id));
}
