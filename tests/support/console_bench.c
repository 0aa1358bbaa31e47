#include "tests/support/console_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agents/console/console.h"
#include "common/digest.h"
#include "common/fsx.h"
#include "common/http.h"
#include "tests/support/fakebus/fake_bus.h"

static const char *topic_of(struct console_bench *b, enum record r)
{
    return arena_printf(&b->arena, "relearn.%s", record_topic(r));
}

int console_bench_setup(void **state)
{
    struct console_bench *b = xcalloc(1, sizeof(*b));
    struct err err = {0};
    *state = b;
    tmpdir_init(&b->dir);
    b->replies = json_array();
    fake_bus_reset();
    for (int r = 1; r < RECORD_COUNT; r++)
        fake_bus_topic(topic_of(b, (enum record)r), 1);
    if (loop_new(&b->loop, &err) || codec_new(&b->codec, &err))
        fail_msg("%s", err.msg);
    console_bench_start(b);
    return 0;
}

int console_bench_teardown(void **state)
{
    struct console_bench *b = *state;
    console_bench_stop(b);
    codec_free(b->codec);
    json_free(b->replies);
    loop_free(b->loop);
    fake_bus_reset();
    arena_fini(&b->arena);
    tmpdir_fini(&b->dir);
    free_ptr(&b);
    return 0;
}

static bool is_settled(void *ctx)
{
    struct console_bench *b = ctx;
    return agent_is_ready(b->agent) && agent_is_idle(b->agent) && !fake_bus_step();
}

void console_bench_settle(struct console_bench *b)
{
    if (!loop_until(b->loop, is_settled, b, CONSOLE_BENCH_WAIT_MS))
        fail_msg("the console is not ready");
}

void console_bench_start(struct console_bench *b)
{
    char *argv[] = {"relearn-console",
                    "--brokers",
                    "none",
                    "--share",
                    "1/1",
                    "--data",
                    arena_printf(&b->arena, "%s/data", b->dir.path),
                    "--log-level",
                    "error",
                    NULL};
    struct err err = {0};
    if (agent_new(&console_agent, b->loop, (int)ARRAY_LEN(argv) - 1, argv, &b->agent, &err) ||
        agent_start(b->agent, &err))
        fail_msg("%s", err.msg);
    console_bench_settle(b);
}

static void on_stopped(void *ctx)
{
    *(bool *)ctx = true;
}

static bool is_true(void *ctx)
{
    return *(bool *)ctx;
}

void console_bench_stop(struct console_bench *b)
{
    bool stopped = false;
    if (!b->agent)
        return;
    agent_stop(b->agent, on_stopped, &stopped);
    if (!loop_until(b->loop, is_true, &stopped, CONSOLE_BENCH_WAIT_MS))
        fail_msg("the console does not stop");
    agent_free(b->agent);
    b->agent = NULL;
}

void console_bench_forget(struct console_bench *b)
{
    struct err err = {0};
    CLEANUP_FREE char *dir = xasprintf("%s/data/state", b->dir.path);
    if (!fsx_exists(dir))
        fail_msg("there is no folder %s", dir);
    if (fsx_remove_tree(dir, &err))
        fail_msg("%s", err.msg);
}

/* ---- HTTP ---- */

struct console_call {
    struct console_bench *b;
    struct http_request rq;
    struct http_response rs;
    struct err err;
    const char *headers[9];
    char so_far[1 << 16];
    size_t so_far_n;
    volatile bool is_cancelled;
    bool is_done;
    int rc;
};

static void call_run(void *ctx)
{
    struct console_call *call = ctx;
    call->rc = http_call(&call->rq, &call->rs, &call->err);
}

static void call_done(void *ctx)
{
    struct console_call *call = ctx;
    call->is_done = true;
}

struct piece {
    struct console_call *call;
    size_t n;
    char bytes[];
};

static void take_piece(void *ctx)
{
    struct piece *p = ctx;
    struct console_call *call = p->call;
    if (call->so_far_n + p->n >= sizeof(call->so_far))
        fail_msg("the stream is longer than a test expects");
    memcpy(call->so_far + call->so_far_n, p->bytes, p->n);
    call->so_far_n += p->n;
    call->so_far[call->so_far_n] = '\0';
    free_ptr(&p);
}

/* On the pool thread: handed over to the loop's. */
static int on_bytes(void *ctx, const void *bytes, size_t n, struct err *err)
{
    struct console_call *call = ctx;
    struct piece *p = xmalloc(sizeof(*p) + n);
    (void)err;
    p->call = call;
    p->n = n;
    memcpy(p->bytes, bytes, n);
    loop_post(call->b->loop, take_piece, p);
    return 0;
}

struct console_call *console_begin(struct console_bench *b, const struct console_ask *ask)
{
    struct console_call *call = arena_alloc(&b->arena, sizeof(*call));
    size_t n = 0;
    call->b = b;
    for (; n < ARRAY_LEN(ask->headers) && ask->headers[n]; n++)
        call->headers[n] = ask->headers[n];
    call->rq = (struct http_request){
        .method = ask->method,
        .url = arena_printf(&b->arena, "%s%s", agent_url(b->agent), ask->path),
        .headers = call->headers,
        .body = {ask->body, ask->body && !ask->body_n ? strlen(ask->body) : ask->body_n},
        .timeout_ms = CONSOLE_BENCH_WAIT_MS,
        .cancel = &call->is_cancelled,
    };
    if (strstr(ask->path, "/v1/watch"))
        call->rq.sink = on_bytes;
    call->rq.ctx = call;
    work_submit(b->loop, call_run, call_done, call);
    return call;
}

bool console_is_answered(const struct console_call *call)
{
    return call->is_done;
}

static bool is_done(void *ctx)
{
    return ((const struct console_call *)ctx)->is_done;
}

struct console_reply console_await(struct console_bench *b, struct console_call *call)
{
    struct err none = {0};
    struct console_reply reply = {0};
    if (!loop_until(b->loop, is_done, call, CONSOLE_BENCH_WAIT_MS))
        fail_msg("%s: no answer", call->rq.url);
    if (call->rc)
        fail_msg("%s: %s", call->rq.url, call->err.msg);
    reply.status = call->rs.status;
    reply.text =
        arena_strndup(&b->arena, call->rs.body.data ? call->rs.body.data : "", call->rs.body.len);
    struct json *j = json_parse(slice_str(reply.text), "reply", &none);
    reply.json = j ? json_add(b->replies, j) : NULL;
    http_response_fini(&call->rs);
    return reply;
}

const char *console_read_so_far(const struct console_call *call)
{
    return call->so_far;
}

void console_hang_up(struct console_bench *b, struct console_call *call)
{
    __atomic_store_n(&call->is_cancelled, true, __ATOMIC_RELAXED); /* read on the pool */
    if (!loop_until(b->loop, is_done, call, CONSOLE_BENCH_WAIT_MS))
        fail_msg("the stream does not end");
    http_response_fini(&call->rs);
}

struct console_reply console_ask(struct console_bench *b, const struct console_ask *ask)
{
    return console_await(b, console_begin(b, ask));
}

struct console_reply console_get(struct console_bench *b, const char *path)
{
    return console_ask(b, &(struct console_ask){.path = path});
}

struct console_reply console_post(struct console_bench *b, const char *path, const char *body)
{
    return console_ask(b, &(struct console_ask){.method = "POST",
                                                .path = path,
                                                .body = body,
                                                .headers = {"Content-Type: application/json"}});
}

/* ---- the log ---- */

void console_append(struct console_bench *b, const struct console_event *ev)
{
    CLEANUP(buf_fini) struct buf value = {0};
    enum { DAY_ONE_S = 1767225600 }; /* 2026-01-01 */
    static int64_t appended;
    char time[CLK_RFC3339_SIZE];
    struct err err = {0};
    clk_format((DAY_ONE_S + (ev->time_unix_s ? ev->time_unix_s : ++appended)) * 1000000, time);
    struct bus_header headers[3] = {
        {.name = "ce_id", .value = ev->id, .n = strlen(ev->id)},
        {.name = "ce_time", .value = time, .n = strlen(time)},
    };
    if (ev->cause)
        headers[2] = (struct bus_header){"ce_causationid", ev->cause, strlen(ev->cause)};
    if (codec_encode(b->codec, ev->record, ev->rec, &value, &err))
        fail_msg("%s", err.msg);
    fake_bus_append(topic_of(b, ev->record), 0, slice_str(record_own_key(ev->record, ev->rec)),
                    buf_slice(&value), headers, ev->cause ? 3 : 2);
}

void console_append_bytes(struct console_bench *b, enum record r, const char *key,
                          struct slice value, const char *id)
{
    struct bus_header header = {.name = "ce_id", .value = id, .n = strlen(id)};
    fake_bus_append(topic_of(b, r), 0, slice_str(key), value, &header, 1);
}

void console_bench_pipeline(struct console_bench *b, const char *name)
{
    const char *yaml =
        arena_printf(&b->arena,
                     "apiVersion: relearn/v1\nkind: Pipeline\nname: %s\ndataset: {name: %s-data, "
                     "label: y}\ntask: binary\n",
                     name, name);
    char sha256[DIGEST_HEX_SIZE];
    digest_bytes(yaml, strlen(yaml), sha256);
    struct pipeline_declared p = {.name = name,
                                  .yaml = yaml,
                                  .sha256 = sha256,
                                  .by = "ann",
                                  .declared_unix_ms = 5000,
                                  .first_declared_unix_ms = 1000};
    console_append(b,
                   &(struct console_event){RECORD_PIPELINE_DECLARED, &p,
                                           arena_printf(&b->arena, "declared-%s", name), NULL, 0});
    console_bench_settle(b);
}

int64_t console_written(struct console_bench *b, enum record r)
{
    return fake_bus_end(topic_of(b, r), 0);
}

static const char *header(struct console_bench *b, const struct bus_message *m, const char *name)
{
    for (size_t i = 0; i < m->n_headers; i++)
        if (strcmp(m->headers[i].name, name) == 0)
            return arena_strndup(&b->arena, m->headers[i].value, m->headers[i].n);
    return NULL;
}

struct event *console_written_at(struct console_bench *b, enum record r, int64_t offset)
{
    const struct bus_message *m = fake_bus_at(topic_of(b, r), 0, offset);
    struct event *ev = arena_alloc(&b->arena, sizeof(*ev));
    struct err err = {0};
    if (!m)
        fail_msg("%s has nothing at %lld", record_topic(r), (long long)offset);
    ev->type = r;
    ev->offset = offset;
    ev->key = arena_strndup(&b->arena, m->key, m->key_n);
    ev->id = header(b, m, "ce_id");
    ev->cause = header(b, m, "ce_causationid");
    ev->correlation = header(b, m, "ce_correlationid");
    ev->source = header(b, m, "ce_source");
    if (m->value &&
        codec_decode(b->codec, r, (struct slice){m->value, m->value_n}, &b->arena, &ev->rec, &err))
        fail_msg("%s", err.msg);
    return ev;
}
