/* Pipelines as declared, and by the digest that a plan pinned. */
#include <string.h>

#include "common/agent_internal.h"
#include "common/log.h"
#include "common/mem.h"

static void declared_free(struct agent *a, struct declared *d)
{
    HASH_DEL(a->declared, d);
    event_free(d->ev);
    pipeline_free(d->pipeline);
    free_ptr(&d->name);
    free_ptr(&d);
}

static void changed(struct agent *a, const char *name)
{
    if (a->spec->pipelines)
        a->spec->pipelines(a, name);
    agent_touch_all(a);
}

/* Takes ev; NULL ev withdraws `key`. */
void agent__declare(struct agent *a, struct event *ev, const char *key)
{
    CLEANUP_FREE char *name = xstrdup(ev ? EV_REC(ev, pipeline_declared)->name : key);
    struct declared *d = NULL;
    HASH_FIND_STR(a->declared, name, d);
    if (d && ev && strcmp(d->ev->id, ev->id) == 0) {
        event_free(ev);
        return;
    }
    if (d)
        declared_free(a, d);
    if (ev) {
        const struct pipeline_declared *rec = ev->rec;
        struct err err = {0};
        d = xcalloc(1, sizeof(*d));
        d->name = xstrdup(name);
        d->ev = ev;
        if (pipeline_parse(slice_str(rec->yaml), name, &d->pipeline, &err))
            log_error("pipeline.unreadable", "pipeline=%s error=%s", name, err.msg);
        HASH_ADD_KEYPTR(hh, a->declared, d->name, strlen(d->name), d);
    }
    changed(a, name);
}

static struct declared *find(struct agent *a, const char *name)
{
    struct declared *d = NULL;
    if (name)
        HASH_FIND_STR(a->declared, name, d);
    return d;
}

const struct pipeline *agent_pipeline(struct agent *a, const char *name)
{
    const struct declared *d = find(a, name);
    return d ? d->pipeline : NULL;
}

const struct event *agent_pipeline_event(struct agent *a, const char *name)
{
    const struct declared *d = find(a, name);
    return d ? d->ev : NULL;
}

void agent_each_pipeline(struct agent *a,
                         void (*fn)(struct agent *a, const struct pipeline *p, void *ctx),
                         void *ctx)
{
    struct declared *d, *next;
    HASH_ITER (hh, a->declared, d, next)
        if (d->pipeline)
            fn(a, d->pipeline, ctx);
}

/* The text: of a declaration in force, else from the store. */
static int pinned_text(struct agent *a, const char *sha256, struct buf *ret, struct err *err)
{
    struct declared *d, *next;
    HASH_ITER (hh, a->declared, d, next) {
        const struct pipeline_declared *rec = d->ev->rec;
        if (d->pipeline && strcmp(d->pipeline->sha256, sha256) == 0) {
            buf_add_str(ret, rec->yaml);
            return 0;
        }
    }
    return artifacts_get(&a->artifacts, sha256, PIPELINE_MAX_BYTES, ret, err);
}

const struct pipeline *agent_pipeline_at(struct agent *a, const char *sha256, struct err *err)
{
    struct pinned *p = NULL;
    if (!sha256 || !digest_is_hex(sha256)) {
        err_inval(err, "no pipeline digest");
        return NULL;
    }
    HASH_FIND_STR(a->pinned, sha256, p);
    if (p)
        return p->pipeline;
    CLEANUP(buf_fini) struct buf text = {0};
    struct pipeline *pipeline = NULL;
    if (pinned_text(a, sha256, &text, err) ||
        pipeline_parse(buf_slice(&text), sha256, &pipeline, err)) {
        err_wrap(err, "pipeline %.12s", sha256);
        return NULL;
    }
    p = xcalloc(1, sizeof(*p));
    str_copy(p->sha256, sizeof(p->sha256), sha256);
    p->pipeline = pipeline;
    HASH_ADD_STR(a->pinned, sha256, p);
    return pipeline;
}

void agent__pipelines_free(struct agent *a)
{
    struct declared *d, *dnext;
    HASH_ITER (hh, a->declared, d, dnext)
        declared_free(a, d);
    struct pinned *p, *pnext;
    HASH_ITER (hh, a->pinned, p, pnext) {
        HASH_DEL(a->pinned, p);
        pipeline_free(p->pipeline);
        free_ptr(&p);
    }
}
