#include "agents/broker/report.h"

#include <inttypes.h>

#include "common/json.h"

static void metric(struct buf *out, const char *name, const char *type, const char *help,
                   uint64_t v)
{
    buf_addf(out, "# HELP relearn_broker_%s %s\n# TYPE relearn_broker_%s %s\n", name, help, name,
             type);
    buf_addf(out, "relearn_broker_%s %" PRIu64 "\n", name, v);
}

void report_metrics(const struct report *r, struct buf *out)
{
    const struct keeper_stats *s = &r->keeper;

    metric(out, "ready", "gauge", "1 when clients are let in.", r->is_ready);
    metric(out, "journal_records_total", "counter", "Messages journalled and synced.", s->records);
    metric(out, "journal_bytes_total", "counter", "Bytes of them in the journal.", s->bytes);
    metric(out, "journal_batches_total", "counter", "Syncs of the journal.", s->batches);
    metric(out, "journal_file_bytes", "gauge", "Bytes of the journal.", s->journal_bytes);
    metric(out, "journal_lag_records", "gauge", "Messages of the bus that are not yet synced.",
           r->lag);
    metric(out, "journal_sync_ms_max", "gauge",
           "Longest time from reading a message to its sync, in milliseconds.",
           (uint64_t)s->sync_max_ms);
    metric(out, "journal_stalled", "gauge", "1 while the disk is full and nobody is let in.",
           r->stalled[0] != '\0');
    metric(out, "journal_stalls_total", "counter", "How often the disk was full.", s->stalls);
    metric(out, "journal_lost_records_total", "counter",
           "Messages that left the ring before they were journalled.", s->lost);
    metric(out, "journal_torn_bytes", "gauge", "Cut off the journal's end at start.",
           r->scan.torn_bytes);
    metric(out, "refilled_records", "gauge", "Messages that came from the journal at start.",
           r->refill.records);
    metric(out, "refilled_placeholders", "gauge", "Offsets that the journal lacked at start.",
           r->refill.placeholders);
}

static void add_journal(const struct report *r, struct json *j)
{
    const struct keeper_stats *s = &r->keeper;

    json_set_str(j, "path", r->journal);
    json_set_int(j, "bytes", (int64_t)s->journal_bytes);
    json_set_int(j, "records", (int64_t)s->records);
    json_set_int(j, "unsynced_records", (int64_t)r->lag);
    json_set_int(j, "sync_every_ms", r->sync_every_ms);
    json_set_int(j, "sync_ms", s->sync_ms);
    json_set_int(j, "sync_max_ms", s->sync_max_ms);
    json_set_int(j, "lost_records", (int64_t)s->lost);
    json_set_int(j, "stalls", (int64_t)s->stalls);
    json_set_int(j, "torn_bytes", (int64_t)r->scan.torn_bytes);
    json_set_int(j, "refilled_records", (int64_t)r->refill.records);
    json_set_int(j, "placeholders", (int64_t)r->refill.placeholders);
}

void report_status(const struct report *r, struct buf *out)
{
    CLEANUP(json_freep) struct json *j = json_object();

    json_set_bool(j, "ready", r->is_ready && !r->stalled[0]);
    json_set_str(j, "address", r->address);
    json_set_str(j, "version", RELEARN_VERSION);
    json_set_str(j, "stalled", r->stalled[0] ? r->stalled : NULL);
    if (r->journal)
        add_journal(r, json_set(j, "journal", json_object()));
    json_write(j, 0, false, out);
    buf_add_char(out, '\n');
}
