/* Several metrics of two models on resamples of their rows.  What the metrics need of each row is
 * computed once and shared: the order by score by auc and auc_pr, the pairs of label and answer by
 * all that count them.  Then METRIC_LANES resamples go side by side through one pass over the rows
 * and one walk for each order. */
#include <math.h>

#include "common/metrics_internal.h"

enum { SIDE_B = 0, SIDE_A = 1, SIDES = 2 };

struct part { /* one metric */
    struct metric_spec spec;
    enum metric_family family;
    bool is_defined, has_a; /* has_a false: there is none, or side b holds the differences */
    double *vectors[SIDES][METRIC_MAX_VECTORS]; /* means: by row; groups: the first, by group */
    double *group_weight;
    uint16_t *bin[SIDES];
    double *residual[SIDES];
    size_t sums; /* where its sums are in the scratch, of side b */
    size_t n_sums;
};
struct metric_set {
    const struct metric_input *in[SIDES];
    size_t n_sides, rows, n_classes, n_parts;
    struct part *parts;
    uint32_t *codes[SIDES]; /* NULL: nothing counts answers */
    size_t n_codes, code_sums[SIDES], n_code_sums;
    uint32_t **orders[SIDES]; /* one for each output; NULL: nothing ranks */
    bool wants_auc, wants_pr, wants_rows;
    size_t scratch;
};

/* ---- prepare ---- */

static void prepare_means(struct metric_set *s, struct part *p)
{
    size_t n = metric__mean_vectors(p->spec.id);
    double shift = metric__mean_shift(p->spec.id, s->in[SIDE_B]);

    for (size_t side = 0; side < s->n_sides; side++) {
        for (size_t v = 0; v < n; v++)
            p->vectors[side][v] = xmalloc(s->rows * sizeof(double));
        metric__mean_fill(&p->spec, s->in[side], shift, 0, s->rows, p->vectors[side]);
    }
    p->n_sums = n;
}

/* The mean of the differences is the difference of the means, at half the work. */
static void join(struct part *p, size_t n)
{
    if (!p->has_a)
        return;
    for (size_t i = 0; i < n; i++)
        p->vectors[SIDE_B][0][i] -= p->vectors[SIDE_A][0][i];
    free(p->vectors[SIDE_A][0]);
    p->vectors[SIDE_A][0] = NULL;
    p->has_a = false;
}

static void prepare_ece(struct metric_set *s, struct part *p)
{
    p->n_sums = metric__bins(&p->spec);
    for (size_t side = 0; side < s->n_sides; side++) {
        p->bin[side] = xmalloc(s->rows * sizeof(*p->bin[side]));
        p->residual[side] = xmalloc(s->rows * sizeof(double));
        metric__ece_fill(p->n_sums, s->in[side], 0, s->rows, p->bin[side], p->residual[side]);
    }
}

static void prepare_groups(struct metric_set *s, struct part *p)
{
    size_t n = s->in[SIDE_B]->n_groups;

    p->group_weight = xmalloc((n + 1) * sizeof(double));
    for (size_t side = s->n_sides; side-- > 0;) {
        p->vectors[side][0] = xmalloc((n + 1) * sizeof(double));
        metric__group_fill(&p->spec, s->in[side], p->vectors[side][0], p->group_weight);
    }
    join(p, n);
}

static void prepare_codes(struct metric_set *s)
{
    if (s->codes[SIDE_B])
        return;
    s->n_codes = metric__confusion_codes(s->n_classes);
    s->n_code_sums = metric__confusion_sums(s->n_classes);
    for (size_t side = 0; side < s->n_sides; side++) {
        s->codes[side] = xmalloc(s->rows * s->n_codes * sizeof(uint32_t));
        metric__confusion_fill(s->in[side], 0, s->rows, s->codes[side]);
    }
}

static void prepare_orders(struct metric_set *s, enum metric m)
{
    s->wants_auc |= m == METRIC_AUC;
    s->wants_pr |= m == METRIC_AUC_PR;
    for (size_t side = 0; side < s->n_sides && !s->orders[side]; side++) {
        s->orders[side] = xcalloc(s->in[side]->k, sizeof(uint32_t *));
        for (size_t k = 0; k < s->in[side]->k; k++)
            s->orders[side][k] = metric__rank(s->in[side], k);
    }
}

static void prepare(struct metric_set *s, struct part *p)
{
    switch (p->family) {
    case FAMILY_MEAN:
        prepare_means(s, p);
        if (metric__is_mean(p->spec.id))
            join(p, s->rows);
        break;
    case FAMILY_CONFUSION:
        prepare_codes(s);
        break;
    case FAMILY_RANK:
        prepare_orders(s, p->spec.id);
        break;
    case FAMILY_ECE:
        prepare_ece(s, p);
        break;
    case FAMILY_GROUP:
        prepare_groups(s, p);
        break;
    }
    s->wants_rows |= p->family != FAMILY_GROUP;
}

double metric__value(const struct metric_spec *m, const struct metric_input *in, const char *bad,
                     const char **ret_why)
{
    *ret_why = bad ? bad : metric__check(m->id, in);
    return *ret_why ? (double)NAN : metric__value_unchecked(m, in, ret_why);
}

/* Sums of a lane each, one behind the other. */
static void place_sums(struct metric_set *s)
{
    size_t at = METRIC_LANES; /* the first are the weights */

    for (size_t side = 0; side < s->n_sides; side++, at += s->n_code_sums * METRIC_LANES)
        s->code_sums[side] = at;
    for (size_t i = 0; i < s->n_parts; i++) {
        s->parts[i].sums = at;
        at += s->parts[i].n_sums * SIDES * METRIC_LANES;
    }
    s->scratch = at + METRIC_BLOCK_ROWS * METRIC_LANES + 3 * s->n_classes;
}

struct metric_set *metric__set_new(const struct metric_spec *metrics, size_t n,
                                   const struct metric_input *a, const struct metric_input *b,
                                   struct metric_compared *ret)
{
    struct metric_set *s = xcalloc(1, sizeof(*s));
    const char *bad_b = metric__check_rows(b), *bad_a = a ? metric__check_rows(a) : NULL;

    s->in[SIDE_B] = b;
    s->in[SIDE_A] = a;
    s->n_sides = a ? 2 : 1;
    s->rows = b->rows;
    s->n_classes = metric__classes(b);
    s->parts = xcalloc(n + 1, sizeof(*s->parts));
    s->n_parts = n;
    for (size_t i = 0; i < n; i++) {
        struct part *p = &s->parts[i];

        ret[i] = (struct metric_compared){.a = NAN, .interval = {NAN, NAN}};
        ret[i].b = metric__value(&metrics[i], b, bad_b, &ret[i].why_b);
        if (a)
            ret[i].a = metric__value(&metrics[i], a, bad_a, &ret[i].why_a);
        *p = (struct part){.spec = metrics[i], .family = metric__family(metrics[i].id), .has_a = a};
        p->is_defined = !ret[i].why_a && !ret[i].why_b;
        if (p->is_defined)
            prepare(s, p);
    }
    place_sums(s);
    return s;
}

static void part_fini(struct part *p)
{
    for (size_t side = 0; side < SIDES; side++) {
        for (size_t v = 0; v < METRIC_MAX_VECTORS; v++)
            free(p->vectors[side][v]);
        free(p->bin[side]);
        free(p->residual[side]);
    }
    free(p->group_weight);
}

void metric__set_free(struct metric_set *s)
{
    for (size_t i = 0; i < s->n_parts; i++)
        part_fini(&s->parts[i]);
    for (size_t side = 0; side < s->n_sides; side++) {
        for (size_t k = 0; s->orders[side] && k < s->in[side]->k; k++)
            free(s->orders[side][k]);
        free(s->orders[side]);
        free(s->codes[side]);
    }
    free(s->parts);
    free(s);
}

bool metric__set_draws_rows(const struct metric_set *s)
{
    return s->wants_rows;
}

size_t metric__set_scratch(const struct metric_set *s)
{
    return s->scratch;
}

/* ---- one pass over the rows ---- */

static void add_vector(metric_lanes *sum, const metric_lanes *counts, const double *v, size_t n)
{
    metric_lanes s = *sum;

    for (size_t i = 0; i < n; i++)
        s += counts[i] * v[i];
    *sum = s;
}

static void add_weights(metric_lanes *sum, const metric_lanes *counts, size_t n)
{
    metric_lanes s = *sum;

    for (size_t i = 0; i < n; i++)
        s += counts[i];
    *sum = s;
}

static void add_codes(metric_lanes *sums, const metric_lanes *counts, const uint32_t *codes,
                      size_t n_codes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < n_codes; c++)
            sums[codes[i * n_codes + c]] += counts[i];
}

static void add_bins(metric_lanes *sums, const metric_lanes *counts, const uint16_t *bin,
                     const double *residual, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sums[bin[i]] += counts[i] * residual[i];
}

/* Sums lie in the scratch as plain doubles, METRIC_LANES to each. */
static metric_lanes *sums_at(double *scratch, size_t at)
{
    return (metric_lanes *)(void *)(scratch + at);
}

static void add_part(const struct part *p, double *scratch, const metric_lanes *counts, size_t from,
                     size_t n)
{
    for (size_t side = 0; side < (p->has_a ? 2u : 1u); side++) {
        metric_lanes *sums = sums_at(scratch, p->sums + side * p->n_sums * METRIC_LANES);

        for (size_t v = 0; p->family == FAMILY_MEAN && v < p->n_sums; v++)
            add_vector(sums + v, counts, p->vectors[side][v] + from, n);
        if (p->family == FAMILY_ECE)
            add_bins(sums, counts, p->bin[side] + from, p->residual[side] + from, n);
    }
}

static void add_rows(const struct metric_set *s, const uint8_t *times, double *scratch)
{
    const double *w = s->in[SIDE_B]->w;
    metric_lanes *counts = sums_at(scratch, s->scratch - METRIC_BLOCK_ROWS * METRIC_LANES);

    for (size_t from = 0, n; from < s->rows; from += n) {
        n = s->rows - from < METRIC_BLOCK_ROWS ? s->rows - from : METRIC_BLOCK_ROWS;
        for (size_t i = 0; i < n; i++)
            metric__times(times + (from + i) * METRIC_LANES, w ? w[from + i] : 1, &counts[i]);
        add_weights(sums_at(scratch, 0), counts, n);
        for (size_t side = 0; side < s->n_sides && s->codes[side]; side++)
            add_codes(sums_at(scratch, s->code_sums[side]), counts,
                      s->codes[side] + from * s->n_codes, s->n_codes, n);
        for (size_t i = 0; i < s->n_parts; i++)
            if (s->parts[i].is_defined)
                add_part(&s->parts[i], scratch, counts, from, n);
    }
}

/* ---- values ---- */

/* ranks[side][0]: auc, [1]: auc_pr, a lane each; the mean over outputs. */
static void walk(const struct metric_set *s, const uint8_t *times,
                 double ranks[SIDES][2][METRIC_LANES])
{
    for (size_t side = 0; side < s->n_sides && s->orders[side]; side++) {
        size_t k = s->in[side]->k;

        memset(ranks[side], 0, sizeof(ranks[side]));
        for (size_t output = 0; output < k; output++) {
            double auc[METRIC_LANES] = {0}, pr[METRIC_LANES] = {0};

            metric__walk(s->orders[side][output], s->in[side], times, s->wants_auc ? auc : NULL,
                         s->wants_pr ? pr : NULL);
            for (size_t l = 0; l < METRIC_LANES; l++) {
                ranks[side][0][l] += auc[l] / (double)k;
                ranks[side][1][l] += pr[l] / (double)k;
            }
        }
    }
}

static double ece_of(const double *sums, size_t bins, double weight)
{
    double all = 0;

    for (size_t b = 0; b < bins; b++)
        all += fabs(sums[b * METRIC_LANES]);
    return all / weight;
}

static double lane_of(const struct metric_set *s, const struct part *p, size_t side, size_t l,
                      double *scratch)
{
    const double *sums = scratch + p->sums + side * p->n_sums * METRIC_LANES + l;
    double weight = scratch[l];
    const char *why;

    if (!(weight > 0))
        return NAN;
    if (p->family == FAMILY_MEAN)
        return metric__mean_value(p->spec.id, sums, METRIC_LANES, weight, &why);
    if (p->family == FAMILY_ECE)
        return ece_of(sums, p->n_sums, weight);
    return metric__confusion_value(
        &p->spec, s->n_classes, scratch + s->code_sums[side] + l, METRIC_LANES,
        scratch + s->scratch - METRIC_BLOCK_ROWS * METRIC_LANES - 3 * s->n_classes, &why);
}

static void group_lanes(const struct metric_set *s, const struct part *p, const uint8_t *times,
                        double *ret)
{
    double sums[METRIC_LANES] = {0}, weights[METRIC_LANES] = {0};

    for (size_t g = 0; g < s->in[SIDE_B]->n_groups; g++)
        for (size_t l = 0; l < METRIC_LANES; l++) {
            double w = p->group_weight[g] * (double)times[g * METRIC_LANES + l];

            sums[l] += w * p->vectors[SIDE_B][0][g];
            weights[l] += w;
        }
    for (size_t l = 0; l < METRIC_LANES; l++)
        ret[l] = weights[l] > 0 ? sums[l] / weights[l] : (double)NAN;
}

void metric__set_evaluate(const struct metric_set *s, const uint8_t *times,
                          const uint8_t *group_times, double *scratch, double *ret)
{
    double ranks[SIDES][2][METRIC_LANES] = {0};

    memset(scratch, 0, s->scratch * sizeof(*scratch));
    if (s->wants_rows) {
        add_rows(s, times, scratch);
        walk(s, times, ranks);
    }
    for (size_t i = 0; i < s->n_parts; i++) {
        const struct part *p = &s->parts[i];
        double *lanes = ret + i * METRIC_LANES;
        size_t which = p->spec.id == METRIC_AUC_PR;

        if (p->is_defined && p->family == FAMILY_GROUP)
            group_lanes(s, p, group_times, lanes);
        for (size_t l = 0; l < METRIC_LANES; l++) {
            if (!p->is_defined)
                lanes[l] = NAN;
            else if (p->family == FAMILY_RANK)
                lanes[l] = ranks[SIDE_B][which][l] - (p->has_a ? ranks[SIDE_A][which][l] : 0);
            else if (p->family != FAMILY_GROUP)
                lanes[l] = lane_of(s, p, SIDE_B, l, scratch) -
                           (p->has_a ? lane_of(s, p, SIDE_A, l, scratch) : 0);
        }
    }
}
