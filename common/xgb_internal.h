/* What the files of the xgb module share.  Only xgb*.c include this. */
#ifndef COMMON_XGB_INTERNAL_H
#define COMMON_XGB_INTERNAL_H

#include "common/xgb.h"

struct xgb_facts {                         /* what a model text says of itself */
    size_t n_features, n_classes, n_trees; /* n_classes 0 or 1: one output */
    char objective[64];
    char base_score[64];
    size_t base_score_list_n; /* characters of "[5E-1]", as XGBoost 3.1 and later write it (1.7
                                 would read 0.5 in silence); 0: a number */
};
/* The whole check; xgb_check is this and the feature count. */
int xgb__inspect(struct slice model, struct xgb_facts *ret, struct err *err) WARN_UNUSED;
/* The same model with base_score as a plain number. */
int xgb__plain_base_score(struct slice model, const struct xgb_facts *facts, struct buf *ret,
                          struct err *err) WARN_UNUSED;

/* Text of XGBoost's last error in this thread, its stack trace cut off; returns -1. */
int xgb__fail(struct err *err, const char *what);
/* Answers of a BoosterHandle to dense rows, n_outputs a row. */
int xgb__predict(void *booster, const float *rows, size_t n_rows, size_t n_features,
                 size_t n_outputs, double *out, struct err *err) WARN_UNUSED;
/* {"data":[<address>,true],...} of rows x cols float32; cols 0: a vector. */
#define XGB_INTERFACE_SIZE 128
void xgb__interface(const float *data, size_t rows, size_t cols, char out[XGB_INTERFACE_SIZE]);

#endif
