/* Counting a window of predictions against the profile of what their model was trained on.  Pure;
 * thread: one at a time per window. */
#ifndef MONITOR_WINDOW_H
#define MONITOR_WINDOW_H

#include "common/model.h"
#include "common/profile.h"

/* What the rows of one generation are held against. */
struct reference {
    const struct model *model;     /* features in order, classes */
    const struct profile *profile; /* NULL: none is known, nothing is counted */
    size_t n_features, n_outputs;
    const struct profile_column **columns; /* of each feature; NULL: the profile does not have it */
    const struct profile_column *prediction; /* of the outputs; NULL: not known */
    size_t
        *first_bin; /* n_features + 1: where a feature's bins begin; the last: the prediction's */
    size_t n_bins;  /* of all */
};
/* Borrows both. */
void reference_init(struct reference *r, const struct model *m, const struct profile *p);
void reference_fini(struct reference *r);

struct counts {
    int64_t rows;
    int64_t *bins;    /* reference's n_bins */
    int64_t *missing; /* of each feature; values that are not finite count as missing */
};
void counts_init(struct counts *c, const struct reference *r); /* without a profile: rows only */
void counts_fini(struct counts *c);
void counts_add(struct counts *c, const struct reference *r, const float *features,
                const double *outputs);

#endif
