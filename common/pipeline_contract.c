/* contract: what a dataset must look like to be accepted. */
#include <math.h>

#include "common/clk.h"
#include "common/pipeline_internal.h"

static const char *const violations[] = {[VIOLATION_REJECT] = "reject",
                                         [VIOLATION_QUARANTINE] = "quarantine",
                                         [VIOLATION_WARN] = "warn",
                                         NULL};
static const char *const types[] = {
    [COLUMN_FLOAT] = "float",
    [COLUMN_INT] = "int",
    [COLUMN_CATEGORY] = "category",
    [COLUMN_DATE] = "date",
    [COLUMN_BOOL] = "bool",
    [COLUMN_IGNORE] = "ignore",
    NULL,
};

/* A number, or for dates the seconds since 1970 of "2026-01-31" or of an RFC 3339 time. */
static int parse_bound(const struct yaml_node *n, bool is_date, double *ret)
{
    char text[48];
    int64_t unix_us;

    if (n->kind != YAML_SCALAR)
        return -1;
    if (!n->quoted && !str_to_double(n->scalar, ret))
        return 0;
    if (!is_date)
        return -1;
    snprintf(text, sizeof(text), "%.30s%s", n->scalar, strlen(n->scalar) == 10 ? "T00:00:00Z" : "");
    if (clk_parse(text, &unix_us))
        return -1;
    *ret = (double)unix_us / 1e6;
    return 0;
}

/* Whether a bound is in order depends on the type, which may come later: see check_column. */
static int read_bound(struct reader *rd, const struct yaml_node *n, double *ret)
{
    return parse_bound(n, true, ret)
               ? pipeline__wrong(rd, n, "be a number, or a date such as 2026-01-31")
               : 0;
}

static int read_min(struct reader *rd, const struct yaml_node *n, void *target)
{
    return read_bound(rd, n, &((struct column_rule *)target)->min);
}

static int read_max(struct reader *rd, const struct yaml_node *n, void *target)
{
    return read_bound(rd, n, &((struct column_rule *)target)->max);
}

static int read_allowed(struct reader *rd, const struct yaml_node *n, void *target)
{
    static const struct key item = {.kind = KEY_TEXT, .must = "be a value of the column"};
    struct column_rule *c = target;

    return pipeline__texts(rd, n, &item, 1, PIPELINE_LIST_MAX, &c->allowed, &c->n_allowed);
}

static const struct key column_keys[] = {
    {.name = "type",
     .kind = KEY_WORD,
     .offset = offsetof(struct column_rule, type),
     .words = types,
     .needed = "float, int, category, date, bool or ignore"},
    {.name = "min", .kind = KEY_CUSTOM, .read = read_min},
    {.name = "max", .kind = KEY_CUSTOM, .read = read_max},
    {.name = "missing_at_most",
     .kind = KEY_NUMBER,
     .offset = offsetof(struct column_rule, missing_at_most),
     .min = 0,
     .max = 1},
    {.name = "allowed", .kind = KEY_CUSTOM, .read = read_allowed},
    {.name = "on_violation",
     .kind = KEY_WORD,
     .offset = offsetof(struct column_rule, on_violation),
     .words = violations},
    {0},
};

/* Which keys go with which type. */
static bool key_fits(const char *key, enum column_type type)
{
    if (strcmp(key, "min") == 0 || strcmp(key, "max") == 0)
        return type == COLUMN_FLOAT || type == COLUMN_INT || type == COLUMN_DATE;
    if (strcmp(key, "allowed") == 0)
        return type == COLUMN_CATEGORY;
    return strcmp(key, "type") == 0 || type != COLUMN_IGNORE;
}

static int check_column(struct reader *rd, const struct yaml_node *n, const struct column_rule *c)
{
    for (size_t i = 0; i < n->n; i++) {
        double unused;

        if (yaml_is_null(n->items[i]))
            continue;
        pipeline__enter(rd, n->keys[i]);
        if (!key_fits(n->keys[i], c->type))
            return pipeline__fail(rd, n->key_lines[i], "does not go with a column of type %s",
                                  column_type_str(c->type));
        if (n->keys[i][0] == 'm' && n->items[i]->kind == YAML_SCALAR && c->type != COLUMN_DATE &&
            parse_bound(n->items[i], false, &unused))
            return pipeline__wrong(rd, n->items[i], "be a number");
        if (strcmp(n->keys[i], "max") == 0 && c->min > c->max)
            return pipeline__fail(rd, n->items[i]->line, "is less than min");
        pipeline__leave(rd, rd->path_len - strlen(n->keys[i]) - 1);
    }
    return 0;
}

static int read_columns(struct reader *rd, const struct yaml_node *n, void *target)
{
    struct pipeline *p = target;
    struct column_rule *columns;

    if (n->kind != YAML_MAPPING)
        return pipeline__wrong(rd, n, "be a mapping of column names");
    if (n->n > PIPELINE_MAX_COLUMNS)
        return pipeline__fail(rd, n->line, "%zu columns; at most %d can be listed", n->n,
                              PIPELINE_MAX_COLUMNS);
    columns = arena_alloc(&p->arena, (n->n + 1) * sizeof(*columns));
    for (size_t i = 0; i < n->n; i++) {
        struct column_rule *c = &columns[i];
        size_t mark = pipeline__enter(rd, n->keys[i]);

        *c = (struct column_rule){.min = NAN,
                                  .max = NAN,
                                  .missing_at_most = NAN,
                                  .on_violation = -1,
                                  .line = n->key_lines[i]};
        c->name = arena_strdup(&p->arena, n->keys[i]);
        if (!c->name[0] || strlen(c->name) > PIPELINE_TEXT_MAX || !pipeline__is_text(c->name))
            return pipeline__fail(
                rd, c->line, "a column's name is 1 to %d bytes of text without control characters",
                PIPELINE_TEXT_MAX);
        if (pipeline__map(rd, n->items[i], column_keys, c) || check_column(rd, n->items[i], c))
            return -1;
        pipeline__leave(rd, mark);
    }
    p->columns = columns;
    p->n_columns = n->n;
    return 0;
}

static int read_other_columns(struct reader *rd, const struct yaml_node *n, void *target)
{
    static const char *const words[] = {"accept", "refuse", NULL};
    static const struct key word = {.kind = KEY_WORD, .words = words};
    int v = 0;

    if (pipeline__value(rd, n, &word, &v))
        return -1;
    ((struct pipeline *)target)->strict_columns = v == 1;
    return 0;
}

static const struct key rows_keys[] = {
    {.name = "at_least",
     .kind = KEY_INT,
     .offset = offsetof(struct pipeline, rows_at_least),
     .min = 0,
     .max = 1e12},
    {.name = "at_most",
     .kind = KEY_INT,
     .offset = offsetof(struct pipeline, rows_at_most),
     .min = 1,
     .max = 1e12},
    {0},
};

const struct key pipeline__contract_keys[] = {
    {.name = "on_violation",
     .kind = KEY_WORD,
     .offset = offsetof(struct pipeline, on_violation),
     .words = violations},
    {.name = "columns", .kind = KEY_CUSTOM, .read = read_columns},
    {.name = "other_columns", .kind = KEY_CUSTOM, .read = read_other_columns},
    {.name = "rows", .kind = KEY_MAP, .keys = rows_keys},
    {.name = "seen_before_at_most",
     .kind = KEY_NUMBER,
     .offset = offsetof(struct pipeline, seen_before_at_most),
     .min = 0,
     .max = 1},
    {0},
};
