/* Records with something in every member, made from the field tables: for whatever must hold for
 * all sixteen.  The values mean nothing.  Thread: main. */
#ifndef TESTS_SUPPORT_SAMPLE_EVENTS_H
#define TESTS_SUPPORT_SAMPLE_EVENTS_H

#include "common/events.h"
#include "common/rng.h"

/* Every member present, lists of two elements; the same seed gives the same record. */
const void *sample_full(enum record r, struct arena *arena);
/* Every optional member absent, every list empty, required texts NULL. */
const void *sample_empty(enum record r, struct arena *arena);
/* Anything: extreme numbers, texts of any length in any script, members present or not. */
const void *sample_random(enum record r, struct arena *arena, struct rng *rng);

#endif
