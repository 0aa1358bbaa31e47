/* The usual number, fast: an optional minus, at most eight digits before and eight behind a point,
 * nothing else. About 25 cycles without a branch that depends on the digits; number_parse takes
 * what is left over.
 *
 * The digits are read eight at a time by arithmetic on a 64-bit word (three multiplications for
 * four pairs at once).  w * 10^-f is off by at most two units in the last place of a double, so
 * that rounding it to float32 is right unless it lies that close to the middle between two float32:
 * then this says no. */
#ifndef INGEST_NUMBER_FAST_H
#define INGEST_NUMBER_FAST_H

#include "common/base.h"

#define NUMBER_FAST_SLACK 32 /* bytes that must be readable behind the text */

#ifdef __SSE2__
#include <emmintrin.h>

static inline uint64_t number_fast_digits(const char *p, size_t n) /* n <= 8 */
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    v ^= 0x3030303030303030;
    v = n ? v << (64 - 8 * n) : 0; /* what is not ours goes, zeros come before */
    v = v * 10 + (v >> 8);
    return (((v & 0x000000ff000000ff) * 0x000f424000000064) +
            (((v >> 16) & 0x000000ff000000ff) * 0x0000271000000001)) >>
               32 &
           0xffffffff;
}

/* The text lies in a buffer with NUMBER_FAST_SLACK more bytes.  false: ask number_parse. */
static inline bool number_fast(const char *p, size_t n, float *ret)
{
    static const uint64_t up[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};
    static const double down[] = {1, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8};
    size_t minus, point, fraction;
    unsigned digits, points, all;
    uint64_t w, bits;
    uint32_t word;
    __m128i text, value;
    double v;
    float f;

    if (n - 1 >= 16) /* empty as well */
        return false;
    minus = *p == '-';
    p += minus;
    n -= minus;
    text = _mm_loadu_si128((const __m128i *)(const void *)p);
    value = _mm_sub_epi8(text, _mm_set1_epi8('0'));
    digits =
        (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(value, _mm_set1_epi8(9)), value));
    all = (1u << n) - 1;
    points = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(text, _mm_set1_epi8('.'))) & all;
    point = (size_t)__builtin_ctz(points | 1u << n);
    fraction = n - point - (points != 0);
    if (((digits | points) & all) != all || (points & (points - 1)) || !(digits & all) ||
        point > 8 || fraction > 8)
        return false;
    w = number_fast_digits(p, point) * up[fraction] + number_fast_digits(p + point + 1, fraction);
    v = (double)(int64_t)w * down[fraction];
    memcpy(&bits, &v, sizeof(bits));
    if ((bits & 0x1fffffff) - (0x10000000 - 8) <= 16)
        return false;
    f = (float)v;
    memcpy(&word, &f, sizeof(word));
    word |= (uint32_t)minus << 31;
    memcpy(ret, &word, sizeof(*ret));
    return true;
}
#else
static inline bool number_fast(const char *p, size_t n, float *ret)
{
    (void)p;
    (void)n;
    (void)ret;
    return false;
}
#endif

#endif
