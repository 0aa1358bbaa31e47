#include "agents/relearn/named.h"

#include <string.h>
#include <uthash.h>

#include "common/digest.h"
#include "common/line.h"
#include "common/mem.h"
#include "common/model.h"
#include "common/snapshot.h"

enum { HEX_DIGITS = DIGEST_HEX_SIZE - 1 };

const char *named_kind_str(enum named_kind k)
{
    static const char *const NAMES[NAMED_KIND_COUNT] = {"bytes", "pipeline", "snapshot",
                                                        "model", "profile",  "file"};
    BUG_ON(k >= NAMED_KIND_COUNT);
    return NAMES[k];
}

/* ---- what an event says ---- */

struct say {
    named_fn fn;
    void *ctx;
};

static void say(const struct say *s, enum named_kind kind, const char *digest)
{
    if (digest && digest_is_hex(digest))
        s->fn(s->ctx, kind, digest);
}

static void say_snapshots(const struct say *s, const struct snapshot_ref_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        say(s, NAMED_SNAPSHOT, list->items[i].snapshot);
}

static void of_ingested(const struct say *s, const struct dataset_ingested *d)
{
    say(s, NAMED_PIPELINE, d->pipeline_sha256);
    say(s, NAMED_SNAPSHOT, d->snapshot);
    say(s, NAMED_PROFILE, d->profile);
}

static void of_finished(const struct say *s, const struct training_finished *f)
{
    say(s, NAMED_PIPELINE, f->pipeline_sha256);
    say(s, NAMED_MODEL, f->model);
    say_snapshots(s, &f->snapshots);
}

static void of_evaluated(const struct say *s, const struct model_evaluated *m)
{
    say(s, NAMED_PIPELINE, m->pipeline_sha256);
    say(s, NAMED_MODEL, m->model);
    say(s, NAMED_MODEL, m->champion);
    for (size_t i = 0; i < m->snapshots.n; i++)
        say(s, NAMED_SNAPSHOT, m->snapshots.items[i]);
}

static void of_deployment(const struct say *s, const struct deployment_changed *d)
{
    say(s, NAMED_PIPELINE, d->pipeline_sha256);
    say(s, NAMED_MODEL, d->model);
    for (size_t i = 0; i < d->routes.n; i++)
        say(s, NAMED_MODEL, d->routes.items[i].model);
}

static void of_serving(const struct say *s, const struct serving_changed *v)
{
    for (size_t i = 0; i < v->lines.n; i++)
        say(s, NAMED_MODEL, v->lines.items[i].model);
}

/* The bytes of a dataset are its publisher's, but they may lie in the store. */
static void of_dataset(const struct say *s, const struct dataset_published *d)
{
    static const char FOLDER[] = "/sha256/";
    const char *at = d->uri ? strstr(d->uri, FOLDER) : NULL;
    char digest[DIGEST_HEX_SIZE];

    say(s, NAMED_MAYBE, d->sha256);
    if (!at || strlen(at += strlen(FOLDER)) != HEX_DIGITS + 1 || at[2] != '/')
        return;
    memcpy(digest, at, 2);
    memcpy(digest + 2, at + 3, HEX_DIGITS - 2 + 1);
    say(s, NAMED_MAYBE, digest);
}

static bool is_hex_digit(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

/* Every run of 64 hex digits, as NAMED_MAYBE: results of runs, dead letters. A text's length may
 * stand before it as a byte that looks like a digit, so a longer run of digits
 * is read at each place. */
static void by_bytes(struct slice bytes, named_fn fn, void *ctx)
{
    size_t run = 0;

    for (size_t i = 0; i < bytes.n; i++) {
        run = is_hex_digit(bytes.p[i]) ? run + 1 : 0;
        if (run < HEX_DIGITS)
            continue;
        char digest[DIGEST_HEX_SIZE];
        memcpy(digest, bytes.p + i + 1 - HEX_DIGITS, HEX_DIGITS);
        digest[HEX_DIGITS] = '\0';
        fn(ctx, NAMED_MAYBE, digest);
    }
}

void named_by_event(const struct event *ev, named_fn fn, void *ctx)
{
    const struct say s = {fn, ctx};

    if (!ev->rec)
        return;
    switch (ev->type) {
    case RECORD_PIPELINE_DECLARED:
        say(&s, NAMED_PIPELINE, EV_REC(ev, pipeline_declared)->sha256);
        break;
    case RECORD_DATASET_PUBLISHED:
        of_dataset(&s, ev->rec);
        break;
    case RECORD_DATASET_INGESTED:
        of_ingested(&s, ev->rec);
        break;
    case RECORD_TRAINING_PLANNED:
        say(&s, NAMED_PIPELINE, EV_REC(ev, training_planned)->pipeline_sha256);
        say_snapshots(&s, &EV_REC(ev, training_planned)->snapshots);
        break;
    case RECORD_TRAINING_FINISHED:
        of_finished(&s, ev->rec);
        break;
    case RECORD_MODEL_EVALUATED:
        of_evaluated(&s, ev->rec);
        break;
    case RECORD_GATE_DECIDED:
        say(&s, NAMED_PIPELINE, EV_REC(ev, gate_decided)->pipeline_sha256);
        say(&s, NAMED_MODEL, EV_REC(ev, gate_decided)->model);
        break;
    case RECORD_DEPLOYMENT_CHANGED:
        of_deployment(&s, ev->rec);
        break;
    case RECORD_SERVING_CHANGED:
        of_serving(&s, ev->rec);
        break;
    case RECORD_PREDICTION_SERVED:
        say(&s, NAMED_MODEL, EV_REC(ev, prediction_served)->model);
        break;
    case RECORD_OPERATOR_COMMANDED: /* force: the model that is meant */
        say(&s, NAMED_MAYBE, EV_REC(ev, operator_commanded)->target);
        break;
    case RECORD_DEAD_LETTERED:
        by_bytes(
            (struct slice){EV_REC(ev, dead_lettered)->value.p, EV_REC(ev, dead_lettered)->value.n},
            fn, ctx);
        break;
    default: /* drift, labels, health, progress: they name none */
        break;
    }
}

/* ---- what a manifest says ---- */

static int of_snapshot(const struct artifacts *a, const char *digest, const struct say *s,
                       struct err *err)
{
    struct snapshot *m = NULL;

    if (snapshot_open(a, digest, &m, err))
        return -1;
    say(s, NAMED_PIPELINE, m->pipeline_sha256);
    say(s, NAMED_PROFILE, m->profile);
    say(s, NAMED_FILE, m->features);
    say(s, NAMED_FILE, m->label);
    say(s, NAMED_FILE, m->split);
    say(s, NAMED_FILE, m->row_hash);
    if (m->n_asides)
        say(s, NAMED_FILE, m->aside);
    snapshot_free(m);
    return 0;
}

static int of_model(const struct artifacts *a, const char *digest, const struct say *s,
                    struct err *err)
{
    struct model *m = NULL;

    if (model_open(a, digest, &m, err))
        return -1;
    say(s, NAMED_PIPELINE, m->pipeline_sha256);
    say(s, NAMED_FILE, m->file);
    say(s, NAMED_PROFILE, m->profile);
    for (size_t i = 0; i < m->n_snapshots; i++)
        say(s, NAMED_SNAPSHOT, m->snapshots[i]);
    model_free(m);
    return 0;
}

/* Bytes of unknown meaning are a manifest when one of the two readers takes them. */
static void of_unknown(const struct artifacts *a, const char *digest, const struct say *s)
{
    struct err none = {0};

    if (of_snapshot(a, digest, s, &none))
        (void)of_model(a, digest, s, &none);
}

/* What the artefact names in turn, when it is a manifest (NAMED_MAYBE: when it turns out to be
 * one); its own digest is verified on the way.  Errors: ERR_NOTFOUND, ERR_CODEC (damaged),
 * ERR_IO. */
static int by_artifact(const struct artifacts *a, enum named_kind kind, const char *digest,
                       named_fn fn, void *ctx, struct err *err)
{
    const struct say s = {fn, ctx};

    if (kind == NAMED_SNAPSHOT)
        return of_snapshot(a, digest, &s, err);
    if (kind == NAMED_MODEL)
        return of_model(a, digest, &s, err);
    if (kind == NAMED_MAYBE && artifacts_has(a, digest))
        of_unknown(a, digest, &s);
    return 0;
}

/* ---- the set ---- */

struct item {
    struct named_entry e;
    bool is_followed;
    UT_hash_handle hh;
};
struct named {
    const struct artifacts *artifacts;
    struct item *items;
    /* Names whose manifests wait to be followed: manifests name manifests. */
    struct item **open;
    size_t n_open, cap_open;
    const char *by; /* while something is being taken */
};

struct named *named_new(const struct artifacts *a)
{
    struct named *n = xcalloc(1, sizeof(*n));

    n->artifacts = a;
    return n;
}

void named_free(struct named *n)
{
    struct item *i, *next;

    if (!n)
        return;
    HASH_ITER (hh, n->items, i, next) {
        HASH_DEL(n->items, i);
        free(i);
    }
    free(n->open);
    free(n);
}

static bool has_manifest(enum named_kind kind)
{
    return kind == NAMED_SNAPSHOT || kind == NAMED_MODEL || kind == NAMED_MAYBE;
}

static void take(void *ctx, enum named_kind kind, const char *digest)
{
    struct named *n = ctx;
    struct item *i = NULL;

    HASH_FIND(hh, n->items, digest, HEX_DIGITS, i);
    if (!i) {
        i = xcalloc(1, sizeof(*i));
        memcpy(i->e.digest, digest, DIGEST_HEX_SIZE);
        i->e.kind = kind;
        (void)str_copy(i->e.by, sizeof(i->e.by), n->by); /* longer ids of outside events are cut */
        HASH_ADD(hh, n->items, e.digest, HEX_DIGITS, i);
    } else if (i->e.kind == NAMED_MAYBE && kind != NAMED_MAYBE) {
        i->e.kind = kind;
        i->is_followed = false;
        (void)str_copy(i->e.by, sizeof(i->e.by), n->by);
    }
    if (i->is_followed || !has_manifest(i->e.kind))
        return;
    i->is_followed = true; /* while it waits */
    n->open = xgrow(n->open, &n->cap_open, n->n_open + 1, sizeof(*n->open));
    n->open[n->n_open++] = i;
}

static void follow_open(struct named *n)
{
    while (n->n_open) {
        struct item *i = n->open[--n->n_open];
        struct err err = {0};

        n->by = i->e.digest;
        i->e.is_broken = by_artifact(n->artifacts, i->e.kind, i->e.digest, take, n, &err) != 0;
        i->is_followed = !i->e.is_broken;
    }
    n->by = NULL;
}

void named_take_event(struct named *n, const struct event *ev)
{
    n->by = ev->id;
    named_by_event(ev, take, n);
    follow_open(n);
}

void named_take_bytes(struct named *n, struct slice bytes, const char *by)
{
    n->by = by;
    by_bytes(bytes, take, n);
    follow_open(n);
}

const struct named_entry *named_find(const struct named *n, const char *digest)
{
    const struct item *i = NULL;

    HASH_FIND(hh, n->items, digest, HEX_DIGITS, i);
    return i ? &i->e : NULL;
}

size_t named_count(const struct named *n)
{
    return HASH_COUNT(n->items);
}

void named_each(const struct named *n, void (*fn)(void *ctx, const struct named_entry *e),
                void *ctx)
{
    for (const struct item *i = n->items; i; i = i->hh.next)
        fn(ctx, &i->e);
}
