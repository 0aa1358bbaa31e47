/* The serve agent as a whole, on a bus in memory, over real HTTP: what is in force, what is
 * answered, what is recorded, and what happens when something is missing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/fakebus/serve_bench.c"

/* ---- what is served ---- */

static void the_newest_deployment_is_loaded_before_it_is_ready(void **state)
{
    struct world *w = *state;
    const struct serving_changed *s;
    struct serving_line line;

    deploy(w, w->models[0]);
    deploy(w, w->models[1]);
    start(w, NULL);
    expect_status(w, "GET", "/readyz", "", 200, NULL);
    expect_status(w, "GET", "/v2/health/ready", "", 200, NULL);
    bench_wait_count(&w->b, RECORD_SERVING_CHANGED, 1);
    s = bench_event(&w->b, RECORD_SERVING_CHANGED, 0).rec;
    line = line_of(w, 0, "p");
    assert_null(s->changed_line);
    assert_string_equal(s->url, agent_url(w->b.agent));
    assert_string_equal(line.state, "serving");
    assert_int_equal(line.generation, 2);
    assert_int_equal(line.sequence, 2);
    assert_string_equal(line.model, w->models[1]);
}

static void without_deployments_it_is_ready_and_serves_nothing(void **state)
{
    struct world *w = *state;

    start(w, NULL);
    expect_status(w, "POST", "/v2/models/p/infer", body_of(w, "", 0.5, "x"), 503,
                  "'p' has no model in service yet");
    expect_status(w, "POST", "/v2/models/nobody/infer", body_of(w, "", 0.5, "x"), 404,
                  "there is no model 'nobody'");
    expect_status(w, "GET", "/v2/models/p/ready", "", 503, NULL);
    expect_status(w, "GET", "/v2/models/nobody/ready", "", 404, NULL);
}

static void an_answer_is_the_models_and_is_recorded(void **state)
{
    struct world *w = *state;
    struct bench_event ev;
    const struct prediction_served *r;

    deploy(w, w->models[0]);
    start(w, NULL);
    CLEANUP(call_fini)
    struct call c =
        call(w, "POST", "/v2/models/p/infer", body_of(w, "\"id\":\"mine\",", 0.25, "z"));
    assert_int_equal(c.rs.status, 200);
    assert_true(probability(c.json) == said_by(w, 0, 0.25, 2));
    bench_wait_count(&w->b, RECORD_PREDICTION_SERVED, 1);
    ev = bench_event(&w->b, RECORD_PREDICTION_SERVED, 0);
    r = ev.rec;
    assert_string_equal(r->prediction,
                        json_get_str(json_get(c.json, "parameters"), "prediction", ""));
    assert_string_equal(ev.id, r->prediction);
    assert_string_equal(r->request, "mine");
    assert_string_equal(r->line, "p");
    assert_string_equal(r->role, "champion");
    assert_string_equal(r->model, w->models[0]);
    assert_int_equal(r->generation, 1);
    assert_int_equal(r->rows, 1);
    assert_int_equal(r->features.n, 2);
    assert_true(r->features.items[0] == 0.25f && r->features.items[1] == 2);
    assert_int_equal(r->outputs.n, 1);
    assert_true(r->outputs.items[0] == probability(c.json));
}

static void a_deployment_is_answered_once_by_what_is_served(void **state)
{
    struct world *w = *state;
    struct bench_event ev;

    deploy(w, w->models[0]);
    start(w, "--instance serve-1");
    deploy(w, w->models[1]);
    bench_wait_count(&w->b, RECORD_SERVING_CHANGED, 2);
    ev = bench_event(&w->b, RECORD_SERVING_CHANGED, 1);
    char id[ID_SIZE];
    id_from_cause("serving", "deployment-p-1", "serve-1", id);
    assert_string_equal(ev.id, id);
    assert_string_equal(ev.cause, "deployment-p-1");
    assert_int_equal(ev.hops, 1);
    assert_string_equal(((const struct serving_changed *)ev.rec)->changed_line, "p");
    CLEANUP(call_fini)
    struct call c = call(w, "POST", "/v2/models/p/infer", body_of(w, "", 0.25, "x"));
    assert_int_equal(generation_of(c.json), 2);
    assert_true(probability(c.json) == said_by(w, 1, 0.25, 0));
    CLEANUP(call_fini) struct call m = call(w, "GET", "/metrics", "");
    assert_non_null(strstr(m.rs.body.data, "relearn_models 1\n")); /* the one before is gone */
}

static void a_canary_answers_those_whose_key_says_so(void **state)
{
    struct world *w = *state;
    const struct route routes[] = {
        {.generation = 1, .model = w->models[0], .role = "champion", .weight = 0.5},
        {.generation = 2, .model = w->models[1], .role = "canary", .weight = 0.5}};
    int canary = 0;

    deploy(w, w->models[0]);
    deploy_routes(w, "p", 1, routes, 2);
    start(w, NULL);
    for (int i = 0; i < 40; i++) {
        char *more = arena_printf(&w->b.arena, "\"id\":\"%d\",\"parameters\":{\"user\":\"u%d\"},",
                                  i, i % 20);
        CLEANUP(call_fini)
        struct call c = call(w, "POST", "/v2/models/p/infer", body_of(w, more, 0.5, "y"));
        int64_t g = generation_of(c.json);
        struct prediction_served first;

        assert_string_equal(role_of(c.json), g == 2 ? "canary" : "champion");
        assert_true(probability(c.json) == said_by(w, (size_t)g - 1, 0.5, 1));
        canary += g == 2;
        bench_wait_count(&w->b, RECORD_PREDICTION_SERVED, i + 1);
        if (i < 20)
            continue;
        first =
            *(const struct prediction_served *)bench_event(&w->b, RECORD_PREDICTION_SERVED, i - 20)
                 .rec;
        assert_int_equal(first.generation, g); /* the same user, the same answer */
    }
    assert_in_range(canary, 4, 36);
}

static void an_earlier_generation_is_answered_by_number(void **state)
{
    struct world *w = *state;

    deploy(w, w->models[0]);
    deploy(w, w->models[1]);
    deploy(w, w->models[2]);
    start(w, "--pinned-models 1");
    for (int64_t g = 1; g <= 3; g++) {
        char *path = arena_printf(&w->b.arena, "/v2/models/p/versions/%lld/infer", (long long)g);
        CLEANUP(call_fini) struct call c = call(w, "POST", path, body_of(w, "", 0.4, "x"));

        assert_int_equal(c.rs.status, 200);
        assert_int_equal(generation_of(c.json), g);
        assert_string_equal(role_of(c.json), "pinned");
        assert_true(probability(c.json) == said_by(w, (size_t)g - 1, 0.4, 0));
        bench_wait_count(&w->b, RECORD_PREDICTION_SERVED, g);
        assert_string_equal(
            ((const struct prediction_served *)bench_event(&w->b, RECORD_PREDICTION_SERVED, g - 1)
                 .rec)
                ->role,
            "pinned");
    }
    CLEANUP(call_fini) struct call m = call(w, "GET", "/metrics", "");
    assert_non_null(strstr(m.rs.body.data, "relearn_models 2\n")); /* the champion and one pinned */
    expect_status(w, "POST", "/v2/models/p/versions/4/infer", body_of(w, "", 0.4, "x"), 404,
                  "no generation '4'");
    expect_status(w, "POST", "/v2/models/p/versions/x/infer", body_of(w, "", 0.4, "x"), 404,
                  "no generation 'x'");
    expect_status(w, "GET", "/v2/models/p/versions/1", "", 200, NULL);
    expect_status(w, "GET", "/v2/models/p/versions/1/ready", "", 200, NULL);
    expect_status(w, "GET", "/v2/models/p/versions/9/ready", "", 404, NULL);
}

/* ---- when a model cannot be had ---- */

static void the_one_before_answers_when_a_model_is_missing(void **state)
{
    struct world *w = *state;
    char missing[DIGEST_HEX_SIZE];
    struct bench_event ev;
    struct serving_line line;

    memset(missing, 'e', sizeof(missing));
    missing[sizeof(missing) - 1] = '\0';
    deploy(w, w->models[0]);
    start(w, "--load-retry 200ms");
    deploy(w, missing);
    bench_wait_count(&w->b, RECORD_SERVING_CHANGED, 2);
    ev = bench_event(&w->b, RECORD_SERVING_CHANGED, 1);
    line = line_of(w, 1, "p");
    assert_string_equal(ev.cause, "deployment-p-1");
    assert_string_equal(line.state, "failed");
    assert_int_equal(line.sequence, 2);
    assert_int_equal(line.generation, 1);
    assert_string_equal(line.model, w->models[0]);
    assert_non_null(strstr(line.reason, "eeeeeeeeeeee"));
    CLEANUP(call_fini)
    struct call c = call(w, "POST", "/v2/models/p/infer", body_of(w, "", 0.4, "x"));
    assert_int_equal(generation_of(c.json), 1);
    w->generation = 2;
    deploy(w, w->models[0]); /* the rollback */
    bench_wait_count(&w->b, RECORD_SERVING_CHANGED, 3);
    line = line_of(w, 2, "p");
    assert_string_equal(line.state, "serving");
    assert_int_equal(line.generation, 3);
}

static void a_damaged_model_is_refused_at_once(void **state)
{
    enum { SEED = 17 };
    struct world *w = *state;
    struct err err = {0};
    CLEANUP_FREE char *digest = train(&w->b.artifacts, "p", SEED);
    struct model *m = NULL;
    CLEANUP_FREE char *path = NULL;
    CLEANUP(buf_fini) struct buf bytes = {0};

    assert_int_equal(model_open(&w->b.artifacts, digest, &m, &err), 0);
    path = artifacts_path(&w->b.artifacts, m->file, &err);
    assert_int_equal(artifacts_get(&w->b.artifacts, m->file, 1 << 20, &bytes, &err), 0);
    bytes.data[100] ^= 1;
    assert_int_equal(fsx_write_file(path, bytes.data, bytes.len, &err), 0);
    deploy(w, w->models[0]);
    start(w, NULL);
    deploy(w, digest);
    bench_wait_count(&w->b, RECORD_SERVING_CHANGED, 2);
    assert_string_equal(line_of(w, 1, "p").state, "failed");
    CLEANUP(call_fini)
    struct call c = call(w, "POST", "/v2/models/p/infer", body_of(w, "", 0.4, "x"));
    assert_int_equal(generation_of(c.json), 1);
    model_free(m);
}

static void a_model_that_comes_late_is_waited_for(void **state)
{
    struct world *w = *state;
    struct err err = {0};
    CLEANUP_FREE char *path = artifacts_path(&w->b.artifacts, w->models[1], &err);
    CLEANUP_FREE char *away = xasprintf("%s.away", path);

    deploy(w, w->models[0]);
    assert_int_equal(rename(path, away), 0);
    start(w, NULL);
    deploy(w, w->models[1]);
    bench_settle(&w->b);
    CLEANUP(call_fini)
    struct call c = call(w, "POST", "/v2/models/p/infer", body_of(w, "", 0.4, "x"));
    assert_int_equal(generation_of(c.json), 1);
    assert_int_equal(rename(away, path), 0);
    bench_wait_count(&w->b, RECORD_SERVING_CHANGED, 2);
    assert_string_equal(line_of(w, 1, "p").state, "serving");
    assert_int_equal(line_of(w, 1, "p").generation, 2);
}

static void only_trusted_models_are_served_when_keys_are_given(void **state)
{
    struct world *w = *state;

    deploy(w, w->models[0]);
    start(w, "--trusted-keys 0000000000000000000000000000000000000000000000000000000000000000");
    bench_wait_count(&w->b, RECORD_SERVING_CHANGED, 1);
    assert_string_equal(line_of(w, 0, "p").state, "failed");
    assert_non_null(strstr(line_of(w, 0, "p").reason, "is not signed"));
    expect_status(w, "POST", "/v2/models/p/infer", body_of(w, "", 0.4, "x"), 503, "is not signed");
}

/* ---- segments ---- */

static char *matrix_of(struct world *w, const char *area)
{
    return arena_printf(
        &w->b.arena,
        "{\"inputs\":[{\"name\":\"m\",\"shape\":[1,2],\"datatype\":\"FP32\",\"data\":[0.5,1]}],"
        "\"parameters\":{\"area\":\"%s\"}}",
        area);
}

static char *columns_of(struct world *w, const char *area)
{
    return arena_printf(
        &w->b.arena,
        "{\"inputs\":[{\"name\":\"area\",\"shape\":[2],\"datatype\":\"BYTES\",\"data\":[\"south\","
        "\"%s\"]},"
        "{\"name\":\"a\",\"shape\":[2],\"datatype\":\"FP32\",\"data\":[0.5,0.5]},"
        "{\"name\":\"c\",\"shape\":[2],\"datatype\":\"BYTES\",\"data\":[\"y\",\"y\"]}]}",
        area);
}

static void segments_are_addressed_by_name_or_by_row(void **state)
{
    struct world *w = *state;
    const struct route north = {
        .generation = 1, .model = w->models[0], .role = "champion", .weight = 1};
    const struct route south = {
        .generation = 1, .model = w->models[1], .role = "champion", .weight = 1};
    static const char *const paths[] = {"/v2/models/s%2Fsouth/infer", "/v2/models/s/south/infer",
                                        "/v2/models/s/south/versions/1/infer"};

    deploy_routes(w, "s/north", 0, &north, 1);
    deploy_routes(w, "s/south", 0, &south, 1);
    start(w, NULL);
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        CLEANUP(call_fini) struct call c = call(w, "POST", paths[i], body_of(w, "", 0.5, "y"));
        assert_int_equal(c.rs.status, 200);
        assert_true(probability(c.json) == said_by(w, 1, 0.5, 1));
        assert_string_equal(json_get_str(json_get(c.json, "parameters"), "line", ""), "s/south");
    }
    CLEANUP(call_fini) struct call c = call(w, "POST", "/v2/models/s/infer", matrix_of(w, "north"));
    assert_int_equal(c.rs.status, 200);
    assert_true(probability(c.json) == said_by(w, 0, 0.5, (double)NAN));
    char *same = columns_of(w, "south");
    expect_status(w, "POST", "/v2/models/s/infer", same, 200, NULL);
    expect_status(w, "POST", "/v2/models/s/infer", columns_of(w, "north"), 400,
                  "inputs[0] 'area': data[1]: 'north' differs from 'south'");
    expect_status(w, "POST", "/v2/models/s%2Fnorth/infer", same, 400,
                  "the rows are of segment 'south'");
    expect_status(w, "POST", "/v2/models/s/infer", body_of(w, "", 0.5, "y"), 400,
                  "send the column 'area' along");
    expect_status(w, "POST", "/v2/models/s/infer", matrix_of(w, "east"), 404,
                  "no model serves segment 'east' of 's'");
    expect_status(w, "POST", "/v2/models/s/infer", matrix_of(w, "../x"), 400,
                  "is no name of a segment");
    expect_status(w, "POST", "/v2/models/s%2Feast/infer", body_of(w, "", 0.5, "y"), 404,
                  "there is no model 's/east'");
    expect_status(w, "GET", "/v2/models/s", "", 200, NULL);
    expect_status(w, "GET", "/v2/models/s/ready", "", 200, NULL);
    expect_status(w, "GET", "/v2/models/s/north", "", 200, NULL);
    CLEANUP(call_fini) struct call m = call(w, "GET", "/v2/models", "");
    assert_int_equal(json_len(json_get(m.json, "models")), 2);
}

/* ---- the protocol ---- */

static void paths_and_methods_are_those_of_the_protocol(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *method, *path;
        int status;
    } rows[] = {
        {"GET", "/v2", 200},
        {"GET", "/v2/health/live", 200},
        {"GET", "/v2/health/ready", 200},
        {"GET", "/v2/models", 200},
        {"GET", "/v2/models/p", 200},
        {"GET", "/v2/models/p/ready", 200},
        {"GET", "/v2/models/p/versions/1", 200},
        {"GET", "/v2/models/q", 404},
        {"GET", "/v2/models/p/versions/7", 404},
        {"GET", "/v2/nothing", 404},
        {"GET", "/v3", 404},
        {"GET", "/v2/models/p/infer", 405},
        {"POST", "/v2/models/p", 405},
        {"POST", "/v2/health/ready", 405},
        {"DELETE", "/v2/models/p/infer", 405},
        {"POST", "/v2/models/p/infer", 400}, /* an empty body */
        {"POST", "/v2/models/p%2Fq%2Fr/infer", 400},
    };

    deploy(w, w->models[0]);
    start(w, NULL);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        expect_status(w, rows[i].method, rows[i].path, "", rows[i].status, NULL);
    CLEANUP(call_fini) struct call c = call(w, "GET", "/v2/models/p", "");
    const struct json *input = json_at(json_get(c.json, "inputs"), 1);
    assert_string_equal(json_get_str(c.json, "platform", ""), "xgboost_ubj");
    assert_string_equal(json_get_str(input, "name", ""), "c");
    assert_string_equal(json_get_str(input, "datatype", ""), "BYTES");
    assert_string_equal(json_str(json_at(json_get(c.json, "versions"), 0), ""), "1");
}

static void a_body_beyond_the_cap_is_too_large(void **state)
{
    struct world *w = *state;
    CLEANUP(buf_fini) struct buf big = {0};

    deploy(w, w->models[0]);
    start(w, "--http-body-cap 64KiB");
    while (big.len < 70000)
        buf_add_str(&big, "                                                  ");
    expect_status(w, "POST", "/v2/models/p/infer", big.data, 413, "too large");
}

static void rows_are_split_over_records(void **state)
{
    enum { N = 2500 };
    struct world *w = *state;
    CLEANUP(buf_fini) struct buf body = {0};
    const char *prediction;
    int64_t rows = 0;

    buf_addf(&body,
             "{\"inputs\":[{\"name\":\"m\",\"shape\":[%d,2],\"datatype\":\"FP64\",\"data\":[", N);
    for (int i = 0; i < N; i++)
        buf_addf(&body, "%s%.6f,%d", i ? "," : "", i / (double)N, i % 3);
    buf_add_str(&body, "]}]}");
    deploy(w, w->models[0]);
    start(w, NULL);
    CLEANUP(call_fini) struct call c = call(w, "POST", "/v2/models/p/infer", body.data);
    assert_int_equal(c.rs.status, 200);
    prediction = json_get_str(json_get(c.json, "parameters"), "prediction", "");
    bench_wait_count(&w->b, RECORD_PREDICTION_SERVED, 3);
    for (int64_t i = 0; i < 3; i++) {
        struct bench_event ev = bench_event(&w->b, RECORD_PREDICTION_SERVED, i);
        const struct prediction_served *r = ev.rec;
        const char *id =
            i ? arena_printf(&w->b.arena, "%s:%lld", prediction, (long long)rows) : prediction;

        assert_string_equal(ev.id, id);
        assert_string_equal(r->prediction, id);
        assert_int_equal(r->rows, i < 2 ? 1000 : 500);
        assert_true(r->features.items[0] == (float)((double)rows / N));
        rows += r->rows;
    }
    assert_int_equal(rows, N);
}

static void a_large_request_is_scored_beside_small_ones(void **state)
{
    enum { N = 40000 };
    struct world *w = *state;
    CLEANUP(buf_fini) struct buf body = {0};

    buf_addf(&body,
             "{\"inputs\":[{\"name\":\"m\",\"shape\":[%d,2],\"datatype\":\"FP64\",\"data\":[", N);
    for (int i = 0; i < N; i++)
        buf_addf(&body, "%s%.6f,%d", i ? "," : "", i / (double)N, i % 3);
    buf_add_str(&body, "]}],\"outputs\":[{\"name\":\"probability\"}]}");
    deploy(w, w->models[0]);
    start(w, NULL);
    CLEANUP(call_fini) struct call c = call(w, "POST", "/v2/models/p/infer", body.data);
    assert_int_equal(c.rs.status, 200);
    assert_true(probability(c.json) == said_by(w, 0, 0, (double)NAN));
    assert_int_equal(json_len(json_get(json_at(json_get(c.json, "outputs"), 0), "data")), N);
    bench_wait_count(&w->b, RECORD_PREDICTION_SERVED, 40);
    body.data[body.len - 1] = ' ';
    expect_status(w, "POST", "/v2/models/p/infer", body.data, 400, "ends too early");
}

/* ---- the bus ---- */

static void requests_are_refused_when_the_bus_takes_no_more(void **state)
{
    struct world *w = *state;
    int answered = 0, refused = 0;

    deploy(w, w->models[0]);
    start(w, "--unacknowledged 5");
    bench_wait_count(&w->b, RECORD_SERVING_CHANGED, 1);
    bench_settle(&w->b);
    fake_bus_faults.down = true;
    for (int i = 0; i < 9; i++) {
        CLEANUP(call_fini)
        struct call c = call(w, "POST", "/v2/models/p/infer", body_of(w, "", 0.5, "x"));
        answered += c.rs.status == 200;
        refused += c.rs.status == 503;
    }
    assert_int_equal(answered, 5);
    assert_int_equal(refused, 4);
    fake_bus_faults.down = false;
    bench_wait_count(&w->b, RECORD_PREDICTION_SERVED, 5);
    bench_settle(&w->b);
    expect_status(w, "POST", "/v2/models/p/infer", body_of(w, "", 0.5, "x"), 200, NULL);
    fake_bus_faults.refuse_produce = 1;
    expect_status(w, "POST", "/v2/models/p/infer", body_of(w, "", 0.5, "x"), 503, "queue full");
    bench_settle(&w->b);
    assert_int_equal(bench_count(RECORD_PREDICTION_SERVED), 6);
}

static void a_record_that_was_not_delivered_is_sent_again(void **state)
{
    struct world *w = *state;
    const char *id;

    deploy(w, w->models[0]);
    start(w, NULL);
    bench_wait_count(&w->b, RECORD_SERVING_CHANGED, 1);
    bench_settle(&w->b);
    fake_bus_faults.lose = 1;
    CLEANUP(call_fini)
    struct call c = call(w, "POST", "/v2/models/p/infer", body_of(w, "", 0.5, "x"));
    assert_int_equal(c.rs.status, 200);
    id = json_get_str(json_get(c.json, "parameters"), "prediction", "");
    bench_wait_count(&w->b, RECORD_PREDICTION_SERVED, 1);
    assert_string_equal(bench_event(&w->b, RECORD_PREDICTION_SERVED, 0).id, id);
    bench_settle(&w->b);
    assert_int_equal(bench_count(RECORD_PREDICTION_SERVED), 1);
}

/* ---- life ---- */

static void it_says_when_it_stops_and_comes_back_as_it_was(void **state)
{
    struct world *w = *state;
    const struct serving_changed *s;

    deploy(w, w->models[0]);
    deploy(w, w->models[1]);
    start(w, NULL);
    bench_wait_count(&w->b, RECORD_SERVING_CHANGED, 1);
    bench_stop(&w->b);
    s = bench_event(&w->b, RECORD_SERVING_CHANGED, 1).rec;
    assert_true(s->stopping);
    start(w, NULL);
    bench_wait_count(&w->b, RECORD_SERVING_CHANGED, 3);
    assert_int_equal(line_of(w, 2, "p").generation, 2);
    bench_kill(&w->b);
    start(w, NULL);
    bench_wait_count(&w->b, RECORD_SERVING_CHANGED, 4);
    CLEANUP(call_fini)
    struct call c = call(w, "POST", "/v2/models/p/infer", body_of(w, "", 0.5, "x"));
    assert_int_equal(generation_of(c.json), 2);
}

static void a_withdrawn_pipeline_is_not_served(void **state)
{
    struct world *w = *state;

    deploy(w, w->models[0]);
    start(w, NULL);
    bench_wait_count(&w->b, RECORD_SERVING_CHANGED, 1);
    bench_withdraw(&w->b, "p");
    bench_wait_count(&w->b, RECORD_SERVING_CHANGED, 2);
    assert_string_equal(line_of(w, 1, "p").state, "withdrawn");
    expect_status(w, "POST", "/v2/models/p/infer", body_of(w, "", 0.5, "x"), 404,
                  "'p' was withdrawn");
    expect_status(w, "GET", "/v2/models/p", "", 404, NULL);
    bench_declare(&w->b, YAML);
    bench_wait_count(&w->b, RECORD_SERVING_CHANGED, 3);
    expect_status(w, "POST", "/v2/models/p/infer", body_of(w, "", 0.5, "x"), 200, NULL);
}

/* A stream of requests over many changes: none fails, and each is answered by one model alone. */
static void changes_neither_fail_nor_mix_requests(void **state)
{
    enum { CHANGES = 40 };
    struct world *w = *state;
    int64_t last = 0;

    deploy(w, w->models[0]);
    start(w, NULL);
    for (int i = 0; i < CHANGES || last < w->generation; i++) {
        double a = (i % 10) / 10.0;

        if (i < CHANGES)
            deploy(w, w->models[i % MODELS]);
        CLEANUP(call_fini)
        struct call c = call(w, "POST", "/v2/models/p/infer", body_of(w, "", a, "z"));
        int64_t g = generation_of(c.json);
        size_t model = g == 1 ? 0 : (size_t)(g - 2) % MODELS;

        assert_int_equal(c.rs.status, 200);
        assert_true(g >= last);
        assert_true(probability(c.json) == said_by(w, model, a, 2));
        assert_string_equal(json_get_str(json_get(c.json, "parameters"), "model", ""),
                            w->models[model]);
        last = g;
    }
    assert_int_equal(last, CHANGES + 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_newest_deployment_is_loaded_before_it_is_ready),
        TEST(without_deployments_it_is_ready_and_serves_nothing),
        TEST(an_answer_is_the_models_and_is_recorded),
        TEST(a_deployment_is_answered_once_by_what_is_served),
        TEST(a_canary_answers_those_whose_key_says_so),
        TEST(an_earlier_generation_is_answered_by_number),
        TEST(the_one_before_answers_when_a_model_is_missing),
        TEST(a_damaged_model_is_refused_at_once),
        TEST(a_model_that_comes_late_is_waited_for),
        TEST(only_trusted_models_are_served_when_keys_are_given),
        TEST(segments_are_addressed_by_name_or_by_row),
        TEST(paths_and_methods_are_those_of_the_protocol),
        TEST(a_body_beyond_the_cap_is_too_large),
        TEST(rows_are_split_over_records),
        TEST(a_large_request_is_scored_beside_small_ones),
        TEST(requests_are_refused_when_the_bus_takes_no_more),
        TEST(a_record_that_was_not_delivered_is_sent_again),
        TEST(it_says_when_it_stops_and_comes_back_as_it_was),
        TEST(a_withdrawn_pipeline_is_not_served),
        TEST(changes_neither_fail_nor_mix_requests),
    };

    return cmocka_run_group_tests(tests, train_all, forget_all);
}
