/* The windows of one generation of a line: rows of champion and canary in the order of the log, so
 * many to a window.  A window owes two measurements: `window` when it is full, `quality` when its
 * rows have their labels or waiting is over; it is gone when both have been read back.
 *
 * After a restart the log is read again from where the oldest window in memory began; rows of
 * windows that the health table has already (the marks) go to those again, not to new ones. Pure;
 * thread: one at a time. */
#ifndef MONITOR_SERIES_H
#define MONITOR_SERIES_H

#include "agents/monitor/join.h"
#include "agents/monitor/window.h"
#include "common/line.h"

enum measure { MEASURE_WINDOW = 0, MEASURE_QUALITY, MEASURE_COUNT };
const char *measure_str(enum measure m);

struct series;
struct window {
    struct series *series;
    int64_t number, rows; /* rows that it has, also those that are not in memory any more */
    int64_t from_offset, to_offset, last_served_unix_ms;
    char *first_row, *last_row; /* ids */
    struct counts counts;
    struct reference *reference; /* that the counts are of; NULL: none */
    struct piece *pieces, **pieces_end;
    size_t tracked, labelled; /* rows in pieces; of them with a label */
    int64_t labels_from;      /* lowest offset of a label that has its part in it; -1: none */
    struct event *closed_by;  /* header fields of the record that filled it; NULL: open */
    bool is_due[MEASURE_COUNT], is_done[MEASURE_COUNT];
    bool is_read_back[MEASURE_COUNT], is_looked_for[MEASURE_COUNT]; /* the owner's: in the log? */
    bool is_hurried; /* judged before its labels had all their time: too many rows wait */
    struct window *next, *prev; /* of the partition, in the order of opening */
    struct window *next_due[MEASURE_COUNT];
};
struct windows { /* of one partition */
    struct window *first, *last;
    size_t n;
    size_t due_rows; /* in windows that are being judged: they will go */
    struct join *join;
};
struct mark {                                         /* a window that the health table has */
    int64_t number, from_offset, to_offset, last_row; /* last_row: index within the last record */
    int64_t rows, judged_unix_ms;                     /* 0: its quality has not been measured */
    const char *first_id, *last_id;
    struct window *window; /* in memory again */
};
struct series {
    int64_t generation;
    struct windows *all;
    struct reference *reference; /* for windows that open from now on; the owner's, outlives them */
    struct mark *marks;
    size_t n_marks, mark_at;
    int64_t next_number;
    struct window *open;
    struct window *due[MEASURE_COUNT], *due_last[MEASURE_COUNT];
    size_t n;    /* windows in memory */
    void *owner; /* the caller's */
};

/* Marks and numbers from what the log says: health events of the generation; offsets count only
 * when they are of this cluster and partition. */
void series_init(struct series *s, int64_t generation, struct windows *all, const struct line *l,
                 const char *cluster, int partition);
void series_fini(struct series *s); /* and its windows */

/* Rows of one record, which is valid (series_fits).  on_piece is called for each piece that was
 * made. */
typedef void (*series_piece_fn)(void *ctx, struct window *w, struct piece *p);
void series_take(struct series *s, const struct event *ev, int64_t window_rows,
                 series_piece_fn on_piece, void *ctx);
/* Are its lists as long as it says, and does it fit the model?  *ret_why says what is wrong. */
bool series_fits(const struct prediction_served *r, const struct reference *ref,
                 const char **ret_why);

enum label_fate { LABEL_COUNTED = 0, LABEL_REPEATED, LABEL_LATE };
/* A label of a row that is here. */
enum label_fate series_label(struct piece *p, size_t row, const struct label *l,
                             int64_t lateness_ms);

/* Windows whose labels have had their time by now become due; *ret_next_ms: when the next one does,
 * INT64_MAX: none waits. */
void series_expire(struct series *s, int64_t now_unix_ms, int64_t lateness_ms,
                   int64_t *ret_next_ms);
/* The oldest full window that still waits for labels is judged now; NULL: there is none. */
struct window *windows_hurry(struct windows *all);
/* A measurement has been read back: the first in the queue. */
void series_done(struct series *s, enum measure m);
/* The window that is being filled will not be: it is forgotten.  Returns its rows. */
int64_t series_drop_open(struct series *s);

/* Lowest offsets that are needed to have all this again; -1: none. */
int64_t windows_predictions_from(const struct windows *all);
int64_t windows_labels_from(const struct windows *all);

#endif
