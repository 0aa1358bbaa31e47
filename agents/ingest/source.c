#include "agents/ingest/source.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/digest.h"
#include "common/http.h"
#include "common/mem.h"

enum { PIECE_BYTES = 256 << 10 };

struct reading {
    const struct source_request *rq;
    bytes_fn sink;
    void *ctx;
    struct digest *digest;
    uint64_t bytes, drained;
    int64_t mtime_ns;
    bool is_refused; /* by the sink; `refusal` says why */
    struct err refusal;
    enum broken rule;
};

/* ---- what comes in ---- */

static int broken(struct reading *r, enum broken rule)
{
    r->rule = rule;
    return -1;
}

static int take(void *ctx, const void *p, size_t n, struct err *err)
{
    struct reading *r = ctx;
    const struct source_request *rq = r->rq;

    if (rq->cancel && __atomic_load_n(rq->cancel, __ATOMIC_RELAXED))
        return err_set(err, ERR_CANCELED, NEXT_RETRY, "canceled");
    r->bytes += n;
    if (rq->size_bytes != ABSENT_I64 && r->bytes > (uint64_t)rq->size_bytes) {
        (void)err_inval(err, "%s is longer than the %lld bytes that the event says", rq->uri,
                        (long long)rq->size_bytes);
        return broken(r, BROKEN_SIZE);
    }
    if (r->bytes > rq->max_bytes) {
        (void)err_set(err, ERR_LIMIT, NEXT_REJECT,
                      "%s is longer than %llu bytes, the most that is read", rq->uri,
                      (unsigned long long)rq->max_bytes);
        return broken(r, BROKEN_SIZE);
    }
    if (r->digest)
        digest_add(r->digest, p, n);
    if (r->is_refused) {
        r->drained += n;
        return r->drained > SOURCE_DRAIN_BYTES ? -1 : 0;
    }
    if (r->sink(r->ctx, p, n, &r->refusal) == 0)
        return 0;
    r->is_refused = true;
    if (r->refusal.next == NEXT_REJECT && (r->digest || rq->size_bytes != ABSENT_I64))
        return 0;
    *err = r->refusal;
    return -1;
}

/* Everything has come: is it what the event says? */
static int check(struct reading *r, struct err *err)
{
    const struct source_request *rq = r->rq;
    char hex[DIGEST_HEX_SIZE];

    if (rq->size_bytes != ABSENT_I64 && r->bytes != (uint64_t)rq->size_bytes) {
        (void)err_inval(err,
                        "%s has %llu bytes, the event says %lld; publish it again as it is now",
                        rq->uri, (unsigned long long)r->bytes, (long long)rq->size_bytes);
        return broken(r, BROKEN_SIZE);
    }
    if (!r->digest)
        return 0;
    digest_end(r->digest, hex);
    if (strcmp(hex, rq->sha256) == 0)
        return 0;
    (void)err_inval(
        err, "the bytes at %s have the sha256 %s, the event says %s; publish it again as it is now",
        rq->uri, hex, rq->sha256);
    return broken(r, BROKEN_DIGEST);
}

/* ---- file:// ---- */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The path of a file URI, decoded; NULL when it is none. */
static char *path_of(const char *uri)
{
    const char *p = uri + strlen("file://");
    char *path;
    size_t n = 0;

    if (strncmp(p, "localhost/", 10) == 0)
        p += 9;
    if (p[0] != '/')
        return NULL;
    path = xcalloc(1, strlen(p) + 1);
    for (; *p; p++) {
        if (*p == '%' && hex_value(p[1]) >= 0 && hex_value(p[2]) >= 0 &&
            (p[1] != '0' || p[2] != '0')) {
            path[n++] = (char)(hex_value(p[1]) * 16 + hex_value(p[2]));
            p += 2;
        } else {
            path[n++] = *p;
        }
    }
    return path;
}

static bool is_below(const char *path, const char *root)
{
    size_t n = strlen(root);

    while (n > 0 && root[n - 1] == '/')
        n--;
    return strncmp(path, root, n) == 0 && path[n] == '/';
}

static int file_error(struct reading *r, const char *path, int code, struct err *err)
{
    enum err_next next = code == EIO || code == EMFILE || code == ENFILE || code == ESTALE
                             ? NEXT_RETRY
                             : NEXT_REJECT;

    (void)err_set(err, code == ENOENT || code == ENOTDIR ? ERR_NOTFOUND : ERR_IO, next,
                  "file %s cannot be read: %s", path, strerror(code));
    return broken(r, BROKEN_FETCH);
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Links are followed first: what counts is where the file really is. */
static int open_file(struct reading *r, const char *path, int *ret_fd, struct stat *ret_st,
                     struct err *err)
{
    char real[PATH_MAX], root[PATH_MAX];

    if (!realpath(path, real))
        return file_error(r, path, errno, err);
    if (!realpath(r->rq->file_root, root))
        return file_error(r, r->rq->file_root, errno, err);
    if (!is_below(real, root)) {
        (void)err_inval(err,
                        "file %s is outside of %s, the folder that ingest may read (--file-root)",
                        real, root);
        return broken(r, BROKEN_FETCH);
    }
    *ret_fd = open(real, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe would block here for ever */
    if (*ret_fd < 0 || fstat(*ret_fd, ret_st))
        return file_error(r, real, errno, err);
    if (!S_ISREG(ret_st->st_mode)) {
        (void)err_inval(err, "%s is no regular file", real);
        return broken(r, BROKEN_FETCH);
    }
    return 0;
}

static int changed(struct reading *r, const char *path, struct err *err)
{
    (void)err_inval(err, "file %s changed while it was read; publish it when it is complete", path);
    return broken(r, BROKEN_FETCH);
}

static int read_file(struct reading *r, struct err *err)
{
    CLEANUP_FREE char *path = path_of(r->rq->uri);
    CLEANUP_FREE char *piece = xmalloc(PIECE_BYTES);
    CLEANUP(close_fd) int fd = -1;
    struct stat before, after;
    ssize_t n;

    if (!path) {
        (void)err_inval(err, "'%.200s' names no file: file:///path is wanted", r->rq->uri);
        return broken(r, BROKEN_FETCH);
    }
    if (open_file(r, path, &fd, &before, err))
        return -1;
    if (r->rq->size_bytes != ABSENT_I64 && before.st_size != r->rq->size_bytes) {
        r->bytes = (uint64_t)before.st_size; /* told at once, without reading it */
        return check(r, err);
    }
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    while ((n = read(fd, piece, PIECE_BYTES)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return file_error(r, path, errno, err);
        if (take(r, piece, (size_t)n, err))
            return -1;
    }
    if (fstat(fd, &after))
        return file_error(r, path, errno, err);
    if (before.st_size != after.st_size || r->bytes != (uint64_t)before.st_size ||
        before.st_mtim.tv_sec != after.st_mtim.tv_sec ||
        before.st_mtim.tv_nsec != after.st_mtim.tv_nsec)
        return changed(r, path, err);
    r->mtime_ns = after.st_mtim.tv_sec * INT64_C(1000000000) + after.st_mtim.tv_nsec;
    return 0;
}

/* ---- http(s):// ---- */

/* Will asking again help? */
static bool may_get_better(int status)
{
    return status >= 500 || status == 408 || status == 425 || status == 429;
}

static int read_http(struct reading *r, struct err *err)
{
    const struct source_request *rq = r->rq;
    struct http_request call = {
        .url = rq->uri,
        .connect_timeout_ms = rq->connect_timeout_ms,
        .timeout_ms = rq->timeout_ms,
        .stall_ms = rq->stall_ms,
        .sink = take,
        .ctx = r,
        .cancel = rq->cancel,
    };
    CLEANUP(http_response_fini) struct http_response answer = {0};

    if (http_call(&call, &answer, err)) {
        if (r->rule == BROKEN_COUNT && !r->is_refused)
            r->rule = BROKEN_FETCH;
        return -1;
    }
    if (answer.status >= 200 && answer.status < 300)
        return 0;
    (void)err_set(err, ERR_HTTP, may_get_better(answer.status) ? NEXT_RETRY : NEXT_REJECT,
                  "%s answers with HTTP status %d%s", rq->uri, answer.status,
                  answer.status == 404 ? ": there is nothing" : "");
    return broken(r, BROKEN_FETCH);
}

int source_read(const struct source_request *rq, bytes_fn sink, void *ctx,
                struct source_result *ret, enum broken *ret_rule, struct err *err)
{
    struct reading r = {.rq = rq, .sink = sink, .ctx = ctx, .rule = BROKEN_COUNT};
    bool is_http = strncmp(rq->uri, "http://", 7) == 0 || strncmp(rq->uri, "https://", 8) == 0;
    int rc;

    if (rq->sha256)
        r.digest = digest_new();
    if (strncmp(rq->uri, "file://", 7) == 0) {
        rc = read_file(&r, err);
    } else if (is_http) {
        rc = read_http(&r, err);
    } else {
        (void)err_inval(err, "'%.200s' cannot be fetched: file://, http:// and https:// are known",
                        rq->uri);
        rc = broken(&r, BROKEN_FETCH);
    }
    if (rc == 0)
        rc = check(&r, err);
    if (r.is_refused && (rc == 0 || r.drained > SOURCE_DRAIN_BYTES)) {
        *err = r.refusal;
        rc = broken(&r, BROKEN_COUNT);
    }
    digest_free(r.digest);
    *ret = (struct source_result){r.bytes, r.mtime_ns};
    *ret_rule = r.rule;
    return rc;
}
