/* Requests that last: a stream of events as they come (server-sent events), and waiting for the one
 * event that answers another. */
#include <stdio.h>
#include <string.h>

#include "agents/console/console_internal.h"
#include "common/clk.h"
#include "common/mem.h"

enum { LOOK_MS = 250, WAITERS_MAX = 1000 }; /* a waiting request holds a connection */

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

struct looking {
    const char *id;
    const struct event *found;
};

/* An answer of any topic that answers; a deferral is one too, but a later one counts more. */
static void look(struct agent *a, struct unit *u, void *ctx)
{
    (void)a;
    struct looking *w = ctx;
    static const enum record ANSWERS[] = {RECORD_DATASET_INGESTED,  RECORD_TRAINING_PLANNED,
                                          RECORD_TRAINING_FINISHED, RECORD_MODEL_EVALUATED,
                                          RECORD_GATE_DECIDED,      RECORD_DEPLOYMENT_CHANGED};
    for (size_t i = 0; i < ARRAY_LEN(ANSWERS) && !w->found; i++)
        w->found = line_answer(u->line, ANSWERS[i], w->id);
}

static const struct event *answer_to(struct console *c, const char *id)
{
    struct looking w = {.id = id};
    agent_each_unit(c->a, look, &w);
    return w.found;
}

static void waiter_free(struct waiter *w)
{
    free_ptr(&w->id);
    free_ptr(&w);
}

static void look_at_waiters(struct console *c, bool only_deadlines)
{
    struct waiter **at = &c->waiters;
    int64_t now = clk_mono_ms(agent_clk(c->a));
    while (*at) {
        struct waiter *w = *at;
        const struct event *ev = only_deadlines ? NULL : answer_to(c, w->id);
        if (!ev && now < w->deadline_mono_ms) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        if (ev)
            console_answer_json(w->rq, 200, event_to_json(ev));
        else
            httpd_answer_error(
                w->rq, 504,
                "no event answers %s yet; it is not lost: ask again, or `relearn explain %s`",
                w->id, w->id);
        waiter_free(w);
    }
}

static void on_waiter_timer(void *ctx)
{
    struct console *c = ctx;
    look_at_waiters(c, true);
    if (c->waiters)
        loop_timer_start(c->waiter_timer, LOOK_MS);
}

void follow_answer(struct console *c, struct httpd_request *rq)
{
    const char *id = httpd_query(rq, "id"), *wait = httpd_query(rq, "wait_ms");
    int64_t wait_ms = 0;
    const struct event *ev = id ? answer_to(c, id) : NULL;
    if (wait && (str_to_i64(wait, &wait_ms) || wait_ms < 0 || wait_ms > CONSOLE_MAX_WAIT_MS))
        httpd_answer_error(rq, 400, "wait_ms: give 0 to %d", CONSOLE_MAX_WAIT_MS);
    else if (!id)
        httpd_answer_error(rq, 400, "id is missing");
    else if (ev)
        console_answer_json(rq, 200, event_to_json(ev));
    else if (!wait_ms)
        httpd_answer_error(rq, 404, "no event answers %s yet", id);
    else {
        size_t n = 0;
        for (const struct waiter *w = c->waiters; w; w = w->next)
            n++;
        if (n >= WAITERS_MAX) {
            httpd_answer_error(rq, 503, "%d requests wait already", WAITERS_MAX);
            return;
        }
        struct waiter *w = xcalloc(1, sizeof(*w));
        *w = (struct waiter){.next = c->waiters,
                             .rq = rq,
                             .id = xstrdup(id),
                             .deadline_mono_ms = clk_mono_ms(agent_clk(c->a)) + wait_ms};
        c->waiters = w;
        if (!c->waiter_timer)
            c->waiter_timer = loop_timer_new(agent_loop(c->a), on_waiter_timer, c);
        loop_timer_start(c->waiter_timer, LOOK_MS);
    }
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

void follow_watch(struct console *c, struct httpd_request *rq)
{
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
    if (c->waiters && ev->type != RECORD_PREDICTION_SERVED)
        look_at_waiters(c, false);
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
        struct waiter *w = c->waiters;
        c->waiters = w->next;
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
