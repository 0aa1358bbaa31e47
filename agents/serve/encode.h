/* From a request's tensors to the rows that a model sees: float32, row-major, missing NaN.
 *
 * Two shapes are taken: one numeric tensor [rows, features] with the model's columns in their
 * order, or one tensor [rows, 1] or [rows] for each column, found by name.  null is missing.
 * Columns that the model does not have are refused unless they are among `known`; columns that are
 * not there are refused too. Pure; thread: any. */
#ifndef SERVE_ENCODE_H
#define SERVE_ENCODE_H

#include "agents/serve/columns.h"
#include "agents/serve/request.h"

/* known: names of columns that are no features but may be sent along (segment, time, ...);
 * NULL-terminated. *ret_x is the caller's.  Errors: ERR_INVAL, naming tensor and position. */
int encode_rows(const struct oip_request *rq, const struct columns *c, const char *const *known,
                float **ret_x, size_t *ret_rows, struct err *err) WARN_UNUSED;
/* The one value that all rows of the tensor have, as text: strings as they are, numbers in their
 * shortest form. Errors: ERR_INVAL when rows differ or one is missing. */
int encode_common_text(const struct oip_request *rq, const struct oip_tensor *t,
                       struct arena *arena, const char **ret, struct err *err) WARN_UNUSED;

#endif
