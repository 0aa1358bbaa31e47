/* The serve agent's shell: deployments in, models and requests, what is served and predicted out.
 *
 * Every instance serves every line.  Deployments are a global input: what is in force follows from
 * the fold, and loading begins when it is restored, so that no old generation is loaded on the way.
 */
#include <string.h>

#include "agents/serve/serve_internal.h"
#include "common/log.h"

static void look_whether_settled(struct serve *sv)
{
    if (sv->is_settled || !agent_is_ready(sv->a) || !lines_are_settled(sv->lines))
        return;
    sv->is_settled = true;
    log_info("serve.ready", "models=%zu", boosters_count(sv->boosters));
    serve__report_all(sv->report, false);
}

static void on_loaded(void *ctx, const char *digest)
{
    struct serve *sv = ctx;

    lines_on_loaded(sv->lines, digest);
    serve__infer_on_loaded(sv, digest);
    look_whether_settled(sv);
}

static bool is_declared(void *ctx, const char *pipeline)
{
    return agent_pipeline_event(((struct serve *)ctx)->a, pipeline) != NULL;
}

static int64_t now_unix_ms(void *ctx)
{
    return agent_now_ms(((struct serve *)ctx)->a);
}

static void on_changed(void *ctx, struct served *s, const struct event *about)
{
    serve__report_change(((struct serve *)ctx)->report, s, about);
}

static void on_retry(void *ctx)
{
    struct serve *sv = ctx;

    lines_retry_failed(sv->lines);
    loop_timer_start(sv->retry, SERVE_RETRY_FAILED_MS);
}

static int open(struct agent *a, struct err *err)
{
    struct serve *sv = agent_self(a);
    const struct conf *conf = agent_conf(a);
    struct boosters_conf boosters = {
        .loop = agent_loop(a),
        .artifacts = agent_artifacts(a),
        .trusted_keys = conf_str(conf, "trusted-keys"),
        .retry_ms = conf_int(conf, "load-retry"),
        .on_loaded = on_loaded,
        .ctx = sv,
    };
    struct lines_conf lines = {.is_declared = is_declared,
                               .now_unix_ms = now_unix_ms,
                               .on_changed = on_changed,
                               .ctx = sv};

    (void)err;
    sv->a = a;
    for (size_t i = 0; i < ARRAY_LEN(sv->ids.s); i++)
        sv->ids.s[i] = rng_os_seed();
    sv->boosters = lines.boosters = boosters_new(&boosters);
    sv->lines = lines_new(&lines);
    sv->records = records_new(a, (size_t)conf_int(conf, "unacknowledged"));
    sv->report = serve__report_new(sv);
    sv->max_pins = (size_t)conf_int(conf, "pinned-models");
    sv->pins = xcalloc(sv->max_pins + 1, sizeof(struct booster *));
    sv->retry = loop_timer_new(agent_loop(a), on_retry, sv);
    loop_timer_start(sv->retry, SERVE_RETRY_FAILED_MS);
    return 0;
}

static void close(struct agent *a)
{
    struct serve *sv = agent_self(a);

    serve__infer_close(sv);
    loop_timer_free(sv->retry);
    for (size_t i = 0; i < sv->n_pins; i++)
        boosters_release(sv->boosters, sv->pins[i]);
    free_ptr(&sv->pins);
    sv->n_pins = 0;
    lines_free(sv->lines);
    sv->lines = NULL;
    boosters_free(sv->boosters);
    serve__report_free(sv->report);
    records_free(sv->records);
}

static void folded(struct agent *a, struct unit *u, const struct event *ev)
{
    struct serve *sv = agent_self(a);

    if (ev->type == RECORD_DEPLOYMENT_CHANGED)
        lines_look(sv->lines, lines_add(sv->lines, u->line));
    look_whether_settled(sv);
}

static void ready(struct agent *a)
{
    struct serve *sv = agent_self(a);

    lines_begin(sv->lines);
    look_whether_settled(sv);
}

static void pipelines(struct agent *a, const char *name)
{
    struct serve *sv = agent_self(a);

    if (sv->lines)
        lines_look_pipeline(sv->lines, name);
}

static void drop(struct agent *a, struct unit *u)
{
    struct serve *sv = agent_self(a);

    if (sv->lines)
        lines_remove(sv->lines, u->key);
}

static bool is_ready(struct agent *a)
{
    return serve__is_ready(agent_self(a));
}

static bool is_busy(struct agent *a)
{
    return ((struct serve *)agent_self(a))->n_under_way > 0;
}

static void stopping(struct agent *a)
{
    struct serve *sv = agent_self(a);

    serve__infer_stop(sv);
    if (sv->is_settled)
        serve__report_all(sv->report, true);
}

static void metrics(struct agent *a, struct buf *out)
{
    struct serve *sv = agent_self(a);
    const struct serve_counters *c = &sv->counters;

    buf_addf(out, "# TYPE relearn_requests_total counter\nrelearn_requests_total %llu\n",
             (unsigned long long)c->requests);
    buf_addf(out, "# TYPE relearn_rows_total counter\nrelearn_rows_total %llu\n",
             (unsigned long long)c->rows);
    buf_addf(out,
             "# TYPE relearn_requests_failed_total counter\n"
             "relearn_requests_failed_total{status=\"400\"} %llu\n"
             "relearn_requests_failed_total{status=\"404\"} %llu\n"
             "relearn_requests_failed_total{status=\"500\"} %llu\n"
             "relearn_requests_failed_total{status=\"503\"} %llu\n",
             (unsigned long long)c->invalid, (unsigned long long)c->unknown,
             (unsigned long long)c->failed, (unsigned long long)c->refused);
    buf_add_str(out, "# TYPE relearn_answers_total counter\n");
    for (int r = ROUTE_CHAMPION; r <= ROUTE_PINNED; r++)
        buf_addf(out, "relearn_answers_total{role=\"%s\"} %llu\n",
                 route_role_str((enum route_role)r), (unsigned long long)c->by_role[r]);
    buf_addf(out, "# TYPE relearn_models gauge\nrelearn_models %zu\n",
             boosters_count(sv->boosters));
    buf_addf(out, "# TYPE relearn_unacknowledged gauge\nrelearn_unacknowledged %zu\n",
             records_unacknowledged(sv->records));
    buf_addf(out,
             "# TYPE relearn_records_resent_total counter\nrelearn_records_resent_total %llu\n",
             (unsigned long long)records_resent(sv->records));
}

static void status(struct agent *a, struct json *obj)
{
    struct serve *sv = agent_self(a);
    struct json *list = json_set(obj, "lines", json_array());

    for (struct served *s = lines_first(sv->lines); s; s = s->next) {
        struct json *j = json_add(list, json_object());
        const struct routing *now = s->now;

        json_set_str(j, "line", s->line);
        json_set_str(j, "state", served_state_str(s->state));
        json_set_str(j, "reason", s->reason);
        json_set_int(j, "sequence", s->sequence);
        json_set_int(j, "generation",
                     now && now->champion >= 0 ? now->shares[now->champion].generation : 0);
    }
}

static const struct agent_input INPUTS[] = {{RECORD_DEPLOYMENT_CHANGED, INPUT_GLOBAL}};
static const enum record OUTPUTS[] = {RECORD_SERVING_CHANGED, RECORD_PREDICTION_SERVED};
static const struct conf_option OPTIONS[] = {
    {.name = "unacknowledged",
     .type = CONF_INT,
     .fallback = "10000",
     .meta = "N",
     .help = "records of predictions that the bus may not have acknowledged yet; beyond it "
             "requests are answered 503",
     .min = 1,
     .max = 90000},
    {.name = "pinned-models",
     .type = CONF_INT,
     .fallback = "4",
     .meta = "N",
     .help = "models of earlier generations that stay in memory for requests to /versions/",
     .max = 1000},
    {.name = "load-retry",
     .type = CONF_DURATION,
     .fallback = "30s",
     .meta = "TIME",
     .help = "how long a model that is not in the store yet is waited for before its deployment "
             "counts as failed",
     .max = 3600000},
    {.name = "trusted-keys",
     .meta = "HEX,...",
     .help = "public keys: only models signed with one of them are served; empty: any"},
    {0},
};

const struct agent_spec serve_agent = {
    .name = "serve",
    .purpose = "Answers predictions over HTTP (Open Inference Protocol v2), with models swapped "
               "while it runs.",
    .example = "relearn-serve --brokers localhost:9092 --listen 127.0.0.1:8080",
    .inputs = INPUTS,
    .n_inputs = ARRAY_LEN(INPUTS),
    .outputs = OUTPUTS,
    .n_outputs = ARRAY_LEN(OUTPUTS),
    .options = OPTIONS,
    .self_bytes = sizeof(struct serve),
    .http_body_cap_bytes = (size_t)16 << 20,
    .open = open,
    .close = close,
    .folded = folded,
    .ready = ready,
    .pipelines = pipelines,
    .drop = drop,
    .http = serve__http,
    .is_ready = is_ready,
    .is_busy = is_busy,
    .stopping = stopping,
    .metrics = metrics,
    .status = status,
};
