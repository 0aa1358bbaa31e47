/* What the files of verify_take share: verify_take.c (events in), verify_lines.c (lines out),
 * verify_event.c (messages to events).  Nobody else includes this. */
#ifndef RELEARN_VERIFY_TAKE_INTERNAL_H
#define RELEARN_VERIFY_TAKE_INTERNAL_H

#include <uthash.h>

#include "agents/relearn/verify_take.h"

struct declared { /* a pipeline in force */
    char *name, *dataset;
    bool is_segmented;
    int64_t first_declared_unix_ms, declared_unix_ms;
    UT_hash_handle hh;
};
struct answered { /* a line's predictions of one generation by one model */
    char *key;    /* line, generation, model */
    char *line;
    struct verify_answer a;
    UT_hash_handle hh;
};
struct instance { /* the newest report of an instance of serve */
    char *name;
    char *url;         /* NULL: it has said that it stops */
    struct buf report; /* packed */
    int64_t offset;
    bool is_there; /* answers at its URL */
    UT_hash_handle hh;
};
struct topic_parts {
    int64_t *first; /* oldest offset of each partition */
    int64_t *next;  /* the one after the last that was taken; 0: none was */
    bool *has_gap;  /* what was there went away while it was read (the embedded bus is a ring) */
    int n;
};
struct material {
    struct material_conf conf;
    struct ids *ids;
    struct spool *lines; /* by pipeline: what the checks of lines want */
    struct named *named;
    struct strset runs;
    char *cluster;
    struct topic_parts topics[RECORD_COUNT];
    struct declared *declared;
    struct answered *answered;
    struct instance *instances;
    int64_t events[RECORD_COUNT];
    struct buf packed;
    enum material_use use;
    struct err failure; /* the first: of the disk */
};
struct taken {       /* one message */
    struct event ev; /* its texts are in its arena, its record is borrowed */
    struct slice value;
    int64_t appended_unix_ms;
    bool is_judged;
    int belongs; /* to another partition than it lies on; else -1 */
};

/* verify_event.c */
/* Headers only; event_fini by arena_fini(&ret->arena). */
void event_of_message(enum record r, const struct bus_message *msg, struct event *ret);
/* Into bytes for the spool, and back (decoded, the caller's). */
void event_pack(const struct taken *t, const char *key, struct buf *out);
int event_unpack(struct slice bytes, struct codec *codec, struct event **ret,
                 int64_t *ret_appended_unix_ms, bool *ret_is_judged, struct err *err) WARN_UNUSED;
/* verify_take.c */
bool material__is_cut(const struct material *m, int partition);
/* verify_lines.c */
int material__check_lines(struct material *m, struct codec *codec, struct err *err) WARN_UNUSED;

#endif
