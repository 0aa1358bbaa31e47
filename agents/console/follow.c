/* Requests that last: a stream of events as they come (server-sent events), and waiting for the one
 * event that answers another. */
#include <stdio.h>
#include <string.h>

#include "agents/console/console_internal.h"
#include "common/clk.h"
#include "common/mem.h"

enum { WAITERS_MAX = 500 }; /* each holds one of 1,024 connections */

struct waiter {
    struct waiter *next;
    struct httpd_request *rq;
    char *id;
    int64_t deadline_mono_ms;
};
struct follower {
    struct follower *next;
    struct console *c;
    struct httpd_stream *stream;
    char *line; /* NULL: every line */
};

/* ---- answers ---- */

/* Topics whose events answer others: a deferral is an answer as well. */
static const enum record ANSWERS[] = {RECORD_DATASET_INGESTED,  RECORD_TRAINING_PLANNED,
                                      RECORD_TRAINING_FINISHED, RECORD_MODEL_EVALUATED,
                                      RECORD_GATE_DECIDED,      RECORD_DEPLOYMENT_CHANGED};

struct looking {
    const char *id;
    const struct event *found;
};

static void look(struct agent *a, struct unit *u, void *ctx)
{
    (void)a;
    struct looking *w = ctx;
    for (size_t i = 0; i < ARRAY_LEN(ANSWERS) && !w->found; i++)
        w->found = line_answer(u->line, ANSWERS[i], w->id);
}

static const struct event *answer_to(struct console *c, const char *id)
{
    struct looking w = {.id = id};
    agent_each_unit(c->a, look, &w);
    return w.found;
}

static bool answers(const struct event *ev, const char *id)
{
    bool is_answer = false;
    for (size_t i = 0; i < ARRAY_LEN(ANSWERS); i++)
        is_answer = is_answer || ANSWERS[i] == ev->type;
    if (!is_answer)
        return false;
    if (ev->cause && strcmp(ev->cause, id) == 0)
        return true;
    if (ev->type != RECORD_TRAINING_PLANNED)
        return false;
    const struct string_list *covers = &EV_REC(ev, training_planned)->covers;
    for (size_t i = 0; i < covers->n; i++)
        if (strcmp(covers->items[i], id) == 0)
            return true;
    return false;
}

/* Takes it out of the list. */
static struct waiter *waiter_take(struct console *c, struct waiter **at)
{
    struct waiter *w = *at;
    *at = w->next;
    c->n_waiters--;
    return w;
}

static void waiter_free(struct waiter *w)
{
    free_ptr(&w->id);
    free_ptr(&w);
}

struct use {
    const char *dataset;
    bool is_used;
};

static void look_for_use(struct agent *a, const struct pipeline *p, void *ctx)
{
    (void)a;
    struct use *use = ctx;
    use->is_used = use->is_used || strcmp(p->dataset, use->dataset) == 0;
}

/* What may be the matter, when nothing answers a dataset event. */
static const char *why_silent(struct console *c, const char *id)
{
    enum record r = RECORD_NONE;
    char key[CONSOLE_KEY_SIZE];
    if (!view_find(c, id, &r, key) || r != RECORD_DATASET_PUBLISHED)
        return "it is not lost: ask again";
    struct use use = {.dataset = key};
    agent_each_pipeline(c->a, look_for_use, &use);
    return use.is_used ? "it is not lost: ask again"
                       : "no pipeline uses its dataset: one that is declared later will get it";
}

static void on_waiter_timer(void *ctx)
{
    struct console *c = ctx;
    int64_t now = clk_mono_ms(agent_clk(c->a)), next = INT64_MAX;
    for (struct waiter **at = &c->waiters; *at;) {
        if (now < (*at)->deadline_mono_ms) {
            next = (*at)->deadline_mono_ms < next ? (*at)->deadline_mono_ms : next;
            at = &(*at)->next;
            continue;
        }
        struct waiter *w = waiter_take(c, at);
        httpd_answer_error(w->rq, 504, "no event answers %.100s yet; %s", w->id,
                           why_silent(c, w->id));
        waiter_free(w);
    }
    if (c->waiters)
        loop_timer_start(c->waiter_timer, next - now);
}

static void tell_waiters(struct console *c, const struct event *ev)
{
    for (struct waiter **at = &c->waiters; *at;) {
        if (!answers(ev, (*at)->id)) {
            at = &(*at)->next;
            continue;
        }
        struct waiter *w = waiter_take(c, at);
        console_answer_json(w->rq, 200, event_to_json(ev));
        waiter_free(w);
    }
}

static void wait_for_answer(struct console *c, struct httpd_request *rq, const char *id,
                            int64_t wait_ms)
{
    struct waiter *w = xcalloc(1, sizeof(*w));
    *w = (struct waiter){.next = c->waiters,
                         .rq = rq,
                         .id = xstrdup(id),
                         .deadline_mono_ms = clk_mono_ms(agent_clk(c->a)) + wait_ms};
    c->waiters = w;
    c->n_waiters++;
    if (!c->waiter_timer)
        c->waiter_timer = loop_timer_new(agent_loop(c->a), on_waiter_timer, c);
    on_waiter_timer(c); /* the next deadline may be this one's */
}

void follow_answer(struct console *c, struct httpd_request *rq, const char *const *segs)
{
    const char *id = httpd_query(rq, "id");
    int64_t wait_ms = 0;
    (void)segs;
    if (!console_query_int(rq, "wait_ms", 0, CONSOLE_MAX_WAIT_MS, &wait_ms))
        return;
    const struct event *ev = id && id[0] ? answer_to(c, id) : NULL;
    if (!id || !id[0])
        httpd_answer_error(rq, 400, "id: give ?id= of the event that is to be answered");
    else if (ev)
        console_answer_json(rq, 200, event_to_json(ev));
    else if (!wait_ms)
        httpd_answer_error(rq, 404, "no event answers %.100s yet; %s", id, why_silent(c, id));
    else if (c->n_waiters >= WAITERS_MAX)
        httpd_answer_error(rq, 503, "%d requests wait already", WAITERS_MAX);
    else
        wait_for_answer(c, rq, id, wait_ms);
}

/* ---- streams ---- */

static void on_gone(void *ctx)
{
    struct follower *f = ctx;
    for (struct follower **at = &f->c->followers; *at; at = &(*at)->next)
        if (*at == f) {
            *at = f->next;
            break;
        }
    free_ptr(&f->line);
    free_ptr(&f);
}

void follow_watch(struct console *c, struct httpd_request *rq, const char *const *segs)
{
    (void)segs;
    const char *line = httpd_query(rq, "line");
    struct follower *f = xcalloc(1, sizeof(*f));
    f->c = c;
    f->line = line ? xstrdup(line) : NULL;
    f->next = c->followers;
    c->followers = f;
    f->stream = httpd_stream_begin(rq, "text/event-stream", on_gone, f);
    if (f->stream)
        httpd_stream_send(f->stream, slice_str(": relearn\n\n"));
}

static bool wants(const struct follower *f, const struct event *ev)
{
    if (ev->type == RECORD_PREDICTION_SERVED || ev->type == RECORD_LABEL_OBSERVED)
        return false;
    size_t n = f->line ? strlen(f->line) : 0;
    return !f->line ||
           (strncmp(ev->key, f->line, n) == 0 && (ev->key[n] == '\0' || ev->key[n] == '/'));
}

void follow_event(struct console *c, const struct event *ev)
{
    tell_waiters(c, ev);
    if (!c->followers || !agent_is_ready(c->a))
        return;
    CLEANUP(buf_fini) struct buf text = {0};
    for (struct follower *f = c->followers, *next; f; f = next) {
        next = f->next; /* sending may end it */
        if (!f->stream || !wants(f, ev))
            continue;
        if (!text.len) {
            CLEANUP(json_freep) struct json *j = event_to_json(ev);
            buf_addf(&text, "id: %s\ndata: ", ev->id);
            json_write(j, 0, false, &text);
            buf_add_str(&text, "\n\n");
        }
        httpd_stream_send(f->stream, buf_slice(&text));
    }
}

void follow_close(struct console *c)
{
    while (c->waiters) {
        struct waiter *w = waiter_take(c, &c->waiters);
        httpd_answer_error(w->rq, 503, "the console stops");
        waiter_free(w);
    }
    while (c->followers) {
        struct follower *f = c->followers;
        c->followers = f->next;
        if (f->stream)
            httpd_stream_end(f->stream);
        free_ptr(&f->line);
        free_ptr(&f);
    }
    loop_timer_free(c->waiter_timer);
    c->waiter_timer = NULL;
}
