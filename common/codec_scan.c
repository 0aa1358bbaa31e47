/* The pre-scan: what avro-c 1.11.1 takes on trust is checked here first, since it allocates what a
 * length says (five bytes make it take 256 MiB), loops as often as a count says (an array of nulls
 * costs no bytes), passes enum indexes on unchecked and leaks about 1 kB for each decode that
 * fails. */
#include "common/codec_wire.h"

static int scan_type(const struct wire_type *t, struct cursor *c, size_t *budget, struct err *err);

static int scan_blocks(const struct wire_type *t, struct cursor *c, size_t *budget, struct err *err)
{
    const struct wire_type *item = t->types[0];
    size_t key_bytes = t->kind == WIRE_MAP; /* a key is one byte at least, and one value more */
    struct wire_block b;

    for (;;) {
        if (!wire_block(c, item->min_bytes + key_bytes, &b))
            return wire_bad(c, "item count", err);
        if (b.count == 0)
            return !b.stop || b.stop == c->p ? 0 : wire_bad(c, "empty block", err);
        if (b.count > *budget / (item->values + key_bytes))
            return err_set(err, ERR_LIMIT, NEXT_REJECT, "more than %zu values in one record",
                           CODEC_MAX_VALUES);
        *budget -= b.count * (item->values + key_bytes);
        for (size_t i = 0; i < b.count; i++) {
            struct slice key;

            if (key_bytes && (!wire_bytes(c, &key) || !codec__is_text(key)))
                return wire_bad(c, "map key", err);
            if (scan_type(item, c, budget, err) != 0)
                return -1;
        }
        if (b.stop && b.stop != c->p)
            return wire_bad(c, "block size", err);
    }
}

static int scan_text(struct cursor *c, bool text, struct err *err)
{
    struct slice s;

    if (!wire_bytes(c, &s))
        return wire_bad(c, "length", err);
    if (text && !codec__is_text(s))
        return err_codec(err, "a string that is not UTF-8, or has a NUL in it, ends at byte %zu",
                         (size_t)(c->p - c->begin));
    return 0;
}

static int scan_number(enum wire_kind kind, struct cursor *c, int64_t below, struct err *err)
{
    int64_t v;

    if (!wire_long(c, &v))
        return wire_bad(c, codec__wire_str(kind), err);
    if (kind == WIRE_INT && (v < INT32_MIN || v > INT32_MAX))
        return err_codec(err, "an int of %lld", (long long)v);
    if (kind == WIRE_ENUM && (v < 0 || v >= below))
        return err_codec(err, "enum index %lld of %lld symbols", (long long)v, (long long)below);
    return 0;
}

static int scan_union(const struct wire_type *t, struct cursor *c, size_t *budget, struct err *err)
{
    int64_t branch;

    if (!wire_long(c, &branch) || branch < 0 || (uint64_t)branch >= t->n)
        return wire_bad(c, "union branch", err);
    return scan_type(t->types[branch], c, budget, err);
}

static int scan_skip(struct cursor *c, const struct wire_type *t, size_t n, struct err *err)
{
    if (cursor_left(c) < n)
        return wire_bad(c, codec__wire_str(t->kind), err);
    c->p += n;
    return 0;
}

static int scan_type(const struct wire_type *t, struct cursor *c, size_t *budget, struct err *err)
{
    bool b;

    switch (t->kind) {
    case WIRE_NULL:
        return 0;
    case WIRE_BOOL:
        return wire_bool(c, &b) ? 0 : wire_bad(c, "boolean", err);
    case WIRE_INT:
    case WIRE_LONG:
        return scan_number(t->kind, c, 0, err);
    case WIRE_ENUM:
        return scan_number(t->kind, c, (int64_t)t->n, err);
    case WIRE_FLOAT:
        return scan_skip(c, t, 4, err);
    case WIRE_DOUBLE:
        return scan_skip(c, t, 8, err);
    case WIRE_FIXED:
        return scan_skip(c, t, t->n, err);
    case WIRE_BYTES:
        return scan_text(c, false, err);
    case WIRE_STRING:
        return scan_text(c, true, err);
    case WIRE_ARRAY:
    case WIRE_MAP:
        return scan_blocks(t, c, budget, err);
    case WIRE_UNION:
        return scan_union(t, c, budget, err);
    case WIRE_RECORD:
        for (size_t i = 0; i < t->n; i++)
            if (scan_type(t->types[i], c, budget, err) != 0)
                return err_wrap(err, "%s", t->names[i]);
        return 0;
    case WIRE_COUNT:
        break;
    }
    BUG_ON(true);
}

int codec__scan(const struct wire_type *t, struct slice body, struct err *err)
{
    struct cursor c = cursor_on(body);
    size_t budget = CODEC_MAX_VALUES;

    if (scan_type(t, &c, &budget, err) != 0)
        return -1;
    if (c.p != c.end)
        return err_codec(err, "%zu bytes after the end of the record", cursor_left(&c));
    return 0;
}
