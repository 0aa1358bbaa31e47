/* One cell against its column.  Called for every value of a dataset: what is usual comes first and
 * calls nothing but the number parser. */
#include <float.h>
#include <math.h>

#include "agents/ingest/sheet.h"
#include "agents/ingest/value.h"
#include "common/snapshot.h"

static int missing(const struct column *c, float *ret)
{
    *ret = NAN;
    return c->is_missing_a_row_rule ? BROKEN_MISSING : CELL_OK;
}

static int in_range(const struct column *c, float v, float *ret)
{
    *ret = v;
    if (v < c->min)
        return BROKEN_MIN;
    return v > c->max ? BROKEN_MAX : CELL_OK;
}

/* ---- categories ---- */

static int category(struct column *c, struct slice text, float *ret)
{
    size_t code = strset_find(&c->categories, text);

    if (code == STRSET_NONE) {
        bool is_good =
            text.n <= CATEGORY_MAX_BYTES && slice_is_utf8(text) && c->categories.n < CATEGORIES_MAX;

        *ret = NAN;
        if (!is_good)
            return BROKEN_TYPE;
        if (c->n_closed > 0 && c->severity != VIOLATION_WARN)
            return BROKEN_ALLOWED;
        code = strset_add(&c->categories, text);
    }
    *ret = (float)code;
    return c->n_closed > 0 && code >= c->n_closed ? BROKEN_ALLOWED : CELL_OK;
}

/* ---- a column whose type was found to be something else than this cell ---- */

static int unlike(struct sheet *s, struct column *c, float *ret)
{
    *ret = NAN;
    c->is_mixed = true;
    s->is_mixed = true;
    return CELL_OK;
}

static int settle(struct sheet *s, struct column *c, struct slice text, float *ret)
{
    switch (value_kind(text.p, text.n)) {
    case KIND_DATE:
        c->type = COLUMN_DATE;
        break;
    case KIND_BOOL:
        c->type = COLUMN_BOOL;
        break;
    default:
        c->type = COLUMN_CATEGORY;
        break;
    }
    c->is_settled = true;
    return cell_text(s, c, text, ret);
}

/* No number: missing, wrong, or of a column that is no number at all. */
static int no_number(struct sheet *s, struct column *c, struct slice text, enum number status,
                     float *ret)
{
    if (value_is_missing(text.p, text.n))
        return missing(c, ret);
    *ret = NAN;
    if (status == NUMBER_RANGE || c->rule)
        return BROKEN_TYPE;
    return c->is_settled ? unlike(s, c, ret) : settle(s, c, text, ret);
}

static int cell_date(struct sheet *s, struct column *c, struct slice text, float *ret)
{
    double seconds;

    if (date_parse(text.p, text.n, &seconds))
        return in_range(c, (float)seconds, ret);
    if (value_is_missing(text.p, text.n))
        return missing(c, ret);
    *ret = NAN;
    return c->rule ? BROKEN_TYPE : unlike(s, c, ret);
}

static int cell_bool(struct sheet *s, struct column *c, struct slice text, float *ret)
{
    if (bool_parse(text.p, text.n, c->rule != NULL, ret))
        return CELL_OK;
    if (value_is_missing(text.p, text.n))
        return missing(c, ret);
    *ret = NAN;
    return c->rule ? BROKEN_TYPE : unlike(s, c, ret);
}

int cell_text(struct sheet *s, struct column *c, struct slice text, float *ret)
{
    enum number status;
    float v;

    switch (c->type) {
    case COLUMN_FLOAT:
        status = number_parse(text.p, text.n, &v);
        if (status != NUMBER_OK)
            return no_number(s, c, text, status, ret);
        if (!c->is_settled) {
            c->is_settled = true;
            sheet__note_plain(s, c);
        }
        return in_range(c, v, ret);
    case COLUMN_INT:
        status = number_parse(text.p, text.n, &v);
        if (status != NUMBER_OK)
            return no_number(s, c, text, status, ret);
        *ret = v;
        return v == truncf(v) ? in_range(c, v, ret) : BROKEN_TYPE;
    case COLUMN_DATE:
        return cell_date(s, c, text, ret);
    case COLUMN_BOOL:
        return cell_bool(s, c, text, ret);
    default:
        text = value_trim(text.p, text.n);
        return value_is_missing(text.p, text.n) ? missing(c, ret) : category(c, text, ret);
    }
}

/* ---- numbers from arrays ---- */

/* As short as it can be read back: 3, 0.1. */
static struct slice text_of(double v, char out[32])
{
    if (v == trunc(v) && fabs(v) < 1e15)
        snprintf(out, 32, "%.0f", v == 0 ? 0.0 : v);
    else
        double_to_str(v, out);
    return slice_str(out);
}

int cell_number(struct sheet *s, struct column *c, double v, float *ret)
{
    char text[32];

    (void)s;
    if (isnan(v))
        return missing(c, ret);
    *ret = NAN;
    if (!(fabs(v) <= (double)FLT_MAX))
        return BROKEN_TYPE;
    switch (c->type) {
    case COLUMN_CATEGORY:
        return category(c, text_of(v, text), ret);
    case COLUMN_BOOL:
        if (v != 0 && v != 1)
            return BROKEN_TYPE;
        break;
    case COLUMN_INT:
        if (v != trunc(v))
            return BROKEN_TYPE;
        break;
    default:
        break;
    }
    c->is_settled = true;
    return in_range(c, (float)v, ret);
}

/* ---- labels ---- */

/* The value is the class's code in order of sight; its place among the classes is known in the end.
 */
static int class_code(struct sheet *s, const struct column *c, struct slice raw, float *ret)
{
    char name[CATEGORY_MAX_BYTES + 1];
    struct slice text;
    size_t code;

    *ret = NAN;
    if (raw.n == 0 || raw.n > CATEGORY_MAX_BYTES || !slice_is_utf8(raw))
        return BROKEN_LABEL;
    text = class_name(raw, name, sizeof(name));
    if (c->n_closed > 0 && strset_find(&c->categories, text) == STRSET_NONE)
        return BROKEN_ALLOWED;
    code = strset_find(&s->classes, text);
    if (code == STRSET_NONE) {
        if (s->p->n_classes > 0 || s->classes.n >= CLASSES_MAX)
            return BROKEN_LABEL;
        code = strset_add(&s->classes, text);
    }
    *ret = (float)code;
    return CELL_OK;
}

int cell_label_text(struct sheet *s, struct column *c, struct slice text, float *ret)
{
    enum number status;

    if (value_is_missing(text.p, text.n)) {
        *ret = NAN;
        return BROKEN_LABEL;
    }
    if (s->p->task != TASK_REGRESSION)
        return class_code(s, c, value_trim(text.p, text.n), ret);
    status = number_parse(text.p, text.n, ret);
    if (status == NUMBER_OK)
        return in_range(c, *ret, ret);
    *ret = NAN;
    return BROKEN_TYPE;
}

int cell_label_number(struct sheet *s, struct column *c, double v, float *ret)
{
    char text[32];

    *ret = NAN;
    if (isnan(v))
        return BROKEN_LABEL;
    if (s->p->task != TASK_REGRESSION)
        return class_code(s, c, text_of(v, text), ret);
    if (!(fabs(v) <= (double)FLT_MAX))
        return BROKEN_TYPE;
    return in_range(c, (float)v, ret);
}

bool cell_time(struct slice text, double *ret)
{
    struct slice t = value_trim(text.p, text.n);
    char copy[64];

    if (date_parse(t.p, t.n, ret))
        return true;
    if (t.n == 0 || t.n >= sizeof(copy))
        return false;
    memcpy(copy, t.p, t.n);
    copy[t.n] = '\0';
    return str_to_double(copy, ret) == 0;
}
