#include "agents/evaluate/evaluation.h"

#include <math.h>
#include <unistd.h>

#include "agents/evaluate/baselines.h"
#include "agents/evaluate/compare.h"
#include "agents/evaluate/rows.h"
#include "common/clk.h"
#include "common/model.h"
#include "common/rng.h"
#include "common/xgb.h"

enum { MOST_THREADS = 8 };

struct contestant {
    struct model *model;
    struct xgb *xgb;
    double *p; /* rows x outputs */
};

static void contestant_fini(struct contestant *c)
{
    model_free(c->model);
    xgb_free(c->xgb);
    free(c->p);
}

/* The train agent's child has loaded this file before; its digest says that it is the same. */
static int open_contestant(const struct evaluation *e, const char *digest, struct contestant *ret,
                           struct err *err)
{
    CLEANUP(buf_fini) struct buf text = {0};

    if (model_open(e->artifacts, digest, &ret->model, err))
        return -1;
    buf_init(&text, MODEL_MAX_FILE_BYTES);
    if (artifacts_get(e->artifacts, ret->model->file, MODEL_MAX_FILE_BYTES, &text, err) ||
        xgb_check(buf_slice(&text), ret->model->shape.n_columns, err) ||
        xgb_load(buf_slice(&text), &ret->xgb, err) ||
        xgb_fits(ret->xgb, ret->model->task, ret->model->shape.n_classes, err))
        return err_wrap(err, "model %.12s", digest);
    return 0;
}

static int predict(struct contestant *c, const struct matrix *rows, struct err *err)
{
    c->p = xmalloc((rows->rows * xgb_outputs(c->xgb) + 1) * sizeof(*c->p));
    return xgb_predict(c->xgb, rows->x, rows->rows, c->p, err);
}

/* ---- the champion's answers, as the candidate counts classes ---- */

static size_t class_of(const struct model *m, const char *name)
{
    for (size_t k = 0; k < m->shape.n_classes; k++)
        if (strcmp(m->shape.classes[k], name) == 0)
            return k;
    return SIZE_MAX;
}

/* NULL, or why the two cannot be compared. */
static const char *why_incomparable(const struct model *candidate, const struct model *champion)
{
    if (candidate->task != champion->task)
        return "it is for another task";
    if (candidate->task != TASK_BINARY)
        return NULL;
    for (size_t k = 0; k < 2; k++)
        if (class_of(champion, candidate->shape.classes[k]) == SIZE_MAX)
            return "it tells other classes apart";
    return NULL;
}

/* Classes that only the champion knows are left out: no row is of one.  Those that it does not know
 * it gives nothing. */
static void align_classes(const struct model *candidate, struct contestant *champion, size_t rows)
{
    size_t n = candidate->shape.n_classes, m = champion->model->shape.n_classes;
    double *aligned;

    if (candidate->task == TASK_REGRESSION)
        return;
    if (candidate->task == TASK_BINARY) {
        bool is_swapped = class_of(champion->model, candidate->shape.classes[1]) == 0;

        for (size_t i = 0; is_swapped && i < rows; i++)
            champion->p[i] = 1 - champion->p[i];
        return;
    }
    aligned = xcalloc(rows * n + 1, sizeof(*aligned));
    for (size_t k = 0; k < n; k++) {
        size_t from = class_of(champion->model, candidate->shape.classes[k]);

        for (size_t i = 0; from != SIZE_MAX && i < rows; i++)
            aligned[i * n + k] = champion->p[i * m + from];
    }
    free(champion->p);
    champion->p = aligned;
}

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

static int evaluate(struct evaluation *e, struct contestant *candidate, struct contestant *champion,
                    struct test_rows *rows, struct err *err)
{
    CLEANUP_FREE char **tests = xcalloc(e->snapshots.n + 1, sizeof(*tests));
    struct comparison c = {.pipeline = e->pipeline,
                           .rows = &rows->candidate,
                           .seed = (uint64_t)e->rec.seed,
                           .attempt = e->attempt,
                           .threads = threads()};
    CLEANUP(naive_fini) struct naive naive = {0};
    size_t n;

    test_snapshots(e, tests, &n);
    if (open_contestant(e, e->model, candidate, err) ||
        (e->champion && open_contestant(e, e->champion, champion, err)))
        return -1;
    if (candidate->model->task != e->pipeline->task)
        return err_inval(err, "the model is for another task than its pipeline");
    if (champion->model)
        c.why_no_champion = why_incomparable(candidate->model, champion->model);
    if (rows_load(e->artifacts, tests, n, candidate->model,
                  c.why_no_champion ? NULL : champion->model, rows, err) ||
        predict(candidate, &rows->candidate, err))
        return -1;
    if (champion->model && !c.why_no_champion) {
        if (predict(champion, &rows->champion, err))
            return -1;
        align_classes(candidate->model, champion, rows->champion.rows);
        c.champion = champion->p;
    }
    c.candidate = candidate->p;
    c.k = xgb_outputs(candidate->xgb);
    e->rec.comparisons = compare(&c, &e->arena, &e->rec.metrics);
    naive_learn(e->artifacts, candidate->model, &e->arena, &naive);
    baselines_compare(&c, &naive, &e->arena, e->rec.comparisons, &e->rec.baselines);
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
