/* An operator's trainer: a command in a folder of its own for each trial.  Its model is taken as
 * any file from outside is: its structure checked, then loaded here, in the child, then asked for
 * the valid rows. */
#include <math.h>
#include <unistd.h>

#include "agents/train/fit.h"
#include "agents/train/layout.h"
#include "agents/train/progress.h"
#include "common/fsx.h"
#include "common/job.h"
#include "common/metrics.h"
#include "common/model.h"
#include "common/xgb.h"

enum { FAILURE_CHARS = 1024 }; /* of output/failure, as SageMaker takes them */

struct command_run {
    struct progress p;
    struct job *job;
    struct job_result result;
    bool is_over;
};

static void on_line(void *ctx, const char *line)
{
    struct command_run *r = ctx;

    if (progress_scrape(line, &r->p))
        progress_print(&r->p);
}

static void on_done(void *ctx, const struct job_result *result)
{
    struct command_run *r = ctx;

    r->result = *result;
    r->job = NULL;
    r->is_over = true;
}

static void on_stop(void *ctx)
{
    struct command_run *r = ctx;

    if (r->job)
        job_cancel(r->job);
}

static bool is_over(void *ctx)
{
    return ((struct command_run *)ctx)->is_over;
}

/* What the trainer says in output/failure, or else nothing. */
static void read_failure(const char *base, char *out, size_t out_size)
{
    CLEANUP_FREE char *path = fsx_join(base, "output/failure");
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(out, 1, out_size - 1, f) : 0;

    if (f)
        fclose(f);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)out[i] < ' ')
            out[i] = ' ';
    while (n > 0 && out[n - 1] == ' ')
        n--;
    out[n] = '\0';
}

static int run_command(struct loop *l, const struct fit_input *in, const struct trial *t,
                       const char *base, struct command_run *r, struct err *err)
{
    struct arena arena = {0};
    const char **argv = arena_alloc(&arena, (in->order->command.n + 1) * sizeof(*argv));
    struct job_spec spec = {.argv = argv, .cwd = base};
    char sentence[256], failure[FAILURE_CHARS + 1];
    int rc;

    for (size_t i = 0; i < in->order->command.n; i++)
        argv[i] = in->order->command.items[i];
    spec.env = layout_env(in, t, base, &arena);
    r->is_over = false;
    rc = job_start(l, &spec, on_line, on_done, r, &r->job, err);
    while (rc == 0 && !r->is_over)
        loop_until(l, is_over, r, 1000);
    arena_fini(&arena);
    if (rc)
        return err_wrap(err, "trainer '%s'", in->order->trainer);
    if (r->result.exit_code == 0)
        return 0;
    if (r->result.tail[0])
        fprintf(stderr, "%s\n", r->result.tail);
    job_result_str(&r->result, &spec, sentence, sizeof(sentence));
    read_failure(base, failure, sizeof(failure));
    return err_set(err, ERR_CHILD, NEXT_REJECT, "trainer '%s': %s%s%.200s", in->order->trainer,
                   sentence, failure[0] ? ": " : "", failure);
}

/* ---- what it made ---- */

static int read_model(const struct fit_input *in, const char *base, struct fitted *ret,
                      struct err *err)
{
    static const char *const names[] = {"ubj", "json"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        CLEANUP_FREE char *file = xasprintf("%s/model/model.%s", base, names[i]);

        if (!fsx_exists(file))
            continue;
        ret->format = names[i];
        buf_init(&ret->model, MODEL_MAX_FILE_BYTES);
        return fsx_read_file(file, MODEL_MAX_FILE_BYTES, &ret->model, err);
    }
    return err_set(err, ERR_CHILD, NEXT_REJECT,
                   "trainer '%s' ended well but left neither model/model.ubj nor model/model.json",
                   in->order->trainer);
}

static int score(const struct fit_input *in, struct xgb *x, double *ret, struct err *err)
{
    struct metric_spec m =
        metric_of(in->pipeline->task == TASK_REGRESSION ? METRIC_RMSE : METRIC_LOGLOSS);
    struct metric_input mi = {.y = in->valid->y,
                              .rows = in->valid->rows,
                              .k = xgb_outputs(x),
                              .task = in->pipeline->task};
    CLEANUP_FREE double *p = xmalloc((in->valid->rows * mi.k + 1) * sizeof(*p));
    const char *undefined;

    *ret = NAN;
    if (in->valid->rows == 0)
        return 0;
    if (xgb_predict(x, in->valid->x, in->valid->rows, p, err))
        return -1;
    mi.p = p;
    *ret = metric_value(&m, &mi, &undefined);
    return undefined ? err_inval(err, "its predictions cannot be scored: %s", undefined) : 0;
}

static int check_model(const struct fit_input *in, struct fitted *f, struct err *err)
{
    struct xgb *x = NULL;
    int rc;

    if (xgb_check(buf_slice(&f->model), in->train->n_columns, err) ||
        xgb_load(buf_slice(&f->model), &x, err))
        return -1;
    rc = xgb_fits(x, in->pipeline->task, in->train->n_classes, err) || score(in, x, &f->score, err)
             ? -1
             : 0;
    xgb_free(x);
    return rc;
}

static int fit_trial(struct loop *l, const struct fit_input *in, size_t i, struct command_run *r,
                     struct fitted *ret, struct err *err)
{
    const struct trial *t = &in->trials.items[i];
    CLEANUP_FREE char *base = xasprintf("%s/trial-%zu", in->order->folder, i + 1);

    r->p = (struct progress){
        .phase = "training", .trial = (int64_t)i + 1, .trials = r->p.trials, .value = NAN};
    progress_print(&r->p);
    *ret = (struct fitted){.score = NAN, .trial = *t};
    if (layout_write_trial(in, t, base, err) || run_command(l, in, t, base, r, err) ||
        read_model(in, base, ret, err))
        return -1;
    if (check_model(in, ret, err))
        return err_wrap(err, "trainer '%s'", in->order->trainer);
    return 0;
}

int fit_command(const struct fit_input *in, struct fitted *ret, struct err *err)
{
    size_t n = in->valid->rows ? in->trials.n : 1;
    struct command_run r = {.p = {.trials = (int64_t)n}};
    struct fitted best = {.score = NAN};
    struct loop *l = NULL;
    int rc = 0;

    if (layout_write_data(in, in->order->folder, err) || loop_new(&l, err))
        return -1;
    loop_on_stop_signal(l, on_stop, &r);
    for (size_t i = 0; i < n && rc == 0; i++) {
        struct fitted f = {0};

        rc = fit_trial(l, in, i, &r, &f, err);
        if (rc == 0 && (i == 0 || trial_is_better(f.score, best.score))) {
            struct fitted worse = best;

            best = f;
            f = worse;
        }
        fitted_fini(&f);
    }
    loop_free(l);
    best.trials = (int64_t)n;
    if (rc)
        fitted_fini(&best);
    else
        *ret = best;
    return rc;
}
