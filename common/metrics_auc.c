/* Area under the ROC curve as a Mann-Whitney statistic: rows are sorted once, each evaluation is
 * then one walk in rising order, in which every positive counts the negatives below it and half of
 * those that tie.  Half of a tie is the mean of two walks, one that meets the positives of a tie
 * first and one that meets its negatives first: without weights both are whole numbers and have no
 * branch. */
#include <math.h>

#include "common/mem.h"
#include "common/metrics_internal.h"

struct scored {
    double score;
    uint32_t row;
    bool is_positive;
};

static int by_score(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;

    if (x->score != y->score)
        return x->score < y->score ? -1 : 1;
    if (x->is_positive != y->is_positive) /* negatives first */
        return x->is_positive ? 1 : -1;
    return x->row < y->row ? -1 : x->row > y->row;
}

static uint32_t coded(const struct scored *s)
{
    return s->row << 1 | (s->is_positive ? 1u : 0u);
}

/* One tie, negatives first in `from`: copied as it is, and with its positives first. */
static void copy_tie(const struct scored *from, size_t n, uint32_t *negatives_first,
                     uint32_t *positives_first)
{
    size_t n_negatives = 0, n_positives;

    while (n_negatives < n && !from[n_negatives].is_positive)
        n_negatives++;
    n_positives = n - n_negatives;
    for (size_t i = 0; i < n; i++) {
        negatives_first[i] = coded(&from[i]);
        positives_first[i < n_negatives ? n_positives + i : i - n_negatives] = coded(&from[i]);
    }
}

static void order_of(const struct metric_input *in, size_t output, uint32_t class_index,
                     struct scored *scratch, struct auc_order *ret)
{
    size_t from = 0;

    for (size_t i = 0; i < in->rows; i++)
        scratch[i] = (struct scored){.score = in->p[i * in->k + output],
                                     .row = (uint32_t)i,
                                     .is_positive = (uint32_t)in->y[i] == class_index};
    qsort(scratch, in->rows, sizeof(*scratch), by_score);
    ret->negatives_first = xmalloc(in->rows * sizeof(*ret->negatives_first));
    ret->positives_first = xmalloc(in->rows * sizeof(*ret->positives_first));
    for (size_t i = 1; i <= in->rows; i++) {
        if (i < in->rows && scratch[i].score == scratch[from].score)
            continue;
        copy_tie(scratch + from, i - from, ret->negatives_first + from,
                 ret->positives_first + from);
        from = i;
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

/* Sums stay below the square of the number of rows, which is below 2^62. */
static double walk_counts(const struct prepared *p, const struct auc_order *o,
                          const uint32_t *times)
{
    uint64_t below[2] = {0}, area[2] = {0}, all = 0, pairs;

    for (size_t i = 0; i < p->rows; i++) {
        uint32_t a = o->negatives_first[i], b = o->positives_first[i];
        uint64_t ta = times[a >> 1], tb = times[b >> 1];
        uint64_t is_a = 0 - (uint64_t)(a & 1),
                 is_b = 0 - (uint64_t)(b & 1); /* all ones: positive */

        area[0] += (ta & is_a) * below[0];
        below[0] += ta & ~is_a;
        area[1] += (tb & is_b) * below[1];
        below[1] += tb & ~is_b;
        all += ta;
    }
    pairs = (all - below[0]) * below[0];
    return pairs ? ((double)area[0] + (double)area[1]) / (2 * (double)pairs) : (double)NAN;
}

static double walk_weights(const struct prepared *p, const struct auc_order *o,
                           const uint32_t *times)
{
    const uint32_t *orders[2] = {o->negatives_first, o->positives_first};
    double area = 0, below = 0, positives = 0;

    for (size_t k = 0; k < 2; k++) {
        below = positives = 0;
        for (size_t i = 0; i < p->rows; i++) {
            uint32_t row = orders[k][i] >> 1;
            double w = (times ? (double)times[row] : 1) * (p->w ? p->w[row] : 1);

            if (orders[k][i] & 1) {
                area += w * below;
                positives += w;
            } else {
                below += w;
            }
        }
    }
    return positives > 0 && below > 0 ? area / (2 * positives * below) : (double)NAN;
}

double metric__auc(const struct prepared *p, const uint32_t *times, const char **ret_undefined)
{
    double sum = 0;

    *ret_undefined = NULL;
    for (size_t c = 0; c < p->n_orders; c++) {
        double v = times && !p->w ? walk_counts(p, &p->orders[c], times)
                                  : walk_weights(p, &p->orders[c], times);

        if (isnan(v)) {
            *ret_undefined =
                p->n_orders == 1 ? "all rows are of one class" : "a class has no rows, or all";
            return NAN;
        }
        sum += v;
    }
    return sum / (double)p->n_orders;
}
