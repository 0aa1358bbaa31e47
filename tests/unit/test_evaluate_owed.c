/* Which evaluations an evaluate instance owes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "agents/evaluate/owed.h"
#include "tests/support/make_event.h"

static int setup(void **state)
{
    *state = line_new("p");
    return 0;
}

static int teardown(void **state)
{
    line_free(*state);
    return 0;
}

static const struct event *fold(struct line *l, enum record r, const void *rec,
                                const struct event *cause, const char *about)
{
    struct event *ev =
        make_event(&(struct event_parts){.type = r, .rec = rec, .cause = cause, .about = about});
    char id[64];

    snprintf(id, sizeof(id), "%s", ev->id);
    line_fold(l, ev);
    return line_find(l, r, id);
}

static const struct event *model(struct line *l, const char *run, const char *status)
{
    const struct training_finished f = {
        .line = "p", .run = run, .status = status, .model = "m", .pipeline_sha256 = "ff"};

    return fold(l, RECORD_TRAINING_FINISHED, &f, NULL, run);
}

static void serve(struct line *l, int64_t generation, const char *digest)
{
    const struct route route = {
        .generation = generation, .model = digest, .role = "champion", .weight = 1};
    const struct deployment_changed d = {.line = "p",
                                         .kind = "changed",
                                         .base = l->deployments_base,
                                         .generation = generation,
                                         .action = "replace",
                                         .routes = {&route, 1}};
    char about[16];

    snprintf(about, sizeof(about), "g%d", (int)generation);
    assert_non_null(fold(l, RECORD_DEPLOYMENT_CHANGED, &d, NULL, about));
}

static void evaluated(struct line *l, const struct event *cause, int64_t against)
{
    const struct model_evaluated e = {.line = "p", .status = "evaluated", .against = against};

    assert_non_null(fold(l, RECORD_MODEL_EVALUATED, &e, cause, "against"));
}

static void a_candidate_is_owed_an_evaluation_against_what_serves(void **state)
{
    struct line *l = *state;
    const struct event *m = model(l, "r1", "candidate");
    struct evaluate_owed o;

    evaluate_find_owed(l, &o);
    assert_ptr_equal(o.cause, m);
    assert_ptr_equal(o.model, m);
    assert_int_equal(o.against, 0);
    assert_null(o.champion);
    assert_false(evaluate_is_answered(l, m));
    serve(l, 4, "champ");
    evaluate_find_owed(l, &o);
    assert_int_equal(o.against, 4);
    assert_string_equal(o.champion, "champ");
    evaluated(l, m, 4);
    assert_true(evaluate_is_answered(l, m));
    evaluate_find_owed(l, &o);
    assert_null(o.cause);
}

static void a_failed_training_is_owed_nothing(void **state)
{
    struct line *l = *state;
    const struct event *m = model(l, "r1", "failed");
    struct evaluate_owed o;

    evaluate_find_owed(l, &o);
    assert_null(o.cause);
    assert_true(evaluate_is_answered(l, m));
}

static void only_the_first_result_of_a_run_counts(void **state)
{
    struct line *l = *state;
    const struct training_finished second = {
        .line = "p", .run = "r1", .status = "candidate", .model = "m2"};
    struct event *ev = make_event(&(struct event_parts){
                     .type = RECORD_TRAINING_FINISHED, .rec = &second, .about = "second"}),
                 copy = *ev;
    char id[64];
    struct evaluate_owed o;

    snprintf(id, sizeof(id), "%s", ev->id);
    copy.id = id;
    evaluated(l, model(l, "r1", "candidate"), 0);
    line_fold(l, ev);
    assert_true(evaluate_is_answered(l, &copy));
    evaluate_find_owed(l, &o);
    assert_null(o.cause);
}

static void again_means_again_against_what_serves_now(void **state)
{
    struct line *l = *state;
    const struct event *m = model(l, "r1", "candidate"), *ev;
    struct gate_decided d = {.line = "p", .base = 0, .run = "r1", .verdict = "again", .against = 0};
    struct evaluate_owed o;

    evaluated(l, m, 0);
    serve(l, 1, "champ");
    d.model_event = m->id;
    ev = fold(l, RECORD_GATE_DECIDED, &d, NULL, "again");
    evaluate_find_owed(l, &o);
    assert_ptr_equal(o.cause, ev);
    assert_ptr_equal(o.model, m);
    assert_int_equal(o.against, 1);
    assert_false(evaluate_is_answered(l, ev));
    evaluated(l, ev, 1);
    assert_true(evaluate_is_answered(l, ev));
    evaluate_find_owed(l, &o);
    assert_null(o.cause);
}

static void other_decisions_and_void_ones_ask_for_nothing(void **state)
{
    struct line *l = *state;
    const struct event *m = model(l, "r1", "candidate");
    struct gate_decided d = {
        .line = "p", .base = 0, .run = "r1", .model_event = m->id, .verdict = "promote"};
    struct event *late, copy;
    struct evaluate_owed o;
    char id[64];

    evaluated(l, m, 0);
    assert_true(evaluate_is_answered(l, fold(l, RECORD_GATE_DECIDED, &d, NULL, "promote")));
    d.verdict = "again"; /* on a base that is gone */
    late =
        make_event(&(struct event_parts){.type = RECORD_GATE_DECIDED, .rec = &d, .about = "late"});
    copy = *late;
    snprintf(id, sizeof(id), "%s", late->id);
    copy.id = id;
    line_fold(l, late);
    assert_true(evaluate_is_answered(l, &copy));
    evaluate_find_owed(l, &o);
    assert_null(o.cause);
}

static void again_for_a_candidate_that_nobody_knows_asks_for_nothing(void **state)
{
    struct line *l = *state;
    const struct gate_decided d = {
        .line = "p", .base = 0, .run = "r9", .model_event = "e9", .verdict = "again"};
    struct evaluate_owed o;

    assert_true(evaluate_is_answered(l, fold(l, RECORD_GATE_DECIDED, &d, NULL, "again")));
    evaluate_find_owed(l, &o);
    assert_null(o.cause);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
static void counted(struct line *l, const char *run, int64_t against, const char *status)
{
    const struct model_evaluated e = {
        .line = "p", .run = run, .status = status, .against = against};
    char about[32];

    snprintf(about, sizeof(about), "%s %d", run, (int)against);
    fold(l, RECORD_MODEL_EVALUATED, &e, NULL, about);
}

static void attempts_against_one_champion_are_counted(void **state)
{
    struct line *l = *state;
    struct evaluate_owed owed;

    serve(l, 1, "first");
    counted(l, "r1", 0, "evaluated"); /* against another */
    model(l, "r9", "candidate");
    evaluate_find_owed(l, &owed);
    assert_int_equal(owed.attempt, 1);
    counted(l, "r2", 1, "evaluated");
    counted(l, "r3", 1, "failed"); /* told nothing */
    counted(l, "r4", 1, "evaluated");
    counted(l, "r9", 1, "evaluated"); /* itself */
    evaluate_find_owed(l, &owed);
    assert_int_equal(owed.attempt, 3);
    serve(l, 2, "second");
    evaluate_find_owed(l, &owed);
    assert_int_equal(owed.attempt, 1);
}

static void deployed(struct line *l, const char *action, int64_t generation, const char *digest)
{
    const struct route route = {
        .generation = generation, .model = digest, .role = "champion", .weight = 1};
    const struct deployment_changed d = {.line = "p",
                                         .kind = "changed",
                                         .base = l->deployments_base,
                                         .generation = generation,
                                         .action = action,
                                         .routes = {&route, digest ? 1 : 0}};
    char about[16];

    snprintf(about, sizeof(about), "g%d", (int)generation);
    assert_non_null(fold(l, RECORD_DEPLOYMENT_CHANGED, &d, NULL, about));
}

static void models_that_served_are_known_but_those_rolled_back(void **state)
{
    struct line *l = *state;
    struct evaluate_owed owed;

    deployed(l, "replace", 1, "one");
    deployed(l, "replace", 2, "two");
    deployed(l, "replace", 3, "three");
    deployed(l, "rollback", 4, "two"); /* from three */
    deployed(l, "replace", 5, "five");
    model(l, "r", "candidate");
    evaluate_find_owed(l, &owed);
    assert_string_equal(owed.champion, "five");
    assert_int_equal(owed.n_past, 2);
    assert_string_equal(owed.past[0], "two");
    assert_string_equal(owed.past[1], "one");
    deployed(l, "rollback", 6, NULL); /* to nothing */
    evaluate_find_owed(l, &owed);
    assert_null(owed.champion);
    assert_int_equal(owed.n_past, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_candidate_is_owed_an_evaluation_against_what_serves),
        TEST(a_failed_training_is_owed_nothing),
        TEST(only_the_first_result_of_a_run_counts),
        TEST(again_means_again_against_what_serves_now),
        TEST(other_decisions_and_void_ones_ask_for_nothing),
        TEST(again_for_a_candidate_that_nobody_knows_asks_for_nothing),
        TEST(attempts_against_one_champion_are_counted),
        TEST(models_that_served_are_known_but_those_rolled_back),
    };

    return cmocka_run_group_tests_name("evaluate_owed", tests, NULL, NULL);
}
