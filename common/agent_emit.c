/* Events out: ids from causes, headers, and what is on its way.
 *
 * An emission is in flight from agent_emit until it has been read back in the fold (or its delivery
 * failed).  While it is, emitting it again does nothing; so reconcile may be called at any time. */
#include <stdio.h>
#include <string.h>

#include "common/agent_internal.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/rng.h"

struct header_set {
    struct bus_header items[BUS_MAX_HEADERS];
    size_t n;
    struct arena arena;
};

static void header_add(struct header_set *h, const char *name, const char *value)
{
    if (!value || h->n == BUS_MAX_HEADERS)
        return;
    h->items[h->n++] = (struct bus_header){.name = name, .value = value, .n = strlen(value)};
}

/* What the headers of one event are made of. */
struct envelope {
    enum record record;
    const char *id, *key, *cause, *correlation, *trace, *source, *seen;
    int hops;
};

/* A W3C traceparent of version 00: 00-<32 hex digits>-<16>-<2>. */
static bool is_trace(const char *s)
{
    static const char shape[] = "hh-hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh-hhhhhhhhhhhhhhhh-hh";

    for (size_t i = 0; i < sizeof(shape) - 1; i++)
        if (shape[i] == 'h' ? !strchr("0123456789abcdef", s[i]) || !s[i] : s[i] != shape[i])
            return false;
    return true;
}

static void headers_of(struct agent *a, const struct envelope *e, struct header_set *h)
{
    struct arena *mem = &h->arena;
    char *time = arena_alloc(mem, CLK_RFC3339_SIZE), trace[33], span[17];
    clk_format(clk_unix_us(a->clk), time);
    const char *correlation = e->correlation ? e->correlation : e->id;
    id_to_trace(correlation, trace);
    if (e->trace && is_trace(e->trace))
        snprintf(trace, sizeof(trace), "%.32s",
                 e->trace + 3); /* an outside tracer's trace goes on */
    id_to_span(e->id, span);
    header_add(h, "ce_specversion", "1.0");
    header_add(h, "ce_id", e->id);
    header_add(h, "ce_source", e->source ? e->source : a->source);
    header_add(h, "ce_type", arena_printf(mem, "relearn.v1.%s", record_avro_name(e->record)));
    header_add(h, "ce_time", time);
    header_add(h, "ce_subject", e->key);
    header_add(h, "content-type", "application/avro");
    header_add(h, "traceparent", arena_printf(mem, "00-%s-%s-01", trace, span));
    header_add(h, "ce_causationid", e->cause);
    header_add(h, "ce_correlationid", correlation);
    header_add(h, "ce_hops", arena_printf(mem, "%d", e->hops));
    header_add(h, "ce_seen", e->seen);
}

/* ---- ce_seen: "<cluster>;plans=12,models=5", how far the writer had read the line's partition
 * ---- */

/* Offset of a topic in a ce_seen text of this cluster; -1 when it says nothing of it. */
static int64_t seen_of(const struct agent *a, const char *seen, const char *topic)
{
    size_t cluster_n = strlen(a->cluster), topic_n = strlen(topic);
    if (!seen || !cluster_n || strncmp(seen, a->cluster, cluster_n) != 0 || seen[cluster_n] != ';')
        return -1;
    for (const char *at = seen + cluster_n + 1; at && *at;) {
        const char *end = strchr(at, ',');
        size_t n = end ? (size_t)(end - at) : strlen(at);
        if (n > topic_n + 1 && strncmp(at, topic, topic_n) == 0 && at[topic_n] == '=') {
            char number[24] = "";
            int64_t v = 0;
            n -= topic_n + 1;
            if (n >= sizeof(number))
                return -1;
            memcpy(number, at + topic_n + 1, n);
            return str_to_i64(number, &v) ? -1 : v;
        }
        at = end ? end + 1 : NULL;
    }
    return -1;
}

void agent__seen_note(struct agent *a, const struct event *ev)
{
    for (size_t i = 0; ev->seen && i < a->n_inputs; i++) {
        struct input *in = &a->inputs[i];
        if ((in->kind != INPUT_WORK && in->kind != INPUT_TABLE) || ev->partition >= in->partitions)
            continue;
        int64_t seen = seen_of(a, ev->seen, record_topic(in->record));
        if (seen > in->parts[ev->partition].need)
            in->parts[ev->partition].need = seen;
    }
}

static const char *seen_text(struct agent *a, const struct unit *u, const struct event *cause,
                             struct arena *arena)
{
    CLEANUP(buf_fini) struct buf b = {0};
    if (!a->cluster[0] || !u || !u->is_owned)
        return cause ? cause->seen : NULL;
    buf_addf(&b, "%s;", a->cluster);
    bool first = true;
    for (int r = 1; r < RECORD_COUNT; r++) {
        if (!record_is_control((enum record)r))
            continue;
        int64_t offset = cause ? seen_of(a, cause->seen, record_topic((enum record)r)) : -1;
        const struct input *in = agent__input_of(a, (enum record)r);
        if (in && (in->kind == INPUT_WORK || in->kind == INPUT_TABLE) &&
            u->partition < in->partitions && in->parts[u->partition].next > offset)
            offset = in->parts[u->partition].next;
        if (offset <= 0)
            continue;
        buf_addf(&b, "%s%s=%lld", first ? "" : ",", record_topic((enum record)r),
                 (long long)offset);
        first = false;
    }
    return arena_strndup(arena, b.data, b.len);
}

/* ---- emissions ---- */

struct emitted { /* travels through the bus */
    struct agent *a;
    char id[ID_SIZE];
};

static void flight_free(struct agent *a, struct flight *f)
{
    HASH_DEL(a->flights, f);
    free_ptr(&f->map_key);
    free_ptr(&f);
}

void agent__flight_folded(struct agent *a, const char *id)
{
    struct flight *f = NULL;
    HASH_FIND_STR(a->flights, id, f);
    if (f)
        flight_free(a, f);
}

/* What a unit that was taken away has on its way is the next owner's to look for. */
void agent__flights_drop(struct agent *a)
{
    struct flight *f, *next;
    HASH_ITER (hh, a->flights, f, next) {
        struct unit_x *x = NULL;
        HASH_FIND_STR(a->units, f->map_key, x);
        if (!x)
            flight_free(a, f);
    }
}

void agent__flights_free(struct agent *a)
{
    struct flight *f, *next;
    HASH_ITER (hh, a->flights, f, next)
        flight_free(a, f);
}

static void on_emitted(void *ctx, const struct err *err, int partition, int64_t offset)
{
    (void)partition;
    (void)offset;
    struct emitted *e = ctx;
    struct agent *a = e->a;
    struct flight *f = NULL;
    a->publishing--;
    HASH_FIND_STR(a->flights, e->id, f);
    if (f && err) {
        struct unit_x *x = NULL;
        HASH_FIND_STR(a->units, f->map_key, x);
        flight_free(a, f);
        if (x && !a->was_killed)
            agent__backoff(a, x, err, "deliver");
    } else if (f) {
        f->is_acked = true;
        f->since_mono_ms = clk_mono_ms(a->clk);
        agent_count(a, "emitted_total", NULL, 1);
    }
    free_ptr(&e);
}

static bool is_known(struct agent *a, enum record r, const char *key, const char *id)
{
    struct flight *f = NULL;
    HASH_FIND_STR(a->flights, id, f);
    if (f)
        return true;
    struct unit_x *x = agent__unit(a, r, key, false);
    return x && line_has(x->u.line, r, id);
}

bool agent__has_bulk(const struct agent *a)
{
    for (size_t i = 0; i < a->spec->n_outputs; i++)
        if (a->spec->outputs[i] == RECORD_PREDICTION_SERVED ||
            a->spec->outputs[i] == RECORD_LABEL_OBSERVED)
            return true;
    return false;
}

static int produce(struct agent *a, const struct envelope *e, const void *rec, bool is_bulk,
                   bus_delivered_fn fn, void *ctx, struct err *err)
{
    CLEANUP(buf_fini) struct buf value = {0};
    if (rec && codec_encode(a->codec, e->record, rec, &value, err))
        return err_wrap(err, "encode %s", record_str(e->record));
    struct header_set h = {0};
    headers_of(a, e, &h);
    CLEANUP_FREE char *topic = xconcat(a->prefix, record_topic(e->record), "");
    struct slice bytes = rec ? buf_slice(&value) : (struct slice){0};
    int rc = (is_bulk ? bus_produce_bulk : bus_produce)(a->bus, topic, -1, slice_str(e->key), bytes,
                                                        h.items, h.n, fn, ctx, err);
    arena_fini(&h.arena);
    return rc;
}

int agent_emit(struct agent *a, struct unit *u, const struct emission *em, struct err *err)
{
    const char *key = em->key ? em->key : record_own_key(em->record, em->rec);
    BUG_ON(!key || !u);
    char id[ID_SIZE];
    id_from_cause(record_topic(em->record), em->cause ? em->cause->id : "",
                  em->about ? em->about : "", id);
    if (is_known(a, em->record, key, id))
        return 0;
    struct arena mem = {0};
    struct envelope e = {.record = em->record, .id = id, .key = key};
    if (em->cause) {
        e.cause = em->cause->id;
        e.correlation = em->cause->correlation;
        e.trace = em->cause->trace;
        e.hops = em->cause->hops + 1;
    }
    e.seen = seen_text(a, u, em->cause, &mem);
    struct emitted *ctx = xcalloc(1, sizeof(*ctx));
    ctx->a = a;
    memcpy(ctx->id, id, ID_SIZE);
    struct flight *f = xcalloc(1, sizeof(*f));
    memcpy(f->id, id, ID_SIZE);
    f->record = em->record;
    f->map_key = xstrdup(CONTAINER_OF(u, struct unit_x, u)->map_key);
    f->since_mono_ms = clk_mono_ms(a->clk);
    HASH_ADD_STR(a->flights, id, f);
    a->publishing++;
    int rc = EFFECT_SURE(produce, "agent.emit", FAULT_ERR(err),
                         produce(a, &e, em->rec, false, on_emitted, ctx, err));
    arena_fini(&mem);
    if (rc) {
        a->publishing--;
        flight_free(a, f);
        free_ptr(&ctx);
        return -1;
    }
    log_debug("event.emitted", "topic=%s key=%s id=%s cause=%s", record_topic(em->record), key, id,
              e.cause ? e.cause : "-");
    return 0;
}

/* ---- publications ---- */

struct published {
    struct agent *a;
    char id[160];
    agent_published_fn fn;
    void *ctx;
};

static void on_published(void *ctx, const struct err *err, int partition, int64_t offset)
{
    (void)partition;
    (void)offset;
    struct published *p = ctx;
    p->a->publishing--;
    if (err)
        agent_count(p->a, "publish_failed_total", NULL, 1);
    if (p->fn)
        p->fn(p->ctx, p->id, err);
    free_ptr(&p);
}

int agent_publish(struct agent *a, const struct publication *pub, agent_published_fn fn, void *ctx,
                  char ret_id[ID_SIZE], struct err *err)
{
    const char *key = pub->key ? pub->key : record_own_key(pub->record, pub->rec);
    BUG_ON(!key);
    char fresh[ID_SIZE] = "";
    if (!pub->id) /* not for nothing: a prediction brings its own */
        id_random(fresh);
    struct envelope e = {.record = pub->record,
                         .id = pub->id ? pub->id : fresh,
                         .key = key,
                         .cause = pub->cause,
                         .correlation = pub->correlation,
                         .source = pub->source,
                         .hops = pub->hops};
    struct published *p = xcalloc(1, sizeof(*p));
    p->a = a;
    p->fn = fn;
    p->ctx = ctx;
    str_copy(p->id, sizeof(p->id), e.id);
    a->publishing++;
    if (EFFECT_SURE(
            produce, "agent.publish", FAULT_ERR(err),
            produce(a, &e, pub->rec, pub->is_bulk && agent__has_bulk(a), on_published, p, err))) {
        a->publishing--;
        free_ptr(&p);
        return -1;
    }
    if (ret_id)
        str_copy(ret_id, ID_SIZE, e.id);
    return 0;
}

/* ---- what goes aside or elsewhere ---- */

struct moved {
    struct agent *a;
    struct input *in;
    int partition;
    int64_t offset;
};

/* What was not moved must be met again: its position is not committed, and the cache, which would
 * pass over it, is not written before everything is where it goes (agent__cache_flush). */
static void on_moved(void *ctx, const struct err *err, int partition, int64_t offset)
{
    (void)partition;
    (void)offset;
    struct moved *m = ctx;
    struct agent *a = m->a;
    a->publishing--;
    a->moving--;
    struct part *p = &m->in->parts[m->partition];
    struct pending *pd = p->assigned ? agent__pending_at(p, m->offset) : NULL;
    if (err)
        log_error("event.not_moved", "topic=%s partition=%d offset=%lld error=%s", m->in->topic,
                  m->partition, (long long)m->offset, err->msg);
    if (err && err->next != NEXT_REJECT) {
        a->moving++; /* nothing is flushed on the way out, be it this one or one that was asked for
                      */
        if (!a->is_stopping && !a->was_killed)
            agent__fail(a, 75, "agent.restart", err);
    } else if (pd && !pd->unit) {
        pd->is_done = true; /* refused for good: nothing gets better by meeting it again */
    }
    agent__run_soon(a);
    free_ptr(&m);
}

static struct moved *moved_new(struct agent *a, struct input *in, const struct bus_message *m)
{
    struct moved *mv = xcalloc(1, sizeof(*mv));
    mv->a = a;
    mv->in = in;
    mv->partition = m->partition;
    mv->offset = m->offset;
    return mv;
}

/* A dead letter is a record itself, so there is a most that it keeps: key and headers in a quarter
 * of it, then as much of the value as there is room for. */
static void keep_bytes(const struct bus_message *m, struct arena *mem, struct dead_lettered *ret)
{
    enum { TEXTS_BYTES = 16 << 10, HEADER_BYTES = 16 }; /* what is not the message's; of a length */
    const size_t room = CODEC_MAX_BYTES - TEXTS_BYTES;
    struct dead_header *headers = arena_alloc(mem, (m->n_headers + 1) * sizeof(*headers));
    size_t used = m->key_n < room / 4 ? m->key_n : room / 4, n = 0;
    ret->key = (struct bytes){m->key, used};
    for (size_t i = 0; i < m->n_headers; i++) {
        const struct bus_header *h = &m->headers[i];
        size_t bytes = strlen(h->name) + h->n + HEADER_BYTES;
        if (used + bytes > room / 2)
            continue;
        used += bytes;
        headers[n++] = (struct dead_header){.name = h->name, .value = {h->value, h->n}};
    }
    ret->headers = (struct dead_header_list){headers, n};
    ret->value = (struct bytes){m->value, m->value_n < room - used ? m->value_n : room - used};
    if (ret->value.n < m->value_n || n < m->n_headers || ret->key.n < m->key_n)
        ret->reason = arena_printf(mem, "%s (kept: %zu of its %zu bytes, %zu of its %zu headers)",
                                   ret->reason, ret->value.n, m->value_n, n, m->n_headers);
}

int agent__dead_letter(struct agent *a, struct input *in, const struct bus_message *m,
                       const struct err *why, int attempts, struct err *err)
{
    struct arena mem = {0};
    struct dead_lettered rec = {
        .topic = in->topic,
        .partition = m->partition,
        .offset = m->offset,
        .agent = a->spec->name,
        .code = err_code_str(why->code),
        .reason = why->msg,
        .attempts = attempts > 0 ? attempts : 1,
        .failed_unix_ms = clk_unix_ms(a->clk),
    };
    keep_bytes(m, &mem, &rec);
    char id[ID_SIZE];
    id_from_cause("deadletters", in->topic,
                  arena_printf(&mem, "%s %d %lld", a->cluster, m->partition, (long long)m->offset),
                  id);
    struct envelope e = {.record = RECORD_DEAD_LETTERED, .id = id, .key = in->topic};
    struct moved *mv = moved_new(a, in, m);
    a->publishing++;
    a->moving++;
    int rc = EFFECT_SURE(produce, "agent.dead_letter", FAULT_ERR(err),
                         produce(a, &e, &rec, false, on_moved, mv, err));
    arena_fini(&mem);
    if (rc) {
        a->publishing--;
        a->moving--;
        free_ptr(&mv);
        return -1;
    }
    agent_count(a, "dead_letters_total", NULL, 1);
    log_warn("event.dead_letter", "topic=%s partition=%d offset=%lld id=%s error=%s", in->topic,
             m->partition, (long long)m->offset, id, why->msg);
    return 0;
}

int agent__forward(struct agent *a, struct input *in, const struct bus_message *m, const char *id,
                   const char *key, int partition, struct err *err)
{
    struct bus_header headers[BUS_MAX_HEADERS];
    size_t n = 0;
    bool has_id = false;
    for (size_t i = 0; i < m->n_headers && n < BUS_MAX_HEADERS - 1; i++) {
        has_id = has_id || strcmp(m->headers[i].name, "ce_id") == 0;
        headers[n++] = m->headers[i];
    }
    if (!has_id) /* derived from bytes that may change with the key: from here on it has a name */
        headers[n++] = (struct bus_header){.name = "ce_id", .value = id, .n = strlen(id)};
    struct moved *mv = moved_new(a, in, m);
    a->publishing++;
    a->moving++;
    struct slice value = {m->value, m->value_n};
    if (EFFECT_SURE(produce, "agent.forward", FAULT_ERR(err),
                    bus_produce(a->bus, in->topic, partition, slice_str(key), value, headers, n,
                                on_moved, mv, err))) {
        a->publishing--;
        a->moving--;
        free_ptr(&mv);
        return -1;
    }
    agent_count(a, "forwarded_total", NULL, 1);
    return 0;
}

int agent_send_back(struct agent *a, const struct dead_lettered *d, const char *key, const char *id,
                    agent_published_fn fn, void *ctx, struct err *err)
{
    struct bus_header headers[BUS_MAX_HEADERS];
    struct slice own_key = {d->key.p, d->key.n};
    size_t n = 0;
    headers[n++] = (struct bus_header){.name = "ce_id", .value = id, .n = strlen(id)};
    for (size_t i = 0; i < d->headers.n && n < BUS_MAX_HEADERS; i++) {
        const struct dead_header *h = &d->headers.items[i];
        if (strcmp(h->name, "ce_id") != 0)
            headers[n++] =
                (struct bus_header){.name = h->name, .value = h->value.p, .n = h->value.n};
    }
    struct published *p = xcalloc(1, sizeof(*p));
    p->a = a;
    p->fn = fn;
    p->ctx = ctx;
    str_copy(p->id, sizeof(p->id), id);
    a->publishing++;
    struct slice value = {d->value.p, d->value.n};
    if (own_key.n == 0)
        own_key = slice_str(key);
    if (EFFECT_SURE(
            produce, "agent.send_back", FAULT_ERR(err),
            bus_produce(a->bus, d->topic, -1, own_key, value, headers, n, on_published, p, err))) {
        a->publishing--;
        free_ptr(&p);
        return -1;
    }
    return 0;
}

void agent_stream_done(struct agent *a, enum record r, int partition, int64_t next_offset)
{
    struct input *in = agent__input_of(a, r);
    if (!in || partition < 0 || partition >= in->partitions || !in->parts[partition].assigned)
        return;
    if (in->parts[partition].settled == next_offset || in->kind != INPUT_STREAM)
        return;
    in->parts[partition].settled = next_offset;
    FAULT_AT(commit, "agent.stream.settle");
    bus_commit(a->bus, in->topic, partition, next_offset);
}
