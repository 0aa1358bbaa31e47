/* Metrics of predictions against labels, and the bootstrap of their differences.  Pure; thread:
 * any; only metric_compare starts threads, and only when asked to.
 *
 * A metric is a small value, metric_spec, written as one name (metric_parse):
 *   auc   precision(macro)   fbeta(2)   fbeta(0.5 weighted)   quantile(0.9)   ece(20)   ndcg@10
 * Parameters are parted by a blank, since a comma would end an item of a YAML list [a, b].  Each
 * name has one canonical form (metric_str): that is what events carry and rules are matched by.
 * A value that these rows cannot tell is NaN with a reason, never a number that looks good or bad.
 */
#ifndef COMMON_METRICS_H
#define COMMON_METRICS_H

#include "common/err.h"
#include "common/pipeline.h"

/* n is the number of classes; TP, FP, FN, TN are sums of weights.  Sources: scikit-learn's function
 * of that name unless another one is given. */
enum metric {
    METRIC_NONE = 0,
    /* Tasks of classes.  The answer is class 1 above 0.5, else the first of the likeliest. */
    METRIC_ACCURACY,          /* share of right answers */
    METRIC_BALANCED_ACCURACY, /* mean recall of the classes that occur; undefined with one class */
    METRIC_PRECISION,         /* TP / (TP + FP); undefined when the class is never answered */
    METRIC_RECALL,            /* TP / (TP + FN); undefined when no row is of the class */
    METRIC_F1,                /* fbeta(1) */
    METRIC_FBETA,   /* (1 + b2) TP / ((1 + b2) TP + b2 FN + FP); undefined without positives */
    METRIC_MCC,     /* Matthews correlation, Gorodkin's (2004) for several classes; undefined when
                       labels or answers are all of one class */
    METRIC_AUC,     /* ROC, Mann-Whitney, ties 1/2; several classes: macro, one against the rest;
                       undefined when a class has no rows or all */
    METRIC_AUC_PR,  /* average precision, a tie is one threshold; as auc otherwise */
    METRIC_LOGLOSS, /* nats, probabilities clipped at 1e-15 */
    METRIC_BRIER,   /* mean squared distance; binary: of class 1; several classes: sum over them */
    METRIC_ECE,     /* expected calibration error, bins of equal width (15 unless said), bin
                       floor(p * bins): binary: of class 1's probability, several: of the answer's
                       (Guo 2017) */
    METRIC_COST,    /* mean cost of the answers, metric_input's cost */
    /* Tasks of values. */
    METRIC_MAE,
    METRIC_RMSE,
    METRIC_R2,               /* undefined when the label does not vary */
    METRIC_MAPE,             /* share, not per cent; undefined when a label is 0 */
    METRIC_SMAPE,            /* mean of 2|p - y| / (|p| + |y|), 0/0 is 0: 0 to 2 */
    METRIC_QUANTILE,         /* pinball loss of the given quantile */
    METRIC_POISSON_DEVIANCE, /* mean; undefined when a label is below 0 or a prediction not above */
    METRIC_GAMMA_DEVIANCE,   /* mean; undefined when a label or a prediction is not above 0 */
    /* Grouped rows: tasks of values (label: grade of relevance, 0 or more) and binary ones (class 1
       is relevant).  Mean over the groups that have a relevant row; undefined when none has. */
    METRIC_NDCG, /* gain is the label, discount log2(1 + place), ties share their places */
    METRIC_MAP,  /* of relevant rows (label above 0) among the first k, divided by what k can hold;
                    the mean over all orders of a tie (McSherry & Najork 2008) */
    METRIC_COUNT
};
/* Of precision, recall, f1, fbeta.  By default class 1 in a binary task, macro in others.  A
 * class's value that is undefined is left out of macro and weighted (zero_division=nan). */
enum metric_average { AVERAGE_DEFAULT = 0, AVERAGE_MICRO, AVERAGE_MACRO, AVERAGE_WEIGHTED };

struct metric_spec {
    enum metric id;
    enum metric_average average;
    double number; /* beta of fbeta, above 0 to 100; quantile, within 0 and 1; else 0 */
    int64_t count; /* bins of ece, 0: 15; k of ndcg and map, 0: all */
};
#define METRIC_NAME_SIZE 64 /* bytes of a canonical name with its NUL */
#define METRIC_MAX_BINS 1000
#define METRIC_MAX_K 1000000

struct metric_cost { /* of an answer: fixed[label * n + answer] + by_value[...] * the row's value */
    const double *fixed, *by_value; /* n x n */
    size_t n;                       /* classes */
};
struct metric_input {
    const double *p; /* rows x k; binary k=1: probability of class 1; several classes: theirs;
                        regression: value */
    const float *y;  /* class index or value */
    const double *w; /* weights, 0 or more; NULL: all 1 */
    size_t rows, k;  /* at most METRIC_MAX_ROWS */
    enum task task;
    const uint32_t *group; /* of each row, 0 to n_groups-1; NULL: no groups.  Its weight is the mean
                              of its rows' */
    size_t n_groups;
    const struct metric_cost *cost; /* NULL: none was declared */
    const double *value;            /* of each row, for cost; NULL: none */
    const uint32_t *cluster;        /* of each row, 0 to n_clusters-1: rows of one cluster are not
                                       independent; NULL: all are.  It changes no value, only intervals */
    size_t n_clusters;
};
#define METRIC_MAX_ROWS ((size_t)1 << 30) /* an index and two bits fit into 32 */

/* Errors: ERR_INVAL that says what is possible; ret->id is METRIC_NONE when even the name is not
 * known, else the metric meant. */
int metric_parse(const char *text, struct metric_spec *ret, struct err *err) WARN_UNUSED;
void metric_str(const struct metric_spec *m, char out[METRIC_NAME_SIZE]);
struct metric_spec metric_of(enum metric id); /* of one that needs no parameter */
bool metric_is_same(const struct metric_spec *a, const struct metric_spec *b);
const char *metric_example(enum metric m); /* a name that can be written: "auc", "fbeta(2)" */
bool metric_higher_is_better(enum metric m);
bool metric_fits(enum metric m, enum task t);
bool metric_needs_groups(enum metric m);
/* What the values are within; infinite where nothing bounds them. */
void metric_range(enum metric m, double *ret_low, double *ret_high);

/* The value on all rows.  *ret_undefined (may be NULL): why it is NaN, a static text.  Memory
 * beside the input: none for what is a mean or counts answers; 16 bytes a row for auc and auc_pr
 * (one class at a time), 4 for ndcg and map.  Time: auc takes little more than one sort of the
 * scores. */
double metric_value(const struct metric_spec *m, const struct metric_input *in,
                    const char **ret_undefined);

/* ---- two models on the same rows ---- */

struct interval {
    double low, high;
};
enum interval_choice {
    INTERVAL_BOOTSTRAP = 0,
    INTERVAL_AUTO,  /* a closed form where it is as good: auc, accuracy, means of many rows */
    INTERVAL_CLOSED /* wherever there is one; else the bootstrap */
};
enum interval_method { /* of one interval */
                       METHOD_NONE = 0,
                       METHOD_BOOTSTRAP, /* percentiles of resamples of rows, or of groups */
                       METHOD_CLUSTER_BOOTSTRAP, /* of clusters */
                       METHOD_DELONG, /* DeLong, DeLong & Clarke-Pearson (1988), by ranks (Sun & Xu
                                         2014) */
                       METHOD_TANGO,  /* accuracy of two (1998) */
                       METHOD_WILSON, /* accuracy of one (1927) */
                       METHOD_NORMAL, /* mean of rows, Student's quantile */
                       METHOD_COUNT
};
const char *interval_method_str(enum interval_method m); /* "" for none */

struct metric_resampling {
    size_t rounds; /* 0: no intervals */
    double confidence;
    uint64_t seed;
    unsigned threads; /* 0, 1: the caller's; the result is the same for any number */
    enum interval_choice choice;
    bool is_anytime; /* the intervals of all sizes of a growing table hold together:
                        sequence_half_width */
};
struct metric_compared {
    double a, b;
    const char *why_a, *why_b;   /* static; NULL: defined */
    struct interval interval;    /* of b - a, of b without an a */
    enum interval_method method; /* of the interval */
    const char *why_no_interval; /* static; NULL: there is one, none was wanted, or there is no
                                    value */
    double effective_rows;       /* independent rows of equal weight that tell as much: Kish's of
                                    the weights, by the design effect of the clusters; NaN: no
                                    value */
    double p;                    /* two-sided, of no difference: DeLong's z, McNemar's mid-p; NaN */
};
/* Values of n metrics for both, and intervals of b - a.  The bootstrap is paired (percentiles,
 * Efron & Tibshirani 1993): the same resamples for both models and all metrics.  A resample counts
 * each row Poisson(1) times (Hanley & MacGibbon 2006; Chamandy et al. 2012), the groups of ndcg and
 * map as wholes, and clusters as wholes (a group is of the cluster of its first row).  Resamples on
 * which a metric is undefined are left out; fewer than half defined: NaN.  Where a tail is less
 * than five resamples, their spread times a normal quantile takes the place of percentiles.
 * a NULL: b alone,
 * whose interval is that of b itself; rows, labels, weights and groups of a are those of b. Memory
 * beside the inputs, a row: 8 bytes for each thread, 4 for each model and class for auc and auc_pr,
 * 4 for each model that counts answers, 8 for each mean (16 rmse, 48 r2), 20 for ece, and 16 while
 * something is sorted.  Time: a row costs each resample some nanoseconds for all metrics. -1: the
 * rows of a and b differ in number, or confidence is not within (0,1). */
int metric_compare(const struct metric_spec *metrics, size_t n, const struct metric_input *a,
                   const struct metric_input *b, const struct metric_resampling *how,
                   struct metric_compared *ret /* n */);

/* ---- asking again and again ---- */

/* Half the width of an asymptotic confidence sequence (Waudby-Smith, Arbour, Sinha, Kennedy &
 * Ramdas 2021), in standard errors, at n effective rows: the truth is within it at all n together,
 * as likely as `confidence` says, where rows are only added.  Narrowest near SEQUENCE_TIGHT_ROWS.
 */
double sequence_half_width(double confidence, double n);
#define SEQUENCE_TIGHT_ROWS 1000 /* about what the first test splits of a line have */
/* Confidence at the attempt-th question (from 1), so that the chances of being wrong of all
 * questions, however many, add up to that of one: (1 - confidence) / (attempt (attempt + 1)). */
double sequence_confidence(double confidence, int64_t attempt);

/* PSI of two count vectors over the same bins (Yurdakul 2018); empty bins count as the
 * share 1e-4, as do those with less.  NaN when one side has no rows. */
double psi_counts(const int64_t *reference, const int64_t *window, size_t n);
double psi_of_shares(const double *reference, const double *window, size_t n);

#endif
