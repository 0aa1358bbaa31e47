/* What the plan agent says, for every rule.  The scripts are explained in
 * tests/support/plan_world.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/support/plan_world.h"

struct scene {
    const char *label;
    const char *pipeline; /* further keys */
    const char *script;
    const char *said;
};

static void play(const struct scene *scenes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct plan_world w;

        plan_world_init(&w, scenes[i].pipeline);
        plan_world_run(&w, scenes[i].script);
        if (strcmp(w.said.data, scenes[i].said) != 0)
            fail_msg("%s\n  script:   %s\n  said:     %s\n  expected: %s", scenes[i].label,
                     scenes[i].script, w.said.data, scenes[i].said);
        plan_world_fini(&w);
    }
}

static void each_trigger_leads_to_a_run_or_to_nothing(void **state)
{
    static const struct scene scenes[] = {
        {"a dataset", "", "d1 = = cand = live = =", "requested d1 | - | - | closed promoted | -"},
        {"two at once are one run", "", "d1 d2 = =", "requested d1 d2 | -"},
        {"a rejected dataset", "", "r1 = =", "ignored r1 | -"},
        {"another dataset than the pipeline's", "", "d1 o1 =", "ignored o1; requested d1"},
        {"a dataset that is not asked for", "plan: {on: [drift]}",
         "d1 = c1:retrain =", "ignored d1 | requested c1"},
        {"no training rows", "", "e1 = c1:retrain =", "ignored e1 | ignored c1"},
        {"a command without data", "",
         "c1:retrain = r1 c2:retrain =", "ignored c1 | ignored r1; ignored c2"},
        {"an alert while a model serves", "", "d1 = live = a1 = = live =",
         "requested d1 | closed promoted | requested a1 | - | closed promoted"},
        {"an alert about the champion", "",
         "d1 = live = a1:1 =", "requested d1 | closed promoted | requested a1"},
        {"an alert with nothing in service", "",
         "a1 = d1 = a2 =", "ignored a1 | requested d1 | ignored a2"},
        {"an alert about a generation that went", "", "d1 = live = d2 = live = a1:1 =",
         "requested d1 | closed promoted | requested d2 | closed promoted | ignored a1"},
        {"an alert about a generation never served", "",
         "d1 = live = a1:7 =", "requested d1 | closed promoted | ignored a1"},
        {"an alert that is not asked for", "plan: {on: [dataset]}",
         "d1 = live = a1 =", "requested d1 | closed promoted | ignored a1"},
        {"a command always counts", "plan: {on: []}",
         "d1 = c1:retrain =", "ignored d1 | requested c1"},
        {"a chain of the longest length", "plan: {max_hops: 9}", "d1^9 =", "requested d1"},
        {"a chain that feeds itself", "plan: {max_hops: 9}", "d1^10 =", "ignored d1"},
        {"a duplicate changes nothing", "", "d1 d1 = d1 =", "requested d1 | -"},
        {"the same data again after the run", "",
         "d1 = live = d1 =", "requested d1 | closed promoted | -"},
    };

    (void)state;
    play(scenes, ARRAY_LEN(scenes));
}

static void runs_are_closed_once_by_what_ended_them(void **state)
{
    static const struct scene scenes[] = {
        {"a failed training", "", "d1 = fail = =", "requested d1 | closed failed | -"},
        {"a candidate is no end", "", "d1 = cand =", "requested d1 | -"},
        {"rejected", "", "d1 = cand reject = =", "requested d1 | closed rejected | -"},
        {"inconclusive", "", "d1 = cand incon =", "requested d1 | closed inconclusive"},
        {"evaluate again is no end", "",
         "d1 = cand again = again = reject =", "requested d1 | - | - | closed rejected"},
        {"promoted by canary", "",
         "d1 = canary = step = live =", "requested d1 | - | - | closed promoted"},
        {"rolled back on health", "", "d1 = live = d2 = canary = back =",
         "requested d1 | closed promoted | requested d2 | - | closed rolled_back"},
        {"rolled back by command", "", "d1 = live = d2 = canary undo =",
         "requested d1 | closed promoted | requested d2 | closed superseded"},
        {"rolled back by command that names no run", "", "d1 = live = d2 = canary undo0 =",
         "requested d1 | closed promoted | requested d2 | closed superseded"},
        {"another model takes its place in the rollout", "",
         "d1 = canary other =", "requested d1 | closed superseded"},
        {"another model before its rollout is no end", "",
         "d1 = other = cand = reject =", "requested d1 | - | - | closed rejected"},
        {"the deadline", "plan: {run_deadline: 10m}",
         "d1 = t+599 = t+1 = =", "requested d1 | - | closed expired | -"},
        {"an end beats the deadline", "plan: {run_deadline: 10m}",
         "d1 = t+700 reject =", "requested d1 | closed rejected"},
        {"what comes after the deadline", "plan: {run_deadline: 10m}",
         "d1 = t+700 = live =", "requested d1 | closed expired | -"},
    };

    (void)state;
    play(scenes, ARRAY_LEN(scenes));
}

static void triggers_wait_for_the_run_in_flight_and_are_merged(void **state)
{
    static const struct scene scenes[] = {
        {"one waits and gets its run", "", "d1 = d2 = = live = =",
         "requested d1 | deferred d2 run | - | closed promoted | requested d2"},
        {"all that waited are one run", "", "d1 = d2 = d3 c1:retrain = reject = =",
         "requested d1 | deferred d2 run | deferred d3 run; deferred c1 run | closed rejected | "
         "requested d2 d3 c1"},
        {"those that came with the end too", "", "d1 = d2 = reject d3 = =",
         "requested d1 | deferred d2 run | closed rejected | requested d2 d3"},
        {"an alert that the run made pointless", "", "d1 = live = d2 = a1:1 = live = =",
         "requested d1 | closed promoted | requested d2 | deferred a1 run | closed promoted | "
         "ignored a1"},
        {"an alert that is still right", "", "d1 = live = d2 = a1:1 = reject = =",
         "requested d1 | closed promoted | requested d2 | deferred a1 run | closed rejected | "
         "requested a1"},
        {"the first failed run does not forget", "", "d1 = d2 = fail = t+30 =",
         "requested d1 | deferred d2 run | closed failed | requested d2"},
    };

    (void)state;
    play(scenes, ARRAY_LEN(scenes));
}

static void quiet_time_is_waited_for(void **state)
{
    static const struct scene scenes[] = {
        {"one", "plan: {quiet: 30s}",
         "d1 = t+29 = t+1 = =", "deferred d1 +30s | - | requested d1 | -"},
        {"each one prolongs it", "plan: {quiet: 30s}", "d1 = t+20 d2 = t+10 = t+20 =",
         "deferred d1 +30s | deferred d2 +30s | - | requested d1 d2"},
        {"not for ever", "plan: {quiet: 30s, longest_wait: 50s}", "d1 = t+25 d2 = t+20 d3 = t+5 =",
         "deferred d1 +30s | deferred d2 +25s | deferred d3 +5s | requested d1 d2 d3"},
        {"a command goes at once and takes all along", "plan: {quiet: 30s}",
         "d1 = t+5 c1:retrain =", "deferred d1 +30s | requested d1 c1"},
        {"read late, it is over already", "plan: {quiet: 30s}", "d1 t+31 =", "requested d1"},
        {"over while a run was in flight", "plan: {quiet: 30s}", "d1 t+31 = d2 = t+31 reject = =",
         "requested d1 | deferred d2 run | closed rejected | requested d2"},
        {"not over when the run ends", "plan: {quiet: 30s}",
         "d1 t+31 = d2 = t+10 reject = = t+20 =",
         "requested d1 | deferred d2 run | closed rejected | deferred ~ +20s | requested d2"},
    };

    (void)state;
    play(scenes, ARRAY_LEN(scenes));
}

static void cool_downs_depend_on_the_outcome(void **state)
{
#define COOL "plan: {cooldown: {after_promotion: 10m, after_rejection: 30m, after_failure: 1m}}"
    static const struct scene scenes[] = {
        {"after promotion", COOL, "d1 = live = t+60 d2 = t+539 = t+1 =",
         "requested d1 | closed promoted | deferred d2 +540s | - | requested d2"},
        {"after rejection", COOL,
         "d1 = reject = d2 =", "requested d1 | closed rejected | deferred d2 +1800s"},
        {"after an inconclusive one", COOL,
         "d1 = incon = d2 =", "requested d1 | closed inconclusive | deferred d2 +1800s"},
        {"after failure", COOL,
         "d1 = fail = d2 =", "requested d1 | closed failed | deferred d2 +60s"},
        {"after a rollback", COOL, "d1 = live = t+600 d2 = canary back = d3 =",
         "requested d1 | closed promoted | requested d2 | closed rolled_back | deferred d3 +60s"},
        {"not after a person's", COOL, "d1 = live = t+600 d2 = canary undo = d3 =",
         "requested d1 | closed promoted | requested d2 | closed superseded | requested d3"},
        {"not for commands", COOL, "d1 = reject = d2 = c1:retrain =",
         "requested d1 | closed rejected | deferred d2 +1800s | requested d2 c1"},
        {"what waited for the run waits on", COOL, "d1 = d2 = reject = = = t+1800 =",
         "requested d1 | deferred d2 run | closed rejected | deferred ~ +1800s | - | requested d2"},
        {"the longer of two waits", COOL "\n  # quiet is 0\n", "d1 = fail = d2 = t+60 =",
         "requested d1 | closed failed | deferred d2 +60s | requested d2"},
        {"over", COOL,
         "d1 = reject = t+1800 d2 =", "requested d1 | closed rejected | requested d2"},
    };

    (void)state;
    play(scenes, ARRAY_LEN(scenes));
}

static void budgets_count_the_last_24_hours(void **state)
{
    static const struct scene scenes[] = {
        {"runs", "plan: {budget: {runs_per_day: 2}}",
         "d1 = reject = t+3600 d2 = reject = d3 = t+82799 = t+1 = =",
         "requested d1 | closed rejected | requested d2 | closed rejected | deferred d3 +82800s | "
         "- | requested d3 | -"},
        {"commands too", "plan: {budget: {runs_per_day: 1}}",
         "d1 = reject = c1:retrain =", "requested d1 | closed rejected | deferred c1 +86400s"},
        {"void plans do not count", "plan: {budget: {runs_per_day: 1}}",
         "void d1 =", "requested d1"},
    };
    struct plan_world w;

    (void)state;
    play(scenes, ARRAY_LEN(scenes));
    plan_world_init(&w, "plan: {budget: {cpu: 10m}}");
    w.cpu_seconds = 400;
    plan_world_run(&w, "d1 = cand reject = t+60 d2 = cand reject = d3 = t+86339 = t+1 =");
    assert_string_equal(w.said.data, "requested d1 | closed rejected | requested d2 | closed "
                                     "rejected | deferred d3 +86340s | - | requested d3");
    plan_world_fini(&w);
}

static void nobody_waits_for_a_time_that_a_wrong_clock_has_written(void **state)
{
    static const struct scene scenes[] = {
        {"a cool-down", "plan: {cooldown: {after_rejection: 30m}}",
         "t+86400 d1 = reject = t-86400 d2 =", "requested d1 | closed rejected | requested d2"},
        {"a budget", "plan: {budget: {runs_per_day: 1}}",
         "t+86400 d1 = reject = t-86400 d2 =", "requested d1 | closed rejected | requested d2"},
        {"quiet time begins when a trigger is read", "plan: {quiet: 30s}",
         "t+86400 d1 t-86400 = t+30 =", "deferred d1 +30s | requested d1"},
        {"quiet time", "plan: {quiet: 30s}",
         "t+86400 d1 = t-86400 =", "deferred d1 +30s | requested d1"},
        {"clocks that differ a little", "plan: {cooldown: {after_rejection: 30m}}",
         "t+200 d1 = reject = t-200 d2 =", "requested d1 | closed rejected | deferred d2 +2000s"},
    };

    (void)state;
    play(scenes, ARRAY_LEN(scenes));
}

static void a_paused_line_waits_for_resume(void **state)
{
    static const struct scene scenes[] = {
        {"pause and resume", "", "c1:pause = d1 = t+99999 = c2:resume = = =",
         "paused c1 | deferred d1 resume | - | resumed c2 | requested d1 | -"},
        {"pause comes with the dataset", "", "c1:pause d1 =", "paused c1; deferred d1 resume"},
        {"retrain waits too", "",
         "c1:pause d1 c2:retrain =", "paused c1; deferred d1 resume; deferred c2 resume"},
        {"a run in flight goes on", "", "d1 = c1:pause = live = d2 =",
         "requested d1 | paused c1 | closed promoted | deferred d2 resume"},
        {"what waited for the run waits for resume", "",
         "d1 = d2 = c1:pause = reject = = c2:resume = =",
         "requested d1 | deferred d2 run | paused c1; deferred ~ resume | closed rejected | - | "
         "resumed c2 | requested d2"},
        {"twice", "", "c1:pause c2:pause = c3:pause =", "paused c1; refused c2 | refused c3"},
        {"resume without pause", "", "c1:resume = c2:pause c3:resume c4:resume =",
         "refused c1 | paused c2; resumed c3; refused c4"},
        {"pause again", "", "c1:pause = c2:resume = c3:pause = d1 =",
         "paused c1 | resumed c2 | paused c3 | deferred d1 resume"},
    };

    (void)state;
    play(scenes, ARRAY_LEN(scenes));
}

static void commands_of_others_are_left_to_them(void **state)
{
    static const struct scene scenes[] = {
        {"gate's and deploy's", "", "c1:approve c2:reject c3:force c4:rollback =", "-"},
        {"unknown", "", "c1:dance = =", "refused c1 | -"},
    };

    (void)state;
    play(scenes, ARRAY_LEN(scenes));
}

static void a_pipeline_that_is_not_there_answers_after_a_grace(void **state)
{
    static const struct scene scenes[] = {
        {"its declaration comes a little later", "",
         "pipe- d1 = t+1 = pipe+ =", "- | - | requested d1"},
        {"it never comes", "", "pipe- d1 a1 c1:retrain c2:pause = t+5 = =",
         "- | refused c2; ignored d1; ignored a1; ignored c1 | -"},
        {"withdrawn while it waits", "plan: {quiet: 30s}",
         "d1 = pipe- t+31 = pipe+ =", "deferred d1 +30s | ignored d1 | -"},
        {"a run in flight is still closed", "",
         "d1 = pipe- reject =", "requested d1 | closed rejected"},
    };

    (void)state;
    play(scenes, ARRAY_LEN(scenes));
}

/* ---- what a plan says ---- */

static void a_requested_plan_says_what_to_train_on(void **state)
{
    struct plan_world w;
    const struct training_planned *p;

    (void)state;
    plan_world_init(&w, "train: {window: {snapshots: 2}}\nplan: {run_deadline: 20m}");
    plan_world_run(&w, "d1 = live = d2 d3 r4 a1 c1:retrain ?");
    assert_int_equal(w.out.n, 2);
    p = &w.out.actions[1].rec;
    assert_string_equal(p->kind, "requested");
    assert_string_equal(p->line, "p");
    assert_int_equal(p->base, 1);
    assert_string_equal(w.out.actions[1].about, "requested 1");
    assert_string_equal(w.out.actions[1].cause->id, "d2");
    assert_string_equal(p->trigger, "command");
    assert_int_equal(p->snapshots.n, 2);
    assert_string_equal(p->snapshots.items[0].snapshot, "d2");
    assert_string_equal(p->snapshots.items[1].event, "d3");
    assert_int_equal(p->snapshots.items[1].rows, 70);
    assert_int_equal(p->rows, 140);
    assert_string_equal(p->pipeline_sha256, w.pipeline->sha256);
    assert_int_equal(p->deadline_unix_ms, w.now_unix_ms + 20 * 60000);
    assert_int_equal(w.out.wake_unix_ms, p->deadline_unix_ms);
    assert_string_equal(p->reason, "4 triggers (2 datasets, 1 drift alert, 1 command): learns from "
                                   "140 training rows in 2 snapshots");
    plan_world_read_back(&w);
    assert_non_null(w.line->in_flight);
    assert_string_equal(EV_REC(w.line->in_flight, training_planned)->run, w.line->in_flight->id);
    plan_world_fini(&w);
}

static void reasons_have_numbers_and_times(void **state)
{
    static const struct {
        const char *pipeline, *script, *reason;
    } cases[] = {
        {"plan: {quiet: 30s}", "d1 t+1 d2 ?",
         "quiet time of 30s: 2 datasets, the last at 2026-01-01T00:00:01Z; waits until "
         "2026-01-01T00:00:31Z"},
        {"plan: {quiet: 30s, longest_wait: 31s}", "d1 = t+20 d2 ?",
         "quiet time of 30s, but no longer than 31s: 2 datasets since 2026-01-01T00:00:00Z; waits "
         "until 2026-01-01T00:00:31Z"},
        {"plan: {cooldown: {after_rejection: 90m}}", "d1 = reject = d2 ?",
         "cool-down of 1h30m since run * ended (rejected) at 2026-01-01T00:00:00Z; waits until "
         "2026-01-01T01:30:00Z"},
        {"plan: {budget: {runs_per_day: 1}}", "d1 = reject = d2 ?",
         "budget: 1 of 1 runs in the last 24 hours (plan.budget.runs_per_day); waits until "
         "2026-01-02T00:00:00Z"},
        {"", "d1 = d2 ?",
         "run * is in flight since 2026-01-01T00:00:00Z; waits for its end, 2026-01-01T01:00:00Z "
         "at the latest"},
        {"", "c1:pause = d1 ?", "paused by ann: a look, at 2026-01-01T00:00:00Z; waits for resume"},
        {"", "c1:pause = c2:pause ?",
         "it is paused by ann: a look already, since 2026-01-01T00:00:00Z"},
        {"", "r1 ?", "version r1 of the dataset was rejected: because"},
        {"", "d1^33 ?",
         "33 events led to this one, and plan.max_hops is 32: the line would be retrained because "
         "of itself"},
        {"", "d1 = live = d2 = live = a1:1 ?",
         "the alert is about generation 1, which no longer serves: generation 2 does"},
        {"", "c1:retrain ?",
         "no accepted snapshot of p has training rows: there is nothing to learn from"},
        {"", "d1 = fail ?", "training failed: boom"},
        {"", "d1 = reject ?", "rejected by policy: worse"},
        {"", "c1:dance ?",
         "unknown command 'dance'; known: approve, reject, force, rollback, retrain, pause, "
         "resume"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *expected = cases[i].reason, *star = strchr(expected, '*'), *got;
        struct plan_world w;
        bool is_same;

        plan_world_init(&w, cases[i].pipeline);
        plan_world_run(&w, cases[i].script);
        assert_true(w.out.n >= 1);
        got = w.out.actions[w.out.n - 1].rec.reason;
        is_same = star ? strncmp(got, expected, (size_t)(star - expected)) == 0 &&
                             str_has_suffix(got, star + 1)
                       : strcmp(got, expected) == 0;
        if (!is_same)
            fail_msg("%s\n  said:     %s\n  expected: %s", cases[i].script, got, expected);
        plan_world_fini(&w);
    }
}

static void the_next_look_is_when_something_is_due(void **state)
{
    static const struct {
        const char *pipeline, *script;
        int64_t wake_s; /* after the start; -1 none */
    } cases[] = {
        {"", "?", -1},
        {"plan: {run_deadline: 20m}", "d1 = ?", 1200},
        {"plan: {quiet: 30s}", "d1 = ?", 30},
        {"plan: {cooldown: {after_rejection: 30m}}", "d1 = reject = d2 ?", 1800},
        {"", "c1:pause d1 = ?", -1},
        {"", "pipe- d1 ?", 5},
        {"", "pipe- c1:pause ?", 5},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t expected =
            cases[i].wake_s < 0 ? PLAN_NO_WAKE : WORLD_START_MS + cases[i].wake_s * 1000;
        struct plan_world w;

        plan_world_init(&w, cases[i].pipeline);
        plan_world_run(&w, cases[i].script);
        if (w.out.wake_unix_ms != expected)
            fail_msg("%s: wakes at %lld, not %lld", cases[i].script, (long long)w.out.wake_unix_ms,
                     (long long)expected);
        plan_world_fini(&w);
    }
}

/* A requested plan that lost the race answers nothing. */
static void a_void_plan_leaves_its_triggers_open(void **state)
{
    static const struct scene scenes[] = {
        {"before", "", "d1 void = =", "requested d1 | -"},
        {"while it waits", "plan: {quiet: 30s}",
         "d1 = void t+30 =", "deferred d1 +30s | requested d1"},
    };

    (void)state;
    play(scenes, ARRAY_LEN(scenes));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_trigger_leads_to_a_run_or_to_nothing),
        cmocka_unit_test(runs_are_closed_once_by_what_ended_them),
        cmocka_unit_test(triggers_wait_for_the_run_in_flight_and_are_merged),
        cmocka_unit_test(quiet_time_is_waited_for),
        cmocka_unit_test(cool_downs_depend_on_the_outcome),
        cmocka_unit_test(budgets_count_the_last_24_hours),
        cmocka_unit_test(nobody_waits_for_a_time_that_a_wrong_clock_has_written),
        cmocka_unit_test(a_paused_line_waits_for_resume),
        cmocka_unit_test(commands_of_others_are_left_to_them),
        cmocka_unit_test(a_pipeline_that_is_not_there_answers_after_a_grace),
        cmocka_unit_test(a_requested_plan_says_what_to_train_on),
        cmocka_unit_test(reasons_have_numbers_and_times),
        cmocka_unit_test(the_next_look_is_when_something_is_due),
        cmocka_unit_test(a_void_plan_leaves_its_triggers_open),
    };

    return cmocka_run_group_tests_name("plan_policy", tests, NULL, NULL);
}
