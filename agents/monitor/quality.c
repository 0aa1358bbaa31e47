#include "agents/monitor/quality.h"

#include <math.h>
#include <string.h>

#include "common/metrics.h"

enum { MOST_VALUES = 3 };

struct rows {
    struct metric_input in;
    size_t labelled, unusable;
};

static void gather(const struct piece *pieces, enum task task, struct arena *arena,
                   struct rows *ret)
{
    size_t n = 0, k = 1;
    double *p;
    float *y;

    for (const struct piece *piece = pieces; piece; piece = piece->next) {
        n += piece->n;
        k = piece->k;
    }
    p = arena_alloc(arena, (n * k + 1) * sizeof(*p));
    y = arena_alloc(arena, (n + 1) * sizeof(*y));
    ret->in = (struct metric_input){.p = p, .y = y, .k = k, .task = task};
    for (const struct piece *piece = pieces; piece; piece = piece->next) {
        for (size_t i = 0; i < piece->n; i++) {
            ret->unusable += piece->state[i] == ROW_UNUSABLE;
            if (piece->state[i] != ROW_LABELLED || piece->k != k)
                continue;
            memcpy(p + ret->in.rows * k, piece->p + i * k, k * sizeof(*p));
            y[ret->in.rows++] = piece->y[i];
        }
    }
    ret->labelled = ret->in.rows + ret->unusable;
}

static double value_of(const struct metric_spec *m, const struct rows *rows,
                       const char **ret_undefined)
{
    double v = metric_value(m, &rows->in, ret_undefined);

    if (m->id == METRIC_ACCURACY && rows->labelled)
        v = (isnan(v) ? 0 : v) * (double)rows->in.rows / (double)rows->labelled;
    return v;
}

/* The bound's metric is wanted too; *ret_wanted: which one that is, n when there is none. */
static size_t metrics_of(enum task task, const char *bound, struct metric_spec ret[MOST_VALUES],
                         size_t *ret_wanted)
{
    struct metric_spec more;
    size_t n = 2, at = 0;

    ret[0] = metric_of(task == TASK_REGRESSION ? METRIC_MAE : METRIC_ACCURACY);
    ret[1] = metric_of(task == TASK_REGRESSION ? METRIC_RMSE : METRIC_LOGLOSS);
    *ret_wanted = MOST_VALUES;
    if (!bound || metric_parse(bound, &more, NULL) || !metric_fits(more.id, task))
        return n;
    while (at < n && !metric_is_same(&ret[at], &more))
        at++;
    ret[at] = more;
    *ret_wanted = at;
    return at == n ? n + 1 : n;
}

static const char *bound_str(const struct quality_bound *b, struct arena *arena)
{
    if (!isnan(b->at_least))
        return arena_printf(arena, "at least %.4g is asked", b->at_least);
    return arena_printf(arena, "at most %.4g is asked", b->at_most);
}

/* NaN is neither below nor above: the caller has looked for it. */
static bool is_broken(const struct quality_bound *b, double v)
{
    return v < b->at_least || v > b->at_most;
}

static void judge(const struct rows *rows, const struct quality_bound *bound, double value,
                  const char *undefined, int64_t total, const char *what, struct arena *arena,
                  struct quality *ret)
{
    int64_t enough = total < QUALITY_MIN_ROWS ? total : QUALITY_MIN_ROWS;

    ret->verdict = "unknown";
    if (rows->labelled == 0)
        ret->reason = arena_printf(arena, "%s: no labels have come", what);
    else if ((int64_t)rows->labelled < enough)
        ret->reason = arena_printf(arena, "%s: too few for a verdict", what);
    else if (!bound->metric)
        ret->verdict = "ok", ret->reason = what;
    else if (isnan(value))
        ret->reason = arena_printf(arena, "%s: %s is undefined: %s", what, bound->metric,
                                   undefined ? undefined : "it does not fit the task");
    else {
        ret->verdict = is_broken(bound, value) ? "degraded" : "ok";
        ret->reason = arena_printf(arena, "%s; %s", what, bound_str(bound, arena));
    }
}

void quality_judge(const struct piece *pieces, const enum task *task,
                   const struct quality_bound *bound, int64_t total, int64_t generation,
                   struct arena *arena, struct quality *ret)
{
    struct named_value *values = arena_alloc(arena, MOST_VALUES * sizeof(*values));
    struct metric_spec metrics[MOST_VALUES];
    struct rows rows = {0};
    double value = NAN;
    const char *undefined = NULL, *what;
    size_t n, wanted = MOST_VALUES;

    *ret = (struct quality){.verdict = "unknown"};
    if (!task) {
        ret->reason = arena_printf(arena,
                                   "the model of generation %lld cannot be read, so its labels say "
                                   "nothing",
                                   (long long)generation);
        return;
    }
    gather(pieces, *task, arena, &rows);
    what = arena_printf(arena, "generation %lld over %zu labelled of %lld predictions",
                        (long long)generation, rows.labelled, (long long)total);
    if (rows.unusable)
        what = arena_printf(arena, "%s (%zu labels are of no class that it knows)", what,
                            rows.unusable);
    n = rows.labelled ? metrics_of(*task, bound->metric, metrics, &wanted) : 0;
    for (size_t i = 0; i < n; i++) {
        const char *why = NULL;
        char name[METRIC_NAME_SIZE];

        metric_str(&metrics[i], name);
        values[i] =
            (struct named_value){arena_strdup(arena, name), value_of(&metrics[i], &rows, &why)};
        what = arena_printf(arena, "%s%s %s %.4g", what, i ? "," : ":", values[i].name,
                            values[i].value);
        if (i != wanted)
            continue;
        value = values[i].value;
        undefined = why;
    }
    ret->values = (struct named_value_list){values, n};
    judge(&rows, bound, value, undefined, total, what, arena, ret);
}
