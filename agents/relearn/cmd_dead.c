/* relearn deadletters: what could not be taken, and the way back, through the console. */
#include <stdio.h>
#include <string.h>

#include "agents/relearn/cli.h"
#include "agents/relearn/cmd_print.h"
#include "common/clk.h"
#include "common/mem.h"

enum { MOST = 1000 }; /* what the console lists at once */

static const struct conf_option OPTIONS[] = {
    {.name = "topic", .meta = "TOPIC", .help = "only of this topic, with or without its prefix"},
    {.name = "reason", .meta = "TEXT", .help = "only with this code, or this text in the reason"},
    {.name = "since", .meta = "TIME", .help = "only since then: 24h, or 2026-01-31T12:00:00Z"},
    {.name = "state", .meta = "WORD", .help = "only those that are: waiting, sent back, answered"},
    {.name = "limit",
     .type = CONF_INT,
     .fallback = "20",
     .meta = "N",
     .help = "list at most so many",
     .min = 1,
     .max = MOST},
    {.name = "dry-run",
     .type = CONF_BOOL,
     .fallback = "false",
     .help = "send-back: only say which can go"},
    {.name = "again",
     .type = CONF_BOOL,
     .fallback = "false",
     .help = "send-back: also what was sent back before"},
    {.name = "by", .meta = "NAME", .help = "who sends it; default: the user's name"},
    {0},
};

static void add_query(struct buf *path, const char *name, const char *value)
{
    if (!value || !value[0])
        return;
    buf_addf(path, "&%s=", name);
    http_escape(value, path);
}

/* The list's path, of so many, with the filters. */
static int list_path(const struct conf *conf, int64_t limit, const char *state, struct buf *path,
                     struct err *err)
{
    const char *since = conf_str(conf, "since");
    int64_t v = 0;
    buf_addf(path, "/v1/deadletters?limit=%lld", (long long)limit);
    add_query(path, "topic", conf_str(conf, "topic"));
    add_query(path, "reason", conf_str(conf, "reason"));
    add_query(path, "state", state);
    if (!since)
        return 0;
    if (clk_parse(since, &v) == 0)
        v /= 1000;
    else if (str_to_duration_ms(since, &v) == 0)
        v = clk_unix_ms(&clk_system) - v;
    else
        return err_inval(err,
                         "--since '%s': give a time like 2026-01-31T12:00:00Z, or a duration "
                         "like 24h",
                         since);
    buf_addf(path, "&since_ms=%lld", (long long)(v > 0 ? v : 0));
    return 0;
}

static int list(struct conf *conf, const char *console, struct err *err)
{
    CLEANUP(buf_fini) struct buf path = {0};
    if (list_path(conf, conf_int(conf, "limit"), conf_str(conf, "state"), &path, err))
        return EXIT_USAGE;
    CLEANUP(json_freep) struct json *j = cli_get(console, path.data, err);
    if (!j)
        return cli_exit_code(err);
    if (conf_bool(conf, "json"))
        cli_print_json(j);
    else
        print_dead_letters(j);
    return EXIT_DONE;
}

static int show(struct conf *conf, const char *console, const char *id, struct err *err)
{
    CLEANUP(buf_fini) struct buf path = {0};
    buf_add_str(&path, "/v1/deadletters/");
    http_escape(id, &path);
    CLEANUP(json_freep) struct json *j = cli_get(console, path.data, err);
    if (!j)
        return cli_exit_code(err);
    if (conf_bool(conf, "json"))
        cli_print_json(j);
    else
        print_dead_letter(j);
    return EXIT_DONE;
}

/* ---- send-back ---- */

struct sending {
    struct conf *conf;
    const char *console;
    struct json *outcome;
    bool is_json, is_dry;
    size_t sent, refused;
};

static void send_one(struct sending *s, const char *id)
{
    struct err err = {0};
    CLEANUP(buf_fini) struct buf path = {0};
    struct json *j = json_add(s->outcome, json_object());
    buf_add_str(&path, "/v1/deadletters/");
    http_escape(id, &path);
    buf_addf(&path, "/resend?dry_run=%s&again=%s", s->is_dry ? "true" : "false",
             conf_bool(s->conf, "again") ? "true" : "false");
    add_query(&path, "by", cli_by(s->conf));
    CLEANUP(json_freep) struct json *sent = NULL;
    sent = cli_post(s->console, path.data, "application/json", (struct slice){0}, &err);
    *(sent ? &s->sent : &s->refused) += 1;
    json_set_str(j, "id", id);
    json_set_bool(j, "sent", sent && !s->is_dry);
    if (sent && !s->is_dry)
        json_set_str(j, "event", json_get_str(sent, "event", NULL));
    if (!sent)
        json_set_str(j, "error", err.msg);
    if (s->is_json)
        return;
    if (sent)
        printf("%s: %s%s\n", id, s->is_dry ? "can be sent back" : "sent back as event ",
               s->is_dry ? "" : json_get_str(sent, "event", "-"));
    else
        printf("%s: %s\n", id, err.msg);
}

/* All that match; oldest first, as they came.  What is refused stays, so what is listed again after
 * a round in which something went is asked again. */
static int send_matching(struct sending *s, struct err *err)
{
    const char *state = conf_bool(s->conf, "again") ? conf_str(s->conf, "state") : "waiting";
    for (;;) {
        CLEANUP(buf_fini) struct buf path = {0};
        size_t before = s->sent;
        if (list_path(s->conf, MOST, state, &path, err))
            return EXIT_USAGE;
        CLEANUP(json_freep) struct json *all = cli_get(s->console, path.data, err);
        if (!all)
            return cli_exit_code(err);
        for (size_t i = json_len(all); i > 0; i--)
            send_one(s, json_get_str(json_at(all, i - 1), "id", ""));
        bool is_more = json_len(all) == MOST && s->sent > before;
        if (!is_more || s->is_dry || conf_bool(s->conf, "again"))
            return EXIT_DONE;
    }
}

static int send_back(struct conf *conf, const char *console, const char *const *ids, size_t n,
                     struct err *err)
{
    CLEANUP(json_freep) struct json *outcome = json_array();
    struct sending s = {.conf = conf,
                        .console = console,
                        .outcome = outcome,
                        .is_json = conf_bool(conf, "json"),
                        .is_dry = conf_bool(conf, "dry-run")};
    bool is_filtered =
        conf_str(conf, "topic") || conf_str(conf, "reason") || conf_str(conf, "since");
    bool is_all = n == 1 && strcmp(ids[0], "all") == 0;
    int code = EXIT_DONE;
    if (n == 0 && !is_filtered) {
        err_inval(err, "which? give ids, `all`, or --topic, --reason or --since");
        return EXIT_USAGE;
    }
    if (n == 0 || is_all)
        code = send_matching(&s, err);
    else
        for (size_t i = 0; i < n; i++)
            send_one(&s, ids[i]);
    if (code == EXIT_DONE && s.is_json)
        cli_print_json(outcome);
    return code != EXIT_DONE ? code : s.refused ? EXIT_REFUSED : EXIT_DONE;
}

/* ---- the commands ---- */

static int deadletters(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    const char *word = n_args ? args[0] : "list";
    bool is_list = strcmp(word, "list") == 0, is_show = strcmp(word, "show") == 0,
         is_send = strcmp(word, "send-back") == 0;
    if ((is_list && n_args > 1) || (is_show && n_args != 2) ||
        (!is_list && !is_show && !is_send && n_args != 1)) {
        err_inval(err, "usage: relearn deadletters [list | show ID | send-back ID ...]");
        return EXIT_USAGE;
    }
    CLEANUP_FREE char *console = cli_console_url(conf, err);
    if (!console)
        return EXIT_NOT_RUNNING;
    if (is_list)
        return list(conf, console, err);
    if (is_send)
        return send_back(conf, console, args + 1, n_args - 1, err);
    return show(conf, console, args[n_args - 1], err);
}

static int resend(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    CLEANUP_FREE char *console = cli_console_url(conf, err);
    return console ? send_back(conf, console, args, n_args, err) : EXIT_NOT_RUNNING;
}

const struct cli_command dead_commands[] = {
    {.name = "deadletters",
     .usage = "deadletters [list | show ID | send-back ID ...]",
     .purpose = "events that could not be taken, why, and the way back for them",
     .example = "relearn deadletters send-back --topic datasets --since 24h --dry-run",
     .options = OPTIONS,
     .max_args = 101,
     .run = deadletters},
    {.name = "resend",
     .usage = "resend ID ...",
     .purpose = "the same as deadletters send-back",
     .example = "relearn resend all",
     .options = OPTIONS,
     .min_args = 1,
     .max_args = 100,
     .run = resend},
    {0},
};
