#include "agents/monitor/join.h"

#include <math.h>

#include "common/mem.h"
#include "common/rng.h"

/* Splits a record's id. */
static void join_record_id(const char *prediction, struct slice *ret_base, int64_t *ret_first);

struct seen {
    uint64_t hash; /* 0: free */
    int64_t judged_unix_ms;
};
struct join {
    struct piece *pieces; /* by base */
    size_t rows;
    struct early *early; /* by base */
    struct early *oldest, *newest;
    size_t n_early, max_early;
    uint64_t *ring; /* what was noted, in order: the oldest makes room */
    size_t ring_at, ring_n, max_seen;
    struct seen *seen; /* open addressing, a quarter full at most */
    size_t seen_mask;
};

struct join *join_new(size_t max_early, size_t max_seen)
{
    struct join *j = xcalloc(1, sizeof(*j));

    j->max_early = max_early;
    j->max_seen = max_seen;
    return j;
}

/* ---- ids ---- */

static bool number_at_end(struct slice text, char mark, struct slice *ret_rest, int64_t *ret)
{
    enum { MAX_DIGITS = 9 };
    size_t at = text.n;
    int64_t v = 0;

    while (at > 0 && text.p[at - 1] >= '0' && text.p[at - 1] <= '9')
        at--;
    if (at == text.n || text.n - at > MAX_DIGITS || at < 2 || text.p[at - 1] != mark)
        return false;
    for (size_t i = at; i < text.n; i++)
        v = v * 10 + (text.p[i] - '0');
    *ret_rest = (struct slice){text.p, at - 1};
    *ret = v;
    return true;
}

static void join_record_id(const char *prediction, struct slice *ret_base, int64_t *ret_first)
{
    *ret_base = slice_str(prediction);
    *ret_first = 0;
    (void)number_at_end(*ret_base, ':', ret_base, ret_first);
}

void join_row_id(const char *text, struct slice *ret_base, int64_t *ret_row)
{
    struct slice base = slice_str(text);
    int64_t row = 0, first = 0;
    bool has_row = number_at_end(base, '.', &base, &row);
    bool has_first = number_at_end(base, ':', &base, &first);

    *ret_base = base;
    *ret_row = has_row || has_first ? first + row : -1;
}

/* ---- rows ---- */

static struct piece *find_base(const struct join *j, struct slice base)
{
    struct piece *p = NULL;

    HASH_FIND(hh, j->pieces, base.p, base.n, p);
    return p;
}

struct piece *join_add(struct join *j, const char *prediction, size_t from, size_t n, size_t rows,
                       size_t k, const double *outputs)
{
    struct slice base;
    int64_t first;
    struct piece *p, *head;
    size_t at;

    join_record_id(prediction, &base, &first);
    at = (sizeof(*p) + base.n + 1 + sizeof(double) - 1) / sizeof(double) * sizeof(double);
    p = xcalloc(1, at + n * (k * sizeof(double) + sizeof(float) + 1));
    memcpy(p->base, base.p, base.n);
    p->first = first + (int64_t)from;
    p->record_first = first;
    p->n = n;
    p->k = k;
    p->is_single = rows == 1;
    p->p = (double *)(void *)((char *)p + at);
    p->y = (float *)(void *)(p->p + n * k);
    p->state = (uint8_t *)(p->y + n);
    memcpy(p->p, outputs + from * k, n * k * sizeof(double));
    for (size_t i = 0; i < n; i++)
        p->y[i] = NAN;
    head = find_base(j, base);
    if (head) {
        p->same = head->same;
        head->same = p;
    } else {
        HASH_ADD_KEYPTR(hh, j->pieces, p->base, base.n, p);
    }
    j->rows += n;
    return p;
}

void join_remove(struct join *j, struct piece *p)
{
    struct piece *head = find_base(j, slice_str(p->base)), **at;

    j->rows -= p->n;
    if (head == p) {
        HASH_DEL(j->pieces, p);
        if (p->same)
            HASH_ADD_KEYPTR(hh, j->pieces, p->same->base, strlen(p->same->base), p->same);
    } else {
        for (at = &head->same; *at != p; at = &(*at)->same)
            ;
        *at = p->same;
    }
    free_ptr(&p);
}

size_t join_rows(const struct join *j)
{
    return j->rows;
}

/* ---- what has been ---- */

static uint64_t hash_of(const char *prediction)
{
    uint64_t h = hash64(prediction, strlen(prediction), 0);

    return h ? h : 1;
}

static struct seen *seen_slot(const struct join *j, uint64_t hash)
{
    size_t at = hash & j->seen_mask;

    while (j->seen[at].hash && j->seen[at].hash != hash)
        at = (at + 1) & j->seen_mask;
    return &j->seen[at];
}

/* Open addressing without marks of what was deleted: those behind the hole move up. */
static void seen_forget(struct join *j, uint64_t hash)
{
    struct seen *s = seen_slot(j, hash);
    size_t hole = (size_t)(s - j->seen), at = hole;

    if (!s->hash)
        return;
    for (;;) {
        size_t home;

        at = (at + 1) & j->seen_mask;
        if (!j->seen[at].hash)
            break;
        home = j->seen[at].hash & j->seen_mask;
        if (((at - home) & j->seen_mask) < ((at - hole) & j->seen_mask))
            continue;
        j->seen[hole] = j->seen[at];
        hole = at;
    }
    j->seen[hole] = (struct seen){0};
}

void join_note(struct join *j, const char *prediction, int64_t judged_unix_ms)
{
    uint64_t hash = hash_of(prediction);
    struct seen *s;

    if (!j->seen) {
        size_t size = 64;

        while (size < 4 * j->max_seen)
            size *= 2;
        j->seen = xcalloc(size, sizeof(*j->seen));
        j->seen_mask = size - 1;
        j->ring = xcalloc(j->max_seen, sizeof(*j->ring));
    }
    s = seen_slot(j, hash);
    if (s->hash)
        return;
    if (j->ring_n == j->max_seen) {
        seen_forget(j, j->ring[j->ring_at]);
        s = seen_slot(j, hash);
    } else {
        j->ring_n++;
    }
    *s = (struct seen){hash, judged_unix_ms};
    j->ring[j->ring_at] = hash;
    j->ring_at = (j->ring_at + 1) % j->max_seen;
}

void join_over(struct join *j, struct piece *p)
{
    CLEANUP_FREE char *id = p->record_first
                                ? xasprintf("%s:%lld", p->base, (long long)p->record_first)
                                : xstrdup(p->base);

    join_remove(j, p);
    join_note(j, id, 0);
}

static const struct seen *find_seen(const struct join *j, const char *prediction)
{
    const struct seen *s = j->seen ? seen_slot(j, hash_of(prediction)) : NULL;

    return s && s->hash ? s : NULL;
}

bool join_knows(const struct join *j, const char *prediction)
{
    struct slice base;
    int64_t first;

    join_record_id(prediction, &base, &first);
    for (const struct piece *p = find_base(j, base); p; p = p->same)
        if (p->first == first)
            return true;
    return find_seen(j, prediction) != NULL;
}

/* ---- labels ---- */

static enum join_found find_over(const struct join *j, struct slice base, int64_t label_time_ms)
{
    CLEANUP_FREE char *id = xstrndup(base.p, base.n);
    const struct seen *s = find_seen(j, id);

    if (!s)
        return JOIN_NONE;
    return s->judged_unix_ms && label_time_ms <= s->judged_unix_ms ? JOIN_BEFORE : JOIN_OVER;
}

enum join_found join_find(struct join *j, const char *text, int64_t label_time_ms,
                          struct piece **ret, size_t *ret_row)
{
    struct slice base;
    int64_t row;
    struct piece *p;
    bool is_here;

    join_row_id(text, &base, &row);
    p = find_base(j, base);
    is_here = p != NULL;
    for (; p; p = p->same) {
        if (row >= 0 ? row < p->first || row >= p->first + (int64_t)p->n : !p->is_single)
            continue;
        *ret = p;
        *ret_row = row < 0 ? 0 : (size_t)(row - p->first);
        return JOIN_ROW;
    }
    switch (find_over(j, base, label_time_ms)) {
    case JOIN_NONE:
        return is_here ? JOIN_NO_ROW : JOIN_NONE;
    case JOIN_BEFORE:
        return JOIN_BEFORE;
    default:
        return JOIN_OVER;
    }
}

static void early_unlink(struct join *j, struct early *e)
{
    struct early *head = NULL;

    if (e->older)
        e->older->newer = e->newer;
    else
        j->oldest = e->newer;
    if (e->newer)
        e->newer->older = e->older;
    else
        j->newest = e->older;
    if (!e->same_before) {
        HASH_DEL(j->early, e);
        if (e->same) {
            e->same->same_before = NULL;
            e->same->same_last = e->same_last;
            HASH_ADD_KEYPTR(hh, j->early, e->same->base, strlen(e->same->base), e->same);
        }
    } else {
        e->same_before->same = e->same;
        if (e->same) {
            e->same->same_before = e->same_before;
        } else {
            HASH_FIND_STR(j->early, e->base, head);
            BUG_ON(!head); /* the chain's first is in the table */
            head->same_last = e->same_before;
        }
    }
    j->n_early--;
}

static void early_drop(struct join *j, struct early *e)
{
    early_unlink(j, e);
    free_ptr(&e);
}

void join_hold(struct join *j, const struct label *l, size_t *ret_dropped)
{
    struct slice base;
    int64_t row;
    struct early *e, *head = NULL;
    size_t value_n = strlen(l->value) + 1;

    *ret_dropped = 0;
    for (; j->n_early >= j->max_early && j->oldest; ++*ret_dropped)
        early_drop(j, j->oldest);
    join_row_id(l->row, &base, &row);
    e = xcalloc(1, sizeof(*e) + base.n + 1 + value_n);
    memcpy(e->base, base.p, base.n);
    memcpy(e->base + base.n + 1, l->value, value_n);
    e->value = e->base + base.n + 1;
    e->row = row;
    e->offset = l->offset;
    e->time_unix_ms = l->time_unix_ms;
    e->observed_unix_ms = l->observed_unix_ms;
    e->older = j->newest;
    *(j->newest ? &j->newest->newer : &j->oldest) = e;
    j->newest = e;
    HASH_FIND_STR(j->early, e->base, head);
    if (head) { /* behind those that came before: the first label of a row counts */
        e->same_before = head->same_last;
        head->same_last->same = e;
        head->same_last = e;
    } else {
        e->same_last = e;
        HASH_ADD_KEYPTR(hh, j->early, e->base, strlen(e->base), e);
    }
    j->n_early++;
}

void join_release(struct join *j, struct piece *p, join_early_fn fn, void *ctx)
{
    struct early *e = NULL, *next;

    HASH_FIND_STR(j->early, p->base, e);
    for (; e; e = next) {
        struct label l = {.row = e->base,
                          .value = e->value,
                          .offset = e->offset,
                          .time_unix_ms = e->time_unix_ms,
                          .observed_unix_ms = e->observed_unix_ms};

        next = e->same;
        if (e->row >= 0 ? e->row < p->first || e->row >= p->first + (int64_t)p->n : !p->is_single)
            continue;
        fn(ctx, p, e->row < 0 ? 0 : (size_t)(e->row - p->first), &l);
        early_drop(j, e);
    }
}

size_t join_expire(struct join *j, int64_t before_unix_ms)
{
    size_t n = 0;

    for (; j->oldest && j->oldest->time_unix_ms < before_unix_ms; n++)
        early_drop(j, j->oldest);
    return n;
}

size_t join_held(const struct join *j)
{
    return j->n_early;
}

int64_t join_oldest_offset(const struct join *j)
{
    return j->oldest ? j->oldest->offset : -1;
}

void join_free(struct join *j)
{
    struct piece *p, *next;

    if (!j)
        return;
    HASH_ITER (hh, j->pieces, p, next) {
        HASH_DEL(j->pieces, p);
        while (p) {
            struct piece *same = p->same;

            free_ptr(&p);
            p = same;
        }
    }
    while (j->oldest)
        early_drop(j, j->oldest);
    free_ptr(&j->seen);
    free_ptr(&j->ring);
    free_ptr(&j);
}
