/* What an evaluation knows of rows beside their features and labels, as metrics want it: weights,
 * groups, what wrong answers cost.  Pure. */
#ifndef EVALUATE_ASIDE_H
#define EVALUATE_ASIDE_H

#include "common/metrics.h"
#include "common/snapshot.h"

struct aside_part { /* of some rows; {0} is empty */
    double *weight, *value;
    uint32_t *group, *cluster;
};
/* rows NULL: the first n.  Sets w, group, value and cluster of `to`, which borrow from *ret; what
 * the pipeline does not name stays NULL.  Rows of snapshots that lack a cluster are of none. */
void aside_take(const struct matrix *m, const struct pipeline *p, const size_t *rows, size_t n,
                struct aside_part *ret, struct metric_input *to);
void aside_fini(struct aside_part *a);

struct aside_cost {
    struct metric_cost cost;
    double *cells;
};
/* evaluate.cost for these classes; false: the pipeline declares none.  A class that is none of them
 * leaves a cost that fits no model. */
bool aside_cost_init(struct aside_cost *c, const struct pipeline *p, char *const *classes,
                     size_t n_classes);
void aside_cost_fini(struct aside_cost *c);

#endif
