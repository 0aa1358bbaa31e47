/* Which data a run learns from.  Pure. */
#ifndef AGENTS_PLAN_WINDOW_H
#define AGENTS_PLAN_WINDOW_H

#include "common/line.h"
#include "common/pipeline.h"

struct window {
    struct snapshot_ref_list snapshots; /* oldest first; `rows` of each are its training rows */
    int64_t rows;                       /* training rows in all of them */
};

/* The newest accepted snapshots of the pipeline's dataset, as many as train.window says and at most
 * `max`; the same bytes accepted twice count once.  Lists live in *arena. */
void window_choose(const struct line *l, const struct pipeline *p, size_t max, struct arena *arena,
                   struct window *ret);
/* Is it a snapshot that a run of this pipeline may learn from? */
bool window_can_use(const struct pipeline *p, const struct dataset_ingested *d);

#endif
