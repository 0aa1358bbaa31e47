/* Words of a filter: what they are, which field a name means, which value a word is. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "agents/console/filter_internal.h"
#include "common/clk.h"

struct known {
    const char *name;
    enum filter_column column;
    enum filter_type type;
};
static const struct known FIELDS[] = {
    {"line", COLUMN_LINE, FILTER_TEXT},
    {"pipeline", COLUMN_PIPELINE, FILTER_TEXT},
    {"run", COLUMN_RUN, FILTER_ID},
    {"trigger", COLUMN_TRIGGER, FILTER_TEXT},
    {"status", COLUMN_STATUS, FILTER_TEXT},
    {"decision", COLUMN_DECISION, FILTER_TEXT},
    {"generation", COLUMN_GENERATION, FILTER_NUMBER},
    {"started", COLUMN_STARTED, FILTER_TIME},
    {"finished", COLUMN_FINISHED, FILTER_TIME},
    {"rows", COLUMN_ROWS, FILTER_NUMBER},
    {"seconds", COLUMN_SECONDS, FILTER_NUMBER},
    {"cpu_seconds", COLUMN_CPU_SECONDS, FILTER_NUMBER},
    {"snapshot", COLUMN_SNAPSHOT, FILTER_ID},
    {"model", COLUMN_MODEL, FILTER_ID},
    {"cause", COLUMN_TRIGGER, FILTER_TEXT}, /* other words for the same */
    {"outcome", COLUMN_STATUS, FILTER_TEXT},
    {"state", COLUMN_STATUS, FILTER_TEXT},
};
static const char *const FAMILIES[] = {"metric.", "param."};
static const char NAMES[] = "a field (metric.NAME, param.NAME, line, pipeline, run, trigger, "
                            "status, decision, generation, started, finished, rows, seconds, "
                            "cpu_seconds, snapshot, model)";

static bool is_plain(char c)
{
    return isalnum((unsigned char)c) || (unsigned char)c >= 0x80 || (c && strchr("_.-:/+@%*", c));
}

/* A quote within is written twice. */
static void quoted(struct filter_reader *r, struct word *w)
{
    const char quote = r->text[w->at];
    const char *p = r->text + w->at + 1;
    char *to = arena_alloc(r->arena, strlen(p) + 1);
    w->text = to;
    while (*p && (*p != quote || p[1] == quote)) {
        if (*p == quote)
            p++;
        *to++ = *p++;
    }
    *to = '\0';
    w->kind = *p ? WORD_QUOTED : WORD_BAD;
    w->end = (size_t)(p - r->text) + (*p != '\0');
}

static size_t sign_length(const char *p)
{
    static const char *const SIGNS[] = {"<=", ">=", "!=", "==", "<>", "=", "<", ">", "(", ")", ","};
    for (size_t i = 0; i < ARRAY_LEN(SIGNS); i++)
        if (str_has_prefix(p, SIGNS[i]))
            return strlen(SIGNS[i]);
    return 0;
}

void filter__next(struct filter_reader *r)
{
    struct word w = {.at = r->word.end};
    while (r->text[w.at] && isspace((unsigned char)r->text[w.at]))
        w.at++;
    const char *p = r->text + w.at;
    size_t n = 0;
    w.end = w.at;
    if (*p == '\'' || *p == '"') {
        quoted(r, &w);
    } else if (*p) {
        while (is_plain(p[n]))
            n++;
        w.kind = WORD_PLAIN;
        if (!n) {
            n = sign_length(p);
            w.kind = n ? WORD_SIGN : WORD_BAD;
            n = n ? n : 1;
        }
        w.text = arena_strndup(r->arena, p, n);
        w.end = w.at + n;
    }
    r->word = w;
}

bool filter__is(const struct filter_reader *r, const char *word)
{
    return (r->word.kind == WORD_PLAIN && strcasecmp(r->word.text, word) == 0) ||
           (r->word.kind == WORD_SIGN && strcmp(r->word.text, word) == 0);
}

/* In characters, from 1: bytes that go on a character do not count. */
static int column_of(const char *text, size_t at)
{
    int column = 1;
    for (size_t i = 0; i < at; i++)
        column += ((unsigned char)text[i] & 0xc0) != 0x80;
    return column;
}

int filter__fail(struct filter_reader *r, const struct word *at, const char *what,
                 const char *example)
{
    char found[48] = "the end";
    if (at->kind == WORD_BAD && at->text && (r->text[at->at] == '\'' || r->text[at->at] == '"'))
        snprintf(found, sizeof(found), "a quote that is not closed");
    else if (at->kind != WORD_END)
        snprintf(found, sizeof(found), "'%.*s'",
                 (int)(at->end - at->at < 40 ? at->end - at->at : 40), r->text + at->at);
    return err_set(r->err, ERR_INVAL, NEXT_REJECT,
                   "column %d: expected %s, found %s; for example: %s", column_of(r->text, at->at),
                   what, found, example);
}

/* metric."a name with blanks" is two words, one right behind the other. */
static int named(struct filter_reader *r, const char *family, struct filter_field *ret)
{
    struct word w = r->word;
    const char *name = w.text + strlen(family);
    filter__next(r);
    if (!*name && r->word.kind == WORD_QUOTED && r->word.at == w.end) {
        name = r->word.text;
        filter__next(r);
    }
    if (!*name || strlen(name) >= FILTER_NAME_SIZE)
        return filter__fail(r, &w, "a name behind the point", "metric.auc > 0.8");
    *ret = (struct filter_field){COLUMN_NONE, FILTER_NUMBER,
                                 arena_printf(r->arena, "%s%s", family, name)};
    return 0;
}

int filter__field(struct filter_reader *r, struct filter_field *ret)
{
    if (r->word.kind != WORD_PLAIN)
        return filter__fail(r, &r->word, NAMES, "trigger = drift");
    for (size_t i = 0; i < ARRAY_LEN(FAMILIES); i++)
        if (str_has_prefix(r->word.text, FAMILIES[i]))
            return named(r, FAMILIES[i], ret);
    for (size_t i = 0; i < ARRAY_LEN(FIELDS); i++) {
        size_t first = 0; /* of the words for it */
        if (strcasecmp(r->word.text, FIELDS[i].name) != 0)
            continue;
        while (FIELDS[first].column != FIELDS[i].column)
            first++;
        *ret = (struct filter_field){FIELDS[i].column, FIELDS[i].type, FIELDS[first].name};
        filter__next(r);
        return 0;
    }
    return filter__fail(r, &r->word, NAMES, "metric.auc > 0.8");
}

/* A day, a time with its offset, or "7d ago". */
static int time_value(struct filter_reader *r, struct word *w, double *ret)
{
    static const char WHAT[] = "a time (RFC 3339, a day, or a duration and ago)";
    static const char EXAMPLE[] = "started > 7d ago, finished < 2026-11-01T08:00:00Z";
    int64_t us = 0, ms = 0;
    CLEANUP_FREE char *midnight = xasprintf("%sT00:00:00Z", w->text);
    if (clk_parse(w->text, &us) == 0 || clk_parse(midnight, &us) == 0) {
        *ret = (double)us;
        return 0;
    }
    if (str_to_duration_ms(w->text, &ms))
        return filter__fail(r, w, WHAT, EXAMPLE);
    if (!filter__is(r, "ago"))
        return filter__fail(r, &r->word, "ago behind a duration", "started > 7d ago");
    filter__next(r);
    *ret = (double)r->now_us - (double)ms * 1000;
    return 0;
}

int filter__value(struct filter_reader *r, const struct filter_field *f, struct filter_value *ret)
{
    struct word w = r->word;
    *ret = (struct filter_value){0};
    if (w.kind != WORD_PLAIN && w.kind != WORD_QUOTED)
        return filter__fail(r, &w, "a value",
                            f->type == FILTER_NUMBER ? "rows >= 1000"
                            : f->type == FILTER_TIME ? "started > 7d ago"
                                                     : "line = 'shop/north'");
    filter__next(r);
    if (f->type == FILTER_TIME)
        return time_value(r, &w, &ret->number);
    if (f->type == FILTER_NUMBER) {
        if (w.kind == WORD_QUOTED || str_to_double(w.text, &ret->number))
            return filter__fail(r, &w, "a number", "metric.auc > 0.8");
        return 0;
    }
    if (f->type == FILTER_ID && !w.text[0])
        return filter__fail(r, &w, "the first characters of an id", "model = 5f3c9a0d");
    ret->text = w.text;
    return 0;
}
