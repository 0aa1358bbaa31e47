/* The supervisor's life.  Order: lock, bus, topics, agents, announce.  Stopping goes the other way
 * round: agents first, the bus last, so that what they owe is still taken. */
#include "agents/relearn/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agents/relearn/supervisor_internal.h"
#include "agents/relearn/topics.h"
#include "common/clk.h"
#include "common/fsx.h"
#include "common/log.h"

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
    {.name = "lifeline",
     .type = CONF_INT,
     .fallback = "0",
     .meta = "FD",
     .help = "stop when this descriptor is at its end; 0: none",
     .min = 0,
     .max = INT32_MAX},
    {.name = "temporary",
     .type = CONF_BOOL,
     .fallback = "false",
     .help = "remove the folder at the end"},
    {.name = "scale",
     .meta = "AGENT=N,...",
     .help = "instances of each agent; default: as it was scaled last, else one"},
    {.name = "log-level",
     .fallback = "info",
     .meta = "LEVEL",
     .help = "debug, info, warn or error"},
    {0},
};

/* ---- what is known to others: files in DATA/run ---- */

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
    json_set_str(j, "artifacts", conf_str(s->conf, "artifacts"));
    json_set_str(j, "registry", conf_str(s->conf, "registry"));
    json_write(j, 2, false, &out);
    s->is_announced = true;
    return fsx_write_file(path, out.data, out.len, err);
}

static int remember_scale(const struct supervisor *s, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = {0};
    CLEANUP_FREE char *path = fsx_join(s->run_dir, "scale");
    scale_write(&s->scale, &text);
    return fsx_write_file(path, text.data ? text.data : "", text.len, err);
}

/* As it was scaled last, but for what is said now. */
static int find_scale(struct supervisor *s, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = {0};
    CLEANUP_FREE char *path = fsx_join(s->run_dir, "scale");
    struct err none = {0};
    scale_init(&s->scale);
    if (fsx_read_file(path, 4096, &text, &none) == 0 && scale_parse(&s->scale, text.data, &none))
        log_warn("supervisor.scale", "path=%s error=%s", path, none.msg);
    if (scale_parse(&s->scale, conf_str(s->conf, "scale"), err))
        return err_wrap(err, "--scale");
    return remember_scale(s, err);
}

/* Whoever waits for the start reads why there is none. */
static void leave_reason(const struct supervisor *s, const struct err *err)
{
    struct err none = {0};
    CLEANUP_FREE char *path = fsx_join(s->run_dir, "failure");
    if (fsx_write_file(path, err->msg, strlen(err->msg), &none))
        log_error("supervisor.failed", "error=%s", none.msg);
}

/* ---- start ---- */

static struct child *add_child(struct supervisor *s, const char *agent, int share, int shares)
{
    BUG_ON(s->n_children == SUPERVISOR_MAX_CHILDREN);
    return s->children[s->n_children++] = child_new(s, agent, share, shares);
}

static int create_topics(const struct supervisor *s, struct err *err)
{
    struct bus_conf bus = {.brokers = s->brokers, .client_id = "relearn-up"};
    bus.n_x = conf_x(s->conf, &bus.x);
    return topics_create(&bus, conf_str(s->conf, "prefix"), (int)conf_int(s->conf, "partitions"), 0,
                         err);
}

static void start_agents(struct supervisor *s)
{
    struct err err = {0};
    if (!s->is_embedded && create_topics(s, &err)) {
        supervisor__fail(s, &err);
        return;
    }
    for (int i = 0; i < SCALE_AGENTS; i++)
        for (int k = 1; k <= s->scale.n[i] && !s->is_stopping; k++)
            child_start(add_child(s, scale_agents[i], k, s->scale.n[i]));
}

bool supervisor__all_ready(const struct supervisor *s)
{
    for (size_t i = 0; i < s->n_children; i++)
        if (s->children[i]->is_wanted && s->children[i]->state != CHILD_READY)
            return false;
    return true;
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
    } else if (!s->is_stopping && supervisor__all_ready(s) && announce(s, &err)) {
        supervisor__fail(s, &err);
    }
}

/* ---- stop ---- */

/* Agents first; the bus when they are gone. */
static void go_on_stopping(struct supervisor *s)
{
    bool agents_gone = true, all_gone = true;
    for (size_t i = 0; i < s->n_children; i++) {
        bool is_gone = !s->children[i]->job && !s->children[i]->is_looking;
        all_gone = all_gone && is_gone;
        agents_gone = agents_gone && (is_gone || s->children[i]->is_broker);
    }
    if (all_gone) {
        CLEANUP_FREE char *path = fsx_join(s->run_dir, "installation.json");
        remove(path);
        loop_stop(s->loop);
        return;
    }
    for (size_t i = 0; agents_gone && i < s->n_children; i++)
        if (s->children[i]->is_broker && s->children[i]->is_wanted)
            child_stop(s->children[i]);
}

static void stop(void *ctx)
{
    struct supervisor *s = ctx;
    if (s->is_stopping)
        return;
    s->is_stopping = true;
    log_info("supervisor.stopping", "children=%zu", s->n_children);
    for (size_t i = 0; i < s->n_children; i++)
        if (!s->children[i]->is_broker)
            child_stop(s->children[i]);
    go_on_stopping(s);
}

static void on_lifeline(void *ctx)
{
    struct supervisor *s = ctx;
    loop_watch_free(s->lifeline); /* it stays readable */
    s->lifeline = NULL;
    stop(s);
}

void supervisor__fail(struct supervisor *s, const struct err *err)
{
    if (s->is_stopping)
        return;
    log_error("supervisor.failed", "error=%s", err->msg);
    leave_reason(s, err);
    s->exit_code = 1;
    loop_defer(s->loop, stop, s); /* not in the midst of a start */
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

/* ---- scale ---- */

static struct child *find_child(const struct supervisor *s, const char *agent, int share)
{
    for (size_t i = 0; i < s->n_children; i++)
        if (s->children[i]->share == share && strcmp(s->children[i]->agent, agent) == 0)
            return s->children[i];
    return NULL;
}

/* Shares are numbers of a whole: when the whole changes every instance is started anew (serve and
 * console, which have no partitions, just come and go). */
static void scale_agent(struct supervisor *s, const char *agent, int n)
{
    bool is_shared = strcmp(agent, "serve") != 0 && strcmp(agent, "console") != 0 &&
                     !conf_bool(s->conf, "by-group");
    for (int k = 1; k <= SCALE_MAX_INSTANCES; k++) {
        struct child *c = find_child(s, agent, k);
        if (!c && k <= n) {
            child_start(add_child(s, agent, k, n));
        } else if (c && k > n) {
            child_stop(c);
        } else if (c) {
            bool is_changed = c->shares != n && is_shared;
            bool was_stopped = !c->is_wanted; /* still on its way out: it comes back */
            c->shares = n;
            c->is_wanted = true;
            if (was_stopped && !c->job)
                child_start(c);
            else if (is_changed)
                child_restart(c);
        }
    }
}

int supervisor__scale(struct supervisor *s, const char *text, struct err *err)
{
    struct scale before = s->scale;
    if (s->is_stopping)
        return err_set(err, ERR_CONFLICT, NEXT_REJECT, "the installation is being stopped");
    if (scale_parse(&s->scale, text, err) || remember_scale(s, err)) {
        s->scale = before;
        return -1;
    }
    for (int i = 0; i < SCALE_AGENTS; i++)
        if (s->scale.n[i] != before.n[i])
            scale_agent(s, scale_agents[i], s->scale.n[i]);
    return 0;
}

int supervisor__rebuild(struct supervisor *s, const char *instance, struct err *err)
{
    if (s->is_stopping)
        return err_set(err, ERR_CONFLICT, NEXT_REJECT, "the installation is being stopped");
    for (size_t i = 0; i < s->n_children; i++) {
        struct child *c = s->children[i];
        if (c->is_broker || !c->is_wanted || strcmp(c->instance, instance) != 0)
            continue;
        child_rebuild(c);
        return 0;
    }
    return err_inval(err, "there is no instance '%.60s'", instance);
}

/* ---- the process ---- */

/* Held as long as this process lives; installation_find asks for it. */
static int lock(struct supervisor *s, struct err *err)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    CLEANUP_FREE char *path = fsx_join(s->run_dir, "lock");
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (s->lock_fd < 0)
        return err_io(err, "%s: %s", path, strerror(errno));
    if (fcntl(s->lock_fd, F_OFD_SETLK, &whole))
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
    if (!s->data)
        return err_io(err, "%s: %s", conf_str(s->conf, "data"), strerror(errno));
    s->run_dir = fsx_join(s->data, "run");
    s->log_dir = fsx_join(s->data, "log");
    if (fsx_mkdirs(s->run_dir, err) || fsx_mkdirs(s->log_dir, err) || lock(s, err))
        return -1;
    enum { BODY_CAP_BYTES = 64 << 10 };
    return httpd_open(s->loop, "127.0.0.1:0", BODY_CAP_BYTES, supervisor__on_http, s, &s->httpd,
                      err);
}

static int run(struct supervisor *s, struct err *err)
{
    const char *brokers = conf_str(s->conf, "brokers");
    if (loop_new(&s->loop, err) || prepare(s, err))
        return -1;
    if (find_scale(s, err)) {
        leave_reason(s, err);
        return -1;
    }
    loop_on_stop_signal(s->loop, stop, s);
    int lifeline = (int)conf_int(s->conf, "lifeline");
    if (lifeline && fcntl(lifeline, F_SETFD, FD_CLOEXEC))
        return err_io(err, "lifeline: %s", strerror(errno));
    if (lifeline) /* whoever started it has ended, in whatever way */
        s->lifeline = loop_watch_new(s->loop, lifeline, on_lifeline, s);
    s->is_embedded = !brokers;
    if (brokers) {
        s->brokers = xstrdup(brokers);
        start_agents(s);
    } else {
        child_start(add_child(s, "broker", 1, 1));
    }
    loop_run(s->loop);
    if (conf_bool(s->conf, "temporary"))
        return fsx_remove_tree(s->data, err);
    return 0;
}

static void fini(struct supervisor *s)
{
    for (size_t i = 0; i < s->n_children; i++)
        child_free(s->children[i]);
    httpd_close(s->httpd);
    loop_watch_free(s->lifeline);
    if (s->loop)
        loop_free(s->loop);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    conf_free(s->conf);
    free_ptr(&s->data);
    free_ptr(&s->run_dir);
    free_ptr(&s->log_dir);
    free_ptr(&s->bin_dir);
    free_ptr(&s->brokers);
}

int supervisor_main(int argc, char **argv)
{
    const struct conf_option *tables[] = {OPTIONS, NULL};
    struct supervisor s = {.lock_fd = -1};
    struct err err = {0};
    CLEANUP(buf_fini) struct buf text = {0};
    log_init("supervisor", LOG_INFO);
    if (conf_parse(tables, argc, argv, &s.conf, &err)) {
        fprintf(stderr, "relearn supervise: %s\n", err.msg);
        return 2;
    }
    if (conf_print_if_asked(s.conf, "relearn supervise",
                            "Runs and watches the agents of an installation; `relearn up` starts "
                            "it in the background.",
                            "relearn supervise --data relearn-data", &text)) {
        fwrite(text.data, 1, text.len, stdout);
    } else if (run(&s, &err)) {
        fprintf(stderr, "relearn supervise: %s\n", err.msg);
        s.exit_code = 1;
    } else {
        log_info("supervisor.stopped", "exit_code=%d", s.exit_code);
    }
    fini(&s);
    return s.exit_code;
}
