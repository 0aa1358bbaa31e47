/* A metric prepared for many evaluations: what does not change between resamples is computed once,
 * then each resample is one pass over the rows with its multiplicities.  Only metrics*.c include
 * this. */
#ifndef COMMON_METRICS_INTERNAL_H
#define COMMON_METRICS_INTERNAL_H

#include "common/metrics.h"

enum { METRIC_MAX_SUMS = 4 };
#define METRIC_MAX_ROWS ((size_t)1 << 31) /* an index and one bit fit into 32 */

struct auc_order { /* of one class against the rest: row << 1 | is positive, by rising score */
    uint32_t *negatives_first, *positives_first; /* within a tie */
};
struct prepared {
    enum metric metric;
    size_t rows, n_classes;
    const double *w; /* borrowed; NULL: all 1 */
    /* a mean, or a few of them: sums of per-row values */
    size_t n_sums;
    double *row_sums[METRIC_MAX_SUMS];
    /* f1: true and predicted class of each row */
    uint32_t *truth, *guess;
    double *tp, *miss; /* per class, scratch of one evaluation */
    /* auc */
    struct auc_order *orders;
    size_t n_orders;
};

/* Metrics that are a mean over rows, of which the mean of differences is the difference. */
bool metric__is_mean(const struct prepared *p);
/* NULL, or why the metric is undefined on these rows. */
const char *metric__prepare(enum metric m, const struct metric_input *in, struct prepared *ret);
/* times: how often each row counts; NULL: once.  NaN with *ret_undefined when undefined. */
double metric__evaluate(struct prepared *p, const uint32_t *times, const char **ret_undefined);
void metric__fini(struct prepared *p);

void metric__auc_prepare(const struct metric_input *in, struct prepared *p);
double metric__auc(const struct prepared *p, const uint32_t *times, const char **ret_undefined);

#endif
