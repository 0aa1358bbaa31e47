/* A strict JSON scanner over bytes, for requests whose values are too many to make a tree of: each
 * function takes one thing at the front and moves on.  What it takes is what common/json.h takes
 * (UTF-8, no \u0000, at most SCAN_MAX_LEVELS levels), but for duplicate keys, which its callers
 * look for where they matter.  Pure; thread: any. */
#ifndef SERVE_SCAN_H
#define SERVE_SCAN_H

#include "common/buf.h"
#include "common/err.h"
#include "common/mem.h"

#define SCAN_MAX_LEVELS 64 /* as common/json.h */

struct scan {
    const char *begin, *p, *end;
};
enum scan_kind {
    SCAN_END = 0, /* nothing but blanks is left */
    SCAN_OBJECT,
    SCAN_ARRAY,
    SCAN_STRING,
    SCAN_NUMBER,
    SCAN_TRUE,
    SCAN_FALSE,
    SCAN_NULL,
    SCAN_OTHER /* no value begins here */
};

struct scan scan_on(struct slice text);
/* What begins at the front, blanks passed over. */
enum scan_kind scan_peek(struct scan *s);
const char *scan_kind_str(enum scan_kind k); /* "a string", "null", ... */
/* A string.  Without escapes *ret lies in the text itself, else in the arena. */
int scan_string(struct scan *s, struct arena *arena, struct slice *ret,
                struct err *err) WARN_UNUSED;
/* A number: as it is written, and what it is worth.  Errors: ERR_INVAL, also beyond a double. */
int scan_number(struct scan *s, struct slice *ret_text, double *ret, struct err *err) WARN_UNUSED;
int scan_bool(struct scan *s, bool *ret, struct err *err) WARN_UNUSED;
int scan_null(struct scan *s, struct err *err) WARN_UNUSED;
/* Any value, checked and passed over; *ret (may be NULL) is its text. */
int scan_skip(struct scan *s, struct slice *ret, struct err *err) WARN_UNUSED;
/* Walks an object: `{` is taken by the first call, `}` by the last.  *first is true at the start.
 * 1: a key is in *ret_key and its value is next; 0: the object is over; -1. */
int scan_member(struct scan *s, bool *first, struct arena *arena, struct slice *ret_key,
                struct err *err) WARN_UNUSED;
/* The same for an array: 1: an element is next. */
int scan_element(struct scan *s, bool *first, struct err *err) WARN_UNUSED;

#endif
