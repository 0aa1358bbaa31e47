/* relearn verify: reads the topics and the store of an installation, and proves or refutes what is
 * promised.  It finds the installation as the other commands do; --brokers and --artifacts name one
 * that runs elsewhere.  Changes nothing. */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "agents/relearn/cli.h"
#include "agents/relearn/logread.h"
#include "agents/relearn/topics.h"
#include "agents/relearn/verify_store.h"
#include "agents/relearn/verify_take.h"
#include "common/clk.h"
#include "common/fsx.h"
#include "common/mem.h"

static const struct conf_option OPTIONS[] = {
    {.name = "since",
     .meta = "TIME",
     .help = "judge only events from then on: an RFC 3339 time, or how long ago (24h); what they "
             "refer to is looked up anyway"},
    {.name = "patience",
     .type = CONF_DURATION,
     .fallback = "10m",
     .meta = "TIME",
     .help = "an answer that has no deadline of its own is open for so long, then it is missing",
     .max = 0x1p40},
    {.name = "skew",
     .type = CONF_DURATION,
     .fallback = "5m",
     .meta = "TIME",
     .help = "by how much the clocks of machines may differ",
     .max = 0x1p40},
    {.name = "bytes",
     .type = CONF_BOOL,
     .fallback = "true",
     .help = "read every artefact and compare its digest; false: only whether it is there"},
    SITE_OPTIONS,
    {0},
};

struct verify {
    struct site site;
    struct artifacts artifacts;
    struct logread *pipelines, *log;
    struct material *material;
    struct findings f;
    int64_t now_unix_ms, started_mono_ms;
    size_t n_cut; /* partitions whose beginning is gone */
};

static void verify_fini(struct verify *v)
{
    material_free(v->material);
    logread_close(v->pipelines);
    logread_close(v->log);
    findings_fini(&v->f);
    artifacts_close(&v->artifacts);
    site_fini(&v->site);
}

/* "24h" ago, or a time. */
static int since_of(const struct conf *conf, int64_t now_unix_ms, int64_t *ret, struct err *err)
{
    const char *text = conf_str(conf, "since");
    int64_t v = 0;

    *ret = INT64_MIN;
    if (!text)
        return 0;
    if (clk_parse(text, &v) == 0)
        *ret = v / 1000;
    else if (str_to_duration_ms(text, &v) == 0)
        *ret = now_unix_ms - v;
    else
        return err_inval(err,
                         "--since '%s': give a time like 2026-01-31T12:00:00Z, or a duration "
                         "like 24h",
                         text);
    return 0;
}

static bool answers(const char *url)
{
    enum { ANSWER_MS = 2000 };
    CLEANUP_FREE char *path = xasprintf("%s/healthz", url ? url : "");
    CLEANUP(http_response_fini) struct http_response rs = {0};
    struct http_request rq = {
        .url = path, .connect_timeout_ms = ANSWER_MS, .timeout_ms = ANSWER_MS};
    struct err none = {0};

    return http_call(&rq, &rs, &none) == 0 && rs.status / 100 == 2;
}

/* ---- reading ---- */

static void on_event(void *ctx, const struct bus_message *m, enum record r, const struct event *ev,
                     const struct err *why)
{
    material_take(((struct verify *)ctx)->material, m, r, ev, why);
}

/* Pipelines are read first: they say who uses a dataset. */
static int open_logs(struct verify *v, struct err *err)
{
    static const enum record PIPELINES[] = {RECORD_PIPELINE_DECLARED};
    enum record others[RECORD_COUNT];
    size_t n = 0;

    for (int r = 1; r < RECORD_COUNT; r++)
        if (r != RECORD_PIPELINE_DECLARED)
            others[n++] = (enum record)r;
    return logread_open(&v->site, PIPELINES, 1, on_event, v, &v->pipelines, err) ||
                   logread_open(&v->site, others, n, on_event, v, &v->log, err)
               ? -1
               : 0;
}

static int run_logs(struct verify *v, enum material_use use, struct err *err)
{
    material_use(v->material, use);
    return logread_run(v->pipelines, err) || logread_run(v->log, err) ? -1 : 0;
}

/* Where a topic that is kept for ever has lost its beginning.  On the embedded bus, whose memory is
 * a ring, that is as it should be. */
static void look_for_cuts(struct verify *v)
{
    bool is_embedded = str_has_prefix(logread_cluster(v->log), "mockCluster");

    for (int k = 1; k < RECORD_COUNT; k++) {
        enum record r = (enum record)k;

        for (int i = 0; i < logread_partitions(v->log, r); i++) {
            const struct finding_of of = {.check = VERIFY_READ,
                                          .at = {r, i, 0},
                                          .todo = "restore them; `relearn topics --check` says "
                                                  "how long the topic should be kept"};

            if (strcmp(topic_kept(r), "forever") != 0 || logread_first(v->log, r, i) == 0)
                continue;
            v->n_cut++;
            if (!is_embedded)
                findings_add(&v->f, &of,
                             "the first %lld events are gone, and are to be kept for ever",
                             (long long)logread_first(v->log, r, i));
        }
    }
}

static void tell_topics(struct verify *v)
{
    for (int k = 1; k < RECORD_COUNT; k++) {
        enum record r = (enum record)k;
        const struct logread *l = r == RECORD_PIPELINE_DECLARED ? v->pipelines : v->log;
        int n = logread_partitions(l, r);
        CLEANUP_FREE int64_t *first = xcalloc((size_t)n + 1, sizeof(*first));

        for (int i = 0; i < n; i++)
            first[i] = logread_first(l, r, i);
        material_topic(v->material, r, first, n);
    }
}

/* ---- checking ---- */

static int check(const struct conf *conf, struct verify *v, int64_t since_unix_ms, struct err *err)
{
    const struct material_conf mc = {
        .artifacts = &v->artifacts,
        .f = &v->f,
        .clock = {v->now_unix_ms, conf_int(conf, "patience")},
        .since_unix_ms = since_unix_ms,
        .skew_ms = conf_int(conf, "skew"),
    };

    if (material_new(&mc, &v->material, err))
        return -1;
    tell_topics(v);
    material_cluster(v->material, logread_cluster(v->log));
    if (run_logs(v, MATERIAL_JUDGE, err) || run_logs(v, MATERIAL_LOOK_UP, err))
        return -1;
    tell_topics(v); /* the embedded bus forgets while it is read */
    look_for_cuts(v);
    if (material_check(v->material, logread_codec(v->log), answers, err))
        return -1;
    struct verify_store store = {.artifacts = &v->artifacts,
                                 .names = material_names(v->material),
                                 .runs = material_runs(v->material),
                                 .reads_bytes = conf_bool(conf, "bytes"),
                                 .now_unix_ms = clk_unix_ms(&clk_system)};
    store_check_named(&store, &v->f);
    /* What an event named while all this went on is no orphan. */
    return run_logs(v, MATERIAL_NAMES, err) ||
                   store_check_unnamed(&store, material_names(v->material), &v->f, err)
               ? -1
               : 0;
}

static int64_t events_of(const struct verify *v)
{
    int64_t sum = 0;

    for (int r = 1; r < RECORD_COUNT; r++)
        sum += material_events(v->material, (enum record)r);
    return sum;
}

static void print_json(const struct verify *v)
{
    CLEANUP(json_freep) struct json *root = findings_to_json(&v->f);
    struct json *topics = json_set(root, "events", json_object());
    struct rusage usage = {0};
    char now[CLK_RFC3339_SIZE];

    for (int r = 1; r < RECORD_COUNT; r++)
        json_set_int(topics, record_topic((enum record)r),
                     material_events(v->material, (enum record)r));
    clk_format(clk_us_of_ms(v->now_unix_ms), now);
    getrusage(RUSAGE_SELF, &usage);
    json_set_str(root, "at", now);
    json_set_str(root, "cluster", logread_cluster(v->log));
    json_set_int(root, "partitions_cut", (int64_t)v->n_cut);
    json_set_num(root, "seconds", (double)(clk_mono_ms(&clk_system) - v->started_mono_ms) / 1000);
    json_set_int(root, "max_rss_bytes", (int64_t)usage.ru_maxrss * 1024);
    cli_print_json(root);
}

static void print_text(const struct verify *v)
{
    CLEANUP(buf_fini) struct buf out = {0};
    int64_t bad = findings_violations(&v->f);

    findings_print(&v->f, &out);
    buf_addf(&out, "\n%lld events read in %.1f s", (long long)events_of(v),
             (double)(clk_mono_ms(&clk_system) - v->started_mono_ms) / 1000);
    if (v->f.repeated || v->f.voided)
        buf_addf(&out, "; %lld came again and %lld lost against a rival, which is harmless",
                 (long long)v->f.repeated, (long long)v->f.voided);
    if (v->n_cut)
        buf_addf(&out,
                 "; the beginning of %zu partitions is gone, what was there is taken for good",
                 v->n_cut);
    if (bad)
        buf_addf(&out, "\n%lld violations\n", (long long)bad);
    else
        buf_addf(&out, "\nall of it holds\n");
    fwrite(out.data, 1, out.len, stdout);
}

static int verify(struct conf *conf, const char *const *args, size_t n_args, struct err *err)
{
    CLEANUP(verify_fini) struct verify v = {.started_mono_ms = clk_mono_ms(&clk_system)};
    int64_t since_unix_ms;

    (void)args;
    (void)n_args;
    if (since_of(conf, clk_unix_ms(&clk_system), &since_unix_ms, err))
        return EXIT_USAGE;
    if (site_find(conf, &v.site, err))
        return EXIT_NOT_RUNNING;
    v.now_unix_ms = clk_unix_ms(&clk_system);
    if (artifacts_open_existing(v.site.artifacts, &v.artifacts, err))
        return EXIT_REFUSED;
    if (open_logs(&v, err))
        return EXIT_NOT_RUNNING;
    if (check(conf, &v, since_unix_ms, err))
        return EXIT_REFUSED;
    if (conf_bool(conf, "json"))
        print_json(&v);
    else
        print_text(&v);
    return findings_violations(&v.f) ? EXIT_REFUSED : EXIT_DONE;
}

const struct cli_command verify_commands[] = {
    {.name = "verify",
     .usage = "verify [--since TIME]",
     .purpose = "proves or refutes from topics and store what is promised; exit code 0 if it holds",
     .example = "relearn verify --since 24h",
     .options = OPTIONS,
     .run = verify},
    {0},
};
