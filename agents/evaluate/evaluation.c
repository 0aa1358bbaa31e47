#include "agents/evaluate/evaluation.h"

#include <unistd.h>

#include "agents/evaluate/baselines.h"
#include "agents/evaluate/compare.h"
#include "agents/evaluate/contestant.h"
#include "agents/evaluate/others.h"
#include "agents/evaluate/rows.h"
#include "common/clk.h"
#include "common/model.h"
#include "common/rng.h"

enum { MOST_THREADS = 8 };

/* ---- one evaluation ---- */

/* For resamples; an agent that others share the machine with does not take all of it. */
static unsigned threads(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);

    if (n < 1)
        return 1;
    return n > MOST_THREADS ? MOST_THREADS : (unsigned)n;
}

/* The newest so many of the run's snapshots, oldest first. */
static void test_snapshots(const struct evaluation *e, char **ret, size_t *ret_n)
{
    size_t wanted =
        e->pipeline->test_snapshots > 0 ? (size_t)e->pipeline->test_snapshots : e->snapshots.n;
    size_t from = e->snapshots.n > wanted ? e->snapshots.n - wanted : 0;

    for (size_t i = from; i < e->snapshots.n; i++)
        ret[i - from] = (char *)(uintptr_t)e->snapshots.items[i];
    *ret_n = e->snapshots.n - from;
}

static void fill(struct evaluation *e, const struct test_rows *rows, char *const *tests, size_t n)
{
    const char **newest_first = arena_alloc(&e->arena, (n + 1) * sizeof(*newest_first));
    struct model_evaluated *rec = &e->rec;

    for (size_t i = 0; i < n; i++)
        newest_first[i] = tests[n - 1 - i];
    rec->status = "evaluated";
    rec->model = e->model;
    rec->snapshots = (struct string_list){newest_first, n};
    rec->rows = (int64_t)rows->candidate.rows;
    rec->reason = rows->left_out ? arena_printf(&e->arena,
                                                "%zu test rows were left out: a model learned from "
                                                "them, or a newer snapshot has them too",
                                                rows->left_out)
                                 : "all test rows of these snapshots";
}

static void base_rec(struct evaluation *e)
{
    const struct pipeline *p = e->pipeline;

    e->rec = (struct model_evaluated){.line = e->line,
                                      .run = e->run,
                                      .model_event = e->model_event,
                                      .against = e->against,
                                      .champion = e->champion,
                                      .attempt = e->attempt};
    if (!p)
        return;
    e->rec.pipeline_sha256 = p->sha256;
    e->rec.confidence = p->confidence;
    e->rec.rounds = p->bootstrap_rounds;
    e->rec.sequential = p->sequential != SEQUENTIAL_OFF;
    e->rec.seed = (int64_t)(hash64(e->run, strlen(e->run), (uint64_t)p->seed) >> 1);
}

struct answers {
    double *candidate, *champion;
};

static void answers_fini(struct answers *a)
{
    free(a->candidate);
    free(a->champion);
}

static void compare_all(struct evaluation *e, const struct comparison *c,
                        const struct contestant *candidate, char *const *tests, size_t n)
{
    CLEANUP(naive_fini) struct naive naive = {0};
    struct evaluation_baseline_list *baselines = &e->rec.baselines;

    e->rec.comparisons = compare(c, &e->arena, &e->rec.metrics);
    naive_learn(e->artifacts, candidate->model, &e->arena, &naive);
    baselines_compare(c, &naive, &e->arena, e->rec.comparisons, baselines);
    others_compare(&(struct others){.artifacts = e->artifacts,
                                    .comparison = c,
                                    .comparisons = e->rec.comparisons,
                                    .candidate = candidate,
                                    .tests = tests,
                                    .n_tests = n,
                                    .champion = e->champion,
                                    .past = e->past},
                   &e->arena, baselines);
}

static int evaluate(struct evaluation *e, struct contestant *candidate, struct contestant *champion,
                    struct test_rows *rows, struct err *err)
{
    CLEANUP_FREE char **tests = xcalloc(e->snapshots.n + 1, sizeof(*tests));
    CLEANUP(answers_fini) struct answers p = {0};
    struct comparison c = {.pipeline = e->pipeline,
                           .rows = &rows->candidate,
                           .seed = (uint64_t)e->rec.seed,
                           .attempt = e->attempt,
                           .threads = threads()};
    size_t n;

    test_snapshots(e, tests, &n);
    if (contestant_open(e->artifacts, e->model, candidate, err) ||
        (e->champion && contestant_open(e->artifacts, e->champion, champion, err)))
        return -1;
    if (candidate->model->task != e->pipeline->task)
        return err_inval(err, "the model is for another task than its pipeline");
    if (champion->model)
        c.why_no_champion = contestant_why_not(candidate->model, champion->model);
    if (rows_load(e->artifacts, tests, n, candidate->model,
                  c.why_no_champion ? NULL : champion->model, rows, err) ||
        contestant_answer(candidate, &rows->candidate, &p.candidate, err))
        return -1;
    if (champion->model && !c.why_no_champion) {
        if (contestant_answer(champion, &rows->champion, &p.champion, err))
            return -1;
        contestant_align(candidate->model, champion->model, rows->champion.rows, &p.champion);
    }
    c.candidate = p.candidate;
    c.champion = p.champion;
    c.k = xgb_outputs(candidate->xgb);
    compare_all(e, &c, candidate, tests, n);
    fill(e, rows, tests, n);
    return 0;
}

void evaluation_run(struct evaluation *e)
{
    CLEANUP(contestant_fini) struct contestant candidate = {0};
    CLEANUP(contestant_fini) struct contestant champion = {0};
    CLEANUP(rows_fini) struct test_rows rows = {0};
    int64_t started_ns = clk_mono_ns();

    base_rec(e);
    e->rc = evaluate(e, &candidate, &champion, &rows, &e->err);
    e->rec.seconds = (double)(clk_mono_ns() - started_ns) / 1e9;
}

void evaluation_fail(struct evaluation *e, const char *reason)
{
    base_rec(e);
    e->rec.status = "failed";
    e->rec.reason = arena_strdup(&e->arena, reason);
    e->rc = 0;
}

void evaluation_fini(struct evaluation *e)
{
    arena_fini(&e->arena);
}
