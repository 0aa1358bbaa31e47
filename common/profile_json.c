#include <math.h>

#include "common/mem.h"
#include "common/profile.h"

static const char FORMAT[] = "relearn/profile/1";
enum {
    COLUMNS_MAX = 8192
}; /* features of a snapshot, its label and a prediction, with room to spare */

static void numbers_to_json(struct json *obj, const char *key, const double *v, size_t n)
{
    struct json *array = json_set(obj, key, json_array());

    for (size_t i = 0; i < n; i++)
        json_add_num(array, v[i]);
}

static void counts_to_json(struct json *obj, const char *key, const int64_t *v, size_t n)
{
    struct json *array = json_set(obj, key, json_array());

    for (size_t i = 0; i < n; i++)
        json_add_int(array, v[i]);
}

struct json *profile_to_json(const struct profile *p)
{
    struct json *root = json_object(), *columns;

    json_set_str(root, "format", FORMAT);
    json_set_int(root, "rows", p->rows);
    columns = json_set(root, "columns", json_array());
    for (size_t j = 0; j < p->n_columns; j++) {
        const struct profile_column *c = &p->columns[j];
        struct json *column = json_add(columns, json_object());

        json_set_str(column, "name", c->name);
        json_set_str(column, "kind", c->category ? "category" : "number");
        json_set_int(column, "count", c->count);
        json_set_int(column, "missing", c->missing);
        json_set_num(column, "mean", c->mean);
        json_set_num(column, "stddev", c->stddev);
        json_set_num(column, "min", c->min);
        json_set_num(column, "max", c->max);
        if (c->category) {
            numbers_to_json(column, "hitters", c->hitters, c->n_hitters);
            counts_to_json(column, "hitter_counts", c->hitter_counts, c->n_hitters);
        } else {
            numbers_to_json(column, "edges", c->edges, c->n_edges);
            counts_to_json(column, "bins", c->bins, c->n_edges + 1);
        }
    }
    return root;
}

static int bad(struct err *err, const char *what)
{
    return err_set(err, ERR_CODEC, NEXT_REJECT, "profile: %s is missing or wrong", what);
}

static int take_numbers(const struct json *array, size_t max, double *ret, size_t *ret_n,
                        const char *what, struct err *err)
{
    if (!json_is_array(array) || json_len(array) > max)
        return bad(err, what);
    *ret_n = json_len(array);
    for (size_t i = 0; i < *ret_n; i++) {
        ret[i] = json_num(json_at(array, i), NAN);
        if (isnan(ret[i]))
            return bad(err, what);
    }
    return 0;
}

/* Counts of values that are there: `present` in all at most. */
static int take_counts(const struct json *array, size_t n, int64_t present, int64_t *ret,
                       const char *what, struct err *err)
{
    if (!json_is_array(array) || json_len(array) != n)
        return bad(err, what);
    for (size_t i = 0; i < n; i++) {
        ret[i] = json_int(json_at(array, i), -1);
        if (ret[i] < 0 || ret[i] > present)
            return bad(err, what);
        present -= ret[i];
    }
    return 0;
}

static int take_numeric(const struct json *column, struct profile_column *c, struct err *err)
{
    if (take_numbers(json_get(column, "edges"), PROFILE_BINS - 1, c->edges, &c->n_edges, "edges",
                     err))
        return -1;
    for (size_t i = 1; i < c->n_edges; i++)
        if (!(c->edges[i - 1] < c->edges[i]))
            return bad(err, "edges");
    return take_counts(json_get(column, "bins"), c->n_edges + 1, c->count - c->missing, c->bins,
                       "bins", err);
}

static int take_column(const struct json *column, struct profile_column *c, struct err *err)
{
    const char *name = json_get_str(column, "name", NULL);
    const char *kind = json_get_str(column, "kind", "");

    if (!name)
        return bad(err, "columns[].name");
    c->name = xstrdup(name);
    c->category = strcmp(kind, "category") == 0;
    if (!c->category && strcmp(kind, "number") != 0)
        return bad(err, "columns[].kind");
    c->count = json_get_int(column, "count", -1);
    c->missing = json_get_int(column, "missing", -1);
    if (c->missing < 0 || c->count < c->missing)
        return bad(err, "columns[].count");
    c->mean = json_get_num(column, "mean", NAN);
    c->stddev = json_get_num(column, "stddev", NAN);
    c->min = json_get_num(column, "min", NAN);
    c->max = json_get_num(column, "max", NAN);
    if (!c->category)
        return take_numeric(column, c, err);
    if (take_numbers(json_get(column, "hitters"), PROFILE_HITTERS, c->hitters, &c->n_hitters,
                     "hitters", err))
        return -1;
    return take_counts(json_get(column, "hitter_counts"), c->n_hitters, c->count - c->missing,
                       c->hitter_counts, "hitter_counts", err);
}

int profile_from_json(const struct json *j, struct profile **ret, struct err *err)
{
    const struct json *columns = json_get(j, "columns");
    size_t n = json_len(columns);
    struct profile *p;

    if (strcmp(json_get_str(j, "format", ""), FORMAT) != 0)
        return bad(err, "format");
    if (!json_is_array(columns) || n > COLUMNS_MAX)
        return bad(err, "columns");
    if (json_get_int(j, "rows", 0) < 0)
        return bad(err, "rows");
    p = xcalloc(1, sizeof(*p));
    p->rows = json_get_int(j, "rows", 0);
    p->n_columns = n;
    p->columns = xcalloc(n ? n : 1, sizeof(*p->columns));
    for (size_t i = 0; i < n; i++)
        if (take_column(json_at(columns, i), &p->columns[i], err)) {
            profile_free(p);
            return -1;
        }
    *ret = p;
    return 0;
}
