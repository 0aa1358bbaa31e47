/* Errors by value: reporting one cannot fail and needs no free.  `next` says what the runtime does
 * with the input that led here; it is decided where the error is known best, acted on in one place
 * (common/agent.c).  Thread: any. */
#ifndef COMMON_ERR_H
#define COMMON_ERR_H

#include "common/base.h"

enum err_code {
    ERR_NONE = 0,
    ERR_INVAL,    /* the input is wrong: say what, where, what to do */
    ERR_NOTFOUND, /* named thing does not exist */
    ERR_CONFLICT, /* state moved: somebody else was first */
    ERR_LIMIT,    /* a cap was reached */
    ERR_TIMEOUT,
    ERR_CODEC, /* bytes that cannot be decoded */
    ERR_BUS,
    ERR_STORE,
    ERR_HTTP,
    ERR_CHILD, /* a child process failed */
    ERR_IO,
    ERR_CANCELED,
    ERR_COUNT
};

enum err_next {
    NEXT_REJECT = 0, /* will never get better: answer with the reason, dead letter, go on */
    NEXT_RETRY,      /* may get better: bounded, jittered back-off */
    NEXT_FATAL,      /* this process cannot go on */
    NEXT_COUNT
};

struct err {
    enum err_code code;
    enum err_next next;
    char msg[480];
};

/* Sets *err (NULL is allowed) and returns -1, so that `return err_set(...)` reads well. */
int err_set(struct err *err, enum err_code code, enum err_next next, const char *fmt, ...)
    PRINTF(4, 5);
/* Shorthands with the usual disposition. */
#define err_inval(err, ...) err_set((err), ERR_INVAL, NEXT_REJECT, __VA_ARGS__)
#define err_io(err, ...) err_set((err), ERR_IO, NEXT_RETRY, __VA_ARGS__)
/* "gate: load model m7: " in front of what is there; returns -1. */
int err_wrap(struct err *err, const char *fmt, ...) PRINTF(2, 3);
const char *err_code_str(enum err_code code);
const char *err_next_str(enum err_next next);

#ifdef __clang_analyzer__
/* The analyzer cannot see that these return -1 and would follow paths that are none. */
static inline int err__minus_one(void)
{
    return -1;
}
#define err_set(...) ((void)(err_set)(__VA_ARGS__), err__minus_one())
#define err_wrap(...) ((void)(err_wrap)(__VA_ARGS__), err__minus_one())
#endif

#endif
