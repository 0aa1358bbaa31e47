/* What comes beside a record, from anywhere: messages as the local cache packs them, and what an
 * agent reads out of their headers. */
#include "common/agent_emit.c"  /* seen_of, headers_of */
#include "common/agent_input.c" /* event_of */
#include "common/agent_pack.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_event(struct agent *a, const struct bus_message *m)
{
    struct event *ev = event_of(RECORD_LABEL_OBSERVED, m);
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
    struct bus_message again = {0};
    struct slice in;

    agent__pack(m, 0, &packed);
    in = buf_slice(&packed);
    BUG_ON(!agent__unpack(&in, 0, &again) || in.n > 0);
    BUG_ON(again.offset != m->offset || again.timestamp_ms != m->timestamp_ms);
    BUG_ON(!again.key != !m->key || again.key_n != m->key_n);
    BUG_ON(!again.value != !m->value || again.value_n != m->value_n);
    BUG_ON(again.n_headers != m->n_headers);
    for (size_t i = 0; i < m->n_headers; i++)
        BUG_ON(strcmp(again.headers[i].name, m->headers[i].name) != 0 ||
               !again.headers[i].value != !m->headers[i].value ||
               again.headers[i].n != m->headers[i].n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct agent a = {.cluster = "mockClusterFake1",
                      .clk = &clk_system,
                      .source = (char *)(uintptr_t) "relearn/fuzz"};
    struct bus_message m = {.topic = "relearn.labels"};
    char *copy = n ? xmemdup(data, n) : xmalloc(1); /* of its own size: reading on is seen */
    struct slice in = {copy, n};

    while (in.n > 0 && agent__unpack(&in, 0, &m)) {
        check_event(&a, &m);
        check_packing(&m);
    }
    free(copy);
    return 0;
}
