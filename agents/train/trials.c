#include "agents/train/trials.h"

#include <math.h>

#include "common/rng.h"

const struct param *trial_get(const struct trial *t, const char *name)
{
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->params[i].name, name) == 0)
            return &t->params[i];
    return NULL;
}

bool trial_is_better(double score, double best)
{
    if (isnan(best))
        return !isnan(score);
    return score < best;
}

static void put(struct param *params, size_t *n, const struct param *value)
{
    for (size_t i = 0; i < *n; i++)
        if (strcmp(params[i].name, value->name) == 0) {
            params[i] = *value;
            return;
        }
    params[(*n)++] = *value;
}

static struct trial trial_at(const struct pipeline *p, uint64_t point, struct arena *arena)
{
    struct param *params = arena_alloc(arena, (p->n_params + p->n_axes + 1) * sizeof(*params));
    struct trial t = {.params = params};

    for (size_t i = 0; i < p->n_params; i++)
        put(params, &t.n, &p->params[i]);
    for (size_t i = p->n_axes; i-- > 0;) {
        put(params, &t.n, &p->axes[i].values[point % p->axes[i].n]);
        point /= p->axes[i].n;
    }
    return t;
}

/* 0: more points than can be counted. */
static uint64_t count_points(const struct pipeline *p)
{
    uint64_t n = 1;

    for (size_t i = 0; i < p->n_axes; i++)
        if (__builtin_mul_overflow(n, (uint64_t)p->axes[i].n, &n))
            return 0;
    return n;
}

static bool is_drawn(const uint64_t *drawn, size_t n, uint64_t point)
{
    for (size_t i = 0; i < n; i++)
        if (drawn[i] == point)
            return true;
    return false;
}

static void draw_points(const struct pipeline *p, uint64_t points, uint64_t seed,
                        struct arena *arena, struct trials *ret)
{
    uint64_t *drawn = arena_alloc(arena, ret->n * sizeof(*drawn));
    struct rng r;

    rng_seed(&r, seed);
    for (size_t i = 0; i < ret->n; i++) {
        do {
            drawn[i] = rng_below(&r, points ? points : UINT64_MAX);
        } while (is_drawn(drawn, i, drawn[i]));
        ret->items[i] = trial_at(p, drawn[i], arena);
    }
}

void trials_of(const struct pipeline *p, uint64_t seed, struct arena *arena, struct trials *ret)
{
    uint64_t points = p->search == SEARCH_NONE ? 1 : count_points(p);
    bool is_whole = p->search != SEARCH_RANDOM || (points && points <= (uint64_t)p->trials);

    ret->n = is_whole ? (size_t)points : (size_t)p->trials;
    ret->items = arena_alloc(arena, ret->n * sizeof(*ret->items));
    if (!is_whole) {
        draw_points(p, points, seed, arena, ret);
        return;
    }
    for (size_t i = 0; i < ret->n; i++)
        ret->items[i] = trial_at(p, i, arena);
}
