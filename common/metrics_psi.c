/* Population stability index: how far two distributions over the same bins are apart. */
#include <math.h>

#include "common/mem.h"
#include "common/metrics.h"

static const double PSI_FLOOR =
    1e-4; /* an empty bin counts as this share, else one row more or less is infinite */

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
