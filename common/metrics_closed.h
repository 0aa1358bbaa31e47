/* Closed forms: intervals and tests of proportions.  Pure; thread: any. */
#ifndef COMMON_METRICS_CLOSED_H
#define COMMON_METRICS_CLOSED_H

#include "common/metrics.h"

double normal_below(double z);                     /* share of a standard normal below z */
double normal_quantile(double p);                  /* p 0, 1: infinite; outside: NaN */
double student_quantile(double p, double freedom); /* freedom: 9 or more */

/* Wilson (1927), of `right` among n.  False, and NaN: not 0 <= right <= n, or n is not above 0. */
bool wilson_interval(double right, double n, double confidence, struct interval *ret);
/* Tango (1998), of the difference of two shares on the same n rows: of the rows that only the
 * second has right (gained), less those that only the first has (lost). */
bool tango_interval(double gained, double lost, double n, double confidence, struct interval *ret);

enum mcnemar {
    MCNEMAR_MID = 0, /* mid-p (Fagerland, Lydersen & Laake 2013); with continuity beyond 100,000
                        differing rows */
    MCNEMAR_EXACT,
    MCNEMAR_CONTINUITY /* (|gained - lost| - 1)^2 / (gained + lost), chi squared */
};
/* Two-sided p of McNemar's test; 1 without differing rows. */
double mcnemar_p(size_t gained, size_t lost, enum mcnemar how);

#endif
