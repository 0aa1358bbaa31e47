/* An ordered set of strings: each has the index of its first sight.  For dictionaries of categories
 * and the like.  {0} is a valid empty set.  The caller caps the number of strings.  Thread: any,
 * one at a time. */
#ifndef COMMON_STRSET_H
#define COMMON_STRSET_H

#include "common/buf.h"

struct strset {
    char **items; /* NUL-terminated; each also has its length before it in `lens` */
    size_t *lens;
    uint64_t *hashes;
    uint32_t *slots; /* open addressing; index + 1, 0 is free */
    size_t n, cap, n_slots;
};
#define STRSET_NONE SIZE_MAX

size_t strset_find(const struct strset *s, struct slice key); /* STRSET_NONE when absent */
size_t strset_add(struct strset *s, struct slice key);        /* its index, old or new */
char **
strset_take(struct strset *s,
            size_t *ret_n); /* the strings are the caller's, each and the array; the set is empty */
void strset_fini(struct strset *s);

#endif
