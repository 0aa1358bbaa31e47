/* One journal on disk: lock, check, cut, read, append. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "agents/broker/journal_internal.h"
#include "common/fault.h"
#include "common/fsx.h"
#include "common/mem.h"

struct journal {
    char *path;
    int fd;
    size_t bytes;
    uint64_t frames;
};

/* What passes when somebody makes room: the write may be done again at the same place. */
static bool is_full(int code)
{
    return code == ENOSPC || code == EDQUOT || code == EFBIG;
}

static int write_all(int fd, const char *p, size_t n, size_t at, const char *path, struct err *err)
{
    while (n > 0) {
        ssize_t done =
            EFFECT(journal, "broker.journal.write", FAULT_ERRNO, pwrite(fd, p, n, (off_t)at));

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return err_set(err, ERR_IO, done < 0 && is_full(errno) ? NEXT_RETRY : NEXT_FATAL,
                           "write %s: %s", path,
                           done < 0 ? strerror(errno) : "nothing was written");
        p += done;
        n -= (size_t)done;
        at += (size_t)done;
    }
    return 0;
}

static int sync_fd(int fd, const char *path, struct err *err)
{
    /* Not tried again: after a failure the kernel may have dropped the pages (and says success next
     * time). */
    if (EFFECT(journal, "broker.journal.sync", FAULT_ERRNO, fdatasync(fd)))
        return err_set(err, ERR_IO, NEXT_FATAL, "sync %s: %s", path, strerror(errno));
    return 0;
}

/* Copies every whole frame, with new numbers. */
static int copy_frames(struct slice file, int fd, const char *path, struct err *err)
{
    struct slice head = journal__file_head();
    size_t at = JOURNAL_FILE_HEAD_BYTES, to = head.n, n = 0;
    uint64_t number = 0, after = 0, written = 0;
    CLEANUP(buf_fini) struct buf frame = {0};

    buf_init(&frame, JOURNAL_FRAME_MAX_BYTES + JOURNAL_FRAME_HEAD_BYTES);
    if (write_all(fd, head.p, head.n, 0, path, err))
        return -1;
    while ((at = journal__next_frame(file, at, after, &n, &number)) < file.n) {
        buf_reset(&frame);
        buf_add(&frame, file.p + at, n);
        journal_end(&frame, ++written);
        if (write_all(fd, frame.data, frame.len, to, path, err))
            return -1;
        to += n;
        at += n;
        after = number;
    }
    return 0;
}

static int salvage_file(const char *path, struct err *err)
{
    CLEANUP_FREE char *copy = xasprintf("%s.salvaged", path);
    CLEANUP_FREE char *old = xasprintf("%s.damaged", path);
    struct fsx_map map = {0};
    int fd, rc;

    if (fsx_map_open(path, &map, err))
        return -1;
    fd = open(copy, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (fd < 0) {
        fsx_map_close(&map);
        return err_io(err, "create %s: %s", copy, strerror(errno));
    }
    rc = copy_frames((struct slice){map.p, map.n}, fd, copy, err);
    close(fd);
    fsx_map_close(&map);
    if (rc)
        return -1;
    if (EFFECT(journal, "broker.journal.aside", FAULT_ERRNO, rename(path, old)))
        return err_io(err, "rename %s: %s", path, strerror(errno));
    return fsx_publish(copy, path, err);
}

static int check(struct journal *j, struct journal_scan *scan, struct err *err)
{
    struct fsx_map map = {0};
    int rc;

    if (fsx_map_open(j->path, &map, err))
        return -1;
    rc = journal_scan((struct slice){map.p, map.n}, scan, err);
    fsx_map_close(&map);
    if (rc)
        return err_wrap(err, "journal %s", j->path);
    if (scan->damaged_at == 0)
        return 0;
    return err_set(
        err, ERR_CODEC, NEXT_FATAL,
        "journal %s is damaged from byte %zu on; whole batches go on at byte %zu. Put a "
        "good copy in its place, or start once with --salvage to keep what is whole (the "
        "old file stays as %s.damaged), or move it away to begin with an empty bus",
        j->path, scan->damaged_at, scan->resumes_at, j->path);
}

/* A new file is durable only when its folder says so. */
static int sync_folder(const char *path, struct err *err)
{
    CLEANUP_FREE char *folder = xstrdup(path);
    char *slash = strrchr(folder, '/');
    int fd, rc;

    if (slash)
        *slash = '\0';
    fd = open(!slash ? "." : slash == folder ? "/" : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_io(err, "open the folder of %s: %s", path, strerror(errno));
    rc = EFFECT(journal, "broker.journal.folder", FAULT_ERRNO, fsync(fd));
    close(fd);
    return rc ? err_io(err, "sync the folder of %s: %s", path, strerror(errno)) : 0;
}

/* The end that is cut off was not promised to anybody if a crash tore it; but it may as well be the
 * last batch with a flipped bit, so it is kept beside. */
static int keep_torn(const struct journal *j, const struct journal_scan *scan, struct err *err)
{
    CLEANUP_FREE char *path = xasprintf("%s.torn", j->path);
    struct fsx_map map = {0};
    int rc;

    if (scan->torn_bytes == 0 || scan->good_bytes == 0)
        return 0;
    if (fsx_map_open(j->path, &map, err))
        return -1;
    rc =
        fsx_write_file(path, (const char *)map.p + scan->good_bytes, map.n - scan->good_bytes, err);
    fsx_map_close(&map);
    return rc ? err_wrap(err, "keep the torn end of the journal") : 0;
}

/* Leaves the file as whole frames and nothing else. */
static int trim(struct journal *j, const struct journal_scan *scan, struct err *err)
{
    struct slice head = journal__file_head();

    j->bytes = scan->good_bytes;
    j->frames = scan->frames;
    if (scan->torn_bytes > 0 && EFFECT(journal, "broker.journal.cut", FAULT_ERRNO,
                                       ftruncate(j->fd, (off_t)scan->good_bytes)))
        return err_io(err, "cut %s: %s", j->path, strerror(errno));
    if (scan->good_bytes == 0) {
        if (write_all(j->fd, head.p, head.n, 0, j->path, err))
            return -1;
        j->bytes = head.n;
        if (sync_folder(j->path, err))
            return -1;
    }
    return sync_fd(j->fd, j->path, err);
}

static int open_locked(struct journal *j, struct err *err)
{
    j->fd = open(j->path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (j->fd < 0)
        return err_io(err, "open %s: %s", j->path, strerror(errno));
    if (flock(j->fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    if (errno == EWOULDBLOCK)
        return err_set(err, ERR_CONFLICT, NEXT_FATAL,
                       "journal %s is in use by another relearn-broker", j->path);
    return err_io(err, "lock %s: %s", j->path, strerror(errno));
}

static int make_folder(const char *path, struct err *err)
{
    CLEANUP_FREE char *folder = xstrdup(path);
    char *slash = strrchr(folder, '/');

    if (!slash || slash == folder)
        return 0;
    *slash = '\0';
    return fsx_mkdirs(folder, err);
}

int journal_open(const char *path, bool salvage, struct journal **ret,
                 struct journal_scan *ret_scan, struct err *err)
{
    struct journal *j = xcalloc(1, sizeof(*j));
    struct journal_scan scan = {0};
    int rc;

    j->path = xstrdup(path);
    j->fd = -1;
    rc = make_folder(path, err) || open_locked(j, err) ? -1 : 0;
    if (!rc && (rc = check(j, &scan, err)) && salvage && scan.damaged_at > 0) {
        rc = salvage_file(path, err);
        close(j->fd); /* the old file's; the new one gets its own lock */
        j->fd = -1;
        rc = rc || open_locked(j, err) || check(j, &scan, err) ? -1 : 0;
    }
    if (rc || keep_torn(j, &scan, err) || trim(j, &scan, err)) {
        journal_close(j);
        return -1;
    }
    *ret = j;
    *ret_scan = scan;
    return 0;
}

void journal_close(struct journal *j)
{
    if (!j)
        return;
    if (j->fd >= 0)
        close(j->fd);
    free(j->path);
    free(j);
}

int journal_read(struct journal *j, const struct journal_reader *r, struct err *err)
{
    struct fsx_map map = {0};
    size_t at = JOURNAL_FILE_HEAD_BYTES, n = 0;
    uint64_t number = 0, after = 0;
    struct slice file;
    int rc = 0;

    if (fsx_map_open(j->path, &map, err))
        return -1;
    file = (struct slice){map.p, map.n};
    while (!rc && (at = journal__next_frame(file, at, after, &n, &number)) < file.n) {
        struct slice payload = {file.p + at + JOURNAL_FRAME_HEAD_BYTES,
                                n - JOURNAL_FRAME_HEAD_BYTES};

        rc = journal_read_records(payload, r, err);
        at += n;
        after = number;
    }
    fsx_map_close(&map);
    return rc ? err_wrap(err, "journal %s, batch %llu", j->path, (unsigned long long)number) : 0;
}

int journal_append(struct journal *j, struct buf *frame, struct err *err)
{
    journal_end(frame, j->frames + 1);
    if (write_all(j->fd, frame->data, frame->len, j->bytes, j->path, err)) {
        if (err->next == NEXT_RETRY) /* half a batch would be a torn end; without it, still one */
            (void)!EFFECT(journal, "broker.journal.undo", FAULT_ERRNO,
                          ftruncate(j->fd, (off_t)j->bytes));
        return -1;
    }
    if (sync_fd(j->fd, j->path, err))
        return -1;
    j->bytes += frame->len;
    j->frames++;
    return 0;
}

int journal_seal(struct journal *j, struct err *err)
{
    CLEANUP(buf_fini) struct buf frame = {0};

    journal_begin(&frame);
    return journal_append(j, &frame, err);
}

size_t journal_bytes(const struct journal *j)
{
    return j->bytes;
}
