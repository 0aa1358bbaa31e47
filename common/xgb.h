/* Boosted trees (XGBoost's C API).  The only module with xgboost's header; programs that do not
 * call it are not linked with the library.  Thread: one at a time per booster, but xgb_predict may
 * be called from several threads on one loaded booster.  Never fork after the first call. */
#ifndef COMMON_XGB_H
#define COMMON_XGB_H

#include "common/buf.h"
#include "common/err.h"
#include "common/snapshot.h"

struct xgb;

/* Structural check of a UBJ or JSON model text before XGBoost sees it: parses, tree arrays have
 * equal lengths, child and split indices in range, no cycle, feature count as expected (n_features
 * 0: any). ERR_CODEC.  Does not need the library. */
int xgb_check(struct slice model, size_t n_features, struct err *err) WARN_UNUSED;
/* Checks first; one thread.  Models of XGBoost 3.1 and later write base_score as a list, which the
 * library of 1.7 reads as 0.5 without a word: it is put right on the way in. */
int xgb_load(struct slice model, struct xgb **ret, struct err *err) WARN_UNUSED;
void xgb_free(struct xgb *x);
size_t xgb_features(const struct xgb *x);
size_t xgb_outputs(const struct xgb *x); /* per row: 1, or number of classes */
/* Can it answer for the task: its objective gives a probability, class probabilities, or a value.
 * ERR_INVAL. */
int xgb_fits(const struct xgb *x, enum task task, size_t n_classes, struct err *err) WARN_UNUSED;
/* x: rows x features (NaN missing); out: rows x outputs doubles (probability, class probabilities,
 * value). */
int xgb_predict(struct xgb *x, const float *rows, size_t n_rows, double *out,
                struct err *err) WARN_UNUSED;

struct xgb_params {
    const char *const *names; /* passed to XGBoost as they are */
    const char *const *values;
    size_t n;
    int rounds, early_stopping; /* 0: none */
    const char *metric;         /* of early stopping: logloss, mlogloss, rmse, mae, auc, error */
    uint64_t seed;
    int threads; /* 0: by the size of the data; the bytes do not depend on it */
};
typedef int (*xgb_round_fn)(
    void *ctx, int round,
    double valid_metric); /* after round 1, 2, ...; NaN without valid; non-zero stops (canceled) */
/* Trains on `train`, early stopping on `valid` (may have 0 rows: then none).  Deterministic: same
 * inputs, same bytes. Categories are plain numeric codes to the trees (split by order), as they are
 * in the matrix.  Only parameters for trees on a CPU are passed on; objective, num_class, seed and
 * threads are set here.  base_score, where it is not given, is the mean of the labels of a binary
 * or regression task, as XGBoost 2 and later have it. Errors: ERR_INVAL (parameter, labels),
 * ERR_CANCELED. ret_model gets UBJ; *ret_rounds the number kept; *ret_best the metric there (NaN
 * without valid). */
int xgb_train(const struct matrix *train, const struct matrix *valid, enum task task,
              const struct xgb_params *params, xgb_round_fn on_round, void *ctx,
              struct buf *ret_model, int *ret_rounds, double *ret_best,
              struct err *err) WARN_UNUSED;
/* Gain per feature, n_features doubles. */
int xgb_importance(struct xgb *x, double *ret_gain, struct err *err) WARN_UNUSED;
const char *xgb_version(void);

#endif
