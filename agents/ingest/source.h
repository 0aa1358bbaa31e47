/* Bytes of a dataset from where its event says they are, into a sink.  What the event says of them
 * (size, digest) is checked.  Blocking; pool thread. */
#ifndef INGEST_SOURCE_H
#define INGEST_SOURCE_H

#include "agents/ingest/gz.h"
#include "agents/ingest/report.h"

struct source_request {
    const char *uri;       /* file:///path, http://, https:// */
    const char *file_root; /* file:// below this folder only */
    const char *sha256;    /* NULL: not checked */
    int64_t size_bytes;    /* ABSENT_I64: not checked */
    uint64_t max_bytes;
    int64_t connect_timeout_ms, stall_ms, timeout_ms;
    const volatile bool *cancel; /* may be NULL */
};
/* Returns 0, or -1 with *ret_rule: what of the dataset is broken (BROKEN_FETCH, _SIZE, _DIGEST), or
 * BROKEN_COUNT when it was the sink that failed.  err->next: NEXT_REJECT for what stays so (404,
 * wrong digest, a file that changed), NEXT_RETRY for what may get better (5xx, refused connections,
 * time-outs).  When the sink refuses bytes whose digest is known, the rest is still read (up to
 * SOURCE_DRAIN_BYTES): a wrong digest explains more. */
#define SOURCE_DRAIN_BYTES ((uint64_t)256 << 20)
struct source_result {
    uint64_t bytes;
    int64_t mtime_ns; /* of a file; 0 for others */
};
int source_read(const struct source_request *rq, bytes_fn sink, void *ctx,
                struct source_result *ret, enum broken *ret_rule, struct err *err) WARN_UNUSED;

#endif
