#include "agents/ingest/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/mem.h"
#include "common/npy.h"

enum {
    FIRST_BYTES = 4 << 10, /* a thousand segments with three spools each: 12 MiB */
    MAX_BYTES = 8 << 20,   /* of one spool: larger writes are not faster */
};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static uint64_t spool_bytes(const struct spool *s)
{
    return s->filed + s->n;
}

int spool_flush(struct spool *s, struct spool_budget *b, struct err *err)
{
    CLEANUP(close_fd) int fd = -1;
    size_t done = 0;

    if (!s->path && !(s->path = artifacts_tmp(b->artifacts, "rows", err)))
        return -1;
    fd = open(s->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0)
        return err_io(err, "create %s: %s", s->path, strerror(errno));
    while (done < s->n) {
        off_t at = (off_t)(NPY_HEAD_BYTES + s->filed + done);
        ssize_t k = EFFECT(store, "ingest.spool.write", FAULT_ERRNO,
                           pwrite(fd, s->data + done, s->n - done, at));

        if (k < 0 && errno != EINTR)
            return err_io(err, "write %s: %s", s->path, strerror(errno));
        done += k > 0 ? (size_t)k : 0;
    }
    s->filed += s->n;
    s->n = 0;
    return 0;
}

static size_t cap_for(size_t cap, size_t need)
{
    if (cap == 0)
        cap = FIRST_BYTES;
    while (cap < need)
        cap *= 2;
    return cap;
}

/* Memory grows while the budget lasts; then the file takes what is there. */
static int make_room(struct spool *s, struct spool_budget *b, size_t n, struct err *err)
{
    size_t cap = cap_for(s->cap, s->n + n);

    if (s->n > 0 && (cap > MAX_BYTES || b->used_bytes + cap - s->cap > b->max_bytes)) {
        if (spool_flush(s, b, err))
            return -1;
        cap = cap_for(s->cap, n);
    }
    b->used_bytes += cap - s->cap;
    s->data = xrealloc(s->data, cap);
    s->cap = cap;
    return 0;
}

int spool_add(struct spool *s, struct spool_budget *b, const void *p, size_t n, struct err *err)
{
    if (n > s->cap - s->n && make_room(s, b, n, err))
        return -1;
    memcpy(s->data + s->n, p, n);
    s->n += n;
    return 0;
}

int spool_read(const struct spool *s, uint64_t offset, size_t n, void *into, const void **ret,
               struct err *err)
{
    CLEANUP(close_fd) int fd = -1;
    size_t done = 0;

    BUG_ON(offset + n > spool_bytes(s));
    if (offset >= s->filed) {
        *ret = s->data + (offset - s->filed);
        return 0;
    }
    BUG_ON(offset + n > s->filed); /* a file is read after a flush only */
    fd = open(s->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_io(err, "open %s: %s", s->path, strerror(errno));
    while (done < n) {
        ssize_t k =
            pread(fd, (char *)into + done, n - done, (off_t)(NPY_HEAD_BYTES + offset + done));

        if (k == 0 || (k < 0 && errno != EINTR))
            return err_io(err, "read %s: %s", s->path, k ? strerror(errno) : "it was cut");
        done += k > 0 ? (size_t)k : 0;
    }
    *ret = into;
    return 0;
}

void spool_fini(struct spool *s, struct spool_budget *b)
{
    if (s->path)
        unlink(s->path);
    free(s->path);
    free(s->data);
    b->used_bytes -= s->cap;
    *s = (struct spool){0};
}
