#include "tests/support/sample_rows.h"

#include <math.h>

#include "common/mem.h"
#include "common/rng.h"

static float label_of(enum task task, double sum, struct rng *r)
{
    double noisy = sum + 0.1 * rng_normal(r); /* sum is 0 to 2 */

    if (task == TASK_BINARY)
        return noisy > 1;
    if (task == TASK_MULTICLASS)
        return noisy < 0.75 ? 0 : noisy < 1.25 ? 1 : 2;
    return (float)(100 * noisy);
}

static void fill(struct matrix *m, enum task task, size_t rows, struct rng *r)
{
    static const char *const classes[] = {"a", "b", "c"};

    m->rows = rows;
    m->n_columns = SAMPLE_COLUMNS;
    m->n_classes = task == TASK_BINARY ? 2 : task == TASK_MULTICLASS ? SAMPLE_CLASSES : 0;
    m->classes = xcalloc(SAMPLE_CLASSES, sizeof(*m->classes));
    for (size_t k = 0; k < m->n_classes; k++)
        m->classes[k] = xstrdup(classes[k]);
    m->columns = xcalloc(SAMPLE_COLUMNS, sizeof(*m->columns));
    for (size_t j = 0; j < SAMPLE_COLUMNS; j++)
        m->columns[j].name = xasprintf("x%zu", j);
    m->x = xcalloc(rows + 1, SAMPLE_COLUMNS * sizeof(*m->x));
    m->y = xcalloc(rows + 1, sizeof(*m->y));
    m->hash = xcalloc(rows + 1, sizeof(*m->hash));
    for (size_t i = 0; i < rows; i++) {
        float *row = m->x + i * SAMPLE_COLUMNS;

        for (size_t j = 0; j < SAMPLE_COLUMNS; j++)
            row[j] = (float)rng_double(r);
        m->y[i] =
            label_of(task, 0.8 * (double)row[0] + 0.8 * (double)row[1] + 0.4 * (double)row[2], r);
        if (rng_below(r, 10) == 0)
            row[2] = NAN;
        m->hash[i] = rng_next(r);
    }
}

void sample_rows_init(struct sample_rows *s, enum task task, size_t train, size_t valid,
                      uint64_t seed)
{
    struct rng r;

    *s = (struct sample_rows){0};
    rng_seed(&r, seed);
    fill(&s->train, task, train, &r);
    fill(&s->valid, task, valid, &r);
}

void sample_rows_fini(struct sample_rows *s)
{
    matrix_fini(&s->train);
    matrix_fini(&s->valid);
}
