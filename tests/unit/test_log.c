#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "common/buf.h"
#include "common/log.h"
#include "tests/support/manual_clk.h"

#define TS "2026-11-23T14:05:06.000000Z"

static struct {
    struct manual_clk clk;
    struct buf out;
} seen;

static void catch_line(void *ctx, const char *line, size_t n)
{
    (void)ctx;
    buf_add(&seen.out, line, n);
}

static int setup(void **state)
{
    (void)state;
    manual_clk_init(&seen.clk, 1795442706000000);
    buf_reset(&seen.out);
    log_redirect(catch_line, NULL, &seen.clk.clk);
    log_init("train", LOG_INFO);
    log_context(NULL, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    log_redirect(NULL, NULL, NULL);
    buf_fini(&seen.out);
    return 0;
}

/* What was written since the last call is exactly `expected`. */
static void assert_written(const char *expected)
{
    assert_string_equal(seen.out.data ? seen.out.data : "", expected);
    buf_reset(&seen.out);
}

static void line_has_time_level_agent_event_and_pairs(void **state)
{
    (void)state;
    log_info("model.trained", "run=%s rows=%d", "r1", 500);
    assert_written(TS " info train model.trained run=r1 rows=500\n");
    log_warn("bus.slow", "%s", "");
    assert_written(TS " warn train bus.slow\n");
}

static void level_below_the_least_is_dropped(void **state)
{
    (void)state;
    log_debug("x.y", "a=1");
    assert_written("");
    log_init("train", LOG_ERROR);
    log_warn("x.y", "a=1");
    assert_written("");
    log_error("x.y", "a=1");
    assert_written(TS " error train x.y a=1\n");
}

static void context_stands_in_front_until_cleared(void **state)
{
    (void)state;
    log_context("elec/north", "e1");
    log_info("a.b", "k=v");
    log_context("elec", NULL);
    log_info("a.b", "k=v");
    log_context(NULL, NULL);
    log_info("a.b", "k=v");
    assert_written(TS " info train a.b line=elec/north event_id=e1 k=v\n" TS
                      " info train a.b line=elec k=v\n" TS " info train a.b k=v\n");
}

static void values_are_escaped_and_quoted_when_they_need_it(void **state)
{
    static const struct {
        const char *value, *written;
    } rows[] = {
        {"plain", "v=plain"},
        {"/a/b:c,d", "v=/a/b:c,d"},
        {"", "v=\"\""},
        {"two words", "v=\"two words\""},
        {"line\nbreak\t\x1b[31m\x7f", "v=\"line\\nbreak\\t\\x1b[31m\\x7f\""},
        {"say \"hi\"", "v=\"say \\\"hi\\\"\""},
        {"back\\slash here", "v=\"back\\\\slash here\""},
        {"\"already quoted\"", "v=\"already quoted\""},
        {"a=b", "v=\"a=b\""},
        {"\xC3\xBC\xE2\x82\xAC", "v=\xC3\xBC\xE2\x82\xAC"},
        {"store: locked, retrying in 800 ms", "v=\"store: locked, retrying in 800 ms\""},
    };

    (void)state;
    log_init("train", LOG_DEBUG);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(buf_fini) struct buf expected = {0};

        buf_addf(&expected, TS " debug train e %s last=1\n", rows[i].written);
        log_debug("e", "v=%s last=1", rows[i].value);
        assert_written(expected.data);
    }
}

static void words_without_a_key_stay_as_they_are(void **state)
{
    (void)state;
    log_info("e", "just some words, then=%d more words", 1);
    assert_written(TS " info train e just some words, then=\"1 more words\"\n");
}

static void one_call_makes_one_line_however_long(void **state)
{
    static char text[20000];

    (void)state;
    memset(text, '\x01', sizeof(text) - 1); /* the worst: four bytes out of one */
    log_info("e", "v=%s", text);
    assert_non_null(seen.out.data);
    assert_ptr_equal(strchr(seen.out.data, '\n'), seen.out.data + seen.out.len - 1);
    assert_true(seen.out.len > 4096 && seen.out.len <= 20000);
}

static void repeated_warnings_are_written_first_and_then_counted(void **state)
{
    (void)state;
    for (int i = 1; i <= 5; i++) {
        log_warn("bus.down", "attempt=%d", i);
        manual_clk_advance_ms(&seen.clk, 1000);
    }
    assert_written(TS " warn train bus.down attempt=1\n");
    manual_clk_advance_ms(&seen.clk, 4999);
    log_info("other", "a=1"); /* 9,999 ms after the first: the window is open */
    assert_written("2026-11-23T14:05:15.999000Z info train other a=1\n");
    manual_clk_advance_ms(&seen.clk, 1);
    log_info("other", "a=2");
    assert_written("2026-11-23T14:05:16.000000Z warn train bus.down count=4 attempt=5\n"
                   "2026-11-23T14:05:16.000000Z info train other a=2\n");
}

static void what_goes_on_repeating_is_one_line_a_window(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        log_error("bus.down", "n=%d", i);
        manual_clk_advance_ms(&seen.clk, 500);
    }
    assert_written("2026-11-23T14:05:06.000000Z error train bus.down n=0\n"
                   "2026-11-23T14:05:16.000000Z error train bus.down count=19 n=19\n"
                   "2026-11-23T14:05:26.000000Z error train bus.down count=20 n=39\n"
                   "2026-11-23T14:05:36.000000Z error train bus.down count=20 n=59\n"
                   "2026-11-23T14:05:46.000000Z error train bus.down count=20 n=79\n");
    log_flush();
    assert_written("2026-11-23T14:05:56.000000Z error train bus.down count=20 n=99\n");
    log_flush();
    assert_written("");
}

static void what_has_stopped_is_written_at_once_when_it_comes_back(void **state)
{
    (void)state;
    log_warn("e", "n=1");
    manual_clk_advance_ms(&seen.clk, 10000);
    log_warn("e", "n=2");
    assert_written(TS " warn train e n=1\n2026-11-23T14:05:16.000000Z warn train e n=2\n");
}

static void different_levels_events_and_lines_are_not_one(void **state)
{
    (void)state;
    log_warn("a", "n=1");
    log_error("a", "n=2");
    log_warn("b", "n=3");
    log_context("elec", NULL);
    log_warn("a", "n=4");
    assert_written(TS " warn train a n=1\n" TS " error train a n=2\n" TS " warn train b n=3\n" TS
                      " warn train a line=elec n=4\n");
}

static void information_folds_only_what_says_the_same(void **state)
{
    (void)state;
    log_info("deploy.step", "share=10");
    log_info("deploy.step", "share=50");
    log_info("deploy.step", "share=50");
    assert_written(TS " info train deploy.step share=10\n" TS " info train deploy.step share=50\n");
    log_flush();
    assert_written(TS " info train deploy.step share=50\n"); /* one line stands for itself */
}

static void debug_is_never_folded(void **state)
{
    (void)state;
    log_init("train", LOG_DEBUG);
    log_debug("e", "n=1");
    log_debug("e", "n=1");
    assert_written(TS " debug train e n=1\n" TS " debug train e n=1\n");
}

static void more_repeating_lines_than_slots_lose_no_count(void **state)
{
    enum { EVENTS = 100, REPEATS = 3 };
    size_t lines = 0, counted = 0;

    (void)state;
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        for (int i = 0; i < EVENTS; i++) {
            char event[16];

            snprintf(event, sizeof(event), "e.%d", i);
            log_warn(event, "n=%d", i);
            manual_clk_advance_ms(&seen.clk, 1);
        }
    }
    log_flush();
    for (const char *p = seen.out.data; (p = strchr(p, '\n')); p++)
        lines++;
    for (const char *p = seen.out.data; (p = strstr(p, "count=")); p++) {
        counted += (size_t)(p[6] - '0');
        lines--;
    }
    assert_int_equal(lines + counted, EVENTS * REPEATS);
}

static void *write_many(void *arg)
{
    log_context(arg, NULL);
    for (int i = 0; i < 200; i++)
        log_info("thread.line", "n=%d who=%s", i, (const char *)arg);
    return NULL;
}

static void threads_write_whole_lines_with_their_own_context(void **state)
{
    const char *const names[] = {"a", "b", "c", "d"};
    pthread_t threads[ARRAY_LEN(names)];
    size_t lines = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, (void *)(uintptr_t)names[i]),
                         0);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        pthread_join(threads[i], NULL);
    for (char *p = seen.out.data, *end; (end = strchr(p, '\n')); p = end + 1) {
        const char *line, *who;

        *end = '\0';
        line = strstr(p, " line=");
        who = strstr(p, " who=");
        assert_true(str_has_prefix(p, TS " info train thread.line line="));
        assert_true(line && who && line[6] == who[5]);
        lines++;
    }
    assert_int_equal(lines, 200 * ARRAY_LEN(names));
}

static void every_level_has_a_name_that_is_read_back(void **state)
{
    enum log_level level = LOG_COUNT;

    (void)state;
    for (int i = 0; i < LOG_COUNT; i++) {
        assert_int_equal(log_level_parse(log_level_str((enum log_level)i), &level), 0);
        assert_int_equal(level, i);
    }
    assert_int_equal(log_level_parse("warning", &level), -1);
    assert_int_equal(log_level_parse("", &level), -1);
    assert_int_equal(level, LOG_ERROR);
    assert_string_equal(log_level_str(LOG_COUNT), "unknown");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(line_has_time_level_agent_event_and_pairs),
        TEST(level_below_the_least_is_dropped),
        TEST(context_stands_in_front_until_cleared),
        TEST(values_are_escaped_and_quoted_when_they_need_it),
        TEST(words_without_a_key_stay_as_they_are),
        TEST(one_call_makes_one_line_however_long),
        TEST(repeated_warnings_are_written_first_and_then_counted),
        TEST(what_goes_on_repeating_is_one_line_a_window),
        TEST(what_has_stopped_is_written_at_once_when_it_comes_back),
        TEST(different_levels_events_and_lines_are_not_one),
        TEST(information_folds_only_what_says_the_same),
        TEST(debug_is_never_folded),
        TEST(more_repeating_lines_than_slots_lose_no_count),
        TEST(threads_write_whole_lines_with_their_own_context),
        TEST(every_level_has_a_name_that_is_read_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
