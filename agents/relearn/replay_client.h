/* What a replay asks over HTTP: predictions of serve, everything else of console. */
#ifndef RELEARN_REPLAY_CLIENT_H
#define RELEARN_REPLAY_CLIENT_H

#include "agents/relearn/table.h"
#include "common/http.h"
#include "common/json.h"
#include "common/pipeline.h"

struct answer { /* to one row */
    char prediction[64], line[160], label[128];
    int64_t generation;
    double value;      /* regression */
    double p_of_label; /* probability that was given to the true label; NaN when unknown */
    bool is_correct;
};
struct row_source {
    const struct table *table;
    size_t label;        /* column */
    const bool *is_text; /* columns that are sent as text */
    const char *model;   /* the pipeline's name */
    enum task task;
};
/* Row `row` to the model in service. */
int client_predict(struct http_client *c, const char *serve_url, const struct row_source *src,
                   size_t row, struct answer *ret, struct err *err) WARN_UNUSED;
/* Rows [from,to) to one generation of a line, in one request; answers[i] belongs to rows[i]. */
int client_predict_version(struct http_client *c, const char *serve_url,
                           const struct row_source *src, const char *line, int64_t generation,
                           const size_t *rows, size_t n, struct answer *answers,
                           struct err *err) WARN_UNUSED;
/* Answers of console: 2xx gives the parsed body (the caller's). */
struct json *client_post(struct http_client *c, const char *console_url, const char *path,
                         const char *content_type, struct slice body, struct err *err);

#endif
