/* One agent on a bus in memory, with one partition of every topic: events are put into the log, and
 * what the agent wrote is read from it.  To be included as agent_bench.c, which brings the bus
 * along. Main thread. */
#ifndef TESTS_SUPPORT_FAKEBUS_AGENT_BENCH_H
#define TESTS_SUPPORT_FAKEBUS_AGENT_BENCH_H

#include "common/agent.h"
#include "tests/support/fakebus/fake_bus.h"
#include "tests/support/tmpdir.h"

enum { BENCH_WAIT_MS = 60000 };

struct bench {
    struct tmpdir dir;
    struct loop *loop;
    struct codec *codec;
    struct artifacts artifacts;
    struct agent *agent;
    struct arena arena;
    bool is_stopped;
    int lives;           /* of the agent */
    int64_t now_unix_ms; /* of events that are appended */
};
struct bench_event { /* as read from the log */
    const void *rec;
    const char *id, *cause, *correlation;
    int64_t hops;
};

void bench_setup(struct bench *b);
void bench_teardown(struct bench *b);
/* args: further words of the command line, "--a 1 --b 2"; a state folder is kept over lives. */
void bench_start(struct bench *b, const struct agent_spec *spec, const char *args);
void bench_wait_ready(struct bench *b); /* restored; an agent's own conditions aside */
void bench_stop(struct bench *b);       /* as by SIGTERM */
void bench_kill(struct bench *b);       /* as by kill -9 */
void bench_declare(struct bench *b, const char *yaml);
void bench_withdraw(struct bench *b, const char *pipeline);
void bench_append(struct bench *b, enum record r, const void *rec, const char *id);
int64_t bench_count(enum record r);
struct bench_event bench_event(struct bench *b, enum record r, int64_t i); /* the i-th in the log */
/* Turns the loop until cond holds; the test fails when it never does. */
void bench_wait(struct bench *b, bool (*cond)(void *ctx), void *ctx);
void bench_wait_count(struct bench *b, enum record r, int64_t n);
void bench_settle(struct bench *b); /* until the agent is idle */

#endif
