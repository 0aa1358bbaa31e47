#include "agents/relearn/logread.h"

#include <stdlib.h>
#include <string.h>

#include "agents/relearn/topics.h"
#include "common/artifact.h"
#include "common/clk.h"
#include "common/codec.h"
#include "common/mem.h"
#include "common/schemareg.h"

enum {
    TOPICS_WAIT_MS = 5000,
    CONNECT_WAIT_MS = 30000, /* on a busy machine the consumer needs a while after the producer */
    ENDS_WAIT_MS = 10000,    /* for one partition's ends */
    SILENCE_MS = 20000,      /* a bus that says nothing for so long has gone */
    SCHEMA_WAIT_MS = 5000, /* for the registry, before an event counts as one that cannot be read */
    TURN_MS = 50,
    CLOSE_MS = 3000,
};

struct part {
    int64_t first; /* oldest offset seen or told; -1 unknown */
    int64_t next, end;
    bool is_held; /* until a schema is there */
    int64_t held_since_ms;
};
struct topic {
    enum record record;
    char *name;
    int partitions;
    struct part *parts;
};
struct logread {
    struct loop *loop;
    struct bus *bus;
    struct codec *codec;
    struct schemareg *registry;
    struct artifacts store;
    struct topic topics[RECORD_COUNT];
    size_t n_topics;
    logread_fn fn;
    void *ctx;
    int64_t heard_ms;
    bool is_closed;
};

static struct part *part_of(struct logread *l, const char *topic, int partition,
                            enum record *ret_record)
{
    for (size_t i = 0; i < l->n_topics; i++) {
        struct topic *t = &l->topics[i];
        if (strcmp(t->name, topic) != 0 || partition < 0 || partition >= t->partitions)
            continue;
        *ret_record = t->record;
        return &t->parts[partition];
    }
    return NULL;
}

static const char *header(struct arena *arena, const struct bus_message *m, const char *name)
{
    for (size_t i = 0; i < m->n_headers; i++)
        if (strcmp(m->headers[i].name, name) == 0 && m->headers[i].value)
            return arena_strndup(arena, m->headers[i].value, m->headers[i].n);
    return NULL;
}

/* A writer's schema that has to be fetched comes on the pool: the partition is read again from here
 * with the next turn. */
static bool is_to_wait(struct logread *l, struct part *p, const struct bus_message *m)
{
    struct err none = {0};
    int64_t now = clk_mono_ms(&clk_system);
    if (!p->held_since_ms)
        p->held_since_ms = now;
    if (now - p->held_since_ms > SCHEMA_WAIT_MS ||
        bus_seek(l->bus, m->topic, m->partition, m->offset, &none) ||
        bus_pause(l->bus, m->topic, m->partition, true, &none))
        return false;
    p->is_held = true;
    p->next = m->offset;
    return true;
}

static void let_go(struct logread *l)
{
    struct err none = {0};
    for (size_t i = 0; i < l->n_topics; i++)
        for (int p = 0; p < l->topics[i].partitions; p++) {
            struct part *at = &l->topics[i].parts[p];
            if (at->is_held && bus_pause(l->bus, l->topics[i].name, p, false, &none) == 0)
                at->is_held = false;
        }
}

static void tell(struct logread *l, struct part *p, const struct bus_message *m, struct event *ev)
{
    struct err why = {0};
    int rc = codec_decode(l->codec, ev->type, (struct slice){m->value, m->value_n}, &ev->arena,
                          &ev->rec, &why);
    if (rc == 1 && is_to_wait(l, p, m))
        return;
    if (rc == 1)
        err_set(&why, ERR_TIMEOUT, NEXT_RETRY, "the schema registry does not answer");
    p->held_since_ms = 0;
    l->fn(l->ctx, m, ev->type, rc ? NULL : ev, rc ? &why : NULL);
}

static void on_message(void *ctx, const struct bus_message *m)
{
    struct logread *l = ctx;
    enum record r = RECORD_NONE;
    struct part *p = part_of(l, m->topic, m->partition, &r);
    struct event ev = {0};
    if (!p || m->offset < p->next)
        return;
    l->heard_ms = clk_mono_ms(&clk_system);
    if (p->first < 0)
        p->first = m->offset;
    p->next = m->offset + 1;
    if (!m->value) {
        l->fn(l->ctx, m, r, NULL, NULL);
        return;
    }
    ev.type = r;
    ev.partition = m->partition;
    ev.offset = m->offset;
    ev.id = header(&ev.arena, m, "ce_id");
    if (!ev.id)
        ev.id = "";
    ev.cause = header(&ev.arena, m, "ce_causationid");
    const char *time = header(&ev.arena, m, "ce_time");
    if (!time || clk_parse(time, &ev.time_unix_us))
        ev.time_unix_us = clk_us_of_ms(m->timestamp_ms);
    ev.key = arena_strndup(&ev.arena, m->key_n ? m->key : "", m->key_n);
    tell(l, p, m, &ev);
    arena_fini(&ev.arena);
}

static void on_end(void *ctx, const char *topic, int partition, int64_t offset)
{
    struct logread *l = ctx;
    enum record r;
    struct part *p = part_of(l, topic, partition, &r);
    if (p && offset > p->next) /* nothing there, or what was there is gone */
        p->next = offset;
    l->heard_ms = clk_mono_ms(&clk_system);
}

/* ---- open ---- */

/* Writers of other versions leave their schemas in the store. */
static int find_schema(void *ctx, uint64_t fingerprint, struct buf *ret, struct err *err)
{
    return artifacts_get_schema(&((struct logread *)ctx)->store, fingerprint, ret, err);
}

static int open_codec(struct logread *l, const struct site *site, struct err *err)
{
    struct err none = {0};
    if (codec_new(&l->codec, err))
        return -1;
    if (artifacts_open_existing(site->artifacts, &l->store, &none) == 0)
        codec_set_find(l->codec, find_schema, l);
    if (!site->registry)
        return 0;
    if (schemareg_open(l->loop, site->registry, site->registry_token, &l->registry, err))
        return -1;
    codec_set_lookup(l->codec, schemareg_lookup, l->registry);
    return 0;
}

static int assign(struct logread *l, struct err *err)
{
    struct bus_position *all = NULL;
    size_t n = 0, cap = 0;
    for (size_t i = 0; i < l->n_topics; i++) {
        struct topic *t = &l->topics[i];
        t->partitions = bus_partitions(l->bus, t->name);
        t->parts = xcalloc((size_t)t->partitions + 1, sizeof(*t->parts));
        all = xgrow(all, &cap, n + (size_t)t->partitions + 1, sizeof(*all));
        for (int p = 0; p < t->partitions; p++) {
            t->parts[p].first = -1;
            all[n++] = (struct bus_position){t->name, p, BUS_OFFSET_EARLIEST};
        }
    }
    int rc = bus_assign(l->bus, all, n, err);
    free(all);
    return rc;
}

/* A partition that was just made, or moves, has no leader for a moment. */
static int ask_end(struct logread *l, const char *topic, int partition, struct part *at,
                   struct err *err)
{
    int64_t until = clk_mono_ms(&clk_system) + ENDS_WAIT_MS, low = 0;
    while (bus_offsets(l->bus, topic, partition, ENDS_WAIT_MS, &low, &at->end, err)) {
        if (err->next != NEXT_RETRY || clk_mono_ms(&clk_system) > until)
            return -1;
        loop_turn(l->loop, TURN_MS);
    }
    if (at->first < 0 && low > 0)
        at->first = low;
    return 0;
}

static int ask_ends(struct logread *l, struct err *err)
{
    for (size_t i = 0; i < l->n_topics; i++)
        for (int p = 0; p < l->topics[i].partitions; p++) {
            if (ask_end(l, l->topics[i].name, p, &l->topics[i].parts[p], err))
                return -1;
        }
    return 0;
}

static bool is_connected(void *ctx)
{
    return bus_cluster_id(((struct logread *)ctx)->bus) != NULL;
}

static int open_bus(struct logread *l, const struct site *site, struct err *err)
{
    const struct bus_conf conf = {
        .brokers = site->brokers, .client_id = "relearn-read", .x = site->x, .n_x = site->n_x};
    const struct bus_callbacks cb = {.on_message = on_message, .on_end = on_end, .ctx = l};
    const char *names[RECORD_COUNT];
    if (bus_open(l->loop, &conf, &cb, &l->bus, err))
        return -1;
    for (size_t i = 0; i < l->n_topics; i++)
        names[i] = l->topics[i].name;
    if (bus_wait_topics(l->bus, names, l->n_topics, TOPICS_WAIT_MS, err))
        return -1;
    if (!loop_until(l->loop, is_connected, l, CONNECT_WAIT_MS))
        return err_set(err, ERR_TIMEOUT, NEXT_RETRY, "no broker at %s answers", site->brokers);
    return assign(l, err) || ask_ends(l, err) ? -1 : 0;
}

int logread_open(const struct site *site, const enum record *records, size_t n, logread_fn fn,
                 void *ctx, struct logread **ret, struct err *err)
{
    struct logread *l = xcalloc(1, sizeof(*l));
    l->fn = fn;
    l->ctx = ctx;
    for (size_t i = 0; i < n; i++)
        l->topics[l->n_topics++] =
            (struct topic){.record = records[i],
                           .name = xasprintf("%s%s", site->prefix, record_topic(records[i]))};
    if (loop_new(&l->loop, err) || open_codec(l, site, err) || open_bus(l, site, err)) {
        logread_close(l);
        return -1;
    }
    *ret = l;
    return 0;
}

/* ---- run ---- */

static bool is_at_ends(const struct logread *l)
{
    for (size_t i = 0; i < l->n_topics; i++)
        for (int p = 0; p < l->topics[i].partitions; p++)
            if (l->topics[i].parts[p].next < l->topics[i].parts[p].end)
                return false;
    return true;
}

int logread_run(struct logread *l, struct err *err)
{
    if (ask_ends(l, err))
        return err_wrap(err, "read the log");
    l->heard_ms = clk_mono_ms(&clk_system);
    while (!is_at_ends(l)) {
        loop_turn(l->loop, TURN_MS);
        let_go(l);
        if (clk_mono_ms(&clk_system) - l->heard_ms > SILENCE_MS)
            return err_set(err, ERR_TIMEOUT, NEXT_RETRY,
                           "read the log: nothing has come for %d s; is the bus up?",
                           SILENCE_MS / 1000);
    }
    return 0;
}

bool logread_is_cut(const struct logread *l, struct logread_gap *ret)
{
    for (size_t i = 0; i < l->n_topics; i++) {
        const struct topic *t = &l->topics[i];
        for (int p = 0; p < t->partitions; p++)
            if (strcmp(topic_kept(t->record), "forever") == 0 && t->parts[p].first > 0) {
                *ret = (struct logread_gap){t->name, p, t->parts[p].first};
                return true;
            }
    }
    return false;
}

static const struct topic *topic_of(const struct logread *l, enum record r)
{
    for (size_t i = 0; i < l->n_topics; i++)
        if (l->topics[i].record == r)
            return &l->topics[i];
    return NULL;
}

int logread_partitions(const struct logread *l, enum record r)
{
    const struct topic *t = topic_of(l, r);
    return t ? t->partitions : 0;
}

int64_t logread_first(const struct logread *l, enum record r, int partition)
{
    const struct topic *t = topic_of(l, r);
    return t && partition < t->partitions && t->parts[partition].first > 0
               ? t->parts[partition].first
               : 0;
}

const char *logread_cluster(const struct logread *l)
{
    const char *id = bus_cluster_id(l->bus);
    return id ? id : "";
}

struct codec *logread_codec(struct logread *l)
{
    return l->codec;
}

/* ---- close ---- */

static void on_closed(void *ctx)
{
    ((struct logread *)ctx)->is_closed = true;
}

static bool is_closed(void *ctx)
{
    return ((struct logread *)ctx)->is_closed;
}

void logread_close(struct logread *l)
{
    if (!l)
        return;
    if (l->bus) {
        bus_close(l->bus, 0, on_closed, l);
        (void)loop_until(l->loop, is_closed, l, CLOSE_MS);
    }
    schemareg_close(l->registry);
    codec_free(l->codec);
    artifacts_close(&l->store);
    if (l->loop)
        loop_free(l->loop);
    for (size_t i = 0; i < l->n_topics; i++) {
        free(l->topics[i].name);
        free(l->topics[i].parts);
    }
    free(l);
}
