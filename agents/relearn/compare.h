/* Runs beside each other: facts of the console in, one document of sections and rows out, told as
 * text or as a page.  Pure. */
#ifndef RELEARN_COMPARE_H
#define RELEARN_COMPARE_H

#include "common/json.h"

enum { COMPARE_MAX_RUNS = 16 }; /* more columns nobody reads */

/* facts: of GET /v1/runs/ID.  distances: of each run but the first, the answer of GET /v1/distance
 * from the first to it; NULL where there is none.  The document:
 *   {"runs": [{run, line, ...}], "sections": [{"section", "rows": [{"name", "values": [one for each
 *   run, null: unknown], "differs", "best": index}]}], "unknown": [what nobody measured]} */
struct json *compare_document(const struct json *const *facts, const struct json *const *distances,
                              size_t n);
/* What a value of a row says: a number, a text, "unknown", a metric with its interval. */
void compare_say(const struct json *value, struct buf *out);
/* Only what differs, unless all. */
void compare_print(const struct json *document, bool all, struct buf *out);
/* One page that asks for nothing from outside. */
void compare_html(const struct json *document, bool all, struct buf *out);
void html_add(struct buf *out, const char *text); /* escaped */

#endif
