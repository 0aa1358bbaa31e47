/* Who answers: which line a request is for, and which of the line's models.  Pure; thread: any. */
#ifndef SERVE_ROUTE_H
#define SERVE_ROUTE_H

#include "common/base.h"

enum route_role { ROUTE_CHAMPION = 0, ROUTE_CANARY, ROUTE_PINNED, ROUTE_SHADOW, ROUTE_OTHER };
const char *route_role_str(enum route_role r);
enum route_role route_role_parse(const char *role); /* ROUTE_OTHER: a word that we do not know */
/* Champions, canaries and roles of a later version with a weight answer requests; shadows do not.
 */
bool route_answers(enum route_role role, double weight);

struct route_share {
    double weight; /* share of requests, [0,1] */
    bool is_champion;
    int64_t generation;
};
/* Index of the route that answers the request with this key (its id, a user, ...): those that are
 * not the champion take their shares of the keys, the champion has the rest.  The same key has the
 * same answer while the generation is in rollout, and a share that grows only adds keys. -1: there
 * is none. */
int route_choose(const struct route_share *routes, size_t n, const char *line, const char *key,
                 size_t key_n);

#endif
