/* How far apart the data of two runs are, column by column, from the profiles of their snapshots:
 * the population stability index over the bins of the newest snapshot of the first.  Pure. */
#ifndef CONSOLE_DISTANCE_H
#define CONSOLE_DISTANCE_H

#include "common/json.h"
#include "common/profile.h"
#include "common/snapshot.h"

struct distance_part {
    struct profile *profile;
    struct snapshot *snapshot; /* for the names of its categories */
};
struct distance_data {
    struct distance_part *parts; /* oldest first */
    size_t n;
};
/* A list of {column, psi, rows of both, share of missing of both, mean of both (numbers)}, farthest
 * first. psi is null where one of them has no values, or not this column. */
struct json *distance_json(const struct distance_data *a, const struct distance_data *b);

#endif
