/* What readers may rely on: a name that fsx has made stands for a whole file that survives a power
 * cut.  The bytes are written under a temporary name in the same folder and synced, then renamed,
 * then the folder is synced.  A crash leaves at most a temporary file (FSX_TMP_PREFIX) behind. */
#include "common/fsx.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/mem.h"
#include "common/rng.h"

enum {
    DIR_MODE = 0750,
    FILE_MODE = 0640,
    CHUNK_BYTES = 256 << 10,
    TREE_MAX_DEPTH = 64, /* one descriptor for each level: far under the usual limit of 1,024 */
    TREE_PASSES = 8,     /* how often a folder that others fill is emptied before it is an error */
};

/* ENOENT and EEXIST are facts about names; the rest (full disk, no descriptors) may pass. */
static int fail(struct err *err, int code, const char *what, const char *path)
{
    if (code == ENOENT || code == ENOTDIR)
        return err_set(err, ERR_NOTFOUND, NEXT_REJECT, "%s %s: %s", what, path, strerror(code));
    if (code == EEXIST)
        return err_set(err, ERR_CONFLICT, NEXT_REJECT, "%s %s: %s", what, path, strerror(code));
    return err_io(err, "%s %s: %s", what, path, strerror(code));
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (!slash)
        return xstrdup(".");
    return slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
}

static int sync_folder_of(const char *path, struct err *err)
{
    CLEANUP_FREE char *folder = folder_of(path);
    CLEANUP(close_fd) int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return fail(err, errno, "open folder", folder);
    if (EFFECT(store, "fsx.folder.sync", FAULT_ERRNO, fsync(fd)))
        return fail(err, errno, "sync folder", folder);
    return 0;
}

int fsx_mkdirs(const char *path, struct err *err)
{
    CLEANUP_FREE char *part = xstrdup(path);
    struct stat st;

    for (char *p = part; *p; p++) {
        char end = p[1];

        if (end != '/' && end != '\0')
            continue;
        p[1] = '\0';
        if (EFFECT(store, "fsx.mkdirs", FAULT_ERRNO, mkdir(part, DIR_MODE)) == 0) {
            if (sync_folder_of(part, err))
                return -1;
        } else if (errno != EEXIST) {
            return fail(err, errno, "create folder", part);
        }
        p[1] = end;
        while (p[1] == '/' && p[2] == '/') /* "a//b" */
            p++;
    }
    if (stat(path, &st))
        return fail(err, errno, "create folder", path);
    if (!S_ISDIR(st.st_mode))
        return fail(err, EEXIST, "create folder", path);
    return 0;
}

/* Opens a new file beside `path`, under a name that nobody else has. */
static int open_temporary(const char *path, mode_t mode, char **ret_path, int *ret_fd,
                          struct err *err)
{
    CLEANUP_FREE char *folder = folder_of(path);
    CLEANUP_FREE char *tmp = xasprintf("%s/%s%016" PRIx64, folder, FSX_TMP_PREFIX, rng_os_seed());
    int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);

    if (fd < 0)
        return fail(err, errno, "create", tmp);
    *ret_path = TAKE(tmp);
    *ret_fd = fd;
    return 0;
}

static int write_all(int fd, const void *bytes, size_t n)
{
    const char *p = bytes;
    ssize_t written;

    for (; n > 0; p += written, n -= (size_t)written) {
        written = write(fd, p, n);
        if (written < 0 && errno != EINTR)
            return -1;
        if (written < 0)
            written = 0;
    }
    return 0;
}

static int write_temporary(const char *path, mode_t mode, const void *p, size_t n, char **ret_tmp,
                           struct err *err)
{
    CLEANUP_FREE char *tmp = NULL;
    CLEANUP(close_fd) int fd = -1;

    if (open_temporary(path, mode, &tmp, &fd, err))
        return -1;
    if (EFFECT(store, "fsx.write", FAULT_ERRNO, write_all(fd, p, n)) ||
        EFFECT(store, "fsx.sync", FAULT_ERRNO, fsync(fd))) {
        (void)fail(err, errno, "write", path);
        unlink(tmp);
        return -1;
    }
    *ret_tmp = TAKE(tmp);
    return 0;
}

int fsx_write_file(const char *path, const void *p, size_t n, struct err *err)
{
    CLEANUP_FREE char *tmp = NULL;

    if (write_temporary(path, FILE_MODE, p, n, &tmp, err))
        return -1;
    if (EFFECT(store, "fsx.write_file.rename", FAULT_ERRNO, rename(tmp, path))) {
        (void)fail(err, errno, "rename to", path);
        unlink(tmp);
        return -1;
    }
    return sync_folder_of(path, err);
}

int fsx_create_file(const char *path, unsigned mode, const void *p, size_t n, struct err *err)
{
    CLEANUP_FREE char *tmp = NULL;
    int linked, code;

    if (write_temporary(path, (mode_t)mode, p, n, &tmp, err))
        return -1;
    /* unlike rename, it leaves a file that is there alone */
    linked = EFFECT(store, "fsx.create_file.link", FAULT_ERRNO, link(tmp, path));
    code = errno;
    unlink(tmp);
    if (linked)
        return fail(err, code, "create", path);
    return sync_folder_of(path, err);
}

static int read_fd(int fd, size_t cap_bytes, const char *path, struct buf *ret, struct err *err)
{
    CLEANUP_FREE char *chunk = xmalloc(CHUNK_BYTES);
    size_t before = ret->len, total = 0;
    ssize_t n;

    while ((n = read(fd, chunk, CHUNK_BYTES)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            (void)fail(err, errno, "read", path);
            break;
        }
        total += (size_t)n;
        if (total <= cap_bytes)
            buf_add(ret, chunk, (size_t)n);
        if (total > cap_bytes || ret->overflow) {
            (void)err_set(err, ERR_LIMIT, NEXT_REJECT, "read %s: more than %zu bytes", path,
                          total > cap_bytes ? cap_bytes : ret->len - before);
            break;
        }
    }
    if (n == 0)
        return 0;
    if (ret->data) {
        ret->len = before;
        ret->data[before] = '\0';
    }
    ret->overflow = false;
    return -1;
}

int fsx_read_file(const char *path, size_t cap_bytes, struct buf *ret, struct err *err)
{
    CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st))
        return fail(err, errno, "open", path);
    if (S_ISDIR(st.st_mode))
        return err_inval(err, "read %s: is a folder", path);
    if (S_ISREG(st.st_mode) && st.st_size > 0 && (uint64_t)st.st_size <= cap_bytes &&
        !ret->overflow &&
        ret->len + (size_t)st.st_size <= (ret->cap ? ret->cap : BUF_CAP_DEFAULT_BYTES))
        buf_reserve(ret, (size_t)st.st_size);
    return read_fd(fd, cap_bytes, path, ret, err);
}

int fsx_publish(const char *tmp_path, const char *path, struct err *err)
{
    CLEANUP(close_fd) int fd = open(tmp_path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return fail(err, errno, "open", tmp_path);
    if (EFFECT(store, "fsx.publish.sync", FAULT_ERRNO, fsync(fd)))
        return fail(err, errno, "sync", tmp_path);
    if (EFFECT(store, "fsx.publish.rename", FAULT_ERRNO, rename(tmp_path, path)))
        return fail(err, errno, "rename to", path);
    return sync_folder_of(path, err);
}

static int copy_bytes(int from, int to)
{
    CLEANUP_FREE char *chunk = xmalloc(CHUNK_BYTES);
    ssize_t n;

    while ((n = read(from, chunk, CHUNK_BYTES)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 || write_all(to, chunk, (size_t)n))
            return -1;
    }
    return 0;
}

int fsx_copy(const char *from, const char *to, struct err *err)
{
    CLEANUP(close_fd) int in = open(from, O_RDONLY | O_CLOEXEC);
    CLEANUP(close_fd) int out = -1;
    CLEANUP_FREE char *tmp = NULL;
    struct stat st;

    if (in < 0 || fstat(in, &st))
        return fail(err, errno, "open", from);
    if (!S_ISREG(st.st_mode))
        return err_inval(err, "copy %s: is no regular file", from);
    if (open_temporary(to, FILE_MODE, &tmp, &out, err))
        return -1;
    if (EFFECT(store, "fsx.copy.write", FAULT_ERRNO, copy_bytes(in, out)) ||
        EFFECT(store, "fsx.copy.sync", FAULT_ERRNO, fsync(out)) ||
        EFFECT(store, "fsx.copy.rename", FAULT_ERRNO, rename(tmp, to))) {
        (void)fail(err, errno, "copy to", to);
        unlink(tmp);
        return -1;
    }
    return sync_folder_of(to, err);
}

/* --- remove a tree: every step is relative to an open folder, so that a symbolic link that is put
 * in place of a folder meanwhile is removed, never followed --------------------------------------
 */

static int remove_entry(int parent, const char *name, int depth, const char *root, struct err *err);

static int remove_entries(DIR *dir, int depth, const char *root, struct err *err)
{
    struct dirent *e;

    while ((e = readdir(dir))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (remove_entry(dirfd(dir), e->d_name, depth, root, err))
            return -1;
    }
    return 0;
}

static int empty_folder(int parent, const char *name, int depth, const char *root, struct err *err)
{
    int fd, failed;
    DIR *dir;

    if (depth >= TREE_MAX_DEPTH)
        return err_set(err, ERR_LIMIT, NEXT_REJECT, "remove %s: more than %d folders deep", root,
                       TREE_MAX_DEPTH);
    fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : fail(err, errno, "remove", root);
    dir = fdopendir(fd);
    if (!dir) {
        (void)fail(err, errno, "remove", root);
        close(fd);
        return -1;
    }
    failed = remove_entries(dir, depth + 1, root, err);
    closedir(dir);
    return failed;
}

static int remove_entry(int parent, const char *name, int depth, const char *root, struct err *err)
{
    for (int pass = 0; pass < TREE_PASSES; pass++) {
        if (unlinkat(parent, name, 0) == 0 || errno == ENOENT || errno == ENOTDIR)
            return 0;
        if (errno != EISDIR)
            return fail(err, errno, "remove", root);
        if (empty_folder(parent, name, depth, root, err))
            return -1;
        if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
            return 0;
        if (errno != ENOTEMPTY && errno != EEXIST && errno != ENOTDIR)
            return fail(err, errno, "remove", root);
    }
    return err_io(err, "remove %s: something keeps writing there", root);
}

int fsx_remove_tree(const char *path, struct err *err)
{
    CLEANUP_FREE char *name = xstrdup(path);
    size_t n = strlen(name);

    while (n > 1 && name[n - 1] == '/') /* "link/" would be the folder behind the link */
        name[--n] = '\0';
    if (n == 0 || strcmp(name, "/") == 0)
        return err_inval(err, "remove \"%s\": refused", path);
    return EFFECT(store, "fsx.remove_tree", FAULT_ERR(err),
                  remove_entry(AT_FDCWD, name, 0, path, err));
}

/* --- small questions, names and maps ------------------------------------------------------------
 */

bool fsx_exists(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0;
}

int64_t fsx_size(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 ? (int64_t)st.st_size : -1;
}

char *fsx_tmpdir(const char *prefix, struct err *err)
{
    const char *base = getenv("TMPDIR");
    CLEANUP_FREE char *path = NULL;

    if (!base || !*base)
        base = "/tmp";
    path = xasprintf("%s/%s-XXXXXX", base, prefix);
    if (!EFFECT(store, "fsx.tmpdir", NULL, mkdtemp(path))) {
        (void)fail(err, errno, "create folder", path);
        return NULL;
    }
    return TAKE(path);
}

char *fsx_join(const char *a, const char *b)
{
    size_t n = strlen(a);
    bool slashed = n > 0 && a[n - 1] == '/';

    return xasprintf("%s%s%s", a, n == 0 || slashed ? "" : "/", b);
}

int fsx_map_open(const char *path, struct fsx_map *ret, struct err *err)
{
    CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    void *p;

    if (fd < 0 || fstat(fd, &st))
        return fail(err, errno, "open", path);
    if (!S_ISREG(st.st_mode))
        return err_inval(err, "map %s: is no regular file", path);
    if (st.st_size == 0) {
        *ret = (struct fsx_map){0};
        return 0;
    }
    p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return fail(err, errno, "map", path);
    *ret = (struct fsx_map){.p = p, .n = (size_t)st.st_size};
    return 0;
}

void fsx_map_close(struct fsx_map *m)
{
    if (!m)
        return;
    if (m->p)
        munmap((void *)(uintptr_t)m->p, m->n);
    *m = (struct fsx_map){0};
}
