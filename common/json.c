/* Reading.  jansson checks the text (one document, UTF-8, duplicate keys, ranges of numbers); depth
 * is checked before it, since jansson recurses and its own limit of 2,048 is deeper than anything
 * here. */
#include "common/json_internal.h"

#include <math.h>

enum {
    JSON_DEPTH_MAX = 64,    /* our deepest document has 8 levels; code that walks one may recurse */
    JSON_TEXT_MAX_MIB = 64, /* a parsed number takes up to 16 times its text: 1 GiB at worst */
};

struct place {
    int line, column;
};

/* Where the nesting goes too deep, or line 0.  Escapes matter only for the quote that ends a
 * string. */
static struct place find_too_deep(struct slice text)
{
    struct place p = {1, 0};
    bool in_string = false;
    int depth = 0;

    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];

        p.column++;
        if (c == '\n') {
            p.line++;
            p.column = 0;
        } else if (in_string) {
            if (c == '"')
                in_string = false;
            else if (c == '\\' && i + 1 < text.n && text.p[i + 1] != '\n')
                i++, p.column++;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > JSON_DEPTH_MAX)
                return p;
        } else if (c == ']' || c == '}') {
            depth--;
        }
    }
    return (struct place){0, 0};
}

/* jansson quotes the input in its messages, and may cut it within a character. */
static void make_printable(char *s)
{
    bool is_utf8 = slice_is_utf8(slice_str(s));

    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;

        if (c < 0x20 || c == 0x7f || (c >= 0x80 && !is_utf8))
            *s = '?';
    }
}

struct json *json_parse(struct slice text, const char *what, struct err *err)
{
    json_error_t je = {0};
    struct place p;
    json_t *t;

    if (text.n > (size_t)JSON_TEXT_MAX_MIB << 20) {
        err_set(err, ERR_LIMIT, NEXT_REJECT, "%s: JSON text of %zu bytes, %d MiB at most", what,
                text.n, JSON_TEXT_MAX_MIB);
        return NULL;
    }
    p = find_too_deep(text);
    if (p.line) {
        err_inval(err, "%s:%d:%d: nested more than %d levels deep", what, p.line, p.column,
                  JSON_DEPTH_MAX);
        return NULL;
    }
    t = json_loadb(text.n ? text.p : "", text.n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &je);
    if (!t) {
        make_printable(je.text);
        err_inval(err, "%s:%d:%d: %s (byte %d)", what, je.line, je.column, je.text, je.position);
        return NULL;
    }
    return json__own(t);
}

void json_free(struct json *root)
{
    json_decref(json__mut(root));
}

void json_freep(struct json **root)
{
    json_free(*root);
    *root = NULL;
}

bool json_is_object(const struct json *j)
{
    return json__has_type(j, JSON_OBJECT);
}

bool json_is_array(const struct json *j)
{
    return json__has_type(j, JSON_ARRAY);
}

bool json_is_string(const struct json *j)
{
    return json__has_type(j, JSON_STRING);
}

bool json_is_number(const struct json *j)
{
    return json__has_type(j, JSON_INTEGER) || json__has_type(j, JSON_REAL);
}

bool json_is_bool(const struct json *j)
{
    return json__has_type(j, JSON_TRUE) || json__has_type(j, JSON_FALSE);
}

bool json_is_null(const struct json *j)
{
    return json__has_type(j, JSON_NULL);
}

const struct json *json_get(const struct json *obj, const char *key)
{
    return json__own(json_object_get(json__mut(obj), key));
}

size_t json_len(const struct json *j)
{
    return json_is_array(j) ? json_array_size(json__mut(j)) : json_object_size(json__mut(j));
}

const struct json *json_at(const struct json *array, size_t i)
{
    return json__own(json_array_get(json__mut(array), i));
}

void *json_next(const struct json *obj, void *it, const char **ret_key,
                const struct json **ret_value)
{
    json_t *t = json__mut(obj);

    it = it ? json_object_iter_next(t, it) : json_object_iter(t);
    if (!it)
        return NULL;
    *ret_key = json_object_iter_key(it);
    *ret_value = json__own(json_object_iter_value(it));
    return it;
}

const char *json_str(const struct json *j, const char *fallback)
{
    return json_is_string(j) ? json_string_value(json__mut(j)) : fallback;
}

double json_num(const struct json *j, double fallback)
{
    return json_is_number(j) ? json_number_value(json__mut(j)) : fallback;
}

int64_t json_int(const struct json *j, int64_t fallback)
{
    double v;

    if (json__has_type(j, JSON_INTEGER))
        return json_integer_value(json__mut(j));
    if (!json__has_type(j, JSON_REAL))
        return fallback;
    v = json_real_value(json__mut(j));
    /* 2^63 is a double, INT64_MAX is not */
    return v == floor(v) && v >= -0x1p63 && v < 0x1p63 ? (int64_t)v : fallback;
}

bool json_bool(const struct json *j, bool fallback)
{
    return json_is_bool(j) ? json__has_type(j, JSON_TRUE) : fallback;
}

const char *json_get_str(const struct json *obj, const char *key, const char *fallback)
{
    return json_str(json_get(obj, key), fallback);
}

double json_get_num(const struct json *obj, const char *key, double fallback)
{
    return json_num(json_get(obj, key), fallback);
}

int64_t json_get_int(const struct json *obj, const char *key, int64_t fallback)
{
    return json_int(json_get(obj, key), fallback);
}

bool json_get_bool(const struct json *obj, const char *key, bool fallback)
{
    return json_bool(json_get(obj, key), fallback);
}
