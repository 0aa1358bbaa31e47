/* What people say about a candidate, and when nothing is promoted whatever they say. */
#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/clk.h"
#include "common/gate_internal.h"

/* ---- freeze windows ---- */

void gate__hold(const struct pipeline *p, int64_t now_unix_ms, struct arena *arena,
                struct gate_decided *d)
{
    const struct freeze *open = NULL;
    int64_t end_ms = 0;
    char end[CLK_RFC3339_SIZE];
    for (size_t i = 0; i < p->n_freezes; i++) {
        int64_t ends_ms = freeze_end_ms(&p->freezes[i], now_unix_ms);
        if (ends_ms > end_ms) {
            end_ms = ends_ms;
            open = &p->freezes[i];
        }
    }
    if (!open)
        return;
    clk_format(clk_us_of_ms(end_ms), end);
    d->verdict = "wait";
    d->waits_for = "freeze";
    d->then = "promote";
    d->rows_needed = ABSENT_I64;
    d->deadline_unix_ms = end_ms;
    d->reason = arena_printf(arena, "nothing is promoted until %s (%s): %s", end, open->why,
                             d->reason ? d->reason : "");
}

/* ---- approvals ---- */

/* The role of who may approve, "" when anybody may; NULL: this person may not. */
static const char *role_of(const struct pipeline *p, const char *name)
{
    if (!p || !p->n_approvers)
        return "";
    for (size_t i = 0; i < p->n_approvers; i++)
        if (strcmp(p->approvers[i].name, name) == 0)
            return p->approvers[i].role;
    return NULL;
}

static const char *who_may(const struct pipeline *p, struct arena *arena)
{
    CLEANUP(buf_fini) struct buf b = {0};
    for (size_t i = 0; i < p->n_approvers; i++)
        buf_addf(&b, "%s%s (%s)", i ? ", " : "", p->approvers[i].name, p->approvers[i].role);
    return arena_strndup(arena, b.data, b.len);
}

static void refuse(struct gate_owed *owed, const char *by, const char *reason)
{
    owed->decision = (struct gate_decided){
        .verdict = "refused", .reason = reason, .by = by, .deadline_unix_ms = ABSENT_I64};
}

/* Those that still count, and this one. */
static struct gate_approval_list add_approval(const struct pipeline *p,
                                              const struct gate_approval_list *given,
                                              const struct gate_approval *more, struct arena *arena)
{
    struct gate_approval *items = arena_alloc(arena, (given->n + 1) * sizeof(*items));
    size_t n = 0;
    for (size_t i = 0; i < given->n; i++)
        if (!p || !p->approval_expires_ms ||
            more->approved_unix_ms - given->items[i].approved_unix_ms < p->approval_expires_ms)
            items[n++] = given->items[i];
    items[n++] = *more;
    return (struct gate_approval_list){items, n};
}

static const char *names_of(const struct gate_approval_list *list, struct arena *arena)
{
    CLEANUP(buf_fini) struct buf b = {0};
    for (size_t i = 0; i < list->n; i++) {
        const struct gate_approval *a = &list->items[i];
        buf_addf(&b, "%s%s", i ? ", " : "", a->by);
        if (a->role[0])
            buf_addf(&b, " (%s)", a->role);
        if (a->reason[0])
            buf_addf(&b, ": %s", a->reason);
    }
    return arena_strndup(arena, b.data, b.len);
}

void gate__approve(const struct line *l, const struct pipeline *p, int64_t now_unix_ms,
                   struct arena *arena, struct gate_owed *owed)
{
    const struct operator_commanded *c = EV_REC(owed->cause, operator_commanded);
    struct gate_decided *d = &owed->decision;
    const char *role = role_of(p, d->by);
    if (!role) {
        refuse(owed, d->by,
               arena_printf(arena, "%s is not among those who may approve: %s", d->by,
                            who_may(p, arena)));
        return;
    }
    const struct gate_approval more = {d->by, role, c->reason ? c->reason : "", now_unix_ms};
    struct gate_approval_list all = add_approval(p, &d->approvals, &more, arena);
    for (size_t i = 0; i + 1 < all.n; i++)
        if (strcmp(all.items[i].by, d->by) == 0) {
            refuse(
                owed, d->by,
                arena_printf(arena, "%s has approved it already: another person is needed", d->by));
            return;
        }
    d->approvals = all;
    const char *names = names_of(&all, arena);
    if (p && (int64_t)all.n < p->approvals) {
        d->verdict = "wait";
        d->reason = arena_printf(arena, "approved by %s; %lld more is needed", names,
                                 (long long)p->approvals - (long long)all.n);
        return;
    }
    gate__promote_if_compared(l, arena, d, arena_printf(arena, "approved by %s", names));
}
