#include "agents/train/warm.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <math.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "agents/train/progress.h"
#include "common/digest.h"
#include "common/mem.h"
#include "common/rng.h"
#include "common/xgb.h"

enum {
    WARM_ROWS = 1000, /* as in a small snapshot: what larger ones need beyond that costs little
                         beside their work */
    WARM_COLUMNS = 24,
    WARM_ROUNDS = 2,
    KEEP_BYTES = 32 << 20, /* blocks up to this size, and as much at the end, stay with malloc: the
                              largest that it takes */
};

static struct matrix made_up_rows(void)
{
    struct matrix m = {.rows = WARM_ROWS, .n_columns = WARM_COLUMNS};
    struct rng r;

    rng_seed(&r, 1);
    m.x = xmalloc(WARM_ROWS * WARM_COLUMNS * sizeof(*m.x));
    m.y = xmalloc(WARM_ROWS * sizeof(*m.y));
    for (size_t i = 0; i < WARM_ROWS * WARM_COLUMNS; i++)
        m.x[i] = (float)rng_double(&r);
    for (size_t i = 0; i < WARM_ROWS; i++)
        m.y[i] = m.x[i * WARM_COLUMNS] + m.x[i * WARM_COLUMNS + 1] > 1;
    return m;
}

void warm_up(void)
{
    struct matrix rows = made_up_rows(), none = {0};
    struct xgb_params params = {.rounds = WARM_ROUNDS, .threads = 1};
    CLEANUP(buf_fini) struct buf model = {0};
    struct xgb *x = NULL;
    struct err err = {0};
    char digest[DIGEST_HEX_SIZE];
    double best, out[WARM_ROWS];
    int rounds;

    digest_bytes(rows.x, sizeof(*rows.x), digest); /* libcrypto reads its configuration */
    mallopt(M_MMAP_THRESHOLD, KEEP_BYTES);
    mallopt(M_TRIM_THRESHOLD, KEEP_BYTES);
    /* A failure shows again when there is a run, with somebody to tell. */
    if (xgb_train(&rows, &none, TASK_BINARY, &params, NULL, NULL, &model, &rounds, &best, &err) ==
            0 &&
        xgb_load(buf_slice(&model), &x, &err) == 0 && xgb_predict(x, rows.x, WARM_ROWS, out, &err))
        err = (struct err){0};
    xgb_free(x);
    free(rows.x);
    free(rows.y);
}

static int read_path(int fd, char *out, size_t cap, struct err *err)
{
    size_t n = 0;
    ssize_t got;

    while (n < cap - 1 && !memchr(out, '\n', n)) {
        poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, -1); /* no writer yet: it waits */
        got = read(fd, out + n, cap - 1 - n);
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (got < 0)
            return err_io(err, "read the order's path: %s", strerror(errno));
        if (got == 0)
            break;
        n += (size_t)got;
    }
    out[n] = '\0';
    out[strcspn(out, "\n")] = '\0';
    return 0;
}

int warm_wait(const char *fifo, char **ret_path, struct err *err)
{
    char path[PATH_MAX] = "";
    int fd = open(fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC), rc;

    if (fd < 0)
        return err_io(err, "open %s: %s", fifo, strerror(errno));
    progress_print(&(struct progress){.phase = "waiting", .value = NAN});
    rc = read_path(fd, path, sizeof(path), err);
    close(fd);
    *ret_path = path[0] ? xstrdup(path) : NULL;
    return rc;
}
