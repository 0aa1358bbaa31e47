/* Values of metrics on all rows.
 *
 * A metric that cannot be told from these rows is NaN with the reason, never a number that looks
 * good or bad: scikit-learn's zero for an F1 without positives, say, would pass for a bad model. */
#include "common/metrics.h"

#include <math.h>

#include "common/metrics_internal.h"

const char METRIC_NO_WEIGHT[] = "no row has a weight";

/* ---- what the rows say ---- */

size_t metric__classes(const struct metric_input *in)
{
    if (in->task == TASK_REGRESSION)
        return 0;
    return in->k == 1 ? 2 : in->k;
}

size_t metric__answer(const struct metric_input *in, size_t row)
{
    const double *p = in->p + row * in->k;
    size_t best = 0;

    if (in->k == 1)
        return p[0] > 0.5;
    for (size_t c = 1; c < in->k; c++) /* the first of equals, as numpy.argmax */
        if (p[c] > p[best])
            best = c;
    return best;
}

const char *metric__check_rows(const struct metric_input *in)
{
    size_t n_classes = metric__classes(in);
    double total = 0;

    if (in->rows == 0)
        return "no rows";
    if (in->rows > METRIC_MAX_ROWS)
        return "more rows than can be counted";
    if (in->k == 0 || (in->task == TASK_MULTICLASS && in->k < 2) ||
        (in->task != TASK_MULTICLASS && in->k != 1))
        return "the model's outputs do not fit the task";
    for (size_t i = 0; i < in->rows * in->k; i++)
        if (!isfinite(in->p[i]))
            return "a prediction is not finite";
    for (size_t i = 0; i < in->rows; i++) {
        if (!isfinite(in->y[i]))
            return "a row has no usable label";
        if (n_classes &&
            !(in->y[i] >= 0 && in->y[i] < (float)n_classes && in->y[i] == (float)(int32_t)in->y[i]))
            return "a label is no class of the model";
        if (in->w && (!isfinite(in->w[i]) || in->w[i] < 0))
            return "a weight is missing, negative or not finite";
        total += in->w ? in->w[i] : 1;
    }
    return total > 0 ? NULL : METRIC_NO_WEIGHT;
}

static const char *check_groups(const struct metric_input *in)
{
    if (!in->group)
        return "the rows have no groups";
    for (size_t i = 0; i < in->rows; i++) {
        if (in->group[i] >= in->n_groups)
            return "a row is of no group";
        if (in->y[i] < 0)
            return "a label is below 0, which is no grade";
    }
    return NULL;
}

const char *metric__check(enum metric m, const struct metric_input *in)
{
    if (!metric_fits(m, in->task))
        return "this metric does not fit the task";
    if (metric__family(m) == FAMILY_GROUP)
        return check_groups(in);
    return metric__family(m) == FAMILY_MEAN ? metric__mean_domain(m, in) : NULL;
}

/* ---- one pass over the rows ---- */

static size_t block_at(const struct metric_input *in, size_t from)
{
    return in->rows - from < METRIC_BLOCK_ROWS ? in->rows - from : METRIC_BLOCK_ROWS;
}

static double weight_of(const struct metric_input *in, size_t row)
{
    return in->w ? in->w[row] : 1;
}

static double total_weight(const struct metric_input *in)
{
    double sum = 0;

    for (size_t i = 0; in->w && i < in->rows; i++)
        sum += in->w[i];
    return in->w ? sum : (double)in->rows;
}

static double mean_value(const struct metric_spec *m, const struct metric_input *in,
                         const char **why)
{
    double block[METRIC_MAX_VECTORS][METRIC_BLOCK_ROWS], sums[METRIC_MAX_VECTORS] = {0},
                                                         shift = metric__mean_shift(m->id, in);
    double *const out[METRIC_MAX_VECTORS] = {block[0], block[1], block[2]};

    for (size_t from = 0, n; from < in->rows; from += n) {
        n = block_at(in, from);
        metric__mean_fill(m, in, shift, from, n, out);
        for (size_t v = 0; v < metric__mean_vectors(m->id); v++) {
            double sum = 0; /* of one block: rounding grows with blocks, not with rows */

            for (size_t i = 0; i < n; i++)
                sum += weight_of(in, from + i) * block[v][i];
            sums[v] += sum;
        }
    }
    return metric__mean_value(m->id, sums, 1, total_weight(in), why);
}

static double confusion_value(const struct metric_spec *m, const struct metric_input *in,
                              const char **why)
{
    size_t n_classes = metric__classes(in), n_codes = metric__confusion_codes(n_classes);
    CLEANUP_FREE double *sums = xcalloc(metric__confusion_sums(n_classes), sizeof(*sums));
    CLEANUP_FREE double *scratch = xcalloc(3 * n_classes, sizeof(*scratch));
    uint32_t codes[3 * METRIC_BLOCK_ROWS];

    for (size_t from = 0, n; from < in->rows; from += n) {
        n = block_at(in, from);
        metric__confusion_fill(in, from, n, codes);
        for (size_t i = 0; i < n; i++)
            for (size_t c = 0; c < n_codes; c++)
                sums[codes[i * n_codes + c]] += weight_of(in, from + i);
    }
    return metric__confusion_value(m, n_classes, sums, 1, scratch, why);
}

static double ece_value(const struct metric_spec *m, const struct metric_input *in)
{
    size_t bins = metric__bins(m);
    CLEANUP_FREE double *sums = xcalloc(bins, sizeof(*sums));
    double residual[METRIC_BLOCK_ROWS], all = 0;
    uint16_t bin[METRIC_BLOCK_ROWS];

    for (size_t from = 0, n; from < in->rows; from += n) {
        n = block_at(in, from);
        metric__ece_fill(bins, in, from, n, bin, residual);
        for (size_t i = 0; i < n; i++)
            sums[bin[i]] += weight_of(in, from + i) * residual[i];
    }
    for (size_t b = 0; b < bins; b++)
        all += fabs(sums[b]);
    return all / total_weight(in);
}

static double group_value(const struct metric_spec *m, const struct metric_input *in,
                          const char **why)
{
    CLEANUP_FREE double *value = xcalloc(2 * in->n_groups + 1, sizeof(*value));
    double *weight = value + in->n_groups, sum = 0, total = 0;

    metric__group_fill(m, in, value, weight);
    for (size_t g = 0; g < in->n_groups; g++) {
        sum += weight[g] * value[g];
        total += weight[g];
    }
    if (!(total > 0))
        *why = METRIC_NO_RELEVANT;
    return sum / total;
}

static double rank_value(const struct metric_spec *m, const struct metric_input *in,
                         const char **why)
{
    double sum = 0;

    for (size_t output = 0; output < in->k; output++) { /* one at a time: memory */
        double v;

        metric__rank_value(in, output, m->id == METRIC_AUC ? &v : NULL,
                           m->id == METRIC_AUC ? NULL : &v);
        if (isnan(v)) {
            *why = metric__rank_undefined(in->k);
            return NAN;
        }
        sum += v;
    }
    return sum / (double)in->k;
}

static double value_of(const struct metric_spec *m, const struct metric_input *in, const char **why)
{
    switch (metric__family(m->id)) {
    case FAMILY_MEAN:
        return mean_value(m, in, why);
    case FAMILY_CONFUSION:
        return confusion_value(m, in, why);
    case FAMILY_RANK:
        return rank_value(m, in, why);
    case FAMILY_ECE:
        return ece_value(m, in);
    case FAMILY_GROUP:
        break;
    }
    return group_value(m, in, why);
}

double metric__value_unchecked(const struct metric_spec *m, const struct metric_input *in,
                               const char **why)
{
    double v = value_of(m, in, why);

    if (!*why && !isfinite(v))
        *why = "the value is not finite";
    return *why ? (double)NAN : v;
}

double metric_value(const struct metric_spec *m, const struct metric_input *in,
                    const char **ret_undefined)
{
    const char *why = metric__check_rows(in);
    double v = NAN;

    if (!why)
        why = metric__check(m->id, in);
    if (!why)
        v = metric__value_unchecked(m, in, &why);
    if (ret_undefined)
        *ret_undefined = why;
    return v;
}
