#include "agents/broker/broker.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agents/broker/report.h"
#include "common/clk.h"
#include "common/fsx.h"
#include "common/httpd.h"
#include "common/log.h"
#include "common/mem.h"

enum {
    BROKER_LOOK_MS = 5, /* between two looks at the ends while stopping */
    EXIT_USAGE = 2,
};

const struct conf_option broker_options[] = {
    {.name = "port",
     .type = CONF_INT,
     .fallback = "0",
     .meta = "PORT",
     .help = "port on 127.0.0.1; 0: the kernel's choice, see --address-file",
     .max = 65535},
    {.name = "address-file",
     .meta = "FILE",
     .help = "write HOST:PORT of the bus into this file when it is ready"},
    {.name = "topics",
     .meta = "NAME:PARTS,...",
     .help = "the topics; default: those of the catalogue, with --prefix and --partitions"},
    {.name = "prefix",
     .fallback = "relearn.",
     .meta = "TEXT",
     .help = "in front of every topic's name"},
    {.name = "partitions",
     .type = CONF_INT,
     .fallback = "12",
     .meta = "N",
     .help = "of each topic of the catalogue",
     .min = 1,
     .max = TOPICS_PARTITIONS_MAX},
    {.name = "journal",
     .fallback = "relearn-data/broker.journal",
     .meta = "FILE",
     .help = "what the bus remembers when it is started again; empty: nothing"},
    {.name = "unjournalled",
     .fallback = "predictions,labels,progress",
     .meta = "NAME,...",
     .help = "topics that are not journalled"},
    {.name = "sync-every",
     .type = CONF_DURATION,
     .fallback = "5ms",
     .meta = "TIME",
     .help =
         "at most so often is the journal synced; what came last may be lost when the machine dies",
     .max = 60000},
    {.name = "salvage",
     .type = CONF_BOOL,
     .help = "start with a damaged journal: keep what is whole, and the old file as FILE.damaged"},
    {.name = "listen",
     .fallback = "127.0.0.1:0",
     .meta = "HOST:PORT",
     .help = "where /healthz, /readyz, /metrics and /status are served; port 0: any"},
    {.name = "endpoint-file",
     .meta = "FILE",
     .help = "write the URL of these into this file when the bus is ready"},
    {.name = "stop-timeout",
     .type = CONF_DURATION,
     .fallback = "20s",
     .meta = "TIME",
     .help = "how long the journal may take to catch up when asked to stop",
     .max = 86400000},
    {.name = "log-level",
     .fallback = "info",
     .meta = "LEVEL",
     .help = "debug, info, warn or error"},
    {0},
};

struct broker {
    struct conf *conf;
    struct loop *loop;
    struct topics topics;
    struct journal *journal; /* NULL: none is kept */
    struct journal_scan scan;
    struct refill_report report;
    struct mock *mock;
    struct keeper *keeper;
    struct httpd *httpd;
    struct loop_timer *look;
    bool is_ready, is_stopping, is_done;
    int exit_code;
    int64_t stop_by_ms;

    struct bus_position *ends; /* of the journalled partitions, asked for on the pool */
    size_t n_ends;
    bool is_asking;
    struct err ends_err;
    struct httpd_request *waiting; /* for /metrics or /status: one at a time */
    struct err stalled;            /* the disk is full; code ERR_NONE: it is not */
};

static const char *text_of(const struct broker *b, const char *option)
{
    const char *s = conf_str(b->conf, option);

    return s ? s : "";
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void answer_report(struct broker *b);
static void stop_look(void *ctx);

static void ends_run(void *ctx)
{
    struct broker *b = ctx;

    b->ends_err = (struct err){0};
    if (mock_ends(b->mock, b->ends, b->n_ends, &b->ends_err))
        BUG_ON(b->ends_err.code == ERR_NONE);
}

static void ends_done(void *ctx)
{
    struct broker *b = ctx;

    b->is_asking = false;
    if (b->waiting)
        answer_report(b);
    if (b->is_stopping)
        stop_look(b);
}

static void ask_ends(struct broker *b)
{
    if (b->is_asking)
        return;
    b->is_asking = true;
    work_submit(b->loop, ends_run, ends_done, b);
}

static void list_ends(struct broker *b)
{
    b->ends = xcalloc(topics_journalled_partitions(&b->topics) + 1, sizeof(*b->ends));
    for (size_t i = 0; i < b->topics.n; i++) {
        const struct topic *t = &b->topics.items[i];

        for (int p = 0; t->is_journalled && p < t->partitions; p++)
            b->ends[b->n_ends++] = (struct bus_position){t->name, p, t->next[p]};
    }
}

/* ---- stop ------------------------------------------------------------------------------------ */

static void finish(struct broker *b)
{
    b->is_done = true;
    loop_stop(b->loop);
}

static void on_keeper_closed(void *ctx)
{
    struct broker *b = ctx;

    b->keeper = NULL;
    finish(b);
}

static void close_keeper(struct broker *b)
{
    loop_timer_stop(b->look);
    if (b->keeper)
        keeper_close(b->keeper, on_keeper_closed, b);
    else
        finish(b);
}

static void fail(struct broker *b, const struct err *err)
{
    log_error("broker.failed", "error=\"%s\"", err->msg);
    b->exit_code = 1;
    b->is_ready = false;
    finish(b);
}

static void stop_look(void *ctx)
{
    struct broker *b = ctx;
    struct err err = {0};

    if (b->is_done || b->is_asking)
        return;
    if (!b->keeper || (!b->ends_err.code && keeper_has(b->keeper, b->ends, b->n_ends))) {
        close_keeper(b);
        return;
    }
    if (clk_mono_ms(&clk_system) >= b->stop_by_ms) {
        err_set(&err, ERR_TIMEOUT, NEXT_FATAL, "the journal did not catch up within %s%s%s",
                text_of(b, "stop-timeout"), b->stalled.code ? ": " : "", b->stalled.msg);
        fail(b, &err);
        return;
    }
    loop_timer_start(b->look, BROKER_LOOK_MS);
}

static void on_look(void *ctx)
{
    ask_ends(ctx);
}

static void on_signal(void *ctx)
{
    struct broker *b = ctx;
    int n;

    if (b->is_stopping)
        return;
    b->is_stopping = true;
    b->is_ready = false;
    b->stop_by_ms = clk_mono_ms(&clk_system) + conf_int(b->conf, "stop-timeout");
    if (text_of(b, "address-file")[0])
        unlink(text_of(b, "address-file"));
    n = mock_cut_others(b->mock); /* from here on the ends stand still */
    log_info("broker.stopping", "connections=%d", n);
    if (b->keeper)
        ask_ends(b);
    else
        stop_look(b);
}

/* What cannot be kept must not be acknowledged: while the disk is full nobody is let in.  Clients
 * see a bus that is away, and go on where they were when it is back: it is the same cluster. */
static void on_keeper_stalled(void *ctx, const struct err *err)
{
    struct broker *b = ctx;

    b->stalled = err ? *err : (struct err){0};
    if (err) {
        int n = mock_cut_others(b->mock);
        log_error("broker.stalled",
                  "error=\"%s\" connections=%d next=\"make room; it goes on by itself\"", err->msg,
                  n);
    } else if (!b->is_stopping) {
        mock_admit(b->mock, true);
        log_info("broker.resumed", "journal=%s", text_of(b, "journal"));
    }
}

static void on_keeper_failed(void *ctx, const struct err *err)
{
    fail(ctx, err);
}

/* ---- endpoint -------------------------------------------------------------------------------- */

static uint64_t lag_of(const struct broker *b)
{
    uint64_t lag = 0;

    for (size_t i = 0; i < b->n_ends; i++) {
        const struct topic *t = topics_find(&b->topics, b->ends[i].topic);
        int64_t behind = b->ends[i].offset - t->next[b->ends[i].partition];

        lag += behind > 0 ? (uint64_t)behind : 0;
    }
    return lag;
}

static void answer_report(struct broker *b)
{
    CLEANUP(buf_fini) struct buf out = {0};
    struct httpd_request *rq = b->waiting;
    bool is_metrics = strcmp(httpd_path(rq), "/metrics") == 0;
    struct report r = {.is_ready = b->is_ready,
                       .stalled = b->stalled.msg,
                       .address = mock_address(b->mock),
                       .journal = b->journal ? text_of(b, "journal") : NULL,
                       .sync_every_ms = conf_int(b->conf, "sync-every"),
                       .scan = b->scan,
                       .refill = b->report};

    b->waiting = NULL;
    if (b->ends_err.code) {
        httpd_answer_error(rq, 503, "%s", b->ends_err.msg);
        return;
    }
    if (b->keeper)
        keeper_stats(b->keeper, &r.keeper);
    r.lag = lag_of(b) + r.keeper.pending;
    if (is_metrics)
        report_metrics(&r, &out);
    else
        report_status(&r, &out);
    httpd_answer(rq, 200, is_metrics ? "text/plain; version=0.0.4" : "application/json",
                 buf_slice(&out));
}

static void answer_ready(struct broker *b, struct httpd_request *rq)
{
    if (b->stalled.code)
        httpd_answer_error(rq, 503, "%s", b->stalled.msg);
    else
        httpd_answer(rq, b->is_ready ? 200 : 503, "text/plain",
                     slice_str(b->is_ready ? "ready\n" : "not ready\n"));
}

static void on_request(void *ctx, struct httpd_request *rq)
{
    struct broker *b = ctx;
    const char *path = httpd_path(rq);

    if (strcmp(httpd_method(rq), "GET") != 0) {
        httpd_answer_error(rq, 405, "only GET");
    } else if (strcmp(path, "/healthz") == 0) {
        httpd_answer(rq, 200, "text/plain", slice_str("ok\n"));
    } else if (strcmp(path, "/readyz") == 0) {
        answer_ready(b, rq);
    } else if (strcmp(path, "/metrics") != 0 && strcmp(path, "/status") != 0) {
        httpd_answer_error(rq, 404, "there are /healthz, /readyz, /metrics and /status");
    } else if (b->waiting) {
        httpd_answer_error(rq, 503, "one at a time");
    } else {
        b->waiting = rq;
        ask_ends(b);
    }
}

/* ---- start ----------------------------------------------------------------------------------- */

static int take_options(struct broker *b, struct err *err)
{
    enum log_level level;
    const char *topics = text_of(b, "topics"), *prefix = text_of(b, "prefix");

    if (log_level_parse(text_of(b, "log-level"), &level))
        return err_inval(err, "--log-level %s: give debug, info, warn or error",
                         text_of(b, "log-level"));
    log_init("broker", level);
    if (!topics[0])
        topics_add_catalogue(&b->topics, prefix, (int)conf_int(b->conf, "partitions"));
    else if (topics_add_list(&b->topics, topics, err))
        return -1;
    topics_leave_out(&b->topics, prefix, text_of(b, "unjournalled"));
    /* One that a dead bus has left would send clients to nobody. */
    if (text_of(b, "address-file")[0])
        unlink(text_of(b, "address-file"));
    return 0;
}

/* Partition counts of topics that the journal does not know yet. */
static int journal_topics(struct broker *b, struct err *err)
{
    CLEANUP(buf_fini) struct buf frame = {0};

    journal_begin(&frame);
    for (size_t i = 0; i < b->topics.n; i++) {
        struct topic *t = &b->topics.items[i];

        if (t->is_journalled && !t->is_in_journal)
            journal_add_topic(&frame, t->name, t->partitions);
        t->is_in_journal = t->is_journalled;
    }
    if (frame.len == JOURNAL_FRAME_HEAD_BYTES)
        return 0;
    return journal_append(b->journal, &frame, err);
}

static int open_journal(struct broker *b, struct err *err)
{
    const char *path = text_of(b, "journal");

    if (!path[0])
        return 0;
    if (journal_open(path, conf_bool(b->conf, "salvage"), &b->journal, &b->scan, err))
        return -1;
    if (b->scan.torn_bytes > 0)
        log_warn("broker.torn", "journal=%s cut_bytes=%zu kept_bytes=%zu", path, b->scan.torn_bytes,
                 b->scan.good_bytes);
    return 0;
}

static int start_keeper(struct broker *b, struct err *err)
{
    const struct keeper_conf conf = {
        .loop = b->loop,
        .brokers = mock_address(b->mock),
        .journal = b->journal,
        .topics = &b->topics,
        .sync_every_ms = conf_int(b->conf, "sync-every"),
        .on_failed = on_keeper_failed,
        .on_stalled = on_keeper_stalled,
        .ctx = b,
    };

    if (!b->journal)
        return 0;
    return journal_topics(b, err) || keeper_open(&conf, &b->keeper, err) ? -1 : 0;
}

static int publish(struct broker *b, struct err *err)
{
    const char *listen = text_of(b, "listen"), *colon = strrchr(listen, ':');
    const char *address = mock_address(b->mock);
    CLEANUP_FREE char *url = xasprintf("http://%.*s:%d", colon ? (int)(colon - listen) : 0, listen,
                                       httpd_port(b->httpd));

    if (text_of(b, "endpoint-file")[0] &&
        fsx_write_file(text_of(b, "endpoint-file"), url, strlen(url), err))
        return -1;
    if (text_of(b, "address-file")[0] &&
        fsx_write_file(text_of(b, "address-file"), address, strlen(address), err))
        return -1;
    b->is_ready = true;
    log_info("broker.ready",
             "address=%s endpoint=%s topics=%zu refilled=%" PRIu64 " journal=%s note=\"development "
             "bus: 5 MiB a partition, one process, no transactions\"",
             address, url, b->topics.n, b->report.records,
             b->journal ? text_of(b, "journal") : "none");
    return 0;
}

static int start(struct broker *b, struct err *err)
{
    const char *const *x;
    size_t n_x = conf_x(b->conf, &x);

    if (take_options(b, err) || loop_new(&b->loop, err))
        return -1;
    loop_on_stop_signal(b->loop, on_signal, b);
    b->look = loop_timer_new(b->loop, on_look, b);
    if (open_journal(b, err) || mock_open((int)conf_int(b->conf, "port"), x, n_x, &b->mock, err) ||
        refill(b->journal, &b->topics, b->mock, &b->report, err))
        return -1;
    list_ends(b);
    if (start_keeper(b, err) ||
        httpd_open(b->loop, text_of(b, "listen"), 0, on_request, b, &b->httpd, err))
        return -1;
    mock_admit(b->mock, true);
    return publish(b, err);
}

static void fini(struct broker *b)
{
    httpd_close(b->httpd);
    loop_timer_free(b->look);
    loop_free(b->loop);
    journal_close(b->journal);
    topics_fini(&b->topics);
    free(b->ends);
    conf_free(b->conf);
}

/* --help, --print-config, --docs or a mistake: true when there is nothing more to do. */
static bool is_settled(struct broker *b, int argc, char **argv, int *ret_code)
{
    const struct conf_option *tables[] = {broker_options, NULL};
    CLEANUP(buf_fini) struct buf out = {0};
    struct err err = {0};

    if (conf_parse(tables, argc, argv, &b->conf, &err)) {
        fprintf(stderr, "relearn-broker: %s\n", err.msg);
        *ret_code = EXIT_USAGE;
        return true;
    }
    if (!conf_print_if_asked(
            b->conf, "relearn-broker",
            "The embedded bus: Kafka's protocol on loopback, with a journal, for one machine.",
            "relearn-broker --port 19092 --journal data/broker.journal", &out))
        return false;
    fwrite(out.data, 1, out.len, stdout);
    conf_free(b->conf);
    *ret_code = 0;
    return true;
}

int broker_main(int argc, char **argv)
{
    struct broker b = {0};
    struct err err = {0};
    int code;

    if (is_settled(&b, argc, argv, &code))
        return code;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a journal at the limit of a file's size is a full disk */
    if (start(&b, &err)) {
        fprintf(stderr, "relearn-broker: %s\n", err.msg);
        _Exit(1);
    }
    loop_run(b.loop);
    if (b.exit_code) /* what is held is the operating system's to free */
        _Exit(b.exit_code);
    if (b.journal && journal_seal(b.journal, &err)) /* all that was acknowledged is kept */
        log_warn("broker.unsealed", "error=\"%s\"", err.msg);
    log_info("broker.stopped", "journal=%s", b.journal ? text_of(&b, "journal") : "none");
    fini(&b);
#ifdef RELEARN_TEST
    mock_close(b.mock);
#else /* destroying it takes a second, and there is nothing left to be saved */
    _Exit(0);
#endif
    return 0;
}
