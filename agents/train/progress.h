/* How far a training is: one JSON object a line on the child's standard output. */
#ifndef TRAIN_PROGRESS_H
#define TRAIN_PROGRESS_H

#include "common/err.h"

#define PROGRESS_WORD_SIZE 32

struct progress {
    char phase[PROGRESS_WORD_SIZE]; /* fetching, training, saving, stored; waiting: for an order */
    int64_t trial, trials, round, rounds;
    char metric[PROGRESS_WORD_SIZE]; /* "" none */
    double value;                    /* NaN none */
};

void progress_print(const struct progress *p);               /* to stdout, at once */
bool progress_parse(const char *line, struct progress *ret); /* false: some other line */
/* What an operator's trainer prints as SageMaker's and XGBoost's do: "[12]\tvalid-logloss:0.43",
 * "[12]#011valid-auc:0.9" or "valid-logloss=0.43;".  Sets round, metric and value; false when it
 * says neither. */
bool progress_scrape(const char *line, struct progress *ret);

#endif
