/* From the event to service, hop by hop: the chain of causes, walked back from each promotion. */
#include <math.h>
#include <string.h>

#include "agents/relearn/replay_rest.h"

struct timings {
    struct replay_log *r;
    struct replay_timing *items;
    size_t n, cap;
};

struct first_serving {
    const struct line *l;
    int64_t sequence, time_us;
};

static void look_at_instance(struct agent *a, struct unit *u, void *ctx)
{
    (void)a;
    struct first_serving *f = ctx;
    const struct event_list *list = &u->line->ev[RECORD_SERVING_CHANGED];
    for (size_t i = 0; i < list->n; i++) {
        const struct serving_changed *s = EV_REC(list->items[i], serving_changed);
        for (size_t k = 0; k < s->lines.n; k++)
            if (strcmp(s->lines.items[k].line, f->l->key) == 0 &&
                s->lines.items[k].sequence >= f->sequence &&
                (!f->time_us || list->items[i]->time_unix_us < f->time_us))
                f->time_us = list->items[i]->time_unix_us;
    }
}

static const struct event *find_dataset(struct replay_log *r, const char *dataset, const char *id)
{
    struct unit *u = agent_unit(r->agent, RECORD_DATASET_PUBLISHED, dataset);
    return u ? line_find(u->line, RECORD_DATASET_PUBLISHED, id) : NULL;
}

static double ms_between(const struct event *from, const struct event *to)
{
    return from && to ? (double)(to->time_unix_us - from->time_unix_us) / 1000.0 : NAN;
}

static void time_change(struct timings *t, const struct line *l, const struct event *change,
                        int64_t sequence)
{
    struct replay_timing x = {.line = l->key,
                              .generation = EV_REC(change, deployment_changed)->generation};
    for (size_t i = 0; i < ARRAY_LEN(x.hop_ms); i++)
        x.hop_ms[i] = NAN;
    const struct event *decision = line_find(l, RECORD_GATE_DECIDED, change->cause);
    const struct event *evaluation =
        decision ? line_find(l, RECORD_MODEL_EVALUATED, decision->cause) : NULL;
    const struct event *model = evaluation
                                    ? line_find(l, RECORD_TRAINING_FINISHED,
                                                EV_REC(evaluation, model_evaluated)->model_event)
                                    : NULL;
    const struct event *plan = model ? line_find(l, RECORD_TRAINING_PLANNED, model->cause) : NULL;
    const struct event *trigger = plan ? line_find(l, RECORD_DATASET_INGESTED, plan->cause) : NULL;
    const struct event *dataset =
        trigger ? find_dataset(t->r, EV_REC(trigger, dataset_ingested)->dataset, trigger->cause)
                : NULL;
    if (!trigger || !dataset) /* a drift alert or a command: other questions */
        return;
    struct first_serving f = {.l = l, .sequence = sequence};
    agent_each_unit(t->r->agent, look_at_instance, &f);
    if (!f.time_us)
        return;
    const struct event *const chain[] = {dataset,    trigger,  plan,  model,
                                         evaluation, decision, change};
    for (size_t i = 0; i + 1 < ARRAY_LEN(chain); i++)
        x.hop_ms[i] = ms_between(chain[i], chain[i + 1]);
    x.hop_ms[REPLAY_HOPS - 1] = (double)(f.time_us - change->time_unix_us) / 1000.0;
    x.total_ms = (double)(f.time_us - dataset->time_unix_us) / 1000.0;
    t->items = xgrow(t->items, &t->cap, t->n + 1, sizeof(*t->items));
    t->items[t->n++] = x;
}

static void time_line(void *ctx, const struct line *l)
{
    const struct event_list *list = &l->ev[RECORD_DEPLOYMENT_CHANGED];
    int64_t sequence = 0;
    for (size_t i = 0; i < list->n; i++) {
        const struct deployment_changed *d = EV_REC(list->items[i], deployment_changed);
        if (strcmp(d->kind, "changed") != 0)
            continue;
        sequence++;
        if (d->action &&
            (strcmp(d->action, "replace") == 0 || strcmp(d->action, "canary_begin") == 0))
            time_change(ctx, l, list->items[i], sequence);
    }
}

size_t replay_log_timings(struct replay_log *r, struct replay_timing **ret)
{
    struct timings t = {.r = r};
    replay_log_each_line(r, time_line, &t);
    *ret = t.items;
    return t.n;
}
