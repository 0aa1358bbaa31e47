#include "agents/serve/scan.h"

#include <math.h>
#include <string.h>

/* Takes c, blanks before it passed over; false when something else is there. */
static bool scan_take(struct scan *s, char c);

/* Errors name what was expected and the byte.  0 or -1. */
static int scan_expect(struct scan *s, char c, struct err *err) WARN_UNUSED;

enum { NUMBER_MAX_CHARS = 1000 }; /* longer ones are no measurements */

struct scan scan_on(struct slice text)
{
    return (struct scan){.begin = text.p, .p = text.p, .end = text.n ? text.p + text.n : text.p};
}

static int bad(const struct scan *s, const char *what, struct err *err)
{
    return err_inval(err, "JSON, byte %zu: %s", (size_t)(s->p - s->begin), what);
}

static void pass_blanks(struct scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\r' || *s->p == '\t'))
        s->p++;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

enum scan_kind scan_peek(struct scan *s)
{
    pass_blanks(s);
    if (s->p == s->end)
        return SCAN_END;
    switch (*s->p) {
    case '{':
        return SCAN_OBJECT;
    case '[':
        return SCAN_ARRAY;
    case '"':
        return SCAN_STRING;
    case 't':
        return SCAN_TRUE;
    case 'f':
        return SCAN_FALSE;
    case 'n':
        return SCAN_NULL;
    default:
        return *s->p == '-' || is_digit(*s->p) ? SCAN_NUMBER : SCAN_OTHER;
    }
}

const char *scan_kind_str(enum scan_kind k)
{
    static const char *const words[] = {"nothing",  "an object", "an array",
                                        "a string", "a number",  "true",
                                        "false",    "null",      "no JSON value"};
    return words[(unsigned)k <= SCAN_OTHER ? k : SCAN_OTHER];
}

static bool scan_take(struct scan *s, char c)
{
    pass_blanks(s);
    if (s->p == s->end || *s->p != c)
        return false;
    s->p++;
    return true;
}

static int scan_expect(struct scan *s, char c, struct err *err)
{
    char what[] = "'?' is expected";

    if (scan_take(s, c))
        return 0;
    what[1] = c;
    return bad(s, s->p == s->end ? "the text ends too early" : what, err);
}

static int take_word(struct scan *s, const char *word, struct err *err)
{
    size_t n = strlen(word);

    pass_blanks(s);
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
        return bad(s, "true, false or null is misspelt", err);
    s->p += n;
    return 0;
}

int scan_bool(struct scan *s, bool *ret, struct err *err)
{
    bool is_true = scan_peek(s) == SCAN_TRUE;

    if (take_word(s, is_true ? "true" : "false", err))
        return -1;
    *ret = is_true;
    return 0;
}

int scan_null(struct scan *s, struct err *err)
{
    return take_word(s, "null", err);
}

/* ---- strings ---- */

static int hex4(const char *p)
{
    int v = 0;

    for (int i = 0; i < 4; i++) {
        char c = (char)(p[i] | 0x20);

        if (is_digit(p[i]))
            v = v * 16 + (p[i] - '0');
        else if (c >= 'a' && c <= 'f')
            v = v * 16 + (c - 'a' + 10);
        else
            return -1;
    }
    return v;
}

static char *put_utf8(char *out, uint32_t code)
{
    if (code < 0x80) {
        *out++ = (char)code;
    } else if (code < 0x800) {
        *out++ = (char)(0xc0 | code >> 6);
        *out++ = (char)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        *out++ = (char)(0xe0 | code >> 12);
        *out++ = (char)(0x80 | (code >> 6 & 0x3f));
        *out++ = (char)(0x80 | (code & 0x3f));
    } else {
        *out++ = (char)(0xf0 | code >> 18);
        *out++ = (char)(0x80 | (code >> 12 & 0x3f));
        *out++ = (char)(0x80 | (code >> 6 & 0x3f));
        *out++ = (char)(0x80 | (code & 0x3f));
    }
    return out;
}

/* The four digits after \u, and the second half of a pair; *p is behind them afterwards. */
static bool take_unicode(const char **p, const char *end, uint32_t *ret)
{
    int high, low;

    if (end - *p < 4 || (high = hex4(*p)) <= 0)
        return false;
    *p += 4;
    if (high >= 0xdc00 && high <= 0xdfff)
        return false;
    if (high < 0xd800 || high > 0xdbff) {
        *ret = (uint32_t)high;
        return true;
    }
    if (end - *p < 6 || (*p)[0] != '\\' || (*p)[1] != 'u')
        return false;
    low = hex4(*p + 2);
    if (low < 0xdc00 || low > 0xdfff)
        return false;
    *p += 6;
    *ret = 0x10000 + ((uint32_t)(high - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
    return true;
}

static char *put_escape(const char **p, const char *end, char *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *found;
    uint32_t code;

    if (*p == end)
        return NULL;
    if (**p == 'u') {
        ++*p;
        return take_unicode(p, end, &code) ? put_utf8(out, code) : NULL;
    }
    found = **p ? strchr(from, **p) : NULL;
    if (!found)
        return NULL;
    ++*p;
    *out++ = to[found - from];
    return out;
}

/* Text between the quotes with escapes in it; never longer decoded than written. */
static int decode(struct scan *s, struct slice raw, struct arena *arena, struct slice *ret,
                  struct err *err)
{
    char *text = arena_alloc(arena, raw.n + 1), *out = text;
    const char *p = raw.p, *end = raw.p + raw.n;

    while (p < end) {
        if (*p != '\\') {
            *out++ = *p++;
            continue;
        }
        p++;
        out = put_escape(&p, end, out);
        if (!out) {
            s->p = p;
            return bad(s, "the escape in this string is malformed", err);
        }
    }
    *ret = (struct slice){text, (size_t)(out - text)};
    return 0;
}

/* To the closing quote.  The text between is checked as far as it can be without decoding it. */
static int raw_string(struct scan *s, struct slice *ret, bool *ret_escaped, struct err *err)
{
    bool is_escaped = false, is_ascii = true;
    const char *p;

    if (scan_expect(s, '"', err))
        return -1;
    for (p = s->p; p < s->end && *p != '"'; p++) {
        if ((unsigned char)*p < 0x20) {
            s->p = p;
            return bad(s, "a control character in a string must be escaped", err);
        }
        is_ascii = is_ascii && (unsigned char)*p < 0x80;
        if (*p == '\\') {
            is_escaped = true;
            if (++p == s->end)
                break;
        }
    }
    if (p >= s->end)
        return bad(s, "this string has no end", err);
    *ret = (struct slice){s->p, (size_t)(p - s->p)};
    if (!is_ascii && !slice_is_utf8(*ret))
        return bad(s, "this string is not UTF-8", err);
    *ret_escaped = is_escaped;
    s->p = p + 1;
    return 0;
}

int scan_string(struct scan *s, struct arena *arena, struct slice *ret, struct err *err)
{
    struct slice raw = {0};
    bool is_escaped = false;

    if (raw_string(s, &raw, &is_escaped, err))
        return -1;
    if (is_escaped)
        return decode(s, raw, arena, ret, err);
    *ret = raw;
    return 0;
}

/* ---- numbers ---- */

struct number { /* while it is taken */
    uint64_t mantissa;
    int digits, exponent; /* significant digits in the mantissa; power of ten */
};

static void add_digits(struct scan *s, struct number *n, bool is_fraction)
{
    enum { MOST_DIGITS = 19 }; /* of a uint64_t */

    for (; s->p < s->end && is_digit(*s->p); s->p++) {
        if (n->digits < MOST_DIGITS) {
            n->mantissa = n->mantissa * 10 + (uint64_t)(*s->p - '0');
            n->digits += n->mantissa > 0;
            n->exponent -= is_fraction;
        } else {
            n->digits++; /* more than fit: the slow way */
        }
    }
}

static int take_exponent(struct scan *s, struct number *n, struct err *err)
{
    bool is_negative;
    int v = 0;

    if (s->p == s->end || (*s->p != 'e' && *s->p != 'E'))
        return 0;
    s->p++;
    is_negative = s->p < s->end && *s->p == '-';
    if (s->p < s->end && (*s->p == '-' || *s->p == '+'))
        s->p++;
    if (s->p == s->end || !is_digit(*s->p))
        return bad(s, "the exponent has no digits", err);
    for (; s->p < s->end && is_digit(*s->p); s->p++)
        v = v < 100000 ? v * 10 + (*s->p - '0') : v;
    n->exponent += is_negative ? -v : v;
    return 0;
}

/* Exact when mantissa and power of ten are both exact doubles (Clinger 1990); else false. */
static bool quick(const struct number *n, double *ret)
{
    static const double tens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                  1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                  1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    double v = (double)n->mantissa;

    if (n->digits > 19 || n->mantissa > (uint64_t)1 << 53 || n->exponent < -22 || n->exponent > 22)
        return false;
    *ret = n->exponent < 0 ? v / tens[-n->exponent] : v * tens[n->exponent];
    return true;
}

static int slow(struct scan *s, struct slice text, double *ret, struct err *err)
{
    char copy[NUMBER_MAX_CHARS + 1];

    if (text.n > NUMBER_MAX_CHARS)
        return bad(s, "the number has more than 1,000 characters", err);
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    if (str_to_double(copy, ret))
        return bad(s, "the number is beyond what a double holds", err);
    return 0;
}

int scan_number(struct scan *s, struct slice *ret_text, double *ret, struct err *err)
{
    struct number n = {0};
    bool is_negative;
    const char *begin;
    double v = 0;

    pass_blanks(s);
    begin = s->p;
    is_negative = s->p < s->end && *s->p == '-';
    s->p += is_negative;
    if (s->p == s->end || !is_digit(*s->p))
        return bad(s, "a number is expected", err);
    if (*s->p == '0' && s->p + 1 < s->end && is_digit(s->p[1]))
        return bad(s, "a number may not begin with 0", err);
    add_digits(s, &n, false);
    if (s->p < s->end && *s->p == '.') {
        s->p++;
        if (s->p == s->end || !is_digit(*s->p))
            return bad(s, "a digit must follow the point", err);
        add_digits(s, &n, true);
    }
    if (take_exponent(s, &n, err))
        return -1;
    *ret_text = (struct slice){begin, (size_t)(s->p - begin)};
    if (quick(&n, &v)) {
        *ret = is_negative ? -v : v;
        return 0;
    }
    return slow(s, *ret_text, ret, err);
}

/* ---- structure ---- */

int scan_member(struct scan *s, bool *first, struct arena *arena, struct slice *ret_key,
                struct err *err)
{
    if (*first && scan_expect(s, '{', err))
        return -1;
    if (scan_take(s, '}'))
        return 0;
    if (!*first && scan_expect(s, ',', err))
        return -1;
    *first = false;
    if (scan_string(s, arena, ret_key, err) || scan_expect(s, ':', err))
        return -1;
    return 1;
}

int scan_element(struct scan *s, bool *first, struct err *err)
{
    if (*first && scan_expect(s, '[', err))
        return -1;
    if (scan_take(s, ']'))
        return 0;
    if (!*first && scan_expect(s, ',', err))
        return -1;
    *first = false;
    return 1;
}

/* One value that is no list or object. */
static int skip_scalar(struct scan *s, struct arena *arena, struct err *err)
{
    struct slice text;
    double v;
    bool b;

    switch (scan_peek(s)) {
    case SCAN_STRING:
        return scan_string(s, arena, &text, err);
    case SCAN_NUMBER:
        return scan_number(s, &text, &v, err);
    case SCAN_TRUE:
    case SCAN_FALSE:
        return scan_bool(s, &b, err);
    case SCAN_NULL:
        return scan_null(s, err);
    default:
        return bad(s, s->p == s->end ? "the text ends too early" : "a value is expected", err);
    }
}

/* Without recursion: a stack of what is open, as bits. */
struct nest {
    uint64_t is_object; /* bit i: level i */
    int levels;
    bool is_first; /* nothing of the innermost one has been taken yet */
};

static int open_level(struct scan *s, struct nest *n, bool is_object, struct err *err)
{
    if (n->levels == SCAN_MAX_LEVELS)
        return bad(s, "more than 64 levels", err);
    s->p++;
    n->is_object = is_object ? n->is_object | (uint64_t)1 << n->levels
                             : n->is_object & ~((uint64_t)1 << n->levels);
    n->levels++;
    n->is_first = true;
    return 0;
}

/* Closes what ends here; then, when something is still open, takes what stands before its next
 * value. */
static int close_levels(struct scan *s, struct nest *n, struct arena *arena, struct err *err)
{
    struct slice key;

    while (n->levels > 0) {
        bool is_object = n->is_object >> (n->levels - 1) & 1;

        if (scan_take(s, is_object ? '}' : ']')) {
            n->levels--;
            n->is_first = false;
            continue;
        }
        if (!n->is_first && scan_expect(s, ',', err))
            return -1;
        n->is_first = false;
        if (is_object && (scan_string(s, arena, &key, err) || scan_expect(s, ':', err)))
            return -1;
        return 0;
    }
    return 0;
}

int scan_skip(struct scan *s, struct slice *ret, struct err *err)
{
    struct nest n = {0};
    struct arena arena = {0}; /* decoded strings, to check their escapes */
    const char *begin;
    int rc = 0;

    (void)scan_peek(s);
    begin = s->p;
    do {
        enum scan_kind k = scan_peek(s);

        if (k == SCAN_OBJECT || k == SCAN_ARRAY)
            rc = open_level(s, &n, k == SCAN_OBJECT, err);
        else
            rc = skip_scalar(s, &arena, err);
        if (!rc)
            rc = close_levels(s, &n, &arena, err);
    } while (!rc && n.levels > 0);
    arena_fini(&arena);
    if (!rc && ret)
        *ret = (struct slice){begin, (size_t)(s->p - begin)};
    return rc;
}
