/* Life of an agent: options, start, stop.  See agent.h for the mechanism.
 *
 * Start: options -> codec, store, endpoint -> bus -> cluster id -> cache folder -> assignment ->
 * restore (cache, then log) -> ready.  A cluster id that changes means another log: the process
 * ends with 75 and is started again, rather than mixing two.  Stop: refuse new work, wait for long
 * work, send what is owed, commit, leave. */
#include "common/agent.h"

#include <string.h>
#include <unistd.h>

#include "common/agent_internal.h"
#include "common/fsx.h"
#include "common/log.h"
#include "common/mem.h"

enum { STOP_LOOK_MS = 20 };

const struct conf_option agent_options[] = {
    {.name = "brokers",
     .letter = 'b',
     .meta = "HOST:PORT,...",
     .help = "Kafka brokers to begin with"},
    {.name = "prefix",
     .fallback = "relearn.",
     .meta = "TEXT",
     .help = "in front of every topic's name"},
    {.name = "instance",
     .meta = "NAME",
     .help = "stable name of this instance; default: the agent's name and its share, or host and "
             "process id"},
    {.name = "group",
     .meta = "NAME",
     .help = "consumer group; default: prefix and the agent's name"},
    {.name = "share",
     .meta = "I/N",
     .help =
         "work on every N-th partition, the I-th of N instances, without a group; empty: by group"},
    {.name = "data",
     .fallback = "relearn-data",
     .meta = "DIR",
     .help = "folder of state caches and, unless said otherwise, of the artefact store"},
    {.name = "artifacts",
     .meta = "URL",
     .help = "artefact store, file:///path; default: DATA/artifacts"},
    {.name = "cache",
     .type = CONF_BOOL,
     .fallback = "true",
     .help = "keep a local copy of the control topics for a quick restart"},
    {.name = "registry",
     .meta = "URL",
     .help = "schema registry (Confluent's protocol); none: Avro single-object encoding"},
    {.name = "registry-token", .meta = "TEXT", .help = "bearer token for the registry"},
    {.name = "listen",
     .fallback = "127.0.0.1:0",
     .meta = "HOST:PORT",
     .help = "where /healthz, /readyz, /metrics and the agent's own paths are served; port 0: any"},
    {.name = "http-body-cap",
     .type = CONF_SIZE,
     .meta = "SIZE",
     .help = "largest body of a request; default: the agent's own",
     .min = 1024,
     .max = 268435456},
    {.name = "address-file",
     .meta = "FILE",
     .help = "write the address that is listened on into this file"},
    {.name = "topics-timeout",
     .type = CONF_DURATION,
     .fallback = "60s",
     .meta = "TIME",
     .help = "how long to wait at start for topics and registry",
     .max = 86400000},
    {.name = "stop-timeout",
     .type = CONF_DURATION,
     .fallback = "25s",
     .meta = "TIME",
     .help = "how long long work may take to finish or hand over when asked to stop",
     .max = 86400000},
    {.name = "log-level",
     .fallback = "info",
     .meta = "LEVEL",
     .help = "debug, info, warn or error"},
    {0},
};

void agent__fail(struct agent *a, int exit_code, const char *event, const struct err *err)
{
    if (a->is_stopped)
        return;
    log_error(event, "error=%s exit_code=%d", err->msg, exit_code);
    a->exit_code = exit_code;
    a->is_stopping = a->is_stopped = true;
    if (a->on_stopped)
        a->on_stopped(a->on_stopped_ctx);
    else
        loop_stop(a->loop);
}

void agent_restart(struct agent *a, const struct err *why)
{
    agent__fail(a, 75, "agent.restart", why);
}

static int parse_share(const char *text, int *ret_share, int *ret_shares, struct err *err)
{
    enum { MAX_SHARES = 1000 };
    const char *slash = strchr(text, '/');
    CLEANUP_FREE char *first = xstrndup(text, slash ? (size_t)(slash - text) : 0);
    int64_t i = 0, n = 0;
    if (!slash || str_to_i64(first, &i) || str_to_i64(slash + 1, &n) || i < 1 || i > n ||
        n > MAX_SHARES)
        return err_inval(err, "--share %s: give I/N with 1 <= I <= N <= %d, for example 2/3", text,
                         MAX_SHARES);
    *ret_share = (int)i;
    *ret_shares = (int)n;
    return 0;
}

static char *instance_name(const struct agent *a)
{
    const char *given = conf_str(a->conf, "instance");
    if (given && given[0])
        return xstrdup(given);
    if (a->shares)
        return xasprintf("%s-%d", a->spec->name, a->share);
    char host[64] = "host";
    if (gethostname(host, sizeof(host) - 1))
        str_copy(host, sizeof(host), "host");
    return xasprintf("%s-%s-%d", a->spec->name, host, (int)getpid());
}

static int take_options(struct agent *a, struct err *err)
{
    const char *share = conf_str(a->conf, "share");
    enum log_level level = LOG_INFO;
    if (share && share[0] && parse_share(share, &a->share, &a->shares, err))
        return -1;
    a->by_group = a->shares == 0;
    if (log_level_parse(conf_str(a->conf, "log-level"), &level))
        return err_inval(err, "--log-level %s: give debug, info, warn or error",
                         conf_str(a->conf, "log-level"));
    log_init(a->spec->name, level);
    if (!conf_str(a->conf, "brokers") || !conf_str(a->conf, "brokers")[0])
        return err_inval(err, "no brokers: give --brokers HOST:PORT or set RELEARN_BROKERS; "
                              "`relearn up` starts an embedded bus");
    a->prefix = xstrdup(conf_str(a->conf, "prefix"));
    a->instance = instance_name(a);
    a->source = xasprintf("/relearn/%s/%s", a->spec->name, a->instance);
    const char *store = conf_str(a->conf, "artifacts");
    CLEANUP_FREE char *beside = fsx_join(conf_str(a->conf, "data"), "artifacts");
    return artifacts_open(store && store[0] ? store : beside, &a->artifacts, err);
}

static void add_input(struct agent *a, enum record r, enum input_kind kind)
{
    BUG_ON(a->n_inputs == AGENT_MAX_INPUTS);
    a->inputs[a->n_inputs++] = (struct input){
        .record = r, .kind = kind, .topic = xasprintf("%s%s", a->prefix, record_topic(r))};
}

static void list_inputs(struct agent *a)
{
    for (size_t i = 0; i < a->spec->n_inputs; i++)
        add_input(a, a->spec->inputs[i].record, a->spec->inputs[i].kind);
    if (!agent__input_of(a, RECORD_PIPELINE_DECLARED))
        add_input(a, RECORD_PIPELINE_DECLARED, INPUT_GLOBAL);
}

static int open_endpoint(struct agent *a, struct err *err)
{
    size_t cap = a->spec->http_body_cap_bytes ? a->spec->http_body_cap_bytes : (size_t)1 << 20;
    if (conf_is_set(a->conf, "http-body-cap"))
        cap = (size_t)conf_int(a->conf, "http-body-cap");
    if (httpd_open(a->loop, conf_str(a->conf, "listen"), cap, agent__on_http, a, &a->httpd, err))
        return -1;
    const char *listen = conf_str(a->conf, "listen"), *colon = strrchr(listen, ':');
    a->url = xasprintf("http://%.*s:%d", (int)(colon ? colon - listen : 0), listen,
                       httpd_port(a->httpd));
    return 0;
}

static int publish_address(struct agent *a, struct err *err)
{
    const char *file = conf_str(a->conf, "address-file");
    return file && file[0] ? fsx_write_file(file, a->url, strlen(a->url), err) : 0;
}

int agent_new(const struct agent_spec *spec, struct loop *l, int argc, char **argv,
              struct agent **ret, struct err *err)
{
    const struct conf_option *tables[] = {agent_options, spec->options, NULL};
    struct agent *a = xcalloc(1, sizeof(*a));
    a->spec = spec;
    a->loop = l;
    a->clk = &clk_system;
    a->self = xcalloc(1, spec->self_bytes ? spec->self_bytes : 1);
    a->timer = loop_timer_new(l, agent__on_timer, a);
    if (conf_parse(tables, argc, argv, &a->conf, err) || take_options(a, err) ||
        codec_new(&a->codec, err)) {
        agent_free(a);
        return -1;
    }
    list_inputs(a);
    *ret = a;
    return 0;
}

static void on_assign_timer(void *ctx)
{
    agent__assign(ctx);
}

static void on_hold_timer(void *ctx)
{
    struct agent *a = ctx;
    struct err err = {0};
    for (size_t i = 0; i < a->n_inputs; i++)
        for (int p = 0; p < a->inputs[i].partitions; p++)
            if (a->inputs[i].parts[p].assigned && a->inputs[i].parts[p].decode_tries &&
                bus_pause(a->bus, a->inputs[i].topic, p, false, &err))
                log_warn("agent.resume", "topic=%s error=%s", a->inputs[i].topic, err.msg);
}

static void on_connected(void *ctx, const char *cluster)
{
    struct agent *a = ctx;
    struct err err = {0};
    if (a->is_stopped)
        return;
    if (a->cluster[0]) {
        err_set(&err, ERR_CONFLICT, NEXT_FATAL, "the cluster is another one now: %s, was %s",
                cluster, a->cluster);
        agent__fail(a, 75, "agent.restart", &err);
        return;
    }
    str_copy(a->cluster, sizeof(a->cluster), cluster);
    a->state_dir = xasprintf("%s/state/%s/%s", conf_str(a->conf, "data"), a->instance, cluster);
    if (fsx_mkdirs(a->state_dir, &err)) {
        agent__fail(a, 1, "agent.state", &err);
        return;
    }
    if (conf_bool(a->conf, "cache") && agent__cache_open(a, &err))
        log_warn("cache.given_up", "error=\"%s\"", err.msg); /* the log has everything */
    if (a->spec->open && a->spec->open(a, &err)) {
        agent__fail(a, 1, "agent.open", &err);
        return;
    }
    a->is_open = true;
    if (publish_address(a, &err)) {
        agent__fail(a, 1, "agent.address", &err);
        return;
    }
    log_info("agent.connected", "instance=%s cluster=%s url=%s", a->instance, cluster, a->url);
    agent__assign(a);
}

static void on_problem(void *ctx, const struct err *err)
{
    struct agent *a = ctx;
    if (err->next == NEXT_FATAL)
        agent__fail(a, 1, "bus.fatal", err);
    else
        log_warn("bus.problem", "error=%s", err->msg);
}

static void on_turn(void *ctx)
{
    struct agent *a = ctx;
    agent__run(a);
    if (a->spec->turn && a->is_open)
        a->spec->turn(a);
}

static int find_schema(void *ctx, uint64_t fingerprint, struct buf *ret, struct err *err)
{
    const struct agent *a = ctx;
    return artifacts_get_schema(&a->artifacts, fingerprint, ret, err);
}

/* What this version writes is left in the store, where an older or newer one finds it; and so what
 * it reads. A store that does not take it is no reason not to start. */
static void leave_schema(struct agent *a, enum record r)
{
    struct err err = {0};
    if (artifacts_put_schema(&a->artifacts, codec_fingerprint(a->codec, r),
                             slice_str(codec_schema_text(r)), &err))
        log_warn("schema.left", "record=%s error=\"%s\"", record_str(r), err.msg);
}

static void exchange_schemas(struct agent *a)
{
    codec_set_find(a->codec, find_schema, a);
    for (size_t i = 0; i < a->spec->n_outputs; i++)
        leave_schema(a, a->spec->outputs[i]);
    leave_schema(a, RECORD_DEAD_LETTERED);
}

static int open_registry(struct agent *a, struct err *err)
{
    const char *url = conf_str(a->conf, "registry");
    if (!url || !url[0])
        return 0;
    if (schemareg_open(a->loop, url, conf_str(a->conf, "registry-token"), &a->registry, err))
        return -1;
    codec_set_lookup(a->codec, schemareg_lookup, a->registry);
    enum record records[RECORD_COUNT];
    size_t n = 0;
    for (; n < a->spec->n_outputs; n++)
        records[n] = a->spec->outputs[n];
    records[n++] = RECORD_DEAD_LETTERED;
    enum { SILENT_MS = 2000 }; /* then whoever looks reads what is waited for */
    int64_t patience_ms = conf_int(a->conf, "topics-timeout");
    int64_t silent_ms = patience_ms < SILENT_MS ? patience_ms : SILENT_MS;
    if (schemareg_register(a->registry, a->codec, a->prefix, records, n, silent_ms, err) == 0)
        return 0;
    if (err->next != NEXT_RETRY || patience_ms == silent_ms)
        return -1;
    log_warn("registry.waiting", "error=\"%s\" at_most_ms=%lld", err->msg,
             (long long)(patience_ms - silent_ms));
    return schemareg_register(a->registry, a->codec, a->prefix, records, n, patience_ms - silent_ms,
                              err);
}

int agent_start(struct agent *a, struct err *err)
{
    a->started_mono_ms = clk_mono_ms(a->clk);
    a->assign_timer = loop_timer_new(a->loop, on_assign_timer, a);
    a->hold_timer = loop_timer_new(a->loop, on_hold_timer, a);
    exchange_schemas(a);
    if (open_endpoint(a, err) || open_registry(a, err))
        return -1;
    CLEANUP_FREE char *default_group = xasprintf("%s%s", a->prefix, a->spec->name);
    const char *group = conf_str(a->conf, "group");
    struct bus_conf conf = {.brokers = conf_str(a->conf, "brokers"),
                            .client_id = a->instance,
                            .group = group && group[0] ? group : default_group,
                            .has_bulk = agent__has_bulk(a)};
    conf.n_x = conf_x(a->conf, &conf.x);
    struct bus_callbacks cb = {
        .on_message = agent__on_message,
        .on_end = agent__on_end,
        .on_turn = on_turn,
        .on_assigned = agent__on_assigned,
        .on_revoked = agent__on_revoked,
        .on_problem = on_problem,
        .on_connected = on_connected,
        .ctx = a,
    };
    return bus_open(a->loop, &conf, &cb, &a->bus, err);
}

static void on_closed(void *ctx)
{
    struct agent *a = ctx;
    a->bus = NULL;
    a->is_stopped = true;
    log_info("agent.stopped", "instance=%s", a->instance);
    if (a->on_stopped)
        a->on_stopped(a->on_stopped_ctx);
}

/* Long work over, everything owed sent and acknowledged, or the time is up. */
static void look_whether_done(void *ctx)
{
    struct agent *a = ctx;
    bool is_busy = a->spec->is_busy && a->spec->is_busy(a);
    bool is_late = clk_mono_ms(a->clk) >= a->stop_deadline_mono_ms;
    if (a->is_stopped)
        return;
    agent__run(a);
    if ((is_busy || a->publishing) && !is_late) {
        loop_timer_start(a->stop_timer, STOP_LOOK_MS);
        return;
    }
    if (is_late && is_busy)
        log_warn("agent.stop_timeout", "instance=%s", a->instance);
    a->is_assigned = false;
    enum { FLUSH_MS = 3000 };
    bus_close(a->bus, FLUSH_MS, on_closed, a);
}

void agent_stop(struct agent *a, loop_fn on_stopped, void *ctx)
{
    if (a->is_stopping && !a->is_stopped)
        return;
    a->on_stopped = on_stopped;
    a->on_stopped_ctx = ctx;
    if (a->is_stopped || !a->bus) {
        a->is_stopped = true;
        on_stopped(ctx);
        return;
    }
    log_info("agent.stopping", "instance=%s", a->instance);
    a->is_stopping = true;
    if (a->spec->stopping && a->is_open)
        a->spec->stopping(a);
    a->stop_deadline_mono_ms = clk_mono_ms(a->clk) + conf_int(a->conf, "stop-timeout");
    a->stop_timer = loop_timer_new(a->loop, look_whether_done, a);
    look_whether_done(a);
}

static void nothing(void *ctx)
{
    (void)ctx;
}

void agent_kill(struct agent *a)
{
    a->was_killed = a->is_stopped = a->is_stopping = true;
    a->is_assigned = false;
}

void agent_free(struct agent *a)
{
    if (!a)
        return;
    a->is_stopped = true;
    if (a->bus) {
        a->was_killed = true;
        bus_close(a->bus, 0, nothing, NULL);
    }
    agent__forget_deferred(a);
    loop_timer_free(a->timer);
    loop_timer_free(a->assign_timer);
    loop_timer_free(a->hold_timer);
    loop_timer_free(a->stop_timer);
    a->timer = NULL;
    if (a->is_open && a->spec->close)
        a->spec->close(a);
    a->is_open = false;
    if (a->httpd)
        httpd_close(a->httpd);
    schemareg_close(a->registry);
    agent__drop_all(a);
    agent__flights_free(a);
    agent__pipelines_free(a);
    agent__cache_close(a);
    agent__metrics_free(a);
    codec_free(a->codec);
    artifacts_close(&a->artifacts);
    for (size_t i = 0; i < a->n_inputs; i++) {
        free_ptr(&a->inputs[i].parts);
        free_ptr(&a->inputs[i].topic);
    }
    conf_free(a->conf);
    free_ptr(&a->self);
    free_ptr(&a->instance);
    free_ptr(&a->prefix);
    free_ptr(&a->url);
    free_ptr(&a->state_dir);
    free_ptr(&a->source);
    free_ptr(&a);
}

int agent_exit_code(const struct agent *a)
{
    return a->exit_code;
}
