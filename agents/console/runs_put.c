/* Events into the rows of their runs. */
#include <math.h>
#include <string.h>

#include "agents/console/runs_view.h"
#include "common/mem.h"

/* `status` follows from what is known; see state_of in runs.c. */
const char RUNS_SCHEMA[] =
    "CREATE TABLE run (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, line TEXT, pipeline TEXT,"
    " cause TEXT, started INTEGER, finished INTEGER, rows INTEGER, seconds REAL, cpu_seconds REAL,"
    " generation INTEGER, model TEXT, snapshots TEXT, outcome TEXT, verdict TEXT,"
    " is_trained INTEGER NOT NULL DEFAULT 0, evaluation TEXT, decision TEXT, change TEXT,"
    " status TEXT GENERATED ALWAYS AS (CASE WHEN outcome IS NOT NULL THEN outcome"
    " WHEN verdict='wait' THEN 'waits for approval' WHEN verdict='again' THEN 'evaluating'"
    " WHEN verdict='promote' THEN 'deploying' WHEN verdict IS NOT NULL THEN 'closing'"
    " WHEN evaluation IS NOT NULL THEN 'deciding' WHEN is_trained THEN 'evaluating'"
    " ELSE 'training' END) VIRTUAL) STRICT;"
    "CREATE UNIQUE INDEX run_id ON run (id);"
    "CREATE TABLE run_name (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;"
    "CREATE TABLE run_value (run INTEGER NOT NULL, name INTEGER NOT NULL, value REAL NOT NULL,"
    " PRIMARY KEY (run, name)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE run_fill (is_whole INTEGER NOT NULL) STRICT";

static const char *const INDEXES[] = {
    "CREATE INDEX IF NOT EXISTS run_started ON run (started)",
    "CREATE INDEX IF NOT EXISTS run_line ON run (line, started)",
    "CREATE INDEX IF NOT EXISTS run_pipeline ON run (pipeline, started)",
    "CREATE INDEX IF NOT EXISTS run_cause ON run (cause, started)",
    "CREATE INDEX IF NOT EXISTS run_status ON run (status, started)",
    "CREATE INDEX IF NOT EXISTS run_verdict ON run (verdict, started)",
    "CREATE INDEX IF NOT EXISTS run_finished ON run (finished)",
    "CREATE INDEX IF NOT EXISTS run_generation ON run (generation)",
    "CREATE INDEX IF NOT EXISTS run_rows ON run (rows)",
    "CREATE INDEX IF NOT EXISTS run_seconds ON run (seconds)",
    "CREATE INDEX IF NOT EXISTS run_cpu_seconds ON run (cpu_seconds)",
    "CREATE INDEX IF NOT EXISTS run_model ON run (model)",
    "CREATE INDEX IF NOT EXISTS run_value_sorted ON run_value (name, value, run)",
};

int runs_make_indexes(struct store *st, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(INDEXES); i++)
        if (store_exec(st, INDEXES[i], err))
            return -1;
    return 0;
}

/* One number: of the run's row, or of a name. */
static int number_of(struct store *st, const char *insert, const char *select, const char *text,
                     int64_t *ret, struct err *err)
{
    struct stmt *s = NULL;
    bool row = false;
    if (store_prepare(st, select, &s, err))
        return -1;
    stmt_bind_str(s, 1, text);
    if (stmt_step(s, &row, err))
        return -1;
    *ret = row ? stmt_int(s, 0) : 0;
    stmt_reset(s);
    if (row)
        return 0;
    if (store_prepare(st, insert, &s, err))
        return -1;
    stmt_bind_str(s, 1, text);
    if (stmt_step(s, &row, err))
        return -1;
    *ret = stmt_int(s, 0);
    return stmt_run(s, err);
}

static int row_of(struct store *st, const char *run, int64_t *ret, struct err *err)
{
    return number_of(st, "INSERT INTO run (id) VALUES (?1) RETURNING seq",
                     "SELECT seq FROM run WHERE id=?1", run, ret, err);
}

static int put_values(struct store *st, int64_t row, const char *family,
                      const struct named_value *values, size_t n, struct err *err)
{
    static const char CLEAR[] = "DELETE FROM run_value WHERE run=?1 AND name IN "
                                "(SELECT id FROM run_name WHERE substr(name, 1, length(?2))=?2)";
    struct stmt *s = NULL;
    if (store_prepare(st, CLEAR, &s, err))
        return -1;
    stmt_bind_int(s, 1, row);
    stmt_bind_str(s, 2, family);
    if (stmt_run(s, err))
        return -1;
    for (size_t i = 0; i < n; i++) {
        int64_t name = 0;
        CLEANUP_FREE char *full = xconcat(family, values[i].name, "");
        if (!isfinite(values[i].value))
            continue;
        if (number_of(st, "INSERT INTO run_name (name) VALUES (?1) RETURNING id",
                      "SELECT id FROM run_name WHERE name=?1", full, &name, err) ||
            store_prepare(st, "INSERT OR REPLACE INTO run_value VALUES (?1,?2,?3)", &s, err))
            return -1;
        stmt_bind_int(s, 1, row);
        stmt_bind_int(s, 2, name);
        stmt_bind_num(s, 3, values[i].value);
        if (stmt_run(s, err))
            return -1;
    }
    return 0;
}

/* ---- by topic ---- */

static int put_requested(struct store *st, const struct event *ev, struct err *err)
{
    const struct training_planned *p = ev->rec;
    const char *slash = strchr(p->line, '/');
    CLEANUP_FREE char *pipeline =
        xstrndup(p->line, slash ? (size_t)(slash - p->line) : strlen(p->line));
    CLEANUP(buf_fini) struct buf snapshots = {0};
    struct stmt *s = NULL;
    for (size_t i = 0; i < p->snapshots.n; i++)
        buf_addf(&snapshots, " %s", p->snapshots.items[i].snapshot);
    int64_t row = 0;
    if (row_of(st, ev->id, &row, err) ||
        store_prepare(st,
                      "UPDATE run SET line=?2, pipeline=?3, cause=?4, started=?5, rows=?6, "
                      "snapshots=?7 WHERE seq=?1",
                      &s, err))
        return -1;
    stmt_bind_int(s, 1, row);
    stmt_bind_str(s, 2, p->line);
    stmt_bind_str(s, 3, pipeline);
    stmt_bind_str(s, 4, p->trigger);
    stmt_bind_int(s, 5, ev->time_unix_us);
    stmt_bind_int(s, 6, p->rows);
    stmt_bind_str(s, 7, snapshots.data);
    return stmt_run(s, err);
}

static int put_closed(struct store *st, const struct event *ev, struct err *err)
{
    const struct training_planned *p = ev->rec;
    struct stmt *s = NULL;
    int64_t row = 0;
    if (row_of(st, p->run, &row, err) ||
        store_prepare(st, "UPDATE run SET outcome=?2, finished=?3 WHERE seq=?1", &s, err))
        return -1;
    stmt_bind_int(s, 1, row);
    stmt_bind_str(s, 2, p->outcome);
    stmt_bind_int(s, 3, ev->time_unix_us);
    return stmt_run(s, err);
}

static int put_model(struct store *st, const struct training_finished *m, struct err *err)
{
    struct stmt *s = NULL;
    int64_t row = 0;
    if (row_of(st, m->run, &row, err) ||
        store_prepare(st,
                      "UPDATE run SET model=?2, seconds=?3, cpu_seconds=?4, is_trained=1 "
                      "WHERE seq=?1",
                      &s, err))
        return -1;
    stmt_bind_int(s, 1, row);
    stmt_bind_str(s, 2, m->model && m->model[0] ? m->model : NULL);
    stmt_bind_num(s, 3, m->seconds);
    stmt_bind_num(s, 4, m->cpu_seconds);
    if (stmt_run(s, err))
        return -1;
    return put_values(st, row, "param.", m->params.items, m->params.n, err);
}

static int put_text(struct store *st, const char *sql, const char *run, const char *id,
                    const char *text, int64_t number, int64_t *ret_row, struct err *err)
{
    struct stmt *s = NULL;
    if (row_of(st, run, ret_row, err) || store_prepare(st, sql, &s, err))
        return -1;
    stmt_bind_int(s, 1, *ret_row);
    stmt_bind_str(s, 2, id);
    stmt_bind_str(s, 3, text);
    stmt_bind_int(s, 4, number);
    return stmt_run(s, err);
}

static int put_evaluation(struct store *st, const struct event *ev, struct err *err)
{
    const struct model_evaluated *e = ev->rec;
    struct arena arena = {0};
    struct named_value *values = arena_alloc(&arena, (e->metrics.n + 1) * sizeof(*values));
    size_t n = 0;
    int64_t row = 0;
    for (size_t i = 0; i < e->metrics.n; i++)
        if (strcmp(e->metrics.items[i].slice, "all") == 0)
            values[n++] =
                (struct named_value){e->metrics.items[i].metric, e->metrics.items[i].candidate};
    int rc = put_text(st, "UPDATE run SET evaluation=?2 WHERE seq=?1 AND ?3 IS NULL AND ?4=0",
                      e->run, ev->id, NULL, 0, &row, err);
    rc = rc ? rc : put_values(st, row, "metric.", values, n, err);
    arena_fini(&arena);
    return rc;
}

int runs_put(struct store *st, const struct event *ev, struct err *err)
{
    int64_t row = 0;
    if (ev->type == RECORD_TRAINING_PLANNED) {
        const struct training_planned *p = ev->rec;
        if (strcmp(p->kind, "requested") == 0)
            return put_requested(st, ev, err);
        return strcmp(p->kind, "closed") == 0 && p->run ? put_closed(st, ev, err) : 0;
    }
    if (ev->type == RECORD_TRAINING_FINISHED)
        return put_model(st, ev->rec, err);
    if (ev->type == RECORD_MODEL_EVALUATED)
        return put_evaluation(st, ev, err);
    if (ev->type == RECORD_GATE_DECIDED) {
        const struct gate_decided *d = ev->rec;
        return !d->run || !d->run[0] || strcmp(d->verdict, "already") == 0
                   ? 0
                   : put_text(st, "UPDATE run SET decision=?2, verdict=?3 WHERE seq=?1 AND ?4=0",
                              d->run, ev->id, d->verdict, 0, &row, err);
    }
    if (ev->type == RECORD_DEPLOYMENT_CHANGED) {
        const struct deployment_changed *d = ev->rec;
        return !d->run || !d->run[0] || strcmp(d->kind, "changed") != 0
                   ? 0
                   : put_text(st,
                              "UPDATE run SET change=?2, generation=?4 "
                              "WHERE seq=?1 AND ?3 IS NULL",
                              d->run, ev->id, NULL, d->generation, &row, err);
    }
    return 0;
}
