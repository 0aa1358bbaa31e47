/* What the evaluate agent owes on a line.  Pure. */
#ifndef EVALUATE_OWED_H
#define EVALUATE_OWED_H

#include "common/line.h"

#define EVALUATE_PAST_MODELS 8 /* more than anybody compares with */

struct evaluate_owed {
    const struct event *cause;              /* to answer; NULL: nothing is owed */
    const struct event *model;              /* the TrainingFinished meant */
    int64_t against;                        /* generation of the champion now; 0: none */
    const char *champion;                   /* its model; NULL: none */
    const char *past[EVALUATE_PAST_MODELS]; /* other models that served, newest first, without those
                                               that were rolled back */
    size_t n_past;
    int64_t attempt; /* other runs that were evaluated against that generation before, plus one */
};
void evaluate_find_owed(const struct line *l, struct evaluate_owed *ret);
bool evaluate_is_answered(const struct line *l, const struct event *ev);

#endif
