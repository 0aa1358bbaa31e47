/* Which results in the store's runs/ somebody may still look for.  A training's until the log says
 * how its run ended; an ingest's until a newer version of the dataset has its outcome, since ingest
 * looks back no further.  Pure; thread: one at a time. */
#ifndef RELEARN_GC_RUNS_H
#define RELEARN_GC_RUNS_H

#include "common/events.h"

struct gc_runs;
struct gc_runs *gc_runs_new(void);
void gc_runs_free(struct gc_runs *g);
/* Events of different topics in any order; those of one key in theirs. */
void gc_runs_take(struct gc_runs *g, const struct event *ev);
/* After everything was taken; more may be taken afterwards, and settled again. */
void gc_runs_settle(struct gc_runs *g);
/* A run that the log knows nothing of is not needed. */
bool gc_runs_is_needed(const struct gc_runs *g, const char *run);

#endif
