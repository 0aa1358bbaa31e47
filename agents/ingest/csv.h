/* CSV by RFC 4180, pushed in pieces of any size: bytes in, rows of fields out.  Comma, LF or CRLF,
 * optional UTF-8 byte order mark, quoted fields with commas, line breaks and doubled quotes.
 * Nothing is allocated for a row.  Refused, with row and line: a quote that is never closed, a
 * quote inside of an unquoted field, text behind a closing quote, NUL bytes, UTF-16, rows above
 * CSV_ROW_MAX_BYTES, too many fields.  Rows of a wrong number of fields are the caller's to judge.
 * Empty lines are passed over.  Thread: one at a time. */
#ifndef INGEST_CSV_H
#define INGEST_CSV_H

#include "common/buf.h"
#include "common/err.h"

#define CSV_ROW_MAX_BYTES ((size_t)1 << 20) /* an open quote would swallow the rest of the file */
#define CSV_MAX_FIELDS 4096

struct csv_row {
    const struct slice
        *fields; /* unquoted; blanks are kept; 32 more bytes are readable behind each */
    size_t n;
    int64_t row;       /* 0: the header; data rows from 1 */
    int64_t line;      /* where it begins, from 1 */
    struct slice text; /* of the whole row, the same however its fields are quoted: for hashes */
};
/* Everything is borrowed.  -1 with *err set ends the reading. */
typedef int (*csv_row_fn)(void *ctx, const struct csv_row *row, struct err *err);

struct csv;
struct csv *csv_new(csv_row_fn on_row, void *ctx);
void csv_free(struct csv *c); /* NULL is fine */
int csv_feed(struct csv *c, const void *p, size_t n, struct err *err) WARN_UNUSED;
int csv_end(struct csv *c, struct err *err) WARN_UNUSED; /* the last row may lack its line break */

#endif
