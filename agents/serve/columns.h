/* A model's columns, prepared for encoding: found by name, categories by text, in constant time.
 * The same rules as common/model.h's model_encode_cell, and beyond it the dates and truth values
 * that ingest takes.  Pure; thread: any once made. */
#ifndef SERVE_COLUMNS_H
#define SERVE_COLUMNS_H

#include "common/model.h"

struct columns;

struct columns *columns_new(const struct model *m); /* borrows m */
void columns_free_all(struct columns *c);           /* NULL is fine */
size_t columns_count(const struct columns *c);
const char *columns_name(const struct columns *c, size_t i);
int columns_find(const struct columns *c, struct slice name); /* index or -1 */

/* One cell; what a model has no code for is missing (NaN).  Errors: ERR_INVAL, without the place.
 */
int columns_encode_text(const struct columns *c, size_t i, struct slice text, float *ret,
                        struct err *err) WARN_UNUSED;
int columns_encode_number(const struct columns *c, size_t i, double v, float *ret,
                          struct err *err) WARN_UNUSED;
int columns_encode_bool(const struct columns *c, size_t i, bool v, float *ret,
                        struct err *err) WARN_UNUSED;

#endif
