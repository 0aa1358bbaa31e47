/* A model text as a tree of values, from UBJ or JSON, without XGBoost.  Borrows the text.  Only the
 * forms that XGBoost writes are taken, so that its reader and this one cannot understand a text
 * differently: lengths in front of arrays, no key twice, nothing behind the end.  Only xgb*.c
 * include this. */
#ifndef COMMON_XGB_DOC_H
#define COMMON_XGB_DOC_H

#include "common/buf.h"
#include "common/err.h"
#include "common/mem.h"

enum doc_kind { DOC_NULL = 0, DOC_OBJECT, DOC_LIST, DOC_VECTOR, DOC_STRING, DOC_NUMBER };

struct doc {
    enum doc_kind kind;
    struct slice key;  /* of a member */
    struct doc *next;  /* sibling */
    struct doc *child; /* OBJECT, LIST: the first */
    size_t n;          /* members or elements */
    struct slice text; /* STRING */
    double number;     /* NUMBER */
    char elem;         /* VECTOR: UBJ's type of its elements; 0: `values` */
    const uint8_t *data;
    const double *values;
};

/* *ret lives in the arena.  ERR_CODEC, or ERR_LIMIT for more values than a model has. */
int doc_parse(struct slice text, struct arena *arena, struct doc **ret,
              struct err *err) WARN_UNUSED;
bool doc_is_json(struct slice text); /* as XGBoost tells them apart */

const struct doc *doc_get(const struct doc *object,
                          const char *key); /* NULL when absent or no object */
/* Elements of a list or vector of numbers; false when it is none. */
bool doc_vector(const struct doc *d, struct arena *arena, struct doc *ret);
double doc_at(const struct doc *vector, size_t i);
/* A number, or a string that is one, as XGBoost writes its parameters; whole and not negative. */
bool doc_count(const struct doc *d, size_t *ret);

/* xgb_doc_json.c */
int doc__parse_json(struct slice text, struct arena *arena, struct doc **ret,
                    struct err *err) WARN_UNUSED;

#endif
