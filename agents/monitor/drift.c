#include "agents/monitor/drift.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/metrics.h"

/* Has the share of missing values moved? */
static bool drift_missing_moved(int64_t reference_rows, int64_t reference_missing,
                                int64_t window_rows, int64_t window_missing);

static const double ONCE_IN_A_THOUSAND =
    3.090232306167813; /* upper quantile of the standard normal */

/* Wilson and Hilferty 1931: the cube root of a chi-squared variable is nearly normal.  Off by 3 %
 * for one degree of freedom, by less than 1 % from four on. */
static double chi_squared_quantile(double degrees)
{
    double v = 2 / (9 * degrees), root = 1 - v + ONCE_IN_A_THOUSAND * sqrt(v);

    return degrees * root * root * root;
}

double drift_chance(size_t bins, int64_t reference_rows, int64_t window_rows)
{
    if (bins < 2 || reference_rows < 1 || window_rows < 1)
        return INFINITY;
    return chi_squared_quantile((double)bins - 1) *
           (1 / (double)reference_rows + 1 / (double)window_rows);
}

static bool drift_missing_moved(int64_t reference_rows, int64_t reference_missing,
                                int64_t window_rows, int64_t window_missing)
{
    double n = (double)reference_rows, m = (double)window_rows, difference, pooled;

    if (reference_rows < 1 || window_rows < 1)
        return false;
    difference = fabs((double)window_missing / m - (double)reference_missing / n);
    pooled = (double)(window_missing + reference_missing) / (n + m);
    return difference >= DRIFT_MISSING_MOVED &&
           difference > ONCE_IN_A_THOUSAND * sqrt(pooled * (1 - pooled) * (1 / n + 1 / m));
}

/* ---- one window ---- */

static int64_t sum(const int64_t *bins, size_t n)
{
    int64_t total = 0;

    for (size_t i = 0; i < n; i++)
        total += bins[i];
    return total;
}

/* Half a row is added to each bin of either side (Krichevsky and Trofimov 1981).  Else a bin that
 * is empty by chance weighs as if a thing that never happened had happened often: with fifty rows
 * every fifth window of any feature would exceed what drift_chance says that one in a thousand
 * does. */
static double psi_of(const struct profile_column *c, const int64_t *bins)
{
    int64_t reference[PROFILE_HITTERS + PROFILE_BINS + 1];
    double p[ARRAY_LEN(reference)], q[ARRAY_LEN(reference)];
    size_t n = profile_bin_count(c);

    BUG_ON(n > ARRAY_LEN(reference));
    profile_reference(c, reference);
    for (size_t i = 0; i < n; i++) {
        p[i] = (double)reference[i] + 0.5;
        q[i] = (double)bins[i] + 0.5;
    }
    return c->count > c->missing && sum(bins, n) ? psi_of_shares(p, q, n) : NAN;
}

/* What the psi of a column over these bins is held against. */
static double threshold_of(const struct profile_column *c, const int64_t *bins, double threshold)
{
    double chance =
        drift_chance(profile_bin_count(c), c->count - c->missing, sum(bins, profile_bin_count(c)));

    return isfinite(chance) && chance > threshold ? chance : threshold;
}

static void judge_feature(const struct reference *r, const struct counts *c, size_t i,
                          double threshold, struct feature_health *ret)
{
    const struct profile_column *column = r->columns[i];
    const int64_t *bins = c->bins + r->first_bin[i];

    *ret = (struct feature_health){
        .feature = r->model->shape.columns[i].name,
        .psi = NAN,
        .threshold = threshold,
        .missing_share = c->rows ? (double)c->missing[i] / (double)c->rows : NAN,
    };
    if (!column)
        return;
    ret->psi = psi_of(column, bins);
    ret->threshold = threshold_of(column, bins, threshold);
}

static bool has_moved(const struct feature_health *f)
{
    return f->psi >= f->threshold; /* false for NaN */
}

static bool misses_more(const struct reference *r, const struct counts *c, size_t i)
{
    const struct profile_column *column = r->columns[i];

    return column && drift_missing_moved(column->count, column->missing, c->rows, c->missing[i]);
}

/* At most three, so that a sentence stays one. */
struct names {
    struct arena *arena;
    const char *text;
    size_t n;
};

static void name(struct names *names, const char *text)
{
    enum { MOST = 3 };

    if (names->n < MOST)
        names->text = names->n ? arena_printf(names->arena, "%s, %s", names->text, text) : text;
    names->n++;
}

static const char *names_str(const struct names *names)
{
    if (names->n <= 3)
        return names->text;
    return arena_printf(names->arena, "%s and %zu more", names->text, names->n - 3);
}

static int by_psi(const void *x, const void *y)
{
    const struct feature_health *a = *(const struct feature_health *const *)x;
    const struct feature_health *b = *(const struct feature_health *const *)y;

    if (a->psi != b->psi)
        return a->psi < b->psi ? 1 : -1;
    return strcmp(a->feature, b->feature);
}

/* Those that moved, worst first. */
static size_t moved(struct feature_health_list all, struct arena *arena,
                    const struct feature_health ***ret)
{
    const struct feature_health **list =
        arena_alloc(arena, (all.n + 1) * sizeof(struct feature_health *));
    size_t n = 0;

    for (size_t i = 0; i < all.n; i++)
        if (has_moved(&all.items[i]))
            list[n++] = &all.items[i];
    qsort(list, n, sizeof(struct feature_health *), by_psi);
    *ret = list;
    return n;
}

/* "a; b" of what is there. */
static const char *join_clauses(struct arena *arena, const char *a, const char *b)
{
    return a && b ? arena_printf(arena, "%s; %s", a, b) : a ? a : b;
}

static const char *drift_sentence(const struct verdict *v, const struct reference *r,
                                  const struct counts *c, int64_t generation, struct arena *arena)
{
    const struct feature_health **list;
    size_t n = moved(v->features, arena, &list);
    struct names values = {.arena = arena}, missing = {.arena = arena};
    const char *text = NULL;

    for (size_t i = 0; i < n; i++)
        name(&values, arena_printf(arena, "%s (PSI %.3g)", list[i]->feature, list[i]->psi));
    for (size_t i = 0; i < r->n_features; i++)
        if (misses_more(r, c, i))
            name(&missing,
                 arena_printf(arena, "%s (%.3g %% missing, was %.3g %%)",
                              v->features.items[i].feature,
                              100 * v->features.items[i].missing_share,
                              100 * (double)r->columns[i]->missing / (double)r->columns[i]->count));
    if (n)
        text = arena_printf(arena, "%zu of %zu features moved: %s", n, r->n_features,
                            names_str(&values));
    if (missing.n)
        text = join_clauses(
            arena, text,
            arena_printf(arena, "values are missing that were there: %s", names_str(&missing)));
    if (v->has_prediction_moved)
        text = join_clauses(arena, text,
                            arena_printf(arena, "its answers moved (PSI %.3g)", v->prediction_psi));
    return arena_printf(arena, "%lld predictions of generation %lld against its training data: %s",
                        (long long)c->rows, (long long)generation, text);
}

static const char *calm_sentence(const struct counts *c, const struct feature_health *worst,
                                 int64_t generation, struct arena *arena)
{
    if (!worst)
        return arena_printf(arena,
                            "no feature of %lld predictions of generation %lld can be compared",
                            (long long)c->rows, (long long)generation);
    return arena_printf(
        arena,
        "%lld predictions of generation %lld look like its training data: the largest PSI is "
        "%.3g (%s), below %.3g",
        (long long)c->rows, (long long)generation, worst->psi, worst->feature, worst->threshold);
}

static void judge_prediction(const struct reference *r, const struct counts *c, double threshold,
                             struct verdict *ret)
{
    const int64_t *bins = c->bins + r->first_bin[r->n_features];

    if (!r->prediction)
        return;
    ret->prediction_psi = psi_of(r->prediction, bins);
    ret->has_prediction_moved = ret->prediction_psi >= threshold_of(r->prediction, bins, threshold);
}

void drift_judge(const struct reference *r, const struct counts *c, double threshold,
                 int64_t generation, struct arena *arena, struct verdict *ret)
{
    struct feature_health *features;
    const struct feature_health *worst = NULL;

    *ret = (struct verdict){.worst_psi = NAN, .prediction_psi = NAN};
    if (!r || !c->bins) {
        ret->reason =
            arena_printf(arena,
                         "there is no profile of the training data of generation %lld to hold %lld "
                         "predictions against",
                         (long long)generation, (long long)c->rows);
        return;
    }
    features = arena_alloc(arena, (r->n_features + 1) * sizeof(*features));
    ret->features = (struct feature_health_list){features, r->n_features};
    ret->is_known = true;
    for (size_t i = 0; i < r->n_features; i++) {
        judge_feature(r, c, i, threshold, &features[i]);
        if (features[i].psi > ret->worst_psi ||
            (isnan(ret->worst_psi) && !isnan(features[i].psi))) {
            ret->worst_psi = features[i].psi;
            worst = &features[i];
        }
        ret->is_drift = ret->is_drift || has_moved(&features[i]) || misses_more(r, c, i);
    }
    judge_prediction(r, c, threshold, ret);
    ret->is_drift = ret->is_drift || ret->has_prediction_moved;
    ret->reason = ret->is_drift ? drift_sentence(ret, r, c, generation, arena)
                                : calm_sentence(c, worst, generation, arena);
}

/* ---- the alert ---- */

static bool is(const char *a, const char *b)
{
    return a && strcmp(a, b) == 0;
}

bool drift_is_due(const struct health_measured *h, int64_t consecutive)
{
    bool is_bad = is(h->verdict, "drift") || is(h->verdict, "degraded");

    return is_bad && consecutive > 0 && h->consecutive > 0 && h->consecutive % consecutive == 0;
}

static void quality_alert(const struct health_measured *h, const struct drift_bounds *bounds,
                          struct arena *arena, struct drift_detected *ret)
{
    ret->kind = "quality";
    ret->statistic = bounds->metric;
    ret->threshold = bounds->quality;
    for (size_t i = 0; bounds->metric && i < h->quality.n; i++)
        if (is(h->quality.items[i].name, bounds->metric))
            ret->value = h->quality.items[i].value;
    ret->summary =
        arena_printf(arena, "the realised quality is out of bounds for %lld windows in a row: %s",
                     (long long)h->consecutive, h->reason ? h->reason : "");
}

/* From the record alone it can be told that something is missing, not what was missing before. */
static size_t missing_features(const struct health_measured *h, const struct reference *r,
                               struct drift_feature *out)
{
    size_t n = 0;

    if (!r || r->n_features != h->features.n)
        return 0;
    for (size_t i = 0; i < r->n_features; i++) {
        const struct feature_health *f = &h->features.items[i];
        const struct profile_column *c = r->columns[i];
        int64_t missing =
            isnan(f->missing_share) ? 0 : llround(f->missing_share * (double)h->predictions);

        if (!c || !drift_missing_moved(c->count, c->missing, h->predictions, missing))
            continue;
        out[n++] = (struct drift_feature){
            .feature = f->feature,
            .value = f->missing_share,
            .threshold = (double)c->missing / (double)c->count + DRIFT_MISSING_MOVED,
        };
    }
    return n;
}

/* In this order: features whose values moved, features whose values are missing, answers. */
static void data_alert(const struct health_measured *h, const struct reference *r,
                       const struct drift_bounds *bounds, struct arena *arena,
                       struct drift_detected *ret)
{
    const struct feature_health **list;
    size_t n = moved(h->features, arena, &list);
    struct drift_feature *features = arena_alloc(arena, (h->features.n + 1) * sizeof(*features));

    for (size_t i = 0; i < n; i++)
        features[i] = (struct drift_feature){list[i]->feature, list[i]->psi, list[i]->threshold};
    ret->kind = n ? "data" : "missing";
    ret->statistic = n ? "psi" : "missing_share";
    if (n == 0)
        n = missing_features(h, r, features);
    if (n == 0 && h->prediction_psi >= bounds->psi) {
        ret->kind = "prediction";
        ret->statistic = "psi";
        ret->value = h->prediction_psi;
        ret->threshold = bounds->psi;
    }
    ret->features = (struct drift_feature_list){features, n};
    if (n) {
        ret->value = features[0].value;
        ret->threshold = features[0].threshold;
    }
    ret->summary = arena_printf(arena, "drift for %lld windows in a row: %s",
                                (long long)h->consecutive, h->reason ? h->reason : "");
}

void drift_alert(const struct health_measured *h, const struct reference *r,
                 const struct drift_bounds *bounds, int64_t now_unix_ms, struct arena *arena,
                 struct drift_detected *ret)
{
    *ret = (struct drift_detected){
        .line = h->line,
        .source = "monitor",
        .value = NAN,
        .threshold = NAN,
        .generation = h->generation,
        .windows = h->consecutive,
        .detected_unix_ms = now_unix_ms,
    };
    if (is(h->verdict, "degraded"))
        quality_alert(h, bounds, arena, ret);
    else
        data_alert(h, r, bounds, arena, ret);
}
