/* Profiles have bins of their own.  What a profile counted in one of its bins is spread evenly over
 * it and counted again in the reference's bins; the outer bins end at the least and greatest value.
 * Categories are compared by name; what is in no profile's list of the frequent ones is "rest".
 * Missing values are a bin of their own. */
#include "agents/console/distance.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/metrics.h"

enum { BINS_MAX = PROFILE_HITTERS + PROFILE_BINS + 2 };

static const struct profile_column *column_of(const struct profile *p, const char *name)
{
    for (size_t i = 0; i < p->n_columns; i++)
        if (strcmp(p->columns[i].name, name) == 0)
            return &p->columns[i];
    return NULL;
}

static const char *category_name(const struct snapshot *s, const char *column, double code)
{
    for (size_t i = 0; i < s->n_columns; i++) {
        const struct snapshot_column *c = &s->columns[i];
        if (strcmp(c->name, column) == 0 && code >= 0 && code < (double)c->n_categories)
            return c->categories[(size_t)code];
    }
    return NULL;
}

/* ---- one column of one profile into the bins of the reference ---- */

static void spread_numbers(const struct profile_column *ref, const struct profile_column *c,
                           double *shares)
{
    for (size_t i = 0; i <= c->n_edges; i++) {
        double from = i ? c->edges[i - 1] : c->min, to = i < c->n_edges ? c->edges[i] : c->max;
        double n = (double)c->bins[i], width = to - from;
        if (!(n > 0))
            continue;
        if (!(width > 0)) {
            shares[profile_bin_of(ref, from)] += n;
            continue;
        }
        for (size_t k = 0; k <= ref->n_edges; k++) {
            double low = fmax(from, k ? ref->edges[k - 1] : -INFINITY);
            double high = fmin(to, k < ref->n_edges ? ref->edges[k] : INFINITY);
            if (high > low)
                shares[k] += n * (high - low) / width;
        }
    }
}

static void spread_categories(const struct distance_part *ref_part,
                              const struct profile_column *ref, const struct distance_part *part,
                              const struct profile_column *c, double *shares)
{
    double rest = (double)(c->count - c->missing);
    for (size_t i = 0; i < c->n_hitters; i++) {
        const char *name = category_name(part->snapshot, c->name, c->hitters[i]), *other;
        for (size_t k = 0; name && k < ref->n_hitters; k++) {
            other = category_name(ref_part->snapshot, ref->name, ref->hitters[k]);
            if (!other || strcmp(other, name) != 0)
                continue;
            shares[k] += (double)c->hitter_counts[i];
            rest -= (double)c->hitter_counts[i];
        }
    }
    shares[ref->n_hitters] += fmax(rest, 0);
}

struct side {
    double shares[BINS_MAX], rows, missing, sum;
};

static void add_part(const struct distance_part *ref_part, const struct profile_column *ref,
                     const struct distance_part *part, struct side *s)
{
    const struct profile_column *c = column_of(part->profile, ref->name);
    if (!c || c->category != ref->category)
        return;
    s->rows += (double)c->count;
    s->missing += (double)c->missing;
    if (c->count > c->missing && isfinite(c->mean))
        s->sum += c->mean * (double)(c->count - c->missing);
    if (c->category)
        spread_categories(ref_part, ref, part, c, s->shares);
    else if (c->count > c->missing)
        spread_numbers(ref, c, s->shares);
}

static struct side sum_up(const struct distance_part *ref_part, const struct profile_column *ref,
                          const struct distance_data *data)
{
    struct side s = {0};
    for (size_t i = 0; i < data->n; i++)
        add_part(ref_part, ref, &data->parts[i], &s);
    s.shares[profile_bin_count(ref)] = s.missing;
    return s;
}

/* ---- all of them ---- */

static void set_pair(struct json *j, const char *key, double a, double b)
{
    struct json *pair = json_set(j, key, json_array());
    json_add_num(pair, a);
    json_add_num(pair, b);
}

static double mean_of(const struct side *s)
{
    return s->rows > s->missing ? s->sum / (s->rows - s->missing) : NAN;
}

static int farthest_first(const void *x, const void *y)
{
    const struct json *const *a = x, *const *b = y;
    double u = json_get_num(*a, "psi", INFINITY), v = json_get_num(*b, "psi", INFINITY);
    if (u != v)
        return u > v ? -1 : 1;
    return strcmp(json_get_str(*a, "column", ""), json_get_str(*b, "column", ""));
}

struct json *distance_json(const struct distance_data *a, const struct distance_data *b)
{
    struct json *list = json_array();
    if (!a->n || !b->n)
        return list;
    const struct distance_part *ref_part = &a->parts[a->n - 1];
    size_t n = ref_part->profile->n_columns;
    struct json **rows = xcalloc(n + 1, sizeof(struct json *));
    for (size_t i = 0; i < n; i++) {
        const struct profile_column *ref = &ref_part->profile->columns[i];
        struct side x = sum_up(ref_part, ref, a), y = sum_up(ref_part, ref, b);
        size_t bins = profile_bin_count(ref) + 1;
        rows[i] = json_object();
        json_set_str(rows[i], "column", ref->name);
        json_set_num(rows[i], "psi", psi_of_shares(x.shares, y.shares, bins));
        set_pair(rows[i], "rows", x.rows, y.rows);
        set_pair(rows[i], "missing", x.rows > 0 ? x.missing / x.rows : NAN,
                 y.rows > 0 ? y.missing / y.rows : NAN);
        if (!ref->category)
            set_pair(rows[i], "mean", mean_of(&x), mean_of(&y));
    }
    if (n)
        qsort(rows, n, sizeof(struct json *), farthest_first);
    for (size_t i = 0; i < n; i++)
        json_add(list, rows[i]);
    free_ptr(&rows);
    return list;
}
