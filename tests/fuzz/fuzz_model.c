/* Manifests of models from anywhere: one that keeps its promises, encodes any value as a number and
 * is sealed again as the same, or an error.  A signature that does not fit is an error, too. */
#include "common/model.c" /* what model_open does with the bytes, without a store */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_promises(const struct model *m)
{
    BUG_ON(!m->line || !m->run || !m->pipeline || !m->pipeline_sha256 || !m->trainer || !m->format);
    BUG_ON(!digest_is_hex(m->file) || (m->profile[0] && !digest_is_hex(m->profile)));
    BUG_ON(m->file_bytes < 0 || m->file_bytes > (int64_t)MODEL_MAX_FILE_BYTES);
    BUG_ON(m->shape.n_columns < 1 || m->shape.n_columns > SNAPSHOT_MAX_COLUMNS);
    BUG_ON(m->task == TASK_BINARY && m->shape.n_classes != 2);
    for (size_t i = 0; i < m->n_snapshots; i++)
        BUG_ON(!m->snapshots[i]);
    for (size_t k = 0; k < m->shape.n_classes; k++)
        BUG_ON(isnan(model_label(m, m->shape.classes[k])));
}

/* Every value that the manifest itself has, in every column. */
static void encode(const struct model *m, const struct json *value)
{
    const struct json *child;
    const char *key;

    for (size_t i = 0; i < m->shape.n_columns && i < 8; i++) {
        struct err err = {0};
        float cell = 0;

        if (model_encode_cell(m, i, value, &cell, &err))
            BUG_ON(err.code != ERR_INVAL);
        else
            BUG_ON(cell >= (float)m->shape.columns[i].n_categories &&
                   m->shape.columns[i].type == COLUMN_CATEGORY);
    }
    if (json_is_string(value)) {
        (void)model_label(m, json_str(value, ""));
        (void)model_column(m, json_str(value, ""));
    }
    for (size_t i = 0; json_is_array(value) && i < json_len(value) && i < 8; i++)
        encode(m, json_at(value, i));
    if (json_is_object(value))
        for (void *it = json_next(value, NULL, &key, &child); it;
             it = json_next(value, it, &key, &child))
            encode(m, child);
}

static void seal_again(struct model *m)
{
    CLEANUP(buf_fini) struct buf once = {0}, twice = {0};
    CLEANUP(json_freep) struct json *j = NULL;
    CLEANUP(model_freep) struct model *back = NULL;
    struct err err = {0};

    BUG_ON(model_seal(m, NULL, &once, &err));
    j = json_parse(buf_slice(&once), "sealed", &err);
    BUG_ON(!j || from_json(j, &back, &err) || model_seal(back, NULL, &twice, &err));
    BUG_ON(!slice_eq(buf_slice(&once), buf_slice(&twice)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    CLEANUP(json_freep) struct json *j = NULL;
    CLEANUP(model_freep) struct model *m = NULL;
    struct err err = {0};

    j = json_parse((struct slice){(const char *)data, n}, "fuzz", &err);
    if (!j)
        return 0;
    if (from_json(j, &m, &err)) {
        BUG_ON(m || err.code != ERR_CODEC || err.next != NEXT_REJECT);
        return 0;
    }
    check_promises(m);
    if (verify(m, j, &err))
        BUG_ON(err.code == ERR_NONE);
    encode(m, j);
    seal_again(m);
    return 0;
}
