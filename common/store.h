/* SQLite, one connection per file, WAL, STRICT tables.  The only module with sqlite3.h.  Everything
 * in such a file is a cache or a view that can be rebuilt.  Thread: one at a time per store. */
#ifndef COMMON_STORE_H
#define COMMON_STORE_H

#include "common/buf.h"
#include "common/err.h"

struct store;
struct stmt;

/* Opens or creates; runs migrations[user_version..], each in a transaction of its own.  A file that
 * is damaged, or of a newer program, is moved aside (".damaged") and a new one made, *ret_was_reset
 * tells. Damage that is found in use is an error, NEXT_FATAL, and store_close moves the file aside.
 * Errors of all functions: ERR_STORE, ERR_CONFLICT for a constraint; retry when busy or full, fatal
 * for damage and wrong SQL. */
int store_open(const char *path, const char *const *migrations, size_t n_migrations,
               struct store **ret, bool *ret_was_reset, struct err *err) WARN_UNUSED;
void store_close(struct store *st); /* what is not committed is lost; NULL is fine */
int store_exec(struct store *st, const char *sql, struct err *err) WARN_UNUSED;
/* Takes the write lock; not nested. */
int store_begin(struct store *st, struct err *err) WARN_UNUSED;
int store_commit(struct store *st, struct err *err) WARN_UNUSED;
void store_rollback(struct store *st); /* outside of a transaction: nothing */

const char *store_library(void); /* the version of SQLite that is in use */

/* Prepared statements, cached by the store for its life by their text (512 at most: SQL is fixed
 * text, values are bound). Each call gives it reset and without values, so do not prepare a text
 * while its rows are being walked. Parameters are ?1, ?2, ... */
int store_prepare(struct store *st, const char *sql, struct stmt **ret,
                  struct err *err) WARN_UNUSED;
/* One that is not kept, for questions whose shape comes from outside: SQL of fixed pieces, with
 * values bound all the same. Free it with stmt_free. */
int store_ask(struct store *st, const char *sql, struct stmt **ret, struct err *err) WARN_UNUSED;
void stmt_free(struct stmt *s); /* of store_ask alone; NULL is fine */
/* From now on statements may take so many steps of SQLite's machine together (a row takes some ten
 * to fifty), rounded up to thousands; then ERR_LIMIT (permanent). 0: as many as they need. */
void store_limit_steps(struct store *st, int64_t steps);
void stmt_bind_int(struct stmt *s, int index, int64_t v);
void stmt_bind_num(struct stmt *s, int index, double v);                 /* not finite: NULL */
void stmt_bind_str(struct stmt *s, int index, const char *v);            /* copied; NULL is NULL */
void stmt_bind_blob(struct stmt *s, int index, const void *p, size_t n); /* copied; NULL is NULL */
/* *ret_row false: done. */
int stmt_step(struct stmt *s, bool *ret_row, struct err *err) WARN_UNUSED;
int stmt_run(struct stmt *s, struct err *err) WARN_UNUSED; /* step to the end and reset */
void stmt_reset(struct stmt *s);
int64_t stmt_int(struct stmt *s, int column);
double stmt_num(struct stmt *s, int column);      /* NaN for NULL */
const char *stmt_str(struct stmt *s, int column); /* until the next step; NULL for NULL */
/* Until the next step; p is NULL for NULL alone. */
struct slice stmt_blob(struct stmt *s, int column);
bool stmt_is_null(struct stmt *s, int column);
int stmt_columns(struct stmt *s);
const char *stmt_column_name(struct stmt *s, int column);

#endif
