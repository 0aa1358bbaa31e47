/* Which parameters are tried: those of the pipeline, or one set for each point of its search. Pure.
 */
#ifndef TRAIN_TRIALS_H
#define TRAIN_TRIALS_H

#include "common/pipeline.h"

struct trial {
    const struct param *params; /* those of train.params, with the search's values in their place */
    size_t n;
};
struct trials {
    struct trial *items;
    size_t n;
};
/* Grid: every point, the last axis runs fastest.  Random: so many different points, by `seed`; the
 * whole grid when it has no more.  All of it lives in the arena and borrows from the pipeline. */
void trials_of(const struct pipeline *p, uint64_t seed, struct arena *arena, struct trials *ret);
/* A value of a trial; NULL when not given. */
const struct param *trial_get(const struct trial *t, const char *name);
/* Two trials with the same score are told apart by their order: the first one stays. */
bool trial_is_better(double score, double best); /* lower is better; NaN is worst */

#endif
