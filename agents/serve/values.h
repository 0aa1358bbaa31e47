/* The values of one tensor, one after the other: JSON, flat or nested as its shape says, or raw
 * bytes. Pure; thread: any. */
#ifndef SERVE_VALUES_H
#define SERVE_VALUES_H

#include "agents/serve/request.h"

enum value_type { VALUE_MISSING = 0, VALUE_NUMBER, VALUE_TEXT, VALUE_BOOL };
struct value { /* borrowed during the call */
    enum value_type kind;
    double number; /* numbers; truth values: 0 or 1 */
    struct slice text;
};
typedef int (*value_fn)(void *ctx, size_t i, const struct value *v, struct err *err);

/* Calls fn for each value, row by row; stops when it returns non-zero.
 * Errors: ERR_INVAL "data[7]: ..." for a wrong type, range or count, and for what fn says. */
int values_each(const struct oip_tensor *t, value_fn fn, void *ctx, struct err *err) WARN_UNUSED;

#endif
