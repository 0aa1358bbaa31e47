/* Model files from outside: those of another XGBoost, and damaged ones, which must never end the
 * process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/fsx.h"
#include "common/mem.h"
#include "common/rng.h"
#include "common/xgb.h"
#include "tests/support/sample_rows.h"

#define FOLDER "tests/golden/xgboost/"

static void read_golden(const char *name, struct buf *ret)
{
    CLEANUP_FREE char *path = xasprintf(FOLDER "%s", name);
    struct err err = {0};

    if (fsx_read_file(path, 1 << 20, ret, &err))
        fail_msg("%s", err.msg);
}

static void models_of_a_newer_xgboost_answer_as_they_do_there(void **state)
{
    static const float rows[] = {.9f, .2f, .1f, 1, .1f,        .2f, .9f, 4,
                                 .7f, .3f, .2f, 0, (float)NAN, .3f, .2f, 2};
    static const struct {
        const char *name;
        size_t outputs;
        double expected[12]; /* XGBoost 3.2.0 */
    } models[] = {
        {"binary.ubj", 1, {0.569495261, 0.325683743, 0.673995197, 0.569495261}},
        {"binary.json", 1, {0.569495261, 0.325683743, 0.673995197, 0.569495261}},
        {"several.ubj",
         3,
         {0.145705953, 0.146602735, 0.707691371, 0.707158029, 0.14708586, 0.145756111, 0.145705953,
          0.146602735, 0.707691371, 0.145705953, 0.146602735, 0.707691371}},
        {"value.ubj", 1, {114.983871, 104.911873, 112.691483, 114.983871}},
        {"dart.json", 1, {0.582457602, 0.340810478, 0.685548425, 0.582457602}},
        {"categories.ubj", 1, {0.185418263, 0.71346122, 0.790552974, 0.790552974}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(models); i++) {
        CLEANUP(buf_fini) struct buf text = {0};
        struct err err = {0};
        struct xgb *x = NULL;
        double out[12];

        print_message("%s\n", models[i].name);
        read_golden(models[i].name, &text);
        if (xgb_check(buf_slice(&text), 4, &err) || xgb_load(buf_slice(&text), &x, &err))
            fail_msg("%s", err.msg);
        assert_int_equal(xgb_outputs(x), models[i].outputs);
        assert_int_equal(xgb_predict(x, rows, 4, out, &err), 0);
        for (size_t k = 0; k < 4 * models[i].outputs; k++)
            assert_true(fabs(out[k] - models[i].expected[k]) <= 1e-6 * fabs(models[i].expected[k]));
        xgb_free(x);
    }
}

static void kinds_that_cannot_be_served_are_refused_in_words(void **state)
{
    static const struct {
        const char *name;
        size_t features;
        const char *says;
    } rows[] = {
        {"linear.ubj", 4, "neither gbtree nor dart"},
        {"intercepts.ubj", 4, "base_score is not the same for all classes"},
        {"binary.ubj", 5, "made for 4 features, not 5"},
        {"README.md", 4, "neither UBJ nor JSON"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(buf_fini) struct buf text = {0};
        struct err err = {0};

        read_golden(rows[i].name, &text);
        assert_int_equal(xgb_check(buf_slice(&text), rows[i].features, &err), -1);
        print_message("%s\n", err.msg);
        assert_non_null(strstr(err.msg, rows[i].says));
        assert_int_equal(err.next, NEXT_REJECT);
    }
}

static void a_model_must_fit_its_task(void **state)
{
    static const struct {
        const char *name;
        bool fits[3];
    } rows[] = {{"binary.ubj", {true, false, false}},
                {"several.ubj", {false, true, false}},
                {"value.ubj", {false, false, true}}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(buf_fini) struct buf text = {0};
        struct err err = {0};
        struct xgb *x = NULL;

        read_golden(rows[i].name, &text);
        assert_int_equal(xgb_load(buf_slice(&text), &x, &err), 0);
        for (enum task t = TASK_BINARY; t <= TASK_REGRESSION; t++)
            assert_int_equal(xgb_fits(x, t,
                                      t == TASK_MULTICLASS ? 3
                                      : t == TASK_BINARY   ? 2
                                                           : 0,
                                      &err),
                             rows[i].fits[t] ? 0 : -1);
        assert_int_equal(xgb_fits(x, TASK_MULTICLASS, 4, &err), -1);
        xgb_free(x);
    }
}

/* ---- damage ---- */

/* Text in JSON with one piece in place of another, both as they are written there. */
static int check_changed(const char *from, const char *to, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = {0};
    CLEANUP(buf_fini) struct buf changed = {0};
    char *at;

    read_golden("binary.json", &text);
    at = strstr(text.data, from);
    if (!at)
        fail_msg("no %s in the model", from);
    buf_add(&changed, text.data, (size_t)(at - text.data));
    buf_add_str(&changed, to);
    buf_add_str(&changed, at + strlen(from));
    return xgb_check(buf_slice(&changed), 4, err);
}

static void what_xgboost_would_follow_blindly_is_refused(void **state)
{
    static const struct {
        const char *from, *to, *says;
    } rows[] = {
        {"\"left_children\":[1,", "\"left_children\":[1000000,", "children that are no nodes"},
        {"\"left_children\":[1,", "\"left_children\":[0,", "children that are no nodes"},
        {"\"left_children\":[1,", "\"left_children\":[2,", "children that are no nodes"},
        {"\"left_children\":[1,", "\"left_children\":[-7,", "children that are no nodes"},
        {"\"left_children\":[1,", "\"left_children\":[-1,", "children that are no nodes"},
        {"\"left_children\":[1,", "\"left_children\":[1.5,", "children that are no nodes"},
        {"\"left_children\":[1,", "\"left_children\":[\"1\",", "holds other than numbers"},
        {"\"left_children\":[1,", "\"left_children\":[1,1,", "another length"},
        {"\"parents\":[2147483647,0,", "\"parents\":[2147483647,2,", "children that are no nodes"},
        {"\"split_indices\":[", "\"split_indices\":[9", "a feature that the model does not have"},
        {"\"split_type\":[0", "\"split_type\":[1", "without its categories"},
        {"\"split_type\":[0", "\"split_type\":[3", "unknown type"},
        {"\"categories_nodes\":[]", "\"categories_nodes\":[0]", "different lengths"},
        {"\"num_nodes\":\"", "\"num_nodes\":\"9", "another length"},
        {"\"num_nodes\":\"", "\"num_nodes\":\"-", "number of nodes"},
        {"\"num_feature\":\"4\"", "\"num_feature\":\"3\"", "number of features"},
        {"\"num_trees\":\"3\"", "\"num_trees\":\"4\"", "number of trees"},
        {"\"tree_info\":[0,", "\"tree_info\":[1,", "a class that the model does not have"},
        {"\"tree_info\":[0,", "\"tree_info\":[", "another length than the trees"},
        {"\"num_class\":\"0\"", "\"num_class\":\"5\"", "classes"},
        {"\"num_target\":\"1\"", "\"num_target\":\"2\"", "several targets"},
        {"\"base_score\":\"[", "\"base_score\":\"[x", "base_score is no number"},
        {"\"gradient_booster\"", "\"other\"", "gradient_booster"},
        {"\"version\":[3,", "\"version\":[", "version"},
        {"\"size_leaf_vector\":\"1\"", "\"size_leaf_vector\":\"2\"", "several values"},
        {"\"enc\":[]", "\"enc\":[1]", "categories are coded inside the model"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = {0};

        if (check_changed(rows[i].from, rows[i].to, &err) == 0)
            fail_msg("taken: %s", rows[i].to);
        if (!strstr(err.msg, rows[i].says))
            fail_msg("%s: %s", rows[i].to, err.msg);
        assert_int_equal(err.code, ERR_CODEC);
    }
}

static void mutate(struct buf *text, struct rng *r)
{
    size_t n = 1 + rng_below(r, 4);

    if (rng_below(r, 8) == 0) { /* cut */
        text->len = rng_below(r, text->len);
        return;
    }
    while (n-- > 0) {
        size_t at = rng_below(r, text->len);

        if (rng_below(r, 3) == 0 && at + 8 < text->len) { /* a length or an index blown up */
            for (size_t i = 0; i < 4; i++)
                text->data[at + i] = (char)(rng_below(r, 2) ? 0xFF : 0x7F);
        } else {
            text->data[at] = (char)(text->data[at] ^ (1 << rng_below(r, 8)));
        }
    }
}

/* Of such models XGBoost alone ended its process at one in seven. */
static void no_damaged_model_ends_the_process(void **state)
{
    static const char *const names[] = {"binary.ubj",  "several.ubj", "categories.ubj",
                                        "binary.json", "dart.json",   "value.ubj"};
    float row[] = {0.3f, 0.2f, 0.9f, 4};
    size_t refused = 0, failed = 0, loaded = 0;
    struct rng r;

    (void)state;
    rng_seed(&r, 4711);
    for (size_t i = 0; i < 1200; i++) {
        CLEANUP(buf_fini) struct buf text = {0};
        struct err err = {0};
        struct xgb *x = NULL;
        double out[3];

        read_golden(names[i % ARRAY_LEN(names)], &text);
        mutate(&text, &r);
        if (xgb_check(buf_slice(&text), 4, &err)) {
            assert_true(err.code == ERR_CODEC || err.code == ERR_LIMIT);
            assert_true(err.msg[0] != '\0');
            refused++;
        } else if (xgb_load(buf_slice(&text), &x, &err)) {
            failed++;
        } else {
            assert_int_equal(xgb_predict(x, row, 1, out, &err), 0);
            loaded++;
        }
        xgb_free(x);
    }
    print_message("%zu refused, %zu failed to load, %zu loaded\n", refused, failed, loaded);
    assert_true(refused > 600 && loaded > 0);
}

static void empty_and_foreign_texts_are_refused(void **state)
{
    static const char deep[] = "{L\0\0\0\0\0\0\0\001a{L\0\0\0\0\0\0\0\001a";
    static const struct slice texts[] = {
        {"", 0},   {"{", 1},    {"{}", 2},     {"{\"a\":1}", 7},
        {"[]", 2}, {"binf", 4}, {"{\"a\"", 4}, {deep, sizeof(deep) - 1}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct err err = {0};

        assert_int_equal(xgb_check(texts[i], 0, &err), -1);
        assert_int_equal(err.code, ERR_CODEC);
    }
}

static void a_nest_without_end_is_refused(void **state)
{
    CLEANUP(buf_fini) struct buf text = {0};
    struct err err = {0};

    (void)state;
    for (int i = 0; i < 100000; i++)
        buf_add(&text, "{L\0\0\0\0\0\0\0\001a", 11);
    assert_int_equal(xgb_check(buf_slice(&text), 0, &err), -1);
    assert_non_null(strstr(err.msg, "nested too deep"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_of_a_newer_xgboost_answer_as_they_do_there),
        cmocka_unit_test(kinds_that_cannot_be_served_are_refused_in_words),
        cmocka_unit_test(a_model_must_fit_its_task),
        cmocka_unit_test(what_xgboost_would_follow_blindly_is_refused),
        cmocka_unit_test(no_damaged_model_ends_the_process),
        cmocka_unit_test(empty_and_foreign_texts_are_refused),
        cmocka_unit_test(a_nest_without_end_is_refused),
    };

    return cmocka_run_group_tests_name("xgb_check", tests, NULL, NULL);
}
