/* What `relearn verify` asks of a line: an honest story passes, and each damage is found by its
 * check, with the event and a word that says what is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/verify_story.h"

static int set_up(void **state)
{
    *state = story_new();
    return 0;
}

static int tear_down(void **state)
{
    story_free(*state);
    return 0;
}

static void tell(const struct findings *f)
{
    CLEANUP(buf_fini) struct buf out = {0};

    findings_print(f, &out);
    print_message("%s\n", out.data);
}

/* Found by this check, of this event, in these words. */
static void expect(struct story *s, enum verify_check check, const char *id, const char *words)
{
    struct findings f = {0};
    bool found = false;

    story_check(s, &f);
    for (size_t i = 0; i < f.n; i++)
        found = found ||
                (f.items[i].check == check && f.items[i].id && strcmp(f.items[i].id, id) == 0 &&
                 strstr(f.items[i].what, words) && f.items[i].todo[0]);
    if (!found) {
        tell(&f);
        fail_msg("nothing says '%s' of %s", words, id);
    }
    findings_fini(&f);
}

static void expect_none(struct story *s, int64_t open)
{
    struct findings f = {0};
    int64_t n_open = 0;

    story_check(s, &f);
    for (int c = 0; c < VERIFY_CHECK_COUNT; c++)
        n_open += f.open[c];
    if (findings_violations(&f) || n_open != open) {
        tell(&f);
        fail_msg("%lld violations, %lld open", (long long)findings_violations(&f),
                 (long long)n_open);
    }
    findings_fini(&f);
}

/* ---- what is honest ---- */

static void an_honest_line_passes(void **state)
{
    struct findings f = {0};

    story_check(*state, &f);
    assert_int_equal(findings_violations(&f), 0);
    assert_int_equal(f.looked[VERIFY_OUTCOMES], 4);
    assert_int_equal(f.looked[VERIFY_TRIGGERS], 3);
    assert_int_equal(f.looked[VERIFY_RUNS], 9);
    assert_int_equal(f.looked[VERIFY_EVALUATIONS], 8);
    assert_int_equal(f.looked[VERIFY_COMMANDS], 2);
    assert_int_equal(f.looked[VERIFY_BASES], 13);
    assert_int_equal(f.looked[VERIFY_GENERATIONS], 4);
    assert_int_equal(f.looked[VERIFY_PROMOTIONS], 2);
    assert_int_equal(f.looked[VERIFY_SERVING], 11);
    findings_fini(&f);
}

/* At whatever event the log ends: what is owed then is open, and nothing else. */
static void a_log_that_grows_is_no_violation(void **state)
{
    static const char *const ENDS[] = {"snap1", "run1",  "model1",  "eval1", "gate1",   "dep1",
                                       "run2",  "eval2", "defer1",  "gate2", "closed2", "run3",
                                       "gate3", "gate4", "dep2",    "gate5", "eval4",   "gate6",
                                       "dep3",  "dep4",  "closed3", "dep5"};

    (void)state;
    for (size_t i = 0; i < sizeof(ENDS) / sizeof(ENDS[0]); i++) {
        struct story *s = story_new();
        struct findings f = {0};
        int64_t open = 0;

        story_young(s);
        story_end_before(s, ENDS[i]);
        *story_report(s) = (struct verify_report){0};
        *story_answer(s) = (struct verify_answer){0};
        ((struct training_planned *)story_rec(s, "run1"))->deadline_unix_ms = STORY_NOW_MS;
        ((struct training_planned *)story_rec(s, "run2"))->deadline_unix_ms = STORY_NOW_MS;
        ((struct training_planned *)story_rec(s, "run3"))->deadline_unix_ms = STORY_NOW_MS;
        ((struct gate_decided *)story_rec(s, "gate3"))->deadline_unix_ms = STORY_NOW_MS;
        ((struct deployment_changed *)story_rec(s, "dep3"))->until_unix_ms = STORY_NOW_MS;
        story_check(s, &f);
        for (int c = 0; c < VERIFY_CHECK_COUNT; c++)
            open += f.open[c];
        if (findings_violations(&f) || !open) {
            tell(&f);
            fail_msg("the log ends before %s", ENDS[i]);
        }
        findings_fini(&f);
        story_free(s);
    }
}

static void what_is_not_judged_is_no_violation(void **state)
{
    struct story *s = *state;

    story_drop(s, "gate2");
    story_not_judged(s, "eval2");
    story_not_judged(s, "closed2");
    story_not_judged(s, "run2");
    story_not_judged(s, "gate3");
    story_not_judged(s, "gate4");
    story_not_judged(s, "gate5");
    story_not_judged(s, "gate6");
    story_not_judged(s, "dep2");
    story_not_judged(s, "dep3");
    struct findings f = {0};
    story_check(s, &f);
    for (size_t i = 0; i < f.n; i++)
        assert_string_not_equal(f.items[i].id, "eval2");
    findings_fini(&f);
}

static void repeats_and_rivals_are_harmless(void **state)
{
    struct story *s = *state;

    story_again(s, "gate1", "gate1");
    story_again(s, "dep3", "dep3");
    story_again(s, "run2", "rival2"); /* on a base that was taken: void */
    story_again(s, "gate6", "rival6");
    story_again(s, "dep5", "rival5");
    expect_none(s, 0);
}

static void a_line_without_its_beginning_is_taken_from_where_it_begins(void **state)
{
    static const char *const GONE[] = {"set1",  "snap1",  "run1",    "model1", "eval1",
                                       "gate1", "dep1",   "closed1", "set2",   "snap2",
                                       "run2",  "model2", "eval2",   "gate2"};
    struct story *s = *state;

    for (size_t i = 0; i < sizeof(GONE) / sizeof(GONE[0]); i++)
        story_drop(s, GONE[i]);
    story_cut(s);
    expect_none(s, 0);
}

/* ---- one damage at a time ---- */

static void a_dataset_without_outcome(void **state)
{
    story_drop(*state, "snap2");
    expect(*state, VERIFY_OUTCOMES, "set2", "neither accepted nor rejected");
}

static void a_dataset_with_two_outcomes(void **state)
{
    story_again(*state, "snap2", "snap2b");
    expect(*state, VERIFY_OUTCOMES, "snap2b", "second outcome");
}

static void a_dataset_without_the_outcome_of_one_segment(void **state)
{
    char *lines[] = {(char *)(uintptr_t) "p", (char *)(uintptr_t) "p/south"};

    story_lines(*state, lines, 1);
    expect_none(*state, 0);
    story_lines(*state, lines, 2);
    expect(*state, VERIFY_OUTCOMES, "set2", "neither accepted nor rejected for p/south");
}

static void an_accepted_dataset_without_snapshot(void **state)
{
    ((struct dataset_ingested *)story_rec(*state, "snap2"))->snapshot = NULL;
    expect(*state, VERIFY_OUTCOMES, "snap2", "names no snapshot");
}

static void a_trigger_without_answer(void **state)
{
    story_drop(*state, "run2");
    expect(*state, VERIFY_TRIGGERS, "snap2", "has no answer");
}

static void a_trigger_that_waits_for_nothing(void **state)
{
    story_end_before(*state, "run3");
    expect(*state, VERIFY_TRIGGERS, "drift1", "no time or run is left");
}

static void a_trigger_with_two_answers(void **state)
{
    const struct training_planned p = {.line = "p",
                                       .kind = "ignored",
                                       .base = ABSENT_I64,
                                       .reason = "no model is in service",
                                       .until_unix_ms = ABSENT_I64,
                                       .deadline_unix_ms = ABSENT_I64};

    story_add(*state, RECORD_TRAINING_PLANNED, &p, "ignored1", "drift1");
    expect(*state, VERIFY_TRIGGERS, "drift1", "answered twice");
}

static void a_run_with_two_results(void **state)
{
    story_again(*state, "model2", "model2b");
    expect(*state, VERIFY_RUNS, "model2b", "second result");
}

static void a_run_without_result(void **state)
{
    story_end_before(*state, "model2");
    expect(*state, VERIFY_RUNS, "run2", "has no result");
}

static void a_result_that_nobody_asked_for(void **state)
{
    const struct training_finished f = {
        .line = "p", .run = "run9", .status = "failed", .reason = "no rows"};

    story_add(*state, RECORD_TRAINING_FINISHED, &f, "model9", NULL);
    expect(*state, VERIFY_RUNS, "model9", "which no plan asks for");
}

static void a_run_that_is_not_closed(void **state)
{
    story_drop(*state, "closed3");
    expect(*state, VERIFY_RUNS, "run3", "is not closed");
}

static void a_run_that_nothing_ended(void **state)
{
    story_drop(*state, "gate2");
    expect(*state, VERIFY_RUNS, "closed2", "nothing in the log ended it so");
}

static void a_candidate_without_evaluation(void **state)
{
    story_drop(*state, "eval2");
    expect(*state, VERIFY_EVALUATIONS, "model2", "never evaluated");
}

static void again_without_evaluation(void **state)
{
    story_drop(*state, "eval4");
    expect(*state, VERIFY_EVALUATIONS, "gate5", "there is none");
}

static void a_candidate_evaluated_twice(void **state)
{
    story_again(*state, "eval2", "eval2b");
    expect(*state, VERIFY_EVALUATIONS, "model2", "evaluated twice");
}

static void an_evaluation_of_another_model(void **state)
{
    ((struct model_evaluated *)story_rec(*state, "eval2"))->model = "another";
    expect(*state, VERIFY_EVALUATIONS, "eval2", "is of run run2 and model another");
}

static void an_evaluation_without_decision(void **state)
{
    story_end_before(*state, "gate2");
    expect(*state, VERIFY_DECISIONS, "eval2", "never decided on");
}

static void an_evaluation_with_two_decisions(void **state)
{
    story_again(*state, "gate2", "gate2b");
    ((struct gate_decided *)story_rec(*state, "gate2b"))->base = 6;
    expect(*state, VERIFY_DECISIONS, "eval2", "answered twice");
}

static void a_run_decided_twice(void **state)
{
    story_again(*state, "gate2", "gate2b");
    ((struct gate_decided *)story_rec(*state, "gate2b"))->base = 6;
    expect(*state, VERIFY_DECISIONS, "gate2b", "decides run run2 once more");
}

static void a_promotion_that_is_not_carried_out(void **state)
{
    story_end_before(*state, "dep3");
    expect(*state, VERIFY_DECISIONS, "gate6", "neither changed nor refused");
}

static void a_promotion_carried_out_twice(void **state)
{
    story_again(*state, "dep1", "dep1b");
    ((struct deployment_changed *)story_rec(*state, "dep1b"))->base = 4;
    expect(*state, VERIFY_DECISIONS, "gate1", "answered twice");
}

static void a_refusal_without_another_decision(void **state)
{
    story_end_before(*state, "gate5");
    expect(*state, VERIFY_DECISIONS, "dep2", "has not asked to evaluate it again");
}

static void a_wait_beyond_its_deadline(void **state)
{
    story_end_before(*state, "approve1");
    expect(*state, VERIFY_DECISIONS, "gate3", "beyond its deadline");
}

static void a_rollout_that_stands_still(void **state)
{
    story_end_before(*state, "dep4");
    expect(*state, VERIFY_DECISIONS, "dep3", "whose time is over");
}

static void a_command_without_answer(void **state)
{
    story_drop(*state, "dep5");
    expect(*state, VERIFY_COMMANDS, "rollback1", "deploy has not answered it");
}

static void a_command_with_two_answers(void **state)
{
    story_again(*state, "dep5", "dep6");
    ((struct deployment_changed *)story_rec(*state, "dep6"))->base = 4;
    ((struct deployment_changed *)story_rec(*state, "dep6"))->generation = 4;
    expect(*state, VERIFY_COMMANDS, "rollback1", "answered twice");
}

static void a_base_that_nobody_reached(void **state)
{
    ((struct gate_decided *)story_rec(*state, "gate2"))->base = 7;
    expect(*state, VERIFY_BASES, "gate2",
           "is based on 7 accepted ones before it, and the log has 1");
}

static void an_event_that_was_lost_from_a_chain(void **state)
{
    story_drop(*state, "dep3");
    expect(*state, VERIFY_BASES, "dep4",
           "is based on 2 accepted ones before it, and the log has 1");
}

static void something_that_follows_from_a_loser(void **state)
{
    const struct training_finished f = {
        .line = "p", .run = "rival2", .status = "failed", .reason = "no rows"};

    story_again(*state, "run2", "rival2");
    story_add(*state, RECORD_TRAINING_FINISHED, &f, "model9", "rival2");
    expect(*state, VERIFY_BASES, "model9", "follows from rival2");
}

static void a_result_of_a_void_plan(void **state)
{
    const struct training_finished f = {
        .line = "p", .run = "rival2", .status = "failed", .reason = "no rows"};

    story_again(*state, "run2", "rival2");
    story_add(*state, RECORD_TRAINING_FINISHED, &f, "model9", "rival2");
    expect(*state, VERIFY_RUNS, "model9", "whose plan is void");
}

static void a_gap_in_the_generations(void **state)
{
    ((struct deployment_changed *)story_rec(*state, "dep5"))->generation = 4;
    expect(*state, VERIFY_GENERATIONS, "dep5", "a generation is missing");
}

static void a_generation_given_out_twice(void **state)
{
    ((struct deployment_changed *)story_rec(*state, "dep5"))->generation = 2;
    expect(*state, VERIFY_GENERATIONS, "dep5", "given out twice");
}

static void routes_that_do_not_add_up(void **state)
{
    ((struct route *)(uintptr_t)((struct deployment_changed *)story_rec(*state, "dep3"))
         ->routes.items)[1]
        .weight = 0.5;
    expect(*state, VERIFY_GENERATIONS, "dep3", "weights of 1.4");
}

static void a_promotion_without_decision(void **state)
{
    story_drop(*state, "gate1");
    expect(*state, VERIFY_PROMOTIONS, "dep1", "has no decision: gate1 is not in the log");
}

static void a_promotion_without_evaluation(void **state)
{
    story_drop(*state, "eval1");
    expect(*state, VERIFY_PROMOTIONS, "dep1", "has no evaluation: eval1 is not in the log");
}

static void a_promotion_without_result(void **state)
{
    story_drop(*state, "model1");
    expect(*state, VERIFY_PROMOTIONS, "dep1", "has no result: model1 is not in the log");
}

static void a_promotion_without_run(void **state)
{
    story_drop(*state, "run1");
    expect(*state, VERIFY_PROMOTIONS, "dep1", "has no run: run1 is not in the log");
}

static void a_promotion_without_snapshot(void **state)
{
    story_drop(*state, "snap1");
    expect(*state, VERIFY_PROMOTIONS, "dep1", "snapshot snap-digest-1 of event snap1");
}

static void a_promotion_without_first_event(void **state)
{
    story_event(*state, "run1")->cause = NULL;
    expect(*state, VERIFY_PROMOTIONS, "dep1", "leads back to plan run1, which nothing caused");
}

static void a_promotion_in_a_ring(void **state)
{
    story_event(*state, "run1")->cause = "closed1";
    expect(*state, VERIFY_PROMOTIONS, "dep1", "leads back in a ring");
}

static void a_promotion_on_a_rejection(void **state)
{
    ((struct gate_decided *)story_rec(*state, "gate1"))->verdict = "reject";
    expect(*state, VERIFY_PROMOTIONS, "dep1", "which says reject");
}

static void a_promotion_of_another_model(void **state)
{
    ((struct deployment_changed *)story_rec(*state, "dep1"))->model = "another";
    expect(*state, VERIFY_PROMOTIONS, "dep1", "is of run run1 and model another");
}

static void a_promotion_compared_with_another_champion(void **state)
{
    ((struct model_evaluated *)story_rec(*state, "eval4"))->against = 0;
    expect(*state, VERIFY_PROMOTIONS, "dep3", "its evaluation with 0");
}

static void an_instance_with_another_model(void **state)
{
    story_report(*state)->model = (char *)(uintptr_t) "another";
    expect(*state, VERIFY_SERVING, "report1", "champion is another");
}

static void an_instance_with_a_deployment_that_is_not_there(void **state)
{
    story_report(*state)->sequence = 9;
    expect(*state, VERIFY_SERVING, "report1", "no such deployment");
}

static void an_instance_that_stays_behind(void **state)
{
    struct verify_report *r = story_report(*state);

    r->sequence = 1;
    r->generation = 1;
    expect(*state, VERIFY_SERVING, "report1", "a newer one is in force");
    r->is_newest = false; /* it has gone: what it said was true then */
    expect_none(*state, 0);
}

static void an_instance_that_says_nothing_of_the_line(void **state)
{
    struct verify_report *r = story_report(*state);

    *r = (struct verify_report){
        .at = r->at, .id = r->id, .instance = r->instance, .is_judged = true, .is_newest = true};
    expect(*state, VERIFY_SERVING, "report1", "a newer one is in force");
    story_young(*state); /* it may still be loading the model */
    expect_none(*state, 1);
}

static void predictions_by_a_model_that_was_never_deployed(void **state)
{
    story_answer(*state)->generation = 7;
    expect(*state, VERIFY_SERVING, "prediction1", "was never deployed");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(an_honest_line_passes),
        T(a_log_that_grows_is_no_violation),
        T(what_is_not_judged_is_no_violation),
        T(repeats_and_rivals_are_harmless),
        T(a_line_without_its_beginning_is_taken_from_where_it_begins),
        T(a_dataset_without_outcome),
        T(a_dataset_with_two_outcomes),
        T(a_dataset_without_the_outcome_of_one_segment),
        T(an_accepted_dataset_without_snapshot),
        T(a_trigger_without_answer),
        T(a_trigger_that_waits_for_nothing),
        T(a_trigger_with_two_answers),
        T(a_run_with_two_results),
        T(a_run_without_result),
        T(a_result_that_nobody_asked_for),
        T(a_run_that_is_not_closed),
        T(a_run_that_nothing_ended),
        T(a_candidate_without_evaluation),
        T(again_without_evaluation),
        T(a_candidate_evaluated_twice),
        T(an_evaluation_of_another_model),
        T(an_evaluation_without_decision),
        T(an_evaluation_with_two_decisions),
        T(a_run_decided_twice),
        T(a_promotion_that_is_not_carried_out),
        T(a_promotion_carried_out_twice),
        T(a_refusal_without_another_decision),
        T(a_wait_beyond_its_deadline),
        T(a_rollout_that_stands_still),
        T(a_command_without_answer),
        T(a_command_with_two_answers),
        T(a_base_that_nobody_reached),
        T(an_event_that_was_lost_from_a_chain),
        T(something_that_follows_from_a_loser),
        T(a_result_of_a_void_plan),
        T(a_gap_in_the_generations),
        T(a_generation_given_out_twice),
        T(routes_that_do_not_add_up),
        T(a_promotion_without_decision),
        T(a_promotion_without_evaluation),
        T(a_promotion_without_result),
        T(a_promotion_without_run),
        T(a_promotion_without_snapshot),
        T(a_promotion_without_first_event),
        T(a_promotion_in_a_ring),
        T(a_promotion_on_a_rejection),
        T(a_promotion_of_another_model),
        T(a_promotion_compared_with_another_champion),
        T(an_instance_with_another_model),
        T(an_instance_with_a_deployment_that_is_not_there),
        T(an_instance_that_stays_behind),
        T(an_instance_that_says_nothing_of_the_line),
        T(predictions_by_a_model_that_was_never_deployed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
