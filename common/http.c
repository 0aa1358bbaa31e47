/* One easy handle in a multi handle of its own: the multi interface lets us look up every 100 ms,
 * for a cancel and for a stall, where the easy one calls back once a second at best.  Nothing else
 * of libcurl's defaults is trusted: protocols, redirects, proxies for loopback and sizes are all
 * set here. */
#include "common/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>

#include "common/clk.h"
#include "common/fault.h"
#include "common/mem.h"

enum {
    HTTP_CONNECT_MS = 5000,
    HTTP_TIMEOUT_MS = 30000,
    HTTP_STALL_MS = 20000,
    HTTP_BODY_CAP_BYTES = 64 << 20,
    HTTP_ERROR_BODY_BYTES = 64 << 10,   /* of a refused download: it is for people, and cut */
    HTTP_HEADERS_MAX_BYTES = 256 << 10, /* of one answer; proxies refuse far less */
    HTTP_REDIRECTS_MAX = 5,
    HTTP_TICK_MS = 100, /* how soon a cancel is seen; bytes wake the wait at once */
};

struct http_client {
    CURL *easy;
    CURLM *multi;
};

struct call {
    const struct http_request *rq;
    CURL *easy;
    struct curl_slist *headers;
    char *shown_url; /* without user, password and query: they may be secrets */
    bool is_loopback;
    struct buf body;
    size_t cap_bytes;
    size_t header_bytes;
    bool has_failed; /* err says why, and curl's own code is a consequence */
    struct err err;
    char curl_text[CURL_ERROR_SIZE];
};

static pthread_once_t global_once = PTHREAD_ONCE_INIT;

static void global_init(void)
{
    BUG_ON(curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK);
}

struct http_client *http_client_new(void)
{
    struct http_client *c = xcalloc(1, sizeof(*c));

    pthread_once(&global_once, global_init);
    c->easy = curl_easy_init();
    c->multi = curl_multi_init();
    BUG_ON(!c->easy || !c->multi);
    return c;
}

void http_client_free(struct http_client *c)
{
    if (!c)
        return;
    curl_easy_cleanup(c->easy);
    curl_multi_cleanup(c->multi);
    free(c);
}

/* --- the request ----------------------------------------------------------------------------- */

static bool is_loopback_host(const char *host)
{
    return strcasecmp(host, "localhost") == 0 || str_has_prefix(host, "127.") ||
           strcmp(host, "[::1]") == 0;
}

static char *url_part(CURLU *u, CURLUPart part)
{
    char *text = NULL, *copy;

    if (curl_url_get(u, part, &text, 0) != CURLUE_OK)
        return NULL;
    copy = xstrdup(text);
    curl_free(text);
    return copy;
}

static int check_parts(CURLU *u, struct call *c, struct err *err)
{
    CLEANUP_FREE char *scheme = url_part(u, CURLUPART_SCHEME);
    CLEANUP_FREE char *host = url_part(u, CURLUPART_HOST);

    if (!scheme || !host || (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0))
        return err_inval(err, "URL with scheme \"%s\": only http and https are fetched",
                         scheme ? scheme : "");
    c->is_loopback = is_loopback_host(host);
    curl_url_set(u, CURLUPART_USER, NULL, 0);
    curl_url_set(u, CURLUPART_PASSWORD, NULL, 0);
    curl_url_set(u, CURLUPART_QUERY, NULL, 0);
    curl_url_set(u, CURLUPART_FRAGMENT, NULL, 0);
    c->shown_url = url_part(u, CURLUPART_URL);
    return 0;
}

static int check_url(struct call *c, struct err *err)
{
    CURLU *u = curl_url();
    CURLUcode code;
    int rc;

    BUG_ON(!u);
    code = curl_url_set(u, CURLUPART_URL, c->rq->url, CURLU_NON_SUPPORT_SCHEME);
    rc = code == CURLUE_OK ? check_parts(u, c, err)
                           : err_inval(err, "malformed URL: %s", curl_url_strerror(code));
    curl_url_cleanup(u);
    return rc;
}

static void add_header(struct call *c, const char *line)
{
    struct curl_slist *longer = curl_slist_append(c->headers, line);

    BUG_ON(!longer);
    c->headers = longer;
}

static int set_headers(struct call *c, struct err *err)
{
    bool has_type = false;

    for (const char *const *h = c->rq->headers; h && *h; h++) {
        if (strpbrk(*h, "\r\n"))
            return err_inval(err, "%s: a header has a line break", c->shown_url);
        if (strncasecmp(*h, "content-type:", 13) == 0)
            has_type = true;
        add_header(c, *h);
    }
    if (!has_type)
        add_header(c, "Content-Type:"); /* without one curl would say that it is a form */
    add_header(c, "Expect:"); /* else up to a second of waiting where a server does not know it */
    curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->headers);
    return 0;
}

static void set_method(struct call *c)
{
    const struct http_request *rq = c->rq;
    const char *method = rq->method ? rq->method : rq->body.n ? "POST" : "GET";
    bool is_post = strcmp(method, "POST") == 0;

    if (strcmp(method, "HEAD") == 0) {
        curl_easy_setopt(c->easy, CURLOPT_NOBODY, 1L);
    } else if (is_post || rq->body.n) {
        curl_easy_setopt(c->easy, CURLOPT_POST, 1L);
        curl_easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)rq->body.n);
        curl_easy_setopt(c->easy, CURLOPT_POSTFIELDS, rq->body.n ? rq->body.p : "");
        if (!is_post)
            curl_easy_setopt(c->easy, CURLOPT_CUSTOMREQUEST, method);
    } else if (strcmp(method, "GET") != 0) {
        curl_easy_setopt(c->easy, CURLOPT_CUSTOMREQUEST, method);
    }
}

/* --- the answer ------------------------------------------------------------------------------ */

static size_t call_fail(struct call *c, enum err_code code, enum err_next next, const char *text)
{
    c->has_failed = true;
    err_set(&c->err, code, next, "%s: %s", c->shown_url, text);
    return 0; /* fewer bytes than given make curl stop */
}

static size_t on_header(char *p, size_t size, size_t n, void *ctx)
{
    struct call *c = ctx;

    if (n >= 5 && memcmp(p, "HTTP/", 5) == 0)
        c->header_bytes = 0;
    c->header_bytes += size * n;
    if (c->header_bytes > HTTP_HEADERS_MAX_BYTES)
        return call_fail(c, ERR_LIMIT, NEXT_REJECT, "the answer's headers exceed 256 KiB");
    return size * n;
}

static size_t keep_body(struct call *c, const char *p, size_t n, bool is_ok)
{
    curl_off_t announced = -1;

    if (c->rq->sink && !is_ok) {
        size_t left = HTTP_ERROR_BODY_BYTES - c->body.len;

        buf_add(&c->body, p, n < left ? n : left);
        return n;
    }
    curl_easy_getinfo(c->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &announced);
    if (c->body.len + n > c->cap_bytes || (announced > 0 && (uint64_t)announced > c->cap_bytes)) {
        c->has_failed = true;
        err_set(&c->err, ERR_LIMIT, NEXT_REJECT, "%s: the answer exceeds %zu bytes", c->shown_url,
                c->cap_bytes);
        return 0;
    }
    buf_add(&c->body, p, n);
    return n;
}

static size_t on_body(char *p, size_t size, size_t n, void *ctx)
{
    struct call *c = ctx;
    long status = 0;
    bool is_ok;

    n *= size;
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    is_ok = status >= 200 && status < 300;
    if (!c->rq->sink || !is_ok)
        return keep_body(c, p, n, is_ok);
    if (c->rq->sink(c->rq->ctx, p, n, &c->err)) {
        c->has_failed = true;
        return 0;
    }
    return n;
}

static void set_options(struct call *c)
{
    const struct http_request *rq = c->rq;
    int64_t timeout_ms = rq->timeout_ms == 0  ? HTTP_TIMEOUT_MS
                         : rq->timeout_ms < 0 ? 0
                                              : rq->timeout_ms;

    curl_easy_setopt(c->easy, CURLOPT_URL, rq->url);
    curl_easy_setopt(c->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c->easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c->easy, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(c->easy, CURLOPT_MAXREDIRS, (long)HTTP_REDIRECTS_MAX);
    curl_easy_setopt(c->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c->easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    curl_easy_setopt(c->easy, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)(rq->connect_timeout_ms ? rq->connect_timeout_ms : HTTP_CONNECT_MS));
    curl_easy_setopt(c->easy, CURLOPT_USERAGENT, "relearn/" RELEARN_VERSION);
    curl_easy_setopt(c->easy, CURLOPT_ERRORBUFFER, c->curl_text);
    curl_easy_setopt(c->easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c->easy, CURLOPT_HEADERDATA, c);
    curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c->easy, CURLOPT_WRITEDATA, c);
    if (c->is_loopback)
        curl_easy_setopt(c->easy, CURLOPT_PROXY, ""); /* whatever http_proxy says */
}

/* --- the transfer ---------------------------------------------------------------------------- */

struct stall {
    int64_t since_ms;
    curl_off_t bytes;
};

static curl_off_t bytes_moved(const struct call *c)
{
    curl_off_t down = 0, up = 0;

    curl_easy_getinfo(c->easy, CURLINFO_SIZE_DOWNLOAD_T, &down);
    curl_easy_getinfo(c->easy, CURLINFO_SIZE_UPLOAD_T, &up);
    return down + up + (curl_off_t)c->header_bytes;
}

/* Windows of stall_ms, each of which must bring a byte for each of its seconds. */
static bool has_stalled(const struct call *c, struct stall *s)
{
    int64_t now_ms = clk_mono_ms(&clk_system);
    int64_t window_ms = c->rq->stall_ms ? c->rq->stall_ms : HTTP_STALL_MS;
    curl_off_t bytes;

    if (now_ms - s->since_ms < window_ms)
        return false;
    bytes = bytes_moved(c);
    if (bytes - s->bytes < (window_ms + 999) / 1000)
        return true;
    s->since_ms = now_ms;
    s->bytes = bytes;
    return false;
}

static bool is_done(CURLM *multi, CURLcode *ret)
{
    CURLMsg *msg;
    int left;

    while ((msg = curl_multi_info_read(multi, &left)))
        if (msg->msg == CURLMSG_DONE) {
            *ret = msg->data.result;
            return true;
        }
    return false;
}

static CURLcode transfer(struct call *c, CURLM *multi)
{
    struct stall stall = {.since_ms = clk_mono_ms(&clk_system)};
    CURLcode code = CURLE_OK;
    int running;

    FAULT_AT(http, "http.call.before");
    BUG_ON(curl_multi_add_handle(multi, c->easy) != CURLM_OK);
    for (;;) {
        curl_multi_perform(multi, &running); /* its errors come as the transfer's */
        if (is_done(multi, &code))
            break;
        if (c->rq->cancel && __atomic_load_n(c->rq->cancel, __ATOMIC_RELAXED)) {
            call_fail(c, ERR_CANCELED, NEXT_RETRY, "canceled");
            break;
        }
        if (has_stalled(c, &stall)) {
            call_fail(c, ERR_TIMEOUT, NEXT_RETRY, "no data comes any more");
            break;
        }
        if (curl_multi_poll(multi, NULL, 0, HTTP_TICK_MS, NULL) != CURLM_OK) {
            call_fail(c, ERR_HTTP, NEXT_RETRY, "the wait for its sockets failed");
            break;
        }
    }
    curl_multi_remove_handle(multi, c->easy);
    if (code == CURLE_OK && FAULT_LOST(http, "http.call.after"))
        code = CURLE_RECV_ERROR;
    return code;
}

static int transfer_error(const struct call *c, CURLcode code, struct err *err)
{
    const char *text = *c->curl_text ? c->curl_text : curl_easy_strerror(code);

    switch (code) {
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
        return err_inval(err, "%s: %s", c->shown_url, text);
    case CURLE_TOO_MANY_REDIRECTS:
        return err_set(err, ERR_HTTP, NEXT_REJECT, "%s: %s", c->shown_url, text);
    case CURLE_OPERATION_TIMEDOUT:
        return err_set(err, ERR_TIMEOUT, NEXT_RETRY, "%s: %s", c->shown_url, text);
    default:
        return err_set(err, ERR_HTTP, NEXT_RETRY, "%s: %s", c->shown_url, text);
    }
}

static void response_fill(struct call *c, struct http_response *ret)
{
    struct http_response r = {.content_length = -1};
    struct curl_header *etag;
    const char *type = NULL;
    curl_off_t length = -1;
    long status = 0;

    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(c->easy, CURLINFO_CONTENT_TYPE, &type);
    curl_easy_getinfo(c->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    r.status = (int)status;
    r.content_length = length;
    str_copy(r.content_type, sizeof(r.content_type), type ? type : "");
    if (curl_easy_header(c->easy, "ETag", 0, CURLH_HEADER, -1, &etag) == CURLHE_OK)
        str_copy(r.etag, sizeof(r.etag), etag->value);
    r.body = c->body;
    c->body = (struct buf){0};
    *ret = r;
}

static int call_run(struct call *c, CURLM *multi, struct http_response *ret, struct err *err)
{
    CURLcode code;

    if (check_url(c, err) || set_headers(c, err))
        return -1;
    set_options(c);
    set_method(c);
    code = transfer(c, multi);
    if (c->has_failed) {
        if (err)
            *err = c->err;
        return -1;
    }
    if (code != CURLE_OK)
        return transfer_error(c, code, err);
    response_fill(c, ret);
    return 0;
}

int http_client_call(struct http_client *client, const struct http_request *rq,
                     struct http_response *ret, struct err *err)
{
    struct call c = {.rq = rq, .easy = client->easy};
    int rc;

    curl_easy_reset(client->easy); /* options only: its connections stay */
    c.cap_bytes = rq->cap_bytes ? rq->cap_bytes : HTTP_BODY_CAP_BYTES;
    buf_init(&c.body, c.cap_bytes > HTTP_ERROR_BODY_BYTES ? c.cap_bytes : HTTP_ERROR_BODY_BYTES);
    rc = call_run(&c, client->multi, ret, err);
    curl_slist_free_all(c.headers);
    free(c.shown_url);
    buf_fini(&c.body);
    return rc;
}

int http_call(const struct http_request *rq, struct http_response *ret, struct err *err)
{
    struct http_client *client = http_client_new();
    int rc = http_client_call(client, rq, ret, err);

    http_client_free(client);
    return rc;
}

void http_response_fini(struct http_response *r)
{
    buf_fini(&r->body);
    *r = (struct http_response){0};
}

void http_escape(const char *s, struct buf *out)
{
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            strchr("-._~", c))
            buf_add_char(out, (char)c);
        else
            buf_addf(out, "%%%02X", c);
    }
}
