/* The train agent's shell: what is owed is found in the fold (owed.c); a run is given to a child
 * process (runs.c), which leaves its result in the store; the result found there is emitted,
 * whoever made it. */
#include "agents/train/train.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agents/train/train_internal.h"
#include "common/fsx.h"
#include "common/log.h"

enum {
    RESULT_MAX_BYTES = 4 << 20,
    HAND_OVER_MS =
        8000, /* before the end of the stop timeout: TERM, five seconds, KILL, and the last beat */
};

struct train_unit *train__unit(struct unit *u)
{
    if (!u->self)
        u->self = xcalloc(1, sizeof(struct train_unit));
    return u->self;
}

/* ---- results ---- */

/* The result that a child, here or elsewhere, left under the run.  *ret_found false: none yet. */
static int emit_result(struct agent *a, struct unit *u, const struct event *plan, bool *ret_found,
                       struct err *err)
{
    CLEANUP(buf_fini) struct buf text = {0};
    struct emission e = {.record = RECORD_TRAINING_FINISHED, .cause = plan, .about = "run"};
    struct arena arena = {0};
    struct json *j;
    int rc = 0;

    buf_init(&text, RESULT_MAX_BYTES);
    *ret_found = false;
    if (artifacts_get_run(agent_artifacts(a), plan->id, &text, err))
        return err->code == ERR_NOTFOUND ? 0 : -1;
    *ret_found = true;
    j = json_parse(buf_slice(&text), "result", err);
    if (!j || codec_from_json(RECORD_TRAINING_FINISHED, j, &arena, &e.rec, err) ||
        !record_own_key(RECORD_TRAINING_FINISHED, e.rec) ||
        strcmp(record_own_key(RECORD_TRAINING_FINISHED, e.rec), u->key) != 0)
        rc = err_set(err, ERR_IO, NEXT_RETRY,
                     "the result of run %s in the store is damaged; remove its folder and it is "
                     "trained again",
                     plan->id);
    else
        rc = agent_emit(a, u, &e, err);
    json_free(j);
    arena_fini(&arena);
    return rc;
}

/* ---- reconcile ---- */

static bool is_too_early(struct agent *a, struct unit *u, const char *run)
{
    const struct train_unit *own = train__unit(u);

    return own->retry_run && strcmp(own->retry_run, run) == 0 &&
           clk_mono_ms(agent_clk(a)) < own->retry_mono_ms;
}

static int start_if_free(struct agent *a, struct unit *u, const struct train_owed *owed,
                         bool *ret_asks, struct err *err)
{
    if (agent_is_stopping(a) || is_too_early(a, u, owed->plan->id))
        return 0;
    *ret_asks = true;
    return train__has_place(a, u->key) ? train__start(a, u, owed->plan, owed->attempt, err) : 0;
}

/* A run that plan has closed meanwhile (expired) need not go on. */
static void cancel_closed(struct agent *a, const struct unit *u)
{
    struct train_self *self = agent_self(a);

    for (struct running *r = self->running; r; r = r->next)
        if (strcmp(r->order.line, u->key) == 0 && line_closed(u->line, r->order.run) &&
            !r->is_closed) {
            r->is_closed = true;
            log_info("train.canceled", "run=%s reason=the run was closed", r->order.run);
            train__cancel(r);
        }
}

/* *ret_asks: it has asked for a place to run in. */
static int do_owed(struct agent *a, struct unit *u, bool *ret_asks, struct err *err)
{
    const struct event *plan = u->line->in_flight;
    const struct train_unit *own = train__unit(u);
    struct train_view v = {
        .instance = agent_instance(a), .now_unix_ms = agent_now_ms(a), .since_beat_ms = INT32_MAX};
    struct train_owed owed;
    const struct running *here;
    bool is_found = false;

    cancel_closed(a, u);
    if (!plan)
        return 0;
    here = train__running(a, plan->id);
    v.is_running_here = here && !here->is_stored;
    if (own->beat_run && strcmp(own->beat_run, plan->id) == 0)
        v.since_beat_ms = clk_mono_ms(agent_clk(a)) - own->beat_mono_ms;
    train_find_owed(u->line, &v, &owed);
    if (owed.kind == TRAIN_WAITS)
        agent_wake(a, u, v.now_unix_ms + owed.wait_ms + 50);
    if (owed.kind != TRAIN_OWES_RUN)
        return 0;
    if (emit_result(a, u, plan, &is_found, err))
        return -1;
    return is_found || here ? 0 : start_if_free(a, u, &owed, ret_asks, err);
}

static int reconcile(struct agent *a, struct unit *u, struct err *err)
{
    bool asks = false;
    int rc = do_owed(a, u, &asks, err);

    if (!asks)
        train__leave_queue(a, u->key);
    return rc;
}

static bool is_answered(struct agent *a, struct unit *u, const struct event *ev)
{
    (void)a;
    return train_is_answered(u->line, ev);
}

static void folded(struct agent *a, struct unit *u, const struct event *ev)
{
    struct train_unit *own = train__unit(u);

    if (ev->type != RECORD_TRAINING_PROGRESSED)
        return;
    free(own->beat_run);
    own->beat_run = xstrdup(EV_REC(ev, training_progressed)->run);
    own->beat_mono_ms = clk_mono_ms(agent_clk(a));
}

static void drop(struct agent *a, struct unit *u)
{
    struct train_unit *own = u->self;

    train__leave_queue(a, u->key);
    if (own) {
        free(own->beat_run);
        free(own->retry_run);
    }
    free(own);
    u->self = NULL;
}

/* ---- life ---- */

/* relearn-trainer lies beside this program, or where RELEARN_LIBEXEC says, as relearn-exec does. */
static char *find_program(const struct conf *conf)
{
    const char *given = conf_str(conf, "trainer-program"), *folder = getenv("RELEARN_LIBEXEC");
    char self[PATH_MAX];
    ssize_t n;

    if (given && given[0])
        return xstrdup(given);
    if (folder && folder[0])
        return fsx_join(folder, "relearn-trainer");
    n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[n > 0 ? n : 0] = '\0';
    *(strrchr(self, '/') ? strrchr(self, '/') : self) = '\0';
    return fsx_join(self, "relearn-trainer");
}

/* Folders of children that died with the process before this one. */
static void sweep(struct agent *a)
{
    CLEANUP_FREE char *runs = fsx_join(agent_state_dir(a), "runs");
    struct err err = {0};

    if (!conf_bool(agent_conf(a), "keep-folders") && fsx_remove_tree(runs, &err))
        log_warn("train.folder", "path=%s error=%s", runs, err.msg);
}

static void on_hand_over(void *ctx)
{
    struct train_self *self = agent_self(ctx);

    for (struct running *r = self->running; r; r = r->next) {
        r->is_handed_over = true;
        train__cancel(r);
    }
}

static int make_key(struct agent *a, struct train_self *self, struct err *err)
{
    CLEANUP_FREE char *folder = fsx_join(conf_str(agent_conf(a), "data"), "keys");
    struct sign_key *key = NULL;

    self->key_path = fsx_join(folder, "train.key");
    if (fsx_mkdirs(folder, err) || sign_key_load(self->key_path, &key, err))
        return -1;
    sign_key_free(key);
    return 0;
}

static int open_agent(struct agent *a, struct err *err)
{
    struct train_self *self = agent_self(a);
    const char *trainer = conf_str(agent_conf(a), "trainer"),
               *file = conf_str(agent_conf(a), "trainers");

    if (trainer && trainer[0] && commands_add(&self->commands, trainer, err))
        return -1;
    if (file && file[0] && commands_add_file(&self->commands, file, err))
        return -1;
    self->program = find_program(agent_conf(a));
    if (access(self->program, X_OK))
        return err_set(
            err, ERR_CHILD, NEXT_FATAL,
            "%s is missing: install it beside this program, or name it by --trainer-program",
            self->program);
    self->beat_timer = loop_timer_new(agent_loop(a), train__on_beat_timer, a);
    self->hand_over_timer = loop_timer_new(agent_loop(a), on_hand_over, a);
    sweep(a);
    return make_key(a, self, err);
}

static void close_agent(struct agent *a)
{
    struct train_self *self = agent_self(a);

    train__kill_all(a);
    loop_timer_free(self->beat_timer);
    loop_timer_free(self->hand_over_timer);
    commands_fini(&self->commands);
    free(self->program);
    free(self->key_path);
}

static bool is_busy(struct agent *a)
{
    return ((struct train_self *)agent_self(a))->running != NULL;
}

static void stopping(struct agent *a)
{
    struct train_self *self = agent_self(a);
    int64_t left_ms = conf_int(agent_conf(a), "stop-timeout") - HAND_OVER_MS;

    train__spare_end(a);
    loop_timer_start(self->hand_over_timer, left_ms > 0 ? left_ms : 1);
}

static void status(struct agent *a, struct json *obj)
{
    struct train_self *self = agent_self(a);
    struct json *list = json_set(obj, "running", json_array());

    json_set_bool(obj, "spare", train__spare_is_ready(self));
    for (struct running *r = self->running; r; r = r->next) {
        struct json *one = json_add(list, json_object());

        json_set_str(one, "line", r->order.line);
        json_set_str(one, "run", r->order.run);
        json_set_int(one, "attempt", r->order.attempt);
        json_set_str(one, "phase", r->progress.phase);
        json_set_int(one, "trial", r->progress.trial);
        json_set_int(one, "trials", r->progress.trials);
        json_set_int(one, "round", r->progress.round);
        json_set_int(one, "rounds", r->progress.rounds);
    }
}

static void metrics(struct agent *a, struct buf *out)
{
    struct train_self *self = agent_self(a);
    size_t n = 0;

    for (const struct waiting *w = self->waiting; w; w = w->next)
        n++;
    buf_addf(out,
             "# TYPE relearn_trainings_running gauge\nrelearn_trainings_running %zu\n# TYPE "
             "relearn_trainings_waiting gauge\nrelearn_trainings_waiting %zu\n",
             self->n_running, n);
}

static const struct conf_option OPTIONS[] = {
    {.name = "jobs",
     .type = CONF_INT,
     .fallback = "1",
     .meta = "N",
     .help = "trainings at once in this instance",
     .min = 1,
     .max = 256},
    {.name = "threads",
     .type = CONF_INT,
     .fallback = "0",
     .meta = "N",
     .help = "threads of one training; 0: one for little data, else all cores",
     .min = 0,
     .max = 1024},
    {.name = "trainer",
     .meta = "NAME=CMD",
     .help = "a trainer that pipelines may name: NAME=/path/to/command ARGUMENT..., no shell"},
    {.name = "trainers", .meta = "FILE", .help = "a file of such lines, for more than one"},
    {.name = "trainer-program",
     .meta = "PATH",
     .help = "the child process; default: relearn-trainer beside this program"},
    {.name = "spare",
     .type = CONF_BOOL,
     .fallback = "true",
     .help = "keep a trainer started and warm for the next run: some 20 MiB for some 10 ms"},
    {.name = "keep-folders",
     .type = CONF_BOOL,
     .fallback = "false",
     .help = "leave the working folders of runs in the state folder, to look into"},
    {0},
};
static const struct agent_input INPUTS[] = {
    {RECORD_TRAINING_PLANNED, INPUT_WORK},
    {RECORD_TRAINING_FINISHED, INPUT_TABLE},
    {RECORD_TRAINING_PROGRESSED, INPUT_TABLE},
};
static const enum record OUTPUTS[] = {RECORD_TRAINING_FINISHED, RECORD_TRAINING_PROGRESSED};

const struct agent_spec train_agent = {
    .name = "train",
    .purpose = "Trains what plan asked for, in child processes: the built-in XGBoost trainer, or "
               "one that its operator allows.",
    .example = "relearn-train --brokers localhost:9092 --share 1/1 --jobs 2",
    .inputs = INPUTS,
    .n_inputs = ARRAY_LEN(INPUTS),
    .outputs = OUTPUTS,
    .n_outputs = ARRAY_LEN(OUTPUTS),
    .options = OPTIONS,
    .self_bytes = sizeof(struct train_self),
    .open = open_agent,
    .close = close_agent,
    .folded = folded,
    .reconcile = reconcile,
    .is_answered = is_answered,
    .drop = drop,
    .is_busy = is_busy,
    .stopping = stopping,
    .ready = train__spare_soon,
    .status = status,
    .metrics = metrics,
};
