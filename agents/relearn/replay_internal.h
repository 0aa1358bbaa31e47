/* Shared by replay.c (the flow), replay_setup.c (options, pipeline, installation), replay_report.c
 * and demo.c. */
#ifndef RELEARN_REPLAY_INTERNAL_H
#define RELEARN_REPLAY_INTERNAL_H

#include "agents/relearn/installation.h"
#include "agents/relearn/replay_client.h"
#include "agents/relearn/replay_log.h"
#include "agents/relearn/replay_score.h"
#include "agents/relearn/table.h"
#include "common/conf.h"

struct served_generation { /* first row that a generation of a line answered */
    char line[160];
    int64_t generation;
    size_t first_row;
};
struct pending_row {
    size_t row;
    char line[160];
};

struct replay {
    struct conf *conf;
    struct table table;
    size_t label, batch;
    int segment; /* column; -1: the pipeline has none */
    bool *is_text;
    struct pipeline *pipeline;
    char *yaml, *name, *dataset, *work_dir; /* folder of the batch files */
    struct installation in;
    bool is_own;    /* started for this replay, stopped at its end */
    char *own_data; /* its folder, removed at the end unless kept */
    struct loop *loop;
    struct replay_log *log;
    struct http_client *client;
    struct row_source source;
    struct naive *naive;
    struct score loop_score, first_score;
    struct served_generation *served;
    size_t n_served, cap_served;
    struct answer *answers; /* of the batch, n_answers of rows answer_rows */
    size_t *answer_rows, n_answers;
    int64_t requests, failed_requests;
    size_t n_batches;
    int64_t started_ms;
    bool is_json, is_quiet;
    bool is_usage_wrong; /* replay_setup failed over its words, not over the data */
    bool is_stuck;       /* the loop did not come to rest */
    char first_failure[256];
    struct score *by_batch; /* one a batch, for the demo's judgement */
};

extern const struct conf_option replay_options[];
int replay_setup(struct replay *r, int argc, char **argv, struct err *err);
void replay_fini(struct replay *r);
/* Declares the pipeline, starts what must be started. */
int replay_begin(struct replay *r, struct err *err);
/* The whole stream. */
int replay_run(struct replay *r, struct err *err);
struct json *replay_to_json(struct replay *r);
void replay_print_table(struct replay *r);
/* Exit code: 0 when nothing was lost, repeated, failed, and the loop came to rest. */
int replay_verdict(struct replay *r);
/* One line of progress on stderr. */
void replay_say(struct replay *r, const char *fmt, ...) PRINTF(2, 3);
/* What the loop does, in words, as it is read; for replay_log_on_event. */
void replay_narrate(void *ctx, const struct line *l, const struct event *ev);

#endif
