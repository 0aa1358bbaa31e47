/* Attributes and small macros that every file uses.  No third-party include. */
#ifndef COMMON_BASE_H
#define COMMON_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/banned.h"

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define WARN_UNUSED __attribute__((warn_unused_result))
#define PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define NORETURN __attribute__((noreturn))

/* CLEANUP(buf_fini) struct buf b = {0};  the function gets the variable's address at scope exit.
 * CLEANUP_FREE char *s: frees.  `return TAKE(p)` hands a CLEANUP pointer to the caller. */
#define CLEANUP(fn) __attribute__((cleanup(fn)))
#define TAKE(p)                                                                                    \
    ({                                                                                             \
        __typeof__(p) take_tmp_ = (p);                                                             \
        (p) = NULL;                                                                                \
        take_tmp_;                                                                                 \
    })

/* A broken promise of our own code, never a reaction to input: prints file and line, aborts. */
#define BUG_ON(cond)                                                                               \
    do {                                                                                           \
        if (__builtin_expect(!!(cond), 0))                                                         \
            bug_abort(#cond, __FILE__, __LINE__);                                                  \
    } while (0)
NORETURN void bug_abort(const char *cond, const char *file, int line);

/* "no value" of optional fields in event structs; absent doubles are NaN, absent strings NULL. */
#define ABSENT_I64 INT64_MIN

#endif
