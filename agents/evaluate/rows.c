/* A test row is left out when a snapshot other than its own has it among the rows that a model was
 * trained or stopped on, or a newer snapshot tests it too: data that is published again and again,
 * grown by some rows, would else be tested on what was learned.
 *
 * That rests on equal rows being the same row.  Where rows are alike by nature (a few small
 * categories) it does not hold: when a tenth of the test rows have a like one in the training split
 * of their own snapshot, which was split from one piece, nothing is left out. */
#include "agents/evaluate/rows.h"

enum { ALIKE_SHARE = 10 }; /* one in so many */

struct hash_set { /* 0 is kept apart: it marks a free slot */
    uint64_t *slots;
    size_t n, cap;
    bool has_zero;
};

static size_t slot_of(const struct hash_set *s, uint64_t h)
{
    size_t i = (size_t)((h * 0x9E3779B97F4A7C15) >> 20) & (s->cap - 1);

    while (s->slots[i] && s->slots[i] != h)
        i = (i + 1) & (s->cap - 1);
    return i;
}

static bool has(const struct hash_set *s, uint64_t h)
{
    if (h == 0)
        return s->has_zero;
    return s->cap && s->slots[slot_of(s, h)] == h;
}

static void grow(struct hash_set *s)
{
    struct hash_set bigger = {
        .cap = s->cap ? s->cap * 2 : 1024, .n = s->n, .has_zero = s->has_zero};

    bigger.slots = xcalloc(bigger.cap, sizeof(*bigger.slots));
    for (size_t i = 0; i < s->cap; i++)
        if (s->slots[i])
            bigger.slots[slot_of(&bigger, s->slots[i])] = s->slots[i];
    free(s->slots);
    *s = bigger;
}

static void add(struct hash_set *s, uint64_t h)
{
    if (h == 0) {
        s->has_zero = true;
        return;
    }
    if ((s->n + 1) * 2 > s->cap)
        grow(s);
    if (!s->slots[slot_of(s, h)]) {
        s->slots[slot_of(s, h)] = h;
        s->n++;
    }
}

static void set_fini(struct hash_set *s)
{
    free(s->slots);
}

static void snapshots_free(struct snapshot **list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        snapshot_free(list[i]);
    free(list);
}

/* ---- what was learned from ---- */

static bool is_listed(char *const *list, size_t n, const char *digest)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i], digest) == 0)
            return true;
    return false;
}

/* Rows of a snapshot that are not its test split. */
static int add_learned(const struct artifacts *a, const char *digest, struct hash_set *set,
                       struct err *err)
{
    CLEANUP(snapshot_unmap) struct snapshot_data d = {0};
    struct snapshot *s = NULL;
    int rc = snapshot_open(a, digest, &s, err) || snapshot_map(a, s, &d, err) ? -1 : 0;

    for (size_t i = 0; rc == 0 && i < s->rows; i++)
        if (((const uint8_t *)d.split.data)[i] != ROW_TEST)
            add(set, ((const uint64_t *)d.row_hash.data)[i]);
    snapshot_free(s);
    return rc;
}

struct learned {
    char **digests; /* of all snapshots that one of the models learned from, borrowed */
    struct hash_set *rows;
    size_t n;
};

static void learned_fini(struct learned *l)
{
    for (size_t i = 0; i < l->n; i++)
        set_fini(&l->rows[i]);
    free(l->rows);
    free(l->digests);
}

static int learned_add(struct learned *l, const struct artifacts *a, const struct model *m,
                       struct err *err)
{
    for (size_t i = 0; m && i < m->n_snapshots; i++) {
        struct err why = {0};

        if (is_listed(l->digests, l->n, m->snapshots[i]))
            continue;
        l->digests = xrealloc(l->digests, (l->n + 1) * sizeof(*l->digests));
        l->rows = xrealloc(l->rows, (l->n + 1) * sizeof(*l->rows));
        l->digests[l->n] = m->snapshots[i];
        l->rows[l->n++] = (struct hash_set){0};
        if (add_learned(a, m->snapshots[i], &l->rows[l->n - 1], &why) &&
            why.code !=
                ERR_NOTFOUND) /* an old one that was cleared away cannot be looked at any more */
            return err_set(err, why.code, why.next, "%s", why.msg);
    }
    return 0;
}

/* ---- which rows stay ---- */

struct chooser {
    const struct learned *learned;
    char *const *tests;
    const size_t *counts; /* test rows of each */
    size_t n;
    const uint64_t *hash; /* of all test rows, oldest snapshot first */
    size_t rows;
};

static bool is_mostly_alike(const struct chooser *c)
{
    size_t alike = 0, row = 0;

    for (size_t s = 0; s < c->n; s++)
        for (size_t i = 0; i < c->counts[s]; i++, row++)
            for (size_t k = 0; k < c->learned->n; k++)
                if (strcmp(c->learned->digests[k], c->tests[s]) == 0 &&
                    has(&c->learned->rows[k], c->hash[row]))
                    alike++;
    return alike * ALIKE_SHARE >= c->rows;
}

static bool was_learned_elsewhere(const struct chooser *c, size_t snapshot, uint64_t hash)
{
    for (size_t k = 0; k < c->learned->n; k++)
        if (strcmp(c->learned->digests[k], c->tests[snapshot]) != 0 &&
            has(&c->learned->rows[k], hash))
            return true;
    return false;
}

/* Newest first, so that of equal rows in several test splits the newest stays. */
static size_t choose(const struct chooser *c, bool *keep)
{
    struct hash_set newer = {0}, own = {0};
    size_t left_out = 0, row = c->rows;

    for (size_t s = c->n; s-- > 0;) {
        own = (struct hash_set){0};
        for (size_t i = 0; i < c->counts[s]; i++) {
            row--;
            keep[row] = !was_learned_elsewhere(c, s, c->hash[row]) && !has(&newer, c->hash[row]);
            left_out += !keep[row];
            add(&own, c->hash[row]);
        }
        for (size_t i = 0; i < own.cap; i++)
            if (own.slots[i])
                add(&newer, own.slots[i]);
        newer.has_zero |= own.has_zero;
        set_fini(&own);
    }
    set_fini(&newer);
    return left_out;
}

static void compact(struct matrix *m, const bool *keep)
{
    size_t n = 0;

    for (size_t i = 0; i < m->rows; i++) {
        if (!keep[i])
            continue;
        memmove(m->x + n * m->n_columns, m->x + i * m->n_columns, m->n_columns * sizeof(*m->x));
        m->y[n] = m->y[i];
        for (size_t k = 0; k < ASIDE_COUNT; k++)
            if (m->aside[k])
                m->aside[k][n] = m->aside[k][i];
        m->hash[n++] = m->hash[i];
    }
    m->rows = n;
}

static int leave_out(const struct artifacts *a, char *const *tests,
                     struct snapshot *const *snapshots, size_t n, const struct model *candidate,
                     const struct model *champion, struct test_rows *r, struct err *err)
{
    CLEANUP(learned_fini) struct learned learned = {0};
    CLEANUP_FREE size_t *counts = xcalloc(n, sizeof(*counts));
    CLEANUP_FREE bool *keep = xcalloc(r->candidate.rows + 1, sizeof(*keep));
    struct chooser c = {.learned = &learned,
                        .tests = tests,
                        .counts = counts,
                        .n = n,
                        .hash = r->candidate.hash,
                        .rows = r->candidate.rows};

    for (size_t i = 0; i < n; i++)
        counts[i] = snapshots[i]->split_rows[ROW_TEST];
    if (learned_add(&learned, a, candidate, err) || learned_add(&learned, a, champion, err))
        return -1;
    if (r->candidate.rows == 0 || is_mostly_alike(&c))
        return 0;
    r->left_out = choose(&c, keep);
    if (champion)
        compact(&r->champion, keep);
    compact(&r->candidate, keep);
    return 0;
}

static int load(const struct artifacts *a, char *const *tests, struct snapshot **snapshots,
                size_t n, const struct model *candidate, const struct model *champion,
                struct test_rows *r, struct err *err)
{
    size_t expected = 0;

    for (size_t i = 0; i < n; i++) {
        if (snapshot_open(a, tests[i], &snapshots[i], err))
            return -1;
        expected += snapshots[i]->split_rows[ROW_TEST];
    }
    if (matrix_load(a, snapshots, n, ROW_TEST, 0, &candidate->shape, &r->candidate, err))
        return -1;
    if (champion && matrix_load(a, snapshots, n, ROW_TEST, 0, &champion->shape, &r->champion, err))
        return err_wrap(err, "for the champion");
    if (r->candidate.rows != expected || (champion && r->champion.rows != expected))
        return err_set(err, ERR_CODEC, NEXT_REJECT, "%zu test rows, but the manifests say %zu",
                       r->candidate.rows, expected);
    return leave_out(a, tests, snapshots, n, candidate, champion, r, err);
}

int rows_load(const struct artifacts *a, char *const *tests, size_t n,
              const struct model *candidate, const struct model *champion, struct test_rows *ret,
              struct err *err)
{
    struct snapshot **snapshots = xcalloc(n ? n : 1, sizeof(struct snapshot *));
    struct test_rows r = {0};
    int rc = load(a, tests, snapshots, n, candidate, champion, &r, err);

    snapshots_free(snapshots, n);
    if (rc)
        rows_fini(&r);
    else
        *ret = r;
    return rc;
}

void rows_fini(struct test_rows *r)
{
    matrix_fini(&r->candidate);
    matrix_fini(&r->champion);
}
