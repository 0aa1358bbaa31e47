/* What the train agent owes on a line.  Pure. */
#ifndef TRAIN_OWED_H
#define TRAIN_OWED_H

#include "common/line.h"

enum {
    TRAIN_BEAT_MS = 2000, /* between two beats of a run that goes on */
    TRAIN_DEAD_MS =
        15000, /* without a beat for so long its instance is taken for dead: seven were missed */
    TRAIN_OLD_BEAT_MS = 120000, /* a beat with an older wall time was restored from the log; clocks
                                   differ by less */
};

enum train_owed_kind {
    TRAIN_OWES_NOTHING = 0,
    TRAIN_OWES_RUN, /* start it as attempt `attempt`, or emit its result when that is in the store
                     */
    TRAIN_WAITS     /* another instance is at it: look again in wait_ms */
};
struct train_owed {
    enum train_owed_kind kind;
    const struct event *plan; /* of the run in flight; NULL: none */
    int64_t attempt, wait_ms;
};
struct train_view {
    const char *instance; /* this one */
    bool is_running_here; /* the run in flight */
    int64_t now_unix_ms;
    int64_t since_beat_ms; /* monotonic, since the newest beat of the run in flight was folded */
};
void train_find_owed(const struct line *l, const struct train_view *v, struct train_owed *ret);
bool train_is_answered(const struct line *l, const struct event *plan);

#endif
