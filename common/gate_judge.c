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

static void conclude(const struct pipeline *p, const struct model_evaluated *e,
                     const struct tally *t, int64_t now_unix_ms, struct arena *arena,
                     struct gate_judgement *ret)
{
    const char *numbers = headline(e, p, arena);
    const char *warned = t->warned ? arena_printf(arena, "; noted: %s", t->first_warned) : "";
    if (t->unclear) /* promoted or asked about all the same: gate.inconclusive says so */
        warned = arena_printf(arena, "; not judged: %s%s", t->first_unclear, warned);
    if (t->failed) {
        ret->verdict = "reject";
        ret->reason = arena_printf(arena, "rejected, %zu of %zu rules fail: %s", t->failed, t->n,
                                   t->first_failed);
        return;
    }
    if (t->unclear && p->inconclusive == INCONCLUSIVE_REJECT) {
        ret->verdict = "inconclusive";
        ret->reason =
            arena_printf(arena, "not promoted, nothing can be concluded: %s", t->first_unclear);
        return;
    }
    if (t->unclear && p->inconclusive == INCONCLUSIVE_ASK) {
        ret->verdict = "wait";
        ret->reason = arena_printf(
            arena, "waits for a person (approve or reject), nothing can be concluded: %s",
            t->first_unclear);
    } else if (p->approval == APPROVAL_MANUAL) {
        ret->verdict = "wait";
        ret->reason = arena_printf(
            arena, "all rules pass and the pipeline asks for a person's approval: %s%s", numbers,
            warned);
    } else {
        ret->verdict = "promote";
        ret->reason = arena_printf(arena, "promoted%s: %s%s",
                                   e->against == 0 ? " as the first model" : "", numbers, warned);
    }
    if (strcmp(ret->verdict, "wait") == 0)
        ret->deadline_unix_ms = now_unix_ms + p->approval_deadline_ms;
}

void gate_judge(const struct pipeline *p, const struct line *l, const struct model_evaluated *e,
                int64_t now_unix_ms, struct arena *arena, struct gate_judgement *ret)
{
    const struct judgement_case c = {p, l, e, now_unix_ms};
    *ret = (struct gate_judgement){.deadline_unix_ms = ABSENT_I64};
    if (!e->status || strcmp(e->status, "evaluated") != 0) {
        ret->verdict = "reject";
        ret->reason = arena_printf(arena, "rejected, the model could not be evaluated: %s",
                                   e->reason ? e->reason : "no reason given");
        return;
    }
    struct tally t = {0};
    for (size_t i = 0; i < p->n_rules; i++)
        gate__rule(&c, &p->rules[i], &t, arena);
    conclude(p, e, &t, now_unix_ms, arena, ret);
    ret->rules =
        (struct rule_result_list){arena_memdup(arena, t.items, t.n * sizeof(*t.items)), t.n};
    free_ptr(&t.items);
}
