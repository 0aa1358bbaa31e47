#include "agents/ingest/report.h"

#include <stdarg.h>

enum {
    VALUE_MAX_BYTES = 60, /* of an example: enough to find it by */
    DETAIL_MAX_BYTES = 600,
};

static const char *const NAMES[BROKEN_COUNT] = {
    [BROKEN_TYPE] = "type",
    [BROKEN_MIN] = "min",
    [BROKEN_MAX] = "max",
    [BROKEN_ALLOWED] = "allowed",
    [BROKEN_MISSING] = "missing_at_most",
    [BROKEN_ROWS] = "rows",
    [BROKEN_LABEL] = "label",
    [BROKEN_COLUMNS] = "columns",
    [BROKEN_CSV] = "csv",
    [BROKEN_DIGEST] = "digest",
    [BROKEN_SIZE] = "size",
    [BROKEN_FETCH] = "fetch",
    [BROKEN_SEEN] = "seen_before",
    [BROKEN_SEGMENTS] = "segments",
    [BROKEN_TIME] = "time",
};

void report_fini(struct report *r)
{
    for (size_t i = 0; i < r->n; i++) {
        free(r->items[i].detail);
        for (size_t k = 0; k < r->items[i].n_examples; k++)
            free(r->items[i].examples[k]);
    }
    free(r->items);
    free(r->index);
    *r = (struct report){0};
}

static size_t slot_of(size_t column, enum broken rule)
{
    return (column == REPORT_NO_COLUMN ? 0 : column + 1) * BROKEN_COUNT + rule;
}

struct tally *report_find(struct report *r, size_t column, enum broken rule)
{
    size_t at = slot_of(column, rule);

    return at < r->n_index && r->index[at] ? &r->items[r->index[at] - 1] : NULL;
}

static struct tally *find_or_add(struct report *r, size_t column, enum broken rule,
                                 enum on_violation severity)
{
    struct tally *t = report_find(r, column, rule);
    size_t at = slot_of(column, rule), old = r->n_index;

    r->is_rejected |= severity == VIOLATION_REJECT;
    if (t)
        return t;
    if (at >= old) {
        r->index = xgrow(r->index, &r->n_index, at + 1, sizeof(*r->index));
        memset(r->index + old, 0, (r->n_index - old) * sizeof(*r->index));
    }
    r->items = xgrow(r->items, &r->cap, r->n + 1, sizeof(*r->items));
    t = &r->items[r->n++];
    *t = (struct tally){.column = column, .rule = rule, .severity = severity};
    BUG_ON(r->n > UINT16_MAX); /* 4,096 columns, 15 rules */
    r->index[at] = (uint16_t)r->n;
    return t;
}

/* Length of the well-formed UTF-8 character at p, 0 when there is none within n bytes. */
static size_t utf8_length(const char *p, size_t n)
{
    for (size_t k = 1; k <= 4 && k <= n; k++)
        if (slice_is_utf8((struct slice){p, k}))
            return k;
    return 0;
}

void report_quote(struct slice value, size_t max, struct buf *out)
{
    size_t i = 0;

    buf_add_char(out, '\'');
    while (i < value.n && i < max) {
        unsigned char c = (unsigned char)value.p[i];
        size_t k = utf8_length(value.p + i, value.n - i);

        if (k == 0 || c < 0x20 || c == 0x7f) {
            buf_addf(out, "\\x%02x", c);
            k = 1;
        } else {
            buf_add(out, value.p + i, k);
        }
        i += k;
    }
    buf_add_str(out, i < value.n ? "...'" : "'");
}

void report_row(struct report *r, size_t column, enum broken rule, enum on_violation severity,
                int64_t row, struct slice value)
{
    struct tally *t = find_or_add(r, column, rule, severity);
    struct buf text = {0};

    t->count++;
    if (t->n_examples == REPORT_EXAMPLES || row == 0)
        return;
    buf_addf(&text, "row %lld: ", (long long)row);
    report_quote(value, VALUE_MAX_BYTES, &text);
    t->examples[t->n_examples++] = buf_take(&text);
}

static PRINTF(1, 0) char *sentence(const char *fmt, va_list ap)
{
    char text[DETAIL_MAX_BYTES];
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    size_t len = n < 0 ? 0 : strlen(text);

    while (len > 0 && !slice_is_utf8((struct slice){text, len})) /* the cut may split a character */
        len--;
    return xstrndup(text, len);
}

void report_whole(struct report *r, size_t column, enum broken rule, enum on_violation severity,
                  int64_t count, const char *fmt, ...)
{
    struct tally *t = find_or_add(r, column, rule, severity);
    va_list ap;

    t->count += count;
    free(t->detail);
    va_start(ap, fmt);
    t->detail = sentence(fmt, ap);
    va_end(ap);
}

void report_detail(struct report *r, size_t column, enum broken rule, const char *fmt, ...)
{
    struct tally *t = report_find(r, column, rule);
    va_list ap;

    if (!t || t->detail)
        return;
    va_start(ap, fmt);
    t->detail = sentence(fmt, ap);
    va_end(ap);
}

/* ---- for the event ---- */

static const char *severity_word(enum on_violation v)
{
    return v == VIOLATION_REJECT ? "reject" : v == VIOLATION_QUARANTINE ? "quarantine" : "warn";
}

static struct violation to_violation(const struct tally *t, const char *const *names,
                                     struct arena *arena)
{
    const char **examples = arena_alloc(arena, (t->n_examples + 1) * sizeof(*examples));

    for (size_t i = 0; i < t->n_examples; i++)
        examples[i] = arena_strdup(arena, t->examples[i]);
    return (struct violation){
        .column = t->column == REPORT_NO_COLUMN ? NULL : arena_strdup(arena, names[t->column]),
        .rule = NAMES[t->rule],
        .severity = severity_word(t->severity),
        .count = t->count,
        .detail = arena_strdup(arena, t->detail ? t->detail : ""),
        .examples = {examples, t->n_examples},
    };
}

struct violation_list report_violations(const struct report *a, const struct report *b,
                                        const char *const *names, struct arena *arena)
{
    const struct report *both[] = {a, b};
    size_t total = a->n + (b ? b->n : 0), n = 0, left_out = 0;
    struct violation *items = arena_alloc(arena, (total + 2) * sizeof(*items));

    for (int severity = VIOLATION_REJECT; severity <= VIOLATION_WARN; severity++)
        for (size_t k = 0; k < ARRAY_LEN(both); k++)
            for (size_t i = 0; both[k] && i < both[k]->n; i++) {
                if ((int)both[k]->items[i].severity != severity)
                    continue;
                if (n < REPORT_MAX_VIOLATIONS)
                    items[n++] = to_violation(&both[k]->items[i], names, arena);
                else
                    left_out++;
            }
    if (left_out > 0)
        items[n++] = (struct violation){
            .rule = "columns",
            .severity = "warn",
            .count = (int64_t)left_out,
            .detail = arena_printf(arena, "%zu further broken rules are not listed.", left_out)};
    return (struct violation_list){items, n};
}

const char *report_reason(struct violation_list v, struct arena *arena)
{
    const struct violation *first = v.n > 0 ? &v.items[0] : NULL;
    size_t others = 0;
    const char *text;

    for (size_t i = 1; i < v.n; i++)
        others += strcmp(v.items[i].severity, "reject") == 0;
    if (!first)
        return "";
    text = first->column ? arena_printf(arena, "column '%s' breaks %s: %s", first->column,
                                        first->rule, first->detail)
                         : first->detail;
    if (first->examples.n > 0)
        text = arena_printf(arena, "%s First: %s.", text, first->examples.items[0]);
    if (others > 0)
        text = arena_printf(arena, "%s %zu more rule%s broken.", text, others,
                            others == 1 ? " is" : "s are");
    return text;
}
