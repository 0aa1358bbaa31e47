/* Area under the ROC curve and average precision: rows are sorted once by falling score, each
 * evaluation is one walk.
 *
 * Sort: a 64-bit item holds a 32-bit key, the row and whether it is positive; three passes of a
 * radix sort over the key.  The key is the score as a float32, which rounds without changing the
 * order; where scores are no float32 themselves, rows of one key are put in order afterwards.
 * XGBoost's scores are float32, so that this costs nothing.
 *
 * Walk: above a row are the negatives and the positives of greater scores, those of its own tie not
 * counted.  A positive loses to the negatives above it, a negative is won by the positives above
 * it; what is neither is a tie, and counts half. */
#include <math.h>
#include <string.h>

#include "common/metrics_internal.h"

enum { KEY_SHIFT = 32, DIGIT_BITS = 11, DIGITS = 1 << DIGIT_BITS, PASSES = 3 };
enum { POSITIVE = 1, TIE_START = 2, ROW_SHIFT = 2 };

/* ---- sort ---- */

/* Falls as the score rises; -0 and 0 are one. */
static uint32_t key_of(double score)
{
    float f = (float)score + 0.0f;
    uint32_t bits;

    memcpy(&bits, &f, sizeof(bits));
    return bits >> 31 ? bits : ~bits & 0x7fffffffu;
}

typedef size_t digit_counts[PASSES][DIGITS];

static inline void count_digits(uint64_t item, size_t counts[PASSES][DIGITS])
{
    for (size_t pass = 0; pass < PASSES; pass++)
        counts[pass][item >> (KEY_SHIFT + pass * DIGIT_BITS) & (DIGITS - 1)]++;
}

/* Sorts by key, stably; the result is in one of the two. */
static uint64_t *radix_sort(uint64_t *items, uint64_t *other, size_t n,
                            size_t counts[PASSES][DIGITS])
{
    for (size_t pass = 0; pass < PASSES; pass++) {
        size_t shift = KEY_SHIFT + pass * DIGIT_BITS, at = 0, *to = counts[pass];
        uint64_t *swap = items;

        if (n == 0 || to[items[0] >> shift & (DIGITS - 1)] == n)
            continue; /* all alike */
        for (size_t d = 0; d < DIGITS; d++) {
            size_t here = to[d];

            to[d] = at;
            at += here;
        }
        for (size_t i = 0; i < n; i++)
            other[to[items[i] >> shift & (DIGITS - 1)]++] = items[i];
        items = other;
        other = swap;
    }
    return items;
}

struct scored {
    double score;
    uint32_t code;
};

static int by_falling_score(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;

    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->code < y->code ? -1 : x->code > y->code;
}

static double score_of(const struct metric_input *in, size_t output, uint64_t item)
{
    return in->p[((uint32_t)item >> ROW_SHIFT) * in->k + output];
}

/* Rows whose keys are equal, though their scores may not be. */
static void take_run(const struct metric_input *in, size_t output, const uint64_t *items, size_t n,
                     uint32_t *ret)
{
    double first = score_of(in, output, items[0]);
    struct scored *run;
    size_t same = 1;

    while (same < n && score_of(in, output, items[same]) == first)
        same++;
    for (size_t i = 0; same == n && i < n; i++)
        ret[i] = (uint32_t)items[i] | (i == 0 ? TIE_START : 0);
    if (same == n)
        return;
    run = xmalloc(n * sizeof(*run));
    for (size_t i = 0; i < n; i++)
        run[i] = (struct scored){score_of(in, output, items[i]), (uint32_t)items[i]};
    qsort(run, n, sizeof(*run), by_falling_score);
    for (size_t i = 0; i < n; i++)
        ret[i] = run[i].code | (i == 0 || run[i].score != run[i - 1].score ? TIE_START : 0);
    free(run);
}

static void take_exact(const uint64_t *items, size_t n, uint32_t *ret)
{
    for (size_t i = 0; i < n; i++)
        ret[i] = (uint32_t)items[i] |
                 (i == 0 || items[i] >> KEY_SHIFT != items[i - 1] >> KEY_SHIFT ? TIE_START : 0);
}

static void take_rounded(const struct metric_input *in, size_t output, const uint64_t *items,
                         uint32_t *ret)
{
    for (size_t from = 0, i = 1; i <= in->rows; i++) {
        if (i < in->rows && items[i] >> KEY_SHIFT == items[from] >> KEY_SHIFT)
            continue;
        if (i - from == 1)
            ret[from] = (uint32_t)items[from] | TIE_START;
        else
            take_run(in, output, items + from, i - from, ret + from);
        from = i;
    }
}

struct sorted { /* items that are sorted, and as much memory */
    uint64_t *items, *other;
    bool is_exact; /* keys are the scores */
};

static void sort_rows(const struct metric_input *in, size_t output, struct sorted *ret)
{
    uint64_t *items = xmalloc((in->rows + 1) * sizeof(*items)),
             *other = xmalloc((in->rows + 1) * sizeof(*other));
    digit_counts *counts = xcalloc(1, sizeof(*counts));
    float positive = in->k == 1 ? 1 : (float)output;
    bool is_exact = true;

    for (size_t i = 0; i < in->rows; i++) {
        double score = in->p[i * in->k + output];

        is_exact &= (double)(float)score == score;
        items[i] = (uint64_t)key_of(score) << KEY_SHIFT | i << ROW_SHIFT |
                   (in->y[i] == positive ? POSITIVE : 0);
        count_digits(items[i], *counts);
    }
    ret->items = radix_sort(items, other, in->rows, *counts);
    free(counts);
    ret->other = ret->items == items ? other : items;
    ret->is_exact = is_exact;
}

static uint32_t *take(const struct metric_input *in, size_t output, struct sorted *s)
{
    uint32_t *ret = (uint32_t *)(void *)s->other;

    if (s->is_exact)
        take_exact(s->items, in->rows, ret);
    else
        take_rounded(in, output, s->items, ret);
    free(s->items);
    return xrealloc(ret, (in->rows + 1) * sizeof(*ret));
}

uint32_t *metric__rank(const struct metric_input *in, size_t output)
{
    struct sorted s;

    sort_rows(in, output, &s);
    return take(in, output, &s);
}

/* ---- walk ---- */

/* One resample a lane, or the rows as they are: the same steps on another type. */
struct walk_lanes {
    metric_lanes pos, neg, pos_above, neg_above, won, lost, precision;
};
struct walk {
    double pos, neg, pos_above, neg_above, won, lost, precision;
};
static const double NO_ROW = 1e-300; /* 0/0 is 0: no positive, no precision to add */

static void walk_lanes(struct walk_lanes *s, const uint32_t *order, const struct metric_input *in,
                       const uint8_t *times, bool wants_pr)
{
    enum { AHEAD = 24 }; /* rows whose counts are asked for before they are needed */
    bool has_positive = false;

    for (size_t i = 0; i <= in->rows; i++) {
        uint32_t item = i < in->rows ? order[i] : TIE_START;
        metric_lanes count;

        if (item & TIE_START) {
            if (wants_pr && has_positive)
                s->precision += (s->pos - s->pos_above) * s->pos / (s->pos + s->neg + NO_ROW);
            s->pos_above = s->pos;
            s->neg_above = s->neg;
            has_positive = false;
        }
        if (i == in->rows)
            break;
        if (i + AHEAD < in->rows)
            __builtin_prefetch(times + (size_t)(order[i + AHEAD] >> ROW_SHIFT) * METRIC_LANES);
        metric__times(times + (size_t)(item >> ROW_SHIFT) * METRIC_LANES,
                      in->w ? in->w[item >> ROW_SHIFT] : 1, &count);
        if (item & POSITIVE) {
            has_positive = true;
            s->lost += count * s->neg_above;
            s->pos += count;
        } else {
            s->won += count * s->pos_above;
            s->neg += count;
        }
    }
}

static inline void end_tie(struct walk *s, bool wants_pr)
{
    if (wants_pr)
        s->precision += (s->pos - s->pos_above) * s->pos / (s->pos + s->neg + NO_ROW);
    s->pos_above = s->pos;
    s->neg_above = s->neg;
}

static inline void add_row(struct walk *s, uint32_t item, double w)
{
    double positive = (double)(item & POSITIVE) * w; /* no branch: labels cannot be foreseen */

    s->lost += positive * s->neg_above;
    s->pos += positive;
    s->won += (w - positive) * s->pos_above;
    s->neg += w - positive;
}

static void walk_once(struct walk *ret, const uint32_t *order, const struct metric_input *in,
                      bool wants_pr)
{
    struct walk s = {0};

    for (size_t i = 0; i < in->rows; i++) {
        if (order[i] & TIE_START)
            end_tie(&s, wants_pr);
        add_row(&s, order[i], in->w ? in->w[order[i] >> ROW_SHIFT] : 1);
    }
    end_tie(&s, wants_pr);
    *ret = s;
}

/* The same of what has just been sorted: one pass less. */
static void walk_sorted(struct walk *ret, const uint64_t *items, const struct metric_input *in,
                        bool wants_pr)
{
    struct walk s = {0};
    uint64_t key = 0;

    for (size_t i = 0; i < in->rows; i++) {
        uint32_t item = (uint32_t)items[i];

        if (items[i] >> KEY_SHIFT != key)
            end_tie(&s, wants_pr);
        key = items[i] >> KEY_SHIFT;
        add_row(&s, item, in->w ? in->w[item >> ROW_SHIFT] : 1);
    }
    end_tie(&s, wants_pr);
    *ret = s;
}

static void take_lane(const struct walk *s, double *ret_auc, double *ret_pr)
{
    double pairs = s->pos * s->neg;

    if (ret_auc)
        *ret_auc = pairs > 0 ? (s->won - s->lost + pairs) / (2 * pairs) : (double)NAN;
    if (ret_pr)
        *ret_pr = pairs > 0 ? s->precision / s->pos : (double)NAN;
}

void metric__rank_value(const struct metric_input *in, size_t output, double *ret_auc,
                        double *ret_pr)
{
    struct sorted s;
    struct walk walk;

    sort_rows(in, output, &s);
    if (s.is_exact) {
        walk_sorted(&walk, s.items, in, ret_pr != NULL);
        free(s.items);
        free(s.other);
    } else {
        CLEANUP_FREE uint32_t *order = take(in, output, &s);

        walk_once(&walk, order, in, ret_pr != NULL);
    }
    take_lane(&walk, ret_auc, ret_pr);
}

void metric__walk(const uint32_t *order, const struct metric_input *in, const uint8_t *times,
                  double *ret_auc, double *ret_pr)
{
    struct walk_lanes s = {0};

    walk_lanes(&s, order, in, times, ret_pr != NULL);
    for (size_t l = 0; l < METRIC_LANES; l++) {
        struct walk one = {.pos = s.pos[l],
                           .neg = s.neg[l],
                           .won = s.won[l],
                           .lost = s.lost[l],
                           .precision = s.precision[l]};

        take_lane(&one, ret_auc ? ret_auc + l : NULL, ret_pr ? ret_pr + l : NULL);
    }
}

const char *metric__rank_undefined(size_t outputs)
{
    return outputs == 1 ? "all rows are of one class" : "a class has no rows, or all";
}
