/* Counts, moments, extremes and category counts are exact: they are kept for every row.  Edges need
 * the order of the values, so a sample of whole rows is kept: every row up to PROFILE_SAMPLE_ROWS,
 * beyond that an even sample (reservoir, Li 1994, "algorithm L": one random number for each row
 * taken, none for a row passed over).  Whole rows make the sample's cost independent of the number
 * of rows and keep it the same for all columns.
 *
 * Moments are summed block by block around the mean so far and joined as Chan, Golub and LeVeque
 * (1983) do it, so that a large offset does not eat the digits. */
#include "common/profile.h"

#include <float.h>
#include <math.h>

#include "common/mem.h"
#include "common/profile_internal.h"
#include "common/rng.h"

enum {
    BLOCK_ROWS = 256,       /* of 28 columns: 28 KiB, stays in the first-level cache */
    SAMPLE_MIN_ROWS = 1024, /* however many columns there are */
    CODES_MAX = 65536,      /* category codes counted one by one; ingest gives 10,000 at most */
};
static const size_t SAMPLE_BYTES = (size_t)16 << 20; /* of one profiler */

struct tally { /* of one column */
    int64_t present, missing;
    double mean, m2;
    float min, max;
    int64_t *codes; /* category: count of each code */
    size_t n_codes;
};
struct block { /* sums of one column over one block */
    double shift, sum, sum2;
    int64_t missing;
};
struct profiler {
    size_t n;
    char **names;
    bool *category;
    struct tally *tallies;
    struct block *block;
    int64_t rows;
    float *sample; /* n_sample rows, row-major */
    size_t n_sample, cap_sample, max_sample;
    int64_t next_row; /* that enters the sample when it is full */
    double w;
    struct rng rng;
};

struct profiler *profiler_new(const char *const *names, const bool *category, size_t n,
                              uint64_t seed)
{
    struct profiler *p = xcalloc(1, sizeof(*p));
    size_t fits = SAMPLE_BYTES / ((n ? n : 1) * sizeof(float));

    p->n = n;
    p->names = xcalloc(n ? n : 1, sizeof(*p->names));
    p->category = xmemdup(category, (n ? n : 1) * sizeof(*category));
    p->tallies = xcalloc(n ? n : 1, sizeof(*p->tallies));
    p->block = xcalloc(n ? n : 1, sizeof(*p->block));
    for (size_t j = 0; j < n; j++) {
        p->names[j] = xstrdup(names[j]);
        p->tallies[j].min = INFINITY;
        p->tallies[j].max = -INFINITY;
    }
    p->max_sample = fits < SAMPLE_MIN_ROWS ? SAMPLE_MIN_ROWS : fits;
    if (p->max_sample > PROFILE_SAMPLE_ROWS)
        p->max_sample = PROFILE_SAMPLE_ROWS;
    rng_seed(&p->rng, seed);
    return p;
}

static void profiler_free(struct profiler *p)
{
    for (size_t j = 0; j < p->n; j++) {
        free(p->names[j]);
        free(p->tallies[j].codes);
    }
    free(p->names);
    free(p->category);
    free(p->tallies);
    free(p->block);
    free(p->sample);
    free(p);
}

/* ---- sample ---- */

static double uniform(struct rng *r) /* in (0,1) */
{
    return (double)(rng_next(r) >> 11) * 0x1p-53 + 0x1p-54;
}

static void sample_skip(struct profiler *p)
{
    double gap;

    p->w *= exp(log(uniform(&p->rng)) / (double)p->max_sample);
    gap = floor(log(uniform(&p->rng)) / log1p(-p->w));
    p->next_row += 1 + (gap < 1e15 ? (int64_t)gap : (int64_t)1e15);
}

static void sample_fill(struct profiler *p, const float *rows, size_t n_rows)
{
    size_t need = p->n_sample + n_rows;

    if (need > p->cap_sample) {
        p->cap_sample = need > 2 * p->cap_sample ? need : 2 * p->cap_sample;
        if (p->cap_sample > p->max_sample)
            p->cap_sample = p->max_sample;
        p->sample = xrealloc(p->sample, (p->cap_sample * p->n + 1) * sizeof(*p->sample));
    }
    memcpy(p->sample + p->n_sample * p->n, rows, n_rows * p->n * sizeof(*rows));
    p->n_sample = need;
    if (need == p->max_sample) {
        p->next_row = (int64_t)need - 1;
        p->w = 1;
        sample_skip(p);
    }
}

static void sample_add(struct profiler *p, const float *rows, size_t n_rows)
{
    size_t room = p->max_sample - p->n_sample, k = n_rows < room ? n_rows : room;

    if (k > 0)
        sample_fill(p, rows, k);
    while (p->n_sample == p->max_sample && p->next_row < p->rows + (int64_t)n_rows) {
        size_t at = (size_t)rng_below(&p->rng, p->max_sample);

        memcpy(p->sample + at * p->n, rows + (size_t)(p->next_row - p->rows) * p->n,
               p->n * sizeof(*rows));
        sample_skip(p);
    }
}

/* ---- tallies ---- */

static void block_begin(struct profiler *p, const float *rows, size_t n_rows)
{
    for (size_t j = 0; j < p->n; j++) {
        double shift = p->tallies[j].mean;

        for (size_t i = 0; p->tallies[j].present == 0 && i < n_rows; i++)
            if (fabsf(rows[i * p->n + j]) <= FLT_MAX) {
                shift = (double)rows[i * p->n + j];
                break;
            }
        p->block[j] = (struct block){.shift = shift};
    }
}

static void block_rows(struct profiler *p, const float *rows, size_t n_rows)
{
    for (size_t i = 0; i < n_rows; i++, rows += p->n)
        for (size_t j = 0; j < p->n; j++) {
            struct block *b = &p->block[j];
            struct tally *t = &p->tallies[j];
            float v = rows[j];
            double d;

            if (!(fabsf(v) <= FLT_MAX)) { /* NaN as well */
                b->missing++;
                continue;
            }
            d = (double)v - b->shift;
            b->sum += d;
            b->sum2 += d * d;
            t->min = v < t->min ? v : t->min;
            t->max = v > t->max ? v : t->max;
        }
}

static void block_end(struct profiler *p, size_t n_rows)
{
    for (size_t j = 0; j < p->n; j++) {
        struct block *b = &p->block[j];
        struct tally *t = &p->tallies[j];
        double n = (double)((int64_t)n_rows - b->missing), before = (double)t->present;
        double mean, m2, delta;

        t->missing += b->missing;
        if (n <= 0)
            continue;
        mean = b->shift + b->sum / n;
        m2 = b->sum2 - b->sum * b->sum / n;
        delta = mean - t->mean;
        t->mean += delta * n / (before + n);
        t->m2 += (m2 > 0 ? m2 : 0) + (before > 0 ? delta * delta * before * n / (before + n) : 0);
        t->present += (int64_t)n;
    }
}

static void count_codes(struct profiler *p, size_t j, const float *rows, size_t n_rows)
{
    struct tally *t = &p->tallies[j];

    for (size_t i = 0; i < n_rows; i++) {
        float v = rows[i * p->n + j];
        size_t code;

        if (!(v >= 0 && v < CODES_MAX))
            continue;
        code = (size_t)v;
        if (code >= t->n_codes) {
            size_t n = code < 32 ? 64 : code * 2;

            t->codes = xrealloc(t->codes, n * sizeof(*t->codes));
            memset(t->codes + t->n_codes, 0, (n - t->n_codes) * sizeof(*t->codes));
            t->n_codes = n;
        }
        t->codes[code]++;
    }
}

void profiler_add(struct profiler *p, const float *rows, size_t n_rows)
{
    for (size_t k; n_rows > 0; rows += k * p->n, n_rows -= k) {
        k = n_rows < BLOCK_ROWS ? n_rows : BLOCK_ROWS;
        block_begin(p, rows, k);
        block_rows(p, rows, k);
        block_end(p, k);
        for (size_t j = 0; j < p->n; j++)
            if (p->category[j])
                count_codes(p, j, rows, k);
        sample_add(p, rows, k);
        p->rows += (int64_t)k;
    }
}

/* ---- finish ---- */

static void finish_hitters(const struct tally *t, struct profile_column *c)
{
    for (size_t code = 0; code < t->n_codes; code++) {
        int64_t count = t->codes[code];
        size_t at = c->n_hitters;

        if (count == 0 || (at == PROFILE_HITTERS && count <= c->hitter_counts[PROFILE_HITTERS - 1]))
            continue;
        if (at < PROFILE_HITTERS)
            c->n_hitters++;
        else
            at--;
        for (; at > 0 && c->hitter_counts[at - 1] < count; at--) { /* ties: the lower code first */
            c->hitters[at] = c->hitters[at - 1];
            c->hitter_counts[at] = c->hitter_counts[at - 1];
        }
        c->hitters[at] = (double)code;
        c->hitter_counts[at] = count;
    }
}

static size_t column_of_sample(const struct profiler *p, size_t j, float *out)
{
    size_t n = 0;

    for (size_t i = 0; i < p->n_sample; i++) {
        float v = p->sample[i * p->n + j];

        if (fabsf(v) <= FLT_MAX)
            out[n++] = v;
    }
    return n;
}

struct profile *profiler_finish(struct profiler *p)
{
    struct profile *ret = xcalloc(1, sizeof(*ret));
    CLEANUP_FREE float *values = xmalloc((p->n_sample + 1) * sizeof(*values));
    CLEANUP_FREE float *scratch = xmalloc((p->n_sample + 1) * sizeof(*scratch));

    ret->rows = p->rows;
    ret->n_columns = p->n;
    ret->columns = xcalloc(p->n ? p->n : 1, sizeof(*ret->columns));
    for (size_t j = 0; j < p->n; j++) {
        struct profile_column *c = &ret->columns[j];
        const struct tally *t = &p->tallies[j];

        c->name = TAKE(p->names[j]);
        c->category = p->category[j];
        c->count = p->rows;
        c->missing = t->missing;
        c->mean = t->present ? t->mean : NAN;
        c->stddev = t->present ? sqrt(t->m2 / (double)t->present) : NAN;
        c->min = t->present ? (double)t->min : NAN;
        c->max = t->present ? (double)t->max : NAN;
        if (c->category)
            finish_hitters(t, c);
        else
            profile__bins(values, scratch, column_of_sample(p, j, values), t->present, c);
    }
    profiler_free(p);
    return ret;
}

void profile_free(struct profile *p)
{
    if (!p)
        return;
    for (size_t j = 0; j < p->n_columns; j++)
        free(p->columns[j].name);
    free(p->columns);
    free(p);
}
