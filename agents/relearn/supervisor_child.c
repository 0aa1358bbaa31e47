/* One supervised process: start, readiness, death, growing pauses.
 *
 * stopped -> starting -> ready -> (dies) -> pausing -> starting ...; stopping when it was asked to
 * end: for good (not wanted any more), or to come back with other arguments. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agents/relearn/supervisor_internal.h"
#include "common/clk.h"
#include "common/fsx.h"
#include "common/http.h"
#include "common/log.h"

static void on_timer(void *ctx);

const char *child_state_str(enum child_state s)
{
    static const char *const WORDS[] = {"stopped", "starting", "ready", "pausing", "stopping"};
    return WORDS[s];
}

struct child *child_new(struct supervisor *s, const char *agent, int share, int shares)
{
    struct child *c = xcalloc(1, sizeof(*c));
    c->s = s;
    c->share = share;
    c->shares = shares;
    c->is_wanted = true;
    c->is_broker = strcmp(agent, "broker") == 0;
    str_copy(c->agent, sizeof(c->agent), agent);
    if (c->is_broker)
        str_copy(c->instance, sizeof(c->instance), "broker");
    else
        snprintf(c->instance, sizeof(c->instance), "%s-%d", agent, share);
    c->address_file = xasprintf("%s/%s.address", s->run_dir, c->instance);
    if (c->is_broker)
        c->endpoint_file = xasprintf("%s/%s.endpoint", s->run_dir, c->instance);
    c->log_file = xasprintf("%s/%s.log", s->log_dir, c->instance);
    c->timer = loop_timer_new(s->loop, on_timer, c);
    return c;
}

void child_free(struct child *c)
{
    if (!c)
        return;
    BUG_ON(c->job || c->is_looking);
    loop_timer_free(c->timer);
    free_ptr(&c->address_file);
    free_ptr(&c->log_file);
    free_ptr(&c->endpoint_file);
    free_ptr(&c);
}

static void enter(struct child *c, enum child_state state, int64_t timer_ms)
{
    c->state = state;
    if (timer_ms >= 0)
        loop_timer_start(c->timer, timer_ms);
    else
        loop_timer_stop(c->timer);
}

/* ---- readiness: the address file, then /readyz ---- */

static void look(void *ctx)
{
    struct child *c = ctx;
    struct err err = {0};
    CLEANUP(http_response_fini) struct http_response rs = {0};
    CLEANUP_FREE char *url = xasprintf("%s/readyz", c->url);
    struct http_request rq = {.url = url, .timeout_ms = 2000, .connect_timeout_ms = 1000};
    c->look_result = http_call(&rq, &rs, &err) == 0 && rs.status == 200;
}

static void become_ready(struct child *c)
{
    enter(c, CHILD_READY, -1);
    c->keeps_address = c->was_ever_ready = true;
    supervisor__ready(c->s, c);
}

static void looked(void *ctx)
{
    struct child *c = ctx;
    c->is_looking = false;
    if (c->state == CHILD_STOPPED)
        supervisor__ended(c->s, c);
    else if (c->state == CHILD_STARTING && c->look_result)
        become_ready(c);
    else if (c->state == CHILD_STARTING)
        loop_timer_start(c->timer, READY_LOOK_MS);
}

static void look_for_address(struct child *c)
{
    struct err err = {0};
    CLEANUP(buf_fini) struct buf b = {0};
    if (fsx_read_file(c->address_file, 4096, &b, &err)) {
        loop_timer_start(c->timer, READY_LOOK_MS);
        return;
    }
    while (b.len && (b.data[b.len - 1] == '\n' || b.data[b.len - 1] == ' '))
        b.data[--b.len] = '\0';
    str_copy(c->url, sizeof(c->url), b.data ? b.data : "");
    if (c->is_broker) { /* its address is published when it serves */
        become_ready(c);
        return;
    }
    c->is_looking = true;
    work_submit(c->s->loop, look, looked, c);
}

static void on_timer(void *ctx)
{
    struct child *c = ctx;
    if (c->state == CHILD_PAUSING) {
        child_start(c);
    } else if (c->state == CHILD_STARTING && !c->is_looking) {
        look_for_address(c);
    } else if (c->state == CHILD_STOPPING && c->job) {
        log_warn("child.killed", "instance=%s reason=did_not_stop_in_time", c->instance);
        kill(job_pid(c->job), SIGKILL);
    }
}

/* ---- the end of a process ---- */

/* The last line of its log, for whoever waits for it to come up. */
static void log_tail(const struct child *c, struct buf *out)
{
    enum { TAIL_BYTES = 400 }; /* what an error has room for */
    CLEANUP(buf_fini) struct buf text = {0};
    struct err none = {0};
    if (fsx_read_file(c->log_file, (size_t)64 << 20, &text, &none) || !text.len)
        return;
    while (text.len && text.data[text.len - 1] == '\n')
        text.data[--text.len] = '\0';
    const char *line = strrchr(text.data, '\n');
    size_t begin = line ? (size_t)(line + 1 - text.data) : 0, n = text.len - begin;
    buf_add(out, text.data + begin, n < TAIL_BYTES ? n : TAIL_BYTES);
}

static void died(struct child *c, const struct job_result *r)
{
    enum { EXIT_AGAIN = 75 };
    int64_t up_ms = clk_mono_ms(&clk_system) - c->started_mono_ms;
    bool was_ready = c->state == CHILD_READY;
    if (up_ms >= STABLE_MS || !c->pause_ms || r->exit_code == EXIT_AGAIN)
        c->pause_ms = PAUSE_MIN_MS;
    else
        c->pause_ms = c->pause_ms * 2 > PAUSE_MAX_MS ? PAUSE_MAX_MS : c->pause_ms * 2;
    c->keeps_address = was_ready; /* else somebody may sit there: another port next time */
    c->restarts++;
    log_warn("child.died", "instance=%s exit=%d signal=%d restarts=%d pause_ms=%d", c->instance,
             r->exit_code, r->signal, c->restarts, c->pause_ms);
    enter(c, CHILD_PAUSING, c->pause_ms);
    if (c->s->is_announced || c->was_ever_ready || c->restarts < FIRST_TRIES)
        return;
    struct err err = {0};
    CLEANUP(buf_fini) struct buf tail = {0};
    log_tail(c, &tail);
    err_set(&err, ERR_CHILD, NEXT_REJECT, "%s does not come up (exit code %d); %s ends with: %s",
            c->instance, r->exit_code, c->log_file, tail.data ? tail.data : "(nothing)");
    supervisor__fail(c->s, &err);
}

/* Nobody uses it now.  What cannot be removed is used again: it is right all the same. */
static void drop_state(struct child *c)
{
    struct err err = {0};
    CLEANUP_FREE char *folder = xasprintf("%s/state/%s", c->s->data, c->instance);
    if (!c->drops_state)
        return;
    c->drops_state = false;
    if (fsx_remove_tree(folder, &err))
        log_error("child.state", "instance=%s error=%s", c->instance, err.msg);
    else
        log_info("child.state", "instance=%s removed=%s", c->instance, folder);
}

static void on_done(void *ctx, const struct job_result *r)
{
    struct child *c = ctx;
    c->job = NULL;
    drop_state(c);
    c->last_exit = r->exit_code;
    c->last_signal = r->signal;
    if (!c->is_wanted || c->s->is_stopping) {
        remove(c->address_file);
        enter(c, CHILD_STOPPED, -1);
        if (!c->is_looking)
            supervisor__ended(c->s, c);
    } else if (c->state == CHILD_STOPPING) {
        child_start(c);
    } else {
        died(c, r);
    }
}

/* ---- start and stop ---- */

void child_start(struct child *c)
{
    struct arena mem = {0};
    struct err err = {0};
    struct job_spec spec = {
        .argv = child_argv(c, &mem), .env = child_environment(&mem), .log_path = c->log_file};
    remove(c->address_file);
    c->started_mono_ms = clk_mono_ms(&clk_system);
    if (job_start(c->s->loop, &spec, NULL, on_done, c, &c->job, &err) == 0) {
        enter(c, CHILD_STARTING, READY_LOOK_MS);
    } else {
        log_error("child.not_started", "instance=%s error=%s", c->instance, err.msg);
        c->pause_ms = PAUSE_MAX_MS;
        enter(c, CHILD_PAUSING, c->pause_ms);
        if (!c->s->is_announced) /* what is not there now will not come */
            supervisor__fail(c->s, &err);
    }
    arena_fini(&mem);
}

static void ask_to_stop(struct child *c)
{
    if (c->state == CHILD_STOPPING)
        return;
    enter(c, CHILD_STOPPING, STOP_PATIENCE_MS);
    kill(job_pid(c->job), SIGTERM);
}

void child_stop(struct child *c)
{
    c->is_wanted = false;
    if (c->job) {
        ask_to_stop(c);
        return;
    }
    enter(c, CHILD_STOPPED, -1);
    if (!c->is_looking)
        supervisor__ended(c->s, c);
}

void child_restart(struct child *c)
{
    if (c->job)
        ask_to_stop(c);
}

void child_rebuild(struct child *c)
{
    c->drops_state = true;
    if (c->job)
        ask_to_stop(c);
    else
        drop_state(c);
}
