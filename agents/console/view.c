/* The view: SQLite beside the fold, for what is looked up by id or paged through.  It is rebuilt
 * from the topics when it is missing.
 *
 * An event and the position behind it are written in one transaction, one for each turn of the
 * loop. When a write fails (a full disk) nothing more is written: the positions then say where to
 * go on after a restart, and no event is left out. As soon as the file can be written again, the
 * process asks to be started again. */
#include <stdio.h>
#include <string.h>

#include "agents/console/console_internal.h"
#include "agents/console/runs_view.h"
#include "common/fsx.h"
#include "common/log.h"
#include "common/mem.h"

static const char *const MIGRATIONS[] = {
    "CREATE TABLE event (seq INTEGER PRIMARY KEY, topic TEXT NOT NULL, id TEXT NOT NULL,"
    " key TEXT NOT NULL, cause TEXT, correlation TEXT, time_us INTEGER NOT NULL,"
    " record TEXT NOT NULL) STRICT;"
    "CREATE TABLE prediction (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
    " line TEXT NOT NULL, generation INTEGER NOT NULL, time_us INTEGER NOT NULL) STRICT;"
    "CREATE TABLE position (topic TEXT NOT NULL, partition INTEGER NOT NULL, next INTEGER NOT NULL,"
    " PRIMARY KEY (topic, partition)) STRICT, WITHOUT ROWID",
    RUNS_SCHEMA,
};
/* The first of an id is kept (the fold knows no id twice under a key; this is about all keys). */
static const char ONE_OF_EACH[] =
    "DELETE FROM event WHERE seq NOT IN (SELECT min(seq) FROM event GROUP BY id, topic)";
static const char *const INDEXES[] = {
    "CREATE UNIQUE INDEX IF NOT EXISTS event_id ON event (id, topic)", /* the first to be made */
    "CREATE INDEX IF NOT EXISTS event_cause ON event (cause)",
    "CREATE INDEX IF NOT EXISTS event_key ON event (key, seq)",
    "CREATE INDEX IF NOT EXISTS event_topic ON event (topic, seq)",
};

enum { VIEW_LOOK_MIN_MS = 500, VIEW_LOOK_MAX_MS = 60000 }; /* doubled each time */

/* True: a row that says nothing has come and gone, on disk; or only a new file will help. */
static bool can_be_written(struct store *view)
{
    static const char TRY[] = "INSERT INTO event (topic, id, key, time_us, record) "
                              "VALUES ('', '', '', 0, ''); DELETE FROM event WHERE topic=''";
    struct err err = {0};
    bool done = store_begin(view, &err) == 0 && store_exec(view, TRY, &err) == 0 &&
                store_commit(view, &err) == 0;
    if (!done)
        store_rollback(view);
    return done || err.next == NEXT_FATAL;
}

static void look_again(void *ctx)
{
    struct console *c = ctx;
    struct err err = {0};
    if (can_be_written(c->view)) {
        err_set(&err, ERR_STORE, NEXT_RETRY,
                "the view can be written again, or is made anew: what it lacks is read at the next "
                "start");
        agent_restart(c->a, &err);
        return;
    }
    c->view_look_ms =
        c->view_look_ms * 2 < VIEW_LOOK_MAX_MS ? c->view_look_ms * 2 : VIEW_LOOK_MAX_MS;
    loop_timer_start(c->view_timer, c->view_look_ms);
}

/* Numbers rise over views, too: one that is made anew begins at the time in microseconds, beyond
 * what any before has reached, so that who asks for events after a number misses none. */
static int first_seq(struct console *c, struct err *err)
{
    struct stmt *s = NULL;
    bool has_row = false;
    if (store_prepare(c->view, "SELECT coalesce(max(seq), 0) FROM event", &s, err) ||
        stmt_step(s, &has_row, err))
        return -1;
    c->next_seq = has_row ? stmt_int(s, 0) + 1 : 1;
    stmt_reset(s);
    if (c->next_seq == 1)
        c->next_seq = agent_now_ms(c->a) * 1000;
    return 0;
}

static void keep_position(struct console *c, enum record r, int partition, int64_t next)
{
    size_t n = c->n_positions[r], need = (size_t)partition + 1;
    if (need > n) {
        c->positions[r] = xgrow(c->positions[r], &c->n_positions[r], need, sizeof(**c->positions));
        for (size_t i = n; i < c->n_positions[r]; i++)
            c->positions[r][i] = (struct view_position){0};
    }
    c->positions[r][partition].next = next;
}

static int read_positions(struct console *c, struct err *err)
{
    enum { PARTITIONS_MAX = 100000 }; /* of a topic: Kafka itself goes no further */
    struct stmt *s = NULL;
    bool row = false;
    int rc;
    if (store_prepare(c->view, "SELECT topic, partition, next FROM position", &s, err))
        return -1;
    while ((rc = stmt_step(s, &row, err)) == 0 && row) {
        enum record r = record_of_topic(stmt_str(s, 0));
        int64_t partition = stmt_int(s, 1);
        if (r != RECORD_NONE && partition >= 0 && partition < PARTITIONS_MAX)
            keep_position(c, r, (int)partition, stmt_int(s, 2));
    }
    stmt_reset(s);
    return rc;
}

static int look_for_indexes(struct console *c, struct err *err)
{
    struct stmt *s = NULL;
    bool row = false;
    if (store_prepare(
            c->view, "SELECT count(*) FROM sqlite_schema WHERE type='index' AND name LIKE 'event%'",
            &s, err) ||
        stmt_step(s, &row, err))
        return -1;
    c->view_is_filled = row && stmt_int(s, 0) == (int64_t)ARRAY_LEN(INDEXES);
    stmt_reset(s);
    if (store_prepare(c->view, "SELECT is_whole FROM run_fill", &s, err) || stmt_step(s, &row, err))
        return -1;
    c->runs_are_whole = row;
    stmt_reset(s);
    return 0;
}

int view_open(struct console *c, struct err *err)
{
    bool was_reset = false;
    CLEANUP_FREE char *path = fsx_join(agent_state_dir(c->a), "view.db");
    if (store_open(path, MIGRATIONS, ARRAY_LEN(MIGRATIONS), &c->view, &was_reset, err))
        return err_wrap(err, "open the view %s", path);
    if (was_reset)
        log_warn("view.rebuilt", "path=%s reason=damaged", path);
    if (first_seq(c, err) || read_positions(c, err) || look_for_indexes(c, err))
        return err_wrap(err, "open the view %s", path);
    c->view_timer = loop_timer_new(agent_loop(c->a), look_again, c);
    return 0;
}

void view_close(struct console *c)
{
    view_flush(c);
    loop_timer_free(c->view_timer);
    c->view_timer = NULL;
    store_close(c->view);
    c->view = NULL;
    for (int r = 0; r < RECORD_COUNT; r++)
        free_ptr(&c->positions[r]);
}

/* The fold goes on without it. */
static void give_up(struct console *c, const struct err *err)
{
    store_rollback(c->view);
    c->view_in_tx = false;
    if (c->view_failed)
        return;
    log_error("view.failed", "error=%s next=what_it_lacks_is_read_after_a_restart", err->msg);
    c->view_failed = true;
    c->view_look_ms = VIEW_LOOK_MIN_MS;
    loop_timer_start(c->view_timer, c->view_look_ms);
}

/* In a transaction from here on: the end of the turn commits. */
static bool can_write(struct console *c)
{
    struct err err = {0};
    if (!c->view || c->view_failed)
        return false;
    if (c->view_in_tx)
        return true;
    if (store_begin(c->view, &err)) {
        give_up(c, &err);
        return false;
    }
    c->view_in_tx = true;
    return true;
}

static struct stmt *prepare(struct console *c, const char *sql, bool is_write)
{
    struct err err = {0};
    struct stmt *s = NULL;
    if (!c->view || (is_write && !can_write(c)))
        return NULL;
    if (store_prepare(c->view, sql, &s, &err)) {
        give_up(c, &err);
        return NULL;
    }
    return s;
}

static void run(struct console *c, struct stmt *s)
{
    struct err err = {0};
    c->view_rows++;
    if (stmt_run(s, &err))
        give_up(c, &err);
}

/* Each that moved, once, with the events before it. */
static void write_positions(struct console *c)
{
    for (int r = 0; r < RECORD_COUNT; r++)
        for (size_t i = 0; i < c->n_positions[r]; i++) {
            struct view_position *p = &c->positions[r][i];
            struct stmt *s = NULL;
            if (!p->is_changed)
                continue;
            s = prepare(c,
                        "INSERT INTO position VALUES (?1,?2,?3) ON CONFLICT DO UPDATE SET next=?3",
                        true);
            if (!s)
                return;
            stmt_bind_str(s, 1, record_topic((enum record)r));
            stmt_bind_int(s, 2, (int64_t)i);
            stmt_bind_int(s, 3, p->next);
            run(c, s);
            p->is_changed = false;
        }
    c->has_moved = false;
}

void view_flush(struct console *c)
{
    struct err err = {0};
    if (!c->view)
        return;
    if (c->has_moved)
        write_positions(c);
    if (!c->view_in_tx)
        return;
    c->view_rows = 0;
    if (store_commit(c->view, &err))
        give_up(c, &err);
    c->view_in_tx = false;
}

/* One transaction each.  Blocks the loop, for a second where a million events were read, before
 * anybody is told that the agent is ready. */
void view_filled(struct console *c)
{
    struct err err = {0};
    view_flush(c);
    for (size_t i = 0; i < ARRAY_LEN(INDEXES) && c->view && !c->view_is_filled; i++) {
        if (c->view_failed || store_exec(c->view, INDEXES[i], &err) == 0)
            continue;
        if (err.code == ERR_CONFLICT && store_exec(c->view, ONE_OF_EACH, &err) == 0 &&
            store_exec(c->view, INDEXES[i], &err) == 0)
            continue;
        give_up(c, &err);
    }
    c->view_is_filled = !c->view_failed;
    if (c->view_failed || !c->view || c->runs_are_whole)
        return;
    if (runs_make_indexes(c->view, &err) ||
        store_exec(c->view, "INSERT INTO run_fill VALUES (1)", &err))
        give_up(c, &err);
    c->runs_are_whole = !c->view_failed;
}

/* Is it what counts of its run: no rival that lost, and the first result? */
static bool counts(const struct line *l, const struct event *ev)
{
    if (ev->type == RECORD_TRAINING_FINISHED)
        return line_model(l, EV_REC(ev, training_finished)->run) == ev;
    return !line_is_void(l, ev->id);
}

void view_add_run(struct console *c, const struct line *l, const struct event *ev)
{
    struct err err = {0};
    if (!record_is_line_keyed(ev->type) || !counts(l, ev) || !can_write(c))
        return;
    c->view_rows++;
    if (runs_put(c->view, ev, &err))
        give_up(c, &err);
}

void view_add(struct console *c, const struct event *ev)
{
    struct stmt *s = prepare(c,
                             "INSERT OR IGNORE INTO event (topic, id, key, cause, correlation, "
                             "time_us, record, seq) VALUES (?1,?2,?3,?4,?5,?6,?7,?8)",
                             true);
    if (!s)
        return;
    CLEANUP(buf_fini) struct buf text = {0};
    codec_write_json(ev->type, ev->rec, &text);
    stmt_bind_str(s, 1, record_topic(ev->type));
    stmt_bind_str(s, 2, ev->id);
    stmt_bind_str(s, 3, ev->key);
    stmt_bind_str(s, 4, ev->cause);
    stmt_bind_str(s, 5, ev->correlation);
    stmt_bind_int(s, 6, ev->time_unix_us);
    stmt_bind_str(s, 7, text.data);
    stmt_bind_int(s, 8, c->next_seq++);
    run(c, s);
}

void view_add_prediction(struct console *c, const struct event *ev)
{
    const struct prediction_served *p = ev->rec;
    struct stmt *s = prepare(
        c, "INSERT OR IGNORE INTO prediction (id, line, generation, time_us) VALUES (?1,?2,?3,?4)",
        true);
    if (!s)
        return;
    stmt_bind_str(s, 1, p->prediction);
    stmt_bind_str(s, 2, p->line);
    stmt_bind_int(s, 3, p->generation);
    stmt_bind_int(s, 4, ev->time_unix_us);
    run(c, s);
    enum { TRIM_EVERY = 10000 };
    if (++c->predictions_added % TRIM_EVERY)
        return;
    s = prepare(c, "DELETE FROM prediction WHERE seq <= (SELECT max(seq) FROM prediction) - ?1",
                true);
    if (!s)
        return;
    stmt_bind_int(s, 1, CONSOLE_PREDICTIONS_KEPT);
    run(c, s);
}

int64_t view_position(struct console *c, enum record r, int partition)
{
    return (size_t)partition < c->n_positions[r] ? c->positions[r][partition].next : 0;
}

void view_set_position(struct console *c, enum record r, int partition, int64_t next)
{
    keep_position(c, r, partition, next);
    c->positions[r][partition].is_changed = c->has_moved = true;
}

bool view_find(struct console *c, const char *id, enum record *ret_record,
               char ret_key[CONSOLE_KEY_SIZE])
{
    struct err err = {0};
    bool row = false;
    struct stmt *s =
        prepare(c, "SELECT topic, key FROM event WHERE id=?1 ORDER BY seq LIMIT 1", false);
    if (!s)
        return false;
    stmt_bind_str(s, 1, id);
    bool found = stmt_step(s, &row, &err) == 0 && row;
    if (found) {
        *ret_record = record_of_topic(stmt_str(s, 0));
        str_copy(ret_key, CONSOLE_KEY_SIZE, stmt_str(s, 1));
    }
    stmt_reset(s);
    return found;
}

static bool find_prediction(struct console *c, const char *id, struct view_prediction *ret)
{
    struct err err = {0};
    bool row = false;
    struct stmt *s =
        prepare(c, "SELECT line, generation, time_us FROM prediction WHERE id=?1", false);
    if (!s)
        return false;
    stmt_bind_str(s, 1, id);
    bool found = stmt_step(s, &row, &err) == 0 && row;
    if (found) {
        str_copy(ret->line, sizeof(ret->line), stmt_str(s, 0));
        ret->generation = stmt_int(s, 1);
        ret->time_us = stmt_int(s, 2);
    }
    stmt_reset(s);
    return found;
}

bool view_find_prediction(struct console *c, const char *id, struct view_prediction *ret)
{
    if (find_prediction(c, id, ret))
        return true;
    const char *dot = strrchr(id, '.'); /* row i of a request */
    if (!dot)
        return false;
    CLEANUP_FREE char *request = xstrndup(id, (size_t)(dot - id));
    return find_prediction(c, request, ret);
}

void view_effects(struct console *c, const char *id, struct view_ids *ret)
{
    struct err err = {0};
    bool row = false;
    struct stmt *s = prepare(
        c, "SELECT id FROM event WHERE cause=?1 AND topic<>'health' ORDER BY time_us, id", false);
    ret->n = 0;
    if (!s)
        return;
    stmt_bind_str(s, 1, id);
    while (ret->n < ARRAY_LEN(ret->ids) && stmt_step(s, &row, &err) == 0 && row)
        str_copy(ret->ids[ret->n++], ID_SIZE, stmt_str(s, 0));
    stmt_reset(s);
}

static struct json *row_json(struct stmt *s)
{
    struct err err = {0};
    struct json *j = json_object();
    json_set_int(j, "seq", stmt_int(s, 0));
    json_set_str(j, "topic", stmt_str(s, 1));
    json_set_str(j, "id", stmt_str(s, 2));
    json_set_str(j, "key", stmt_str(s, 3));
    json_set_str(j, "cause", stmt_str(s, 4));
    json_set_str(j, "correlation", stmt_str(s, 5));
    json_set_time(j, "time", stmt_int(s, 6));
    struct json *record = json_parse(slice_str(stmt_str(s, 7)), "record", &err);
    if (record)
        json_set(j, "record", record);
    return j;
}

#define COLUMNS "seq, topic, id, key, cause, correlation, time_us, record"

static struct json *rows_json(struct stmt *s)
{
    struct err err = {0};
    bool row = false;
    struct json *list = json_array();
    while (stmt_step(s, &row, &err) == 0 && row)
        json_add(list, row_json(s));
    stmt_reset(s);
    return list;
}

struct json *view_events(struct console *c, const char *topic, const char *key, int64_t after,
                         int64_t limit)
{
    /* one text each, so that each has its index */
    static const char *const SQL[] = {
        "SELECT " COLUMNS " FROM event WHERE seq>?1 ORDER BY seq LIMIT ?2",
        "SELECT " COLUMNS " FROM event WHERE seq>?1 AND topic=?3 ORDER BY seq LIMIT ?2",
        "SELECT " COLUMNS " FROM event WHERE seq>?1 AND key=?4 ORDER BY seq LIMIT ?2",
        "SELECT " COLUMNS " FROM event WHERE seq>?1 AND topic=?3 AND key=?4 ORDER BY seq LIMIT ?2",
    };
    struct stmt *s = prepare(c, SQL[(topic ? 1 : 0) + (key ? 2 : 0)], false);
    if (!s)
        return json_array();
    stmt_bind_int(s, 1, after);
    stmt_bind_int(s, 2, limit);
    if (topic)
        stmt_bind_str(s, 3, topic);
    if (key)
        stmt_bind_str(s, 4, key);
    return rows_json(s);
}

/* A note that a dead letter was sent back is one of the same topic, caused by it. */
#define DEAD_LETTERS "FROM event AS e WHERE e.topic='deadletters' AND e.cause IS NULL"
#define IS_OPEN                                                                                    \
    " AND NOT EXISTS (SELECT 1 FROM event AS n WHERE n.cause=e.id AND n.topic='deadletters')"

void view_each_dead_letter(struct console *c, const struct view_dead_query *q,
                           bool (*fn)(struct console *c, const struct json *row, void *ctx),
                           void *ctx)
{
    static const char *const SQL[] = {
        "SELECT " COLUMNS " " DEAD_LETTERS
        " AND e.time_us>=?2 AND (?3 IS NULL OR e.key=?3) ORDER BY seq DESC LIMIT ?1",
        "SELECT " COLUMNS " " DEAD_LETTERS IS_OPEN
        " AND e.time_us>=?2 AND (?3 IS NULL OR e.key=?3) ORDER BY seq DESC LIMIT ?1",
    };
    struct err err = {0};
    bool row = false, goes_on = true;
    struct stmt *s = prepare(c, SQL[q->is_open], false);
    if (!s)
        return;
    stmt_bind_int(s, 1, q->limit);
    stmt_bind_int(s, 2, q->since_us);
    stmt_bind_str(s, 3, q->topic);
    while (goes_on && stmt_step(s, &row, &err) == 0 && row) {
        CLEANUP(json_freep) struct json *j = row_json(s);
        goes_on = fn(c, j, ctx);
    }
    stmt_reset(s);
}

int64_t view_open_dead_letters(struct console *c)
{
    struct err err = {0};
    bool row = false;
    struct stmt *s = prepare(c, "SELECT count(*) " DEAD_LETTERS IS_OPEN, false);
    if (!s)
        return 0;
    int64_t n = stmt_step(s, &row, &err) == 0 && row ? stmt_int(s, 0) : 0;
    stmt_reset(s);
    return n;
}

struct json *view_dead_notes(struct console *c, const char *id)
{
    struct stmt *s = prepare(
        c, "SELECT " COLUMNS " FROM event WHERE topic='deadletters' AND cause=?1 ORDER BY seq",
        false);
    if (!s)
        return json_array();
    stmt_bind_str(s, 1, id);
    return rows_json(s);
}

bool view_has(struct console *c, enum record r, const char *id)
{
    struct err err = {0};
    bool row = false;
    struct stmt *s = prepare(c, "SELECT 1 FROM event WHERE id=?1 AND topic=?2", false);
    if (!s)
        return false;
    stmt_bind_str(s, 1, id);
    stmt_bind_str(s, 2, record_topic(r));
    bool found = stmt_step(s, &row, &err) == 0 && row;
    stmt_reset(s);
    return found;
}

struct json *view_dead_letter(struct console *c, const char *id)
{
    struct err err = {0};
    bool row = false;
    struct stmt *s =
        prepare(c,
                "SELECT " COLUMNS " FROM event WHERE topic='deadletters' AND cause IS NULL "
                "AND id=?1",
                false);
    if (!s)
        return NULL;
    stmt_bind_str(s, 1, id);
    struct json *j = stmt_step(s, &row, &err) == 0 && row ? row_json(s) : NULL;
    stmt_reset(s);
    return j;
}
