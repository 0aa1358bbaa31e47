/* The language that runs are asked for in: `metric.auc > 0.8 and trigger = drift`.  A pure core:
 * text in, a tree out, no SQL and no clock but the one passed in.
 *
 *   either  := both { "or" both }
 *   both    := one { "and" one }
 *   one     := "not" one | "(" either ")" | test
 *   test    := field ( = | != | < | <= | > | >= ) value | field ["not"] "in" "(" value, ... ")"
 *            | field ["not"] "like" text | field ( = | != ) none
 *
 * Keywords in any case.  A value is a word, a number, a quoted text ('it''s' or "..."), a time (RFC
 * 3339, a day, or a duration and "ago").  What a run does not have fits no test but `= none`.
 * Thread: any. */
#ifndef CONSOLE_FILTER_H
#define CONSOLE_FILTER_H

#include "common/err.h"
#include "common/mem.h"

enum {
    FILTER_MAX_BYTES = 4096, /* nobody types more; a program that does should ask twice */
    FILTER_MAX_TESTS = 64,   /* SQLite joins and binds far more; reading does not */
    FILTER_MAX_DEPTH = 32,   /* of parentheses and nots: the parser calls itself */
    FILTER_MAX_LIST = 100,   /* values of one `in` */
    FILTER_NAME_SIZE = 128   /* of a metric or parameter */
};

enum filter_type {
    FILTER_TEXT = 0,
    FILTER_ID,     /* a text of which the first characters are enough */
    FILTER_NUMBER, /* whole or not */
    FILTER_TIME    /* in µs since 1970 */
};
enum filter_column {
    COLUMN_NONE = 0, /* a metric or parameter, by its name */
    COLUMN_LINE,
    COLUMN_PIPELINE,
    COLUMN_RUN,
    COLUMN_TRIGGER,
    COLUMN_STATUS,
    COLUMN_DECISION,
    COLUMN_GENERATION,
    COLUMN_STARTED,
    COLUMN_FINISHED,
    COLUMN_ROWS,
    COLUMN_SECONDS,
    COLUMN_CPU_SECONDS,
    COLUMN_SNAPSHOT,
    COLUMN_MODEL,
    COLUMN_COUNT
};
struct filter_field {
    enum filter_column column;
    enum filter_type type;
    const char *name; /* "metric.auc", "param.eta"; of a column its own name */
};
struct filter_value {
    const char *text; /* FILTER_TEXT, FILTER_ID; else NULL */
    double number;
};
enum filter_op {
    OP_NONE = 0, /* is absent */
    OP_EQUAL,
    OP_LESS,
    OP_LESS_EQUAL,
    OP_MORE,
    OP_MORE_EQUAL,
    OP_LIKE, /* % any characters, _ one, in any case */
    OP_IN
};
enum filter_kind { FILTER_TEST = 0, FILTER_AND, FILTER_OR, FILTER_NOT };
struct filter {
    enum filter_kind kind;
    const struct filter *left, *right; /* FILTER_NOT: left alone */
    struct filter_field field;         /* FILTER_TEST, and what follows */
    enum filter_op op;
    const struct filter_value *values; /* one, of OP_IN some, of OP_NONE none */
    size_t n_values;
};
struct filter_sort {
    struct filter_field field;
    bool is_descending;
};

/* *ret is in *arena; NULL for a text of blanks.  Errors: ERR_INVAL "column 12: ...", with what was
 * expected and an example. */
int filter_parse(const char *text, int64_t now_us, struct arena *arena, const struct filter **ret,
                 struct err *err) WARN_UNUSED;
/* "metric.auc:desc", "line", "started:asc"; NULL: newest first. */
int filter_parse_sort(const char *text, struct arena *arena, struct filter_sort *ret,
                      struct err *err) WARN_UNUSED;

#endif
