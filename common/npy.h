/* NumPy .npy files, formats 1.0 to 3.0, little-endian (numpy.lib.format; NEP 1).  Both orders are
 * read (fortran_order tells), C order is written.  Writing is streaming: the header is patched with
 * the row count at close.  Thread: any. */
#ifndef COMMON_NPY_H
#define COMMON_NPY_H

#include "common/buf.h"
#include "common/err.h"

enum npy_type {
    NPY_F32 = 0,
    NPY_F64,
    NPY_I8,
    NPY_I16,
    NPY_I32,
    NPY_I64,
    NPY_U8,
    NPY_U16,
    NPY_U32,
    NPY_U64,
    NPY_BOOL,
    NPY_TYPE_COUNT
};

struct npy_header {
    enum npy_type type;
    size_t ndim;        /* 1 or 2 */
    size_t rows, cols;  /* cols 1 when ndim is 1 */
    size_t data_offset; /* bytes before the data */
    bool fortran_order;
};
size_t npy_type_size(enum npy_type t);
/* Reads the header of the first bytes of a file (at least 128, or the whole file).
 * Errors: ERR_INVAL for a wrong magic, unsupported dtype, more than 2 dimensions, sizes that
 * overflow. */
int npy_parse_header(struct slice head, const char *what, struct npy_header *ret,
                     struct err *err) WARN_UNUSED;

struct npy_file { /* a mapped file; {0} is empty */
    struct npy_header h;
    const void *data;
    void *map;
    size_t map_bytes;
};
/* The file's size must be what its header says. */
int npy_open(const char *path, struct npy_file *ret, struct err *err) WARN_UNUSED;
void npy_close(struct npy_file *f);
int npy_write(const char *path, enum npy_type t, size_t ndim, size_t rows, size_t cols,
              const void *data, struct err *err) WARN_UNUSED; /* no fsync */

/* The header alone, for who writes the data by himself. */
#define NPY_HEAD_BYTES 128
void npy_head(enum npy_type t, size_t ndim, size_t rows, size_t cols, char out[NPY_HEAD_BYTES]);

struct npy_writer;
int npy_writer_open(const char *path, enum npy_type t, size_t ndim, size_t cols,
                    struct npy_writer **ret, struct err *err) WARN_UNUSED;
int npy_writer_add(struct npy_writer *w, const void *rows, size_t n_rows,
                   struct err *err) WARN_UNUSED;
/* Frees w; fsyncs; a failure removes the file. */
int npy_writer_close(struct npy_writer *w, size_t *ret_rows, struct err *err) WARN_UNUSED;
void npy_writer_abort(struct npy_writer *w); /* removes the file; NULL is fine */

#endif
