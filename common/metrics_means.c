/* Metrics that are sums over rows: a loss for each row, or a few such vectors; and the bins of the
 * calibration error. */
#include <math.h>

#include "common/metrics_internal.h"

static const double LOGLOSS_CLIP = 1e-15; /* one sure and wrong row costs 34.5, not infinity */

static double clip(double p)
{
    if (p < LOGLOSS_CLIP)
        return LOGLOSS_CLIP;
    return p > 1 - LOGLOSS_CLIP ? 1 - LOGLOSS_CLIP : p;
}

static double row_logloss(const struct metric_input *in, size_t row)
{
    size_t y = (size_t)in->y[row];

    if (in->k == 1)
        return -log(clip(y ? in->p[row] : 1 - in->p[row]));
    return -log(clip(in->p[row * in->k + y]));
}

static double row_brier(const struct metric_input *in, size_t row)
{
    double sum = 0;

    for (size_t c = 0; c < in->k; c++) {
        double is_class = (in->k == 1 ? 1 : (double)c) == (double)in->y[row] ? 1 : 0;
        double d = in->p[row * in->k + c] - is_class;

        sum += d * d;
    }
    return sum;
}

static double row_cost(const struct metric_input *in, size_t row)
{
    size_t cell = (size_t)in->y[row] * in->cost->n + metric__answer(in, row);

    return in->cost->fixed[cell] +
           (in->cost->by_value[cell] != 0 ? in->cost->by_value[cell] * in->value[row] : 0);
}

static double pinball(double quantile, double over) /* over: label above the prediction */
{
    return over >= 0 ? quantile * over : (quantile - 1) * over;
}

static double row_loss(const struct metric_spec *m, const struct metric_input *in, size_t row)
{
    double p = in->p[row * in->k], y = (double)in->y[row], whole;

    switch (m->id) {
    case METRIC_LOGLOSS:
        return row_logloss(in, row);
    case METRIC_BRIER:
        return row_brier(in, row);
    case METRIC_COST:
        return row_cost(in, row);
    case METRIC_MAE:
        return fabs(p - y);
    case METRIC_MAPE:
        return fabs(p - y) / fabs(y);
    case METRIC_SMAPE:
        whole = fabs(p) + fabs(y);
        return whole > 0 ? 2 * (fabs(p - y) / whole) : 0;
    case METRIC_QUANTILE:
        return pinball(m->number, y - p);
    case METRIC_POISSON_DEVIANCE:
        return 2 * ((y > 0 ? y * log(y / p) : 0) - y + p);
    case METRIC_GAMMA_DEVIANCE:
        return 2 * (log(p / y) + y / p - 1);
    default: /* rmse, r2 */
        return (p - y) * (p - y);
    }
}

size_t metric__mean_vectors(enum metric m)
{
    return m == METRIC_R2 ? 3 : 1; /* r2: the label and its square too */
}

bool metric__is_mean(enum metric m)
{
    return m != METRIC_R2 && m != METRIC_RMSE;
}

/* r2's labels are counted from their mean, so that nothing cancels. */
double metric__mean_shift(enum metric m, const struct metric_input *in)
{
    double mean = 0;

    for (size_t i = 0; m == METRIC_R2 && i < in->rows; i++)
        mean += ((double)in->y[i] - mean) / (double)(i + 1);
    return mean;
}

static const char *cost_domain(const struct metric_input *in)
{
    bool wants_value = false;

    if (!in->cost)
        return "no cost was declared";
    if (in->cost->n != metric__classes(in))
        return "the cost is of other classes than the model's";
    for (size_t i = 0; i < in->cost->n * in->cost->n; i++)
        wants_value |= in->cost->by_value[i] != 0;
    if (wants_value && !in->value)
        return "the rows have no value that the cost asks for";
    for (size_t i = 0; wants_value && i < in->rows; i++)
        if (!isfinite(in->value[i]))
            return "a row has no usable value for the cost";
    return NULL;
}

const char *metric__mean_domain(enum metric m, const struct metric_input *in)
{
    bool is_gamma = m == METRIC_GAMMA_DEVIANCE, is_poisson = m == METRIC_POISSON_DEVIANCE;

    if (m == METRIC_COST)
        return cost_domain(in);
    if (m != METRIC_MAPE && !is_gamma && !is_poisson)
        return NULL;
    for (size_t i = 0; i < in->rows; i++) {
        if (m == METRIC_MAPE && in->y[i] == 0)
            return "a label is 0, of which no share can be told";
        if (is_poisson && in->y[i] < 0)
            return "a label is below 0";
        if (is_gamma && in->y[i] <= 0)
            return "a label is not above 0";
        if ((is_gamma || is_poisson) && in->p[i] <= 0)
            return "a prediction is not above 0";
    }
    return NULL;
}

void metric__mean_fill(const struct metric_spec *m, const struct metric_input *in, double shift,
                       size_t from, size_t n, double *const out[METRIC_MAX_VECTORS])
{
    for (size_t i = 0; i < n; i++)
        out[0][i] = row_loss(m, in, from + i);
    for (size_t i = 0; m->id == METRIC_R2 && i < n; i++) {
        double y = (double)in->y[from + i] - shift;

        out[1][i] = y;
        out[2][i] = y * y;
    }
}

double metric__mean_value(enum metric m, const double *sums, size_t stride, double weight,
                          const char **ret_undefined)
{
    double squares, spread;

    *ret_undefined = NULL;
    if (m == METRIC_RMSE)
        return sqrt(sums[0] / weight);
    if (m != METRIC_R2)
        return sums[0] / weight;
    squares = sums[2 * stride];
    spread = squares - sums[stride] * sums[stride] / weight;
    if (spread > 1e-12 * squares) /* else one value, but for rounding */
        return 1 - sums[0] / spread;
    *ret_undefined = "the label does not vary";
    return NAN;
}

/* ---- calibration ---- */

size_t metric__bins(const struct metric_spec *m)
{
    return m->count > 0 ? (size_t)m->count : METRIC_DEFAULT_BINS;
}

/* How sure the answer is, less whether it is right: bins add it up. */
void metric__ece_fill(size_t bins, const struct metric_input *in, size_t from, size_t n,
                      uint16_t *ret_bin, double *ret_residual)
{
    for (size_t i = 0; i < n; i++) {
        size_t row = from + i, answer = in->k == 1 ? 1 : metric__answer(in, row);
        double p = in->p[row * in->k + (in->k == 1 ? 0 : answer)], at = p * (double)bins;

        ret_residual[i] = p - ((size_t)in->y[row] == answer ? 1 : 0);
        if (at >= (double)bins)
            ret_bin[i] = (uint16_t)(bins - 1);
        else
            ret_bin[i] = at > 0 ? (uint16_t)at : 0;
    }
}
