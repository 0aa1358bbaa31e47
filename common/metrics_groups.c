/* Rankings of grouped rows.  Rows of one group and one score are a tie: each of them has the mean
 * of what its places give. */
#include <math.h>
#include <stdlib.h>

#include "common/metrics_internal.h"

const char METRIC_NO_RELEVANT[] = "no group has a relevant row";

struct item {
    double score, grade;
};

static int by_falling_score(const void *a, const void *b)
{
    const struct item *x = a, *y = b;

    return x->score > y->score ? -1 : x->score < y->score;
}

static int by_falling_grade(const void *a, const void *b)
{
    const struct item *x = a, *y = b;

    return x->grade > y->grade ? -1 : x->grade < y->grade;
}

static size_t end_of_tie(const struct item *items, size_t n, size_t from)
{
    size_t to = from + 1;

    while (to < n && items[to].score == items[from].score)
        to++;
    return to;
}

/* Of places from..to-1 that are among the first k. */
static double discounts(size_t from, size_t to, size_t k)
{
    double sum = 0;

    for (size_t i = from; i < to && i < k; i++)
        sum += 1 / log2((double)i + 2);
    return sum;
}

static double ndcg(struct item *items, size_t n, size_t k)
{
    double gain = 0, ideal = 0;

    qsort(items, n, sizeof(*items), by_falling_score);
    for (size_t from = 0, to; from < n && from < k; from = to) {
        double grades = 0;

        to = end_of_tie(items, n, from);
        for (size_t i = from; i < to; i++)
            grades += items[i].grade;
        gain += grades / (double)(to - from) * discounts(from, to, k);
    }
    qsort(items, n, sizeof(*items), by_falling_grade);
    for (size_t i = 0; i < n && i < k; i++)
        ideal += items[i].grade * discounts(i, i + 1, k);
    return ideal > 0 ? gain / ideal : (double)NAN;
}

/* In a tie of t rows with r relevant ones, place j is relevant with r/t, and then (r-1)/(t-1) of
 * the places of the tie before it are. */
static double precisions(size_t from, size_t to, size_t k, double relevant, double before)
{
    double t = (double)(to - from), others = t > 1 ? (relevant - 1) / (t - 1) : 0, sum = 0;

    for (size_t i = from; i < to && i < k; i++)
        sum += relevant / t * (before + 1 + (double)(i - from) * others) / (double)(i + 1);
    return sum;
}

static double average_precision(struct item *items, size_t n, size_t k)
{
    double sum = 0, before = 0, all = 0, room;

    qsort(items, n, sizeof(*items), by_falling_score);
    for (size_t from = 0, to; from < n; from = to) {
        double relevant = 0;

        to = end_of_tie(items, n, from);
        for (size_t i = from; i < to; i++)
            relevant += items[i].grade > 0;
        if (relevant > 0)
            sum += precisions(from, to, k, relevant, before);
        before += relevant;
    }
    all = before;
    room = all < (double)k ? all : (double)k;
    return all > 0 ? sum / room : (double)NAN;
}

static uint32_t *rows_by_group(const struct metric_input *in, size_t *starts)
{
    uint32_t *rows = xmalloc((in->rows + 1) * sizeof(*rows));

    for (size_t i = 0; i < in->rows; i++)
        starts[in->group[i] + 1]++;
    for (size_t g = 0; g < in->n_groups; g++)
        starts[g + 1] += starts[g];
    for (size_t i = 0; i < in->rows; i++)
        rows[starts[in->group[i]]++] = (uint32_t)i;
    for (size_t g = in->n_groups; g > 0; g--)
        starts[g] = starts[g - 1];
    starts[0] = 0;
    return rows;
}

void metric__group_fill(const struct metric_spec *m, const struct metric_input *in, double *value,
                        double *weight)
{
    CLEANUP_FREE size_t *starts = xcalloc(in->n_groups + 2, sizeof(*starts));
    CLEANUP_FREE uint32_t *rows = rows_by_group(in, starts);
    CLEANUP_FREE struct item *items = NULL;
    size_t cap = 0, k = m->count > 0 ? (size_t)m->count : SIZE_MAX;

    for (size_t g = 0; g < in->n_groups; g++) {
        size_t n = starts[g + 1] - starts[g];
        double sum = 0;

        items = xgrow(items, &cap, n + 1, sizeof(*items));
        for (size_t i = 0; i < n; i++) {
            uint32_t row = rows[starts[g] + i];

            items[i] = (struct item){in->p[row], (double)in->y[row]};
            sum += in->w ? in->w[row] : 1;
        }
        value[g] = m->id == METRIC_NDCG ? ndcg(items, n, k) : average_precision(items, n, k);
        weight[g] = n && !isnan(value[g]) ? sum / (double)n : 0;
        value[g] = weight[g] > 0 ? value[g] : 0;
    }
}
