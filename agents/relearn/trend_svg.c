/* A trend as SVG: every text escaped, nothing from outside. */

#include "agents/relearn/compare.h"
#include "agents/relearn/trend.h"
#include "common/clk.h"

enum { WIDTH = 900, TOP = 40, PLOT_HEIGHT = 260, LEFT = 70, RIGHT = 20, MARK_ROW = 18, ROWS = 5 };

static const struct {
    char letter;
    const char *name, *colour;
} MARKS[ROWS] = {{'P', "promoted", "#080"},
                 {'R', "rolled back", "#c00"},
                 {'!', "drift", "#e80"},
                 {'d', "data", "#06c"},
                 {'x', "data refused", "#c00"}};

static double x_of(const struct trend *t, double time_s)
{
    return LEFT + (WIDTH - LEFT - RIGHT) * (time_s - t->from_s) / (t->to_s - t->from_s);
}

static double y_of(const struct trend *t, double v)
{
    return TOP + PLOT_HEIGHT * (t->high - v) / (t->high - t->low);
}

static void add_scale(const struct trend *t, struct buf *out)
{
    enum { STEPS = 4 };
    char text[CLK_RFC3339_SIZE];
    for (int i = 0; i <= STEPS; i++) {
        double v = t->low + (t->high - t->low) * i / STEPS, y = y_of(t, v);
        double time_s = t->from_s + (t->to_s - t->from_s) * i / STEPS, x = x_of(t, time_s);
        buf_addf(out,
                 "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"#ddd\"/>\n"
                 "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.5g</text>\n",
                 LEFT, y, WIDTH - RIGHT, y, LEFT - 6, y + 4, v);
        clk_format((int64_t)(time_s * 1e6), text);
        text[16] = '\0';
        buf_addf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"%s\">%s</text>\n", x,
                 TOP + PLOT_HEIGHT + ROWS * MARK_ROW + 26,
                 i == STEPS ? "end"
                 : i        ? "middle"
                            : "start",
                 text);
    }
}

static void add_marks(const struct trend *t, struct buf *out)
{
    for (size_t r = 0; r < ROWS; r++) {
        int y = TOP + PLOT_HEIGHT + 12 + (int)r * MARK_ROW;
        buf_addf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n", LEFT - 6, y + 4,
                 MARKS[r].name);
        for (size_t i = 0; i < t->n_marks; i++) {
            const struct trend_mark *m = &t->marks[i];
            double x = x_of(t, m->time_s);
            if (m->letter != MARKS[r].letter)
                continue;
            if (m->letter != 'd')
                buf_addf(out,
                         "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" stroke=\"%s\" "
                         "stroke-dasharray=\"2 3\"/>\n",
                         x, TOP, x, y, MARKS[r].colour);
            buf_addf(out, "<circle cx=\"%.1f\" cy=\"%d\" r=\"4\" fill=\"%s\"><title>", x, y,
                     MARKS[r].colour);
            html_add(out, m->time);
            buf_add_str(out, " ");
            html_add(out, m->says);
            buf_add_str(out, "</title></circle>\n");
        }
    }
}

void trend_svg(const struct json *j, struct buf *out)
{
    struct trend t;
    bool is_any = trend_read(j, &t);
    int height = TOP + PLOT_HEIGHT + ROWS * MARK_ROW + 40;
    buf_addf(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d "
        "%d\" font-family=\"sans-serif\" font-size=\"12\">\n"
        "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n<text x=\"%d\" y=\"22\" "
        "font-size=\"15\">",
        WIDTH, height, WIDTH, height, WIDTH, height, LEFT);
    html_add(out, json_get_str(j, "metric", ""));
    buf_add_str(out, " of ");
    html_add(out, json_get_str(j, "line", ""));
    buf_add_str(out, is_any ? "</text>\n" : ": nothing was measured yet</text>\n");
    if (is_any) {
        add_scale(&t, out);
        add_marks(&t, out);
        for (size_t i = 0; i < t.n_points; i++)
            buf_addf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%d\" fill=\"%s\"/>\n",
                     x_of(&t, t.points[i].time_s), y_of(&t, t.points[i].value),
                     t.points[i].is_service ? 2 : 4, t.points[i].is_service ? "#999" : "#06c");
    }
    buf_add_str(out, "</svg>\n");
    trend_fini(&t);
}
