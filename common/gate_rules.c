/* One rule.  A difference is oriented so that a gain is positive: candidate - baseline for metrics
 * where higher is better, baseline - candidate for the others.  Each result says what was found,
 * what was asked, and when that is not a pass, what can be done. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/gate_internal.h"

#define CHAMPION "champion"

struct compared { /* a candidate, alone or beside a baseline, on the same rows */
    const char *metric, *slice;
    int64_t rows;
    double candidate, baseline, difference, low, high;
    bool higher_is_better;
    const char *undefined;
};

static bool is_comparison(enum rule_kind k)
{
    return k == RULE_NO_WORSE_THAN || k == RULE_BETTER_THAN;
}

struct judged gate__judged(enum severity severity)
{
    return (struct judged){.severity = severity,
                           .value = NAN,
                           .low = NAN,
                           .high = NAN,
                           .threshold = NAN,
                           .baseline = NAN};
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

/* What can be done about a bound that was missed. */
static const char *advice(const struct gate_rule *r, bool higher_is_better)
{
    if (r->kind == RULE_AT_LEAST)
        return higher_is_better ? "train on more or newer rows, or lower the floor"
                                : "too good to be true? look for a column that gives the label "
                                  "away, or lower the floor";
    return higher_is_better
               ? "too good to be true? look for a column that gives the label away, or "
                 "raise the ceiling"
               : "train on more or newer rows, or raise the ceiling";
}

/* " on shop=south"; "" for all rows. */
static const char *where(const char *slice, char out[96])
{
    out[0] = '\0';
    if (strcmp(slice, "all") != 0)
        snprintf(out, 96, " on %.80s", slice);
    return out;
}

/* A floor or a ceiling holds by point: the interval of an evaluation is the difference's. */
static void judge_value(const struct gate_rule *r, const struct compared *m, struct judged *j)
{
    bool is_floor = r->kind == RULE_AT_LEAST;
    char at[96];
    j->value = m->candidate;
    j->threshold = r->bound;
    if (!isfinite(m->baseline)) { /* without a champion the interval is the candidate's */
        j->low = m->low;
        j->high = m->high;
    }
    j->verdict = (is_floor ? m->candidate >= r->bound : m->candidate <= r->bound) ? PASS : FAIL;
    snprintf(j->reason, sizeof(j->reason), "%s is %.5g%s, %s %.5g is asked%s%s", m->metric,
             m->candidate, where(m->slice, at), is_floor ? "at least" : "at most", r->bound,
             j->verdict == PASS ? "" : ": ",
             j->verdict == PASS ? "" : advice(r, m->higher_is_better));
}

/* What was asked, and what can be done, when it is not a pass. */
static void add_asked(const struct gate_rule *r, double by, struct judged *j)
{
    size_t n = strlen(j->reason);
    char much[48];
    if (j->verdict == PASS)
        return;
    if (r->is_relative)
        snprintf(much, sizeof(much), "%.5g (%.5g%%)", by, r->by * 100);
    else
        snprintf(much, sizeof(much), "%.5g", by);
    if (j->verdict == INCONCLUSIVE)
        snprintf(j->reason + n, sizeof(j->reason) - n,
                 "; the interval lies on both sides of what is asked (%s by %s): more test rows "
                 "make it narrower",
                 r->kind == RULE_NO_WORSE_THAN ? "no worse" : "better", much);
    else if (r->kind == RULE_NO_WORSE_THAN)
        snprintf(j->reason + n, sizeof(j->reason) - n,
                 "; %s is tolerated: look at what changed in the data, train on more rows, or "
                 "allow more",
                 much);
    else
        snprintf(j->reason + n, sizeof(j->reason) - n,
                 "; it must be better by more than %s: train on more rows, or ask for less", much);
}

static void judge_difference(const struct gate_rule *r, const struct compared *m, struct judged *j)
{
    double sign = m->higher_is_better ? 1 : -1;
    double gain = sign * m->difference;
    double low = m->higher_is_better ? m->low : -m->high,
           high = m->higher_is_better ? m->high : -m->low;
    double by = r->is_relative ? r->by * fabs(m->baseline) : r->by;
    char gained[40] = "no difference", at[96];
    j->value = m->difference;
    j->low = m->low;
    j->high = m->high;
    j->baseline = m->baseline;
    j->threshold = r->kind == RULE_NO_WORSE_THAN ? -sign * by : sign * by;
    if (!isfinite(m->difference)) {
        snprintf(j->reason, sizeof(j->reason), "the difference of %s to %s is undefined%s: %.200s",
                 m->metric, r->baseline, where(m->slice, at),
                 m->undefined ? m->undefined : "not a finite number");
        return;
    }
    if (r->kind == RULE_NO_WORSE_THAN)
        j->verdict = gains(gain, low, high, -by, r->by_interval, false);
    else
        j->verdict = gains(gain, low, high, by, r->by_interval, true);
    if (gain != 0)
        snprintf(gained, sizeof(gained), "%.5g %s", fabs(gain), gain > 0 ? "better" : "worse");
    snprintf(j->reason, sizeof(j->reason), "%s is %.5g%s against %.5g of %s, %s [%.5g, %.5g]",
             m->metric, m->candidate, where(m->slice, at), m->baseline, r->baseline, gained, m->low,
             m->high);
    add_asked(r, by, j);
}

static bool is_of_a_past(const char *baseline)
{
    return gate__is(baseline, CHAMPION) || gate__is(baseline, "best") ||
           gate__is(baseline, "last_good");
}

static void judge_compared(const struct judgement_case *c, const struct gate_rule *r,
                           const struct compared *m, struct judged *j)
{
    *j = gate__judged(r->severity);
    if (m->rows < c->p->min_rows) {
        snprintf(
            j->reason, sizeof(j->reason),
            "%lld rows are too few to judge %s, at least %lld are asked: publish more rows, or "
            "lower gate.min_rows",
            (long long)m->rows, m->metric, (long long)c->p->min_rows);
        if (r->slice && !r->slice_value)
            j->severity = SEVERITY_OBSERVE; /* a thin slice must not hold up a model that is good on
                                               all rows */
    } else if (!isfinite(m->candidate)) {
        snprintf(j->reason, sizeof(j->reason), "%s is undefined: %.200s", m->metric,
                 m->undefined ? m->undefined : "not a finite number");
    } else if (is_comparison(r->kind) && c->e->against == 0 && is_of_a_past(r->baseline)) {
        j->verdict = PASS;
        j->value = m->candidate;
        snprintf(j->reason, sizeof(j->reason),
                 "no model is in service: there is nothing to compare %s with", m->metric);
    } else if (is_comparison(r->kind)) {
        judge_difference(r, m, j);
    } else {
        judge_value(r, m, j);
    }
}

static bool rule_wants(const struct gate_rule *r, const char *slice)
{
    if (!r->slice)
        return strcmp(slice, "all") == 0;
    if (strcmp(r->slice, RULE_EVERY_SLICE) == 0)
        return strcmp(slice, "all") != 0;
    size_t n = strlen(r->slice);
    return strncmp(slice, r->slice, n) == 0 && slice[n] == '=' &&
           (!r->slice_value || strcmp(slice + n + 1, r->slice_value) == 0);
}

static struct compared of_metric(const struct evaluation_metric *m)
{
    return (struct compared){m->metric,     m->slice, m->rows, m->candidate,        m->champion,
                             m->difference, m->low,   m->high, m->higher_is_better, m->undefined};
}

/* The direction is said beside the champion's figures. */
static bool higher_is_better(const struct model_evaluated *e, const char *metric)
{
    for (size_t i = 0; i < e->metrics.n; i++)
        if (strcmp(e->metrics.items[i].metric, metric) == 0)
            return e->metrics.items[i].higher_is_better;
    return true;
}

static void add(const struct gate_rule *r, const char *slice, const struct judged *j,
                struct tally *t, struct arena *arena)
{
    CLEANUP(buf_fini) struct buf text = {0};
    gate_rule_str(r, &text);
    gate__tally(t, arena_strndup(arena, text.data, text.len), r->fact ? r->fact : r->metric, slice,
                j, arena);
}

/* Against the champion, or a number: each entry of the evaluation that the rule is about. */
static size_t judge_metrics(const struct judgement_case *c, const struct gate_rule *r,
                            struct tally *t, struct arena *arena)
{
    size_t n = 0;
    for (size_t i = 0; i < c->e->metrics.n; i++) {
        const struct compared m = of_metric(&c->e->metrics.items[i]);
        struct judged j;
        if (strcmp(r->metric, m.metric) != 0 || !rule_wants(r, m.slice))
            continue;
        judge_compared(c, r, &m, &j);
        add(r, m.slice, &j, t, arena);
        n++;
    }
    return n;
}

static size_t judge_baselines(const struct judgement_case *c, const struct gate_rule *r,
                              struct tally *t, struct arena *arena)
{
    size_t n = 0;
    for (size_t i = 0; i < c->e->baselines.n; i++) {
        const struct evaluation_baseline *b = &c->e->baselines.items[i];
        struct judged j;
        if (strcmp(b->name, r->baseline) != 0 || strcmp(b->metric, r->metric) != 0)
            continue;
        const struct compared m = {b->metric,    "all",    b->rows,
                                   b->candidate, b->value, b->difference,
                                   b->low,       b->high,  higher_is_better(c->e, b->metric),
                                   b->reason};
        judge_compared(c, r, &m, &j);
        add(r, "all", &j, t, arena);
        n++;
    }
    return n;
}

static void judge_fact(const struct judgement_case *c, const struct gate_rule *r, struct tally *t,
                       struct arena *arena)
{
    struct judged j = gate__judged(r->severity);
    const char *why = NULL;
    bool is_floor = r->kind == RULE_AT_LEAST;
    j.value = gate__fact(c, r->fact, &why);
    j.threshold = r->bound;
    if (!isfinite(j.value)) {
        snprintf(j.reason, sizeof(j.reason), "%s is not known: %s", r->fact, why);
    } else {
        j.verdict = (is_floor ? j.value >= r->bound : j.value <= r->bound) ? PASS : FAIL;
        snprintf(j.reason, sizeof(j.reason), "%s is %.6g, %s %.6g is asked%s", r->fact, j.value,
                 is_floor ? "at least" : "at most", r->bound,
                 j.verdict == PASS ? "" : ": bring data or a run that has it, or change the bound");
    }
    add(r, "all", &j, t, arena);
}

/* A rule whose figures are not there.  A column without slices does not hold a model up; a slice or
 * a baseline that was named does. */
static void judge_missing(const struct judgement_case *c, const struct gate_rule *r,
                          struct tally *t, struct arena *arena)
{
    struct judged j = gate__judged(r->slice && !r->slice_value ? SEVERITY_OBSERVE : r->severity);
    const char *slice = r->slice ? r->slice : "all";
    if (r->baseline && c->e->against == 0 && is_of_a_past(r->baseline) && !r->slice) {
        j.severity = r->severity;
        snprintf(j.reason, sizeof(j.reason), "the evaluation has no %s", r->metric);
        if (strcmp(r->baseline, CHAMPION) != 0) {
            j.verdict = PASS;
            snprintf(j.reason, sizeof(j.reason),
                     "no model is in service: there is no %s to compare %s with", r->baseline,
                     r->metric);
        }
    } else if (r->baseline && strcmp(r->baseline, CHAMPION) != 0) {
        snprintf(j.reason, sizeof(j.reason),
                 "the evaluation has no %s of %s to compare with: nothing says what it would be",
                 r->metric, r->baseline);
    } else {
        snprintf(j.reason, sizeof(j.reason), "the evaluation has no %s%s%s%s%s", r->metric,
                 r->slice ? " on slices of " : "", r->slice ? r->slice : "",
                 r->slice_value ? "=" : "", r->slice_value ? r->slice_value : "");
    }
    add(r, slice, &j, t, arena);
}

void gate__rule(const struct judgement_case *c, const struct gate_rule *r, struct tally *t,
                struct arena *arena)
{
    bool is_beside = r->baseline && strcmp(r->baseline, CHAMPION) != 0;
    if (r->fact)
        judge_fact(c, r, t, arena);
    else if (!(is_beside ? judge_baselines(c, r, t, arena) : judge_metrics(c, r, t, arena)))
        judge_missing(c, r, t, arena);
}
