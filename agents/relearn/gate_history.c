/* Decisions again.  Events are kept as they lie in the log and decoded when they are folded; the
 * fold only goes forward, and begins anew when a decision had read less than the one before. */
#include "agents/relearn/gate_history.h"

#include <stdlib.h>
#include <string.h>

#include "common/digest.h"
#include "common/json.h"

struct kept { /* an event of the line as it lies in the log */
    char *id, *cause;
    char *value;
    size_t n;
    int64_t offset, time_unix_us;
    int partition;
};
struct kept_list {
    struct kept *items;
    size_t n, cap;
    size_t folded; /* of them, in `view` */
};
struct gate_history {
    char *line;
    struct codec *codec;
    struct kept_list kept[RECORD_COUNT];
    struct line *view;  /* as far as the decision in hand had read */
    struct event *then; /* the decision in hand */
};

static bool is_read(enum record r)
{
    return r == RECORD_MODEL_EVALUATED || r == RECORD_OPERATOR_COMMANDED ||
           r == RECORD_DEPLOYMENT_CHANGED || r == RECORD_GATE_DECIDED ||
           r == RECORD_TRAINING_FINISHED || r == RECORD_DATASET_INGESTED;
}

struct gate_history *gate_history_new(const char *line)
{
    struct gate_history *h = xcalloc(1, sizeof(*h));
    h->line = xstrdup(line);
    h->view = line_new(line);
    return h;
}

void gate_history_codec(struct gate_history *h, struct codec *codec)
{
    h->codec = codec;
}

void gate_history_free(struct gate_history *h)
{
    if (!h)
        return;
    for (int r = 0; r < RECORD_COUNT; r++) {
        for (size_t i = 0; i < h->kept[r].n; i++) {
            free(h->kept[r].items[i].id);
            free(h->kept[r].items[i].cause);
            free(h->kept[r].items[i].value);
        }
        free(h->kept[r].items);
    }
    line_free(h->view);
    event_free(h->then);
    free(h->line);
    free(h);
}

void gate_history_add(struct gate_history *h, const struct event *ev, struct slice framed)
{
    struct kept_list *list = &h->kept[ev->type];
    if (!is_read(ev->type) || !ev->key || strcmp(ev->key, h->line) != 0 || !ev->id || !ev->id[0])
        return;
    list->items = xgrow(list->items, &list->cap, list->n + 1, sizeof(*list->items));
    list->items[list->n++] = (struct kept){.id = xstrdup(ev->id),
                                           .cause = ev->cause ? xstrdup(ev->cause) : NULL,
                                           .value = xmemdup(framed.p, framed.n),
                                           .n = framed.n,
                                           .offset = ev->offset,
                                           .time_unix_us = ev->time_unix_us,
                                           .partition = ev->partition};
}

size_t gate_history_decisions(const struct gate_history *h)
{
    return h->kept[RECORD_GATE_DECIDED].n;
}

const char *gate_again_str(enum gate_again_result r)
{
    static const char *const words[] = {[GATE_AGAIN_SAME] = "same",
                                        [GATE_AGAIN_DIFFERS] = "differs",
                                        [GATE_AGAIN_OLDER] = "older",
                                        [GATE_AGAIN_VOID] = "void",
                                        [GATE_AGAIN_UNKNOWN] = "unknown"};
    return (unsigned)r < GATE_AGAIN_COUNT ? words[r] : "unknown";
}

void gate_again_fini(struct gate_again *a)
{
    arena_fini(&a->arena);
    *a = (struct gate_again){0};
}

/* ---- the fold ---- */

static struct event *event_of(struct gate_history *h, enum record r, size_t i)
{
    const struct kept *k = &h->kept[r].items[i];
    struct event *ev = xcalloc(1, sizeof(*ev));
    struct err none = {0};
    ev->type = r;
    ev->id = arena_strdup(&ev->arena, k->id);
    ev->cause = k->cause ? arena_strdup(&ev->arena, k->cause) : NULL;
    ev->key = arena_strdup(&ev->arena, h->line);
    ev->offset = k->offset;
    ev->time_unix_us = k->time_unix_us;
    ev->partition = k->partition;
    if (codec_decode(h->codec, r, (struct slice){k->value, k->n}, &ev->arena, &ev->rec, &none) == 0)
        return ev;
    event_free(ev);
    return NULL;
}

static void fold_next(struct gate_history *h, enum record r)
{
    struct event *ev = event_of(h, r, h->kept[r].folded++);
    if (ev)
        line_fold(h->view, ev);
}

static void fold_all(struct gate_history *h, enum record r)
{
    while (h->kept[r].folded < h->kept[r].n)
        fold_next(h, r);
}

static void begin_anew(struct gate_history *h)
{
    line_free(h->view);
    h->view = line_new(h->line);
    for (int r = 0; r < RECORD_COUNT; r++)
        h->kept[r].folded = 0;
}

/* So many that count; false when the log has fewer. */
static bool fold_counting(struct gate_history *h, enum record r, int64_t n)
{
    while ((int64_t)h->view->ev[r].n < n && h->kept[r].folded < h->kept[r].n)
        fold_next(h, r);
    return (int64_t)h->view->ev[r].n >= n;
}

/* A decision of a build that did not write down what it had read: everything up to its time. */
static void fold_deployments_until(struct gate_history *h, int64_t unix_ms)
{
    struct kept_list *list = &h->kept[RECORD_DEPLOYMENT_CHANGED];
    while (list->folded < list->n) {
        struct event *ev = event_of(h, RECORD_DEPLOYMENT_CHANGED, list->folded);
        if (ev && EV_REC(ev, deployment_changed)->changed_unix_ms > unix_ms) {
            event_free(ev);
            return;
        }
        list->folded++;
        if (ev)
            line_fold(h->view, ev);
    }
}

static void fold_up_to(struct gate_history *h, enum record r, const char *id)
{
    while (id && !line_has(h->view, r, id) && h->kept[r].folded < h->kept[r].n)
        fold_next(h, r);
}

static bool fold_inputs(struct gate_history *h, size_t i, const struct gate_decided *d)
{
    int64_t evaluations = d->evaluations_read, deployments = d->deployments_read;
    bool is_there = true;
    if (h->kept[RECORD_GATE_DECIDED].folded > i ||
        (d->snapshots_read != ABSENT_I64 &&
         (int64_t)h->view->ev[RECORD_DATASET_INGESTED].n > d->snapshots_read) ||
        (evaluations != ABSENT_I64 &&
         (int64_t)h->view->ev[RECORD_MODEL_EVALUATED].n > evaluations) ||
        (deployments != ABSENT_I64 &&
         (int64_t)h->view->ev[RECORD_DEPLOYMENT_CHANGED].n > deployments))
        begin_anew(h);
    while (h->kept[RECORD_GATE_DECIDED].folded < i)
        fold_next(h, RECORD_GATE_DECIDED);
    fold_all(h, RECORD_OPERATOR_COMMANDED); /* these are looked up by their id alone */
    fold_all(h, RECORD_TRAINING_FINISHED);
    if (d->snapshots_read == ABSENT_I64)
        fold_all(h, RECORD_DATASET_INGESTED);
    else
        is_there = fold_counting(h, RECORD_DATASET_INGESTED, d->snapshots_read);
    if (evaluations == ABSENT_I64)
        fold_up_to(h, RECORD_MODEL_EVALUATED, d->evaluation);
    else
        is_there = fold_counting(h, RECORD_MODEL_EVALUATED, evaluations) && is_there;
    if (deployments == ABSENT_I64)
        fold_deployments_until(h, d->decided_unix_ms);
    else
        is_there = fold_counting(h, RECORD_DEPLOYMENT_CHANGED, deployments) && is_there;
    return is_there;
}

static const struct event *find_cause(const struct line *l, const char *id)
{
    static const enum record CAUSES[] = {RECORD_MODEL_EVALUATED, RECORD_OPERATOR_COMMANDED,
                                         RECORD_DEPLOYMENT_CHANGED, RECORD_GATE_DECIDED};
    for (size_t i = 0; id && i < ARRAY_LEN(CAUSES); i++) {
        const struct event *ev = line_find(l, CAUSES[i], id);
        if (ev)
            return ev;
    }
    return NULL;
}

/* ---- comparing ---- */

static void add_text(struct buf *out, const struct json *j)
{
    if (j)
        json_write(j, 0, false, out);
    else
        buf_add_str(out, "nothing");
}

/* The first member that differs, in words. */
static void say_difference(const struct gate_decided *then, const struct gate_decided *now,
                           char *what, size_t size)
{
    CLEANUP(json_freep) struct json *a = codec_to_json(RECORD_GATE_DECIDED, then);
    CLEANUP(json_freep) struct json *b = codec_to_json(RECORD_GATE_DECIDED, now);
    const char *name;
    const struct json *old;
    for (void *it = json_next(a, NULL, &name, &old); it; it = json_next(a, it, &name, &old)) {
        CLEANUP(buf_fini) struct buf x = {0};
        CLEANUP(buf_fini) struct buf y = {0};
        add_text(&x, old);
        add_text(&y, json_get(b, name));
        if (x.len == y.len && memcmp(x.data, y.data, x.len) == 0)
            continue;
        snprintf(what, size, "%s was %.*s and would be %.*s now", name, 150, x.data, 150, y.data);
        return;
    }
}

/* Recorded by another version of the rules: their verdicts are compared, not their words. */
static bool has_same_verdicts(const struct gate_decided *a, const struct gate_decided *b)
{
    if (strcmp(a->verdict, b->verdict) != 0 || a->rules.n != b->rules.n)
        return false;
    for (size_t i = 0; i < a->rules.n; i++)
        if (strcmp(a->rules.items[i].verdict, b->rules.items[i].verdict) != 0)
            return false;
    return true;
}

static void compare(struct gate_history *h, const struct gate_owed *owed, struct gate_again *ret)
{
    const struct gate_decided *then = ret->then->rec;
    CLEANUP(buf_fini) struct buf a = {0};
    CLEANUP(buf_fini) struct buf b = {0};
    struct err err = {0};
    char id[ID_SIZE];
    id_from_cause(record_topic(RECORD_GATE_DECIDED), ret->cause->id, owed->about, id);
    if (codec_encode(h->codec, RECORD_GATE_DECIDED, then, &a, &err) ||
        codec_encode(h->codec, RECORD_GATE_DECIDED, &ret->now, &b, &err)) {
        ret->result = GATE_AGAIN_UNKNOWN;
        snprintf(ret->what, sizeof(ret->what), "%.300s", err.msg);
        return;
    }
    bool is_same = a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
    if (is_same && strcmp(id, ret->then->id) == 0)
        return;
    ret->result = GATE_AGAIN_DIFFERS;
    if (is_same)
        snprintf(ret->what, sizeof(ret->what), "the bytes are the same, but its id would be %s",
                 id);
    else
        say_difference(then, &ret->now, ret->what, sizeof(ret->what));
    if (then->judge == GATE_JUDGE_VERSION || !has_same_verdicts(then, &ret->now))
        return;
    ret->result = GATE_AGAIN_OLDER;
    snprintf(ret->what, sizeof(ret->what),
             "decided by version %lld of the rules; version %d comes to the same verdicts",
             (long long)then->judge, GATE_JUDGE_VERSION);
}

/* ---- again ---- */

static bool find_inputs(struct gate_history *h, size_t i, struct gate_again *ret)
{
    const struct gate_decided *d = ret->then->rec;
    bool is_there = fold_inputs(h, i, d);
    ret->cause = find_cause(h->view, ret->then->cause);
    ret->result = GATE_AGAIN_UNKNOWN;
    if (line_has(h->view, RECORD_GATE_DECIDED, ret->then->id) ||
        (strcmp(d->verdict, "refused") != 0 && d->base != h->view->decisions_base)) {
        ret->result = GATE_AGAIN_VOID;
        snprintf(ret->what, sizeof(ret->what), "another decision on base %lld was there first",
                 (long long)d->base);
    } else if (!ret->cause) {
        snprintf(ret->what, sizeof(ret->what), "what it answers, %s, is not in the log",
                 ret->then->cause ? ret->then->cause : "nothing");
    } else if (!is_there) {
        snprintf(ret->what, sizeof(ret->what),
                 "it rests on %lld evaluations and %lld deployments, and the log has only %zu and "
                 "%zu",
                 (long long)d->evaluations_read, (long long)d->deployments_read,
                 h->view->ev[RECORD_MODEL_EVALUATED].n, h->view->ev[RECORD_DEPLOYMENT_CHANGED].n);
    } else {
        ret->result = GATE_AGAIN_SAME;
    }
    return ret->result == GATE_AGAIN_SAME;
}

/* Fields that a build did not write are none that it got wrong. */
static void forget_what_was_not_written(const struct gate_decided *then, struct gate_decided *now)
{
    if (then->judge > 1)
        return;
    now->judge = then->judge;
    now->evaluations_read = then->evaluations_read;
    now->deployments_read = then->deployments_read;
    now->snapshots_read = then->snapshots_read;
}

void gate_history_again(struct gate_history *h, size_t i, const struct pipeline *try,
                        gate_policy_fn policy, void *ctx, struct gate_again *ret)
{
    struct gate_owed owed;
    struct err err = {0};
    *ret = (struct gate_again){.result = GATE_AGAIN_UNKNOWN};
    event_free(h->then);
    ret->then = h->then = event_of(h, RECORD_GATE_DECIDED, i);
    if (!h->then) {
        snprintf(ret->what, sizeof(ret->what), "it cannot be decoded");
        return;
    }
    if (!find_inputs(h, i, ret))
        return;
    const struct gate_decided *d = ret->then->rec;
    gate_answer(h->view, ret->cause, d->decided_unix_ms, &ret->arena, &owed);
    if (owed.kind == GATE_OWES_NOTHING) {
        ret->result = GATE_AGAIN_DIFFERS;
        snprintf(ret->what, sizeof(ret->what), "nothing would be decided on %s now",
                 ret->cause->id);
        return;
    }
    const struct pipeline *p = NULL;
    ret->is_judged = owed.kind == GATE_JUDGE;
    if (owed.policy && !(p = try ? try : policy(ctx, owed.policy, &err))) {
        ret->result = GATE_AGAIN_UNKNOWN;
        snprintf(ret->what, sizeof(ret->what), "its policy is not there: %.300s", err.msg);
        return;
    }
    gate_complete(h->view, p, d->decided_unix_ms, &ret->arena, &owed);
    ret->now = owed.decision;
    forget_what_was_not_written(d, &ret->now);
    compare(h, &owed, ret);
}
