/* Inside of the codec; for common/codec*.c, its unit test and its fuzz target alone.
 *
 * A writer's schema is kept twice: as a tree of struct wire_type of our own (canonical form, bounds
 * for the pre-scan, names to copy by) and, when it is not one of the compiled-in ones, as avro-c's.
 */
#ifndef COMMON_CODEC_INTERNAL_H
#define COMMON_CODEC_INTERNAL_H

#include "common/codec.h"

/* A schema that is larger than this was not made by people: refused before avro-c sees it. */
#define CODEC_MAX_DEPTH 16   /* types inside types */
#define CODEC_MAX_TYPES 4096 /* type nodes in one schema */
#define CODEC_MAX_SCHEMA_VALUES                                                                    \
    4096                            /* values that one datum has before any list has an element    \
                                     */
#define CODEC_MAX_FIXED_BYTES 65536 /* avro-c allocates a fixed with its datum, read or not */
/* Values in one record, list elements and all that they hold included.  avro-c takes 16 to 48 bytes
 * for each, so this bounds a decode at about 100 MiB; a full record of floats has a million. */
#define CODEC_MAX_VALUES ((size_t)2 << 20)
/* Writers' schemas and ids kept; there are as many as versions of sixteen records. */
#define CODEC_MAX_SCHEMAS 1024

#define err_codec(err, ...) err_set((err), ERR_CODEC, NEXT_REJECT, __VA_ARGS__)

enum wire_kind {
    WIRE_NULL = 0,
    WIRE_BOOL,
    WIRE_INT,
    WIRE_LONG,
    WIRE_FLOAT,
    WIRE_DOUBLE,
    WIRE_BYTES,
    WIRE_STRING,
    WIRE_PRIMITIVES, /* how many of them */
    WIRE_FIXED = WIRE_PRIMITIVES,
    WIRE_ENUM,
    WIRE_ARRAY,
    WIRE_MAP,
    WIRE_UNION,
    WIRE_RECORD,
    WIRE_COUNT
};
const char *codec__wire_str(enum wire_kind k);

struct wire_type {
    enum wire_kind kind;
    const char *name;               /* full name of a record, enum or fixed; else NULL */
    size_t n;                       /* fields, branches, symbols; fixed: bytes; array and map: 1 */
    const char **names;             /* of fields or symbols */
    const struct wire_type **types; /* of fields, branches, items or values */
    size_t min_bytes;               /* fewest that a datum takes on the wire */
    size_t values;                  /* most values that a datum has with its lists empty */
};

struct wire_schema {
    const struct wire_type *root;
    uint64_t fingerprint;
    struct arena arena; /* owns the tree */
};
/* Parses a schema text.  Recursive types are refused: no record of ours has one, and without them
 * every bound is static. canonical (may be NULL) gets the Parsing Canonical Form. */
int codec__schema_parse(struct slice text, struct wire_schema *ret, struct buf *canonical,
                        struct err *err) WARN_UNUSED;
void codec__schema_fini(struct wire_schema *s);

/* Walks a datum without decoding it: every length, count, index and string is checked against the
 * bytes that are left, the whole against CODEC_MAX_VALUES; all bytes must be used. */
int codec__scan(const struct wire_type *t, struct slice body, struct err *err) WARN_UNUSED;

/* Between the wire and a struct by its field table alone: for the compiled-in schemas. */
void codec__put_record(struct buf *out, const struct record_fields *t, const void *rec);
int codec__get_record(struct slice body, const struct record_fields *t, struct arena *arena,
                      void *rec, struct err *err) WARN_UNUSED;

/* avro-c's part: a writer's schema with a value that is used again and again. */
struct codec__avro;
int codec__avro_new(struct slice text, struct codec__avro **ret, struct err *err) WARN_UNUSED;
void codec__avro_free(struct codec__avro *a);
/* Decodes scanned bytes and copies them by name into rec, which holds the defaults already. */
int codec__avro_get(struct codec__avro *a, const struct wire_type *t, struct slice body,
                    const struct record_fields *to, struct arena *arena, void *rec,
                    struct err *err) WARN_UNUSED;
/* All of it for a foreign datum: the scan, the defaults, avro-c, the copy. */
int codec__get_foreign(struct codec__avro *avro, const struct wire_type *t, struct slice body,
                       enum record r, struct arena *arena, void *rec, struct err *err) WARN_UNUSED;

/* A struct with nothing said: the defaults of the compiled-in schema, absent values elsewhere. */
const void *codec__defaults(const struct record_fields *t);
void codec__set_absent(const struct field *f, void *rec);
/* Appends s with every byte that is not UTF-8 replaced by U+FFFD. */
void codec__repair_utf8(const char *s, size_t n, struct buf *out);
/* Is it text that a C string can hold: UTF-8 without NUL? */
bool codec__is_text(struct slice s);
/* Members of an event struct, by field. */
struct any_list { /* as every *_list begins and ends */
    const void *items;
    size_t n;
};
_Static_assert(sizeof(struct any_list) == sizeof(struct string_list), "lists are alike");
_Static_assert(sizeof(struct any_list) == sizeof(struct named_value_list), "lists are alike");

static inline const void *field_in(const void *rec, const struct field *f)
{
    return (const char *)rec + f->offset;
}
static inline void *field_of(void *rec, const struct field *f)
{
    return (char *)rec + f->offset;
}
static inline struct any_list field_list(const void *rec, const struct field *f)
{
    struct any_list l;
    memcpy(&l, field_in(rec, f), sizeof(l));
    return l;
}
static inline void field_set_list(void *rec, const struct field *f, const void *items, size_t n)
{
    struct any_list l = {.items = items, .n = n};
    memcpy(field_of(rec, f), &l, sizeof(l));
}
static inline size_t field_item_size(const struct field *f)
{
    switch (f->type) {
    case FIELD_STRINGS:
        return sizeof(char *);
    case FIELD_DOUBLES:
        return sizeof(double);
    case FIELD_FLOATS:
        return sizeof(float);
    case FIELD_RECORDS:
        return f->of->size;
    default:
        return 0;
    }
}

#endif
