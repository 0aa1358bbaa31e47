/* A trainer that is there before its run: started when there is time, its libraries loaded and its
 * memory touched, waiting on a FIFO for the path of an order.  On little data that is a third of a
 * training's time.
 *
 * A run is given to it when it has said that it is ready; else the run starts a child of its own,
 * as it would without.  One that ends by itself is not missed before the next run has ended. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agents/train/train_internal.h"
#include "common/fault.h"
#include "common/fsx.h"
#include "common/log.h"
#include "common/mem.h"

/* After the agent is ready, and after a run: first those who have to do with its result. */
enum { SPARE_DELAY_MS = 500 };

struct spare {
    struct agent *agent;
    struct job *job;
    struct running *run; /* that it was given; then it is that run's child */
    bool is_ready;
};

static void on_line(void *ctx, const char *line)
{
    struct spare *s = ctx;

    if (s->run)
        train__on_line(s->run, line);
    else
        s->is_ready = true;
}

static void on_done(void *ctx, const struct job_result *res)
{
    struct spare *s = ctx;
    struct train_self *self = agent_self(s->agent);
    char how[256];

    if (s->run) {
        train__on_done(s->run, res);
    } else {
        self->spare = NULL;
        if (!res->canceled && !self->is_closing) {
            job_result_str(res, &(struct job_spec){0}, how, sizeof(how));
            log_warn("train.spare", "ended=%s said=%s", how, res->tail);
        }
    }
    free(s);
}

static char *fifo_path(struct agent *a)
{
    return fsx_join(agent_state_dir(a), "spare.fifo");
}

static int start(struct spare *s, const char *fifo, struct err *err)
{
    const struct train_self *self = agent_self(s->agent);
    const char *argv[] = {self->program, "wait", fifo, NULL};
    struct arena arena = {0};
    struct job_spec spec = {.argv = argv,
                            .env = train__child_env(agent_state_dir(s->agent), &arena)};
    int rc;

    if ((unlink(fifo) && errno != ENOENT) ||
        EFFECT(spawn, "train.spare.mkfifo", FAULT_ERRNO, mkfifo(fifo, 0600)))
        rc = err_io(err, "make %s: %s", fifo, strerrordesc_np(errno));
    else
        rc = job_start(agent_loop(s->agent), &spec, on_line, on_done, s, &s->job, err);
    arena_fini(&arena);
    return rc;
}

static void on_timer(void *ctx)
{
    struct agent *a = ctx;
    struct train_self *self = agent_self(a);
    CLEANUP_FREE char *fifo = fifo_path(a);
    struct spare *s;
    struct err err = {0};

    if (self->spare || self->running || agent_is_stopping(a))
        return;
    s = xcalloc(1, sizeof(*s));
    s->agent = a;
    if (start(s, fifo, &err)) { /* runs do without */
        log_warn("train.spare", "error=%s", err.msg);
        free(s);
        return;
    }
    self->spare = s;
}

void train__spare_soon(struct agent *a)
{
    struct train_self *self = agent_self(a);

    if (!conf_bool(agent_conf(a), "spare") || self->is_closing)
        return;
    if (!self->spare_timer)
        self->spare_timer = loop_timer_new(agent_loop(a), on_timer, a);
    loop_timer_start(self->spare_timer, SPARE_DELAY_MS);
}

static bool send_path(struct agent *a, const char *order_path)
{
    CLEANUP_FREE char *fifo = fifo_path(a);
    CLEANUP_FREE char *line = xasprintf("%s\n", order_path);
    int fd = open(fifo, O_WRONLY | O_NONBLOCK | O_CLOEXEC); /* fails when nobody reads */
    bool is_sent = fd >= 0 && EFFECT_SURE(spawn, "train.spare.order", FAULT_ERRNO,
                                          write(fd, line, strlen(line))) == (ssize_t)strlen(line);

    if (fd >= 0)
        close(fd);
    return is_sent;
}

bool train__spare_take(struct running *r, const char *order_path)
{
    struct train_self *self = agent_self(r->agent);
    struct spare *s = self->spare;

    if (!s || !s->is_ready || r->order.command.n || !send_path(r->agent, order_path))
        return false;
    self->spare = NULL;
    s->run = r;
    r->job = s->job;
    job_limit(r->job, &r->limits);
    agent_count(r->agent, "spares_used_total", NULL, 1);
    return true;
}

void train__spare_end(struct agent *a)
{
    struct train_self *self = agent_self(a);

    loop_timer_free(self->spare_timer);
    self->spare_timer = NULL;
    if (self->spare)
        job_cancel(self->spare->job);
}

bool train__spare_is_ready(const struct train_self *self)
{
    return self->spare && self->spare->is_ready;
}
