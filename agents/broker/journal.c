/* Frames and records: bytes to and from structs.  Files are journal_file.c's. */
#include "agents/broker/journal_internal.h"

#include <string.h>

#include "common/mem.h"

/* kind 1: name, u32 partitions.
 * kind 2: topic, u32 partition, u64 offset, u64 timestamp, key, value, u32 n, n times name and
 * value. Strings and bytes: u32 length, or NONE for what is absent, then the bytes. */
enum kind { KIND_TOPIC = 1, KIND_MESSAGE = 2 };
#define NONE UINT32_MAX

enum { NAME_MAX_BYTES = 256, TOPICS_MAX_PARTITIONS = 100000 };

static const char FILE_MAGIC[JOURNAL_FILE_HEAD_BYTES] = {'R', 'L', 'J', 'R', 'N', 'L', '1', '\n'};
static const char FRAME_MAGIC[4] = {'R', 'L', 'J', 'B'};

/* ---- CRC-32C, eight bytes a step ------------------------------------------------------------- */

uint32_t crc32c(const void *p, size_t n, uint32_t seed)
{
    static uint32_t table[8][256];
    static bool is_made; /* main thread first: journal_open reads before anything is written */
    const uint8_t *at = p;
    uint32_t crc = ~seed;

    for (uint32_t i = 0; i < 256 && !is_made; i++) {
        uint32_t c = i;

        for (int bit = 0; bit < 8; bit++)
            c = (c >> 1) ^ (c & 1 ? 0x82f63b78u : 0);
        table[0][i] = c;
    }
    for (uint32_t i = 0; i < 256 && !is_made; i++) {
        for (int k = 1; k < 8; k++)
            table[k][i] = (table[k - 1][i] >> 8) ^ table[0][table[k - 1][i] & 0xff];
    }
    is_made = true;
    for (; n >= 8; at += 8, n -= 8) {
        uint32_t a = crc ^ ((uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
                            (uint32_t)at[3] << 24);

        crc = table[7][a & 0xff] ^ table[6][a >> 8 & 0xff] ^ table[5][a >> 16 & 0xff] ^
              table[4][a >> 24] ^ table[3][at[4]] ^ table[2][at[5]] ^ table[1][at[6]] ^
              table[0][at[7]];
    }
    while (n-- > 0)
        crc = (crc >> 8) ^ table[0][(crc ^ *at++) & 0xff];
    return ~crc;
}

/* ---- writing --------------------------------------------------------------------------------- */

static void put_uint(char *to, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        to[i] = (char)(v >> (8 * i) & 0xff);
}

static void add_uint(struct buf *b, uint64_t v, int bytes)
{
    char raw[8];

    put_uint(raw, v, bytes);
    buf_add(b, raw, (size_t)bytes);
}

static void add_bytes(struct buf *b, const void *p, size_t n)
{
    add_uint(b, p ? (uint32_t)n : NONE, 4);
    if (p)
        buf_add(b, p, n);
}

void journal_begin(struct buf *frame)
{
    const char head[JOURNAL_FRAME_HEAD_BYTES] = {0};

    buf_reset(frame);
    buf_add(frame, head, sizeof(head));
}

void journal_add_topic(struct buf *frame, const char *name, int partitions)
{
    add_uint(frame, KIND_TOPIC, 1);
    add_bytes(frame, name, strlen(name));
    add_uint(frame, (uint32_t)partitions, 4);
}

void journal_add_message(struct buf *frame, const struct bus_message *m)
{
    add_uint(frame, KIND_MESSAGE, 1);
    add_bytes(frame, m->topic, strlen(m->topic));
    add_uint(frame, (uint32_t)m->partition, 4);
    add_uint(frame, (uint64_t)m->offset, 8);
    add_uint(frame, (uint64_t)m->timestamp_ms, 8);
    add_bytes(frame, m->key, m->key_n);
    add_bytes(frame, m->value, m->value_n);
    add_uint(frame, (uint32_t)m->n_headers, 4);
    for (size_t i = 0; i < m->n_headers; i++) {
        add_bytes(frame, m->headers[i].name, strlen(m->headers[i].name));
        add_bytes(frame, m->headers[i].value, m->headers[i].n);
    }
}

static uint32_t frame_crc(const char *frame, size_t n)
{
    uint32_t crc = crc32c(frame + 4, 12, 0); /* length and number */

    return crc32c(frame + JOURNAL_FRAME_HEAD_BYTES, n - JOURNAL_FRAME_HEAD_BYTES, crc);
}

void journal_end(struct buf *frame, uint64_t number)
{
    BUG_ON(frame->overflow || frame->len < JOURNAL_FRAME_HEAD_BYTES);
    memcpy(frame->data, FRAME_MAGIC, sizeof(FRAME_MAGIC));
    put_uint(frame->data + 4, frame->len - JOURNAL_FRAME_HEAD_BYTES, 4);
    put_uint(frame->data + 8, number, 8);
    put_uint(frame->data + 16, frame_crc(frame->data, frame->len), 4);
}

/* ---- reading --------------------------------------------------------------------------------- */

struct cursor {
    const char *p;
    size_t n;
    bool is_bad; /* sticky: checked once per record */
};

static uint64_t take_uint(struct cursor *c, int bytes)
{
    uint64_t v = 0;

    if (c->is_bad || c->n < (size_t)bytes) {
        c->is_bad = true;
        return 0;
    }
    for (int i = 0; i < bytes; i++)
        v |= (uint64_t)(uint8_t)c->p[i] << (8 * i);
    c->p += bytes;
    c->n -= (size_t)bytes;
    return v;
}

static const char *take_bytes(struct cursor *c, size_t *ret_n)
{
    uint32_t n = (uint32_t)take_uint(c, 4);
    const char *p = c->p;

    *ret_n = 0;
    if (c->is_bad || n == NONE)
        return NULL;
    if (n > c->n) {
        c->is_bad = true;
        return NULL;
    }
    c->p += n;
    c->n -= n;
    *ret_n = n;
    return p;
}

static void take_name(struct cursor *c, char name[NAME_MAX_BYTES])
{
    size_t n;
    const char *p = take_bytes(c, &n);

    if (!p || n >= NAME_MAX_BYTES || memchr(p, '\0', n)) {
        c->is_bad = true;
        return;
    }
    memcpy(name, p, n);
    name[n] = '\0';
}

static int read_topic(struct cursor *c, const struct journal_reader *r, struct err *err)
{
    char name[NAME_MAX_BYTES];
    uint64_t partitions;

    take_name(c, name);
    partitions = take_uint(c, 4);
    if (c->is_bad || partitions == 0 || partitions > TOPICS_MAX_PARTITIONS)
        return err_set(err, ERR_CODEC, NEXT_FATAL, "a topic's record does not add up");
    return r->on_topic ? r->on_topic(r->ctx, name, (int)partitions, err) : 0;
}

static int read_message(struct cursor *c, const struct journal_reader *r, struct err *err)
{
    char topic[NAME_MAX_BYTES], names[BUS_MAX_HEADERS][NAME_MAX_BYTES];
    struct bus_message m = {.topic = topic};
    uint64_t n;

    take_name(c, topic);
    m.partition = (int)take_uint(c, 4);
    m.offset = (int64_t)take_uint(c, 8);
    m.timestamp_ms = (int64_t)take_uint(c, 8);
    m.key = take_bytes(c, &m.key_n);
    m.value = take_bytes(c, &m.value_n);
    n = take_uint(c, 4);
    c->is_bad = c->is_bad || n > BUS_MAX_HEADERS || m.partition < 0 || m.offset < 0;
    for (; !c->is_bad && m.n_headers < n; m.n_headers++) {
        struct bus_header *h = &m.headers[m.n_headers];

        take_name(c, names[m.n_headers]);
        h->name = names[m.n_headers];
        h->value = take_bytes(c, &h->n);
    }
    if (c->is_bad)
        return err_set(err, ERR_CODEC, NEXT_FATAL, "a message's record does not add up");
    return r->on_message ? r->on_message(r->ctx, &m, err) : 0;
}

int journal_read_records(struct slice payload, const struct journal_reader *r, struct err *err)
{
    struct cursor c = {.p = payload.p, .n = payload.n};

    while (c.n > 0) {
        switch (take_uint(&c, 1)) {
        case KIND_TOPIC:
            if (read_topic(&c, r, err))
                return -1;
            break;
        case KIND_MESSAGE:
            if (read_message(&c, r, err))
                return -1;
            break;
        default:
            return err_set(err, ERR_CODEC, NEXT_FATAL,
                           "a record of a kind that this version does not know");
        }
    }
    return 0;
}

/* ---- frames of a file ------------------------------------------------------------------------ */

/* Bytes of the whole frame at p, 0 when there is none. */
static size_t whole_frame(const char *p, size_t n, uint64_t *ret_number)
{
    struct cursor c = {.p = p + sizeof(FRAME_MAGIC), .n = JOURNAL_FRAME_HEAD_BYTES - 4};
    uint64_t payload, number, crc;

    if (n < JOURNAL_FRAME_HEAD_BYTES || memcmp(p, FRAME_MAGIC, sizeof(FRAME_MAGIC)) != 0)
        return 0;
    payload = take_uint(&c, 4);
    number = take_uint(&c, 8);
    crc = take_uint(&c, 4);
    if (payload > JOURNAL_FRAME_MAX_BYTES || payload > n - JOURNAL_FRAME_HEAD_BYTES)
        return 0;
    if (crc != frame_crc(p, (size_t)payload + JOURNAL_FRAME_HEAD_BYTES))
        return 0;
    *ret_number = number;
    return (size_t)payload + JOURNAL_FRAME_HEAD_BYTES;
}

/* Where the next whole frame with a number above `after` begins; the end when there is none. */
static size_t find_frame(struct slice file, size_t from, uint64_t after)
{
    uint64_t number;

    while (from < file.n) {
        const char *p = memmem(file.p + from, file.n - from, FRAME_MAGIC, sizeof(FRAME_MAGIC));

        if (!p)
            return file.n;
        from = (size_t)(p - file.p);
        if (whole_frame(p, file.n - from, &number) && number > after)
            return from;
        from++;
    }
    return file.n;
}

int journal_scan(struct slice file, struct journal_scan *ret, struct err *err)
{
    struct journal_scan s = {.good_bytes = JOURNAL_FILE_HEAD_BYTES};
    size_t head = file.n < sizeof(FILE_MAGIC) ? file.n : sizeof(FILE_MAGIC);
    uint64_t number;

    if (head > 0 && memcmp(file.p, FILE_MAGIC, head) != 0)
        return err_set(err, ERR_CODEC, NEXT_FATAL, "it does not begin as a journal does");
    if (head < sizeof(FILE_MAGIC)) { /* it was being made */
        *ret = (struct journal_scan){.torn_bytes = head};
        return 0;
    }
    while (s.good_bytes < file.n) {
        size_t n = whole_frame(file.p + s.good_bytes, file.n - s.good_bytes, &number);

        if (n == 0 || number != s.frames + 1)
            break;
        s.good_bytes += n;
        s.frames = number;
    }
    s.torn_bytes = file.n - s.good_bytes;
    if (s.torn_bytes > 0) {
        s.resumes_at = find_frame(file, s.good_bytes, s.frames);
        if (s.resumes_at < file.n)
            s.damaged_at = s.good_bytes;
        else
            s.resumes_at = 0;
    }
    *ret = s;
    return 0;
}

/* For journal_file.c. */
size_t journal__next_frame(struct slice file, size_t from, uint64_t after, size_t *ret_n,
                           uint64_t *ret_number)
{
    size_t at = find_frame(file, from, after);

    if (at < file.n)
        *ret_n = whole_frame(file.p + at, file.n - at, ret_number);
    return at;
}

struct slice journal__file_head(void)
{
    return (struct slice){FILE_MAGIC, sizeof(FILE_MAGIC)};
}
