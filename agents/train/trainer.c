/* relearn-trainer: what the train agent starts for each run, and what people may call.
 *
 *   relearn-trainer run ORDER.json   one run: read snapshots, fit, check, store, leave the result
 *   relearn-trainer wait FIFO        the same for the order whose path comes over the FIFO
 *   relearn-trainer train            one fit in SageMaker's layout under SAGEMAKER_BASE_DIR
 *   relearn-trainer check MODEL      structure and load of a model file
 *
 * Progress goes to stdout, one JSON object a line; what is wrong to stderr, the sentence that
 * counts last. */
#include "agents/train/trainer.h"

#include <math.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agents/train/finish.h"
#include "agents/train/fit.h"
#include "agents/train/layout.h"
#include "agents/train/progress.h"
#include "agents/train/warm.h"
#include "common/clk.h"
#include "common/fault.h"
#include "common/fsx.h"
#include "common/model.h"
#include "common/rng.h"
#include "common/xgb.h"

enum { ORDER_MAX_BYTES = 1 << 20 };

struct run {
    struct arena arena;
    struct order order;
    struct artifacts artifacts;
    struct sign_key *key;
    struct pipeline *pipeline;
    struct snapshot **snapshots;
    struct matrix train, valid;
    struct fitted fitted;
    struct training_finished result;
    int64_t started_ms;
    double cpu_before_s; /* of warming up */
};

/* ---- run ---- */

static int read_order(struct run *r, const char *path, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = {0};
    CLEANUP(json_freep) struct json *j = NULL;

    if (fsx_read_file(path, ORDER_MAX_BYTES, &text, err))
        return -1;
    j = json_parse(buf_slice(&text), path, err);
    if (!j || order_from_json(j, &r->arena, &r->order, err))
        return -1;
    if (artifacts_open(r->order.artifacts, &r->artifacts, err))
        return -1;
    return sign_key_load(r->order.key, &r->key, err);
}

static int read_pipeline(struct run *r, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = {0};

    if (artifacts_get(&r->artifacts, r->order.pipeline_sha256, PIPELINE_MAX_BYTES, &text, err))
        return err_wrap(err, "pipeline %.12s", r->order.pipeline_sha256);
    return pipeline_parse(buf_slice(&text), "pipeline", &r->pipeline, err);
}

static int read_rows(struct run *r, struct err *err)
{
    size_t n = r->order.snapshots.n,
           max_rows = r->pipeline->window == WINDOW_ROWS ? (size_t)r->pipeline->window_size : 0;

    r->snapshots = arena_alloc(&r->arena, n * sizeof(struct snapshot *));
    for (size_t i = 0; i < n; i++)
        if (snapshot_open(&r->artifacts, r->order.snapshots.items[i].snapshot, &r->snapshots[i],
                          err))
            return -1;
    if (matrix_load(&r->artifacts, r->snapshots, n, ROW_TRAIN, max_rows, NULL, &r->train, err))
        return -1;
    if (r->train.rows == 0)
        return err_inval(err, "the snapshots have no row to train on");
    return matrix_load(&r->artifacts, r->snapshots, n, ROW_VALID, 0, &r->train, &r->valid, err);
}

static int fit_and_store(struct run *r, struct profiling *profiling, struct err *err)
{
    struct fit_input in = {
        .order = &r->order, .pipeline = r->pipeline, .train = &r->train, .valid = &r->valid};
    struct finish_input out = {.fit = &in,
                               .fitted = &r->fitted,
                               .snapshots = r->snapshots,
                               .artifacts = &r->artifacts,
                               .key = r->key,
                               .profiling = profiling};

    in.seed = hash64(r->order.run, strlen(r->order.run), (uint64_t)r->pipeline->seed);
    trials_of(r->pipeline, in.seed, &r->arena, &in.trials);
    if (!r->order.command.n)
        fit_defaults(&in.trials, &r->arena);
    if (r->order.command.n ? fit_command(&in, &r->fitted, err) : fit_builtin(&in, &r->fitted, err))
        return -1;
    progress_print(&(struct progress){.phase = "saving",
                                      .trial = r->fitted.trials,
                                      .trials = r->fitted.trials,
                                      .round = r->fitted.rounds,
                                      .rounds = r->fitted.rounds,
                                      .value = NAN});
    return finish_store(&out, &r->arena, &r->result, err);
}

static int fit(struct run *r, struct err *err)
{
    struct profiling *profiling = profiling_start(&r->train);
    int rc = fit_and_store(r, profiling, err);

    profiling_free(profiling);
    return rc;
}

static double seconds_of(struct timeval tv)
{
    return (double)tv.tv_sec + (double)tv.tv_usec / 1e6;
}

static double cpu_seconds(int64_t *max_rss_bytes)
{
    struct rusage self, children;

    getrusage(RUSAGE_SELF, &self);
    getrusage(RUSAGE_CHILDREN, &children);
    *max_rss_bytes =
        (self.ru_maxrss > children.ru_maxrss ? self.ru_maxrss : children.ru_maxrss) * 1024;
    return seconds_of(self.ru_utime) + seconds_of(self.ru_stime) + seconds_of(children.ru_utime) +
           seconds_of(children.ru_stime);
}

static int put_result(struct run *r, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = {0};
    struct training_finished *f = &r->result;
    struct json *j;

    f->line = r->order.line;
    f->run = r->order.run;
    f->attempt = r->order.attempt;
    f->status = "candidate";
    f->trainer = r->order.trainer;
    f->pipeline_sha256 = r->order.pipeline_sha256;
    f->snapshots = r->order.snapshots;
    f->seconds = (double)(clk_mono_ms(&clk_system) - r->started_ms) / 1000;
    f->cpu_seconds = cpu_seconds(&f->max_rss_bytes) - r->cpu_before_s;
    f->instance = r->order.instance;
    j = result_to_json(f);
    json_write(j, 1, false, &text);
    json_free(j);
    return EFFECT(store, "trainer.result.put", FAULT_ERR(err),
                  artifacts_put_run(&r->artifacts, f->run, buf_slice(&text), err));
}

static int run(const char *path, double cpu_before_s, struct err *err)
{
    static struct run r; /* lives as long as the process: it is the operating system's to free */

    r = (struct run){.started_ms = clk_mono_ms(&clk_system), .cpu_before_s = cpu_before_s};
    if (read_order(&r, path, err) || read_pipeline(&r, err))
        return -1;
    progress_print(&(struct progress){.phase = "fetching", .value = NAN});
    if (read_rows(&r, err) || fit(&r, err))
        return -1;
    if (put_result(&r, err))
        return -1;
    progress_print(&(struct progress){.phase = "stored", .value = NAN});
    return 0;
}

/* ---- wait ---- */

static int wait_for_order(const char *fifo, struct err *err)
{
    CLEANUP_FREE char *path = NULL;
    int64_t rss_bytes;

    warm_up();
    if (warm_wait(fifo, &path, err))
        return -1;
    return path ? run(path, cpu_seconds(&rss_bytes), err) : 0;
}

/* ---- train ---- */

static int save_model(const char *base, const struct buf *model, struct err *err)
{
    CLEANUP_FREE char *folder = fsx_join(base, "model");
    CLEANUP_FREE char *file = fsx_join(folder, "model.ubj");

    if (fsx_mkdirs(folder, err))
        return -1;
    return fsx_write_file(file, model->data, model->len, err);
}

static struct trial trial_of(const struct json *params, struct arena *arena)
{
    struct param *items = arena_alloc(arena, (json_len(params) + 1) * sizeof(*items));
    struct trial t = {.params = items};
    const struct json *value;
    const char *key;

    for (void *it = json_next(params, NULL, &key, &value); it;
         it = json_next(params, it, &key, &value)) {
        struct param *p = &items[t.n++];

        *p = (struct param){.name = key, .text = json_str(value, ""), .number = NAN};
        if (str_to_double(p->text, &p->number))
            p->number = NAN;
    }
    return t;
}

static int train(struct err *err)
{
    const char *given = getenv("SAGEMAKER_BASE_DIR"), *base = given && *given ? given : "/opt/ml";
    struct arena arena = {0};
    struct layout l = {0};
    struct fitted f = {0};
    struct order order = {.run = "train", .trainer = "xgboost"};
    struct pipeline pipeline = {0};
    struct fit_input in = {
        .order = &order, .pipeline = &pipeline, .train = &l.train, .valid = &l.valid};
    struct trial t;
    int rc = layout_read(base, &l, err);

    if (rc == 0) {
        t = trial_of(l.hyperparameters, &arena);
        pipeline.task = l.task;
        in.trials = (struct trials){&t, 1};
        fit_defaults(&in.trials, &arena);
        rc = fit_builtin(&in, &f, err) || save_model(base, &f.model, err) ? -1 : 0;
    }
    fitted_fini(&f);
    layout_fini(&l);
    arena_fini(&arena);
    return rc;
}

/* ---- check ---- */

static int check(const char *path, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = {0};
    struct xgb *x = NULL;

    buf_init(&text, MODEL_MAX_FILE_BYTES);
    if (fsx_read_file(path, MODEL_MAX_FILE_BYTES, &text, err) ||
        xgb_load(buf_slice(&text), &x, err))
        return -1;
    printf("%s: %zu bytes, %zu features, %zu outputs a row\n", path, text.len, xgb_features(x),
           xgb_outputs(x));
    xgb_free(x);
    return 0;
}

/* ---- main ---- */

static int usage(int code)
{
    fputs("usage: relearn-trainer run ORDER.json   one run, as the train agent orders it\n"
          "       relearn-trainer wait FIFO        the same, warmed up before the order's path is "
          "known\n"
          "       relearn-trainer train            one fit in SageMaker's folder layout, root "
          "SAGEMAKER_BASE_DIR\n"
          "       relearn-trainer check MODEL      is this model file whole?\n"
          "example: SAGEMAKER_BASE_DIR=/tmp/job relearn-trainer train\n",
          code ? stderr : stdout);
    return code;
}

int trainer_main(int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "";
    struct err err = {0};
    int rc;

    if (strcmp(command, "--help") == 0 || strcmp(command, "-h") == 0)
        return usage(0);
    if (strcmp(command, "run") == 0 && argc == 3)
        rc = run(argv[2], 0, &err);
    else if (strcmp(command, "wait") == 0 && argc == 3)
        rc = wait_for_order(argv[2], &err);
    else if (strcmp(command, "train") == 0 && argc == 2)
        rc = train(&err);
    else if (strcmp(command, "check") == 0 && argc == 3)
        rc = check(argv[2], &err);
    else
        return usage(2);
    fflush(stdout);
    if (rc == 0)
        return 0;
    fprintf(stderr, "%s\n", err.msg);
    return err.next == NEXT_RETRY ? TRAINER_EXIT_RETRY : 1;
}
