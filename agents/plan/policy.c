/* One call looks at everything that is owed, in this order: the end of the run in flight, commands,
 * then the open triggers: each leads to nothing (ignored), waits (deferred), or is covered by the
 * run that is requested now.
 *
 * While a run's end is being told nothing else is decided about triggers: when `closed` has been
 * read back, they are looked at with it. */
#include "agents/plan/rules.h"
#include "agents/plan/window.h"
#include "common/digest.h"

struct call {
    const struct plan_input *in;
    struct plan_output *out;
    struct arena *arena;
    bool is_paused; /* a pause that is being answered counts already */
};

static struct training_planned *act(struct call *c, const struct event *cause, const char *kind,
                                    const char *about)
{
    struct plan_output *out = c->out;
    struct plan_action *a;

    if (out->n == PLAN_ACTIONS_MAX)
        return NULL;
    out->actions = xgrow(out->actions, &out->cap, out->n + 1, sizeof(*out->actions));
    a = &out->actions[out->n++];
    *a = (struct plan_action){.cause = cause};
    a->rec = (struct training_planned){
        .line = c->in->line->key,
        .kind = kind,
        .base = ABSENT_I64,
        .until_unix_ms = ABSENT_I64,
        .deadline_unix_ms = ABSENT_I64,
        .planned_unix_ms = c->in->now_unix_ms,
    };
    str_copy(a->about, sizeof(a->about), about ? about : kind);
    return &a->rec;
}

static void wake_at(struct call *c, int64_t unix_ms)
{
    if (unix_ms != ABSENT_I64 && unix_ms < c->out->wake_unix_ms)
        c->out->wake_unix_ms = unix_ms;
}

/* ---- the run in flight ---- */

/* True when its end is being told. */
static bool close_run(struct call *c)
{
    struct run_end end;
    struct training_planned *rec;

    if (!c->in->line->in_flight)
        return false;
    if (!plan__run_end(c->in, c->arena, &end)) {
        wake_at(c, EV_REC(c->in->line->in_flight, training_planned)->deadline_unix_ms);
        return false;
    }
    rec = act(c, end.cause, "closed", end.about);
    rec->run = c->in->line->in_flight->id;
    rec->outcome = end.outcome;
    rec->reason = end.reason;
    return true;
}

/* ---- commands ---- */

static bool is_of_others(const char *command)
{
    return plan__is(command, "approve") || plan__is(command, "reject") ||
           plan__is(command, "force") || plan__is(command, "rollback");
}

static const char *by_whom(struct call *c, const struct operator_commanded *cmd)
{
    const char *by = cmd->by && *cmd->by ? cmd->by : "an operator";

    if (!cmd->reason || !*cmd->reason)
        return arena_printf(c->arena, "by %.64s", by);
    return arena_printf(c->arena, "by %.64s: %.200s", by, cmd->reason);
}

static void answer_command(struct call *c, const struct event *ev)
{
    const struct operator_commanded *cmd = ev->rec;
    const struct training_planned *pause = c->in->line->pause ? c->in->line->pause->rec : NULL;
    bool is_pause = plan__is(cmd->command, "pause"), is_resume = plan__is(cmd->command, "resume");
    struct training_planned *rec;
    const char *kind = "refused", *reason;

    if (!is_pause && !is_resume) {
        reason = arena_printf(c->arena,
                              "unknown command '%.64s'; known: approve, reject, force, rollback, "
                              "retrain, pause, resume",
                              cmd->command ? cmd->command : "");
    } else if (!c->in->pipeline) {
        reason = arena_printf(c->arena, "pipeline %s is not declared, or was withdrawn",
                              c->in->line->pipeline);
    } else if (is_pause && c->is_paused) {
        reason = pause ? arena_printf(c->arena, "it is %.200s already, since %s",
                                      pause->reason ? pause->reason : "paused",
                                      plan__time(c->arena, pause->planned_unix_ms))
                       : "it is paused already";
    } else if (is_resume && !c->is_paused) {
        reason = "it is not paused";
    } else {
        kind = is_pause ? "paused" : "resumed";
        reason = arena_printf(c->arena, "%s %s", kind, by_whom(c, cmd));
        c->is_paused = is_pause;
    }
    rec = act(c, ev, kind, NULL);
    if (rec)
        rec->reason = reason;
}

/* Is there a declaration, or has one been missing for so long that the event is told so?  A time
 * that lies ahead (somebody's clock) does not prolong it. */
static bool can_tell(struct call *c, const struct event *ev)
{
    int64_t told = ev->time_unix_us / 1000, until = told + PLAN_UNDECLARED_GRACE_MS;

    if (c->in->pipeline || c->in->now_unix_ms >= until ||
        told > c->in->now_unix_ms + PLAN_UNDECLARED_GRACE_MS)
        return true;
    wake_at(c, until);
    return false;
}

static void answer_commands(struct call *c, const struct plan_memo *memo)
{
    const struct event_list *events = &c->in->line->ev[RECORD_OPERATOR_COMMANDED];

    for (size_t i = memo->settled[RECORD_OPERATOR_COMMANDED]; i < events->n; i++) {
        const struct event *ev = events->items[i];
        const char *command = EV_REC(ev, operator_commanded)->command;

        if (plan__is(command, "retrain") || is_of_others(command) ||
            line_answer(c->in->line, RECORD_TRAINING_PLANNED, ev->id))
            continue;
        if (can_tell(c, ev))
            answer_command(c, ev);
    }
}

/* ---- triggers ---- */

/* Takes out of the list what leads to nothing, and what has to wait for its declaration. */
static void ignore_some(struct call *c, struct trigger_list *l)
{
    size_t kept = 0;

    l->n_waiting = 0;
    for (size_t i = 0; i < l->n; i++) {
        struct trigger *t = &l->items[i];
        struct training_planned *rec;
        const char *why;

        if (!can_tell(c, t->ev))
            continue;
        why = plan__why_ignored(c->in, t, c->arena);
        if (!why) {
            l->n_waiting += t->deferral != NULL;
            l->items[kept++] = *t;
            continue;
        }
        rec = act(c, t->ev, "ignored", NULL);
        if (!rec)
            continue;
        rec->trigger = plan__trigger_str(t->kind);
        rec->reason = why;
    }
    l->n = kept;
}

static void ignore_all(struct call *c, const struct trigger_list *l, const char *why)
{
    for (size_t i = 0; i < l->n; i++) {
        struct training_planned *rec = act(c, l->items[i].ev, "ignored", NULL);

        if (!rec)
            return;
        rec->trigger = plan__trigger_str(l->items[i].kind);
        rec->reason = why;
    }
}

static void defer_one(struct call *c, const struct event *cause, const char *trigger,
                      const struct wait *w)
{
    struct training_planned *rec = act(c, cause, "deferred", NULL);

    if (!rec)
        return;
    rec->trigger = trigger;
    rec->run = w->run;
    rec->until_unix_ms = w->until_unix_ms;
    rec->reason = w->reason;
}

static const struct event *newest_deferral(const struct trigger_list *l)
{
    const struct event *newest = NULL;

    for (size_t i = 0; i < l->n; i++) {
        const struct event *d = l->items[i].deferral;

        if (d && (!newest || d->offset > newest->offset))
            newest = d;
    }
    return newest;
}

/* Does the log say of what waits that it waits for this? */
static bool is_told(const struct event *deferral, const struct wait *w, int64_t now_unix_ms)
{
    const struct training_planned *d = deferral->rec;

    if (w->until_unix_ms != ABSENT_I64)
        return d->until_unix_ms != ABSENT_I64 && d->until_unix_ms > now_unix_ms;
    return d->until_unix_ms == ABSENT_I64 && (w->run ? plan__is(d->run, w->run) : !d->run);
}

static void defer_all(struct call *c, const struct trigger_list *l, const struct wait *w)
{
    size_t waiting = l->n_waiting;
    const struct event *newest = newest_deferral(l);

    wake_at(c, w->until_unix_ms);
    for (size_t i = 0; i < l->n && waiting < PLAN_WAITING_MAX; i++) {
        if (l->items[i].deferral)
            continue;
        defer_one(c, l->items[i].ev, plan__trigger_str(l->items[i].kind), w);
        waiting++;
    }
    if (waiting == l->n_waiting && newest && !is_told(newest, w, c->in->now_unix_ms))
        defer_one(c, newest, EV_REC(newest, training_planned)->trigger, w);
}

/* The first that is not answered at all; else the newest of what waits. */
static const struct event *cause_of(const struct trigger_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        if (!l->items[i].deferral)
            return l->items[i].ev;
    return newest_deferral(l);
}

static void request(struct call *c, const struct trigger_list *l, const struct window *w)
{
    const struct pipeline *p = c->in->pipeline;
    const struct event *cause = cause_of(l);
    const char **covers = arena_alloc(c->arena, l->n * sizeof(*covers));
    enum trigger_kind strongest = TRIGGER_DATASET;
    size_t n = 0, bytes = 0;
    char about[40], *id = arena_alloc(c->arena, ID_SIZE);
    struct training_planned *rec;

    snprintf(about, sizeof(about), "requested %lld", (long long)c->in->line->plans_base);
    rec = act(c, cause, "requested", about);
    if (!rec)
        return;
    for (size_t i = 0; i < l->n && bytes < PLAN_COVERS_BYTES; i++) {
        covers[n++] = l->items[i].ev->id;
        bytes += strlen(l->items[i].ev->id) + 2;
        if (l->items[i].kind > strongest)
            strongest = l->items[i].kind;
    }
    id_from_cause(record_topic(RECORD_TRAINING_PLANNED), cause->id, about, id);
    rec->base = c->in->line->plans_base;
    rec->run = id;
    rec->trigger = plan__trigger_str(strongest);
    rec->covers = (struct string_list){covers, n};
    rec->pipeline_sha256 = arena_strdup(c->arena, p->sha256);
    rec->snapshots = w->snapshots;
    rec->rows = w->rows;
    rec->deadline_unix_ms = c->in->now_unix_ms + p->run_deadline_ms;
    rec->reason = arena_printf(c->arena, "%s: learns from %lld training rows in %zu snapshot%s",
                               plan__counts(c->arena, l), (long long)w->rows, w->snapshots.n,
                               w->snapshots.n == 1 ? "" : "s");
    wake_at(c, rec->deadline_unix_ms);
}

static void answer_triggers(struct call *c, struct plan_memo *memo)
{
    struct trigger_list open;
    struct window window;
    struct wait wait;

    plan__open_triggers(c->in, memo, c->arena, &open);
    ignore_some(c, &open);
    if (!open.n)
        return;
    window_choose(c->in->line, c->in->pipeline, PLAN_SNAPSHOTS_MAX, c->arena, &window);
    if (!window.rows) {
        ignore_all(
            c, &open,
            arena_printf(
                c->arena,
                "no accepted snapshot of %s has training rows: there is nothing to learn from",
                c->in->line->key));
        return;
    }
    /* a resume counts when it has been read back */
    plan__wait(c->in, &open, c->is_paused || c->in->line->pause, c->arena, &wait);
    if (wait.is_blocked)
        defer_all(c, &open, &wait);
    else
        request(c, &open, &window);
}

void plan_decide(const struct plan_input *in, struct plan_memo *memo, struct plan_output *out)
{
    struct plan_memo none = {0};
    struct call c = {
        .in = in, .out = out, .arena = &out->arena, .is_paused = in->line->pause != NULL};

    out->n = 0;
    out->wake_unix_ms = PLAN_NO_WAKE;
    arena_fini(&out->arena);
    memo = memo ? memo : &none;
    if (close_run(&c)) {
        answer_commands(&c, memo);
        return;
    }
    answer_commands(&c, memo);
    answer_triggers(&c, memo);
}

void plan_output_fini(struct plan_output *out)
{
    free(out->actions);
    arena_fini(&out->arena);
    *out = (struct plan_output){0};
}

bool plan_is_answered(const struct line *l, const struct event *ev)
{
    enum trigger_kind kind;
    const char *run;

    if (plan__is_trigger(ev, &kind))
        return line_answer(l, RECORD_TRAINING_PLANNED, ev->id) != NULL;
    if (ev->type == RECORD_OPERATOR_COMMANDED)
        return is_of_others(EV_REC(ev, operator_commanded)->command) ||
               line_answer(l, RECORD_TRAINING_PLANNED, ev->id) != NULL;
    run = plan__ended_run(ev);
    return !run || !line_plan(l, run) || line_closed(l, run);
}
