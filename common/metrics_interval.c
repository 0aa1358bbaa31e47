/* Which interval a metric gets, and the closed ones.
 *
 *   auc, two classes       DeLong; not with weights, whose rows are no independent draws
 *   accuracy               Tango for two models, Wilson for one; not with weights
 *   means, rmse            normal, from the influence of the rows; AUTO: of many rows only, where
 *                          it agrees with the bootstrap and costs a thousandth
 *   all else, and clusters bootstrap
 *
 * An anytime interval is the estimate and its standard error, as the method has it, times the
 * confidence sequence's half width. */
#include <math.h>

#include "common/metrics_closed.h"
#include "common/metrics_internal.h"

enum {
    AUTO_NORMAL_ROWS = 10000, /* a skewed loss is then normal enough: ends move by under 1 % */
    CLOSED_NORMAL_ROWS = 10   /* below, Student's quantile is not exact either */
};

static const char NO_PAIR[] = "an interval of auc needs two rows of each class",
                  NO_CLUSTER[] = "a row is of no cluster, so that no interval can be told",
                  ONE_CLUSTER[] = "all rows are of one cluster: there is nothing to resample",
                  FEW_DEFINED[] = "on most resamples the metric is undefined";

const char *interval_method_str(enum interval_method m)
{
    static const char *const names[METHOD_COUNT] = {
        [METHOD_NONE] = "",
        [METHOD_BOOTSTRAP] = "bootstrap",
        [METHOD_CLUSTER_BOOTSTRAP] = "cluster_bootstrap",
        [METHOD_DELONG] = "delong",
        [METHOD_TANGO] = "tango",
        [METHOD_WILSON] = "wilson",
        [METHOD_NORMAL] = "normal",
    };

    return m < METHOD_COUNT ? names[m] : "";
}

static enum interval_method method_of(const struct metric_spec *m, const struct metric_input *a,
                                      const struct metric_input *b,
                                      const struct metric_resampling *how)
{
    size_t least = how->choice == INTERVAL_CLOSED ? CLOSED_NORMAL_ROWS : AUTO_NORMAL_ROWS;

    if (b->cluster)
        return METHOD_CLUSTER_BOOTSTRAP;
    if (how->choice == INTERVAL_BOOTSTRAP)
        return METHOD_BOOTSTRAP;
    if (m->id == METRIC_AUC && b->k == 1 && !b->w)
        return METHOD_DELONG;
    if (m->id == METRIC_ACCURACY && !b->w)
        return a ? METHOD_TANGO : METHOD_WILSON;
    if (metric__family(m->id) == FAMILY_MEAN && m->id != METRIC_R2 && b->rows >= least)
        return METHOD_NORMAL;
    return METHOD_BOOTSTRAP;
}

/* ---- effective rows ---- */

static double kish(const double *sizes, size_t n)
{
    double sum = 0, squares = 0;

    for (size_t i = 0; i < n; i++) {
        sum += sizes[i];
        squares += sizes[i] * sizes[i];
    }
    return squares > 0 ? sum * sum / squares : (double)NAN;
}

/* What is added up over the rows of each cluster. */
static double *by_cluster(const struct metric_input *in, const double *v)
{
    double *sums = xcalloc(in->n_clusters + 1, sizeof(*sums));

    for (size_t i = 0; i < in->rows; i++)
        sums[in->cluster[i]] += v ? v[i] : in->w ? in->w[i] : 1;
    return sums;
}

static double squares_of(const double *v, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += v[i] * v[i];
    return sum;
}

/* The design effect is the variance with clusters over that without; never below 1, which few
 * clusters could give by luck.  Where the influence of rows is not known, a cluster counts as one
 * row: that is the least that it can tell. */
static double effective_rows(const struct metric_spec *m, const struct metric_input *a,
                             const struct metric_input *b)
{
    double rows = b->w ? kish(b->w, b->rows) : (double)b->rows, effect;
    CLEANUP_FREE double *influence = NULL, *sums = NULL;

    if (!b->cluster)
        return rows;
    influence = xmalloc((b->rows + 1) * sizeof(*influence));
    if (!metric__influence(m, a, b, influence)) {
        sums = by_cluster(b, NULL);
        return kish(sums, b->n_clusters);
    }
    sums = by_cluster(b, influence);
    effect = squares_of(sums, b->n_clusters) / squares_of(influence, b->rows);
    return effect > 1 ? rows / effect : rows;
}

static const char *why_no_clusters(const struct metric_input *in)
{
    if (!in->cluster)
        return NULL;
    for (size_t i = 0; i < in->rows; i++)
        if (in->cluster[i] >= in->n_clusters)
            return NO_CLUSTER;
    return in->n_clusters < 2 ? ONE_CLUSTER : NULL;
}

/* ---- closed forms ---- */

struct pairs { /* rows by who has them right */
    size_t right, gained, lost;
};

static struct pairs count_pairs(const struct metric_input *a, const struct metric_input *b)
{
    struct pairs c = {0};

    for (size_t i = 0; i < b->rows; i++) {
        bool by_b = metric__answer(b, i) == (size_t)b->y[i],
             by_a = a && metric__answer(a, i) == (size_t)a->y[i];

        c.right += by_b;
        c.gained += by_b && !by_a;
        c.lost += by_a && !by_b;
    }
    return c;
}

/* With half a row more in each of the four cells (Agresti & Min 2005), so that no difference seen
 * is not taken for none that there is. */
static double spread_of_pairs(const struct pairs *c, const struct metric_input *a, double n)
{
    double gained = (double)c->gained + 0.5, lost = (double)c->lost + 0.5,
           share = ((double)c->right + 1) / (n + 2), off = (gained - lost) / (n + 2);

    return a ? sqrt(((gained + lost) / (n + 2) - off * off) / (n + 2))
             : sqrt(share * (1 - share) / (n + 2));
}

static struct interval around(double middle, double half)
{
    return (struct interval){middle - half, middle + half};
}

/* Within what the metric, or a difference of two, can be. */
static void clip(const struct metric_spec *m, bool is_pair, struct interval *i)
{
    double low, high, range;

    metric_range(m->id, &low, &high);
    range = high - low;
    i->low = fmax(i->low, is_pair ? -range : low);
    i->high = fmin(i->high, is_pair ? range : high);
}

struct question {
    const struct metric_spec *metric;
    const struct metric_input *a, *b;
    const struct metric_resampling *how;
};

/* The estimate, and as many standard errors on either side as are asked for. */
static void put_spread(const struct question *q, double spread, double fixed_quantile,
                       struct metric_compared *ret)
{
    double half = q->how->is_anytime ? sequence_half_width(q->how->confidence, ret->effective_rows)
                                     : fixed_quantile;

    ret->interval = around(q->a ? ret->b - ret->a : ret->b, half * spread);
    clip(q->metric, q->a != NULL, &ret->interval);
}

/* Of one model on the scale of log odds (Pepe 2003): it stays within 0 and 1, and holds the truth
 * as often as it says on thirty rows too. */
static struct interval on_log_odds(double auc, double spread, double confidence)
{
    double half = normal_quantile(0.5 + confidence / 2) * spread / (auc * (1 - auc)),
           odds = log(auc / (1 - auc));

    return (struct interval){1 / (1 + exp(half - odds)), 1 / (1 + exp(-half - odds))};
}

static void put_delong(const struct question *q, struct metric_compared *ret)
{
    double spread = metric__delong(q->a, q->b), off = fabs(ret->b - ret->a);

    if (isnan(spread)) {
        ret->why_no_interval = NO_PAIR;
        return;
    }
    if (q->a)
        ret->p = spread > 0 ? 2 * normal_below(-off / spread) : off > 0 ? 0 : 1;
    if (!q->a && !q->how->is_anytime && ret->b > 0 && ret->b < 1)
        ret->interval = on_log_odds(ret->b, spread, q->how->confidence);
    else
        put_spread(q, spread, normal_quantile(0.5 + q->how->confidence / 2), ret);
}

static void put_share(const struct question *q, struct metric_compared *ret)
{
    struct pairs c = count_pairs(q->a, q->b);
    double n = (double)q->b->rows;
    bool is_told;

    if (q->a)
        ret->p = mcnemar_p(c.gained, c.lost, MCNEMAR_MID);
    if (q->how->is_anytime) {
        put_spread(q, spread_of_pairs(&c, q->a, n), 0, ret);
        return;
    }
    is_told = q->a ? tango_interval((double)c.gained, (double)c.lost, n, q->how->confidence,
                                    &ret->interval)
                   : wilson_interval((double)c.right, n, q->how->confidence, &ret->interval);
    BUG_ON(!is_told);
}

static void put_normal(const struct question *q, struct metric_compared *ret)
{
    CLEANUP_FREE double *influence = xmalloc((q->b->rows + 1) * sizeof(*influence));
    double rows = ret->effective_rows, spread;

    BUG_ON(!metric__influence(q->metric, q->a, q->b, influence));
    if (!(rows > CLOSED_NORMAL_ROWS - 1)) {
        ret->why_no_interval = "the weights leave too few rows for an interval";
        return;
    }
    spread = sqrt(squares_of(influence, q->b->rows) * rows / (rows - 1));
    put_spread(q, spread, student_quantile(0.5 + q->how->confidence / 2, rows - 1), ret);
}

/* Where percentiles cannot be told: an extreme level, or an anytime one. */
static void put_resampled(const struct question *q, double spread, struct metric_compared *ret)
{
    double tail = (1 - q->how->confidence) / 2 * (double)q->how->rounds;

    if (isnan(spread)) {
        ret->why_no_interval = FEW_DEFINED;
        return;
    }
    if (q->how->is_anytime || tail < METRIC_MIN_TAIL)
        put_spread(q, spread, normal_quantile(0.5 + q->how->confidence / 2), ret);
}

/* ---- all of them ---- */

struct plan { /* those that are resampled, side by side */
    struct metric_spec *metrics;
    struct metric_compared *found;
    double *spread;
    size_t *of; /* metric */
    size_t n;
};

static bool is_resampled(enum interval_method m)
{
    return m == METHOD_BOOTSTRAP || m == METHOD_CLUSTER_BOOTSTRAP;
}

static void resample(const struct plan *p, const struct question *q, struct metric_compared *ret)
{
    if (p->n == 0)
        return;
    metric__bootstrap(p->metrics, p->n, q->a, q->b, q->how, p->found, p->spread);
    for (size_t i = 0; i < p->n; i++) {
        struct metric_compared *to = &ret[p->of[i]];

        to->a = p->found[i].a;
        to->b = p->found[i].b;
        to->why_a = p->found[i].why_a;
        to->why_b = p->found[i].why_b;
        to->interval = p->found[i].interval;
    }
}

static void put_interval(const struct question *q, double spread, struct metric_compared *ret)
{
    if (ret->method == METHOD_NONE)
        return;
    if (ret->why_a || ret->why_b) {
        ret->method = METHOD_NONE;
        return;
    }
    ret->effective_rows = effective_rows(q->metric, q->a, q->b);
    if (is_resampled(ret->method))
        put_resampled(q, spread, ret);
    else if (ret->method == METHOD_DELONG)
        put_delong(q, ret);
    else if (ret->method == METHOD_NORMAL)
        put_normal(q, ret);
    else
        put_share(q, ret);
    if (ret->why_no_interval)
        ret->method = METHOD_NONE;
}

/* Which method it is to have; the value, unless the bootstrap finds it anyway. */
static void begin(const struct question *q, const char *const bad[2], const char *no_clusters,
                  struct metric_compared *ret)
{
    *ret =
        (struct metric_compared){.a = NAN, .interval = {NAN, NAN}, .effective_rows = NAN, .p = NAN};
    if (q->how->rounds > 0 && !no_clusters)
        ret->method = method_of(q->metric, q->a, q->b, q->how);
    if (is_resampled(ret->method))
        return;
    ret->b = metric__value(q->metric, q->b, bad[0], &ret->why_b);
    if (q->a)
        ret->a = metric__value(q->metric, q->a, bad[1], &ret->why_a);
    if (q->how->rounds > 0 && !ret->why_a && !ret->why_b)
        ret->why_no_interval = no_clusters;
}

static void compare(const struct metric_spec *metrics, size_t n, struct question *q,
                    struct plan *plan, struct metric_compared *ret)
{
    const char *no_clusters = why_no_clusters(q->b),
               *bad[] = {metric__check_rows(q->b), q->a ? metric__check_rows(q->a) : NULL};

    for (size_t i = 0; i < n; i++) {
        q->metric = &metrics[i];
        begin(q, bad, no_clusters, &ret[i]);
        if (!is_resampled(ret[i].method))
            continue;
        plan->metrics[plan->n] = metrics[i];
        plan->of[plan->n++] = i;
    }
    resample(plan, q, ret);
    for (size_t i = 0, k = 0; i < n; i++) {
        q->metric = &metrics[i];
        put_interval(q, k < plan->n && plan->of[k] == i ? plan->spread[k++] : (double)NAN, &ret[i]);
    }
}

int metric_compare(const struct metric_spec *metrics, size_t n, const struct metric_input *a,
                   const struct metric_input *b, const struct metric_resampling *how,
                   struct metric_compared *ret)
{
    CLEANUP_FREE struct metric_spec *chosen = xcalloc(n + 1, sizeof(*chosen));
    CLEANUP_FREE struct metric_compared *found = xcalloc(n + 1, sizeof(*found));
    CLEANUP_FREE double *spread = xcalloc(n + 1, sizeof(*spread));
    CLEANUP_FREE size_t *of = xcalloc(n + 1, sizeof(*of));
    struct plan plan = {.metrics = chosen, .found = found, .spread = spread, .of = of};
    struct question q = {.a = a, .b = b, .how = how};

    if ((a && (a->rows != b->rows || a->task != b->task || a->k != b->k)) ||
        !(how->confidence > 0 && how->confidence < 1))
        return -1;
    compare(metrics, n, &q, &plan, ret);
    return 0;
}
