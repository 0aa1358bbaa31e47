/* Rules taken out, one at a time: what is left of the protocol must fail within so many histories,
 * or the simulation proves nothing. */
#include <string.h>

#include "agents/monitor/join.h"
#include "common/agent_internal.h"
#include "common/mem.h"
#include "tests/sim/sim.h"

static const char *const NAMES[] = {
    [MUTANT_NONE] = "none",
    [MUTANT_NO_BASE] = "no-base",
    [MUTANT_COUNT_TWICE] = "count-twice",
    [MUTANT_NO_CAUSAL] = "no-causal-order",
    [MUTANT_NO_OWED] = "no-search-for-owed",
    [MUTANT_ANY_CHAMPION] = "no-check-of-champion",
    [MUTANT_COMMIT_EARLY] = "commit-on-read",
    [MUTANT_WORDS_FIRST] = "words-before-bytes",
    [MUTANT_ROWS_TWICE] = "rows-twice",
    [MUTANT_STREAM_EARLY] = "streams-committed-on-read",
    [MUTANT_NO_RESULT] = "no-result-kept",
    [MUTANT_NOT_READ_BACK] = "acts-on-what-it-sent",
};

const char *sim_mutant_str(enum sim_mutant m)
{
    return NAMES[m];
}

bool __real_line_fold(struct line *l, struct event *ev);
bool __wrap_line_fold(struct line *l, struct event *ev);
const struct route *__real_line_champion(const struct line *l);
const struct route *__wrap_line_champion(const struct line *l);
void __real_agent__seen_note(struct agent *a, const struct event *ev);
void __wrap_agent__seen_note(struct agent *a, const struct event *ev);
void __real_agent__mark(struct agent *a, struct unit_x *x);
void __wrap_agent__mark(struct agent *a, struct unit_x *x);
void __real_agent_touch_all(struct agent *a);
void __wrap_agent_touch_all(struct agent *a);
bool __real_join_knows(const struct join *j, const char *prediction);
bool __wrap_join_knows(const struct join *j, const char *prediction);

int __real_agent_emit(struct agent *a, struct unit *u, const struct emission *e, struct err *err);
int __wrap_agent_emit(struct agent *a, struct unit *u, const struct emission *e, struct err *err);

void __real_agent_stream_done(struct agent *a, enum record r, int partition, int64_t next_offset);
void __wrap_agent_stream_done(struct agent *a, enum record r, int partition, int64_t next_offset);

void __wrap_agent_stream_done(struct agent *a, enum record r, int partition, int64_t next_offset)
{
    const struct input *in = agent__input_of(a, r);
    if (sim.mutant == MUTANT_STREAM_EARLY)
        next_offset = in->parts[partition].next;
    __real_agent_stream_done(a, r, partition, next_offset);
}

/* Whatever base it says, it is taken to be on the current one. */
static void rebase(const struct line *l, struct event *ev)
{
    if (ev->type == RECORD_TRAINING_PLANNED) {
        struct training_planned *p = arena_memdup(&ev->arena, ev->rec, sizeof(*p));
        p->base = p->base == ABSENT_I64 ? p->base : l->plans_base;
        ev->rec = p;
    } else if (ev->type == RECORD_GATE_DECIDED) {
        struct gate_decided *d = arena_memdup(&ev->arena, ev->rec, sizeof(*d));
        d->base = l->decisions_base;
        ev->rec = d;
    } else if (ev->type == RECORD_DEPLOYMENT_CHANGED) {
        struct deployment_changed *d = arena_memdup(&ev->arena, ev->rec, sizeof(*d));
        d->base = d->base == ABSENT_I64 ? d->base : l->deployments_base;
        ev->rec = d;
    }
}

bool __wrap_line_fold(struct line *l, struct event *ev)
{
    if (!sim.current)
        return __real_line_fold(l, ev);
    if (sim.mutant == MUTANT_NO_BASE)
        rebase(l, ev);
    if (sim.mutant == MUTANT_COUNT_TWICE && line_has(l, ev->type, ev->id))
        ev->id = arena_printf(&ev->arena, "%s.%lld", ev->id, (long long)ev->offset);
    if (sim.mutant == MUTANT_ANY_CHAMPION && ev->type == RECORD_GATE_DECIDED &&
        strcmp(sim.current->spec->name, "deploy") == 0) {
        struct gate_decided *d = arena_memdup(&ev->arena, ev->rec, sizeof(*d));
        const struct route *r = __real_line_champion(l);
        d->against = r ? r->generation : 0;
        ev->rec = d;
    }
    return __real_line_fold(l, ev);
}

const struct route *__wrap_line_champion(const struct line *l)
{
    static struct route any[SIM_PROCS_MAX];
    const struct route *r = __real_line_champion(l);
    if (sim.mutant != MUTANT_ANY_CHAMPION || !sim.current || !r ||
        strcmp(sim.current->spec->name, "gate") != 0)
        return r;
    struct route *mine =
        &any[sim.current->index]; /* gate sees what each candidate was compared with */
    const struct event_list *list = &l->ev[RECORD_MODEL_EVALUATED];
    *mine = *r;
    if (list->n)
        mine->generation = EV_REC(list->items[list->n - 1], model_evaluated)->against;
    return mine;
}

void __wrap_agent__seen_note(struct agent *a, const struct event *ev)
{
    if (sim.mutant != MUTANT_NO_CAUSAL)
        __real_agent__seen_note(a, ev);
}

void __wrap_agent__mark(struct agent *a, struct unit_x *x)
{
    if (sim.mutant != MUTANT_NO_OWED || a->is_ready)
        __real_agent__mark(a, x);
}

void __wrap_agent_touch_all(struct agent *a)
{
    if (sim.mutant != MUTANT_NO_OWED)
        __real_agent_touch_all(a);
}

bool __wrap_join_knows(const struct join *j, const char *prediction)
{
    return sim.mutant != MUTANT_ROWS_TWICE && __real_join_knows(j, prediction);
}

/* What it sent is taken for what the log says. */
static void believe(struct unit *u, const struct emission *e)
{
    CLEANUP(buf_fini) struct buf value = {0};
    char id[ID_SIZE];
    sim_encode(e->record, e->rec, &value);
    struct event *ev = xcalloc(1, sizeof(*ev));
    id_from_cause(record_topic(e->record), e->cause ? e->cause->id : "", e->about ? e->about : "",
                  id);
    *ev = (struct event){.type = e->record,
                         .rec = sim_decode(e->record, buf_slice(&value)),
                         .partition = u->partition,
                         .offset = -1};
    ev->id = arena_strdup(&ev->arena, id);
    ev->cause = arena_strdup(&ev->arena, e->cause ? e->cause->id : NULL);
    ev->correlation = ev->id;
    ev->key = arena_strdup(&ev->arena, u->key);
    __real_line_fold(u->line, ev);
}

int __wrap_agent_emit(struct agent *a, struct unit *u, const struct emission *e, struct err *err)
{
    if (__real_agent_emit(a, u, e, err))
        return -1;
    if (sim.mutant == MUTANT_NOT_READ_BACK && agent__input_of(a, e->record) &&
        record_is_line_keyed(e->record) && e->record != RECORD_DATASET_INGESTED)
        believe(u, e);
    return 0;
}
