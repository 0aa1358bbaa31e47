/* Columns: what the header and the contract make of them. */
#include "agents/ingest/sheet.h"

#include <float.h>
#include <math.h>

#include "agents/ingest/csv.h"
#include "agents/ingest/number_fast.h"
#include "agents/ingest/value.h"
#include "common/snapshot.h"

enum { NAMES_SHOWN = 12 }; /* of the header, in a message */
static const size_t SPOOL_MEMORY_BYTES = (size_t)24 << 20;

static const struct column_rule *rule_of(const struct pipeline *p, const char *name)
{
    for (size_t i = 0; i < p->n_columns; i++)
        if (strcmp(p->columns[i].name, name) == 0)
            return &p->columns[i];
    return NULL;
}

static enum role role_of(const struct pipeline *p, const char *name, const struct column_rule *rule)
{
    if (strcmp(name, p->label) == 0)
        return ROLE_LABEL;
    if (p->segment && strcmp(name, p->segment) == 0)
        return ROLE_SEGMENT;
    if (p->time && strcmp(name, p->time) == 0)
        return ROLE_TIME;
    return rule && rule->type == COLUMN_IGNORE ? ROLE_IGNORE : ROLE_FEATURE;
}

static enum on_violation severity_of(const struct pipeline *p, const struct column_rule *rule)
{
    return rule && rule->on_violation >= 0 ? (enum on_violation)rule->on_violation
                                           : p->on_violation;
}

static void open_column(struct column *c, const struct pipeline *p, struct slice name)
{
    c->name = xstrndup(name.p, name.n);
    c->rule = rule_of(p, c->name);
    c->role = role_of(p, c->name, c->rule);
    c->severity = severity_of(p, c->rule);
    c->min = -FLT_MAX;
    c->max = FLT_MAX;
    if (!c->rule)
        return;
    c->type = c->rule->type;
    c->is_settled = true;
    if (!isnan(c->rule->min))
        c->min = (float)c->rule->min;
    if (!isnan(c->rule->max))
        c->max = (float)c->rule->max;
    c->is_missing_a_row_rule = c->rule->missing_at_most == 0 && c->severity == VIOLATION_QUARANTINE;
    for (size_t i = 0; i < c->rule->n_allowed; i++) {
        struct slice value = slice_str(c->rule->allowed[i]);
        char label[CATEGORY_MAX_BYTES + 1];

        if (c->role == ROLE_LABEL)
            value = class_name(value, label, sizeof(label));
        strset_add(&c->categories, value);
    }
    c->n_closed = c->categories.n;
}

/* ---- the header as a whole ---- */

static void reject(struct sheet *s, enum broken rule, int64_t count, const char *detail)
{
    report_whole(&s->report, REPORT_NO_COLUMN, rule, VIOLATION_REJECT, count, "%s", detail);
}

static void add_names(const struct sheet *s, struct buf *out)
{
    for (size_t i = 0; i < s->n_columns && i < NAMES_SHOWN; i++) {
        buf_add_str(out, i ? ", " : "");
        report_quote(slice_str(s->columns[i].name), 40, out);
    }
    if (s->n_columns > NAMES_SHOWN)
        buf_addf(out, " and %zu more", s->n_columns - NAMES_SHOWN);
}

static void check_names(struct sheet *s)
{
    struct strset seen = {0};
    CLEANUP(buf_fini) struct buf text = {0};
    size_t numbers = 0;
    float v;

    for (size_t i = 0; i < s->n_columns && !s->report.is_rejected; i++) {
        struct slice name = slice_str(s->columns[i].name);

        numbers += number_parse(name.p, name.n, &v) != NUMBER_NONE;
        if (name.n == 0) {
            buf_addf(&text, "column %zu of the header has no name; name it.", i + 1);
        } else if (!slice_is_utf8(name) || name.n > CATEGORY_MAX_BYTES) {
            buf_addf(&text,
                     "the name of column %zu of the header is no UTF-8 text of at most %d bytes.",
                     i + 1, CATEGORY_MAX_BYTES);
        } else if (strset_add(&seen, name) != i) {
            buf_add_str(&text, "the header has more than one column ");
            report_quote(name, 60, &text);
            buf_add_str(&text, "; rename one.");
        }
        if (text.len > 0)
            reject(s, BROKEN_CSV, 1, text.data);
    }
    if (!s->report.is_rejected && numbers == s->n_columns)
        reject(s, BROKEN_CSV, 1,
               "the first line has numbers only; a header with the names of the columns is wanted "
               "there.");
    strset_fini(&seen);
}

static void check_named(struct sheet *s, size_t at, const char *what, const char *name,
                        enum broken rule)
{
    CLEANUP(buf_fini) struct buf text = {0};

    if (!name || at != COLUMN_NONE)
        return;
    buf_addf(&text, "there is no %s column ", what);
    report_quote(slice_str(name), 60, &text);
    buf_add_str(&text, "; the columns are ");
    add_names(s, &text);
    buf_add_str(&text, s->n_columns == 1 && strpbrk(s->columns[0].name, ";\t|")
                           ? ". Fields are to be separated by commas."
                           : ".");
    reject(s, rule, 1, text.data);
}

/* Columns of the contract that the dataset lacks, and of the dataset that the contract lacks. */
static void check_contract(struct sheet *s)
{
    for (size_t i = 0; i < s->p->n_columns; i++) {
        const struct column_rule *rule = &s->p->columns[i];
        enum on_violation severity = severity_of(s->p, rule);
        bool found = false;

        for (size_t j = 0; j < s->n_columns && !found; j++)
            found = s->columns[j].rule == rule;
        if (found || rule->type == COLUMN_IGNORE)
            continue;
        /* No row can be set aside for it: with quarantine it refuses too. */
        report_whole(&s->report, REPORT_NO_COLUMN, BROKEN_COLUMNS,
                     severity == VIOLATION_WARN ? VIOLATION_WARN : VIOLATION_REJECT, 1,
                     "the dataset has no column '%.60s', which the contract lists.", rule->name);
    }
    for (size_t j = 0; s->p->strict_columns && j < s->n_columns; j++)
        if (!s->columns[j].rule && s->columns[j].role == ROLE_FEATURE)
            report_whole(&s->report, REPORT_NO_COLUMN, BROKEN_COLUMNS, VIOLATION_REJECT, 1,
                         "column '%.60s' is not in the contract, which refuses others "
                         "(contract.other_columns).",
                         s->columns[j].name);
}

void sheet__note_plain(struct sheet *s, const struct column *c)
{
    s->plain[c - s->columns] = (struct plain){
        .min = c->min,
        .max = c->max,
        .feature = (uint32_t)c->feature,
        .is_number = c->role == ROLE_FEATURE && c->type == COLUMN_FLOAT && c->is_settled,
    };
}

static void find_asides(struct sheet *s)
{
    for (size_t k = 0; k < ASIDE_COUNT; k++) {
        s->asides[k] = COLUMN_NONE;
        for (size_t i = 0; s->p->asides[k] && i < s->n_columns; i++)
            if (strcmp(s->columns[i].name, s->p->asides[k]) == 0)
                s->asides[k] = i;
        s->n_asides += s->asides[k] != COLUMN_NONE;
    }
}

static void number_features(struct sheet *s)
{
    s->label = s->segment = s->time = COLUMN_NONE;
    for (size_t i = 0; i < s->n_columns; i++) {
        struct column *c = &s->columns[i];

        if (c->role == ROLE_FEATURE)
            c->feature = s->n_features++;
        else if (c->role == ROLE_LABEL)
            s->label = i;
        else if (c->role == ROLE_SEGMENT)
            s->segment = i;
        else if (c->role == ROLE_TIME)
            s->time = i;
        s->names[i] = c->name;
        sheet__note_plain(s, c);
    }
    s->features = xcalloc(s->n_features + 1, sizeof(*s->features));
}

void sheet_open(struct sheet *s, const struct pipeline *p, const struct artifacts *a,
                const struct slice *names, size_t n, const struct strset *forced)
{
    s->p = p;
    s->budget = (struct spool_budget){.artifacts = a, .max_bytes = SPOOL_MEMORY_BYTES};
    s->columns = xcalloc(n ? n : 1, sizeof(*s->columns));
    s->plain = xcalloc(n ? n : 1, sizeof(*s->plain));
    s->names = xcalloc(n ? n : 1, sizeof(*s->names));
    s->n_columns = n;
    for (size_t i = 0; i < n; i++) {
        struct column *c = &s->columns[i];

        open_column(c, p, value_trim(names[i].p, names[i].n));
        if (strset_find(forced, slice_str(c->name)) != STRSET_NONE) {
            c->type = COLUMN_CATEGORY;
            c->is_settled = true;
        }
    }
    number_features(s);
    find_asides(s);
    for (size_t k = 0; k < p->n_classes; k++) {
        char name[CATEGORY_MAX_BYTES + 1];

        strset_add(&s->classes, class_name(slice_str(p->classes[k]), name, sizeof(name)));
    }
    check_names(s);
    if (s->report.is_rejected)
        return;
    check_named(s, s->label, "label", p->label, BROKEN_LABEL);
    check_named(s, s->segment, "segment", p->segment, BROKEN_SEGMENTS);
    check_named(s, s->time, "time", p->time, BROKEN_COLUMNS);
    check_named(s, s->asides[ASIDE_WEIGHT], "weight", p->asides[ASIDE_WEIGHT], BROKEN_COLUMNS);
    check_named(s, s->asides[ASIDE_GROUP], "group", p->asides[ASIDE_GROUP], BROKEN_COLUMNS);
    check_named(s, s->asides[ASIDE_VALUE], "value", p->asides[ASIDE_VALUE], BROKEN_COLUMNS);
    check_named(s, s->asides[ASIDE_CLUSTER], "cluster", p->asides[ASIDE_CLUSTER], BROKEN_COLUMNS);
    check_contract(s);
    if (!s->report.is_rejected && s->n_features == 0)
        reject(s, BROKEN_COLUMNS, 1, "there is no column to learn from beside the label.");
}

static void segment_free(struct segment *g, struct spool_budget *b)
{
    spool_fini(&g->features, b);
    spool_fini(&g->label, b);
    spool_fini(&g->hash, b);
    spool_fini(&g->aside, b);
    report_fini(&g->report);
    free(g->missing);
    free(g->name);
    free(g);
}

void sheet_close(struct sheet *s)
{
    for (size_t i = 0; i < s->n_segments; i++)
        segment_free(s->segments[i], &s->budget);
    free(s->segments);
    for (size_t i = 0; i < s->n_columns; i++) {
        free(s->columns[i].name);
        strset_fini(&s->columns[i].categories);
    }
    free(s->columns);
    free(s->plain);
    free(s->names);
    free(s->features);
    strset_fini(&s->classes);
    strset_fini(&s->segment_names);
    strset_fini(&s->known);
    report_fini(&s->report);
    *s = (struct sheet){0};
}

/* ---- types that nobody declared ---- */

static bool is_found(const struct column *c) /* its type is to be found */
{
    return c->role == ROLE_FEATURE && !c->is_settled;
}

bool sheet_needs_survey(const struct sheet *s)
{
    for (size_t i = 0; i < s->n_columns; i++)
        if (is_found(&s->columns[i]))
            return true;
    return false;
}

void sheet_survey(struct sheet *s, const struct slice *fields, size_t n)
{
    float v;

    for (size_t i = 0; n == s->n_columns && i < n; i++) {
        struct column *c = &s->columns[i];

        if (!is_found(c) || (c->kinds & 1u << KIND_TEXT)) /* text settles it */
            continue;
        if (number_fast(fields[i].p, fields[i].n, &v))
            c->kinds |= 1u << KIND_NUMBER;
        else
            c->kinds |= 1u << value_kind(fields[i].p, fields[i].n);
    }
}

void sheet_settle(struct sheet *s)
{
    for (size_t i = 0; i < s->n_columns; i++) {
        struct column *c = &s->columns[i];
        unsigned kinds = c->kinds & ~(1u << KIND_MISSING);

        if (!is_found(c) ||
            kinds == 0) /* nothing but missing values so far: the first one will tell */
            continue;
        c->is_settled = true;
        if (kinds == 1u << KIND_NUMBER)
            c->type = COLUMN_FLOAT;
        else if (kinds == 1u << KIND_DATE)
            c->type = COLUMN_DATE;
        else if (kinds == 1u << KIND_BOOL)
            c->type = COLUMN_BOOL;
        else
            c->type = COLUMN_CATEGORY;
        sheet__note_plain(s, c);
    }
}
