/* What the gate owes on a line: commands of people, refused promotions, waits that run out. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/gate.h"
#include "tests/support/make_event.h"

enum { NOW_MS = 1000000, DEADLINE_MS = 2000000 };

struct bench {
    struct line *line;
    struct arena arena;
    struct gate_owed owed;
    int n;
};

static int set_up(void **state)
{
    struct bench *b = xcalloc(1, sizeof(*b));
    b->line = line_new("l");
    *state = b;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *b = *state;
    line_free(b->line);
    arena_fini(&b->arena);
    free_ptr(&b);
    return 0;
}

static const struct event *add(struct bench *b, enum record r, const void *rec,
                               const struct event *cause)
{
    const char *id = arena_printf(&b->arena, "e%d", ++b->n);
    struct event_parts p = {
        .type = r, .rec = rec, .id = id, .cause = cause, .key = "l", .time_unix_ms = NOW_MS};
    line_fold(b->line, make_event(&p));
    return line_find(b->line, r, id);
}

/* A model of this run was evaluated against that generation. */
static const struct event *evaluate(struct bench *b, const char *run, int64_t against)
{
    struct model_evaluated e = {.line = "l",
                                .run = run,
                                .model = arena_printf(&b->arena, "model-%s", run),
                                .model_event = "m",
                                .status = "evaluated",
                                .against = against,
                                .pipeline_sha256 = "p"};
    return add(b, RECORD_MODEL_EVALUATED, &e, NULL);
}

static const struct event *command(struct bench *b, const char *word, const char *target,
                                   int64_t generation)
{
    struct operator_commanded c = {.line = "l",
                                   .command = word,
                                   .target = target,
                                   .generation = generation,
                                   .to_generation = ABSENT_I64,
                                   .by = "ann",
                                   .reason = "because"};
    return add(b, RECORD_OPERATOR_COMMANDED, &c, NULL);
}

static const struct event *serve(struct bench *b, int64_t generation, const char *model)
{
    struct route r = {.generation = generation, .model = model, .role = "champion", .weight = 1};
    struct deployment_changed d = {.line = "l",
                                   .kind = "changed",
                                   .base = b->line->deployments_base,
                                   .generation = generation,
                                   .action = "replace",
                                   .routes = {&r, 1},
                                   .is_final = true,
                                   .reason = "because"};
    return add(b, RECORD_DEPLOYMENT_CHANGED, &d, NULL);
}

/* Writes down what is owed, as the shell does; the judge's verdict is given. */
static const struct event *decide(struct bench *b, const char *verdict)
{
    struct gate_decided d = b->owed.decision;
    d.line = "l";
    d.base = b->line->decisions_base;
    if (verdict) {
        d.verdict = verdict;
        d.reason = "so it was judged";
    }
    if (strcmp(d.verdict, "wait") == 0)
        d.deadline_unix_ms = DEADLINE_MS;
    return add(b, RECORD_GATE_DECIDED, &d, b->owed.cause);
}

static void expect(struct bench *b, enum gate_owed_kind kind, const char *verdict,
                   const char *reason)
{
    gate_find_owed(b->line, NOW_MS, &b->arena, &b->owed);
    if (b->owed.kind == GATE_WEIGH) { /* no pipeline: anybody may approve */
        const char *about = b->owed.about;
        gate_complete(b->line, NULL, NOW_MS, &b->arena, &b->owed);
        b->owed.kind = GATE_DECIDE;
        b->owed.about = about;
    }
    assert_int_equal(b->owed.kind, kind);
    if (kind != GATE_DECIDE)
        return;
    assert_string_equal(b->owed.decision.verdict, verdict);
    if (!strstr(b->owed.decision.reason, reason))
        fail_msg("'%s' says nothing of '%s'", b->owed.decision.reason, reason);
}

/* A candidate that waits for a person. */
static const struct event *wait_for_approval(struct bench *b, const char *run, int64_t against)
{
    const struct event *ev = evaluate(b, run, against);
    expect(b, GATE_JUDGE, NULL, NULL);
    assert_ptr_equal(b->owed.evaluation, ev);
    return decide(b, "wait");
}

static void an_evaluation_is_judged_once(void **state)
{
    struct bench *b = *state;
    const struct event *ev = evaluate(b, "r1", 0);
    assert_false(gate_is_answered(b->line, ev));
    expect(b, GATE_JUDGE, NULL, NULL);
    decide(b, "reject");
    assert_true(gate_is_answered(b->line, ev));
    expect(b, GATE_OWES_NOTHING, NULL, NULL);
    evaluate(b, "r1", 0);
    expect(b, GATE_DECIDE, "already", "decided before");
}

static void an_evaluation_against_another_champion_is_made_again(void **state)
{
    struct bench *b = *state;
    serve(b, 1, "a");
    evaluate(b, "r1", 0);
    expect(b, GATE_DECIDE, "again", "generation 1 serves now");
}

static void a_refused_promotion_is_evaluated_again(void **state)
{
    struct bench *b = *state;
    evaluate(b, "r1", 0);
    expect(b, GATE_JUDGE, NULL, NULL);
    const struct event *decision = decide(b, "promote");
    struct deployment_changed d = {
        .line = "l", .kind = "refused", .base = ABSENT_I64, .reason = "another one serves"};
    const struct event *refused = add(b, RECORD_DEPLOYMENT_CHANGED, &d, decision);
    assert_false(gate_is_answered(b->line, refused));
    expect(b, GATE_DECIDE, "again", "another one serves");
    assert_string_equal(b->owed.decision.run, "r1");
    assert_string_equal(b->owed.decision.model_event, "m");
    decide(b, NULL);
    assert_true(gate_is_answered(b->line, refused));
    expect(b, GATE_OWES_NOTHING, NULL, NULL);
}

static void an_approval_promotes_what_waits(void **state)
{
    struct bench *b = *state;
    wait_for_approval(b, "r1", 0);
    expect(b, GATE_OWES_NOTHING, NULL, NULL);
    assert_int_equal(b->owed.wake_unix_ms, DEADLINE_MS);
    command(b, "approve", NULL, ABSENT_I64);
    expect(b, GATE_DECIDE, "promote", "approved by ann: because");
    assert_string_equal(b->owed.decision.model, "model-r1");
    decide(b, NULL);
    command(b, "approve", NULL, ABSENT_I64);
    expect(b, GATE_DECIDE, "refused", "nothing waits");
}

static void an_approval_is_of_the_comparison_that_was_shown(void **state)
{
    struct bench *b = *state;
    wait_for_approval(b, "r1", 0);
    serve(b, 1, "a");
    command(b, "approve", NULL, ABSENT_I64);
    expect(b, GATE_DECIDE, "again", "generation 1 serves now");
}

static void a_rejection_ends_the_wait(void **state)
{
    struct bench *b = *state;
    wait_for_approval(b, "r1", 0);
    command(b, "reject", "r1", ABSENT_I64);
    expect(b, GATE_DECIDE, "reject", "rejected by ann: because");
    decide(b, NULL);
    expect(b, GATE_OWES_NOTHING, NULL, NULL);
    assert_int_equal(b->owed.wake_unix_ms, 0);
}

static void a_target_chooses_among_those_that_wait(void **state)
{
    struct bench *b = *state;
    const struct event *first = wait_for_approval(b, "r1", 0);
    wait_for_approval(b, "r2", 0);
    command(b, "approve", first->id, ABSENT_I64);
    expect(b, GATE_DECIDE, "promote", "approved");
    assert_string_equal(b->owed.decision.run, "r1");
    decide(b, NULL);
    command(b, "approve", "model-r2", ABSENT_I64);
    expect(b, GATE_DECIDE, "promote", "approved");
    assert_string_equal(b->owed.decision.run, "r2");
    decide(b, NULL);
    command(b, "approve", "r3", ABSENT_I64);
    expect(b, GATE_DECIDE, "refused", "no decision with this id");
}

static void a_command_given_at_another_generation_is_refused(void **state)
{
    static const char *const WORDS[] = {"approve", "reject", "force"};
    struct bench *b = *state;
    serve(b, 1, "a");
    serve(b, 2, "b");
    wait_for_approval(b, "r1", 2);
    for (size_t i = 0; i < ARRAY_LEN(WORDS); i++) {
        command(b, WORDS[i], NULL, 1);
        expect(b, GATE_DECIDE, "refused", "the state moved");
        decide(b, NULL);
    }
    command(b, "approve", NULL, 2);
    expect(b, GATE_DECIDE, "promote", "approved");
}

static void force_promotes_what_the_rules_rejected(void **state)
{
    struct bench *b = *state;
    command(b, "force", NULL, ABSENT_I64);
    expect(b, GATE_DECIDE, "refused", "no evaluated model");
    decide(b, NULL);
    evaluate(b, "r1", 0);
    expect(b, GATE_JUDGE, NULL, NULL);
    decide(b, "reject");
    serve(b, 1, "a");
    command(b, "force", "r1", ABSENT_I64);
    expect(b, GATE_DECIDE, "promote", "FORCED by ann past the gate: because");
    assert_int_equal(b->owed.decision.against, 1);
}

static void nobody_answers_in_time(void **state)
{
    struct bench *b = *state;
    const struct event *wait = wait_for_approval(b, "r1", 0);
    gate_find_owed(b->line, DEADLINE_MS - 1, &b->arena, &b->owed);
    assert_int_equal(b->owed.kind, GATE_OWES_NOTHING);
    gate_find_owed(b->line, DEADLINE_MS, &b->arena, &b->owed);
    assert_int_equal(b->owed.kind, GATE_DECIDE);
    assert_ptr_equal(b->owed.cause, wait);
    assert_string_equal(b->owed.decision.verdict, "reject");
    assert_non_null(strstr(b->owed.decision.reason, "nobody approved it in time"));
}

static void commands_of_others_are_not_gates(void **state)
{
    static const char *const WORDS[] = {"rollback", "retrain", "pause", "resume", "nonsense"};
    struct bench *b = *state;
    for (size_t i = 0; i < ARRAY_LEN(WORDS); i++)
        assert_true(gate_is_answered(b->line, command(b, WORDS[i], NULL, ABSENT_I64)));
    expect(b, GATE_OWES_NOTHING, NULL, NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_evaluation_is_judged_once),
        TEST(an_evaluation_against_another_champion_is_made_again),
        TEST(a_refused_promotion_is_evaluated_again),
        TEST(an_approval_promotes_what_waits),
        TEST(an_approval_is_of_the_comparison_that_was_shown),
        TEST(a_rejection_ends_the_wait),
        TEST(a_target_chooses_among_those_that_wait),
        TEST(a_command_given_at_another_generation_is_refused),
        TEST(force_promotes_what_the_rules_rejected),
        TEST(nobody_answers_in_time),
        TEST(commands_of_others_are_not_gates),
    };
    return cmocka_run_group_tests_name("gate owed", tests, NULL, NULL);
}
