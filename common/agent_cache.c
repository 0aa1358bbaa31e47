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

/* Messages that follow each other in a partition are one row: a row for each cost twice what it
 * takes to decode and fold it.  Rows are written when one has so many bytes, and at each commit. */
enum { ROW_BYTES = 64 << 10 };
/* Messages of one transaction while everything is read for the first time: each commit writes every
 * page that it touched. About 5 MB. */
enum { RESTORE_COMMIT_MESSAGES = 10000 };

static const char *const MIGRATIONS[] = {
    "CREATE TABLE log (topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,"
    " timestamp_ms INTEGER NOT NULL, key BLOB, value BLOB, headers BLOB NOT NULL,"
    " PRIMARY KEY (topic, partition, offset)) STRICT, WITHOUT ROWID",
    /* another form: what was kept is read again */
    "DROP TABLE log;"
    "CREATE TABLE log (topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,"
    " messages BLOB NOT NULL, PRIMARY KEY (topic, partition, offset)) STRICT, WITHOUT ROWID",
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

static void put_row(struct agent *a, const struct cache_row *row)
{
    struct err err = {0};
    struct stmt *s = NULL;
    if ((!a->cache_in_tx && store_begin(a->cache, &err)) ||
        store_prepare(a->cache, "INSERT OR REPLACE INTO log VALUES (?1,?2,?3,?4)", &s, &err)) {
        give_up(a, &err);
        return;
    }
    a->cache_in_tx = true;
    stmt_bind_str(s, 1, row->topic);
    stmt_bind_int(s, 2, row->partition);
    stmt_bind_int(s, 3, row->offset);
    stmt_bind_blob(s, 4, row->messages.data, row->messages.len);
    if (stmt_run(s, &err))
        give_up(a, &err);
}

void agent__cache_put_rows(struct agent *a)
{
    for (struct cache_row *row = a->cache_rows, *next; row; row = next) {
        next = row->next;
        if (a->cache)
            put_row(a, row);
        buf_fini(&row->messages);
        row->next = NULL;
    }
    a->cache_rows = NULL;
}

void agent__cache_add(struct agent *a, struct input *in, const struct bus_message *m)
{
    struct cache_row *row = &in->parts[m->partition].row;
    if (!a->cache)
        return;
    if (row->messages.len >= ROW_BYTES)
        agent__cache_put_rows(a);
    if (row->messages.len == 0) {
        row->topic = in->topic;
        row->partition = m->partition;
        row->offset = row->last = m->offset;
        row->next = a->cache_rows;
        a->cache_rows = row;
    }
    agent__pack(m, row->last, &row->messages);
    row->last = m->offset;
    a->cache_messages++;
}

static void commit(struct agent *a)
{
    struct err err = {0};
    agent__cache_put_rows(a);
    if (!a->cache || !a->cache_in_tx)
        return;
    if (a->moving) /* read again after a crash, and then moved: the cache passes over it */
        return;
    a->cache_in_tx = false;
    a->cache_messages = 0;
    if (EFFECT(cache, "agent.cache.commit", FAULT_ERR(&err), store_commit(a->cache, &err)))
        give_up(a, &err);
}

void agent__cache_flush(struct agent *a)
{
    if (a->is_ready || a->cache_messages >= RESTORE_COMMIT_MESSAGES)
        commit(a);
}

void agent__cache_close(struct agent *a)
{
    commit(a);
    store_close(a->cache);
    a->cache = NULL;
}

/* False: one cannot be decoded yet, or the row is damaged: from there on the log is read. */
static bool replay_row(struct agent *a, struct input *in, int partition, int64_t offset,
                       struct slice messages)
{
    struct bus_message m;
    m.topic = in->topic;
    m.partition = partition;
    while (messages.n > 0) {
        if (!agent__unpack(&messages, offset, &m))
            return false;
        offset = m.offset;
        agent__on_message(a, &m);
        if (in->parts[partition].next == offset)
            return false;
    }
    return true;
}

int agent__cache_restore(struct agent *a, struct input *in, int partition, struct err *err)
{
    struct stmt *s = NULL;
    agent__cache_put_rows(a); /* of a partition that went and is back */
    if (!a->cache)
        return 0;
    if (store_prepare(a->cache,
                      "SELECT offset, messages FROM log WHERE topic=?1 AND partition=?2 "
                      "ORDER BY offset",
                      &s, err))
        return -1;
    stmt_bind_str(s, 1, in->topic);
    stmt_bind_int(s, 2, partition);
    a->is_reading_cache = true;
    bool row = false;
    int rc;
    while ((rc = stmt_step(s, &row, err)) == 0 && row)
        if (!replay_row(a, in, partition, stmt_int(s, 0), stmt_blob(s, 1)))
            break;
    a->is_reading_cache = false;
    stmt_reset(s);
    return rc;
}

/* Is it the message that a row has at this offset? */
static bool is_in_row(int64_t offset, struct slice messages, const struct bus_message *m)
{
    struct bus_message kept;
    while (agent__unpack(&messages, offset, &kept) && kept.offset <= m->offset) {
        offset = kept.offset;
        if (offset == m->offset)
            return kept.value_n == m->value_n &&
                   (m->value_n == 0 || memcmp(kept.value, m->value, m->value_n) == 0);
    }
    return true; /* it says nothing of it */
}

bool agent__cache_matches(struct agent *a, const struct bus_message *m)
{
    struct stmt *s = NULL;
    struct err err = {0};
    bool row = false, same = true;
    agent__cache_put_rows(a);
    if (!a->cache || store_prepare(a->cache,
                                   "SELECT offset, messages FROM log WHERE topic=?1 AND "
                                   "partition=?2 AND offset<=?3 ORDER BY offset DESC LIMIT 1",
                                   &s, &err))
        return true;
    stmt_bind_str(s, 1, m->topic);
    stmt_bind_int(s, 2, m->partition);
    stmt_bind_int(s, 3, m->offset);
    if (stmt_step(s, &row, &err) == 0 && row)
        same = is_in_row(stmt_int(s, 0), stmt_blob(s, 1), m);
    stmt_reset(s);
    return same;
}

void agent__cache_reset(struct agent *a)
{
    struct err err = {0};
    if (!a->cache)
        return;
    commit(a);
    if (a->cache && store_exec(a->cache, "DELETE FROM log", &err))
        give_up(a, &err);
}
