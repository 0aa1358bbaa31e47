#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/http.h"
#include "common/httpd.h"
#include "common/mem.h"

/* A server on a loop of its own thread; beside it, where a test asks for it, a listener that
 * answers one connection with fixed bytes. */
struct fixture {
    pthread_t thread;
    struct loop *loop;
    struct httpd *h;
    char base[64];
    sem_t is_hung;
    pthread_t raw_thread;
    int raw_fd;
    const char *raw_answer;
    struct buf raw_text; /* of an answer that is made */
    bool raw_stays_open;
    char raw_url[64];
};

static void redirect(struct httpd_request *rq, const char *to)
{
    CLEANUP_FREE char *line = xasprintf("Location: %s", to);

    httpd_answer_headers(rq, 302, "text/plain", (const char *const[]){line, NULL},
                         slice_str("elsewhere"));
}

static void echo(struct httpd_request *rq)
{
    const char *type = httpd_header(rq, "Content-Type"), *expect = httpd_header(rq, "Expect");
    const char *one = httpd_header(rq, "X-One"), *agent = httpd_header(rq, "User-Agent");
    CLEANUP(buf_fini) struct buf b = {0};

    buf_addf(&b, "%s %s type=%s expect=%s one=%s agent=%.8s [", httpd_method(rq), httpd_path(rq),
             type ? type : "-", expect ? expect : "-", one ? one : "-", agent ? agent : "-");
    buf_add(&b, httpd_body(rq).p, httpd_body(rq).n);
    buf_add_str(&b, "]");
    httpd_answer_headers(rq, 200, "text/plain; charset=utf-8",
                         (const char *const[]){"ETag: \"v1\"", NULL}, buf_slice(&b));
}

static void on_request(void *ctx, struct httpd_request *rq)
{
    static const char big[100000];
    struct fixture *f = ctx;
    const char *path = httpd_path(rq), *segs[1];

    if (strcmp(path, "/hang") == 0) {
        sem_post(&f->is_hung); /* answered when the server closes */
    } else if (strcmp(path, "/to-file") == 0) {
        redirect(rq, "file:///etc/passwd");
    } else if (strcmp(path, "/to-ftp") == 0) {
        redirect(rq, "ftp://127.0.0.1/x");
    } else if (strcmp(path, "/to-echo") == 0) {
        redirect(rq, "/echo");
    } else if (strcmp(path, "/to-itself") == 0) {
        redirect(rq, "/to-itself");
    } else if (httpd_match(rq, "/status/{}", segs, 1)) {
        httpd_answer(rq, (int)strtol(segs[0], NULL, 10), "text/plain", slice_str("sorry"));
    } else if (strcmp(path, "/big") == 0) {
        httpd_answer(rq, 200, "application/octet-stream", (struct slice){big, sizeof(big)});
    } else if (strcmp(path, "/big-error") == 0) {
        httpd_answer(rq, 500, "text/plain", (struct slice){big, sizeof(big)});
    } else {
        echo(rq);
    }
}

static void *serve(void *ctx)
{
    struct fixture *f = ctx;

    loop_run(f->loop);
    return NULL;
}

static void stop_serving(void *ctx)
{
    struct fixture *f = ctx;

    httpd_close(f->h);
    loop_stop(f->loop);
}

static int setup(void **state)
{
    static struct fixture f;
    struct err err = {0};

    memset(&f, 0, sizeof(f));
    f.raw_fd = -1;
    sem_init(&f.is_hung, 0, 0);
    setenv("http_proxy", "http://127.0.0.1:1", 1); /* nothing local goes through it */
    assert_int_equal(loop_new(&f.loop, &err), 0);
    assert_int_equal(httpd_open(f.loop, "127.0.0.1:0", 1 << 20, on_request, &f, &f.h, &err), 0);
    snprintf(f.base, sizeof(f.base), "http://127.0.0.1:%d", httpd_port(f.h));
    assert_int_equal(pthread_create(&f.thread, NULL, serve, &f), 0);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    loop_post(f->loop, stop_serving, f);
    pthread_join(f->thread, NULL);
    loop_free(f->loop);
    if (f->raw_fd >= 0) {
        pthread_join(f->raw_thread, NULL);
        close(f->raw_fd);
    }
    buf_fini(&f->raw_text);
    sem_destroy(&f->is_hung);
    return 0;
}

static void *serve_raw(void *ctx)
{
    struct fixture *f = ctx;
    int fd = accept4(f->raw_fd, NULL, NULL, SOCK_CLOEXEC);
    char in[4096];
    size_t n = strlen(f->raw_answer);

    if (recv(fd, in, sizeof(in), 0) > 0 && send(fd, f->raw_answer, n, MSG_NOSIGNAL) == (ssize_t)n &&
        f->raw_stays_open)
        while (recv(fd, in, sizeof(in), 0) > 0)
            continue;
    close(fd);
    return NULL;
}

static const char *raw_server(struct fixture *f, const char *answer, bool stays_open)
{
    struct sockaddr_in sa = {.sin_family = AF_INET};
    socklen_t n = sizeof(sa);

    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    f->raw_answer = answer;
    f->raw_stays_open = stays_open;
    f->raw_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->raw_fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(f->raw_fd, 4), 0);
    assert_int_equal(getsockname(f->raw_fd, (struct sockaddr *)&sa, &n), 0);
    snprintf(f->raw_url, sizeof(f->raw_url), "http://127.0.0.1:%d/raw?secret=1",
             ntohs(sa.sin_port));
    assert_int_equal(pthread_create(&f->raw_thread, NULL, serve_raw, f), 0);
    return f->raw_url;
}

static int call(const char *url, struct http_request rq, struct http_response *r, struct err *err)
{
    *r = (struct http_response){0};
    *err = (struct err){0};
    rq.url = url;
    return http_call(&rq, r, err);
}

static int call_path(struct fixture *f, const char *path, struct http_request rq,
                     struct http_response *r, struct err *err)
{
    CLEANUP_FREE char *url = xasprintf("%s%s", f->base, path);

    return call(url, rq, r, err);
}

static void a_get_brings_status_body_type_length_and_etag(void **state)
{
    struct http_response r;
    struct err err;

    assert_int_equal(call_path(*state, "/a%20b?x=1", (struct http_request){0}, &r, &err), 0);
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body.data, "GET /a b type=- expect=- one=- agent=relearn/ []");
    assert_int_equal(r.content_length, r.body.len);
    assert_string_equal(r.content_type, "text/plain; charset=utf-8");
    assert_string_equal(r.etag, "\"v1\"");
    http_response_fini(&r);
    http_response_fini(&r);
}

static void methods_and_bodies_are_sent_as_they_are(void **state)
{
    static const char *const headers[] = {"X-One: 1", "Content-Type: application/json", NULL};
    struct {
        struct http_request rq;
        const char *answer;
    } rows[] = {
        {{.body = slice_str("{}")}, "POST /e type=- expect=- one=- agent=relearn/ [{}]"},
        {{.body = slice_str("{}"), .headers = headers},
         "POST /e type=application/json expect=- one=1 agent=relearn/ [{}]"},
        {{.method = "POST"}, "POST /e type=- expect=- one=- agent=relearn/ []"},
        {{.method = "PUT", .body = slice_str("x")},
         "PUT /e type=- expect=- one=- agent=relearn/ [x]"},
        {{.method = "DELETE"}, "DELETE /e type=- expect=- one=- agent=relearn/ []"},
        {{.method = "GET"}, "GET /e type=- expect=- one=- agent=relearn/ []"},
        {{.method = "HEAD"}, ""},
    };
    struct http_response r;
    struct err err;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(call_path(*state, "/e", rows[i].rq, &r, &err), 0);
        assert_string_equal(r.body.len ? r.body.data : "", rows[i].answer);
        assert_int_equal(r.status, 200);
        if (!*rows[i].answer)
            assert_true(r.content_length > 0);
        http_response_fini(&r);
    }
}

static void every_status_is_an_answer(void **state)
{
    static const int statuses[] = {200, 304, 400, 404, 409, 429, 500, 503};
    struct http_response r;
    struct err err;

    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        char path[32];

        snprintf(path, sizeof(path), "/status/%d", statuses[i]);
        assert_int_equal(call_path(*state, path, (struct http_request){0}, &r, &err), 0);
        assert_int_equal(r.status, statuses[i]);
        if (statuses[i] != 304)
            assert_string_equal(r.body.data, "sorry");
        http_response_fini(&r);
    }
}

static void redirects_are_followed_to_http_and_not_for_ever(void **state)
{
    static const struct {
        const char *path;
        enum err_code code;
        const char *text;
    } bad[] = {
        {"/to-file", ERR_INVAL, "file"},
        {"/to-ftp", ERR_INVAL, "ftp"},
        {"/to-itself", ERR_HTTP, "Maximum (5) redirects followed"},
    };
    struct http_response r;
    struct err err;

    assert_int_equal(call_path(*state, "/to-echo", (struct http_request){0}, &r, &err), 0);
    assert_int_equal(r.status, 200);
    assert_true(str_has_prefix(r.body.data, "GET /echo"));
    http_response_fini(&r);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(call_path(*state, bad[i].path, (struct http_request){0}, &r, &err), -1);
        assert_int_equal(err.code, bad[i].code);
        assert_int_equal(err.next, NEXT_REJECT);
        assert_non_null(strstr(err.msg, bad[i].text));
        assert_null(r.body.data);
    }
}

static void urls_that_are_no_http_are_refused(void **state)
{
    static const char *const bad[] = {"",           "x",       "file:///etc/passwd", "ftp://h/x",
                                      "gopher://h", "http://", "http://h:99999/",    "http://a b/",
                                      "//h/x"};
    struct http_response r;
    struct err err;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (call(bad[i], (struct http_request){0}, &r, &err) != -1)
            fail_msg("%s was fetched", bad[i]);
        assert_int_equal(err.code, ERR_INVAL);
        assert_int_equal(err.next, NEXT_REJECT);
    }
    assert_int_equal(
        call("http://127.0.0.1/",
             (struct http_request){.headers = (const char *const[]){"A: b\r\nC: d", NULL}}, &r,
             &err),
        -1);
    assert_int_equal(err.code, ERR_INVAL);
}

static void what_cannot_be_reached_is_to_be_tried_again(void **state)
{
    struct fixture *f = *state;
    const char *url = raw_server(f, "", false); /* closes without a word */
    struct http_response r;
    struct err err;

    assert_int_equal(call(url, (struct http_request){0}, &r, &err), -1);
    assert_int_equal(err.code, ERR_HTTP);
    assert_int_equal(err.next, NEXT_RETRY);
    assert_null(strstr(err.msg, "secret"));
    assert_non_null(strstr(err.msg, "/raw: "));
    assert_int_equal(call("http://user:secret@127.0.0.1:1/x", (struct http_request){0}, &r, &err),
                     -1); /* refused */
    assert_int_equal(err.code, ERR_HTTP);
    assert_null(strstr(err.msg, "secret"));
}

static void a_body_that_ends_early_is_an_error(void **state)
{
    const char *url =
        raw_server(*state, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345", false);
    struct http_response r;
    struct err err;

    assert_int_equal(call(url, (struct http_request){0}, &r, &err), -1);
    assert_int_equal(err.code, ERR_HTTP);
    assert_int_equal(err.next, NEXT_RETRY);
}

static void a_chunked_body_that_ends_early_is_an_error(void **state)
{
    const char *url = raw_server(
        *state, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n", false);
    struct http_response r;
    struct err err;

    assert_int_equal(call(url, (struct http_request){0}, &r, &err), -1);
    assert_int_equal(err.code, ERR_HTTP);
}

static void a_server_that_does_not_answer_meets_the_timeout(void **state)
{
    struct http_response r;
    struct err err;

    assert_int_equal(call_path(*state, "/hang", (struct http_request){.timeout_ms = 50}, &r, &err),
                     -1);
    assert_int_equal(err.code, ERR_TIMEOUT);
    assert_int_equal(err.next, NEXT_RETRY);
}

static void a_body_that_stops_coming_is_a_stall(void **state)
{
    const char *url =
        raw_server(*state, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345", true);
    struct http_response r;
    struct err err;

    assert_int_equal(call(url, (struct http_request){.timeout_ms = -1, .stall_ms = 100}, &r, &err),
                     -1);
    assert_int_equal(err.code, ERR_TIMEOUT);
    assert_non_null(strstr(err.msg, "no data comes any more"));
}

struct canceler {
    struct fixture *f;
    volatile bool cancel;
};

static void *cancel_it(void *ctx)
{
    struct canceler *c = ctx;

    sem_wait(&c->f->is_hung);
    __atomic_store_n(&c->cancel, true, __ATOMIC_RELAXED);
    return NULL;
}

static void a_call_can_be_canceled_from_another_thread(void **state)
{
    struct canceler c = {.f = *state};
    pthread_t thread;
    struct http_response r;
    struct err err;

    assert_int_equal(pthread_create(&thread, NULL, cancel_it, &c), 0);
    assert_int_equal(call_path(c.f, "/hang",
                               (struct http_request){.timeout_ms = -1, .cancel = &c.cancel}, &r,
                               &err),
                     -1);
    assert_int_equal(err.code, ERR_CANCELED);
    pthread_join(thread, NULL);
}

static void a_body_above_its_cap_is_an_error(void **state)
{
    struct http_response r;
    struct err err;

    assert_int_equal(call_path(*state, "/big", (struct http_request){.cap_bytes = 99999}, &r, &err),
                     -1);
    assert_int_equal(err.code, ERR_LIMIT);
    assert_int_equal(err.next, NEXT_REJECT);
    assert_int_equal(
        call_path(*state, "/big", (struct http_request){.cap_bytes = 100000}, &r, &err), 0);
    assert_int_equal(r.body.len, 100000);
    http_response_fini(&r);
}

static void an_unannounced_body_above_its_cap_is_an_error(void **state)
{
    const char *url =
        raw_server(*state, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n0123456789", false);
    struct http_response r;
    struct err err;

    assert_int_equal(call(url, (struct http_request){.cap_bytes = 9}, &r, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
}

static int count_bytes(void *ctx, const void *p, size_t n, struct err *err)
{
    size_t *left = ctx;

    (void)p;
    if (n > *left)
        return err_set(err, ERR_IO, NEXT_RETRY, "the disk is full");
    *left -= n;
    return 0;
}

static void a_sink_gets_the_body_and_may_stop_it(void **state)
{
    size_t left = 100000;
    struct http_response r;
    struct err err;

    assert_int_equal(
        call_path(*state, "/big",
                  (struct http_request){.sink = count_bytes, .ctx = &left, .cap_bytes = 1}, &r,
                  &err),
        0);
    assert_int_equal(left, 0);
    assert_int_equal(r.body.len, 0);
    assert_int_equal(r.content_length, 100000);
    http_response_fini(&r);
    left = 50000;
    assert_int_equal(call_path(*state, "/big",
                               (struct http_request){.sink = count_bytes, .ctx = &left}, &r, &err),
                     -1);
    assert_int_equal(err.code, ERR_IO);
    assert_string_equal(err.msg, "the disk is full");
}

static void a_sink_gets_nothing_of_a_refusal_which_is_cut(void **state)
{
    size_t left = 0;
    struct http_response r;
    struct err err;

    assert_int_equal(call_path(*state, "/status/404",
                               (struct http_request){.sink = count_bytes, .ctx = &left}, &r, &err),
                     0);
    assert_int_equal(r.status, 404);
    assert_string_equal(r.body.data, "sorry");
    http_response_fini(&r);
    assert_int_equal(call_path(*state, "/big-error",
                               (struct http_request){.sink = count_bytes, .ctx = &left}, &r, &err),
                     0);
    assert_int_equal(r.status, 500);
    assert_int_equal(r.body.len, 64 << 10);
    http_response_fini(&r);
}

static void endless_headers_are_refused(void **state)
{
    struct fixture *f = *state;
    struct http_response r;
    struct err err;
    const char *url;

    buf_add_str(&f->raw_text, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 10000; i++)
        buf_addf(&f->raw_text, "X-%d: 0123456789012345678901234567890\r\n", i);
    url = raw_server(f, f->raw_text.data, true);
    assert_int_equal(call(url, (struct http_request){0}, &r, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    assert_non_null(strstr(err.msg, "headers exceed 256 KiB"));
}

static void a_client_makes_many_calls_and_survives_failed_ones(void **state)
{
    struct fixture *f = *state;
    CLEANUP_FREE char *good = xasprintf("%s/e", f->base);
    CLEANUP_FREE char *hangs = xasprintf("%s/hang", f->base);
    struct http_client *c = http_client_new();
    struct http_response r;
    struct err err;

    for (int i = 0; i < 20; i++) {
        struct http_request post = {.url = good, .body = slice_str("b")}, get = {.url = good};
        struct http_request hang = {.url = hangs, .timeout_ms = 20}, bad = {.url = "file:///x"};

        assert_int_equal(http_client_call(c, &post, &r, &err), 0);
        assert_true(str_has_prefix(r.body.data, "POST /e type=- "));
        http_response_fini(&r);
        assert_int_equal(http_client_call(c, &get, &r, &err),
                         0); /* nothing of the last one is left */
        assert_true(str_has_prefix(r.body.data, "GET /e type=- "));
        http_response_fini(&r);
        if (i == 10) {
            assert_int_equal(http_client_call(c, &hang, &r, &err), -1);
            assert_int_equal(http_client_call(c, &bad, &r, &err), -1);
        }
    }
    http_client_free(c);
    http_client_free(NULL);
}

static void escaping_keeps_only_what_needs_none(void **state)
{
    CLEANUP(buf_fini) struct buf b = {0};

    (void)state;
    http_escape("aZ09-._~ /?#%&+=\xc3\xa9", &b);
    assert_string_equal(b.data, "aZ09-._~%20%2F%3F%23%25%26%2B%3D%C3%A9");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_get_brings_status_body_type_length_and_etag),
        T(methods_and_bodies_are_sent_as_they_are),
        T(every_status_is_an_answer),
        T(redirects_are_followed_to_http_and_not_for_ever),
        T(urls_that_are_no_http_are_refused),
        T(what_cannot_be_reached_is_to_be_tried_again),
        T(a_body_that_ends_early_is_an_error),
        T(a_chunked_body_that_ends_early_is_an_error),
        T(a_server_that_does_not_answer_meets_the_timeout),
        T(a_body_that_stops_coming_is_a_stall),
        T(a_call_can_be_canceled_from_another_thread),
        T(a_body_above_its_cap_is_an_error),
        T(an_unannounced_body_above_its_cap_is_an_error),
        T(a_sink_gets_the_body_and_may_stop_it),
        T(a_sink_gets_nothing_of_a_refusal_which_is_cut),
        T(endless_headers_are_refused),
        T(a_client_makes_many_calls_and_survives_failed_ones),
        T(escaping_keeps_only_what_needs_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
