#include "agents/ingest/value.h"

struct scan {
    const char *p, *end;
};

/* Exactly n digits as a number, -1 when there are not so many. */
static int take(struct scan *s, int n)
{
    int v = 0;

    if (s->end - s->p < n)
        return -1;
    for (int i = 0; i < n; i++, s->p++) {
        if ((unsigned char)(*s->p - '0') >= 10)
            return -1;
        v = v * 10 + (*s->p - '0');
    }
    return v;
}

static bool take_char(struct scan *s, char c)
{
    if (s->p == s->end || *s->p != c)
        return false;
    s->p++;
    return true;
}

static int days_in_month(int y, int m)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return days[m - 1] + (m == 2 && y % 4 == 0 && (y % 100 != 0 || y % 400 == 0) ? 1 : 0);
}

/* Days since 1970-01-01 in the proleptic Gregorian calendar: years begin in March, so that the leap
 * day is the last of its year. */
static int64_t days_since_1970(int y, int m, int d)
{
    int64_t year = m <= 2 ? y - 1 : y;
    int64_t month = m <= 2 ? m + 9 : m - 3; /* March is 0 */
    int64_t era_days = year * 365 + year / 4 - year / 100 + year / 400;

    return era_days + (month * 153 + 2) / 5 + d - 1 - 719468;
}

static bool take_date(struct scan *s, double *ret)
{
    int y = take(s, 4), m, d;

    if (y < 1 || !take_char(s, '-'))
        return false;
    m = take(s, 2);
    if (m < 1 || m > 12 || !take_char(s, '-'))
        return false;
    d = take(s, 2);
    if (d < 1 || d > days_in_month(y, m))
        return false;
    *ret = 86400.0 * (double)days_since_1970(y, m, d);
    return true;
}

/* Digits behind a point. */
static bool take_fraction(struct scan *s, double *ret)
{
    const char *begin = s->p;
    double unit = 0.1;

    while (s->p < s->end && (unsigned char)(*s->p - '0') < 10) {
        *ret += unit * (*s->p++ - '0');
        unit /= 10;
    }
    return s->p > begin;
}

static bool take_clock(struct scan *s, double *ret)
{
    int h = take(s, 2), m, sec = 0;
    double fraction = 0;

    if (h < 0 || h > 23 || !take_char(s, ':'))
        return false;
    m = take(s, 2);
    if (m < 0 || m > 59)
        return false;
    if (take_char(s, ':')) {
        sec = take(s, 2);
        if (sec < 0 || sec > 60) /* 60: a leap second counts as the next one */
            return false;
        if (take_char(s, '.') && !take_fraction(s, &fraction))
            return false;
    }
    *ret += 3600.0 * h + 60.0 * m + sec + fraction;
    return true;
}

static bool take_offset(struct scan *s, double *ret)
{
    int sign, h, m = 0;

    if (take_char(s, 'Z') || take_char(s, 'z'))
        return true;
    if (s->p == s->end)
        return true;
    if (*s->p != '+' && *s->p != '-')
        return false;
    sign = *s->p++ == '+' ? 1 : -1;
    h = take(s, 2);
    if (h < 0 || h > 23)
        return false;
    if (take_char(s, ':') || s->p < s->end)
        m = take(s, 2);
    if (m < 0 || m > 59)
        return false;
    *ret -= sign * (3600.0 * h + 60.0 * m);
    return true;
}

bool date_parse(const char *p, size_t n, double *ret_unix_s)
{
    struct slice t = value_trim(p, n);
    struct scan s = {t.p, t.p + t.n};
    double v;

    if (t.n < 10 || t.p[4] != '-' || !take_date(&s, &v))
        return false;
    if (s.p < s.end) {
        if (!take_char(&s, 'T') && !take_char(&s, 't') && !take_char(&s, ' '))
            return false;
        if (!take_clock(&s, &v) || !take_offset(&s, &v))
            return false;
    }
    if (s.p != s.end)
        return false;
    *ret_unix_s = v;
    return true;
}
