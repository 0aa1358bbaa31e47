/* Which runs a train instance owes, waits for, or leaves alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "agents/train/owed.h"
#include "tests/support/make_event.h"

struct world {
    struct line *line;
    struct event *plan;
    int n;
};

static int setup(void **state)
{
    static struct world w;
    const struct training_planned p = {
        .line = "p", .kind = "requested", .base = 0, .pipeline_sha256 = "ff"};

    w = (struct world){.line = line_new("p")};
    w.plan = make_event(
        &(struct event_parts){.type = RECORD_TRAINING_PLANNED, .rec = &p, .about = "first"});
    assert_true(line_fold(w.line, w.plan));
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    line_free(((struct world *)*state)->line);
    return 0;
}

static void beat(struct world *w, const char *instance, int64_t attempt, const char *phase)
{
    const struct training_progressed p = {.line = "p",
                                          .run = w->plan->id,
                                          .attempt = attempt,
                                          .instance = instance,
                                          .phase = phase,
                                          .progressed_unix_ms = 1000000};
    char about[16];

    snprintf(about, sizeof(about), "beat %d", w->n++);
    assert_true(line_fold(
        w->line,
        make_event(&(struct event_parts){
            .type = RECORD_TRAINING_PROGRESSED, .rec = &p, .cause = w->plan, .about = about})));
}

static struct train_owed owed(struct world *w, struct train_view v)
{
    struct train_owed o;

    v.instance = "train-1";
    if (!v.now_unix_ms)
        v.now_unix_ms = 1000000;
    train_find_owed(w->line, &v, &o);
    return o;
}

static void a_run_without_a_result_is_owed_once(void **state)
{
    struct world *w = *state;
    struct train_owed o = owed(w, (struct train_view){.since_beat_ms = INT32_MAX});

    assert_int_equal(o.kind, TRAIN_OWES_RUN);
    assert_ptr_equal(o.plan, w->plan);
    assert_int_equal(o.attempt, 1);
    assert_int_equal(owed(w, (struct train_view){.is_running_here = true}).kind,
                     TRAIN_OWES_NOTHING);
}

static void a_result_or_an_end_settles_it(void **state)
{
    struct world *w = *state;
    const struct training_finished f = {.line = "p", .run = w->plan->id, .status = "failed"};
    const struct training_planned closed = {
        .line = "p", .kind = "closed", .run = w->plan->id, .outcome = "expired"};
    struct event *end = make_event(&(struct event_parts){
        .type = RECORD_TRAINING_PLANNED, .rec = &closed, .cause = w->plan, .about = "closed"});

    assert_false(train_is_answered(w->line, w->plan));
    assert_true(train_is_answered(w->line, end));
    line_fold(w->line,
              make_event(&(struct event_parts){
                  .type = RECORD_TRAINING_FINISHED, .rec = &f, .cause = w->plan, .about = "run"}));
    assert_true(train_is_answered(w->line, w->plan));
    assert_int_equal(owed(w, (struct train_view){.since_beat_ms = INT32_MAX}).kind,
                     TRAIN_OWES_NOTHING);
    line_fold(w->line, end);
    assert_null(owed(w, (struct train_view){.since_beat_ms = INT32_MAX}).plan);
}

static void a_closed_run_is_answered_without_a_result(void **state)
{
    struct world *w = *state;
    const struct training_planned closed = {
        .line = "p", .kind = "closed", .run = w->plan->id, .outcome = "expired"};

    line_fold(
        w->line,
        make_event(&(struct event_parts){
            .type = RECORD_TRAINING_PLANNED, .rec = &closed, .cause = w->plan, .about = "closed"}));
    assert_true(train_is_answered(w->line, w->plan));
    assert_int_equal(owed(w, (struct train_view){.since_beat_ms = INT32_MAX}).kind,
                     TRAIN_OWES_NOTHING);
}

static void another_instance_is_waited_for_while_it_beats(void **state)
{
    struct world *w = *state;
    struct train_owed o;

    beat(w, "train-2", 1, "training");
    o = owed(w, (struct train_view){.since_beat_ms = 1000});
    assert_int_equal(o.kind, TRAIN_WAITS);
    assert_int_equal(o.wait_ms, TRAIN_DEAD_MS - 1000);
    o = owed(w, (struct train_view){.since_beat_ms = TRAIN_DEAD_MS});
    assert_int_equal(o.kind, TRAIN_OWES_RUN);
    assert_int_equal(o.attempt, 2);
}

static void a_beat_of_long_ago_is_no_sign_of_life(void **state)
{
    struct world *w = *state;

    beat(w, "train-2", 1, "training"); /* folded just now, from the log */
    assert_int_equal(
        owed(w, (struct train_view){.since_beat_ms = 5, .now_unix_ms = 1000000 + TRAIN_OLD_BEAT_MS})
            .kind,
        TRAIN_OWES_RUN);
}

static void what_died_with_this_instances_process_is_started_at_once(void **state)
{
    struct world *w = *state;
    struct train_owed o;

    beat(w, "train-2", 1, "training");
    beat(w, "train-1", 2, "training");
    o = owed(w, (struct train_view){.since_beat_ms = 5});
    assert_int_equal(o.kind, TRAIN_OWES_RUN);
    assert_int_equal(o.attempt, 3);
}

static void what_was_handed_over_is_started_at_once(void **state)
{
    struct world *w = *state;

    beat(w, "train-2", 1, "training");
    beat(w, "train-2", 1, "ended");
    assert_int_equal(owed(w, (struct train_view){.since_beat_ms = 5}).kind, TRAIN_OWES_RUN);
}

static void beats_of_other_runs_do_not_count(void **state)
{
    struct world *w = *state;
    const struct training_progressed p = {.line = "p",
                                          .run = "other",
                                          .attempt = 9,
                                          .instance = "train-2",
                                          .phase = "training",
                                          .progressed_unix_ms = 1000000};

    line_fold(w->line, make_event(&(struct event_parts){
                           .type = RECORD_TRAINING_PROGRESSED, .rec = &p, .about = "x"}));
    assert_int_equal(owed(w, (struct train_view){.since_beat_ms = 5}).attempt, 1);
}

static void a_plan_on_a_stale_base_asks_for_nothing(void **state)
{
    struct world *w = *state;
    const struct training_planned p = {.line = "p", .kind = "requested", .base = 0};
    struct event *rival = make_event(
        &(struct event_parts){.type = RECORD_TRAINING_PLANNED, .rec = &p, .about = "rival"});
    struct event same = *rival;
    char id[64];

    snprintf(id, sizeof(id), "%s", rival->id);
    same.id = id;
    line_fold(w->line, rival);
    assert_true(train_is_answered(w->line, &same));
    assert_ptr_equal(owed(w, (struct train_view){.since_beat_ms = INT32_MAX}).plan, w->plan);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_run_without_a_result_is_owed_once),
        TEST(a_result_or_an_end_settles_it),
        TEST(a_closed_run_is_answered_without_a_result),
        TEST(another_instance_is_waited_for_while_it_beats),
        TEST(a_beat_of_long_ago_is_no_sign_of_life),
        TEST(what_died_with_this_instances_process_is_started_at_once),
        TEST(what_was_handed_over_is_started_at_once),
        TEST(beats_of_other_runs_do_not_count),
        TEST(a_plan_on_a_stale_base_asks_for_nothing),
    };

    return cmocka_run_group_tests_name("train_owed", tests, NULL, NULL);
}
