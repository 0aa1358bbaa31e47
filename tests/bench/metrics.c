/* How long metrics take: `metrics ROWS ROUNDS THREADS`.  Two models, one of them with scores that
 * tie; time and bytes of auc beside one sort of its scores, and resamples of eight metrics a
 * second. ROUNDS 0: no resamples, for tables that fill the memory. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "common/mem.h"
#include "common/metrics.h"
#include "common/rng.h"

/* CPU time of all threads: what others do on the machine does not count. */
static int64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static double *scores(const float *y, size_t n, double noise, uint64_t seed)
{
    double *p = xmalloc(n * sizeof(*p));
    struct rng r;

    rng_seed(&r, seed);
    for (size_t i = 0; i < n; i++) { /* float32, as XGBoost's are */
        double x = (double)y[i] - 0.5 + noise * (rng_double(&r) + rng_double(&r) - 1);

        p[i] = (double)(float)(1 / (1 + exp(-2 * x)));
    }
    return p;
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;

    return x < y ? -1 : x > y;
}

/* The sort that auc is measured by: three passes over 32-bit keys and as many bits beside them. */
static double radix_seconds(const double *p, size_t n)
{
    enum { BITS = 11, DIGITS = 1 << BITS };
    uint64_t *a = xmalloc(n * sizeof(*a)), *b = xmalloc(n * sizeof(*b));
    int64_t began = cpu_ns();
    double seconds;

    for (size_t i = 0; i < n; i++) {
        union {
            float f;
            uint32_t u;
        } key = {(float)p[i]};

        a[i] = (uint64_t)key.u << 32 | i;
    }
    for (int pass = 0; pass < 3; pass++) {
        static size_t at[DIGITS + 1];
        int shift = 32 + pass * BITS;
        uint64_t *swap = a;

        memset(at, 0, sizeof(at));
        for (size_t i = 0; i < n; i++)
            at[(a[i] >> shift & (DIGITS - 1)) + 1]++;
        for (size_t d = 0; d < DIGITS; d++)
            at[d + 1] += at[d];
        for (size_t i = 0; i < n; i++)
            b[at[a[i] >> shift & (DIGITS - 1)]++] = a[i];
        a = b;
        b = swap;
    }
    seconds = (double)(cpu_ns() - began) / 1e9;
    free(a);
    free(b);
    return seconds;
}

static double qsort_seconds(const double *p, size_t n)
{
    float *v = xmalloc(n * sizeof(*v));
    int64_t began;

    for (size_t i = 0; i < n; i++)
        v[i] = (float)p[i];
    began = cpu_ns();
    qsort(v, n, sizeof(*v), by_value);
    free(v);
    return (double)(cpu_ns() - began) / 1e9;
}

static void one(enum metric id, const struct metric_input *in)
{
    struct metric_spec m = metric_of(id);
    int64_t began = cpu_ns();
    double v = metric_value(&m, in, NULL), seconds = (double)(cpu_ns() - began) / 1e9;

    printf("%-10s %.9f  %.3f s, %.1f ns a row\n", metric_example(id), v, seconds,
           seconds * 1e9 / (double)in->rows);
}

/* CPU seconds of one comparison. */
static double compare(const enum metric *ids, size_t n, const struct metric_input *a,
                      const struct metric_input *b, size_t rounds, unsigned threads,
                      struct metric_compared *ret)
{
    struct metric_resampling how = {
        .confidence = 0.95, .seed = 1, .threads = threads, .rounds = rounds};
    struct metric_spec metrics[METRIC_COUNT];
    int64_t began = cpu_ns();

    for (size_t i = 0; i < n; i++)
        metrics[i] = metric_of(ids[i]);
    if (metric_compare(metrics, n, a, b, &how, ret))
        abort();
    return (double)(cpu_ns() - began) / 1e9;
}

static void resample(const struct metric_input *a, const struct metric_input *b, size_t rounds,
                     unsigned threads)
{
    static const enum metric ids[] = {METRIC_AUC,      METRIC_AUC_PR, METRIC_LOGLOSS, METRIC_BRIER,
                                      METRIC_ACCURACY, METRIC_F1,     METRIC_MCC,     METRIC_ECE};
    struct metric_compared found[ARRAY_LEN(ids)];
    double before = compare(ids, ARRAY_LEN(ids), a, b, 0, threads, found), more;

    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        more = compare(&ids[i], 1, a, b, 0, threads, found);
        more = compare(&ids[i], 1, a, b, rounds, threads, found) - more;
        printf("%-10s %6.2f ns a row and resample, draws included\n", metric_example(ids[i]),
               more * 1e9 / (double)rounds / (double)a->rows);
    }
    more = compare(ids, ARRAY_LEN(ids), a, b, rounds, threads, found) - before;
    printf("all eight  %6.2f ns; values of both models %.3f s; %.1f resamples a CPU second\n",
           more * 1e9 / (double)rounds / (double)a->rows, before, (double)rounds / more);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        printf("%-10s %+.6f [%+.6f, %+.6f]\n", metric_example(ids[i]), found[i].b - found[i].a,
               found[i].interval.low, found[i].interval.high);
}

int main(int argc, char **argv)
{
    size_t n, rounds;
    struct metric_input a = {.k = 1, .task = TASK_BINARY}, b;
    struct rusage use;
    struct rng r;
    float *y;

    if (argc != 4) {
        fputs("usage: metrics ROWS ROUNDS THREADS\n", stderr);
        return 2;
    }
    n = strtoull(argv[1], NULL, 10);
    rounds = strtoull(argv[2], NULL, 10);
    y = xmalloc(n * sizeof(*y));
    rng_seed(&r, 1);
    for (size_t i = 0; i < n; i++)
        y[i] = rng_double(&r) < 0.3 ? 1 : 0;
    a.rows = n;
    a.y = y;
    a.p = scores(y, n, 2, 2);
    if (n <= 10000000)
        printf("qsort of the scores %.3f s\n", qsort_seconds(a.p, n));
    printf("radix sort of the scores %.3f s\n", radix_seconds(a.p, n));
    one(METRIC_AUC, &a);
    one(METRIC_AUC_PR, &a);
    one(METRIC_LOGLOSS, &a);
    one(METRIC_MCC, &a);
    one(METRIC_ECE, &a);
    b = a;
    if (rounds > 0) {
        b.p = scores(y, n, 1.9, 3);
        resample(&a, &b, rounds, (unsigned)strtoul(argv[3], NULL, 10));
    }
    getrusage(RUSAGE_SELF, &use);
    printf("peak resident %ld MiB, %.1f bytes a row\n", use.ru_maxrss / 1024,
           (double)use.ru_maxrss * 1024 / (double)n);
    if (rounds > 0)
        free((void *)(uintptr_t)b.p);
    free((void *)(uintptr_t)a.p);
    free(y);
    return 0;
}
