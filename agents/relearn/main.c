/* relearn: one program, many commands.  Each is a row of a table; see cli.h. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "agents/relearn/cli.h"
#include "agents/relearn/replay.h"
#include "agents/relearn/supervisor.h"
#include "common/log.h"
#include "common/mem.h"

static const struct cli_command OWN_COMMANDS[] = {
    {.name = "replay",
     .usage = "replay FILE.csv --label COLUMN",
     .purpose = "plays a CSV file in time order through the loop, as if it were live",
     .main = replay_main},
    {.name = "demo",
     .usage = "demo",
     .purpose = "replays generated data with two planted changes",
     .main = demo_main},
    {.name = "supervise",
     .usage = "supervise",
     .purpose = "runs and watches the agents of an installation (started by up)",
     .main = supervisor_main,
     .is_hidden = true},
    {0},
};
static const struct cli_command *const TABLES[] = {up_commands, OWN_COMMANDS, topics_commands,
                                                   console_commands};

static const struct cli_command *find(const char *name)
{
    for (size_t t = 0; t < ARRAY_LEN(TABLES); t++)
        for (const struct cli_command *c = TABLES[t]; c->name; c++)
            if (strcmp(c->name, name) == 0)
                return c;
    return NULL;
}

static void print_usage(FILE *to)
{
    fprintf(to, "relearn keeps machine-learning models right after they are deployed.\n\nusage: "
                "relearn COMMAND [options]   (relearn COMMAND --help says more)\n\n");
    for (size_t t = 0; t < ARRAY_LEN(TABLES); t++)
        for (const struct cli_command *c = TABLES[t]; c->name; c++)
            if (!c->is_hidden)
                fprintf(to, "  %-36s %s\n", c->usage, c->purpose);
    fprintf(to,
            "\nexit codes: 0 done, 1 not done or refused, 2 wrong usage, 3 nothing runs there\n");
}

static int run_parsed(const struct cli_command *c, struct conf *conf)
{
    const char *const *args;
    struct err err = {0};
    size_t n = conf_args(conf, &args);
    if (n < c->min_args || n > c->max_args) {
        fprintf(stderr, "relearn %s: usage: relearn %s\n", c->name, c->usage);
        return EXIT_USAGE;
    }
    int code = c->run(conf, args, n, &err);
    if (err.code)
        fprintf(stderr, "relearn %s: %s\n", c->name, err.msg);
    return code;
}

static int run_command(const struct cli_command *c, int argc, char **argv)
{
    if (c->main)
        return c->main(argc, argv);
    const struct conf_option *tables[] = {cli_options, c->options, NULL};
    struct conf *conf = NULL;
    struct err err = {0};
    CLEANUP(buf_fini) struct buf help = {0};
    CLEANUP_FREE char *program = xasprintf("relearn %s", c->usage);
    if (conf_parse(tables, argc, argv, &conf, &err)) {
        fprintf(stderr, "relearn %s: %s\n", c->name, err.msg);
        return EXIT_USAGE;
    }
    int code = EXIT_DONE;
    if (conf_print_if_asked(conf, program, c->purpose, c->example, &help))
        fwrite(help.data, 1, help.len, stdout);
    else
        code = run_parsed(c, conf);
    conf_free(conf);
    return code;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    log_init("relearn", LOG_WARN);
    if (argc < 2 || strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 ||
        strcmp(argv[1], "-h") == 0) {
        print_usage(argc < 2 ? stderr : stdout);
        return argc < 2 ? EXIT_USAGE : EXIT_DONE;
    }
    const struct cli_command *c = find(argv[1]);
    if (!c) {
        fprintf(stderr, "relearn: no command %s; relearn help lists them\n", argv[1]);
        return EXIT_USAGE;
    }
    return run_command(c, argc - 1, argv + 1);
}
