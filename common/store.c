/* Opening.  A file that cannot be trusted is not repaired but moved aside: what is in it can be
 * built anew from the log, and half of a fold is worse than none. */
#include "common/store_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/fsx.h"
#include "common/mem.h"

enum {
    BUSY_TIMEOUT_MS = 5000,      /* for a reader's checkpoint or a backup in another process */
    CHECK_MAX_BYTES = 256 << 20, /* quick_check reads the whole file, a second for so much */
};

/* NORMAL: a power cut may lose the last commits, never the file's order; the log has them. */
static const char pragmas[] = "PRAGMA journal_mode=WAL;"
                              "PRAGMA synchronous=NORMAL;"
                              "PRAGMA foreign_keys=ON;"
                              "PRAGMA cache_size=-65536;"       /* KiB; measured best for folds */
                              "PRAGMA wal_autocheckpoint=4000;" /* pages, 16 MiB */
                              "PRAGMA trusted_schema=OFF;";

static enum err_next next_of(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_PROTOCOL:
    case SQLITE_INTERRUPT:
        return NEXT_RETRY;
    case SQLITE_CONSTRAINT:
    case SQLITE_TOOBIG:
    case SQLITE_MISMATCH:
    case SQLITE_RANGE:
        return NEXT_REJECT;
    default: /* damage, and statements that are wrong: our own mistake */
        return NEXT_FATAL;
    }
}

static bool is_damage(int rc)
{
    return (rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB;
}

int store__fail(struct store *st, int rc, const char *what, struct err *err)
{
    enum err_code code = (rc & 0xff) == SQLITE_CONSTRAINT ? ERR_CONFLICT : ERR_STORE;

    if ((rc & 0xff) == SQLITE_INTERRUPT) /* only store_limit_steps does that */
        return err_set(err, ERR_LIMIT, NEXT_REJECT, "more steps than are allowed");
    BUG_ON((rc & 0xff) == SQLITE_NOMEM);
    if (is_damage(rc)) {
        st->is_damaged = true;
        return err_set(err, code, NEXT_FATAL,
                       "%s: %s: %s; it is set aside when this process ends, and built anew",
                       st->path, what, sqlite3_errmsg(st->db));
    }
    return err_set(err, code, next_of(rc), "%s: %s: %s", st->path, what, sqlite3_errmsg(st->db));
}

int store_exec(struct store *st, const char *sql, struct err *err)
{
    int rc = EFFECT(cache, "store.exec", SQLITE_IOERR, sqlite3_exec(st->db, sql, NULL, NULL, NULL));

    return rc == SQLITE_OK ? 0 : store__fail(st, rc, "exec", err);
}

int store_begin(struct store *st, struct err *err)
{
    BUG_ON(st->in_transaction);
    if (store_exec(st, "BEGIN IMMEDIATE",
                   err)) /* waits for the lock here, not somewhere in the middle */
        return -1;
    st->in_transaction = true;
    return 0;
}

int store_commit(struct store *st, struct err *err)
{
    BUG_ON(!st->in_transaction);
    if (store_exec(st, "COMMIT", err))
        return -1;
    st->in_transaction = false;
    return 0;
}

void store_rollback(struct store *st)
{
    if (!st->in_transaction && sqlite3_get_autocommit(st->db))
        return;
    st->in_transaction = false;
    FAULT_AT(cache, "store.rollback");
    /* After some errors SQLite has rolled back by itself, and says so here: both are fine. */
    sqlite3_exec(st->db, "ROLLBACK", NULL, NULL, NULL);
}

/* --- open ------------------------------------------------------------------------------------ */

static void remove_beside(const char *path, const char *suffix)
{
    CLEANUP_FREE char *beside = xasprintf("%s%s", path, suffix);

    unlink(beside);
}

static int set_aside(const char *path, struct err *err)
{
    CLEANUP_FREE char *aside = xasprintf("%s.damaged", path);

    if (EFFECT(cache, "store.set_aside", FAULT_ERRNO, rename(path, aside)) && errno != ENOENT)
        return err_io(err, "%s: set aside: %s", path, strerrordesc_np(errno));
    remove_beside(path, "-wal"); /* a new file must not meet an old one's log */
    remove_beside(path, "-shm");
    return 0;
}

static void store_free(struct store *st)
{
    store__finalize_all(st);
    sqlite3_close(st->db);
    free(st->path);
    free(st);
}

const char *store_library(void)
{
    return sqlite3_libversion();
}

void store_close(struct store *st)
{
    CLEANUP_FREE char *damaged_path = NULL;

    if (!st)
        return;
    if (st->is_damaged)
        damaged_path = xstrdup(st->path);
    store_free(st);
    if (damaged_path) {
        struct err err;

        if (set_aside(damaged_path, &err))
            unlink(damaged_path); /* the next open checks it in any case */
    }
}

static int query_int(struct store *st, const char *sql, int64_t *ret, struct err *err)
{
    sqlite3_stmt *s = NULL;
    int rc = sqlite3_prepare_v2(st->db, sql, -1, &s, NULL);

    if (rc == SQLITE_OK) {
        rc = sqlite3_step(s);
        if (rc == SQLITE_ROW)
            *ret = sqlite3_column_int64(s, 0);
        sqlite3_finalize(s);
    }
    return rc == SQLITE_ROW ? 0 : store__fail(st, rc, sql, err);
}

/* quick_check answers "ok" or what is wrong; a damaged first page already fails the statement. */
static int check(struct store *st, struct err *err)
{
    sqlite3_stmt *s = NULL;
    const unsigned char *text;
    bool is_ok;
    int rc;

    if (fsx_size(st->path) > CHECK_MAX_BYTES)
        return 0;
    rc = sqlite3_prepare_v2(st->db, "PRAGMA quick_check(1)", -1, &s, NULL);
    if (rc != SQLITE_OK)
        return store__fail(st, rc, "check", err);
    rc = sqlite3_step(s);
    text = rc == SQLITE_ROW ? sqlite3_column_text(s, 0) : NULL;
    is_ok = text && strcmp((const char *)text, "ok") == 0;
    sqlite3_finalize(s);
    if (rc == SQLITE_ROW && !is_ok)
        rc = SQLITE_CORRUPT;
    return is_ok ? 0 : store__fail(st, rc, "check", err);
}

static int migrate_one(struct store *st, const char *sql, size_t to_version, struct err *err)
{
    CLEANUP_FREE char *set_version = xasprintf("PRAGMA user_version=%zu", to_version);

    if (store_begin(st, err))
        return -1;
    if (store_exec(st, sql, err) || store_exec(st, set_version, err) || store_commit(st, err)) {
        store_rollback(st);
        return err_wrap(err, "migration %zu", to_version);
    }
    return 0;
}

static int migrate(struct store *st, const char *const *migrations, size_t n, struct err *err)
{
    int64_t version = 0;

    if (query_int(st, "PRAGMA user_version", &version, err))
        return -1;
    if (version < 0 || (uint64_t)version > n) {
        st->is_damaged = true; /* of a newer program, or no file of ours: of no use to this one */
        return err_set(err, ERR_STORE, NEXT_FATAL, "%s: version %lld, %zu is known", st->path,
                       (long long)version, n);
    }
    for (size_t i = (size_t)version; i < n; i++)
        if (migrate_one(st, migrations[i], i + 1, err))
            return -1;
    return 0;
}

static int open_once(const char *path, const char *const *migrations, size_t n, struct store **ret,
                     bool *ret_damaged, struct err *err)
{
    struct store *st = xcalloc(1, sizeof(*st));
    int rc;

    st->path = xstrdup(path);
    FAULT_AT(cache, "store.open.before");
    rc = sqlite3_open_v2(path, &st->db,
                         SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    FAULT_AT(cache, "store.open.after");
    BUG_ON(!st->db);
    if (rc != SQLITE_OK) {
        store__fail(st, rc, "open", err);
    } else {
        sqlite3_extended_result_codes(st->db, 1);
        sqlite3_busy_timeout(st->db, BUSY_TIMEOUT_MS);
        sqlite3_db_config(st->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
        if (store_exec(st, pragmas, err) == 0 && check(st, err) == 0 &&
            migrate(st, migrations, n, err) == 0) {
            *ret = st;
            return 0;
        }
    }
    *ret_damaged = st->is_damaged;
    store_free(st);
    return -1;
}

int store_open(const char *path, const char *const *migrations, size_t n_migrations,
               struct store **ret, bool *ret_was_reset, struct err *err)
{
    bool is_damaged = false;

    if (open_once(path, migrations, n_migrations, ret, &is_damaged, err) == 0) {
        *ret_was_reset = false;
        return 0;
    }
    if (!is_damaged || set_aside(path, err) ||
        open_once(path, migrations, n_migrations, ret, &is_damaged, err))
        return -1;
    *ret_was_reset = true;
    return 0;
}
