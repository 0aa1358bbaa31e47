/* Compressed bytes from anywhere, as gzip and bare: the same bytes come out however they are cut
 * into pieces, never more than the sink lets pass, or the same error. */
#include "agents/ingest/gz.h"
#include "common/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { OUT_MAX_BYTES = 1 << 20 };

static int sink(void *ctx, const void *p, size_t n, struct err *err)
{
    struct buf *out = ctx;

    BUG_ON(n == 0 || out->len > OUT_MAX_BYTES);
    if (out->len + n > OUT_MAX_BYTES)
        return err_set(err, ERR_LIMIT, NEXT_REJECT, "too much");
    buf_add(out, p, n);
    return 0;
}

static int inflate_all(enum gz_kind kind, const char *p, size_t n, size_t piece, struct buf *out,
                       struct err *err)
{
    struct gz *g = gz_new(kind, sink, out);
    int rc = 0;

    for (size_t at = 0; rc == 0 && at < n; at += piece)
        rc = gz_feed(g, p + at, n - at < piece ? n - at : piece, err);
    if (rc == 0)
        rc = gz_end(g, err);
    gz_free(g);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    for (enum gz_kind kind = GZ_GZIP; kind <= GZ_RAW; kind++) {
        CLEANUP(buf_fini) struct buf whole = {0}, pieces = {0};
        struct err a = {0}, b = {0};
        int rc = inflate_all(kind, (const char *)data, n, n + 1, &whole, &a);

        BUG_ON(inflate_all(kind, (const char *)data, n, 1 + n % 61, &pieces, &b) != rc);
        BUG_ON(rc && a.code != ERR_INVAL && a.code != ERR_LIMIT);
        BUG_ON(rc == 0 && !slice_eq(buf_slice(&whole), buf_slice(&pieces)));
    }
    return 0;
}
