/* A history's plan as one line of text: what a failure is replayed from, whatever the drawing of
 * plans from seeds has become since. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "tests/sim/sim.h"

enum { NOISES = sizeof(struct sim_noise) / sizeof(int) };

void sim_plan_write(const struct sim_plan *p, FILE *to)
{
    const int *noise = (const int *)(const void *)&p->noise;
    fprintf(to, "%" PRIu64 " %d %d %d %d %d %d %" PRId64 " |", p->seed, p->partitions, p->variant,
            p->lines, p->by_group, p->same_share, p->is_full, p->active_us);
    for (int i = 0; i < SIM_AGENTS; i++)
        fprintf(to, " %d", p->instances[i]);
    fprintf(to, " |");
    for (size_t i = 0; i < NOISES; i++)
        fprintf(to, " %d", noise[i]);
    fprintf(to, " |");
    for (size_t i = 0; i < p->n_items; i++) {
        const struct sim_item *it = &p->items[i];
        fprintf(to, " %s %" PRId64 " %d %u %u %u", sim_item_str(it->kind), it->at_us, it->id, it->a,
                it->b, it->c);
    }
}

struct words {
    char *rest;
    bool is_short;
};

static const char *next(struct words *w)
{
    const char *word = strtok_r(NULL, " |\n", &w->rest);
    w->is_short = w->is_short || !word;
    return word ? word : "0";
}

static int64_t number(struct words *w)
{
    return strtoll(next(w), NULL, 10);
}

static bool read_item(struct words *w, struct sim_item *it)
{
    const char *kind = strtok_r(NULL, " |\n", &w->rest);
    if (!kind)
        return false;
    while (it->kind < ITEM_KINDS && strcmp(sim_item_str(it->kind), kind) != 0)
        it->kind++;
    w->is_short = w->is_short || it->kind == ITEM_KINDS;
    it->at_us = number(w);
    it->id = (int)number(w);
    it->a = (uint32_t)number(w);
    it->b = (uint32_t)number(w);
    it->c = (uint32_t)number(w);
    return !w->is_short;
}

bool sim_plan_read(const char *line, struct sim_plan *ret)
{
    CLEANUP_FREE char *copy = xstrdup(line);
    struct words w = {0};
    const char *seed = strtok_r(copy, " |\n", &w.rest);
    int *noise = (int *)(void *)&ret->noise;
    *ret = (struct sim_plan){.seed = strtoull(seed ? seed : "0", NULL, 10)};
    ret->partitions = (int)number(&w);
    ret->variant = (int)number(&w);
    ret->lines = (int)number(&w);
    ret->by_group = number(&w);
    ret->same_share = number(&w);
    ret->is_full = number(&w);
    ret->active_us = number(&w);
    for (int i = 0; i < SIM_AGENTS; i++)
        ret->instances[i] = (int)number(&w);
    for (size_t i = 0; i < NOISES; i++)
        noise[i] = (int)number(&w);
    while (!w.is_short && ret->n_items < SIM_ITEMS_MAX) {
        struct sim_item it = {0};
        if (!read_item(&w, &it))
            break;
        ret->items[ret->n_items++] = it;
    }
    return !w.is_short && ret->partitions >= 1 && ret->partitions <= SIM_PARTITIONS_MAX;
}
