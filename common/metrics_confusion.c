/* Metrics that count labels and answers.  Rows add their weight to the pair of label and answer, as
 * long as pairs are few; of many classes only to the label's, the answer's and the right one's sum,
 * which is all that the metrics need. */
#include <math.h>

#include "common/metrics_internal.h"

static const char NO_WEIGHT[] = "no row has a weight",
                  NO_POSITIVE[] = "no row is of the positive class";

struct counts { /* by class */
    double *label, *answer, *right;
    size_t n;
    double total, all_right;
};

static bool is_by_pair(size_t n_classes)
{
    return n_classes <= METRIC_FULL_CLASSES;
}

size_t metric__confusion_codes(size_t n_classes)
{
    return is_by_pair(n_classes) ? 1 : 3;
}

size_t metric__confusion_sums(size_t n_classes)
{
    return is_by_pair(n_classes) ? n_classes * n_classes
                                 : 3 * n_classes + 1; /* the last one takes what is wrong */
}

void metric__confusion_fill(const struct metric_input *in, size_t from, size_t n, uint32_t *ret)
{
    uint32_t classes = (uint32_t)metric__classes(in);

    for (size_t i = 0; i < n; i++) {
        uint32_t label = (uint32_t)in->y[from + i], answer = (uint32_t)metric__answer(in, from + i);

        if (is_by_pair(classes)) {
            ret[i] = label * classes + answer;
            continue;
        }
        ret[3 * i] = label;
        ret[3 * i + 1] = classes + answer;
        ret[3 * i + 2] = label == answer ? 2 * classes + label : 3 * classes;
    }
}

static void count(size_t n, const double *sums, size_t stride, double *scratch, struct counts *c)
{
    *c = (struct counts){.label = scratch, .answer = scratch + n, .right = scratch + 2 * n, .n = n};
    for (size_t i = 0; i < 3 * n; i++)
        scratch[i] = is_by_pair(n) ? 0 : sums[i * stride];
    for (size_t l = 0; is_by_pair(n) && l < n; l++)
        for (size_t a = 0; a < n; a++) {
            double v = sums[(l * n + a) * stride];

            c->label[l] += v;
            c->answer[a] += v;
            c->right[l] += l == a ? v : 0;
        }
    for (size_t i = 0; i < n; i++) {
        c->total += c->label[i];
        c->all_right += c->right[i];
    }
}

/* F-beta as (1 + b2) TP over b2 labels + answers; precision is b2 = 0, recall without the answers.
 */
static double share(const struct metric_spec *m, double label, double answer, double right)
{
    double b2 = m->id == METRIC_FBETA ? m->number * m->number : 1;

    if (m->id == METRIC_PRECISION)
        return answer > 0 ? right / answer : (double)NAN;
    if (m->id == METRIC_RECALL)
        return label > 0 ? right / label : (double)NAN;
    return label + answer > 0 ? (1 + b2) * right / (b2 * label + answer) : (double)NAN;
}

static double of_positive(const struct metric_spec *m, const struct counts *c, const char **why)
{
    if (m->id == METRIC_PRECISION && !(c->answer[1] > 0))
        *why = "no row is answered with the positive class";
    if (m->id != METRIC_PRECISION && !(c->label[1] > 0))
        *why = NO_POSITIVE;
    return *why ? (double)NAN : share(m, c->label[1], c->answer[1], c->right[1]);
}

static double averaged(const struct metric_spec *m, const struct counts *c, const char **why)
{
    double sum = 0, weight = 0;

    if (m->average == AVERAGE_MICRO)
        return share(m, c->total, c->total, c->all_right);
    for (size_t i = 0; i < c->n; i++) {
        double v = share(m, c->label[i], c->answer[i], c->right[i]),
               w = m->average == AVERAGE_WEIGHTED ? c->label[i] : 1;

        if (isnan(v) || !(w > 0))
            continue;
        sum += w * v;
        weight += w;
    }
    if (weight > 0)
        return sum / weight;
    *why = "no class that is answered has a row";
    return NAN;
}

static double balanced(const struct counts *c, const char **why)
{
    double sum = 0;
    size_t n = 0;

    for (size_t i = 0; i < c->n; i++)
        if (c->label[i] > 0) {
            sum += c->right[i] / c->label[i];
            n++;
        }
    if (n > 1)
        return sum / (double)n;
    *why = "all rows are of one class";
    return NAN;
}

static double correlation(const struct counts *c, const char **why)
{
    double labels = 0, answers = 0, both = 0, all = c->total * c->total;

    for (size_t i = 0; i < c->n; i++) {
        labels += c->label[i] * c->label[i];
        answers += c->answer[i] * c->answer[i];
        both += c->label[i] * c->answer[i];
    }
    for (size_t i = 0; i < c->n; i++)
        if (c->label[i] == c->total || c->answer[i] == c->total)
            *why = "labels or answers are all of one class";
    if (!*why && (all - labels) * (all - answers) > 0)
        return (c->all_right * c->total - both) / (sqrt(all - labels) * sqrt(all - answers));
    *why = "labels or answers are all of one class";
    return NAN;
}

double metric__confusion_value(const struct metric_spec *m, size_t n_classes, const double *sums,
                               size_t stride, double *scratch, const char **ret_undefined)
{
    struct counts c;

    *ret_undefined = NULL;
    count(n_classes, sums, stride, scratch, &c);
    if (!(c.total > 0)) {
        *ret_undefined = NO_WEIGHT;
        return NAN;
    }
    if (m->id == METRIC_ACCURACY)
        return c.all_right / c.total;
    if (m->id == METRIC_BALANCED_ACCURACY)
        return balanced(&c, ret_undefined);
    if (m->id == METRIC_MCC)
        return correlation(&c, ret_undefined);
    if (m->average == AVERAGE_DEFAULT && n_classes == 2)
        return of_positive(m, &c, ret_undefined);
    return averaged(m, &c, ret_undefined);
}
