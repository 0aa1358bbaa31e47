/* What is posted to the console, from anywhere.  The input is a request as text: `/path?name=value`
 * in its first line, headers, an empty line, the body.  Each is answered once, in JSON; what is
 * refused publishes nothing; what is published can be written, has an id that is one, and the key
 * that its record says. */
#include <string.h>
#include <strings.h>

#include "agents/console/console_internal.h"
#include "common/digest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { HEADERS_MAX = 16 };

/* ---- the request: common/httpd.h without a server ---- */

struct httpd_request {
    struct arena arena;
    char *path, *query;
    char *names[HEADERS_MAX], *values[HEADERS_MAX];
    size_t n_headers;
    struct slice body;
    int status, answers;
    struct json *answer;
};

static size_t published;
static struct codec *codec;

const char *httpd_path(const struct httpd_request *rq)
{
    return rq->path;
}

struct slice httpd_body(const struct httpd_request *rq)
{
    return rq->body;
}

const char *httpd_header(const struct httpd_request *rq, const char *name)
{
    for (size_t i = 0; i < rq->n_headers; i++)
        if (strcasecmp(rq->names[i], name) == 0)
            return rq->values[i];
    return NULL;
}

const char *httpd_query(const struct httpd_request *rq, const char *name)
{
    size_t n = strlen(name);

    return rq->query && strncmp(rq->query, name, n) == 0 && rq->query[n] == '=' ? rq->query + n + 1
                                                                                : NULL;
}

static void answered(struct httpd_request *rq, int status)
{
    rq->answers++;
    rq->status = status;
    BUG_ON(rq->answers > 1);
}

void httpd_answer_error(struct httpd_request *rq, int status, const char *fmt, ...)
{
    BUG_ON(!fmt[0] || status < 400);
    answered(rq, status);
}

void console_answer_json(struct httpd_request *rq, int status, struct json *j)
{
    CLEANUP(buf_fini) struct buf out = {0};
    struct err err;

    answered(rq, status);
    json_write(j, 0, false, &out);
    json_free(j);
    rq->answer = json_parse(buf_slice(&out), "answer", &err);
    BUG_ON(!rq->answer);
}

/* ---- the runtime, without a bus ---- */

int64_t agent_now_ms(struct agent *a)
{
    (void)a;
    return 1767225600000;
}

const struct event *agent_pipeline_event(struct agent *a, const char *name)
{
    static const struct pipeline_declared rec = {.first_declared_unix_ms = 1};
    static const struct event ev = {.type = RECORD_PIPELINE_DECLARED, .rec = &rec};

    (void)a;
    return name[0] == 'p' ? &ev : NULL;
}

const struct artifacts *agent_artifacts(struct agent *a)
{
    (void)a;
    return NULL;
}

int artifacts_put(const struct artifacts *a, const void *p, size_t n, char digest[DIGEST_HEX_SIZE],
                  struct err *err)
{
    (void)a;
    (void)err;
    digest_bytes(p, n, digest);
    return 0;
}

static void check_record(const struct publication *p)
{
    CLEANUP(arena_fini) struct arena arena = {0};
    CLEANUP(buf_fini) struct buf bytes = {0};
    struct err err = {0};
    const void *back;
    const char *key = record_own_key(p->record, p->rec);

    if (codec_encode(codec, p->record, p->rec, &bytes, &err)) {
        BUG_ON(err.code != ERR_LIMIT);
        return;
    }
    BUG_ON(codec_decode(codec, p->record, buf_slice(&bytes), &arena, &back, &err));
    BUG_ON(!key || strcmp(record_own_key(p->record, back), key) != 0);
    if (record_is_line_keyed(p->record)) {
        char pipeline[PIPELINE_NAME_MAX + 1], segment[PIPELINE_NAME_MAX + 1];

        BUG_ON(!line_split(key, pipeline, segment));
    }
}

int agent_publish(struct agent *a, const struct publication *p, agent_published_fn on_delivered,
                  void *ctx, char ret_id[ID_SIZE], struct err *err)
{
    (void)a;
    (void)err;
    if (p->rec)
        check_record(p);
    else
        BUG_ON(!p->key || !p->key[0]);
    BUG_ON(p->id && !id_is_valid(p->id));
    BUG_ON(!p->id && !ret_id);
    if (ret_id)
        id_random(ret_id);
    published++;
    on_delivered(ctx, p->id ? p->id : ret_id, NULL);
    return 0;
}

int agent_send_back(struct agent *a, const struct dead_lettered *d, const char *key, const char *id,
                    agent_published_fn on_delivered, void *ctx, struct err *err)
{
    (void)a;
    (void)err;
    BUG_ON(!d || !key || !id_is_valid(id));
    published++;
    on_delivered(ctx, id, NULL);
    return 0;
}

/* ---- the input ---- */

/* Up to the next line feed, which is passed over; NULL at the end. */
static char *next_line(struct slice *rest, struct arena *arena)
{
    const char *end = rest->n ? memchr(rest->p, '\n', rest->n) : NULL;
    size_t n = end ? (size_t)(end - rest->p) : rest->n;
    char *line = arena_strndup(arena, rest->p, n);

    rest->p += end ? n + 1 : n;
    rest->n -= end ? n + 1 : n;
    return line;
}

static void read_request(struct slice rest, struct httpd_request *rq)
{
    char *line;

    rq->path = next_line(&rest, &rq->arena);
    rq->query = strchr(rq->path, '?');
    if (rq->query)
        *rq->query++ = '\0';
    while (rest.n && (line = next_line(&rest, &rq->arena))[0]) {
        char *colon = strchr(line, ':');

        if (!colon || rq->n_headers == HEADERS_MAX)
            continue;
        *colon++ = '\0';
        rq->names[rq->n_headers] = line;
        rq->values[rq->n_headers++] = colon + (*colon == ' ');
    }
    rq->body = rest;
}

static void check_answer(const struct httpd_request *rq, bool may_skip)
{
    BUG_ON(rq->answers != 1);
    if (rq->status == 200)
        BUG_ON(json_get_int(rq->answer, "published", -1) != (int64_t)published);
    else
        BUG_ON(published && !may_skip);
}

static const struct {
    const char *path;
    void (*take)(struct console *c, struct httpd_request *rq, const char *const *segs);
    bool may_skip; /* what is wrong in a list does not hold up the rest */
} PATHS[] = {
    {"/v1/datasets", intake_dataset, false},
    {"/v1/labels", intake_labels, false},
    {"/v1/commands", intake_command, false},
    {"/v1/alerts", intake_alert, false},
    {"/v1/alerts/alertmanager", intake_alertmanager, true},
    {"/v1/events", intake_cloudevents, false},
    {"/v1/pipelines", intake_pipeline, false},
};

static void end(void)
{
    codec_free(codec);
}

static void begin(void)
{
    struct err err;

    BUG_ON(codec_new(&codec, &err));
    atexit(end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct console c = {0};
    struct httpd_request rq = {0};

    if (!codec)
        begin();
    published = 0;
    read_request((struct slice){(const char *)data, n}, &rq);
    for (size_t i = 0; i < ARRAY_LEN(PATHS); i++)
        if (strcmp(PATHS[i].path, rq.path) == 0) {
            PATHS[i].take(&c, &rq, NULL);
            check_answer(&rq, PATHS[i].may_skip);
            break;
        }
    BUG_ON(c.batches);
    json_free(rq.answer);
    arena_fini(&rq.arena);
    return 0;
}
