/* A model card in Markdown.  Text of others cannot break out of its cell: what Markdown or HTML
 * would read is escaped. */
#include <math.h>
#include <string.h>

#include "agents/relearn/card.h"

static void add_text(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (strchr("\\`*_[]<>|#&~", *text))
            buf_add_char(out, '\\');
        buf_add_char(out, *text == '\n' || *text == '\r' ? ' ' : *text);
    }
}

static void add_value(struct buf *out, const struct json *v)
{
    char text[32];
    if (json_is_string(v)) {
        add_text(out, json_str(v, ""));
    } else if (json_is_number(v)) {
        double_to_str(json_num(v, NAN), text);
        buf_add_str(out, text);
    } else {
        buf_add_str(out, "unknown");
    }
}

static void add_fact(struct buf *out, const char *name, const struct json *from, const char *member)
{
    buf_addf(out, "| %s | ", name);
    add_value(out, json_get(from, member));
    buf_add_str(out, " |\n");
}

static void add_head(struct buf *out, const char *title, const char *const *columns, size_t n)
{
    buf_addf(out, "\n## %s\n\n|", title);
    for (size_t i = 0; i < n; i++)
        buf_addf(out, " %s |", columns[i]);
    buf_add_str(out, "\n|");
    for (size_t i = 0; i < n; i++)
        buf_add_str(out, " --- |");
    buf_add_char(out, '\n');
}

/* A table of the members `keys` of a list; a sentence where the list is empty. */
static void add_list(struct buf *out, const char *title, const struct json *list,
                     const char *const *keys, size_t n, const char *nothing)
{
    if (!json_len(list)) {
        buf_addf(out, "\n## %s\n\n%s\n", title, nothing);
        return;
    }
    add_head(out, title, keys, n);
    for (size_t i = 0; i < json_len(list); i++) {
        buf_add_char(out, '|');
        for (size_t k = 0; k < n; k++) {
            buf_add_char(out, ' ');
            add_value(out, json_get(json_at(list, i), keys[k]));
            buf_add_str(out, " |");
        }
        buf_add_char(out, '\n');
    }
}

/* An interval is of the difference where there was a champion, else of the value. */
static void add_metrics(struct buf *out, const struct json *card, const char *title,
                        const char *member, const char *nothing)
{
    static const char *const KEYS[] = {"metric",     "slice", "rows", "candidate", "champion",
                                       "difference", "low",   "high", "undefined"};
    add_list(out, title, json_get(card, member), KEYS, ARRAY_LEN(KEYS), nothing);
}

static void add_decision(struct buf *out, const struct json *card)
{
    static const char *const KEYS[] = {"rule",    "slice",    "value", "threshold",
                                       "verdict", "severity", "reason"};
    const struct json *d = json_get(card, "decision");
    buf_add_str(out, "\n## Decision\n\n");
    add_value(out, json_get(d, "verdict"));
    buf_add_str(out, ", by ");
    add_value(out, json_get(d, "by"));
    buf_add_str(out, ": ");
    add_value(out, json_get(d, "reason"));
    buf_add_char(out, '\n');
    add_list(out, "Rules", json_get(d, "rules"), KEYS, ARRAY_LEN(KEYS), "None was applied.");
}

void card_markdown(const struct json *card, struct buf *out)
{
    static const char *const FACT[] = {"fact", "value"};
    static const char *const FACTS[] = {
        "model", "run", "line", "state", "trigger", "planned", "pipeline_sha256", "trainer"};
    static const char *const PARAMETERS[] = {"name", "value"};
    static const char *const DATA[] = {"dataset",    "version",          "snapshot",    "rows",
                                       "train_rows", "rows_quarantined", "rules_broken"};
    static const char *const SPLITS[] = {"train_rows", "valid_rows", "test_rows", "trained_rows",
                                         "evaluated_rows"};
    static const char *const SERVED[] = {"generation", "from", "to", "action", "reason"};
    static const char *const COST[] = {"seconds", "cpu_seconds", "max_rss_bytes",
                                       "trials",  "rounds",      "attempt"};
    const struct json *unknown = json_get(card, "unknown");
    buf_add_str(out, "# Model ");
    add_value(out, json_get(card, "model"));
    buf_add_char(out, '\n');
    add_head(out, "What it is", FACT, 2);
    for (size_t i = 0; i < ARRAY_LEN(FACTS); i++)
        add_fact(out, FACTS[i], card, FACTS[i]);
    add_list(out, "Parameters", json_get(card, "parameters"), PARAMETERS, 2, "Unknown.");
    add_list(out, "Data that it learned from", json_get(card, "data"), DATA, ARRAY_LEN(DATA),
             "Unknown.");
    add_head(out, "Splits", FACT, 2);
    for (size_t i = 0; i < ARRAY_LEN(SPLITS); i++)
        add_fact(out, SPLITS[i], json_get(card, "splits"), SPLITS[i]);
    add_metrics(out, card, "Metrics", "metrics", "Unknown.");
    buf_add_str(out, "\nlow and high are the interval of the difference to the champion; without a "
                     "champion, of the value. Confidence ");
    add_value(out, json_get(card, "confidence"));
    buf_add_str(out, ", champion of generation ");
    add_value(out, json_get(card, "against_generation"));
    buf_add_str(out, " (0: none).\n");
    add_metrics(out, card, "Slices", "slices", "None were evaluated.");
    add_decision(out, card);
    add_list(out, "Generations in which it served", json_get(card, "served"), SERVED,
             ARRAY_LEN(SERVED), "It has never been champion.");
    add_head(out, "Cost", FACT, 2);
    for (size_t i = 0; i < ARRAY_LEN(COST); i++)
        add_fact(out, COST[i], json_get(card, "cost"), COST[i]);
    buf_add_str(out, "\n## Not known\n\n");
    for (size_t i = 0; i < json_len(unknown); i++) {
        buf_add_str(out, "- ");
        add_text(out, json_str(json_at(unknown, i), ""));
        buf_add_char(out, '\n');
    }
}
