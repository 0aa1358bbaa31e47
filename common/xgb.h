/* Boosted trees (XGBoost's C API).  The only module with xgboost's header; programs that do not call
 * it are not linked with the library.  Thread: one at a time per booster, but xgb_predict may be
 * called from several threads on one loaded booster.  Never fork after the first call. */
#ifndef COMMON_XGB_H
#define COMMON_XGB_H

#include "common/buf.h"
#include "common/err.h"
#include "common/snapshot.h"

struct xgb;

/* Structural check of a UBJ or JSON model text before XGBoost sees it: parses, tree arrays have equal
 * lengths, child and split indices in range, no cycle, feature count as expected.  ERR_CODEC. */
int xgb_check(struct slice model, size_t n_features, struct err *err) WARN_UNUSED;
int xgb_load(struct slice model, struct xgb **ret, struct err *err) WARN_UNUSED; /* xgb_check first; nthread 1 */
void xgb_free(struct xgb *x);
size_t xgb_features(const struct xgb *x);
size_t xgb_outputs(const struct xgb *x); /* per row: 1, or number of classes */
/* x: rows x features (NaN missing); out: rows x outputs doubles (probability, class probabilities, value). */
int xgb_predict(struct xgb *x, const float *rows, size_t n_rows, double *out, struct err *err) WARN_UNUSED;

struct xgb_params {
    const char *const *names;  /* passed to XGBoost as they are */
    const char *const *values;
    size_t n;
    int rounds, early_stopping; /* 0: none */
    const char *metric;         /* of early stopping: logloss, mlogloss, rmse, mae, auc, error */
    uint64_t seed;
    int threads;
};
typedef int (*xgb_round_fn)(void *ctx, int round, double valid_metric); /* non-zero stops (canceled) */
/* Trains on `train`, early stopping on `valid` (may have 0 rows: then none).  Deterministic: same inputs, same bytes.
 * ret_model gets UBJ; *ret_rounds the number kept; *ret_best the metric there (NaN without valid). */
int xgb_train(const struct matrix *train, const struct matrix *valid, enum task task, const struct xgb_params *params, xgb_round_fn on_round, void *ctx, struct buf *ret_model, int *ret_rounds, double *ret_best, struct err *err) WARN_UNUSED;
/* Gain per feature, n_features doubles. */
int xgb_importance(struct xgb *x, double *ret_gain, struct err *err) WARN_UNUSED;
const char *xgb_version(void);

#endif
