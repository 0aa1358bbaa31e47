/* Fitting: all trials of a run, the best one kept.  In the child process only. */
#ifndef TRAIN_FIT_H
#define TRAIN_FIT_H

#include "agents/train/order.h"
#include "agents/train/trials.h"
#include "common/snapshot.h"

struct fit_input {
    const struct order *order;
    const struct pipeline *pipeline;
    const struct matrix *train, *valid; /* valid->rows 0: none */
    struct trials trials;
    uint64_t seed;
};
struct fitted {
    struct buf model;
    const char *format; /* "ubj" or "json" */
    int64_t rounds;     /* 0: not known (an operator's trainer) */
    double score; /* of the valid rows: log loss, or root mean square error; NaN without any */
    struct trial trial; /* the best one */
    int64_t trials;     /* that were run */
};
void fitted_fini(struct fitted *f);
const char *fit_score_name(enum task t); /* "logloss", "rmse": of fitted.score */

/* Parameters of the built-in trainer that a trial does not give: max_depth 4, eta 0.1, rounds 50.
 */
void fit_defaults(struct trials *t, struct arena *arena);
/* XGBoost in this process. */
int fit_builtin(const struct fit_input *in, struct fitted *ret, struct err *err) WARN_UNUSED;
/* The operator's command, once for each trial, in SageMaker's folder layout (layout.h). */
int fit_command(const struct fit_input *in, struct fitted *ret, struct err *err) WARN_UNUSED;

#endif
