/* A pipeline as its user declares it: YAML text to one plain struct, defaults filled in, every
 * value checked, every error with its line.  A key that no code reads is an error.  Every key and
 * its default: common/pipeline.yaml.  Pure; thread: any. */
#ifndef COMMON_PIPELINE_H
#define COMMON_PIPELINE_H

#include "common/buf.h"
#include "common/err.h"
#include "common/mem.h"

#define PIPELINE_NAME_MAX 64 /* [a-z0-9][a-z0-9._-]* */
#define PIPELINE_MAX_BYTES ((size_t)256 << 10)
#define PIPELINE_MAX_SEGMENTS 1000 /* default cap of segments: */

enum task { TASK_BINARY = 0, TASK_MULTICLASS, TASK_REGRESSION };
enum on_violation { VIOLATION_REJECT = 0, VIOLATION_QUARANTINE, VIOLATION_WARN };
enum column_type {
    COLUMN_FLOAT = 0,
    COLUMN_INT,
    COLUMN_CATEGORY,
    COLUMN_DATE,
    COLUMN_BOOL,
    COLUMN_IGNORE,
    COLUMN_TYPE_COUNT
};
enum split_by { SPLIT_ORDER = 0, SPLIT_HASH };
enum window_kind { WINDOW_SNAPSHOTS = 0, WINDOW_ROWS, WINDOW_ALL };
enum severity { SEVERITY_BLOCK = 0, SEVERITY_WARN, SEVERITY_OBSERVE };
enum rule_kind { RULE_AT_LEAST = 0, RULE_AT_MOST, RULE_NO_WORSE_THAN, RULE_BETTER_THAN };
enum approval { APPROVAL_AUTOMATIC = 0, APPROVAL_MANUAL };
enum strategy { STRATEGY_REPLACE = 0, STRATEGY_CANARY };
enum inconclusive {
    INCONCLUSIVE_REJECT = 0,
    INCONCLUSIVE_PROMOTE,
    INCONCLUSIVE_ASK,
    INCONCLUSIVE_WAIT /* for more rows, until a deadline; then one of the others */
};                    /* gate.inconclusive */
/* What a snapshot keeps of each row beside features and label, for evaluation. */
enum aside {
    ASIDE_WEIGHT = 0, /* how much the row counts */
    ASIDE_GROUP,      /* which ranking it is of */
    ASIDE_VALUE,      /* what a wrong answer costs */
    ASIDE_CLUSTER,    /* which rows are not independent of each other */
    ASIDE_COUNT
};
enum interval_kind { INTERVALS_AUTO = 0, INTERVALS_BOOTSTRAP, INTERVALS_CLOSED };
enum correction { CORRECTION_NONE = 0, CORRECTION_BONFERRONI }; /* evaluate.correction */
enum sequential {
    SEQUENTIAL_OFF = 0,
    SEQUENTIAL_ATTEMPTS, /* of other candidates against one champion */
    SEQUENTIAL_ANYTIME   /* of the same one, too, on a table that grows */
};
enum search_kind { SEARCH_NONE = 0, SEARCH_GRID, SEARCH_RANDOM };

struct column_rule { /* contract.columns.<name> */
    const char *name;
    enum column_type type;
    double min, max;            /* NaN: unbounded; inclusive */
    double missing_at_most;     /* share in [0,1]; NaN: unbounded */
    const char *const *allowed; /* categories; NULL: any */
    size_t n_allowed;
    int on_violation; /* enum on_violation, or -1: the contract's */
    int line;
};
struct param { /* train.params.<name>: number or word */
    const char *name;
    double number;    /* NaN when it is a word */
    const char *text; /* as written */
};
struct search_axis {
    const char *name;
    const struct param *values;
    size_t n;
};
#define RULE_EVERY_SLICE "*"
struct gate_rule {
    enum rule_kind kind;
    const char *metric; /* NULL: of a fact */
    const char *fact;   /* what the log says of the run and its data (gate_fact_names); NULL */
    double bound;       /* at_least / at_most */
    double by;          /* no_worse_than: tolerance >= 0; better_than: margin >= 0 */
    bool is_relative;   /* by: 2%, of the baseline's value */
    bool by_interval;   /* `by interval`: judged on the interval of the difference, not the point */
    const char *slice;  /* column, RULE_EVERY_SLICE: of every column; NULL: all rows */
    const char *slice_value; /* of that column alone; NULL: each of its values */
    const char *baseline;    /* champion, best, last_good, naive, last_value, golden; NULL: none */
    enum severity severity;
    int line;
};

struct approver { /* gate.approval.manual.people */
    const char *name, *role;
};
struct freeze { /* gate.freeze: nothing is promoted from then until then */
    bool is_weekly;
    int64_t from, to; /* unix ms; weekly: seconds since Monday 00:00 UTC */
    const char *why;
};

struct answer_cost { /* evaluate.cost.matrix: what an answer costs on a row of class `label` */
    const char *label, *answer; /* as the classes are named */
    double cost;                /* NaN: the row's value */
};
struct cost {
    const char *value;                 /* column; NULL: none */
    const struct answer_cost *answers; /* those not listed cost nothing; none: a wrong one costs the
                                          row's value */
    size_t n;
};

struct pipeline {
    const char *name;
    const char *dataset, *label;
    const char *time;            /* column, NULL */
    const char *segment;         /* column, NULL */
    const char *const *segments; /* allowed segment values, NULL: any, capped by max_segments */
    size_t n_segments;
    int64_t max_segments;
    enum task task;
    const char
        *positive; /* binary: label value that is class 1; NULL: the greater one of the two */
    const char *const *classes; /* label values, NULL: found in the first snapshot */
    size_t n_classes;

    enum on_violation on_violation;
    const struct column_rule *columns;
    size_t n_columns;
    bool strict_columns; /* contract.other_columns: refuse; default: taken as features, types found
                          */
    int64_t rows_at_least, rows_at_most; /* ABSENT_I64: unbounded */
    double seen_before_at_most; /* share of rows that earlier snapshots have; NaN: only counted */

    enum split_by split_by;
    double valid, test; /* shares */

    const char *trainer; /* "xgboost" or a name of the operator's */
    enum window_kind window;
    int64_t window_size; /* snapshots or rows */
    const struct param *params;
    size_t n_params;
    enum search_kind search;
    int64_t trials;
    const struct search_axis *axes;
    size_t n_axes;
    int64_t seed;
    int64_t wall_ms, cpu_ms, memory_bytes; /* limits; cpu 0: none */

    bool on_dataset, on_drift; /* plan.on; commands always count */
    int64_t quiet_ms, longest_wait_ms;
    int64_t cooldown_promotion_ms, cooldown_rejection_ms, cooldown_failure_ms;
    int64_t runs_per_day; /* plan.budget, over the last 24 h; 0: no limit */
    int64_t
        cpu_per_day_ms; /* plan.budget.cpu: of trainings requested in the last 24 h; 0: no limit */
    int64_t max_hops;   /* loop guard */
    int64_t run_deadline_ms; /* a run that has not ended then is closed as expired */

    const char *const
        *metrics; /* evaluate.metrics and those of the gate's rules; defaults by task */
    size_t n_metrics;
    const char *const *slices; /* columns: evaluate.slices and those of the gate's rules */
    size_t n_slices;
    const char *asides[ASIDE_COUNT]; /* columns kept beside the features; NULL: none */
    const struct cost *cost;         /* NULL: none */
    const char *golden;              /* digest of a snapshot; NULL: none is pinned */
    double confidence;
    enum interval_kind interval;
    enum correction correction;
    enum sequential sequential;
    int64_t bootstrap_rounds;
    int64_t test_snapshots; /* newest snapshots of the window whose test splits are used; 0: all */

    int64_t min_rows;
    const struct gate_rule *rules;
    size_t n_rules;
    enum approval approval;
    int64_t approval_deadline_ms;
    const struct approver *approvers; /* who may approve; none: anybody */
    size_t n_approvers;
    int64_t approvals;           /* of so many different people */
    int64_t approval_expires_ms; /* the first of two counts so long; 0: until the deadline */
    const struct freeze *freezes;
    size_t n_freezes;
    enum inconclusive inconclusive;
    int64_t wait_rows;           /* INCONCLUSIVE_WAIT: so many more test rows */
    int64_t wait_deadline_ms;    /* of a run, from its first wait on */
    enum inconclusive wait_then; /* when they have not come */
    /* gate.ratchet: the steps of promotion after promotion may not add up to more than this below
     * the best of them, within a time or so many generations; metric NULL: none */
    const char *ratchet_metric;
    double ratchet_by;
    int64_t ratchet_window_ms, ratchet_generations; /* one of them is 0 */

    enum strategy strategy;
    const double *steps; /* shares in (0,1], rising, the last is 1 */
    size_t n_steps;
    int64_t interval_ms;
    const char *canary_by;          /* "request" (its id) or a parameter's name */
    int64_t canary_min_predictions; /* per step before it goes on */

    int64_t window_predictions; /* monitor.window.predictions */
    const char *drift_metric;   /* psi */
    double drift_threshold;
    int64_t drift_consecutive;
    const char *quality_metric;               /* accuracy, logloss, mae, ...; NULL: none */
    double quality_at_least, quality_at_most; /* NaN: unbounded */
    int64_t lateness_ms;                      /* labels later than this are counted as late */

    char sha256[65];    /* of the text */
    struct arena arena; /* owns everything above */
};

/* Errors: ERR_INVAL "electricity.yaml:12: gate.rules[1].metric: unknown metric 'acc'; known: ...".
 */
int pipeline_parse(struct slice yaml, const char *what, struct pipeline **ret,
                   struct err *err) WARN_UNUSED;
void pipeline_free(struct pipeline *p); /* NULL is fine */
bool pipeline_name_is_valid(const char *name);
bool segment_is_valid(
    const char *value); /* 1..64 of [A-Za-z0-9._-], not starting with '.' or '-' */

/* Lines: "pipeline" or "pipeline/segment". */
void line_name(const char *pipeline, const char *segment /* NULL */, struct buf *out);
bool line_split(const char *line, char pipeline[PIPELINE_NAME_MAX + 1],
                char segment[PIPELINE_NAME_MAX + 1]); /* segment "" when none */
const char *task_str(enum task t);
const char *severity_str(enum severity s);
const char *column_type_str(enum column_type t);
/* The rule in words: "auc no worse than champion by 0.005", "logloss on each period ...". */
void gate_rule_str(const struct gate_rule *r, struct buf *out);
/* When the window that is open now ends; 0: it is not open. */
int64_t freeze_end_ms(const struct freeze *f, int64_t now_unix_ms);
int64_t freeze_length_ms(const struct freeze *f);
/* Facts that a rule may be about, NULL-terminated. */
const char *const *gate_fact_names(void);

#endif
