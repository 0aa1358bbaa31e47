/* Waits: for rows, for people, until when, and what then; nothing waits for ever, nothing slips
 * through. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/clk.h"
#include "common/gate.h"
#include "tests/support/make_event.h"

enum { NOW_MS = 1000000, HOUR_MS = 3600000 };

struct bench {
    struct line *line;
    struct pipeline *policy;
    struct arena arena;
    struct gate_owed owed;
    int64_t now_ms;
    int n;
};

static int set_up(void **state)
{
    struct bench *b = xcalloc(1, sizeof(*b));
    b->line = line_new("l");
    b->now_ms = NOW_MS;
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

static void declare(struct bench *b, const char *gate)
{
    struct err err = {0};
    CLEANUP_FREE char *yaml = xasprintf("apiVersion: relearn/v1\nkind: Pipeline\nname: l\ndataset: "
                                        "{name: d, label: y}\ntask: binary\ngate: %s\n",
                                        gate);
    if (pipeline_parse(slice_str(yaml), "test", &b->policy, &err))
        fail_msg("%s", err.msg);
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

static const struct event *evaluate(struct bench *b, const char *run, int64_t rows,
                                    const struct event *cause)
{
    struct evaluation_metric m = {.metric = "auc",
                                  .slice = "all",
                                  .rows = rows,
                                  .candidate = 0.8,
                                  .champion = NAN,
                                  .difference = NAN,
                                  .low = NAN,
                                  .high = NAN,
                                  .higher_is_better = true};
    struct model_evaluated e = {.line = "l",
                                .run = run,
                                .model = "m",
                                .model_event = "t",
                                .status = "evaluated",
                                .pipeline_sha256 = b->policy->sha256,
                                .rows = rows,
                                .metrics = {&m, 1}};
    return add(b, RECORD_MODEL_EVALUATED, &e, cause);
}

static void ingest(struct bench *b, const char *snapshot, const char *status, int64_t test_rows)
{
    struct dataset_ingested s = {
        .line = "l", .status = status, .snapshot = snapshot, .test_rows = test_rows};
    add(b, RECORD_DATASET_INGESTED, &s, NULL);
}

static void serve(struct bench *b, int64_t generation)
{
    struct route r = {.generation = generation, .model = "m", .role = "champion", .weight = 1};
    struct deployment_changed d = {.line = "l",
                                   .kind = "changed",
                                   .base = b->line->deployments_base,
                                   .generation = generation,
                                   .routes = {&r, 1},
                                   .is_final = true};
    add(b, RECORD_DEPLOYMENT_CHANGED, &d, NULL);
}

static void command(struct bench *b, const char *word, const char *by)
{
    struct operator_commanded c = {.line = "l",
                                   .command = word,
                                   .generation = ABSENT_I64,
                                   .to_generation = ABSENT_I64,
                                   .by = by,
                                   .reason = "looked at it"};
    add(b, RECORD_OPERATOR_COMMANDED, &c, NULL);
}

/* What the gate says now, folded. */
static const struct gate_decided *decide(struct bench *b, const char *verdict, const char *reason)
{
    gate_find_owed(b->line, b->now_ms, &b->arena, &b->owed);
    if (b->owed.kind == GATE_OWES_NOTHING)
        fail_msg("nothing is owed, and %s was expected", verdict);
    gate_complete(b->line, b->policy, b->now_ms, &b->arena, &b->owed);
    struct gate_decided *d = &b->owed.decision;
    if (strcmp(d->verdict, verdict) != 0 || !strstr(d->reason, reason))
        fail_msg("%s (%s), not %s (...%s...)", d->verdict, d->reason, verdict, reason);
    return add(b, RECORD_GATE_DECIDED, d, b->owed.cause)->rec;
}

static void nothing_until(struct bench *b, int64_t wake_ms)
{
    gate_find_owed(b->line, b->now_ms, &b->arena, &b->owed);
    assert_int_equal(b->owed.kind, GATE_OWES_NOTHING);
    assert_int_equal(b->owed.wake_unix_ms, wake_ms);
}

#define WAITING(then)                                                                              \
    "{min_rows: 100, inconclusive: {wait: {rows: 50, deadline: 1h, then: " then                    \
    "}}, approval: {manual: {deadline: 2h}}, rules: [{metric: auc, at_least: 0.5}]}"
#define WAITING_ALONE(then)                                                                        \
    "{min_rows: 100, inconclusive: {wait: {rows: 50, deadline: 1h, then: " then                    \
    "}}, rules: [{metric: auc, at_least: 0.5}]}"

static void rows_that_come_are_compared_on(void **state)
{
    struct bench *b = *state;
    declare(b, WAITING_ALONE("reject"));
    ingest(b, "s0", "accepted", 60);
    evaluate(b, "r1", 60, NULL);
    const struct gate_decided *d = decide(b, "wait", "waits for 50 more test rows, then reject");
    assert_string_equal(d->waits_for, "rows");
    assert_int_equal(d->deadline_unix_ms, NOW_MS + HOUR_MS);
    nothing_until(b, NOW_MS + HOUR_MS);
    ingest(b, "s1", "accepted", 30);
    ingest(b, "sx", "rejected", 500);
    nothing_until(b, NOW_MS + HOUR_MS);
    ingest(b, "s2", "accepted", 30);
    d = decide(b, "again", "60 more test rows have come");
    assert_int_equal(d->snapshots.n, 2);
    assert_string_equal(d->snapshots.items[0], "s1");
    assert_string_equal(d->snapshots.items[1], "s2");
    assert_int_equal(d->deadline_unix_ms, ABSENT_I64);
    assert_null(d->waits_for);
    evaluate(b, "r1", 120, line_answer(b->line, RECORD_GATE_DECIDED, "e3"));
    decide(b, "promote", "first model");
}

static void the_deadline_stays_however_often_it_waits(void **state)
{
    struct bench *b = *state;
    declare(b, WAITING_ALONE("reject"));
    evaluate(b, "r1", 60, NULL);
    decide(b, "wait", "more test rows");
    ingest(b, "s1", "accepted", 50);
    b->now_ms += HOUR_MS / 2;
    decide(b, "again", "50 more");
    evaluate(b, "r1", 90, NULL);
    const struct gate_decided *d = decide(b, "wait", "90 rows are too few");
    assert_int_equal(d->deadline_unix_ms, NOW_MS + HOUR_MS);
    ingest(b, "s2", "accepted", 50);
    d = decide(b, "again", "50 more");
    assert_int_equal(d->snapshots.n, 2); /* the first ones are not lost */
    b->now_ms = NOW_MS + HOUR_MS;
    evaluate(b, "r1", 95, NULL);
    decide(b, "inconclusive", "nothing can be concluded");
    nothing_until(b, 0);
}

static void rows_that_do_not_come_are_not_waited_for(void **state)
{
    struct bench *b = *state;
    declare(b, WAITING_ALONE("reject"));
    evaluate(b, "r1", 60, NULL);
    decide(b, "wait", "more test rows");
    ingest(b, "s1", "accepted", 49);
    b->now_ms += HOUR_MS;
    decide(b, "inconclusive", "49 of 50 more test rows came in time");
    nothing_until(b, 0);
}

static void then_promote_promotes_what_was_compared_with_the_champion(void **state)
{
    struct bench *b = *state;
    declare(b, WAITING_ALONE("promote"));
    evaluate(b, "r1", 60, NULL);
    decide(b, "wait", "then promote");
    b->now_ms += HOUR_MS;
    decide(b, "promote", "as gate.inconclusive says, 0 of 50 more");
}

static void then_promote_asks_again_when_the_champion_changed(void **state)
{
    struct bench *b = *state;
    declare(b, WAITING_ALONE("promote"));
    evaluate(b, "r1", 60, NULL);
    decide(b, "wait", "then promote");
    serve(b, 1);
    b->now_ms += HOUR_MS;
    decide(b, "again", "generation 1 serves now");
}

static void then_ask_waits_for_a_person_and_not_for_ever(void **state)
{
    struct bench *b = *state;
    declare(b, WAITING("ask"));
    evaluate(b, "r1", 60, NULL);
    decide(b, "wait", "then ask");
    b->now_ms += HOUR_MS;
    const struct gate_decided *d = decide(b, "wait", "waits for a person");
    assert_string_equal(d->waits_for, "approval");
    assert_int_equal(d->deadline_unix_ms, NOW_MS + 3 * HOUR_MS);
    nothing_until(b, NOW_MS + 3 * HOUR_MS);
    b->now_ms = NOW_MS + 3 * HOUR_MS;
    decide(b, "reject", "nobody approved it in time");
    nothing_until(b, 0);
}

static void a_person_can_end_a_wait_for_rows_but_not_approve_it(void **state)
{
    struct bench *b = *state;
    declare(b, WAITING_ALONE("reject"));
    evaluate(b, "r1", 60, NULL);
    decide(b, "wait", "more test rows");
    command(b, "approve", "ann");
    decide(b, "refused", "it waits for more rows, not for a person");
    nothing_until(b, NOW_MS + HOUR_MS);
    command(b, "reject", "ann");
    decide(b, "reject", "rejected by ann");
    nothing_until(b, 0);
}

static void a_failure_is_not_waited_about(void **state)
{
    struct bench *b = *state;
    declare(b, "{min_rows: 10, inconclusive: {wait: {rows: 50, deadline: 1h}}, rules: [{metric: "
               "auc, at_least: 0.9}, {metric: accuracy, at_least: 0.5}]}");
    evaluate(b, "r1", 60, NULL);
    decide(b, "reject", "at least 0.9");
}

/* ---- people ---- */

#define PEOPLE                                                                                     \
    "{min_rows: 10, approval: {manual: {deadline: 2h, people: {ann: risk, bob: data}, approvals: " \
    "2, expires: 1h}}, rules: [{metric: auc, at_least: 0.5}]}"

static void two_people_approve_each_with_role_and_reason(void **state)
{
    struct bench *b = *state;
    declare(b, PEOPLE);
    evaluate(b, "r1", 60, NULL);
    decide(b, "wait", "asks for a person's approval");
    command(b, "approve", "eve");
    decide(b, "refused", "eve is not among those who may approve: ann (risk), bob (data)");
    command(b, "approve", "ann");
    const struct gate_decided *d =
        decide(b, "wait", "approved by ann (risk): looked at it; 1 more is needed");
    assert_int_equal(d->deadline_unix_ms, NOW_MS + 2 * HOUR_MS);
    command(b, "approve", "ann");
    decide(b, "refused", "ann has approved it already: another person is needed");
    command(b, "approve", "bob");
    d = decide(b, "promote", "approved by ann (risk): looked at it, bob (data): looked at it");
    assert_int_equal(d->approvals.n, 2);
    assert_string_equal(d->approvals.items[1].role, "data");
    assert_int_equal(d->approvals.items[1].approved_unix_ms, NOW_MS);
    nothing_until(b, 0);
}

static void an_approval_does_not_count_for_ever(void **state)
{
    struct bench *b = *state;
    declare(b, PEOPLE);
    evaluate(b, "r1", 60, NULL);
    decide(b, "wait", "approval");
    command(b, "approve", "ann");
    decide(b, "wait", "1 more");
    b->now_ms += HOUR_MS;
    command(b, "approve", "bob");
    decide(b, "wait", "approved by bob (data): looked at it; 1 more is needed");
    b->now_ms += HOUR_MS;
    decide(b, "reject", "nobody approved it in time");
}

static void one_person_may_reject_what_another_approved(void **state)
{
    struct bench *b = *state;
    declare(b, PEOPLE);
    evaluate(b, "r1", 60, NULL);
    decide(b, "wait", "approval");
    command(b, "approve", "ann");
    decide(b, "wait", "1 more");
    command(b, "reject", "eve");
    decide(b, "reject", "rejected by eve: looked at it");
    nothing_until(b, 0);
}

static void a_command_that_comes_too_late_is_refused(void **state)
{
    struct bench *b = *state;
    declare(b, PEOPLE);
    evaluate(b, "r1", 60, NULL);
    decide(b, "wait", "approval");
    struct operator_commanded c = {.line = "l",
                                   .command = "force",
                                   .generation = ABSENT_I64,
                                   .to_generation = ABSENT_I64,
                                   .by = "ann",
                                   .expires_unix_ms = NOW_MS};
    add(b, RECORD_OPERATOR_COMMANDED, &c, NULL);
    decide(b, "refused", "the command has expired");
    c.expires_unix_ms = NOW_MS + 1;
    add(b, RECORD_OPERATOR_COMMANDED, &c, NULL);
    decide(b, "promote", "FORCED by ann past the gate");
}

/* ---- freezes: NOW_MS is Thursday 1970-01-01 00:16:40 ---- */

static void a_promotion_waits_for_the_end_of_a_freeze(void **state)
{
    struct bench *b = *state;
    declare(b, "{min_rows: 10, freeze: [{from: 1970-01-01, to: '1970-01-01T02:00:00Z', why: "
               "stocktaking}, {from: 'thu 01:30', to: 'thu 03:00', why: release}], rules: "
               "[{metric: auc, at_least: 0.5}]}");
    evaluate(b, "r1", 60, NULL);
    const struct gate_decided *d = decide(
        b, "wait", "nothing is promoted until 1970-01-01T02:00:00.000000Z (stocktaking): promoted");
    assert_string_equal(d->waits_for, "freeze");
    nothing_until(b, 2 * HOUR_MS);
    command(b, "approve", "ann");
    decide(b, "refused", "it waits for the end of a freeze");
    b->now_ms = 2 * HOUR_MS;
    decide(b, "wait", "until 1970-01-01T03:00:00.000000Z (release)");
    b->now_ms = 3 * HOUR_MS;
    d = decide(b, "promote", "the freeze is over");
    assert_int_equal(d->deadline_unix_ms, ABSENT_I64);
    nothing_until(b, 0);
}

static void a_freeze_does_not_promote_what_was_compared_with_another_champion(void **state)
{
    struct bench *b = *state;
    declare(b, "{min_rows: 10, freeze: [{from: 1970-01-01, to: 1970-01-02, why: fair}], rules: "
               "[{metric: auc, at_least: 0.5}]}");
    evaluate(b, "r1", 60, NULL);
    decide(b, "wait", "fair");
    serve(b, 1);
    b->now_ms = 24 * HOUR_MS;
    decide(b, "again", "generation 1 serves now");
}

static void a_rejection_is_not_frozen_and_force_goes_through(void **state)
{
    struct bench *b = *state;
    declare(b, "{min_rows: 10, freeze: [{from: 1970-01-01, to: 1970-01-02, why: fair}], rules: "
               "[{metric: auc, at_least: 0.9}]}");
    evaluate(b, "r1", 60, NULL);
    decide(b, "reject", "at least 0.9");
    command(b, "force", "ann");
    decide(b, "promote", "FORCED by ann past the gate: looked at it");
}

struct freeze_row {
    const char *from, *to, *at, *end; /* end NULL: not frozen */
};

static void windows_open_and_close_on_their_minute(void **state)
{
    static const struct freeze_row ROWS[] = {
        {"2026-12-20", "2027-01-04", "2026-12-19T23:59:59Z", NULL},
        {"2026-12-20", "2027-01-04", "2026-12-20T00:00:00Z", "2027-01-04T00:00:00Z"},
        {"2026-12-20", "2027-01-04", "2027-01-04T00:00:00Z", NULL},
        {"fri 16:00", "mon 08:00", "2026-11-27T15:59:59Z", NULL},
        {"fri 16:00", "mon 08:00", "2026-11-27T16:00:00Z", "2026-11-30T08:00:00Z"},
        {"fri 16:00", "mon 08:00", "2026-11-30T07:59:59Z", "2026-11-30T08:00:00Z"},
        {"fri 16:00", "mon 08:00", "2026-11-30T08:00:00Z", NULL},
        {"tue 09:00", "tue 10:30", "2026-11-24T10:00:00Z", "2026-11-24T10:30:00Z"},
        {"tue 09:00", "tue 10:30", "2026-11-25T10:00:00Z", NULL},
    };
    struct bench *b = *state;
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        int64_t at_us = 0, end_us = 0;
        CLEANUP_FREE char *gate =
            xasprintf("{freeze: [{from: '%s', to: '%s', why: w}]}", ROWS[i].from, ROWS[i].to);
        declare(b, gate);
        assert_int_equal(clk_parse(ROWS[i].at, &at_us), 0);
        if (ROWS[i].end)
            assert_int_equal(clk_parse(ROWS[i].end, &end_us), 0);
        if (freeze_end_ms(&b->policy->freezes[0], at_us / 1000) != end_us / 1000)
            fail_msg("%s to %s at %s", ROWS[i].from, ROWS[i].to, ROWS[i].at);
        pipeline_free(b->policy);
        b->policy = NULL;
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(rows_that_come_are_compared_on),
        TEST(the_deadline_stays_however_often_it_waits),
        TEST(rows_that_do_not_come_are_not_waited_for),
        TEST(then_promote_promotes_what_was_compared_with_the_champion),
        TEST(then_promote_asks_again_when_the_champion_changed),
        TEST(then_ask_waits_for_a_person_and_not_for_ever),
        TEST(a_person_can_end_a_wait_for_rows_but_not_approve_it),
        TEST(a_failure_is_not_waited_about),
        TEST(two_people_approve_each_with_role_and_reason),
        TEST(an_approval_does_not_count_for_ever),
        TEST(one_person_may_reject_what_another_approved),
        TEST(a_command_that_comes_too_late_is_refused),
        TEST(a_promotion_waits_for_the_end_of_a_freeze),
        TEST(a_freeze_does_not_promote_what_was_compared_with_another_champion),
        TEST(a_rejection_is_not_frozen_and_force_goes_through),
        TEST(windows_open_and_close_on_their_minute),
    };
    return cmocka_run_group_tests_name("gate wait", tests, NULL, NULL);
}
