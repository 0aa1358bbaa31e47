/* Messages as the cache keeps them, one behind the other: key, value and headers, and the offset as
 * a step from the message before.  Lengths and numbers are varints, header names that events have
 * are a byte, so that half as much is written as the log holds.  A file of this program's version
 * alone (agent_cache.c numbers it): whatever reads on beyond a damaged place is told so. */
#include <string.h>

#include "common/agent_internal.h"

/* By number from 1 on; 0 is a name that is written out.  Only to be added to, at the end. */
static const char *const NAMES[] = {
    "ce_specversion", "ce_id",       "ce_source",      "ce_type",          "ce_time", "ce_subject",
    "content-type",   "traceparent", "ce_causationid", "ce_correlationid", "ce_hops", "ce_seen",
};
enum { HAS_KEY = 1, HAS_VALUE = 2 };

static void put_number(struct buf *out, uint64_t v)
{
    char bytes[10];
    size_t n = 0;
    for (; v >= 0x80; v >>= 7)
        bytes[n++] = (char)(v | 0x80);
    bytes[n++] = (char)v;
    buf_add(out, bytes, n);
}

static void put_bytes(struct buf *out, const void *p, size_t n)
{
    put_number(out, n);
    buf_add(out, p, n);
}

static void put_name(struct buf *out, const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(NAMES); i++)
        if (strcmp(NAMES[i], name) == 0) {
            buf_add_char(out, (char)(i + 1));
            return;
        }
    buf_add_char(out, 0);
    put_bytes(out, name, strlen(name) + 1);
}

void agent__pack(const struct bus_message *m, int64_t from_offset, struct buf *out)
{
    buf_add_char(out, (char)((m->key ? HAS_KEY : 0) | (m->value ? HAS_VALUE : 0)));
    put_number(out, (uint64_t)(m->offset - from_offset));
    put_number(out, (uint64_t)m->timestamp_ms);
    if (m->key)
        put_bytes(out, m->key, m->key_n);
    if (m->value)
        put_bytes(out, m->value, m->value_n);
    put_number(out, m->n_headers);
    for (size_t i = 0; i < m->n_headers; i++) { /* a length is one more: 0 has no value */
        const struct bus_header *h = &m->headers[i];
        put_name(out, h->name);
        put_number(out, h->value ? (uint64_t)h->n + 1 : 0);
        buf_add(out, h->value, h->value ? h->n : 0);
    }
}

static bool get_number(struct slice *in, uint64_t *ret)
{
    uint64_t v = 0;
    for (size_t i = 0; i < in->n && i < 10; i++) {
        v |= (uint64_t)(in->p[i] & 0x7f) << (7 * i);
        if (in->p[i] & 0x80)
            continue;
        *ret = v;
        *in = (struct slice){in->p + i + 1, in->n - i - 1};
        return true;
    }
    return false;
}

static bool get_bytes(struct slice *in, const char **ret, size_t n)
{
    if (n > in->n)
        return false;
    *ret = in->p;
    *in = (struct slice){in->p + n, in->n - n};
    return true;
}

static bool get_counted(struct slice *in, const void **ret, size_t *ret_n)
{
    const char *p = NULL;
    uint64_t n;
    if (!get_number(in, &n) || !get_bytes(in, &p, n))
        return false;
    *ret = p;
    *ret_n = n;
    return true;
}

static bool get_name(struct slice *in, const char **ret)
{
    const char *code, *name;
    uint64_t n;
    if (!get_bytes(in, &code, 1) || (unsigned char)*code > ARRAY_LEN(NAMES))
        return false;
    if (*code) {
        *ret = NAMES[(unsigned char)*code - 1];
        return true;
    }
    if (!get_number(in, &n) || n == 0 || !get_bytes(in, &name, n) || name[n - 1] != '\0')
        return false;
    *ret = name;
    return true;
}

static bool get_header(struct slice *in, struct bus_header *ret)
{
    const char *value = NULL;
    uint64_t n;
    if (!get_name(in, &ret->name) || !get_number(in, &n) ||
        (n > 0 && !get_bytes(in, &value, n - 1)))
        return false;
    ret->value = value;
    ret->n = n > 0 ? n - 1 : 0;
    return true;
}

bool agent__unpack(struct slice *in, int64_t from_offset, struct bus_message *ret)
{
    const char *flags;
    uint64_t step, timestamp_ms, n_headers;
    struct slice at = *in;
    ret->key = ret->value = NULL;
    ret->key_n = ret->value_n = ret->n_headers = 0;
    if (!get_bytes(&at, &flags, 1) || !get_number(&at, &step) || !get_number(&at, &timestamp_ms) ||
        (*flags & HAS_KEY && !get_counted(&at, &ret->key, &ret->key_n)) ||
        (*flags & HAS_VALUE && !get_counted(&at, &ret->value, &ret->value_n)) ||
        !get_number(&at, &n_headers) || n_headers > BUS_MAX_HEADERS || step > INT64_MAX / 2)
        return false;
    while (ret->n_headers < n_headers)
        if (!get_header(&at, &ret->headers[ret->n_headers++]))
            return false;
    ret->offset = from_offset + (int64_t)step;
    ret->timestamp_ms = (int64_t)timestamp_ms;
    *in = at;
    return true;
}
