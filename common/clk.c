#include "common/clk.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    US_PER_S = 1000000,
    S_PER_DAY = 86400,
};

static int64_t system_unix_us(void *ctx)
{
    struct timespec t;

    (void)ctx;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * US_PER_S + t.tv_nsec / 1000;
}

int64_t clk_mono_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t system_mono_ms(void *ctx)
{
    (void)ctx;
    return clk_mono_ns() / 1000000;
}

const struct clk clk_system = {.unix_us = system_unix_us, .mono_ms = system_mono_ms};

int64_t clk_unix_us(const struct clk *c)
{
    return c->unix_us(c->ctx);
}

/* Rounds down, before 1970 too. */
static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

int64_t clk_unix_ms(const struct clk *c)
{
    return floor_div(clk_unix_us(c), 1000);
}

int64_t clk_mono_ms(const struct clk *c)
{
    return c->mono_ms(c->ctx);
}

int64_t clk_us_of_ms(int64_t unix_ms)
{
    const int64_t year_10000 = 253402300800000;

    return unix_ms > 0 && unix_ms < year_10000 ? unix_ms * 1000 : 0;
}

/* --- the calendar: proleptic Gregorian, UTC, years 0 to 9999 ------------------------------------
 */

static bool is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int64_t days_in_month(int64_t year, int month)
{
    static const int8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return days[month - 1] + (month == 2 && is_leap(year));
}

/* Days from 1970-01-01 to January 1st of a year, 0 to 10000. */
static int64_t days_before_year(int64_t year)
{
    const int64_t before_1970 = 719528; /* from January 1st of year 0 */
    int64_t y = year - 1;

    if (year == 0)
        return -before_1970;
    return 366 + y * 365 + y / 4 - y / 100 + y / 400 - before_1970;
}

static int64_t days_from_date(int64_t year, int month, int64_t day)
{
    int64_t days = days_before_year(year);

    for (int m = 1; m < month; m++)
        days += days_in_month(year, m);
    return days + day - 1;
}

/* By hand: every event has its time, and snprintf was a quarter of making its headers. */
static void put_number(char *out, int digits, int64_t v)
{
    for (; digits > 0; digits--, v /= 10)
        out[digits - 1] = (char)('0' + v % 10);
}

void clk_format(int64_t unix_us, char out[CLK_RFC3339_SIZE])
{
    static const char form[] = "0000-00-00T00:00:00.000000Z";
    const int64_t first = days_before_year(0) * S_PER_DAY * US_PER_S;
    const int64_t last = days_before_year(10000) * S_PER_DAY * US_PER_S - 1;
    int64_t us = unix_us < first ? first : unix_us > last ? last : unix_us;
    int64_t seconds = floor_div(us, US_PER_S), days = floor_div(seconds, S_PER_DAY);
    int64_t of_day = seconds - days * S_PER_DAY, fraction = us - seconds * US_PER_S;
    int64_t year = 1970 + floor_div(days * 400, 146097); /* off by one at most */
    int month = 1;

    while (year > 0 && days_before_year(year) > days)
        year--;
    while (days_before_year(year + 1) <= days)
        year++;
    days -= days_before_year(year);
    for (; days >= days_in_month(year, month); month++)
        days -= days_in_month(year, month);
    memcpy(out, form, sizeof(form));
    put_number(out, 4, year);
    put_number(out + 5, 2, month);
    put_number(out + 8, 2, days + 1);
    put_number(out + 11, 2, of_day / 3600);
    put_number(out + 14, 2, of_day / 60 % 60);
    put_number(out + 17, 2, of_day % 60);
    put_number(out + 20, 6, fraction);
}

/* Exactly `digits` digits at *p; -1 when they are none. */
static int64_t take_number(const char **p, int digits)
{
    int64_t v = 0;

    for (; digits > 0; digits--, (*p)++) {
        if (**p < '0' || **p > '9')
            return -1;
        v = v * 10 + (**p - '0');
    }
    return v;
}

static bool take_char(const char **p, char c)
{
    if (**p != c)
        return false;
    (*p)++;
    return true;
}

/* ".5", ".123456789": microseconds, further digits are cut; -1 when no digit follows the point. */
static int64_t take_fraction_us(const char **p)
{
    int64_t us = 0, scale = US_PER_S / 10;

    if (!take_char(p, '.') && !take_char(p, ','))
        return 0;
    if (**p < '0' || **p > '9')
        return -1;
    for (; **p >= '0' && **p <= '9'; (*p)++, scale /= 10)
        us += (**p - '0') * scale;
    return us;
}

/* "Z", "+01:00", "-0530": seconds east of UTC. */
static int take_offset_s(const char **p, int64_t *ret)
{
    int64_t sign = **p == '-' ? -1 : 1, hours, minutes;

    if (take_char(p, 'Z') || take_char(p, 'z')) {
        *ret = 0;
        return 0;
    }
    if (!take_char(p, '+') && !take_char(p, '-'))
        return -1;
    hours = take_number(p, 2);
    if (hours < 0 || hours > 23)
        return -1;
    (void)take_char(p, ':');
    minutes = take_number(p, 2);
    if (minutes < 0 || minutes > 59)
        return -1;
    *ret = sign * (hours * 3600 + minutes * 60);
    return 0;
}

int clk_parse(const char *text, int64_t *ret_unix_us)
{
    const char *p = text;
    int64_t year, month, day, hour, minute, second, fraction_us, offset_s;

    year = take_number(&p, 4);
    if (year < 0 || !take_char(&p, '-'))
        return -1;
    month = take_number(&p, 2);
    if (month < 1 || month > 12 || !take_char(&p, '-'))
        return -1;
    day = take_number(&p, 2);
    if (day < 1 || day > days_in_month(year, (int)month))
        return -1;
    if (!take_char(&p, 'T') && !take_char(&p, 't') && !take_char(&p, ' '))
        return -1;
    hour = take_number(&p, 2);
    if (hour < 0 || hour > 23 || !take_char(&p, ':'))
        return -1;
    minute = take_number(&p, 2);
    if (minute < 0 || minute > 59 || !take_char(&p, ':'))
        return -1;
    second = take_number(&p, 2); /* 60, a leap second, becomes the next second */
    if (second < 0 || second > 60)
        return -1;
    fraction_us = take_fraction_us(&p);
    if (fraction_us < 0 || take_offset_s(&p, &offset_s) || *p)
        return -1;
    *ret_unix_us = (days_from_date(year, (int)month, day) * S_PER_DAY + hour * 3600 + minute * 60 +
                    second - offset_s) *
                       US_PER_S +
                   fraction_us;
    return 0;
}
