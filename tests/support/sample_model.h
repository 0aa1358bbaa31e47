/* A model's manifest in memory, made from a few words, for tests of what reads one; and models with
 * a booster and a profile in a store, trained on a few rows.  Thread: main. */
#ifndef TESTS_SUPPORT_SAMPLE_MODEL_H
#define TESTS_SUPPORT_SAMPLE_MODEL_H

#include "common/model.h"

/* columns: "a:float b:int c:category(x,y) d:bool e:date"; classes: "no yes", "" for regression. */
struct model *sample_model(const char *columns, const char *classes);

struct sample_training {
    const char *line;
    const char *classes; /* as above */
    const char *columns; /* as above */
    size_t rows;
    const float *x, *y;
    uint64_t seed; /* other seed, other model */
};
/* Trains with xgb_train, profiles the rows, stores everything; the test fails when that fails. */
struct model *sample_model_train(const struct artifacts *a, const struct sample_training *t);

#endif
