/* A metric of a line over time, drawn: what GET /v1/trend says, on a terminal or as SVG. */
#ifndef RELEARN_TREND_H
#define RELEARN_TREND_H

#include "common/json.h"

struct trend_screen {
    size_t width, height; /* in characters */
    bool has_colour;
};
/* Of standard output: its width (COLUMNS where it has none, 80 else); colour on a terminal unless
 * NO_COLOR is set. */
struct trend_screen trend_screen(void);

/* Points and marks in the order of time. */
struct trend_point {
    double time_s, value;
    bool is_service; /* measured in service, else of a candidate */
};
struct trend_mark {
    double time_s;
    char letter; /* P promotion, R rollback, ! drift, d data, x data refused */
    const char *kind, *says, *time;
};
struct trend {
    struct trend_point *points;
    struct trend_mark *marks;
    size_t n_points, n_marks;
    double from_s, to_s, low, high; /* to_s > from_s, high > low */
};
/* Borrows the texts of j.  false: there is no value. */
bool trend_read(const struct json *j, struct trend *ret);
void trend_fini(struct trend *t);

void trend_draw(const struct json *j, const struct trend_screen *screen, struct buf *out);
void trend_svg(const struct json *j, struct buf *out);

#endif
