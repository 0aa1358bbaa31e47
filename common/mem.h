/* Memory that cannot fail: out of memory aborts with the size asked.  Sound only because every size
 * that comes from outside is capped before it is allocated.  Thread: any. */
#ifndef COMMON_MEM_H
#define COMMON_MEM_H

#include "common/base.h"

void *xmalloc(size_t size_bytes) __attribute__((malloc, alloc_size(1)));
void *xcalloc(size_t n, size_t size_bytes) __attribute__((malloc, alloc_size(1, 2)));
void *xrealloc(void *p, size_t size_bytes) __attribute__((alloc_size(2)));
/* items = xgrow(items, &cap, n + 1, sizeof(*items)): room for at least `need` elements; *cap
 * doubles.  NULL with cap 0 is an empty array. */
void *xgrow(void *p, size_t *cap, size_t need, size_t size_bytes);
char *xstrdup(const char *s) __attribute__((malloc));            /* NULL gives NULL */
char *xstrndup(const char *s, size_t n) __attribute__((malloc)); /* adds the NUL */
void *xmemdup(const void *p, size_t n) __attribute__((malloc));
char *xasprintf(const char *fmt, ...) PRINTF(1, 2) __attribute__((malloc));
/* The three one after another: a fifth of what xasprintf takes, for keys made per event. */
char *xconcat(const char *a, const char *b, const char *c) __attribute__((malloc));
void free_ptr(void *pp); /* for CLEANUP: frees *(void **)pp */
#define CLEANUP_FREE CLEANUP(free_ptr)

/* Arena: many small allocations, one free.  {0} is a valid empty arena.  Memory is zeroed and
 * 16-aligned, but for texts. */
struct arena_block;
struct arena {
    struct arena_block *head;
    size_t used_bytes; /* total handed out */
};
/* An empty arena begins with so much, in one piece: for what is kept long and whose size is known.
 */
void arena_reserve(struct arena *a, size_t size_bytes);
void *arena_alloc(struct arena *a, size_t size_bytes);
char *arena_strdup(struct arena *a, const char *s); /* NULL gives NULL */
char *arena_strndup(struct arena *a, const char *s, size_t n);
void *arena_memdup(struct arena *a, const void *p, size_t n);
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF(2, 3);
void arena_fini(struct arena *a); /* frees all; the arena is empty again */

#endif
