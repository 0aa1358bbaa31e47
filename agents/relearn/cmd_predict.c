/* relearn predict LINE ROW: one row to serve, over the Open Inference Protocol. */
#include <string.h>

#include "agents/relearn/cli.h"
#include "agents/relearn/cmd_print.h"
#include "common/mem.h"

/* "a=1,b=x" as an object; what reads as a number is one. */
static struct json *parse_pairs(const char *text, struct err *err)
{
    CLEANUP(json_freep) struct json *row = json_object();
    CLEANUP_FREE char *copy = xstrdup(text);
    for (char *at = copy, *next; at && *at; at = next) {
        next = strchr(at, ',');
        if (next)
            *next++ = '\0';
        char *equals = strchr(at, '=');
        double v;
        if (!equals) {
            err_inval(err, "%s: give column=value,column=value or a JSON object", at);
            return NULL;
        }
        *equals = '\0';
        if (str_to_double(equals + 1, &v) == 0)
            json_set_num(row, at, v);
        else
            json_set_str(row, at, equals + 1);
    }
    return TAKE(row);
}

static void add_tensor(struct json *inputs, const char *name, const struct json *value)
{
    struct json *t = json_add(inputs, json_object()), *shape;
    json_set_str(t, "name", name);
    shape = json_set(t, "shape", json_array());
    json_add_int(shape, 1);
    json_add_int(shape, 1);
    json_set_str(t, "datatype", json_is_string(value) ? "BYTES" : "FP64");
    json_add(json_set(t, "data", json_array()), json_copy(value));
}

static int add_row(const char *text, struct json *inputs, struct err *err)
{
    const char *key;
    const struct json *value;
    CLEANUP(json_freep) struct json *row = NULL;
    row = text[0] == '{' ? json_parse(slice_str(text), "row", err) : parse_pairs(text, err);
    if (!row)
        return -1;
    for (void *it = json_next(row, NULL, &key, &value); it; it = json_next(row, it, &key, &value))
        add_tensor(inputs, key, value);
    return 0;
}

static char *serve_url(struct conf *conf, struct err *err)
{
    struct installation in = {0};
    if (conf_str(conf, "serve"))
        return xstrdup(conf_str(conf, "serve"));
    if (installation_find(conf_str(conf, "data"), &in, err))
        return NULL;
    CLEANUP(json_freep) struct json *status = cli_get(in.control_url, "/status", err);
    const struct json *list = json_get(status, "instances");
    char *url = NULL;
    for (size_t i = 0; i < json_len(list) && !url; i++) {
        const struct json *x = json_at(list, i);
        if (strcmp(json_get_str(x, "agent", ""), "serve") == 0 &&
            strcmp(json_get_str(x, "state", ""), "ready") == 0)
            url = xstrdup(json_get_str(x, "url", ""));
    }
    installation_fini(&in);
    if (!url && !err->code)
        err_set(err, ERR_NOTFOUND, NEXT_REJECT, "no instance of serve is ready");
    return url;
}

int cmd_predict(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    (void)n_args;
    CLEANUP(buf_fini) struct buf path = {0};
    CLEANUP(buf_fini) struct buf body = {0};
    CLEANUP(json_freep) struct json *request = json_object();
    if (add_row(args[1], json_set(request, "inputs", json_array()), err))
        return EXIT_USAGE;
    CLEANUP_FREE char *url = serve_url(conf, err);
    if (!url)
        return EXIT_NOT_RUNNING;
    buf_add_str(&path, "/v2/models/");
    http_escape(args[0], &path);
    buf_add_str(&path, "/infer");
    json_write(request, 0, false, &body);
    CLEANUP(json_freep) struct json *answer = NULL;
    answer = cli_post(url, path.data, "application/json", buf_slice(&body), err);
    if (!answer)
        return cli_exit_code(err);
    print_prediction(answer, conf_bool(conf, "json"));
    return EXIT_DONE;
}
