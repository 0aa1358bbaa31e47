/* The monitor agent with a model of its own, on a bus in memory: to be included by its test, not
 * linked. */
#include <math.h>

#include "agents/monitor/monitor.h"
#include "common/rng.h"
#include "tests/support/fakebus/agent_bench.c"
#include "tests/support/sample_model.h"

enum { TRAINED = 800, WINDOW = 100, MODELS = 2 };

static const char YAML[] =
    "apiVersion: relearn/v1\nkind: Pipeline\nname: p\ndataset: {name: set, label: y}\ntask: "
    "binary\n"
    "monitor:\n  window: {predictions: 100}\n  drift: {threshold: 0.5, consecutive: 2}\n"
    "  quality: {metric: accuracy, at_least: 0.7}\n  lateness: 1h\n";

static struct {
    struct tmpdir dir;
    struct artifacts store;
    char *models[MODELS];
} shared;

struct world {
    struct bench b;
    struct rng rng;
    int64_t generation, sequence;
};

/* ---- set up ---- */

/* One feature, even in [0,1); the label is yes above a half. */
static int train_all(void **state)
{
    static float x[TRAINED], y[TRAINED];
    struct err err = {0};

    (void)state;
    tmpdir_init(&shared.dir);
    if (artifacts_open(tmpdir_join(&shared.dir, "store"), &shared.store, &err))
        fail_msg("%s", err.msg);
    for (int i = 0; i < TRAINED; i++) {
        x[i] = (float)((i * 37) % TRAINED) / (float)TRAINED;
        y[i] = x[i] > 0.5f;
    }
    for (uint64_t i = 0; i < MODELS; i++) {
        struct sample_training t = {.line = "p",
                                    .classes = "no yes",
                                    .columns = "a:float",
                                    .rows = TRAINED,
                                    .x = x,
                                    .y = y,
                                    .seed = i};
        struct model *m = sample_model_train(&shared.store, &t);

        shared.models[i] = xstrdup(m->digest);
        model_free(m);
    }
    return 0;
}

static int forget_all(void **state)
{
    (void)state;
    for (size_t i = 0; i < MODELS; i++)
        free(shared.models[i]);
    artifacts_close(&shared.store);
    tmpdir_fini(&shared.dir);
    return 0;
}

static int setup(void **state)
{
    static struct world w;
    struct err err = {0};

    w = (struct world){0};
    bench_setup(&w.b);
    artifacts_close(&w.b.artifacts);
    if (artifacts_open(shared.store.root, &w.b.artifacts, &err))
        fail_msg("%s", err.msg);
    rng_seed(&w.rng, 1);
    bench_declare(&w.b, YAML);
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    bench_teardown(&((struct world *)*state)->b);
    return 0;
}

static void start(struct world *w)
{
    bench_start(&w->b, &monitor_agent, NULL);
    bench_wait_ready(&w->b);
}

/* ---- what goes in ---- */

static void deploy(struct world *w, const char *digest)
{
    struct route route = {
        .generation = ++w->generation, .model = digest, .role = "champion", .weight = 1};
    struct deployment_changed d = {.line = "p",
                                   .kind = "changed",
                                   .base = w->sequence++,
                                   .generation = w->generation,
                                   .action = "replace",
                                   .routes = {&route, 1},
                                   .is_final = true,
                                   .reason = "test",
                                   .by = "test",
                                   .until_unix_ms = ABSENT_I64};

    bench_append(&w->b, RECORD_DEPLOYMENT_CHANGED, &d,
                 arena_printf(&w->b.arena, "deployment-%lld", (long long)w->sequence));
}

struct rows {
    const char *id, *role; /* role NULL: champion */
    int64_t generation;    /* 0: the newest */
    int n;
    double from, to; /* the feature is even in [from, to) */
};

static void predict(struct world *w, struct rows rows)
{
    float x[1000];
    double p[1000];
    struct prediction_served r = {.line = "p",
                                  .prediction = rows.id,
                                  .generation = rows.generation ? rows.generation : w->generation,
                                  .model = shared.models[0],
                                  .role = rows.role ? rows.role : "champion",
                                  .instance = "serve-1",
                                  .rows = rows.n,
                                  .features_per_row = 1,
                                  .outputs_per_row = 1,
                                  .features = {x, (size_t)rows.n},
                                  .outputs = {p, (size_t)rows.n},
                                  .served_unix_ms = w->b.now_unix_ms};

    for (int i = 0; i < rows.n; i++) {
        x[i] = (float)(rows.from + (rows.to - rows.from) * (i + 0.5) / rows.n);
        p[i] = x[i] > 0.5f ? 0.99 : 0.01;
    }
    bench_append(&w->b, RECORD_PREDICTION_SERVED, &r, rows.id);
}

static void label(struct world *w, const char *row, const char *value)
{
    struct label_observed l = {.line = "p",
                               .prediction = row,
                               .value = value,
                               .by = "test",
                               .observed_unix_ms = ABSENT_I64};

    bench_append(
        &w->b, RECORD_LABEL_OBSERVED, &l,
        arena_printf(&w->b.arena, "label-%lld", (long long)bench_count(RECORD_LABEL_OBSERVED)));
}

/* The first `wrong` of the rows get the other class. */
static void label_rows(struct world *w, const char *id, int n, int wrong)
{
    for (int i = 0; i < n; i++) {
        bool is_yes = (i + 0.5) / n > 0.5;

        label(w, arena_printf(&w->b.arena, "%s.%d", id, i), is_yes == (i >= wrong) ? "yes" : "no");
    }
}

/* ---- what came out ---- */

static const struct health_measured *health(struct world *w, int64_t i)
{
    return bench_event(&w->b, RECORD_HEALTH_MEASURED, i).rec;
}

static void expect_health(struct world *w, int64_t i, const char *expected)
{
    const struct health_measured *h = health(w, i);
    char *text =
        arena_printf(&w->b.arena, "%s %lld.%lld %s x%lld", h->kind, (long long)h->generation,
                     (long long)h->window, h->verdict, (long long)h->consecutive);

    if (strcmp(text, expected) != 0)
        fail_msg("health %lld is '%s', not '%s': %s", (long long)i, text, expected, h->reason);
}
