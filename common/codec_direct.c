/* Between the wire and a struct by its field table alone, without avro-c: for what we write, and
 * for what was written with a schema that is one of ours to the letter of its canonical form, which
 * is nearly all that is ever read.  Chosen over avro-c's generic values since the table already
 * says all there is to know: one pass instead of three (scan, avro-c, copy), no value to keep,
 * about a tenth of the time, and each length is checked where it is used.  That both ways agree is
 * what tests/fuzz/fuzz_codec.c is for. */
#include "common/codec_wire.h"

#include <math.h>

/* --- writing --------------------------------------------------------------------------------- */

static void put_long(struct buf *out, int64_t v)
{
    uint64_t z = ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
    uint8_t bytes[10];
    size_t n = 0;

    do {
        bytes[n++] = (uint8_t)((z & 0x7f) | (z > 0x7f ? 0x80 : 0));
        z >>= 7;
    } while (z);
    buf_add(out, bytes, n);
}

/* Text that is not UTF-8 (a cell of somebody's CSV in a reason) is written with U+FFFD in place of
 * the bad bytes: an error here would leave the event that it answers without an answer. */
static void put_string(struct buf *out, const char *s)
{
    size_t n = s ? strlen(s) : 0;
    struct buf repaired = {0};

    if (codec__is_text((struct slice){.p = s, .n = n})) {
        put_long(out, (int64_t)n);
        buf_add(out, s, n);
        return;
    }
    codec__repair_utf8(s, n, &repaired);
    put_long(out, (int64_t)repaired.len);
    buf_add(out, repaired.data, repaired.len);
    buf_fini(&repaired);
}

/* Is an optional one there?  Writes the branch of ["null", T]. */
static bool put_branch(struct buf *out, const struct field *f, bool present)
{
    if (f->optional)
        put_long(out, present);
    return present || !f->optional;
}

static void put_items(struct buf *out, const struct field *f, struct any_list l)
{
    if (l.n > 0)
        put_long(out, (int64_t)l.n);
    switch (f->type) {
    case FIELD_STRINGS:
        for (size_t i = 0; i < l.n; i++)
            put_string(out, ((const char *const *)l.items)[i]);
        break;
    case FIELD_DOUBLES:
        buf_add(out, l.items, l.n * sizeof(double));
        break;
    case FIELD_FLOATS:
        buf_add(out, l.items, l.n * sizeof(float));
        break;
    default:
        for (size_t i = 0; i < l.n && !out->overflow; i++)
            codec__put_record(out, f->of, (const char *)l.items + i * f->of->size);
    }
    put_long(out, 0);
}

static void put_field(struct buf *out, const struct field *f, const void *rec)
{
    const void *p = field_in(rec, f);

    switch (f->type) {
    case FIELD_STRING: {
        const char *s = *(const char *const *)p;
        if (put_branch(out, f, s != NULL))
            put_string(out, s);
        break;
    }
    case FIELD_LONG: {
        int64_t v = *(const int64_t *)p;
        if (put_branch(out, f, v != ABSENT_I64))
            put_long(out, v);
        break;
    }
    case FIELD_DOUBLE: {
        double v = *(const double *)p;
        if (put_branch(out, f, !isnan(v)))
            buf_add(out, &v, sizeof(v));
        break;
    }
    case FIELD_BOOL:
        buf_add_char(out, (char)*(const bool *)p);
        break;
    case FIELD_BYTES: {
        const struct bytes *b = p;
        if (put_branch(out, f, b->p != NULL)) {
            put_long(out, b->p ? (int64_t)b->n : 0);
            buf_add(out, b->p, b->p ? b->n : 0);
        }
        break;
    }
    default:
        put_items(out, f, field_list(rec, f));
    }
}

void codec__put_record(struct buf *out, const struct record_fields *t, const void *rec)
{
    for (size_t i = 0; i < t->n; i++)
        put_field(out, &t->fields[i], rec);
}

/* --- reading --------------------------------------------------------------------------------- */

static int get_record(struct cursor *c, const struct record_fields *t, struct arena *arena,
                      void *rec, struct err *err);

static int get_string(struct cursor *c, struct arena *arena, const char **ret, struct err *err)
{
    struct slice s;

    if (!wire_bytes(c, &s))
        return wire_bad(c, "length", err);
    if (!codec__is_text(s))
        return err_codec(err, "a string that is not UTF-8, or has a NUL in it, ends at byte %zu",
                         (size_t)(c->p - c->begin));
    *ret = s.n ? arena_strndup(arena, s.p, s.n) : "";
    return 0;
}

static size_t min_bytes_of(const struct record_fields *t)
{
    size_t sum = 0;

    for (size_t i = 0; i < t->n; i++)
        sum += t->fields[i].type == FIELD_DOUBLE && !t->fields[i].optional ? sizeof(double) : 1;
    return sum;
}

static int get_items(struct cursor *c, const struct field *f, size_t count, struct arena *arena,
                     char *items, struct err *err)
{
    size_t size = field_item_size(f);

    if (f->type == FIELD_DOUBLES || f->type == FIELD_FLOATS)
        return wire_raw(c, items, count * size) ? 0 : wire_bad(c, "numbers", err);
    for (size_t i = 0; i < count; i++, items += size) {
        if (f->type == FIELD_STRINGS) {
            if (get_string(c, arena, (const char **)(void *)items, err) != 0)
                return -1;
        } else if (get_record(c, f->of, arena, items, err) != 0) {
            return -1;
        }
    }
    return 0;
}

static int get_list(struct cursor *c, const struct field *f, struct arena *arena, void *rec,
                    struct err *err)
{
    size_t size = field_item_size(f), n = 0, cap = 0;
    size_t min_bytes = f->type == FIELD_RECORDS   ? min_bytes_of(f->of)
                       : f->type == FIELD_STRINGS ? 1
                                                  : size;
    char *items = NULL;
    struct wire_block b;

    for (;;) {
        if (!wire_block(c, min_bytes, &b))
            return wire_bad(c, "item count", err);
        if (b.count == 0)
            break;
        if (n + b.count > cap) { /* writers use one block; doubling keeps many small ones linear */
            char *grown;

            cap = n + b.count > 2 * cap ? n + b.count : 2 * cap;
            grown = arena_alloc(arena, cap * size);
            if (n)
                memcpy(grown, items, n * size);
            items = grown;
        }
        if (get_items(c, f, b.count, arena, items + n * size, err) != 0)
            return -1;
        n += b.count;
        if (b.stop && b.stop != c->p)
            return wire_bad(c, "block size", err);
    }
    if (b.stop && b.stop != c->p)
        return wire_bad(c, "empty block", err);
    field_set_list(rec, f, items, n);
    return 0;
}

static int get_field(struct cursor *c, const struct field *f, struct arena *arena, void *rec,
                     struct err *err)
{
    void *p = field_of(rec, f);
    int64_t branch;

    if (f->optional) {
        if (!wire_long(c, &branch) || branch < 0 || branch > 1)
            return wire_bad(c, "union branch", err);
        if (branch == 0) {
            codec__set_absent(f, rec);
            return 0;
        }
    }
    switch (f->type) {
    case FIELD_STRING:
        return get_string(c, arena, p, err);
    case FIELD_LONG:
        return wire_long(c, p) ? 0 : wire_bad(c, "long", err);
    case FIELD_DOUBLE:
        return wire_raw(c, p, sizeof(double)) ? 0 : wire_bad(c, "double", err);
    case FIELD_BOOL:
        return wire_bool(c, p) ? 0 : wire_bad(c, "boolean", err);
    case FIELD_BYTES: {
        struct slice s;

        if (!wire_bytes(c, &s))
            return wire_bad(c, "length", err);
        *(struct bytes *)p = (struct bytes){.p = arena_memdup(arena, s.p, s.n), .n = s.n};
        return 0;
    }
    default:
        return get_list(c, f, arena, rec, err);
    }
}

static int get_record(struct cursor *c, const struct record_fields *t, struct arena *arena,
                      void *rec, struct err *err)
{
    for (size_t i = 0; i < t->n; i++)
        if (get_field(c, &t->fields[i], arena, rec, err) != 0)
            return err_wrap(err, "%s", t->fields[i].name);
    return 0;
}

int codec__get_record(struct slice body, const struct record_fields *t, struct arena *arena,
                      void *rec, struct err *err)
{
    struct cursor c = cursor_on(body);

    if (get_record(&c, t, arena, rec, err) != 0)
        return -1;
    if (c.p != c.end)
        return err_codec(err, "%zu bytes after the end of the record", cursor_left(&c));
    return 0;
}
