/* The shortest history that still fails: items are left out in ever smaller groups, then noise and
 * instances one by one, as long as something is wrong. */
#include <string.h>

#include "tests/sim/sim.h"

static bool fails(const struct sim_plan *p, enum sim_mutant mutant)
{
    return sim_run(p, mutant, 0) != NULL;
}

static bool without(struct sim_plan *p, size_t from, size_t n, enum sim_mutant mutant)
{
    struct sim_plan less = *p;
    memmove(&less.items[from], &less.items[from + n],
            (less.n_items - from - n) * sizeof(less.items[0]));
    less.n_items -= n;
    if (!fails(&less, mutant))
        return false;
    *p = less;
    return true;
}

static void shrink_items(struct sim_plan *p, enum sim_mutant mutant)
{
    for (size_t n = p->n_items / 2; n > 0; n /= 2)
        for (size_t from = 0; from + n <= p->n_items;)
            if (!without(p, from, n, mutant))
                from += n;
}

static void try_plan(struct sim_plan *p, const struct sim_plan *other, enum sim_mutant mutant)
{
    if (fails(other, mutant))
        *p = *other;
}

static void shrink_noise(struct sim_plan *p, enum sim_mutant mutant)
{
    int n = (int)(sizeof(p->noise) / sizeof(int));
    for (int i = 0; i < n - 1; i++) {
        struct sim_plan less = *p;
        ((int *)(void *)&less.noise)[i] = 0;
        if (((const int *)(const void *)&p->noise)[i])
            try_plan(p, &less, mutant);
    }
}

static void shrink_shape(struct sim_plan *p, enum sim_mutant mutant)
{
    struct sim_plan less = *p;
    for (int i = 0; i < SIM_AGENTS; i++) {
        less = *p;
        less.instances[i] = 1;
        if (p->instances[i] > 1)
            try_plan(p, &less, mutant);
    }
    for (int bit = 1; bit < SIM_VARIANTS; bit *= 2) {
        less = *p;
        less.variant &= ~bit;
        less.lines = less.variant & 16 ? 2 : 1;
        if (p->variant & bit)
            try_plan(p, &less, mutant);
    }
    less = *p;
    less.is_full = false;
    if (p->is_full)
        try_plan(p, &less, mutant);
    less = *p;
    less.partitions = 1;
    if (p->partitions > 1)
        try_plan(p, &less, mutant);
}

void sim_shrink(struct sim_plan *p, enum sim_mutant mutant)
{
    shrink_items(p, mutant);
    shrink_noise(p, mutant);
    shrink_shape(p, mutant);
    shrink_items(p, mutant);
}
