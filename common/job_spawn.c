/* How a child comes to be: the program and the helper are looked up, pipes made, and posix_spawn
 * called. */
#include "common/job_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/fault.h"
#include "common/mem.h"

static bool is_program(const char *path)
{
    struct stat sb;

    return access(path, X_OK) == 0 && stat(path, &sb) == 0 && S_ISREG(sb.st_mode);
}

static const char *path_variable(const char *const *env)
{
    for (; env && *env; env++)
        if (str_has_prefix(*env, "PATH="))
            return *env + 5;
    return getenv("PATH");
}

/* The child may start in another folder.  Symbolic links stay as they are, since a Python finds its
 * packages by the name that it is called by. */
static char *absolute(const char *path)
{
    char cwd[PATH_MAX];

    return path[0] == '/' || !getcwd(cwd, sizeof(cwd)) ? xstrdup(path)
                                                       : xasprintf("%s/%s", cwd, path);
}

static char *find_program(const char *name, const char *const *env)
{
    const char *p = path_variable(env);

    if (strchr(name, '/')) {
        CLEANUP_FREE char *path = absolute(name);

        return is_program(path) ? TAKE(path) : NULL;
    }
    while (p && *p) {
        size_t n = strcspn(p, ":");
        CLEANUP_FREE char *path = xasprintf("%.*s/%s", (int)n, p, name);

        if (n && p[0] == '/' && is_program(path))
            return TAKE(path);
        p += n + (p[n] == ':');
    }
    return NULL;
}

/* relearn-exec lies beside the program that runs, or where RELEARN_LIBEXEC says. */
static char *find_helper(struct err *err)
{
    const char *folder = getenv("RELEARN_LIBEXEC");
    CLEANUP_FREE char *named = NULL;
    char self[PATH_MAX], *path;

    if (!folder || !*folder) {
        ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

        self[n > 0 ? n : 0] = '\0';
        *(strrchr(self, '/') ? strrchr(self, '/') : self) = '\0';
        folder = self;
    }
    named = xasprintf("%s/relearn-exec", folder);
    path = absolute(named);
    if (is_program(path))
        return path;
    err_set(err, ERR_CHILD, NEXT_FATAL,
            "%s is missing: install it, or name its folder in RELEARN_LIBEXEC", path);
    free(path);
    return NULL;
}

struct spawn {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    int out[2], err[2];
};

static int pipes_init(struct spawn *s, struct err *err)
{
    if (pipe2(s->out, O_CLOEXEC) || pipe2(s->err, O_CLOEXEC))
        return err_set(err, ERR_CHILD, NEXT_RETRY, "pipe: %s", strerrordesc_np(errno));
    fcntl(s->out[0], F_SETFL, O_NONBLOCK);
    fcntl(s->err[0], F_SETFL, O_NONBLOCK);
    posix_spawn_file_actions_adddup2(&s->actions, s->out[1], 1);
    posix_spawn_file_actions_adddup2(&s->actions, s->err[1], 2);
    return 0;
}

static void attributes_init(posix_spawnattr_t *attr)
{
    sigset_t none, all;

    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(attr, &none);
    posix_spawnattr_setsigdefault(attr, &all);
    posix_spawnattr_setpgroup(attr, 0);
    posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                       POSIX_SPAWN_SETPGROUP);
}

static int spawn_init(struct spawn *s, const struct job_spec *spec, struct err *err)
{
    *s = (struct spawn){.out = {-1, -1}, .err = {-1, -1}};
    posix_spawnattr_init(&s->attr);
    attributes_init(&s->attr);
    posix_spawn_file_actions_init(&s->actions);
    posix_spawn_file_actions_addopen(&s->actions, 0, "/dev/null", O_RDONLY, 0);
    if (spec->log_path) {
        posix_spawn_file_actions_addopen(&s->actions, 1, spec->log_path,
                                         O_WRONLY | O_CREAT | O_APPEND, 0640);
        posix_spawn_file_actions_adddup2(&s->actions, 1, 2);
    } else if (pipes_init(s, err)) {
        return -1;
    }
    /* should a library's descriptor lack close-on-exec */
    posix_spawn_file_actions_addclosefrom_np(&s->actions, 3);
    if (spec->cwd)
        posix_spawn_file_actions_addchdir_np(&s->actions, spec->cwd);
    return 0;
}

static void spawn_fini(struct spawn *s)
{
    for (int i = 0; i < 2; i++) {
        job__close_fd(&s->out[i]);
        job__close_fd(&s->err[i]);
    }
    posix_spawn_file_actions_destroy(&s->actions);
    posix_spawnattr_destroy(&s->attr);
}

static int spawn_run(struct spawn *s, const char *helper, const char *program,
                     const struct job_spec *spec, int *ret_pid, struct err *err)
{
    static const char *const no_env[] = {NULL};
    size_t n = 0;
    CLEANUP_FREE const char **argv = NULL;
    CLEANUP_FREE char *parent = xasprintf("%d", (int)getpid());
    CLEANUP_FREE char *cpu_s = xasprintf("%lld", (long long)(spec->cpu_ms + 999) / 1000);
    CLEANUP_FREE char *file_bytes = xasprintf("%lld", (long long)spec->file_bytes);
    pid_t pid;
    int rc;

    while (spec->argv[n])
        n++;
    argv = xcalloc(n + 6, sizeof(*argv));
    argv[0] = helper;
    argv[1] = parent;
    argv[2] = cpu_s;
    argv[3] = file_bytes;
    argv[4] = program;
    memcpy(argv + 5, spec->argv, n * sizeof(*argv));
    rc =
        EFFECT_SURE(spawn, "job.spawn", EAGAIN,
                    posix_spawn(&pid, helper, &s->actions, &s->attr, (char *const *)(uintptr_t)argv,
                                (char *const *)(uintptr_t)(spec->env ? spec->env : no_env)));
    if (rc)
        return err_set(err, ERR_CHILD, rc == EAGAIN || rc == ENOMEM ? NEXT_RETRY : NEXT_REJECT,
                       "start %s in %s, output to %s: %s", program, spec->cwd ? spec->cwd : ".",
                       spec->log_path ? spec->log_path : "a pipe", strerrordesc_np(rc));
    *ret_pid = pid;
    return 0;
}

static int watched(struct spawn *s, const char *helper, const char *program,
                   const struct job_spec *spec, struct job_child *ret, struct err *err)
{
    int pid = -1, pid_fd;

    if (spawn_run(s, helper, program, spec, &pid, err))
        return -1;
    pid_fd = EFFECT(spawn, "job.watch", FAULT_ERRNO, pidfd_open(pid, 0));
    if (pid_fd < 0 && errno != ENOSYS && errno != EPERM) { /* else it is looked after: job.c */
        err_set(err, ERR_CHILD, NEXT_RETRY, "watch %s: %s", program, strerrordesc_np(errno));
        kill(-pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return -1;
    }
    ret->pid = pid;
    ret->pid_fd = pid_fd;
    ret->out_fd = s->out[0];
    ret->err_fd = s->err[0];
    s->out[0] = s->err[0] = -1;
    return 0;
}

void job__limit_cpu(int pid, int64_t cpu_ms)
{
    clockid_t clock;
    struct timespec used = {0};
    struct rlimit rl;

    if (clock_getcpuclockid(pid, &clock) == 0)
        clock_gettime(clock, &used);
    rl.rlim_cur = (rlim_t)used.tv_sec + (rlim_t)(cpu_ms + 999) / 1000;
    rl.rlim_max = rl.rlim_cur + JOB_CPU_GRACE_S;
    prlimit(pid, RLIMIT_CPU, &rl, NULL); /* one that has ended needs none */
}

int job__spawn(const struct job_spec *spec, struct job_child *ret, struct err *err)
{
    CLEANUP_FREE char *program = find_program(spec->argv[0], spec->env);
    CLEANUP_FREE char *helper = find_helper(err);
    struct spawn s;
    int rc;

    if (!helper)
        return -1;
    if (!program)
        return err_set(err, ERR_NOTFOUND, NEXT_REJECT, "no program \"%s\" that may be executed",
                       spec->argv[0]);
    rc = spawn_init(&s, spec, err);
    if (rc == 0)
        rc = watched(&s, helper, program, spec, ret, err);
    spawn_fini(&s);
    return rc;
}
