/* Which index is walked.
 *
 * A test that few runs fit is found by its own index, and what fits is sorted.  Otherwise runs are
 * walked in the order that was asked for, along the index of that order, until a page is full; for
 * the usual order, newest first, along that of a line, trigger or status where one is asked for.
 * SQLite is told which: it cannot know what a bound value fits.
 *
 * Runs that have no value to be sorted by come last, newest first ("behind").  Between equals the
 * one that was read later comes first, or last when the order rises. */
#include <stdio.h>
#include <string.h>

#include "agents/console/runs_sql.h"
#include "agents/console/runs_view.h"
#include "common/base64.h"
#include "common/json.h"

enum {
    MANY_RUNS = 30000,                    /* at most for three tests or more */
    FEW_RUNS = 2000,                      /* found by their own index and sorted: 2 ms */
    PARTS_MAX = FILTER_MAX_TESTS * 2 + 1, /* that must all hold (`!=` is two), and the line */
};
static const int64_t STEPS_MAX = 200000000; /* some seconds: many times a million runs */

struct cursor {
    bool is_given, is_behind;
    int64_t seq, started;
    struct filter_value key;
    char *text; /* owns key.text */
};
struct search {
    struct sql q;
    struct filter_sort sort;
    const struct filter *parts[PARTS_MAX];
    size_t n_parts;
    const struct filter *few; /* the part that few runs fit; NULL */
    struct cursor cursor;
    char digest[12]; /* of the question: a cursor goes on with its own */
    bool is_behind;
    int64_t left; /* of the page */
};

static bool is_usual_order(const struct search *s)
{
    return s->sort.field.column == COLUMN_STARTED;
}

/* Those of which many runs have the same value go by time among themselves. */
static bool has_two_keys(enum filter_column column)
{
    return column == COLUMN_LINE || column == COLUMN_PIPELINE || column == COLUMN_TRIGGER ||
           column == COLUMN_STATUS || column == COLUMN_DECISION;
}

/* ---- the question ---- */

static void digest_question(const struct runs_query *q, char out[12])
{
    const char *const texts[] = {q->line, q->filter, q->sort};
    uint32_t h = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        for (const char *p = texts[i] ? texts[i] : ""; *p; p++)
            h = (h ^ (unsigned char)*p) * 16777619u;
        h = (h ^ 0xffu) * 16777619u;
    }
    snprintf(out, 12, "%08x", h);
}

static void flatten(struct search *s, const struct filter *f)
{
    if (!f)
        return;
    if (f->kind == FILTER_AND) {
        flatten(s, f->left);
        flatten(s, f->right);
        return;
    }
    BUG_ON(s->n_parts == PARTS_MAX);
    s->parts[s->n_parts++] = f;
}

static const struct filter *line_part(const char *line, struct arena *arena)
{
    bool is_segment = strchr(line, '/') != NULL;
    struct filter *f = arena_alloc(arena, sizeof(*f));
    struct filter_value *v = arena_alloc(arena, sizeof(*v));
    v->text = line;
    *f = (struct filter){.kind = FILTER_TEST, .op = OP_EQUAL, .values = v, .n_values = 1};
    f->field = (struct filter_field){is_segment ? COLUMN_LINE : COLUMN_PIPELINE, FILTER_TEXT,
                                     is_segment ? "line" : "pipeline"};
    return f;
}

/* ---- cursors: [digest, behind, seq, started, key] as JSON, in Base64 for addresses ---- */

static char *write_cursor(const struct search *s, const struct cursor *c)
{
    CLEANUP(json_freep) struct json *j = json_array();
    CLEANUP(buf_fini) struct buf text = {0}, out = {0};
    json_add_str(j, s->digest);
    json_add_int(j, c->is_behind);
    json_add_int(j, c->seq);
    json_add_int(j, c->started);
    if (c->key.text)
        json_add_str(j, c->key.text);
    else
        json_add_num(j, c->key.number);
    json_write(j, 0, false, &text);
    base64_encode(buf_slice(&text), &out);
    char *p = buf_take(&out);
    for (char *at = p; *at; at++)
        *at = *at == '+' ? '-' : *at == '/' ? '_' : *at;
    p[strcspn(p, "=")] = '\0';
    return p;
}

static int read_cursor(struct search *s, const char *text, struct err *err)
{
    CLEANUP(buf_fini) struct buf standard = {0}, bytes = {0};
    struct err ignored = {0};
    for (const char *p = text; *p; p++)
        buf_add_char(&standard, (char)(*p == '-' ? '+' : *p == '_' ? '/' : *p));
    while (standard.len % 4)
        buf_add_char(&standard, '=');
    CLEANUP(json_freep) struct json *j = NULL;
    if (base64_decode(buf_slice(&standard), &bytes) == 0)
        j = json_parse(buf_slice(&bytes), "cursor", &ignored);
    const struct json *key = json_at(j, 4);
    bool is_whole = json_is_array(j) && json_len(j) == 5 && json_is_number(json_at(j, 1)) &&
                    json_is_number(json_at(j, 2)) && json_is_number(json_at(j, 3));
    if (!is_whole || (!json_is_string(key) && !json_is_number(key)))
        return err_inval(err, "cursor: this is none; give the one that came with a run, or none to "
                              "begin with the first");
    if (strcmp(json_str(json_at(j, 0), ""), s->digest) != 0)
        return err_inval(err, "cursor: it goes with another line, filter or sort; give the same "
                              "again, or no cursor to begin with the first");
    s->cursor = (struct cursor){.is_given = true,
                                .is_behind = json_int(json_at(j, 1), 0) != 0,
                                .seq = json_int(json_at(j, 2), 0),
                                .started = json_int(json_at(j, 3), 0)};
    s->cursor.text = xstrdup(json_str(key, NULL));
    s->cursor.key = (struct filter_value){s->cursor.text, json_num(key, 0)};
    return 0;
}

/* ---- which index ---- */

/* How many runs fit a part, `most` at most; -1: it has no index. */
static int64_t count_fitting(struct search *s, const struct filter *f, int most)
{
    struct sql *q = &s->q;
    bool row = false;
    sql_reset(q);
    q->sorted_name = NULL;
    buf_add_str(&q->text, "SELECT count(*) FROM (");
    if (!sql_source(q, f))
        return -1;
    buf_addf(&q->text, " LIMIT %d)", most);
    struct stmt *st = sql_ask(q);
    if (!st)
        return -1;
    int64_t n = stmt_step(st, &row, q->err) == 0 && row ? stmt_int(st, 0) : -1;
    q->has_failed = q->has_failed || n < 0;
    stmt_free(st);
    return n;
}

/* The part that the fewest runs fit, with fewer than `most`: how many; `most` when there is none.
 */
static int64_t find_least(struct search *s, int most, const struct filter **ret)
{
    int64_t least = most;
    for (size_t i = 0; i < s->n_parts && !s->q.has_failed; i++) {
        int64_t n = count_fitting(s, s->parts[i], most);
        if (n < 0 || n >= least)
            continue;
        least = n;
        *ret = s->parts[i];
    }
    return least;
}

static double count_all(struct search *s)
{
    struct stmt *st = NULL;
    bool row = false;
    if (store_prepare(s->q.st, "SELECT max(seq) FROM run", &st, s->q.err) ||
        stmt_step(st, &row, s->q.err)) {
        s->q.has_failed = true;
        return 0;
    }
    double n = row ? (double)stmt_int(st, 0) : 0;
    stmt_reset(st);
    return n;
}

/* With three tests or more a walk may be long before a page is full: then more are found by one and
 * sorted, if that looks like fewer rows than the walk, where each other test lets a quarter
 * through. */
static void choose(struct search *s)
{
    const struct filter *part = NULL;
    double walk = (double)s->left;
    if (find_least(s, FEW_RUNS, &s->few) < FEW_RUNS || s->n_parts < 3 || s->q.has_failed)
        return;
    double n = (double)find_least(s, MANY_RUNS, &part);
    walk *= count_all(s) / n; /* if only this one had to fit */
    for (size_t i = 1; i < s->n_parts && i < 8; i++)
        walk *= 4;
    if (part && n < walk)
        s->few = part;
}

/* The index of (column, started) that a part with one value allows; NULL. */
static const char *usual_index(const struct search *s)
{
    for (size_t i = 0; i < s->n_parts; i++) {
        const struct filter *f = s->parts[i];
        if (f->kind == FILTER_TEST && f->op == OP_EQUAL && has_two_keys(f->field.column))
            return sql_column(f->field.column);
    }
    return "started";
}

/* ---- the statement ---- */

static void add_from(struct search *s)
{
    struct sql *q = &s->q;
    bool by_name = s->sort.field.column == COLUMN_NONE && !s->is_behind;
    if (s->few) {
        buf_add_str(&q->text, " FROM (");
        q->sorted_name = NULL;
        sql_source(q, s->few);
        buf_add_str(&q->text, ") p CROSS JOIN run r ON r.seq=p.seq");
        if (by_name)
            buf_add_str(&q->text, " CROSS JOIN run_value d ON d.run=r.seq");
    } else if (by_name) {
        buf_add_str(&q->text, " FROM run_value d INDEXED BY run_value_sorted"
                              " CROSS JOIN run r ON r.seq=d.run");
    } else {
        buf_addf(&q->text, " FROM run r INDEXED BY run_%s",
                 s->is_behind || is_usual_order(s) ? usual_index(s)
                                                   : sql_column(s->sort.field.column));
    }
}

static const char *key_of(const struct search *s, char out[40])
{
    if (s->is_behind)
        return "r.started";
    if (s->sort.field.column == COLUMN_NONE)
        return "d.value";
    snprintf(out, 40, "r.%s", sql_column(s->sort.field.column));
    return out;
}

static bool is_of_row(const struct filter *f)
{
    if (f->kind == FILTER_TEST)
        return f->field.column != COLUMN_NONE;
    return is_of_row(f->left) && (!f->right || is_of_row(f->right));
}

static void add_part(struct sql *q, const struct filter *f)
{
    buf_add_str(&q->text, " AND ");
    sql_condition(q, f, true);
}

static void add_where(struct search *s, const char *key, const char *seq)
{
    struct sql *q = &s->q;
    const struct cursor *c = &s->cursor;
    bool falls = s->is_behind || s->sort.is_descending;
    buf_addf(&q->text, " WHERE r.started IS NOT NULL");
    if (s->sort.field.column == COLUMN_NONE) {
        buf_add_str(&q->text, s->is_behind ? " AND NOT EXISTS (SELECT 1 FROM run_value v WHERE "
                                             "v.run=r.seq AND v.name="
                                           : " AND (d.name=");
        sql_bind_number(q, (double)sql_name(q, s->sort.field.name));
        buf_add_char(&q->text, ')');
        q->sorted_name = s->is_behind ? NULL : s->sort.field.name;
    } else {
        buf_addf(&q->text, " AND r.%s IS %sNULL", sql_column(s->sort.field.column),
                 s->is_behind ? "" : "NOT ");
    }
    for (size_t i = 0; i < s->n_parts; i++) /* what the row itself says is looked at first */
        if (is_of_row(s->parts[i]))
            add_part(q, s->parts[i]);
    for (size_t i = 0; i < s->n_parts; i++)
        if (!is_of_row(s->parts[i]))
            add_part(q, s->parts[i]);
    if (!c->is_given || c->is_behind != s->is_behind)
        return;
    bool two = !s->is_behind && has_two_keys(s->sort.field.column);
    buf_addf(&q->text, " AND (%s,%s%s) %s (", key, two ? "r.started," : "", seq, falls ? "<" : ">");
    sql_bind(q, s->is_behind ? (struct filter_value){.number = (double)c->started} : c->key);
    buf_add_char(&q->text, ',');
    if (two) {
        sql_bind_number(q, (double)c->started);
        buf_add_char(&q->text, ',');
    }
    sql_bind_number(q, (double)c->seq);
    buf_add_char(&q->text, ')');
}

static void write_statement(struct search *s)
{
    struct sql *q = &s->q;
    char text[40];
    const char *key = key_of(s, text);
    const char *seq = strcmp(key, "d.value") == 0 ? "d.run" : "r.seq";
    const char *way = s->is_behind || s->sort.is_descending ? "DESC" : "ASC";
    sql_reset(q);
    buf_addf(&q->text,
             "SELECT r.line, r.id, r.evaluation, r.decision, r.change, r.seq, r.started, %s", key);
    add_from(s);
    add_where(s, key, seq);
    buf_addf(&q->text, " ORDER BY %s %s", key, way);
    if (!s->is_behind && has_two_keys(s->sort.field.column))
        buf_addf(&q->text, ", r.started %s", way);
    buf_addf(&q->text, ", %s %s LIMIT ", seq, way);
    sql_bind_number(q, (double)s->left);
}

static int give_page(struct search *s, runs_fn fn, void *ctx)
{
    bool row = false;
    int rc;
    write_statement(s);
    struct stmt *st = sql_ask(&s->q);
    if (!st)
        return -1;
    while ((rc = stmt_step(st, &row, s->q.err)) == 0 && row) {
        bool is_text = s->sort.field.type == FILTER_TEXT || s->sort.field.type == FILTER_ID;
        struct cursor here = {
            .is_behind = s->is_behind, .seq = stmt_int(st, 5), .started = stmt_int(st, 6)};
        if (s->is_behind || !is_text)
            here.key.number = stmt_num(st, 7);
        else
            here.key.text = stmt_str(st, 7);
        CLEANUP_FREE char *cursor = write_cursor(s, &here);
        fn(ctx, &(struct runs_found){stmt_str(st, 0), stmt_str(st, 1), stmt_str(st, 2),
                                     stmt_str(st, 3), stmt_str(st, 4), cursor});
        s->left--;
    }
    stmt_free(st);
    return rc;
}

static int ask(struct search *s, runs_fn fn, void *ctx)
{
    choose(s);
    s->is_behind = s->cursor.is_given && s->cursor.is_behind;
    if (s->q.has_failed || give_page(s, fn, ctx))
        return -1;
    if (s->is_behind || s->left <= 0 || is_usual_order(s))
        return 0;
    s->is_behind = true;
    return give_page(s, fn, ctx);
}

int runs_find(struct store *st, const struct runs_query *q, runs_fn fn, void *ctx, struct err *err)
{
    struct arena arena = {0};
    const struct filter *f = NULL;
    struct search s = {.q = {.st = st, .err = err}, .left = q->limit};
    digest_question(q, s.digest);
    int rc = filter_parse(q->filter ? q->filter : "", q->now_us, &arena, &f, err);
    rc = rc ? rc : filter_parse_sort(q->sort, &arena, &s.sort, err);
    rc = rc || !q->cursor ? rc : read_cursor(&s, q->cursor, err);
    if (rc == 0) {
        flatten(&s, q->line ? line_part(q->line, &arena) : NULL);
        flatten(&s, f);
        store_limit_steps(st, STEPS_MAX);
        rc = ask(&s, fn, ctx);
        store_limit_steps(st, 0);
    }
    if (rc && err->code == ERR_LIMIT)
        err_set(
            err, ERR_LIMIT, NEXT_REJECT,
            "filter: too many runs would have to be looked at; add a line, or started > 7d ago");
    sql_fini(&s.q);
    free_ptr(&s.cursor.text);
    arena_fini(&arena);
    return rc;
}
