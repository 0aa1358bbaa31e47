/* Values are read where they lie and go straight to their place in the matrix; nothing is kept for
 * each. */
#include "agents/serve/encode.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "agents/serve/values.h"

static int where(struct err *err, const struct oip_request *rq, const struct oip_tensor *t)
{
    return err_wrap(err, "inputs[%zu] '%.*s'", (size_t)(t - rq->inputs),
                    (int)(t->name.n > 80 ? 80 : t->name.n), t->name.p);
}

/* ---- where values go ---- */

struct target {
    const struct columns *c;
    float *x;
    size_t width;  /* of the tensor: values in a row */
    size_t column; /* of its first value */
    size_t stride; /* columns of the matrix */
};

static int put_value(void *ctx, size_t i, const struct value *v, struct err *err)
{
    const struct target *to = ctx;
    size_t row = to->width == 1 ? i : i / to->width;
    size_t column = to->column + (to->width == 1 ? 0 : i % to->width);
    float *cell = &to->x[row * to->stride + column];

    switch (v->kind) {
    case VALUE_NUMBER:
        return columns_encode_number(to->c, column, v->number, cell, err);
    case VALUE_TEXT:
        return columns_encode_text(to->c, column, v->text, cell, err);
    case VALUE_BOOL:
        return columns_encode_bool(to->c, column, v->number != 0, cell, err);
    default:
        *cell = NAN;
        return 0;
    }
}

static int fill(const struct oip_request *rq, const struct oip_tensor *t, struct target *to,
                struct err *err)
{
    to->width = (size_t)t->shape[1];
    return values_each(t, put_value, to, err) ? where(err, rq, t) : 0;
}

/* ---- which tensor is what ---- */

static bool is_known(struct slice name, const char *const *known)
{
    for (; known && *known; known++)
        if (slice_eq_str(name, *known))
            return true;
    return false;
}

/* One tensor for all columns: the only one, as wide as the model.  When the model has one column
 * both shapes look alike, and it is the same to us. */
static bool is_matrix(const struct oip_request *rq, const struct columns *c)
{
    const struct oip_tensor *t = &rq->inputs[0];

    if (rq->n_inputs != 1 || t->is_flat)
        return false;
    return t->shape[1] > 1 || columns_find(c, t->name) < 0;
}

/* What the body says must be able to lie in it, before memory is taken for it. */
static int check_size(const struct oip_request *rq, size_t rows, size_t width, struct err *err)
{
    if (rows > rq->body_bytes || width > rq->body_bytes || rows * width > rq->body_bytes)
        return err_inval(err,
                         "shape says %zu x %zu values, more than the body of %zu bytes can hold",
                         rows, width, rq->body_bytes);
    return 0;
}

static int encode_matrix(const struct oip_request *rq, const struct columns *c, float **ret_x,
                         size_t *ret_rows, struct err *err)
{
    const struct oip_tensor *t = &rq->inputs[0];
    size_t rows = (size_t)t->shape[0], width = columns_count(c);
    CLEANUP_FREE float *x = NULL;
    struct target to = {.c = c, .stride = width};

    if ((size_t)t->shape[1] != width) {
        err_inval(err, "shape is [%lld, %lld], but the model has %zu features",
                  (long long)t->shape[0], (long long)t->shape[1], width);
        return where(err, rq, t);
    }
    if (check_size(rq, rows, width, err))
        return where(err, rq, t);
    to.x = x = xmalloc(rows * width * sizeof(*x));
    if (fill(rq, t, &to, err))
        return -1;
    *ret_x = TAKE(x);
    *ret_rows = rows;
    return 0;
}

/* Column of the tensor: by the place, which is right when the client kept the model's order, else
 * by name; -1: none. */
static int column_of(const struct columns *c, const struct oip_tensor *t, size_t place)
{
    if (place < columns_count(c) && slice_eq_str(t->name, columns_name(c, place)))
        return (int)place;
    return columns_find(c, t->name);
}

static int missing_columns(const struct columns *c, const bool *seen, struct err *err)
{
    CLEANUP(buf_fini) struct buf names = {0};
    size_t missing = 0;

    for (size_t i = 0; i < columns_count(c); i++) {
        if (seen[i])
            continue;
        missing++;
        if (names.len < 200)
            buf_addf(&names, "%s'%s'", names.len ? ", " : "", columns_name(c, i));
        else if (names.data[names.len - 1] != '.')
            buf_add_str(&names, ", ...");
    }
    return err_inval(err,
                     "inputs: no tensor for %zu of the model's %zu columns: %s (null is a missing "
                     "value)",
                     missing, columns_count(c), names.data);
}

static int check_column(const struct oip_request *rq, const struct oip_tensor *t, size_t rows,
                        bool is_seen, struct err *err)
{
    if (is_seen)
        err_inval(err, "the column has two tensors");
    else if (t->shape[1] != 1)
        err_inval(err, "shape is [%lld, %lld], one column is [rows, 1]", (long long)t->shape[0],
                  (long long)t->shape[1]);
    else if ((size_t)t->shape[0] != rows)
        err_inval(err, "%lld rows, but inputs[0] has %zu", (long long)t->shape[0], rows);
    else
        return 0;
    return where(err, rq, t);
}

static int encode_columns(const struct oip_request *rq, const struct columns *c,
                          const char *const *known, float **ret_x, size_t *ret_rows,
                          struct err *err)
{
    size_t width = columns_count(c), rows = (size_t)rq->inputs[0].shape[0], n_seen = 0;
    CLEANUP_FREE bool *seen = xcalloc(width + 1, sizeof(*seen));
    CLEANUP_FREE float *x = NULL;
    struct target to = {.c = c, .stride = width};

    for (size_t i = 0; i < rq->n_inputs; i++) {
        const struct oip_tensor *t = &rq->inputs[i];
        int column = column_of(c, t, i);

        if (column < 0 && is_known(t->name, known) && t->shape[0] == rq->inputs[0].shape[0])
            continue;
        if (column < 0) {
            err_inval(err, "the model has no such column");
            return where(err, rq, t);
        }
        if (check_column(rq, t, rows, seen[column], err))
            return -1;
        seen[column] = true;
        n_seen++;
    }
    if (n_seen < width)
        return missing_columns(c, seen, err);
    if (check_size(rq, rows, width, err))
        return -1;
    to.x = x = xmalloc(rows * width * sizeof(*x));
    for (size_t i = 0; i < rq->n_inputs; i++) {
        int column = column_of(c, &rq->inputs[i], i);

        if (column < 0)
            continue;
        to.column = (size_t)column;
        if (fill(rq, &rq->inputs[i], &to, err))
            return -1;
    }
    *ret_x = TAKE(x);
    *ret_rows = rows;
    return 0;
}

int encode_rows(const struct oip_request *rq, const struct columns *c, const char *const *known,
                float **ret_x, size_t *ret_rows, struct err *err)
{
    return is_matrix(rq, c) ? encode_matrix(rq, c, ret_x, ret_rows, err)
                            : encode_columns(rq, c, known, ret_x, ret_rows, err);
}

/* ---- one value for all rows ---- */

struct common {
    struct arena *arena;
    const char *text;
};

static int compare_value(void *ctx, size_t i, const struct value *v, struct err *err)
{
    struct common *common = ctx;
    char number[32];
    struct slice text = v->text;

    if (v->kind == VALUE_MISSING)
        return err_inval(err, "it may not be missing here");
    if (v->kind == VALUE_NUMBER) {
        double_to_str(v->number, number);
        text = slice_str(number);
    } else if (v->kind == VALUE_BOOL) {
        text = slice_str(v->number != 0 ? "true" : "false");
    }
    if (i == 0)
        common->text = arena_strndup(common->arena, text.p, text.n);
    else if (!slice_eq_str(text, common->text))
        return err_inval(err, "'%.*s' differs from '%s' in data[0]: one request is for one of them",
                         (int)(text.n > 60 ? 60 : text.n), text.p, common->text);
    return 0;
}

int encode_common_text(const struct oip_request *rq, const struct oip_tensor *t,
                       struct arena *arena, const char **ret, struct err *err)
{
    struct common common = {.arena = arena};

    if (t->shape[1] != 1) {
        err_inval(err, "one value a row is expected");
        return where(err, rq, t);
    }
    if (values_each(t, compare_value, &common, err))
        return where(err, rq, t);
    *ret = common.text;
    return 0;
}
