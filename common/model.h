/* A model: a manifest (JSON, content-addressed, signed) that names its files with sha256, the
 * features in order with types and categories, classes, snapshots, run, and the profile of the data
 * it was trained on.  Knows nothing of XGBoost; see xgb.h.  Thread: any. */
#ifndef COMMON_MODEL_H
#define COMMON_MODEL_H

#include "common/artifact.h"
#include "common/json.h"
#include "common/snapshot.h"

#define MODEL_MAX_FILE_BYTES ((size_t)1 << 30)

struct model {
    char digest[DIGEST_HEX_SIZE]; /* of the manifest */
    char *line, *run, *pipeline, *pipeline_sha256, *trainer;
    char *format;               /* "ubj" or "json" */
    char file[DIGEST_HEX_SIZE]; /* the booster's bytes */
    int64_t file_bytes;
    enum task task;
    struct matrix
        shape;        /* columns and classes only; rows 0: to be given to matrix_load as `like` */
    char **snapshots; /* manifest digests, oldest first */
    size_t n_snapshots;
    /* Features of the training rows, then a column "prediction": the model's own answers on rows
     * that it was not trained on (valid and test; of the training rows when those are too few).
     * Binary: probability of class 1; regression: the value; several classes: index of the
     * likeliest, as a category. */
    char profile[DIGEST_HEX_SIZE];
    int64_t trained_rows, valid_rows, rounds, trials;
    struct json *params;      /* object */
    struct json *metrics;     /* trainer's own */
    struct json *environment; /* versions */
    char public_key[65],
        signature[129]; /* Ed25519 over the canonical manifest without these two; "" unsigned */
};
int model_open(const struct artifacts *a, const char *digest, struct model **ret, struct err *err)
    WARN_UNUSED; /* verifies digest, and the signature when there is one */
int model_put(const struct artifacts *a, struct model *m,
              const struct sign_key *key /* NULL: unsigned */,
              struct err *err) WARN_UNUSED; /* fills digest */
/* The manifest's bytes as model_put stores them, to be stored together with the files that it
 * names; fills digest. */
int model_seal(struct model *m, const struct sign_key *key, struct buf *ret,
               struct err *err) WARN_UNUSED;
/* The scalar that the profile's column "prediction" is made of, from one row's outputs. */
double model_prediction_scalar(enum task task, const double *outputs, size_t n_outputs);
void model_free(struct model *m);
/* One row from named values: numbers by name or category text; unknown category or absent: NaN.
 * Errors: ERR_INVAL unknown column, or text for a number. */
int model_encode_cell(const struct model *m, size_t column, const struct json *value, float *ret,
                      struct err *err) WARN_UNUSED;
int model_column(const struct model *m, const char *name); /* index or -1 */
/* Label text -> class index or value; NaN when unknown. */
double model_label(const struct model *m, const char *text);

#endif
