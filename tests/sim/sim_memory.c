/* malloc for one thread: a history makes and drops some ten thousand small blocks, and a seventh
 * of its time went to the C library's.  Blocks of one size lie on pages of their own; the last one
 * freed is the next given out.  Larger ones are the C library's.  Sanitizer builds keep theirs,
 * which looks at every block. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/base.h"

#ifdef __has_feature /* clang's way to say it */
#define IS_SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#else
#define IS_SANITIZED 0
#endif
#if !IS_SANITIZED

enum {
    UNIT_BYTES = 16,
    SMALL_BYTES = 8192,
    PAGE_BITS = 16,
    CLASSES = SMALL_BYTES / UNIT_BYTES + 1
};
#define REGION_BYTES ((size_t)1 << 34) /* of addresses; memory is taken as it is touched */

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void __libc_free(void *p);

struct block {
    struct block *next;
};
static struct block *spare[CLASSES];
static char *region, *fresh;
static unsigned short class_of_page[REGION_BYTES >> PAGE_BITS];

static bool is_ours(const void *p)
{
    return (size_t)((const char *)p - region) < REGION_BYTES && region;
}

static size_t class_of(const void *p)
{
    return class_of_page[(size_t)((const char *)p - region) >> PAGE_BITS];
}

/* Cuts a page into blocks of a class. */
static bool refill(size_t class)
{
    size_t size = class * UNIT_BYTES, page = (size_t)1 << PAGE_BITS;
    if (!region) {
        void *p = mmap(NULL, REGION_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED)
            return false;
        region = fresh = p;
    }
    if ((size_t)(fresh - region) + page > REGION_BYTES)
        return false;
    class_of_page[(size_t)(fresh - region) >> PAGE_BITS] = (unsigned short)class;
    for (size_t at = page / size * size; at > 0; at -= size) {
        struct block *b = (struct block *)(void *)(fresh + at - size);
        b->next = spare[class];
        spare[class] = b;
    }
    fresh += page;
    return true;
}

static void *take(size_t n)
{
    size_t class = (n + UNIT_BYTES - 1) / UNIT_BYTES;
    if (n > SMALL_BYTES)
        return __libc_malloc(n);
    class += class == 0;
    struct block *b = spare[class];
    if (!b) {
        if (!refill(class))
            return NULL;
        b = spare[class];
    }
    spare[class] = b->next;
    return b;
}

void *malloc(size_t n)
{
    return take(n);
}

void free(void *p)
{
    if (!is_ours(p)) {
        __libc_free(p);
        return;
    }
    size_t class = class_of(p);
    struct block *b = p;
    b->next = spare[class];
    spare[class] = b;
}

void *calloc(size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    if (bytes > SMALL_BYTES)
        return __libc_calloc(n, size);
    void *p = take(bytes); /* malloc and memset would be made into calloc */
    return p ? memset(p, 0, bytes) : NULL;
}

void *realloc(void *p, size_t n)
{
    if (p && !is_ours(p))
        return __libc_realloc(p, n);
    if (p && class_of(p) * UNIT_BYTES >= n)
        return p;
    void *grown = take(n);
    if (grown && p) {
        memcpy(grown, p, class_of(p) * UNIT_BYTES);
        free(p);
    }
    return grown;
}
#endif
