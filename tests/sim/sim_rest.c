/* What must hold at rest, when faults have stopped and everything was delivered: every question has
 * its one answer, nothing is owed, and all who read the same log say the same. */
#include <string.h>

#include "agents/plan/policy.h"
#include "agents/serve/serve_internal.h"
#include "common/agent_internal.h"
#include "common/bus.h"
#include "common/gate.h"
#include "tests/sim/sim_check.h"

static bool is(const char *a, const char *b)
{
    return a && strcmp(a, b) == 0;
}

/* ---- answers ---- */

static void check_trigger(const struct line *l, const struct event *ev)
{
    const struct event *answer = line_answer(l, RECORD_TRAINING_PLANNED, ev->id);
    const char *kind = answer ? EV_REC(answer, training_planned)->kind : "nothing";
    if (l->pause && (is(kind, "deferred") || !answer))
        return;
    if (!answer || is(kind, "deferred"))
        sim_wrong("%s %s of line %s: its answer is %s", record_topic(ev->type), ev->id, l->key,
                  kind);
}

static enum record owner_of(const char *command)
{
    if (is(command, "approve") || is(command, "reject") || is(command, "force"))
        return RECORD_GATE_DECIDED;
    return is(command, "rollback") ? RECORD_DEPLOYMENT_CHANGED : RECORD_TRAINING_PLANNED;
}

static void check_command(const struct line *l, const struct event *ev)
{
    const char *command = EV_REC(ev, operator_commanded)->command;
    enum record owner = owner_of(command);
    if (is(command, "retrain"))
        check_trigger(l, ev);
    else if (!line_answer(l, owner, ev->id))
        sim_wrong("command %s (%s) has no answer", ev->id, command);
    for (int r = 1; r < RECORD_COUNT; r++)
        if ((enum record)r != owner && r != RECORD_SERVING_CHANGED &&
            line_answer(l, (enum record)r, ev->id))
            sim_wrong("command %s (%s) is answered in %s", ev->id, command,
                      record_topic((enum record)r));
}

static void check_plans(const struct line *l)
{
    const struct event_list *plans = &l->ev[RECORD_TRAINING_PLANNED];
    size_t runs = 0;
    for (size_t i = 0; i < plans->n; i++) {
        const struct event *ev = plans->items[i];
        if (!is(EV_REC(ev, training_planned)->kind, "requested"))
            continue;
        runs++;
        if (!line_closed(l, ev->id))
            sim_wrong("run %s was never closed", ev->id);
        else if (!line_model(l, ev->id) &&
                 !is(EV_REC(line_closed(l, ev->id), training_planned)->outcome, "expired"))
            sim_wrong("run %s has no result", ev->id);
    }
    size_t triggers = l->ev[RECORD_DATASET_INGESTED].n + l->ev[RECORD_DRIFT_DETECTED].n +
                      l->ev[RECORD_OPERATOR_COMMANDED].n;
    if (runs > triggers)
        sim_wrong("%zu runs from %zu triggers", runs, triggers);
}

static void check_answered(const struct line *l, enum record r, const char *agent)
{
    const struct event_list *list = &l->ev[r];
    for (size_t i = 0; i < list->n; i++)
        if (!sim_is_answered(agent, l, list->items[i]))
            sim_wrong("%s %s of line %s: %s owes an answer", record_topic(r), list->items[i]->id,
                      l->key, agent);
}

/* Nothing waits for ever: at rest not even the latest time finds a wait that is open. */
static void check_waits(const struct line *l)
{
    CLEANUP(arena_fini) struct arena arena = {0};
    struct gate_owed owed;
    gate_find_owed(l, INT64_MAX / 2, &arena, &owed);
    if (owed.kind != GATE_OWES_NOTHING)
        sim_wrong("line %s: gate still owes an end to %s", l->key, owed.cause->id);
}

static void check_line(const struct line *l)
{
    static const struct {
        enum record record;
        const char *agent;
    } OWED[] = {
        {RECORD_DATASET_INGESTED, "plan"},      {RECORD_DRIFT_DETECTED, "plan"},
        {RECORD_TRAINING_FINISHED, "plan"},     {RECORD_GATE_DECIDED, "plan"},
        {RECORD_DEPLOYMENT_CHANGED, "plan"},    {RECORD_TRAINING_PLANNED, "train"},
        {RECORD_TRAINING_FINISHED, "evaluate"}, {RECORD_GATE_DECIDED, "evaluate"},
        {RECORD_MODEL_EVALUATED, "gate"},       {RECORD_OPERATOR_COMMANDED, "gate"},
        {RECORD_DEPLOYMENT_CHANGED, "gate"},    {RECORD_GATE_DECIDED, "deploy"},
        {RECORD_OPERATOR_COMMANDED, "deploy"},  {RECORD_OPERATOR_COMMANDED, "plan"},
    };
    for (size_t i = 0; i < ARRAY_LEN(OWED); i++)
        check_answered(l, OWED[i].record, OWED[i].agent);
    for (size_t i = 0; i < l->ev[RECORD_DATASET_INGESTED].n; i++)
        check_trigger(l, l->ev[RECORD_DATASET_INGESTED].items[i]);
    for (size_t i = 0; i < l->ev[RECORD_DRIFT_DETECTED].n; i++)
        check_trigger(l, l->ev[RECORD_DRIFT_DETECTED].items[i]);
    for (size_t i = 0; i < l->ev[RECORD_OPERATOR_COMMANDED].n; i++)
        check_command(l, l->ev[RECORD_OPERATOR_COMMANDED].items[i]);
    check_plans(l);
    check_waits(l);
    if (l->in_flight)
        sim_wrong("line %s: run %s is still in flight", l->key, l->in_flight->id);
    if (l->deployment && !EV_REC(l->deployment, deployment_changed)->is_final)
        sim_wrong("line %s: a rollout never ended", l->key);
}

/* An alert about a generation that did not serve leads to nothing, and says why. */
static void check_alerts(const struct line *l)
{
    const struct event_list *alerts = &l->ev[RECORD_DRIFT_DETECTED];
    for (size_t i = 0; i < alerts->n; i++) {
        const struct event *answer = line_answer(l, RECORD_TRAINING_PLANNED, alerts->items[i]->id);
        const struct training_planned *p = answer ? answer->rec : NULL;
        int64_t about = EV_REC(alerts->items[i], drift_detected)->generation;
        if (p && about != ABSENT_I64 && about > l->generation && !is(p->kind, "ignored"))
            sim_wrong("alert %s is about generation %lld, which never was, and was answered by %s",
                      alerts->items[i]->id, (long long)about, p->kind);
        if (p && is(p->kind, "ignored") && (!p->reason || !p->reason[0]))
            sim_wrong("alert %s is ignored without a reason", alerts->items[i]->id);
    }
}

/* ---- datasets ---- */

static const struct pipeline_declared *declared(void)
{
    const struct sim_part *p =
        &sim.log[RECORD_PIPELINE_DECLARED][bus_partition_of("p", 1, sim.plan->partitions)];
    return p->n ? p->items[p->n - 1]->rec : NULL;
}

static size_t snapshots_of(const char *dataset)
{
    size_t n = 0;
    for (struct checked *c = sim_lines(); c; c = c->hh.next)
        n += line_answer(c->line, RECORD_DATASET_INGESTED, dataset) ? 1 : 0;
    return n;
}

static void check_datasets(void)
{
    for (int p = 0; p < sim.plan->partitions && declared(); p++)
        for (size_t i = 0; i < sim.log[RECORD_DATASET_PUBLISHED][p].n; i++) {
            const struct sim_entry *e = sim.log[RECORD_DATASET_PUBLISHED][p].items[i];
            const struct dataset_published *d = e->rec;
            size_t want = d && is(d->uri, "sim:reject") ? 1 : (size_t)sim.plan->lines;
            if (d && snapshots_of(e->id) != want)
                sim_wrong("dataset %s has %zu outcomes, not %zu", e->id, snapshots_of(e->id), want);
        }
    for (struct checked *c = sim_lines(); c; c = c->hh.next)
        for (size_t i = 0; i < c->line->ev[RECORD_DATASET_INGESTED].n; i++) {
            const struct event *ev = c->line->ev[RECORD_DATASET_INGESTED].items[i];
            if (line_answer(c->line, RECORD_DATASET_INGESTED, ev->cause) != ev)
                sim_wrong("dataset %s has two outcomes for line %s", ev->cause, c->line->key);
        }
}

/* ---- monitor ---- */

static size_t rows_of(const struct line *l, int64_t generation)
{
    const struct sim_part *p =
        &sim.log[RECORD_PREDICTION_SERVED]
                [bus_partition_of(l->key, strlen(l->key), sim.plan->partitions)];
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct prediction_served *r = p->items[i]->rec;
        n += r && strcmp(r->line, l->key) == 0 && r->generation == generation &&
                     sim_seen(p->items[i]->id)->first == p->items[i]
                 ? 1
                 : 0;
    }
    return n;
}

/* Of what is read more than a minute before its deployment nobody can say what it is: who reads it
 * so counts it as unknown, and has other windows than its twin, or than its next life. */
static bool is_known_in_time(void)
{
    enum { LATE = 100, KNOWN_MS = 20000 };
    return !sim.plan->noise.slow_topic || sim.plan->noise.lag_ms * LATE <= KNOWN_MS;
}

/* What is predicted while the pipeline is withdrawn is nobody's; and so is what arrives a minute
 * after its generation has left (which may go on answering, where the next one cannot be loaded).
 */
static bool is_all_counted(void)
{
    for (size_t i = 0; i < sim.plan->n_items; i++)
        if (sim.plan->items[i].kind == ITEM_WITHDRAW)
            return false;
    return !sim.plan->noise.refused && !sim.plan->noise.bad_models && is_known_in_time();
}

static bool is_measured_before(const struct event_list *list, size_t i)
{
    const struct health_measured *h = EV_REC(list->items[i], health_measured);
    for (size_t k = 0; k < i; k++) {
        const struct health_measured *o = EV_REC(list->items[k], health_measured);
        if (o->generation == h->generation && is(o->kind, "window") && o->window == h->window)
            return true;
    }
    return false;
}

static void check_windows(const struct line *l)
{
    enum { WINDOW = 20 };
    const struct event_list *list = &l->ev[RECORD_HEALTH_MEASURED];
    for (int64_t g = 1; g <= l->generation; g++) {
        size_t n = 0, rows = rows_of(l, g);
        for (size_t i = 0; i < list->n; i++) {
            const struct health_measured *h = EV_REC(list->items[i], health_measured);
            if (h->generation != g || !is(h->kind, "window"))
                continue;
            if (h->predictions != WINDOW || h->labels > h->predictions)
                sim_wrong("window %lld of generation %lld has %lld rows, %lld labels",
                          (long long)h->window, (long long)g, (long long)h->predictions,
                          (long long)h->labels);
            if (!is_measured_before(list, i))
                n++;
            else if (is_known_in_time())
                sim_wrong("window %lld of generation %lld of %s was measured twice",
                          (long long)h->window, (long long)g, l->key);
        }
        if (n > rows / WINDOW || (n < rows / WINDOW && is_all_counted()))
            sim_wrong("line %s, generation %lld: %zu predictions gave %zu windows of %d", l->key,
                      (long long)g, rows, n, WINDOW);
    }
}

/* ---- everybody says the same ---- */

static void compare_list(const struct sim_proc *p, const struct line *mine, const struct line *log,
                         enum record r)
{
    size_t n = log ? log->ev[r].n : 0;
    if (mine->ev[r].n != n) {
        sim_wrong("%s has %zu of %zu accepted %s of %s", p->name, mine->ev[r].n, n, record_topic(r),
                  mine->key);
        return;
    }
    for (size_t i = 0; i < n; i++)
        if (strcmp(mine->ev[r].items[i]->id, log->ev[r].items[i]->id) != 0)
            sim_wrong("%s has %s as number %zu of %s of %s, the log has %s", p->name,
                      mine->ev[r].items[i]->id, i, record_topic(r), mine->key,
                      log->ev[r].items[i]->id);
}

static bool reads(const struct sim_proc *p, enum record r, const struct unit *u)
{
    const struct input *in = agent__input_of(p->agent, r);
    if (!in || in->kind == INPUT_STREAM || in->kind == INPUT_GLOBAL_STREAM ||
        !record_is_line_keyed(r))
        return false;
    return in->kind == INPUT_GLOBAL ||
           (u->is_owned &&
            in->parts[bus_partition_of(u->key, strlen(u->key), in->partitions)].assigned);
}

static void compare_unit(struct agent *a, struct unit *u, void *ctx)
{
    const struct sim_proc *p = ctx;
    const struct line *log = sim_line(u->key), *mine = u->line;
    (void)a;
    if (CONTAINER_OF(u, struct unit_x, u)->map_key[0] != 'l')
        return;
    for (int r = 1; r < RECORD_COUNT; r++)
        if (reads(p, (enum record)r, u))
            compare_list(p, mine, log, (enum record)r);
    if (reads(p, RECORD_DEPLOYMENT_CHANGED, u) &&
        (mine->generation != log->generation || mine->deployments_base != log->deployments_base))
        sim_wrong("%s is at generation %lld of %s, the log at %lld", p->name,
                  (long long)mine->generation, u->key, (long long)log->generation);
    if (reads(p, RECORD_TRAINING_PLANNED, u) && mine->plans_base != log->plans_base)
        sim_wrong("%s has another number of plans of %s", p->name, u->key);
}

static void check_positions(const struct sim_proc *p)
{
    for (size_t i = 0; i < p->spec->n_inputs; i++) {
        enum record r = p->spec->inputs[i].record;
        if (p->spec->inputs[i].kind != INPUT_WORK)
            continue;
        for (int k = 0; k < sim.plan->partitions; k++) {
            int64_t at = sim_committed(p->spec->name, r, k), end = (int64_t)sim.log[r][k].n;
            if (end && at != end)
                sim_wrong("%s committed %s[%d] up to %lld of %lld", p->spec->name, record_topic(r),
                          k, (long long)at, (long long)end);
        }
    }
}

static bool is_unloadable(const struct line *l)
{
    const struct deployment_changed *d = l->deployment->rec;
    for (size_t i = 0; i < d->routes.n; i++)
        if (sim_is_bad_model(d->routes.items[i].model))
            return true;
    return false;
}

static void check_served(struct sim_proc *p)
{
    struct serve *sv = agent_self(p->agent);
    for (struct checked *c = sim_lines(); c; c = c->hh.next) {
        const struct served *s = lines_find(sv->lines, c->line->key);
        if (c->line->deployments_base == 0)
            continue;
        if (s && s->state == SERVED_FAILED && is_unloadable(c->line))
            continue;
        if (!s || (declared() && (!s->now || s->now->sequence != c->line->deployments_base)))
            sim_wrong("%s does not serve the newest generation of %s", p->name, c->line->key);
    }
}

void sim_check_rest(void)
{
    for (struct checked *c = sim_lines(); c; c = c->hh.next) {
        check_line(c->line);
        check_alerts(c->line);
        check_windows(c->line);
    }
    check_datasets();
    for (int i = 0; i < sim.n_procs && !sim.wrong[0]; i++) {
        struct sim_proc *p = &sim.procs[i];
        agent_each_unit(p->agent, compare_unit, p);
        check_positions(p);
        if (strcmp(p->spec->name, "serve") == 0)
            check_served(p);
    }
}
