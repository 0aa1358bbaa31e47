/* A snapshot: an accepted dataset version of one line, frozen.  The manifest (JSON, content-addressed)
 * names NumPy files in the artefact store.  Thread: any, one at a time per snapshot. */
#ifndef COMMON_SNAPSHOT_H
#define COMMON_SNAPSHOT_H

#include "common/artifact.h"
#include "common/json.h"
#include "common/npy.h"
#include "common/pipeline.h"

enum split { ROW_TRAIN = 0, ROW_VALID = 1, ROW_TEST = 2 };

struct snapshot_column {
    char *name;
    enum column_type type;      /* FLOAT, INT, CATEGORY, DATE (seconds since 1970), BOOL */
    char **categories;          /* CATEGORY: code i is categories[i]; codes are float in features */
    size_t n_categories;
};
struct snapshot {
    char digest[DIGEST_HEX_SIZE];
    char *line, *dataset, *version, *pipeline_sha256;
    enum task task;
    char *label_name;
    char **classes;             /* binary: [negative, positive]; label.npy holds the class index */
    size_t n_classes;           /* 0 for regression */
    size_t rows, n_columns;
    struct snapshot_column *columns; /* features in order */
    size_t split_rows[3];
    char features[DIGEST_HEX_SIZE], label[DIGEST_HEX_SIZE], split[DIGEST_HEX_SIZE], row_hash[DIGEST_HEX_SIZE], profile[DIGEST_HEX_SIZE];
};
/* Manifest only. Errors: ERR_NOTFOUND, ERR_CODEC (damaged). */
int snapshot_open(const struct artifacts *a, const char *digest, struct snapshot **ret, struct err *err) WARN_UNUSED;
void snapshot_free(struct snapshot *s);
struct json *snapshot_to_json(const struct snapshot *s);                       /* manifest without its own digest */
int snapshot_from_json(const struct json *j, struct snapshot **ret, struct err *err) WARN_UNUSED;
int snapshot_put(const struct artifacts *a, struct snapshot *s, struct err *err) WARN_UNUSED; /* stores the manifest, fills digest */

/* Mapped data. */
struct snapshot_data {
    struct npy_file features; /* float32 rows x n_columns */
    struct npy_file label;    /* float32 rows */
    struct npy_file split;    /* uint8 rows */
    struct npy_file row_hash; /* uint64 rows */
};
int snapshot_map(const struct artifacts *a, const struct snapshot *s, struct snapshot_data *ret, struct err *err) WARN_UNUSED;
void snapshot_unmap(struct snapshot_data *d);

/* Rows of several snapshots in one matrix over one feature list.  Columns are matched by name, category
 * codes are mapped into one dictionary (union, in order of first sight from the oldest), columns that a
 * snapshot does not have are missing (NaN); labels are mapped by class name. */
struct matrix {
    size_t rows, n_columns, n_classes;
    struct snapshot_column *columns;
    char **classes;
    float *x;       /* rows x n_columns */
    float *y;       /* rows */
    uint64_t *hash; /* rows */
};
/* snapshots oldest first; want: which split; max_rows 0: all, else the newest so many rows.
 * like: NULL, or a feature list (columns, classes, of a model) that the result must have exactly: unknown categories become NaN. */
int matrix_load(const struct artifacts *a, struct snapshot *const *snapshots, size_t n, enum split want, size_t max_rows, const struct matrix *like, struct matrix *ret, struct err *err) WARN_UNUSED;
void matrix_fini(struct matrix *m);
void columns_free(struct snapshot_column *c, size_t n);

#endif
