/* What a window's counts say: how far each feature is from the training data, and whether that is
 * drift; and what an alert says.  Pure; thread: any. */
#ifndef MONITOR_DRIFT_H
#define MONITOR_DRIFT_H

#include "agents/monitor/window.h"
#include "common/events.h"

/* A feature's share of missing values has moved when it differs by this much from that of the
 * training rows, and by more than chance: a column that stops being sent is a fault worth an alert
 * though the values that are there look as ever.  Smaller than what breaks a model, larger than a
 * bad day. */
#define DRIFT_MISSING_MOVED 0.10

struct verdict { /* of one window; lists live in the arena */
    struct feature_health_list features;
    double worst_psi, prediction_psi; /* NaN: undefined */
    bool is_drift, is_known, has_prediction_moved;
    const char *reason;
};
/* threshold: the pipeline's.  What a feature's psi is held against is the greater one of it and
 * what chance alone gives once in a thousand windows of so few rows (drift_chance). */
void drift_judge(const struct reference *r, const struct counts *c, double threshold,
                 int64_t generation, struct arena *arena, struct verdict *ret);
/* PSI that as many bins over as many rows exceed by chance once in a thousand times: the statistic
 * is (1/window + 1/reference) times a chi-squared variable of bins - 1 degrees of freedom (Yurdakul
 * 2018). */
double drift_chance(size_t bins, int64_t reference_rows, int64_t window_rows);

struct drift_bounds {   /* the pipeline's */
    double psi;         /* of drift */
    const char *metric; /* of quality; NULL: none */
    double quality;     /* its bound */
};
/* The alert that follows from a health event of verdict drift or degraded.  r: what the window was
 * held against, NULL when it is not at hand (then features that moved by what is missing are not
 * listed). */
void drift_alert(const struct health_measured *h, const struct reference *r,
                 const struct drift_bounds *bounds, int64_t now_unix_ms, struct arena *arena,
                 struct drift_detected *ret);
/* Is an alert due after this many windows in a row? */
bool drift_is_due(const struct health_measured *h, int64_t consecutive);

#endif
