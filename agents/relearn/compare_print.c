/* A comparison as text. */
#include <math.h>
#include <string.h>

#include "agents/relearn/compare.h"

enum { NAME_WIDTH = 26, VALUE_WIDTH = 34 };

static void say_metric(const struct json *m, struct buf *out)
{
    double v = json_get_num(m, "candidate", NAN), d = json_get_num(m, "difference", NAN);
    double low = json_get_num(m, "low", NAN), high = json_get_num(m, "high", NAN);
    if (!isfinite(v)) {
        buf_addf(out, "undefined");
        return;
    }
    buf_addf(out, "%.4f", v);
    if (isfinite(d))
        buf_addf(out, " %+.4f", d);
    if (isfinite(low) && isfinite(high))
        buf_addf(out, isfinite(d) ? " [%+.4f, %+.4f]" : " [%.4f, %.4f]", low, high);
}

void compare_say(const struct json *value, struct buf *out)
{
    if (json_is_object(value)) {
        say_metric(value, out);
    } else if (json_is_string(value)) {
        buf_add_str(out, json_str(value, ""));
    } else if (json_is_number(value)) {
        buf_addf(out, "%.*g", fabs(json_num(value, 0)) >= 1e6 ? 12 : 6, json_num(value, 0));
    } else if (json_is_bool(value)) {
        buf_add_str(out, json_bool(value, false) ? "yes" : "no");
    } else {
        buf_add_str(out, "unknown");
    }
}

/* Width in characters; bytes that go on a character have none. */
static void add_padded(struct buf *out, const char *text, size_t width, bool is_last)
{
    size_t n = 0, bytes = 0;
    while (text[bytes] && (is_last || n < width || ((unsigned char)text[bytes] & 0xc0) == 0x80)) {
        n += ((unsigned char)text[bytes] & 0xc0) != 0x80;
        bytes++;
    }
    buf_add(out, text, bytes);
    for (; !is_last && n <= width; n++)
        buf_add_char(out, ' ');
}

static void print_row(const struct json *row, struct buf *out)
{
    const struct json *values = json_get(row, "values");
    int64_t best = json_get_int(row, "best", -1);
    size_t n = json_len(values);
    buf_add_str(out, "  ");
    add_padded(out, json_get_str(row, "name", ""), NAME_WIDTH, false);
    for (size_t i = 0; i < n; i++) {
        CLEANUP(buf_fini) struct buf text = {0};
        compare_say(json_at(values, i), &text);
        if ((int64_t)i == best && n > 1)
            buf_add_str(&text, " *");
        add_padded(out, text.data ? text.data : "", VALUE_WIDTH, i == n - 1);
    }
    buf_add_char(out, '\n');
}

static size_t print_section(const struct json *s, bool all, struct buf *out)
{
    const struct json *rows = json_get(s, "rows");
    size_t shown = 0;
    for (size_t i = 0; i < json_len(rows); i++) {
        const struct json *row = json_at(rows, i);
        if (!all && !json_get_bool(row, "differs", false))
            continue;
        if (!shown++)
            buf_addf(out, "%s\n", json_get_str(s, "section", ""));
        print_row(row, out);
    }
    return json_len(rows) - shown;
}

void compare_print(const struct json *document, bool all, struct buf *out)
{
    const struct json *runs = json_get(document, "runs"),
                      *sections = json_get(document, "sections");
    const struct json *unknown = json_get(document, "unknown");
    size_t equal = 0;
    buf_add_str(out, "  ");
    add_padded(out, "", NAME_WIDTH, false);
    for (size_t i = 0; i < json_len(runs); i++)
        add_padded(out, json_get_str(json_at(runs, i), "run", ""), VALUE_WIDTH,
                   i == json_len(runs) - 1);
    buf_add_char(out, '\n');
    for (size_t i = 0; i < json_len(sections); i++)
        equal += print_section(json_at(sections, i), all, out);
    if (equal)
        buf_addf(out, "equal: %zu more rows (--all)\n", equal);
    buf_add_str(out, "Metrics: the value, its difference to the champion of the time with the "
                     "interval; * the best.\n");
    for (size_t i = 0; i < json_len(unknown); i++)
        buf_addf(out, "unknown: %s\n", json_str(json_at(unknown, i), ""));
}
