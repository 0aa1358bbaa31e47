#include "agents/ingest/arrays.h"

#include <ctype.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agents/ingest/csv.h"
#include "agents/ingest/zip.h"
#include "common/fault.h"
#include "common/rng.h"

enum {
    HEAD_BYTES = 4096,      /* more than any header of one or two dimensions */
    BLOCK_VALUES = 1 << 16, /* read at a time: 0.5 MiB of doubles */
    TEXT_MAX_WIDTH = CATEGORY_MAX_BYTES,
};

static int read_at(int fd, uint64_t offset, void *p, size_t n, struct err *err)
{
    char *to = p;

    while (n > 0) {
        ssize_t k = pread(fd, to, n, (off_t)offset);

        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return err_io(err, "read the array: %s", strerror(errno));
        if (k == 0)
            return err_inval(err, "the array ends early");
        to += k;
        n -= (size_t)k;
        offset += (uint64_t)k;
    }
    return 0;
}

/* ---- opening ---- */

/* Text of dtype <U5 or |S5, one-dimensional: numbers are common/npy's, which knows no text. */
static bool is_text_header(const char *head, size_t n, struct array *ret)
{
    char text[HEAD_BYTES + 1];
    const char *descr, *shape;
    size_t at = n > 6 && head[6] == 1 ? 10 : 12, length;
    unsigned long long rows;
    char *end;

    if (n < 16 || memcmp(head, "\x93NUMPY", 6) != 0)
        return false;
    length = (unsigned char)head[8] | (size_t)(unsigned char)head[9] << 8;
    if (at + length > n)
        return false;
    memcpy(text, head + at, length);
    text[length] = '\0';
    descr = strstr(text, "'descr': '");
    shape = strstr(text, "'shape': (");
    if (!descr || !shape ||
        (strncmp(descr + 10, "<U", 2) != 0 && strncmp(descr + 10, "|S", 2) != 0))
        return false;
    if (!isdigit((unsigned char)descr[12]) || !isdigit((unsigned char)shape[10]))
        return false;
    ret->is_wide = descr[11] == 'U';
    ret->text_width = (unsigned)strtoul(descr + 12, NULL, 10);
    rows = strtoull(shape + 10, &end, 10);
    if (*end != ',' || end[1] != ')' || ret->text_width < 1 || ret->text_width > TEXT_MAX_WIDTH ||
        rows > UINT64_MAX / 4096)
        return false;
    ret->h =
        (struct npy_header){.ndim = 1, .rows = (size_t)rows, .cols = 1, .data_offset = at + length};
    return true;
}

static size_t item_bytes(const struct array *x)
{
    return x->text_width ? x->text_width * (x->is_wide ? 4u : 1u) : npy_type_size(x->h.type);
}

static int open_array(int fd, const char *what, struct array *ret, struct err *err)
{
    struct array x = {.fd = fd};
    char head[HEAD_BYTES];
    struct stat st;
    ssize_t n = pread(fd, head, sizeof(head), 0);

    if (n < 0 || fstat(fd, &st))
        return err_io(err, "read %s: %s", what, strerror(errno));
    if (!is_text_header(head, (size_t)n, &x) &&
        npy_parse_header((struct slice){head, (size_t)n}, what, &x.h, err))
        return -1;
    if (x.h.cols == 0 || x.h.cols > CSV_MAX_FIELDS)
        return err_inval(err, "%s has %zu columns; 1 to %d are read", what, x.h.cols,
                         CSV_MAX_FIELDS);
    if ((uint64_t)st.st_size - x.h.data_offset != (uint64_t)x.h.rows * x.h.cols * item_bytes(&x))
        return err_inval(err,
                         "%s has %lld bytes, its header says %zu x %zu values; it was cut or grew",
                         what, (long long)st.st_size, x.h.rows, x.h.cols);
    *ret = x;
    return 0;
}

/* ---- members of an .npz ---- */

struct unpacking {
    int fd;
    uint64_t left_bytes;
};

static int unpack_bytes(void *ctx, const void *p, size_t n, struct err *err)
{
    struct unpacking *u = ctx;
    const char *from = p;

    if (n > u->left_bytes)
        return err_set(err, ERR_LIMIT, NEXT_REJECT, "it unpacks to more bytes than are read");
    u->left_bytes -= n;
    for (ssize_t k; n > 0; from += k, n -= (size_t)k) {
        k = EFFECT(store, "ingest.unpack.write", FAULT_ERRNO, write(u->fd, from, n));
        if (k < 0 && errno != EINTR)
            return err_io(err, "unpack: %s", strerror(errno));
        k = k < 0 ? 0 : k;
    }
    return 0;
}

/* Into a file that has no name: it is gone with its descriptor. */
static int unpack(const struct artifacts *a, const struct zip *z, const struct zip_member *m,
                  uint64_t max_bytes, int *ret_fd, struct err *err)
{
    CLEANUP_FREE char *path = artifacts_tmp(a, "array", err);
    struct unpacking u = {.left_bytes = max_bytes};

    if (!path)
        return -1;
    u.fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (u.fd < 0)
        return err_io(err, "create %s: %s", path, strerror(errno));
    unlink(path);
    if (zip_read(z, m, unpack_bytes, &u, err)) {
        close(u.fd);
        return -1;
    }
    *ret_fd = u.fd;
    return 0;
}

static int open_member(const struct artifacts *a, const struct zip *z, const char *const *names,
                       uint64_t max_bytes, struct array *ret, struct err *err)
{
    for (; *names; names++) {
        const struct zip_member *m = zip_find(z, *names);
        struct array x = {.fd = -1};

        if (!m)
            continue;
        if (unpack(a, z, m, max_bytes, &x.fd, err))
            return err_wrap(err, "%s", *names);
        if (open_array(x.fd, *names, ret, err)) {
            close(x.fd);
            return -1;
        }
        return 0;
    }
    return 0;
}

/* ---- text ---- */

static void add_utf8(uint32_t c, struct buf *out)
{
    if (c < 0x80) {
        buf_add_char(out, (char)c);
    } else if (c < 0x800) {
        buf_add_char(out, (char)(0xc0 | c >> 6));
        buf_add_char(out, (char)(0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
        buf_add_char(out, (char)(0xe0 | c >> 12));
        buf_add_char(out, (char)(0x80 | (c >> 6 & 0x3f)));
        buf_add_char(out, (char)(0x80 | (c & 0x3f)));
    } else { /* beyond U+10FFFF no UTF-8 comes of it, which is seen later */
        buf_add_char(out, (char)(0xf0 | (c >> 18 & 7)));
        buf_add_char(out, (char)(0x80 | (c >> 12 & 0x3f)));
        buf_add_char(out, (char)(0x80 | (c >> 6 & 0x3f)));
        buf_add_char(out, (char)(0x80 | (c & 0x3f)));
    }
}

static int text_at(const struct array *x, size_t row, struct buf *out, struct err *err)
{
    unsigned char item[TEXT_MAX_WIDTH * 4] = {0};
    size_t n = item_bytes(x);

    buf_reset(out);
    if (read_at(x->fd, x->h.data_offset + (uint64_t)row * n, item, n, err))
        return -1;
    for (unsigned i = 0; i < x->text_width; i++) {
        uint32_t c = item[i];

        if (x->is_wide) {
            memcpy(&c, item + 4 * i, sizeof(c));
            c = le32toh(c);
        }
        if (c == 0) /* shorter than the width */
            break;
        if (x->is_wide)
            add_utf8(c, out);
        else
            buf_add_char(out, (char)c);
    }
    return 0;
}

/* ---- names ---- */

static bool has_label(const struct pipeline *p)
{
    for (size_t i = 0; i < p->n_columns; i++)
        if (strcmp(p->columns[i].name, p->label) == 0)
            return true;
    return false;
}

/* Of n features: the contract's without the label, or f0, f1, ... */
static void name_features(const struct pipeline *p, size_t n, struct strset *names)
{
    bool by_contract = p->n_columns - (has_label(p) ? 1 : 0) == n;
    char name[24];

    for (size_t i = 0; by_contract && i < p->n_columns; i++)
        if (strcmp(p->columns[i].name, p->label) != 0)
            strset_add(names, slice_str(p->columns[i].name));
    for (size_t i = 0; !by_contract && i < n; i++) {
        snprintf(name, sizeof(name), "f%zu", i);
        strset_add(names, slice_str(name));
    }
}

static int name_by_array(const struct array *columns, size_t n, struct strset *names,
                         struct err *err)
{
    CLEANUP(buf_fini) struct buf text = {0};

    if (!columns->text_width || columns->h.rows != n)
        return err_inval(
            err, "columns.npy is to be the %zu names of the features as text (dtype U or S)", n);
    for (size_t i = 0; i < n; i++) {
        if (text_at(columns, i, &text, err))
            return -1;
        if (strset_add(names, buf_slice(&text)) != i)
            return err_inval(err, "columns.npy has a name twice, or one is empty");
    }
    return 0;
}

/* 3 of "f3"; SIZE_MAX when it is no such name. */
static size_t label_index(const char *label)
{
    int64_t v;

    return label[0] == 'f' && str_to_i64(label + 1, &v) == 0 && v >= 0 ? (size_t)v : SIZE_MAX;
}

/* One matrix: the contract may list all of its columns, or all but the label. */
static void name_matrix(const struct pipeline *p, size_t n, struct strset *names)
{
    size_t index = label_index(p->label);

    if (has_label(p) && p->n_columns == n) {
        for (size_t i = 0; i < n; i++)
            strset_add(names, slice_str(p->columns[i].name));
    } else if (index < n) {
        for (size_t i = 0; i < n; i++) {
            char name[24];

            snprintf(name, sizeof(name), "f%zu", i);
            strset_add(names, slice_str(name));
        }
    } else {
        name_features(p, n - 1, names);
        strset_add(names, slice_str(p->label));
    }
}

/* ---- all together ---- */

static int open_zip(const struct artifacts *a, int fd, const struct pipeline *p, uint64_t max_bytes,
                    struct arrays *x, struct err *err)
{
    static const char *const features[] = {"features.npy", "x.npy", "X.npy", NULL};
    static const char *const label[] = {"label.npy", "y.npy", "Y.npy", NULL};
    static const char *const columns[] = {"columns.npy", NULL};
    struct array names = {.fd = -1};
    struct zip z;
    int rc;

    if (zip_open(fd, &z, err) || open_member(a, &z, features, max_bytes, &x->features, err) ||
        open_member(a, &z, label, max_bytes, &x->label, err) ||
        open_member(a, &z, columns, max_bytes, &names, err))
        return -1;
    if (x->features.fd < 0 || x->label.fd < 0) {
        if (names.fd >= 0)
            close(names.fd);
        return err_inval(
            err, "the .npz has no member %s; 'features' (or x) and 'label' (or y) are wanted",
            x->features.fd < 0 ? "'features'" : "'label'");
    }
    rc = 0;
    if (names.fd >= 0)
        rc = name_by_array(&names, x->features.h.cols, &x->names, err);
    else
        name_features(p, x->features.h.cols, &x->names);
    if (names.fd >= 0)
        close(names.fd);
    if (rc == 0 && strset_add(&x->names, slice_str(p->label)) != x->features.h.cols)
        return err_inval(err, "the label '%s' is among the features as well", p->label);
    return rc;
}

static int check_shapes(const struct arrays *x, struct err *err)
{
    if (x->features.text_width)
        return err_inval(err, "the features are text; numbers are wanted");
    if (x->label.fd < 0)
        return x->features.h.cols < 2 ? err_inval(err, "one column is the label; there is no other")
                                      : 0;
    if (x->label.h.cols != 1 || x->label.h.rows != x->features.h.rows)
        return err_inval(err, "the label has %zu x %zu values, the features have %zu rows",
                         x->label.h.rows, x->label.h.cols, x->features.h.rows);
    return 0;
}

int arrays_open(const struct artifacts *a, int fd, bool is_zip, const struct pipeline *p,
                uint64_t max_bytes, struct arrays *ret, struct err *err)
{
    struct arrays x = {.features.fd = -1, .label.fd = -1};
    int rc;

    if (is_zip) {
        rc = open_zip(a, fd, p, max_bytes, &x, err);
    } else {
        int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

        rc = copy < 0 ? err_io(err, "read the array: %s", strerror(errno))
                      : open_array(copy, "the matrix", &x.features, err);
        if (copy >= 0 && rc)
            close(copy);
        if (rc == 0 && x.features.h.cols > 1)
            name_matrix(p, x.features.h.cols, &x.names);
    }
    if (rc == 0)
        rc = check_shapes(&x, err);
    if (rc) {
        arrays_close(&x);
        return -1;
    }
    *ret = x;
    return 0;
}

void arrays_close(struct arrays *x)
{
    if (x->features.fd >= 0)
        close(x->features.fd);
    if (x->label.fd >= 0)
        close(x->label.fd);
    x->features.fd = x->label.fd = -1;
    strset_fini(&x->names);
}

/* ---- rows ---- */

#define CONVERT(T)                                                                                 \
    for (size_t i = 0; i < n; i++) {                                                               \
        T v;                                                                                       \
                                                                                                   \
        memcpy(&v, (const char *)from + i * sizeof(v), sizeof(v));                                 \
        to[i * stride] = (double)v;                                                                \
    }                                                                                              \
    break

static void convert(const void *from, enum npy_type t, size_t n, double *to, size_t stride)
{
    switch (t) {
    case NPY_F32:
        CONVERT(float);
    case NPY_F64:
        CONVERT(double);
    case NPY_I8:
        CONVERT(int8_t);
    case NPY_I16:
        CONVERT(int16_t);
    case NPY_I32:
        CONVERT(int32_t);
    case NPY_I64:
        CONVERT(int64_t);
    case NPY_U16:
        CONVERT(uint16_t);
    case NPY_U32:
        CONVERT(uint32_t);
    case NPY_U64:
        CONVERT(uint64_t);
    default: /* NPY_U8, NPY_BOOL */
        CONVERT(uint8_t);
    }
}

/* Rows from..from+n of the array into columns first.. of rows that are `stride` wide. */
static int read_rows(const struct array *x, size_t from, size_t n, void *raw, double *to,
                     size_t stride, struct err *err)
{
    size_t size = npy_type_size(x->h.type), cols = x->h.cols;

    if (x->h.fortran_order && cols > 1) {
        for (size_t j = 0; j < cols; j++) {
            if (read_at(x->fd, x->h.data_offset + ((uint64_t)j * x->h.rows + from) * size, raw,
                        n * size, err))
                return -1;
            convert(raw, x->h.type, n, to + j, stride);
        }
        return 0;
    }
    if (read_at(x->fd, x->h.data_offset + (uint64_t)from * cols * size, raw, n * cols * size, err))
        return -1;
    for (size_t i = 0; i < n; i++)
        convert((const char *)raw + i * cols * size, x->h.type, cols, to + i * stride, 1);
    return 0;
}

static int add_block(const struct arrays *x, struct sheet *s, size_t from, size_t n,
                     const double *cells, struct buf *text, struct err *err)
{
    size_t width = s->n_columns;

    for (size_t i = 0; i < n; i++) {
        const double *row = cells + i * width;
        struct slice label = {0};
        uint64_t hash = hash64(row, width * sizeof(*row), 0);

        if (x->label.fd >= 0 && x->label.text_width) {
            if (text_at(&x->label, from + i, text, err))
                return -1;
            label = text->data ? buf_slice(text) : (struct slice){"", 0};
            hash = hash64(label.p, label.n, hash);
        }
        if (sheet_add_numbers(s, row, label, (int64_t)(from + i + 1), hash, err))
            return -1;
    }
    return 0;
}

int arrays_rows(const struct arrays *x, struct sheet *s, const volatile bool *cancel,
                struct err *err)
{
    size_t width = s->n_columns, rows = x->features.h.rows;
    size_t block = BLOCK_VALUES / width + 1;
    CLEANUP_FREE double *cells = xcalloc(block * width, sizeof(*cells));
    CLEANUP_FREE void *raw = xmalloc(block * width * sizeof(double));
    CLEANUP(buf_fini) struct buf text = {0};

    for (size_t at = 0, n; at < rows; at += n) {
        n = rows - at < block ? rows - at : block;
        if (cancel && *cancel)
            return err_set(err, ERR_CANCELED, NEXT_RETRY, "canceled");
        if (read_rows(&x->features, at, n, raw, cells, width, err))
            return -1;
        if (x->label.fd >= 0 && !x->label.text_width &&
            read_rows(&x->label, at, n, raw, cells + width - 1, width, err))
            return -1;
        if (add_block(x, s, at, n, cells, &text, err))
            return -1;
    }
    return 0;
}
