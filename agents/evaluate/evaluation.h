/* One evaluation, start to end: models and rows in, ModelEvaluated out.  Pool thread. */
#ifndef EVALUATE_EVALUATION_H
#define EVALUATE_EVALUATION_H

#include "common/events.h"
#include "common/pipeline.h"
#include "common/snapshot.h"

struct evaluation {
    /* in; strings live in `arena` */
    const struct artifacts *artifacts;
    const struct pipeline *pipeline; /* that the run is held to; NULL: only to fail */
    const char *line, *run, *model, *model_event;
    struct string_list snapshots; /* of the run, oldest first */
    int64_t against;              /* generation of the champion; 0: none */
    const char *champion;         /* its model; NULL: none */
    int64_t attempt;              /* against it, from 1 */
    struct string_list past; /* models that served before, newest first; for best and last_good */
    /* out */
    struct model_evaluated rec;
    int rc; /* -1: `err` says why there is no rec */
    struct err err;
    struct arena arena;
};
/* Fills rec (status evaluated), or rc and err. */
void evaluation_run(struct evaluation *e);
/* rec for what cannot be evaluated: status failed. */
void evaluation_fail(struct evaluation *e, const char *reason);
void evaluation_fini(struct evaluation *e);

#endif
