/* Ingest's shell.  A unit is a dataset; for each pipeline that uses it there is a flow, in which
 * the versions are taken one after the other: start the work on the pool, emit what it found for
 * each line, go on when all of that has been read back.  What is owed is owed.h's to say. */
#include "agents/ingest/ingest.h"

#include "agents/ingest/owed.h"
#include "agents/ingest/task.h"
#include "common/log.h"
#include "common/strset.h"

enum { OUTCOMES_LOGGED = 20 }; /* of one dataset: a thousand segments need no thousand lines */

struct flow { /* one pipeline's versions of a dataset */
    struct flow *next;
    char *pipeline;
    char *complete; /* id of the newest event that is answered for every segment, as far as known
                       here */
    struct ingest_task *task;
};
struct ingest_self {
    struct strset answered; /* "pipeline event": some line has an answer; "pipeline event *": the
                               pipeline's own */
    struct crew *crew;
    struct task_limits limits;
    int64_t jobs;
};

static struct ingest_self *self_of(struct agent *a)
{
    return agent_self(a);
}

/* ---- what is owed ---- */

struct asking { /* context of has_answer */
    const struct ingest_self *self;
    const char *pipeline;
};

static bool is_marked(const struct ingest_self *self, const char *pipeline, const char *event,
                      const char *tail)
{
    char key[PIPELINE_NAME_MAX + 160];
    int n = snprintf(key, sizeof(key), "%s %s%s", pipeline, event, tail);

    return n > 0 && (size_t)n < sizeof(key) &&
           strset_find(&self->answered, slice_str(key)) != STRSET_NONE;
}

static bool has_answer(void *ctx, const struct event *dataset, bool *ret_is_whole)
{
    const struct asking *q = ctx;

    *ret_is_whole = is_marked(q->self, q->pipeline, dataset->id, " *");
    return *ret_is_whole || is_marked(q->self, q->pipeline, dataset->id, "");
}

static struct owed_input question(struct agent *a, const struct unit *u, const struct pipeline *p,
                                  const struct flow *f, struct asking *q)
{
    const struct event_list *list = &u->line->ev[RECORD_DATASET_PUBLISHED];
    const struct event *declared = agent_pipeline_event(a, p->name);
    const struct pipeline_declared *rec = declared->rec;
    int64_t since = rec->first_declared_unix_ms;

    if (since == ABSENT_I64)
        since = rec->declared_unix_ms == ABSENT_I64 ? declared->time_unix_us / 1000
                                                    : rec->declared_unix_ms;
    *q = (struct asking){self_of(a), p->name};
    return (struct owed_input){
        .datasets = list->items,
        .n = list->n,
        .first_declared_unix_ms = since,
        .is_segmented = p->segment != NULL,
        .has_answer = has_answer,
        .ctx = q,
        .complete = f ? f->complete : NULL,
    };
}

static struct flow *flow_of(struct unit *u, const char *pipeline, bool create)
{
    struct flow *f = u->self;

    while (f && strcmp(f->pipeline, pipeline) != 0)
        f = f->next;
    if (f || !create)
        return f;
    f = xcalloc(1, sizeof(*f));
    f->pipeline = xstrdup(pipeline);
    f->next = u->self;
    u->self = f;
    return f;
}

/* ---- starting ---- */

struct collecting { /* lines of a pipeline with their snapshots */
    const char *pipeline, *event;
    struct ingest_line *lines;
    size_t n, cap;
};

static void collect_line(struct agent *a, struct unit *u, void *ctx)
{
    struct collecting *c = ctx;
    const struct event_list *list = &u->line->ev[RECORD_DATASET_INGESTED];
    const char *digests[SEEN_MAX_SNAPSHOTS];
    size_t n = 0;

    (void)a;
    if (list->n == 0 || strcmp(u->line->pipeline, c->pipeline) != 0)
        return;
    for (size_t i = list->n; i-- > 0 && n < SEEN_MAX_SNAPSHOTS;) {
        const struct dataset_ingested *rec = list->items[i]->rec;

        if (rec->snapshot && digest_is_hex(rec->snapshot) &&
            !(list->items[i]->cause && strcmp(list->items[i]->cause, c->event) == 0))
            digests[SEEN_MAX_SNAPSHOTS - ++n] = rec->snapshot;
    }
    c->lines = xgrow(c->lines, &c->cap, c->n + 1, sizeof(*c->lines));
    c->lines[c->n++] = (struct ingest_line){
        u->line->segment, xmemdup(digests + SEEN_MAX_SNAPSHOTS - n, n * sizeof(*digests)), n};
}

static void on_done(struct ingest_task *t, void *ctx)
{
    (void)t;
    agent_touch_all(ctx); /* its own dataset goes on, and one that waits for a free place */
}

static int start(struct agent *a, struct flow *f, const struct event *dataset, struct err *err)
{
    struct ingest_self *self = self_of(a);
    struct collecting c = {.pipeline = f->pipeline, .event = dataset->id};

    if (self->crew->running >= self->jobs || agent_is_stopping(a))
        return 0;
    agent_each_unit(a, collect_line, &c);
    f->task = task_start(agent_loop(a), dataset, agent_pipeline_event(a, f->pipeline), c.lines, c.n,
                         agent_artifacts(a), &self->limits, self->crew, err);
    for (size_t i = 0; i < c.n; i++)
        free((void *)(uintptr_t)c.lines[i].snapshots);
    free(c.lines);
    if (!f->task)
        return -1;
    log_debug("ingest.started", "pipeline=%s event=%s run=%s", f->pipeline, dataset->id,
              f->task->run);
    return 0;
}

/* ---- answering ---- */

static void tell(struct agent *a, const struct dataset_ingested *o, size_t i)
{
    bool accepted = strcmp(o->status, "accepted") == 0;

    agent_count(a, "datasets_total", accepted ? "status=\"accepted\"" : "status=\"rejected\"", 1);
    agent_count(a, "rows_total", NULL, (double)o->rows);
    if (i == 0) {
        agent_count(a, "bytes_total", NULL, (double)o->bytes);
        agent_observe_ms(a, "ingest_ms", NULL, o->seconds * 1000);
    }
    if (i < OUTCOMES_LOGGED)
        log_info("dataset.ingested",
                 "line=%s dataset=%s version=%s status=%s rows=%lld seconds=%.3f reason=\"%s\"",
                 o->line, o->dataset, o->version, o->status, (long long)o->rows, o->seconds,
                 o->reason);
}

static bool is_read_back(struct agent *a, const char *line, const char *cause)
{
    const struct unit *u = agent_unit(a, RECORD_DATASET_INGESTED, line);

    return u && line_answer(u->line, RECORD_DATASET_INGESTED, cause);
}

/* Emits what has no answer yet; *ret_all: everything has one. */
static int answer(struct agent *a, struct unit *u, const struct event *dataset,
                  struct ingest_task *t, bool *ret_all, struct err *err)
{
    *ret_all = true;
    for (size_t i = 0; i < t->result.n; i++) {
        const struct dataset_ingested *o = &t->result.items[i];
        struct emission e = {.record = RECORD_DATASET_INGESTED,
                             .key = o->line,
                             .rec = o,
                             .cause = dataset,
                             .about = o->line};

        if (is_read_back(a, o->line, dataset->id))
            continue;
        *ret_all = false;
        if (!t->is_told)
            tell(a, o, i);
        if (agent_emit(a, u, &e, err))
            return -1;
    }
    t->is_told = true;
    return 0;
}

static void end_task(struct flow *f)
{
    task_free(f->task);
    f->task = NULL;
}

/* One step of a flow; *ret_again: the next version may be looked at. */
static int step(struct agent *a, struct unit *u, struct flow *f, const struct event *dataset,
                bool *ret_again, struct err *err)
{
    struct ingest_task *t = f->task;
    bool all = false;

    *ret_again = false;
    if (!t)
        return start(a, f, dataset, err);
    if (!t->is_done)
        return 0;
    if (strcmp(t->event_id, dataset->id) != 0) { /* another instance has answered it meanwhile */
        end_task(f);
        *ret_again = true;
        return 0;
    }
    if (t->rc) {
        if (err)
            *err = t->err;
        end_task(f);
        return agent_is_stopping(a) ? 0 : err_wrap(err, "ingest for %s", f->pipeline);
    }
    if (answer(a, u, dataset, t, &all, err))
        return -1;
    if (all) {
        free(f->complete);
        f->complete = xstrdup(dataset->id);
        end_task(f);
        *ret_again = true;
    }
    return 0;
}

struct reconciling {
    struct unit *u;
    struct err *err;
    int rc;
};

static void reconcile_pipeline(struct agent *a, const struct pipeline *p, void *ctx)
{
    struct reconciling *r = ctx;
    struct flow *f;
    bool again = true;

    if (r->rc || strcmp(p->dataset, r->u->key) != 0)
        return;
    f = flow_of(r->u, p->name, true);
    while (again && r->rc == 0) {
        struct asking q;
        struct owed_input in = question(a, r->u, p, f, &q);
        size_t next = owed_next(&in);

        if (next == OWED_NONE) {
            if (f->task && f->task->is_done)
                end_task(f);
            return;
        }
        r->rc = step(a, r->u, f, in.datasets[next], &again, r->err);
    }
}

static int ingest_reconcile(struct agent *a, struct unit *u, struct err *err)
{
    struct reconciling r = {.u = u, .err = err};

    agent_each_pipeline(a, reconcile_pipeline, &r);
    return r.rc;
}

struct settling {
    struct unit *u;
    const struct event *ev;
    bool is_owed;
};

static void settle_pipeline(struct agent *a, const struct pipeline *p, void *ctx)
{
    struct settling *s = ctx;
    struct asking q;
    struct owed_input in;

    if (s->is_owed || strcmp(p->dataset, s->u->key) != 0)
        return;
    in = question(a, s->u, p, flow_of(s->u, p->name, false), &q);
    s->is_owed = !owed_is_done(&in, s->ev->id);
}

static bool is_answered(struct agent *a, struct unit *u, const struct event *ev)
{
    struct settling s = {.u = u, .ev = ev};

    agent_each_pipeline(a, settle_pipeline, &s);
    return !s.is_owed;
}

/* ---- events ---- */

static void folded(struct agent *a, struct unit *u, const struct event *ev)
{
    const struct dataset_ingested *rec = ev->rec;
    char key[PIPELINE_NAME_MAX + 160];
    bool is_whole;

    if (ev->type != RECORD_DATASET_INGESTED || !ev->cause)
        return;
    is_whole = strcmp(u->line->pipeline, u->key) == 0;
    snprintf(key, sizeof(key), "%s %s%s", u->line->pipeline, ev->cause, is_whole ? " *" : "");
    strset_add(&self_of(a)->answered, slice_str(key));
    if (rec->dataset)
        agent_touch(a, agent_unit(a, RECORD_DATASET_PUBLISHED, rec->dataset));
}

static void drop(struct agent *a, struct unit *u)
{
    (void)a;
    for (struct flow *f = u->self, *next; f; f = next) {
        next = f->next;
        if (f->task && !f->task->is_done) {
            __atomic_store_n(&f->task->cancel, true, __ATOMIC_RELAXED); /* read on the pool */
            f->task->is_detached = true;
        } else {
            task_free(f->task);
        }
        free(f->pipeline);
        free(f->complete);
        free(f);
    }
    u->self = NULL;
}

static void cancel_unit(struct agent *a, struct unit *u, void *ctx)
{
    (void)a;
    (void)ctx;
    for (struct flow *f = u->self; f; f = f->next)
        if (f->task)
            __atomic_store_n(&f->task->cancel, true, __ATOMIC_RELAXED); /* read on the pool */
}

/* What is at work is handed over: its event is not committed, so it is owed to whoever comes next.
 */
static void stopping(struct agent *a)
{
    agent_each_unit(a, cancel_unit, NULL);
}

static bool is_busy(struct agent *a)
{
    const struct crew *crew = self_of(a)->crew;

    return crew && crew->running > 0;
}

/* ---- life ---- */

static int ingest_open(struct agent *a, struct err *err)
{
    struct ingest_self *self = self_of(a);
    const struct conf *c = agent_conf(a);

    (void)err;
    self->crew = crew_new(on_done, a);
    self->jobs = conf_int(c, "jobs");
    self->limits = (struct task_limits){
        .file_root = conf_str(c, "file-root"),
        .max_bytes = conf_int(c, "max-bytes"),
        .attempts = conf_int(c, "fetch-attempts"),
        .retry_ms = conf_int(c, "fetch-retry"),
        .stall_ms = conf_int(c, "fetch-stall"),
        .timeout_ms = conf_int(c, "fetch-timeout"),
    };
    return 0;
}

static void ingest_close(struct agent *a)
{
    struct ingest_self *self = self_of(a);

    if (self->crew)
        self->crew->on_done = NULL;
    crew_unref(self->crew);
    self->crew = NULL;
    strset_fini(&self->answered);
}

static void metrics(struct agent *a, struct buf *out)
{
    buf_addf(out, "# TYPE relearn_ingest_running gauge\nrelearn_ingest_running %lld\n",
             (long long)self_of(a)->crew->running);
}

static void status(struct agent *a, struct json *obj)
{
    json_set_int(obj, "running", self_of(a)->crew->running);
}

static const struct agent_input inputs[] = {
    {RECORD_DATASET_PUBLISHED, INPUT_WORK},
    {RECORD_DATASET_INGESTED, INPUT_GLOBAL},
    {RECORD_PIPELINE_DECLARED, INPUT_GLOBAL},
};
static const enum record outputs[] = {RECORD_DATASET_INGESTED};

static const struct conf_option options[] = {
    {.name = "jobs",
     .type = CONF_INT,
     .fallback = "2",
     .meta = "N",
     .help = "datasets read at a time",
     .min = 1,
     .max = 64},
    {.name = "file-root",
     .type = CONF_STR,
     .fallback = "/",
     .meta = "FOLDER",
     .help = "file:// is read below this folder only"},
    {.name = "max-bytes",
     .type = CONF_SIZE,
     .fallback = "64GiB",
     .meta = "SIZE",
     .help = "a dataset that is larger, unpacked, is refused",
     .min = 1,
     .max = 0x1p50},
    {.name = "fetch-attempts",
     .type = CONF_INT,
     .fallback = "3",
     .meta = "N",
     .help = "tries of a fetch that fails for a passing reason",
     .min = 1,
     .max = 20},
    {.name = "fetch-retry",
     .type = CONF_DURATION,
     .fallback = "10s",
     .meta = "TIME",
     .help = "pauses between the tries of a fetch, all together about",
     .max = 3600000},
    {.name = "fetch-stall",
     .type = CONF_DURATION,
     .fallback = "10s",
     .meta = "TIME",
     .help = "a server that sends nothing for so long has failed",
     .min = 100,
     .max = 3600000},
    {.name = "fetch-timeout",
     .type = CONF_DURATION,
     .fallback = "0s",
     .meta = "TIME",
     .help = "longest time of one fetch; 0: no limit",
     .max = 86400000},
    {0},
};

const struct agent_spec ingest_agent = {
    .name = "ingest",
    .purpose =
        "Fetches published datasets, checks them against each pipeline's contract, profiles, "
        "splits and freezes them.",
    .example = "relearn-ingest --brokers 127.0.0.1:9092 --file-root /srv/data",
    .inputs = inputs,
    .n_inputs = ARRAY_LEN(inputs),
    .outputs = outputs,
    .n_outputs = ARRAY_LEN(outputs),
    .options = options,
    .self_bytes = sizeof(struct ingest_self),
    .open = ingest_open,
    .close = ingest_close,
    .folded = folded,
    .reconcile = ingest_reconcile,
    .is_answered = is_answered,
    .drop = drop,
    .is_busy = is_busy,
    .stopping = stopping,
    .metrics = metrics,
    .status = status,
};
