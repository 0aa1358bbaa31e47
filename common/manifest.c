#include "common/manifest.h"

#include "common/mem.h"

/* Of a column, class or category: also bounds what an error or a table has to show. */
enum { NAME_MAX_BYTES = 1024, COUNT_MAX_ROWS_OF_BYTES = 4096 };

void manifest__bad(const struct manifest *m, const char *what)
{
    err_set(m->err, ERR_CODEC, NEXT_REJECT, "%s manifest: %s is missing or wrong", m->of, what);
}

int manifest_string(const struct manifest *m, const struct json *obj, const char *key, char **ret)
{
    const char *s = json_get_str(obj, key, NULL);

    if (!s || strlen(s) > NAME_MAX_BYTES)
        return manifest_bad(m, key);
    *ret = xstrdup(s);
    return 0;
}

int manifest_strings(const struct manifest *m, const struct json *array, const char *what,
                     char ***ret, size_t *ret_n)
{
    size_t n = json_len(array);

    if (!json_is_array(array))
        return manifest_bad(m, what);
    *ret = xcalloc(n ? n : 1, sizeof(**ret));
    for (size_t i = 0; i < n; i++) {
        const char *s = json_str(json_at(array, i), NULL);

        if (!s)
            return manifest_bad(m, what);
        (*ret)[i] = xstrdup(s);
        *ret_n = i + 1;
    }
    return 0;
}

int manifest_digest(const struct manifest *m, const struct json *obj, const char *key,
                    char ret[DIGEST_HEX_SIZE])
{
    const char *s = json_get_str(obj, key, "");

    if (!digest_is_hex(s))
        return manifest_bad(m, key);
    memcpy(ret, s, DIGEST_HEX_SIZE);
    return 0;
}

/* Small enough for sizes in bytes to be computed from it. */
int manifest_count(const struct manifest *m, const struct json *obj, const char *key, int64_t *ret)
{
    int64_t n = json_get_int(obj, key, -1);

    if (n < 0 || n > INT64_MAX / COUNT_MAX_ROWS_OF_BYTES)
        return manifest_bad(m, key);
    *ret = n;
    return 0;
}

int manifest_task(const struct manifest *m, const struct json *obj, size_t n_classes,
                  const char *classes, enum task *ret)
{
    const char *name = json_get_str(obj, "task", "");
    enum task t = TASK_BINARY;

    while (t <= TASK_REGRESSION && strcmp(name, task_str(t)) != 0)
        t++;
    if (t > TASK_REGRESSION)
        return manifest_bad(m, "task");
    if (t == TASK_BINARY ? n_classes != 2 : t == TASK_MULTICLASS ? n_classes < 2 : n_classes != 0)
        return manifest_bad(m, classes);
    *ret = t;
    return 0;
}

static int take_type(const struct manifest *m, const struct json *column, enum column_type *ret)
{
    const char *s = json_get_str(column, "type", "");

    for (enum column_type t = COLUMN_FLOAT; t < COLUMN_IGNORE; t++)
        if (strcmp(s, column_type_str(t)) == 0) {
            *ret = t;
            return 0;
        }
    return manifest_bad(m, "columns[].type");
}

int manifest_columns(const struct manifest *m, const struct json *obj, struct snapshot_column **ret,
                     size_t *ret_n)
{
    const struct json *array = json_get(obj, "columns");
    size_t n = json_len(array);

    if (!json_is_array(array) || n == 0 || n > SNAPSHOT_MAX_COLUMNS)
        return manifest_bad(m, "columns");
    *ret = xcalloc(n, sizeof(**ret));
    *ret_n = n;
    for (size_t i = 0; i < n; i++) {
        const struct json *column = json_at(array, i);
        struct snapshot_column *c = &(*ret)[i];

        if (manifest_string(m, column, "name", &c->name) || take_type(m, column, &c->type))
            return -1;
        if (c->type == COLUMN_CATEGORY &&
            manifest_strings(m, json_get(column, "categories"), "columns[].categories",
                             &c->categories, &c->n_categories))
            return -1;
    }
    return 0;
}
