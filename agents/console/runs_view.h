/* Runs in the view: one row each, with their parameters and metrics beside it, so that a million of
 * them can be filtered, sorted and paged.  Works on a store alone, without bus or fold.
 *
 * SQL is put together from fixed pieces by the shape of the question; whatever comes from outside
 * is bound.  Thread: the store's. */
#ifndef CONSOLE_RUNS_VIEW_H
#define CONSOLE_RUNS_VIEW_H

#include "common/events.h"
#include "common/store.h"

extern const char RUNS_SCHEMA[]; /* a migration */

/* What the event says about its run, which may come before the run's plan: topics have no order
 * among each other.  The caller leaves out void ones and second results.  Of what is said anew (an
 * evaluation, a decision, a deployment) the last counts.  Events of other topics: nothing. */
int runs_put(struct store *st, const struct event *ev, struct err *err) WARN_UNUSED;
/* Makes the indexes that sorting and filtering use; when the view is first filled. */
int runs_make_indexes(struct store *st, struct err *err) WARN_UNUSED;

struct runs_query {
    const char *line;   /* a line, or a pipeline with all its lines; NULL: any */
    const char *filter; /* filter.h; NULL: all */
    const char *sort;   /* NULL: newest first */
    const char *cursor; /* of the run after which to go on; NULL: from the first */
    int64_t limit;
    int64_t now_us; /* what "ago" counts from */
};
/* Ids of the events that made the run what it is; NULL: none yet. */
struct runs_found {
    const char *line, *run, *evaluation, *decision, *change;
    const char *cursor;
};
typedef void (*runs_fn)(void *ctx, const struct runs_found *found);
/* Errors: ERR_INVAL for filter, sort or cursor; ERR_LIMIT (permanent) when too many runs would have
 * to be looked at. */
int runs_find(struct store *st, const struct runs_query *q, runs_fn fn, void *ctx,
              struct err *err) WARN_UNUSED;

#endif
