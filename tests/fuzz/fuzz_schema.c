/* A writer's schema and what it wrote, both from anywhere: the first byte picks the record that is
 * expected, then come the schema's text, a NUL, and the datum.  Read three ways as an agent reads
 * them: by Confluent's id, by the fingerprint out of the store, and by a schema that was added. */
#include <string.h>

#include "common/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct writer {
    char *text;
    int32_t id;
};

static int lookup(void *ctx, int32_t schema_id, const char **ret_text, struct err *err)
{
    const struct writer *w = ctx;

    (void)err;
    *ret_text = w->text;
    return schema_id == w->id ? 0 : 1;
}

static int find(void *ctx, uint64_t fingerprint, struct buf *ret, struct err *err)
{
    const struct writer *w = ctx;

    (void)fingerprint;
    (void)err;
    buf_add_str(ret, w->text);
    return 0;
}

static int decode(struct codec *c, enum record r, const void *head, size_t head_n,
                  struct slice body, struct buf *again)
{
    CLEANUP(arena_fini) struct arena arena = {0};
    CLEANUP(buf_fini) struct buf framed = {0};
    struct err err = {0};
    const void *rec = NULL;
    int rc;

    buf_add(&framed, head, head_n);
    buf_add(&framed, body.p, body.n);
    rc = codec_decode(c, r, buf_slice(&framed), &arena, &rec, &err);
    BUG_ON(rc == 1 || (rc < 0 && err.code == ERR_NONE));
    if (rc == 0 && codec_encode(c, r, rec, again, &err))
        BUG_ON(err.code != ERR_LIMIT);
    return rc;
}

static int by_fingerprint(struct codec *c, enum record r, uint64_t fingerprint, struct slice body,
                          struct buf *again)
{
    char head[2 + sizeof(fingerprint)] = "\xC3\x01";

    memcpy(head + 2, &fingerprint,
           sizeof(fingerprint)); /* little-endian, as codec_wire.h asserts */
    return decode(c, r, head, sizeof(head), body, again);
}

/* Codecs are dear to make and keep what they learn: they are made anew now and then. */
enum { LEARNT_MAX = 500 };

static struct {
    struct codec *by_id, *found, *added;
    int learnt;
} codecs;

static void codecs_free(void)
{
    codec_free(codecs.by_id);
    codec_free(codecs.found);
    codec_free(codecs.added);
}

static void codecs_fresh(struct writer *w)
{
    struct err err;
    bool is_first = !codecs.by_id;

    if (!is_first && ++codecs.learnt <= LEARNT_MAX)
        return;
    codecs_free();
    codecs.learnt = 1;
    BUG_ON(codec_new(&codecs.by_id, &err) || codec_new(&codecs.found, &err) ||
           codec_new(&codecs.added, &err));
    codec_set_lookup(codecs.by_id, lookup, w);
    codec_set_find(codecs.found, find, w);
    if (is_first)
        atexit(codecs_free);
}

static void read_three_ways(enum record r, struct writer *w, struct slice body)
{
    CLEANUP(buf_fini) struct buf a = {0}, b = {0}, c = {0};
    uint64_t fingerprint;
    struct err err = {0};
    int rc;

    codecs_fresh(w);
    w->id = codecs.learnt;
    rc = decode(codecs.by_id, r, (const char[]){0, 0, 0, (char)(w->id >> 8), (char)w->id}, 5, body,
                &a);
    if (codec_text_fingerprint(slice_str(w->text), &fingerprint, &err)) {
        BUG_ON(rc == 0 || err.code == ERR_NONE);
        return;
    }
    BUG_ON(by_fingerprint(codecs.found, r, fingerprint, body, &b) != rc);
    BUG_ON(!slice_eq(buf_slice(&a), buf_slice(&b)));
    if (codec_add_schema(codecs.added, slice_str(w->text), &err) == 0)
        BUG_ON(by_fingerprint(codecs.added, r, fingerprint, body, &c) != rc ||
               !slice_eq(buf_slice(&a), buf_slice(&c)));
}

/* avro-c keeps pointers where they are not aligned, so what its values hold looks leaked. */
const char *__lsan_default_options(void);
const char *__lsan_default_options(void)
{
    return "use_unaligned=1";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const uint8_t *end = n > 1 ? memchr(data + 1, 0, n - 1) : NULL;
    static struct writer w; /* the codecs ask it */
    struct slice body;

    if (!end)
        return 0;
    w.text = xstrdup((const char *)data + 1);
    body = (struct slice){(const char *)end + 1, (size_t)(data + n - end - 1)};
    read_three_ways((enum record)(1 + data[0] % (RECORD_COUNT - 1)), &w, body);
    free(w.text);
    return 0;
}
