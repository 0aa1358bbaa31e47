/* Candidate and champion on the same rows: every metric, on all rows and by slice, with the
 * interval of the difference.  Pure. */
#ifndef EVALUATE_COMPARE_H
#define EVALUATE_COMPARE_H

#include "common/events.h"
#include "common/metrics.h"
#include "common/snapshot.h"

struct comparison {
    const struct pipeline *pipeline;
    const struct matrix *rows;   /* features as the candidate has them, and labels */
    size_t k;                    /* outputs a row */
    const double *candidate;     /* rows x k */
    const double *champion;      /* the same, in the candidate's order of classes; NULL: none, */
    const char *why_no_champion; /* and why, when one is in service */
    int64_t attempt;             /* against this champion, from 1; for evaluate.sequential */
    uint64_t seed;
    unsigned threads; /* for resamples; the report is the same for any number */
};
/* The list lives in the arena.  Comparisons that the levels are corrected for; 0: no correction. */
int64_t compare(const struct comparison *c, struct arena *arena,
                struct evaluation_metric_list *ret);

/* How intervals are made by the pipeline's word, their level corrected for so many comparisons. */
struct metric_resampling comparison_resampling(const struct comparison *c, int64_t comparisons);

#endif
