#include "agents/relearn/installation.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/clk.h"
#include "common/fsx.h"
#include "common/http.h"
#include "common/json.h"
#include "common/mem.h"

enum { START_TIMEOUT_MS = 120000, STOP_TIMEOUT_MS = 60000, LOOK_MS = 10 };

static void pause_ms(int ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

void installation_fini(struct installation *in)
{
    free_ptr(&in->data);
    free_ptr(&in->brokers);
    free_ptr(&in->prefix);
    free_ptr(&in->console_url);
    free_ptr(&in->control_url);
    free_ptr(&in->artifacts);
    free_ptr(&in->registry);
    if (in->lifeline)
        close(in->lifeline);
    *in = (struct installation){0};
}

/* The supervisor holds a lock as long as it lives; a process id may be another's by now. */
static bool is_supervised(const char *data)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    CLEANUP_FREE char *path = xasprintf("%s/run/lock", data);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool is_locked = fcntl(fd, F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;
    close(fd);
    return is_locked;
}

int installation_find(const char *data, struct installation *ret, struct err *err)
{
    CLEANUP(buf_fini) struct buf text = {0};
    CLEANUP_FREE char *path = xasprintf("%s/run/installation.json", data);
    struct err none = {0};
    CLEANUP(json_freep) struct json *j = NULL;
    if (fsx_read_file(path, (size_t)1 << 20, &text, &none) == 0)
        j = json_parse(buf_slice(&text), path, &none);
    int pid = (int)json_get_int(j, "pid", 0);
    if (!j || pid <= 0 || !is_supervised(data)) {
        if (j)
            remove(path); /* of one that died */
        return err_set(err, ERR_NOTFOUND, NEXT_REJECT,
                       "nothing runs in %s: `relearn up --data %s` starts it", data, data);
    }
    char *full = realpath(data, NULL);
    *ret = (struct installation){
        .data = full ? full : xstrdup(data),
        .brokers = xstrdup(json_get_str(j, "brokers", "")),
        .prefix = xstrdup(json_get_str(j, "prefix", "relearn.")),
        .console_url = xstrdup(json_get_str(j, "console", "")),
        .control_url = xstrdup(json_get_str(j, "control", "")),
        .artifacts = xstrdup(json_get_str(j, "artifacts", NULL)),
        .registry = xstrdup(json_get_str(j, "registry", NULL)),
        .pid = pid,
        .is_embedded = json_get_bool(j, "embedded", false),
    };
    return 0;
}

/* Why it did not come up: what it says itself, else the end of its log. */
static void find_reason(const char *data, const char *log_path, struct buf *out)
{
    enum { TAIL_BYTES = 300 };
    CLEANUP_FREE char *path = xasprintf("%s/run/failure", data);
    CLEANUP(buf_fini) struct buf text = {0};
    struct err none = {0};
    if (fsx_read_file(path, 4096, out, &none) == 0 && out->len)
        return;
    if (fsx_read_file(log_path, (size_t)64 << 20, &text, &none) || !text.len)
        return;
    size_t from = text.len > TAIL_BYTES ? text.len - TAIL_BYTES : 0;
    buf_add(out, text.data + from, text.len - from);
    while (out->len && out->data[out->len - 1] == '\n')
        out->data[--out->len] = '\0';
}

/* A pipe whose other end the supervisor watches: it closes when this process ends, however it does.
 * (PR_SET_PDEATHSIG is sent once for each thread of ours.) */
static int open_lifeline(int *ret_ours, int *ret_theirs, struct err *err)
{
    enum { ABOVE_STDERR = 3 };
    int fds[2];
    if (pipe2(fds, O_CLOEXEC))
        return err_io(err, "pipe: %s", strerror(errno));
    *ret_theirs = fcntl(fds[0], F_DUPFD_CLOEXEC, ABOVE_STDERR);
    *ret_ours = fcntl(fds[1], F_DUPFD_CLOEXEC, ABOVE_STDERR);
    close(fds[0]);
    close(fds[1]);
    return *ret_theirs < 0 || *ret_ours < 0 ? err_io(err, "fcntl: %s", strerror(errno)) : 0;
}

static pid_t spawn_detached(char *const *argv, const char *log_path, int lifeline)
{
    pid_t pid = fork(); /* before any library of ours has made a thread */
    if (pid)
        return pid;
    setsid();
    if (lifeline && fcntl(lifeline, F_SETFD, 0))
        _exit(127);
    int null = open("/dev/null", O_RDONLY);
    int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND, 0640);
    if (null < 0 || log < 0 || dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
        _exit(127);
    execv("/proc/self/exe", argv);
    _exit(127);
}

static int wait_until_ready(const char *data, pid_t pid, const char *log_path,
                            struct installation *ret, struct err *err)
{
    int64_t deadline = clk_mono_ms(&clk_system) + START_TIMEOUT_MS;
    struct err none = {0};
    int status = 0;
    while (installation_find(data, ret, &none)) {
        bool is_dead = waitpid(pid, &status, WNOHANG) == pid;
        if (!is_dead && clk_mono_ms(&clk_system) < deadline) {
            pause_ms(LOOK_MS);
            continue;
        }
        CLEANUP(buf_fini) struct buf reason = {0};
        find_reason(data, log_path, &reason);
        if (!is_dead)
            kill(pid, SIGTERM);
        return err_set(err, ERR_CHILD, NEXT_REJECT, "%s: %s",
                       is_dead ? "it did not start" : "not every agent became ready in time",
                       reason.data ? reason.data : "no reason was given");
    }
    return 0;
}

static char **arguments(const struct installation_options *o, int lifeline, struct arena *mem)
{
    const struct {
        const char *name, *value;
    } texts[] = {
        {"data", o->data},
        {"brokers", o->brokers},
        {"prefix", o->prefix},
        {"registry", o->registry},
        {"artifacts", o->artifacts},
        {"log-level", o->log_level},
        {"console-listen", o->console_listen},
        {"serve-listen", o->serve_listen},
        {"scale", o->scale},
        {"partitions", o->partitions ? arena_printf(mem, "%d", o->partitions) : NULL},
        {"lifeline", lifeline ? arena_printf(mem, "%d", lifeline) : NULL},
        {"temporary", o->is_temporary ? "true" : NULL},
        {"by-group", o->by_group ? "true" : NULL},
    };
    char **argv = arena_alloc(mem, (ARRAY_LEN(texts) + 3 + 2 * o->n_x) * sizeof(*argv));
    size_t n = 0;
    argv[n++] = arena_strdup(mem, "relearn");
    argv[n++] = arena_strdup(mem, "supervise");
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (texts[i].value)
            argv[n++] = arena_printf(mem, "--%s=%s", texts[i].name, texts[i].value);
    for (size_t i = 0; i < o->n_x; i++) {
        argv[n++] = arena_strdup(mem, "-X");
        argv[n++] = arena_strdup(mem, o->x[i]);
    }
    return argv;
}

int installation_start(const struct installation_options *o, struct installation *ret,
                       struct err *err)
{
    struct installation running = {0};
    struct err none = {0};
    if (installation_find(o->data, &running, &none) == 0) {
        installation_fini(&running);
        return err_set(err, ERR_CONFLICT, NEXT_REJECT, "an installation runs in %s already",
                       o->data);
    }
    CLEANUP_FREE char *log_dir = xasprintf("%s/log", o->data);
    CLEANUP_FREE char *log_path = xasprintf("%s/supervisor.log", log_dir);
    CLEANUP_FREE char *failure = xasprintf("%s/run/failure", o->data);
    if (fsx_mkdirs(log_dir, err))
        return -1;
    remove(failure); /* of the last time */
    int ours = 0, theirs = 0;
    if (o->ends_with_us && open_lifeline(&ours, &theirs, err))
        return -1;
    struct arena mem = {0};
    if (!o->brokers) /* RELEARN_BROKERS must not turn the embedded bus into another one unasked */
        unsetenv("RELEARN_BROKERS");
    pid_t pid = spawn_detached(arguments(o, theirs, &mem), log_path, theirs);
    arena_fini(&mem);
    if (theirs)
        close(theirs);
    int rc = pid < 0 ? err_io(err, "fork: %s", strerror(errno))
                     : wait_until_ready(o->data, pid, log_path, ret, err);
    if (!rc)
        ret->lifeline = ours;
    else if (ours)
        close(ours);
    return rc;
}

/* It holds nothing any more, though nobody may have waited for it yet. */
static bool has_ended(int pid)
{
    char path[64], state = 'Z';
    CLEANUP(buf_fini) struct buf text = {0};
    struct err none = {0};
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    if (fsx_read_file(path, 4096, &text, &none))
        return true;
    const char *end = strrchr(text.data ? text.data : "", ')'); /* "pid (name) state ..." */
    if (end && end[1] == ' ')
        state = end[2];
    return state == 'Z' || state == 'X';
}

int installation_stop(const struct installation *in, struct err *err)
{
    int64_t deadline = clk_mono_ms(&clk_system) + STOP_TIMEOUT_MS;
    if (kill(in->pid, SIGTERM) && errno != ESRCH)
        return err_io(err, "stop process %d: %s", in->pid, strerror(errno));
    while (is_supervised(in->data) || !has_ended(in->pid)) {
        waitpid(in->pid, NULL, WNOHANG); /* when it is our own child */
        if (clk_mono_ms(&clk_system) > deadline)
            return err_set(err, ERR_TIMEOUT, NEXT_RETRY, "process %d has not stopped after %d s",
                           in->pid, STOP_TIMEOUT_MS / 1000);
        pause_ms(LOOK_MS);
    }
    return 0;
}
