/* The console on a bus in memory, asked over HTTP.  For tests that include fakebus/fake_bus.c. Each
 * topic has one partition.  A test fails when something that must work does not.  Main thread. */
#ifndef TESTS_SUPPORT_CONSOLE_BENCH_H
#define TESTS_SUPPORT_CONSOLE_BENCH_H

#include "common/agent.h"
#include "tests/support/tmpdir.h"

enum { CONSOLE_BENCH_WAIT_MS = 60000 }; /* a wait for a condition gives up after that */

struct console_bench {
    struct tmpdir dir;
    struct loop *loop;
    struct codec *codec;
    struct agent *agent;
    struct arena arena; /* of everything that is returned */
    struct json *replies;
};

int console_bench_setup(void **state); /* *state is a struct console_bench; the console runs */
int console_bench_teardown(void **state);
void console_bench_start(struct console_bench *b);
void console_bench_stop(struct console_bench *b);   /* as SIGTERM does */
void console_bench_forget(struct console_bench *b); /* deletes its state folder */
void console_bench_settle(struct console_bench *b); /* until everything is read */
void console_bench_pipeline(struct console_bench *b, const char *name); /* declared in the log */

/* ---- HTTP ---- */
struct console_ask {
    const char *method; /* NULL: GET, or POST when there is a body */
    const char *path;
    const char *body;
    size_t body_n;          /* 0: strlen */
    const char *headers[8]; /* "Name: value" */
};
struct console_reply {
    int status;
    const char *text;
    const struct json *json; /* NULL when the text is none */
};
struct console_reply console_ask(struct console_bench *b, const struct console_ask *ask);
struct console_reply console_get(struct console_bench *b, const char *path);
struct console_reply console_post(struct console_bench *b, const char *path, const char *body);
/* A request that is not answered yet: begun, then awaited. */
struct console_call;
struct console_call *console_begin(struct console_bench *b, const struct console_ask *ask);
bool console_is_answered(const struct console_call *call);
struct console_reply console_await(struct console_bench *b, struct console_call *call);
/* Everything read so far of an answer that goes on (event streams). */
const char *console_read_so_far(const struct console_call *call);
void console_hang_up(struct console_bench *b, struct console_call *call);

/* ---- the log ---- */
struct console_event {
    enum record record;
    const void *rec;
    const char *id, *cause;
    int64_t time_unix_s; /* 0: so many seconds after 2026-01-01 as events were appended */
};
void console_append(struct console_bench *b, const struct console_event *ev);
void console_append_bytes(struct console_bench *b, enum record r, const char *key,
                          struct slice value, const char *id);
/* What the console wrote into a topic ("drift"): how many, and the one at an offset. */
int64_t console_written(struct console_bench *b, enum record r);
struct event *console_written_at(struct console_bench *b, enum record r, int64_t offset);

#endif
