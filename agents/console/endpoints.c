/* Which path is whose.  The table is the API; README.md says what each takes and gives. */
#include <stdio.h>
#include <string.h>

#include "agents/console/console_internal.h"

struct endpoint {
    const char *method, *path;
    endpoint_fn handle;
    bool needs_fold; /* answers from what was read: not before everything was */
};
static const struct endpoint ENDPOINTS[] = {
    {"POST", "/v1/pipelines", intake_pipeline, true}, /* a new text keeps its first date */
    {"DELETE", "/v1/pipelines/{}", intake_withdraw, true},
    {"POST", "/v1/datasets", intake_dataset, false},
    {"POST", "/v1/labels", intake_labels, false},
    {"POST", "/v1/commands", intake_command, false},
    {"POST", "/v1/alerts", intake_alert, false},
    {"POST", "/v1/alerts/alertmanager", intake_alertmanager, false},
    {"POST", "/v1/events", intake_cloudevents, false},
    {"POST", "/v1/deadletters/{}/resend", intake_resend, true},
    {"GET", "/v1/status", query_status, true},
    {"GET", "/v1/lines", query_lines, true},
    {"GET", "/v1/pipelines", query_pipelines, true},
    {"GET", "/v1/pipelines/{}", query_pipeline, true},
    {"GET", "/v1/runs", query_runs, true},
    {"GET", "/v1/runs/{}", query_run, true},
    {"GET", "/v1/distance", query_distance, true},
    {"GET", "/v1/trend", query_trend, true},
    {"GET", "/v1/models", query_models, true},
    {"GET", "/v1/history", query_history, true},
    {"GET", "/v1/explain", query_explain, true},
    {"GET", "/v1/events", query_events, true},
    {"GET", "/v1/deadletters", query_dead_letters, true},
    {"GET", "/v1/deadletters/{}", query_dead_letter, true},
    {"GET", "/v1/answer", follow_answer, true},
    {"GET", "/v1/watch", follow_watch, false},
};

static void refuse_method(struct httpd_request *rq, const char *allowed)
{
    char header[64], body[160];
    const char *const headers[] = {header, NULL};
    snprintf(header, sizeof(header), "Allow: %s", allowed);
    snprintf(body, sizeof(body), "{\"error\":\"this path takes %s\"}\n", allowed);
    httpd_answer_headers(rq, 405, "application/json", headers, slice_str(body));
}

bool endpoints_handle(struct console *c, struct httpd_request *rq)
{
    char allowed[40] = "";
    const char *segs[2] = {NULL, NULL};
    for (size_t i = 0; i < ARRAY_LEN(ENDPOINTS); i++) {
        const struct endpoint *e = &ENDPOINTS[i];
        if (!httpd_match(rq, e->path, segs, ARRAY_LEN(segs)))
            continue;
        if (strcmp(httpd_method(rq), e->method) != 0) {
            size_t n = strlen(allowed);
            snprintf(allowed + n, sizeof(allowed) - n, "%s%s", n ? ", " : "", e->method);
            continue;
        }
        if (e->needs_fold && !agent_is_ready(c->a))
            httpd_answer_error(rq, 503, "not ready: the topics are still being read");
        else
            e->handle(c, rq, segs);
        return true;
    }
    if (allowed[0])
        refuse_method(rq, allowed);
    return allowed[0];
}

void console_answer_json(struct httpd_request *rq, int status, struct json *j)
{
    CLEANUP(buf_fini) struct buf out = {0};
    json_write(j, 0, false, &out);
    buf_add_char(&out, '\n');
    json_free(j);
    httpd_answer(rq, status, "application/json", buf_slice(&out));
}

bool console_query_int(struct httpd_request *rq, const char *name, int64_t min, int64_t max,
                       int64_t *ret)
{
    int64_t v = 0;
    const char *text = httpd_query(rq, name);
    if (!text)
        return true;
    if (str_to_i64(text, &v) || v < min || v > max) {
        httpd_answer_error(rq, 400, "%s: give %lld to %lld, not '%s'", name, (long long)min,
                           (long long)max, text);
        return false;
    }
    *ret = v;
    return true;
}
