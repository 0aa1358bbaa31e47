/* Writing.  The header has its final length from the start, 128 bytes as numpy's own has for such
 * shapes, so that the row count can be put in when it is known. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/mem.h"
#include "common/npy_internal.h"

enum {
    NPY_WRITE_BUFFER_BYTES = 256 << 10, /* one write(2) for some thousand narrow rows */
};

struct npy_writer {
    FILE *f;
    char *path;
    char *buffer;
    enum npy_type type;
    size_t ndim, cols, rows;
};

static int fail_io(const char *what, const char *path, struct err *err)
{
    return err_io(err, "%s %s: %s", what, path, strerrordesc_np(errno));
}

/* 10 bytes of prefix, 61 of fixed text and at most 2 x 20 digits, rounded up to 64 as the format
 * asks. */
void npy_head(enum npy_type t, size_t ndim, size_t rows, size_t cols, char out[NPY_HEAD_BYTES])
{
    CLEANUP(buf_fini) struct buf b = {0};

    buf_add(&b, "\x93NUMPY\x01\x00", 8);
    buf_add_char(&b, (char)(NPY_HEAD_BYTES - 10));
    buf_add_char(&b, 0);
    buf_addf(&b, "{'descr': '%s', 'fortran_order': False, 'shape': (%zu,", npy__descr(t), rows);
    if (ndim == 2)
        buf_addf(&b, " %zu", cols);
    buf_add_str(&b, "), }");
    BUG_ON(b.len >= NPY_HEAD_BYTES);
    memset(out, ' ', NPY_HEAD_BYTES);
    memcpy(out, b.data, b.len);
    out[NPY_HEAD_BYTES - 1] = '\n';
}

static int write_header(struct npy_writer *w, struct err *err)
{
    char head[NPY_HEAD_BYTES];

    npy_head(w->type, w->ndim, w->rows, w->cols, head);
    if (fseek(w->f, 0, SEEK_SET) ||
        EFFECT(store, "npy.head.write", 0, fwrite(head, sizeof(head), 1, w->f)) != 1)
        return fail_io("write", w->path, err);
    return 0;
}

static void writer_free(struct npy_writer *w)
{
    if (w->f)
        fclose(w->f);
    free(w->buffer);
    free(w->path);
    free(w);
}

void npy_writer_abort(struct npy_writer *w)
{
    if (!w)
        return;
    unlink(w->path);
    writer_free(w);
}

int npy_writer_open(const char *path, enum npy_type t, size_t ndim, size_t cols,
                    struct npy_writer **ret, struct err *err)
{
    struct npy_writer *w;
    FILE *f;

    BUG_ON(ndim < 1 || ndim > 2);
    f = fopen(path, "wbe");
    if (!f)
        return fail_io("create", path, err);
    w = xcalloc(1, sizeof(*w));
    w->f = f;
    w->path = xstrdup(path);
    w->buffer = xmalloc(NPY_WRITE_BUFFER_BYTES);
    w->type = t;
    w->ndim = ndim;
    w->cols = ndim == 2 ? cols : 1;
    setvbuf(f, w->buffer, _IOFBF, NPY_WRITE_BUFFER_BYTES);
    if (write_header(w, err)) {
        npy_writer_abort(w);
        return -1;
    }
    *ret = w;
    return 0;
}

int npy_writer_add(struct npy_writer *w, const void *rows, size_t n_rows, struct err *err)
{
    size_t n = n_rows * w->cols;

    if (n && EFFECT(store, "npy.write", 0, fwrite(rows, npy_type_size(w->type), n, w->f)) != n)
        return fail_io("write", w->path, err);
    w->rows += n_rows;
    return 0;
}

static int writer_finish(struct npy_writer *w, bool durable, size_t *ret_rows, struct err *err)
{
    size_t rows = w->rows;

    if (write_header(w, err)) {
        npy_writer_abort(w);
        return -1;
    }
    if (fflush(w->f) || (durable && EFFECT(store, "npy.sync", FAULT_ERRNO, fsync(fileno(w->f))))) {
        fail_io("write", w->path, err);
        npy_writer_abort(w);
        return -1;
    }
    writer_free(w);
    if (ret_rows)
        *ret_rows = rows;
    return 0;
}

int npy_writer_close(struct npy_writer *w, size_t *ret_rows, struct err *err)
{
    return writer_finish(w, true, ret_rows, err);
}

int npy_write(const char *path, enum npy_type t, size_t ndim, size_t rows, size_t cols,
              const void *data, struct err *err)
{
    struct npy_writer *w;

    if (npy_writer_open(path, t, ndim, cols, &w, err))
        return -1;
    if (npy_writer_add(w, data, rows, err)) {
        npy_writer_abort(w);
        return -1;
    }
    return writer_finish(w, false, NULL, err);
}
