/* What a window's labels say: realised quality.  Pure; thread: any. */
#ifndef MONITOR_QUALITY_H
#define MONITOR_QUALITY_H

#include "agents/monitor/join.h"
#include "common/events.h"
#include "common/pipeline.h"

/* Fewer labelled rows than this (or than the window has) give figures but no verdict: the standard
 * error of an accuracy over 30 rows is 9 points already. */
#define QUALITY_MIN_ROWS 30

struct quality_bound {        /* the pipeline's */
    const char *metric;       /* NULL: none */
    double at_least, at_most; /* NaN: unbounded */
};
struct quality {
    struct named_value_list values; /* accuracy and logloss, or mae and rmse, and the metric of the
                                       bound; in the arena */
    const char *verdict, *reason;   /* ok, degraded, unknown */
};
/* pieces: of one window, linked by `next`; task NULL: the model is not known.  total: rows of the
 * window. Labels of classes that the model does not know count as wrong answers in accuracy and are
 * left out of the rest. */
void quality_judge(const struct piece *pieces, const enum task *task,
                   const struct quality_bound *bound, int64_t total, int64_t generation,
                   struct arena *arena, struct quality *ret);

#endif
