/* A training folder as `relearn-trainer train` reads it. */
#include <math.h>

#include "agents/train/layout.h"
#include "common/fsx.h"

enum { CONFIG_MAX_BYTES = 16 << 20 }; /* categories of columns.json included */

static struct json *read_json(const char *path, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = {0};

    if (fsx_read_file(path, CONFIG_MAX_BYTES, &text, err))
        return NULL;
    return json_parse(buf_slice(&text), path, err);
}

static int read_array(const char *folder, const char *name, size_t ndim, struct npy_file *ret,
                      struct err *err)
{
    CLEANUP_FREE char *path = fsx_join(folder, name);

    if (npy_open(path, ret, err))
        return -1;
    if (ret->h.type != NPY_F32 || ret->h.ndim != ndim ||
        (ret->h.fortran_order && ndim == 2 && ret->h.cols > 1))
        return err_inval(err, "%s: must be float32 of %zu dimensions in C order", path, ndim);
    return 0;
}

static int read_channel(const char *folder, struct matrix *ret, struct err *err)
{
    CLEANUP(npy_close) struct npy_file features = {0};
    CLEANUP(npy_close) struct npy_file label = {0};

    if (read_array(folder, "features.npy", 2, &features, err) ||
        read_array(folder, "label.npy", 1, &label, err))
        return -1;
    if (features.h.rows != label.h.rows)
        return err_inval(err, "%s: %zu rows of features, %zu labels", folder, features.h.rows,
                         label.h.rows);
    ret->rows = features.h.rows;
    ret->n_columns = features.h.cols;
    ret->x = xmemdup(features.data, features.h.rows * features.h.cols * sizeof(float));
    ret->y = xmemdup(label.data, label.h.rows * sizeof(float));
    return 0;
}

static int read_task(const char *folder, struct layout *l, struct err *err)
{
    CLEANUP_FREE char *path = fsx_join(folder, "columns.json");
    CLEANUP(json_freep) struct json *j = read_json(path, err);
    const char *task = json_get_str(j, "task", "");

    if (!j)
        return -1;
    for (l->task = TASK_BINARY; l->task <= TASK_REGRESSION; l->task++)
        if (strcmp(task, task_str(l->task)) == 0) {
            l->train.n_classes = l->valid.n_classes = json_len(json_get(j, "classes"));
            return 0;
        }
    l->task = TASK_BINARY;
    return err_inval(err, "%s: task is none of binary, multiclass, regression", path);
}

int layout_read(const char *base, struct layout *ret, struct err *err)
{
    CLEANUP_FREE char *train = fsx_join(base, "input/data/train");
    CLEANUP_FREE char *valid = fsx_join(base, "input/data/validation");
    CLEANUP_FREE char *params = fsx_join(base, "input/config/hyperparameters.json");
    struct layout l = {0};

    if (read_task(train, &l, err) || read_channel(train, &l.train, err) ||
        (fsx_exists(valid) && read_channel(valid, &l.valid, err))) {
        layout_fini(&l);
        return -1;
    }
    l.hyperparameters = read_json(params, err);
    if (!l.hyperparameters) {
        layout_fini(&l);
        return -1;
    }
    *ret = l;
    return 0;
}

void layout_fini(struct layout *l)
{
    l->train.n_classes = l->valid.n_classes = l->train.n_columns = l->valid.n_columns =
        0; /* names were not read */
    matrix_fini(&l->train);
    matrix_fini(&l->valid);
    json_free(l->hyperparameters);
    *l = (struct layout){0};
}
