/* What is in the store, and the removal of what is old.  A removal is one unlink under the
 * exclusive lock, after a look at the file's age: killed in between, the file is there or it is
 * not.  A run's folder goes result first, then the folder, which an empty one is as well.
 *
 * Ages are by the clock that stamps the files: on a store that is mounted from elsewhere it is not
 * this machine's. */
#include "common/artifact_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/fsx.h"
#include "common/mem.h"
#include "common/rng.h"

static const char RESULT[] = "result.json";

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void close_dir(DIR **d)
{
    if (*d)
        closedir(*d);
}

static int64_t mtime_ms(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000;
}

/* The store's time now: a file is made there and looked at. */
static int store_now(const struct artifacts *a, int64_t *ret_ms, struct err *err)
{
    struct stat st;
    CLEANUP_FREE char *path = artifacts_tmp(a, "now", err);
    CLEANUP(close_fd) int fd = -1;

    if (!path)
        return -1;
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || fstat(fd, &st))
        return err_io(err, "artifact store: create %s: %s", path, strerror(errno));
    unlink(path);
    *ret_ms = mtime_ms(&st);
    return 0;
}

/* ---- what there is ---- */

struct walk {
    const struct artifacts *a;
    int64_t now_ms;
    void (*fn)(void *ctx, const struct artifact_entry *e);
    void *ctx;
};
typedef void (*each_name_fn)(struct walk *w, const char *folder, const char *name);

static int each_name(struct walk *w, const char *folder, each_name_fn fn, struct err *err)
{
    CLEANUP_FREE char *path = fsx_join(w->a->root, folder);
    CLEANUP(close_dir) DIR *dir = opendir(path);
    const struct dirent *e;

    if (!dir)
        return errno == ENOENT ? 0 : err_io(err, "read folder %s: %s", path, strerror(errno));
    while (errno = 0, (e = readdir(dir)))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            fn(w, folder, e->d_name);
    return errno ? err_io(err, "read folder %s: %s", path, strerror(errno)) : 0;
}

static void tell(struct walk *w, enum artifact_kind kind, const char *name, const char *path)
{
    struct stat st;
    CLEANUP_FREE char *full = fsx_join(w->a->root, path);

    if (lstat(full, &st)) /* gone meanwhile */
        return;
    struct artifact_entry e = {.kind = kind,
                               .name = name,
                               .size_bytes = S_ISREG(st.st_mode) ? st.st_size : 0,
                               .age_ms = w->now_ms - mtime_ms(&st)};
    w->fn(w->ctx, &e);
}

static void on_bytes(struct walk *w, const char *folder, const char *name)
{
    CLEANUP_FREE char *path = fsx_join(folder, name);
    char digest[DIGEST_HEX_SIZE];
    int n = snprintf(digest, sizeof(digest), "%s%s", folder + strlen("sha256/"), name);

    if (str_has_prefix(name, FSX_TMP_PREFIX))
        tell(w, ARTIFACT_TEMPORARY, path, path);
    else if (n == DIGEST_HEX_SIZE - 1 && digest_is_hex(digest))
        tell(w, ARTIFACT_BYTES, digest, path);
}

static void on_temporary(struct walk *w, const char *folder, const char *name)
{
    CLEANUP_FREE char *path = fsx_join(folder, name);

    tell(w, ARTIFACT_TEMPORARY, path, path);
}

static void on_left_by_fsx(struct walk *w, const char *folder, const char *name)
{
    if (str_has_prefix(name, FSX_TMP_PREFIX))
        on_temporary(w, folder, name);
}

static void on_run(struct walk *w, const char *folder, const char *name)
{
    struct err none = {0};
    CLEANUP_FREE char *path = fsx_join(folder, name);
    CLEANUP_FREE char *result = fsx_join(path, RESULT);
    CLEANUP_FREE char *full = fsx_join(w->a->root, result);

    (void)each_name(w, path, on_left_by_fsx, &none);
    tell(w, ARTIFACT_RUN, name, fsx_exists(full) ? result : path);
}

int artifacts_each(const struct artifacts *a, void (*fn)(void *ctx, const struct artifact_entry *e),
                   void *ctx, struct err *err)
{
    struct walk w = {.a = a, .fn = fn, .ctx = ctx};

    if (store_now(a, &w.now_ms, err))
        return -1;
    for (int i = 0; i < ARTIFACT_FOLDERS; i++) {
        char folder[16];

        snprintf(folder, sizeof(folder), "sha256/%02x", i);
        if (each_name(&w, folder, on_bytes, err))
            return err_wrap(err, "artifact store");
    }
    if (each_name(&w, "tmp", on_temporary, err) || each_name(&w, "runs", on_run, err) ||
        each_name(&w, "schemas", on_left_by_fsx, err))
        return err_wrap(err, "artifact store");
    return 0;
}

/* ---- removal ---- */

/* Under the lock.  A folder is removed when it is empty. */
static int remove_one(const char *path, int64_t now_ms, int64_t at_least_ms, bool *ret_removed,
                      struct err *err)
{
    struct stat st;

    *ret_removed = false;
    if (lstat(path, &st))
        return errno == ENOENT ? 0 : err_io(err, "look at %s: %s", path, strerror(errno));
    if (now_ms - mtime_ms(&st) < at_least_ms)
        return 0;
    if (EFFECT(store, "artifact.remove", FAULT_ERRNO,
               S_ISDIR(st.st_mode) ? rmdir(path) : unlink(path)) == 0)
        *ret_removed = true;
    else if (errno != ENOENT && errno != ENOTEMPTY && errno != EEXIST)
        return err_io(err, "remove %s: %s", path, strerror(errno));
    return 0;
}

static char *path_of_entry(const struct artifacts *a, const struct artifact_entry *e)
{
    if (e->kind == ARTIFACT_BYTES)
        return artifact__path(a, e->name);
    if (e->kind == ARTIFACT_TEMPORARY)
        return fsx_join(a->root, e->name);
    return xasprintf("%s/runs/%s/%s", a->root, e->name, RESULT);
}

int artifacts_remove_old(const struct artifacts *a, const struct artifact_entry *e,
                         int64_t at_least_ms, bool *ret_removed, struct err *err)
{
    CLEANUP_FREE char *path = path_of_entry(a, e);
    CLEANUP(close_fd) int lock = artifact__lock(a, LOCK_EX);
    int64_t now_ms = 0;

    if (lock < 0)
        return err_io(err, "artifact store: lock %s/.clearing: %s", a->root, strerror(errno));
    if (store_now(a, &now_ms, err) || remove_one(path, now_ms, at_least_ms, ret_removed, err))
        return err_wrap(err, "artifact store");
    if (e->kind != ARTIFACT_RUN || (fsx_exists(path) && !*ret_removed))
        return 0;
    /* The folder has just been changed: its own age says nothing, and only an empty one goes. */
    CLEANUP_FREE char *folder = xasprintf("%s/runs/%s", a->root, e->name);
    bool folder_went = false;
    if (remove_one(folder, now_ms, *ret_removed ? INT64_MIN : at_least_ms, &folder_went, err))
        return err_wrap(err, "artifact store");
    *ret_removed |= folder_went;
    return 0;
}
