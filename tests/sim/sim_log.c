/* The log in memory: append-only partitions, all of a history's memory in one arena. */
#include <string.h>

#include "common/bus.h"
#include "tests/sim/sim.h"

const char *sim_topic(enum record r)
{
    static char names[SIM_TOPICS][40];
    if (!names[r][0])
        snprintf(names[r], sizeof(names[r]), "relearn.%s", record_topic(r));
    return names[r];
}

static const char *header(const struct bus_message *m, const char *name)
{
    for (size_t i = 0; i < m->n_headers; i++)
        if (strcmp(m->headers[i].name, name) == 0)
            return m->headers[i].value;
    return NULL;
}

struct bus_header sim_keep_header(const struct bus_header *h)
{
    return (struct bus_header){arena_strdup(&sim.arena, h->name),
                               arena_strndup(&sim.arena, h->value, h->n), h->n};
}

static struct bus_message *copy_message(const struct sim_append *a, int partition, int64_t offset)
{
    struct bus_message *m = arena_alloc(&sim.arena, sizeof(*m));
    m->topic = sim_topic(a->record);
    m->partition = partition;
    m->offset = offset;
    m->timestamp_ms = (SIM_UNIX_BASE_US + sim.now_us) / SIM_MS;
    m->key = a->is_kept ? a->key.p : arena_strndup(&sim.arena, a->key.p, a->key.n);
    m->key_n = a->key.n;
    m->value =
        a->value.p && !a->is_kept ? arena_memdup(&sim.arena, a->value.p, a->value.n) : a->value.p;
    m->value_n = a->value.n;
    m->n_headers = a->n_headers < BUS_MAX_HEADERS ? a->n_headers : BUS_MAX_HEADERS;
    for (size_t i = 0; i < m->n_headers; i++)
        m->headers[i] = a->is_kept ? a->headers[i] : sim_keep_header(&a->headers[i]);
    return m;
}

static struct sim_entry *entry_of(const struct sim_append *a, struct bus_message *m)
{
    struct sim_entry *e = arena_alloc(&sim.arena, sizeof(*e));
    const char *hops = header(m, "ce_hops");
    *e = (struct sim_entry){.record = a->record,
                            .partition = m->partition,
                            .offset = m->offset,
                            .m = m,
                            .id = header(m, "ce_id"),
                            .cause = header(m, "ce_causationid"),
                            .seen = header(m, "ce_seen"),
                            .key = m->key,
                            .proc = a->proc,
                            .life = a->life,
                            .at_us = sim.now_us,
                            .number = sim.appends++};
    if (hops && str_to_i64(hops, &e->hops))
        e->hops = -1;
    if (m->value)
        e->rec = sim_decode(a->record, (struct slice){m->value, m->value_n});
    return e;
}

static void trace_entry(const struct sim_entry *e)
{
    const struct sim_proc *p = e->proc >= 0 ? &sim.procs[e->proc] : NULL;
    const char *what = "";
    if (!e->rec)
        what = e->m->value ? "(cannot be decoded)" : "(tombstone)";
    else if (e->record == RECORD_TRAINING_PLANNED)
        what = ((const struct training_planned *)e->rec)->kind;
    else if (e->record == RECORD_GATE_DECIDED)
        what = ((const struct gate_decided *)e->rec)->verdict;
    else if (e->record == RECORD_DEPLOYMENT_CHANGED)
        what = ((const struct deployment_changed *)e->rec)->kind;
    else if (e->record == RECORD_OPERATOR_COMMANDED)
        what = ((const struct operator_commanded *)e->rec)->command;
    sim_trace("append %s[%d]@%lld key=%s id=%.12s cause=%.12s by=%s %s", record_topic(e->record),
              e->partition, (long long)e->offset, e->key, e->id ? e->id : "-",
              e->cause ? e->cause : "-", p ? p->name : "world", what);
}

struct sim_entry *sim_append(const struct sim_append *a)
{
    int partition = a->partition >= 0 ? a->partition
                                      : bus_partition_of(a->key.p, a->key.n, sim.plan->partitions);
    struct sim_part *part = &sim.log[a->record][partition];
    struct sim_entry *e = entry_of(a, copy_message(a, partition, (int64_t)part->n));
    part->items = xgrow(part->items, &part->cap, part->n + 1, sizeof(struct sim_entry *));
    part->items[part->n++] = e;
    sim.digest = hash64(e->id ? e->id : "", e->id ? strlen(e->id) : 0, sim.digest + e->number);
    sim.digest = hash64(&e->at_us, sizeof(e->at_us), sim.digest);
    if (a->record != RECORD_TRAINING_PROGRESSED)
        sim.last_append_us = sim.now_us;
    if (sim.verbose)
        trace_entry(e);
    sim_check_append(e);
    sim_bus_wake(a->record, partition);
    return e;
}

struct sim_entry *sim_first(enum record r, const void *rec, const char *id, const char *key)
{
    CLEANUP(buf_fini) struct buf value = {0};
    char time[CLK_RFC3339_SIZE];
    clk_format(SIM_UNIX_BASE_US + sim.now_us, time);
    const struct bus_header headers[] = {{"ce_id", id, strlen(id)},
                                         {"ce_time", time, strlen(time)}};
    sim_encode(r, rec, &value);
    struct sim_append a = {.record = r,
                           .partition = -1,
                           .key = slice_str(key),
                           .value = buf_slice(&value),
                           .headers = headers,
                           .n_headers = ARRAY_LEN(headers),
                           .proc = -1};
    return sim_append(&a);
}

void sim_log_free(void)
{
    for (int r = 0; r < SIM_TOPICS; r++)
        for (int p = 0; p < SIM_PARTITIONS_MAX; p++)
            free_ptr(&sim.log[r][p].items);
    memset(sim.log, 0, sizeof(sim.log));
}
