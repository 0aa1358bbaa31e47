/* What the files of module json share: `struct json` is jansson's json_t under another name.  To be
 * included before common/json.h, which takes three of jansson's names for its own functions. */
#ifndef COMMON_JSON_INTERNAL_H
#define COMMON_JSON_INTERNAL_H

#include <jansson.h>

static inline json_t *jansson_new_object(void)
{
    return json_object();
}

static inline json_t *jansson_new_array(void)
{
    return json_array();
}

#undef json_is_object
#undef json_is_array
#undef json_is_string
#undef json_is_number
#undef json_is_null

#include "common/json.h"

static inline json_t *json__mut(const struct json *j)
{
    return (json_t *)(uintptr_t)j;
}

static inline struct json *json__own(json_t *t)
{
    return (struct json *)t;
}

static inline bool json__has_type(const struct json *j, json_type type)
{
    return j && json_typeof(json__mut(j)) == type;
}

#endif
