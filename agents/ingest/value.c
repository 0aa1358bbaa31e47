/* Decimal to float32.  The digits make a 64-bit integer w and a power of ten e.  w * 10^e in double
 * is off by at most two units in the last place; rounding that to float32 is right unless the
 * double is that close to the middle between two float32, which bits 0 to 28 show.  Those cases
 * (one in 2^26), more than 19 digits, and the ends of the range go to strtof. */
#include "agents/ingest/value.h"

#include <float.h>
#include <locale.h>
#include <pthread.h>
#include <strings.h>

enum {
    DIGITS_MAX = 19, /* that always fit 64 bits */
    POWER_MAX = 60,  /* 10^19 * 10^-60 is below every normal float32 */
    NUMBER_MAX_CHARS =
        512, /* longer than any exact decimal of a float32 (112 digits) with room to spare */
    MIDDLE_MARGIN = 8, /* four times the error */
};

static const double POWERS[POWER_MAX + 1] = {
    1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22, 1e23, 1e24, 1e25, 1e26, 1e27, 1e28, 1e29, 1e30, 1e31,
    1e32, 1e33, 1e34, 1e35, 1e36, 1e37, 1e38, 1e39, 1e40, 1e41, 1e42, 1e43, 1e44, 1e45, 1e46, 1e47,
    1e48, 1e49, 1e50, 1e51, 1e52, 1e53, 1e54, 1e55, 1e56, 1e57, 1e58, 1e59, 1e60};

static locale_t c_locale;
static pthread_once_t c_locale_once = PTHREAD_ONCE_INIT;

static void make_c_locale(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    BUG_ON(!c_locale);
}

static enum number parse_slowly(const char *p, size_t n, float *ret)
{
    char text[NUMBER_MAX_CHARS + 1];
    float v;

    if (n > NUMBER_MAX_CHARS)
        return NUMBER_NONE;
    memcpy(text, p, n);
    text[n] = '\0';
    pthread_once(&c_locale_once, make_c_locale);
    v = strtof_l(text, NULL, c_locale); /* the caller has checked that it is a decimal number */
    if (!(v <= FLT_MAX && v >= -FLT_MAX))
        return NUMBER_RANGE;
    *ret = v;
    return NUMBER_OK;
}

struct decimal {
    uint64_t w;
    int digits; /* read into w, leading zeros too; more than DIGITS_MAX: w is wrong */
    int64_t e;
};

static const char *take_digits(const char *p, const char *end, struct decimal *d)
{
    const char *begin = p;

    while (p < end && (unsigned char)(*p - '0') < 10)
        d->w = d->w * 10 + (uint64_t)(*p++ - '0');
    d->digits += p - begin > NUMBER_MAX_CHARS ? NUMBER_MAX_CHARS : (int)(p - begin);
    return p;
}

/* Behind the 'e'; NULL when there is no exponent. */
static const char *take_exponent(const char *p, const char *end, struct decimal *d)
{
    bool negative = p < end && *p == '-';
    const char *begin;
    int64_t e = 0;

    if (p < end && (*p == '-' || *p == '+'))
        p++;
    for (begin = p; p < end && (unsigned char)(*p - '0') < 10; p++)
        if (e < 1000000)
            e = e * 10 + (*p - '0');
    d->e += negative ? -e : e;
    return p > begin ? p : NULL;
}

static bool is_word(const char *p, size_t n, const char *word)
{
    return strlen(word) == n && strncasecmp(p, word, n) == 0;
}

static enum number parse(const char *p, size_t n, float *ret)
{
    const char *begin = p, *end = p + n;
    bool negative = n > 0 && *p == '-';
    struct decimal d = {0};
    uint64_t bits;
    double v;

    if (n > 0 && (*p == '-' || *p == '+'))
        p++;
    if (p < end && (*p == 'i' || *p == 'I'))
        return is_word(p, (size_t)(end - p), "inf") || is_word(p, (size_t)(end - p), "infinity")
                   ? NUMBER_RANGE
                   : NUMBER_NONE;
    p = take_digits(p, end, &d);
    if (p < end && *p == '.') {
        const char *point = ++p;

        p = take_digits(p, end, &d);
        d.e = point - p;
    }
    if (d.digits == 0)
        return NUMBER_NONE;
    if (p < end && (*p == 'e' || *p == 'E') && !(p = take_exponent(p + 1, end, &d)))
        return NUMBER_NONE;
    if (p != end)
        return NUMBER_NONE;
    if (d.digits > DIGITS_MAX || d.e > POWER_MAX || d.e < -POWER_MAX)
        return parse_slowly(begin, n, ret);
    v = d.e < 0 ? (double)d.w / POWERS[-d.e] : (double)d.w * POWERS[d.e];
    memcpy(&bits, &v, sizeof(bits));
    bits = (bits & 0x1fffffff) - (0x10000000 - MIDDLE_MARGIN);
    if (bits <= 2 * MIDDLE_MARGIN || ((v < 1.2e-38 || v > 3.4e38) && d.w != 0))
        return parse_slowly(begin, n, ret);
    *ret = negative ? -(float)v : (float)v;
    return NUMBER_OK;
}

struct slice value_trim(const char *p, size_t n)
{
    while (n > 0 && (*p == ' ' || *p == '\t')) {
        p++;
        n--;
    }
    while (n > 0 && (p[n - 1] == ' ' || p[n - 1] == '\t'))
        n--;
    return (struct slice){p, n};
}

enum number number_parse(const char *p, size_t n, float *ret)
{
    struct slice s = value_trim(p, n);

    return parse(s.p, s.n, ret);
}

bool value_is_missing(const char *p, size_t n)
{
    struct slice s = value_trim(p, n);

    switch (s.n) {
    case 0:
        return true;
    case 1:
        return s.p[0] == '?';
    case 2:
        return is_word(s.p, s.n, "na");
    case 3:
        return is_word(s.p, s.n, "nan") || is_word(s.p, s.n, "n/a");
    case 4:
        return is_word(s.p, s.n, "null");
    default:
        return false;
    }
}

bool bool_parse(const char *p, size_t n, bool is_declared, float *ret)
{
    static const char *const yes[] = {"true", "yes", "t", "y", "1"};
    static const char *const no[] = {"false", "no", "f", "n", "0"};
    struct slice s = value_trim(p, n);

    for (size_t i = 0; i < (is_declared ? ARRAY_LEN(yes) : 2); i++) {
        if (is_word(s.p, s.n, yes[i]) || is_word(s.p, s.n, no[i])) {
            *ret = is_word(s.p, s.n, yes[i]) ? 1 : 0;
            return true;
        }
    }
    return false;
}

enum value_kind value_kind(const char *p, size_t n)
{
    double seconds;
    float v;

    if (value_is_missing(p, n))
        return KIND_MISSING;
    if (number_parse(p, n, &v) != NUMBER_NONE)
        return KIND_NUMBER;
    if (date_parse(p, n, &seconds))
        return KIND_DATE;
    return bool_parse(p, n, false, &v) ? KIND_BOOL : KIND_TEXT;
}
