#include "agents/train/layout.h"

#include <unistd.h>

#include "common/fault.h"
#include "common/fsx.h"
#include "common/npy.h"

static int write_json(const char *folder, const char *name, const struct json *j, struct err *err)
{
    CLEANUP_FREE char *path = fsx_join(folder, name);
    CLEANUP(buf_fini) struct buf text = {0};
    FILE *f;
    bool ok;

    json_write(j, 1, false, &text);
    f = fopen(path, "we");
    ok = f &&
         EFFECT(store, "trainer.layout.write", 0, fwrite(text.data, 1, text.len, f)) == text.len;
    if (f && fclose(f))
        ok = false;
    return ok ? 0 : err_io(err, "cannot write %s: %s", path, strerror(errno));
}

static struct json *strings(char *const *items, size_t n)
{
    struct json *array = json_array();

    for (size_t i = 0; i < n; i++)
        json_add_str(array, items[i]);
    return array;
}

static struct json *columns_json(const struct fit_input *in)
{
    struct json *root = json_object(), *columns;

    json_set_str(root, "task", task_str(in->pipeline->task));
    json_set_str(root, "label", in->pipeline->label);
    json_set(root, "classes", strings(in->train->classes, in->train->n_classes));
    columns = json_set(root, "columns", json_array());
    for (size_t i = 0; i < in->train->n_columns; i++) {
        const struct snapshot_column *c = &in->train->columns[i];
        struct json *column = json_add(columns, json_object());

        json_set_str(column, "name", c->name);
        json_set_str(column, "type", column_type_str(c->type));
        if (c->type == COLUMN_CATEGORY)
            json_set(column, "categories", strings(c->categories, c->n_categories));
    }
    return root;
}

static int write_channel(const struct matrix *m, const char *folder, const struct json *columns,
                         struct err *err)
{
    CLEANUP_FREE char *features = fsx_join(folder, "features.npy");
    CLEANUP_FREE char *label = fsx_join(folder, "label.npy");

    if (fsx_mkdirs(folder, err) || write_json(folder, "columns.json", columns, err))
        return -1;
    if (npy_write(features, NPY_F32, 2, m->rows, m->n_columns, m->x, err))
        return -1;
    return npy_write(label, NPY_F32, 1, m->rows, 1, m->y, err);
}

int layout_write_data(const struct fit_input *in, const char *folder, struct err *err)
{
    CLEANUP_FREE char *train = fsx_join(folder, "data/train");
    CLEANUP_FREE char *valid = fsx_join(folder, "data/validation");
    CLEANUP(json_freep) struct json *columns = columns_json(in);

    if (write_channel(in->train, train, columns, err))
        return -1;
    return in->valid->rows ? write_channel(in->valid, valid, columns, err) : 0;
}

static struct json *hyperparameters(const struct trial *t)
{
    struct json *j = json_object();

    for (size_t i = 0; i < t->n; i++)
        json_set_str(j, t->params[i].name, t->params[i].text);
    return j;
}

static struct json *channel_config(void)
{
    struct json *j = json_object();

    json_set_str(j, "ContentType", "application/x-npy");
    json_set_str(j, "TrainingInputMode", "File");
    json_set_str(j, "S3DistributionType", "FullyReplicated");
    json_set_str(j, "RecordWrapperType", "None");
    return j;
}

static int write_config(const struct fit_input *in, const struct trial *t, const char *folder,
                        struct err *err)
{
    CLEANUP(json_freep) struct json *params = hyperparameters(t);
    CLEANUP(json_freep) struct json *channels = json_object();
    CLEANUP(json_freep) struct json *resources = json_object();

    json_set(channels, "train", channel_config());
    if (in->valid->rows)
        json_set(channels, "validation", channel_config());
    json_set_str(resources, "current_host", "algo-1");
    json_add_str(json_set(resources, "hosts", json_array()), "algo-1");
    json_set_str(resources, "network_interface_name", "lo");
    if (write_json(folder, "hyperparameters.json", params, err) ||
        write_json(folder, "inputdataconfig.json", channels, err))
        return -1;
    return write_json(folder, "resourceconfig.json", resources, err);
}

int layout_write_trial(const struct fit_input *in, const struct trial *t, const char *base,
                       struct err *err)
{
    static const char *const folders[] = {"input/config", "model", "output/data", "tmp"};
    CLEANUP_FREE char *config = fsx_join(base, "input/config");
    CLEANUP_FREE char *data = fsx_join(base, "input/data");

    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        CLEANUP_FREE char *path = fsx_join(base, folders[i]);

        if (fsx_mkdirs(path, err))
            return -1;
    }
    if (EFFECT(store, "trainer.layout.link", FAULT_ERRNO, symlink("../../data", data)))
        return err_io(err, "cannot make %s", data);
    return write_config(in, t, config, err);
}
