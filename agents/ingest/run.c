#include "agents/ingest/run.h"

#include <time.h>

#include "agents/ingest/freeze.h"
#include "agents/ingest/reader.h"
#include "common/clk.h"
#include "common/codec.h"
#include "common/json.h"
#include "common/rng.h"

enum { WAIT_SLICE_MS = 50 }; /* how soon a pause sees that it is canceled */

void ingest_result_fini(struct ingest_result *r)
{
    arena_fini(&r->arena);
    *r = (struct ingest_result){0};
}

/* ---- reading, with patience ---- */

static bool is_canceled(const struct ingest_request *rq)
{
    return rq->cancel && __atomic_load_n(rq->cancel, __ATOMIC_RELAXED);
}

/* Doubling pauses that add up to retry_ms, each cut by up to half by chance. */
static void pause_before(const struct ingest_request *rq, int attempt)
{
    int64_t units = (INT64_C(1) << (rq->attempts - 1)) - 1;
    int64_t ms = rq->retry_ms / (units > 0 ? units : 1) << (attempt - 1);
    int64_t until =
        clk_mono_ms(&clk_system) + ms / 2 + (int64_t)(rng_os_seed() % (uint64_t)(ms / 2 + 1));

    while (clk_mono_ms(&clk_system) < until && !is_canceled(rq))
        nanosleep(&(struct timespec){.tv_nsec = WAIT_SLICE_MS * 1000000L}, NULL);
}

static void refuse_fetch(struct sheet *s, const struct err *why, int attempts)
{
    char times[32];

    snprintf(times, sizeof(times), attempts == 1 ? "once" : "%d times", attempts);
    report_whole(&s->report, REPORT_NO_COLUMN, BROKEN_FETCH, VIOLATION_REJECT, 1,
                 "%s; tried %s. Publish it again when it can be fetched.", why->msg, times);
}

static int read_patiently(const struct ingest_request *rq, const struct reader_request *reader,
                          struct sheet *s, uint64_t *ret_bytes, struct err *err)
{
    for (int attempt = 1;; attempt++) {
        enum broken rule = BROKEN_COUNT;

        if (reader_read(reader, s, ret_bytes, &rule, err) == 0)
            return 0;
        if (is_canceled(rq) || rule != BROKEN_FETCH)
            return -1;
        sheet_close(s);
        if (attempt >= rq->attempts) {
            refuse_fetch(s, err, attempt);
            return 0;
        }
        pause_before(rq, attempt);
        if (is_canceled(rq))
            return err_set(err, ERR_CANCELED, NEXT_RETRY, "canceled");
    }
}

/* ---- outcomes ---- */

struct run {
    const struct ingest_request *rq;
    const char *version;
    struct sheet sheet;
    struct freezer freezer;
    uint64_t bytes;
    int64_t began_ms;
    struct arena *arena;
};

static struct dataset_ingested outcome(const struct run *r, const char *segment)
{
    const struct pipeline *p = r->rq->pipeline;
    CLEANUP(buf_fini) struct buf line = {0};

    line_name(p->name, segment, &line);
    return (struct dataset_ingested){
        .line = arena_strdup(r->arena, line.data),
        .pipeline = arena_strdup(r->arena, p->name),
        .segment = arena_strdup(r->arena, segment),
        .pipeline_sha256 = arena_strdup(r->arena, p->sha256),
        .dataset = arena_strdup(r->arena, r->rq->dataset->dataset),
        .version = arena_strdup(r->arena, r->version),
        .dataset_event = arena_strdup(r->arena, r->rq->dataset_event),
        .status = "rejected",
        .bytes = (int64_t)r->bytes,
    };
}

/* Rows that no segment has: of another number of fields, or without a segment. */
static int64_t left_out(const struct report *r)
{
    int64_t n = 0;

    for (size_t i = 0; i < r->n; i++)
        if (r->items[i].rule == BROKEN_CSV || r->items[i].rule == BROKEN_SEGMENTS)
            n += r->items[i].count;
    return n;
}

static const char *accepted_reason(struct arena *arena, const struct dataset_ingested *o)
{
    const char *text = arena_printf(
        arena, "%lld rows: %lld to learn from, %lld to stop by, %lld to test", (long long)o->rows,
        (long long)o->train_rows, (long long)o->valid_rows, (long long)o->test_rows);

    if (o->rows_quarantined > 0)
        text = arena_printf(arena, "%s; %lld left out", text, (long long)o->rows_quarantined);
    if (o->rows_seen_before > 0)
        text = arena_printf(arena, "%s; %lld seen before", text, (long long)o->rows_seen_before);
    if (o->violations.n > 0)
        text = arena_printf(arena, "%s; %zu rule%s of the contract broken without being refused",
                            text, o->violations.n, o->violations.n == 1 ? "" : "s");
    return arena_printf(arena, "%s.", text);
}

static void conclude(const struct run *r, const struct report *a, const struct report *b,
                     struct dataset_ingested *o)
{
    o->violations = report_violations(a, b, r->sheet.names, r->arena);
    o->seconds = (double)(clk_mono_ms(&clk_system) - r->began_ms) / 1000;
    o->reason = strcmp(o->status, "accepted") == 0 ? accepted_reason(r->arena, o)
                                                   : report_reason(o->violations, r->arena);
}

static const struct ingest_line *earlier_of(const struct ingest_request *rq, const char *segment)
{
    static const struct ingest_line none = {0};

    for (size_t i = 0; i < rq->n_earlier; i++) {
        const char *name = rq->earlier[i].segment;

        if (segment && name ? strcmp(segment, name) == 0 : !segment && !name)
            return &rq->earlier[i];
    }
    return &none;
}

static int conclude_segment(struct run *r, struct segment *g, struct dataset_ingested *o,
                            struct err *err)
{
    const struct ingest_line *earlier = earlier_of(r->rq, g->name);

    *o = outcome(r, g->name);
    struct freeze_request rq = {
        .line = o->line,
        .dataset = o->dataset,
        .version = o->version,
        .earlier = earlier->snapshots,
        .n_earlier = earlier->n,
        .cache = r->rq->cache,
    };
    if (freeze_segment(&r->freezer, &r->sheet, g, &rq, r->arena, o, err))
        return -1;
    if (strcmp(o->status, "accepted") == 0 && r->sheet.n_segments == 1)
        o->rows_quarantined += left_out(&r->sheet.report);
    conclude(r, &g->report, &r->sheet.report, o);
    return 0;
}

static int conclude_all(struct run *r, struct ingest_result *ret, struct err *err)
{
    bool whole = r->sheet.report.is_rejected;
    size_t n = whole ? 1 : r->sheet.n_segments;
    struct dataset_ingested *items = arena_alloc(r->arena, n * sizeof(*items));

    if (whole) {
        items[0] = outcome(r, NULL);
        /* Without segments the rows' faults belong to the same outcome. */
        conclude(r, &r->sheet.report,
                 r->sheet.n_segments == 1 && !r->sheet.segments[0]->name
                     ? &r->sheet.segments[0]->report
                     : NULL,
                 &items[0]);
    }
    for (size_t i = 0; !whole && i < n; i++) {
        if (is_canceled(r->rq))
            return err_set(err, ERR_CANCELED, NEXT_RETRY, "canceled");
        if (conclude_segment(r, r->sheet.segments[i], &items[i], err))
            return -1;
    }
    if (freezer_publish(&r->freezer, err))
        return -1;
    ret->items = items;
    ret->n = n;
    return 0;
}

int ingest_run(const struct ingest_request *rq, struct ingest_result *ret, struct err *err)
{
    const struct dataset_published *d = rq->dataset;
    struct ingest_result result = {0};
    struct run r = {.rq = rq, .began_ms = clk_mono_ms(&clk_system), .arena = &result.arena};
    CLEANUP_FREE const char **known = xcalloc(rq->n_earlier + 1, sizeof(*known));
    struct reader_request reader = {
        .source = {.uri = d->uri ? d->uri : "",
                   .file_root = rq->file_root,
                   .sha256 = d->sha256 && d->sha256[0] ? d->sha256 : NULL,
                   .size_bytes = d->size_bytes,
                   .max_bytes = rq->max_bytes,
                   .stall_ms = rq->stall_ms,
                   .timeout_ms = rq->timeout_ms,
                   .cancel = rq->cancel},
        .pipeline = rq->pipeline,
        .format = d->format && d->format[0] ? d->format : NULL,
        .rows = d->rows,
        .artifacts = rq->artifacts,
        .known_segments = known,
    };
    int rc;

    for (size_t i = 0; i < rq->n_earlier; i++)
        if (rq->earlier[i].segment)
            known[reader.n_known_segments++] = rq->earlier[i].segment;
    r.version = d->version && d->version[0] ? d->version : rq->dataset_event;
    freezer_open(&r.freezer, rq->artifacts);
    rc = read_patiently(rq, &reader, &r.sheet, &r.bytes, err);
    if (rc == 0)
        rc = conclude_all(&r, &result, err);
    freezer_close(&r.freezer);
    sheet_close(&r.sheet);
    if (rc)
        ingest_result_fini(&result);
    else
        *ret = result;
    return rc;
}

/* ---- for the store ---- */

void ingest_result_to_json(const struct ingest_result *r, struct buf *out)
{
    CLEANUP(json_freep) struct json *root = json_object();
    struct json *lines = json_set(root, "lines", json_array());

    for (size_t i = 0; i < r->n; i++)
        json_add(lines, codec_to_json(RECORD_DATASET_INGESTED, &r->items[i]));
    json_write(root, 1, false, out);
}

int ingest_result_from_json(struct slice text, struct ingest_result *ret, struct err *err)
{
    CLEANUP(json_freep) struct json *root = json_parse(text, "result.json", err);
    const struct json *lines = json_get(root, "lines");
    struct ingest_result r = {.n = json_len(lines)};
    struct dataset_ingested *items;

    if (!root)
        return -1;
    if (!json_is_array(lines))
        return err_set(err, ERR_CODEC, NEXT_REJECT, "result.json: lines are missing");
    items = arena_alloc(&r.arena, (r.n + 1) * sizeof(*items));
    r.items = items;
    for (size_t i = 0; i < r.n; i++) {
        const void *rec;

        if (codec_from_json(RECORD_DATASET_INGESTED, json_at(lines, i), &r.arena, &rec, err)) {
            ingest_result_fini(&r);
            return -1;
        }
        items[i] = *(const struct dataset_ingested *)rec;
    }
    *ret = r;
    return 0;
}
