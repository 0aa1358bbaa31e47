#include "tests/support/plan_world.h"

#include <math.h>

#include "tests/support/make_event.h"

static void die(const char *what, const char *detail)
{
    fprintf(stderr, "plan_world: %s: %s\n", what, detail);
    abort();
}

void plan_world_init(struct plan_world *w, const char *more)
{
    CLEANUP_FREE char *text = xasprintf("apiVersion: relearn/v1\nkind: Pipeline\nname: p\ndataset: "
                                        "{name: set, label: y}\ntask: binary\n%s\n",
                                        more);
    struct err err = {0};

    *w = (struct plan_world){.line = line_new("p"), .now_unix_ms = WORLD_START_MS};
    if (pipeline_parse(slice_str(text), "p.yaml", &w->declared, &err))
        die("pipeline", err.msg);
    w->pipeline = w->declared;
}

void plan_world_fini(struct plan_world *w)
{
    line_free(w->line);
    pipeline_free(w->declared);
    plan_output_fini(&w->out);
    for (size_t i = 0; i < w->n_log; i++)
        event_free(w->log[i]);
    free(w->log);
    for (size_t i = 0; i < w->n_held; i++)
        event_free(w->held[i]);
    free(w->held);
    buf_fini(&w->said);
    arena_fini(&w->arena);
}

static struct event *copy_of(const struct event *ev)
{
    struct event_parts parts = {.type = ev->type,
                                .rec = ev->rec,
                                .id = ev->id,
                                .key = ev->key,
                                .time_unix_ms = ev->time_unix_us / 1000,
                                .hops = ev->hops};
    struct event *copy = make_event(&parts);

    copy->cause = arena_strdup(&copy->arena, ev->cause);
    copy->offset = ev->offset;
    return copy;
}

static const struct event *take(struct plan_world *w, struct event *ev)
{
    w->log = xgrow(w->log, &w->cap_log, w->n_log + 1, sizeof(*w->log));
    w->log[w->n_log++] = copy_of(ev);
    line_fold(w->line, ev);
    return w->log[w->n_log - 1]; /* as the line frees void ones */
}

const struct event *plan_world_fold(struct plan_world *w, enum record r, const void *rec,
                                    const char *id, const struct event *cause, const char *about,
                                    int hops)
{
    struct event_parts parts = {.type = r,
                                .rec = rec,
                                .id = id,
                                .cause = cause,
                                .about = about,
                                .time_unix_ms = w->now_unix_ms,
                                .hops = hops};

    return take(w, make_event(&parts));
}

/* ---- what is said ---- */

static void add_action(const struct plan_world *w, const struct plan_action *a, struct buf *out)
{
    const struct training_planned *p = &a->rec;

    buf_addf(out, "%s%s", out->len ? "; " : "", p->kind);
    if (strcmp(p->kind, "requested") == 0) {
        for (size_t i = 0; i < p->covers.n; i++)
            buf_addf(out, " %s", p->covers.items[i]);
        return;
    }
    if (strcmp(p->kind, "closed") == 0) {
        buf_addf(out, " %s", p->outcome);
        return;
    }
    buf_addf(out, " %s", a->cause->type == RECORD_TRAINING_PLANNED ? "~" : a->cause->id);
    if (strcmp(p->kind, "deferred") == 0) {
        if (p->until_unix_ms != ABSENT_I64)
            buf_addf(out, " +%llds", (long long)((p->until_unix_ms - w->now_unix_ms) / 1000));
        else
            buf_add_str(out, p->run ? " run" : " resume");
    }
}

/* As one text, with the causes and what they are about, so that two decisions can be compared. */
static void exact(const struct plan_output *o, struct buf *out)
{
    for (size_t i = 0; i < o->n; i++)
        buf_addf(out, "%s|%s|%s|%lld|%s\n", o->actions[i].cause->id, o->actions[i].about,
                 o->actions[i].rec.kind, (long long)o->actions[i].rec.until_unix_ms,
                 o->actions[i].rec.reason);
    buf_addf(out, "wake %lld", (long long)o->wake_unix_ms);
}

static void compare(const struct plan_world *w, const struct line *line, const char *how)
{
    struct plan_input in = {.line = line, .pipeline = w->pipeline, .now_unix_ms = w->now_unix_ms};
    CLEANUP(plan_output_fini) struct plan_output other = {0};
    CLEANUP(buf_fini) struct buf a = {0}, b = {0};

    plan_decide(&in, NULL, &other);
    exact(&w->out, &a);
    exact(&other, &b);
    if (strcmp(a.data, b.data) != 0) {
        fprintf(stderr, "first:\n%s\nthen:\n%s\n", a.data, b.data);
        die("another decision", how);
    }
}

void plan_world_decide(struct plan_world *w)
{
    struct plan_input in = {
        .line = w->line, .pipeline = w->pipeline, .now_unix_ms = w->now_unix_ms};
    struct line *again = line_new("p");

    plan_decide(&in, &w->memo, &w->out);
    compare(w, w->line, "without memory");
    for (int r = RECORD_COUNT - 1; r > RECORD_NONE; r--)
        for (size_t i = 0; i < w->n_log; i++)
            if ((int)w->log[i]->type == r)
                line_fold(again, copy_of(w->log[i]));
    compare(w, again, "after reading the log again");
    line_free(again);
    for (size_t i = 0; i < w->out.n; i++)
        if (!w->out.actions[i].rec.reason || !*w->out.actions[i].rec.reason)
            die("no reason given", w->out.actions[i].rec.kind);
}

void plan_world_read_back(struct plan_world *w)
{
    for (size_t i = 0; i < w->out.n; i++)
        plan_world_fold(w, RECORD_TRAINING_PLANNED, &w->out.actions[i].rec, NULL,
                        w->out.actions[i].cause, w->out.actions[i].about, 0);
}

/* ---- what happens ---- */

static void on_dataset(struct plan_world *w, const char *id, int hops)
{
    bool is_accepted = id[0] != 'r';
    struct dataset_ingested d = {.line = "p",
                                 .pipeline = "p",
                                 .dataset = id[0] == 'o' ? "another" : "set",
                                 .version = id,
                                 .dataset_event = "e",
                                 .status = is_accepted ? "accepted" : "rejected",
                                 .reason = "because",
                                 .snapshot = is_accepted ? id : NULL,
                                 .seconds = 1,
                                 .rows = 100,
                                 .train_rows = id[0] == 'e' ? 0 : 70};

    plan_world_fold(w, RECORD_DATASET_INGESTED, &d, id, NULL, NULL, hops);
}

static void on_drift(struct plan_world *w, const char *id, int64_t generation, int hops)
{
    struct drift_detected d = {.line = "p",
                               .source = "test",
                               .kind = "data",
                               .value = NAN,
                               .threshold = NAN,
                               .generation = generation,
                               .windows = ABSENT_I64,
                               .summary = "moved"};

    plan_world_fold(w, RECORD_DRIFT_DETECTED, &d, id, NULL, NULL, hops);
}

static const struct event *on_command(struct plan_world *w, const char *id, const char *command)
{
    struct operator_commanded c = {.line = "p",
                                   .command = command,
                                   .generation = ABSENT_I64,
                                   .to_generation = ABSENT_I64,
                                   .by = "ann",
                                   .reason = "a look"};

    return plan_world_fold(w, RECORD_OPERATOR_COMMANDED, &c, id, NULL, NULL, 0);
}

static void on_model(struct plan_world *w, const char *status)
{
    struct training_finished m = {.line = "p",
                                  .run = w->line->in_flight->id,
                                  .attempt = 1,
                                  .status = status,
                                  .reason = "boom",
                                  .seconds = 1,
                                  .cpu_seconds = w->cpu_seconds};

    plan_world_fold(w, RECORD_TRAINING_FINISHED, &m, NULL, w->line->in_flight, "run", 0);
}

static const struct event *on_decision(struct plan_world *w, const char *run, const char *verdict)
{
    struct gate_decided d = {.line = "p",
                             .base = w->line->decisions_base,
                             .run = run,
                             .verdict = verdict,
                             .reason = "worse",
                             .by = "policy",
                             .deadline_unix_ms = ABSENT_I64};

    return plan_world_fold(w, RECORD_GATE_DECIDED, &d, NULL, NULL,
                           arena_printf(&w->arena, "decision %zu", w->n_log), 0);
}

struct change {
    const char *action, *run;
    bool is_final, is_alone; /* is_alone: the candidate has no route any more */
    bool is_command;         /* a rollback command is its cause */
    bool is_undecided;       /* names no decision */
};

static void on_change(struct plan_world *w, struct change c)
{
    const struct line *l = w->line;
    const struct route *champion = line_champion(l);
    bool is_new = strcmp(c.action, "replace") == 0 || strcmp(c.action, "canary_begin") == 0;
    int64_t generation = l->generation + (is_new || c.is_alone);
    const struct event *command =
        c.is_command ? on_command(w, arena_printf(&w->arena, "c-undo-%zu", w->n_log), "rollback")
                     : NULL;
    struct route routes[] = {
        {.generation = c.is_final ? generation
                       : champion ? champion->generation
                                  : 0,
         .model = "m",
         .role = "champion",
         .weight = 1},
        {.generation = generation, .model = "n", .role = "canary", .weight = 0.1}};
    struct deployment_changed d = {.line = "p",
                                   .kind = "changed",
                                   .base = l->deployments_base,
                                   .generation = generation,
                                   .action = c.action,
                                   .routes = {routes, c.is_final ? 1 : 2},
                                   .run = c.run,
                                   .is_final = c.is_final,
                                   .decision = c.is_undecided ? NULL : "decision",
                                   .reason = "so",
                                   .by = "deploy",
                                   .until_unix_ms = ABSENT_I64};

    plan_world_fold(w, RECORD_DEPLOYMENT_CHANGED, &d, NULL, command,
                    arena_printf(&w->arena, "change %zu", w->n_log), 0);
}

static void on_void(struct plan_world *w)
{
    struct training_planned p = {.line = "p",
                                 .kind = "requested",
                                 .base = w->line->plans_base + 5,
                                 .until_unix_ms = ABSENT_I64,
                                 .deadline_unix_ms = ABSENT_I64};
    const char *covers[] = {"d1", "d2", "a1"};

    p.covers = (struct string_list){covers, ARRAY_LEN(covers)};
    plan_world_fold(w, RECORD_TRAINING_PLANNED, &p, "void", NULL, NULL, 0);
}

/* True when the word was about the run in flight or the deployments. */
static bool on_run(struct plan_world *w, const char *word)
{
    const char *run = w->line->in_flight ? w->line->in_flight->id : NULL;

    if (strcmp(word, "cand") == 0)
        on_model(w, "candidate");
    else if (strcmp(word, "fail") == 0)
        on_model(w, "failed");
    else if (strcmp(word, "reject") == 0 || strcmp(word, "again") == 0)
        on_decision(w, run, word);
    else if (strcmp(word, "incon") == 0)
        on_decision(w, run, "inconclusive");
    else if (strcmp(word, "live") == 0)
        on_change(w, (struct change){.action = "replace", .run = run, .is_final = true});
    else if (strcmp(word, "canary") == 0)
        on_change(w, (struct change){.action = "canary_begin", .run = run});
    else if (strcmp(word, "step") == 0)
        on_change(w, (struct change){.action = "canary_step", .run = run});
    else if (strcmp(word, "back") == 0)
        on_change(w, (struct change){.action = "rollback", .run = run, .is_final = true});
    else if (strcmp(word, "undo") == 0)
        on_change(w, (struct change){
                         .action = "rollback", .run = run, .is_final = true, .is_command = true});
    else if (strcmp(word, "undo0") == 0)
        on_change(
            w, (struct change){
                   .action = "rollback", .is_final = true, .is_undecided = true, .is_alone = true});
    else if (strcmp(word, "other") == 0)
        on_change(w, (struct change){.action = "replace", .run = "another run", .is_final = true});
    else
        return false;
    return true;
}

static void say(struct plan_world *w, bool is_read_back)
{
    CLEANUP(buf_fini) struct buf b = {0};

    plan_world_decide(w);
    for (size_t i = 0; i < w->out.n; i++)
        add_action(w, &w->out.actions[i], &b);
    buf_addf(&w->said, "%s%s", w->said.len ? " | " : "", b.len ? b.data : "-");
    if (is_read_back)
        plan_world_read_back(w);
}

/* A rival has read as much as we have; its words reach the log when others are there already. */
static void hold(struct plan_world *w)
{
    plan_world_decide(w);
    for (size_t i = 0; i < w->out.n; i++) {
        struct event_parts parts = {.type = RECORD_TRAINING_PLANNED,
                                    .rec = &w->out.actions[i].rec,
                                    .cause = w->out.actions[i].cause,
                                    .about = w->out.actions[i].about,
                                    .time_unix_ms = w->now_unix_ms};

        w->held = xgrow(w->held, &w->cap_held, w->n_held + 1, sizeof(*w->held));
        w->held[w->n_held++] = make_event(&parts);
    }
}

static void late(struct plan_world *w)
{
    for (size_t i = 0; i < w->n_held; i++)
        take(w, w->held[i]);
    w->n_held = 0;
}

static void on_word(struct plan_world *w, char *word)
{
    char *colon = strchr(word, ':'), *hops = strchr(word, '^');
    int n_hops = hops ? (int)strtol(hops + 1, NULL, 10) : 0;
    bool is_named = word[0] && word[1] >= '0' && word[1] <= '9';

    if (strcmp(word, "=") == 0 || strcmp(word, "?") == 0) {
        say(w, word[0] == '=');
        return;
    }
    if (strncmp(word, "t+", 2) == 0 || strncmp(word, "t-", 2) == 0) {
        w->now_unix_ms += (int64_t)(strtod(word + 1, NULL) * 1000);
        return;
    }
    if (strcmp(word, "pipe-") == 0 || strcmp(word, "pipe+") == 0) {
        w->pipeline = word[4] == '+' ? w->declared : NULL;
        return;
    }
    if (strcmp(word, "hold") == 0) {
        hold(w);
        return;
    }
    if (strcmp(word, "late") == 0) {
        late(w);
        return;
    }
    if (strcmp(word, "void") == 0) {
        on_void(w);
        return;
    }
    if (colon)
        *colon = '\0';
    if (hops)
        *hops = '\0';
    if (is_named && strchr("droe", word[0]))
        on_dataset(w, word, n_hops);
    else if (is_named && word[0] == 'a')
        on_drift(w, word, colon ? strtoll(colon + 1, NULL, 10) : ABSENT_I64, n_hops);
    else if (is_named && word[0] == 'c' && colon)
        on_command(w, word, colon + 1);
    else if (!on_run(w, word))
        die("unknown word", word);
}

void plan_world_run(struct plan_world *w, const char *script)
{
    CLEANUP_FREE char *copy = xstrdup(script);
    char *rest = NULL;

    buf_reset(&w->said);
    for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        on_word(w, word);
    if (!w->said.data)
        buf_add_str(&w->said, "");
}
