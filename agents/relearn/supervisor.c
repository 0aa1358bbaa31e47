/* The supervisor's life.  Order: lock, bus, topics, agents, announce.  Stopping goes the other way
 * round: agents first, the bus last, so that what they owe is still taken. */
#include "agents/relearn/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "agents/relearn/supervisor_internal.h"
#include "agents/relearn/topics.h"
#include "common/clk.h"
#include "common/fsx.h"
#include "common/log.h"
#include "common/mem.h"

static const char *const AGENTS[] = {"ingest", "plan",  "train",   "evaluate", "gate",
                                     "deploy", "serve", "monitor", "console"};

static const struct conf_option OPTIONS[] = {
    {.name = "data",
     .fallback = "relearn-data",
     .meta = "DIR",
     .help = "folder of the installation"},
    {.name = "brokers", .meta = "HOST:PORT,...", .help = "Kafka; none: the embedded bus"},
    {.name = "prefix",
     .fallback = "relearn.",
     .meta = "TEXT",
     .help = "in front of every topic's name"},
    {.name = "partitions",
     .type = CONF_INT,
     .fallback = "0",
     .meta = "N",
     .help = "of topics that are created; 0: the default",
     .max = 1000},
    {.name = "registry", .meta = "URL", .help = "schema registry"},
    {.name = "artifacts", .meta = "URL", .help = "artefact store"},
    {.name = "by-group",
     .type = CONF_BOOL,
     .fallback = "false",
     .help = "share work by consumer groups instead of by numbers"},
    {.name = "console-listen",
     .fallback = "127.0.0.1:0",
     .meta = "HOST:PORT",
     .help = "where console answers"},
    {.name = "serve-listen",
     .fallback = "127.0.0.1:0",
     .meta = "HOST:PORT",
     .help = "where the first instance of serve answers"},
    {.name = "scale", .meta = "AGENT=N,...", .help = "instances of each agent; default 1"},
    {.name = "log-level",
     .fallback = "info",
     .meta = "LEVEL",
     .help = "debug, info, warn or error"},
    {0},
};

static struct child *add_child(struct supervisor *s, const char *agent, int share, int shares)
{
    BUG_ON(s->n_children == SUPERVISOR_MAX_CHILDREN);
    return s->children[s->n_children++] = child_new(s, agent, share, shares);
}

bool supervisor__all_ready(const struct supervisor *s)
{
    for (size_t i = 0; i < s->n_children; i++)
        if (s->children[i]->is_wanted && s->children[i]->state != CHILD_READY)
            return false;
    return true;
}

static const char *url_of(const struct supervisor *s, const char *agent)
{
    for (size_t i = 0; i < s->n_children; i++)
        if (strcmp(s->children[i]->agent, agent) == 0 && s->children[i]->is_wanted)
            return s->children[i]->url;
    return "";
}

/* Other commands find the installation by this file; it is there once everything was ready. */
static int announce(struct supervisor *s, struct err *err)
{
    CLEANUP(json_freep) struct json *j = json_object();
    CLEANUP(buf_fini) struct buf out = {0};
    CLEANUP_FREE char *path = fsx_join(s->run_dir, "installation.json");
    CLEANUP_FREE char *control = xasprintf("http://127.0.0.1:%d", httpd_port(s->httpd));
    json_set_int(j, "pid", getpid());
    json_set_str(j, "brokers", s->brokers);
    json_set_str(j, "prefix", conf_str(s->conf, "prefix"));
    json_set_bool(j, "embedded", s->is_embedded);
    json_set_str(j, "console", url_of(s, "console"));
    json_set_str(j, "serve", url_of(s, "serve"));
    json_set_str(j, "control", control);
    json_write(j, 2, false, &out);
    return fsx_write_file(path, out.data, out.len, err);
}

static void fail(struct supervisor *s, const struct err *err)
{
    log_error("supervisor.failed", "error=%s", err->msg);
    s->exit_code = 1;
    supervisor__stop(s);
}

/* "train=2,serve=2" */
static int instances_of(const struct supervisor *s, const char *agent)
{
    const char *at = conf_str(s->conf, "scale");
    size_t n = strlen(agent);
    while (at && *at) {
        if (strncmp(at, agent, n) == 0 && at[n] == '=') {
            long v = strtol(at + n + 1, NULL, 10);
            return v >= 1 && v <= SUPERVISOR_MAX_INSTANCES ? (int)v : 1;
        }
        at = strchr(at, ',');
        at = at ? at + 1 : NULL;
    }
    return 1;
}

static void start_agents(struct supervisor *s)
{
    struct err err = {0};
    if (!s->is_embedded) {
        struct bus_conf bus = {.brokers = s->brokers, .client_id = "relearn-up"};
        bus.n_x = conf_x(s->conf, &bus.x);
        if (topics_create(&bus, conf_str(s->conf, "prefix"), (int)conf_int(s->conf, "partitions"),
                          0, &err)) {
            fail(s, &err);
            return;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(AGENTS); i++) {
        int n = instances_of(s, AGENTS[i]);
        for (int k = 1; k <= n; k++)
            child_start(add_child(s, AGENTS[i], k, n));
    }
}

void supervisor__ready(struct supervisor *s, struct child *c)
{
    struct err err = {0};
    log_info("child.ready", "instance=%s pid=%d url=%s ms=%lld", c->instance,
             c->job ? job_pid(c->job) : 0, c->url,
             (long long)(clk_mono_ms(&clk_system) - c->started_mono_ms));
    if (c->is_broker && !s->brokers) {
        s->brokers = xstrdup(c->url);
        start_agents(s);
        return;
    }
    if (s->is_stopping || !supervisor__all_ready(s))
        return;
    if (announce(s, &err))
        fail(s, &err);
}

static void finish(struct supervisor *s)
{
    CLEANUP_FREE char *path = fsx_join(s->run_dir, "installation.json");
    remove(path);
    loop_stop(s->loop);
}

/* Agents first; the bus when they are gone. */
static void go_on_stopping(struct supervisor *s)
{
    bool agents_gone = true, all_gone = true;
    for (size_t i = 0; i < s->n_children; i++) {
        bool is_gone = !s->children[i]->job;
        all_gone = all_gone && is_gone;
        agents_gone = agents_gone && (is_gone || s->children[i]->is_broker);
    }
    if (all_gone) {
        finish(s);
        return;
    }
    for (size_t i = 0; agents_gone && i < s->n_children; i++)
        if (s->children[i]->is_broker && s->children[i]->is_wanted)
            child_stop(s->children[i]);
}

void supervisor__ended(struct supervisor *s, struct child *c)
{
    log_info("child.ended", "instance=%s", c->instance);
    if (s->is_stopping) {
        go_on_stopping(s);
        return;
    }
    for (size_t i = 0; i < s->n_children; i++) { /* scaled away */
        if (s->children[i] != c || c->is_wanted)
            continue;
        s->children[i] = s->children[--s->n_children];
        child_free(c);
        return;
    }
}

static void on_stop_timer(void *ctx)
{
    struct supervisor *s = ctx;
    for (size_t i = 0; i < s->n_children; i++)
        if (s->children[i]->job) {
            log_warn("child.killed", "instance=%s reason=did_not_stop_in_time",
                     s->children[i]->instance);
            kill(job_pid(s->children[i]->job), SIGKILL);
        }
    loop_timer_start(s->stop_timer, 1000);
}

void supervisor__stop(struct supervisor *s)
{
    if (s->is_stopping)
        return;
    s->is_stopping = true;
    log_info("supervisor.stopping", "children=%zu", s->n_children);
    for (size_t i = 0; i < s->n_children; i++)
        if (!s->children[i]->is_broker)
            child_stop(s->children[i]);
    s->stop_timer = loop_timer_new(s->loop, on_stop_timer, s);
    loop_timer_start(s->stop_timer, STOP_PATIENCE_MS);
    go_on_stopping(s);
}

static bool is_agent(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(AGENTS); i++)
        if (strcmp(AGENTS[i], name) == 0)
            return true;
    return false;
}

/* Shares are numbers of a whole: when the whole changes every instance is started anew (serve and
 * console, which have no partitions, just come and go). */
int supervisor__scale(struct supervisor *s, const char *agent, int n, struct err *err)
{
    if (!is_agent(agent))
        return err_inval(err, "there is no agent %s", agent);
    if (n < 1 || n > SUPERVISOR_MAX_INSTANCES)
        return err_inval(err, "%s=%d: give 1 to %d instances", agent, n, SUPERVISOR_MAX_INSTANCES);
    bool is_shared = strcmp(agent, "serve") != 0 && strcmp(agent, "console") != 0 &&
                     !conf_bool(s->conf, "by-group");
    int have = 0;
    for (size_t i = s->n_children; i > 0; i--) {
        struct child *c = s->children[i - 1];
        if (strcmp(c->agent, agent) != 0 || !c->is_wanted)
            continue;
        bool stays = c->share <= n;
        have += stays;
        bool is_changed = is_shared && c->shares != n;
        c->shares = n;
        if (!stays)
            child_stop(c);
        else if (is_changed && c->job) /* comes back by itself with its new share */
            kill(job_pid(c->job), SIGTERM);
    }
    for (int k = have + 1; k <= n; k++)
        child_start(add_child(s, agent, k, n));
    return 0;
}

static int lock(struct supervisor *s, struct err *err)
{
    CLEANUP_FREE char *path = fsx_join(s->run_dir, "lock");
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (s->lock_fd < 0)
        return err_io(err, "%s: %s", path, strerror(errno));
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB))
        return err_set(err, ERR_CONFLICT, NEXT_REJECT, "an installation runs in %s already",
                       s->data);
    return 0;
}

static int prepare(struct supervisor *s, struct err *err)
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n <= 0)
        return err_io(err, "/proc/self/exe: %s", strerror(errno));
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    s->bin_dir = xstrdup(self);
    if (fsx_mkdirs(conf_str(s->conf, "data"), err))
        return -1;
    s->data = realpath(conf_str(s->conf, "data"), NULL);
    s->run_dir = fsx_join(s->data, "run");
    s->log_dir = fsx_join(s->data, "log");
    if (fsx_mkdirs(s->run_dir, err) || fsx_mkdirs(s->log_dir, err) || lock(s, err))
        return -1;
    return httpd_open(s->loop, "127.0.0.1:0", (size_t)64 << 10, supervisor__on_http, s, &s->httpd,
                      err);
}

static void on_signal(void *ctx)
{
    supervisor__stop(ctx);
}

int supervisor_main(int argc, char **argv)
{
    const struct conf_option *tables[] = {OPTIONS, NULL};
    struct supervisor s = {.lock_fd = -1};
    struct err err = {0};
    log_init("supervisor", LOG_INFO);
    if (conf_parse(tables, argc, argv, &s.conf, &err) || loop_new(&s.loop, &err) ||
        prepare(&s, &err)) {
        fprintf(stderr, "relearn supervise: %s\n", err.msg);
        return 1;
    }
    loop_on_stop_signal(s.loop, on_signal, &s);
    const char *brokers = conf_str(s.conf, "brokers");
    s.is_embedded = !brokers;
    if (brokers) {
        s.brokers = xstrdup(brokers);
        start_agents(&s);
    } else {
        child_start(add_child(&s, "broker", 1, 1));
    }
    loop_run(s.loop);
    log_info("supervisor.stopped", "exit_code=%d", s.exit_code);
    return s.exit_code; /* the process ends: what it holds goes with it */
}
