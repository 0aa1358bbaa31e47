/* A CSV file in memory, for command lines: header, records, fields as text.  RFC 4180; the agents
 * read data with ingest's streaming reader, which is another thing. */
#ifndef RELEARN_TABLE_H
#define RELEARN_TABLE_H

#include "common/buf.h"
#include "common/err.h"
#include "common/fsx.h"
#include "common/mem.h"

#define TABLE_MAX_COLUMNS 4096
#define TABLE_MAX_BYTES ((size_t)4 << 30)

struct table {
    size_t rows, n_columns;
    const char **names; /* n_columns */
    const char **cells; /* rows x n_columns, NUL-terminated */
    struct slice
        *records; /* rows: the raw bytes with their line end, to be copied into other files */
    struct slice header; /* raw, with its line end */
    struct fsx_map map;
    struct arena arena;
};
/* Errors name the file and the line. */
int table_open(const char *path, struct table *ret, struct err *err) WARN_UNUSED;
void table_close(struct table *t);
int table_column(const struct table *t, const char *name); /* -1 when there is none */
const char *table_cell(const struct table *t, size_t row, size_t column);
bool table_is_missing(const char *cell); /* empty, NA, NaN, null, ? */

#endif
