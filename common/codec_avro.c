/* avro-c: validates and decodes writers' schemas that are not ours to the letter (an older or newer
 * version of Relearn, somebody else's producer).  The only file with avro.h.
 *
 * Decoding is with the writer's schema, then copying by field name: avro-c knows no defaults,
 * passes enum indexes through and refuses string<->bytes.  Promotions are those of the Avro
 * specification.  The value of a schema is used again and again, as avro-c wants it, and dropped
 * after a large record.
 *
 * Debian's avro-c is built without THREADSAFE (its error text is one global), and tests run several
 * agents in one process: all calls that may fail are under one lock. */
#include "common/codec_internal.h"

#include <math.h>
#include <pthread.h>

#include <avro.h>

#define VALUE_KEEP_BYTES                                                                           \
    ((size_t)64 << 10) /* a value that held more is not kept: it never shrinks */

struct plan { /* which field of the struct each field of a writer's record goes to */
    const struct wire_type *from;
    const struct record_fields *to;
    const struct field **fields; /* by writer's index; NULL: skipped */
    struct plan *next;
};

struct codec__avro {
    avro_schema_t schema;
    avro_value_iface_t *iface;
    avro_value_t value;
    bool has_value;
    avro_reader_t reader;
    struct plan *plans;
};

struct copy {
    struct codec__avro *a;
    struct arena *arena;
    struct err *err;
};

static pthread_mutex_t avro_lock = PTHREAD_MUTEX_INITIALIZER;

static int copy_record(struct copy *cp, avro_value_t *v, const struct wire_type *t,
                       const struct record_fields *to, void *rec);

int codec__avro_new(struct slice text, struct codec__avro **ret, struct err *err)
{
    struct codec__avro *a = xcalloc(1, sizeof(*a));
    int rc;

    pthread_mutex_lock(&avro_lock);
    rc = avro_schema_from_json_length(text.p, text.n, &a->schema);
    if (rc == 0)
        a->iface = avro_generic_class_from_schema(a->schema);
    if (rc != 0 || !a->iface)
        err_codec(err, "avro-c does not take the schema: %s", avro_strerror());
    pthread_mutex_unlock(&avro_lock);
    if (rc != 0 || !a->iface) {
        codec__avro_free(a);
        return -1;
    }
    a->reader = avro_reader_memory("", 0);
    *ret = a;
    return 0;
}

void codec__avro_free(struct codec__avro *a)
{
    struct plan *next;

    if (!a)
        return;
    for (struct plan *p = a->plans; p; p = next) {
        next = p->next;
        free(p->fields);
        free(p);
    }
    if (a->reader)
        avro_reader_free(a->reader);
    if (a->has_value)
        avro_value_decref(&a->value);
    if (a->iface)
        avro_value_iface_decref(a->iface);
    if (a->schema)
        avro_schema_decref(a->schema);
    free(a);
}

static const struct plan *plan_for(struct codec__avro *a, const struct wire_type *from,
                                   const struct record_fields *to)
{
    struct plan *p = a->plans;

    while (p && (p->from != from || p->to != to))
        p = p->next;
    if (p)
        return p;
    p = xcalloc(1, sizeof(*p));
    p->from = from;
    p->to = to;
    p->fields = xcalloc(from->n, sizeof(const struct field *));
    for (size_t i = 0; i < from->n; i++)
        for (size_t k = 0; k < to->n; k++)
            if (strcmp(from->names[i], to->fields[k].name) == 0)
                p->fields[i] = &to->fields[k];
    p->next = a->plans;
    a->plans = p;
    return p;
}

static int mismatch(struct copy *cp, const struct wire_type *t, const char *wanted)
{
    return err_codec(cp->err, "written as %s, which is no %s", codec__wire_str(t->kind), wanted);
}

/* What a union holds.  The pre-scan has checked the branch. */
static const struct wire_type *open_union(avro_value_t *v, const struct wire_type *t)
{
    avro_value_t branch = {0};
    int i = -1;

    if (t->kind != WIRE_UNION)
        return t;
    BUG_ON(avro_value_get_discriminant(v, &i) != 0 || i < 0 || (size_t)i >= t->n);
    BUG_ON(avro_value_get_current_branch(v, &branch) != 0);
    *v = branch;
    return t->types[i];
}

static int copy_string(struct copy *cp, avro_value_t *v, const struct wire_type *t,
                       const char **ret)
{
    struct slice s = {0};
    const void *p = NULL;
    int i = 0;

    if (t->kind == WIRE_STRING) {
        if (avro_value_get_string(v, &s.p, &s.n) != 0)
            return mismatch(cp, t, "string");
        s.n--; /* avro-c counts the NUL */
    } else if (t->kind == WIRE_ENUM) {
        if (avro_value_get_enum(v, &i) != 0)
            return mismatch(cp, t, "string");
        s = slice_str(t->names[i]);
    } else if (t->kind == WIRE_BYTES) {
        if (avro_value_get_bytes(v, &p, &s.n) != 0)
            return mismatch(cp, t, "string");
        s.p = p;
        if (!codec__is_text(s))
            return err_codec(cp->err, "bytes that are not UTF-8, or have a NUL, for a string");
    } else {
        return mismatch(cp, t, "string");
    }
    *ret = s.n ? arena_strndup(cp->arena, s.p, s.n) : "";
    return 0;
}

static int copy_bytes(struct copy *cp, avro_value_t *v, const struct wire_type *t,
                      struct bytes *ret)
{
    const char *text = NULL;
    const void *p = NULL;
    size_t n = 0;

    if (t->kind == WIRE_STRING && avro_value_get_string(v, &text, &n) == 0) {
        p = text;
        n--; /* avro-c counts the NUL */
    } else if (t->kind != WIRE_BYTES || avro_value_get_bytes(v, &p, &n) != 0) {
        return mismatch(cp, t, "bytes");
    }
    *ret = (struct bytes){.p = arena_memdup(cp->arena, p, n), .n = n};
    return 0;
}

static int copy_long(struct copy *cp, avro_value_t *v, const struct wire_type *t, int64_t *ret)
{
    int32_t i = 0;

    if (t->kind == WIRE_LONG && avro_value_get_long(v, ret) == 0)
        return 0;
    if (t->kind != WIRE_INT || avro_value_get_int(v, &i) != 0)
        return mismatch(cp, t, "long");
    *ret = i;
    return 0;
}

static int copy_double(struct copy *cp, avro_value_t *v, const struct wire_type *t, double *ret)
{
    int64_t i = 0;
    float f = 0;

    if (t->kind == WIRE_DOUBLE && avro_value_get_double(v, ret) == 0)
        return 0;
    if (t->kind == WIRE_FLOAT && avro_value_get_float(v, &f) == 0) {
        *ret = (double)f;
        return 0;
    }
    if (t->kind != WIRE_INT && t->kind != WIRE_LONG)
        return mismatch(cp, t, "double");
    if (copy_long(cp, v, t, &i) != 0)
        return -1;
    *ret = (double)i;
    return 0;
}

static int copy_float(struct copy *cp, avro_value_t *v, const struct wire_type *t, float *ret)
{
    int64_t i = 0;

    if (t->kind == WIRE_FLOAT && avro_value_get_float(v, ret) == 0)
        return 0;
    if (t->kind != WIRE_INT && t->kind != WIRE_LONG)
        return mismatch(cp, t, "float"); /* a double does not narrow to a float */
    if (copy_long(cp, v, t, &i) != 0)
        return -1;
    *ret = (float)i;
    return 0;
}

/* A null element is NaN among numbers, an empty text or record elsewhere: lists have no holes. */
static int copy_item(struct copy *cp, avro_value_t *v, const struct wire_type *t,
                     const struct field *f, void *item)
{
    t = open_union(v, t);
    switch (f->type) {
    case FIELD_STRINGS:
        *(const char **)item = "";
        return t->kind == WIRE_NULL ? 0 : copy_string(cp, v, t, item);
    case FIELD_DOUBLES:
        *(double *)item = (double)NAN;
        return t->kind == WIRE_NULL ? 0 : copy_double(cp, v, t, item);
    case FIELD_FLOATS:
        *(float *)item = NAN;
        return t->kind == WIRE_NULL ? 0 : copy_float(cp, v, t, item);
    default:
        memcpy(item, codec__defaults(f->of), f->of->size);
        return t->kind == WIRE_NULL ? 0 : copy_record(cp, v, t, f->of, item);
    }
}

static int copy_list(struct copy *cp, avro_value_t *v, const struct wire_type *t,
                     const struct field *f, void *rec)
{
    size_t size = field_item_size(f), n = 0;
    char *items;

    if (t->kind != WIRE_ARRAY)
        return mismatch(cp, t, "list");
    if (avro_value_get_size(v, &n) != 0)
        return mismatch(cp, t, "list");
    items = n ? arena_alloc(cp->arena, n * size) : NULL;
    for (size_t i = 0; i < n; i++) {
        avro_value_t item = {0};

        if (avro_value_get_by_index(v, i, &item, NULL) != 0)
            return mismatch(cp, t, "list");
        if (copy_item(cp, &item, t->types[0], f, items + i * size) != 0)
            return -1;
    }
    field_set_list(rec, f, items, n);
    return 0;
}

static int copy_field(struct copy *cp, avro_value_t *v, const struct wire_type *t,
                      const struct field *f, void *rec)
{
    void *p = field_of(rec, f);
    int b = 0;

    t = open_union(v, t);
    if (t->kind == WIRE_NULL)
        return 0; /* the default is there: the absent value, or what a required one falls back on */
    switch (f->type) {
    case FIELD_STRING:
        return copy_string(cp, v, t, p);
    case FIELD_LONG:
        return copy_long(cp, v, t, p);
    case FIELD_DOUBLE:
        return copy_double(cp, v, t, p);
    case FIELD_BYTES:
        return copy_bytes(cp, v, t, p);
    case FIELD_BOOL:
        if (t->kind != WIRE_BOOL || avro_value_get_boolean(v, &b) != 0)
            return mismatch(cp, t, "boolean");
        *(bool *)p = b != 0;
        return 0;
    default:
        return copy_list(cp, v, t, f, rec);
    }
}

static int copy_record(struct copy *cp, avro_value_t *v, const struct wire_type *t,
                       const struct record_fields *to, void *rec)
{
    const struct plan *plan;

    if (t->kind != WIRE_RECORD)
        return mismatch(cp, t, "record");
    plan = plan_for(cp->a, t, to);
    for (size_t i = 0; i < t->n; i++) {
        avro_value_t field = {0};

        if (!plan->fields[i])
            continue;
        if (avro_value_get_by_index(v, i, &field, NULL) != 0)
            return mismatch(cp, t, "record");
        if (copy_field(cp, &field, t->types[i], plan->fields[i], rec) != 0)
            return err_wrap(cp->err, "%s", t->names[i]);
    }
    return 0;
}

static int read_value(struct codec__avro *a, struct slice body, struct err *err)
{
    if (!a->has_value && avro_generic_value_new(a->iface, &a->value) != 0)
        return err_codec(err, "avro-c: %s", avro_strerror());
    a->has_value = true;
    avro_reader_memory_set_source(a->reader, body.p, (int64_t)body.n);
    if (avro_value_read(a->reader, &a->value) != 0)
        return err_codec(err, "avro-c: %s", avro_strerror());
    return 0;
}

int codec__avro_get(struct codec__avro *a, const struct wire_type *t, struct slice body,
                    const struct record_fields *to, struct arena *arena, void *rec, struct err *err)
{
    struct copy cp = {.a = a, .arena = arena, .err = err};
    int rc;

    pthread_mutex_lock(&avro_lock);
    rc = read_value(a, body, err);
    pthread_mutex_unlock(&avro_lock);
    if (rc == 0)
        rc = copy_record(&cp, &a->value, t, to, rec);
    if (a->has_value && (rc != 0 || body.n > VALUE_KEEP_BYTES)) {
        avro_value_decref(&a->value);
        a->has_value = false;
    }
    return rc;
}
