#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/httpd.h"
#include "common/mem.h"

enum { WAIT_MS = 10000, BODY_CAP = 1000, KEPT_MAX = 8 };

/* The server and raw clients of it, all on one loop. */
struct fixture {
    struct loop *loop;
    struct httpd *h;
    int n_requests;
    struct httpd_request *kept[KEPT_MAX]; /* what /later asked for */
    int n_kept;
    struct httpd_stream *stream;
    int n_gone;
};
struct client {
    struct fixture *f;
    int fd;
    struct buf got;
    const char *want; /* awaited text */
    bool is_closed;
};

static void on_gone(void *ctx)
{
    struct fixture *f = ctx;

    f->n_gone++;
    f->stream = NULL;
}

static void add_header(void *ctx, const char *name, const char *value)
{
    buf_addf(ctx, "%s=%s;", name, value);
}

static void on_request(void *ctx, struct httpd_request *rq)
{
    struct fixture *f = ctx;
    const char *segs[2], *q = httpd_query(rq, "q");
    CLEANUP(buf_fini) struct buf b = {0};

    f->n_requests++;
    if (strcmp(httpd_path(rq), "/later") == 0) {
        f->kept[f->n_kept++] = rq;
        return;
    }
    if (strcmp(httpd_path(rq), "/stream") == 0) {
        f->stream = httpd_stream_begin(rq, "text/event-stream", on_gone, f);
        return;
    }
    if (httpd_match(rq, "/v2/models/{}/versions/{}/infer", segs, 2)) {
        buf_addf(&b, "model %s, version %s", segs[0], segs[1]);
        httpd_answer(rq, 200, "text/plain", buf_slice(&b));
        return;
    }
    if (strcmp(httpd_path(rq), "/headers") == 0) {
        httpd_each_header(rq, "ce_", add_header, &b);
        buf_addf(&b, " host=%s none=%d", httpd_header(rq, "HOST"),
                 httpd_header(rq, "none") == NULL);
        httpd_answer_headers(rq, 202, "text/plain",
                             (const char *const[]){"X-One: 1", "X-Bad: a\r\nX-Evil: 1", NULL},
                             buf_slice(&b));
        return;
    }
    if (strcmp(httpd_path(rq), "/echo") == 0) {
        buf_addf(&b, "%s %s q=%s [", httpd_method(rq), httpd_path(rq), q ? q : "-");
        buf_add(&b, httpd_body(rq).p, httpd_body(rq).n);
        buf_add_str(&b, "]");
        httpd_answer(rq, 200, "text/plain", buf_slice(&b));
        return;
    }
    httpd_answer_error(rq, 404, "nothing at \"%s\"", httpd_path(rq));
}

static int setup(void **state)
{
    static struct fixture f;
    struct err err = {0};

    memset(&f, 0, sizeof(f));
    assert_int_equal(loop_new(&f.loop, &err), 0);
    assert_int_equal(httpd_open(f.loop, "127.0.0.1:0", BODY_CAP, on_request, &f, &f.h, &err), 0);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    httpd_close(f->h);
    httpd_close(NULL);
    assert_null(f->stream);
    loop_free(f->loop);
    return 0;
}

static struct client client_open(struct fixture *f)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)httpd_port(f->h))};
    struct client c = {.f = f, .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};

    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(c.fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    return c;
}

static void client_close(struct client *c)
{
    close(c->fd);
    buf_fini(&c->got);
}

static void client_send_n(struct client *c, const char *p, size_t n)
{
    while (n) { /* the server must run for more to fit */
        ssize_t k = send(c->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (k < 0 && errno != EAGAIN)
            return; /* it has closed: what it said before is to be read */
        if (k > 0) {
            p += k;
            n -= (size_t)k;
        }
        loop_turn(c->f->loop, 0);
    }
}

static void client_send(struct client *c, const char *text)
{
    client_send_n(c, text, strlen(text));
}

static bool has_it(void *ctx)
{
    struct client *c = ctx;
    char piece[4096];
    ssize_t n;

    while ((n = recv(c->fd, piece, sizeof(piece), MSG_DONTWAIT)) > 0)
        buf_add(&c->got, piece, (size_t)n);
    if (n == 0 || errno == ECONNRESET)
        c->is_closed = true;
    return c->want ? c->got.len && strstr(c->got.data, c->want) : c->is_closed;
}

/* Turns the loop until `want` has come (NULL: until the connection is closed). */
static void client_await(struct client *c, const char *want)
{
    c->want = want;
    if (!loop_until(c->f->loop, has_it, c, WAIT_MS))
        fail_msg("\"%s\" did not come; came: \"%s\"", want ? want : "the end",
                 c->got.data ? c->got.data : "");
}

static void client_forget(struct client *c)
{
    buf_reset(&c->got);
}

static void a_request_is_answered_and_the_connection_kept(void **state)
{
    struct client c = client_open(*state);

    for (int i = 0; i < 3; i++) {
        client_send(
            &c, "POST /echo?a=1&q=x%20y+z HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
        client_await(&c, "POST /echo q=x y z [hello]");
        assert_true(str_has_prefix(c.got.data, "HTTP/1.1 200 OK\r\n"));
        assert_null(strcasestr(c.got.data, "connection: close"));
        assert_non_null(strstr(c.got.data, "Content-Type: text/plain\r\n"));
        client_forget(&c);
    }
    client_close(&c);
}

static void bodies_come_whole_whatever_the_pieces(void **state)
{
    struct client c = client_open(*state);
    struct fixture *f = *state;

    client_send(&c, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Le");
    client_send(&c, "ngth: 6\r\n\r\nab");
    client_send(&c, "cd");
    assert_int_equal(f->n_requests, 0);
    client_send(&c, "ef");
    client_await(&c, "[abcdef]");
    client_send(&c, "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
                    "chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n");
    client_await(&c, "[abcdefg]");
    client_send(&c, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\nGET /echo?q=2 HTTP/1.1\r\nHost: "
                    "h\r\n\r\n"); /* pipelined
                                   */
    client_await(&c, "q=2 []");
    client_close(&c);
}

static void a_head_request_gets_the_headers_of_a_get(void **state)
{
    struct client c = client_open(*state);

    client_send(&c,
                "HEAD /echo HTTP/1.1\r\nHost: h\r\n\r\nGET /missing HTTP/1.1\r\nHost: h\r\n\r\n");
    client_await(&c, "{\"error\":\"nothing at \\\"/missing\\\"\"}");
    assert_non_null(strstr(c.got.data, "Content-Length: 16\r\n")); /* of "GET /echo q=- []" */
    assert_null(strstr(c.got.data, "GET /echo"));
    assert_non_null(strstr(c.got.data, "404 Not Found"));
    client_close(&c);
}

static void unknown_methods_reach_the_owner(void **state)
{
    struct client c = client_open(*state);

    client_send(&c, "BREW /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    client_await(&c, "BREW /echo");
    client_close(&c);
}

static void a_path_is_split_before_it_is_decoded(void **state)
{
    static const struct {
        const char *path, *answer;
    } rows[] = {
        {"/v2/models/m/versions/3/infer", "model m, version 3"},
        {"/v2/models/p%2Fseg%20ment/versions/%C3%A9/infer", "model p/seg ment, version \xc3\xa9"},
        {"/v2/models/a+b/versions/1/infer?x=/y", "model a+b, version 1"},
        {"/v2/models//versions/1/infer", "404 Not Found"},
        {"/v2/models/m/versions/3/infer/", "404 Not Found"},
        {"/v2/models/m/versions/3", "404 Not Found"},
        {"/v2/m%6fdels/m/versions/3/infer", "model m, version 3"},
        {"/v2%2Fmodels/m/versions/3/infer", "404 Not Found"},
        {"/v2/models/%00/versions/3/infer", "400 Bad Request"},
        {"/v2/models/%4/versions/3/infer", "400 Bad Request"},
        {"/a%zz", "400 Bad Request"},
        {"/a%2", "400 Bad Request"},
    };
    struct client c = client_open(*state);

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP_FREE char *rq = xasprintf("GET %s HTTP/1.1\r\nHost: h\r\n\r\n", rows[i].path);

        client_send(&c, rq);
        client_await(&c, rows[i].answer);
        client_forget(&c);
    }
    client_close(&c);
}

static void headers_are_found_by_name_and_prefix_and_cannot_be_smuggled(void **state)
{
    struct client c = client_open(*state);

    client_send(&c,
                "GET /headers HTTP/1.1\r\nHost: h\r\nCE_id: 1\r\nother: 2\r\nce_type: t\r\n\r\n");
    client_await(&c, "host=h none=1");
    assert_non_null(strstr(c.got.data, "CE_id=1;ce_type=t;"));
    assert_non_null(strstr(c.got.data, "202 Accepted"));
    assert_non_null(strstr(c.got.data, "X-One: 1\r\n"));
    assert_null(strstr(c.got.data, "X-Evil"));
    client_close(&c);
}

static void a_body_above_the_cap_is_413_and_the_connection_goes_on(void **state)
{
    struct fixture *f = *state;
    struct client c = client_open(f);
    CLEANUP_FREE char *body = xcalloc(1, 100001);

    memset(body, 'x', 100000);
    client_send(&c, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n");
    client_send(&c, body);
    client_await(&c, "{\"error\":\"the body is too large\"}");
    assert_true(str_has_prefix(c.got.data, "HTTP/1.1 413 "));
    client_forget(&c);
    client_send(&c,
                "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n");
    client_send(&c, body);
    client_send(&c, "\r\n0\r\n\r\n");
    client_await(&c, "too large");
    client_forget(&c);
    body[BODY_CAP] = '\0';
    client_send(&c, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n");
    client_send(&c, body);
    client_await(&c, "xxx]"); /* just the cap */
    assert_int_equal(f->n_requests, 1);
    client_close(&c);
}

static void a_body_that_was_announced_or_is_endless_is_not_read(void **state)
{
    struct fixture *f = *state;
    struct client c = client_open(f);
    CLEANUP_FREE char *chunk = xcalloc(1, 100003);

    client_send(
        &c,
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n");
    client_await(&c, "HTTP/1.1 413 ");
    client_await(&c, NULL);
    assert_null(strstr(c.got.data, "100 Continue"));
    client_close(&c);
    c = client_open(f);
    client_send(&c, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000000\r\n\r\n");
    client_await(&c, "HTTP/1.1 413 ");
    client_close(&c);
    c = client_open(f);
    client_send(&c, "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    memset(chunk, 'x', 100000);
    memcpy(chunk + 100000, "\r\n", 2);
    for (int i = 0; i < 400 && !has_it(&c); i++) { /* 40 MB */
        client_send(&c, "186a0\r\n");
        client_send_n(&c, chunk, 100002);
    }
    client_await(&c, NULL);
    client_close(&c);
    assert_int_equal(f->n_requests, 0);
}

static void headers_above_their_cap_are_431(void **state)
{
    static const size_t sizes[] = {16000, 17000, 60000};
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct client c = client_open(f);
        CLEANUP_FREE char *value = xcalloc(1, sizes[i] + 1);
        CLEANUP_FREE char *rq = NULL;

        memset(value, 'v', sizes[i]);
        rq = xasprintf("GET /echo HTTP/1.1\r\nHost: h\r\nX: %s\r\n\r\n", value);
        client_send(&c, rq);
        client_await(&c, i == 0 ? "200 OK" : "HTTP/1.1 431 ");
        if (i > 0)
            client_await(&c, NULL);
        client_close(&c);
    }
    assert_int_equal(f->n_requests, 1);
}

static void what_is_no_http_is_refused(void **state)
{
    static const char *const bad[] = {
        "nonsense\r\n\r\n",
        "GET\r\n\r\n",
        "GET /echo HTTP/1.1\r\n\r\n", /* no Host */
        "GET /echo HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "\x16\x03\x01\x02\x01\x01\r\n\r\n", /* as TLS begins */
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct client c = client_open(f);

        client_send(&c, bad[i]);
        client_await(&c, NULL);
        if (c.got.len)
            assert_true(str_has_prefix(c.got.data, "HTTP/1.1 400 ") ||
                        str_has_prefix(c.got.data, "HTTP/1.1 505 ") ||
                        str_has_prefix(c.got.data, "HTTP/1.0 400 "));
        client_close(&c);
    }
    assert_int_equal(f->n_requests, 0);
}

static void answers_may_come_later_and_in_another_order(void **state)
{
    struct fixture *f = *state;
    struct client a = client_open(f), b = client_open(f);

    client_send(&a, "GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
    while (f->n_kept < 1)
        loop_turn(f->loop, 10);
    client_send(&b, "GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
    while (f->n_kept < 2)
        loop_turn(f->loop, 10);
    httpd_answer(f->kept[1], 200, "text/plain", slice_str("second"));
    client_await(&b, "second");
    assert_false(has_it(&a));
    httpd_answer(f->kept[0], 201, "text/plain", slice_str("first"));
    client_await(&a, "first");
    client_send(&a, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n"); /* the connection was kept */
    client_await(&a, "GET /echo");
    client_close(&a);
    client_close(&b);
}

static bool no_request_left(void *ctx)
{
    struct client *c = ctx;

    return has_it(c);
}

static void an_answer_to_a_client_that_left_is_dropped(void **state)
{
    struct fixture *f = *state;
    struct client a = client_open(f), b = client_open(f);

    client_send(&a, "GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
    while (f->n_kept < 1)
        loop_turn(f->loop, 10);
    client_close(&a);
    loop_turn(f->loop, 0);
    httpd_answer(f->kept[0], 200, "text/plain", slice_str("nobody"));
    client_send(&b, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    b.want = "GET /echo";
    assert_true(loop_until(f->loop, no_request_left, &b, WAIT_MS));
    client_close(&b);
}

static void a_stream_sends_what_it_is_given_when_it_is_given(void **state)
{
    struct fixture *f = *state;
    struct client c = client_open(f);

    client_send(&c, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
    client_await(&c, "\r\n\r\n"); /* the head comes before the first event */
    assert_non_null(strstr(c.got.data, "Content-Type: text/event-stream\r\n"));
    httpd_stream_send(f->stream, slice_str("data: 1\n\n"));
    client_await(&c, "data: 1\n\n");
    httpd_stream_send(f->stream, slice_str(""));
    httpd_stream_send(f->stream, slice_str("data: 2\n\n"));
    httpd_stream_send(f->stream, slice_str("data: 3\n\n"));
    httpd_stream_end(TAKE(f->stream));
    client_await(&c, "0\r\n\r\n");
    assert_non_null(strstr(c.got.data, "data: 2\n\ndata: 3\n\n"));
    assert_int_equal(f->n_gone, 0);
    client_close(&c);
}

static bool is_gone(void *ctx)
{
    return ((struct fixture *)ctx)->n_gone > 0;
}

static void a_client_that_leaves_an_idle_stream_is_noticed(void **state)
{
    struct fixture *f = *state;
    struct client c = client_open(f);

    client_send(&c, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
    client_await(&c, "\r\n\r\n");
    client_close(&c);
    assert_true(loop_until(f->loop, is_gone, f, WAIT_MS));
    assert_int_equal(f->n_gone, 1);
}

static void a_client_that_does_not_read_its_stream_is_dropped(void **state)
{
    struct fixture *f = *state;
    struct client c = client_open(f);
    CLEANUP_FREE char *piece = xcalloc(1, 100000);

    client_send(&c, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
    client_await(&c, "\r\n\r\n");
    for (int i = 0; i < 10000 && f->stream; i++) {
        httpd_stream_send(f->stream, (struct slice){piece, 100000});
        loop_turn(f->loop, 0);
    }
    assert_true(loop_until(f->loop, is_gone, f, WAIT_MS));
    assert_int_equal(f->n_gone, 1);
    client_close(&c);
}

static void a_stream_longer_than_its_buffer_arrives_whole(void **state)
{
    struct fixture *f = *state;
    struct client c = client_open(f);
    char line[64];

    client_send(&c, "GET /stream HTTP/1.0\r\nHost: h\r\n\r\n"); /* 1.0: no chunks in between */
    client_await(&c, "\r\n\r\n");
    client_forget(&c);
    for (int i = 0; i < 100000; i++) {
        snprintf(line, sizeof(line), "line %029d\n", i);
        httpd_stream_send(f->stream, slice_str(line));
        if (i % 1000 == 0) {
            loop_turn(f->loop, 0);
            has_it(&c);
        }
        assert_non_null(f->stream);
    }
    httpd_stream_end(TAKE(f->stream));
    client_await(&c, NULL);
    assert_int_equal(c.got.len, 100000 * 35);
    for (int i = 0; i < 100000; i++) {
        snprintf(line, sizeof(line), "line %029d\n", i);
        assert_memory_equal(c.got.data + i * 35, line, 35);
    }
    client_close(&c);
}

static void closing_answers_open_requests_and_ends_streams(void **state)
{
    struct fixture *f = *state;
    struct client a = client_open(f), b = client_open(f), half = client_open(f);

    client_send(&a, "GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
    client_send(&b, "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
    client_await(&b, "\r\n\r\n");
    client_send(&half, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n123");
    while (f->n_kept < 1)
        loop_turn(f->loop, 10);
    httpd_close(TAKE(f->h));
    client_await(&a, "HTTP/1.1 503 ");
    client_await(&a, NULL);
    client_await(&b, NULL);
    client_await(&half, NULL);
    assert_int_equal(f->n_gone, 1);
    client_close(&a);
    client_close(&b);
    client_close(&half);
}

static void addresses_are_checked(void **state)
{
    static const struct {
        const char *address;
        enum err_code code;
    } bad[] = {
        {"", ERR_INVAL},
        {"127.0.0.1", ERR_INVAL},
        {":80", ERR_INVAL},
        {"127.0.0.1:", ERR_INVAL},
        {"127.0.0.1:x", ERR_INVAL},
        {"127.0.0.1:65536", ERR_INVAL},
        {"127.0.0.1:-1", ERR_INVAL},
        {"[]:1", ERR_INVAL},
        {"203.0.113.1:0", ERR_IO}, /* not ours */
    };
    struct fixture *f = *state;
    struct httpd *h = NULL;
    struct err err = {0};
    CLEANUP_FREE char *taken = xasprintf("127.0.0.1:%d", httpd_port(f->h));

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(httpd_open(f->loop, bad[i].address, BODY_CAP, on_request, f, &h, &err),
                         -1);
        assert_int_equal(err.code, bad[i].code);
    }
    assert_int_equal(httpd_open(f->loop, taken, BODY_CAP, on_request, f, &h, &err), -1);
    assert_non_null(strstr(err.msg, "Address already in use"));
    assert_int_equal(err.next, NEXT_FATAL);
    assert_null(h);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_request_is_answered_and_the_connection_kept),
        T(bodies_come_whole_whatever_the_pieces),
        T(a_head_request_gets_the_headers_of_a_get),
        T(unknown_methods_reach_the_owner),
        T(a_path_is_split_before_it_is_decoded),
        T(headers_are_found_by_name_and_prefix_and_cannot_be_smuggled),
        T(a_body_above_the_cap_is_413_and_the_connection_goes_on),
        T(a_body_that_was_announced_or_is_endless_is_not_read),
        T(headers_above_their_cap_are_431),
        T(what_is_no_http_is_refused),
        T(answers_may_come_later_and_in_another_order),
        T(an_answer_to_a_client_that_left_is_dropped),
        T(a_stream_sends_what_it_is_given_when_it_is_given),
        T(a_client_that_leaves_an_idle_stream_is_noticed),
        T(a_client_that_does_not_read_its_stream_is_dropped),
        T(a_stream_longer_than_its_buffer_arrives_whole),
        T(closing_answers_open_requests_and_ends_streams),
        T(addresses_are_checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
