/* What comes beside a record, from anywhere: headers as the local cache packs them, and what an
 * agent reads out of them.  The first byte is the length of the key; key, headers and value are cut
 * from the rest. */
#include "common/agent_cache.c" /* unpack_headers, pack_headers */
#include "common/agent_emit.c"  /* seen_of, headers_of */
#include "common/agent_input.c" /* event_of */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_event(struct agent *a, const struct bus_message *m)
{
    struct event *ev = event_of(a, RECORD_LABEL_OBSERVED, m);
    struct envelope e = {.record = RECORD_DRIFT_DETECTED,
                         .id = ev->id,
                         .key = ev->key,
                         .cause = ev->id,
                         .correlation = ev->correlation,
                         .trace = ev->trace,
                         .source = ev->source,
                         .seen = ev->seen,
                         .hops = ev->hops + 1};
    struct header_set out = {0};

    BUG_ON(!id_is_valid(ev->id) || !ev->correlation || ev->hops < 0 || !ev->key);
    for (int r = 1; r < RECORD_COUNT; r++)
        (void)seen_of(a, ev->seen, record_topic((enum record)r));
    headers_of(a, &e, &out); /* what an answer to it says */
    for (size_t i = 0; i < out.n; i++) {
        BUG_ON(!out.items[i].name || !out.items[i].value);
        BUG_ON(strcmp(out.items[i].name, "traceparent") == 0 && !is_trace(out.items[i].value));
    }
    arena_fini(&out.arena);
    event_free(ev);
}

/* What was unpacked is packed and unpacked as the same. */
static void check_packing(const struct bus_message *m)
{
    CLEANUP(buf_fini) struct buf packed = {0};
    struct bus_header again[BUS_MAX_HEADERS];

    pack_headers(m, &packed);
    BUG_ON(unpack_headers(buf_slice(&packed), again) != m->n_headers);
    for (size_t i = 0; i < m->n_headers; i++)
        BUG_ON(strcmp(again[i].name, m->headers[i].name) != 0 || again[i].n != m->headers[i].n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct agent a = {.cluster = "mockClusterFake1",
                      .clk = &clk_system,
                      .source = (char *)(uintptr_t) "relearn/fuzz"};
    size_t key_n = n ? data[0] : 0;
    struct bus_message m = {.topic = "relearn.labels", .timestamp_ms = (int64_t)n};
    char *copy; /* of its own size, so that reading on is seen */

    if (n < 1 + key_n)
        return 0;
    copy = n > 1 ? xmemdup(data + 1, n - 1) : xmalloc(1);
    m.key = key_n ? copy : NULL;
    m.key_n = key_n;
    m.value = copy + key_n;
    m.value_n = n - 1 - key_n;
    m.n_headers = unpack_headers((struct slice){copy + key_n, n - 1 - key_n}, m.headers);
    check_event(&a, &m);
    check_packing(&m);
    free(copy);
    return 0;
}
