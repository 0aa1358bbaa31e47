/* Rows to train on, made from a seed: the label follows from the first three of six columns, the
 * third of which has missing values. */
#ifndef TESTS_SUPPORT_SAMPLE_ROWS_H
#define TESTS_SUPPORT_SAMPLE_ROWS_H

#include "common/snapshot.h"

enum { SAMPLE_COLUMNS = 6, SAMPLE_CLASSES = 3 };

struct sample_rows {
    struct matrix train, valid; /* names of columns and classes are there too */
};
/* Binary: 0 or 1; several classes: 3; regression: about 0 to 200. */
void sample_rows_init(struct sample_rows *r, enum task task, size_t train, size_t valid,
                      uint64_t seed);
void sample_rows_fini(struct sample_rows *r);

#endif
