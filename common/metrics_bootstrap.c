/* Paired bootstrap, and PSI.
 *
 * A resample is how often each row was drawn, one number per row, the same for both models and for
 * all metrics: drawing costs one random number a row, evaluating one pass. */
#include <math.h>

#include "common/mem.h"
#include "common/metrics_internal.h"

enum { MAX_METRICS = METRIC_COUNT };
static const double PSI_FLOOR =
    1e-4; /* an empty bin counts as this share, else one row more or less is infinite */

/* Two rows for each random number: the high half of a product of 32 bits each; low halves below
 * 2^32 mod n would count some rows more often than others and are drawn again (Lemire, 2019). */
static void draw(struct rng *r, uint32_t *times, size_t rows)
{
    uint32_t n = (uint32_t)rows, uneven = (0 - n) % n;
    uint64_t random = 0;
    bool has_half = false;

    memset(times, 0, rows * sizeof(*times));
    for (size_t i = 0; i < rows;) {
        uint64_t product;

        random = has_half ? random >> 32 : rng_next(r);
        has_half = !has_half;
        product = (random & UINT32_MAX) * n;
        if ((uint32_t)product < uneven)
            continue;
        times[product >> 32]++;
        i++;
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* Between order statistics, as numpy.quantile does by default. */
static double quantile(const double *sorted, size_t n, double q)
{
    double at = q * (double)(n - 1);
    size_t i = (size_t)at;

    if (i + 1 >= n)
        return sorted[n - 1];
    return sorted[i] + (at - (double)i) * (sorted[i + 1] - sorted[i]);
}

static struct interval interval_of(double *values, size_t n, size_t rounds, double confidence)
{
    double tail = (1 - confidence) / 2;

    if (n * 2 < rounds || n == 0)
        return (struct interval){NAN, NAN};
    qsort(values, n, sizeof(*values), by_value);
    return (struct interval){quantile(values, n, tail), quantile(values, n, 1 - tail)};
}

struct pair {
    struct prepared a, b; /* a: unused when there is none, or b holds the differences */
    bool is_defined, has_a;
    double *values;
    size_t n_values;
};

/* The mean of the differences is the difference of the means, at half the work. */
static void join_means(struct pair *p)
{
    if (!p->is_defined || !p->has_a || !metric__is_mean(&p->b))
        return;
    for (size_t i = 0; i < p->b.rows; i++)
        p->b.row_sums[0][i] -= p->a.row_sums[0][i];
    p->has_a = false;
}

static void pair_init(struct pair *p, enum metric m, const struct metric_input *a,
                      const struct metric_input *b, size_t rounds)
{
    p->has_a = a != NULL;
    p->is_defined = !metric__prepare(m, b, &p->b) && (!a || !metric__prepare(m, a, &p->a));
    p->values = xmalloc((rounds ? rounds : 1) * sizeof(*p->values));
    join_means(p);
}

static void pair_round(struct pair *p, const uint32_t *times)
{
    const char *undefined;
    double v;

    if (!p->is_defined)
        return;
    v = metric__evaluate(&p->b, times, &undefined);
    if (p->has_a && !undefined)
        v -= metric__evaluate(&p->a, times, &undefined);
    if (isfinite(v))
        p->values[p->n_values++] = v;
}

int metric_bootstrap_many(const enum metric *metrics, size_t n, const struct metric_input *a,
                          const struct metric_input *b, size_t rounds, double confidence,
                          uint64_t seed, struct interval *ret)
{
    struct pair pairs[MAX_METRICS] = {0};
    uint32_t *times;
    struct rng r;

    if (n > MAX_METRICS || (a && a->rows != b->rows) || b->rows > METRIC_MAX_ROWS ||
        !(confidence > 0 && confidence < 1))
        return -1;
    for (size_t i = 0; i < n; i++)
        pair_init(&pairs[i], metrics[i], a, b, rounds);
    times = xmalloc((b->rows + 1) * sizeof(*times));
    rng_seed(&r, seed);
    for (size_t k = 0; b->rows > 0 && k < rounds; k++) {
        draw(&r, times, b->rows);
        for (size_t i = 0; i < n; i++)
            pair_round(&pairs[i], times);
    }
    for (size_t i = 0; i < n; i++) {
        ret[i] = interval_of(pairs[i].values, pairs[i].n_values, rounds, confidence);
        metric__fini(&pairs[i].a);
        metric__fini(&pairs[i].b);
        free(pairs[i].values);
    }
    free(times);
    return 0;
}

int metric_bootstrap(enum metric m, const struct metric_input *a, const struct metric_input *b,
                     size_t rounds, double confidence, uint64_t seed, struct interval *ret)
{
    return metric_bootstrap_many(&m, 1, a, b, rounds, confidence, seed, ret);
}

/* ---- PSI ---- */

static double total_of(const double *v, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += v[i];
    return sum;
}

double psi_of_shares(const double *reference, const double *window, size_t n)
{
    double p_total = total_of(reference, n), q_total = total_of(window, n), sum = 0;

    if (!(p_total > 0) || !(q_total > 0))
        return NAN;
    for (size_t i = 0; i < n; i++) {
        double p = fmax(reference[i] / p_total, PSI_FLOOR),
               q = fmax(window[i] / q_total, PSI_FLOOR);

        sum += (q - p) * log(q / p);
    }
    return sum;
}

double psi_counts(const int64_t *reference, const int64_t *window, size_t n)
{
    double *p = xmalloc((2 * n + 1) * sizeof(*p)), *q = p + n, psi;

    for (size_t i = 0; i < n; i++) {
        p[i] = (double)reference[i];
        q[i] = (double)window[i];
    }
    psi = psi_of_shares(p, q, n);
    free(p);
    return psi;
}
