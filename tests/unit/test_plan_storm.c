/* The plan agent's policy under many triggers, under rivals and late writers, and its window on the
 * data. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "agents/plan/window.h"
#include "common/rng.h"
#include "tests/support/make_event.h"
#include "tests/support/plan_world.h"

enum { STORM = 10000 };

static void storm_of_alerts(struct plan_world *w, int n)
{
    struct drift_detected d = {.line = "p",
                               .source = "outside",
                               .kind = "external",
                               .value = NAN,
                               .threshold = NAN,
                               .generation = ABSENT_I64,
                               .windows = ABSENT_I64,
                               .summary = "moved"};

    for (int i = 0; i < n; i++) {
        char id[32];

        snprintf(id, sizeof(id), "storm-alert-with-long-id-%05d", i);
        struct event_parts parts = {
            .type = RECORD_DRIFT_DETECTED, .rec = &d, .id = id, .time_unix_ms = w->now_unix_ms};
        line_fold(w->line, make_event(&parts));
    }
}

/* Decides and folds until nothing more is said; counts what was. */
static size_t settle(struct plan_world *w)
{
    size_t said = 0;

    for (int calls = 0;; calls++) {
        struct plan_input in = {
            .line = w->line, .pipeline = w->pipeline, .now_unix_ms = w->now_unix_ms};

        plan_decide(&in, &w->memo, &w->out);
        assert_true(w->out.n <= PLAN_ACTIONS_MAX);
        if (!w->out.n)
            return said;
        assert_true(calls < 1000);
        said += w->out.n;
        for (size_t i = 0; i < w->out.n; i++) {
            struct event_parts parts = {.type = RECORD_TRAINING_PLANNED,
                                        .rec = &w->out.actions[i].rec,
                                        .cause = w->out.actions[i].cause,
                                        .about = w->out.actions[i].about,
                                        .time_unix_ms = w->now_unix_ms};
            line_fold(w->line, make_event(&parts));
        }
    }
}

static void a_storm_of_alerts_is_one_run(void **state)
{
    struct plan_world w;

    (void)state;
    plan_world_init(&w, "");
    plan_world_run(&w, "d1 = live =");
    storm_of_alerts(&w, STORM);
    assert_int_equal(settle(&w), 1);
    assert_int_equal(EV_REC(w.line->in_flight, training_planned)->covers.n, STORM);
    plan_world_fini(&w);
}

static void a_storm_during_a_run_is_told_a_hundred_times_and_is_one_run(void **state)
{
    struct plan_world w;

    (void)state;
    plan_world_init(&w, "");
    plan_world_run(&w, "d1 = live = d2 =");
    storm_of_alerts(&w, STORM);
    assert_int_equal(settle(&w), PLAN_WAITING_MAX);
    plan_world_run(&w, "reject");
    assert_int_equal(settle(&w), 2); /* closed, requested */
    assert_int_equal(EV_REC(w.line->in_flight, training_planned)->covers.n, STORM);
    plan_world_run(&w, "reject");
    assert_int_equal(settle(&w), 1);
    assert_null(w.line->in_flight);
    assert_int_equal(w.memo.settled[RECORD_DRIFT_DETECTED], STORM);
    plan_world_fini(&w);
}

static void a_storm_in_quiet_time_waits_no_longer_than_the_longest_wait(void **state)
{
    struct plan_world w;

    (void)state;
    plan_world_init(&w, "plan: {quiet: 10s, longest_wait: 60s}");
    plan_world_run(&w, "d1 t+11 = live =");
    for (int i = 0; i < 200; i++) {
        char word[16];

        snprintf(word, sizeof(word), "t+1 a%d", i + 1);
        plan_world_run(&w, word);
        settle(&w);
        if (w.line->in_flight)
            break;
    }
    assert_non_null(w.line->in_flight);
    assert_int_equal(w.now_unix_ms, WORLD_START_MS + (11 + 1 + 60) * 1000);
    plan_world_fini(&w);
}

/* Each is answered, a part in each call. */
static void a_storm_about_an_old_generation_is_ignored_one_by_one(void **state)
{
    struct drift_detected d = {.line = "p",
                               .source = "outside",
                               .kind = "external",
                               .value = NAN,
                               .threshold = NAN,
                               .generation = 1,
                               .windows = ABSENT_I64,
                               .summary = "moved"};
    struct plan_world w;

    (void)state;
    plan_world_init(&w, "");
    plan_world_run(&w, "d1 = live = d2 = live =");
    for (int i = 0; i < 3 * PLAN_ACTIONS_MAX + 1; i++) {
        char id[16];

        snprintf(id, sizeof(id), "old-%d", i);
        struct event_parts parts = {
            .type = RECORD_DRIFT_DETECTED, .rec = &d, .id = id, .time_unix_ms = w.now_unix_ms};
        line_fold(w.line, make_event(&parts));
    }
    assert_int_equal(settle(&w), 3 * PLAN_ACTIONS_MAX + 1);
    assert_null(w.line->in_flight);
    plan_world_fini(&w);
}

static void covers_stay_within_one_event(void **state)
{
    struct plan_world w;
    size_t covered;

    (void)state;
    plan_world_init(&w, "");
    plan_world_run(&w, "d1 = live =");
    storm_of_alerts(&w, 20000);
    settle(&w);
    covered = EV_REC(w.line->in_flight, training_planned)->covers.n;
    assert_true(covered > 10000 && covered < 20000);
    plan_world_run(&w, "reject");
    settle(&w);
    assert_int_equal(EV_REC(w.line->in_flight, training_planned)->covers.n, 20000 - covered);
    plan_world_fini(&w);
}

/* ---- anything at all ---- */

static const char *word_of_chance(struct rng *r, const struct plan_world *w, int i, char out[32])
{
    static const char *const run_words[] = {"cand", "fail",   "reject", "incon", "again",
                                            "live", "canary", "step",   "back",  "undo"};
    static const char *const commands[] = {"retrain", "pause", "resume", "dance", "approve"};

    switch (rng_below(r, 8)) {
    case 0:
        snprintf(out, 32, "%c%d", "ddroe"[rng_below(r, 5)], i);
        return out;
    case 1:
        snprintf(out, 32, "a%d:%d", i, (int)rng_below(r, 4));
        return out;
    case 2:
        snprintf(out, 32, "a%d^%d", i, (int)rng_below(r, 40));
        return out;
    case 3:
        snprintf(out, 32, "c%d:%s", i, commands[rng_below(r, ARRAY_LEN(commands))]);
        return out;
    case 4:
        snprintf(out, 32, "t+%d", (int)rng_below(r, 2000));
        return out;
    case 5:
        return rng_below(r, 2) ? "hold" : "late";
    case 6:
        return w->line->in_flight ? run_words[rng_below(r, ARRAY_LEN(run_words))] : "=";
    default:
        return "=";
    }
}

static void expect_all_answered(const struct plan_world *w, uint64_t seed)
{
    static const enum record triggers[] = {RECORD_DATASET_INGESTED, RECORD_DRIFT_DETECTED,
                                           RECORD_OPERATOR_COMMANDED};

    for (size_t t = 0; t < ARRAY_LEN(triggers); t++) {
        const struct event_list *events = &w->line->ev[triggers[t]];

        for (size_t i = 0; i < events->n; i++) {
            const struct event *answer =
                line_answer(w->line, RECORD_TRAINING_PLANNED, events->items[i]->id);

            if (!plan_is_answered(w->line, events->items[i]) ||
                (answer && strcmp(EV_REC(answer, training_planned)->kind, "deferred") == 0))
                fail_msg("seed %llu: %s is not answered", (unsigned long long)seed,
                         events->items[i]->id);
        }
    }
}

/* Whatever happens in whatever order, with a rival whose words come late: one run at a time, each
 * run closed, each trigger and command answered in the end. */
static void nothing_is_forgotten_by_chance(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct plan_world w;
        struct rng r;
        char word[32];

        rng_seed(&r, seed);
        plan_world_init(
            &w, seed % 3 == 0
                    ? "plan: {quiet: 30s, cooldown: {after_rejection: 10m, after_failure: 5m}}"
                : seed % 3 == 1 ? "plan: {budget: {runs_per_day: 3}, run_deadline: 15m}"
                                : "");
        for (int i = 0; i < 60; i++)
            plan_world_run(&w, word_of_chance(&r, &w, i, word));
        plan_world_run(&w, "late pipe+ = c900:resume = =");
        for (int i = 0; i < 20; i++)
            plan_world_run(&w, w.line->in_flight ? "reject t+90000 = =" : "t+90000 = =");
        if (w.line->in_flight || w.line->pause)
            fail_msg("seed %llu: the line did not come to rest", (unsigned long long)seed);
        expect_all_answered(&w, seed);
        for (size_t i = 0; i < w.line->ev[RECORD_TRAINING_PLANNED].n; i++) {
            const struct event *ev = w.line->ev[RECORD_TRAINING_PLANNED].items[i];

            if (strcmp(EV_REC(ev, training_planned)->kind, "requested") == 0 &&
                !line_closed(w.line, ev->id))
                fail_msg("seed %llu: a run is not closed", (unsigned long long)seed);
        }
        plan_world_fini(&w);
    }
}

static void work_is_answered_when_the_log_says_so(void **state)
{
    static const struct {
        const char *script;
        enum record type; /* whose last event is asked about */
        bool is_answered;
    } cases[] = {
        {"d1", RECORD_DATASET_INGESTED, false},
        {"d1 =", RECORD_DATASET_INGESTED, true},
        {"d1 = d2 =", RECORD_DATASET_INGESTED, true}, /* deferred */
        {"r1 =", RECORD_DATASET_INGESTED, true},
        {"d1 void", RECORD_DATASET_INGESTED, false},
        {"a1 ?", RECORD_DRIFT_DETECTED, false},
        {"a1 =", RECORD_DRIFT_DETECTED, true},
        {"c1:pause", RECORD_OPERATOR_COMMANDED, false},
        {"c1:pause =", RECORD_OPERATOR_COMMANDED, true},
        {"c1:approve", RECORD_OPERATOR_COMMANDED, true},
        {"d1 = cand", RECORD_TRAINING_FINISHED, true},
        {"d1 = fail", RECORD_TRAINING_FINISHED, false},
        {"d1 = fail =", RECORD_TRAINING_FINISHED, true},
        {"d1 = again", RECORD_GATE_DECIDED, true},
        {"d1 = incon", RECORD_GATE_DECIDED, false},
        {"d1 = incon =", RECORD_GATE_DECIDED, true},
        {"d1 = canary", RECORD_DEPLOYMENT_CHANGED, true},
        {"d1 = canary live", RECORD_DEPLOYMENT_CHANGED, false},
        {"d1 = canary live =", RECORD_DEPLOYMENT_CHANGED, true},
        {"d1 = other", RECORD_DEPLOYMENT_CHANGED, true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct event_list *events;
        struct plan_world w;

        plan_world_init(&w, "");
        plan_world_run(&w, cases[i].script);
        events = &w.line->ev[cases[i].type];
        if (plan_is_answered(w.line, events->items[events->n - 1]) != cases[i].is_answered)
            fail_msg("%s: answered is not %d", cases[i].script, cases[i].is_answered);
        plan_world_fini(&w);
    }
}

/* ---- the window ---- */

static void windows_are_the_newest_accepted_data(void **state)
{
    static const struct {
        const char *pipeline, *script;
        size_t max;
        const char *snapshots;
        int64_t rows;
    } cases[] = {
        {"train: {window: {snapshots: 2}}", "d1 d2 d3", 100, "d2 d3", 140},
        {"train: {window: {snapshots: 5}}", "d1 r2 d3 o4", 100, "d1 d3", 140},
        {"train: {window: {rows: 70}}", "d1 d2 d3", 100, "d3", 70},
        {"train: {window: {rows: 71}}", "d1 d2 d3", 100, "d2 d3", 140},
        {"train: {window: {rows: 99999}}", "d1 d2 d3", 100, "d1 d2 d3", 210},
        {"train: {window: all}", "d1 d2 d3", 100, "d1 d2 d3", 210},
        {"train: {window: all}", "d1 d2 d3", 2, "d2 d3", 140},
        {"train: {window: {snapshots: 3}}", "d1 d2 e3", 100, "d1 d2 e3", 140},
        {"train: {window: all}", "r1", 100, "", 0},
        {"train: {window: all}", "", 100, "", 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(buf_fini) struct buf got = {0};
        struct plan_world w;
        struct window window;

        plan_world_init(&w, cases[i].pipeline);
        plan_world_run(&w, cases[i].script);
        window_choose(w.line, w.pipeline, cases[i].max, &w.arena, &window);
        for (size_t j = 0; j < window.snapshots.n; j++)
            buf_addf(&got, "%s%s", j ? " " : "", window.snapshots.items[j].snapshot);
        if (strcmp(got.data ? got.data : "", cases[i].snapshots) != 0 ||
            window.rows != cases[i].rows)
            fail_msg("%s, %s: '%s', %lld rows", cases[i].pipeline, cases[i].script, got.data,
                     (long long)window.rows);
        plan_world_fini(&w);
    }
}

/* The same bytes published twice would weigh double. */
static void the_same_bytes_count_once_in_a_window(void **state)
{
    static const char *const digests[] = {"a", "b", "a", "c", "a", "a"}; /* oldest first */
    struct plan_world w;
    struct window window;

    (void)state;
    plan_world_init(&w, "train: {window: {snapshots: 3}}");
    for (size_t i = 0; i < ARRAY_LEN(digests); i++) {
        struct dataset_ingested d = {.line = "p",
                                     .pipeline = "p",
                                     .dataset = "set",
                                     .status = "accepted",
                                     .snapshot = digests[i],
                                     .train_rows = 10,
                                     .seconds = 1};
        char id[8];

        snprintf(id, sizeof(id), "d%zu", i);
        plan_world_fold(&w, RECORD_DATASET_INGESTED, &d, id, NULL, NULL, 0);
    }
    window_choose(w.line, w.pipeline, 100, &w.arena, &window);
    assert_int_equal(window.snapshots.n, 3);
    assert_string_equal(window.snapshots.items[0].snapshot, "b");
    assert_string_equal(window.snapshots.items[1].snapshot, "c");
    assert_string_equal(window.snapshots.items[2].event, "d5");
    assert_int_equal(window.rows, 30);
    plan_world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_storm_of_alerts_is_one_run),
        cmocka_unit_test(a_storm_during_a_run_is_told_a_hundred_times_and_is_one_run),
        cmocka_unit_test(a_storm_in_quiet_time_waits_no_longer_than_the_longest_wait),
        cmocka_unit_test(a_storm_about_an_old_generation_is_ignored_one_by_one),
        cmocka_unit_test(covers_stay_within_one_event),
        cmocka_unit_test(nothing_is_forgotten_by_chance),
        cmocka_unit_test(work_is_answered_when_the_log_says_so),
        cmocka_unit_test(windows_are_the_newest_accepted_data),
        cmocka_unit_test(the_same_bytes_count_once_in_a_window),
    };

    return cmocka_run_group_tests_name("plan_storm", tests, NULL, NULL);
}
