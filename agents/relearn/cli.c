#include "agents/relearn/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agents/relearn/cmd_print.h"
#include "common/mem.h"

/* The longest that the console lets a request wait, and some. */
enum { CALL_TIMEOUT_MS = 630000 };

const struct conf_option cli_options[] = {
    {.name = "data",
     .letter = 'd',
     .fallback = "relearn-data",
     .meta = "DIR",
     .help = "folder of the installation"},
    {.name = "console",
     .meta = "URL",
     .help = "address of a console; default: that of the installation"},
    {.name = "json",
     .type = CONF_BOOL,
     .fallback = "false",
     .help = "one JSON document on standard output"},
    {0},
};

char *cli_console_url(const struct conf *conf, struct err *err)
{
    const char *given = conf_str(conf, "console");
    if (given) {
        size_t n = strlen(given);
        while (n && given[n - 1] == '/')
            n--;
        return xstrndup(given, n);
    }
    struct installation in = {0};
    if (installation_find(conf_str(conf, "data"), &in, err))
        return NULL;
    char *url = xstrdup(in.console_url);
    installation_fini(&in);
    return url;
}

int cli_exit_code(const struct err *err)
{
    bool nobody_answered = err->code == ERR_HTTP && err->next == NEXT_RETRY;
    return nobody_answered ? EXIT_NOT_RUNNING : EXIT_REFUSED;
}

static struct json *call(const char *method, const char *base, const char *path,
                         const char *content_type, struct slice body, struct err *err)
{
    CLEANUP_FREE char *url = xasprintf("%s%s", base, path);
    CLEANUP_FREE char *type = content_type ? xasprintf("Content-Type: %s", content_type) : NULL;
    const char *const headers[] = {type, NULL};
    struct http_request rq = {.method = method,
                              .url = url,
                              .headers = headers,
                              .body = body,
                              .timeout_ms = CALL_TIMEOUT_MS,
                              .stall_ms = CALL_TIMEOUT_MS}; /* who waits says nothing meanwhile */
    CLEANUP(http_response_fini) struct http_response rs = {0};
    if (http_call(&rq, &rs, err))
        return NULL;
    struct err none = {0};
    bool is_good = rs.status / 100 == 2;
    struct json *j = json_parse(buf_slice(&rs.body), "the answer", is_good ? err : &none);
    if (is_good)
        return j;
    err_set(err, rs.status == 404 ? ERR_NOTFOUND : ERR_HTTP, NEXT_REJECT, "%s",
            json_get_str(j, "error", "it was refused"));
    if (!j)
        err_set(err, ERR_HTTP, NEXT_REJECT, "%s answered %d", base, rs.status);
    json_free(j);
    return NULL;
}

struct json *cli_get(const char *url, const char *path, struct err *err)
{
    return call(NULL, url, path, NULL, (struct slice){0}, err);
}

struct json *cli_post(const char *url, const char *path, const char *content_type,
                      struct slice body, struct err *err)
{
    return call("POST", url, path, content_type, body, err);
}

struct json *cli_delete(const char *url, const char *path, struct err *err)
{
    return call("DELETE", url, path, NULL, (struct slice){0}, err);
}

const char *cli_by(const struct conf *conf)
{
    const char *by = conf_str(conf, "by");
    const char *const names[] = {by, getenv("SUDO_USER"), getenv("USER"), getenv("LOGNAME")};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (names[i] && names[i][0])
            return names[i];
    return "operator";
}

int cli_send_and_wait(struct conf *conf, const char *path, const struct json *record,
                      struct err *err)
{
    CLEANUP(buf_fini) struct buf body = {0};
    CLEANUP_FREE char *console = cli_console_url(conf, err);
    if (!console)
        return EXIT_NOT_RUNNING;
    json_write(record, 0, false, &body);
    CLEANUP(json_freep) struct json *sent = NULL;
    sent = cli_post(console, path, "application/json", buf_slice(&body), err);
    if (!sent)
        return cli_exit_code(err);
    int64_t wait_ms = conf_int(conf, "wait");
    if (!wait_ms) {
        print_sent(sent, conf_bool(conf, "json"));
        return EXIT_DONE;
    }
    CLEANUP_FREE char *question = xasprintf("/v1/answer?id=%s&wait_ms=%lld",
                                            json_get_str(sent, "event", ""), (long long)wait_ms);
    CLEANUP(json_freep) struct json *answer = cli_get(console, question, err);
    if (!answer)
        return cli_exit_code(err);
    return print_answer(answer, conf_bool(conf, "json")) ? EXIT_DONE : EXIT_REFUSED;
}

void cli_print_json(const struct json *j)
{
    CLEANUP(buf_fini) struct buf out = {0};
    json_write(j, 2, false, &out);
    puts(out.data);
}

char *cli_absolute(const char *path)
{
    if (path[0] == '/')
        return xstrdup(path);
    CLEANUP_FREE char *here = getcwd(NULL, 0);
    return xasprintf("%s/%s", here ? here : "", path);
}
