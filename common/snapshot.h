/* A snapshot: an accepted dataset version of one line, frozen.  The manifest (JSON,
 * content-addressed) names NumPy files in the artefact store.  Thread: any, one at a time per
 * snapshot. */
#ifndef COMMON_SNAPSHOT_H
#define COMMON_SNAPSHOT_H

#include "common/artifact.h"
#include "common/json.h"
#include "common/npy.h"
#include "common/pipeline.h"

#define SNAPSHOT_MANIFEST_MAX_BYTES                                                                \
    ((size_t)64 << 20) /* 4,096 columns; a few dictionaries of 10,000 categories */
#define SNAPSHOT_MAX_COLUMNS 4096
#define MATRIX_MAX_BYTES                                                                           \
    ((size_t)32 << 30) /* of features in memory: more than any trainer here is given */

enum split { ROW_TRAIN = 0, ROW_VALID = 1, ROW_TEST = 2 };

struct snapshot_column {
    char *name;
    enum column_type type; /* FLOAT, INT, CATEGORY, DATE (seconds since 1970), BOOL */
    char **categories;     /* CATEGORY: code i is categories[i]; codes are float in features */
    size_t n_categories;
};
struct snapshot {
    char digest[DIGEST_HEX_SIZE];
    char *line, *dataset, *version, *pipeline_sha256;
    enum task task;
    char *label_name;
    char **classes;   /* binary: [negative, positive]; label.npy holds the class index */
    size_t n_classes; /* 0 for regression */
    size_t rows, n_columns;
    struct snapshot_column *columns; /* features in order */
    size_t split_rows[3];
    char features[DIGEST_HEX_SIZE], label[DIGEST_HEX_SIZE], split[DIGEST_HEX_SIZE],
        row_hash[DIGEST_HEX_SIZE], profile[DIGEST_HEX_SIZE];
    char *asides[ASIDE_COUNT]; /* columns whose values aside.npy has, in this order; NULL: not */
    size_t n_asides;
    char aside[DIGEST_HEX_SIZE]; /* "" when there are none */
};
/* Manifest only. Errors: ERR_NOTFOUND, ERR_CODEC (damaged). */
int snapshot_open(const struct artifacts *a, const char *digest, struct snapshot **ret,
                  struct err *err) WARN_UNUSED;
void snapshot_free(struct snapshot *s);
struct json *snapshot_to_json(const struct snapshot *s); /* manifest without its own digest */
int snapshot_from_json(const struct json *j, struct snapshot **ret, struct err *err) WARN_UNUSED;
int snapshot_put(const struct artifacts *a, struct snapshot *s,
                 struct err *err) WARN_UNUSED; /* stores the manifest, fills digest */

/* Mapped data. */
struct snapshot_data {
    struct npy_file features; /* float32 rows x n_columns */
    struct npy_file label;    /* float32 rows */
    struct npy_file split;    /* uint8 rows */
    struct npy_file row_hash; /* uint64 rows */
    struct npy_file aside;    /* float64 rows x n_asides; empty when there are none */
};
int snapshot_map(const struct artifacts *a, const struct snapshot *s, struct snapshot_data *ret,
                 struct err *err) WARN_UNUSED;
void snapshot_unmap(struct snapshot_data *d);

/* Rows of several snapshots in one matrix over one feature list.  Columns are matched by name,
 * category codes are mapped into one dictionary (union, in order of first sight from the oldest),
 * columns that a snapshot does not have are missing (NaN); labels are mapped by class name. */
struct matrix {
    size_t rows, n_columns, n_classes;
    struct snapshot_column *columns;
    char **classes;
    float *x;       /* rows x n_columns */
    float *y;       /* rows */
    uint64_t *hash; /* rows */
    /* Rows of the test split only, of each kind that some snapshot has; NULL: none.  NaN: missing,
     * or of a snapshot without.  A group is a number that stands for its text. */
    double *aside[ASIDE_COUNT];
};
/* snapshots oldest first; want: which split; max_rows 0: all, else the newest so many rows.
 * like: NULL, or a feature list (columns, classes, of a model) that the result must have exactly:
 * unknown categories become NaN, and so does the label of a row whose class is not in like->classes
 * (no answer of that model is right for it). Without classes in `like` those of the snapshots
 * stand. A column that is a category in one snapshot and a number in another has the type of the
 * newest one (of like): a number is looked up by its shortest decimal text, a category is read as a
 * number; what fits neither is missing. Errors: ERR_INVAL (tasks or label names differ, a third
 * class for a binary task), ERR_LIMIT, ERR_CODEC (damaged). */
int matrix_load(const struct artifacts *a, struct snapshot *const *snapshots, size_t n,
                enum split want, size_t max_rows, const struct matrix *like, struct matrix *ret,
                struct err *err) WARN_UNUSED;
void matrix_fini(struct matrix *m);
/* A class's name from a label as written: "1.0" and "1.00" are the class "1" (a tool that met a
 * missing value writes integers so), everything else stands.  Borrows raw or uses out; cut at
 * out_size - 1. */
struct slice class_name(struct slice raw, char *out, size_t out_size);
/* Class names in their order: by value when all are numbers, else by bytes. */
void classes_sort(char **classes, size_t n);
void columns_free(struct snapshot_column *c, size_t n);

#endif
