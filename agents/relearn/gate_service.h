/* What the generations of a line were worth in service: the monitor's quality figures, weighted by
 * their labels, and which decision led to which generation.  Thread: main. */
#ifndef RELEARN_GATE_SERVICE_H
#define RELEARN_GATE_SERVICE_H

#include "common/buf.h"
#include "common/events.h"

enum { GATE_SERVICE_METRICS = 8 }; /* the monitor reports three; later ones are passed over */

struct generation_service {
    int64_t generation;
    char *decision; /* that led to it; NULL: none that is known (a rollback) */
    int64_t labels; /* that its figures rest on */
    char *metrics[GATE_SERVICE_METRICS];
    double sums[GATE_SERVICE_METRICS]; /* value times labels */
};
struct gate_service {
    struct generation_service *items;
    size_t n, cap;
};
void gate_service_fini(struct gate_service *s);
void gate_service_deployment(struct gate_service *s, const struct deployment_changed *d);
void gate_service_health(struct gate_service *s, const struct health_measured *h);
/* NULL: nothing is known of it. */
const struct generation_service *gate_service_generation(const struct gate_service *s,
                                                         int64_t generation);
const struct generation_service *gate_service_of(const struct gate_service *s,
                                                 const char *decision);
double generation_service_value(const struct generation_service *g, size_t metric); /* NaN: none */
/* "accuracy 0.81, logloss 0.4 over 2000 labels", or "no labels came". */
void generation_service_str(const struct generation_service *g, struct buf *out);

#endif
