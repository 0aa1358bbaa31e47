/* One row: which segment, what its cells are worth, whether it stays. */
#include <math.h>

#include "agents/ingest/number_fast.h"
#include "agents/ingest/sheet.h"
#include "agents/ingest/value.h"
#include "common/rng.h"

struct verdict { /* on the row at hand */
    struct sheet *s;
    struct segment *g;
    int64_t row;
    bool drop;
};

/* ---- segments ---- */

static bool is_listed(const struct pipeline *p, const char *name)
{
    for (size_t i = 0; i < p->n_segments; i++)
        if (strcmp(p->segments[i], name) == 0)
            return true;
    return p->n_segments == 0;
}

static struct segment *new_segment(struct sheet *s, const char *name)
{
    struct segment *g = xcalloc(1, sizeof(*g));

    g->name = xstrdup(name);
    g->missing = xcalloc(s->n_columns, sizeof(*g->missing));
    g->last_time = NAN;
    s->segments = xgrow(s->segments, &s->cap_segments, s->n_segments + 1, sizeof(*s->segments));
    s->segments[s->n_segments++] = g;
    return g;
}

/* NULL when the row has no segment that may be. */
static struct segment *segment_of(struct sheet *s, struct slice value, int64_t row)
{
    struct slice name = value_trim(value.p, value.n);
    char text[PIPELINE_NAME_MAX + 1];
    size_t at;

    if (s->segment == COLUMN_NONE)
        return s->n_segments ? s->segments[0] : new_segment(s, NULL);
    at = strset_find(&s->segment_names, name);
    if (at != STRSET_NONE)
        return s->segments[at];
    snprintf(text, sizeof(text), "%.*s", name.n < sizeof(text) ? (int)name.n : 0,
             name.p ? name.p : "");
    if (!segment_is_valid(text) || !is_listed(s->p, text)) {
        report_row(&s->report, s->segment, BROKEN_SEGMENTS, s->columns[s->segment].severity, row,
                   value);
        return NULL;
    }
    strset_add(&s->known, name);
    if ((int64_t)s->known.n > s->p->max_segments) {
        report_whole(&s->report, s->segment, BROKEN_SEGMENTS, VIOLATION_REJECT, 1,
                     "there are more than %lld segments, those of earlier versions included; raise "
                     "max_segments, or list the segments wanted.",
                     (long long)s->p->max_segments);
        return NULL;
    }
    strset_add(&s->segment_names, name);
    return new_segment(s, text);
}

/* ---- cells ---- */

/* value: as written, for the report. */
static void broken(struct verdict *v, struct column *c, int rule, struct slice value)
{
    size_t column = (size_t)(c - v->s->columns);
    enum on_violation severity = c->severity;

    if (rule == BROKEN_TIME && !(c->rule && c->rule->on_violation >= 0))
        severity = VIOLATION_WARN; /* late rows are usual; who minds them says so for that column */
    report_row(&v->g->report, column, (enum broken)rule, severity, v->row, value);
    v->drop |= severity == VIOLATION_QUARANTINE;
}

static struct slice number_text(double v, char out[32])
{
    double_to_str(v, out);
    return slice_str(out);
}

static void take_feature(struct verdict *v, struct column *c, int rule, struct slice text)
{
    float value = v->s->features[c->feature];

    if (isnan(value) && rule != BROKEN_TYPE)
        v->g->missing[c - v->s->columns]++;
    if (rule != CELL_OK)
        broken(v, c, rule, text);
}

static void take_label(struct verdict *v, struct column *c, int rule, float label,
                       struct slice text)
{
    if (rule != CELL_OK)
        broken(v, c, rule, text);
    v->drop |= isnan(label); /* nothing is learned from it, whatever the contract says */
}

static void take_time(struct verdict *v, struct column *c, bool is_time, double t,
                      struct slice text)
{
    if (!is_time) {
        broken(v, c, BROKEN_TYPE, text);
    } else if (t < v->g->last_time) {
        broken(v, c, BROKEN_TIME, text);
    } else {
        v->g->last_time = t;
    }
}

/* ---- what is kept beside the features ---- */

static bool is_name(enum aside which)
{
    return which == ASIDE_GROUP || which == ASIDE_CLUSTER;
}

/* A group is known by 52 bits of its text's hash, which a double holds: of a million groups two are
 * one with a probability of one in nine thousand. */
static double aside_of(enum aside which, struct slice text)
{
    struct slice word = value_trim(text.p, text.n);
    float v;

    if (value_is_missing(text.p, text.n))
        return NAN;
    if (is_name(which))
        return (double)(hash64(word.p, word.n, 0) >> 12);
    return number_parse(text.p, text.n, &v) == NUMBER_OK ? (double)v : (double)NAN;
}

static void take_asides(struct sheet *s, const struct slice *fields, const double *cells)
{
    size_t n = 0;

    BUG_ON(!fields && !cells);
    for (size_t k = 0; k < ASIDE_COUNT; k++) {
        char text[32];

        if (s->asides[k] == COLUMN_NONE)
            continue;
        if (fields)
            s->aside[n++] = aside_of((enum aside)k, fields[s->asides[k]]);
        else if (!is_name((enum aside)k) || isnan(cells[s->asides[k]]))
            s->aside[n++] = cells[s->asides[k]];
        else
            s->aside[n++] = aside_of((enum aside)k, number_text(cells[s->asides[k]], text));
    }
}

/* ---- keeping ---- */

static int keep(struct verdict *v, float label, uint64_t hash, struct err *err)
{
    struct sheet *s = v->s;
    struct segment *g = v->g;

    g->rows++;
    if (v->drop) {
        g->quarantined++;
        return 0;
    }
    if (g->report.is_rejected || s->report.is_rejected || s->is_mixed)
        return 0; /* read on for the counts only */
    g->kept++;
    if (spool_add(&g->features, &s->budget, s->features, s->n_features * sizeof(*s->features),
                  err) ||
        spool_add(&g->label, &s->budget, &label, sizeof(label), err) ||
        (s->n_asides &&
         spool_add(&g->aside, &s->budget, s->aside, s->n_asides * sizeof(*s->aside), err)))
        return -1;
    return spool_add(&g->hash, &s->budget, &hash, sizeof(hash), err);
}

/* ---- rows ---- */

static void text_cell(struct verdict *v, struct column *c, struct slice text, float *label)
{
    double t = NAN;
    bool is_time;
    int rule;

    switch (c->role) {
    case ROLE_FEATURE:
        rule = cell_text(v->s, c, text, &v->s->features[c->feature]);
        if (rule != CELL_OK || isnan(v->s->features[c->feature]))
            take_feature(v, c, rule, text);
        break;
    case ROLE_LABEL:
        rule = cell_label_text(v->s, c, text, label);
        take_label(v, c, rule, *label, text);
        break;
    case ROLE_TIME:
        if (value_is_missing(text.p, text.n)) {
            v->g->missing[c - v->s->columns]++;
            break;
        }
        is_time = cell_time(text, &t);
        take_time(v, c, is_time, t, text);
        break;
    default:
        break;
    }
}

/* Most cells of most datasets. */
static inline bool is_plain_number(const struct plain *p, struct slice text, float *features)
{
    float v;

    if (!p->is_number || !number_fast(text.p, text.n, &v) || !(v >= p->min && v <= p->max))
        return false;
    features[p->feature] = v;
    return true;
}

int sheet_add_text(struct sheet *s, const struct slice *fields, size_t n, int64_t row, int64_t line,
                   struct slice text, struct err *err)
{
    struct verdict v = {.s = s, .row = row};
    float label = NAN;

    s->rows++;
    if (n != s->n_columns) {
        char what[96];

        snprintf(what, sizeof(what), "line %lld has %zu fields", (long long)line, n);
        report_row(&s->report, REPORT_NO_COLUMN, BROKEN_CSV, s->p->on_violation, row,
                   slice_str(what));
        return 0;
    }
    v.g = segment_of(s, s->segment == COLUMN_NONE ? (struct slice){0} : fields[s->segment], row);
    if (!v.g)
        return 0;
    for (size_t i = 0; i < n; i++)
        if (!is_plain_number(&s->plain[i], fields[i], s->features))
            text_cell(&v, &s->columns[i], fields[i], &label);
    take_asides(s, fields, NULL);
    return keep(&v, label, hash64(text.p, text.n, 0), err);
}

static void number_cell(struct verdict *v, struct column *c, double cell, struct slice label_text,
                        float *label)
{
    char text[32];
    int rule;

    switch (c->role) {
    case ROLE_FEATURE:
        rule = cell_number(v->s, c, cell, &v->s->features[c->feature]);
        if (rule != CELL_OK || isnan(v->s->features[c->feature]))
            take_feature(v, c, rule, number_text(cell, text));
        break;
    case ROLE_LABEL:
        rule = label_text.p ? cell_label_text(v->s, c, label_text, label)
                            : cell_label_number(v->s, c, cell, label);
        take_label(v, c, rule, *label, label_text.p ? label_text : number_text(cell, text));
        break;
    case ROLE_TIME:
        if (isnan(cell))
            v->g->missing[c - v->s->columns]++;
        else
            take_time(v, c, true, cell, number_text(cell, text));
        break;
    default:
        break;
    }
}

int sheet_add_numbers(struct sheet *s, const double *cells, struct slice label_text, int64_t row,
                      uint64_t hash, struct err *err)
{
    struct verdict v = {.s = s, .row = row};
    struct slice segment = {0};
    float label = NAN;
    char text[32];

    s->rows++;
    if (s->segment != COLUMN_NONE) {
        if (isnan(cells[s->segment]))
            text[0] = '\0';
        else
            snprintf(text, sizeof(text), "%.15g", cells[s->segment]);
        segment = slice_str(text);
    }
    v.g = segment_of(s, segment, row);
    if (!v.g)
        return 0;
    for (size_t i = 0; i < s->n_columns; i++)
        number_cell(&v, &s->columns[i], cells[i], label_text, &label);
    take_asides(s, NULL, cells);
    return keep(&v, label, hash, err);
}

/* ---- the end ---- */

static void check_missing(struct sheet *s, struct segment *g)
{
    for (size_t i = 0; i < s->n_columns; i++) {
        struct column *c = &s->columns[i];
        double share = g->rows ? (double)g->missing[i] / (double)g->rows : 0;

        if (!c->rule || c->is_missing_a_row_rule || isnan(c->rule->missing_at_most) ||
            (c->role != ROLE_FEATURE && c->role != ROLE_TIME) || share <= c->rule->missing_at_most)
            continue;
        report_whole(
            &g->report, i, BROKEN_MISSING, c->severity, g->missing[i],
            "at most %.4g %% of the values may be missing; %.4g %% are (%lld of %lld rows).",
            c->rule->missing_at_most * 100, share * 100, (long long)g->missing[i],
            (long long)g->rows);
    }
}

void sheet_end(struct sheet *s, int64_t expected_rows)
{
    if (expected_rows != ABSENT_I64 && expected_rows != s->rows)
        report_whole(&s->report, REPORT_NO_COLUMN, BROKEN_ROWS, VIOLATION_REJECT, 1,
                     "the event says %lld rows, the dataset has %lld; publish it again whole.",
                     (long long)expected_rows, (long long)s->rows);
    else if (s->rows == 0)
        report_whole(&s->report, REPORT_NO_COLUMN, BROKEN_ROWS, VIOLATION_REJECT, 1,
                     "the dataset has no rows.");
    else if (s->n_segments == 0 && !s->report.is_rejected)
        report_whole(&s->report, REPORT_NO_COLUMN, BROKEN_ROWS, VIOLATION_REJECT, 1,
                     "none of the dataset's %lld rows can be used.", (long long)s->rows);
    for (size_t i = 0; i < s->n_segments; i++) {
        check_missing(s, s->segments[i]);
        sheet__details(s, &s->segments[i]->report);
    }
    sheet__details(s, &s->report);
}
