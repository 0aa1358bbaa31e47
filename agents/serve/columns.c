#include "agents/serve/columns.h"

#include <math.h>
#include <string.h>
#include <strings.h>

#include "common/clk.h"
#include "common/mem.h"
#include "common/rng.h"

/* Open addressing over strings that somebody else keeps; at most half full. */
struct names {
    uint32_t *slots; /* index + 1; 0: free */
    size_t mask;
};
struct columns {
    const struct model *m;
    struct names by_name;
    struct names *categories; /* one for each column; empty where there are none */
};

typedef const char *(*name_fn)(const void *of, size_t i);

static const char *column_name(const void *of, size_t i)
{
    return ((const struct model *)of)->shape.columns[i].name;
}

static const char *category_name(const void *of, size_t i)
{
    return ((const struct snapshot_column *)of)->categories[i];
}

/* The first of equal names is the one that is found, as by a walk from the front. */
static void names_build(struct names *t, const void *of, size_t n, name_fn name)
{
    size_t size = 4;

    while (size < 2 * n)
        size *= 2;
    t->mask = size - 1;
    t->slots = xcalloc(size, sizeof(*t->slots));
    for (size_t i = 0; i < n; i++) {
        const char *s = name(of, i);
        size_t at = hash64(s, strlen(s), 0) & t->mask;

        while (t->slots[at] && strcmp(name(of, t->slots[at] - 1), s) != 0)
            at = (at + 1) & t->mask;
        if (!t->slots[at])
            t->slots[at] = (uint32_t)i + 1;
    }
}

static int names_find(const struct names *t, const void *of, name_fn name, struct slice s)
{
    size_t at = hash64(s.p, s.n, 0) & t->mask;

    for (; t->slots[at]; at = (at + 1) & t->mask)
        if (slice_eq_str(s, name(of, t->slots[at] - 1)))
            return (int)t->slots[at] - 1;
    return -1;
}

struct columns *columns_new(const struct model *m)
{
    struct columns *c = xcalloc(1, sizeof(*c));

    c->m = m;
    c->categories = xcalloc(m->shape.n_columns + 1, sizeof(*c->categories));
    names_build(&c->by_name, m, m->shape.n_columns, column_name);
    for (size_t i = 0; i < m->shape.n_columns; i++) {
        const struct snapshot_column *col = &m->shape.columns[i];

        if (col->type == COLUMN_CATEGORY)
            names_build(&c->categories[i], col, col->n_categories, category_name);
    }
    return c;
}

void columns_free_all(struct columns *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->m->shape.n_columns; i++)
        free_ptr(&c->categories[i].slots);
    free_ptr(&c->categories);
    free_ptr(&c->by_name.slots);
    free_ptr(&c);
}

size_t columns_count(const struct columns *c)
{
    return c->m->shape.n_columns;
}

const char *columns_name(const struct columns *c, size_t i)
{
    return c->m->shape.columns[i].name;
}

int columns_find(const struct columns *c, struct slice name)
{
    return names_find(&c->by_name, c->m, column_name, name);
}

/* ---- cells ---- */

static float category_code(const struct columns *c, size_t i, struct slice text)
{
    int code = names_find(&c->categories[i], &c->m->shape.columns[i], category_name, text);

    return code < 0 ? NAN : (float)code;
}

static bool is_word(struct slice text, const char *const *words)
{
    for (; *words; words++)
        if (strlen(*words) == text.n && strncasecmp(*words, text.p, text.n) == 0)
            return true;
    return false;
}

/* As ingest takes them, in any case. */
static bool bool_of(struct slice text, float *ret)
{
    static const char *const yes[] = {"true", "yes", "t", "y", "1", NULL};
    static const char *const no[] = {"false", "no", "f", "n", "0", NULL};

    if (is_word(text, yes))
        *ret = 1;
    else if (is_word(text, no))
        *ret = 0;
    else
        return false;
    return true;
}

/* ISO 8601 as ingest takes it: time of day, seconds and offset may be absent (then 0, 0 and UTC).
 */
static bool date_of(struct slice text, float *ret)
{
    enum { DATE_CHARS = 10, MINUTES_CHARS = 16, MAX_CHARS = 48 };
    CLEANUP(buf_fini) struct buf full = {0};
    size_t time_end = DATE_CHARS;
    int64_t unix_us;

    if (text.n < DATE_CHARS || text.n > MAX_CHARS)
        return false;
    while (time_end < text.n && !strchr("Zz+-", text.p[time_end]))
        time_end++;
    buf_add(&full, text.p, time_end);
    if (time_end == DATE_CHARS)
        buf_add_str(&full, "T00:00:00");
    else if (time_end == MINUTES_CHARS)
        buf_add_str(&full, ":00");
    if (time_end < text.n)
        buf_add(&full, text.p + time_end, text.n - time_end);
    else
        buf_add_char(&full, 'Z');
    if (clk_parse(full.data, &unix_us))
        return false;
    *ret = (float)((double)unix_us / 1e6);
    return true;
}

int columns_encode_text(const struct columns *c, size_t i, struct slice text, float *ret,
                        struct err *err)
{
    const struct snapshot_column *col = &c->m->shape.columns[i];

    if (col->type == COLUMN_CATEGORY) {
        *ret = category_code(c, i, text);
        return 0;
    }
    if (col->type == COLUMN_BOOL && bool_of(text, ret))
        return 0;
    if (col->type == COLUMN_DATE && date_of(text, ret))
        return 0;
    return err_inval(err, "the column is of type %s: '%.*s' is text", column_type_str(col->type),
                     (int)(text.n > 60 ? 60 : text.n), text.p);
}

int columns_encode_number(const struct columns *c, size_t i, double v, float *ret, struct err *err)
{
    const struct snapshot_column *col = &c->m->shape.columns[i];
    char text[32];

    if (col->type == COLUMN_CATEGORY) { /* categories that look like numbers */
        double_to_str(v, text);
        *ret = category_code(c, i, slice_str(text));
        return 0;
    }
    if (!isfinite((float)v))
        return err_inval(err, "%g is beyond what a float32 holds", v);
    *ret = (float)v;
    return 0;
}

int columns_encode_bool(const struct columns *c, size_t i, bool v, float *ret, struct err *err)
{
    const struct snapshot_column *col = &c->m->shape.columns[i];

    if (col->type == COLUMN_CATEGORY)
        return columns_encode_text(c, i, slice_str(v ? "true" : "false"), ret, err);
    *ret = v ? 1 : 0;
    return 0;
}
