/* relearn up, down, status, scale. */
#include <stdio.h>
#include <string.h>

#include "agents/relearn/cli.h"
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
    {.name = "scale", .meta = "AGENT=N,...", .help = "instances of agents; default: one of each"},
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

static int up(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    (void)args;
    (void)n_args;
    struct installation in = {0};
    struct installation_options o = {
        .data = conf_str(conf, "data"),
        .brokers = conf_str(conf, "brokers"),
        .prefix = conf_str(conf, "prefix"),
        .registry = conf_str(conf, "registry"),
        .partitions = (int)conf_int(conf, "partitions"),
        .log_level = conf_str(conf, "log-level"),
        .console_listen = conf_str(conf, "console-listen"),
        .serve_listen = conf_str(conf, "serve-listen"),
        .scale = conf_str(conf, "scale"),
        .by_group = conf_bool(conf, "by-group"),
    };
    o.n_x = conf_x(conf, &o.x);
    if (installation_start(&o, &in, err))
        return EXIT_REFUSED;
    if (conf_bool(conf, "json")) {
        CLEANUP(json_freep) struct json *j = json_object();
        json_set_str(j, "data", in.data);
        json_set_str(j, "brokers", in.brokers);
        json_set_str(j, "console", in.console_url);
        json_set_int(j, "pid", in.pid);
        cli_print_json(j);
    } else {
        printf("up in %s: bus %s%s, console %s\n", in.data, in.brokers,
               in.is_embedded ? " (embedded: one machine, 5 MiB a partition in memory)" : "",
               in.console_url);
    }
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

/* What the instance says of itself, merged into what the supervisor knows. */
static void ask_instance(struct json *instance)
{
    const char *url = json_get_str(instance, "url", "");
    struct err none = {0};
    if (strcmp(json_get_str(instance, "agent", ""), "broker") == 0 || !url[0])
        return;
    struct json *own = cli_get(url, "/status", &none);
    json_set_bool(instance, "answers", own != NULL);
    json_set_bool(instance, "bus", json_get_bool(own, "bus", false));
    json_set_int(instance, "pending", json_get_int(own, "pending", 0));
    json_free(own);
}

static int print_status(const struct json *status, const struct installation *in)
{
    const struct json *list = json_get(status, "instances");
    bool all_ready = true;
    printf("%s on %s%s\n", in->data, in->brokers,
           in->is_embedded ? " (embedded bus: what its journal has not acknowledged yet, at most "
                             "the last moments before a kill -9, may be lost)"
                           : "");
    printf("%-14s %-9s %8s %9s %8s  %s\n", "instance", "state", "pid", "restarts", "pending",
           "address");
    for (size_t i = 0; i < json_len(list); i++) {
        const struct json *c = json_at(list, i);
        bool is_ready = strcmp(json_get_str(c, "state", ""), "ready") == 0;
        all_ready = all_ready && is_ready;
        printf("%-14s %-9s %8lld %9lld %8lld  %s", json_get_str(c, "instance", ""),
               json_get_str(c, "state", ""), (long long)json_get_int(c, "pid", 0),
               (long long)json_get_int(c, "restarts", 0), (long long)json_get_int(c, "pending", 0),
               json_get_str(c, "url", ""));
        if (!is_ready && json_get(c, "last_exit"))
            printf("  last exit %lld, signal %lld, next start in at most %lld ms; see %s",
                   (long long)json_get_int(c, "last_exit", 0),
                   (long long)json_get_int(c, "last_signal", 0),
                   (long long)json_get_int(c, "pause_ms", 0), json_get_str(c, "log", ""));
        printf("\n");
    }
    return all_ready ? EXIT_DONE : EXIT_REFUSED;
}

static int status(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    (void)args;
    (void)n_args;
    struct installation in = {0};
    if (installation_find(conf_str(conf, "data"), &in, err))
        return EXIT_NOT_RUNNING;
    struct json *j = cli_get(in.control_url, "/status", err);
    int code = EXIT_REFUSED;
    const struct json *list = json_get(j, "instances");
    for (size_t i = 0; i < json_len(list); i++)
        ask_instance((struct json *)(uintptr_t)json_at(list, i));
    if (j && conf_bool(conf, "json")) {
        cli_print_json(j);
        code = json_get_bool(j, "ready", false) ? EXIT_DONE : EXIT_REFUSED;
    } else if (j) {
        code = print_status(j, &in);
    }
    json_free(j);
    installation_fini(&in);
    return code;
}

static int scale(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    struct installation in = {0};
    if (installation_find(conf_str(conf, "data"), &in, err))
        return EXIT_NOT_RUNNING;
    int code = EXIT_DONE;
    for (size_t i = 0; i < n_args && code == EXIT_DONE; i++) {
        const char *equals = strchr(args[i], '=');
        if (!equals) {
            err_inval(err, "%s: give AGENT=N, for example train=2", args[i]);
            code = EXIT_USAGE;
            break;
        }
        CLEANUP_FREE char *path =
            xasprintf("/scale?agent=%.*s&n=%s", (int)(equals - args[i]), args[i], equals + 1);
        struct json *j = cli_post(in.control_url, path, "application/json", slice_str("{}"), err);
        code = j ? EXIT_DONE : EXIT_REFUSED;
        if (j && conf_bool(conf, "json"))
            cli_print_json(j);
        json_free(j);
    }
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
     .run = status},
    {.name = "scale",
     .usage = "scale AGENT=N ...",
     .purpose = "changes the number of instances of an agent",
     .example = "relearn scale train=2",
     .min_args = 1,
     .max_args = 9,
     .run = scale},
    {0},
};
