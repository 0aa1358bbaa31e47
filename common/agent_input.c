/* From the log to the fold: one message at a time, in offset order per partition.
 *
 * Guarantees: a message is folded once (offset, then id); what cannot be decoded is a dead letter
 * and the partition moves on; what lies on a partition that is not its key's is forwarded once with
 * the same id; a writer's schema that must be fetched first holds back its partition only. */
#include <string.h>

#include "common/agent_internal.h"
#include "common/fault.h"
#include "common/log.h"
#include "common/mem.h"

enum { HOLD_MS = 100, HOLD_MAX_MS = 5000 }; /* between two tries for a schema: longer each time */

static struct input *input_of_topic(struct agent *a, const char *topic)
{
    for (size_t i = 0; i < a->n_inputs; i++)
        if (strcmp(a->inputs[i].topic, topic) == 0)
            return &a->inputs[i];
    return NULL;
}

struct input *agent__input_of(struct agent *a, enum record r)
{
    for (size_t i = 0; i < a->n_inputs; i++)
        if (a->inputs[i].record == r)
            return &a->inputs[i];
    return NULL;
}

/* An outside producer need not give an id: then the same bytes are the same event. */
static const char *derived_id(struct arena *arena, const struct bus_message *m)
{
    char hex[DIGEST_HEX_SIZE], id[ID_SIZE];
    digest_bytes(m->value, m->value_n, hex);
    CLEANUP_FREE char *key = xstrndup(m->key_n ? m->key : "", m->key_n);
    id_from_cause(m->topic, key, hex, id);
    return arena_strdup(arena, id);
}

static const char *text_of(struct arena *arena, const struct bus_header *h)
{
    return arena_strndup(arena, h->value, h->n);
}

static int hops_of(const struct bus_header *h)
{
    int64_t hops = 0;
    char text[24];
    if (h->n >= sizeof(text))
        return 0;
    memcpy(text, h->value, h->n);
    text[h->n] = '\0';
    return str_to_i64(text, &hops) == 0 && hops > 0 && hops < INT32_MAX ? (int)hops : 0;
}

static bool time_of(const struct bus_header *h, int64_t *ret_unix_us)
{
    char text[64]; /* RFC 3339 has half of it */
    if (h->n >= sizeof(text))
        return false;
    memcpy(text, h->value, h->n);
    text[h->n] = '\0';
    return clk_parse(text, ret_unix_us) == 0;
}

/* What an agent asks of a header; the first of a name counts. */
struct envelope_in {
    const struct bus_header *id, *cause, *correlation, *source, *trace, *seen, *hops, *time;
};

static void sort_headers(const struct bus_message *m, struct envelope_in *ret)
{
    const struct {
        const char *name;
        const struct bus_header **to;
    } wanted[] = {{"ce_id", &ret->id},          {"ce_causationid", &ret->cause},
                  {"ce_source", &ret->source},  {"ce_correlationid", &ret->correlation},
                  {"traceparent", &ret->trace}, {"ce_seen", &ret->seen},
                  {"ce_hops", &ret->hops},      {"ce_time", &ret->time}};
    for (size_t i = 0; i < m->n_headers; i++)
        for (size_t k = 0; m->headers[i].value && k < ARRAY_LEN(wanted); k++)
            if (!*wanted[k].to && strcmp(m->headers[i].name, wanted[k].name) == 0) {
                *wanted[k].to = &m->headers[i];
                break;
            }
}

/* The fold keeps most events for ever: what one holds is in one piece, and about as large as that.
 */
static void reserve(struct arena *mem, enum record r, const struct bus_message *m)
{
    size_t bytes = m->key_n + m->value_n + m->value_n / 4 + record_struct_size(r);
    for (size_t i = 0; i < m->n_headers; i++)
        bytes += m->headers[i].n + 1;
    arena_reserve(mem, bytes);
}

static struct event *event_of(enum record r, const struct bus_message *m)
{
    struct event *ev = xcalloc(1, sizeof(*ev));
    struct arena *mem = &ev->arena;
    struct envelope_in in = {0};
    sort_headers(m, &in);
    reserve(mem, r, m);
    ev->type = r;
    ev->partition = m->partition;
    ev->offset = m->offset;
    ev->key = arena_strndup(mem, m->key_n ? m->key : "", m->key_n);
    ev->id = in.id ? text_of(mem, in.id) : NULL;
    if (!ev->id || !id_is_valid(ev->id))
        ev->id = derived_id(mem, m);
    ev->cause = in.cause ? text_of(mem, in.cause) : NULL;
    ev->correlation = in.correlation ? text_of(mem, in.correlation) : ev->id;
    ev->source = in.source ? text_of(mem, in.source) : NULL;
    ev->trace = in.trace ? text_of(mem, in.trace) : NULL;
    ev->seen = in.seen ? text_of(mem, in.seen) : NULL;
    ev->hops = in.hops ? hops_of(in.hops) : 0;
    if (!in.time || !time_of(in.time, &ev->time_unix_us))
        ev->time_unix_us = clk_us_of_ms(m->timestamp_ms);
    return ev;
}

/* A poisoned message: its bytes go to deadletters if this agent works on the topic; else it is
 * passed over. Returns false when the dead letter could not be queued: to be read again. */
static bool set_aside(struct agent *a, struct input *in, struct part *p,
                      const struct bus_message *m, const struct err *why)
{
    agent_count(a, "undecodable_total", NULL, 1);
    if (a->is_reading_cache)
        return true;
    bool is_worker = in->kind == INPUT_WORK || in->kind == INPUT_STREAM;
    if (!is_worker) {
        log_warn("event.passed_over", "topic=%s partition=%d offset=%lld error=%s", in->topic,
                 m->partition, (long long)m->offset, why->msg);
        return true;
    }
    struct err err = {0};
    if (agent__dead_letter(a, in, m, why, p->decode_tries, &err)) {
        log_error("deadletter.failed", "topic=%s partition=%d offset=%lld error=%s", in->topic,
                  m->partition, (long long)m->offset, err.msg);
        return false;
    }
    if (in->kind == INPUT_WORK)
        agent__push_pending(p, (struct pending){.offset = m->offset});
    return true;
}

/* Reads this partition again from `offset` in a moment. */
static void hold(struct agent *a, struct input *in, struct part *p, const struct bus_message *m)
{
    struct err err = {0};
    p->next = m->offset;
    if (a->is_reading_cache) /* from here on the log is read, where this can wait */
        return;
    if (bus_seek(a->bus, in->topic, m->partition, m->offset, &err))
        log_warn("agent.hold", "topic=%s partition=%d error=%s", in->topic, m->partition, err.msg);
    if (bus_pause(a->bus, in->topic, m->partition, true, &err))
        log_warn("agent.hold", "topic=%s partition=%d error=%s", in->topic, m->partition, err.msg);
    p->resumed = false;
    int64_t delay_ms = (int64_t)HOLD_MS * p->decode_tries;
    loop_timer_start(a->hold_timer, delay_ms < HOLD_MAX_MS ? delay_ms : HOLD_MAX_MS);
}

/* The key that the record itself names is the one that counts. */
static bool is_elsewhere(struct agent *a, struct input *in, struct event *ev, int *ret_partition)
{
    const char *own = record_own_key(ev->type, ev->rec);
    if (!own || !own[0])
        return false;
    if (strcmp(own, ev->key) != 0)
        ev->key = arena_strdup(&ev->arena, own);
    *ret_partition = bus_partition_of(own, strlen(own), in->partitions);
    (void)a;
    return *ret_partition != ev->partition && in->kind != INPUT_GLOBAL &&
           in->kind != INPUT_GLOBAL_STREAM;
}

static void fold(struct agent *a, struct input *in, struct part *p, struct event *ev)
{
    struct unit_x *x = agent__unit(a, ev->type, ev->key, true);
    if (in->kind != INPUT_GLOBAL) {
        x->u.is_owned = true;
        x->u.partition = ev->partition;
    }
    if (in->kind != INPUT_GLOBAL)
        agent__seen_note(a, ev);
    enum record type = ev->type;
    int64_t offset = ev->offset, time_us = ev->time_unix_us;
    CLEANUP_FREE char *id = xstrdup(ev->id);
    FAULT_AT(fold, "agent.fold.before");
    if (!line_fold(x->u.line, ev)) {
        agent_count(a, "repeated_total", NULL, 1);
        agent__flight_folded(a, id);
        return;
    }
    const struct event *kept = line_find(x->u.line, type, id);
    if (in->kind == INPUT_WORK && kept)
        agent__push_pending(p, (struct pending){.offset = offset, .unit = x, .ev = kept});
    if (p->at_end && !a->is_reading_cache)
        agent_observe_ms(a, "hop_ms", record_topic(type),
                         (double)(clk_unix_us(a->clk) - time_us) / 1000.0);
    FAULT_AT(fold, "agent.fold.after");
    agent__flight_folded(a, id);
    if (kept && a->spec->folded)
        a->spec->folded(a, &x->u, kept);
    agent__mark(a, x);
}

/* Returns false when it is to be read again later. */
static bool take_event(struct agent *a, struct input *in, struct part *p,
                       const struct bus_message *m, struct event *ev)
{
    bool is_taken = true;
    int partition = 0;
    struct err err = {0};
    if (is_elsewhere(a, in, ev, &partition)) { /* a table waits for what its worker forwards */
        is_taken = a->is_reading_cache || in->kind == INPUT_TABLE ||
                   agent__forward(a, in, m, ev->id, ev->key, partition, &err) == 0;
        if (!is_taken)
            log_error("forward.failed", "topic=%s id=%s error=%s", in->topic, ev->id, err.msg);
        else if (in->kind == INPUT_WORK && !a->is_reading_cache)
            agent__push_pending(p, (struct pending){.offset = m->offset});
        event_free(ev);
    } else if (!ev->key[0]) {
        err_inval(&err, "the event has no key and its record names none");
        is_taken = set_aside(a, in, p, m, &err);
        event_free(ev);
    } else if (ev->type == RECORD_PIPELINE_DECLARED) {
        agent__declare(a, ev, NULL);
    } else if (in->kind == INPUT_STREAM || in->kind == INPUT_GLOBAL_STREAM) {
        FAULT_AT(fold, "agent.stream.before");
        if (a->spec->stream)
            a->spec->stream(a, ev);
        else
            event_free(ev);
    } else {
        fold(a, in, p, ev);
    }
    return is_taken;
}

static void take_tombstone(struct agent *a, struct input *in, const struct bus_message *m)
{
    if (in->record != RECORD_PIPELINE_DECLARED || !m->key_n)
        return;
    CLEANUP_FREE char *name = xstrndup(m->key, m->key_n);
    agent__declare(a, NULL, name);
}

/* Returns false when the message is to be read again later. */
static bool take_message(struct agent *a, struct input *in, struct part *p,
                         const struct bus_message *m)
{
    if (!m->value) {
        take_tombstone(a, in, m);
        return true;
    }
    struct event *ev = event_of(in->record, m);
    struct err err = {0};
    int rc = codec_decode(a->codec, in->record, (struct slice){m->value, m->value_n}, &ev->arena,
                          &ev->rec, &err);
    if (rc == 0) {
        p->decode_tries = 0;
        if (take_event(a, in, p, m, ev))
            return true;
        p->decode_tries = 1;
        hold(a, in, p, m);
        return false;
    }
    event_free(ev);
    bool may_come = rc == 1 || err.next == NEXT_RETRY;
    if (rc == 1)
        err_set(&err, ERR_TIMEOUT, NEXT_RETRY, "the schema registry has not answered");
    if (may_come) { /* for ever: a registry that is down must not make dead letters of good events
                     */
        p->decode_tries++;
        agent_count(a, "decode_retries_total", NULL, 1);
        hold(a, in, p, m);
        return false;
    }
    if (!set_aside(a, in, p, m, &err)) {
        p->decode_tries = 1;
        hold(a, in, p, m);
        return false;
    }
    p->decode_tries = 0;
    return true;
}

/* Offsets went back, or the last cached event is another one: the topic was made anew. */
static bool is_another_log(struct agent *a, struct input *in, struct part *p,
                           const struct bus_message *m)
{
    if (p->verify) {
        p->verify = false;
        if (m->offset == p->next - 1 && agent__cache_matches(a, m))
            return false;
        if (m->offset >= p->next)
            return false; /* compacted away, or retention took it */
    }
    struct err err = {0};
    err_set(&err, ERR_CONFLICT, NEXT_FATAL,
            "%s [%d] is another log than the cached one at offset %lld: it was made anew; the "
            "cache is dropped",
            in->topic, m->partition, (long long)m->offset);
    agent__cache_reset(a);
    agent__fail(a, 75, "agent.restart", &err);
    return true;
}

void agent__on_message(void *ctx, const struct bus_message *m)
{
    struct agent *a = ctx;
    struct input *in = input_of_topic(a, m->topic);
    if (!in || m->partition < 0 || m->partition >= in->partitions || a->is_stopped)
        return;
    struct part *p = &in->parts[m->partition];
    if (!p->assigned)
        return;
    if (m->offset < p->next) {
        if (in->kind != INPUT_STREAM && in->kind != INPUT_GLOBAL_STREAM && p->verify)
            is_another_log(a, in, p, m);
        return;
    }
    p->verify = false;
    p->next = m->offset + 1;
    if (!take_message(a, in, p, m))
        return;
    bool is_folded = in->kind != INPUT_STREAM && in->kind != INPUT_GLOBAL_STREAM;
    if (is_folded && !a->is_reading_cache)
        agent__cache_add(a, in, m);
}

void agent__on_end(void *ctx, const char *topic, int partition, int64_t offset)
{
    struct agent *a = ctx;
    struct input *in = input_of_topic(a, topic);
    if (!in || partition < 0 || partition >= in->partitions || !in->parts[partition].assigned)
        return;
    struct part *p = &in->parts[partition];
    if (offset >= 0 && offset < p->next && p->verify) { /* shorter than what is cached */
        struct bus_message m = {.topic = topic, .partition = partition, .offset = offset};
        is_another_log(a, in, p, &m);
        return;
    }
    if (p->at_end)
        return;
    p->at_end = true;
    agent__check_restored(a);
}
