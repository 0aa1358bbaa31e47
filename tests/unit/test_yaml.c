#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/yaml.h"

struct fixture {
    struct arena arena;
};

static int setup(void **state)
{
    static struct fixture f;

    memset(&f, 0, sizeof(f));
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    arena_fini(&f->arena);
    return 0;
}

static const struct yaml_node *parse(struct fixture *f, const char *text)
{
    const struct yaml_node *n = NULL;
    struct err err = {0};

    if (yaml_parse(slice_str(text), "p.yaml", &f->arena, &n, &err))
        fail_msg("%s", err.msg);
    return n;
}

static const char *scalar(const struct yaml_node *mapping, const char *key)
{
    const struct yaml_node *n = yaml_get(mapping, key);

    assert_non_null(n);
    assert_int_equal(n->kind, YAML_SCALAR);
    return n->scalar;
}

static void a_pipeline_becomes_a_tree_with_places(void **state)
{
    const struct yaml_node *n = parse(*state, "name: electricity   # a comment\n"
                                              "dataset: {name: nsw, time: null}\n"
                                              "gate:\n"
                                              "  rules:\n"
                                              "    - {metric: auc, at_least: 0.70}\n"
                                              "    - metric: logloss\n"
                                              "      by: \"0.02\"\n"
                                              "steps: [10, 50, 100]\n");
    const struct yaml_node *rules, *by, *steps;

    assert_int_equal(n->kind, YAML_MAPPING);
    assert_int_equal(n->n, 4);
    assert_string_equal(scalar(n, "name"), "electricity");
    assert_string_equal(n->keys[2], "gate");
    assert_int_equal(n->key_lines[2], 3);
    assert_true(yaml_is_null(yaml_get(yaml_get(n, "dataset"), "time")));
    rules = yaml_get(yaml_get(n, "gate"), "rules");
    assert_int_equal(rules->kind, YAML_SEQUENCE);
    assert_int_equal(rules->n, 2);
    assert_string_equal(scalar(rules->items[0], "at_least"), "0.70");
    by = yaml_get(rules->items[1], "by");
    assert_string_equal(by->scalar, "0.02");
    assert_true(by->quoted);
    assert_int_equal(by->line, 7);
    assert_int_equal(by->column, 11);
    steps = yaml_get(n, "steps");
    assert_int_equal(steps->n, 3);
    assert_string_equal(steps->items[2]->scalar, "100");
    assert_false(steps->items[2]->quoted);
    assert_int_equal(steps->items[2]->column, 17);
    assert_null(yaml_get(n, "none"));
    assert_null(yaml_get(steps, "none"));
    assert_null(yaml_get(NULL, "none"));
}

static void text_keeps_its_bytes_and_whether_it_was_quoted(void **state)
{
    static const struct {
        const char *yaml, *text;
        bool quoted, null;
    } rows[] = {
        {"v: 1", "1", false, false},
        {"v: '1'", "1", true, false},
        {"v: \"a\\tb\\u00e9\"", "a\tb\xc3\xa9", true, false},
        {"v: two words", "two words", false, false},
        {"v: |\n  a\n  b\n", "a\nb\n", true, false},
        {"v: >\n  a\n  b\n", "a b\n", true, false},
        {"v:", "", false, true},
        {"v: ''", "", true, false},
        {"v: ~", "~", false, true},
        {"v: Null", "Null", false, true},
        {"v: 'null'", "null", true, false},
        {"v: nullable", "nullable", false, false},
        {"\xef\xbb\xbfv: x", "x", false, false},
        {"%YAML 1.2\n---\nv: x\n...\n", "x", false, false},
        {"v: x\r\n", "x", false, false},
        {"{\"v\": \"json\"}", "json", true, false},
        {"v: \xf0\x9f\x8c\x8d", "\xf0\x9f\x8c\x8d", false, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct yaml_node *v = yaml_get(parse(*state, rows[i].yaml), "v");

        assert_non_null(v);
        assert_string_equal(v->scalar, rows[i].text);
        if (v->quoted != rows[i].quoted || yaml_is_null(v) != rows[i].null)
            fail_msg("row %zu: %s", i, rows[i].yaml);
    }
    assert_true(yaml_is_null(NULL));
    assert_false(yaml_is_null(parse(*state, "[]")));
}

static void what_has_two_meanings_or_none_is_refused_with_its_place(void **state)
{
    static const struct {
        const char *yaml, *message;
    } bad[] = {
        {"", "p.yaml:1:1: there is nothing in it"},
        {"# only a comment\n", "p.yaml:1:1: there is nothing in it"},
        {"a: 1\nb: 2\na: 3\n", "p.yaml:3:1: key \"a\" is there already, on line 1"},
        {"a: {b: 1, \"b\": 2}", "p.yaml:1:11: key \"b\" is there already, on line 1"},
        {"a: &x 1\n", "p.yaml:1:4: anchors"},
        {"a: &x {b: 1}\n", "p.yaml:1:4: anchors"},
        {"a: &x [b]\n", "p.yaml:1:4: anchors"},
        {"a: 1\nb: *x\n", "p.yaml:2:4: aliases"},
        {"a: !!str 1\n", "p.yaml:1:4: tags"},
        {"a: ! 1\n", "p.yaml:1:4: tags"},
        {"a: !x {b: 1}\n", "p.yaml:1:4: tags"},
        {"a: !x [b]\n", "p.yaml:1:4: tags"},
        {"%TAG ! tag:x,2000:\n---\na: 1\n", "p.yaml:1:1: %TAG"},
        {"a: 1\n---\nb: 2\n", "p.yaml:2:1: a second document begins"},
        {"{a: 1}: 2\n", "p.yaml:1:1: a key must be plain text"},
        {"? [a]\n: 2\n", "p.yaml:1:3: a key must be plain text"},
        {"a: \"x\\0y\"\n", "p.yaml:1:4: a value must not contain \\0"},
        {"a: [1, 2\nb: 3\n", "p.yaml:2:"},
        {"a: 1\n\tb: 2\n", "p.yaml:2:"},
        {"a: 'open\n", "p.yaml:2:1: while scanning a quoted scalar"},
        {"ok: 1\nb: \xff\n", "p.yaml:2:4: "},
        {"ok: 1\nb: \x07\n", "p.yaml:2:4: control characters are not allowed"},
        {"a: b: c\n", "p.yaml:1:5: mapping values are not allowed in this context"},
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct fixture *f = *state;
        const struct yaml_node *n = NULL;
        struct err err = {0};

        assert_int_equal(yaml_parse(slice_str(bad[i].yaml), "p.yaml", &f->arena, &n, &err), -1);
        assert_null(n);
        assert_int_equal(err.code, ERR_INVAL);
        assert_int_equal(err.next, NEXT_REJECT);
        if (!str_has_prefix(err.msg, bad[i].message))
            fail_msg("row %zu: \"%s\", not \"%s\"", i, err.msg, bad[i].message);
    }
}

static void nesting_is_allowed_to_32_levels(void **state)
{
    struct fixture *f = *state;
    char text[256];

    for (int depth = 31; depth <= 34; depth++) {
        const struct yaml_node *n;
        struct err err = {0};
        int rc;

        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        text[2 * depth] = '\0';
        rc = yaml_parse(slice_str(text), "p.yaml", &f->arena, &n, &err);
        assert_int_equal(rc, depth <= 32 ? 0 : -1);
        if (rc)
            assert_string_equal(err.msg, "p.yaml:1:33: nested more than 32 levels deep");
    }
}

static void a_text_above_its_caps_is_refused(void **state)
{
    struct fixture *f = *state;
    CLEANUP(buf_fini) struct buf b = {0};
    const struct yaml_node *n;
    struct err err = {0};

    for (int i = 0; i < 10000; i++)
        buf_addf(&b, "k%d: 1\n", i);
    assert_int_equal(yaml_parse(buf_slice(&b), "p.yaml", &f->arena, &n, &err), 0);
    assert_int_equal(n->n, 10000);
    buf_add_str(&b, "one: more\n");
    assert_int_equal(yaml_parse(buf_slice(&b), "p.yaml", &f->arena, &n, &err), -1);
    assert_string_equal(err.msg, "p.yaml:10001:1: more than 10000 keys in one mapping");
    assert_int_equal(yaml_parse((struct slice){"x", (1 << 20) + 1}, "p.yaml", &f->arena, &n, &err),
                     -1);
    assert_int_equal(err.code, ERR_LIMIT);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_pipeline_becomes_a_tree_with_places),
        T(text_keeps_its_bytes_and_whether_it_was_quoted),
        T(what_has_two_meanings_or_none_is_refused_with_its_place),
        T(nesting_is_allowed_to_32_levels),
        T(a_text_above_its_caps_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
