/* The endpoints that every agent has, and its metrics (Prometheus text format 0.0.4). */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/agent_internal.h"
#include "common/fsx.h"
#include "common/mem.h"
#include "common/store.h"

static const double BUCKETS_MS[] = {0.5, 1,   2,    5,    10,   20,    50,   100,
                                    200, 500, 1000, 2000, 5000, 10000, 60000};

static struct metric_cell *cell(struct agent *a, char kind, const char *name, const char *labels)
{
    CLEANUP_FREE char *key = xconcat(name, "{", labels ? labels : "");
    struct metric_cell *c = NULL;
    HASH_FIND_STR(a->metrics, key, c);
    if (!c) {
        c = xcalloc(1, sizeof(*c));
        c->key = TAKE(key);
        c->name = xstrdup(name);
        c->labels = xstrdup(labels ? labels : "");
        c->kind = kind;
        HASH_ADD_KEYPTR(hh, a->metrics, c->key, strlen(c->key), c);
    }
    return c;
}

void agent_count(struct agent *a, const char *name, const char *labels, double add)
{
    cell(a, 'c', name, labels)->value += add;
}

double agent_counted(struct agent *a, const char *name, const char *labels)
{
    return cell(a, 'c', name, labels)->value;
}

void agent_observe_ms(struct agent *a, const char *name, const char *topic, double ms)
{
    CLEANUP_FREE char *labels = topic ? xconcat("topic=\"", topic, "\"") : NULL;
    struct metric_cell *c = cell(a, 'h', name, labels);
    size_t i = 0;
    while (i < ARRAY_LEN(BUCKETS_MS) && ms > BUCKETS_MS[i])
        i++;
    c->buckets[i]++;
    c->count++;
    c->sum += ms;
}

void agent__metrics_free(struct agent *a)
{
    struct metric_cell *c, *next;
    HASH_ITER (hh, a->metrics, c, next) {
        HASH_DEL(a->metrics, c);
        free_ptr(&c->key);
        free_ptr(&c->name);
        free_ptr(&c->labels);
        free_ptr(&c);
    }
}

static void write_histogram(const struct metric_cell *c, struct buf *out)
{
    uint64_t sum = 0;
    const char *comma = c->labels[0] ? "," : "";
    for (size_t i = 0; i < ARRAY_LEN(BUCKETS_MS); i++) {
        sum += c->buckets[i];
        buf_addf(out, "relearn_%s_bucket{%s%sle=\"%g\"} %llu\n", c->name, c->labels, comma,
                 BUCKETS_MS[i], (unsigned long long)sum);
    }
    buf_addf(out, "relearn_%s_bucket{%s%sle=\"+Inf\"} %llu\n", c->name, c->labels, comma,
             (unsigned long long)c->count);
    buf_addf(out, "relearn_%s_sum{%s} %g\nrelearn_%s_count{%s} %llu\n", c->name, c->labels, c->sum,
             c->name, c->labels, (unsigned long long)c->count);
}

static int by_name(struct metric_cell *x, struct metric_cell *y)
{
    return strcmp(x->key, y->key);
}

static void write_cells(struct agent *a, struct buf *out)
{
    HASH_SORT(a->metrics, by_name);
    const char *last = "";
    struct metric_cell *c, *next;
    HASH_ITER (hh, a->metrics, c, next) {
        if (strcmp(last, c->name) != 0)
            buf_addf(out, "# TYPE relearn_%s %s\n", c->name,
                     c->kind == 'c'   ? "counter"
                     : c->kind == 'g' ? "gauge"
                                      : "histogram");
        last = c->name;
        if (c->kind == 'h')
            write_histogram(c, out);
        else
            buf_addf(out, "relearn_%s{%s} %.17g\n", c->name, c->labels, c->value);
    }
}

static void write_inputs(struct agent *a, struct buf *out)
{
    buf_add_str(out, "# TYPE relearn_in_flight gauge\n");
    for (size_t i = 0; i < a->n_inputs; i++) {
        const struct input *in = &a->inputs[i];
        size_t n = 0;
        for (int p = 0; p < in->partitions; p++)
            n += in->parts[p].n_pending;
        if (in->kind == INPUT_WORK)
            buf_addf(out, "relearn_in_flight{topic=\"%s\"} %zu\n", record_topic(in->record), n);
    }
    buf_add_str(out, "# TYPE relearn_lag gauge\n# HELP relearn_lag events read and not yet "
                     "answered, with those not yet read counted from the last look\n");
    for (size_t i = 0; i < a->n_inputs; i++) {
        const struct input *in = &a->inputs[i];
        int64_t lag = 0;
        for (int p = 0; p < in->partitions; p++)
            if (in->parts[p].assigned && in->parts[p].settled > 0 && in->kind != INPUT_TABLE &&
                in->kind != INPUT_GLOBAL)
                lag += in->parts[p].next - in->parts[p].settled;
        if (in->kind == INPUT_WORK || in->kind == INPUT_STREAM)
            buf_addf(out, "relearn_lag{topic=\"%s\"} %lld\n", record_topic(in->record),
                     (long long)lag);
    }
    double oldest_s = 0;
    int64_t now_us = clk_unix_us(a->clk);
    for (size_t i = 0; i < a->n_inputs; i++)
        for (int p = 0; p < a->inputs[i].partitions; p++) {
            const struct part *part = &a->inputs[i].parts[p];
            if (part->n_pending && part->pending[part->head].ev) {
                double age = (double)(now_us - part->pending[part->head].ev->time_unix_us) / 1e6;
                oldest_s = age > oldest_s ? age : oldest_s;
            }
        }
    buf_addf(
        out,
        "# TYPE relearn_oldest_pending_age_seconds gauge\nrelearn_oldest_pending_age_seconds %g\n",
        oldest_s);
}

static void write_process(struct agent *a, struct buf *out)
{
    /* /proc/self/statm: total and resident pages come first */
    struct err err = {0};
    CLEANUP(buf_fini) struct buf b = {0};
    enum { STATM_BYTES = 4096 };
    char *resident = NULL, *end = NULL;
    if (fsx_read_file("/proc/self/statm", STATM_BYTES, &b, &err) == 0 && b.len)
        resident = strchr(b.data, ' ');
    if (resident)
        buf_addf(out,
                 "# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes %lld\n",
                 strtoll(resident, &end, 10) * sysconf(_SC_PAGESIZE));
    struct bus_stats st = {0};
    if (a->bus)
        bus_stats(a->bus, &st);
    buf_addf(out, "# TYPE relearn_bus_received_total counter\nrelearn_bus_received_total %llu\n",
             (unsigned long long)st.received);
    buf_addf(out, "# TYPE relearn_bus_delivered_total counter\nrelearn_bus_delivered_total %llu\n",
             (unsigned long long)st.delivered);
    buf_addf(out,
             "# TYPE relearn_bus_delivery_failed_total counter\nrelearn_bus_delivery_failed_total "
             "%llu\n",
             (unsigned long long)st.delivery_failed);
    buf_addf(out,
             "# TYPE relearn_bus_reconnects_total counter\nrelearn_bus_reconnects_total %llu\n",
             (unsigned long long)st.reconnects);
    buf_addf(out, "# TYPE relearn_ready gauge\nrelearn_ready %d\n", a->is_ready ? 1 : 0);
    buf_addf(out, "# TYPE relearn_info gauge\nrelearn_info{agent=\"%s\",instance=\"%s\"} 1\n",
             a->spec->name, a->instance);
}

static void answer_metrics(struct agent *a, struct httpd_request *rq)
{
    CLEANUP(buf_fini) struct buf out = {0};
    write_process(a, &out);
    write_inputs(a, &out);
    write_cells(a, &out);
    if (a->spec->metrics && a->is_open)
        a->spec->metrics(a, &out);
    httpd_answer(rq, 200, "text/plain; version=0.0.4; charset=utf-8", buf_slice(&out));
}

static void answer_json(struct httpd_request *rq, int status, struct json *j)
{
    CLEANUP(buf_fini) struct buf out = {0};
    json_write(j, 0, false, &out);
    buf_add_char(&out, '\n');
    json_free(j);
    httpd_answer(rq, status, "application/json", buf_slice(&out));
}

static bool is_serving(struct agent *a)
{
    return a->is_ready && !a->is_stopping &&
           (!a->spec->is_ready || (a->is_open && a->spec->is_ready(a)));
}

static struct json *status_json(struct agent *a)
{
    struct json *j = json_object();
    json_set_str(j, "agent", a->spec->name);
    json_set_str(j, "instance", a->instance);
    json_set_bool(j, "ready", is_serving(a));
    json_set_bool(j, "stopping", a->is_stopping);
    json_set_bool(j, "bus", bus_is_up(a->bus));
    json_set_str(j, "cluster", a->cluster);
    json_set_int(j, "pid", getpid());
    json_set_str(j, "version", RELEARN_VERSION);
    json_set_str(j, "librdkafka", bus_library());
    json_set_str(j, "sqlite", store_library());
    json_set_int(j, "now_unix_ms", clk_unix_ms(a->clk));
    json_set_int(j, "uptime_ms", clk_mono_ms(a->clk) - a->started_mono_ms);
    int64_t pending = 0;
    for (size_t i = 0; i < a->n_inputs; i++)
        for (int p = 0; p < a->inputs[i].partitions; p++)
            pending += (int64_t)a->inputs[i].parts[p].n_pending;
    json_set_int(j, "pending", pending);
    json_set_int(j, "emitting", (int64_t)HASH_COUNT(a->flights)); /* not read back yet */
    json_set_int(j, "unacknowledged", (int64_t)a->publishing);
    json_set_bool(j, "looking", a->dirty_head != NULL); /* at what changed, or waits for causes */
    json_set_bool(j, "idle", agent_is_idle(a));
    return j;
}

/* ---- the fold in one number: of two that have read the same it is the same ---- */

static void add_text(struct digest *d, const char *text)
{
    digest_add(d, text ? text : "-", strlen(text ? text : "-") + 1);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Of events that outside producers write too, a key may have some on a partition that is not its
 * own, and who reads every partition meets these sooner or later than the others: what counts is
 * which there are.  What carries a base lies on one partition, in the order that chose the winners.
 */
static void add_ids(struct digest *d, enum record r, const struct event_list *list)
{
    bool is_chain =
        r == RECORD_TRAINING_PLANNED || r == RECORD_GATE_DECIDED || r == RECORD_DEPLOYMENT_CHANGED;
    const char **ids = xcalloc(list->n + 1, sizeof(*ids));
    for (size_t i = 0; i < list->n; i++)
        ids[i] = list->items[i]->id;
    if (!is_chain)
        qsort(ids, list->n, sizeof(*ids), by_text);
    for (size_t i = 0; i < list->n; i++)
        add_text(d, ids[i]);
    free_ptr(&ids);
}

/* Returns how many events it is made of. */
static int64_t digest_line(const struct line *l, struct digest *d)
{
    int64_t n = 0,
            numbers[] = {l->plans_base, l->decisions_base, l->deployments_base, l->generation};
    add_text(d, l->key);
    digest_add(d, numbers, sizeof(numbers));
    add_text(d, l->in_flight ? l->in_flight->id : NULL);
    add_text(d, l->pause ? l->pause->id : NULL);
    add_text(d, l->deployment ? l->deployment->id : NULL);
    for (int r = 0; r < RECORD_COUNT; r++) {
        add_ids(d, (enum record)r, &l->ev[r]);
        n += (int64_t)l->ev[r].n;
    }
    return n;
}

/* Units are in the order in which they were met, which the digest must not show: theirs are added
 * up digit by digit. */
static struct json *fold_json(struct agent *a)
{
    enum { DIGITS = DIGEST_HEX_SIZE - 1 };
    static const char HEX[] = "0123456789abcdef";
    unsigned sum[DIGITS] = {0};
    char hex[DIGEST_HEX_SIZE] = "";
    struct digest *d = digest_new();
    struct json *j = json_object();
    int64_t events = 0;
    for (struct unit_x *x = a->units; x; x = x->hh.next) {
        events += digest_line(x->u.line, d);
        digest_end(d, hex);
        for (int i = 0; i < DIGITS; i++)
            sum[i] += (unsigned)(strchr(HEX, hex[i]) - HEX);
    }
    for (int i = 0; i < DIGITS; i++)
        hex[i] = HEX[sum[i] % 16];
    digest_free(d);
    json_set_int(j, "events", events);
    json_set_int(j, "units", (int64_t)HASH_COUNT(a->units));
    json_set_str(j, "digest", hex);
    return j;
}

void agent__on_http(void *ctx, struct httpd_request *rq)
{
    struct agent *a = ctx;
    const char *path = httpd_path(rq);
    bool is_get = strcmp(httpd_method(rq), "GET") == 0 || strcmp(httpd_method(rq), "HEAD") == 0;
    if (is_get && strcmp(path, "/healthz") == 0) {
        httpd_answer(rq, 200, "text/plain", slice_str("ok\n"));
    } else if (is_get && strcmp(path, "/readyz") == 0) {
        bool ready = is_serving(a) && bus_is_up(a->bus);
        answer_json(rq, ready ? 200 : 503, status_json(a));
    } else if (is_get && strcmp(path, "/metrics") == 0) {
        answer_metrics(a, rq);
    } else if (is_get && strcmp(path, "/status") == 0) {
        struct json *j = status_json(a);
        if (a->spec->status && a->is_open)
            a->spec->status(a, j);
        answer_json(rq, 200, j);
    } else if (is_get && strcmp(path, "/fold") == 0) {
        answer_json(rq, 200, fold_json(a));
    } else if (a->spec->http && !a->is_open) {
        httpd_answer_error(rq, 503, "not ready: the bus has not answered yet");
    } else if (!a->spec->http || !a->spec->http(a, rq)) {
        httpd_answer_error(rq, 404, "no such path: %s", path);
    }
}
