/* What an agent makes of events that come in another order or with headers that are wrong, and of a
 * client that gives up: the same fold, which GET /fold tells in one number, and answers that are
 * well formed and of which none is missing.  On a bus in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/digest.h"
#include "common/http.h"
#include "tests/support/fakebus/agent_bench.c"

enum { PARTITIONS = 4, HOME = 2, AWAY = 3, ORDERS = 40 };
static const char LINE[] = "shop";

/* ---- two agents: one that looks at everything, and one that answers every alert ---- */

static const struct agent_input EVERYTHING[] = {{RECORD_DRIFT_DETECTED, INPUT_GLOBAL},
                                                {RECORD_TRAINING_PLANNED, INPUT_GLOBAL}};
static const struct agent_spec LOOKER = {
    .name = "looker", .purpose = "Looks.", .inputs = EVERYTHING, .n_inputs = ARRAY_LEN(EVERYTHING)};

static int answer_alerts(struct agent *a, struct unit *u, struct err *err)
{
    const struct event_list *list = &u->line->ev[RECORD_DRIFT_DETECTED];
    for (size_t i = 0; i < list->n; i++) {
        const struct training_planned p = {.line = u->key,
                                           .kind = "ignored",
                                           .base = ABSENT_I64,
                                           .until_unix_ms = ABSENT_I64,
                                           .deadline_unix_ms = ABSENT_I64,
                                           .reason = "as always"};
        const struct emission e = {.record = RECORD_TRAINING_PLANNED,
                                   .rec = &p,
                                   .cause = list->items[i],
                                   .about = "answer"};
        if (!line_answer(u->line, RECORD_TRAINING_PLANNED, list->items[i]->id) &&
            agent_emit(a, u, &e, err))
            return -1;
    }
    return 0;
}
static const struct agent_input OWN[] = {{RECORD_DRIFT_DETECTED, INPUT_WORK},
                                         {RECORD_TRAINING_PLANNED, INPUT_TABLE}};
static const enum record PLANS[] = {RECORD_TRAINING_PLANNED};
static const struct agent_spec ANSWERER = {.name = "answerer",
                                           .purpose = "Answers.",
                                           .inputs = OWN,
                                           .n_inputs = ARRAY_LEN(OWN),
                                           .outputs = PLANS,
                                           .n_outputs = ARRAY_LEN(PLANS),
                                           .reconcile = answer_alerts};

/* ---- the log ---- */

static int set_up(void **state)
{
    static struct bench b;
    bench_setup(&b);
    *state = &b;
    return 0;
}

static int tear_down(void **state)
{
    bench_teardown(*state);
    return 0;
}

static void make_log(void)
{
    fake_bus_reset();
    fake_bus_topic("relearn.drift", PARTITIONS);
    fake_bus_topic("relearn.plans", PARTITIONS);
    fake_bus_topic("relearn.pipelines", 1);
    fake_bus_topic("relearn.deadletters", 1);
}

static void append(struct bench *b, enum record r, const void *rec, int partition, const char *id,
                   const char *trace)
{
    CLEANUP(buf_fini) struct buf value = {0};
    const struct bus_header headers[] = {{"ce_id", id, strlen(id)},
                                         {"traceparent", trace, trace ? strlen(trace) : 0}};
    struct err err = {0};
    if (codec_encode(b->codec, r, rec, &value, &err))
        fail_msg("%s", err.msg);
    fake_bus_append(bench_topic(b, r), partition, slice_str(LINE), buf_slice(&value), headers,
                    trace ? 2 : 1);
}

static void alert(struct bench *b, int partition, const char *id, const char *trace)
{
    const struct drift_detected d = {.line = LINE,
                                     .source = "test",
                                     .kind = "external",
                                     .summary = "it moved",
                                     .generation = ABSENT_I64,
                                     .windows = ABSENT_I64};
    append(b, RECORD_DRIFT_DETECTED, &d, partition, id, trace);
}

static void plan(struct bench *b, const char *kind, int64_t base, const char *id)
{
    const struct training_planned p = {.line = LINE,
                                       .kind = kind,
                                       .base = base,
                                       .until_unix_ms = ABSENT_I64,
                                       .deadline_unix_ms = ABSENT_I64,
                                       .reason = "so"};
    append(b, RECORD_TRAINING_PLANNED, &p, HOME, id, NULL);
}

/* ---- GET /fold ---- */

struct call {
    char *url;
    struct http_response rs;
    struct err err;
    int rc;
    bool is_done;
};

static void call_run(void *ctx)
{
    struct call *c = ctx;
    const struct http_request rq = {.url = c->url, .timeout_ms = BENCH_WAIT_MS};
    c->rc = http_call(&rq, &c->rs, &c->err);
}

static void call_done(void *ctx)
{
    ((struct call *)ctx)->is_done = true;
}

static bool is_called(void *ctx)
{
    return ((struct call *)ctx)->is_done;
}

struct fold {
    int64_t events;
    char digest[DIGEST_HEX_SIZE];
};

static struct fold ask_fold(struct bench *b)
{
    struct call c = {.url = xasprintf("%s/fold", agent_url(b->agent))};
    struct fold f = {0};
    struct err err = {0};
    work_submit(b->loop, call_run, call_done, &c);
    bench_wait(b, is_called, &c);
    if (c.rc || c.rs.status != 200)
        fail_msg("%s: %d %s", c.url, c.rs.status, c.err.msg);
    CLEANUP(json_freep) struct json *j = json_parse(buf_slice(&c.rs.body), "fold", &err);
    f.events = json_get_int(j, "events", -1);
    assert_true(str_copy(f.digest, sizeof(f.digest), json_get_str(j, "digest", "")));
    http_response_fini(&c.rs);
    free_ptr(&c.url);
    return f;
}

static struct fold fold_of(struct bench *b, const struct agent_spec *spec, const char *args)
{
    bench_start(b, spec, args);
    bench_wait_ready(b);
    bench_settle(b);
    struct fold f = ask_fold(b);
    bench_kill(b);
    loop_turn(b->loop, 0); /* its bus goes */
    return f;
}

/* ---- tests ---- */

/* A stray on a partition that is not its line's, between its line's own events or not, and the copy
 * that was forwarded. */
static void fold_is_the_same_in_whatever_order_partitions_come(void **state)
{
    struct bench *b = *state;
    struct fold first = {0};
    assert_int_equal(bus_partition_of(LINE, strlen(LINE), PARTITIONS), HOME);
    for (uint64_t seed = 1; seed <= ORDERS; seed++) {
        make_log();
        alert(b, HOME, "home-1", NULL);
        alert(b, AWAY, "stray-1", NULL);
        alert(b, HOME, "home-2", NULL);
        alert(b, HOME, "stray-1", NULL);
        alert(b, AWAY, "stray-2", NULL);
        plan(b, "requested", 0, "plan-1");
        plan(b, "ignored", ABSENT_I64, "plan-2");
        fake_bus_shuffle(seed);
        struct fold f = fold_of(b, &LOOKER, "--cache=false");
        assert_int_equal(f.events, 6);
        if (seed == 1)
            first = f;
        if (strcmp(f.digest, first.digest) != 0)
            fail_msg("order %llu: %s, not %s", (unsigned long long)seed, f.digest, first.digest);
    }
}

/* Each of these is another fold. */
static void fold_of_another_log_is_another(void **state)
{
    struct bench *b = *state;
    static const struct {
        const char *label, *alerts[3], *plans[3];
    } LOGS[] = {
        {"nothing", {0}, {0}},
        {"one alert", {"a"}, {0}},
        {"another alert", {"b"}, {0}},
        {"two alerts", {"a", "b"}, {0}},
        {"a plan", {"a"}, {"p"}},
        {"two rivals", {"a"}, {"p", "q"}},
        {"the other one wins", {"a"}, {"q", "p"}},
    };
    struct fold folds[ARRAY_LEN(LOGS)];
    for (size_t i = 0; i < ARRAY_LEN(LOGS); i++) {
        make_log();
        for (size_t k = 0; k < 3 && LOGS[i].alerts[k]; k++)
            alert(b, HOME, LOGS[i].alerts[k], NULL);
        for (size_t k = 0; k < 3 && LOGS[i].plans[k]; k++)
            plan(b, "requested", 0, LOGS[i].plans[k]);
        folds[i] = fold_of(b, &LOOKER, "--cache=false");
        for (size_t k = 0; k < i; k++) {
            bool is_lost_rival = i == 5 && k == 4; /* void ones are no part of the fold */
            if ((strcmp(folds[i].digest, folds[k].digest) == 0) != is_lost_rival)
                fail_msg("%s: %s; %s: %s", LOGS[i].label, folds[i].digest, LOGS[k].label,
                         folds[k].digest);
        }
    }
}

static const char *header_of(const struct bus_message *m, const char *name, size_t n)
{
    for (size_t i = 0; i < m->n_headers; i++)
        if (strcmp(m->headers[i].name, name) == 0) {
            assert_int_equal(m->headers[i].n, n);
            return m->headers[i].value;
        }
    fail_msg("no header %s", name);
    return NULL;
}

/* An outside tracer's trace goes on in the answer, anything else is no trace. */
static void traceparent_goes_on_only_if_it_is_one(void **state)
{
    enum { TRACE_BYTES = 55, ID_AT = 3, ID_BYTES = 32 };
    static const char GOOD[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    static const char *const BAD[] = {
        "",
        "0",
        "00-",
        "hello",
        "00-4bf92f3577b34da6a3ce929d0e0e473",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
        "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736 00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6\r\nx-evil: 1\r\n6-00f067aa0ba902b7-01",
        "zz-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9",
    };
    struct bench *b = *state;
    char id[32];
    make_log();
    alert(b, HOME, "good", GOOD);
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        snprintf(id, sizeof(id), "bad-%zu", i);
        alert(b, HOME, id, BAD[i]);
    }
    alert(b, HOME, "none", NULL);
    bench_start(b, &ANSWERER, NULL);
    bench_wait_ready(b);
    bench_settle(b);
    assert_int_equal(fake_bus_end("relearn.plans", HOME), ARRAY_LEN(BAD) + 2);
    for (size_t i = 0; i < ARRAY_LEN(BAD) + 2; i++) {
        const struct bus_message *m = fake_bus_at("relearn.plans", HOME, (int64_t)i);
        const char *trace = header_of(m, "traceparent", TRACE_BYTES);
        const char *shape = "00-################################-################-01";
        bool goes_on = memcmp(trace + ID_AT, GOOD + ID_AT, ID_BYTES) == 0;
        if (goes_on != (i == 0))
            fail_msg("answer %zu: %.55s", i, trace);
        for (size_t k = 0; k < TRACE_BYTES; k++)
            if (shape[k] == '#' ? !strchr("0123456789abcdef", trace[k]) : trace[k] != shape[k])
                fail_msg("answer %zu: %.55s", i, trace);
    }
}

static bool has_ended(void *ctx)
{
    fake_bus_step();
    return agent_exit_code(((struct bench *)ctx)->agent) != 0;
}

/* librdkafka's idempotent producer may end for good.  The process ends then, and what it had not
 * delivered, an answer, a dead letter, a stray on its way, is done by the next one, once. */
static void what_a_client_that_gave_up_had_on_its_way_is_done_by_the_next_process(void **state)
{
    struct bench *b = *state;
    make_log();
    bench_start(b, &ANSWERER, NULL);
    bench_wait_ready(b);
    for (int i = 0; i < 3; i++) {
        bench_settle(b);
        fake_bus_faults.give_up = 1;
        if (i == 0)
            alert(b, HOME, "answer", NULL);
        else if (i == 1)
            fake_bus_append("relearn.drift", HOME, slice_str(LINE), slice_str("no Avro"), NULL, 0);
        else
            alert(b, AWAY, "stray", NULL);
        bench_wait(b, has_ended, b);
        assert_int_equal(agent_exit_code(b->agent), 1);
        assert_int_equal(fake_bus_faults.give_up, 0);
        bench_kill(b);
        loop_turn(b->loop, 0);
        bench_start(b, &ANSWERER, NULL); /* with the state folder of the one before */
        bench_wait_ready(b);
    }
    bench_settle(b);
    assert_int_equal(fake_bus_end("relearn.plans", HOME), 2);
    assert_int_equal(fake_bus_end("relearn.deadletters", 0), 1);
    assert_int_equal(fake_bus_end("relearn.drift", HOME), 3); /* the stray went home once */
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(fold_is_the_same_in_whatever_order_partitions_come),
        T(fold_of_another_log_is_another),
        T(traceparent_goes_on_only_if_it_is_one),
        T(what_a_client_that_gave_up_had_on_its_way_is_done_by_the_next_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
