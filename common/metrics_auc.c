/* Area under the ROC curve as a Mann-Whitney statistic: rows are sorted once, each evaluation is
 * then one walk in rising order, in which every positive counts the negatives below it and half of
 * those that tie. */
#include <math.h>

#include "common/mem.h"
#include "common/metrics_internal.h"

enum { AUC_POSITIVE = 1, AUC_LAST_OF_TIE = 2 };

struct scored {
    double score;
    uint32_t row;
};

static int by_score(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;

    if (x->score != y->score)
        return x->score < y->score ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

static void order_of(const struct metric_input *in, size_t output, uint32_t class_index,
                     struct scored *scratch, struct auc_order *ret)
{
    for (size_t i = 0; i < in->rows; i++)
        scratch[i] = (struct scored){.score = in->p[i * in->k + output], .row = (uint32_t)i};
    qsort(scratch, in->rows, sizeof(*scratch), by_score);
    ret->row = xmalloc(in->rows * sizeof(*ret->row));
    ret->flags = xmalloc(in->rows * sizeof(*ret->flags));
    for (size_t i = 0; i < in->rows; i++) {
        bool is_last = i + 1 == in->rows || scratch[i + 1].score != scratch[i].score;
        bool is_positive = (uint32_t)in->y[scratch[i].row] == class_index;

        ret->row[i] = scratch[i].row;
        ret->flags[i] =
            (uint8_t)((is_positive ? AUC_POSITIVE : 0) | (is_last ? AUC_LAST_OF_TIE : 0));
    }
}

void metric__auc_prepare(const struct metric_input *in, struct prepared *p)
{
    struct scored *scratch = xmalloc(in->rows * sizeof(*scratch));

    p->n_orders = in->k;
    p->orders = xcalloc(p->n_orders, sizeof(*p->orders));
    for (size_t c = 0; c < p->n_orders; c++)
        order_of(in, c, in->k == 1 ? 1 : (uint32_t)c, scratch, &p->orders[c]);
    free(scratch);
}

static double walk(const struct prepared *p, const struct auc_order *o, const uint32_t *times)
{
    double below = 0, area = 0, positives = 0, tie[2] = {0}; /* tie: negatives, positives */

    for (size_t i = 0; i < p->rows; i++) {
        uint32_t row = o->row[i];
        double w = (times ? (double)times[row] : 1) * (p->w ? p->w[row] : 1);

        tie[o->flags[i] & AUC_POSITIVE] += w;
        if (o->flags[i] & AUC_LAST_OF_TIE) {
            area += tie[1] * (below + 0.5 * tie[0]);
            below += tie[0];
            positives += tie[1];
            tie[0] = tie[1] = 0;
        }
    }
    return positives > 0 && below > 0 ? area / (positives * below) : NAN;
}

double metric__auc(const struct prepared *p, const uint32_t *times, const char **ret_undefined)
{
    double sum = 0;

    *ret_undefined = NULL;
    for (size_t c = 0; c < p->n_orders; c++) {
        double v = walk(p, &p->orders[c], times);

        if (isnan(v)) {
            *ret_undefined =
                p->n_orders == 1 ? "all rows are of one class" : "a class has no rows, or all";
            return NAN;
        }
        sum += v;
    }
    return sum / (double)p->n_orders;
}
