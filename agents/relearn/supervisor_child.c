/* One supervised process: start, readiness, death, growing pauses. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agents/relearn/supervisor_internal.h"
#include "common/clk.h"
#include "common/fsx.h"
#include "common/http.h"
#include "common/log.h"
#include "common/mem.h"

static void on_timer(void *ctx);

const char *child_state_str(enum child_state s)
{
    static const char *const WORDS[] = {"stopped", "starting", "ready", "pausing", "stopping"};
    return WORDS[s];
}

struct child *child_new(struct supervisor *s, const char *agent, int share, int shares)
{
    struct child *c = xcalloc(1, sizeof(*c));
    c->s = s;
    c->share = share;
    c->shares = shares;
    c->is_wanted = true;
    c->is_broker = strcmp(agent, "broker") == 0;
    str_copy(c->agent, sizeof(c->agent), agent);
    if (c->is_broker)
        str_copy(c->instance, sizeof(c->instance), "broker");
    else
        snprintf(c->instance, sizeof(c->instance), "%s-%d", agent, share);
    c->address_file = xasprintf("%s/%s.address", s->run_dir, c->instance);
    c->log_file = xasprintf("%s/%s.log", s->log_dir, c->instance);
    c->timer = loop_timer_new(s->loop, on_timer, c);
    return c;
}

void child_free(struct child *c)
{
    if (!c)
        return;
    loop_timer_free(c->timer);
    free_ptr(&c->address_file);
    free_ptr(&c->log_file);
    free_ptr(&c);
}

/* ---- readiness: the address file, then /readyz ---- */

static void look(void *ctx)
{
    struct child *c = ctx;
    struct err err = {0};
    CLEANUP(http_response_fini) struct http_response rs = {0};
    CLEANUP_FREE char *url = xasprintf("%s/readyz", c->url);
    struct http_request rq = {.url = url, .timeout_ms = 2000, .connect_timeout_ms = 1000};
    c->look_result = http_call(&rq, &rs, &err) == 0 && rs.status == 200;
}

static void looked(void *ctx)
{
    struct child *c = ctx;
    c->is_looking = false;
    if (c->state != CHILD_STARTING) {
        if (!c->job)
            supervisor__ended(c->s, c);
        return;
    }
    if (!c->look_result) {
        loop_timer_start(c->timer, READY_LOOK_MS);
        return;
    }
    c->state = CHILD_READY;
    supervisor__ready(c->s, c);
}

static void look_for_address(struct child *c)
{
    struct err err = {0};
    CLEANUP(buf_fini) struct buf b = {0};
    if (fsx_read_file(c->address_file, 4096, &b, &err)) {
        loop_timer_start(c->timer, READY_LOOK_MS);
        return;
    }
    while (b.len && (b.data[b.len - 1] == '\n' || b.data[b.len - 1] == ' '))
        b.data[--b.len] = '\0';
    str_copy(c->url, sizeof(c->url), b.data);
    if (c->is_broker) { /* its address is published when it serves */
        c->state = CHILD_READY;
        supervisor__ready(c->s, c);
        return;
    }
    c->is_looking = true;
    work_submit(c->s->loop, look, looked, c);
}

static void on_timer(void *ctx)
{
    struct child *c = ctx;
    if (c->state == CHILD_PAUSING)
        child_start(c);
    else if (c->state == CHILD_STARTING && !c->is_looking)
        look_for_address(c);
}

/* ---- the process ---- */

static void on_done(void *ctx, const struct job_result *r)
{
    struct child *c = ctx;
    c->job = NULL;
    c->last_exit = r->exit_code;
    c->last_signal = r->signal;
    enum { EXIT_AGAIN = 75 };
    if (c->is_wanted && !c->s->is_stopping) {
        int64_t up_ms = clk_mono_ms(&clk_system) - c->started_mono_ms;
        c->pause_ms = up_ms >= STABLE_MS || !c->pause_ms ? PAUSE_MIN_MS
                      : c->pause_ms * 2 > PAUSE_MAX_MS   ? PAUSE_MAX_MS
                                                         : c->pause_ms * 2;
        int pause_ms = r->exit_code == EXIT_AGAIN ? PAUSE_MIN_MS : c->pause_ms;
        c->restarts++;
        c->state = CHILD_PAUSING;
        log_warn("child.died", "instance=%s exit=%d signal=%d restarts=%d pause_ms=%d", c->instance,
                 r->exit_code, r->signal, c->restarts, pause_ms);
        loop_timer_start(c->timer, pause_ms);
        return;
    }
    c->state = CHILD_STOPPED;
    loop_timer_stop(c->timer);
    if (!c->is_looking)
        supervisor__ended(c->s, c);
}

static void add(const char **argv, size_t *n, struct arena *mem, const char *name,
                const char *value)
{
    argv[(*n)++] = arena_printf(mem, "--%s=%s", name, value);
}

static void broker_arguments(const struct child *c, const char **argv, size_t *n, struct arena *mem)
{
    const struct supervisor *s = c->s;
    add(argv, n, mem, "journal", arena_printf(mem, "%s/journal", s->data));
    add(argv, n, mem, "prefix", conf_str(s->conf, "prefix"));
    if (conf_int(s->conf, "partitions") > 0)
        add(argv, n, mem, "partitions",
            arena_printf(mem, "%lld", (long long)conf_int(s->conf, "partitions")));
    const char *colon = s->brokers ? strrchr(s->brokers, ':') : NULL;
    if (colon) /* started again: clients know the old port */
        add(argv, n, mem, "port", colon + 1);
}

static void agent_arguments(const struct child *c, const char **argv, size_t *n, struct arena *mem)
{
    const struct supervisor *s = c->s;
    add(argv, n, mem, "brokers", s->brokers);
    add(argv, n, mem, "prefix", conf_str(s->conf, "prefix"));
    add(argv, n, mem, "data", s->data);
    add(argv, n, mem, "instance", c->instance);
    if (!conf_bool(s->conf, "by-group"))
        add(argv, n, mem, "share", arena_printf(mem, "%d/%d", c->share, c->shares));
    if (conf_str(s->conf, "registry"))
        add(argv, n, mem, "registry", conf_str(s->conf, "registry"));
    if (conf_str(s->conf, "artifacts"))
        add(argv, n, mem, "artifacts", conf_str(s->conf, "artifacts"));
    if (strcmp(c->agent, "console") == 0 && c->share == 1)
        add(argv, n, mem, "listen", conf_str(s->conf, "console-listen"));
    if (strcmp(c->agent, "serve") == 0 && c->share == 1)
        add(argv, n, mem, "listen", conf_str(s->conf, "serve-listen"));
    const char *const *x;
    size_t n_x = conf_x(s->conf, &x);
    for (size_t i = 0; i < n_x && i < 32; i++) {
        argv[(*n)++] = "-X";
        argv[(*n)++] = x[i];
    }
}

/* PATH and HOME, and whatever is set for the agents: RELEARN_* and OMP_*. */
static const char *const *environment(struct arena *mem)
{
    extern char **environ;
    size_t n = 0, k = 0;
    while (environ[n])
        n++;
    const char **env = arena_alloc(mem, (n + 1) * sizeof(*env));
    static const char *const KEPT[] = {
        "PATH=",         "HOME=",         "TMPDIR=",          "LANG=",
        "RELEARN_",      "OMP_",          "ASAN_OPTIONS=",    "UBSAN_OPTIONS=",
        "LSAN_OPTIONS=", "TSAN_OPTIONS=", "LD_LIBRARY_PATH=", "SSL_",
        "http_proxy=",   "https_proxy=",  "no_proxy="};
    for (size_t i = 0; i < n; i++)
        for (size_t w = 0; w < ARRAY_LEN(KEPT); w++)
            if (str_has_prefix(environ[i], KEPT[w]) &&
                !str_has_prefix(environ[i], "RELEARN_BROKERS=")) {
                env[k++] = environ[i];
                break;
            }
    return env;
}

void child_start(struct child *c)
{
    struct supervisor *s = c->s;
    struct arena mem = {0};
    struct err err = {0};
    const char *argv[128];
    size_t n = 0;
    remove(c->address_file);
    argv[n++] = arena_printf(&mem, "%s/relearn-%s", s->bin_dir, c->agent);
    add(argv, &n, &mem, "address-file", c->address_file);
    if (conf_str(s->conf, "log-level"))
        add(argv, &n, &mem, "log-level", conf_str(s->conf, "log-level"));
    if (c->is_broker)
        broker_arguments(c, argv, &n, &mem);
    else
        agent_arguments(c, argv, &n, &mem);
    argv[n] = NULL;
    struct job_spec spec = {.argv = argv, .env = environment(&mem), .log_path = c->log_file};
    c->state = CHILD_STARTING;
    c->started_mono_ms = clk_mono_ms(&clk_system);
    if (job_start(s->loop, &spec, NULL, on_done, c, &c->job, &err)) {
        log_error("child.not_started", "instance=%s error=%s", c->instance, err.msg);
        c->state = CHILD_PAUSING;
        c->pause_ms = PAUSE_MAX_MS;
        loop_timer_start(c->timer, c->pause_ms);
    } else {
        loop_timer_start(c->timer, READY_LOOK_MS);
    }
    arena_fini(&mem);
}

void child_stop(struct child *c)
{
    c->is_wanted = false;
    if (c->job) {
        c->state = CHILD_STOPPING;
        kill(job_pid(c->job), SIGTERM);
        return;
    }
    c->state = CHILD_STOPPED;
    loop_timer_stop(c->timer);
}
