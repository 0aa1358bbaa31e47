/* Framing, and whose schema some bytes were written with.
 *
 * A record that was written with one of the compiled-in schemas (by fingerprint of the canonical
 * form, in either framing) is read by its field table (codec_direct.c).  Any other writer's schema
 * is parsed by us and by avro-c once and kept; its records are scanned (codec_scan.c), decoded by
 * avro-c and copied by name (codec_avro.c).  A schema that cannot be used is kept as well, with the
 * reason: a topic full of such records costs one look-up. */
#include "common/codec.h"

#include "common/codec_internal.h"

#include <endian.h>

#define SINGLE_OBJECT_BYTES 10 /* C3 01 and the fingerprint */
#define CONFLUENT_BYTES 5      /* 00 and the id */

struct writer {
    struct wire_schema wire;
    enum record own;          /* RECORD_NONE: not compiled in */
    struct codec__avro *avro; /* foreign ones only */
};
struct known_id {
    int32_t id;
    struct writer *writer; /* NULL: the schema cannot be used, and err says why */
    struct err err;
};
struct codec {
    struct writer own[RECORD_COUNT];
    int32_t schema_id[RECORD_COUNT]; /* to write with; meant where has_id */
    bool has_id[RECORD_COUNT];
    struct writer **foreign;
    struct known_id *ids;
    size_t n_foreign, foreign_cap, n_ids, ids_cap;
    codec_lookup_fn lookup;
    void *lookup_ctx;
    codec_find_fn find;
    void *find_ctx;
};

int codec_new(struct codec **ret, struct err *err)
{
    struct codec *c;

    if (codec_check_tables(err) != 0)
        return -1;
    c = xcalloc(1, sizeof(*c));
    for (int r = RECORD_NONE + 1; r < RECORD_COUNT; r++) {
        c->own[r].own = (enum record)r;
        if (codec__schema_parse(slice_str(codec_schema_text((enum record)r)), &c->own[r].wire, NULL,
                                err) != 0) {
            codec_free(c);
            return err_wrap(err, "schemas/%s.avsc", record_str((enum record)r));
        }
    }
    *ret = c;
    return 0;
}

void codec_free(struct codec *c)
{
    if (!c)
        return;
    for (int r = 0; r < RECORD_COUNT; r++)
        codec__schema_fini(&c->own[r].wire);
    for (size_t i = 0; i < c->n_foreign; i++) {
        codec__schema_fini(&c->foreign[i]->wire);
        codec__avro_free(c->foreign[i]->avro);
        free(c->foreign[i]);
    }
    free(c->foreign);
    free(c->ids);
    free(c);
}

void codec_set_lookup(struct codec *c, codec_lookup_fn lookup, void *ctx)
{
    c->lookup = lookup;
    c->lookup_ctx = ctx;
}

void codec_set_find(struct codec *c, codec_find_fn find, void *ctx)
{
    c->find = find;
    c->find_ctx = ctx;
}

void codec_set_schema_id(struct codec *c, enum record r, int32_t schema_id)
{
    BUG_ON(r <= RECORD_NONE || r >= RECORD_COUNT);
    c->schema_id[r] = schema_id;
    c->has_id[r] = true;
}

uint64_t codec_fingerprint(const struct codec *c, enum record r)
{
    BUG_ON(r <= RECORD_NONE || r >= RECORD_COUNT);
    return c->own[r].wire.fingerprint;
}

/* --- writers' schemas ------------------------------------------------------------------------ */

static struct writer *find_fingerprint(struct codec *c, uint64_t fingerprint)
{
    for (int r = RECORD_NONE + 1; r < RECORD_COUNT; r++)
        if (c->own[r].wire.fingerprint == fingerprint)
            return &c->own[r];
    for (size_t i = 0; i < c->n_foreign; i++)
        if (c->foreign[i]->wire.fingerprint == fingerprint)
            return c->foreign[i];
    return NULL;
}

static int add_writer(struct codec *c, struct slice text, struct writer **ret, struct err *err)
{
    struct wire_schema wire = {0};
    struct codec__avro *avro = NULL;
    struct writer *w = NULL;

    if (codec__schema_parse(text, &wire, NULL, err) != 0)
        return -1;
    w = find_fingerprint(c, wire.fingerprint);
    if (w) { /* only docs, defaults or layout differ */
        codec__schema_fini(&wire);
        *ret = w;
        return 0;
    }
    if (wire.root->kind != WIRE_RECORD)
        err_codec(err, "schema of a %s, not of a record", codec__wire_str(wire.root->kind));
    else if (c->n_foreign == CODEC_MAX_SCHEMAS)
        err_set(err, ERR_LIMIT, NEXT_REJECT, "more than %d schemas", CODEC_MAX_SCHEMAS);
    else if (codec__avro_new(text, &avro, err) == 0) {
        w = xcalloc(1, sizeof(*w));
        *w = (struct writer){.wire = wire, .own = RECORD_NONE, .avro = avro};
        c->foreign = xgrow(c->foreign, &c->foreign_cap, c->n_foreign + 1, sizeof(struct writer *));
        c->foreign[c->n_foreign++] = w;
        *ret = w;
        return 0;
    }
    codec__schema_fini(&wire);
    return -1;
}

int codec_add_schema(struct codec *c, struct slice schema_text, struct err *err)
{
    struct writer *w = NULL;

    return add_writer(c, schema_text, &w, err);
}

/* Of another version, from where its writer left it. */
static int find_elsewhere(struct codec *c, uint64_t fingerprint, struct writer **ret,
                          struct err *err)
{
    CLEANUP(buf_fini) struct buf text = {0};
    struct writer *w = NULL;
    struct err found = {0};

    buf_init(&text, CODEC_MAX_SCHEMA_BYTES);
    if (!c->find || c->find(c->find_ctx, fingerprint, &text, &found) != 0)
        return err_codec(err, "written with an unknown schema (fingerprint %016llx)%s%s",
                         (unsigned long long)fingerprint, c->find ? ": " : "",
                         c->find ? found.msg : "");
    if (add_writer(c, buf_slice(&text), &w, err) != 0)
        return err_wrap(err, "schema with fingerprint %016llx", (unsigned long long)fingerprint);
    if (w->wire.fingerprint != fingerprint)
        return err_codec(err, "the schema kept under fingerprint %016llx is another one",
                         (unsigned long long)fingerprint);
    *ret = w;
    return 0;
}

/* 0, 1 (being fetched), -1. */
static int find_id(struct codec *c, int32_t id, struct writer **ret, struct err *err)
{
    struct known_id known = {.id = id};
    const char *text = NULL;
    int rc;

    for (size_t i = 0; i < c->n_ids; i++)
        if (c->ids[i].id == id) {
            *ret = c->ids[i].writer;
            if (!*ret && err)
                *err = c->ids[i].err;
            return *ret ? 0 : -1;
        }
    if (!c->lookup)
        return err_codec(err, "written with schema id %d, but no schema registry is configured",
                         id);
    if (c->n_ids == CODEC_MAX_SCHEMAS)
        return err_set(err, ERR_LIMIT, NEXT_REJECT, "more than %d schema ids", CODEC_MAX_SCHEMAS);
    rc = c->lookup(c->lookup_ctx, id, &text, err);
    if (rc != 0)
        return rc;
    if (add_writer(c, slice_str(text), &known.writer, &known.err) != 0)
        err_wrap(&known.err, "schema id %d", id);
    c->ids = xgrow(c->ids, &c->ids_cap, c->n_ids + 1, sizeof(*c->ids));
    c->ids[c->n_ids++] = known;
    return find_id(c, id, ret, err);
}

static int find_writer(struct codec *c, enum record expected, struct slice framed,
                       struct slice *ret_body, struct writer **ret, struct err *err)
{
    const uint8_t *p = (const uint8_t *)framed.p;
    struct writer *w = NULL;
    size_t header;
    int rc;

    if (framed.n >= SINGLE_OBJECT_BYTES && p[0] == 0xC3 && p[1] == 0x01) {
        uint64_t fingerprint;

        memcpy(&fingerprint, p + 2, sizeof(fingerprint));
        fingerprint = le64toh(fingerprint);
        header = SINGLE_OBJECT_BYTES;
        w = find_fingerprint(c, fingerprint);
        if (!w && find_elsewhere(c, fingerprint, &w, err) != 0)
            return -1;
    } else if (framed.n >= CONFLUENT_BYTES && p[0] == 0x00) {
        uint32_t id;

        memcpy(&id, p + 1, sizeof(id));
        header = CONFLUENT_BYTES;
        if (c->has_id[expected] && c->schema_id[expected] == (int32_t)be32toh(id)) {
            w = &c->own[expected];
        } else {
            rc = find_id(c, (int32_t)be32toh(id), &w, err);
            if (rc != 0)
                return rc;
        }
    } else {
        return err_codec(
            err, "no Avro record: %zu bytes that begin with neither 00 and a schema id nor C3 01",
            framed.n);
    }
    *ret_body = (struct slice){.p = framed.p + header, .n = framed.n - header};
    *ret = w;
    return 0;
}

/* --- both ways ------------------------------------------------------------------------------- */

int codec__get_foreign(struct codec__avro *avro, const struct wire_type *t, struct slice body,
                       enum record r, struct arena *arena, void *rec, struct err *err)
{
    const struct record_fields *table = record_fields(r);

    if (codec__scan(t, body, err) != 0)
        return -1;
    memcpy(rec, codec__defaults(table), table->size);
    return codec__avro_get(avro, t, body, table, arena, rec, err);
}

/* As Avro resolves: the name counts, not the namespace.  Two records of ours never share a name, so
 * what passes is either `expected` itself or somebody else's. */
static int check_name(const char *written, const char *expected, struct err *err)
{
    const char *dot = strrchr(written, '.');

    if (strcmp(dot ? dot + 1 : written, expected) == 0)
        return 0;
    return err_codec(err, "a %.100s, where %s is expected", written, expected);
}

int codec_decode(struct codec *c, enum record expected, struct slice framed, struct arena *arena,
                 const void **ret, struct err *err)
{
    const struct record_fields *table = record_fields(expected);
    struct slice body;
    struct writer *w = NULL;
    void *rec;
    int rc;

    BUG_ON(!table);
    if (framed.n > CODEC_MAX_BYTES)
        return err_set(err, ERR_LIMIT, NEXT_REJECT, "record of %zu bytes; the most is %zu",
                       framed.n, CODEC_MAX_BYTES);
    rc = find_writer(c, expected, framed, &body, &w, err);
    if (rc != 0)
        return rc;
    if (w->own != expected && check_name(w->wire.root->name, table->name, err) != 0)
        return -1;
    rec = arena_alloc(arena, table->size);
    if (w->own == expected)
        rc = codec__get_record(body, table, arena, rec, err);
    else
        rc = codec__get_foreign(w->avro, w->wire.root, body, expected, arena, rec, err);
    if (rc != 0)
        return err_wrap(err, "%s", table->name);
    *ret = rec;
    return 0;
}

int codec_encode(struct codec *c, enum record r, const void *rec, struct buf *out, struct err *err)
{
    const struct record_fields *table = record_fields(r);
    size_t begin = out->len;
    uint8_t header[SINGLE_OBJECT_BYTES] = {0xC3, 0x01};

    BUG_ON(!table || !rec || out->overflow);
    if (c->has_id[r]) {
        uint32_t id = htobe32((uint32_t)c->schema_id[r]);

        header[0] = 0x00;
        memcpy(header + 1, &id, sizeof(id));
        buf_add(out, header, CONFLUENT_BYTES);
    } else {
        uint64_t fingerprint = htole64(c->own[r].wire.fingerprint);

        memcpy(header + 2, &fingerprint, sizeof(fingerprint));
        buf_add(out, header, SINGLE_OBJECT_BYTES);
    }
    codec__put_record(out, table, rec);
    if (!out->overflow && out->len - begin <= CODEC_MAX_BYTES)
        return 0;
    err_set(err, ERR_LIMIT, NEXT_REJECT, "%s: a record of more than %zu bytes", table->name,
            CODEC_MAX_BYTES);
    out->len = begin;
    out->overflow = false;
    if (out->data)
        out->data[begin] = '\0';
    return -1;
}

/* --- text ------------------------------------------------------------------------------------ */

bool codec__is_text(struct slice s)
{
    const uint64_t high = UINT64_C(0x8080808080808080), ones = UINT64_C(0x0101010101010101);
    size_t i = 0;
    uint64_t w;

    if (s.n == 0)
        return true;
    for (; s.n - i >= sizeof(w); i += sizeof(w)) { /* ASCII, eight at a time */
        memcpy(&w, s.p + i, sizeof(w));
        if ((w | (w - ones)) & high) /* a high bit, or a zero byte (or one too many suspected) */
            break;
    }
    s = (struct slice){.p = s.p + i, .n = s.n - i};
    return !memchr(s.p, 0, s.n) && slice_is_utf8(s);
}

void codec__repair_utf8(const char *s, size_t n, struct buf *out)
{
    size_t i = 0;

    while (i < n) {
        size_t len = 1;

        /* the shortest valid beginning is one character */
        while (len <= 4 && len <= n - i && !slice_is_utf8((struct slice){.p = s + i, .n = len}))
            len++;
        if (len <= 4 && len <= n - i)
            buf_add(out, s + i, len);
        else
            buf_add_str(out, "\xEF\xBF\xBD");
        i += len <= 4 && len <= n - i ? len : 1;
    }
}
