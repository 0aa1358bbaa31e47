/* The manifest is the only name of a snapshot: whoever has its digest has every byte of it.  It is
 * written with its keys in a fixed order, so that the same content has the same digest on any
 * machine. */
#include "common/snapshot.h"

#include <math.h>

#include "common/manifest.h"
#include "common/mem.h"

static const char FORMAT[] = "relearn/snapshot/1";

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
    for (size_t i = 0; i < ASIDE_COUNT; i++)
        free(s->asides[i]);
    free(s);
}

static void snapshot_freep(struct snapshot **s)
{
    snapshot_free(*s);
}

static const char *const ASIDES[ASIDE_COUNT] = {[ASIDE_WEIGHT] = "weight",
                                                [ASIDE_GROUP] = "group",
                                                [ASIDE_VALUE] = "value",
                                                [ASIDE_CLUSTER] = "cluster"};

/* ---- to JSON ---- */

/* Members that a snapshot without asides does not have: it is the same as ever. */
static void set_asides(const struct snapshot *s, struct json *root, struct json *files)
{
    struct json *asides;

    if (s->n_asides == 0)
        return;
    asides = json_set(root, "asides", json_object());
    for (size_t i = 0; i < ASIDE_COUNT; i++)
        if (s->asides[i])
            json_set_str(asides, ASIDES[i], s->asides[i]);
    json_set_str(files, "aside.npy", s->aside);
}

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
    set_asides(s, root, files);
    return root;
}

/* ---- from JSON ---- */

static int take_files(const struct manifest *m, const struct json *files, struct snapshot *s)
{
    if (manifest_digest(m, files, "features.npy", s->features) ||
        manifest_digest(m, files, "label.npy", s->label) ||
        manifest_digest(m, files, "split.npy", s->split) ||
        manifest_digest(m, files, "row_hash.npy", s->row_hash) ||
        manifest_digest(m, files, "profile.json", s->profile))
        return -1;
    return 0;
}

static int take_asides(const struct manifest *m, const struct json *j, struct snapshot *s)
{
    const struct json *asides = json_get(j, "asides");

    for (size_t i = 0; asides && i < ASIDE_COUNT; i++) {
        if (!json_get(asides, ASIDES[i]))
            continue;
        if (manifest_string(m, asides, ASIDES[i], &s->asides[i]))
            return -1;
        s->n_asides++;
    }
    return s->n_asides ? manifest_digest(m, json_get(j, "files"), "aside.npy", s->aside) : 0;
}

static int take_rows(const struct manifest *m, const struct json *j, struct snapshot *s)
{
    static const char *const parts[] = {
        [ROW_TRAIN] = "train", [ROW_VALID] = "valid", [ROW_TEST] = "test"};
    int64_t n = 0, sum = 0;

    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (manifest_count(m, json_get(j, "split"), parts[i], &n))
            return -1;
        s->split_rows[i] = (size_t)n;
        sum += n;
    }
    if (manifest_count(m, j, "rows", &n))
        return -1;
    s->rows = (size_t)n;
    return n == sum ? 0 : manifest_bad(m, "split");
}

int snapshot_from_json(const struct json *j, struct snapshot **ret, struct err *err)
{
    CLEANUP(snapshot_freep) struct snapshot *s = xcalloc(1, sizeof(*s));
    const struct manifest *m = &(struct manifest){"snapshot", err};
    const struct json *label = json_get(j, "label");

    if (strcmp(json_get_str(j, "format", ""), FORMAT) != 0)
        return manifest_bad(m, "format");
    if (manifest_string(m, j, "line", &s->line) || manifest_string(m, j, "dataset", &s->dataset) ||
        manifest_string(m, j, "version", &s->version) ||
        manifest_string(m, j, "pipeline_sha256", &s->pipeline_sha256) ||
        manifest_string(m, label, "name", &s->label_name) ||
        manifest_strings(m, json_get(label, "classes"), "label.classes", &s->classes,
                         &s->n_classes))
        return -1;
    if (manifest_task(m, j, s->n_classes, "label.classes", &s->task) || take_rows(m, j, s) ||
        manifest_columns(m, j, &s->columns, &s->n_columns) ||
        take_files(m, json_get(j, "files"), s) || take_asides(m, j, s))
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
        map_one(a, s->row_hash, "row_hash.npy", NPY_U64, s->rows, 1, &d.row_hash, err) ||
        (s->n_asides &&
         map_one(a, s->aside, "aside.npy", NPY_F64, s->rows, s->n_asides, &d.aside, err))) {
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
    npy_close(&d->aside);
    *d = (struct snapshot_data){0};
}
