/* 64 bytes at a time become four bit masks (comma, line feed, quote, NUL).  Which bytes are inside
 * of quotes follows from a prefix sum modulo 2 over the quote mask; the delimiters outside are then
 * visited bit by bit.  So a byte that is no delimiter costs a sixteenth of a few vector
 * instructions.  Quotes are looked at closely only in rows that have one.
 *
 * `buf` holds the row at hand and what was fed behind it; complete rows are dropped when the next
 * piece comes. */
#include "agents/ingest/csv.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "common/mem.h"

enum {
    BLOCK = 64,
    PIECE_BYTES = 256 << 10, /* fed at a time: stays in the second-level cache */
    SMALL_BYTES = 16 << 10,  /* what is shorter needs no more memory */
    SLACK_BYTES = BLOCK,     /* readable behind all text: a block, and what number_fast asks for */
};

struct csv {
    csv_row_fn on_row;
    void *ctx;
    char *buf;
    size_t cap;                      /* of buf, without SLACK_BYTES */
    size_t len;                      /* bytes in buf */
    size_t scan;                     /* first byte not looked at yet */
    size_t row_start;                /* of the row at hand */
    uint64_t inside;                 /* all ones: `scan` is inside of quotes */
    bool has_quote;                  /* in the row at hand, perhaps */
    bool begun;                      /* the byte order mark has been dealt with */
    size_t ends[CSV_MAX_FIELDS + 1]; /* where each field of the row at hand ends */
    size_t n_ends;
    int64_t row, line;
    struct slice fields[CSV_MAX_FIELDS + 1];
    char *scratch; /* unquoted fields, then the row's text */
    size_t scratch_cap, scratch_used;
};

struct csv *csv_new(csv_row_fn on_row, void *ctx)
{
    struct csv *c = xcalloc(1, sizeof(*c));

    c->on_row = on_row;
    c->ctx = ctx;
    c->line = 1;
    return c;
}

void csv_free(struct csv *c)
{
    if (!c)
        return;
    free(c->buf);
    free(c->scratch);
    free(c);
}

static int bad_row(const struct csv *c, struct err *err, const char *what)
{
    if (c->row == 0)
        return err_inval(err, "the header (line %lld) %s", (long long)c->line, what);
    return err_inval(err, "row %lld (line %lld) %s", (long long)c->row, (long long)c->line, what);
}

/* ---- quoted fields ---- */

/* Undoubles quotes into scratch; -1 when the field breaks the rules. */
static int unquote(struct csv *c, size_t i, struct err *err)
{
    struct slice *f = &c->fields[i];
    const char *p = f->p + 1, *end = f->p + f->n - 1;
    char *out = c->scratch + c->scratch_used, *to = out;
    char what[160];

    if (f->p[0] != '"' || f->n < 2 || *end != '"') {
        snprintf(what, sizeof(what),
                 f->p[0] == '"' ? "has text behind the closing quote of field %zu"
                                : "has a quote inside of field %zu, which does not begin with one",
                 i + 1);
        return bad_row(c, err, what);
    }
    while (p < end) {
        if (*p == '"' && (p + 1 == end || *++p != '"')) {
            snprintf(what, sizeof(what), "has text behind the closing quote of field %zu", i + 1);
            return bad_row(c, err, what);
        }
        *to++ = *p++;
    }
    *f = (struct slice){out, (size_t)(to - out)};
    c->scratch_used += f->n;
    return 0;
}

/* Fields with commas between them; a comma inside of one has a NUL before it, which no field can
 * have. */
static struct slice joined(struct csv *c)
{
    char *begin = c->scratch + c->scratch_used, *to = begin;

    for (size_t i = 0; i < c->n_ends; i++) {
        if (i > 0)
            *to++ = ',';
        for (size_t k = 0; k < c->fields[i].n; k++) {
            if (c->fields[i].p[k] == ',')
                *to++ = '\0';
            *to++ = c->fields[i].p[k];
        }
    }
    return (struct slice){begin, (size_t)(to - begin)};
}

static int quoted_row(struct csv *c, struct slice *ret_text, struct err *err)
{
    bool any = false;

    /* unquoted fields, and then at most twice as much with every comma marked */
    if (c->scratch_cap < 3 * ret_text->n + SLACK_BYTES)
        c->scratch = xgrow(c->scratch, &c->scratch_cap, 3 * ret_text->n + SLACK_BYTES, 1);
    c->scratch_used = 0;
    for (size_t i = 0; i < c->n_ends; i++) {
        if (c->fields[i].n == 0 || !memchr(c->fields[i].p, '"', c->fields[i].n))
            continue;
        any = true;
        if (unquote(c, i, err))
            return -1;
    }
    if (any)
        *ret_text = joined(c);
    return 0;
}

static int64_t count_breaks(struct slice s)
{
    const char *p = s.p, *end = s.p + s.n;
    int64_t n = 0;

    while (p < end && (p = memchr(p, '\n', (size_t)(end - p)))) {
        n++;
        p++;
    }
    return n;
}

/* ---- rows ---- */

/* The row at hand ends at `end` (a line feed or the end of all). */
static int take_row(struct csv *c, size_t end, struct err *err)
{
    size_t begin = c->row_start, last = end;
    struct slice text;
    int64_t lines = 1;

    if (last > begin && c->buf[last - 1] == '\r')
        last--;
    text = (struct slice){c->buf + begin, last - begin};
    c->row_start = end + 1;
    c->ends[c->n_ends++] = last;
    for (size_t i = 0, at = begin; i < c->n_ends; at = c->ends[i++] + 1)
        c->fields[i] = (struct slice){c->buf + at, c->ends[i] - at};
    if (text.n > CSV_ROW_MAX_BYTES)
        return bad_row(c, err, "is longer than 1 MiB");
    if (c->has_quote) {
        lines += count_breaks(text);
        if (quoted_row(c, &text, err))
            return -1;
    }
    if (text.n > 0 || c->n_ends > 1) {
        struct csv_row row = {c->fields, c->n_ends, c->row, c->line, text};

        if (c->on_row(c->ctx, &row, err))
            return -1;
        c->row++;
    }
    c->line += lines;
    c->n_ends = 0;
    return 0;
}

/* ---- blocks ---- */

struct masks {
    uint64_t comma, feed, quote, nul;
};

#ifdef __SSE2__
static uint64_t equal(const __m128i v[4], char c)
{
    const __m128i want = _mm_set1_epi8(c);
    uint64_t mask = 0;

    for (unsigned i = 0; i < 4; i++)
        mask |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v[i], want)) << (16 * i);
    return mask;
}

static struct masks look(const char *p)
{
    __m128i v[4];

    for (size_t i = 0; i < 4; i++)
        v[i] = _mm_loadu_si128((const __m128i *)(const void *)(p + 16 * i));
    return (struct masks){equal(v, ','), equal(v, '\n'), equal(v, '"'), equal(v, '\0')};
}
#else
static struct masks look(const char *p)
{
    struct masks m = {0};

    for (size_t i = 0; i < BLOCK; i++) {
        m.comma |= (uint64_t)(p[i] == ',') << i;
        m.feed |= (uint64_t)(p[i] == '\n') << i;
        m.quote |= (uint64_t)(p[i] == '"') << i;
        m.nul |= (uint64_t)(p[i] == '\0') << i;
    }
    return m;
}
#endif

/* Bit i of the result is the parity of bits 0..i. */
static uint64_t prefix_parity(uint64_t m)
{
    for (int shift = 1; shift < 64; shift *= 2)
        m ^= m << shift;
    return m;
}

static int nul_byte(struct csv *c, struct err *err)
{
    return bad_row(c, err, "has a NUL byte: this is no text in UTF-8");
}

/* Looks at the block at c->scan, of which `valid` bytes count. */
static int take_block(struct csv *c, uint64_t valid, struct err *err)
{
    size_t base = c->scan;
    struct masks m = look(c->buf + base);
    uint64_t delimiters = (m.comma | m.feed) & valid, quotes = m.quote & valid;

    if (quotes | c->inside) {
        uint64_t in = prefix_parity(quotes) ^ c->inside;

        c->inside = (uint64_t)((int64_t)in >> 63);
        c->has_quote = true;
        delimiters &= ~in;
    }
    for (; delimiters; delimiters &= delimiters - 1) {
        unsigned bit = (unsigned)__builtin_ctzll(delimiters);

        if (c->buf[base + bit] == '\n') {
            if ((m.nul & valid) && (m.nul & valid & ((UINT64_C(1) << bit) - 1)))
                return nul_byte(c, err);
            if (take_row(c, base + bit, err))
                return -1;
            c->has_quote = quotes >> bit != 0;
        } else if (c->n_ends < CSV_MAX_FIELDS - 1) {
            c->ends[c->n_ends++] = base + bit;
        } else {
            return bad_row(c, err, "has more than 4,096 fields");
        }
    }
    return m.nul & valid ? nul_byte(c, err) : 0;
}

/* ---- feeding ---- */

static void drop_rows(struct csv *c)
{
    size_t gone = c->row_start;

    memmove(c->buf, c->buf + gone, c->len - gone);
    c->len -= gone;
    c->scan -= gone;
    c->row_start = 0;
    for (size_t i = 0; i < c->n_ends; i++)
        c->ends[i] -= gone;
}

static int skip_mark(struct csv *c, bool is_end, struct err *err)
{
    const unsigned char *p = (const unsigned char *)c->buf;

    if (c->begun || (c->len < 3 && !is_end))
        return 0;
    c->begun = true;
    if (c->len >= 2 && ((p[0] == 0xff && p[1] == 0xfe) || (p[0] == 0xfe && p[1] == 0xff)))
        return err_inval(err, "the text is in UTF-16; write it as UTF-8");
    if (c->len >= 3 && p[0] == 0xef && p[1] == 0xbb && p[2] == 0xbf)
        c->row_start = c->scan = 3;
    return 0;
}

int csv_feed(struct csv *c, const void *bytes, size_t n, struct err *err)
{
    const char *p = bytes;

    for (size_t k; n > 0; p += k, n -= k) {
        k = n < PIECE_BYTES ? n : PIECE_BYTES;
        if (c->row_start > 0)
            drop_rows(c);
        if (c->len + k > c->cap) { /* at most a row and a piece */
            c->cap = c->len + k > SMALL_BYTES ? CSV_ROW_MAX_BYTES + PIECE_BYTES : SMALL_BYTES;
            c->buf = xrealloc(c->buf, c->cap + SLACK_BYTES);
        }
        memcpy(c->buf + c->len, p, k);
        c->len += k;
        if (skip_mark(c, false, err))
            return -1;
        while (c->begun && c->scan + BLOCK <= c->len) {
            if (take_block(c, UINT64_MAX, err))
                return -1;
            c->scan += BLOCK;
        }
        if (c->len - c->row_start > CSV_ROW_MAX_BYTES)
            return bad_row(c, err,
                           c->inside ? "has a quote that is not closed within 1 MiB"
                                     : "is longer than 1 MiB");
    }
    return 0;
}

int csv_end(struct csv *c, struct err *err)
{
    if (c->len == 0)
        return 0;
    if (skip_mark(c, true, err))
        return -1;
    memset(c->buf + c->len, ' ', BLOCK);
    while (c->scan < c->len) {
        size_t left = c->len - c->scan;

        if (take_block(c, left >= BLOCK ? UINT64_MAX : (UINT64_C(1) << left) - 1, err))
            return -1;
        c->scan += left >= BLOCK ? BLOCK : left;
    }
    /* A partial block leaves `inside` as its last bit: the padding has no quotes. */
    if (c->inside)
        return bad_row(c, err, "has a quote that is never closed");
    if (c->row_start < c->len && take_row(c, c->len, err))
        return -1;
    return 0;
}
