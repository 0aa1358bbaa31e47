/* To be included by a test, not linked.  See agent_bench.h. */
#include "tests/support/fakebus/agent_bench.h"

#include "common/digest.h"
#include "tests/support/fakebus/fake_bus.c"

static const char *bench_topic(struct bench *b, enum record r)
{
    return arena_printf(&b->arena, "relearn.%s", record_topic(r));
}

void bench_setup(struct bench *b)
{
    struct err err = {0};

    *b = (struct bench){.now_unix_ms = clk_unix_ms(&clk_system)};
    tmpdir_init(&b->dir);
    fake_bus_reset();
    fake_bus_faults = (struct fake_faults){0};
    for (int r = RECORD_NONE + 1; r < RECORD_COUNT; r++)
        fake_bus_topic(bench_topic(b, (enum record)r), 1);
    if (loop_new(&b->loop, &err) || codec_new(&b->codec, &err) ||
        artifacts_open(tmpdir_join(&b->dir, "store"), &b->artifacts, &err))
        fail_msg("%s", err.msg);
}

void bench_kill(struct bench *b)
{
    if (!b->agent)
        return;
    agent_kill(b->agent);
    agent_free(b->agent);
    b->agent = NULL;
}

void bench_teardown(struct bench *b)
{
    fake_bus_faults = (struct fake_faults){0};
    bench_kill(b);
    loop_turn(b->loop, 0);
    codec_free(b->codec);
    loop_free(b->loop);
    fake_bus_reset();
    artifacts_close(&b->artifacts);
    arena_fini(&b->arena);
    tmpdir_fini(&b->dir);
}

void bench_start(struct bench *b, const struct agent_spec *spec, const char *args)
{
    enum { MOST = 64 };
    char *argv[MOST] = {arena_printf(&b->arena, "relearn-%s", spec->name),
                        arena_strdup(&b->arena, "--brokers=none"),
                        arena_strdup(&b->arena, "--share=1/1"),
                        arena_strdup(&b->arena, "--log-level=error"),
                        arena_printf(&b->arena, "--data=%s/data", b->dir.path),
                        arena_printf(&b->arena, "--artifacts=%s", b->artifacts.root)};
    int argc = 6;
    char *rest = NULL, *copy = arena_strdup(&b->arena, args ? args : "");
    struct err err = {0};

    for (char *w = strtok_r(copy, " ", &rest); w && argc < MOST - 1; w = strtok_r(NULL, " ", &rest))
        argv[argc++] = w;
    b->is_stopped = false;
    b->lives++;
    if (agent_new(spec, b->loop, argc, argv, &b->agent, &err) || agent_start(b->agent, &err))
        fail_msg("%s", err.msg);
}

void bench_wait(struct bench *b, bool (*cond)(void *ctx), void *ctx)
{
    if (!loop_until(b->loop, cond, ctx, BENCH_WAIT_MS))
        fail_msg("what was waited for did not come");
}

static bool bench_is_ready(void *ctx)
{
    return agent_is_ready(((struct bench *)ctx)->agent);
}

void bench_wait_ready(struct bench *b)
{
    bench_wait(b, bench_is_ready, b);
}

static bool bench_is_idle(void *ctx)
{
    return agent_is_idle(((struct bench *)ctx)->agent);
}

void bench_settle(struct bench *b)
{
    for (int i = 0; i < 3; i++) { /* a turn may put more on its way */
        bench_wait(b, bench_is_idle, b);
        while (fake_bus_step())
            ;
        loop_turn(b->loop, 0);
    }
    bench_wait(b, bench_is_idle, b);
}

static void bench_on_stopped(void *ctx)
{
    ((struct bench *)ctx)->is_stopped = true;
}

static bool bench_is_stopped(void *ctx)
{
    return ((struct bench *)ctx)->is_stopped;
}

void bench_stop(struct bench *b)
{
    agent_stop(b->agent, bench_on_stopped, b);
    bench_wait(b, bench_is_stopped, b);
    agent_free(b->agent);
    b->agent = NULL;
}

/* ---- the log ---- */

void bench_append(struct bench *b, enum record r, const void *rec, const char *id)
{
    CLEANUP(buf_fini) struct buf value = {0};
    char time[CLK_RFC3339_SIZE];
    struct err err = {0};

    clk_format(b->now_unix_ms * 1000, time);
    const struct bus_header headers[] = {{.name = "ce_id", .value = id, .n = strlen(id)},
                                         {.name = "ce_time", .value = time, .n = strlen(time)}};
    if (codec_encode(b->codec, r, rec, &value, &err))
        fail_msg("%s", err.msg);
    fake_bus_append(bench_topic(b, r), 0, slice_str(record_own_key(r, rec)), buf_slice(&value),
                    headers, ARRAY_LEN(headers));
}

void bench_declare(struct bench *b, const char *yaml)
{
    char sha256[DIGEST_HEX_SIZE];
    struct pipeline *p = NULL;
    struct err err = {0};

    if (pipeline_parse(slice_str(yaml), "test.yaml", &p, &err))
        fail_msg("%s", err.msg);
    digest_bytes(yaml, strlen(yaml), sha256);
    struct pipeline_declared rec = {.name = p->name, .yaml = yaml, .sha256 = sha256, .by = "test"};
    bench_append(
        b, RECORD_PIPELINE_DECLARED, &rec,
        arena_printf(&b->arena, "declared-%lld", (long long)bench_count(RECORD_PIPELINE_DECLARED)));
    pipeline_free(p);
}

void bench_withdraw(struct bench *b, const char *pipeline)
{
    fake_bus_append(bench_topic(b, RECORD_PIPELINE_DECLARED), 0, slice_str(pipeline),
                    (struct slice){0}, NULL, 0);
}

int64_t bench_count(enum record r)
{
    CLEANUP_FREE char *topic = xasprintf("relearn.%s", record_topic(r));

    return fake_bus_end(topic, 0);
}

static const char *bench_header(struct bench *b, const struct bus_message *m, const char *name)
{
    for (size_t i = 0; i < m->n_headers; i++)
        if (strcmp(m->headers[i].name, name) == 0)
            return arena_strndup(&b->arena, m->headers[i].value, m->headers[i].n);
    return NULL;
}

struct bench_event bench_event(struct bench *b, enum record r, int64_t i)
{
    const struct bus_message *m = fake_bus_at(bench_topic(b, r), 0, i);
    struct bench_event ev = {0};
    const char *hops;
    struct err err = {0};

    if (!m)
        fail_msg("%s has no event %lld", record_topic(r), (long long)i);
    if (codec_decode(b->codec, r, (struct slice){m->value, m->value_n}, &b->arena, &ev.rec, &err))
        fail_msg("%s", err.msg);
    ev.id = bench_header(b, m, "ce_id");
    ev.cause = bench_header(b, m, "ce_causationid");
    ev.correlation = bench_header(b, m, "ce_correlationid");
    hops = bench_header(b, m, "ce_hops");
    if (hops && str_to_i64(hops, &ev.hops))
        fail_msg("ce_hops is %s", hops);
    return ev;
}

struct bench_counting {
    enum record record;
    int64_t n;
};

static bool bench_has_count(void *ctx)
{
    const struct bench_counting *c = ctx;

    return bench_count(c->record) >= c->n;
}

void bench_wait_count(struct bench *b, enum record r, int64_t n)
{
    struct bench_counting c = {r, n};

    bench_wait(b, bench_has_count, &c);
}
