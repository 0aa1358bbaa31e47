/* What is replaced at a single function: time, chance, models, evaluations, reading of data; and
 * the rules that a mutant takes out. */
#include <math.h>
#include <string.h>

#include "agents/evaluate/evaluation.h"
#include "agents/ingest/run.h"
#include "agents/monitor/drift.h"
#include "agents/monitor/quality.h"
#include "common/agent_internal.h"
#include "common/mem.h"
#include "common/model.h"
#include "common/xgb.h"
#include "tests/sim/sim.h"

/* ---- time and chance ---- */

int64_t __wrap_clk_unix_us(const struct clk *c);
int64_t __wrap_clk_unix_ms(const struct clk *c);
int64_t __wrap_clk_mono_ms(const struct clk *c);
int64_t __wrap_clk_mono_ns(void);
uint64_t __wrap_rng_os_seed(void);
void __wrap_id_random(char out[ID_SIZE]);

int64_t __wrap_clk_unix_us(const struct clk *c)
{
    (void)c;
    return SIM_UNIX_BASE_US + sim.now_us + (sim.current ? sim.current->skew_us : 0);
}

int64_t __wrap_clk_unix_ms(const struct clk *c)
{
    return __wrap_clk_unix_us(c) / SIM_MS;
}

int64_t __wrap_clk_mono_ms(const struct clk *c)
{
    (void)c;
    return sim.now_us / SIM_MS;
}

int64_t __wrap_clk_mono_ns(void)
{
    return sim.now_us * 1000;
}

uint64_t __wrap_rng_os_seed(void)
{
    return sim.current ? rng_next(&sim.current->rng) : sim.seq;
}

void __wrap_id_random(char out[ID_SIZE])
{
    snprintf(out, ID_SIZE, "%032llx", (unsigned long long)++sim.ids);
}

/* ---- models: two numbers in, one out ---- */

int __wrap_model_open(const struct artifacts *a, const char *digest, struct model **ret,
                      struct err *err);
int __wrap_xgb_check(struct slice model, size_t n_features, struct err *err);
int __wrap_xgb_load(struct slice model, struct xgb **ret, struct err *err);
void __wrap_xgb_free(struct xgb *x);
int __wrap_xgb_fits(const struct xgb *x, enum task task, size_t n_classes, struct err *err);
size_t __wrap_xgb_outputs(const struct xgb *x);
int __wrap_xgb_predict(struct xgb *x, const float *rows, size_t n_rows, double *out,
                       struct err *err);

int __wrap_model_open(const struct artifacts *a, const char *digest, struct model **ret,
                      struct err *err)
{
    CLEANUP(buf_fini) struct buf bytes = {0};
    if (artifacts_get(a, digest, MODEL_MAX_FILE_BYTES, &bytes, err))
        return -1;
    struct model *m = xcalloc(1, sizeof(*m));
    str_copy(m->digest, sizeof(m->digest), digest);
    str_copy(m->file, sizeof(m->file), digest);
    m->file_bytes = (int64_t)bytes.len;
    m->task = TASK_REGRESSION;
    *ret = m;
    return 0;
}

bool sim_is_bad_model(const char *digest)
{
    return hash64(digest, strlen(digest), sim.plan->seed) % 1000 <
           (uint64_t)sim.plan->noise.bad_models;
}

int __wrap_xgb_check(struct slice model, size_t n_features, struct err *err)
{
    char digest[DIGEST_HEX_SIZE];
    (void)n_features;
    digest_bytes(model.p, model.n, digest);
    return sim_is_bad_model(digest) ? err_inval(err, "sim: it is damaged") : 0;
}

int __wrap_xgb_load(struct slice model, struct xgb **ret, struct err *err)
{
    (void)err;
    *ret = (struct xgb *)(void *)xstrndup(model.p, 1);
    return 0;
}

void __wrap_xgb_free(struct xgb *x)
{
    free_ptr(&x);
}

int __wrap_xgb_fits(const struct xgb *x, enum task task, size_t n_classes, struct err *err)
{
    (void)x;
    (void)task;
    (void)n_classes;
    (void)err;
    return 0;
}

size_t __wrap_xgb_outputs(const struct xgb *x)
{
    (void)x;
    return 1;
}

int __wrap_xgb_predict(struct xgb *x, const float *rows, size_t n_rows, double *out,
                       struct err *err)
{
    (void)x;
    (void)rows;
    (void)err;
    for (size_t i = 0; i < n_rows; i++)
        out[i] = 0.5;
    return 0;
}

/* ---- evaluation ---- */

void __wrap_evaluation_run(struct evaluation *e);

static uint64_t lot(const char *text)
{
    return hash64(text, strlen(text), 7);
}

void __wrap_evaluation_run(struct evaluation *e)
{
    CLEANUP(buf_fini) struct buf bytes = {0};
    if (artifacts_get(e->artifacts, e->model, MODEL_MAX_FILE_BYTES, &bytes, &e->err) ||
        (e->champion &&
         artifacts_get(e->artifacts, e->champion, MODEL_MAX_FILE_BYTES, &bytes, &e->err))) {
        e->rc = -1;
        return;
    }
    double gain = lot(e->model) % 3 == 0 ? 0.1 : -0.1;
    int64_t rows = 100 * (int64_t)e->snapshots.n; /* the test rows of each */
    struct evaluation_metric *m = arena_alloc(&e->arena, sizeof(*m));
    *m = (struct evaluation_metric){.metric = "logloss",
                                    .slice = "all",
                                    .rows = rows,
                                    .candidate = 0.5 + gain,
                                    .champion = e->champion ? 0.5 : NAN,
                                    .difference = e->champion ? gain : NAN,
                                    .low = gain - 0.01,
                                    .high = gain + 0.01};
    e->rec = (struct model_evaluated){.line = e->line,
                                      .run = e->run,
                                      .model = e->model,
                                      .model_event = e->model_event,
                                      .status = "evaluated",
                                      .reason = "compared",
                                      .against = e->against,
                                      .champion = e->champion,
                                      .pipeline_sha256 = e->pipeline->sha256,
                                      .rows = rows,
                                      .confidence = 0.95,
                                      .metrics = {m, 1}};
}

/* ---- ingest: "sim:accept" makes a snapshot, "sim:reject" is refused ---- */

int __wrap_ingest_run(const struct ingest_request *rq, struct ingest_result *ret, struct err *err);

static int freeze(const struct ingest_request *rq, const char *line, struct dataset_ingested *o,
                  struct arena *arena, struct err *err)
{
    char digest[DIGEST_HEX_SIZE];
    const char *bytes = arena_printf(arena, "snapshot of %s for %s", rq->dataset_event, line);
    digest_bytes(bytes, strlen(bytes), digest);
    if (sim.mutant != MUTANT_WORDS_FIRST &&
        artifacts_put(rq->artifacts, bytes, strlen(bytes), digest, err))
        return -1;
    o->status = "accepted";
    o->reason = "1000 rows";
    o->snapshot = o->profile = arena_strdup(arena, digest);
    o->rows = 1000;
    o->train_rows = 800;
    o->valid_rows = o->test_rows = 100;
    return 0;
}

int __wrap_ingest_run(const struct ingest_request *rq, struct ingest_result *ret, struct err *err)
{
    struct ingest_result result = {0};
    bool is_refused = strcmp(rq->dataset->uri, "sim:reject") == 0;
    size_t n = rq->pipeline->segment && !is_refused ? (size_t)sim.plan->lines : 1;
    if (rq->cancel && *rq->cancel)
        return err_set(err, ERR_CANCELED, NEXT_RETRY, "canceled");
    struct dataset_ingested *items = arena_alloc(&result.arena, n * sizeof(*items));
    for (size_t i = 0; i < n; i++) {
        const char *segment = n > 1 || (rq->pipeline->segment && !is_refused)
                                  ? arena_printf(&result.arena, "s%zu", i)
                                  : NULL;
        const char *line = segment
                               ? arena_printf(&result.arena, "%s/%s", rq->pipeline->name, segment)
                               : rq->pipeline->name;
        items[i] = (struct dataset_ingested){.line = line,
                                             .pipeline = rq->pipeline->name,
                                             .segment = segment,
                                             .pipeline_sha256 = rq->pipeline->sha256,
                                             .dataset = rq->dataset->dataset,
                                             .version = rq->dataset->version,
                                             .dataset_event = rq->dataset_event,
                                             .status = "rejected",
                                             .reason = "sim: it is to be refused"};
        if (!is_refused && freeze(rq, line, &items[i], &result.arena, err)) {
            arena_fini(&result.arena);
            return -1;
        }
    }
    result.items = items;
    result.n = n;
    *ret = result;
    return 0;
}

/* ---- monitor's judgements ---- */

void __wrap_drift_judge(const struct reference *r, const struct counts *c, double threshold,
                        int64_t generation, struct arena *arena, struct verdict *ret);
void __wrap_quality_judge(const struct piece *pieces, const enum task *task,
                          const struct quality_bound *bound, int64_t total, int64_t generation,
                          struct arena *arena, struct quality *ret);

void __wrap_drift_judge(const struct reference *r, const struct counts *c, double threshold,
                        int64_t generation, struct arena *arena, struct verdict *ret)
{
    (void)r;
    (void)c;
    (void)threshold;
    (void)arena;
    uint64_t draw = sim.plan->seed * 31 + (uint64_t)generation;
    bool is_drift = hash64(&draw, sizeof(draw), 3) % 3 == 0;
    *ret = (struct verdict){.worst_psi = is_drift ? 1 : 0,
                            .prediction_psi = is_drift ? 1 : 0,
                            .is_known = true,
                            .is_drift = is_drift,
                            .has_prediction_moved = is_drift,
                            .reason = is_drift ? "sim: it has moved" : "sim: as ever"};
}

void __wrap_quality_judge(const struct piece *pieces, const enum task *task,
                          const struct quality_bound *bound, int64_t total, int64_t generation,
                          struct arena *arena, struct quality *ret)
{
    (void)pieces;
    (void)task;
    (void)bound;
    (void)total;
    (void)arena;
    uint64_t draw = sim.plan->seed * 37 + (uint64_t)generation;
    bool is_bad = hash64(&draw, sizeof(draw), 5) % 4 == 0;
    *ret = (struct quality){.verdict = is_bad ? "degraded" : "ok", .reason = "sim"};
}
