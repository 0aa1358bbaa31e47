/* The rows of an evaluation: test splits that neither model has learned from, as each model wants
 * them. */
#ifndef EVALUATE_ROWS_H
#define EVALUATE_ROWS_H

#include "common/model.h"
#include "common/snapshot.h"

struct test_rows {
    struct matrix candidate; /* features and labels as the candidate knows them */
    struct matrix champion;  /* the same rows in the same order; rows 0 when there is no champion */
    size_t left_out; /* rows that another snapshot had among those that a model learned from, or a
                        newer test split */
};
/* tests: snapshots whose test splits are wanted, oldest first.  champion: NULL, none to compare
 * with. Errors: as matrix_load and snapshot_open. */
int rows_load(const struct artifacts *a, char *const *tests, size_t n,
              const struct model *candidate, const struct model *champion, struct test_rows *ret,
              struct err *err) WARN_UNUSED;
void rows_fini(struct test_rows *r);

#endif
