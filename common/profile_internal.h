/* Inside of common/profile. */
#ifndef COMMON_PROFILE_INTERNAL_H
#define COMMON_PROFILE_INTERNAL_H

#include "common/profile.h"

/* Edges and bin counts of a numeric column from n values of a sample (sorted in place; scratch: n
 * more), counts scaled up to `present` values.  values are finite. */
void profile__bins(float *values, float *scratch, size_t n, int64_t present,
                   struct profile_column *c);

#endif
