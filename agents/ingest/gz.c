#include "agents/ingest/gz.h"

#include <zlib.h>

#include "common/mem.h"

enum { OUT_BYTES = 256 << 10 };

struct gz {
    z_stream z;
    enum gz_kind kind;
    bytes_fn sink;
    void *ctx;
    bool done;    /* the member at hand has ended */
    bool padding; /* zero bytes behind the last member */
    unsigned char out[OUT_BYTES];
};

struct gz *gz_new(enum gz_kind kind, bytes_fn sink, void *ctx)
{
    struct gz *g = xcalloc(1, sizeof(*g));

    g->kind = kind;
    g->sink = sink;
    g->ctx = ctx;
    BUG_ON(inflateInit2(&g->z, kind == GZ_RAW ? -MAX_WBITS : MAX_WBITS + 16) != Z_OK);
    return g;
}

void gz_free(struct gz *g)
{
    if (!g)
        return;
    inflateEnd(&g->z);
    free(g);
}

static int damaged(const struct gz *g, struct err *err)
{
    return err_inval(err, "the %s data is damaged: %s", g->kind == GZ_RAW ? "compressed" : "gzip",
                     g->z.msg ? g->z.msg : "unexpected end");
}

/* One call of inflate; what came out goes to the sink. */
static int step(struct gz *g, struct err *err)
{
    size_t n;
    int rc;

    g->z.next_out = g->out;
    g->z.avail_out = OUT_BYTES;
    rc = inflate(&g->z, Z_NO_FLUSH);
    BUG_ON(rc == Z_STREAM_ERROR || rc == Z_MEM_ERROR);
    if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
        return damaged(g, err);
    g->done = rc == Z_STREAM_END;
    n = OUT_BYTES - g->z.avail_out;
    return n > 0 ? g->sink(g->ctx, g->out, n, err) : 0;
}

/* Behind a member: another one, zeros up to the end of a tape block, or nothing. */
static int next_member(struct gz *g, struct err *err)
{
    if (g->kind == GZ_RAW)
        return err_inval(err, "there are bytes behind the compressed data");
    while (g->z.avail_in > 0 && *g->z.next_in == 0) {
        g->padding = true;
        g->z.next_in++;
        g->z.avail_in--;
    }
    if (g->z.avail_in == 0)
        return 0;
    if (g->padding)
        return err_inval(err, "there are bytes behind the gzip data");
    BUG_ON(inflateReset(&g->z) != Z_OK);
    g->done = false;
    return 0;
}

int gz_feed(struct gz *g, const void *p, size_t n, struct err *err)
{
    for (size_t k; n > 0; p = (const char *)p + k, n -= k) {
        k = n < OUT_BYTES ? n : OUT_BYTES;
        g->z.next_in = (unsigned char *)(uintptr_t)p; /* zlib reads it only */
        g->z.avail_in = (unsigned)k;
        do {
            if (g->done && next_member(g, err))
                return -1;
            if (!g->done && step(g, err))
                return -1;
        } while (g->z.avail_in > 0 || (!g->done && g->z.avail_out == 0));
    }
    return 0;
}

int gz_end(struct gz *g, struct err *err)
{
    return g->done ? 0 : err_inval(err, "the compressed data ends early");
}

uint32_t gz_crc32(uint32_t crc, const void *p, size_t n)
{
    return (uint32_t)crc32_z(crc, p, n);
}
