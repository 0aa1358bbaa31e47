/* Numbers as text, both ways.  All of it is strict (a whole string or nothing) and independent of
 * the process's locale, which a linked library may set. */
#include "common/buf.h"

#include <ctype.h>
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static locale_t c_locale;
static pthread_once_t c_locale_once = PTHREAD_ONCE_INIT;

static void make_c_locale(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    BUG_ON(!c_locale);
}

static locale_t get_c_locale(void)
{
    pthread_once(&c_locale_once, make_c_locale);
    return c_locale;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

int str_to_i64(const char *s, int64_t *ret)
{
    bool negative = s[0] == '-';
    const char *p = s + (negative || s[0] == '+');
    uint64_t limit = (uint64_t)INT64_MAX + (negative ? 1 : 0), v = 0;

    if (!*p)
        return -1;
    for (; *p; p++) {
        uint64_t digit = (uint64_t)(*p - '0');

        if (!is_digit(*p) || v > (limit - digit) / 10)
            return -1;
        v = v * 10 + digit;
    }
    *ret = negative ? (int64_t)(0 - v) : (int64_t)v;
    return 0;
}

int str_to_double(const char *s, double *ret)
{
    const char *first = s + (s[0] == '-' || s[0] == '+');
    char *end;
    double v;

    /* strtod also takes blanks, hexadecimal, "inf" and "nan" */
    if (!is_digit(*first) && !(*first == '.' && is_digit(first[1])))
        return -1;
    if (first[0] == '0' && (first[1] == 'x' || first[1] == 'X'))
        return -1;
    v = strtod_l(s, &end, get_c_locale());
    if (*end || !isfinite(v))
        return -1;
    *ret = v;
    return 0;
}

struct unit {
    const char *name;
    int64_t factor;
};

/* Digits at *s as a number; *s moves behind them; -1 when there are none or too many. */
static int64_t take_digits(const char **s)
{
    int64_t v = 0;

    if (!is_digit(**s))
        return -1;
    for (; is_digit(**s); (*s)++) {
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, **s - '0', &v))
            return -1;
    }
    return v;
}

/* The unit named by exactly the letters at *s; *s moves behind them. */
static const struct unit *take_unit(const char **s, const struct unit *units)
{
    size_t n = 0;

    while (isalpha((unsigned char)(*s)[n]))
        n++;
    for (; units->name; units++) {
        if (strlen(units->name) == n && strncmp(units->name, *s, n) == 0) {
            *s += n;
            return units;
        }
    }
    return NULL;
}

int str_to_duration_ms(const char *s, int64_t *ret_ms)
{
    static const struct unit units[] = {
        {"ms", 1},       {"s", 1000},      {"m", 60000}, {"h", 3600000},
        {"d", 86400000}, {"w", 604800000}, {0},
    };
    int64_t total = 0, before = INT64_MAX;

    if (strcmp(s, "0") == 0) { /* the one number whose unit does not matter */
        *ret_ms = 0;
        return 0;
    }
    do {
        int64_t v = take_digits(&s);
        const struct unit *unit = v < 0 ? NULL : take_unit(&s, units);

        if (!unit || unit->factor >= before) /* "1h30m", not "30m1h" */
            return -1;
        before = unit->factor;
        if (__builtin_mul_overflow(v, unit->factor, &v) || __builtin_add_overflow(total, v, &total))
            return -1;
    } while (*s);
    *ret_ms = total;
    return 0;
}

int str_to_size_bytes(const char *s, int64_t *ret_bytes)
{
    static const struct unit units[] = {
        {"", 1},
        {"B", 1},
        {"k", 1000},
        {"kB", 1000},
        {"K", 1000},
        {"KB", 1000},
        {"M", 1000000},
        {"MB", 1000000},
        {"G", 1000000000},
        {"GB", 1000000000},
        {"T", 1000000000000},
        {"TB", 1000000000000},
        {"Ki", (int64_t)1 << 10},
        {"KiB", (int64_t)1 << 10},
        {"Mi", (int64_t)1 << 20},
        {"MiB", (int64_t)1 << 20},
        {"Gi", (int64_t)1 << 30},
        {"GiB", (int64_t)1 << 30},
        {"Ti", (int64_t)1 << 40},
        {"TiB", (int64_t)1 << 40},
        {0},
    };
    int64_t v = take_digits(&s);
    const struct unit *unit = v < 0 ? NULL : take_unit(&s, units);

    if (!unit || *s || __builtin_mul_overflow(v, unit->factor, &v))
        return -1;
    *ret_bytes = v;
    return 0;
}

void double_to_str(double v, char out[32])
{
    locale_t c = get_c_locale(), before;

    if (isnan(v) || isinf(v)) {
        str_copy(out, 32, isnan(v) ? "nan" : v > 0 ? "inf" : "-inf");
        return;
    }
    before = uselocale(c);
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(out, 32, "%.*g", digits, v);
        if (digits == 17 || strtod_l(out, NULL, c) == v)
            break;
    }
    uselocale(before);
}
