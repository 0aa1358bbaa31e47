/* The sentences of a report: what was wanted, what was found, what to do. */
#include <math.h>

#include "agents/ingest/sheet.h"

enum { ALLOWED_SHOWN = 8 };

static const char *wanted(enum column_type t)
{
    static const char *const texts[COLUMN_TYPE_COUNT] = {
        [COLUMN_FLOAT] = "a finite number is wanted",
        [COLUMN_INT] = "a whole number is wanted",
        [COLUMN_CATEGORY] =
            "a category is wanted: at most 10,000 different values of UTF-8 text, 256 bytes each",
        [COLUMN_DATE] = "a date is wanted, as 2026-01-31 or 2026-01-31T12:00:00Z",
        [COLUMN_BOOL] = "true or false is wanted",
        [COLUMN_IGNORE] = "nothing is wanted",
    };
    return texts[t];
}

static const char *rows(int64_t n)
{
    return n == 1 ? "row" : "rows";
}

static const char *rows_have(int64_t n)
{
    return n == 1 ? "row has" : "rows have";
}

static void list_allowed(const char *const *items, size_t n, struct buf *out)
{
    for (size_t i = 0; i < n && i < ALLOWED_SHOWN; i++) {
        buf_add_str(out, i ? ", " : "");
        report_quote(slice_str(items[i]), 40, out);
    }
    if (n > ALLOWED_SHOWN)
        buf_addf(out, " or %zu more", n - ALLOWED_SHOWN);
}

static void detail_allowed(struct report *r, const struct tally *t, const struct column *c)
{
    CLEANUP(buf_fini) struct buf list = {0};

    list_allowed(c->rule->allowed, c->rule->n_allowed, &list);
    report_detail(r, t->column, t->rule, "%s is allowed; %lld %s another value.", list.data,
                  (long long)t->count, rows_have(t->count));
}

static void detail_label(const struct sheet *s, struct report *r, const struct tally *t)
{
    CLEANUP(buf_fini) struct buf list = {0};
    long long n = (long long)t->count;

    if (s->p->n_classes > 0) {
        list_allowed(s->p->classes, s->p->n_classes, &list);
        report_detail(r, t->column, t->rule, "the label is missing or is none of %s in %lld %s.",
                      list.data, n, rows(n));
    } else if (s->classes.n >= CLASSES_MAX) {
        report_detail(
            r, t->column, t->rule,
            "the label has more than %d different values (or is missing) in %lld %s; for a number, "
            "declare task: regression.",
            CLASSES_MAX, n, rows(n));
    } else {
        report_detail(r, t->column, t->rule,
                      "the label is missing, or no UTF-8 text of at most 256 bytes, in %lld %s.", n,
                      rows(n));
    }
}

static void detail_type(struct report *r, const struct tally *t, const struct column *c)
{
    enum column_type type = c->role == ROLE_LABEL || c->role == ROLE_TIME ? COLUMN_FLOAT : c->type;
    long long n = (long long)t->count;

    if (c->role == ROLE_TIME)
        report_detail(r, t->column, t->rule, "a number or a date is wanted as time; %lld %s none.",
                      n, rows_have(n));
    else if (type == COLUMN_CATEGORY && !c->rule)
        report_detail(
            r, t->column, t->rule,
            "%s; %lld %s go beyond. Declare the column in the contract: type ignore, or float to "
            "see which rows are no number.",
            wanted(type), n, rows(n));
    else
        report_detail(r, t->column, t->rule, "%s; %lld %s none.", wanted(type), n, rows_have(n));
}

static void detail_column(const struct sheet *s, struct report *r, const struct tally *t)
{
    const struct column *c = &s->columns[t->column];
    long long n = (long long)t->count;

    switch (t->rule) {
    case BROKEN_TYPE:
        detail_type(r, t, c);
        break;
    case BROKEN_MIN:
        report_detail(r, t->column, t->rule, "at least %.15g is wanted; %lld %s less.",
                      c->rule->min, n, rows_have(n));
        break;
    case BROKEN_MAX:
        report_detail(r, t->column, t->rule, "at most %.15g is wanted; %lld %s more.", c->rule->max,
                      n, rows_have(n));
        break;
    case BROKEN_ALLOWED:
        detail_allowed(r, t, c);
        break;
    case BROKEN_MISSING:
        report_detail(r, t->column, t->rule, "no value may be missing; it is in %lld %s.", n,
                      rows(n));
        break;
    case BROKEN_LABEL:
        detail_label(s, r, t);
        break;
    case BROKEN_TIME:
        report_detail(r, t->column, t->rule,
                      "rows are to be in the order of time; %lld %s come before the one above.", n,
                      rows(n));
        break;
    case BROKEN_SEGMENTS:
        report_detail(r, t->column, t->rule,
                      "a segment is 1 to 64 of A-Z a-z 0-9 . _ -%s; %lld %s no such value.",
                      s->p->n_segments ? " and one that the pipeline lists" : "", n, rows_have(n));
        break;
    default:
        break;
    }
}

void sheet__details(const struct sheet *s, struct report *r)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct tally *t = &r->items[i];
        long long n = (long long)t->count;

        if (t->detail)
            continue;
        if (t->column != REPORT_NO_COLUMN)
            detail_column(s, r, t);
        else if (t->rule == BROKEN_CSV)
            report_detail(r, t->column, t->rule,
                          "%lld %s another number of fields than the header's %zu.", n,
                          rows_have(n), s->n_columns);
    }
}
