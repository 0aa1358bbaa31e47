/* By how much each row moves a metric: its influence, from which closed forms have their variance
 * and clusters their design effect.
 *
 * A mean is moved by a row's distance from it.  AUC is moved by a row's placement: of a positive,
 * the share of negatives below it, of a negative, the share of positives above it, ties half.  One
 * walk down the order by score gives them all (the mid-ranks of Sun & Xu 2014, counted from the
 * top), so that DeLong's variance takes a sort and no pairs. */
#include <math.h>

#include "common/metrics_internal.h"

enum { POSITIVE = 1, TIE_START = 2, ROW_SHIFT = 2 };

struct counts {
    double pos, neg;
};

static double weight_of(const struct metric_input *in, size_t row)
{
    return in->w ? in->w[row] : 1;
}

static struct counts count_classes(const struct metric_input *in)
{
    struct counts c = {0};

    for (size_t i = 0; i < in->rows; i++)
        *(in->y[i] == 1 ? &c.pos : &c.neg) += weight_of(in, i);
    return c;
}

/* ---- placements ---- */

static void place_tie(const uint32_t *order, size_t from, size_t to, const struct metric_input *in,
                      const struct counts *all, struct counts *above, double *ret)
{
    struct counts tie = {0};

    for (size_t i = from; i < to; i++)
        *(order[i] & POSITIVE ? &tie.pos : &tie.neg) += weight_of(in, order[i] >> ROW_SHIFT);
    for (size_t i = from; i < to; i++) {
        size_t row = order[i] >> ROW_SHIFT;

        if (order[i] & POSITIVE)
            ret[row] = (all->neg - above->neg - tie.neg / 2) / all->neg;
        else
            ret[row] = (above->pos + tie.pos / 2) / all->pos;
    }
    above->pos += tie.pos;
    above->neg += tie.neg;
}

static void place(const struct metric_input *in, const struct counts *all, double *ret)
{
    CLEANUP_FREE uint32_t *order = metric__rank(in, 0);
    struct counts above = {0};

    for (size_t from = 0, to; from < in->rows; from = to) {
        to = from + 1;
        while (to < in->rows && !(order[to] & TIE_START))
            to++;
        place_tie(order, from, to, in, all, &above, ret);
    }
}

/* Of b less those of a. */
static void place_both(const struct metric_input *a, const struct metric_input *b,
                       const struct counts *all, double *ret)
{
    CLEANUP_FREE double *other = a ? xmalloc((a->rows + 1) * sizeof(*other)) : NULL;

    place(b, all, ret);
    if (!a)
        return;
    place(a, all, other);
    for (size_t i = 0; i < b->rows; i++)
        ret[i] -= other[i];
}

/* ---- DeLong ---- */

struct moments {
    double n, mean, squares; /* of distances from the mean */
};

static void moments_add(struct moments *m, double v)
{
    double off = v - m->mean;

    m->n++;
    m->mean += off / m->n;
    m->squares += off * (v - m->mean);
}

double metric__delong(const struct metric_input *a, const struct metric_input *b)
{
    CLEANUP_FREE double *placed = xmalloc((b->rows + 1) * sizeof(*placed));
    struct counts all = count_classes(b);
    struct moments pos = {0}, neg = {0};

    if (all.pos < 2 || all.neg < 2)
        return NAN;
    place_both(a, b, &all, placed);
    for (size_t i = 0; i < b->rows; i++)
        moments_add(b->y[i] == 1 ? &pos : &neg, placed[i]);
    return sqrt(pos.squares / (pos.n - 1) / pos.n + neg.squares / (neg.n - 1) / neg.n);
}

/* ---- influence ---- */

static void of_auc(const struct metric_input *a, const struct metric_input *b, double *ret)
{
    struct counts all = count_classes(b);
    double sum = 0;

    place_both(a, b, &all, ret);
    for (size_t i = 0; i < b->rows; i++)
        sum += b->y[i] == 1 ? weight_of(b, i) * ret[i] : 0;
    for (size_t i = 0; i < b->rows; i++) /* the mean of either class's placements is the AUC */
        ret[i] = weight_of(b, i) * (ret[i] - sum / all.pos) / (b->y[i] == 1 ? all.pos : all.neg);
}

static bool is_right(const struct metric_input *in, size_t row)
{
    return metric__answer(in, row) == (size_t)in->y[row];
}

/* The value of each row whose mean the metric is. */
static void fill(const struct metric_spec *m, const struct metric_input *in, double *ret)
{
    double *const out[METRIC_MAX_VECTORS] = {ret};

    if (m->id != METRIC_ACCURACY) {
        metric__mean_fill(m, in, 0, 0, in->rows, out);
        return;
    }
    for (size_t i = 0; i < in->rows; i++)
        ret[i] = is_right(in, i) ? 1 : 0;
}

/* Distances from the mean, as shares of all weight; times 1 / (2 rmse) for that: the slope of the
 * root. */
static void add_mean(const struct metric_spec *m, const struct metric_input *in, double sign,
                     double *scratch, double *ret)
{
    double mean = 0, all = 0, scale;

    fill(m, in, scratch);
    for (size_t i = 0; i < in->rows; i++) {
        mean += weight_of(in, i) * scratch[i];
        all += weight_of(in, i);
    }
    mean /= all;
    scale = sign / all;
    if (m->id == METRIC_RMSE)
        scale = mean > 0 ? scale / (2 * sqrt(mean)) : 0;
    for (size_t i = 0; i < in->rows; i++)
        ret[i] += scale * weight_of(in, i) * (scratch[i] - mean);
}

bool metric__influence(const struct metric_spec *m, const struct metric_input *a,
                       const struct metric_input *b, double *ret)
{
    CLEANUP_FREE double *scratch = NULL;

    if (m->id == METRIC_AUC && b->k == 1) {
        of_auc(a, b, ret);
        return true;
    }
    if (m->id != METRIC_ACCURACY && (metric__family(m->id) != FAMILY_MEAN || m->id == METRIC_R2))
        return false;
    scratch = xmalloc((b->rows + 1) * sizeof(*scratch));
    memset(ret, 0, b->rows * sizeof(*ret));
    add_mean(m, b, 1, scratch, ret);
    if (a)
        add_mean(m, a, -1, scratch, ret);
    return true;
}
