/* Training.  The matrix is given as one dense block, which for up to some million rows is faster
 * than a quantile matrix (tests/bench/README.md); histograms, so that the same inputs give the same
 * bytes however many threads there are. */
#include <math.h>
#include <unistd.h>
#include <xgboost/c_api.h>

#include "common/mem.h"
#include "common/xgb_internal.h"

/* XGBoost's threads wait for each other by spinning: on few rows, or with other processes on the
 * same cores, a second one makes it slower, by ten times and more.  From so many cells on it pays.
 */
enum { CELLS_FOR_THREADS = 4000000 };
enum { CHECK_ROWS = 16 }; /* compared after saving */

struct training {
    DMatrixHandle train, valid;
    BoosterHandle booster, best; /* best: cut to its best round */
    bool has_valid;
    struct err *err;
};

static void training_fini(struct training *t)
{
    if (t->booster)
        XGBoosterFree(t->booster);
    if (t->best)
        XGBoosterFree(t->best);
    if (t->train)
        XGDMatrixFree(t->train);
    if (t->valid)
        XGDMatrixFree(t->valid);
}

/* ---- parameters ---- */

static bool is_known(const char *name)
{
    static const char *const known[] = {
        "eta",
        "learning_rate",
        "gamma",
        "min_split_loss",
        "max_depth",
        "min_child_weight",
        "max_delta_step",
        "subsample",
        "colsample_bytree",
        "colsample_bylevel",
        "colsample_bynode",
        "lambda",
        "reg_lambda",
        "alpha",
        "reg_alpha",
        "scale_pos_weight",
        "base_score",
        "max_leaves",
        "max_bin",
        "num_parallel_tree",
        "tree_method",
        "grow_policy",
        "booster",
        "monotone_constraints",
        "interaction_constraints",
        "rate_drop",
        "skip_drop",
        "sample_type",
        "normalize_type",
        "one_drop",
    };

    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strcmp(name, known[i]) == 0)
            return true;
    return false;
}

static const char *given(const struct xgb_params *p, const char *name)
{
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->names[i], name) == 0)
            return p->values[i];
    return NULL;
}

static int set(struct training *t, const char *name, const char *value)
{
    if (XGBoosterSetParam(t->booster, name, value))
        return xgb__fail(t->err, name);
    return 0;
}

static int set_int(struct training *t, const char *name, uint64_t v)
{
    char text[24];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)v);
    return set(t, name, text);
}

/* XGBoost takes seeds of 63 bits. */
static int set_own(struct training *t, const struct matrix *m, enum task task,
                   const struct xgb_params *p, int threads)
{
    static const char *const objectives[] = {[TASK_BINARY] = "binary:logistic",
                                             [TASK_MULTICLASS] = "multi:softprob",
                                             [TASK_REGRESSION] = "reg:squarederror"};
    static const char *const metrics[] = {
        [TASK_BINARY] = "logloss", [TASK_MULTICLASS] = "mlogloss", [TASK_REGRESSION] = "rmse"};

    if (set(t, "verbosity", "0") || set(t, "objective", objectives[task]) ||
        set_int(t, "seed", p->seed >> 1) || set_int(t, "nthread", (uint64_t)threads))
        return -1;
    if (task == TASK_MULTICLASS && set_int(t, "num_class", m->n_classes))
        return -1;
    if (!given(p, "tree_method") && set(t, "tree_method", "hist"))
        return -1;
    if (t->has_valid)
        return set(t, "eval_metric", p->metric ? p->metric : metrics[task]);
    return set(t, "disable_default_eval_metric", "1");
}

static int set_base_score(struct training *t, const struct matrix *m, enum task task,
                          const struct xgb_params *p)
{
    double mean = 0;
    char text[32];

    if (task == TASK_MULTICLASS || given(p, "base_score"))
        return 0;
    for (size_t i = 0; i < m->rows; i++)
        mean += ((double)m->y[i] - mean) / (double)(i + 1);
    if (task == TASK_BINARY) /* its logarithm must be finite */
        mean = mean < 1e-6 ? 1e-6 : mean > 1 - 1e-6 ? 1 - 1e-6 : mean;
    snprintf(text, sizeof(text), "%.9g", mean); /* as a float32 */
    return set(t, "base_score", text);
}

static int set_params(struct training *t, const struct matrix *m, enum task task,
                      const struct xgb_params *p, int threads)
{
    for (size_t i = 0; i < p->n; i++) {
        if (!is_known(p->names[i]))
            return err_inval(t->err, "'%s' is no parameter of the built-in trainer", p->names[i]);
        if (set(t, p->names[i], p->values[i]))
            return -1;
    }
    if (set_own(t, m, task, p, threads))
        return -1;
    return set_base_score(t, m, task, p);
}

/* ---- data ---- */

static int make_matrix(struct training *t, const struct matrix *m, int threads, DMatrixHandle *ret)
{
    char data[XGB_INTERFACE_SIZE], labels[XGB_INTERFACE_SIZE], config[64];

    xgb__interface(m->x, m->rows, m->n_columns, data);
    xgb__interface(m->y, m->rows, 0, labels);
    snprintf(config, sizeof(config), "{\"missing\":NaN,\"nthread\":%d}", threads);
    if (XGDMatrixCreateFromDense(data, config, ret))
        return xgb__fail(t->err, "rows");
    if (XGDMatrixSetInfoFromInterface(*ret, "label", labels))
        return xgb__fail(t->err, "labels");
    return 0;
}

static int threads_for(const struct matrix *m, int wanted)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    if (wanted > 0)
        return wanted;
    return m->rows * m->n_columns < CELLS_FOR_THREADS || cores < 1 ? 1 : (int)cores;
}

static int check_labels(const struct matrix *m, enum task task, struct err *err)
{
    float n_classes = task == TASK_BINARY ? 2 : (float)m->n_classes;

    for (size_t i = 0; i < m->rows; i++) {
        if (!isfinite(m->y[i]))
            return err_inval(err, "a row has a label that is missing or not finite");
        if (task != TASK_REGRESSION &&
            (m->y[i] < 0 || m->y[i] >= n_classes || m->y[i] != floorf(m->y[i])))
            return err_inval(err, "a row has the label %g, of %g classes", (double)m->y[i],
                             (double)n_classes);
    }
    return 0;
}

static int check_inputs(const struct matrix *train, const struct matrix *valid, enum task task,
                        const struct xgb_params *p, struct err *err)
{
    if (train->rows == 0 || train->n_columns == 0)
        return err_inval(err, "no rows to train on");
    if (valid && valid->rows && valid->n_columns != train->n_columns)
        return err_inval(err, "valid rows have %zu columns, training rows %zu", valid->n_columns,
                         train->n_columns);
    if (p->rounds < 1)
        return err_inval(err, "rounds is %d, must be 1 or more", p->rounds);
    if (check_labels(train, task, err))
        return -1;
    return valid ? check_labels(valid, task, err) : 0;
}

/* ---- rounds ---- */

/* "[3]\tvalid-logloss:0.44303790609041849" */
static int evaluate(struct training *t, int iteration, double *ret)
{
    const char *name = "valid", *text = NULL, *colon;

    if (XGBoosterEvalOneIter(t->booster, iteration, &t->valid, &name, 1, &text))
        return xgb__fail(t->err, "evaluate");
    colon = strrchr(text, ':');
    if (!colon || str_to_double(colon + 1, ret))
        *ret = NAN;
    return 0;
}

static bool is_rising_better(const char *metric)
{
    static const char *const rising[] = {"auc", "aucpr", "map", "ndcg", "pre"};

    for (size_t i = 0; metric && i < ARRAY_LEN(rising); i++)
        if (strncmp(metric, rising[i], strlen(rising[i])) == 0)
            return true;
    return false;
}

static int run_rounds(struct training *t, const struct xgb_params *p, xgb_round_fn on_round,
                      void *ctx, int *ret_rounds, double *ret_best)
{
    double best = NAN, value = NAN, sign = is_rising_better(p->metric) ? -1 : 1;
    bool may_stop = t->has_valid && p->early_stopping > 0;
    int best_round = 0, round = 0;

    while (round < p->rounds && !(may_stop && round - best_round >= p->early_stopping)) {
        if (XGBoosterUpdateOneIter(t->booster, round, t->train))
            return xgb__fail(t->err, "train");
        if (t->has_valid && evaluate(t, round, &value))
            return -1;
        round++;
        if (best_round == 0 || sign * value < sign * best) {
            best = value;
            best_round = round;
        }
        if (on_round && on_round(ctx, round, value))
            return err_set(t->err, ERR_CANCELED, NEXT_RETRY, "training was stopped after round %d",
                           round);
    }
    if (may_stop && best_round < round) {
        if (XGBoosterSlice(t->booster, 0, best_round, 1, &t->best))
            return xgb__fail(t->err, "keep the best rounds");
        round = best_round;
    } else if (!may_stop) {
        best = value; /* the model that is kept is the last one */
    }
    *ret_rounds = round;
    *ret_best = best;
    return 0;
}

static int save(struct training *t, struct buf *ret)
{
    const char *bytes = NULL;
    bst_ulong n = 0;

    if (XGBoosterSaveModelToBuffer(t->best ? t->best : t->booster, "{\"format\":\"ubj\"}", &n,
                                   &bytes))
        return xgb__fail(t->err, "save");
    buf_add(ret, bytes, n);
    return ret->overflow
               ? err_set(t->err, ERR_LIMIT, NEXT_REJECT, "model: %zu bytes are too many", (size_t)n)
               : 0;
}

/* The bytes, loaded as they will be in service, answer as what was trained does. */
static int check_saved(const struct training *t, const struct matrix *m, struct slice model,
                       struct err *err)
{
    size_t n = m->rows < CHECK_ROWS ? m->rows : CHECK_ROWS, k;
    struct xgb *x = NULL;
    double *answers;
    int rc;

    if (xgb_load(model, &x, err))
        return err_wrap(err, "saved");
    k = n * xgb_outputs(x);
    answers = xmalloc((2 * k + 1) * sizeof(*answers));
    rc = xgb__predict(t->best ? t->best : t->booster, m->x, n, m->n_columns, xgb_outputs(x),
                      answers, err) ||
                 xgb_predict(x, m->x, n, answers + k, err)
             ? -1
             : 0;
    if (rc == 0 && memcmp(answers, answers + k, k * sizeof(*answers)) != 0)
        rc = err_set(err, ERR_CODEC, NEXT_REJECT, "the saved model answers otherwise than it did");
    free(answers);
    xgb_free(x);
    return rc;
}

int xgb_train(const struct matrix *train, const struct matrix *valid, enum task task,
              const struct xgb_params *params, xgb_round_fn on_round, void *ctx,
              struct buf *ret_model, int *ret_rounds, double *ret_best, struct err *err)
{
    CLEANUP(training_fini) struct training t = {.err = err, .has_valid = valid && valid->rows > 0};
    CLEANUP(buf_fini) struct buf model = {0};
    DMatrixHandle known[2];
    int threads, rounds = 0;
    double best = NAN;

    if (check_inputs(train, valid, task, params, err))
        return -1;
    threads = threads_for(train, params->threads);
    if (make_matrix(&t, train, threads, &t.train) ||
        (valid && t.has_valid && make_matrix(&t, valid, threads, &t.valid)))
        return -1;
    known[0] = t.train;
    known[1] = t.valid; /* its answers are then kept from round to round */
    if (XGBoosterCreate(known, t.has_valid ? 2 : 1, &t.booster))
        return xgb__fail(err, "a new booster");
    if (set_params(&t, train, task, params, threads) ||
        run_rounds(&t, params, on_round, ctx, &rounds, &best) || save(&t, &model) ||
        check_saved(&t, train, buf_slice(&model), err))
        return -1;
    buf_add(ret_model, model.data, model.len);
    *ret_rounds = rounds;
    *ret_best = best;
    return 0;
}
