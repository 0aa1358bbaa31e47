/* Records as JSON, for people: numbers as numbers (one that is not finite is null), absent as null,
 * bytes always as base64, so that the same member has the same form whatever the bytes are.  Back
 * again for HTTP intake: a member left out, or null, is what the compiled-in schema says about it;
 * one that is not known or of another type is an error that names it ("features[2].value"). */
#include "common/codec_internal.h"

#include "common/base64.h"
#include "common/json.h"

#include <math.h>

/* 2^53: whole numbers below are exact in a double. */
#define EXACT_DOUBLE 9007199254740992.0

/* --- to JSON --------------------------------------------------------------------------------- */

/* The double that prints shortest among those that are this float: 0.1f is to read 0.1. */
static double float_for_people(float v)
{
    char text[32];
    double d;

    if (!isfinite(v))
        return (double)NAN;
    for (int digits = 6; digits < 9; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, (double)v);
        if (str_to_double(text, &d) == 0 && (float)d == v)
            return d;
    }
    return (double)v;
}

static void set_text(struct json *obj, const char *key, const char *s)
{
    CLEANUP(buf_fini) struct buf repaired = {0};

    if (!s || codec__is_text(slice_str(s))) {
        json_set_str(obj, key, s);
        return;
    }
    codec__repair_utf8(s, strlen(s), &repaired);
    json_set_str(obj, key, repaired.data);
}

static void add_text(struct json *array, const char *s)
{
    CLEANUP(buf_fini) struct buf repaired = {0};

    codec__repair_utf8(s ? s : "", s ? strlen(s) : 0, &repaired);
    json_add_str(array, repaired.data ? repaired.data : "");
}

static struct json *record_to_json(const struct record_fields *t, const void *rec)
{
    struct json *obj = json_object();

    for (size_t i = 0; i < t->n; i++) {
        const struct field *f = &t->fields[i];
        const void *p = field_in(rec, f);
        struct any_list l;
        struct json *array;

        switch (f->type) {
        case FIELD_STRING:
            set_text(obj, f->name, *(const char *const *)p);
            continue;
        case FIELD_DOUBLE:
            json_set_num(obj, f->name, *(const double *)p);
            continue;
        case FIELD_BOOL:
            json_set_bool(obj, f->name, *(const bool *)p);
            continue;
        case FIELD_LONG:
            if (*(const int64_t *)p == ABSENT_I64)
                json_set_null(obj, f->name);
            else
                json_set_int(obj, f->name, *(const int64_t *)p);
            continue;
        case FIELD_BYTES: {
            const struct bytes *b = p;
            CLEANUP(buf_fini) struct buf text = {0};

            base64_encode((struct slice){.p = b->p, .n = b->p ? b->n : 0}, &text);
            json_set_str(obj, f->name, !b->p ? NULL : text.data ? text.data : "");
            continue;
        }
        default:
            break;
        }
        l = field_list(rec, f);
        array = json_set(obj, f->name, json_array());
        for (size_t k = 0; k < l.n; k++) {
            if (f->type == FIELD_STRINGS)
                add_text(array, ((const char *const *)l.items)[k]);
            else if (f->type == FIELD_DOUBLES)
                json_add_num(array, ((const double *)l.items)[k]);
            else if (f->type == FIELD_FLOATS)
                json_add_num(array, float_for_people(((const float *)l.items)[k]));
            else
                json_add(array, record_to_json(f->of, (const char *)l.items + k * f->of->size));
        }
    }
    return obj;
}

struct json *codec_to_json(enum record r, const void *rec)
{
    const struct record_fields *t = record_fields(r);

    return t && rec ? record_to_json(t, rec) : NULL;
}

/* --- the same without a tree: a tenth of the work, for who writes every event -------------------
 */

static void put_fields(const struct record_fields *t, const void *rec, struct buf *out);

static void put_text(const char *s, struct buf *out)
{
    CLEANUP(buf_fini) struct buf repaired = {0};

    if (!s || codec__is_text(slice_str(s))) {
        json_put_str(out, s);
        return;
    }
    codec__repair_utf8(s, strlen(s), &repaired);
    json_put_str(out, repaired.data);
}

static void put_bytes(const struct bytes *b, struct buf *out)
{
    if (!b->p) {
        buf_add_str(out, "null");
        return;
    }
    buf_add_char(out, '"');
    base64_encode((struct slice){.p = b->p, .n = b->n}, out);
    buf_add_char(out, '"');
}

static void put_list(const struct field *f, struct any_list l, struct buf *out)
{
    buf_add_char(out, '[');
    for (size_t k = 0; k < l.n; k++) {
        if (k)
            buf_add_char(out, ',');
        if (f->type == FIELD_DOUBLES)
            json_put_num(out, ((const double *)l.items)[k]);
        else if (f->type == FIELD_FLOATS)
            json_put_num(out, float_for_people(((const float *)l.items)[k]));
        else if (f->type == FIELD_RECORDS)
            put_fields(f->of, (const char *)l.items + k * f->of->size, out);
        else if (((const char *const *)l.items)[k])
            put_text(((const char *const *)l.items)[k], out);
        else
            buf_add_str(out, "\"\"");
    }
    buf_add_char(out, ']');
}

static void put_long(int64_t v, struct buf *out)
{
    if (v == ABSENT_I64)
        buf_add_str(out, "null");
    else
        buf_addf(out, "%lld", (long long)v);
}

static void put_field(const struct field *f, const void *rec, struct buf *out)
{
    const void *p = field_in(rec, f);

    switch (f->type) {
    case FIELD_STRING:
        put_text(*(const char *const *)p, out);
        break;
    case FIELD_LONG:
        put_long(*(const int64_t *)p, out);
        break;
    case FIELD_DOUBLE:
        json_put_num(out, *(const double *)p);
        break;
    case FIELD_BOOL:
        buf_add_str(out, *(const bool *)p ? "true" : "false");
        break;
    case FIELD_BYTES:
        put_bytes(p, out);
        break;
    default:
        put_list(f, field_list(rec, f), out);
    }
}

static void put_fields(const struct record_fields *t, const void *rec, struct buf *out)
{
    for (size_t i = 0; i < t->n; i++) {
        buf_add_str(out, i ? ",\"" : "{\"");
        buf_add_str(out, t->fields[i].name);
        buf_add_str(out, "\":");
        put_field(&t->fields[i], rec, out);
    }
    buf_add_char(out, '}');
}

void codec_write_json(enum record r, const void *rec, struct buf *out)
{
    const struct record_fields *t = record_fields(r);

    if (t && rec)
        put_fields(t, rec, out);
}

/* --- from JSON ------------------------------------------------------------------------------- */

struct reader {
    struct arena *arena;
    struct err *err;
};

static int record_from_json(struct reader *rd, const struct record_fields *t,
                            const struct json *obj, const char *path, void *rec);

static int wrong(struct reader *rd, const char *path, const char *wanted)
{
    return err_inval(rd->err, "%s: must be %s", path, wanted);
}

static int long_from_json(struct reader *rd, const struct json *j, const char *path, int64_t *ret)
{
    double d = json_num(j, (double)NAN);

    if (!json_is_number(j) || !(fabs(d) <= 9.3e18) || d != floor(d))
        return wrong(rd, path, "a whole number");
    *ret = fabs(d) < EXACT_DOUBLE ? (int64_t)d : json_int(j, ABSENT_I64);
    return *ret != ABSENT_I64 ? 0 : wrong(rd, path, "a whole number of 64 bits");
}

static int bytes_from_json(struct reader *rd, const struct json *j, const char *path,
                           struct bytes *ret)
{
    CLEANUP(buf_fini) struct buf bytes = {0};

    if (!json_is_string(j) || base64_decode(slice_str(json_str(j, "")), &bytes) != 0)
        return wrong(rd, path, "base64 text");
    *ret = (struct bytes){.p = arena_memdup(rd->arena, bytes.data, bytes.len), .n = bytes.len};
    return 0;
}

static int item_from_json(struct reader *rd, const struct field *f, const struct json *j,
                          const char *path, void *item)
{
    double d = json_num(j, (double)NAN); /* null: missing */

    switch (f->type) {
    case FIELD_STRINGS:
        if (!json_is_string(j))
            return wrong(rd, path, "a string");
        *(const char **)item = arena_strdup(rd->arena, json_str(j, ""));
        return 0;
    case FIELD_DOUBLES:
    case FIELD_FLOATS:
        if (!json_is_number(j) && !json_is_null(j))
            return wrong(rd, path, "a number");
        if (f->type == FIELD_DOUBLES)
            *(double *)item = d;
        else
            *(float *)item = (float)d;
        return 0;
    default:
        if (!json_is_object(j))
            return wrong(rd, path, "an object");
        return record_from_json(rd, f->of, j, path, item);
    }
}

static int list_from_json(struct reader *rd, const struct field *f, const struct json *j,
                          const char *path, void *rec)
{
    size_t n = json_len(j), size = field_item_size(f);
    char *items;

    if (!json_is_array(j))
        return wrong(rd, path, "a list");
    items = n ? arena_alloc(rd->arena, n * size) : NULL;
    for (size_t i = 0; i < n; i++) {
        char at[256];

        snprintf(at, sizeof(at), "%.200s[%zu]", path, i);
        if (item_from_json(rd, f, json_at(j, i), at, items + i * size) != 0)
            return -1;
    }
    field_set_list(rec, f, items, n);
    return 0;
}

static int field_from_json(struct reader *rd, const struct field *f, const struct json *j,
                           const char *path, void *rec)
{
    void *p = field_of(rec, f);

    if (json_is_null(j))
        return 0; /* the default is there */
    switch (f->type) {
    case FIELD_STRING:
        if (!json_is_string(j))
            return wrong(rd, path, "a string");
        *(const char **)p = arena_strdup(rd->arena, json_str(j, ""));
        return 0;
    case FIELD_LONG:
        return long_from_json(rd, j, path, p);
    case FIELD_DOUBLE:
        if (!json_is_number(j))
            return wrong(rd, path, "a number");
        *(double *)p = json_num(j, 0);
        return 0;
    case FIELD_BOOL:
        if (!json_is_bool(j))
            return wrong(rd, path, "true or false");
        *(bool *)p = json_bool(j, false);
        return 0;
    case FIELD_BYTES:
        return bytes_from_json(rd, j, path, p);
    default:
        return list_from_json(rd, f, j, path, rec);
    }
}

static int record_from_json(struct reader *rd, const struct record_fields *t,
                            const struct json *obj, const char *path, void *rec)
{
    const struct json *value;
    const char *key;

    memcpy(rec, codec__defaults(t), t->size);
    for (void *it = json_next(obj, NULL, &key, &value); it; it = json_next(obj, it, &key, &value)) {
        const struct field *f = NULL;
        char at[256];

        for (size_t i = 0; i < t->n && !f; i++)
            if (strcmp(t->fields[i].name, key) == 0)
                f = &t->fields[i];
        snprintf(at, sizeof(at), "%.120s%s%.100s", path, *path ? "." : "", key);
        if (!f)
            return err_inval(rd->err, "%s: unknown member", at);
        if (field_from_json(rd, f, value, at, rec) != 0)
            return -1;
    }
    return 0;
}

int codec_from_json(enum record r, const struct json *obj, struct arena *arena, const void **ret,
                    struct err *err)
{
    const struct record_fields *t = record_fields(r);
    struct reader rd = {.arena = arena, .err = err};
    void *rec;

    BUG_ON(!t);
    if (!json_is_object(obj))
        return err_inval(err, "%s: must be an object", record_str(r));
    rec = arena_alloc(arena, t->size);
    if (record_from_json(&rd, t, obj, "", rec) != 0)
        return -1;
    *ret = rec;
    return 0;
}
