/* A line's events with their indexes, and the small words that the checks are made of. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <uthash.h>

#include "agents/relearn/verify_internal.h"

enum { WHAT_SIZE = 1000 };

struct key { /* all events of a topic under one id, cause or run */
    const char *text;
    struct verify_event **items;
    size_t n, cap;
    UT_hash_handle hh;
};
struct verify_index {
    struct key *by_id[RECORD_COUNT], *by_cause[RECORD_COUNT], *by_run[RECORD_COUNT];
    struct key *covering; /* requested plans by each trigger that they cover */
};

/* ---- life ---- */

struct verify_line *verify_line_new(const char *key)
{
    struct verify_line *l = xcalloc(1, sizeof(*l));

    l->key = xstrdup(key);
    l->pipeline = xstrndup(key, strcspn(key, "/"));
    l->index = xcalloc(1, sizeof(*l->index));
    return l;
}

static void keys_free(struct key **head)
{
    struct key *k, *next;

    HASH_ITER (hh, *head, k, next) {
        HASH_DEL(*head, k);
        free_ptr(&k->items);
        free_ptr(&k);
    }
}

static void index_free(struct verify_index *x)
{
    for (int r = 0; r < RECORD_COUNT; r++) {
        keys_free(&x->by_id[r]);
        keys_free(&x->by_cause[r]);
        keys_free(&x->by_run[r]);
    }
    keys_free(&x->covering);
    free_ptr(&x);
}

void verify_line_free(struct verify_line *l)
{
    if (!l)
        return;
    index_free(l->index);
    for (int r = 0; r < RECORD_COUNT; r++) {
        for (size_t i = 0; i < l->ev[r].n; i++)
            event_free(l->ev[r].items[i].ev);
        free_ptr(&l->ev[r].items);
    }
    for (size_t i = 0; i < l->n_reports; i++) {
        free_ptr(&l->reports[i].id);
        free_ptr(&l->reports[i].instance);
        free_ptr(&l->reports[i].state);
        free_ptr(&l->reports[i].model);
    }
    for (size_t i = 0; i < l->n_answers; i++) {
        free_ptr(&l->answers[i].id);
        free_ptr(&l->answers[i].model);
    }
    free_ptr(&l->reports);
    free_ptr(&l->answers);
    free_ptr(&l->key);
    free_ptr(&l->pipeline);
    free_ptr(&l);
}

void verify_line_add(struct verify_line *l, struct event *ev, int64_t appended_unix_ms,
                     bool is_judged)
{
    struct verify_list *list = &l->ev[ev->type];

    list->items = xgrow(list->items, &list->cap, list->n + 1, sizeof(*list->items));
    list->items[list->n++] = (struct verify_event){
        .ev = ev,
        .appended_unix_ms = appended_unix_ms > 0 ? appended_unix_ms : ev->time_unix_us / 1000,
        .is_judged = is_judged};
}

void verify_line_report(struct verify_line *l, const struct verify_report *r)
{
    struct verify_report *to;

    l->reports = xgrow(l->reports, &l->cap_reports, l->n_reports + 1, sizeof(*l->reports));
    to = &l->reports[l->n_reports++];
    *to = *r;
    to->id = xstrdup(r->id);
    to->instance = xstrdup(r->instance);
    to->state = xstrdup(r->state);
    to->model = xstrdup(r->model);
}

void verify_line_answer(struct verify_line *l, const struct verify_answer *a)
{
    struct verify_answer *to;

    l->answers = xgrow(l->answers, &l->cap_answers, l->n_answers + 1, sizeof(*l->answers));
    to = &l->answers[l->n_answers++];
    *to = *a;
    to->id = xstrdup(a->id);
    to->model = xstrdup(a->model);
}

/* ---- the index ---- */

static struct key *key_find(struct key *head, const char *text)
{
    struct key *k = NULL;

    if (text)
        HASH_FIND_STR(head, text, k);
    return k;
}

static void key_add(struct key **head, const char *text, struct verify_event *e)
{
    struct key *k = key_find(*head, text);

    if (!text)
        return;
    if (!k) {
        k = xcalloc(1, sizeof(*k));
        k->text = text;
        HASH_ADD_KEYPTR(hh, *head, k->text, strlen(k->text), k);
    }
    if (k->n && k->items[k->n - 1] == e) /* a plan that names its cause among what it covers */
        return;
    k->items = xgrow(k->items, &k->cap, k->n + 1, sizeof(struct verify_event *));
    k->items[k->n++] = e;
}

static const char *run_of(const struct event *ev)
{
    switch (ev->type) {
    case RECORD_TRAINING_PLANNED: /* what a deferred one waits for is not about that run */
        return verify__is(EV_REC(ev, training_planned)->kind, "closed")
                   ? EV_REC(ev, training_planned)->run
                   : NULL;
    case RECORD_TRAINING_FINISHED:
        return EV_REC(ev, training_finished)->run;
    case RECORD_MODEL_EVALUATED:
        return EV_REC(ev, model_evaluated)->run;
    case RECORD_GATE_DECIDED:
        return EV_REC(ev, gate_decided)->run;
    case RECORD_DEPLOYMENT_CHANGED:
        return EV_REC(ev, deployment_changed)->run;
    default:
        return NULL;
    }
}

static void index_one(struct verify_line *l, struct verify_event *e)
{
    struct verify_index *x = l->index;
    const struct event *ev = e->ev;
    const struct training_planned *p = ev->rec;

    e->is_repeat = key_find(x->by_id[ev->type], ev->id) != NULL;
    key_add(&x->by_id[ev->type], ev->id, e);
    if (e->is_repeat)
        return;
    key_add(&x->by_cause[ev->type], ev->cause, e);
    key_add(&x->by_run[ev->type], run_of(ev), e);
    if (ev->type != RECORD_TRAINING_PLANNED || !verify__is(p->kind, "requested"))
        return;
    for (size_t i = 0; i < p->covers.n; i++)
        key_add(&x->covering, p->covers.items[i], e);
    key_add(&x->covering, ev->cause, e);
}

static int by_offset(const void *a, const void *b)
{
    const struct event *x = ((const struct verify_event *)a)->ev,
                       *y = ((const struct verify_event *)b)->ev;

    return (x->offset > y->offset) - (x->offset < y->offset);
}

void verify_line_seal(struct verify_line *l)
{
    for (int r = 0; r < RECORD_COUNT; r++) {
        struct verify_list *list = &l->ev[r];

        if (list->n > 1)
            qsort(list->items, list->n, sizeof(*list->items), by_offset);
        for (size_t i = 0; i < list->n; i++)
            index_one(l, &list->items[i]);
    }
    verify__mark(l);
}

void verify_line_check(struct verify_line *l, const struct verify_clock *clock, struct findings *f)
{
    struct check c = {.l = l, .clock = clock, .f = f};

    for (int r = 0; r < RECORD_COUNT; r++)
        for (size_t i = 0; i < l->ev[r].n; i++)
            f->voided += l->ev[r].items[i].is_judged && l->ev[r].items[i].is_void;
    verify__triggers(&c);
    verify__runs(&c);
    verify__evaluations(&c);
    verify__decisions(&c);
    verify__commands(&c);
    verify__bases(&c);
    verify__generations(&c);
    verify__promotions(&c);
    verify__serving(&c);
}

/* ---- questions ---- */

bool verify__is(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

const char *verify__short(const char *id)
{
    return id ? id : "none";
}

bool verify__counts(const struct verify_event *e)
{
    return e && !e->is_repeat && !e->is_void;
}

struct verify_event *verify__find(const struct verify_line *l, enum record r, const char *id)
{
    struct key *k = key_find(l->index->by_id[r], id);

    return k ? k->items[0] : NULL;
}

struct verify_event *verify__find_any(const struct verify_line *l, const char *id)
{
    struct verify_event *e = NULL;

    for (int r = 1; r < RECORD_COUNT && !e; r++)
        e = verify__find(l, (enum record)r, id);
    return e;
}

static struct verify_group group_of(struct key *k)
{
    return k ? (struct verify_group){k->items, k->n} : (struct verify_group){0};
}

struct verify_group verify__answers(const struct verify_line *l, enum record r, const char *cause)
{
    return group_of(key_find(l->index->by_cause[r], cause));
}

struct verify_group verify__of_run(const struct verify_line *l, enum record r, const char *run)
{
    return group_of(key_find(l->index->by_run[r], run));
}

struct verify_group verify__covering(const struct verify_line *l, const char *trigger)
{
    return group_of(key_find(l->index->covering, trigger));
}

size_t verify__counting(struct verify_group g)
{
    size_t n = 0;

    for (size_t i = 0; i < g.n; i++)
        n += verify__counts(g.items[i]);
    return n;
}

struct verify_event *verify__first(struct verify_group g)
{
    for (size_t i = 0; i < g.n; i++)
        if (verify__counts(g.items[i]))
            return g.items[i];
    return NULL;
}

/* ---- time and findings ---- */

bool verify__is_over(const struct check *c, int64_t deadline_unix_ms)
{
    return deadline_unix_ms != ABSENT_I64 &&
           c->clock->now_unix_ms - deadline_unix_ms > c->clock->patience_ms;
}

bool verify__is_late(const struct check *c, const struct verify_event *e)
{
    return verify__is_over(c, e->appended_unix_ms);
}

void verify__refute(struct check *c, enum verify_check check, const struct verify_event *e,
                    const char *todo, const char *fmt, ...)
{
    const struct event *ev = e->ev;
    struct finding_of of = {.check = check,
                            .at = {ev->type, ev->partition, ev->offset},
                            .id = ev->id,
                            .line = c->l->key,
                            .todo = todo};
    char what[WHAT_SIZE];
    va_list args;

    if (!e->is_judged)
        return;
    va_start(args, fmt);
    vsnprintf(what, sizeof(what), fmt, args);
    va_end(args);
    findings_add(c->f, &of, "%s", what);
}

void verify__looked(struct check *c, enum verify_check check, const struct verify_event *e)
{
    c->f->looked[check] += e->is_judged;
}

void verify__unanswered(struct check *c, enum verify_check check, const struct verify_event *e,
                        bool is_late, const char *todo, const char *what)
{
    if (is_late)
        verify__refute(c, check, e, todo, "%s", what);
    else
        c->f->open[check] += e->is_judged;
}

void verify__answered_twice(struct check *c, enum verify_check check, const struct verify_event *e,
                            struct verify_group g)
{
    const struct verify_event *first = verify__first(g), *second = NULL;

    for (size_t i = 0; i < g.n; i++)
        if (verify__counts(g.items[i]) && g.items[i] != first && !second)
            second = g.items[i];
    if (second)
        verify__refute(c, check, e, "look at both: one of their writers had not read the other",
                       "is answered twice: by %s and again by %s (%s[%d]@%lld)", first->ev->id,
                       second->ev->id, record_topic(second->ev->type), second->ev->partition,
                       (long long)second->ev->offset);
}
