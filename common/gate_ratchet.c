/* The ratchet: many small steps down, each within tolerance, are caught.
 *
 * Each promotion was compared with the champion before it on the same rows, so its difference does
 * not depend on how hard those rows were.  From the candidate back along the champions that led to
 * it the differences add up: what the sum says is how the candidate stands to each of them.  The
 * worst of these sums is the distance to the best within the window.  A rollback is no step: the
 * chain goes by models, and the model that came back stands where it stood. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/gate_internal.h"

enum { RATCHET_STEPS_MAX = 1000 }; /* a line with more promotions in its window has other worries */

static const struct evaluation_metric *metric_of(const struct model_evaluated *e, const char *name)
{
    for (size_t i = 0; i < e->metrics.n; i++)
        if (strcmp(e->metrics.items[i].slice, "all") == 0 &&
            strcmp(e->metrics.items[i].metric, name) == 0)
            return &e->metrics.items[i];
    return NULL;
}

static double gain_of(const struct evaluation_metric *m)
{
    return m ? (m->higher_is_better ? m->difference : -m->difference) : NAN;
}

/* The promotion of this model before so many decisions, and its place; NULL: none is known. */
static const struct gate_decided *promotion_of(const struct line *l, const char *model,
                                               size_t *before)
{
    const struct event_list *list = &l->ev[RECORD_GATE_DECIDED];
    for (size_t i = *before; model && i > 0; i--) {
        const struct gate_decided *d = EV_REC(list->items[i - 1], gate_decided);
        if (gate__is(d->verdict, "promote") && gate__is(d->model, model)) {
            *before = i - 1;
            return d;
        }
    }
    return NULL;
}

struct chain {
    double sum, worst; /* gain of the candidate over the champion in hand; the least so far */
    size_t steps, worst_steps;
    bool is_broken; /* a difference on the way is undefined */
};

static void climb(const struct judgement_case *c, const struct model_evaluated *from,
                  struct chain *chain)
{
    const struct pipeline *p = c->p;
    const struct model_evaluated *e = from;
    size_t before = c->l ? c->l->ev[RECORD_GATE_DECIDED].n : 0;
    while (e && e->against != 0 && chain->steps < RATCHET_STEPS_MAX) {
        double gain = gain_of(metric_of(e, p->ratchet_metric));
        if (!isfinite(gain)) {
            chain->is_broken = true;
            return;
        }
        chain->sum += gain;
        chain->steps++;
        if (chain->sum < chain->worst) {
            chain->worst = chain->sum;
            chain->worst_steps = chain->steps;
        }
        const struct gate_decided *d = c->l ? promotion_of(c->l, e->champion, &before) : NULL;
        if (!d || (p->ratchet_generations && (int64_t)chain->steps >= p->ratchet_generations) ||
            (p->ratchet_window_ms && c->now_unix_ms - d->decided_unix_ms > p->ratchet_window_ms))
            return;
        const struct event *ev = line_find(c->l, RECORD_MODEL_EVALUATED, d->evaluation);
        e = ev ? ev->rec : NULL;
    }
}

void gate__ratchet(const struct judgement_case *c, struct tally *t, struct arena *arena)
{
    const struct pipeline *p = c->p;
    const struct evaluation_metric *m = metric_of(c->e, p->ratchet_metric);
    struct judged j = gate__judged(SEVERITY_BLOCK);
    struct chain chain = {0};
    climb(c, c->e, &chain);
    j.value = chain.worst;
    j.threshold = -p->ratchet_by;
    if (chain.worst < -p->ratchet_by) {
        j.verdict = FAIL;
        snprintf(j.reason, sizeof(j.reason),
                 "the last %zu steps of %s add up to %.5g worse, and %.5g is tolerated since the "
                 "best: go back to it (rollback), train on more rows, or widen gate.ratchet",
                 chain.worst_steps, p->ratchet_metric, -chain.worst, p->ratchet_by);
    } else if (chain.is_broken && (!m || m->rows >= p->min_rows)) {
        snprintf(j.reason, sizeof(j.reason),
                 "the steps of %s cannot be added up: a difference on the way is undefined",
                 p->ratchet_metric);
    } else if (m && m->rows < p->min_rows && c->e->against != 0) {
        snprintf(j.reason, sizeof(j.reason),
                 "%lld rows are too few to judge the steps of %s, at least %lld are asked",
                 (long long)m->rows, p->ratchet_metric, (long long)p->min_rows);
    } else {
        j.verdict = PASS;
        snprintf(j.reason, sizeof(j.reason),
                 "%zu steps of %s back it is at most %.5g worse than the best", chain.steps,
                 p->ratchet_metric, chain.worst == 0 ? 0 : -chain.worst);
    }
    gate__tally(t,
                arena_printf(arena, "%s ratchet by %.5g over %lld %s", p->ratchet_metric,
                             p->ratchet_by,
                             (long long)(p->ratchet_generations ? p->ratchet_generations
                                                                : p->ratchet_window_ms / 1000),
                             p->ratchet_generations ? "generations" : "seconds"),
                p->ratchet_metric, "all", &j, arena);
}
