/* A training's folder as SageMaker lays it out, and the environment that its toolkit sets.
 *   input/config/hyperparameters.json   all values are strings
 *   input/config/inputdataconfig.json, resourceconfig.json
 *   input/data/train/, input/data/validation/: features.npy (float32, rows x features, missing
 * NaN), label.npy (float32: class index, or value), columns.json (task, label, classes, features
 * with types and categories) model/ (model.ubj or model.json is expected there), output/failure,
 * output/data/ In the child process only. */
#ifndef TRAIN_LAYOUT_H
#define TRAIN_LAYOUT_H

#include "agents/train/fit.h"

/* Data once for all trials, under `folder`/data. */
int layout_write_data(const struct fit_input *in, const char *folder, struct err *err) WARN_UNUSED;
/* One trial's base folder, beside data. */
int layout_write_trial(const struct fit_input *in, const struct trial *t, const char *base,
                       struct err *err) WARN_UNUSED;
/* NULL-terminated NAME=value list in the arena; nothing of this process's environment but PATH. */
const char *const *layout_env(const struct fit_input *in, const struct trial *t, const char *base,
                              struct arena *arena);

/* The reading side, for `relearn-trainer train`. */
struct layout {
    struct matrix train, valid;
    enum task task;
    struct json *hyperparameters; /* object of strings */
};
int layout_read(const char *base, struct layout *ret, struct err *err) WARN_UNUSED;
void layout_fini(struct layout *l);

#endif
