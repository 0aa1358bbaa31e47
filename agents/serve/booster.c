#include "agents/serve/booster.h"

#include <math.h>
#include <string.h>
#include <uthash.h>

#include "common/clk.h"
#include "common/log.h"
#include "common/mem.h"

enum { BACKOFF_MIN_MS = 100, BACKOFF_MAX_MS = 5000 };

struct entry {
    char digest[DIGEST_HEX_SIZE];
    enum load_state state;
    struct booster *booster; /* READY; kept while it has references */
    struct err err;          /* of the last try */
    int64_t since_ms;        /* first try */
    int64_t next_ms;         /* next try; 0: one is on the pool */
    int64_t backoff_ms;
    UT_hash_handle hh;
};
struct boosters {
    struct boosters_conf conf;
    struct artifacts artifacts; /* its own copy: loads may outlive the agent that asked */
    char *trusted_keys;
    struct entry *entries;
    struct loop_timer *timer; /* next try */
    size_t loading;           /* on the pool */
    size_t refs;              /* held by others */
    bool is_closed;           /* freed when nothing is loading or held any more */
};
struct load { /* one try on the pool */
    struct boosters *b;
    char digest[DIGEST_HEX_SIZE];
    struct booster *booster;
    struct err err;
};

/* ---- the work ---- */

static int check_key(const struct model *m, const char *trusted_keys, struct err *err)
{
    if (!trusted_keys || !trusted_keys[0])
        return 0;
    if (!m->signature[0])
        return err_inval(err, "model %.12s is not signed, and only trusted ones are served",
                         m->digest);
    if (!digest_is_hex(m->public_key) || !strstr(trusted_keys, m->public_key))
        return err_inval(err, "model %.12s is signed with the key %.12s..., which is not trusted",
                         m->digest, m->public_key);
    return 0;
}

static int load_file(const struct artifacts *a, struct booster *b, struct err *err)
{
    CLEANUP(buf_fini) struct buf bytes = {0};
    struct model *m = b->model;

    buf_init(&bytes, MODEL_MAX_FILE_BYTES);
    if (artifacts_get(a, m->file, MODEL_MAX_FILE_BYTES, &bytes, err))
        return -1;
    if ((int64_t)bytes.len != m->file_bytes)
        return err_set(err, ERR_CODEC, NEXT_REJECT,
                       "the file has %zu bytes, the manifest says %lld", bytes.len,
                       (long long)m->file_bytes);
    if (xgb_check(buf_slice(&bytes), m->shape.n_columns, err) ||
        xgb_load(buf_slice(&bytes), &b->xgb, err))
        return -1;
    return xgb_fits(b->xgb, m->task, m->shape.n_classes, err);
}

/* One row of nothing but missing values: memory that the first prediction needs is there
 * afterwards. */
static int warm_up(struct booster *b, struct err *err)
{
    size_t n = b->model->shape.n_columns, k = xgb_outputs(b->xgb);
    CLEANUP_FREE float *row = xmalloc(n * sizeof(*row));
    CLEANUP_FREE double *out = xmalloc(k * sizeof(*out));

    for (size_t i = 0; i < n; i++)
        row[i] = NAN;
    if (xgb_predict(b->xgb, row, 1, out, err))
        return -1;
    for (size_t i = 0; i < k; i++)
        if (!isfinite(out[i]))
            return err_inval(err, "its answer to a row of missing values is not finite");
    return 0;
}

void booster_free(struct booster *b)
{
    if (!b)
        return;
    columns_free_all(b->columns);
    xgb_free(b->xgb);
    model_free(b->model);
    free_ptr(&b);
}

static void booster_freep(struct booster **b)
{
    booster_free(*b);
}

int booster_load(const struct artifacts *a, const char *digest, const char *trusted_keys,
                 struct booster **ret, struct err *err)
{
    CLEANUP(booster_freep) struct booster *b = xcalloc(1, sizeof(*b));

    str_copy(b->digest, sizeof(b->digest), digest);
    if (model_open(a, digest, &b->model, err))
        return -1;
    if (check_key(b->model, trusted_keys, err))
        return -1;
    if (load_file(a, b, err) || warm_up(b, err))
        return err_wrap(err, "model %.12s", digest);
    b->columns = columns_new(b->model);
    *ret = TAKE(b);
    return 0;
}

/* ---- the shelf ---- */

static struct entry *find(struct boosters *b, const char *digest)
{
    struct entry *e = NULL;

    HASH_FIND_STR(b->entries, digest, e);
    return e;
}

static void entry_free(struct boosters *b, struct entry *e)
{
    HASH_DEL(b->entries, e);
    booster_free(e->booster);
    free_ptr(&e);
}

static void boosters_drop(struct boosters *b)
{
    struct entry *e, *next;

    HASH_ITER (hh, b->entries, e, next)
        entry_free(b, e);
    artifacts_close(&b->artifacts);
    free_ptr(&b->trusted_keys);
    free_ptr(&b);
}

static void drop_if_over(struct boosters *b)
{
    if (b->is_closed && !b->loading && !b->refs)
        boosters_drop(b);
}

static void run_load(void *ctx)
{
    struct load *l = ctx;

    if (booster_load(&l->b->artifacts, l->digest, l->b->trusted_keys, &l->booster, &l->err))
        l->booster = NULL;
}

static void arm(struct boosters *b)
{
    int64_t now_ms = clk_mono_ms(&clk_system), best = INT64_MAX;
    struct entry *e, *next;

    HASH_ITER (hh, b->entries, e, next)
        if (e->state == LOAD_UNDER_WAY && e->next_ms && e->next_ms < best)
            best = e->next_ms;
    if (best != INT64_MAX)
        loop_timer_start(b->timer, best > now_ms ? best - now_ms : 1);
}

static void done_load(void *ctx);

static void start(struct boosters *b, struct entry *e)
{
    struct load *l = xcalloc(1, sizeof(*l));

    l->b = b;
    memcpy(l->digest, e->digest, sizeof(l->digest));
    e->state = LOAD_UNDER_WAY;
    e->next_ms = 0;
    b->loading++;
    work_submit(b->conf.loop, run_load, done_load, l);
}

static void on_timer(void *ctx)
{
    struct boosters *b = ctx;
    int64_t now_ms = clk_mono_ms(&clk_system);
    struct entry *e, *next;

    HASH_ITER (hh, b->entries, e, next)
        if (e->state == LOAD_UNDER_WAY && e->next_ms && e->next_ms <= now_ms)
            start(b, e);
    arm(b);
}

static void failed(struct boosters *b, struct entry *e, const struct err *err)
{
    int64_t now_ms = clk_mono_ms(&clk_system);

    e->err = *err;
    if (err->next != NEXT_RETRY || now_ms - e->since_ms >= b->conf.retry_ms) {
        e->state = LOAD_FAILED;
        return;
    }
    e->backoff_ms = e->backoff_ms ? 2 * e->backoff_ms : BACKOFF_MIN_MS;
    if (e->backoff_ms > BACKOFF_MAX_MS)
        e->backoff_ms = BACKOFF_MAX_MS;
    e->next_ms = now_ms + e->backoff_ms;
    log_warn("model.retry", "model=%.12s error=%s retry_ms=%lld", e->digest, err->msg,
             (long long)e->backoff_ms);
    arm(b);
}

static void done_load(void *ctx)
{
    struct load *l = ctx;
    struct boosters *b = l->b;
    struct entry *e = b->is_closed ? NULL : find(b, l->digest);
    char digest[DIGEST_HEX_SIZE];

    memcpy(digest, l->digest, sizeof(digest));
    b->loading--;
    if (e && l->booster) {
        e->booster = TAKE(l->booster);
        e->state = LOAD_READY;
    } else if (e) {
        failed(b, e, &l->err);
    }
    booster_free(l->booster);
    free_ptr(&l);
    if (b->is_closed) {
        drop_if_over(b);
        return;
    }
    if (!e || e->state == LOAD_UNDER_WAY)
        return;
    b->conf.on_loaded(b->conf.ctx, digest);
    e = find(b, digest);
    if (e && e->booster && e->booster->refs == 0) /* nobody wants it any more */
        entry_free(b, e);
}

struct boosters *boosters_new(const struct boosters_conf *conf)
{
    struct boosters *b = xcalloc(1, sizeof(*b));

    b->conf = *conf;
    b->artifacts.root = xstrdup(conf->artifacts->root);
    b->trusted_keys = xstrdup(conf->trusted_keys);
    b->timer = loop_timer_new(conf->loop, on_timer, b);
    return b;
}

void boosters_free(struct boosters *b)
{
    if (!b)
        return;
    loop_timer_free(b->timer);
    b->timer = NULL;
    b->is_closed = true;
    drop_if_over(b);
}

enum load_state boosters_want(struct boosters *b, const char *digest, struct err *err)
{
    struct entry *e = find(b, digest);

    if (!digest_is_hex(digest)) {
        err_inval(err, "'%.70s' is no digest of a model", digest);
        return LOAD_FAILED;
    }
    if (!e) {
        e = xcalloc(1, sizeof(*e));
        str_copy(e->digest, sizeof(e->digest), digest);
        HASH_ADD_STR(b->entries, digest, e);
        e->since_ms = clk_mono_ms(&clk_system);
        start(b, e);
    }
    if (e->state == LOAD_FAILED && err)
        *err = e->err;
    return e->state;
}

void boosters_retry(struct boosters *b, const char *digest)
{
    struct entry *e = find(b, digest);

    if (!e || e->state != LOAD_FAILED)
        return;
    e->since_ms = clk_mono_ms(&clk_system);
    e->backoff_ms = 0;
    start(b, e);
}

void booster_ref(struct boosters *b, struct booster *booster)
{
    booster->refs++;
    b->refs++;
}

struct booster *boosters_take(struct boosters *b, const char *digest)
{
    struct entry *e = find(b, digest);

    if (!e || e->state != LOAD_READY)
        return NULL;
    booster_ref(b, e->booster);
    return e->booster;
}

void boosters_release(struct boosters *b, struct booster *booster)
{
    struct entry *e;

    if (!booster)
        return;
    BUG_ON(booster->refs < 1);
    b->refs--;
    if (--booster->refs == 0) {
        e = find(b, booster->digest);
        BUG_ON(!e || e->booster != booster);
        entry_free(b, e);
    }
    drop_if_over(b);
}

size_t boosters_count(const struct boosters *b)
{
    size_t n = 0;
    const struct entry *e;

    for (e = b->entries; e; e = e->hh.next)
        n += e->booster != NULL;
    return n;
}
