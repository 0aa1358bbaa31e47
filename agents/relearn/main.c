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
static const struct cli_command *const TABLES[] = {
    up_commands,  OWN_COMMANDS,    topics_commands, send_commands,   command_commands,
    ask_commands, track_commands,  dead_commands,   doctor_commands, state_commands,
    gc_commands,  verify_commands, gate_commands};

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
    fprintf(to, "relearn keeps machine-learning models right after they are deployed.\n\n"
                "usage: relearn COMMAND [options]   (relearn COMMAND --help says more)\n");
    for (size_t t = 0; t < ARRAY_LEN(TABLES); t++) {
        fprintf(to, "\n");
        for (const struct cli_command *c = TABLES[t]; c->name; c++)
            if (!c->is_hidden)
                fprintf(to, "  %-30s %s\n", c->usage, c->purpose);
    }
    fprintf(to, "\nexit codes: 0 done, 1 not done or refused, 2 wrong usage, 3 nothing runs "
                "there\n");
}

/* The table of commands for the README. */
static void print_docs(void)
{
    printf("| command | does |\n| --- | --- |\n");
    for (size_t t = 0; t < ARRAY_LEN(TABLES); t++)
        for (const struct cli_command *c = TABLES[t]; c->name; c++)
            if (!c->is_hidden)
                printf("| `relearn %s` | %s |\n", c->usage, c->purpose);
}

/* What holds for every command. */
static int print_config(int argc, char **argv)
{
    const struct conf_option *tables[] = {cli_options, NULL};
    struct conf *conf = NULL;
    struct err err = {0};
    CLEANUP(buf_fini) struct buf text = {0};
    if (conf_parse(tables, argc, argv, &conf, &err)) {
        fprintf(stderr, "relearn: %s\n", err.msg);
        return EXIT_USAGE;
    }
    conf_print_if_asked(conf, "relearn", "", NULL, &text);
    fwrite(text.data ? text.data : "", 1, text.len, stdout);
    conf_free(conf);
    return EXIT_DONE;
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

static bool is_any(const char *s, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(s, words[i]) == 0)
            return true;
    return false;
}

int main(int argc, char **argv)
{
    static const char *const HELP[] = {"help", "--help", "-h"};
    static const char *const PRINT[] = {"--version", "--print-config"};
    signal(SIGPIPE, SIG_IGN);
    log_init("relearn", LOG_WARN);
    if (argc < 2) {
        print_usage(stderr);
        return EXIT_USAGE;
    }
    const char *word = argv[1];
    if (is_any(word, HELP, ARRAY_LEN(HELP))) {
        const struct cli_command *c = argc > 2 ? find(argv[2]) : NULL;
        char *ask[] = {argv[0], (char *)(uintptr_t) "--help", NULL};
        if (c)
            return run_command(c, 2, ask);
        print_usage(stdout);
        return EXIT_DONE;
    }
    if (strcmp(word, "--docs") == 0) {
        print_docs();
        return EXIT_DONE;
    }
    if (is_any(word, PRINT, ARRAY_LEN(PRINT)))
        return print_config(argc, argv);
    const struct cli_command *c = find(word);
    if (!c) {
        fprintf(stderr, "relearn: there is no command %s; relearn help lists them\n", word);
        return EXIT_USAGE;
    }
    return run_command(c, argc - 1, argv + 1);
}
