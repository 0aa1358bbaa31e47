/* Prequential scores of a stream (each row is scored before its label is learned from; Gama et al.
 * 2013, "On evaluating stream learning algorithms").  Pure. */
#ifndef RELEARN_REPLAY_SCORE_H
#define RELEARN_REPLAY_SCORE_H

#include "common/pipeline.h"

struct score {
    int64_t rows;
    int64_t correct;         /* classification */
    double logloss;          /* sum of -log p(label), p clipped to [1e-15, 1] */
    double absolute, square; /* regression: sums */
};
void score_class(struct score *s, bool is_correct, double p_of_label);
void score_value(struct score *s, double predicted, double actual);
double score_accuracy(const struct score *s); /* NaN without rows; so are the others */
double score_logloss(const struct score *s);
double score_mae(const struct score *s);
double score_rmse(const struct score *s);

/* "Same as the last label" and "the most frequent label so far". */
struct naive;
struct naive *naive_new(enum task task);
void naive_free(struct naive *n);
/* Scores both on this label when is_scored, then learns it. */
void naive_label(struct naive *n, const char *label, bool is_scored);
const struct score *naive_last(const struct naive *n);
const struct score *naive_majority(const struct naive *n); /* regression: the mean so far */

#endif
