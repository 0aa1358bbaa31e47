/* What comes after fitting: the saved model is loaded as serve will load it, the profile is taken,
 * and everything is stored and signed.  In the child process only. */
#ifndef TRAIN_FINISH_H
#define TRAIN_FINISH_H

#include "agents/train/fit.h"
#include "common/artifact.h"

/* The profile of the training rows, made beside the fitting, on another core where there is one. */
struct profiling;
struct profiling *profiling_start(const struct matrix *rows);
void profiling_free(struct profiling *p); /* waits for it; NULL is fine */

struct finish_input {
    const struct fit_input *fit;
    const struct fitted *fitted;
    struct snapshot *const *snapshots; /* oldest first */
    const struct artifacts *artifacts;
    const struct sign_key *key;
    struct profiling *profiling;
};
/* Fills *ret_model with the digest of the manifest, and the figures of *f. The lists of *f live in
 * the arena. */
int finish_store(const struct finish_input *in, struct arena *arena, struct training_finished *f,
                 struct err *err) WARN_UNUSED;

#endif
