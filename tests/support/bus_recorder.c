#include "tests/support/bus_recorder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void on_message(void *ctx, const struct bus_message *m)
{
    struct recorder *r = ctx;
    struct recorded *to;
    struct err err = {0};

    r->messages = xgrow(r->messages, &r->cap_messages, r->n_messages + 1, sizeof(*to));
    to = &r->messages[r->n_messages++];
    *to = (struct recorded){
        .topic = arena_strdup(&r->arena, m->topic),
        .partition = m->partition,
        .offset = m->offset,
        .timestamp_ms = m->timestamp_ms,
        .key = m->key ? arena_strndup(&r->arena, m->key, m->key_n) : NULL,
        .key_n = m->key_n,
        .value = m->value ? arena_strndup(&r->arena, m->value, m->value_n) : NULL,
        .value_n = m->value_n,
        .n_headers = m->n_headers,
    };
    for (size_t i = 0; i < m->n_headers; i++) {
        to->headers[i] = (struct bus_header){
            .name = arena_strdup(&r->arena, m->headers[i].name),
            .value = arena_memdup(&r->arena, m->headers[i].value, m->headers[i].n),
            .n = m->headers[i].n,
        };
    }
    if (r->pause_each)
        assert_return_code(bus_pause(r->bus, m->topic, m->partition, true, &err), 0);
}

static void on_end(void *ctx, const char *topic, int partition, int64_t offset)
{
    struct recorder *r = ctx;

    r->ends = xgrow(r->ends, &r->cap_ends, r->n_ends + 1, sizeof(*r->ends));
    r->ends[r->n_ends++] = (struct recorded_end){
        .topic = arena_strdup(&r->arena, topic), .partition = partition, .offset = offset};
}

static void on_turn(void *ctx)
{
    ((struct recorder *)ctx)->turns++;
}

static void on_assigned(void *ctx, const struct bus_position *p, size_t n)
{
    struct recorder *r = ctx;
    struct err err = {0};

    assert_true(n <= ARRAY_LEN(r->owned));
    r->n_owned = 0;
    for (size_t i = 0; i < n; i++) {
        r->owned[r->n_owned++] = (struct bus_position){
            .topic = arena_strdup(&r->arena, p[i].topic),
            .partition = p[i].partition,
            .offset = p[i].offset,
        };
    }
    if (r->take_all && bus_assign(r->bus, r->owned, r->n_owned, &err))
        fail_msg("assign: %s", err.msg);
    r->assigned++;
}

static void on_revoked(void *ctx, bool lost)
{
    struct recorder *r = ctx;

    r->revoked++;
    r->lost += lost;
    r->n_owned = 0;
}

static void on_problem(void *ctx, const struct err *err)
{
    struct recorder *r = ctx;

    r->problems++;
    r->problem = *err;
}

static void on_connected(void *ctx, const char *cluster_id)
{
    struct recorder *r = ctx;

    r->connected++;
    str_copy(r->cluster_id, sizeof(r->cluster_id), cluster_id);
}

static void on_closed(void *ctx)
{
    ((struct recorder *)ctx)->closed++;
}

void recorder_open(struct recorder *r, struct loop *l, const struct bus_conf *conf)
{
    const struct bus_callbacks cb = {
        .on_message = on_message,
        .on_end = on_end,
        .on_turn = on_turn,
        .on_assigned = on_assigned,
        .on_revoked = on_revoked,
        .on_problem = on_problem,
        .on_connected = on_connected,
        .ctx = r,
    };
    struct err err = {0};

    *r = (struct recorder){.loop = l, .take_all = true};
    if (bus_open(l, conf, &cb, &r->bus, &err))
        fail_msg("bus_open: %s", err.msg);
}

void recorder_close(struct recorder *r, int64_t flush_ms)
{
    if (!r->bus)
        return;
    bus_close(r->bus, flush_ms, on_closed, r);
    recorder_wait_count(r, &r->closed, 1);
    assert_int_equal(r->closed, 1);
    free_ptr(&r->messages);
    free_ptr(&r->ends);
    arena_fini(&r->arena);
    r->bus = NULL;
}

static void on_delivered(void *ctx, const struct err *err, int partition, int64_t offset)
{
    struct recorder *r = ctx;

    (void)partition;
    if (err) {
        r->failed++;
        r->failure = *err;
    } else {
        r->delivered++;
        r->delivered_offset = offset;
    }
}

void recorder_send(struct recorder *r, const char *topic, int partition, const char *key,
                   const char *value)
{
    struct err err = {0};

    if (bus_produce(r->bus, topic, partition, slice_str(key), slice_str(value), NULL, 0,
                    on_delivered, r, &err))
        fail_msg("produce to %s: %s", topic, err.msg);
}

void recorder_assign(struct recorder *r, const char *topic, int partition, int64_t offset)
{
    const struct bus_position p = {topic, partition, offset};
    struct err err = {0};

    if (bus_assign(r->bus, &p, 1, &err))
        fail_msg("assign %s[%d]: %s", topic, partition, err.msg);
}

struct wait {
    const int *count;
    const size_t *size;
    size_t n;
};

static bool reached(void *ctx)
{
    const struct wait *w = ctx;

    return (w->count ? (size_t)*w->count : *w->size) >= w->n;
}

static void wait_for(struct recorder *r, struct wait w, const char *what)
{
    if (!loop_until(r->loop, reached, &w, RECORDER_WAIT_MS))
        fail_msg("waited for %zu %s, have %zu; newest problem: %s", w.n, what,
                 w.count ? (size_t)*w.count : *w.size, r->problem.msg);
}

void recorder_wait_messages(struct recorder *r, size_t n)
{
    wait_for(r, (struct wait){.size = &r->n_messages, .n = n}, "messages");
}

void recorder_wait_delivered(struct recorder *r, int n)
{
    wait_for(r, (struct wait){.count = &r->delivered, .n = (size_t)n}, "deliveries");
}

void recorder_wait_count(struct recorder *r, const int *count, int n)
{
    wait_for(r, (struct wait){.count = count, .n = (size_t)n}, "callbacks");
}
