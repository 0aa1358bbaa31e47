/* What compare, card and trend say of facts, also of odd ones: text of others stays text, what is
 * unknown is said to be, and lines fit the screen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agents/relearn/card.h"
#include "agents/relearn/compare.h"
#include "agents/relearn/trend.h"

static struct json *parse(const char *text)
{
    struct err err = {0};
    struct json *j = json_parse(slice_str(text), "test", &err);
    if (!j)
        fail_msg("%s", err.msg);
    return j;
}

static void has(const struct buf *text, const char *part)
{
    if (!strstr(text->data, part))
        fail_msg("not in it: %s\n%s", part, text->data);
}

static void has_not(const struct buf *text, const char *part)
{
    if (strstr(text->data, part))
        fail_msg("in it: %s\n%s", part, text->data);
}

static const char A[] =
    "{\"run\": \"aaaa\", \"line\": \"p\", \"reason\": \"<script>alert('x')</script> & | more\","
    "\"rows\": 10, \"data\": [], \"trained\": {\"trainer\": \"xgboost\", \"params\": [{\"name\": "
    "\"eta\", \"value\": 0.1}, {\"name\": \"depth\", \"value\": 3}], \"seconds\": 1.5},"
    "\"evaluated\": {\"against\": 0, \"metrics\": [{\"metric\": \"auc\", \"slice\": \"all\", "
    "\"candidate\": 0.7, \"champion\": null, \"difference\": null, \"low\": 0.6, \"high\": 0.8, "
    "\"higher_is_better\": true, \"rows\": 5}, {\"metric\": \"auc\", \"slice\": \"day=1\", "
    "\"candidate\": null, \"undefined\": \"one class\", \"higher_is_better\": true}]}}";
static const char B[] =
    "{\"run\": \"bbbb\", \"line\": \"p\", \"reason\": \"fine\", \"rows\": 10, \"data\": [],"
    "\"trained\": {\"trainer\": \"xgboost\", \"params\": [{\"name\": \"eta\", \"value\": 0.3}], "
    "\"seconds\": 2}, \"evaluated\": {\"against\": 1, \"metrics\": [{\"metric\": \"auc\", "
    "\"slice\": \"all\", \"candidate\": 0.75, \"champion\": 0.7, \"difference\": 0.05, \"low\": "
    "-0.01, \"high\": 0.11, \"higher_is_better\": true, \"rows\": 5}]}}";

static struct json *compared(void)
{
    CLEANUP(json_freep) struct json *a = parse(A), *b = parse(B);
    const struct json *facts[] = {a, b}, *distances[] = {NULL, NULL};
    return compare_document(facts, distances, 2);
}

static void what_is_equal_is_left_out_unless_asked_for(void **state)
{
    CLEANUP(buf_fini) struct buf some = {0}, all = {0};
    CLEANUP(json_freep) struct json *document = compared();
    (void)state;
    compare_print(document, false, &some);
    compare_print(document, true, &all);
    has(&some, "eta");
    has(&some, "unknown"); /* depth of the second */
    has(&some, "0.7500 +0.0500 [-0.0100, +0.1100] *");
    has(&some, "0.7000 [0.6000, 0.8000]");
    has(&some, "auc where day=1");
    has_not(&some, "trainer");
    has(&all, "trainer");
    has(&some, "more rows (--all)");
    has_not(&all, "more rows");
}

static void a_page_escapes_what_others_wrote(void **state)
{
    CLEANUP(buf_fini) struct buf page = {0};
    CLEANUP(json_freep) struct json *document = compared();
    (void)state;
    compare_html(document, true, &page);
    has(&page, "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; | more");
    has_not(&page, "<script");
    has_not(&page, "http:");
    has(&page, "<td class=\"best\">0.7500");
    has(&page, "<td class=\"unknown\">unknown</td>");
    has(&page, "<svg ");
}

static void a_card_says_what_is_not_known(void **state)
{
    CLEANUP(buf_fini) struct buf text = {0};
    CLEANUP(json_freep) struct json *facts = parse(A), *card = card_document(facts);
    (void)state;
    card_markdown(card, &text);
    has(&text, "# Model unknown");
    has(&text, "| eta | 0.1 |");
    has(&text, "- what was decided: nothing yet");
    has(&text, "there was no champion to compare with");
    has(&text, "It has never been champion.");
    has(&text, "| auc | day=1 | unknown | unknown |");
    has(&text, "one class");
}

static void a_card_of_nothing_is_one_too(void **state)
{
    CLEANUP(buf_fini) struct buf text = {0};
    CLEANUP(json_freep) struct json *facts = parse("{}"), *card = card_document(facts);
    (void)state;
    card_markdown(card, &text);
    has(&text, "the run has not been trained to its end");
    has(&text, "there is no evaluation with metrics");
}

static void text_in_a_card_cannot_leave_its_cell(void **state)
{
    CLEANUP(buf_fini) struct buf text = {0};
    CLEANUP(json_freep)
    struct json *facts =
        parse("{\"decided\": {\"verdict\": \"reject\", \"by\": \"a|b\", \"reason\": "
              "\"<b>no</b>\\n# Model other\"}}");
    CLEANUP(json_freep) struct json *card = card_document(facts);
    (void)state;
    card_markdown(card, &text);
    has(&text, "reject, by a\\|b: \\<b\\>no\\</b\\> \\# Model other\n");
}

static const char TREND[] =
    "{\"line\": \"p\", \"metric\": \"auc\", \"evaluations\": [{\"time\": \"2026-01-01T00:00:00Z\", "
    "\"value\": 0.5}, {\"time\": \"2026-01-03T00:00:00Z\", \"value\": 0.9}, {\"time\": "
    "\"2026-01-02T00:00:00Z\", \"value\": null}], \"service\": [{\"time\": "
    "\"2026-01-02T12:00:00Z\", \"value\": 0.7}], \"marks\": [{\"time\": \"2026-01-03T00:00:00Z\", "
    "\"kind\": \"rollback\", \"says\": \"ü<x> and a long story that goes on and on and on and "
    "on and on and on\"}, {\"time\": \"2026-01-01T00:00:00Z\", \"kind\": \"promotion\", "
    "\"says\": \"first\"}]}";

static void a_trend_fits_its_screen(void **state)
{
    (void)state;
    for (size_t width = 40; width <= 200; width += 20) {
        CLEANUP(buf_fini) struct buf text = {0};
        CLEANUP(json_freep) struct json *j = parse(TREND);
        const struct trend_screen screen = {width, 16, false};
        trend_draw(j, &screen, &text);
        for (const char *at = text.data; *at;) {
            size_t n = strcspn(at, "\n"), characters = 0;
            for (size_t i = 0; i < n; i++)
                characters += ((unsigned char)at[i] & 0xc0) != 0x80;
            if (characters > width && at != text.data) /* the title may be longer */
                fail_msg("%zu wide, not %zu: %.*s", characters, width, (int)n, at);
            at += n + (at[n] == '\n');
        }
        has(&text, "rolled back|");
        has(&text, "promoted|P");
        has_not(&text, "\033");
    }
}

static void colour_is_for_terminals_alone(void **state)
{
    CLEANUP(buf_fini) struct buf text = {0};
    CLEANUP(json_freep) struct json *j = parse(TREND);
    const struct trend_screen screen = {80, 16, true};
    (void)state;
    trend_draw(j, &screen, &text);
    has(&text, "\033[31mR\033[0m");
}

static void a_trend_of_one_value_or_none_is_drawn(void **state)
{
    static const char *const TEXTS[] = {
        "{}", "{\"evaluations\": [{\"time\": \"2026-01-01T00:00:00Z\", \"value\": 0}]}",
        "{\"marks\": [{\"time\": \"2026-01-01T00:00:00Z\", \"kind\": \"unheard of\"}]}",
        "{\"evaluations\": [{\"time\": \"never\", \"value\": 1}]}"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(TEXTS); i++) {
        CLEANUP(buf_fini) struct buf text = {0}, svg = {0};
        CLEANUP(json_freep) struct json *j = parse(TEXTS[i]);
        const struct trend_screen screen = {80, 16, false};
        trend_draw(j, &screen, &text);
        trend_svg(j, &svg);
        has(&svg, "</svg>");
        if (i != 1)
            has(&text, "nothing was measured yet");
    }
}

static void a_drawing_escapes_what_others_wrote(void **state)
{
    CLEANUP(buf_fini) struct buf svg = {0};
    CLEANUP(json_freep) struct json *j = parse(TREND);
    (void)state;
    trend_svg(j, &svg);
    has(&svg, "ü&lt;x&gt; and");
    has_not(&svg, "<x>");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_equal_is_left_out_unless_asked_for),
        cmocka_unit_test(a_page_escapes_what_others_wrote),
        cmocka_unit_test(a_card_says_what_is_not_known),
        cmocka_unit_test(a_card_of_nothing_is_one_too),
        cmocka_unit_test(text_in_a_card_cannot_leave_its_cell),
        cmocka_unit_test(a_trend_fits_its_screen),
        cmocka_unit_test(colour_is_for_terminals_alone),
        cmocka_unit_test(a_trend_of_one_value_or_none_is_drawn),
        cmocka_unit_test(a_drawing_escapes_what_others_wrote),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
