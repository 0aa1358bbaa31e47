/* What needs no model: the shares of classes or the mean of the rows that the candidate learned
 * from, and the label of the row before.  A candidate that is not better than these has learned
 * nothing. */
#ifndef EVALUATE_BASELINES_H
#define EVALUATE_BASELINES_H

#include "agents/evaluate/compare.h"
#include "common/model.h"

struct naive {
    double *shares; /* of the model's classes, n of them; regression: the mean, 1 */
    size_t n;
    const char *why; /* not NULL: nothing could be learned, and shares is NULL */
};
/* From the training rows of the model's snapshots; text of `why` lives in the arena. */
void naive_learn(const struct artifacts *a, const struct model *m, struct arena *arena,
                 struct naive *ret);
void naive_fini(struct naive *n);

struct baseline {
    const char *name, *model; /* model: digest; NULL: no trained one */
    const double *p;          /* on the comparison's rows, in the candidate's shape; NULL: `why` */
    const char *why;
};
/* Appends each metric of the candidate beside it on all rows.  An interval only where a rule of the
 * pipeline asks for one, of a level corrected for so many comparisons.  Pure. */
void baselines_append(const struct comparison *c, const struct baseline *b, int64_t comparisons,
                      struct arena *arena, struct evaluation_baseline_list *list);
/* The same of what needs no model. */
void baselines_compare(const struct comparison *c, const struct naive *naive, struct arena *arena,
                       int64_t comparisons, struct evaluation_baseline_list *ret);

#endif
