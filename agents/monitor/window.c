#include "agents/monitor/window.h"

#include <math.h>
#include <string.h>

#include "common/mem.h"

static const char PREDICTION[] = "prediction"; /* the profile's last column */

static const struct profile_column *find(const struct profile *p, const char *name, size_t place)
{
    if (place < p->n_columns && strcmp(p->columns[place].name, name) == 0)
        return &p->columns[place];
    for (size_t i = 0; i < p->n_columns; i++)
        if (strcmp(p->columns[i].name, name) == 0)
            return &p->columns[i];
    return NULL;
}

/* The last column of that name: a feature may be called so too. */
static const struct profile_column *find_prediction(const struct profile *p, size_t n_features)
{
    if (p->n_columns <= n_features || strcmp(p->columns[p->n_columns - 1].name, PREDICTION) != 0)
        return NULL;
    return &p->columns[p->n_columns - 1];
}

void reference_init(struct reference *r, const struct model *m, const struct profile *p)
{
    size_t n = m ? m->shape.n_columns : 0;

    *r = (struct reference){.model = m, .profile = p, .n_features = n};
    r->n_outputs = m && m->task == TASK_MULTICLASS ? m->shape.n_classes : 1;
    r->columns = xcalloc(n + 1, sizeof(*r->columns));
    r->first_bin = xcalloc(n + 1, sizeof(*r->first_bin));
    if (!p)
        return;
    for (size_t i = 0; i < n; i++) {
        r->first_bin[i] = r->n_bins;
        r->columns[i] = find(p, m->shape.columns[i].name, i);
        if (r->columns[i])
            r->n_bins += profile_bin_count(r->columns[i]);
    }
    r->first_bin[n] = r->n_bins;
    r->prediction = find_prediction(p, n);
    if (r->prediction)
        r->n_bins += profile_bin_count(r->prediction);
}

void reference_fini(struct reference *r)
{
    free_ptr(&r->columns);
    free_ptr(&r->first_bin);
    *r = (struct reference){0};
}

void counts_init(struct counts *c, const struct reference *r)
{
    *c = (struct counts){0};
    if (!r || !r->profile)
        return;
    c->bins = xcalloc(r->n_bins + 1, sizeof(*c->bins));
    c->missing = xcalloc(r->n_features + 1, sizeof(*c->missing));
}

void counts_fini(struct counts *c)
{
    free_ptr(&c->bins);
    free_ptr(&c->missing);
    *c = (struct counts){0};
}

void counts_add(struct counts *c, const struct reference *r, const float *features,
                const double *outputs)
{
    double output;

    c->rows++;
    if (!c->bins)
        return;
    for (size_t i = 0; i < r->n_features; i++) {
        if (!isfinite(features[i]))
            c->missing[i]++;
        else if (r->columns[i])
            c->bins[r->first_bin[i] + profile_bin_of(r->columns[i], (double)features[i])]++;
    }
    output = model_prediction_scalar(r->model->task, outputs, r->n_outputs);
    if (r->prediction && isfinite(output))
        c->bins[r->first_bin[r->n_features] + profile_bin_of(r->prediction, output)]++;
}
