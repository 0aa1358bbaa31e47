/* Universal Binary JSON as XGBoost writes it: big-endian, keys and strings with an int64 length
 * after 'L', arrays "[#L<n>" of values or "[$<type>#L<n>" of packed numbers. */
#include "common/xgb_doc.h"

#include <endian.h>
#include <math.h>

enum {
    MAX_DEPTH = 16,       /* a model has 8 levels */
    MAX_VALUES = 8 << 20, /* 250,000 trees; bounds the memory of the tree of values */
    MAX_NUMBER_CHARS = 64,
};

struct reader {
    const uint8_t *p, *end, *start;
    struct arena *arena;
    size_t n_values;
    int depth;
    struct err *err;
};

static int bad(struct reader *r, const char *what)
{
    err_set(r->err, ERR_CODEC, NEXT_REJECT, "model: byte %zu: %s", (size_t)(r->p - r->start), what);
    return -1; /* in sight, so that compilers see what is set */
}

static int take(struct reader *r, size_t n, const uint8_t **ret)
{
    if ((size_t)(r->end - r->p) < n)
        return bad(r, "the text ends too early");
    *ret = r->p;
    r->p += n;
    return 0;
}

static int take_marker(struct reader *r, uint8_t *ret)
{
    const uint8_t *at;

    if (take(r, 1, &at))
        return -1;
    *ret = *at;
    return 0;
}

static int expect(struct reader *r, char marker)
{
    const uint8_t *at;

    if (take(r, 1, &at))
        return -1;
    return *at == (uint8_t)marker ? 0 : bad(r, "another marker than XGBoost writes here");
}

static uint64_t big_endian(const uint8_t *p, size_t n)
{
    uint64_t v = 0;

    for (size_t i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

static size_t elem_size(char type)
{
    switch (type) {
    case 'i':
    case 'U':
        return 1;
    case 'I':
        return 2;
    case 'l':
    case 'd':
        return 4;
    case 'L':
    case 'D':
        return 8;
    default:
        return 0;
    }
}

static double elem_value(char type, const uint8_t *p)
{
    uint64_t v = big_endian(p, elem_size(type));
    uint32_t half = (uint32_t)v;
    float f;
    double d;

    switch (type) {
    case 'i':
        return (int8_t)v;
    case 'U':
        return (uint8_t)v;
    case 'I':
        return (int16_t)v;
    case 'l':
        return (int32_t)v;
    case 'L':
        return (double)(int64_t)v;
    case 'd':
        memcpy(&f, &half, sizeof(f));
        return (double)f;
    default:
        memcpy(&d, &v, sizeof(d));
        return d;
    }
}

/* 'L' and an int64: how many of at least one byte each. */
static int take_length(struct reader *r, size_t *ret)
{
    const uint8_t *at;
    uint64_t n;

    if (expect(r, 'L') || take(r, 8, &at))
        return -1;
    n = big_endian(at, 8);
    if (n > (uint64_t)(r->end - r->p))
        return bad(r, "a length beyond the end of the text");
    *ret = (size_t)n;
    return 0;
}

static int take_text(struct reader *r, struct slice *ret)
{
    const uint8_t *at;
    size_t n;

    if (take_length(r, &n) || take(r, n, &at))
        return -1;
    *ret = (struct slice){(const char *)at, n};
    return 0;
}

static int new_doc(struct reader *r, struct doc **ret)
{
    if (++r->n_values > MAX_VALUES) {
        err_set(r->err, ERR_LIMIT, NEXT_REJECT, "model: more than %d values", MAX_VALUES);
        return -1;
    }
    *ret = arena_alloc(r->arena, sizeof(**ret));
    return 0;
}

static int take_value(struct reader *r, struct doc *d);

static int take_object(struct reader *r, struct doc *d)
{
    struct doc **end = &d->child;

    d->kind = DOC_OBJECT;
    for (;;) {
        struct doc *member;
        struct slice key;

        if (r->p < r->end && *r->p == '}') {
            r->p++;
            return 0;
        }
        if (take_text(r, &key) || new_doc(r, &member))
            return -1;
        member->key = key;
        for (const struct doc *m = d->child; m; m = m->next)
            if (slice_eq(m->key, key))
                return bad(r, "a key that is there twice");
        if (d->n >= 4096) /* the search above is quadratic; attributes are the user's own */
            return bad(r, "an object with too many members");
        if (take_value(r, member))
            return -1;
        *end = member;
        end = &member->next;
        d->n++;
    }
}

static int take_vector(struct reader *r, struct doc *d)
{
    uint8_t type;
    size_t size;

    d->kind = DOC_VECTOR;
    if (take_marker(r, &type))
        return -1;
    size = elem_size((char)type);
    if (size == 0)
        return bad(r, "an array of a type that XGBoost does not write");
    if (expect(r, '#') || take_length(r, &d->n))
        return -1;
    d->elem = (char)type;
    if (d->n > (size_t)(r->end - r->p) / size)
        return bad(r, "an array that is longer than the text");
    return take(r, d->n * size, &d->data);
}

static int take_list(struct reader *r, struct doc *d)
{
    struct doc **end = &d->child;
    uint8_t marker;

    if (take_marker(r, &marker))
        return -1;
    if (marker == '$')
        return take_vector(r, d);
    d->kind = DOC_LIST;
    if (marker != '#')
        return bad(r, "an array without its length");
    if (take_length(r, &d->n))
        return -1;
    for (size_t i = 0; i < d->n; i++) {
        if (new_doc(r, end) || take_value(r, *end))
            return -1;
        end = &(*end)->next;
    }
    return 0;
}

static int take_nested(struct reader *r, struct doc *d, uint8_t marker)
{
    int rc;

    if (r->depth == MAX_DEPTH)
        return bad(r, "nested too deep");
    r->depth++;
    rc = marker == '{' ? take_object(r, d) : take_list(r, d);
    r->depth--;
    return rc;
}

static int take_value(struct reader *r, struct doc *d)
{
    const uint8_t *at;
    uint8_t marker;

    if (take_marker(r, &marker))
        return -1;
    if (marker == '{' || marker == '[')
        return take_nested(r, d, marker);
    if (marker == 'S') {
        d->kind = DOC_STRING;
        return take_text(r, &d->text);
    }
    if (marker == 'Z')
        return 0;
    d->kind = DOC_NUMBER;
    if (marker == 'T' || marker == 'F') {
        d->number = marker == 'T';
        return 0;
    }
    if (elem_size((char)marker) == 0)
        return bad(r, "a value of a type that XGBoost does not write");
    if (take(r, elem_size((char)marker), &at))
        return -1;
    d->number = elem_value((char)marker, at);
    return 0;
}

bool doc_is_json(struct slice text)
{
    for (size_t i = 1; i < text.n; i++)
        if (text.p[i] != ' ' && text.p[i] != '\n' && text.p[i] != '\t' && text.p[i] != '\r')
            return text.p[i] == '"';
    return false;
}

int doc_parse(struct slice text, struct arena *arena, struct doc **ret, struct err *err)
{
    struct reader r = {.p = (const uint8_t *)text.p, .arena = arena, .err = err};
    struct doc *root;

    if (text.n == 0 || text.p[0] != '{')
        return err_set(err, ERR_CODEC, NEXT_REJECT,
                       "model: neither UBJ nor JSON, which begin with {");
    if (doc_is_json(text))
        return doc__parse_json(text, arena, ret, err);
    r.start = r.p;
    r.end = r.p + text.n;
    if (new_doc(&r, &root) || take_value(&r, root))
        return -1;
    if (r.p != r.end)
        return bad(&r, "more text after the end");
    *ret = root;
    return 0;
}

/* ---- reading ---- */

const struct doc *doc_get(const struct doc *object, const char *key)
{
    if (!object || object->kind != DOC_OBJECT)
        return NULL;
    for (const struct doc *m = object->child; m; m = m->next)
        if (slice_eq_str(m->key, key))
            return m;
    return NULL;
}

bool doc_vector(const struct doc *d, struct arena *arena, struct doc *ret)
{
    double *values;
    size_t i = 0;

    if (!d || (d->kind != DOC_VECTOR && d->kind != DOC_LIST))
        return false;
    *ret = *d;
    if (d->kind == DOC_VECTOR)
        return true;
    values = arena_alloc(arena, (d->n + 1) * sizeof(*values));
    for (const struct doc *m = d->child; m; m = m->next) {
        if (m->kind != DOC_NUMBER)
            return false;
        values[i++] = m->number;
    }
    *ret = (struct doc){.kind = DOC_VECTOR, .n = d->n, .values = values};
    return true;
}

double doc_at(const struct doc *vector, size_t i)
{
    if (vector->values)
        return vector->values[i];
    return elem_value(vector->elem, vector->data + i * elem_size(vector->elem));
}

static bool doc_number(const struct doc *d, double *ret)
{
    char text[MAX_NUMBER_CHARS + 1];

    if (d && d->kind == DOC_NUMBER) {
        *ret = d->number;
        return isfinite(d->number);
    }
    if (!d || d->kind != DOC_STRING || d->text.n > MAX_NUMBER_CHARS ||
        memchr(d->text.p, '\0', d->text.n))
        return false;
    memcpy(text, d->text.p, d->text.n);
    text[d->text.n] = '\0';
    return str_to_double(text, ret) == 0;
}

bool doc_count(const struct doc *d, size_t *ret)
{
    double v;

    if (!doc_number(d, &v) || v < 0 || v > 1e9 || v != floor(v))
        return false;
    *ret = (size_t)v;
    return true;
}
