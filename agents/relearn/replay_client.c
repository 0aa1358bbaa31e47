#include "agents/relearn/replay_client.h"

#include <math.h>
#include <string.h>

enum { TIMEOUT_MS = 20000 };

static void add_json_text(struct buf *b, const char *s)
{
    buf_add_char(b, '"');
    for (; *s; s++) {
        unsigned char ch = (unsigned char)*s;
        if (ch == '"' || ch == '\\')
            buf_addf(b, "\\%c", ch);
        else if (ch < 0x20)
            buf_addf(b, "\\u%04x", ch);
        else
            buf_add_char(b, (char)ch);
    }
    buf_add_char(b, '"');
}

static void add_cell(struct buf *b, const char *cell, bool is_text)
{
    double v;
    if (table_is_missing(cell))
        buf_add_str(b, "null");
    else if (is_text || str_to_double(cell, &v))
        add_json_text(b, cell);
    else
        buf_add_str(b, cell[0] == '+' || cell[0] == '.' ? "null" : cell);
}

/* Open Inference Protocol v2: one named tensor per column, shape [rows, 1]. */
static void request_body(const struct row_source *src, const size_t *rows, size_t n, struct buf *b)
{
    bool first = true;
    buf_add_str(b, "{\"inputs\":[");
    for (size_t c = 0; c < src->table->n_columns; c++) {
        if (c == src->label)
            continue;
        buf_add_str(b, first ? "{\"name\":" : ",{\"name\":");
        add_json_text(b, src->table->names[c]);
        buf_addf(b, ",\"shape\":[%zu,1],\"datatype\":\"%s\",\"data\":[", n,
                 src->is_text[c] ? "BYTES" : "FP64");
        for (size_t i = 0; i < n; i++) {
            if (i)
                buf_add_char(b, ',');
            add_cell(b, table_cell(src->table, rows[i], c), src->is_text[c]);
        }
        buf_add_str(b, "]}");
        first = false;
    }
    buf_add_str(b, "]}");
}

static const struct json *output(const struct json *j, const char *name)
{
    const struct json *outputs = json_get(j, "outputs");
    for (size_t i = 0; i < json_len(outputs); i++)
        if (strcmp(json_get_str(json_at(outputs, i), "name", ""), name) == 0)
            return json_get(json_at(outputs, i), "data");
    return NULL;
}

static double probability(const struct json *j, const struct json *classes, size_t i,
                          const char *truth)
{
    size_t k = json_len(classes);
    for (size_t c = 0; c < k; c++) {
        if (strcmp(json_str(json_at(classes, c), ""), truth) != 0)
            continue;
        const struct json *all = output(j, "probabilities"), *one = output(j, "probability");
        if (all)
            return json_num(json_at(all, i * k + c), NAN);
        double p = json_num(json_at(one, i), NAN);
        return c == 1 ? p : 1 - p;
    }
    return NAN;
}

static int read_answer(const struct json *j, const struct row_source *src, size_t i, size_t row,
                       struct answer *ret, struct err *err)
{
    const struct json *parameters = json_get(j, "parameters");
    const char *prediction = json_get_str(parameters, "prediction", NULL);
    if (!prediction)
        return err_set(err, ERR_HTTP, NEXT_REJECT, "the answer names no prediction");
    struct answer a = {
        .generation = json_get_int(parameters, "generation", 0), .value = NAN, .p_of_label = NAN};
    const char *truth = table_cell(src->table, row, src->label);
    str_copy(a.prediction, sizeof(a.prediction), prediction);
    str_copy(a.line, sizeof(a.line), json_get_str(parameters, "line", ""));
    if (src->task == TASK_REGRESSION) {
        a.value = json_num(json_at(output(j, "value"), i), NAN);
    } else {
        str_copy(a.label, sizeof(a.label), json_str(json_at(output(j, "label"), i), ""));
        a.is_correct = strcmp(a.label, truth) == 0;
        a.p_of_label = probability(j, json_get(parameters, "classes"), i, truth);
    }
    *ret = a;
    return 0;
}

static int call(struct http_client *c, const char *url, const struct row_source *src,
                const size_t *rows, size_t n, struct answer *ret, struct err *err)
{
    CLEANUP(buf_fini) struct buf body = {0};
    request_body(src, rows, n, &body);
    const char *const headers[] = {"Content-Type: application/json", NULL};
    struct http_request rq = {
        .url = url, .headers = headers, .body = buf_slice(&body), .timeout_ms = TIMEOUT_MS};
    CLEANUP(http_response_fini) struct http_response rs = {0};
    if (http_client_call(c, &rq, &rs, err))
        return -1;
    CLEANUP(json_freep) struct json *j = json_parse(buf_slice(&rs.body), "answer", err);
    if (!j)
        return -1;
    if (rs.status != 200)
        return err_set(err, ERR_HTTP, NEXT_REJECT, "serve answered %d: %s", rs.status,
                       json_get_str(j, "error", ""));
    for (size_t i = 0; i < n; i++)
        if (read_answer(j, src, i, rows[i], &ret[i], err))
            return -1;
    return 0;
}

int client_predict(struct http_client *c, const char *serve_url, const struct row_source *src,
                   size_t row, struct answer *ret, struct err *err)
{
    CLEANUP_FREE char *url = xasprintf("%s/v2/models/%s/infer", serve_url, src->model);
    return call(c, url, src, &row, 1, ret, err);
}

int client_predict_version(struct http_client *c, const char *serve_url,
                           const struct row_source *src, const char *line, int64_t generation,
                           const size_t *rows, size_t n, struct answer *answers, struct err *err)
{
    CLEANUP(buf_fini) struct buf escaped = {0};
    http_escape(line, &escaped); /* the slash of a segment is part of the name */
    CLEANUP_FREE char *url = xasprintf("%s/v2/models/%s/versions/%lld/infer", serve_url,
                                       escaped.data, (long long)generation);
    return call(c, url, src, rows, n, answers, err);
}

struct json *client_post(struct http_client *c, const char *console_url, const char *path,
                         const char *content_type, struct slice body, struct err *err)
{
    CLEANUP_FREE char *url = xasprintf("%s%s", console_url, path);
    CLEANUP_FREE char *type = xasprintf("Content-Type: %s", content_type);
    const char *const headers[] = {type, NULL};
    struct http_request rq = {
        .method = "POST", .url = url, .headers = headers, .body = body, .timeout_ms = TIMEOUT_MS};
    CLEANUP(http_response_fini) struct http_response rs = {0};
    if (http_client_call(c, &rq, &rs, err)) {
        err_wrap(err, "console %s", path);
        return NULL;
    }
    struct json *j = json_parse(buf_slice(&rs.body), "answer", err);
    if (!j)
        return NULL;
    if (rs.status / 100 == 2)
        return j;
    err_set(err, ERR_HTTP, NEXT_REJECT, "console answered %d to %s: %s", rs.status, path,
            json_get_str(j, "error", ""));
    json_free(j);
    return NULL;
}
