/* What holds: a name under sha256/ stands for the whole bytes with that digest, on disk, from the
 * moment that it appears; nothing there is ever changed.  So a second put of the same bytes needs
 * only the folder synced (its first writer may have died between rename and that), and two writers
 * of the same bytes cannot disturb each other.  The 256 folders are made when the store is, so that
 * a put syncs one folder, not two.  Temporary files live in tmp/ on the same file system; what a
 * crash leaves there is removed when the store is opened a day later. */
#include "common/artifact_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/fsx.h"
#include "common/mem.h"
#include "common/rng.h"

enum {
    STALE_TMP_S = 24 * 3600, /* longer than any fetch or training writes to one file */
    RUN_ID_MAX_CHARS = 128,
    SYNC_THREADS_MAX = 8, /* files of one batch that are synced at a time */
};
static const size_t SCHEMA_MAX_BYTES = (size_t)256 << 10; /* as the codec takes */
static const size_t RESULT_MAX_BYTES = (size_t)64
                                       << 20; /* a run's result: reports of 1,000 segments */

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* ---- open ---- */

static int root_of_url(const char *url, char **ret, struct err *err)
{
    const char *path = url;

    if (strncmp(url, "file://", 7) == 0)
        path = url + 7;
    else if (strstr(url, "://"))
        return err_inval(err,
                         "artifact store '%s': this scheme is not known; give a folder or "
                         "file:///folder",
                         url);
    if (path != url && path[0] != '/')
        return err_inval(err,
                         "artifact store '%s': a file URL names an absolute path, "
                         "file:///folder",
                         url);
    if (path[0] == '\0')
        return err_inval(err, "artifact store: no folder is named");
    *ret = xstrdup(path);
    return 0;
}

static int make_folders(const char *root, struct err *err)
{
    CLEANUP_FREE char *last = xasprintf("%s/sha256/%02x", root, ARTIFACT_FOLDERS - 1);
    CLEANUP_FREE char *tmp = xasprintf("%s/tmp", root);
    CLEANUP_FREE char *runs = xasprintf("%s/runs", root);
    CLEANUP_FREE char *all = xasprintf("%s/sha256", root);
    CLEANUP(close_fd) int fd = -1;

    if (fsx_mkdirs(tmp, err) || fsx_mkdirs(runs, err) || fsx_mkdirs(all, err))
        return -1;
    if (fsx_exists(last))
        return 0;
    for (int i = 0; i < ARTIFACT_FOLDERS; i++) {
        char name[8];

        snprintf(name, sizeof(name), "%02x", i);
        CLEANUP_FREE char *path = fsx_join(all, name);
        if (EFFECT(store, "artifact.mkdir", FAULT_ERRNO, mkdir(path, 0750)) && errno != EEXIST)
            return err_io(err, "create folder %s: %s", path, strerror(errno));
    }
    fd = open(all, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || EFFECT(store, "artifact.folders.sync", FAULT_ERRNO, fsync(fd)))
        return err_io(err, "sync folder %s: %s", all, strerror(errno));
    return 0;
}

static void remove_stale(const char *root)
{
    CLEANUP_FREE char *folder = xasprintf("%s/tmp", root);
    DIR *dir = opendir(folder);
    struct dirent *e;
    struct stat st;

    if (!dir)
        return;
    while ((e = readdir(dir))) {
        if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
            continue;
        if (time(NULL) - st.st_mtime > STALE_TMP_S)
            (void)unlinkat(dirfd(dir), e->d_name, 0);
    }
    closedir(dir);
}

int artifacts_open(const char *url, struct artifacts *ret, struct err *err)
{
    CLEANUP_FREE char *root = NULL;
    char *absolute;

    if (root_of_url(url, &root, err))
        return -1;
    if (make_folders(root, err))
        return err_wrap(err, "artifact store");
    absolute = realpath(root, NULL); /* children run in other folders */
    if (!absolute)
        return err_io(err, "artifact store %s: %s", root, strerror(errno));
    remove_stale(absolute);
    ret->root = absolute;
    return 0;
}

int artifacts_open_existing(const char *url, struct artifacts *ret, struct err *err)
{
    CLEANUP_FREE char *root = NULL, *absolute = NULL, *all = NULL;

    if (root_of_url(url, &root, err))
        return -1;
    absolute = realpath(root, NULL);
    all = fsx_join(absolute ? absolute : root, "sha256");
    if (!absolute || !fsx_exists(all))
        return err_set(err, ERR_NOTFOUND, NEXT_REJECT, "%s is no artefact store", root);
    ret->root = TAKE(absolute);
    return 0;
}

void artifacts_close(struct artifacts *a)
{
    if (!a)
        return;
    free(a->root);
    a->root = NULL;
}

/* ---- names ---- */

char *artifact__path(const struct artifacts *a, const char *digest)
{
    return xasprintf("%s/sha256/%.2s/%s", a->root, digest, digest + 2);
}

static int check_digest(const char *digest, struct err *err)
{
    if (!digest || !digest_is_hex(digest))
        return err_inval(err, "'%.80s' is no digest: 64 lower-case hex digits are wanted",
                         digest ? digest : "");
    return 0;
}

char *artifacts_tmp(const struct artifacts *a, const char *hint, struct err *err)
{
    if (!hint[0] || strlen(hint) > 32 || strchr(hint, '/') || hint[0] == '.') {
        (void)err_inval(err, "'%.40s' cannot be part of a temporary file's name", hint);
        return NULL;
    }
    return xasprintf("%s/tmp/%s-%d-%016" PRIx64, a->root, hint, (int)getpid(), rng_os_seed());
}

bool artifacts_has(const struct artifacts *a, const char *digest)
{
    CLEANUP_FREE char *path = NULL;

    if (!digest || !digest_is_hex(digest))
        return false;
    path = artifact__path(a, digest);
    return fsx_exists(path);
}

char *artifacts_path(const struct artifacts *a, const char *digest, struct err *err)
{
    CLEANUP_FREE char *path = NULL;

    if (check_digest(digest, err))
        return NULL;
    path = artifact__path(a, digest);
    if (fsx_exists(path))
        return TAKE(path);
    /* Bytes come before words, but a shared folder may show them to others a moment later. */
    (void)err_set(err, ERR_NOTFOUND, NEXT_RETRY, "artifact %s is not in the store %s", digest,
                  a->root);
    return NULL;
}

/* ---- put ---- */

/* A lock of its own file, for the life of the descriptor.  Where it cannot be had (no such locks on
 * this file system) -1: who puts goes on, who clears does not. */
int artifact__lock(const struct artifacts *a, int how)
{
    CLEANUP_FREE char *path = fsx_join(a->root, ".clearing");
    CLEANUP(close_fd) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0660);
    int rc = -1, locked;

    while (fd >= 0 && (rc = flock(fd, how)) && errno == EINTR)
        ;
    if (rc)
        return -1;
    locked = fd;
    fd = -1;
    return locked;
}

struct sync_slot {
    const char *path;
    int flags; /* of open */
    int code;  /* errno, 0 when synced */
};

static void *sync_one(void *arg)
{
    struct sync_slot *s = arg;
    CLEANUP(close_fd) int fd = open(s->path, s->flags | O_CLOEXEC);

    s->code = fd < 0 || EFFECT(store, "artifact.sync", FAULT_ERRNO, fsync(fd)) ? errno : 0;
    return NULL;
}

/* fsync waits for the disk, not for the processor: side by side they share the journal's commits.
 */
static int sync_all(struct sync_slot *slots, size_t n, struct err *err)
{
    for (size_t from = 0; from < n; from += SYNC_THREADS_MAX) {
        size_t k = n - from < SYNC_THREADS_MAX ? n - from : SYNC_THREADS_MAX;
        pthread_t threads[SYNC_THREADS_MAX];
        bool started[SYNC_THREADS_MAX] = {false};

        for (size_t i = 1; i < k; i++)
            started[i] = pthread_create(&threads[i], NULL, sync_one, &slots[from + i]) == 0;
        sync_one(&slots[from]);
        for (size_t i = 1; i < k; i++) {
            if (started[i])
                pthread_join(threads[i], NULL);
            else
                sync_one(&slots[from + i]);
        }
    }
    for (size_t i = 0; i < n; i++)
        if (slots[i].code)
            return err_io(err, "sync %s: %s", slots[i].path, strerror(slots[i].code));
    return 0;
}

static int sync_files(const struct artifact_file *files, size_t n, struct err *err)
{
    CLEANUP_FREE struct sync_slot *slots = xcalloc(n, sizeof(*slots));

    for (size_t i = 0; i < n; i++) {
        CLEANUP(close_fd) int fd = open(files[i].tmp_path, O_RDONLY | O_CLOEXEC);

        if (fd >= 0) /* lets the disk begin with all of them; only the syncs that follow count */
            (void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
        slots[i] = (struct sync_slot){.path = files[i].tmp_path, .flags = O_RDONLY};
    }
    return sync_all(slots, n, err);
}

static int sync_folders(const struct artifacts *a, const struct artifact_file *files, size_t n,
                        struct err *err)
{
    CLEANUP_FREE struct sync_slot *slots = xcalloc(n, sizeof(*slots));
    CLEANUP_FREE char **paths = xcalloc(n, sizeof(*paths));
    size_t folders = 0;
    int rc;

    for (size_t i = 0; i < n; i++) {
        bool seen = false;

        for (size_t j = 0; j < i && !seen; j++)
            seen = strncmp(files[i].digest, files[j].digest, 2) == 0;
        if (seen)
            continue;
        paths[folders] = xasprintf("%s/sha256/%.2s", a->root, files[i].digest);
        slots[folders] =
            (struct sync_slot){.path = paths[folders], .flags = O_RDONLY | O_DIRECTORY};
        folders++;
    }
    rc = sync_all(slots, folders, err);
    for (size_t i = 0; i < folders; i++)
        free(paths[i]);
    return rc;
}

int artifacts_put_files_as(const struct artifacts *a, const struct artifact_file *files, size_t n,
                           struct err *err)
{
    for (size_t i = 0; i < n; i++)
        if (check_digest(files[i].digest, err))
            return -1;
    if (n == 0)
        return 0;
    if (sync_files(files, n, err))
        return err_wrap(err, "artifact store");
    CLEANUP(close_fd) int lock = artifact__lock(a, LOCK_SH);
    (void)lock; /* held until the end */
    for (size_t i = 0; i < n; i++) {
        CLEANUP_FREE char *path = artifact__path(a, files[i].digest);

        if (EFFECT(store, "artifact.rename", FAULT_ERRNO, rename(files[i].tmp_path, path)))
            return err_io(err, "artifact store: rename to %s: %s", path, strerror(errno));
    }
    if (sync_folders(a, files, n, err))
        return err_wrap(err, "artifact store");
    return 0;
}

int artifacts_put_file_as(const struct artifacts *a, const char *tmp_path, const char *digest,
                          struct err *err)
{
    return artifacts_put_files_as(
        a, &(struct artifact_file){.tmp_path = tmp_path, .digest = digest}, 1, err);
}

int artifacts_put_file(const struct artifacts *a, const char *tmp_path,
                       char digest[DIGEST_HEX_SIZE], struct err *err)
{
    char hex[DIGEST_HEX_SIZE];

    if (digest_file(tmp_path, hex, err) || artifacts_put_file_as(a, tmp_path, hex, err))
        return -1;
    memcpy(digest, hex, sizeof(hex));
    return 0;
}

/* Is it there, and young from now on? */
static bool is_there(const char *path, size_t n)
{
    return fsx_size(path) == (int64_t)n &&
           EFFECT(store, "artifact.touch", FAULT_ERRNO, utimensat(AT_FDCWD, path, NULL, 0)) == 0;
}

int artifacts_put(const struct artifacts *a, const void *p, size_t n, char digest[DIGEST_HEX_SIZE],
                  struct err *err)
{
    char hex[DIGEST_HEX_SIZE];
    CLEANUP_FREE char *path = NULL;
    CLEANUP(close_fd) int lock = artifact__lock(a, LOCK_SH);

    (void)lock; /* held until the end */
    digest_bytes(p, n, hex);
    path = artifact__path(a, hex);
    if (is_there(path, n)) {
        const struct artifact_file there = {.digest = hex};

        if (sync_folders(a, &there, 1, err))
            return err_wrap(err, "artifact store");
    } else if (fsx_write_file(path, p, n, err)) {
        return err_wrap(err, "artifact store");
    }
    memcpy(digest, hex, sizeof(hex));
    return 0;
}

/* ---- get ---- */

int artifacts_get(const struct artifacts *a, const char *digest, size_t cap_bytes, struct buf *ret,
                  struct err *err)
{
    CLEANUP_FREE char *path = artifacts_path(a, digest, err);
    size_t before = ret->len;
    char hex[DIGEST_HEX_SIZE];

    if (!path)
        return -1;
    if (fsx_read_file(path, cap_bytes, ret, err))
        return err_wrap(err, "artifact %s", digest);
    digest_bytes(ret->data ? ret->data + before : "", ret->len - before, hex);
    if (strcmp(hex, digest) == 0)
        return 0;
    ret->len = before;
    if (ret->data)
        ret->data[before] = '\0';
    return err_set(err, ERR_CODEC, NEXT_REJECT, "artifact %s is damaged: its bytes have digest %s",
                   digest, hex);
}

int artifacts_verify(const struct artifacts *a, const char *digest, struct err *err)
{
    CLEANUP_FREE char *path = artifacts_path(a, digest, err);
    char hex[DIGEST_HEX_SIZE];

    if (!path || digest_file(path, hex, err))
        return -1;
    if (strcmp(hex, digest) == 0)
        return 0;
    return err_set(err, ERR_CODEC, NEXT_REJECT, "artifact %s is damaged: its bytes have digest %s",
                   digest, hex);
}

/* ---- runs ---- */

static int run_folder(const struct artifacts *a, const char *run, char **ret, struct err *err)
{
    size_t n = strlen(run);

    if (n == 0 || n > RUN_ID_MAX_CHARS || run[0] == '.' ||
        strspn(run, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != n)
        return err_inval(err, "'%.80s' is no run id", run);
    *ret = xasprintf("%s/runs/%s", a->root, run);
    return 0;
}

/* Somebody may be first: theirs stays. */
static int put_new(const char *folder, const char *name, struct slice text, struct err *err)
{
    CLEANUP_FREE char *path = fsx_join(folder, name);
    struct err created = {0};

    if (fsx_mkdirs(folder, err))
        return err_wrap(err, "artifact store");
    if (fsx_create_file(path, 0640, text.p, text.n, &created) == 0 || created.code == ERR_CONFLICT)
        return 0;
    return err_set(err, created.code, created.next, "artifact store: %s", created.msg);
}

int artifacts_put_run(const struct artifacts *a, const char *run, struct slice result_json,
                      struct err *err)
{
    CLEANUP_FREE char *folder = NULL;

    if (run_folder(a, run, &folder, err))
        return -1;
    if (result_json.n > RESULT_MAX_BYTES)
        return err_set(err, ERR_LIMIT, NEXT_REJECT, "result of run %s: %zu bytes, at most %zu", run,
                       result_json.n, RESULT_MAX_BYTES);
    return put_new(folder, "result.json", result_json, err);
}

int artifacts_get_run(const struct artifacts *a, const char *run, struct buf *ret, struct err *err)
{
    CLEANUP_FREE char *folder = NULL;
    CLEANUP_FREE char *path = NULL;

    if (run_folder(a, run, &folder, err))
        return -1;
    path = fsx_join(folder, "result.json");
    return fsx_read_file(path, RESULT_MAX_BYTES, ret, err);
}

/* ---- schemas ---- */

/* The fingerprint's bytes as they stand in an event: little-endian. */
static char *schema_path(const struct artifacts *a, uint64_t fingerprint)
{
    return xasprintf("%s/schemas/%016llx.avsc", a->root,
                     (unsigned long long)__builtin_bswap64(fingerprint));
}

int artifacts_put_schema(const struct artifacts *a, uint64_t fingerprint, struct slice text,
                         struct err *err)
{
    CLEANUP_FREE char *path = schema_path(a, fingerprint);
    CLEANUP_FREE char *folder = xasprintf("%s/schemas", a->root);

    return fsx_exists(path) ? 0 : put_new(folder, strrchr(path, '/') + 1, text, err);
}

int artifacts_get_schema(const struct artifacts *a, uint64_t fingerprint, struct buf *ret,
                         struct err *err)
{
    CLEANUP_FREE char *path = schema_path(a, fingerprint);

    return fsx_read_file(path, SCHEMA_MAX_BYTES, ret, err);
}
