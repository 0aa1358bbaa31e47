/* Who won on each base, by the rule alone: the first event in the log whose base is the number of
 * those accepted before it.  The agents' fold must say the same; nothing may follow from a loser.
 */
#include <math.h>
#include <string.h>

#include "agents/relearn/verify_internal.h"

static const double WEIGHT_SLACK = 1e-6; /* sums of shares like 0.1 + 0.9 */

/* The base of an event that stands in a chain; false: it stands in none. */
static bool base_of(const struct event *ev, int64_t *ret)
{
    switch (ev->type) {
    case RECORD_TRAINING_PLANNED:
        *ret = EV_REC(ev, training_planned)->base;
        return verify__is(EV_REC(ev, training_planned)->kind, "requested");
    case RECORD_GATE_DECIDED:
        *ret = EV_REC(ev, gate_decided)->base;
        return !verify__is(EV_REC(ev, gate_decided)->verdict, "refused");
    case RECORD_DEPLOYMENT_CHANGED:
        *ret = EV_REC(ev, deployment_changed)->base;
        return verify__is(EV_REC(ev, deployment_changed)->kind, "changed");
    default:
        return false;
    }
}

static const enum record CHAINS[] = {RECORD_TRAINING_PLANNED, RECORD_GATE_DECIDED,
                                     RECORD_DEPLOYMENT_CHANGED};

/* What is missing in front is not known to have been there: the first base begins the count. */
static int64_t first_base(const struct verify_line *l, const struct verify_list *list)
{
    int64_t base = 0;

    for (size_t i = 0; l->is_cut && i < list->n; i++)
        if (base_of(list->items[i].ev, &base) && base != ABSENT_I64)
            return base;
    return 0;
}

/* A plan's run occupies its line until it is closed, so a request meanwhile is void whatever its
 * base. A run is closed once. */
static void mark_plan(struct verify_line *l, struct verify_event *e, const char **in_flight)
{
    const struct training_planned *p = e->ev->rec;

    if (verify__is(p->kind, "requested") && *in_flight) {
        e->is_void = true;
    } else if (verify__is(p->kind, "closed")) {
        struct verify_group g = verify__of_run(l, RECORD_TRAINING_PLANNED, p->run);

        e->is_void = !p->run || (g.n && g.items[0] != e);
        if (!e->is_void && verify__is(*in_flight, p->run))
            *in_flight = NULL;
    }
}

static void mark_chain(struct verify_line *l, enum record r)
{
    struct verify_list *list = &l->ev[r];
    int64_t next = first_base(l, list), base = 0;
    const char *in_flight = NULL;

    for (size_t i = 0; i < list->n; i++) {
        struct verify_event *e = &list->items[i];

        if (e->is_repeat)
            continue;
        if (r == RECORD_TRAINING_PLANNED)
            mark_plan(l, e, &in_flight);
        if (e->is_void || !base_of(e->ev, &base))
            continue;
        e->is_void = base != next;
        next += !e->is_void;
        if (!e->is_void && r == RECORD_TRAINING_PLANNED)
            in_flight = e->ev->id;
    }
}

void verify__mark(struct verify_line *l)
{
    struct verify_list *models = &l->ev[RECORD_TRAINING_FINISHED];

    for (size_t k = 0; k < ARRAY_LEN(CHAINS); k++)
        mark_chain(l, CHAINS[k]);
    for (size_t i = 0; i < models->n; i++) { /* the first result of a run counts */
        struct verify_event *e = &models->items[i];
        struct verify_group g =
            verify__of_run(l, RECORD_TRAINING_FINISHED, EV_REC(e->ev, training_finished)->run);

        e->is_void = !e->is_repeat && g.n && g.items[0] != e;
    }
}

/* ---- bases ---- */

static void chain(struct check *c, enum record r)
{
    const struct verify_list *list = &c->l->ev[r];
    int64_t next = first_base(c->l, list), base = 0;

    for (size_t i = 0; i < list->n; i++) {
        const struct verify_event *e = &list->items[i];

        if (e->is_repeat || !base_of(e->ev, &base))
            continue;
        verify__looked(c, VERIFY_BASES, e);
        if (base > next || base < 0)
            verify__refute(c, VERIFY_BASES, e,
                           "events before it were lost, or its writer read another log: look at "
                           "the topic's retention, or restore it",
                           "is based on %lld accepted ones before it, and the log has %lld",
                           (long long)base, (long long)next);
        next += verify__counts(e);
    }
}

/* A loser answers nothing: its writer thinks again. */
static void nothing_follows(struct check *c, enum record r)
{
    const struct verify_list *list = &c->l->ev[r];

    for (size_t i = 0; i < list->n; i++) {
        const struct verify_event *e = &list->items[i];
        const struct verify_event *cause =
            verify__counts(e) ? verify__find_any(c->l, e->ev->cause) : NULL;

        if (cause && cause->is_void)
            verify__refute(c, VERIFY_BASES, e,
                           "its writer acted on what had lost: restart it with its state folder "
                           "deleted, and look at what it did",
                           "follows from %s (%s[%d]@%lld), which is void", cause->ev->id,
                           record_topic(cause->ev->type), cause->ev->partition,
                           (long long)cause->ev->offset);
    }
}

/* The same events without their memory, which stays this line's. */
static struct event *borrowed(const struct event *ev)
{
    struct event *copy = xmemdup(ev, sizeof(*ev));

    copy->arena = (struct arena){0};
    return copy;
}

/* The fold that agents live by must choose as the rule does. */
static void compare_fold(struct check *c)
{
    struct line *fold = line_new(c->l->key);

    for (int r = 1; r < RECORD_COUNT; r++)
        for (size_t i = 0; record_is_control((enum record)r) && i < c->l->ev[r].n; i++)
            line_fold(fold, borrowed(c->l->ev[r].items[i].ev));
    for (int r = 1; r < RECORD_COUNT; r++) {
        for (size_t i = 0; record_is_control((enum record)r) && i < c->l->ev[r].n; i++) {
            const struct verify_event *e = &c->l->ev[r].items[i];
            bool is_in = line_find(fold, (enum record)r, e->ev->id) != NULL;

            if (!e->is_repeat && is_in == e->is_void)
                verify__refute(c, VERIFY_BASES, e,
                               "this is a defect of relearn: please report it with this line",
                               "%s by the rule of bases, and the agents' fold says otherwise",
                               e->is_void ? "is void" : "counts");
        }
    }
    line_free(fold);
}

void verify__bases(struct check *c)
{
    for (size_t k = 0; k < ARRAY_LEN(CHAINS); k++)
        chain(c, CHAINS[k]);
    for (int r = 1; r < RECORD_COUNT; r++)
        nothing_follows(c, (enum record)r);
    if (!c->l->is_cut)
        compare_fold(c);
}

/* ---- generations ---- */

struct generations { /* as far as the log was read */
    int64_t highest;
    bool has_begun;
};

static bool is_new_generation(const struct deployment_changed *d)
{
    return verify__is(d->action, "replace") || verify__is(d->action, "canary_begin") ||
           verify__is(d->action, "rollback");
}

static void routes(struct check *c, const struct verify_event *e)
{
    const struct deployment_changed *d = e->ev->rec;
    size_t champions = 0;
    double sum = 0;
    bool has_own = false;

    for (size_t i = 0; i < d->routes.n; i++) {
        const struct route *r = &d->routes.items[i];

        champions += verify__is(r->role, "champion");
        sum += verify__is(r->role, "shadow") ? 0 : r->weight;
        has_own = has_own || (r->generation == d->generation && verify__is(r->model, d->model));
    }
    if (champions != 1 || fabs(sum - 1) > WEIGHT_SLACK)
        verify__refute(c, VERIFY_GENERATIONS, e, "roll back: `relearn rollback`",
                       "routes to %zu champions with weights of %.6g in all", champions, sum);
    if (!has_own)
        verify__refute(c, VERIFY_GENERATIONS, e, "roll back: `relearn rollback`",
                       "is about generation %lld and does not route to its model",
                       (long long)d->generation);
}

void verify__generations(struct check *c)
{
    const struct verify_list *list = &c->l->ev[RECORD_DEPLOYMENT_CHANGED];
    struct generations g = {0};

    for (size_t i = 0; i < list->n; i++) {
        const struct verify_event *e = &list->items[i];
        const struct deployment_changed *d = e->ev->rec;
        int64_t want = is_new_generation(d) ? g.highest + 1 : g.highest;

        if (!verify__counts(e) || !verify__is(d->kind, "changed"))
            continue;
        verify__looked(c, VERIFY_GENERATIONS, e);
        if (c->l->is_cut && !g.has_begun)
            want = d->generation;
        if (d->generation != want)
            verify__refute(c, VERIFY_GENERATIONS, e,
                           "compare with the line's other deployments: `relearn history`",
                           "is generation %lld by %s where %lld comes next: a generation is %s",
                           (long long)d->generation, verify__short(d->action), (long long)want,
                           d->generation > want ? "missing" : "given out twice");
        routes(c, e);
        g.has_begun = true;
        g.highest = d->generation > g.highest ? d->generation : g.highest;
    }
}
