/* The header: "\x93NUMPY", version, length, and the text of a Python dict with three keys.  Only
 * that is parsed, no Python expression; a dtype with pickled objects cannot even be said. */
#include "common/npy.h"

#include <string.h>

#include "common/fsx.h"
#include "common/npy_internal.h"

enum {
    NPY_HEADER_MAX_BYTES = 64 << 10
}; /* version 1.0 cannot be longer; with 2 dimensions 128 do */

static const struct {
    const char *descr;
    size_t size_bytes;
} types[NPY_TYPE_COUNT] = {
    [NPY_F32] = {"<f4", 4}, [NPY_F64] = {"<f8", 8}, [NPY_I8] = {"|i1", 1},   [NPY_I16] = {"<i2", 2},
    [NPY_I32] = {"<i4", 4}, [NPY_I64] = {"<i8", 8}, [NPY_U8] = {"|u1", 1},   [NPY_U16] = {"<u2", 2},
    [NPY_U32] = {"<u4", 4}, [NPY_U64] = {"<u8", 8}, [NPY_BOOL] = {"|b1", 1},
};

size_t npy_type_size(enum npy_type t)
{
    return types[t].size_bytes;
}

const char *npy__descr(enum npy_type t)
{
    return types[t].descr;
}

struct cursor {
    const char *p, *end;
    const char *begin; /* of the file: positions in errors */
    const char *what;
    struct err *err;
};

static int fail(struct cursor *c, const char *text)
{
    return err_inval(c->err, "%s: npy header, byte %td: %s", c->what, c->p - c->begin, text);
}

static void skip_blanks(struct cursor *c)
{
    while (c->p < c->end && *c->p == ' ')
        c->p++;
}

static bool take_char(struct cursor *c, char wanted)
{
    skip_blanks(c);
    if (c->p == c->end || *c->p != wanted)
        return false;
    c->p++;
    return true;
}

static bool take_word(struct cursor *c, const char *word)
{
    size_t n = strlen(word);

    skip_blanks(c);
    if ((size_t)(c->end - c->p) < n || memcmp(c->p, word, n) != 0)
        return false;
    c->p += n;
    return true;
}

/* A quoted string without escapes, as all of numpy's are here. */
static int take_string(struct cursor *c, struct slice *ret)
{
    const char *start;
    char quote;

    skip_blanks(c);
    if (c->p == c->end || (*c->p != '\'' && *c->p != '"'))
        return fail(c, "a quoted string is expected");
    quote = *c->p++;
    for (start = c->p; c->p < c->end && *c->p != quote; c->p++)
        if (*c->p == '\\' || *c->p == '\n')
            return fail(c, "a plain quoted string is expected");
    if (c->p == c->end)
        return fail(c, "a string does not end");
    *ret = (struct slice){start, (size_t)(c->p - start)};
    c->p++;
    return 0;
}

static int take_type(struct cursor *c, enum npy_type *ret)
{
    struct slice s;

    skip_blanks(c);
    if (c->p < c->end && *c->p == '[')
        return fail(c, "records of fields are not taken, one number type only");
    if (take_string(c, &s))
        return -1;
    for (size_t i = 0; i < NPY_TYPE_COUNT; i++)
        /* the byte order of one byte is written as '|', and by some as '<' */
        if (slice_eq_str(s, types[i].descr) ||
            (types[i].size_bytes == 1 && s.n == 3 && s.p[0] == '<' &&
             !memcmp(s.p + 1, types[i].descr + 1, 2))) {
            *ret = (enum npy_type)i;
            return 0;
        }
    if (s.n && s.p[0] == '>')
        return fail(c,
                    "big-endian data is not taken; a.astype(a.dtype.newbyteorder('<')) converts");
    return fail(c, "this dtype is not taken: float32, float64, bool and integers are");
}

static int take_size(struct cursor *c, size_t *ret)
{
    size_t v = 0;
    const char *start;

    skip_blanks(c);
    for (start = c->p; c->p < c->end && *c->p >= '0' && *c->p <= '9'; c->p++)
        if (__builtin_mul_overflow(v, (size_t)10, &v) ||
            __builtin_add_overflow(v, (size_t)(*c->p - '0'), &v))
            return fail(c, "a dimension is too large");
    if (c->p == start)
        return fail(c, "a dimension is expected");
    *ret = v;
    return 0;
}

static int take_shape(struct cursor *c, struct npy_header *h)
{
    size_t dims[2] = {0, 1}, n = 0;

    if (!take_char(c, '('))
        return fail(c, "the shape must be a tuple");
    while (!take_char(c, ')')) {
        if (n == ARRAY_LEN(dims))
            return fail(c, "more than 2 dimensions");
        if (take_size(c, &dims[n++]))
            return -1;
        if (take_char(c, ','))
            continue;
        if (n == 1 || !take_char(c, ')'))
            return fail(c, "the shape must be a tuple");
        break;
    }
    if (n == 0)
        return fail(c, "a single number has no rows: 1 or 2 dimensions are taken");
    h->ndim = n;
    h->rows = dims[0];
    h->cols = dims[1];
    return 0;
}

static int take_entry(struct cursor *c, struct npy_header *h, unsigned *seen)
{
    struct slice key;
    unsigned bit;
    int rc;

    if (take_string(c, &key))
        return -1;
    bit = slice_eq_str(key, "descr")           ? 1
          : slice_eq_str(key, "fortran_order") ? 2
          : slice_eq_str(key, "shape")         ? 4
                                               : 0;
    if (!bit)
        return fail(c, "a key other than descr, fortran_order and shape");
    if (*seen & bit)
        return fail(c, "a key twice");
    *seen |= bit;
    if (!take_char(c, ':'))
        return fail(c, "':' is expected");
    if (bit == 2) {
        h->fortran_order = take_word(c, "True");
        rc = h->fortran_order || take_word(c, "False") ? 0 : fail(c, "True or False is expected");
    } else {
        rc = bit == 1 ? take_type(c, &h->type) : take_shape(c, h);
    }
    return rc;
}

static int take_dict(struct cursor *c, struct npy_header *h)
{
    unsigned seen = 0;

    if (!take_char(c, '{'))
        return fail(c, "a dict is expected");
    while (!take_char(c, '}')) {
        if (take_entry(c, h, &seen))
            return -1;
        if (take_char(c, ','))
            continue;
        if (!take_char(c, '}'))
            return fail(c, "',' or '}' is expected");
        break;
    }
    if (seen != 7)
        return fail(c, "descr, fortran_order or shape is missing");
    take_char(c, '\n');
    return c->p == c->end ? 0 : fail(c, "text after the dict");
}

/* Sets the length of the dict's text and where it begins. */
static int prefix_parse(struct slice head, const char *what, size_t *ret_at, size_t *ret_n,
                        struct err *err)
{
    const unsigned char *b = (const unsigned char *)head.p;

    if (head.n < 10 || memcmp(head.p, "\x93NUMPY", 6) != 0)
        return err_inval(err, "%s: no npy file: its first bytes are not \\x93NUMPY", what);
    if (b[6] == 1 && b[7] == 0) {
        *ret_at = 10;
        *ret_n = (size_t)b[8] | (size_t)b[9] << 8;
    } else if ((b[6] == 2 || b[6] == 3) && b[7] == 0 && head.n >= 12) {
        *ret_at = 12;
        *ret_n = (size_t)b[8] | (size_t)b[9] << 8 | (size_t)b[10] << 16 | (size_t)b[11] << 24;
    } else {
        return err_inval(err, "%s: npy format %d.%d is not known (1.0, 2.0 and 3.0 are)", what,
                         b[6], b[7]);
    }
    if (*ret_n > NPY_HEADER_MAX_BYTES)
        return err_inval(err, "%s: npy header of %zu bytes, %d at most", what, *ret_n,
                         NPY_HEADER_MAX_BYTES);
    if (*ret_n > head.n - *ret_at)
        return err_inval(err, "%s: npy header of %zu bytes is cut off", what, *ret_n);
    return 0;
}

int npy_parse_header(struct slice head, const char *what, struct npy_header *ret, struct err *err)
{
    struct npy_header h = {0};
    struct cursor c = {.begin = head.p, .what = what, .err = err};
    size_t at = 0, n = 0, bytes;

    if (prefix_parse(head, what, &at, &n, err))
        return -1;
    c.p = head.p + at;
    c.end = c.p + n;
    if (take_dict(&c, &h))
        return -1;
    h.data_offset = at + n;
    if (__builtin_mul_overflow(h.rows, h.cols, &bytes) ||
        __builtin_mul_overflow(bytes, npy_type_size(h.type), &bytes) ||
        bytes > INT64_MAX - h.data_offset)
        return err_inval(err, "%s: npy shape (%zu, %zu) is too large", what, h.rows, h.cols);
    *ret = h;
    return 0;
}

int npy_open(const char *path, struct npy_file *ret, struct err *err)
{
    struct fsx_map map = {0};
    struct npy_header h;
    size_t want;

    if (fsx_map_open(path, &map, err))
        return -1;
    if (npy_parse_header((struct slice){map.p, map.n}, path, &h, err)) {
        fsx_map_close(&map);
        return -1;
    }
    want = h.data_offset + h.rows * h.cols * npy_type_size(h.type);
    if (map.n != want || h.data_offset % npy_type_size(h.type)) {
        size_t has = map.n;

        fsx_map_close(&map);
        if (has == want)
            return err_inval(
                err, "%s: npy data begins at byte %zu, which is no multiple of its item size", path,
                h.data_offset);
        return err_inval(err, "%s: npy file of %zu bytes, its header says %zu", path, has, want);
    }
    *ret = (struct npy_file){
        .h = h,
        .data = (const char *)map.p + h.data_offset,
        .map = (void *)(uintptr_t)map.p,
        .map_bytes = map.n,
    };
    return 0;
}

void npy_close(struct npy_file *f)
{
    struct fsx_map map = {f->map, f->map_bytes};

    fsx_map_close(&map);
    *f = (struct npy_file){0};
}
