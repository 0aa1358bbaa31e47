/* relearn status: the processes of an installation, and what the console says of its lines.  With
 * --console, of agents that nobody here supervises, the second part alone. */
#include <stdio.h>
#include <string.h>

#include "agents/relearn/cli.h"
#include "agents/relearn/cmd_print.h"
#include "common/mem.h"

/* What the instance says of itself. */
static void add_own_words(const struct json *instance, struct json *to)
{
    static const char *const COPIED[] = {"ready",     "bus",     "pending", "idle",
                                         "uptime_ms", "stalled", "journal"};
    const char *url = json_get_str(instance, "endpoint", json_get_str(instance, "url", ""));
    struct err none = {0};
    if (!str_has_prefix(url, "http"))
        return;
    CLEANUP(json_freep) struct json *own = cli_get(url, "/status", &none);
    json_set_bool(to, "answers", own != NULL);
    for (size_t i = 0; i < ARRAY_LEN(COPIED); i++)
        if (json_get(own, COPIED[i]))
            json_set(to, COPIED[i], json_copy(json_get(own, COPIED[i])));
}

/* Ready by what the supervisor saw at its start, and by what it says now. */
static const char *state_of(const struct json *x)
{
    const char *state = json_get_str(x, "state", "");
    if (strcmp(state, "ready") != 0 || !json_get(x, "answers"))
        return state;
    if (!json_get_bool(x, "answers", false))
        return "silent";
    if (!json_get_bool(x, "bus", true))
        return "no bus";
    if (json_get_str(x, "stalled", NULL))
        return "disk full";
    return json_get_bool(x, "ready", true) ? state : "not ready";
}

static struct json *instances_json(const struct json *supervised, bool *ret_all_ready)
{
    const struct json *list = json_get(supervised, "instances");
    struct json *out = json_array();
    *ret_all_ready = true;
    for (size_t i = 0; i < json_len(list); i++) {
        struct json *x = json_add(out, json_copy(json_at(list, i)));
        add_own_words(json_at(list, i), x);
        json_set_str(x, "state", state_of(x));
        *ret_all_ready = *ret_all_ready && strcmp(json_get_str(x, "state", ""), "ready") == 0;
    }
    return out;
}

/* What may be lost at most. */
static void print_journal(const struct json *broker)
{
    const struct json *j = json_get(broker, "journal");
    const char *stalled = json_get_str(broker, "stalled", NULL);
    if (!j)
        return;
    printf("  journal: %lld bytes; a kill -9 loses the %lld messages that are not synced yet; the "
           "longest that one waited for that was %lld ms\n",
           (long long)json_get_int(j, "bytes", 0),
           (long long)json_get_int(j, "unsynced_records", 0),
           (long long)json_get_int(j, "sync_max_ms", 0));
    if (stalled)
        printf("  nothing is taken: %s; make room, it goes on by itself\n", stalled);
    if (json_get_int(j, "torn_bytes", 0))
        printf("  the torn end of the journal was cut off when it started: %lld bytes, kept in "
               "%s.torn\n",
               (long long)json_get_int(j, "torn_bytes", 0), json_get_str(j, "path", ""));
    if (json_get_int(j, "placeholders", 0) + json_get_int(j, "lost_records", 0))
        printf("  messages that are gone from it: %lld at the start, %lld since\n",
               (long long)json_get_int(j, "placeholders", 0),
               (long long)json_get_int(j, "lost_records", 0));
}

static void print_instances(const struct json *list)
{
    printf("%-14s %-9s %8s %9s %8s  %s\n", "instance", "state", "pid", "restarts", "pending",
           "address");
    for (size_t i = 0; i < json_len(list); i++) {
        const struct json *x = json_at(list, i);
        printf("%-14s %-9s %8lld %9lld %8lld  %s\n", json_get_str(x, "instance", ""),
               json_get_str(x, "state", ""), (long long)json_get_int(x, "pid", 0),
               (long long)json_get_int(x, "restarts", 0), (long long)json_get_int(x, "pending", 0),
               json_get_str(x, "url", ""));
        if (json_get_int(x, "pause_ms", 0))
            printf("  last exit %lld, signal %lld, next start in at most %lld ms; see %s\n",
                   (long long)json_get_int(x, "last_exit", 0),
                   (long long)json_get_int(x, "last_signal", 0),
                   (long long)json_get_int(x, "pause_ms", 0), json_get_str(x, "log", ""));
        print_journal(x);
    }
}

static void print_console(const struct json *console)
{
    int64_t dead = json_get_int(console, "dead_letters", 0);
    if (json_len(json_get(console, "lines")))
        printf("\n");
    print_lines(json_get(console, "lines"));
    if (dead)
        printf("\n%lld dead letters: `relearn deadletters`\n", (long long)dead);
}

static int report(struct conf *conf, struct json *root, bool all_ready)
{
    if (conf_bool(conf, "json"))
        cli_print_json(root);
    else
        print_console(root);
    return all_ready ? EXIT_DONE : EXIT_REFUSED;
}

static int of_console(struct conf *conf, struct err *err)
{
    CLEANUP(json_freep) struct json *j = cli_get(conf_str(conf, "console"), "/v1/status", err);
    return j ? report(conf, j, true) : cli_exit_code(err);
}

int cmd_status(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    (void)args;
    (void)n_args;
    struct installation in = {0};
    struct err none = {0};
    bool all_ready = false;
    if (conf_str(conf, "console"))
        return of_console(conf, err);
    if (installation_find(conf_str(conf, "data"), &in, err))
        return EXIT_NOT_RUNNING;
    CLEANUP(json_freep) struct json *supervised = cli_get(in.control_url, "/status", err);
    if (!supervised) {
        installation_fini(&in);
        return cli_exit_code(err);
    }
    CLEANUP(json_freep) struct json *root = cli_get(in.console_url, "/v1/status", &none);
    if (!root)
        root = json_object();
    json_set(root, "instances", instances_json(supervised, &all_ready));
    json_set_bool(root, "ready", all_ready);
    json_set_str(root, "data", in.data);
    json_set_str(root, "brokers", in.brokers);
    json_set_bool(root, "embedded", in.is_embedded);
    if (!conf_bool(conf, "json")) {
        printf("%s on %s%s\n", in.data, in.brokers, in.is_embedded ? " (embedded bus)" : "");
        print_instances(json_get(root, "instances"));
    }
    installation_fini(&in);
    return report(conf, root, all_ready);
}
