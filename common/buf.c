#include "common/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

enum { BUF_FIRST_BYTES = 64 };

struct slice slice_str(const char *s)
{
    return (struct slice){.p = s, .n = s ? strlen(s) : 0};
}

struct slice buf_slice(const struct buf *b)
{
    return (struct slice){.p = b->data, .n = b->len};
}

bool slice_eq(struct slice a, struct slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool slice_eq_str(struct slice a, const char *s)
{
    return slice_eq(a, slice_str(s));
}

/* Length of the UTF-8 sequence at p, 0 when it is none (RFC 3629: no overlong forms, no
 * surrogates, nothing above U+10FFFF). */
static size_t utf8_length(const unsigned char *p, size_t n)
{
    size_t len = p[0] < 0x80   ? 1
                 : p[0] < 0xC2 ? 0
                 : p[0] < 0xE0 ? 2
                 : p[0] < 0xF0 ? 3
                 : p[0] < 0xF5 ? 4
                               : 0;

    if (len == 0 || len > n)
        return 0;
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    }
    if ((p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F))
        return 0;
    if ((p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] > 0x8F))
        return 0;
    return len;
}

bool slice_is_utf8(struct slice s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t len;

    for (size_t i = 0; i < s.n; i += len) {
        len = utf8_length(p + i, s.n - i);
        if (len == 0)
            return false;
    }
    return true;
}

void buf_init(struct buf *b, size_t cap_bytes)
{
    *b = (struct buf){.cap = cap_bytes};
}

void buf_fini(struct buf *b)
{
    if (!b)
        return;
    free(b->data);
    *b = (struct buf){0};
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->overflow = false;
    if (b->data)
        b->data[0] = '\0';
}

static size_t buf_cap(const struct buf *b)
{
    return b->cap ? b->cap : BUF_CAP_DEFAULT_BYTES;
}

/* Room for `extra` bytes and the NUL.  False, and overflow is set, when that is over the cap; once
 * it is set nothing more is taken, so that what is there stays a prefix of what was written. */
static bool buf_room(struct buf *b, size_t extra)
{
    size_t need, grown;

    if (b->overflow || extra > buf_cap(b) - b->len) {
        b->overflow = true;
        return false;
    }
    need = b->len + extra + 1;
    if (need <= b->alloc)
        return true;
    grown = b->alloc ? b->alloc * 2 : BUF_FIRST_BYTES;
    if (grown > buf_cap(b) + 1)
        grown = buf_cap(b) + 1;
    if (grown < need)
        grown = need;
    b->data = xrealloc(b->data, grown);
    b->alloc = grown;
    b->data[b->len] = '\0';
    return true;
}

void buf_add(struct buf *b, const void *p, size_t n)
{
    if (!buf_room(b, n) || n == 0)
        return;
    memcpy(b->data + b->len, p, n);
    b->len += n;
    b->data[b->len] = '\0';
}

void buf_add_str(struct buf *b, const char *s)
{
    if (s)
        buf_add(b, s, strlen(s));
}

void buf_add_char(struct buf *b, char c)
{
    buf_add(b, &c, 1);
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
    size_t room = b->data ? b->alloc - b->len : 0;
    va_list ap, again;
    int n;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(room ? b->data + b->len : NULL, room, fmt, ap);
    va_end(ap);
    BUG_ON(n < 0); /* only a bad format or a text of more than 2 GiB can do this */
    if (!buf_room(b, (size_t)n)) {
        if (room)
            b->data[b->len] = '\0';
    } else {
        if ((size_t)n >= room)
            vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

void buf_reserve(struct buf *b, size_t extra_bytes)
{
    (void)buf_room(b, extra_bytes);
}

char *buf_take(struct buf *b)
{
    char *data = b->data ? b->data : xstrdup("");

    *b = (struct buf){.cap = b->cap};
    return data;
}

bool str_copy(char *dst, size_t dst_size, const char *src)
{
    size_t n = strnlen(src, dst_size);
    bool whole = n < dst_size;

    BUG_ON(dst_size == 0);
    n = whole ? n : dst_size - 1;
    memcpy(dst, src, n);
    dst[n] = '\0';
    return whole;
}

bool str_has_prefix(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_has_suffix(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);

    return n >= m && memcmp(s + n - m, suffix, m) == 0;
}
