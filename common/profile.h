/* What a set of rows looks like, per column: counts, moments, quantiles, heavy hitters and
 * histogram edges; made in one streaming pass with bounded memory, kept as JSON in the store.  The
 * drift reference of every model.  Counts, moments and categories are exact; edges and bins are of
 * all rows up to PROFILE_SAMPLE_ROWS, of an even sample of so many beyond (profile.c).  Values that
 * are not finite count as missing. Thread: one at a time per profile. */
#ifndef COMMON_PROFILE_H
#define COMMON_PROFILE_H

#include "common/err.h"
#include "common/json.h"

#define PROFILE_BINS 16    /* histogram bins of equal share for numeric columns */
#define PROFILE_HITTERS 32 /* most frequent values kept for categories */
#define PROFILE_SAMPLE_ROWS                                                                        \
    65536 /* a bin's share is then off by 1.5 % of itself, PSI by 0.0002                           \
           */

struct profile_column {
    char *name;
    bool category;          /* values are codes of `categories` in the snapshot's dictionary */
    int64_t count, missing; /* count includes missing */
    double mean, stddev, min,
        max;        /* of present values; NaN when none; stddev over n, as numpy.std */
    size_t n_edges; /* numeric: inner bin edges, rising, unique; bins = n_edges + 1 */
    double edges[PROFILE_BINS - 1];
    int64_t bins[PROFILE_BINS + 1]; /* numeric: value v is in bin number(edges <= v); none is empty
                                       but beside a constant */
    size_t n_hitters;
    double hitters[PROFILE_HITTERS]; /* category codes, most frequent first */
    int64_t hitter_counts[PROFILE_HITTERS];
};
struct profile {
    int64_t rows;
    size_t n_columns;
    struct profile_column
        *columns; /* features in order, then "prediction" or the label when added */
};

struct profiler; /* streaming */
/* names: n column names; category[i]: codes, else numbers.  Missing is NaN. */
struct profiler *profiler_new(const char *const *names, const bool *category, size_t n,
                              uint64_t seed);
void profiler_add(struct profiler *p, const float *rows, size_t n_rows); /* row-major rows x n */
struct profile *profiler_finish(struct profiler *p);                     /* frees p */
void profile_free(struct profile *p);
struct json *profile_to_json(const struct profile *p);
int profile_from_json(const struct json *j, struct profile **ret, struct err *err) WARN_UNUSED;

/* Counting a window against a reference. */
size_t profile_bin_count(
    const struct profile_column *c); /* bins incl. "rest" for categories; without missing */
size_t profile_bin_of(const struct profile_column *c, double v); /* v not NaN */
/* Reference counts of the bins (category: of the hitters, then of the rest) in the same order,
 * length profile_bin_count. */
void profile_reference(const struct profile_column *c, int64_t *ret_counts);

#endif
