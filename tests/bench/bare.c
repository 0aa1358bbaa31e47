/* What an event to service cannot do without: the agents' own calls, one after the other in one
 * process, with no bus, no events and no child.  Read the CSV, check, profile and freeze it; train;
 * save and sign the model; compare it with the one before; load it as serve does.
 *
 * `bare PIPELINE.yaml FOLDER` reads the path of a CSV from each line of standard input and answers
 * with one line of JSON, its times in milliseconds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agents/evaluate/evaluation.h"
#include "agents/ingest/run.h"
#include "agents/serve/booster.h"
#include "agents/train/finish.h"
#include "common/clk.h"
#include "common/fsx.h"

enum { PATH_BYTES = 4096, HUNDRED_GB = 100 };

struct bare {
    struct pipeline *pipeline;
    struct artifacts artifacts;
    struct sign_key *key;
    int64_t n;
    char *champion; /* digest; NULL at first */
    struct booster *serving;
    double ingest_ms, train_ms, save_ms, evaluate_ms, load_ms;
};

static void stop(const char *what, const struct err *err)
{
    fprintf(stderr, "bare: %s: %s\n", what, err->msg);
    exit(1);
}

static double since(int64_t *ns)
{
    int64_t now = clk_mono_ns(), before = *ns;

    *ns = now;
    return (double)(now - before) / 1e6;
}

static char *ingest(struct bare *b, const char *path, const char *id)
{
    CLEANUP_FREE char *uri = xasprintf("file://%s", path);
    struct dataset_published d = {
        .dataset = b->pipeline->dataset, .uri = uri, .size_bytes = ABSENT_I64, .rows = ABSENT_I64};
    struct ingest_request rq = {.pipeline = b->pipeline,
                                .dataset = &d,
                                .dataset_event = id,
                                .artifacts = &b->artifacts,
                                .file_root = "/",
                                .max_bytes = (uint64_t)HUNDRED_GB << 30,
                                .attempts = 1,
                                .stall_ms = 10000,
                                .timeout_ms = -1};
    struct ingest_result result;
    struct err err = {0};
    char *snapshot;

    if (ingest_run(&rq, &result, &err))
        stop("ingest", &err);
    if (strcmp(result.items[0].status, "accepted") != 0) {
        fprintf(stderr, "bare: %s\n", result.items[0].reason);
        exit(1);
    }
    snapshot = xstrdup(result.items[0].snapshot);
    ingest_result_fini(&result);
    return snapshot;
}

/* As relearn-trainer does it, without its order and its result on disk. */
static char *train(struct bare *b, const char *snapshot, const char *id, int64_t *ns)
{
    struct arena arena = {0};
    struct snapshot_ref ref = {.snapshot = snapshot, .event = id};
    struct order order = {.line = b->pipeline->name,
                          .run = id,
                          .pipeline_sha256 = b->pipeline->sha256,
                          .trainer = "xgboost",
                          .snapshots = {&ref, 1}};
    struct matrix rows = {0}, valid = {0};
    struct snapshot *s = NULL;
    struct fit_input fit = {
        .order = &order, .pipeline = b->pipeline, .train = &rows, .valid = &valid, .seed = 1};
    struct fitted fitted = {0};
    struct finish_input finish = {
        .fit = &fit, .fitted = &fitted, .snapshots = &s, .artifacts = &b->artifacts, .key = b->key};
    struct training_finished result = {0};
    struct err err = {0};
    char *model;

    trials_of(b->pipeline, fit.seed, &arena, &fit.trials);
    fit_defaults(&fit.trials, &arena);
    if (snapshot_open(&b->artifacts, snapshot, &s, &err) ||
        matrix_load(&b->artifacts, &s, 1, ROW_TRAIN, 0, NULL, &rows, &err) ||
        matrix_load(&b->artifacts, &s, 1, ROW_VALID, 0, &rows, &valid, &err))
        stop("rows", &err);
    finish.profiling = profiling_start(&rows);
    if (fit_builtin(&fit, &fitted, &err))
        stop("train", &err);
    b->train_ms = since(ns);
    if (finish_store(&finish, &arena, &result, &err))
        stop("save", &err);
    model = xstrdup(result.model);
    profiling_free(finish.profiling);
    fitted_fini(&fitted);
    matrix_fini(&rows);
    matrix_fini(&valid);
    snapshot_free(s);
    arena_fini(&arena);
    b->save_ms = since(ns);
    return model;
}

static void evaluate(struct bare *b, const char *snapshot, const char *model, const char *id)
{
    struct evaluation e = {.artifacts = &b->artifacts,
                           .pipeline = b->pipeline,
                           .line = b->pipeline->name,
                           .run = id,
                           .model = model,
                           .model_event = id,
                           .snapshots = {&snapshot, 1},
                           .against = b->champion ? b->n - 1 : 0,
                           .champion = b->champion};

    evaluation_run(&e);
    if (e.rc)
        stop("evaluate", &e.err);
    evaluation_fini(&e);
}

static void step(struct bare *b, const char *path)
{
    CLEANUP_FREE char *id = xasprintf("bare%lld", (long long)++b->n);
    CLEANUP_FREE char *snapshot = NULL;
    struct booster *next = NULL;
    struct err err = {0};
    int64_t started_ns = clk_mono_ns(), ns = started_ns;
    char *model;

    snapshot = ingest(b, path, id);
    b->ingest_ms = since(&ns);
    model = train(b, snapshot, id, &ns);
    evaluate(b, snapshot, model, id);
    b->evaluate_ms = since(&ns);
    if (booster_load(&b->artifacts, model, NULL, &next, &err))
        stop("load", &err);
    booster_free(b->serving);
    b->serving = next;
    free(b->champion);
    b->champion = model;
    b->load_ms = since(&ns);
    fprintf(stderr,
            "{\"ms\": %.3f, \"ingest\": %.3f, \"train\": %.3f, \"save\": %.3f, \"evaluate\": %.3f, "
            "\"load\": %.3f}\n",
            (double)(ns - started_ns) / 1e6, b->ingest_ms, b->train_ms, b->save_ms, b->evaluate_ms,
            b->load_ms);
}

static void open_all(struct bare *b, const char *yaml_path, const char *folder)
{
    CLEANUP(buf_fini) struct buf yaml = {0};
    CLEANUP_FREE char *store = fsx_join(folder, "artifacts");
    CLEANUP_FREE char *key = fsx_join(folder, "key");
    struct err err = {0};

    if (fsx_read_file(yaml_path, PIPELINE_MAX_BYTES, &yaml, &err) ||
        pipeline_parse(buf_slice(&yaml), yaml_path, &b->pipeline, &err) ||
        fsx_mkdirs(folder, &err) || artifacts_open(store, &b->artifacts, &err) ||
        sign_key_load(key, &b->key, &err))
        stop("start", &err);
}

int main(int argc, char **argv)
{
    struct bare b = {0};
    char path[PATH_BYTES];

    if (argc != 3) {
        fputs("usage: bare PIPELINE.yaml FOLDER <paths\n", stderr);
        return 2;
    }
    open_all(&b, argv[1], argv[2]);
    while (fgets(path, sizeof(path), stdin)) {
        path[strcspn(path, "\n")] = '\0';
        step(&b, path);
    }
    booster_free(b.serving);
    free(b.champion);
    sign_key_free(b.key);
    artifacts_close(&b.artifacts);
    pipeline_free(b.pipeline);
    return 0;
}
