/* The monitor agent's shell. */
#include "agents/monitor/monitor.h"

#include <string.h>

#include "agents/monitor/monitor_internal.h"
#include "common/mem.h"

/* ---- partitions ---- */

struct part *monitor__part(struct monitor *m, int partition)
{
    struct part *p;

    BUG_ON(partition < 0);
    if ((size_t)partition >= m->n_parts) {
        size_t n = (size_t)partition + 1;

        m->parts = xrealloc(m->parts, n * sizeof(struct part *));
        memset(m->parts + m->n_parts, 0, (n - m->n_parts) * sizeof(struct part *));
        m->n_parts = n;
    }
    if (m->parts[partition])
        return m->parts[partition];
    p = m->parts[partition] = xcalloc(1, sizeof(*p));
    p->partition = partition;
    p->windows.join = join_new(MONITOR_EARLY_MAX, MONITOR_SEEN_MAX);
    p->label_read_ms = clk_mono_ms(agent_clk(m->a));
    return p;
}

static void part_free(struct monitor *m, int partition)
{
    struct part *p = (size_t)partition < m->n_parts ? m->parts[partition] : NULL;

    if (!p)
        return;
    m->parts[partition] = NULL;
    BUG_ON(p->windows.n); /* their lines went first */
    for (size_t i = 0; i < p->n_held; i++)
        event_free(p->held[i].ev);
    free_ptr(&p->held);
    join_free(p->windows.join);
    free_ptr(&p);
}

/* Everything below is settled: nothing in memory needs it.  Bounded, so that one line with few
 * predictions does not make a restart read all of the others' again. */
static int64_t position(int64_t needed, int64_t next)
{
    int64_t at = needed >= 0 && needed < next ? needed : next;

    return at < next - MONITOR_REREAD_MAX ? next - MONITOR_REREAD_MAX : at;
}

void monitor__read(struct part *p, int64_t offset, int64_t now_ms)
{
    enum { STEP_MS = MONITOR_REMEMBER_MS / (MONITOR_CHECKPOINTS - 1) };

    if (p->n_read && now_ms - p->read[p->n_read - 1].read_ms < STEP_MS)
        return;
    while (p->n_read == MONITOR_CHECKPOINTS ||
           (p->n_read > 1 && now_ms - p->read[1].read_ms >= MONITOR_REMEMBER_MS))
        memmove(p->read, p->read + 1, --p->n_read * sizeof(*p->read));
    p->read[p->n_read++] = (struct checkpoint){offset, now_ms};
}

static int64_t lower(int64_t a, int64_t b)
{
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

void monitor__commit(struct monitor *m, struct part *p)
{
    int64_t predictions, labels;

    if (++p->uncommitted < MONITOR_COMMIT_EVERY)
        return;
    p->uncommitted = 0;
    predictions = windows_predictions_from(&p->windows);
    if (p->n_read)
        predictions = lower(predictions, p->read[0].offset);
    if (p->n_held)
        predictions = lower(predictions, p->held[0].ev->offset);
    labels = lower(windows_labels_from(&p->windows), join_oldest_offset(p->windows.join));
    if (p->next_prediction)
        agent_stream_done(m->a, RECORD_PREDICTION_SERVED, p->partition,
                          position(predictions, p->next_prediction));
    if (p->next_label)
        agent_stream_done(m->a, RECORD_LABEL_OBSERVED, p->partition,
                          position(labels, p->next_label));
}

/* ---- lines ---- */

struct watched *monitor__watched(struct monitor *m, struct unit *u)
{
    struct watched *w = u->self;

    if (w)
        return w;
    u->self = w = xcalloc(1, sizeof(*w));
    w->part = monitor__part(m, u->partition);
    return w;
}

struct watch *monitor__watch(struct watched *w, int64_t generation)
{
    struct watch *g = w->generations;

    while (g && g->series.generation != generation)
        g = g->next;
    return g;
}

void monitor__watched_free(struct monitor *m, struct unit *u)
{
    struct watched *w = u->self;

    u->self = NULL;
    while (w && w->generations) {
        struct watch *g = w->generations;
        struct reference *r = g->series.reference;

        w->generations = g->next;
        series_fini(&g->series);
        references_release(m->references, r);
        free_ptr(&g);
    }
    free_ptr(&w);
}

/* ---- callbacks ---- */

static void on_loaded(void *ctx)
{
    monitor__flush(ctx);
}

static void on_hold_timer(void *ctx)
{
    monitor__flush(ctx);
}

static int open(struct agent *a, struct err *err)
{
    struct monitor *m = agent_self(a);

    (void)err;
    m->a = a;
    m->references = references_new(agent_loop(a), agent_artifacts(a), on_loaded, m);
    m->hold_timer = loop_timer_new(agent_loop(a), on_hold_timer, m);
    m->rows_max = (size_t)conf_int(agent_conf(a), "rows-waiting");
    return 0;
}

static void drop_self(struct agent *a, struct unit *u, void *ctx)
{
    (void)ctx;
    monitor__watched_free(agent_self(a), u);
}

static void close(struct agent *a)
{
    struct monitor *m = agent_self(a);

    agent_each_unit(a, drop_self, NULL);
    for (size_t i = 0; i < m->n_parts; i++)
        part_free(m, (int)i);
    free_ptr(&m->parts);
    m->n_parts = 0;
    loop_timer_free(m->hold_timer);
    references_free(m->references);
}

static void drop(struct agent *a, struct unit *u)
{
    monitor__watched_free(agent_self(a), u);
}

static void released(struct agent *a, int partition)
{
    part_free(agent_self(a), partition);
}

static void folded(struct agent *a, struct unit *u, const struct event *ev)
{
    struct monitor *m = agent_self(a);

    if (ev->type == RECORD_HEALTH_MEASURED)
        monitor__on_health(m, u, ev->rec);
    if (ev->type == RECORD_DEPLOYMENT_CHANGED)
        monitor__flush(m);
}

static void longest(struct agent *a, const struct pipeline *p, void *ctx)
{
    struct monitor *m = ctx;

    (void)a;
    if (p->lateness_ms > m->lateness_max_ms)
        m->lateness_max_ms = p->lateness_ms;
}

static void pipelines(struct agent *a, const char *name)
{
    struct monitor *m = agent_self(a);

    (void)name;
    m->lateness_max_ms = 0;
    agent_each_pipeline(a, longest, m);
    monitor__flush(m);
}

static void stream(struct agent *a, struct event *ev)
{
    if (ev->type == RECORD_PREDICTION_SERVED)
        monitor__prediction(agent_self(a), ev);
    else
        monitor__label(agent_self(a), ev);
}

static int reconcile(struct agent *a, struct unit *u, struct err *err)
{
    return monitor__reconcile(agent_self(a), u, err);
}

static void metrics(struct agent *a, struct buf *out)
{
    struct monitor *m = agent_self(a);
    size_t rows = 0, windows = 0, held = 0, early = 0;

    for (size_t i = 0; i < m->n_parts; i++) {
        if (!m->parts[i])
            continue;
        rows += join_rows(m->parts[i]->windows.join);
        windows += m->parts[i]->windows.n;
        held += m->parts[i]->n_held;
        early += join_held(m->parts[i]->windows.join);
    }
    buf_addf(out, "# TYPE relearn_rows_waiting gauge\nrelearn_rows_waiting %zu\n", rows);
    buf_addf(out, "# TYPE relearn_windows_in_memory gauge\nrelearn_windows_in_memory %zu\n",
             windows);
    buf_addf(out, "# TYPE relearn_predictions_held gauge\nrelearn_predictions_held %zu\n", held);
    buf_addf(out, "# TYPE relearn_labels_held gauge\nrelearn_labels_held %zu\n", early);
}

static const struct agent_input INPUTS[] = {
    {RECORD_PREDICTION_SERVED, INPUT_STREAM}, {RECORD_LABEL_OBSERVED, INPUT_STREAM},
    {RECORD_DEPLOYMENT_CHANGED, INPUT_TABLE}, {RECORD_HEALTH_MEASURED, INPUT_TABLE},
    {RECORD_DRIFT_DETECTED, INPUT_TABLE},
};
static const enum record OUTPUTS[] = {RECORD_HEALTH_MEASURED, RECORD_DRIFT_DETECTED};
static const struct conf_option OPTIONS[] = {
    {.name = "rows-waiting",
     .type = CONF_INT,
     .fallback = "200000",
     .meta = "N",
     .help = "predicted rows of a partition that may wait for their labels; beyond it the oldest "
             "windows are judged early",
     .min = 1000,
     .max = 10000000},
    {0},
};

const struct agent_spec monitor_agent = {
    .name = "monitor",
    .purpose =
        "Watches what is predicted: drift against the training data, realised quality, alerts.",
    .example = "relearn-monitor --brokers localhost:9092 --share 1/1",
    .inputs = INPUTS,
    .n_inputs = ARRAY_LEN(INPUTS),
    .outputs = OUTPUTS,
    .n_outputs = ARRAY_LEN(OUTPUTS),
    .options = OPTIONS,
    .self_bytes = sizeof(struct monitor),
    .open = open,
    .close = close,
    .folded = folded,
    .reconcile = reconcile,
    .stream = stream,
    .pipelines = pipelines,
    .drop = drop,
    .released = released,
    .metrics = metrics,
};
