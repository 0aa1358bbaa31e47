/* Prepared statements, kept by their text for the life of the store. */
#include "common/store_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/fault.h"
#include "common/mem.h"

enum {
    STORE_STATEMENTS_MAX = 512
}; /* each is some kB; more means that somebody builds SQL from data */

static size_t bucket_of(const char *sql)
{
    uint32_t h = 2166136261u; /* FNV-1a */

    for (; *sql; sql++)
        h = (h ^ (unsigned char)*sql) * 16777619u;
    return h % STORE_BUCKETS;
}

void store__finalize_all(struct store *st)
{
    for (size_t i = 0; i < STORE_BUCKETS; i++)
        for (struct stmt *s = st->statements[i], *next; s; s = next) {
            next = s->next;
            stmt_free(s);
        }
}

void stmt_reset(struct stmt *s)
{
    sqlite3_reset(s->s); /* its code repeats the last step's, which was told */
    s->is_active = false;
}

static struct stmt *prepare(struct store *st, const char *sql, unsigned flags, struct err *err)
{
    sqlite3_stmt *prepared = NULL;
    const char *rest = NULL;
    struct stmt *s;
    int rc = sqlite3_prepare_v3(st->db, sql, -1, flags, &prepared, &rest);

    if (rc != SQLITE_OK) {
        store__fail(st, rc, sql, err);
        return NULL;
    }
    BUG_ON(!prepared || rest[strspn(rest, " \n\t;")]); /* one statement, not none nor two */
    s = xcalloc(1, sizeof(*s));
    s->st = st;
    s->s = prepared;
    s->sql = xstrdup(sql);
    return s;
}

int store_ask(struct store *st, const char *sql, struct stmt **ret, struct err *err)
{
    *ret = prepare(st, sql, 0, err);
    return *ret ? 0 : -1;
}

void stmt_free(struct stmt *s)
{
    if (!s)
        return;
    sqlite3_finalize(s->s);
    free(s->sql);
    free(s);
}

static int count_steps(void *ctx)
{
    struct store *st = ctx;

    return --st->steps_left < 0; /* not 0: SQLite gives up */
}

void store_limit_steps(struct store *st, int64_t steps)
{
    enum { STEPS_AT_ONCE = 1000 };

    st->steps_left = steps / STEPS_AT_ONCE + 1;
    sqlite3_progress_handler(st->db, steps ? STEPS_AT_ONCE : 0, steps ? count_steps : NULL, st);
}

static int add(struct store *st, size_t bucket, const char *sql, struct stmt **ret, struct err *err)
{
    struct stmt *s;

    if (st->n_statements == STORE_STATEMENTS_MAX)
        return err_set(err, ERR_LIMIT, NEXT_FATAL, "%s: more than %d prepared statements", st->path,
                       STORE_STATEMENTS_MAX);
    s = prepare(st, sql, SQLITE_PREPARE_PERSISTENT, err);
    if (!s)
        return -1;
    s->next = st->statements[bucket];
    st->statements[bucket] = s;
    st->n_statements++;
    *ret = s;
    return 0;
}

int store_prepare(struct store *st, const char *sql, struct stmt **ret, struct err *err)
{
    size_t bucket = bucket_of(sql);

    for (struct stmt *s = st->statements[bucket]; s; s = s->next) {
        if (strcmp(s->sql, sql) != 0)
            continue;
        stmt_reset(s);
        sqlite3_clear_bindings(s->s);
        s->bind_rc = SQLITE_OK;
        *ret = s;
        return 0;
    }
    return add(st, bucket, sql, ret, err);
}

static void bound(struct stmt *s, int rc)
{
    BUG_ON(rc == SQLITE_RANGE);
    if (rc != SQLITE_OK && s->bind_rc == SQLITE_OK)
        s->bind_rc = rc;
}

/* A statement that still stands on a row takes no values. */
static sqlite3_stmt *to_bind(struct stmt *s)
{
    if (s->is_active)
        stmt_reset(s);
    return s->s;
}

void stmt_bind_int(struct stmt *s, int index, int64_t v)
{
    bound(s, sqlite3_bind_int64(to_bind(s), index, v));
}

void stmt_bind_num(struct stmt *s, int index, double v)
{
    bound(s, isfinite(v) ? sqlite3_bind_double(to_bind(s), index, v)
                         : sqlite3_bind_null(to_bind(s), index));
}

void stmt_bind_str(struct stmt *s, int index, const char *v)
{
    bound(s, v ? sqlite3_bind_text64(to_bind(s), index, v, strlen(v), SQLITE_TRANSIENT, SQLITE_UTF8)
               : sqlite3_bind_null(to_bind(s), index));
}

void stmt_bind_blob(struct stmt *s, int index, const void *p, size_t n)
{
    bound(s, p ? sqlite3_bind_blob64(to_bind(s), index, n ? p : "", n, SQLITE_TRANSIENT)
               : sqlite3_bind_null(to_bind(s), index));
}

int stmt_step(struct stmt *s, bool *ret_row, struct err *err)
{
    int rc = s->bind_rc;

    if (rc == SQLITE_OK)
        rc = EFFECT(cache, "store.step", SQLITE_IOERR, sqlite3_step(s->s));
    if (rc == SQLITE_ROW || rc == SQLITE_DONE) {
        s->is_active = rc == SQLITE_ROW;
        if (rc == SQLITE_DONE)
            sqlite3_reset(s->s);
        *ret_row = rc == SQLITE_ROW;
        return 0;
    }
    s->bind_rc = SQLITE_OK;
    store__fail(s->st, rc, s->sql, err);
    stmt_reset(s);
    return -1;
}

int stmt_run(struct stmt *s, struct err *err)
{
    bool has_row;

    do
        if (stmt_step(s, &has_row, err))
            return -1;
    while (has_row);
    return 0;
}

int64_t stmt_int(struct stmt *s, int column)
{
    return sqlite3_column_int64(s->s, column);
}

double stmt_num(struct stmt *s, int column)
{
    return stmt_is_null(s, column) ? NAN : sqlite3_column_double(s->s, column);
}

const char *stmt_str(struct stmt *s, int column)
{
    return (const char *)sqlite3_column_text(s->s, column);
}

struct slice stmt_blob(struct stmt *s, int column)
{
    const char *p = sqlite3_column_blob(s->s, column);
    int n = sqlite3_column_bytes(s->s, column);

    if (!p && !stmt_is_null(s, column))
        p = ""; /* SQLite has no address for an empty one */
    return (struct slice){p, (size_t)n};
}

bool stmt_is_null(struct stmt *s, int column)
{
    return sqlite3_column_type(s->s, column) == SQLITE_NULL;
}

int stmt_columns(struct stmt *s)
{
    return sqlite3_column_count(s->s);
}

const char *stmt_column_name(struct stmt *s, int column)
{
    return sqlite3_column_name(s->s, column);
}
