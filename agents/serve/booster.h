/* Models in memory, by the digest of their manifest.  A model is loaded on the pool (manifest with
 * signature, file digest, structure, XGBoost, one prediction) and then shared by whoever holds a
 * reference; the last one that lets go frees it.  Loop thread, but for what a booster is read for:
 * any. */
#ifndef SERVE_BOOSTER_H
#define SERVE_BOOSTER_H

#include "agents/serve/columns.h"
#include "common/loop.h"
#include "common/model.h"
#include "common/xgb.h"

struct booster { /* fields are for reading */
    char digest[DIGEST_HEX_SIZE];
    struct model *model;
    struct xgb *xgb;
    struct columns *columns;
    int refs;
};
struct boosters;

enum load_state {
    LOAD_NONE = 0,
    LOAD_UNDER_WAY, /* on_loaded will come */
    LOAD_READY,
    LOAD_FAILED
};

struct boosters_conf {
    struct loop *loop;
    const struct artifacts *artifacts;
    const char *trusted_keys; /* comma-separated public keys, hex; NULL or "": any model is taken */
    int64_t retry_ms;         /* for so long what may get better is tried again */
    void (*on_loaded)(void *ctx, const char *digest); /* ready or failed; not from within a call */
    void *ctx;
};
struct boosters *boosters_new(const struct boosters_conf *conf);
/* Loads under way and references held end by themselves afterwards.  NULL is fine. */
void boosters_free(struct boosters *b);

/* Starts loading what is not there.  FAILED: *err says why (the caller's, untouched otherwise). */
enum load_state boosters_want(struct boosters *b, const char *digest, struct err *err);
/* A failed one is tried again. */
void boosters_retry(struct boosters *b, const char *digest);
/* A reference to one that is READY; NULL when it is not. */
struct booster *boosters_take(struct boosters *b, const char *digest);
void booster_ref(struct boosters *b, struct booster *booster);
void boosters_release(struct boosters *b, struct booster *booster); /* NULL is fine */
size_t boosters_count(const struct boosters *b);
/* The work itself; any thread. */
int booster_load(const struct artifacts *a, const char *digest, const char *trusted_keys,
                 struct booster **ret, struct err *err) WARN_UNUSED;
void booster_free(struct booster *booster);

#endif
