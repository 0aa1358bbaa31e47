#include "common/strset.h"

#include "common/mem.h"
#include "common/rng.h"

enum { SLOTS_MIN = 16 };

static size_t probe(const struct strset *s, struct slice key, uint64_t hash)
{
    size_t mask = s->n_slots - 1, at = (size_t)hash & mask;

    for (; s->slots[at]; at = (at + 1) & mask) {
        size_t i = s->slots[at] - 1;

        if (s->hashes[i] == hash && s->lens[i] == key.n && memcmp(s->items[i], key.p, key.n) == 0)
            break;
    }
    return at;
}

size_t strset_find(const struct strset *s, struct slice key)
{
    if (s->n == 0)
        return STRSET_NONE;
    uint32_t slot = s->slots[probe(s, key, hash64(key.p, key.n, 0))];

    return slot ? slot - 1 : STRSET_NONE;
}

/* At most half of the slots are taken, so that a probe ends soon. */
static void grow(struct strset *s)
{
    size_t old = s->cap;

    s->items = xgrow(s->items, &s->cap, s->n + 1, sizeof(*s->items));
    if (s->cap != old) {
        s->lens = xrealloc(s->lens, s->cap * sizeof(*s->lens));
        s->hashes = xrealloc(s->hashes, s->cap * sizeof(*s->hashes));
    }
    if ((s->n + 1) * 2 <= s->n_slots)
        return;
    s->n_slots = s->n_slots ? s->n_slots * 2 : SLOTS_MIN;
    free(s->slots);
    s->slots = xcalloc(s->n_slots, sizeof(*s->slots));
    for (size_t i = 0; i < s->n; i++) {
        size_t at = (size_t)s->hashes[i] & (s->n_slots - 1);

        while (s->slots[at])
            at = (at + 1) & (s->n_slots - 1);
        s->slots[at] = (uint32_t)(i + 1);
    }
}

size_t strset_add(struct strset *s, struct slice key)
{
    uint64_t hash = hash64(key.p, key.n, 0);
    size_t at;

    BUG_ON(s->n >= UINT32_MAX - 1);
    grow(s);
    at = probe(s, key, hash);
    if (s->slots[at])
        return s->slots[at] - 1;
    s->items[s->n] = xstrndup(key.p, key.n);
    s->lens[s->n] = key.n;
    s->hashes[s->n] = hash;
    s->slots[at] = (uint32_t)(s->n + 1);
    return s->n++;
}

char **strset_take(struct strset *s, size_t *ret_n)
{
    char **items = s->items;

    *ret_n = s->n;
    s->items = NULL;
    s->n = 0;
    strset_fini(s);
    return items;
}

void strset_fini(struct strset *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->items[i]);
    free(s->items);
    free(s->lens);
    free(s->hashes);
    free(s->slots);
    *s = (struct strset){0};
}
