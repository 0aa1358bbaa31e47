/* gate.freeze: windows in which nothing is promoted, between two times or every week; all in UTC.
 */
#include <string.h>

#include "common/clk.h"
#include "common/pipeline_internal.h"

enum {
    MINUTE_S = 60,
    HOUR_S = 60 * MINUTE_S,
    DAY_S = 24 * HOUR_S,
    WEEK_S = 7 * DAY_S,
    EPOCH_DAY = 3,        /* 1970-01-01 was a Thursday; weeks begin on Monday */
    FREEZE_MAX_DAYS = 60, /* a run waits so long at most, then its data is old */
};

/* "fri 16:00": seconds since Monday; -1 when it is none. */
static int64_t second_of_week(const char *text)
{
    static const char *const days[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};
    int hour, minute;

    if (strlen(text) != 9 || text[3] != ' ' || text[6] != ':' ||
        strspn(text + 4, "0123456789") != 2 || strspn(text + 7, "0123456789") != 2)
        return -1;
    hour = (text[4] - '0') * 10 + text[5] - '0';
    minute = (text[7] - '0') * 10 + text[8] - '0';
    for (size_t d = 0; d < ARRAY_LEN(days) && hour < 24 && minute < 60; d++)
        if (strncmp(text, days[d], 3) == 0)
            return (int64_t)d * DAY_S + hour * HOUR_S + minute * MINUTE_S;
    return -1;
}

/* A time, or a day from its beginning; -1 when it is none. */
static int64_t unix_ms_of(const char *text)
{
    char day[32];
    int64_t us = 0;

    if (clk_parse(text, &us) == 0)
        return us / 1000;
    if (strlen(text) != 10)
        return -1;
    snprintf(day, sizeof(day), "%sT00:00:00Z", text);
    return clk_parse(day, &us) == 0 ? us / 1000 : -1;
}

struct freeze_text {
    const char *from, *to, *why;
};
#define AT(member) offsetof(struct freeze_text, member)
static const struct key freeze_keys[] = {
    {.name = "from", .kind = KEY_TEXT, .offset = AT(from), .needed = "a time, or 'fri 16:00'"},
    {.name = "to", .kind = KEY_TEXT, .offset = AT(to), .needed = "a time, or 'mon 08:00'"},
    {.name = "why", .kind = KEY_TEXT, .offset = AT(why), .needed = "for whom it holds up"},
    {0},
};

static int read_freeze(struct reader *rd, const struct yaml_node *n, struct freeze *f)
{
    struct freeze_text t = {0};

    if (pipeline__map(rd, n, freeze_keys, &t))
        return -1;
    f->why = t.why;
    f->from = second_of_week(t.from);
    f->to = second_of_week(t.to);
    f->is_weekly = f->from >= 0 && f->to >= 0;
    if (f->is_weekly)
        return f->from != f->to ? 0
                                : pipeline__fail(rd, n->line, "from and to are the same minute");
    f->from = unix_ms_of(t.from);
    f->to = unix_ms_of(t.to);
    if (f->from < 0 || f->to < 0)
        return pipeline__fail(rd, n->line,
                              "from and to are both a time such as 2026-12-20 or "
                              "2026-12-20T16:00:00Z, or both a minute of the week such as 'fri "
                              "16:00' (UTC)");
    if (f->to <= f->from || freeze_length_ms(f) > (int64_t)FREEZE_MAX_DAYS * DAY_S * 1000)
        return pipeline__fail(rd, n->line, "to must be after from, by %d days at most",
                              FREEZE_MAX_DAYS);
    return 0;
}

int pipeline__freezes(struct reader *rd, const struct yaml_node *n, void *target)
{
    struct pipeline *p = target;
    struct freeze *all;

    if (n->kind != YAML_SEQUENCE || n->n < 1 || n->n > PIPELINE_MAX_FREEZES)
        return pipeline__fail(rd, n->line, "must be a list of 1 to %d windows",
                              PIPELINE_MAX_FREEZES);
    all = arena_alloc(&p->arena, n->n * sizeof(*all));
    for (size_t i = 0; i < n->n; i++) {
        size_t mark = pipeline__enter_index(rd, i);

        if (read_freeze(rd, n->items[i], &all[i]))
            return -1;
        pipeline__leave(rd, mark);
    }
    p->freezes = all;
    p->n_freezes = n->n;
    return 0;
}

int64_t freeze_length_ms(const struct freeze *f)
{
    if (!f->is_weekly)
        return f->to - f->from;
    return ((f->to - f->from + WEEK_S) % WEEK_S) * 1000;
}

int64_t freeze_end_ms(const struct freeze *f, int64_t now_unix_ms)
{
    int64_t into;

    if (!f->is_weekly)
        return now_unix_ms >= f->from && now_unix_ms < f->to ? f->to : 0;
    into = (now_unix_ms / 1000 + EPOCH_DAY * DAY_S - f->from) % WEEK_S;
    if (into < 0)
        into += WEEK_S;
    if (into * 1000 >= freeze_length_ms(f))
        return 0;
    return (now_unix_ms / 1000 - into) * 1000 + freeze_length_ms(f);
}
