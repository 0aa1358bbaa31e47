/* HTTP server (libmicrohttpd, its epoll descriptor polled on our loop): requests arrive whole on
 * the loop thread and are answered now or later.  Caps: header 16 KiB (431), body `body_cap` (413),
 * 256 MiB of bodies at once (503), 1,024 connections (more wait to be accepted), 60 s without a
 * byte.  The only module with microhttpd.h.  Loop thread. */
#ifndef COMMON_HTTPD_H
#define COMMON_HTTPD_H

#include "common/buf.h"
#include "common/err.h"
#include "common/loop.h"

struct httpd;
struct httpd_request; /* lives until answered, though its client may be gone by then */

typedef void (*httpd_fn)(void *ctx, struct httpd_request *rq);

/* address "127.0.0.1:0", "[::1]:8080", "localhost:80" (port 0: the kernel picks; httpd_port tells).
 * on_request may answer before it returns.  Errors: ERR_INVAL a malformed address, ERR_IO (fatal)
 * one that cannot be listened on. */
int httpd_open(struct loop *l, const char *address, size_t body_cap_bytes, httpd_fn on_request,
               void *ctx, struct httpd **ret, struct err *err) WARN_UNUSED;
int httpd_port(const struct httpd *h);
/* Not from within on_request.  Open requests are answered 503 and are gone: whoever still holds one
 * must be told before.  Streams end; their on_gone is called.  NULL is fine. */
void httpd_close(struct httpd *h);

/* HEAD is shown as GET; the body of its answer is left out.  Unknown methods come as well. */
const char *httpd_method(const struct httpd_request *rq);
const char *httpd_path(const struct httpd_request *rq); /* decoded, without the query */
/* decoded; NULL when absent */
const char *httpd_query(const struct httpd_request *rq, const char *name);
const char *httpd_header(const struct httpd_request *rq, const char *name); /* NULL when absent */
struct slice httpd_body(const struct httpd_request *rq);
/* Walks headers whose name begins with prefix (case-insensitive). */
void httpd_each_header(const struct httpd_request *rq, const char *prefix,
                       void (*fn)(void *ctx, const char *name, const char *value), void *ctx);
/* Matches "/v2/models/{}/versions/{}/infer": fills segs with the decoded parts (pointers into rq).
 * The path is split before it is decoded: "a%2Fb" is one part.  {} takes no empty part.  At
 * most 16. */
bool httpd_match(const struct httpd_request *rq, const char *pattern, const char **segs,
                 size_t max_segs);

/* Answers; rq is gone afterwards. The body is copied. */
void httpd_answer(struct httpd_request *rq, int status, const char *content_type,
                  struct slice body);
void httpd_answer_headers(struct httpd_request *rq, int status, const char *content_type,
                          const char *const *headers /* "Name: value", NULL-terminated */,
                          struct slice body);
/* {"error":"..."} */
void httpd_answer_error(struct httpd_request *rq, int status, const char *fmt, ...) PRINTF(3, 4);
/* Server-sent events or other streams: begin, then chunks until end or the client goes away.
 * on_gone comes at most once, from the loop and never from send or end; s is gone with it.  After
 * end it does not come.  A client that leaves an idle stream is noticed within 2 s. */
struct httpd_stream;
struct httpd_stream *httpd_stream_begin(struct httpd_request *rq, const char *content_type,
                                        loop_fn on_gone, void *ctx);
/* buffered up to 1 MiB, then the client is dropped */
void httpd_stream_send(struct httpd_stream *s, struct slice bytes);
void httpd_stream_end(struct httpd_stream *s);

#endif
