/* Rollouts: what follows from a decision, a command, health and time. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agents/deploy/rollout.h"
#include "tests/support/make_event.h"

enum { NOW_MS = 1000000, INTERVAL_MS = 60000 };

struct bench {
    struct line *line;
    struct pipeline *replace, *canary;
    struct arena arena;
    int64_t now_ms;
};

static struct pipeline *pipeline(const char *deploy)
{
    struct pipeline *p = NULL;
    struct err err = {0};
    CLEANUP_FREE char *yaml = xasprintf("apiVersion: relearn/v1\nkind: Pipeline\nname: l\ndataset: "
                                        "{name: d, label: y}\ntask: binary\ndeploy: %s\n",
                                        deploy);
    if (pipeline_parse(slice_str(yaml), "test", &p, &err))
        fail_msg("%s", err.msg);
    return p;
}

static int set_up(void **state)
{
    struct bench *b = xcalloc(1, sizeof(*b));
    b->line = line_new("l");
    b->now_ms = NOW_MS;
    b->replace = pipeline("{strategy: replace}");
    b->canary =
        pipeline("{strategy: canary, steps: [10, 50, 100], interval: 60s, min_predictions: 100}");
    *state = b;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *b = *state;
    line_free(b->line);
    pipeline_free(b->replace);
    pipeline_free(b->canary);
    arena_fini(&b->arena);
    free_ptr(&b);
    return 0;
}

static const struct event *add(struct bench *b, enum record r, const void *rec,
                               const struct event *cause, const char *id)
{
    struct event_parts p = {
        .type = r, .rec = rec, .id = id, .cause = cause, .key = "l", .time_unix_ms = b->now_ms};
    struct event *ev = make_event(&p);
    CLEANUP_FREE char *kept = xstrdup(ev->id);
    line_fold(b->line, ev);
    return line_find(b->line, r, kept);
}

static const struct event *decide(struct bench *b, const char *model, int64_t against)
{
    struct gate_decided d = {.line = "l",
                             .base = b->line->decisions_base,
                             .run = arena_printf(&b->arena, "run-%s", model),
                             .model = model,
                             .verdict = "promote",
                             .against = against,
                             .by = "policy",
                             .pipeline_sha256 = "p",
                             .deadline_unix_ms = ABSENT_I64};
    return add(b, RECORD_GATE_DECIDED, &d, NULL,
               arena_printf(&b->arena, "decision-%s-%lld", model, (long long)against));
}

/* Does what is owed, as the agent would; returns the change, NULL when nothing is owed. */
static const struct deployment_changed *advance(struct bench *b, const struct pipeline *p,
                                                const struct serving_report *serving)
{
    struct rollout_owed owed;
    rollout_find_owed(b->line, p, serving, b->now_ms, &b->arena, &owed);
    if (!owed.is_owed)
        return NULL;
    if (owed.needs_pipeline)
        rollout_begin(b->line, p, owed.cause, b->now_ms, &b->arena, &owed.change);
    owed.change.line = "l";
    owed.change.changed_unix_ms = b->now_ms;
    owed.change.base =
        strcmp(owed.change.kind, "changed") == 0 ? b->line->deployments_base : ABSENT_I64;
    const struct event *ev =
        add(b, RECORD_DEPLOYMENT_CHANGED, &owed.change, owed.cause,
            arena_printf(&b->arena, "change-%zu", b->line->ev[RECORD_DEPLOYMENT_CHANGED].n));
    return EV_REC(ev, deployment_changed);
}

static const struct deployment_changed *promote(struct bench *b, const struct pipeline *p,
                                                const char *model)
{
    const struct route *r = line_champion(b->line);
    decide(b, model, r ? r->generation : 0);
    return advance(b, p, NULL);
}

static const struct deployment_changed *command_rollback(struct bench *b, int64_t generation,
                                                         int64_t to)
{
    struct operator_commanded c = {.line = "l",
                                   .command = "rollback",
                                   .generation = generation,
                                   .to_generation = to,
                                   .by = "ada",
                                   .reason = "looks wrong"};
    add(b, RECORD_OPERATOR_COMMANDED, &c, NULL,
        arena_printf(&b->arena, "command-%zu", b->line->ev[RECORD_OPERATOR_COMMANDED].n));
    return advance(b, b->replace, NULL);
}

static void measure(struct bench *b, int64_t generation, int64_t predictions, const char *verdict)
{
    struct health_measured h = {.line = "l",
                                .kind = "window",
                                .generation = generation,
                                .predictions = predictions,
                                .verdict = verdict,
                                .reason = "accuracy 0.4, at least 0.6 is asked",
                                .consecutive = 1};
    add(b, RECORD_HEALTH_MEASURED, &h, NULL,
        arena_printf(&b->arena, "health-%zu", b->line->ev[RECORD_HEALTH_MEASURED].n));
}

static void replace_routes_everything_to_the_next_generation(void **state)
{
    struct bench *b = *state;
    const struct deployment_changed *d = promote(b, b->replace, "m1");
    assert_string_equal(d->action, "replace");
    assert_int_equal(d->generation, 1);
    assert_int_equal(d->against, 0);
    assert_true(d->is_final);
    d = promote(b, b->replace, "m2");
    assert_int_equal(d->generation, 2);
    assert_int_equal(d->against, 1);
    assert_int_equal(d->routes.n, 1);
    assert_string_equal(line_champion(b->line)->model, "m2");
    assert_null(advance(b, b->replace, NULL));
}

static void a_decision_about_another_champion_is_refused(void **state)
{
    struct bench *b = *state;
    promote(b, b->replace, "m1");
    const struct event *decision = decide(b, "m2", 0);
    const struct deployment_changed *d = advance(b, b->replace, NULL);
    assert_string_equal(d->kind, "refused");
    assert_non_null(strstr(d->reason, "generation 1 serves now"));
    assert_true(rollout_is_answered(b->line, decision));
    assert_int_equal(b->line->generation, 1);
}

static void a_first_model_needs_no_canary(void **state)
{
    struct bench *b = *state;
    assert_string_equal(promote(b, b->canary, "m1")->action, "replace");
}

static void a_canary_goes_by_steps_and_time(void **state)
{
    struct bench *b = *state;
    promote(b, b->canary, "m1");
    const struct deployment_changed *d = promote(b, b->canary, "m2");
    assert_string_equal(d->action, "canary_begin");
    assert_int_equal(d->generation, 2);
    assert_float_equal(line_canary(b->line)->weight, 0.1, 1e-12);
    assert_float_equal(line_champion(b->line)->weight, 0.9, 1e-12);
    assert_null(advance(b, b->canary, NULL)); /* not yet */
    measure(b, 2, 100, "ok");
    b->now_ms += INTERVAL_MS;
    d = advance(b, b->canary, NULL);
    assert_string_equal(d->action, "canary_step");
    assert_float_equal(line_canary(b->line)->weight, 0.5, 1e-12);
    assert_int_equal(d->generation, 2);
    measure(b, 2, 100, "ok");
    b->now_ms += INTERVAL_MS;
    d = advance(b, b->canary, NULL);
    assert_string_equal(d->action, "promote");
    assert_true(d->is_final);
    assert_string_equal(line_champion(b->line)->model, "m2");
    assert_null(line_canary(b->line));
}

static void a_step_of_a_day_that_never_was_is_over(void **state)
{
    struct bench *b = *state;
    promote(b, b->canary, "m1");
    b->now_ms += 86400000;
    promote(b, b->canary, "m2");
    measure(b, 2, 100, "ok");
    assert_null(advance(b, b->canary, NULL));
    b->now_ms -= 86400000;
    assert_string_equal(advance(b, b->canary, NULL)->action, "canary_step");
    assert_null(advance(b, b->canary, NULL)); /* the next one takes its time */
}

static void too_few_predictions_hold_and_then_go_back(void **state)
{
    struct bench *b = *state;
    promote(b, b->canary, "m1");
    promote(b, b->canary, "m2");
    measure(b, 2, 99, "ok");
    for (int i = 0; i < ROLLOUT_MAX_HOLDS; i++) {
        b->now_ms += INTERVAL_MS;
        assert_string_equal(advance(b, b->canary, NULL)->action, "canary_hold");
    }
    b->now_ms += INTERVAL_MS;
    const struct deployment_changed *d = advance(b, b->canary, NULL);
    assert_string_equal(d->action, "rollback");
    assert_int_equal(d->generation, 3);
    assert_string_equal(d->run, "run-m2"); /* the run's end */
    assert_string_equal(line_champion(b->line)->model, "m1");
}

static void degraded_health_goes_back_at_once(void **state)
{
    struct bench *b = *state;
    promote(b, b->canary, "m1");
    promote(b, b->canary, "m2");
    measure(b, 1, 500, "degraded"); /* of the other generation: not its business */
    assert_null(advance(b, b->canary, NULL));
    measure(b, 2, 500, "degraded");
    const struct deployment_changed *d = advance(b, b->canary, NULL);
    assert_string_equal(d->action, "rollback");
    assert_true(d->is_final);
    assert_non_null(strstr(d->reason, "accuracy 0.4"));
    assert_string_equal(line_champion(b->line)->model, "m1");
}

static void a_promotion_waits_for_the_rollout_under_way(void **state)
{
    struct bench *b = *state;
    promote(b, b->canary, "m1");
    promote(b, b->canary, "m2");
    const struct event *waiting = decide(b, "m3", 1);
    assert_null(advance(b, b->canary, NULL));
    assert_false(rollout_is_answered(b->line, waiting));
    measure(b, 2, 500, "degraded");
    advance(b, b->canary, NULL);
    const struct deployment_changed *d = advance(b, b->canary, NULL);
    assert_string_equal(d->kind,
                        "refused"); /* it was compared with generation 1, generation 3 serves */
    assert_true(rollout_is_answered(b->line, waiting));
}

static void a_rollback_is_a_new_generation_with_the_model_before(void **state)
{
    struct bench *b = *state;
    promote(b, b->replace, "m1");
    promote(b, b->replace, "m2");
    const struct deployment_changed *d = command_rollback(b, ABSENT_I64, ABSENT_I64);
    assert_string_equal(d->action, "rollback");
    assert_int_equal(d->generation, 3);
    assert_string_equal(line_champion(b->line)->model, "m1");
    assert_string_equal(d->by, "ada");
    assert_non_null(strstr(d->reason, "looks wrong"));
    assert_null(d->run);
    d = command_rollback(b, ABSENT_I64, 2);
    assert_int_equal(d->generation, 4);
    assert_string_equal(line_champion(b->line)->model, "m2");
}

static void a_rollback_that_cannot_be_is_refused_with_its_reason(void **state)
{
    struct bench *b = *state;
    assert_non_null(
        strstr(command_rollback(b, ABSENT_I64, ABSENT_I64)->reason, "nothing is in service"));
    promote(b, b->replace, "m1");
    assert_non_null(strstr(command_rollback(b, ABSENT_I64, ABSENT_I64)->reason, "no other model"));
    promote(b, b->replace, "m2");
    assert_non_null(strstr(command_rollback(b, 1, ABSENT_I64)->reason, "the state moved"));
    assert_non_null(strstr(command_rollback(b, 2, 9)->reason, "generation 9 never was"));
    assert_non_null(strstr(command_rollback(b, 2, 2)->reason, "in service already"));
    assert_int_equal(b->line->generation, 2);
}

static void a_rollback_ends_a_canary(void **state)
{
    struct bench *b = *state;
    promote(b, b->canary, "m1");
    promote(b, b->canary, "m2");
    const struct deployment_changed *d = command_rollback(b, ABSENT_I64, ABSENT_I64);
    assert_string_equal(line_champion(b->line)->model, "m1");
    assert_string_equal(d->run, "run-m2");
    assert_true(d->is_final);
    assert_null(line_canary(b->line));
}

static void a_model_that_no_instance_can_load_goes_back(void **state)
{
    struct bench *b = *state;
    promote(b, b->replace, "m1");
    promote(b, b->replace, "m2");
    struct serving_report one_of_two = {.serving = 1, .failed = 1, .reason = "damaged"};
    assert_null(advance(b, b->replace, &one_of_two));
    struct serving_report none = {.failed = 2, .reason = "the file is damaged"};
    const struct deployment_changed *d = advance(b, b->replace, &none);
    assert_string_equal(d->action, "rollback");
    assert_non_null(strstr(d->reason, "the file is damaged"));
    assert_string_equal(line_champion(b->line)->model, "m1");
    assert_null(advance(b, b->replace, &none)); /* not back and forth */
}

static void commands_of_others_are_not_deploys(void **state)
{
    struct bench *b = *state;
    struct operator_commanded c = {
        .line = "l", .command = "retrain", .generation = ABSENT_I64, .to_generation = ABSENT_I64};
    assert_true(rollout_is_answered(b->line, add(b, RECORD_OPERATOR_COMMANDED, &c, NULL, "c")));
    assert_null(advance(b, b->replace, NULL));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(replace_routes_everything_to_the_next_generation),
        TEST(a_decision_about_another_champion_is_refused),
        TEST(a_first_model_needs_no_canary),
        TEST(a_canary_goes_by_steps_and_time),
        TEST(a_step_of_a_day_that_never_was_is_over),
        TEST(too_few_predictions_hold_and_then_go_back),
        TEST(degraded_health_goes_back_at_once),
        TEST(a_promotion_waits_for_the_rollout_under_way),
        TEST(a_rollback_is_a_new_generation_with_the_model_before),
        TEST(a_rollback_that_cannot_be_is_refused_with_its_reason),
        TEST(a_rollback_ends_a_canary),
        TEST(a_model_that_no_instance_can_load_goes_back),
        TEST(commands_of_others_are_not_deploys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
