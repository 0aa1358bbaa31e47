/* What doctor makes of how the topics are kept, and of the dates that brokers give. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agents/relearn/doctor_judge.h"
#include "common/base.h"
#include "common/buf.h"
#include "common/mem.h"

enum { TEXT_SIZE = 2000, MOST = 8, NOW_MS = 1000000000, S = 1000 };

struct said {
    size_t n;
    struct {
        enum doctor_level level;
        char check[32], mend[TEXT_SIZE], what[TEXT_SIZE];
    } f[MOST];
};

static void on_found(void *ctx, enum doctor_level level, const char *check, const char *mend,
                     const char *what)
{
    struct said *s = ctx;
    assert_true(s->n < MOST);
    s->f[s->n].level = level;
    assert_true(str_copy(s->f[s->n].check, sizeof(s->f[s->n].check), check));
    assert_true(str_copy(s->f[s->n].mend, TEXT_SIZE, mend ? mend : ""));
    assert_true(str_copy(s->f[s->n].what, TEXT_SIZE, what));
    s->n++;
}

static void found_is(const struct said *s, size_t i, enum doctor_level level, const char *what,
                     const char *mend, const char *label)
{
    if (s->n <= i || s->f[i].level != level || !strstr(s->f[i].what, what) ||
        !strstr(s->f[i].mend, mend) || (level == DOCTOR_OK) != !s->f[i].mend[0])
        fail_msg("%s: level %d, \"%s\", mend \"%s\"", label, s->n > i ? (int)s->f[i].level : -1,
                 s->n > i ? s->f[i].what : "", s->n > i ? s->f[i].mend : "");
}

static void each_way_of_keeping_a_topic_has_its_word_and_its_mend(void **state)
{
    static const struct {
        int brokers, copies, in_sync, least;
        enum doctor_level level;
        const char *what, *mend;
    } ROWS[] = {
        {3, 3, 3, 2, DOCTOR_OK, "an acknowledgement waits for 2", ""},
        {5, 5, 5, 3, DOCTOR_OK, "5 of each topic on 5 brokers", ""},
        {3, 3, 3, 1, DOCTOR_BAD, "may be lost", "min.insync.replicas=2"},
        {3, 3, 2, 1, DOCTOR_BAD, "may be lost", "min.insync.replicas=2"},
        {3, 3, 2, 2, DOCTOR_WARN, "away or behind", "start the broker"},
        {2, 3, 1, 2, DOCTOR_BAD, "nothing can be written: fewer", "start the brokers"},
        {2, 3, 0, 1, DOCTOR_BAD, "nothing can be written: fewer", "start the brokers"},
        {3, 1, 0, 0, DOCTOR_BAD, "nothing can be written: fewer", "start the brokers"},
        {3, 3, 3, 3, DOCTOR_WARN, "all copies are asked for", "min.insync.replicas=2"},
        {2, 2, 2, 3, DOCTOR_WARN, "more copies than", "min.insync.replicas=1"},
        {1, 1, 1, 2, DOCTOR_WARN, "more copies than", "min.insync.replicas=1"},
        {3, 1, 1, 2, DOCTOR_WARN, "one copy only", "relearn topics --replication 3"},
        {3, 3, 3, 4, DOCTOR_WARN, "all copies are asked for", "min.insync.replicas=2"},
        {3, 1, 1, 1, DOCTOR_WARN, "one copy only", "relearn topics --replication 3"},
        {3, 1, 1, 0, DOCTOR_WARN, "one copy only", "relearn topics --replication 3"},
        {2, 1, 1, 1, DOCTOR_OK, "one of each topic, on 2 brokers", ""},
        {1, 1, 1, 1, DOCTOR_OK, "one of each topic, on 1 broker:", ""},
        {3, 2, 2, 1, DOCTOR_WARN, "two copies only", "relearn topics --replication 3"},
        {3, 2, 2, 2, DOCTOR_WARN, "two copies only", "relearn topics --replication 3"},
        {2, 2, 2, 2, DOCTOR_OK, "2 of each topic on 2 brokers", ""},
        {3, 3, 3, 0, DOCTOR_OK, "3 of each topic", ""}, /* not told: not judged */
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        const struct topic_kept t = {"relearn.plans", ROWS[i].copies, ROWS[i].in_sync,
                                     ROWS[i].least};
        struct said s = {0};
        char label[80];
        snprintf(label, sizeof(label), "%d brokers, %d copies, %d in step, at least %d",
                 ROWS[i].brokers, ROWS[i].copies, ROWS[i].in_sync, ROWS[i].least);
        judge_topics(&t, 1, ROWS[i].brokers, "k:9092", on_found, &s);
        assert_int_equal(s.n, 1);
        found_is(&s, 0, ROWS[i].level, ROWS[i].what, ROWS[i].mend, label);
        assert_string_equal(s.f[0].check, "copies");
        if (ROWS[i].level != DOCTOR_OK)
            assert_non_null(strstr(s.f[0].what, "relearn.plans: "));
    }
}

/* The command is for all that have the trouble, and for no other. */
static void topics_with_the_same_trouble_are_told_together(void **state)
{
    const struct topic_kept topics[] = {{"a", 3, 3, 1}, {"b", 3, 3, 2}, {"c", 3, 3, 1},
                                        {"d", 3, 1, 2}, {"e", 3, 3, 1}, {"gone", 0, 0, 0}};
    struct said s = {0};
    (void)state;
    judge_topics(topics, ARRAY_LEN(topics), 3, "k:9092", on_found, &s);
    assert_int_equal(s.n, 2);
    found_is(&s, 0, DOCTOR_BAD, "d: nothing can be written", "start the brokers", "the one");
    found_is(&s, 1, DOCTOR_BAD, "a, c and 1 others: what was acknowledged", "", "the three");
    assert_string_equal(s.f[1].mend,
                        "for t in a c e; do kafka-configs.sh --bootstrap-server k:9092 --alter "
                        "--entity-type topics --entity-name $t --add-config min.insync.replicas=2; "
                        "done");
}

static void of_topics_that_are_not_there_nothing_is_said(void **state)
{
    const struct topic_kept gone = {"gone", 0, 0, 0};
    struct said s = {0};
    (void)state;
    judge_topics(&gone, 1, 3, "k:9092", on_found, &s);
    judge_topics(NULL, 0, 3, "k:9092", on_found, &s);
    assert_int_equal(s.n, 0);
}

static void clock_is_judged_by_what_must_have_been_before_and_after(void **state)
{
    static const struct {
        const char *label;
        size_t n; /* so many events, the first such, the others written and appended at once */
        int64_t written_ms, appended_ms;
        bool are_all; /* all of them such */
        enum doctor_level level;
        const char *what;
    } ROWS[] = {
        {"nothing", 0, 0, 0, false, DOCTOR_OK, "no event yet"},
        {"one at once", 1, NOW_MS - 10, NOW_MS, true, DOCTOR_OK, "(1 looked at)"},
        {"within what is allowed", 16, NOW_MS, NOW_MS + CLOCK_MAX_MS, true, DOCTOR_OK, "(16 "},
        {"from the future", 1, NOW_MS, NOW_MS + 60 * S, true, DOCTOR_BAD, "60000 ms ahead"},
        {"one from the future", 16, NOW_MS, NOW_MS + 60 * S, false, DOCTOR_BAD, "60000 ms ahead"},
        {"before its cause", 1, NOW_MS - 9 * S, NOW_MS - 19 * S, true, DOCTOR_BAD,
         "10000 ms behind"},
        {"one before its cause", 16, NOW_MS - 9 * S, NOW_MS - 19 * S, false, DOCTOR_BAD,
         "10000 ms behind"},
        {"one waited for a bus that was away", 16, NOW_MS - 90 * S, NOW_MS - 9 * S, false,
         DOCTOR_OK, "as their writers do"},
        {"too few to tell a wait from a clock", 15, NOW_MS - 90 * S, NOW_MS - 9 * S, true,
         DOCTOR_OK, "as their writers do"},
        {"all so much later", 16, NOW_MS - 90 * S, NOW_MS - 9 * S, true, DOCTOR_WARN,
         "may be 81000 ms ahead"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        struct dated_newest d = {0};
        struct said s = {0};
        for (size_t k = 0; k < ROWS[i].n; k++) {
            bool is_such = k == 0 || ROWS[i].are_all;
            dated_add(&d, is_such ? (struct dated){ROWS[i].written_ms, ROWS[i].appended_ms}
                                  : (struct dated){NOW_MS - 9 * S, NOW_MS - 9 * S});
        }
        judge_broker_clock(&d, NOW_MS, on_found, &s);
        assert_int_equal(s.n, 1);
        assert_string_equal(s.f[0].check, "clocks");
        found_is(&s, 0, ROWS[i].level, ROWS[i].what,
                 ROWS[i].level == DOCTOR_OK ? "" : "timedatectl", ROWS[i].label);
    }
}

/* Events of a time when a clock was wrong, in either direction, give way to those since. */
static void clock_that_was_mended_is_well_again(void **state)
{
    enum { OLD_MS = NOW_MS - 7200 * S, DAY_MS = 86400 * S };
    static const struct dated WRONG[] = {
        {OLD_MS, OLD_MS + DAY_MS}, /* a broker's, ahead; it dates tomorrow */
        {OLD_MS, OLD_MS - DAY_MS}, /* a broker's, behind */
        {OLD_MS + DAY_MS, OLD_MS}, /* a writer's, ahead */
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(WRONG); i++) {
        struct dated_newest d = {0};
        struct said s = {0};
        for (int k = 0; k < DATED_NEWEST; k++)
            dated_add(&d, WRONG[i]);
        for (int k = 0; k < DATED_NEWEST; k++)
            dated_add(&d, (struct dated){NOW_MS - k * S, NOW_MS - k * S});
        dated_add(&d, WRONG[i]); /* another partition is read later */
        judge_broker_clock(&d, NOW_MS, on_found, &s);
        found_is(&s, 0, DOCTOR_OK, "(16 looked at)", "", "mended");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_way_of_keeping_a_topic_has_its_word_and_its_mend),
        cmocka_unit_test(topics_with_the_same_trouble_are_told_together),
        cmocka_unit_test(of_topics_that_are_not_there_nothing_is_said),
        cmocka_unit_test(clock_is_judged_by_what_must_have_been_before_and_after),
        cmocka_unit_test(clock_that_was_mended_is_well_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
