/* What is known: each command asks the console and prints its answer. */
#include <stdio.h>
#include <string.h>

#include "agents/relearn/cli.h"
#include "agents/relearn/cmd_print.h"
#include "common/mem.h"

#define LIMIT_OPTION                                                                               \
    {                                                                                              \
        .name = "limit", .type = CONF_INT, .fallback = "20", .meta = "N",                          \
        .help = "at most so many", .min = 1, .max = 1000                                           \
    }
static const struct conf_option LIST_OPTIONS[] = {
    {.name = "line",
     .letter = 'l',
     .meta = "LINE",
     .help = "only of this line, or of every line of this pipeline"},
    LIMIT_OPTION,
    {0},
};

static const struct conf_option RUNS_OPTIONS[] = {
    {.name = "line",
     .letter = 'l',
     .meta = "LINE",
     .help = "only of this line, or of every line of this pipeline"},
    {.name = "filter",
     .letter = 'f',
     .meta = "FILTER",
     .help = "only runs that fit, as in: metric.auc > 0.8 and trigger = drift"},
    {.name = "sort",
     .letter = 's',
     .meta = "FIELD[:desc]",
     .help = "by any field of a filter; default: started:desc"},
    {.name = "cursor", .meta = "CURSOR", .help = "go on behind the run that came with it"},
    LIMIT_OPTION,
    {0},
};

static int ask(struct conf *conf, const char *path, void (*print)(const struct json *j),
               struct err *err)
{
    CLEANUP_FREE char *console = cli_console_url(conf, err);
    if (!console)
        return EXIT_NOT_RUNNING;
    CLEANUP(json_freep) struct json *j = cli_get(console, path, err);
    if (!j)
        return cli_exit_code(err);
    if (conf_bool(conf, "json"))
        cli_print_json(j);
    else
        print(j);
    return EXIT_DONE;
}

static int ask_list(struct conf *conf, const char *what, void (*print)(const struct json *j),
                    struct err *err)
{
    CLEANUP(buf_fini) struct buf path = {0};
    buf_addf(&path, "/v1/%s?limit=%lld", what, (long long)conf_int(conf, "limit"));
    if (conf_str(conf, "line")) {
        buf_add_str(&path, "&line=");
        http_escape(conf_str(conf, "line"), &path);
    }
    return ask(conf, path.data, print, err);
}

static int ask_about(struct conf *conf, const char *path, const char *what,
                     void (*print)(const struct json *j), struct err *err)
{
    CLEANUP(buf_fini) struct buf full = {0};
    buf_add_str(&full, path);
    http_escape(what, &full);
    return ask(conf, full.data, print, err);
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

static void add_query(struct buf *path, const struct conf *conf, const char *name)
{
    const char *value = conf_str(conf, name);
    if (!value)
        return;
    buf_addf(path, "&%s=", name);
    http_escape(value, path);
}

/* The filter is an argument too: a word less to type. */
static int runs(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    static const char *const NAMES[] = {"line", "filter", "sort", "cursor"};
    CLEANUP(buf_fini) struct buf path = {0};
    CLEANUP_FREE char *console = cli_console_url(conf, err);
    int64_t limit = conf_int(conf, "limit");
    if (!console)
        return EXIT_NOT_RUNNING;
    if (n_args && conf_str(conf, "filter")) {
        err_inval(err, "a filter is given twice; give it as an argument or with --filter");
        return EXIT_USAGE;
    }
    buf_addf(&path, "/v1/runs?limit=%lld", (long long)limit);
    for (size_t i = 0; i < ARRAY_LEN(NAMES); i++)
        add_query(&path, conf, NAMES[i]);
    if (n_args) {
        buf_add_str(&path, "&filter=");
        http_escape(args[0], &path);
    }
    CLEANUP(json_freep) struct json *j = cli_get(console, path.data, err);
    if (!j)
        return cli_exit_code(err);
    if (conf_bool(conf, "json")) {
        cli_print_json(j);
        return EXIT_DONE;
    }
    print_runs(j);
    const struct json *last = json_at(j, json_len(j) - 1);
    if ((int64_t)json_len(j) == limit && json_get_str(last, "cursor", NULL))
        printf("there may be more: --cursor %s\n", json_get_str(last, "cursor", ""));
    return EXIT_DONE;
}

static int models(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    (void)args;
    (void)n_args;
    return ask_list(conf, "models", print_models, err);
}

static int history(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    (void)n_args;
    return ask_about(conf, "/v1/history?line=", args[0], print_history, err);
}

static int explain(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    (void)n_args;
    return ask_about(conf, "/v1/explain?id=", args[0], print_explanation, err);
}

const struct cli_command ask_commands[] = {
    {.name = "watch",
     .usage = "watch [LINE]",
     .purpose = "events as they come, until it is stopped; with --json one object a line",
     .example = "relearn watch electricity",
     .max_args = 1,
     .run = cmd_watch},
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
     .usage = "runs [FILTER]",
     .purpose = "runs, newest first or in the order of --sort, those that fit a filter",
     .example = "relearn runs 'metric.auc > 0.8 and trigger = drift' --sort metric.auc:desc",
     .options = RUNS_OPTIONS,
     .max_args = 1,
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
    {0},
};
