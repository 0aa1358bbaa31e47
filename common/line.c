/* The fold of one key.  Guarantees: an id counts once per topic; chains accept the first event on a
 * base; every topic is folded by itself.  Tables are uthash; keys point into the events' arenas, so
 * an event that is in a table lives as long as the line.  Void events leave only their id behind.
 */
#include "common/line.h"

#include <string.h>
#include <uthash.h>

#include "common/mem.h"

struct entry {
    const char *key;
    const struct event *ev; /* NULL: void */
    char *own_key;          /* of a void event, whose arena is gone */
    UT_hash_handle hh;
};

struct line_index {
    struct entry *seen[RECORD_COUNT];    /* by id */
    struct entry *answers[RECORD_COUNT]; /* by cause: the first accepted one */
    struct entry *settled;               /* plans by cause: the first that is not `deferred` */
    struct entry *covered;               /* triggers covered by a requested plan */
    struct entry *closed;                /* runs that were closed */
    struct entry *models;                /* runs that have a result */
};

static struct entry *entry_find(struct entry *head, const char *key)
{
    struct entry *e = NULL;
    if (key)
        HASH_FIND_STR(head, key, e);
    return e;
}

/* The first one under a key stays. */
static bool entry_add(struct entry **head, const char *key, const struct event *ev)
{
    if (!key)
        return false;
    unsigned hash;
    size_t n = strlen(key);
    struct entry *e = NULL;
    HASH_VALUE(key, n, hash);
    HASH_FIND_BYHASHVALUE(hh, *head, key, n, hash, e);
    if (e)
        return false;
    e = xcalloc(1, sizeof(*e));
    e->key = key;
    e->ev = ev;
    HASH_ADD_KEYPTR_BYHASHVALUE(hh, *head, e->key, n, hash, e);
    return true;
}

static void entries_free(struct entry **head)
{
    struct entry *e = *head, *next;
    HASH_CLEAR(hh, *head); /* the list that runs through them stays */
    for (; e; e = next) {
        next = e->hh.next;
        free_ptr(&e->own_key);
        free_ptr(&e);
    }
}

struct line *line_new(const char *key)
{
    struct line *l = xcalloc(1, sizeof(*l));
    l->key = xstrdup(key);
    const char *slash = strchr(key, '/');
    l->pipeline = slash ? xstrndup(key, (size_t)(slash - key)) : xstrdup(key);
    l->segment = slash ? xstrdup(slash + 1) : NULL;
    l->index = xcalloc(1, sizeof(*l->index));
    return l;
}

void line_free(struct line *l)
{
    if (!l)
        return;
    for (int r = 0; r < RECORD_COUNT; r++) {
        entries_free(&l->index->seen[r]);
        entries_free(&l->index->answers[r]);
        for (size_t i = 0; i < l->ev[r].n; i++)
            event_free((struct event *)(uintptr_t)l->ev[r].items[i]);
        free_ptr(&l->ev[r].items);
    }
    entries_free(&l->index->settled);
    entries_free(&l->index->covered);
    entries_free(&l->index->closed);
    entries_free(&l->index->models);
    free_ptr(&l->index);
    free_ptr(&l->key);
    free_ptr(&l->pipeline);
    free_ptr(&l->segment);
    free_ptr(&l);
}

static bool is_kind(const char *kind, const char *word)
{
    return kind && strcmp(kind, word) == 0;
}

static bool fold_plan(struct line *l, const struct event *ev)
{
    const struct training_planned *p = ev->rec;
    struct line_index *x = l->index;
    if (is_kind(p->kind, "requested")) {
        if (p->base != l->plans_base || l->in_flight)
            return false;
        l->plans_base++;
        l->in_flight = ev;
        for (size_t i = 0; i < p->covers.n; i++)
            entry_add(&x->covered, p->covers.items[i], ev);
        entry_add(&x->covered, ev->cause, ev);
    } else if (is_kind(p->kind, "closed")) {
        if (!entry_add(&x->closed, p->run, ev))
            return false;
        if (l->in_flight && p->run && strcmp(l->in_flight->id, p->run) == 0)
            l->in_flight = NULL;
    } else if (is_kind(p->kind, "paused")) {
        if (!l->pause)
            l->pause = ev;
    } else if (is_kind(p->kind, "resumed")) {
        l->pause = NULL;
    }
    if (!is_kind(p->kind, "deferred"))
        entry_add(&x->settled, ev->cause, ev);
    return true;
}

static bool fold_decision(struct line *l, const struct event *ev)
{
    const struct gate_decided *d = ev->rec;
    if (is_kind(d->verdict, "refused"))
        return true;
    if (d->base != l->decisions_base)
        return false;
    l->decisions_base++;
    return true;
}

static bool fold_deployment(struct line *l, const struct event *ev)
{
    const struct deployment_changed *d = ev->rec;
    if (!is_kind(d->kind, "changed"))
        return true;
    if (d->base != l->deployments_base)
        return false;
    l->deployments_base++;
    l->deployment = ev;
    if (d->generation > l->generation)
        l->generation = d->generation;
    return true;
}

/* Chooses: false makes the event void. */
static bool fold_accepts(struct line *l, const struct event *ev)
{
    switch (ev->type) {
    case RECORD_TRAINING_PLANNED:
        return fold_plan(l, ev);
    case RECORD_TRAINING_FINISHED:
        return entry_add(&l->index->models, EV_REC(ev, training_finished)->run, ev);
    case RECORD_GATE_DECIDED:
        return fold_decision(l, ev);
    case RECORD_DEPLOYMENT_CHANGED:
        return fold_deployment(l, ev);
    default:
        return true;
    }
}

bool line_fold(struct line *l, struct event *ev)
{
    BUG_ON(!ev->rec || !ev->id || ev->type <= RECORD_NONE || ev->type >= RECORD_COUNT);
    struct line_index *x = l->index;
    if (!entry_add(&x->seen[ev->type], ev->id, ev)) {
        event_free(ev);
        return false;
    }
    l->version++;
    if (!fold_accepts(l, ev)) {
        struct entry *e = entry_find(x->seen[ev->type], ev->id);
        HASH_DEL(x->seen[ev->type], e);
        e->own_key = xstrdup(ev->id);
        e->key = e->own_key;
        e->ev = NULL;
        HASH_ADD_KEYPTR(hh, x->seen[ev->type], e->key, strlen(e->key), e);
        event_free(ev);
        return true;
    }
    entry_add(&x->answers[ev->type], ev->cause, ev);
    struct event_list *list = &l->ev[ev->type];
    list->items = xgrow(list->items, &list->cap, list->n + 1, sizeof(*list->items));
    list->items[list->n++] = ev;
    return true;
}

bool line_has(const struct line *l, enum record r, const char *id)
{
    return entry_find(l->index->seen[r], id) != NULL;
}

bool line_is_void(const struct line *l, const char *id)
{
    unsigned hash;
    if (!id)
        return false;
    size_t n = strlen(id);
    HASH_VALUE(id, n, hash); /* once, not for each topic */
    for (int r = 0; r < RECORD_COUNT; r++) {
        const struct entry *e = NULL;
        HASH_FIND_BYHASHVALUE(hh, l->index->seen[r], id, n, hash, e);
        if (e && !e->ev)
            return true;
    }
    return false;
}

const struct event *line_find(const struct line *l, enum record r, const char *id)
{
    const struct entry *e = entry_find(l->index->seen[r], id);
    return e ? e->ev : NULL;
}

const struct event *line_answer(const struct line *l, enum record r, const char *cause)
{
    const struct entry *e = NULL;
    if (r == RECORD_TRAINING_PLANNED) {
        e = entry_find(l->index->covered, cause);
        if (!e)
            e = entry_find(l->index->settled, cause);
    }
    if (!e)
        e = entry_find(l->index->answers[r], cause);
    return e ? e->ev : NULL;
}

bool line_is_covered(const struct line *l, const char *trigger)
{
    return entry_find(l->index->covered, trigger) != NULL;
}

const struct event *line_plan(const struct line *l, const char *run)
{
    const struct event *ev = line_find(l, RECORD_TRAINING_PLANNED, run);
    return ev && is_kind(EV_REC(ev, training_planned)->kind, "requested") ? ev : NULL;
}

const struct event *line_closed(const struct line *l, const char *run)
{
    const struct entry *e = entry_find(l->index->closed, run);
    return e ? e->ev : NULL;
}

const struct event *line_model(const struct line *l, const char *run)
{
    const struct entry *e = entry_find(l->index->models, run);
    return e ? e->ev : NULL;
}

static const struct route *route_with_role(const struct line *l, const char *role)
{
    if (!l->deployment)
        return NULL;
    const struct deployment_changed *d = l->deployment->rec;
    for (size_t i = 0; i < d->routes.n; i++)
        if (is_kind(d->routes.items[i].role, role))
            return &d->routes.items[i];
    return NULL;
}

const struct route *line_champion(const struct line *l)
{
    return route_with_role(l, "champion");
}

const struct route *line_canary(const struct line *l)
{
    return route_with_role(l, "canary");
}
