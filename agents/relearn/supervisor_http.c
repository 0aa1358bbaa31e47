/* The supervisor's own endpoint, for the commands of `relearn`. */
#include <stdlib.h>
#include <string.h>

#include "agents/relearn/supervisor_internal.h"
#include "common/clk.h"
#include "common/fsx.h"

static void answer(struct httpd_request *rq, struct json *j)
{
    CLEANUP(buf_fini) struct buf out = {0};
    json_write(j, 0, false, &out);
    json_free(j);
    httpd_answer(rq, 200, "application/json", buf_slice(&out));
}

/* Where the bus answers over HTTP; its url is its address for clients. */
static void add_endpoint(const struct child *c, struct json *j)
{
    CLEANUP(buf_fini) struct buf url = {0};
    struct err none = {0};
    if (c->endpoint_file && fsx_read_file(c->endpoint_file, 4096, &url, &none) == 0)
        json_set_str(j, "endpoint", url.data);
}

static struct json *child_json(const struct child *c)
{
    struct json *j = json_object();
    json_set_str(j, "agent", c->agent);
    json_set_str(j, "instance", c->instance);
    json_set_str(j, "state", child_state_str(c->state));
    json_set_int(j, "pid", c->job ? job_pid(c->job) : 0);
    json_set_str(j, "url", c->url);
    json_set_int(j, "restarts", c->restarts);
    json_set_int(j, "up_ms", c->job ? clk_mono_ms(&clk_system) - c->started_mono_ms : 0);
    json_set_int(j, "pause_ms", c->state == CHILD_PAUSING ? c->pause_ms : 0);
    if (c->restarts) {
        json_set_int(j, "last_exit", c->last_exit);
        json_set_int(j, "last_signal", c->last_signal);
    }
    json_set_str(j, "log", c->log_file);
    add_endpoint(c, j);
    return j;
}

/* Those of one agent, in order. */
static void add_children(const struct supervisor *s, const char *agent, struct json *list)
{
    for (int share = 1; share <= SCALE_MAX_INSTANCES; share++)
        for (size_t i = 0; i < s->n_children; i++)
            if (s->children[i]->share == share && strcmp(s->children[i]->agent, agent) == 0)
                json_add(list, child_json(s->children[i]));
}

static struct json *status(const struct supervisor *s)
{
    struct json *j = json_object(), *list;
    json_set_bool(j, "ready", supervisor__all_ready(s));
    json_set_bool(j, "stopping", s->is_stopping);
    json_set_bool(j, "embedded", s->is_embedded);
    json_set_str(j, "brokers", s->brokers);
    json_set_str(j, "data", s->data);
    list = json_set(j, "instances", json_array());
    add_children(s, "broker", list);
    for (int i = 0; i < SCALE_AGENTS; i++)
        add_children(s, scale_agents[i], list);
    return j;
}

void supervisor__on_http(void *ctx, struct httpd_request *rq)
{
    struct supervisor *s = ctx;
    const char *path = httpd_path(rq), *method = httpd_method(rq);
    struct err err = {0};
    if (strcmp(method, "GET") == 0 && strcmp(path, "/status") == 0) {
        answer(rq, status(s));
    } else if (strcmp(method, "POST") == 0 && strcmp(path, "/scale") == 0) {
        const char *to = httpd_query(rq, "to");
        if (supervisor__scale(s, to ? to : "", &err))
            httpd_answer_error(rq, err.code == ERR_INVAL ? 400 : 503, "%s", err.msg);
        else
            answer(rq, status(s));
    } else if (strcmp(method, "POST") == 0 && strcmp(path, "/rebuild") == 0) {
        const char *instance = httpd_query(rq, "instance");
        if (supervisor__rebuild(s, instance ? instance : "", &err))
            httpd_answer_error(rq, err.code == ERR_INVAL ? 400 : 503, "%s", err.msg);
        else
            answer(rq, status(s));
    } else {
        httpd_answer_error(rq, 404, "no such path: %s", path);
    }
}
