/* relearn up, down, scale; and the row of status. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agents/relearn/cli.h"
#include "agents/relearn/scale.h"
#include "common/clk.h"
#include "common/mem.h"

static const struct conf_option UP_OPTIONS[] = {
    {.name = "brokers",
     .letter = 'b',
     .meta = "HOST:PORT,...",
     .help = "Kafka to use; none: the embedded bus is started"},
    {.name = "prefix",
     .fallback = "relearn.",
     .meta = "TEXT",
     .help = "in front of every topic's name"},
    {.name = "partitions",
     .type = CONF_INT,
     .fallback = "0",
     .meta = "N",
     .help = "of topics that are created; 0: the default",
     .max = 1000},
    {.name = "registry", .meta = "URL", .help = "schema registry (Confluent's protocol)"},
    {.name = "console-listen",
     .fallback = "127.0.0.1:0",
     .meta = "HOST:PORT",
     .help = "where the console answers"},
    {.name = "serve-listen",
     .fallback = "127.0.0.1:0",
     .meta = "HOST:PORT",
     .help = "where the first instance of serve answers"},
    {.name = "artifacts",
     .meta = "URL",
     .help = "artefact store, file:///path; default: DATA/artifacts"},
    {.name = "scale",
     .meta = "AGENT=N,...",
     .help = "instances of agents; default: as they were scaled last, else one of each"},
    {.name = "by-group",
     .type = CONF_BOOL,
     .fallback = "false",
     .help = "share work by consumer groups instead of by numbers"},
    {.name = "log-level",
     .fallback = "info",
     .meta = "LEVEL",
     .help = "debug, info, warn or error"},
    {0},
};

static void print_up(const struct installation *in, bool is_json)
{
    if (!is_json) {
        printf("up in %s: bus %s%s, console %s\n", in->data, in->brokers,
               in->is_embedded ? " (embedded: one machine, 5 MiB a partition in memory)" : "",
               in->console_url);
        return;
    }
    CLEANUP(json_freep) struct json *j = json_object();
    json_set_str(j, "data", in->data);
    json_set_str(j, "brokers", in->brokers);
    json_set_bool(j, "embedded", in->is_embedded);
    json_set_str(j, "console", in->console_url);
    json_set_int(j, "pid", in->pid);
    cli_print_json(j);
}

static int up(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    (void)args;
    (void)n_args;
    struct installation in = {0};
    struct scale scale;
    struct installation_options o = {
        .data = conf_str(conf, "data"),
        .brokers = conf_str(conf, "brokers"),
        .prefix = conf_str(conf, "prefix"),
        .registry = conf_str(conf, "registry"),
        .artifacts = conf_str(conf, "artifacts"),
        .partitions = (int)conf_int(conf, "partitions"),
        .log_level = conf_str(conf, "log-level"),
        .console_listen = conf_str(conf, "console-listen"),
        .serve_listen = conf_str(conf, "serve-listen"),
        .scale = conf_str(conf, "scale"),
        .by_group = conf_bool(conf, "by-group"),
    };
    o.n_x = conf_x(conf, &o.x);
    scale_init(&scale);
    if (scale_parse(&scale, o.scale, err)) {
        err_wrap(err, "--scale");
        return EXIT_USAGE;
    }
    if (installation_start(&o, &in, err))
        return EXIT_REFUSED;
    print_up(&in, conf_bool(conf, "json"));
    installation_fini(&in);
    return EXIT_DONE;
}

static int down(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    (void)args;
    (void)n_args;
    struct installation in = {0};
    if (installation_find(conf_str(conf, "data"), &in, err))
        return EXIT_NOT_RUNNING;
    int rc = installation_stop(&in, err);
    if (!rc && conf_bool(conf, "json"))
        printf("{\"stopped\": true}\n");
    else if (!rc)
        printf("stopped\n");
    installation_fini(&in);
    return rc ? EXIT_REFUSED : EXIT_DONE;
}

/* ---- scale ---- */

static const struct conf_option SCALE_OPTIONS[] = {
    {.name = "wait",
     .type = CONF_DURATION,
     .fallback = "60s",
     .meta = "TIME",
     .help = "how long to wait until every instance is ready; 0: do not wait",
     .max = 600000},
    {0},
};

static bool is_settled(const struct json *status)
{
    const struct json *list = json_get(status, "instances");
    for (size_t i = 0; i < json_len(list); i++) /* none on its way out either */
        if (strcmp(json_get_str(json_at(list, i), "state", ""), "ready") != 0)
            return false;
    return true;
}

/* The newest status, the caller's; NULL: nobody answered. */
static struct json *await_ready(const char *control_url, struct json *status, int64_t wait_ms,
                                struct err *err)
{
    enum { LOOK_MS = 100 };
    int64_t deadline = clk_mono_ms(&clk_system) + wait_ms;
    while (status && !is_settled(status) && clk_mono_ms(&clk_system) < deadline) {
        usleep(LOOK_MS * 1000);
        json_free(status);
        status = cli_get(control_url, "/status", err);
    }
    return status;
}

static void print_instances(const struct json *status)
{
    const struct json *list = json_get(status, "instances");
    for (size_t i = 0; i < json_len(list); i++) {
        const struct json *c = json_at(list, i);
        printf("%-14s %s\n", json_get_str(c, "instance", ""), json_get_str(c, "state", ""));
    }
}

static int scale_to(struct conf *conf, const char *control_url, const char *to, struct err *err)
{
    CLEANUP(buf_fini) struct buf path = {0};
    int64_t wait_ms = conf_int(conf, "wait");
    buf_add_str(&path, "/scale?to=");
    http_escape(to, &path);
    CLEANUP(json_freep) struct json *status = NULL;
    status = cli_post(control_url, path.data, "application/json", (struct slice){0}, err);
    status = await_ready(control_url, status, wait_ms, err);
    if (!status)
        return cli_exit_code(err);
    if (conf_bool(conf, "json"))
        cli_print_json(status);
    else
        print_instances(status);
    if (!wait_ms || is_settled(status))
        return EXIT_DONE;
    err_set(err, ERR_TIMEOUT, NEXT_REJECT, "not every instance is ready yet: `relearn status`");
    return EXIT_REFUSED;
}

static int scale(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    struct installation in = {0};
    struct scale checked;
    CLEANUP(buf_fini) struct buf to = {0};
    scale_init(&checked);
    for (size_t i = 0; i < n_args; i++) {
        if (scale_parse(&checked, args[i], err))
            return EXIT_USAGE;
        buf_addf(&to, "%s%s", i ? "," : "", args[i]);
    }
    if (installation_find(conf_str(conf, "data"), &in, err))
        return EXIT_NOT_RUNNING;
    int code = scale_to(conf, in.control_url, to.data, err);
    installation_fini(&in);
    return code;
}

const struct cli_command up_commands[] = {
    {.name = "up",
     .usage = "up",
     .purpose = "starts the bus (unless --brokers) and every agent, and watches them",
     .example = "relearn up --data relearn-data",
     .options = UP_OPTIONS,
     .run = up},
    {.name = "down",
     .usage = "down",
     .purpose = "stops everything that up started",
     .example = "relearn down",
     .run = down},
    {.name = "status",
     .usage = "status",
     .purpose = "what runs, since when, how often it was started again, where it answers",
     .example = "relearn status --json",
     .run = cmd_status},
    {.name = "scale",
     .usage = "scale AGENT=N ...",
     .purpose = "changes the number of instances of an agent",
     .example = "relearn scale train=2",
     .options = SCALE_OPTIONS,
     .min_args = 1,
     .max_args = 9,
     .run = scale},
    {0},
};
