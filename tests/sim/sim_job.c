/* common/job.h: trainings without processes.  A child belongs to the world: it reads the order that
 * the agent left for it, works for a while, and leaves its result in the store; on the way it may
 * die, hang, ask for another try, or go on though its parent is gone. */
#include "common/job.h"

#include <signal.h>
#include <string.h>
#include <sys/types.h>

#include "agents/train/order.h"
#include "agents/train/trainer.h"
#include "common/mem.h"
#include "tests/sim/sim.h"

enum { JOBS_MAX = 64, FIRST_PID = 100000 };
enum child_end { END_CANDIDATE = 0, END_FAILED, END_RETRY, END_DIES, END_HANGS };

struct job {
    struct sim_proc *parent; /* NULL: an orphan */
    struct loop *loop;
    job_line_fn on_line;
    job_done_fn on_done;
    void *ctx;
    int pid;
    struct rng rng;
    struct arena arena;
    struct order order;
    enum child_end end;
    int64_t started_us, wall_ms;
    struct sim_tick *next, *limit;
    bool is_stored, is_canceled;
    struct job_result result;
};
static struct job *jobs[JOBS_MAX];
static int next_pid = FIRST_PID;

static void free_job(struct job *j)
{
    for (size_t i = 0; i < JOBS_MAX; i++)
        if (jobs[i] == j)
            jobs[i] = NULL;
    sim_cancel(j->next);
    sim_cancel(j->limit);
    arena_fini(&j->arena);
    free_ptr(&j);
}

void sim_job_reset(void)
{
    for (size_t i = 0; i < JOBS_MAX; i++)
        if (jobs[i])
            free_job(jobs[i]);
    next_pid = FIRST_PID;
}

size_t sim_jobs_running(void)
{
    size_t n = 0;
    for (size_t i = 0; i < JOBS_MAX; i++)
        n += jobs[i] ? 1 : 0;
    return n;
}

static void later(struct job *j, int64_t at_most_ms, loop_fn fn)
{
    sim_cancel(j->next);
    j->next = sim_after(NULL, (int64_t)rng_below(&j->rng, (uint64_t)(at_most_ms * SIM_MS)) + SIM_MS,
                        TICK_WORLD, fn, j);
    j->next->slot = &j->next;
}

/* What the parent is told runs as the parent's, after what keeps it. */
static void to_parent(void *ctx)
{
    struct job *j = ctx;
    j->on_done(j->ctx, &j->result);
    free_job(j);
}

static void ended(struct job *j, int exit_code, int signo)
{
    sim_cancel(j->next);
    sim_cancel(j->limit);
    j->result.exit_code = signo ? -1 : exit_code;
    j->result.signal = signo;
    j->result.wall_ms = (sim.now_us - j->started_us) / SIM_MS;
    j->result.cpu_ms = j->result.wall_ms / 2;
    if (!j->parent) {
        free_job(j);
        return;
    }
    j->next = sim_after(j->loop, (int64_t)rng_below(&j->rng, 20 * SIM_MS), TICK_WORK, to_parent, j);
    j->next->slot = &j->next;
}

struct said {
    struct job *job;
    int pid;
    char text[200];
};

static void on_said(void *ctx)
{
    const struct said *s = ctx;
    for (size_t i = 0; i < JOBS_MAX; i++)
        if (jobs[i] && jobs[i] == s->job && jobs[i]->pid == s->pid && jobs[i]->parent)
            jobs[i]->on_line(jobs[i]->ctx, s->text);
}

static void say(struct job *j, const char *phase)
{
    struct said *s = arena_alloc(&sim.arena, sizeof(*s));
    s->job = j;
    s->pid = j->pid;
    snprintf(s->text, sizeof(s->text),
             "{\"phase\":\"%s\",\"trial\":1,\"trials\":1,\"round\":1,\"rounds\":2}", phase);
    if (j->parent)
        sim_after(j->loop, (int64_t)rng_below(&j->rng, 5 * SIM_MS), TICK_BUS, on_said, s);
}

static void on_exit_tick(void *ctx)
{
    ended(ctx, 0, 0);
}

/* Model first, then the result that names it: the first result of a run stays. */
static int store(struct job *j, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = {0};
    CLEANUP_FREE char *bytes = xasprintf("model of %s, attempt %lld by %d", j->order.run,
                                         (long long)j->order.attempt, j->pid);
    char digest[DIGEST_HEX_SIZE];
    const struct artifacts a = {NULL};
    struct training_finished f = {
        .line = j->order.line,
        .run = j->order.run,
        .attempt = j->order.attempt,
        .status = "candidate",
        .trainer = j->order.trainer,
        .pipeline_sha256 = j->order.pipeline_sha256,
        .snapshots = j->order.snapshots,
        .trained_rows = 900,
        .seconds = 1,
        .cpu_seconds = 1,
        .instance = j->order.instance,
    };
    digest_bytes(bytes, strlen(bytes), digest);
    f.model = digest;
    if (sim.mutant != MUTANT_WORDS_FIRST && artifacts_put(&a, bytes, strlen(bytes), digest, err))
        return -1;
    struct json *json = result_to_json(&f);
    json_write(json, 1, false, &text);
    json_free(json);
    return artifacts_put_run(&a, j->order.run, buf_slice(&text), err);
}

static void on_work_done(void *ctx)
{
    struct job *j = ctx;
    struct err err = {0};
    sim.current = j->parent;
    switch (j->end) {
    case END_FAILED:
        str_copy(j->result.tail, sizeof(j->result.tail), "sim: bad luck");
        ended(j, 1, 0);
        return;
    case END_RETRY:
        str_copy(j->result.tail, sizeof(j->result.tail), "sim: another time");
        ended(j, TRAINER_EXIT_RETRY, 0);
        return;
    case END_DIES:
        ended(j, -1, SIGKILL);
        return;
    case END_HANGS:
        return; /* until its limit */
    default:
        break;
    }
    if (store(j, &err)) {
        str_copy(j->result.tail, sizeof(j->result.tail), err.msg);
        ended(j, TRAINER_EXIT_RETRY, 0);
        return;
    }
    j->is_stored = true;
    say(j, "stored");
    later(j, 200, on_exit_tick);
}

static void on_begun(void *ctx)
{
    enum { USUAL_MS = 4000, LONG_MS = 60000 };
    struct job *j = ctx;
    say(j, "training");
    later(j, rng_below(&j->rng, 4) ? USUAL_MS : LONG_MS, on_work_done);
}

static void on_limit(void *ctx)
{
    struct job *j = ctx;
    j->result.timed_out = true;
    ended(j, -1, SIGKILL);
}

static int read_order(struct job *j, const char *path, struct err *err)
{
    struct slice text;
    struct json *json;
    int rc;
    if (!sim_file(path, &text))
        return err_io(err, "sim: no order at %s", path);
    json = json_parse(text, "order", err);
    rc = json ? order_from_json(json, &j->arena, &j->order, err) : -1;
    json_free(json);
    return rc;
}

static enum child_end draw_end(struct job *j)
{
    const struct sim_noise *n = &sim.plan->noise;
    int lot = (int)rng_below(&j->rng, 1000);
    if (sim.is_calm)
        return END_CANDIDATE;
    if ((lot -= n->train_fails) < 0)
        return rng_below(&j->rng, 2) ? END_FAILED : END_RETRY;
    if ((lot -= n->train_dies) < 0)
        return END_DIES;
    return lot - n->train_hangs < 0 ? END_HANGS : END_CANDIDATE;
}

int job_start(struct loop *l, const struct job_spec *spec, job_line_fn on_line, job_done_fn on_done,
              void *ctx, struct job **ret, struct err *err)
{
    size_t at = 0;
    while (at < JOBS_MAX && jobs[at])
        at++;
    if (at == JOBS_MAX)
        return err_set(err, ERR_CHILD, NEXT_RETRY, "sim: no more processes");
    struct job *j = xcalloc(1, sizeof(*j));
    j->parent = sim.current;
    j->loop = l;
    j->on_line = on_line;
    j->on_done = on_done;
    j->ctx = ctx;
    j->pid = next_pid++;
    j->started_us = sim.now_us;
    j->wall_ms = spec->wall_ms;
    if (read_order(j, spec->argv[2], err)) {
        arena_fini(&j->arena);
        free_ptr(&j);
        return -1;
    }
    rng_seed(&j->rng, hash64(j->order.run, strlen(j->order.run), sim.plan->seed) +
                          (uint64_t)j->order.attempt * 1000 + (uint64_t)j->parent->index);
    j->end = draw_end(j);
    jobs[at] = j;
    later(j, 300, on_begun);
    if (spec->wall_ms) {
        j->limit = sim_after(NULL, spec->wall_ms * SIM_MS, TICK_WORLD, on_limit, j);
        j->limit->slot = &j->limit;
    }
    sim_stats.runs++;
    sim_trace("child %d of %s: run=%.8s attempt=%lld ends=%d", j->pid, j->parent->name,
              j->order.run, (long long)j->order.attempt, (int)j->end);
    *ret = j;
    return 0;
}

void job_limit(struct job *j, const struct job_spec *spec)
{
    (void)j;
    (void)spec;
}

static void on_term(void *ctx)
{
    ended(ctx, -1, SIGTERM);
}

void job_cancel(struct job *j)
{
    if (j->is_canceled)
        return;
    j->is_canceled = j->result.canceled = true;
    if (!j->next || j->next->kind != TICK_WORK)
        later(j, 5000, on_term);
}

int job_pid(const struct job *j)
{
    return j->pid;
}

void job_result_str(const struct job_result *r, const struct job_spec *spec, char *out,
                    size_t out_size)
{
    (void)spec;
    snprintf(out, out_size, "ended with exit code %d, signal %d%s", r->exit_code, r->signal,
             r->timed_out ? " (wall time)" : "");
}

/* One that lives on without its parent, as in a container whose init is another. */
static void orphan_of(struct job *j)
{
    size_t at = 0;
    while (at < JOBS_MAX && jobs[at])
        at++;
    if (at == JOBS_MAX || !j->next || j->is_stored)
        return;
    struct job *o = xmemdup(j, sizeof(*j));
    j->arena = (struct arena){0};
    o->parent = NULL;
    o->loop = NULL;
    o->limit = NULL;
    if (o->end == END_HANGS) /* nobody is there to end it */
        o->end = END_DIES;
    o->next = sim_after(NULL, j->next->at_us - sim.now_us, TICK_WORLD, j->next->fn, o);
    o->next->slot = &o->next;
    jobs[at] = o;
}

/* train__kill_all asks for the death of what is its. */
int kill(pid_t pid, int signo)
{
    (void)signo;
    for (size_t i = 0; i < JOBS_MAX; i++) {
        struct job *j = jobs[i];
        if (!j || j->pid != -pid || !j->parent || (j->next && j->next->kind == TICK_WORK))
            continue;
        if (j->parent->is_dying && sim_chance(j->parent, sim.plan->noise.orphans))
            orphan_of(j);
        ended(j, -1, SIGKILL);
        break;
    }
    return 0;
}
