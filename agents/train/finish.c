#include "agents/train/finish.h"

#include <math.h>
#include <pthread.h>

#include "common/fault.h"
#include "common/fsx.h"
#include "common/model.h"
#include "common/profile.h"
#include "common/xgb.h"

enum {
    PREDICTION_ROWS_MIN =
        100, /* fewer rows not trained on say too little: then the training rows are taken */
    PREDICTION_ROWS_MAX =
        20000, /* newest of each split: its 16 bins are then good to a few percent */
};

/* ---- profile ---- */

/* The answers of m's rows, added as one column. */
static int add_predictions(const struct finish_input *in, struct xgb *x, const struct matrix *m,
                           struct profiler *p, struct err *err)
{
    size_t k = xgb_outputs(x),
           from = m->rows > PREDICTION_ROWS_MAX ? m->rows - PREDICTION_ROWS_MAX : 0,
           n = m->rows - from;
    CLEANUP_FREE double *out = xmalloc((n * k + 1) * sizeof(*out));
    CLEANUP_FREE float *scalars = xmalloc((n + 1) * sizeof(*scalars));

    if (xgb_predict(x, m->x + from * m->n_columns, n, out, err))
        return -1;
    for (size_t i = 0; i < n; i++) {
        for (size_t c = 0; c < k; c++)
            if (!isfinite(out[i * k + c]))
                return err_inval(err, "the model's answer to a row is not a finite number");
        scalars[i] = (float)model_prediction_scalar(in->fit->pipeline->task, out + i * k, k);
    }
    profiler_add(p, scalars, n);
    return 0;
}

static int profile_predictions(const struct finish_input *in, struct xgb *x, struct profile **ret,
                               struct err *err)
{
    static const char *const name[] = {"prediction"};
    const bool is_category[] = {in->fit->pipeline->task == TASK_MULTICLASS};
    struct profiler *p = profiler_new(name, is_category, 1, 0);
    CLEANUP(matrix_fini) struct matrix test = {0};
    int rc = matrix_load(in->artifacts, in->snapshots, in->fit->order->snapshots.n, ROW_TEST,
                         PREDICTION_ROWS_MAX, in->fit->train, &test, err);

    if (rc == 0 && test.rows + in->fit->valid->rows < PREDICTION_ROWS_MIN)
        rc = add_predictions(in, x, in->fit->train, p, err);
    else if (rc == 0)
        rc = add_predictions(in, x, in->fit->valid, p, err) || add_predictions(in, x, &test, p, err)
                 ? -1
                 : 0;
    *ret = profiler_finish(p);
    return rc;
}

static struct profile *profile_features(const struct matrix *m)
{
    CLEANUP_FREE const char **names = xcalloc(m->n_columns, sizeof(*names));
    CLEANUP_FREE bool *is_category = xcalloc(m->n_columns, sizeof(*is_category));
    struct profiler *p;

    for (size_t i = 0; i < m->n_columns; i++) {
        names[i] = m->columns[i].name;
        is_category[i] = m->columns[i].type == COLUMN_CATEGORY;
    }
    p = profiler_new(names, is_category, m->n_columns, 0);
    profiler_add(p, m->x, m->rows);
    return profiler_finish(p);
}

struct profiling {
    const struct matrix *rows;
    struct profile *profile; /* of the features; NULL: not made yet, or taken */
    pthread_t thread;
    bool has_thread;
};

static void *profiling_run(void *ctx)
{
    struct profiling *p = ctx;

    p->profile = profile_features(p->rows);
    return NULL;
}

struct profiling *profiling_start(const struct matrix *rows)
{
    struct profiling *p = xcalloc(1, sizeof(*p));

    p->rows = rows;
    p->has_thread = pthread_create(&p->thread, NULL, profiling_run, p) == 0;
    return p;
}

static void profiling_join(struct profiling *p)
{
    if (p->has_thread)
        pthread_join(p->thread, NULL);
    p->has_thread = false;
}

static struct profile *profiling_take(struct profiling *p)
{
    profiling_join(p);
    if (!p->profile) /* no thread was to be had */
        profiling_run(p);
    return TAKE(p->profile);
}

void profiling_free(struct profiling *p)
{
    if (!p)
        return;
    profiling_join(p);
    profile_free(p->profile);
    free(p);
}

/* The features, and behind them the predictions' column. */
static int make_profile(const struct finish_input *in, struct xgb *x, struct buf *text,
                        struct err *err)
{
    struct profile *predictions = NULL, *features;
    struct json *j;
    int rc = profile_predictions(in, x, &predictions, err);

    if (rc == 0) {
        features = profiling_take(in->profiling);
        features->columns =
            xrealloc(features->columns, (features->n_columns + 1) * sizeof(*features->columns));
        features->columns[features->n_columns++] = predictions->columns[0];
        predictions->n_columns = 0; /* its column has moved */
        j = profile_to_json(features);
        json_write(j, 0, false, text);
        json_free(j);
        profile_free(features);
    }
    profile_free(predictions);
    return rc;
}

/* ---- manifest ---- */

static struct json *params_json(const struct trial *t)
{
    struct json *j = json_object();

    for (size_t i = 0; i < t->n; i++) {
        if (isfinite(t->params[i].number))
            json_set_num(j, t->params[i].name, t->params[i].number);
        else
            json_set_str(j, t->params[i].name, t->params[i].text);
    }
    return j;
}

static char **copy_strings(char *const *items, size_t n)
{
    char **copy = xcalloc(n ? n : 1, sizeof(*copy));

    for (size_t i = 0; i < n; i++)
        copy[i] = xstrdup(items[i]);
    return copy;
}

static void copy_shape(const struct matrix *from, struct matrix *to)
{
    to->n_columns = from->n_columns;
    to->n_classes = from->n_classes;
    to->classes = copy_strings(from->classes, from->n_classes);
    to->columns = xcalloc(from->n_columns, sizeof(*to->columns));
    for (size_t i = 0; i < from->n_columns; i++) {
        to->columns[i] = from->columns[i];
        to->columns[i].name = xstrdup(from->columns[i].name);
        to->columns[i].categories =
            copy_strings(from->columns[i].categories, from->columns[i].n_categories);
    }
}

static struct model *make_model(const struct finish_input *in)
{
    const struct order *o = in->fit->order;
    struct model *m = xcalloc(1, sizeof(*m));

    m->line = xstrdup(o->line);
    m->run = xstrdup(o->run);
    m->pipeline = xstrdup(in->fit->pipeline->name);
    m->pipeline_sha256 = xstrdup(o->pipeline_sha256);
    m->trainer = xstrdup(o->trainer);
    m->format = xstrdup(in->fitted->format);
    m->task = in->fit->pipeline->task;
    copy_shape(in->fit->train, &m->shape);
    m->snapshots = xcalloc(o->snapshots.n, sizeof(*m->snapshots));
    for (; m->n_snapshots < o->snapshots.n; m->n_snapshots++)
        m->snapshots[m->n_snapshots] = xstrdup(o->snapshots.items[m->n_snapshots].snapshot);
    m->trained_rows = (int64_t)in->fit->train->rows;
    m->valid_rows = (int64_t)in->fit->valid->rows;
    m->rounds = in->fitted->rounds;
    m->trials = in->fitted->trials;
    m->params = params_json(&in->fitted->trial);
    m->metrics = json_object();
    if (isfinite(in->fitted->score)) {
        CLEANUP_FREE char *name = xasprintf("valid_%s", fit_score_name(m->task));

        json_set_num(m->metrics, name, in->fitted->score);
    }
    m->environment = json_object();
    json_set_str(m->environment, "relearn", RELEARN_VERSION);
    json_set_str(m->environment, "xgboost", xgb_version());
    return m;
}

/* ---- store ---- */

static int write_tmp(const struct artifacts *a, struct slice bytes, char digest[DIGEST_HEX_SIZE],
                     char **ret_path, struct err *err)
{
    CLEANUP_FREE char *path = artifacts_tmp(a, "model", err);
    FILE *f = path ? fopen(path, "wbxe") : NULL;
    bool ok;

    if (!path)
        return -1;
    ok = f && EFFECT(store, "trainer.model.write", 0, fwrite(bytes.p, 1, bytes.n, f)) == bytes.n;
    if (f && fclose(f))
        ok = false;
    if (!ok) {
        int code = errno;

        remove(path);
        return err_io(err, "cannot write %s: %s", path, strerror(code));
    }
    digest_bytes(bytes.p, bytes.n, digest);
    *ret_path = TAKE(path);
    return 0;
}

/* Model, profile and manifest at once: the event that names them comes only after all three. */
static int store(const struct finish_input *in, struct model *m, struct slice profile,
                 struct err *err)
{
    CLEANUP(buf_fini) struct buf manifest = {0};
    struct slice texts[3] = {buf_slice(&in->fitted->model), profile};
    char digests[3][DIGEST_HEX_SIZE], *paths[3] = {NULL};
    struct artifact_file files[3];
    size_t n = 0;
    int rc = 0;

    m->file_bytes = (int64_t)in->fitted->model.len;
    for (; n < 3 && rc == 0; n++) {
        if (n == 2) {
            memcpy(m->file, digests[0], DIGEST_HEX_SIZE);
            memcpy(m->profile, digests[1], DIGEST_HEX_SIZE);
            rc = model_seal(m, in->key, &manifest, err);
            texts[n] = buf_slice(&manifest);
        }
        if (rc == 0)
            rc = write_tmp(in->artifacts, texts[n], digests[n], &paths[n], err);
        files[n] = (struct artifact_file){.tmp_path = paths[n], .digest = digests[n]};
    }
    if (rc == 0)
        rc = EFFECT(store, "trainer.model.put", FAULT_ERR(err),
                    artifacts_put_files_as(in->artifacts, files, 3, err));
    for (size_t i = 0; i < 3; i++) {
        if (rc && paths[i])
            remove(paths[i]);
        free(paths[i]);
    }
    return rc;
}

static void fill(const struct finish_input *in, const struct model *m, struct arena *arena,
                 struct training_finished *f)
{
    const struct trial *t = &in->fitted->trial;
    struct named_value *params = arena_alloc(arena, (t->n + 1) * sizeof(*params)),
                       *metrics = arena_alloc(arena, sizeof(*metrics));

    f->model = arena_strdup(arena, m->digest);
    f->trained_rows = m->trained_rows;
    f->valid_rows = m->valid_rows;
    f->rounds = m->rounds;
    f->trials = m->trials;
    for (size_t i = 0; i < t->n; i++)
        if (isfinite(t->params[i].number))
            params[f->params.n++] = (struct named_value){t->params[i].name, t->params[i].number};
    f->params.items = params;
    metrics[0] = (struct named_value){arena_printf(arena, "valid_%s", fit_score_name(m->task)),
                                      in->fitted->score};
    f->metrics = (struct named_value_list){metrics, isfinite(in->fitted->score) ? 1 : 0};
}

int finish_store(const struct finish_input *in, struct arena *arena, struct training_finished *f,
                 struct err *err)
{
    CLEANUP(buf_fini) struct buf profile = {0};
    struct xgb *x = NULL;
    struct model *m;
    int rc = xgb_load(buf_slice(&in->fitted->model), &x, err);

    if (rc == 0)
        rc = make_profile(in, x, &profile, err);
    xgb_free(x);
    if (rc)
        return -1;
    m = make_model(in);
    rc = store(in, m, buf_slice(&profile), err);
    if (rc == 0)
        fill(in, m, arena, f);
    model_free(m);
    return rc;
}
