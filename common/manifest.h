/* Members of a manifest (the JSON that names a snapshot's or a model's files), each taken with an
 * error that says which manifest and which member: ERR_CODEC/NEXT_REJECT.  Strings and lists are
 * the caller's to free; a half-built list is freed as far as its count goes.  Pure; thread: any. */
#ifndef COMMON_MANIFEST_H
#define COMMON_MANIFEST_H

#include "common/digest.h"
#include "common/err.h"
#include "common/json.h"
#include "common/snapshot.h"

struct manifest {
    const char *of; /* "snapshot", "model": for errors */
    struct err *err;
};

/* -1; a macro, so that the analyzer sees it. */
#define manifest_bad(m, what) (manifest__bad((m), (what)), -1)
void manifest__bad(const struct manifest *m, const char *what);
int manifest_string(const struct manifest *m, const struct json *obj, const char *key,
                    char **ret) WARN_UNUSED;
int manifest_strings(const struct manifest *m, const struct json *array, const char *what,
                     char ***ret, size_t *ret_n) WARN_UNUSED;
int manifest_digest(const struct manifest *m, const struct json *obj, const char *key,
                    char ret[DIGEST_HEX_SIZE]) WARN_UNUSED;
int manifest_count(const struct manifest *m, const struct json *obj, const char *key,
                   int64_t *ret) WARN_UNUSED;
/* The member `task`, which must fit the number of classes; `classes` names that member in errors.
 */
int manifest_task(const struct manifest *m, const struct json *obj, size_t n_classes,
                  const char *classes, enum task *ret) WARN_UNUSED;
/* The member `columns`: names, types, categories; freed with columns_free. */
int manifest_columns(const struct manifest *m, const struct json *obj, struct snapshot_column **ret,
                     size_t *ret_n) WARN_UNUSED;

#endif
