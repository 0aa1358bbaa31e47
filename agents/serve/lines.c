#include "agents/serve/lines.h"

#include <string.h>
#include <uthash.h>

#include "common/fault.h"
#include "common/log.h"
#include "common/mem.h"

struct node {
    struct served s; /* first */
    char *line;
    struct booster *
        *held; /* of the deployment to come: loaded while others of it are on their way */
    size_t n_held;
    UT_hash_handle hh;
};
struct lines {
    struct lines_conf conf;
    struct node *nodes;
    struct served *all;
    bool has_begun;
};

static const char *const STATES[] = {
    [SERVED_NONE] = "none",
    [SERVED_SERVING] = "serving",
    [SERVED_FAILED] = "failed",
    [SERVED_WITHDRAWN] = "withdrawn",
};

const char *served_state_str(enum served_state s)
{
    return STATES[(unsigned)s < ARRAY_LEN(STATES) ? s : SERVED_NONE];
}

/* ---- routing ---- */

static void routing_free(struct lines *l, struct routing *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->n; i++)
        boosters_release(l->conf.boosters, r->boosters[i]);
    free_ptr(&r->boosters);
    free_ptr(&r->shares);
    free_ptr(&r->roles);
    free_ptr(&r);
}

static bool is_wanted(const struct route *r)
{
    return route_answers(route_role_parse(r->role), r->weight);
}

/* When every model of it is in memory. */
static struct routing *routing_build(struct lines *l, const struct deployment_changed *d)
{
    struct routing *r = xcalloc(1, sizeof(*r));

    r->sequence = d->base + 1;
    r->champion = -1;
    r->shares = xcalloc(d->routes.n + 1, sizeof(*r->shares));
    r->boosters = xcalloc(d->routes.n + 1, sizeof(struct booster *));
    r->roles = xcalloc(d->routes.n + 1, sizeof(*r->roles));
    for (size_t i = 0; i < d->routes.n; i++) {
        const struct route *route = &d->routes.items[i];

        if (!is_wanted(route))
            continue;
        r->roles[r->n] = route_role_parse(route->role);
        r->shares[r->n] = (struct route_share){.weight = route->weight,
                                               .is_champion = r->roles[r->n] == ROUTE_CHAMPION,
                                               .generation = route->generation};
        if (r->roles[r->n] == ROUTE_CHAMPION)
            r->champion = (int)r->n;
        r->boosters[r->n] = boosters_take(l->conf.boosters, route->model);
        BUG_ON(!r->boosters[r->n]);
        r->n++;
    }
    return r;
}

/* ---- carrying a deployment out ---- */

static void set_state(struct lines *l, struct served *s, enum served_state state, int64_t sequence,
                      const char *reason, const struct event *about)
{
    s->was_told = state == SERVED_SERVING && s->served_sequence == sequence;
    if (state == SERVED_SERVING)
        s->served_sequence = sequence;
    free_ptr(&s->reason);
    s->reason = xstrdup(reason);
    s->state = state;
    s->sequence = sequence;
    s->since_unix_ms = l->conf.now_unix_ms(l->conf.ctx);
    l->conf.on_changed(l->conf.ctx, s, about);
}

static struct node *node_of(struct served *s)
{
    return CONTAINER_OF(s, struct node, s);
}

static void let_go(struct lines *l, struct booster **held, size_t n)
{
    for (size_t i = 0; i < n; i++)
        boosters_release(l->conf.boosters, held[i]);
    free_ptr(&held);
}

static void hold(struct lines *l, struct served *s, struct booster **held, size_t n)
{
    struct node *node = node_of(s);
    struct booster **before = node->held;
    size_t n_before = node->n_held;

    node->held = held;
    node->n_held = n;
    let_go(l, before, n_before);
}

static void withdraw(struct lines *l, struct served *s)
{
    int64_t sequence = s->now ? s->now->sequence : s->sequence;

    if (s->state == SERVED_WITHDRAWN)
        return;
    routing_free(l, TAKE(s->now));
    hold(l, s, NULL, 0);
    log_info("serve.withdrawn", "line=%s", s->line);
    set_state(l, s, SERVED_WITHDRAWN, sequence, "the pipeline was withdrawn", NULL);
}

/* 0: all are there; 1: to be waited for; -1: one cannot be had.  Those that are there are held. */
static int want_models(struct lines *l, struct served *s, const struct deployment_changed *d,
                       struct err *err)
{
    struct booster **held = xcalloc(d->routes.n + 1, sizeof(*held));
    size_t n = 0;
    int rc = 0;

    for (size_t i = 0; i < d->routes.n && rc >= 0; i++) {
        struct err why = {0};

        if (!is_wanted(&d->routes.items[i]))
            continue;
        switch (boosters_want(l->conf.boosters, d->routes.items[i].model, &why)) {
        case LOAD_READY:
            held[n++] = boosters_take(l->conf.boosters, d->routes.items[i].model);
            break;
        case LOAD_FAILED:
            *err = why;
            rc = -1;
            break;
        default:
            rc = 1;
        }
    }
    hold(l, s, held, n);
    return rc;
}

static void give_up(struct lines *l, struct served *s, const struct event *ev,
                    const struct err *err)
{
    const struct deployment_changed *d = ev->rec;

    hold(l, s, NULL, 0);
    s->may_get_better = err->next == NEXT_RETRY;
    if (s->state == SERVED_FAILED && s->sequence == d->base + 1)
        return; /* said already */
    log_error("serve.failed", "line=%s generation=%lld error=%s", s->line, (long long)d->generation,
              err->msg);
    set_state(l, s, SERVED_FAILED, d->base + 1, err->msg, ev);
}

static void swap(struct lines *l, struct served *s, const struct event *ev)
{
    const struct deployment_changed *d = ev->rec;
    struct routing *before = s->now;

    s->now = routing_build(l, d);
    routing_free(l, before);
    hold(l, s, NULL, 0);
    s->may_get_better = false;
    log_info("serve.swapped", "line=%s generation=%lld sequence=%lld action=%s", s->line,
             (long long)d->generation, (long long)d->base + 1, d->action ? d->action : "-");
    set_state(l, s, SERVED_SERVING, d->base + 1, "", ev);
}

void lines_look(struct lines *l, struct served *s)
{
    const struct event *ev = s->fold->deployment;
    const struct deployment_changed *d = ev ? ev->rec : NULL;
    struct err err = {0};
    int rc;

    if (!l->has_begun || !d)
        return;
    if (!l->conf.is_declared(l->conf.ctx, s->fold->pipeline)) {
        withdraw(l, s);
        return;
    }
    if (s->now && d->base + 1 <= s->now->sequence)
        return; /* generations fence: what is in force is as new */
    rc = want_models(l, s, d, &err);
    if (rc == 0) {
        FAULT_AT(swap, "serve.swap.before");
        swap(l, s, ev);
        FAULT_AT(swap, "serve.swap.after");
    } else if (rc < 0)
        give_up(l, s, ev, &err);
}

/* ---- the collection ---- */

struct lines *lines_new(const struct lines_conf *conf)
{
    struct lines *l = xcalloc(1, sizeof(*l));

    l->conf = *conf;
    return l;
}

static void node_free(struct lines *l, struct node *n)
{
    struct served **at = &l->all;

    while (*at && *at != &n->s)
        at = &(*at)->next;
    if (*at)
        *at = n->s.next;
    HASH_DEL(l->nodes, n);
    routing_free(l, n->s.now);
    let_go(l, n->held, n->n_held);
    free_ptr(&n->s.reason);
    free_ptr(&n->line);
    free_ptr(&n);
}

void lines_free(struct lines *l)
{
    struct node *n, *next;

    if (!l)
        return;
    HASH_ITER (hh, l->nodes, n, next)
        node_free(l, n);
    free_ptr(&l);
}

static struct node *find_node(struct lines *l, const char *line)
{
    struct node *n = NULL;

    HASH_FIND_STR(l->nodes, line, n);
    return n;
}

struct served *lines_find(struct lines *l, const char *line)
{
    struct node *n = find_node(l, line);

    return n ? &n->s : NULL;
}

struct served *lines_first(struct lines *l)
{
    return l->all;
}

struct served *lines_add(struct lines *l, const struct line *fold)
{
    struct node *n = find_node(l, fold->key);

    if (n)
        return &n->s;
    n = xcalloc(1, sizeof(*n));
    n->line = xstrdup(fold->key);
    n->s.line = n->line;
    n->s.fold = fold;
    n->s.reason = xstrdup("");
    HASH_ADD_KEYPTR(hh, l->nodes, n->line, strlen(n->line), n);
    n->s.next = l->all;
    l->all = &n->s;
    return &n->s;
}

void lines_remove(struct lines *l, const char *line)
{
    struct node *n = find_node(l, line);

    if (n)
        node_free(l, n);
}

void lines_begin(struct lines *l)
{
    l->has_begun = true;
    for (struct served *s = l->all; s; s = s->next)
        lines_look(l, s);
}

void lines_look_pipeline(struct lines *l, const char *pipeline)
{
    for (struct served *s = l->all; s; s = s->next)
        if (strcmp(s->fold->pipeline, pipeline) == 0)
            lines_look(l, s);
}

static bool names_model(const struct served *s, const char *digest)
{
    const struct deployment_changed *d = s->fold->deployment ? s->fold->deployment->rec : NULL;

    for (size_t i = 0; d && i < d->routes.n; i++)
        if (strcmp(d->routes.items[i].model, digest) == 0)
            return true;
    return false;
}

void lines_on_loaded(struct lines *l, const char *digest)
{
    for (struct served *s = l->all; s; s = s->next)
        if (names_model(s, digest))
            lines_look(l, s);
}

void lines_retry_failed(struct lines *l)
{
    for (struct served *s = l->all; s; s = s->next) {
        const struct deployment_changed *d = s->fold->deployment ? s->fold->deployment->rec : NULL;

        if (s->state != SERVED_FAILED || !s->may_get_better || !d)
            continue;
        for (size_t i = 0; i < d->routes.n; i++)
            if (is_wanted(&d->routes.items[i]))
                boosters_retry(l->conf.boosters, d->routes.items[i].model);
    }
}

bool lines_are_settled(const struct lines *l)
{
    if (!l->has_begun)
        return false;
    for (const struct served *s = l->all; s; s = s->next)
        if (s->fold->deployment && s->state == SERVED_NONE)
            return false;
    return true;
}

const char *lines_model_of(const struct line *fold, int64_t generation)
{
    const struct event_list *list = &fold->ev[RECORD_DEPLOYMENT_CHANGED];

    for (size_t i = list->n; i > 0; i--) {
        const struct deployment_changed *d = EV_REC(list->items[i - 1], deployment_changed);

        for (size_t k = 0; k < d->routes.n; k++)
            if (d->routes.items[k].generation == generation)
                return d->routes.items[k].model;
    }
    return NULL;
}
