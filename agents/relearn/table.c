#include "agents/relearn/table.h"

#include <string.h>
#include <strings.h>

struct reader {
    const char *path, *p, *end, *start;
    struct arena *arena;
    size_t line;
};

/* One field; *ret_last tells that the record ends with it. */
static int read_quoted(struct reader *r, const char **ret, struct err *err)
{
    CLEANUP(buf_fini) struct buf b = {0};
    size_t began = r->line;
    for (r->p++; r->p < r->end; r->p++) {
        if (*r->p == '\n')
            r->line++;
        if (*r->p != '"') {
            buf_add_char(&b, *r->p);
        } else if (r->p + 1 < r->end && r->p[1] == '"') {
            buf_add_char(&b, '"');
            r->p++;
        } else {
            r->p++;
            *ret = arena_strndup(r->arena, b.data ? b.data : "", b.len);
            return 0;
        }
    }
    return err_inval(err, "%s:%zu: a quote is opened and never closed", r->path, began);
}

static int read_field(struct reader *r, const char **ret, bool *ret_last, struct err *err)
{
    if (r->p < r->end && *r->p == '"') {
        if (read_quoted(r, ret, err))
            return -1;
    } else {
        const char *from = r->p;
        while (r->p < r->end && *r->p != ',' && *r->p != '\n' && *r->p != '\r')
            r->p++;
        *ret = arena_strndup(r->arena, from, (size_t)(r->p - from));
    }
    if (r->p < r->end && *r->p == ',') {
        r->p++;
        *ret_last = false;
        return 0;
    }
    if (r->p < r->end && *r->p != '\n' && *r->p != '\r')
        return err_inval(err, "%s:%zu: text after a closing quote", r->path, r->line);
    if (r->p < r->end && *r->p == '\r')
        r->p++;
    if (r->p < r->end && *r->p == '\n')
        r->p++;
    r->line++;
    *ret_last = true;
    return 0;
}

static int read_record(struct reader *r, const char **cells, size_t cap, size_t *ret_n,
                       struct err *err)
{
    bool last = false;
    size_t n = 0, line = r->line;
    while (!last) {
        if (n == cap)
            return err_inval(err, "%s:%zu: more than %zu fields", r->path, line, cap);
        if (read_field(r, &cells[n++], &last, err))
            return -1;
    }
    *ret_n = n;
    return 0;
}

static bool skip_empty_line(struct reader *r)
{
    bool is_crlf = *r->p == '\r' && r->p + 1 < r->end && r->p[1] == '\n';
    if (*r->p != '\n' && !is_crlf)
        return false;
    r->p += is_crlf ? 2 : 1;
    r->line++;
    return true;
}

/* Cells are C strings: a NUL byte would cut one short in silence. */
static int check_bytes(const struct reader *r, struct err *err)
{
    const char *nul = memchr(r->p, '\0', (size_t)(r->end - r->p));
    size_t line = 1;
    if (!nul)
        return 0;
    for (const char *p = r->p; p < nul; p++)
        line += *p == '\n';
    return err_inval(err, "%s:%zu: a NUL byte", r->path, line);
}

static int read_rows(struct table *t, struct reader *r, struct err *err)
{
    size_t cap_cells = 0, cap_records = 0, n_cells = 0, n = 0;
    while (r->p < r->end) {
        const char *from = r->p;
        size_t line = r->line;
        if (skip_empty_line(r))
            continue;
        t->cells = xgrow(t->cells, &cap_cells, n_cells + t->n_columns, sizeof(*t->cells));
        if (read_record(r, t->cells + n_cells, t->n_columns, &n, err))
            return -1;
        if (n != t->n_columns)
            return err_inval(err, "%s:%zu: %zu fields, the header has %zu", r->path, line, n,
                             t->n_columns);
        n_cells += n;
        t->records = xgrow(t->records, &cap_records, t->rows + 1, sizeof(*t->records));
        t->records[t->rows++] = (struct slice){from, (size_t)(r->p - from)};
    }
    return 0;
}

int table_open(const char *path, struct table *ret, struct err *err)
{
    struct table t = {0};
    if (fsx_map_open(path, &t.map, err))
        return -1;
    struct reader r = {.path = path, .p = t.map.p, .arena = &t.arena, .line = 1};
    r.end = r.p + t.map.n;
    if (t.map.n >= 3 && memcmp(r.p, "\xEF\xBB\xBF", 3) == 0)
        r.p += 3;
    r.start = r.p;
    t.names = xcalloc(TABLE_MAX_COLUMNS, sizeof(*t.names));
    int rc = r.p == r.end ? err_inval(err, "%s: the file is empty", path) : check_bytes(&r, err);
    if (!rc)
        rc = read_record(&r, t.names, TABLE_MAX_COLUMNS, &t.n_columns, err);
    t.header = (struct slice){r.start, (size_t)(r.p - r.start)};
    if (rc || read_rows(&t, &r, err)) {
        table_close(&t);
        return -1;
    }
    *ret = t;
    return 0;
}

void table_close(struct table *t)
{
    free_ptr(&t->names);
    free_ptr(&t->cells);
    free_ptr(&t->records);
    arena_fini(&t->arena);
    fsx_map_close(&t->map);
    *t = (struct table){0};
}

int table_column(const struct table *t, const char *name)
{
    for (size_t i = 0; i < t->n_columns; i++)
        if (strcmp(t->names[i], name) == 0)
            return (int)i;
    return -1;
}

const char *table_cell(const struct table *t, size_t row, size_t column)
{
    return t->cells[row * t->n_columns + column];
}

bool table_is_missing(const char *cell)
{
    static const char *const WORDS[] = {"", "na", "n/a", "nan", "null", "?"};
    for (size_t i = 0; i < ARRAY_LEN(WORDS); i++)
        if (strcasecmp(cell, WORDS[i]) == 0)
            return true;
    return false;
}
