/* HTTP client (libcurl).  Blocking: call it from the pool (common/loop.h work_submit), a child, or
 * a command line, never on an agent's loop thread.  Only http and https; redirects are followed to
 * http(s) only, 5 at most; a body that ends early is an error.  The only module with curl. */
#ifndef COMMON_HTTP_H
#define COMMON_HTTP_H

#include "common/buf.h"
#include "common/err.h"

struct http_request {
    const char *method; /* NULL: GET, or POST when there is a body */
    const char *url;
    const char *const *headers; /* NULL-terminated "Name: value"; may be NULL */
    struct slice body;
    int64_t connect_timeout_ms; /* 0: 5 s */
    int64_t timeout_ms;         /* whole call; 0: 30 s; -1: no limit */
    int64_t stall_ms;           /* fewer than 1 byte/s for so long ends it; 0: 20 s */
    size_t cap_bytes;           /* of the body in `body`; 0: 64 MiB */
    /* When set, body bytes go here and not into the response; return -1 with *err set to stop. */
    int (*sink)(void *ctx, const void *p, size_t n, struct err *err);
    void *ctx;
    const volatile bool *cancel; /* may be NULL; seen within 100 ms */
};
struct http_response {
    int status;
    struct buf body;
    char content_type[96];
    char etag[160];
    int64_t content_length; /* -1 unknown */
};
/* 0 when an HTTP answer came, whatever its status (sink gets the body of 2xx only; other bodies go
 * to `body`, beside a sink at most 64 KiB of them).  *ret is the caller's: http_response_fini.
 * Errors: ERR_INVAL bad URL or scheme (a redirect's too), ERR_LIMIT a body above cap_bytes or
 * headers above 256 KiB, ERR_HTTP (reject) too many redirects, ERR_CANCELED, the sink's own;
 * ERR_TIMEOUT and ERR_HTTP (retry) for the transport.  Messages name the URL without user, password
 * and query.  Proxies are those of the environment (https_proxy, no_proxy), never for loopback. */
int http_call(const struct http_request *rq, struct http_response *ret,
              struct err *err) WARN_UNUSED;
void http_response_fini(struct http_response *r);
/* Kept-alive connection for many calls, one at a time (replay, benchmarks). */
struct http_client;
struct http_client *http_client_new(void);
void http_client_free(struct http_client *c);
int http_client_call(struct http_client *c, const struct http_request *rq,
                     struct http_response *ret, struct err *err) WARN_UNUSED;
/* Percent-encoding of one path segment or query value; appended to out. */
void http_escape(const char *s, struct buf *out);

#endif
