/* Model manifests: what is put is read back, damage and forgery are seen, values become features.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/fsx.h"
#include "common/model.h"
#include "tests/support/tmpdir.h"

static const char HEX[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static char **strings(size_t n, const char *const *items)
{
    char **copy = xcalloc(n + 1, sizeof(*copy));

    for (size_t i = 0; i < n; i++)
        copy[i] = xstrdup(items[i]);
    return copy;
}

static struct model *sample(enum task task)
{
    static const char *const names[] = {"price", "day", "when", "open", "code"},
                             *const days[] = {"mon", "tue", "3"},
                             *const classes[] = {"DOWN", "UP", "1"};
    static const enum column_type types[] = {COLUMN_FLOAT, COLUMN_CATEGORY, COLUMN_DATE,
                                             COLUMN_BOOL, COLUMN_INT};
    struct model *m = xcalloc(1, sizeof(*m));

    m->line = xstrdup("electricity/nsw");
    m->run = xstrdup("r1");
    m->pipeline = xstrdup("electricity");
    m->pipeline_sha256 = xstrdup(HEX);
    m->trainer = xstrdup("xgboost");
    m->format = xstrdup("ubj");
    memcpy(m->file, HEX, DIGEST_HEX_SIZE);
    memcpy(m->profile, HEX, DIGEST_HEX_SIZE);
    m->file_bytes = 4711;
    m->task = task;
    m->shape.n_columns = ARRAY_LEN(names);
    m->shape.columns = xcalloc(ARRAY_LEN(names), sizeof(*m->shape.columns));
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        m->shape.columns[i] = (struct snapshot_column){.name = xstrdup(names[i]), .type = types[i]};
    m->shape.columns[1].categories = strings(3, days);
    m->shape.columns[1].n_categories = 3;
    m->shape.n_classes = task == TASK_BINARY ? 2 : task == TASK_MULTICLASS ? 3 : 0;
    m->shape.classes = strings(m->shape.n_classes, classes);
    m->snapshots = strings(1, (const char *const[]){HEX});
    m->n_snapshots = 1;
    m->trained_rows = 100;
    m->rounds = 50;
    m->trials = 1;
    m->params = json_object();
    json_set_num(m->params, "eta", 0.1);
    return m;
}

struct fixture {
    struct tmpdir dir;
    struct artifacts a;
    struct sign_key *key;
};

static int setup(void **state)
{
    static struct fixture f;
    struct err err = {0};

    tmpdir_init(&f.dir);
    if (artifacts_open(tmpdir_join(&f.dir, "store"), &f.a, &err) ||
        sign_key_load(tmpdir_join(&f.dir, "key"), &f.key, &err))
        fail_msg("%s", err.msg);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    sign_key_free(f->key);
    artifacts_close(&f->a);
    tmpdir_fini(&f->dir);
    return 0;
}

static void a_manifest_is_read_back(void **state)
{
    struct fixture *f = *state;

    for (enum task t = TASK_BINARY; t <= TASK_REGRESSION; t++) {
        struct model *m = sample(t), *back = NULL;
        struct err err = {0};

        assert_int_equal(model_put(&f->a, m, t == TASK_BINARY ? NULL : f->key, &err), 0);
        if (model_open(&f->a, m->digest, &back, &err))
            fail_msg("%s", err.msg);
        assert_string_equal(back->digest, m->digest);
        assert_string_equal(back->line, "electricity/nsw");
        assert_int_equal(back->task, t);
        assert_int_equal(back->shape.n_columns, 5);
        assert_string_equal(back->shape.columns[1].categories[2], "3");
        assert_int_equal(back->shape.columns[2].type, COLUMN_DATE);
        assert_int_equal(back->shape.n_classes, m->shape.n_classes);
        assert_int_equal(back->file_bytes, 4711);
        assert_true(json_get_num(back->params, "eta", 0) == 0.1);
        assert_string_equal(back->signature, m->signature);
        assert_int_equal(strlen(back->signature), t == TASK_BINARY ? 0 : 128);
        model_free(back);
        model_free(m);
    }
}

static void the_same_model_has_the_same_digest(void **state)
{
    struct fixture *f = *state;
    struct model *a = sample(TASK_BINARY), *b = sample(TASK_BINARY);
    CLEANUP(buf_fini) struct buf text = {0};
    char sealed[DIGEST_HEX_SIZE];
    struct err err = {0};

    assert_int_equal(model_put(&f->a, a, f->key, &err), 0);
    assert_int_equal(model_seal(b, f->key, &text, &err), 0);
    assert_string_equal(a->digest, b->digest);
    digest_bytes(text.data, text.len, sealed);
    assert_string_equal(sealed, b->digest);
    b->rounds++;
    assert_int_equal(model_seal(b, f->key, &text, &err), 0);
    assert_string_not_equal(a->digest, b->digest);
    model_free(a);
    model_free(b);
}

/* Stores the manifest with one piece of text in place of another; opens it. */
static int open_changed(struct fixture *f, const char *from, const char *to, struct err *err)
{
    struct model *m = sample(TASK_BINARY), *back = NULL;
    CLEANUP(buf_fini) struct buf text = {0};
    CLEANUP(buf_fini) struct buf changed = {0};
    char digest[DIGEST_HEX_SIZE], *at;
    int rc;

    assert_int_equal(model_seal(m, f->key, &text, err), 0);
    at = strstr(text.data, from);
    if (!at)
        fail_msg("no %s in %s", from, text.data);
    buf_add(&changed, text.data, (size_t)(at - text.data));
    buf_add_str(&changed, to);
    buf_add_str(&changed, at + strlen(from));
    assert_int_equal(artifacts_put(&f->a, changed.data, changed.len, digest, err), 0);
    rc = model_open(&f->a, digest, &back, err);
    model_free(back);
    model_free(m);
    return rc;
}

static void damage_and_forgery_are_seen(void **state)
{
    static const struct {
        const char *from, *to;
    } rows[] = {
        {"\"rounds\": 50", "\"rounds\": 51"},
        {"\"format\": \"relearn/model/1\"", "\"format\": \"relearn/model/9\""},
        {"\"task\": \"binary\"", "\"task\": \"regression\""},
        {"\"task\": \"binary\"", "\"task\": \"other\""},
        {"\"type\": \"date\"", "\"type\": \"dates\""},
        {"\"format\": \"ubj\"", "\"format\": \"pickle\""},
        {"\"bytes\": 4711", "\"bytes\": -1"},
        {"\"bytes\": 4711", "\"bytes\": 99999999999"},
        {"\"columns\": [", "\"column\": ["},
        {"\"run\": \"r1\"", "\"run\": 1"},
        {"\"signature\": \"", "\"signature\": \"00"},
        {"\"params\": {", "\"params\": [], \"p\": {"},
        {"{", "{\"new\": 1,"},
        {"\"trials\"", "\"trial\""},
    };
    struct fixture *f = *state;
    struct err err = {0};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        err = (struct err){0};
        if (open_changed(f, rows[i].from, rows[i].to, &err) == 0)
            fail_msg("taken: %s", rows[i].to);
        print_message("%s\n", err.msg);
        assert_int_equal(err.next, NEXT_REJECT);
    }
    assert_int_equal(open_changed(f, "\"rounds\": 50", "\"rounds\":  50", &err),
                     0); /* blanks are not signed */
}

static void a_missing_manifest_may_come(void **state)
{
    struct fixture *f = *state;
    struct model *m = NULL;
    struct err err = {0};

    assert_int_equal(model_open(&f->a, HEX, &m, &err), -1);
    assert_int_equal(err.code, ERR_NOTFOUND);
    assert_int_equal(err.next, NEXT_RETRY);
}

static void values_become_features(void **state)
{
    static const struct {
        const char *column, *json;
        double expected; /* NaN: missing */
        bool is_wrong;
    } rows[] = {
        {"price", "1.5", 1.5, false},
        {"price", "null", (double)NAN, false},
        {"price", "\"1.5\"", 0, true},
        {"price", "[1]", 0, true},
        {"price", "true", 1, false},
        {"day", "\"tue\"", 1, false},
        {"day", "\"sun\"", (double)NAN, false},
        {"day", "3", 2, false},
        {"day", "4", (double)NAN, false},
        {"open", "\"true\"", 1, false},
        {"open", "false", 0, false},
        {"open", "\"yes\"", 0, true},
        {"when", "\"1970-01-02T00:00:00Z\"", 86400, false},
        {"when", "\"tomorrow\"", 0, true},
        {"when", "86400", 86400, false},
        {"code", "7", 7, false},
    };
    struct model *m = sample(TASK_BINARY);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP_FREE char *text = xasprintf("{\"v\": %s}", rows[i].json);
        struct json *j = json_parse(slice_str(text), "v", NULL);
        struct err err = {0};
        float v = -1;
        int rc = model_encode_cell(m, (size_t)model_column(m, rows[i].column), json_get(j, "v"), &v,
                                   &err);

        print_message("%s %s\n", rows[i].column, rows[i].json);
        assert_int_equal(rc, rows[i].is_wrong ? -1 : 0);
        if (rc)
            assert_non_null(strstr(err.msg, rows[i].column));
        else if (isnan(rows[i].expected))
            assert_true(isnan(v));
        else
            assert_true((double)v == rows[i].expected);
        json_free(j);
    }
    assert_int_equal(model_column(m, "none"), -1);
    model_free(m);
}

static void labels_become_classes_or_values(void **state)
{
    struct model *binary = sample(TASK_BINARY), *several = sample(TASK_MULTICLASS),
                 *value = sample(TASK_REGRESSION);

    (void)state;
    assert_true(model_label(binary, "UP") == 1);
    assert_true(model_label(binary, "DOWN") == 0);
    assert_true(isnan(model_label(binary, "up")));
    assert_true(model_label(several, "1") == 2);
    assert_true(model_label(several, "1.0") == 2);
    assert_true(isnan(model_label(several, "2")));
    assert_true(model_label(value, "3.5") == 3.5);
    assert_true(isnan(model_label(value, "UP")));
    model_free(binary);
    model_free(several);
    model_free(value);
}

static void the_prediction_of_a_profile_is_one_number(void **state)
{
    static const double outputs[] = {0.2, 0.5, 0.3};

    (void)state;
    assert_true(model_prediction_scalar(TASK_BINARY, outputs, 1) == 0.2);
    assert_true(model_prediction_scalar(TASK_REGRESSION, outputs, 1) == 0.2);
    assert_true(model_prediction_scalar(TASK_MULTICLASS, outputs, 3) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_manifest_is_read_back),
        cmocka_unit_test(the_same_model_has_the_same_digest),
        cmocka_unit_test(damage_and_forgery_are_seen),
        cmocka_unit_test(a_missing_manifest_may_come),
        cmocka_unit_test(values_become_features),
        cmocka_unit_test(labels_become_classes_or_values),
        cmocka_unit_test(the_prediction_of_a_profile_is_one_number),
    };

    return cmocka_run_group_tests_name("model", tests, setup, teardown);
}
