/* Which model answers a request, and what the answer says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agents/serve/answer.h"
#include "agents/serve/route.h"
#include "common/json.h"
#include "tests/support/sample_model.h"

enum { KEYS = 20000 };

static int choose(const struct route_share *routes, size_t n, int i)
{
    char key[32];
    int key_n = snprintf(key, sizeof(key), "user-%d", i);

    return route_choose(routes, n, "line", key, (size_t)key_n);
}

static void one_champion_answers_all(void **state)
{
    static const struct route_share routes[] = {
        {.weight = 1, .is_champion = true, .generation = 3}};

    (void)state;
    for (int i = 0; i < 100; i++)
        assert_int_equal(choose(routes, 1, i), 0);
    assert_int_equal(route_choose(routes, 1, "line", NULL, 0), 0);
    assert_int_equal(route_choose(NULL, 0, "line", "k", 1), -1);
}

static void a_canary_has_its_share_of_the_keys(void **state)
{
    static const double shares[] = {0.01, 0.1, 0.5, 0.9, 1};

    (void)state;
    for (size_t s = 0; s < ARRAY_LEN(shares); s++) {
        struct route_share routes[] = {{1 - shares[s], true, 3}, {shares[s], false, 4}};
        int canary = 0;
        double share;

        for (int i = 0; i < KEYS; i++)
            canary += choose(routes, 2, i) == 1;
        share = (double)canary / KEYS;
        /* four standard errors of a share of a half */
        if (share < shares[s] - 0.015 || share > shares[s] + 0.015)
            fail_msg("%g of the keys, not %g", share, shares[s]);
    }
}

static void a_growing_share_only_adds_keys(void **state)
{
    static const double steps[] = {0.1, 0.25, 0.5, 1};

    (void)state;
    for (int i = 0; i < 2000; i++) {
        bool was_canary = false;

        for (size_t s = 0; s < ARRAY_LEN(steps); s++) {
            struct route_share routes[] = {{1 - steps[s], true, 3}, {steps[s], false, 4}};
            bool is_canary = choose(routes, 2, i) == 1;

            assert_true(is_canary || !was_canary);
            was_canary = is_canary;
        }
        assert_true(was_canary);
    }
}

static void the_order_of_routes_does_not_matter(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++) {
        struct route_share a[] = {{0.7, true, 3}, {0.3, false, 4}},
                           b[] = {{0.3, false, 4}, {0.7, true, 3}};

        assert_int_equal(choose(a, 2, i), 1 - choose(b, 2, i));
    }
}

/* So that it is not always the same users who are tried on. */
static void another_generation_takes_other_keys(void **state)
{
    int both = 0, first = 0;

    (void)state;
    for (int i = 0; i < KEYS; i++) {
        struct route_share a[] = {{0.9, true, 3}, {0.1, false, 4}},
                           b[] = {{0.9, true, 3}, {0.1, false, 5}};
        bool is_first = choose(a, 2, i) == 1;

        first += is_first;
        both += is_first && choose(b, 2, i) == 1;
    }
    assert_true(both < first / 5); /* a tenth of a tenth is expected */
}

static void several_challengers_share(void **state)
{
    static const struct route_share routes[] = {{0.2, false, 4}, {0.5, true, 3}, {0.3, false, 5}};
    int counts[3] = {0};

    (void)state;
    for (int i = 0; i < KEYS; i++)
        counts[choose(routes, 3, i)]++;
    assert_in_range(counts[0], KEYS * 18 / 100, KEYS * 22 / 100);
    assert_in_range(counts[1], KEYS * 48 / 100, KEYS * 52 / 100);
    assert_in_range(counts[2], KEYS * 28 / 100, KEYS * 32 / 100);
}

static void roles_are_words(void **state)
{
    (void)state;
    for (int r = ROUTE_CHAMPION; r <= ROUTE_OTHER; r++)
        assert_int_equal(route_role_parse(route_role_str((enum route_role)r)), r);
    assert_int_equal(route_role_parse("something new"), ROUTE_OTHER);
    assert_int_equal(route_role_parse(NULL), ROUTE_OTHER);
    assert_true(route_answers(ROUTE_CHAMPION, 0));
    assert_true(route_answers(ROUTE_CANARY, 0.1));
    assert_false(route_answers(ROUTE_CANARY, 0));
    assert_false(route_answers(ROUTE_SHADOW, 1));
    assert_false(route_answers(ROUTE_OTHER, 1));
}

/* ---- answers ---- */

static struct json *answer(const char *request, const char *classes, const double *outputs,
                           size_t rows, struct buf *out, size_t *json_bytes)
{
    struct model *m = sample_model("a:float", classes);
    struct oip_request rq = {0};
    struct err err = {0};
    struct answer_facts f = {.name = "p/s \"q\"",
                             .line = "p/s",
                             .role = "champion",
                             .generation = 7,
                             .model = m,
                             .prediction = "abc",
                             .outputs = outputs,
                             .rows = rows};
    struct json *j;

    if (oip_parse(slice_str(request), -1, &rq, &err) ||
        answer_write(&rq, &f, out, json_bytes, &err))
        fail_msg("%s", err.msg);
    j = json_parse((struct slice){out->data, *json_bytes ? *json_bytes : out->len}, "answer", &err);
    if (!j)
        fail_msg("%s: %s", err.msg, out->data);
    oip_request_fini(&rq);
    model_free(m);
    return j;
}

#define INPUTS "\"inputs\":[{\"name\":\"a\",\"shape\":[1],\"datatype\":\"FP32\",\"data\":[1]}]"

static void expect(const char *request, const char *classes, const double *outputs, size_t rows,
                   const char *path, const char *expected)
{
    CLEANUP(buf_fini) struct buf out = {0}, text = {0};
    size_t json_bytes = 0;
    struct json *j = answer(request, classes, outputs, rows, &out, &json_bytes);

    json_write(json_get(j, path), 0, false, &text);
    assert_string_equal(text.data, expected);
    json_free(j);
}

static void an_answer_names_everything(void **state)
{
    static const double p[] = {0.25, 0.75};

    (void)state;
    expect("{\"id\":\"r1\"," INPUTS "}", "no yes", p, 2, "id", "\"r1\"");
    expect("{" INPUTS "}", "no yes", p, 2, "id", "\"abc\"");
    expect("{" INPUTS "}", "no yes", p, 2, "model_name", "\"p/s \\\"q\\\"\"");
    expect("{" INPUTS "}", "no yes", p, 2, "model_version", "\"7\"");
    expect("{" INPUTS "}", "no yes", p, 2, "parameters",
           "{\"prediction\":\"abc\",\"line\":\"p/s\",\"generation\":7,\"model\":"
           "\"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd\",\"role\":"
           "\"champion\","
           "\"classes\":[\"no\",\"yes\"]}");
}

static void outputs_are_those_of_the_task(void **state)
{
    static const double p[] = {0.25, 0.75}, k[] = {0.2, 0.5, 0.3, 0.4, 0.4, 0.2}, v[] = {-1.5, 1e6};

    (void)state;
    expect(
        "{" INPUTS "}", "no yes", p, 2, "outputs",
        "[{\"name\":\"probability\",\"shape\":[2,1],\"datatype\":\"FP64\",\"data\":[0.25,0.75]},"
        "{\"name\":\"label\",\"shape\":[2,1],\"datatype\":\"BYTES\",\"data\":[\"no\",\"yes\"]}]");
    expect("{" INPUTS "}", "x y z", k, 2, "outputs",
           "[{\"name\":\"probabilities\",\"shape\":[2,3],\"datatype\":\"FP64\",\"data\":[0.2,0.5,0."
           "3,0.4,"
           "0.4,0.2]},{\"name\":\"label\",\"shape\":[2,1],\"datatype\":\"BYTES\",\"data\":[\"y\","
           "\"x\"]}]");
    expect("{" INPUTS "}", "", v, 2, "outputs",
           "[{\"name\":\"value\",\"shape\":[2,1],\"datatype\":\"FP64\",\"data\":[-1.5,1000000]}]");
    expect(
        "{\"outputs\":[{\"name\":\"label\"}]," INPUTS "}", "no yes", p, 2, "outputs",
        "[{\"name\":\"label\",\"shape\":[2,1],\"datatype\":\"BYTES\",\"data\":[\"no\",\"yes\"]}]");
}

static void outputs_may_be_raw_bytes(void **state)
{
    static const double p[] = {0.25, 0.75};
    CLEANUP(buf_fini) struct buf out = {0};
    size_t json_bytes = 0;
    struct json *j = answer("{\"parameters\":{\"binary_data_output\":true}," INPUTS "}", "no yes",
                            p, 2, &out, &json_bytes);
    const struct json *outputs = json_get(j, "outputs");

    (void)state;
    assert_int_equal(
        json_get_int(json_get(json_at(outputs, 0), "parameters"), "binary_data_size", 0), 16);
    assert_int_equal(
        json_get_int(json_get(json_at(outputs, 1), "parameters"), "binary_data_size", 0), 13);
    assert_int_equal(out.len, json_bytes + 16 + 13);
    assert_memory_equal(out.data + json_bytes, p, 16);
    assert_memory_equal(out.data + json_bytes + 16, "\2\0\0\0no\3\0\0\0yes", 13);
    json_free(j);
}

static void an_output_that_is_none_is_refused(void **state)
{
    struct model *m = sample_model("a:float", "no yes");
    CLEANUP(buf_fini) struct buf out = {0};
    struct oip_request rq = {0};
    struct err err = {0};
    double p = 0.5;
    struct answer_facts f = {.name = "p",
                             .line = "p",
                             .role = "champion",
                             .model = m,
                             .prediction = "x",
                             .outputs = &p,
                             .rows = 1};
    size_t json_bytes;

    (void)state;
    assert_int_equal(
        oip_parse(slice_str("{\"outputs\":[{\"name\":\"shap\"}]," INPUTS "}"), -1, &rq, &err), 0);
    assert_int_equal(answer_write(&rq, &f, &out, &json_bytes, &err), -1);
    assert_string_equal(err.msg,
                        "outputs[0]: there is no output 'shap', but 'probability' and 'label'");
    oip_request_fini(&rq);
    model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_champion_answers_all),
        cmocka_unit_test(a_canary_has_its_share_of_the_keys),
        cmocka_unit_test(a_growing_share_only_adds_keys),
        cmocka_unit_test(the_order_of_routes_does_not_matter),
        cmocka_unit_test(another_generation_takes_other_keys),
        cmocka_unit_test(several_challengers_share),
        cmocka_unit_test(roles_are_words),
        cmocka_unit_test(an_answer_names_everything),
        cmocka_unit_test(outputs_are_those_of_the_task),
        cmocka_unit_test(outputs_may_be_raw_bytes),
        cmocka_unit_test(an_output_that_is_none_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
