#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/fsx.h"
#include "common/mem.h"
#include "common/npy.h"

/* Files as numpy 2.4.6 writes them: the prefix and the dict here, padded with blanks to the length
 * that the prefix says and ended by \n; then the data. */
#define V1(dict) "\x93NUMPY\x01\x00v\x00" dict
struct numpy_file {
    const char *head;
    size_t head_n; /* of prefix and dict, as the prefix contains NULs */
    size_t total;  /* bytes before the data */
    const char *data;
    size_t data_n;
    struct npy_header h;
};
#define FILE_V1(dict, d, ...)                                                                      \
    {                                                                                              \
        V1(dict), sizeof(V1(dict)) - 1, 128, d, sizeof(d) - 1,                                     \
        {                                                                                          \
            .data_offset = 128, __VA_ARGS__                                                        \
        }                                                                                          \
    }

static const struct numpy_file numpy_files[] = {
    FILE_V1("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }",
            "\x00\x00\xc0\x3f\x00\x00\x00\xc0\x00\x00\x40\x40\x00\x00\x80\x40\x00\x00\xc0\x7f\x00"
            "\x00\xc0\x40",
            .type = NPY_F32, .ndim = 2, .rows = 3, .cols = 2),
    FILE_V1("{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }",
            "\x9a\x99\x99\x99\x99\x99\xb9\x3f\x9a\x99\x99\x99\x99\x99\xc9\x3f", .type = NPY_F64,
            .ndim = 1, .rows = 2, .cols = 1),
    FILE_V1("{'descr': '|b1', 'fortran_order': False, 'shape': (3,), }", "\x01\x00\x01",
            .type = NPY_BOOL, .ndim = 1, .rows = 3, .cols = 1),
    FILE_V1("{'descr': '<u8', 'fortran_order': False, 'shape': (2,), }",
            "\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80", .type = NPY_U64,
            .ndim = 1, .rows = 2, .cols = 1),
    FILE_V1("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 3), }", "", .type = NPY_F32,
            .ndim = 2, .rows = 0, .cols = 3),
    FILE_V1("{'descr': '|i1', 'fortran_order': False, 'shape': (2,), }", "\xff\x02", .type = NPY_I8,
            .ndim = 1, .rows = 2, .cols = 1),
};
/* numpy.asfortranarray([[1,2,3],[4,5,6]], '<i4'), and [1,2] as '<i8' in versions 2.0 and 3.0 */
static const struct numpy_file numpy_only_read[] = {
    {V1("{'descr': '<i4', 'fortran_order': True, 'shape': (2, 3), }"),
     68,
     128,
     "\x01\x00\x00\x00\x04\x00\x00\x00\x02\x00\x00\x00\x05\x00\x00\x00\x03\x00\x00\x00\x06\x00\x00"
     "\x00",
     24,
     {.type = NPY_I32, .ndim = 2, .rows = 2, .cols = 3, .data_offset = 128, .fortran_order = true}},
    {"\x93NUMPY\x02\x00t\x00\x00\x00{'descr': '<i8', 'fortran_order': False, 'shape': (2,), }",
     69,
     128,
     "\x01\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00",
     16,
     {.type = NPY_I64, .ndim = 1, .rows = 2, .cols = 1, .data_offset = 128}},
    {"\x93NUMPY\x03\x00t\x00\x00\x00{'descr': '<i8', 'fortran_order': False, 'shape': (2,), }",
     69,
     128,
     "\x01\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00",
     16,
     {.type = NPY_I64, .ndim = 1, .rows = 2, .cols = 1, .data_offset = 128}},
};

struct fixture {
    char *dir, *path;
};

static int setup(void **state)
{
    static struct fixture f;
    struct err err = {0};

    f.dir = fsx_tmpdir("npy", &err);
    assert_non_null(f.dir);
    f.path = fsx_join(f.dir, "a.npy");
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};

    assert_int_equal(fsx_remove_tree(f->dir, &err), 0);
    free(f->path);
    free(f->dir);
    return 0;
}

static void file_bytes(const struct numpy_file *nf, struct buf *out)
{
    buf_add(out, nf->head, nf->head_n);
    while (out->len < nf->total - 1)
        buf_add_char(out, ' ');
    buf_add_char(out, '\n');
    buf_add(out, nf->data, nf->data_n);
}

static void assert_header(const struct npy_header *a, const struct npy_header *b)
{
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->ndim, b->ndim);
    assert_int_equal(a->rows, b->rows);
    assert_int_equal(a->cols, b->cols);
    assert_int_equal(a->data_offset, b->data_offset);
    assert_int_equal(a->fortran_order, b->fortran_order);
}

static void check_read(const struct fixture *f, const struct numpy_file *nf)
{
    CLEANUP(buf_fini) struct buf b = {0};
    struct npy_file file = {0};
    struct err err = {0};

    file_bytes(nf, &b);
    assert_int_equal(fsx_write_file(f->path, b.data, b.len, &err), 0);
    if (npy_open(f->path, &file, &err))
        fail_msg("%s", err.msg);
    assert_header(&file.h, &nf->h);
    assert_memory_equal(file.data, nf->data, nf->data_n);
    npy_close(&file);
    npy_close(&file);
}

static void files_of_numpy_are_read(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(numpy_files); i++)
        check_read(*state, &numpy_files[i]);
    for (size_t i = 0; i < ARRAY_LEN(numpy_only_read); i++)
        check_read(*state, &numpy_only_read[i]);
}

static void written_files_are_numpys_byte_for_byte(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(numpy_files); i++) {
        const struct numpy_file *nf = &numpy_files[i];
        CLEANUP(buf_fini) struct buf want = {0}, got = {0};
        struct err err = {0};

        file_bytes(nf, &want);
        assert_int_equal(
            npy_write(f->path, nf->h.type, nf->h.ndim, nf->h.rows, nf->h.cols, nf->data, &err), 0);
        assert_int_equal(fsx_read_file(f->path, 1 << 20, &got, &err), 0);
        assert_int_equal(got.len, want.len);
        assert_memory_equal(got.data, want.data, want.len);
    }
}

static void rows_are_streamed_and_counted_at_the_end(void **state)
{
    struct fixture *f = *state;
    struct npy_file file = {0};
    struct npy_writer *w;
    struct err err = {0};
    size_t rows = 0;
    double row[3];

    assert_int_equal(npy_writer_open(f->path, NPY_F64, 2, 3, &w, &err), 0);
    for (int i = 0; i < 30000; i++) { /* more than one buffer */
        row[0] = i, row[1] = -i, row[2] = NAN;
        assert_int_equal(npy_writer_add(w, row, 1, &err), 0);
    }
    assert_int_equal(npy_writer_add(w, NULL, 0, &err), 0);
    assert_int_equal(npy_writer_close(w, &rows, &err), 0);
    assert_int_equal(rows, 30000);
    assert_int_equal(npy_open(f->path, &file, &err), 0);
    assert_int_equal(file.h.rows, 30000);
    assert_int_equal(file.h.cols, 3);
    assert_true(((const double *)file.data)[29999 * 3 + 1] == -29999.0);
    npy_close(&file);
}

static void the_largest_row_count_fits_the_header(void **state)
{
    static const char dict[] = "{'descr': '<f8', 'fortran_order': False, 'shape': "
                               "(18446744073709551615, 18446744073709551615), }";

    (void)state;
    assert_true(10 + sizeof(dict) <= 128);
}

static void an_aborted_file_is_gone(void **state)
{
    struct fixture *f = *state;
    struct npy_writer *w;
    struct err err = {0};
    float v = 1;

    assert_int_equal(npy_writer_open(f->path, NPY_F32, 1, 1, &w, &err), 0);
    assert_int_equal(npy_writer_add(w, &v, 1, &err), 0);
    npy_writer_abort(w);
    assert_false(fsx_exists(f->path));
    npy_writer_abort(NULL);
    assert_int_equal(npy_writer_open("/nonexistent/x.npy", NPY_F32, 1, 1, &w, &err), -1);
    assert_int_equal(err.code, ERR_IO);
}

static void a_full_disk_is_an_error_to_retry(void **state)
{
    static const float zeros[100000];
    struct fixture *f = *state;
    struct err err = {0};

    assert_int_equal(symlink("/dev/full", f->path), 0);
    assert_int_equal(npy_write(f->path, NPY_F32, 1, ARRAY_LEN(zeros), 1, zeros, &err), -1);
    assert_int_equal(err.code, ERR_IO);
    assert_int_equal(err.next, NEXT_RETRY);
    assert_non_null(strstr(err.msg, "No space left"));
}

static int parse_dict(const char *dict, struct npy_header *h, struct err *err)
{
    CLEANUP(buf_fini) struct buf b = {0};

    buf_add(&b, "\x93NUMPY\x01\x00", 8);
    buf_add_char(&b, (char)(strlen(dict) & 0xff));
    buf_add_char(&b, (char)(strlen(dict) >> 8));
    buf_add_str(&b, dict);
    return npy_parse_header(buf_slice(&b), "f", h, err);
}

static void dicts_are_taken_in_any_order_and_spacing(void **state)
{
    static const char *const good[] = {
        "{'shape':(2,3),'fortran_order':False,'descr':'<f4'}",
        "{\"descr\": \"<f4\", \"fortran_order\": False, \"shape\": (2, 3)}\n",
        "{ 'descr' : '<f4' , 'fortran_order' : False , 'shape' : ( 2 , 3 , ) , }   \n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct npy_header h;
        struct err err = {0};

        if (parse_dict(good[i], &h, &err))
            fail_msg("%s", err.msg);
        assert_int_equal(h.type, NPY_F32);
        assert_int_equal(h.rows * 10 + h.cols, 23);
    }
}

static void every_type_is_known_by_its_letter(void **state)
{
    static const struct {
        const char *descr;
        enum npy_type type;
        size_t size;
    } rows[] = {
        {"<f4", NPY_F32, 4}, {"<f8", NPY_F64, 8}, {"|i1", NPY_I8, 1},  {"<i1", NPY_I8, 1},
        {"<i2", NPY_I16, 2}, {"<i4", NPY_I32, 4}, {"<i8", NPY_I64, 8}, {"|u1", NPY_U8, 1},
        {"<u2", NPY_U16, 2}, {"<u4", NPY_U32, 4}, {"<u8", NPY_U64, 8}, {"|b1", NPY_BOOL, 1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP_FREE char *dict =
            xasprintf("{'descr': '%s', 'fortran_order': False, 'shape': (1,)}", rows[i].descr);
        struct npy_header h;
        struct err err = {0};

        assert_int_equal(parse_dict(dict, &h, &err), 0);
        assert_int_equal(h.type, rows[i].type);
        assert_int_equal(npy_type_size(h.type), rows[i].size);
    }
}

static void what_is_no_plain_array_is_refused(void **state)
{
    static const struct {
        const char *dict, *message;
    } bad[] = {
        {"", "f: npy header, byte 10: a dict is expected"},
        {"{}", "f: npy header, byte 12: descr, fortran_order or shape is missing"},
        {"{'descr': '>i2', 'fortran_order': False, 'shape': (1,), }",
         "f: npy header, byte 25: big-endian"},
        {"{'descr': '<i8', 'fortran_order': False, 'shape': (), }",
         "f: npy header, byte 62: a single number"},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1, 1), }",
         "f: npy header, byte 67: more than 2"},
        {"{'descr': '<U1', 'fortran_order': False, 'shape': (1,), }",
         "f: npy header, byte 25: this dtype"},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
         "f: npy header, byte 24: this dtype"},
        {"{'descr': '<f2', 'fortran_order': False, 'shape': (1,), }",
         "f: npy header, byte 25: this dtype"},
        {"{'descr': [('a', '<i4')], 'fortran_order': False, 'shape': (1,), }",
         "f: npy header, byte 20: records"},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,), }",
         "f: npy header, byte 34: a key twice"},
        {"{'descr': '<f4', 'order': False, 'shape': (1,), }",
         "f: npy header, byte 34: a key other"},
        {"{'descr': '<f4', 'fortran_order': 0, 'shape': (1,), }",
         "f: npy header, byte 44: True or False"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1), }",
         "f: npy header, byte 62: the shape must be a tuple"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
         "f: npy header, byte 61: a dimension is expected"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }",
         "f: npy header, byte 80: a dimension is too large"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }",
         "f: npy shape (4294967296, 4294967296) is too large"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), } x",
         "f: npy header, byte 68: text after the dict"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,)",
         "f: npy header, byte 64: ',' or '}'"},
        {"{'descr': '<f4", "f: npy header, byte 24: a string does not end"},
        {"{'descr': '<f\\x34'}", "f: npy header, byte 23: a plain quoted string"},
        {"{'descr': eval('1')}", "f: npy header, byte 20: a quoted string"},
        {"{'descr' '<f4'}", "f: npy header, byte 19: ':'"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct npy_header h;
        struct err err = {0};

        assert_int_equal(parse_dict(bad[i].dict, &h, &err), -1);
        assert_int_equal(err.code, ERR_INVAL);
        if (!str_has_prefix(err.msg, bad[i].message))
            fail_msg("row %zu: \"%s\", not \"%s\"", i, err.msg, bad[i].message);
    }
}

static void prefixes_that_are_wrong_or_cut_are_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *message;
    } bad[] = {
        {"", 0, "f: no npy file"},
        {"\x93NUMPY\x01\x00v", 9, "f: no npy file"},
        {"PK\x03\x04xxxxxxxxxxxxxx", 18, "f: no npy file"},
        {"\x93NUMPY\x04\x00v\x00{}  ", 14, "f: npy format 4.0 is not known"},
        {"\x93NUMPY\x01\x01v\x00{}  ", 14, "f: npy format 1.1 is not known"},
        {"\x93NUMPY\x02\x00v\x00", 10, "f: npy format 2.0 is not known"},
        {"\x93NUMPY\x01\x00v\x00{}", 12, "f: npy header of 118 bytes is cut off"},
        {"\x93NUMPY\x02\x00\xff\xff\xff\x7f{}", 14,
         "f: npy header of 2147483647 bytes, 65536 at most"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        CLEANUP_FREE char *exact =
            xmemdup(bad[i].bytes, bad[i].n); /* so that a sanitizer sees its end */
        struct npy_header h;
        struct err err = {0};

        assert_int_equal(npy_parse_header((struct slice){exact, bad[i].n}, "f", &h, &err), -1);
        if (!str_has_prefix(err.msg, bad[i].message))
            fail_msg("row %zu: \"%s\"", i, err.msg);
    }
}

static void a_file_of_another_size_than_its_header_says_is_refused(void **state)
{
    struct fixture *f = *state;

    for (int cut = 0; cut < 4; cut++) {
        CLEANUP(buf_fini) struct buf b = {0};
        struct npy_file file = {0};
        struct err err = {0};

        file_bytes(&numpy_files[0], &b);
        if (cut == 3)
            buf_add_char(&b, 'x');
        else
            b.len = (size_t[]){b.len - 1, 128, 60}[cut];
        assert_int_equal(fsx_write_file(f->path, b.data, b.len, &err), 0);
        assert_int_equal(npy_open(f->path, &file, &err), -1);
        assert_int_equal(err.code, ERR_INVAL);
        assert_null(file.map);
    }
    {
        struct npy_file file = {0};
        struct err err = {0};

        assert_int_equal(fsx_write_file(f->path, "", 0, &err), 0);
        assert_int_equal(npy_open(f->path, &file, &err), -1);
        assert_int_equal(npy_open("/nonexistent/x.npy", &file, &err), -1);
        assert_int_equal(err.code, ERR_NOTFOUND);
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(files_of_numpy_are_read),
        T(written_files_are_numpys_byte_for_byte),
        T(rows_are_streamed_and_counted_at_the_end),
        T(the_largest_row_count_fits_the_header),
        T(an_aborted_file_is_gone),
        T(a_full_disk_is_an_error_to_retry),
        T(dicts_are_taken_in_any_order_and_spacing),
        T(every_type_is_known_by_its_letter),
        T(what_is_no_plain_array_is_refused),
        T(prefixes_that_are_wrong_or_cut_are_refused),
        T(a_file_of_another_size_than_its_header_says_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
