/* A request from its bytes to its answer, in four steps: parse (pure), route (loop), score (pure),
 * finish (loop).  Small requests, that is nearly all, go through them in one call; large ones take
 * the pure steps on the pool.  One that asks for a generation that is not in memory waits between
 * route and score. */
#include <string.h>

#include "agents/serve/answer.h"
#include "agents/serve/encode.h"
#include "agents/serve/inference.h"
#include "agents/serve/serve_internal.h"
#include "common/log.h"
#include "common/mem.h"

/* ---- life ---- */

static void set_aside(struct inference *f)
{
    struct serve *sv = f->sv;

    f->next = sv->under_way;
    f->prev = &sv->under_way;
    if (f->next)
        f->next->prev = &f->next;
    sv->under_way = f;
    sv->n_under_way++;
}

static void take_back(struct inference *f)
{
    if (!f->prev)
        return;
    *f->prev = f->next;
    if (f->next)
        f->next->prev = f->prev;
    f->prev = NULL;
    f->sv->n_under_way--;
}

static void inference_fini(struct inference *f)
{
    if (f->booster)
        boosters_release(f->boosters, f->booster);
    oip_request_fini(&f->in);
    free_ptr(&f->x);
    free_ptr(&f->p);
    buf_fini(&f->answer);
    arena_fini(&f->mem);
}

int inference_fail(struct inference *f, int status)
{
    f->status = status;
    return -1;
}

/* ---- parse and score: pure, any thread ---- */

static int parse(struct inference *f)
{
    return oip_parse(f->body, f->json_bytes, &f->in, &f->err) ? inference_fail(f, 400) : 0;
}

static int score(struct inference *f)
{
    struct booster *b = f->booster;
    size_t k = xgb_outputs(b->xgb);
    struct answer_facts facts = {
        .name = f->name,
        .line = f->line,
        .role = route_role_str(f->role),
        .generation = f->generation,
        .model = b->model,
        .prediction = f->prediction,
    };

    if (encode_rows(&f->in, b->columns, f->known, &f->x, &f->rows, &f->err))
        return inference_fail(f, 400);
    if (f->rows * k > SERVE_MAX_OUTPUTS) {
        err_set(&f->err, ERR_LIMIT, NEXT_REJECT,
                "%zu rows of %zu outputs: send fewer rows at a time", f->rows, k);
        return inference_fail(f, 400);
    }
    f->p = xmalloc(f->rows * k * sizeof(*f->p));
    if (xgb_predict(b->xgb, f->x, f->rows, f->p, &f->err))
        return inference_fail(f, 500);
    facts.outputs = f->p;
    facts.rows = f->rows;
    return answer_write(&f->in, &facts, &f->answer, &f->answer_json_bytes, &f->err)
               ? inference_fail(f, 400)
               : 0;
}

/* ---- finish ---- */

static void count(struct serve *sv, int status)
{
    sv->counters.requests++;
    if (status == 400)
        sv->counters.invalid++;
    else if (status == 404)
        sv->counters.unknown++;
    else if (status == 503)
        sv->counters.refused++;
    else if (status)
        sv->counters.failed++;
}

static int send(struct inference *f, int64_t now_ns)
{
    struct served_rows rows = {
        .line = f->line,
        .prediction = f->prediction,
        .model = f->booster->digest,
        .role = route_role_str(f->role),
        .generation = f->generation,
        .rows = f->rows,
        .features = f->booster->model->shape.n_columns,
        .outputs = xgb_outputs(f->booster->xgb),
        .x = f->x,
        .p = f->p,
        .latency_us = (now_ns - f->start_ns) / 1000,
        .served_unix_ms = agent_now_ms(f->sv->a),
    };

    if (f->in.id.p)
        rows.request = arena_strndup(&f->mem, f->in.id.p, f->in.id.n);
    return records_send(f->sv->records, &rows, &f->err) ? inference_fail(f, 503) : 0;
}

static void answer(struct inference *f)
{
    char length[64];
    const char *const headers[] = {length, NULL};

    if (f->status == 503) {
        serve__answer_busy(f->sv, f->rq, f->err.msg);
    } else if (f->status) {
        httpd_answer_error(f->rq, f->status, "%s", f->err.msg);
    } else if (f->answer_json_bytes) {
        snprintf(length, sizeof(length), "Inference-Header-Content-Length: %zu",
                 f->answer_json_bytes);
        httpd_answer_headers(f->rq, 200, "application/octet-stream", headers,
                             buf_slice(&f->answer));
    } else {
        httpd_answer(f->rq, 200, "application/json", buf_slice(&f->answer));
    }
}

static void finish(struct inference *f)
{
    int64_t now_ns = clk_mono_ns();

    if (!f->status)
        (void)send(f, now_ns);
    count(f->sv, f->status);
    if (!f->status) {
        f->sv->counters.rows += f->rows;
        f->sv->counters.by_role[f->role]++;
        agent_observe_ms(f->sv->a, "predict_ms", NULL, (double)(now_ns - f->start_ns) / 1e6);
    } else if (f->status == 500) {
        log_error("predict.failed", "line=%s error=%s", f->line, f->err.msg);
    }
    answer(f);
}

/* ---- the pool ---- */

static void run_parse(void *ctx)
{
    (void)parse(ctx);
}

static void run_score(void *ctx)
{
    (void)score(ctx);
}

/* Back on the loop; false: nobody waits for it any more, and it is gone. */
static bool is_back(struct inference *f)
{
    f->is_on_pool = false;
    if (f->sv) {
        take_back(f);
        return true;
    }
    inference_fini(f);
    free_ptr(&f);
    return false;
}

static void end(struct inference *f)
{
    finish(f);
    inference_fini(f);
    free_ptr(&f);
}

static void done_score(void *ctx)
{
    if (is_back(ctx))
        end(ctx);
}

static void to_pool(struct inference *f, void (*run)(void *ctx), void (*done)(void *ctx))
{
    f->is_on_pool = true;
    set_aside(f);
    work_submit(agent_loop(f->sv->a), run, done, f);
}

/* From route on, for those that are on the heap. */
static void go_on(struct inference *f)
{
    int rc = f->status ? -1 : inference_route(f);

    if (rc == 1 && f->sv->n_under_way >= SERVE_MAX_WAITING) {
        err_set(&f->err, ERR_LIMIT, NEXT_RETRY, "%d requests wait for models already",
                SERVE_MAX_WAITING);
        rc = inference_fail(f, 503);
    }
    if (rc == 1)
        set_aside(f);
    else if (rc == 0 && f->is_large)
        to_pool(f, run_score, done_score);
    else {
        if (rc == 0)
            (void)score(f);
        end(f);
    }
}

static void done_parse(void *ctx)
{
    if (is_back(ctx))
        go_on(ctx);
}

/* ---- in ---- */

static bool is_busy(struct serve *sv, const char **ret_why)
{
    if (agent_is_stopping(sv->a))
        *ret_why = "this instance is stopping";
    else if (!sv->is_settled)
        *ret_why = "not ready: models are being loaded";
    else if (!records_have_room(sv->records, 1, 1, 1))
        *ret_why = "the bus does not take predictions as fast as they come, or is down";
    else
        return false;
    return true;
}

static int64_t json_bytes_of(struct httpd_request *rq, struct err *err)
{
    const char *text = httpd_header(rq, "Inference-Header-Content-Length");
    int64_t n = -1;

    if (text && (str_to_i64(text, &n) || n < 0)) {
        err_inval(err, "Inference-Header-Content-Length: '%.40s' is no number of bytes", text);
        return -2;
    }
    return n;
}

/* 128 random bits, as id_random's, at a fraction of its price: they need not be secret. */
static void make_id(struct rng *r, char out[ID_SIZE])
{
    static const char digits[] = "0123456789abcdef";

    for (int half = 0; half < 2; half++) {
        uint64_t bits = rng_next(r);

        for (int i = 0; i < 16; i++, bits >>= 4)
            *out++ = digits[bits & 15];
    }
    *out = '\0';
}

static void begin(struct inference *f)
{
    f->is_large = f->body.n > SERVE_POOL_BYTES;
    f->json_bytes = json_bytes_of(f->rq, &f->err);
    make_id(&f->sv->ids, f->prediction);
    if (f->json_bytes == -2)
        f->status = 400;
}

void serve__infer(struct serve *sv, struct httpd_request *rq, const char *name, const char *version)
{
    struct inference f = {
        .sv = sv,
        .boosters = sv->boosters,
        .rq = rq,
        .start_ns = clk_mono_ns(),
        .name = name, /* the request's own, as long as it lives */
        .version = version,
        .body = httpd_body(rq),
    };
    const char *why;

    if (is_busy(sv, &why)) {
        count(sv, 503);
        serve__answer_busy(sv, rq, why);
        return;
    }
    begin(&f);
    if (!f.status && f.is_large) {
        to_pool(xmemdup(&f, sizeof(f)), run_parse, done_parse);
        return;
    }
    if (!f.status)
        (void)parse(&f);
    if (version) {
        go_on(xmemdup(&f, sizeof(f)));
        return;
    }
    if (!f.status && inference_route(&f) == 0)
        (void)score(&f);
    finish(&f);
    inference_fini(&f);
}

void serve__infer_on_loaded(struct serve *sv, const char *digest)
{
    struct inference *f = sv->under_way, *next;

    for (; f; f = next) {
        next = f->next;
        if (f->is_on_pool || !f->wanted || strcmp(f->wanted, digest) != 0)
            continue;
        take_back(f);
        f->wanted = NULL;
        go_on(f);
    }
}

static void refuse(struct inference *f, const char *why)
{
    err_set(&f->err, ERR_CANCELED, NEXT_RETRY, "%s", why);
    f->status = 503;
}

void serve__infer_stop(struct serve *sv)
{
    struct inference *f = sv->under_way, *next;

    for (; f; f = next) {
        next = f->next;
        if (f->is_on_pool)
            continue;
        take_back(f);
        refuse(f, "this instance is stopping");
        end(f);
    }
}

void serve__infer_close(struct serve *sv)
{
    serve__infer_stop(sv);
    while (sv->under_way) {
        struct inference *f = sv->under_way;

        take_back(f);
        serve__answer_busy(sv, f->rq, "this instance is stopping");
        f->sv = NULL;
    }
}
