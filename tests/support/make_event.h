/* Events as if they had been read from the log, made from record structs: for tests that fold them.
 * Thread: main. */
#ifndef TESTS_SUPPORT_MAKE_EVENT_H
#define TESTS_SUPPORT_MAKE_EVENT_H

#include "common/events.h"

struct event_parts {
    enum record type;
    const void *rec;           /* copied deeply; borrows */
    const char *id;            /* NULL: from cause and about, as agent_emit makes it */
    const struct event *cause; /* NULL: a first event */
    const char *about;
    const char *key; /* NULL: the record's own */
    int64_t time_unix_ms;
    int hops; /* of a first event; else one more than the cause has */
};

/* The caller's (or the line's that it is folded into).  Offsets rise by one with every event made.
 */
struct event *make_event(const struct event_parts *parts);
/* A deep copy of a record by its field table. */
const void *record_copy(enum record r, const void *rec, struct arena *arena);

#endif
