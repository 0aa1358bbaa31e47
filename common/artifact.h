/* The artefact store: a folder (file:///path or a plain path).  `sha256/<2>/<62>` holds bytes,
 * named by their digest, written durably (temporary name, fsync, rename, folder fsync) before any
 * event names them; `runs/<run id>/result.json` holds a finished run's result, and
 * `schemas/<fingerprint>.avsc` a schema that events were written with, for readers of another
 * version.  Thread: any (no shared state but the path). */
#ifndef COMMON_ARTIFACT_H
#define COMMON_ARTIFACT_H

#include "common/buf.h"
#include "common/digest.h"
#include "common/err.h"

struct artifacts {
    char *root;
};
int artifacts_open(const char *url, struct artifacts *ret,
                   struct err *err) WARN_UNUSED; /* creates; ERR_INVAL for other schemes */
/* One that is there, and nothing in it is made or removed: ERR_NOTFOUND when it is no store. */
int artifacts_open_existing(const char *url, struct artifacts *ret, struct err *err) WARN_UNUSED;
void artifacts_close(struct artifacts *a);
int artifacts_put(const struct artifacts *a, const void *p, size_t n, char digest[DIGEST_HEX_SIZE],
                  struct err *err) WARN_UNUSED;
/* Takes a finished temporary file (same file system: see artifacts_tmp) under its digest; the file
 * is gone afterwards. */
int artifacts_put_file(const struct artifacts *a, const char *tmp_path,
                       char digest[DIGEST_HEX_SIZE], struct err *err) WARN_UNUSED;
/* Same when the caller knows the digest already (hashed while writing). */
int artifacts_put_file_as(const struct artifacts *a, const char *tmp_path, const char *digest,
                          struct err *err) WARN_UNUSED;
/* Several files that belong together, durable when it returns: their bytes are synced side by side,
 * which costs about half of one after the other.  On failure some may be in place, which is
 * harmless. */
struct artifact_file {
    const char *tmp_path; /* gone afterwards */
    const char *digest;   /* hashed while writing */
};
int artifacts_put_files_as(const struct artifacts *a, const struct artifact_file *files, size_t n,
                           struct err *err) WARN_UNUSED;
char *artifacts_tmp(const struct artifacts *a, const char *hint,
                    struct err *err); /* fresh path in the store's tmp/; caller frees */
bool artifacts_has(const struct artifacts *a, const char *digest);
/* Path of the bytes; caller frees.  NULL and ERR_NOTFOUND/NEXT_RETRY when they are not there (yet).
 */
char *artifacts_path(const struct artifacts *a, const char *digest, struct err *err);
/* Whole content, digest verified. */
int artifacts_get(const struct artifacts *a, const char *digest, size_t cap_bytes, struct buf *ret,
                  struct err *err) WARN_UNUSED;
int artifacts_verify(const struct artifacts *a, const char *digest,
                     struct err *err) WARN_UNUSED; /* ERR_CODEC when the bytes differ */
int artifacts_put_run(const struct artifacts *a, const char *run, struct slice result_json,
                      struct err *err) WARN_UNUSED; /* first one stays */
int artifacts_get_run(const struct artifacts *a, const char *run, struct buf *ret,
                      struct err *err) WARN_UNUSED; /* ERR_NOTFOUND */
int artifacts_put_schema(const struct artifacts *a, uint64_t fingerprint, struct slice text,
                         struct err *err) WARN_UNUSED; /* first one stays */
int artifacts_get_schema(const struct artifacts *a, uint64_t fingerprint, struct buf *ret,
                         struct err *err) WARN_UNUSED; /* appends; ERR_NOTFOUND */

/* ---- clearing (artifact_clear.c).  Whoever puts bytes that are there already makes their file
 * young again, under a lock that a removal excludes: so what is about to be named is never removed
 * as old. ---- */
enum artifact_kind {
    ARTIFACT_BYTES = 0, /* name: the digest */
    ARTIFACT_TEMPORARY, /* name: path within the store; left by a process that was killed */
    ARTIFACT_RUN        /* name: the run's id */
};
struct artifact_entry {
    enum artifact_kind kind;
    const char *name;
    int64_t size_bytes, age_ms; /* by the store's own clock */
};
/* Every entry, in no order; what is of no kind is passed over.  The name is borrowed. */
int artifacts_each(const struct artifacts *a, void (*fn)(void *ctx, const struct artifact_entry *e),
                   void *ctx, struct err *err) WARN_UNUSED;
/* Removes it if it is still at least so old.  Gone already is fine (*ret_removed false). */
int artifacts_remove_old(const struct artifacts *a, const struct artifact_entry *e,
                         int64_t at_least_ms, bool *ret_removed, struct err *err) WARN_UNUSED;

#endif
