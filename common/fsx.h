/* Files that others read: temporary name in the same folder, fsync, rename, fsync of the folder.
 * Descriptors are close-on-exec from birth.  Blocking; call from the pool or a child when large. */
#ifndef COMMON_FSX_H
#define COMMON_FSX_H

#include "common/buf.h"
#include "common/err.h"

/* Names of files in the making; one left by a crash may be deleted. */
#define FSX_TMP_PREFIX ".tmp-"

int fsx_mkdirs(const char *path, struct err *err) WARN_UNUSED; /* like mkdir -p, mode 0750 */
/* Atomic and durable; replaces what is there. */
int fsx_write_file(const char *path, const void *p, size_t n, struct err *err) WARN_UNUSED;
/* The same for a file that must be new: ERR_CONFLICT when it exists; mode as for open(2). */
int fsx_create_file(const char *path, unsigned mode, const void *p, size_t n,
                    struct err *err) WARN_UNUSED;
/* Whole file into *ret (appended).  ERR_LIMIT above cap_bytes, ERR_NOTFOUND when absent. */
int fsx_read_file(const char *path, size_t cap_bytes, struct buf *ret, struct err *err) WARN_UNUSED;
/* fsync of tmp, rename, fsync of the folder; of a folder, its files must be durable already. */
int fsx_publish(const char *tmp_path, const char *path, struct err *err) WARN_UNUSED;
int fsx_copy(const char *from, const char *to, struct err *err) WARN_UNUSED; /* durable copy */
/* File, link or folder with all in it; missing is fine; no symbolic link is followed. */
int fsx_remove_tree(const char *path, struct err *err) WARN_UNUSED;
bool fsx_exists(const char *path);
int64_t fsx_size(const char *path); /* -1 when absent */
/* New folder "<prefix>-XXXXXX" under TMPDIR; the caller's string; NULL on error. */
char *fsx_tmpdir(const char *prefix, struct err *err);
char *fsx_join(const char *a, const char *b); /* "a/b"; caller frees */
/* Read-only map of a whole file; {0} is empty.  A file that is cut while it is mapped raises
 * SIGBUS: only for files that nobody changes any more. */
struct fsx_map {
    const void *p;
    size_t n;
};
int fsx_map_open(const char *path, struct fsx_map *ret, struct err *err) WARN_UNUSED;
void fsx_map_close(struct fsx_map *m);

#endif
