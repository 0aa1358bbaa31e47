/* What the files of module store share. */
#ifndef COMMON_STORE_INTERNAL_H
#define COMMON_STORE_INTERNAL_H

#include <sqlite3.h>

#include "common/store.h"

enum { STORE_BUCKETS = 64 }; /* an agent has some dozen statements */

struct stmt {
    struct store *st;
    struct stmt *next; /* in its bucket */
    sqlite3_stmt *s;
    char *sql;
    int bind_rc;    /* the first failure of a bind, told by the next step */
    bool is_active; /* stepped and not yet at its end */
};

struct store {
    sqlite3 *db;
    char *path;
    struct stmt *statements[STORE_BUCKETS];
    size_t n_statements;
    bool in_transaction;
    int64_t steps_left; /* thousands; store_limit_steps */
    bool is_damaged;    /* found while in use: set aside at close */
};

/* Puts code and text of the last failure into *err, with what becomes of it; returns -1. */
int store__fail(struct store *st, int rc, const char *what, struct err *err);
void store__finalize_all(struct store *st);

#endif
