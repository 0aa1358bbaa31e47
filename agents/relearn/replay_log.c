#include "agents/relearn/replay_log.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <uthash.h>

#include "agents/relearn/replay_rest.h"
#include "common/log.h"
#include "common/mem.h"

const char *const replay_hop_names[REPLAY_HOPS] = {"ingest", "plan",   "train", "evaluate",
                                                   "gate",   "deploy", "serve"};

static struct replay_log *self_of(struct agent *a)
{
    return *(struct replay_log **)agent_self(a);
}

static bool is_ours(const struct replay_log *r, const struct line *l)
{
    return strcmp(l->pipeline, r->pipeline) == 0;
}

static void folded(struct agent *a, struct unit *u, const struct event *ev)
{
    struct replay_log *r = self_of(a);
    if (ev->type == RECORD_SERVING_CHANGED || is_ours(r, u->line)) {
        r->changes++;
        if (r->on_event)
            r->on_event(r->on_event_ctx, u->line, ev);
    }
}

static struct awaited *awaited(struct replay_log *r, const char *id)
{
    struct awaited *w = NULL;
    HASH_FIND_STR(r->predictions, id, w);
    if (w)
        return w;
    w = xcalloc(1, sizeof(*w));
    str_copy(w->id, sizeof(w->id), id);
    HASH_ADD_STR(r->predictions, id, w);
    return w;
}

static bool is_line_ours(const struct replay_log *r, const char *line)
{
    size_t n = strcspn(line, "/");
    return strlen(r->pipeline) == n && strncmp(line, r->pipeline, n) == 0;
}

static void take_prediction(struct replay_log *r, const struct prediction_served *p)
{
    if (!is_line_ours(r, p->line))
        return;
    struct awaited *w = awaited(r, p->prediction);
    if (w->is_seen)
        r->repeated++;
    else if (w->is_expected)
        r->missing--;
    w->is_seen = true;
    r->changes++;
}

/* Predictions and labels are too many to fold: their ids are ticked off. */
static void stream(struct agent *a, struct event *ev)
{
    struct replay_log *r = self_of(a);
    if (ev->type == RECORD_PREDICTION_SERVED)
        take_prediction(r, ev->rec);
    if (ev->type == RECORD_LABEL_OBSERVED && is_line_ours(r, EV_REC(ev, label_observed)->line)) {
        r->labels_seen++;
        r->changes++;
    }
    event_free(ev);
}

static void ready(struct agent *a)
{
    self_of(a)->is_ready = true;
}

static const struct agent_input INPUTS[] = {
    {RECORD_DATASET_PUBLISHED, INPUT_GLOBAL},     {RECORD_DATASET_INGESTED, INPUT_GLOBAL},
    {RECORD_DRIFT_DETECTED, INPUT_GLOBAL},        {RECORD_OPERATOR_COMMANDED, INPUT_GLOBAL},
    {RECORD_TRAINING_PLANNED, INPUT_GLOBAL},      {RECORD_TRAINING_FINISHED, INPUT_GLOBAL},
    {RECORD_MODEL_EVALUATED, INPUT_GLOBAL},       {RECORD_GATE_DECIDED, INPUT_GLOBAL},
    {RECORD_DEPLOYMENT_CHANGED, INPUT_GLOBAL},    {RECORD_HEALTH_MEASURED, INPUT_GLOBAL},
    {RECORD_SERVING_CHANGED, INPUT_GLOBAL},       {RECORD_PREDICTION_SERVED, INPUT_GLOBAL_STREAM},
    {RECORD_LABEL_OBSERVED, INPUT_GLOBAL_STREAM},
};

static const struct agent_spec replay_agent = {
    .name = "replay",
    .purpose = "Reads every topic while a replay runs.",
    .inputs = INPUTS,
    .n_inputs = ARRAY_LEN(INPUTS),
    .self_bytes = sizeof(struct replay_log *),
    .folded = folded,
    .stream = stream,
    .ready = ready,
};

static bool is_ready(void *ctx)
{
    const struct replay_log *r = ctx;
    return r->is_ready || agent_exit_code(r->agent);
}

int replay_log_open(struct loop *l, const char *brokers, const char *prefix, const char *data,
                    const char *const *x, size_t n_x, const char *pipeline, struct replay_log **ret,
                    struct err *err)
{
    enum { MAX_ARGS = 64, READY_MS = 60000 };
    char *argv[MAX_ARGS] = {(char *)(uintptr_t) "relearn-replay"};
    struct arena mem = {0};
    int argc = 1;
    argv[argc++] = arena_printf(&mem, "--brokers=%s", brokers);
    argv[argc++] = arena_printf(&mem, "--prefix=%s", prefix);
    argv[argc++] = arena_printf(&mem, "--data=%s", data);
    argv[argc++] = arena_printf(&mem, "--no-cache");
    argv[argc++] = arena_printf(&mem, "--share=1/1");
    argv[argc++] = arena_printf(&mem, "--instance=replay");
    argv[argc++] = arena_printf(&mem, "--log-level=warn");
    for (size_t i = 0; i < n_x && argc < MAX_ARGS - 1; i++) {
        argv[argc++] = arena_printf(&mem, "-X");
        argv[argc++] = arena_strdup(&mem, x[i]);
    }
    struct replay_log *r = xcalloc(1, sizeof(*r));
    r->pipeline = xstrdup(pipeline);
    r->loop = l;
    int rc = agent_new(&replay_agent, l, argc, argv, &r->agent, err);
    if (!rc) {
        *(struct replay_log **)agent_self(r->agent) = r;
        rc = agent_start(r->agent, err);
    }
    arena_fini(&mem);
    if (!rc && (!loop_until(l, is_ready, r, READY_MS) || agent_exit_code(r->agent)))
        rc = err_set(err, ERR_TIMEOUT, NEXT_RETRY, "the topics on %s could not be read within %d s",
                     brokers, READY_MS / 1000);
    if (rc) {
        replay_log_close(r);
        return -1;
    }
    *ret = r;
    return 0;
}

static void on_stopped(void *ctx)
{
    *(bool *)ctx = true;
}

static bool is_true(void *ctx)
{
    return *(bool *)ctx;
}

void replay_log_close(struct replay_log *r)
{
    if (!r)
        return;
    enum { STOP_MS = 10000 };
    bool stopped = false;
    if (r->agent && !agent_exit_code(r->agent)) {
        agent_stop(r->agent, on_stopped, &stopped);
        loop_until(r->loop, is_true, &stopped, STOP_MS);
    }
    agent_free(r->agent);
    struct awaited *w, *next;
    HASH_ITER (hh, r->predictions, w, next) {
        HASH_DEL(r->predictions, w);
        free_ptr(&w);
    }
    struct served_count *c, *cnext;
    HASH_ITER (hh, r->served, c, cnext) {
        HASH_DEL(r->served, c);
        free_ptr(&c);
    }
    for (size_t i = 0; i < r->n_datasets; i++) {
        free_ptr(&r->datasets[i].id);
        free_ptr(&r->datasets[i].dataset);
    }
    free_ptr(&r->datasets);
    free_ptr(&r->pipeline);
    free_ptr(&r);
}

void replay_log_expect_dataset(struct replay_log *r, const char *event_id, const char *dataset,
                               int64_t rows)
{
    r->datasets = xgrow(r->datasets, &r->cap_datasets, r->n_datasets + 1, sizeof(*r->datasets));
    r->datasets[r->n_datasets++] = (struct awaited_dataset){
        .id = xstrdup(event_id), .dataset = xstrdup(dataset), .rows = rows};
}

static struct served_count *served_count(struct replay_log *r, const char *line, int64_t generation)
{
    char key[SERVED_KEY_SIZE];
    struct served_count *c = NULL;
    snprintf(key, sizeof(key), "%s %lld", line, (long long)generation);
    HASH_FIND_STR(r->served, key, c);
    if (c)
        return c;
    c = xcalloc(1, sizeof(*c));
    str_copy(c->key, sizeof(c->key), key);
    str_copy(c->line, sizeof(c->line), line);
    c->generation = generation;
    HASH_ADD_STR(r->served, key, c);
    return c;
}

void replay_log_expect_prediction(struct replay_log *r, const char *prediction, const char *line,
                                  int64_t generation)
{
    struct awaited *w = awaited(r, prediction);
    if (!w->is_expected && !w->is_seen)
        r->missing++;
    w->is_expected = true;
    served_count(r, line, generation)->rows++;
}

void replay_log_expect_labels(struct replay_log *r, int64_t n)
{
    r->labels_expected += n;
}

void replay_log_on_event(struct replay_log *r, replay_event_fn fn, void *ctx)
{
    r->on_event = fn;
    r->on_event_ctx = ctx;
}

struct each_line {
    struct replay_log *r;
    void (*fn)(void *ctx, const struct line *l);
    void *ctx;
};

static void each_unit(struct agent *a, struct unit *u, void *ctx)
{
    (void)a;
    struct each_line *e = ctx;
    /* a dataset may be called as the pipeline is: it has no events of lines */
    if (is_ours(e->r, u->line) && !u->line->ev[RECORD_DATASET_PUBLISHED].n &&
        !u->line->ev[RECORD_SERVING_CHANGED].n)
        e->fn(e->ctx, u->line);
}

void replay_log_each_line(struct replay_log *r, void (*fn)(void *ctx, const struct line *l),
                          void *ctx)
{
    struct each_line e = {r, fn, ctx};
    agent_each_unit(r->agent, each_unit, &e);
}

static void count_line(void *ctx, const struct line *l)
{
    struct replay_counts *c = ctx;
    const struct event_list *plans = &l->ev[RECORD_TRAINING_PLANNED],
                            *decisions = &l->ev[RECORD_GATE_DECIDED];
    for (size_t i = 0; i < plans->n; i++)
        c->runs += strcmp(EV_REC(plans->items[i], training_planned)->kind, "requested") == 0;
    for (size_t i = 0; i < decisions->n; i++) {
        const char *verdict = EV_REC(decisions->items[i], gate_decided)->verdict;
        c->promoted += strcmp(verdict, "promote") == 0;
        c->rejected += strcmp(verdict, "reject") == 0 || strcmp(verdict, "inconclusive") == 0;
    }
    c->drift_alerts += (int64_t)l->ev[RECORD_DRIFT_DETECTED].n;
    int64_t generations = 0; /* without gap or repeat */
    const struct event_list *changes = &l->ev[RECORD_DEPLOYMENT_CHANGED];
    for (size_t i = 0; i < changes->n; i++) {
        const struct deployment_changed *d = EV_REC(changes->items[i], deployment_changed);
        if (strcmp(d->kind, "changed") != 0)
            continue;
        if (d->generation > generations + 1)
            c->lost++;
        generations = d->generation > generations ? d->generation : generations;
    }
}

void replay_log_counts(struct replay_log *r, struct replay_counts *ret)
{
    struct replay_counts c = {.repeated = r->repeated +
                                          (int64_t)agent_counted(r->agent, "repeated_total", NULL)};
    replay_log_each_line(r, count_line, &c);
    for (size_t i = 0; i < r->n_datasets; i++)
        c.lost += !replay_dataset_has_outcome(r, &r->datasets[i]);
    struct awaited *w, *next;
    HASH_ITER (hh, r->predictions, w, next)
        c.lost += w->is_expected && !w->is_seen;
    if (r->labels_seen < r->labels_expected)
        c.lost += r->labels_expected - r->labels_seen;
    else
        c.repeated += r->labels_seen - r->labels_expected;
    *ret = c;
}
