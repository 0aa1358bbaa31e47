/* Snapshots in a store from a few literal rows, for tests of what reads them. */
#ifndef TESTS_SUPPORT_SAMPLE_SNAPSHOT_H
#define TESTS_SUPPORT_SAMPLE_SNAPSHOT_H

#include "common/snapshot.h"

struct sample_column {
    const char *name;
    enum column_type type;
    const char *const *categories; /* NULL-terminated; COLUMN_CATEGORY only */
};
struct sample_snapshot {
    enum task task;
    const char *label;          /* NULL: "y" */
    const char *const *classes; /* NULL-terminated; NULL for regression */
    const struct sample_column *columns;
    size_t n_columns, rows;
    const float *x;       /* rows x n_columns */
    const float *y;       /* class index or value */
    const uint8_t *split; /* NULL: all train */
    uint64_t first_hash;  /* row i has first_hash + i */
    const char *line;     /* NULL: "sample" */
};
/* Stores it; the test fails when that fails.  snapshot_free it. */
struct snapshot *sample_snapshot_put(const struct artifacts *a, const struct sample_snapshot *spec);

#endif
