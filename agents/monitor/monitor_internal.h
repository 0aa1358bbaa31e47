/* What the files of the shell share: monitor.c (life), monitor_stream.c (predictions and labels
 * in), monitor_measure.c (health and alerts out).  Nobody else includes this. */
#ifndef MONITOR_MONITOR_INTERNAL_H
#define MONITOR_MONITOR_INTERNAL_H

#include "agents/monitor/monitor.h"
#include "agents/monitor/references.h"
#include "agents/monitor/series.h"

enum {
    /* Of one partition: a label or a prediction further back than this is not read again after a
       restart. */
    MONITOR_REREAD_MAX = 200000,
    MONITOR_EARLY_MAX =
        200000, /* labels that wait for their prediction: as many as may be read again before it */
    MONITOR_SEEN_MAX = 65536,    /* ids that are remembered after their window was judged: 1 MiB */
    MONITOR_HELD_MAX = 10000,    /* records that wait for what they need to be counted */
    MONITOR_HELD_MS = 60 * 1000, /* then nobody will say what their generation is */
    MONITOR_RETIRE_MS =
        60 * 1000, /* after a generation left service: what is still on its way has come */
    MONITOR_SETTLE_MS = 5 * 1000, /* without a label: then the topic has been read to its end */
    /* Predictions read within this time are read again after a restart, though their windows were
       judged: one that comes again, because its acknowledgement was lost, is then known.  Its
       writer sends it again after a minute at most; this is several times that. */
    MONITOR_REMEMBER_MS = 5 * 60 * 1000,
    MONITOR_CHECKPOINTS = 11,  /* offsets that are kept for it */
    MONITOR_COMMIT_EVERY = 64, /* records between two looks at the position */
    MONITOR_ALERT_AGE_MS =
        24 * 3600 * 1000, /* an alert that was not given for a day helps nobody */
};

struct held { /* a prediction that cannot be counted yet */
    struct event *ev;
    int64_t since_ms; /* monotonic */
};
struct checkpoint { /* a prediction, and when it was read (monotonic) */
    int64_t offset, read_ms;
};
struct part { /* one partition of predictions and labels */
    int partition;
    struct windows windows;
    struct held *held;
    size_t n_held, cap_held;
    int64_t next_prediction, next_label; /* offsets; 0: nothing has been read */
    int64_t label_read_ms;               /* monotonic; of the newest label, or of the beginning */
    int64_t label_time_ms;               /* event time that labels have come to */
    struct checkpoint read[MONITOR_CHECKPOINTS];
    size_t n_read;
    unsigned uncommitted;
};
struct watch { /* one generation of a line */
    struct series series;
    char digest[DIGEST_HEX_SIZE];
    int64_t retire_unix_ms; /* 0: routed */
    struct watch *next;
};
struct watched { /* a line: unit->self */
    struct part *part;
    struct watch *generations;
    int64_t expire_unix_ms; /* look for windows whose labels had their time */
    size_t alerts_from;     /* health events before this one need none, or have theirs */
    int64_t late;           /* labels that came too late since the last quality measurement */
};
struct monitor {
    struct agent *a;
    struct references *references;
    struct part **parts; /* by partition */
    size_t n_parts;
    struct loop_timer *hold_timer;
    size_t rows_max;
    int64_t lateness_max_ms; /* of all pipelines */
};

/* monitor.c */
struct part *monitor__part(struct monitor *m, int partition);
struct watched *monitor__watched(struct monitor *m, struct unit *u);
struct watch *monitor__watch(struct watched *w, int64_t generation); /* NULL: none */
void monitor__watched_free(struct monitor *m, struct unit *u);
void monitor__read(struct part *p, int64_t offset, int64_t now_ms); /* a prediction */
void monitor__commit(struct monitor *m, struct part *p);
/* monitor_stream.c */
void monitor__prediction(struct monitor *m, struct event *ev); /* takes ev */
void monitor__label(struct monitor *m, struct event *ev);
void monitor__flush(struct monitor *m); /* tries what is held again */
/* monitor_measure.c */
int monitor__reconcile(struct monitor *m, struct unit *u, struct err *err);
void monitor__on_health(struct monitor *m, struct unit *u, const struct health_measured *h);

#endif
