/* What `relearn verify` asks of the log, one check each: events in, findings out.  Pure: no bus, no
 * clock, no file (those are verify_read.h, verify_ids.h and verify_store.h).
 *
 * A line's events are put into a verify_line, sealed, and checked.  Which events count is found
 * here by the simple rules of the design and then compared with the fold of common/line.h that the
 * agents live by: where the two differ, one of them is wrong, and that is a finding.
 *
 * An event is judged, or only looked up: what came after the reading began, or before --since. What
 * is owed and young enough, or has a deadline still to come, is open and no violation. */
#ifndef RELEARN_VERIFY_H
#define RELEARN_VERIFY_H

#include "common/events.h"
#include "common/json.h"

enum verify_check {
    VERIFY_READ = 0,     /* every event can be read, or is a dead letter */
    VERIFY_IDS,          /* no id counts twice */
    VERIFY_PLACES,       /* every event lies on the partition of its key */
    VERIFY_CAUSES,       /* causes come before effects */
    VERIFY_OUTCOMES,     /* datasets have one outcome for each line */
    VERIFY_TRIGGERS,     /* triggers have one answer */
    VERIFY_RUNS,         /* runs have one result and one end */
    VERIFY_EVALUATIONS,  /* candidates and "again" have one evaluation */
    VERIFY_DECISIONS,    /* evaluations have one decision, decisions are carried out once */
    VERIFY_COMMANDS,     /* commands have one answer */
    VERIFY_BASES,        /* one winner on each base, and nothing follows from the others */
    VERIFY_GENERATIONS,  /* generations rise by one */
    VERIFY_PROMOTIONS,   /* promotions lead back to their first event */
    VERIFY_SERVING,      /* what is served is what was deployed */
    VERIFY_ARTEFACTS,    /* what is named is in the store, with its bytes */
    VERIFY_UNNAMED,      /* what nobody names is not old */
    VERIFY_DEAD_LETTERS, /* dead letters say why */
    VERIFY_CHECK_COUNT
};

/* ---- findings ---- */

struct verify_place { /* record NONE: no event, a file of the store */
    enum record record;
    int partition;
    int64_t offset;
};
struct finding {
    enum verify_check check;
    struct verify_place at;
    char *id, *line; /* of the event; NULL: none */
    char *what;      /* one sentence with the other ids */
    char *todo;
};
enum { FINDINGS_LISTED_MAX = 200 }; /* of each check: a person reads a few; all are counted */
struct findings {
    struct finding *items;
    size_t n, cap;
    int64_t looked[VERIFY_CHECK_COUNT];     /* events (or bases, files) that were looked at */
    int64_t open[VERIFY_CHECK_COUNT];       /* owed, and in time */
    int64_t violations[VERIFY_CHECK_COUNT]; /* also those that are not listed */
    int64_t repeated;                       /* events that came again and were passed over */
    int64_t voided;                         /* rivals that lost */
};
struct finding_of { /* borrowed */
    enum verify_check check;
    struct verify_place at;
    const char *id, *line, *todo;
};
void findings_add(struct findings *f, const struct finding_of *of, const char *fmt, ...)
    PRINTF(3, 4);
int64_t findings_violations(const struct findings *f); /* of all checks */
void findings_fini(struct findings *f);
/* {"checks": [...], "violations": [...], "repeated": n, "void": n}; more is the caller's to add. */
struct json *findings_to_json(const struct findings *f);
void findings_print(const struct findings *f, struct buf *out); /* the table and a line for each */

/* ---- one line ---- */

struct verify_event {
    struct event *ev;         /* the line's */
    int64_t appended_unix_ms; /* by the broker's time, else the event's own */
    bool is_judged;           /* else it is there to be looked up */
    bool is_repeat;           /* its id came before in this topic */
    bool is_void;             /* lost against a rival */
};
struct verify_list { /* of one topic, in log order once sealed */
    struct verify_event *items;
    size_t n, cap;
};
struct verify_report { /* what an instance said that it serves of this line; state NULL: nothing */
    struct verify_place at;
    char *id, *instance, *state, *model;
    int64_t generation, sequence;
    bool is_judged;
    bool is_newest; /* of its instance, which has not said that it stops, and answers */
};
struct verify_answer {      /* predictions of one generation by one model */
    struct verify_place at; /* the first */
    char *id, *model;
    int64_t generation, count;
    bool is_judged;
};
struct verify_index;
struct verify_line {
    char *key, *pipeline;
    struct verify_list ev[RECORD_COUNT];
    struct verify_report *reports;
    size_t n_reports, cap_reports;
    struct verify_answer *answers;
    size_t n_answers, cap_answers;
    bool is_cut; /* the beginning of one of its topics is gone: bases begin where they begin */
    struct verify_index *index;
};
struct verify_clock {
    int64_t now_unix_ms; /* when the ends of the topics were taken */
    int64_t patience_ms; /* an answer that has no deadline of its own is open for so long */
};

struct verify_line *verify_line_new(const char *key);
void verify_line_free(struct verify_line *l);
void verify_line_add(struct verify_line *l, struct event *ev, int64_t appended_unix_ms,
                     bool is_judged);                                          /* takes ev */
void verify_line_report(struct verify_line *l, const struct verify_report *r); /* copied */
void verify_line_answer(struct verify_line *l, const struct verify_answer *a); /* copied */
/* Sorts, finds repeats and who won; nothing is added afterwards. */
void verify_line_seal(struct verify_line *l);
/* All checks of one line, in the order of the enum. */
void verify_line_check(struct verify_line *l, const struct verify_clock *c, struct findings *f);

/* ---- the outcomes of datasets: all lines of one pipeline ---- */

struct verify_dataset {
    struct event *ev; /* DatasetPublished; borrowed */
    int64_t appended_unix_ms;
    bool is_judged;
    char **lines; /* of a segmented pipeline: which have an outcome, by the result that ingest left
                     in the store; NULL: it is not known from there */
    size_t n_lines;
};
struct verify_pipeline {
    const char *name;
    const char *dataset; /* NULL: not declared (any more), nothing is owed */
    bool is_segmented;
    int64_t first_declared_unix_ms, declared_unix_ms;
    const struct verify_dataset *datasets; /* of that name in log order, each id once */
    size_t n_datasets;
    struct verify_line *const *lines; /* sealed */
    size_t n_lines;
};
void verify_outcomes(const struct verify_pipeline *p, const struct verify_clock *c,
                     struct findings *f);

#endif
