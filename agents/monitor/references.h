/* Models' manifests and profiles, by digest, read on the pool and shared.  Loop thread. */
#ifndef MONITOR_REFERENCES_H
#define MONITOR_REFERENCES_H

#include "agents/monitor/window.h"
#include "common/loop.h"

struct references;
enum reference_state { REFERENCE_LOADING = 0, REFERENCE_READY, REFERENCE_FAILED };

/* on_loaded: one is ready or has failed; not from within a call. */
struct references *references_new(struct loop *l, const struct artifacts *a,
                                  void (*on_loaded)(void *ctx), void *ctx);
void references_free(
    struct references *rs); /* none may be held; loads under way end by themselves */
/* Asks for one.  READY: *ret is held by the caller until references_release.  What is missing in
 * the store is tried again for a while before it counts as failed, and now and then after that,
 * when it is asked for. */
enum reference_state references_want(struct references *rs, const char *digest,
                                     struct reference **ret);
void references_release(struct references *rs, struct reference *r); /* NULL is fine */
/* Waiting for it is given up. */
void references_give_up(struct references *rs, const char *digest);
const char *references_problem(struct references *rs, const char *digest); /* why it failed; "" */

#endif
