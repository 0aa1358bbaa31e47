/* The sixteen records as C structs, one topic each.  Field names here and in schemas/<record>.avsc
 * are the same words; common/events.c holds the table that ties them, checked by the tests.
 *
 * Conventions: strings are NUL-terminated UTF-8, NULL when absent.  Optional numbers: NaN /
 * ABSENT_I64. Wall times are `_unix_ms`.  Lists are a pointer and a count.  Structs borrow: a
 * decoded event owns its strings in its arena; a struct filled to be emitted borrows whatever it
 * points to. Pure cores include this header (it needs no library). */
#ifndef COMMON_EVENTS_H
#define COMMON_EVENTS_H

#include "common/base.h"
#include "common/mem.h"

enum record {
    RECORD_NONE = 0,
    RECORD_PIPELINE_DECLARED,   /* pipelines */
    RECORD_DATASET_PUBLISHED,   /* datasets */
    RECORD_DATASET_INGESTED,    /* snapshots */
    RECORD_DRIFT_DETECTED,      /* drift */
    RECORD_OPERATOR_COMMANDED,  /* commands */
    RECORD_TRAINING_PLANNED,    /* plans */
    RECORD_TRAINING_FINISHED,   /* models */
    RECORD_MODEL_EVALUATED,     /* evaluations */
    RECORD_GATE_DECIDED,        /* decisions */
    RECORD_DEPLOYMENT_CHANGED,  /* deployments */
    RECORD_SERVING_CHANGED,     /* serving */
    RECORD_PREDICTION_SERVED,   /* predictions */
    RECORD_LABEL_OBSERVED,      /* labels */
    RECORD_HEALTH_MEASURED,     /* health */
    RECORD_TRAINING_PROGRESSED, /* progress */
    RECORD_DEAD_LETTERED,       /* deadletters */
    RECORD_COUNT
};

struct string_list {
    const char *const *items;
    size_t n;
};
struct double_list {
    const double *items;
    size_t n;
};
struct float_list {
    const float *items;
    size_t n;
};
struct named_value { /* {name, value}: one number with its name */
    const char *name;
    double value;
};
struct named_value_list {
    const struct named_value *items;
    size_t n;
};
struct bytes {
    const void *p;
    size_t n;
};

/* key: pipeline name.  A tombstone (null value) withdraws the pipeline. */
struct pipeline_declared {
    const char *name;
    const char *yaml;   /* the text as its user wrote it */
    const char *sha256; /* of yaml; the store has the text under it */
    const char *by;     /* who declared it */
    int64_t declared_unix_ms;
    int64_t first_declared_unix_ms; /* kept when declared again: datasets from then on are used */
};

/* key: dataset name.  May be written by anybody. */
struct dataset_published {
    const char *dataset;
    const char *version; /* the producer's own name for this version; NULL: the event's id */
    const char *uri;     /* file:// or http(s):// */
    const char *format;  /* csv, npy, npz; NULL: by the name's ending and the first bytes; gzip is
                            seen by itself */
    const char *sha256;  /* of the bytes at uri; NULL: not checked */
    int64_t size_bytes;  /* ABSENT_I64: not checked */
    int64_t rows;        /* data rows the producer counted; ABSENT_I64: not checked */
    const char *by;
    int64_t published_unix_ms; /* ABSENT_I64 when the producer did not say */
};

struct violation {        /* one broken rule of the contract */
    const char *column;   /* NULL: a rule about the whole dataset */
    const char *rule;     /* "type", "min", "max", "allowed", "missing_at_most", "rows", "label",
                             "columns", "csv", "digest", "size", "fetch", "seen_before", "segments" */
    const char *severity; /* reject, quarantine, warn */
    int64_t count;        /* rows that break it */
    const char *detail;   /* one sentence: what was allowed, what was found */
    struct string_list examples; /* first rows: "row 17: 'abc'" */
};
struct violation_list {
    const struct violation *items;
    size_t n;
};

/* key: line.  One per dataset event and line that uses it. */
struct dataset_ingested {
    const char *line, *pipeline, *segment;
    const char *pipeline_sha256; /* the declaration it was checked under */
    const char *dataset, *version;
    const char *dataset_event; /* id of the DatasetPublished */
    const char *status;        /* accepted, rejected */
    const char *reason;        /* one sentence for people */
    const char *snapshot;      /* digest of the manifest; NULL when rejected */
    const char *profile;       /* digest of the profile; NULL when rejected */
    int64_t rows, train_rows, valid_rows, test_rows; /* 0 when rejected */
    int64_t rows_quarantined;                        /* left out by rule */
    int64_t rows_seen_before; /* rows whose hash an earlier snapshot of the line has */
    int64_t bytes;            /* read from uri */
    double seconds;
    struct violation_list violations;
};

struct drift_feature {
    const char *feature;
    double value, threshold;
};
struct drift_feature_list {
    const struct drift_feature *items;
    size_t n;
};
/* key: line.  By monitor, by people and webhooks through console, or by outside tools. */
struct drift_detected {
    const char *line;
    const char *source;      /* monitor, alertmanager, a person's name, a tool's name */
    const char *kind;        /* data, prediction, quality, missing, external */
    const char *statistic;   /* psi, accuracy, ...; NULL unknown */
    double value, threshold; /* worst of the features, or the quality figure; NaN unknown */
    int64_t generation;      /* the alert is about; ABSENT_I64: the one in service */
    int64_t windows;         /* consecutive windows; ABSENT_I64 unknown */
    const char *summary;     /* one sentence */
    int64_t detected_unix_ms;
    struct drift_feature_list features; /* that moved, worst first */
};

/* key: line. */
struct operator_commanded {
    const char *line;
    const char *command; /* approve, reject, force, rollback, retrain, pause, resume */
    const char *target;  /* id of the decision meant (approve, reject) or the model (force); NULL:
                            the one that waits / newest */
    int64_t generation;  /* that the operator saw, compare-and-set; rollback: ABSENT_I64 = whatever
                            serves */
    int64_t to_generation; /* rollback to this one; ABSENT_I64: the one before */
    const char *by, *reason;
    int64_t commanded_unix_ms;
    int64_t expires_unix_ms; /* approve, reject, force: refused from then on; ABSENT_I64: never */
};

struct snapshot_ref {
    const char *snapshot; /* manifest digest */
    const char *event;    /* id of its DatasetIngested */
    int64_t rows;
};
struct snapshot_ref_list {
    const struct snapshot_ref *items; /* oldest first */
    size_t n;
};
/* key: line.  kind: requested (a run), deferred (a trigger waits), ignored (a trigger leads to
 * nothing, and why), closed (the run ended, outcome says how), paused, resumed, refused (a command
 * that cannot be). */
struct training_planned {
    const char *line;
    const char *kind;
    int64_t base;    /* requested: number of requested plans accepted before; else ABSENT_I64 */
    const char *run; /* requested: the event's own id; closed: the run that ended; deferred: the run
                        waited for, if one */
    const char *trigger; /* dataset, drift, command; of requested, deferred, ignored */
    /* requested: ids of every trigger that this run answers, the cause included */
    struct string_list covers;
    int64_t until_unix_ms; /* deferred: looked at again then (ABSENT_I64: when the run ends, or on
                              resume) */
    const char *outcome; /* closed: promoted, rejected, inconclusive, failed, expired, rolled_back,
                            superseded */
    const char *reason;  /* one sentence for people, always */
    const char *pipeline_sha256;        /* requested: the declaration that the run is held to */
    struct snapshot_ref_list snapshots; /* requested: data to learn from */
    int64_t rows;                       /* requested: training rows in them */
    int64_t deadline_unix_ms;           /* requested: after this the run counts as failed */
    int64_t planned_unix_ms;
};

/* key: line.  The first one of a run in the log counts. */
struct training_finished {
    const char *line, *run;
    int64_t attempt;    /* from 1 */
    const char *status; /* candidate, failed */
    /* failed: what and what to do, with the tail of what the child said; else NULL */
    const char *reason;
    const char *model;   /* digest of the model's manifest; NULL when failed */
    const char *trainer; /* xgboost, or a name of the operator's */
    const char *pipeline_sha256;
    struct snapshot_ref_list snapshots; /* as planned */
    int64_t trained_rows, valid_rows, rounds, trials;
    struct named_value_list params;  /* numeric ones of the best trial */
    struct named_value_list metrics; /* the trainer's own figures, for display only */
    double seconds, cpu_seconds;
    int64_t max_rss_bytes;
    const char *instance; /* that ran it */
};

struct evaluation_metric {
    /* accuracy, auc, logloss, brier, f1, mae, rmse, r2, ... (common/metrics.h) */
    const char *metric;
    const char *slice; /* "all", or "column=value" */
    int64_t rows;
    double candidate;  /* NaN when undefined */
    double champion;   /* NaN when undefined or no champion */
    double difference; /* candidate - champion */
    double low, high;  /* interval of the difference (NaN: none); without a champion, of the
                          candidate's value */
    bool higher_is_better;
    const char *undefined; /* why a value is undefined; NULL when all are finite */
    const char *method;    /* of the interval: bootstrap, delong, ... (common/metrics.h) */
    double effective_rows; /* independent rows of equal weight that tell as much; NaN: not said */
    int64_t clusters;      /* resampled as wholes; 0: rows count as independent */
    double level;          /* confidence of this interval; 0: the evaluation's */
    double p;              /* two-sided, of no difference; NaN: not computed */
};
struct evaluation_metric_list {
    const struct evaluation_metric *items;
    size_t n;
};
struct evaluation_baseline { /* on all rows */
    const char *name;        /* naive, last_value, champion, best, last_good, golden */
    const char *model;       /* NULL: no trained model */
    const char *metric;
    int64_t rows;
    double candidate, value, difference; /* candidate - value; NaN when undefined */
    double low, high;                    /* interval of the difference */
    const char *reason;                  /* why a value is undefined; NULL when all are finite */
};
struct evaluation_baseline_list {
    const struct evaluation_baseline *items;
    size_t n;
};
/* key: line. */
struct model_evaluated {
    const char *line, *run;
    const char *model;       /* candidate; NULL when it could not be evaluated */
    const char *model_event; /* id of the TrainingFinished */
    const char *status;      /* evaluated, failed */
    const char *reason;      /* one sentence */
    int64_t against; /* generation of the champion that it was compared with; 0: none in service */
    const char *champion; /* its model; NULL when none */
    const char *pipeline_sha256;
    struct string_list snapshots; /* whose test splits were used, newest first */
    int64_t rows;                 /* compared */
    double confidence;            /* of the intervals */
    int64_t rounds;               /* bootstrap rounds */
    int64_t seed;
    struct evaluation_metric_list metrics;
    double seconds;
    struct evaluation_baseline_list baselines; /* beside the champion */
    int64_t attempt;     /* evaluations of others against this champion before, plus one; 0: not
                            counted */
    int64_t comparisons; /* that the levels are corrected for; 0: no correction */
    bool sequential;     /* the intervals hold however often the loop asks */
};

struct rule_result {
    const char *rule; /* the rule in words: "auc no worse than champion by 0.005" */
    const char *metric, *slice;
    double value;     /* that was compared: metric or difference */
    double low, high; /* its interval, NaN when none */
    double threshold;
    double baseline;      /* champion's value, NaN when none */
    const char *verdict;  /* pass, fail, inconclusive */
    const char *severity; /* block, warn, observe */
    const char *reason;   /* one sentence */
};
struct rule_result_list {
    const struct rule_result *items;
    size_t n;
};
struct gate_approval {              /* by a person, of a candidate that waits for it */
    const char *by, *role, *reason; /* role "": anybody may */
    int64_t approved_unix_ms;
};
struct gate_approval_list {
    const struct gate_approval *items; /* oldest first */
    size_t n;
};
/* key: line.  verdict: promote, reject, inconclusive (final: nothing is promoted), wait (for a
 * person, until deadline), again (champion changed: evaluate again), already (the run was decided
 * before), refused (a command that cannot be). */
struct gate_decided {
    const char *line;
    int64_t base;                         /* number of accepted decisions before */
    const char *run, *model, *evaluation; /* evaluation: event id */
    const char *model_event; /* id of the TrainingFinished (again: evaluate needs it) */
    const char *verdict;
    int64_t against;    /* generation of the champion compared with */
    const char *reason; /* one sentence for people */
    const char *by;     /* "policy", or who approved, rejected, forced */
    const char *pipeline_sha256;
    int64_t deadline_unix_ms; /* wait: then it is rejected; else ABSENT_I64 */
    struct rule_result_list rules;
    int64_t decided_unix_ms;
    /* The inputs, for who decides it again: with `base` decisions, the first so many events of the
     * line that counted (ABSENT_I64: not written down) */
    int64_t evaluations_read, deployments_read;
    int64_t judge;          /* version of the rules and their sentences; 0: before versions */
    int64_t snapshots_read; /* another input */
    /* wait: for what (approval, rows, freeze), and what happens at the deadline (reject, promote,
     * ask); NULL: approval, reject */
    const char *waits_for, *then;
    int64_t rows_needed;          /* wait for rows: so many test rows more; else ABSENT_I64 */
    struct string_list snapshots; /* again: to be compared on these as well, oldest first */
    struct gate_approval_list approvals;
};

struct route {
    int64_t generation;
    const char *model; /* manifest digest */
    const char *role;  /* champion, canary, shadow */
    double weight;     /* share of requests in [0,1]; champion and canary add up to 1; shadow 0 */
};
struct route_list {
    const struct route *items;
    size_t n;
};
/* key: line.  kind: changed (routing is now this), refused (a decision or command is not carried
 * out). */
struct deployment_changed {
    const char *line;
    const char *kind;
    int64_t base; /* changed: number of accepted changes before (the line's deployment sequence);
                     refused: ABSENT_I64 */
    int64_t generation;       /* of the model that this change is about; the line's highest */
    const char *action;       /* replace, canary_begin, canary_step, canary_hold, promote (canary
                                 completes), rollback; refused: NULL */
    int64_t step, steps;      /* canary: step k of n; else 0 */
    struct route_list routes; /* changed: the line's whole routing afterwards */
    const char *run, *model;  /* that this change is about */
    const char *decision;     /* id of the GateDecided behind it; NULL for a command */
    int64_t against;          /* champion generation it replaces; 0 none */
    bool is_final;            /* the rollout is over: complete, rolled back, or refused */
    const char *reason, *by;
    int64_t until_unix_ms;       /* canary: next look at it; ABSENT_I64 */
    const char *pipeline_sha256; /* declaration of the run, NULL for a rollback */
    int64_t changed_unix_ms;
};

struct serving_line {
    const char *line;
    int64_t generation, sequence; /* sequence: deployment base + 1 that is in force here */
    const char *model;
    const char *state; /* serving, failed (the one before still answers), withdrawn */
    const char *reason;
    int64_t since_unix_ms;
};
struct serving_line_list {
    const struct serving_line *items;
    size_t n;
};
/* key: instance. */
struct serving_changed {
    const char *instance;
    const char *url; /* where it answers */
    bool stopping;
    struct serving_line_list lines; /* everything that it serves */
    const char *changed_line;       /* the line that this event is about; NULL: start or stop */
    int64_t changed_unix_ms;
};

/* key: line.  One request to one line, `rows` rows; row i has the prediction id "<prediction>.<i>"
 * (a single row may also be called "<prediction>"). */
struct prediction_served {
    const char *line;
    const char *prediction; /* id; equals ce_id */
    const char *request;    /* the client's own id; NULL */
    int64_t generation;
    const char *model;
    const char *role; /* champion, canary, shadow */
    const char *instance;
    int64_t rows;
    int64_t features_per_row, outputs_per_row;
    struct float_list features; /* rows x features_per_row, as the model saw them; missing NaN */
    /* rows x outputs_per_row: probability, class probabilities, or value */
    struct double_list outputs;
    int64_t latency_us;
    int64_t served_unix_ms;
};

/* key: line. */
struct label_observed {
    const char *line;
    const char *prediction; /* "<prediction>.<i>" or "<prediction>" */
    const char *value;      /* class name or number, as text */
    const char *by;
    int64_t observed_unix_ms; /* ABSENT_I64 unknown */
};

struct feature_health {
    const char *feature;
    double psi, threshold, missing_share;
};
struct feature_health_list {
    const struct feature_health *items;
    size_t n;
};
/* key: line.  kind: window (every so many predictions), quality (labels of a window have come, or
 * its lateness is over). */
struct health_measured {
    const char *line;
    const char *kind;
    int64_t generation;
    int64_t window;      /* number of the window within its generation, from 0 */
    const char *cluster; /* the offsets are of this cluster */
    /* in predictions: the window's first and last record */
    int64_t partition, from_offset, to_offset;
    const char *first_prediction, *last_prediction; /* row ids */
    int64_t predictions;                            /* rows in the window */
    int64_t labels; /* of them with a label; late_labels: counted after the window was measured */
    int64_t late_labels;
    struct feature_health_list features; /* window */
    double prediction_psi;
    double worst_psi;
    struct named_value_list quality; /* accuracy, logloss / mae, rmse over labelled rows */
    const char *verdict;             /* ok, drift, degraded, unknown */
    int64_t consecutive;             /* windows in a row with this verdict, up to now */
    const char *reason;
    int64_t failures; /* requests that failed inside the window */
    int64_t measured_unix_ms;
};

/* key: line. */
struct training_progressed {
    const char *line, *run;
    int64_t attempt;
    const char *instance; /* that runs it */
    const char *phase;    /* started, fetching, training, saving, ended */
    int64_t trial, trials, round, rounds;
    const char *metric; /* of the valid split; NULL */
    double value;
    int64_t beat; /* counts up within an attempt */
    int64_t progressed_unix_ms;
};

struct dead_header {
    const char *name;
    struct bytes value;
};
struct dead_header_list {
    const struct dead_header *items;
    size_t n;
};
/* key: source topic. */
struct dead_lettered {
    const char *topic;
    int64_t partition, offset;
    struct bytes key, value; /* the original bytes; n 0 and p NULL when there were none */
    struct dead_header_list headers;
    const char *agent;
    const char *code;   /* codec, inval, limit, ... */
    const char *reason; /* what, where, what to do */
    int64_t attempts;
    int64_t failed_unix_ms;
};

/* One event as read from the log (or about to be written). */
struct event {
    enum record type;
    const void *rec;         /* struct <record> *; NULL for a tombstone */
    const char *id;          /* ce_id, or derived when the producer gave none */
    const char *cause;       /* ce_causationid; NULL for a first event */
    const char *correlation; /* ce_correlationid; equals id for a first event */
    const char *source;      /* ce_source */
    const char *trace;       /* traceparent */
    const char *seen;        /* ce_seen, see common/bus_headers.h */
    int64_t time_unix_us;    /* ce_time */
    int hops;                /* ce_hops; 0 for a first event */
    const char *key;
    int partition;
    int64_t offset;     /* -1 when not from the log */
    struct arena arena; /* owns all of the above */
};
void event_free(struct event *ev); /* from the heap, with its arena; NULL is fine */

/* Names: topic without prefix ("plans"), record ("training_planned"), Avro name
 * ("TrainingPlanned").  Of what is no record: "", "none", "". */
const char *record_topic(enum record r);
const char *record_str(enum record r);
const char *record_avro_name(enum record r);
enum record record_of_topic(const char *topic_without_prefix); /* RECORD_NONE when unknown */
bool record_is_line_keyed(enum record r);
/* Control topics are folded and kept (all line-keyed but predictions, labels and progress). */
bool record_is_control(enum record r);
/* The key that a record says it has: its line, pipeline, dataset, instance or topic, always the
 * first member; NULL when absent or empty. */
const char *record_own_key(enum record r, const void *rec);
size_t record_struct_size(enum record r);

/* Field tables: how a struct and its schema correspond, in the order of both.  Required texts are
 * never NULL once decoded: what is absent is "". */
enum field_type {
    FIELD_STRING = 0,
    FIELD_LONG,
    FIELD_DOUBLE,
    FIELD_BOOL,
    FIELD_BYTES,
    FIELD_STRINGS,
    FIELD_DOUBLES,
    FIELD_FLOATS,
    FIELD_RECORDS
};
struct record_fields;
struct field {
    const char *name;
    enum field_type type;
    bool optional; /* ["null", T] with default null on the wire; absent value in C */
    size_t offset;
    const struct record_fields *of; /* FIELD_RECORDS */
};
struct record_fields {
    const char *name; /* Avro name of the (nested) record */
    size_t size;      /* sizeof the struct */
    const struct field *fields;
    size_t n;
};
const struct record_fields *record_fields(enum record r);

#endif
