/* Loading and predicting.  What XGBoost returns lives in storage of the calling thread and dies
 * with its next call there: everything is copied at once. */
#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <xgboost/c_api.h>

#include "common/mem.h"
#include "common/xgb_internal.h"

enum {
    BATCH_ROWS = 8192
}; /* of one call: XGBoost keeps the answers of the largest one for each thread */

static const char PREDICT_CONFIG[] =
    "{\"type\":0,\"training\":false,\"iteration_begin\":0,\"iteration_end\":0,\"missing\":NaN,"
    "\"strict_shape\":true,\"cache_id\":0}";

struct xgb {
    BoosterHandle handle;
    size_t n_features, n_outputs;
    char objective[64];
};

/* "[12:00:00] ./src/learner.cc:12: what is wrong\nStack trace: ..." */
int xgb__fail(struct err *err, const char *what)
{
    const char *text = XGBGetLastError(), *end = strstr(text, "Stack trace"),
               *prefix = strstr(text, ": ");
    char line[300];
    size_t n;

    if (text[0] == '[' && prefix && (!end || prefix < end))
        text = prefix + 2;
    n = end ? (size_t)(end - text) : strlen(text);
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '))
        n--;
    snprintf(line, sizeof(line), "%.*s", (int)(n < sizeof(line) ? n : sizeof(line) - 1), text);
    for (char *c = line; *c; c++)
        if (*c == '\n')
            *c = ' ';
    err_set(err, ERR_INVAL, NEXT_REJECT, "XGBoost: %s: %s", what, line);
    return -1;
}

void xgb__interface(const float *data, size_t rows, size_t cols, char out[XGB_INTERFACE_SIZE])
{
    char shape[48];

    if (cols)
        snprintf(shape, sizeof(shape), "%zu,%zu", rows, cols);
    else
        snprintf(shape, sizeof(shape), "%zu", rows);
    snprintf(out, XGB_INTERFACE_SIZE,
             "{\"data\":[%zu,true],\"shape\":[%s],\"typestr\":\"<f4\",\"version\":3}",
             (size_t)(uintptr_t)data, shape);
}

const char *xgb_version(void)
{
    static _Thread_local char text[32];
    int major = 0, minor = 0, patch = 0;

    XGBoostVersion(&major, &minor, &patch);
    snprintf(text, sizeof(text), "%d.%d.%d", major, minor, patch);
    return text;
}

/* ---- load ---- */

void xgb_free(struct xgb *x)
{
    if (!x)
        return;
    if (x->handle)
        XGBoosterFree(x->handle);
    free(x);
}

static void xgb_freep(struct xgb **x)
{
    xgb_free(*x);
}

/* Answers as they come must be what the loop takes them for. */
static int check_objective(const char *name, struct err *err)
{
    static const char *const known[] = {
        "binary:logistic",     "multi:softprob",       "reg:logistic",      "reg:squarederror",
        "reg:squaredlogerror", "reg:pseudohubererror", "reg:absoluteerror", "reg:gamma",
        "reg:tweedie",         "count:poisson",
    };

    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strcmp(name, known[i]) == 0)
            return 0;
    return err_inval(err,
                     "model: objective '%s' is none of binary:logistic, multi:softprob, reg:... "
                     "and count:poisson",
                     name);
}

/* A booster's nthread counts once it is configured, which is after its trees were read; reading
 * them in parallel starts OpenMP's threads, which then spin for work that never comes, on cores
 * that others need.  So the calling thread is told to do without.  Asked for by name: programs are
 * not linked with OpenMP themselves, and a libxgboost without it has no such trouble. */
static void read_alone(void)
{
    void *symbol = dlsym(RTLD_DEFAULT, "omp_set_num_threads");
    void (*set_num_threads)(int);

    if (!symbol)
        return;
    memcpy(&set_num_threads, &symbol, sizeof(symbol)); /* ISO C has no cast for it */
    set_num_threads(1);
}

static int load_handle(struct xgb *x, struct slice model, struct err *err)
{
    bst_ulong n_features = 0;
    double *out;
    float *row;
    int rc;

    read_alone();
    if (XGBoosterCreate(NULL, 0, &x->handle))
        return xgb__fail(err, "a new booster");
    if (XGBoosterSetParam(x->handle, "verbosity", "0") ||
        XGBoosterSetParam(x->handle, "nthread", "1") ||
        XGBoosterLoadModelFromBuffer(x->handle, model.p, model.n) ||
        XGBoosterSetParam(x->handle, "nthread", "1") ||
        XGBoosterGetNumFeature(x->handle, &n_features))
        return xgb__fail(err, "load");
    if (n_features != x->n_features)
        return err_set(err, ERR_CODEC, NEXT_REJECT, "model: %zu features, but XGBoost reads %zu",
                       x->n_features, (size_t)n_features);
    row = xmalloc(x->n_features * sizeof(*row));
    out = xmalloc(x->n_outputs * sizeof(*out));
    for (size_t i = 0; i < x->n_features; i++)
        row[i] = NAN;
    rc = xgb_predict(x, row, 1, out,
                     err); /* configures it, which threads must not do side by side */
    free(row);
    free(out);
    return rc;
}

int xgb_load(struct slice model, struct xgb **ret, struct err *err)
{
    CLEANUP(buf_fini) struct buf plain = {0};
    CLEANUP(xgb_freep) struct xgb *x = NULL;
    struct xgb_facts facts;

    if (xgb__inspect(model, &facts, err) || check_objective(facts.objective, err))
        return -1;
    if (facts.base_score_list_n) {
        buf_init(&plain, model.n + 64);
        if (xgb__plain_base_score(model, &facts, &plain, err))
            return -1;
        model = buf_slice(&plain);
    }
    x = xcalloc(1, sizeof(*x));
    x->n_features = facts.n_features;
    x->n_outputs = facts.n_classes > 1 ? facts.n_classes : 1;
    str_copy(x->objective, sizeof(x->objective), facts.objective);
    if (load_handle(x, model, err))
        return -1;
    *ret = TAKE(x);
    return 0;
}

size_t xgb_features(const struct xgb *x)
{
    return x->n_features;
}

size_t xgb_outputs(const struct xgb *x)
{
    return x->n_outputs;
}

int xgb_fits(const struct xgb *x, enum task task, size_t n_classes, struct err *err)
{
    bool is_logistic =
        strcmp(x->objective, "binary:logistic") == 0 || strcmp(x->objective, "reg:logistic") == 0;
    bool is_softprob = strcmp(x->objective, "multi:softprob") == 0;

    if (task == TASK_BINARY && !is_logistic)
        return err_inval(err, "model: a binary task needs the objective binary:logistic, not %s",
                         x->objective);
    if (task == TASK_MULTICLASS && (!is_softprob || x->n_outputs != n_classes))
        return err_inval(
            err, "model: a task of %zu classes needs multi:softprob with as many, not %s with %zu",
            n_classes, x->objective, x->n_outputs);
    if (task == TASK_REGRESSION && (is_softprob || strcmp(x->objective, "binary:logistic") == 0))
        return err_inval(err, "model: a regression needs an objective of values, not %s",
                         x->objective);
    return 0;
}

/* ---- predict ---- */

/* What holds the rows while they are looked at.  XGBoost would make one for each call, and read the
 * control group's files for it, which is half of the time that one row takes; so they are kept, as
 * many as calls run at a time.  Not a thread's own: the library's thread-locals are gone by the
 * time that a thread's destructors run. */
enum { PROXIES_KEPT = 64 };
static pthread_mutex_t proxies_lock = PTHREAD_MUTEX_INITIALIZER;
static DMatrixHandle proxies[PROXIES_KEPT];
static size_t n_proxies;

static int take_proxy(DMatrixHandle *ret, struct err *err)
{
    pthread_mutex_lock(&proxies_lock);
    *ret = n_proxies ? proxies[--n_proxies] : NULL;
    pthread_mutex_unlock(&proxies_lock);
    if (!*ret && XGProxyDMatrixCreate(ret))
        return xgb__fail(err, "a place for rows");
    return 0;
}

static void give_proxy(DMatrixHandle proxy)
{
    bool is_kept;

    pthread_mutex_lock(&proxies_lock);
    is_kept = n_proxies < PROXIES_KEPT;
    if (is_kept)
        proxies[n_proxies++] = proxy;
    pthread_mutex_unlock(&proxies_lock);
    if (!is_kept)
        XGDMatrixFree(proxy);
}

int xgb__predict(void *booster, const float *rows, size_t n_rows, size_t n_features,
                 size_t n_outputs, double *out, struct err *err)
{
    char interface[XGB_INTERFACE_SIZE];
    const bst_ulong *shape = NULL;
    const float *result = NULL;
    bst_ulong dims = 0, n = 1;
    DMatrixHandle proxy;
    int rc;

    xgb__interface(rows, n_rows, n_features, interface);
    if (take_proxy(&proxy, err))
        return -1;
    rc = XGBoosterPredictFromDense(booster, interface, PREDICT_CONFIG, proxy, &shape, &dims,
                                   &result);
    give_proxy(proxy); /* the result is the booster's and the thread's */
    if (rc)
        return xgb__fail(err, "predict");
    for (bst_ulong i = 0; i < dims; i++)
        n *= shape[i];
    if (n != n_rows * n_outputs)
        return err_set(err, ERR_CODEC, NEXT_REJECT,
                       "model: %zu answers for %zu rows, not %zu a row", (size_t)n, n_rows,
                       n_outputs);
    for (size_t i = 0; i < n; i++)
        out[i] = (double)result[i];
    return 0;
}

int xgb_predict(struct xgb *x, const float *rows, size_t n_rows, double *out, struct err *err)
{
    for (size_t done = 0; done < n_rows; done += BATCH_ROWS) {
        size_t n = n_rows - done < BATCH_ROWS ? n_rows - done : BATCH_ROWS;

        if (xgb__predict(x->handle, rows + done * x->n_features, n, x->n_features, x->n_outputs,
                         out + done * x->n_outputs, err))
            return -1;
    }
    return 0;
}

/* ---- importance ---- */

/* Features are asked for as "0", "1", ...: names that the model's maker gave them may be anything.
 */
int xgb_importance(struct xgb *x, double *ret_gain, struct err *err)
{
    CLEANUP(buf_fini) struct buf config = {0};
    bst_ulong n_names = 0, dims = 0;
    const bst_ulong *shape = NULL;
    const char **names = NULL;
    const float *scores = NULL;

    buf_add_str(&config, "{\"importance_type\":\"gain\",\"feature_names\":[");
    for (size_t i = 0; i < x->n_features; i++)
        buf_addf(&config, "%s\"%zu\"", i ? "," : "", i);
    buf_add_str(&config, "]}");
    if (XGBoosterFeatureScore(x->handle, config.data, &n_names, &names, &dims, &shape, &scores))
        return xgb__fail(err, "importance");
    for (size_t i = 0; i < x->n_features; i++)
        ret_gain[i] = 0;
    for (bst_ulong i = 0; i < n_names; i++) {
        int64_t at;

        if (str_to_i64(names[i], &at) == 0 && at >= 0 && (size_t)at < x->n_features)
            ret_gain[at] = (double)scores[i];
    }
    return 0;
}
