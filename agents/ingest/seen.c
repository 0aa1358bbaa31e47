#include "agents/ingest/seen.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/snapshot.h"

enum {
    CACHE_SLOTS = 4096,     /* 64 snapshots of 64 lines; 0.5 MiB */
    READ_VALUES = 32 << 10, /* hashes read at a time */
    PART_ROWS = 1 << 20,    /* new rows held at a time: 32 MiB */
    SLOTS_PER_ROW = 2,
};

/* ---- where a snapshot's hashes are ---- */

struct seen_cache {
    pthread_mutex_t lock;
    struct {
        char snapshot[DIGEST_HEX_SIZE], row_hash[DIGEST_HEX_SIZE];
    } slots[CACHE_SLOTS];
};

struct seen_cache *seen_cache_new(void)
{
    struct seen_cache *c = xcalloc(1, sizeof(*c));

    BUG_ON(pthread_mutex_init(&c->lock, NULL) != 0);
    return c;
}

void seen_cache_free(struct seen_cache *c)
{
    if (!c)
        return;
    pthread_mutex_destroy(&c->lock);
    free(c);
}

static size_t slot_of(const char *digest)
{
    char head[5] = {digest[0], digest[1], digest[2], digest[3], '\0'};

    return (size_t)strtoul(head, NULL, 16) % CACHE_SLOTS;
}

static bool cache_get(struct seen_cache *c, const char *snapshot, char row_hash[DIGEST_HEX_SIZE])
{
    size_t at = slot_of(snapshot);
    bool found;

    if (!c)
        return false;
    pthread_mutex_lock(&c->lock);
    found = strcmp(c->slots[at].snapshot, snapshot) == 0;
    if (found)
        memcpy(row_hash, c->slots[at].row_hash, DIGEST_HEX_SIZE);
    pthread_mutex_unlock(&c->lock);
    return found;
}

static void cache_put(struct seen_cache *c, const char *snapshot, const char *row_hash)
{
    size_t at = slot_of(snapshot);

    if (!c)
        return;
    pthread_mutex_lock(&c->lock);
    memcpy(c->slots[at].snapshot, snapshot, DIGEST_HEX_SIZE);
    memcpy(c->slots[at].row_hash, row_hash, DIGEST_HEX_SIZE);
    pthread_mutex_unlock(&c->lock);
}

/* Path of the hashes of a snapshot; *ret NULL when the store does not have them. */
static int hash_path(const struct artifacts *a, const char *snapshot, struct seen_cache *cache,
                     char **ret, struct err *err)
{
    char row_hash[DIGEST_HEX_SIZE];
    struct err missing = {0};

    *ret = NULL;
    if (!cache_get(cache, snapshot, row_hash)) {
        struct snapshot *s;

        if (snapshot_open(a, snapshot, &s, &missing))
            return missing.code == ERR_NOTFOUND
                       ? 0
                       : err_set(err, missing.code, missing.next, "%s", missing.msg);
        memcpy(row_hash, s->row_hash, sizeof(row_hash));
        snapshot_free(s);
        cache_put(cache, snapshot, row_hash);
    }
    *ret = artifacts_path(a, row_hash, &missing);
    return 0;
}

/* ---- a set of the new rows' hashes ---- */

struct set {
    uint64_t *slots; /* 0 is free */
    uint8_t *found;
    size_t n_slots;
};

static size_t find(const struct set *s, uint64_t hash)
{
    size_t mask = s->n_slots - 1, at = (size_t)(hash >> 7) & mask;

    while (s->slots[at] && s->slots[at] != hash)
        at = (at + 1) & mask;
    return at;
}

struct part { /* of the hashes: those whose top bits are `number` */
    unsigned bits;
    uint64_t number;
};

static bool is_in(const struct part *p, uint64_t hash)
{
    return p->bits == 0 || hash >> (64 - p->bits) == p->number;
}

struct count {
    struct part part;
    struct set set;
    uint8_t *flags;
    int64_t seen;
};
typedef void (*values_fn)(struct count *c, const uint64_t *values, size_t n, size_t first_row);

static void insert_new(struct count *c, const uint64_t *values, size_t n, size_t first_row)
{
    (void)first_row;
    for (size_t i = 0; i < n; i++) {
        uint64_t hash = values[i] | (values[i] == 0);

        if (is_in(&c->part, hash))
            c->set.slots[find(&c->set, hash)] = hash;
    }
}

static void mark_earlier(struct count *c, const uint64_t *values, size_t n, size_t first_row)
{
    (void)first_row;
    for (size_t i = 0; i < n; i++) {
        uint64_t hash = values[i] | (values[i] == 0);
        size_t at;

        if (!is_in(&c->part, hash))
            continue;
        at = find(&c->set, hash);
        c->set.found[at] = c->set.slots[at] != 0;
    }
}

static void count_new(struct count *c, const uint64_t *values, size_t n, size_t first_row)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t hash = values[i] | (values[i] == 0);

        if (!is_in(&c->part, hash) || !c->set.found[find(&c->set, hash)])
            continue;
        c->seen++;
        if (c->flags)
            c->flags[first_row + i] = 1;
    }
}

static int each_new(struct count *c, const struct spool *hashes, size_t rows, values_fn fn,
                    struct err *err)
{
    CLEANUP_FREE uint64_t *into = xmalloc(READ_VALUES * sizeof(*into));

    for (size_t at = 0, k; at < rows; at += k) {
        const void *values;

        k = rows - at < READ_VALUES ? rows - at : READ_VALUES;
        if (spool_read(hashes, at * sizeof(*into), k * sizeof(*into), into, &values, err))
            return -1;
        fn(c, values, k, at);
    }
    return 0;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* read(2), not a map: pages of a map count as this process's memory. */
static int each_earlier(struct count *c, const char *path, struct err *err)
{
    CLEANUP_FREE uint64_t *values = xmalloc(READ_VALUES * sizeof(*values));
    CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct npy_header h;
    ssize_t n;
    off_t at;

    if (fd < 0 || (n = pread(fd, values, READ_VALUES * sizeof(*values), 0)) < 0)
        return err_io(err, "read %s: %s", path, strerror(errno));
    if (npy_parse_header((struct slice){(const char *)values, (size_t)n}, "row_hash.npy", &h, err))
        return -1;
    for (at = (off_t)h.data_offset;; at += n) {
        n = pread(fd, values, READ_VALUES * sizeof(*values), at);
        if (n < 0 && errno == EINTR) {
            n = 0;
            continue;
        }
        if (n < 0)
            return err_io(err, "read %s: %s", path, strerror(errno));
        n -= n % (ssize_t)sizeof(*values);
        if (n == 0)
            return 0;
        mark_earlier(c, values, (size_t)n / sizeof(*values), 0);
    }
}

static int count_part(struct count *c, char *const *paths, size_t n, const struct spool *hashes,
                      size_t rows, struct err *err)
{
    memset(c->set.slots, 0, c->set.n_slots * sizeof(*c->set.slots));
    memset(c->set.found, 0, c->set.n_slots);
    if (each_new(c, hashes, rows, insert_new, err))
        return -1;
    for (size_t i = 0; i < n; i++)
        if (paths[i] && each_earlier(c, paths[i], err))
            return -1;
    return each_new(c, hashes, rows, count_new, err);
}

static int count_all(struct count *c, char *const *paths, size_t n, const struct spool *hashes,
                     size_t rows, struct err *err)
{
    size_t slots = 64;
    int rc = 0;

    while (rows >> c->part.bits > PART_ROWS)
        c->part.bits++;
    while (slots < SLOTS_PER_ROW * (rows >> c->part.bits) + 1024)
        slots *= 2;
    c->set = (struct set){xmalloc(slots * sizeof(uint64_t)), xmalloc(slots), slots};
    for (; rc == 0 && c->part.number >> c->part.bits == 0; c->part.number++)
        rc = count_part(c, paths, n, hashes, rows, err);
    free(c->set.slots);
    free(c->set.found);
    return rc;
}

int seen_count(const struct artifacts *a, const char *const *snapshots, size_t n,
               const struct spool *hashes, size_t rows, struct seen_cache *cache, uint8_t *flags,
               int64_t *ret, struct err *err)
{
    struct count c = {.flags = flags};
    char *paths[SEEN_MAX_SNAPSHOTS] = {NULL};
    int rc = 0;

    if (n > SEEN_MAX_SNAPSHOTS) { /* oldest first: the newest are kept */
        snapshots += n - SEEN_MAX_SNAPSHOTS;
        n = SEEN_MAX_SNAPSHOTS;
    }
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = hash_path(a, snapshots[i], cache, &paths[i], err);
    if (rc == 0 && n > 0 && rows > 0)
        rc = count_all(&c, paths, n, hashes, rows, err);
    for (size_t i = 0; i < n; i++)
        free(paths[i]);
    if (rc == 0)
        *ret = c.seen;
    return rc;
}
