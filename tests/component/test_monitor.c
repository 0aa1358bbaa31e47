/* The monitor agent as a whole, on a bus in memory: what is measured, what is alerted, what a
 * crash, a repeat, another order and a second instance change: nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/fakebus/monitor_bench.c"

/* ---- windows ---- */

static void a_calm_window_is_ok(void **state)
{
    struct world *w = *state;
    struct bench_event ev;
    const struct health_measured *h;

    deploy(w, shared.models[0]);
    predict(w, (struct rows){.id = "a", .n = 60, .to = 1});
    predict(w, (struct rows){.id = "b", .n = 60, .to = 1});
    start(w);
    bench_wait_count(&w->b, RECORD_HEALTH_MEASURED, 1);
    expect_health(w, 0, "window 1.0 ok x1");
    ev = bench_event(&w->b, RECORD_HEALTH_MEASURED, 0);
    h = ev.rec;
    assert_string_equal(ev.cause, "b");
    assert_int_equal(ev.hops, 1);
    assert_string_equal(h->first_prediction, "a.0");
    assert_string_equal(h->last_prediction, "b.39");
    assert_int_equal(h->from_offset, 0);
    assert_int_equal(h->to_offset, 1);
    assert_int_equal(h->predictions, WINDOW);
    assert_string_equal(h->cluster, "mockClusterFake1");
    assert_int_equal(h->features.n, 1);
    assert_true(h->features.items[0].psi < 0.5);
    bench_settle(&w->b);
    assert_int_equal(bench_count(RECORD_HEALTH_MEASURED), 1);
    assert_int_equal(bench_count(RECORD_DRIFT_DETECTED), 0);
}

static void drift_is_told_every_second_window(void **state)
{
    struct world *w = *state;
    const struct drift_detected *d;
    struct bench_event ev;

    deploy(w, shared.models[0]);
    start(w);
    for (int i = 0; i < 5; i++)
        predict(
            w, (struct rows){
                   .id = arena_printf(&w->b.arena, "r%d", i), .n = WINDOW, .from = 0.8, .to = 1.2});
    bench_wait_count(&w->b, RECORD_HEALTH_MEASURED, 5);
    bench_settle(&w->b);
    for (int i = 0; i < 5; i++)
        expect_health(w, i, arena_printf(&w->b.arena, "window 1.%d drift x%d", i, i + 1));
    assert_int_equal(bench_count(RECORD_DRIFT_DETECTED), 2);
    ev = bench_event(&w->b, RECORD_DRIFT_DETECTED, 0);
    d = ev.rec;
    assert_string_equal(ev.cause, bench_event(&w->b, RECORD_HEALTH_MEASURED, 1).id);
    assert_string_equal(ev.correlation, "r1");
    assert_int_equal(ev.hops, 2);
    assert_string_equal(d->kind, "data");
    assert_string_equal(d->source, "monitor");
    assert_int_equal(d->generation, 1);
    assert_int_equal(d->windows, 2);
    assert_int_equal(d->features.n, 1);
    assert_string_equal(d->features.items[0].feature, "a");
    assert_non_null(strstr(d->summary, "a (PSI "));
}

static void only_champion_and_canary_count(void **state)
{
    struct world *w = *state;

    deploy(w, shared.models[0]);
    start(w);
    predict(w, (struct rows){.id = "s", .role = "shadow", .n = WINDOW, .to = 1});
    predict(w, (struct rows){.id = "v", .role = "pinned", .n = WINDOW, .to = 1});
    predict(w, (struct rows){.id = "c", .role = "canary", .n = WINDOW, .to = 1});
    bench_wait_count(&w->b, RECORD_HEALTH_MEASURED, 1);
    bench_settle(&w->b);
    assert_int_equal(bench_count(RECORD_HEALTH_MEASURED), 1);
    assert_string_equal(health(w, 0)->first_prediction, "c.0");
}

static void generations_have_windows_of_their_own(void **state)
{
    struct world *w = *state;

    deploy(w, shared.models[0]);
    deploy(w, shared.models[1]);
    start(w);
    for (int i = 0; i < 4; i++)
        predict(w, (struct rows){.id = arena_printf(&w->b.arena, "r%d", i),
                                 .generation = 1 + i % 2,
                                 .n = WINDOW / 2,
                                 .to = 1});
    bench_wait_count(&w->b, RECORD_HEALTH_MEASURED, 2);
    expect_health(w, 0, health(w, 0)->generation == 1 ? "window 1.0 ok x1" : "window 2.0 ok x1");
    expect_health(w, 1, health(w, 0)->generation == 1 ? "window 2.0 ok x1" : "window 1.0 ok x1");
}

static void predictions_wait_until_their_generation_is_known(void **state)
{
    struct world *w = *state;

    start(w);
    w->generation = 1;
    predict(w, (struct rows){.id = "a", .n = WINDOW, .to = 1});
    predict(w, (struct rows){.id = "b", .n = WINDOW, .to = 1});
    bench_settle(&w->b);
    assert_int_equal(bench_count(RECORD_HEALTH_MEASURED), 0);
    assert_true(fake_bus_position("relearn.monitor", "relearn.predictions", 0) <= 0);
    w->generation = 0;
    deploy(w, shared.models[0]);
    bench_wait_count(&w->b, RECORD_HEALTH_MEASURED, 2);
    assert_string_equal(health(w, 0)->first_prediction, "a.0");
}

static void a_model_that_cannot_be_read_leaves_the_verdict_open(void **state)
{
    struct world *w = *state;

    deploy(w, "no digest at all");
    start(w);
    predict(w, (struct rows){.id = "a", .n = WINDOW, .to = 1});
    label_rows(w, "a", WINDOW, 0);
    bench_wait_count(&w->b, RECORD_HEALTH_MEASURED, 2);
    expect_health(w, 0, "window 1.0 unknown x1");
    expect_health(w, 1, "quality 1.0 unknown x1");
}

static void a_malformed_prediction_is_passed_over(void **state)
{
    struct world *w = *state;
    struct prediction_served r = {.line = "p",
                                  .prediction = "bad",
                                  .generation = 1,
                                  .model = "m",
                                  .role = "champion",
                                  .instance = "i",
                                  .rows = 7,
                                  .features_per_row = 1,
                                  .outputs_per_row = 1};

    deploy(w, shared.models[0]);
    start(w);
    bench_append(&w->b, RECORD_PREDICTION_SERVED, &r, "bad");
    predict(w, (struct rows){.id = "a", .n = WINDOW, .to = 1});
    bench_wait_count(&w->b, RECORD_HEALTH_MEASURED, 1);
    assert_string_equal(health(w, 0)->first_prediction, "a.0");
    assert_true(agent_counted(w->b.agent, "rows_malformed_total", NULL) == 7);
}

/* ---- labels ---- */

static void labels_give_the_realised_quality(void **state)
{
    struct world *w = *state;
    struct bench_event ev;
    const struct health_measured *h;

    deploy(w, shared.models[0]);
    start(w);
    predict(w, (struct rows){.id = "a", .n = WINDOW, .to = 1});
    label_rows(w, "a", WINDOW, 10);
    bench_wait_count(&w->b, RECORD_HEALTH_MEASURED, 2);
    expect_health(w, 1, "quality 1.0 ok x1");
    ev = bench_event(&w->b, RECORD_HEALTH_MEASURED, 1);
    h = ev.rec;
    assert_string_equal(ev.cause, "a");
    assert_int_equal(h->labels, WINDOW);
    assert_string_equal(h->quality.items[0].name, "accuracy");
    assert_true(h->quality.items[0].value == 0.9);
    assert_string_equal(h->quality.items[1].name, "logloss");
    bench_settle(&w->b);
    assert_true(fake_bus_position("relearn.monitor", "relearn.predictions", 0) <=
                0); /* it may come again: see below */
    assert_int_equal(fake_bus_position("relearn.monitor", "relearn.labels", 0), WINDOW);
}

/* Its window is judged and gone; then its writer, which heard of no acknowledgement, sends it
 * again. */
static void a_repeat_is_known_after_a_restart(void **state)
{
    struct world *w = *state;

    deploy(w, shared.models[0]);
    start(w);
    predict(w, (struct rows){.id = "a", .n = WINDOW, .to = 1});
    label_rows(w, "a", WINDOW, 10);
    bench_wait_count(&w->b, RECORD_HEALTH_MEASURED, 2);
    bench_settle(&w->b);
    bench_kill(&w->b);
    predict(w, (struct rows){.id = "a", .n = WINDOW, .to = 1});
    predict(w, (struct rows){.id = "b", .n = WINDOW, .to = 1});
    start(w);
    bench_wait_count(&w->b, RECORD_HEALTH_MEASURED, 3);
    assert_string_equal(health(w, 2)->first_prediction, "b.0");
}

static void labels_may_come_before_their_predictions(void **state)
{
    struct world *w = *state;

    deploy(w, shared.models[0]);
    label_rows(w, "a", WINDOW, 10);
    start(w);
    bench_settle(&w->b);
    assert_true(fake_bus_position("relearn.monitor", "relearn.labels", 0) <=
                0); /* they are still needed */
    predict(w, (struct rows){.id = "a", .n = WINDOW, .to = 1});
    bench_wait_count(&w->b, RECORD_HEALTH_MEASURED, 2);
    assert_true(health(w, 1)->quality.items[0].value == 0.9);
}

static void degraded_quality_is_told_every_second_window(void **state)
{
    struct world *w = *state;
    const struct drift_detected *d;

    deploy(w, shared.models[0]);
    start(w);
    for (int i = 0; i < 2; i++) {
        const char *id = arena_printf(&w->b.arena, "r%d", i);

        predict(w, (struct rows){.id = id, .n = WINDOW, .to = 1});
        label_rows(w, id, WINDOW, 40);
        bench_wait_count(&w->b, RECORD_HEALTH_MEASURED, 2 * (i + 1));
    }
    expect_health(w, 3, "quality 1.1 degraded x2");
    bench_wait_count(&w->b, RECORD_DRIFT_DETECTED, 1);
    d = bench_event(&w->b, RECORD_DRIFT_DETECTED, 0).rec;
    assert_string_equal(d->kind, "quality");
    assert_string_equal(d->statistic, "accuracy");
    assert_true(fabs(d->value - 0.6) < 1e-12);
    assert_true(d->threshold == 0.7);
    bench_settle(&w->b);
    assert_int_equal(bench_count(RECORD_DRIFT_DETECTED), 1);
}

/* The clock says that waiting is over; the topic must have been read so far as well. */
static void waiting_for_labels_ends(void **state)
{
    enum { HOUR_MS = 3600 * 1000 };
    struct world *w = *state;
    const struct health_measured *h;

    deploy(w, shared.models[0]);
    w->b.now_unix_ms -= 3 * HOUR_MS;
    predict(w, (struct rows){.id = "a", .n = WINDOW, .to = 1});
    label_rows(w, "a", WINDOW / 2, 0);
    start(w);
    bench_wait_count(&w->b, RECORD_HEALTH_MEASURED, 1);
    bench_settle(&w->b);
    assert_int_equal(bench_count(RECORD_HEALTH_MEASURED), 1);
    w->b.now_unix_ms += 2 * HOUR_MS;
    label(w, "somebody-else.0", "yes"); /* labels have come to a time past the hour */
    predict(w, (struct rows){.id = "b", .n = WINDOW, .to = 1});
    bench_wait_count(&w->b, RECORD_HEALTH_MEASURED, 3);
    h = health(w, 1);
    h = strcmp(h->kind, "quality") == 0 ? h : health(w, 2);
    assert_string_equal(h->kind, "quality");
    assert_int_equal(h->window, 0);
    assert_int_equal(h->labels, WINDOW / 2);
    /* what comes after that is counted with the next one */
    label(w, "a.99", "yes");
    label(w, "a.98", "yes");
    label_rows(w, "b", WINDOW, 0);
    bench_wait_count(&w->b, RECORD_HEALTH_MEASURED, 4);
    assert_string_equal(health(w, 3)->kind, "quality");
    assert_int_equal(health(w, 3)->late_labels, 2);
    assert_int_equal(health(w, 3)->labels, WINDOW);
}

/* ---- whatever happens ---- */

static void repeats_change_nothing(void **state)
{
    struct world *w = *state;

    deploy(w, shared.models[0]);
    start(w);
    for (int i = 0; i < 3; i++) {
        predict(w, (struct rows){.id = "a", .n = 60, .to = 1});
        label_rows(w, "a", 60, 0);
    }
    predict(w, (struct rows){.id = "b", .n = 40, .to = 1});
    label_rows(w, "b", 40, 0);
    bench_wait_count(&w->b, RECORD_HEALTH_MEASURED, 2);
    predict(w, (struct rows){.id = "a", .n = 60, .to = 1}); /* after it was judged */
    bench_settle(&w->b);
    assert_int_equal(bench_count(RECORD_HEALTH_MEASURED), 2);
    assert_int_equal(health(w, 0)->predictions, WINDOW);
    assert_string_equal(health(w, 0)->last_prediction, "b.39");
    assert_true(agent_counted(w->b.agent, "rows_repeated_total", NULL) == 180);
    assert_true(agent_counted(w->b.agent, "labels_total", "fate=\"joined\"") == 100);
    assert_true(agent_counted(w->b.agent, "labels_total", "fate=\"repeated\"") == 120);
}

/* A stream with drift and bad labels;. */
static void stream(struct world *w)
{
    static const int sizes[] = {30, 70, 150, 1, 99, 60, 90, 100};

    deploy(w, shared.models[0]);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        const char *id = arena_printf(&w->b.arena, "r%zu", i);

        predict(w, (struct rows){
                       .id = id, .n = sizes[i], .from = i < 2 ? 0 : 0.7, .to = i < 2 ? 1 : 1.3});
        label_rows(w, id, sizes[i], i % 2 ? sizes[i] / 2 : 0);
    }
}

/* Everything that was said, each id once, in the order of the ids. */
static int by_text(const void *x, const void *y)
{
    return strcmp(*(const char *const *)x, *(const char *const *)y);
}

static char *said(struct world *w)
{
    CLEANUP(buf_fini) struct buf b = {0};
    const char *list[200];
    size_t n = 0;

    for (int64_t i = 0; i < bench_count(RECORD_HEALTH_MEASURED); i++) {
        struct bench_event ev = bench_event(&w->b, RECORD_HEALTH_MEASURED, i);
        const struct health_measured *h = ev.rec;

        list[n++] =
            arena_printf(&w->b.arena, "%s %s %lld %s %lld %s..%s %lld labels", ev.id, h->kind,
                         (long long)h->window, h->verdict, (long long)h->consecutive,
                         h->first_prediction, h->last_prediction, (long long)h->labels);
    }
    for (int64_t i = 0; i < bench_count(RECORD_DRIFT_DETECTED); i++) {
        struct bench_event ev = bench_event(&w->b, RECORD_DRIFT_DETECTED, i);
        const struct drift_detected *d = ev.rec;

        list[n++] = arena_printf(&w->b.arena, "%s %s %s", ev.id, d->kind, ev.cause);
    }
    qsort(list, n, sizeof(list[0]), by_text);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || strncmp(list[i], list[i - 1], ID_SIZE - 1) != 0)
            buf_addf(&b, "%s\n", list[i]);
    return arena_strdup(&w->b.arena, b.data ? b.data : "");
}

static char *undisturbed(void **state)
{
    struct world *w = *state;
    char *text;

    stream(w);
    start(w);
    bench_wait_count(&w->b, RECORD_HEALTH_MEASURED, 12);
    bench_settle(&w->b);
    text = xstrdup(said(w));
    teardown(state);
    setup(state);
    return text;
}

/* Killed after every few steps of the bus, with the state folder or without. */
static void a_crash_changes_nothing(void **state)
{
    CLEANUP_FREE char *expected = undisturbed(state);

    for (int steps = 3; steps < 40; steps += 4) {
        struct world *w = *state;

        stream(w);
        for (int life = 0; life < 12; life++) {
            bench_start(&w->b, &monitor_agent, life % 2 ? "--no-cache" : NULL);
            for (int i = 0; i < steps + life * 3; i++) {
                fake_bus_step();
                loop_turn(w->b.loop, 1);
            }
            bench_kill(&w->b);
        }
        start(w);
        bench_wait_count(&w->b, RECORD_HEALTH_MEASURED, 12);
        bench_settle(&w->b);
        assert_string_equal(said(w), expected);
        teardown(state);
        setup(state);
    }
}

static void the_order_of_topics_changes_nothing(void **state)
{
    CLEANUP_FREE char *expected = undisturbed(state);

    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct world *w = *state;

        fake_bus_shuffle(seed);
        stream(w);
        start(w);
        bench_wait_count(&w->b, RECORD_HEALTH_MEASURED, 12);
        bench_settle(&w->b);
        /* quality may be measured in another order, and then `consecutive` counts otherwise:
         * compare the windows */
        assert_int_equal(bench_count(RECORD_HEALTH_MEASURED), 12);
        for (int64_t i = 0; i < 12; i++)
            assert_non_null(strstr(expected, bench_event(&w->b, RECORD_HEALTH_MEASURED, i).id));
        teardown(state);
        setup(state);
    }
}

static bool are_both_ready(void *ctx)
{
    struct agent *const *agents = ctx;

    return agent_is_ready(agents[0]) && agent_is_ready(agents[1]);
}

static bool are_both_idle(void *ctx)
{
    struct agent *const *agents = ctx;

    return agent_is_idle(agents[0]) && agent_is_idle(agents[1]);
}

static void two_instances_on_one_partition_say_everything_once(void **state)
{
    CLEANUP_FREE char *expected = undisturbed(state);
    struct world *w = *state;
    struct agent *both[2];

    bench_start(&w->b, &monitor_agent, "--instance m-1");
    both[0] = w->b.agent;
    bench_start(&w->b, &monitor_agent, "--instance m-2");
    both[1] = w->b.agent;
    bench_wait(&w->b, are_both_ready, both);
    stream(w);
    bench_wait_count(&w->b, RECORD_HEALTH_MEASURED, 12);
    for (int i = 0; i < 5; i++) {
        bench_wait(&w->b, are_both_idle, both);
        loop_turn(w->b.loop, 1);
    }
    assert_string_equal(said(w), expected);
    w->b.agent = both[0];
    bench_kill(&w->b);
    w->b.agent = both[1];
}

/* The embedded bus was restarted: control topics come back, predictions do not. */
static void windows_count_on_in_another_cluster(void **state)
{
    struct world *w = *state;
    struct health_measured h = {.line = "p",
                                .kind = "window",
                                .generation = 1,
                                .window = 4,
                                .cluster = "the one before",
                                .from_offset = 0,
                                .to_offset = 5,
                                .first_prediction = "x.0",
                                .last_prediction = "y.9",
                                .predictions = WINDOW,
                                .verdict = "ok",
                                .consecutive = 3,
                                .reason = "",
                                .measured_unix_ms = 1};

    deploy(w, shared.models[0]);
    bench_append(&w->b, RECORD_HEALTH_MEASURED, &h, "health-of-before");
    start(w);
    predict(w, (struct rows){.id = "a", .n = WINDOW, .to = 1});
    bench_wait_count(&w->b, RECORD_HEALTH_MEASURED, 2);
    expect_health(w, 1, "window 1.5 ok x4");
}

static void what_cannot_be_sent_is_sent_later(void **state)
{
    struct world *w = *state;

    deploy(w, shared.models[0]);
    start(w);
    bench_settle(&w->b);
    fake_bus_faults.lose = 2;
    fake_bus_faults.refuse_produce = 1;
    for (int i = 0; i < 2; i++)
        predict(
            w, (struct rows){
                   .id = arena_printf(&w->b.arena, "r%d", i), .n = WINDOW, .from = 0.8, .to = 1.2});
    bench_wait_count(&w->b, RECORD_DRIFT_DETECTED, 1);
    bench_settle(&w->b);
    assert_int_equal(bench_count(RECORD_HEALTH_MEASURED), 2);
    assert_int_equal(bench_count(RECORD_DRIFT_DETECTED), 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_calm_window_is_ok),
        TEST(drift_is_told_every_second_window),
        TEST(only_champion_and_canary_count),
        TEST(generations_have_windows_of_their_own),
        TEST(predictions_wait_until_their_generation_is_known),
        TEST(a_model_that_cannot_be_read_leaves_the_verdict_open),
        TEST(a_malformed_prediction_is_passed_over),
        TEST(labels_give_the_realised_quality),
        TEST(a_repeat_is_known_after_a_restart),
        TEST(labels_may_come_before_their_predictions),
        TEST(degraded_quality_is_told_every_second_window),
        TEST(waiting_for_labels_ends),
        TEST(repeats_change_nothing),
        TEST(a_crash_changes_nothing),
        TEST(the_order_of_topics_changes_nothing),
        TEST(two_instances_on_one_partition_say_everything_once),
        TEST(windows_count_on_in_another_cluster),
        TEST(what_cannot_be_sent_is_sent_later),
    };

    return cmocka_run_group_tests(tests, train_all, forget_all);
}
