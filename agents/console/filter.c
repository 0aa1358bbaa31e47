#include "agents/console/filter.h"

#include <string.h>

#include "agents/console/filter_internal.h"

static const char EXAMPLE[] = "metric.auc > 0.8 and trigger = drift";

static struct filter *node(struct filter_reader *r, enum filter_kind kind,
                           const struct filter *left, const struct filter *right)
{
    struct filter *f = arena_alloc(r->arena, sizeof(*f));
    *f = (struct filter){.kind = kind, .left = left, .right = right};
    return f;
}

/* ---- one test ---- */

static int in_list(struct filter_reader *r, struct filter *f)
{
    static const char SHAPE[] = "trigger in (drift, command)";
    struct filter_value *values = arena_alloc(r->arena, FILTER_MAX_LIST * sizeof(*values));
    f->op = OP_IN;
    f->values = values;
    if (!filter__is(r, "("))
        return filter__fail(r, &r->word, "( and a list of values", SHAPE);
    do {
        filter__next(r); /* the parenthesis, or a comma */
        if (f->n_values == FILTER_MAX_LIST)
            return filter__fail(r, &r->word, "at most 100 values", SHAPE);
        if (filter__value(r, &f->field, &values[f->n_values++]))
            return -1;
    } while (filter__is(r, ","));
    if (!filter__is(r, ")"))
        return filter__fail(r, &r->word, ", or )", SHAPE);
    filter__next(r);
    return 0;
}

static int one_value(struct filter_reader *r, struct filter *f)
{
    struct filter_value *value = arena_alloc(r->arena, sizeof(*value));
    f->values = value;
    f->n_values = 1;
    return filter__value(r, &f->field, value);
}

static int like(struct filter_reader *r, struct filter *f)
{
    bool is_text = f->field.type == FILTER_TEXT ||
                   (f->field.type == FILTER_ID && f->field.column != COLUMN_SNAPSHOT);
    f->op = OP_LIKE;
    if (!is_text)
        return filter__fail(r, &r->word, "like behind a field of text (line, trigger, status, ...)",
                            "line like 'shop/%'");
    return one_value(r, f);
}

/* Signs that do not go by equality need an order that people know. */
static bool can_be_ordered(const struct filter_field *f)
{
    return f->type == FILTER_NUMBER || f->type == FILTER_TIME;
}

static int compared(struct filter_reader *r, struct filter *f, bool *ret_is_not)
{
    static const struct {
        const char *sign;
        enum filter_op op;
        bool is_not;
    } SIGNS[] = {{"=", OP_EQUAL, false}, {"==", OP_EQUAL, false},     {"!=", OP_EQUAL, true},
                 {"<>", OP_EQUAL, true}, {"<", OP_LESS, false},       {"<=", OP_LESS_EQUAL, false},
                 {">", OP_MORE, false},  {">=", OP_MORE_EQUAL, false}};
    for (size_t i = 0; i < ARRAY_LEN(SIGNS); i++) {
        if (!filter__is(r, SIGNS[i].sign))
            continue;
        f->op = SIGNS[i].op;
        if (f->op != OP_EQUAL && !can_be_ordered(&f->field))
            return filter__fail(r, &r->word, "=, !=, in or like: this field is a text",
                                "line = electricity");
        filter__next(r);
        *ret_is_not = SIGNS[i].is_not;
        if (f->op == OP_EQUAL && filter__is(r, "none")) {
            f->op = OP_NONE;
            filter__next(r);
            return 0;
        }
        return one_value(r, f);
    }
    return filter__fail(r, &r->word, "=, !=, <, <=, >, >=, like or in", EXAMPLE);
}

/* What is absent is unequal to nothing: `x != 1` asks for an x. */
static const struct filter *unequal(struct filter_reader *r, const struct filter *f)
{
    const struct filter *other = node(r, FILTER_NOT, f, NULL);
    if (f->op == OP_NONE)
        return other;
    struct filter *absent = node(r, FILTER_TEST, NULL, NULL);
    absent->field = f->field;
    absent->op = OP_NONE;
    return node(r, FILTER_AND, other, node(r, FILTER_NOT, absent, NULL));
}

static int test(struct filter_reader *r, const struct filter **ret)
{
    struct filter *f = node(r, FILTER_TEST, NULL, NULL);
    struct word at = r->word;
    bool is_not = false;
    int rc;
    if (++r->tests > FILTER_MAX_TESTS)
        return filter__fail(r, &at, "at most 64 tests", EXAMPLE);
    if (filter__field(r, &f->field))
        return -1;
    if (filter__is(r, "not")) {
        is_not = true;
        filter__next(r);
        if (!filter__is(r, "in") && !filter__is(r, "like"))
            return filter__fail(r, &r->word, "in or like behind not", "trigger not in (dataset)");
    }
    if (filter__is(r, "in")) {
        filter__next(r);
        rc = in_list(r, f);
    } else if (filter__is(r, "like")) {
        filter__next(r);
        rc = like(r, f);
    } else {
        rc = compared(r, f, &is_not);
    }
    *ret = rc == 0 && is_not ? unequal(r, f) : f;
    return rc;
}

/* ---- tests together ---- */

static int either(struct filter_reader *r, const struct filter **ret);

static int one(struct filter_reader *r, const struct filter **ret)
{
    bool is_not = filter__is(r, "not"), is_group = filter__is(r, "(");
    int rc;
    if (!is_not && !is_group)
        return test(r, ret);
    if (++r->depth > FILTER_MAX_DEPTH)
        return filter__fail(r, &r->word, "at most 32 levels of parentheses and nots", EXAMPLE);
    filter__next(r);
    rc = is_not ? one(r, ret) : either(r, ret);
    r->depth--;
    if (rc)
        return -1;
    if (is_not) {
        *ret = node(r, FILTER_NOT, *ret, NULL);
        return 0;
    }
    if (!filter__is(r, ")"))
        return filter__fail(r, &r->word, "and, or or )", "(trigger = drift or rows > 1000)");
    filter__next(r);
    return 0;
}

static int chain(struct filter_reader *r, const char *word, enum filter_kind kind,
                 int (*part)(struct filter_reader *r, const struct filter **ret),
                 const struct filter **ret)
{
    const struct filter *next = NULL;
    if (part(r, ret))
        return -1;
    while (filter__is(r, word)) {
        filter__next(r);
        if (part(r, &next))
            return -1;
        *ret = node(r, kind, *ret, next);
    }
    return 0;
}

static int both(struct filter_reader *r, const struct filter **ret)
{
    return chain(r, "and", FILTER_AND, one, ret);
}

static int either(struct filter_reader *r, const struct filter **ret)
{
    return chain(r, "or", FILTER_OR, both, ret);
}

int filter_parse(const char *text, int64_t now_us, struct arena *arena, const struct filter **ret,
                 struct err *err)
{
    struct filter_reader r = {.text = text, .arena = arena, .now_us = now_us, .err = err};
    const struct filter *f = NULL;
    if (strlen(text) > FILTER_MAX_BYTES || !slice_is_utf8(slice_str(text)))
        return err_set(err, ERR_INVAL, NEXT_REJECT,
                       "filter: give UTF-8 of %d bytes at most; for example: %s", FILTER_MAX_BYTES,
                       EXAMPLE);
    filter__next(&r);
    if (r.word.kind != WORD_END) {
        if (either(&r, &f))
            return err_wrap(err, "filter");
        if (r.word.kind != WORD_END) {
            filter__fail(&r, &r.word, "and, or, or the end", EXAMPLE);
            return err_wrap(err, "filter");
        }
    }
    *ret = f;
    return 0;
}

int filter_parse_sort(const char *text, struct arena *arena, struct filter_sort *ret,
                      struct err *err)
{
    static const char SHAPE[] = "metric.auc:desc";
    *ret = (struct filter_sort){{COLUMN_STARTED, FILTER_TIME, "started"}, true};
    if (!text || !text[0])
        return 0;
    const char *colon = strrchr(text, ':');
    CLEANUP_FREE char *name = xstrndup(text, colon ? (size_t)(colon - text) : strlen(text));
    struct filter_reader r = {.text = name, .arena = arena, .err = err};
    bool is_descending = colon && strcmp(colon, ":desc") == 0;
    if (colon && !is_descending && strcmp(colon, ":asc") != 0)
        return err_set(err, ERR_INVAL, NEXT_REJECT,
                       "sort: expected :asc or :desc, found '%.40s'; for example: %s", colon,
                       SHAPE);
    if (strlen(name) > FILTER_MAX_BYTES || !slice_is_utf8(slice_str(name)))
        return err_set(err, ERR_INVAL, NEXT_REJECT, "sort: give one field; for example: %s", SHAPE);
    filter__next(&r);
    if (filter__field(&r, &ret->field))
        return err_wrap(err, "sort");
    if (r.word.kind != WORD_END) {
        filter__fail(&r, &r.word, "one field, and :asc or :desc", SHAPE);
        return err_wrap(err, "sort");
    }
    if (ret->field.column == COLUMN_SNAPSHOT)
        return err_set(err, ERR_INVAL, NEXT_REJECT,
                       "sort: a run has many snapshots; for example: %s", SHAPE);
    ret->is_descending = is_descending;
    return 0;
}
