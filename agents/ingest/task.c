#include "agents/ingest/task.h"

#include "common/artifact.h"
#include "common/fault.h"

void task_run_id(const char *event_id, const char *pipeline, char out[ID_SIZE])
{
    id_from_cause("ingest", event_id, pipeline, out);
}

void task_free(struct ingest_task *t)
{
    if (!t)
        return;
    pipeline_free(t->pipeline);
    ingest_result_fini(&t->result);
    arena_fini(&t->arena);
    crew_unref(t->crew);
    free(t);
}

struct crew *crew_new(void (*on_done)(struct ingest_task *t, void *ctx), void *ctx)
{
    struct crew *c = xcalloc(1, sizeof(*c));

    c->refs = 1;
    c->seen = seen_cache_new();
    c->on_done = on_done;
    c->ctx = ctx;
    return c;
}

void crew_unref(struct crew *c)
{
    if (!c || --c->refs > 0)
        return;
    seen_cache_free(c->seen);
    free(c);
}

/* ---- pool thread ---- */

/* What a run before this one has found: the lines of a segmented pipeline are known from nothing
 * else. */
static int load(struct ingest_task *t, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = {0};

    if (artifacts_get_run(t->request.artifacts, t->run, &text, err))
        return -1;
    return ingest_result_from_json(buf_slice(&text), &t->result, err);
}

static int keep(struct ingest_task *t, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = {0};

    ingest_result_to_json(&t->result, &text);
    if (EFFECT(store, "ingest.result.put", FAULT_ERR(err),
               artifacts_put_run(t->request.artifacts, t->run, buf_slice(&text), err)))
        return -1;
    ingest_result_fini(&t->result); /* another instance may have been first: then theirs stands */
    return load(t, err);
}

static void work(void *ctx)
{
    struct ingest_task *t = ctx;
    bool is_segmented = t->pipeline->segment != NULL;
    struct err none;

    if (is_segmented && load(t, &none) == 0)
        return;
    t->rc = ingest_run(&t->request, &t->result, &t->err);
    if (t->rc == 0 && is_segmented)
        t->rc = keep(t, &t->err);
}

/* ---- loop thread ---- */

static void done(void *ctx)
{
    struct ingest_task *t = ctx;
    struct crew *c = t->crew;
    bool is_detached = t->is_detached;

    t->is_done = true;
    c->running--;
    c->refs++; /* the task may be the last to hold it */
    if (is_detached)
        task_free(t);
    if (c->on_done)
        c->on_done(is_detached ? NULL : t, c->ctx);
    crew_unref(c);
}

static struct dataset_published *copy_dataset(struct arena *arena,
                                              const struct dataset_published *d)
{
    struct dataset_published *to = arena_memdup(arena, d, sizeof(*d));

    to->dataset = arena_strdup(arena, d->dataset);
    to->version = arena_strdup(arena, d->version);
    to->uri = arena_strdup(arena, d->uri);
    to->format = arena_strdup(arena, d->format);
    to->sha256 = arena_strdup(arena, d->sha256);
    to->by = arena_strdup(arena, d->by);
    return to;
}

static struct ingest_line *copy_earlier(struct arena *arena, const struct ingest_line *from,
                                        size_t n)
{
    struct ingest_line *to = arena_alloc(arena, (n + 1) * sizeof(*to));

    for (size_t i = 0; i < n; i++) {
        const char **snapshots = arena_alloc(arena, (from[i].n + 1) * sizeof(*snapshots));

        for (size_t k = 0; k < from[i].n; k++)
            snapshots[k] = arena_strdup(arena, from[i].snapshots[k]);
        to[i] = (struct ingest_line){arena_strdup(arena, from[i].segment), snapshots, from[i].n};
    }
    return to;
}

struct ingest_task *task_start(struct loop *l, const struct event *dataset,
                               const struct event *declared, const struct ingest_line *earlier,
                               size_t n_earlier, const struct artifacts *a,
                               const struct task_limits *limits, struct crew *crew, struct err *err)
{
    const struct pipeline_declared *p = declared->rec;
    struct ingest_task *t = xcalloc(1, sizeof(*t));

    if (pipeline_parse(slice_str(p->yaml), p->name, &t->pipeline, err)) {
        task_free(t);
        return NULL;
    }
    task_run_id(dataset->id, p->name, t->run);
    t->event_id = arena_strdup(&t->arena, dataset->id);
    t->artifacts.root = arena_strdup(&t->arena, a->root);
    t->crew = crew;
    crew->refs++;
    crew->running++;
    t->request = (struct ingest_request){
        .pipeline = t->pipeline,
        .dataset = copy_dataset(&t->arena, dataset->rec),
        .dataset_event = t->event_id,
        .earlier = copy_earlier(&t->arena, earlier, n_earlier),
        .n_earlier = n_earlier,
        .artifacts = &t->artifacts,
        .file_root = arena_strdup(&t->arena, limits->file_root),
        .max_bytes = (uint64_t)limits->max_bytes,
        .attempts = (int)limits->attempts,
        .retry_ms = limits->retry_ms,
        .stall_ms = limits->stall_ms,
        .timeout_ms = limits->timeout_ms ? limits->timeout_ms : -1,
        .cache = crew->seen,
        .cancel = &t->cancel,
    };
    work_submit(l, work, done, t);
    return t;
}
