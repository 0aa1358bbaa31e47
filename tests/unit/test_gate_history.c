/* Decisions again: from what their gate had read, whatever the log says later. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agents/relearn/gate_history.h"
#include "agents/relearn/gate_service.h"
#include "common/digest.h"
#include "tests/support/make_event.h"

enum { NOW_MS = 1000000 };

struct bench {
    struct codec *codec;
    struct pipeline *own, *strict;
    struct line *line; /* as the gate has it */
    struct gate_history *history;
    struct arena arena;
    int n;
};

static struct pipeline *policy(const char *gate)
{
    struct pipeline *p = NULL;
    struct err err = {0};
    CLEANUP_FREE char *yaml = xasprintf("apiVersion: relearn/v1\nkind: Pipeline\nname: l\ndataset: "
                                        "{name: d, label: y}\ntask: binary\ngate: %s\n",
                                        gate);
    if (pipeline_parse(slice_str(yaml), "test", &p, &err))
        fail_msg("%s", err.msg);
    return p;
}

static int set_up(void **state)
{
    struct bench *b = xcalloc(1, sizeof(*b));
    struct err err = {0};
    assert_int_equal(codec_new(&b->codec, &err), 0);
    b->own = policy("{min_rows: 10, rules: [{metric: auc, at_least: 0.6}]}");
    b->strict = policy("{min_rows: 10, rules: [{metric: auc, at_least: 0.9}]}");
    b->line = line_new("l");
    b->history = gate_history_new("l");
    gate_history_codec(b->history, b->codec);
    *state = b;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *b = *state;
    gate_history_free(b->history);
    line_free(b->line);
    pipeline_free(b->own);
    pipeline_free(b->strict);
    codec_free(b->codec);
    arena_fini(&b->arena);
    free_ptr(&b);
    return 0;
}

/* Into the log, and unless the gate has not read it, into its fold. */
static const struct event *add(struct bench *b, enum record r, const void *rec, const char *id,
                               const struct event *cause, bool is_read)
{
    CLEANUP(buf_fini) struct buf framed = {0};
    struct err err = {0};
    struct event_parts p = {
        .type = r, .rec = rec, .id = id, .cause = cause, .key = "l", .time_unix_ms = NOW_MS};
    struct event *ev = make_event(&p);
    assert_int_equal(codec_encode(b->codec, r, rec, &framed, &err), 0);
    gate_history_add(b->history, ev, buf_slice(&framed));
    if (is_read)
        line_fold(b->line, ev);
    else
        event_free(ev);
    return line_find(b->line, r, id);
}

static const struct event *evaluate(struct bench *b, const char *id, double auc, int64_t against,
                                    bool is_read)
{
    struct evaluation_metric m = {.metric = "auc",
                                  .slice = "all",
                                  .rows = 100,
                                  .candidate = auc,
                                  .champion = NAN,
                                  .difference = NAN,
                                  .low = NAN,
                                  .high = NAN,
                                  .higher_is_better = true};
    struct model_evaluated e = {.line = "l",
                                .run = arena_printf(&b->arena, "run-%s", id),
                                .model = "m",
                                .model_event = "me",
                                .status = "evaluated",
                                .against = against,
                                .pipeline_sha256 = b->own->sha256,
                                .rows = 100,
                                .metrics = {&m, 1}};
    return add(b, RECORD_MODEL_EVALUATED, &e, id, NULL, is_read);
}

static void serve(struct bench *b, const char *id, int64_t generation, bool is_read)
{
    struct route r = {.generation = generation, .model = "m", .role = "champion", .weight = 1};
    struct deployment_changed d = {.line = "l",
                                   .kind = "changed",
                                   .base = generation - 1,
                                   .generation = generation,
                                   .routes = {&r, 1},
                                   .is_final = true,
                                   .changed_unix_ms = NOW_MS + generation};
    add(b, RECORD_DEPLOYMENT_CHANGED, &d, id, NULL, is_read);
}

/* What the gate does next, written down as the agent does; edit changes the record on its way. */
static const struct event *decide(struct bench *b, void (*edit)(struct gate_decided *d))
{
    struct gate_owed owed;
    char id[ID_SIZE];
    gate_find_owed(b->line, NOW_MS, &b->arena, &owed);
    assert_int_not_equal(owed.kind, GATE_OWES_NOTHING);
    gate_complete(b->line, b->own, NOW_MS, &b->arena, &owed);
    if (edit)
        edit(&owed.decision);
    id_from_cause("decisions", owed.cause->id, owed.about, id);
    return add(b, RECORD_GATE_DECIDED, &owed.decision, arena_strdup(&b->arena, id), owed.cause,
               true);
}

static const struct pipeline *own_policy(void *ctx, const char *sha256, struct err *err)
{
    struct bench *b = ctx;
    if (strcmp(sha256, b->own->sha256) == 0)
        return b->own;
    err_set(err, ERR_NOTFOUND, NEXT_RETRY, "no %s", sha256);
    return NULL;
}

static void expect(struct bench *b, size_t i, enum gate_again_result result, const char *what)
{
    struct gate_again a;
    gate_history_again(b->history, i, NULL, own_policy, b, &a);
    if (a.result != result || !strstr(a.what, what))
        fail_msg("decision %zu is %s (%s), not %s (...%s...)", i, gate_again_str(a.result), a.what,
                 gate_again_str(result), what);
    gate_again_fini(&a);
}

static void every_decision_comes_out_as_the_same_bytes(void **state)
{
    struct bench *b = *state;
    evaluate(b, "e1", 0.8, 0, true);
    decide(b, NULL);
    serve(b, "d1", 1, true);
    evaluate(b, "e2", 0.5, 1, true);
    decide(b, NULL);
    struct operator_commanded c = {.line = "l",
                                   .command = "force",
                                   .target = "run-e2",
                                   .generation = ABSENT_I64,
                                   .to_generation = ABSENT_I64,
                                   .by = "ann",
                                   .reason = "incident"};
    add(b, RECORD_OPERATOR_COMMANDED, &c, "c1", NULL, true);
    decide(b, NULL);
    assert_int_equal(gate_history_decisions(b->history), 3);
    for (size_t i = 0; i < 3; i++)
        expect(b, i, GATE_AGAIN_SAME, "");
    expect(b, 0, GATE_AGAIN_SAME, ""); /* backwards as well */
}

static void what_the_gate_had_not_read_does_not_count(void **state)
{
    struct bench *b = *state;
    evaluate(b, "e1", 0.8, 0, true);
    serve(b, "d1", 1, false); /* in the log, and not yet read: else it would say "again" */
    const struct event *d = decide(b, NULL);
    assert_string_equal(EV_REC(d, gate_decided)->verdict, "promote");
    expect(b, 0, GATE_AGAIN_SAME, "");
}

static void promote_it(struct gate_decided *d)
{
    d->verdict = "promote";
}

static void another_verdict_than_the_rules_give_is_told(void **state)
{
    struct bench *b = *state;
    evaluate(b, "e1", 0.5, 0, true);
    decide(b, promote_it);
    expect(b, 0, GATE_AGAIN_DIFFERS, "verdict was \"promote\" and would be \"reject\" now");
}

static void write_as_before(struct gate_decided *d)
{
    d->evaluations_read = d->deployments_read = d->snapshots_read = ABSENT_I64;
    d->judge = 0;
    d->reason = "in other words";
}

static void an_older_gate_is_held_to_its_verdicts(void **state)
{
    struct bench *b = *state;
    evaluate(b, "e1", 0.8, 0, true);
    decide(b, write_as_before);
    serve(b, "d1", 1, true); /* after its time */
    expect(b, 0, GATE_AGAIN_OLDER, "same verdicts");
}

static void a_rival_that_lost_decided_nothing(void **state)
{
    struct bench *b = *state;
    evaluate(b, "e1", 0.8, 0, true);
    decide(b, NULL);
    struct gate_decided late = *EV_REC(b->line->ev[RECORD_GATE_DECIDED].items[0], gate_decided);
    add(b, RECORD_GATE_DECIDED, &late, "rival", b->line->ev[RECORD_MODEL_EVALUATED].items[0], true);
    expect(b, 1, GATE_AGAIN_VOID, "was there first");
}

static void what_is_gone_is_unknown_and_says_what(void **state)
{
    struct bench *b = *state;
    struct gate_decided d = {.line = "l",
                             .verdict = "promote",
                             .reason = "r",
                             .by = "policy",
                             .deadline_unix_ms = ABSENT_I64,
                             .evaluations_read = 1,
                             .deployments_read = 0,
                             .snapshots_read = 0,
                             .judge = 1};
    struct event gone = {.id = "e0"};
    add(b, RECORD_GATE_DECIDED, &d, "d0", &gone, true);
    expect(b, 0, GATE_AGAIN_UNKNOWN, "e0, is not in the log");
}

static void another_policy_judges_the_same_evaluations(void **state)
{
    struct bench *b = *state;
    struct gate_again a;
    evaluate(b, "e1", 0.8, 0, true);
    decide(b, NULL);
    gate_history_again(b->history, 0, b->strict, own_policy, b, &a);
    assert_true(a.is_judged);
    assert_string_equal(EV_REC(a.then, gate_decided)->verdict, "promote");
    assert_string_equal(a.now.verdict, "reject");
    gate_again_fini(&a);
}

static void service_is_weighted_by_labels(void **state)
{
    (void)state;
    struct gate_service s = {0};
    CLEANUP(buf_fini) struct buf text = {0};
    struct named_value a = {"accuracy", 0.5}, c = {"accuracy", 0.8};
    struct deployment_changed d = {.kind = "changed", .generation = 3, .decision = "x"};
    gate_service_deployment(&s, &d);
    gate_service_health(&s,
                        &(struct health_measured){
                            .kind = "quality", .generation = 3, .labels = 100, .quality = {&a, 1}});
    gate_service_health(&s,
                        &(struct health_measured){
                            .kind = "quality", .generation = 3, .labels = 200, .quality = {&c, 1}});
    gate_service_health(&s, &(struct health_measured){.kind = "window", .generation = 3});
    assert_ptr_equal(gate_service_of(&s, "x"), gate_service_generation(&s, 3));
    assert_null(gate_service_generation(&s, 2));
    generation_service_str(gate_service_generation(&s, 3), &text);
    buf_add(&text, "", 1);
    assert_string_equal(text.data, "accuracy 0.7 over 300 labels");
    gate_service_fini(&s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_decision_comes_out_as_the_same_bytes),
        TEST(what_the_gate_had_not_read_does_not_count),
        TEST(another_verdict_than_the_rules_give_is_told),
        TEST(an_older_gate_is_held_to_its_verdicts),
        TEST(a_rival_that_lost_decided_nothing),
        TEST(what_is_gone_is_unknown_and_says_what),
        TEST(another_policy_judges_the_same_evaluations),
        cmocka_unit_test(service_is_weighted_by_labels),
    };
    return cmocka_run_group_tests_name("gate history", tests, NULL, NULL);
}
