/* NumPy arrays as datasets.  The files in tests/golden/ingest were written by NumPy 2.4.6 (make.py
 * there). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <unistd.h>

#include "agents/ingest/zip.h"
#include "common/fsx.h"
#include "tests/support/ingest_world.h"

static const float COLUMN_A[] = {1.5f, NAN, -3, 4, 5}, COLUMN_B[] = {10, 20, 30, 40, 50};
static const float LABEL[] = {0, 1, 0, 1, 1};

static void read_golden(const char *name, struct buf *out)
{
    CLEANUP_FREE char *path = fsx_join("tests/golden/ingest", name);
    struct err err;

    if (fsx_read_file(path, 1 << 20, out, &err))
        fail_msg("%s", err.msg);
}

static const struct dataset_ingested *ingest_golden(struct ingest_world *w, const char *name)
{
    CLEANUP(buf_fini) struct buf bytes = {0};

    read_golden(name, &bytes);
    return ingest_bytes(w, bytes.data, bytes.len);
}

static void check(struct ingest_world *w, const char *file, const char *name_a, const char *name_b)
{
    struct snapshot_data d;
    struct snapshot *s = open_outcome(w, ingest_golden(w, file), &d);
    const float *x = d.features.data, *y = d.label.data;

    assert_int_equal(s->rows, 5);
    assert_int_equal(s->n_columns, 2);
    assert_string_equal(s->columns[0].name, name_a);
    assert_string_equal(s->columns[1].name, name_b);
    for (size_t i = 0; i < 5; i++) {
        assert_true(i == 1 ? isnan(x[2 * i]) : x[2 * i] == COLUMN_A[i]);
        assert_true(x[2 * i + 1] == COLUMN_B[i]);
        assert_true(y[i] == LABEL[i]);
    }
    snapshot_unmap(&d);
    snapshot_free(s);
}

static void every_shape_numpy_writes_is_read(void **state)
{
    struct ingest_world *w = *state;

    check(w, "matrix.npy", "f0", "f1");
    check(w, "fortran.npy", "f0", "f1");
    check(w, "stored.npz", "f0", "f1");
    check(w, "deflated.npz",
          "gr\xc3\xb6\xc3\x9f"
          "e",
          "b");
    check(w, "bytes_label.npz", "f0", "f1");
}

static void names_come_from_the_contract(void **state)
{
    struct ingest_world *w = *state;
    struct snapshot_data d;
    struct snapshot *s;

    ingest_world_pipeline(w, "dataset: {name: d, label: y}\ntask: binary\n"
                             "contract: {columns: {p: {type: float}, q: {type: float}}}\n");
    check(w, "matrix.npy", "p", "q"); /* the label is the last */
    check(w, "stored.npz", "p", "q");
    ingest_world_pipeline(w, "dataset: {name: d, label: f2}\ntask: binary\n");
    check(w, "matrix.npy", "f0", "f1");
    ingest_world_pipeline(
        w, "dataset: {name: d, label: y}\ntask: regression\n"
           "contract: {columns: {p: {type: float}, y: {type: float}, q: {type: float}}}\n");
    s = open_outcome(w, ingest_golden(w, "matrix.npy"),
                     &d); /* the contract lists all: the label is in the middle */
    assert_string_equal(s->columns[1].name, "q");
    assert_true(((const float *)d.label.data)[2] == 30);
    snapshot_unmap(&d);
    snapshot_free(s);
}

static void labels_may_be_text(void **state)
{
    struct ingest_world *w = *state;
    struct snapshot_data d;
    struct snapshot *s;

    ingest_world_pipeline(w, "dataset: {name: d, label: y}\ntask: multiclass\n");
    s = open_outcome(w, ingest_golden(w, "text_label.npz"), &d);
    assert_int_equal(s->n_classes, 3);
    assert_string_equal(s->classes[0], "down");
    assert_string_equal(s->classes[2], "\xc3\xbcnten");
    assert_true(((const float *)d.label.data)[4] == 2);
    assert_true(((const float *)d.features.data)[4] == 50);
    snapshot_unmap(&d);
    snapshot_free(s);
}

static void the_contract_holds_for_arrays_too(void **state)
{
    struct ingest_world *w = *state;
    const struct dataset_ingested *o;

    ingest_world_pipeline(w,
                          "dataset: {name: d, label: y}\ntask: binary\n"
                          "contract: {columns: {f0: {type: int}, f1: {type: float, max: 40}}}\n");
    o = ingest_golden(w, "stored.npz");
    assert_rejected(o, "f0", "type", "row 1: '1.5'");
    assert_string_equal(find_violation(o, "f1", "max")->examples.items[0], "row 5: '50'");
    ingest_world_pipeline(w, "dataset: {name: d, label: y}\ntask: binary\n"
                             "contract: {columns: {f0: {type: float, missing_at_most: 0}, f1: "
                             "{type: category}}, on_violation: quarantine}\n");
    assert_accepted(ingest_golden(w, "stored.npz"), 4);
}

static void arrays_that_do_not_fit_are_refused(void **state)
{
    struct ingest_world *w = *state;
    CLEANUP(buf_fini) struct buf bytes = {0};

    assert_rejected(ingest_golden(w, "no_label.npz"), NULL, "csv", "no member 'label'");
    assert_rejected(ingest_golden(w, "short_label.npz"), NULL, "csv",
                    "the label has 4 x 1 values, the features have 5 rows");
    read_golden("matrix.npy", &bytes);
    assert_rejected(ingest_bytes(w, bytes.data, bytes.len - 8), NULL, "csv", "it was cut or grew");
    assert_rejected(ingest_bytes(w, bytes.data, 50), NULL, "csv", "the matrix");
    bytes.data[8] = '\xff';
    assert_rejected(ingest_bytes(w, bytes.data, bytes.len), NULL, "csv", "the matrix");
    w->dataset.format = "parquet";
    assert_rejected(ingest_bytes(w, bytes.data, bytes.len), NULL, "csv", "'parquet' is not known");
    w->dataset.format = "npy";
    assert_rejected(ingest_csv(w, "a,y\n1,0\n"), NULL, "csv", "the matrix");
    assert_rejected(ingest_csv(w, ""), NULL, "csv", "the file is empty");
    w->dataset.format = "npz";
    assert_rejected(ingest_csv(w, "a,y\n1,0\n"), NULL, "csv", "zip archive is damaged");
}

static void damaged_archives_are_refused(void **state)
{
    struct ingest_world *w = *state;
    CLEANUP(buf_fini) struct buf bytes = {0};
    char *at;

    read_golden("deflated.npz", &bytes);
    assert_rejected(ingest_bytes(w, bytes.data, bytes.len - 3), NULL, "csv", "no end record");
    for (size_t i = 0; i < bytes.len;
         i++) { /* whatever byte is wrong: told or harmless, never a crash */
        bytes.data[i] = (char)(bytes.data[i] ^ 0x55);
        (void)ingest_bytes(w, bytes.data, bytes.len);
        bytes.data[i] = (char)(bytes.data[i] ^ 0x55);
    }
    at = memmem(bytes.data, bytes.len, "PK\x01\x02", 4);
    at[16] = (char)(at[16] ^ 1); /* the checksum of the first member */
    assert_rejected(ingest_bytes(w, bytes.data, bytes.len), NULL, "csv", "checksum differs");
    at[16] = (char)(at[16] ^ 1);
    at[8] |= 1;
    assert_rejected(ingest_bytes(w, bytes.data, bytes.len), NULL, "csv", "encrypted");
    at[8] &= ~1;
    at[10] = 14;
    assert_rejected(ingest_bytes(w, bytes.data, bytes.len), NULL, "csv", "packed by method 14");
    at[10] = 8;
    w->request.max_bytes = bytes.len;
    assert_accepted(ingest_bytes(w, bytes.data, bytes.len), 5);
    read_golden("matrix.npy", &bytes); /* now longer */
}

static void members_are_bounded_by_what_they_unpack_to(void **state)
{
    struct ingest_world *w = *state;
    CLEANUP(buf_fini) struct buf bytes = {0};

    read_golden("deflated.npz", &bytes);
    w->request.max_bytes = 150; /* less than a member unpacked, but the file is larger still */
    assert_rejected(ingest_bytes(w, bytes.data, bytes.len), NULL, "size", "longer than 150 bytes");
}

static void rows_are_hashed_by_value_not_by_type(void **state)
{
    struct ingest_world *w = *state;

    ingest_golden(w, "stored.npz"); /* float32 */
    ingest_world_remember(w);
    assert_int_equal(ingest_golden(w, "matrix.npy")->rows_seen_before,
                     5); /* float64, in one matrix */
    assert_int_equal(ingest_golden(w, "text_label.npz")->rows_seen_before, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, ingest_world_setup, ingest_world_teardown)
    const struct CMUnitTest tests[] = {
        T(every_shape_numpy_writes_is_read),
        T(names_come_from_the_contract),
        T(labels_may_be_text),
        T(the_contract_holds_for_arrays_too),
        T(arrays_that_do_not_fit_are_refused),
        T(damaged_archives_are_refused),
        T(members_are_bounded_by_what_they_unpack_to),
        T(rows_are_hashed_by_value_not_by_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
