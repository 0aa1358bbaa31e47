/* common/store.h for the one table that the runtime's cache has: the log's rows, with transactions.
 * A crash keeps what was committed, or loses the file, finds it damaged, or loses the newest rows.
 */
#include "common/store.h"

#include <string.h>

#include "common/mem.h"
#include "tests/sim/sim.h"

enum { FILES_MAX = 2 * SIM_PROCS_MAX };

struct row {
    const char *topic;
    int64_t partition, offset;
    struct slice messages;
};
struct file {
    char path[160];
    struct row *rows;
    size_t n, cap;
    bool is_damaged;
};
enum statement { STATEMENT_INSERT = 0, STATEMENT_RANGE, STATEMENT_LAST, STATEMENTS };
struct stmt {
    struct store *st;
    enum statement what;
    struct row in;
    size_t at;
    const struct row *row;
};
struct store {
    struct file *file;
    size_t committed;
    struct stmt stmts[STATEMENTS];
};
static struct file files[FILES_MAX];
static size_t n_files;

void sim_store_reset(void)
{
    for (size_t i = 0; i < n_files; i++)
        free_ptr(&files[i].rows);
    n_files = 0;
}

void sim_store_crash(const char *instance, int how)
{
    CLEANUP_FREE char *part = xasprintf("/%s/", instance);
    for (size_t i = 0; i < n_files; i++) {
        if (!strstr(files[i].path, part))
            continue;
        if (how == 1)
            files[i].n = 0;
        else if (how == 2)
            files[i].is_damaged = true;
        else if (how == 3)
            files[i].n -= files[i].n / 3;
    }
}

int store_open(const char *path, const char *const *migrations, size_t n_migrations,
               struct store **ret, bool *ret_was_reset, struct err *err)
{
    struct store *st = xcalloc(1, sizeof(*st));
    (void)migrations;
    (void)n_migrations;
    (void)err;
    for (size_t i = 0; i < n_files && !st->file; i++)
        if (strcmp(files[i].path, path) == 0)
            st->file = &files[i];
    if (!st->file) {
        BUG_ON(n_files == FILES_MAX);
        st->file = &files[n_files++];
        *st->file = (struct file){0};
        str_copy(st->file->path, sizeof(st->file->path), path);
    }
    *ret_was_reset = st->file->is_damaged;
    if (st->file->is_damaged)
        st->file->n = 0;
    st->file->is_damaged = false;
    st->committed = st->file->n;
    *ret = st;
    return 0;
}

void store_close(struct store *st)
{
    if (!st)
        return;
    st->file->n = st->committed;
    free_ptr(&st);
}

int store_exec(struct store *st, const char *sql, struct err *err)
{
    (void)err;
    BUG_ON(strcmp(sql, "DELETE FROM log") != 0);
    st->file->n = st->committed = 0;
    return 0;
}

int store_begin(struct store *st, struct err *err)
{
    (void)err;
    st->committed = st->file->n;
    return 0;
}

int store_commit(struct store *st, struct err *err)
{
    (void)err;
    st->committed = st->file->n;
    return 0;
}

void store_rollback(struct store *st)
{
    st->file->n = st->committed;
}

int store_prepare(struct store *st, const char *sql, struct stmt **ret, struct err *err)
{
    enum statement what = str_has_prefix(sql, "INSERT")                         ? STATEMENT_INSERT
                          : str_has_suffix(sql, "ORDER BY offset DESC LIMIT 1") ? STATEMENT_LAST
                                                                                : STATEMENT_RANGE;
    (void)err;
    st->stmts[what] = (struct stmt){.st = st, .what = what};
    *ret = &st->stmts[what];
    return 0;
}

void stmt_bind_str(struct stmt *s, int index, const char *v)
{
    BUG_ON(index != 1);
    s->in.topic = v; /* the runtime's own: copied when the row is */
}

void stmt_bind_int(struct stmt *s, int index, int64_t v)
{
    *(index == 2 ? &s->in.partition : &s->in.offset) = v;
}

void stmt_bind_blob(struct stmt *s, int index, const void *p, size_t n)
{
    BUG_ON(index != 4);
    s->in.messages = (struct slice){p, n};
}

int stmt_run(struct stmt *s, struct err *err)
{
    struct file *f = s->st->file;
    (void)err;
    BUG_ON(s->what != STATEMENT_INSERT);
    f->rows = xgrow(f->rows, &f->cap, f->n + 1, sizeof(*f->rows));
    s->in.topic = record_topic(record_of_topic(s->in.topic + strlen("relearn.")));
    s->in.messages.p = arena_memdup(&sim.arena, s->in.messages.p, s->in.messages.n);
    f->rows[f->n++] = s->in;
    return 0;
}

static bool is_meant(const struct stmt *s, const struct row *r)
{
    return r->partition == s->in.partition &&
           strcmp(r->topic, s->in.topic + strlen("relearn.")) == 0 &&
           (s->what == STATEMENT_RANGE || r->offset <= s->in.offset);
}

/* Rows come in the order of their offsets: each topic's were written in it. */
int stmt_step(struct stmt *s, bool *ret_row, struct err *err)
{
    const struct file *f = s->st->file;
    (void)err;
    s->row = NULL;
    while (s->at < f->n && (!s->row || s->what == STATEMENT_LAST)) {
        const struct row *r = &f->rows[s->at++];
        if (is_meant(s, r))
            s->row = r;
    }
    *ret_row = s->row != NULL;
    return 0;
}

void stmt_reset(struct stmt *s)
{
    s->row = NULL;
}

int64_t stmt_int(struct stmt *s, int column)
{
    BUG_ON(column != 0);
    return s->row->offset;
}

struct slice stmt_blob(struct stmt *s, int column)
{
    BUG_ON(column != 1);
    return s->row->messages;
}

const char *store_library(void)
{
    return "sim";
}
