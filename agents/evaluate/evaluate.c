/* The evaluate agent's shell: what is owed is found in the fold (owed.c), computed on the pool
 * (evaluation.c), kept until the log has it. */
#include "agents/evaluate/evaluate.h"

#include <stdlib.h>
#include <string.h>

#include "agents/evaluate/evaluation.h"
#include "agents/evaluate/owed.h"
#include "common/log.h"

enum {
    TRIES = 6, /* of what may get better (an artefact that is not there yet): about half a minute in
                  all */
    RETRY_MS = 1000,   /* before the second; doubled each time */
    FINISH_MS = 60000, /* at the end: an evaluation at work is waited for */
};

struct work_item { /* one evaluation on the pool, then its answer until it is read back */
    struct agent *agent;
    struct evaluation e;
    char *key, *cause;
    bool is_done;
};
struct unit_self {
    struct work_item *item; /* NULL: none; the pool's while it is at work */
    char *tried;            /* a cause that failed for a while */
    int tries;
    int64_t retry_mono_ms;
};
struct self {
    size_t n_working;
};

static void item_free(struct work_item *w)
{
    if (!w)
        return;
    evaluation_fini(&w->e);
    free(w->key);
    free(w->cause);
    free(w);
}

static struct unit_self *self_of(struct unit *u)
{
    if (!u->self)
        u->self = xcalloc(1, sizeof(struct unit_self));
    return u->self;
}

/* ---- the pool ---- */

static void on_pool(void *ctx)
{
    evaluation_run(&((struct work_item *)ctx)->e);
}

/* True when it is to be tried again later. */
static bool is_put_off(struct agent *a, struct unit *u, struct work_item *w)
{
    struct unit_self *own = self_of(u);
    int64_t delay_ms;

    if (w->e.rc == 0 || w->e.err.next != NEXT_RETRY)
        return false;
    if (!own->tried || strcmp(own->tried, w->cause) != 0) {
        free(own->tried);
        own->tried = xstrdup(w->cause);
        own->tries = 0;
    }
    if (++own->tries >= TRIES)
        return false;
    delay_ms = (int64_t)RETRY_MS << (own->tries - 1);
    own->retry_mono_ms = clk_mono_ms(agent_clk(a)) + delay_ms;
    agent_wake(a, u, agent_now_ms(a) + delay_ms + 10);
    log_warn("evaluate.retry", "run=%s error=%s retry_ms=%lld", w->e.run, w->e.err.msg,
             (long long)delay_ms);
    return true;
}

static void after_pool(void *ctx)
{
    struct work_item *w = ctx;
    struct agent *a = w->agent;
    struct self *self = agent_self(a);
    struct unit *u = agent_unit(a, RECORD_TRAINING_FINISHED, w->key);
    struct unit_self *own = u ? u->self : NULL;

    self->n_working--;
    w->is_done = true;
    if (!own ||
        own->item != w) { /* the partition went away meanwhile: whoever has it now does it again */
        item_free(w);
        return;
    }
    if (is_put_off(a, u, w)) {
        own->item = NULL;
        item_free(w);
        return;
    }
    if (w->e.rc) {
        log_warn("evaluate.failed", "run=%s error=%s", w->e.run, w->e.err.msg);
        evaluation_fail(&w->e, w->e.err.msg);
    } else {
        log_info("evaluate.done", "run=%s against=%lld rows=%lld ms=%.0f", w->e.run,
                 (long long)w->e.against, (long long)w->e.rec.rows, w->e.rec.seconds * 1000);
    }
    agent_observe_ms(a, "evaluation_ms", NULL, w->e.rec.seconds * 1000);
    agent_touch(a, u);
}

static bool has(const struct string_list *list, const char *text)
{
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->items[i], text) == 0)
            return true;
    return false;
}

/* Those of the run, and later ones that a decision "again" names: the gate waited for them. */
static struct string_list snapshots_of(const struct training_finished *f, const struct event *cause,
                                       struct arena *arena)
{
    const struct gate_decided *d =
        cause->type == RECORD_GATE_DECIDED ? EV_REC(cause, gate_decided) : NULL;
    size_t most = f->snapshots.n + (d ? d->snapshots.n : 0);
    const char **items = arena_alloc(arena, (most + 1) * sizeof(*items));
    struct string_list list = {items, f->snapshots.n};

    for (size_t i = 0; i < f->snapshots.n; i++)
        items[i] = arena_strdup(arena, f->snapshots.items[i].snapshot);
    for (size_t i = 0; d && i < d->snapshots.n; i++)
        if (!has(&list, d->snapshots.items[i]))
            items[list.n++] = arena_strdup(arena, d->snapshots.items[i]);
    return list;
}

static struct string_list past_of(const struct evaluate_owed *owed, struct arena *arena)
{
    const char **items = arena_alloc(arena, (owed->n_past + 1) * sizeof(*items));

    for (size_t i = 0; i < owed->n_past; i++)
        items[i] = arena_strdup(arena, owed->past[i]);
    return (struct string_list){items, owed->n_past};
}

static int start(struct agent *a, struct unit *u, const struct evaluate_owed *owed, struct err *err)
{
    const struct training_finished *f = EV_REC(owed->model, training_finished);
    const struct pipeline *p = agent_pipeline_at(a, f->pipeline_sha256, err);
    struct self *self = agent_self(a);
    struct work_item *w;
    struct arena *mem;

    if (!p && err->next != NEXT_REJECT)
        return err_wrap(err, "run %s", f->run);
    w = xcalloc(1, sizeof(*w));
    mem = &w->e.arena;
    w->agent = a;
    w->key = xstrdup(u->key);
    w->cause = xstrdup(owed->cause->id);
    w->e.artifacts = agent_artifacts(a);
    w->e.pipeline = p;
    w->e.line = arena_strdup(mem, u->key);
    w->e.run = arena_strdup(mem, f->run);
    w->e.model = arena_strdup(mem, f->model);
    w->e.model_event = arena_strdup(mem, owed->model->id);
    w->e.snapshots = snapshots_of(f, owed->cause, mem);
    w->e.against = owed->against;
    w->e.attempt = owed->attempt;
    w->e.past = past_of(owed, mem);
    w->e.champion = arena_strdup(mem, owed->champion);
    self_of(u)->item = w;
    if (!p || !f->run || !f->model) {
        evaluation_fail(&w->e, p ? "the candidate's event names no run or no model" : err->msg);
        w->is_done = true;
        agent_touch(a, u);
        return 0;
    }
    self->n_working++;
    work_submit(agent_loop(a), on_pool, after_pool, w);
    return 0;
}

/* ---- reconcile ---- */

static int emit(struct agent *a, struct unit *u, const struct evaluate_owed *owed,
                struct work_item *w, struct err *err)
{
    struct emission e = {.record = RECORD_MODEL_EVALUATED, .rec = &w->e.rec, .cause = owed->cause};

    e.about = arena_printf(&w->e.arena, "against %lld", (long long)w->e.against);
    return agent_emit(a, u, &e, err);
}

static int reconcile(struct agent *a, struct unit *u, struct err *err)
{
    struct unit_self *own = self_of(u);
    struct evaluate_owed owed;

    evaluate_find_owed(u->line, &owed);
    if (own->item && !own->item->is_done)
        return 0; /* one at a time on a line; looked at again when it is done */
    if (own->item && (!owed.cause || strcmp(own->item->cause, owed.cause->id) != 0)) {
        item_free(own->item); /* its answer is in the log */
        own->item = NULL;
    }
    if (!owed.cause)
        return 0;
    if (own->item)
        return emit(a, u, &owed, own->item, err);
    if (agent_is_stopping(a) || (own->tried && strcmp(own->tried, owed.cause->id) == 0 &&
                                 clk_mono_ms(agent_clk(a)) < own->retry_mono_ms))
        return 0;
    return start(a, u, &owed, err);
}

static bool is_answered(struct agent *a, struct unit *u, const struct event *ev)
{
    (void)a;
    return evaluate_is_answered(u->line, ev);
}

static void drop(struct agent *a, struct unit *u)
{
    struct unit_self *own = u->self;

    (void)a;
    if (!own)
        return;
    if (own->item && own->item->is_done)
        item_free(own->item); /* else the pool has it, and after_pool frees it */
    free(own->tried);
    free(own);
    u->self = NULL;
}

static bool is_busy(struct agent *a)
{
    return ((struct self *)agent_self(a))->n_working > 0;
}

static bool is_idle(void *ctx)
{
    return ((struct self *)ctx)->n_working == 0;
}

static void close_agent(struct agent *a)
{
    struct self *self = agent_self(a);

    if (self->n_working) /* threads cannot be stopped, and what they read must outlive them */
        loop_until(agent_loop(a), is_idle, self, FINISH_MS);
}

static const struct agent_input INPUTS[] = {
    {RECORD_TRAINING_FINISHED, INPUT_WORK},
    {RECORD_GATE_DECIDED, INPUT_WORK}, /* those that say: evaluate again */
    {RECORD_DEPLOYMENT_CHANGED, INPUT_TABLE},
    {RECORD_MODEL_EVALUATED, INPUT_TABLE},
};
static const enum record OUTPUTS[] = {RECORD_MODEL_EVALUATED};

const struct agent_spec evaluate_agent = {
    .name = "evaluate",
    .purpose = "Scores each candidate and the champion on the same test rows: metrics, intervals "
               "of their differences, slices.",
    .example = "relearn-evaluate --brokers localhost:9092 --share 1/1",
    .inputs = INPUTS,
    .n_inputs = ARRAY_LEN(INPUTS),
    .outputs = OUTPUTS,
    .n_outputs = ARRAY_LEN(OUTPUTS),
    .self_bytes = sizeof(struct self),
    .close = close_agent,
    .reconcile = reconcile,
    .is_answered = is_answered,
    .drop = drop,
    .is_busy = is_busy,
};
