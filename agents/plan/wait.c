/* Why no run may be requested now, and until when.  A line waits for one thing at a time, in this
 * order: resume, the run in flight, and then whatever lasts longest of budget, cool-down and quiet
 * time.  A command waits for neither cool-down nor quiet time, and takes along what waits with it.
 */
#include <math.h>

#include "agents/plan/rules.h"
#include "common/clk.h"

enum { DAY_MS = 24 * 60 * 60 * 1000 };

static const struct training_planned *plan_at(const struct event_list *plans, size_t i,
                                              const char *kind)
{
    const struct training_planned *p = plans->items[i]->rec;

    return plan__is(p->kind, kind) ? p : NULL;
}

static bool is_ahead(const struct plan_input *in, int64_t unix_ms)
{
    return unix_ms > in->now_unix_ms + CLK_SKEW_MS;
}

static void longer(struct wait *w, int64_t now_unix_ms, int64_t until_unix_ms, const char *reason)
{
    if (until_unix_ms <= now_unix_ms || (w->is_blocked && until_unix_ms <= w->until_unix_ms))
        return;
    *w = (struct wait){.is_blocked = true, .until_unix_ms = until_unix_ms, .reason = reason};
}

/* plan.budget: a run leaves the count 24 hours after it was requested. */
static void wait_budget(const struct plan_input *in, struct arena *arena, struct wait *w)
{
    const struct pipeline *p = in->pipeline;
    const struct event_list *plans = &in->line->ev[RECORD_TRAINING_PLANNED];
    int64_t runs = 0, since = in->now_unix_ms - DAY_MS;
    double cpu_ms = 0;

    if (!p->runs_per_day && !p->cpu_per_day_ms)
        return;
    for (size_t i = plans->n; i-- > 0;) {
        const struct training_planned *plan = plan_at(plans, i, "requested");
        const struct event *model = plan ? line_model(in->line, plans->items[i]->id) : NULL;
        int64_t until;

        if (plan &&
            plan->planned_unix_ms <= since - DAY_MS) /* a day more, for clocks that differ */
            break;
        if (!plan || plan->planned_unix_ms <= since || is_ahead(in, plan->planned_unix_ms))
            continue;
        until = plan->planned_unix_ms + DAY_MS;
        runs++;
        if (model && isfinite(EV_REC(model, training_finished)->cpu_seconds))
            cpu_ms += EV_REC(model, training_finished)->cpu_seconds * 1000;
        if (p->runs_per_day && runs == p->runs_per_day)
            longer(w, in->now_unix_ms, until,
                   arena_printf(arena,
                                "budget: %lld of %lld runs in the last 24 hours "
                                "(plan.budget.runs_per_day); waits until %s",
                                (long long)runs, (long long)p->runs_per_day,
                                plan__time(arena, until)));
        if (p->cpu_per_day_ms && cpu_ms >= (double)p->cpu_per_day_ms) {
            longer(w, in->now_unix_ms, until,
                   arena_printf(arena,
                                "budget: the trainings of the last 24 hours took %s of CPU time, "
                                "and plan.budget.cpu is %s; waits until %s",
                                plan__duration(arena, (int64_t)cpu_ms),
                                plan__duration(arena, p->cpu_per_day_ms),
                                plan__time(arena, until)));
            return;
        }
    }
}

/* Outcomes that we do not know count as failures. */
static int64_t cooldown_ms(const struct pipeline *p, const char *outcome)
{
    if (plan__is(outcome, "promoted"))
        return p->cooldown_promotion_ms;
    if (plan__is(outcome, "rejected") || plan__is(outcome, "inconclusive"))
        return p->cooldown_rejection_ms;
    if (plan__is(outcome, "superseded")) /* by a person, who knows */
        return 0;
    return p->cooldown_failure_ms;
}

static void wait_cooldown(const struct plan_input *in, struct arena *arena, struct wait *w)
{
    const struct event_list *plans = &in->line->ev[RECORD_TRAINING_PLANNED];

    for (size_t i = plans->n; i-- > 0;) {
        const struct training_planned *closed = plan_at(plans, i, "closed");
        int64_t ms, until;

        if (!closed)
            continue;
        if (is_ahead(in, closed->planned_unix_ms))
            return;
        ms = cooldown_ms(in->pipeline, closed->outcome);
        until = closed->planned_unix_ms + ms;
        longer(w, in->now_unix_ms, until,
               arena_printf(arena, "cool-down of %s since run %s ended (%s) at %s; waits until %s",
                            plan__duration(arena, ms), plan__short(arena, closed->run),
                            closed->outcome ? closed->outcome : "unknown",
                            plan__time(arena, closed->planned_unix_ms), plan__time(arena, until)));
        return;
    }
}

static void wait_quiet(const struct plan_input *in, const struct trigger_list *l,
                       struct arena *arena, struct wait *w)
{
    const struct pipeline *p = in->pipeline;
    int64_t first = l->items[0].arrived_unix_ms, last = l->items[l->n - 1].arrived_unix_ms;
    int64_t until = last + p->quiet_ms, latest = first + p->longest_wait_ms;

    if (is_ahead(in, last))
        return;
    if (until >= latest)
        longer(w, in->now_unix_ms, latest,
               arena_printf(
                   arena, "quiet time of %s, but no longer than %s: %s since %s; waits until %s",
                   plan__duration(arena, p->quiet_ms), plan__duration(arena, p->longest_wait_ms),
                   plan__counts(arena, l), plan__time(arena, first), plan__time(arena, latest)));
    else
        longer(w, in->now_unix_ms, until,
               arena_printf(arena, "quiet time of %s: %s, the last at %s; waits until %s",
                            plan__duration(arena, p->quiet_ms), plan__counts(arena, l),
                            plan__time(arena, last), plan__time(arena, until)));
}

void plan__wait(const struct plan_input *in, const struct trigger_list *triggers, bool is_paused,
                struct arena *arena, struct wait *ret)
{
    const struct line *l = in->line;
    bool has_command = false;

    *ret = (struct wait){.until_unix_ms = ABSENT_I64};
    if (is_paused) {
        const struct training_planned *p = l->pause ? l->pause->rec : NULL;

        ret->is_blocked = true;
        ret->reason = p ? arena_printf(arena, "%.200s, at %s; waits for resume",
                                       p->reason ? p->reason : "paused",
                                       plan__time(arena, p->planned_unix_ms))
                        : "paused; waits for resume";
        return;
    }
    if (l->in_flight) {
        const struct training_planned *p = l->in_flight->rec;

        ret->is_blocked = true;
        ret->run = l->in_flight->id;
        ret->reason = arena_printf(
            arena, "run %s is in flight since %s; waits for its end, %s at the latest",
            plan__short(arena, ret->run), plan__time(arena, p->planned_unix_ms),
            p->deadline_unix_ms == ABSENT_I64 ? "some time"
                                              : plan__time(arena, p->deadline_unix_ms));
        return;
    }
    for (size_t i = 0; i < triggers->n; i++)
        has_command = has_command || triggers->items[i].kind == TRIGGER_COMMAND;
    wait_budget(in, arena, ret);
    if (!has_command) {
        wait_cooldown(in, arena, ret);
        wait_quiet(in, triggers, arena, ret);
    }
}
