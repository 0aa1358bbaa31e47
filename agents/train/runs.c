/* Child processes: one for each run, in a folder of its own.  A child leaves its result in the
 * store under the run's id; what ends here is only looked at and told. */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agents/train/trainer.h"
#include "agents/train/train_internal.h"
#include "common/fault.h"
#include "common/fsx.h"
#include "common/log.h"

enum {
    KILL_WAIT_MS = 10000, /* a killed process is gone in milliseconds, unless its disk hangs */
};

struct running *train__running(struct agent *a, const char *run)
{
    struct train_self *self = agent_self(a);

    for (struct running *r = self->running; r; r = r->next)
        if (strcmp(r->order.run, run) == 0)
            return r;
    return NULL;
}

/* ---- places ---- */

static void waiting_add(struct train_self *self, const char *line)
{
    struct waiting **end = &self->waiting;

    for (; *end; end = &(*end)->next)
        if (strcmp((*end)->line, line) == 0)
            return;
    *end = xcalloc(1, sizeof(**end));
    (*end)->line = xstrdup(line);
}

static bool waiting_remove(struct train_self *self, const char *line)
{
    for (struct waiting **at = &self->waiting; *at; at = &(*at)->next) {
        struct waiting *gone = *at;

        if (strcmp(gone->line, line) != 0)
            continue;
        *at = gone->next;
        free(gone->line);
        free(gone);
        return true;
    }
    return false;
}

static bool is_place_free(struct agent *a)
{
    return ((struct train_self *)agent_self(a))->n_running <
           (size_t)conf_int(agent_conf(a), "jobs");
}

bool train__has_place(struct agent *a, const char *line)
{
    struct train_self *self = agent_self(a);

    if (is_place_free(a) && (!self->waiting || strcmp(self->waiting->line, line) == 0)) {
        waiting_remove(self, line);
        return true;
    }
    waiting_add(self, line);
    return false;
}

/* The first in the queue that is still this instance's is looked at again. */
static void next_in_queue(struct agent *a)
{
    struct train_self *self = agent_self(a);

    while (self->waiting) {
        struct unit *u = agent_unit(a, RECORD_TRAINING_PLANNED, self->waiting->line);

        if (u && u->is_owned && u->line->in_flight) {
            agent_touch(a, u);
            return;
        }
        waiting_remove(self, self->waiting->line);
    }
}

void train__leave_queue(struct agent *a, const char *line)
{
    if (waiting_remove(agent_self(a), line) && is_place_free(a))
        next_in_queue(a);
}

/* ---- folders ---- */

struct removal {
    char *path;
};

static void remove_run(void *ctx)
{
    struct removal *r = ctx;
    struct err err = {0};

    if (fsx_remove_tree(r->path, &err))
        log_warn("train.folder", "path=%s error=%s", r->path, err.msg);
}

static void remove_done(void *ctx)
{
    struct removal *r = ctx;

    free(r->path);
    free(r);
}

static void remove_folder(struct running *r)
{
    struct removal *gone;

    if (conf_bool(agent_conf(r->agent), "keep-folders"))
        return;
    gone = xcalloc(1, sizeof(*gone));
    gone->path = xstrdup(r->order.folder);
    work_submit(agent_loop(r->agent), remove_run, remove_done, gone);
}

/* ---- the end of a child ---- */

/* Leaves a failed result under the run, unless there is one. */
static int put_failure(struct agent *a, const struct order *o, const char *reason,
                       const struct job_result *res, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = {0};
    struct training_finished f = {
        .line = o->line,
        .run = o->run,
        .attempt = o->attempt,
        .status = "failed",
        .reason = reason,
        .trainer = o->trainer,
        .pipeline_sha256 = o->pipeline_sha256,
        .snapshots = o->snapshots,
        .instance = o->instance,
    };
    struct json *j;

    if (res) {
        f.seconds = (double)res->wall_ms / 1000;
        f.cpu_seconds = (double)res->cpu_ms / 1000;
        f.max_rss_bytes = res->max_rss_bytes;
    }
    j = result_to_json(&f);
    json_write(j, 1, false, &text);
    json_free(j);
    return EFFECT(store, "train.failure.put", FAULT_ERR(err),
                  artifacts_put_run(agent_artifacts(a), o->run, buf_slice(&text), err));
}

/* The child's own sentence is the last line that it wrote; what came before it is the tail. */
static char *reason_of(const struct running *r, const struct job_result *res)
{
    char how[256];
    const char *said = res->tail;
    size_t n = strlen(said);

    if (n > TRAIN_TAIL_CHARS) {
        said += n - TRAIN_TAIL_CHARS;
        while (((unsigned char)*said & 0xC0) == 0x80) /* not within a character */
            said++;
    }
    if (res->exit_code == 1 && n && !strchr(said, '\n'))
        return xasprintf("training failed: %s", said);
    job_result_str(res, &r->limits, how, sizeof(how));
    return xasprintf("training %s%s%s", how, n ? "; it said: " : "", said);
}

static void ask_for_retry(struct agent *a, const struct running *r)
{
    struct unit *u = agent_unit(a, RECORD_TRAINING_PLANNED, r->order.line);
    struct train_unit *own = u && u->is_owned ? train__unit(u) : NULL;
    int64_t delay_ms;

    if (!own)
        return;
    if (!own->retry_run || strcmp(own->retry_run, r->order.run) != 0) {
        free(own->retry_run);
        own->retry_run = xstrdup(r->order.run);
        own->tries = 1;
    }
    delay_ms = (int64_t)TRAIN_RETRY_MS << (own->tries - 1);
    own->tries++;
    own->retry_mono_ms = clk_mono_ms(agent_clk(a)) + delay_ms;
    agent_wake(a, u, agent_now_ms(a) + delay_ms + 10);
}

static bool may_retry(struct agent *a, const struct running *r)
{
    struct unit *u = agent_unit(a, RECORD_TRAINING_PLANNED, r->order.line);
    struct train_unit *own = u && u->is_owned ? train__unit(u) : NULL;

    return own && !(own->retry_run && strcmp(own->retry_run, r->order.run) == 0 &&
                    own->tries >= TRAIN_TRIES);
}

/* Returns true when the run has its result. */
static bool conclude(struct running *r, const struct job_result *res)
{
    struct agent *a = r->agent;
    CLEANUP_FREE char *reason = NULL;
    struct err err = {0};

    if (r->is_closed)
        return true; /* nobody waits for it */
    if (res->exit_code == 0) {
        log_info("train.finished", "run=%s attempt=%lld ms=%lld cpu_ms=%lld", r->order.run,
                 (long long)r->order.attempt, (long long)res->wall_ms, (long long)res->cpu_ms);
        return true;
    }
    if (r->is_handed_over) {
        log_info("train.handed_over", "run=%s attempt=%lld", r->order.run,
                 (long long)r->order.attempt);
        return false;
    }
    reason = reason_of(r, res);
    log_warn("train.failed", "run=%s attempt=%lld reason=%s", r->order.run,
             (long long)r->order.attempt, reason);
    if (res->exit_code == TRAINER_EXIT_RETRY && may_retry(a, r)) {
        ask_for_retry(a, r);
        return false;
    }
    if (put_failure(a, &r->order, reason, res, &err)) {
        log_error("train.result", "run=%s error=%s", r->order.run, err.msg);
        ask_for_retry(a, r);
        return false;
    }
    return true;
}

static void unlink_run(struct train_self *self, struct running *gone)
{
    for (struct running **at = &self->running; *at; at = &(*at)->next)
        if (*at == gone) {
            *at = gone->next;
            self->n_running--;
            return;
        }
}

void train__on_done(void *ctx, const struct job_result *res)
{
    struct running *r = ctx;
    struct agent *a = r->agent;
    struct train_self *self = agent_self(a);
    struct unit *u;
    bool has_result;

    FAULT_AT(reap, "train.finish");
    unlink_run(self, r);
    if (!self->is_closing) {
        has_result = conclude(r, res);
        u = agent_unit(a, RECORD_TRAINING_PLANNED, r->order.line);
        if (!u || !u->is_owned || (!has_result && r->is_handed_over))
            train__beat(r, "ended"); /* whoever has the line now need not wait for the next beat */
        agent_count(a, "trainings_total",
                    has_result && res->exit_code == 0 ? "result=\"candidate\"" : "result=\"none\"",
                    1);
        remove_folder(r);
        if (u && u->is_owned)
            agent_touch(a, u);
        next_in_queue(a);
        train__spare_soon(a);
    }
    arena_fini(&r->arena);
    free(r);
}

/* ---- the start of one ---- */

static int fill_order(struct agent *a, const struct event *plan, int64_t attempt,
                      const struct pipeline *p, struct running *r, struct err *err)
{
    const struct training_planned *rec = plan->rec;
    struct train_self *self = agent_self(a);
    struct arena *mem = &r->arena;
    struct snapshot_ref *refs = arena_alloc(mem, (rec->snapshots.n + 1) * sizeof(*refs));
    const struct string_list *command = commands_find(&self->commands, p->trainer);
    struct order *o = &r->order;
    char name[ID_SIZE];

    for (size_t i = 0; i < rec->snapshots.n; i++)
        refs[i] = (struct snapshot_ref){arena_strdup(mem, rec->snapshots.items[i].snapshot),
                                        arena_strdup(mem, rec->snapshots.items[i].event),
                                        rec->snapshots.items[i].rows};
    o->line = arena_strdup(mem, rec->line);
    o->run = arena_strdup(mem, plan->id);
    o->instance = arena_strdup(mem, agent_instance(a));
    o->pipeline_sha256 = arena_strdup(mem, rec->pipeline_sha256);
    o->attempt = attempt;
    o->snapshots = (struct snapshot_ref_list){refs, rec->snapshots.n};
    o->artifacts = agent_artifacts(a)->root;
    o->key = self->key_path;
    id_from_cause("folder", o->run, "", name); /* an id may hold what a file's name must not */
    o->folder = arena_printf(mem, "%s/runs/%s.%lld", agent_state_dir(a), name, (long long)attempt);
    o->trainer = arena_strdup(mem, p->trainer);
    o->threads = conf_int(agent_conf(a), "threads");
    r->correlation = arena_strdup(mem, plan->correlation);
    r->hops = plan->hops;
    if (command)
        o->command = *command;
    else if (strcmp(p->trainer, "xgboost") != 0) {
        CLEANUP(buf_fini) struct buf names = {0};

        commands_names(&self->commands, &names);
        return err_inval(err,
                         "trainer '%s' is none that this train agent's operator allows: %.200s",
                         p->trainer, names.data);
    }
    return rec->snapshots.n && rec->pipeline_sha256 ? 0
                                                    : err_inval(err, "the plan names no snapshots");
}

/* Anew, should a crash have left one.  Not durable, unlike what fsx_mkdirs makes: after a crash of
 * the machine nobody looks for it. */
static int make_folder(const char *path, struct err *err)
{
    CLEANUP_FREE char *parent = xstrndup(path, (size_t)(strrchr(path, '/') - path));

    if (fsx_remove_tree(path, err))
        return -1;
    if (EFFECT(store, "train.folder.mkdir", FAULT_ERRNO, mkdir(path, 0750)) == 0)
        return 0;
    if (errno == ENOENT && fsx_mkdirs(parent, err) == 0 &&
        EFFECT(store, "train.folder.mkdir_again", FAULT_ERRNO, mkdir(path, 0750)) == 0)
        return 0;
    return err_io(err, "cannot make %s: %s", path, strerror(errno));
}

static int write_order(const struct running *r, const char *path, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = {0};
    struct json *j = order_to_json(&r->order);
    FILE *f;
    bool ok;

    json_write(j, 1, false, &text);
    json_free(j);
    if (make_folder(r->order.folder, err))
        return -1;
    f = fopen(path, "we");
    ok = f && EFFECT(store, "train.order.write", 0, fwrite(text.data, 1, text.len, f)) == text.len;
    if (f && fclose(f))
        ok = false;
    return ok ? 0 : err_io(err, "cannot write %s: %s", path, strerror(errno));
}

/* Nothing of the agent's environment, which may hold secrets, but what programs need to be found
 * and to run. */
const char *const *train__child_env(const char *folder, struct arena *arena)
{
    static const char *const passed[] = {
        "PATH",           "LD_LIBRARY_PATH", "RELEARN_LIBEXEC",
        "ASAN_OPTIONS",   "UBSAN_OPTIONS",   "LSAN_OPTIONS",
#ifdef RELEARN_TEST
        "RELEARN_FAULTS",
#endif
    };
    const char **env = arena_alloc(arena, (ARRAY_LEN(passed) + 4) * sizeof(*env));
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(passed); i++) {
        const char *value = getenv(passed[i]);

        if (value)
            env[n++] = arena_printf(arena, "%s=%s", passed[i], value);
    }
    env[n++] = "LANG=C.UTF-8";
    env[n++] = "OMP_WAIT_POLICY=PASSIVE"; /* XGBoost's threads else wait by spinning, on cores that
                                             others need */
    env[n++] = arena_printf(arena, "TMPDIR=%s", folder);
    return env;
}

static int start_child(struct running *r, const struct pipeline *p, struct err *err)
{
    struct train_self *self = agent_self(r->agent);
    CLEANUP_FREE char *path = fsx_join(r->order.folder, "order.json");
    const char *argv[] = {self->program, "run", path, NULL};
    struct job_spec spec = {
        .argv = argv, .wall_ms = p->wall_ms, .cpu_ms = p->cpu_ms, .memory_bytes = p->memory_bytes};

    if (write_order(r, path, err))
        return -1;
    r->limits = (struct job_spec){
        .wall_ms = p->wall_ms, .cpu_ms = p->cpu_ms, .memory_bytes = p->memory_bytes};
    if (train__spare_take(r, path))
        return 0;
    spec.env = train__child_env(r->order.folder, &r->arena);
    return job_start(agent_loop(r->agent), &spec, train__on_line, train__on_done, r, &r->job, err);
}

int train__start(struct agent *a, struct unit *u, const struct event *plan, int64_t attempt,
                 struct err *err)
{
    struct train_self *self = agent_self(a);
    const struct pipeline *p =
        agent_pipeline_at(a, EV_REC(plan, training_planned)->pipeline_sha256, err);
    struct running *r;
    struct err why = {0};

    if (!p)
        return err_wrap(err, "run %s", plan->id);
    r = xcalloc(1, sizeof(*r));
    r->agent = a;
    if (fill_order(a, plan, attempt, p, r, &why) ||
        EFFECT_SURE(spawn, "train.start", FAULT_ERR(&why), start_child(r, p, &why))) {
        int rc = why.next == NEXT_REJECT ? put_failure(a, &r->order, why.msg, NULL, err)
                                         : err_set(err, why.code, why.next, "%s", why.msg);

        log_warn("train.not_started", "run=%s error=%s", plan->id, why.msg);
        arena_fini(&r->arena);
        free(r);
        if (rc == 0)
            agent_touch(a, u); /* its result is there */
        return rc;
    }
    r->next = self->running;
    self->running = r;
    self->n_running++;
    log_info("train.started", "run=%s attempt=%lld pid=%d", r->order.run, (long long)attempt,
             job_pid(r->job));
    train__beat(r, "started");
    if (self->n_running == 1)
        loop_timer_start(self->beat_timer, TRAIN_BEAT_MS / 2);
    return 0;
}

void train__cancel(struct running *r)
{
    job_cancel(r->job);
}

static bool is_none(void *ctx)
{
    const struct train_self *self = ctx;

    return !self->running && !self->spare;
}

void train__kill_all(struct agent *a)
{
    struct train_self *self = agent_self(a);

    self->is_closing = true;
    for (struct running *r = self->running; r; r = r->next)
        kill(-job_pid(r->job), SIGKILL);
    train__spare_end(a);
    if (self->running || self->spare)
        loop_until(agent_loop(a), is_none, self, KILL_WAIT_MS);
    while (self->waiting)
        waiting_remove(self, self->waiting->line);
}
