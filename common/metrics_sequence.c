/* Intervals for a loop that asks again and again.  It asks in two ways.  Of one candidate, on a
 * table that grows: a confidence sequence holds at all sizes together.  Of one candidate after the
 * other, until one passes: each question spends a part of the chance of being wrong, and the parts
 * of all questions that can ever be asked add up to the whole. */
#include <math.h>

#include "common/metrics.h"

double sequence_half_width(double confidence, double n)
{
    double alpha = 1 - confidence, l = -2 * log(alpha);
    double rho2 = (l + log(l + 1)) / SEQUENCE_TIGHT_ROWS; /* of the mixture's width */
    double at = n * rho2 + 1;

    return sqrt(2 * at / (n * rho2) * log(sqrt(at) / alpha));
}

/* 1/2 + 1/6 + 1/12 + ... = 1; it falls more slowly than the squares, and so leaves more for the
 * third question and those that follow. */
double sequence_confidence(double confidence, int64_t attempt)
{
    double k = attempt > 1 ? (double)attempt : 1;

    return 1 - (1 - confidence) / (k * (k + 1));
}
