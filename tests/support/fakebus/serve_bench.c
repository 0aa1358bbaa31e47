/* The serve agent with models of its own, on a bus in memory: to be included by its test, not
 * linked. */
#include <math.h>

#include "agents/serve/booster.h"
#include "agents/serve/serve.h"
#include "common/fsx.h"
#include "common/http.h"
#include "tests/support/fakebus/agent_bench.c"
#include "tests/support/sample_model.h"
enum { ROWS = 200, MODELS = 4 };

static const char YAML[] =
    "apiVersion: relearn/v1\nkind: Pipeline\nname: p\ndataset: {name: set, label: y}\n"
    "task: binary\ndeploy: {strategy: canary, steps: [50, 100], by: user}\n";
static const char YAML_SEGMENTS[] = "apiVersion: relearn/v1\nkind: Pipeline\nname: s\n"
                                    "dataset: {name: set, label: y, segment: area}\ntask: binary\n";

struct world {
    struct bench b;
    char **models; /* digests of models that answer differently */
    struct booster **boosters;
    struct http_client *client;
    int64_t sequence, generation; /* of line p */
};

/* ---- set up ---- */

static char *train(const struct artifacts *store, const char *line, uint64_t seed)
{
    float x[ROWS * 2], y[ROWS];
    struct rng r;
    struct model *m;
    char *digest;

    rng_seed(&r, seed);
    for (size_t i = 0; i < ROWS; i++) {
        x[2 * i] = (float)rng_double(&r);
        x[2 * i + 1] = (float)rng_below(&r, 3);
        y[i] = (x[2 * i] + 0.3f * (float)rng_double(&r) > 0.2f * (float)(seed + 1)) ? 1 : 0;
    }
    struct sample_training t = {.line = line,
                                .classes = "no yes",
                                .columns = "a:float c:category(x,y,z)",
                                .rows = ROWS,
                                .x = x,
                                .y = y,
                                .seed = seed};
    m = sample_model_train(store, &t);
    digest = xstrdup(m->digest);
    model_free(m);
    return digest;
}

/* Trained once: stores sync what they write. */
static struct {
    struct tmpdir dir;
    struct artifacts store;
    char *models[MODELS];
    struct booster *boosters[MODELS];
} shared;

static int train_all(void **state)
{
    struct err err = {0};

    (void)state;
    tmpdir_init(&shared.dir);
    if (artifacts_open(tmpdir_join(&shared.dir, "store"), &shared.store, &err))
        fail_msg("%s", err.msg);
    for (size_t i = 0; i < MODELS; i++) {
        shared.models[i] = train(&shared.store, "p", i);
        if (booster_load(&shared.store, shared.models[i], NULL, &shared.boosters[i], &err))
            fail_msg("%s", err.msg);
    }
    return 0;
}

static int forget_all(void **state)
{
    (void)state;
    for (size_t i = 0; i < MODELS; i++) {
        booster_free(shared.boosters[i]);
        free(shared.models[i]);
    }
    artifacts_close(&shared.store);
    tmpdir_fini(&shared.dir);
    return 0;
}

static int setup(void **state)
{
    static struct world w;
    struct err err = {0};

    w = (struct world){.models = shared.models, .boosters = shared.boosters};
    *state = &w;
    bench_setup(&w.b);
    artifacts_close(&w.b.artifacts);
    if (artifacts_open(shared.store.root, &w.b.artifacts, &err))
        fail_msg("%s", err.msg);
    bench_declare(&w.b, YAML);
    bench_declare(&w.b, YAML_SEGMENTS);
    w.client = http_client_new();
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    http_client_free(w->client);
    bench_teardown(&w->b);
    return 0;
}

static void deploy_routes(struct world *w, const char *line, int64_t base,
                          const struct route *routes, size_t n)
{
    int64_t generation = 0;
    char *id = arena_printf(&w->b.arena, "deployment-%s-%lld", line, (long long)base);

    for (size_t i = 0; i < n; i++)
        generation = routes[i].generation > generation ? routes[i].generation : generation;
    struct deployment_changed d = {.line = line,
                                   .kind = "changed",
                                   .base = base,
                                   .generation = generation,
                                   .action = "replace",
                                   .routes = {routes, n},
                                   .is_final = n == 1,
                                   .reason = "test",
                                   .by = "test",
                                   .until_unix_ms = ABSENT_I64};
    bench_append(&w->b, RECORD_DEPLOYMENT_CHANGED, &d, id);
}

/* The next generation of line p is this model. */
static void deploy(struct world *w, const char *digest)
{
    struct route route = {
        .generation = ++w->generation, .model = digest, .role = "champion", .weight = 1};

    deploy_routes(w, "p", w->sequence++, &route, 1);
}

/* ---- HTTP, from the pool ---- */

struct call {
    struct world *w;
    struct http_request rq;
    struct http_response rs;
    struct err err;
    struct json *json;
    bool is_done, ok;
};

static void run_call(void *ctx)
{
    struct call *c = ctx;

    c->ok = http_client_call(c->w->client, &c->rq, &c->rs, &c->err) == 0;
}

static void done_call(void *ctx)
{
    ((struct call *)ctx)->is_done = true;
}

static bool is_called(void *ctx)
{
    return ((struct call *)ctx)->is_done;
}

static void call_fini(struct call *c)
{
    json_free(c->json);
    http_response_fini(&c->rs);
}

static struct call call(struct world *w, const char *method, const char *path, const char *body)
{
    static const char *const headers[] = {"Content-Type: application/json", NULL};
    struct call c = {.w = w};
    CLEANUP_FREE char *url = xasprintf("%s%s", agent_url(w->b.agent), path);

    c.rq = (struct http_request){
        .method = method, .url = url, .headers = headers, .body = slice_str(body)};
    work_submit(w->b.loop, run_call, done_call, &c);
    bench_wait(&w->b, is_called, &c);
    if (!c.ok)
        fail_msg("%s: %s", path, c.err.msg);
    if (c.rs.body.len)
        c.json = json_parse(buf_slice(&c.rs.body), "answer", &c.err);
    return c;
}

static void expect_status(struct world *w, const char *method, const char *path, const char *body,
                          int status, const char *error)
{
    CLEANUP(call_fini) struct call c = call(w, method, path, body);

    if (c.rs.status != status || (error && !strstr(json_get_str(c.json, "error", ""), error)))
        fail_msg("%s %s: %d %s", method, path, c.rs.status, c.rs.body.data ? c.rs.body.data : "");
}

static char *body_of(struct world *w, const char *more, double a, const char *c)
{
    return arena_printf(
        &w->b.arena,
        "{%s\"inputs\":[{\"name\":\"a\",\"shape\":[1,1],\"datatype\":\"FP64\",\"data\":[%.17g]},"
        "{\"name\":\"c\",\"shape\":[1,1],\"datatype\":\"BYTES\",\"data\":[\"%s\"]}]}",
        more, a, c);
}

/* What model i says to a row. */
static double said_by(struct world *w, size_t i, double a, double c)
{
    const float row[] = {(float)a, (float)c};
    double p = NAN;
    struct err err = {0};

    assert_int_equal(xgb_predict(w->boosters[i]->xgb, row, 1, &p, &err), 0);
    return p;
}

static double probability(const struct json *answer)
{
    return json_num(json_at(json_get(json_at(json_get(answer, "outputs"), 0), "data"), 0), NAN);
}

static int64_t generation_of(const struct json *answer)
{
    return json_get_int(json_get(answer, "parameters"), "generation", -1);
}

static const char *role_of(const struct json *answer)
{
    return json_get_str(json_get(answer, "parameters"), "role", "");
}

static bool is_serving(void *ctx)
{
    struct world *w = ctx;

    return serve_agent.is_ready(w->b.agent);
}

static void start(struct world *w, const char *args)
{
    bench_start(&w->b, &serve_agent, args);
    bench_wait_ready(&w->b);
    bench_wait(&w->b, is_serving, w);
}

static struct serving_line line_of(struct world *w, int64_t i, const char *line)
{
    const struct serving_changed *s = bench_event(&w->b, RECORD_SERVING_CHANGED, i).rec;

    for (size_t k = 0; k < s->lines.n; k++)
        if (strcmp(s->lines.items[k].line, line) == 0)
            return s->lines.items[k];
    return (struct serving_line){.state = "not there"};
}
