/* Rules.  A difference is oriented so that a gain is positive: candidate - champion for metrics
 * where higher is better, champion - candidate for the others. */
#include "common/gate.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/buf.h"

enum verdict { INCONCLUSIVE = 0, PASS, FAIL };

static const char *verdict_str(enum verdict v)
{
    return v == PASS ? "pass" : v == FAIL ? "fail" : "inconclusive";
}

struct judged { /* one rule on one metric entry */
    enum verdict verdict;
    enum severity severity;
    double value, low, high, threshold, baseline;
    char reason[320];
};

static bool is_comparison(enum rule_kind k)
{
    return k == RULE_NO_WORSE_THAN || k == RULE_BETTER_THAN;
}

/* A gain of at least (strict: more than) the bound, by point or by an interval that lies wholly on
 * one side. */
static enum verdict gains(double value, double low, double high, double bound, bool by_interval,
                          bool strict)
{
    if (!by_interval)
        return (strict ? value > bound : value >= bound) ? PASS : FAIL;
    if (!isfinite(low) || !isfinite(high))
        return INCONCLUSIVE;
    if (strict ? low > bound : low >= bound)
        return PASS;
    return (strict ? high <= bound : high < bound) ? FAIL : INCONCLUSIVE;
}

/* A floor or a ceiling holds by point: the interval of an evaluation is the difference's. */
static void judge_value(const struct gate_rule *r, const struct evaluation_metric *m,
                        struct judged *j)
{
    bool is_floor = r->kind == RULE_AT_LEAST;
    j->value = m->candidate;
    j->threshold = r->bound;
    if (!isfinite(m->champion)) { /* without a champion the interval is the candidate's */
        j->low = m->low;
        j->high = m->high;
    }
    j->verdict = (is_floor ? m->candidate >= r->bound : m->candidate <= r->bound) ? PASS : FAIL;
    snprintf(j->reason, sizeof(j->reason), "%s is %.5g, %s %.5g is asked", r->metric, m->candidate,
             is_floor ? "at least" : "at most", r->bound);
}

static void judge_difference(const struct gate_rule *r, const struct evaluation_metric *m,
                             struct judged *j)
{
    double sign = m->higher_is_better ? 1 : -1;
    double gain = sign * m->difference;
    double low = m->higher_is_better ? m->low : -m->high,
           high = m->higher_is_better ? m->high : -m->low;
    j->value = m->difference;
    j->low = m->low;
    j->high = m->high;
    j->baseline = m->champion;
    j->threshold = r->kind == RULE_NO_WORSE_THAN ? -sign * r->by : sign * r->by;
    if (!isfinite(m->difference)) {
        snprintf(j->reason, sizeof(j->reason), "the difference of %s is undefined: %s", r->metric,
                 m->undefined ? m->undefined : "not a finite number");
        return;
    }
    if (r->kind == RULE_NO_WORSE_THAN)
        j->verdict = gains(gain, low, high, -r->by, r->by_interval, false);
    else
        j->verdict = gains(gain, low, high, r->by, r->by_interval, true);
    char gained[40] = "no difference";
    if (gain != 0)
        snprintf(gained, sizeof(gained), "%.5g %s", fabs(gain), gain > 0 ? "better" : "worse");
    snprintf(j->reason, sizeof(j->reason),
             "%s is %.5g against the champion's %.5g, %s [%.5g, %.5g]", r->metric, m->candidate,
             m->champion, gained, m->low, m->high);
}

static void judge_entry(const struct pipeline *p, const struct gate_rule *r,
                        const struct model_evaluated *e, const struct evaluation_metric *m,
                        struct judged *j)
{
    *j = (struct judged){.severity = r->severity,
                         .value = NAN,
                         .low = NAN,
                         .high = NAN,
                         .threshold = NAN,
                         .baseline = NAN};
    if (m->rows < p->min_rows) {
        snprintf(j->reason, sizeof(j->reason),
                 "%lld rows are too few to judge %s, at least %lld are asked (gate.min_rows)",
                 (long long)m->rows, r->metric, (long long)p->min_rows);
        if (r->slice) /* a thin slice must not hold up a model that is good on all rows */
            j->severity = SEVERITY_OBSERVE;
    } else if (!isfinite(m->candidate)) {
        snprintf(j->reason, sizeof(j->reason), "%s is undefined: %s", r->metric,
                 m->undefined ? m->undefined : "not a finite number");
    } else if (is_comparison(r->kind) && e->against == 0) {
        j->verdict = PASS;
        j->value = m->candidate;
        snprintf(j->reason, sizeof(j->reason),
                 "no model is in service: there is nothing to compare %s with", r->metric);
    } else if (is_comparison(r->kind)) {
        judge_difference(r, m, j);
    } else {
        judge_value(r, m, j);
    }
}

static bool rule_wants(const struct gate_rule *r, const struct evaluation_metric *m)
{
    if (strcmp(r->metric, m->metric) != 0)
        return false;
    if (!r->slice)
        return strcmp(m->slice, "all") == 0;
    size_t n = strlen(r->slice);
    return strncmp(m->slice, r->slice, n) == 0 && m->slice[n] == '=';
}

struct tally {
    struct rule_result *items;
    size_t n, cap;
    size_t failed, unclear, warned;
    const char *first_failed, *first_unclear, *first_warned;
};

static void tally_add(struct tally *t, const struct gate_rule *r, const char *slice,
                      const struct judged *j, struct arena *arena)
{
    CLEANUP(buf_fini) struct buf text = {0};
    gate_rule_str(r, &text);
    t->items = xgrow(t->items, &t->cap, t->n + 1, sizeof(*t->items));
    const char *reason = arena_strdup(arena, j->reason);
    t->items[t->n++] = (struct rule_result){
        .rule = arena_strndup(arena, text.data, text.len),
        .metric = arena_strdup(arena, r->metric),
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

static void judge_rule(const struct pipeline *p, const struct gate_rule *r,
                       const struct model_evaluated *e, struct tally *t, struct arena *arena)
{
    struct judged j;
    bool is_found = false;
    for (size_t i = 0; i < e->metrics.n; i++) {
        const struct evaluation_metric *m = &e->metrics.items[i];
        if (!rule_wants(r, m))
            continue;
        is_found = true;
        judge_entry(p, r, e, m, &j);
        tally_add(t, r, m->slice, &j, arena);
    }
    if (is_found)
        return;
    j = (struct judged){.severity = r->slice ? SEVERITY_OBSERVE : r->severity,
                        .value = NAN,
                        .low = NAN,
                        .high = NAN,
                        .threshold = NAN,
                        .baseline = NAN};
    snprintf(j.reason, sizeof(j.reason), "the evaluation has no %s%s%s", r->metric,
             r->slice ? " on slices of " : "", r->slice ? r->slice : "");
    tally_add(t, r, r->slice ? r->slice : "all", &j, arena);
}

/* The first metric of all rows, in words, for the sentence. */
static const char *headline(const struct model_evaluated *e, const struct pipeline *p,
                            struct arena *arena)
{
    const char *wanted = p->n_rules ? p->rules[0].metric : NULL;
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

void gate_judge(const struct pipeline *p, const struct model_evaluated *e, int64_t now_unix_ms,
                struct arena *arena, struct gate_judgement *ret)
{
    *ret = (struct gate_judgement){.deadline_unix_ms = ABSENT_I64};
    if (!e->status || strcmp(e->status, "evaluated") != 0) {
        ret->verdict = "reject";
        ret->reason = arena_printf(arena, "rejected, the model could not be evaluated: %s",
                                   e->reason ? e->reason : "no reason given");
        return;
    }
    struct tally t = {0};
    for (size_t i = 0; i < p->n_rules; i++)
        judge_rule(p, &p->rules[i], e, &t, arena);
    conclude(p, e, &t, now_unix_ms, arena, ret);
    ret->rules =
        (struct rule_result_list){arena_memdup(arena, t.items, t.n * sizeof(*t.items)), t.n};
    free_ptr(&t.items);
}
