/* The brokers' clock, as it shows in the newest events that agents wrote: what they say of their
 * own time beside the date that the broker gave them.  Nothing is written. */
#include <string.h>

#include "agents/relearn/doctor.h"
#include "agents/relearn/topics.h"
#include "common/clk.h"
#include "common/mem.h"

/* Written by agents alone, each event when it is said; others' clocks are no business of ours. */
static const enum record WATCHED[] = {RECORD_SERVING_CHANGED,  RECORD_DATASET_INGESTED,
                                      RECORD_TRAINING_PLANNED, RECORD_TRAINING_FINISHED,
                                      RECORD_MODEL_EVALUATED,  RECORD_GATE_DECIDED,
                                      RECORD_HEALTH_MEASURED,  RECORD_DEPLOYMENT_CHANGED};

enum {
    OF_EACH = 4, /* events of a partition: the newest ones of all are among them */
    NAME_SIZE = 256,
    TURN_MS = 50,
    CLOSE_MS = 3000,
    TIME_TEXT_MAX_BYTES = 64, /* a date of RFC 3339 is half of it */
};

struct watched {
    char names[ARRAY_LEN(WATCHED)][NAME_SIZE];
    struct bus_position *parts;
    size_t n_parts, cap_parts, n_ended;
    struct loop *loop;
    struct bus *bus;
    struct dated_newest newest;
    bool is_closed;
};

static void on_message(void *ctx, const struct bus_message *m)
{
    struct watched *w = ctx;
    for (size_t i = 0; i < m->n_headers; i++) {
        char text[TIME_TEXT_MAX_BYTES];
        int64_t us;
        const struct bus_header *h = &m->headers[i];
        if (strcmp(h->name, "ce_time") != 0 || !h->value || h->n >= sizeof(text))
            continue;
        memcpy(text, h->value, h->n);
        text[h->n] = '\0';
        if (clk_parse(text, &us) == 0 && m->timestamp_ms > 0)
            dated_add(&w->newest, (struct dated){us / 1000, m->timestamp_ms});
    }
}

static void on_end(void *ctx, const char *topic, int partition, int64_t offset)
{
    struct watched *w = ctx;
    (void)offset;
    for (size_t i = 0; i < w->n_parts; i++)
        if (w->parts[i].offset >= 0 && w->parts[i].partition == partition &&
            strcmp(w->parts[i].topic, topic) == 0) {
            w->parts[i].offset = -1; /* its end counts once */
            w->n_ended++;
        }
}

static void on_closed(void *ctx)
{
    ((struct watched *)ctx)->is_closed = true;
}

static bool is_closed(void *ctx)
{
    return ((struct watched *)ctx)->is_closed;
}

static bool is_known(void *ctx)
{
    return bus_cluster_id(((struct watched *)ctx)->bus) != NULL;
}

static bool is_read(void *ctx)
{
    const struct watched *w = ctx;
    return w->n_ended == w->n_parts;
}

/* The ends of one topic; what has no event or no leader is passed over. */
static int add_topic(struct watched *w, const char *name, int64_t until_ms, struct err *err)
{
    int partitions = bus_partitions(w->bus, name);
    for (int p = 0; p < partitions; p++) {
        int64_t left = until_ms - clk_mono_ms(&clk_system), low = 0, high = 0;
        if (left <= 0)
            return err_set(err, ERR_TIMEOUT, NEXT_RETRY, "no end of %s in time", name);
        if (bus_offsets(w->bus, name, p, left, &low, &high, err))
            return -1;
        if (high <= low)
            continue;
        w->parts = xgrow(w->parts, &w->cap_parts, w->n_parts + 1, sizeof(*w->parts));
        w->parts[w->n_parts++] =
            (struct bus_position){name, p, high - OF_EACH > low ? high - OF_EACH : low};
    }
    return 0;
}

static int read_newest(struct watched *w, const struct doctor *d,
                       const struct bus_topic_state *states, int64_t wait_ms, struct err *err)
{
    int64_t until = clk_mono_ms(&clk_system) + wait_ms;
    const char *names[ARRAY_LEN(WATCHED)];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(WATCHED); i++) {
        topic_spec(WATCHED[i], d->site->prefix, 0, 0, w->names[i], NAME_SIZE);
        if (states[WATCHED[i]].is_dated)
            names[n++] = w->names[i];
    }
    if (!loop_until(w->loop, is_known, w, (int)wait_ms))
        return err_set(err, ERR_TIMEOUT, NEXT_RETRY, "no broker answers");
    if (n && bus_wait_topics(w->bus, names, n, wait_ms, err))
        return -1;
    for (size_t i = 0; i < n; i++)
        if (add_topic(w, names[i], until, err))
            return -1;
    if (bus_assign(w->bus, w->parts, w->n_parts, err))
        return -1;
    if (!loop_until(w->loop, is_read, w, (int)wait_ms))
        return err_set(err, ERR_TIMEOUT, NEXT_RETRY, "the newest events do not come");
    return 0;
}

void doctor_clock(struct doctor *d, const struct bus_conf *conf,
                  const struct bus_topic_state *states, int64_t wait_ms)
{
    struct watched w = {0};
    struct err err = {0};
    const struct bus_callbacks cb = {.on_message = on_message, .on_end = on_end, .ctx = &w};
    if (loop_new(&w.loop, &err) || bus_open(w.loop, conf, &cb, &w.bus, &err) ||
        read_newest(&w, d, states, wait_ms, &err))
        doctor_say(d, DOCTOR_WARN, "clocks", "start the brokers that are away; then doctor again",
                   "the brokers' clock cannot be told: %s", err.msg);
    else
        judge_broker_clock(&w.newest, clk_unix_ms(&clk_system), doctor_found, d);
    if (w.bus) {
        bus_close(w.bus, 0, on_closed, &w);
        (void)loop_until(w.loop, is_closed, &w, CLOSE_MS);
    }
    if (w.loop)
        loop_free(w.loop);
    free_ptr(&w.parts);
}
