/* SQL of a filter: fixed pieces of text, and values to be bound.  Used by runs_find.c. */
#ifndef CONSOLE_RUNS_SQL_H
#define CONSOLE_RUNS_SQL_H

#include "agents/console/filter.h"
#include "common/buf.h"
#include "common/store.h"

struct sql {
    struct store *st;
    struct buf text;
    struct filter_value *values; /* in the order of ?1, ?2, ... */
    size_t n, cap;
    const char *sorted_name; /* a metric or parameter whose value is at hand as d.value; NULL */
    struct err *err;
    bool has_failed; /* *err says why */
};
void sql_reset(struct sql *q); /* text and values; the rest stays */
void sql_fini(struct sql *q);
void sql_bind(struct sql *q, struct filter_value v); /* adds the value, and its ? to the text */
void sql_bind_number(struct sql *q, double v);
/* The number of a name like "metric.auc"; 0 when no run has it. */
int64_t sql_name(struct sql *q, const char *name);
const char *sql_column(enum filter_column column); /* "line" */
/* A condition on r.  at_top: one of those that all must hold, where "unknown" is as good as no. */
void sql_condition(struct sql *q, const struct filter *f, bool at_top);
/* Makes a query that gives the numbers of the runs which fit a test, by an index; false when it
 * has none. */
bool sql_source(struct sql *q, const struct filter *f);
/* The statement, bound; free it with stmt_free. NULL with *q->err. */
struct stmt *sql_ask(struct sql *q);

#endif
