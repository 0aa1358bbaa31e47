/* Waits and their ends.  A wait is a decision, so it survives every restart: whoever has the line
 * looks at the newest one that is open, and says what became of it once that is known. */
#include <string.h>

#include "common/gate_internal.h"
#include "common/strset.h"

static bool waits_for_rows(const struct gate_decided *d)
{
    return gate__is(d->verdict, "wait") && gate__is(d->waits_for, "rows");
}

/* The first decision by which this run waits for rows; NULL. */
static const struct gate_decided *first_wait(const struct line *l, const char *run)
{
    const struct event_list *list = &l->ev[RECORD_GATE_DECIDED];
    for (size_t i = 0; i < list->n; i++) {
        const struct gate_decided *d = EV_REC(list->items[i], gate_decided);
        if (waits_for_rows(d) && gate__is(d->run, run))
            return d;
    }
    return NULL;
}

int64_t gate__rows_deadline(const struct judgement_case *c)
{
    const struct gate_decided *first = c->l ? first_wait(c->l, c->e->run) : NULL;
    return first && first->deadline_unix_ms != ABSENT_I64 ? first->deadline_unix_ms
                                                          : c->now_unix_ms + c->p->wait_deadline_ms;
}

/* An accepted snapshot that came after so many. */
static const struct dataset_ingested *later(const struct line *l, size_t i, int64_t read)
{
    const struct dataset_ingested *s =
        EV_REC(l->ev[RECORD_DATASET_INGESTED].items[i], dataset_ingested);
    return read != ABSENT_I64 && (int64_t)i >= read && gate__is(s->status, "accepted") &&
                   s->snapshot
               ? s
               : NULL;
}

static int64_t rows_since(const struct line *l, int64_t read)
{
    int64_t rows = 0;
    for (size_t i = 0; i < l->ev[RECORD_DATASET_INGESTED].n; i++) {
        const struct dataset_ingested *s = later(l, i, read);
        rows += s ? s->test_rows : 0;
    }
    return rows;
}

struct string_list gate__later_snapshots(const struct line *l, const char *run, struct arena *arena)
{
    const struct gate_decided *first = run ? first_wait(l, run) : NULL;
    size_t n = 0, most = first ? l->ev[RECORD_DATASET_INGESTED].n : 0;
    const char **items = arena_alloc(arena, (most + 1) * sizeof(*items));
    struct strset seen = {0};
    for (size_t i = 0; i < most; i++) {
        const struct dataset_ingested *s = later(l, i, first->snapshots_read);
        if (s && strset_add(&seen, slice_str(s->snapshot)) == n) /* a new one */
            items[n++] = s->snapshot;
    }
    strset_fini(&seen);
    return (struct string_list){n ? items : NULL, n};
}

/* What a wait leaves behind when it ends. */
static void end_wait(struct gate_owed *ret, const struct gate_decided *w, const char *verdict,
                     const char *reason)
{
    ret->kind = GATE_DECIDE;
    ret->about = "expired";
    ret->decision = *w;
    ret->decision.verdict = verdict;
    ret->decision.reason = reason;
    ret->decision.by = "policy";
}

static void answer_rows(const struct line *l, const struct gate_decided *w, int64_t now_unix_ms,
                        struct arena *arena, struct gate_owed *ret)
{
    int64_t rows = rows_since(l, w->snapshots_read);
    if (rows >= w->rows_needed) {
        end_wait(ret, w, "again",
                 arena_printf(arena,
                              "%lld more test rows have come: to be evaluated again on them "
                              "as well",
                              (long long)rows));
        ret->decision.rules = (struct rule_result_list){0};
    } else if (now_unix_ms < w->deadline_unix_ms) {
        ret->wake_unix_ms = w->deadline_unix_ms;
    } else {
        end_wait(ret, w, "inconclusive",
                 arena_printf(arena, "%lld of %lld more test rows came in time (%s)",
                              (long long)rows, (long long)w->rows_needed, w->reason));
        if (gate__is(w->then, "promote") || gate__is(w->then, "ask")) {
            ret->kind = GATE_WEIGH;
            ret->policy = w->pipeline_sha256;
        }
    }
}

void gate__answer_wait(const struct line *l, const struct event *wait, int64_t now_unix_ms,
                       struct arena *arena, struct gate_owed *ret)
{
    const struct gate_decided *w = wait->rec;
    if (!gate__is(w->verdict, "wait") || w->deadline_unix_ms == ABSENT_I64)
        return;
    if (waits_for_rows(w))
        answer_rows(l, w, now_unix_ms, arena, ret);
    else if (now_unix_ms < w->deadline_unix_ms)
        ret->wake_unix_ms = w->deadline_unix_ms;
    else if (gate__is(w->waits_for, "freeze")) {
        end_wait(ret, w, "promote", w->reason);
        ret->decision.by = w->by; /* who approved it before */
        ret->kind = GATE_WEIGH;
        ret->policy = w->pipeline_sha256;
    } else
        end_wait(ret, w, "reject",
                 arena_printf(arena, "nobody approved it in time (%s)", w->reason));
}

/* ---- what the policy has a say in ---- */

void gate__promote_if_compared(const struct line *l, struct arena *arena, struct gate_decided *d,
                               const char *reason)
{
    int64_t champion = gate__champion(l);
    d->verdict = d->against == champion ? "promote" : "again";
    d->reason = reason;
    if (d->against != champion)
        d->reason = arena_printf(arena,
                                 "%s, but generation %lld serves now and it was compared with "
                                 "%lld: to be evaluated again",
                                 reason, (long long)champion, (long long)d->against);
}

void gate__weigh(const struct line *l, const struct pipeline *p, int64_t now_unix_ms,
                 struct arena *arena, struct gate_owed *owed)
{
    struct gate_decided *d = &owed->decision;
    const char *came = d->reason;
    if (owed->cause->type == RECORD_OPERATOR_COMMANDED) {
        gate__approve(l, p, now_unix_ms, arena, owed);
    } else if (gate__is(d->waits_for, "freeze")) {
        gate__promote_if_compared(l, arena, d, arena_printf(arena, "the freeze is over: %s", came));
    } else if (gate__is(d->then, "ask")) {
        d->verdict = "wait";
        d->waits_for = "approval";
        d->then = "reject";
        d->deadline_unix_ms = now_unix_ms + (p ? p->approval_deadline_ms : 0);
        d->reason = arena_printf(arena, "waits for a person (approve or reject), %s", came);
    } else {
        gate__promote_if_compared(
            l, arena, d, arena_printf(arena, "promoted as gate.inconclusive says, %s", came));
    }
}
