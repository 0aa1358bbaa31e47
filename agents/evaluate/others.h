/* The candidate beside models other than the champion, and on rows other than the newest: only what
 * a rule of the pipeline names.  Pool thread.
 *
 *   golden     the champion, on the test rows of the snapshot that the user pinned
 *   last_good  the newest other model that served and was not rolled back, on the test rows
 *   best       of the champion and OTHERS_WINDOW such models the one that is hardest to beat
 *
 * Each pair is measured on the rows that neither learned from, so that their number may differ. */
#ifndef EVALUATE_OTHERS_H
#define EVALUATE_OTHERS_H

#include "agents/evaluate/compare.h"
#include "agents/evaluate/contestant.h"

#define OTHERS_WINDOW 5 /* models; each is loaded, and predicts all test rows */

struct others {
    const struct artifacts *artifacts;
    const struct comparison *comparison; /* on the newest rows; its rows are not used here */
    int64_t comparisons;
    const struct contestant *candidate;
    char *const *tests; /* snapshots, oldest first */
    size_t n_tests;
    const char *champion;    /* digest; NULL: none */
    struct string_list past; /* digests, newest first, without the champion */
};
/* Appends; what cannot be read or compared has that reason. */
void others_compare(const struct others *o, struct arena *arena,
                    struct evaluation_baseline_list *ret);

#endif
