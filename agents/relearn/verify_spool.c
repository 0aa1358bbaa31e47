#include "agents/relearn/verify_spool.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/fsx.h"
#include "common/mem.h"

static const size_t WRITE_BYTES = (size_t)64
                                  << 10; /* a file's records are written in such pieces */
static const size_t FILE_MAX_BYTES = (size_t)2 << 30; /* one file in memory: 4 billion events */

struct spool {
    int fds[SPOOL_FILES];
    struct buf waiting[SPOOL_FILES];
    int64_t sizes[SPOOL_FILES];
};

static int open_files(struct spool *s, const char *folder, struct err *err)
{
    for (size_t i = 0; i < SPOOL_FILES; i++) {
        CLEANUP_FREE char *path = xasprintf("%s/%zu", folder, i);

        s->fds[i] = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (s->fds[i] < 0)
            return err_io(err, "open %s: %s", path, strerror(errno));
        if (unlink(path))
            return err_io(err, "unlink %s: %s", path, strerror(errno));
    }
    return 0;
}

int spool_new(struct spool **ret, struct err *err)
{
    CLEANUP_FREE char *folder = fsx_tmpdir("relearn-verify", err);
    struct spool *s = xcalloc(1, sizeof(*s));
    struct err none = {0};
    int rc;

    for (size_t i = 0; i < SPOOL_FILES; i++)
        s->fds[i] = -1;
    rc = folder ? open_files(s, folder, err) : -1;
    if (folder && fsx_remove_tree(folder, &none) && !rc)
        rc = err_set(err, none.code, none.next, "%s", none.msg);
    if (rc) {
        spool_free(s);
        return -1;
    }
    *ret = s;
    return 0;
}

void spool_free(struct spool *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < SPOOL_FILES; i++) {
        if (s->fds[i] >= 0)
            close(s->fds[i]);
        buf_fini(&s->waiting[i]);
    }
    free_ptr(&s);
}

static int write_out(struct spool *s, size_t file, struct err *err)
{
    struct buf *b = &s->waiting[file];

    for (size_t done = 0; done < b->len;) {
        ssize_t n = write(s->fds[file], b->data + done, b->len - done);

        if (n < 0 && errno != EINTR)
            return err_io(err, "write a temporary file: %s; TMPDIR names another folder",
                          strerror(errno));
        done += n > 0 ? (size_t)n : 0;
    }
    s->sizes[file] += (int64_t)b->len;
    buf_reset(b);
    return 0;
}

int spool_add(struct spool *s, uint64_t hash, struct slice record, struct err *err)
{
    size_t file = spool_file(hash);
    struct buf *b = &s->waiting[file];
    uint32_t n = (uint32_t)record.n;

    buf_add(b, &n, sizeof(n));
    buf_add(b, record.p, record.n);
    return b->len >= WRITE_BYTES ? write_out(s, file, err) : 0;
}

int spool_load(struct spool *s, size_t file, struct buf *bytes, struct err *err)
{
    size_t size;

    if (write_out(s, file, err))
        return -1;
    size = (size_t)s->sizes[file];
    buf_fini(bytes);
    buf_init(bytes, FILE_MAX_BYTES);
    buf_reserve(bytes, size);
    if (bytes->overflow)
        return err_set(err, ERR_LIMIT, NEXT_REJECT, "%zu bytes of events in one of %d parts", size,
                       SPOOL_FILES);
    while (bytes->len < size) {
        ssize_t n =
            pread(s->fds[file], bytes->data + bytes->len, size - bytes->len, (off_t)bytes->len);

        if (n == 0 || (n < 0 && errno != EINTR))
            return err_io(err, "read a temporary file: %s", n ? strerror(errno) : "it ends early");
        bytes->len += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

bool spool_next(const struct buf *bytes, size_t *at, struct slice *ret)
{
    uint32_t n;

    if (*at + sizeof(n) > bytes->len)
        return false;
    memcpy(&n, bytes->data + *at, sizeof(n));
    *ret = (struct slice){bytes->data + *at + sizeof(n), n};
    *at += sizeof(n) + n;
    return true;
}

size_t spool_file(uint64_t hash)
{
    return (size_t)(hash >> 32) % SPOOL_FILES;
}

uint64_t spool_hash(struct slice bytes)
{
    uint64_t h = 0xcbf29ce484222325U;

    for (size_t i = 0; i < bytes.n; i++)
        h = (h ^ (unsigned char)bytes.p[i]) * 0x100000001b3U;
    return h;
}
