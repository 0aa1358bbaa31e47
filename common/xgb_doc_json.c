/* JSON model texts: parsed strictly by common/json, then made the same tree of values as UBJ. */
#include <string.h>

#include "common/json.h"
#include "common/xgb_doc.h"

static struct doc *from_json(const struct json *j, struct arena *arena);

static void from_list(const struct json *j, struct arena *arena, struct doc *d)
{
    struct doc **end = &d->child;
    double *values;
    size_t n = json_len(j);

    d->n = n;
    for (size_t i = 0; i < n; i++)
        if (!json_is_number(json_at(j, i)))
            d->kind = DOC_LIST;
    if (d->kind == DOC_LIST) {
        for (size_t i = 0; i < n; i++) {
            *end = from_json(json_at(j, i), arena);
            end = &(*end)->next;
        }
        return;
    }
    d->kind = DOC_VECTOR; /* an empty list too */
    values = arena_alloc(arena, (n + 1) * sizeof(*values));
    for (size_t i = 0; i < n; i++)
        values[i] = json_num(json_at(j, i), 0);
    d->values = values;
}

static void from_object(const struct json *j, struct arena *arena, struct doc *d)
{
    struct doc **end = &d->child;
    const struct json *value;
    const char *key;

    d->kind = DOC_OBJECT;
    for (void *it = json_next(j, NULL, &key, &value); it; it = json_next(j, it, &key, &value)) {
        *end = from_json(value, arena);
        (*end)->key = slice_str(arena_strdup(arena, key));
        end = &(*end)->next;
        d->n++;
    }
}

/* As deep as json.h lets texts be. */
static struct doc *from_json(const struct json *j, struct arena *arena)
{
    struct doc *d = arena_alloc(arena, sizeof(*d));

    if (json_is_object(j)) {
        from_object(j, arena, d);
    } else if (json_is_array(j)) {
        from_list(j, arena, d);
    } else if (json_is_string(j)) {
        d->kind = DOC_STRING;
        d->text = slice_str(arena_strdup(arena, json_str(j, "")));
    } else if (json_is_number(j) || json_is_bool(j)) {
        d->kind = DOC_NUMBER;
        d->number = json_is_number(j) ? json_num(j, 0) : json_bool(j, false);
    }
    return d;
}

int doc__parse_json(struct slice text, struct arena *arena, struct doc **ret, struct err *err)
{
    struct err why = {0};
    struct json *j = json_parse(text, "model", &why);

    if (!j)
        return err_set(err, why.code == ERR_LIMIT ? ERR_LIMIT : ERR_CODEC, NEXT_REJECT, "%s",
                       why.msg);
    *ret = from_json(j, arena);
    json_free(j);
    return 0;
}
