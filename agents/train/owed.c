/* A line has one run in flight at most.  It is owed until a result is in the log or plan has closed
 * it. Who runs it is no lease: beats only keep a second instance from working for nothing, and two
 * at once would leave one result. */
#include "agents/train/owed.h"

static bool is(const char *a, const char *b)
{
    return a && strcmp(a, b) == 0;
}

static const struct training_progressed *last_beat(const struct line *l, const char *run)
{
    const struct event_list *list = &l->ev[RECORD_TRAINING_PROGRESSED];

    for (size_t i = list->n; i > 0; i--) {
        const struct training_progressed *p = EV_REC(list->items[i - 1], training_progressed);

        if (is(p->run, run))
            return p;
    }
    return NULL;
}

static int64_t highest_attempt(const struct line *l, const char *run)
{
    const struct event_list *list = &l->ev[RECORD_TRAINING_PROGRESSED];
    int64_t highest = 0;

    for (size_t i = 0; i < list->n; i++) {
        const struct training_progressed *p = EV_REC(list->items[i], training_progressed);

        if (is(p->run, run) && p->attempt > highest)
            highest = p->attempt;
    }
    return highest;
}

/* Is somebody else at it?  A beat under this instance's own name that it knows nothing of was sent
 * before it was started again: that training died with it. */
static bool is_alive(const struct training_progressed *beat, const struct train_view *v)
{
    if (!beat || is(beat->phase, "ended") || is(beat->instance, v->instance))
        return false;
    return v->since_beat_ms < TRAIN_DEAD_MS &&
           v->now_unix_ms - beat->progressed_unix_ms < TRAIN_OLD_BEAT_MS;
}

void train_find_owed(const struct line *l, const struct train_view *v, struct train_owed *ret)
{
    const struct training_progressed *beat;

    *ret = (struct train_owed){.plan = l->in_flight};
    if (!l->in_flight || line_model(l, l->in_flight->id) || v->is_running_here)
        return;
    beat = last_beat(l, l->in_flight->id);
    if (is_alive(beat, v)) {
        ret->kind = TRAIN_WAITS;
        ret->wait_ms = TRAIN_DEAD_MS - v->since_beat_ms;
        return;
    }
    ret->kind = TRAIN_OWES_RUN;
    ret->attempt = highest_attempt(l, l->in_flight->id) + 1;
}

bool train_is_answered(const struct line *l, const struct event *plan)
{
    if (!line_plan(l, plan->id)) /* void, or of another kind */
        return true;
    return line_closed(l, plan->id) || line_model(l, plan->id);
}
