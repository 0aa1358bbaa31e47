#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "common/fsx.h"
#include "common/mem.h"
#include "common/snapshot.h"
#include "common/strset.h"
#include "tests/support/sample_snapshot.h"
#include "tests/support/tmpdir.h"

struct fixture {
    struct tmpdir dir;
    struct artifacts a;
    struct snapshot *made[8];
    size_t n;
};

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    struct err err;

    tmpdir_init(&f->dir);
    if (artifacts_open(f->dir.path, &f->a, &err))
        return -1;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < f->n; i++)
        snapshot_free(f->made[i]);
    artifacts_close(&f->a);
    tmpdir_fini(&f->dir);
    free(f);
    return 0;
}

static struct snapshot *put(struct fixture *f, const struct sample_snapshot *spec)
{
    return f->made[f->n++] = sample_snapshot_put(&f->a, spec);
}

static const char *const NO_YES[] = {"no", "yes", NULL};
static const char *const YES_NO[] = {"yes", "no", NULL};
static const char *const RED_BLUE[] = {"red", "blue", NULL};
static const char *const BLUE_GREEN[] = {"blue", "green", "7", NULL};

static const struct sample_column OLD_COLUMNS[] = {{"a", COLUMN_FLOAT, NULL},
                                                   {"colour", COLUMN_CATEGORY, RED_BLUE}};
static const struct sample_column NEW_COLUMNS[] = {
    {"colour", COLUMN_CATEGORY, BLUE_GREEN}, {"b", COLUMN_INT, NULL}, {"a", COLUMN_FLOAT, NULL}};
static const struct sample_snapshot OLD = {
    .task = TASK_BINARY,
    .classes = NO_YES,
    .columns = OLD_COLUMNS,
    .n_columns = 2,
    .rows = 4,
    .x = (const float[]){1, 0, 2, 1, 3, 0, 4, 1},
    .y = (const float[]){0, 1, 0, 1},
    .split = (const uint8_t[]){0, 0, 1, 2},
    .first_hash = 100,
};
static const struct sample_snapshot NEW = {
    .task = TASK_BINARY,
    .classes = YES_NO,
    .columns = NEW_COLUMNS,
    .n_columns = 3,
    .rows = 3,
    .x = (const float[]){0, 10, 5, 1, 11, 6, 2, 12, 7},
    .y = (const float[]){0, 1, 1},
    .split = (const uint8_t[]){0, 0, 2},
    .first_hash = 200,
};

static void assert_row(const struct matrix *m, size_t row, const float *want)
{
    for (size_t j = 0; j < m->n_columns; j++) {
        float got = m->x[row * m->n_columns + j];

        if (!(got == want[j] || (isnan(got) && isnan(want[j]))))
            fail_msg("row %zu, column %s: %g, want %g", row, m->columns[j].name, (double)got,
                     (double)want[j]);
    }
}

static void a_manifest_comes_back_whole(void **state)
{
    struct fixture *f = *state;
    struct snapshot *s = put(f, &OLD), *back;
    struct snapshot_data d;
    struct err err;

    assert_int_equal(snapshot_open(&f->a, s->digest, &back, &err), 0);
    assert_string_equal(back->digest, s->digest);
    assert_string_equal(back->line, "sample");
    assert_string_equal(back->label_name, "y");
    assert_int_equal(back->task, TASK_BINARY);
    assert_int_equal(back->n_classes, 2);
    assert_string_equal(back->classes[1], "yes");
    assert_int_equal(back->rows, 4);
    assert_int_equal(back->split_rows[ROW_TRAIN], 2);
    assert_int_equal(back->split_rows[ROW_TEST], 1);
    assert_string_equal(back->columns[1].name, "colour");
    assert_string_equal(back->columns[1].categories[1], "blue");
    assert_string_equal(back->features, s->features);
    assert_int_equal(snapshot_map(&f->a, back, &d, &err), 0);
    assert_true(((const float *)d.features.data)[2] == 2);
    assert_int_equal(((const uint64_t *)d.row_hash.data)[3], 103);
    snapshot_unmap(&d);
    snapshot_unmap(&d);
    snapshot_free(back);
    snapshot_free(NULL);
}

static void a_manifest_needs_no_store(void **state)
{
    struct fixture *f = *state;
    CLEANUP(json_freep) struct json *j = snapshot_to_json(put(f, &NEW)), *again = NULL;
    CLEANUP(buf_fini) struct buf a = {0}, b = {0};
    struct snapshot *s;
    struct err err;

    assert_int_equal(snapshot_from_json(j, &s, &err), 0);
    again = snapshot_to_json(s);
    json_write(j, 1, false, &a);
    json_write(again, 1, false, &b);
    assert_string_equal(a.data, b.data);
    snapshot_free(s);
}

static void the_same_content_has_the_same_digest(void **state)
{
    struct fixture *f = *state;

    assert_string_equal(put(f, &OLD)->digest, put(f, &OLD)->digest);
    assert_string_not_equal(put(f, &NEW)->digest, f->made[0]->digest);
}

static void a_damaged_manifest_is_refused(void **state)
{
    static const struct {
        const char *from, *to;
    } rows[] = {
        {"relearn/snapshot/1", "relearn/snapshot/9"},
        {"\"binary\"", "\"cubic\""},
        {"\"binary\"", "\"regression\""},
        {"\"rows\": 4", "\"rows\": 5"},
        {"\"rows\": 4", "\"rows\": -4"},
        {"\"type\": \"float\"", "\"type\": \"ignore\""},
        {"\"train\": 2", "\"train\": 99"},
        {"\"name\": \"colour\"", "\"name\": 3"},
        {"\"features.npy\": \"", "\"features.npy\": \"../"},
    };
    struct fixture *f = *state;
    CLEANUP(json_freep) struct json *j = snapshot_to_json(put(f, &OLD));
    CLEANUP(buf_fini) struct buf text = {0};
    struct snapshot *s = NULL;
    char digest[DIGEST_HEX_SIZE];
    struct err err;

    json_write(j, 1, false, &text);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(buf_fini) struct buf changed = {0};
        const char *at = strstr(text.data, rows[i].from);

        if (!at)
            fail_msg("'%s' is not in the manifest", rows[i].from);
        buf_add(&changed, text.data, (size_t)(at - text.data));
        buf_add_str(&changed, rows[i].to);
        buf_add_str(&changed, at + strlen(rows[i].from));
        assert_int_equal(artifacts_put(&f->a, changed.data, changed.len, digest, &err), 0);
        if (snapshot_open(&f->a, digest, &s, &err) != -1 || err.code != ERR_CODEC)
            fail_msg("'%s' was taken", rows[i].to);
    }
    assert_int_equal(artifacts_put(&f->a, "{", 1, digest, &err), 0);
    assert_int_equal(snapshot_open(&f->a, digest, &s, &err), -1);
    assert_int_equal(err.code, ERR_CODEC);
    assert_null(s);
}

static void data_of_another_shape_is_refused(void **state)
{
    struct fixture *f = *state;
    struct snapshot *s = put(f, &OLD);
    struct snapshot_data d = {0};
    struct err err;

    s->rows = 5;
    assert_int_equal(snapshot_map(&f->a, s, &d, &err), -1);
    assert_int_equal(err.code, ERR_CODEC);
    assert_null(d.features.data);
    s->rows = 4;
    memcpy(s->label, s->row_hash, sizeof(s->label));
    assert_int_equal(snapshot_map(&f->a, s, &d, &err), -1);
    memset(s->label, 'a', sizeof(s->label) - 1);
    assert_int_equal(snapshot_map(&f->a, s, &d, &err), -1);
    assert_int_equal(err.code, ERR_NOTFOUND);
    assert_int_equal(err.next, NEXT_RETRY);
}

static void a_matrix_joins_by_name_and_by_value(void **state)
{
    struct fixture *f = *state;
    struct snapshot *both[2];
    struct matrix m;
    struct err err;

    both[0] = put(f, &OLD);
    both[1] = put(f, &NEW);
    assert_int_equal(matrix_load(&f->a, both, 2, ROW_TRAIN, 0, NULL, &m, &err), 0);
    assert_int_equal(m.rows, 4);
    assert_int_equal(m.n_columns, 3);
    assert_string_equal(m.columns[0].name, "a");
    assert_string_equal(m.columns[1].name, "colour");
    assert_string_equal(m.columns[2].name, "b");
    assert_int_equal(m.columns[1].n_categories, 4);
    assert_string_equal(m.columns[1].categories[2], "green");
    assert_row(&m, 0, (const float[]){1, 0, NAN});
    assert_row(&m, 1, (const float[]){2, 1, NAN});
    assert_row(&m, 2, (const float[]){5, 1, 10}); /* blue has code 0 in the new one, 1 here */
    assert_row(&m, 3, (const float[]){6, 2, 11});
    assert_string_equal(m.classes[0], "yes"); /* the newest one's order */
    assert_true(m.y[0] == 1 && m.y[1] == 0 && m.y[2] == 0 && m.y[3] == 1);
    assert_int_equal(m.hash[0], 100);
    assert_int_equal(m.hash[3], 201);
    matrix_fini(&m);
    matrix_fini(&m);
    assert_int_equal(matrix_load(&f->a, both, 2, ROW_TEST, 0, NULL, &m, &err), 0);
    assert_int_equal(m.rows, 2);
    assert_int_equal(m.hash[0], 103);
    matrix_fini(&m);
}

static void the_newest_rows_are_kept(void **state)
{
    static const struct {
        size_t max, rows;
        uint64_t first;
    } rows[] = {{0, 4, 100}, {4, 4, 100}, {3, 3, 101}, {2, 2, 200}, {1, 1, 201}, {9, 4, 100}};
    struct fixture *f = *state;
    struct snapshot *both[2];
    struct matrix m;
    struct err err;

    both[0] = put(f, &OLD);
    both[1] = put(f, &NEW);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(matrix_load(&f->a, both, 2, ROW_TRAIN, rows[i].max, NULL, &m, &err), 0);
        assert_int_equal(m.rows, rows[i].rows);
        assert_int_equal(m.hash[0], rows[i].first);
        matrix_fini(&m);
    }
}

static void a_models_features_are_kept_to(void **state)
{
    char *categories[] = {"green", "blue"}, *classes[] = {"no", "yes"};
    struct snapshot_column columns[] = {
        {.name = "colour", .type = COLUMN_CATEGORY, .categories = categories, .n_categories = 2},
        {.name = "gone", .type = COLUMN_FLOAT},
        {.name = "a", .type = COLUMN_FLOAT}};
    struct matrix like = {.columns = columns, .n_columns = 3, .classes = classes, .n_classes = 2};
    struct fixture *f = *state;
    struct snapshot *both[2];
    struct matrix m;
    struct err err;

    both[0] = put(f, &OLD);
    both[1] = put(f, &NEW);
    assert_int_equal(matrix_load(&f->a, both, 2, ROW_TRAIN, 0, &like, &m, &err), 0);
    assert_int_equal(m.n_columns, 3);
    assert_int_equal(m.columns[0].n_categories, 2);
    assert_row(&m, 0, (const float[]){NAN, NAN, 1}); /* red is unknown to it */
    assert_row(&m, 1, (const float[]){1, NAN, 2});
    assert_row(&m, 3, (const float[]){0, NAN, 6});
    assert_true(m.y[0] == 0 && m.y[2] == 1);
    matrix_fini(&m);
    like.n_classes = 1; /* knows "no" only */
    assert_int_equal(matrix_load(&f->a, both, 1, ROW_TRAIN, 0, &like, &m, &err), 0);
    assert_true(m.y[0] == 0 && isnan(m.y[1]));
    matrix_fini(&m);
    like.n_classes = 0;
    assert_int_equal(matrix_load(&f->a, both, 1, ROW_TRAIN, 0, &like, &m, &err), 0);
    assert_int_equal(m.n_classes, 2);
    matrix_fini(&m);
}

static void a_column_that_changed_its_type_is_read_by_its_text(void **state)
{
    static const char *const mixed[] = {"7", "0.1", "x", NULL};
    static const struct sample_column number[] = {{"c", COLUMN_FLOAT, NULL},
                                                  {"d", COLUMN_BOOL, NULL}};
    static const char *const bools[] = {"true", "false", "maybe", NULL};
    static const struct sample_column text[] = {{"c", COLUMN_CATEGORY, mixed},
                                                {"d", COLUMN_CATEGORY, bools}};
    const struct sample_snapshot numbers = {.task = TASK_REGRESSION,
                                            .columns = number,
                                            .n_columns = 2,
                                            .rows = 3,
                                            .x = (const float[]){7, 1, 0.1f, 0, 2.5f, NAN},
                                            .y = (const float[]){1.5f, 2, 3}};
    const struct sample_snapshot texts = {.task = TASK_REGRESSION,
                                          .columns = text,
                                          .n_columns = 2,
                                          .rows = 3,
                                          .x = (const float[]){0, 0, 1, 1, 2, 2},
                                          .y = (const float[]){4, 5, 6}};
    struct fixture *f = *state;
    struct snapshot *order[2];
    struct matrix m;
    struct err err;

    order[0] = put(f, &numbers);
    order[1] = put(f, &texts);
    assert_int_equal(matrix_load(&f->a, order, 2, ROW_TRAIN, 0, NULL, &m, &err), 0);
    assert_int_equal(m.columns[0].type, COLUMN_CATEGORY);
    assert_row(&m, 0, (const float[]){0, 0});
    assert_row(&m, 1, (const float[]){1, 1});
    assert_row(&m, 2, (const float[]){3, NAN});
    assert_string_equal(m.columns[0].categories[3], "2.5");
    assert_row(&m, 5, (const float[]){2, 2});
    assert_true(m.y[0] == 1.5f && m.y[5] == 6);
    assert_int_equal(m.n_classes, 0);
    matrix_fini(&m);
    order[0] = f->made[1];
    order[1] = f->made[0];
    assert_int_equal(matrix_load(&f->a, order, 2, ROW_TRAIN, 0, NULL, &m, &err), 0);
    assert_int_equal(m.columns[0].type, COLUMN_FLOAT);
    assert_row(&m, 0, (const float[]){7, 1});
    assert_row(&m, 1, (const float[]){0.1f, 0});
    assert_row(&m, 2, (const float[]){NAN, NAN});
    matrix_fini(&m);
}

static void classes_of_several_snapshots_are_sorted(void **state)
{
    static const char *const first[] = {"9", "10", NULL}, *const second[] = {"2", "10", "11", NULL};
    static const struct sample_column columns[] = {{"a", COLUMN_FLOAT, NULL}};
    struct sample_snapshot spec = {.task = TASK_MULTICLASS,
                                   .classes = first,
                                   .columns = columns,
                                   .n_columns = 1,
                                   .rows = 2,
                                   .x = (const float[]){1, 2},
                                   .y = (const float[]){0, 1}};
    struct fixture *f = *state;
    struct snapshot *both[2];
    struct matrix m;
    struct err err;

    both[0] = put(f, &spec);
    spec.classes = second;
    both[1] = put(f, &spec);
    assert_int_equal(matrix_load(&f->a, both, 2, ROW_TRAIN, 0, NULL, &m, &err), 0);
    assert_int_equal(m.n_classes, 4);
    assert_string_equal(m.classes[0], "2");
    assert_string_equal(m.classes[1], "9");
    assert_string_equal(m.classes[3], "11");
    assert_true(m.y[0] == 1 && m.y[1] == 2 && m.y[2] == 0 && m.y[3] == 2);
    matrix_fini(&m);
}

static void snapshots_that_do_not_fit_together_are_refused(void **state)
{
    static const char *const other[] = {"no", "perhaps", NULL};
    struct fixture *f = *state;
    struct sample_snapshot spec = NEW;
    struct snapshot *pair[2];
    struct matrix m = {0};
    struct err err;

    pair[0] = put(f, &OLD);
    spec.classes = other;
    pair[1] = put(f, &spec);
    assert_int_equal(matrix_load(&f->a, pair, 2, ROW_TRAIN, 0, NULL, &m, &err), -1);
    assert_int_equal(err.code, ERR_INVAL);
    spec.classes = NO_YES;
    spec.label = "z";
    pair[1] = put(f, &spec);
    assert_int_equal(matrix_load(&f->a, pair, 2, ROW_TRAIN, 0, NULL, &m, &err), -1);
    spec.label = NULL;
    spec.task = TASK_MULTICLASS;
    pair[1] = put(f, &spec);
    assert_int_equal(matrix_load(&f->a, pair, 2, ROW_TRAIN, 0, NULL, &m, &err), -1);
    assert_int_equal(matrix_load(&f->a, NULL, 0, ROW_TRAIN, 0, NULL, &m, &err), -1);
    assert_null(m.x);
}

static void strings_keep_the_index_of_their_first_sight(void **state)
{
    struct strset s = {0};
    size_t n;
    char **items;

    (void)state;
    assert_int_equal(strset_find(&s, slice_str("x")), STRSET_NONE);
    for (size_t round = 0; round < 2; round++)
        for (size_t i = 0; i < 5000; i++) {
            char text[16];

            snprintf(text, sizeof(text), "%zu", i * i);
            assert_int_equal(strset_add(&s, slice_str(text)), i);
        }
    assert_int_equal(strset_find(&s, slice_str("16")), 4);
    assert_int_equal(strset_add(&s, slice_str("")), 5000);
    assert_int_equal(strset_find(&s, slice_str("17")), STRSET_NONE);
    items = strset_take(&s, &n);
    assert_int_equal(n, 5001);
    assert_string_equal(items[3], "9");
    for (size_t i = 0; i < n; i++)
        free(items[i]);
    free(items);
    strset_fini(&s);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_manifest_comes_back_whole),
        T(a_manifest_needs_no_store),
        T(the_same_content_has_the_same_digest),
        T(a_damaged_manifest_is_refused),
        T(data_of_another_shape_is_refused),
        T(a_matrix_joins_by_name_and_by_value),
        T(the_newest_rows_are_kept),
        T(a_models_features_are_kept_to),
        T(a_column_that_changed_its_type_is_read_by_its_text),
        T(classes_of_several_snapshots_are_sorted),
        T(snapshots_that_do_not_fit_together_are_refused),
        cmocka_unit_test(strings_keep_the_index_of_their_first_sight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
