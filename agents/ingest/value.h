/* Cells of a table as values: numbers, dates, truth values, what counts as missing.  Pure; thread:
 * any. Text is a pointer and a length, not NUL-terminated; nothing is allocated. */
#ifndef INGEST_VALUE_H
#define INGEST_VALUE_H

#include "common/buf.h"

enum number {
    NUMBER_OK = 0,
    NUMBER_NONE, /* no decimal number */
    NUMBER_RANGE /* a number, but not finite as float32: "inf", "1e400", "3.5e38" */
};
/* The float32 nearest to the decimal text, ties to even: what strtof gives.  Blanks around are
 * passed over. Hexadecimal, "nan", digit grouping and a decimal comma are no numbers. */
enum number number_parse(const char *p, size_t n, float *ret);

/* ISO 8601: YYYY-MM-DD, then optionally T or a blank, HH:MM[:SS[.fraction]], then optionally Z,
 * +HH:MM or +HHMM.  Without an offset UTC.  Seconds since 1970. */
bool date_parse(const char *p, size_t n, double *ret_unix_s);

/* true, false, yes, no, in any case; is_declared: also t, f, y, n, 1, 0. */
bool bool_parse(const char *p, size_t n, bool is_declared, float *ret);

/* Empty, NA, N/A, NaN, null, "?": in any case, blanks around. */
bool value_is_missing(const char *p, size_t n);

/* What a cell looks like, for columns whose type nobody declared.  Every text is exactly one of
 * these, so a column that has two of them (missing aside) is a category. */
enum value_kind { KIND_MISSING = 0, KIND_NUMBER, KIND_DATE, KIND_BOOL, KIND_TEXT };
enum value_kind value_kind(const char *p, size_t n);

struct slice value_trim(const char *p, size_t n); /* without blanks and tabs at its ends */

#endif
