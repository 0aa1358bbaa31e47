/* The built-in trainer. */
#include "agents/train/fit.h"

#include <math.h>

#include "agents/train/progress.h"
#include "common/clk.h"
#include "common/xgb.h"

enum {
    PROGRESS_MS = 250, /* between two lines of progress: people read no faster */
    MAX_PARAMS = 256,  /* more than a pipeline may have */
};

/* What is tried when the pipeline says nothing: small trees, which hold up best when the next batch
 * is not like the last ones (tests/bench/README.md has the figures). */
static const struct {
    const char *name, *alias, *text;
    double value;
} DEFAULTS[] = {{"max_depth", "max_depth", "4", 4},
                {"eta", "learning_rate", "0.1", 0.1},
                {"rounds", "rounds", "50", 50}};

void fitted_fini(struct fitted *f)
{
    buf_fini(&f->model);
}

const char *fit_score_name(enum task t)
{
    return t == TASK_REGRESSION ? "rmse" : "logloss";
}

struct reporter {
    struct progress p;
    int64_t last_ms;
};

static int on_round(void *ctx, int round, double value)
{
    struct reporter *r = ctx;
    int64_t now_ms = clk_mono_ms(&clk_system);

    r->p.round = round;
    r->p.value = value;
    if (r->last_ms && now_ms - r->last_ms < PROGRESS_MS)
        return 0;
    r->last_ms = now_ms;
    progress_print(&r->p);
    return 0;
}

static int whole(const struct trial *t, const char *name)
{
    const struct param *p = trial_get(t, name);

    return p && p->number >= 0 && p->number <= INT32_MAX ? (int)p->number : 0;
}

static bool is_ours(const char *name)
{
    return strcmp(name, "rounds") == 0 || strcmp(name, "early_stopping") == 0;
}

static void names_of(const struct trial *t, const char **names, const char **values,
                     struct xgb_params *x)
{
    for (size_t i = 0; i < t->n && x->n < MAX_PARAMS; i++) {
        if (is_ours(t->params[i].name))
            continue;
        names[x->n] = t->params[i].name;
        values[x->n++] = t->params[i].text;
    }
    x->names = names;
    x->values = values;
}

void fit_defaults(struct trials *trials, struct arena *arena)
{
    for (size_t i = 0; i < trials->n; i++) {
        struct trial *t = &trials->items[i];
        struct param *params =
            arena_alloc(arena, (t->n + ARRAY_LEN(DEFAULTS) + 1) * sizeof(*params));

        memcpy(params, t->params, t->n * sizeof(*params));
        t->params = params;
        for (size_t k = 0; k < ARRAY_LEN(DEFAULTS); k++)
            if (!trial_get(t, DEFAULTS[k].name) && !trial_get(t, DEFAULTS[k].alias))
                params[t->n++] = (struct param){.name = DEFAULTS[k].name,
                                                .number = DEFAULTS[k].value,
                                                .text = DEFAULTS[k].text};
    }
}

static int fit_trial(const struct fit_input *in, const struct trial *t, struct reporter *r,
                     struct fitted *ret, struct err *err)
{
    const char *names[MAX_PARAMS], *values[MAX_PARAMS];
    struct xgb_params x = {
        .rounds = whole(t, "rounds"),
        .early_stopping = whole(t, "early_stopping"),
        .seed = in->seed,
        .threads = (int)in->order->threads,
    };
    int rounds = 0;

    names_of(t, names, values, &x);
    r->p.rounds = x.rounds;
    if (xgb_train(in->train, in->valid, in->pipeline->task, &x, on_round, r, &ret->model, &rounds,
                  &ret->score, err))
        return -1;
    ret->rounds = rounds;
    ret->trial = *t;
    return 0;
}

int fit_builtin(const struct fit_input *in, struct fitted *ret, struct err *err)
{
    /* without valid rows trials cannot be told apart: the first one stands */
    size_t n = in->valid->rows ? in->trials.n : 1;
    struct reporter r = {.p = {.phase = "training", .trials = (int64_t)n, .value = NAN}};
    struct fitted best = {.score = NAN};

    if (in->valid->rows)
        str_copy(r.p.metric, sizeof(r.p.metric), fit_score_name(in->pipeline->task));
    for (size_t i = 0; i < n; i++) {
        struct fitted f = {.format = "ubj", .score = NAN};

        r.p.trial = (int64_t)i + 1;
        r.last_ms = 0;
        if (fit_trial(in, &in->trials.items[i], &r, &f, err)) {
            fitted_fini(&f);
            fitted_fini(&best);
            return n > 1 ? err_wrap(err, "trial %zu of %zu", i + 1, n) : -1;
        }
        if (i == 0 || trial_is_better(f.score, best.score)) {
            fitted_fini(&best);
            best = f;
        } else {
            fitted_fini(&f);
        }
    }
    best.trials = (int64_t)n;
    *ret = best;
    return 0;
}
