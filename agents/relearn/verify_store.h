/* The artefact store against the names that the log gives: what is named is there with its bytes,
 * and what nobody names is not old.  Changes nothing. */
#ifndef RELEARN_VERIFY_STORE_H
#define RELEARN_VERIFY_STORE_H

#include "agents/relearn/named.h"
#include "agents/relearn/verify.h"
#include "common/strset.h"

struct verify_store {
    const struct artifacts *artifacts;
    const struct named *names;
    const struct strset *runs; /* whose results may be there */
    bool reads_bytes;          /* else only: is it there? */
    int64_t now_unix_ms;
};
enum { STORE_OLD_MS = 24 * 3600 * 1000 }; /* bytes come before words, but not by a day */

/* VERIFY_ARTEFACTS. */
void store_check_named(const struct verify_store *s, struct findings *f);
/* VERIFY_UNNAMED.  The names of a run's own result count as well: names gets them. */
int store_check_unnamed(const struct verify_store *s, struct named *names, struct findings *f,
                        struct err *err) WARN_UNUSED;

#endif
