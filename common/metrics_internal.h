/* Parts of the metrics.  Rows are taken in blocks: what a metric needs to know of a row is computed
 * for a block at a time, summed up at once for a single value, or kept for the resamples, of which
 * METRIC_LANES are evaluated side by side.  Only metrics*.c include this. */
#ifndef COMMON_METRICS_INTERNAL_H
#define COMMON_METRICS_INTERNAL_H

#include "common/mem.h"
#include "common/metrics.h"

enum {
    METRIC_LANES = 8,         /* resamples side by side: the counts of a row are 8 bytes */
    METRIC_BLOCK_ROWS = 256,  /* rows whose counts, 16 KiB as doubles, stay in the first cache */
    METRIC_MAX_VECTORS = 3,   /* of a mean */
    METRIC_FULL_CLASSES = 16, /* up to here answers are counted by pairs of label and answer */
    METRIC_DEFAULT_BINS = 15,
    METRIC_MIN_TAIL = 5, /* resamples beyond a percentile; fewer do not tell where it is */
};

/* The lanes of one row or sum, wherever they lie. */
typedef double metric_lanes
    __attribute__((vector_size(METRIC_LANES * sizeof(double)), aligned(sizeof(double))));
static inline void metric__times(const uint8_t *times, double weight, metric_lanes *ret)
{
    typedef uint8_t bytes __attribute__((vector_size(METRIC_LANES)));
    typedef int32_t words __attribute__((vector_size(METRIC_LANES * sizeof(int32_t))));
    bytes b;

    memcpy(&b, times, sizeof(b));
    *ret = weight * __builtin_convertvector(__builtin_convertvector(b, words), metric_lanes);
}

enum metric_family {
    FAMILY_MEAN = 0,  /* a value for each row; rmse, r2 and others made of such sums too */
    FAMILY_CONFUSION, /* counts of labels and answers */
    FAMILY_RANK,      /* rows by falling score */
    FAMILY_ECE,       /* sums of bins */
    FAMILY_GROUP,     /* a value for each group */
};
enum metric_family metric__family(enum metric m);

/* NULL, or why no metric can be told from these rows; why this one cannot, of good rows. */
const char *metric__check_rows(const struct metric_input *in);
const char *metric__check(enum metric m, const struct metric_input *in);
double metric__value_unchecked(const struct metric_spec *m, const struct metric_input *in,
                               const char **why);
size_t metric__classes(const struct metric_input *in); /* 0: values */
size_t metric__answer(const struct metric_input *in, size_t row);
size_t metric__bins(const struct metric_spec *m);

/* ---- means (metrics_means.c): out[v][i] is vector v of row from + i ---- */
size_t metric__mean_vectors(enum metric m);
bool metric__is_mean(enum metric m); /* the mean of differences is the difference */
double metric__mean_shift(enum metric m, const struct metric_input *in);
const char *metric__mean_domain(enum metric m, const struct metric_input *in);
void metric__mean_fill(const struct metric_spec *m, const struct metric_input *in, double shift,
                       size_t from, size_t n, double *const out[METRIC_MAX_VECTORS]);
/* sums[v * stride], of weights times vectors. */
double metric__mean_value(enum metric m, const double *sums, size_t stride, double weight,
                          const char **ret_undefined);

/* ---- ece (metrics_means.c) ---- */
void metric__ece_fill(size_t bins, const struct metric_input *in, size_t from, size_t n,
                      uint16_t *ret_bin, double *ret_residual);

/* ---- counts of answers (metrics_confusion.c) ----
 * A row adds its weight to `codes_of` sums among `sums_of`. */
size_t metric__confusion_codes(size_t n_classes);
size_t metric__confusion_sums(size_t n_classes);
void metric__confusion_fill(const struct metric_input *in, size_t from, size_t n, uint32_t *ret);
/* scratch: 3 doubles a class. */
double metric__confusion_value(const struct metric_spec *m, size_t n_classes, const double *sums,
                               size_t stride, double *scratch, const char **ret_undefined);

/* ---- ranks (metrics_rank.c): row << 2 | first of a tie << 1 | positive, by falling score ---- */
uint32_t *metric__rank(const struct metric_input *in, size_t output);
/* NaN where the class has no rows, or all.  ret_auc, ret_pr: NULL: not wanted. */
void metric__rank_value(const struct metric_input *in, size_t output, double *ret_auc,
                        double *ret_pr);
/* The same of METRIC_LANES resamples; times: as many counts a row. */
void metric__walk(const uint32_t *order, const struct metric_input *in, const uint8_t *times,
                  double *ret_auc, double *ret_pr);
const char *metric__rank_undefined(size_t outputs);

/* ---- groups (metrics_groups.c) ---- */
/* value[g], and weight[g], 0 where the group has no relevant row. */
void metric__group_fill(const struct metric_spec *m, const struct metric_input *in, double *value,
                        double *weight);
extern const char METRIC_NO_WEIGHT[], METRIC_NO_RELEVANT[];

/* ---- resamples (metrics_set.c): what a comparison needs of the rows, computed once ---- */
struct metric_set;
struct metric_set *metric__set_new(const struct metric_spec *metrics, size_t n,
                                   const struct metric_input *a, const struct metric_input *b,
                                   struct metric_compared *ret);
void metric__set_free(struct metric_set *s);
bool metric__set_draws_rows(const struct metric_set *s); /* else only groups */
size_t metric__set_scratch(const struct metric_set *s);  /* doubles */
/* METRIC_LANES resamples: times of rows and of groups, METRIC_LANES counts each.  ret: n x
 * METRIC_LANES values of b - a, NaN where undefined. */
void metric__set_evaluate(const struct metric_set *s, const uint8_t *times,
                          const uint8_t *group_times, double *scratch, double *ret);

/* bad: what metric__check_rows says of them. */
double metric__value(const struct metric_spec *m, const struct metric_input *in, const char *bad,
                     const char **ret_why);

/* ---- bootstrap (metrics_bootstrap.c) ---- */
/* Intervals of how->choice INTERVAL_BOOTSTRAP; *ret_spread[i]: standard deviation of the resamples,
 * NaN: fewer than half are defined. */
void metric__bootstrap(const struct metric_spec *metrics, size_t n, const struct metric_input *a,
                       const struct metric_input *b, const struct metric_resampling *how,
                       struct metric_compared *ret, double *ret_spread);

/* ---- what a single row does (metrics_influence.c) ---- */
/* ret[i]: by how much row i moves the metric of b - a (of b without an a) off its value; they add
 * up to 0, their squares to the variance.  False: not known of this metric.  Of values that are
 * defined only. */
bool metric__influence(const struct metric_spec *m, const struct metric_input *a,
                       const struct metric_input *b, double *ret);
/* Standard error by DeLong's formula; NaN with fewer than two rows of a class. */
double metric__delong(const struct metric_input *a, const struct metric_input *b);

#endif
