#include "agents/monitor/references.h"

#include <string.h>
#include <uthash.h>

#include "common/clk.h"
#include "common/log.h"
#include "common/mem.h"

enum {
    BACKOFF_MIN_MS = 100,
    BACKOFF_MAX_MS = 5000,
    PATIENCE_MS = 30 * 1000,      /* then windows are counted without a profile */
    LOOK_AGAIN_MS = 60 * 1000,    /* after that */
    PROFILE_MAX_BYTES = 64 << 20, /* as a snapshot's manifest: 4,096 columns */
};

struct loaded {
    struct reference r; /* first */
    struct model *model;
    struct profile *profile;
};
struct entry {
    char digest[DIGEST_HEX_SIZE];
    enum reference_state state;
    struct loaded *loaded;
    int refs;
    bool is_on_pool;
    int64_t since_ms, next_ms, backoff_ms;
    char problem[256];
    UT_hash_handle hh;
};
struct references {
    struct loop *loop;
    struct artifacts artifacts; /* its own copy: loads may outlive the agent */
    void (*on_loaded)(void *ctx);
    void *ctx;
    struct entry *entries;
    struct loop_timer *timer;
    size_t loading;
    bool is_closed;
};
struct load {
    struct references *rs;
    char digest[DIGEST_HEX_SIZE];
    struct loaded *loaded;
    struct err err;
};

/* ---- the work ---- */

static void loaded_free(struct loaded *l)
{
    if (!l)
        return;
    reference_fini(&l->r);
    profile_free(l->profile);
    model_free(l->model);
    free_ptr(&l);
}

static void loaded_freep(struct loaded **l)
{
    loaded_free(*l);
}

static int load_profile(const struct artifacts *a, struct loaded *l, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = {0};
    CLEANUP(json_freep) struct json *j = NULL;

    if (!l->model->profile[0])
        return 0;
    if (artifacts_get(a, l->model->profile, PROFILE_MAX_BYTES, &text, err))
        return -1;
    j = json_parse(buf_slice(&text), "profile", err);
    return j ? profile_from_json(j, &l->profile, err) : -1;
}

static void run_load(void *ctx)
{
    struct load *job = ctx;
    CLEANUP(loaded_freep) struct loaded *l = xcalloc(1, sizeof(*l));

    if (model_open(&job->rs->artifacts, job->digest, &l->model, &job->err) ||
        load_profile(&job->rs->artifacts, l, &job->err))
        return;
    reference_init(&l->r, l->model, l->profile);
    job->loaded = TAKE(l);
}

/* ---- the shelf ---- */

static struct entry *find(struct references *rs, const char *digest)
{
    struct entry *e = NULL;

    HASH_FIND_STR(rs->entries, digest, e);
    return e;
}

static void drop(struct references *rs)
{
    struct entry *e, *next;

    HASH_ITER (hh, rs->entries, e, next) {
        HASH_DEL(rs->entries, e);
        loaded_free(e->loaded);
        free_ptr(&e);
    }
    artifacts_close(&rs->artifacts);
    free_ptr(&rs);
}

static void arm(struct references *rs)
{
    int64_t now_ms = clk_mono_ms(&clk_system), best = INT64_MAX;
    struct entry *e, *next;

    HASH_ITER (hh, rs->entries, e, next)
        if (e->state == REFERENCE_LOADING && !e->is_on_pool && e->next_ms < best)
            best = e->next_ms;
    if (best != INT64_MAX)
        loop_timer_start(rs->timer, best > now_ms ? best - now_ms : 1);
}

static void failed(struct entry *e, const struct err *err)
{
    int64_t now_ms = clk_mono_ms(&clk_system);

    str_copy(e->problem, sizeof(e->problem), err->msg);
    e->backoff_ms = e->backoff_ms ? 2 * e->backoff_ms : BACKOFF_MIN_MS;
    if (e->backoff_ms > BACKOFF_MAX_MS)
        e->backoff_ms = BACKOFF_MAX_MS;
    e->next_ms = now_ms + e->backoff_ms;
    if (e->state == REFERENCE_FAILED || err->next != NEXT_RETRY ||
        now_ms - e->since_ms > PATIENCE_MS) {
        if (e->state != REFERENCE_FAILED)
            log_warn("reference.failed", "model=%.12s error=%s", e->digest, err->msg);
        e->state = REFERENCE_FAILED;
        e->next_ms = err->next == NEXT_RETRY ? now_ms + LOOK_AGAIN_MS : INT64_MAX;
    }
}

static void done_load(void *ctx)
{
    struct load *job = ctx;
    struct references *rs = job->rs;
    struct entry *e = find(rs, job->digest);

    rs->loading--;
    e->is_on_pool = false;
    if (job->loaded) {
        e->loaded = TAKE(job->loaded);
        e->state = REFERENCE_READY;
    } else {
        failed(e, &job->err);
    }
    free_ptr(&job);
    if (rs->is_closed) {
        if (!rs->loading)
            drop(rs);
        return;
    }
    if (e->state == REFERENCE_LOADING)
        arm(rs);
    else
        rs->on_loaded(rs->ctx);
}

static void start(struct references *rs, struct entry *e)
{
    struct load *job = xcalloc(1, sizeof(*job));

    job->rs = rs;
    memcpy(job->digest, e->digest, sizeof(job->digest));
    e->is_on_pool = true;
    rs->loading++;
    work_submit(rs->loop, run_load, done_load, job);
}

static void on_timer(void *ctx)
{
    struct references *rs = ctx;
    int64_t now_ms = clk_mono_ms(&clk_system);
    struct entry *e, *next;

    HASH_ITER (hh, rs->entries, e, next)
        if (e->state == REFERENCE_LOADING && !e->is_on_pool && e->next_ms <= now_ms)
            start(rs, e);
    arm(rs);
}

struct references *references_new(struct loop *l, const struct artifacts *a,
                                  void (*on_loaded)(void *ctx), void *ctx)
{
    struct references *rs = xcalloc(1, sizeof(*rs));

    rs->loop = l;
    rs->artifacts.root = xstrdup(a->root);
    rs->on_loaded = on_loaded;
    rs->ctx = ctx;
    rs->timer = loop_timer_new(l, on_timer, rs);
    return rs;
}

void references_free(struct references *rs)
{
    if (!rs)
        return;
    loop_timer_free(rs->timer);
    rs->timer = NULL;
    rs->is_closed = true;
    if (!rs->loading)
        drop(rs);
}

enum reference_state references_want(struct references *rs, const char *digest,
                                     struct reference **ret)
{
    struct entry *e = find(rs, digest);

    if (!digest_is_hex(digest))
        return REFERENCE_FAILED;
    if (!e) {
        e = xcalloc(1, sizeof(*e));
        str_copy(e->digest, sizeof(e->digest), digest);
        e->since_ms = clk_mono_ms(&clk_system);
        HASH_ADD_STR(rs->entries, digest, e);
        start(rs, e);
    }
    if (e->state == REFERENCE_FAILED && !e->is_on_pool && clk_mono_ms(&clk_system) >= e->next_ms)
        start(rs, e); /* failed it stays until it is there */
    if (e->state == REFERENCE_READY) {
        e->refs++;
        *ret = &e->loaded->r;
    }
    return e->state;
}

void references_release(struct references *rs, struct reference *r)
{
    struct entry *e;

    if (!r)
        return;
    e = find(rs, r->model->digest);
    BUG_ON(!e || e->refs < 1);
    if (--e->refs > 0)
        return;
    HASH_DEL(rs->entries, e);
    loaded_free(e->loaded);
    free_ptr(&e);
}

void references_give_up(struct references *rs, const char *digest)
{
    struct entry *e = find(rs, digest);

    if (!e || e->state != REFERENCE_LOADING)
        return;
    e->state = REFERENCE_FAILED;
    e->next_ms = clk_mono_ms(&clk_system) + LOOK_AGAIN_MS;
    if (!e->problem[0])
        str_copy(e->problem, sizeof(e->problem), "it was not there in time");
}

const char *references_problem(struct references *rs, const char *digest)
{
    const struct entry *e = find(rs, digest);

    return e ? e->problem : "";
}
