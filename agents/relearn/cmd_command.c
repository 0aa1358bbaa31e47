/* What operators ask of a line: each command is an event, and is over when another event answers
 * it. */
#include <stdio.h>

#include "agents/relearn/cli.h"
#include "common/clk.h"

#define WAIT_OPTION                                                                                \
    {                                                                                              \
        .name = "wait", .type = CONF_DURATION, .fallback = "60s", .meta = "TIME",                  \
        .help = "how long to wait for the event that answers; 0: do not wait", .max = 600000       \
    }
#define BY_OPTION                                                                                  \
    {                                                                                              \
        .name = "by", .meta = "NAME", .help = "who asks; default: the user's name"                 \
    }
#define REASON_OPTION                                                                              \
    {                                                                                              \
        .name = "reason", .letter = 'r', .meta = "TEXT", .help = "why, for the record"             \
    }
#define GENERATION_OPTION                                                                          \
    {                                                                                              \
        .name = "generation", .type = CONF_INT, .meta = "N",                                       \
        .help = "only if the line is still at this generation", .min = 0, .max = -1                \
    }

static const struct conf_option RUN_OPTIONS[] = {WAIT_OPTION, BY_OPTION, REASON_OPTION, {0}};
static const struct conf_option DECISION_OPTIONS[] = {
    WAIT_OPTION,
    BY_OPTION,
    REASON_OPTION,
    GENERATION_OPTION,
    {.name = "target", .meta = "ID", .help = "the decision, run or model; default: the newest"},
    {.name = "expires",
     .type = CONF_DURATION,
     .meta = "TIME",
     .help = "refused when the gate comes to it only after so long",
     .min = 1000,
     .max = 0x1p40},
    {0},
};
static const struct conf_option ROLLBACK_OPTIONS[] = {
    WAIT_OPTION,
    BY_OPTION,
    REASON_OPTION,
    GENERATION_OPTION,
    {.name = "to",
     .type = CONF_INT,
     .meta = "N",
     .help = "to the model of this generation; default: the model before",
     .min = 1,
     .max = 0},
    {0},
};

static struct json *command_json(const struct conf *conf, const char *word, const char *line)
{
    struct json *j = json_object();
    json_set_str(j, "line", line);
    json_set_str(j, "command", word);
    json_set_str(j, "by", cli_by(conf));
    if (conf_str(conf, "reason"))
        json_set_str(j, "reason", conf_str(conf, "reason"));
    return j;
}

static int send_it(struct conf *conf, struct json *j, struct err *err)
{
    int code = cli_send_and_wait(conf, "/v1/commands", j, err);
    json_free(j);
    return code;
}

static int on_run(struct conf *conf, const char *word, const char *line, struct err *err)
{
    return send_it(conf, command_json(conf, word, line), err);
}

static int on_decision(struct conf *conf, const char *word, const char *line, struct err *err)
{
    struct json *j = command_json(conf, word, line);
    if (conf_is_set(conf, "generation"))
        json_set_int(j, "generation", conf_int(conf, "generation"));
    if (conf_str(conf, "target"))
        json_set_str(j, "target", conf_str(conf, "target"));
    if (conf_is_set(conf, "expires"))
        json_set_int(j, "expires_unix_ms", clk_unix_ms(&clk_system) + conf_int(conf, "expires"));
    return send_it(conf, j, err);
}

static int on_rollback(struct conf *conf, const char *word, const char *line, struct err *err)
{
    struct json *j = command_json(conf, word, line);
    if (conf_is_set(conf, "generation"))
        json_set_int(j, "generation", conf_int(conf, "generation"));
    if (conf_is_set(conf, "to"))
        json_set_int(j, "to_generation", conf_int(conf, "to"));
    return send_it(conf, j, err);
}

#define COMMAND(name, word, how)                                                                   \
    static int name(struct conf *conf, const char *const *args, size_t n_args, struct err *err)    \
    {                                                                                              \
        (void)n_args;                                                                              \
        return how(conf, word, args[0], err);                                                      \
    }
COMMAND(retrain, "retrain", on_run)
COMMAND(pause_line, "pause", on_run)
COMMAND(resume, "resume", on_run)
COMMAND(approve, "approve", on_decision)
COMMAND(reject, "reject", on_decision)
COMMAND(force, "force", on_decision)
COMMAND(rollback, "rollback", on_rollback)

const struct cli_command command_commands[] = {
    {.name = "retrain",
     .usage = "retrain LINE",
     .purpose = "asks for a run now",
     .example = "relearn retrain electricity --reason 'new tariff'",
     .options = RUN_OPTIONS,
     .min_args = 1,
     .max_args = 1,
     .run = retrain},
    {.name = "pause",
     .usage = "pause LINE",
     .purpose = "no more runs until resume; triggers wait",
     .example = "relearn pause electricity --reason audit",
     .options = RUN_OPTIONS,
     .min_args = 1,
     .max_args = 1,
     .run = pause_line},
    {.name = "resume",
     .usage = "resume LINE",
     .purpose = "ends a pause",
     .example = "relearn resume electricity",
     .options = RUN_OPTIONS,
     .min_args = 1,
     .max_args = 1,
     .run = resume},
    {.name = "approve",
     .usage = "approve LINE",
     .purpose = "promotes the candidate that waits",
     .example = "relearn approve electricity --reason 'looked at it'",
     .options = DECISION_OPTIONS,
     .min_args = 1,
     .max_args = 1,
     .run = approve},
    {.name = "reject",
     .usage = "reject LINE",
     .purpose = "rejects the candidate that waits",
     .example = "relearn reject electricity --reason 'prices look wrong'",
     .options = DECISION_OPTIONS,
     .min_args = 1,
     .max_args = 1,
     .run = reject},
    {.name = "force",
     .usage = "force LINE",
     .purpose = "promotes an evaluated model past the gate, loudly",
     .example = "relearn force electricity --target RUN --reason incident-17",
     .options = DECISION_OPTIONS,
     .min_args = 1,
     .max_args = 1,
     .run = force},
    {.name = "rollback",
     .usage = "rollback LINE",
     .purpose = "back to the model before, or to that of a generation",
     .example = "relearn rollback electricity --to 3",
     .options = ROLLBACK_OPTIONS,
     .min_args = 1,
     .max_args = 1,
     .run = rollback},
    {0},
};
