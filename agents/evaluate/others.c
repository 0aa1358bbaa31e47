#include "agents/evaluate/others.h"

#include <math.h>

#include "agents/evaluate/baselines.h"
#include "agents/evaluate/rows.h"

/* One model on the rows of some snapshots. */
struct rival {
    const char *name, *model; /* model NULL: `why` */
    char *const *tests;
    size_t n_tests;
    const char *why;
};
struct meeting {
    struct contestant rival;
    struct test_rows rows;
    double *candidate, *other;
};

static void meeting_fini(struct meeting *m)
{
    contestant_fini(&m->rival);
    rows_fini(&m->rows);
    free(m->candidate);
    free(m->other);
}

/* NULL, or why the two cannot be compared. */
static const char *meet(const struct others *o, const struct rival *r, struct arena *arena,
                        struct meeting *m)
{
    const struct model *candidate = o->candidate->model;
    struct err err = {0};
    const char *why;

    if (r->why)
        return r->why;
    if (contestant_open(o->artifacts, r->model, &m->rival, &err))
        return arena_strdup(arena, err.msg);
    why = contestant_why_not(candidate, m->rival.model);
    if (why)
        return why;
    if (rows_load(o->artifacts, r->tests, r->n_tests, candidate, m->rival.model, &m->rows, &err) ||
        contestant_answer(o->candidate, &m->rows.candidate, &m->candidate, &err) ||
        contestant_answer(&m->rival, &m->rows.champion, &m->other, &err))
        return arena_strdup(arena, err.msg);
    contestant_align(candidate, m->rival.model, m->rows.champion.rows, &m->other);
    return NULL;
}

static void compare_with(const struct others *o, const struct rival *r, struct arena *arena,
                         struct evaluation_baseline_list *list)
{
    CLEANUP(meeting_fini) struct meeting m = {0};
    struct comparison c = *o->comparison;
    struct baseline b = {.name = r->name, .model = r->model};

    b.why = meet(o, r, arena, &m);
    if (!b.why) {
        c.rows = &m.rows.candidate;
        c.candidate = m.candidate;
        b.p = m.other;
    }
    baselines_append(&c, &b, o->comparisons, arena, list);
}

/* ---- golden ---- */

static void compare_golden(const struct others *o, struct arena *arena,
                           struct evaluation_baseline_list *list)
{
    const char *pinned = o->comparison->pipeline->golden;
    char *tests[] = {(char *)(uintptr_t)pinned};
    struct rival r = {.name = "golden", .model = o->champion, .tests = tests, .n_tests = 1};

    if (!pinned)
        r.why = "the pipeline pins no snapshot (evaluate.golden)";
    else if (!o->champion)
        r.why = "no model is in service";
    compare_with(o, &r, arena, list);
}

/* ---- models that served ---- */

static struct rival of_model(const struct others *o, const char *name, const char *model)
{
    return (struct rival){.name = name, .model = model, .tests = o->tests, .n_tests = o->n_tests};
}

static void compare_last_good(const struct others *o, struct arena *arena,
                              struct evaluation_baseline_list *list)
{
    struct rival r = of_model(o, "last_good", o->past.n ? o->past.items[0] : NULL);

    if (!r.model)
        r.why = "no other model has served";
    compare_with(o, &r, arena, list);
}

/* How much better the candidate is; what is undefined is no hindrance. */
static double gain(const struct evaluation_baseline *b)
{
    struct metric_spec m;

    if (isnan(b->difference) || metric_parse(b->metric, &m, NULL))
        return INFINITY;
    return metric_higher_is_better(m.id) ? b->difference : -b->difference;
}

/* Of each metric the one that leaves the least gain; lists are of the same metrics in one order. */
static void keep_hardest(const struct evaluation_baseline_list *met, size_t n, struct arena *arena,
                         struct evaluation_baseline_list *list)
{
    size_t n_metrics = met[0].n;
    struct evaluation_baseline *items = arena_alloc(arena, (list->n + n_metrics) * sizeof(*items));

    if (list->n)
        memcpy(items, list->items, list->n * sizeof(*items));
    for (size_t i = 0; i < n_metrics; i++) {
        const struct evaluation_baseline *hardest = &met[0].items[i];

        for (size_t k = 1; k < n; k++)
            if (gain(&met[k].items[i]) < gain(hardest))
                hardest = &met[k].items[i];
        items[list->n + i] = *hardest;
    }
    *list = (struct evaluation_baseline_list){items, list->n + n_metrics};
}

static void compare_best(const struct others *o, struct arena *arena,
                         struct evaluation_baseline_list *list)
{
    struct evaluation_baseline_list met[OTHERS_WINDOW + 1] = {{0}};
    struct rival none = {.name = "best", .why = "no model is in service, and none has been"};
    size_t n = 0;

    if (o->champion) {
        struct rival r = of_model(o, "best", o->champion);

        compare_with(o, &r, arena, &met[n++]);
    }
    for (size_t i = 0; i < o->past.n && i < OTHERS_WINDOW; i++) {
        struct rival r = of_model(o, "best", o->past.items[i]);

        compare_with(o, &r, arena, &met[n++]);
    }
    if (n == 0)
        compare_with(o, &none, arena, &met[n++]);
    keep_hardest(met, n, arena, list);
}

static bool wants(const struct others *o, const char *name)
{
    const struct pipeline *p = o->comparison->pipeline;

    for (size_t i = 0; i < p->n_rules; i++)
        if (p->rules[i].baseline && strcmp(p->rules[i].baseline, name) == 0)
            return true;
    return false;
}

void others_compare(const struct others *o, struct arena *arena,
                    struct evaluation_baseline_list *ret)
{
    if (wants(o, "golden") || o->comparison->pipeline->golden)
        compare_golden(o, arena, ret);
    if (wants(o, "last_good"))
        compare_last_good(o, arena, ret);
    if (wants(o, "best"))
        compare_best(o, arena, ret);
}
