/* Which triggers of a line are open, and which of them lead to nothing. */
#include "agents/plan/rules.h"
#include "agents/plan/window.h"

const char *plan__trigger_str(enum trigger_kind k)
{
    static const char *const words[] = {
        [TRIGGER_DATASET] = "dataset", [TRIGGER_DRIFT] = "drift", [TRIGGER_COMMAND] = "command"};

    return words[k];
}

bool plan__is_trigger(const struct event *ev, enum trigger_kind *ret)
{
    switch (ev->type) {
    case RECORD_DATASET_INGESTED:
        *ret = TRIGGER_DATASET;
        return true;
    case RECORD_DRIFT_DETECTED:
        *ret = TRIGGER_DRIFT;
        return true;
    case RECORD_OPERATOR_COMMANDED:
        *ret = TRIGGER_COMMAND;
        return plan__is(EV_REC(ev, operator_commanded)->command, "retrain");
    default:
        return false;
    }
}

/* The newest of the deferred plans that lead from `first`: a wait that turned into another one says
 * so in a plan of its own, caused by the one before. */
static const struct event *newest_deferral(const struct line *l, const struct event *first)
{
    const struct event *next = first;

    while (next && plan__is(EV_REC(next, training_planned)->kind, "deferred")) {
        first = next;
        next = line_answer(l, RECORD_TRAINING_PLANNED, first->id);
    }
    return first;
}

/* By the event's own time, but not later than it was first seen: a clock that runs ahead somewhere
 * else must not hold up the line. */
static int64_t arrived(const struct event *ev, const struct event *deferral, int64_t now_unix_ms)
{
    int64_t seen = deferral ? EV_REC(deferral, training_planned)->planned_unix_ms : now_unix_ms;
    int64_t told = ev->time_unix_us / 1000;

    return told > 0 && told < seen ? told : seen;
}

static void add_trigger(struct trigger_list *list, struct arena *arena, struct trigger t)
{
    if (list->n == list->cap) {
        size_t cap = list->cap ? list->cap * 2 : 16;
        struct trigger *items = arena_alloc(arena, cap * sizeof(*items));

        memcpy(items, list->items ? list->items : items, list->n * sizeof(*items));
        list->items = items;
        list->cap = cap;
    }
    list->items[list->n++] = t;
    list->n_waiting += t.deferral != NULL;
}

static void open_of(const struct plan_input *in, enum record r, struct plan_memo *memo,
                    struct arena *arena, struct trigger_list *ret)
{
    const struct event_list *events = &in->line->ev[r];
    bool is_prefix = true;

    for (size_t i = memo->settled[r]; i < events->n; i++) {
        const struct event *ev = events->items[i],
                           *answer = line_answer(in->line, RECORD_TRAINING_PLANNED, ev->id);
        bool is_deferred = answer && plan__is(EV_REC(answer, training_planned)->kind, "deferred");
        enum trigger_kind kind;
        bool is_open = plan__is_trigger(ev, &kind) && (!answer || is_deferred);

        /* other commands of plan's own are settled by their answer; those of other agents never
         * concern it */
        is_prefix = is_prefix && !is_open && plan_is_answered(in->line, ev);
        if (is_prefix)
            memo->settled[r] = i + 1;
        if (!is_open)
            continue;
        add_trigger(
            ret, arena,
            (struct trigger){.ev = ev,
                             .kind = kind,
                             .deferral = is_deferred ? newest_deferral(in->line, answer) : NULL,
                             .arrived_unix_ms =
                                 arrived(ev, is_deferred ? answer : NULL, in->now_unix_ms)});
    }
}

static int by_arrival(const void *a, const void *b)
{
    const struct trigger *x = a, *y = b;

    if (x->arrived_unix_ms != y->arrived_unix_ms)
        return x->arrived_unix_ms < y->arrived_unix_ms ? -1 : 1;
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    return (x->ev->offset > y->ev->offset) - (x->ev->offset < y->ev->offset);
}

void plan__open_triggers(const struct plan_input *in, struct plan_memo *memo, struct arena *arena,
                         struct trigger_list *ret)
{
    *ret = (struct trigger_list){0};
    open_of(in, RECORD_DATASET_INGESTED, memo, arena, ret);
    open_of(in, RECORD_DRIFT_DETECTED, memo, arena, ret);
    open_of(in, RECORD_OPERATOR_COMMANDED, memo, arena, ret);
    if (ret->n > 1)
        qsort(ret->items, ret->n, sizeof(*ret->items), by_arrival);
}

/* ---- what leads to nothing ---- */

static const char *why_dataset(const struct plan_input *in, const struct dataset_ingested *d,
                               struct arena *arena)
{
    const struct pipeline *p = in->pipeline;
    const char *version = d->version ? d->version : plan__short(arena, d->dataset_event);

    if (!plan__is(d->status, "accepted"))
        return arena_printf(arena, "version %.64s of the dataset was rejected: %.200s", version,
                            d->reason ? d->reason : "no reason given");
    if (!window_can_use(p, d))
        return arena_printf(arena, "it is of dataset %.128s; the pipeline learns from %s now",
                            d->dataset ? d->dataset : "-", p->dataset);
    if (!p->on_dataset)
        return arena_printf(
            arena, "plan.on of %s does not name dataset; version %.64s is there for the next run",
            p->name, version);
    return NULL;
}

static const char *why_drift(const struct plan_input *in, const struct drift_detected *d,
                             struct arena *arena)
{
    const struct line *l = in->line;
    const struct route *champion = line_champion(l), *canary = line_canary(l);

    if (!in->pipeline->on_drift)
        return arena_printf(arena, "plan.on of %s does not name drift", in->pipeline->name);
    if (!champion && !canary)
        return "no model is in service that could have drifted; the next dataset trains one";
    if (d->generation == ABSENT_I64 || (champion && d->generation == champion->generation) ||
        (canary && d->generation == canary->generation))
        return NULL;
    if (d->generation > l->generation)
        return arena_printf(arena,
                            "the alert is about generation %lld, and %lld is the newest there is",
                            (long long)d->generation, (long long)l->generation);
    return arena_printf(
        arena, "the alert is about generation %lld, which no longer serves: generation %lld does",
        (long long)d->generation, (long long)(champion ? champion : canary)->generation);
}

const char *plan__why_ignored(const struct plan_input *in, const struct trigger *t,
                              struct arena *arena)
{
    const char *why = NULL;

    if (!in->pipeline)
        return arena_printf(arena, "pipeline %s is not declared, or was withdrawn",
                            in->line->pipeline);
    if (t->ev->hops > in->pipeline->max_hops)
        return arena_printf(arena,
                            "%d events led to this one, and plan.max_hops is %lld: the line would "
                            "be retrained because of itself",
                            t->ev->hops, (long long)in->pipeline->max_hops);
    if (t->kind == TRIGGER_DATASET)
        why = why_dataset(in, t->ev->rec, arena);
    else if (t->kind == TRIGGER_DRIFT)
        why = why_drift(in, t->ev->rec, arena);
    return why;
}
