/* Clocks, passed in so that tests own time.  Wall time is for display and deadlines that people
 * set; order and fencing never rest on it.  Thread: any. */
#ifndef COMMON_CLK_H
#define COMMON_CLK_H

#include "common/base.h"

struct clk {
    int64_t (*unix_us)(void *ctx); /* wall clock, microseconds since 1970 */
    int64_t (*mono_ms)(void *ctx); /* monotonic */
    void *ctx;
};
extern const struct clk clk_system;
int64_t clk_unix_us(const struct clk *c);
int64_t clk_unix_ms(const struct clk *c);
int64_t clk_mono_ms(const struct clk *c);
int64_t clk_mono_ns(void); /* system monotonic, for measuring */

/* Clocks of machines may differ by so much. A time that lies further ahead was written by a clock
 * that was wrong then, or this one is now: nobody waits until it has come. */
enum { CLK_SKEW_MS = 300000 };

/* RFC 3339 in UTC with microseconds, "2026-11-23T14:05:06.123456Z" (27 chars + NUL). */
#define CLK_RFC3339_SIZE 32
void clk_format(int64_t unix_us, char out[CLK_RFC3339_SIZE]);
/* A time in ms from outside, which may be any number, in µs; 0 when it is not after 1970 or not
 * before the year 10000, as when it is absent. */
int64_t clk_us_of_ms(int64_t unix_ms);
/* 0 or -1; accepts offsets and no fraction. */
int clk_parse(const char *text, int64_t *ret_unix_us);

#endif
