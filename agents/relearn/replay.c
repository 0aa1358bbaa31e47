/* A replay: the user's rows, in time order, as if they were live.  For each batch every row is
 * predicted by the model in service before its label is known; then the labels are sent and the
 * batch is published as a dataset; then the loop comes to rest, which is read off the events.
 * Nothing here looks into an agent. */
#include "agents/relearn/replay.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agents/relearn/replay_internal.h"
#include "common/clk.h"
#include "common/log.h"

void replay_say(struct replay *r, const char *fmt, ...)
{
    if (r->is_quiet)
        return;
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "%7.1fs  ",
            r->started_ms ? (double)(clk_mono_ms(&clk_system) - r->started_ms) / 1000 : 0.0);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
}

static void note_generation(struct replay *r, const struct answer *a, size_t row)
{
    for (size_t i = 0; i < r->n_served; i++)
        if (r->served[i].generation == a->generation && strcmp(r->served[i].line, a->line) == 0)
            return;
    r->served = xgrow(r->served, &r->cap_served, r->n_served + 1, sizeof(*r->served));
    struct served_generation *g = &r->served[r->n_served++];
    *g = (struct served_generation){.generation = a->generation, .first_row = row};
    str_copy(g->line, sizeof(g->line), a->line);
}

static void score_answer(const struct replay *r, struct score *s, const struct answer *a,
                         size_t row)
{
    double truth;
    if (r->pipeline->task != TASK_REGRESSION)
        score_class(s, a->is_correct, a->p_of_label);
    else if (str_to_double(table_cell(&r->table, row, r->label), &truth) == 0)
        score_value(s, a->value, truth);
}

/* A segment that has no model yet is not asked for one. */
static bool is_line_served(const struct replay *r, size_t row)
{
    if (r->segment < 0)
        return true;
    CLEANUP_FREE char *line =
        xasprintf("%s/%s", r->name, table_cell(&r->table, row, (size_t)r->segment));
    return replay_log_line_in_service(r->log, line);
}

static void predict_batch(struct replay *r, const char *url, size_t from, size_t to)
{
    struct err err = {0};
    r->n_answers = 0;
    for (size_t row = from; row < to; row++) {
        struct answer *a = &r->answers[r->n_answers];
        if (table_is_missing(table_cell(&r->table, row, r->label)) || !is_line_served(r, row))
            continue;
        r->requests++;
        if (client_predict(r->client, url, &r->source, row, a, &err)) {
            if (!r->failed_requests++)
                str_copy(r->first_failure, sizeof(r->first_failure), err.msg);
            continue;
        }
        r->answer_rows[r->n_answers++] = row;
        note_generation(r, a, row);
        score_answer(r, &r->loop_score, a, row);
        score_answer(r, &r->by_batch[r->n_batches], a, row);
        replay_log_expect_prediction(r->log, a->prediction, a->line, a->generation);
    }
}

/* The same rows to the first generation of their line: the model that is never retrained. */
static int score_first_model(struct replay *r, const char *url, struct err *err)
{
    CLEANUP_FREE bool *done = xcalloc(r->n_answers + 1, sizeof(*done));
    CLEANUP_FREE size_t *rows = xcalloc(r->n_answers + 1, sizeof(*rows));
    CLEANUP_FREE struct answer *answers = xcalloc(r->n_answers + 1, sizeof(*answers));
    for (size_t i = 0; i < r->n_answers; i++) {
        size_t n = 0;
        for (size_t k = i; k < r->n_answers; k++) {
            if (done[k] || strcmp(r->answers[k].line, r->answers[i].line) != 0)
                continue;
            done[k] = true;
            rows[n++] = r->answer_rows[k];
        }
        if (!n)
            continue;
        if (client_predict_version(r->client, url, &r->source, r->answers[i].line, 1, rows, n,
                                   answers, err))
            return err_wrap(err, "generation 1 of %s", r->answers[i].line);
        for (size_t k = 0; k < n; k++)
            score_answer(r, &r->first_score, &answers[k], rows[k]);
    }
    return 0;
}

static int send_labels(struct replay *r, struct err *err)
{
    if (!r->n_answers)
        return 0;
    struct json *body = json_object(), *list = json_set(body, "labels", json_array());
    for (size_t i = 0; i < r->n_answers; i++) {
        struct json *l = json_add(list, json_object());
        json_set_str(l, "line", r->answers[i].line);
        json_set_str(l, "prediction", r->answers[i].prediction);
        json_set_str(l, "value", table_cell(&r->table, r->answer_rows[i], r->label));
    }
    CLEANUP(buf_fini) struct buf text = {0};
    json_write(body, 0, false, &text);
    json_free(body);
    struct json *answer = client_post(r->client, r->in.console_url, "/v1/labels",
                                      "application/json", buf_slice(&text), err);
    json_free(answer);
    replay_log_expect_labels(r->log, (int64_t)r->n_answers);
    return answer ? 0 : -1;
}

static int write_batch(struct replay *r, size_t from, size_t to, char **ret_path, struct err *err)
{
    CLEANUP(buf_fini) struct buf b = {0};
    buf_init(&b, TABLE_MAX_BYTES);
    buf_add(&b, r->table.header.p, r->table.header.n);
    for (size_t i = from; i < to; i++)
        buf_add(&b, r->table.records[i].p, r->table.records[i].n);
    CLEANUP_FREE char *path = xasprintf("%s/%s-%05zu.csv", r->work_dir, r->name, r->n_batches);
    if (fsx_write_file(path, b.data, b.len, err))
        return -1;
    *ret_path = TAKE(path);
    return 0;
}

static int publish_batch(struct replay *r, size_t from, size_t to, struct err *err)
{
    CLEANUP_FREE char *path = NULL;
    if (write_batch(r, from, to, &path, err))
        return -1;
    CLEANUP_FREE char *uri = path[0] == '/' ? xasprintf("file://%s", path) : NULL;
    CLEANUP_FREE char *version = xasprintf("%zu", r->n_batches + 1);
    CLEANUP(json_freep) struct json *body = json_object();
    json_set_str(body, "dataset", r->dataset);
    json_set_str(body, "version", version);
    json_set_str(body, "uri", uri ? uri : path);
    json_set_str(body, "format", "csv");
    json_set_int(body, "rows", (int64_t)(to - from));
    CLEANUP(buf_fini) struct buf text = {0};
    json_write(body, 0, false, &text);
    CLEANUP(json_freep)
    struct json *answer = client_post(r->client, r->in.console_url, "/v1/datasets",
                                      "application/json", buf_slice(&text), err);
    if (!answer)
        return -1;
    replay_log_expect_dataset(r->log, json_get_str(answer, "event", ""), r->dataset,
                              (int64_t)(to - from));
    return 0;
}

static int await_rest(struct replay *r, struct err *err)
{
    const char *why = NULL;
    if (replay_log_await_rest(r->log, r->pipeline, (int)conf_int(r->conf, "rest-timeout"), &why))
        return 0;
    r->is_stuck = true;
    return err_set(err, ERR_TIMEOUT, NEXT_REJECT, "the loop did not come to rest: %s", why);
}

/* Beside the loop, on the rows that it answered. */
static void learn_naively(struct replay *r, size_t from, size_t to)
{
    size_t answered = 0;
    for (size_t row = from; row < to; row++) {
        const char *label = table_cell(&r->table, row, r->label);
        bool is_scored = answered < r->n_answers && r->answer_rows[answered] == row;
        answered += is_scored;
        if (!table_is_missing(label))
            naive_label(r->naive, label, is_scored);
    }
}

static int one_batch(struct replay *r, size_t from, size_t to, struct err *err)
{
    const char *url = NULL;
    bool is_served = replay_log_in_service(r->log, &url);
    r->n_answers = 0;
    if (is_served)
        predict_batch(r, url, from, to);
    learn_naively(r, from, to);
    if (is_served && (send_labels(r, err) || score_first_model(r, url, err)))
        return -1;
    if (publish_batch(r, from, to, err) || await_rest(r, err))
        return -1;
    const struct score *s = &r->by_batch[r->n_batches];
    if (s->rows && r->pipeline->task != TASK_REGRESSION)
        replay_say(r, "rows %zu to %zu: accuracy %.3f (so far %.3f, never retrained %.3f)", from,
                   to - 1, score_accuracy(s), score_accuracy(&r->loop_score),
                   score_accuracy(&r->first_score));
    else if (s->rows)
        replay_say(r, "rows %zu to %zu: rmse %.4g (so far %.4g, never retrained %.4g)", from,
                   to - 1, score_rmse(s), score_rmse(&r->loop_score), score_rmse(&r->first_score));
    r->n_batches++;
    return 0;
}

int replay_run(struct replay *r, struct err *err)
{
    for (size_t from = 0; from < r->table.rows; from += r->batch) {
        size_t to = from + r->batch < r->table.rows ? from + r->batch : r->table.rows;
        if (one_batch(r, from, to, err))
            return err_wrap(err, "batch %zu", r->n_batches + 1);
    }
    return 0;
}

int replay_verdict(struct replay *r)
{
    struct replay_counts c;
    replay_log_counts(r->log, &c);
    return r->is_stuck || r->failed_requests || c.lost || c.repeated ? 1 : 0;
}

static void print_result(struct replay *r)
{
    if (!r->is_json) {
        replay_print_table(r);
        return;
    }
    CLEANUP(buf_fini) struct buf out = {0};
    CLEANUP(json_freep) struct json *j = replay_to_json(r);
    json_write(j, 0, false, &out);
    puts(out.data);
}

int replay_main(int argc, char **argv)
{
    const struct conf_option *tables[] = {replay_options, NULL};
    struct replay r = {0};
    struct err err = {0};
    CLEANUP(buf_fini) struct buf help = {0};
    struct conf *asked = NULL;
    log_init("replay", LOG_WARN);
    if (conf_parse(tables, argc, argv, &asked, &err) == 0 &&
        conf_print_if_asked(asked, "relearn replay",
                            "Plays a CSV file in time order through the loop, as if it were live.",
                            "relearn replay data.csv --label class --batch 1000", &help)) {
        conf_free(asked);
        fputs(help.data, stdout);
        return 0;
    }
    conf_free(asked);
    r.started_ms = clk_mono_ms(&clk_system);
    int rc = replay_setup(&r, argc, argv, &err);
    int code = r.is_usage_wrong ? 2 : 1;
    if (!rc)
        rc = replay_begin(&r, &err);
    bool has_begun = !rc;
    if (!rc)
        rc = replay_run(&r, &err);
    if (rc)
        fprintf(stderr, "relearn replay: %s\n", err.msg);
    if (has_begun) {
        print_result(&r);
        code = rc ? 1 : replay_verdict(&r);
    }
    replay_fini(&r);
    return code;
}
