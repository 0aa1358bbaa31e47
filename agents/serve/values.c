#include "agents/serve/values.h"

#include <math.h>
#include <string.h>

#include "agents/serve/scan.h"

struct walk {
    const struct oip_tensor *t;
    value_fn fn;
    void *ctx;
    struct err *err;
    size_t done, total;
    struct arena arena; /* strings with escapes */
};

static int at(const struct walk *w)
{
    return err_wrap(w->err, "data[%zu]", w->done);
}

static int give(struct walk *w, const struct value *v)
{
    if (w->fn(w->ctx, w->done, v, w->err))
        return at(w);
    w->done++;
    return 0;
}

static bool is_integer(enum oip_type t)
{
    return t >= OIP_UINT8 && t <= OIP_INT64;
}

/* 2^63 and 2^64 are doubles, the greatest integers below them are not. */
static const struct {
    double min, below;
} RANGES[OIP_TYPE_COUNT] = {
    [OIP_UINT8] = {0, 0x1p8},        [OIP_UINT16] = {0, 0x1p16},
    [OIP_UINT32] = {0, 0x1p32},      [OIP_UINT64] = {0, 0x1p64},
    [OIP_INT8] = {-0x1p7, 0x1p7},    [OIP_INT16] = {-0x1p15, 0x1p15},
    [OIP_INT32] = {-0x1p31, 0x1p31}, [OIP_INT64] = {-0x1p63, 0x1p63},
};

static int check_integer(const struct walk *w, double v)
{
    enum oip_type t = w->t->type;

    if (v == floor(v) && v >= RANGES[t].min && v < RANGES[t].below)
        return 0;
    err_inval(w->err, "%g is no %s", v, oip_type_str(t));
    return at(w);
}

/* ---- JSON ---- */

static int wrong_kind(struct walk *w, enum scan_kind k)
{
    err_inval(w->err, "%s, but the datatype is %s", scan_kind_str(k), oip_type_str(w->t->type));
    return at(w);
}

static int give_number(struct walk *w, struct scan *s)
{
    struct value v = {.kind = VALUE_NUMBER};
    struct slice text;

    if (scan_number(s, &text, &v.number, w->err))
        return at(w);
    if (is_integer(w->t->type) && check_integer(w, v.number))
        return -1;
    if (w->t->type == OIP_BOOL) { /* NumPy's tolist gives true, some clients 1 */
        v.kind = VALUE_BOOL;
        if (v.number != 0 && v.number != 1)
            return wrong_kind(w, SCAN_NUMBER);
    }
    return give(w, &v);
}

static int give_json(struct walk *w, struct scan *s)
{
    struct value v = {.kind = VALUE_MISSING};
    enum scan_kind k = scan_peek(s);
    bool b = false, is_bytes = w->t->type == OIP_BYTES;

    if (w->done == w->total) {
        err_inval(w->err, "more values than the %zu that the shape says", w->total);
        return at(w);
    }
    if (k == SCAN_NULL)
        return scan_null(s, w->err) ? at(w) : give(w, &v);
    if (k == SCAN_NUMBER && !is_bytes)
        return give_number(w, s);
    if (k == SCAN_STRING && is_bytes) {
        v.kind = VALUE_TEXT;
        return scan_string(s, &w->arena, &v.text, w->err) ? at(w) : give(w, &v);
    }
    if ((k == SCAN_TRUE || k == SCAN_FALSE) && w->t->type == OIP_BOOL) {
        if (scan_bool(s, &b, w->err))
            return at(w);
        v = (struct value){.kind = VALUE_BOOL, .number = b};
        return give(w, &v);
    }
    return wrong_kind(w, k);
}

/* One row of nested data: as many values as the shape's second number. */
static int give_row(struct walk *w, struct scan *s)
{
    size_t from = w->done;
    bool first = true;
    int rc;

    while ((rc = scan_element(s, &first, w->err)) == 1)
        if (give_json(w, s))
            return -1;
    if (rc)
        return at(w);
    if (w->done - from != (size_t)w->t->shape[1]) {
        err_inval(w->err, "this row has %zu values, the shape says %lld", w->done - from,
                  (long long)w->t->shape[1]);
        return at(w);
    }
    return 0;
}

static int each_json(struct walk *w)
{
    struct scan s = scan_on(w->t->data);
    bool first = true, is_nested = false, is_decided = false;
    int rc;

    while ((rc = scan_element(&s, &first, w->err)) == 1) {
        bool is_list = scan_peek(&s) == SCAN_ARRAY;

        if (!is_decided)
            is_nested = is_list && !w->t->is_flat;
        is_decided = true;
        if (is_list != is_nested)
            return wrong_kind(w, scan_peek(&s));
        if (is_nested ? give_row(w, &s) : give_json(w, &s))
            return -1;
    }
    return rc;
}

/* ---- raw bytes, little-endian ---- */

static double half(uint16_t bits)
{
    double sign = bits & 0x8000 ? -1 : 1, fraction = bits & 0x3ff;
    int exponent = bits >> 10 & 31;

    if (exponent == 31)
        return fraction != 0 ? NAN : sign * INFINITY;
    return exponent ? sign * ldexp(1024 + fraction, exponent - 25) : sign * ldexp(fraction, -24);
}

#define READ(type)                                                                                 \
    ({                                                                                             \
        type read_;                                                                                \
        memcpy(&read_, p, sizeof(read_));                                                          \
        (double)read_;                                                                             \
    })

static double raw_number(enum oip_type t, const char *p)
{
    uint16_t bits;

    switch (t) {
    case OIP_BOOL:
    case OIP_UINT8:
        return READ(uint8_t);
    case OIP_UINT16:
        return READ(uint16_t);
    case OIP_UINT32:
        return READ(uint32_t);
    case OIP_UINT64:
        return READ(uint64_t);
    case OIP_INT8:
        return READ(int8_t);
    case OIP_INT16:
        return READ(int16_t);
    case OIP_INT32:
        return READ(int32_t);
    case OIP_INT64:
        return READ(int64_t);
    case OIP_FP16:
        memcpy(&bits, p, sizeof(bits));
        return half(bits);
    case OIP_FP32:
        return READ(float);
    default:
        return READ(double);
    }
}

static int give_raw(struct walk *w, const char *p)
{
    struct value v = {.kind = VALUE_NUMBER, .number = raw_number(w->t->type, p)};

    if (w->t->type == OIP_BOOL)
        v.kind = VALUE_BOOL;
    if (isnan(v.number))
        v.kind = VALUE_MISSING;
    return give(w, &v);
}

static int each_raw(struct walk *w)
{
    size_t bytes = oip_type_bytes(w->t->type);

    if (w->t->data.n != bytes * w->total)
        return err_inval(w->err, "binary_data_size is %zu, the shape says %zu x %zu bytes",
                         w->t->data.n, w->total, bytes);
    for (const char *p = w->t->data.p; w->done < w->total; p += bytes)
        if (give_raw(w, p))
            return -1;
    return 0;
}

/* BYTES: each element with its length in front, 32 bits. */
static int each_raw_text(struct walk *w)
{
    struct slice left = w->t->data;

    while (left.n) {
        struct value v = {.kind = VALUE_TEXT};
        uint32_t n;

        if (w->done == w->total)
            return err_inval(w->err, "more values than the %zu that the shape says", w->total);
        if (left.n < sizeof(n))
            return err_inval(w->err, "the length of data[%zu] is cut off", w->done);
        memcpy(&n, left.p, sizeof(n));
        left.p += sizeof(n);
        left.n -= sizeof(n);
        if (n > left.n)
            return err_inval(w->err, "data[%zu] has %lu bytes, but %zu are left", w->done,
                             (unsigned long)n, left.n);
        v.text = (struct slice){left.p, n};
        if (!slice_is_utf8(v.text) || (n && memchr(v.text.p, 0, n)))
            return err_inval(w->err, "data[%zu] is not UTF-8, or has a NUL in it", w->done);
        left.p += n;
        left.n -= n;
        if (give(w, &v))
            return -1;
    }
    return 0;
}

int values_each(const struct oip_tensor *t, value_fn fn, void *ctx, struct err *err)
{
    struct walk w = {.t = t, .fn = fn, .ctx = ctx, .err = err};
    int rc;

    if (t->shape[0] > INT64_MAX / t->shape[1])
        return err_inval(err, "shape: too many values");
    w.total = (size_t)(t->shape[0] * t->shape[1]);
    if (!t->is_binary)
        rc = each_json(&w);
    else
        rc = t->type == OIP_BYTES ? each_raw_text(&w) : each_raw(&w);
    arena_fini(&w.arena);
    if (rc)
        return -1;
    return w.done == w.total
               ? 0
               : err_inval(err, "data has %zu values, the shape says %zu", w.done, w.total);
}
