/* Writes a settled segment.  One pass over the spooled rows, a block at a time: features, labels by
 * class index, split and hashes go to their files while they are hashed, and the profile sees the
 * same block while it is in the cache.  A features spool that is a file already becomes
 * features.npy as it is. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <unistd.h>

#include "agents/ingest/freeze_internal.h"
#include "common/fault.h"
#include "common/profile.h"

enum { PROFILE_SEED = 1 };                         /* the same rows have the same profile */
static const size_t BLOCK_BYTES = (size_t)1 << 20; /* of features: stays near the processor */

/* ---- files ---- */

void freezer_open(struct freezer *f, const struct artifacts *a)
{
    *f = (struct freezer){.artifacts = a};
}

static void clear_files(struct freezer *f, bool remove)
{
    for (size_t i = 0; i < f->n; i++) {
        if (remove)
            unlink(f->files[i].tmp_path);
        free((void *)(uintptr_t)f->files[i].tmp_path);
        free((void *)(uintptr_t)f->files[i].digest);
    }
    f->n = 0;
}

int freezer_publish(struct freezer *f, struct err *err)
{
    if (EFFECT(store, "ingest.freeze.put", FAULT_ERR(err),
               artifacts_put_files_as(f->artifacts, f->files, f->n, err)))
        return -1;
    clear_files(f, false);
    return 0;
}

void freezer_close(struct freezer *f)
{
    clear_files(f, true);
    free(f->files);
    *f = (struct freezer){0};
}

static void add_file(struct freezer *f, char *path, const char *digest)
{
    f->files = xgrow(f->files, &f->cap, f->n + 1, sizeof(*f->files));
    f->files[f->n++] = (struct artifact_file){path, xstrdup(digest)};
}

struct out { /* a file being written and hashed */
    int fd;
    char *path;
    struct digest *digest;
    bool is_there; /* the bytes are in the file already: only hash them */
};

static void out_fini(struct out *o)
{
    if (o->fd > 0)
        close(o->fd);
    if (o->path)
        unlink(o->path);
    free(o->path);
    digest_free(o->digest);
    *o = (struct out){0};
}

static int write_at(int fd, const char *path, const void *p, size_t n, off_t *at, struct err *err)
{
    const char *from = p;

    for (ssize_t k; n > 0; from += k, n -= (size_t)k) {
        k = EFFECT(store, "ingest.freeze.write", FAULT_ERRNO,
                   at ? pwrite(fd, from, n, *at) : write(fd, from, n));
        if (k < 0 && errno != EINTR)
            return err_io(err, "write %s: %s", path, strerror(errno));
        k = k < 0 ? 0 : k;
        if (at)
            *at += k;
    }
    return 0;
}

static int out_add(struct out *o, const void *p, size_t n, struct err *err)
{
    digest_add(o->digest, p, n);
    return o->is_there ? 0 : write_at(o->fd, o->path, p, n, NULL, err);
}

static int out_open(struct out *o, const struct artifacts *a, struct err *err)
{
    o->path = artifacts_tmp(a, "snapshot", err);
    if (!o->path)
        return -1;
    o->fd = open(o->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (o->fd < 0)
        return err_io(err, "create %s: %s", o->path, strerror(errno));
    o->digest = digest_new();
    return 0;
}

static int out_open_npy(struct out *o, const struct artifacts *a, enum npy_type t, size_t ndim,
                        size_t rows, size_t cols, struct err *err)
{
    char head[NPY_HEAD_BYTES];

    npy_head(t, ndim, rows, cols, head);
    return out_open(o, a, err) || out_add(o, head, sizeof(head), err) ? -1 : 0;
}

/* The spool's file becomes the .npy file: only its head is missing. */
static int out_adopt(struct out *o, struct spool *from, enum npy_type t, size_t ndim, size_t rows,
                     size_t cols, struct err *err)
{
    char head[NPY_HEAD_BYTES];
    off_t at = 0;

    npy_head(t, ndim, rows, cols, head);
    o->fd = open(from->path, O_WRONLY | O_CLOEXEC);
    if (o->fd < 0)
        return err_io(err, "open %s: %s", from->path, strerror(errno));
    if (write_at(o->fd, from->path, head, sizeof(head), &at, err))
        return -1;
    o->path = xstrdup(from->path);
    o->is_there = true;
    o->digest = digest_new();
    digest_add(o->digest, head, sizeof(head));
    return 0;
}

static void out_take(struct out *o, struct freezer *f, char digest[DIGEST_HEX_SIZE])
{
    digest_end(o->digest, digest);
    add_file(f, TAKE(o->path), digest);
    out_fini(o);
}

static int put_text(struct freezer *f, const struct json *j, char digest[DIGEST_HEX_SIZE],
                    struct err *err)
{
    CLEANUP(out_fini) struct out o = {0};
    CLEANUP(buf_fini) struct buf text = {0};

    json_write(j, 1, false, &text);
    if (out_open(&o, f->artifacts, err) || out_add(&o, text.data, text.len, err))
        return -1;
    out_take(&o, f, digest);
    return 0;
}

/* ---- rows ---- */

struct pass {
    struct freezer *f;
    struct sheet *s;
    struct segment *g;
    const struct settled *d;
    struct snapshot *snapshot;
    struct out features, label, split, hash, aside;
    struct profiler *profiler;
    size_t block_rows;
    size_t done;                    /* rows written */
    size_t first_valid, first_test; /* split by order */
    float *x, *y, *wide;
    uint64_t *h;
    double *a; /* asides */
    uint8_t *part;
};
struct block { /* rows at hand: in the pass's own memory, or borrowed from the spools */
    const float *x, *y;
    const uint64_t *h;
    const double *a;
};

static void pass_fini(struct pass *p)
{
    out_fini(&p->features);
    out_fini(&p->label);
    out_fini(&p->split);
    out_fini(&p->hash);
    out_fini(&p->aside);
    if (p->profiler)
        profile_free(profiler_finish(p->profiler));
    free(p->x);
    free(p->y);
    free(p->wide);
    free(p->h);
    free(p->a);
    free(p->part);
}

static enum split part_of(const struct pass *p, size_t row, uint64_t hash)
{
    if (p->s->p->split_by == SPLIT_HASH) { /* equal rows land in the same part */
        double at = (double)(hash >> 11) * 0x1p-53;

        if (at < 1 - p->s->p->valid - p->s->p->test)
            return ROW_TRAIN;
        return at < 1 - p->s->p->test ? ROW_VALID : ROW_TEST;
    }
    if (row < p->first_valid)
        return ROW_TRAIN;
    return row < p->first_test ? ROW_VALID : ROW_TEST;
}

/* Leaves the rows out that are dropped after all; returns how many stay. */
static size_t compact(struct pass *p, size_t from, size_t n, struct block *b)
{
    size_t cols = p->s->n_features, asides = p->s->n_asides, kept = 0;

    if (!p->d->drop)
        return n;
    for (size_t i = 0; i < n; i++) {
        if (p->d->drop[from + i])
            continue;
        memmove(p->x + kept * cols, b->x + i * cols, cols * sizeof(*b->x));
        if (asides)
            memmove(p->a + kept * asides, b->a + i * asides, asides * sizeof(*b->a));
        p->y[kept] = b->y[i];
        p->h[kept++] = b->h[i];
    }
    *b = (struct block){p->x, p->y, p->h, p->a};
    return kept;
}

static int write_block(struct pass *p, size_t n, const struct block *b, struct err *err)
{
    size_t cols = p->s->n_features;

    for (size_t i = 0; i < n; i++) {
        p->y[i] = p->d->class_of_code ? p->d->class_of_code[(size_t)b->y[i]] : b->y[i];
        p->part[i] = (uint8_t)part_of(p, p->done + i, b->h[i]);
        p->snapshot->split_rows[p->part[i]]++;
        memcpy(p->wide + i * (cols + 1), b->x + i * cols, cols * sizeof(*b->x));
        p->wide[i * (cols + 1) + cols] = p->y[i];
    }
    profiler_add(p->profiler, p->wide, n);
    p->done += n;
    if (out_add(&p->features, b->x, n * cols * sizeof(*b->x), err) ||
        out_add(&p->label, p->y, n * sizeof(*b->y), err) || out_add(&p->split, p->part, n, err) ||
        out_add(&p->hash, b->h, n * sizeof(*b->h), err))
        return -1;
    return p->s->n_asides ? out_add(&p->aside, b->a, n * p->s->n_asides * sizeof(*b->a), err) : 0;
}

static int read_block(struct pass *p, size_t at, size_t n, struct block *ret, struct err *err)
{
    size_t row = p->s->n_features * sizeof(float), aside = p->s->n_asides * sizeof(double);
    const void *x, *y, *h, *a = NULL;

    if (spool_read(&p->g->features, at * row, n * row, p->x, &x, err) ||
        spool_read(&p->g->label, at * sizeof(float), n * sizeof(float), p->y, &y, err) ||
        spool_read(&p->g->hash, at * sizeof(uint64_t), n * sizeof(uint64_t), p->h, &h, err) ||
        (aside && spool_read(&p->g->aside, at * aside, n * aside, p->a, &a, err)))
        return -1;
    *ret = (struct block){x, y, h, a};
    return 0;
}

static int write_rows(struct pass *p, struct err *err)
{
    size_t total = (size_t)p->g->kept;

    for (size_t at = 0, n; at < total; at += n) {
        struct block b;

        n = total - at < p->block_rows ? total - at : p->block_rows;
        if (read_block(p, at, n, &b, err) || write_block(p, compact(p, at, n, &b), &b, err))
            return -1;
    }
    return 0;
}

static void open_profiler(struct pass *p)
{
    size_t n = p->s->n_features + 1;
    CLEANUP_FREE const char **names = xcalloc(n, sizeof(*names));
    CLEANUP_FREE bool *category = xcalloc(n, sizeof(*category));

    for (size_t i = 0; i < p->s->n_columns; i++) {
        const struct column *c = &p->s->columns[i];

        if (c->role != ROLE_FEATURE)
            continue;
        names[c->feature] = c->name;
        category[c->feature] = c->type == COLUMN_CATEGORY;
    }
    names[n - 1] = p->s->p->label;
    category[n - 1] = p->s->p->task != TASK_REGRESSION;
    p->profiler = profiler_new(names, category, n, PROFILE_SEED);
}

static int open_outs(struct pass *p, struct err *err)
{
    size_t cols = p->s->n_features, rows = p->d->rows;
    const struct artifacts *a = p->f->artifacts;
    bool adopt = p->g->features.path && !p->d->drop;

    if (adopt ? out_adopt(&p->features, &p->g->features, NPY_F32, 2, rows, cols, err)
              : out_open_npy(&p->features, a, NPY_F32, 2, rows, cols, err))
        return -1;
    if (out_open_npy(&p->label, a, NPY_F32, 1, rows, 1, err) ||
        out_open_npy(&p->split, a, NPY_U8, 1, rows, 1, err) ||
        out_open_npy(&p->hash, a, NPY_U64, 1, rows, 1, err) ||
        (p->s->n_asides && out_open_npy(&p->aside, a, NPY_F64, 2, rows, p->s->n_asides, err)))
        return -1;
    p->block_rows = BLOCK_BYTES / (cols * sizeof(float));
    p->block_rows = p->block_rows < 16 ? 16 : p->block_rows;
    if (p->block_rows > (size_t)p->g->kept)
        p->block_rows = (size_t)p->g->kept;
    p->first_test = rows - (size_t)llround(p->s->p->test * (double)rows);
    p->first_valid = p->first_test - (size_t)llround(p->s->p->valid * (double)rows);
    if (p->first_valid > p->first_test) /* rounded up twice: one row, two halves */
        p->first_valid = 0;
    p->x = xmalloc(p->block_rows * cols * sizeof(*p->x));
    p->y = xmalloc(p->block_rows * sizeof(*p->y));
    p->h = xmalloc(p->block_rows * sizeof(*p->h));
    p->a = xmalloc((p->block_rows * p->s->n_asides + 1) * sizeof(*p->a));
    p->part = xmalloc(p->block_rows);
    p->wide = xmalloc(p->block_rows * (cols + 1) * sizeof(*p->wide));
    open_profiler(p);
    return 0;
}

/* ---- manifest ---- */

static char **copy_strings(char *const *from, size_t n)
{
    char **to = xcalloc(n + 1, sizeof(*to));

    for (size_t i = 0; i < n; i++)
        to[i] = xstrdup(from[i]);
    return to;
}

static struct snapshot *describe(const struct sheet *s, const struct settled *d,
                                 const struct freeze_request *rq)
{
    struct snapshot *ret = xcalloc(1, sizeof(*ret));

    ret->line = xstrdup(rq->line);
    ret->dataset = xstrdup(rq->dataset);
    ret->version = xstrdup(rq->version);
    ret->pipeline_sha256 = xstrdup(s->p->sha256);
    ret->task = s->p->task;
    ret->label_name = xstrdup(s->p->label);
    ret->classes = copy_strings(d->classes, d->n_classes);
    ret->n_classes = d->n_classes;
    ret->rows = d->rows;
    ret->n_asides = s->n_asides;
    for (size_t i = 0; i < ASIDE_COUNT; i++)
        ret->asides[i] = xstrdup(s->asides[i] == COLUMN_NONE ? NULL : s->p->asides[i]);
    ret->n_columns = s->n_features;
    ret->columns = xcalloc(s->n_features, sizeof(*ret->columns));
    for (size_t i = 0; i < s->n_columns; i++) {
        const struct column *c = &s->columns[i];
        struct snapshot_column *to = &ret->columns[c->feature];

        if (c->role != ROLE_FEATURE)
            continue;
        to->name = xstrdup(c->name);
        to->type = c->type;
        if (c->type != COLUMN_CATEGORY)
            continue;
        to->categories = copy_strings(c->categories.items, c->categories.n);
        to->n_categories = c->categories.n;
    }
    return ret;
}

static int write_segment(struct pass *p, struct err *err)
{
    CLEANUP(json_freep) struct json *profile_json = NULL, *manifest = NULL;
    struct snapshot *to = p->snapshot;
    struct profile *profile;

    if (open_outs(p, err) || write_rows(p, err))
        return -1;
    BUG_ON(p->done != p->d->rows);
    if (p->features.is_there)
        free(TAKE(p->g->features.path)); /* it is the snapshot's now */
    out_take(&p->features, p->f, to->features);
    out_take(&p->label, p->f, to->label);
    out_take(&p->split, p->f, to->split);
    out_take(&p->hash, p->f, to->row_hash);
    if (p->s->n_asides)
        out_take(&p->aside, p->f, to->aside);
    profile = profiler_finish(TAKE(p->profiler));
    profile_json = profile_to_json(profile);
    profile_free(profile);
    if (put_text(p->f, profile_json, to->profile, err))
        return -1;
    manifest = snapshot_to_json(to);
    return put_text(p->f, manifest, to->digest, err);
}

static void accept(const struct segment *g, const struct settled *d, const struct snapshot *from,
                   struct arena *arena, struct dataset_ingested *ret)
{
    ret->status = "accepted";
    ret->snapshot = arena_strdup(arena, from->digest);
    ret->profile = arena_strdup(arena, from->profile);
    ret->rows = (int64_t)d->rows;
    ret->train_rows = (int64_t)from->split_rows[ROW_TRAIN];
    ret->valid_rows = (int64_t)from->split_rows[ROW_VALID];
    ret->test_rows = (int64_t)from->split_rows[ROW_TEST];
    ret->rows_quarantined = g->quarantined;
}

static int freeze_settled(struct freezer *f, struct sheet *s, struct segment *g,
                          const struct settled *d, const struct freeze_request *rq,
                          struct arena *arena, struct dataset_ingested *ret, struct err *err)
{
    struct pass p = {.f = f, .s = s, .g = g, .d = d, .snapshot = describe(s, d, rq)};
    int rc = write_segment(&p, err);

    if (rc == 0)
        accept(g, d, p.snapshot, arena, ret);
    pass_fini(&p);
    snapshot_free(p.snapshot);
    return rc;
}

static int settle_spools(struct sheet *s, struct segment *g, struct err *err)
{
    struct spool *spools[] = {&g->features, &g->label, &g->hash, &g->aside};

    for (size_t i = 0; i < ARRAY_LEN(spools); i++)
        if (spools[i]->path && spool_flush(spools[i], &s->budget, err))
            return -1;
    return 0;
}

int freeze_segment(struct freezer *f, struct sheet *s, struct segment *g,
                   const struct freeze_request *rq, struct arena *arena,
                   struct dataset_ingested *ret, struct err *err)
{
    CLEANUP(freeze__settled_fini) struct settled d = {0};

    ret->status = "rejected";
    if (s->report.is_rejected || g->report.is_rejected)
        return 0;
    if (settle_spools(s, g, err) || freeze__settle(s, g, f->artifacts, rq, &d, err))
        return -1;
    ret->rows_seen_before = d.seen;
    if (g->report.is_rejected)
        return 0;
    return freeze_settled(f, s, g, &d, rq, arena, ret, err);
}
