/* Confluent's registry protocol, the part that serialisers use.  What holds:
 * - An id means one schema for ever, so what was found once is kept.
 * - An id that the registry does not know may be younger than the follower that was asked: it is
 * asked for MISSES_MAX times before it counts as unknown, and again after MISSING_KEEP_MS.
 * - Decided on the HTTP status alone: registries differ in error_code and in their texts.
 * - Anything but "there is no such id" (404) or an answer that can never be used is retried: a
 * registry that is down, or refuses our password, must not turn a topic into dead letters. The base
 * URL without its user and password is what error messages show. */
#include "common/schemareg.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/base64.h"
#include "common/clk.h"
#include "common/http.h"
#include "common/json.h"

#define CONTENT_TYPE "application/vnd.schemaregistry.v1+json"
#define MISSES_MAX 4          /* a lagging follower catches up within a second */
#define MISS_GAP_MS 200       /* between them */
#define MISSING_KEEP_MS 30000 /* then the registry is asked again */
#define CALL_TIMEOUT_MS 10000 /* one answer; schemas are small */
#define ANSWER_MAX_BYTES (4 * CODEC_MAX_SCHEMA_BYTES) /* a schema inside JSON, escaped */
#define MAX_IDS 4096 /* ids known or asked for; the codec keeps fewer */
#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 2000
#define CONFLICTS_MAX                                                                              \
    4 /* 409: incompatible, or (Apicurio) somebody registers the same just now                     \
       */

enum state {
    STATE_NEW = 0,
    STATE_FETCHING,
    STATE_FOUND,
    STATE_UNUSABLE, /* answered, but no Avro schema: err says it, for ever */
    STATE_FAILED,   /* err is to be told once */
    STATE_MISSING   /* 404 */
};

struct entry {
    int32_t id;
    enum state state;
    char *text;
    struct err err;
    int misses;
    int64_t missed_mono_ms;
};

struct schemareg {
    struct loop *loop;
    char *base;          /* no trailing slash, no user */
    char *authorization; /* whole header line; NULL: none */
    struct entry **entries;
    size_t n, cap;
    size_t in_flight;
    volatile bool cancel; /* closed: what is in flight ends, the last one frees */
};

struct fetch {
    struct schemareg *r;
    struct entry *e;
    char *url;
    struct http_response rs;
    struct err err;
    int rc;
};

/* --- open and close -------------------------------------------------------------------------- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'         ? c - '0'
           : isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10
                                        : -1;
}

static void unescape(const char *p, size_t n, struct buf *out)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '%' && i + 2 < n && hex_digit(p[i + 1]) >= 0 && hex_digit(p[i + 2]) >= 0) {
            buf_add_char(out, (char)(hex_digit(p[i + 1]) * 16 + hex_digit(p[i + 2])));
            i += 2;
        } else {
            buf_add_char(out, p[i]);
        }
    }
}

/* Splits user:password@ off; returns the URL without it, *ret_auth the header that says it. */
static char *split_user(const char *url, char **ret_auth)
{
    const char *host = strstr(url, "://") + 3;
    const char *at = NULL;
    CLEANUP(buf_fini) struct buf user = {0}, text = {0};

    for (const char *p = host; *p && *p != '/'; p++)
        if (*p == '@')
            at = p;
    if (!at)
        return xstrdup(url);
    unescape(host, (size_t)(at - host), &user);
    buf_add_str(&text, "Authorization: Basic ");
    base64_encode(buf_slice(&user), &text);
    *ret_auth = buf_take(&text);
    return xasprintf("%.*s%s", (int)(host - url), url, at + 1);
}

static bool is_header_text(const char *s)
{
    for (; *s; s++)
        if (*s <= ' ' || *s > '~')
            return false;
    return true;
}

int schemareg_open(struct loop *l, const char *base_url, const char *token, struct schemareg **ret,
                   struct err *err)
{
    struct schemareg *r;
    size_t n;

    if (!base_url || !is_header_text(base_url) ||
        (!str_has_prefix(base_url, "http://") && !str_has_prefix(base_url, "https://")))
        return err_inval(err, "schema registry: the URL must begin with http:// or https://");
    if (token && !is_header_text(token))
        return err_inval(err, "schema registry: the token must be printable and without blanks");
    r = xcalloc(1, sizeof(*r));
    r->loop = l;
    r->base = split_user(base_url, &r->authorization);
    for (n = strlen(r->base); n > 0 && r->base[n - 1] == '/'; n--)
        r->base[n - 1] = '\0';
    if (token && *token) {
        free(r->authorization);
        r->authorization = xasprintf("Authorization: Bearer %s", token);
    }
    *ret = r;
    return 0;
}

static void free_registry(struct schemareg *r)
{
    for (size_t i = 0; i < r->n; i++) {
        free(r->entries[i]->text);
        free(r->entries[i]);
    }
    free(r->entries);
    free(r->base);
    free(r->authorization);
    free(r);
}

void schemareg_close(struct schemareg *r)
{
    if (!r)
        return;
    __atomic_store_n(&r->cancel, true, __ATOMIC_RELAXED); /* read on the pool */
    if (r->in_flight == 0)
        free_registry(r);
}

/* --- calls ----------------------------------------------------------------------------------- */

static int call(const struct schemareg *r, const char *url, struct slice body, int64_t timeout_ms,
                struct http_response *ret, struct err *err)
{
    const char *headers[] = {"Accept: " CONTENT_TYPE ", application/json", NULL, NULL, NULL};
    struct http_request rq = {.url = url,
                              .headers = headers,
                              .body = body,
                              .connect_timeout_ms = timeout_ms,
                              .timeout_ms = timeout_ms,
                              .cap_bytes = ANSWER_MAX_BYTES,
                              .cancel = &r->cancel};
    size_t n = 1;

    if (body.n)
        headers[n++] = "Content-Type: " CONTENT_TYPE;
    if (r->authorization)
        headers[n] = r->authorization;
    return http_call(&rq, ret, err);
}

static bool may_get_better(int status)
{
    return status >= 500 || status == 408 || status == 429;
}

/* What the registry says went wrong; for people only. */
static int answer_error(const struct http_response *rs, enum err_next next, struct err *err)
{
    CLEANUP(json_freep) struct json *j = json_parse(buf_slice(&rs->body), "answer", NULL);
    enum err_code code = rs->status == 409 ? ERR_CONFLICT : ERR_HTTP;

    return err_set(err, code, next, "HTTP %d: %.200s", rs->status,
                   json_get_str(j, "message", "no message"));
}

/* --- register -------------------------------------------------------------------------------- */

static int post_once(struct schemareg *r, const char *url, struct slice body, int64_t timeout_ms,
                     int32_t *ret_id, struct err *err)
{
    CLEANUP(http_response_fini) struct http_response rs = {0};
    CLEANUP(json_freep) struct json *j = NULL;
    int64_t id;

    if (call(r, url, body, timeout_ms, &rs, err) != 0)
        return -1;
    if (rs.status < 200 || rs.status > 299)
        return answer_error(&rs, may_get_better(rs.status) ? NEXT_RETRY : NEXT_FATAL, err);
    j = json_parse(buf_slice(&rs.body), "answer", NULL);
    id = json_get_int(j, "id", -1);
    if (id < 0 || id > INT32_MAX)
        return err_set(err, ERR_HTTP, NEXT_FATAL, "the answer has no schema id");
    *ret_id = (int32_t)id;
    return 0;
}

static void pause_ms(int64_t ms)
{
    struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000};

    nanosleep(&ts, NULL); /* at start, before the loop runs */
}

static int register_one(struct schemareg *r, const char *subject, const char *text,
                        int64_t deadline_mono_ms, int32_t *ret_id, struct err *err)
{
    CLEANUP(json_freep) struct json *j = json_object();
    CLEANUP(buf_fini) struct buf url = {0}, body = {0};
    int64_t backoff_ms = BACKOFF_FIRST_MS;
    int conflicts = 0;

    buf_addf(&url, "%s/subjects/", r->base);
    http_escape(subject, &url);
    buf_add_str(&url, "/versions");
    json_set_str(j, "schema", text);
    json_write(j, 0, false, &body);
    for (;;) {
        int64_t left_ms = deadline_mono_ms - clk_mono_ms(&clk_system);
        int64_t timeout_ms = left_ms < 1                 ? 1
                             : left_ms < CALL_TIMEOUT_MS ? left_ms
                                                         : CALL_TIMEOUT_MS;
        struct err last = {0};

        if (post_once(r, url.data, buf_slice(&body), timeout_ms, ret_id, &last) == 0)
            return 0;
        left_ms = deadline_mono_ms - clk_mono_ms(&clk_system);
        if (last.code == ERR_CONFLICT && ++conflicts < CONFLICTS_MAX)
            last.next = NEXT_RETRY;
        if (last.next != NEXT_RETRY || left_ms <= 0) {
            if (err)
                *err = last;
            return err_wrap(err, "schema registry %s: register %s", r->base, subject);
        }
        pause_ms(backoff_ms < left_ms ? backoff_ms : left_ms);
        backoff_ms = backoff_ms * 2 < BACKOFF_MAX_MS ? backoff_ms * 2 : BACKOFF_MAX_MS;
    }
}

int schemareg_register(struct schemareg *r, struct codec *c, const char *topic_prefix,
                       const enum record *records, size_t n, int64_t timeout_ms, struct err *err)
{
    int64_t deadline_mono_ms = clk_mono_ms(&clk_system) + timeout_ms;

    for (size_t i = 0; i < n; i++) {
        CLEANUP_FREE char *subject =
            xasprintf("%s%s-value", topic_prefix, record_topic(records[i]));
        int32_t id;

        if (register_one(r, subject, codec_schema_text(records[i]), deadline_mono_ms, &id, err) !=
            0)
            return -1;
        codec_set_schema_id(c, records[i], id);
    }
    return 0;
}

/* --- look up --------------------------------------------------------------------------------- */

static void fetch_run(void *ctx)
{
    struct fetch *f = ctx;

    f->rc = call(f->r, f->url, (struct slice){0}, CALL_TIMEOUT_MS, &f->rs, &f->err);
}

static void take_answer(struct fetch *f, struct entry *e)
{
    CLEANUP(json_freep) struct json *j = NULL;
    const char *text, *type;

    if (f->rc != 0 || f->rs.status != 200) {
        e->state = f->rc == 0 && f->rs.status == 404 ? STATE_MISSING : STATE_FAILED;
        e->misses += e->state == STATE_MISSING;
        e->missed_mono_ms = clk_mono_ms(&clk_system);
        e->err = f->err;
        if (f->rc == 0)
            answer_error(&f->rs, NEXT_RETRY, &e->err);
        e->err.next = NEXT_RETRY;
        err_wrap(&e->err, "schema registry %s: id %d", f->r->base, e->id);
        return;
    }
    j = json_parse(buf_slice(&f->rs.body), "answer", NULL);
    text = json_get_str(j, "schema", NULL);
    type = json_get_str(j, "schemaType", "AVRO");
    e->state = text && strcmp(type, "AVRO") == 0 ? STATE_FOUND : STATE_UNUSABLE;
    if (e->state == STATE_FOUND)
        e->text = xstrdup(text);
    else
        err_set(&e->err, ERR_CODEC, NEXT_REJECT, "schema registry %s: id %d is no Avro schema",
                f->r->base, e->id);
}

static void fetch_done(void *ctx)
{
    struct fetch *f = ctx;
    struct schemareg *r = f->r;

    take_answer(f, f->e);
    http_response_fini(&f->rs);
    free(f->url);
    free(f);
    if (--r->in_flight == 0 && r->cancel)
        free_registry(r);
}

static int start_fetch(struct schemareg *r, struct entry *e)
{
    struct fetch *f = xcalloc(1, sizeof(*f));

    f->r = r;
    f->e = e;
    f->url = xasprintf("%s/schemas/ids/%u", r->base, (unsigned)e->id);
    e->state = STATE_FETCHING;
    r->in_flight++;
    work_submit(r->loop, fetch_run, fetch_done, f);
    return 1;
}

static struct entry *entry_of(struct schemareg *r, int32_t id)
{
    struct entry *e = NULL;

    for (size_t i = 0; i < r->n; i++)
        if (r->entries[i]->id == id)
            return r->entries[i];
    if (r->n < MAX_IDS) {
        r->entries = xgrow(r->entries, &r->cap, r->n + 1, sizeof(struct entry *));
        e = r->entries[r->n++] = xcalloc(1, sizeof(*e));
    }
    for (size_t i = 0; i < r->n && !e; i++) /* full: one that was never found makes room */
        if (r->entries[i]->state != STATE_FOUND && r->entries[i]->state != STATE_FETCHING)
            e = r->entries[i];
    if (e)
        *e = (struct entry){.id = id};
    return e;
}

int schemareg_lookup(void *ctx, int32_t schema_id, const char **ret_text, struct err *err)
{
    struct schemareg *r = ctx;
    struct entry *e = entry_of(r, schema_id);
    int64_t missed_ms;

    if (!e)
        return err_set(err, ERR_LIMIT, NEXT_RETRY, "schema registry: more than %d ids", MAX_IDS);
    missed_ms = clk_mono_ms(&clk_system) - e->missed_mono_ms;
    switch (e->state) {
    case STATE_NEW:
        return start_fetch(r, e);
    case STATE_FETCHING:
        return 1;
    case STATE_FOUND:
        *ret_text = e->text;
        return 0;
    case STATE_FAILED: /* told once; the next one who asks starts anew */
        e->state = STATE_NEW;
        if (err)
            *err = e->err;
        return -1;
    case STATE_MISSING:
        if (e->misses >= MISSES_MAX && missed_ms < MISSING_KEEP_MS)
            return err_set(err, ERR_CODEC, NEXT_REJECT,
                           "schema registry %s: there is no schema with id %u", r->base,
                           (unsigned)schema_id);
        if (e->misses >= MISSES_MAX)
            e->misses = 0;
        return missed_ms < MISS_GAP_MS ? 1 : start_fetch(r, e);
    case STATE_UNUSABLE:
        if (err)
            *err = e->err;
        return -1;
    }
    BUG_ON(true);
}
