#include "agents/relearn/trend.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/clk.h"
#include "common/mem.h"

enum { WIDTH = 80, WIDTH_MIN = 40, WIDTH_MAX = 400, HEIGHT = 16, AXIS = 13, SAYS_MAX = 12 };

struct trend_screen trend_screen(void)
{
    struct trend_screen s = {WIDTH, HEIGHT, isatty(STDOUT_FILENO)};
    const char *no_colour = getenv("NO_COLOR"), *columns = getenv("COLUMNS");
    struct winsize size;
    int64_t n = 0;
    if (s.has_colour && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col)
        s.width = size.ws_col;
    else if (columns && str_to_i64(columns, &n) == 0 && n > 0)
        s.width = (size_t)n;
    s.width = s.width < WIDTH_MIN ? WIDTH_MIN : s.width > WIDTH_MAX ? WIDTH_MAX : s.width;
    s.has_colour = s.has_colour && !(no_colour && no_colour[0]);
    return s;
}

/* ---- reading ---- */

static double time_of(const struct json *j)
{
    int64_t us = 0;
    return clk_parse(json_get_str(j, "time", ""), &us) ? NAN : (double)us / 1e6;
}

static void add_points(struct trend *t, const struct json *list, bool is_service)
{
    for (size_t i = 0; i < json_len(list); i++) {
        struct trend_point p = {time_of(json_at(list, i)),
                                json_get_num(json_at(list, i), "value", NAN), is_service};
        if (isfinite(p.value) && isfinite(p.time_s))
            t->points[t->n_points++] = p;
    }
}

static char letter_of(const char *kind)
{
    static const struct {
        const char *kind;
        char letter;
    } LETTERS[] = {{"promotion", 'P'},
                   {"rollback", 'R'},
                   {"drift", '!'},
                   {"data", 'd'},
                   {"data refused", 'x'}};
    for (size_t i = 0; i < ARRAY_LEN(LETTERS); i++)
        if (strcmp(kind, LETTERS[i].kind) == 0)
            return LETTERS[i].letter;
    return '?';
}

static int by_time(const void *a, const void *b)
{
    double x = ((const struct trend_mark *)a)->time_s, y = ((const struct trend_mark *)b)->time_s;
    return (x > y) - (x < y);
}

static void widen(struct trend *t, double time_s)
{
    t->from_s = fmin(t->from_s, time_s);
    t->to_s = fmax(t->to_s, time_s);
}

bool trend_read(const struct json *j, struct trend *ret)
{
    const struct json *evaluations = json_get(j, "evaluations"), *service = json_get(j, "service");
    const struct json *marks = json_get(j, "marks");
    struct trend t = {.from_s = INFINITY, .to_s = -INFINITY, .low = INFINITY, .high = -INFINITY};
    t.points = xcalloc(json_len(evaluations) + json_len(service) + 1, sizeof(*t.points));
    t.marks = xcalloc(json_len(marks) + 1, sizeof(*t.marks));
    add_points(&t, evaluations, false);
    add_points(&t, service, true);
    for (size_t i = 0; i < t.n_points; i++) {
        widen(&t, t.points[i].time_s);
        t.low = fmin(t.low, t.points[i].value);
        t.high = fmax(t.high, t.points[i].value);
    }
    for (size_t i = 0; i < json_len(marks); i++) {
        const struct json *m = json_at(marks, i);
        const char *kind = json_get_str(m, "kind", "");
        double time_s = time_of(m);
        if (!isfinite(time_s))
            continue;
        t.marks[t.n_marks++] =
            (struct trend_mark){time_s, letter_of(kind), kind, json_get_str(m, "says", ""),
                                json_get_str(m, "time", "")};
        widen(&t, time_s);
    }
    if (t.n_marks)
        qsort(t.marks, t.n_marks, sizeof(*t.marks), by_time);
    t.to_s = t.to_s > t.from_s ? t.to_s : t.from_s + 1;
    double pad = t.high > t.low ? (t.high - t.low) * 0.05 : fmax(fabs(t.high) * 0.01, 1e-6);
    t.low -= pad;
    t.high += pad;
    *ret = t;
    return t.n_points > 0;
}

void trend_fini(struct trend *t)
{
    free_ptr(&t->points);
    free_ptr(&t->marks);
}

/* ---- on a terminal ---- */

static size_t column_of(const struct trend *t, double time_s, size_t columns)
{
    double share = (time_s - t->from_s) / (t->to_s - t->from_s);
    return (size_t)(share * (double)(columns - 1) + 0.5);
}

static const char *colour_of(char c)
{
    switch (c) {
    case 'P':
        return "\033[32m";
    case 'R':
    case '!':
    case 'x':
        return "\033[31m";
    case 'd':
        return "\033[34m";
    default:
        return NULL;
    }
}

static void add_mark(struct buf *out, char c, const struct trend_screen *screen)
{
    const char *colour = screen->has_colour ? colour_of(c) : NULL;
    if (colour)
        buf_addf(out, "%s%c\033[0m", colour, c);
    else
        buf_add_char(out, c);
}

static void draw_points(const struct trend *t, const struct trend_screen *s, size_t columns,
                        struct buf *out)
{
    char *cells = xmalloc(s->height * columns);
    memset(cells, ' ', s->height * columns);
    for (size_t i = 0; i < t->n_points; i++) {
        const struct trend_point *p = &t->points[i];
        double share = (t->high - p->value) / (t->high - t->low);
        size_t row = (size_t)(share * (double)(s->height - 1) + 0.5);
        char *cell = &cells[row * columns + column_of(t, p->time_s, columns)];
        *cell = p->is_service && *cell != 'o' ? '.' : 'o';
    }
    for (size_t i = 0; i < s->height; i++) {
        size_t n = columns;
        double v = t->high - (t->high - t->low) * (double)i / (double)(s->height - 1);
        while (n && cells[i * columns + n - 1] == ' ')
            n--;
        if (i % 5 == 0 || i == s->height - 1)
            buf_addf(out, "%*.5g |%.*s\n", AXIS - 2, v, (int)n, cells + i * columns);
        else
            buf_addf(out, "%*s|%.*s\n", AXIS - 1, "", (int)n, cells + i * columns);
    }
    free_ptr(&cells);
}

/* One line of marks for each kind: they may fall on one place. */
static void draw_marks(const struct trend *t, const struct trend_screen *s, size_t columns,
                       struct buf *out)
{
    static const struct {
        char letter;
        const char *name;
    } ROWS[] = {
        {'P', "promoted"}, {'R', "rolled back"}, {'!', "drift"}, {'d', "data"}, {'x', "refused"}};
    char *cells = xmalloc(columns);
    for (size_t r = 0; r < ARRAY_LEN(ROWS); r++) {
        bool is_any = false;
        memset(cells, ' ', columns);
        for (size_t i = 0; i < t->n_marks; i++) {
            if (t->marks[i].letter != ROWS[r].letter)
                continue;
            cells[column_of(t, t->marks[i].time_s, columns)] = ROWS[r].letter;
            is_any = true;
        }
        if (!is_any)
            continue;
        size_t n = columns;
        while (n && cells[n - 1] == ' ')
            n--;
        buf_addf(out, "%*s|", AXIS - 1, ROWS[r].name);
        for (size_t i = 0; i < n; i++)
            add_mark(out, cells[i], s);
        buf_add_char(out, '\n');
    }
    free_ptr(&cells);
}

/* Both ends of the axis, to the second, the minute or the day, as there is room. */
static void say_ends(const struct trend *t, size_t columns, struct buf *out)
{
    char from[CLK_RFC3339_SIZE], to[CLK_RFC3339_SIZE];
    size_t n = columns > 2 * 19 ? 19 : columns > 2 * 16 ? 16 : 10;
    clk_format((int64_t)(t->from_s * 1e6), from);
    clk_format((int64_t)(t->to_s * 1e6), to);
    from[n] = to[n] = '\0';
    buf_addf(out, "%*s%s%*s%s\n", AXIS, "", from, (int)(columns - 2 * n), "", to);
}

/* The newest marks in words, cut to the width. */
static void say_marks(const struct trend *t, const struct trend_screen *s, struct buf *out)
{
    size_t from = 0, shown = 0;
    for (size_t i = t->n_marks; i > 0 && shown < SAYS_MAX; i--) {
        shown += t->marks[i - 1].letter != 'd';
        from = i - 1;
    }
    for (size_t i = from; i < t->n_marks; i++) {
        const struct trend_mark *m = &t->marks[i];
        if (m->letter == 'd') /* the axis has them */
            continue;
        CLEANUP_FREE char *text = xasprintf("%.19s %s: %s", m->time, m->kind, m->says);
        size_t n = 0, bytes = 0;
        for (; text[bytes] && n + 2 < s->width; bytes++)
            n += ((unsigned char)text[bytes + 1] & 0xc0) != 0x80;
        add_mark(out, m->letter, s);
        buf_add_char(out, ' ');
        buf_add(out, text, bytes);
        buf_add_char(out, '\n');
    }
}

void trend_draw(const struct json *j, const struct trend_screen *screen, struct buf *out)
{
    struct trend t;
    size_t columns = screen->width - AXIS;
    const char *line = json_get_str(j, "line", ""), *metric = json_get_str(j, "metric", "");
    if (trend_read(j, &t)) {
        buf_addf(out, "%s of %s: o candidates on their test rows, . in service\n", metric, line);
        draw_points(&t, screen, columns, out);
        buf_addf(out, "%*s+", AXIS - 1, "");
        for (size_t i = 0; i < columns; i++)
            buf_add_char(out, '-');
        buf_add_char(out, '\n');
        draw_marks(&t, screen, columns, out);
        say_ends(&t, columns, out);
        say_marks(&t, screen, out);
    } else {
        buf_addf(out, "%s of %s: nothing was measured yet\n", metric, line);
    }
    trend_fini(&t);
}
