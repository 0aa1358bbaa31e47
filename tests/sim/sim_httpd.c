/* common/httpd.h without sockets: endpoints are there, and nobody asks. */
#include "common/httpd.h"

#include "common/mem.h"
#include "tests/sim/sim.h"

struct httpd {
    int unused;
};

int httpd_open(struct loop *l, const char *address, size_t body_cap_bytes, httpd_fn on_request,
               void *ctx, struct httpd **ret, struct err *err)
{
    (void)l;
    (void)address;
    (void)body_cap_bytes;
    (void)on_request;
    (void)ctx;
    (void)err;
    *ret = xcalloc(1, sizeof(**ret));
    return 0;
}

int httpd_port(const struct httpd *h)
{
    (void)h;
    return 1;
}

void httpd_close(struct httpd *h)
{
    free_ptr(&h);
}

/* Requests there are none: none of these is ever called. */
const char *httpd_method(const struct httpd_request *rq)
{
    (void)rq;
    return "GET";
}

const char *httpd_path(const struct httpd_request *rq)
{
    (void)rq;
    return "/";
}

const char *httpd_query(const struct httpd_request *rq, const char *name)
{
    (void)rq;
    (void)name;
    return NULL;
}

const char *httpd_header(const struct httpd_request *rq, const char *name)
{
    (void)rq;
    (void)name;
    return NULL;
}

struct slice httpd_body(const struct httpd_request *rq)
{
    (void)rq;
    return (struct slice){0};
}

bool httpd_match(const struct httpd_request *rq, const char *pattern, const char **segs,
                 size_t max_segs)
{
    (void)rq;
    (void)pattern;
    (void)segs;
    (void)max_segs;
    return false;
}

void httpd_answer(struct httpd_request *rq, int status, const char *content_type, struct slice body)
{
    (void)rq;
    (void)status;
    (void)content_type;
    (void)body;
}

void httpd_answer_headers(struct httpd_request *rq, int status, const char *content_type,
                          const char *const *headers, struct slice body)
{
    (void)headers;
    httpd_answer(rq, status, content_type, body);
}

void httpd_answer_error(struct httpd_request *rq, int status, const char *fmt, ...)
{
    (void)rq;
    (void)status;
    (void)fmt;
}
