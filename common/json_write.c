/* Building and writing.  Own writer, since jansson writes doubles with 17 digits and cannot hold
 * one that is not finite. */
#include "common/json_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

static size_t char_bytes(unsigned char lead)
{
    return lead < 0x80 ? 1 : lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
}

/* What in s is no UTF-8 becomes U+FFFD, byte by byte. */
static char *repaired(const char *s)
{
    CLEANUP(buf_fini) struct buf b = {0};
    size_t n = strlen(s);

    for (size_t i = 0; i < n;) {
        size_t k = char_bytes((unsigned char)s[i]);

        if (i + k <= n && slice_is_utf8((struct slice){s + i, k})) {
            buf_add(&b, s + i, k);
            i += k;
        } else {
            buf_add_str(&b, "\xef\xbf\xbd");
            i++;
        }
    }
    return buf_take(&b);
}

static json_t *string_new(const char *s)
{
    CLEANUP_FREE char *fixed = NULL;
    json_t *t;

    if (!s)
        return json_null();
    if (!slice_is_utf8(slice_str(s)))
        s = fixed = repaired(s);
    t = json_string_nocheck(s);
    BUG_ON(!t);
    return t;
}

static json_t *number_new(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

struct json *json_object(void)
{
    return json__own(jansson_new_object());
}

struct json *json_array(void)
{
    return json__own(jansson_new_array());
}

struct json *json_copy(const struct json *j)
{
    return json__own(json_deep_copy(json__mut(j)));
}

struct json *json_set(struct json *obj, const char *key, struct json *child)
{
    CLEANUP_FREE char *fixed = NULL;

    if (!slice_is_utf8(slice_str(key)))
        key = fixed = repaired(key);
    BUG_ON(json_object_set_new_nocheck(json__mut(obj), key, json__mut(child)) != 0);
    return child;
}

struct json *json_add(struct json *array, struct json *child)
{
    BUG_ON(json_array_append_new(json__mut(array), json__mut(child)) != 0);
    return child;
}

void json_set_str(struct json *obj, const char *key, const char *v)
{
    json_set(obj, key, json__own(string_new(v)));
}

void json_set_num(struct json *obj, const char *key, double v)
{
    json_set(obj, key, json__own(number_new(v)));
}

void json_set_int(struct json *obj, const char *key, int64_t v)
{
    json_set(obj, key, json__own(json_integer(v)));
}

void json_set_bool(struct json *obj, const char *key, bool v)
{
    json_set(obj, key, json__own(json_boolean(v)));
}

void json_set_null(struct json *obj, const char *key)
{
    json_set(obj, key, json__own(json_null()));
}

void json_add_str(struct json *array, const char *v)
{
    json_add(array, json__own(string_new(v)));
}

void json_add_num(struct json *array, double v)
{
    json_add(array, json__own(number_new(v)));
}

void json_add_int(struct json *array, int64_t v)
{
    json_add(array, json__own(json_integer(v)));
}

/* --- text ------------------------------------------------------------------------------------ */

struct writer {
    struct buf *out;
    int indent;
    bool sorted;
};

static void write_value(const struct writer *w, json_t *t, int level);

static void write_string(struct buf *out, const char *s, size_t n)
{
    static const char *const short_escapes[0x20] = {
        ['\b'] = "\\b", ['\f'] = "\\f", ['\n'] = "\\n", ['\r'] = "\\r", ['\t'] = "\\t",
    };
    size_t plain = 0; /* from here on nothing was written yet */

    buf_add_char(out, '"');
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];

        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        buf_add(out, s + plain, i - plain);
        plain = i + 1;
        if (c >= 0x20)
            buf_addf(out, "\\%c", c);
        else if (short_escapes[c])
            buf_add_str(out, short_escapes[c]);
        else
            buf_addf(out, "\\u%04x", c);
    }
    buf_add(out, s + plain, n - plain);
    buf_add_char(out, '"');
}

static void write_break(const struct writer *w, int level)
{
    if (!w->indent)
        return;
    buf_add_char(w->out, '\n');
    for (int i = 0; i < w->indent * level; i++)
        buf_add_char(w->out, ' ');
}

static void write_array(const struct writer *w, json_t *t, int level)
{
    size_t n = json_array_size(t);

    buf_add_char(w->out, '[');
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_add_char(w->out, ',');
        write_break(w, level + 1);
        write_value(w, json_array_get(t, i), level + 1);
    }
    if (n)
        write_break(w, level);
    buf_add_char(w->out, ']');
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void write_object(const struct writer *w, json_t *t, int level)
{
    size_t n = json_object_size(t), i = 0;
    CLEANUP_FREE const char **keys = xcalloc(n, sizeof(*keys));

    for (void *it = json_object_iter(t); it; it = json_object_iter_next(t, it))
        keys[i++] = json_object_iter_key(it);
    if (w->sorted)
        qsort(keys, n, sizeof(*keys), compare_keys);
    buf_add_char(w->out, '{');
    for (i = 0; i < n; i++) {
        if (i)
            buf_add_char(w->out, ',');
        write_break(w, level + 1);
        write_string(w->out, keys[i], strlen(keys[i]));
        buf_add_str(w->out, w->indent ? ": " : ":");
        write_value(w, json_object_get(t, keys[i]), level + 1);
    }
    if (n)
        write_break(w, level);
    buf_add_char(w->out, '}');
}

void json_put_str(struct buf *out, const char *s)
{
    CLEANUP_FREE char *fixed = NULL;

    if (!s) {
        buf_add_str(out, "null");
        return;
    }
    if (!slice_is_utf8(slice_str(s)))
        s = fixed = repaired(s);
    write_string(out, s, strlen(s));
}

/* "-0" would be read back as the integer 0, and another digest made of it. */
static void write_real(struct buf *out, double v)
{
    char number[32];

    double_to_str(v, number);
    buf_add_str(out, strcmp(number, "-0") == 0 ? "-0.0" : number);
}

void json_put_num(struct buf *out, double v)
{
    if (isfinite(v))
        write_real(out, v);
    else
        buf_add_str(out, "null");
}

static void write_value(const struct writer *w, json_t *t, int level)
{

    switch (json_typeof(t)) {
    case JSON_OBJECT:
        write_object(w, t, level);
        break;
    case JSON_ARRAY:
        write_array(w, t, level);
        break;
    case JSON_STRING:
        write_string(w->out, json_string_value(t), json_string_length(t));
        break;
    case JSON_INTEGER:
        buf_addf(w->out, "%" PRId64, (int64_t)json_integer_value(t));
        break;
    case JSON_REAL:
        write_real(w->out, json_real_value(t));
        break;
    case JSON_TRUE:
        buf_add_str(w->out, "true");
        break;
    case JSON_FALSE:
        buf_add_str(w->out, "false");
        break;
    case JSON_NULL:
        buf_add_str(w->out, "null");
        break;
    }
}

void json_write(const struct json *j, int indent, bool sorted, struct buf *out)
{
    const struct writer w = {.out = out, .indent = indent, .sorted = sorted};

    write_value(&w, json__mut(j), 0);
}
