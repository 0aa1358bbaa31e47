/* A child process: explicit argv, clean environment, stdin null, stdout lines to a callback, stderr
 * tail kept, own process group, limits, deadline -> TERM -> 5 s -> KILL of the group.  When the
 * child ends, what is left of its group is killed.  The child dies with the thread that started it
 * (PR_SET_PDEATHSIG, set by relearn-exec, which lies beside the running program or in
 * RELEARN_LIBEXEC). Loop thread. */
#ifndef COMMON_JOB_H
#define COMMON_JOB_H

#include "common/err.h"
#include "common/loop.h"

#define JOB_TAIL_BYTES 4096

struct job_spec {
    /* NULL-terminated; argv[0] is a path or is looked up in env's PATH, else ours */
    const char *const *argv;
    const char *const *env; /* NULL-terminated NAME=value list; nothing else is passed */
    const char *cwd;        /* NULL: inherited */
    int64_t wall_ms;        /* 0: no limit */
    int64_t cpu_ms;         /* of each process, rounded up to seconds; 0: none */
    int64_t memory_bytes;   /* held by it and its descendants, mapped files apart; 0: none */
    int64_t file_bytes;     /* RLIMIT_FSIZE; 0: none */
    const char *log_path; /* stdout and stderr are appended to this file (created 0640); then there
                           * is no on_line and no tail.  NULL: pipes as said above */
};
struct job_result {
    int exit_code;                           /* -1 when ended by a signal or not started */
    int signal;                              /* 0 when it exited */
    bool timed_out, canceled, out_of_memory; /* which of them ended it: one at most */
    int64_t wall_ms, cpu_ms, max_rss_bytes;
    char tail[JOB_TAIL_BYTES]; /* end of stderr, whole lines, control characters replaced */
};
/* One line of stdout, without \n, cut at 4 KiB. */
typedef void (*job_line_fn)(void *ctx, const char *line);
/* Exactly once, never before job_start returns. */
typedef void (*job_done_fn)(void *ctx, const struct job_result *r);

/* Keeps nothing of spec.  on_line may be NULL.  *ret lives until on_done returns.  Errors:
 * ERR_NOTFOUND no such program, ERR_CHILD (retry) no more processes or descriptors, (reject) a
 * folder or log that cannot be opened, (fatal) no relearn-exec.  What only exec finds (a bad
 * interpreter, say) is exit code 126, with a tail. */
struct job;
int job_start(struct loop *l, const struct job_spec *spec, job_line_fn on_line, job_done_fn on_done,
              void *ctx, struct job **ret, struct err *err) WARN_UNUSED;
/* Limits that were not known when it was started: wall, CPU and memory of spec.  Its wall time,
 * here and in the result, counts from now, its CPU time beyond what it has used. */
void job_limit(struct job *j, const struct job_spec *spec);
void job_cancel(struct job *j); /* TERM now, KILL after 5 s; on_done still comes; again: nothing */
int job_pid(const struct job *j);
/* "killed by signal 9 after 3.2 s (memory limit 2 GiB)", one sentence for people. */
void job_result_str(const struct job_result *r, const struct job_spec *spec, char *out,
                    size_t out_size);

#endif
