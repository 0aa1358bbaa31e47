/* Paired bootstrap.
 *
 * A resample is how often each row counts: Poisson(1), independently, the same for both models and
 * for all metrics.  METRIC_LANES resamples are drawn together, from a stream of random numbers of
 * their own, so that the result is the same for any number of threads.
 *
 * Sixteen random bits make a count.  The thresholds are the distribution's, rounded to 2^-16 so
 * that the mean is 1 exactly; the variance is 0.99997, the greatest count 8. */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/metrics_internal.h"
#include "common/rng.h"

enum {
    MAX_THREADS = 64,
    WORTH_A_THREAD = 1 << 22 /* rows times rounds: some hundredths of a second */
};

typedef int16_t counts16 __attribute__((vector_size(16))); /* of the METRIC_LANES of one row */
typedef uint8_t counts8 __attribute__((vector_size(16)));  /* of two rows */

static inline counts16 draw_row(struct rng *r)
{
    /* Below the k-th are the random numbers that count at most k; less one, from -32768. */
    static const int16_t thresholds[] = {24108 - 32768, 48218 - 32768, 60272 - 32768,
                                         64291 - 32768, 65295 - 32768, 65496 - 32768,
                                         65530 - 32768, 65534 - 32768};
    uint64_t bits[2] = {rng_next(r), rng_next(r)};
    counts16 random, count = {0};

    memcpy(&random, bits, sizeof(random));
#define ABOVE(k) count -= random > thresholds[k] /* true is -1 */
    ABOVE(0);
    ABOVE(1);
    ABOVE(2);
    ABOVE(3);
    ABOVE(4);
    ABOVE(5);
    ABOVE(6);
    ABOVE(7);
#undef ABOVE
    return count;
}

/* times: room for an even number of rows. */
static void draw(struct rng *r, uint8_t *times, size_t n)
{
    for (size_t i = 0; i < n; i += 2) {
        counts8 a = (counts8)draw_row(r), b = (counts8)draw_row(r), both;

        both = __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28,
                                       30);
        memcpy(times + i * METRIC_LANES, &both, sizeof(both));
    }
}

/* ---- tiles of resamples ---- */

struct bootstrap {
    const struct metric_set *set;
    size_t rows, n_groups, n_metrics, rounds, n_tiles;
    const uint32_t *cluster, *cluster_of_group; /* NULL: rows and groups are drawn one by one */
    size_t n_clusters;
    uint64_t seed;
    double *values; /* n_metrics x n_tiles x METRIC_LANES */
    atomic_size_t next;
};

static void seed_of(const struct bootstrap *b, size_t tile, uint64_t stream, struct rng *ret)
{
    uint64_t what[] = {tile, stream};

    rng_seed(ret, hash64(what, sizeof(what), b->seed));
}

/* What is of one cluster counts as often as the cluster. */
static void spread(const uint8_t *cluster_times, const uint32_t *cluster, size_t n, uint8_t *times)
{
    for (size_t i = 0; i < n; i++)
        memcpy(times + i * METRIC_LANES, cluster_times + (size_t)cluster[i] * METRIC_LANES,
               METRIC_LANES);
}

static void draw_tile(const struct bootstrap *b, size_t tile, uint8_t *times, uint8_t *group_times,
                      uint8_t *cluster_times)
{
    bool draws_rows = metric__set_draws_rows(b->set);
    struct rng r;

    seed_of(b, tile, b->cluster ? 2 : 0, &r);
    if (b->cluster) {
        draw(&r, cluster_times, b->n_clusters);
        if (draws_rows)
            spread(cluster_times, b->cluster, b->rows, times);
        if (b->cluster_of_group)
            spread(cluster_times, b->cluster_of_group, b->n_groups, group_times);
        return;
    }
    if (draws_rows)
        draw(&r, times, b->rows);
    seed_of(b, tile, 1, &r);
    draw(&r, group_times, b->n_groups);
}

static void *work(void *ctx)
{
    struct bootstrap *b = ctx;
    bool draws_rows = metric__set_draws_rows(b->set);
    CLEANUP_FREE uint8_t *times = xmalloc(((draws_rows ? b->rows : 0) + 1) * METRIC_LANES);
    CLEANUP_FREE uint8_t *group_times = xmalloc((b->n_groups + 1) * METRIC_LANES);
    CLEANUP_FREE uint8_t *cluster_times = xmalloc((b->n_clusters + 1) * METRIC_LANES);
    CLEANUP_FREE double *scratch = xmalloc(metric__set_scratch(b->set) * sizeof(*scratch));
    CLEANUP_FREE double *lanes = xmalloc((b->n_metrics + 1) * METRIC_LANES * sizeof(*lanes));

    for (size_t tile; (tile = atomic_fetch_add(&b->next, 1)) < b->n_tiles;) {
        draw_tile(b, tile, times, group_times, cluster_times);
        metric__set_evaluate(b->set, times, group_times, scratch, lanes);
        for (size_t i = 0; i < b->n_metrics; i++)
            memcpy(b->values + (i * b->n_tiles + tile) * METRIC_LANES, lanes + i * METRIC_LANES,
                   METRIC_LANES * sizeof(*lanes));
    }
    return NULL;
}

static void run(struct bootstrap *b, unsigned threads)
{
    pthread_t ids[MAX_THREADS];
    size_t n = 0, wanted = threads > MAX_THREADS ? MAX_THREADS : threads;

    if (b->rows * b->rounds < WORTH_A_THREAD)
        wanted = 1;
    if (wanted > b->n_tiles)
        wanted = b->n_tiles;
    while (n + 1 < wanted && pthread_create(&ids[n], NULL, work, b) == 0)
        n++; /* one fewer than wanted, or than the system gives: this one works too */
    work(b);
    for (size_t i = 0; i < n; i++)
        pthread_join(ids[i], NULL);
}

/* ---- intervals ---- */

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

static double spread_of(const double *values, size_t n)
{
    double mean = 0, squares = 0;

    for (size_t i = 0; i < n; i++) {
        double off = values[i] - mean;

        mean += off / (double)(i + 1);
        squares += off * (values[i] - mean);
    }
    return n > 1 ? sqrt(squares / (double)(n - 1)) : (double)NAN;
}

static struct interval interval_of(double *values, size_t rounds, double confidence,
                                   double *ret_spread)
{
    double tail = (1 - confidence) / 2;
    size_t n = 0;

    for (size_t i = 0; i < rounds; i++)
        if (isfinite(values[i]))
            values[n++] = values[i];
    *ret_spread = NAN;
    if (n * 2 < rounds || n == 0)
        return (struct interval){NAN, NAN};
    *ret_spread = spread_of(values, n);
    qsort(values, n, sizeof(*values), by_value);
    return (struct interval){quantile(values, n, tail), quantile(values, n, 1 - tail)};
}

/* A group is of the cluster of its first row. */
static uint32_t *clusters_of_groups(const struct metric_input *in)
{
    uint32_t *of = xcalloc(in->n_groups + 1, sizeof(*of));

    for (size_t i = in->rows; i-- > 0;)
        if (in->group[i] < in->n_groups)
            of[in->group[i]] = in->cluster[i];
    return of;
}

void metric__bootstrap(const struct metric_spec *metrics, size_t n, const struct metric_input *a,
                       const struct metric_input *b, const struct metric_resampling *how,
                       struct metric_compared *ret, double *ret_spread)
{
    CLEANUP_FREE uint32_t *of_group = b->cluster && b->group ? clusters_of_groups(b) : NULL;
    struct bootstrap boot = {.rows = b->rows,
                             .n_groups = b->group ? b->n_groups : 0,
                             .cluster = b->cluster,
                             .cluster_of_group = of_group,
                             .n_clusters = b->cluster ? b->n_clusters : 0,
                             .n_metrics = n,
                             .seed = how->seed};
    struct metric_set *set = metric__set_new(metrics, n, a, b, ret);

    boot.set = set;
    boot.rounds = how->rounds;
    boot.n_tiles = (how->rounds + METRIC_LANES - 1) / METRIC_LANES;
    boot.values = xmalloc((n * boot.n_tiles * METRIC_LANES + 1) * sizeof(*boot.values));
    run(&boot, how->threads);
    for (size_t i = 0; i < n; i++)
        ret[i].interval = interval_of(boot.values + i * boot.n_tiles * METRIC_LANES, how->rounds,
                                      how->confidence, &ret_spread[i]);
    free(boot.values);
    metric__set_free(set);
}
