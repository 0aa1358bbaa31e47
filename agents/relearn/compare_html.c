/* A comparison as one page: no scripts, nothing from outside, every text escaped. */
#include <math.h>
#include <string.h>

#include "agents/relearn/compare.h"

enum { PLOT_WIDTH = 640, PLOT_ROW = 22, PLOT_LEFT = 150 };

static const char HEAD[] =
    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
    "'unsafe-inline'\">\n<meta name=\"viewport\" content=\"width=device-width\">\n"
    "<title>Runs compared</title>\n<style>\n"
    "body{font:14px/1.4 sans-serif;margin:2em;color:#222;background:#fff}\n"
    "table{border-collapse:collapse;margin:0 0 1.5em}\n"
    "th,td{padding:.2em .8em;text-align:left;border-bottom:1px solid #ddd;vertical-align:top}\n"
    "td.best{font-weight:bold}\ntr.equal{color:#888}\n"
    "td.unknown{color:#a60}\ncode{font-family:monospace}\n"
    "svg text{font:12px sans-serif;fill:#222}\n</style>\n</head>\n<body>\n";

void html_add(struct buf *out, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '&':
            buf_add_str(out, "&amp;");
            break;
        case '<':
            buf_add_str(out, "&lt;");
            break;
        case '>':
            buf_add_str(out, "&gt;");
            break;
        case '"':
            buf_add_str(out, "&quot;");
            break;
        case '\'':
            buf_add_str(out, "&#39;");
            break;
        default:
            buf_add_char(out, *text);
        }
    }
}

/* ---- tables ---- */

static void add_cell(const struct json *row, size_t i, struct buf *out)
{
    const struct json *v = json_at(json_get(row, "values"), i);
    CLEANUP(buf_fini) struct buf text = {0};
    compare_say(v, &text);
    bool is_best = json_get_int(row, "best", -1) == (int64_t)i;
    buf_addf(out, "<td%s>",
             json_is_null(v) ? " class=\"unknown\""
             : is_best       ? " class=\"best\""
                             : "");
    html_add(out, text.data ? text.data : "");
    buf_add_str(out, "</td>");
}

static void add_table(const struct json *section, const struct json *runs, bool all,
                      struct buf *out)
{
    const struct json *rows = json_get(section, "rows");
    bool is_open = false;
    for (size_t i = 0; i < json_len(rows); i++) {
        const struct json *row = json_at(rows, i);
        bool differs = json_get_bool(row, "differs", false);
        if (!differs && !all)
            continue;
        if (!is_open) {
            buf_add_str(out, "<h2>");
            html_add(out, json_get_str(section, "section", ""));
            buf_add_str(out, "</h2>\n<table>\n<tr><th></th>");
            for (size_t k = 0; k < json_len(runs); k++)
                buf_addf(out, "<th>%zu</th>", k + 1);
            buf_add_str(out, "</tr>\n");
            is_open = true;
        }
        buf_addf(out, "<tr%s><th>", differs ? "" : " class=\"equal\"");
        html_add(out, json_get_str(row, "name", ""));
        buf_add_str(out, "</th>");
        for (size_t k = 0; k < json_len(runs); k++)
            add_cell(row, k, out);
        buf_add_str(out, "</tr>\n");
    }
    if (is_open)
        buf_add_str(out, "</table>\n");
}

/* ---- values of a row as points on a line: those of one metric share a scale ---- */

static void range_of(const struct json *values, double *low, double *high)
{
    *low = INFINITY;
    *high = -INFINITY;
    for (size_t i = 0; i < json_len(values); i++) {
        double v = json_get_num(json_at(values, i), "candidate", NAN);
        double champion = json_get_num(json_at(values, i), "champion", NAN);
        *low = fmin(*low, fmin(v, champion));
        *high = fmax(*high, fmax(v, champion));
    }
    double pad = (*high - *low) * 0.08;
    pad = pad > 0 ? pad : fmax(fabs(*low) * 0.01, 1e-6);
    *low -= pad;
    *high += pad;
}

static double place(double v, double low, double high)
{
    return PLOT_LEFT + (PLOT_WIDTH - PLOT_LEFT - 10) * (v - low) / (high - low);
}

static void add_points(const struct json *row, struct buf *out)
{
    const struct json *values = json_get(row, "values");
    size_t n = json_len(values);
    double low, high;
    range_of(values, &low, &high);
    if (!(high > low) || !isfinite(high - low))
        return;
    buf_addf(out, "<h3>");
    html_add(out, json_get_str(row, "name", ""));
    buf_addf(out, "</h3>\n<svg width=\"%d\" height=\"%zu\" role=\"img\">\n", PLOT_WIDTH,
             n * PLOT_ROW + 20);
    for (size_t i = 0; i < n; i++) {
        const struct json *m = json_at(values, i);
        double v = json_get_num(m, "candidate", NAN), champion = json_get_num(m, "champion", NAN);
        size_t y = i * PLOT_ROW + 12;
        buf_addf(out, "<text x=\"4\" y=\"%zu\">%zu: ", y + 4, i + 1);
        if (!isfinite(v)) {
            buf_add_str(out, "unknown</text>\n");
            continue;
        }
        buf_addf(out, "%.4f</text>\n", v);
        if (isfinite(champion))
            buf_addf(out,
                     "<line x1=\"%.1f\" y1=\"%zu\" x2=\"%.1f\" y2=\"%zu\" stroke=\"#999\"/>\n"
                     "<circle cx=\"%.1f\" cy=\"%zu\" r=\"4\" fill=\"#fff\" stroke=\"#999\"/>\n",
                     place(champion, low, high), y, place(v, low, high), y,
                     place(champion, low, high), y);
        buf_addf(out, "<circle cx=\"%.1f\" cy=\"%zu\" r=\"5\" fill=\"#06c\"/>\n",
                 place(v, low, high), y);
    }
    buf_addf(out,
             "<text x=\"%d\" y=\"%zu\">%.4f</text><text x=\"%d\" y=\"%zu\" "
             "text-anchor=\"end\">%.4f</text>\n</svg>\n",
             PLOT_LEFT, n * PLOT_ROW + 16, low, PLOT_WIDTH - 4, n * PLOT_ROW + 16, high);
}

static void add_plots(const struct json *sections, struct buf *out)
{
    for (size_t i = 0; i < json_len(sections); i++) {
        const struct json *s = json_at(sections, i), *rows = json_get(s, "rows");
        if (strcmp(json_get_str(s, "section", ""), "metrics") != 0 || !json_len(rows))
            continue;
        buf_add_str(out, "<h2>metrics, drawn</h2>\n<p>Filled: the candidate of the run. Open: the "
                         "champion of the time, on the same rows.</p>\n");
        for (size_t k = 0; k < json_len(rows); k++)
            add_points(json_at(rows, k), out);
    }
}

void compare_html(const struct json *document, bool all, struct buf *out)
{
    const struct json *runs = json_get(document, "runs"),
                      *sections = json_get(document, "sections");
    const struct json *unknown = json_get(document, "unknown");
    buf_add_str(out, HEAD);
    buf_add_str(out, "<h1>Runs compared</h1>\n<ol>\n");
    for (size_t i = 0; i < json_len(runs); i++) {
        const struct json *r = json_at(runs, i);
        buf_add_str(out, "<li><code>");
        html_add(out, json_get_str(r, "run", ""));
        buf_add_str(out, "</code> of ");
        html_add(out, json_get_str(r, "line", ""));
        buf_add_str(out, ", planned ");
        html_add(out, json_get_str(r, "planned", "unknown"));
        buf_add_str(out, "</li>\n");
    }
    buf_add_str(out, "</ol>\n");
    for (size_t i = 0; i < json_len(sections); i++)
        add_table(json_at(sections, i), runs, all, out);
    buf_add_str(out, "<p>Metrics: the value, its difference to the champion of the time, and the "
                     "interval of that; bold is the best.</p>\n");
    add_plots(sections, out);
    buf_add_str(out, "<h2>unknown</h2>\n<ul>\n");
    for (size_t i = 0; i < json_len(unknown); i++) {
        buf_add_str(out, "<li>");
        html_add(out, json_str(json_at(unknown, i), ""));
        buf_add_str(out, "</li>\n");
    }
    buf_add_str(out, "</ul>\n</body>\n</html>\n");
}
