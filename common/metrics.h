/* Metrics of predictions against labels.  Pure; thread: any.
 * p: rows x k outputs (binary k=1: probability of class 1; multiclass: class probabilities;
 * regression: value), y: class index or value, w: weights or NULL (1).  An undefined value is NaN
 * with a reason. */
#ifndef COMMON_METRICS_H
#define COMMON_METRICS_H

#include "common/err.h"
#include "common/pipeline.h"
#include "common/rng.h"

enum metric {
    METRIC_NONE = 0,
    METRIC_ACCURACY,
    METRIC_AUC,
    METRIC_LOGLOSS,
    METRIC_BRIER,
    METRIC_F1,
    METRIC_MAE,
    METRIC_RMSE,
    METRIC_R2,
    METRIC_COUNT
};

struct metric_input {
    const double *p;
    const float *y;
    const double *w; /* NULL: all 1 */
    size_t rows, k;  /* k outputs per row */
    enum task task;
};
const char *metric_str(enum metric m);
enum metric metric_parse(const char *name); /* METRIC_NONE when unknown */
bool metric_higher_is_better(enum metric m);
bool metric_fits(enum metric m, enum task t);
/* auc: Mann-Whitney with ties 1/2, multiclass: macro one-vs-rest (scikit-learn roc_auc_score);
 * logloss clipped at 1e-15; brier: mean square distance (binary: of class 1; multiclass: sum over
 * classes); f1: of class 1, multiclass macro over the classes that occur.  Binary answers are class
 * 1 above 0.5. */
double metric_value(enum metric m, const struct metric_input *in, const char **ret_undefined);

struct interval {
    double low, high;
};
/* Paired bootstrap (Efron & Tibshirani 1993, percentile) of b - a over rows: the same resampled
 * rows for both. a and b have the same labels and weights; undefined draws are left out; fewer than
 * half defined: NaN. a NULL: interval of b itself. */
int metric_bootstrap(enum metric m, const struct metric_input *a, const struct metric_input *b,
                     size_t rounds, double confidence, uint64_t seed, struct interval *ret);
/* The same for several metrics (at most METRIC_COUNT) on the same resamples, which are drawn once.
 * -1: the rows of a and b differ in number, or confidence is not within (0,1). */
int metric_bootstrap_many(const enum metric *metrics, size_t n, const struct metric_input *a,
                          const struct metric_input *b, size_t rounds, double confidence,
                          uint64_t seed, struct interval *ret /* n */);
/* PSI of two count vectors over the same bins (Yurdakul 2018); empty bins count as the
 * share 1e-4, as do those with less.  NaN when one side has no rows. */
double psi_counts(const int64_t *reference, const int64_t *window, size_t n);
double psi_of_shares(const double *reference, const double *window, size_t n);

#endif
