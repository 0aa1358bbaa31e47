/* A history of one line from anywhere: each line of the input is a JSON object {"topic", "id",
 * "cause", "rec"}, an event as the log may have it.  It is folded, and whatever each agent decides
 * from the fold it decides without falling over; folded again, it changes nothing. */
#include <string.h>

#include "agents/deploy/rollout.h"
#include "agents/evaluate/owed.h"
#include "agents/plan/policy.h"
#include "agents/train/owed.h"
#include "common/codec.h"
#include "common/gate.h"
#include "common/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { EVENTS_MAX = 64 };
#define NOW_UNIX_MS 1767225600000

static struct pipeline *pipelines[2];

static void end(void)
{
    for (size_t i = 0; i < ARRAY_LEN(pipelines); i++)
        pipeline_free(pipelines[i]);
}

static void begin(void)
{
    static const char *const texts[] = {
        "apiVersion: relearn/v1\nkind: Pipeline\nname: p\ndataset: {name: d, label: y}\n"
        "task: binary\n",
        "apiVersion: relearn/v1\nkind: Pipeline\nname: p\ndataset: {name: d, label: y}\n"
        "task: multiclass\ngate: {approval: manual, rules: [{metric: accuracy, no_worse_than: "
        "champion, by: 0.1, by_interval: true}]}\ndeploy: {strategy: canary, steps: [10, 50, "
        "100]}\n",
    };
    struct err err;

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        BUG_ON(pipeline_parse(slice_str(texts[i]), "p", &pipelines[i], &err));
    atexit(end);
}

static struct event *event_of(const struct json *j, size_t i)
{
    struct event *ev = xcalloc(1, sizeof(*ev));
    const char *id = json_get_str(j, "id", "");
    struct err err = {0};

    ev->type = record_of_topic(json_get_str(j, "topic", ""));
    ev->id = arena_strdup(&ev->arena, id[0] ? id : "e");
    ev->cause = arena_strdup(&ev->arena, json_get_str(j, "cause", NULL));
    ev->correlation = ev->id;
    ev->time_unix_us = json_get_int(j, "time_unix_us", (int64_t)i);
    ev->offset = (int64_t)i;
    ev->key = "p";
    if (ev->type == RECORD_NONE || !record_is_line_keyed(ev->type) ||
        codec_from_json(ev->type, json_get(j, "rec"), &ev->arena, &ev->rec, &err)) {
        event_free(ev);
        return NULL;
    }
    return ev;
}

static void ask_line(const struct line *l)
{
    BUG_ON(l->in_flight && l->in_flight->type != RECORD_TRAINING_PLANNED);
    for (int r = 1; r < RECORD_COUNT; r++)
        for (size_t i = 0; i < l->ev[r].n; i++) {
            const struct event *ev = l->ev[r].items[i];

            BUG_ON(!line_has(l, (enum record)r, ev->id) ||
                   line_find(l, (enum record)r, ev->id) != ev);
            (void)line_answer(l, (enum record)r, ev->id);
            (void)line_is_covered(l, ev->id);
            (void)line_plan(l, ev->id);
            (void)line_closed(l, ev->id);
            (void)line_model(l, ev->id);
            (void)gate_is_answered(l, ev);
            (void)plan_is_answered(l, ev);
            (void)rollout_is_answered(l, ev);
            (void)evaluate_is_answered(l, ev);
            (void)train_is_answered(l, ev);
        }
    (void)line_champion(l);
    (void)line_canary(l);
    (void)rollout_is_under_way(l);
}

static void ask_deploy(const struct line *l, const struct pipeline *p, struct arena *arena)
{
    const struct serving_report serving = {.serving = 1};
    struct rollout_owed owed = {0};

    rollout_find_owed(l, p, &serving, NOW_UNIX_MS, arena, &owed);
    if (owed.is_owed && owed.needs_pipeline && p)
        rollout_begin(l, p, owed.cause, NOW_UNIX_MS, arena, &owed.change);
    BUG_ON(owed.is_owed && (!owed.cause || (p && !owed.change.kind)));
}

static void ask_gate(const struct line *l, const struct pipeline *p, struct arena *arena)
{
    struct gate_owed owed = {0};

    gate_find_owed(l, NOW_UNIX_MS, arena, &owed);
    BUG_ON(owed.kind != GATE_OWES_NOTHING && !owed.cause);
    if (owed.kind != GATE_OWES_NOTHING && (p || !owed.policy)) {
        gate_complete(l, p, NOW_UNIX_MS, arena, &owed);
        BUG_ON(!owed.decision.verdict || !owed.decision.reason || !owed.about);
    }
}

static void ask_agents(const struct line *l, const struct pipeline *p)
{
    CLEANUP(arena_fini) struct arena arena = {0};
    const struct plan_input in = {l, p, NOW_UNIX_MS};
    const struct train_view view = {.instance = "train-1", .now_unix_ms = NOW_UNIX_MS};
    struct plan_output plans = {0};
    struct train_owed run = {0};
    struct evaluate_owed evaluation = {0};

    plan_decide(&in, NULL, &plans);
    for (size_t i = 0; i < plans.n; i++)
        BUG_ON(!plans.actions[i].cause || !plans.actions[i].rec.reason);
    plan_output_fini(&plans);
    train_find_owed(l, &view, &run);
    BUG_ON(run.kind == TRAIN_OWES_RUN && !run.plan);
    evaluate_find_owed(l, &evaluation);
    BUG_ON(evaluation.cause && !evaluation.model);
    ask_gate(l, p, &arena);
    ask_deploy(l, p, &arena);
}

/* Folds all of it; returns how many were new. */
static size_t fold_all(struct line *l, struct slice text)
{
    size_t n = 0;

    for (size_t i = 0; text.n && i < EVENTS_MAX; i++) {
        const char *end = memchr(text.p, '\n', text.n);
        struct slice line = {text.p, end ? (size_t)(end - text.p) : text.n};
        struct json *j = json_parse(line, "fuzz", NULL);
        struct event *ev = json_is_object(j) ? event_of(j, i) : NULL;

        n += ev && line_fold(l, ev);
        json_free(j);
        text.p += line.n + (end != NULL);
        text.n -= line.n + (end != NULL);
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct slice text = {(const char *)data, n};
    struct line *l;
    uint64_t version;

    if (!pipelines[0])
        begin();
    l = line_new("p");
    fold_all(l, text);
    version = l->version;
    ask_line(l);
    for (size_t i = 0; i < ARRAY_LEN(pipelines); i++)
        ask_agents(l, pipelines[i]);
    ask_agents(l, NULL);
    BUG_ON(fold_all(l, text) != 0 || l->version != version);
    line_free(l);
    return 0;
}
