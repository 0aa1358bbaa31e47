/* HTTP server (libmicrohttpd, its epoll descriptor polled on our loop): requests arrive whole on the
 * loop thread and are answered now or later.  Caps: header 16 KiB, body `body_cap`, connections,
 * idle 60 s.  Loopback unless told otherwise.  The only module with microhttpd.h.  Loop thread. */
#ifndef COMMON_HTTPD_H
#define COMMON_HTTPD_H

#include "common/buf.h"
#include "common/err.h"
#include "common/loop.h"

struct httpd;
struct httpd_request; /* lives until answered */

typedef void (*httpd_fn)(void *ctx, struct httpd_request *rq);

/* address "127.0.0.1:0" (port 0: the kernel picks; httpd_port tells). */
int httpd_open(struct loop *l, const char *address, size_t body_cap_bytes, httpd_fn on_request, void *ctx, struct httpd **ret, struct err *err) WARN_UNUSED;
int httpd_port(const struct httpd *h);
void httpd_close(struct httpd *h); /* open requests are answered 503 */

const char *httpd_method(const struct httpd_request *rq);
const char *httpd_path(const struct httpd_request *rq);   /* decoded, without the query */
const char *httpd_query(const struct httpd_request *rq, const char *name);   /* decoded; NULL when absent */
const char *httpd_header(const struct httpd_request *rq, const char *name);  /* NULL when absent */
struct slice httpd_body(const struct httpd_request *rq);
/* Walks headers whose name begins with prefix (case-insensitive). */
void httpd_each_header(const struct httpd_request *rq, const char *prefix, void (*fn)(void *ctx, const char *name, const char *value), void *ctx);
/* Matches "/v2/models/{}/versions/{}/infer": fills segs with the decoded parts (pointers into rq). */
bool httpd_match(const struct httpd_request *rq, const char *pattern, const char **segs, size_t max_segs);

/* Answers; rq is gone afterwards. The body is copied. */
void httpd_answer(struct httpd_request *rq, int status, const char *content_type, struct slice body);
void httpd_answer_headers(struct httpd_request *rq, int status, const char *content_type, const char *const *headers /* "Name: value", NULL-terminated */, struct slice body);
void httpd_answer_error(struct httpd_request *rq, int status, const char *fmt, ...) PRINTF(3, 4); /* {"error":"..."} */
/* Server-sent events or other streams: begin, then chunks until end or the client goes away. */
struct httpd_stream;
struct httpd_stream *httpd_stream_begin(struct httpd_request *rq, const char *content_type, loop_fn on_gone, void *ctx);
void httpd_stream_send(struct httpd_stream *s, struct slice bytes); /* buffered up to 1 MiB, then the client is dropped */
void httpd_stream_end(struct httpd_stream *s);

#endif
