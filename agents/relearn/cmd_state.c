/* relearn state rebuild: an agent's state folder is a cache of the log.  The supervisor stops the
 * instance, removes the folder and starts it again, one instance after the other; the fold's digest
 * before and after shows that it was rebuilt to the same. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agents/relearn/cli.h"
#include "agents/relearn/scale.h"
#include "common/clk.h"
#include "common/fsx.h"
#include "common/mem.h"

enum { WAIT_MS = 120000, LOOK_MS = 50 };

/* Is `instance` one of `what`: an agent's name or an instance's? */
static bool is_meant(const char *what, const char *agent, const char *instance)
{
    return strcmp(what, agent) == 0 || strcmp(what, instance) == 0;
}

static const struct json *instance_of(const struct json *status, const char *name)
{
    const struct json *list = json_get(status, "instances");
    for (size_t i = 0; i < json_len(list); i++)
        if (strcmp(json_get_str(json_at(list, i), "instance", ""), name) == 0)
            return json_at(list, i);
    return NULL;
}

/* Until another process of that name is ready; its URL, the caller's. */
static char *await_another(const char *control, const char *name, int64_t pid, struct err *err)
{
    int64_t deadline = clk_mono_ms(&clk_system) + WAIT_MS;
    while (clk_mono_ms(&clk_system) < deadline) {
        CLEANUP(json_freep) struct json *s = cli_get(control, "/status", err);
        const struct json *x = instance_of(s, name);
        if (!s)
            return NULL;
        if (x && json_get_int(x, "pid", 0) != pid &&
            strcmp(json_get_str(x, "state", ""), "ready") == 0)
            return xstrdup(json_get_str(x, "url", ""));
        usleep(LOOK_MS * 1000);
    }
    err_set(err, ERR_TIMEOUT, NEXT_RETRY, "%s was not ready again within %d s: see its log", name,
            WAIT_MS / 1000);
    return NULL;
}

static int rebuild_one(const struct installation *in, const struct json *x, struct json *list,
                       bool is_json, struct err *err)
{
    const char *name = json_get_str(x, "instance", "");
    struct err none = {0};
    CLEANUP_FREE char *path = xasprintf("/rebuild?instance=%s", name);
    CLEANUP(json_freep) struct json *before = cli_get(json_get_str(x, "url", ""), "/fold", &none);
    CLEANUP(json_freep)
    struct json *asked =
        cli_post(in->control_url, path, "application/json", (struct slice){0}, err);
    if (!asked)
        return -1;
    CLEANUP_FREE char *url = await_another(in->control_url, name, json_get_int(x, "pid", 0), err);
    CLEANUP(json_freep) struct json *after = url ? cli_get(url, "/fold", err) : NULL;
    if (!after)
        return -1;
    int64_t had = json_get_int(before, "events", 0), has = json_get_int(after, "events", 0);
    bool is_same = before && strcmp(json_get_str(before, "digest", ""),
                                    json_get_str(after, "digest", "-")) == 0;
    /* What came meanwhile is in it as well: then only their number can be compared. */
    const char *verdict = !before     ? "unknown before"
                          : is_same   ? "the same"
                          : has > had ? "grown meanwhile"
                                      : "different";
    struct json *j = json_add(list, json_object());
    json_set_str(j, "instance", name);
    json_set_str(j, "fold", verdict);
    if (before)
        json_set(j, "before", json_copy(before));
    json_set(j, "after", json_copy(after));
    if (!is_json)
        printf("%-14s %s: before %lld events, digest %.16s; after %lld events, digest %.16s\n",
               name, verdict, (long long)had, json_get_str(before, "digest", "-"), (long long)has,
               json_get_str(after, "digest", "-"));
    return strcmp(verdict, "different") != 0
               ? 0
               : err_set(
                     err, ERR_CONFLICT, NEXT_REJECT,
                     "%s has another fold than before; `relearn verify` says what is wrong with "
                     "the log",
                     name);
}

static int rebuild_running(const struct installation *in, const char *what, struct json *list,
                           bool is_json, struct err *err)
{
    CLEANUP(json_freep) struct json *status = cli_get(in->control_url, "/status", err);
    const struct json *all = json_get(status, "instances");
    int n = 0;
    if (!status)
        return -1;
    for (size_t i = 0; i < json_len(all); i++) {
        const struct json *x = json_at(all, i);
        const char *agent = json_get_str(x, "agent", "");
        if (strcmp(agent, "broker") == 0 || !is_meant(what, agent, json_get_str(x, "instance", "")))
            continue;
        n++;
        if (rebuild_one(in, x, list, is_json, err))
            return -1;
    }
    return n ? 0 : err_set(err, ERR_NOTFOUND, NEXT_REJECT, "no instance of %s runs here", what);
}

/* Nothing runs: the folders go, and are made again when it does. */
static int remove_idle(const char *data, const char *what, struct json *list, bool is_json,
                       struct err *err)
{
    bool is_found = false;
    for (int a = 0; a < SCALE_AGENTS; a++)
        for (int k = 1; k <= SCALE_MAX_INSTANCES; k++) {
            CLEANUP_FREE char *name = xasprintf("%s-%d", scale_agents[a], k);
            CLEANUP_FREE char *folder = xasprintf("%s/state/%s", data, name);
            if (!is_meant(what, scale_agents[a], name) || !fsx_exists(folder))
                continue;
            if (fsx_remove_tree(folder, err))
                return -1;
            is_found = true;
            struct json *j = json_add(list, json_object());
            json_set_str(j, "instance", name);
            json_set_str(j, "fold", "rebuilt at the next start");
            if (!is_json)
                printf("%-14s does not run: its state is removed, and rebuilt at the next start\n",
                       name);
        }
    return is_found ? 0
                    : err_set(err, ERR_NOTFOUND, NEXT_REJECT, "%s has no state of %s", data, what);
}

static int state(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    struct installation in = {0};
    bool is_json = conf_bool(conf, "json");
    (void)n_args;
    if (strcmp(args[0], "rebuild") != 0) {
        err_inval(err, "usage: relearn state rebuild AGENT");
        return EXIT_USAGE;
    }
    CLEANUP(json_freep) struct json *list = json_array();
    int rc;
    if (installation_find(conf_str(conf, "data"), &in, err) == 0) {
        rc = rebuild_running(&in, args[1], list, is_json, err);
        installation_fini(&in);
    } else {
        *err = (struct err){0};
        rc = remove_idle(conf_str(conf, "data"), args[1], list, is_json, err);
    }
    if (is_json && (!rc || json_len(list)))
        cli_print_json(list);
    return rc ? EXIT_REFUSED : EXIT_DONE;
}

const struct cli_command state_commands[] = {
    {.name = "state",
     .usage = "state rebuild AGENT",
     .purpose = "rebuilds the state of an agent, or of one instance, from the log",
     .example = "relearn state rebuild plan",
     .min_args = 2,
     .max_args = 2,
     .run = state},
    {0},
};
