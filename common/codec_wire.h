/* Inside of the codec: reading Avro's binary form with every step checked against the bytes left.
 * Functions return false when the bytes end early or a number is malformed; the cursor then stands
 * where the trouble is. */
#ifndef COMMON_CODEC_WIRE_H
#define COMMON_CODEC_WIRE_H

#include "common/codec_internal.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "floats are copied as they lie in memory");

struct cursor {
    const uint8_t *p, *end, *begin;
};

static inline struct cursor cursor_on(struct slice s)
{
    const uint8_t *p = (const uint8_t *)(s.n ? s.p : "");
    return (struct cursor){.p = p, .end = p + s.n, .begin = p};
}
static inline size_t cursor_left(const struct cursor *c)
{
    return (size_t)(c->end - c->p);
}

/* Variable-length zig-zag; at most 10 bytes, the last of which has one bit to give. */
static inline bool wire_long(struct cursor *c, int64_t *ret)
{
    const uint8_t *p = c->p;
    uint64_t v = 0;

    for (unsigned shift = 0; shift < 70; shift += 7) {
        uint8_t b;

        if (p == c->end || (shift == 63 && *p > 1))
            return false;
        b = *p++;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80)) {
            *ret = (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
            c->p = p;
            return true;
        }
    }
    return false;
}

static inline bool wire_raw(struct cursor *c, void *ret, size_t n)
{
    if (cursor_left(c) < n)
        return false;
    memcpy(ret, c->p, n);
    c->p += n;
    return true;
}

static inline bool wire_bool(struct cursor *c, bool *ret)
{
    if (c->p == c->end || *c->p > 1)
        return false;
    *ret = *c->p++ == 1;
    return true;
}

/* Length and that many bytes, borrowed. */
static inline bool wire_bytes(struct cursor *c, struct slice *ret)
{
    struct cursor at = *c;
    int64_t n;

    if (!wire_long(&at, &n) || n < 0 || (uint64_t)n > cursor_left(&at))
        return false;
    *ret = (struct slice){.p = (const char *)at.p, .n = (size_t)n};
    c->p = at.p + n;
    return true;
}

/* One block of a list or map: how many items, and where it must end if it says so (else NULL). */
struct wire_block {
    size_t count;
    const uint8_t *stop;
};

/* count 0: the list is over.  A count that cannot be, since each item takes min_bytes (0: none), is
 * refused here; a negative one is followed by the block's size. */
static inline bool wire_block(struct cursor *c, size_t min_bytes, struct wire_block *ret)
{
    struct cursor at = *c;
    struct wire_block b = {0};
    int64_t n, size;

    if (!wire_long(&at, &n) || n == INT64_MIN)
        return false;
    if (n < 0) {
        if (!wire_long(&at, &size) || size < 0 || (uint64_t)size > cursor_left(&at))
            return false;
        b.stop = at.p + size;
        n = -n;
    }
    if (min_bytes > 0 && (uint64_t)n > cursor_left(&at) / min_bytes)
        return false;
    b.count = (size_t)n;
    c->p = at.p;
    *ret = b;
    return true;
}

static inline int wire_bad(const struct cursor *c, const char *what, struct err *err)
{
    return err_codec(err, "%s at byte %zu of %zu: the bytes end early or are damaged", what,
                     (size_t)(c->p - c->begin), (size_t)(c->end - c->begin));
}

#endif
