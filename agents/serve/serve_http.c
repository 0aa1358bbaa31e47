/* Paths.  A line with a segment is addressed as one part, "pipeline%2Fsegment"; its plain form with
 * a slash is taken where it can be nothing else. */
#include <string.h>

#include "agents/serve/serve_internal.h"
#include "common/json.h"

enum action { ACTION_NONE = 0, ACTION_MODEL, ACTION_READY, ACTION_INFER };

/* In the order of precedence: what can be read two ways is read by the first. */
static const struct {
    const char *pattern;
    enum action action;
    int name, segment, version; /* index of the part, -1: none */
} PATHS[] = {
    {"/v2/models/{}/infer", ACTION_INFER, 0, -1, -1},
    {"/v2/models/{}/versions/{}/infer", ACTION_INFER, 0, -1, 1},
    {"/v2/models/{}", ACTION_MODEL, 0, -1, -1},
    {"/v2/models/{}/ready", ACTION_READY, 0, -1, -1},
    {"/v2/models/{}/versions/{}", ACTION_MODEL, 0, -1, 1},
    {"/v2/models/{}/versions/{}/ready", ACTION_READY, 0, -1, 1},
    {"/v2/models/{}/{}/infer", ACTION_INFER, 0, 1, -1},
    {"/v2/models/{}/{}/versions/{}/infer", ACTION_INFER, 0, 1, 2},
    {"/v2/models/{}/{}", ACTION_MODEL, 0, 1, -1},
    {"/v2/models/{}/{}/ready", ACTION_READY, 0, 1, -1},
    {"/v2/models/{}/{}/versions/{}", ACTION_MODEL, 0, 1, 2},
    {"/v2/models/{}/{}/versions/{}/ready", ACTION_READY, 0, 1, 2},
};

void serve__answer_json(struct httpd_request *rq, int status, struct json *j)
{
    CLEANUP(buf_fini) struct buf out = {0};

    json_write(j, 0, false, &out);
    json_free(j);
    httpd_answer(rq, status, "application/json", buf_slice(&out));
}

static void answer_error_with(struct httpd_request *rq, int status, const char *header,
                              const char *why)
{
    CLEANUP(buf_fini) struct buf out = {0};
    CLEANUP(json_freep) struct json *j = json_object();
    const char *const headers[] = {header, NULL};

    json_set_str(j, "error", why);
    json_write(j, 0, false, &out);
    httpd_answer_headers(rq, status, "application/json", headers, buf_slice(&out));
}

void serve__answer_busy(struct serve *sv, struct httpd_request *rq, const char *why)
{
    (void)sv;
    answer_error_with(rq, 503, "Retry-After: 1", why);
}

bool serve__is_ready(const struct serve *sv)
{
    return sv->is_settled && agent_is_ready(sv->a) && !agent_is_stopping(sv->a);
}

static void answer_server(struct httpd_request *rq)
{
    struct json *root = json_object();

    json_set_str(root, "name", "relearn");
    json_set_str(root, "version", RELEARN_VERSION);
    json_add_str(json_set(root, "extensions", json_array()), "binary_tensor_data");
    serve__answer_json(rq, 200, root);
}

static void answer_flag(struct httpd_request *rq, const char *name, bool yes)
{
    struct json *root = json_object();

    json_set_bool(root, name, yes);
    serve__answer_json(rq, yes ? 200 : 503, root);
}

/* True when the path is one of the few fixed ones. */
static bool fixed(struct serve *sv, struct httpd_request *rq)
{
    static const char *const paths[] = {
        "/v2", "/v2/", "/v2/health/live", "/v2/health/ready", "/v2/models", "/v2/models/"};
    const char *path = httpd_path(rq);
    size_t i = 0;

    while (i < ARRAY_LEN(paths) && strcmp(path, paths[i]) != 0)
        i++;
    if (i == ARRAY_LEN(paths))
        return false;
    if (strcmp(httpd_method(rq), "GET") != 0)
        answer_error_with(rq, 405, "Allow: GET", "this path takes GET");
    else if (i < 2)
        answer_server(rq);
    else if (i == 2)
        answer_flag(rq, "live", true);
    else if (i == 3)
        answer_flag(rq, "ready", serve__is_ready(sv));
    else
        serve__models(sv, rq);
    return true;
}

bool serve__http(struct agent *a, struct httpd_request *rq)
{
    struct serve *sv = agent_self(a);
    const char *parts[3], *name, *version;
    CLEANUP_FREE char *line = NULL;
    size_t i = 0;

    while (i < ARRAY_LEN(PATHS) && !httpd_match(rq, PATHS[i].pattern, parts, ARRAY_LEN(parts)))
        i++;
    if (i == ARRAY_LEN(PATHS))
        return fixed(sv, rq);
    if (strcmp(httpd_method(rq), PATHS[i].action == ACTION_INFER ? "POST" : "GET") != 0) {
        bool is_infer = PATHS[i].action == ACTION_INFER;

        answer_error_with(rq, 405, is_infer ? "Allow: POST" : "Allow: GET",
                          is_infer ? "this path takes POST" : "this path takes GET");
        return true;
    }
    name = parts[PATHS[i].name];
    version = PATHS[i].version < 0 ? NULL : parts[PATHS[i].version];
    if (PATHS[i].segment >= 0)
        name = line = xasprintf("%s/%s", name, parts[PATHS[i].segment]);
    if (PATHS[i].action == ACTION_INFER)
        serve__infer(sv, rq, name, version);
    else if (PATHS[i].action == ACTION_READY)
        serve__model_ready(sv, rq, name, version);
    else
        serve__model(sv, rq, name, version);
    return true;
}
