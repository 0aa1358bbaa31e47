/* What an owner asks of a request, and its answers. */
#include "common/httpd_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/json.h"

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

char *httpd__decode(struct arena *a, const char *s, size_t n)
{
    char *out = arena_alloc(a, n + 1), *o = out;

    for (size_t i = 0; i < n; i++) {
        int hi, lo;

        if (s[i] != '%') {
            *o++ = s[i];
            continue;
        }
        if (n - i < 3)
            return NULL;
        hi = hex_value(s[i + 1]);
        lo = hex_value(s[i + 2]);
        if (hi < 0 || lo < 0 || hi + lo == 0)
            return NULL;
        *o++ = (char)(hi << 4 | lo);
        i += 2;
    }
    *o = '\0';
    return out;
}

const char *httpd_method(const struct httpd_request *rq)
{
    return rq->method;
}

const char *httpd_path(const struct httpd_request *rq)
{
    return rq->path;
}

const char *httpd_header(const struct httpd_request *rq, const char *name)
{
    return MHD_lookup_connection_value(rq->conn, MHD_HEADER_KIND, name);
}

struct slice httpd_body(const struct httpd_request *rq)
{
    return buf_slice(&rq->body);
}

/* What is decoded for the owner lives in the request, which stays logically const. */
static struct arena *arena_of(const struct httpd_request *rq)
{
    return &((struct httpd_request *)(uintptr_t)rq)->arena;
}

const char *httpd_query(const struct httpd_request *rq, const char *name)
{
    const char *raw = NULL;

    if (MHD_lookup_connection_value_n(rq->conn, MHD_GET_ARGUMENT_KIND, name, strlen(name), &raw,
                                      NULL) != MHD_YES)
        return NULL;
    return raw ? httpd__decode(arena_of(rq), raw, strlen(raw)) : "";
}

struct header_walk {
    const char *prefix;
    size_t prefix_n;
    void (*fn)(void *ctx, const char *name, const char *value);
    void *ctx;
};

static enum MHD_Result on_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                 const char *value)
{
    const struct header_walk *w = cls;

    (void)kind;
    if (strncasecmp(name, w->prefix, w->prefix_n) == 0)
        w->fn(w->ctx, name, value ? value : "");
    return MHD_YES;
}

void httpd_each_header(const struct httpd_request *rq, const char *prefix,
                       void (*fn)(void *ctx, const char *name, const char *value), void *ctx)
{
    struct header_walk w = {prefix, strlen(prefix), fn, ctx};

    MHD_get_connection_values(rq->conn, MHD_HEADER_KIND, on_header, &w);
}

bool httpd_match(const struct httpd_request *rq, const char *pattern, const char **segs,
                 size_t max_segs)
{
    const char *p = rq->raw_path;
    const char *found[16];
    size_t n = 0;

    BUG_ON(max_segs > ARRAY_LEN(found));
    while (*p == '/' && *pattern == '/') {
        size_t p_n = strcspn(++p, "/"), pattern_n = strcspn(++pattern, "/");
        const char *decoded = httpd__decode(arena_of(rq), p, p_n);

        if (pattern_n == 2 && pattern[0] == '{' && pattern[1] == '}') {
            BUG_ON(n == max_segs);
            if (!decoded || !*decoded)
                return false;
            found[n++] = decoded;
        } else if (!decoded || strlen(decoded) != pattern_n ||
                   memcmp(decoded, pattern, pattern_n) != 0) {
            return false;
        }
        p += p_n;
        pattern += pattern_n;
    }
    if (*p || *pattern)
        return false;
    if (n)
        memcpy(segs, found, n * sizeof(*segs));
    return true;
}

/* --- answers --------------------------------------------------------------------------------- */

/* MHD refuses a value with a line break, and so a header that somebody has smuggled into another.
 */
static void add_header(struct MHD_Response *r, const char *line)
{
    const char *colon = strchr(line, ':');
    char name[64];

    BUG_ON(!colon || (size_t)(colon - line) >= sizeof(name));
    memcpy(name, line, (size_t)(colon - line));
    name[colon - line] = '\0';
    MHD_add_response_header(r, name, colon + 1 + strspn(colon + 1, " "));
}

void httpd_answer_headers(struct httpd_request *rq, int status, const char *content_type,
                          const char *const *headers, struct slice body)
{
    struct MHD_Response *r =
        MHD_create_response_from_buffer(body.n, (void *)(uintptr_t)body.p, MHD_RESPMEM_MUST_COPY);

    BUG_ON(!r);
    if (content_type)
        MHD_add_response_header(r, "Content-Type", content_type);
    for (; headers && *headers; headers++)
        add_header(r, *headers);
    httpd__respond(rq, status, r);
}

void httpd_answer(struct httpd_request *rq, int status, const char *content_type, struct slice body)
{
    httpd_answer_headers(rq, status, content_type, NULL, body);
}

void httpd_answer_error(struct httpd_request *rq, int status, const char *fmt, ...)
{
    CLEANUP(json_freep) struct json *j = json_object();
    CLEANUP(buf_fini) struct buf text = {0};
    char msg[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(msg, sizeof(msg), fmt, ap);
    va_end(ap);
    json_set_str(j, "error", msg);
    json_write(j, 0, false, &text);
    httpd_answer(rq, status, "application/json", buf_slice(&text));
}
