/* The codec on any bytes.  The first byte picks the record and what is done:
 *
 *   0..15   the rest is a datum of a compiled-in schema: the reader by field tables and avro-c must
 *           agree on whether it can be read and on every value; what was read is written, read and
 *           written again
 *   16..31  the same, framed by the input itself
 *   32..47  the rest is a schema text, a NUL, and a datum that is read with it */
#include "common/codec_internal.h"

#include "common/json.h"

static struct codec *codec;
static struct wire_schema wires[RECORD_COUNT];
static struct codec__avro *avros[RECORD_COUNT];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__lsan_default_options(void);

/* avro-c keeps pointers where they are not aligned, so what its values hold looks leaked. */
const char *__lsan_default_options(void)
{
    return "use_unaligned=1";
}

static void need(int rc, const struct err *err)
{
    if (rc == 0)
        return;
    fprintf(stderr, "fuzz_codec: %s\n", err->msg);
    abort();
}

static void setup(void)
{
    struct err err = {0};

    if (codec)
        return;
    need(codec_new(&codec, &err), &err);
    for (int r = RECORD_NONE + 1; r < RECORD_COUNT; r++) {
        struct slice text = slice_str(codec_schema_text((enum record)r));

        need(codec__schema_parse(text, &wires[r], NULL, &err), &err);
        need(codec__avro_new(text, &avros[r], &err), &err);
    }
}

/* Writes what was read; it must read back and be written to the same bytes.  Also through JSON. */
static void round_trip(enum record r, const void *rec, struct arena *arena, struct buf *first)
{
    CLEANUP(buf_fini) struct buf second = {0};
    CLEANUP(json_freep) struct json *j = codec_to_json(r, rec);
    struct err err = {0};
    const void *back;

    if (codec_encode(codec, r, rec, first, &err) !=
        0) { /* null took less room than a default does */
        BUG_ON(err.code != ERR_LIMIT);
        return;
    }
    need(codec_decode(codec, r, buf_slice(first), arena, &back, &err), &err);
    need(codec_encode(codec, r, back, &second, &err), &err);
    BUG_ON(!slice_eq(buf_slice(first), buf_slice(&second)));
    need(codec_from_json(r, j, arena, &back, &err), &err);
}

static void both_readers(enum record r, struct slice body)
{
    CLEANUP(arena_fini) struct arena arena = {0};
    CLEANUP(buf_fini) struct buf direct = {0}, foreign = {0};
    CLEANUP(buf_fini) struct buf framed = {0};
    struct err err = {0}, scan_err = {0};
    uint64_t fingerprint = codec_fingerprint(codec, r);
    const void *rec;
    void *other;
    int rc;

    buf_add(&framed, "\xC3\x01", 2);
    buf_add(&framed, &fingerprint,
            sizeof(fingerprint)); /* little-endian, as codec_wire.h asserts */
    buf_add(&framed, body.p, body.n);
    rc = codec_decode(codec, r, buf_slice(&framed), &arena, &rec, &err);
    BUG_ON(codec__scan(wires[r].root, body, &scan_err) != rc && scan_err.code != ERR_LIMIT);
    if (rc != 0)
        return;
    round_trip(r, rec, &arena, &direct);
    if (scan_err.code == ERR_LIMIT)
        return;
    other = arena_alloc(&arena, record_struct_size(r));
    need(codec__get_foreign(avros[r], wires[r].root, body, r, &arena, other, &err), &err);
    round_trip(r, other, &arena, &foreign);
    BUG_ON(!slice_eq(buf_slice(&direct), buf_slice(&foreign)));
}

static void framed_by_input(enum record r, struct slice framed)
{
    CLEANUP(arena_fini) struct arena arena = {0};
    CLEANUP(buf_fini) struct buf out = {0};
    struct err err = {0};
    const void *rec;

    if (codec_decode(codec, r, framed, &arena, &rec, &err) == 0)
        round_trip(r, rec, &arena, &out);
}

static void by_schema_of_input(enum record r, struct slice input)
{
    CLEANUP(arena_fini) struct arena arena = {0};
    CLEANUP(buf_fini) struct buf out = {0};
    const char *end = input.n ? memchr(input.p, 0, input.n) : NULL;
    void *rec = arena_alloc(&arena, record_struct_size(r));
    struct slice text, body;
    struct wire_schema wire = {0};
    struct codec__avro *avro = NULL;
    struct err err = {0};

    if (!end)
        return;
    text = (struct slice){.p = input.p, .n = (size_t)(end - input.p)};
    body = (struct slice){.p = end + 1, .n = input.n - text.n - 1};
    if (codec__schema_parse(text, &wire, NULL, &err) == 0 && wire.root->kind == WIRE_RECORD &&
        codec__avro_new(text, &avro, &err) == 0 &&
        codec__get_foreign(avro, wire.root, body, r, &arena, rec, &err) == 0)
        round_trip(r, rec, &arena, &out);
    BUG_ON(avro && str_has_prefix(err.msg, "avro-c: ")); /* the scan finds what it stumbles over */
    codec__avro_free(avro);
    codec__schema_fini(&wire);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = {.p = (const char *)data + 1, .n = size - 1};
    enum record r;

    if (size == 0)
        return 0;
    setup();
    r = (enum record)(1 + data[0] % (RECORD_COUNT - 1));
    switch (data[0] / (RECORD_COUNT - 1)) {
    case 0:
        both_readers(r, rest);
        break;
    case 1:
        framed_by_input(r, rest);
        break;
    case 2:
        by_schema_of_input(r, rest);
        break;
    default:
        return -1;
    }
    return 0;
}
