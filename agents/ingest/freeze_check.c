/* What can be checked only when all rows are known.  Rules about a share leave their rows out here,
 * under quarantine: only now it is known that the share is too large. */
#include <math.h>

#include "agents/ingest/freeze_internal.h"

enum { READ_ROWS = 4096, CLASSES_SHOWN = 6 };

void freeze__settled_fini(struct settled *d)
{
    free(d->drop);
    for (size_t i = 0; i < d->n_classes; i++)
        free(d->classes[i]);
    free(d->classes);
    free(d->class_of_code);
    *d = (struct settled){0};
}

static void ensure_drop(struct settled *d, const struct segment *g)
{
    if (!d->drop)
        d->drop = xcalloc((size_t)g->kept + 1, sizeof(*d->drop));
}

/* ---- rows with a missing value, of columns that miss too many ---- */

static int drop_missing(struct sheet *s, struct segment *g, struct settled *d, struct err *err)
{
    CLEANUP_FREE bool *wanted = xcalloc(s->n_features + 1, sizeof(*wanted));
    CLEANUP_FREE float *into = xmalloc((s->n_features + 1) * READ_ROWS * sizeof(*into));
    size_t row_bytes = s->n_features * sizeof(float);
    bool any = false;

    for (size_t i = 0; i < s->n_columns; i++) {
        const struct column *c = &s->columns[i];
        struct tally *t = report_find(&g->report, i, BROKEN_MISSING);

        if (!t || t->severity != VIOLATION_QUARANTINE || c->role != ROLE_FEATURE ||
            c->is_missing_a_row_rule)
            continue;
        wanted[c->feature] = any = true;
    }
    if (!any)
        return 0;
    ensure_drop(d, g);
    for (size_t at = 0, k; at < (size_t)g->kept; at += k) {
        const float *rows;
        const void *p;

        k = (size_t)g->kept - at < READ_ROWS ? (size_t)g->kept - at : READ_ROWS;
        if (spool_read(&g->features, at * row_bytes, k * row_bytes, into, &p, err))
            return -1;
        rows = p;
        for (size_t i = 0; i < k; i++)
            for (size_t j = 0; j < s->n_features; j++)
                d->drop[at + i] |= wanted[j] && isnan(rows[i * s->n_features + j]);
    }
    return 0;
}

/* ---- rows of earlier snapshots ---- */

static int check_seen(struct sheet *s, struct segment *g, const struct artifacts *a,
                      const struct freeze_request *rq, struct settled *d, struct err *err)
{
    const struct pipeline *p = s->p;
    CLEANUP_FREE uint8_t *flags = NULL;
    double share;

    if (p->on_violation == VIOLATION_QUARANTINE && !isnan(p->seen_before_at_most))
        flags = xcalloc((size_t)g->kept + 1, sizeof(*flags));
    if (seen_count(a, rq->earlier, rq->n_earlier, &g->hash, (size_t)g->kept, rq->cache, flags,
                   &d->seen, err))
        return err_wrap(err, "rows seen before");
    share = g->kept ? (double)d->seen / (double)g->kept : 0;
    if (isnan(p->seen_before_at_most) || share <= p->seen_before_at_most)
        return 0;
    report_whole(&g->report, REPORT_NO_COLUMN, BROKEN_SEEN, p->on_violation, d->seen,
                 "at most %.4g %% of the rows may be in earlier versions; %.4g %% are (%lld of "
                 "%lld); publish "
                 "what is new, or change contract.seen_before_at_most.",
                 p->seen_before_at_most * 100, share * 100, (long long)d->seen, (long long)g->kept);
    if (!flags)
        return 0;
    ensure_drop(d, g);
    for (int64_t i = 0; i < g->kept; i++)
        d->drop[i] |= flags[i];
    return 0;
}

/* ---- label ---- */

struct label_facts {
    int64_t *class_rows; /* by code */
    float min, max;
};

static int read_labels(struct sheet *s, struct segment *g, struct settled *d, struct label_facts *f,
                       struct err *err)
{
    CLEANUP_FREE float *into = xmalloc(READ_ROWS * sizeof(*into));
    bool is_class = s->p->task != TASK_REGRESSION;

    f->class_rows = xcalloc(s->classes.n + 1, sizeof(*f->class_rows));
    f->min = INFINITY;
    f->max = -INFINITY;
    d->rows = 0;
    for (size_t at = 0, k; at < (size_t)g->kept; at += k) {
        const float *labels;
        const void *p;

        k = (size_t)g->kept - at < READ_ROWS ? (size_t)g->kept - at : READ_ROWS;
        if (spool_read(&g->label, at * sizeof(*into), k * sizeof(*into), into, &p, err))
            return -1;
        labels = p;
        for (size_t i = 0; i < k; i++) {
            if (d->drop && d->drop[at + i])
                continue;
            d->rows++;
            if (is_class)
                f->class_rows[(size_t)labels[i]]++;
            f->min = fminf(f->min, labels[i]);
            f->max = fmaxf(f->max, labels[i]);
        }
    }
    return 0;
}

static void list_classes(char *const *names, size_t n, struct buf *out)
{
    for (size_t i = 0; i < n && i < CLASSES_SHOWN; i++) {
        buf_add_str(out, i ? ", " : "");
        report_quote(slice_str(names[i]), 40, out);
    }
    if (n > CLASSES_SHOWN)
        buf_addf(out, " and %zu more", n - CLASSES_SHOWN);
}

static void reject_label(struct sheet *s, struct segment *g, const char *before,
                         const struct settled *d, const char *after)
{
    CLEANUP(buf_fini) struct buf list = {0};

    list_classes(d->classes, d->n_classes, &list);
    report_whole(&g->report, s->label, BROKEN_LABEL, VIOLATION_REJECT, (int64_t)d->rows, "%s%s%s",
                 before, list.data ? list.data : "", after);
}

/* [negative, positive]: positive as declared, else the greater of the two. */
static void order_binary(struct sheet *s, struct segment *g, struct settled *d)
{
    char name[CATEGORY_MAX_BYTES + 1];
    const char *positive =
        s->p->positive ? class_name(slice_str(s->p->positive), name, sizeof(name)).p : NULL;
    CLEANUP(buf_fini) struct buf before = {0};

    if (d->n_classes > 2) {
        reject_label(s, g, "a binary label has two values; it has ", d,
                     ". Declare task: multiclass, or correct the label.");
        return;
    }
    if (!positive || strcmp(d->classes[1], positive) == 0)
        return;
    if (strcmp(d->classes[0], positive) == 0) {
        char *first = d->classes[0];

        d->classes[0] = d->classes[1];
        d->classes[1] = first;
        return;
    }
    buf_add_str(&before, "the positive class ");
    report_quote(slice_str(positive), 40, &before);
    buf_add_str(&before, " is none of the label's values ");
    reject_label(s, g, before.data, d, ".");
}

static void take_classes(struct sheet *s, struct segment *g, const struct label_facts *f,
                         struct settled *d)
{
    size_t present = 0;

    d->classes = xcalloc(s->classes.n + 1, sizeof(*d->classes));
    for (size_t k = 0; k < s->classes.n; k++) {
        present += f->class_rows[k] > 0;
        if (f->class_rows[k] > 0 || k < s->p->n_classes) /* declared ones are kept, seen or not */
            d->classes[d->n_classes++] = xstrdup(s->classes.items[k]);
    }
    if (present < 2) {
        reject_label(s, g, "the label has the same value in every row (of ", d,
                     "); two classes are needed to learn from.");
        return;
    }
    classes_sort(d->classes, d->n_classes);
    if (s->p->task == TASK_BINARY)
        order_binary(s, g, d);
    d->class_of_code = xcalloc(s->classes.n + 1, sizeof(*d->class_of_code));
    for (size_t k = 0; k < s->classes.n; k++)
        for (size_t i = 0; i < d->n_classes; i++)
            if (strcmp(s->classes.items[k], d->classes[i]) == 0)
                d->class_of_code[k] = (float)i;
}

/* ---- all together ---- */

static void check_rows(const struct pipeline *p, struct segment *g, const struct settled *d)
{
    long long rows = (long long)d->rows;

    if (p->rows_at_least != ABSENT_I64 && rows < p->rows_at_least)
        report_whole(&g->report, REPORT_NO_COLUMN, BROKEN_ROWS, VIOLATION_REJECT, 1,
                     "at least %lld rows are wanted (contract.rows.at_least); %lld can be used.",
                     (long long)p->rows_at_least, rows);
    else if (p->rows_at_most != ABSENT_I64 && rows > p->rows_at_most)
        report_whole(&g->report, REPORT_NO_COLUMN, BROKEN_ROWS, VIOLATION_REJECT, 1,
                     "at most %lld rows are wanted (contract.rows.at_most); there are %lld.",
                     (long long)p->rows_at_most, rows);
    else if (rows == 0)
        report_whole(&g->report, REPORT_NO_COLUMN, BROKEN_ROWS, VIOLATION_REJECT, 1,
                     "none of the %lld rows can be used.", (long long)g->rows);
}

int freeze__settle(struct sheet *s, struct segment *g, const struct artifacts *a,
                   const struct freeze_request *rq, struct settled *d, struct err *err)
{
    struct label_facts f = {0};

    if (drop_missing(s, g, d, err) || check_seen(s, g, a, rq, d, err) ||
        read_labels(s, g, d, &f, err)) {
        free(f.class_rows);
        return -1;
    }
    g->quarantined += g->kept - (int64_t)d->rows;
    check_rows(s->p, g, d);
    if (d->rows > 0 && s->p->task != TASK_REGRESSION)
        take_classes(s, g, &f, d);
    else if (d->rows > 0 && f.min == f.max)
        report_whole(&g->report, s->label, BROKEN_LABEL, VIOLATION_REJECT, (int64_t)d->rows,
                     "the label is %.9g in every row; there is nothing to learn from it.",
                     (double)f.min);
    free(f.class_rows);
    return 0;
}
