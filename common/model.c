/* The manifest is canonical JSON (keys in a fixed order, no times, no paths): the same training has
 * the same manifest, and so the same digest, whoever did it and when.  The signature covers the
 * manifest without the signature's own two members. */
#include "common/model.h"

#include <math.h>

#include "common/clk.h"
#include "common/manifest.h"
#include "common/mem.h"

static const char FORMAT[] = "relearn/model/1";

/* ---- life ---- */

void model_free(struct model *m)
{
    if (!m)
        return;
    free(m->line);
    free(m->run);
    free(m->pipeline);
    free(m->pipeline_sha256);
    free(m->trainer);
    free(m->format);
    matrix_fini(&m->shape);
    for (size_t i = 0; m->snapshots && i < m->n_snapshots; i++)
        free(m->snapshots[i]);
    free(m->snapshots);
    json_free(m->params);
    json_free(m->metrics);
    json_free(m->environment);
    free(m);
}

static void model_freep(struct model **m)
{
    model_free(*m);
}

/* ---- to JSON ---- */

static struct json *strings_to_json(char *const *strings, size_t n)
{
    struct json *array = json_array();

    for (size_t i = 0; i < n; i++)
        json_add_str(array, strings[i]);
    return array;
}

static struct json *object_or_empty(const struct json *j)
{
    return json_is_object(j) ? json_copy(j) : json_object();
}

static void columns_to_json(const struct matrix *shape, struct json *array)
{
    for (size_t i = 0; i < shape->n_columns; i++) {
        const struct snapshot_column *c = &shape->columns[i];
        struct json *column = json_add(array, json_object());

        json_set_str(column, "name", c->name);
        json_set_str(column, "type", column_type_str(c->type));
        if (c->type == COLUMN_CATEGORY)
            json_set(column, "categories", strings_to_json(c->categories, c->n_categories));
    }
}

static struct json *to_json(const struct model *m)
{
    struct json *root = json_object(), *file;

    json_set_str(root, "format", FORMAT);
    json_set_str(root, "line", m->line);
    json_set_str(root, "run", m->run);
    json_set_str(root, "pipeline", m->pipeline);
    json_set_str(root, "pipeline_sha256", m->pipeline_sha256);
    json_set_str(root, "trainer", m->trainer);
    json_set_str(root, "task", task_str(m->task));
    json_set(root, "classes", strings_to_json(m->shape.classes, m->shape.n_classes));
    columns_to_json(&m->shape, json_set(root, "columns", json_array()));
    file = json_set(root, "file", json_object());
    json_set_str(file, "format", m->format);
    json_set_str(file, "sha256", m->file);
    json_set_int(file, "bytes", m->file_bytes);
    json_set(root, "snapshots", strings_to_json(m->snapshots, m->n_snapshots));
    json_set_str(root, "profile", m->profile[0] ? m->profile : NULL);
    json_set_int(root, "trained_rows", m->trained_rows);
    json_set_int(root, "valid_rows", m->valid_rows);
    json_set_int(root, "rounds", m->rounds);
    json_set_int(root, "trials", m->trials);
    json_set(root, "params", object_or_empty(m->params));
    json_set(root, "metrics", object_or_empty(m->metrics));
    json_set(root, "environment", object_or_empty(m->environment));
    if (m->signature[0]) {
        json_set_str(root, "public_key", m->public_key);
        json_set_str(root, "signature", m->signature);
    }
    return root;
}

/* ---- from JSON ---- */

static int take_object(const struct manifest *m, const struct json *obj, const char *key,
                       struct json **ret)
{
    if (!json_is_object(json_get(obj, key)))
        return manifest_bad(m, key);
    *ret = json_copy(json_get(obj, key));
    return 0;
}

static int take_file(const struct manifest *of, const struct json *file, struct model *m)
{
    if (manifest_string(of, file, "format", &m->format) ||
        manifest_digest(of, file, "sha256", m->file) ||
        manifest_count(of, file, "bytes", &m->file_bytes))
        return -1;
    if (strcmp(m->format, "ubj") != 0 && strcmp(m->format, "json") != 0)
        return manifest_bad(of, "file.format");
    return m->file_bytes > (int64_t)MODEL_MAX_FILE_BYTES ? manifest_bad(of, "file.bytes") : 0;
}

static int take_counts(const struct manifest *of, const struct json *j, struct model *m)
{
    if (manifest_count(of, j, "trained_rows", &m->trained_rows) ||
        manifest_count(of, j, "valid_rows", &m->valid_rows) ||
        manifest_count(of, j, "rounds", &m->rounds) || manifest_count(of, j, "trials", &m->trials))
        return -1;
    return 0;
}

static int from_json(const struct json *j, struct model **ret, struct err *err)
{
    CLEANUP(model_freep) struct model *m = xcalloc(1, sizeof(*m));
    const struct manifest *of = &(struct manifest){"model", err};

    if (strcmp(json_get_str(j, "format", ""), FORMAT) != 0)
        return manifest_bad(of, "format");
    if (manifest_string(of, j, "line", &m->line) || manifest_string(of, j, "run", &m->run) ||
        manifest_string(of, j, "pipeline", &m->pipeline) ||
        manifest_string(of, j, "pipeline_sha256", &m->pipeline_sha256) ||
        manifest_string(of, j, "trainer", &m->trainer))
        return -1;
    if (manifest_strings(of, json_get(j, "classes"), "classes", &m->shape.classes,
                         &m->shape.n_classes) ||
        manifest_task(of, j, m->shape.n_classes, "classes", &m->task) ||
        manifest_columns(of, j, &m->shape.columns, &m->shape.n_columns) ||
        take_file(of, json_get(j, "file"), m))
        return -1;
    if (manifest_strings(of, json_get(j, "snapshots"), "snapshots", &m->snapshots,
                         &m->n_snapshots) ||
        take_counts(of, j, m))
        return -1;
    if (!json_is_null(json_get(j, "profile")) && manifest_digest(of, j, "profile", m->profile))
        return -1;
    if (take_object(of, j, "params", &m->params) || take_object(of, j, "metrics", &m->metrics) ||
        take_object(of, j, "environment", &m->environment))
        return -1;
    if (!str_copy(m->public_key, sizeof(m->public_key), json_get_str(j, "public_key", "")) ||
        !str_copy(m->signature, sizeof(m->signature), json_get_str(j, "signature", "")))
        return manifest_bad(of, "signature");
    *ret = TAKE(m);
    return 0;
}

/* ---- signature ---- */

/* What is signed: the manifest without public_key and signature, canonical.  Members that this
 * version does not know are covered too. */
static void signed_text(const struct json *manifest, struct buf *out)
{
    struct json *bare = json_object();
    const struct json *value;
    const char *key;

    for (void *it = json_next(manifest, NULL, &key, &value); it;
         it = json_next(manifest, it, &key, &value))
        if (strcmp(key, "public_key") != 0 && strcmp(key, "signature") != 0)
            json_set(bare, key, json_copy(value));
    json_write(bare, 0, true, out);
    json_free(bare);
}

static int verify(const struct model *m, const struct json *manifest, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = {0};

    if (!m->signature[0] && !m->public_key[0])
        return 0;
    signed_text(manifest, &text);
    return sign_verify(m->public_key, buf_slice(&text), m->signature, err);
}

/* ---- store ---- */

int model_open(const struct artifacts *a, const char *digest, struct model **ret, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = {0};
    CLEANUP(json_freep) struct json *j = NULL;
    CLEANUP(model_freep) struct model *m = NULL;
    struct err damaged = {0};

    if (artifacts_get(a, digest, SNAPSHOT_MANIFEST_MAX_BYTES, &text, err))
        return err_wrap(err, "model %.12s", digest);
    j = json_parse(buf_slice(&text), "model manifest", &damaged);
    if (!j)
        return err_set(err, ERR_CODEC, NEXT_REJECT, "model %.12s: %s", digest, damaged.msg);
    if (from_json(j, &m, err) || verify(m, j, err))
        return err_wrap(err, "model %.12s", digest);
    memcpy(m->digest, digest, DIGEST_HEX_SIZE);
    *ret = TAKE(m);
    return 0;
}

int model_seal(struct model *m, const struct sign_key *key, struct buf *ret, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = {0};
    CLEANUP(json_freep) struct json *j = NULL;

    m->public_key[0] = m->signature[0] = '\0';
    j = to_json(m);
    if (key) {
        char signature[sizeof(m->signature)];

        signed_text(j, &text);
        if (sign_bytes(key, buf_slice(&text), signature, err))
            return -1;
        memcpy(m->signature, signature, sizeof(signature));
        sign_key_public(key, m->public_key);
        json_set_str(j, "public_key", m->public_key);
        json_set_str(j, "signature", m->signature);
    }
    buf_reset(ret);
    json_write(j, 1, false, ret);
    digest_bytes(ret->data, ret->len, m->digest);
    return 0;
}

int model_put(const struct artifacts *a, struct model *m, const struct sign_key *key,
              struct err *err)
{
    CLEANUP(buf_fini) struct buf text = {0};

    if (model_seal(m, key, &text, err))
        return -1;
    return artifacts_put(a, text.data, text.len, m->digest, err);
}

/* ---- values ---- */

int model_column(const struct model *m, const char *name)
{
    for (size_t i = 0; i < m->shape.n_columns; i++)
        if (strcmp(m->shape.columns[i].name, name) == 0)
            return (int)i;
    return -1;
}

static float category_code(const struct snapshot_column *c, const char *text)
{
    for (size_t k = 0; k < c->n_categories; k++)
        if (strcmp(c->categories[k], text) == 0)
            return (float)k;
    return NAN;
}

static int encode_text(const struct snapshot_column *c, const char *text, float *ret,
                       struct err *err)
{
    int64_t unix_us;

    if (c->type == COLUMN_CATEGORY) {
        *ret = category_code(c, text);
        return 0;
    }
    if (c->type == COLUMN_BOOL && (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)) {
        *ret = text[0] == 't';
        return 0;
    }
    if (c->type == COLUMN_DATE && clk_parse(text, &unix_us) == 0) {
        *ret = (float)((double)unix_us / 1e6);
        return 0;
    }
    return err_inval(err, "column '%s' is of type %s: '%.60s' is text", c->name,
                     column_type_str(c->type), text);
}

static int encode_number(const struct snapshot_column *c, double v, float *ret)
{
    char text[32];

    if (c->type != COLUMN_CATEGORY) {
        *ret = (float)v;
        return 0;
    }
    double_to_str(v, text); /* categories that look like numbers */
    *ret = category_code(c, text);
    return 0;
}

int model_encode_cell(const struct model *m, size_t column, const struct json *value, float *ret,
                      struct err *err)
{
    const struct snapshot_column *c;

    if (column >= m->shape.n_columns)
        return err_inval(err, "column %zu of %zu", column, m->shape.n_columns);
    c = &m->shape.columns[column];
    if (!value || json_is_null(value)) {
        *ret = NAN;
        return 0;
    }
    if (json_is_number(value))
        return encode_number(c, json_num(value, NAN), ret);
    if (json_is_string(value))
        return encode_text(c, json_str(value, ""), ret, err);
    if (json_is_bool(value) && c->type != COLUMN_CATEGORY) {
        *ret = json_bool(value, false) ? 1 : 0;
        return 0;
    }
    if (json_is_bool(value))
        return encode_text(c, json_bool(value, false) ? "true" : "false", ret, err);
    return err_inval(err, "column '%s' takes one value, not a list or an object", c->name);
}

double model_label(const struct model *m, const char *text)
{
    double v = NAN, of_class;

    if (m->task == TASK_REGRESSION)
        return str_to_double(text, &v) ? NAN : v;
    for (size_t k = 0; k < m->shape.n_classes; k++)
        if (strcmp(m->shape.classes[k], text) == 0)
            return (double)k;
    if (str_to_double(text, &v)) /* "1.0" for the class "1" */
        return NAN;
    for (size_t k = 0; k < m->shape.n_classes; k++)
        if (str_to_double(m->shape.classes[k], &of_class) == 0 && of_class == v)
            return (double)k;
    return NAN;
}

double model_prediction_scalar(enum task task, const double *outputs, size_t n_outputs)
{
    size_t best = 0;

    if (task != TASK_MULTICLASS)
        return outputs[0];
    for (size_t k = 1; k < n_outputs; k++)
        if (outputs[k] > outputs[best])
            best = k;
    return (double)best;
}
