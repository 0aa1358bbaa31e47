/* Shared by supervisor.c (life, starting order), supervisor_child.c (one process),
 * supervisor_http.c. */
#ifndef RELEARN_SUPERVISOR_INTERNAL_H
#define RELEARN_SUPERVISOR_INTERNAL_H

#include "agents/relearn/supervisor.h"
#include "common/conf.h"
#include "common/httpd.h"
#include "common/job.h"
#include "common/json.h"
#include "common/loop.h"

enum {
    SUPERVISOR_MAX_CHILDREN = 200,
    PAUSE_MIN_MS = 200,   /* before a dead agent is started again; doubles ... */
    PAUSE_MAX_MS = 30000, /* ... up to here */
    STABLE_MS = 30000,    /* up for so long: the pause starts small again */
    READY_LOOK_MS = 30,   /* between two looks whether an instance is ready */
    STOP_PATIENCE_MS = 30000,
};

enum child_state { CHILD_STOPPED = 0, CHILD_STARTING, CHILD_READY, CHILD_PAUSING, CHILD_STOPPING };

struct supervisor;
struct child {
    struct supervisor *s;
    char agent[16], instance[32];
    int share, shares;
    bool is_broker;
    enum child_state state;
    struct job *job;
    char *address_file, *log_file, url[96];
    int restarts, last_exit, last_signal, pause_ms;
    int64_t started_mono_ms;
    struct loop_timer *timer; /* pause, or the next look at readiness */
    bool is_looking;          /* a look is on the pool */
    bool look_result;
    bool is_wanted; /* false: ends for good */
};

struct supervisor {
    struct loop *loop;
    struct conf *conf;
    struct httpd *httpd;
    char *data, *run_dir, *log_dir, *bin_dir, *brokers, *brokers_file;
    bool is_embedded, is_stopping, is_announced;
    struct child *children[SUPERVISOR_MAX_CHILDREN];
    size_t n_children;
    int lock_fd;
    struct loop_timer *stop_timer;
    int64_t stop_deadline_mono_ms;
    int exit_code;
};

const char *child_state_str(enum child_state s);
struct child *child_new(struct supervisor *s, const char *agent, int share, int shares);
void child_free(struct child *c);
void child_start(struct child *c);
void child_stop(struct child *c); /* SIGTERM */
/* Called by the child's own machinery. */
void supervisor__ready(struct supervisor *s, struct child *c);
void supervisor__ended(struct supervisor *s, struct child *c);
bool supervisor__all_ready(const struct supervisor *s);
int supervisor__scale(struct supervisor *s, const char *agent, int n, struct err *err);
void supervisor__stop(struct supervisor *s);
void supervisor__on_http(void *ctx, struct httpd_request *rq);

#endif
