#include "common/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static NORETURN void out_of_memory(size_t n, size_t size_bytes)
{
    fprintf(stderr, "out of memory: %zu x %zu bytes asked\n", n, size_bytes);
    abort();
}

void *xmalloc(size_t size_bytes)
{
    void *p = malloc(size_bytes ? size_bytes : 1);

    if (!p)
        out_of_memory(1, size_bytes);
    return p;
}

void *xcalloc(size_t n, size_t size_bytes)
{
    void *p = n && size_bytes ? calloc(n, size_bytes) : calloc(1, 1);

    if (!p)
        out_of_memory(n, size_bytes);
    return p;
}

void *xrealloc(void *p, size_t size_bytes)
{
    void *grown = realloc(p, size_bytes ? size_bytes : 1);

    if (!grown)
        out_of_memory(1, size_bytes);
    return grown;
}

void *xgrow(void *p, size_t *cap, size_t need, size_t size_bytes)
{
    size_t grown = *cap ? *cap : 8;

    BUG_ON(size_bytes == 0);
    if (need <= *cap)
        return p;
    while (grown < need) {
        if (grown > SIZE_MAX / 2)
            out_of_memory(need, size_bytes);
        grown *= 2;
    }
    if (grown > SIZE_MAX / size_bytes)
        out_of_memory(grown, size_bytes);
    p = xrealloc(p, grown * size_bytes);
    *cap = grown;
    return p;
}

char *xstrdup(const char *s)
{
    return s ? xmemdup(s, strlen(s) + 1) : NULL;
}

char *xstrndup(const char *s, size_t n)
{
    char *copy = xmalloc(n + 1);

    if (n)
        memcpy(copy, s, n);
    copy[n] = '\0';
    return copy;
}

void *xmemdup(const void *p, size_t n)
{
    void *copy = xmalloc(n);

    if (n)
        memcpy(copy, p, n);
    return copy;
}

char *xasprintf(const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0)
        out_of_memory(1, strlen(fmt));
    return text;
}

char *xconcat(const char *a, const char *b, const char *c)
{
    size_t a_n = strlen(a), b_n = strlen(b), c_n = strlen(c);
    char *text = xmalloc(a_n + b_n + c_n + 1);

    memcpy(text, a, a_n);
    memcpy(text + a_n, b, b_n);
    memcpy(text + a_n + b_n, c, c_n + 1);
    return text;
}

void free_ptr(void *pp)
{
    void **p = pp;

    free(*p);
    *p = NULL;
}

/* --- arena: a list of blocks, the newest first; only the head has room -------------------------
 */

enum {
    ARENA_ALIGN_BYTES = 16,
    ARENA_FIRST_BYTES = 1024,        /* a control event has 500 to 1,500, and the fold keeps each */
    ARENA_BLOCK_MAX_BYTES = 1 << 20, /* doubling stops here: what is left over stays small */
};

struct arena_block {
    struct arena_block *next;
    size_t used_bytes, size_bytes;
    _Alignas(ARENA_ALIGN_BYTES) char data[];
};

static struct arena_block *arena_block_new(struct arena *a, size_t block_bytes)
{
    struct arena_block *block = xcalloc(1, sizeof(*block) + block_bytes);

    block->size_bytes = block_bytes;
    block->next = a->head;
    a->head = block;
    return block;
}

static struct arena_block *arena_grow(struct arena *a, size_t size_bytes)
{
    size_t block_bytes = a->head ? a->head->size_bytes * 2 : ARENA_FIRST_BYTES;

    if (block_bytes > ARENA_BLOCK_MAX_BYTES)
        block_bytes = ARENA_BLOCK_MAX_BYTES;
    if (block_bytes < size_bytes)
        block_bytes = size_bytes;
    return arena_block_new(a, block_bytes);
}

void arena_reserve(struct arena *a, size_t size_bytes)
{
    if (!a->head && size_bytes > 0 && size_bytes <= ARENA_BLOCK_MAX_BYTES)
        arena_block_new(a, size_bytes);
}

static void *arena_take(struct arena *a, size_t size_bytes, size_t align_bytes)
{
    struct arena_block *block = a->head;
    size_t at = block ? (block->used_bytes + align_bytes - 1) & ~(align_bytes - 1) : 0;

    if (!block || at > block->size_bytes || block->size_bytes - at < size_bytes) {
        block = arena_grow(a, size_bytes);
        at = 0;
    }
    a->used_bytes += at + size_bytes - block->used_bytes;
    block->used_bytes = at + size_bytes;
    return block->data + at;
}

void *arena_alloc(struct arena *a, size_t size_bytes)
{
    if (size_bytes > SIZE_MAX / 2)
        out_of_memory(1, size_bytes);
    return arena_take(a, size_bytes ? size_bytes : 1, ARENA_ALIGN_BYTES);
}

char *arena_strdup(struct arena *a, const char *s)
{
    return s ? arena_strndup(a, s, strlen(s)) : NULL;
}

/* Texts lie side by side: half of what an event holds would be gaps. */
char *arena_strndup(struct arena *a, const char *s, size_t n)
{
    char *copy;

    if (n > SIZE_MAX / 2)
        out_of_memory(1, n);
    copy = arena_take(a, n + 1, 1);

    if (n)
        memcpy(copy, s, n);
    return copy;
}

void *arena_memdup(struct arena *a, const void *p, size_t n)
{
    void *copy = arena_alloc(a, n);

    if (n)
        memcpy(copy, p, n);
    return copy;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    char usual[256], *text; /* most texts fit, and are made once */
    va_list ap, again;
    int n;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(usual, sizeof(usual), fmt, ap);
    va_end(ap);
    if (n < 0)
        out_of_memory(1, strlen(fmt));
    if ((size_t)n < sizeof(usual)) {
        text = arena_strndup(a, usual, (size_t)n);
    } else {
        text = arena_alloc(a, (size_t)n + 1);
        vsnprintf(text, (size_t)n + 1, fmt, again);
    }
    va_end(again);
    return text;
}

void arena_fini(struct arena *a)
{
    struct arena_block *next;

    if (!a)
        return;
    for (struct arena_block *b = a->head; b; b = next) {
        next = b->next;
        free(b);
    }
    *a = (struct arena){0};
}
