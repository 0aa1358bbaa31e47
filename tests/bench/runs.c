/* A view of many runs, asked: `runs FOLDER RUNS ROUNDS` fills a view, unless the folder has it,
 * and prints one line of JSON for each question: milliseconds of each round, of pages of 100 from
 * the first and, by cursor, of those that follow. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agents/console/runs_view.h"
#include "common/clk.h"
#include "common/mem.h"
#include "tests/support/sample_runs.h"

enum { PAGE = 100, COMMIT_RUNS = 20000 };

static const char *const migrations[] = {RUNS_SCHEMA};
static const struct {
    const char *line, *filter, *sort;
} QUESTIONS[] = {
    {NULL, NULL, NULL},
    {"shop/north", NULL, NULL},
    {NULL, "metric.auc > 0.8 and trigger = drift", NULL},
    {NULL, "metric.auc > 0.8 and trigger = drift", "metric.auc:desc"},
    {NULL, "metric.auc > 0.9999", "started"},
    {NULL, "status = promoted and param.max_depth = 6 and rows > 5000", "metric.logloss"},
    {"power", "trigger in (drift, command) or metric.brier < 0.1", "seconds:desc"},
    {NULL, "not (status = promoted or status = rejected) and line like 'shop%'", "finished:desc"},
    {NULL, "run = 9e3779b97f4a7c15", NULL},
    {NULL, "generation > 100 and generation < 200", "metric.auc:desc"},
    {NULL, "trigger = drift and rows = 1000 and param.eta = 0.3 and status = failed", NULL},
    {NULL, "line = shop/north and status = training and metric.auc > 0", NULL},
};

static void stop(const char *what, const struct err *err)
{
    fprintf(stderr, "runs: %s: %s\n", what, err->msg);
    exit(1);
}

static void fill(struct store *st, int64_t n)
{
    struct err err = {0};
    struct rng r;
    struct stmt *s = NULL;
    bool row = false;
    if (store_prepare(st, "SELECT 1 FROM run LIMIT 1", &s, &err) || stmt_step(s, &row, &err))
        stop("look", &err);
    stmt_reset(s);
    if (row) /* it is there from before */
        return;
    rng_seed(&r, 17);
    for (int64_t i = 0; i < n; i++) {
        struct sample_run_facts f = sample_runs_draw(&r, i);
        if (i % COMMIT_RUNS == 0 && store_begin(st, &err))
            stop("begin", &err);
        sample_runs_put(st, &f);
        if ((i % COMMIT_RUNS == COMMIT_RUNS - 1 || i == n - 1) && store_commit(st, &err))
            stop("commit", &err);
    }
}

struct page {
    int64_t n;
    char *cursor;
};

static void take(void *ctx, const struct runs_found *found)
{
    struct page *p = ctx;
    p->n++;
    free(p->cursor);
    p->cursor = xstrdup(found->cursor);
}

static void ask(struct store *st, size_t question, int64_t rounds)
{
    struct page p = {0};
    struct err err = {0};
    int64_t n = 0;
    printf("{\"line\": \"%s\", \"filter\": \"%s\", \"sort\": \"%s\", \"ms\": [",
           QUESTIONS[question].line ? QUESTIONS[question].line : "",
           QUESTIONS[question].filter ? QUESTIONS[question].filter : "",
           QUESTIONS[question].sort ? QUESTIONS[question].sort : "");
    for (int64_t i = 0; i < rounds; i++) {
        CLEANUP_FREE char *cursor = p.n == PAGE ? xstrdup(p.cursor) : NULL; /* else once more */
        struct runs_query q = {.line = QUESTIONS[question].line,
                               .filter = QUESTIONS[question].filter,
                               .sort = QUESTIONS[question].sort,
                               .cursor = cursor,
                               .limit = PAGE};
        int64_t began = clk_mono_ns();
        p.n = 0;
        if (runs_find(st, &q, take, &p, &err))
            stop(q.filter, &err);
        printf("%s%.3f", i ? ", " : "", (double)(clk_mono_ns() - began) / 1e6);
        n += p.n;
    }
    printf("], \"runs\": %" PRId64 "}\n", n);
    free(p.cursor);
}

int main(int argc, char **argv)
{
    struct store *st = NULL;
    struct err err = {0};
    bool was_reset;
    int64_t n = argc > 2 ? strtoll(argv[2], NULL, 10) : 0;
    int64_t rounds = argc > 3 ? strtoll(argv[3], NULL, 10) : 0;
    if (n < 1 || rounds < 1) {
        fprintf(stderr, "usage: runs FOLDER RUNS ROUNDS\n");
        return 2;
    }
    CLEANUP_FREE char *path = xasprintf("%s/runs-%" PRId64 ".db", argv[1], n);
    if (store_open(path, migrations, ARRAY_LEN(migrations), &st, &was_reset, &err))
        stop(path, &err);
    int64_t began = clk_mono_ns();
    fill(st, n);
    int64_t filled = clk_mono_ns();
    if (runs_make_indexes(st, &err))
        stop("indexes", &err);
    printf("{\"filled_s\": %.1f, \"indexes_s\": %.1f}\n", (double)(filled - began) / 1e9,
           (double)(clk_mono_ns() - filled) / 1e9);
    for (size_t i = 0; i < ARRAY_LEN(QUESTIONS); i++)
        ask(st, i, rounds);
    store_close(st);
    return 0;
}
