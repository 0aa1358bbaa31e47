/* A local copy of the control topics that this instance has folded, so that a restart does not read
 * them over the network again.  It is only ever a copy: it may be deleted at any time, and what is
 * folded from it is what would be folded from the log.  One folder per cluster id. */
#include <string.h>

#include "common/agent_internal.h"
#include "common/fault.h"
#include "common/fsx.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/store.h"

/* Rows of one transaction while everything is read for the first time: each commit writes every
 * page that it touched, and there is a page for each partition of each topic. About 10 MB. */
enum { RESTORE_COMMIT_ROWS = 10000 };

static const char *const MIGRATIONS[] = {
    "CREATE TABLE log (topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,"
    " timestamp_ms INTEGER NOT NULL, key BLOB, value BLOB, headers BLOB NOT NULL,"
    " PRIMARY KEY (topic, partition, offset)) STRICT, WITHOUT ROWID",
};

int agent__cache_open(struct agent *a, struct err *err)
{
    if (fsx_mkdirs(a->state_dir, err))
        return -1;
    CLEANUP_FREE char *path = fsx_join(a->state_dir, "cache.db");
    bool was_reset = false;
    if (store_open(path, MIGRATIONS, ARRAY_LEN(MIGRATIONS), &a->cache, &was_reset, err))
        return err_wrap(err, "open the cache %s", path);
    if (was_reset)
        log_warn("cache.rebuilt", "path=%s reason=damaged", path);
    return 0;
}

/* A cache that cannot be written is given up for this run; the log has everything. */
static void give_up(struct agent *a, const struct err *err)
{
    log_warn("cache.given_up", "error=%s", err->msg);
    store_rollback(a->cache);
    store_close(a->cache);
    a->cache = NULL;
    a->cache_in_tx = false;
}

/* Headers as name-length, name, value-length, value; lengths 32-bit in host order: a file of this
 * machine. */
static void pack_headers(const struct bus_message *m, struct buf *out)
{
    for (size_t i = 0; i < m->n_headers; i++) {
        uint32_t name_n = (uint32_t)strlen(m->headers[i].name) + 1,
                 value_n = (uint32_t)m->headers[i].n;
        buf_add(out, &name_n, sizeof(name_n));
        buf_add(out, m->headers[i].name, name_n);
        buf_add(out, &value_n, sizeof(value_n));
        buf_add(out, m->headers[i].value, value_n);
    }
}

static size_t unpack_headers(struct slice in, struct bus_header *headers)
{
    size_t n = 0, at = 0;
    while (n < BUS_MAX_HEADERS && at + sizeof(uint32_t) <= in.n) {
        uint32_t name_n, value_n;
        memcpy(&name_n, in.p + at, sizeof(name_n));
        at += sizeof(name_n);
        if (name_n == 0 || at + name_n + sizeof(value_n) > in.n || in.p[at + name_n - 1] != '\0')
            break; /* damaged */
        headers[n].name = in.p + at;
        at += name_n;
        memcpy(&value_n, in.p + at, sizeof(value_n));
        at += sizeof(value_n);
        if (at + value_n > in.n)
            break;
        headers[n].value = in.p + at;
        headers[n++].n = value_n;
        at += value_n;
    }
    return n;
}

void agent__cache_add(struct agent *a, const struct bus_message *m)
{
    if (!a->cache)
        return;
    struct err err = {0};
    struct stmt *s = NULL;
    if ((!a->cache_in_tx && store_begin(a->cache, &err)) ||
        store_prepare(a->cache, "INSERT OR REPLACE INTO log VALUES (?1,?2,?3,?4,?5,?6,?7)", &s,
                      &err)) {
        give_up(a, &err);
        return;
    }
    a->cache_in_tx = true;
    CLEANUP(buf_fini) struct buf headers = {0};
    pack_headers(m, &headers);
    stmt_bind_str(s, 1, m->topic);
    stmt_bind_int(s, 2, m->partition);
    stmt_bind_int(s, 3, m->offset);
    stmt_bind_int(s, 4, m->timestamp_ms);
    stmt_bind_blob(s, 5, m->key, m->key_n);
    stmt_bind_blob(s, 6, m->value, m->value_n);
    stmt_bind_blob(s, 7, headers.len ? headers.data : "", headers.len);
    a->cache_rows++;
    if (stmt_run(s, &err))
        give_up(a, &err);
}

static void commit(struct agent *a)
{
    struct err err = {0};
    if (!a->cache || !a->cache_in_tx)
        return;
    if (a->moving) /* read again after a crash, and then moved: the cache passes over it */
        return;
    a->cache_in_tx = false;
    a->cache_rows = 0;
    if (EFFECT(cache, "agent.cache.commit", FAULT_ERR(&err), store_commit(a->cache, &err)))
        give_up(a, &err);
}

void agent__cache_flush(struct agent *a)
{
    if (a->is_ready || a->cache_rows >= RESTORE_COMMIT_ROWS)
        commit(a);
}

void agent__cache_close(struct agent *a)
{
    commit(a);
    store_close(a->cache);
    a->cache = NULL;
}

/* False: it cannot be decoded yet, and has to be read from the log. */
static bool replay_row(struct agent *a, struct input *in, int partition, struct stmt *s)
{
    struct slice key = stmt_blob(s, 2), value = stmt_blob(s, 3);
    struct bus_message m = {.topic = in->topic,
                            .partition = partition,
                            .offset = stmt_int(s, 0),
                            .timestamp_ms = stmt_int(s, 1)};
    m.key = stmt_is_null(s, 2) ? NULL : key.p;
    m.key_n = key.n;
    m.value = stmt_is_null(s, 3) ? NULL : value.p;
    m.value_n = value.n;
    m.n_headers = unpack_headers(stmt_blob(s, 4), m.headers);
    agent__on_message(a, &m);
    return in->parts[partition].next != m.offset;
}

int agent__cache_restore(struct agent *a, struct input *in, int partition, struct err *err)
{
    struct stmt *s = NULL;
    if (!a->cache)
        return 0;
    if (store_prepare(a->cache,
                      "SELECT offset, timestamp_ms, key, value, headers FROM log WHERE topic=?1 "
                      "AND partition=?2 ORDER BY offset",
                      &s, err))
        return -1;
    stmt_bind_str(s, 1, in->topic);
    stmt_bind_int(s, 2, partition);
    a->is_reading_cache = true;
    bool row = false;
    int rc;
    while ((rc = stmt_step(s, &row, err)) == 0 && row)
        if (!replay_row(a, in, partition, s))
            break;
    a->is_reading_cache = false;
    stmt_reset(s);
    return rc;
}

bool agent__cache_matches(struct agent *a, const struct bus_message *m)
{
    struct stmt *s = NULL;
    struct err err = {0};
    bool row = false, same = true;
    if (!a->cache ||
        store_prepare(a->cache,
                      "SELECT value FROM log WHERE topic=?1 AND partition=?2 AND offset=?3", &s,
                      &err))
        return true;
    stmt_bind_str(s, 1, m->topic);
    stmt_bind_int(s, 2, m->partition);
    stmt_bind_int(s, 3, m->offset);
    if (stmt_step(s, &row, &err) == 0 && row) {
        struct slice value = stmt_blob(s, 0);
        same = value.n == m->value_n && (value.n == 0 || memcmp(value.p, m->value, value.n) == 0);
    }
    stmt_reset(s);
    return same;
}

void agent__cache_reset(struct agent *a)
{
    if (!a->cache)
        return;
    commit(a);
    struct err err = {0};
    if (a->cache && store_exec(a->cache, "DELETE FROM log", &err))
        give_up(a, &err);
}
