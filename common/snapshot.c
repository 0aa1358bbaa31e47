/* The manifest is the only name of a snapshot: whoever has its digest has every byte of it.  It is
 * written with its keys in a fixed order, so that the same content has the same digest on any
 * machine. */
#include "common/snapshot.h"

#include <math.h>

#include "common/mem.h"

static const char FORMAT[] = "relearn/snapshot/1";
enum { NAME_MAX_BYTES = 1024 }; /* of a column, class or category */

/* ---- life ---- */

static void free_strings(char **strings, size_t n)
{
    for (size_t i = 0; strings && i < n; i++)
        free(strings[i]);
    free(strings);
}

void columns_free(struct snapshot_column *c, size_t n)
{
    for (size_t i = 0; c && i < n; i++) {
        free(c[i].name);
        free_strings(c[i].categories, c[i].n_categories);
    }
    free(c);
}

void snapshot_free(struct snapshot *s)
{
    if (!s)
        return;
    free(s->line);
    free(s->dataset);
    free(s->version);
    free(s->pipeline_sha256);
    free(s->label_name);
    free_strings(s->classes, s->n_classes);
    columns_free(s->columns, s->n_columns);
    free(s);
}

static void snapshot_freep(struct snapshot **s)
{
    snapshot_free(*s);
}

/* ---- to JSON ---- */

static struct json *strings_to_json(char *const *strings, size_t n)
{
    struct json *array = json_array();

    for (size_t i = 0; i < n; i++)
        json_add_str(array, strings[i]);
    return array;
}

struct json *snapshot_to_json(const struct snapshot *s)
{
    struct json *root = json_object(), *columns, *split, *files, *label;

    json_set_str(root, "format", FORMAT);
    json_set_str(root, "line", s->line);
    json_set_str(root, "dataset", s->dataset);
    json_set_str(root, "version", s->version);
    json_set_str(root, "pipeline_sha256", s->pipeline_sha256);
    json_set_str(root, "task", task_str(s->task));
    label = json_set(root, "label", json_object());
    json_set_str(label, "name", s->label_name);
    json_set(label, "classes", strings_to_json(s->classes, s->n_classes));
    json_set_int(root, "rows", (int64_t)s->rows);
    columns = json_set(root, "columns", json_array());
    for (size_t i = 0; i < s->n_columns; i++) {
        const struct snapshot_column *c = &s->columns[i];
        struct json *column = json_add(columns, json_object());

        json_set_str(column, "name", c->name);
        json_set_str(column, "type", column_type_str(c->type));
        if (c->type == COLUMN_CATEGORY)
            json_set(column, "categories", strings_to_json(c->categories, c->n_categories));
    }
    split = json_set(root, "split", json_object());
    json_set_int(split, "train", (int64_t)s->split_rows[ROW_TRAIN]);
    json_set_int(split, "valid", (int64_t)s->split_rows[ROW_VALID]);
    json_set_int(split, "test", (int64_t)s->split_rows[ROW_TEST]);
    files = json_set(root, "files", json_object());
    json_set_str(files, "features.npy", s->features);
    json_set_str(files, "label.npy", s->label);
    json_set_str(files, "split.npy", s->split);
    json_set_str(files, "row_hash.npy", s->row_hash);
    json_set_str(files, "profile.json", s->profile);
    return root;
}

/* ---- from JSON ---- */

static int bad(struct err *err, const char *what)
{
    return err_set(err, ERR_CODEC, NEXT_REJECT, "snapshot manifest: %s is missing or wrong", what);
}

static int take_string(const struct json *obj, const char *key, char **ret, struct err *err)
{
    const char *s = json_get_str(obj, key, NULL);

    if (!s || strlen(s) > NAME_MAX_BYTES)
        return bad(err, key);
    *ret = xstrdup(s);
    return 0;
}

static int take_count(const struct json *obj, const char *key, size_t *ret, struct err *err)
{
    int64_t n = json_get_int(obj, key, -1);

    if (n < 0 || n > INT64_MAX / 4096)
        return bad(err, key);
    *ret = (size_t)n;
    return 0;
}

static int take_strings(const struct json *array, const char *what, char ***ret, size_t *ret_n,
                        struct err *err)
{
    size_t n = json_len(array);

    if (!json_is_array(array))
        return bad(err, what);
    *ret = xcalloc(n ? n : 1, sizeof(**ret));
    for (size_t i = 0; i < n; i++) {
        const char *s = json_str(json_at(array, i), NULL);

        *ret_n = i; /* so that a half-built list is freed as far as it goes */
        if (!s)
            return bad(err, what);
        (*ret)[i] = xstrdup(s);
    }
    *ret_n = n;
    return 0;
}

static int take_digest(const struct json *files, const char *key, char ret[DIGEST_HEX_SIZE],
                       struct err *err)
{
    const char *s = json_get_str(files, key, "");

    if (!digest_is_hex(s))
        return bad(err, key);
    memcpy(ret, s, DIGEST_HEX_SIZE);
    return 0;
}

static int take_type(const struct json *column, enum column_type *ret, struct err *err)
{
    const char *s = json_get_str(column, "type", "");

    for (enum column_type t = COLUMN_FLOAT; t < COLUMN_IGNORE; t++)
        if (strcmp(s, column_type_str(t)) == 0) {
            *ret = t;
            return 0;
        }
    return bad(err, "columns[].type");
}

static int take_columns(const struct json *array, struct snapshot *s, struct err *err)
{
    size_t n = json_len(array);

    if (!json_is_array(array) || n == 0 || n > SNAPSHOT_MAX_COLUMNS)
        return bad(err, "columns");
    s->columns = xcalloc(n, sizeof(*s->columns));
    s->n_columns = n;
    for (size_t i = 0; i < n; i++) {
        const struct json *column = json_at(array, i);
        struct snapshot_column *c = &s->columns[i];

        if (take_string(column, "name", &c->name, err) || take_type(column, &c->type, err))
            return -1;
        if (c->type == COLUMN_CATEGORY &&
            take_strings(json_get(column, "categories"), "columns[].categories", &c->categories,
                         &c->n_categories, err))
            return -1;
    }
    return 0;
}

static int take_task(const struct json *root, struct snapshot *s, struct err *err)
{
    const char *name = json_get_str(root, "task", "");

    for (enum task t = TASK_BINARY; t <= TASK_REGRESSION; t++)
        if (strcmp(name, task_str(t)) == 0) {
            s->task = t;
            if (t == TASK_BINARY       ? s->n_classes != 2
                : t == TASK_MULTICLASS ? s->n_classes < 2
                                       : s->n_classes != 0)
                return bad(err, "label.classes");
            return 0;
        }
    return bad(err, "task");
}

static int take_files(const struct json *files, struct snapshot *s, struct err *err)
{
    if (take_digest(files, "features.npy", s->features, err) ||
        take_digest(files, "label.npy", s->label, err) ||
        take_digest(files, "split.npy", s->split, err) ||
        take_digest(files, "row_hash.npy", s->row_hash, err) ||
        take_digest(files, "profile.json", s->profile, err))
        return -1;
    return 0;
}

static int take_split(const struct json *split, struct snapshot *s, struct err *err)
{
    if (take_count(split, "train", &s->split_rows[ROW_TRAIN], err) ||
        take_count(split, "valid", &s->split_rows[ROW_VALID], err) ||
        take_count(split, "test", &s->split_rows[ROW_TEST], err))
        return -1;
    if (s->split_rows[ROW_TRAIN] + s->split_rows[ROW_VALID] + s->split_rows[ROW_TEST] != s->rows)
        return bad(err, "split");
    return 0;
}

int snapshot_from_json(const struct json *j, struct snapshot **ret, struct err *err)
{
    CLEANUP(snapshot_freep) struct snapshot *s = xcalloc(1, sizeof(*s));
    const struct json *label = json_get(j, "label");

    if (strcmp(json_get_str(j, "format", ""), FORMAT) != 0)
        return bad(err, "format");
    if (take_string(j, "line", &s->line, err) || take_string(j, "dataset", &s->dataset, err) ||
        take_string(j, "version", &s->version, err) ||
        take_string(j, "pipeline_sha256", &s->pipeline_sha256, err) ||
        take_string(label, "name", &s->label_name, err) ||
        take_strings(json_get(label, "classes"), "label.classes", &s->classes, &s->n_classes, err))
        return -1;
    if (take_task(j, s, err) || take_count(j, "rows", &s->rows, err) ||
        take_columns(json_get(j, "columns"), s, err) || take_split(json_get(j, "split"), s, err) ||
        take_files(json_get(j, "files"), s, err))
        return -1;
    *ret = TAKE(s);
    return 0;
}

/* ---- store ---- */

int snapshot_open(const struct artifacts *a, const char *digest, struct snapshot **ret,
                  struct err *err)
{
    CLEANUP(buf_fini) struct buf text = {0};
    CLEANUP(json_freep) struct json *j = NULL;
    struct err damaged = {0};

    if (artifacts_get(a, digest, SNAPSHOT_MANIFEST_MAX_BYTES, &text, err))
        return -1;
    j = json_parse(buf_slice(&text), "snapshot manifest", &damaged);
    if (!j)
        return err_set(err, ERR_CODEC, NEXT_REJECT, "%s", damaged.msg);
    if (snapshot_from_json(j, ret, err))
        return err_wrap(err, "%s", digest);
    memcpy((*ret)->digest, digest, DIGEST_HEX_SIZE);
    return 0;
}

int snapshot_put(const struct artifacts *a, struct snapshot *s, struct err *err)
{
    CLEANUP(json_freep) struct json *j = snapshot_to_json(s);
    CLEANUP(buf_fini) struct buf text = {0};

    json_write(j, 1, false, &text);
    return artifacts_put(a, text.data, text.len, s->digest, err);
}

static int map_one(const struct artifacts *a, const char *digest, const char *name, enum npy_type t,
                   size_t rows, size_t cols, struct npy_file *ret, struct err *err)
{
    CLEANUP_FREE char *path = artifacts_path(a, digest, err);

    if (!path || npy_open(path, ret, err))
        return err_wrap(err, "snapshot %s", name);
    if (ret->h.type != t || ret->h.rows != rows || ret->h.cols != cols ||
        (ret->h.fortran_order && ret->h.ndim > 1 && cols > 1 && rows > 1))
        return err_set(
            err, ERR_CODEC, NEXT_REJECT,
            "snapshot %s: %zu x %zu of another type or shape than the manifest's %zu x %zu", name,
            ret->h.rows, ret->h.cols, rows, cols);
    return 0;
}

int snapshot_map(const struct artifacts *a, const struct snapshot *s, struct snapshot_data *ret,
                 struct err *err)
{
    struct snapshot_data d = {0};

    if (map_one(a, s->features, "features.npy", NPY_F32, s->rows, s->n_columns, &d.features, err) ||
        map_one(a, s->label, "label.npy", NPY_F32, s->rows, 1, &d.label, err) ||
        map_one(a, s->split, "split.npy", NPY_U8, s->rows, 1, &d.split, err) ||
        map_one(a, s->row_hash, "row_hash.npy", NPY_U64, s->rows, 1, &d.row_hash, err)) {
        snapshot_unmap(&d);
        return -1;
    }
    *ret = d;
    return 0;
}

void snapshot_unmap(struct snapshot_data *d)
{
    if (!d)
        return;
    npy_close(&d->features);
    npy_close(&d->label);
    npy_close(&d->split);
    npy_close(&d->row_hash);
    *d = (struct snapshot_data){0};
}
