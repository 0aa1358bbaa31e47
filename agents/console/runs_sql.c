#include "agents/console/runs_sql.h"

#include <stdlib.h>
#include <string.h>

void sql_reset(struct sql *q)
{
    buf_reset(&q->text);
    q->n = 0;
}

void sql_fini(struct sql *q)
{
    buf_fini(&q->text);
    free_ptr(&q->values);
    q->n = q->cap = 0;
}

void sql_bind(struct sql *q, struct filter_value v)
{
    q->values = xgrow(q->values, &q->cap, q->n + 1, sizeof(*q->values));
    q->values[q->n++] = v;
    buf_addf(&q->text, "?%zu", q->n);
}

void sql_bind_number(struct sql *q, double v)
{
    sql_bind(q, (struct filter_value){.number = v});
}

int64_t sql_name(struct sql *q, const char *name)
{
    struct stmt *s = NULL;
    bool row = false;
    if (store_prepare(q->st, "SELECT id FROM run_name WHERE name=?1", &s, q->err)) {
        q->has_failed = true;
        return 0;
    }
    stmt_bind_str(s, 1, name);
    if (stmt_step(s, &row, q->err))
        q->has_failed = true;
    int64_t id = row ? stmt_int(s, 0) : 0;
    stmt_reset(s);
    return id;
}

const char *sql_column(enum filter_column column)
{
    static const char *const NAMES[COLUMN_COUNT] = {
        [COLUMN_LINE] = "line",
        [COLUMN_PIPELINE] = "pipeline",
        [COLUMN_RUN] = "id",
        [COLUMN_TRIGGER] = "cause",
        [COLUMN_STATUS] = "status",
        [COLUMN_DECISION] = "verdict",
        [COLUMN_STARTED] = "started",
        [COLUMN_GENERATION] = "generation",
        [COLUMN_FINISHED] = "finished",
        [COLUMN_ROWS] = "rows",
        [COLUMN_SECONDS] = "seconds",
        [COLUMN_CPU_SECONDS] = "cpu_seconds",
        [COLUMN_MODEL] = "model",
        [COLUMN_SNAPSHOT] = "snapshots",
    };
    return NAMES[column];
}

/* r.line and so on; of a metric or parameter what gives its value. */
static void add_field(struct sql *q, const struct filter_field *f)
{
    if (f->column != COLUMN_NONE) {
        buf_addf(&q->text, "r.%s", sql_column(f->column));
    } else if (q->sorted_name && strcmp(q->sorted_name, f->name) == 0) {
        buf_add_str(&q->text, "d.value");
    } else {
        buf_add_str(&q->text, "(SELECT v.value FROM run_value v WHERE v.run=r.seq AND v.name=");
        sql_bind_number(q, (double)sql_name(q, f->name));
        buf_add_char(&q->text, ')');
    }
}

/* ---- one test ---- */

struct side { /* what a test compares: a field of r, or the value of a row of run_value */
    const struct filter_field *field;
    const char *fixed; /* NULL: the field */
};

static void add_side(struct sql *q, const struct side *side)
{
    if (side->fixed)
        buf_add_str(&q->text, side->fixed);
    else
        add_field(q, side->field);
}

/* The first characters are enough: from the text to the last that begins so. */
static void add_prefix(struct sql *q, const struct side *side, struct filter_value v)
{
    buf_add_char(&q->text, '(');
    add_side(q, side);
    buf_add_str(&q->text, ">=");
    sql_bind(q, v);
    buf_add_str(&q->text, " AND ");
    add_side(q, side);
    buf_add_str(&q->text, "<=");
    sql_bind(q, v);
    buf_add_str(&q->text, "||char(1114111))"); /* the last character there is */
}

static void add_equal(struct sql *q, const struct side *side, struct filter_value v)
{
    if (side->field->column == COLUMN_SNAPSHOT) { /* " first second third" */
        buf_add_str(&q->text, "instr(r.snapshots, ' ' || ");
        sql_bind(q, v);
        buf_add_str(&q->text, ")>0");
    } else if (side->field->type == FILTER_ID) {
        add_prefix(q, side, v);
    } else {
        add_side(q, side);
        buf_add_char(&q->text, '=');
        sql_bind(q, v);
    }
}

static void add_list(struct sql *q, const struct side *side, const struct filter *f)
{
    bool is_by_parts = side->field->type == FILTER_ID;
    buf_add_char(&q->text, '(');
    if (!is_by_parts) {
        add_side(q, side);
        buf_add_str(&q->text, " IN (");
    }
    for (size_t i = 0; i < f->n_values; i++) {
        if (i)
            buf_add_str(&q->text, is_by_parts ? " OR " : ",");
        if (is_by_parts)
            add_equal(q, side, f->values[i]);
        else
            sql_bind(q, f->values[i]);
    }
    buf_add_str(&q->text, is_by_parts ? ")" : "))");
}

static void add_test(struct sql *q, const struct side *side, const struct filter *f)
{
    static const char *const SIGNS[] = {[OP_LESS] = "<",
                                        [OP_LESS_EQUAL] = "<=",
                                        [OP_MORE] = ">",
                                        [OP_MORE_EQUAL] = ">=",
                                        [OP_LIKE] = " LIKE "};
    if (f->op == OP_EQUAL) {
        add_equal(q, side, f->values[0]);
    } else if (f->op == OP_IN) {
        add_list(q, side, f);
    } else {
        add_side(q, side);
        if (f->op == OP_NONE) {
            buf_add_str(&q->text, " IS NULL");
            return;
        }
        buf_add_str(&q->text, SIGNS[f->op]);
        sql_bind(q, f->values[0]);
    }
}

/* ---- all of it ---- */

void sql_condition(struct sql *q, const struct filter *f, bool at_top)
{
    const struct side side = {&f->field, NULL};
    switch (f->kind) {
    case FILTER_TEST:
        buf_add_char(&q->text, '(');
        add_test(q, &side, f);
        buf_add_str(&q->text, at_top ? ")" : ") IS TRUE");
        return;
    case FILTER_NOT:
        buf_add_str(&q->text, "NOT (");
        sql_condition(q, f->left, false);
        buf_add_char(&q->text, ')');
        return;
    case FILTER_AND:
    case FILTER_OR:
        buf_add_char(&q->text, '(');
        sql_condition(q, f->left, false);
        buf_add_str(&q->text, f->kind == FILTER_AND ? " AND " : " OR ");
        sql_condition(q, f->right, false);
        buf_add_char(&q->text, ')');
        return;
    }
}

bool sql_source(struct sql *q, const struct filter *f)
{
    if (f->kind != FILTER_TEST || f->op == OP_NONE || f->op == OP_LIKE ||
        f->field.column == COLUMN_SNAPSHOT)
        return false;
    if (f->field.column != COLUMN_NONE) {
        const struct side side = {&f->field, NULL};
        buf_add_str(&q->text, "SELECT r.seq AS seq FROM run r WHERE ");
        add_test(q, &side, f);
        return true;
    }
    const struct side side = {&f->field, "v.value"};
    buf_add_str(&q->text, "SELECT v.run AS seq FROM run_value v WHERE v.name=");
    sql_bind_number(q, (double)sql_name(q, f->field.name));
    buf_add_str(&q->text, " AND ");
    add_test(q, &side, f);
    return true;
}

struct stmt *sql_ask(struct sql *q)
{
    struct stmt *s = NULL;
    if (q->has_failed || store_ask(q->st, q->text.data, &s, q->err))
        return NULL;
    for (size_t i = 0; i < q->n; i++) {
        int at = (int)i + 1;
        if (q->values[i].text)
            stmt_bind_str(s, at, q->values[i].text);
        else
            stmt_bind_num(s, at, q->values[i].number);
    }
    return s;
}
