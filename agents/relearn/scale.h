/* How many instances of which agent: "train=2,serve=3".  Pure. */
#ifndef RELEARN_SCALE_H
#define RELEARN_SCALE_H

#include "common/buf.h"
#include "common/err.h"

enum {
    SCALE_AGENTS = 9,
    SCALE_MAX_INSTANCES = 32, /* of one agent: beyond it one machine is the wrong place */
};
extern const char *const scale_agents[SCALE_AGENTS]; /* in the order in which they are started */

struct scale {
    int n[SCALE_AGENTS];
};
void scale_init(struct scale *s); /* one of each */
/* Changes the agents that the text names; on an error none.  ERR_INVAL names what is wrong. */
int scale_parse(struct scale *s, const char *text, struct err *err) WARN_UNUSED;
int scale_index(const char *agent); /* -1: there is no such agent */
/* What is not one of each, as text that can be parsed. */
void scale_write(const struct scale *s, struct buf *out);

#endif
