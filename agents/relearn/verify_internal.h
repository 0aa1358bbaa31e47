/* What the checks of one line share.  Nobody else includes this. */
#ifndef RELEARN_VERIFY_INTERNAL_H
#define RELEARN_VERIFY_INTERNAL_H

#include "agents/relearn/verify.h"
#include "common/line.h"

struct check { /* one call of verify_line_check */
    const struct verify_line *l;
    const struct verify_clock *clock;
    struct findings *f;
};
struct verify_group { /* events that share an id, a cause or a run, in log order */
    struct verify_event *const *items;
    size_t n;
};

bool verify__is(const char *a, const char *b); /* equal texts; NULL equals nothing */
const char *verify__short(const char *id);     /* for sentences: "" for NULL */
bool verify__counts(const struct verify_event *e);
/* The first with this id in the topic; NULL. */
struct verify_event *verify__find(const struct verify_line *l, enum record r, const char *id);
/* In any topic of the line. */
struct verify_event *verify__find_any(const struct verify_line *l, const char *id);
/* Without repeats; with the void ones. */
struct verify_group verify__answers(const struct verify_line *l, enum record r, const char *cause);
struct verify_group verify__of_run(const struct verify_line *l, enum record r, const char *run);
struct verify_group verify__covering(const struct verify_line *l, const char *trigger);
size_t verify__counting(struct verify_group g);            /* of them */
struct verify_event *verify__first(struct verify_group g); /* that counts; NULL */

bool verify__is_late(const struct check *c, const struct verify_event *e);
bool verify__is_over(const struct check *c, int64_t deadline_unix_ms); /* and patience with it */
/* A violation by this event, when it is judged. */
void verify__refute(struct check *c, enum verify_check check, const struct verify_event *e,
                    const char *todo, const char *fmt, ...) PRINTF(5, 6);
void verify__looked(struct check *c, enum verify_check check, const struct verify_event *e);
/* Nothing answers this event: a violation when it is late, else open. */
void verify__unanswered(struct check *c, enum verify_check check, const struct verify_event *e,
                        bool is_late, const char *todo, const char *what);
/* More than one event that counts answers it. */
void verify__answered_twice(struct check *c, enum verify_check check, const struct verify_event *e,
                            struct verify_group g);

/* verify_chain.c */
void verify__mark(struct verify_line *l); /* who won; at sealing */
void verify__bases(struct check *c);
void verify__generations(struct check *c);
/* verify_triggers.c */
void verify__triggers(struct check *c);
void verify__commands(struct check *c);
/* verify_runs.c */
void verify__runs(struct check *c);
void verify__evaluations(struct check *c);
/* verify_decisions.c */
void verify__decisions(struct check *c);
/* verify_served.c */
void verify__promotions(struct check *c);
void verify__serving(struct check *c);

#endif
