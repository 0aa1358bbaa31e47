/* What the looks of `relearn doctor` share: cmd_doctor.c (agents, store, disk), doctor_bus.c (bus,
 * topics, registry). */
#ifndef RELEARN_DOCTOR_H
#define RELEARN_DOCTOR_H

#include "agents/relearn/site.h"

enum doctor_level { DOCTOR_OK = 0, DOCTOR_WARN, DOCTOR_BAD, DOCTOR_LEVEL_COUNT };
struct doctor {
    const struct site *site;
    struct json *findings;
    bool is_json;
    size_t counts[DOCTOR_LEVEL_COUNT];
};
/* mend: a command; NULL for what is in order. */
void doctor_say(struct doctor *d, enum doctor_level level, const char *check, const char *mend,
                const char *fmt, ...) PRINTF(5, 6);
void doctor_bus(struct doctor *d, int64_t wait_ms);
void doctor_registry(struct doctor *d);

#endif
