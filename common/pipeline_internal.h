/* How a declaration is read: tables of keys, one table per mapping, and a reader that knows where
 * it is, so that every error names file, line and path.  Inside common/pipeline*.c only. */
#ifndef COMMON_PIPELINE_INTERNAL_H
#define COMMON_PIPELINE_INTERNAL_H

#include "common/pipeline.h"
#include "common/yaml.h"

#define PIPELINE_PATH_SIZE                                                                         \
    256 /* bytes of "gate.rules[1].metric" in a message; a longer one is cut */
#define PIPELINE_TEXT_MAX                                                                          \
    256 /* bytes of a column name, class or category: they travel in messages */
#define PIPELINE_MAX_COLUMNS                                                                       \
    4096 /* the contract; wider data need not be listed column by column                           \
          */
#define PIPELINE_LIST_MAX                                                                          \
    5000 /* categories of a column, segments: compared with each other when read */
#define PIPELINE_MAX_PARAMS 64 /* XGBoost itself knows about forty */
#define PIPELINE_MAX_AXES 16
#define PIPELINE_MAX_VALUES 64   /* of one search axis */
#define PIPELINE_MAX_TRIALS 1000 /* each is a whole training */
#define PIPELINE_MAX_RULES 64
#define PIPELINE_MAX_FREEZES 64   /* each is looked at with each promotion */
#define PIPELINE_MAX_APPROVERS 64 /* people that one can ask */
#define PIPELINE_RATCHET_MAX 1000 /* generations: each is looked up once for each evaluation */
#define PIPELINE_MAX_METRICS 64   /* of evaluate.metrics: each is resampled on each slice */
#define PIPELINE_MAX_SLICES 16    /* each value of each is evaluated with its own intervals */
#define PIPELINE_MAX_CLASSES 1000 /* XGBoost fits one tree per class and round */
#define PIPELINE_MAX_STEPS 20
#define PIPELINE_KNOWN_SHOWN 16 /* known words in one message, which has 480 bytes */
#define PIPELINE_WINDOW_MAX                                                                        \
    1000 /* snapshots of train.window: all of them travel in one plan event */

struct reader {
    const char *what; /* file name for messages */
    struct pipeline *p;
    const struct yaml_node *root;
    struct err *err;
    char path[PIPELINE_PATH_SIZE];
    size_t path_len;
};

enum key_kind {
    KEY_TEXT = 0, /* const char *: any scalar, 1 to PIPELINE_TEXT_MAX bytes */
    KEY_NUMBER,   /* double */
    KEY_INT,      /* int64_t */
    KEY_BOOL,     /* bool */
    KEY_DURATION, /* int64_t, ms */
    KEY_SIZE,     /* int64_t, bytes */
    KEY_WORD,     /* int or enum: index into `words` */
    KEY_MAP,      /* a mapping with `keys`, same target */
    KEY_CUSTOM    /* `read` does it */
};
#define KEY_NOT_STORED ((size_t)-1)

struct key {
    const char *name;
    enum key_kind kind;
    size_t offset;                 /* in the target struct; KEY_NOT_STORED: checked only */
    double min, max;               /* of numbers, whole numbers, ms and bytes; both 0: any */
    bool is_open_min, is_open_max; /* the bound itself is not allowed */
    const char *const *words;      /* NULL-terminated */
    const struct key *keys;
    int (*read)(struct reader *rd, const struct yaml_node *n, void *target);
    bool (*is_valid)(const char *text); /* KEY_TEXT: further check, `must` says which */
    const char *must;                   /* "be 1 to 64 of a-z ..." */
    const char *needed;                 /* required; this says what it is */
};

/* Errors; all return -1.  `line` 0: no line. */
int pipeline__fail(struct reader *rd, int line, const char *fmt, ...) PRINTF(3, 4);
int pipeline__fail_at(struct reader *rd, const char *path, const char *fmt, ...) PRINTF(3, 4);
int pipeline__wrong(struct reader *rd, const struct yaml_node *n, const char *must);
void pipeline__node_str(const struct yaml_node *n, char *out, size_t size); /* "a list", "'12'" */
int pipeline__unknown(struct reader *rd, int line, const char *subject, const char *word,
                      const char *const *known, size_t n_known);

/* The value under a dotted path of known keys ("gate.rules[1].metric"); NULL when it was not given
 * (or null). */
const struct yaml_node *pipeline__given(const struct reader *rd, const char *path);
size_t pipeline__enter(struct reader *rd, const char *key);
size_t pipeline__enter_index(struct reader *rd, size_t i);
void pipeline__leave(struct reader *rd, size_t mark);

/* keys ends with a {0} row.  Unknown keys and missing required ones are errors; null is as if not
 * given. */
int pipeline__map(struct reader *rd, const struct yaml_node *n, const struct key *keys,
                  void *target);
int pipeline__value(struct reader *rd, const struct yaml_node *n, const struct key *k,
                    void *target);
/* A list of different texts, each as `item` (KEY_TEXT) says. */
int pipeline__texts(struct reader *rd, const struct yaml_node *n, const struct key *item,
                    size_t min, size_t max, const char *const **ret, size_t *ret_n);
void pipeline__duration_str(int64_t ms, char out[32]);

/* Sections. */
extern const struct key pipeline__contract_keys[];
extern const struct key pipeline__train_keys[];
extern const struct key pipeline__plan_keys[];
extern const struct key pipeline__evaluate_keys[];
extern const struct key pipeline__gate_keys[];
extern const struct key pipeline__deploy_keys[];
extern const struct key pipeline__monitor_keys[];
bool pipeline__is_text(const char *s);         /* no control characters */
bool pipeline__is_word(const char *s);         /* [A-Za-z_][A-Za-z0-9_.-]* */
extern const struct key pipeline__column_name; /* item of lists of columns */

/* Defaults: what is the same for every pipeline, then what depends on what was given. */
void pipeline__defaults(struct pipeline *p);
/* Checks that need more than one key; each names the key to change. */
int pipeline__check(struct reader *rd);
int pipeline__check_train(struct reader *rd);
int pipeline__check_evaluate(struct reader *rd);
int pipeline__check_gate(struct reader *rd);
int pipeline__freezes(struct reader *rd, const struct yaml_node *n, void *target);
int pipeline__rules(struct reader *rd, const struct yaml_node *n, void *target);
int pipeline__check_rules(struct reader *rd);
/* Is it a metric of this task?  A value that it can take?  `path` is what to change. */
int pipeline__check_metric(struct reader *rd, const char *path, const char *name);
int pipeline__check_bound(struct reader *rd, const char *path, const char *metric, double bound);
const char *pipeline__metric_name(struct reader *rd, const char *name); /* canonical */

#endif
