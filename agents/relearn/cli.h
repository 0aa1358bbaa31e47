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
    /* exit code; with *err set it is printed */
    int (*run)(struct conf *conf, const char *const *args, size_t n_args, struct err *err);
    int (*main)(int argc, char **argv); /* instead of run: parses for itself */
    bool is_hidden;
};
extern const struct conf_option cli_options[]; /* data, console, json */

/* Commands, by file; each ends with a {0} row. */
extern const struct cli_command up_commands[];      /* cmd_up.c, cmd_status.c */
extern const struct cli_command topics_commands[];  /* cmd_topics.c */
extern const struct cli_command dead_commands[];    /* cmd_dead.c */
extern const struct cli_command doctor_commands[];  /* cmd_doctor.c */
extern const struct cli_command state_commands[];   /* cmd_state.c */
extern const struct cli_command gc_commands[];      /* cmd_gc.c */
extern const struct cli_command send_commands[];    /* cmd_send.c: what goes in */
extern const struct cli_command command_commands[]; /* cmd_command.c: what operators ask for */
extern const struct cli_command ask_commands[];     /* cmd_ask.c: what is known */
extern const struct cli_command track_commands[];   /* cmd_track.c: what was tried */
extern const struct cli_command verify_commands[];  /* cmd_verify.c */
extern const struct cli_command gate_commands[];    /* cmd_gate.c: decided again */

/* cmd_status.c, cmd_predict.c, cmd_watch.c: one each. */
int cmd_status(struct conf *conf, const char *const *args, size_t n_args, struct err *err);
int cmd_predict(struct conf *conf, const char *const *args, size_t n_args, struct err *err);
int cmd_watch(struct conf *conf, const char *const *args, size_t n_args, struct err *err);

/* The console: --console URL, else of the installation in --data. ERR_NOTFOUND when nothing runs
 * there. */
char *cli_console_url(const struct conf *conf, struct err *err);
/* The parsed answer (the caller's); NULL on errors and when the answer is not 2xx (the message is
 * the answer's). */
struct json *cli_get(const char *url, const char *path, struct err *err);
struct json *cli_post(const char *url, const char *path, const char *content_type,
                      struct slice body, struct err *err);
struct json *cli_delete(const char *url, const char *path, struct err *err);
/* The exit code for an error of the calls above: was nobody there, or was it refused? */
int cli_exit_code(const struct err *err);
/* Who sends it: --by, else the user's name. */
const char *cli_by(const struct conf *conf);
/* Posts a record to the console, waits for the event that answers it (--wait), prints that; the
 * exit code. */
int cli_send_and_wait(struct conf *conf, const char *path, const struct json *record,
                      struct err *err);
void cli_print_json(const struct json *j); /* one document, indented */
/* Relative to the current folder, absolute: the caller frees. */
char *cli_absolute(const char *path);

#endif
