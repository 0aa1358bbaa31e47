#include "agents/evaluate/contestant.h"

void contestant_fini(struct contestant *c)
{
    model_free(c->model);
    xgb_free(c->xgb);
    *c = (struct contestant){0};
}

/* The train agent's child has loaded this file before; its digest says that it is the same. */
int contestant_open(const struct artifacts *a, const char *digest, struct contestant *ret,
                    struct err *err)
{
    CLEANUP(buf_fini) struct buf text = {0};

    if (model_open(a, digest, &ret->model, err))
        return -1;
    buf_init(&text, MODEL_MAX_FILE_BYTES);
    if (artifacts_get(a, ret->model->file, MODEL_MAX_FILE_BYTES, &text, err) ||
        xgb_check(buf_slice(&text), ret->model->shape.n_columns, err) ||
        xgb_load(buf_slice(&text), &ret->xgb, err) ||
        xgb_fits(ret->xgb, ret->model->task, ret->model->shape.n_classes, err))
        return err_wrap(err, "model %.12s", digest);
    return 0;
}

int contestant_answer(const struct contestant *c, const struct matrix *rows, double **ret,
                      struct err *err)
{
    double *p = xmalloc((rows->rows * xgb_outputs(c->xgb) + 1) * sizeof(*p));

    if (xgb_predict(c->xgb, rows->x, rows->rows, p, err)) {
        free(p);
        return -1;
    }
    *ret = p;
    return 0;
}

static size_t class_of(const struct model *m, const char *name)
{
    for (size_t k = 0; k < m->shape.n_classes; k++)
        if (strcmp(m->shape.classes[k], name) == 0)
            return k;
    return SIZE_MAX;
}

const char *contestant_why_not(const struct model *candidate, const struct model *other)
{
    if (candidate->task != other->task)
        return "it is for another task";
    if (candidate->task != TASK_BINARY)
        return NULL;
    for (size_t k = 0; k < 2; k++)
        if (class_of(other, candidate->shape.classes[k]) == SIZE_MAX)
            return "it tells other classes apart";
    return NULL;
}

/* Classes that only the other knows are left out: no row is of one.  Those that it does not know it
 * gives nothing. */
void contestant_align(const struct model *candidate, const struct model *other, size_t rows,
                      double **p)
{
    size_t n = candidate->shape.n_classes, m = other->shape.n_classes;
    double *aligned, *from = *p;

    if (candidate->task == TASK_REGRESSION)
        return;
    if (candidate->task == TASK_BINARY) {
        bool is_swapped = class_of(other, candidate->shape.classes[1]) == 0;

        for (size_t i = 0; is_swapped && i < rows; i++)
            from[i] = 1 - from[i];
        return;
    }
    aligned = xcalloc(rows * n + 1, sizeof(*aligned));
    for (size_t k = 0; k < n; k++) {
        size_t at = class_of(other, candidate->shape.classes[k]);

        for (size_t i = 0; at != SIZE_MAX && i < rows; i++)
            aligned[i * n + k] = from[i * m + at];
    }
    free(from);
    *p = aligned;
}
