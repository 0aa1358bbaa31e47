/* MHD in its external mode: its epoll descriptor is watched on our loop, MHD_run does one round
 * without waiting, and MHD_get_timeout says when it wants another one without an event.
 *
 * MHD calls the handler once with the headers, once for each piece of the body, and once at the
 * end.  An answer on the first call makes MHD close the connection afterwards (measured: 19,000
 * instead of 151,000 requests a second), so that happens only where it is meant: for a body too
 * large to be read. A request that its owner does not answer at once is suspended and resumed by
 * the answer. */
#include "common/httpd_internal.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/fault.h"

enum {
    HTTPD_BACKLOG = 1024,          /* as many as may be connected */
    HTTPD_CLOSE_ROUNDS_MAX = 1000, /* of MHD when closing: each open request needs a few */
};

static void pump(struct httpd *h)
{
    MHD_UNSIGNED_LONG_LONG ms;

    h->in_run = true;
    MHD_run(h->mhd);
    h->in_run = false;
    if (MHD_get_timeout(h->mhd, &ms) == MHD_YES)
        loop_timer_start(h->timer, ms > 1000 * HTTPD_IDLE_S ? 1000 * HTTPD_IDLE_S : (int64_t)ms);
    else
        loop_timer_stop(h->timer);
}

static void on_pump(void *ctx)
{
    pump(ctx);
}

void httpd__wake(struct httpd *h)
{
    if (!h->in_run)
        loop_timer_start(h->timer, 0);
}

/* --- the handler ----------------------------------------------------------------------------- */

static struct httpd_request *request_new(struct httpd *h, struct MHD_Connection *conn,
                                         const char *method, const char *url)
{
    struct httpd_request *rq = xcalloc(1, sizeof(*rq));

    rq->h = h;
    rq->conn = conn;
    rq->method =
        strcmp(method, "HEAD") == 0 ? "GET" : method; /* MHD leaves the body out by itself */
    rq->raw_path = url;
    rq->path = httpd__decode(&rq->arena, url, strlen(url));
    rq->next = h->requests;
    rq->prev = &h->requests;
    if (rq->next)
        rq->next->prev = &rq->next;
    h->requests = rq;
    buf_init(&rq->body, h->body_cap_bytes);
    return rq;
}

static void request_free(struct httpd_request *rq)
{
    *rq->prev = rq->next;
    if (rq->next)
        rq->next->prev = rq->prev;
    rq->h->bodies_bytes -= rq->body.len;
    if (rq->response)
        MHD_destroy_response(rq->response);
    buf_fini(&rq->body);
    arena_fini(&rq->arena);
    free(rq);
}

/* With the headers.  True when the answer cannot wait for the body. */
static bool is_refused_at_once(struct httpd_request *rq)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(rq->conn, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    const char *length = httpd_header(rq, "Content-Length"), *expect = httpd_header(rq, "Expect");
    int64_t n = 0;

    if (info && info->header_size > HTTPD_HEADER_MAX_BYTES) {
        rq->refuse_status = MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE;
        return true;
    }
    if (!rq->path)
        rq->refuse_status = MHD_HTTP_BAD_REQUEST;
    if (!length || str_to_i64(length, &n) || n < 0 || (uint64_t)n <= rq->h->body_cap_bytes)
        return false;
    rq->refuse_status = MHD_HTTP_CONTENT_TOO_LARGE;
    return n > HTTPD_DISCARD_MAX_BYTES || (expect && strcasecmp(expect, "100-continue") == 0);
}

static enum MHD_Result take_body(struct httpd_request *rq, const char *data, size_t n)
{
    struct httpd *h = rq->h;

    if (!rq->refuse_status && rq->body.len + n > h->body_cap_bytes)
        rq->refuse_status = MHD_HTTP_CONTENT_TOO_LARGE;
    if (!rq->refuse_status && h->bodies_bytes + n > HTTPD_BODIES_MAX_BYTES)
        rq->refuse_status = MHD_HTTP_SERVICE_UNAVAILABLE;
    if (rq->refuse_status) {
        rq->discarded_bytes += n;
        return rq->discarded_bytes > HTTPD_DISCARD_MAX_BYTES ? MHD_NO : MHD_YES;
    }
    buf_add(&rq->body, data, n);
    h->bodies_bytes += n;
    return MHD_YES;
}

static const char *refusal_text(int status)
{
    switch (status) {
    case MHD_HTTP_CONTENT_TOO_LARGE:
        return "the body is too large";
    case MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE:
        return "the headers are too large, 16 KiB at most";
    case MHD_HTTP_BAD_REQUEST:
        return "the path is malformed";
    default:
        return "too busy or shutting down, try again";
    }
}

static void dispatch(struct httpd_request *rq)
{
    rq->is_dispatched = true;
    if (rq->h->closing)
        rq->refuse_status = MHD_HTTP_SERVICE_UNAVAILABLE;
    if (rq->refuse_status)
        httpd_answer_error(rq, rq->refuse_status, "%s", refusal_text(rq->refuse_status));
    else
        rq->h->on_request(rq->h->ctx, rq);
}

static enum MHD_Result queue_answer(struct httpd_request *rq)
{
    struct MHD_Response *response = TAKE(rq->response);
    enum MHD_Result ok = EFFECT_SURE(answer, "httpd.answer", MHD_NO,
                                     MHD_queue_response(rq->conn, (unsigned)rq->status, response));

    MHD_destroy_response(response); /* MHD keeps its own reference */
    return ok;
}

static enum MHD_Result on_access(void *cls, struct MHD_Connection *conn, const char *url,
                                 const char *method, const char *version, const char *data,
                                 size_t *data_n, void **con_cls)
{
    struct httpd_request *rq = *con_cls;

    (void)version;
    if (!rq) {
        *con_cls = rq = request_new(cls, conn, method, url);
        if (!is_refused_at_once(rq))
            return MHD_YES;
    } else if (*data_n) {
        size_t n = *data_n;

        *data_n = 0;
        return take_body(rq, data, n);
    }
    if (!rq->is_dispatched)
        dispatch(rq);
    if (rq->response)
        return queue_answer(rq);
    if (!rq->is_suspended) {
        rq->is_suspended = true;
        MHD_suspend_connection(conn);
    }
    return MHD_YES;
}

static void on_completed(void *cls, struct MHD_Connection *conn, void **con_cls,
                         enum MHD_RequestTerminationCode why)
{
    struct httpd_request *rq = *con_cls;

    (void)cls;
    (void)conn;
    (void)why;
    *con_cls = NULL;
    if (!rq)
        return;
    if (rq->stream)
        httpd__stream_over(rq->stream);
    request_free(rq);
}

void httpd__respond(struct httpd_request *rq, int status, struct MHD_Response *response)
{
    BUG_ON(rq->response || !response);
    rq->status = status;
    rq->response = response;
    if (rq->is_suspended) {
        rq->is_suspended = false;
        MHD_resume_connection(rq->conn);
        httpd__wake(rq->h);
    }
}

/* Paths are decoded by us, segment by segment: MHD would turn %2F into a slash first. */
static size_t keep_escapes(void *cls, struct MHD_Connection *conn, char *s)
{
    (void)cls;
    (void)conn;
    return strlen(s);
}

/* --- open and close -------------------------------------------------------------------------- */

static int listen_at(const char *host, const char *port, int *ret_fd)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV},
                    *found;
    int fd, one = 1, rc = getaddrinfo(host, port, &hints, &found);

    if (rc) {
        errno = EADDRNOTAVAIL;
        return -1;
    }
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    /* REUSEADDR: an agent that comes back finds its port, though old connections linger in
     * TIME_WAIT. */
    if (fd >= 0 && (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
                    bind(fd, found->ai_addr, found->ai_addrlen) || listen(fd, HTTPD_BACKLOG))) {
        int saved_errno = errno;

        close(fd);
        errno = saved_errno;
        fd = -1;
    }
    freeaddrinfo(found);
    *ret_fd = fd;
    return fd < 0 ? -1 : 0;
}

static int listen_on(const char *address, int *ret_fd, int *ret_port, struct err *err)
{
    const char *colon = strrchr(address, ':');
    struct sockaddr_storage sa;
    socklen_t n = sizeof(sa);
    char host[256], port[16];
    int64_t number;
    bool brackets = address[0] == '[' && colon && colon > address + 1 && colon[-1] == ']';
    size_t host_n = colon ? (size_t)(colon - address) - (brackets ? 2 : 0) : 0;

    if (host_n == 0 || host_n >= sizeof(host) || str_to_i64(colon + 1, &number) || number < 0 ||
        number > 65535)
        return err_inval(err, "listen address \"%s\": host:port is expected, like 127.0.0.1:8080",
                         address);
    memcpy(host, address + (brackets ? 1 : 0), host_n);
    host[host_n] = '\0';
    str_copy(port, sizeof(port), colon + 1);
    if (listen_at(host, port, ret_fd))
        return err_set(err, ERR_IO, NEXT_FATAL, "listen on %s: %s", address,
                       strerrordesc_np(errno));
    BUG_ON(getsockname(*ret_fd, (struct sockaddr *)&sa, &n) != 0);
    BUG_ON(getnameinfo((struct sockaddr *)&sa, n, NULL, 0, port, sizeof(port), NI_NUMERICSERV) !=
           0);
    BUG_ON(str_to_i64(port, &number) != 0);
    *ret_port = (int)number;
    return 0;
}

int httpd_open(struct loop *l, const char *address, size_t body_cap_bytes, httpd_fn on_request,
               void *ctx, struct httpd **ret, struct err *err)
{
    struct httpd *h;
    int fd = -1, port = 0;

    if (listen_on(address, &fd, &port, err))
        return -1;
    h = xcalloc(1, sizeof(*h));
    h->loop = l;
    h->port = port;
    h->body_cap_bytes = body_cap_bytes;
    h->on_request = on_request;
    h->ctx = ctx;
    h->mhd = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_access, h,
                              MHD_OPTION_LISTEN_SOCKET, (MHD_socket)fd, MHD_OPTION_CONNECTION_LIMIT,
                              (unsigned)HTTPD_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
                              (unsigned)HTTPD_IDLE_S, MHD_OPTION_STRICT_FOR_CLIENT, 1,
                              MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, /* the loop ignores it */
                              MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL,
                              MHD_OPTION_NOTIFY_COMPLETED, on_completed, h, MHD_OPTION_END);
    if (!h->mhd) {
        close(fd);
        free(h);
        return err_set(err, ERR_IO, NEXT_FATAL, "listen on %s: the server does not start", address);
    }
    h->timer = loop_timer_new(l, on_pump, h);
    h->check = loop_timer_new(l, httpd__streams_check, h);
    h->watch = loop_watch_new(l, MHD_get_daemon_info(h->mhd, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd,
                              on_pump, h);
    *ret = h;
    return 0;
}

int httpd_port(const struct httpd *h)
{
    return h->port;
}

void httpd_close(struct httpd *h)
{
    MHD_UNSIGNED_LONG_LONG ms;

    if (!h)
        return;
    BUG_ON(h->in_run); /* not from a request's callback: post it */
    h->closing = true;
    close(MHD_quiesce_daemon(h->mhd));
    for (struct httpd_request *rq = h->requests; rq; rq = rq->next)
        if (rq->is_suspended)
            httpd_answer_error(rq, MHD_HTTP_SERVICE_UNAVAILABLE, "%s",
                               refusal_text(MHD_HTTP_SERVICE_UNAVAILABLE));
    httpd__streams_check(h); /* fails them all, since we are closing */
    pump(h);
    /* MHD must not be stopped while a connection is suspended, and answers should get out. */
    for (int i = 0;
         i < HTTPD_CLOSE_ROUNDS_MAX && MHD_get_timeout(h->mhd, &ms) == MHD_YES && ms == 0; i++)
        pump(h);
    loop_watch_free(h->watch);
    h->in_run = true;
    MHD_stop_daemon(h->mhd);
    h->in_run = false;
    BUG_ON(h->requests || h->streams);
    loop_timer_free(h->timer);
    loop_timer_free(h->check);
    free(h);
}
