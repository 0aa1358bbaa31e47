/* APPNOTE.TXT 6.3.3, what of it numpy's zipfile writes: the end record is looked for from the end
 * of the file, it leads to the central directory, that names the members and their places.  Local
 * headers are read for their length only. */
#include "agents/ingest/zip.h"

#include <endian.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/mem.h"

enum {
    END_BYTES = 22,
    END_SEARCH_BYTES = END_BYTES + 65535, /* with the longest comment */
    LOCATOR_BYTES = 20,
    END64_BYTES = 56,
    ENTRY_BYTES = 46,
    LOCAL_BYTES = 30,
    DIRECTORY_MAX_BYTES = 1 << 20, /* 64 members with names and extras */
    PIECE_BYTES = 256 << 10,
};

static uint16_t u16(const unsigned char *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t u32(const unsigned char *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return le32toh(v);
}

static uint64_t u64(const unsigned char *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return le64toh(v);
}

static int bad(struct err *err, const char *what)
{
    return err_inval(err, "the zip archive is damaged: %s", what);
}

static int read_at(int fd, uint64_t offset, void *p, size_t n, struct err *err)
{
    char *to = p;

    while (n > 0) {
        ssize_t k = pread(fd, to, n, (off_t)offset);

        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return err_io(err, "read the zip archive: %s", strerror(errno));
        if (k == 0)
            return bad(err, "it ends early");
        to += k;
        n -= (size_t)k;
        offset += (uint64_t)k;
    }
    return 0;
}

struct directory {
    uint64_t offset, bytes, entries;
};

/* zip64: the locator stands right before the end record. */
static int find_end64(const struct zip *z, uint64_t end_offset, struct directory *d,
                      struct err *err)
{
    unsigned char locator[LOCATOR_BYTES], end[END64_BYTES];

    if (end_offset < LOCATOR_BYTES || z->file_bytes < END64_BYTES ||
        read_at(z->fd, end_offset - LOCATOR_BYTES, locator, LOCATOR_BYTES, err))
        return bad(err, "no zip64 locator");
    if (u32(locator) != 0x07064b50 || u64(locator + 8) > z->file_bytes - END64_BYTES)
        return bad(err, "no zip64 locator");
    if (read_at(z->fd, u64(locator + 8), end, END64_BYTES, err))
        return -1;
    if (u32(end) != 0x06064b50)
        return bad(err, "no zip64 end record");
    *d = (struct directory){
        .entries = u64(end + 32), .bytes = u64(end + 40), .offset = u64(end + 48)};
    return 0;
}

static int find_directory(const struct zip *z, struct directory *d, struct err *err)
{
    CLEANUP_FREE unsigned char *tail = NULL;
    size_t n = z->file_bytes < END_SEARCH_BYTES ? (size_t)z->file_bytes : END_SEARCH_BYTES;
    size_t at;

    if (n < END_BYTES)
        return bad(err, "it is too short");
    tail = xmalloc(n);
    if (read_at(z->fd, z->file_bytes - n, tail, n, err))
        return -1;
    for (at = n - END_BYTES;; at--) {
        if (u32(tail + at) == 0x06054b50 && u16(tail + at + 20) == n - END_BYTES - at)
            break;
        if (at == 0)
            return bad(err, "no end record");
    }
    *d = (struct directory){.entries = u16(tail + at + 10),
                            .bytes = u32(tail + at + 12),
                            .offset = u32(tail + at + 16)};
    if (d->entries == UINT16_MAX || d->bytes == UINT32_MAX || d->offset == UINT32_MAX)
        return find_end64(z, z->file_bytes - n + at, d, err);
    return 0;
}

/* Sizes that do not fit 32 bits stand in extra field 1, in this order, as far as they are needed.
 */
static int take_extra64(struct zip_member *m, const unsigned char *extra, size_t n, struct err *err)
{
    uint64_t *wanted[] = {&m->bytes, &m->packed_bytes, &m->header_offset};

    while (n >= 4) {
        size_t k = u16(extra + 2), used = 4;

        if (k > n - 4)
            return bad(err, "an extra field is too long");
        for (size_t i = 0; u16(extra) == 1 && i < ARRAY_LEN(wanted); i++) {
            if (*wanted[i] != UINT32_MAX)
                continue;
            if (used + 8 > k + 4)
                return bad(err, "a zip64 field is too short");
            *wanted[i] = u64(extra + used);
            used += 8;
        }
        extra += 4 + k;
        n -= 4 + k;
    }
    return 0;
}

static int take_entry(struct zip *z, const unsigned char *p, size_t left, size_t *ret_used,
                      struct err *err)
{
    struct zip_member m = {0};
    size_t name, extra, comment, method;

    if (left < ENTRY_BYTES || u32(p) != 0x02014b50)
        return bad(err, "the directory is cut short");
    name = u16(p + 28);
    extra = u16(p + 30);
    comment = u16(p + 32);
    if (name + extra + comment > left - ENTRY_BYTES)
        return bad(err, "the directory is cut short");
    *ret_used = ENTRY_BYTES + name + extra + comment;
    if (name > ZIP_NAME_MAX || memchr(p + ENTRY_BYTES, '\0', name))
        return 0;
    memcpy(m.name, p + ENTRY_BYTES, name);
    method = u16(p + 10);
    if (method != 0 && method != 8)
        return err_inval(err,
                         "member '%s' is packed by method %zu; stored and deflated ones are read",
                         m.name, method);
    if (u16(p + 8) & 1)
        return err_inval(err, "member '%s' is encrypted", m.name);
    m.is_stored = method == 0;
    m.crc = u32(p + 16);
    m.packed_bytes = u32(p + 20);
    m.bytes = u32(p + 24);
    m.header_offset = u32(p + 42);
    if (take_extra64(&m, p + ENTRY_BYTES + name, extra, err))
        return -1;
    if (m.packed_bytes > z->file_bytes || m.header_offset > z->file_bytes - m.packed_bytes)
        return bad(err, "a member is larger than the file");
    if (z->n == ZIP_MAX_MEMBERS)
        return err_inval(err, "the zip archive has more than %d members", ZIP_MAX_MEMBERS);
    z->members[z->n++] = m;
    return 0;
}

int zip_open(int fd, struct zip *ret, struct err *err)
{
    struct zip z = {.fd = fd};
    struct directory d = {0};
    CLEANUP_FREE unsigned char *p = NULL;
    struct stat st;
    size_t used = 0;

    if (fstat(fd, &st))
        return err_io(err, "read the zip archive: %s", strerror(errno));
    z.file_bytes = (uint64_t)st.st_size;
    if (find_directory(&z, &d, err))
        return -1;
    if (d.bytes > DIRECTORY_MAX_BYTES || d.bytes > z.file_bytes ||
        d.offset > z.file_bytes - d.bytes)
        return bad(err, "its directory is out of bounds");
    p = xmalloc((size_t)d.bytes + 1);
    if (read_at(fd, d.offset, p, (size_t)d.bytes, err))
        return -1;
    for (uint64_t i = 0; i < d.entries; i++) {
        size_t k = 0;

        if (take_entry(&z, p + used, (size_t)d.bytes - used, &k, err))
            return -1;
        used += k;
    }
    *ret = z;
    return 0;
}

const struct zip_member *zip_find(const struct zip *z, const char *name)
{
    for (size_t i = 0; i < z->n; i++)
        if (strcmp(z->members[i].name, name) == 0)
            return &z->members[i];
    return NULL;
}

struct checked { /* sink that counts and sums before it hands on */
    const struct zip_member *m;
    bytes_fn sink;
    void *ctx;
    uint64_t bytes;
    uint32_t crc;
};

static int check_bytes(void *ctx, const void *p, size_t n, struct err *err)
{
    struct checked *c = ctx;

    c->bytes += n;
    if (c->bytes > c->m->bytes)
        return err_inval(err, "member '%s' of the zip archive is longer than it says", c->m->name);
    c->crc = gz_crc32(c->crc, p, n);
    return c->sink(c->ctx, p, n, err);
}

static void gz_freep(struct gz **g)
{
    gz_free(*g);
}

static int unpack(const struct zip *z, const struct zip_member *m, uint64_t offset,
                  struct checked *c, struct err *err)
{
    CLEANUP_FREE char *piece = xmalloc(PIECE_BYTES);
    CLEANUP(gz_freep) struct gz *g = m->is_stored ? NULL : gz_new(GZ_RAW, check_bytes, c);

    for (uint64_t left = m->packed_bytes; left > 0;) {
        size_t k = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;

        if (read_at(z->fd, offset, piece, k, err) ||
            (g ? gz_feed(g, piece, k, err) : check_bytes(c, piece, k, err)))
            return -1;
        offset += k;
        left -= k;
    }
    return g ? gz_end(g, err) : 0;
}

int zip_read(const struct zip *z, const struct zip_member *m, bytes_fn sink, void *ctx,
             struct err *err)
{
    struct checked c = {.m = m, .sink = sink, .ctx = ctx};
    unsigned char local[LOCAL_BYTES];
    uint64_t skip;

    if (m->header_offset + LOCAL_BYTES > z->file_bytes ||
        read_at(z->fd, m->header_offset, local, LOCAL_BYTES, err))
        return bad(err, "a member is out of bounds");
    skip = LOCAL_BYTES + (uint64_t)u16(local + 26) + u16(local + 28);
    if (u32(local) != 0x04034b50 || skip > z->file_bytes - m->header_offset ||
        m->packed_bytes > z->file_bytes - m->header_offset - skip)
        return bad(err, "a member is out of bounds");
    if (unpack(z, m, m->header_offset + skip, &c, err))
        return -1;
    if (c.bytes != m->bytes || c.crc != m->crc)
        return err_inval(err, "member '%s' of the zip archive is damaged: its checksum differs",
                         m->name);
    return 0;
}
