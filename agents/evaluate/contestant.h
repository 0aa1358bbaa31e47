/* A model that takes part in an evaluation, and its answers.  Pool thread. */
#ifndef EVALUATE_CONTESTANT_H
#define EVALUATE_CONTESTANT_H

#include "common/model.h"
#include "common/xgb.h"

struct contestant { /* {0} is empty */
    struct model *model;
    struct xgb *xgb;
};
/* Errors: as model_open and artifacts_get; ERR_CODEC for a damaged model. */
int contestant_open(const struct artifacts *a, const char *digest, struct contestant *ret,
                    struct err *err) WARN_UNUSED;
void contestant_fini(struct contestant *c);
/* ret: rows x outputs, the caller's. */
int contestant_answer(const struct contestant *c, const struct matrix *rows, double **ret,
                      struct err *err) WARN_UNUSED;
/* NULL, or why the two cannot be compared. */
const char *contestant_why_not(const struct model *candidate, const struct model *other);
/* The other's answers, as the candidate counts classes; *p is replaced where it must be. */
void contestant_align(const struct model *candidate, const struct model *other, size_t rows,
                      double **p);

#endif
