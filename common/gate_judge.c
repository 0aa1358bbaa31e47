/* All rules of a policy, and what follows from them. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/gate_internal.h"

static const char *verdict_str(enum verdict v)
{
    return v == PASS ? "pass" : v == FAIL ? "fail" : "inconclusive";
}

void gate__tally(struct tally *t, const char *rule, const char *metric, const char *slice,
                 const struct judged *j, struct arena *arena)
{
    t->items = xgrow(t->items, &t->cap, t->n + 1, sizeof(*t->items));
    const char *reason = arena_strdup(arena, j->reason);
    t->items[t->n++] = (struct rule_result){
        .rule = rule,
        .metric = arena_strdup(arena, metric),
        .slice = arena_strdup(arena, slice),
        .value = j->value,
        .low = j->low,
        .high = j->high,
        .threshold = j->threshold,
        .baseline = j->baseline,
        .verdict = verdict_str(j->verdict),
        .severity = severity_str(j->severity),
        .reason = reason,
    };
    if (j->verdict == PASS)
        return;
    if (j->severity != SEVERITY_BLOCK) {
        t->warned++;
        t->first_warned = t->first_warned ? t->first_warned : reason;
    } else if (j->verdict == FAIL) {
        t->failed++;
        t->first_failed = t->first_failed ? t->first_failed : reason;
    } else {
        t->unclear++;
        t->first_unclear = t->first_unclear ? t->first_unclear : reason;
    }
}

/* The first metric of all rows, in words, for the sentence. */
static const char *headline(const struct model_evaluated *e, const struct pipeline *p,
                            struct arena *arena)
{
    const char *wanted = p->n_rules ? p->rules[0].metric : NULL; /* NULL: the first there is */
    for (size_t i = 0; i < e->metrics.n; i++) {
        const struct evaluation_metric *m = &e->metrics.items[i];
        if (strcmp(m->slice, "all") != 0 || (wanted && strcmp(m->metric, wanted) != 0))
            continue;
        if (e->against == 0)
            return arena_printf(arena, "%s %.5g on %lld rows", m->metric, m->candidate,
                                (long long)m->rows);
        return arena_printf(arena,
                            "%s %.5g against %.5g of generation %lld on the same %lld rows, "
                            "difference %.5g [%.5g, %.5g]",
                            m->metric, m->candidate, m->champion, (long long)e->against,
                            (long long)m->rows, m->difference, m->low, m->high);
    }
    return arena_printf(arena, "%lld rows compared", (long long)e->rows);
}

/* Nothing fails, and something is unclear: what gate.inconclusive says, by now. */
static enum inconclusive mode_of(const struct judgement_case *c, int64_t *ret_deadline_unix_ms)
{
    if (c->p->inconclusive != INCONCLUSIVE_WAIT)
        return c->p->inconclusive;
    *ret_deadline_unix_ms = gate__rows_deadline(c);
    return c->now_unix_ms < *ret_deadline_unix_ms ? INCONCLUSIVE_WAIT : c->p->wait_then;
}

static const char *then_str(enum inconclusive then)
{
    return then == INCONCLUSIVE_PROMOTE ? "promote" : then == INCONCLUSIVE_ASK ? "ask" : "reject";
}

/* True when that was all there is to say. */
static bool conclude_unclear(const struct judgement_case *c, const struct tally *t,
                             struct arena *arena, struct gate_judgement *ret)
{
    int64_t deadline_unix_ms = 0;
    switch (mode_of(c, &deadline_unix_ms)) {
    case INCONCLUSIVE_PROMOTE:
        return false;
    case INCONCLUSIVE_ASK:
        ret->verdict = "wait";
        ret->reason = arena_printf(
            arena, "waits for a person (approve or reject), nothing can be concluded: %s",
            t->first_unclear);
        ret->waits_for = "approval";
        ret->then = "reject";
        ret->deadline_unix_ms = c->now_unix_ms + c->p->approval_deadline_ms;
        return true;
    case INCONCLUSIVE_WAIT:
        ret->verdict = "wait";
        ret->reason =
            arena_printf(arena, "waits for %lld more test rows, then %s: %s",
                         (long long)c->p->wait_rows, then_str(c->p->wait_then), t->first_unclear);
        ret->waits_for = "rows";
        ret->then = then_str(c->p->wait_then);
        ret->rows_needed = c->p->wait_rows;
        ret->deadline_unix_ms = deadline_unix_ms;
        return true;
    default:
        ret->verdict = "inconclusive";
        ret->reason =
            arena_printf(arena, "not promoted, nothing can be concluded: %s", t->first_unclear);
        return true;
    }
}

static void conclude(const struct judgement_case *c, const struct tally *t, struct arena *arena,
                     struct gate_judgement *ret)
{
    if (t->failed) {
        ret->verdict = "reject";
        ret->reason = arena_printf(arena, "rejected, %zu of %zu rules fail: %s", t->failed, t->n,
                                   t->first_failed);
        return;
    }
    if (t->unclear && conclude_unclear(c, t, arena, ret))
        return;
    const char *numbers = headline(c->e, c->p, arena);
    const char *noted = t->warned ? arena_printf(arena, "; noted: %s", t->first_warned) : "";
    if (t->unclear) /* promoted or asked about all the same: gate.inconclusive says so */
        noted = arena_printf(arena, "; not judged: %s%s", t->first_unclear, noted);
    if (c->p->approval == APPROVAL_MANUAL) {
        ret->verdict = "wait";
        ret->reason = arena_printf(
            arena, "all rules pass and the pipeline asks for a person's approval: %s%s", numbers,
            noted);
        ret->waits_for = "approval";
        ret->then = "reject";
        ret->deadline_unix_ms = c->now_unix_ms + c->p->approval_deadline_ms;
        return;
    }
    ret->verdict = "promote";
    ret->reason = arena_printf(arena, "promoted%s: %s%s",
                               c->e->against == 0 ? " as the first model" : "", numbers, noted);
}

void gate_judge(const struct pipeline *p, const struct line *l, const struct model_evaluated *e,
                int64_t now_unix_ms, struct arena *arena, struct gate_judgement *ret)
{
    const struct judgement_case c = {p, l, e, now_unix_ms};
    *ret = (struct gate_judgement){.deadline_unix_ms = ABSENT_I64, .rows_needed = ABSENT_I64};
    if (!e->status || strcmp(e->status, "evaluated") != 0) {
        ret->verdict = "reject";
        ret->reason = arena_printf(arena, "rejected, the model could not be evaluated: %s",
                                   e->reason ? e->reason : "no reason given");
        return;
    }
    struct tally t = {0};
    for (size_t i = 0; i < p->n_rules; i++)
        gate__rule(&c, &p->rules[i], &t, arena);
    if (p->ratchet_metric)
        gate__ratchet(&c, &t, arena);
    conclude(&c, &t, arena, ret);
    ret->rules =
        (struct rule_result_list){arena_memdup(arena, t.items, t.n * sizeof(*t.items)), t.n};
    free_ptr(&t.items);
}
