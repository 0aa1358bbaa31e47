/* The day-to-day commands: each asks the console, waits for the event that answers where there is
 * one, and prints it. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agents/relearn/cli.h"
#include "agents/relearn/cmd_print.h"
#include "common/fsx.h"
#include "common/mem.h"
#include "common/pipeline.h"

static const struct conf_option SEND_OPTIONS[] = {
    {.name = "wait",
     .type = CONF_DURATION,
     .fallback = "60s",
     .meta = "TIME",
     .help = "how long to wait for the event that answers; 0: do not wait",
     .max = 600000},
    {.name = "by", .meta = "NAME", .help = "who asks; default: the user's name"},
    {.name = "reason", .letter = 'r', .meta = "TEXT", .help = "why, for the record"},
    {.name = "generation",
     .type = CONF_INT,
     .meta = "N",
     .help = "only if the line is still at this generation"},
    {.name = "to",
     .type = CONF_INT,
     .meta = "N",
     .help = "rollback: to the model of this generation"},
    {.name = "target",
     .meta = "ID",
     .help = "approve, reject: the decision or run; force: the model or run"},
    {0},
};
static const struct conf_option PUBLISH_OPTIONS[] = {
    {.name = "wait",
     .type = CONF_DURATION,
     .fallback = "60s",
     .meta = "TIME",
     .help = "how long to wait until it is accepted or refused; 0: do not wait",
     .max = 600000},
    {.name = "dataset-version", .meta = "TEXT", .help = "your name for this version"},
    {.name = "format",
     .meta = "FORMAT",
     .help = "csv, npy or npz; default: by the name and the first bytes"},
    {.name = "sha256", .meta = "HEX", .help = "digest that the bytes must have"},
    {.name = "rows", .type = CONF_INT, .meta = "N", .help = "data rows that there must be"},
    {.name = "by", .meta = "NAME", .help = "who publishes"},
    {0},
};
static const struct conf_option ALERT_OPTIONS[] = {
    {.name = "wait",
     .type = CONF_DURATION,
     .fallback = "60s",
     .meta = "TIME",
     .help = "how long to wait for the plan that answers; 0: do not wait",
     .max = 600000},
    {.name = "summary", .letter = 's', .meta = "TEXT", .help = "what was seen"},
    {.name = "generation",
     .type = CONF_INT,
     .meta = "N",
     .help = "generation that the alert is about; default: the one in service"},
    {.name = "by", .meta = "NAME", .help = "who alerts"},
    {0},
};
static const struct conf_option LIST_OPTIONS[] = {
    {.name = "line",
     .letter = 'l',
     .meta = "LINE",
     .help = "only of this line, or of every line of this pipeline"},
    {.name = "limit",
     .type = CONF_INT,
     .fallback = "20",
     .meta = "N",
     .help = "at most so many",
     .min = 1,
     .max = 1000},
    {0},
};
static const struct conf_option PREDICT_OPTIONS[] = {
    {.name = "serve",
     .meta = "URL",
     .help = "address of an instance of serve; default: one of the installation"},
    {0},
};

static const char *user_name(const struct conf *conf)
{
    const char *by = conf_str(conf, "by"), *login = by ? NULL : getlogin();
    return by ? by : login ? login : "operator";
}

/* Posts a record; then waits for what answers it, and prints that. */
static int send_and_wait(struct conf *conf, const char *path, const struct json *record,
                         struct err *err)
{
    CLEANUP(buf_fini) struct buf body = {0};
    CLEANUP_FREE char *console = cli_console_url(conf, err);
    if (!console)
        return EXIT_NOT_RUNNING;
    json_write(record, 0, false, &body);
    CLEANUP(json_freep)
    struct json *sent = cli_post(console, path, "application/json", buf_slice(&body), err);
    if (!sent)
        return EXIT_REFUSED;
    int64_t wait_ms = conf_int(conf, "wait");
    if (!wait_ms) {
        print_sent(sent, conf_bool(conf, "json"));
        return EXIT_DONE;
    }
    CLEANUP_FREE char *ask = xasprintf("/v1/answer?id=%s&wait_ms=%lld",
                                       json_get_str(sent, "event", ""), (long long)wait_ms);
    CLEANUP(json_freep) struct json *answer = cli_get(console, ask, err);
    if (!answer)
        return EXIT_REFUSED;
    return print_answer(answer, conf_bool(conf, "json")) ? EXIT_DONE : EXIT_REFUSED;
}

static int command(struct conf *conf, const char *word, const char *line, struct err *err)
{
    CLEANUP(json_freep) struct json *j = json_object();
    json_set_str(j, "line", line);
    json_set_str(j, "command", word);
    json_set_str(j, "by", user_name(conf));
    if (conf_str(conf, "reason"))
        json_set_str(j, "reason", conf_str(conf, "reason"));
    if (conf_is_set(conf, "generation"))
        json_set_int(j, "generation", conf_int(conf, "generation"));
    if (conf_is_set(conf, "to"))
        json_set_int(j, "to_generation", conf_int(conf, "to"));
    if (conf_str(conf, "target"))
        json_set_str(j, "target", conf_str(conf, "target"));
    return send_and_wait(conf, "/v1/commands", j, err);
}

#define COMMAND(name, word)                                                                        \
    static int name(struct conf *conf, const char *const *args, size_t n_args, struct err *err)    \
    {                                                                                              \
        (void)n_args;                                                                              \
        return command(conf, word, args[0], err);                                                  \
    }
COMMAND(retrain, "retrain")
COMMAND(pause_line, "pause")
COMMAND(resume, "resume")
COMMAND(approve, "approve")
COMMAND(reject, "reject")
COMMAND(force, "force")
COMMAND(rollback, "rollback")

static int apply(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    (void)n_args;
    CLEANUP(buf_fini) struct buf yaml = {0};
    CLEANUP_FREE char *console = cli_console_url(conf, err);
    if (!console)
        return EXIT_NOT_RUNNING;
    struct pipeline *p = NULL; /* read here first: the message names the user's file */
    if (fsx_read_file(args[0], PIPELINE_MAX_BYTES, &yaml, err) ||
        pipeline_parse(buf_slice(&yaml), args[0], &p, err))
        return EXIT_REFUSED;
    CLEANUP(json_freep)
    struct json *sent =
        cli_post(console, "/v1/pipelines", "application/yaml", buf_slice(&yaml), err);
    if (sent && !conf_bool(conf, "json"))
        printf("pipeline %s is declared (dataset %s, label %s)\n", p->name, p->dataset, p->label);
    else if (sent)
        cli_print_json(sent);
    pipeline_free(p);
    return sent ? EXIT_DONE : EXIT_REFUSED;
}

static int publish(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    (void)n_args;
    CLEANUP(json_freep) struct json *j = json_object();
    bool is_url = strstr(args[1], "://") != NULL;
    CLEANUP_FREE char *full = is_url ? NULL : cli_absolute(args[1]);
    CLEANUP_FREE char *uri = is_url ? xstrdup(args[1]) : xasprintf("file://%s", full);
    if (!is_url && !fsx_exists(full)) {
        err_set(err, ERR_NOTFOUND, NEXT_REJECT, "there is no file %s", full);
        return EXIT_REFUSED;
    }
    json_set_str(j, "dataset", args[0]);
    json_set_str(j, "uri", uri);
    json_set_str(j, "by", user_name(conf));
    if (conf_str(conf, "dataset-version"))
        json_set_str(j, "version", conf_str(conf, "dataset-version"));
    if (conf_str(conf, "format"))
        json_set_str(j, "format", conf_str(conf, "format"));
    if (conf_str(conf, "sha256"))
        json_set_str(j, "sha256", conf_str(conf, "sha256"));
    if (conf_is_set(conf, "rows"))
        json_set_int(j, "rows", conf_int(conf, "rows"));
    if (!is_url)
        json_set_int(j, "size_bytes", fsx_size(full));
    return send_and_wait(conf, "/v1/datasets", j, err);
}

static int alert(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    (void)n_args;
    CLEANUP(json_freep) struct json *j = json_object();
    json_set_str(j, "line", args[0]);
    json_set_str(j, "source", user_name(conf));
    if (conf_str(conf, "summary"))
        json_set_str(j, "summary", conf_str(conf, "summary"));
    if (conf_is_set(conf, "generation"))
        json_set_int(j, "generation", conf_int(conf, "generation"));
    return send_and_wait(conf, "/v1/alerts", j, err);
}

/* label LINE PREDICTION VALUE, or label LINE FILE.csv with prediction,value lines. */
static int label(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    CLEANUP(buf_fini) struct buf body = {0};
    CLEANUP(buf_fini) struct buf path = {0};
    CLEANUP_FREE char *console = cli_console_url(conf, err);
    if (!console)
        return EXIT_NOT_RUNNING;
    buf_add_str(&path, "/v1/labels?line=");
    http_escape(args[0], &path);
    enum { MAX_CSV_BYTES = 60 << 20 };
    if (n_args == 2 && fsx_read_file(args[1], MAX_CSV_BYTES, &body, err))
        return EXIT_REFUSED;
    if (n_args == 3)
        buf_addf(&body, "%s,%s\n", args[1], args[2]);
    CLEANUP(json_freep)
    struct json *sent = cli_post(console, path.data, "text/csv", buf_slice(&body), err);
    if (!sent)
        return EXIT_REFUSED;
    if (conf_bool(conf, "json"))
        cli_print_json(sent);
    else
        printf("%lld labels sent\n", (long long)json_get_int(sent, "published", 0));
    return EXIT_DONE;
}

/* predict LINE ROW: ROW is a JSON object, or column=value,column=value. */
static int row_inputs(const char *text, struct json *inputs, struct err *err)
{
    CLEANUP(json_freep) struct json *row = NULL;
    if (text[0] == '{') {
        row = json_parse(slice_str(text), "row", err);
        if (!row)
            return -1;
    } else {
        CLEANUP_FREE char *copy = xstrdup(text);
        row = json_object();
        for (char *at = copy, *next; at && *at; at = next) {
            next = strchr(at, ',');
            if (next)
                *next++ = '\0';
            char *equals = strchr(at, '=');
            double v;
            if (!equals)
                return err_inval(err, "%s: give column=value,column=value or a JSON object", at);
            *equals = '\0';
            if (str_to_double(equals + 1, &v) == 0)
                json_set_num(row, at, v);
            else
                json_set_str(row, at, equals + 1);
        }
    }
    const char *key;
    const struct json *value;
    for (void *it = json_next(row, NULL, &key, &value); it; it = json_next(row, it, &key, &value)) {
        struct json *t = json_add(inputs, json_object());
        json_set_str(t, "name", key);
        struct json *shape = json_set(t, "shape", json_array());
        json_add_int(shape, 1);
        json_add_int(shape, 1);
        json_set_str(t, "datatype", json_is_string(value) ? "BYTES" : "FP64");
        json_add(json_set(t, "data", json_array()), json_copy(value));
    }
    return 0;
}

static char *serve_url(struct conf *conf, struct err *err)
{
    struct installation in = {0};
    if (conf_str(conf, "serve"))
        return xstrdup(conf_str(conf, "serve"));
    if (installation_find(conf_str(conf, "data"), &in, err))
        return NULL;
    CLEANUP(json_freep) struct json *status = cli_get(in.control_url, "/status", err);
    const struct json *list = json_get(status, "instances");
    char *url = NULL;
    for (size_t i = 0; i < json_len(list) && !url; i++)
        if (strcmp(json_get_str(json_at(list, i), "agent", ""), "serve") == 0 &&
            strcmp(json_get_str(json_at(list, i), "state", ""), "ready") == 0)
            url = xstrdup(json_get_str(json_at(list, i), "url", ""));
    installation_fini(&in);
    if (!url && !err->code)
        err_set(err, ERR_NOTFOUND, NEXT_REJECT, "no instance of serve is ready");
    return url;
}

static int predict(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    (void)n_args;
    CLEANUP(buf_fini) struct buf path = {0};
    CLEANUP(buf_fini) struct buf body = {0};
    CLEANUP(json_freep) struct json *request = json_object();
    CLEANUP_FREE char *url = serve_url(conf, err);
    if (!url)
        return EXIT_NOT_RUNNING;
    if (row_inputs(args[1], json_set(request, "inputs", json_array()), err))
        return EXIT_USAGE;
    buf_add_str(&path, "/v2/models/");
    http_escape(args[0], &path);
    buf_add_str(&path, "/infer");
    json_write(request, 0, false, &body);
    CLEANUP(json_freep)
    struct json *answer = cli_post(url, path.data, "application/json", buf_slice(&body), err);
    if (!answer)
        return EXIT_REFUSED;
    print_prediction(answer, conf_bool(conf, "json"));
    return EXIT_DONE;
}

/* ---- questions ---- */

static int ask(struct conf *conf, const char *path, void (*print)(const struct json *j),
               struct err *err)
{
    CLEANUP_FREE char *console = cli_console_url(conf, err);
    if (!console)
        return EXIT_NOT_RUNNING;
    CLEANUP(json_freep) struct json *j = cli_get(console, path, err);
    if (!j)
        return EXIT_REFUSED;
    if (conf_bool(conf, "json"))
        cli_print_json(j);
    else
        print(j);
    return EXIT_DONE;
}

static void list_path(struct conf *conf, const char *what, struct buf *path)
{
    buf_addf(path, "/v1/%s?limit=%lld", what, (long long)conf_int(conf, "limit"));
    if (!conf_str(conf, "line"))
        return;
    buf_add_str(path, "&line=");
    http_escape(conf_str(conf, "line"), path);
}

static int pipelines(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    (void)args;
    (void)n_args;
    return ask(conf, "/v1/pipelines", print_pipelines, err);
}

static int lines(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    (void)args;
    (void)n_args;
    return ask(conf, "/v1/lines", print_lines, err);
}

static int runs(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    (void)args;
    (void)n_args;
    CLEANUP(buf_fini) struct buf path = {0};
    list_path(conf, "runs", &path);
    return ask(conf, path.data, print_runs, err);
}

static int models(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    (void)args;
    (void)n_args;
    CLEANUP(buf_fini) struct buf path = {0};
    list_path(conf, "models", &path);
    return ask(conf, path.data, print_models, err);
}

static int history(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    (void)n_args;
    CLEANUP(buf_fini) struct buf path = {0};
    buf_add_str(&path, "/v1/history?line=");
    http_escape(args[0], &path);
    return ask(conf, path.data, print_history, err);
}

static int explain(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    (void)n_args;
    CLEANUP(buf_fini) struct buf path = {0};
    buf_add_str(&path, "/v1/explain?id=");
    http_escape(args[0], &path);
    return ask(conf, path.data, print_explanation, err);
}

static int deadletters(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    CLEANUP(buf_fini) struct buf path = {0};
    if (n_args == 0) {
        buf_addf(&path, "/v1/deadletters?limit=%lld", (long long)conf_int(conf, "limit"));
        return ask(conf, path.data, print_dead_letters, err);
    }
    buf_add_str(&path, "/v1/deadletters/");
    http_escape(args[0], &path);
    return ask(conf, path.data, cli_print_json, err);
}

/* ---- watch ---- */

struct watching {
    struct buf rest;
    bool is_json;
};

static int on_bytes(void *ctx, const void *p, size_t n, struct err *err)
{
    struct watching *w = ctx;
    (void)err;
    buf_add(&w->rest, p, n);
    for (char *end; w->rest.len && (end = strstr(w->rest.data, "\n\n"));) {
        *end = '\0';
        char *data = strstr(w->rest.data, "data: ");
        if (data)
            print_event_text(data + strlen("data: "), w->is_json);
        size_t used = (size_t)(end - w->rest.data) + 2;
        memmove(w->rest.data, w->rest.data + used, w->rest.len - used + 1);
        w->rest.len -= used;
    }
    return 0;
}

static int watch(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    CLEANUP(buf_fini) struct buf url = {0};
    CLEANUP_FREE char *console = cli_console_url(conf, err);
    if (!console)
        return EXIT_NOT_RUNNING;
    buf_addf(&url, "%s/v1/watch", console);
    if (n_args) {
        buf_add_str(&url, "?line=");
        http_escape(args[0], &url);
    }
    struct watching w = {.is_json = conf_bool(conf, "json")};
    enum { FOR_EVER_MS = INT32_MAX };
    struct http_request rq = {
        .url = url.data, .timeout_ms = -1, .stall_ms = FOR_EVER_MS, .sink = on_bytes, .ctx = &w};
    CLEANUP(http_response_fini) struct http_response rs = {0};
    int rc = http_call(&rq, &rs, err);
    buf_fini(&w.rest);
    return rc ? EXIT_REFUSED : EXIT_DONE;
}

const struct cli_command console_commands[] = {
    {.name = "apply",
     .usage = "apply PIPELINE.yaml",
     .purpose = "declares a pipeline, or declares it anew",
     .example = "relearn apply electricity.yaml",
     .min_args = 1,
     .max_args = 1,
     .run = apply},
    {.name = "publish",
     .usage = "publish DATASET FILE-OR-URL",
     .purpose = "publishes a version of a dataset and waits for its outcome",
     .example = "relearn publish nsw-electricity week-12.csv",
     .options = PUBLISH_OPTIONS,
     .min_args = 2,
     .max_args = 2,
     .run = publish},
    {.name = "alert",
     .usage = "alert LINE",
     .purpose = "sends a drift alert",
     .example = "relearn alert electricity --summary 'prices were capped'",
     .options = ALERT_OPTIONS,
     .min_args = 1,
     .max_args = 1,
     .run = alert},
    {.name = "label",
     .usage = "label LINE PREDICTION VALUE | LINE FILE.csv",
     .purpose = "says what was true of a prediction, or of many (prediction,value lines)",
     .example = "relearn label electricity 7d1f0c2e9ab34c55a1b2c3d4e5f60718 1",
     .min_args = 2,
     .max_args = 3,
     .run = label},
    {.name = "predict",
     .usage = "predict LINE ROW",
     .purpose = "asks the model in service",
     .example = "relearn predict electricity period=0.5,nswprice=0.06",
     .options = PREDICT_OPTIONS,
     .min_args = 2,
     .max_args = 2,
     .run = predict},
    {.name = "retrain",
     .usage = "retrain LINE",
     .purpose = "asks for a run now",
     .example = "relearn retrain electricity --reason 'new tariff'",
     .options = SEND_OPTIONS,
     .min_args = 1,
     .max_args = 1,
     .run = retrain},
    {.name = "pause",
     .usage = "pause LINE",
     .purpose = "no more runs until resume; triggers wait",
     .example = "relearn pause electricity --reason audit",
     .options = SEND_OPTIONS,
     .min_args = 1,
     .max_args = 1,
     .run = pause_line},
    {.name = "resume",
     .usage = "resume LINE",
     .purpose = "ends a pause",
     .example = "relearn resume electricity",
     .options = SEND_OPTIONS,
     .min_args = 1,
     .max_args = 1,
     .run = resume},
    {.name = "approve",
     .usage = "approve LINE",
     .purpose = "promotes the candidate that waits",
     .example = "relearn approve electricity --reason 'looked at it'",
     .options = SEND_OPTIONS,
     .min_args = 1,
     .max_args = 1,
     .run = approve},
    {.name = "reject",
     .usage = "reject LINE",
     .purpose = "rejects the candidate that waits",
     .example = "relearn reject electricity --reason 'prices look wrong'",
     .options = SEND_OPTIONS,
     .min_args = 1,
     .max_args = 1,
     .run = reject},
    {.name = "force",
     .usage = "force LINE",
     .purpose = "promotes an evaluated model past the gate, loudly",
     .example = "relearn force electricity --target RUN --reason incident-17",
     .options = SEND_OPTIONS,
     .min_args = 1,
     .max_args = 1,
     .run = force},
    {.name = "rollback",
     .usage = "rollback LINE",
     .purpose = "back to the model before, or to that of a generation",
     .example = "relearn rollback electricity --to 3",
     .options = SEND_OPTIONS,
     .min_args = 1,
     .max_args = 1,
     .run = rollback},
    {.name = "watch",
     .usage = "watch [LINE]",
     .purpose = "events as they come",
     .example = "relearn watch electricity",
     .max_args = 1,
     .run = watch},
    {.name = "pipelines",
     .usage = "pipelines",
     .purpose = "what is declared",
     .example = "relearn pipelines --json",
     .run = pipelines},
    {.name = "lines",
     .usage = "lines",
     .purpose = "each line: what serves, what it does now and why",
     .example = "relearn lines",
     .run = lines},
    {.name = "runs",
     .usage = "runs",
     .purpose = "runs, newest first",
     .example = "relearn runs --line electricity --limit 5",
     .options = LIST_OPTIONS,
     .run = runs},
    {.name = "models",
     .usage = "models",
     .purpose = "models, newest first, and what became of them",
     .example = "relearn models --line electricity",
     .options = LIST_OPTIONS,
     .run = models},
    {.name = "history",
     .usage = "history LINE",
     .purpose = "which generation served from when to when, and why",
     .example = "relearn history electricity",
     .min_args = 1,
     .max_args = 1,
     .run = history},
    {.name = "explain",
     .usage = "explain ID",
     .purpose = "what caused an event, run, model or prediction, back to the first event",
     .example = "relearn explain 5f3c9a0d1b2e4f60718293a4b5c6d7e8",
     .min_args = 1,
     .max_args = 1,
     .run = explain},
    {.name = "deadletters",
     .usage = "deadletters [ID]",
     .purpose = "events that could not be taken, and why",
     .example = "relearn deadletters --limit 5",
     .options = LIST_OPTIONS,
     .max_args = 1,
     .run = deadletters},
    {0},
};
