/* Intervals and tests of proportions, and the distributions that closed forms need.
 *
 * Tango's interval is the set of differences that his score test does not reject; the test is
 * monotone in the difference, so that each end is found by halving.  McNemar's test looks at the
 * rows that one model has right and the other wrong, and asks whether a coin would fall so. */
#include "common/metrics_closed.h"

#include <math.h>
#include <stddef.h>

enum {
    NEWTON_STEPS = 60,       /* far more than the four to eight that it takes */
    HALVINGS = 60,           /* of an interval of width 2: to the last bit of a double */
    EXACT_PAIRS_MAX = 100000 /* terms of an exact tail; beyond, the normal one differs by 1e-3 */
};

double normal_below(double z)
{
    return 0.5 * erfc(-z / sqrt(2));
}

/* Newton on the logarithm of the tail, from a bound above (the tail is below exp(-z2 / 2) / 2): it
 * is concave, so that every step stays on that side. */
double normal_quantile(double p)
{
    double tail = p < 0.5 ? p : 1 - p, z = sqrt(-2 * log(2 * tail));

    if (!(p > 0 && p < 1))
        return p == 0 ? -INFINITY : p == 1 ? INFINITY : (double)NAN;
    for (int i = 0; i < NEWTON_STEPS; i++) {
        double at = normal_below(-z), slope = exp(-z * z / 2) / sqrt(2 * M_PI);
        double step = (log(at) - log(tail)) * at / slope;

        z += step;
        if (fabs(step) < 1e-15 * (1 + fabs(z)))
            break;
    }
    return p < 0.5 ? -z : z;
}

/* Hill's expansion in 1 / freedom (Abramowitz & Stegun 26.7.5): to 1e-3 of itself from nine
 * degrees on, as long as z stays below 4. */
double student_quantile(double p, double freedom)
{
    double z = normal_quantile(p), z2 = z * z, n = freedom;
    double g1 = z * (z2 + 1) / 4, g2 = z * ((5 * z2 + 16) * z2 + 3) / 96,
           g3 = z * (((3 * z2 + 19) * z2 + 17) * z2 - 15) / 384,
           g4 = z * ((((79 * z2 + 776) * z2 + 1482) * z2 - 1920) * z2 - 945) / 92160;

    return z + (g1 + (g2 + (g3 + g4 / n) / n) / n) / n;
}

bool wilson_interval(double right, double n, double confidence, struct interval *ret)
{
    double z = normal_quantile(0.5 + confidence / 2), z2 = z * z, share = right / n;
    double middle = (share + z2 / (2 * n)) / (1 + z2 / n);
    double half = z / (1 + z2 / n) * sqrt(share * (1 - share) / n + z2 / (4 * n * n));

    *ret = (struct interval){NAN, NAN};
    if (!(n > 0 && right >= 0 && right <= n && confidence > 0 && confidence < 1))
        return false;
    ret->low = right > 0 ? fmax(middle - half, 0) : 0; /* 0 and 1 without what rounding leaves */
    ret->high = right < n ? fmin(middle + half, 1) : 1;
    return true;
}

/* Score of the difference being d (Tango 1998): falls as d rises. */
static double tango_score(double gained, double lost, double n, double d)
{
    double b = -gained - lost + (2 * n - gained + lost) * d, c = -lost * d * (1 - d);
    double lost_share = (sqrt(fmax(b * b - 8 * n * c, 0)) - b) / (4 * n);
    double spread = n * (2 * lost_share + d * (1 - d)), off = gained - lost - n * d;

    if (spread > 0)
        return off / sqrt(spread);
    return off > 0 ? INFINITY : off < 0 ? -INFINITY : 0;
}

static double tango_end(double gained, double lost, double n, double z)
{
    double low = -1, high = 1;

    for (int i = 0; i < HALVINGS; i++) {
        double middle = (low + high) / 2;

        if (tango_score(gained, lost, n, middle) > z)
            low = middle;
        else
            high = middle;
    }
    return (low + high) / 2;
}

bool tango_interval(double gained, double lost, double n, double confidence, struct interval *ret)
{
    double z = normal_quantile(0.5 + confidence / 2);

    *ret = (struct interval){NAN, NAN};
    if (!(n > 0 && gained >= 0 && lost >= 0 && gained + lost <= n && confidence > 0 &&
          confidence < 1))
        return false;
    ret->low = lost >= n ? -1 : tango_end(gained, lost, n, z);
    ret->high = gained >= n ? 1 : tango_end(gained, lost, n, -z);
    return true;
}

/* Of n throws of a coin, at most k on one side; *ret_at: exactly k. */
static double coin_tail(size_t k, size_t n, double *ret_at)
{
    double sum = 0, term = 0;

    for (size_t i = 0; i <= k; i++) {
        term = exp(lgamma((double)n + 1) - lgamma((double)i + 1) - lgamma((double)(n - i) + 1) -
                   (double)n * M_LN2);
        sum += term;
    }
    *ret_at = term;
    return sum;
}

double mcnemar_p(size_t gained, size_t lost, enum mcnemar how)
{
    size_t n = gained + lost, few = gained < lost ? gained : lost;
    double at, tail, off = fabs((double)gained - (double)lost) - 1;

    if (n == 0)
        return 1;
    if (how == MCNEMAR_CONTINUITY || n > EXACT_PAIRS_MAX)
        return 2 * normal_below(-fmax(off, 0) / sqrt((double)n));
    tail = coin_tail(few, n, &at);
    if (how == MCNEMAR_EXACT)
        return fmin(2 * tail, 1);
    return gained == lost ? 1 - at : 2 * tail - at;
}
