/* JSON in and out.  The only module with jansson's headers; other files see opaque `struct json`.
 * Parsing is strict: one document, no duplicate keys, UTF-8, no \u0000, integers within int64, at
 * most 64 levels and 64 MiB.  Numbers that are not finite are written as null.  Thread: any, one at
 * a time per document. */
#ifndef COMMON_JSON_H
#define COMMON_JSON_H

#include "common/buf.h"
#include "common/err.h"

/* jansson's library exports functions of these names; ours, in the executable, would be called in
 * their place by jansson itself and by avro-c. */
#define json_object relearn_json_object
#define json_array relearn_json_array
#define json_copy relearn_json_copy

struct json; /* a value; a child belongs to its parent */

/* NULL on error: ERR_INVAL "what:line:column: ..." or ERR_LIMIT, both permanent. */
struct json *json_parse(struct slice text, const char *what, struct err *err);
void json_free(struct json *root);   /* roots only; NULL is fine */
void json_freep(struct json **root); /* for CLEANUP(json_freep) */

bool json_is_object(const struct json *j);
bool json_is_array(const struct json *j);
bool json_is_string(const struct json *j);
bool json_is_number(const struct json *j);
bool json_is_bool(const struct json *j);
bool json_is_null(const struct json *j); /* JSON null; NULL pointer gives false */
/* NULL when absent or no object. */
const struct json *json_get(const struct json *obj, const char *key);
size_t json_len(const struct json *array_or_object); /* 0 for others and NULL */
const struct json *json_at(const struct json *array, size_t i);
/* Iterate an object: it = NULL to begin; returns NULL at the end. */
void *json_next(const struct json *obj, void *it, const char **ret_key,
                const struct json **ret_value);

/* Of the value itself; a fallback when it is of another type (or NULL). */
const char *json_str(const struct json *j, const char *fallback);
double json_num(const struct json *j, double fallback);
/* A real with no fraction is an integer too: 3.0 gives 3, 3.5 and 1e300 give the fallback. */
int64_t json_int(const struct json *j, int64_t fallback);
bool json_bool(const struct json *j, bool fallback);
/* Of a member. */
const char *json_get_str(const struct json *obj, const char *key, const char *fallback);
double json_get_num(const struct json *obj, const char *key, double fallback);
int64_t json_get_int(const struct json *obj, const char *key, int64_t fallback);
bool json_get_bool(const struct json *obj, const char *key, bool fallback);

/* Build.  set/add take the child, json_set and json_add return it, borrowed; a NULL string is
 * written as null; bytes that are no UTF-8 become U+FFFD, so that what is written can be read. */
struct json *json_object(void);
struct json *json_array(void);
struct json *json_copy(const struct json *j); /* deep */
struct json *json_set(struct json *obj, const char *key, struct json *child);
struct json *json_add(struct json *array, struct json *child);
void json_set_str(struct json *obj, const char *key, const char *v);
void json_set_num(struct json *obj, const char *key, double v);
void json_set_int(struct json *obj, const char *key, int64_t v);
void json_set_bool(struct json *obj, const char *key, bool v);
void json_set_null(struct json *obj, const char *key);
void json_add_str(struct json *array, const char *v);
void json_add_num(struct json *array, double v);
void json_add_int(struct json *array, int64_t v);
/* Text; keys in insertion order; indent 0 is one line.  sorted: canonical, for digests. */
void json_write(const struct json *j, int indent, bool sorted, struct buf *out);
/* One value as json_write writes it, for texts that are made without a tree. */
void json_put_str(struct buf *out, const char *s);
void json_put_num(struct buf *out, double v);

#endif
