/* What the files of module httpd share. */
#ifndef COMMON_HTTPD_INTERNAL_H
#define COMMON_HTTPD_INTERNAL_H

#include <microhttpd.h>

#include "common/httpd.h"
#include "common/mem.h"

enum {
    HTTPD_HEADER_MAX_BYTES = 16 << 10, /* what browsers and proxies send stays below 8 KiB */
    HTTPD_CONNECTIONS_MAX = 1024,      /* one costs 32 KiB of buffer and a descriptor */
    HTTPD_IDLE_S = 60, /* longer than a load balancer's pause between two requests */
    HTTPD_DISCARD_MAX_BYTES =
        16 << 20, /* of a body above the cap, so that its sender sees the 413 */
    HTTPD_BODIES_MAX_BYTES = 256 << 20, /* of all requests in memory; above it new ones get 503 */
    HTTPD_STREAM_MAX_BYTES = 1 << 20,   /* a client that is so far behind is not reading */
    HTTPD_STREAM_CHECK_MS = 2000,       /* how soon a client that left an idle stream is noticed */
};

struct httpd {
    struct loop *loop;
    struct MHD_Daemon *mhd;
    struct loop_watch *watch;
    struct loop_timer *timer; /* MHD's own deadlines, and the next run when one is due at once */
    struct loop_timer *check; /* runs while there are streams */
    struct httpd_request *requests; /* each that MHD has told us of and not completed */
    struct httpd_stream *streams;
    httpd_fn on_request;
    void *ctx;
    size_t body_cap_bytes, bodies_bytes;
    int port;
    bool in_run; /* inside MHD: it must not be entered again, nor stopped */
    bool closing;
};

/* Life: from MHD's first call to its notice of completion.  The owner's part ends with an answer.
 */
struct httpd_request {
    struct httpd *h;
    struct httpd_request *next, **prev;
    struct MHD_Connection *conn;
    const char *method; /* MHD's, like the header values; they live as long as the request */
    const char *raw_path;
    char *path; /* decoded; NULL: cannot be */
    struct buf body;
    size_t discarded_bytes;
    int refuse_status; /* 0, or what to answer instead of asking the owner */
    bool is_dispatched, is_suspended;
    int status;
    struct MHD_Response *response; /* the owner's answer, until it is queued */
    struct httpd_stream *stream;
    struct arena arena;
};

/* Life: from begin until the owner has let go (end, or on_gone came), the request is over and MHD
 * has freed the response. */
struct httpd_stream {
    struct httpd *h;
    struct httpd_stream *next, **prev;
    struct MHD_Connection *conn; /* NULL when the request is over */
    struct buf buf;
    size_t sent_bytes; /* of buf */
    loop_fn on_gone;
    void *ctx;
    bool is_suspended;
    bool is_ended;  /* by the owner: what is in buf goes out, then the end */
    bool is_failed; /* the client is to be dropped */
    bool is_let_go; /* the owner has no pointer any more */
    bool is_freed;  /* MHD has none */
};

/* Has MHD run in the next turn: after a resume it would not notice by itself. */
void httpd__wake(struct httpd *h);
void httpd__respond(struct httpd_request *rq, int status, struct MHD_Response *response);
/* The request of a stream is over, for whatever reason. */
void httpd__stream_over(struct httpd_stream *s);
void httpd__streams_check(void *ctx);
/* Percent-decodes n bytes of s into memory of *a; NULL when an escape is malformed or stands for
 * \0. */
char *httpd__decode(struct arena *a, const char *s, size_t n);

#endif
