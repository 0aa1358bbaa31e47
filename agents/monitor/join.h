/* Which row a label is about.  Rows that wait for labels are found by the prediction's id; labels
 * that come before their prediction are kept for a while; ids that have been are remembered for a
 * while.
 *
 * A record's id is "<base>", or "<base>:<i>" when it begins at row i of a request that became
 * several records; a row is "<record>.<i>", or "<record>" when it is the only one; "<base>.<i>"
 * counts through all records of a request.  Everything is bounded.  Pure; thread: one at a time. */
#ifndef MONITOR_JOIN_H
#define MONITOR_JOIN_H

#include <uthash.h>

#include "common/buf.h"

enum row_state {
    ROW_OPEN = 0,
    ROW_LABELLED,
    ROW_UNUSABLE /* labelled with what the model does not know */
};

/* Rows of one record that are in one window. */
struct piece {
    struct piece *same;   /* next one of the same base */
    struct piece *next;   /* next one of the same window */
    void *window;         /* the owner's */
    int64_t first;        /* row within the request */
    int64_t record_first; /* first row of its record */
    size_t n, k;          /* rows; outputs of each */
    bool is_single;       /* the record has one row */
    int64_t served_unix_ms;
    double *p;         /* n x k */
    float *y;          /* n: class or value */
    uint8_t *state;    /* n: enum row_state */
    UT_hash_handle hh; /* of the first one of its base */
    char base[];
};

struct early {                        /* a label whose prediction has not come */
    struct early *same, *same_before; /* of the same base, in the order of their coming */
    struct early *same_last;          /* of the first one: the last of them */
    struct early *newer, *older;
    int64_t row; /* -1: the only one */
    int64_t offset, time_unix_ms, observed_unix_ms;
    const char *value;
    UT_hash_handle hh;
    char base[]; /* then the value */
};

struct join;

struct join *join_new(size_t max_early, size_t max_seen);
void join_free(struct join *j); /* and every piece */

/* Splits a row's id; *ret_row -1: the only row of its record. */
void join_row_id(const char *text, struct slice *ret_base, int64_t *ret_row);

/* Rows [from, from + n) of the record, of `rows` that it has; outputs are copied. */
struct piece *join_add(struct join *j, const char *prediction, size_t from, size_t n, size_t rows,
                       size_t k, const double *outputs);
/* Its window has been judged: it is freed, and its record remembered as by join_note(..., 0). */
void join_over(struct join *j, struct piece *p);
void join_remove(struct join *j, struct piece *p); /* frees it without a trace */
size_t join_rows(const struct join *j);            /* in all pieces */

enum join_found {
    JOIN_NONE = 0, /* not known (yet) */
    JOIN_ROW,
    JOIN_NO_ROW, /* the prediction has no such row */
    JOIN_OVER,   /* it was known, and its window has been judged */
    JOIN_BEFORE  /* likewise, and the label had its part in that */
};
enum join_found join_find(struct join *j, const char *row, int64_t label_time_ms,
                          struct piece **ret, size_t *ret_row);

/* Remembers that a record was here.  judged_unix_ms: when its window was judged in an earlier life
 * of this process, 0: in this one; labels older than that had their part in it. */
void join_note(struct join *j, const char *prediction, int64_t judged_unix_ms);
bool join_knows(const struct join *j, const char *prediction); /* noted, or rows of it are here */

struct label { /* one that is held */
    const char *row, *value;
    int64_t offset, time_unix_ms, observed_unix_ms;
};
/* Keeps it; *ret_dropped counts older ones that had to go. */
void join_hold(struct join *j, const struct label *l, size_t *ret_dropped);
/* Labels that wait for rows of this piece: fn gets each, which is then gone. */
typedef void (*join_early_fn)(void *ctx, struct piece *p, size_t row, const struct label *l);
void join_release(struct join *j, struct piece *p, join_early_fn fn, void *ctx);
size_t join_expire(struct join *j, int64_t before_unix_ms); /* how many are gone */
size_t join_held(const struct join *j);
int64_t join_oldest_offset(const struct join *j); /* of the labels held; -1 none */

#endif
