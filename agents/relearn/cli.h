/* What every command of `relearn` shares: its table of options, --help with an example, --json,
 * exit codes, and the way to the installation's console.
 *
 * Exit codes: 0 done; 1 not done or refused (the reason is on stderr); 2 wrong usage; 3 nothing
 * runs there. */
#ifndef RELEARN_CLI_H
#define RELEARN_CLI_H

#include "agents/relearn/installation.h"
#include "common/conf.h"
#include "common/http.h"
#include "common/json.h"

enum { EXIT_DONE = 0, EXIT_REFUSED = 1, EXIT_USAGE = 2, EXIT_NOT_RUNNING = 3 };

struct cli_command {
    const char *name;
    const char *usage;   /* "publish DATASET FILE-OR-URL" */
    const char *purpose; /* one sentence */
    const char *example;
    const struct conf_option *options; /* its own; cli_options are there as well; may be NULL */
    size_t min_args, max_args;         /* positional */
    int (*run)(struct conf *conf, const char *const *args, size_t n_args,
               struct err *err);        /* exit code; with *err set it is printed */
    int (*main)(int argc, char **argv); /* instead of run: parses for itself */
    bool is_hidden;
};
extern const struct conf_option cli_options[]; /* data, console, json */

/* Commands, by file. */
extern const struct cli_command up_commands[];     /* cmd_up.c; ends with a {0} row, as all do */
extern const struct cli_command topics_commands[]; /* cmd_topics.c */
extern const struct cli_command
    console_commands[]; /* cmd_console.c: what goes through the console */

/* The console: --console URL, else of the installation in --data. ERR_NOTFOUND when nothing runs
 * there. */
char *cli_console_url(const struct conf *conf, struct err *err);
/* GET/POST on the console; the parsed answer (the caller's), NULL on errors and non-2xx (message
 * from the body). */
struct json *cli_get(const char *console_url, const char *path, struct err *err);
struct json *cli_post(const char *console_url, const char *path, const char *content_type,
                      struct slice body, struct err *err);
void cli_print_json(const struct json *j); /* one document, indented */
/* Relative to the current folder, absolute: the caller frees. */
char *cli_absolute(const char *path);

#endif
