/* Shared by supervisor.c (life, starting order), supervisor_child.c (one process),
 * supervisor_spawn.c (its command line), supervisor_http.c. */
#ifndef RELEARN_SUPERVISOR_INTERNAL_H
#define RELEARN_SUPERVISOR_INTERNAL_H

#include "agents/relearn/scale.h"
#include "agents/relearn/supervisor.h"
#include "common/conf.h"
#include "common/httpd.h"
#include "common/job.h"
#include "common/json.h"
#include "common/loop.h"
#include "common/mem.h"

enum {
    PAUSE_MIN_MS = 200,   /* before a dead agent is started again; doubles ... */
    PAUSE_MAX_MS = 30000, /* ... up to here */
#ifdef RELEARN_TEST
    STABLE_MS = 300, /* torture strikes the same process again and again */
#else
    STABLE_MS = 30000, /* up for so long: the pause starts small again */
#endif
    READY_LOOK_MS = 30,       /* between two looks whether an instance is ready */
    STOP_PATIENCE_MS = 30000, /* longer than an agent's own patience; then it is killed */
    FIRST_TRIES = 3, /* an agent that dies so often before it was ever ready will not come up */
    SUPERVISOR_MAX_CHILDREN = 1 + SCALE_AGENTS * SCALE_MAX_INSTANCES,
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
    char *address_file, *log_file;
    char *endpoint_file; /* the broker's: the URL where it answers over HTTP; NULL: an agent */
    char url[96];        /* of the newest start; the broker's HOST:PORT */
    bool keeps_address;  /* it was ready there: started again, it listens there again */
    bool was_ever_ready;
    int restarts; /* deaths that nobody asked for */
    int last_exit, last_signal, pause_ms;
    int64_t started_mono_ms;
    struct loop_timer *timer; /* pause, the next look at readiness, patience when it stops */
    bool is_looking;          /* a look is on the pool */
    bool look_result;
    bool is_wanted;   /* false: ends for good */
    bool drops_state; /* its state folder is removed before it is started again */
};

struct supervisor {
    struct loop *loop;
    struct conf *conf;
    struct httpd *httpd;
    struct loop_watch *lifeline;
    char *data, *run_dir, *log_dir, *bin_dir;
    char *brokers; /* NULL until the embedded bus is there */
    struct scale scale;
    bool is_embedded, is_stopping, is_announced;
    struct child *children[SUPERVISOR_MAX_CHILDREN];
    size_t n_children;
    int lock_fd;
    int exit_code;
};

const char *child_state_str(enum child_state s);
struct child *child_new(struct supervisor *s, const char *agent, int share, int shares);
void child_free(struct child *c); /* of one that has no process and no look under way */
void child_start(struct child *c);
void child_stop(struct child *c);    /* for good */
void child_restart(struct child *c); /* with other arguments; at once, and not counted */
void child_rebuild(struct child *c); /* the same, without the state that it has */
/* Of a child that is to be started: argv (NULL-terminated) and environment, in *mem. */
const char *const *child_argv(const struct child *c, struct arena *mem);
const char *const *child_environment(struct arena *mem);
/* Called by the child's own machinery. */
void supervisor__ready(struct supervisor *s, struct child *c);
void supervisor__ended(struct supervisor *s, struct child *c); /* c may be gone afterwards */
void supervisor__fail(struct supervisor *s, const struct err *err);
bool supervisor__all_ready(const struct supervisor *s);
int supervisor__scale(struct supervisor *s, const char *text, struct err *err) WARN_UNUSED;
int supervisor__rebuild(struct supervisor *s, const char *instance, struct err *err) WARN_UNUSED;
void supervisor__on_http(void *ctx, struct httpd_request *rq);

#endif
