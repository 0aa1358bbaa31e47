#include "agents/serve/route.h"

#include <string.h>

#include "common/rng.h"

/* In [0,1), evenly spread over keys, other ones for each line and generation. */
static double route_point(const char *line, int64_t generation, const char *key, size_t key_n);

static const char *const ROLES[] = {
    [ROUTE_CHAMPION] = "champion", [ROUTE_CANARY] = "canary", [ROUTE_PINNED] = "pinned",
    [ROUTE_SHADOW] = "shadow",     [ROUTE_OTHER] = "other",
};

const char *route_role_str(enum route_role r)
{
    return ROLES[(unsigned)r < ARRAY_LEN(ROLES) ? r : ROUTE_OTHER];
}

enum route_role route_role_parse(const char *role)
{
    for (size_t i = 0; role && i < ARRAY_LEN(ROLES); i++)
        if (strcmp(role, ROLES[i]) == 0)
            return (enum route_role)i;
    return ROUTE_OTHER;
}

bool route_answers(enum route_role role, double weight)
{
    return role == ROUTE_CHAMPION || (role == ROUTE_CANARY && weight > 0);
}

static double route_point(const char *line, int64_t generation, const char *key, size_t key_n)
{
    uint64_t seed = hash64(line, strlen(line), (uint64_t)generation);

    return (double)(hash64(key, key_n, seed) >> 11) * 0x1p-53;
}

int route_choose(const struct route_share *routes, size_t n, const char *line, const char *key,
                 size_t key_n)
{
    int64_t newest = 0;
    double before = 0, point;
    int champion = -1, last = -1;

    for (size_t i = 0; i < n; i++) {
        if (routes[i].is_champion)
            champion = (int)i;
        else if (routes[i].generation > newest)
            newest = routes[i].generation;
    }
    if (champion >= 0 && n == 1)
        return champion;
    point = route_point(line, newest, key, key_n);
    for (size_t i = 0; i < n; i++) {
        if ((int)i == champion)
            continue;
        last = (int)i;
        before += routes[i].weight;
        if (point < before)
            return (int)i;
    }
    return champion >= 0 ? champion : last;
}
