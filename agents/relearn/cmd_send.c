/* What goes in: pipelines, datasets, alerts, labels, requests for a prediction. */
#include <stdio.h>
#include <string.h>

#include "agents/relearn/cli.h"
#include "common/fsx.h"
#include "common/mem.h"
#include "common/pipeline.h"

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
    {.name = "rows",
     .type = CONF_INT,
     .meta = "N",
     .help = "data rows that there must be",
     .min = 0,
     .max = -1},
    {.name = "by", .meta = "NAME", .help = "who publishes; default: the user's name"},
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
     .help = "generation that the alert is about; default: the one in service",
     .min = 0,
     .max = -1},
    {.name = "by", .meta = "NAME", .help = "who alerts; default: the user's name"},
    {0},
};
static const struct conf_option BY_OPTIONS[] = {
    {.name = "by", .meta = "NAME", .help = "who declares it; default: the user's name"},
    {0},
};
static const struct conf_option PREDICT_OPTIONS[] = {
    {.name = "serve",
     .meta = "URL",
     .help = "address of an instance of serve; default: one of the installation"},
    {0},
};

/* ---- pipelines ---- */

static int apply(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    (void)n_args;
    CLEANUP(buf_fini) struct buf yaml = {0};
    CLEANUP(buf_fini) struct buf path = {0};
    struct pipeline *p = NULL; /* read here first: the message names the user's file */
    if (fsx_read_file(args[0], PIPELINE_MAX_BYTES, &yaml, err) ||
        pipeline_parse(buf_slice(&yaml), args[0], &p, err))
        return EXIT_REFUSED;
    CLEANUP_FREE char *console = cli_console_url(conf, err);
    CLEANUP(json_freep) struct json *sent = NULL;
    buf_add_str(&path, "/v1/pipelines?by=");
    http_escape(cli_by(conf), &path);
    if (console)
        sent = cli_post(console, path.data, "application/yaml", buf_slice(&yaml), err);
    if (sent && conf_bool(conf, "json"))
        cli_print_json(sent);
    else if (sent)
        printf("pipeline %s is declared (dataset %s, label %s)\n", p->name, p->dataset, p->label);
    pipeline_free(p);
    return sent ? EXIT_DONE : console ? cli_exit_code(err) : EXIT_NOT_RUNNING;
}

static int withdraw(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    (void)n_args;
    CLEANUP(buf_fini) struct buf path = {0};
    CLEANUP_FREE char *console = cli_console_url(conf, err);
    if (!console)
        return EXIT_NOT_RUNNING;
    buf_add_str(&path, "/v1/pipelines/");
    http_escape(args[0], &path);
    CLEANUP(json_freep) struct json *sent = cli_delete(console, path.data, err);
    if (!sent)
        return cli_exit_code(err);
    if (conf_bool(conf, "json"))
        cli_print_json(sent);
    else
        printf("pipeline %s is withdrawn: no more runs; what serves goes on serving\n", args[0]);
    return EXIT_DONE;
}

/* ---- datasets, alerts ---- */

static int set_source(struct json *j, const char *source, struct err *err)
{
    if (strstr(source, "://")) {
        json_set_str(j, "uri", source);
        return 0;
    }
    CLEANUP_FREE char *full = cli_absolute(source);
    if (!fsx_exists(full))
        return err_set(err, ERR_NOTFOUND, NEXT_REJECT, "there is no file %s", full);
    CLEANUP_FREE char *uri = xasprintf("file://%s", full);
    json_set_str(j, "uri", uri);
    json_set_int(j, "size_bytes", fsx_size(full));
    return 0;
}

static int publish(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    (void)n_args;
    static const struct {
        const char *option, *member;
    } TEXTS[] = {{"dataset-version", "version"}, {"format", "format"}, {"sha256", "sha256"}};
    CLEANUP(json_freep) struct json *j = json_object();
    json_set_str(j, "dataset", args[0]);
    if (set_source(j, args[1], err))
        return EXIT_REFUSED;
    json_set_str(j, "by", cli_by(conf));
    for (size_t i = 0; i < ARRAY_LEN(TEXTS); i++)
        if (conf_str(conf, TEXTS[i].option))
            json_set_str(j, TEXTS[i].member, conf_str(conf, TEXTS[i].option));
    if (conf_is_set(conf, "rows"))
        json_set_int(j, "rows", conf_int(conf, "rows"));
    return cli_send_and_wait(conf, "/v1/datasets", j, err);
}

static int alert(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    (void)n_args;
    CLEANUP(json_freep) struct json *j = json_object();
    json_set_str(j, "line", args[0]);
    json_set_str(j, "source", cli_by(conf));
    if (conf_str(conf, "summary"))
        json_set_str(j, "summary", conf_str(conf, "summary"));
    if (conf_is_set(conf, "generation"))
        json_set_int(j, "generation", conf_int(conf, "generation"));
    return cli_send_and_wait(conf, "/v1/alerts", j, err);
}

/* ---- labels ---- */

static struct json *post_labels(const char *console, const char *const *args, size_t n_args,
                                struct err *err)
{
    enum { MAX_CSV_BYTES = 60 << 20 };
    CLEANUP(buf_fini) struct buf body = {0};
    CLEANUP(buf_fini) struct buf path = {0};
    if (n_args == 2) {
        if (fsx_read_file(args[1], MAX_CSV_BYTES, &body, err))
            return NULL;
        buf_add_str(&path, "/v1/labels?line=");
        http_escape(args[0], &path);
        return cli_post(console, path.data, "text/csv", buf_slice(&body), err);
    }
    CLEANUP(json_freep) struct json *j = json_object();
    json_set_str(j, "line", args[0]);
    json_set_str(j, "prediction", args[1]);
    json_set_str(j, "value", args[2]);
    json_write(j, 0, false, &body);
    return cli_post(console, "/v1/labels", "application/json", buf_slice(&body), err);
}

static int label(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    CLEANUP_FREE char *console = cli_console_url(conf, err);
    if (!console)
        return EXIT_NOT_RUNNING;
    CLEANUP(json_freep) struct json *sent = post_labels(console, args, n_args, err);
    if (!sent)
        return cli_exit_code(err);
    if (conf_bool(conf, "json"))
        cli_print_json(sent);
    else
        printf("%lld labels sent\n", (long long)json_get_int(sent, "published", 0));
    return EXIT_DONE;
}

const struct cli_command send_commands[] = {
    {.name = "apply",
     .usage = "apply PIPELINE.yaml",
     .purpose = "declares a pipeline, or declares it anew",
     .example = "relearn apply electricity.yaml",
     .options = BY_OPTIONS,
     .min_args = 1,
     .max_args = 1,
     .run = apply},
    {.name = "withdraw",
     .usage = "withdraw PIPELINE",
     .purpose = "takes a pipeline's declaration back: no more runs",
     .example = "relearn withdraw electricity",
     .min_args = 1,
     .max_args = 1,
     .run = withdraw},
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
     .usage = "label LINE PREDICTION VALUE",
     .purpose = "says what was true of a prediction; label LINE FILE.csv: of many "
                "(prediction,value lines)",
     .example = "relearn label electricity 7d1f0c2e9ab34c55a1b2c3d4e5f60718 1",
     .min_args = 2,
     .max_args = 3,
     .run = label},
    {.name = "predict",
     .usage = "predict LINE ROW",
     .purpose = "asks the model in service; ROW is column=value,... or a JSON object",
     .example = "relearn predict electricity period=0.5,nswprice=0.06",
     .options = PREDICT_OPTIONS,
     .min_args = 2,
     .max_args = 2,
     .run = cmd_predict},
    {0},
};
