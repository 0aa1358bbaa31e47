/* What the two halves of the checks share: sim_check.c (after every step), sim_rest.c (at rest). */
#ifndef TESTS_SIM_SIM_CHECK_H
#define TESTS_SIM_SIM_CHECK_H

#include <uthash.h>

#include "tests/sim/sim.h"

struct seen { /* an id */
    const char *id;
    const struct sim_entry *first;
    int n; /* further ones */
    UT_hash_handle hh;
};
struct checked { /* a line, as the log has it */
    struct line *line;
    /* by hand */
    int64_t plans, decisions, deployments, generation;
    const char *in_flight;
    const struct deployment_changed *serving;
    struct seen *covered; /* triggers */
    UT_hash_handle hh;
};
struct checked *sim_lines(void); /* walk by hh.next */
struct seen *sim_seen(const char *id);
bool sim_is_answered(const char *agent, const struct line *l, const struct event *ev);

#endif
