/* The ratchet: steps add up along the champions that led to a candidate. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/gate.h"
#include "tests/support/make_event.h"

enum { DAY_MS = 86400000 };

struct bench {
    struct line *line;
    struct pipeline *policy;
    struct arena arena;
    int64_t now_ms;
    int n, generation;
    const char *champion;
};

static int set_up(void **state)
{
    struct bench *b = xcalloc(1, sizeof(*b));
    b->line = line_new("l");
    b->now_ms = DAY_MS;
    *state = b;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *b = *state;
    line_free(b->line);
    pipeline_free(b->policy);
    arena_fini(&b->arena);
    free_ptr(&b);
    return 0;
}

static void declare(struct bench *b, const char *ratchet)
{
    struct err err = {0};
    CLEANUP_FREE char *yaml = xasprintf(
        "apiVersion: relearn/v1\nkind: Pipeline\nname: l\ndataset: {name: d, label: y}\ntask: "
        "binary\ngate: {min_rows: 10, rules: [{metric: auc, no_worse_than: champion, by: 0.01}], "
        "ratchet: %s}\n",
        ratchet);
    if (pipeline_parse(slice_str(yaml), "test", &b->policy, &err))
        fail_msg("%s", err.msg);
}

static const char *add(struct bench *b, enum record r, const void *rec, const struct event *cause)
{
    const char *id = arena_printf(&b->arena, "e%d", ++b->n);
    struct event_parts p = {.type = r, .rec = rec, .id = id, .cause = cause, .key = "l"};
    line_fold(b->line, make_event(&p));
    return id;
}

static void serve(struct bench *b, const char *model)
{
    struct route r = {
        .generation = ++b->generation, .model = model, .role = "champion", .weight = 1};
    struct deployment_changed d = {.line = "l",
                                   .kind = "changed",
                                   .base = b->line->deployments_base,
                                   .generation = b->generation,
                                   .routes = {&r, 1},
                                   .is_final = true};
    add(b, RECORD_DEPLOYMENT_CHANGED, &d, NULL);
    b->champion = model;
}

/* A candidate so much better than the champion, a day later; what is promoted serves. */
static const struct gate_decided *step(struct bench *b, double difference, const char *verdict,
                                       const char *reason)
{
    const char *run = arena_printf(&b->arena, "run%d", b->n);
    const char *model = arena_printf(&b->arena, "model%d", b->n);
    struct evaluation_metric m = {.metric = "auc",
                                  .slice = "all",
                                  .rows = 100,
                                  .candidate = 0.8,
                                  .champion = b->champion ? 0.8 - difference : NAN,
                                  .difference = b->champion ? difference : NAN,
                                  .low = NAN,
                                  .high = NAN,
                                  .higher_is_better = true};
    struct model_evaluated e = {.line = "l",
                                .run = run,
                                .model = model,
                                .model_event = "t",
                                .status = "evaluated",
                                .against = b->champion ? b->generation : 0,
                                .champion = b->champion,
                                .pipeline_sha256 = b->policy->sha256,
                                .rows = 100,
                                .metrics = {&m, 1}};
    struct gate_owed owed;
    b->now_ms += DAY_MS;
    add(b, RECORD_MODEL_EVALUATED, &e, NULL);
    gate_find_owed(b->line, b->now_ms, &b->arena, &owed);
    gate_complete(b->line, b->policy, b->now_ms, &b->arena, &owed);
    if (strcmp(owed.decision.verdict, verdict) != 0 || !strstr(owed.decision.reason, reason))
        fail_msg("%s (%s), not %s (...%s...)", owed.decision.verdict, owed.decision.reason, verdict,
                 reason);
    const char *id = add(b, RECORD_GATE_DECIDED, &owed.decision, owed.cause);
    if (strcmp(verdict, "promote") == 0)
        serve(b, model);
    return line_find(b->line, RECORD_GATE_DECIDED, id)->rec;
}

static void small_steps_down_are_caught_when_they_add_up(void **state)
{
    struct bench *b = *state;
    declare(b, "{metric: auc, by: 0.02, window: 30d}");
    step(b, 0, "promote", "first model");
    step(b, -0.008, "promote", "");
    step(b, -0.008, "promote", "");
    const struct gate_decided *d =
        step(b, -0.008, "reject", "the last 3 steps of auc add up to 0.024 worse");
    const struct rule_result *r = &d->rules.items[d->rules.n - 1];
    assert_string_equal(r->rule, "auc ratchet by 0.02 over 2592000 seconds");
    assert_true(fabs(r->value + 0.024) < 1e-12 && r->threshold == -0.02);
}

static void steps_up_in_between_make_room(void **state)
{
    struct bench *b = *state;
    declare(b, "{metric: auc, by: 0.02, window: 30d}");
    step(b, 0, "promote", "");
    step(b, -0.008, "promote", "");
    step(b, 0.01, "promote", "");
    step(b, -0.008, "promote", "");
    step(b, -0.008, "promote", "");
    step(b, -0.008, "reject", "the last 3 steps"); /* since the best, not since the first */
}

static void what_is_beyond_the_window_is_forgotten(void **state)
{
    struct bench *b = *state;
    declare(b, "{metric: auc, by: 0.02, window: 2d}");
    step(b, 0, "promote", "");
    for (int i = 0; i < 10; i++)
        step(b, -0.006, "promote", "");
}

static void the_window_may_be_so_many_generations(void **state)
{
    struct bench *b = *state;
    declare(b, "{metric: auc, by: 0.02, generations: 3}");
    step(b, 0, "promote", "");
    for (int i = 0; i < 10; i++)
        step(b, -0.006, "promote", "");
    step(b, -0.009, "reject", "the last 3 steps of auc add up to 0.021 worse");
}

static void a_model_that_came_back_stands_where_it_stood(void **state)
{
    struct bench *b = *state;
    declare(b, "{metric: auc, by: 0.02, window: 30d}");
    step(b, 0, "promote", "");
    const char *good = b->champion;
    step(b, -0.01, "promote", "");
    step(b, -0.008, "promote", "");
    serve(b, good); /* a rollback */
    step(b, -0.008, "promote", "");
    step(b, -0.008, "promote", "");
    step(b, -0.008, "reject", "the last 3 steps");
}

static void a_step_that_cannot_be_told_concludes_nothing(void **state)
{
    struct bench *b = *state;
    declare(b, "{metric: logloss, by: 0.02, window: 30d}");
    step(b, 0, "promote", ""); /* nothing to add up */
    step(b, 0, "inconclusive", "the steps of logloss cannot be added up");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(small_steps_down_are_caught_when_they_add_up),
        TEST(steps_up_in_between_make_room),
        TEST(what_is_beyond_the_window_is_forgotten),
        TEST(the_window_may_be_so_many_generations),
        TEST(a_model_that_came_back_stands_where_it_stood),
        TEST(a_step_that_cannot_be_told_concludes_nothing),
    };
    return cmocka_run_group_tests_name("gate ratchet", tests, NULL, NULL);
}
