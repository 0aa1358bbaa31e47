/* What was found wrong with a dataset or a segment of it: for each column and rule a count and the
 * first rows, and in the end the violations of the event and one sentence for people.  Thread: one
 * at a time. */
#ifndef INGEST_REPORT_H
#define INGEST_REPORT_H

#include "common/events.h"
#include "common/pipeline.h"

#define REPORT_EXAMPLES 5
#define REPORT_MAX_VIOLATIONS 256 /* in an event; the rest is counted in one more */
#define REPORT_NO_COLUMN SIZE_MAX

enum broken {
    BROKEN_TYPE = 0,
    BROKEN_MIN,
    BROKEN_MAX,
    BROKEN_ALLOWED,
    BROKEN_MISSING, /* missing_at_most */
    BROKEN_ROWS,
    BROKEN_LABEL,
    BROKEN_COLUMNS,
    BROKEN_CSV, /* also npy and npz: the file itself */
    BROKEN_DIGEST,
    BROKEN_SIZE,
    BROKEN_FETCH,
    BROKEN_SEEN, /* seen_before */
    BROKEN_SEGMENTS,
    BROKEN_TIME, /* order of the time column */
    BROKEN_COUNT
};

struct tally {
    size_t column; /* REPORT_NO_COLUMN: the dataset */
    enum broken rule;
    enum on_violation severity;
    int64_t count;
    char *detail; /* one sentence; NULL: made from the column's rule when the report is closed */
    char *examples[REPORT_EXAMPLES];
    size_t n_examples;
};
struct report {
    struct tally *items;
    size_t n, cap;
    uint16_t *index; /* by column and rule: place in items + 1; 0: none */
    size_t n_index;
    bool is_rejected; /* a violation that rejects is among them */
};
void report_fini(struct report *r);
/* One more row that breaks a rule.  row 0: none to name; value: as written, cut and made printable.
 */
void report_row(struct report *r, size_t column, enum broken rule, enum on_violation severity,
                int64_t row, struct slice value);
/* One about the whole, with its sentence; count as given. */
void report_whole(struct report *r, size_t column, enum broken rule, enum on_violation severity,
                  int64_t count, const char *fmt, ...) PRINTF(6, 7);
/* The sentence of a tally that has none yet; NULL when the tally is not there. */
void report_detail(struct report *r, size_t column, enum broken rule, const char *fmt, ...)
    PRINTF(4, 5);
struct tally *report_find(struct report *r, size_t column, enum broken rule);

/* Lists for the event, allocated in arena: all of a, then all of b (may be NULL).  names[column].
 */
struct violation_list report_violations(const struct report *a, const struct report *b,
                                        const char *const *names, struct arena *arena);
/* Of a list in which one rejects: column, rule, count, what was found, first row, and what to do.
 */
const char *report_reason(struct violation_list v, struct arena *arena);

/* At most `max` bytes of it, control characters and what is no UTF-8 replaced, in quotes. */
void report_quote(struct slice value, size_t max, struct buf *out);

#endif
