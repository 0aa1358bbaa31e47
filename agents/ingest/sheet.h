/* A dataset while it is read for one pipeline: its columns, its segments, what is wrong with it.
 * Rows come from CSV (text) or arrays (numbers), are checked cell by cell against the contract, and
 * those that stay are spooled for their segment; freeze.h makes snapshots of them.  One thread. */
#ifndef INGEST_SHEET_H
#define INGEST_SHEET_H

#include "agents/ingest/report.h"
#include "agents/ingest/spool.h"
#include "common/strset.h"

#define CATEGORIES_MAX                                                                             \
    10000 /* of a column: beyond that it is no category but a name or free text */
#define CATEGORY_MAX_BYTES 256 /* of one value; the same reason */
#define CLASSES_MAX 1000       /* of a label */
#define COLUMN_NONE SIZE_MAX

enum role { ROLE_FEATURE = 0, ROLE_LABEL, ROLE_SEGMENT, ROLE_TIME, ROLE_IGNORE };
struct column {
    char *name;
    enum role role;
    enum column_type type;
    const struct column_rule *rule; /* NULL: not in the contract; then the type is found */
    enum on_violation severity;     /* the rule's, else the contract's */
    float min, max;                 /* -FLT_MAX and FLT_MAX when unbounded */
    bool is_settled;                /* type declared, or a present value has been seen */
    bool is_missing_a_row_rule; /* missing_at_most: 0 with quarantine: such rows are left out one by
                                   one */
    size_t n_closed;            /* `allowed` lists so many categories, the first ones; 0: any */
    unsigned kinds;             /* survey: bit for each enum value_kind */
    bool is_mixed;              /* numbers and text, say: read again as a category */
    size_t feature;             /* index among the features */
    struct strset categories;
};

struct segment {
    char *name; /* NULL: the nameless one */
    struct report report;
    int64_t rows, kept, quarantined; /* rows read; kept + quarantined <= rows */
    int64_t *missing;                /* by column, of rows read */
    double last_time;                /* of the time column; NaN: none yet */
    struct spool features, label, hash, aside;
};

/* What most cells need to know of their column, side by side. */
struct plain {
    float min, max;
    uint32_t feature;
    bool is_number; /* a feature, a float, and settled */
};

struct sheet {
    const struct pipeline *p;
    struct plain *plain; /* by column */
    struct column *columns;
    const char **names; /* by column; for reports */
    size_t n_columns, n_features;
    size_t label, segment, time;          /* columns; COLUMN_NONE when the pipeline names none */
    size_t asides[ASIDE_COUNT], n_asides; /* columns likewise, whatever their role */
    struct strset classes;                /* label values, in order of sight */
    struct report report;                 /* about the whole dataset */
    struct strset segment_names;          /* of `segments`, in step */
    struct segment **segments;
    size_t n_segments, cap_segments;
    struct strset known; /* segments that have lines already */
    struct spool_budget budget;
    int64_t rows;              /* data rows read, good or bad */
    bool is_mixed;             /* some column is: what was read is void, read again */
    float *features;           /* of the row at hand */
    double aside[ASIDE_COUNT]; /* the same, n_asides of them */
};

/* names: the header.  forced: names of columns to be read as categories (from the pass before), may
 * be empty. What is wrong with the header goes to the report; then report.is_rejected. */
void sheet_open(struct sheet *s, const struct pipeline *p, const struct artifacts *a,
                const struct slice *names, size_t n, const struct strset *forced);
void sheet_close(struct sheet *s); /* {0} is fine; spools that were not taken are removed */
bool sheet_needs_survey(const struct sheet *s); /* some column's type is to be found */

/* For the first rows, before any is added: what their cells look like.  Slack as below. */
void sheet_survey(struct sheet *s, const struct slice *fields, size_t n);
void sheet_settle(struct sheet *s); /* takes types from that */

/* One data row; NUMBER_FAST_SLACK bytes are readable behind each field; text is what is hashed.
 * Errors only when the spool's disk fails. */
int sheet_add_text(struct sheet *s, const struct slice *fields, size_t n, int64_t row, int64_t line,
                   struct slice text, struct err *err) WARN_UNUSED;
/* The same from numbers; label_text is used instead of its cell when its p is not NULL. */
int sheet_add_numbers(struct sheet *s, const double *cells, struct slice label_text, int64_t row,
                      uint64_t hash, struct err *err) WARN_UNUSED;

/* All rows are read: checks what needs all of them. */
void sheet_end(struct sheet *s, int64_t expected_rows /* ABSENT_I64 */);

/* Inside: cell.c.  Returns CELL_OK or the rule that the cell breaks; *ret is its value, NaN when
 * missing. */
enum { CELL_OK = -1 };
int cell_text(struct sheet *s, struct column *c, struct slice text, float *ret);
int cell_number(struct sheet *s, struct column *c, double v, float *ret);
int cell_label_text(struct sheet *s, struct column *c, struct slice text, float *ret);
int cell_label_number(struct sheet *s, struct column *c, double v, float *ret);
bool cell_time(struct slice text, double *ret);
void sheet__note_plain(struct sheet *s, const struct column *c); /* when its type is settled */
/* details.c: the sentences of a report. */
void sheet__details(const struct sheet *s, struct report *r);

#endif
