/* Which artefacts the log names: what an event says itself, and what the manifests of snapshots and
 * models name in turn.  The pure half hands each name to a function; the set remembers names, and
 * follows each manifest once however many events name it.  Memory: some 150 bytes an artefact,
 * nothing an event.  Thread: one at a time. */
#ifndef RELEARN_NAMED_H
#define RELEARN_NAMED_H

#include "common/artifact.h"
#include "common/events.h"

enum named_kind {
    NAMED_MAYBE =
        0, /* a digest in bytes of unknown meaning: kept by gc, missed by nobody when absent */
    NAMED_PIPELINE, /* a declaration's text */
    NAMED_SNAPSHOT, /* a manifest */
    NAMED_MODEL,    /* a manifest */
    NAMED_PROFILE,
    NAMED_FILE, /* an array of a snapshot, a booster */
    NAMED_KIND_COUNT
};
const char *named_kind_str(enum named_kind k);

/* digest: 64 lower-case hex digits, borrowed. */
typedef void (*named_fn)(void *ctx, enum named_kind kind, const char *digest);

/* What the event says itself.  What is no digest is passed over. Of a dead letter: every digest
 * that its bytes spell out, since it may be sent back. */
void named_by_event(const struct event *ev, named_fn fn, void *ctx);
/* ---- the set ---- */
struct named;
struct named_entry {
    char digest[DIGEST_HEX_SIZE];
    enum named_kind kind;     /* the most telling that was said of it */
    char by[DIGEST_HEX_SIZE]; /* id of the first event that named it, or digest of the manifest */
    bool is_broken;           /* its manifest could not be followed: missing or damaged */
};
struct named *named_new(const struct artifacts *a); /* borrows the store until named_free */
void named_free(struct named *n);
/* Each takes names, and follows the manifests among them at once.  One that cannot be followed is
 * marked is_broken and tried again when it is named again. */
void named_take_event(struct named *n, const struct event *ev);
void named_take_bytes(struct named *n, struct slice bytes, const char *by);
const struct named_entry *named_find(const struct named *n,
                                     const char *digest); /* NULL: not named */
size_t named_count(const struct named *n);
void named_each(const struct named *n, void (*fn)(void *ctx, const struct named_entry *e),
                void *ctx);

#endif
