/* How a process of the installation is started: its command line and its environment. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agents/relearn/supervisor_internal.h"

enum { MAX_ARGS = 128, MAX_X = 32 };

struct argv {
    const char *items[MAX_ARGS];
    size_t n;
    struct arena *mem;
};

static void add(struct argv *v, const char *name, const char *value)
{
    BUG_ON(v->n + 1 >= MAX_ARGS);
    if (value)
        v->items[v->n++] = arena_printf(v->mem, "--%s=%s", name, value);
}

static void broker_arguments(const struct child *c, struct argv *v)
{
    const struct supervisor *s = c->s;
    add(v, "journal", arena_printf(v->mem, "%s/journal", s->data));
    add(v, "endpoint-file", c->endpoint_file);
    add(v, "prefix", conf_str(s->conf, "prefix"));
    if (conf_int(s->conf, "partitions") > 0)
        add(v, "partitions",
            arena_printf(v->mem, "%lld", (long long)conf_int(s->conf, "partitions")));
    const char *colon = s->brokers ? strrchr(s->brokers, ':') : NULL;
    if (colon) /* started again: its clients know the old port */
        add(v, "port", colon + 1);
}

/* Where it listens: as was said for the first instance of console and serve, else where the kernel
 * likes; there again when it is started again. */
static const char *listen_address(const struct child *c)
{
    static const char SCHEME[] = "http://";
    const char *said = NULL;
    if (c->share == 1 && strcmp(c->agent, "console") == 0)
        said = conf_str(c->s->conf, "console-listen");
    if (c->share == 1 && strcmp(c->agent, "serve") == 0)
        said = conf_str(c->s->conf, "serve-listen");
    bool is_any = !said || str_has_suffix(said, ":0");
    if (is_any && c->keeps_address && str_has_prefix(c->url, SCHEME))
        return c->url + strlen(SCHEME);
    return said ? said : "127.0.0.1:0";
}

static void agent_arguments(const struct child *c, struct argv *v)
{
    const struct supervisor *s = c->s;
    add(v, "brokers", s->brokers);
    add(v, "prefix", conf_str(s->conf, "prefix"));
    add(v, "data", s->data);
    add(v, "instance", c->instance);
    if (!conf_bool(s->conf, "by-group"))
        add(v, "share", arena_printf(v->mem, "%d/%d", c->share, c->shares));
    add(v, "registry", conf_str(s->conf, "registry"));
    add(v, "artifacts", conf_str(s->conf, "artifacts"));
    add(v, "listen", listen_address(c));
    const char *const *x;
    size_t n_x = conf_x(s->conf, &x);
    for (size_t i = 0; i < n_x && i < MAX_X; i++) {
        v->items[v->n++] = "-X";
        v->items[v->n++] = x[i];
    }
}

const char *const *child_argv(const struct child *c, struct arena *mem)
{
    struct argv v = {.mem = mem};
    v.items[v.n++] = arena_printf(mem, "%s/relearn-%s", c->s->bin_dir, c->agent);
    add(&v, "address-file", c->address_file);
    add(&v, "log-level", conf_str(c->s->conf, "log-level"));
    if (c->is_broker)
        broker_arguments(c, &v);
    else
        agent_arguments(c, &v);
    return arena_memdup(mem, v.items, (v.n + 1) * sizeof(v.items[0]));
}

static bool has_prefix_of(const char *text, const char *const *prefixes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_has_prefix(text, prefixes[i]))
            return true;
    return false;
}

/* What an agent may need, and what is set for agents; but nothing that is different for each. */
const char *const *child_environment(struct arena *mem)
{
    static const char *const KEPT[] = {
        "PATH=",         "HOME=",         "TMPDIR=",          "LANG=",
        "RELEARN_",      "OMP_",          "ASAN_OPTIONS=",    "UBSAN_OPTIONS=",
        "LSAN_OPTIONS=", "TSAN_OPTIONS=", "LD_LIBRARY_PATH=", "SSL_",
        "http_proxy=",   "https_proxy=",  "no_proxy="};
    static const char *const OWN[] = {
        "RELEARN_BROKERS=",  "RELEARN_SHARE=", "RELEARN_GROUP=",  "RELEARN_LISTEN=",
        "RELEARN_INSTANCE=", "RELEARN_DATA=",  "RELEARN_X=",      "RELEARN_ADDRESS_FILE=",
        "RELEARN_JOURNAL=",  "RELEARN_PORT=",  "RELEARN_TOPICS=", "RELEARN_ENDPOINT_FILE="};
    size_t n = 0, k = 0;
    while (environ[n])
        n++;
    const char **env = arena_alloc(mem, (n + 1) * sizeof(*env));
    for (size_t i = 0; i < n; i++)
        if (has_prefix_of(environ[i], KEPT, ARRAY_LEN(KEPT)) &&
            !has_prefix_of(environ[i], OWN, ARRAY_LEN(OWN)))
            env[k++] = environ[i];
    return env;
}
