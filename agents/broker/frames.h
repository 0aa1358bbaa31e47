/* The little of Kafka's protocol that the relay must understand: who asks for which partitions
 * (Fetch, versions 4 to 11), what an answer without news looks like, and what was written (Produce,
 * 3 to 7). Frames begin with their 4-byte length.  Pure; every length in a frame is checked against
 * its end. */
#ifndef BROKER_FRAMES_H
#define BROKER_FRAMES_H

#include "common/buf.h"

enum { FRAME_PRODUCE = 0, FRAME_FETCH = 1, FRAME_HEAD_BYTES = 12 };

struct frame_head { /* of a request */
    size_t bytes;   /* with the length itself */
    int api, version;
};
bool frame_head(struct slice from, struct frame_head *ret); /* false: not yet FRAME_HEAD_BYTES */

/* Partitions, with false positives: one costs a look for nothing. */
struct part_set {
    uint64_t bits[128];
};
void part_set_add(struct part_set *s, struct slice topic, int32_t partition);
bool part_set_meets(const struct part_set *a, const struct part_set *b);

struct fetch {
    int version;
    size_t wait_at;     /* offset of the longest wait, an int32, in the frame */
    size_t empty_bytes; /* of an answer without records */
    struct part_set parts;
    uint64_t positions; /* the same for the same partitions and offsets, in whatever order */
};
bool fetch_parse(struct slice frame, struct fetch *ret); /* false: passed on as it is */
void fetch_set_wait(char *frame, const struct fetch *f, int32_t wait_ms);
/* Neither records nor an error: nothing that the asker does not know. */
bool fetch_answer_is_empty(const struct fetch *f, struct slice answer);
bool produce_parse(struct slice frame, struct part_set *ret);

#endif
