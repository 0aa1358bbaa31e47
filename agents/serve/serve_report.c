/* ServingChanged: one for each change of each line, naming the deployment that caused it, always
 * with everything that is served.  Changes of one line in one turn of the loop are one; nothing is
 * reported before the first report, which is about everything at once. */
#include <string.h>

#include "agents/serve/serve_internal.h"
#include "common/log.h"
#include "common/mem.h"

enum { AGAIN_MS = 500 };

struct change {
    struct report *r;
    char *line; /* NULL: start or stop */
    char *cause, *correlation;
    int hops;
    bool is_first; /* report of this deployment: its id follows from it */
    bool is_stopping;
    bool is_sent; /* on its way */
    struct change *next;
};
struct report {
    struct serve *sv;
    struct change *changes;
    struct loop_timer *timer;
    bool has_begun;
};

static void change_free(struct change *c)
{
    free_ptr(&c->line);
    free_ptr(&c->cause);
    free_ptr(&c->correlation);
    free_ptr(&c);
}

static void unlink_change(struct report *r, struct change *c)
{
    struct change **at = &r->changes;

    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
}

static void on_delivered(void *ctx, const char *id, const struct err *err)
{
    struct change *c = ctx;

    (void)id;
    if (err && c->r->timer) {
        log_warn("serving.again", "line=%s error=%s", c->line ? c->line : "-", err->msg);
        c->is_sent = false;
        loop_timer_start(c->r->timer, AGAIN_MS);
        return;
    }
    unlink_change(c->r, c);
    change_free(c);
}

static void fill_line(const struct served *s, struct serving_line *ret)
{
    const struct routing *now = s->now;
    bool has_champion = now && now->champion >= 0;

    *ret = (struct serving_line){
        .line = s->line,
        .generation = has_champion ? now->shares[now->champion].generation : 0,
        .sequence = s->sequence,
        .model = has_champion ? now->boosters[now->champion]->digest : NULL,
        .state = served_state_str(s->state),
        .reason = s->reason,
        .since_unix_ms = s->since_unix_ms,
    };
}

static int publish(struct change *c, struct err *err)
{
    struct serve *sv = c->r->sv;
    struct arena mem = {0};
    size_t n = 0, max = 0;
    char id[ID_SIZE];
    int rc;

    for (struct served *s = lines_first(sv->lines); s; s = s->next)
        max++;
    struct serving_line *lines = arena_alloc(&mem, (max + 1) * sizeof(*lines));
    for (struct served *s = lines_first(sv->lines); s; s = s->next)
        if (s->state != SERVED_NONE)
            fill_line(s, &lines[n++]);
    struct serving_changed rec = {
        .instance = agent_instance(sv->a),
        .url = agent_url(sv->a),
        .stopping = c->is_stopping,
        .lines = {lines, n},
        .changed_line = c->line,
        .changed_unix_ms = agent_now_ms(sv->a),
    };
    struct publication p = {
        .record = RECORD_SERVING_CHANGED,
        .rec = &rec,
        .cause = c->cause,
        .correlation = c->correlation,
        .hops = c->hops,
    };
    if (c->is_first) {
        id_from_cause(record_topic(RECORD_SERVING_CHANGED), c->cause, rec.instance, id);
        p.id = id;
    }
    rc = agent_publish(sv->a, &p, on_delivered, c, NULL, err);
    arena_fini(&mem);
    return rc;
}

static void on_timer(void *ctx)
{
    struct report *r = ctx;
    struct err err = {0};

    for (struct change *c = r->changes; c; c = c->next) {
        if (c->is_sent)
            continue;
        c->is_sent = true;
        if (publish(c, &err)) {
            c->is_sent = false;
            log_warn("serving.again", "error=%s", err.msg);
            loop_timer_start(r->timer, AGAIN_MS);
            return;
        }
    }
}

struct report *serve__report_new(struct serve *sv)
{
    struct report *r = xcalloc(1, sizeof(*r));

    r->sv = sv;
    r->timer = loop_timer_new(agent_loop(sv->a), on_timer, r);
    return r;
}

void serve__report_free(struct report *r)
{
    if (!r)
        return;
    loop_timer_free(r->timer);
    while (r->changes) {
        struct change *c = r->changes;

        r->changes = c->next;
        change_free(c);
    }
    free_ptr(&r);
}

/* In order: what is served last is what is read last. */
static struct change *add(struct report *r)
{
    struct change **at = &r->changes;

    while (*at)
        at = &(*at)->next;
    *at = xcalloc(1, sizeof(**at));
    (*at)->r = r;
    return *at;
}

void serve__report_all(struct report *r, bool is_stopping)
{
    r->has_begun = true;
    add(r)->is_stopping = is_stopping;
    if (is_stopping)
        on_timer(r); /* the loop may not turn again before the bus is closed */
    else
        loop_timer_start(r->timer, 0);
}

void serve__report_change(struct report *r, const struct served *s, const struct event *about)
{
    struct change *c = r->changes;

    if (!r->has_begun)
        return;
    while (c && (c->is_sent || !c->line || strcmp(c->line, s->line) != 0))
        c = c->next;
    if (!c)
        c = add(r);
    free_ptr(&c->line);
    free_ptr(&c->cause);
    free_ptr(&c->correlation);
    c->line = xstrdup(s->line);
    c->cause = about ? xstrdup(about->id) : NULL;
    c->correlation = about ? xstrdup(about->correlation) : NULL;
    c->hops = about ? about->hops + 1 : 0;
    c->is_first = about && s->state == SERVED_SERVING && !s->was_told;
    loop_timer_start(r->timer, 0);
}
