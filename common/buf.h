/* struct slice borrows bytes, struct buf owns them.  {0} is a valid empty buf; every buf has a cap
 * (0 means BUF_CAP_DEFAULT_BYTES): writing beyond it sets `overflow` and drops that write and all
 * after it, to be checked once at the end.  data is always NUL-terminated when not NULL.  Thread:
 * any, one at a time. */
#ifndef COMMON_BUF_H
#define COMMON_BUF_H

#include "common/base.h"

#define BUF_CAP_DEFAULT_BYTES ((size_t)256 << 20)

struct slice {
    const char *p;
    size_t n;
};
struct buf {
    char *data;
    size_t len, alloc, cap;
    bool overflow;
};

struct slice slice_str(const char *s); /* NULL gives the empty slice */
struct slice buf_slice(const struct buf *b);
bool slice_eq(struct slice a, struct slice b);
bool slice_eq_str(struct slice a, const char *s);
bool slice_is_utf8(struct slice s);

void buf_init(struct buf *b, size_t cap_bytes);
void buf_fini(struct buf *b);  /* {0} again */
void buf_reset(struct buf *b); /* empty, memory kept */
void buf_add(struct buf *b, const void *p, size_t n);
void buf_add_str(struct buf *b, const char *s);
void buf_add_char(struct buf *b, char c);
void buf_addf(struct buf *b, const char *fmt, ...) PRINTF(2, 3);
void buf_reserve(struct buf *b, size_t extra_bytes); /* room at data + len, or overflow */
char *buf_take(struct buf *b); /* NUL-terminated, the caller's; b is empty. Never NULL. */

/* Bounded copy of a C string; always terminated; returns false when cut. */
bool str_copy(char *dst, size_t dst_size, const char *src);
bool str_has_prefix(const char *s, const char *prefix);
bool str_has_suffix(const char *s, const char *suffix);
/* Strict number parsing of a whole string (no blanks, no trailing text): 0 or -1. */
int str_to_i64(const char *s, int64_t *ret);
int str_to_double(const char *s, double *ret); /* C locale, finite only */
/* "30s" "10m" "2h" "1d" "250ms" "1h30m" -> milliseconds, a unit is required but for "0";
 * "2GiB" "64MiB" (1024), "10k" "3MB" (1000), "512" -> bytes; 0 or -1. */
int str_to_duration_ms(const char *s, int64_t *ret_ms);
int str_to_size_bytes(const char *s, int64_t *ret_bytes);
/* Text that reads back as the same double, of 15, 16 or 17 significant digits, the fewest that do;
 * "nan", "inf", "-inf".  No locale changes it. */
void double_to_str(double v, char out[32]);

#endif
