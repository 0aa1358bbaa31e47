/* Schema texts: the tree of types, the Parsing Canonical Form (written while the tree is built) and
 * its CRC-64-AVRO.  avro-c has neither of the last two, and its own re-serialisation loses
 * defaults. */
#include "common/codec_internal.h"

#include "common/json.h"

#include <ctype.h>
#include <string.h>

#define CRC64_EMPTY UINT64_C(0xc15d213aa4d7a795) /* Avro's start value and polynomial */
#define NAME_MAX_BYTES 512                       /* of a full name; a path of packages fits */

static const char *const kind_names[WIRE_COUNT] = {"null",   "boolean", "int",    "long",  "float",
                                                   "double", "bytes",   "string", "fixed", "enum",
                                                   "array",  "map",     "union",  "record"};

struct named {
    const char *name; /* full */
    const struct wire_type *type;
    bool complete; /* false while its own definition is being read */
    struct named *next;
};
struct parser {
    struct arena *arena;
    struct buf *out; /* canonical form */
    struct named *named;
    size_t types;
    struct err *err;
};

const char *codec__wire_str(enum wire_kind k)
{
    return (size_t)k < WIRE_COUNT ? kind_names[k] : "unknown";
}

static const struct wire_type *parse_type(struct parser *ps, const struct json *j,
                                          const char *space, int depth);

static size_t add_capped(size_t a, size_t b)
{
    return a > SIZE_MAX - b ? SIZE_MAX : a + b;
}

static bool is_name(const char *s, bool dots)
{
    bool begin = true;

    for (; *s; s++) {
        if (*s == '.' && dots && !begin)
            begin = true;
        else if (isalpha((unsigned char)*s) || *s == '_' || (!begin && isdigit((unsigned char)*s)))
            begin = false;
        else
            return false;
    }
    return !begin;
}

static struct wire_type *new_type(struct parser *ps, enum wire_kind kind, size_t n)
{
    struct wire_type *t = arena_alloc(ps->arena, sizeof(*t));

    t->kind = kind;
    t->n = n;
    t->values = 1;
    if (kind == WIRE_RECORD || kind == WIRE_ENUM)
        t->names = arena_alloc(ps->arena, n * sizeof(*t->names) + 1);
    if (kind >= WIRE_ARRAY)
        t->types = arena_alloc(ps->arena, n * sizeof(const struct wire_type *) + 1);
    return t;
}

static struct named *find_named(struct parser *ps, const char *full)
{
    for (struct named *d = ps->named; d; d = d->next)
        if (strcmp(d->name, full) == 0)
            return d;
    return NULL;
}

/* A name inside a namespace; NULL when it is none. */
static const char *full_name(struct parser *ps, const char *name, const char *space)
{
    if (!name || strlen(name) + strlen(space) >= NAME_MAX_BYTES || !is_name(name, true) ||
        (*space && !is_name(space, true)))
        return NULL;
    if (strchr(name, '.') || !*space)
        return arena_strdup(ps->arena, name);
    return arena_printf(ps->arena, "%s.%s", space, name);
}

static const struct wire_type *parse_reference(struct parser *ps, const char *name,
                                               const char *space)
{
    const char *full;
    struct named *d;

    for (int k = 0; k < WIRE_PRIMITIVES; k++) {
        struct wire_type *t;

        if (strcmp(name, kind_names[k]) != 0)
            continue;
        t = new_type(ps, (enum wire_kind)k, 0);
        t->min_bytes = k == WIRE_NULL ? 0 : k == WIRE_FLOAT ? 4 : k == WIRE_DOUBLE ? 8 : 1;
        buf_addf(ps->out, "\"%s\"", name);
        return t;
    }
    full = full_name(ps, name, space);
    d = full ? find_named(ps, full) : NULL;
    if (!d)
        d = find_named(ps, name);
    if (!d) {
        err_codec(ps->err, "unknown type '%.100s'", name);
        return NULL;
    }
    if (!d->complete) {
        err_codec(ps->err, "type '%.100s' contains itself; recursive types are not supported",
                  name);
        return NULL;
    }
    buf_addf(ps->out, "\"%s\"", d->name);
    return d->type;
}

/* Opens the definition of a named type: checks and registers the name, begins the canonical form.
 */
static struct named *begin_named(struct parser *ps, const struct json *j, const char *space,
                                 const char *type)
{
    const char *own_space = json_get_str(j, "namespace", space);
    const char *full = full_name(ps, json_get_str(j, "name", NULL), own_space);
    struct named *d;

    if (!full) {
        err_codec(ps->err, "a %s without a proper name", type);
        return NULL;
    }
    if (find_named(ps, full)) {
        err_codec(ps->err, "type '%.100s' is defined twice", full);
        return NULL;
    }
    d = arena_alloc(ps->arena, sizeof(*d));
    d->name = full;
    d->next = ps->named;
    ps->named = d;
    buf_addf(ps->out, "{\"name\":\"%s\",\"type\":\"%s\"", full, type);
    return d;
}

static const struct wire_type *end_named(struct parser *ps, struct named *d, struct wire_type *t)
{
    t->name = d->name;
    d->type = t;
    d->complete = true;
    buf_add_char(ps->out, '}');
    return t;
}

static const struct wire_type *parse_fixed(struct parser *ps, const struct json *j,
                                           const char *space)
{
    struct named *d = begin_named(ps, j, space, "fixed");
    int64_t size = json_get_int(j, "size", -1);
    struct wire_type *t;

    if (!d)
        return NULL;
    if (size < 1 || size > CODEC_MAX_FIXED_BYTES) { /* avro-c has no values of size 0 */
        err_codec(ps->err, "fixed '%.100s': size must be 1 to %d", d->name, CODEC_MAX_FIXED_BYTES);
        return NULL;
    }
    t = new_type(ps, WIRE_FIXED, (size_t)size);
    t->min_bytes = (size_t)size;
    t->values = 1 + (size_t)size / 32; /* about what a value takes in memory */
    buf_addf(ps->out, ",\"size\":%lld", (long long)size);
    return end_named(ps, d, t);
}

static const struct wire_type *parse_enum(struct parser *ps, const struct json *j,
                                          const char *space)
{
    struct named *d = begin_named(ps, j, space, "enum");
    const struct json *symbols = json_get(j, "symbols");
    struct wire_type *t;

    if (!d)
        return NULL;
    t = new_type(ps, WIRE_ENUM, json_len(symbols));
    t->min_bytes = 1;
    buf_add_str(ps->out, ",\"symbols\":[");
    for (size_t i = 0; i < t->n; i++) {
        const char *symbol = json_str(json_at(symbols, i), "");

        if (!is_name(symbol, false)) {
            err_codec(ps->err, "enum '%.100s': symbol %zu is no name", d->name, i);
            return NULL;
        }
        t->names[i] = arena_strdup(ps->arena, symbol);
        buf_addf(ps->out, "%s\"%s\"", i ? "," : "", symbol);
    }
    if (!json_is_array(symbols) || t->n == 0) {
        err_codec(ps->err, "enum '%.100s': no symbols", d->name);
        return NULL;
    }
    buf_add_char(ps->out, ']');
    return end_named(ps, d, t);
}

static const struct wire_type *parse_list(struct parser *ps, const struct json *j,
                                          const char *space, int depth, enum wire_kind kind)
{
    const char *key = kind == WIRE_ARRAY ? "items" : "values";
    const struct json *items = json_get(j, key);
    struct wire_type *t = new_type(ps, kind, 1);

    buf_addf(ps->out, "{\"type\":\"%s\",\"%s\":", kind_names[kind], key);
    if (!items) {
        err_codec(ps->err, "%s without %s", kind_names[kind], key);
        return NULL;
    }
    t->types[0] = parse_type(ps, items, space, depth);
    if (!t->types[0])
        return NULL;
    t->min_bytes = 1;
    buf_add_char(ps->out, '}');
    return t;
}

static const struct wire_type *parse_union(struct parser *ps, const struct json *j,
                                           const char *space, int depth)
{
    struct wire_type *t = new_type(ps, WIRE_UNION, json_len(j));
    size_t min_bytes = SIZE_MAX, values = 0;

    if (t->n == 0) {
        err_codec(ps->err, "a union without branches");
        return NULL;
    }
    buf_add_char(ps->out, '[');
    for (size_t i = 0; i < t->n; i++) {
        const struct wire_type *b;

        if (i)
            buf_add_char(ps->out, ',');
        b = json_is_array(json_at(j, i)) ? NULL : parse_type(ps, json_at(j, i), space, depth);
        if (!b) {
            if (json_is_array(json_at(j, i)))
                err_codec(ps->err, "a union inside a union");
            return NULL;
        }
        t->types[i] = b;
        min_bytes = b->min_bytes < min_bytes ? b->min_bytes : min_bytes;
        values = b->values > values ? b->values : values;
    }
    buf_add_char(ps->out, ']');
    t->min_bytes = add_capped(1, min_bytes);
    t->values = add_capped(1, values);
    return t;
}

static const struct wire_type *parse_record(struct parser *ps, const struct json *j,
                                            const char *space, int depth)
{
    struct named *d = begin_named(ps, j, space, "record");
    const struct json *fields = json_get(j, "fields");
    const char *dot;
    struct wire_type *t;

    if (!d)
        return NULL;
    if (!json_is_array(fields)) {
        err_codec(ps->err, "record '%.100s' without fields", d->name);
        return NULL;
    }
    dot = strrchr(d->name, '.'); /* names inside belong to the namespace of the record */
    space = dot ? arena_strndup(ps->arena, d->name, (size_t)(dot - d->name)) : "";
    t = new_type(ps, WIRE_RECORD, json_len(fields));
    buf_add_str(ps->out, ",\"fields\":[");
    for (size_t i = 0; i < t->n; i++) {
        const struct json *f = json_at(fields, i);
        const char *name = json_get_str(f, "name", "");

        if (!is_name(name, false) || !json_get(f, "type")) {
            err_codec(ps->err, "record '%.100s': field %zu has no proper name or no type", d->name,
                      i);
            return NULL;
        }
        for (size_t k = 0; k < i; k++)
            if (strcmp(t->names[k], name) == 0) {
                err_codec(ps->err, "record '%.100s' has field '%.100s' twice", d->name, name);
                return NULL;
            }
        t->names[i] = arena_strdup(ps->arena, name);
        buf_addf(ps->out, "%s{\"name\":\"%s\",\"type\":", i ? "," : "", name);
        t->types[i] = parse_type(ps, json_get(f, "type"), space, depth);
        if (!t->types[i])
            return NULL;
        buf_add_char(ps->out, '}');
        t->min_bytes = add_capped(t->min_bytes, t->types[i]->min_bytes);
        t->values = add_capped(t->values, t->types[i]->values);
    }
    buf_add_char(ps->out, ']');
    return end_named(ps, d, t);
}

static const struct wire_type *parse_object(struct parser *ps, const struct json *j,
                                            const char *space, int depth)
{
    const struct json *type = json_get(j, "type");
    const char *name = json_str(type, NULL);

    if (!type) {
        err_codec(ps->err, "a schema that is no type");
        return NULL;
    }
    if (!name) /* {"type": {...}} */
        return parse_type(ps, type, space, depth);
    if (strcmp(name, "record") == 0)
        return parse_record(ps, j, space, depth);
    if (strcmp(name, "enum") == 0)
        return parse_enum(ps, j, space);
    if (strcmp(name, "fixed") == 0)
        return parse_fixed(ps, j, space);
    if (strcmp(name, "array") == 0)
        return parse_list(ps, j, space, depth, WIRE_ARRAY);
    if (strcmp(name, "map") == 0)
        return parse_list(ps, j, space, depth, WIRE_MAP);
    return parse_reference(ps, name, space);
}

static const struct wire_type *parse_type(struct parser *ps, const struct json *j,
                                          const char *space, int depth)
{
    const struct wire_type *t;

    if (depth >= CODEC_MAX_DEPTH || ++ps->types > CODEC_MAX_TYPES) {
        err_set(ps->err, ERR_LIMIT, NEXT_REJECT,
                "schema nests deeper than %d or has more than %d types", CODEC_MAX_DEPTH,
                CODEC_MAX_TYPES);
        return NULL;
    }
    if (json_is_string(j))
        return parse_reference(ps, json_str(j, ""), space);
    if (json_is_array(j))
        t = parse_union(ps, j, space, depth + 1);
    else
        t = parse_object(ps, j, space, depth + 1);
    if (t && t->values > CODEC_MAX_SCHEMA_VALUES) {
        err_set(ps->err, ERR_LIMIT, NEXT_REJECT, "schema has more than %d values in one datum",
                CODEC_MAX_SCHEMA_VALUES);
        return NULL;
    }
    return t;
}

static uint64_t crc64_avro(struct slice s)
{
    uint64_t crc = CRC64_EMPTY;

    for (size_t i = 0; i < s.n; i++) { /* a few times in a process's life: no table */
        crc ^= (uint8_t)s.p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (CRC64_EMPTY & -(crc & 1));
    }
    return crc;
}

int codec__schema_parse(struct slice text, struct wire_schema *ret, struct buf *canonical,
                        struct err *err)
{
    CLEANUP(buf_fini) struct buf out = {0};
    CLEANUP(arena_fini) struct arena arena = {0};
    CLEANUP(json_freep) struct json *j = NULL;
    struct parser ps = {.arena = &arena, .out = &out, .err = err};
    struct wire_schema s = {0};

    if (text.n > CODEC_MAX_SCHEMA_BYTES)
        return err_set(err, ERR_LIMIT, NEXT_REJECT, "schema of %zu bytes; the most is %zu", text.n,
                       CODEC_MAX_SCHEMA_BYTES);
    j = json_parse(text, "schema", err);
    if (!j) {
        if (err)
            err->code = ERR_CODEC;
        return -1;
    }
    s.root = parse_type(&ps, j, "", 0);
    if (!s.root)
        return err_wrap(err, "schema");
    s.fingerprint = crc64_avro(buf_slice(&out));
    s.arena = arena;
    arena = (struct arena){0};
    if (canonical)
        buf_add(canonical, out.data, out.len);
    *ret = s;
    return 0;
}

void codec__schema_fini(struct wire_schema *s)
{
    arena_fini(&s->arena);
    *s = (struct wire_schema){0};
}

int codec_text_fingerprint(struct slice schema_text, uint64_t *ret, struct err *err)
{
    struct wire_schema s = {0};

    if (codec__schema_parse(schema_text, &s, NULL, err) != 0)
        return -1;
    *ret = s.fingerprint;
    codec__schema_fini(&s);
    return 0;
}
