/* Metrics in two steps (metrics_internal.h): prepare once, evaluate as often as there are
 * resamples.
 *
 * A metric that cannot be told from these rows is NaN with the reason, never a number that looks
 * good: scikit-learn's zero for an F1 without positives, say, would pass for a bad model. */
#include "common/metrics.h"

#include <math.h>

#include "common/mem.h"
#include "common/metrics_internal.h"

static const double LOGLOSS_CLIP = 1e-15; /* one sure and wrong row costs 34.5, not infinity */

static const struct {
    const char *name;
    bool higher, classes, values; /* fits tasks of classes, of values */
} METRICS[METRIC_COUNT] = {
    [METRIC_NONE] = {"none", false, false, false},
    [METRIC_ACCURACY] = {"accuracy", true, true, false},
    [METRIC_AUC] = {"auc", true, true, false},
    [METRIC_LOGLOSS] = {"logloss", false, true, false},
    [METRIC_BRIER] = {"brier", false, true, false},
    [METRIC_F1] = {"f1", true, true, false},
    [METRIC_MAE] = {"mae", false, false, true},
    [METRIC_RMSE] = {"rmse", false, false, true},
    [METRIC_R2] = {"r2", true, false, true},
};

const char *metric_str(enum metric m)
{
    return (unsigned)m < METRIC_COUNT ? METRICS[m].name : METRICS[METRIC_NONE].name;
}

enum metric metric_parse(const char *name)
{
    for (int m = METRIC_NONE + 1; name && m < METRIC_COUNT; m++)
        if (strcmp(name, METRICS[m].name) == 0)
            return (enum metric)m;
    return METRIC_NONE;
}

bool metric_higher_is_better(enum metric m)
{
    return (unsigned)m < METRIC_COUNT && METRICS[m].higher;
}

bool metric_fits(enum metric m, enum task t)
{
    if ((unsigned)m >= METRIC_COUNT)
        return false;
    return t == TASK_REGRESSION ? METRICS[m].values : METRICS[m].classes;
}

/* ---- what the rows say ---- */

static size_t classes_of(const struct metric_input *in)
{
    if (in->task == TASK_REGRESSION)
        return 0;
    return in->k == 1 ? 2 : in->k;
}

static const char *check_rows(const struct metric_input *in)
{
    size_t n_classes = classes_of(in);
    double total = 0;

    for (size_t i = 0; i < in->rows; i++) {
        for (size_t c = 0; c < in->k; c++)
            if (!isfinite(in->p[i * in->k + c]))
                return "a prediction is not finite";
        if (!isfinite(in->y[i]))
            return "a row has no usable label";
        if (n_classes &&
            (in->y[i] < 0 || in->y[i] >= (float)n_classes || in->y[i] != floorf(in->y[i])))
            return "a label is no class of the model";
        if (in->w && (!isfinite(in->w[i]) || in->w[i] < 0))
            return "a weight is negative or not finite";
        total += in->w ? in->w[i] : 1;
    }
    return total > 0 ? NULL : "no row has a weight";
}

static const char *check(enum metric m, const struct metric_input *in)
{
    if (in->rows == 0)
        return "no rows";
    if (!metric_fits(m, in->task))
        return "this metric does not fit the task";
    if (in->k == 0 || (in->task == TASK_MULTICLASS && in->k < 2) ||
        (in->task != TASK_MULTICLASS && in->k != 1))
        return "the model's outputs do not fit the task";
    if (in->rows > METRIC_MAX_ROWS)
        return "more rows than can be counted";
    return check_rows(in);
}

static size_t guess_of(const struct metric_input *in, size_t row)
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

static double row_loss(enum metric m, const struct metric_input *in, size_t row)
{
    double d;

    if (m == METRIC_ACCURACY)
        return guess_of(in, row) == (size_t)in->y[row] ? 1 : 0;
    if (m == METRIC_LOGLOSS)
        return row_logloss(in, row);
    if (m == METRIC_BRIER)
        return row_brier(in, row);
    d = in->p[row] - (double)in->y[row];
    return m == METRIC_MAE ? fabs(d) : d * d;
}

/* Sums, each row's share times its weight: 0 of the loss, 1 of the weights; for r2 also 2 and 3 of
 * the label and its square, about the mean of all rows so that nothing cancels. */
static void prepare_sums(enum metric m, const struct metric_input *in, struct prepared *p)
{
    double mean = 0;

    p->n_sums = m == METRIC_R2 ? 4 : 2;
    for (size_t s = 0; s < p->n_sums; s++)
        p->row_sums[s] = xmalloc(in->rows * sizeof(double));
    for (size_t i = 0; m == METRIC_R2 && i < in->rows; i++)
        mean += ((double)in->y[i] - mean) / (double)(i + 1);
    for (size_t i = 0; i < in->rows; i++) {
        double w = in->w ? in->w[i] : 1, y = (double)in->y[i] - mean;

        p->row_sums[0][i] = w * row_loss(m, in, i);
        p->row_sums[1][i] = w;
        if (m == METRIC_R2) {
            p->row_sums[2][i] = w * y;
            p->row_sums[3][i] = w * y * y;
        }
    }
}

static void prepare_f1(const struct metric_input *in, struct prepared *p)
{
    p->truth = xmalloc(in->rows * sizeof(*p->truth));
    p->guess = xmalloc(in->rows * sizeof(*p->guess));
    p->tp = xcalloc(p->n_classes, sizeof(*p->tp));
    p->miss = xcalloc(p->n_classes, sizeof(*p->miss));
    for (size_t i = 0; i < in->rows; i++) {
        p->truth[i] = (uint32_t)in->y[i];
        p->guess[i] = (uint32_t)guess_of(in, i);
    }
}

const char *metric__prepare(enum metric m, const struct metric_input *in, struct prepared *ret)
{
    const char *undefined = check(m, in);

    if (undefined)
        return undefined;
    *ret =
        (struct prepared){.metric = m, .rows = in->rows, .n_classes = classes_of(in), .w = in->w};
    if (m == METRIC_AUC)
        metric__auc_prepare(in, ret);
    else if (m == METRIC_F1)
        prepare_f1(in, ret);
    else
        prepare_sums(m, in, ret);
    return NULL;
}

void metric__fini(struct prepared *p)
{
    for (size_t s = 0; s < METRIC_MAX_SUMS; s++)
        free(p->row_sums[s]);
    for (size_t i = 0; i < p->n_orders; i++) {
        free(p->orders[i].negatives_first);
        free(p->orders[i].positives_first);
    }
    free(p->orders);
    free(p->truth);
    free(p->guess);
    free(p->tp);
    free(p->miss);
    *p = (struct prepared){0};
}

bool metric__is_mean(const struct prepared *p)
{
    return p->n_sums == 2 && p->metric != METRIC_RMSE;
}

/* ---- one evaluation ---- */

static double sum_of(const double *values, const uint32_t *times, size_t n)
{
    double lanes[4] = {0}, rest = 0; /* four chains of additions run side by side */
    size_t i = 0;

    if (!times) {
        for (; i < n; i++)
            rest += values[i];
        return rest;
    }
    for (; i + 4 <= n; i += 4)
        for (size_t j = 0; j < 4; j++)
            lanes[j] += values[i + j] * (double)times[i + j];
    for (; i < n; i++)
        rest += values[i] * (double)times[i];
    return lanes[0] + lanes[1] + lanes[2] + lanes[3] + rest;
}

/* Of all weights: each 1, each row is drawn once for each row that there is. */
static double weight_of(const struct prepared *p, const uint32_t *times)
{
    return p->w ? sum_of(p->row_sums[1], times, p->rows) : (double)p->rows;
}

static double evaluate_r2(const struct prepared *p, double loss, double weight,
                          const uint32_t *times, const char **ret_undefined)
{
    double sum = sum_of(p->row_sums[2], times, p->rows);
    double squares = sum_of(p->row_sums[3], times, p->rows), spread = squares - sum * sum / weight;

    if (spread > 1e-12 * squares) /* else one value, but for rounding */
        return 1 - loss / spread;
    *ret_undefined = "the label does not vary";
    return NAN;
}

static double evaluate_sums(const struct prepared *p, const uint32_t *times,
                            const char **ret_undefined)
{
    double loss = sum_of(p->row_sums[0], times, p->rows), weight = weight_of(p, times);

    *ret_undefined = weight > 0 ? NULL : "no row has a weight";
    if (!(weight > 0))
        return NAN;
    if (p->metric == METRIC_R2)
        return evaluate_r2(p, loss, weight, times, ret_undefined);
    return p->metric == METRIC_RMSE ? sqrt(loss / weight) : loss / weight;
}

/* 2 TP / (2 TP + FP + FN): of class 1, or the mean over the classes that occur among labels or
 * answers. */
static double evaluate_f1(struct prepared *p, const uint32_t *times, const char **ret_undefined)
{
    double sum = 0, positives = 0;
    size_t n = 0;

    memset(p->tp, 0, p->n_classes * sizeof(*p->tp));
    memset(p->miss, 0, p->n_classes * sizeof(*p->miss));
    for (size_t i = 0; i < p->rows; i++) {
        double w = (p->w ? p->w[i] : 1) * (times ? (double)times[i] : 1);

        positives += p->truth[i] == 1 ? w : 0;
        if (p->truth[i] == p->guess[i]) {
            p->tp[p->truth[i]] += w;
        } else {
            p->miss[p->truth[i]] += w;
            p->miss[p->guess[i]] += w;
        }
    }
    *ret_undefined = NULL;
    if (p->n_classes == 2) {
        if (positives > 0)
            return 2 * p->tp[1] / (2 * p->tp[1] + p->miss[1]);
        *ret_undefined = "no row is of the positive class";
        return NAN;
    }
    for (size_t c = 0; c < p->n_classes; c++) {
        double whole = 2 * p->tp[c] + p->miss[c];

        if (whole > 0) {
            sum += 2 * p->tp[c] / whole;
            n++;
        }
    }
    if (n > 0)
        return sum / (double)n;
    *ret_undefined = "no row has a weight";
    return NAN;
}

double metric__evaluate(struct prepared *p, const uint32_t *times, const char **ret_undefined)
{
    if (p->metric == METRIC_AUC)
        return metric__auc(p, times, ret_undefined);
    if (p->metric == METRIC_F1)
        return evaluate_f1(p, times, ret_undefined);
    return evaluate_sums(p, times, ret_undefined);
}

double metric_value(enum metric m, const struct metric_input *in, const char **ret_undefined)
{
    CLEANUP(metric__fini) struct prepared p = {0};
    const char *undefined = metric__prepare(m, in, &p);
    double v = NAN;

    if (!undefined)
        v = metric__evaluate(&p, NULL, &undefined);
    if (!undefined && !isfinite(v))
        undefined = "the value is not finite";
    if (ret_undefined)
        *ret_undefined = undefined;
    return undefined ? NAN : v;
}
