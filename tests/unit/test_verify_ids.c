/* Ids, causes, places and unreadable messages of any number of events: sorted on disk, asked a part
 * at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agents/relearn/verify_ids.h"
#include "tests/support/make_event.h"

enum { NOW_MS = 2000000000, EARLY_MS = 1000000000, PATIENCE_MS = 60000, SKEW_MS = 5000 };

struct bench {
    struct ids *ids;
    struct findings f;
};

static int set_up(void **state)
{
    struct bench *b = xcalloc(1, sizeof(*b));
    struct err err = {0};

    assert_int_equal(ids_new(&b->ids, &err), 0);
    *state = b;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *b = *state;

    ids_free(b->ids);
    findings_fini(&b->f);
    free_ptr(&b);
    return 0;
}

static struct id_event event(enum record r, int64_t offset, const char *id)
{
    return (struct id_event){.record = r,
                             .partition = 3,
                             .offset = offset,
                             .time_unix_us = (int64_t)EARLY_MS * 1000,
                             .appended_unix_ms = EARLY_MS,
                             .id = id,
                             .content = 1,
                             .is_judged = true,
                             .belongs = -1};
}

static void add(struct bench *b, struct id_event e)
{
    struct err err = {0};

    assert_int_equal(ids_add(b->ids, &e, &err), 0);
}

static void check(struct bench *b)
{
    const struct verify_clock clock = {NOW_MS, PATIENCE_MS};
    const struct id_rules rules = {.clock = &clock, .skew_ms = SKEW_MS, .cluster = "cluster-1"};
    struct err err = {0};

    assert_int_equal(ids_check(b->ids, &rules, &b->f, &err), 0);
}

static void expect(struct bench *b, enum verify_check c, const char *id, const char *words)
{
    check(b);
    assert_int_equal(findings_violations(&b->f), 1);
    assert_int_equal(b->f.items[0].check, c);
    if (id)
        assert_string_equal(b->f.items[0].id, id);
    if (!strstr(b->f.items[0].what, words))
        fail_msg("'%s' says nothing of '%s'", b->f.items[0].what, words);
}

/* ---- ids ---- */

static void the_same_again_is_only_counted(void **state)
{
    struct bench *b = *state;

    add(b, event(RECORD_LABEL_OBSERVED, 1, "a"));
    add(b, event(RECORD_LABEL_OBSERVED, 2, "a"));
    add(b, event(RECORD_LABEL_OBSERVED, 3, "a"));
    add(b, event(RECORD_PREDICTION_SERVED, 3, "a")); /* another topic is another thing */
    check(b);
    assert_int_equal(findings_violations(&b->f), 0);
    assert_int_equal(b->f.repeated, 2);
    assert_int_equal(b->f.looked[VERIFY_IDS], 4);
}

static void one_id_for_two_things_is_found(void **state)
{
    struct bench *b = *state;
    struct id_event other = event(RECORD_DATASET_PUBLISHED, 9, "a");

    other.content = 2;
    add(b, other);
    add(b, event(RECORD_DATASET_PUBLISHED, 1, "a"));
    expect(b, VERIFY_IDS, "a", "has the id of datasets[3]@1 and says something else");
    assert_int_equal(b->f.items[0].at.offset, 9);
}

static struct event *planned(int64_t planned_unix_ms, const char *reason, int64_t base)
{
    const struct training_planned p = {.line = "p",
                                       .kind = "requested",
                                       .base = base,
                                       .reason = reason,
                                       .planned_unix_ms = planned_unix_ms};

    return make_event(
        &(struct event_parts){.type = RECORD_TRAINING_PLANNED, .rec = &p, .id = "plan1"});
}

/* Two instances of an agent say the same thing at different times, having read different amounts.
 */
static void what_an_agent_says_again_is_the_same(void **state)
{
    struct event *first = planned(1, "1 dataset", 0), *again = planned(2, "2 datasets", 0),
                 *other = planned(1, "1 dataset", 1);
    const struct slice none = {"", 0};

    (void)state;
    assert_true(verify_content(first, none) == verify_content(again, none));
    assert_true(verify_content(first, none) != verify_content(other, none));
    event_free(first);
    event_free(again);
    event_free(other);
}

static uint64_t content_of(enum record r, const void *rec)
{
    struct event *ev = make_event(&(struct event_parts){.type = r, .rec = rec, .id = "x"});
    uint64_t content = verify_content(ev, slice_str("bytes that say nothing"));

    event_free(ev);
    return content;
}

/* It stands in no chain, so the number of decisions before it is only what its writer had read. */
static void a_refusal_again_is_the_same_on_any_base(void **state)
{
    struct gate_decided first = {.line = "p", .verdict = "refused", .reason = "no"}, again = first;

    (void)state;
    again.base = 3;
    assert_true(content_of(RECORD_GATE_DECIDED, &first) == content_of(RECORD_GATE_DECIDED, &again));
    first.verdict = again.verdict = "reject";
    assert_true(content_of(RECORD_GATE_DECIDED, &first) != content_of(RECORD_GATE_DECIDED, &again));
}

/* Asked again with the same Idempotency-Key, console fills in another time. */
static void what_comes_from_outside_is_all_that_it_says_but_for_when(void **state)
{
    const struct dataset_published set = {
        .dataset = "d", .uri = "file:///1", .by = "ann", .published_unix_ms = 1};
    const struct label_observed label = {.line = "p", .prediction = "x.1", .value = "yes"};
    struct dataset_published other_set = set;
    struct label_observed other_label = label;

    (void)state;
    other_set.published_unix_ms = 2;
    assert_true(content_of(RECORD_DATASET_PUBLISHED, &set) ==
                content_of(RECORD_DATASET_PUBLISHED, &other_set));
    other_set.uri = "file:///2";
    assert_true(content_of(RECORD_DATASET_PUBLISHED, &set) !=
                content_of(RECORD_DATASET_PUBLISHED, &other_set));
    other_label.observed_unix_ms = 7;
    assert_true(content_of(RECORD_LABEL_OBSERVED, &label) ==
                content_of(RECORD_LABEL_OBSERVED, &other_label));
    other_label.value = "no";
    assert_true(content_of(RECORD_LABEL_OBSERVED, &label) !=
                content_of(RECORD_LABEL_OBSERVED, &other_label));
}

/* ---- causes ---- */

static struct id_event effect(enum record r, int64_t offset, const char *id, const char *cause)
{
    struct id_event e = event(r, offset, id);

    e.cause = cause;
    return e;
}

static void a_cause_that_is_there_is_fine(void **state)
{
    struct bench *b = *state;
    struct id_event e = effect(RECORD_TRAINING_FINISHED, 1, "model1", "run1");

    e.seen = "cluster-1;snapshots=4,plans=6,models=1";
    add(b, e);
    add(b, event(RECORD_TRAINING_PLANNED, 5, "run1"));
    check(b);
    assert_int_equal(findings_violations(&b->f), 0);
    assert_int_equal(b->f.looked[VERIFY_CAUSES], 1);
}

static void a_cause_that_is_missing_is_found(void **state)
{
    struct bench *b = *state;

    add(b, effect(RECORD_TRAINING_FINISHED, 1, "model1", "run1"));
    expect(b, VERIFY_CAUSES, "model1", "follows from run1, which is not in the log");
}

static void a_cause_beyond_retention_may_be_missing(void **state)
{
    struct bench *b = *state;
    struct id_event e = effect(RECORD_HEALTH_MEASURED, 1, "health1", "prediction1");

    e.cause_may_be_gone = true;
    add(b, e);
    check(b);
    assert_int_equal(findings_violations(&b->f), 0);
}

static bool is_cut(void *ctx, enum record effect, int partition)
{
    (void)ctx;
    return effect == RECORD_HEALTH_MEASURED && partition == 3;
}

static void a_cause_before_the_beginning_of_its_topic_may_be_missing(void **state)
{
    const struct verify_clock clock = {NOW_MS, PATIENCE_MS};
    const struct id_rules rules = {&clock, SKEW_MS, "cluster-1", is_cut, NULL};
    struct bench *b = *state;
    struct err err = {0};

    add(b, effect(RECORD_HEALTH_MEASURED, 1, "health1", "prediction1"));
    add(b, effect(RECORD_TRAINING_FINISHED, 1, "model1", "run1"));
    assert_int_equal(ids_check(b->ids, &rules, &b->f, &err), 0);
    assert_int_equal(findings_violations(&b->f), 1);
    assert_string_equal(b->f.items[0].id, "model1");
}

static void an_effect_before_its_cause_is_found(void **state)
{
    struct bench *b = *state;

    add(b, effect(RECORD_TRAINING_PLANNED, 4, "closed1", "run1"));
    add(b, event(RECORD_TRAINING_PLANNED, 5, "run1"));
    expect(b, VERIFY_CAUSES, "closed1", "comes before its cause run1 (plans[3]@5)");
}

static void an_effect_whose_writer_had_not_read_its_cause_is_found(void **state)
{
    struct bench *b = *state;
    struct id_event e = effect(RECORD_TRAINING_FINISHED, 1, "model1", "run1");

    e.seen = "cluster-1;plans=5";
    add(b, e);
    add(b, event(RECORD_TRAINING_PLANNED, 5, "run1"));
    expect(b, VERIFY_CAUSES, "model1", "had read that only up to 5");
}

static void positions_of_another_cluster_say_nothing(void **state)
{
    struct bench *b = *state;
    struct id_event e = effect(RECORD_TRAINING_FINISHED, 1, "model1", "run1");

    e.seen = "cluster-0;plans=5";
    add(b, e);
    add(b, event(RECORD_TRAINING_PLANNED, 5, "run1"));
    check(b);
    assert_int_equal(findings_violations(&b->f), 0);
}

static void an_effect_that_is_older_than_its_cause_is_found(void **state)
{
    struct bench *b = *state;
    struct id_event cause = event(RECORD_TRAINING_PLANNED, 5, "run1"),
                    within = effect(RECORD_TRAINING_FINISHED, 1, "model1", "run1"),
                    beyond = effect(RECORD_TRAINING_FINISHED, 2, "model2", "run1");

    within.time_unix_us = cause.time_unix_us - (int64_t)SKEW_MS * 1000;
    beyond.time_unix_us = cause.time_unix_us - (int64_t)SKEW_MS * 1000 - 1000000;
    add(b, cause);
    add(b, within);
    add(b, beyond);
    expect(b, VERIFY_CAUSES, "model2", "is 6 s older than its cause");
}

/* A mis-keyed cause lies on two partitions; its reader had it on its own. */
static void a_cause_that_was_forwarded_counts_where_it_belongs(void **state)
{
    struct bench *b = *state;
    struct id_event astray = event(RECORD_DRIFT_DETECTED, 90, "drift1"),
                    e = effect(RECORD_TRAINING_PLANNED, 1, "plan1", "drift1");

    astray.partition = 0;
    astray.belongs = 3;
    e.seen = "cluster-1;drift=3";
    add(b, astray);
    add(b, event(RECORD_DRIFT_DETECTED, 2, "drift1"));
    add(b, e);
    check(b);
    assert_int_equal(findings_violations(&b->f), 0);
    assert_int_equal(b->f.repeated, 1);
}

/* ---- places ---- */

static void what_lies_elsewhere_and_was_not_forwarded_is_found(void **state)
{
    struct bench *b = *state;
    struct id_event astray = event(RECORD_DRIFT_DETECTED, 9, "drift1");

    astray.belongs = 5;
    add(b, astray);
    expect(b, VERIFY_PLACES, "drift1", "belongs on partition 5");
}

static void what_was_just_put_elsewhere_is_open(void **state)
{
    struct bench *b = *state;
    struct id_event astray = event(RECORD_DRIFT_DETECTED, 9, "drift1");

    astray.belongs = 5;
    astray.appended_unix_ms = NOW_MS;
    add(b, astray);
    check(b);
    assert_int_equal(findings_violations(&b->f), 0);
    assert_int_equal(b->f.open[VERIFY_PLACES], 1);
}

/* ---- what cannot be read ---- */

static void unreadable(struct bench *b, int64_t offset)
{
    const struct id_event e = event(RECORD_DATASET_PUBLISHED, offset, NULL);
    struct err err = {0};

    assert_int_equal(ids_unreadable(b->ids, &e, "no Avro", &err), 0);
}

static void what_cannot_be_read_and_is_no_dead_letter_is_found(void **state)
{
    struct bench *b = *state;
    struct err err = {0};

    unreadable(b, 1);
    unreadable(b, 2);
    assert_int_equal(ids_dead(b->ids, RECORD_DATASET_PUBLISHED, 3, 1, &err), 0);
    expect(b, VERIFY_READ, NULL, "cannot be read (no Avro) and is no dead letter");
    assert_int_equal(b->f.items[0].at.offset, 2);
    assert_int_equal(b->f.looked[VERIFY_READ], 2);
}

/* ---- many ---- */

static void a_needle_among_many_events_is_found(void **state)
{
    enum { MANY = 200000, NEEDLE = 123456 };
    struct bench *b = *state;
    char id[32], cause[32];

    for (int i = 0; i < MANY; i++) {
        struct id_event e = event(RECORD_PREDICTION_SERVED, i, id);

        snprintf(id, sizeof(id), "prediction-%d", i);
        if (i % 100 == 0) {
            snprintf(cause, sizeof(cause), "prediction-%d", i == 100000 ? -1 : MANY - 1 - i);
            e.cause = cause;
        }
        add(b, e);
    }
    struct id_event other = event(RECORD_PREDICTION_SERVED, MANY, id);
    snprintf(id, sizeof(id), "prediction-%d", NEEDLE);
    other.content = 2;
    add(b, other);
    check(b);
    assert_int_equal(findings_violations(&b->f), 2);
    assert_int_equal(b->f.violations[VERIFY_IDS], 1);
    assert_int_equal(b->f.violations[VERIFY_CAUSES], 1);
    assert_int_equal(b->f.looked[VERIFY_IDS], MANY + 1);
}

/* Thousands of the same kind: all are counted, some are listed. */
static void findings_are_listed_up_to_a_cap(void **state)
{
    struct bench *b = *state;
    CLEANUP(buf_fini) struct buf out = {0};

    for (int i = 0; i < FINDINGS_LISTED_MAX + 50; i++)
        add(b, effect(RECORD_TRAINING_FINISHED, i, "model1", "run1"));
    check(b);
    assert_int_equal(b->f.violations[VERIFY_CAUSES], FINDINGS_LISTED_MAX + 50);
    assert_int_equal(b->f.n, FINDINGS_LISTED_MAX);
    findings_print(&b->f, &out);
    assert_non_null(strstr(out.data, "causes: 50 more like these"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(the_same_again_is_only_counted),
        T(one_id_for_two_things_is_found),
        T(what_an_agent_says_again_is_the_same),
        T(a_refusal_again_is_the_same_on_any_base),
        T(what_comes_from_outside_is_all_that_it_says_but_for_when),
        T(a_cause_that_is_there_is_fine),
        T(a_cause_that_is_missing_is_found),
        T(a_cause_beyond_retention_may_be_missing),
        T(a_cause_before_the_beginning_of_its_topic_may_be_missing),
        T(an_effect_before_its_cause_is_found),
        T(an_effect_whose_writer_had_not_read_its_cause_is_found),
        T(positions_of_another_cluster_say_nothing),
        T(an_effect_that_is_older_than_its_cause_is_found),
        T(a_cause_that_was_forwarded_counts_where_it_belongs),
        T(what_lies_elsewhere_and_was_not_forwarded_is_found),
        T(what_was_just_put_elsewhere_is_open),
        T(what_cannot_be_read_and_is_no_dead_letter_is_found),
        T(a_needle_among_many_events_is_found),
        T(findings_are_listed_up_to_a_cap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
