/* The console's shell.  It reads every topic, keeps the fold of every line, a view in SQLite for
 * look-ups by id, and writes what people and other tools send: pipelines, datasets, labels,
 * commands, drift alerts. */
#include "agents/console/console.h"

#include <string.h>

#include "agents/console/console_internal.h"
#include "common/log.h"

static struct console *self_of(struct agent *a)
{
    return agent_self(a);
}

static int open_console(struct agent *a, struct err *err)
{
    struct console *c = self_of(a);
    c->a = a;
    return view_open(c, err);
}

static void close_console(struct agent *a)
{
    struct console *c = self_of(a);
    follow_close(c);
    batches_close(c);
    view_close(c);
}

static void folded(struct agent *a, struct unit *u, const struct event *ev)
{
    struct console *c = self_of(a);
    /* else the view has it from before */
    bool is_new = ev->offset >= view_position(c, ev->type, ev->partition);
    if (is_new || !c->runs_are_whole)
        view_add_run(c, u->line, ev);
    if (is_new) {
        view_add(c, ev);
        view_set_position(c, ev->type, ev->partition, ev->offset + 1);
    }
    follow_event(c, ev);
}

static void turn(struct agent *a)
{
    struct console *c = self_of(a);
    /* nobody asks before everything is read, and few large transactions are faster than many */
    if (agent_is_ready(a) || c->view_rows >= CONSOLE_RESTORE_COMMIT_ROWS)
        view_flush(c);
}

static void ready(struct agent *a)
{
    view_filled(self_of(a));
}

static void stream(struct agent *a, struct event *ev)
{
    struct console *c = self_of(a);
    if (ev->type == RECORD_PREDICTION_SERVED)
        view_add_prediction(c, ev);
    else if (ev->type == RECORD_DEAD_LETTERED)
        view_add(c, ev);
    view_set_position(c, ev->type, ev->partition, ev->offset + 1);
    follow_event(c, ev);
    event_free(ev);
}

static int64_t position(struct agent *a, enum record r, int partition)
{
    return view_position(self_of(a), r, partition);
}

static bool http(struct agent *a, struct httpd_request *rq)
{
    struct console *c = self_of(a);
    view_flush(c); /* what was read in this turn is seen by the next question */
    return endpoints_handle(c, rq);
}

static const struct agent_input INPUTS[] = {
    {RECORD_DATASET_PUBLISHED, INPUT_GLOBAL},     {RECORD_DATASET_INGESTED, INPUT_GLOBAL},
    {RECORD_DRIFT_DETECTED, INPUT_GLOBAL},        {RECORD_OPERATOR_COMMANDED, INPUT_GLOBAL},
    {RECORD_TRAINING_PLANNED, INPUT_GLOBAL},      {RECORD_TRAINING_FINISHED, INPUT_GLOBAL},
    {RECORD_MODEL_EVALUATED, INPUT_GLOBAL},       {RECORD_GATE_DECIDED, INPUT_GLOBAL},
    {RECORD_DEPLOYMENT_CHANGED, INPUT_GLOBAL},    {RECORD_SERVING_CHANGED, INPUT_GLOBAL},
    {RECORD_HEALTH_MEASURED, INPUT_GLOBAL},       {RECORD_PREDICTION_SERVED, INPUT_GLOBAL_STREAM},
    {RECORD_LABEL_OBSERVED, INPUT_GLOBAL_STREAM}, {RECORD_TRAINING_PROGRESSED, INPUT_GLOBAL_STREAM},
    {RECORD_DEAD_LETTERED, INPUT_GLOBAL_STREAM},
};
static const enum record OUTPUTS[] = {
    RECORD_PIPELINE_DECLARED,  RECORD_DATASET_PUBLISHED, RECORD_LABEL_OBSERVED,
    RECORD_OPERATOR_COMMANDED, RECORD_DRIFT_DETECTED,
};

const struct agent_spec console_agent = {
    .name = "console",
    .purpose = "REST API: takes pipelines, datasets, alerts, labels and commands in; says what the "
               "loop did and why.",
    .example = "relearn-console --brokers localhost:9092 --listen 127.0.0.1:8700",
    .inputs = INPUTS,
    .n_inputs = ARRAY_LEN(INPUTS),
    .outputs = OUTPUTS,
    .n_outputs = ARRAY_LEN(OUTPUTS),
    .self_bytes = sizeof(struct console),
    .http_body_cap_bytes = CONSOLE_BODY_CAP_BYTES,
    .open = open_console,
    .close = close_console,
    .folded = folded,
    .stream = stream,
    .position = position,
    .turn = turn,
    .ready = ready,
    .http = http,
};
