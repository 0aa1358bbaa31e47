/* What the looks of `relearn doctor` share: cmd_doctor.c (agents, store, disk), doctor_bus.c (bus,
 * topics, registry), doctor_clock.c (the brokers' clock); doctor_judge.c judges. */
#ifndef RELEARN_DOCTOR_H
#define RELEARN_DOCTOR_H

#include "agents/relearn/doctor_judge.h"
#include "agents/relearn/site.h"
#include "common/bus.h"

struct doctor {
    const struct site *site;
    struct json *findings;
    bool is_json;
    size_t counts[DOCTOR_LEVEL_COUNT];
};
/* mend: a command; NULL for what is in order. */
void doctor_say(struct doctor *d, enum doctor_level level, const char *check, const char *mend,
                const char *fmt, ...) PRINTF(5, 6);
void doctor_found(void *doctor, enum doctor_level level, const char *check, const char *mend,
                  const char *what);
void doctor_bus(struct doctor *d, int64_t wait_ms);
void doctor_registry(struct doctor *d);
/* Of the topics whose events agents date, states[r] of record r's: reads the last events of each.
 */
void doctor_clock(struct doctor *d, const struct bus_conf *conf,
                  const struct bus_topic_state *states, int64_t wait_ms);

#endif
