/* Which rows belong to which value of a column.  Pure. */
#ifndef EVALUATE_SLICES_H
#define EVALUATE_SLICES_H

#include "common/mem.h"
#include "common/snapshot.h"

enum {
    SLICES_MAX = 20
}; /* of one column: the most frequent values; a report of more is not read */

struct row_slice {
    const char *name;   /* "period=a", "amount=[10,25)", "amount=missing" */
    const size_t *rows; /* rising */
    size_t n;
};
struct row_slices {
    struct row_slice *items;
    size_t n;
};
/* Categories and numbers of at most SLICES_MAX different values: a slice for each value, most
 * frequent first. Other numbers: quartiles of these rows.  Missing values are a slice of their own.
 * No such column: n 0. */
void slices_of(const struct matrix *m, const char *column, struct arena *arena,
               struct row_slices *ret);

#endif
