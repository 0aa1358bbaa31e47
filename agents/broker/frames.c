#include "agents/broker/frames.h"

#include <string.h>

#include "common/rng.h"

enum {
    CORRELATION_END = 12, /* of a request's head; the client's id follows */
    FETCH_MIN = 4,
    FETCH_MAX = 11,
    PRODUCE_MIN = 3,
    PRODUCE_MAX = 7,
};

struct cursor {
    const unsigned char *p;
    size_t n, at;
    bool is_bad;
};

static struct cursor cursor_of(struct slice s)
{
    return (struct cursor){.p = (const unsigned char *)s.p, .n = s.n};
}

static uint32_t take(struct cursor *c, size_t bytes)
{
    uint32_t v = 0;

    if (c->is_bad || c->n - c->at < bytes) {
        c->is_bad = true;
        return 0;
    }
    for (size_t i = 0; i < bytes; i++)
        v = v << 8 | c->p[c->at++];
    return v;
}

static int32_t take_i32(struct cursor *c)
{
    return (int32_t)take(c, 4);
}

static int16_t take_i16(struct cursor *c)
{
    return (int16_t)take(c, 2);
}

static void skip(struct cursor *c, size_t bytes)
{
    if (c->is_bad || c->n - c->at < bytes)
        c->is_bad = true;
    else
        c->at += bytes;
}

static struct slice take_string(struct cursor *c)
{
    int16_t n = take_i16(c);
    struct slice s = {(const char *)c->p + c->at, n < 0 ? 0 : (size_t)n};

    skip(c, s.n);
    return s;
}

/* An array's length; what is absurd ends the parsing before it costs time. */
static int32_t take_count(struct cursor *c)
{
    int32_t n = take_i32(c);

    if (n < 0 || (size_t)n > c->n)
        c->is_bad = true;
    return c->is_bad ? 0 : n;
}

bool frame_head(struct slice from, struct frame_head *ret)
{
    struct cursor c = cursor_of(from);
    int32_t n = take_i32(&c);

    if (from.n < FRAME_HEAD_BYTES)
        return false;
    ret->bytes = n < 0 ? 0 : (size_t)n + 4;
    ret->api = take_i16(&c);
    ret->version = take_i16(&c);
    return true;
}

void part_set_add(struct part_set *s, struct slice topic, int32_t partition)
{
    uint64_t h = hash64(topic.p, topic.n, (uint64_t)partition) % (ARRAY_LEN(s->bits) * 64);

    s->bits[h / 64] |= 1ull << (h % 64);
}

bool part_set_meets(const struct part_set *a, const struct part_set *b)
{
    uint64_t both = 0;

    for (size_t i = 0; i < ARRAY_LEN(a->bits); i++)
        both |= a->bits[i] & b->bits[i];
    return both != 0;
}

/* ---- Fetch ----------------------------------------------------------------------------------- */

/* Bytes of one partition in an answer without records; its error code is behind the 4 of its
 * number. */
static size_t partition_bytes(int version)
{
    size_t n = 4 + 2 + 8 + 8; /* number, error, high watermark, last stable offset */

    n += version >= 5 ? 8 : 0;  /* log start offset */
    n += 4;                     /* aborted transactions: none */
    n += version >= 11 ? 4 : 0; /* preferred replica */
    return n + 4;               /* records: none */
}

static size_t answer_head_bytes(int version)
{
    return 4 + 4 + 4 +
           (version >= 7 ? 2 + 4 : 0); /* length, correlation, throttle, error, session */
}

static void skip_request_head(struct cursor *c)
{
    skip(c, CORRELATION_END);
    take_string(c); /* client id */
}

bool fetch_parse(struct slice frame, struct fetch *ret)
{
    struct cursor c = cursor_of(frame);
    struct frame_head head;
    struct fetch f = {0};

    if (!frame_head(frame, &head) || head.version < FETCH_MIN || head.version > FETCH_MAX)
        return false;
    f.version = head.version;
    skip_request_head(&c);
    skip(&c, 4); /* replica */
    f.wait_at = c.at;
    skip(&c,
         4 + 4 + 4 + 1 + (f.version >= 7 ? 8u : 0u)); /* bytes, isolation, session and its epoch */
    f.empty_bytes = answer_head_bytes(f.version) + 4;
    for (int32_t topics = take_count(&c); topics > 0; topics--) {
        struct slice topic = take_string(&c);
        int32_t partitions = take_count(&c);

        f.empty_bytes += 2 + topic.n + 4 + (size_t)partitions * partition_bytes(f.version);
        for (; partitions > 0 && !c.is_bad; partitions--) {
            size_t from = c.at;

            part_set_add(&f.parts, topic, take_i32(&c));
            skip(&c, (f.version >= 9 ? 4u : 0u) + 8 + (f.version >= 5 ? 8u : 0u) + 4);
            if (!c.is_bad) /* clients turn the list round by one each time */
                f.positions += hash64(frame.p + from, c.at - from, hash64(topic.p, topic.n, 0));
        }
    }
    if (c.is_bad)
        return false;
    *ret = f;
    return true;
}

void fetch_set_wait(char *frame, const struct fetch *f, int32_t wait_ms)
{
    for (int i = 0; i < 4; i++)
        frame[f->wait_at + (size_t)i] = (char)((uint32_t)wait_ms >> (24 - 8 * i) & 0xff);
}

bool fetch_answer_is_empty(const struct fetch *f, struct slice answer)
{
    struct cursor c = cursor_of(answer);
    bool is_plain = true;

    if (answer.n != f->empty_bytes)
        return false;
    skip(&c, 4 + 4 + 4);
    if (f->version >= 7) {
        is_plain = take_i16(&c) == 0;
        skip(&c, 4);
    }
    for (int32_t topics = take_count(&c); topics > 0 && is_plain; topics--) {
        take_string(&c);
        for (int32_t n = take_count(&c); n > 0 && is_plain; n--) {
            skip(&c, 4);
            is_plain = take_i16(&c) == 0;
            skip(&c, partition_bytes(f->version) - 4 - 2);
        }
    }
    return is_plain && !c.is_bad;
}

/* ---- Produce --------------------------------------------------------------------------------- */

bool produce_parse(struct slice frame, struct part_set *ret)
{
    struct cursor c = cursor_of(frame);
    struct frame_head head;
    struct part_set parts = {0};

    if (!frame_head(frame, &head) || head.version < PRODUCE_MIN || head.version > PRODUCE_MAX)
        return false;
    skip_request_head(&c);
    take_string(&c); /* transactional id */
    skip(&c, 2 + 4); /* acks, timeout */
    for (int32_t topics = take_count(&c); topics > 0; topics--) {
        struct slice topic = take_string(&c);

        for (int32_t n = take_count(&c); n > 0 && !c.is_bad; n--) {
            part_set_add(&parts, topic, take_i32(&c));
            skip(&c, (size_t)take_count(&c)); /* records */
        }
    }
    if (c.is_bad)
        return false;
    *ret = parts;
    return true;
}
