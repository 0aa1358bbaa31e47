#include "agents/relearn/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/mem.h"

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
    if (given)
        return xstrdup(given);
    struct installation in = {0};
    if (installation_find(conf_str(conf, "data"), &in, err))
        return NULL;
    char *url = xstrdup(in.console_url);
    installation_fini(&in);
    return url;
}

static struct json *call(struct http_request *rq, struct err *err)
{
    CLEANUP(http_response_fini) struct http_response rs = {0};
    if (http_call(rq, &rs, err)) {
        err_wrap(err, "console");
        return NULL;
    }
    struct json *j = json_parse(buf_slice(&rs.body), "the console's answer", err);
    if (!j || rs.status / 100 == 2)
        return j;
    err_set(err, rs.status == 404 ? ERR_NOTFOUND : ERR_HTTP, NEXT_REJECT, "%s",
            json_get_str(j, "error", "the console refused"));
    json_free(j);
    return NULL;
}

struct json *cli_get(const char *console_url, const char *path, struct err *err)
{
    CLEANUP_FREE char *url = xasprintf("%s%s", console_url, path);
    struct http_request rq = {.url = url, .timeout_ms = 120000};
    return call(&rq, err);
}

struct json *cli_post(const char *console_url, const char *path, const char *content_type,
                      struct slice body, struct err *err)
{
    CLEANUP_FREE char *url = xasprintf("%s%s", console_url, path);
    CLEANUP_FREE char *type = xasprintf("Content-Type: %s", content_type);
    const char *const headers[] = {type, NULL};
    struct http_request rq = {
        .method = "POST", .url = url, .headers = headers, .body = body, .timeout_ms = 120000};
    return call(&rq, err);
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
