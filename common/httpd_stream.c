/* Answers that go on.  MHD asks for bytes; when there are none the connection is suspended and the
 * next send resumes it.  MHD does not look at a suspended connection, so whether its client is
 * still there is checked from a timer. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/httpd_internal.h"

enum { STREAM_BLOCK_BYTES = 16 << 10 }; /* of one piece that MHD takes */

static void stream_unlink(struct httpd_stream *s)
{
    if (!s->prev)
        return;
    *s->prev = s->next;
    if (s->next)
        s->next->prev = s->prev;
    s->prev = NULL;
}

/* MHD frees the response before or after it says that the request is over. */
static void stream_free_if_done(struct httpd_stream *s)
{
    if (!s->is_let_go || !s->is_freed || s->conn)
        return;
    buf_fini(&s->buf);
    free(s);
}

static void stream_resume(struct httpd_stream *s)
{
    if (!s->is_suspended)
        return;
    s->is_suspended = false;
    MHD_resume_connection(s->conn);
    httpd__wake(s->h);
}

static int socket_of(const struct httpd_stream *s)
{
    return MHD_get_connection_info(s->conn, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
}

/* MHD may be waiting for the client to read, and then asks us nothing: the socket's end wakes it.
 * on_gone follows from the loop. */
static void stream_fail(struct httpd_stream *s)
{
    s->is_failed = true;
    shutdown(socket_of(s), SHUT_RDWR);
    stream_resume(s);
}

static ssize_t on_read(void *cls, uint64_t at, char *out, size_t max)
{
    struct httpd_stream *s = cls;
    size_t n = s->buf.len - s->sent_bytes;

    (void)at;
    if (s->is_failed)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (n == 0 && s->is_ended)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (n == 0) {
        s->is_suspended = true;
        MHD_suspend_connection(s->conn);
        return 0;
    }
    if (n > max)
        n = max;
    memcpy(out, s->buf.data + s->sent_bytes, n);
    s->sent_bytes += n;
    if (s->sent_bytes == s->buf.len) {
        buf_reset(&s->buf);
        s->sent_bytes = 0;
    }
    return (ssize_t)n;
}

static void on_free(void *cls)
{
    struct httpd_stream *s = cls;

    s->is_freed = true;
    stream_free_if_done(s);
}

void httpd__stream_over(struct httpd_stream *s)
{
    stream_unlink(s);
    s->conn = NULL;
    if (!s->is_let_go) {
        s->is_let_go = true;
        if (s->on_gone)
            s->on_gone(s->ctx);
    }
    stream_free_if_done(s);
}

struct httpd_stream *httpd_stream_begin(struct httpd_request *rq, const char *content_type,
                                        loop_fn on_gone, void *ctx)
{
    struct httpd_stream *s = xcalloc(1, sizeof(*s));
    struct MHD_Response *r = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES,
                                                               on_read, s, on_free);

    BUG_ON(!r);
    s->h = rq->h;
    s->conn = rq->conn;
    s->on_gone = on_gone;
    s->ctx = ctx;
    s->next = rq->h->streams;
    s->prev = &rq->h->streams;
    if (s->next)
        s->next->prev = &s->next;
    rq->h->streams = s;
    buf_init(&s->buf, 2 * HTTPD_STREAM_MAX_BYTES);
    rq->stream = s;
    MHD_add_response_header(r, "Content-Type", content_type);
    MHD_add_response_header(r, "Cache-Control", "no-store");
    loop_timer_start(rq->h->check, HTTPD_STREAM_CHECK_MS);
    httpd__respond(rq, MHD_HTTP_OK, r);
    return s;
}

void httpd_stream_send(struct httpd_stream *s, struct slice bytes)
{
    if (bytes.n == 0 || s->is_failed)
        return;
    if (s->buf.len - s->sent_bytes + bytes.n > HTTPD_STREAM_MAX_BYTES) {
        stream_fail(s);
        return;
    }
    if (s->sent_bytes >=
        HTTPD_STREAM_MAX_BYTES) { /* a client just fast enough never lets it run empty */
        s->buf.len -= s->sent_bytes;
        memmove(s->buf.data, s->buf.data + s->sent_bytes, s->buf.len + 1);
        s->sent_bytes = 0;
    }
    buf_add(&s->buf, bytes.p, bytes.n);
    stream_resume(s);
}

void httpd_stream_end(struct httpd_stream *s)
{
    if (!s)
        return;
    s->is_ended = true;
    s->is_let_go = true;
    stream_resume(s);
    stream_free_if_done(s);
}

static bool is_client_there(const struct httpd_stream *s)
{
    char c;
    ssize_t n = recv(socket_of(s), &c, 1, MSG_PEEK | MSG_DONTWAIT);

    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

void httpd__streams_check(void *ctx)
{
    struct httpd *h = ctx;

    for (struct httpd_stream *s = h->streams; s; s = s->next)
        if (h->closing || (s->is_suspended && !is_client_there(s)))
            stream_fail(s);
    if (h->streams && !h->closing)
        loop_timer_start(h->check, HTTPD_STREAM_CHECK_MS);
}
