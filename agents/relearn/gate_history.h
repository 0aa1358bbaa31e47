/* What was decided on a line, decided again: the events that a decision rested on are folded as far
 * as its gate had read them, and common/gate.h answers once more.  In memory, one line at a time.
 * Thread: main. */
#ifndef RELEARN_GATE_HISTORY_H
#define RELEARN_GATE_HISTORY_H

#include "common/codec.h"
#include "common/gate.h"

struct gate_history;
struct gate_history *gate_history_new(const char *line);
/* Knows the schemas of what was added; before the first gate_history_again.  Kept. */
void gate_history_codec(struct gate_history *h, struct codec *codec);
void gate_history_free(struct gate_history *h); /* NULL is fine */
/* An event of the line, in the order of its topic; `framed` is its value as it lies there. Copied;
 * what the gate does not read is passed over. */
void gate_history_add(struct gate_history *h, const struct event *ev, struct slice framed);
size_t gate_history_decisions(const struct gate_history *h); /* with void ones and repeats */

/* Finds the pipeline under a digest; NULL with *err set. */
typedef const struct pipeline *(*gate_policy_fn)(void *ctx, const char *sha256, struct err *err);

enum gate_again_result {
    GATE_AGAIN_SAME = 0, /* the same id and the same bytes */
    GATE_AGAIN_DIFFERS,
    GATE_AGAIN_OLDER,   /* by another version of the rules: the same verdicts, other words */
    GATE_AGAIN_VOID,    /* lost against a rival, or a repeat: it decided nothing */
    GATE_AGAIN_UNKNOWN, /* its inputs are not there */
    GATE_AGAIN_COUNT
};
const char *gate_again_str(enum gate_again_result r);

struct gate_again {
    enum gate_again_result result;
    const struct event *then;  /* the decision; its record is gate_decided */
    const struct event *cause; /* what it answered; NULL unknown */
    struct gate_decided now;   /* GATE_AGAIN_SAME, _DIFFERS, _OLDER */
    bool is_judged;            /* an evaluation was held against the policy */
    char what[400];            /* one sentence: how it differs, or why it cannot be told; "" */
    struct arena arena;        /* owns `now` */
};
void gate_again_fini(struct gate_again *a);
/* The i-th decision again.  try: held against this pipeline instead of its own; then what was no
 * judgement stays as it is.  NULL: its own. `then` is borrowed until the next call. */
void gate_history_again(struct gate_history *h, size_t i, const struct pipeline *try,
                        gate_policy_fn policy, void *ctx, struct gate_again *ret);

#endif
