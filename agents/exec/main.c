/* relearn-exec: takes on what must be set between fork and exec, then becomes the command.
 * common/job.c starts it; a program of its own, because posix_spawn can set none of this and fork()
 * is not safe in a process that has used OpenMP. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base.h"

enum {
    ARG_PARENT = 1,
    ARG_CPU_S,
    ARG_FILE_BYTES,
    ARG_PATH,
    ARG_ARGV,
    CPU_GRACE_S = 5,     /* from SIGXCPU, which may be caught, to SIGKILL */
    EXIT_NO_START = 126, /* as a shell has it for what cannot be executed */
};

static int fail(const char *what)
{
    fprintf(stderr, "relearn-exec: %s: %s\n", what, strerror(errno));
    return EXIT_NO_START;
}

static int limit(__rlimit_resource_t resource, const char *text, rlim_t hard_extra)
{
    rlim_t value = strtoull(text, NULL, 10);
    struct rlimit rl = {.rlim_cur = value, .rlim_max = value + hard_extra};

    return value ? setrlimit(resource, &rl) : 0;
}

/* When memory runs out on the machine, a child is to go before the agents. */
static void prefer_as_victim(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    if (write(fd, "500", 3) != 3)
        errno = 0; /* not ours to change here: nothing depends on it */
    close(fd);
}

int main(int argc, char **argv)
{
    struct rlimit no_core = {0, 0};

    if (argc <= ARG_ARGV) {
        fputs(
            "usage: relearn-exec PARENT-PID CPU-SECONDS FILE-BYTES PATH ARGV0 [ARG...]\n"
            "Sets limits (0: none) and dies with its parent; then becomes PATH. Agents start it.\n",
            stderr);
        return 2;
    }
    if (prctl(PR_SET_PDEATHSIG, SIGKILL))
        return fail("prctl");
    if (getppid() != (pid_t)strtol(argv[ARG_PARENT], NULL, 10))
        return EXIT_NO_START; /* the parent died before it could be watched */
    if (limit(RLIMIT_CPU, argv[ARG_CPU_S], CPU_GRACE_S) ||
        limit(RLIMIT_FSIZE, argv[ARG_FILE_BYTES], 0) || setrlimit(RLIMIT_CORE, &no_core))
        return fail("setrlimit");
    prefer_as_victim();
    execv(argv[ARG_PATH], argv + ARG_ARGV);
    return fail(argv[ARG_PATH]);
}
